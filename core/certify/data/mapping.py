"""Which columns or arrays of a data set become which inputs of a model, and which is the truth.

* A mapping is data that a person or a Listing gives; it is hashed beside the data, because
  the same file read in another way gives other figures.
* What is not said is found by name; where names do not fit, the person is asked (see
  ``hanse.core.certify.data.naming``).

What the file holds is not known here.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from hanse.core.certify.data.faults import MappingRefused
from hanse.core.limits import (
    CARD_COLUMNS_MAX,
    CARD_LABELS_MAX,
    CARD_LINE_CHARACTERS_MAX,
    DATASET_MAPPING_SIZE_BYTES_MAX,
    FACT_NAME_CHARACTERS_MAX,
    TENSORS_OF_A_SIGNATURE_MAX,
)

if TYPE_CHECKING:
    from hanse.core.model.card import EvaluationSet, ModelCard

ColumnName = Annotated[str, msgspec.Meta(max_length=FACT_NAME_CHARACTERS_MAX)]
Columns = Annotated[tuple[ColumnName, ...], msgspec.Meta(min_length=1, max_length=CARD_COLUMNS_MAX)]
Label = Annotated[str, msgspec.Meta(max_length=CARD_LINE_CHARACTERS_MAX)]

EVERY = "*"  # all columns that are not target, slice or group, in the order of the file


class DataMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a data set is read for one model; every field may be left out.

    ``inputs`` names for a tensor its columns in order, ``"*"`` for all that are left, or one
    column or array.  ``target`` names the truth: one column, several for a model with several
    figures, empty for folder names or to be found.  ``slice`` is a column whose values are told
    apart, ``group`` that of users or series.  ``positive`` is the label that counts as a find;
    ``labels`` stand in for those of the card.
    """

    inputs: Annotated[
        dict[ColumnName, Columns | ColumnName], msgspec.Meta(max_length=TENSORS_OF_A_SIGNATURE_MAX)
    ] = {}
    target: ColumnName | Columns = ""
    slice: ColumnName = ""
    group: ColumnName = ""
    positive: Label = ""
    labels: Annotated[tuple[Label, ...], msgspec.Meta(max_length=CARD_LABELS_MAX)] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Return the names of the truth, none where it is to be found."""
        if isinstance(self.target, tuple):
            return self.target
        return (self.target,) if self.target else ()


def mapping_of(evaluation: EvaluationSet) -> DataMapping:
    """Return the mapping that a Listing gives with its own evaluation set."""
    targets = evaluation.targets
    return DataMapping(
        target=targets[0] if len(targets) == 1 else targets or "",
        slice=evaluation.slice,
        group=evaluation.group,
        positive=evaluation.positive,
    )


def read_mapping(raw: bytes, file_format: Literal["json", "toml"]) -> DataMapping:
    """Decode a mapping from a file; raise ``MappingRefused`` with what is wrong in it."""
    if len(raw) > DATASET_MAPPING_SIZE_BYTES_MAX:
        raise MappingRefused(detail=f"{len(raw)} > {DATASET_MAPPING_SIZE_BYTES_MAX} bytes")
    decode = msgspec.json.decode if file_format == "json" else msgspec.toml.decode
    try:
        return decode(raw, type=DataMapping)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise MappingRefused(detail=str(fault)) from fault


def recipe_digest(card: ModelCard | None, mapping: DataMapping) -> bytes:
    """Return the SHA-256 of recipe and mapping together: figures compare only under one.

    Over the JSON of both with sorted keys, so that two programs come to one digest.  Whether a
    mapping was found by name or given makes no difference once it is the same.
    """
    recipe = None if card is None else (card.recipe.pre, card.recipe.post, card.recipe.labels)
    return hashlib.sha256(msgspec.json.encode((recipe, mapping), order="deterministic")).digest()
