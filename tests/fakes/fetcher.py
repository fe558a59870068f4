"""A program that fetches a Release and is killed on the way, at the nth thing it does to the disk.

``python -m tests.fakes.fetcher`` reads one JSON object a line and answers each with the signal
that ended its child, and with what the child had said: each request runs in a process of its own,
forked from this one so that nothing is imported twice.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hanse.core.engine.engine import Engine
from hanse.core.engine.home import Home
from tests.fakes.chance import SeededChance
from tests.fakes.clock import FakeClock
from tests.fakes.swarm import bring_hashes, bring_pieces, bring_small

if TYPE_CHECKING:
    from collections.abc import Callable

PIECES_PER_CHECKPOINT = 2
TOUCHES = ("write", "fsync", "replace", "ftruncate")


def die_at(place: int) -> Callable[[], int]:
    """Kill this process at its ``place``-th touch of the disk; return how many there were."""
    touches = 0

    def touched(real: Callable[..., object], *, is_write: bool) -> Callable[..., object]:
        def act(*args: object) -> object:
            nonlocal touches
            touches += 1
            if touches == place:
                if is_write:
                    real(args[0], bytes(args[1])[: len(bytes(args[1])) // 2])  # torn
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)

        return act

    for name in TOUCHES:
        setattr(os, name, touched(getattr(os, name), is_write=name == "write"))
    return lambda: touches


def open_engine(folder: str, *, read_only: bool = False) -> Engine:
    home = Home(Path(folder) / "data", Path(folder) / "config")
    return Engine.open(home, clock=FakeClock(), chance=SeededChance("x"), read_only=read_only)


def run(wish: dict[str, object], told: Path) -> None:
    """Fetch one Release; note in ``told`` the Pieces that each checkpoint made durable."""

    def tell(**values: int) -> None:
        with told.open("a") as file:
            file.write(json.dumps(values) + "\n")
            file.flush()

    release = bytes.fromhex(str(wish["release"]))
    with (
        open_engine(str(wish["giver"]), read_only=True) as giver,
        open_engine(str(wish["taker"])) as taker,
    ):
        taker.fetching.ask(release)
        taker.fetching.due()
        with taker.fetching.open(release) as fetch:
            touches = die_at(int(str(wish["place"])))
            bring_small(fetch, giver.seeding)
            bring_hashes(fetch, giver.seeding)
            while came := bring_pieces(fetch, giver.seeding, PIECES_PER_CHECKPOINT):
                fetch.checkpoint()
                tell(came=came)
            view = fetch.finish()
            tell(done=int(view.state.value == "done"), touches=touches())


def main() -> None:
    """Answer requests until there are no more."""
    for line in sys.stdin:
        with tempfile.TemporaryDirectory() as folder:
            told = Path(folder) / "told"
            child = os.fork()
            if child == 0:
                run(json.loads(line), told)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            said = (
                [json.loads(one) for one in told.read_text().splitlines()]
                if (told.exists())
                else []
            )
            answer = {"status": os.waitstatus_to_exitcode(status), "told": said}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
