"""An exact amount of one currency, in the one form it has on the ledger.

On the wire ``[amount, currency, exponent]``: whole minor units, the currency's
code, and how many decimal places it has.  A bare integer beside a ``Money`` is
minor units of the same currency.  No float ever becomes money.

Which exponent a currency has, and how amounts are written for people, is not
known here.
"""

from typing import Annotated

import msgspec

from hanse.core.limits import MONEY_AMOUNT_MAX, MONEY_EXPONENT_MAX


class Money(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """``amount`` minor units of ``currency``, which has ``exponent`` decimal places."""

    amount: Annotated[int, msgspec.Meta(ge=-MONEY_AMOUNT_MAX, le=MONEY_AMOUNT_MAX)]
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9]{2,11}\Z")]
    exponent: Annotated[int, msgspec.Meta(ge=0, le=MONEY_EXPONENT_MAX)]
