"""Telling and hearing of new Heads and of Forks by gossip (network.md 8).

* One hint of this Device at a time, the newest Head wins: at once when none went lately, else
  when its time has come.  Nothing of ours is told before its transaction committed, nor before
  our own Head is confirmed (``Replicating.own_hint`` says None then).
* A hint of a Feed is handed to the sync, which pulls where it wants to; a Fork proof is checked
  and kept, and one that is new is told by the sync, too.
* Trouble of ours, such as a store that is busy, costs a hint and nothing else.

Losing every hint costs time, never data.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from hanse.core.errors import HanseError, RejectedEntry
from hanse.core.limits import SYNC_FORKS_MAX
from hanse.core.model.network import HeadClaim
from hanse.network.wire.hints import (
    FORKS_TOPIC,
    HEADS_TOPIC,
    HintRates,
    read_fork_hint,
    read_hint,
    send_interval_ms,
    write_hint,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hanse.core.model.ids import AuthorKey
    from hanse.network.ports import Mesh
    from hanse.network.services.surroundings import Surroundings

_log: Final = logging.getLogger(__name__)

TOPICS: Final = (HEADS_TOPIC, FORKS_TOPIC)
_SECOND_MS: Final = 1000
_TROUBLE_SECONDS: Final = 10.0  # after which we look again at what could not be read


class HintService:
    """Our part in the gossip of one running network."""

    def __init__(
        self,
        surroundings: Surroundings,
        mesh: Callable[[], Mesh],
        on_head: Callable[[HeadClaim], None],
    ) -> None:
        """``mesh`` gives the mesh once it is made; ``on_head`` must not wait."""
        self._around = surroundings
        self._mesh = mesh
        self._on_head = on_head
        self._rates = HintRates()
        self._has_news = trio.Event()
        self._proofs: deque[bytes] = deque(maxlen=SYNC_FORKS_MAX)
        self._has_proofs = trio.Event()
        #: Told of each Fork that gossip brought and that is new here; must not wait.
        self.on_fork: Callable[[AuthorKey, bytes], None] = lambda _author, _proof: None
        self._sent: bytes | None = None
        self._sent_ms: int | None = None

    def is_news(self, topic: str, data: bytes) -> bool:
        """Say whether a message is kept and passed on: of its form, signed, and not too soon."""
        try:
            if topic == FORKS_TOPIC:
                fork = read_fork_hint(data)
                # Under a name of its own: a Fork must not be kept out by hints of its author.
                return self._rates.may_pass(b"fork" + fork.author, 1, self._around.clock.now_ms())
            entry = read_hint(data)
        except RejectedEntry:
            return False
        return self._rates.may_pass(entry.author, entry.seq, self._around.clock.now_ms())

    def announce(self) -> None:
        """Tell of our newest Head soon; called on the network thread."""
        self._has_news.set()

    def tell_fork(self, _author: AuthorKey, proof: bytes) -> None:
        """Pass a Fork proof on soon; called on the network thread."""
        self._proofs.append(proof)
        self._has_proofs.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell and hear until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell)
            nursery.start_soon(self._tell_forks)
            task_status.started()
            while True:
                topic, data = await self._mesh().heard()
                try:
                    await self._take(topic, data)
                except HanseError as error:
                    _log.debug("a hint was not taken: %s", error)

    async def _take(self, topic: str, data: bytes) -> None:
        if topic == FORKS_TOPIC:
            own = self._around.host.device
            replicating = self._around.engine.replicating
            taken = await self._around.write(lambda: replicating.take_fork(own, data))
            for author, proof in taken.forks:
                self.on_fork(author, proof)
            return
        entry = read_hint(data)
        if entry.author != self._around.host.device:
            self._on_head(HeadClaim(entry.author, entry.seq, entry.entry_id))

    async def _tell(self) -> None:
        while True:
            await self._has_news.wait()
            now_ms = self._around.clock.now_ms()
            wait_ms = self._wait_ms(now_ms)
            if wait_ms > 0:
                await trio.sleep(wait_ms / _SECOND_MS)
            self._has_news = trio.Event()
            try:
                hint = await self._around.read(self._around.engine.replicating.own_hint)
            except HanseError as error:
                _log.debug("our newest Head is told later: %s", error)
                self._has_news.set()
                await trio.sleep(_TROUBLE_SECONDS)
                continue
            if hint is None:
                continue
            raw = write_hint(hint)
            if raw != self._sent:
                await self._mesh().publish(HEADS_TOPIC, raw)
                self._sent, self._sent_ms = raw, self._around.clock.now_ms()

    async def _tell_forks(self) -> None:
        while True:
            await self._has_proofs.wait()
            self._has_proofs = trio.Event()
            while self._proofs:
                await self._mesh().publish(FORKS_TOPIC, self._proofs.popleft())

    def _wait_ms(self, now_ms: int) -> int:
        if self._sent_ms is None:
            return 0
        return self._sent_ms + send_interval_ms(self._rates.active(now_ms)) - now_ms
