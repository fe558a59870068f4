"""Every hostile model file gives its sentence, in bounded time and memory, and runs nothing."""

from __future__ import annotations

import importlib.util
import threading
import time
from typing import TYPE_CHECKING

import pytest

from hanse.core.artifacts.formats import FormatRefused, recognise
from hanse.core.certify.client import WorkerClient
from hanse.core.certify.inspecting import inspect_limits
from hanse.core.model.control import Control
from hanse.core.model.running import Stage
from hanse.core.sentences import LANGUAGES, catalogue, say
from tests.hostile.case import MARKER
from tests.hostile.make_models import cases, make

if TYPE_CHECKING:
    from pathlib import Path

SLOW = "tflite_shared_tables"  # seconds, so it has a test of its own
CASES = cases()
SECONDS_MAX = 20.0  # for one file, on a machine that does other things as well
MEMORY_MAX = 1024**3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    for case in CASES:
        if not case.needs or importlib.util.find_spec(case.needs):
            make(case, root)
    return root


@pytest.fixture(scope="module")
def worker(folder):
    one = WorkerClient().start(Stage(folder), inspect_limits(64 * 1024**2), "inspect")
    yield one
    one.close()


def look(worker, folder, case, control=None):
    path = folder / case.name / case.file
    return worker.inspect(f"{case.name}/{case.file}", recognise(path), control or Control())


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name != SLOW], ids=lambda case: case.name
)
def test_it_is_refused_by_its_rule_or_taken_with_its_warnings(case, worker, folder):
    if case.needs:
        pytest.importorskip(case.needs)
    started = time.monotonic()
    if case.rule is not None:
        with pytest.raises(FormatRefused) as refused:
            look(worker, folder, case)
        assert refused.value.values["rule"] == case.rule
        check_sentence(refused.value)
    else:
        facts = look(worker, folder, case)
        assert facts.format == case.format
        assert set(case.warnings) <= set(facts.warnings)
        assert all(f"facts.warning.{word}" in catalogue("en") for word in facts.warnings)
    assert time.monotonic() - started < SECONDS_MAX


def check_sentence(error: FormatRefused) -> None:
    for language in LANGUAGES:
        assert f"format.refused.rule.{error.values['rule']}" in catalogue(language)
        sentence = say(error.code, error.values, language)
        assert str(error.values["file"]) in sentence
        assert str(error.values["found"]) in sentence
        assert len(sentence) < 2000
        assert "\n" not in sentence


def test_the_window_is_not_held_up_while_a_file_is_slow(worker, folder):
    (slow,) = (case for case in CASES if case.name == SLOW)
    reports: list[str] = []
    gaps: list[float] = []
    is_done = threading.Event()

    def watch() -> None:
        last = time.monotonic()
        while not is_done.wait(0.01):
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    try:
        with pytest.raises(FormatRefused, match="tables"):
            look(worker, folder, slow, Control(lambda stage, *_: reports.append(stage)))
    finally:
        is_done.set()
        watcher.join()
    assert len(reports) >= 3 * (time.monotonic() - started)
    assert sorted(gaps)[len(gaps) * 95 // 100] < 0.25


def test_no_payload_was_run(folder):
    assert list(folder.rglob(MARKER)) == []


def test_all_of_them_together_stayed_within_the_memory_of_one_worker(worker):
    usage = worker.close()
    assert 0 < usage.peak_rss_bytes < MEMORY_MAX
    assert usage.peak_rss_bytes < inspect_limits(64 * 1024**2).memory_bytes
