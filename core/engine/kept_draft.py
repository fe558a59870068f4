"""A Draft as it lies on disk: what was typed, and what preparing it told the seller.

Values of a Problem that the codec does not know, such as a path, are kept as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hanse.core.ledger.codec import decode, encode
from hanse.core.market.card_codec import encode_draft, read_draft
from hanse.core.model.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.core.model.listing import Draft


class _Told(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One Problem as it is kept beside its Draft."""

    code: str
    field: str
    values: dict[str, object]
    is_warning: bool


def encode_kept(draft: Draft, told: Sequence[Problem]) -> bytes:
    """Return the bytes of a Draft and of what its seller was told."""
    problems = [[one.code, one.field, _plain(one.values), one.is_warning] for one in told]
    return encode([encode_draft(draft), problems])


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """Write what the codec does not know, such as a path, as text."""
    known = (int, str, bytes, list, tuple, type(None))
    return {
        name: value if isinstance(value, known) else str(value) for name, value in values.items()
    }


def decode_kept(raw: bytes) -> tuple[Draft, tuple[Problem, ...]]:
    """Read what ``encode_kept`` wrote, or raise ``DraftUnfit`` or ``RejectedEntry``."""
    draft, told = decode(raw, tuple[bytes, list[_Told]])
    return read_draft(draft), tuple(
        Problem(one.code, one.field, one.values, one.is_warning) for one in told
    )
