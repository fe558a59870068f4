"""Statements as bytes: written one way, read strictly, and what is wrong with one named.

* ``encode_statement`` gives the RFC 8785 form; two programs that state the same write the same.
* ``read_statement`` takes that form and no other: a key that stands twice, an unknown field, a
  number with a fraction, a space more are each refused, by name.
* Sizes are looked at before anything is parsed, lengths while it is.
* What is signed passes the reader first, so nobody signs what others refuse.
* What is refused is refused by ``attest.faults.BadStatement``, with its place.

Whether the parts of a Statement fit each other is ``attest.levels``'s, who signed it
``attest.verifying``'s.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NoReturn

import msgspec
import rfc8785

from hanse.core.attest.faults import BadStatement, shape_fault, strict_json
from hanse.core.attest.predicate import (
    CENTI_DIGITS,
    MICRO_DIGITS,
    NANO_DIGITS,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    PerfPart,
    QualityPart,
    StatementPart,
    decimal_text,
    parse_decimal,
    parse_time,
    short_decimal_text,
    time_text,
)
from hanse.core.ledger.codec import is_text
from hanse.core.limits import (
    STATEMENT_SIZE_BYTES_MAX,
    STATEMENT_SUBJECT_NAMES_BYTES_MAX,
    STATEMENT_SUBJECTS_MAX,
    STATEMENT_TEXT_CHARACTERS_MAX,
)
from hanse.core.model.certificate import (
    CheckResult,
    Determinism,
    GoldenRef,
    Isolation,
    Machine,
    Measured,
    MemoryFacts,
    PerfRow,
    QualityRow,
    Reproduces,
    RuntimeFacts,
    Statement,
    Subject,
)
from hanse.core.model.ids import EntryId

MANIFEST_NAME: Final = "manifest"

_DECIMALS: Final = {CENTI_DIGITS: "decimal_2", MICRO_DIGITS: "decimal_6", NANO_DIGITS: "decimal_9"}

# What a JSON text without fractions holds.
Json = None | bool | int | str | Sequence["Json"] | Mapping[str, "Json"]

_DECODER: Final = msgspec.json.Decoder(StatementPart)
_ENCODER: Final = msgspec.json.Encoder(order="sorted")


def subjects_of(artifact: bytes, files: Sequence[Subject]) -> tuple[Subject, ...]:
    """Return what a Statement names: all files, or the Manifest alone where they are too many."""
    names = sum(len(one.name.encode("utf-8", "surrogatepass")) for one in files)
    if len(files) <= STATEMENT_SUBJECTS_MAX and names <= STATEMENT_SUBJECT_NAMES_BYTES_MAX:
        return tuple(sorted(files, key=lambda one: one.name.encode("utf-8", "surrogatepass")))
    return (Subject(MANIFEST_NAME, artifact),)


# --- writing --------------------------------------------------------------------------------


def encode_statement(statement: Statement) -> bytes:
    """Return the RFC 8785 bytes, or raise ``BadStatement`` when nobody would read them.

    What checks say may quote a Worker: it is written as text without control characters.
    """
    statement = replace(statement, measured=_with_plain_text(statement.measured))
    try:
        raw = rfc8785.dumps(_json_of(statement))
    except ValueError as error:  # a number or a text that JSON cannot carry
        raise BadStatement("shape", "$", "json", str(error)) from error
    if read_statement(raw) != statement:
        raise BadStatement("shape", "$", "the same statement when read again", "another one")
    return raw


def _with_plain_text(measured: Measured) -> Measured:
    checks = tuple(
        replace(
            one,
            detail=_plain(one.detail),
            values={
                name: _plain(value) if isinstance(value, str) else value
                for name, value in one.values.items()
            },
        )
        for one in measured.checks
    )
    return replace(measured, checks=checks)


def _plain(text: str) -> str:
    if is_text(text, multiline=False):
        return text
    kept = "".join(one if is_text(one, multiline=False) else " " for one in text)
    return unicodedata.normalize("NFC", kept)[:STATEMENT_TEXT_CHARACTERS_MAX]


def _json_of(statement: Statement) -> dict[str, Json]:
    measured = statement.measured
    suite_id, _, version = measured.suite.partition("/")
    suite_sha256 = measured.suite_sha256.hex()
    isolation, machine, runtime = measured.isolation, measured.machine, measured.runtime
    golden, memory, reproduces = measured.golden, measured.memory, statement.reproduces
    return {
        "_type": STATEMENT_TYPE,
        "predicateType": PREDICATE_TYPE,
        "subject": [
            {"name": one.name, "digest": {"sha256": one.sha256.hex()}} for one in statement.subjects
        ],
        "predicate": {
            "artifact": {
                "id": statement.artifact.hex(),
                "files": statement.files,
                "size": statement.size,
                "made_from": _hex(statement.made_from),
            },
            "role": statement.role,
            "release": _hex(statement.release),
            "grant": _hex(statement.grant),
            "supersedes": _hex(statement.supersedes),
            "level": measured.level,
            "suite": {"id": suite_id, "version": version, "sha256": suite_sha256},
            "test": {
                "result": measured.outcome,
                "configuration": [{"name": measured.suite, "digest": {"sha256": suite_sha256}}],
                "passedTests": [*_with_result(measured, "pass")],
                "warnedTests": [*_with_result(measured, "warn")],
                "failedTests": [*_with_result(measured, "fail")],
            },
            "checks": [
                {
                    "id": one.id,
                    "result": one.result,
                    "reason": one.reason,
                    "values": dict(one.values),
                    "detail": one.detail,
                    "ms": one.ms,
                }
                for one in measured.checks
            ],
            "isolation": {
                "grade": isolation.grade,
                "os": isolation.os,
                "limits": {"as_mib": isolation.memory_mib, "cpu_s": isolation.cpu_s},
                "layers": [*isolation.layers],
            },
            "runtime": None
            if runtime is None
            else {
                "name": runtime.name,
                "version": runtime.version,
                "provider": runtime.provider,
                "graph_opt": runtime.optimisation,
                "app": runtime.app,
            },
            "machine": {
                "class": machine.machine_class,
                "arch": machine.architecture,
                "cpu": machine.cpu,
                "cores": machine.cores,
                "ram_gib": machine.ram_gib,
                "os": machine.os,
            },
            "golden": None
            if golden is None
            else {
                "sha256": golden.sha256.hex(),
                "size": golden.size,
                "n": golden.n,
                "rtol": short_decimal_text(golden.rtol_nano, NANO_DIGITS),
                "atol": short_decimal_text(golden.atol_nano, NANO_DIGITS),
            },
            "perf": [_json_of_perf(row) for row in measured.perf],
            "memory": None
            if memory is None
            else {
                "base_kib": memory.base_kib,
                "loaded_kib": memory.loaded_kib,
                "peak_kib": memory.peak_kib,
                "load_ns": memory.load_ns,
            },
            "quality": [_json_of_quality(row) for row in measured.quality],
            "determinism": {
                "repeat": measured.determinism.repeat,
                "session": measured.determinism.session,
                "threads": measured.determinism.threads,
            },
            "parity": statement.parity,
            "reproduces": None
            if reproduces is None
            else {
                "entry": reproduces.entry.hex(),
                "verdict": reproduces.verdict,
                "reason": reproduces.reason,
                "max_abs": short_decimal_text(reproduces.max_abs_nano, NANO_DIGITS),
                "compared": reproduces.compared,
                "failing": reproduces.failing,
            },
            "started": time_text(measured.started_ms),
            "finished": time_text(measured.finished_ms),
            "nonce": statement.nonce.hex(),
        },
    }


def _json_of_perf(row: PerfRow) -> dict[str, Json]:
    return {
        "batch": row.batch,
        "threads": row.threads,
        "n": row.n,
        "min": row.min,
        "p10": row.p10,
        "p50": row.p50,
        "p90": row.p90,
        "p99": row.p99,
        "mad": row.mad,
        "blocks": [*row.blocks],
        "noisy": row.is_noisy,
        "load": [
            None if centi < 0 else decimal_text(centi, CENTI_DIGITS)
            for centi in (row.load_before_centi, row.load_after_centi)
        ],
    }


def _json_of_quality(row: QualityRow) -> dict[str, Json]:
    return {
        "dataset": {
            "name": row.dataset,
            "sha256": row.dataset_sha256.hex(),
            "n": row.n,
            "public": row.is_public,
        },
        "recipe": row.recipe_sha256.hex(),
        "metric": row.metric,
        "value": decimal_text(row.value_micro, MICRO_DIGITS),
        "ci95": None
        if row.low_micro is None or row.high_micro is None
        else [
            decimal_text(row.low_micro, MICRO_DIGITS),
            decimal_text(row.high_micro, MICRO_DIGITS),
        ],
        "method": row.method,
        "slice": row.slice,
    }


def _with_result(measured: Measured, result: str) -> tuple[str, ...]:
    return tuple(one.id for one in measured.checks if one.result == result)


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


# --- reading --------------------------------------------------------------------------------


def read_statement(raw: bytes) -> Statement:
    """Read the payload of a Certificate, or raise ``BadStatement`` (steps 1, 5 and 7).

    Of step 7 only what stands twice is compared here: the ``test`` part must follow from the
    checks, or one of the two would be lost.
    """
    if len(raw) > STATEMENT_SIZE_BYTES_MAX:
        raise BadStatement("json", "payload", f"<= {STATEMENT_SIZE_BYTES_MAX} bytes", len(raw))
    try:
        part = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _explain(raw, error)
    # One comparison finds keys that stand twice, spaces, another order, other escapes: msgspec
    # writes the RFC 8785 form of whatever has no floats and only ASCII keys.
    if _ENCODER.encode(part) != raw:
        strict_json(raw, "payload")
        raise BadStatement("json", "payload", "canonical", "another_form")
    # A control character can stand in JSON as an escape only, and so behind a backslash.
    if b"\\" in raw or not is_text(raw.decode(), multiline=False):
        _name_odd_text(strict_json(raw, "payload"), "$")
    return _Reading(part).statement()


class _Reading:
    """Turns the JSON of one Statement into its value."""

    def __init__(self, part: StatementPart) -> None:
        self._part = part
        self._predicate = part.predicate

    def statement(self) -> Statement:
        found = self._predicate
        reproduces = found.reproduces
        statement = Statement(
            subjects=tuple(
                Subject(one.name, bytes.fromhex(one.digest.sha256)) for one in self._part.subject
            ),
            artifact=bytes.fromhex(found.artifact.id),
            files=found.artifact.files,
            size=found.artifact.size,
            made_from=_bytes(found.artifact.made_from),
            role=found.role,
            release=_id(found.release),
            grant=_bytes(found.grant),
            supersedes=_id(found.supersedes),
            measured=self._measured(),
            parity=found.parity,
            reproduces=None
            if reproduces is None
            else Reproduces(
                entry=EntryId(bytes.fromhex(reproduces.entry)),
                verdict=reproduces.verdict,
                reason=reproduces.reason,
                max_abs_nano=self._short("reproduces.max_abs", reproduces.max_abs),
                compared=reproduces.compared,
                failing=reproduces.failing,
            ),
            nonce=bytes.fromhex(found.nonce),
        )
        self._check_test(statement.measured)
        return statement

    def _measured(self) -> Measured:
        found = self._predicate
        isolation, machine, runtime = found.isolation, found.machine, found.runtime
        golden, memory = found.golden, found.memory
        return Measured(
            suite=f"{found.suite.id}/{found.suite.version}",
            suite_sha256=bytes.fromhex(found.suite.sha256),
            level=found.level,
            checks=tuple(
                CheckResult(
                    id=one.id,
                    result=one.result,
                    reason=one.reason,
                    values=one.values,
                    detail=one.detail,
                    ms=one.ms,
                )
                for one in found.checks
            ),
            isolation=Isolation(
                grade=isolation.grade,
                os=isolation.os,
                layers=isolation.layers,
                memory_mib=isolation.limits.as_mib,
                cpu_s=isolation.limits.cpu_s,
            ),
            machine=Machine(
                machine_class=machine.machine_class,
                architecture=machine.arch,
                tier=machine.machine_class.partition("/")[0],
                cpu=machine.cpu,
                cores=machine.cores,
                ram_gib=machine.ram_gib,
                os=machine.os,
            ),
            runtime=None
            if runtime is None
            else RuntimeFacts(
                name=runtime.name,
                version=runtime.version,
                provider=runtime.provider,
                optimisation=runtime.graph_opt,
                app=runtime.app,
            ),
            golden=None
            if golden is None
            else GoldenRef(
                sha256=bytes.fromhex(golden.sha256),
                size=golden.size,
                n=golden.n,
                rtol_nano=self._short("golden.rtol", golden.rtol),
                atol_nano=self._short("golden.atol", golden.atol),
            ),
            perf=tuple(self._perf(f"perf[{n}]", row) for n, row in enumerate(found.perf)),
            memory=None
            if memory is None
            else MemoryFacts(
                base_kib=memory.base_kib,
                loaded_kib=memory.loaded_kib,
                peak_kib=memory.peak_kib,
                load_ns=memory.load_ns,
            ),
            quality=tuple(
                self._quality(f"quality[{n}]", row) for n, row in enumerate(found.quality)
            ),
            determinism=Determinism(
                repeat=found.determinism.repeat,
                session=found.determinism.session,
                threads=found.determinism.threads,
            ),
            started_ms=self._time("started", found.started),
            finished_ms=self._time("finished", found.finished),
        )

    def _perf(self, where: str, row: PerfPart) -> PerfRow:
        before, after = (
            -1 if text is None else self._decimal(f"{where}.load[{n}]", text, CENTI_DIGITS)
            for n, text in enumerate(row.load)
        )
        return PerfRow(
            batch=row.batch,
            threads=row.threads,
            n=row.n,
            min=row.min,
            p10=row.p10,
            p50=row.p50,
            p90=row.p90,
            p99=row.p99,
            mad=row.mad,
            blocks=row.blocks,
            is_noisy=row.noisy,
            load_before_centi=before,
            load_after_centi=after,
        )

    def _quality(self, where: str, row: QualityPart) -> QualityRow:
        low, high = (
            (None, None)
            if row.ci95 is None
            else (
                self._decimal(f"{where}.ci95[{n}]", text, MICRO_DIGITS, least=None)
                for n, text in enumerate(row.ci95)
            )
        )
        return QualityRow(
            dataset=row.dataset.name,
            dataset_sha256=bytes.fromhex(row.dataset.sha256),
            n=row.dataset.n,
            is_public=row.dataset.public,
            recipe_sha256=bytes.fromhex(row.recipe),
            metric=row.metric,
            value_micro=self._decimal(f"{where}.value", row.value, MICRO_DIGITS, least=None),
            low_micro=low,
            high_micro=high,
            method=row.method,
            slice=row.slice,
        )

    def _decimal(self, where: str, text: str, digits: int, least: int | None = 0) -> int:
        value = parse_decimal(text, digits)
        # Each number has one form, so a form that reads back as another one is none.
        if (
            value is None
            or decimal_text(value, digits) != text
            or (least is not None and value < least)
        ):
            raise BadStatement("shape", _at(where), _DECIMALS[digits], text)
        return value

    def _short(self, where: str, text: str) -> int:
        value = parse_decimal(text, NANO_DIGITS)
        if value is None or value < 0 or short_decimal_text(value, NANO_DIGITS) != text:
            raise BadStatement("shape", _at(where), _DECIMALS[NANO_DIGITS], text)
        return value

    def _time(self, where: str, text: str) -> int:
        value = parse_time(text)
        if value is None or time_text(value) != text:
            raise BadStatement("shape", _at(where), "time", text)
        return value

    def _check_test(self, measured: Measured) -> None:
        test, suite = self._predicate.test, self._predicate.suite
        named = test.configuration[0]
        rows = (
            ("result", measured.outcome, test.result),
            ("configuration[0].name", measured.suite, named.name),
            ("configuration[0].digest.sha256", suite.sha256, named.digest.sha256),
            ("passedTests", _with_result(measured, "pass"), test.passed_tests),
            ("warnedTests", _with_result(measured, "warn"), test.warned_tests),
            ("failedTests", _with_result(measured, "fail"), test.failed_tests),
        )
        for name, expected, found in rows:
            if found != expected:
                raise BadStatement("consistent", _at(f"test.{name}"), expected, found)


def _at(where: str) -> str:
    return f"$.predicate.{where}"


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def _id(text: str | None) -> EntryId | None:
    return None if text is None else EntryId(bytes.fromhex(text))


# --- naming what is wrong -------------------------------------------------------------------


def _explain(raw: bytes, error: Exception) -> NoReturn:
    raise shape_fault("shape", strict_json(raw, "payload"), error) from error


def _name_odd_text(value: object, where: str) -> None:
    """Find the first text that is not as text is kept; the whole was found to have one."""
    if isinstance(value, str):
        if not is_text(value, multiline=False):
            raise BadStatement("shape", where, "text", value)
    elif isinstance(value, list):
        for n, one in enumerate(value):
            _name_odd_text(one, f"{where}[{n}]")
    elif isinstance(value, dict):
        for key, one in value.items():
            _name_odd_text(one, f"{where}.{key}")
