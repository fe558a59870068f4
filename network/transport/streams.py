"""A libp2p stream as ``network.ports.Stream``: every wait bounded, every end one of two errors.

* ``read`` without a number of seconds waits as long as the connection lives, and the host's pings
  bound that; with one, it raises ``PeerSilent`` and the stream may be read again.
* ``write`` raises ``PeerSilent`` when nothing was read at the other end for 20 seconds; a stream
  that was written to in part is of no use, so it is reset then.
* A half-close reads as ``b""``; whatever else ends a stream is ``StreamEnded``.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from hanse.core.engine.ports import PeerSilent
from hanse.network.addresses import peer_id_text
from hanse.network.ports import StreamEnded
from hanse.network.transport.muxer import (
    READ_SIZE_BYTES,
    SLICE_SIZE_BYTES,
    STUCK_SECONDS,
    WRITE_SECONDS,
    WriteStalled,
)

if TYPE_CHECKING:
    from hanse.core.model.ids import AuthorKey
    from hanse.core.model.network import Path

LINGER_SECONDS: Final = 10.0  # for the other side to close its half, too
_RESET_SECONDS: Final = 2.0


class LibP2PStream:
    """One stream to one Peer, both ways."""

    def __init__(self, inner: Any, peer: AuthorKey, path: Path) -> None:
        """Speak over ``inner``, a libp2p ``NetStream`` on Yamux."""
        self._inner = inner
        self._muxed = inner.muxed_stream
        self._peer = peer
        self._path = path

    @property
    def peer(self) -> AuthorKey:
        """Return the Device at the other end."""
        return self._peer

    @property
    def path(self) -> Path:
        """Return how it is reached."""
        return self._path

    async def read(self, within_seconds: float | None = None) -> bytes:
        """Return 1 to 262,144 bytes, or ``b""`` at a half-close."""
        limit = math.inf if within_seconds is None else within_seconds
        try:
            with trio.move_on_after(limit):
                data: bytes = await self._muxed.read(READ_SIZE_BYTES)
                return data
        except MuxedStreamEOF:
            return b""
        except BaseLibp2pError as error:
            raise StreamEnded(str(error)) from error
        raise self._silent(limit)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of it, in slices of 65,507."""
        view = memoryview(data).cast("B")
        try:
            for start in range(0, len(view), SLICE_SIZE_BYTES):
                await self._muxed.write(view[start : start + SLICE_SIZE_BYTES])
        except WriteStalled as error:
            await self.reset()
            raise self._silent(WRITE_SECONDS) from error
        except BaseLibp2pError as error:
            raise StreamEnded(str(error)) from error

    async def close(self) -> None:
        """Say that nothing more is written."""
        # Shielded: a FIN that was begun and not sent would leave the other side waiting.
        with trio.move_on_after(STUCK_SECONDS, shield=True), suppress(BaseLibp2pError):
            await self._muxed.close()

    async def reset(self) -> None:
        """Drop the stream; never raises."""
        with trio.move_on_after(_RESET_SECONDS, shield=True), suppress(Exception):
            await self._inner.reset()

    async def finish(self) -> None:
        """Close, and give the other side a moment to do the same; then the stream is gone."""
        await self.close()
        with trio.move_on_after(LINGER_SECONDS), suppress(StreamEnded):
            while await self.read():
                pass  # nobody wants it any more
            return
        await self.reset()

    def _silent(self, seconds: float) -> PeerSilent:
        return PeerSilent(peer=peer_id_text(self._peer), seconds=round(seconds, 3))
