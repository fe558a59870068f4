"""Signed answers over the network: ``/hanse/trial/1`` for both sides.

* A seller is found by his Identity: a full Device that speaks for him, connected ones first; the
  one that granted a Trial answers in it.
* What was lost with a connection is asked for again: the same bytes give the same reply.
* ``NetworkTrialPeer`` is what the engine's Trials speak to: its calls block, on any thread but the
  network's, and end when the person cancels.

What is in the bytes is not known here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import trio

from hanse.core.engine.ports import NoPeer, PeerBusy, PeerRefused, PeerSilent
from hanse.core.engine.trying.file import read_trial_file
from hanse.core.limits import STREAM_TAIL_SIZE_BYTES_MAX
from hanse.core.model.control import Cancelled
from hanse.core.model.ids import identity_text
from hanse.network.conduct import Offence
from hanse.network.ports import StreamEnded
from hanse.network.services.message_stream import MessageStream
from hanse.network.services.trial_desk import TrialDesk
from hanse.network.wire.frames import ProtocolViolation
from hanse.network.wire.trials import (
    MESSAGES,
    PROTOCOL,
    Answer,
    Ask,
    Progress,
    Query,
    Sorry,
    Told,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future

    from hanse.core.engine.trying.pace import Pace
    from hanse.core.model.control import Control
    from hanse.core.model.ids import AuthorKey, IdentityId
    from hanse.network.services.reaching import Reach
    from hanse.network.services.surroundings import Surroundings

ANSWER_SECONDS: Final = 20.0  # without a byte; the seller says every five that he is at work
_TRIES: Final = 3  # connections lost in a row
_BUSY_MS_MOST: Final = 60_000  # waited for a seller who is busy, in one call
_LOOK_SECONDS: Final = 0.1

T = TypeVar("T")


class Submit(Protocol):
    """Runs an async call on the network thread; see ``network.transport.thread``."""

    def __call__(self, call: Callable[..., Awaitable[T]], *args: object) -> Future[T]:
        """Return what will come of it."""
        ...


@dataclass(slots=True)
class Exchange:
    """One call of a buyer's, as the thread that waits for it sees it."""

    done: int = 0
    total: int = 0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class TrialService:
    """Answers buyers, and asks sellers.

    ``reach`` connects to Devices of an Identity and returns those that are connected then.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        reach: Reach,
        pace: Callable[[], Pace] | None = None,
    ) -> None:
        """Bind the engine; ``pace`` is for the answers given here."""
        self._at = surroundings
        self._reach = reach
        self._desk = TrialDesk(surroundings, pace)

    def serve(self) -> None:
        """Answer buyers from now on."""
        self._desk.serve()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled."""
        await self._desk.run(task_status=task_status)

    def peer(self, seller: IdentityId, submit: Submit) -> NetworkTrialPeer:
        """Return a seller as the engine's Trials speak to him.  From any thread."""
        return NetworkTrialPeer(self, submit, seller)

    async def exchange(
        self, seller: IdentityId, sort: type[Ask | Query], raw: bytes, exchange: Exchange
    ) -> bytes:
        """Hand ``raw`` to a Device of the seller and return its reply.

        Raises ``NoPeer``, ``PeerSilent``, ``PeerBusy``, ``PeerRefused`` or ``Cancelled``.
        """
        with exchange.scope:
            return await self._exchange(seller, sort, raw, exchange)
        raise Cancelled

    async def end(self, exchange: Exchange) -> None:
        """Wait for an exchange no longer."""
        exchange.scope.cancel()

    async def _exchange(
        self, seller: IdentityId, sort: type[Ask | Query], raw: bytes, exchange: Exchange
    ) -> bytes:
        granted_by = await self._at.job(lambda: self._granted_by(raw))
        lost: Exception | None = None
        for _ in range(_TRIES):
            device = await self._device_of(seller, granted_by)
            try:
                return await self._ask(device, sort, raw, exchange)
            except (StreamEnded, PeerSilent, NoPeer) as error:
                lost = error
            except ProtocolViolation:
                self._at.blame(device, Offence.FRAME)
                raise PeerRefused(peer=device.hex(), reason="violation") from None
        if isinstance(lost, PeerSilent):
            raise lost
        raise NoPeer(whom=identity_text(seller), tried=_TRIES) from lost

    def _granted_by(self, raw: bytes) -> AuthorKey | None:
        return self._at.engine.trials.buying.granted_by(read_trial_file(raw).trial)

    async def _device_of(self, seller: IdentityId, granted_by: AuthorKey | None) -> AuthorKey:
        """Return a connected full Device of the seller, the one that granted if it is there."""
        for is_reached in (False, True):
            if is_reached:
                await self._reach(seller, () if granted_by is None else (granted_by,))
            routes = await self._at.read(lambda: self._at.engine.posting.routes(seller))
            up = [device for device in routes.devices if self._at.host.is_connected(device)]
            if granted_by in up:
                assert granted_by is not None
                return granted_by
            if up and (is_reached or granted_by is None):
                return up[0]
        raise NoPeer(whom=identity_text(seller), tried=0)

    async def _ask(
        self, device: AuthorKey, sort: type[Ask | Query], raw: bytes, exchange: Exchange
    ) -> bytes:
        stream = await self._at.host.open(device, PROTOCOL)
        line = MessageStream(stream, MESSAGES)
        reply: type[Told | Answer] = Told if sort is Ask else Answer
        try:
            await line.send(write(sort(0, len(raw))) + raw)
            while (framed := await line.next(ANSWER_SECONDS)) is not None:
                message = framed.message
                if isinstance(message, Progress) and message.call == 0:
                    exchange.done, exchange.total = message.done, message.total
                elif isinstance(message, Sorry) and message.call == 0:
                    if message.code == "busy":
                        raise PeerBusy(peer=device.hex(), retry_ms=message.retry_ms)
                    raise PeerRefused(peer=device.hex(), reason=message.code)
                elif isinstance(message, reply) and message.call == 0:
                    return framed.tail
                else:
                    raise MESSAGES.violation("unexpected")
            raise StreamEnded
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await stream.reset()


@dataclass(frozen=True, slots=True)
class NetworkTrialPeer:
    """A seller who is reached over the network; ``submit`` runs a call on its thread."""

    service: TrialService
    submit: Submit
    seller: IdentityId

    @property
    def most_bytes(self) -> int:
        """Return how much one frame's tail carries."""
        return STREAM_TAIL_SIZE_BYTES_MAX

    def ask(self, steps: bytes, control: Control) -> bytes:
        """Hand over the buyer's steps; return the seller's."""
        return self._exchange(Ask, steps, control)

    def query(self, queries: bytes, control: Control) -> bytes:
        """Hand over queries; return the answers that may be given now."""
        return self._exchange(Query, queries, control)

    def _exchange(self, sort: type[Ask | Query], raw: bytes, control: Control) -> bytes:
        if len(raw) > self.most_bytes:
            raise PeerRefused(peer=identity_text(self.seller), reason="too_big")
        waited_ms = 0
        while True:
            exchange = Exchange()
            future = self.submit(self.service.exchange, self.seller, sort, raw, exchange)
            try:
                return self._wait_for(future, exchange, control)
            except PeerBusy as busy:
                retry_ms = max(1, int(str(busy.values["retry_ms"])))
                waited_ms += retry_ms
                if waited_ms > _BUSY_MS_MOST:
                    raise
                _pause(retry_ms, control)

    def _wait_for(self, future: Future[bytes], exchange: Exchange, control: Control) -> bytes:
        try:
            while True:
                control.checkpoint("answer", exchange.done, exchange.total)
                try:
                    return future.result(_LOOK_SECONDS)
                except TimeoutError:
                    if future.done():
                        raise
        except Cancelled:
            self.submit(self.service.end, exchange)
            raise


def _pause(wait_ms: int, control: Control) -> None:
    """Wait in short steps, so that a person can end it."""
    left_ms = wait_ms
    while left_ms > 0:
        control.checkpoint("pace", wait_ms - left_ms, wait_ms)
        step_ms = min(left_ms, int(_LOOK_SECONDS * 1000))
        threading.Event().wait(step_ms / 1000)
        left_ms -= step_ms
