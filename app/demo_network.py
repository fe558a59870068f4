"""The part of ``hanse demo`` with two processes: Anna's node and Bo's, on this machine alone.

* Both are ``hanse node`` on a folder of the demo, listening on loopback; LAN, DHT and relays are
  switched off, so that nothing leaves the machine.
* What Bo does he does with ``hanse`` commands, which his node takes: he adds Anna's address,
  synchronises, and fetches the sealed files of a model, each piece verified.
* Both nodes are ended as a service manager ends them, and must end well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from hanse.core.errors import EXIT_DONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hanse.core.engine.home import Home

_START_SECONDS: Final = 120
_COMMAND_SECONDS: Final = 120
_END_SECONDS: Final = 30
_LISTEN: Final = "/ip4/127.0.0.1/tcp/0"
_ALONE: Final = {
    "HANSE_NETWORK_LAN": "0",
    "HANSE_NETWORK_DHT": "0",
    "HANSE_NETWORK_RELAY": "0",
    "HANSE_LANG": "en",
}


class _Node:
    """One ``hanse node``, and commands on its folder."""

    def __init__(self, home: Home, passphrase_file: Path) -> None:
        self._environ = {
            **os.environ,
            **_ALONE,
            "HANSE_CONFIG_DIR": str(home.config),
            "HANSE_DATA_DIR": str(home.folder),
            "HANSE_PASSPHRASE_FILE": str(passphrase_file),
        }
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._process = subprocess.Popen(  # noqa: S603 - this program itself
            [*_HANSE, "node", "--events", "--listen", _LISTEN],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            env=self._environ,
        )
        self._reader = threading.Thread(target=self._read, name="demo-node", daemon=True)
        self._reader.start()

    @property
    def number(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def address(self) -> str | None:
        """Wait until it listens and return where; None when it ended instead."""
        while True:
            try:
                line = self._lines.get(timeout=_START_SECONDS)
            except Empty:
                return None
            if not line:
                return None
            try:
                event = json.loads(line)
            except ValueError:
                continue
            found = event.get("addresses") or event.get("values", {}).get("addresses")
            if found:
                return str(found[0])

    def hanse(self, *arguments: str) -> tuple[int, object]:
        """Run one command on the folder; return its status and its result."""
        done = subprocess.run(  # noqa: S603 - this program itself
            [*_HANSE, *arguments, "--json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            env=self._environ,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        try:
            said = json.loads(done.stdout)
        except ValueError:
            said = {}
        return done.returncode, said.get("result", said.get("error"))

    def end(self) -> bool:
        """End it and say whether it ended well."""
        self._process.terminate()
        try:
            status = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._reader.join(_END_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status == EXIT_DONE


_HANSE: Final = (sys.executable, "-m", "hanse.app.cli")


class Neighbours:
    """Anna's and Bo's nodes; the checks are the demo's."""

    def __init__(
        self, base: Path, passphrase: str, step: Callable[..., None], must: Callable[..., None]
    ) -> None:
        """Keep the passphrase of the throw-away folders in a file beside them."""
        self._step = step
        self._must = must
        self._passphrase_file = base / "passphrase"
        self._passphrase_file.touch(0o600)
        self._passphrase_file.write_text(passphrase + "\n", encoding="utf-8")

    def meet(self, anna: Home, bo: Home, wanted: Sequence[tuple[str, bytes]]) -> None:
        """Let Bo's node find Anna's, agree with it, and fetch Releases (name and id each)."""
        with self._node(anna) as seller, self._node(bo) as buyer:
            address, other = seller.address(), buyer.address()
            self._must(address is not None and other is not None, "demo.node_failed")
            assert address is not None
            self._step(
                "demo.two_nodes",
                anna=seller.number,
                bo=buyer.number,
                address=address.partition("/p2p/")[0],
            )
            status, _ = buyer.hanse("peer", "add", address)
            self._must(status == EXIT_DONE, "demo.add_failed", address=address)
            status, result = buyer.hanse("peer", "sync")
            self._must(status == EXIT_DONE, "demo.sync_failed", found=result)
            self._step("demo.synced", count=_entries_held(buyer))
            for name, release in wanted:
                status, result = buyer.hanse("listing", "fetch", release.hex(), "--wait")
                is_done = isinstance(result, dict) and result.get("state") == "done"
                self._must(status == EXIT_DONE and is_done, "demo.fetch_failed", found=result)
                assert isinstance(result, dict)
                self._step("demo.fetched", model=name, size=result.get("total_bytes"))

    @contextmanager
    def _node(self, home: Home) -> Iterator[_Node]:
        node = _Node(home, self._passphrase_file)
        try:
            yield node
        except BaseException:
            node.end()
            raise
        self._must(node.end(), "demo.node_end_failed")


def _entries_held(node: _Node) -> int:
    _, result = node.hanse("ledger", "feeds")
    feeds = result if isinstance(result, list) else []
    return sum(int(feed["head_seq"]) for feed in feeds)
