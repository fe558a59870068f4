"""Evidence files: each proves one thing to anybody, and a damaged one proves nothing."""

from __future__ import annotations

import msgspec
import pytest

from hanse.core.crypto.boxes import BoxSecret
from hanse.core.errors import HanseError, RejectedEntry
from hanse.core.ledger.codec import decode, encode
from hanse.core.ledger.disclosure import check_disclosure, disclose, seal_body
from hanse.core.ledger.entry import CheckedEntry
from hanse.core.ledger.evidence import (
    DISCLOSURE_MAGIC,
    FORK_MAGIC,
    PROOF_MAGIC,
    EvidenceDamaged,
    InclusionEvidence,
    check_inclusion_evidence,
    read_disclosure,
    read_fork,
    write_disclosure,
    write_fork,
    write_inclusion,
)
from hanse.core.ledger.forks import check_fork, fork_of
from hanse.core.ledger.kinds import Message1
from hanse.core.ledger.tree import BadProof
from tests.fakes.author import Author, DeviceFeed
from tests.fakes.chance import SeededChance


@pytest.fixture
def device() -> DeviceFeed:
    device = Author(1).device()
    for _ in range(9):
        device.append("profile/1")
    return device


def proof(device: DeviceFeed, seq: int = 3, later: int = 8) -> bytes:
    return write_inclusion(
        device.entries[seq - 1], device.entries[later - 1], device.ids[: later - 1]
    )


def changed(raw: bytes, **fields: object) -> bytes:
    evidence = decode(raw.removeprefix(PROOF_MAGIC), InclusionEvidence)
    return PROOF_MAGIC + encode(msgspec.structs.replace(evidence, **fields))


def test_every_entry_stands_in_the_history_of_every_later_one(device):
    for later in range(2, 11):
        for seq in range(1, later):
            entry, found = check_inclusion_evidence(proof(device, seq, later))
            assert (entry.entry_id, found.entry_id) == (
                device.ids[seq - 1],
                device.ids[later - 1],
            )


def test_a_proof_is_small_and_has_no_body(device):
    raw = proof(device)
    assert raw.startswith(PROOF_MAGIC)
    assert len(raw) < 1024
    assert all(entry.body is None for entry in check_inclusion_evidence(raw))


def test_an_entry_of_another_branch_stands_in_no_history(device):
    other = device.fork_at(3).append("haiku/1")
    raw = changed(proof(device), header=other.header_bytes, signature=other.signature)
    with pytest.raises(BadProof, match="path"):
        check_inclusion_evidence(raw)


def test_headers_of_two_feeds_prove_nothing(device):
    stranger = Author(2).device()
    raw = changed(
        proof(device),
        header=stranger.entries[0].header_bytes,
        signature=stranger.entries[0].signature,
    )
    with pytest.raises(BadProof) as caught:
        check_inclusion_evidence(raw)
    assert caught.value.values["reason"] == "the two headers are of two feeds"


@pytest.mark.parametrize("later", [1, 2, 3])
def test_a_header_commits_to_nothing_at_or_after_itself(device, later):
    it = device.entries[later - 1]
    raw = changed(proof(device), later_header=it.header_bytes, later_signature=it.signature)
    with pytest.raises(BadProof) as caught:
        check_inclusion_evidence(raw)
    assert caught.value.values["reason"] == f"seq {later} commits to nothing at seq 3"


def test_a_path_that_was_changed_leads_elsewhere(device):
    path = decode(proof(device).removeprefix(PROOF_MAGIC), InclusionEvidence).path
    for wrong in ((), path[:-1], path[::-1], (*path, path[0]), (bytes(32), *path[1:])):
        with pytest.raises(BadProof):
            check_inclusion_evidence(changed(proof(device), path=wrong))


@pytest.mark.parametrize("fields", [{"path": (bytes(31),)}, {"path": (bytes(32),) * 32}], ids=len)
def test_a_path_longer_than_any_tree_or_of_no_hashes_is_damaged(device, fields):
    with pytest.raises(EvidenceDamaged) as caught:
        check_inclusion_evidence(changed(proof(device), **fields))
    assert caught.value.values["where"] == "byte 0"
    assert caught.value.values["reason"].startswith("bad_shape: ")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"version": 0}, "version"),
        ({"version": 2}, "version"),
        ({"signature": bytes(64)}, "bad_signature"),
        ({"later_signature": bytes(64)}, "bad_signature"),
        ({"header": b"\x80"}, "bad_shape"),
        ({"later_header": bytes(1025)}, "too_big"),
    ],
    ids=str,
)
def test_headers_that_break_a_rule_have_its_word(device, fields, reason):
    with pytest.raises(RejectedEntry) as caught:
        check_inclusion_evidence(changed(proof(device), **fields))
    assert caught.value.reason == reason


def test_no_changed_byte_of_a_proof_passes(device):
    raw = proof(device)
    for place in range(len(PROOF_MAGIC), len(raw)):
        wrong = bytearray(raw)
        wrong[place] ^= 1
        with pytest.raises(HanseError):
            check_inclusion_evidence(bytes(wrong))


@pytest.mark.parametrize("tail", [b"", b"\xff", b"\x80", b"\xa0"])
def test_a_file_with_nothing_behind_its_magic_is_damaged(tail):
    with pytest.raises(EvidenceDamaged):
        check_inclusion_evidence(PROOF_MAGIC + tail)
    with pytest.raises(EvidenceDamaged):
        read_disclosure(DISCLOSURE_MAGIC + tail)


def test_a_disclosure_in_a_file_is_the_same_one(device):
    raw, key = seal_body(
        author=device.key,
        seq=11,
        header_kind="private/1",
        inner_kind="message/1",
        inner_body=Message1(order=None, text="yes", files=()),
        readers=[BoxSecret(bytes(32)).public_key],
        chance=SeededChance(1),
    )
    disclosure = disclose(device.append("private/1", raw), key)
    written = write_disclosure(disclosure)
    assert written.startswith(DISCLOSURE_MAGIC)
    assert read_disclosure(written) == disclosure
    assert check_disclosure(read_disclosure(written))[1].body.text == "yes"


def test_a_fork_in_a_file_is_the_same_one(device):
    fork = fork_of(device.entries[2], CheckedEntry(device.fork_at(3).append("haiku/1")))
    raw = write_fork(fork.proof)
    assert raw == FORK_MAGIC + fork.proof
    assert check_fork(read_fork(raw)).disputed_seq == 3
