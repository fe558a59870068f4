"""The ``.hanse-feed`` file: what was written is read, and any fault is named by frame and byte."""

from __future__ import annotations

import io
from hashlib import sha256

import pytest

from hanse.core.ledger.codec import encode
from hanse.core.ledger.entry import CheckedEntry
from hanse.core.ledger.feed_file import (
    MAGIC,
    ClaimedHead,
    FeedFileDamaged,
    FeedFileReader,
    is_feed_file,
    write_feed_file,
)
from hanse.core.limits import FEED_FILE_FRAME_SIZE_BYTES_MAX, FEEDS_IN_FILE_MAX, SEQ_MAX
from tests.fakes.author import Author

HEAD = [b"\1" * 32, 1, b"\2" * 32]


class CountingStream(io.BytesIO):
    """Remembers the largest piece that was asked for."""

    largest = 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0
        self.largest = max(self.largest, size)
        return super().read(size)


def some_entries() -> list[CheckedEntry]:
    author = Author(1)
    device = author.device()
    device.append("profile/1")
    entries = [*author.root_entries, *device.entries]
    return [*entries[:-1], CheckedEntry(entries[-1].without_body())]


def heads_of(entries: list[CheckedEntry]) -> list[ClaimedHead]:
    last = {entry.author: entry for entry in entries}
    return [ClaimedHead(it.author, it.seq, it.entry_id) for it in last.values()]


def written(entries: list[CheckedEntry]) -> bytes:
    stream = io.BytesIO()
    assert write_feed_file(stream, heads_of(entries), entries) == len(entries)
    return stream.getvalue()


def framed(value: object) -> bytes:
    raw = value if isinstance(value, bytes) else encode(value)
    return len(raw).to_bytes(4, "big") + raw


def a_file(*frames: object, heads: object = None) -> bytes:
    """Put frames after a head frame, without an end."""
    first = ["feeds", 1, [HEAD]] if heads is None else heads
    return MAGIC + framed(first) + b"".join(map(framed, frames))


def ended(raw: bytes, count: int) -> bytes:
    return raw + framed(["end", count, sha256(raw).digest()])


def read(raw: bytes) -> list:
    return list(FeedFileReader(io.BytesIO(raw)))


def fault_of(raw: bytes) -> tuple[int, int, str]:
    with pytest.raises(FeedFileDamaged) as caught:
        read(raw)
    error = caught.value
    assert error.values["where"] == f"frame {error.frame}, byte {error.offset}"
    return error.frame, error.offset, error.values["reason"]


def test_what_was_written_is_read():
    entries = some_entries()
    raw = written(entries)
    assert is_feed_file(raw)
    reader = FeedFileReader(io.BytesIO(raw))
    assert list(reader.heads) == heads_of(entries)
    found = list(reader)
    assert [item.entry for item in found] == entries
    assert [item.frame for item in found] == [2, 3, 4]
    for item in found:
        header = item.entry.header_bytes
        assert header in raw[item.offset : item.offset + len(header) + 20]


def test_a_file_of_nothing_is_a_file():
    raw = written([])
    reader = FeedFileReader(io.BytesIO(raw))
    assert reader.heads == ()
    assert list(reader) == []


def test_the_layout_is_the_one_of_the_protocol():
    entries = some_entries()
    frames = [["entry", it.header_bytes, it.signature, it.body] for it in entries]
    heads = ["feeds", 1, [[it.author, it.seq, it.entry_id] for it in heads_of(entries)]]
    assert written(entries) == ended(a_file(*frames, heads=heads), len(entries))


def test_every_truncation_is_named_with_the_byte_where_it_ends():
    raw = written(some_entries())
    starts = {0, len(MAGIC)}
    place = len(MAGIC)
    while place < len(raw):
        place += 4 + int.from_bytes(raw[place : place + 4], "big")
        starts.add(place)
    assert place == len(raw)
    starts |= {start + 4 for start in starts if start >= len(MAGIC)}
    for size in range(len(raw)):
        _, offset, reason = fault_of(raw[:size])
        assert reason.startswith("the file ends after ")
        assert offset == max(start for start in starts if start <= size)


def test_no_changed_byte_goes_unnoticed():
    raw = written(some_entries())
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1
        fault_of(bytes(changed))


@pytest.mark.parametrize("raw", [b"HANSEFORK\x01", b"%PDF-1.7\n\n", bytes(10)])
def test_another_file_is_no_feed_file(raw):
    assert not is_feed_file(raw)
    assert fault_of(raw) == (0, 0, "this is not a .hanse-feed file")


def test_a_later_format_is_named():
    raw = MAGIC[:-1] + b"\x02" + written([])[len(MAGIC) :]
    assert is_feed_file(raw)
    assert fault_of(raw) == (0, 9, "format 2, known 1")


@pytest.mark.parametrize("size", [0, FEED_FILE_FRAME_SIZE_BYTES_MAX + 1, 2**32 - 1])
def test_a_frame_is_bounded_before_it_is_read(size):
    stream = CountingStream(MAGIC + size.to_bytes(4, "big") + bytes(64))
    with pytest.raises(FeedFileDamaged) as caught:
        FeedFileReader(stream)
    assert caught.value.values["reason"] == f"frame of {size} bytes, limit 262144"
    assert (caught.value.frame, caught.value.offset) == (1, 10)
    assert stream.largest == len(MAGIC)


def test_the_largest_frame_is_read():
    raw = a_file([bytes(FEED_FILE_FRAME_SIZE_BYTES_MAX - 6)])
    assert fault_of(raw)[2] == "a frame is neither an entry nor the end"


@pytest.mark.parametrize("frame", [b"\xff", b"\x81", b"\x82\x01\x18\x01", b"\x81\xfb" + bytes(8)])
def test_a_frame_that_is_not_canonical_or_no_value_of_ours_is_named(frame):
    number, offset, reason = fault_of(a_file(frame))
    assert (number, offset) == (2, len(a_file()))
    assert reason.startswith(("not_canonical: ", "bad_shape: "))


@pytest.mark.parametrize("frame", [{}, [], 1, "entry", None])
def test_a_frame_that_is_no_list_is_named(frame):
    assert fault_of(a_file(frame)) == (2, len(a_file()), "a frame is not a list")


@pytest.mark.parametrize(
    "heads",
    [
        ["feed", 1, []],
        ["feeds", "1", []],
        ["feeds"],
        ["entry", b"", b"", None],
        ["end", 0, bytes(32)],
    ],
    ids=str,
)
def test_a_file_begins_with_its_heads(heads):
    assert fault_of(a_file(heads=heads)) == (1, 10, "the file does not begin with its heads")


@pytest.mark.parametrize("heads", [["feeds", 2, []], ["feeds", 2], ["feeds", 0, [], None]])
def test_heads_of_another_version_are_named(heads):
    assert fault_of(a_file(heads=heads)) == (
        1,
        10,
        f"feeds frame version {heads[1]}, known 1",
    )


@pytest.mark.parametrize(
    "head",
    [
        [],
        HEAD[:2],
        [*HEAD, 1],
        {},
        None,
        [b"\1" * 31, 1, b"\2" * 32],
        [b"\1" * 32, 1, b"\2" * 33],
        [b"\1" * 32, 0, b"\2" * 32],
        [b"\1" * 32, SEQ_MAX + 1, b"\2" * 32],
        [b"\1" * 32, "1", b"\2" * 32],
        ["a" * 32, 1, b"\2" * 32],
    ],
    ids=str,
)
def test_a_head_that_is_none_is_named(head):
    assert fault_of(a_file(heads=["feeds", 1, [HEAD, head]])) == (
        1,
        10,
        "a head is not [author, seq, id]",
    )


def test_too_many_heads_are_refused():
    many = [HEAD] * (FEEDS_IN_FILE_MAX + 1)
    assert fault_of(a_file(heads=["feeds", 1, many])) == (1, 10, "2001 feeds, limit 2000")
    most = ended(a_file(heads=["feeds", 1, many[1:]]), 0)
    assert len(FeedFileReader(io.BytesIO(most)).heads) == FEEDS_IN_FILE_MAX


@pytest.mark.parametrize(
    "frame",
    [
        ["entry"],
        ["entry", b"", b""],
        ["entry", b"", b"", None, None],
        ["entry", "", b"", None],
        ["entry", b"", None, None],
        ["entry", b"", b"", ""],
        ["end"],
        ["end", 0],
        ["end", "0", bytes(32)],
        ["end", 0, None],
        ["feeds", 1, []],
        ["haiku"],
    ],
    ids=str,
)
def test_a_frame_of_another_kind_is_named(frame):
    assert fault_of(a_file(frame)) == (
        2,
        len(a_file()),
        "a frame is neither an entry nor the end",
    )


def test_an_entry_without_form_is_named_with_its_rule():
    good = some_entries()[0]
    frames = [["entry", good.header_bytes, good.signature, good.body]]
    for header, signature, reason in (
        (b"\xff", bytes(64), "not_canonical: "),
        (b"\x80", bytes(64), "bad_shape: "),
        (good.header_bytes, bytes(63), "too_big: signature of 63 bytes, expected 64"),
        (bytes(1025), bytes(64), "too_big: header of 1025 bytes, limit 1024"),
    ):
        number, offset, said = fault_of(a_file(*frames, ["entry", header, signature, None]))
        assert (number, offset) == (3, len(a_file(*frames)))
        assert said.startswith(reason)


def test_an_end_that_counts_otherwise_is_named():
    raw = a_file()
    assert fault_of(ended(raw, 1)) == (2, len(raw), "0 entries, the end says 1")


def test_an_end_with_another_digest_is_named():
    raw = a_file()
    wrong = raw + framed(["end", 0, bytes(32)])
    assert fault_of(wrong) == (2, len(raw), "the digest of the file is another one")


def test_an_entry_that_was_taken_out_is_noticed():
    entries = some_entries()
    raw = written(entries)
    frame = framed(["entry", entries[-1].header_bytes, entries[-1].signature, entries[-1].body])
    assert frame in raw
    assert fault_of(raw.replace(frame, b""))[2] == "2 entries, the end says 3"


@pytest.mark.parametrize("tail", [b"\0", framed(["end", 0, bytes(32)]), written([])])
def test_bytes_after_the_end_are_named(tail):
    raw = written([])
    assert fault_of(raw + tail) == (2, len(raw), "bytes follow the end")


def test_entries_are_given_before_the_fault_that_follows_them():
    raw = written(some_entries())
    found = []
    with pytest.raises(FeedFileDamaged):
        found.extend(FeedFileReader(io.BytesIO(raw[:-1])))
    stream = iter(FeedFileReader(io.BytesIO(raw[:-1])))
    assert [next(stream).entry.seq for _ in range(3)] == [1, 1, 2]
    with pytest.raises(FeedFileDamaged):
        next(stream)
