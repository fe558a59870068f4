"""Suites are what the hash of their bytes says, and the newest that stands is used."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from hanse.core.attest.suites import BadSuite, SuiteNotHere, bundled, index_suites, read_suite
from hanse.core.limits import SUITE_SIZE_BYTES_MAX


def raw(version="1.0.0", suite_id="tiny", **changes):
    bounds = {"wall_s": 1, "cpu_s": 1}
    value = {
        "id": suite_id,
        "version": version,
        "checks": [{"id": "format.magic", "level": 1, "params": {}, "bounds": bounds}],
    }
    return json.dumps(value | changes).encode()


def test_a_suite_is_named_by_the_hash_of_its_bytes():
    suite = read_suite(raw())
    assert suite.name == "tiny/1.0.0"
    assert suite.sha256 == sha256(raw()).digest()
    assert read_suite(raw() + b"\n").sha256 != suite.sha256


def test_every_suite_that_comes_with_the_program_is_found():
    index = bundled()
    assert index.newest("core").data.id == "core"
    for suite in index.suites:
        assert index.named(suite.name) is suite
        assert index.by_sha256(suite.sha256) is suite
    assert index.named("core/999.0.0") is None
    assert index.by_sha256(bytes(32)) is None


def test_the_newest_version_is_a_number_and_not_superseded():
    faulty = raw("1.11.0", superseded_by="1.12.0")
    index = index_suites(
        read_suite(one) for one in (raw("1.9.0"), raw("1.10.0"), raw("1.2.0"), faulty)
    )
    assert index.newest("tiny").name == "tiny/1.10.0"
    assert index.named("tiny/1.11.0") is not None


def test_a_suite_that_is_not_here_is_named_with_those_that_are():
    index = index_suites([read_suite(raw())])
    with pytest.raises(SuiteNotHere) as caught:
        index.newest("tinny")
    assert caught.value.values == {"name": "tinny", "known": ("tiny/1.0.0",)}


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        (raw(odd=1), "$"),
        (raw(version="1.0"), "$.version"),
        (raw(checks=[]), "$.checks"),
        (raw(checks=[{"id": "format.magic", "level": 4, "bounds": {}}]), "$.checks[0].level"),
        (b"{", "$"),
        (b"\xff", "$"),
        (b"[" * 10_000, "$"),
        (b" " * (SUITE_SIZE_BYTES_MAX + 1), "$"),
    ],
)
def test_what_is_no_suite_is_refused_by_its_place(bad, where):
    with pytest.raises(BadSuite) as caught:
        read_suite(bad)
    assert caught.value.values["where"] == where


def test_a_check_stands_in_a_suite_once():
    check = {"id": "format.magic", "level": 1, "bounds": {"wall_s": 1, "cpu_s": 1}}
    with pytest.raises(BadSuite, match=r"format\.magic stands twice"):
        read_suite(raw(checks=[check, check]))


def test_one_name_stands_for_one_suite():
    with pytest.raises(BadSuite, match="two suites"):
        index_suites([read_suite(raw()), read_suite(raw() + b"\n")])
