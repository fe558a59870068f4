"""The network's thread: it starts, works, ends in its order, and leaves nothing behind."""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.lowlevel

from hanse.core.engine.ports import NetworkOffline, PortTaken
from hanse.network.addresses import parse_address
from hanse.network.ports import Bounds, StreamEnded
from hanse.network.transport.host import LibP2PHost
from hanse.network.transport.muxer import SafeYamux
from hanse.network.transport.thread import Built, NetworkThread
from tests.fakes.hosts import LOOPBACK, seed_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from hanse.network.ports import Stream

ECHO = "/hanse/test-echo/1"
SOON = 10.0


async def echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


def built(
    number: int = 0,
    listen: str = LOOPBACK,
    beside: tuple = (),
    begin: Callable[[trio.Nursery], Awaitable[None]] | None = None,
) -> Built:
    host = LibP2PHost(seed_of(number))
    host.serve(ECHO, echo, Bounds(per_peer=32, in_all=64))
    return Built(host, [listen], beside, begin)


@contextmanager
def started(build: Callable[[], Built]) -> Iterator[NetworkThread]:
    ends: list[BaseException | None] = []
    thread = NetworkThread(build, ends.append)
    thread.start()
    try:
        yield thread
    finally:
        assert thread.stop()
    assert len(ends) == 1
    if thread.ready.done() and thread.ready.exception() is None:
        assert ends == [None]


async def nothing() -> None: ...


def test_ready_names_the_addresses_and_calls_are_answered() -> None:
    async def double(number: int) -> int:
        await trio.lowlevel.checkpoint()
        return 2 * number

    async def fail() -> None:
        raise ValueError("as asked")

    with started(built) as thread:
        (address,) = thread.ready.result(SOON)
        assert parse_address(address).port > 0
        assert thread.submit(double, 21).result(SOON) == 42
        with pytest.raises(ValueError, match="as asked"):
            thread.submit(fail).result(SOON)
        assert thread.submit(double, 1).result(SOON) == 2


def test_stopping_cancels_what_runs_and_refuses_what_comes_later() -> None:
    with started(built) as thread:
        thread.ready.result(SOON)
        waiting = thread.submit(trio.sleep_forever)
        thread.submit(nothing).result(SOON)  # by now the other one runs
        begun = time.monotonic()
        assert thread.stop()
        assert time.monotonic() - begun < 2
        with pytest.raises(CancelledError):
            waiting.result(SOON)
        with pytest.raises(NetworkOffline):
            thread.submit(nothing).result(SOON)


def test_call_that_raises_while_it_is_cancelled_ends_like_any_other() -> None:
    async def fall_apart() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("while cancelled")

    with started(built) as thread:
        thread.ready.result(SOON)
        falling = thread.submit(fall_apart)
        thread.submit(nothing).result(SOON)
    with pytest.raises((CancelledError, ValueError)):
        falling.result(SOON)


def test_work_before_the_start_and_a_stop_without_one_wait_for_nothing() -> None:
    thread = NetworkThread(built)
    with pytest.raises(NetworkOffline):
        thread.submit(nothing).result(SOON)
    assert thread.stop()


def test_stop_right_after_start_ends_it() -> None:
    for _ in range(3):
        with started(built) as thread:
            assert thread.stop()
        assert isinstance(thread.ready.exception(0), NetworkOffline | None)


def test_what_was_built_is_left_in_the_order_gossip_needs() -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def gossip() -> AsyncIterator[None]:
        seen.append("gossip begins")
        yield
        await trio.lowlevel.checkpoint()  # it may still wait while it is left
        seen.append(f"gossip ends with {len(hosts[0].connections())} connection")

    async def serve() -> None:
        try:
            await trio.sleep_forever()
        finally:
            seen.append("services end")

    async def begin(nursery: trio.Nursery) -> None:
        seen.append("services begin")
        nursery.start_soon(serve)

    hosts: list[LibP2PHost] = []

    def build() -> Built:
        made = built(0, beside=(gossip,), begin=begin)
        hosts.append(made.host)
        return made

    with started(lambda: built(1)) as other, started(build) as thread:
        thread.ready.result(SOON)
        (address,) = other.ready.result(SOON)
        thread.submit(hosts[0].dial, address).result(SOON)
        assert thread.stop()
        assert not hosts[0].connections()
    assert seen == [
        "gossip begins",
        "services begin",
        "services end",
        "gossip ends with 1 connection",
    ]


def test_error_while_building_comes_out_of_ready() -> None:
    def build() -> Built:
        raise ValueError("no key")

    with started(build) as thread, pytest.raises(ValueError, match="no key"):
        thread.ready.result(SOON)


def test_error_while_beginning_comes_out_of_ready() -> None:
    async def begin(_: trio.Nursery) -> None:
        raise ValueError("no service")

    with started(lambda: built(begin=begin)) as thread, pytest.raises(ValueError, match="service"):
        thread.ready.result(SOON)


def test_port_that_is_taken_comes_out_of_ready() -> None:
    with started(built) as first:
        (address,) = first.ready.result(SOON)
        port = parse_address(address).port
        listen = f"/ip4/127.0.0.1/tcp/{port}"
        with started(lambda: built(1, listen)) as second, pytest.raises(PortTaken):
            second.ready.result(SOON)


def test_error_of_a_service_ends_the_thread_and_is_told() -> None:
    async def fail() -> None:
        raise ValueError("a bug")

    async def begin(nursery: trio.Nursery) -> None:
        nursery.start_soon(wait_and_fail)

    go = threading.Event()

    async def wait_and_fail() -> None:
        await trio.to_thread.run_sync(go.wait)
        await fail()

    told: list[BaseException | None] = []
    ended = threading.Event()

    def on_stopped(error: BaseException | None) -> None:
        told.append(error)
        ended.set()

    thread = NetworkThread(lambda: built(begin=begin), on_stopped)
    thread.start()
    assert thread.ready.result(SOON)
    go.set()
    assert ended.wait(SOON)
    assert thread.stop()
    (error,) = told
    assert isinstance(error, ValueError)
    with pytest.raises(NetworkOffline):
        thread.submit(nothing).result(SOON)


def test_ten_lives_of_one_device_beside_a_peer_that_stays_under_traffic() -> None:
    stayed = built(1)
    with started(lambda: stayed) as other:
        (address,) = other.ready.result(SOON)
        for _ in range(10):
            made = built(0)
            with started(lambda made=made: made) as thread:
                thread.ready.result(SOON)
                device = thread.submit(made.host.dial, address).result(SOON)
                answered = [thread.submit(say, made.host, device) for _ in range(20)]
                assert all(each.result(SOON) for each in answered)
                gushing = [thread.submit(gush, made.host, device) for _ in range(3)]
                gushing.append(other.submit(gush, stayed.host, made.host.device))
                assert thread.submit(busy, made.host, 1 << 20).result(SOON)
                assert thread.stop(2)
            for each in gushing:
                with pytest.raises((CancelledError, StreamEnded)):
                    each.result(SOON)
            assert not made.host.connections()
            assert other.submit(gone, stayed.host).result(SOON)
    assert not [each for each in alive() if not each.event_closed.is_set()]


async def say(host: LibP2PHost, device: bytes) -> bool:
    stream = await host.open(device, ECHO)
    await stream.write(b"word")
    heard = await stream.read(SOON)
    await stream.close()
    return heard == b"word" and await stream.read(SOON) == b""


async def gush(host: LibP2PHost, device: bytes) -> None:
    stream = await host.open(device, ECHO)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(swallow, stream)
        try:
            while True:
                await stream.write(bytes(1 << 20))
        except StreamEnded:
            nursery.cancel_scope.cancel()
    raise StreamEnded


async def swallow(stream: Stream) -> None:
    try:
        while await stream.read():
            pass
    except StreamEnded:
        pass


async def busy(host: LibP2PHost, size: int) -> bool:
    with trio.fail_after(SOON):
        while not all(  # noqa: ASYNC110  bytes are counted, not told
            each.in_bytes > size < each.out_bytes for each in host.connections()
        ):
            await trio.sleep(0.005)
    return True


async def gone(host: LibP2PHost) -> bool:
    with trio.fail_after(SOON):
        while host.connections():  # noqa: ASYNC110  the other side's end, of which nobody tells
            await trio.sleep(0.005)
    return True


def alive() -> list[SafeYamux]:
    return [each for each in gc.get_objects() if isinstance(each, SafeYamux)]
