"""Releases fetched from seeders of all manners, with real engines and hosts in memory."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from hanse.core.limits import PIECE_SIZE_BYTES
from hanse.core.model.control import Control
from hanse.core.model.ids import AuthorKey
from hanse.core.model.network import TransferState
from hanse.core.model.transfer import PRIORITY_NOW, PRIORITY_SEED, Have
from hanse.network.conduct import Offence
from hanse.network.ports import Bounds, StreamEnded
from hanse.network.services import fetching as fetching_module
from hanse.network.wire import bucket
from hanse.network.wire.frames import encode_frame
from hanse.network.wire.transfer import (
    PROTOCOL,
    Answering,
    Get,
    Piece,
    Small,
    Sorry,
    WantHashes,
    WantHave,
    WantSmall,
)
from hanse.network.wire.transfer import Have as HaveReply
from tests.fakes.hosts import MemoryNetwork, real_hosts
from tests.fakes.shop import AS_IS, plain_weights, publish
from tests.fakes.transfers import (
    Manners,
    Seen,
    again,
    arrived,
    buyer,
    fetching,
    seed,
    shelf,
    surroundings,
    until,
)

ANNA, BERTA, CARLA, BUYER = (AuthorKey(bytes([number]) * 32) for number in (1, 2, 3, 9))
PIECES = 10
SIZE = (PIECES - 1) * PIECE_SIZE_BYTES + 70_000


@pytest.fixture(scope="module")
def giver(tmp_path_factory):
    base = tmp_path_factory.mktemp("giver")
    found = shelf(base, SIZE)
    found.feed = base / "anna.hanse-feed"
    found.second = publish(
        found.engine,
        plain_weights(base / "second", 3 * PIECE_SIZE_BYTES),
        preparation=AS_IS,
        title="Another",
    ).release
    found.engine.ledger.export(found.feed)
    found.customer = buyer(base, found.feed)
    yield found
    found.close()


@pytest.fixture
def taker(giver, tmp_path):
    found = again(giver.customer, tmp_path, giver.release)
    yield found
    found.close()


class Liar(Manners):
    """Sends wrong Pieces."""

    def piece(self, root, size, piece, offset, length):
        right = super().piece(root, size, piece, offset, length)
        return bytes([right[0] ^ 1]) + right[1:] if size > PIECE_SIZE_BYTES else right


class LayerLiar(Manners):
    """Sends wrong hashes."""

    def hashes(self, *where):
        *_, count = where
        return bytes(32 * count)


class SmallLiar(Manners):
    """Sends wrong Manifests."""

    def small(self, *_):
        return b"not what was asked"


class Boaster(Manners):
    """Says it has all, and has nothing."""

    def piece(self, root, size, piece, offset, length):
        super().piece(root, size, piece, offset, length)


class Half(Manners):
    """Has the even Pieces only."""

    def have(self, _root, size):
        if size <= PIECE_SIZE_BYTES:
            return Have(None)
        return Have(bytes([0b0101_0101, 0b01]))

    def piece(self, root, size, piece, offset, length):
        found = super().piece(root, size, piece, offset, length)
        return found if size <= PIECE_SIZE_BYTES or piece % 2 == 0 else None


class Gone(Manners):
    """Has nothing of all this."""

    def small(self, *_):
        return None

    def have(self, *_):
        return None


@dataclass
class Scene:
    network: MemoryNetwork
    me: object
    around: object
    seen: Seen
    hosts: dict


@asynccontextmanager
async def scene(giver, taker, seeders, *, connect=True, **how):
    """Put seeders, by Device and manners, and a buyer on one network."""
    seen = Seen()
    async with MemoryNetwork() as network:
        me = network.host(BUYER)
        hosts = {}
        for device, manners in seeders.items():
            hosts[device] = host = network.host(device)
            if callable(manners):
                host.serve(PROTOCOL, manners, Bounds(2, 16))
            else:
                seed(surroundings(host, giver, Seen(), seeding=manners), **how)
            if connect:
                await me.dial(host.addresses()[0])
        yield Scene(network, me, surroundings(me, taker, seen), seen, hosts)
        assert network.raised == []


def run(main):
    async def bounded():
        with trio.fail_after(30):
            await main()

    trio.run(bounded)


def done(service):
    """Return how many bytes are checked and written, as it is shown."""
    return sum(view.done_bytes for view in service.transfers())


def check_whole(taker, release=None):
    """Check that every byte of the Release is what was signed."""
    release = taker.release if release is None else release
    content = taker.engine.content
    view = taker.engine.fetching.view(release)
    assert view.done_bytes == view.total_bytes
    with taker.engine.context.store.reads() as reads:
        uses = reads.objects.of_artifact(view.artifact)
    travelled = [use for use in uses if content.pieces.has(use.root, use.size)]
    assert sum(use.size for use in travelled) == view.total_bytes
    for use in travelled:
        assert not content.pieces.verify(use.root, use.size, Control())


# --- straight ----------------------------------------------------------------------------------


def test_a_release_comes_from_several_seeders_at_once(giver, taker):
    manners = {device: Manners(giver) for device in (ANNA, BERTA, CARLA)}

    async def main():
        # Slow enough that one alone would not bring everything before the others begin.
        async with scene(giver, taker, manners, upload_rate=3 << 20) as it:
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around) as service:
                await arrived(taker)
                await until(lambda: not service.transfers())
            assert it.seen.offences == []
            assert it.seen.words().count("transfer_stopped") == 1

    run(main)
    check_whole(taker)
    assert all(it.pieces for it in manners.values())
    assert len({piece for it in manners.values() for piece, _ in it.pieces}) == PIECES


def test_what_is_asked_for_later_begins_when_somebody_looks(giver, taker):
    async def main():
        manners = {ANNA: Manners(giver)}
        async with scene(giver, taker, manners) as it, fetching(it.around) as service:
            await trio.testing.wait_all_tasks_blocked(0.05)
            taker.engine.fetching.ask(taker.release)
            service.look()
            await arrived(taker)

    run(main)
    check_whole(taker)


def test_what_a_peer_has_not_got_comes_from_another(giver, taker):
    half, whole = Half(giver), Manners(giver)

    async def main():
        async with scene(giver, taker, {ANNA: half, BERTA: whole}) as it:
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around):
                await arrived(taker)
            assert it.seen.offences == []

    run(main)
    check_whole(taker)
    assert all(piece % 2 == 0 for piece, _ in half.pieces)


def test_progress_is_told_four_times_a_second_at_most(giver, taker):
    async def main():
        async with scene(giver, taker, {ANNA: Manners(giver)}, upload_rate=5 << 20) as it:
            taker.engine.fetching.ask(taker.release)
            began = trio.current_time()
            async with fetching(it.around) as service:
                await until(lambda: any(it.rate and it.seeders for it in service.transfers()))
                (view,) = service.transfers()
                assert view.state is TransferState.RUNNING
                assert view.seeders == 1
                assert 0 < view.done_bytes < view.total_bytes
                await arrived(taker)
            told = it.seen.words().count("transfer_progress")
            assert 1 <= told <= 2 + (trio.current_time() - began) / 0.25

    run(main)


# --- who lies, stalls, goes -------------------------------------------------------------------


@pytest.mark.parametrize("manners", [Liar, LayerLiar, SmallLiar])
def test_what_a_liar_sends_is_held_against_it_and_comes_from_another(giver, taker, manners):
    async def main():
        async with scene(giver, taker, {ANNA: manners(giver), BERTA: Manners(giver)}) as it:
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around):
                await arrived(taker)
            assert set(it.seen.offences) <= {(ANNA, Offence.WRONG_BYTES)}
            assert it.seen.offences or manners is not Liar

    run(main)
    check_whole(taker)


def test_a_liar_alone_brings_nothing_and_is_asked_no_more(giver, taker):
    liar = Liar(giver)

    async def main():
        async with scene(giver, taker, {ANNA: liar}) as it:
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around) as service:
                await until(lambda: it.seen.offences)
                await until(
                    lambda: (
                        [view.state for view in service.transfers()] == [TransferState.SEARCHING]
                    )
                )
                asked = len(liar.pieces)
                await trio.sleep(0.6)
                assert len(liar.pieces) == asked
                # Who is there now has it.
                honest = it.network.host(BERTA)
                seed(surroundings(honest, giver, Seen()))
                await it.me.dial(honest.addresses()[0])
                await arrived(taker)

    run(main)
    check_whole(taker)


def test_who_boasts_of_what_it_has_not_got_holds_nothing_up(giver, taker):
    async def main():
        async with scene(giver, taker, {ANNA: Boaster(giver), BERTA: Manners(giver)}) as it:
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around):
                await arrived(taker)
            assert it.seen.offences == []

    run(main)
    check_whole(taker)


def test_the_pieces_of_a_killed_seeder_come_from_the_other_at_once(giver, taker):
    first, second = Manners(giver), Manners(giver)

    async def main():
        async with scene(giver, taker, {ANNA: first, BERTA: second}, upload_rate=4 << 20) as it:
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around):
                await until(lambda: len(first.pieces) >= 2)
                it.network.stop(it.hosts[ANNA])
                asked = len(first.pieces)
                await arrived(taker)
                assert len(first.pieces) == asked

    run(main)
    check_whole(taker)


def test_a_broken_tail_is_gone_on_with_where_it_broke(giver, taker):
    manners = Manners(giver)

    async def main():
        async with scene(giver, taker, {ANNA: manners}, upload_rate=3 << 19) as it:
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around) as service:
                # The first second's worth goes at once; what follows goes slice by slice.
                await until(lambda: len(manners.pieces) >= 3)
                (line,) = service.lines
                await until(lambda: (line._asking.arriving() or (0, 0))[1] > 200_000)
                it.network.cut(it.me, it.hosts[ANNA])
                await until(lambda: not service.lines)
                await it.me.dial(it.hosts[ANNA].addresses()[0])
                await until(lambda: any(offset > 0 for _, offset in manners.pieces))

    run(main)


def test_a_silent_seeder_is_left_for_another_and_tried_again_later(giver, taker, monkeypatch):
    monkeypatch.setattr(bucket, "SILENT_MS", 300)

    async def main():
        async with scene(giver, taker, {ANNA: Manners(giver)}, upload_rate=4 << 20) as it:
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around) as service:
                await until(lambda: done(service) > 100)
                it.network.freeze(it.hosts[ANNA])
                await until(lambda: not service.lines)
                honest = it.network.host(BERTA)
                seed(surroundings(honest, giver, Seen()))
                await it.me.dial(honest.addresses()[0])
                await arrived(taker)

    run(main)
    check_whole(taker)


def test_a_peer_over_a_relay_is_asked_only_when_no_other_is_left(giver, taker):
    direct, relayed = Manners(giver), Manners(giver)

    async def main():
        seeders = {ANNA: direct, BERTA: relayed}
        async with scene(giver, taker, seeders, connect=False, upload_rate=4 << 20) as it:
            await it.me.dial(it.hosts[ANNA].addresses()[0])
            it.network.join(it.me, it.hosts[BERTA], relay=CARLA)
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around):
                await until(lambda: len(direct.pieces) >= 4)
                assert relayed.pieces == []
                it.network.stop(it.hosts[ANNA])
                await arrived(taker)
            assert relayed.pieces
            assert any(
                event.values.get("is_relayed")
                for event in it.seen.events
                if event.word == "transfer_progress"
            )

    run(main)


# --- nobody there, waiting, stopping ------------------------------------------------------------


def test_with_nobody_there_it_searches_until_somebody_is(giver, taker):
    asked = []

    async def main():
        async with scene(giver, taker, {ANNA: Gone(giver)}) as it:

            async def find(view, seller):
                asked.append((view.release, seller))
                return ()

            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around, find=find) as service:
                await until(
                    lambda: (
                        [view.state for view in service.transfers()] == [TransferState.SEARCHING]
                    )
                )
                await until(
                    lambda: (
                        taker.engine.fetching.view(taker.release).state is TransferState.SEARCHING
                    )
                )
                honest = it.network.host(BERTA)
                seed(surroundings(honest, giver, Seen()))
                await it.me.dial(honest.addresses()[0])
                await arrived(taker)
            assert it.seen.offences == []

    run(main)
    check_whole(taker)


def test_who_is_found_farther_away_is_asked(giver, taker):
    async def main():
        async with scene(giver, taker, {ANNA: Manners(giver)}, connect=False) as it:

            async def find(view, seller):
                assert (view.release, seller) == (taker.release, giver.engine.context.identity)
                return (await it.me.dial(it.hosts[ANNA].addresses()[0]),)

            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around, find=find):
                await arrived(taker)

    run(main)
    check_whole(taker)


def test_a_pause_is_heeded_at_once_and_what_came_is_kept(giver, taker):
    manners = Manners(giver)

    async def main():
        async with scene(giver, taker, {ANNA: manners}, upload_rate=4 << 20) as it:
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around) as service:
                await until(lambda: done(service) >= 3 * PIECE_SIZE_BYTES)
                taker.engine.fetching.pause(taker.release)
                service.look()
                await until(lambda: not service._downloads)
                asked = len(manners.pieces)
                kept = taker.engine.fetching.view(taker.release)
                assert kept.state is TransferState.PAUSED
                assert kept.done_bytes >= 3 * PIECE_SIZE_BYTES
                await trio.sleep(0.4)
                assert len(manners.pieces) <= asked + 1
                manners.pieces.clear()
                taker.engine.fetching.go_on(taker.release)
                service.look()
                await arrived(taker)
                assert len(manners.pieces) <= PIECES - kept.done_bytes // PIECE_SIZE_BYTES

    run(main)
    check_whole(taker)


def test_a_cancelled_transfer_is_stopped_and_leaves_nothing(giver, taker):
    async def main():
        async with scene(giver, taker, {ANNA: Manners(giver)}, upload_rate=3 << 20) as it:
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around) as service:
                await until(lambda: done(service) > 100)
                taker.engine.fetching.cancel(taker.release)
                service.look()
                await until(lambda: not service.transfers())
            assert taker.engine.content.pieces.usage().part_bytes == 0

    run(main)


def test_it_goes_on_another_day_with_what_is_missing(giver, taker):
    manners = Manners(giver)

    async def main():
        async with scene(giver, taker, {ANNA: manners}, upload_rate=4 << 20) as it:
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around) as service:
                await until(lambda: done(service) >= 3 * PIECE_SIZE_BYTES)
            kept = taker.engine.fetching.view(taker.release).done_bytes
            assert kept >= 3 * PIECE_SIZE_BYTES
            manners.pieces.clear()
            async with fetching(it.around):
                await arrived(taker)
            assert len(manners.pieces) <= PIECES - kept // PIECE_SIZE_BYTES

    run(main)
    check_whole(taker)


def test_the_lower_priority_number_goes_first(giver, taker):
    ended = []

    async def main():
        async with scene(giver, taker, {ANNA: Manners(giver)}, upload_rate=6 << 20) as it:
            taker.engine.fetching.ask(taker.release, priority=PRIORITY_SEED)
            taker.engine.fetching.ask(giver.second, priority=PRIORITY_NOW)
            async with fetching(it.around):
                await arrived(taker, giver.second)
                ended.append(taker.engine.fetching.view(taker.release).state)
                await arrived(taker)

    run(main)
    assert ended == [TransferState.RUNNING]
    check_whole(taker)
    check_whole(taker, giver.second)


# --- bounds ------------------------------------------------------------------------------------


def test_while_the_disk_lags_behind_nothing_is_asked(giver, taker, monkeypatch):
    monkeypatch.setattr(fetching_module, "PIECES_QUEUED_BYTES_MAX", 2 * PIECE_SIZE_BYTES)
    manners = Manners(giver)
    may_go_on = threading.Event()

    async def main():
        async with scene(giver, taker, {ANNA: manners}) as it:
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around) as service:
                await until(lambda: service._queued_bytes or manners.pieces)
                blocked = taker.executor.job(may_go_on.wait)
                await trio.sleep(0.5)
                # Two wait, and at most as many were open as one Peer may be asked for.
                assert len(manners.pieces) <= 2 + 8
                assert service._queued_bytes <= 10 * PIECE_SIZE_BYTES
                may_go_on.set()
                assert blocked.result()
                await arrived(taker)

    run(main)
    check_whole(taker)


def test_a_download_keeps_to_its_rate(giver, taker):
    manners = Manners(giver)

    async def main():
        async with scene(giver, taker, {ANNA: manners}) as it:
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around, download_rate=1 << 20) as service:
                await until(lambda: manners.pieces)
                await trio.sleep(0.5)
                # One second's worth at once, one more on credit.
                assert len(manners.pieces) <= 3
                service.set_download_rate(None)
                await arrived(taker)

    run(main)


# --- hostile seeders ---------------------------------------------------------------------------


def hostile(answer):
    """Make a handler that answers each question by ``answer(question)``."""

    async def handle(stream):
        answering = Answering()
        try:
            while data := await stream.read():
                for question in answering.feed(data):
                    for part in answer(question):
                        if isinstance(part, float):
                            await trio.sleep(part)
                        else:
                            await stream.write(part)
        except StreamEnded:
            pass

    return handle


def busy(question):
    yield encode_frame(Sorry(question.call, "busy", 0))


def oversize(question):
    yield encode_frame(Small(question.call, 16 << 20))


def a_million_pieces(question):
    yield encode_frame(HaveReply(question.call, b"\xff" * (128 * 1024), 4))


def an_answer_to_nothing(question):
    yield encode_frame(Sorry(question.call + 1, "busy", 0))


def junk(_question):
    yield b"\x00\x00\x00\x10" + b"\xff" * 16


def drip(question):
    yield encode_frame(Piece(question.call, 5))[:1]
    while True:
        yield 0.2
        yield b"\x00"


@pytest.mark.parametrize(
    ("manners", "is_offence"),
    [
        (busy, False),
        (oversize, True),
        (a_million_pieces, True),
        (an_answer_to_nothing, True),
        (junk, True),
        (drip, True),
    ],
)
def test_a_hostile_seeder_holds_nothing_up(giver, taker, manners, is_offence):
    async def main():
        seeders = {ANNA: hostile(manners), BERTA: Manners(giver)}
        async with scene(giver, taker, seeders) as it:
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around):
                await arrived(taker)
            assert set(it.seen.offences) <= {(ANNA, Offence.FRAME)}
            assert bool(it.seen.offences) <= is_offence

    run(main)
    check_whole(taker)


def test_pieces_one_byte_at_a_time_are_fetched_elsewhere(giver, taker):
    real = Manners(giver)

    def slow(question):
        """Answer everything well, and each Piece so slowly that it would take days."""
        match question:
            case WantSmall(call, sha256):
                tail = real.small(b"", sha256)
                yield encode_frame(Small(call, len(tail))) + tail
            case WantHave(call):
                yield encode_frame(HaveReply(call, None, 4))
            case Get(call, ref, piece, offset, length) if ref.size < PIECE_SIZE_BYTES:
                tail = real.piece(ref.root, ref.size, piece, offset, length)
                yield encode_frame(Piece(call, length)) + tail
            case Get(call, _, _, _, length):
                yield encode_frame(Piece(call, length))
                for _ in range(length):
                    yield b"x"
                    yield 0.1
            case WantHashes(call):
                yield encode_frame(Sorry(call, "not_held", 0))

    async def main():
        async with scene(giver, taker, {ANNA: hostile(slow), BERTA: Manners(giver)}) as it:
            taker.engine.fetching.ask(taker.release)
            async with fetching(it.around):
                await arrived(taker)
            assert it.seen.offences == []

    run(main)
    check_whole(taker)


# --- over libp2p ---------------------------------------------------------------------------------


def test_over_libp2p_from_two_seeders_of_whom_one_lies(giver, taker):
    liar, honest = Liar(giver), Manners(giver)
    seen = Seen()

    async def main():
        def serve(number, host):
            if number:
                seed(surroundings(host, giver, Seen(), seeding=(liar, honest)[number - 1]))

        async with real_hosts(3, serve) as (me, first, second):
            for other in (first, second):
                await me.dial(other.addresses()[0])
            taker.engine.fetching.ask(taker.release)
            async with fetching(surroundings(me, taker, seen)):
                await arrived(taker)
            assert set(seen.offences) == {(first.device, Offence.WRONG_BYTES)}

    run(main)
    check_whole(taker)
    assert honest.pieces
