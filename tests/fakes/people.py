"""People with real Accounts in real folders: what the journeys are made of."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hanse.core.crypto.phrase import Phrase, new_phrase
from hanse.core.engine.engine import Engine
from hanse.core.engine.home import Home
from hanse.core.engine.registering import register, restore
from hanse.core.keystore.guards import MARK_SALT_SIZE_BYTES, write_mark
from hanse.core.keystore.keystore import KdfCost
from hanse.core.limits import KDF_MEMORY_BYTES_MIN, KDF_OPS_MIN
from tests.fakes.chance import SeededChance
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.engine.views import AccountView, Restored

PASSPHRASE = "a long enough passphrase"
CHEAP = KdfCost(KDF_OPS_MIN, KDF_MEMORY_BYTES_MIN)
START_MS = 1_700_000_000_000


@dataclass
class Person:
    """One Identity on one machine; several share ``config`` when they share a machine."""

    name: str
    home: Home
    phrase: Phrase
    view: AccountView
    clock: FakeClock
    chance: SeededChance

    @classmethod
    def make(
        cls, base: Path, name: str, clock: FakeClock | None = None, *, config: Path | None = None
    ) -> Person:
        """Register ``name`` in folders below ``base``."""
        clock = FakeClock(START_MS) if clock is None else clock
        chance = SeededChance(name)
        home = Home(base / name / "data", config or base / name / "config")
        phrase = new_phrase(chance.bytes(32), "en")
        view = register(
            home,
            name=name,
            passphrase=PASSPHRASE,
            phrase=phrase,
            device_name=f"{name}'s laptop",
            lang=None,
            clock=clock,
            chance=chance,
            kdf=CHEAP,
        )
        return cls(name, home, phrase, view, clock, chance)

    def copy(self, base: Path) -> Person:
        """Return the same Account in folders of its own, as if it had been registered there.

        Much sooner than registering; the folder must never have been opened.
        """
        home = Home(base / self.name / "data", base / self.name / "config")
        shutil.copytree(self.home.folder, home.folder)
        shutil.copytree(self.home.config, home.config)
        write_mark(home.folder, self.chance.bytes(MARK_SALT_SIZE_BYTES))
        clock = FakeClock(self.clock.now_ms())
        chance = SeededChance(f"{self.name} in {base}")
        return Person(self.name, home, self.phrase, self.view, clock, chance)

    def open(self, *, unlocked: bool = True) -> Engine:
        """Open the Account; the caller closes it."""
        engine = Engine.open(self.home, clock=self.clock, chance=self.chance)
        if unlocked:
            engine.accounts.unlock(PASSPHRASE)
        return engine

    def restore_to(
        self,
        folder: Path,
        source: Path | None,
        phrase: Phrase | None = None,
        *,
        is_mirror: bool = False,
    ) -> tuple[Person, Restored]:
        """Restore this Identity as a new Device in folders below ``folder``."""
        home = Home(folder / "data", folder / "config")
        chance = SeededChance(f"{self.name} in {folder.name}")
        restored = restore(
            home,
            phrase=phrase or self.phrase,
            passphrase=PASSPHRASE,
            name=self.name,
            device_name="new laptop",
            source=source,
            clock=self.clock,
            chance=chance,
            kdf=CHEAP,
            is_mirror=is_mirror,
        )
        person = Person(
            self.name, home, phrase or self.phrase, restored.account, self.clock, chance
        )
        return person, restored


def give(giver: Person, taker: Person, base: Path) -> None:
    """Carry everything of ``giver``'s Identity to ``taker`` as a feed file."""
    path = base / f"{giver.name}-{giver.home.folder.parent.name}.hanse-feed"
    with giver.open() as engine:
        engine.ledger.export(path)
    with taker.open() as engine:
        report = engine.ledger.import_file(path)
    assert not report.rejected


def digest(person: Person) -> bytes:
    """Return the digest of all Projections, and check that a rebuild gives the same."""
    with person.open(unlocked=False) as engine:
        with engine.context.store.reads() as reads:
            before = reads.projections.digest()
        engine.ledger.rebuild()
        with engine.context.store.reads() as reads:
            after = reads.projections.digest()
            heads = sum(0 if row.head is None else row.head.seq for row in reads.feeds.all())
    assert before == after
    assert heads > 0
    return after
