"""A person's judgement of a Release: signed, beside the Level, and never raising it.

* Eight points are answered, then one verdict is given; a conflict of interest is said.
* One's own Release is not reviewed, but its seller answers the same points in the card.
* The newest review of an Identity counts; an objection is shown as loudly as an approval.

How reviews are counted is ``hanse.core.attest.human``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hanse.core.attest.human import m_of_n
from hanse.core.engine.accounts import entry_view
from hanse.core.engine.signing import PlannedEntry, Preview, show, sign
from hanse.core.errors import Refused, WrongUse
from hanse.core.ledger.kinds import HumanReview1
from hanse.core.ledger.kinds.certification import ReviewPoint
from hanse.core.model.card import CHECKLIST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    from hanse.core.attest.human import MOfN
    from hanse.core.engine.context import Context
    from hanse.core.engine.views import EntryView
    from hanse.core.ledger.kinds import Body
    from hanse.core.model.ids import EntryId
    from hanse.core.store.certificates import HumanReviewRow

    Answer = Literal["yes", "no", "na"]
    Verdict = Literal["approve", "object", "abstain"]
    Conflict = Literal["none", "customer", "colleague", "paid", "other"]


class ReviewsItself(Refused):
    """A seller does not review his own Release; the card holds his answers."""

    code = "human_review.own"
    text = "release {release} is of this account"
    fields = ("release",)


class UnknownRelease(WrongUse):
    """No Release with this id is held."""

    code = "human_review.unknown_release"
    text = "no release {release} is held here"
    fields = ("release",)


class PointsMissing(WrongUse):
    """Not every point of the checklist was answered, or one that it does not have."""

    code = "human_review.points"
    text = "points {missing} were not answered; unknown: {unknown}"
    fields = ("missing", "unknown")


@dataclass(frozen=True, slots=True)
class Point:
    """The answer to one point, and why."""

    answer: Answer
    note: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """What a reviewer says; ``points`` by the words of ``CHECKLIST``."""

    points: Mapping[str, Point]
    verdict: Verdict
    notes: str = ""
    conflict: Conflict = "none"
    paid_by: str | None = None
    tried: tuple[EntryId, ...] = ()


@dataclass(frozen=True, slots=True)
class ReviewsView:
    """All reviews of a Release, the newest of each person, and what they come to."""

    reviews: tuple[HumanReviewRow, ...]
    names: Mapping[bytes, str]
    together: MOfN


class HumanReviews:
    """Reading and signing human reviews."""

    def __init__(self, context: Context) -> None:
        """Bind the Account."""
        self._context = context

    def preview(self, release: EntryId, review: Review) -> Preview:
        """Show exactly what will be signed, or raise what is wrong with it."""
        context = self._context
        context.may_sign()
        missing = tuple(point for point in CHECKLIST if point not in review.points)
        unknown = tuple(point for point in review.points if point not in CHECKLIST)
        if missing or unknown:
            raise PointsMissing(missing=missing, unknown=unknown)
        with context.store.reads() as reads:
            row = reads.listings.release(release)
            if row is None:
                raise UnknownRelease(release=release)
            if row.identity == context.identity:
                raise ReviewsItself(release=release)
            before = [
                one.entry
                for one in reads.certificates.human_reviews_of(release)
                if one.identity == context.identity
            ]
        artifact = row.artifact

        def make(salt: bytes, _ids: Sequence[EntryId]) -> Body:
            return HumanReview1(
                salt=salt,
                release=release,
                artifact=artifact,
                points=tuple(
                    ReviewPoint(answer=review.points[point].answer, note=review.points[point].note)
                    for point in CHECKLIST
                ),
                verdict=review.verdict,
                notes=review.notes,
                conflict=review.conflict,
                paid_by=review.paid_by,
                tried=tuple(sorted(set(review.tried))),
                supersedes=before[0] if before else None,
            )

        return show(context, [PlannedEntry(make, lambda _: (release, *before[:1]))])

    def post(self, preview: Preview) -> EntryView:
        """Sign what was shown; the Entry is on disk when this returns."""
        with self._context.store.unit_of_work() as uow:
            (made,) = sign(self._context, uow, preview)
            view = entry_view(made, self._context.identity)
            uow.commit()
        return view

    def of_release(self, release: EntryId, wanted: int = 1) -> ReviewsView:
        """Return who judged a Release how, and whether ``wanted`` approve."""
        with self._context.store.reads() as reads:
            rows = tuple(reads.certificates.human_reviews_of(release))
            names = {}
            for row in rows:
                profile = reads.projections.profile(row.identity)
                names[bytes(row.identity)] = "" if profile is None else profile.name
        return ReviewsView(rows, names, m_of_n(rows, wanted))
