"""The certificate file: it proves itself, and whoever alters it is told which field."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import msgspec
import pytest
import rfc8785

from hanse.core.attest.cert_file import (
    is_cert_file,
    read_cert_file,
    verify_cert_file,
    write_cert_file,
)
from hanse.core.attest.faults import BadStatement
from hanse.core.attest.suites import SuiteIndex, bundled
from hanse.core.attest.verifying import ModelFiles
from hanse.core.ledger.evidence import write_inclusion
from hanse.core.limits import CERT_FILE_SIZE_BYTES_MAX
from hanse.core.model.certificate import Subject
from tests.fakes.author import START_MS, Author
from tests.fakes.certified import statement

NOW_MS = START_MS + 10**9


class Made:
    """A tester, a Certificate of his, and what was written after it."""

    def __init__(self, seed="tester", *, role="full", before=(), **stated):
        self.author = Author(seed)
        self.device = self.author.device(role=role)
        self.cert = self.device.certify(b"a" * 32, **stated)
        self.later = self.device.append("profile/1")
        for act in before:
            act(self)

    def inclusion(self):
        return write_inclusion(self.cert, self.later, self.device.ids[: self.later.seq - 1])

    def file(self, **parts):
        parts = {
            "entry": self.cert,
            "delegation": self.device.entries[0],
            "roots": self.author.root_entries,
            "inclusion": self.inclusion(),
        } | parts
        return write_cert_file(**parts)


MADE = Made()
RAW = MADE.file()


def verify(raw=RAW, *, suites=None, now_ms=NOW_MS, manifest=None):
    return verify_cert_file(read_cert_file(raw), suites or bundled(), now_ms, manifest)


def refused(raw, **asked):
    with pytest.raises(BadStatement) as caught:
        verify(raw, **asked)
    return caught.value.step, caught.value.what


def changed(*path_and_value):
    *path, value = path_and_value
    whole = json.loads(RAW)
    part = whole
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    return json.dumps(whole).encode()


def flipped(text):
    """Return the base64 of the same bytes with the last one changed."""
    raw = bytearray(base64.b64decode(text))
    raw[-1] ^= 1
    return base64.b64encode(bytes(raw)).decode()


def with_payload(path, value):
    """Return the file with one field of the shown statement altered."""
    envelope = json.loads(RAW)["envelope"]
    whole = json.loads(base64.b64decode(envelope["payload"]))
    part = whole
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    envelope["payload"] = base64.b64encode(rfc8785.dumps(whole)).decode()
    return changed("envelope", envelope)


def test_a_file_proves_by_itself_who_stated_what():
    report = verify()
    assert report.identity == MADE.author.identity
    assert report.device == MADE.device.key
    assert report.entry == MADE.cert.entry_id
    assert (report.seq, report.later_seq) == (2, 3)
    assert report.signed_ms == MADE.cert.header.time_ms
    assert report.statement.artifact == b"a" * 32
    assert (report.level, report.is_suite_known) == (3, True)


def test_a_file_is_known_by_its_beginning():
    assert is_cert_file(RAW[:64])
    assert is_cert_file(b' {"hanse_cert": 2')
    assert not is_cert_file(b'{"about": "hanse_cert"')


def test_the_envelope_in_it_is_one_for_other_programs():
    envelope = json.loads(RAW)["envelope"]
    assert envelope["payloadType"] == "application/vnd.in-toto+json"


def test_nothing_need_follow_a_certificate():
    report = verify(MADE.file(inclusion=None))
    assert (report.later_seq, report.later_ms) == (0, 0)


def test_the_newest_root_key_may_have_delegated():
    author = Author("rotated")
    author.device()
    author.rotate()
    device = author.device()
    cert = device.certify(b"a" * 32)
    raw = write_cert_file(cert, device.entries[0], author.root_entries, None)
    assert verify(raw).identity == author.identity
    old_roots = author.root_entries[:1]
    raw = write_cert_file(cert, device.entries[0], old_roots, None)
    assert refused(raw) == ("delegation", "delegation")


def test_an_unknown_suite_is_told_and_its_level_counts_for_nothing():
    report = verify(suites=SuiteIndex(()))
    assert (report.level, report.is_suite_known, report.statement.level) == (0, False, 3)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("predicate", "level"), 2),
        (("predicate", "quality", 0, "value"), "0.974000"),
        (("predicate", "perf", 0, "p50"), 1),
        (("predicate", "perf", 0, "noisy"), 0),
        (("predicate", "role"), "tester"),
        (("subject", 0, "digest", "sha256"), "0" * 64),
        (("predicate", "checks", 3, "result"), "fail"),
        (("predicate", "finished"), "2030-01-01T00:00:00Z"),
    ],
)
def test_a_figure_altered_in_the_file_is_named_with_what_was_signed(path, value):
    named = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in path)
    assert refused(with_payload(path, value)) == ("signature", f"${named}")


def test_a_field_added_to_the_shown_statement_is_named():
    assert refused(with_payload(("predicate", "stars"), 5)) == ("signature", "$.predicate.stars")
    assert refused(with_payload(("predicate", "perf"), [])) == ("signature", "$.predicate.perf")


@pytest.mark.parametrize(
    ("raw", "step", "what"),
    [
        (changed("envelope", "payloadType", "x"), "signature", "$.payloadType"),
        (changed("envelope", "signatures", 0, "keyid", "x"), "signature", "$.signatures[0].keyid"),
        (
            changed("envelope", "signatures", 0, "sig", base64.b64encode(bytes(64)).decode()),
            "signature",
            "$.signatures[0].sig",
        ),
        (changed("device", "0" * 64), "signature", "device"),
        (
            changed("entry", "header", flipped(json.loads(RAW)["entry"]["header"])),
            "signature",
            None,
        ),
        (
            changed("entry", "signature", flipped(json.loads(RAW)["entry"]["signature"])),
            "signature",
            "entry.signature",
        ),
        (
            changed("entry", "body", flipped(json.loads(RAW)["entry"]["body"])),
            "signature",
            "entry.body",
        ),
        (
            changed("delegation", "body", flipped(json.loads(RAW)["delegation"]["body"])),
            "delegation",
            "delegation.body",
        ),
        (
            changed("roots", 0, "signature", base64.b64encode(bytes(64)).decode()),
            "delegation",
            "roots[0].signature",
        ),
        (changed("roots", []), "json", "$.roots"),
        (changed("inclusion", flipped(json.loads(RAW)["inclusion"])), "signature", "inclusion"),
        (changed("inclusion", "AAAA"), "signature", "inclusion"),
        (changed("inclusion", "?"), "json", "inclusion"),
        (changed("hanse_cert", 2), "json", "$.hanse_cert"),
        (changed("more", 1), "json", "$.more"),
        (RAW.replace(b'"device"', b'"device": "", "device"', 1), "json", "file device"),
        (RAW[:-20], "json", "file"),
        (b"[" * 100_000, "json", "file"),
    ],
)
def test_each_part_that_was_altered_is_named(raw, step, what):
    found = refused(raw)
    assert found[0] == step
    assert what is None or found[1] == what


def test_an_entry_of_another_kind_is_no_certificate():
    entry = MADE.later
    parts = {
        "header": base64.b64encode(entry.header_bytes).decode(),
        "signature": base64.b64encode(entry.signature).decode(),
        "body": base64.b64encode(entry.body).decode(),
    }
    assert refused(changed("entry", parts)) == ("signature", "entry.header")


def test_another_device_s_delegation_is_not_this_one_s():
    other = Made("somebody else")
    raw = MADE.file(roots=other.author.root_entries)
    assert refused(raw) == ("delegation", "delegation")
    whole = json.loads(RAW)
    whole["delegation"] = json.loads(other.file())["delegation"]
    whole["roots"] += json.loads(other.file())["roots"]
    assert refused(json.dumps(whole).encode()) == ("delegation", "delegation.header")


def test_another_entry_s_place_in_the_feed_is_not_this_one_s():
    device = MADE.device
    profile = device.append("profile/1")
    inclusion = write_inclusion(MADE.later, profile, device.ids[: profile.seq - 1])
    assert refused(MADE.file(inclusion=inclusion)) == ("signature", "inclusion")


def test_a_device_cut_before_the_certificate_spoke_for_nobody():
    made = Made("cut")
    made.author.revoke(made.device, 1)
    with pytest.raises(BadStatement) as caught:
        verify(made.file())
    assert (caught.value.step, caught.value.values["found"]) == ("delegation", "cut")


def test_a_device_cut_after_the_certificate_spoke_when_it_signed():
    made = Made("lost later")
    made.author.revoke(made.device, 2)
    assert verify(made.file()).level == 3


def test_a_mirror_may_not_certify():
    made = Made("mirror", role="mirror")
    with pytest.raises(BadStatement) as caught:
        verify(made.file())
    assert caught.value.values["found"] == "mirror"


def test_a_delegation_from_the_future_is_not_taken():
    assert refused(RAW, now_ms=START_MS - 10**9)[0] == "delegation"


def test_a_body_whose_index_is_not_the_statement_s_is_refused():
    author = Author("liar")
    device = author.device()
    body = device.certificate(b"a" * 32)
    entry = device.append("cert/1", msgspec.structs.replace(body, level=1))
    raw = write_cert_file(entry, device.entries[0], author.root_entries, None)
    assert refused(raw) == ("index", "body.level")


def test_a_file_for_other_bytes_names_both_digests():
    files = ModelFiles(None, (Subject("model.onnx", b"t" * 32),))
    with pytest.raises(BadStatement) as caught:
        verify(manifest=files)
    assert caught.value.step == "subjects"
    assert caught.value.values["expected"] == (b"t" * 32).hex()
    assert caught.value.values["found"] == (b"s" * 32).hex()
    own = ModelFiles(None, verify().statement.subjects)
    assert verify(manifest=own).level == 3


def test_a_file_that_is_too_long_is_refused_before_it_is_read():
    assert refused(b" " * (CERT_FILE_SIZE_BYTES_MAX + 1)) == ("json", "file")
    many = MADE.author.root_entries * 10_000
    with pytest.raises(BadStatement):
        MADE.file(roots=many)


def test_what_a_certificate_of_a_failing_model_says_is_kept():
    made = Made("strict", level=1, fails="run.load")
    report = verify(made.file())
    assert report.statement.measured.outcome == "FAILED"
    assert report.level == 1
    assert replace(report.statement, nonce=bytes(16)) == statement(
        b"a" * 32, level=1, fails="run.load"
    )
