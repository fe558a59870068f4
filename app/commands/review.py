"""``hanse review``: what people say of Releases, and saying so oneself.

* ``human`` answers eight points and gives one verdict; what is not typed is asked, if anybody
  can be asked.  An interest of one's own is stated, and asked for.
* ``list`` shows everybody's newest word; an objection is as loud as an approval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from hanse.app.answers import Answer
from hanse.app.command_line import BadValue
from hanse.app.command_table import CONFLICTS, VERDICTS
from hanse.app.commands.certify import entry_rows
from hanse.app.commands.certify_shown import review_lines
from hanse.app.commands.certify_typed import OptionNeedsOther, check_length
from hanse.app.commands.listing_bodies import rows_of
from hanse.app.desk import OptionNeeded
from hanse.core.engine.certify_target import NothingToCertify
from hanse.core.engine.human_reviews import Point, Review
from hanse.core.model.card import CHECKLIST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.app.desk import Desk
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.human_reviews import Answer as PointAnswer
    from hanse.core.engine.human_reviews import Conflict, Verdict
    from hanse.core.model.ids import EntryId

ANSWERS: Final = ("yes", "no", "na")
NOTE_CHARACTERS_MOST: Final = 500
NOTES_CHARACTERS_MOST: Final = 4000
PAYER_CHARACTERS_MOST: Final = 200
TRIED_MOST: Final = 16
_TRIES: Final = 3


def human(
    desk: Desk,
    *,
    release: str,
    point: Sequence[str],
    verdict: str | None,
    notes: str | None,
    conflict: str | None,
    paid_by: str | None,
    tried: Sequence[str],
) -> Answer:
    """Judge a Release: answer the eight points, give a verdict, and sign it after a yes."""
    points = dict(map(_point, point))
    check_length("--notes", notes or "", NOTES_CHARACTERS_MOST)
    check_length("--paid-by", paid_by or "", PAYER_CHARACTERS_MOST)
    if len(tried) > TRIED_MOST:
        raise BadValue(name="--tried", found=str(len(tried)), expected=f"0 - {TRIED_MOST}")
    with desk.opened(is_signing=True) as engine:
        found = _release_named(engine, release)
        given = _Asked(desk).review(points, verdict, notes, conflict, paid_by)
        certs = tuple(engine.certificates.named(one) for one in tried)
        review = Review(
            points=given.points,
            verdict=given.verdict,
            notes=given.notes,
            conflict=given.conflict,
            paid_by=given.paid_by,
            tried=certs,
        )
        preview = engine.human_reviews.preview(found, review)
        desk.confirm(
            [
                desk.say("review.to_sign"),
                "",
                *_shown(desk, found, review),
                "",
                *entry_rows(desk, preview),
            ]
        )
        entry = engine.human_reviews.post(preview)
    result = {"review": entry.entry_id, "release": found, "verdict": review.verdict}
    return Answer(result, [desk.say("review.signed", entry=entry.entry_id)])


def show_list(desk: Desk, *, release: str, wanted: int) -> Answer:
    """Show who says what of a Release, and whether as many approve as are wanted."""
    with desk.reading() as engine:
        view = engine.human_reviews.of_release(_release_named(engine, release), wanted)
    result = {
        "reviews": view.reviews,
        "names": {row.entry.hex(): view.names[row.identity] for row in view.reviews},
        "together": view.together,
        "is_met": view.together.is_met,
    }
    return Answer(result, review_lines(desk, view))


def _release_named(engine: Engine, text: str) -> EntryId:
    """Return the Release meant by its own id or that of its Listing."""
    found = engine.certifying.offered_or_held(text)
    if found.release is None:
        raise NothingToCertify(found=text)
    return found.release


class _Asked:
    """Completes what was typed by asking, where somebody can be asked."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def review(
        self,
        points: dict[str, Point],
        verdict: str | None,
        notes: str | None,
        conflict: str | None,
        paid_by: str | None,
    ) -> Review:
        desk = self._desk
        has_person = desk.console.has_person
        is_asking = verdict is None or len(points) < len(CHECKLIST)
        if has_person and is_asking:
            self._ask_points(points)
        if conflict is None:
            asked = has_person and is_asking
            conflict = self._choose("--conflict", "review.ask_conflict", CONFLICTS, asked, "none")
        if conflict == "paid" and not paid_by:
            paid_by = check_length(
                "--paid-by",
                desk.text(None, "--paid-by", "review.ask_paid_by"),
                PAYER_CHARACTERS_MOST,
            )
        if paid_by and conflict != "paid":
            raise OptionNeedsOther(option="--paid-by", needed="paid")
        if verdict is None:
            verdict = self._choose("--verdict", "review.ask_verdict", VERDICTS, has_person, None)
        if notes is None and has_person and is_asking:
            notes = desk.console.ask(desk.say("review.ask_notes")).strip()
        return Review(
            points=points,
            verdict=cast("Verdict", verdict),
            notes=check_length("--notes", notes or "", NOTES_CHARACTERS_MOST),
            conflict=cast("Conflict", conflict),
            paid_by=paid_by or None,
        )

    def _ask_points(self, points: dict[str, Point]) -> None:
        """Ask for each point that is open; who answers nothing sensible is told the form."""
        desk = self._desk
        for number, name in enumerate(CHECKLIST, start=1):
            if name in points:
                continue
            question = desk.say(
                "review.ask_point",
                number=number,
                count=len(CHECKLIST),
                point=desk.say(f"word.point.{name}"),
            )
            for _ in range(_TRIES):
                answer, _, note = desk.console.ask(question).partition(":")
                if (word := self._meant(answer, ANSWERS, "review.answer")) is not None:
                    note = check_length("--point", note.strip(), NOTE_CHARACTERS_MOST)
                    points[name] = Point(cast("PointAnswer", word), note)
                    break
            else:
                raise OptionNeeded(option=f"--point {name}=...")

    def _choose(
        self,
        option: str,
        question: str,
        known: Sequence[str],
        is_asked: bool,  # noqa: FBT001 - said by both callers in one line
        usual: str | None,
    ) -> str:
        desk = self._desk
        if not is_asked:
            if usual is None:
                raise OptionNeeded(option=option)
            return usual
        group = "review.verdict" if option == "--verdict" else "review.conflict"
        shown = ", ".join(f"{one} ({desk.say(f'{group}.{one}')})" for one in known)
        for _ in range(_TRIES):
            typed = desk.console.ask(desk.say(question, known=shown)).strip()
            if not typed and usual is not None:
                return usual
            if (word := self._meant(typed, known, group)) is not None:
                return word
        raise OptionNeeded(option=option)

    def _meant(self, typed: str, known: Sequence[str], group: str) -> str | None:
        """Return the word somebody meant, in English or his own language."""
        asked = typed.strip().casefold()
        for one in known:
            if asked in {one, self._desk.say(f"{group}.{one}").casefold()}:
                return one
        return None


def _point(one: str) -> tuple[str, Point]:
    name, equals, rest = one.partition("=")
    answer, _, note = rest.partition(":")
    word = name.strip().replace("-", "_")
    if word not in CHECKLIST:
        raise BadValue(name="--point", found=one, expected=", ".join(CHECKLIST))
    if not equals or answer.strip() not in ANSWERS:
        raise BadValue(name="--point", found=one, expected="NAME=yes|no|na[:NOTE]")
    check_length("--point", note.strip(), NOTE_CHARACTERS_MOST)
    return word, Point(cast("PointAnswer", answer.strip()), note.strip())


def _shown(desk: Desk, release: EntryId, review: Review) -> tuple[str, ...]:
    rows = [
        (desk.say("certify.head.release"), release.hex()),
        (desk.say("certify.head.verdict"), desk.say(f"review.verdict.{review.verdict}")),
        *(
            (
                desk.say(f"word.point.{name}"),
                desk.say(f"review.answer.{one.answer}") + (f": {one.note}" if one.note else ""),
            )
            for name, one in ((it, review.points[it]) for it in CHECKLIST if it in review.points)
        ),
        (desk.say("review.conflict_head"), desk.say(f"review.conflict.{review.conflict}")),
    ]
    if review.paid_by:
        rows.append((desk.say("review.paid_by_head"), review.paid_by))
    if review.notes:
        rows.append((desk.say("review.notes_head"), review.notes))
    rows += [(desk.say("certify.head.certificate"), one.hex()) for one in review.tried]
    return rows_of(rows)
