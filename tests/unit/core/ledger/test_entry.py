"""One Entry: what is built and signed passes every gate, and each fault of form has its word."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest

from hanse.core.crypto.signing import PREFIX_DEVICE, PREFIX_ENTRY, Signer
from hanse.core.errors import RejectedEntry
from hanse.core.ledger.codec import encode
from hanse.core.ledger.entry import (
    PRIVATE_KINDS,
    Head,
    Header,
    body_fits,
    build_entry,
    check_entry,
    is_private_kind,
    parse_entry,
    recall_entry,
    sign_entry,
)
from hanse.core.ledger.kinds import KINDS
from hanse.core.ledger.tree import Peaks
from hanse.core.limits import (
    BODY_SIZE_BYTES_MAX,
    HEADER_SIZE_BYTES_MAX,
    REFS_MAX,
    SEQ_MAX,
    SIGNATURE_SIZE_BYTES,
)
from hanse.core.model.ids import EntryId
from tests.fakes.author import START_MS, Author

SIGNER = Signer.from_seed(bytes(32))
BODY = encode({"salt": bytes(16)})
FIELDS = [
    "version",
    "author",
    "seq",
    "prev",
    "root",
    "time_ms",
    "kind",
    "body_hash",
    "body_len",
    "refs",
]  # as they travel
GOOD = {
    "version": 1,
    "author": bytes(SIGNER.public_key),
    "seq": 2,
    "prev": b"\2" * 32,
    "root": b"\3" * 32,
    "time_ms": START_MS,
    "kind": "profile/1",
    "body_hash": b"\4" * 32,
    "body_len": 1,
    "refs": [],
}


def header_bytes(**changes: object) -> bytes:
    assert set(changes) <= set(FIELDS)
    fields = GOOD | changes
    return encode([fields[name] for name in FIELDS])


def refs(count: int) -> list[bytes]:
    return [number.to_bytes(32, "big") for number in range(1, count + 1)]


def first_entry(**changes: object):
    arguments = {"kind": "profile/1", "body": BODY, "now_ms": START_MS} | changes
    return build_entry(SIGNER.public_key, None, Peaks(), **arguments)


def refused(raw: bytes, signature: bytes = bytes(64)) -> tuple[str, str]:
    with pytest.raises(RejectedEntry) as caught:
        parse_entry(raw, signature)
    return caught.value.reason, caught.value.detail


def test_the_first_entry_names_nothing_before_it():
    unsigned = first_entry()
    assert unsigned.header == Header(
        1,
        SIGNER.public_key,
        1,
        None,
        None,
        START_MS,
        "profile/1",
        sha256(BODY).digest(),
        len(BODY),
        (),
    )
    assert unsigned.header_bytes == encode(unsigned.header)
    assert unsigned.body == BODY


def test_a_later_entry_names_its_predecessor_and_all_before_it():
    first = sign_entry(first_entry(), SIGNER)
    peaks = Peaks()
    peaks.add(first.entry_id)
    head = Head(1, first.entry_id, START_MS)
    header = build_entry(
        SIGNER.public_key, head, peaks, "follow/1", BODY, now_ms=START_MS + 1
    ).header
    assert (header.seq, header.prev, header.root) == (2, first.entry_id, peaks.root())
    assert header.time_ms == START_MS + 1


def test_a_clock_that_was_set_back_never_goes_below_the_predecessor():
    peaks = Peaks()
    peaks.add(bytes(32))
    head = Head(1, EntryId(bytes(32)), START_MS)
    early = build_entry(SIGNER.public_key, head, peaks, "follow/1", BODY, now_ms=START_MS - 99)
    assert early.header.time_ms == START_MS


def test_refs_are_sorted_and_unique_whatever_is_given():
    one, two = refs(2)
    assert first_entry(refs=[two, one, two]).header.refs == (one, two)


def test_what_is_signed_is_what_everybody_checks():
    entry = sign_entry(first_entry(), SIGNER)
    assert check_entry(entry) == entry
    assert entry.entry_id == sha256(entry.header_bytes + entry.signature).digest()
    assert (entry.author, entry.seq, entry.kind) == (SIGNER.public_key, 1, "profile/1")
    assert entry.body == BODY
    assert parse_entry(entry.header_bytes, entry.signature, BODY) == entry
    assert recall_entry(entry.header_bytes, entry.signature, BODY) == entry


def test_withholding_the_body_changes_no_other_thing():
    entry = sign_entry(first_entry(), SIGNER)
    bare = entry.without_body()
    assert bare.body is None
    assert bare.entry_id == entry.entry_id
    assert bare == parse_entry(entry.header_bytes, entry.signature)


@pytest.mark.parametrize("prefix", [PREFIX_DEVICE, b""])
def test_a_signature_made_for_another_purpose_is_refused(prefix):
    raw = header_bytes()
    with pytest.raises(RejectedEntry) as caught:
        check_entry(parse_entry(raw, SIGNER.sign(prefix, raw)))
    assert caught.value.reason == "bad_signature"
    assert check_entry(parse_entry(raw, SIGNER.sign(PREFIX_ENTRY, raw))).header.seq == 2


def test_every_bit_of_the_signature_counts():
    raw = header_bytes()
    good = SIGNER.sign(PREFIX_ENTRY, raw)
    for bit in range(8 * SIGNATURE_SIZE_BYTES):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RejectedEntry, match="bad_signature"):
            check_entry(parse_entry(raw, bytes(bad)))


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_length_is_too_big(size):
    reason, detail = refused(header_bytes(), bytes(size))
    assert reason == "too_big"
    assert detail == f"signature of {size} bytes, expected 64"


def test_a_header_above_the_limit_is_refused_before_it_is_decoded():
    assert refused(b"\xff" * (HEADER_SIZE_BYTES_MAX + 1)) == (
        "too_big",
        "header of 1025 bytes, limit 1024",
    )
    assert refused(b"\xff" * HEADER_SIZE_BYTES_MAX)[0] == "not_canonical"


def test_a_second_encoding_of_a_header_is_refused():
    raw = header_bytes(seq=2)
    place = raw.index(b"\x02\x58\x20")
    assert refused(raw[:place] + b"\x18" + raw[place:])[0] == "not_canonical"
    assert refused(raw + b"\0")[0] == "not_canonical"
    assert refused(raw[:-1])[0] == "not_canonical"
    assert refused(b"")[0] == "not_canonical"


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_named(version):
    assert refused(header_bytes(version=version)) == (
        "version",
        f"header version {version}, known 1",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"version": -1},
        {"version": 256},
        {"author": bytes(31)},
        {"author": bytes(33)},
        {"author": "a" * 32},
        {"author": None},
        {"seq": 0},
        {"seq": -1},
        {"seq": SEQ_MAX + 1},
        {"seq": True},
        {"prev": bytes(31)},
        {"root": bytes(33)},
        {"time_ms": -1},
        {"time_ms": "1"},
        {"kind": b"profile/1"},
        {"kind": None},
        {"body_hash": bytes(31)},
        {"body_hash": None},
        {"body_len": 0},
        {"body_len": BODY_SIZE_BYTES_MAX + 1},
        {"refs": None},
        {"refs": {}},
        {"refs": [bytes(31)]},
        {"refs": [None]},
    ],
    ids=str,
)
def test_a_field_of_another_type_or_range_is_bad_shape(changes):
    assert refused(header_bytes(**changes))[0] == "bad_shape"


@pytest.mark.parametrize("value", [{}, [], 1, None, list(GOOD.values())[:9]])
def test_what_is_no_list_of_ten_is_bad_shape(value):
    assert refused(encode(value))[0] == "bad_shape"
    assert refused(encode([*GOOD.values(), None]))[0] == "bad_shape"


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "profile",
        "profile/",
        "profile/0",
        "profile/01",
        "profile/1000",
        "profile/-1",
        "Profile/1",
        "p/1",
        "a" * 32 + "/1",
        "-profile/1",
        "pro file/1",
        "profile/1\n",
        "profile/\u0661",
        "prof\u00efl/1",
        "profile/1/1",
    ],
)
def test_a_kind_that_is_no_name_with_a_version_is_bad_shape(kind):
    assert refused(header_bytes(kind=kind)) == ("bad_shape", f"kind {kind!r}")


@pytest.mark.parametrize("kind", ["ab/1", "a-/999", "haiku/1", "a" * 31 + "/10", *KINDS])
def test_a_kind_nobody_knows_is_taken_like_any_other(kind):
    assert parse_entry(header_bytes(kind=kind), bytes(64)).kind == kind


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 1},
        {"seq": 1, "prev": None},
        {"seq": 1, "root": None},
        {"prev": None},
        {"root": None},
        {"prev": None, "root": None},
    ],
    ids=str,
)
def test_prev_and_root_are_null_at_seq_1_and_nowhere_else(changes):
    reason, detail = refused(header_bytes(**changes))
    assert reason == "bad_shape"
    assert detail == f"seq {changes.get('seq', 2)} with prev and root null out of place"


def test_more_refs_than_the_limit_are_bad_shape():
    assert refused(header_bytes(refs=refs(REFS_MAX + 1))) == ("bad_shape", "17 refs, limit 16")
    assert parse_entry(header_bytes(refs=refs(REFS_MAX)), bytes(64)).header.refs[-1] == refs(16)[-1]


@pytest.mark.parametrize("order", [(1, 0), (0, 0), (0, 2, 1), (0, 1, 1)])
def test_refs_out_of_order_or_given_twice_are_bad_shape(order):
    given = [refs(3)[number] for number in order]
    assert refused(header_bytes(refs=given)) == ("bad_shape", "refs are not sorted and unique")


@pytest.mark.parametrize("kind", sorted(PRIVATE_KINDS))
def test_refs_on_a_private_kind_are_bad_shape(kind):
    assert refused(header_bytes(kind=kind, refs=refs(1))) == (
        "bad_shape",
        f"refs on private kind {kind}",
    )
    assert parse_entry(header_bytes(kind=kind), bytes(64)).kind == kind


def test_the_private_kinds_are_those_of_the_table():
    assert {kind for kind, rule in KINDS.items() if rule.private} == PRIVATE_KINDS
    assert [kind for kind in KINDS if is_private_kind(kind)] == sorted(PRIVATE_KINDS)


def test_the_largest_possible_header_stays_below_the_limit():
    raw = header_bytes(
        seq=SEQ_MAX,
        time_ms=2**63 - 1,
        kind="a" * 31 + "/999",
        body_len=BODY_SIZE_BYTES_MAX,
        refs=[b"\xff" * 31 + bytes([number]) for number in range(REFS_MAX)],
    )
    assert len(raw) == 739
    entry = check_entry(parse_entry(raw, SIGNER.sign(PREFIX_ENTRY, raw)))
    assert entry.seq == SEQ_MAX


def test_a_body_fits_by_its_length_and_its_hash():
    entry = sign_entry(first_entry(), SIGNER)
    assert body_fits(entry, BODY)
    assert not body_fits(entry, BODY + b"\0")
    assert not body_fits(entry, BODY[:-1] + b"\1")
    header = msgspec.structs.replace(entry.header, body_len=len(BODY) + 1)
    assert not body_fits(entry._replace(header=header), BODY)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("signature", "bad_signature"),
        ("size", "too_big"),
        ("refs", "bad_shape"),
        ("version", "version"),
    ],
)
def test_what_the_author_spoils_in_form_is_refused_with_its_word(what, reason):
    spoiled = Author(1).device().spoil(what)
    with pytest.raises(RejectedEntry) as caught:
        check_entry(parse_entry(spoiled.header_bytes, spoiled.signature, spoiled.body))
    assert caught.value.reason == reason


@pytest.mark.parametrize("what", ["seq", "prev", "root", "time", "kind", "body"])
def test_what_only_its_place_shows_to_be_wrong_has_good_form(what):
    spoiled = Author(1).device().spoil(what)
    assert check_entry(parse_entry(spoiled.header_bytes, spoiled.signature, spoiled.body))
