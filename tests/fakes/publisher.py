"""A program that publishes and is killed on the way: at a named point, or whenever it pleases.

``python -m tests.fakes.publisher`` reads one JSON object a line and answers each with the
signal that ended its child: each request runs in a process of its own, forked from this one
so that nothing is imported twice.  With ``--loop`` it publishes model after model itself and
prints the title of each once it is acknowledged.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from hanse.core.engine.engine import Engine
from hanse.core.engine.home import Home
from hanse.core.model.control import Control
from hanse.core.store.unit_of_work import UnitOfWork
from tests.fakes.chance import SeededChance
from tests.fakes.clock import FakeClock
from tests.fakes.people import PASSPHRASE
from tests.fakes.shop import AS_IS, described, plain_weights, publish

if TYPE_CHECKING:
    from hanse.core.model.running import ModelRunner


def end_here(wish: dict[str, str]) -> None:
    """Say which Workers run, then die as if the power went: nothing is closed or written."""
    workers = [[one.pid, one.create_time()] for one in psutil.Process().children(recursive=True)]
    Path(wish["workers"]).write_text(json.dumps(workers))
    os.kill(os.getpid(), signal.SIGKILL)


def open_engine(wish: dict[str, str], runner: ModelRunner | None = None) -> Engine:
    """Open and unlock the Account of a request, whose models run by ``runner``."""
    home = Home(Path(wish["data"]), Path(wish["config"]))
    chance = SeededChance(wish["title"])
    engine = Engine.open(home, clock=FakeClock(), chance=chance, runner=runner)
    engine.accounts.unlock(PASSPHRASE)
    return engine


def run(wish: dict[str, str]) -> None:
    """Publish one model, and die at ``wish["point"]``."""
    point = wish["point"]
    stage, _, where = point.partition(" ")

    def report(now: str, done: int, _total: int) -> None:
        if now == stage and (where != "inside" or done):
            end_here(wish)

    def after(step: str) -> None:
        if point == f"after {step}":
            end_here(wish)

    control = Control(report)
    publishing = open_engine(wish).publishing
    draft = publishing.begin(Path(wish["file"]), control, preparation=AS_IS).draft_id
    after("prepare")
    publishing.edit(draft, described(title=wish["title"]))
    after("edit")
    preview = publishing.preview(draft, control)
    after("preview")
    commit = UnitOfWork.commit

    def commit_or_die(uow: UnitOfWork) -> None:
        if point == "before commit":
            end_here(wish)
        commit(uow)
        if point == "after commit":
            end_here(wish)

    UnitOfWork.commit = commit_or_die
    publishing.publish(draft, preview)


def publish_for_ever(wish: dict[str, str]) -> None:
    """Publish one small model after another and name each that is on disk."""
    with open_engine(wish) as engine:
        for number in range(1_000_000):
            title = f"{wish['title']} {number}"
            folder = plain_weights(Path(wish["file"]) / title, 2000, title)
            publish(engine, folder, title=title)
            sys.stdout.write(f"{title}\n")
            sys.stdout.flush()


def main() -> None:
    """Answer requests until there are no more."""
    if sys.argv[1:2] == ["--loop"]:
        publish_for_ever(json.loads(sys.argv[2]))
        return
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(json.loads(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
