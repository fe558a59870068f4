"""Pieces on the wire: the messages of ``/hanse/piece/1``, and what either side may say when.

One stream goes to each Peer that is fetched from; who opened it asks, the other answers.

* Every call is answered once, in any order: by what was asked for, or by SORRY.  A cancelled GET
  is answered too: by SORRY ``cancelled``, or by the Piece when that was under way already.
* An answer to nothing that was asked, of another sort or another length, is a violation, and so
  is a question that no file of the size it names could answer.  Both are found before a byte of
  a tail is waited for.
* A GET may be cancelled once.
* At most ``PIECE_GETS_OPEN_MAX`` GETs are open on one stream, ``PIECE_CALLS_OPEN_MAX`` calls in
  all.
* A bitmap has bit i of byte n for Piece 8 n + i, and no bits behind the last Piece.

Whether bytes are the right ones is not known here: their hashes say so, elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Annotated, Final, TypeAlias

import msgspec

from hanse.core.artifacts.tree import HASH_SIZE_BYTES, leaf_count, piece_count, piece_length
from hanse.core.limits import (
    PIECE_BITMAP_SIZE_BYTES_MAX,
    PIECE_CALLS_OPEN_MAX,
    PIECE_FRAME_ITEMS_MAX,
    PIECE_FRAME_SIZE_BYTES_MAX,
    PIECE_GETS_OPEN_MAX,
    PIECE_HASHES_MAX,
    PIECE_OBJECT_SIZE_BYTES_MAX,
    PIECE_SIZE_BYTES,
    STREAM_TAIL_SIZE_BYTES_MAX,
)
from hanse.core.model.transfer import HashLayer, bitmap_size
from hanse.network.wire.frames import FrameReader, Messages, ProtocolViolation, encode_frame

PROTOCOL: Final = "/hanse/piece/1"
NAME: Final = "piece"

STREAM_CALL: Final = 0  # of a SORRY that answers no call but ends the stream

_CALL_MAX: Final = 2**32 - 1
_RETRY_MS_LAST: Final = 24 * 60 * 60 * 1000

Call = Annotated[int, msgspec.Meta(ge=0, le=_CALL_MAX)]
Hash = Annotated[bytes, msgspec.Meta(min_length=HASH_SIZE_BYTES, max_length=HASH_SIZE_BYTES)]
_Index = Annotated[int, msgspec.Meta(ge=0, le=PIECE_OBJECT_SIZE_BYTES_MAX)]


@unique
class Excuse(StrEnum):
    """Why a call is not answered; whoever reads another word takes it for ``REFUSED``."""

    BUSY = "busy"  # later: retry_ms says when
    NOT_HELD = "not_held"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    QUOTA = "quota"
    INTERNAL = "internal"
    BAD_FRAME = "bad_frame"
    TOO_BIG = "too_big"
    UNEXPECTED = "unexpected"
    VERSION = "version"


class _Message(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What all messages share: ``[number, call, ...]``."""

    call: Call


class Ref(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """An object: the root of its tree, which means nothing without its size."""

    root: Hash
    size: Annotated[int, msgspec.Meta(ge=1, le=PIECE_OBJECT_SIZE_BYTES_MAX)]

    @property
    def pieces(self) -> int:
        """Return how many Pieces it has."""
        return piece_count(self.size)

    def hashes(self, layer: HashLayer) -> int:
        """Return how many hashes one of its layers has."""
        return self.pieces if layer is HashLayer.PIECES else leaf_count(self.size)


class WantSmall(_Message, tag=1, frozen=True):
    """Ask for a Manifest or a Blob by its SHA-256."""

    sha256: Hash


class Small(_Message, tag=2, frozen=True):
    """Announce ``size`` bytes of a Manifest or a Blob, which follow."""

    size: Annotated[int, msgspec.Meta(ge=1, le=STREAM_TAIL_SIZE_BYTES_MAX)]


class WantHave(_Message, tag=3, frozen=True):
    """Ask which Pieces of an object are held."""

    ref: Ref


class Have(_Message, tag=4, frozen=True):
    """Say which Pieces are held (``None``: all), and how many upload slots are free."""

    bitmap: Annotated[bytes, msgspec.Meta(max_length=PIECE_BITMAP_SIZE_BYTES_MAX)] | None
    slots: Annotated[int, msgspec.Meta(ge=0, le=_CALL_MAX)]


class WantHashes(_Message, tag=5, frozen=True):
    """Ask for ``count`` hashes of one layer, from hash ``first`` on."""

    ref: Ref
    layer: HashLayer
    first: _Index
    count: Annotated[int, msgspec.Meta(ge=1, le=PIECE_HASHES_MAX)]


class Hashes(_Message, tag=6, frozen=True):
    """Announce ``size`` bytes of hashes, which follow."""

    size: Annotated[int, msgspec.Meta(ge=1, le=PIECE_HASHES_MAX * HASH_SIZE_BYTES)]


class Get(_Message, tag=7, frozen=True):
    """Ask for ``length`` bytes of a Piece; ``offset`` is above 0 only to go on where it broke."""

    ref: Ref
    piece: _Index
    offset: Annotated[int, msgspec.Meta(ge=0, lt=PIECE_SIZE_BYTES)]
    length: Annotated[int, msgspec.Meta(ge=1, le=PIECE_SIZE_BYTES)]


class Piece(_Message, tag=8, frozen=True):
    """Announce ``size`` bytes of a Piece, which follow."""

    size: Annotated[int, msgspec.Meta(ge=1, le=PIECE_SIZE_BYTES)]


class Cancel(_Message, tag=9, frozen=True):
    """Take a GET back."""


class Sorry(_Message, tag=10, frozen=True):
    """Do not answer a call, and say why by a word; ``retry_ms`` from now it may be otherwise."""

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    retry_ms: Annotated[int, msgspec.Meta(ge=0, le=_RETRY_MS_LAST)]


Question: TypeAlias = WantSmall | WantHave | WantHashes | Get
Reply: TypeAlias = Small | Have | Hashes | Piece | Sorry


@dataclass(frozen=True, slots=True)
class Answer:
    """What came for one question; the tail is what its message announced."""

    question: Question
    reply: Reply
    tail: bytes = b""


@dataclass(slots=True)
class _Open:
    """A question that waits for its answer."""

    question: Question
    size_bytes_max: int  # of the tail
    is_cancelled: bool = False


class Asking:
    """The side that fetches: what it asked, and what may answer it."""

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self._last_call = 0
        self._open: dict[int, _Open] = {}
        self._reader = FrameReader(
            Messages(NAME, Reply, PIECE_FRAME_ITEMS_MAX, PIECE_FRAME_SIZE_BYTES_MAX, self._tail)
        )

    @property
    def open_gets(self) -> int:
        """Return how many GETs wait for their answer, cancelled ones too."""
        return sum(isinstance(it.question, Get) for it in self._open.values())

    @property
    def open_calls(self) -> int:
        """Return how many calls wait for their answer."""
        return len(self._open)

    def want_small(self, sha256: bytes, size_bytes_max: int) -> tuple[int, bytes]:
        """Ask for a Manifest or Blob; return the call and the bytes to send, as all of these do."""
        return self._ask(WantSmall(self._next_call(), sha256), size_bytes_max)

    def want_have(self, ref: Ref) -> tuple[int, bytes]:
        """Ask which Pieces are held."""
        return self._ask(WantHave(self._next_call(), ref), 0)

    def want_hashes(self, ref: Ref, layer: HashLayer, first: int, count: int) -> tuple[int, bytes]:
        """Ask for hashes of one layer."""
        assert 0 < count <= PIECE_HASHES_MAX
        assert first + count <= ref.hashes(layer)
        question = WantHashes(self._next_call(), ref, layer, first, count)
        return self._ask(question, count * HASH_SIZE_BYTES)

    def get(self, ref: Ref, piece: int, offset: int = 0) -> tuple[int, bytes]:
        """Ask for a Piece, or for the rest of one."""
        assert self.open_gets < PIECE_GETS_OPEN_MAX
        length = piece_length(ref.size, piece) - offset
        return self._ask(Get(self._next_call(), ref, piece, offset, length), length)

    def cancel(self, call: int) -> bytes:
        """Wait for a call no more, and return what to send: CANCEL for an open GET, or nothing."""
        found = self._open.get(call)
        if found is None or found.is_cancelled:
            return b""
        found.is_cancelled = True
        return encode_frame(Cancel(call)) if isinstance(found.question, Get) else b""

    def feed(self, data: bytes | bytearray | memoryview) -> list[Answer]:
        """Take what came and return each answer that is whole; raises ``ProtocolViolation``.

        Answers to cancelled calls are dropped.
        """
        answers = []
        for framed in self._reader.feed(data):
            reply: Reply = framed.message  # type: ignore[assignment]  # what the union lets in
            found = self._open.pop(reply.call, None)
            if found is None:
                if isinstance(reply, Sorry) and reply.call == STREAM_CALL:
                    continue  # about the stream, which the other side gives up
                raise self._violation("unexpected")
            self._check(found, reply)
            if not found.is_cancelled:
                answers.append(Answer(found.question, reply, framed.tail))
        return answers

    def arriving(self) -> tuple[Question, int] | None:
        """Return whose tail comes in just now and how many bytes of it did; ``None``: nobody's."""
        message = self._reader.awaiting
        if message is None:
            return None
        return self._open[message.call].question, self._reader.tail_held_bytes  # type: ignore[attr-defined]

    def broken_tail(self) -> tuple[Get, bytes] | None:
        """Return what came of the Piece that was under way when the stream ended, if one was."""
        message = self._reader.awaiting
        if not isinstance(message, Piece):
            return None
        found = self._open[message.call]
        assert isinstance(found.question, Get)
        tail = self._reader.take_partial_tail()
        return (found.question, tail) if tail and not found.is_cancelled else None

    def _ask(self, question: Question, size_bytes_max: int) -> tuple[int, bytes]:
        self._open[question.call] = _Open(question, size_bytes_max)
        return question.call, encode_frame(question)

    def _next_call(self) -> int:
        assert len(self._open) < PIECE_CALLS_OPEN_MAX
        self._last_call = self._last_call % _CALL_MAX + 1
        assert self._last_call not in self._open  # 32 open ones against 2**32 numbers
        return self._last_call

    def _tail(self, message: object) -> int:
        """Say how long a tail is, before any of it is waited for."""
        if not isinstance(message, Small | Hashes | Piece):
            return 0
        found = self._open.get(message.call)
        if found is None:
            raise self._violation("unexpected")
        self._check(found, message)
        return message.size

    def _check(self, found: _Open, reply: Reply) -> None:
        """Raise unless ``reply`` may answer the question."""
        match found.question, reply:
            case _, Sorry():
                return
            case WantSmall(), Small():
                fits = reply.size <= found.size_bytes_max
            case WantHave(), Have():
                fits = reply.bitmap is None or is_bitmap(reply.bitmap, found.question.ref.pieces)
            case WantHashes(), Hashes():
                fits = reply.size == found.size_bytes_max
            case Get(), Piece():
                fits = reply.size == found.size_bytes_max
            case _:
                raise self._violation("unexpected")
        if not fits:
            raise self._violation("too_big")

    def _violation(self, reason: str) -> ProtocolViolation:
        return ProtocolViolation(NAME, reason)


class Answering:
    """The side that seeds: what was asked of it and not answered yet."""

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self._open: dict[int, Question] = {}
        self._cancellable = 0  # GETs that came and CANCELs that may still come for them
        self._reader = FrameReader(
            Messages(NAME, Question | Cancel, PIECE_FRAME_ITEMS_MAX, PIECE_FRAME_SIZE_BYTES_MAX)
        )

    @property
    def open_calls(self) -> int:
        """Return how many calls wait for our answer."""
        return len(self._open)

    @property
    def is_between_frames(self) -> bool:
        """Say whether the stream may end here."""
        return self._reader.is_between_frames

    def feed(self, data: bytes | bytearray | memoryview) -> list[Question | Cancel]:
        """Take what came and return what is asked; raises ``ProtocolViolation``.

        A CANCEL is returned only when its call is open; one that crossed the answer means nothing.
        """
        asked: list[Question | Cancel] = []
        for framed in self._reader.feed(data):
            message: Question | Cancel = framed.message  # type: ignore[assignment]  # the union
            if isinstance(message, Cancel):
                self._cancellable -= 1
                if self._cancellable < 0:
                    raise ProtocolViolation(NAME, "unexpected")
                if isinstance(self._open.get(message.call), Get):
                    asked.append(message)
                continue
            self._check(message)
            self._open[message.call] = message
            asked.append(message)
        return asked

    def has_open(self, call: int) -> bool:
        """Say whether ``call`` still waits for our answer."""
        return call in self._open

    def answer(self, reply: Reply) -> bytes:
        """Close a call and return the frame that answers it; a tail follows as announced."""
        del self._open[reply.call]
        return encode_frame(reply)

    def _check(self, question: Question) -> None:
        if question.call in self._open or len(self._open) >= PIECE_CALLS_OPEN_MAX:
            raise ProtocolViolation(NAME, "unexpected")
        match question:
            case Get():
                gets = sum(isinstance(it, Get) for it in self._open.values())
                if gets >= PIECE_GETS_OPEN_MAX:
                    raise ProtocolViolation(NAME, "unexpected")
                self._cancellable += 1
                fits = question.piece < question.ref.pieces and (
                    question.offset + question.length
                    <= piece_length(question.ref.size, question.piece)
                )
            case WantHashes():
                fits = question.first + question.count <= question.ref.hashes(question.layer)
            case WantSmall() | WantHave():
                fits = True
        if not fits:
            raise ProtocolViolation(NAME, "too_big")


def is_bitmap(bitmap: bytes, pieces: int) -> bool:
    """Say whether ``bitmap`` may stand for ``pieces`` Pieces: as long, and no bit behind them."""
    if len(bitmap) != bitmap_size(pieces):
        return False
    return not pieces % 8 or bitmap[-1] < 1 << pieces % 8
