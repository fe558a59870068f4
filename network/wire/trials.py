"""``/hanse/trial/1``: the bytes of a ``.hanse-trial`` to the seller, and his reply back.

* ASK hands over steps and is answered by TOLD, QUERY hands over queries and is answered by
  ANSWER; the file itself is the tail of the frame, and is read by nobody here.
* PROGRESS says that the seller's machine is at work: it answers one query a second.
* One call is open on a stream at a time.

What is in a file, and who may ask, is decided elsewhere.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from hanse.core.limits import (
    STREAM_TAIL_SIZE_BYTES_MAX,
    TRIAL_CALL_FRAME_SIZE_BYTES_MAX,
    TRIAL_CALL_ITEMS_MAX,
)
from hanse.network.wire.frames import Messages, encode_frame

PROTOCOL: Final = "/hanse/trial/1"

_Call = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
_Size = Annotated[int, msgspec.Meta(ge=1, le=STREAM_TAIL_SIZE_BYTES_MAX)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Code = Literal["bad_frame", "too_big", "unexpected", "busy", "refused", "not_held", "internal"]


class Ask(msgspec.Struct, array_like=True, tag=1, forbid_unknown_fields=True, frozen=True):
    """The buyer's steps; ``size_bytes`` of them follow."""

    call: _Call
    size_bytes: _Size


class Told(msgspec.Struct, array_like=True, tag=2, forbid_unknown_fields=True, frozen=True):
    """The seller's steps; ``size_bytes`` of them follow."""

    call: _Call
    size_bytes: _Size


class Query(msgspec.Struct, array_like=True, tag=3, forbid_unknown_fields=True, frozen=True):
    """Signed queries; ``size_bytes`` of them follow."""

    call: _Call
    size_bytes: _Size


class Answer(msgspec.Struct, array_like=True, tag=4, forbid_unknown_fields=True, frozen=True):
    """Signed answers; ``size_bytes`` of them follow."""

    call: _Call
    size_bytes: _Size


class Progress(msgspec.Struct, array_like=True, tag=5, forbid_unknown_fields=True, frozen=True):
    """The seller is at ``done`` of ``total``."""

    call: _Call
    done: _Number
    total: _Number


class Sorry(msgspec.Struct, array_like=True, tag=6, forbid_unknown_fields=True, frozen=True):
    """Not done; worth asking again after ``retry_ms``, or never (0)."""

    call: _Call
    code: Code
    retry_ms: _Number


Message = Ask | Told | Query | Answer | Progress | Sorry


def _tail_bytes(message: object) -> int:
    return message.size_bytes if isinstance(message, Ask | Told | Query | Answer) else 0


MESSAGES: Final = Messages(
    "trial", Message, TRIAL_CALL_ITEMS_MAX, TRIAL_CALL_FRAME_SIZE_BYTES_MAX, _tail_bytes
)


def write(message: Message) -> bytes:
    """Return the frame of ``message``; its tail is written behind it."""
    return encode_frame(
        msgspec.to_builtins(message, builtin_types=(bytes,)), TRIAL_CALL_FRAME_SIZE_BYTES_MAX
    )
