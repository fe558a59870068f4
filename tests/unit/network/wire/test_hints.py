from __future__ import annotations

import random

import pytest

from hanse.core.errors import RejectedEntry
from hanse.core.ledger.codec import encode
from hanse.core.limits import HINT_AUTHORS_REMEMBERED_MAX, HINT_SIZE_BYTES_MAX
from hanse.core.model.network import SentEntry
from hanse.network.wire.hints import (
    AUTHOR_INTERVAL_MS,
    HintRates,
    read_fork_hint,
    read_hint,
    send_interval_ms,
    write_hint,
)
from tests.fakes.author import Author


@pytest.fixture(scope="module")
def entry():
    return Author(1).root_entries[0]


def test_a_hint_brings_the_header_and_its_signature(entry):
    raw = write_hint(SentEntry(entry.header_bytes, entry.signature))
    assert read_hint(raw).entry_id == entry.entry_id
    assert read_hint(raw).body is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff" * 20,
        encode([2, b"h", bytes(64)]),
        encode([1, b"h", bytes(64)]),
        encode([1]),
        encode([1, b"h" * 2000, bytes(64)]),
        bytes(HINT_SIZE_BYTES_MAX + 1),
    ],
    ids=["empty", "junk", "version", "no header", "short", "long header", "too big"],
)
def test_what_is_no_hint_is_rejected(raw):
    with pytest.raises(RejectedEntry):
        read_hint(raw)
    with pytest.raises(RejectedEntry):
        read_fork_hint(raw)


def test_a_hint_with_another_signature_is_rejected(entry):
    with pytest.raises(RejectedEntry) as caught:
        read_hint(write_hint(SentEntry(entry.header_bytes, bytes(64))))
    assert caught.value.reason == "bad_signature"


def test_any_changed_byte_of_a_hint_is_rejected(entry):
    raw = write_hint(SentEntry(entry.header_bytes, entry.signature))
    rng = random.Random(7)
    for place in rng.sample(range(len(raw)), 60):
        changed = bytearray(raw)
        changed[place] ^= 1 << rng.randrange(8)
        with pytest.raises(RejectedEntry):
            read_hint(bytes(changed))


def test_one_author_is_passed_on_once_in_ten_seconds_and_never_backwards():
    rates = HintRates()
    assert rates.may_pass(b"a", 5, 0)
    assert not rates.may_pass(b"a", 6, AUTHOR_INTERVAL_MS - 1)
    assert rates.may_pass(b"b", 1, AUTHOR_INTERVAL_MS - 1)
    assert not rates.may_pass(b"a", 5, AUTHOR_INTERVAL_MS)
    assert rates.may_pass(b"a", 6, AUTHOR_INTERVAL_MS)
    assert rates.active(AUTHOR_INTERVAL_MS) == 2


def test_only_so_many_authors_are_remembered():
    rates = HintRates()
    for number in range(HINT_AUTHORS_REMEMBERED_MAX + 10):
        assert rates.may_pass(number.to_bytes(4, "big"), 1, number)
    assert rates.active(HINT_AUTHORS_REMEMBERED_MAX) == HINT_AUTHORS_REMEMBERED_MAX
    assert rates.may_pass(bytes(4), 1, HINT_AUTHORS_REMEMBERED_MAX)  # forgotten, so it is news


def test_a_large_network_hints_more_seldom():
    assert send_interval_ms(3) == 30_000
    assert send_interval_ms(1000) == 200_000
