"""The sample models that ship with Hanse: the catalogue of the first minute, without a network.

* Each is a folder of ``resources/sample_models``: graph, sample rows, golden vectors, the
  figures a script measured (``figures.toml``), and words written by hand in both languages
  (``card.toml``).
* A sample becomes a Draft like any other, in the language asked for; nothing is published here,
  and the seller's own checklist stays unanswered, since a person must answer it.
* What was trained on made-up data says so; its figures are still of rows it has not seen.
* Reading is lazy and done once; the bytes of a graph are read when they are asked for.

How a file gets into the store, is sealed and is signed is not known here.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.errors import WrongUse
from hanse.core.market.concepts import concepts
from hanse.core.market.sample_files import CardFile, FiguresFile, Port, Words
from hanse.core.model.card import (
    MICRO,
    AiAct,
    Architecture,
    Column,
    Dataset,
    EthicalRisk,
    EvaluationSet,
    FairnessRisk,
    Lineage,
    ModelCard,
    Recipe,
    Result,
    Risk,
    Signature,
    SizeBand,
    Tensor,
    TrainingData,
    Use,
)
from hanse.core.model.listing import Draft
from hanse.core.sentences import LANGUAGES, say

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

GRAPH_FILE: Final = "model.onnx"
ROWS_FILE: Final = "sample.csv"
GOLDEN_FILE: Final = "samples.npz"

_TABLE_COLUMNS_MOST: Final = 40  # of pixels or characters a table says nothing
_BANDS: Final[tuple[tuple[int, SizeBand], ...]] = (
    (1000, "below_1k"),
    (10_000, "below_10k"),
    (100_000, "below_100k"),
)
_COMPARED: Final = {
    "as_a_week_ago": "sample.compared_as_a_week_ago",
    "most_bought": "sample.compared_most_bought",
    "cross_validation": "sample.compared_cross_validation",
}


class UnknownSample(WrongUse):
    """No sample model has this id; ``nearest`` is the closest one."""

    code = "sample.unknown"
    text = "no sample model {found} (nearest: {nearest})"
    fields = ("found", "nearest")


@dataclass(frozen=True, slots=True)
class SampleModel:
    """One bundled model: what is said of it, what was measured, and its files as bytes."""

    card: CardFile
    figures: FiguresFile

    @property
    def id(self) -> str:
        """Return its name, which is that of its folder and never changes."""
        return self.figures.id

    @property
    def is_synthetic(self) -> bool:
        """Say whether it was trained on made-up data."""
        return self.card.synthetic

    @property
    def licence(self) -> str:
        """Return the id of the licence template it is offered under."""
        return self.card.licence

    def words(self, language: str) -> Words:
        """Return title, summary, text and the rest as written in ``language``."""
        return self.card.zh if language.startswith("zh") else self.card.en

    def graph(self) -> bytes:
        """Return the ONNX file."""
        return _read(self.id, GRAPH_FILE)

    def rows(self) -> bytes:
        """Return held-out rows as CSV (UTF-8, with a header): inputs, then the truth."""
        return _read(self.id, ROWS_FILE)

    def golden(self) -> bytes:
        """Return inputs and outputs as ``.npz``, by tensor name, as the framework computed them."""
        return _read(self.id, GOLDEN_FILE)

    def draft(self, language: str) -> Draft:
        """Make a Draft of it, its words in ``language``; Artifact and tiers are the caller's."""
        assert language in LANGUAGES
        words = self.words(language)
        return Draft(
            title=words.title,
            summary=words.summary,
            text=_text(self, words, language),
            lang="zh" if language == "zh_CN" else "en",
            tags=self.card.tags,
            sectors=(self.card.sector,),
            task=self.card.task,
            price=self.card.price[0],
            currency=self.card.price[1],
            card=_model_card(self, words, language),
        )


@cache
def sample_models() -> tuple[SampleModel, ...]:
    """Return all sample models in the order of their ids; read once for each process."""
    names = sorted(one.name for one in _folder().iterdir() if one.joinpath(GRAPH_FILE).is_file())
    return tuple(
        SampleModel(
            msgspec.convert(_toml(name, "card.toml"), CardFile),
            msgspec.convert(_toml(name, "figures.toml"), FiguresFile),
        )
        for name in names
    )


def sample_model(sample_id: str) -> SampleModel:
    """Return the sample model of this id; raise ``UnknownSample`` with the nearest one."""
    by_id = {sample.id: sample for sample in sample_models()}
    if sample_id not in by_id:
        near = difflib.get_close_matches(sample_id[:80], by_id, n=1, cutoff=0)
        raise UnknownSample(found=sample_id, nearest=near[0])
    return by_id[sample_id]


def _folder() -> Traversable:
    return files("hanse.resources").joinpath("sample_models")


def _read(sample_id: str, name: str) -> bytes:
    return _folder().joinpath(sample_id, name).read_bytes()


def _toml(sample_id: str, name: str) -> dict[str, object]:
    return tomllib.loads(_read(sample_id, name).decode())


# --- what the Draft says --------------------------------------------------------------------


def _text(sample: SampleModel, words: Words, language: str) -> str:
    """Put under the words what the columns are, and what something simpler reaches."""
    parts = [words.text.strip()]
    columns = sample.figures.column
    if len(columns) <= _TABLE_COLUMNS_MOST:
        rows = [
            f"| {one.name} | {one.said(language)} | {one.unit or '-'} "
            f"| {_plain(one.low_micro)} … {_plain(one.high_micro)} |"
            for one in columns
        ]
        head = [say("sample.table", {}, language), "|---|---|---|---|"]
        parts += [say("sample.columns", {"count": len(columns)}, language), "\n".join(head + rows)]
    parts += [
        say(
            _COMPARED[one.rule],
            {"metric": _metric(one.metric, language), "value": _plain(round(one.value_micro, -2))},
            language,
        )
        for one in sample.figures.compared
    ]
    return "\n\n".join(parts)


def _model_card(sample: SampleModel, words: Words, language: str) -> ModelCard:
    card, figures = sample.card, sample.figures
    labels = tuple(one.said(language) for one in figures.label)
    joint = "；" if language == "zh_CN" else "; "
    return ModelCard(
        lang="zh" if language == "zh_CN" else "en",
        modality_in=(card.modality,),
        modality_out=("tabular",),
        signature=Signature(
            inputs=_inputs(figures, language),
            outputs=tuple(
                _tensor(one, (None, one.width) if one.width else (None,), language)
                for one in figures.output
            ),
        ),
        recipe=Recipe(labels=labels),
        architecture=Architecture(family=card.family),
        lineage=Lineage(is_original=True),
        training=TrainingData(datasets=(_dataset(sample, words),), opt_out_respected="yes"),
        claims=_claims(sample, words, language),
        use=Use(
            users=joint.join(words.users),
            uses=joint.join(words.uses),
            out_of_scope=joint.join(words.out_of_scope),
            limitations=joint.join(words.limitations),
            trade_offs=words.trade_offs,
        ),
        risk=Risk(
            ethics=tuple(EthicalRisk(risk=a.risk, mitigation=a.mitigation) for a in words.risks),
            fairness=tuple(
                FairnessRisk(group=a.group, harm=a.harm, mitigation=a.mitigation)
                for a in words.fairness
            ),
            explainability=words.explainability,
            safety_risk=words.safety_risk,
            human_oversight=words.human_oversight,
        ),
        ai_act=AiAct(
            role="provider",
            is_gpai=False,
            systemic=False,
            annex_iii_area=words.ai_act_area,
            no_prohibited_use=True,
        ),
        references=card.references,
        evaluation=EvaluationSet(
            name=ROWS_FILE,
            sha256=bytes.fromhex(figures.sha256[ROWS_FILE]),
            size=len(sample.rows()),
            targets=figures.target,
            slice=_slice_column(sample),
        ),
    )


def _slice_column(sample: SampleModel) -> str:
    """Name the column of the rows whose values the figures tell apart, such as ``language``."""
    header = sample.rows().split(b"\n", 1)[0].decode().strip().split(",")
    columns = {one.slice.partition("=")[0] for one in sample.figures.figure if one.slice}
    return next(iter(sorted(columns.intersection(header))), "")


def _inputs(figures: FiguresFile, language: str) -> tuple[Tensor, ...]:
    """Describe the inputs: one for each column, or one for all with the range they share."""
    port = figures.input
    if port.apart:
        return tuple(
            Tensor(
                name=one.name,
                dtype=port.dtype,
                shape=(None, 1),
                semantics=one.said(language),
                unit=one.unit,
                low_micro=one.low_micro,
                high_micro=one.high_micro,
            )
            for one in figures.column
        )
    tensor = msgspec.structs.replace(
        _tensor(port, (None, len(figures.column)), language),
        columns=tuple(
            Column(
                name=one.name,
                semantics=one.said(language),
                unit=one.unit,
                low_micro=one.low_micro,
                high_micro=one.high_micro,
            )
            for one in figures.column
        ),
    )
    ranges = {(one.low_micro, one.high_micro) for one in figures.column}
    if len(ranges) != 1:
        return (tensor,)
    ((low, high),) = ranges
    return (msgspec.structs.replace(tensor, low_micro=low, high_micro=high),)


def _tensor(port: Port, shape: tuple[int | None, ...], language: str) -> Tensor:
    return Tensor(
        name=port.name,
        dtype=port.dtype,
        shape=shape,
        semantics=port.said(language),
        unit=port.unit,
    )


def _dataset(sample: SampleModel, words: Words) -> Dataset:
    rows = sample.figures.train_rows
    return Dataset(
        name=words.data_name,
        source="synthetic" if sample.is_synthetic else "public",
        provenance=words.data_provenance,
        period=words.data_period,
        size_band=next((band for most, band in _BANDS if rows < most), None),
        personal=sample.card.personal_data,
        sensitive=sample.card.sensitive_data,
        licence=sample.card.data_licence,
        known_bias=words.data_bias,
    )


def _claims(sample: SampleModel, words: Words, language: str) -> tuple[Result, ...]:
    """Claim what was measured: first of the bundled rows, which anybody can repeat."""
    digest = bytes.fromhex(sample.figures.sha256[ROWS_FILE])
    found = []
    for one in sample.figures.figure:
        is_bundled = one.data == ROWS_FILE
        split = "sample.split_bundled" if is_bundled else "sample.split_held_out"
        found.append(
            Result(
                dataset=ROWS_FILE if is_bundled else words.data_name,
                sha256=digest if is_bundled else None,
                split=say(split, {"rows": one.rows}, language),
                metric=one.metric,
                value_micro=one.value_micro,
                ci_low_micro=one.low_micro,
                ci_high_micro=one.high_micro,
                slice=one.slice,
                threshold_micro=one.threshold_micro,
            )
        )
    return tuple(found)


def _metric(metric: str, language: str) -> str:
    found = concepts().find(metric, "metric")
    return metric if found is None else concepts().name(found, language)


def _plain(micro: int) -> str:
    """Write millionths as people do, without zeros that say nothing."""
    sign, amount = ("-" if micro < 0 else ""), abs(micro)
    whole, rest = divmod(amount, MICRO)
    return f"{sign}{whole}.{rest:06}".rstrip("0").rstrip(".")
