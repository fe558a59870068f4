"""The golden vectors of content, run the way ``hanse verify FILE`` runs them."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from hanse.core.artifacts.content_vectors import check_content_vectors, is_content_vectors
from hanse.core.engine.auditing import verify_file
from hanse.core.ledger.vectors import VectorsDamaged, is_vector_file
from hanse.core.limits import EVIDENCE_FILE_SIZE_BYTES_MAX, VECTOR_DATA_SIZE_BYTES_MAX
from hanse.core.model.card import ModelCard
from hanse.core.model.licence import Terms
from tests.vectors import make_content

RAW = make_content.FILE.read_bytes()
CONTENT: dict[str, Any] = json.loads(RAW)
MEMBERS = [name for name in CONTENT if name != "about"]
OTHER = "11" * 32


def raw_of(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()


# --- the file -------------------------------------------------------------------------------


def test_every_vector_comes_out_as_written():
    assert is_vector_file(RAW[:64])
    assert is_content_vectors(RAW)
    count, faults = check_content_vectors(RAW)
    assert faults == []
    assert count == sum(len(CONTENT[name]) for name in MEMBERS)


def test_hanse_verify_runs_it():
    report = verify_file(make_content.FILE, now_ms=1)
    assert report.holds
    assert report.entries == sum(len(CONTENT[name]) for name in MEMBERS)


def test_the_vectors_can_be_made_again():
    assert RAW.decode() == make_content.document()


def test_the_file_stays_small_enough_to_be_read():
    assert len(RAW) < EVIDENCE_FILE_SIZE_BYTES_MAX // 100


def test_the_readme_names_every_member():
    readme = make_content.FILE.with_name("README.md").read_text(encoding="utf-8")
    assert [name for name in ("content.json", *MEMBERS) if f"`{name}`" not in readme] == []


def test_the_ledgers_vectors_are_not_taken_for_content():
    for path in make_content.FILE.parent.glob("*.json"):
        assert is_content_vectors(path.read_bytes()) == (path == make_content.FILE)


def test_the_edges_of_leaf_and_piece_are_there():
    sizes = {row["data"]["size"] for row in CONTENT["files"]}
    for edge in (make_content.LEAF, make_content.PIECE):
        assert {edge - 1, edge, edge + 1} <= sizes
    assert 0 in sizes


def test_the_card_and_the_tier_have_every_field():
    left_out = {"evaluation"}  # a later field, which stands in no card that does not state it
    assert set(make_content.card()) == set(ModelCard.__struct_fields__) - left_out
    assert set(make_content.terms()) == set(Terms.__struct_fields__)


def test_the_own_cipher_is_that_of_rfc_8439():
    # Appendix A.1, test vector 2: key and nonce of zeros, block 1.
    block = make_content.key_stream_block(bytes(32), 1)
    assert block.hex().startswith("9f07e7be5551387a98ba977c732d080d")
    assert len(block) == 64


# --- what differs is said -------------------------------------------------------------------


def _spoilt() -> list[tuple[str, dict[str, Any], str]]:
    found = []
    for member, number, name, value, says in (
        ("files", 3, "root", OTHER, "root"),
        ("files", 8, "piece_layer", "", "piece layer"),
        ("files", 0, "leaves", 1, "leaves"),
        ("blocks", 2, "index", 3, "other_root"),
        ("manifests", 0, "artifact", OTHER, "artifact"),
        ("manifests", 2, "reason", "twin", "unsorted"),
        ("sealed_manifests", 0, "salt", OTHER, "salt"),
        ("seals", 0, "content_key", OTHER, "piece key"),
        ("seals", 0, "seal_root", OTHER, "seal_root"),
        ("seals", 0, "paths", ["b", "a", "c"], "out of order"),
        ("seals", 0, "paths", ["a"], "3 files and 1 paths"),
        ("file_proofs", 0, "holds", False, "holds"),
        ("cards", 0, "sha256", OTHER, "sha256"),
        ("tiers", 0, "adds", 5, "adds"),
        ("tiers", 0, "hex", "80", "bad_shape"),
    ):
        content = copy.deepcopy(CONTENT)
        assert content[member][number][name] != value
        content[member][number][name] = value
        found.append((f"{member} {number + 1}, ", content, says))
    return found


@pytest.mark.parametrize(
    ("where", "content", "says"), _spoilt(), ids=[f"{row[0]}{row[2]}" for row in _spoilt()]
)
def test_a_vector_that_comes_out_otherwise_is_named(where, content, says):
    member = where.partition(" ")[0]
    only = {"about": "", member: content[member]}
    _, faults = check_content_vectors(raw_of(only))
    assert len(faults) == 1
    place, fault = faults[0]
    assert place.startswith(where)
    assert says in fault


@pytest.mark.parametrize(
    "content",
    [
        {"about": "", "files": []},
        {"about": "", "files": [{"note": "no data"}]},
        {"about": "", "cards": CONTENT["cards"], "colours": []},
    ],
    ids=["nothing", "a field missing", "an unknown member"],
)
def test_a_file_that_holds_no_vectors_is_damaged(content):
    with pytest.raises(VectorsDamaged):
        check_content_vectors(raw_of(content))


def test_a_file_that_would_hash_without_end_is_refused_before_anything_is_hashed():
    row = CONTENT["files"][1]
    many = [
        row | {"data": {"seed": "", "size": size}} for size in (VECTOR_DATA_SIZE_BYTES_MAX, 2**62)
    ]
    with pytest.raises(VectorsDamaged, match="limit"):
        check_content_vectors(raw_of({"about": "", "files": many}))
    block = CONTENT["blocks"][0] | {"block": 2**62, "data": {"seed": "", "size": 2**62}}
    _, faults = check_content_vectors(raw_of({"about": "", "blocks": [block]}))
    assert "vectors.damaged" in faults[0][1]
