"""``hanse certify``: test a model on this computer, show what was measured, and sign it.

* What is meant may be held here already, or be a file: then it becomes a Draft first.
* Ctrl-C keeps every check that is finished; the same command goes on with the next one.
* Figures on a person's own data are shown and stay here, unless he says otherwise.
* What will be signed is shown before it is signed; a failure is signed as loudly as a success.
* A check that failed, or another's figures that could not be found again, make the answer no.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from hanse.app.answers import Answer
from hanse.app.command_line import MissingValue
from hanse.app.commands.certify_shown import (
    check_name,
    claim_lines,
    level_meaning,
    measured_lines,
    reproduces_line,
    statement_rows,
)
from hanse.app.commands.certify_typed import OptionNeedsOther, check_length, data_mapping
from hanse.app.commands.ledger import refuse_existing
from hanse.app.commands.listing_bodies import rows_of
from hanse.app.commands.listing_words import level
from hanse.app.desk import Cancelled as SaidNo
from hanse.app.progress import long_work
from hanse.core.certify.data import MappingNeeded
from hanse.core.certify.lockdown import offered
from hanse.core.engine.certify_data import written_mapping
from hanse.core.engine.certify_target import CertifyRequest, NothingToCertify
from hanse.core.engine.suite_runs import OtherArtifact, suite_of
from hanse.core.errors import EXIT_NO, FileUnreadable, HanseError
from hanse.core.model.control import Cancelled
from hanse.core.sentences import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hanse.app.desk import Desk
    from hanse.core.engine.certificates import RevokeReason
    from hanse.core.engine.certify_target import Target
    from hanse.core.engine.certifying import JobView, ToSign
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.signing import Preview
    from hanse.core.model.certificate import CheckResult, Measured

SUITE: Final = "core"
REVOKE_TEXT_CHARACTERS_MOST: Final = 500
USUAL_SUITE: Final = "core"
_STAGE: Final = "certify"  # what the suite says before each check
_ALL_METRICS: Final = "quality.*"
_NICE_BACKGROUND: Final = 10
_FULL_DIGITS: Final = frozenset("0123456789abcdefABCDEF")
_DIGITS_LEAST: Final = 8


class ChecksFailed(HanseError):
    """The model did not pass; that is the answer, signed or not."""

    code = "certify.checks_failed"
    text = "checks failed: {checks}"
    fields = ("checks",)
    exit_code = EXIT_NO


class NotReproduced(HanseError):
    """Another's outputs could not be found again."""

    code = "certify.not_reproduced"
    text = "{failing} of {compared} outputs differ"
    fields = ("failing", "compared")
    exit_code = EXIT_NO


class CheckProgress:
    """Says which check of how many is under way."""

    def __init__(self, desk: Desk) -> None:
        """Nothing is under way yet."""
        self._desk = desk
        self._number = self._total = 0

    def __call__(self, stage: str, done: int, total: int) -> str | None:
        """Describe a stage; ``None`` for one that is no check."""
        say = self._desk.say
        if stage == _STAGE:
            self._number, self._total = done + 1, total
            return say("certify.progress", number=self._number, total=self._total)
        if f"word.check.{stage.replace('*', 'metric')}" not in catalogue(self._desk.language):
            return None
        name = check_name(self._desk, stage.replace("*", "metric"))
        if not self._total:
            return name
        said = say("certify.progress_check", number=self._number, total=self._total, check=name)
        return f"{said} {min(100, 100 * done // total)} %" if total > 1 else said


def certify(
    desk: Desk,
    *,
    artifact: str | None,
    suite: str | None,
    data: Path | None,
    mapping_file: Path | None,
    target: Sequence[str],
    slice_column: str | None,
    group: str | None,
    positive: str | None,
    inputs: Sequence[str],
    metric: Sequence[str],
    publish_data_figures: bool,
    reproduce: str | None,
    cores: int | None,
    background: bool,
    no_sign: bool,
    out: Path | None,
    revoke: str | None,
    reason: str | None,
    text: str | None,
) -> Answer:
    """Run a suite on a model and sign what it came to, or take an own Certificate back."""
    if revoke is not None:
        if artifact is not None:
            raise OptionNeedsOther(option="--revoke", needed="no_model")
        return _revoke(desk, revoke, reason, text or "")
    if artifact is None:
        raise MissingValue(name=desk.say("metavar.artifact"))
    if reason is not None or text is not None:
        raise OptionNeedsOther(option="--reason, --text", needed="revoke")
    mapping = data_mapping(
        mapping_file,
        target=target,
        slice_column=slice_column,
        group=group,
        positive=positive,
        inputs=inputs,
    )
    if data is None and (mapping is not None or metric or publish_data_figures):
        raise OptionNeedsOther(option="--map, --target, --input, --metric, ...", needed="data")
    if data is not None and not data.exists():
        raise FileUnreadable(path=data, detail="No such file or directory")
    if out is not None and (no_sign or background):
        raise OptionNeedsOther(option="--out", needed="signing")
    if out is not None:
        refuse_existing(out)
    suite_of(suite or USUAL_SUITE)
    with desk.opened(is_signing=not (no_sign or background)) as engine:
        if desk.runtime is None:  # else it was done when the jobs were started
            engine.certifying.recover()
        work = _Work(desk, engine)
        try:
            found = work.target(artifact)
        except Cancelled as error:
            return Answer({}, [desk.say("publish.stopped")], error)
        reference = work.reference(reproduce, found)
        if suite is None and reference is not None:  # under another one nothing compares
            suite = engine.certificates.show(reference).row.suite
        request = CertifyRequest(
            artifact=found.artifact,
            release=found.release,
            suite=suite or USUAL_SUITE,
            reproduces=reference,
            data="" if data is None else str(data),
            mapping=written_mapping(mapping),
            metrics=tuple(metric),
            is_public=publish_data_figures,
            cores=chosen_cores(desk, cores),
            nice=_NICE_BACKGROUND if background else 0,
        )
        if background:
            queued = engine.certifying.queue(request, now=False)
            job = queued.row.job
            lines = [desk.say("certify.queued", job=job)]
            return Answer({"job": job, "state": queued.row.state, "draft": work.draft}, lines)
        work.may_run(found)
        return work.run(request, is_signing=not no_sign, out=out)


def chosen_cores(desk: Desk, given: int | None) -> int:
    """Return how many cores may be used: what was typed, or what the settings allow."""
    most = desk.hanse.settings.cores
    if given is None:
        return most
    return min(given or most, most or given)


@dataclass(slots=True)
class _Work:
    """One certification at the terminal; ``draft`` is what a file was imported as."""

    desk: Desk
    engine: Engine
    draft: bytes | None = None

    def target(self, text: str) -> Target:
        """Find what is meant: something held here by its id, or a file, which is imported."""
        engine, desk = self.engine, self.desk
        path = desk.path(text)
        is_id = len(text) >= _DIGITS_LEAST and _FULL_DIGITS.issuperset(text)
        if path.exists() and not is_id:
            return self._imported(path)
        try:
            return engine.certifying.named(text)
        except NothingToCertify:
            if not path.exists():
                raise
        desk.tell("certify.taken_as_file", path=path)
        return self._imported(path)

    def _imported(self, path: Path) -> Target:
        with long_work(self.desk, CheckProgress(self.desk)) as progress:
            begun = self.engine.publishing.begin(path.absolute(), progress.control)
        self.draft = begun.draft_id
        self.desk.tell("certify.imported", path=path, draft=begun.draft_id.hex())
        return self.engine.certifying.named(begun.draft_id.hex())

    def reference(self, text: str | None, found: Target) -> bytes | None:
        """Return the Certificate that is to be reproduced, which must be of this Artifact."""
        if text is None:
            return None
        view = self.engine.certificates.show(self.engine.certificates.named(text))
        if view.row.artifact != found.artifact:
            raise OtherArtifact(expected=view.row.artifact, found=found.artifact)
        return view.row.cert

    def may_run(self, found: Target) -> None:
        """Ask before another's model runs where this system offers limits only."""
        if offered().grade == "limits" and found.role != "seller":
            self.desk.confirm([self.desk.say("certify.limits_consent", artifact=found.artifact)])

    def run(self, request: CertifyRequest, *, is_signing: bool, out: Path | None) -> Answer:
        """Run the job and answer what it came to."""
        desk, certifying = self.desk, self.engine.certifying
        with desk.measuring(), long_work(desk, CheckProgress(desk)) as progress:
            job = certifying.queue(request, now=True).row
            if job.is_paused:
                certifying.pause(job.job, is_paused=False)
            try:
                view = certifying.run(job.job, progress.control, is_interrupted=lambda: True)
            except Cancelled as error:
                if desk.runtime is not None:  # whose jobs would go on with it at once
                    certifying.pause(job.job, is_paused=True)
                row = certifying.job(job.job).row
                said = desk.say("certify.stopped", done=row.done, total=row.total)
                return Answer({"job": row.job, "done": row.done, "total": row.total}, [said], error)
            except MappingNeeded:
                progress.clear()
                desk.tell("certify.how_to_map")
                raise
        extra = {"draft": self.draft}
        return result_answer(desk, self.engine, view, is_signing=is_signing, out=out, extra=extra)


def result_answer(
    desk: Desk,
    engine: Engine,
    view: JobView,
    *,
    is_signing: bool,
    out: Path | None = None,
    extra: Mapping[str, object] | None = None,
) -> Answer:
    """Show what a job came to, sign it after a yes, and answer whether all is well."""
    job, tested = view.row.job, view.tested
    assert tested is not None, "a job that is done has a result"
    claims = engine.certifying.claims(job)
    lines = [*measured_lines(desk, tested.measured), *claim_lines(desk, claims)]
    if tested.reproduces is not None:
        lines += ["", reproduces_line(desk, tested.reproduces)]
    lines += ["", desk.say("certify.level_here", level=level(desk, tested.measured.level))]
    lines.append(level_meaning(desk, tested.measured.level))
    failed = [one for one in tested.measured.checks if one.result == "fail"]
    result: dict[str, object] = {
        "job": job,
        "measured": tested.measured,
        "outcome": tested.measured.outcome,
        "reproduces": tested.reproduces,
        "claims": claims,
        "certificate": None,
        "file": out,
        **(extra or {}),
    }
    refusal: HanseError | None = None
    if failed:
        refusal = ChecksFailed(checks=tuple(one.id for one in failed))
    elif tested.reproduces is not None and tested.reproduces.verdict == "differ":
        found = tested.reproduces
        refusal = NotReproduced(failing=found.failing, compared=found.compared)
    if has_private(tested.measured):
        lines.append(desk.say("certify.private_stays"))
    lines += failed_lines(desk, failed)
    if not is_signing:
        lines += ["", desk.say("certify.not_signed", job=job)]
        return Answer(result, lines, refusal)
    if not desk.is_json:
        desk.console.out("\n".join([*lines, ""]))
    to_sign = engine.certifying.preview(job)
    result["level"] = to_sign.statement.level
    result["private_rows"] = to_sign.private_rows
    try:
        desk.confirm(_to_sign_lines(desk, to_sign))
    except SaidNo as error:
        return Answer(result, [desk.say("certify.not_signed", job=job)], error)
    cert = engine.certifying.sign(to_sign)
    result["certificate"] = cert
    said = [desk.say("certify.signed", cert=cert)]
    if out is not None:
        engine.certificates.export(cert, out)
        said.append(desk.say("certificate.exported", path=out))
    return Answer(result, said, refusal)


def failed_lines(desk: Desk, failed: Sequence[CheckResult]) -> list[str]:
    """Say aloud what did not pass."""
    if not failed:
        return []
    names = tuple(check_name(desk, one.id) for one in failed)
    return ["", f"!!! {desk.say('certify.failed_aloud', checks=names)}"]


def has_private(measured: Measured) -> bool:
    """Say whether some figures were measured on data that stay here."""
    return any(not row.is_public for row in measured.quality)


def _to_sign_lines(desk: Desk, to_sign: ToSign) -> list[str]:
    """Show what is signed: the statement, what was left out of it, and its Entry."""
    said = to_sign.statement
    lines = [
        desk.say("certify.to_sign"),
        "",
        *statement_rows(desk, said),
        desk.say("certify.level_signed", level=level(desk, said.level)),
        desk.say("certify.checks_signed", count=len(said.measured.checks)),
        desk.say("certify.figures_signed", count=len(said.measured.quality)),
    ]
    if to_sign.private_rows:
        lines.append(desk.say("certify.left_out", count=to_sign.private_rows))
    if said.measured.isolation.grade == "limits":
        lines.append(desk.say("certify.limits_only"))
    return [*lines, "", *entry_rows(desk, to_sign.preview)]


def entry_rows(desk: Desk, preview: Preview) -> tuple[str, ...]:
    """Name the Entries of a preview: kind, length, hash of the Body, id."""
    rows = []
    for entry in preview.entries:
        rows += [
            (desk.say("label.kind"), entry.kind),
            (desk.say("label.bytes"), str(entry.body_len)),
            (desk.say("label.body_hash"), entry.body_hash.hex()),
            (desk.say("label.entry"), entry.entry_id.hex()),
        ]
    return rows_of(rows)


def _revoke(desk: Desk, cert: str, reason: str | None, text: str) -> Answer:
    """Take an own Certificate back: it stays, struck through, with the reason."""
    if reason is None:
        raise MissingValue(name="--reason")
    check_length("--text", text, REVOKE_TEXT_CHARACTERS_MOST)
    word = cast("RevokeReason", reason.replace("-", "_"))
    with desk.opened(is_signing=True) as engine:
        view = engine.certificates.show(engine.certificates.named(cert))
        preview = engine.certificates.revoke(view.row.cert, word, text)
        said = view.certificate.statement
        desk.confirm(
            [
                desk.say("certify.to_revoke", reason=desk.say(f"certify.revoked.{word}")),
                *([text] if text else []),
                "",
                *statement_rows(desk, said),
                desk.say("certify.level_signed", level=level(desk, said.level)),
                "",
                *entry_rows(desk, preview),
            ]
        )
        entry = engine.certificates.sign(preview)
    lines = [desk.say("certify.revoked_now", cert=view.row.cert)]
    return Answer({"revoked": view.row.cert, "reason": word, "entry": entry.entry_id}, lines)
