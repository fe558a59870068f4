"""Where one Account lives: its data folder and the configuration folder beside it.

The configuration folder is apart on purpose: a copied or rolled-back data folder
must not bring the record of what was sent along.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hanse.core.keystore.keystore import KEYSTORE_FILE

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """The two folders of one Account."""

    folder: Path
    config: Path

    @property
    def keystore(self) -> Path:
        """Return the Keystore file."""
        return self.folder / KEYSTORE_FILE
