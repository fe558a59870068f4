"""Backup frames: what is read back, and how every kind of damage is found, and where."""

from __future__ import annotations

import io
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.crypto.passwords import seal_secret
from hanse.core.keystore.backup_file import (
    BackupDamaged,
    BackupTooNew,
    BackupWriter,
    BackupWrongPhrase,
    is_backup,
    read_backup,
)
from hanse.core.ledger.codec import encode
from hanse.core.limits import BACKUP_FRAME_SIZE_BYTES_MAX
from tests.fakes.chance import SeededChance

KEY = b"\x0b" * 32
EPOCH = 2
ITEMS = [("entry", b"one"), ("entry", b"two"), ("settings", b"")]


def write(items=ITEMS, seed=1):
    stream = io.BytesIO()
    writer = BackupWriter(stream, EPOCH, KEY, SeededChance(seed))
    for kind, payload in items:
        writer.add(kind, payload)
    writer.close()
    return stream.getvalue()


def read(raw, key=KEY):
    return list(read_backup(io.BytesIO(raw), lambda _epoch: key))


def frames(raw):
    """Split a backup into its header and its frames."""
    parts, place = [raw[:13]], 13
    while place < len(raw):
        end = place + 4 + struct.unpack(">I", raw[place : place + 4])[0]
        parts.append(raw[place:end])
        place = end
    return parts


def frame(*values):
    box = seal_secret(KEY, encode(list(values)), bytes(24))
    return struct.pack(">I", len(box)) + box


@given(
    st.lists(
        st.tuples(st.text("abcdefgh", min_size=1, max_size=20), st.binary(max_size=200)),
        max_size=8,
    )
)
def test_what_was_written_is_read(items):
    assert read(write(items)) == items


def test_file_is_the_documented_one():
    raw = write()
    assert raw[:13] == b"HANSEBAK\x01\x00\x00\x00\x02"
    assert len(frames(raw)) == 1 + 1 + len(ITEMS) + 1


def test_backup_is_known_by_its_first_bytes():
    assert is_backup(write()[:13])
    assert not is_backup(b"HANSEKEY\x01")


def test_key_is_asked_for_by_the_epoch_in_the_header():
    asked = []

    def key_for(epoch):
        asked.append(epoch)
        return KEY

    assert list(read_backup(io.BytesIO(write()), key_for)) == ITEMS
    assert asked == [EPOCH]


def test_nothing_of_an_item_can_be_read_in_the_file():
    raw = write([("entry", b"marker " * 20)])
    assert b"marker" not in raw
    assert b"entry" not in raw


def test_stream_that_gives_one_byte_at_a_time_is_read():
    class Drop(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 1))

    assert list(read_backup(Drop(write()), lambda _epoch: KEY)) == ITEMS


def test_other_phrase_is_told_from_damage():
    with pytest.raises(BackupWrongPhrase) as caught:
        read(write(), key=bytes(32))
    assert caught.value.values == {"epoch": EPOCH}


def test_later_version_is_too_new():
    raw = write()
    with pytest.raises(BackupTooNew) as caught:
        read(raw[:8] + b"\x02" + raw[9:])
    assert caught.value.values == {"found": 2, "known": 1}


@pytest.mark.parametrize("raw", [b"", b"HANSEBA", b"HANSEBAK\x01\0\0\0", b"hansebak\x01\0\0\0\0"])
def test_other_files_are_refused_at_their_first_byte(raw):
    with pytest.raises(BackupDamaged) as caught:
        read(raw)
    assert caught.value.values["position"] == 0


def test_every_cut_is_found():
    raw = write()
    for size in range(len(raw)):
        with pytest.raises(BackupDamaged):
            read(raw[:size])


def test_cut_between_frames_is_named_as_missing_end():
    raw = b"".join(frames(write())[:-1])
    with pytest.raises(BackupDamaged) as caught:
        read(raw)
    assert caught.value.values == {
        "position": len(raw),
        "detail": "cut off before the end frame",
    }


def test_every_changed_byte_is_found():
    raw = write()
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        # The epoch is only found by the key it asks for; here each epoch has its own.
        with pytest.raises((BackupDamaged, BackupWrongPhrase, BackupTooNew)):
            list(
                read_backup(io.BytesIO(changed), lambda epoch: KEY if epoch == EPOCH else bytes(32))
            )


def test_damage_is_found_at_the_frame_it_is_in():
    parts = frames(write())
    position = sum(map(len, parts[:3]))
    spoiled = bytearray(parts[3])
    spoiled[-1] ^= 1
    with pytest.raises(BackupDamaged) as caught:
        read(b"".join([*parts[:3], bytes(spoiled), *parts[4:]]))
    assert caught.value.values == {"position": position, "detail": "frame does not open"}


@pytest.mark.parametrize(
    "order",
    [
        [0, 1, 2, 4, 5],  # dropped
        [0, 1, 3, 2, 4, 5],  # swapped
        [0, 1, 2, 2, 3, 4, 5],  # repeated
        [0, 1, 5],  # nothing but the end
        [0, 2, 3, 4, 5],  # no start
        [0, 1, 1, 2, 3, 4, 5],  # two starts
        [0, 1, 2, 3, 4, 5, 5],  # two ends
    ],
)
def test_frames_out_of_place_are_found(order):
    parts = frames(write())
    assert read(b"".join(parts)) == ITEMS
    with pytest.raises(BackupDamaged):
        read(b"".join(parts[index] for index in order))


def test_frame_of_another_backup_of_the_same_phrase_is_found():
    parts, others = frames(write()), frames(write(seed=2))
    with pytest.raises(BackupDamaged, match="frame of another backup"):
        read(b"".join([*parts[:3], others[3], *parts[4:]]))


def test_bytes_after_the_end_are_found():
    raw = write()
    with pytest.raises(BackupDamaged) as caught:
        read(raw + b"\0")
    assert caught.value.values["position"] == len(raw)


@pytest.mark.parametrize("length", [0, 39, 5 * 1024 * 1024, 2**32 - 1])
def test_length_no_writer_writes_is_refused_without_reading_on(length):
    head = b"".join(frames(write())[:2])
    stream = io.BytesIO(head + struct.pack(">I", length) + bytes(100))
    with pytest.raises(BackupDamaged, match=f"frame of {length} bytes"):
        list(read_backup(stream, lambda _epoch: KEY))
    assert stream.tell() == len(head) + 4


@pytest.mark.parametrize(
    "values",
    [
        (bytes(16), 0, "start"),
        (bytes(15), 0, "start", b""),
        (bytes(16), -1, "start", b""),
        (bytes(16), 0, "", b""),
        (bytes(16), 0, "start", "text"),
        (bytes(16), 0, "start", b"", b""),
        (bytes(16), 0, "entry", b""),
        (bytes(16), 1, "start", b""),
        (bytes(16), 0, "end", b""),
    ],
)
def test_sealed_frame_of_wrong_shape_is_damage(values):
    with pytest.raises(BackupDamaged):
        read(b"HANSEBAK\x01\0\0\0\0" + frame(*values))


def test_largest_item_fits():
    items = [("manifest", bytes(BACKUP_FRAME_SIZE_BYTES_MAX))]
    assert read(write(items)) == items


def test_long_backup_is_read_in_little_memory(tmp_path):
    path = tmp_path / "b.hanse-backup"
    payload = bytes(256 * 1024)
    with path.open("wb") as stream:
        writer = BackupWriter(stream, EPOCH, KEY, SeededChance(1))
        for _ in range(64):
            writer.add("blob", payload)
        writer.close()
    tracemalloc.start()
    with path.open("rb") as stream:
        count = sum(1 for _ in read_backup(stream, lambda _epoch: KEY))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 64
    assert peak < 12 * len(payload)  # of 64 payloads in the file
