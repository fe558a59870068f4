"""TCP sockets as libp2p reads and writes them, with fewer system calls and no silence.

* What the kernel has is taken at once and handed out from memory: the library asks for two bytes,
  then for a message, and so would pay two system calls and four copies for each.
* Writing to a socket that was closed here is an error; the library's own says nothing.
* The other end is known for IPv6 too; the library's own forgets it, and a gate with it.
"""

from __future__ import annotations

from typing import Final

import trio
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream

RECEIVE_SIZE_BYTES: Final = 262_144
_LENGTH: Final = 2  # of a Noise message


class BufferedTCP(TrioTCPStream):
    """One connection's bytes, in both directions."""

    def __init__(self, stream: trio.SocketStream) -> None:
        """Take over ``stream``."""
        super().__init__(stream)
        self._got = memoryview(b"")

    async def read(self, n: int | None = None) -> bytes:
        """Return 1 to ``n`` bytes, or nothing at the end of the connection."""
        if n == 0:
            return b""
        if not self._got:
            await self._fill()
        size = len(self._got) if n is None else n
        part, self._got = bytes(self._got[:size]), self._got[size:]
        return part

    async def message(self) -> memoryview:
        """Return one message with its 16-bit length in front removed; raises at the end."""
        while len(self._got) < _LENGTH:
            await self._more()
        end = _LENGTH + int.from_bytes(self._got[:_LENGTH], "big")
        while len(self._got) < end:
            await self._more()
        found, self._got = self._got[_LENGTH:end], self._got[end:]
        return found

    async def _more(self) -> None:
        """Put what comes next behind what is left, which is less than one message."""
        rest, self._got = bytes(self._got), memoryview(b"")
        await self._fill()
        if not self._got:
            raise ConnectionClosedError("connection ended", transport="tcp")
        if rest:
            self._got = memoryview(rest + self._got)

    async def _fill(self) -> None:
        self._got = memoryview(b"")  # let go of the last piece before the next is made
        try:
            self._got = memoryview(await self.stream.receive_some(RECEIVE_SIZE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError("connection was lost", transport="tcp") from error

    async def write(self, data: bytes) -> None:
        """Write all of ``data``."""
        try:
            async with self.write_lock:
                await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError("connection was lost", transport="tcp") from error

    def get_remote_address(self) -> tuple[str, int] | None:
        """Return the other end's IP address and port, also after the connection ended."""
        if self._cached_remote_address is None:
            try:
                host, port, *_ = self.stream.socket.getpeername()
            except OSError:
                return None
            self._cached_remote_address = (str(host), int(port))
        return self._cached_remote_address
