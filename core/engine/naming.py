"""Which Listing, Release or Draft is meant by the first digits of its id.

* Eight hexadecimal digits or more, as people copy them from a table, are enough when
  only one thing held here begins with them.
* All digits of an id are taken as they are: what is not held is said where it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from hanse.core.errors import WrongUse
from hanse.core.model.ids import ID_SIZE_BYTES, BadId, EntryId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hanse.core.store.unit_of_work import Repositories

DIGITS_MIN: Final = 8
_DIGITS: Final = frozenset("0123456789abcdef")
_LOOKED_AT: Final = 3  # enough to see that there are several
Thing = Literal["listing", "release", "draft", "artifact", "certificate", "trial"]


class TooFewDigits(WrongUse):
    """So few digits fit too many ids."""

    code = "id.too_few_digits"
    text = "{found} has too few digits, at least {least} are needed"
    fields = ("found", "least")


class NothingNamed(WrongUse):
    """Nothing held here has an id that begins so."""

    code = "id.nothing"
    text = "no {thing} held here begins with {found}"
    fields = ("found", "thing")


class SeveralNamed(WrongUse):
    """More than one id begins so."""

    code = "id.several"
    text = "more than one {thing} begins with {found}: {candidates}"
    fields = ("found", "thing", "candidates")


def listing_named(held: Repositories, text: str) -> EntryId:
    """Return the id of the Listing whose id begins with ``text``."""
    digits = id_digits(text)
    if len(digits) == 2 * ID_SIZE_BYTES:
        return EntryId(bytes.fromhex(digits))
    low, high = _bounds(digits)
    return EntryId(the_one(text, "listing", held.listings.between(low, high, _LOOKED_AT)))


def release_named(held: Repositories, text: str) -> EntryId:
    """Return the id of the Release whose id begins with ``text``."""
    digits = id_digits(text)
    if len(digits) == 2 * ID_SIZE_BYTES:
        return EntryId(bytes.fromhex(digits))
    low, high = _bounds(digits)
    return EntryId(the_one(text, "release", held.listings.releases_between(low, high, _LOOKED_AT)))


def certificate_named(held: Repositories, text: str) -> EntryId:
    """Return the id of the Certificate whose id begins with ``text``."""
    digits = id_digits(text)
    if len(digits) == 2 * ID_SIZE_BYTES:
        return EntryId(bytes.fromhex(digits))
    low, high = _bounds(digits)
    return EntryId(the_one(text, "certificate", held.certificates.between(low, high, _LOOKED_AT)))


def id_digits(text: str) -> str:
    """Return the digits of an id or of its beginning, or raise ``BadId`` or ``TooFewDigits``."""
    digits = text.strip().lower()
    if not digits or not _DIGITS.issuperset(digits) or len(digits) > 2 * ID_SIZE_BYTES:
        raise BadId(found=text, expected="an id of 64 hexadecimal digits")
    if len(digits) < DIGITS_MIN:
        raise TooFewDigits(found=text, least=DIGITS_MIN)
    return digits


def the_one(text: str, thing: Thing, candidates: Iterable[bytes]) -> bytes:
    """Return the only one of ``candidates``; raise ``NothingNamed`` or ``SeveralNamed``."""
    found = tuple(dict.fromkeys(candidates))
    if not found:
        raise NothingNamed(found=text, thing=thing)
    if len(found) > 1:
        raise SeveralNamed(found=text, thing=thing, candidates=found)
    return found[0]


def _bounds(digits: str) -> tuple[bytes, bytes]:
    """Return the first and the last id that begins with ``digits``."""
    size = 2 * ID_SIZE_BYTES
    return bytes.fromhex(digits.ljust(size, "0")), bytes.fromhex(digits.ljust(size, "f"))
