"""``hanse listing``: offer a model, and go on with a Draft.

Publishing is the one call of ``hanse.core.engine.publish_call``; here is what a person types,
sees, and says yes to.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Unpack

import msgspec

from hanse.app.answers import Answer
from hanse.app.columns import table
from hanse.app.commands.certify import CheckProgress
from hanse.app.commands.certify_shown import check_name, level_meaning, reason_of
from hanse.app.commands.listing_bodies import rows_of
from hanse.app.commands.listing_drafts import draft_lines, to_sign_lines
from hanse.app.commands.listing_typed import ListingOptions, Said, understand
from hanse.app.commands.listing_words import level, told
from hanse.app.commands.showing import short_id
from hanse.app.desk import Cancelled as SaidNo
from hanse.app.progress import Progress, long_work
from hanse.core.engine.certify_target import CertifyRequest
from hanse.core.engine.naming import id_digits, the_one
from hanse.core.engine.preparing import Preparation
from hanse.core.engine.publish_call import (
    BadArguments,
    Call,
    NotPublished,
    PublishCancelled,
    offer,
)
from hanse.core.errors import EnvironmentFault
from hanse.core.limits import LISTING_SUMMARY_CHARACTERS_MAX
from hanse.core.market.completeness import ai_act_gaps
from hanse.core.model.control import Cancelled
from hanse.core.model.listing import Draft
from hanse.core.sentences import show_time
from hanse.core.store.drafts import DRAFT_ID_SIZE_BYTES
from hanse.core.store.jobs import TooManyJobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.app.desk import Desk
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.publish_call import Published
    from hanse.core.engine.publishing import DraftView
    from hanse.core.engine.signing import Preview
    from hanse.core.errors import HanseError

_RUNS: Final = 2  # the Level from which on a model can be measured
_ASKED: Final = (  # option, field of a Draft, question
    ("name", "title", "ask.listing_name"),
    ("description", "text", "ask.listing_description"),
    ("price", "price", "ask.listing_price"),
)


def publish(
    desk: Desk,
    *,
    path: Path,
    listing: str | None,
    samples: Path | None,
    python: Path | None,
    trust: Sequence[str],
    as_is: bool,
    draft_only: bool,
    **typed: Unpack[ListingOptions],
) -> Answer:
    """Import a model, prepare and describe it, show what will be signed, and publish it."""
    preparation = _preparation(samples, python, trust, is_as_is=as_is)
    with desk.opened(is_signing=not draft_only) as engine:
        of = None if listing is None else engine.catalogue.listing_named(listing)
        base = Draft(lang=_tag(desk.language)) if of is None else engine.offering.draft(of)
        said = understand(typed, engine.catalogue.base_named)
        offered = _Offered(desk, engine, said, base, goes_on=of is not None)
        if draft_only:
            return offered.keep(path, of, preparation)
        return offered.publish(replace(offered.call(path), listing=of, preparation=preparation))


def resume(
    desk: Desk,
    *,
    draft: str,
    samples: Path | None,
    python: Path | None,
    trust: Sequence[str],
    as_is: bool,
    draft_only: bool,
    **typed: Unpack[ListingOptions],
) -> Answer:
    """Edit a Draft that is kept, and publish it."""
    preparation = _preparation(samples, python, trust, is_as_is=as_is)
    with desk.opened(is_signing=not draft_only) as engine:
        view = engine.publishing.view(_draft_named(engine, draft))
        said = understand(typed, engine.catalogue.base_named)
        offered = _Offered(desk, engine, said, view.draft, goes_on=True)
        if draft_only:
            return offered.edit(view.draft_id, preparation)
        call = offered.call(Path(view.source or view.draft_id.hex()))
        return offered.publish(replace(call, draft=view.draft_id, preparation=preparation))


def drafts(desk: Desk) -> Answer:
    """List the Drafts that are not published."""
    with desk.reading() as engine:
        found = engine.publishing.drafts()
    if not found:
        return Answer(found, [desk.say("drafts.none")])
    rows = [
        (
            short_id(it.draft_id),
            it.draft.title or "-",
            desk.say(f"word.draft_state.{it.state.value}"),
            str(len(it.errors)),
            f"{it.completeness.percent} %",
            show_time(it.updated_ms),
            it.source or "-",
        )
        for it in found
    ]
    names = ("draft", "title", "state", "errors", "complete", "changed", "source")
    return Answer(found, table([desk.say(f"label.{name}") for name in names], rows))


def draft(desk: Desk, *, draft: str, drop: bool) -> Answer:
    """Show a Draft with everything that is wrong with it, or drop it."""
    with desk.writing() if drop else desk.reading() as engine:
        view = engine.publishing.view(_draft_named(engine, draft))
        if not drop:
            result = {"draft": view, "gaps": ai_act_gaps(view.draft)}
            return Answer(result, draft_lines(desk, view))
        rows = [
            (desk.say("label.draft"), view.draft_id.hex()),
            (desk.say("label.title"), view.draft.title or "-"),
        ]
        desk.confirm([desk.say("draft.drop"), *rows_of(rows)])
        engine.publishing.drop(view.draft_id)
    return Answer({"dropped": view.draft_id}, [desk.say("draft.dropped")])


@dataclass(slots=True)
class _Offered:
    """One Draft on its way: what it begins with, what was typed, and who looks on.

    ``goes_on`` says that ``base`` was a Listing or a Draft before, whose values stay.
    """

    desk: Desk
    engine: Engine
    said: Said
    base: Draft
    goes_on: bool

    def call(self, path: Path) -> Call:
        """Return the call: from the base, the card, what was typed, or what is asked now."""
        self._ask()
        draft = self.said.edit(self.base)
        has_currency = self.goes_on or "currency" in self.said.changes
        return Call(
            model_name=draft.title,
            model_description=draft.text,
            model_file=path,
            price=draft.price,
            currency=draft.currency if has_currency else None,
            lang=draft.lang,
            untested=draft.untested,
            change=self.change,
            problems=tuple(self.said.problems),
        )

    def change(self, draft: Draft) -> Draft:
        """Put what was typed into the Draft that the call has filled."""
        if self.goes_on:
            kept = self.base
            draft = msgspec.structs.replace(draft, summary=kept.summary, tiers=kept.tiers)
        return self.said.edit(draft)

    def publish(self, call: Call) -> Answer:
        """Offer it, and answer what came of it: the success line first, or every reason."""
        desk = self.desk
        lines: list[str] = []
        agree = None
        self._keep_evaluation()
        with long_work(desk, CheckProgress(desk)) as progress:
            if not desk.hanse.settings.is_yes:
                agree = lambda view, preview: self._agrees(progress, view, preview)  # noqa: E731
            try:
                done = offer(
                    self.engine,
                    call,
                    desk.language,
                    progress.control,
                    agree=agree,
                    echo=lines.append,
                )
            except (NotPublished, PublishCancelled, EnvironmentFault) as error:
                return self._refused(error, lines, call)
            except Cancelled as error:
                return Answer({}, [desk.say("publish.stopped")], error)
        notes = self._notes()
        lines += ["", *rows_of(_published_rows(desk, done)), level_meaning(desk, done.level)]
        warnings = dict.fromkeys((*notes, *done.warnings))
        if warnings:
            lines += ["", desk.say("draft.warnings"), *(f"  {one}" for one in warnings)]
        job = self._measure_later(done)
        if job is not None:
            lines += ["", desk.say("publish.measure_later", job=job)]
        lines += ["", desk.say("publish.next", listing=done.listing_id)]
        result = {
            "listing": done.listing_id,
            "release": done.release_id,
            "artifact": done.artifact_id,
            "author": done.author,
            "seq": done.seq,
            "level": done.level,
            "job": job,
            "warnings": tuple(warnings),
            "transaction": done.to_dict(),
        }
        return Answer(result, lines)

    def keep(self, path: Path, listing: bytes | None, preparation: Preparation | None) -> Answer:
        """Import and describe, and leave it at that."""
        if self.said.problems:
            return self._unclear(path.name)
        self._keep_evaluation()
        with long_work(self.desk) as progress:
            try:
                begun = self.engine.publishing.begin(
                    path, progress.control, listing=listing, preparation=preparation
                )
            except Cancelled as error:
                return Answer({}, [self.desk.say("publish.stopped")], error)
        return self._kept(begun.draft_id)

    def edit(self, draft_id: bytes, preparation: Preparation | None) -> Answer:
        """Edit a kept Draft, and leave it at that."""
        if self.said.problems:
            return self._unclear(self.base.title)
        self._keep_evaluation()
        with long_work(self.desk) as progress:
            try:
                self.engine.publishing.prepare(draft_id, progress.control, preparation)
            except Cancelled as error:
                return Answer({}, [self.desk.say("publish.stopped")], error)
        return self._kept(draft_id)

    def _kept(self, draft_id: bytes) -> Answer:
        def change(draft: Draft) -> Draft:
            if not self.goes_on:
                draft = msgspec.structs.replace(draft, lang=self.base.lang)
            return self.said.edit(draft)

        view = self.engine.publishing.edit(draft_id, change)
        lines = [self.desk.say("draft.kept", draft=draft_id), "", *draft_lines(self.desk, view)]
        notes = [f"  {one}" for one in self._notes()]
        return Answer({"draft": view, "gaps": ai_act_gaps(view.draft)}, [*lines, *notes])

    def _agrees(self, progress: Progress, view: DraftView, preview: Preview) -> bool:
        """Show what will be signed, and ask; an interrupted question is a no."""
        with progress.asking():
            for line in to_sign_lines(self.desk, view, preview):
                self.desk.console.err(line)
            for line in self._tested_lines(view.draft):
                self.desk.console.err(line)
            for line in self._notes():
                self.desk.console.err(line)
            try:
                self.desk.yes_or_cancel("confirm.sign")
            except (SaidNo, EOFError, KeyboardInterrupt):
                return False
        return True

    def _keep_evaluation(self) -> None:
        """Keep the data given with the Listing, unless something that was typed is wrong."""
        if self.said.evaluation is not None and not self.said.problems:
            self.engine.content.small.put(self.said.evaluation.raw)

    def _tested_lines(self, draft: Draft) -> list[str]:
        """Say what the checks before publishing came to."""
        if draft.untested:
            return [self.desk.say("publish.untested")]
        found = None if draft.artifact is None else self.engine.certifying.tested(draft.artifact)
        if found is None or found.tested is None:
            return []
        checks = found.tested.measured.checks
        count = Counter(one.result for one in checks)
        lines = [
            self.desk.say(
                "publish.tested",
                passed=count["pass"],
                warned=count["warn"],
                skipped=count["skip"],
            )
        ]
        odd = [one for one in checks if one.result == "warn"]
        return lines + [
            f"  {check_name(self.desk, one.id)}: {reason_of(self.desk, one)}" for one in odd
        ]

    def _measure_later(self, done: Published) -> int | None:
        """Queue what was seen to run to be measured, once; ``None`` where that is not wanted."""
        settings = self.desk.hanse.settings
        if not settings.is_measuring or done.level < _RUNS:
            return None
        request = CertifyRequest(
            artifact=done.artifact_id, release=done.release_id, cores=settings.cores
        )
        try:
            queued = self.engine.certifying.queue(request, now=False, again=False)
        except TooManyJobs:
            return None  # publishing has gone well; the queue is full and will say so itself
        return queued.row.job

    def _ask(self) -> None:
        """Ask a person for the three words that cannot be left out."""
        if not self.desk.console.has_person:
            return  # what is missing is told with everything else
        for option, field, question in _ASKED:
            if getattr(self.said.edit(self.base), field).strip():
                continue
            answer = self.desk.console.ask(self.desk.say(question)).strip()
            self.said.changes[field] = answer
            if option == "description":
                self.said.changes["summary"] = answer[:LISTING_SUMMARY_CHARACTERS_MAX]

    def _notes(self) -> tuple[str, ...]:
        return told(self.desk, self.said.notes)

    def _refused(self, error: HanseError, lines: list[str], call: Call) -> Answer:
        """Answer no; a Draft that is kept is named, so that it can be mended."""
        if lines and not call.model_name.strip() and not isinstance(error, PublishCancelled):
            lines[0] = self.desk.say("publish.failed", model=call.model_file.name)
        kept = call.draft or next(
            (
                it.draft_id
                for it in self.engine.publishing.drafts()
                if it.source == str(call.model_file.absolute())
            ),
            None,
        )
        if kept is not None:
            lines += ["", self.desk.say("draft.resume", draft=kept)]
        return Answer({"draft": kept}, lines, error)

    def _unclear(self, name: str) -> Answer:
        reasons = told(self.desk, self.said.problems)
        return Answer({}, reasons, BadArguments(name, reasons))


def _published_rows(desk: Desk, done: Published) -> list[tuple[str, str]]:
    values = {
        "listing": done.listing_id.hex(),
        "release": done.release_id.hex(),
        "artifact": done.artifact_id.hex(),
        "author": done.author.hex(),
        "seq": str(done.seq),
        "level": level(desk, done.level),
    }
    return [(desk.say(f"label.{name}"), value) for name, value in values.items()]


def _preparation(
    samples: Path | None, python: Path | None, trust: Sequence[str], *, is_as_is: bool
) -> Preparation | None:
    """Return what was given for a Conversion; None leaves what was prepared alone."""
    if samples is None and python is None and not trust and not is_as_is:
        return None
    return Preparation(samples=samples, python=python, trusted=tuple(trust), as_is=is_as_is)


def _draft_named(engine: Engine, text: str) -> bytes:
    """Return the Draft whose id begins with ``text``."""
    digits = id_digits(text)
    if len(digits) == 2 * DRAFT_ID_SIZE_BYTES:
        return bytes.fromhex(digits)
    found = (it.draft_id for it in engine.publishing.drafts())
    return the_one(text, "draft", [it for it in found if it.hex().startswith(digits)])


def _tag(language: str) -> str:
    return language.replace("_", "-")  # the Ledger has tags, not locales
