"""Whatever comes, whole or in pieces: messages or ``ProtocolViolation``, nothing else."""

from __future__ import annotations

import random

import pytest

from hanse.network.wire.frames import FrameReader, ProtocolViolation
from hanse.network.wire.sync import Phase
from hanse.network.wire.sync_messages import (
    FINGERPRINT,
    LIST,
    MESSAGES,
    SKIP,
    Bodies,
    BodyItem,
    Deliver,
    Entries,
    ForkShown,
    Got,
    HeadPlace,
    Heads,
    Hello,
    InterestMap,
    Item,
    Place,
    Recon,
    ReconRange,
    ReconRow,
    Row,
    Seen,
    Sorry,
    Want,
    WantBodies,
    WantRange,
    write,
)
from tests.fakes.sync_pair import MemoryLedger, Side, entry, key

X = entry(key("x"), 1)
EVERY = [
    Hello(
        1,
        bytes(16),
        bytes(16),
        7,
        Place(bytes(16), 3),
        HeadPlace(2, bytes(32)),
        InterestMap((key("x"),), ("note/1", "profile/1"), 100),
    ),
    Heads((Row(key("x"), 1, 3, bytes(32)), Row(key("y"), 2, 2, bytes(32))), 9, more=True),
    Recon(
        (
            ReconRange(b"\1", SKIP, None),
            ReconRange(b"\2\2", FINGERPRINT, bytes(16)),
            ReconRange(None, LIST, (ReconRow(b"\3" * 32, 4, bytes(32)),)),
        )
    ),
    Want(1, (WantRange(key("x"), 1, 9),), with_bodies=True),
    Entries(1, (Item(X.header, X.sig, X.body), Item(X.header, X.sig, None)), last=True),
    WantBodies(2, (bytes(32), bytes([1] * 32))),
    Bodies(2, (BodyItem(bytes(32), b"body"), BodyItem(bytes([1] * 32), None)), last=True),
    Deliver(X.header, X.sig, X.body),
    Got(bytes(32)),
    ForkShown(b"proof"),
    Sorry("busy", "too much", 5000),
    Seen(12),
]


def names(message):
    return type(message).__name__


@pytest.mark.parametrize("message", EVERY, ids=names)
def test_every_message_comes_as_it_was_sent_in_any_portions(message):
    frame = write(message)
    (whole,) = FrameReader(MESSAGES).feed(frame)
    reader = FrameReader(MESSAGES)
    single = [framed for byte in frame for framed in reader.feed(bytes([byte]))]
    assert whole.message == message
    assert [framed.message for framed in single] == [message]
    assert reader.is_between_frames


@pytest.mark.parametrize("message", EVERY, ids=names)
def test_a_frame_that_breaks_off_is_no_message(message):
    frame = write(message)
    for end in range(len(frame)):
        reader = FrameReader(MESSAGES)
        assert reader.feed(frame[:end]) == []
        assert reader.held_bytes == end


def mutants(message, chance, count):
    raw = write(message)[4:]
    for _ in range(count):
        mutant = bytearray(raw)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(mutant))
            match chance.randrange(3):
                case 0:
                    mutant[place] = chance.randrange(256)
                case 1:
                    mutant[place:place] = chance.randbytes(chance.randint(1, 4))
                case _:
                    del mutant[place : place + chance.randint(1, 4)]
            mutant = mutant or bytearray(b"\0")
        yield len(mutant).to_bytes(4, "big") + mutant


@pytest.mark.parametrize("message", EVERY, ids=names)
def test_mutants_are_messages_or_violations(message):
    chance = random.Random(names(message))
    for frame in mutants(message, chance, 300):
        try:
            (framed,) = FrameReader(MESSAGES).feed(frame)
        except ProtocolViolation:
            continue
        assert isinstance(framed.message, tuple(type(it) for it in EVERY))


def live(chance):
    """An honest side somewhere in a session."""
    ledger = MemoryLedger("anna")
    ledger.write(ledger.device, 3)
    for author in range(40):
        ledger.write(f"f{author}")
    exchange = ledger.exchange(key("evil"), is_dialler=chance.random() < 0.5)
    side = Side(ledger, exchange)
    side.add(exchange.start())
    side.work()
    if chance.random() < 0.9:
        feed(side, write(EVERY[0]))
    if chance.random() < 0.5:
        feed(side, write(Recon(())))
    if chance.random() < 0.5:
        feed(side, write(Heads((Row(key("x"), 1, 3, bytes(32)),), 9, more=True)))
    return side


def feed(side, data):
    side.add(side.exchange.feed(data))
    side.work()


@pytest.mark.parametrize("seed", range(8))
def test_a_live_session_ends_cleanly_whatever_comes(seed):
    chance = random.Random(seed)
    for _ in range(60):
        side = live(chance)
        for _ in range(12):
            message = chance.choice(EVERY)
            (frame,) = mutants(message, chance, 1) if chance.random() < 0.4 else [write(message)]
            if chance.random() < 0.1:
                frame = chance.randbytes(chance.randint(1, 60))
            for byte in (frame[:7], frame[7:]):
                feed(side, byte)
            if side.exchange.phase is Phase.CLOSED:
                assert side.closed is not None
                break
        assert len(side.blamed) <= 12
        assert sum(map(len, side.frames)) < 1_000_000
