"""The ``.hanse-trial`` file: what it holds, in which order, and everything else refused."""

from __future__ import annotations

from hashlib import sha256

import pytest

from hanse.core import limits
from hanse.core.engine.trying import file as trial_file
from hanse.core.engine.trying.file import (
    MAGIC,
    Message,
    TrialFile,
    TrialFileDamaged,
    is_trial_file,
    read_trial_file,
    write_trial_file,
)
from hanse.core.ledger.codec import encode
from tests.fakes.shop import said

SENDER, TRIAL = b"s" * 32, b"t" * 32
MESSAGES = (Message(b"one", b"1" * 64), Message(b"two", b"2" * 64))


def frame(value):
    raw = encode(value)
    return len(raw).to_bytes(4, "big") + raw


def written(*frames):
    """Write frames between a right beginning and a right end."""
    raw = MAGIC + b"".join(map(frame, (["trial", 1, SENDER, TRIAL], *frames)))
    return raw + frame(["end", len(frames) + 1, sha256(raw).digest()])


def refusal(raw):
    with pytest.raises(TrialFileDamaged) as caught:
        read_trial_file(raw)
    said(caught.value)
    return str(caught.value)


def test_what_is_written_is_read_back():
    blob = b"sealed bytes"
    file = TrialFile(SENDER, TRIAL, (), {sha256(blob).digest(): blob}, MESSAGES, "too_fast")
    raw = write_trial_file(file)
    assert is_trial_file(raw)
    assert read_trial_file(raw) == file


def test_every_cut_and_every_changed_byte_is_noticed():
    raw = write_trial_file(TrialFile(SENDER, TRIAL, messages=MESSAGES))
    for size in range(len(raw)):
        refusal(raw[:size])
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 0x40
        refusal(bytes(changed))
    assert "bytes follow the end" in refusal(raw + b"\0")


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([["message", b"x", b"1" * 64], ["blob", b"late"]], "comes too late"),
        ([["message", b"x", b"1" * 63]], "a signature of 63 bytes"),
        ([["blob", "text"]], "has another shape"),
        ([["entry", b"no header", b"1" * 64, None]], "not_canonical"),
        ([["note", b"x"]], "of no known sort"),
        ([["stopped", "Too Fast"]], "has another shape"),
        ([["stopped", "one"], ["stopped", "two"]], "has another shape"),
        ([{"trial": 1}], "not a list"),
    ],
)
def test_a_frame_that_does_not_belong_there_is_refused(frames, expected):
    assert expected in refusal(written(*frames))


def test_the_beginning_names_format_sender_and_trial():
    assert "not a .hanse-trial" in refusal(b"HANSEFEED\x01")
    assert "format 2" in refusal(MAGIC[:-1] + b"\2")
    assert "version 2" in refusal(MAGIC + frame(["trial", 2, SENDER, TRIAL]))
    assert "32 bytes" in refusal(MAGIC + frame(["trial", 1, SENDER, b"short"]))
    assert "begin with its sender" in refusal(MAGIC + frame(["end", 0, bytes(32)]))


def test_limits_hold_before_anything_is_kept(monkeypatch):
    monkeypatch.setattr(trial_file, "TRIAL_FILE_MESSAGES_MAX", 1)
    assert "more than 1 messages" in refusal(
        written(*(["message", one.raw, one.signature] for one in MESSAGES))
    )
    monkeypatch.setattr(trial_file, "TRIAL_FILE_BLOBS_MAX", 1)
    assert "more than 1 blobs" in refusal(written(["blob", b"a"], ["blob", b"b"]))
    size = limits.TRIAL_FILE_FRAME_SIZE_BYTES_MAX + 1
    assert f"frame of {size} bytes" in refusal(MAGIC + size.to_bytes(4, "big"))
    monkeypatch.setattr(trial_file, "TRIAL_FILE_SIZE_BYTES_MAX", 10)
    assert "limit 10" in refusal(written())
