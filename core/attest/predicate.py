r"""The JSON of a Statement: its fields, their bounds, and how figures stand in it.

* in-toto Statement v1 with predicate ``urn:hanse:certificate:v1`` (``certification.md`` 10).
  Beyond the page there: ``reason`` and ``values`` of a check, ``slice`` of a quality row,
  ``failing`` and ``reason`` of a reproduction, ``arch`` and ``os`` of the machine.
* Every field stands there, absent ones as ``null``; unknown ones are refused.
* Integers are below 2**53; what has a fraction is a decimal string with exactly one form:
  millionths with six digits, hundredths with two, billionths without trailing zeros.
* Times are RFC 3339 in UTC; milliseconds stand there when they are not zero.

What the fields mean, and whether they fit each other, is decided elsewhere.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec

from hanse.core.limits import (
    ARTIFACT_FILES_MAX,
    ARTIFACT_PATH_SIZE_BYTES_MAX,
    ARTIFACT_SIZE_BYTES_MAX,
    BLOB_SIZE_BYTES_MAX,
    STATEMENT_BLOCKS_MAX,
    STATEMENT_CHECKS_MAX,
    STATEMENT_INT_MAX,
    STATEMENT_LAYERS_MAX,
    STATEMENT_PERF_ROWS_MAX,
    STATEMENT_QUALITY_ROWS_MAX,
    STATEMENT_SUBJECTS_MAX,
    STATEMENT_TEXT_CHARACTERS_MAX,
    STATEMENT_VALUES_MAX,
)
from hanse.core.model.certificate import (
    Outcome,
    ParityWord,
    ResultWord,
    Role,
    Sameness,
    Verdict,
)
from hanse.core.model.running import Grade

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:hanse:certificate:v1"

MICRO_DIGITS: Final = 6
CENTI_DIGITS: Final = 2
NANO_DIGITS: Final = 9
SCALED_MOST: Final = 2**62  # of a figure as a whole number; a database keeps it

Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Hex16 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
Natural = Annotated[int, msgspec.Meta(ge=0, le=STATEMENT_INT_MAX)]
Number = Annotated[int, msgspec.Meta(ge=1, le=STATEMENT_INT_MAX)]
Whole = Annotated[int, msgspec.Meta(ge=-STATEMENT_INT_MAX, le=STATEMENT_INT_MAX)]
Text = Annotated[str, msgspec.Meta(max_length=STATEMENT_TEXT_CHARACTERS_MAX)]
Named = Annotated[str, msgspec.Meta(min_length=1, max_length=STATEMENT_TEXT_CHARACTERS_MAX)]
CheckName = Annotated[str, msgspec.Meta(max_length=60, pattern=r"^[a-z]+(\.[a-z0-9_@]+)+\Z")]
Word = Annotated[str, msgspec.Meta(max_length=40, pattern=r"^([a-z][a-z0-9_]*)?\Z")]
ValueName = Annotated[str, msgspec.Meta(max_length=40, pattern=r"^[a-z][a-z0-9_]*\Z")]
SuiteId = Annotated[str, msgspec.Meta(max_length=24, pattern=r"^[a-z][a-z0-9-]*\Z")]
SuiteVersion = Annotated[str, msgspec.Meta(max_length=15, pattern=r"^[0-9]+\.[0-9]+\.[0-9]+\Z")]
Decimal = Annotated[str, msgspec.Meta(max_length=32)]
Time = Annotated[str, msgspec.Meta(max_length=24)]
CheckNames = Annotated[tuple[CheckName, ...], msgspec.Meta(max_length=STATEMENT_CHECKS_MAX)]

_DECIMAL: Final = re.compile(r"(-?)(0|[1-9][0-9]{0,18})(?:\.([0-9]{1,9}))?")
_TIME: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{3}))?Z"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every part of a Statement is: a JSON map with exactly its fields."""


class Sha256(Part, frozen=True, kw_only=True):
    """A DigestSet with the one digest that is used here."""

    sha256: Hex32


class SubjectPart(Part, frozen=True, kw_only=True):
    """One file, or the Manifest."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=ARTIFACT_PATH_SIZE_BYTES_MAX)]
    digest: Sha256


class ArtifactPart(Part, frozen=True, kw_only=True):
    """Which Artifact, and what it was made from."""

    id: Hex32
    files: Annotated[int, msgspec.Meta(ge=1, le=ARTIFACT_FILES_MAX)]
    size: Annotated[int, msgspec.Meta(ge=0, le=ARTIFACT_SIZE_BYTES_MAX)]
    made_from: Hex32 | None


class SuitePart(Part, frozen=True, kw_only=True):
    """Under which suite."""

    id: SuiteId
    version: SuiteVersion
    sha256: Hex32


class Configuration(Part, frozen=True, kw_only=True):
    """The suite again, as in-toto's test-result names what a test was run with."""

    name: Annotated[str, msgspec.Meta(max_length=40)]
    digest: Sha256


class TestPart(Part, frozen=True, kw_only=True, rename="camel"):
    """The predicate test-result v0.1 of in-toto: all of it follows from the checks."""

    result: Outcome
    configuration: Annotated[tuple[Configuration, ...], msgspec.Meta(min_length=1, max_length=1)]
    passed_tests: CheckNames
    warned_tests: CheckNames
    failed_tests: CheckNames


class CheckPart(Part, frozen=True, kw_only=True):
    """What one check came to."""

    id: CheckName
    result: ResultWord
    reason: Word
    values: Annotated[dict[ValueName, Text | Whole], msgspec.Meta(max_length=STATEMENT_VALUES_MAX)]
    detail: Text
    ms: Natural


class LimitsPart(Part, frozen=True, kw_only=True):
    """What the Worker could take."""

    as_mib: Natural
    cpu_s: Natural


class IsolationPart(Part, frozen=True, kw_only=True):
    """How the model was locked in."""

    grade: Grade
    os: Text
    limits: LimitsPart
    layers: Annotated[tuple[Named, ...], msgspec.Meta(max_length=STATEMENT_LAYERS_MAX)]


class RuntimePart(Part, frozen=True, kw_only=True):
    """What ran the model."""

    name: Named
    version: Named
    provider: Named
    graph_opt: Named
    app: Text


class MachinePart(Part, frozen=True, kw_only=True):
    """On which machine; ``class`` is its tier, a slash, and its cores."""

    machine_class: Named = msgspec.field(name="class")
    arch: Text
    cpu: Text
    cores: Natural
    ram_gib: Natural
    os: Text


class GoldenPart(Part, frozen=True, kw_only=True):
    """The Blob others compare with."""

    sha256: Hex32
    size: Annotated[int, msgspec.Meta(ge=1, le=BLOB_SIZE_BYTES_MAX)]
    n: Number
    rtol: Decimal
    atol: Decimal


class PerfPart(Part, frozen=True, kw_only=True):
    """Latencies in ns."""

    batch: Number
    threads: Number
    n: Number
    min: Natural
    p10: Natural
    p50: Natural
    p90: Natural
    p99: Natural | None
    mad: Natural
    blocks: Annotated[tuple[Natural, ...], msgspec.Meta(max_length=STATEMENT_BLOCKS_MAX)]
    noisy: bool
    load: tuple[Decimal | None, Decimal | None]


class MemoryPart(Part, frozen=True, kw_only=True):
    """Resident memory in KiB, and how long the load took."""

    base_kib: Natural
    loaded_kib: Natural
    peak_kib: Natural
    load_ns: Natural


class DatasetPart(Part, frozen=True, kw_only=True):
    """On which data."""

    name: Named
    sha256: Hex32
    n: Number
    public: bool


class QualityPart(Part, frozen=True, kw_only=True):
    """One metric on one data set."""

    dataset: DatasetPart
    recipe: Hex32
    metric: Annotated[str, msgspec.Meta(max_length=40, pattern=r"^[a-z][a-z0-9_@]*\Z")]
    value: Decimal
    ci95: tuple[Decimal, Decimal] | None
    method: Word
    slice: Text


class DeterminismPart(Part, frozen=True, kw_only=True):
    """Whether outputs were the same again."""

    repeat: Sameness
    session: Sameness
    threads: Sameness


class ReproducesPart(Part, frozen=True, kw_only=True):
    """What came of comparing with an earlier Certificate."""

    entry: Hex32
    verdict: Verdict
    reason: Word
    max_abs: Decimal
    compared: Natural
    failing: Natural


class Predicate(Part, frozen=True, kw_only=True):
    """What was found."""

    artifact: ArtifactPart
    role: Role
    release: Hex32 | None
    grant: Hex32 | None
    supersedes: Hex32 | None
    level: Annotated[int, msgspec.Meta(ge=0, le=3)]
    suite: SuitePart
    test: TestPart
    checks: Annotated[tuple[CheckPart, ...], msgspec.Meta(max_length=STATEMENT_CHECKS_MAX)]
    isolation: IsolationPart
    runtime: RuntimePart | None
    machine: MachinePart
    golden: GoldenPart | None
    perf: Annotated[tuple[PerfPart, ...], msgspec.Meta(max_length=STATEMENT_PERF_ROWS_MAX)]
    memory: MemoryPart | None
    quality: Annotated[tuple[QualityPart, ...], msgspec.Meta(max_length=STATEMENT_QUALITY_ROWS_MAX)]
    determinism: DeterminismPart
    parity: ParityWord | None
    reproduces: ReproducesPart | None
    started: Time
    finished: Time
    nonce: Hex16


class StatementPart(Part, frozen=True, kw_only=True):
    """The whole Statement."""

    type: Literal["https://in-toto.io/Statement/v1"] = msgspec.field(name="_type")
    predicate_type: Literal["urn:hanse:certificate:v1"] = msgspec.field(name="predicateType")
    subject: Annotated[
        tuple[SubjectPart, ...], msgspec.Meta(min_length=1, max_length=STATEMENT_SUBJECTS_MAX)
    ]
    predicate: Predicate


def decimal_text(value: int, digits: int) -> str:
    """Write ``value`` divided by ten to the ``digits``, with exactly that many of them."""
    sign, size = "-" if value < 0 else "", abs(value)
    return f"{sign}{size // 10**digits}.{size % 10**digits:0{digits}}"


def short_decimal_text(value: int, digits: int) -> str:
    """Write it likewise without trailing zeros, such as ``0.0001`` and ``0``."""
    return decimal_text(value, digits).rstrip("0").rstrip(".")


def parse_decimal(text: str, digits: int) -> int | None:
    """Read a decimal as a whole number of its last place; ``None`` when it is no such one."""
    found = _DECIMAL.fullmatch(text)
    if found is None:
        return None
    sign, whole, fraction = found[1], found[2], found[3] or ""
    if len(fraction) > digits:
        return None
    value: int = int(whole + fraction.ljust(digits, "0"))
    if value > SCALED_MOST:
        return None
    return -value if sign else value


def time_text(time_ms: int) -> str:
    """Write a time in ms since 1970 as RFC 3339; the year is 1970 to 9999."""
    when = _EPOCH + timedelta(milliseconds=time_ms)
    fraction = f".{time_ms % 1000:03}" if time_ms % 1000 else ""
    return f"{when:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def parse_time(text: str) -> int | None:
    """Read such a time; ``None`` when it is none, or before 1970."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(one) for one in found.groups()[:6])
    try:
        when = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    seconds = (when - _EPOCH) // timedelta(seconds=1)
    if seconds < 0:
        return None
    return seconds * 1000 + int(found[7] or 0)
