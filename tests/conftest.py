"""What holds for every test: silence, nothing left running, and never the real home.

* A log record at warning or above fails the test, unless it takes ``caplog`` or is marked
  ``logs``.  Warnings and Qt messages fail it by the settings in ``pyproject.toml``.
* No thread and no child process outlives the test that started it.
* The home and the platform's folders are the test's own, and no ``HANSE_`` variable is set but
  the ``HANSE_TEST_`` ones, which name optional test data.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # before pytest-qt makes the application
# Else onnxruntime starts an uploader thread and a database at import (measured, 1.29 and later).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

ENDING_SECONDS = 5.0  # how long a thread or process may take to end after its test
# Kept on purpose by the standard library and by trio for the next user; they end with the process.
KEPT_THREADS = ("Trio thread", "QueueFeederThread")
KEPT_PROCESSES = ("resource_tracker", "multiprocessing.forkserver")


class Loud(logging.Handler):
    """Collects what nobody asked for."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def _silence(request: pytest.FixtureRequest) -> Iterator[None]:
    if "caplog" in request.fixturenames or request.node.get_closest_marker("logs"):
        yield
        return
    loud = Loud()
    logging.getLogger().addHandler(loud)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(loud)
    said = [f"{record.name}: {record.getMessage()}" for record in loud.records]
    assert not said, "unexpected log records; take caplog or mark the test `logs` to expect them"


@pytest.fixture(autouse=True)
def _nothing_outlives() -> Iterator[None]:
    threads_before = set(threading.enumerate())
    processes_before = children()
    yield
    deadline = time.monotonic() + ENDING_SECONDS
    for thread in new_threads(threads_before):
        thread.join(max(0.0, deadline - time.monotonic()))
    left = [thread.name for thread in new_threads(threads_before)]
    assert not left, "threads outlive the test"
    started = children() - processes_before
    if started:
        _, alive = psutil.wait_procs(started, max(0.0, deadline - time.monotonic()))
        assert not alive, "child processes outlive the test"


def new_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    return [
        thread
        for thread in threading.enumerate()
        if thread not in before
        and not isinstance(thread, threading._DummyThread)  # not ours: C code that called Python
        and not thread.name.startswith(KEPT_THREADS)
    ]


def children() -> set[psutil.Process]:
    if hasattr(os, "waitid"):
        try:  # the cheap answer for nearly every test: no child at all
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return set()
    found = set()
    for process in psutil.Process().children(recursive=True):
        try:
            command = " ".join(process.cmdline())
            if process.status() == psutil.STATUS_ZOMBIE or any(
                kept in command for kept in KEPT_PROCESSES
            ):
                continue
        except psutil.NoSuchProcess:
            continue
        found.add(process)
    return found


def is_ours(name: str) -> bool:
    return name.startswith("HANSE_") and not name.startswith("HANSE_TEST_")


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    base = tmp_path_factory.mktemp("homes")
    numbers = itertools.count()
    return (base / str(number) for number in numbers)


@pytest.fixture(autouse=True)
def home(_homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home: platformdirs finds it, and whatever a test forgets to name lands in it."""
    folder = next(_homes)
    runtime = folder / "run"
    runtime.mkdir(parents=True, mode=0o700)
    for name in [name for name in os.environ if is_ours(name)]:
        monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    for name, part in {
        "XDG_DATA_HOME": "data",
        "XDG_CONFIG_HOME": "config",
        "XDG_STATE_HOME": "state",
        "XDG_CACHE_HOME": "cache",
        "XDG_RUNTIME_DIR": "run",
        "APPDATA": "roaming",
        "LOCALAPPDATA": "local",
    }.items():
        monkeypatch.setenv(name, str(folder / part))
    return folder
