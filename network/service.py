"""The network of one open Account, as the rest of Hanse sees it: ``engine.ports.Peers``.

* Every method may be called from any thread; none waits for the network but the calls of a Trial.
* The network lives from ``start`` to ``stop``, once, and only while the Account is unlocked: the
  Device key is its host key.
* What is shown was true a moment ago: it is read from what the services keep for that.

Which parts there are, ``assembly`` knows; what runs when, ``transport.thread``.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from hanse.core.engine.ports import NetworkOffline
from hanse.core.model.network import NetworkEvent
from hanse.network.assembly import Made, Parts
from hanse.network.transport.interfaces import has_ipv6
from hanse.network.transport.thread import Built, NetworkThread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import trio

    from hanse.core.engine.engine import Engine
    from hanse.core.engine.executor import Executor
    from hanse.core.engine.trying.peer import TrialPeer
    from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
    from hanse.core.model.network import NetworkSettings, PeerView, TransferView
    from hanse.network.services.sync import SyncView

T = TypeVar("T")


class NetworkService:
    """One life of the network."""

    def __init__(
        self,
        engine: Engine,
        executor: Executor,
        settings: NetworkSettings,
        on_event: Callable[[NetworkEvent], None],
        program: str = "hanse",
    ) -> None:
        """Bind an engine that is unlocked; nothing is opened yet.

        ``on_event`` is called on any thread and must not wait.  Raises ``AccountLocked``.
        """
        self._engine = engine
        self._settings = settings
        self._made = Made(
            engine=engine,
            executor=executor,
            settings=settings,
            program=program,
            on_event=on_event,
            seed=engine.context.unlocked().device_seed,
            held_against=engine.peering.held_against(),
        )
        self._parts: Parts | None = None
        self._built: Parts | None = None
        self._thread = NetworkThread(self._build, self._stopped)

    def start(self) -> Future[object]:
        """Begin; the Future ends with our addresses, or with what kept us from listening."""
        self._thread.start()
        ready: Future[object] = Future()

        def tell(done: Future[tuple[str, ...]]) -> None:
            if (error := done.exception()) is not None:
                ready.set_exception(error)
            else:
                ready.set_result(done.result())

        self._thread.ready.add_done_callback(tell)
        return ready

    def stop(self, timeout_seconds: float = 10.0) -> bool:
        """Leave every Peer and end the thread; say whether it did in time."""
        return self._thread.stop(timeout_seconds)

    @property
    def is_online(self) -> bool:
        """Say whether the network runs."""
        ready = self._thread.ready
        return ready.done() and not ready.cancelled() and self._parts is not None

    # --- Peers ------------------------------------------------------------------------------

    def connections(self) -> Sequence[PeerView]:
        """Return the Peers we are connected to."""
        parts = self._parts
        return () if parts is None else parts.finding.shown

    def add(self, text: str, *, is_kept: bool = True) -> Future[PeerView]:
        """Dial an address, a link or the text of an invitation, and remember who answered."""

        async def add() -> PeerView:
            return await self._there().finding.add(text, is_kept=is_kept)

        return self._thread.submit(add)

    def sync(self, device: AuthorKey | None = None) -> Future[Mapping[AuthorKey, int]]:
        """Synchronise now with one Peer or all; the answer counts new Entries for each."""

        async def sync() -> Mapping[AuthorKey, int]:
            return await self._there().sync.sync_now(device)

        return self._thread.submit(sync)

    def sync_views(self) -> Sequence[SyncView]:
        """Return how far each session of the sync is."""
        parts = self._parts
        return () if parts is None else parts.sync.views()

    def fetch(self, release: bytes) -> None:
        """Look at the transfers: one was asked for, went on, or was paused."""
        del release  # all are looked at: what goes on may take the place of another
        self._wake(lambda parts: parts.fetching.look())

    def transfers(self) -> Sequence[TransferView]:
        """Return the transfers under way, with their rates."""
        parts = self._parts
        return () if parts is None else parts.fetching.transfers()

    def post(self, entry_id: EntryId | None = None) -> None:
        """Look at the outbox: something is to be delivered, or to be tried again now."""
        del entry_id
        self._wake(lambda parts: parts.post.wake())

    def announce(self) -> None:
        """Tell connected Peers that own Entries are there."""

        def announce(parts: Parts) -> None:
            parts.sync.announce()
            parts.hints.announce()
            parts.post.wake()

        self._wake(announce)

    def trial(self, seller: IdentityId) -> TrialPeer:
        """Return the seller of a Trial, reached over the network; its calls block."""
        return self._there().trials.peer(seller, self._thread.submit)

    def health(self) -> Mapping[str, object]:
        """Say how it is, in plain values with stable names; from any thread."""
        parts = self._parts
        if parts is None:
            return {"is_alive": False, "addresses": []}
        views = parts.finding.shown
        return {
            "is_alive": self.is_online,
            "addresses": list(self._addresses()),
            "open_places": [
                {"address": it.address, "told": it.told}
                for it in self._engine.peering.own_places()
                if it.told
            ],
            "peers": len(views),
            "paths": dict(Counter(view.path.value for view in views if view.path is not None)),
            "dht": None if parts.directory is None else parts.directory.size,
            "lan": parts.lan is not None,
            "relays": 0 if parts.relay is None else len(parts.relay.relays()),
            "transfers": len(parts.fetching.transfers()),
        }

    # --- the thread -------------------------------------------------------------------------

    def _build(self) -> Built:
        """Make everything; on the network's thread."""
        parts = self._built = Parts(self._made)
        gossip, directory, relay = parts.gossip, parts.directory, parts.relay
        beside = [gossip.beside]
        if directory is not None:
            beside.append(directory.beside)
        if relay is not None:
            beside.append(relay.beside)

        async def begin(nursery: trio.Nursery) -> None:
            await parts.begin(nursery)
            self._parts = parts
            self._engine.context.on_own.append(self.announce)

        return Built(parts.host, self._listen(), beside, begin)

    def _listen(self) -> Sequence[str]:
        settings = self._settings
        return settings.listen or (
            f"/ip4/0.0.0.0/tcp/{settings.port}",
            *((f"/ip6/::/tcp/{settings.port}",) if has_ipv6() else ()),
        )

    def _stopped(self, error: BaseException | None) -> None:
        self._parts = None
        if self._built is not None:  # when we could not listen, nobody else did
            self._built.gossip.close()
            self._built = None
        on_own = self._engine.context.on_own
        if self.announce in on_own:
            on_own.remove(self.announce)
        word = "network_stopped" if error is None else "network_broke"
        values = {} if error is None else {"error": repr(error)}
        self._made.on_event(NetworkEvent(word, values))

    def _addresses(self) -> Sequence[str]:
        ready = self._thread.ready
        return () if ready.exception() is not None else ready.result()

    def _there(self) -> Parts:
        if self._parts is None:
            raise NetworkOffline(reason="stopped")
        return self._parts

    def _wake(self, wake: Callable[[Parts], None]) -> None:
        """Let a service look at what changed; nobody waits, and without a network nothing does."""

        async def look() -> None:
            if self._parts is not None:
                wake(self._parts)

        self._thread.submit(look)
