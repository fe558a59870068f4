"""What Peers did is counted, kept and ends the connection when it is too much."""

from __future__ import annotations

import pytest
import trio

from hanse.core.engine.peering import HeldAgainst
from hanse.core.errors import StoreFull
from hanse.core.limits import CONDUCTS_REMEMBERED_MAX
from hanse.core.model.network import Met
from hanse.network.conduct import Offence
from hanse.network.services import blaming as blaming_module
from hanse.network.services.blaming import Blaming
from tests.fakes.clock import FakeClock
from tests.fakes.meeting import in_no_time, meeting

HOUR_MS = 3_600_000
PEER = bytes([9]) * 32


def key(number):
    return number.to_bytes(32, "big")


def test_a_penalty_halves_by_the_hour_and_ends_the_talk_at_20_and_at_50():
    clock = FakeClock()
    blaming = Blaming(clock)
    for _ in range(3):
        blaming.on_offence(PEER, Offence.WRONG_BYTES)
    assert not blaming.is_denied(PEER)
    clock.advance(HOUR_MS)
    assert blaming.penalty_milli(PEER) == 7500
    blaming.on_offence(PEER, Offence.OVERRUN)
    blaming.on_offence(PEER, Offence.WRONG_BYTES)
    assert blaming.is_denied(PEER)
    clock.advance(HOUR_MS)
    assert not blaming.is_denied(PEER)
    for _ in range(5):
        blaming.on_offence(PEER, Offence.OVERRUN)
    clock.advance(23 * HOUR_MS)
    assert blaming.is_denied(PEER)


def test_what_was_kept_counts_again():
    clock = FakeClock()
    now_ms = clock.now_ms()
    blaming = Blaming(clock, [HeldAgainst(PEER, 21_000, now_ms, now_ms + HOUR_MS)])
    assert blaming.is_denied(PEER)
    assert blaming.penalty_milli(PEER) == 21_000
    assert blaming.penalty_milli(key(1)) == 0


def test_only_so_many_are_remembered_and_the_worst_longest(monkeypatch):
    monkeypatch.setattr(blaming_module, "CONDUCTS_REMEMBERED_MAX", 100)
    assert CONDUCTS_REMEMBERED_MAX > 100
    blaming = Blaming(FakeClock())
    for _ in range(2):
        blaming.on_offence(PEER, Offence.OVERRUN)
    for number in range(1000):
        blaming.on_offence(key(number), Offence.FRAME)
    assert blaming.is_denied(PEER)
    assert len(blaming._conducts) <= 100


def test_who_is_refused_is_hung_up_on_and_not_let_in_again(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            await there.begin(anna)
            other = there.network.host(PEER)
            await other.dial(anna.address)
            for _ in range(2):
                anna.surroundings.blame(PEER, Offence.OVERRUN)
            await trio.sleep(1)
            assert not other.is_connected(anna.device)
            assert anna.told("peer_refused") == [{"device": PEER.hex()}]
            with pytest.raises(Exception, match="nobody"):
                await other.dial(anna.address)
            (held,) = anna.engine.peering.held_against()
            assert (held.device, held.penalty_milli) == (PEER, 20_000)
            assert anna.engine.peering.view(PEER).met is Met.INBOUND

    in_no_time(main)


def test_a_flood_of_offences_is_written_now_and_then(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            written = []
            hold = anna.engine.peering.hold_against
            peering = anna.engine.peering
            peering.hold_against = lambda found: (written.append(len(found)), hold(found))
            try:
                await there.begin(anna)
                for _ in range(200):
                    anna.surroundings.blame(PEER, Offence.FRAME)
                    await trio.sleep(0.01)
                await trio.sleep(5)
            finally:
                del peering.hold_against
            assert 1 <= len(written) <= 3
            (held,) = anna.engine.peering.held_against()
            assert held.penalty_milli == 200 * Offence.FRAME.value

    in_no_time(main)


def test_what_was_not_written_is_kept_at_the_end(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            async with trio.open_nursery() as nursery:
                await nursery.start(anna.blaming.run, anna.surroundings)
                anna.surroundings.blame(PEER, Offence.FRAME)
                await trio.sleep(0.5)
                anna.surroundings.blame(PEER, Offence.FRAME)
                nursery.cancel_scope.cancel()
            (held,) = anna.engine.peering.held_against()
            assert held.penalty_milli == 2 * Offence.FRAME.value

    in_no_time(main)


@pytest.mark.logs
def test_a_full_disk_forgives_nobody(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            await there.begin(anna)
            anna.surroundings.executor.error = StoreFull(path="x")
            for _ in range(2):
                anna.surroundings.blame(PEER, Offence.OVERRUN)
            await trio.sleep(10)
            assert anna.blaming.is_denied(PEER)
            anna.surroundings.executor.error = None
            anna.surroundings.blame(key(1), Offence.FRAME)
            await trio.sleep(10)
            assert {it.device for it in anna.engine.peering.held_against()} == {PEER, key(1)}

    in_no_time(main)
