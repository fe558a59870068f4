from __future__ import annotations

import pytest

from hanse.core.limits import MONEY_AMOUNT_MAX
from hanse.core.market.facets import (
    asked_minor,
    frameworks,
    price_band,
    price_micro,
    size_band,
    tier_facts,
)
from hanse.core.model.licence import RIGHTS
from tests.fakes.author import tier


@pytest.mark.parametrize(
    ("minor", "exponent", "band"),
    [
        (0, 2, "usd:free"),
        (1, 2, "usd:lt10"),
        (999, 2, "usd:lt10"),
        (1000, 2, "usd:lt100"),
        (99_999, 2, "usd:lt1k"),
        (999_999, 2, "usd:lt10k"),
        (1_000_000, 2, "usd:more"),
        (9, 0, "usd:lt10"),
        (10, 0, "usd:lt100"),
        (10**18, 18, "usd:lt10"),
    ],
)
def test_a_price_band_is_the_magnitude_in_major_units(minor, exponent, band):
    assert price_band(minor, "USD", exponent) == band


def test_a_price_on_request_has_a_band_of_no_currency():
    assert price_band(None, "USD", 2) == "ask"


@pytest.mark.parametrize(
    ("minor", "exponent", "micro"),
    [
        (2500, 2, 25_000_000),
        (25, 0, 25_000_000),
        (25_000_000, 6, 25_000_000),
        (1999, 9, 1),
        (10**18, 18, 10**6),
        (MONEY_AMOUNT_MAX, 0, MONEY_AMOUNT_MAX),
    ],
)
def test_prices_of_unlike_exponents_compare_in_millionths(minor, exponent, micro):
    assert price_micro(minor, exponent) == micro


@pytest.mark.parametrize(
    ("size_bytes", "band"),
    [(1, "lt1mb"), (999_999, "lt1mb"), (10**6, "lt10mb"), (10**9, "lt10gb"), (10**10, "more")],
)
def test_a_size_band_is_a_decimal_magnitude(size_bytes, band):
    assert size_band(size_bytes) == band


def test_a_seller_who_names_frameworks_is_believed_before_his_formats():
    assert frameworks(["framework.jax", "task.ocr"], ["keras_h5"]) == ("jax",)
    assert frameworks(["task.ocr"], ["skops", "joblib", "pt2"]) == ("pytorch", "sklearn")
    assert frameworks([], ["onnx", "gguf"]) == ()


NOTHING = dict.fromkeys(RIGHTS, 0)


def test_tiers_give_the_first_licence_the_rights_of_any_and_the_lowest_price():
    saas = NOTHING | {"saas": 2, "clauses": {"saas": 3}}
    facts = tier_facts(
        [tier("MIT", 300, **(NOTHING | {"commercial": 1})), tier("Apache-2.0", -100, **saas)], 500
    )
    assert (facts.licence, facts.lowest_minor) == ("MIT", 400)
    assert facts.rights == ("commercial", "saas")


def test_without_tiers_it_costs_what_is_asked_and_has_no_licence():
    facts = tier_facts([], 500)
    assert (facts.licence, facts.rights, facts.lowest_minor) == (None, (), 500)


def test_no_tier_costs_less_than_nothing():
    assert tier_facts([tier(adds=-900)], 500).lowest_minor == 0


@pytest.mark.parametrize(
    "odd",
    [{}, {"v": 2}, {**tier(), "more": 1}, {**tier(), "adds": "9"}, {**tier(), "terms": {}}],
    ids=["empty", "another version", "more", "no number", "no terms"],
)
def test_a_tier_of_another_shape_is_passed_over(odd):
    facts = tier_facts([odd], 500)
    assert (facts.licence, facts.rights, facts.lowest_minor) == (None, (), 500)
    assert tier_facts([odd, tier(adds=7)], 500).lowest_minor == 507


@pytest.mark.parametrize(
    ("mode", "terms", "minor"),
    [
        ("fixed", [], 1000),
        ("fixed", [["launch", -100], ["rush", 30]], 930),
        ("fixed", [["gift", -5000]], 200),
        ("fixed", [["gold", 5000]], 1500),
        ("fixed", [["odd"], ["odd", "7"], ["odd", True], 7, [1, 2], ["good", 5]], 1005),
        ("fixed", "no list", 1000),
        ("signals", [["launch", -100]], 1000),
        ("rfq", [], 1000),
    ],
)
def test_a_fixed_price_is_asked_with_its_named_terms_within_its_bounds(mode, terms, minor):
    assert asked_minor(mode, 1000, (200, 1500), {"terms": terms}) == minor


def test_a_price_without_terms_is_its_amount():
    assert asked_minor("fixed", 1000, (0, 2000), {}) == 1000
