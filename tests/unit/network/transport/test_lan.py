from __future__ import annotations

import threading
from functools import partial

import trio
from zeroconf import ServiceInfo

from hanse.core.limits import PEER_ADDRESSES_MAX
from hanse.network.transport.lan import Lan, announced

ANNA = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"
BO = "/ip4/127.0.0.1/tcp/4002/p2p/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq"


def test_two_devices_on_one_lan_hear_of_each_other_and_leave_no_thread():
    heard: dict[str, set[str]] = {ANNA: set(), BO: set()}

    async def main() -> None:
        both = trio.Event()

        def hear(who: str, addresses: tuple[str, ...]) -> None:
            heard[who].update(addresses)
            if BO in heard[ANNA] and ANNA in heard[BO]:
                both.set()

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for own in (ANNA, BO):
                    lan = Lan(partial(list, [own]), partial(hear, own), ["127.0.0.1"])
                    await nursery.start(lan.run)
                await both.wait()
                nursery.cancel_scope.cancel()

    before = set(threading.enumerate())
    trio.run(main)
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in left if "zeroconf" in name.lower()}
    assert ANNA not in heard[ANNA]


def test_an_interface_that_is_not_there_only_means_that_nobody_is_heard():
    async def main() -> None:
        lan = Lan(lambda: [ANNA], lambda _: None, ["203.0.113.7"])
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                await nursery.start(lan.run)
                nursery.cancel_scope.cancel()

    trio.run(main)


def service(**properties):
    return ServiceInfo("_p2p._udp.local.", "x._p2p._udp.local.", properties=properties)


def test_what_a_service_announces_is_bounded():
    many = {f"dnsaddr{number}": f"/ip4/10.0.0.{number}/tcp/1/p2p/x" for number in range(1, 30)}
    assert len(announced(service(**many))) == PEER_ADDRESSES_MAX


def test_what_is_no_address_of_a_device_is_passed_over():
    assert announced(service(dnsaddr="/ip4/10.0.0.1/tcp/1")) == ()
    assert announced(service(dnsaddr=b"/p2p/\xff\n")) == ()
    assert announced(service(dnsaddr="/ip4/10.0.0.1/tcp/1/p2p/r/p2p-circuit/p2p/x")) == ()
    assert announced(service(id=ANNA)) == ()
