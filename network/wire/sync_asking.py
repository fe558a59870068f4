"""One half of a sync session: what we ask of the other side, and what comes of it.

* Rows are dealt with page by page: looked at, asked for in the order the engine gave, taken in
  batches.  The page is SEEN when nothing of it is open any more, and its cursor goes with its last
  batch.
* At most four requests are open.  One stays open until the engine has committed what it brought,
  so nothing is asked faster than it is taken.
* An answer holds what was asked, in the order asked, within its bounds.  What it did not reach is
  asked again as long as each answer brings something; what it passed over is dropped.
* The same place is asked for at most once on the way of one page, whoever suggests it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, unique
from itertools import islice
from typing import TYPE_CHECKING, Final

from hanse.core.engine.replication.values import (
    Fault,
    HeadsRow,
    MissingBodies,
    OwnHead,
    SentBody,
    Taken,
)
from hanse.core.limits import (
    SYNC_BODIES_MAX,
    SYNC_ENTRIES_MAX,
    SYNC_FOLLOWED_MAX,
    SYNC_FRUITLESS_MAX,
    SYNC_HEADS_MAX,
    SYNC_HINTS_WAITING_MAX,
    SYNC_OWN_CLAIMS_MAX,
    SYNC_RANGES_MAX,
    SYNC_WANTS_OPEN_MAX,
)
from hanse.core.model.ids import AuthorKey, EntryId
from hanse.core.model.network import Cursor, HeadClaim, SentEntry, SeqRange
from hanse.network.wire.sync_actions import (
    Blame,
    JudgeOwnHead,
    KeepCursor,
    Look,
    Looked,
    Misdeed,
    NoteReconciled,
    PassFork,
    ReadMissing,
    Send,
    ShowOwnHead,
    Take,
    TakeBodies,
)
from hanse.network.wire.sync_messages import (
    MESSAGES,
    Bodies,
    Entries,
    Seen,
    Want,
    WantBodies,
    WantRange,
    write,
)
from hanse.network.wire.sync_requests import (
    Ask,
    OpenRequest,
    Purpose,
    ask_of,
    check_size,
    take_place,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hanse.network.wire.sync_actions import Action

_TAKES_OPEN: Final = 2  # one is written while the next is checked

# What nobody passes on who checks what he takes.
_GRAVE: Final = frozenset({Fault.MALFORMED, Fault.BAD_SIGNATURE, Fault.UNPROVEN})


class Withholding(Exception):
    """The other side announced Heads and shows nothing of them, again and again."""


class Forging(Exception):
    """The other side brought what it cannot have checked itself."""


@unique
class _Sort(Enum):
    HEADS = 1
    DIFFERENCE = 2  # what reconciling found
    HINT = 3


@dataclass(slots=True)
class _Page:
    sort: _Sort
    rows: deque[HeadsRow]
    cursor: Cursor | None = None
    is_whole: bool = False  # with it, everything the other side has was told or reconciled
    missing_after: int | None = None  # where to go on reading what is missing
    is_cursor_kept: bool = False


@dataclass(slots=True)
class _Batch:
    """What came in one frame, or in some of one request."""

    of: OpenRequest
    entries: tuple[SentEntry, ...] = ()
    bodies: tuple[SentBody, ...] = ()


class Asking:
    """What one session asks; actions are appended to ``out``."""

    def __init__(self, out: list[Action], own: AuthorKey, batch_entries: int) -> None:
        """Ask on behalf of the Device ``own``, taking up to ``batch_entries`` at once."""
        self._out = out
        self._own = own
        self._batch_entries = batch_entries
        self.most_open = SYNC_WANTS_OPEN_MAX
        self._page: _Page | None = None
        self._pages: deque[_Page] = deque()
        self._hints: dict[AuthorKey, HeadsRow] = {}
        self._looking = 0
        self._later: list[HeadsRow] = []
        self._queue: deque[Ask] = deque()
        self._bodies: dict[EntryId, None] = {}
        self._bodies_open: set[EntryId] = set()
        self._followed: dict[tuple[bytes, int, int], None] = {}
        self._open: dict[int, OpenRequest] = {}
        self._requests = 0
        self._batches: deque[_Batch] = deque()
        self._taking: deque[tuple[Action, list[_Batch]]] = deque()
        self._is_reading_missing = False
        self._own_claims: dict[HeadClaim, None] = {}
        self._judging: deque[HeadClaim | None] = deque()
        self._showing = 0  # Entries of our Feed that are asked for or looked at
        self._is_own_proven = False
        self._fruitless = 0
        self._is_caught_up = False  # the last page said that no other waits
        self._heads_after: int | None = None  # a page may come, and goes on from here
        self._is_telling_all = False
        self.entries_in = 0
        self.forks: list[tuple[AuthorKey, bytes]] = []  # new here, to be shown to the other side

    # --- how far it is ---------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Say whether nothing is being asked or taken."""
        return not (
            self._page
            or self._pages
            or self._hints
            or self._queue
            or self._bodies
            or self._open
            or self._batches
            or self._taking
            or self._judging
            or self._showing
        )

    @property
    def is_settled(self) -> bool:
        """Say whether everything the other side told of is here."""
        return self._is_caught_up and self.is_idle

    @property
    def behind_by(self) -> int:
        """Return how many Entries are still to come, as far as is known."""
        waiting = sum(ask.last - ask.first + 1 for ask in self._queue)
        return waiting + sum(
            ask.last - request.got.get(place, ask.first - 1)
            for request in self._open.values()
            for place, ask in enumerate(request.asks)
        )

    @property
    def oldest_open(self) -> tuple[int, int] | None:
        """Return which answer is waited for, and how many frames of it came."""
        for request in self._open.values():
            if not request.is_answered:
                return request.number, request.frames
        return None

    @property
    def asked_authors(self) -> tuple[AuthorKey, ...]:
        """Return whose Entries are asked for, now or next."""
        waiting = [ask.author for ask in self._queue]
        waiting += [ask.author for request in self._open.values() for ask in request.asks]
        return tuple(dict.fromkeys(waiting))

    @property
    def has_later(self) -> bool:
        """Say whether rows wait until somebody else has been asked for them."""
        return bool(self._later)

    # --- what is told to us ----------------------------------------------------------------------

    def expect_heads(self, after_n: int, *, is_all: bool) -> None:
        """Let a page come that goes on after arrival ``after_n``; ``is_all`` from the beginning."""
        self._heads_after = after_n
        self._is_telling_all = is_all

    def told(self, rows: Iterable[HeadsRow], cursor: Cursor, *, more: bool) -> None:
        """Deal with a page of Heads; raises ``ProtocolViolation`` for one that may not come."""
        after_n = self._heads_after
        if after_n is None or cursor.n < after_n or (more and cursor.n == after_n):
            raise MESSAGES.violation("unexpected")
        self._heads_after = None
        self._is_caught_up = not more
        is_whole = self._is_telling_all and not more
        self._is_telling_all &= more
        page = _Page(_Sort.HEADS, deque(self._without_own(rows)), cursor, is_whole=is_whole)
        self._begin(page)

    def found(self, claims: Iterable[HeadClaim], cursor: Cursor) -> None:
        """Deal with what reconciling found that the other side has."""
        rows = (HeadsRow(it.author, it.seq, it.seq, it.entry_id) for it in claims)
        self._is_caught_up = True
        self._begin(_Page(_Sort.DIFFERENCE, deque(self._without_own(rows)), cursor, is_whole=True))

    def hinted(self, claim: HeadClaim) -> None:
        """Look whether a Head that somebody hinted at is wanted, and ask for it."""
        if claim.author != self._own and (
            claim.author in self._hints or len(self._hints) < SYNC_HINTS_WAITING_MAX
        ):
            self._hints[claim.author] = HeadsRow(claim.author, claim.seq, claim.seq, claim.entry_id)
        self.pump()

    def own_claimed(self, claim: HeadClaim | None) -> None:
        """Judge what the other side says it holds of our Feed, each word once."""
        if claim is not None:
            if claim in self._own_claims or len(self._own_claims) >= SYNC_OWN_CLAIMS_MAX:
                return
            self._own_claims[claim] = None
        self._judging.append(claim)
        self._out.append(JudgeOwnHead(claim))

    def look_again(self) -> None:
        """Look again at rows that were being asked of somebody else."""
        if self._page is not None and self._later:
            self._page.rows.extendleft(reversed(self._later))
            self._later.clear()
            self.pump()

    def _without_own(self, rows: Iterable[HeadsRow]) -> list[HeadsRow]:
        others = []
        for row in rows:
            if row.author == self._own:
                self.own_claimed(HeadClaim(row.author, row.to_seq, row.entry_id))
            else:
                others.append(row)
        return others

    def _begin(self, page: _Page) -> None:
        self._pages.append(page)
        self.pump()

    # --- what the engine says --------------------------------------------------------------------

    def looked(self, looked: Looked) -> None:
        """Queue what is wanted of the rows that were looked at."""
        self._looking -= 1
        self._later += looked.later
        is_hint = self._page is not None and self._page.sort is _Sort.HINT
        purpose = Purpose.FOLLOWED if is_hint else Purpose.ANNOUNCED
        for wanted in looked.wanted.ranges:
            self._queue.append(ask_of(wanted.range, purpose, with_bodies=wanted.with_bodies))
        self._follow(looked.wanted.suspects)
        self._want_bodies(looked.wanted.bodies)
        self.pump()

    def judged(self, judgement: OwnHead) -> None:
        """Ask for what the other side claims to hold of our Feed, if it has to be seen."""
        claim = self._judging.popleft()
        if judgement is OwnHead.ASK:
            assert claim is not None
            self._showing += 1
            self._queue.appendleft(
                Ask(self._own, claim.seq, claim.seq, with_bodies=False, purpose=Purpose.OWN)
            )
        self.pump()

    def own_shown(self, *, is_proof: bool) -> None:
        """Note what showing a claimed Entry of our Feed came to."""
        self._showing -= 1
        self._is_own_proven |= is_proof
        if not (self._showing or self._is_own_proven):
            self._out.append(Blame(Misdeed.WRONG_BYTES))
        self.pump()

    def taken(self, taken: Taken) -> None:
        """Go on after a batch; raises ``Forging``."""
        action, batches = self._taking.popleft()
        if isinstance(action, Take) and action.cursor is not None:
            assert self._page is not None
            # A cursor is not kept before what it led to, or a crash would lose that.
            self._page.is_cursor_kept = not (taken.ranges or taken.bodies)
        for batch in batches:
            batch.of.batches -= 1
            self._close_if_done(batch.of)
        self.entries_in += taken.outcome.accepted
        if taken.outcome.accepted:
            self._fruitless = 0
        self.note(taken)
        self.pump()

    def note(self, taken: Taken) -> None:
        """Follow what a batch or a proof leads to; raises ``Forging``."""
        self._follow(taken.ranges)
        self._want_bodies(taken.bodies)
        for author, proof in taken.forks:
            self.forks.append((author, proof))
            self._out.append(PassFork(author, proof))
        faults = dict.fromkeys(taken.faults)
        if faults:
            self._out.append(Blame(Misdeed.WRONG_BYTES))
        if _GRAVE & faults.keys():
            raise Forging

    def missing(self, missing: MissingBodies) -> None:
        """Ask for Bodies that are missing here."""
        self._is_reading_missing = False
        page = self._page
        assert page is not None
        page.missing_after = missing.up_to
        if not missing.more:
            page.is_whole = False
        self._want_bodies(missing.ids)
        self.pump()

    def _follow(self, ranges: Iterable[SeqRange]) -> None:
        for it in ranges:
            place = (it.author, it.first, it.last)
            if place in self._followed or len(self._followed) >= SYNC_FOLLOWED_MAX:
                continue
            self._followed[place] = None
            # Bodies come along: on a branch may stand a revocation.
            self._queue.append(ask_of(it, Purpose.FOLLOWED, with_bodies=True))

    def _want_bodies(self, ids: Iterable[EntryId]) -> None:
        for entry_id in ids:
            if entry_id not in self._bodies_open and len(self._bodies) < SYNC_FOLLOWED_MAX:
                self._bodies[entry_id] = None

    # --- what comes ------------------------------------------------------------------------------

    def entries(self, message: Entries) -> None:
        """Take one frame of an answer; raises ``ProtocolViolation`` or ``Withholding``."""
        request = self._answered_by(message.request)
        if request.ids:
            raise MESSAGES.violation("unexpected")
        for item in message.entries:
            take_place(request, item.header)
            request.size_bytes += len(item.header) + len(item.sig) + len(item.body or b"")
        check_size(request)
        came = tuple(SentEntry(it.header, it.sig, it.body) for it in message.entries)
        request.came += len(came)
        if request.came > SYNC_ENTRIES_MAX:
            raise MESSAGES.violation("too_big")
        request.is_answered = message.last
        if request.asks[0].purpose is Purpose.OWN:
            self._own_came(request, came)
        elif came:
            self._add_batches(request, came)
        if message.last:
            self._ask_rest(request)
        self._close_if_done(request)
        self.pump()

    def bodies(self, message: Bodies) -> None:
        """Take one frame of an answer; raises ``ProtocolViolation``."""
        request = self._answered_by(message.request)
        expected = request.ids[request.place : request.place + len(message.bodies)]
        if tuple(it.entry_id for it in message.bodies) != expected:
            raise MESSAGES.violation("unexpected")
        request.place += len(message.bodies)
        request.size_bytes += sum(len(it.body or b"") for it in message.bodies)
        check_size(request)
        request.is_answered = message.last
        came = tuple(
            SentBody(EntryId(it.entry_id), it.body) for it in message.bodies if it.body is not None
        )
        if came:
            request.batches += 1
            self._batches.append(_Batch(request, bodies=came))
        if message.last:
            self._bodies_open.difference_update(request.ids)
            if request.place:
                rest = dict.fromkeys(request.ids[request.place :])
                self._bodies = {**rest, **self._bodies}
        self._close_if_done(request)
        self.pump()

    def _answered_by(self, number: int) -> OpenRequest:
        request = self._open.get(number)
        if request is None or request.is_answered:
            raise MESSAGES.violation("unexpected")
        request.frames += 1
        return request

    def _own_came(self, request: OpenRequest, came: Sequence[SentEntry]) -> None:
        if came or request.is_answered:
            request.is_answered = True  # one place was asked for: there can be no more
            # Several are the branches of a Fork, and one of them may be the one we hold.
            self._showing += max(0, len(came) - 1)
            self._out.extend(ShowOwnHead(it) for it in came or (None,))

    def _add_batches(self, request: OpenRequest, came: tuple[SentEntry, ...]) -> None:
        for start in range(0, len(came), self._batch_entries):
            request.batches += 1
            self._batches.append(_Batch(request, came[start : start + self._batch_entries]))

    def _ask_rest(self, request: OpenRequest) -> None:
        """Ask again for what an answer did not reach."""
        purpose = request.asks[0].purpose
        if not request.came:
            if purpose is Purpose.ANNOUNCED:
                self._fruitless += 1
                if self._fruitless >= SYNC_FRUITLESS_MAX:
                    raise Withholding
            return
        rest = []
        for place in range(request.place, len(request.asks)):
            ask = request.asks[place]
            got = request.got.get(place, ask.first - 1)
            if got < ask.last:
                rest.append(Ask(ask.author, got + 1, ask.last, ask.with_bodies, ask.purpose))
        self._queue.extendleft(reversed(rest))

    def _close_if_done(self, request: OpenRequest) -> None:
        if request.is_answered and not request.batches:
            self._open.pop(request.number, None)

    # --- what is done next -----------------------------------------------------------------------

    def pump(self) -> None:
        """Do whatever can be done now."""
        self._look()
        self._ask()
        self._take()
        self._finish()

    def _look(self) -> None:
        if self._page is None:
            if self._pages:
                self._page = self._pages.popleft()
            elif self._hints:
                self._page = _Page(_Sort.HINT, deque(self._hints.values()))
                self._hints.clear()
            else:
                return
        page = self._page
        # Pages of differences are looked at in portions, as what they lead to is asked for.
        if not self._looking and page.rows and len(self._queue) < SYNC_RANGES_MAX:
            rows = [page.rows.popleft() for _ in range(min(len(page.rows), SYNC_HEADS_MAX))]
            self._looking += 1
            self._out.append(Look(tuple(rows), is_hint=page.sort is _Sort.HINT))

    def _ask(self) -> None:
        while len(self._open) < self.most_open:
            has_open_ids = any(request.ids for request in self._open.values())
            if self._bodies and (not self._queue or not has_open_ids):
                self._send_want_bodies()
            elif not (self._queue and self._send_want()):
                return

    def _send_want(self) -> bool:
        """Send one request for what the front of the queue and its like ask for."""
        busy = {ask.author for request in self._open.values() for ask in request.asks}
        group: tuple[Purpose, bool] | None = None
        asks: list[Ask] = []
        left: list[Ask] = []
        room = SYNC_ENTRIES_MAX
        while self._queue and room and len(asks) < SYNC_RANGES_MAX:
            ask = self._queue.popleft()
            # One Author is asked for in one request at a time, so that what comes has no gaps.
            if ask.author in busy or (group is not None and ask.group != group):
                left.append(ask)
                continue
            group = ask.group
            busy.add(ask.author)
            last = min(ask.last, ask.first + room - 1)
            if last < ask.last:
                left.append(Ask(ask.author, last + 1, ask.last, ask.with_bodies, ask.purpose))
            asks.append(Ask(ask.author, ask.first, last, ask.with_bodies, ask.purpose))
            room -= last - ask.first + 1
            if ask.purpose is Purpose.OWN:
                break
        self._queue.extendleft(reversed(left))
        if not asks:
            return False
        asks.sort(key=lambda it: it.author)
        self._requests += 1
        self._open[self._requests] = OpenRequest(self._requests, tuple(asks))
        ranges = tuple(WantRange(it.author, it.first, it.last) for it in asks)
        self._out.append(Send(write(Want(self._requests, ranges, asks[0].with_bodies))))
        return True

    def _send_want_bodies(self) -> None:
        ids = tuple(islice(self._bodies, SYNC_BODIES_MAX))
        for entry_id in ids:
            del self._bodies[entry_id]
        self._bodies_open.update(ids)
        self._requests += 1
        self._open[self._requests] = OpenRequest(self._requests, ids=ids)
        self._out.append(Send(write(WantBodies(self._requests, ids))))

    def _take(self) -> None:
        while self._batches and len(self._taking) < _TAKES_OPEN:
            batches = [self._batches.popleft()]
            first = batches[0]
            count = len(first.entries)
            while (
                self._batches
                and first.entries
                and self._batches[0].entries
                and self._batches[0].of.asks[0].with_bodies == first.of.asks[0].with_bodies
                and count + len(self._batches[0].entries) <= self._batch_entries
            ):
                batches.append(self._batches.popleft())
                count += len(batches[-1].entries)
            cursor = None
            if first.entries and self._is_last(batches):
                if self._taking:
                    # What is being written may lead to more; then this is not the last.
                    self._batches.extendleft(reversed(batches))
                    return
                assert self._page is not None
                cursor = self._page.cursor
                self._page.is_cursor_kept = True
            action: Action
            if first.entries:
                entries = tuple(entry for batch in batches for entry in batch.entries)
                action = Take(entries, cursor, first.of.asks[0].with_bodies)
            else:
                action = TakeBodies(first.bodies)
            self._taking.append((action, batches))
            self._out.append(action)

    def _is_last(self, batches: Sequence[_Batch]) -> bool:
        """Say whether nothing of a page of Heads is open but these batches."""
        page = self._page
        if page is None or page.sort is not _Sort.HEADS or page.is_whole:
            return False
        if page.rows or self._looking or self._later or self._queue or self._bodies:
            return False
        taken = [batch.of.number for batch in batches]
        taken += [batch.of.number for _, written in self._taking for batch in written]
        return not self._batches and all(
            request.is_answered and request.batches == taken.count(number)
            for number, request in self._open.items()
        )

    def _finish(self) -> None:
        """End the page when nothing of it is open."""
        page = self._page
        if page is None:
            if not (self._queue or self._open or self._taking):
                self._followed.clear()
            return
        if (
            page.rows
            or self._looking
            or self._later
            or self._queue
            or self._bodies
            or self._open
            or self._batches
            or self._taking
            or self._is_reading_missing
        ):
            return
        if page.sort is not _Sort.HINT:
            if page.is_whole:
                self._is_reading_missing = True
                self._out.append(ReadMissing(page.missing_after or 0))
                return
            assert page.cursor is not None
            if page.missing_after is not None:
                self._out.append(NoteReconciled(page.cursor))
            elif not page.is_cursor_kept:
                self._out.append(KeepCursor(page.cursor))
            self._heads_after = page.cursor.n
            self._out.append(Send(write(Seen(page.cursor.n))))
        self._page = None
        self._followed.clear()
        if self._pages or self._hints:
            self.pump()
