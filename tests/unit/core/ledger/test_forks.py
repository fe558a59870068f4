"""Fork proofs: which two Entries make one, from where it disputes, and who can be fooled."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from hanse.core.crypto.signing import PREFIX_ENTRY, Signer
from hanse.core.errors import RejectedEntry
from hanse.core.ledger.codec import encode
from hanse.core.ledger.entry import Header, check_entry, parse_entry
from hanse.core.ledger.forks import check_fork, disputed_seq, fork_of
from hanse.core.limits import BODY_SIZE_BYTES_MAX, FORK_PROOF_SIZE_BYTES_MAX, REFS_MAX, SEQ_MAX
from tests.fakes.author import Author

SIGNER = Signer.from_seed(b"\1" * 32)


def signed(signer: Signer = SIGNER, **changes: object):
    header = msgspec.structs.replace(
        Header(1, signer.public_key, 5, b"\2" * 32, b"\3" * 32, 7, "haiku/1", bytes(32), 1, ()),
        **changes,
    )
    raw = encode(header)
    return check_entry(parse_entry(raw, signer.sign(PREFIX_ENTRY, raw)))


def parts(a, b) -> list[object]:
    return [1, a.header_bytes, a.signature, b.header_bytes, b.signature]


def refused(proof: bytes) -> tuple[str, str]:
    with pytest.raises(RejectedEntry) as caught:
        check_fork(proof)
    return caught.value.reason, caught.value.detail


def test_two_entries_at_one_seq_dispute_it():
    a, b = signed(time_ms=1), signed(time_ms=2)
    assert disputed_seq(a, b) == disputed_seq(b, a) == 5
    assert fork_of(a, b).disputed_seq == 5


def test_neighbours_that_do_not_fit_dispute_the_first():
    a = signed()
    b = signed(seq=6, prev=b"\4" * 32)
    assert disputed_seq(a, b) == 5
    assert fork_of(b, a).first == a


@pytest.mark.parametrize("gap", [2, 3, 100])
def test_entries_further_apart_prove_nothing(gap):
    assert fork_of(signed(), signed(seq=5 + gap)) is None


def test_neighbours_that_fit_are_no_fork():
    a = signed()
    assert fork_of(a, signed(seq=6, prev=a.entry_id)) is None


def test_one_entry_is_no_fork_with_itself():
    assert fork_of(signed(), signed()) is None


def test_entries_of_two_authors_are_no_fork():
    assert fork_of(signed(), signed(Signer.from_seed(b"\2" * 32))) is None


@pytest.mark.parametrize("second", [{"time_ms": 2}, {"seq": 6}])
def test_the_order_of_the_two_changes_no_byte_of_the_proof(second):
    a, b = signed(), signed(**second)
    assert fork_of(a, b) == fork_of(b, a)
    fork = fork_of(a, b)
    assert check_fork(fork.proof) == fork
    assert fork.proof == encode(parts(fork.first, fork.second))
    assert fork.author == SIGNER.public_key


def test_a_proof_needs_no_body():
    device = Author(1).device()
    other = device.fork_at(2).append("haiku/1")
    held = device.append("profile/1")
    fork = fork_of(held, other)
    assert fork_of(held.without_body(), other.without_body()).proof == fork.proof
    checked = check_fork(fork.proof)
    assert checked.first.body is checked.second.body is None
    assert checked.proof == fork.proof


def test_the_proof_of_the_largest_headers_is_within_the_limit():
    largest = {
        "seq": SEQ_MAX,
        "kind": "a" * 31 + "/999",
        "body_len": BODY_SIZE_BYTES_MAX,
        "refs": tuple(b"\xff" * 31 + bytes([number]) for number in range(REFS_MAX)),
    }
    a, b = (signed(time_ms=2**63 - 1 - number, **largest) for number in (0, 1))
    assert len(a.header_bytes) == len(b.header_bytes) == 739
    fork = fork_of(a, b)
    assert len(fork.proof) == 1618 <= FORK_PROOF_SIZE_BYTES_MAX
    assert check_fork(fork.proof) == fork


def test_a_proof_in_the_wrong_order_is_refused():
    fork = fork_of(signed(time_ms=1), signed(time_ms=2))
    assert refused(encode(parts(fork.second, fork.first))) == (
        "no_fork",
        "the two entries are not in the order of a proof",
    )


def test_two_entries_that_fit_are_no_proof():
    a = signed()
    for other in (a, signed(seq=6, prev=a.entry_id), signed(Signer.from_seed(b"\2" * 32))):
        assert refused(encode(parts(a, other)))[0] == "no_fork"


@pytest.mark.parametrize("version", [0, 2])
def test_a_proof_of_another_version_is_named(version):
    fork = fork_of(signed(time_ms=1), signed(time_ms=2))
    raw = encode([version, *parts(fork.first, fork.second)[1:]])
    assert refused(raw) == ("version", f"fork proof {version}, known 1")


def test_a_proof_above_the_limit_is_refused_before_it_is_decoded():
    assert refused(bytes(FORK_PROOF_SIZE_BYTES_MAX + 1)) == (
        "too_big",
        "fork proof of 2049 bytes, limit 2048",
    )
    assert refused(bytes(FORK_PROOF_SIZE_BYTES_MAX))[0] == "not_canonical"


@pytest.mark.parametrize("place", [1, 2, 3, 4])
@pytest.mark.parametrize("value", [None, "", b"", b"\xff" * 65])
def test_a_damaged_part_has_the_reason_of_its_rule(place, value):
    fork = fork_of(signed(time_ms=1), signed(time_ms=2))
    raw = parts(fork.first, fork.second)
    raw[place] = value
    expected = "not_canonical" if value == b"\xff" * 65 and place in {1, 3} else "bad_shape"
    assert refused(encode(raw))[0] == expected


@pytest.mark.parametrize("raw", [b"", b"\x80", encode({}), encode([1]), encode([1] * 5)])
def test_what_is_no_proof_at_all_is_refused(raw):
    assert refused(raw)[0] in {"bad_shape", "not_canonical"}


def test_no_changed_byte_of_a_proof_passes():
    fork = fork_of(signed(time_ms=1), signed(time_ms=2))
    for place in range(len(fork.proof)):
        raw = bytearray(fork.proof)
        raw[place] ^= 1
        assert refused(bytes(raw))[0] in {
            "bad_shape",
            "not_canonical",
            "bad_signature",
            "version",
            "no_fork",
        }
    assert refused(fork.proof + b"\0")[0] == "not_canonical"


def test_every_two_entries_of_two_branches_dispute_the_same_place_or_nothing():
    device = Author(1).device()
    branch = device.fork_at(2)
    for _ in range(3):
        device.append("profile/1")
        branch.append("haiku/1")
    for a, b in itertools.product(device.entries, branch.entries):
        fork = fork_of(a, b)
        is_known = a.entry_id == b.entry_id
        assert fork is None or (not is_known and fork.disputed_seq == min(a.seq, b.seq))
        if fork is not None:
            assert check_fork(fork.proof).disputed_seq == fork.disputed_seq
