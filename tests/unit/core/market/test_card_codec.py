"""One card has one encoding, within its bounds; a Draft can be kept whatever is wrong in it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.errors import BadShape, NotCanonical
from hanse.core.ledger.codec import decode_any, encode
from hanse.core.limits import CARD_SIZE_BYTES_MAX, DRAFT_SIZE_BYTES_MAX
from hanse.core.market.card_codec import (
    CardUnfit,
    DraftUnfit,
    encode_card,
    encode_draft,
    read_card,
    read_draft,
)
from hanse.core.market.card_faults import faults_of
from hanse.core.model.card import (
    Column,
    Dataset,
    EvaluationSet,
    ModelCard,
    Recipe,
    Signature,
    Tensor,
    TrainingData,
    Use,
)
from hanse.core.model.listing import Draft
from tests.fakes.drafts import full_card, full_draft, small_draft


@pytest.mark.parametrize("card", [ModelCard(), full_card()], ids=["empty", "full"])
def test_a_card_is_read_as_it_was_written(card):
    raw = encode_card(card)
    assert read_card(raw) == card
    assert encode_card(read_card(raw)) == raw


def test_later_fields_stand_in_a_card_only_where_they_are_stated():
    tensor = Tensor(name="x", dtype="float32")
    bare = ModelCard(signature=Signature(inputs=(tensor,)))
    plain = decode_any(encode_card(bare))
    assert "evaluation" not in plain
    assert "columns" not in plain["signature"]["inputs"][0]
    named = msgspec.structs.replace(tensor, columns=(Column(name="age", high_micro=120_000_000),))
    stated = ModelCard(
        signature=Signature(inputs=(named,)),
        evaluation=EvaluationSet(name="rows.csv", sha256=bytes(32), size=10, targets=("sick",)),
    )
    assert read_card(encode_card(stated)) == stated
    # Stated as empty it would be a second encoding of "not stated".
    plain["signature"]["inputs"][0]["columns"] = []
    with pytest.raises(BadShape):
        read_card(encode(plain))


def test_what_is_not_stated_stands_as_null_or_empty_and_nothing_is_made_up():
    plain = decode_any(encode_card(ModelCard()))
    assert plain["architecture"] == {
        "family": "",
        "parameters": None,
        "context": None,
        "objective": "",
    }
    assert plain["ai_act"]["is_gpai"] is None
    assert set(plain["checklist"]) == {"not_stated"}


def test_a_card_that_leaves_fields_out_is_another_encoding_and_refused():
    with pytest.raises(NotCanonical):
        read_card(encode({"v": 1}))


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"unknown": 1},
        {"claims": [{"metric": "a", "value_micro": 1.5}]},
        {"checklist": ["yes"] * 7},
        {"lang": "toolonglang"},
        {"use": None},
    ],
)
def test_a_card_of_another_shape_is_refused(changes):
    import libipld  # noqa: PLC0415  writes what our own encoder would not

    with pytest.raises((BadShape, NotCanonical)):
        read_card(libipld.encode_dag_cbor({**decode_any(encode_card(ModelCard())), **changes}))


def test_a_stranger_s_card_with_control_characters_is_refused():
    plain = decode_any(encode_card(ModelCard()))
    plain["use"]["users"] = "a\x1b[31m"
    with pytest.raises(BadShape, match=r"use\.users"):
        read_card(encode(plain))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_card_or_refused(raw):
    with pytest.raises((BadShape, NotCanonical)):
        read_card(raw)


def test_a_card_beyond_its_size_is_neither_written_nor_read():
    long = ModelCard(recipe=Recipe(labels=("x" * 200,) * 10_000))
    with pytest.raises(CardUnfit, match="card"):
        encode_card(long)
    with pytest.raises(BadShape, match="limit"):
        read_card(b"\0" * (CARD_SIZE_BYTES_MAX + 1))


def test_a_card_with_a_broken_bound_is_not_written_and_names_the_place():
    card = ModelCard(training=TrainingData(datasets=(Dataset(), Dataset(known_bias="x" * 4001))))
    with pytest.raises(CardUnfit, match=r"training\.datasets\[1\]\.known_bias"):
        encode_card(card)


def test_every_fault_is_given_with_what_was_found_and_allowed():
    card = ModelCard(
        lang="123456789",
        made_from=b"short",
        modality_in=("smell",),
        checklist=("yes",) * 9,
        claims="none",
        use=Use(uses="a\x00", users="ok\nok"),
    )
    found = {(one.path, one.kind) for one in faults_of(card)}
    assert found == {
        ("lang", "too_long"),
        ("made_from", "not_a_value"),
        ("modality_in[0]", "not_a_value"),
        ("checklist", "too_many"),
        ("claims", "not_a_value"),
        ("use.uses", "not_text"),
    }


def test_names_out_of_a_model_file_are_kept_as_they_are():
    card = full_card()
    odd = msgspec.structs.replace(card.signature.inputs[0], name="a\tb\u0065\u0301")
    signature = msgspec.structs.replace(card.signature, inputs=(odd,))
    kept = msgspec.structs.replace(card, signature=signature)
    assert read_card(encode_card(kept)) == kept


@pytest.mark.parametrize(
    "draft", [Draft(), small_draft(), full_draft()], ids=["new", "small", "full"]
)
def test_a_draft_is_read_as_it_was_kept(draft):
    assert read_draft(encode_draft(draft)) == draft


def test_a_draft_is_kept_whatever_is_wrong_in_it():
    draft = Draft(title="x" * 500, price="-1,5", capacity=-1, sectors=("?",), mediators=(b"",))
    assert read_draft(encode_draft(draft)) == draft


def test_a_draft_of_an_older_program_takes_defaults_for_what_it_lacks():
    assert read_draft(encode({"v": 1, "title": "Old"})) == Draft(title="Old")


@pytest.mark.parametrize("raw", [b"", b"\xa0x", encode({"v": 2}), encode({"v": 1, "new": 1})])
def test_bytes_that_are_no_draft_are_refused(raw):
    with pytest.raises(DraftUnfit):
        read_draft(raw)


@pytest.mark.parametrize(
    "changes", [{"title": "\ud800"}, {"prefs": {"a": 1.5}}, {"text": "x" * 100_001}]
)
def test_a_draft_that_cannot_be_kept_says_so(changes):
    with pytest.raises(DraftUnfit):
        encode_draft(Draft(**changes))


def test_a_kept_draft_has_a_limit():
    with pytest.raises(DraftUnfit, match=str(DRAFT_SIZE_BYTES_MAX)):
        read_draft(b"\0" * (DRAFT_SIZE_BYTES_MAX + 1))
