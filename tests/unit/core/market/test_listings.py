"""Every problem of a Draft is said at once, beside its field, in both languages."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.errors import BadShape
from hanse.core.ledger.kinds import encode_body, parse_body
from hanse.core.limits import (
    LISTING_CONCEPTS_MAX,
    LISTING_MEDIA_MAX,
    LISTING_MEDIATORS_MAX,
    LISTING_MS_MAX,
    LISTING_SECTORS_MAX,
    LISTING_SUMMARY_CHARACTERS_MAX,
    LISTING_TAGS_MAX,
    LISTING_TEXT_CHARACTERS_MAX,
    LISTING_TITLE_CHARACTERS_MAX,
    RELEASE_NOTES_CHARACTERS_MAX,
    RELEASE_VERSION_CHARACTERS_MAX,
)
from hanse.core.market.card_codec import encode_card
from hanse.core.market.listings import (
    card_of,
    listing_body,
    may_amend,
    may_supersede,
    price_body,
    release_body,
    validate_draft,
    version_order,
)
from hanse.core.model.artifact import OutputParity, Parity
from hanse.core.model.card import (
    CHECKLIST,
    AiAct,
    AnswersTrial,
    BaseModel,
    Lineage,
    ModelCard,
    OpenTrial,
    SealedTrial,
    Trials,
    Use,
)
from hanse.core.model.listing import Draft, PriceTerm, TierDraft
from hanse.core.trade.terms import template
from tests.fakes.drafts import NOW_MS, SALT, VOCABULARY, full_draft, said, small_draft, tier


def problems(draft, **options):
    found = validate_draft(draft, now_ms=NOW_MS, vocabulary=VOCABULARY, **options)
    assert all(said(found))
    return found


def errors(draft, **options):
    return [one for one in problems(draft, **options) if not one.is_warning]


def codes(draft, **options):
    return {(one.code, one.field) for one in errors(draft, **options)}


def the_only(draft):
    (problem,) = errors(draft)
    return problem


def test_the_article_s_four_values_are_enough():
    assert errors(small_draft()) == []


def test_a_full_draft_has_no_problem_not_even_a_warning():
    assert problems(full_draft()) == ()


def test_an_empty_draft_names_everything_it_lacks_at_once():
    assert codes(Draft()) == {
        ("listing.missing", "title"),
        ("listing.missing", "text"),
        ("listing.missing", "price"),
        ("listing.missing", "tiers"),
        ("listing.no_model", "artifact"),
    }


def test_many_problems_are_said_together():
    draft = small_draft(
        title="", price="-1", currency="EUR", version="new", task="imageclassification"
    )
    assert codes(draft) == {
        ("listing.missing", "title"),
        ("money.negative", "price"),
        ("release.version", "version"),
        ("listing.unknown_task", "task"),
    }


def test_before_the_import_nothing_is_asked_of_the_model():
    draft = small_draft(artifact=None, size=0, files=0, formats=())
    assert errors(draft, needs_model=False) == []


@pytest.mark.parametrize(
    ("field", "most"),
    [
        ("title", LISTING_TITLE_CHARACTERS_MAX),
        ("summary", LISTING_SUMMARY_CHARACTERS_MAX),
        ("text", LISTING_TEXT_CHARACTERS_MAX),
    ],
)
def test_a_text_that_is_too_long_names_its_length_and_the_limit(field, most):
    assert errors(small_draft(**{field: "模" * most})) == []
    problem = the_only(small_draft(**{field: "模" * (most + 1)}))
    assert problem.code == "listing.too_long"
    assert problem.values == {"field": field, "found": most + 1, "most": most}


@pytest.mark.parametrize("title", ["a\x00b", "a\nb", "a\u2028b", "a\x1b[31m", "a\ud800"])
def test_control_characters_in_a_title_are_refused(title):
    assert the_only(small_draft(title=title)).code == "listing.control_characters"


def test_a_title_is_kept_as_given_but_for_its_normal_form():
    draft = small_draft(title="'Cafe\u0301' {x} --- ")
    assert errors(draft) == []
    body = listing_body(draft, SALT, now_ms=NOW_MS, vocabulary=VOCABULARY)
    assert body.title == "'Caf\u00e9' {x} --- "


def test_line_ends_of_other_systems_are_no_control_characters():
    assert errors(small_draft(text="a\r\nb\rc")) == []
    assert the_only(small_draft(text="a\tb")).code == "listing.control_characters"


def test_an_unknown_sector_suggests_the_nearest():
    problem = the_only(small_draft(sectors=("finanze",)))
    assert problem.code == "listing.unknown_sector"
    assert problem.values == {"found": "finanze", "nearest": "finance"}
    assert "finance" in said([problem])[0]


def test_a_sector_or_task_is_understood_by_any_of_its_names():
    draft = small_draft(sectors=("零售",), task="图像识别")
    assert errors(draft) == []
    body = listing_body(draft, SALT, now_ms=NOW_MS, vocabulary=VOCABULARY)
    assert (body.sectors, body.task) == (("retail",), "image-classification")


def test_the_same_sector_twice_under_two_names_is_seen():
    assert the_only(small_draft(sectors=("零售", "retail"))).code == "listing.twice"


@pytest.mark.parametrize("tag", ["", " ", "-x", "a\tb", "#x", "x,y", "x" * 41, "<b>"])
def test_a_tag_of_another_shape_is_refused(tag):
    (problem,) = errors(small_draft(tags=(tag,)))
    assert problem.field == "tags[0]"


@pytest.mark.parametrize("tag", ["ocr", "图像", "c++", "license:mit", "on-device", "v1.2", "A b"])
def test_usual_tags_are_taken(tag):
    assert errors(small_draft(tags=(tag,))) == []


def test_too_many_tags_are_counted():
    problem = the_only(small_draft(tags=tuple(f"t{number}" for number in range(17))))
    assert problem.values == {"field": "tags", "found": 17, "most": 16}


@pytest.mark.parametrize("lang", ["", "english", "EN", "zh_CN", "e"])
def test_a_language_is_a_code(lang):
    assert the_only(small_draft(lang=lang)).code == "listing.language"


@pytest.mark.parametrize("version", ["1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "", "1.0.0 beta"])
def test_a_version_that_has_no_order_is_refused(version):
    assert the_only(small_draft(version=version)).code == "release.version"


@pytest.mark.parametrize(
    ("price", "currency", "code"),
    [
        *(("12.345", "EUR", "money.decimals"), ("100.5", "JPY", "money.decimals")),
        *(("1,000", "EUR", "money.separators"), ("lots", "EUR", "money.unreadable")),
        *(("9" * 20, "EUR", "money.too_large"), ("-0.01", "EUR", "money.negative")),
    ],
)
def test_a_price_that_is_no_amount_says_why(price, currency, code):
    assert the_only(small_draft(price=price, currency=currency)).code == code


def test_an_unknown_currency_is_said_once_and_suggests_the_nearest():
    problem = the_only(
        small_draft(
            currency="EURO",
            tiers=(tier(price="1"),),
            price_terms=(PriceTerm(name="launch", amount="-1"),),
        )
    )
    assert (problem.code, problem.field) == ("money.unknown_currency", "currency")
    assert problem.values["nearest"] == "EUR"


def test_named_terms_may_lower_a_price_but_not_below_zero():
    terms = (PriceTerm(name="launch", amount="-100"),)
    assert errors(small_draft(price_terms=terms)) == []
    problem = the_only(small_draft(price="99.99", price_terms=terms))
    assert problem.code == "price.total"
    assert problem.values == {"total": "-0.01", "currency": "USD"}


def test_a_term_needs_a_name_and_an_amount():
    assert codes(small_draft(price_terms=(PriceTerm(name=" ", amount=""),))) == {
        ("listing.missing", "price_terms[0].name"),
        ("money.unreadable", "price_terms[0].amount"),
    }


def test_a_tier_is_looked_at_in_its_place():
    tiers = (tier(), tier(name="x" * 41, price="1.001"))
    assert codes(small_draft(tiers=tiers)) == {
        ("listing.too_long", "tiers[1].name"),
        ("money.decimals", "tiers[1].price"),
    }


def test_a_matrix_that_contradicts_its_clauses_is_refused():
    terms = msgspec.structs.replace(template("commercial-1").terms, resale=2, seats=-1)
    found = codes(small_draft(tiers=(TierDraft(name="x", terms=terms),)))
    assert found == {("licence.clauses", "tiers[0].terms"), ("card.bound", "tiers[0].terms.seats")}


def test_an_end_that_is_past_or_too_far_names_both_times():
    past = the_only(small_draft(valid_until=NOW_MS))
    assert (past.code, past.values) == (
        "listing.ended",
        {"until_ms": NOW_MS, "now_ms": NOW_MS},
    )
    assert errors(small_draft(valid_until=NOW_MS + LISTING_MS_MAX)) == []
    far = the_only(small_draft(valid_until=NOW_MS + LISTING_MS_MAX + 1))
    assert far.code == "listing.ends_too_late"


def test_capacity_keys_and_pictures_are_bounded():
    draft = small_draft(capacity=0, mediators=(b"short",), media=(b"m" * 32, b"m" * 32))
    assert codes(draft) == {
        ("listing.capacity", "capacity"),
        ("listing.key_size", "mediators[0]"),
        ("listing.twice", "media"),
    }


@pytest.mark.parametrize("sector", ["medical", "finance", "医疗", "金融"])
def test_medicine_and_finance_need_their_risk_fields_each_named(sector):
    fields = [one.field for one in errors(small_draft(sectors=(sector,)))]
    assert fields == [
        *(f"card.training.{name}" for name in ("datasets", "source", "personal", "sensitive")),
        *(f"card.use.{name}" for name in ("users", "uses", "out_of_scope", "limitations")),
        *(f"card.risk.{name}" for name in ("ethics", "fairness", "explainability")),
        *(f"card.risk.{name}" for name in ("safety_risk", "human_oversight")),
    ]


def test_other_sectors_need_none_of_them():
    assert errors(small_draft(sectors=("retail", "manufacturing"))) == []


def test_training_data_may_stay_undisclosed_with_a_reason():
    card = full_draft().card
    training = msgspec.structs.replace(
        card.training, datasets=(), cannot_disclose="a customer owns it"
    )
    assert errors(full_draft(card=msgspec.structs.replace(card, training=training))) == []


def test_an_open_trial_needs_its_model_and_what_differs():
    card = ModelCard(trial=Trials(open=OpenTrial()))
    assert {field for _, field in codes(small_draft(card=card))} == {
        "card.trial.open.artifact",
        "card.trial.open.relation",
    }


def test_a_trial_that_runs_the_model_needs_a_format_that_runs():
    trials = Trials(
        sealed_local=SealedTrial(runs=1, days=1),
        signed_answers=AnswersTrial(per_buyer=1, per_30d=1),
    )
    draft = small_draft(card=ModelCard(trial=trials), formats=("safetensors",))
    assert [one.values["way"] for one in errors(draft)] == ["sealed", "answers"]
    assert errors(small_draft(card=ModelCard(trial=trials))) == []


def test_a_trial_edition_names_its_release():
    assert the_only(small_draft(edition="trial")).code == "release.trial_of"
    assert the_only(small_draft(of=b"f" * 32)).code == "release.full_of"


def test_every_bound_of_the_card_that_is_broken_is_named():
    card = ModelCard(
        use=Use(users="x" * 4001, uses="a\x07"),
        trial=Trials(sealed_local=SealedTrial(runs=10_001, days=1)),
        references=("r",) * 65,
    )
    assert codes(small_draft(card=card)) == {
        ("listing.too_long", "card.use.users"),
        ("listing.control_characters", "card.use.uses"),
        ("card.bound", "card.trial.sealed_local.runs"),
        ("listing.too_many", "card.references"),
    }


def test_more_base_releases_than_a_release_can_name_are_refused():
    bases = tuple(BaseModel(release=bytes([number]) * 32) for number in range(9))
    problem = the_only(small_draft(card=ModelCard(lineage=Lineage(base_models=bases))))
    assert problem.code == "listing.too_many"


def test_an_open_checklist_is_a_warning_and_names_its_points():
    (warning,) = [one for one in problems(small_draft()) if one.is_warning]
    assert (warning.code, warning.values["point"]) == ("checklist.open", CHECKLIST)


def test_some_answers_of_the_checklist_end_it():
    answers = ["yes"] * 8
    answers[CHECKLIST.index("may_sell")] = answers[CHECKLIST.index("samples_make_sense")] = "no"
    found = problems(small_draft(card=ModelCard(checklist=tuple(answers))))
    assert [(one.code, one.is_warning) for one in found] == [
        ("checklist.refused", False),
        ("checklist.no", True),
    ]


def test_a_prohibited_use_cannot_be_published():
    card = ModelCard(ai_act=AiAct(no_prohibited_use=False), checklist=("yes",) * 8)
    assert the_only(small_draft(card=card)).field == "card.ai_act.no_prohibited_use"


def test_a_format_that_may_carry_code_is_listed_with_a_warning():
    found = problems(small_draft(formats=("pickle",), card=ModelCard(checklist=("yes",) * 8)))
    assert [(one.code, one.is_warning) for one in found] == [("listing.not_certifiable", True)]


def test_a_failed_comparison_is_a_warning():
    parity = Parity(
        source_format="skops",
        tools={},
        inputs=1,
        origin="drawn",
        outputs=(OutputParity(name="p", max_abs_nano=1, max_rel_nano=1, labels_equal=0, labels=1),),
        rtol_nano=1,
        atol_nano=1,
        verdict="fail",
    )
    found = problems(small_draft(parity=parity, card=ModelCard(checklist=("yes",) * 8)))
    assert [one.code for one in found] == ["listing.parity_failed"]


# --- Bodies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("draft", [small_draft(), full_draft()], ids=["small", "full"])
def test_a_draft_without_errors_makes_bodies_the_ledger_takes(draft):
    listing = listing_body(draft, SALT, now_ms=NOW_MS, vocabulary=VOCABULARY)
    release = release_body(draft, SALT, listing=b"l" * 32, card=b"c" * 32, seal=None)
    price = price_body(draft, SALT, listing=b"l" * 32, release=b"r" * 32)
    for kind, body in (("listing/1", listing), ("release/1", release), ("price/1", price)):
        assert parse_body(kind, encode_body(body)) == body
    assert encode_card(card_of(draft))


@pytest.mark.parametrize(
    ("kind", "field", "most"),
    [
        ("listing/1", "title", LISTING_TITLE_CHARACTERS_MAX),
        ("listing/1", "summary", LISTING_SUMMARY_CHARACTERS_MAX),
        ("listing/1", "text", LISTING_TEXT_CHARACTERS_MAX),
        ("release/1", "version", RELEASE_VERSION_CHARACTERS_MAX),
        ("release/1", "notes", RELEASE_NOTES_CHARACTERS_MAX),
    ],
)
def test_our_limits_are_those_of_the_ledger(kind, field, most):
    body = bodies() if kind == "listing/1" else releases()
    fitting = msgspec.structs.replace(body, **{field: "x" * most})
    assert parse_body(kind, encode_body(fitting)) == fitting
    with pytest.raises(BadShape):
        parse_body(kind, encode_body(msgspec.structs.replace(body, **{field: "x" * (most + 1)})))


@pytest.mark.parametrize(
    ("field", "value", "most"),
    [
        *(("tags", "t", LISTING_TAGS_MAX), ("concepts", "c", LISTING_CONCEPTS_MAX)),
        *(("sectors", "s", LISTING_SECTORS_MAX), ("media", b"m" * 31, LISTING_MEDIA_MAX)),
        ("mediators", b"k" * 31, LISTING_MEDIATORS_MAX),
    ],
)
def test_our_counts_are_those_of_the_ledger(field, value, most):
    def many(count):
        ends = [bytes([n]) if isinstance(value, bytes) else str(n) for n in range(count)]
        return msgspec.structs.replace(bodies(), **{field: tuple(value + end for end in ends)})

    assert parse_body("listing/1", encode_body(many(most))) == many(most)
    with pytest.raises(BadShape):
        parse_body("listing/1", encode_body(many(most + 1)))


_TEXT = st.text(max_size=130)


@given(
    st.fixed_dictionaries(
        {
            "title": _TEXT,
            "summary": _TEXT,
            "text": _TEXT,
            "lang": st.sampled_from(["en", "zh", "x"]),
            "tags": st.lists(st.text(max_size=45), max_size=3).map(tuple),
            "sectors": st.lists(st.sampled_from(["retail", "零售", "x"]), max_size=2).map(tuple),
            "task": st.sampled_from(["", "ocr", "x", "image-classification"]),
            "version": st.sampled_from(["1.0.0", "1"]),
            "price": st.sampled_from(["1", "1.50", "-1", "x"]),
            "currency": st.sampled_from(["USD", "jpy", "?"]),
            "capacity": st.none() | st.integers(-1, 2**31),
        }
    )
)
def test_whatever_passes_is_taken_by_the_ledger(changes):
    draft = small_draft(**changes)
    if errors(draft):
        return
    listing = listing_body(draft, SALT, now_ms=NOW_MS, vocabulary=VOCABULARY)
    price = price_body(draft, SALT, listing=b"l" * 32)
    assert parse_body("listing/1", encode_body(listing)) == listing
    assert parse_body("price/1", encode_body(price)) == price


def test_a_listing_without_an_end_gets_the_usual_one():
    body = listing_body(small_draft(), SALT, now_ms=NOW_MS, vocabulary=VOCABULARY)
    assert body.valid_until == NOW_MS + 365 * 24 * 60 * 60 * 1000


def test_concepts_of_a_listing_are_found_in_both_languages():
    body = listing_body(
        full_draft(title="缺陷检测 model"), SALT, now_ms=NOW_MS, vocabulary=VOCABULARY
    )
    assert body.concepts[:3] == ("sector.medical", "task.image-classification", "format.onnx")
    assert {"domain.defect-detection", "framework.sklearn"} <= set(body.concepts)
    assert len(body.concepts) <= 24


def test_a_fixed_price_holds_its_terms_and_the_bounds_of_both():
    price = price_body(full_draft(), SALT, listing=b"l" * 32)
    assert (price.amount.amount, price.floor, price.ceil) == (10000, 9000, 10000)
    assert price.params == {"terms": [["launch", -1000]]}


def test_a_tier_adds_what_makes_its_price():
    body = release_body(full_draft(), SALT, listing=b"l" * 32, card=b"c" * 32, seal=None)
    assert [one["adds"] for one in body.tiers] == [0, 500]  # 90.00, and 95.00


# --- one after another ---------------------------------------------------------------------------


def bodies(**changes):
    draft = small_draft(listing=b"l" * 32, **changes)
    return listing_body(draft, SALT, now_ms=NOW_MS, vocabulary=VOCABULARY)


def amend(old, new):
    found = may_amend(old, new, listing_id=b"l" * 32)
    assert all(said(found)) or not found
    return [one.code for one in found]


def test_a_listing_may_be_amended_until_it_is_withdrawn():
    old = msgspec.structs.replace(bodies(), listing=None)
    assert amend(old, bodies(title="Better")) == []
    withdrawn = msgspec.structs.replace(old, state="withdrawn")
    assert amend(withdrawn, bodies(title="Better")) == ["listing.withdrawn"]


def test_an_amendment_changes_something_and_names_its_listing():
    old = msgspec.structs.replace(bodies(), listing=None)
    salted = msgspec.structs.replace(bodies(), salt=b"t" * 16)
    assert amend(old, salted) == ["listing.nothing_changed"]
    assert "listing.other_listing" in amend(old, msgspec.structs.replace(bodies(), listing=None))


def releases(**changes):
    return release_body(small_draft(**changes), SALT, listing=b"l" * 32, card=b"c" * 32, seal=None)


def test_a_release_supersedes_an_older_version_of_other_files():
    old = releases(version="1.2.0")
    assert may_supersede(old, releases(version="1.3.0", artifact=b"b" * 32)) == ()
    found = may_supersede(old, releases(version="1.2.0"))
    assert [one.code for one in found] == ["release.version_not_newer", "release.same_model"]
    assert all(said(found))
    other = msgspec.structs.replace(releases(version="2.0.0"), listing=b"x" * 32)
    assert "listing.other_listing" in [one.code for one in may_supersede(old, other)]


def test_versions_are_ordered_as_semantic_versioning_orders_them():
    order = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11"]
    order += ["1.0.0-rc.1", "1.0.0", "1.0.1", "1.10.0", "2.0.0"]
    assert sorted(order, key=version_order) == order
    assert version_order("1.0") is None
