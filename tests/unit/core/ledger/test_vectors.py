"""The golden vectors, run the way ``hanse verify FILE`` runs them."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from hanse.core.ledger import vectors
from hanse.core.ledger.feed import BodyState, FeedState
from hanse.core.ledger.vectors import VectorsDamaged, check_vectors, is_vector_file
from hanse.core.limits import VECTOR_FEED_ENTRIES_MAX
from tests.vectors import make_feeds, make_keys, make_trees

FOLDER = make_feeds.FILE.parent
# What these say is not the ledger's: see test_content_vectors.py and attest/test_vectors.py.
NOT_HERE = {"content", "certificates"}
FILES = sorted(path for path in FOLDER.glob("*.json") if path.stem not in NOT_HERE)
CONTENT: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FILES
}
FEEDS = CONTENT["feeds"]["feeds"]
VERDICTS = {
    "accepted": {None},
    "known": {None},
    "forked": {None},
    "parked": {"gap", "future", "delegation", "body"},
    "rejected": {
        *("too_big", "not_canonical", "bad_shape", "version"),
        *("bad_signature", "broken", "role"),
    },
}


def raw_of(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()


# --- the files ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_vector_comes_out_as_written(path):
    raw = path.read_bytes()
    assert is_vector_file(raw[:64])
    count, faults = check_vectors(raw)
    assert count > 0
    assert faults == []


@pytest.mark.parametrize("maker", [make_feeds, make_trees, make_keys], ids=lambda it: it.FILE.stem)
def test_the_vectors_can_be_made_again(maker):
    assert maker.FILE.read_text(encoding="utf-8") == maker.document()


def test_the_readme_names_every_file_and_member():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in FILES:
        assert f"`{path.name}`" in readme
        for member in CONTENT[path.stem]:
            assert f"`{member}`" in readme


def test_every_rule_is_broken_once():
    notes = " ".join(vector["note"] for vector in FEEDS)
    assert [rule for rule in range(1, 15) if f"A{rule}:" not in notes] == []


def test_every_verdict_and_state_occurs():
    found: dict[str, set[str | None]] = {}
    for vector in FEEDS:
        for entry in vector["entries"]:
            found.setdefault(entry["verdict"], set()).add(entry.get("reason"))
    assert found == VERDICTS
    states = {end["state"] for vector in FEEDS for end in vector["feeds"]}
    assert states == {state.value for state in FeedState}
    bodies = {entry.get("body_state") for vector in FEEDS for entry in vector["entries"]}
    # What was erased is known to a store alone.
    assert bodies - {None} == {state.value for state in BodyState} - {"erased"}
    void = {why for vector in FEEDS for end in vector["feeds"] for _, why in end["void"]}
    assert void == {"cut", "disputed", "mirror"}


def test_every_fork_reason_occurs():
    reasons = {vector.get("reason") for vector in CONTENT["feeds"]["forks"]}
    assert reasons == {
        *(None, "no_fork", "too_big", "version"),
        *("bad_signature", "not_canonical", "bad_shape"),
    }


# --- what differs is said -------------------------------------------------------------------

OTHER = "00" * 32


def _set(value: object, *path: str | int):
    def spoil(content: dict[str, Any]) -> None:
        at: Any = content
        for step in path[:-1]:
            at = at[step]
        assert at[path[-1]] != value
        at[path[-1]] = value

    return spoil


def _drop(*path: str | int):
    def spoil(content: dict[str, Any]) -> None:
        at: Any = content
        for step in path[:-1]:
            at = at[step]
        del at[path[-1]]

    return spoil


SPOILT = [
    ("codec", _set("f4", "valid", 0, "hex"), "valid 1"),
    ("codec", _set(7, "valid", 3, "value"), "valid 4"),
    ("codec", _set("bad_shape", "hostile", 0, "reason"), "hostile 1"),
    ("codec", _set("00", "hostile", 0, "hex"), "hostile 1"),
    ("kinds", _set("a0", "kinds", 4, "valid", "hex"), "kinds profile/1: valid"),
    ("kinds", _set("Bob", "kinds", 4, "valid", "value", "name"), "kinds profile/1: valid"),
    ("kinds", _set("role", "kinds", 4, "invalid", 0, "reason"), "kinds profile/1: invalid 1"),
    ("feeds", _set("parked", "feeds", 0, "entries", 1, "verdict"), "feeds 1,"),
    ("feeds", _set("void", "feeds", 0, "entries", 1, "body_state"), "feeds 1,"),
    ("feeds", _set("future", "feeds", 2, "entries", 0, "reason"), "feeds 3,"),
    ("feeds", _set("frozen", "feeds", 0, "feeds", 0, "state"), "feeds 1,"),
    ("feeds", _set(9, "feeds", 0, "feeds", 0, "held"), "feeds 1,"),
    ("feeds", _set(0, "feeds", 0, "feeds", 1, "counts"), "feeds 1,"),
    ("feeds", _set([[1, "cut"]], "feeds", 0, "feeds", 0, "void"), "feeds 1,"),
    ("feeds", _set(0, "feeds", 0, "now_ms"), "feeds 1,"),
    ("feeds", _drop("feeds", 0, "feeds", 0), "feeds 1,"),
    ("feeds", _set(1, "forks", 0, "disputed_seq"), "forks 1"),
    ("feeds", _set(OTHER, "forks", 0, "author"), "forks 1"),
    ("feeds", _set("f6", "forks", 0, "hex"), "forks 1"),
    ("trees", _set(OTHER, "trees", 1, "root"), "trees 2"),
    ("trees", _set(OTHER, "trees", 1, "peaks"), "trees 2"),
    ("trees", _set(OTHER, "inclusion", 2, "root"), "inclusion 3"),
    ("trees", _set(OTHER, "consistency", 2, "new_root"), "consistency 3"),
    ("keys", _set(OTHER, "phrases", 0, "root_secret"), "phrases 1"),
    ("keys", _set("hanse:id:a", "phrases", 0, "identity"), "phrases 1"),
    ("keys", _set(OTHER, "phrases", 0, "roots", 1, "key"), "phrases 1"),
    ("keys", _set(OTHER, "phrases", 0, "epochs", 1, "sale_key"), "phrases 1"),
    ("keys", _set(OTHER, "phrases", 0, "device", "box"), "phrases 1"),
    ("keys", _drop("phrases", 2, "reason"), "phrases 3"),
    ("keys", _set(OTHER, "envelopes", 0, "key"), "envelopes 1"),
    ("keys", _set("f6", "envelopes", 0, "inner"), "envelopes 1"),
    ("keys", _set("f6", "disclosures", 0, "inner"), "disclosures 1"),
    ("keys", _set("role", "disclosures", 1, "reason"), "disclosures 2"),
]


@pytest.mark.parametrize(("name", "spoil", "where"), SPOILT)
def test_a_changed_vector_is_named(name, spoil, where):
    # A few of each are enough here: all of them are run above.
    few = {key: it[:5] if isinstance(it, list) else it for key, it in CONTENT[name].items()}
    content = copy.deepcopy(few)
    before, _ = check_vectors(raw_of(content))
    spoil(content)
    count, faults = check_vectors(raw_of(content))
    assert abs(count - before) <= 1
    assert faults
    assert all(place.startswith(where) for place, _ in faults)
    assert all(detail for _, detail in faults)


def test_both_values_are_named():
    content = {"about": "", "hostile": [{"hex": "f6", "reason": "role"}]}
    assert check_vectors(raw_of(content)) == (1, [("hostile 1, ", "expected role, found accepted")])


def test_a_phrase_is_checked_without_a_device_too():
    phrase = CONTENT["keys"]["phrases"][0] | {"device": None}
    assert check_vectors(raw_of({"about": "", "phrases": [phrase]})) == (1, [])


# --- what is no file of vectors -------------------------------------------------------------

ENTRY = {"header": "", "signature": "", "body": None, "verdict": "rejected", "reason": "bad_shape"}
FEED = {"note": "", "now_ms": 0, "entries": [ENTRY], "feeds": []}


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "truncated"),
        (b"\x00\xff", "malformed"),
        (b'{"about": "cut', "truncated"),
        (b'{"about": "\xff"}', "utf-8"),
        (b"[]", "object"),
        (b'{"about": 1}', "str"),
        (b'{"about": "nothing more"}', "no vectors"),
        (b'{"about": "", "songs": []}', "songs"),
        (b'{"about": "", "valid": {}}', "array"),
        (b'{"about": "", "valid": [{"hex": "F6"}]}', "regex"),
        (b'{"about": "", "valid": [{"hex": "f"}]}', "regex"),
        (b'{"about": "", "valid": [{"hex": "f6", "more": 1}]}', "more"),
        (b'{"about": "", "valid": [{"note": "%s", "hex": "f6"}]}' % (b"n" * 201), "length"),
        (b'{"about": "", "valid": [{"hex": "f6", "value": %s}]}' % (b"[" * 9999), ""),
        (
            raw_of({"about": "", "feeds": [FEED | {"entries": [ENTRY] * 101}]}),
            str(VECTOR_FEED_ENTRIES_MAX),
        ),
    ],
)
def test_what_is_no_file_of_vectors_is_refused_with_a_reason(raw, says):
    with pytest.raises(VectorsDamaged) as caught:
        check_vectors(raw)
    assert says.lower() in str(caught.value).lower()


def test_too_many_vectors_are_refused(monkeypatch):
    monkeypatch.setattr(vectors, "VECTORS_MAX", 2)
    content = {"about": "", "valid": [{"hex": "f6", "value": None}] * 2}
    assert check_vectors(raw_of(content)) == (2, [])
    content["valid"].append({"hex": "f6", "value": None})
    with pytest.raises(VectorsDamaged):
        check_vectors(raw_of(content))


@pytest.mark.parametrize(
    ("start", "may"),
    [
        (b'{\n "about": "Feeds', True),
        (b'{"about":1}', True),
        (b'  {  "about"  : ', True),
        (b"", False),
        (b"{", False),
        (b"{}", False),
        (b'{"name": "about"', False),
        (b'["about"]', False),
        (b"HANSEFEED\x01", False),
    ],
)
def test_a_file_of_vectors_is_known_by_its_first_bytes(start, may):
    assert is_vector_file(start) is may
