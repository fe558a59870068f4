"""``/hanse/post/1``: one Private Entry handed over and acknowledged, and a Mailbox emptied.

* POST without ``reader`` is for whoever is at the other end; with it, for a Mailbox of that
  Identity.  GOT answers once what came is on disk; ``held`` says until when, and signs it.
* COLLECT confirms everything up to ``after`` and asks for what follows; an item's number grows.
* ``call`` pairs request and answer; whoever asks counts.

Sizes and shapes are checked here; signatures, and whether the asker may, are not.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from hanse.core.limits import (
    BODY_SIZE_BYTES_MAX,
    FRAME_SIZE_BYTES_MAX,
    HEADER_SIZE_BYTES_MAX,
    POST_FRAME_ITEMS_MAX,
    POST_ITEMS_MAX,
    POST_STAMP_SIZE_BYTES_MAX,
    SIGNATURE_SIZE_BYTES,
)
from hanse.network.wire.frames import Messages, encode_frame

PROTOCOL: Final = "/hanse/post/1"

_Call = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Key = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Sig = Annotated[
    bytes, msgspec.Meta(min_length=SIGNATURE_SIZE_BYTES, max_length=SIGNATURE_SIZE_BYTES)
]
_Header = Annotated[bytes, msgspec.Meta(min_length=1, max_length=HEADER_SIZE_BYTES_MAX)]
_Body = Annotated[bytes, msgspec.Meta(min_length=1, max_length=BODY_SIZE_BYTES_MAX)]
_Stamp = Annotated[bytes, msgspec.Meta(max_length=POST_STAMP_SIZE_BYTES_MAX)]
Code = Literal["bad_frame", "too_big", "unexpected", "busy", "quota", "refused", "internal"]


class Post(msgspec.Struct, array_like=True, tag=1, forbid_unknown_fields=True, frozen=True):
    """Take this Entry: it is for you, or for the Identity ``reader`` whose Mailbox you are.

    ``stamp`` is what a stranger may have to show; nobody asks for one yet.
    """

    call: _Call
    header: _Header
    sig: _Sig
    body: _Body
    reader: _Key | None
    stamp: _Stamp | None


class Got(msgspec.Struct, array_like=True, tag=2, forbid_unknown_fields=True, frozen=True):
    """It is on disk here; ``until_ms`` and ``sig`` come with ``held`` alone."""

    call: _Call
    id: _Key
    state: Literal["got", "parked", "held"]
    until_ms: _Number | None
    sig: _Sig | None

    def __post_init__(self) -> None:
        is_promise = self.until_ms is not None and self.sig is not None
        is_bare = self.until_ms is None and self.sig is None
        if not (is_promise if self.state == "held" else is_bare):
            # msgspec makes a ValidationError of it, as of every other wrong value.
            raise ValueError(self.state)


class Collect(msgspec.Struct, array_like=True, tag=3, forbid_unknown_fields=True, frozen=True):
    """Everything up to number ``after`` is on disk here; send up to ``limit`` that follow."""

    call: _Call
    after: _Number
    limit: Annotated[int, msgspec.Meta(ge=1, le=POST_ITEMS_MAX)]


class Item(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """One Entry out of a Mailbox, and its number there."""

    n: _Number
    header: _Header
    sig: _Sig
    body: _Body


class Items(msgspec.Struct, array_like=True, tag=4, forbid_unknown_fields=True, frozen=True):
    """What the Mailbox holds, by number; ``more`` when not all fitted."""

    call: _Call
    items: Annotated[tuple[Item, ...], msgspec.Meta(max_length=POST_ITEMS_MAX)]
    more: bool


class Drop(msgspec.Struct, array_like=True, tag=5, forbid_unknown_fields=True, frozen=True):
    """Keep these no longer."""

    call: _Call
    ids: Annotated[tuple[_Key, ...], msgspec.Meta(max_length=POST_ITEMS_MAX)]


class Dropped(msgspec.Struct, array_like=True, tag=6, forbid_unknown_fields=True, frozen=True):
    """So many of them were here."""

    call: _Call
    count: Annotated[int, msgspec.Meta(ge=0, le=POST_ITEMS_MAX)]


class Sorry(msgspec.Struct, array_like=True, tag=7, forbid_unknown_fields=True, frozen=True):
    """Not done; worth asking again after ``retry_ms``, or never (0)."""

    call: _Call
    code: Code
    retry_ms: _Number


Message = Post | Got | Collect | Items | Drop | Dropped | Sorry
MESSAGES: Final = Messages("post", Message, POST_FRAME_ITEMS_MAX)

# An item and what DAG-CBOR writes around it: its number, three lengths, the array.
ITEM_SIZE_BYTES: Final = 32
_ROOM_BYTES: Final = FRAME_SIZE_BYTES_MAX - 64


def write(message: Message) -> bytes:
    """Return the frame of ``message``."""
    return encode_frame(msgspec.to_builtins(message, builtin_types=(bytes,)))


def fitting(items: list[Item]) -> list[Item]:
    """Return as many of the first items as fit one frame."""
    room = _ROOM_BYTES
    for count, item in enumerate(items):
        room -= len(item.header) + len(item.sig) + len(item.body) + ITEM_SIZE_BYTES
        if room < 0:
            return items[:count]
    return items
