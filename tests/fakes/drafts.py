"""Drafts for tests: the article's four values, and one with every field of its card filled."""

from __future__ import annotations

import msgspec

from hanse.core.market.concepts import concepts
from hanse.core.model.artifact import OutputParity, Parity
from hanse.core.model.card import (
    AiAct,
    AnswersTrial,
    Architecture,
    BaseModel,
    Dataset,
    Energy,
    EthicalRisk,
    FairnessRisk,
    Lineage,
    ModelCard,
    OpenTrial,
    Recipe,
    RecipeStep,
    Result,
    Risk,
    SealedTrial,
    Signature,
    StatePair,
    Tensor,
    TrainingData,
    Trials,
    Use,
    Variant,
)
from hanse.core.model.listing import Draft, PriceTerm, TierDraft
from hanse.core.sentences import LANGUAGES, say
from hanse.core.trade.terms import template

NOW_MS = 1_790_000_000_000
VOCABULARY = concepts()
SALT = b"s" * 16


def tier(licence="commercial-1", name="Standard", price=""):
    return TierDraft(name=name, terms=template(licence).terms, price=price)


def small_draft(**changes):
    """Make the article's Draft, its model imported and its licence the default one."""
    draft = Draft(
        title="图像识别模型",
        text="用于图像识别的AI模型",
        lang="zh",
        price="100",
        tiers=(tier(),),
        artifact=b"a" * 32,
        size=26_143,
        files=1,
        formats=("onnx",),
    )
    return msgspec.structs.replace(draft, **changes)


def full_card(**changes):
    card = ModelCard(
        lang="en",
        modality_in=("image",),
        modality_out=("tabular",),
        variants=(
            Variant(
                file="model.onnx",
                format="onnx",
                framework="sklearn",
                opset=18,
                quantisation="int8",
            ),
        ),
        made_from=b"m" * 32,
        parity=Parity(
            source_format="skops",
            tools={"skl2onnx": "1.20.0"},
            inputs=64,
            origin="drawn",
            outputs=(
                OutputParity(
                    name="p", max_abs_nano=420, max_rel_nano=9, labels_equal=64, labels=64
                ),
            ),
            rtol_nano=100_000,
            atol_nano=10_000,
            verdict="pass",
        ),
        signature=Signature(
            inputs=(
                Tensor(
                    name="image",
                    dtype="float32",
                    shape=("batch", 1, 28, None),
                    semantics="grey values",
                    unit="1",
                    low_micro=0,
                    high_micro=1_000_000,
                    media_type="image/png",
                    size_bytes_most=8 * 1024**2,
                ),
            ),
            outputs=(
                Tensor(
                    name="label",
                    dtype="int64",
                    shape=("batch",),
                    semantics="digit",
                    categories=("0", "1"),
                ),
                Tensor(name="state_out", dtype="float32", semantics="state"),
            ),
            states=(StatePair(output="state_out", input="image"),),
            context=512,
            vocabulary=1000,
        ),
        recipe=Recipe(
            pre=(RecipeStep(op="scale", tensor="image", numbers_micro=(3921, 0)),),
            post=(RecipeStep(op="argmax"), RecipeStep(op="labels", words=("0", "1"))),
            labels=("zero", "one"),
            samples=b"p" * 32,
        ),
        architecture=Architecture(
            family="CNN", parameters=26_000, context=512, objective="cross-entropy"
        ),
        lineage=Lineage(
            base_models=(
                BaseModel(name="Base", id="org/base", licence="MIT", relation="finetune"),
                BaseModel(name="Mine", release=b"r" * 32, licence="Apache-2.0", relation="distil"),
            ),
            is_original=False,
            method="fine-tuned for three epochs",
        ),
        training=TrainingData(
            datasets=(
                Dataset(
                    name="digits",
                    source="public",
                    provenance="scanned forms",
                    period="1994",
                    size_band="below_10k",
                    personal="no",
                    sensitive="yes",
                    licence="CC-BY-4.0",
                    collection="by hand",
                    preprocessing="scaled",
                    known_bias="few left-handed writers",
                ),
            ),
            opt_out_respected="yes",
        ),
        claims=(
            Result(
                dataset="digits",
                sha256=b"d" * 32,
                split="test",
                metric="accuracy",
                value_micro=874_000,
                ci_low_micro=858_000,
                ci_high_micro=888_000,
                slice="all",
                threshold_micro=500_000,
            ),
            Result(metric="rmse", value_micro=-12_500_000),
        ),
        use=Use(
            users="clinics",
            uses="to sort forms",
            out_of_scope="signatures",
            limitations="blurred scans | and <b>bold</b>",
            trade_offs="small before exact",
            acceptable_use=b"u" * 32,
        ),
        risk=Risk(
            ethics=(EthicalRisk(risk="misreading", mitigation="a person checks"),),
            fairness=(FairnessRisk(group="left-handed", harm="more errors", mitigation="told"),),
            explainability="saliency maps",
            safety_risk="none known",
            human_oversight="every tenth form is read",
        ),
        ai_act=AiAct(
            role="provider",
            is_gpai=False,
            systemic=False,
            annex_iii_area="none",
            no_prohibited_use=True,
            training_summary_url="https://example.org/summary",
            training_summary_sha256=b"t" * 32,
            copyright_policy="opt-outs are honoured",
            eu_contact="contact@example.org",
        ),
        energy=Energy(training_wh=1234, co2e_g=567, hardware="two cores", region="DE"),
        trial=Trials(
            open=OpenTrial(artifact=b"o" * 32, relation="smaller", note="half the width"),
            sealed_local=SealedTrial(runs=100, days=7, certify=True),
            signed_answers=AnswersTrial(per_buyer=120, per_30d=1000, shown="top1"),
        ),
        checklist=("yes",) * 8,
        references=("https://example.org/paper", "a book, page 7"),
    )
    return msgspec.structs.replace(card, **changes)


def full_draft(**changes):
    """Make a medical Draft in which every question is answered."""
    card = full_card()
    draft = Draft(
        title="Form reader",
        summary="Reads digits on forms.",
        text="# Form reader\n\nReads handwritten digits.\n",
        lang="en",
        tags=("digits", "ocr"),
        sectors=("medical",),
        task="image-classification",
        version="1.2.0",
        notes="Better on blurred scans.",
        price="100.00",
        currency="EUR",
        price_terms=(PriceTerm(name="launch", amount="-10.00"),),
        tiers=(
            tier("open-mit", "Open"),
            tier("open-apache-2.0", "Apache", "95.00"),
        ),
        card=card,
        valid_until=NOW_MS + 1000,
        capacity=10,
        mediators=(b"k" * 32,),
        media=(b"p" * 32,),
        artifact=b"a" * 32,
        size=26_143,
        files=1,
        formats=("onnx",),
        parity=card.parity,
        made_from=card.made_from,
    )
    return msgspec.structs.replace(draft, **changes)


def said(problems):
    """Say every Problem in both languages; fail on one without a sentence or a value."""
    return [say(one.code, one.values, language) for language in LANGUAGES for one in problems]
