"""A program to be attacked: one host with what every Hanse serves, until its input ends.

Prints its address as the first line.  Run as a process of its own, so that what an attack makes it
hold can be measured from outside.
"""

from __future__ import annotations

import hanse.network.transport  # noqa: F401  libp2p cannot be imported before it

# isort: split

import sys
import threading

import trio
from libp2p.custom_types import TProtocol
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service

from hanse.network.ports import Bounds, Stream
from hanse.network.transport.hardening import guard_pubsub
from hanse.network.transport.host import LibP2PHost
from tests.fakes.hosts import LOOPBACK, seed_of

ECHO = "/hanse/test-echo/1"
DEAF = "/hanse/test-deaf/1"  # takes streams and reads nothing
GUSH = "/hanse/test-gush/1"  # writes 64 MiB to whoever asks
GOSSIP = "/meshsub/1.2.0"
OFFERED = (ECHO, DEAF, GUSH, GOSSIP, "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0")
NUMBER = 900


async def echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


async def deaf(stream: Stream) -> None:
    del stream
    await trio.sleep_forever()


async def gush(stream: Stream) -> None:
    piece = bytes(1 << 20)
    for _ in range(64):
        await stream.write(piece)


def serve(host: LibP2PHost) -> None:
    host.serve(ECHO, echo, Bounds(per_peer=8, in_all=100))
    host.serve(DEAF, deaf, Bounds(per_peer=64, in_all=1000))
    host.serve(GUSH, gush, Bounds(per_peer=8, in_all=100))


async def main() -> None:
    host = LibP2PHost(seed_of(NUMBER))
    serve(host)
    router = GossipSub([TProtocol(GOSSIP)], degree=6, degree_low=4, degree_high=12)
    pubsub = Pubsub(host.inner, router)
    guard_pubsub(pubsub)
    scope = trio.CancelScope()
    token = trio.lowlevel.current_trio_token()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        token.run_sync_soon(scope.cancel)

    async with (
        host.running([LOOPBACK]),
        background_trio_service(pubsub),
        background_trio_service(router),
    ):
        await pubsub.wait_until_ready()
        threading.Thread(target=wait_for_the_end, daemon=True).start()
        print(host.addresses()[0], flush=True)  # noqa: T201
        with scope:
            await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main)
