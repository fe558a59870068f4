"""A Peer that speaks Noise and Yamux as it should, and then whatever frames a test wants."""

from __future__ import annotations

import hanse.network.transport  # noqa: F401  libp2p cannot be imported before it

# isort: split

import itertools
import struct
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import trio
from libp2p.stream_muxer.yamux import yamux

from hanse.network.addresses import parse_address
from hanse.network.transport.host import LibP2PHost
from tests.fakes.hosts import LOOPBACK, seed_of
from tests.hostile.network.victim import ECHO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from hanse.core.model.ids import AuthorKey
    from hanse.network.ports import Stream
    from hanse.network.transport.muxer import SafeYamux

ROOT = Path(__file__).parents[3]
MIB = 1 << 20
SOON = 10.0
DATA, UPDATE, PING = yamux.TYPE_DATA, yamux.TYPE_WINDOW_UPDATE, yamux.TYPE_PING
SYN, RST = yamux.FLAG_SYN, yamux.FLAG_RST


def frame(kind: int, flags: int, stream_id: int, body: bytes = b"", value: int = 0) -> bytes:
    return struct.pack("!BBHII", 0, kind, flags, stream_id, value or len(body)) + body


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what another task or process does."""
    with trio.fail_after(SOON):
        while not is_so():  # noqa: ASYNC110  there is no event to wait for
            await trio.sleep(0.005)


@dataclass
class Victim:
    """A process under attack."""

    process: psutil.Popen
    address: str

    @property
    def device(self) -> AuthorKey:
        device = parse_address(self.address).device
        assert device is not None
        return device

    @property
    def port(self) -> int:
        return parse_address(self.address).port

    def held_bytes(self) -> int:
        size: int = self.process.memory_info().rss
        return size


@contextmanager
def victim() -> Iterator[Victim]:
    """Start the program to be attacked; at the end it must stop by itself, in good order."""
    process = psutil.Popen(
        [sys.executable, "-m", "tests.hostile.network.victim"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Victim(process, process.stdout.readline().strip())
        process.stdin.close()
        assert process.wait(SOON) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


@dataclass
class Attacker:
    """One Peer among many, and the frames of its one connection."""

    host: LibP2PHost
    victim: AuthorKey

    @property
    def muxed(self) -> SafeYamux:
        return self.host._peers[self.victim][0].muxed

    @property
    def is_connected(self) -> bool:
        return self.host.is_connected(self.victim)

    async def open(self, protocol: str) -> Stream:
        return await self.host.open(self.victim, protocol)

    async def send(self, *frames: bytes) -> None:
        """Send frames as they are, all in as few messages as they fit in."""
        await self.muxed._write_frame(b"".join(frames))

    async def stop_reading(self) -> None:
        """Take nothing more from the socket, as a program that hangs."""
        tcp = self.muxed.secured_conn.conn.read_writer.read_write_closer.stream
        tcp._fill = trio.sleep_forever

    async def lost(self) -> None:
        await until(lambda: not self.is_connected)


_numbers = itertools.count(1)


@asynccontextmanager
async def attacker(address: str, number: int | None = None) -> AsyncIterator[Attacker]:
    """Connect to whoever listens at ``address``, each time as somebody else."""
    host = LibP2PHost(seed_of(next(_numbers) if number is None else number))
    async with host.running([LOOPBACK]):
        yield Attacker(host, await host.dial(address))


async def assert_serves(address: str) -> None:
    """Let somebody honest connect and get an answer."""
    async with attacker(address) as honest:
        stream = await honest.open(ECHO)
        await stream.write(b"honest")
        assert await stream.read(SOON) == b"honest"
