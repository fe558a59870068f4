"""One person at one terminal: runs commands in this process and keeps what was printed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hanse.app.bootstrap import Bootstrap
from hanse.app.cli import main
from hanse.core.errors import EXIT_DONE
from hanse.core.keystore.keystore import KdfCost
from hanse.core.limits import KDF_MEMORY_BYTES_MIN, KDF_OPS_MIN
from tests.fakes.chance import SeededChance
from tests.fakes.clock import FakeClock
from tests.fakes.console import FakeConsole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hanse.app.runtime import MakeNetwork

PASSPHRASE = "a long enough passphrase"
CHEAP = KdfCost(KDF_OPS_MIN, KDF_MEMORY_BYTES_MIN)


@dataclass
class Terminal:
    """One person at one terminal; the last run can be looked at."""

    base: Path
    clock: FakeClock = field(default_factory=lambda: FakeClock(1_800_000_000_000))
    chance: SeededChance = field(default_factory=lambda: SeededChance("terminal"))
    console: FakeConsole = field(default_factory=FakeConsole)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    make_network: MakeNetwork | None = None

    def run(self, *arguments, answers=None, piped=""):
        """Run a command; ``answers`` put a person in front of the terminal."""
        self.console = FakeConsole(
            has_person=answers is not None, answers=answers or (), piped=piped
        )
        outside = Bootstrap(
            console=self.console,
            environ=self.environ,
            clock=self.clock,
            chance=self.chance,
            kdf=CHEAP,
            make_network=self.make_network,
        )
        return main([str(one) for one in arguments], outside)

    def ok(self, *arguments, **options):
        """Run a command that must succeed; return what it printed."""
        status = self.run(*arguments, **options)
        assert status == EXIT_DONE, self.console.err_text or self.console.out_text
        return self.console.out_text

    def json(self, *arguments, status=EXIT_DONE, **options):
        """Run with ``--json``; return the result, or the error when one is expected."""
        assert self.run(*arguments, "--json", **options) == status, self.console.out_text
        [text] = self.console.outs
        found = json.loads(text)
        assert found["ok"] is (status == EXIT_DONE)
        return found["result"] if found["ok"] else found["error"]

    def findings(self, *arguments):
        """Run the doctor, who may find something, and return all of it."""
        self.run("doctor", "--json", *arguments)
        return json.loads(self.console.out_text)["result"]["findings"]

    def file(self, name, text):
        path = self.base / name
        path.write_text(text, "utf-8")
        path.chmod(0o600)
        return path

    @property
    def secret(self):
        return ("--passphrase-file", self.file("passphrase", PASSPHRASE + "\n"))
