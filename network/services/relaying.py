"""Being reached through relays, while nobody reaches us directly.

A Peer with the role ``relay`` is asked for a reservation, two at most, near ones first; it is
renewed at half its time.  Once Peers say that we answer from outside, none is asked any more.
Reservations end with their time; nothing is promised of a direct connection afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from hanse.network.services.ticking import ticks_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hanse.core.model.ids import AuthorKey
    from hanse.network.services.status import StatusService
    from hanse.network.services.surroundings import Surroundings

RELAYS_USED: Final = 2
_LOOK_SECONDS: Final = 5.0
_AGAIN_MS: Final = 10 * 60 * 1000  # after a refusal
_SECOND_MS: Final = 1000


class RelayingService:
    """Keeps reservations; belongs to the network thread."""

    def __init__(
        self,
        surroundings: Surroundings,
        status: StatusService,
        reserve: Callable[[AuthorKey], Awaitable[float | None]],
    ) -> None:
        """``reserve`` asks one Peer and returns in how many seconds to ask it again."""
        self._around = surroundings
        self._status = status
        self._reserve = reserve
        self._due_ms: dict[AuthorKey, int] = {}
        self._used: set[AuthorKey] = set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Reserve where it is needed, until cancelled."""
        task_status.started()
        while True:
            await self.look()
            await trio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Renew what is due, and ask another relay when there are too few."""
        self._used = {device for device in self._used if self._around.host.is_connected(device)}
        if self._status.open_places():
            return
        now_ms = ticks_ms()
        # Who may be asked again is forgotten: whoever is gone for good would be kept for ever.
        self._due_ms = {device: due for device, due in self._due_ms.items() if due > now_ms}
        offered = [device for device in self._offered() if device not in self._due_ms]
        for device in sorted(offered, key=lambda it: (it not in self._used, it)):
            if device not in self._used and len(self._used) >= RELAYS_USED:
                break
            again = await self._reserve(device)
            if again is None:
                self._due_ms[device] = now_ms + _AGAIN_MS
                self._used.discard(device)
                continue
            self._due_ms[device] = now_ms + int(again * _SECOND_MS)
            if device not in self._used:
                self._used.add(device)
                self._around.tell("relay_reserved", relay=device.hex())

    def _offered(self) -> list[AuthorKey]:
        found = []
        for connection in self._around.host.connections():
            greeted = self._status.greeted(connection.device)
            if greeted is not None and "relay" in greeted.roles:
                found.append(connection.device)
        return found
