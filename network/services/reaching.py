"""Finding the Devices of an Identity, and of those who hold what is fetched.

* ``reach`` returns connected Devices of an Identity: those that are, else those whose addresses are
  known, else those the DHT names.
* ``find`` does the same for the files of a Release: its seller first, then whoever says to have it.
* What we hold, and where our own Feeds are, is said to the DHT twice a day where it is switched on.

Whom to keep connected to is decided elsewhere; here somebody is needed now.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

import trio

from hanse.core.engine.ports import NoPeer, PeerSilent
from hanse.core.errors import HanseError
from hanse.core.limits import REACHED_AT_ONCE_MAX
from hanse.core.model.ids import IdentityId
from hanse.core.model.network import Met
from hanse.network.wire.directory_keys import content_key, feed_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from hanse.core.model.ids import AuthorKey
    from hanse.core.model.network import TransferView
    from hanse.network.ports import Directory
    from hanse.network.services.surroundings import Surroundings

_log: Final = logging.getLogger(__name__)

PROVIDE_SECONDS: Final = 12 * 60 * 60.0
_SOON_SECONDS: Final = 60.0  # after the start, or when nobody took it
_PAUSE_SECONDS: Final = 0.5  # between two records: a server takes ten in ten seconds
_DIAL_SECONDS: Final = 10.0


class Reach(Protocol):
    """Connects to Devices of an Identity; see ``Reaching.reach``."""

    async def __call__(
        self, identity: IdentityId, wanted: Collection[AuthorKey] = ()
    ) -> Sequence[AuthorKey]:
        """Return those that are connected."""
        ...


class Reaching:
    """Connects to somebody in particular; belongs to the network thread."""

    def __init__(self, surroundings: Surroundings, directory: Directory | None) -> None:
        """Ask ``directory`` where there is one."""
        self._around = surroundings
        self._directory = directory

    async def reach(
        self, identity: IdentityId, wanted: Collection[AuthorKey] = ()
    ) -> Sequence[AuthorKey]:
        """Return connected Devices of an Identity, after dialling when there is none.

        Those of ``wanted`` that are not connected are dialled also when others are.
        """
        peering = self._around.engine.peering
        devices = await self._around.read(lambda: peering.devices_of(identity))
        up = self._connected(devices)
        missing = [device for device in wanted if device in devices and device not in up]
        if up and not missing:
            return up
        known = await self._around.read(peering.known)
        sought = missing or devices
        await self._dial([(it.device, it.addresses) for it in known if it.device in sought])
        if reached := self._connected(devices):
            return reached
        if self._directory is None:
            return ()
        found = await self._directory.providers(feed_key(identity))
        await self._dial(found)
        return self._connected(devices)

    async def find(self, view: TransferView, seller: bytes) -> Sequence[AuthorKey]:
        """Return Devices that may have the files of a Release, connected now."""
        sellers = await self.reach(IdentityId(seller))
        if sellers or self._directory is None:
            return sellers
        seeding = self._around.engine.seeding
        manifest = await self._around.read(lambda: seeding.manifest_of(view.release))
        if manifest is None:
            return ()
        return await self._dial(await self._directory.providers(content_key(manifest)))

    async def look(self, found: Callable[[Sequence[str], Met], object]) -> None:
        """Hear of Devices that hold our own Feeds: our other Devices, and who keeps them."""
        if self._directory is not None:
            own = feed_key(self._around.engine.context.identity)
            for _, addresses in await self._directory.providers(own):
                found(addresses, Met.DHT)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Say what we hold, until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(_SOON_SECONDS)
            try:
                if await self.provide():
                    await trio.sleep(PROVIDE_SECONDS)
            except HanseError as error:  # the store is busy, or its disk is full
                _log.debug("what we hold is said later: %s", error)

    async def provide(self) -> bool:
        """Say once what we hold; False when nobody took anything of it."""
        if self._directory is None:
            return False
        manifests = await self._around.read(self._around.engine.seeding.manifests)
        keys = [feed_key(self._around.engine.context.identity), *map(content_key, manifests)]
        taken = False
        for key in keys:
            taken |= await self._directory.provide(key)
            await trio.sleep(_PAUSE_SECONDS)
        return taken

    def _connected(self, devices: Sequence[AuthorKey]) -> list[AuthorKey]:
        return [device for device in devices if self._around.host.is_connected(device)]

    async def _dial(self, places: Sequence[tuple[AuthorKey, Sequence[str]]]) -> Sequence[AuthorKey]:
        """Dial Devices at once, each address after the other; return who answered."""
        places = places[:REACHED_AT_ONCE_MAX]
        async with trio.open_nursery() as nursery:
            for _, addresses in places:
                nursery.start_soon(self._dial_one, addresses)
        return self._connected([device for device, _ in places])

    async def _dial_one(self, addresses: Sequence[str]) -> None:
        with trio.move_on_after(_DIAL_SECONDS):
            for address in addresses:
                try:
                    await self._around.host.dial(address)
                except (NoPeer, PeerSilent) as error:
                    _log.debug("%s", error)
                except HanseError:
                    _log.info("an address could not be dialled", exc_info=True)
                else:
                    return
