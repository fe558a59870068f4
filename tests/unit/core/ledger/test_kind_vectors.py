"""The golden vectors of codec and kinds: run, and made again byte for byte."""

from __future__ import annotations

import json

import pytest

from hanse.core.errors import RejectedEntry
from hanse.core.ledger.codec import decode_any, encode
from hanse.core.ledger.kinds import KINDS, encode_body, parse_body
from tests.vectors import make_codec, make_kinds

CODEC = json.loads(make_codec.FILE.read_text(encoding="utf-8"))
KIND_ROWS = json.loads(make_kinds.FILE.read_text(encoding="utf-8"))["kinds"]


def test_every_kind_has_vectors():
    assert [row["kind"] for row in KIND_ROWS] == list(KINDS)
    for row in KIND_ROWS:
        assert {it["reason"] for it in row["invalid"]} == {"not_canonical", "bad_shape"}


@pytest.mark.parametrize("row", KIND_ROWS, ids=lambda row: row["kind"])
def test_the_valid_body_is_read_and_written_again(row):
    raw = bytes.fromhex(row["valid"]["hex"])
    body = parse_body(row["kind"], raw)
    assert encode_body(body) == raw
    assert make_kinds.readable(make_kinds.plain(body)) == row["valid"]["value"]


@pytest.mark.parametrize("row", KIND_ROWS, ids=lambda row: row["kind"])
def test_every_broken_body_is_refused_with_its_reason(row):
    for broken in row["invalid"]:
        with pytest.raises(RejectedEntry) as caught:
            parse_body(row["kind"], bytes.fromhex(broken["hex"]))
        assert (broken["note"], caught.value.reason) == (broken["note"], broken["reason"])


@pytest.mark.parametrize("row", CODEC["valid"], ids=lambda row: row["note"])
def test_a_valid_encoding_is_read_and_written_again(row):
    raw = bytes.fromhex(row["hex"])
    value = decode_any(raw)
    assert make_kinds.readable(value) == row["value"]
    assert encode(value) == raw


@pytest.mark.parametrize("row", CODEC["hostile"], ids=lambda row: row["note"])
def test_a_hostile_encoding_is_refused_with_its_reason(row):
    with pytest.raises(RejectedEntry) as caught:
        decode_any(bytes.fromhex(row["hex"]))
    assert caught.value.reason == row["reason"]


@pytest.mark.parametrize("maker", [make_codec, make_kinds], ids=["codec", "kinds"])
def test_the_vectors_can_be_made_again(maker):
    assert maker.FILE.read_text(encoding="utf-8") == maker.document()
