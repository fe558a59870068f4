"""GossipSub for hints: two topics, small messages, and a validator that cannot hurt.

* ``beside`` is entered after listening, and left after the tasks but before the host: what is left
  under traffic in another order loses its tasks' nursery.
* libp2p's own rate is per forwarder, so ours is raised and the validator limits each *author*.
  A validator that raises would end the whole thread: it answers False instead.
* The loop that reads a subscription only fills a queue of its own, the oldest dropped: libp2p's
  channel holds 32 messages and then loses them silently.
* Message numbers begin at the clock in nanoseconds (``hardening.guard_pubsub``): with libp2p's
  seconds nothing of ours would be heard for a while after a restart.

Figures: network.md 8.  What a hint means is not known here.
"""

from __future__ import annotations

import logging
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio
from libp2p.custom_types import TProtocol
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service

from hanse.core.limits import HINTS_WAITING_MAX
from hanse.network.transport.hardening import guard_pubsub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from libp2p.abc import IHost, ISubscriptionAPI
    from libp2p.peer.id import ID
    from libp2p.pubsub.pb import rpc_pb2

_log: Final = logging.getLogger(__name__)

_PROTOCOLS: Final = ("/meshsub/1.2.0", "/meshsub/1.1.0")
_RPC_BYTES: Final = 64 * 1024
_PAUSE_SECONDS: Final = 0.02  # between two publishes: 300 in a tight loop delivered 32
_READY_SECONDS: Final = 5.0


class Gossip:
    """Our part of the mesh; made right after the host, before its own handlers."""

    def __init__(
        self,
        host: IHost,
        topics: Sequence[str],
        is_news: Callable[[str, bytes], bool],
    ) -> None:
        """``is_news`` says, for a topic and what came, whether it is kept and passed on.

        It is called for each message on the network thread and must not wait.
        """
        self._router = GossipSub(
            protocols=[TProtocol(protocol) for protocol in _PROTOCOLS],
            degree=6,
            degree_low=4,
            degree_high=12,
            heartbeat_interval=1,
            max_messages_per_topic_per_second=100,
        )
        self._pubsub = Pubsub(
            host,
            self._router,
            max_inbound_rpc_size=_RPC_BYTES,
            allowed_topics=frozenset(topics),
        )
        guard_pubsub(self._pubsub)
        self._topics = tuple(topics)
        self._is_news = is_news
        self._heard: deque[tuple[str, bytes]] = deque(maxlen=HINTS_WAITING_MAX)
        self._arrived = trio.Event()
        self._turn = trio.Lock()
        self._is_running = False

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Run what needs a host that listens, for ``thread.Built.beside``."""
        try:
            async with background_trio_service(self._pubsub), background_trio_service(self._router):
                with trio.fail_after(_READY_SECONDS):
                    await self._pubsub.wait_until_ready()
                yield
        finally:
            self.close()

    def close(self) -> None:
        """End the thread that libp2p begins as soon as it is made; harmless when repeated."""
        self._pubsub.seen_messages.stop()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled; started once the topics are subscribed to."""
        async with trio.open_nursery() as nursery:
            for topic in self._topics:
                self._pubsub.set_topic_validator(topic, self._validator(topic), False)  # noqa: FBT003 - not async
                subscription = await self._pubsub.subscribe(topic)
                nursery.start_soon(self._listen, topic, subscription)
            self._is_running = True
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._is_running = False

    async def publish(self, topic: str, data: bytes) -> None:
        """Pass a hint to the mesh; with nobody there, to nobody."""
        async with self._turn:
            if not self._is_running:
                return
            try:
                await self._pubsub.publish(topic, data)
            except Exception as error:  # noqa: BLE001 - a hint may be lost, the thread may not
                _log.debug("a hint was not published: %r", error)
            await trio.sleep(_PAUSE_SECONDS)

    async def heard(self) -> tuple[str, bytes]:
        """Wait for the next hint: its topic and what it says; our own come back too."""
        while not self._heard:
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self._heard.popleft()

    def _validator(self, topic: str) -> Callable[[ID, rpc_pb2.Message], bool]:
        def is_news(_forwarder: ID, message: rpc_pb2.Message) -> bool:
            try:
                return self._is_news(topic, bytes(message.data))
            except Exception as error:  # noqa: BLE001 - raised, it would end every connection
                _log.debug("a hint of %s could not be judged: %r", topic, error)
                return False

        return is_news

    # Any: libp2p's subscription is an async iterator it does not type.
    async def _listen(self, topic: str, subscription: ISubscriptionAPI | Any) -> None:
        while True:
            message = await subscription.get()
            self._heard.append((topic, bytes(message.data)))
            self._arrived.set()
