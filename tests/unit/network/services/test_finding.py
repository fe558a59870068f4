"""Devices that find each other, lose each other and are misled, in a time that tests move."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio

from hanse.core.engine.inviting import BadInvitation
from hanse.core.engine.peering import Heard, HeldAgainst, OwnPeer
from hanse.core.engine.ports import NoPeer, PeerRefused
from hanse.core.limits import PEERS_HEARD_MAX, PEERS_HEARD_OF_ONE_MAX
from hanse.core.model.addresses import parse_address, peer_id_text
from hanse.core.model.network import Met, Path
from hanse.network.ports import Bounds
from hanse.network.services import dialling, finding
from hanse.network.services.finding import NotHanse, WrongKey, reason_of
from hanse.network.wire.frames import FrameReader
from hanse.network.wire.status import (
    PROTOCOL,
    QUESTIONS,
    About,
    Hello,
    PeerLine,
    PeerLines,
    write_status,
)
from tests.fakes.meeting import in_no_time, meeting

NOBODY = bytes([9]) * 32


def key(number):
    return number.to_bytes(32, "big")


def at(host, device, port=4801):
    return f"/ip4/{host}/tcp/{port}/p2p/{peer_id_text(device)}"


class Impostor:
    """A host that speaks the protocol and says what it likes."""

    def __init__(self, there, device, *, address=None, roles=("node",), lines=()):
        self.host = there.network.host(device, address=address)
        self.lines, self.roles = lines, roles
        self.asked = 0
        self.host.serve(PROTOCOL, self.answer, Bounds(8, 64))

    @property
    def address(self):
        return self.host.addresses()[0]

    async def answer(self, stream):
        reader = FrameReader(QUESTIONS)
        while data := await stream.read(30):
            for framed in reader.feed(data):
                question = framed.message
                if isinstance(question, Hello):
                    about = About(1, "", self.roles, None, None, 0, 0)
                    await stream.write(write_status(Hello(question.call, about)))
                else:
                    self.asked += 1
                    await stream.write(write_status(PeerLines(question.call, self.lines)))


def keeps(place, other):
    place.engine.peering.keep(other.address)


# --- finding each other --------------------------------------------------------------------------


def test_a_peer_of_the_list_is_dialled_after_two_seconds(account):
    async def main():
        async with meeting() as there:
            anna, bert = there.place(account("anna")), there.place(account("bert"))
            keeps(anna, bert)
            await there.begin(anna, bert)
            await trio.sleep(1.5)
            assert anna.host.dialled == []
            await trio.sleep(2)
            assert anna.peers == {bert.device}
            assert bert.peers == {anna.device}
            (view,) = anna.engine.peering.views()
            assert view.answered_ms == anna.engine.context.clock.now_ms()
            (shown,) = anna.finding.shown
            assert (shown.device, shown.is_connected, shown.path) == (
                bert.device,
                True,
                Path.DIRECT,
            )

    in_no_time(main)


def test_who_answered_before_is_dialled_at_once(account):
    async def main():
        async with meeting() as there:
            anna, bert = there.place(account("anna")), there.place(account("bert"))
            place = parse_address(bert.address)
            anna.engine.peering.heard(Heard(bert.device, Met.EXCHANGE, dialled=place))
            await there.begin(anna)
            await trio.sleep(0.5)
            assert anna.peers == {bert.device}

    in_no_time(main)


def test_who_is_heard_of_on_the_lan_is_dialled_at_once_and_kept(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            bert = there.place(account("bert"), address="/ip4/192.168.1.7/tcp/4801")
            await there.begin(anna, bert)
            assert anna.finding.found((bert.address,), Met.LAN) == 1
            await trio.sleep(0.5)
            assert anna.peers == {bert.device}
            view = anna.engine.peering.view(bert.device)
            assert (view.met, view.addresses) == (Met.LAN, (bert.address,))

    in_no_time(main)


def test_peers_of_peers_are_found_by_exchange(account):
    async def main():
        async with meeting() as there:
            anna, carl = there.place(account("anna")), there.place(account("carl"), roles=("node",))
            bert = there.place(account("bert"))
            keeps(anna, bert)
            keeps(bert, carl)
            await there.begin(anna, bert, carl)
            await trio.sleep(20)
            assert anna.peers == {bert.device, carl.device}
            assert anna.engine.peering.view(carl.device).met is Met.EXCHANGE

    in_no_time(main)


def test_the_last_way_is_asked_when_too_few_are_connected(account):
    class Directory:
        def __init__(self, texts):
            self.texts = texts
            self.looked = []

        async def look(self, found):
            self.looked.append(trio.current_time())
            found(self.texts, Met.DHT)

    async def main():
        async with meeting() as there:
            bert = there.place(account("bert"))
            directory = Directory((bert.address,))
            anna = there.place(account("anna"), sources=[directory])
            await there.begin(anna, bert)
            await trio.sleep(5)
            assert directory.looked == []
            await trio.sleep(5)
            assert len(directory.looked) == 1
            assert anna.peers == {bert.device}
            assert anna.engine.peering.view(bert.device).met is Met.DHT
            await trio.sleep(1300)
            assert len(directory.looked) == 3

    in_no_time(main)


def test_eight_are_dialled_at_once_and_no_more_than_are_wanted(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"), wanted=5)
            for number in range(20):
                other = Impostor(there, key(number), address=f"/ip4/203.0.{number}.1/tcp/1")
                anna.engine.peering.keep(other.address)
            await there.begin(anna)
            await trio.sleep(600)
            assert len(anna.peers) == 5

    in_no_time(main)


# --- losing each other ---------------------------------------------------------------------------


def test_a_lost_peer_is_dialled_again_with_waits_that_double(account):
    async def main():
        async with meeting() as there:
            anna, bert = there.place(account("anna")), there.place(account("bert"))
            keeps(anna, bert)
            await there.begin(anna)
            await trio.sleep(100)
            assert anna.peers == {bert.device}
            there.network.stop(bert.host)
            tried = []
            begun = trio.current_time()
            before = len(anna.host.dialled)
            while trio.current_time() - begun < 2500:
                await trio.sleep(1)
                if len(anna.host.dialled) > before:
                    tried.append(trio.current_time() - begun)
                    before = len(anna.host.dialled)
            waits = [after - first for first, after in pairwise(tried)]
            assert tried[0] <= 3
            assert all(after > 1.2 * first for first, after in pairwise(waits[:7]))
            assert 480 <= waits[-1] <= 725
            assert anna.engine.peering.view(bert.device).reason == "unreachable"

    in_no_time(main)


def test_a_clock_that_jumps_dials_all_again(account):
    async def main():
        async with meeting() as there:
            anna, bert = there.place(account("anna")), there.place(account("bert"))
            keeps(anna, bert)
            there.network.stop(bert.host)
            await there.begin(anna)
            await trio.sleep(700)
            before = len(anna.host.dialled)
            anna.engine.context.clock.advance(3_600_000)
            await trio.sleep(4)
            assert len(anna.host.dialled) > before
            assert anna.told("redial") == [{"reason": "clock"}]

    in_no_time(main)


def test_a_new_address_of_ours_dials_all_again(account):
    async def main():
        async with meeting() as there:
            anna, bert = there.place(account("anna")), there.place(account("bert"))
            keeps(anna, bert)
            there.network.stop(bert.host)
            await there.begin(anna)
            await trio.sleep(700)
            before = len(anna.host.dialled)
            anna.host._address = at("203.0.113.77", anna.device)
            await trio.sleep(4)
            assert len(anna.host.dialled) > before
            assert anna.told("redial") == [{"reason": "address"}]

    in_no_time(main)


# --- being misled --------------------------------------------------------------------------------


def test_a_hostile_answer_sends_us_nowhere(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            lines = (
                PeerLine(anna.device, (at("203.0.113.1", anna.device),), 0),
                PeerLine(key(1), (at("127.0.0.1", key(1)), "/ip4/10.0.0.1/tcp/1"), 0),
                PeerLine(key(2), (at("203.0.113.2", key(3)),), 0),  # another key than its row
                PeerLine(key(4), ("/dns4/localhost/tcp/22", "junk", "/ip4/0.0.0.0/tcp/1"), 0),
                PeerLine(key(5), ("/ip4/203.0.113.5/tcp/1",), 0),
            )
            liar = Impostor(there, NOBODY, lines=lines)
            anna.engine.peering.keep(liar.address)
            await there.begin(anna)
            await trio.sleep(60)
            assert set(anna.host.dialled) == {liar.address, at("203.0.113.5", key(5), 1)}
            assert {it.device for it in anna.engine.peering.views()} == {NOBODY}

    in_no_time(main)


def test_one_teller_gives_at_most_half_of_our_peers(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"), wanted=8)
            own = [
                Impostor(there, key(n), address=f"/ip4/203.0.{n}.1/tcp/1", roles=())
                for n in range(20)
            ]
            lines = tuple(PeerLine(it.host.device, it.host.addresses(), 0) for it in own)
            liar = Impostor(there, NOBODY, lines=lines)
            anna.engine.peering.keep(liar.address)
            await there.begin(anna)
            await trio.sleep(300)
            assert len(anna.peers - {NOBODY}) == 4

    in_no_time(main)


def test_what_is_heard_is_bounded_and_one_teller_drives_out_no_other(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            anna.finding.found([at("203.0.113.1", key(1))], Met.EXCHANGE, key(500))
            for number in range(1000, 1000 + 10 * PEERS_HEARD_OF_ONE_MAX):
                anna.finding.found([at("203.0.113.1", key(number))], Met.EXCHANGE, NOBODY)
            assert len(anna.finding._heard) == PEERS_HEARD_OF_ONE_MAX + 1
            for number in range(3000, 3000 + 2 * PEERS_HEARD_MAX):
                teller = key(number // 10)
                anna.finding.found([at("203.0.113.1", key(number))], Met.EXCHANGE, teller)
            assert len(anna.finding._heard) <= PEERS_HEARD_MAX

    in_no_time(main)


def test_a_hint_that_leads_nowhere_is_given_up(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            await there.begin(anna)
            anna.finding.found([at("203.0.113.1", key(1))], Met.LAN)
            await trio.sleep(1000)
            assert len(anna.host.dialled) == 2
            assert anna.engine.peering.views() == ()

    in_no_time(main)


def test_another_libp2p_program_is_hung_up_on(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            other = there.network.host(NOBODY)  # serves nothing of ours
            await there.begin(anna)
            anna.finding.found(other.addresses(), Met.LAN)
            await trio.sleep(10)
            assert anna.peers == set()
            assert anna.engine.peering.views() == ()

    in_no_time(main)


def test_whom_we_refuse_is_not_dialled(account):
    async def main():
        async with meeting() as there:
            bert = there.place(account("bert"))
            engine = account("anna")
            engine.peering.keep(bert.address)
            until_ms = engine.context.clock.now_ms() + 60_000
            engine.peering.hold_against([HeldAgainst(bert.device, 20_000, 0, until_ms)])
            anna = there.place(engine)
            await there.begin(anna)
            assert anna.finding.found([bert.address], Met.LAN) == 0
            await trio.sleep(30)
            assert anna.host.dialled == []
            with pytest.raises(PeerRefused):
                await anna.finding.add(bert.address)

    in_no_time(main)


def test_we_ourselves_are_not_dialled(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            await there.begin(anna)
            assert anna.finding.found([anna.address], Met.LAN) == 0
            with pytest.raises(OwnPeer):
                await anna.finding.add(anna.address)
            await trio.sleep(30)
            assert anna.host.dialled == []

    in_no_time(main)


# --- a person adds -------------------------------------------------------------------------------


def test_a_peer_that_is_added_is_dialled_greeted_and_kept(account):
    async def main():
        async with meeting() as there:
            anna, bert = there.place(account("anna")), there.place(account("bert"))
            await there.begin(anna, bert)
            link = bert.engine.peering.invitation([at("203.0.113.1", bert.device), bert.address])
            view = await anna.finding.add(link.link)
            assert (view.device, view.is_connected, view.is_kept) == (bert.device, True, True)
            assert anna.engine.peering.view(bert.device).addresses[0] == bert.address
            again = await anna.finding.add(bert.address, is_kept=False)
            assert again.device == bert.device

    in_no_time(main)


def test_a_peer_that_is_added_and_off_stays_on_the_list_with_the_reason(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            await there.begin(anna)
            with pytest.raises(NoPeer):
                await anna.finding.add(at("203.0.113.1", NOBODY))
            (view,) = anna.engine.peering.kept()
            assert view.reason == "unreachable"
            with pytest.raises(NoPeer):
                await anna.finding.add(at("203.0.113.1", key(1)), is_kept=False)
            assert len(anna.engine.peering.views()) == 1
            with pytest.raises(BadInvitation):
                await anna.finding.add("nonsense")

    in_no_time(main)


def test_another_program_that_is_added_stays_connected_and_is_named_so(account):
    async def main():
        async with meeting() as there:
            anna = there.place(account("anna"))
            other = there.network.host(NOBODY)
            await there.begin(anna)
            with pytest.raises(NotHanse):
                await anna.finding.add(other.addresses()[0])
            assert anna.engine.peering.view(NOBODY).reason == "not_hanse"

    in_no_time(main)


def test_bytes_are_written_down(account):
    async def main():
        async with meeting() as there:
            anna, bert = there.place(account("anna")), there.place(account("bert"))
            keeps(anna, bert)
            await there.begin(anna, bert)
            await trio.sleep(130)
            view = anna.engine.peering.view(bert.device)
            assert view.in_bytes > 0
            assert view.out_bytes > 0

    in_no_time(main)


def test_the_same_seed_dials_in_the_same_order(account):
    orders = []

    async def main():
        async with meeting() as there:
            engine = account("anna")
            engine.context.chance._calls = 0
            for row in engine.peering.views():
                engine.peering.forget(row.device)
            anna = there.place(engine, wanted=6)
            for number in range(20):
                anna.engine.peering.keep(at(f"203.0.{number}.1", key(number)))
            await there.begin(anna)
            await trio.sleep(30)
            orders.append(list(anna.host.dialled))

    in_no_time(main)
    in_no_time(main)
    assert len(orders[0]) >= 20
    assert orders[0] == orders[1]


# --- why -----------------------------------------------------------------------------------------


class PeerIDMismatchesPubkey(Exception):
    """As the library names it."""


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (ExceptionGroup("all attempts", [ConnectionRefusedError(111, "no")]), "refused"),
        (trio.TooSlowError(), "silent"),
        (PeerIDMismatchesPubkey(), "wrong_key"),
        (OSError(101, "network is unreachable"), "unreachable"),
        (None, "unreachable"),
    ],
    ids=["refused", "silent", "wrong_key", "oserror", "none"],
)
def test_the_word_for_a_failed_dial_comes_from_what_lies_behind(cause, reason):
    error = NoPeer(whom="x", tried=1)
    error.__cause__ = RuntimeError("of the library")
    error.__cause__.__cause__ = cause
    assert reason_of(error) == reason


def test_somebody_else_at_the_address_is_said_so():
    assert reason_of(WrongKey(whom="x", tried=1)) == "wrong_key"


def test_the_figures_are_those_of_the_design():
    assert (dialling.WANTED, dialling.NODE_WANTED, dialling.DIALS_AT_ONCE) == (12, 64, 8)
    assert finding.CLOCK_JUMP_MS == 60_000
