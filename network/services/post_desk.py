"""What others post to us, and what our own Devices fetch: every request is answered once.

* The bytes are checked on a working thread, taken in on the writer, and acknowledged after the
  commit.
* A Peer that is not of our Identity may post so many Entries a minute; beyond that it is told to
  come later, and one that goes on loses its stream.
* A wrong signature or Body is the Peer's fault: whoever hands something over can check it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hanse.core.engine.mailboxes import Collected, Promised
from hanse.core.engine.ports import PeerSilent
from hanse.core.engine.post_receiving import Declined, check_post
from hanse.core.errors import AccountLocked, RejectedEntry
from hanse.core.limits import (
    POST_PER_PEER_AND_MINUTE_MAX,
    POST_STREAMS_MAX,
    POST_STREAMS_PER_PEER_MAX,
)
from hanse.core.model.ids import EntryId, IdentityId
from hanse.core.model.network import SentEntry
from hanse.network.conduct import Offence
from hanse.network.ports import Bounds, StreamEnded
from hanse.network.services.message_stream import MessageStream
from hanse.network.services.ticking import ticks_ms
from hanse.network.wire.frames import ProtocolViolation
from hanse.network.wire.post import (
    MESSAGES,
    PROTOCOL,
    Collect,
    Drop,
    Dropped,
    Got,
    Item,
    Items,
    Post,
    Sorry,
    fitting,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.model.ids import AuthorKey
    from hanse.network.ports import Stream
    from hanse.network.services.surroundings import Surroundings
    from hanse.network.wire.post import Message

IDLE_SECONDS: Final = 60.0
_MINUTE_MS: Final = 60_000
_BUSY_MS: Final = 5_000
_PATIENCE: Final = 2 * POST_PER_PEER_AND_MINUTE_MAX  # requests a minute, before it is flooding


@dataclass(slots=True)
class _Rate:
    """How much one Peer asked in this minute."""

    since_ms: int
    count: int = 0


class PostDesk:
    """Answers ``/hanse/post/1``.

    ``on_own`` is told of a Node of ours that brought something, ``on_held`` of what came into our
    Mailbox, ``on_taken`` that an Entry was taken in, which others may want.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        on_own: Callable[[AuthorKey], None],
        on_held: Callable[[EntryId], None],
        on_taken: Callable[[], None],
    ) -> None:
        """Bind the engine."""
        self._at = surroundings
        self._posting = surroundings.engine.posting
        self._on_own = on_own
        self._on_held = on_held
        self._on_taken = on_taken
        self._rates: dict[AuthorKey, _Rate] = {}

    def serve(self) -> None:
        """Take streams from now on."""
        bounds = Bounds(POST_STREAMS_PER_PEER_MAX, POST_STREAMS_MAX)
        self._at.host.serve(PROTOCOL, self._answer, bounds)

    def forget(self, device: AuthorKey) -> None:
        """Forget how much a Peer asked that is gone, once its minute is over."""
        now_ms = ticks_ms()
        for gone in [it for it, rate in self._rates.items() if now_ms - rate.since_ms > _MINUTE_MS]:
            if gone == device or not self._at.host.is_connected(gone):
                del self._rates[gone]

    async def _answer(self, stream: Stream) -> None:
        line = MessageStream(stream, MESSAGES)
        try:
            while (framed := await line.next(IDLE_SECONDS)) is not None:
                answer = await self._answer_to(line.peer, framed.message)
                await line.send(write(answer))
        except (PeerSilent, StreamEnded):
            return
        except ProtocolViolation as error:
            self._at.blame(stream.peer, Offence.FRAME)
            is_big = error.values["reason"] == "too_big"
            await line.send(write(Sorry(0, "too_big" if is_big else "bad_frame", 0)))

    async def _answer_to(self, peer: AuthorKey, message: object) -> Message:
        identity = await self._at.read(lambda: self._posting.identity_of(peer))
        is_own = identity == self._at.engine.context.identity
        match message:
            case Post() | Collect() | Drop() if not is_own and self._is_over(peer):
                return Sorry(message.call, "busy", _MINUTE_MS)
            case Post():
                return await self._take(peer, message, is_own=is_own)
            case Collect():
                return await self._hand_out(peer, message)
            case Drop():
                return await self._drop(peer, message)
            case _:
                raise MESSAGES.violation("unexpected")

    def _is_over(self, peer: AuthorKey) -> bool:
        rate, now_ms = self._rates.setdefault(peer, _Rate(ticks_ms())), ticks_ms()
        if now_ms - rate.since_ms > _MINUTE_MS:
            rate.since_ms, rate.count = now_ms, 0
        rate.count += 1
        if rate.count > _PATIENCE:
            self._at.blame(peer, Offence.OVERRUN)
            raise MESSAGES.violation("unexpected")
        return rate.count > POST_PER_PEER_AND_MINUTE_MAX

    async def _take(self, peer: AuthorKey, post: Post, *, is_own: bool) -> Message:
        sent = SentEntry(post.header, post.sig, post.body)
        try:
            entry = await self._at.job(lambda: check_post(sent))
        except RejectedEntry:
            self._at.blame(peer, Offence.WRONG_BYTES)
            return Sorry(post.call, "refused", 0)
        try:
            if post.reader is not None:
                return await self._hold(post, entry)
            return await self._receive(peer, post, entry, is_own=is_own)
        except AccountLocked:
            return Sorry(post.call, "busy", _BUSY_MS)

    async def _hold(self, post: Post, entry: CheckedEntry) -> Message:
        assert post.reader is not None
        reader = IdentityId(post.reader)
        kept = await self._at.write(lambda: self._posting.mailbox.hold(entry, reader))
        if isinstance(kept, Declined):
            return Sorry(post.call, kept.code, kept.retry_ms)
        if isinstance(kept, Promised):
            self._on_held(entry.entry_id)
            return Got(post.call, entry.entry_id, "held", kept.until_ms, kept.sig)
        return Got(post.call, entry.entry_id, "got", None, None)

    async def _receive(
        self, peer: AuthorKey, post: Post, entry: CheckedEntry, *, is_own: bool
    ) -> Message:
        taken = await self._at.write(
            # Our own Node says whose it is by bringing it, and has counted its sender.
            lambda: self._posting.receiving.take(entry, is_named=is_own, is_counted=not is_own)
        )
        if isinstance(taken, Declined):
            return Sorry(post.call, taken.code, taken.retry_ms)
        self._at.tell("post", entry=entry.entry_id, state=taken.state, peer=peer)
        self._on_taken()
        if is_own:
            self._on_own(peer)
        return Got(post.call, entry.entry_id, taken.state, None, None)

    async def _hand_out(self, peer: AuthorKey, asked: Collect) -> Message:
        found = await self._at.write(
            lambda: self._posting.mailbox.collect(peer, asked.after, asked.limit)
        )
        if isinstance(found, Collected):
            items = [Item(it.n, it.header, it.sig, it.body) for it in found.items]
            fit = fitting(items)
            return Items(asked.call, tuple(fit), found.more or len(fit) < len(items))
        return Sorry(asked.call, found.code, found.retry_ms)

    async def _drop(self, peer: AuthorKey, asked: Drop) -> Message:
        ids = [EntryId(it) for it in asked.ids]
        done = await self._at.write(lambda: self._posting.mailbox.drop(peer, ids))
        if isinstance(done, Declined):
            return Sorry(asked.call, done.code, done.retry_ms)
        return Dropped(asked.call, done)
