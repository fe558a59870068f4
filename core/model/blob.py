"""A Blob: bytes too long for a Body, named by their hash (``ledger.md`` section 8).

Where the bytes are, and who may have them, is not known here.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from hanse.core.limits import BLOB_SIZE_BYTES_MAX
from hanse.core.model.card import Digest


class Blob(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A file too long for a Body, named by its hash; with ``key`` it is private."""

    sha256: Digest
    size: Annotated[int, msgspec.Meta(ge=1, le=BLOB_SIZE_BYTES_MAX)]
    key: Digest | None

    def __repr__(self) -> str:
        return f"Blob({self.sha256.hex()}, {self.size}, {'private' if self.key else 'public'})"
