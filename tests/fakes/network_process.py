"""A Hanse in a process of its own, for tests that kill it: an engine, its network, JSON lines.

Run with the folders of an Account and its passphrase; says ``ready`` with its addresses, then
takes one command a line (``add ADDRESS``, ``fetch RELEASE``, ``heads``, ``end``) and answers each
with one line.  ``Process`` is the other side, in the test.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hanse.core.clock import SystemChance, SystemClock
from hanse.core.engine.engine import Engine
from hanse.core.engine.executor import Executor
from hanse.core.engine.home import Home
from hanse.core.errors import HanseError
from hanse.core.model.ids import EntryId
from hanse.core.model.network import NetworkSettings
from hanse.core.model.transfer import Reason
from hanse.network.service import NetworkService

if TYPE_CHECKING:
    from tests.fakes.people import Person

ROOT = Path(__file__).parents[2]
ANSWER_SECONDS = 60
NODE = "node"  # an argument: with everything a Node serves


def main(data: str, config: str, passphrase: str, port: str, kind: str = "") -> None:
    """Be the process."""
    lock = threading.Lock()

    def say(value: dict[str, object]) -> None:
        with lock:
            sys.stdout.write(json.dumps(value, default=lambda it: getattr(it, "hex", str)()) + "\n")
            sys.stdout.flush()

    home = Home(Path(data), Path(config))
    engine = Engine.open(home, clock=SystemClock(), chance=SystemChance())
    engine.accounts.unlock(passphrase)
    executor = Executor(2)
    is_node = kind == NODE
    settings = NetworkSettings(
        listen=(f"/ip4/127.0.0.1/tcp/{port}",),
        is_lan=False,
        is_dht=is_node,
        is_relay=is_node,
        is_node=is_node,
    )
    network = NetworkService(
        engine, executor, settings, lambda it: say({"event": it.word, **it.values})
    )
    say({"event": "ready", "addresses": network.start().result(30)})
    for line in sys.stdin:
        word, _, value = line.strip().partition(" ")
        try:
            say({"answer": _do(engine, network, word, value)})
        except HanseError as error:
            say({"answer": {"error": error.code}})
        if word == "end":
            break
    network.stop()
    executor.close()
    engine.close()


def _do(engine: Engine, network: Any, word: str, value: str) -> object:
    match word:
        case "add":
            return network.add(value).result(30).device.hex()
        case "fetch":
            view = engine.fetching.ask(bytes.fromhex(value), reason=Reason.ASKED)
            network.fetch(view.release)
            return view.state.value
        case "transfer":
            view = engine.fetching.view(bytes.fromhex(value))
            return {"state": view.state.value, "done": view.done_bytes, "total": view.total_bytes}
        case "known":
            with engine.context.store.reads() as reads:
                return reads.listings.release(EntryId(bytes.fromhex(value))) is not None
        case "peers":
            return len(network.connections())
        case "heads":
            with engine.context.store.reads() as reads:
                return {row.author.hex(): row.entry_id.hex() for row in reads.feeds.heads()}
        case "digest":
            with engine.context.store.reads() as reads:
                return reads.projections.digest().hex()
        case "profile":
            return engine.accounts.edit_profile(about=value).entry_id.hex()
        case _:
            return None


@dataclass
class Process:
    """One such process, as the test holds it."""

    process: subprocess.Popen[str]
    addresses: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    _answers: queue.SimpleQueue[object] = field(default_factory=queue.SimpleQueue)
    _told: threading.Condition = field(default_factory=threading.Condition)

    @classmethod
    def start(cls, person: Person, passphrase: str, port: int = 0, kind: str = "") -> Process:
        """Start it on a Person's folders and wait until it listens."""
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.fakes.network_process"),
                *(str(person.home.folder), str(person.home.config), passphrase, str(port), kind),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        found = cls(process)
        found._reader = threading.Thread(target=found._read, name="network-process")
        found._reader.start()
        found.addresses = found._next()["addresses"]
        return found

    @property
    def port(self) -> int:
        return int(self.addresses[0].split("/")[4])

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                said = json.loads(line)
            except ValueError:  # cut off by a kill
                continue
            if "answer" in said or said.get("event") == "ready":
                self._answers.put(said)
            else:
                with self._told:
                    self.events.append(said)
                    self._told.notify_all()
        self._answers.put(None)

    def _next(self) -> dict[str, Any]:
        said = self._answers.get(timeout=ANSWER_SECONDS)
        assert isinstance(said, dict), "the process ended"
        return said

    def something(self, within_seconds: float) -> None:
        """Wait until it tells of something, or that long."""
        with self._told:
            self._told.wait(within_seconds)

    def ask(self, word: str, value: str = "") -> Any:
        """Send one command and return its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word} {value}\n")
        self.process.stdin.flush()
        return self._next()["answer"]

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self._end()

    def end(self) -> None:
        """Let it close everything and wait for that."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._end()
        assert self.process.returncode == 0

    def _end(self) -> None:
        self.process.wait(30)
        self._reader.join(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
