"""Reconciling two sets of Heads by ranges: what differs is found without telling everything.

* A set holds at most one Head of each Author and is sorted by Author.  What is compared of a Head
  is v = SHA-256(salt + author + u64 seq + id); the fingerprint of a range is the first 16 bytes
  of SHA-256(sum of all v mod 2^256, as 32 bytes little-endian, + u32 count).  u64 and u32 are
  big-endian; v is read little-endian.
* The salt is new for every session, so nobody can make Heads whose sums hide each other.  The id
  is in v, so two branches of a Fork differ.
* A round is one message each way.  A message walks over all Authors in ranges: nothing to say, a
  fingerprint, or a list.  A fingerprint that differs is answered by sixteen smaller ones, or by a
  list where fewer than 16 Heads are held; a list is answered by what differs of it, once.
* At the end both sides know exactly what differs.  Where that would take more than one frame or
  eight rounds, whoever notices says so by a message without ranges, and both tell everything.

Nothing is read or stored here, and what to do about a difference is not known.
"""

from __future__ import annotations

from bisect import bisect_left
from hashlib import sha256
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

from hanse.core.limits import (
    FRAME_SIZE_BYTES_MAX,
    SYNC_RECON_RANGES_MAX,
    SYNC_RECON_ROUNDS_MAX,
    SYNC_RECON_ROWS_MAX,
)
from hanse.core.model.ids import AuthorKey, EntryId
from hanse.core.model.network import HeadClaim
from hanse.network.wire.sync_messages import (
    FINGERPRINT,
    FINGERPRINT_SIZE_BYTES,
    LIST,
    MESSAGES,
    SKIP,
    ReconRange,
    ReconRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SPLIT: Final = 16
LIST_BELOW: Final = 16

_SEQ_SIZE_BYTES: Final = 8
_SUM_SIZE_BYTES: Final = 32
_COUNT_SIZE_BYTES: Final = 4
_MODULUS: Final = 1 << 8 * _SUM_SIZE_BYTES
# What one row, and one range without its upper bound and rows, take in a frame at most.
_ROW_SIZE_BYTES: Final = 1 + 34 + 5 + 34
_RANGE_SIZE_BYTES: Final = 1 + 2 + 1 + 17
_ROOM_BYTES: Final = FRAME_SIZE_BYTES_MAX - 64


def salt_of(nonce_dialler: bytes, nonce_dialled: bytes) -> bytes:
    """Return the salt of a session, in which both sides have a part."""
    return sha256(nonce_dialler + nonce_dialled).digest()


class Frontier:
    """One side's set of Heads, ready to be compared under one salt.

    Building it hashes every Head once (200,000 in about half a second), so it belongs on a
    working thread; a fingerprint of any range is then two sums and one hash.
    """

    def __init__(self, claims: Iterable[HeadClaim], salt: bytes) -> None:
        """Take at most one Head of each Author, in any order."""
        self.claims: tuple[HeadClaim, ...] = tuple(sorted(claims))
        self._authors: list[bytes] = [claim.author for claim in self.claims]
        assert all(a < b for a, b in pairwise(self._authors))
        self._sums: list[int] = list(
            accumulate((_value(claim, salt) for claim in self.claims), initial=0)
        )

    def __len__(self) -> int:
        """Return how many Heads there are."""
        return len(self.claims)

    def at(self, bound: bytes | None) -> int:
        """Return where the Heads of Authors from ``bound`` on begin; ``None`` is the end."""
        return len(self._authors) if bound is None else bisect_left(self._authors, bound)

    def fingerprint(self, first: int, end: int) -> bytes:
        """Return the fingerprint of the Heads from place ``first`` up to, and without, ``end``."""
        total = (self._sums[end] - self._sums[first]) % _MODULUS
        raw = total.to_bytes(_SUM_SIZE_BYTES, "little") + (end - first).to_bytes(
            _COUNT_SIZE_BYTES, "big"
        )
        return sha256(raw).digest()[:FINGERPRINT_SIZE_BYTES]

    def bound_before(self, place: int) -> bytes:
        """Return the shortest bound that parts the Head at ``place`` from the one before it."""
        left, right = self._authors[place - 1], self._authors[place]
        same = next(i for i in range(len(right)) if left[i] != right[i])
        return right[: same + 1]


def _value(claim: HeadClaim, salt: bytes) -> int:
    raw = salt + claim.author + claim.seq.to_bytes(_SEQ_SIZE_BYTES, "big") + claim.entry_id
    return int.from_bytes(sha256(raw).digest(), "little")


class Reconciler:
    """One side of one reconciliation; strictly by turns, whoever dialled first.

    ``theirs`` are Heads the other side holds and we do not hold so, ``ours`` the other way round;
    both are whole once ``is_done`` and not ``gave_up``.
    """

    def __init__(self, frontier: Frontier) -> None:
        """Compare ``frontier`` with the other side's."""
        self._frontier = frontier
        self._asked: list[_Span] = []  # what we said last that wants an answer, in order
        self._sent = 0
        self._received = 0
        self.theirs: list[HeadClaim] = []
        self.ours: list[HeadClaim] = []
        self.is_done = False
        self.gave_up = False

    def begin(self) -> tuple[ReconRange, ...]:
        """Return the first message of whoever dialled."""
        assert not self._sent
        assert not self._received
        answer = _Answer(self._frontier)
        answer.split(_Span(b"", None, FINGERPRINT))
        return self._say(answer)

    def receive(self, ranges: Sequence[ReconRange]) -> tuple[ReconRange, ...] | None:
        """Take the other side's message and return the answer, or ``None`` when none is due.

        An answer without ranges gives up.  Raises ``ProtocolViolation`` for what answers nothing
        of ours, or comes once too often.
        """
        assert not self.is_done
        self._received += 1
        if not ranges:
            self._give_up()
            return None
        if self._received > SYNC_RECON_ROUNDS_MAX:
            raise MESSAGES.violation("unexpected")
        is_first = not self._sent
        asked = [_Span(b"", None, FINGERPRINT)] if is_first else self._asked
        spans = _spans(ranges)
        _check(spans, asked)
        listed = {one.lower for one in asked if one.mode == LIST}
        answer = _Answer(self._frontier)
        wants_answer = False
        for span, said in spans:
            if said.mode == FINGERPRINT:
                wants_answer = True
                self._compare(answer, span, said)
            elif said.mode == LIST and span.lower in listed:
                self._take_reply(span, said)
                answer.skip(span)
            elif said.mode == LIST:
                wants_answer = True
                self._take_list(answer, span, said)
            else:
                answer.skip(span)
            if answer.is_too_long:
                break
        if not wants_answer:
            self.is_done = True
            return None
        return self._say(answer)

    # --- one range --------------------------------------------------------------------------

    def _compare(self, answer: _Answer, span: _Span, said: ReconRange) -> None:
        first, end = self._frontier.at(span.lower), self._frontier.at(span.upper)
        if self._frontier.fingerprint(first, end) == said.data:
            answer.skip(span)
        else:
            answer.split(span)

    def _take_list(self, answer: _Answer, span: _Span, said: ReconRange) -> None:
        """Compare a whole list with what is held, and reply with what differs of it."""
        rows = _rows(said)
        if any(row.seq == 0 for row in rows):
            raise MESSAGES.violation("bad_frame")
        held_count = self._frontier.at(span.upper) - self._frontier.at(span.lower)
        if held_count - len(rows) > SYNC_RECON_ROWS_MAX:
            answer.is_too_long = True  # whatever they are, that many of ours are not among them
            return
        held = self._held(span)
        listed = {row.author: row for row in rows}
        reply = []
        for author in sorted(held.keys() | listed.keys()):
            mine, yours = held.get(author), listed.get(author)
            if mine is not None and yours is not None and _is_same(mine, yours):
                continue
            if mine is not None:
                self.ours.append(mine)
            if yours is not None:
                self.theirs.append(_claim(yours))
            reply.append(
                ReconRow(author, 0, None)
                if mine is None
                else ReconRow(author, mine.seq, mine.entry_id)
            )
        if reply:
            answer.reply(span, tuple(reply))
        else:
            answer.skip(span)

    def _take_reply(self, span: _Span, said: ReconRange) -> None:
        held = self._held(span)
        for row in _rows(said):
            mine = held.get(AuthorKey(row.author))
            if mine is not None and not _is_same(mine, row):
                self.ours.append(mine)
            if row.seq and not (mine is not None and _is_same(mine, row)):
                self.theirs.append(_claim(row))

    def _held(self, span: _Span) -> dict[bytes, HeadClaim]:
        first, end = self._frontier.at(span.lower), self._frontier.at(span.upper)
        return {claim.author: claim for claim in self._frontier.claims[first:end]}

    # --- the whole message ------------------------------------------------------------------

    def _say(self, answer: _Answer) -> tuple[ReconRange, ...]:
        self._sent += 1
        is_last = self._sent == SYNC_RECON_ROUNDS_MAX
        if answer.is_too_long or (is_last and answer.asked):
            self._give_up()
            return ()
        self._asked = answer.asked
        self.is_done = not answer.asked
        return answer.ranges()

    def _give_up(self) -> None:
        self.is_done = self.gave_up = True
        self.theirs.clear()
        self.ours.clear()


class _Span:
    """Authors from ``lower`` up to, and without, ``upper``, and how they were spoken of."""

    __slots__ = ("lower", "mode", "upper")

    def __init__(self, lower: bytes, upper: bytes | None, mode: int) -> None:
        self.lower = lower
        self.upper = upper
        self.mode = mode

    def holds(self, other: _Span) -> bool:
        return self.lower <= other.lower and (
            self.upper is None or (other.upper is not None and other.upper <= self.upper)
        )


class _Answer:
    """A message in the making: ranges in order, neighbours with nothing to say in one."""

    def __init__(self, frontier: Frontier) -> None:
        self._frontier = frontier
        self._ranges: list[ReconRange] = []
        self._skipped: _Span | None = None
        self._rows = 0
        self._size_bytes = 0
        self.asked: list[_Span] = []
        self.is_too_long = False

    def skip(self, span: _Span) -> None:
        """Say nothing of ``span``."""
        self._skipped = span

    def split(self, span: _Span) -> None:
        """Say of ``span`` what the other side can compare: smaller ranges, or a list."""
        first, end = self._frontier.at(span.lower), self._frontier.at(span.upper)
        count = end - first
        if count < LIST_BELOW:
            rows = tuple(
                ReconRow(claim.author, claim.seq, claim.entry_id)
                for claim in self._frontier.claims[first:end]
            )
            self._add(span.lower, ReconRange(span.upper, LIST, rows), is_asking=True)
            return
        lower = span.lower
        for bucket in range(SPLIT):
            start = first + count * bucket // SPLIT
            stop = first + count * (bucket + 1) // SPLIT
            is_last = bucket == SPLIT - 1
            upper = span.upper if is_last else self._frontier.bound_before(stop)
            data = self._frontier.fingerprint(start, stop)
            self._add(lower, ReconRange(upper, FINGERPRINT, data), is_asking=True)
            if upper is not None:
                lower = upper

    def reply(self, span: _Span, rows: tuple[ReconRow, ...]) -> None:
        """Answer a list."""
        self._add(span.lower, ReconRange(span.upper, LIST, rows), is_asking=False)

    def ranges(self) -> tuple[ReconRange, ...]:
        """Return the message; it always reaches the end of all Authors."""
        self._flush()
        return tuple(self._ranges)

    def _add(self, lower: bytes, said: ReconRange, *, is_asking: bool) -> None:
        if self.is_too_long:
            return
        self._flush()
        rows = 0 if said.mode == FINGERPRINT else len(_rows(said))
        self._rows += rows
        self._size_bytes += _RANGE_SIZE_BYTES + len(said.upper or b"") + rows * _ROW_SIZE_BYTES
        self._ranges.append(said)
        if is_asking:
            self.asked.append(_Span(lower, said.upper, said.mode))
        self.is_too_long = (
            self._size_bytes > _ROOM_BYTES
            or self._rows > SYNC_RECON_ROWS_MAX
            or len(self._ranges) > SYNC_RECON_RANGES_MAX - 1  # a last one may have to be skipped
        )

    def _flush(self) -> None:
        if self._skipped is not None:
            self._size_bytes += _RANGE_SIZE_BYTES + len(self._skipped.upper or b"")
            self._ranges.append(ReconRange(self._skipped.upper, SKIP, None))
            self._skipped = None


def _spans(ranges: Sequence[ReconRange]) -> list[tuple[_Span, ReconRange]]:
    """Give each range its lower bound; they rise, and the last one alone has no upper bound."""
    spans = []
    lower = b""
    rows = 0
    for place, said in enumerate(ranges):
        is_last = place == len(ranges) - 1
        if is_last != (said.upper is None) or (said.upper is not None and said.upper <= lower):
            raise MESSAGES.violation("bad_frame")
        span = _Span(lower, said.upper, said.mode)
        if said.mode == LIST:
            listed = _rows(said)
            rows += len(listed)
            if any(a.author >= b.author for a, b in pairwise(listed)) or not all(
                lower <= row.author and (said.upper is None or row.author < said.upper)
                for row in listed
            ):
                raise MESSAGES.violation("bad_frame")
        spans.append((span, said))
        lower = said.upper or lower
    if rows > SYNC_RECON_ROWS_MAX:
        raise MESSAGES.violation("too_big")
    return spans


def _check(spans: Sequence[tuple[_Span, ReconRange]], asked: Sequence[_Span]) -> None:
    """Refuse whatever answers nothing that was asked: what is settled stays settled."""
    waiting = iter(asked)
    current = next(waiting, None)
    for span, said in spans:
        if said.mode == SKIP:
            continue
        while current is not None and current.upper is not None and current.upper <= span.lower:
            current = next(waiting, None)
        if current is None or not current.holds(span):
            raise MESSAGES.violation("unexpected")
        if current.mode == LIST:
            is_whole = said.mode == LIST and current.lower == span.lower
            if not is_whole or current.upper != span.upper:
                raise MESSAGES.violation("unexpected")


def _rows(said: ReconRange) -> tuple[ReconRow, ...]:
    assert isinstance(said.data, tuple)
    return said.data


def _claim(row: ReconRow) -> HeadClaim:
    assert row.entry_id is not None
    return HeadClaim(AuthorKey(row.author), row.seq, EntryId(row.entry_id))


def _is_same(claim: HeadClaim, row: ReconRow) -> bool:
    return claim.seq == row.seq and claim.entry_id == row.entry_id
