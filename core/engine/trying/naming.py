"""Which Trial is meant by the first digits of its id, and as which party we stand in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.core.engine.naming import id_digits, the_one
from hanse.core.engine.trying.records import BUYER, SELLER
from hanse.core.model.ids import ID_SIZE_BYTES, EntryId
from hanse.core.store.trials import TrialNotHeld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.core.store.trials import TrialRole
    from hanse.core.store.unit_of_work import Repositories


def trial_named(held: Repositories, text: str) -> tuple[EntryId, TrialRole]:
    """Return the Trial whose id begins with ``text``, and the role of this Account.

    Raises ``BadId``, ``TooFewDigits``, ``NothingNamed``, ``SeveralNamed`` or ``TrialNotHeld``.
    """
    digits = id_digits(text)
    if len(digits) == 2 * ID_SIZE_BYTES:
        trial = EntryId(bytes.fromhex(digits))
    else:
        every = (one for role in _roles() for one in _all(held, role))
        trial = EntryId(
            the_one(text, "trial", (one for one in every if one.hex().startswith(digits)))
        )
    for role in _roles():
        if held.trials.get(trial, role) is not None:
            return trial, role
    raise TrialNotHeld(trial=trial, role=BUYER)


def _roles() -> tuple[TrialRole, TrialRole]:
    return BUYER, SELLER


def _all(held: Repositories, role: TrialRole) -> Iterator[bytes]:
    before = None
    while page := held.trials.page(role, before):
        yield from (row.trial for row in page)
        before = (page[-1].updated_ms, page[-1].trial)
