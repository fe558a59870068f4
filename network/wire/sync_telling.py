"""One half of a sync session: what we tell the other side, and what it asks of us.

* Heads are told page by page.  After each page the other side says SEEN once it has dealt with it,
  and only then the next one is read: it says how fast it goes, and our store is not read ahead.
* Requests are answered one after another in the order asked, at most four wait.  An answer ends
  where its bounds do; whoever asked goes on from there.
* What the other side told us is not told back to it, nor twice, while we remember that; but for
  what came late, such as a Body: whoever was told of its Entry may still look for it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hanse.core.limits import (
    BODY_SIZE_BYTES_MAX,
    FRAME_SIZE_BYTES_MAX,
    HEADER_SIZE_BYTES_MAX,
    SIGNATURE_SIZE_BYTES,
    SYNC_ANSWER_SIZE_BYTES_MAX,
    SYNC_ENTRIES_MAX,
    SYNC_FORKS_MAX,
    SYNC_HEARD_MAX,
    SYNC_WANTS_OPEN_MAX,
)
from hanse.core.model.ids import AuthorKey, EntryId
from hanse.core.model.network import Interest, SeqRange
from hanse.network.wire.sync_actions import ReadBodies, ReadEntries, ReadHeads, Send
from hanse.network.wire.sync_messages import (
    MESSAGES,
    Bodies,
    BodyItem,
    Entries,
    ForkShown,
    Heads,
    Item,
    Row,
    Want,
    WantBodies,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hanse.core.engine.replication.values import BodiesPage, EntriesPage, HeadsPage
    from hanse.network.wire.sync_actions import Action

PAGE_ROWS: Final = 1024  # of a page we tell: a page of the most rows takes a tenth of a second

# What DAG-CBOR writes around one Entry at most, and one Entry as a whole.
_ITEM_OVERHEAD_BYTES: Final = 16
_ITEM_SIZE_BYTES: Final = (
    HEADER_SIZE_BYTES_MAX + SIGNATURE_SIZE_BYTES + BODY_SIZE_BYTES_MAX + _ITEM_OVERHEAD_BYTES
)
_FRAME_ROOM_BYTES: Final = FRAME_SIZE_BYTES_MAX - 1024 - SYNC_ENTRIES_MAX * _ITEM_OVERHEAD_BYTES
# Below what may be taken of one answer, so that counting otherwise by a little offends nobody.
_ANSWER_ROOM_BYTES: Final = SYNC_ANSWER_SIZE_BYTES_MAX - 2 * _ITEM_SIZE_BYTES
assert _FRAME_ROOM_BYTES > _ITEM_SIZE_BYTES


@dataclass(slots=True)
class _Request:
    """What is left of one request to answer."""

    number: int
    ranges: tuple[SeqRange, ...] = ()
    with_bodies: bool = False
    ids: tuple[EntryId, ...] = ()
    bytes_left: int = _ANSWER_ROOM_BYTES
    entries_left: int = SYNC_ENTRIES_MAX


class Telling:
    """What one session tells; actions are appended to ``out``."""

    def __init__(self, out: list[Action]) -> None:
        """Tell nothing before ``tell_from`` or ``await_seen``."""
        self._out = out
        self._interest = Interest()
        self._is_begun = False
        self._told_n = 0
        self._unseen: int | None = None  # told, and the other side has not said SEEN
        self._is_reading = False
        self._has_news = False
        self._has_told = False
        self._told_late_n = 0
        self._requests: deque[_Request] = deque()
        self._answering: _Request | None = None
        self._last_request = 0
        self._heard: dict[bytes, tuple[int, bytes]] = {}
        self._told: dict[bytes, tuple[int, bytes]] = {}
        self._forks: dict[AuthorKey, None] = {}
        self.entries_out = 0
        self.seen_n: int | None = None  # up to here the other side has everything, or wants it not

    @property
    def is_settled(self) -> bool:
        """Say whether the other side has dealt with all that is here, as far as is known."""
        return (
            self._is_begun
            and self._unseen is None
            and not (self._is_reading or self._has_news)
            and self._answering is None
        )

    def set_interest(self, interest: Interest) -> None:
        """Note what the other side wants to hear of."""
        self._interest = interest

    # --- Heads ------------------------------------------------------------------------------

    def tell_from(self, n: int) -> None:
        """Tell everything that came after arrival ``n``, and go on telling."""
        self._is_begun = True
        self._told_n = n
        self._unseen = None
        self._has_news = True
        self._read_on()

    def await_seen(self, n: int) -> None:
        """Go on after arrival ``n`` once the other side has dealt with what was reconciled."""
        self._is_begun = True
        self._told_n = n
        self._unseen = n

    def news(self) -> None:
        """Note that something came here."""
        self._has_news = True
        self._read_on()

    def seen(self, n: int) -> None:
        """Take SEEN; raises ``ProtocolViolation`` when nothing waits for it."""
        if self._unseen != n:
            raise MESSAGES.violation("unexpected")
        self._unseen = None
        self.seen_n = n
        self._read_on()

    def heard(self, rows: Iterable[Row]) -> None:
        """Remember what the other side told us, as far as there is room."""
        _remember(self._heard, rows)

    def heads_read(self, page: HeadsPage) -> None:
        """Tell the page that was read."""
        self._is_reading = False
        rows = tuple(
            Row(row.author, row.from_seq, row.to_seq, row.entry_id)
            for row in page.rows
            if row.late_n > self._told_late_n
            or (row.to_seq, row.entry_id)
            not in {self._heard.get(row.author), self._told.get(row.author)}
        )
        self._told_late_n = max([self._told_late_n, *(row.late_n for row in page.rows)])
        # Own Entries that are held back keep the place where it is; going on would not move it.
        is_further = page.up_to > self._told_n
        self._has_news |= page.more and is_further
        if is_further or rows or not self._has_told:
            self._has_told = True
            self._told_n = max(self._told_n, page.up_to)
            self._unseen = self._told_n
            _remember(self._told, rows)
            self._out.append(Send(write(Heads(rows, self._told_n, page.more and is_further))))
        self._read_on()

    def _read_on(self) -> None:
        if self._is_begun and self._has_news and not self._is_reading and self._unseen is None:
            self._has_news = False
            self._is_reading = True
            self._out.append(ReadHeads(self._told_n, self._interest, PAGE_ROWS))

    # --- what is asked of us ------------------------------------------------------------------

    def want(self, message: Want | WantBodies) -> None:
        """Queue a request; raises ``ProtocolViolation`` for one too many or out of turn."""
        is_open = len(self._requests) + (self._answering is not None)
        if message.request <= self._last_request or is_open >= SYNC_WANTS_OPEN_MAX:
            raise MESSAGES.violation("unexpected")
        self._last_request = message.request
        if isinstance(message, Want):
            ranges = tuple(
                SeqRange(AuthorKey(it.author), it.first, it.last) for it in message.ranges
            )
            request = _Request(message.request, ranges, message.with_bodies)
        else:
            request = _Request(message.request, ids=tuple(EntryId(it) for it in message.ids))
        self._requests.append(request)
        if self._answering is None:
            self._answer_next()

    def entries_read(self, page: EntriesPage) -> None:
        """Send the Entries that were read, after the proofs they call for."""
        request = self._answering
        assert request is not None
        for author, proof in page.forks:
            self.tell_fork(author, proof)
        request.entries_left -= len(page.entries)
        request.ranges = page.rest
        frames: list[list[Item]] = [[]]
        room = _FRAME_ROOM_BYTES
        for entry in page.entries:
            size = len(entry.header) + len(entry.sig) + len(entry.body or b"")
            request.bytes_left -= size
            if size > room:
                frames.append([])
                room = _FRAME_ROOM_BYTES
            room -= size
            frames[-1].append(Item(entry.header, entry.sig, entry.body))
        self.entries_out += len(page.entries)
        goes_on = bool(page.rest and page.entries) and self._has_room(request)
        for items in frames:
            is_last = items is frames[-1] and not goes_on
            self._out.append(Send(write(Entries(request.number, tuple(items), is_last))))
        self._go_on(request, goes_on=goes_on)

    def bodies_read(self, page: BodiesPage) -> None:
        """Send the Bodies that were read."""
        request = self._answering
        assert request is not None
        request.ids = page.rest
        items = tuple(BodyItem(it.entry_id, it.body) for it in page.bodies)
        request.bytes_left -= sum(len(it.body or b"") for it in items)
        goes_on = bool(page.rest and items) and self._has_room(request)
        self._out.append(Send(write(Bodies(request.number, items, not goes_on))))
        self._go_on(request, goes_on=goes_on)

    def _has_room(self, request: _Request) -> bool:
        return request.bytes_left >= _ITEM_SIZE_BYTES and request.entries_left > 0

    def _go_on(self, request: _Request, *, goes_on: bool) -> None:
        if goes_on:
            self._read(request)
        else:
            self._answering = None
            self._answer_next()

    def _answer_next(self) -> None:
        if self._requests:
            self._answering = self._requests.popleft()
            self._read(self._answering)

    def _read(self, request: _Request) -> None:
        most_bytes = min(_FRAME_ROOM_BYTES, request.bytes_left)
        if request.ids:
            self._out.append(ReadBodies(request.ids, most_bytes))
            return
        self._out.append(
            ReadEntries(
                request.ranges,
                request.with_bodies,
                self._interest,
                most_bytes,
                request.entries_left,
            )
        )

    # --- Forks ----------------------------------------------------------------------------------

    def tell_fork(self, author: AuthorKey, proof: bytes) -> None:
        """Show a Fork proof, once for each Author; others have to find it on their own."""
        if author not in self._forks and len(self._forks) < SYNC_FORKS_MAX:
            self._forks[author] = None
            self._out.append(Send(write(ForkShown(proof))))


def _remember(heads: dict[bytes, tuple[int, bytes]], rows: Iterable[Row]) -> None:
    """Note the newest Head of each Feed, and forget those that were noted first."""
    for row in rows:
        heads.pop(row.author, None)
        heads[row.author] = (row.to_seq, row.entry_id)
    while len(heads) > SYNC_HEARD_MAX:
        del heads[next(iter(heads))]
