"""The keys of Trials: what a seller derives, and what a buyer keeps, uses and erases.

* The seller's Content key comes from his seeds and the seal's salt, and leaves in no form.
* The buyer's piece keys are kept as they came, a private Blob sealed under a key of the GRANT,
  and under the Local key again, since the GRANT can be read while the Account is locked.  They
  lie among the secrets of the store: gone in the same transaction that notes it.
* Erased they are when the runs are used up, when the date has passed, and when the clock shows
  an hour less than it once did; then the same file brings them no second time.
* Whoever controls a computer could have copied them before.  The sentence of the view says so.

What is run with them is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.opening import WrongContentKey
from hanse.core.crypto.passwords import NONCE_SIZE_BYTES, open_secret, seal_secret
from hanse.core.crypto.stream import content_key_commitment
from hanse.core.engine.trying.holding import hold_no_longer
from hanse.core.keystore.keystore import SeedsMissing
from hanse.core.trade.trial_rules import TrialSpent, check_local

if TYPE_CHECKING:
    from hanse.core.engine.context import Context
    from hanse.core.ledger.kinds import Seal
    from hanse.core.model.ids import EntryId
    from hanse.core.store.trials import TrialRow
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork
    from hanse.core.trade.trial_rules import SpentWord

_PREFIX: Final = "trial_keys/"


def content_key_of(context: Context, held: Repositories, seal: Seal) -> bytes:
    """Derive the Content key of an own Release.

    Raises ``SeedsMissing`` or ``WrongContentKey``.
    """
    seeds = context.all_seeds(held).get(seal.epoch)
    if seeds is None:
        raise SeedsMissing(epoch=seal.epoch)
    key = seeds.content_key(seal.salt)
    if (found := content_key_commitment(key)) != seal.ck_commit:
        raise WrongContentKey(expected=seal.ck_commit, found=found)
    return key


def keep_keys(context: Context, uow: UnitOfWork, trial: EntryId, sealed: bytes) -> None:
    """Keep the private Blob of a GRANT; the caller commits."""
    keys = context.unlocked()
    box = seal_secret(keys.local_key, sealed, context.chance.bytes(NONCE_SIZE_BYTES))
    uow.secrets.put(_name(trial), box)


def kept_keys(context: Context, held: Repositories, trial: EntryId) -> bytes | None:
    """Return the private Blob, ``None`` once it was erased; raise ``AccountLocked``."""
    box = held.secrets.get(_name(trial))
    # What another Local key has sealed is of another Device: here there is nothing to open.
    return None if box is None else open_secret(context.unlocked().local_key, box)


def erase_keys(uow: UnitOfWork, row: TrialRow, now_ms: int) -> None:
    """Forget the keys for ever, and hold the ciphertext no longer; the caller commits."""
    uow.secrets.remove(_name(row.trial))
    uow.trials.erased_keys(row.trial, "buyer", now_ms)
    hold_no_longer(uow, row, now_ms)


def spent_word(held: Repositories, row: TrialRow, now_ms: int) -> SpentWord | None:
    """Say which limit of a granted sealed trial was reached, or nothing."""
    assert row.runs_max is not None
    assert row.until_ms is not None
    bounds = _Bounds(row.runs_max, row.until_ms)
    try:
        check_local(bounds, held.trials.local_use(row.trial), now_ms)
    except TrialSpent as error:
        return error.limit
    return None if row.keys_erased_ms is None else "clock"  # it went back, and forth again


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What a GRANT allowed, as its row keeps it: read without its signature, at every start."""

    runs_max: int
    until_ms: int


def _name(trial: EntryId) -> str:
    return f"{_PREFIX}{trial.hex()}"
