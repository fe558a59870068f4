"""What a certification found, as values: check results, figures, and the Certificate of them.

* Figures are whole numbers with their unit in the name; nothing here is a float.
* ``Measured`` is what one run on one machine came to, before anybody signs it; a
  ``Statement`` says that of which files, under which suite, and by whom for what.
* A ``Certificate`` is a Statement in its signed envelope, with who signed it.  It says "this key
  says it saw this", no more.
* Level 4 is never in a Statement: it is computed by whoever looks (``certification.md`` 11).

How a Statement is written, signed and verified is ``hanse.core.attest``'s.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  fields are read by their types from kept bytes
from dataclasses import dataclass, field
from typing import Literal

from hanse.core.model.ids import AuthorKey, EntryId, IdentityId  # noqa: TC001
from hanse.core.model.running import Grade  # noqa: TC001

ResultWord = Literal["pass", "warn", "fail", "skip"]
Verdict = Literal["agree", "differ", "not_comparable"]
Sameness = Literal["bitwise", "tolerance", "differs", "not_measured"]
Role = Literal["seller", "buyer", "tester"]
Outcome = Literal["PASSED", "WARNED", "FAILED"]
ParityWord = Literal["pass", "fail", "not_shown"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check of a suite came to.

    ``reason`` is a stable word (sentence ``check.reason.WORD``), empty when there is nothing to
    say; ``values`` are the sentence's.  ``detail`` is a short English text, such as "24 of 24".
    """

    id: str
    result: ResultWord
    reason: str = ""
    values: Mapping[str, str | int] = field(default_factory=dict)
    detail: str = ""
    ms: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """The computer something was measured on; no host name, serial or address.

    ``machine_class`` is such as ``x86_64-v4+vnni/2c``; ``tier`` its part before the slash.
    """

    machine_class: str
    architecture: str
    tier: str
    cpu: str
    cores: int
    ram_gib: int
    os: str  # name and minor version, such as "linux 6.18"


@dataclass(frozen=True, slots=True)
class Isolation:
    """How the model was locked in while it ran."""

    grade: Grade
    os: str
    layers: tuple[str, ...]
    memory_mib: int
    cpu_s: int


@dataclass(frozen=True, slots=True)
class RuntimeFacts:
    """What ran the model; figures compare only with the same minor version."""

    name: str
    version: str
    provider: str
    optimisation: str
    app: str


@dataclass(frozen=True, slots=True)
class GoldenRef:
    """The Blob of inputs and full outputs others compare with; tolerances in billionths."""

    sha256: bytes
    size: int
    n: int
    rtol_nano: int
    atol_nano: int


@dataclass(frozen=True, slots=True)
class PerfRow:
    """Latencies in ns under one batch size and number of threads; by nearest rank.

    ``p99`` only from 1,000 runs; ``mad`` is the median absolute deviation, ``blocks`` the p50
    of each block; load averages (1 minute) in hundredths, -1 where the system has none.
    ``batch`` rows a run make ``batch * 1e9 / p50`` rows a second.
    """

    batch: int
    threads: int
    n: int
    min: int
    p10: int
    p50: int
    p90: int
    p99: int | None
    mad: int
    blocks: tuple[int, ...]
    is_noisy: bool
    load_before_centi: int
    load_after_centi: int

    @property
    def rows_per_second(self) -> int:
        """Return the throughput at the median."""
        return self.batch * 1_000_000_000 // max(1, self.p50)


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """Resident memory before and after the load, its peak, and how long the load took."""

    base_kib: int
    loaded_kib: int
    peak_kib: int
    load_ns: int


@dataclass(frozen=True, slots=True)
class QualityRow:
    """One metric on one data set, in millionths, with its 95 % interval where it has one.

    ``slice`` is ``column=value`` for a part of the rows, empty for all; ``method`` names how
    the interval was made.  ``recipe_sha256`` covers recipe and mapping.
    """

    dataset: str
    dataset_sha256: bytes
    n: int
    is_public: bool
    recipe_sha256: bytes
    metric: str
    value_micro: int
    low_micro: int | None
    high_micro: int | None
    method: str
    slice: str = ""


@dataclass(frozen=True, slots=True)
class Determinism:
    """Whether outputs were the same again: repeated, in a new session, with other threads."""

    repeat: Sameness = "not_measured"
    session: Sameness = "not_measured"
    threads: Sameness = "not_measured"


@dataclass(frozen=True, slots=True)
class Reproduces:
    """What came of comparing with an earlier Certificate; ``reason`` where nothing could be."""

    entry: EntryId
    verdict: Verdict
    reason: str
    max_abs_nano: int
    compared: int
    failing: int


@dataclass(frozen=True, slots=True)
class Measured:
    """All that one run of a suite came to on one machine; nothing of it is signed yet."""

    suite: str
    suite_sha256: bytes
    level: int  # 0 to 3: what the checks that passed allow
    checks: tuple[CheckResult, ...]
    isolation: Isolation
    machine: Machine
    runtime: RuntimeFacts | None
    golden: GoldenRef | None
    perf: tuple[PerfRow, ...]
    memory: MemoryFacts | None
    quality: tuple[QualityRow, ...]
    determinism: Determinism
    started_ms: int
    finished_ms: int

    @property
    def outcome(self) -> Outcome:
        """Say what the checks come to together."""
        found = {one.result for one in self.checks}
        return "FAILED" if "fail" in found else "WARNED" if "warn" in found else "PASSED"


@dataclass(frozen=True, slots=True)
class Subject:
    """One file the Statement is about."""

    name: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Statement:
    """What a Certificate states (in-toto Statement v1, predicate ``urn:hanse:certificate:v1``)."""

    subjects: tuple[Subject, ...]
    artifact: bytes
    files: int
    size: int
    made_from: bytes | None
    role: Role
    release: EntryId | None
    grant: bytes | None
    supersedes: EntryId | None
    measured: Measured
    parity: ParityWord | None
    reproduces: Reproduces | None
    nonce: bytes  # 16

    @property
    def level(self) -> int:
        """Return the signed Level, 0 to 3."""
        return self.measured.level


@dataclass(frozen=True, slots=True)
class Certificate:
    """A Statement, who signed it, and its Entry; ``envelope`` is the DSSE bytes as they came."""

    statement: Statement
    envelope: bytes
    device: AuthorKey
    identity: IdentityId | None
    entry: EntryId | None


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What others found of one Artifact, the newest Certificate of each Identity counting once.

    Weights are in thousandths; without anybody one trusts they count heads and
    ``is_weighted`` is False.  ``level`` is 4 when enough agree, else the best signed Level.
    """

    level: int
    agree: int
    differ: int
    not_comparable: int
    agree_milli: int
    differ_milli: int
    is_weighted: bool


@dataclass(frozen=True, slots=True)
class ComparedClaim:
    """A figure of the card beside what was measured, in millionths.

    ``relation`` is from the measured interval: ``within`` it, ``better`` or ``worse`` than it
    claims, ``other_data`` when the data differ, ``not_measured`` when there is nothing to compare.
    """

    metric: str
    dataset: str
    slice: str
    claimed_micro: int
    measured_micro: int | None
    low_micro: int | None
    high_micro: int | None
    n: int
    relation: Literal["within", "better", "worse", "other_data", "not_measured"]
