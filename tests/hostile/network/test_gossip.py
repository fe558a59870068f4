"""Messages that break whoever checks them: dropped, and the next one is heard."""

from __future__ import annotations

import hanse.network.transport  # noqa: F401  libp2p cannot be imported before it

# isort: split

from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio
from libp2p.custom_types import TProtocol
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service

from hanse.network.transport.hardening import guard_pubsub
from tests.fakes.hosts import real_hosts
from tests.hostile.network.attacker import SOON, until
from tests.hostile.network.test_memory import varint
from tests.hostile.network.victim import GOSSIP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hanse.network.transport.host import LibP2PHost

TOPIC = "hanse/test/1"


@asynccontextmanager
async def mesh(count: int) -> AsyncIterator[tuple[list[LibP2PHost], list[Pubsub]]]:
    """Run hosts that are connected in a row and hear of one topic."""
    pubsubs = []

    def before(_: int, host: LibP2PHost) -> None:
        router = GossipSub(
            [TProtocol(GOSSIP)], degree=6, degree_low=4, degree_high=12, heartbeat_interval=1
        )
        pubsub = Pubsub(host.inner, router)
        guard_pubsub(pubsub)
        pubsubs.append(pubsub)

    async with real_hosts(count, before) as hosts, AsyncExitStack() as stack:
        for pubsub in pubsubs:
            stack.callback(pubsub.seen_messages.stop)  # its thread would stay
            await stack.enter_async_context(background_trio_service(pubsub))
            await stack.enter_async_context(background_trio_service(pubsub.router))
            await pubsub.wait_until_ready()
        for one, other in pairwise(hosts):
            await one.dial(other.addresses()[0])
        yield hosts, pubsubs


def message(author: LibP2PHost, **fields: object) -> rpc_pb2.Message:
    whole = {
        "from_id": author.inner.get_id().to_bytes(),
        "data": b"hint",
        "seqno": bytes(8),
        "topicIDs": [TOPIC],
        **fields,
    }
    return rpc_pb2.Message(**whole)


@pytest.mark.parametrize(
    "fields",
    [
        {"key": b"no key", "signature": bytes(64)},
        {"key": b"\x08\x01\x12\x20" + bytes(32), "signature": b""},
        {"key": b"\x08\x01\x12\x02" + bytes(2), "signature": bytes(64)},
        {"key": b"\x08\x03\x12\x02" + bytes(2), "signature": bytes(64)},  # P-256
        {"from_id": b"", "key": b"\xff", "signature": b"\xff"},
        {"seqno": b"", "signature": b""},
    ],
    ids=["junk", "unsigned", "short", "p256", "nobody", "numberless"],
)
def test_message_whose_key_breaks_the_check_is_dropped(fields: dict[str, object]) -> None:
    async def main() -> None:
        with trio.fail_after(3 * SOON):
            async with mesh(2) as (hosts, pubsubs):
                heard = await pubsubs[0].subscribe(TOPIC)
                await until(lambda: bool(pubsubs[1].peer_topics.get(TOPIC)))
                rpc = rpc_pb2.RPC(publish=[message(hosts[1], **fields)]).SerializeToString()
                stream = await hosts[1].open(hosts[0].device, GOSSIP)
                await stream.write(varint(len(rpc)) + rpc)
                await pubsubs[1].publish(TOPIC, b"good")
                assert (await heard.get()).data == b"good"

    trio.run(main)


def test_validator_that_raises_costs_its_message() -> None:
    def judge(_: object, found: rpc_pb2.Message) -> bool:
        if found.data == b"bad":
            raise ValueError("no such hint")
        return True

    async def main() -> None:
        with trio.fail_after(3 * SOON):
            async with mesh(2) as (_, pubsubs):
                pubsubs[0].set_topic_validator(TOPIC, judge, is_async_validator=False)
                heard = await pubsubs[0].subscribe(TOPIC)
                await until(lambda: bool(pubsubs[1].peer_topics.get(TOPIC)))
                await pubsubs[1].publish(TOPIC, b"bad")
                await trio.sleep(0.02)
                await pubsubs[1].publish(TOPIC, b"good")
                assert (await heard.get()).data == b"good"

    trio.run(main)


def test_numbers_of_messages_do_not_begin_again() -> None:
    class Seen:
        counter = 7

        async def push_msg(self) -> None: ...

    first, second = Seen(), Seen()
    guard_pubsub(first)
    guard_pubsub(second)
    assert 1_000_000_000_000_000_000 < first.counter < second.counter
