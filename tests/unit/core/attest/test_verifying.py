"""Verification: each field altered, and what somebody could still get past by signing anew."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import msgspec
import pytest
import rfc8785

from hanse.core.attest.envelope import sign_envelope
from hanse.core.attest.faults import STEPS, BadStatement
from hanse.core.attest.statement import encode_statement, subjects_of
from hanse.core.attest.suites import SuiteIndex, bundled
from hanse.core.attest.verifying import (
    ModelFiles,
    UnknownSuite,
    cert_body,
    check_cert_body,
    check_for_files,
    index_of,
    index_of_body,
    verify_envelope,
)
from hanse.core.crypto.signing import Signer
from hanse.core.ledger.identities import Void
from hanse.core.model.certificate import Subject
from hanse.core.model.ids import IdentityId
from tests.fakes.certified import statement

SIGNER = Signer.from_seed(b"d" * 32)
DEVICE = SIGNER.public_key
STATEMENT = statement(b"a" * 32, reproduces=(b"e" * 32, "agree"))
PAYLOAD = encode_statement(STATEMENT)
ENVELOPE = sign_envelope(PAYLOAD, SIGNER)
FILES = ModelFiles(b"a" * 32, STATEMENT.subjects)
WHOLE = json.loads(PAYLOAD)


def verify(envelope=ENVELOPE, device=DEVICE, **asked):
    asked = {"index": None, "suites": bundled(), "manifest": None} | asked
    return verify_envelope(envelope, device, **asked)


def refused(envelope=ENVELOPE, device=DEVICE, **asked):
    with pytest.raises(BadStatement) as caught:
        verify(envelope, device, **asked)
    return caught.value


def leaves(value, path=()):
    """Return the path of every value that holds no others."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inner:
        if isinstance(one, dict | list) and one:
            yield from leaves(one, (*path, key))
        else:
            yield (*path, key)


def with_value(path, value):
    whole = json.loads(PAYLOAD)
    part = whole
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    return whole


def other(value):
    """Return another value of the same kind."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value[:-1] + ("0" if value[-1:] != "0" else "1")
        case None:
            return "x"
        case _:
            return ["x"]


def forged(payload):
    """Return the envelope with another payload under the old signature."""
    value = json.loads(ENVELOPE) | {"payload": base64.b64encode(payload).decode()}
    return json.dumps(value).encode()


def signed(statement, signer=SIGNER):
    return sign_envelope(encode_statement(statement), signer)


def with_measured(**changes):
    return replace(STATEMENT, measured=replace(STATEMENT.measured, **changes))


def test_what_was_signed_is_what_is_stated():
    asked = {"index": index_of(STATEMENT), "manifest": FILES, "speaks": IdentityId(b"i" * 32)}
    assert verify(**asked) == STATEMENT


def test_no_field_can_be_altered_under_the_old_signature():
    paths = list(leaves(WHOLE))
    assert len(paths) > 100
    for path in paths:
        part = WHOLE
        for step in path:
            part = part[step]
        payload = rfc8785.dumps(with_value(path, other(part)))
        fault = refused(forged(payload))
        assert (fault.step, fault.what) == ("signature", "payload"), path


def test_another_key_is_refused():
    assert refused(device=Signer.from_seed(b"o" * 32).public_key).step == "signature"


@pytest.mark.parametrize("reason", ["delegation", "cut", "disputed", "mirror"])
def test_a_device_that_spoke_for_nobody_is_refused(reason):
    fault = refused(speaks=Void(reason))
    assert (fault.step, fault.number, fault.values["found"]) == ("delegation", 4, reason)


def test_a_device_is_asked_for_before_the_payload_is_parsed():
    fault = refused(sign_envelope(b"{}", SIGNER), speaks=Void("cut"))
    assert fault.step == "delegation"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("artifact", b"b" * 32),
        ("suite", "core/9.0.0"),
        ("suite_sha256", bytes(32)),
        ("level", 2),
        ("golden", None),
        ("reproduces", None),
    ],
)
def test_each_field_of_the_index_is_the_statement_s(field, value):
    fault = refused(index=replace(index_of(STATEMENT), **{field: value}))
    assert (fault.step, fault.what) == ("index", f"body.{field}")


def test_a_body_is_made_of_a_statement_and_checked_by_itself():
    body = cert_body(ENVELOPE, STATEMENT, bytes(16))
    assert index_of_body(body) == index_of(STATEMENT)
    assert check_cert_body(body, DEVICE) == STATEMENT


@pytest.mark.parametrize(
    ("field", "value"),
    [("artifact", b"b" * 32), ("level", 1), ("suite", "core/1.0.1"), ("golden", None)],
)
def test_a_body_whose_index_says_something_else_is_void(field, value):
    body = cert_body(ENVELOPE, STATEMENT, bytes(16))
    with pytest.raises(BadStatement) as caught:
        check_cert_body(msgspec.structs.replace(body, **{field: value}), DEVICE)
    assert caught.value.what == f"body.{field}"


def test_a_body_of_another_author_is_void():
    body = cert_body(ENVELOPE, STATEMENT, bytes(16))
    with pytest.raises(BadStatement):
        check_cert_body(body, Signer.from_seed(b"o" * 32).public_key)


def test_a_level_above_what_the_checks_allow_is_refused_though_it_is_signed():
    checks = tuple(
        replace(one, result="fail") if one.id == "measure.memory" else one
        for one in STATEMENT.measured.checks
    )
    fault = refused(signed(with_measured(checks=checks)))
    assert (fault.step, fault.what) == ("consistent", "$.predicate.level")
    assert (fault.values["expected"], fault.values["found"]) == ("<= 2", "3")
    assert verify(signed(with_measured(checks=checks, level=2))).level == 2


def test_a_suite_that_is_unknown_counts_for_nothing_and_is_signed_all_the_same():
    known = with_measured(suite_sha256=bytes(32))
    with pytest.raises(UnknownSuite) as caught:
        verify(signed(known))
    assert caught.value.statement == known
    assert caught.value.step == "suite"
    assert verify(signed(known), suites=None) == known


def test_a_known_suite_under_another_name_is_an_unknown_one():
    assert isinstance(refused(suites=SuiteIndex(())), UnknownSuite)
    nameless = with_measured(suite="core/1.0.1")
    assert isinstance(refused(signed(nameless)), UnknownSuite)


def test_an_unknown_suite_hides_no_contradiction():
    row = replace(STATEMENT.measured.perf[0], p10=10**6)
    fault = refused(signed(with_measured(suite_sha256=bytes(32), perf=(row,))))
    assert (fault.step, fault.what) == ("consistent", "$.predicate.perf[0].p50")


def test_a_certificate_for_other_bytes_names_both_digests():
    files = ModelFiles(b"b" * 32, (Subject("model.onnx", b"t" * 32),))
    fault = refused(manifest=files)
    assert (fault.step, fault.what) == ("subjects", "model.onnx")
    assert fault.values["expected"] == (b"t" * 32).hex()
    assert fault.values["found"] == (b"s" * 32).hex()


def test_a_single_file_may_have_another_name():
    verify(manifest=ModelFiles(None, (Subject("copy of model.onnx", b"s" * 32),)))


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ([("a", b"1"), ("b", b"2")], None),
        ([("a", b"1"), ("b", b"3")], "b"),
        ([("a", b"1"), ("c", b"2")], "b"),
        ([("a", b"1")], "b"),
        ([("a", b"1"), ("b", b"2"), ("c", b"3")], "c"),
    ],
)
def test_of_several_files_the_one_that_is_another_is_named(files, what):
    stated = replace(
        STATEMENT, subjects=(Subject("a", b"1" * 32), Subject("b", b"2" * 32)), files=2
    )
    held = ModelFiles(None, tuple(Subject(name, one * 32) for name, one in files))
    if what is None:
        check_for_files(stated, held)
        return
    with pytest.raises(BadStatement) as caught:
        check_for_files(stated, held)
    assert caught.value.what == what


def test_many_files_are_compared_by_their_list():
    files = tuple(Subject(f"f{n}", bytes([n]) * 32) for n in range(70))
    stated = replace(STATEMENT, subjects=subjects_of(b"a" * 32, files), files=70)
    check_for_files(stated, ModelFiles(b"a" * 32, files))
    with pytest.raises(BadStatement):
        check_for_files(stated, ModelFiles(b"b" * 32, files))
    with pytest.raises(BadStatement):
        check_for_files(stated, ModelFiles(b"a" * 32, (*files, Subject("more", bytes(32)))))


def test_the_same_files_under_another_list_are_another_artifact():
    fault = refused(manifest=ModelFiles(b"b" * 32, STATEMENT.subjects))
    assert fault.what == "$.predicate.artifact.id"


def test_a_file_more_than_was_stated_is_named_by_the_number():
    with pytest.raises(BadStatement) as caught:
        check_for_files(replace(STATEMENT, files=2), ModelFiles(None, STATEMENT.subjects))
    assert caught.value.what == "$.predicate.artifact.files"


def test_what_was_taken_back_is_refused_with_its_reason():
    fault = refused(revoked="mistake")
    assert (fault.step, fault.values["found"]) == ("revoked", "mistake")
    assert fault.number == len(STEPS) == 10


def test_a_fault_is_of_the_first_step_it_fails():
    asked = {
        "index": replace(index_of(STATEMENT), level=1),
        "manifest": ModelFiles(b"b" * 32, ()),
        "suites": SuiteIndex(()),
        "revoked": "mistake",
    }
    found = []
    while asked:
        step = refused(**({"manifest": None, "index": None} | asked)).step
        found.append(step)
        name = {"index": "index", "suite": "suites", "subjects": "manifest", "revoked": "revoked"}
        asked.pop(name[step])
    assert found == ["index", "suite", "subjects", "revoked"]
