"""``/hanse/post/1``: the outbox carried out, and the own Mailboxes emptied.

* One message after the other for one reader, several readers at once.  Connected Devices are
  asked first, then those that can be dialled; where none takes it, the reader's Mailboxes.
* Nothing is handed over before its commit, before our own Head is confirmed, or to a Device that
  does not speak for the reader now.
* Post for us that our own Nodes keep is fetched at the start, every five minutes, when one of them
  connects, and when one of them brings something.
* A Peer that is silent or gone costs a try; one that breaks the protocol is blamed.

What is taken and promised is the engine's to say; how requests are answered is ``post_desk``'s.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Self

import trio

from hanse.core.engine.ports import NoPeer, PeerSilent
from hanse.core.engine.post_receiving import Declined, check_post
from hanse.core.errors import HanseError, RejectedEntry
from hanse.core.limits import (
    MAILBOX_ITEMS_PER_READER_MAX,
    POST_ITEMS_MAX,
)
from hanse.core.model.delivery import DeliveryState
from hanse.core.model.network import SentEntry
from hanse.network.conduct import Offence
from hanse.network.ports import StreamEnded
from hanse.network.services.message_stream import MessageStream
from hanse.network.services.post_desk import PostDesk
from hanse.network.wire.frames import ProtocolViolation
from hanse.network.wire.post import (
    MESSAGES,
    PROTOCOL,
    Collect,
    Drop,
    Dropped,
    Got,
    Items,
    Message,
    Post,
    Sorry,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from hanse.core.engine.posting import Parcel
    from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
    from hanse.core.store.outbox import OutboxMessage
    from hanse.network.ports import Connection
    from hanse.network.services.reaching import Reach
    from hanse.network.services.surroundings import Surroundings

ANSWER_SECONDS: Final = 20.0
DIAL_SECONDS: Final = 5.0
COLLECT_SECONDS: Final = 5 * 60.0
LOOK_SECONDS: Final = 30.0  # between two looks at an outbox that nobody woke us for
_READERS_AT_ONCE: Final = 8
_LOST: Final = (NoPeer, PeerSilent, StreamEnded)


class PostService:
    """Delivers what waits, fetches what is kept for us, and answers others.

    ``reach`` connects to Devices of an Identity and returns those that are connected then;
    ``may_leave`` says of an own Entry's arrival number whether it may be sent.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        reach: Reach,
        may_leave: Callable[[int], bool],
    ) -> None:
        """Bind the engine; nothing runs yet."""
        self._at = surroundings
        self._posting = surroundings.engine.posting
        self._reach = reach
        self._may_leave = may_leave
        self._desk = PostDesk(surroundings, self._brought_by, self._is_held, self._is_taken)
        self._readers = trio.CapacityLimiter(_READERS_AT_ONCE)
        self._busy: set[IdentityId] = set()
        self._collecting: set[AuthorKey] = set()
        self._woken = trio.Event()
        self._met: set[AuthorKey] = set()  # connected since the last look
        self._to_collect: set[AuthorKey] = set()
        self._to_push: set[EntryId] = set()
        #: Told when Entries were taken in: our other Devices hear of them by the sync.
        self.on_taken: Callable[[], None] = lambda: None

    def serve(self) -> None:
        """Answer others from now on, and hear of connections."""
        self._desk.serve()
        self._at.listeners.on_connected.append(self._connected)
        self._at.listeners.on_lost.append(self._desk.forget)

    def wake(self) -> None:
        """Look at the outbox now.  On the network thread."""
        self._woken.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver and collect until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._collect_now_and_then)
            task_status.started()
            while True:
                self._woken = trio.Event()
                await self._quietly(self.look)
                with trio.move_on_after(await self._pause_seconds()):
                    await self._woken.wait()

    async def look(self) -> None:
        """Do everything that is due now, and return when each was tried once."""
        met, self._met = self._met, set()
        pushed, self._to_push = self._to_push, set()
        collected, self._to_collect = self._to_collect, set()
        waiting: dict[IdentityId, dict[int, OutboxMessage]] = {}
        for one in await self._at.read(self._posting.due):
            if one.to is not None:
                waiting.setdefault(one.to, {})[one.message] = one
        own = self._at.engine.context.identity
        for device in sorted(met):
            identity = await self._identity_of(device)
            if identity == own:
                collected.add(device)
            elif identity is not None:
                for one in await self._waiting_for(identity):
                    waiting.setdefault(identity, {})[one.message] = one
        async with trio.open_nursery() as nursery:
            for identity, found in sorted(waiting.items()):
                messages = tuple(found.values())
                nursery.start_soon(self._quietly, self._deliver_within, identity, messages)
            if pushed:
                nursery.start_soon(self._quietly, self._push, sorted(pushed))
            for device in sorted(collected):
                nursery.start_soon(self._quietly, self.collect, device)

    async def _quietly(self, work: Callable[..., Awaitable[object]], *values: object) -> None:
        """Do one piece of work; what goes wrong here, such as a full disk, ends only that."""
        try:
            await work(*values)
        except HanseError as error:
            self._at.tell("post_failed", code=error.code, values=error.values)

    async def _pause_seconds(self) -> float:
        try:
            next_ms = await self._at.read(self._posting.next_ms)
        except HanseError:
            return LOOK_SECONDS
        if next_ms is None:
            return LOOK_SECONDS
        left_ms = next_ms - self._at.clock.now_ms()
        # What is due already and was not sent waits for our Head to be confirmed.
        return LOOK_SECONDS if left_ms <= 0 else min(LOOK_SECONDS, left_ms / 1000)

    def _connected(self, connection: Connection) -> None:
        self._met.add(connection.device)
        self._woken.set()

    def _brought_by(self, device: AuthorKey) -> None:
        """Look whether the Node that has just brought something keeps more."""
        self._to_collect.add(device)
        self._woken.set()

    def _is_held(self, entry_id: EntryId) -> None:
        self._to_push.add(entry_id)
        self._woken.set()

    def _is_taken(self) -> None:
        self.on_taken()

    async def _identity_of(self, device: AuthorKey) -> IdentityId | None:
        return await self._at.read(lambda: self._posting.identity_of(device))

    async def _waiting_for(self, identity: IdentityId) -> Sequence[OutboxMessage]:
        return await self._at.read(lambda: self._posting.waiting_for(identity))

    # --- delivering -------------------------------------------------------------------------

    async def _deliver_within(
        self, identity: IdentityId, messages: Sequence[OutboxMessage]
    ) -> None:
        if identity in self._busy:
            return
        self._busy.add(identity)
        try:
            async with self._readers:
                await self._deliver(identity, messages)
        finally:
            self._busy.discard(identity)

    async def _deliver(self, identity: IdentityId, messages: Sequence[OutboxMessage]) -> None:
        parcels = []
        for one in messages:
            if await self._at.read(partial(self._may_leave, one.n)):
                parcel = await self._at.write(partial(self._posting.begin, one.message))
                if parcel is not None:
                    parcels.append(parcel)
        if not parcels:
            return
        routes = await self._at.read(lambda: self._posting.routes(identity))
        is_up = self._at.host.is_connected
        tried = [device for device in routes.devices if is_up(device)]
        for device in tried:
            parcels = await self._hand_over(device, parcels)
        if parcels:
            with trio.move_on_after(DIAL_SECONDS):
                await self._reach(identity, (*routes.devices, *routes.mailboxes))
            for device in routes.devices:
                if device not in tried and is_up(device):
                    parcels = await self._hand_over(device, parcels)
        for parcel in parcels:
            await self._at.write(partial(self._posting.unanswered, parcel.message))
        for device in routes.mailboxes:
            if parcels and is_up(device):
                parcels = await self._offer(device, parcels)

    async def _hand_over(self, device: AuthorKey, parcels: list[Parcel]) -> list[Parcel]:
        """Give each to a Device of its reader; return those that it did not take."""
        left = list(parcels)
        async with _Calls(self._at, device) as calls:
            for parcel in parcels:
                answer = await calls.post(parcel, None)
                if isinstance(answer, Sorry):
                    continue
                if answer.state == "held":
                    raise calls.unexpected()
                await self._settle(parcel, device)
                left.remove(parcel)
        return left

    async def _offer(self, device: AuthorKey, parcels: list[Parcel]) -> list[Parcel]:
        """Give each to a Mailbox of its reader; return those that the reader does not have."""
        left = list(parcels)
        async with _Calls(self._at, device) as calls:
            for parcel in parcels:
                if device in parcel.promised_by:
                    continue
                answer = await calls.post(parcel, parcel.to)
                if isinstance(answer, Sorry):
                    continue
                if answer.state == "got":
                    await self._settle(parcel, device)
                    left.remove(parcel)
                elif answer.state == "held":
                    await self._keep_promise(parcel, device, answer)
                else:
                    raise calls.unexpected()
        return left

    async def _settle(self, parcel: Parcel, device: AuthorKey) -> None:
        state = await self._at.write(lambda: self._posting.got(parcel.message))
        self._tell(parcel, state, device)

    async def _keep_promise(self, parcel: Parcel, device: AuthorKey, got: Got) -> None:
        until_ms, sig = got.until_ms, got.sig
        assert until_ms is not None
        assert sig is not None  # Got itself refuses a promise without them
        if await self._at.write(
            lambda: self._posting.promised(parcel.message, device, until_ms, sig)
        ):
            self._tell(parcel, DeliveryState.HELD, device)
        else:
            self._at.blame(device, Offence.WRONG_BYTES)

    def _tell(self, parcel: Parcel, state: DeliveryState, device: AuthorKey) -> None:
        self._at.tell("delivery", message=parcel.message, state=state.value, peer=device)

    # --- the own Mailboxes --------------------------------------------------------------------

    async def _collect_now_and_then(self) -> None:
        while True:
            await self._quietly(self.collect_all)
            await trio.sleep(COLLECT_SECONDS)

    async def collect_all(self) -> None:
        """Read what our own Mailbox holds, then fetch from those of our other Nodes."""
        own = self._at.engine.context.identity
        while await self._at.write(self._posting.mailbox.read_own):
            pass  # a few at a time: others use the writer too
        routes = await self._at.read(lambda: self._posting.routes(own))
        for device in routes.mailboxes:
            if self._at.host.is_connected(device):
                await self.collect(device)

    async def collect(self, device: AuthorKey) -> int:
        """Fetch everything a Node of ours keeps for us; return how many Entries that were."""
        context = self._at.engine.context
        if device in self._collecting or context.unlocked().is_mirror:
            return 0
        self._collecting.add(device)
        count, after = 0, 0
        try:
            async with _Calls(self._at, device) as calls:
                while count < MAILBOX_ITEMS_PER_READER_MAX:
                    answer = await calls.ask(Collect(calls.number, after, POST_ITEMS_MAX))
                    if not isinstance(answer, Items) or not answer.items:
                        break
                    count += await self._take(calls, answer, after)
                    after = answer.items[-1].n
        finally:
            self._collecting.discard(device)
        if count:
            self.on_taken()
            self._at.tell("collected", count=count, peer=device)
        return count

    async def _take(self, calls: _Calls, answer: Items, after: int) -> int:
        """Take in what a Mailbox handed out, and give up what nobody could use."""
        of_no_use = []
        for item in answer.items:
            if item.n <= after:
                raise calls.unexpected()
            after = item.n
            sent = SentEntry(item.header, item.sig, item.body)
            try:
                entry = await self._at.job(partial(check_post, sent))
            except RejectedEntry as error:
                # A Mailbox checks before it keeps; what does not hold, it made up.
                self._at.blame(calls.device, Offence.WRONG_BYTES)
                raise StreamEnded from error
            taken = await self._at.write(
                partial(self._posting.receiving.take, entry, is_named=True, is_counted=False)
            )
            if isinstance(taken, Declined) and taken.code == "refused":
                of_no_use.append(entry.entry_id)
        if of_no_use:
            dropped = await calls.ask(Drop(calls.number, tuple(of_no_use)))
            if not isinstance(dropped, Dropped | Sorry):
                raise calls.unexpected()
        return len(answer.items)

    async def _push(self, ids: Sequence[EntryId]) -> None:
        """Hand what came into our Mailbox to those Devices of ours that are connected now."""
        own = self._at.engine.context.identity
        routes = await self._at.read(lambda: self._posting.routes(own))
        for device in routes.devices:
            if not self._at.host.is_connected(device):
                continue
            async with _Calls(self._at, device) as calls:
                for entry_id in ids:
                    item = await self._at.read(partial(self._posting.mailbox.item, entry_id))
                    if item is not None:
                        message = Post(calls.number, item.header, item.sig, item.body, None, None)
                        await calls.ask(message)


class _Calls:
    """Requests to one Peer, one after the other; what goes wrong between us ends them quietly."""

    def __init__(self, surroundings: Surroundings, device: AuthorKey) -> None:
        self._at = surroundings
        self.device = device
        self.number = 0  # of the next call
        self._stream: MessageStream | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if self._stream is not None:
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                if error is None:
                    await self._stream.stream.close()
                else:
                    await self._stream.stream.reset()
        if isinstance(error, ProtocolViolation):
            self._at.blame(self.device, Offence.FRAME)
        return isinstance(error, (*_LOST, ProtocolViolation))

    def unexpected(self) -> ProtocolViolation:
        """Name an answer that fits no question."""
        return MESSAGES.violation("unexpected")

    async def ask(self, message: Message) -> Message:
        """Send a request and return its answer."""
        assert message.call == self.number
        if self._stream is None:
            opened = await self._at.host.open(self.device, PROTOCOL)
            self._stream = MessageStream(opened, MESSAGES)
        await self._stream.send(write(message))
        framed = await self._stream.next(ANSWER_SECONDS)
        if framed is None:
            raise StreamEnded
        answer = framed.message
        assert isinstance(answer, Message)
        if answer.call != self.number or isinstance(answer, Post | Collect | Drop):
            raise self.unexpected()
        self.number += 1
        return answer

    async def post(self, parcel: Parcel, reader: IdentityId | None) -> Got | Sorry:
        """Post one Entry, to a Mailbox of ``reader`` or to whoever is there."""
        sent = parcel.entry
        assert sent.body is not None
        answer = await self.ask(Post(self.number, sent.header, sent.sig, sent.body, reader, None))
        if isinstance(answer, Got) and answer.id == parcel.entry_id:
            return answer
        if isinstance(answer, Sorry):
            return answer
        raise self.unexpected()
