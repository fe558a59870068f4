"""The two files that describe a sample model, as typed values.

* ``card.toml`` is written by hand, once in each language; both have the same fields.
* ``figures.toml`` is written by the script that made the model; figures are in millionths.
* Fields that no one knows are refused, so a slip in a file is found by the first reader.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from hanse.core.model.card import Answer, Modality


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every part of the two files is."""


class Said(Part, frozen=True, kw_only=True):
    """A meaning in both languages."""

    en: str
    zh: str

    def said(self, language: str) -> str:
        """Return the words of ``language``."""
        return self.zh if language.startswith("zh") else self.en


class RiskWords(Part, frozen=True, kw_only=True):
    """A risk and what is done about it."""

    risk: str
    mitigation: str


class FairnessWords(Part, frozen=True, kw_only=True):
    """Whom a model may treat worse, how, and what is done about it."""

    group: str
    harm: str
    mitigation: str


class Words(Part, frozen=True, kw_only=True):
    """All that is said of a sample model, in one language."""

    title: str
    summary: str
    text: str
    data_name: str
    data_provenance: str
    data_bias: str
    data_period: str = ""
    users: tuple[str, ...]
    uses: tuple[str, ...]
    out_of_scope: tuple[str, ...]
    limitations: tuple[str, ...]
    trade_offs: str
    explainability: str
    human_oversight: str
    safety_risk: str
    ai_act_area: str = ""
    risks: tuple[RiskWords, ...]
    fairness: tuple[FairnessWords, ...] = ()


class CardFile(Part, frozen=True, kw_only=True):
    """``card.toml``; ``price`` is an amount in major units and its currency, a suggestion."""

    sector: str
    task: str
    tags: tuple[str, ...]
    family: str
    licence: str
    price: tuple[str, str]
    modality: Modality
    synthetic: bool
    personal_data: Answer
    sensitive_data: Answer
    data_licence: str
    references: tuple[str, ...]
    en: Words
    zh: Words


class Port(Said, frozen=True, kw_only=True):
    """A tensor; ``width`` is its second dimension, 0 when it has one dimension only."""

    name: str
    dtype: str
    unit: str
    width: int = 0


class InputPort(Port, frozen=True, kw_only=True):
    """The input of all columns; ``apart`` when the graph takes each column by its own name."""

    apart: bool


class Column(Said, frozen=True, kw_only=True):
    """One column of the input, and the range the model was fitted on."""

    name: str
    unit: str
    low_micro: int
    high_micro: int


class MeasuredFigure(Part, frozen=True, kw_only=True):
    """One metric with its 95 % interval, on the bundled rows or on all held-out ones."""

    data: Literal["sample.csv", "held_out"]
    rows: int
    metric: str
    value_micro: int
    low_micro: int
    high_micro: int
    slice: str = ""
    threshold_micro: int | None = None


class ComparedFigure(Part, frozen=True, kw_only=True):
    """What something else reaches: a plain rule, or the same model on other splits."""

    rule: Literal["as_a_week_ago", "most_bought", "cross_validation"]
    metric: str
    value_micro: int


class FiguresFile(Part, frozen=True, kw_only=True):
    """``figures.toml``: how the model was made, its signature, and what was measured."""

    id: str
    seed: int
    train_rows: int
    test_rows: int
    sample_rows: int
    target: tuple[str, ...]
    sha256: dict[str, str]
    tools: dict[str, str]
    input: InputPort
    column: tuple[Column, ...]
    output: tuple[Port, ...]
    label: tuple[Said, ...]
    figure: tuple[MeasuredFigure, ...]
    compared: tuple[ComparedFigure, ...]
