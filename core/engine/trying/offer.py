"""What a Release offers to somebody who wants to try it, before anything is signed.

* The ways are those its card switches on; nothing is asked of the seller yet.
* The test of a claim is planned from claim, margin and what the seller answers to one buyer: the
  same plan both sides come to later, unless fewer rows are committed to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hanse.core.engine.certify_target import NothingToCertify, named
from hanse.core.engine.trying.subject import subject_of
from hanse.core.market.trial_plan import budget_for, plan
from hanse.core.trade.trial_rules import TrialRefused

if TYPE_CHECKING:
    from hanse.core.engine.content import Content
    from hanse.core.model.card import Trials
    from hanse.core.model.ids import EntryId, IdentityId
    from hanse.core.model.trial import Plan
    from hanse.core.store.unit_of_work import Repositories


@dataclass(frozen=True, slots=True)
class TrialOffer:
    """One Release and the ways to try it."""

    release: EntryId
    listing: EntryId
    title: str
    version: str
    seller: IdentityId
    ways: Trials

    def plan(self, claim_micro: int, margin_micro: int) -> Plan:
        """Plan the test of a claim by signed answers; raise what makes it impossible."""
        answers = self.ways.signed_answers
        if answers is None:
            raise TrialRefused("not_offered")
        budget = min(budget_for(margin_micro), answers.per_buyer)
        return plan(claim_micro, margin_micro, budget)


def trial_offer(held: Repositories, content: Content, text: str) -> TrialOffer:
    """Return what the Release offers whose id, or whose Listing's, begins with ``text``."""
    release = named(held, text).release
    if release is None:
        raise NothingToCertify(found=text)
    subject = subject_of(held, content, release)
    listing = held.listings.get(subject.row.listing)
    return TrialOffer(
        release=subject.release,
        listing=subject.row.listing,
        title="" if listing is None else listing.title,
        version=subject.row.version,
        seller=subject.seller,
        ways=subject.card.trial,
    )
