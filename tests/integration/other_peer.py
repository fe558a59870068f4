"""A libp2p peer in JavaScript: started, asked by JSON lines, and ended.

Its packages are installed from ``tests/integration/js/package-lock.json`` once; where Node or the
packages are not to be had, whoever asks for it is skipped and says why.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "js"
INSTALL_SECONDS = 120
ANSWER_SECONDS = 30
_END = object()


def installed() -> Path:
    """Return the folder of the peer with its packages, or skip."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node is not installed")
    stamp = FOLDER / "node_modules" / ".hanse"
    lock = (FOLDER / "package-lock.json").read_bytes()
    if not stamp.exists() or stamp.read_bytes() != lock:
        try:
            done = subprocess.run(
                [npm, "ci", "--ignore-scripts"],
                cwd=FOLDER,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip("the packages of the JavaScript peer did not come in time")
        if done.returncode:
            pytest.skip(
                "the packages of the JavaScript peer are not to be had: " + done.stderr[-200:]
            )
        stamp.write_bytes(lock)
    return FOLDER


@dataclass
class OtherPeer:
    """One running peer."""

    process: subprocess.Popen[str]
    addresses: list[str] = field(default_factory=list)
    peer: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    _lines: queue.SimpleQueue[object] = field(default_factory=queue.SimpleQueue)
    _asked: int = 0

    @classmethod
    def start(cls, seed: bytes) -> OtherPeer:
        folder = installed()
        process = subprocess.Popen(
            ["node", "--import", "./polyfill.mjs", "peer.mjs", seed.hex()],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "NODE_NO_WARNINGS": "1"},
        )
        other = cls(process)
        other._reader = threading.Thread(target=other._read, name="other-peer")
        other._reader.start()
        ready = other.event("ready")
        other.addresses, other.peer = ready["addresses"], ready["peer"]
        return other

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(_END)

    def _next(self) -> dict[str, Any]:
        line = self._lines.get(timeout=ANSWER_SECONDS)
        assert line is not _END, "the JavaScript peer ended"
        assert isinstance(line, dict)
        return line

    def event(self, word: str) -> dict[str, Any]:
        """Wait for an event of this word."""
        for number, seen in enumerate(self.events):
            if seen["event"] == word:
                return self.events.pop(number)
        while True:
            line = self._next()
            if line.get("event") == word:
                return line
            assert "event" in line, line
            self.events.append(line)

    def ask(self, act: str, **values: object) -> Any:
        """Ask one thing and return the result; an error of the peer fails."""
        assert self.process.stdin is not None
        self._asked += 1
        self.process.stdin.write(json.dumps({"id": self._asked, "act": act, **values}) + "\n")
        self.process.stdin.flush()
        while True:
            line = self._next()
            if line.get("id") == self._asked:
                assert "error" not in line, line["error"]
                return line["result"]
            self.events.append(line)

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()
