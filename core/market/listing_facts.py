"""What the model file shows goes into the Draft; what was typed against it gives way.

* The file knows its signature, parameters, format and operators best: where a typed value
  differs it is overwritten, and the seller is told both.
* What only a person knows about a tensor (meaning, unit, range) stays with its name.
* Words a file holds (a title, labels, a licence) and what its shapes look like are
  suggestions: they fill what is empty, are marked in ``Draft.guessed``, and told.
* A guess that is not sure is not made.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.ledger.codec import is_text
from hanse.core.limits import (
    CARD_LABELS_MAX,
    CARD_LINE_CHARACTERS_MAX,
    CARD_ROWS_MAX,
    CARD_TEXT_CHARACTERS_MAX,
    LISTING_SUMMARY_CHARACTERS_MAX,
    LISTING_TITLE_CHARACTERS_MAX,
)
from hanse.core.market.listing_bodies import plain_text
from hanse.core.model.card import ModelCard, Signature, Tensor, Variant
from hanse.core.model.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hanse.core.market.concepts import Concepts
    from hanse.core.model.artifact import ModelFacts, TensorFacts
    from hanse.core.model.card import Modality
    from hanse.core.model.listing import Draft

_FORMATS_MOST: Final = 8
_METADATA_KEPT: Final = 32
_METADATA_CHARACTERS: Final = 200
_FRAMEWORKS: Final = (  # a word in a producer's name, and the framework it stands for
    ("skl2onnx", "sklearn"),
    ("sklearn", "sklearn"),
    ("pytorch", "pytorch"),
    ("torch", "pytorch"),
    ("tf2onnx", "tensorflow"),
    ("tensorflow", "tensorflow"),
    ("keras", "keras"),
    ("xgboost", "xgboost"),
    ("lightgbm", "lightgbm"),
    ("paddle", "paddle"),
    ("jax", "jax"),
)
_FRAMEWORK_OF_FORMAT: Final = {
    "skops": "sklearn",
    "keras": "keras",
    "keras_h5": "keras",
    "pt2": "pytorch",
    "torchscript": "pytorch",
    "pytorch": "pytorch",
    "tflite": "tensorflow",
    "savedmodel": "tensorflow",
}
_PICTURE_CHANNELS: Final = frozenset({1, 3, 4})
_WORDS_OF_PROBABILITY: Final = ("prob", "label", "class", "softmax", "score", "logit")
_TOKENS: Final = ("input_ids", "token")


def apply_facts(
    draft: Draft, facts: ModelFacts | Sequence[ModelFacts], *, vocabulary: Concepts | None = None
) -> tuple[Draft, tuple[Problem, ...]]:
    """Put what the files show into ``draft``; return it and what the seller is told.

    The first of several files is the one whose signature counts.  With a ``vocabulary``
    the task is suggested too.  What is told are warnings: overwritten or suggested values.
    """
    files = (facts,) if not isinstance(facts, tuple | list) else tuple(facts)
    assert files
    told: list[Problem] = []
    source = draft.parity.source_format if draft.parity is not None else None
    card = _card(draft.card, files, source, told)
    draft = msgspec.structs.replace(
        draft,
        card=card,
        formats=tuple(dict.fromkeys(one.format for one in files))[:_FORMATS_MOST],
        facts=tuple(_kept(one) for one in files[:CARD_ROWS_MAX]),
    )
    return _suggested(draft, files[0], vocabulary, told), tuple(told)


def suggest_task(draft: Draft, vocabulary: Concepts) -> str:
    """Return the task that the words or else the shapes of ``draft`` point to, or nothing.

    The words are the title's, then the summary's and the text's; two tasks in one of
    them point nowhere.
    """
    tasks = frozenset(vocabulary.tasks())
    for text in (draft.title, draft.summary, draft.text):
        found = [one.partition(".")[2] for one in vocabulary.tokens(text) if one[:5] == "task."]
        if len(found) == 1:
            return found[0]
    for facts in draft.facts:
        for word in (facts.suggested.get("task", ""), _task_of_shapes(facts)):
            named = vocabulary.find(word, "task") if word.strip() else None
            if named is not None and named.partition(".")[2] in tasks:
                return named.partition(".")[2]
    return ""


# --- the card ---------------------------------------------------------------------------------


def _card(
    card: ModelCard, files: Sequence[ModelFacts], source: str | None, told: list[Problem]
) -> ModelCard:
    main = files[0]
    variants = tuple(_variant(one, source) for one in files[:CARD_ROWS_MAX])
    if card.variants and card.variants != variants:
        _tell_overwritten("card.variants", _variants(card.variants), _variants(variants), told)
    architecture = card.architecture
    for field, shown in (
        ("card.architecture.parameters", main.parameters or None),
        ("card.architecture.context", main.context or None),
        ("card.architecture.family", _line(main.architecture) or None),
    ):
        name = field.rpartition(".")[2]
        typed = getattr(architecture, name)
        if shown is None or typed == shown:
            continue
        if typed not in (None, ""):
            _tell_overwritten(field, typed, shown, told)
        architecture = msgspec.structs.replace(architecture, **{name: shown})
    return msgspec.structs.replace(
        card,
        variants=variants,
        architecture=architecture,
        signature=_signature(card.signature, main, told),
    )


def _variant(facts: ModelFacts, source: str | None) -> Variant:
    return Variant(
        file=facts.file,
        format=facts.format,
        framework=_framework(facts, source),
        opset=facts.opset.get("", facts.opset.get("ai.onnx", 0)),
        quantisation=_line(facts.quantisation),
    )


def _framework(facts: ModelFacts, source: str | None) -> str:
    """Name the framework a file comes from; ``source`` is the format it was converted from."""
    producer = facts.producer.casefold()
    for word, framework in _FRAMEWORKS:
        if word in producer:
            return framework
    return _FRAMEWORK_OF_FORMAT.get(source or facts.format, "")


def _variants(variants: Iterable[Variant]) -> str:
    return ", ".join(f"{one.file} ({one.format})" for one in variants)[:CARD_LINE_CHARACTERS_MAX]


def _signature(typed: Signature, facts: ModelFacts, told: list[Problem]) -> Signature:
    if not facts.inputs and not facts.outputs:
        return typed  # weights without a graph show no signature
    return msgspec.structs.replace(
        typed,
        inputs=_tensors("card.signature.inputs", typed.inputs, facts.inputs, told),
        outputs=_tensors("card.signature.outputs", typed.outputs, facts.outputs, told),
        context=facts.context or typed.context,
    )


def _tensors(
    field: str,
    typed: tuple[Tensor, ...],
    shown: tuple[TensorFacts, ...],
    told: list[Problem],
) -> tuple[Tensor, ...]:
    by_name = {one.name: one for one in typed}
    tensors = []
    for one in shown:
        stated = by_name.get(one.name, Tensor(name=one.name, dtype=one.dtype))
        tensors.append(msgspec.structs.replace(stated, dtype=one.dtype, shape=one.shape))
    was, now = _shapes(typed), _shapes(tuple(tensors))
    if typed and was != now:
        _tell_overwritten(field, was, now, told)
    return tuple(tensors)


def _shapes(tensors: tuple[Tensor, ...]) -> str:
    shown = (
        f"{one.name} {one.dtype}"
        + ("" if one.shape is None else f"[{', '.join(str(n) for n in one.shape)}]")
        for one in tensors
    )
    return "; ".join(shown)[:CARD_LINE_CHARACTERS_MAX]


def _tell_overwritten(field: str, typed: object, shown: object, told: list[Problem]) -> None:
    values = {"field": field, "typed": typed, "found": shown}
    told.append(Problem("facts.overwritten", field, values, is_warning=True))


# --- suggestions ------------------------------------------------------------------------------


def _suggested(
    draft: Draft, facts: ModelFacts, vocabulary: Concepts | None, told: list[Problem]
) -> Draft:
    words = facts.suggested
    changes: dict[str, object] = {}
    title = plain_text(words.get("title", "")).strip()
    if not draft.title.strip() and _fits(title, LISTING_TITLE_CHARACTERS_MAX, is_line=True):
        changes["title"] = title
    summary = plain_text(words.get("summary", "")).strip()
    if not draft.summary.strip() and _fits(summary, LISTING_SUMMARY_CHARACTERS_MAX):
        changes["summary"] = summary
    draft = msgspec.structs.replace(draft, **changes)
    if (
        vocabulary is not None
        and not draft.task.strip()
        and (task := suggest_task(draft, vocabulary))
    ):
        changes["task"] = task
        draft = msgspec.structs.replace(draft, task=task)
    card, filled = _suggested_card(draft.card, facts, draft.task)
    changes |= filled
    for field, value in changes.items():
        values = {"field": field, "value": value}
        told.append(Problem("facts.suggested", field, values, is_warning=True))
    guessed = tuple(dict.fromkeys((*draft.guessed, *changes)))
    return msgspec.structs.replace(draft, card=card, guessed=guessed)


def _suggested_card(
    card: ModelCard, facts: ModelFacts, task: str
) -> tuple[ModelCard, dict[str, object]]:
    """Fill labels and modalities where nothing is stated; return also what was filled."""
    filled: dict[str, object] = {}
    labels = _labels(facts.suggested.get("labels", ""))
    if labels and not card.recipe.labels:
        recipe = msgspec.structs.replace(card.recipe, labels=labels)
        card = msgspec.structs.replace(card, recipe=recipe)
        filled["card.recipe.labels"] = labels[:8]
    for name, modality in (
        ("modality_in", _modality_in(facts, task)),
        ("modality_out", _modality_out(task)),
    ):
        if modality is not None and not getattr(card, name):
            card = msgspec.structs.replace(card, **{name: (modality,)})
            filled[f"card.{name}"] = modality
    return card, filled


def _labels(text: str) -> tuple[str, ...]:
    """Read labels kept in a file: JSON (a list, or a map from number to name) or lines."""
    try:
        held = json.loads(text) if text.lstrip()[:1] in ("[", "{") else None
    except (ValueError, RecursionError):
        return _pairs(text)
    if isinstance(held, dict):
        if not all(str(key).isascii() and str(key).isdigit() for key in held):
            return ()
        held = [held[key] for key in sorted(held, key=lambda key: (len(key), key))]
    if held is None:
        parts = text.splitlines() if "\n" in text.strip() else text.split(",")
        held = [part.strip() for part in parts] if text.strip() else []
    labels = tuple(_line(str(one)) for one in held if isinstance(one, str | int))
    return labels if len(labels) == len(held) <= CARD_LABELS_MAX and all(labels) else ()


def _pairs(text: str) -> tuple[str, ...]:
    """Read ``{0: 'cat', 1: 'dog'}``, as detectors write it: no JSON, and not evaluated."""
    found = re.findall(r"(\d{1,5}): '([^'\\]{1,200})'", text)
    if [int(number) for number, _ in found] != list(range(len(found))):
        return ()
    return tuple(_line(label) for _, label in found[:CARD_LABELS_MAX])


def _line(text: str) -> str:
    plain = " ".join(plain_text(text).split())[:CARD_LINE_CHARACTERS_MAX].strip()
    return plain if is_text(plain, multiline=False) else ""


def _fits(text: str, most: int, *, is_line: bool = False) -> bool:
    return 1 <= len(text) <= most and is_text(text, multiline=not is_line)


def _task_of_shapes(facts: ModelFacts) -> str:
    """Name the task a signature looks like; an empty text when it may be more than one."""
    if facts.format == "gguf":
        return "text-generation" if facts.context else ""
    shape = facts.inputs[0].shape if facts.inputs else None
    names = " ".join(one.name.casefold() for one in facts.outputs)
    classifies = any(word in names for word in _WORDS_OF_PROBABILITY)
    widths = [one.shape[-1] for one in facts.outputs if one.shape]
    is_flat = all(one.shape is not None and len(one.shape) <= 2 for one in facts.outputs)
    if shape is None or not facts.outputs:
        return ""
    if _is_picture(shape) and is_flat and any(isinstance(n, int) and n > 1 for n in widths):
        return "image-classification"
    if len(facts.inputs) == 1 and len(shape) == 2 and is_flat:
        if classifies:
            return "tabular-classification"
        if widths == [1] and "variable" in names:  # what scikit-learn's regressors are called
            return "tabular-regression"
    return ""


def _modality_in(facts: ModelFacts, task: str) -> Modality | None:
    shape = facts.inputs[0].shape if facts.inputs else None
    names = " ".join(one.name.casefold() for one in facts.inputs)
    if facts.format == "gguf" or any(word in names for word in _TOKENS):
        return "text"
    if facts.suggested.get("modality_in") == "image" or (shape is not None and _is_picture(shape)):
        return "image"
    if task.startswith("tabular") or (
        len(facts.inputs) == 1 and shape is not None and len(shape) == 2 and "float" in names
    ):
        return "tabular"
    return None


def _modality_out(task: str) -> Modality | None:
    if task.endswith(("classification", "regression")):
        return "tabular"
    return "text" if task in ("text-generation", "translation", "summarization") else None


def _is_picture(shape: tuple[int | str | None, ...]) -> bool:
    return len(shape) == 4 and (shape[1] in _PICTURE_CHANNELS or shape[3] in _PICTURE_CHANNELS)


def _kept(facts: ModelFacts) -> ModelFacts:
    """Cut what a file says of itself to what a Draft keeps; the facts stay whole elsewhere."""
    metadata = list(facts.metadata.items())[:_METADATA_KEPT]
    suggested = {key: value[:CARD_TEXT_CHARACTERS_MAX] for key, value in facts.suggested.items()}
    return msgspec.structs.replace(
        facts,
        metadata={key: value[:_METADATA_CHARACTERS] for key, value in metadata},
        suggested=dict(list(suggested.items())[:_METADATA_KEPT]),
        external_files=facts.external_files[:_METADATA_KEPT],
    )
