"""Liveness: who is connected and answers nothing any more is hung up on.

Every 30 s each connected Peer is asked for 32 bytes back over libp2p's own ping, which any libp2p
program answers.  One that is silent for 10 s is asked again at once; silent twice, it is gone: a
frozen Peer would otherwise stay "connected" until the operating system gives up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from hanse.core.engine.ports import NoPeer, PeerSilent
from hanse.network.ports import StreamEnded

if TYPE_CHECKING:
    from hanse.core.model.ids import AuthorKey
    from hanse.network.ports import Stream
    from hanse.network.services.surroundings import Surroundings

PROTOCOL: Final = "/ipfs/ping/1.0.0"
EVERY_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 10
MISSES_MOST: Final = 2

_PING_SIZE_BYTES: Final = 32


class PingService:
    """Pings whom we are connected to; belongs to the network thread."""

    def __init__(self, surroundings: Surroundings) -> None:
        """Ping nobody yet."""
        self._surroundings = surroundings
        self._under_way: set[AuthorKey] = set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ping until cancelled."""
        task_status.started()
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(EVERY_SECONDS)
                for connection in self._surroundings.host.connections():
                    if connection.device not in self._under_way:
                        self._under_way.add(connection.device)
                        nursery.start_soon(self._check, connection.device)

    async def _check(self, device: AuthorKey) -> None:
        host = self._surroundings.host
        try:
            for _ in range(MISSES_MOST):
                if not host.is_connected(device) or await self._answers(device):
                    return
            if host.is_connected(device):
                self._surroundings.tell("peer_silent", device=device.hex())
                await host.hang_up(device)
        finally:
            self._under_way.discard(device)

    async def _answers(self, device: AuthorKey) -> bool:
        """Say whether anything comes back in time; also a refusal is a sign of life."""
        asked = self._surroundings.chance.bytes(_PING_SIZE_BYTES)
        begun = trio.current_time()
        with trio.move_on_after(ANSWER_SECONDS):
            try:
                stream = await self._surroundings.host.open(device, PROTOCOL)
            except NoPeer:  # lost, or it speaks no ping and said so; a refusal does not take long
                return trio.current_time() - begun < ANSWER_SECONDS / 2
            except PeerSilent:
                return False
            try:
                return await _came_back(stream, asked)
            except StreamEnded:
                return True
            except PeerSilent:
                await stream.reset()
                return False
            except BaseException:
                with trio.move_on_after(1, shield=True):
                    await stream.reset()
                raise
        return False


async def _came_back(stream: Stream, asked: bytes) -> bool:
    """Wait for an answer; what it says does not matter, only that somebody is there."""
    await stream.write(asked)
    await stream.read(ANSWER_SECONDS)
    await stream.close()
    return True
