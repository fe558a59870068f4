"""Accounts that are made once and copied for each test, as if the disk had been moved."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hanse.core.keystore.guards import HIGHWATER_FOLDER
from tests.fakes.people import Person

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hanse.core.engine.engine import Engine


@dataclass(frozen=True)
class Ready:
    """A Person whose folders can be copied; nobody writes in them any more."""

    person: Person

    @classmethod
    def make(
        cls, base: Path, name: str, prepare: Callable[[Engine], object] | None = None
    ) -> Ready:
        """Register, and do what is wanted with the open engine."""
        person = Person.make(base, name)
        with person.open() as engine:
            if prepare is not None:
                prepare(engine)
        return cls(person)

    def copy(self, folder: Path, config: Path) -> None:
        """Put a copy that may sign in ``folder``; ``config`` is where the marks are kept."""
        home = self.person.home
        shutil.copytree(home.folder, folder)
        shutil.copytree(home.config / HIGHWATER_FOLDER, config / HIGHWATER_FOLDER)
