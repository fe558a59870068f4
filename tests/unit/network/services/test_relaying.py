"""Being reached through relays: asked two at most, renewed in time, and not when needless."""

from __future__ import annotations

import pytest
import trio

from hanse.network.services.relaying import RELAYS_USED, RelayingService
from tests.fakes.meeting import in_no_time, meeting


class Relays:
    """What relays answer: for how long, or None."""

    def __init__(self):
        self.asked = []
        self.seconds = 600.0
        self.refusing = set()

    async def reserve(self, device):
        await trio.lowlevel.checkpoint()
        self.asked.append(device)
        return None if device in self.refusing else self.seconds


@pytest.fixture
def there(account):
    """Return what runs a talk between anna and as many relays as asked for."""

    def run(talk, names, roles=("node", "relay"), refusing=0):
        async def main():
            async with meeting() as met:
                anna = met.place(account("anna"))
                others = [met.place(account(name), roles=roles) for name in names]
                relays = Relays()
                relays.refusing.update(sorted(other.device for other in others)[:refusing])
                relaying = RelayingService(anna.surroundings, anna.status, relays.reserve)
                for other in others:
                    await anna.host.dial(other.address)
                    await anna.status.hello(other.device)
                async with trio.open_nursery() as nursery:
                    await nursery.start(relaying.run)
                    await talk(met, anna, others, relays)
                    nursery.cancel_scope.cancel()

        in_no_time(main)

    return run


NAMES = ("bert", "carl", "dora")


def test_two_relays_are_asked_and_renewed_in_time(there):
    async def talk(_, anna, others, relays):
        await trio.sleep(60)
        first = sorted(other.device for other in others)[:RELAYS_USED]
        assert relays.asked == first
        assert [it["relay"] for it in anna.told("relay_reserved")] == [it.hex() for it in first]
        await trio.sleep(600)
        assert relays.asked == first * 2
        assert len(anna.told("relay_reserved")) == 2

    there(talk, NAMES)


def test_who_offers_nothing_is_not_asked(there):
    async def talk(_, _anna, _others, relays):
        await trio.sleep(60)
        assert relays.asked == []

    there(talk, NAMES, roles=("node",))


def test_who_refused_is_left_alone_for_ten_minutes_and_others_are_asked(there):
    async def talk(_, _anna, others, relays):
        await trio.sleep(500)
        refused, willing = sorted(relays.refusing), {it.device for it in others} - relays.refusing
        assert relays.asked[:3] == [*refused, *willing]
        assert all(relays.asked.count(device) == 1 for device in refused)
        await trio.sleep(200)
        assert all(relays.asked.count(device) == 2 for device in refused)

    there(talk, NAMES, refusing=2)


def test_a_relay_that_is_lost_is_replaced(there):
    async def talk(met, _anna, others, relays):
        await trio.sleep(10)
        lost = relays.asked[0]
        met.network.stop(next(other.host for other in others if other.device == lost))
        await trio.sleep(10)
        assert set(relays.asked) == {other.device for other in others}

    there(talk, NAMES)


def test_who_answers_from_outside_needs_no_relay(there):
    async def talk(_, anna, others, relays):
        await trio.sleep(1)
        asked = len(relays.asked)
        for other in others:
            await other.host.hang_up(anna.device)
            await other.host.dial(anna.address)
            await other.status.hello(anna.device)
        assert anna.status.open_places()
        await trio.sleep(1300)
        assert len(relays.asked) == asked

    there(talk, NAMES)
