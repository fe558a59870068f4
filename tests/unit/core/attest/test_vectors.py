"""The golden vectors of Certificates, run the way ``hanse verify FILE`` runs them."""

from __future__ import annotations

import copy
import json

import pytest

from hanse.core.attest.faults import STEPS
from hanse.core.attest.vectors import check_certificate_vectors, is_certificate_vectors
from hanse.core.engine.auditing import verify_file
from hanse.core.ledger.vectors import VectorsDamaged, is_vector_file
from hanse.core.limits import EVIDENCE_FILE_SIZE_BYTES_MAX
from tests.vectors import make_certificates

RAW = make_certificates.FILE.read_bytes()
CONTENT = json.loads(RAW)
MEMBERS = [name for name in CONTENT if name != "about"]
OTHER = "11" * 32


def test_every_vector_comes_out_as_written():
    assert is_vector_file(RAW[:64])
    count, faults = check_certificate_vectors(RAW)
    assert faults == []
    assert count == sum(len(CONTENT[name]) for name in MEMBERS)


def test_hanse_verify_runs_it():
    report = verify_file(make_certificates.FILE, now_ms=1)
    assert report.holds
    assert report.entries == sum(len(CONTENT[name]) for name in MEMBERS)


def test_the_vectors_can_be_made_again():
    assert RAW.decode() == make_certificates.document()


def test_the_file_stays_small_enough_to_be_read():
    assert len(RAW) < EVIDENCE_FILE_SIZE_BYTES_MAX // 50


def test_the_readme_names_every_member():
    readme = make_certificates.FILE.with_name("README.md").read_text(encoding="utf-8")
    assert [name for name in (make_certificates.FILE.name, *MEMBERS) if name not in readme] == []


def test_other_vectors_are_not_taken_for_these():
    for path in make_certificates.FILE.parent.glob("*.json"):
        assert is_certificate_vectors(path.read_bytes()) == (path == make_certificates.FILE)
    assert not is_certificate_vectors(b"[")


def test_every_step_that_a_file_alone_can_fail_is_broken_once():
    found = {row.get("reason") for name in ("statements", "cert_files") for row in CONTENT[name]}
    assert found >= set(STEPS) - {"revoked"}


@pytest.mark.parametrize(
    ("member", "number", "name", "value", "says"),
    [
        ("suites", 0, "sha256", OTHER, "sha256"),
        ("suites", 1, "reason", "suite.odd", "suite.bad"),
        ("statements", 0, "payload", "00", "payload"),
        ("statements", 0, "level", 2, "level"),
        ("statements", 0, "device", OTHER, "signature"),
        ("statements", 6, "reason", "json", "signature"),
        ("cert_files", 0, "identity", OTHER, "identity"),
        ("cert_files", 0, "now_ms", 1, "delegation"),
        ("verdicts", 1, "verdict", "differ", "agree"),
        ("verdicts", 1, "failing", 25, "25 of 24"),
    ],
)
def test_a_vector_that_comes_out_otherwise_is_named(member, number, name, value, says):
    content = copy.deepcopy(CONTENT)
    assert content[member][number][name] != value
    content[member][number][name] = value
    _, faults = check_certificate_vectors(json.dumps(content).encode())
    assert len(faults) == 1
    assert faults[0][0].startswith(f"{member} {number + 1}, ")
    assert says in faults[0][1]


@pytest.mark.parametrize(
    "content",
    [{"about": "", "verdicts": []}, {"about": "", "verdicts": [{}]}, {"about": "", "odd": []}],
)
def test_a_file_that_holds_no_vectors_is_damaged(content):
    with pytest.raises(VectorsDamaged):
        check_certificate_vectors(json.dumps(content).encode())
