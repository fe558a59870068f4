"""The Model card: what a seller states about a model, field by field.

* Every field may be left out.  ``None``, an empty text or an empty list mean "not
  stated"; nothing here is ever filled with a guess.
* Figures are whole numbers with their scale in the name (``value_micro``,
  ``training_wh``): a card is hashed and signed, so there are no floats.
* What the model file shows by itself (signature, variants, parameters) stands in the
  same card; the file wins over what was typed.
* All text and every list is bounded; the whole is at most ``CARD_SIZE_BYTES_MAX``.
* A field that came later is left out of the bytes while it is not stated (``UNSET``), so that
  a card signed before keeps its hash and its one encoding.

Which fields a sector needs, how complete a card is and how it is written for others
is decided in ``hanse.core.market``.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from hanse.core.limits import (
    BLOB_SIZE_BYTES_MAX,
    CARD_COLUMNS_MAX,
    CARD_LABELS_MAX,
    CARD_LINE_CHARACTERS_MAX,
    CARD_RESULTS_MAX,
    CARD_ROWS_MAX,
    CARD_STEP_VALUES_MAX,
    CARD_STEPS_MAX,
    CARD_TEXT_CHARACTERS_MAX,
    TENSOR_DIMENSIONS_MAX,
    TENSORS_OF_A_SIGNATURE_MAX,
    TRIAL_ANSWERS_PER_30_DAYS_MAX,
    TRIAL_ANSWERS_PER_BUYER_MAX,
    TRIAL_DAYS_MAX,
    TRIAL_RUNS_MAX,
)
from hanse.core.model.artifact import Dimension, Name, Natural, Parity

MICRO: Final = 1_000_000

Line = Annotated[str, msgspec.Meta(max_length=CARD_LINE_CHARACTERS_MAX)]
LongText = Annotated[str, msgspec.Meta(max_length=CARD_TEXT_CHARACTERS_MAX)]
Lines = Annotated[tuple[Line, ...], msgspec.Meta(max_length=CARD_ROWS_MAX)]
Scaled = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]  # millionths
Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]

Modality = Literal["image", "text", "audio", "video", "tabular", "time_series", "graph", "other"]
Answer = Literal["yes", "no", "not_stated"]
Relation = Literal["finetune", "merge", "quantise", "distil", "adapter"]
DataSource = Literal["public", "licensed", "crawled", "user", "synthetic", "other"]
SizeBand = Literal["below_1k", "below_10k", "below_100k", "below_1m", "below_10m", "above_10m"]
TrialRelation = Literal["smaller", "older", "fewer_classes", "lower_precision"]
Shown = Literal["top1", "digits2", "tokens256", "full"]
AiActRole = Literal["provider", "deployer", "importer", "distributor", "other"]

CHECKLIST: Final = (  # the eight points, in the order their answers stand
    "may_sell",
    "training_data_truthful",
    "description_matches",
    "samples_make_sense",
    "limits_stated",
    "figures_unseen_data",
    "personal_data",
    "no_prohibited_use",
)

NOT_STATED: Final[Answer] = "not_stated"
NOTHING_CHECKED: Final[tuple[Answer, ...]] = (NOT_STATED,) * len(CHECKLIST)

CannotDisclose = Annotated[str, msgspec.Meta(max_length=CARD_TEXT_CHARACTERS_MAX)]


class CardPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every part of a card is: a map without unknown fields."""


class Variant(CardPart, frozen=True, kw_only=True):
    """One model file of the Artifact: how it is stored, and the version of its operators."""

    file: Name
    format: Annotated[str, msgspec.Meta(max_length=20)]
    framework: Line = ""
    opset: Natural = 0  # 0: the format has none
    quantisation: Line = ""


class Column(CardPart, frozen=True, kw_only=True):
    """One column of a table that a tensor of rows is made of, and the range it may have."""

    name: Name
    semantics: Line = ""
    unit: Line = ""
    low_micro: Scaled | None = None  # valid range, in millionths
    high_micro: Scaled | None = None
    categories: Lines = ()


Columns = Annotated[tuple[Column, ...], msgspec.Meta(min_length=1, max_length=CARD_COLUMNS_MAX)]


class Tensor(CardPart, frozen=True, kw_only=True):
    """One input or output; the first three fields come from the file, the rest is stated.

    ``columns`` name the second dimension of a tensor of rows, in order.
    """

    name: Name
    dtype: Name
    shape: (
        Annotated[tuple[Dimension, ...], msgspec.Meta(max_length=TENSOR_DIMENSIONS_MAX)] | None
    ) = None
    semantics: Line = ""
    unit: Line = ""
    low_micro: Scaled | None = None  # valid range, in millionths
    high_micro: Scaled | None = None
    categories: Lines = ()
    media_type: Line = ""  # such as image/png
    size_bytes_most: Natural | None = None
    columns: Columns | msgspec.UnsetType = msgspec.UNSET

    @property
    def stated_columns(self) -> tuple[Column, ...]:
        """Return the columns, none where they are not stated."""
        return () if self.columns is msgspec.UNSET else self.columns


Tensors = Annotated[tuple[Tensor, ...], msgspec.Meta(max_length=TENSORS_OF_A_SIGNATURE_MAX)]


class StatePair(CardPart, frozen=True, kw_only=True):
    """An output that is fed back as an input of the next call."""

    output: Name
    input: Name


class Signature(CardPart, frozen=True, kw_only=True):
    """What goes in and what comes out; ``context`` and ``vocabulary`` are those of language."""

    inputs: Tensors = ()
    outputs: Tensors = ()
    states: Annotated[tuple[StatePair, ...], msgspec.Meta(max_length=CARD_ROWS_MAX)] = ()
    context: Natural = 0
    vocabulary: Natural = 0


class RecipeStep(CardPart, frozen=True, kw_only=True):
    """One step before or after the model: data, never code.

    ``numbers_micro`` and ``words`` are its arguments in the order of the operation:
    ``scale`` a, b; ``normalise`` mean..., std...; ``resize`` h, w; ``layout`` "HWC>CHW".
    """

    op: Literal[
        "cast",
        "scale",
        "normalise",
        "resize",
        "layout",
        "pad",
        "category",
        "impute",
        "softmax",
        "argmax",
        "threshold",
        "labels",
        "nms",
    ]
    tensor: Name = ""
    numbers_micro: Annotated[tuple[Scaled, ...], msgspec.Meta(max_length=CARD_STEP_VALUES_MAX)] = ()
    words: Annotated[tuple[Line, ...], msgspec.Meta(max_length=CARD_STEP_VALUES_MAX)] = ()


Steps = Annotated[tuple[RecipeStep, ...], msgspec.Meta(max_length=CARD_STEPS_MAX)]


class Recipe(CardPart, frozen=True, kw_only=True):
    """How data becomes an input and an output an answer; ``samples`` names a Blob of pairs."""

    pre: Steps = ()
    post: Steps = ()
    labels: Annotated[tuple[Line, ...], msgspec.Meta(max_length=CARD_LABELS_MAX)] = ()
    samples: Digest | None = None


class Architecture(CardPart, frozen=True, kw_only=True):
    """How the model is built, and what it was trained to do."""

    family: Line = ""
    parameters: Natural | None = None
    context: Natural | None = None
    objective: Line = ""


class BaseModel(CardPart, frozen=True, kw_only=True):
    """What this model was made from; ``release`` where that is a Release, ``id`` elsewhere."""

    name: Line = ""
    id: Line = ""  # such as a hub id or an address
    release: Digest | None = None
    licence: Line = ""  # an SPDX expression or LicenseRef; empty: not stated
    relation: Relation | None = None


class Lineage(CardPart, frozen=True, kw_only=True):
    """Base models, and how this one was made from them; ``is_original`` says there are none."""

    base_models: Annotated[tuple[BaseModel, ...], msgspec.Meta(max_length=CARD_ROWS_MAX)] = ()
    is_original: bool | None = None
    method: LongText = ""


class Dataset(CardPart, frozen=True, kw_only=True):
    """One set the model was trained on."""

    name: Line = ""
    source: DataSource | None = None
    provenance: LongText = ""
    period: Line = ""
    size_band: SizeBand | None = None
    personal: Answer = "not_stated"
    sensitive: Answer = "not_stated"
    licence: Line = ""
    collection: LongText = ""
    preprocessing: LongText = ""
    known_bias: LongText = ""


class TrainingData(CardPart, frozen=True, kw_only=True):
    """Data sets, or the reason why nothing is said of them."""

    datasets: Annotated[tuple[Dataset, ...], msgspec.Meta(max_length=CARD_ROWS_MAX)] = ()
    opt_out_respected: Answer = "not_stated"
    cannot_disclose: CannotDisclose = ""  # the reason; empty: no such claim is made


class Result(CardPart, frozen=True, kw_only=True):
    """One figure the seller claims; Level 0 until a Certificate repeats it."""

    dataset: Line = ""
    sha256: Digest | None = None
    split: Line = ""
    metric: Line
    value_micro: Scaled
    ci_low_micro: Scaled | None = None
    ci_high_micro: Scaled | None = None
    slice: Line = ""
    threshold_micro: Scaled | None = None


class EvaluationSet(CardPart, frozen=True, kw_only=True):
    """The data the seller was measured on, given with the Listing so that anybody can repeat it.

    A Blob (CSV or NPZ).  ``targets`` name the columns or arrays of the truth, ``slice`` a column
    whose values are told apart, ``group`` that of users or series, ``positive`` the label that
    counts as a find.
    """

    name: Line
    sha256: Digest
    size: Annotated[int, msgspec.Meta(ge=1, le=BLOB_SIZE_BYTES_MAX)]
    targets: Lines = ()
    slice: Line = ""
    group: Line = ""
    positive: Line = ""


class Use(CardPart, frozen=True, kw_only=True):
    """For whom and what the model is meant, and for what it is not."""

    users: LongText = ""
    uses: LongText = ""
    out_of_scope: LongText = ""
    limitations: LongText = ""
    trade_offs: LongText = ""
    acceptable_use: Digest | None = None  # hash of its text


class EthicalRisk(CardPart, frozen=True, kw_only=True):
    """A risk and what is done about it."""

    risk: LongText
    mitigation: LongText = ""


class FairnessRisk(CardPart, frozen=True, kw_only=True):
    """A group at risk, the harm, and what is done about it."""

    group: LongText
    harm: LongText = ""
    mitigation: LongText = ""


class Risk(CardPart, frozen=True, kw_only=True):
    """What can go wrong, and who watches."""

    ethics: Annotated[tuple[EthicalRisk, ...], msgspec.Meta(max_length=CARD_ROWS_MAX)] = ()
    fairness: Annotated[tuple[FairnessRisk, ...], msgspec.Meta(max_length=CARD_ROWS_MAX)] = ()
    explainability: LongText = ""
    safety_risk: LongText = ""
    human_oversight: LongText = ""


class AiAct(CardPart, frozen=True, kw_only=True):
    """What Regulation (EU) 2024/1689 asks for; a documentation aid, not legal advice."""

    role: AiActRole | None = None
    is_gpai: bool | None = None
    systemic: bool | None = None
    annex_iii_area: Line = ""
    no_prohibited_use: bool | None = None
    training_summary_url: Line = ""
    training_summary_sha256: Digest | None = None
    copyright_policy: LongText = ""
    eu_contact: Line = ""


class Energy(CardPart, frozen=True, kw_only=True):
    """What training took: watt-hours, grams of CO2 equivalent, where and on what."""

    training_wh: Natural | None = None
    co2e_g: Natural | None = None
    hardware: Line = ""
    region: Line = ""


class OpenTrial(CardPart, frozen=True, kw_only=True):
    """A Trial edition: another Artifact in the clear, and how it differs from the full one."""

    artifact: Digest | None = None
    relation: TrialRelation | None = None
    note: LongText = ""


class SealedTrial(CardPart, frozen=True, kw_only=True):
    """A Sealed local trial: how often and how long; ``certify`` lets testers certify with it."""

    runs: Annotated[int, msgspec.Meta(ge=1, le=TRIAL_RUNS_MAX)]
    days: Annotated[int, msgspec.Meta(ge=1, le=TRIAL_DAYS_MAX)]
    certify: bool = False


class AnswersTrial(CardPart, frozen=True, kw_only=True):
    """Signed answers: how many for one buyer and in 30 days, and what he reads of each."""

    per_buyer: Annotated[int, msgspec.Meta(ge=1, le=TRIAL_ANSWERS_PER_BUYER_MAX)]
    per_30d: Annotated[int, msgspec.Meta(ge=1, le=TRIAL_ANSWERS_PER_30_DAYS_MAX)]
    shown: Shown = "top1"


class Trials(CardPart, frozen=True, kw_only=True):
    """The ways to try before buying that the seller switches on; all off at first."""

    open: OpenTrial | None = None
    sealed_local: SealedTrial | None = None
    signed_answers: AnswersTrial | None = None


Modalities = Annotated[tuple[Modality, ...], msgspec.Meta(max_length=8)]
Checklist = Annotated[
    tuple[Answer, ...], msgspec.Meta(min_length=len(CHECKLIST), max_length=len(CHECKLIST))
]


class ModelCard(CardPart, frozen=True, kw_only=True):
    """All groups of a card; ``lang`` is the language its own text is written in.

    ``checklist`` answers the points of ``CHECKLIST`` in their order.  ``made_from`` is
    the Artifact a Conversion or normalisation began with, ``parity`` what came of it.
    """

    v: Literal[1] = 1
    lang: Annotated[str, msgspec.Meta(max_length=8)] = ""
    modality_in: Modalities = ()
    modality_out: Modalities = ()
    variants: Annotated[tuple[Variant, ...], msgspec.Meta(max_length=CARD_ROWS_MAX)] = ()
    made_from: Digest | None = None
    parity: Parity | None = None
    signature: Signature = Signature()
    recipe: Recipe = Recipe()
    architecture: Architecture = Architecture()
    lineage: Lineage = Lineage()
    training: TrainingData = TrainingData()
    claims: Annotated[tuple[Result, ...], msgspec.Meta(max_length=CARD_RESULTS_MAX)] = ()
    use: Use = Use()
    risk: Risk = Risk()
    ai_act: AiAct = AiAct()
    energy: Energy = Energy()
    trial: Trials = Trials()
    checklist: Checklist = NOTHING_CHECKED
    references: Lines = ()  # papers and pages, as addresses
    evaluation: EvaluationSet | msgspec.UnsetType = msgspec.UNSET

    @property
    def stated_evaluation(self) -> EvaluationSet | None:
        """Return the data given with the Listing, if any is."""
        return None if self.evaluation is msgspec.UNSET else self.evaluation
