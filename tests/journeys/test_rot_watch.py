"""The daily re-hash beside other work: it finds what rotted, stops at once, and goes on later."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

from hanse.core.engine.rot_watch import REHASH_EVERY_MS, RotWatch
from tests.fakes.people import Person, give

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.engine.views import Fault


def test_a_round_finds_rotten_entries_beside_a_writer_and_is_due_again_a_day_later(
    tmp_path: Path,
) -> None:
    anna, bo = Person.make(tmp_path, "anna"), Person.make(tmp_path, "bo")
    give(anna, bo, tmp_path)
    database = sqlite3.connect(bo.home.folder / "hanse.db")
    (n,) = database.execute(
        "select n from entries join feeds using (feed) where author = ? and seq = 2",
        (anna.view.device,),
    ).fetchone()
    database.execute("update entries set sig = zeroblob(64) where n = ?", (n,))
    database.commit()
    database.close()

    found: list[Fault] = []
    seen = threading.Event()

    def on_fault(fault: Fault) -> None:
        found.append(fault)
        seen.set()

    with bo.open() as engine:
        watch = RotWatch(engine.context.store, bo.clock, on_fault, pause_seconds=0.001)
        assert watch.is_due()
        watch.start()
        engine.accounts.edit_profile(about="written meanwhile")
        assert seen.wait(10)
        watch.stop()
        watch.round()
        assert [(fault.author, fault.seq) for fault in found[:1]] == [(anna.view.device, 2)]
        assert engine.accounts.profile().about == "written meanwhile"

    with bo.open() as engine:
        again = RotWatch(engine.context.store, bo.clock, on_fault)
        if again.is_due():  # it was stopped half way
            again.round()
        assert not again.is_due()
        bo.clock.advance(REHASH_EVERY_MS)
        assert again.is_due()


def test_a_round_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    with anna.open() as engine:
        watch = RotWatch(engine.context.store, anna.clock, lambda _fault: None)
        watch.stop()
        assert not watch.round()
        assert watch.is_due()
        other = RotWatch(engine.context.store, anna.clock, lambda _fault: None, pause_seconds=0)
        assert other.round()
        assert not other.is_due()
