"""Labels as written in data, as given by a model, and as codes 0, 1, 2, ... of its classes.

* A label is matched by name first; whole numbers from 0 are the places of the classes.
* A label that the model does not have is refused by name: it would count as an error of the
  model, which is one of the data.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from hanse.core.certify.data.faults import UnknownLabel, named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.model.arrays import Array

_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.0+)?\Z")


def as_labels(texts: Array) -> Array:
    """Return texts as whole numbers if all of them are (``1`` or ``1.0``), else as they are."""
    values, places = np.unique(texts, return_inverse=True)
    if all(_WHOLE.match(str(one)) for one in values):
        return np.array([int(str(one).partition(".")[0]) for one in values], np.int64)[places]
    return texts


def as_text(labels: Array) -> Array:
    """Return labels as texts."""
    return labels if labels.dtype.kind == "U" else labels.astype(np.int64).astype("U20")


def encode(truth: Array, labels: Sequence[str]) -> Array:
    """Return int64 codes of ``truth`` among ``labels``; raise ``UnknownLabel``."""
    values, places = np.unique(truth, return_inverse=True)
    texts = [str(one) for one in values]
    by_name = {name: code for code, name in enumerate(labels)}
    unknown = [one for one in texts if one not in by_name]
    if not unknown:
        codes = np.array([by_name[one] for one in texts], dtype=np.int64)
    elif truth.dtype.kind in "iu" and int(values[0]) >= 0 and int(values[-1]) < len(labels):
        codes = values.astype(np.int64)
    else:
        if truth.dtype.kind in "iu" and len(unknown) == len(texts):  # meant as places
            unknown = [str(one) for one in values if not 0 <= int(one) < len(labels)]
        raise UnknownLabel(found=named(unknown), known=named(labels))
    return codes[places.reshape(truth.shape)]


def are_places(values: Array, count: int) -> bool:
    """Say whether all values are whole numbers from 0 below ``count``."""
    if values.dtype.kind not in "iu":
        return False
    return not values.size or (int(values.min()) >= 0 and int(values.max()) < count)


def all_of(*columns: Array) -> tuple[str, ...]:
    """Return all labels that occur, numbers by size and texts by their code points."""
    found = [np.unique(one) for one in columns]
    if all(one.dtype.kind in "iu" for one in found):
        return tuple(str(one) for one in sorted({int(x) for part in found for x in part}))
    return tuple(sorted({str(x) for part in found for x in part}))
