"""``hanse demo``: the main job on throw-away folders, told line by line.

Every line names what was done and one id that can be looked at; the end says what
was proved.  Nothing is staged: a check that does not come out as it should ends
the demo with a failure.  Later parts make it grow.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hanse.app.demo_certify import TRIED, Testing
from hanse.app.demo_market import Market
from hanse.app.demo_network import Neighbours
from hanse.core.clock import SystemChance, SystemClock
from hanse.core.crypto.phrase import Phrase, new_phrase
from hanse.core.engine.auditing import verify_file
from hanse.core.engine.engine import Engine
from hanse.core.engine.home import Home
from hanse.core.engine.registering import register, restore
from hanse.core.errors import EXIT_DONE, EXIT_NO
from hanse.core.keystore.keystore import KdfCost
from hanse.core.ledger.entry import Head, SignedEntry, build_entry, sign_entry
from hanse.core.ledger.feed_file import ClaimedHead, write_feed_file
from hanse.core.ledger.kinds import Follow1, Profile1, encode_body
from hanse.core.ledger.tree import Peaks
from hanse.core.limits import KDF_MEMORY_BYTES_MIN, KDF_OPS_MIN
from hanse.core.model.ids import AuthorKey, identity_text
from hanse.core.sentences import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hanse.app.demo_certify import Sold
    from hanse.core.engine.views import AccountView, VerifyReport

_PASSPHRASE = "a passphrase for the demo"  # noqa: S105 - of folders that live a minute


class DemoFailed(Exception):
    """Something did not come out as it should."""


@dataclass(frozen=True, slots=True)
class _Person:
    """One throw-away Account."""

    home: Home
    phrase: Phrase
    view: AccountView


class _Demo:
    """The story, in order; each step checks what it claims."""

    def __init__(self, base: Path, out: Callable[[str], None], language: str, kdf: KdfCost) -> None:
        self._base = base
        self._out = out
        self._language = language
        self._kdf = kdf
        self._clock = SystemClock()
        self._chance = SystemChance()
        self._step = 0
        self.proved: list[str] = []

    def say(self, code: str, **values: object) -> None:
        self._out(say(code, values, self._language))

    def step(self, code: str, **values: object) -> None:
        self._step += 1
        self._out(f"{self._step:2}. {say(code, values, self._language)}")

    def must(self, holds: bool, code: str, **values: object) -> None:  # noqa: FBT001 - as assert
        if not holds:
            raise DemoFailed(say(code, values, self._language))

    def person(self, name: str, folder: str) -> _Person:
        home = Home(self._base / folder / "data", self._base / folder / "config")
        phrase = new_phrase(self._chance.bytes(32), "en")
        view = register(
            home,
            name=name,
            passphrase=_PASSPHRASE,
            phrase=phrase,
            device_name="laptop",
            lang=None,
            clock=self._clock,
            chance=self._chance,
            kdf=self._kdf,
        )
        self.step("demo.registered", name=name, identity=identity_text(view.identity))
        return _Person(home, phrase, view)

    def open(self, home: Home) -> Engine:
        engine = Engine.open(home, clock=self._clock, chance=self._chance, is_warm=True)
        engine.accounts.unlock(_PASSPHRASE)
        return engine

    # --- the steps --------------------------------------------------------------------------

    def write_entries(self, anna: _Person, bo: _Person, export: Path) -> None:
        """Anna writes real Entries and exports her Feeds."""
        with self.open(anna.home) as engine:
            engine.accounts.edit_profile(about="Models that find defects in castings.")
            engine.accounts.edit_profile(web=["https://example.org/anna"], lang="en")
            with engine.context.store.unit_of_work() as uow:
                body = Follow1(salt=engine.context.body_salt(), identity=bo.view.identity, weight=1)
                engine.context.append_own(uow, body)
                uow.commit()
            last = engine.ledger.show(tail=1)[0]
            self.step("demo.wrote", name="Anna", count=last.seq, entry=last.entry_id.hex()[:12])
            report = engine.ledger.export(export)
            self.step("demo.exported", entries=report.entries, size=report.size_bytes)

    def import_and_verify(self, bo: _Person, anna: _Person, export: Path) -> None:
        """Bo imports the file and verifies all he holds."""
        with self.open(bo.home) as engine:
            taken = engine.ledger.import_file(export)
            self.must(not taken.rejected and taken.accepted > 0, "demo.import_failed")
            name = engine.accounts.profile(anna.view.identity).name
            report = engine.ledger.verify()
            self.must(report.holds, "demo.verify_failed")
        self.step("demo.imported", name=name, count=taken.accepted, entries=report.entries)
        self.proved.append("demo.proved_import")

    def trade(self, anna: _Person, bo: _Person, export: Path) -> None:
        """Anna sells models she has just trained; Bo's node gets them from hers, and he finds them.

        Two processes on loopback carry the Entries and the sealed files.
        """
        market = Market(self._base, self._language, self.step, self.must)
        testing = Testing(self._base, self._language, self.step, self.must)
        with self.open(anna.home) as engine:
            engine.accounts.confirm_phrase(anna.phrase)
        market.run_the_example(anna.home, _PASSPHRASE)
        with self.open(anna.home) as engine:
            sold = market.train_and_sell(engine)
            files = testing.certify(engine, sold)
            engine.ledger.export(export)
        wanted = [
            (it.done.model_name, it.done.release_id) for it in sold if it.trained.sector == TRIED
        ]
        Neighbours(self._base, _PASSPHRASE, self.step, self.must).meet(anna.home, bo.home, wanted)
        self.proved.append("demo.proved_network")
        with self.open(bo.home) as engine:
            self.must(engine.ledger.verify().holds, "demo.verify_failed")
            market.search(engine, has_trained=bool(sold))
            testing.verify(files, sold, engine, self._clock.now_ms())
        self.proved.append("demo.proved_market")
        if sold:
            self.proved.append("demo.proved_certificates")
            self.try_before_buying(testing, sold, anna, bo)

    def try_before_buying(
        self, testing: Testing, sold: Sequence[Sold], anna: _Person, bo: _Person
    ) -> None:
        """Bo tries a sealed model, and a model that is swapped after the trial is found out."""
        one = next(it for it in sold if it.trained.sector == TRIED)
        with self.open(anna.home) as selling, self.open(bo.home) as buying:
            testing.try_sealed(selling, buying, one)
            testing.replay(selling, buying, one)
        self.proved.append("demo.proved_trial")

    def flip_a_byte(self, export: Path) -> None:
        """One bit of the file is changed; verifying names the frame and the byte."""
        raw = bytearray(export.read_bytes())
        raw[len(raw) // 2] ^= 1
        damaged = export.with_name("damaged.hanse-feed")
        damaged.write_bytes(raw)
        report = self._verify(damaged)
        self.must(not report.holds, "demo.flip_missed", byte=len(raw) // 2)
        fault = report.faults[0]
        self.step("demo.flip_found", byte=len(raw) // 2, where=fault.where, reason=fault.reason)
        self.proved.append("demo.proved_flip")

    def _verify(self, path: Path) -> VerifyReport:
        return verify_file(path, self._clock.now_ms())

    def forge(self, anna: _Person, bo: _Person) -> None:
        """Whoever holds Anna's Device key signs a second Entry at the last seq; Bo notices."""
        with self.open(anna.home) as engine:
            forged, head = self._second_entry(engine)
        file = self._base / "forged.hanse-feed"
        with file.open("wb") as stream:
            write_feed_file(stream, [ClaimedHead(*head)], [forged])
        with self.open(bo.home) as engine:
            taken = engine.ledger.import_file(file)
            feed = next(it for it in engine.ledger.feeds() if it.author == anna.view.device)
            with engine.context.store.reads() as reads:
                proofs = [proof for author, proof in reads.forks.proofs()]
        self.must(taken.forks == 1 and feed.state == "frozen", "demo.fork_missed")
        self.step(
            "demo.fork_found",
            seq=feed.frozen_seq,
            size=len(proofs[0]),
            device=anna.view.device.hex()[:12],
        )
        self.proved.append("demo.proved_fork")

    def _second_entry(self, engine: Engine) -> tuple[SignedEntry, tuple[bytes, int, bytes]]:
        keys = engine.context.unlocked()
        with engine.context.store.reads() as reads:
            author = AuthorKey(keys.device)
            ids = reads.feeds.ids(author)
            before = reads.feeds.entry_at(author, len(ids) - 1)
        assert before is not None
        peaks = Peaks()
        for entry_id in ids[:-1]:
            peaks.add(entry_id)
        body = Profile1(
            salt=self._chance.bytes(16), name="Anna", about="Everything half price!", web=(),
            contact=None, sectors=(), avatar=None, lang=None,
        )  # fmt: skip
        head_before = Head(before.seq, before.entry_id, before.header.time_ms)
        unsigned = build_entry(
            author, head_before, peaks, "profile/1", encode_body(body), now_ms=self._clock.now_ms()
        )
        entry = sign_entry(unsigned, keys.device_signer)
        return entry, (author, entry.seq, entry.entry_id)

    def lose_the_laptop(self, anna: _Person, bo: _Person, export: Path) -> None:
        """Anna's folder is gone; the phrase makes a new Device, which cuts the old one off."""
        with self.open(anna.home) as engine:
            backup = self._base / "anna.hanse-backup"
            engine.backups.make(backup)
        old_device = anna.view.device
        new_home = Home(self._base / "new" / "data", self._base / "new" / "config")
        restored = restore(
            new_home,
            phrase=anna.phrase,
            passphrase=_PASSPHRASE,
            name="Anna",
            device_name="new laptop",
            source=backup,
            clock=self._clock,
            chance=self._chance,
            kdf=self._kdf,
        )
        self.must(restored.account.identity == anna.view.identity, "demo.restore_failed")
        self.step(
            "demo.restored",
            entries=restored.entries,
            device=restored.account.device.hex()[:12],
        )
        with self.open(new_home) as engine:
            engine.accounts.revoke(old_device, anna.phrase, reason="stolen")
            engine.ledger.export(export)
        with self.open(bo.home) as engine:
            engine.ledger.import_file(export)
            profile = engine.accounts.profile(anna.view.identity)
            report = engine.ledger.verify()
        self.must(report.holds, "demo.verify_failed")
        self.must(profile.about == "Models that find defects in castings.", "demo.cut_failed")
        self.step("demo.revoked", device=old_device.hex()[:12])
        self.proved.append("demo.proved_restore")


def run_demo(out: Callable[[str], None], *, quick: bool, language: str) -> int:
    """Run the whole story; return 0 only if everything came out as it should.

    ``quick`` spends less on the passphrases of the throw-away Accounts.
    """
    kdf = KdfCost(KDF_OPS_MIN, KDF_MEMORY_BYTES_MIN) if quick else KdfCost()
    with tempfile.TemporaryDirectory(prefix="hanse-demo-") as name:
        demo = _Demo(Path(name), out, language, kdf)
        try:
            demo.say("demo.begin")
            anna = demo.person("Anna", "anna")
            bo = demo.person("Bo", "bo")
            export = Path(name) / "anna.hanse-feed"
            demo.write_entries(anna, bo, export)
            demo.import_and_verify(bo, anna, export)
            demo.trade(anna, bo, export)
            demo.flip_a_byte(export)
            demo.forge(anna, bo)
            demo.lose_the_laptop(anna, bo, export)
        except DemoFailed as failure:
            demo.say("demo.failed", reason=failure)
            return EXIT_NO
        demo.say("demo.end")
        for code in demo.proved:
            out("  + " + say(code, {}, language))
    return EXIT_DONE
