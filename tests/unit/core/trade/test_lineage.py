"""What a base model forbids cannot be offered; what is not known about it is said."""

from __future__ import annotations

import pytest

from hanse.core.model.card import BaseModel, Lineage, ModelCard
from hanse.core.model.licence import RIGHTS
from hanse.core.trade.lineage import known_licences, known_since, lineage_problems
from hanse.core.trade.spdx import read_licence
from hanse.core.trade.terms import template
from tests.fakes.drafts import said, small_draft, tier


def found(licence, *tiers, relation="finetune", price="100", release=None, **options):
    base = BaseModel(name="Base", licence=licence, relation=relation, release=release)
    card = ModelCard(lineage=Lineage(base_models=(base,)))
    draft = small_draft(card=card, price=price, tiers=tiers or (tier(),))
    problems = lineage_problems(draft, **options)
    assert all(said(problems)) or not problems
    return problems


def errors(*args, **options):
    return {one.code for one in found(*args, **options) if not one.is_warning}


def warnings(*args, **options):
    return {one.code for one in found(*args, **options) if one.is_warning}


@pytest.mark.parametrize("licence", ["MIT", "Apache-2.0", "CC-BY-4.0", "BSD-3-Clause"])
def test_permissive_bases_only_set_conditions(licence):
    assert errors(licence) == set()
    assert warnings(licence) == {"lineage.conditions"}


@pytest.mark.parametrize("licence", ["CC0-1.0", "Unlicense", "0BSD"])
def test_bases_without_conditions_say_nothing(licence):
    assert found(licence) == ()


def test_a_non_commercial_base_is_flagged_when_offered_commercially():
    problems = {one.code: one for one in found("CC-BY-NC-4.0")}
    assert problems["lineage.right"].values == {
        "base": "Base",
        "licence": "CC-BY-NC-4.0",
        "right": ("commercial",),
        "tier": "Standard",
    }
    assert not problems["lineage.no_sale"].is_warning
    assert problems["lineage.right_conditional"].values["right"] == ("saas",)


def test_a_non_commercial_base_may_be_passed_on_for_research_and_for_free():
    assert errors("CC-BY-NC-4.0", tier("research-1"), price="0") == set()
    assert errors("CC-BY-NC-4.0", tier("research-1"), price="0.01") == {"lineage.no_sale"}


def test_the_price_of_the_tier_counts_before_that_of_the_listing():
    assert errors("CC-BY-NC-4.0", tier("research-1", price="0")) == set()
    assert errors("CC-BY-NC-4.0", tier("research-1", price="5"), price="0") == {"lineage.no_sale"}


@pytest.mark.parametrize("relation", ["finetune", "merge", "quantise", "distil", "adapter", None])
def test_a_base_without_derivatives_allows_none(relation):
    assert "lineage.no_derivatives" in errors("CC-BY-ND-4.0", relation=relation)


def test_share_alike_asks_for_its_own_licence():
    assert errors("CC-BY-SA-4.0") == {"lineage.share_alike"}
    assert errors("CC-BY-SA-4.0", tier("open-cc-by-sa-4.0"), price="0") == set()
    assert errors("GPL-3.0-or-later", tier("open-mit")) == {"lineage.share_alike"}


def test_an_older_share_alike_may_be_passed_on_under_the_newer():
    assert errors("CC-BY-SA-3.0", tier("open-cc-by-sa-4.0")) == set()


def test_use_limits_are_a_condition():
    problems = found("LicenseRef-hub-creativeml-openrail-m")
    assert [one.code for one in problems] == ["lineage.conditions"]
    assert "use_limits" in problems[0].values["condition"]


def test_of_a_choice_the_licence_that_allows_most_counts():
    assert errors("CC-BY-NC-4.0 OR MIT") == set()
    assert "lineage.no_sale" in errors("CC-BY-NC-4.0 AND MIT")


def test_an_exception_does_not_hide_its_licence():
    assert errors("GPL-2.0-only WITH Classpath-exception-2.0") == {"lineage.share_alike"}


@pytest.mark.parametrize("licence", ["LicenseRef-own", "no licence at all", "X11", "MIT AND X11"])
def test_an_unknown_licence_is_a_warning(licence):
    assert errors(licence) == set()
    assert "lineage.unknown" in warnings(licence)


def test_a_base_without_a_licence_is_a_warning():
    assert warnings("") == {"lineage.not_stated"}


def test_our_own_templates_are_known_by_their_id_and_their_reference():
    for licence in ("commercial-1", "LicenseRef-hanse-commercial-1"):
        assert errors(licence) == {"lineage.no_passing_on", "lineage.no_sale"}


def test_a_distilled_model_passes_no_weights_on_but_must_be_allowed():
    assert errors("research-1", relation="distil", price="0") >= {"lineage.right"}
    assert errors("commercial-1", relation="distil", price="0") == {"lineage.no_derivatives"}


def test_the_terms_of_a_release_are_taken_from_the_ledger():
    release = b"r" * 32
    known = {release: (template("open-mit").terms, template("research-1").terms)}
    assert errors("", release=release, known=known) == set()
    known = {release: (template("research-1").terms,)}
    assert "lineage.no_sale" in errors("", release=release, known=known)


def test_nobody_needs_a_licence_for_his_own_release():
    release = b"r" * 32
    assert found("CC-BY-ND-4.0", release=release, own=frozenset({release})) == ()


def test_every_tier_is_held_against_every_base():
    problems = found("CC-BY-NC-4.0", tier(name="A"), tier(name="B"))
    assert {one.values.get("tier") for one in problems if not one.is_warning} == {"A", "B"}
    conditions = [one for one in problems if one.code == "lineage.conditions"]
    assert len(conditions) == 1  # said once


def test_a_base_is_named_by_what_is_known_of_it():
    bases = (BaseModel(id="org/model"), BaseModel(release=b"\xab" * 32), BaseModel())
    draft = small_draft(card=ModelCard(lineage=Lineage(base_models=bases)))
    names = [one.values["base"] for one in lineage_problems(draft)]
    assert names == ["org/model", "ab" * 8, "3"]


@pytest.mark.parametrize("licence", sorted(known_licences()))
def test_what_is_known_of_a_licence_is_whole_and_its_id_is_one(licence):
    row = known_licences()[licence]
    assert read_licence(licence) == licence
    assert set(row.rights) == set(RIGHTS)
    assert all(one == "self" or read_licence(one) == one for one in row.share_alike)
    assert bool(row.conditions) == (2 in row.rights.values())
    assert ("share_alike" in row.conditions) == bool(row.share_alike)


def test_what_is_known_is_dated():
    assert known_since().year >= 2026
