"""``hanse verify`` of a certificate: no Account, no network, and what is wrong by its field."""

from __future__ import annotations

import base64
import json
import socket
from dataclasses import replace
from hashlib import sha256

import pytest
import rfc8785

from hanse.core.attest.cert_file import write_cert_file
from hanse.core.attest.envelope import sign_envelope
from hanse.core.attest.statement import encode_statement, subjects_of
from hanse.core.attest.verifying import cert_body
from hanse.core.engine.certificate_files import hash_model
from hanse.core.errors import EXIT_DONE, EXIT_NO, EXIT_REFUSED, EXIT_WRONG_USE
from hanse.core.ledger.evidence import write_inclusion
from hanse.core.limits import LEAF_SIZE_BYTES, PIECE_SIZE_BYTES
from hanse.core.model.certificate import Subject
from hanse.core.model.control import Cancelled, Control
from hanse.core.model.ids import identity_text
from tests.fakes.author import Author
from tests.fakes.certified import statement
from tests.fakes.terminal import Terminal

MODEL = b"the bytes of a model"


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """Speak English, and fail at whatever would leave the machine."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)

    def no_network(*_arguments, **_names):
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket, "socket", no_network)


@pytest.fixture
def term(tmp_path):
    return Terminal(tmp_path)


@pytest.fixture
def model(term):
    path = term.base / "model.onnx"
    path.write_bytes(MODEL)
    return path


def cert_file(term, stated, *, is_followed=True):
    """Write the file of ``stated``, signed by a tester, and say who he is."""
    author = Author("tester")
    device = author.device()
    envelope = sign_envelope(encode_statement(stated), device.signer)
    cert = device.append("cert/1", cert_body(envelope, stated, bytes(16)))
    inclusion = None
    if is_followed:
        later = device.append("profile/1")
        inclusion = write_inclusion(cert, later, device.ids[: later.seq - 1])
    path = term.base / "model.hanse-cert"
    path.write_bytes(write_cert_file(cert, device.entries[0], author.root_entries, inclusion))
    return path, identity_text(author.identity)


def of_model(**changes):
    whole = statement(b"a" * 32, **changes)
    return replace(whole, subjects=(Subject("model.onnx", sha256(MODEL).digest()),))


def test_a_certificate_proves_itself_to_somebody_without_an_account(term):
    path, tester = cert_file(term, of_model())
    said = term.ok("verify", path)
    assert "Everything holds." in said
    for expected in (
        sha256(MODEL).hexdigest(),
        tester,
        "Level 3 (measured) under suite core/1.0.0: passed",
        "isolation while it ran: full",
        "again at seq 3",
        "no account and no network were needed",
        "Not shown: that it was measured honestly",
        "Not shown: whether it was taken back after",
    ):
        assert expected in said
    assert list(term.base.iterdir()) == [path]


def test_it_is_said_in_chinese_too(term):
    path, _ = cert_file(term, of_model())
    said = term.ok("verify", path, "--lang", "zh")
    assert "等级 3（已测量）" in said
    assert "不需要账户，也不需要网络" in said


def test_a_failing_model_is_told_as_loudly(term):
    stated = of_model(level=1, fails="run.load")
    limits = replace(stated.measured.isolation, grade="limits")
    stated = replace(stated, measured=replace(stated.measured, isolation=limits))
    path, _ = cert_file(term, stated, is_followed=False)
    said = term.ok("verify", path)
    assert "Level 1 (well-formed) under suite core/1.0.0: failed" in said
    assert "checks that failed: run.load" in said
    assert "limits only" in said
    assert "again at seq" not in said


def test_an_unknown_suite_counts_for_nothing_and_is_no_fault(term):
    path, _ = cert_file(term, of_model(suite_sha256=bytes(32)))
    said = term.ok("verify", path)
    assert "Level 0 (declared)" in said
    assert "Not shown: a level: suite core/1.0.0" in said


def test_a_tampered_certificate_names_the_field_and_both_values(term):
    path, _ = cert_file(term, of_model())
    whole = json.loads(path.read_bytes())
    payload = json.loads(base64.b64decode(whole["envelope"]["payload"]))
    payload["predicate"]["quality"][0]["value"] = "0.974000"
    whole["envelope"]["payload"] = base64.b64encode(rfc8785.dumps(payload)).decode()
    path.write_text(json.dumps(whole), "utf-8")
    error = term.json("verify", path, status=EXIT_NO)
    assert error["code"] == "certificate.bad"
    assert error["values"] == {
        "step": "signature",
        "what": "$.predicate.quality[0].value",
        "expected": "0.874000",
        "found": "0.974000",
    }
    assert term.run("verify", path) == EXIT_NO
    text = term.console.err_text
    assert "What stands in it is not what was signed." in text
    assert "$.predicate.quality[0].value: expected 0.874000, found 0.974000" in text


def test_it_is_compared_with_the_model_on_disk(term, model):
    path, _ = cert_file(term, of_model())
    assert f"it is for {model}" in term.ok("verify", path, "--against", model)
    renamed = model.rename(term.base / "copy.onnx")
    assert f"it is for {renamed}" in term.ok("verify", path, "--against", renamed)


def test_a_certificate_for_other_bytes_names_both_digests(term, model):
    path, _ = cert_file(term, of_model())
    model.write_bytes(b"another model")
    assert term.run("verify", path, "--against", model) == EXIT_NO
    text = term.console.err_text
    assert "It is for another file." in text
    assert sha256(MODEL).hexdigest() in text
    assert sha256(b"another model").hexdigest() in text


def test_a_folder_is_compared_file_by_file_or_by_its_list(term):
    folder = term.base / "model"
    (folder / "parts").mkdir(parents=True)
    for n in range(70):
        (folder / "parts" / f"{n:02}.bin").write_bytes(bytes([n]) * 40_000)
    held = hash_model(folder, Control())
    for files in (held.files, held.files[:2]):
        for one in held.files[len(files) :]:
            (folder / one.name).unlink()
        now = hash_model(folder, Control())
        stated = replace(
            of_model(),
            artifact=now.artifact,
            files=len(now.files),
            subjects=subjects_of(now.artifact, now.files),
        )
        path, _ = cert_file(term, stated)
        assert "it is for" in term.ok("verify", path, "--against", folder)
    (folder / "parts" / "00.bin").write_bytes(b"other")
    error = term.json("verify", path, "--against", folder, status=EXIT_NO)
    assert (error["values"]["step"], error["values"]["what"]) == ("subjects", "parts/00.bin")


def test_only_a_certificate_is_for_files(term, model):
    other = term.file("x.hanse-fork", "HANSEFORK\x01")
    error = term.json("verify", other, "--against", model, status=EXIT_WRONG_USE)
    assert error["code"] == "verify.not_a_certificate"


def test_a_model_that_is_not_there_is_wrong_use_and_a_link_in_a_folder_refused(term, model):
    path, _ = cert_file(term, of_model())
    missing = term.base / "none"
    assert term.run("verify", path, "--against", missing) == EXIT_WRONG_USE
    folder = term.base / "folder"
    folder.mkdir()
    (folder / "model.onnx").symlink_to(model)
    assert term.run("verify", path, "--against", folder) == EXIT_REFUSED
    assert term.run("verify", path) == EXIT_DONE


def test_hashing_is_the_hash_of_all_bytes_and_can_be_ended(term):
    path = term.base / "model.bin"
    raw = bytes(range(256)) * ((2 * PIECE_SIZE_BYTES + LEAF_SIZE_BYTES) // 256) + b"end"
    path.write_bytes(raw)
    assert hash_model(path, Control()).files == (Subject("model.bin", sha256(raw).digest()),)
    control = Control()
    control.cancel()
    with pytest.raises(Cancelled):
        hash_model(path, control)
