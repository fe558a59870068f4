"""What is held against Peers: counted at once, kept soon, and hung up on when it is too much.

* An offence is counted in memory, so that whoever reports one never waits; ``run`` writes it down
  and closes the connection of a Peer that is refused now.
* The gate of the host asks ``is_denied`` for every Device, dialled or dialling.
* Only so many Peers are remembered; those with the least against them are forgotten first.

What an offence costs is ``hanse.network.conduct``'s.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from hanse.core.engine.peering import HeldAgainst
from hanse.core.errors import HanseError
from hanse.core.limits import CONDUCTS_REMEMBERED_MAX
from hanse.network.conduct import Conduct

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hanse.core.clock import Clock
    from hanse.core.model.ids import AuthorKey
    from hanse.network.conduct import Offence
    from hanse.network.services.surroundings import Surroundings

_log: Final = logging.getLogger(__name__)

_FORGOTTEN_AT_ONCE: Final = 10  # of a hundred, so that not every new one sorts all
_WRITE_SECONDS: Final = 2.0  # a Peer that goes on and on costs one write in so long


class Blaming:
    """The conduct of Peers; belongs to the network thread."""

    def __init__(self, clock: Clock, held: Iterable[HeldAgainst] = ()) -> None:
        """Begin with what was kept."""
        self._clock = clock
        self._conducts = {
            it.device: Conduct(it.penalty_milli, it.at_ms, it.refused_until_ms) for it in held
        }
        self._unsaved: set[AuthorKey] = set()
        self._refused: set[AuthorKey] = set()
        self._wake = trio.Event()
        self._changed = trio.Event()

    def on_offence(self, device: AuthorKey, offence: Offence) -> None:
        """Count one offence."""
        now_ms = self._clock.now_ms()
        conduct = self._conducts.get(device, Conduct()).after(offence, now_ms)
        self._conducts[device] = conduct
        self._unsaved.add(device)
        if conduct.is_refused(now_ms):
            self._refused.add(device)
            self._wake.set()
        if len(self._conducts) > CONDUCTS_REMEMBERED_MAX:
            self._forget(now_ms)
        self._changed.set()
        _log.debug("%s: %s, now %d", device.hex(), offence.name, conduct.penalty_milli)

    def is_denied(self, device: AuthorKey) -> bool:
        """Say whether nothing is spoken with a Device now."""
        conduct = self._conducts.get(device)
        return conduct is not None and conduct.is_refused(self._clock.now_ms())

    def penalty_milli(self, device: AuthorKey) -> int:
        """Return what is left of what was held against a Device."""
        return self._conducts.get(device, Conduct()).now(self._clock.now_ms())

    async def run(
        self,
        surroundings: Surroundings,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Hang up on who is refused and keep what changed, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hang_up, surroundings)
                task_status.started()
                while True:
                    await self._changed.wait()
                    self._changed = trio.Event()
                    await self._save(surroundings)
                    await trio.sleep(_WRITE_SECONDS)
        finally:
            with trio.move_on_after(_WRITE_SECONDS, shield=True):
                await self._save(surroundings)

    async def _hang_up(self, surroundings: Surroundings) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._refused:
                device = self._refused.pop()
                surroundings.tell("peer_refused", device=device.hex())
                await surroundings.host.hang_up(device)

    async def _save(self, surroundings: Surroundings) -> None:
        found = [
            HeldAgainst(device, it.penalty_milli, it.at_ms, it.refused_until_ms)
            for device in sorted(self._unsaved)
            if (it := self._conducts.get(device)) is not None
        ]
        self._unsaved.clear()
        if not found:
            return
        try:
            await surroundings.write(lambda: surroundings.engine.peering.hold_against(found))
        except HanseError as error:  # counted in memory all the same
            _log.warning("what is held against peers was not kept: %s", error)
            self._unsaved |= {it.device for it in found}

    def _forget(self, now_ms: int) -> None:
        def weight(device: AuthorKey) -> tuple[bool, int, bytes]:
            conduct = self._conducts[device]
            return conduct.is_refused(now_ms), conduct.now(now_ms), device

        least = sorted(self._conducts, key=weight)
        for device in least[: CONDUCTS_REMEMBERED_MAX * _FORGOTTEN_AT_ONCE // 100]:
            del self._conducts[device]
