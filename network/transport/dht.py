"""Kad-DHT for provider records: who holds the files of a Release, or the Feeds of an Identity.

* Windows are clients, programs that can be reached are servers.  Nothing is written to disk.
* libp2p's protocol id is ``/ipfs/kad/1.0.0`` whatever is asked for, so that any IPFS node would
  enter the table: only Peers that are known to be a Hanse do (``is_ours``).
* Values are refused; records of providers are bounded in number, the oldest keys go first.
* An answer is a hint of strangers: addresses to try, whose key decides.

Off by a setting.  Which keys there are is ``hanse.network.wire.directory_keys``' business.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.peer.peerinfo import PeerInfo
from libp2p.tools.anyio_service import background_trio_service

from hanse.core.limits import DHT_KEYS_MAX, DHT_PROVIDERS_ASKED_MAX, PEER_ADDRESSES_MAX
from hanse.network.transport.host import device_of, peer_id_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from libp2p.abc import IHost
    from libp2p.peer.id import ID

    from hanse.core.model.ids import AuthorKey

_log: Final = logging.getLogger(__name__)

_ASK_SECONDS: Final = 30.0
PROVIDE_SECONDS: Final = 12 * 60 * 60  # records last 48 hours at most


class Directory:
    """Our part of the DHT; made right after the host, before its own handlers."""

    def __init__(
        self, host: IHost, is_ours: Callable[[AuthorKey], bool], *, is_server: bool
    ) -> None:
        """``is_ours`` says of a Peer whether it is a Hanse; nobody else enters the table."""
        self._host = host
        self._dht = KadDHT(
            host,
            DHTMode.SERVER if is_server else DHTMode.CLIENT,
            enable_values=False,
        )
        table = self._dht.routing_table
        add_peer = table.add_peer

        async def add_if_ours(
            peer_obj: PeerInfo | ID, *, skip_server_mode_check: bool = False
        ) -> bool:
            peer_id = peer_obj.peer_id if isinstance(peer_obj, PeerInfo) else peer_obj
            device = device_of(peer_id)
            if device is None or not is_ours(device):
                return False
            return await add_peer(peer_obj, skip_server_mode_check=skip_server_mode_check)

        table.add_peer = add_if_ours  # type: ignore[method-assign]
        store = self._dht.provider_store
        add_provider = store.add_provider

        def add_bounded(key: bytes, provider: PeerInfo) -> None:
            if key not in store.providers:
                while len(store.providers) >= DHT_KEYS_MAX:
                    oldest = next(iter(store.providers))
                    del store.providers[oldest]
            add_provider(key, provider)

        store.add_provider = add_bounded  # type: ignore[method-assign]

    @property
    def size(self) -> int:
        """Return how many Peers are in the table."""
        return int(self._dht.get_routing_table_size())

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Take part; for ``thread.Built.beside``."""
        async with background_trio_service(self._dht):
            yield

    async def met(self, device: AuthorKey) -> None:
        """Take a Peer that turned out to be a Hanse into the table; never raises."""
        try:
            with trio.move_on_after(_ASK_SECONDS):
                await self._dht.add_peer(peer_id_of(device))
        except Exception as error:  # noqa: BLE001 - the table is a hint
            _log.debug("%s did not enter the table: %r", device.hex(), error)

    async def provide(self, key: str) -> bool:
        """Say that we hold what ``key`` stands for; False when nobody took it."""
        try:
            with trio.move_on_after(_ASK_SECONDS):
                return bool(await self._dht.provide(key))
        except Exception as error:  # noqa: BLE001 - nobody knows of it then, and is asked again
            _log.debug("%s was not provided: %r", key, error)
        return False

    async def providers(self, key: str) -> Sequence[tuple[AuthorKey, Sequence[str]]]:
        """Return who says to hold it, each Device once, with addresses to try; never raises."""
        found: list[PeerInfo] = []
        try:
            with trio.move_on_after(_ASK_SECONDS):
                found = list(await self._dht.find_providers(key, DHT_PROVIDERS_ASKED_MAX))
        except Exception as error:  # noqa: BLE001 - the same as nobody
            _log.debug("%s was not found: %r", key, error)
        own = self._host.get_id()
        return tuple(
            (device, tuple(_with_key(str(one), peer_id) for one in addresses[:PEER_ADDRESSES_MAX]))
            for peer_id, addresses in {
                info.peer_id: info.addrs for info in found[:DHT_PROVIDERS_ASKED_MAX]
            }.items()
            if peer_id != own and (device := device_of(peer_id)) is not None
        )


def _with_key(address: str, peer_id: ID) -> str:
    return address if "/p2p/" in address else f"{address}/p2p/{peer_id}"
