"""One hostile file: how it is made, and what must come of it.

Payloads touch a marker file in the folder they are made for; none may ever appear.  Nothing is
large on disk, and nothing runs while it is made.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MARKER = "a_payload_was_run"


@dataclass(frozen=True, slots=True)
class Case:
    """A file that ``rule`` refuses, or that is taken as ``format`` with ``warnings``."""

    name: str
    file: str
    make: Callable[[Path], None]
    rule: str | None = None
    format: str | None = None
    warnings: tuple[str, ...] = ()
    needs: str = ""


def write(raw: bytes | Callable[[], bytes]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(raw() if callable(raw) else raw)

    return make


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)
