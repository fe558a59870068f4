"""The piece keys of a Sealed local trial, on the buyer's machine: kept, used, erased.

* They are kept as they came, a private Blob sealed under a key of the GRANT, among the secrets
  of the store: gone in the same transaction that notes it.
* Erased they are when the runs are used up, when the date has passed, and when the clock shows
  an hour less than it once did; then the same file brings them no second time.
* Whoever controls a computer could have copied them before.  The sentence of the view says so.

What is run with them is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.core.trade.trial_rules import TrialSpent, check_local

if TYPE_CHECKING:
    from hanse.core.model.ids import EntryId
    from hanse.core.model.trial import SealedTerms
    from hanse.core.store.trials import TrialRow
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork
    from hanse.core.trade.trial_rules import SpentWord

_PREFIX: Final = "trial_keys/"


def keep_keys(uow: UnitOfWork, trial: EntryId, sealed: bytes) -> None:
    """Keep the private Blob of a GRANT; the caller commits."""
    uow.secrets.put(_name(trial), sealed)


def kept_keys(held: Repositories, trial: EntryId) -> bytes | None:
    """Return the private Blob, ``None`` once it was erased."""
    return held.secrets.get(_name(trial))


def erase_keys(uow: UnitOfWork, trial: EntryId, now_ms: int) -> None:
    """Forget the keys for ever; the caller commits."""
    uow.secrets.remove(_name(trial))
    uow.trials.erased_keys(trial, "buyer", now_ms)


def spent_word(
    held: Repositories, row: TrialRow, terms: SealedTerms, now_ms: int
) -> SpentWord | None:
    """Say which limit of a sealed trial was reached, or nothing."""
    try:
        check_local(terms, held.trials.local_use(row.trial), now_ms)
    except TrialSpent as error:
        return error.limit
    return None if row.keys_erased_ms is None else "clock"  # it went back, and forth again


def _name(trial: EntryId) -> str:
    return f"{_PREFIX}{trial.hex()}"
