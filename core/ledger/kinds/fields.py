"""The field types that Bodies are made of, and the checks every Body passes.

* The decoder checks types, lengths, ranges and that no field is missing or
  unknown; an absent value is a null, never a missing field.
* ``check_values`` and ``Body.check`` say the rest: text is NFC without control
  characters, lists that are sets repeat nothing, fields fit each other.
* Every public Body has a salt, so that an erased short one cannot be guessed
  from its hash.

Whether a Body is true, or wise, is decided elsewhere.
"""

from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import inspect

from hanse.core.errors import BadShape, NotCanonical
from hanse.core.ledger.codec import INT_MAX, decode, is_text
from hanse.core.limits import (
    MONEY_AMOUNT_MAX,
    OPEN_MAP_KEY_CHARACTERS_MAX,
    OPEN_MAP_TEXT_CHARACTERS_MAX,
    OPEN_MAP_VALUES_MAX,
    ROOT_ROTATIONS_MAX,
    SALE_FACT_SIZE_BYTES_MAX,
    SEQ_MAX,
)
from hanse.core.model.money import Money

Salt = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Key = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Id = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Sig = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
Nonce = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]

Ms = Annotated[int, msgspec.Meta(ge=0, le=INT_MAX)]
Count = Annotated[int, msgspec.Meta(ge=0, le=SEQ_MAX)]
Number = Annotated[int, msgspec.Meta(ge=1, le=SEQ_MAX)]  # a seq, a key epoch after the first
RootNumber = Annotated[int, msgspec.Meta(ge=0, le=ROOT_ROTATIONS_MAX)]
Minor = Annotated[
    int, msgspec.Meta(ge=0, le=MONEY_AMOUNT_MAX)
]  # minor units of the currency beside it
State = Literal["open", "paused", "withdrawn"]

Lang = Annotated[str, msgspec.Meta(max_length=8, pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,4})?\Z")]
Title = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
Tag = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
ShortTag = Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
Sectors = Annotated[tuple[Tag, ...], msgspec.Meta(max_length=8)]
FactBytes = Annotated[bytes, msgspec.Meta(min_length=1, max_length=SALE_FACT_SIZE_BYTES_MAX)]

OpenMap = dict[str, object]  # its content is another part's; bounded by ``check_values``


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What every Body is.

    ``MULTILINE`` names the fields that hold long text, ``SETS`` the lists in
    which nothing may stand twice.
    """

    MULTILINE: ClassVar[frozenset[str]] = frozenset()
    SETS: ClassVar[frozenset[str]] = frozenset()

    def check(self) -> None:
        """Raise ``BadShape`` where the fields do not fit each other."""


class PublicBody(Body, frozen=True, kw_only=True):
    """A Body that everybody may read."""

    salt: Salt


class PrivateBody(Body, frozen=True, kw_only=True):
    """A sealed Body: outside only its commitment, its ciphertext and the slots of its readers."""

    commit: Hash
    ct: bytes
    to: tuple[bytes, ...]


class InnerBody(Body, frozen=True, kw_only=True):
    """A Body that stands inside a sealed one; its text representation shows nothing of it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class Seal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Under which key a Release is sealed, and the root all its proofs climb to."""

    v: Literal[1]
    epoch: Count
    salt: Key
    ck_commit: Hash
    seal_root: Hash
    scope: Literal["release", "buyer"]
    manifests: tuple[Hash, Hash]  # plain, sealed


class SaleFact(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What both sides sign about one sale; the buyer stays unknown in it."""

    version: Literal[1]
    seller: Key
    listing: Id
    release: Id
    price: Id
    epoch: Count
    money: Money
    rating_key: Key
    tag: Hash


def check_values(body: Body) -> None:
    """Check text, sets and open maps in every field of ``body``; raise ``BadShape``."""
    for name, is_multiline, is_set in _plan(type(body)):
        value: object = getattr(body, name)
        # What is usual is said without a call: most text is short and plain ASCII.
        if value is None or value == () or _is_plain(value):
            continue
        if isinstance(value, dict):
            _OpenMapCheck(name).check(value)
        else:
            _check_text(name, value, is_multiline=is_multiline)
        if is_set:
            assert isinstance(value, tuple)
            check_set(name, value)


def _is_plain(value: object) -> bool:
    """Say whether ``value`` is printable ASCII, or a list of one such text."""
    if type(value) is tuple and len(value) == 1:
        value = value[0]
    return type(value) is str and value.isascii() and value.isprintable()


@cache
def _plan(kind: type[Body]) -> tuple[tuple[str, bool, bool], ...]:
    """Return the fields of ``kind`` that can hold text or a set, and what each is."""
    return tuple(
        (field.name, field.name in kind.MULTILINE, field.name in kind.SETS)
        for field in msgspec.structs.fields(kind)
        if field.name in kind.SETS or _may_hold_text(inspect.type_info(field.type))
    )


def _may_hold_text(info: inspect.Type) -> bool:
    match info:
        case inspect.IntType() | inspect.BoolType() | inspect.BytesType() | inspect.NoneType():
            return False
        case inspect.LiteralType():
            return False  # the decoder knows every value
        case inspect.UnionType():
            return any(_may_hold_text(it) for it in info.types)
        case inspect.VarTupleType():
            return _may_hold_text(info.item_type)
        case inspect.TupleType():
            return any(_may_hold_text(it) for it in info.item_types)
        case _:
            return True


def _check_text(name: str, value: object, *, is_multiline: bool) -> None:
    match value:
        case str():
            if not is_text(value, multiline=is_multiline):
                raise BadShape(f"text that is not NFC, or has control characters - at `$.{name}`")
        case tuple():
            for item in value:
                if _is_plain(item):
                    continue
                if isinstance(item, dict):
                    _OpenMapCheck(name).check(item)
                else:
                    _check_text(name, item, is_multiline=is_multiline)
        case msgspec.Struct():
            for inner in value.__struct_fields__:
                _check_text(f"{name}.{inner}", getattr(value, inner), is_multiline=is_multiline)
        case _:
            pass


class _OpenMapCheck:
    """Counts the values of one open map, and reads its text."""

    def __init__(self, name: str) -> None:
        self._where = f"- at `$.{name}`"
        self._left = OPEN_MAP_VALUES_MAX

    def check(self, value: object) -> None:
        self._left -= 1
        if self._left < 0:
            raise BadShape(f"more than {OPEN_MAP_VALUES_MAX} values {self._where}")
        match value:
            case str():
                if len(value) > OPEN_MAP_TEXT_CHARACTERS_MAX:
                    raise BadShape(
                        f"text of {len(value)} characters, limit "
                        f"{OPEN_MAP_TEXT_CHARACTERS_MAX} {self._where}"
                    )
                if not is_text(value, multiline=True):
                    raise BadShape(f"text that is not NFC, or has controls {self._where}")
            case list():
                for item in value:
                    self.check(item)
            case dict():
                for key, item in value.items():
                    if not 1 <= len(key) <= OPEN_MAP_KEY_CHARACTERS_MAX or not is_text(
                        key, multiline=False
                    ):
                        raise BadShape(f"a key that is too long or no text {self._where}")
                    self.check(item)
            case _:
                pass


def check_set(name: str, values: Iterable[object]) -> None:
    """Raise ``BadShape`` when a value stands twice."""
    held = tuple(values)
    if len(held) > 1 and len(set(held)) != len(held):
        raise BadShape(f"a value stands twice - at `$.{name}`")


def check_sorted(name: str, values: Iterable[bytes]) -> None:
    """Raise ``BadShape`` unless every value is greater than the one before it."""
    held = list(values)
    if any(left >= right for left, right in pairwise(held)):
        raise BadShape(f"not sorted, or a value stands twice - at `$.{name}`")


def check_price(name: str, money: Money | None) -> None:
    """Raise ``BadShape`` for an amount below zero."""
    if money is not None and money.amount < 0:
        raise BadShape(f"amount {money.amount} is below 0 - at `$.{name}`")


def check_fact(name: str, raw: bytes) -> None:
    """Raise ``BadShape`` unless ``raw`` is a canonical sale fact."""
    try:
        fact = decode(raw, SaleFact)
    except BadShape as error:
        raise BadShape(f"{error.detail} - at `$.{name}`") from error
    except NotCanonical as error:
        raise BadShape(f"not a canonical sale fact - at `$.{name}`") from error
    check_price(f"{name}.money", fact.money)
