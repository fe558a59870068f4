"""A data set that is ready to be run: inputs for the Worker, and the truth that stays here.

* ``inputs`` go into the Worker; ``truth``, ``slices`` and ``groups`` never do.
* ``sha256`` is of the file as it came, or of the sorted lines ``sha256 path label`` of a folder;
  ``recipe_sha256`` covers how it was read.
* What was odd and is told is a ``DataNote``; what cannot be used is refused by whoever reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.core.certify.data.mapping import DataMapping
    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import TensorFacts
    from hanse.core.model.card import ModelCard
    from hanse.core.model.control import Control


class ReadImages(Protocol):
    """Decodes pictures of a Worker's stage, as ``Worker.read_images`` does."""

    def __call__(
        self, files: Sequence[str], size: tuple[int, int] | None, channels: int, control: Control
    ) -> Array:
        """Return uint8 [n, h, w, channels]."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """The model a data set is read for: its signature as loaded, its card, its task.

    ``task`` is a hub id such as ``tabular-classification``, empty when it is not stated.
    """

    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...] = ()
    card: ModelCard | None = None
    task: str = ""


@dataclass(frozen=True, slots=True)
class DataNote:
    """Something odd that is told and not refused; ``code`` is that of its sentence.

    ``by_order``: ``count`` columns were taken for input ``column`` in the order of the file;
    ``outside_range``: ``count`` values of ``column`` lie outside the range the card gives;
    ``target_left``: the one column left was taken as the truth; ``slices_left_out``: ``count``
    further values of the slice ``column`` are not told apart.
    """

    code: str
    column: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class DataSet:
    """Rows that are ready: every array has ``n`` of them.

    ``truth`` is text or whole numbers for labels and items, floats for figures; [n], or
    [n, len(targets)] for several figures.  ``slices`` maps a column to the text of each row,
    ``groups`` says to which user or series each row belongs.  ``mapping`` is complete: what was
    found by name stands in it.
    """

    name: str
    sha256: bytes
    n: int
    inputs: Mapping[str, Array]
    truth: Array
    targets: tuple[str, ...]
    mapping: DataMapping
    recipe_sha256: bytes
    slices: Mapping[str, Array] = field(default_factory=dict)
    groups: Array | None = None
    notes: tuple[DataNote, ...] = ()
