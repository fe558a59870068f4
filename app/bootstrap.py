"""The one place where objects are connected: settings and the outside make a ``Hanse``.

* Clock, chance, the network and the cost of key derivation come in here, and only here can a
  test bring its own: no variable or option makes a real Keystore cheap to guess.
* The engine, and with it the store and its libraries, is imported when it is
  first needed: help and completion must answer at once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hanse.app.console import Console, SystemConsole
from hanse.app.paths import new_account_folder
from hanse.app.settings import Given, Settings, load_settings
from hanse.app.version import program_version
from hanse.core.clock import Chance, Clock, SystemChance, SystemClock
from hanse.core.engine.home import Home, base_folder, the_account_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hanse.app.runtime import MakeNetwork
    from hanse.core.engine.engine import Engine
    from hanse.core.keystore.keystore import KdfCost


@dataclass(frozen=True, slots=True)
class Hanse:
    """One Hanse as it was set up: which folders, whose clock, at what cost.

    Without ``make_network`` the network is the real one.
    """

    settings: Settings
    clock: Clock
    chance: Chance
    kdf: KdfCost | None
    make_network: MakeNetwork | None = None

    @property
    def base(self) -> Path:
        """Return the folder whose Accounts are meant: the one named, or the platform's."""
        return self.settings.data_dir or base_folder()

    def home(self) -> Home:
        """Name the Account that is meant, or raise ``NoAccount`` or ``SeveralAccounts``."""
        return self._home(self.settings.data_dir or the_account_folder(base_folder()))

    def new_home(self, name: str) -> Home:
        """Name the place for a new Account called ``name``; nothing is made."""
        return self._home(self.settings.data_dir or new_account_folder(base_folder(), name))

    def open(self, *, read_only: bool = False) -> Engine:
        """Open the Account; ``read_only`` works beside the process that holds the folder."""
        from hanse.core.engine.engine import Engine  # noqa: PLC0415 - brings the store along

        return Engine.open(
            self.home(),
            clock=self.clock,
            chance=self.chance,
            read_only=read_only,
            app=program_version(),
            is_warm=not read_only,
        )

    def _home(self, folder: Path) -> Home:
        return Home(folder, self.settings.config)


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What the process brings: terminal, environment, clock and chance."""

    console: Console = field(default_factory=SystemConsole)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    clock: Clock = field(default_factory=SystemClock)
    chance: Chance = field(default_factory=SystemChance)
    kdf: KdfCost | None = None
    make_network: MakeNetwork | None = None

    def build(self, given: Given) -> Hanse:
        """Load the settings and connect the rest."""
        settings = load_settings(given, self.environ)
        return Hanse(settings, self.clock, self.chance, self.kdf, self.make_network)
