"""The state of a Trial: a pure fold over its signed steps, whatever order they come in.

* ``REQUESTED > GRANTED or REFUSED > RUNNING > CLOSED``, after delivery ``REPLAYED``.
* Who may say a step, and after which, stands in ``RULES``.  A step that names another Trial, of
  somebody else, or too early by the table, does not count.
* Of steps that exclude each other the seller's first one counts, by time, Author and id.
* RUNNING and REPLAYED come from what this side kept (answers or runs, and a Replay's verdict):
  no step says them.  A date that passed is no step either: it only ends what may be asked.

Whether a grant is within the rules is ``trial_rules``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING, Final

from hanse.core.model.trial import (
    Granted,
    Trial,
    TrialClose,
    TrialGrant,
    TrialRefusal,
    TrialRequest,
    TrialState,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
    from hanse.core.model.trial import ReplayWord, TrialStep


@unique
class Party(Enum):
    """The two sides of a Trial."""

    BUYER = "buyer"
    SELLER = "seller"


@dataclass(frozen=True, slots=True)
class StepRule:
    """Who may say a step, and after which one."""

    signers: frozenset[Party]
    after: type[TrialStep] | None


RULES: Final[Mapping[type[TrialStep], StepRule]] = {
    TrialRequest: StepRule(frozenset({Party.BUYER}), None),
    TrialGrant: StepRule(frozenset({Party.SELLER}), TrialRequest),
    TrialRefusal: StepRule(frozenset({Party.SELLER}), TrialRequest),
    TrialClose: StepRule(frozenset(Party), TrialGrant),
}


@dataclass(frozen=True, slots=True)
class SaidStep:
    """One step from an Entry that stands, with who said it; ``identity`` is its Author's."""

    entry_id: EntryId
    author: AuthorKey
    identity: IdentityId
    time_ms: int
    step: TrialStep


def fold_trial(
    said: Iterable[SaidStep],
    trial: EntryId,
    seller: IdentityId,
    *,
    used: int = 0,
    replayed: ReplayWord | None = None,
) -> Trial | None:
    """Return what the steps add up to, or ``None`` while the REQUEST itself is not held.

    ``seller`` owns the Release; ``used`` counts the answers or runs kept here.
    """
    steps = sorted(said, key=lambda one: (one.time_ms, one.author, one.entry_id))
    opening = next(
        (it for it in steps if it.entry_id == trial and isinstance(it.step, TrialRequest)), None
    )
    if opening is None or opening.identity == seller:
        return None
    request = opening.step
    assert isinstance(request, TrialRequest)
    parties = {opening.identity: Party.BUYER, seller: Party.SELLER}
    counted: dict[type[TrialStep], SaidStep] = {TrialRequest: opening}
    # A grant and a refusal exclude each other, so whichever came first closes the door.
    for wanted in ((TrialGrant, TrialRefusal), (TrialClose,)):
        for one in steps:
            rule = RULES[type(one.step)]
            if (
                isinstance(one.step, wanted)
                and not isinstance(one.step, TrialRequest)
                and one.step.trial == trial
                and parties.get(one.identity) in rule.signers
                and rule.after in counted
                and _fits(one.step, request)
            ):
                counted[type(one.step)] = one
                break
    granted = _granted(counted, request, opening)
    refusal, close = counted.get(TrialRefusal), counted.get(TrialClose)
    return Trial(
        trial=trial,
        state=_state(counted, used, replayed),
        request=request,
        buyer=opening.author,
        buyer_identity=opening.identity,
        granted=granted,
        refusal=refusal.step if refusal and isinstance(refusal.step, TrialRefusal) else None,
        close=close.step if close and isinstance(close.step, TrialClose) else None,
        used=used,
        replayed=replayed,
    )


def _fits(step: TrialStep, request: TrialRequest) -> bool:
    return not isinstance(step, TrialGrant) or step.way == request.way


def _granted(
    counted: Mapping[type[TrialStep], SaidStep], request: TrialRequest, opening: SaidStep
) -> Granted | None:
    said = counted.get(TrialGrant)
    if said is None or not isinstance(said.step, TrialGrant):
        return None
    return Granted(
        request=request,
        trial=opening.entry_id,
        grant=said.step,
        grant_id=said.entry_id,
        buyer=opening.author,
        seller=said.author,
    )


def _state(
    counted: Mapping[type[TrialStep], SaidStep], used: int, replayed: ReplayWord | None
) -> TrialState:
    if TrialRefusal in counted:
        return TrialState.REFUSED
    if TrialGrant not in counted:
        return TrialState.REQUESTED
    if replayed is not None:
        return TrialState.REPLAYED
    if TrialClose in counted:
        return TrialState.CLOSED
    return TrialState.RUNNING if used else TrialState.GRANTED
