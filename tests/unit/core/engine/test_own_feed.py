"""How far our own Feed is shown, and what stops it: over real Accounts, by plain calls."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest

from hanse.core.crypto.signing import PREFIX_ENTRY
from hanse.core.engine.replication.values import Fault, OwnHead
from hanse.core.errors import CopiedDisk
from hanse.core.keystore.guards import CopyState, Highwater, LeftMark, ShownHeader
from hanse.core.ledger.codec import encode
from hanse.core.ledger.entry import CheckedEntry, parse_entry
from hanse.core.ledger.forks import fork_of
from hanse.core.ledger.kinds import Follow1
from hanse.core.model.ids import AuthorKey
from hanse.core.model.network import HeadClaim, SentEntry
from tests.fakes.exchanging import ALL, Pull, Side, exchange
from tests.fakes.people import Person

if TYPE_CHECKING:
    from hanse.core.engine.engine import Engine

STRANGERS = [AuthorKey(bytes([n]) * 32) for n in range(1, 5)]


class Open:
    """Accounts that are open until the end of a test, or until closed."""

    def __init__(self) -> None:
        self.engines: list[Engine] = []

    def __call__(self, person: Person) -> Side:
        self.engines.append(person.open())
        return Side.of(self.engines[-1])

    def close(self) -> None:
        for engine in self.engines:
            engine.close()


@pytest.fixture
def opened():
    accounts = Open()
    yield accounts
    accounts.close()


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    base = tmp_path_factory.mktemp("registered")
    return {name: Person.make(base, name) for name in ("anna", "bo")}


@pytest.fixture
def anna(registered, tmp_path):
    return registered["anna"].copy(tmp_path)


@pytest.fixture
def bo(registered, tmp_path):
    return registered["bo"].copy(tmp_path)


def head_of(side: Side, seq: int | None = None) -> HeadClaim:
    with side.context.store.reads() as reads:
        row = reads.feeds.get(side.device)
        seq = row.head.seq if seq is None else seq
        return HeadClaim(side.device, seq, reads.feeds.id_at(row, seq))


def shown(side: Side) -> int:
    """Return up to which seq a Peer is shown the Feed of ``side``."""
    claims = {it.author: it.seq for it in side.replicating.frontier(STRANGERS[3], ALL)}
    return claims.get(side.device, 0)


def write(side: Side, text: str = "hello") -> SentEntry:
    """Write a public Entry of one's own; return it as it would be sent."""
    context = side.context
    with context.store.unit_of_work() as uow:
        body = Follow1(salt=context.body_salt(), identity=text.encode().ljust(32), weight=1)
        entry = context.append_own(uow, body)
        uow.commit()
    return SentEntry(entry.header_bytes, entry.signature)


# --- held back ---------------------------------------------------------------------------------


def test_a_new_device_shows_itself_after_one_peer_that_knows_nothing_of_it(opened, anna):
    side = opened(anna)
    assert shown(side) == 0
    assert side.replicating.own_hint() is None
    assert side.replicating.judge_own_head(STRANGERS[0], None) is OwnHead.ABSENT
    assert shown(side) == head_of(side).seq
    assert side.replicating.own_hint() is not None


def test_what_left_may_leave_again_after_a_start_and_news_are_held_back(opened, anna, bo):
    with anna.open() as engine:
        exchange(Side.of(engine), opened(bo))
        left = head_of(Side.of(engine)).seq
    side = opened(anna)
    write(side)
    assert shown(side) == left
    assert not side.replicating.confirmation().may_leave


@pytest.mark.parametrize("peers", [1, 2])
def test_who_has_spoken_to_peers_before_is_not_let_go_by_one_or_two_that_forgot(
    opened, anna, bo, peers
):
    with anna.open() as engine:
        exchange(Side.of(engine), opened(bo))
    side = opened(anna)
    for device in STRANGERS[:peers]:
        side.replicating.judge_own_head(device, None)
        side.replicating.judge_own_head(device, None)
    view = side.replicating.confirmation()
    assert (view.may_leave, view.has_left, view.needed) == (False, True, 3)
    assert view.absent_at == tuple(STRANGERS[:peers])


def test_three_peers_that_hold_nothing_let_it_go(opened, anna, bo):
    with anna.open() as engine:
        exchange(Side.of(engine), opened(bo))
    side = opened(anna)
    write(side)
    for device in STRANGERS[:3]:
        side.replicating.judge_own_head(device, None)
    assert shown(side) == head_of(side).seq


def test_a_peer_that_holds_a_prefix_lets_it_go(opened, anna, bo):
    other = opened(bo)
    with anna.open() as engine:
        exchange(Side.of(engine), other)
    side = opened(anna)
    write(side)
    pull = Pull(side, other).run()
    assert pull.own_head is OwnHead.CONFIRMED
    assert side.replicating.confirmation().confirmed_by == other.device
    Pull(other, side).run()
    assert other.ids()[side.device] == side.ids()[side.device]


def test_what_was_held_back_is_told_once_it_may_leave(opened, anna, bo):
    """The cursor of whoever asked meanwhile does not pass over it."""
    other = opened(bo)
    with anna.open() as engine:
        exchange(Side.of(engine), other)
    side = opened(anna)
    write(side)
    Pull(other, side).run()
    assert len(other.ids()[side.device]) < len(side.ids()[side.device])
    side.replicating.confirm_by_hand()
    assert not Pull(other, side).run().reconciled
    assert other.ids()[side.device] == side.ids()[side.device]


def test_a_person_may_say_that_no_other_copy_runs(opened, anna, bo):
    with anna.open() as engine:
        exchange(Side.of(engine), opened(bo))
    side = opened(anna)
    write(side)
    side.replicating.confirm_by_hand()
    assert side.replicating.confirmation().by_hand
    assert shown(side) == head_of(side).seq


def test_who_compares_now_goes_on_before_what_is_held_back(opened, anna, bo):
    """Else it would be told to nobody who compared meanwhile, before the next one is written."""
    with anna.open() as engine:
        exchange(Side.of(engine), opened(bo))
    side = opened(anna)
    before = side.replicating.greeting(STRANGERS[0]).newest_n
    write(side)
    assert side.replicating.greeting(STRANGERS[0]).newest_n == before
    side.replicating.confirm_by_hand()
    assert side.replicating.greeting(STRANGERS[0]).newest_n == before + 1


def test_post_is_held_back_like_the_feed(opened, anna, bo):
    with anna.open() as engine:
        exchange(Side.of(engine), opened(bo))
    side = opened(anna)
    write(side)
    with side.context.store.reads() as reads:
        row = reads.feeds.get(side.device)
        old, new = (reads.arrivals.number_at(row, seq) for seq in (1, row.head.seq))
    assert side.replicating.may_leave(old)
    assert not side.replicating.may_leave(new)
    side.replicating.confirm_by_hand()
    assert side.replicating.may_leave(new)


def test_the_marks_are_on_disk_before_anything_leaves(opened, anna):
    side = opened(anna)
    config, head = anna.home.config, head_of(side)
    side.replicating.judge_own_head(STRANGERS[0], None)
    assert LeftMark(config, side.device).read() is None
    side.replicating.own_hint()
    for mark in (Highwater, LeftMark):
        assert mark(config, side.device).read() == (head.seq, head.entry_id)


def test_a_file_that_carries_entries_away_does_not_count_as_a_peer(opened, anna, tmp_path):
    with anna.open() as engine:
        engine.ledger.export(tmp_path / "anna.hanse-feed")
    side = opened(anna)
    assert not side.replicating.confirmation().has_left
    assert side.replicating.confirmation().needed == 1


# --- stopped -----------------------------------------------------------------------------------


@pytest.fixture
def copied(opened, anna, bo, tmp_path):
    """Set Anna's folders back in time after Bo got more from them."""
    other = opened(bo)
    with anna.open() as engine:
        exchange(Side.of(engine), other)
    shutil.copytree(anna.home.folder.parent, tmp_path / "kept")
    with anna.open() as engine:
        side = Side.of(engine)
        write(side, "what the copy does not know")
        exchange(side, other)
        real = head_of(side)
    # In place, so that the mark of the folder still fits, as after a machine was rolled back.
    for kept in (tmp_path / "kept").rglob("*"):
        if kept.is_file() and kept.name not in {"device.mark", "hanse.lock"}:
            target = anna.home.folder.parent / kept.relative_to(tmp_path / "kept")
            target.write_bytes(kept.read_bytes())
    for wal in anna.home.folder.glob("*-wal"):
        if not (tmp_path / "kept" / "data" / wal.name).exists():
            wal.unlink()
    return opened(anna), other, real


def test_a_rolled_back_folder_stops_when_a_peer_shows_what_it_had_sent(copied, anna):
    side, other, real = copied
    assert side.context.copy_state.may_sign
    mine = write(side, "in the place of what was sent")
    pull = Pull(side, other).run()
    assert pull.own_head is OwnHead.ASK
    assert pull.own_claim_held
    assert side.context.copy_state is CopyState.STALE
    with pytest.raises(CopiedDisk):
        write(side)
    header, sig = ShownHeader(anna.home.config, side.device).read()
    assert header != mine.header
    assert parse_entry(header, sig).entry_id == real.entry_id


def test_what_was_written_meanwhile_never_becomes_a_fork(copied):
    side, other, _ = copied
    write(side, "in the place of what was sent")
    exchange(side, other)
    for it in (side, other):
        with it.context.store.reads() as reads:
            assert reads.forks.count() == 0
            assert reads.feeds.get(side.device).frozen_seq is None


def test_the_stop_survives_a_restart(copied, anna, opened):
    side, other, _ = copied
    Pull(side, other).run()
    opened.close()
    again = opened(anna)
    assert again.context.copy_state is CopyState.STALE
    assert again.replicating.confirmation().stale
    with pytest.raises(CopiedDisk):
        write(again)


def test_an_own_entry_from_heads_stops_as_well(copied):
    side, other, _ = copied
    pull = Pull(side, other)
    side.meet(other)
    page = other.replicating.heads_since(side.device, 0, ALL, 4096)
    pull.pull(page.rows, None)
    assert side.context.copy_state is CopyState.STALE


def test_a_fork_proof_against_us_stops_us(opened, anna):
    side = opened(anna)
    mine = write(side)
    kept = parse_entry(mine.header, mine.sig)
    signer = side.context.unlocked().device_signer
    raw = encode(msgspec.structs.replace(kept.header, time_ms=kept.header.time_ms + 1))
    thief = parse_entry(raw, signer.sign(PREFIX_ENTRY, raw))
    fork = fork_of(CheckedEntry(kept), CheckedEntry(thief))
    taken = side.replicating.take_fork(STRANGERS[0], fork.proof)
    assert not taken.faults
    assert side.context.copy_state is CopyState.STALE


def test_a_bare_word_changes_nothing(opened, anna):
    side = opened(anna)
    head = head_of(side)
    claim = HeadClaim(side.device, head.seq + 5, b"\7" * 32)
    assert side.replicating.judge_own_head(STRANGERS[0], claim) is OwnHead.ASK
    assert side.replicating.own_head_shown(STRANGERS[0], None) is False
    assert side.context.copy_state.may_sign
    assert not side.replicating.confirmation().may_leave


@pytest.mark.parametrize("what", ["another key", "no signature", "what is held"])
def test_an_entry_that_proves_nothing_changes_nothing(opened, anna, bo, what):
    side, other = opened(anna), opened(bo)
    entry = write(other if what == "another key" else side)
    if what == "no signature":
        entry = SentEntry(entry.header[:-1] + b"\0", entry.sig)
    assert side.replicating.own_head_shown(STRANGERS[0], entry) is False
    assert side.context.copy_state.may_sign


def test_an_unproven_fork_is_the_peers_fault(opened, anna):
    side = opened(anna)
    assert side.replicating.take_fork(STRANGERS[0], b"\0" * 40).faults == (Fault.UNPROVEN,)
