"""Human reviews together: who approves, who objects, and who has an interest in it.

* The newest review of an Identity counts; an older one, also one that a newer supersedes, does
  not.
* An objection is counted and shown like an approval; abstaining is neither.
* A conflict of interest does not take a voice away: it is shown beside it.
* Reviews stand beside the Level and never raise it.

What a review says point by point is in its Body (``human-review/1``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hanse.core.model.ids import EntryId, IdentityId


class HumanReviewView(Protocol):
    """What counting needs of one review; rows of the store are such, and values below."""

    @property
    def entry(self) -> EntryId:
        """Return the Entry it stands in."""
        ...

    @property
    def identity(self) -> IdentityId:
        """Return whose word it is."""
        ...

    @property
    def verdict(self) -> Literal["approve", "object", "abstain"]:
        """Return what it comes to."""
        ...

    @property
    def conflict(self) -> str:
        """Return the interest the reviewer has stated."""
        ...

    @property
    def time_ms(self) -> int:
        """Return when its author says it was written."""
        ...


ReviewT = TypeVar("ReviewT", bound=HumanReviewView)


@dataclass(frozen=True, slots=True)
class MOfN:
    """What reviews come to: ``approve`` of ``count`` approve, where ``wanted`` are asked for.

    ``conflicts`` counts those, of all that count, who state an interest; ``approve_free`` the
    approvals without one.
    """

    approve: int
    object: int
    abstain: int
    count: int
    wanted: int
    conflicts: int
    approve_free: int

    @property
    def is_met(self) -> bool:
        """Say whether as many approve as were wanted; objections are shown beside it."""
        return self.approve >= self.wanted

    @property
    def sentence(self) -> str:
        """Return the code of the sentence that says it, over the fields of this value."""
        return "human_review.m_of_n.objected" if self.object else "human_review.m_of_n"


def newest_reviews(reviews: Iterable[ReviewT]) -> tuple[ReviewT, ...]:
    """Return the one review of each Identity that counts, the newest of all first."""
    newest: dict[IdentityId, ReviewT] = {}
    for one in sorted(reviews, key=lambda it: (it.time_ms, it.entry)):
        newest[one.identity] = one
    return tuple(sorted(newest.values(), key=lambda it: (it.time_ms, it.entry), reverse=True))


def m_of_n(reviews: Iterable[HumanReviewView], wanted: int) -> MOfN:
    """Count the newest review of each Identity; ``wanted`` approvals are asked for."""
    held = newest_reviews(reviews)
    verdicts = [one.verdict for one in held]
    return MOfN(
        approve=verdicts.count("approve"),
        object=verdicts.count("object"),
        abstain=verdicts.count("abstain"),
        count=len(held),
        wanted=wanted,
        conflicts=sum(one.conflict != "none" for one in held),
        approve_free=sum(one.verdict == "approve" and one.conflict == "none" for one in held),
    )
