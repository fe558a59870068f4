"""What was measured, as lines for people: checks, isolation, figures, claims, who found the same.

* A contradiction, a failure, a revocation and "limits only" are as loud as their opposites.
* A figure stands with how many examples or runs it rests on, and its interval where it has one.
* What a stranger signed is shown as data: a reason or a word this program does not know is shown
  as it was signed.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from hanse.app.columns import table
from hanse.app.commands.listing_bodies import rows_of
from hanse.app.commands.listing_words import LEVELS, NOTHING, level
from hanse.app.commands.showing import short_id, short_identity
from hanse.core.attest.levels import QUALITY_ROWS_LEAST
from hanse.core.certify.data import DataTooSmall, needed_n
from hanse.core.market.scaled import micro_text
from hanse.core.model.card import CHECKLIST, MICRO
from hanse.core.model.ids import identity_text
from hanse.core.sentences import catalogue, show_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hanse.app.desk import Desk
    from hanse.core.engine.certificates import CertificatesView
    from hanse.core.engine.human_reviews import ReviewsView
    from hanse.core.model.certificate import (
        CheckResult,
        ComparedClaim,
        Isolation,
        Measured,
        PerfRow,
        QualityRow,
        Reproduces,
        Reproduction,
        Statement,
    )
    from hanse.core.store.certificates import CertificateRow, HumanReviewRow

_QUALITY: Final = "quality."
_ALL_METRICS: Final = "quality.metric"
_KIB_BYTES: Final = 1024
_NANO: Final = 1_000_000_000
_UNITS: Final = ((1, "ns"), (1_000, "µs"), (1_000_000, "ms"), (_NANO, "s"))
_SHARE: Final = "accuracy"  # the claim that a number of rows can be worked out for
_MARGIN_MICRO: Final = 100_000  # ten points less is what a buyer would want to notice
_INDENT: Final = "  "


# --- words ----------------------------------------------------------------------------------


def check_name(desk: Desk, check_id: str) -> str:
    """Say what a check is called."""
    words = catalogue(desk.language)
    if check_id.startswith(_QUALITY) and check_id != _ALL_METRICS:
        metric = check_id.removeprefix(_QUALITY)
        return f"{words[f'word.check.{_ALL_METRICS}']}: {metric}"
    return words.get(f"word.check.{check_id}", check_id)


def reason_of(desk: Desk, one: CheckResult) -> str:
    """Say why a check came to what it came to; its detail where no reason is given or known."""
    if not one.reason:
        return one.detail
    try:
        return desk.say(f"check.reason.{one.reason}", **one.values)
    except (KeyError, IndexError, ValueError):  # of a suite that is not ours
        return ", ".join(it for it in (one.reason, one.detail) if it)


def duration(time_ns: int) -> str:
    """Write a time in the unit in which three digits say it."""
    size, unit = next(
        ((size, unit) for size, unit in reversed(_UNITS) if time_ns >= size), _UNITS[0]
    )
    whole = time_ns / size
    digits = 0 if unit == "ns" or whole >= 100 else 1 if whole >= 10 else 2
    return f"{whole:.{digits}f} {unit}"


def layer_name(desk: Desk, layer: str) -> str:
    """Say what a layer of the lock is, and how it is signed."""
    words = catalogue(desk.language)
    word = words.get(f"word.layer.{layer}") or words.get(f"word.layer.{layer.partition(':')[0]}")
    return layer if word is None else f"{word} [{layer}]"


def headed_by(desk: Desk, names: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Set rows under the heads of this part."""
    return table([desk.say(f"certify.head.{name}") for name in names], rows)


def _under(desk: Desk, title: str, lines: Iterable[str]) -> list[str]:
    return ["", desk.say(title), *(f"{_INDENT}{one}" for one in lines)]


def _interval(low_micro: int | None, high_micro: int | None) -> str:
    if low_micro is None or high_micro is None:
        return NOTHING
    return f"{micro_text(low_micro)} - {micro_text(high_micro)}"


# --- one result -----------------------------------------------------------------------------


def measured_lines(desk: Desk, measured: Measured) -> list[str]:
    """Show all that one run came to."""
    runtime, machine = measured.runtime, measured.machine
    rows = [
        ("suite", measured.suite),
        ("outcome", desk.say(f"certify.outcome.{measured.outcome}")),
        ("level", level(desk, measured.level)),
        ("machine", f"{machine.machine_class}, {machine.cpu}, {machine.ram_gib} GiB, {machine.os}"),
        ("runtime", NOTHING if runtime is None else f"{runtime.name} {runtime.version}"),
        ("finished", show_time(measured.finished_ms)),
    ]
    lines = list(rows_of([(desk.say(f"certify.head.{name}"), value) for name, value in rows]))
    lines += ["", *check_lines(desk, measured.checks)]
    lines += ["", *isolation_lines(desk, measured.isolation)]
    if measured.perf:
        lines += _under(desk, "certify.title.latency", _perf_table(desk, measured.perf))
    if (memory := measured.memory) is not None:
        kib = {"base": memory.base_kib, "loaded": memory.loaded_kib, "peak": memory.peak_kib}
        sizes = {f"{name}_bytes": one * _KIB_BYTES for name, one in kib.items()}
        lines += ["", desk.say("certify.memory", load=duration(memory.load_ns), **sizes)]
    same = measured.determinism
    if {same.repeat, same.session, same.threads} != {"not_measured"}:
        said = {name: desk.say(f"certify.same.{word}") for name, word in asdict(same).items()}
        lines.append(desk.say("certify.determinism", **said))
    if measured.quality:
        lines += _under(desk, "certify.title.quality", _quality_table(desk, measured.quality))
    return lines


def check_lines(desk: Desk, checks: Sequence[CheckResult]) -> tuple[str, ...]:
    """Set checks in a table: what each came to, and why."""
    rows = [
        (check_name(desk, one.id), desk.say(f"certify.result.{one.result}"), reason_of(desk, one))
        for one in checks
    ]
    return headed_by(desk, ("check", "result", "remark"), rows)


def isolation_lines(desk: Desk, isolation: Isolation) -> list[str]:
    """Say how the model was locked in, layer by layer."""
    grade = desk.say(f"certify.grade.{isolation.grade}")
    if isolation.grade == "none":
        return [desk.say("certify.isolation", grade=grade)]
    bounds = desk.say(
        "certify.bounds", memory_bytes=isolation.memory_mib * 1024**2, cpu_s=isolation.cpu_s
    )
    layers = [f"{_INDENT}{layer_name(desk, one)}" for one in isolation.layers]
    return [desk.say("certify.isolation", grade=grade), *layers, f"{_INDENT}{bounds}"]


def isolation_warning(desk: Desk, grade: str) -> list[str]:
    """Say aloud that a model was run behind limits only."""
    return [f"!!! {desk.say('certify.limits_only')}"] if grade == "limits" else []


def _perf_table(desk: Desk, rows: Sequence[PerfRow]) -> tuple[str, ...]:
    cells = [
        (
            str(row.batch),
            str(row.threads),
            str(row.n),
            *(duration(one) for one in (row.p10, row.p50, row.p90)),
            NOTHING if row.p99 is None else duration(row.p99),
            f"{row.rows_per_second:,}",
            desk.say("certify.noisy") if row.is_noisy else "",
        )
        for row in rows
    ]
    names = ("batch", "threads", "runs", "p10", "p50", "p90", "p99", "rows_per_second", "remark")
    return headed_by(desk, names, cells)


def _quality_table(desk: Desk, rows: Sequence[QualityRow]) -> tuple[str, ...]:
    cells = [
        (
            row.metric,
            row.slice or NOTHING,
            micro_text(row.value_micro),
            _interval(row.low_micro, row.high_micro),
            str(row.n),
            row.dataset,
            "; ".join(_quality_remarks(desk, row)),
        )
        for row in rows
    ]
    names = ("metric", "slice", "measured", "interval", "examples", "dataset", "remark")
    return headed_by(desk, names, cells)


def _quality_remarks(desk: Desk, row: QualityRow) -> list[str]:
    remarks = [] if row.is_public else [desk.say("certify.private")]
    if row.n < QUALITY_ROWS_LEAST and not row.slice:
        remarks.append(desk.say("certify.few_rows", least=QUALITY_ROWS_LEAST))
    return remarks


# --- claims ---------------------------------------------------------------------------------


def claim_lines(desk: Desk, claims: Sequence[ComparedClaim]) -> list[str]:
    """Set what the seller claims beside what was measured; a contradiction stands above it."""
    if not claims:
        return []
    rows = [
        (
            one.metric,
            one.slice or NOTHING,
            micro_text(one.claimed_micro),
            NOTHING if one.measured_micro is None else micro_text(one.measured_micro),
            _interval(one.low_micro, one.high_micro),
            str(one.n) if one.n else NOTHING,
            desk.say(f"certify.relation.{one.relation}"),
        )
        for one in claims
    ]
    names = ("metric", "slice", "claimed", "measured_here", "interval", "examples", "verdict")
    shown = _under(desk, "certify.title.claims", headed_by(desk, names, rows))
    too_few = [f"{_INDENT}{one}" for one in _too_few_lines(desk, claims)]
    return [*contradiction_lines(desk, claims), *shown, *too_few]


def _too_few_lines(desk: Desk, claims: Sequence[ComparedClaim]) -> list[str]:
    """Say where "as claimed" means little, and how many rows would be needed."""
    lines = []
    for one in claims:
        claim = one.claimed_micro
        if one.relation != "within" or one.metric != _SHARE or not _MARGIN_MICRO < claim < MICRO:
            continue
        if one.n < (needed := needed_n(claim, _MARGIN_MICRO)):
            values = {"claim": micro_text(claim), "margin": micro_text(_MARGIN_MICRO)}
            lines.append(desk.say(DataTooSmall.code, n=one.n, needed=needed, **values))
    return lines


def contradiction_lines(desk: Desk, claims: Sequence[ComparedClaim]) -> list[str]:
    """Say aloud which claims were not met; nothing where all were."""
    lines = []
    for one in claims:
        if one.relation != "worse" or one.measured_micro is None:
            continue
        said = desk.say(
            "certify.contradicted",
            metric=f"{one.metric} ({one.slice})" if one.slice else one.metric,
            claimed=micro_text(one.claimed_micro),
            measured=micro_text(one.measured_micro),
            interval=_interval(one.low_micro, one.high_micro),
            examples=one.n,
        )
        lines.append(f"!!! {said}")
    return ["", *lines] if lines else []


# --- who found the same ---------------------------------------------------------------------


def reproduces_line(desk: Desk, found: Reproduces) -> str:
    """Say what came of running another Certificate's vectors again."""
    values = {"entry": short_id(found.entry), "compared": found.compared}
    if found.verdict == "not_comparable":
        words = catalogue(desk.language)
        reason = words.get(f"certify.not_comparable.{found.reason}", found.reason)
        return desk.say("certify.reproduces.not_comparable", entry=values["entry"], reason=reason)
    largest = f"{found.max_abs_nano / _NANO:.3g}"
    if found.verdict == "differ":
        said = desk.say(
            "certify.reproduces.differ", failing=found.failing, max_abs=largest, **values
        )
        return f"!!! {said}"
    return desk.say("certify.reproduces.agree", max_abs=largest, **values)


def reproduction_line(desk: Desk, found: Reproduction) -> str:
    """Say how many others found the same, and whether they are weighed by trust."""
    said = desk.say(
        "certify.reproduced",
        agree=found.agree,
        differ=found.differ,
        not_comparable=found.not_comparable,
    )
    return said if found.is_weighted else f"{said} {desk.say('certify.unweighted')}"


def certificate_table(desk: Desk, view: CertificatesView) -> tuple[str, ...]:
    """Set Certificates in a table, those taken back struck through, with their reason."""
    counting: dict[bytes, CertificateRow] = {}
    for row in sorted(view.rows, key=lambda it: (it.time_ms, it.author, it.seq)):
        if row.revocation is None and row.is_known:
            counting[row.identity] = row
    rows = []
    for row in view.rows:
        outcome = desk.say(f"certify.outcome.{row.outcome}")
        shown = level(desk, row.level)
        is_void = row.revocation is not None
        rows.append(
            (
                short_id(row.cert),
                view.names.get(row.identity) or short_identity(row.identity),
                desk.say(f"certify.role.{row.role}"),
                f"~~{shown}~~" if is_void else shown,
                f"~~{outcome}~~" if is_void else outcome,
                row.suite,
                row.machine_class,
                show_time(row.finished_ms),
                "; ".join(_remarks(desk, row, is_older=counting.get(row.identity, row) != row)),
            )
        )
    names = (
        *("certificate", "signer", "role", "level", "outcome", "suite", "machine", "finished"),
        "remark",
    )
    return headed_by(desk, names, rows)


def _remarks(desk: Desk, row: CertificateRow, *, is_older: bool) -> list[str]:
    found = []
    if (revocation := row.revocation) is not None:
        reason = desk.say(f"certify.revoked.{revocation.reason}")
        found.append(desk.say("certify.taken_back", reason=reason))
        if revocation.text:
            found.append(revocation.text)
    elif is_older:
        found.append(desk.say("certify.older"))
    if not row.is_known:
        found.append(desk.say("certify.suite_unknown"))
    if row.isolation == "limits":
        found.append(desk.say("certify.grade.limits"))
    if row.verdict is not None and row.reproduces is not None:
        verdict = desk.say(f"certify.verdict.{row.verdict}")
        found.append(desk.say("certify.about", verdict=verdict, entry=short_id(row.reproduces)))
    if row.quality_failed:
        found.append(desk.say("certify.claim_not_met"))
    return found


def certificates_lines(desk: Desk, view: CertificatesView) -> list[str]:
    """Show all Certificates of an Artifact and what they come to."""
    if not view.rows:
        return [desk.say("certify.none_yet")]
    found = view.reproduction
    shown = level(desk, found.level)
    return [
        *certificate_table(desk, view),
        "",
        desk.say("certify.level_together", level=shown, meaning=level_meaning(desk, found.level)),
        reproduction_line(desk, found),
        *claim_lines(desk, view.claims),
    ]


def level_meaning(desk: Desk, number: int) -> str:
    """Say what a Level means, in a sentence."""
    return desk.say(f"certify.meaning.{LEVELS[number]}")


# --- one Certificate ------------------------------------------------------------------------


def statement_rows(desk: Desk, said: Statement) -> tuple[str, ...]:
    """Show what a statement says beside what was measured: of which files, by whom, for what."""
    golden = said.measured.golden
    values: Mapping[str, str | None] = {
        "artifact": said.artifact.hex(),
        "size": desk.say("value.size", size_bytes=said.size),
        "subject": "\n".join(f"{one.name}  {one.sha256.hex()}" for one in said.subjects),
        "role": desk.say(f"certify.role.{said.role}"),
        "release": None if said.release is None else said.release.hex(),
        "supersedes": None if said.supersedes is None else said.supersedes.hex(),
        "made_from": None if said.made_from is None else said.made_from.hex(),
        "parity": None if said.parity is None else desk.say(f"certify.parity.{said.parity}"),
        "golden": None if golden is None else f"{golden.n}  {golden.sha256.hex()}",
    }
    rows = [(desk.say(f"certify.head.{name}"), it) for name, it in values.items() if it is not None]
    return rows_of(rows)


# --- people ---------------------------------------------------------------------------------


def review_lines(desk: Desk, view: ReviewsView) -> list[str]:
    """Show who says what of a Release; an objection is as loud as an approval."""
    if not view.reviews:
        return [desk.say("review.none_yet")]
    lines = [desk.say(view.together.sentence, **asdict(view.together))]
    for row in view.reviews:
        lines += ["", *_one_review(desk, row, view.names.get(row.identity) or "")]
    return lines


def _one_review(desk: Desk, row: HumanReviewRow, name: str) -> list[str]:
    verdict = desk.say(f"review.verdict.{row.verdict}")
    who = f"{name} ({identity_text(row.identity)})" if name else identity_text(row.identity)
    lines = [f"{verdict}  {who}  {show_time(row.time_ms)}"]
    if row.conflict != "none":
        conflict = desk.say(f"review.conflict.{row.conflict}")
        payer = f": {row.paid_by}" if row.paid_by else ""
        lines.append(f"{_INDENT}! {desk.say('review.has_conflict', conflict=conflict)}{payer}")
    lines += [
        f"{_INDENT}{desk.say(f'review.answer.{point.answer}')}  "
        f"{desk.say(f'word.point.{word}')}" + (f": {point.note}" if point.note else "")
        for word, point in zip(CHECKLIST, row.points, strict=True)
        if point.answer != "yes" or point.note
    ]
    lines += [f"{_INDENT}{one}" for one in row.notes.split("\n") if one]
    return lines
