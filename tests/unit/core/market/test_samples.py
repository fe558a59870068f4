"""The sample models: whole, small, in both languages, and as good as their cards say."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections import Counter

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn import metrics

from hanse.core.limits import (
    LISTING_SUMMARY_CHARACTERS_MAX,
    LISTING_TAG_CHARACTERS_MAX,
    LISTING_TAGS_MAX,
    LISTING_TEXT_CHARACTERS_MAX,
    LISTING_TITLE_CHARACTERS_MAX,
)
from hanse.core.market.card_codec import encode_card, read_card
from hanse.core.market.card_faults import faults_of
from hanse.core.market.completeness import needed_for_sector
from hanse.core.market.concepts import concepts
from hanse.core.market.currencies import parse_money
from hanse.core.market.samples import UnknownSample, sample_model, sample_models
from hanse.core.model.card import MICRO, ModelCard
from hanse.core.sentences import LANGUAGES
from hanse.core.trade.terms import templates

SAMPLES = sample_models()
GRAPH_SIZE_BYTES = 200_000
ALL_SIZE_BYTES = 2_500_000
HAN = re.compile(r"[\u4e00-\u9fff]")
BINS = 15

each = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.id)
in_each_language = pytest.mark.parametrize("language", LANGUAGES)


def session(sample):
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        sample.graph(), settings, providers=["CPUExecutionProvider"]
    )


def run(sample, inputs):
    opened = session(sample)
    names = [one.name for one in opened.get_outputs()]
    return dict(zip(names, opened.run(names, inputs), strict=True))


def table(sample):
    """Read the bundled rows: the inputs of the graph, the truth, and every column as text."""
    rows = list(csv.DictReader(io.StringIO(sample.rows().decode())))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    dtype = np.dtype(sample.figures.input.dtype)
    kind = int if dtype.kind == "i" else float
    x = np.array(
        [[kind(text) for text in columns[one.name]] for one in sample.figures.column]
    ).T.astype(dtype)
    truth = np.array([[float(text) for text in columns[name]] for name in sample.figures.target]).T
    if sample.figures.input.apart:
        inputs = {one.name: x[:, [at]] for at, one in enumerate(sample.figures.column)}
    else:
        inputs = {sample.figures.input.name: x}
    return inputs, truth, columns


def calibration_error(truth, scores):
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    gaps = [
        abs(scores[bins == one].mean() - truth[bins == one].mean()) * np.mean(bins == one)
        for one in np.unique(bins)
    ]
    return sum(gaps)


def gains(out, truth):
    places = [list(row).index(want) if want in row else None for row, want in zip(out, truth)]  # noqa: B905
    return [0.0 if place is None else 1 / math.log2(place + 2) for place in places]


def measured(claim, out, truth, columns):
    """Compute one claimed figure again, by scikit-learn where it has the metric."""
    rows = np.ones(len(truth), dtype=bool)
    output = 0
    if claim.slice.startswith("output="):
        output = claim.slice.removeprefix("output=")
        output = ("scrap_percent", "energy_kwh", "cycle_s").index(output)
    elif claim.slice:
        name, value = claim.slice.split("=")
        rows = np.array([text == value for text in columns[name]])
    y = truth[rows, output]
    if "variable" in out:
        got = out["variable"][rows, output]
        return {
            "mae": metrics.mean_absolute_error,
            "mape": lambda y, got: metrics.mean_absolute_percentage_error(y[y > 0], got[y > 0]),
            "pinball": metrics.mean_pinball_loss,
            "r2": metrics.r2_score,
        }[claim.metric](y, got)
    if "items" in out:
        gain = gains(out["items"].tolist(), y)
        return np.mean(gain) if claim.metric == "ndcg@10" else np.mean([one > 0 for one in gain])
    label, scores = out["label"][rows], out["probabilities"][rows, 1]
    if claim.threshold_micro is not None:
        label = (scores >= claim.threshold_micro / MICRO).astype(int)
    return {
        "accuracy": lambda: metrics.accuracy_score(y, label),
        "balanced_accuracy": lambda: metrics.balanced_accuracy_score(y, label),
        "macro_f1": lambda: metrics.f1_score(y, label, average="macro"),
        "roc_auc": lambda: metrics.roc_auc_score(y, scores),
        "brier": lambda: metrics.brier_score_loss(y, scores),
        "ece": lambda: calibration_error(y, scores),
        "recall": lambda: metrics.recall_score(y, label),
        "specificity": lambda: metrics.recall_score(y, label, pos_label=0),
        "false_positive_rate": lambda: 1 - metrics.recall_score(y, label, pos_label=0),
    }[claim.metric]()


def texts_of(value):
    """Give every text a card or Draft says, with the name of its field."""
    for name in value.__struct_fields__:
        inner = getattr(value, name)
        for one in inner if isinstance(inner, tuple) else (inner,):
            if isinstance(one, msgspec.Struct):
                yield from texts_of(one)
            elif isinstance(one, str):
                yield name, one


def test_the_catalogue_has_a_model_for_every_sector_the_article_names():
    assert Counter(sample.card.sector for sample in SAMPLES) == {
        "other": 1,
        "finance": 2,
        "medical": 2,
        "retail": 4,
        "manufacturing": 2,
    }
    assert len({sample.id for sample in SAMPLES}) == len(SAMPLES) == 11


@pytest.mark.parametrize(
    "words",
    [
        "图像识别模型",
        "欺诈检测",
        "风险评估",
        "诊断",
        "治疗建议",
        "需求预测",
        "推荐",
        "客户满意度",
        "预测性维护",
        "生产优化",
    ],
)
def test_every_model_of_the_article_is_found_by_its_chinese_name(words):
    assert [sample.id for sample in SAMPLES if words in sample.draft("zh_CN").title]


def test_an_unknown_id_suggests_the_nearest():
    with pytest.raises(UnknownSample) as caught:
        sample_model("fraud-detecton")
    assert caught.value.values == {"found": "fraud-detecton", "nearest": "fraud-detection"}
    with pytest.raises(UnknownSample):
        sample_model("")


@each
def test_a_graph_is_small_valid_and_of_standard_operators(sample):
    raw = sample.graph()
    assert len(raw) < GRAPH_SIZE_BYTES
    model = onnx.load_from_string(raw)
    onnx.checker.check_model(model, full_check=True)
    versions = {one.domain: one.version for one in model.opset_import}
    assert len(versions) == len(model.opset_import)
    assert versions.keys() <= {"", "ai.onnx.ml"}
    assert versions.get("", 18) == 18
    said = {one.key: json.loads(one.value) for one in model.metadata_props}
    assert said["columns"] == [one.name for one in sample.figures.column]
    assert said.get("labels", []) == [one.en for one in sample.figures.label]


def test_all_files_together_are_small():
    files = [part for one in SAMPLES for part in (one.graph(), one.rows(), one.golden())]
    assert sum(map(len, files)) < ALL_SIZE_BYTES


@each
def test_files_are_those_the_figures_were_measured_on(sample):
    found = {
        "model.onnx": sample.graph(),
        "sample.csv": sample.rows(),
        "samples.npz": sample.golden(),
    }
    assert {name: hashlib.sha256(raw).hexdigest() for name, raw in found.items()} == (
        sample.figures.sha256
    )


@each
def test_golden_vectors_hold_no_objects_and_are_met(sample):
    with np.load(io.BytesIO(sample.golden()), allow_pickle=False) as packed:
        arrays = {name: packed[name] for name in packed.files}
    names = [one.name for one in session(sample).get_inputs()]
    out = run(sample, {name: arrays.pop(name) for name in names})
    assert arrays.keys() == out.keys()
    for name, expected in arrays.items():
        assert 8 <= len(expected) <= 16
        assert out[name].dtype == expected.dtype
        assert out[name].shape == expected.shape
        np.testing.assert_allclose(out[name], expected, rtol=1e-5, atol=1e-5)


@each
def test_rows_of_a_batch_equal_single_runs(sample):
    inputs, _, _ = table(sample)
    both = run(sample, {name: values[:4] for name, values in inputs.items()})
    opened = session(sample)
    for row in range(4):
        one = opened.run(None, {name: values[[row]] for name, values in inputs.items()})
        for name, got in zip(both, one, strict=True):
            np.testing.assert_allclose(got[0], both[name][row], rtol=1e-5, atol=1e-5)


@each
def test_bundled_rows_lie_in_the_ranges_stated(sample):
    inputs, truth, columns = table(sample)
    assert 50 <= len(truth) == sample.figures.sample_rows <= 200
    assert list(columns)[-len(sample.figures.target) :] == list(sample.figures.target)
    x = np.concatenate([np.asarray(values, dtype=np.float64) for values in inputs.values()], axis=1)
    low = np.array([one.low_micro for one in sample.figures.column]) / MICRO
    high = np.array([one.high_micro for one in sample.figures.column]) / MICRO
    slack = 1e-6 * np.maximum(1, np.abs(x))  # a float32 is not exactly its decimals
    assert ((x >= low - slack) & (x <= high + slack)).all()


@each
def test_every_claim_of_the_bundled_rows_comes_out_again(sample):
    inputs, truth, columns = table(sample)
    out = run(sample, inputs)
    claims = [one for one in sample.figures.figure if one.data == "sample.csv"]
    assert claims
    for claim in claims:
        found = round(measured(claim, out, truth, columns) * MICRO)
        assert claim.low_micro <= found <= claim.high_micro, claim
        assert abs(found - claim.value_micro) <= 20, claim  # the truth is written to 4 decimals


@each
def test_the_bundled_rows_are_no_lucky_ones(sample):
    """Their interval and the one of all held-out rows overlap, or the sample was picked."""
    by_name = {}
    for one in sample.figures.figure:
        by_name.setdefault((one.metric, one.slice), {})[one.data] = one
    for (metric, _), found in by_name.items():
        if len(found) == 2 and metric != "ece":  # which few rows push upwards
            few, all_rows = found["sample.csv"], found["held_out"]
            assert few.low_micro <= all_rows.high_micro, few
            assert all_rows.low_micro <= few.high_micro, few


@each
def test_the_drafts_of_both_languages_claim_the_same(sample):
    english, chinese = sample.draft("en"), sample.draft("zh_CN")
    for name in ("sectors", "task", "tags", "price", "currency", "version", "formats"):
        assert getattr(english, name) == getattr(chinese, name)
    figures = [
        [(one.metric, one.value_micro, one.ci_low_micro, one.ci_high_micro, one.sha256)
         for one in draft.card.claims]
        for draft in (english, chinese)
    ]  # fmt: skip
    assert figures[0] == figures[1]
    assert figures[0]
    for words in ("users", "uses", "out_of_scope", "limitations", "risks", "fairness"):
        assert len(getattr(sample.card.en, words)) == len(getattr(sample.card.zh, words))
    assert english.card.checklist == ModelCard().checklist


@each
@in_each_language
def test_a_draft_keeps_the_bounds_of_a_listing(sample, language):
    draft = sample.draft(language)
    assert 0 < len(draft.title) <= LISTING_TITLE_CHARACTERS_MAX
    assert 0 < len(draft.summary) <= LISTING_SUMMARY_CHARACTERS_MAX
    assert 0 < len(draft.text) <= LISTING_TEXT_CHARACTERS_MAX
    assert 0 < len(draft.tags) <= LISTING_TAGS_MAX
    assert len(set(draft.tags)) == len(draft.tags)
    assert all(len(tag) <= LISTING_TAG_CHARACTERS_MAX for tag in draft.tags)
    assert list(faults_of(draft.card)) == []
    assert read_card(encode_card(draft.card)) == draft.card
    assert needed_for_sector(draft) == ()
    assert parse_money(draft.price, draft.currency).amount >= 0
    assert sample.licence in templates()


@each
def test_sector_task_and_tags_are_words_of_the_market(sample):
    known = concepts()
    assert sample.card.sector in known.sectors()
    assert sample.card.task in known.tasks()
    assert [tag for tag in sample.card.tags if known.find(tag.replace("-", " ")) is None] == []


@each
def test_english_is_english_and_chinese_is_chinese(sample):
    for name, text in texts_of(sample.card.en):
        assert not HAN.search(text), (name, text)
    for name, text in texts_of(sample.card.zh):
        assert not text or HAN.search(text), (name, text)
        assert not re.search(r"[\u4e00-\u9fff][,;:!?]|[,;:!?][\u4e00-\u9fff]", text), (name, text)
    for one in (*sample.figures.column, *sample.figures.output, *sample.figures.label):
        assert HAN.search(one.zh)
        assert not HAN.search(one.en)
    assert 80 <= len(sample.card.en.text.split()) <= 200
    assert 150 <= len(HAN.findall(sample.card.zh.text)) <= 400


@each
@in_each_language
def test_synthetic_data_is_called_synthetic(sample, language):
    draft = sample.draft(language)
    word = "合成" if language == "zh_CN" else "synthetic"
    (data,) = draft.card.training.datasets
    assert (word in draft.text) == (word in data.name.lower()) == sample.is_synthetic
    assert (data.source == "synthetic") == sample.is_synthetic


@each
@in_each_language
def test_what_a_risky_sector_needs_is_stated(sample, language):
    card = sample.draft(language).card
    for text in (
        *(card.use.users, card.use.uses, card.use.out_of_scope, card.use.limitations),
        *(card.risk.explainability, card.risk.safety_risk, card.risk.human_oversight),
        *(card.training.datasets[0].provenance, card.training.datasets[0].known_bias),
    ):
        assert text.strip()
    assert card.risk.ethics
    if sample.card.sector in ("medical", "finance"):
        assert card.risk.fairness
        assert card.ai_act.annex_iii_area
        assert card.ai_act.role == "provider"


@in_each_language
@pytest.mark.parametrize("sample_id", ["diagnosis", "treatment-suggestion"])
def test_a_medical_model_says_that_it_supports_and_does_not_decide(sample_id, language):
    text = sample_model(sample_id).draft(language).text
    assert "不代替决策" in text if language == "zh_CN" else "does not take it" in text


def test_the_settings_of_the_process_have_their_range_in_the_signature():
    signature = sample_model("production-optimisation").draft("en").card.signature
    assert len(signature.inputs) == 6
    for one in signature.inputs:
        assert one.unit
        assert one.low_micro < one.high_micro
    assert [one.name for one in session(sample_model("production-optimisation")).get_inputs()] == [
        one.name for one in signature.inputs
    ]


@each
def test_the_signature_stated_is_that_of_the_graph(sample):
    opened = session(sample)
    signature = sample.draft("en").card.signature
    kinds = {"float32": "tensor(float)", "int64": "tensor(int64)"}
    for stated, real in (
        *zip(signature.inputs, opened.get_inputs(), strict=True),
        *zip(signature.outputs, opened.get_outputs(), strict=True),
    ):
        assert (stated.name, kinds[stated.dtype]) == (real.name, real.type)
        assert len(stated.shape) == len(real.shape)
        assert [size for size in stated.shape if size is not None] == [
            size for size in real.shape if isinstance(size, int)
        ]


def test_both_languages_of_the_survey_are_scored():
    claims = sample_model("customer-satisfaction").draft("zh_CN").card.claims
    assert {one.slice for one in claims} == {"", "language=en", "language=zh"}


def test_a_text_becomes_an_input_by_the_recipe_its_card_gives():
    sample = sample_model("customer-satisfaction")
    inputs, _, columns = table(sample)
    for row, text in zip(inputs["code_points"], columns["text"], strict=True):
        points = [ord(character) for character in text.lower()[:96]]
        assert row.tolist() == points + [0] * (96 - len(points))


def test_maintenance_keeps_to_its_rate_of_false_alarms():
    figures = sample_model("predictive-maintenance").figures.figure
    rates = [one for one in figures if one.metric == "false_positive_rate"]
    assert rates
    assert all(one.low_micro <= 20_000 <= one.high_micro for one in rates)
    thresholds = {
        one.threshold_micro for one in figures if one.metric in ("recall", "false_positive_rate")
    }
    assert len(thresholds) == 1


def test_the_larger_forecaster_is_better_than_the_linear_one_and_the_plain_rule():
    errors = {}
    for name in ("demand-forecast", "demand-forecast-linear"):
        figures = sample_model(name).figures
        (errors[name],) = [
            one.value_micro
            for one in figures.figure
            if one.metric == "mae" and one.data == "held_out"
        ]
        (rule,) = figures.compared
        assert errors[name] < rule.value_micro
    assert errors["demand-forecast"] < errors["demand-forecast-linear"]
