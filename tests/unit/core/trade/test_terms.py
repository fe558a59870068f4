"""Templates are whole in both languages; a text and its matrix belong together."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256

import msgspec
import pytest

from hanse.core.errors import BadShape
from hanse.core.ledger.codec import decode_any, encode
from hanse.core.limits import LICENCE_TEXT_CHARACTERS_MAX
from hanse.core.model.licence import RIGHTS
from hanse.core.trade.spdx import read_licence
from hanse.core.trade.terms import (
    DEFAULT_LICENCE,
    LicenceTextUnfit,
    UnknownTemplate,
    licence_problems,
    licence_text,
    own_terms,
    parse_template,
    read_tier,
    template,
    template_of,
    templates,
    terms_fault,
    text_hash,
    tier_map,
)
from tests.fakes.drafts import said, small_draft, tier

_HEAD = (
    "id = 'x'\nspdx = 'MIT'\n[names]\nen='a'\nzh='b'\n[summaries]\nen='a'\nzh='b'\n"
    "[texts]\nen='a'\nzh='b'\n"
)
# Of all template texts: licences were given under them, so they never change.
GOLDEN = "54247fa956db3e9a45fe6cdfa3088ce6542c8d9bb99f3da8ba63ce59105af82f"
HAN = re.compile(r"[\u4e00-\u9fff]")
ALL = sorted(templates())


def test_the_default_comes_first_and_the_known_ones_are_there():
    assert next(iter(templates())) == DEFAULT_LICENCE
    assert {
        *("commercial-1", "internal-1", "research-1", "saas-1", "evaluation-1"),
        *("open-mit", "open-apache-2.0", "open-cc-by-4.0"),
    } <= set(ALL)


@pytest.mark.parametrize("licence_id", ALL)
def test_a_template_is_whole_in_both_languages(licence_id):
    one = template(licence_id)
    for words in (one.name, one.summary, one.wording):
        assert not HAN.search(words("en"))
        assert HAN.search(words("zh_CN"))
        assert unicodedata.is_normalized("NFC", words("zh_CN"))
    assert terms_fault(one.terms) is None
    assert read_licence(one.terms.spdx) == one.terms.spdx
    assert one.terms.text_hash == sha256(one.document.encode()).digest()
    assert template_of(one.terms) is one


@pytest.mark.parametrize("licence_id", ALL)
def test_every_conditional_right_names_a_clause_the_text_has(licence_id):
    one = template(licence_id)
    for language in ("en", "zh_CN"):
        numbers = {
            int(found) for found in re.findall(r"^(\d+)\. ", one.wording(language), re.MULTILINE)
        }
        assert set(one.terms.clauses.values()) <= numbers
        assert numbers == set(range(1, len(numbers) + 1))


@pytest.mark.parametrize("licence_id", ALL)
def test_both_languages_of_a_text_have_the_same_clauses(licence_id):
    one = template(licence_id)
    english, chinese = (
        re.findall(r"^(\d+)\. ", one.wording(language), re.MULTILINE) for language in ("en", "zh")
    )
    assert english == chinese


def test_matrices_say_what_the_names_promise():
    assert template("commercial-1").terms.commercial == 1
    assert template("internal-1").terms.saas == 0
    assert template("research-1").terms.commercial == 0
    assert template("saas-1").terms.saas == 2
    assert template("evaluation-1").terms.term_days == 30
    assert template("open-cc-by-nc-4.0").terms.commercial == 0
    assert all(template("open-cc0-1.0").terms.right(name) == 1 for name in RIGHTS)
    assert all(one.terms.warranty_days >= 7 for one in templates().values())  # T3 of an Order


def test_the_texts_of_templates_never_change_by_accident():
    texts = "".join(f"{one} {templates()[one].terms.text_hash.hex()}\n" for one in ALL)
    assert sha256(texts.encode()).hexdigest() == GOLDEN


def test_an_unknown_template_suggests_the_nearest():
    with pytest.raises(UnknownTemplate, match="commercial-1"):
        template("comercial")
    with pytest.raises(UnknownTemplate):
        template("x" * 10_000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "id = 'x'",
        f"{_HEAD}[terms]\ncommercial = 3",
    ],
)
def test_a_template_that_is_not_whole_is_our_bug(text):
    with pytest.raises(ValueError, match=r"\S"):
        parse_template(text)


def test_a_template_whose_clauses_do_not_fit_is_our_bug():
    rights = "".join(f"{name} = 1\n" for name in RIGHTS if name != "resale")
    text = f"{_HEAD}[terms]\n{rights}resale = 2\n"
    with pytest.raises(ValueError, match="resale is conditional"):
        parse_template(text)


def test_an_own_text_is_named_by_its_hash_and_goes_with_its_terms():
    text = "Do as you like, but not on Sundays."
    terms = own_terms(text, template("commercial-1").terms)
    assert terms.text_hash == text_hash(text) == text_hash(f"  {text}\r\n")
    assert terms.spdx == f"LicenseRef-{terms.text_hash.hex()[:16]}"
    assert template_of(terms) is None
    offered = msgspec.structs.replace(tier(), terms=terms, text=text)
    assert licence_problems(small_draft(tiers=(offered,))) == ()


def test_a_text_is_kept_as_it_is_hashed():
    typed = "Nur fu\u0308r Schulen.\r\n\r\nSonst nicht.\n"
    kept = licence_text(typed)
    assert kept == "Nur für Schulen.\n\nSonst nicht."
    assert sha256(kept.encode()).digest() == text_hash(typed)


@pytest.mark.parametrize("text", ["", "  ", "a\x00b", "x" * (LICENCE_TEXT_CHARACTERS_MAX + 1)])
def test_a_text_that_is_none_is_refused(text):
    with pytest.raises(LicenceTextUnfit):
        text_hash(text)


def test_a_lone_surrogate_is_no_text():
    with pytest.raises(LicenceTextUnfit):
        text_hash("a\ud800")


def test_licences_of_a_draft_are_looked_at_each_in_its_place():
    own = own_terms("My terms.", template("commercial-1").terms)
    tiers = (
        tier(),
        msgspec.structs.replace(tier(), terms=own),
        msgspec.structs.replace(tier(), terms=own, text="Other terms."),
        msgspec.structs.replace(
            tier(), terms=msgspec.structs.replace(own, spdx="MITT"), text="My terms."
        ),
    )
    problems = licence_problems(small_draft(tiers=tiers))
    assert [(one.code, one.field) for one in problems] == [
        ("licence.text_unfit", "tiers[1].terms"),
        ("licence.other_text", "tiers[2].terms"),
        ("licence.bad_expression", "tiers[3].terms"),
    ]
    assert all(said(problems))


def test_a_tier_is_read_as_it_was_written_even_through_the_ledger():
    terms = template("commercial-1").terms
    held = tier_map(terms, "Standard", -500)
    assert decode_any(encode(held)) == held
    read = read_tier(held)
    assert (read.name, read.terms, read.adds) == ("Standard", terms, -500)


@pytest.mark.parametrize(
    "changes",
    [
        *({"v": 2}, {"name": ""}, {"name": "x" * 41}, {"adds": 2**63}, {"adds": True}),
        *({"more": 1}, {"terms": {}}, {"terms": None}),
    ],
)
def test_a_stranger_s_tier_of_another_shape_is_refused(changes):
    with pytest.raises(BadShape):
        read_tier({**tier_map(template("open-mit").terms, "Open", 0), **changes})


@pytest.mark.parametrize("changes", [{"resale": 3}, {"resale": 1}, {"clauses": {"resale": 0}}])
def test_a_stranger_s_matrix_that_cannot_be_is_refused(changes):
    held = tier_map(template("open-mit").terms, "Open", 0)
    with pytest.raises(BadShape):
        read_tier({**held, "terms": {**held["terms"], **changes}})


def test_an_amount_that_is_a_truth_value_is_no_amount():
    held = tier_map(template("open-mit").terms, "Open", 0)
    with pytest.raises(BadShape):
        read_tier({**held, "adds": False})
