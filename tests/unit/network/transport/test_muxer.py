"""What one connection holds: counted exactly, given back whole, bounded in three ways."""

from __future__ import annotations

import gc
import random

import pytest

from hanse.core.limits import CONNECTION_HELD_BYTES_MAX, CONNECTION_STREAMS_MAX
from hanse.network.transport import muxer
from hanse.network.transport.muxer import Buffers, Chunks, Overrun


def test_what_was_added_comes_back_in_order_whatever_the_portions() -> None:
    chance = random.Random(5)
    for _ in range(50):
        chunks, sent, got = Chunks(), b"", b""
        for _ in range(chance.randrange(1, 40)):
            message = chance.randbytes(chance.choice([1, 100, 5000, 65_000, 262_144]))
            start = chance.randrange(len(message))
            part = message[start:]
            chunks.add(memoryview(message)[start:])
            sent += part
            if chance.random() < 0.5:
                got += chunks.take(chance.choice([1, 1000, 262_144]))
            assert len(chunks) == len(sent) - len(got)
        while chunks:
            taken = chunks.take(100_000)
            assert 0 < len(taken) <= 100_000
            got += taken
        assert got == sent
        assert chunks.take(10) == b""


def test_small_parts_are_copied_together() -> None:
    chunks = Chunks()
    for _ in range(100_000):
        chunks.add(memoryview(b"x"))
    assert len(chunks) == 100_000
    assert len(chunks._parts) == 2


def test_small_part_does_not_keep_its_message() -> None:
    chunks, message = Chunks(), bytes(60_000)
    chunks.add(memoryview(message)[:5000])
    assert not [kept for kept in gc.get_referrers(message) if kept is chunks._parts]
    assert isinstance(chunks._parts[0], bytearray)


def test_buffers_of_a_connection_are_counted_through_every_change() -> None:
    buffers = Buffers()
    for stream_id in (1, 3, 5):
        buffers[stream_id] = bytearray()  # as the library does it
        buffers.add(stream_id, memoryview(bytes(1000)))
    assert buffers.held_bytes == 3000
    assert buffers.take(1, 400) == bytes(400)
    assert buffers.held_bytes == 2600
    buffers.pop(1, None)
    buffers.pop(1, None)
    assert buffers.held_bytes == 2000
    del buffers[3]
    assert buffers.held_bytes == 1000
    buffers.clear()
    assert buffers.held_bytes == 0


def test_connection_holds_no_more_than_its_bound() -> None:
    buffers = Buffers()
    buffers[1] = bytearray()
    for _ in range(CONNECTION_HELD_BYTES_MAX // 65_536):
        buffers.add(1, memoryview(bytes(65_536)))
    with pytest.raises(Overrun):
        buffers.add(1, memoryview(b"x"))
    assert buffers.held_bytes == CONNECTION_HELD_BYTES_MAX


def test_all_connections_together_hold_no_more_than_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(muxer, "CONNECTIONS_HELD_BYTES_MAX", 6 << 20)
    kept = [Buffers() for _ in range(3)]
    for buffers in kept:
        buffers[1] = bytearray()
        for _ in range(31):
            buffers.add(1, memoryview(bytes(65_536)))
    kept[0].add(1, memoryview(bytes(3 * 65_536)))
    with pytest.raises(Overrun):
        kept[0].add(1, memoryview(b"x"))
    small = Buffers()  # who holds little is not made to pay for the others
    small[1] = bytearray()
    small.add(1, memoryview(bytes(65_536)))


def test_streams_of_a_connection_are_bounded() -> None:
    buffers = Buffers()
    for number in range(CONNECTION_STREAMS_MAX):
        buffers[number] = bytearray()
    with pytest.raises(Overrun):
        buffers[CONNECTION_STREAMS_MAX] = bytearray()
