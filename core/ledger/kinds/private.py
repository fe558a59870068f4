"""Sealed Bodies and what stands inside them: ``ledger.md`` section 3.2.

* Outside stand the commitment, the ciphertext and the readers' slots.
* Inside stands ``[1, author, seq, kind, body]``.  Which inner kind may stand
  under which kind of Header is in ``INNER_KINDS``; parts above the ledger add
  theirs with ``add_inner_kind``.

Sealing and opening is not done here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, ClassVar, Final

import msgspec

from hanse.core.errors import BadShape, RejectedEntry
from hanse.core.ledger.codec import decode, encode
from hanse.core.ledger.kinds.fields import (
    Blob,
    Body,
    Count,
    Hash,
    Id,
    InnerBody,
    Key,
    Number,
    PrivateBody,
    check_values,
)
from hanse.core.limits import (
    ENVELOPE_SLOTS_MAX,
    PRIVATE_PADDING_BYTES,
    PRIVATE_PLAINTEXT_SIZE_BYTES_MAX,
    SEEDS_PER_BODY_MAX,
)

_BOX_OVERHEAD_BYTES: Final = 40  # nonce and authenticator
_SLOT_SIZE_BYTES: Final = 80
_SLOT_COUNTS: Final = (2, 4, 8)

assert _SLOT_COUNTS[-1] == ENVELOPE_SLOTS_MAX

INNER_VERSION: Final = 1

Seed = tuple[Count, Key, Key]  # key epoch, sale seed, buy seed


class Private1(PrivateBody, frozen=True, kw_only=True):
    """Any Private body that nobody else needs to count."""

    def check(self) -> None:
        """Refuse sizes that no sealing gives."""
        _check_sealed(self)


class Receipt1(PrivateBody, frozen=True, kw_only=True):
    """A final RECEIPT: everybody counts it, its readers alone read it."""

    licence: Hash | None

    def check(self) -> None:
        """Refuse sizes that no sealing gives."""
        _check_sealed(self)


class Ruling1(PrivateBody, frozen=True, kw_only=True):
    """A mediator's RULING."""

    def check(self) -> None:
        """Refuse sizes that no sealing gives."""
        _check_sealed(self)


def _check_sealed(body: PrivateBody) -> None:
    padded = len(body.ct) - _BOX_OVERHEAD_BYTES
    most = PRIVATE_PLAINTEXT_SIZE_BYTES_MAX + PRIVATE_PADDING_BYTES
    if not 0 < padded <= most or padded % PRIVATE_PADDING_BYTES:
        raise BadShape(f"{len(body.ct)} bytes are no sealed body - at `$.ct`")
    if len(body.to) not in _SLOT_COUNTS or any(len(slot) != _SLOT_SIZE_BYTES for slot in body.to):
        raise BadShape(f"not {_SLOT_COUNTS} slots of {_SLOT_SIZE_BYTES} bytes - at `$.to`")


class Inner(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What was sealed, and for which place; its text representation hides the content."""

    version: Annotated[int, msgspec.Meta(ge=0, le=255)]
    author: Key
    seq: Number
    kind: str
    body: dict[str, object]

    def __repr__(self) -> str:
        return f"Inner({self.kind} for seq {self.seq} of {self.author.hex()})"


class Message1(InnerBody, frozen=True, kw_only=True):
    """Words and files from one party to another, about an Order or not."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"text"})

    order: Id | None
    text: Annotated[str, msgspec.Meta(max_length=4000)]
    files: Annotated[tuple[Blob, ...], msgspec.Meta(max_length=4)]

    def check(self) -> None:
        """Refuse a Message that says nothing."""
        if not self.text and not self.files:
            raise BadShape("neither text nor files - at `$.text`")


class Seeds1(InnerBody, frozen=True, kw_only=True):
    """The secret seeds of key epochs, on their way to the Identity's other Devices."""

    seeds: Annotated[tuple[Seed, ...], msgspec.Meta(min_length=1, max_length=SEEDS_PER_BODY_MAX)]

    def check(self) -> None:
        """Refuse epochs out of order or given twice."""
        epochs = [epoch for epoch, _, _ in self.seeds]
        if any(left >= right for left, right in pairwise(epochs)):
            raise BadShape("epochs are not sorted and unique - at `$.seeds`")


@dataclass(frozen=True, slots=True)
class InnerRule:
    """What an inner kind holds, and the kinds of Header it may stand under."""

    kind: str
    body: type[InnerBody]
    under: frozenset[str]


_INNER_KINDS: Final[dict[str, InnerRule]] = {
    "message/1": InnerRule("message/1", Message1, frozenset({"private/1"})),
    "seeds/1": InnerRule("seeds/1", Seeds1, frozenset({"private/1"})),
}
INNER_KINDS: Final[Mapping[str, InnerRule]] = MappingProxyType(_INNER_KINDS)


def add_inner_kind(rule: InnerRule) -> None:
    """Let an inner kind of a higher part be read; two parts cannot own one."""
    assert rule.kind not in _INNER_KINDS
    _INNER_KINDS[rule.kind] = rule


def parse_inner_body(header_kind: str, inner: Inner) -> Body:
    """Read what was sealed under a Header of ``header_kind``, or raise ``RejectedEntry``.

    Author and seq are the caller's to compare.
    """
    rule = INNER_KINDS.get(inner.kind)
    if rule is None:
        raise RejectedEntry("unknown_kind", f"{inner.kind!r} inside {header_kind}")
    if header_kind not in rule.under:
        raise RejectedEntry("inner_kind", f"{inner.kind} inside {header_kind}")
    body = decode(encode(inner.body), rule.body)
    check_values(body)
    body.check()
    return body
