"""Drafts of the engine: which are shown, which goes on, and what is asked before a file is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hanse.core.engine.publishing import level_of
from hanse.core.engine.redraft import UnknownListing, gives_in_the_clear, next_version
from hanse.core.model.artifact import ModelFacts, Parity
from hanse.core.model.control import Control
from hanse.core.model.listing import Draft, TierDraft
from hanse.core.store.drafts import DRAFT_ID_SIZE_BYTES, DraftState
from hanse.core.trade.terms import own_terms, template
from tests.fakes.shop import plain_weights, seller

PUBLISHED = 450  # more than two pages


def test_an_old_draft_is_still_there_after_many_publications(tmp_path):
    person = seller(tmp_path)
    with person.open() as engine:
        file = plain_weights(tmp_path / "old")
        old = engine.publishing.begin(file, Control()).draft_id
        with engine.context.store.unit_of_work() as uow:
            row = uow.drafts.get(old)
            for number in range(PUBLISHED):
                name = number.to_bytes(DRAFT_ID_SIZE_BYTES, "big")
                at_ms = row.updated_ms + 1 + number
                uow.drafts.put(
                    replace(row, draft=name, state=DraftState.PUBLISHED, updated_ms=at_ms)
                )
            uow.commit()
        assert [one.draft_id for one in engine.publishing.drafts()] == [old]
        assert engine.publishing.begin(file, Control()).draft_id == old


def test_the_listing_is_looked_up_before_a_large_file_is_read(tmp_path):
    person = seller(tmp_path)
    with person.open() as engine, pytest.raises(UnknownListing):
        engine.publishing.begin(tmp_path / "missing", Control(), listing=bytes(32))


@pytest.mark.parametrize(
    ("version", "following"),
    [("1.0.0", "1.1.0"), ("1.9.3", "1.10.0"), ("2.0.0-rc.1", "2.1.0"), ("v3", "v3-next")],
)
def test_the_next_version_is_a_minor_one_up(version, following):
    assert next_version(version) == following


def free(licence, price="0", tier_price=""):
    terms = template(licence).terms
    return Draft(price=price, tiers=(TierDraft(name="One", terms=terms, price=tier_price),))


@pytest.mark.parametrize(
    "licence", ["open-mit", "open-apache-2.0", "open-cc0-1.0", "open-cc-by-4.0"]
)
def test_free_models_under_public_licences_are_given_in_the_clear(licence):
    assert gives_in_the_clear(free(licence))
    assert gives_in_the_clear(free(licence, "0.00", "0"))
    assert not gives_in_the_clear(free(licence, "5"))
    assert not gives_in_the_clear(free(licence, "0", "5"))


@pytest.mark.parametrize("licence", ["commercial-1", "research-1", "evaluation-1", "saas-1"])
def test_models_that_nobody_may_pass_on_are_sealed_also_when_they_are_free(licence):
    assert not gives_in_the_clear(free(licence))


def test_a_condition_of_the_sellers_own_is_no_public_licence():
    terms = own_terms("You may pass it on to your sister.", template("open-mit").terms)
    draft = Draft(price="0", tiers=(TierDraft(name="One", terms=terms),))
    assert not gives_in_the_clear(draft)


def parity(verdict):
    return Parity(
        source_format="skops", tools={}, inputs=0, origin="none", outputs=(),
        rtol_nano=1, atol_nano=1, verdict=verdict,
    )  # fmt: skip


def test_a_level_is_reached_by_files_that_are_read_and_agree():
    onnx, pickle = ModelFacts(format="onnx", file="a"), ModelFacts(format="pickle", file="b")
    assert level_of(Draft()) == 0
    assert level_of(Draft(facts=(onnx,))) == 1
    assert level_of(Draft(facts=(onnx, pickle))) == 0
    assert level_of(Draft(facts=(onnx,), parity=parity("pass"))) == 1
    assert level_of(Draft(facts=(onnx,), parity=parity("fail"))) == 0
