"""A hub's model card becomes a Draft field by field; what does not fit is told, no more."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hanse.core.limits import HUB_CARD_FRONT_BYTES_MAX, HUB_CARD_SIZE_BYTES_MAX
from hanse.core.market.card_markdown import card_markdown
from hanse.core.market.front_matter import (
    FrontMatterUnfit,
    read_front_matter,
    split_front_matter,
)
from hanse.core.market.hub_card import HubCardUnfit, read_hub_card
from hanse.core.market.hub_words import licence_of_word, word_of_licence
from hanse.core.model.listing import Draft
from hanse.core.sentences import LANGUAGES, say
from hanse.core.trade.lineage import known_licences
from hanse.core.trade.spdx import read_licence
from tests.fakes.drafts import VOCABULARY, full_draft, said, small_draft

CARD = """---
license: apache-2.0
language:
- en
- zh
tags:
- image-classification
- pytorch
datasets: digits
metrics:
- accuracy
- f1
base_model: org/base
base_model_relation: finetune
pipeline_tag: image-classification
library_name: scikit-learn
co2_eq_emissions:
  emissions: 12.5
  source: estimated
  hardware_used: two cores
  geographical_location: DE
model-index:
- name: Digit reader
  results:
  - task: {type: image-classification}
    dataset: {name: Digits, type: digits, split: test}
    metrics:
    - {type: accuracy, value: 0.874}
    - {type: loss, value: low}
thumbnail: a.png
widget: [1]
date: 2023-01-01
---

Some words first.

```bash
# not the title
```

# Digit reader

Reads digits.
"""


def read(text, **options):
    raw = text if isinstance(text, bytes) else text.encode()
    card = read_hub_card(raw, vocabulary=VOCABULARY, **options)
    assert all(said(card.told)) or not card.told
    return card


def told(text):
    return {(one.code, one.field) for one in read(text).told}


def test_the_fields_of_a_hub_are_taken_over():
    card = read(CARD)
    draft, mine = card.draft, card.draft.card
    assert card.licence == "Apache-2.0"
    assert (draft.title, draft.lang, draft.task) == ("Digit reader", "en", "image-classification")
    assert draft.tags == ("image-classification", "pytorch", "scikit-learn")
    assert draft.text.startswith("Some words first.")
    assert "# Digit reader" not in draft.text
    assert [one.name for one in mine.training.datasets] == ["digits"]
    (base,) = mine.lineage.base_models
    assert (base.name, base.relation) == ("org/base", "finetune")
    (claim,) = mine.claims
    assert (claim.metric, claim.value_micro, claim.dataset, claim.split) == (
        "accuracy",
        874_000,
        "Digits",
        "test",
    )
    assert (mine.energy.co2e_g, mine.energy.hardware, mine.energy.region) == (
        12,
        "two cores",
        "DE",
    )


def test_what_could_not_be_taken_is_told():
    assert told(CARD) == {
        ("hub_card.not_taken", "language"),
        ("hub_card.not_taken", "metrics"),
        ("hub_card.not_taken", "model-index.metrics.loss"),
        ("hub_card.not_taken", "co2_eq_emissions.source"),
        ("hub_card.rounded", "co2_eq_emissions"),
        ("hub_card.no_place", ""),
    }
    left = next(one for one in read(CARD).told if one.code == "hub_card.no_place")
    assert left.values["keys"] == ("date", "thumbnail", "widget")


def test_a_card_without_front_matter_is_its_text():
    card = read("# Title\n\nText.\n")
    assert (card.draft.title, card.draft.text, card.licence, card.told) == (
        "Title",
        "Text.",
        "",
        (),
    )


def test_an_import_goes_into_a_draft_that_exists():
    card = read("---\ntags: [a]\n---\n", draft=small_draft(notes="mine"))
    assert (card.draft.notes, card.draft.tags, card.draft.title) == (
        "mine",
        ("a",),
        "图像识别模型",
    )


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("license: [1, {a: 1}]", "license"),
        ("license: [mit, isc]", "license"),
        ("language: 中文", "language"),
        ("tags: {a: b}", "tags"),
        ("tags: ['<b>']", "tags"),
        ("datasets: [[a]]", "datasets"),
        ("base_model: true", "base_model"),
        ("base_model_relation: cousin", "base_model_relation"),
        ("pipeline_tag: mind-reading", "pipeline_tag"),
        ("co2_eq_emissions: lots", "co2_eq_emissions.emissions"),
        ("co2_eq_emissions: -1", "co2_eq_emissions.emissions"),
        ("co2_eq_emissions: .nan", "co2_eq_emissions.emissions"),
        ("co2_eq_emissions: {emissions: 1, hardware_used: [x]}", "co2_eq_emissions.hardware_used"),
        ("model-index: x", "model-index"),
        ("model-index: [x]", "model-index"),
        ("model-index: [{results: [{metrics: [{value: 1}]}]}]", "model-index.metrics.type"),
        ("model-index: [{results: [{dataset: x, metrics: []}]}]", "model-index.dataset"),
        ('datasets: "a\\x07b"', "datasets"),
        ("datasets: " + "x" * 300, "datasets"),
    ],
)
def test_a_wrong_type_is_told_and_the_rest_goes_on(line, field):
    text = f"---\n{line}\nlibrary_name: onnx\n---\n# T\n"
    assert ("hub_card.not_taken", field) in told(text)
    assert read(text).draft.title == "T"
    assert "onnx" in read(text).draft.tags


def test_words_that_yaml_turns_into_something_else_stay_words():
    front = read_front_matter("language: no\na: on\nb: 2023-01-01\nc: 1:30\nd: 0x10\ne: 1_000\n")
    assert list(front.values()) == ["no", "on", "2023-01-01", "1:30", "0x10", "1_000"]
    assert read("---\nlanguage: no\n---\n").draft.lang == "no"


@pytest.mark.parametrize(
    ("front", "reason"),
    [
        ("a: &x [1]\nb: *x\n", "alias"),
        ("a: &x 1\n", "alias"),
        ("a: [\n", "yaml"),
        ("a: b: c\n", "yaml"),
        ("\ta: 1\n", "yaml"),
        ("a: !!python/object:os.system x\n", "yaml"),
        ("a: \x07\n", "yaml"),
        ("a: 1\na: 2\n", "key_twice"),
        ("x: {a: 1, a: 2}\n", "key_twice"),
        ("? [a]\n: 1\n", "key"),
        ("- a\n", "no_map"),
        ("just text\n", "no_map"),
        ("a: " + "[" * 40 + "]" * 40 + "\n", "depth"),
        ("a: [" + "1," * 25_000 + "]\n", "nodes"),
        ("a: " + "x" * HUB_CARD_FRONT_BYTES_MAX + "\n", "size"),
    ],
)
def test_front_matter_that_could_hurt_is_refused_and_says_why(front, reason):
    with pytest.raises(FrontMatterUnfit) as raised:
        read(f"---\n{front}---\n")
    assert raised.value.values["reason"] == reason
    for language in LANGUAGES:
        assert say(raised.value.code, raised.value.values, language)


def test_a_bomb_of_aliases_is_refused_before_it_is_built():
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    with pytest.raises(FrontMatterUnfit, match="alias"):
        read("---\n" + "\n".join(lines) + "\n---\n")


def test_merge_keys_are_keys_like_others():
    assert "<<" in read_front_matter("<<: {a: 1}\nb: 2\n")


def test_front_matter_that_never_ends_is_refused():
    with pytest.raises(FrontMatterUnfit, match="unclosed"):
        read("---\ntitle: x\n")


def test_a_rule_in_the_middle_of_the_text_is_no_front_matter():
    assert split_front_matter("a\n---\nb\n---\n") == ("", "a\n---\nb\n---\n")
    assert split_front_matter("---\na: 1\n---\nx\n---\n") == ("a: 1\n", "\nx\n---\n")


def test_a_file_that_is_too_large_or_no_text_is_refused():
    for raw in (b"x" * (HUB_CARD_SIZE_BYTES_MAX + 1), b"\xff\xfe"):
        with pytest.raises(HubCardUnfit) as raised:
            read(raw)
        for language in LANGUAGES:
            assert say(raised.value.code, raised.value.values, language)


def test_line_ends_and_marks_of_other_systems_are_understood():
    assert read(b"\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\n# T\r\n").licence == "MIT"


def test_what_is_told_has_an_end():
    tags = "".join(f"- '<{number}>'\n" for number in range(500))
    problems = read(f"---\ntags:\n{tags}---\n").told
    assert len(problems) == 101
    assert (problems[-1].code, problems[-1].values) == ("hub_card.more", {"count": 400})


_YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
_KEYS = st.sampled_from(
    [
        *("license", "license_name", "language", "tags", "datasets", "metrics", "base_model"),
        *("base_model_relation", "pipeline_tag", "library_name", "co2_eq_emissions", "model-index"),
    ]
)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(st.dictionaries(_KEYS, _YAML))
def test_any_values_under_the_known_keys_are_taken_or_told(front):
    import yaml  # noqa: PLC0415  only to write what is to be read

    read(f"---\n{yaml.safe_dump(front, allow_unicode=False)}---\n")


@settings(max_examples=60)
@given(st.text(alphabet="-#:[]{}&*!|>'\"ab \n?,%@`", max_size=60))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(FrontMatterUnfit):
        assert read(f"---\n{text}\n---\n").licence == ""


# --- words of hubs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "name", "spdx"),
    [
        *(("apache-2.0", "", "Apache-2.0"), ("MIT", "", "MIT"), ("gpl-3.0", "", "GPL-3.0-only")),
        *(("openrail", "", "LicenseRef-hub-openrail"), ("gemma", "", "LicenseRef-hub-gemma")),
        *(("other", "", "LicenseRef-hub-other"), ("other", "my own", "LicenseRef-hub-my-own")),
        *(("other", "LicenseRef-x", "LicenseRef-x"), ("bigcode-openrail-m", "", None)),
        *(("creativeml-openrail-m", "", None), ("", "", "LicenseRef-hub-other"), ("???", "", None)),
    ],
)
def test_a_hub_s_word_for_a_licence_is_an_spdx_expression(word, name, spdx):
    found = licence_of_word(word, name)
    assert spdx is None or found == spdx
    assert read_licence(found) == found


@pytest.mark.parametrize("licence", sorted(known_licences()))
def test_a_known_licence_survives_the_way_to_a_hub_and_back(licence):
    assert licence_of_word(*word_of_licence(licence)) == licence


# --- Markdown ------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_written_card_is_imported_again(language):
    draft = full_draft()
    card = read(card_markdown(draft, language))
    again = card.draft
    assert card.licence == "MIT"
    for field in ("title", "lang", "task"):
        assert getattr(again, field) == getattr(draft, field)
    assert set(draft.tags) <= set(again.tags)
    mine, theirs = draft.card, again.card
    assert [one.metric for one in theirs.claims] == ["accuracy", "rmse"]
    assert [one.value_micro for one in theirs.claims] == [874_000, -12_500_000]
    assert theirs.energy.co2e_g == mine.energy.co2e_g
    assert [one.name for one in theirs.lineage.base_models] == ["org/base", "Mine"]
    assert [one.name for one in theirs.training.datasets] == ["digits"]
    assert not [one for one in card.told if one.code != "hub_card.no_place"]


@pytest.mark.parametrize(
    ("language", "headings"),
    [
        ("en", ["Inputs and outputs", "Use", "Training data", "Risks", "EU AI Act"]),
        ("zh_CN", ["输入与输出", "用途", "训练数据", "风险", "欧盟《人工智能法案》"]),
    ],
)
def test_headings_are_in_the_language_asked_for(language, headings):
    text = card_markdown(full_draft(), language)
    assert all(f"\n## {heading}\n" in text for heading in headings)


def test_a_card_with_nothing_stated_has_no_empty_headings():
    text = card_markdown(small_draft(), "en")
    assert "##" not in text
    assert text.startswith("---\nlicense: other\nlicense_name: LicenseRef-hanse-commercial-1\n")
    assert card_markdown(Draft(), "en").startswith("---\n")


EVIL = "---\nlicense: cc0-1.0\n---\n# Free\n"


def test_no_text_ends_the_front_matter_or_adds_a_key():
    draft = full_draft(title="x\ny: z", tags=(EVIL, "a: b", "*x", "&y", "!!python/x"), lang=EVIL)
    front, _ = split_front_matter(card_markdown(draft, "en"))
    values = read_front_matter(front)
    assert values["license"] == "mit"
    assert values["tags"] == list(draft.tags)
    assert values["language"] == [EVIL]


def test_lines_of_a_table_stay_lines():
    text = card_markdown(full_draft(), "en")
    assert "&lt;b>bold" in text
    assert "<b>" not in text.partition("# Form reader")[2].partition("## ")[2]


@settings(max_examples=40)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=30))
def test_whatever_is_written_the_front_matter_is_read_again(title, text, tag):
    draft = small_draft(title=title, text=text, tags=(tag,))
    front, _ = split_front_matter(card_markdown(draft, "zh_CN"))
    assert read_front_matter(front)["language"] == ["zh"]
