"""Completeness counts answered over applicable, and asks first for what buyers filter by."""

from __future__ import annotations

import msgspec

from hanse.core.market.completeness import (
    QUESTIONS,
    ai_act_gaps,
    completeness,
    needed_for_sector,
)
from hanse.core.model.card import AiAct, Lineage, ModelCard
from hanse.core.model.listing import Draft
from hanse.core.sentences import LANGUAGES, catalogue
from tests.fakes.drafts import full_draft, small_draft


def test_a_full_draft_is_complete():
    found = completeness(full_draft())
    assert (found.percent, found.missing) == (100, ())
    assert found.answered == found.applicable == sum(one.applicable for one in found.groups)


def test_an_empty_draft_is_asked_first_for_what_buyers_filter_by():
    found = completeness(Draft())
    assert (found.answered, found.percent) == (0, 0)
    assert found.missing[:6] == (
        *("task", "sectors", "formats", "card.variants.framework", "price", "tiers"),
    )
    place = next(one for one in found.groups if one.group == "place")
    assert place.missing[:2] == ("task", "sectors")


def test_only_a_whole_card_is_a_hundred_percent():
    draft = full_draft(tags=())
    found = completeness(draft)
    assert (found.missing, found.percent) == (("tags",), 98)


def test_what_does_not_apply_is_not_counted():
    plain, medical = completeness(small_draft()), completeness(small_draft(sectors=("medical",)))
    assert medical.applicable == plain.applicable + 5  # the risk fields
    assert "risk" not in {one.group for one in plain.groups}
    lineage = next(one for one in plain.groups if one.group == "lineage")
    assert lineage.applicable == 1
    original = small_draft(card=ModelCard(lineage=Lineage(is_original=True)))
    assert "card.lineage.base_models" not in completeness(original).missing


def test_a_card_that_cannot_disclose_is_not_asked_for_details():
    training = msgspec.structs.replace(
        full_draft().card.training, datasets=(), cannot_disclose="a customer's"
    )
    draft = full_draft(card=msgspec.structs.replace(full_draft().card, training=training))
    assert completeness(draft).missing == ()


def test_an_answer_of_no_is_an_answer():
    card = ModelCard(ai_act=AiAct(is_gpai=False), lineage=Lineage(is_original=False))
    missing = completeness(small_draft(card=card)).missing
    assert not {"card.ai_act.is_gpai", "card.lineage.base_models"} & set(missing)


def test_only_some_sectors_need_more():
    assert needed_for_sector(small_draft(sectors=("retail",))) == ()
    assert needed_for_sector(full_draft()) == ()


def test_gaps_of_the_ai_act_name_article_and_state():
    gaps = {one.field: one for one in ai_act_gaps(small_draft())}
    assert gaps["card.ai_act.role"].state == "not_stated"
    assert gaps["card.ai_act.copyright_policy"].state == "not_applicable"
    assert gaps["card.ai_act.copyright_policy"].article == "Art. 53(1)(c)"
    general = full_draft(
        card=msgspec.structs.replace(full_draft().card, ai_act=AiAct(is_gpai=True, eu_contact="x"))
    )
    states = {one.field: one.state for one in ai_act_gaps(general)}
    assert states["card.ai_act.copyright_policy"] == "not_stated"
    assert states["card.ai_act.eu_contact"] == states["card.use.uses"] == "stated"


def test_every_field_that_is_asked_for_has_a_word_in_both_languages():
    for language in LANGUAGES:
        words = catalogue(language)
        for question in QUESTIONS:
            field = question.field
            if field.startswith("card.checklist."):
                assert f"word.point.{field.rpartition('.')[2]}" in words
            else:
                assert f"word.field.{field}" in words
