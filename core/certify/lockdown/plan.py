"""What a child is to be locked to, what came of it, and the error that a layer is missing.

* Only the standard library of Python 3.9: this also runs in an interpreter the person named,
  hence named tuples where the rest of Hanse has frozen dataclasses with slots.

How a layer is put on, and why a number is what it is, is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.model.running import Grade, Profile


class LockPlan(NamedTuple):
    """What one child may still do after the lock.

    ``stage`` is read, ``scratch`` is written (profile ``convert`` only); ``nice`` is added to
    its own; ``cores`` is how many processors it may run on, 0 for all.
    """

    profile: Profile
    stage: Path | None
    scratch: Path | None
    memory_bytes: int
    cpu_seconds: int
    write_bytes: int = 0
    nice: int = 0
    cores: int = 0


class Lock(NamedTuple):
    """The layers in force, in the order they were put on, and what they are worth."""

    layers: tuple[str, ...]
    grade: Grade


class NoLayer(Exception):
    """A layer could not be put on, so nothing may be run.

    ``layer`` is a stable word; ``reason`` is one too, or what the system said.
    """

    def __init__(self, layer: str, reason: str) -> None:
        """Name the layer and what the system said."""
        super().__init__(f"{layer}: {reason}")
        self.layer = layer
        self.reason = reason
