"""A program that tries or answers and is killed on the way, as if the power went.

``python -m tests.fakes.trial_mortal`` reads one JSON object a line and answers each with the
signal that ended its child: each request runs in a process of its own, forked from this one so
that nothing is imported twice.  A request names the Account, what is done, and where it dies:
``before commit 2`` and ``after commit 2`` at the second transaction, ``after`` when all is done
and nothing was handed over yet.  Models run in the same process, except where that is the point.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hanse.core.engine.engine import Engine
from hanse.core.engine.home import Home
from hanse.core.engine.trials import Trials
from hanse.core.engine.trying.buyer import Question
from hanse.core.engine.trying.data import OwnData
from hanse.core.model.control import Control
from hanse.core.store.unit_of_work import UnitOfWork
from tests.fakes.chance import SeededChance
from tests.fakes.clock import FakeClock
from tests.fakes.people import PASSPHRASE
from tests.fakes.trial_shop import MovingPace, in_process

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLE = "fraud-detection"


def die() -> None:
    """End at once: nothing is closed or written."""
    os.kill(os.getpid(), signal.SIGKILL)


def act(engine: Engine, clock: FakeClock, wish: dict[str, str]) -> None:
    """Do what a request asks for."""
    trials, control = engine.trials, Control()
    trial, release = bytes.fromhex(wish["trial"]), bytes.fromhex(wish["release"])
    data, file = OwnData(Path(wish["rows"])), Path(wish["file"])
    acts: dict[str, Callable[[], object]] = {
        "start": lambda: trials.buying.start(release, "answers", control, Question(data)),
        "run": lambda: trials.sealed.evaluate(trial, data, control, ("accuracy",)),
        "take": lambda: trials.buying.take(file.read_bytes()),
        "answer": lambda: trials.answering.answer(file.read_bytes(), control, MovingPace(clock)),
    }
    acts[wish["act"]]()


def run(wish: dict[str, str]) -> None:
    """Do one thing, and die at ``wish["point"]``."""
    clock = FakeClock(int(wish["now_ms"]))
    chance = SeededChance(wish["seed"])
    engine = Engine.open(Home(Path(wish["data"]), Path(wish["config"])), clock=clock, chance=chance)
    engine.accounts.unlock(PASSPHRASE)
    engine.trials = Trials(engine.context, engine.content, in_process(SAMPLE))
    when, _, number = wish["point"].rpartition(" ")
    commit, commits = UnitOfWork.commit, 0

    def commit_or_die(uow: UnitOfWork) -> None:
        nonlocal commits
        commits += 1
        if (when, number) == ("before commit", str(commits)):
            die()
        commit(uow)
        if (when, number) == ("after commit", str(commits)):
            die()

    UnitOfWork.commit = commit_or_die
    act(engine, clock, wish)
    if wish["point"] == "after":
        die()


def main() -> None:
    """Answer requests until there are no more."""
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
