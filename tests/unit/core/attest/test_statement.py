"""Statements as bytes: one form, and every departure from it named."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest
import rfc8785

from hanse.core.attest.faults import BadStatement, shape_fault, shown
from hanse.core.attest.predicate import parse_decimal, parse_time, time_text
from hanse.core.attest.statement import encode_statement, read_statement, subjects_of
from hanse.core.limits import STATEMENT_SIZE_BYTES_MAX
from hanse.core.model.certificate import CheckResult, QualityRow, Reproduces, Subject
from tests.fakes.certified import statement

STATEMENT = statement(b"a" * 32)
RAW = encode_statement(STATEMENT)


def changed(path, value):
    """Return the payload with one field set, in its canonical form."""
    whole = json.loads(RAW)
    part = whole
    *before, last = path
    for step in before:
        part = part[step]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return rfc8785.dumps(whole)


def refused(raw):
    with pytest.raises(BadStatement) as caught:
        read_statement(raw)
    return caught.value.step, caught.value.what


def test_a_statement_reads_back_as_it_was():
    assert read_statement(RAW) == STATEMENT


def test_the_bytes_are_the_canonical_form_of_two_writers():
    assert rfc8785.dumps(json.loads(RAW)) == RAW
    whole = json.dumps(json.loads(RAW), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert whole.encode() == RAW


def test_it_is_an_in_toto_statement_with_the_shape_of_a_test_result():
    whole = json.loads(RAW)
    assert whole["_type"] == "https://in-toto.io/Statement/v1"
    assert whole["predicateType"] == "urn:hanse:certificate:v1"
    assert whole["subject"][0] == {"name": "model.onnx", "digest": {"sha256": (b"s" * 32).hex()}}
    test = whole["predicate"]["test"]
    assert test["result"] == "PASSED"
    assert test["configuration"][0]["name"] == "core/1.0.0"
    assert test["passedTests"] == [one.id for one in STATEMENT.measured.checks]


def test_figures_stand_as_the_specification_writes_them():
    whole = statement(b"a" * 32, reproduces=(b"e" * 32, "agree"))
    row = replace(
        whole.measured.quality[0], low_micro=-1, high_micro=888_000, method="wilson", slice="a=b"
    )
    perf = replace(whole.measured.perf[0], load_before_centi=12, load_after_centi=31)
    measured = replace(whole.measured, quality=(row,), perf=(perf,), started_ms=1_795_334_400_000)
    predicate = json.loads(encode_statement(replace(whole, measured=measured)))["predicate"]
    assert predicate["golden"]["rtol"] == "0.0001"
    assert predicate["golden"]["atol"] == "0.00001"
    assert predicate["reproduces"]["max_abs"] == "0.00000095"
    assert predicate["quality"][0]["value"] == "0.874000"
    assert predicate["quality"][0]["ci95"] == ["-0.000001", "0.888000"]
    assert predicate["quality"][0]["slice"] == "a=b"
    assert predicate["perf"][0]["load"] == ["0.12", "0.31"]
    assert predicate["started"] == "2026-11-22T08:00:00Z"


def test_everything_a_statement_can_say_reads_back():
    check = CheckResult("run.load", "skip", "other_format", {"n": -3, "file": "模型.onnx"}, "é", 7)
    measured = replace(
        STATEMENT.measured,
        checks=(check,),
        runtime=None,
        golden=None,
        memory=None,
        perf=(),
        quality=(),
        started_ms=1,
        finished_ms=1_700_000_000_123,
    )
    whole = replace(
        STATEMENT,
        measured=measured,
        made_from=b"m" * 32,
        release=b"r" * 32,
        grant=b"g" * 32,
        supersedes=b"p" * 32,
        parity="not_shown",
        reproduces=Reproduces(b"e" * 32, "not_comparable", "suite", 0, 0, 0),
    )
    assert read_statement(encode_statement(whole)) == whole


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        (("_type",), "https://in-toto.io/Statement/v0.1", "$._type"),
        (("predicateType",), "urn:hanse:certificate:v2", "$.predicateType"),
        (("extra",), 1, "$.extra"),
        (("predicate", "extra"), "x", "$.predicate.extra"),
        (("predicate", "nonce"), ..., "$.predicate.nonce"),
        (("subject",), [], "$.subject"),
        (("subject", 0, "digest", "sha256"), "ab", "$.subject[0].digest.sha256"),
        (("subject", 0, "digest", "sha1"), "ab", "$.subject[0].digest.sha1"),
        (("predicate", "artifact", "id"), "A" * 64, "$.predicate.artifact.id"),
        (("predicate", "artifact", "files"), 0, "$.predicate.artifact.files"),
        (("predicate", "role"), "friend", "$.predicate.role"),
        (("predicate", "level"), 4, "$.predicate.level"),
        (("predicate", "level"), "3", "$.predicate.level"),
        (("predicate", "level"), True, "$.predicate.level"),
        (("predicate", "suite", "version"), "1", "$.predicate.suite.version"),
        (("predicate", "checks", 0, "result"), "ok", "$.predicate.checks[0].result"),
        (("predicate", "checks", 0, "id"), "Format", "$.predicate.checks[0].id"),
        (("predicate", "checks", 0, "reason"), "Two words", "$.predicate.checks[0].reason"),
        (("predicate", "checks", 0, "detail"), "x" * 201, "$.predicate.checks[0].detail"),
        (("predicate", "isolation", "grade"), "half", "$.predicate.isolation.grade"),
        (("predicate", "perf", 0, "min"), -1, "$.predicate.perf[0].min"),
        (("predicate", "perf", 0, "load"), ["0.1", None], "$.predicate.perf[0].load[0]"),
        (("predicate", "perf", 0, "load"), ["-0.01", None], "$.predicate.perf[0].load[0]"),
        (("predicate", "golden", "rtol"), "0.00010", "$.predicate.golden.rtol"),
        (("predicate", "golden", "rtol"), "-0.1", "$.predicate.golden.rtol"),
        (("predicate", "golden", "atol"), "1e-5", "$.predicate.golden.atol"),
        (("predicate", "quality", 0, "value"), "0.874", "$.predicate.quality[0].value"),
        (("predicate", "quality", 0, "value"), "-0.000000", "$.predicate.quality[0].value"),
        (("predicate", "quality", 0, "value"), "NaN", "$.predicate.quality[0].value"),
        (
            ("predicate", "quality", 0, "value"),
            "9" * 19 + ".000000",
            "$.predicate.quality[0].value",
        ),
        (("predicate", "quality", 0, "ci95"), ["0.1", "0.2"], "$.predicate.quality[0].ci95[0]"),
        (("predicate", "determinism", "repeat"), "same", "$.predicate.determinism.repeat"),
        (("predicate", "started"), "2026-11-22 08:00:00", "$.predicate.started"),
        (("predicate", "started"), "2026-13-22T08:00:00Z", "$.predicate.started"),
        (("predicate", "started"), "2026-11-22T08:00:00.000Z", "$.predicate.started"),
        (("predicate", "started"), "1969-12-31T23:59:59Z", "$.predicate.started"),
        (("predicate", "nonce"), "00", "$.predicate.nonce"),
    ],
)
def test_a_field_that_is_not_as_it_must_be_is_named(path, value, what):
    assert refused(changed(path, value)) == ("shape", what)


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        (("result",), "FAILED", "$.predicate.test.result"),
        (("passedTests",), [], "$.predicate.test.passedTests"),
        (("warnedTests",), ["run.load"], "$.predicate.test.warnedTests"),
        (("failedTests",), ["run.load"], "$.predicate.test.failedTests"),
        (("configuration", 0, "name"), "core/1.0.1", "$.predicate.test.configuration[0].name"),
        (
            ("configuration", 0, "digest", "sha256"),
            "0" * 64,
            "$.predicate.test.configuration[0].digest.sha256",
        ),
    ],
)
def test_what_is_said_twice_is_said_the_same(path, value, what):
    assert refused(changed(("predicate", "test", *path), value)) == ("consistent", what)


def test_a_key_that_stands_twice_is_named():
    raw = RAW.replace(b'"level":3', b'"level":1,"level":3', 1)
    assert refused(raw) == ("json", "payload level")


def test_two_checks_of_one_result_are_values_not_keys():
    raw = RAW.replace(b'"values":{}', b'"values":{"a":1,"a":2}', 1)
    assert refused(raw) == ("json", "payload a")


@pytest.mark.parametrize(
    "raw",
    [
        RAW + b"\n",
        RAW.replace(b",", b", ", 1),
        RAW.replace(b"model.onnx", b"mod\\u0065l.onnx"),
        json.dumps(dict(reversed(json.loads(RAW).items())), separators=(",", ":")).encode(),
    ],
)
def test_the_same_in_another_form_is_refused(raw):
    assert refused(raw) == ("json", "payload")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"null x",
        b"[" * 30_000,
        RAW.replace(b'"level":3', b'"level":3.0'),
        RAW.replace(b'"level":3', b'"level":NaN'),
        RAW.replace(b'"level":3', b'"level":' + b"9" * 5000),
        b'{"a":' * 100 + b"1" + b"}" * 100,
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_whatever_it_says(raw):
    assert refused(raw) == ("json", "payload")


def test_what_is_too_long_is_refused_before_it_is_parsed():
    with pytest.raises(BadStatement) as caught:
        read_statement(b"[" * (STATEMENT_SIZE_BYTES_MAX + 1))
    assert caught.value.values["found"] == str(STATEMENT_SIZE_BYTES_MAX + 1)


@pytest.mark.parametrize("odd", ["a\nb", "\x1b[2J", "e\u0301", "\u2028", "\x7f"])
def test_text_with_control_characters_is_named(odd):
    raw = changed(("predicate", "machine", "cpu"), odd)
    assert refused(raw) == ("shape", "$.predicate.machine.cpu")


def test_quotes_and_backslashes_are_text():
    odd = 'a "fast" \\ one'
    assert read_statement(changed(("predicate", "machine", "cpu"), odd)).measured.machine.cpu == odd


def test_what_a_check_quotes_is_written_as_text():
    check = CheckResult("run.load", "fail", "worker", {"said": "e\u0301\n\x1b[2J"}, "a\tb")
    measured = replace(STATEMENT.measured, checks=(check,))
    read = read_statement(encode_statement(replace(STATEMENT, measured=measured)))
    assert read.measured.checks[0].detail == "a b"
    assert read.measured.checks[0].values == {"said": "\xe9  [2J"}


@pytest.mark.parametrize(
    "measured",
    [
        replace(STATEMENT.measured, level=4),
        replace(STATEMENT.measured, suite="core"),
        replace(STATEMENT.measured, machine=replace(STATEMENT.measured.machine, tier="other")),
        replace(STATEMENT.measured, quality=STATEMENT.measured.quality * 65),
        replace(STATEMENT.measured, perf=(replace(STATEMENT.measured.perf[0], n=2**53),)),
        replace(STATEMENT.measured, machine=replace(STATEMENT.measured.machine, cpu="\ud800")),
    ],
)
def test_nobody_signs_what_others_would_refuse(measured):
    with pytest.raises(BadStatement):
        encode_statement(replace(STATEMENT, measured=measured))


def test_the_largest_statement_is_bounded_by_its_bytes():
    row = QualityRow("d" * 200, b"d" * 32, 1, True, b"r" * 32, "m", 1, None, None, "", "s" * 200)
    checks = tuple(CheckResult(f"run.c{n}", "pass", detail="x" * 200) for n in range(256))
    measured = replace(STATEMENT.measured, checks=checks, quality=(row,) * 64)
    with pytest.raises(BadStatement) as caught:
        encode_statement(replace(STATEMENT, measured=measured))
    assert (caught.value.step, caught.value.number) == ("json", 1)


def test_up_to_64_files_are_named_one_by_one_and_more_by_their_list():
    files = [Subject(f"part-{n:03}.onnx", bytes([n]) * 32) for n in range(65)]
    assert subjects_of(b"a" * 32, files[:64]) == tuple(files[:64])
    assert subjects_of(b"a" * 32, files) == (Subject("manifest", b"a" * 32),)
    long = [Subject("d" * 400 + f"/{n}", bytes(32)) for n in range(64)]
    assert subjects_of(b"a" * 32, long) == (Subject("manifest", b"a" * 32),)
    assert subjects_of(b"a" * 32, [files[2], files[1]]) == (files[1], files[2])


def test_unknown_words_of_a_decoder_are_still_a_place():
    error = msgspec.ValidationError("Something new - at `$.a[1].b`")
    fault = shape_fault("shape", {"a": [0, {"b": 5}]}, error)
    assert fault.values == {
        "step": "shape",
        "what": "$.a[1].b",
        "expected": "Something new",
        "found": "5",
    }


def test_values_are_shown_short_and_without_effect():
    assert shown(b"\x01") == "01"
    assert shown("\x1b[2J") == "\\x1b[2J"
    assert shown("x" * 100) == "x" * 80 + "..."
    assert shown({"a": None}) == '{"a": null}'


def test_times_and_decimals_have_one_text():
    for time_ms in (0, 1, 999, 1000, 253_402_300_799_999):
        assert parse_time(time_text(time_ms)) == time_ms
    assert parse_decimal("1.5", 6) == 1_500_000
    assert parse_decimal("-0.000001", 6) == -1
    assert parse_decimal("0.0000001", 6) is None
    for odd in ("", ".5", "01", "1.", "+1", "1e3", " 1", "\u0661"):
        assert parse_decimal(odd, 6) is None
