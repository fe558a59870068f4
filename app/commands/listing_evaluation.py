"""``--evaluation FILE``: the data a seller was measured on, given with the Listing.

* A CSV or an NPZ of at most one Blob; anything else is refused before a byte of it is kept.
* Anybody who looks at the Listing may have it, so that anybody can measure the same again.

Whether the model takes the data is seen when the Listing is previewed.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from hanse.app.commands.certify_typed import check_length
from hanse.app.commands.typed_files import read_bounded
from hanse.core.errors import WrongUse
from hanse.core.limits import BLOB_SIZE_BYTES_MAX, CARD_LINE_CHARACTERS_MAX, CARD_ROWS_MAX
from hanse.core.model.card import EvaluationSet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ENDINGS: Final = (".csv", ".npz")
_ZIP: Final = b"PK"


class EvaluationUnfit(WrongUse):
    """A file is no evaluation set; ``reason`` is a stable word."""

    code = "evaluation.unfit"
    text = "{path} is no evaluation set ({reason}), {size_bytes} bytes"
    fields = ("path", "reason", "size_bytes")


@dataclass(frozen=True, slots=True)
class GivenEvaluation:
    """What the card will say of the data, and its bytes."""

    stated: EvaluationSet
    raw: bytes


def read_given_evaluation(
    path: Path,
    targets: Sequence[str],
    slice_column: str | None,
    group: str | None,
    positive: str | None,
) -> GivenEvaluation:
    """Read the file and what its columns are; raise what is wrong with either."""
    for option, text in (
        *(("--target", one) for one in targets),
        ("--slice", slice_column),
        ("--group", group),
        ("--positive", positive),
        ("--evaluation", path.name),
    ):
        check_length(option, text or "", CARD_LINE_CHARACTERS_MAX)
    raw = read_bounded(path, BLOB_SIZE_BYTES_MAX)
    ending = path.suffix.lower()
    reason = ""
    if ending not in _ENDINGS:
        reason = "format"
    elif not raw:
        reason = "empty"
    elif raw.startswith(_ZIP) != (ending == ".npz"):
        reason = "bytes"
    elif len(targets) > CARD_ROWS_MAX:
        reason = "targets"
    if reason:
        raise EvaluationUnfit(path=path, reason=reason, size_bytes=len(raw))
    stated = EvaluationSet(
        name=path.name,
        sha256=sha256(raw).digest(),
        size=len(raw),
        targets=tuple(targets),
        slice=slice_column or "",
        group=group or "",
        positive=positive or "",
    )
    return GivenEvaluation(stated, raw)
