"""A Conversion in a Worker, and in an interpreter the person named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import onnx
import onnxruntime
import pytest

from hanse.core.artifacts.conversion import bounds
from hanse.core.artifacts.converters import answering
from hanse.core.certify import foreign as foreign_module
from hanse.core.certify import foreign_main, lockdown, worker_process
from hanse.core.certify.client import WorkerClient
from hanse.core.certify.foreign import ForeignConverter
from hanse.core.certify.frames import MadeFiles
from hanse.core.certify.made import checked_made
from hanse.core.certify.worker_process import ConvertRequestTooLong
from hanse.core.model.artifact import Parity
from hanse.core.model.control import Cancelled, Control
from hanse.core.model.running import (
    ConversionRefused,
    ConvertRequest,
    Stage,
    WorkerFailed,
    WorkerLimits,
)
from tests.fakes.converting import EXAMPLES, MODELS
from tests.hostile.onnx_models import onnx_bytes

OPTIONS = {
    "source_size_bytes": 2**20,
    "samples_size_bytes": 2**20,
    "json_size_bytes": 2**20,
    "rows": 16,
}
LIMITS = WorkerLimits(4 * 2**30, cpu_seconds=50, wall_seconds=50.0, write_bytes=2**20)
BOTH = pytest.mark.parametrize("python", [None, Path(sys.executable)], ids=["own", "named"])


@pytest.fixture
def convert(tmp_path):
    stage, scratch = tmp_path / "stage", tmp_path / "scratch"
    stage.mkdir()
    scratch.mkdir()
    (stage / "m.onnx").write_bytes(onnx_bytes(ir=3))
    (stage / "noise.onnx").write_bytes(b"noise")
    started = []

    def run(request, python=None, control=None, **bounds):
        limits = replace(LIMITS, **bounds)
        worker = WorkerClient().start(Stage(stage, scratch), limits, "convert", python)
        started.append(worker)
        return worker.convert(request, control or Control())

    run.stage = stage
    run.scratch = scratch
    run.started = started
    yield run
    for one in started:
        one.close()


def normalise(source="m.onnx", **options):
    return ConvertRequest("normalise_onnx", source, "out.onnx", {**OPTIONS, **options})


@BOTH
def test_what_was_made_lies_in_the_scratch_folder(convert, python):
    made = convert(normalise(), python)
    assert made.parity.verdict in ("pass", "not_shown")
    for file in made.files:
        assert (convert.scratch / file).is_file()
    usage = convert.started[-1].close()
    assert usage.cpu_ms > 0
    assert usage.peak_rss_bytes > 2**20


@BOTH
def test_a_refusal_keeps_its_word(convert, python):
    with pytest.raises(ConversionRefused) as refused:
        convert(normalise("noise.onnx"), python)
    assert refused.value.reason == "unreadable"
    assert refused.value.detail


@BOTH
@pytest.mark.parametrize("name", ["nothing", "__init__", "parity", "../made"])
def test_only_a_converter_can_be_named(convert, python, name):
    with pytest.raises((ConversionRefused, WorkerFailed)) as refused:
        convert(ConvertRequest(name, "m.onnx", "out.onnx", OPTIONS), python)
    assert refused.value.values.get("kind", "refused") == "refused"


@BOTH
def test_a_missing_option_is_a_crash_and_says_which(convert, python):
    with pytest.raises(WorkerFailed, match="source_size_bytes") as failed:
        convert(ConvertRequest("normalise_onnx", "m.onnx", "out.onnx", {}), python)
    assert failed.value.kind == "crash"


@BOTH
def test_a_cancelled_conversion_ends(convert, python):
    control = Control(lambda *_: control.cancel())
    with pytest.raises(Cancelled):
        convert(normalise(), python, control)


@BOTH
def test_a_slow_conversion_ends_at_the_wall(convert, python):
    with pytest.raises(WorkerFailed) as failed:
        convert(normalise(), python, wall_seconds=0.0)
    assert failed.value.kind == "timeout"


@BOTH
def test_a_conversion_writes_no_more_than_it_may(convert, python):
    shutil.copyfile(EXAMPLES / "image_recognition_model.h5", convert.stage / "m.h5")
    request = ConvertRequest("keras_h5", "m.h5", "out.onnx", bounds())  # it keeps all it makes
    with pytest.raises(WorkerFailed, match="File too large") as failed:
        convert(request, python, write_bytes=10)
    assert failed.value.kind == "crash"


def test_a_named_interpreter_that_is_none_is_said(convert, tmp_path):
    with pytest.raises(WorkerFailed) as failed:
        convert(normalise(), tmp_path / "python")
    assert (failed.value.kind, failed.value.check) == ("crash", "start")
    answers = tmp_path / "answers"
    answers.write_text("#!/bin/sh\necho hello\n")
    answers.chmod(0o700)
    with pytest.raises(WorkerFailed) as failed:
        convert(normalise(), answers)
    assert failed.value.kind == "protocol"


def test_a_named_interpreter_only_converts(convert):
    with pytest.raises(ConversionRefused):
        convert(normalise("noise.onnx"), Path(sys.executable))
    with pytest.raises(WorkerFailed):
        convert.started[-1].inspect("m.onnx", "onnx", Control())


@pytest.fixture
def bare_python(tmp_path):
    """An interpreter that has the packages of this one, but not Hanse."""
    folder = tmp_path / "bare"
    venv.create(folder, symlinks=sys.platform != "win32")
    (packages,) = folder.rglob("site-packages")
    places = {str(Path(one.__file__).parents[1]) for one in (h5py, np, onnx, onnxruntime)}
    (packages / "others.pth").write_text("\n".join(sorted(places)))
    (python,) = [*folder.glob("bin/python"), *folder.glob("Scripts/python.exe")]
    return python


def test_an_interpreter_without_hanse_converts(convert, bare_python):
    asked = subprocess.run(
        [bare_python, "-I", "-c", "import hanse.core"], capture_output=True, text=True, check=False
    )
    assert "No module named 'hanse'" in asked.stderr
    shutil.copyfile(EXAMPLES / "image_recognition_model.h5", convert.stage / "m.h5")
    shutil.copyfile(MODELS / "with_lambda.h5", convert.stage / "code.h5")
    made = convert(ConvertRequest("keras_h5", "m.h5", "out.onnx", bounds()), bare_python)
    assert made.files == ("out.onnx",)
    assert (convert.scratch / "out.onnx").stat().st_size > 50_000
    with pytest.raises(ConversionRefused) as refused:
        convert(ConvertRequest("keras_h5", "code.h5", "out.onnx", bounds()), bare_python)
    assert (refused.value.reason, refused.value.detail) == ("code", "double_it (Lambda)")


PROBE = """
import resource

BOUND = resource.getrlimit(resource.RLIMIT_FSIZE)[0]

def convert(source, target, options):
    found = []
    for name in options["names"]:
        try:
            __import__(name)
            found.append(name)
        except ModuleNotFoundError:
            pass
    return {"bound": BOUND, "found": found}
"""


def test_of_hanse_there_is_only_the_folder_of_the_converters_and_the_bounds_come_first(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(answering.__file__, folder)
    (folder / "probe.py").write_text(PROBE)
    package = "hanse.core.artifacts.converters"
    names = ["hanse.core.errors", "hanse.core.artifacts.quota", "hanse.app", f"{package}.parity"]
    names += [f"{package}.probe", f"{package}.answering", "msgspec"]
    limits = WorkerLimits(4 * 2**30, cpu_seconds=50, wall_seconds=50.0, write_bytes=12345)
    plan = ForeignConverter(Path(sys.executable), Stage(tmp_path, folder), limits)._plan()
    locks = Path(lockdown.__file__).parent
    done = subprocess.run(
        [sys.executable, "-I", foreign_main.__file__, plan, locks, folder, "probe"],
        input=json.dumps({"source": "s", "target": "t", "options": {"names": names}}),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer == {"made": {"bound": 12345, "found": names[-3:]}}
    assert {one.name for one in folder.iterdir()} == {"answering.py", "probe.py"}


def test_options_that_fit_no_request_are_refused_before_they_are_sent(convert):
    with pytest.raises(ConvertRequestTooLong):
        convert(normalise(labels=["x" * 1000] * 100))


@pytest.mark.parametrize("file", ["../out", "/etc/passwd", "a/b", "gone", "folder", "link", "a\\b"])
def test_only_files_of_the_scratch_folder_are_believed(file, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "sound").write_bytes(b"x")
    parity = Parity(
        source_format="onnx",
        tools={},
        inputs=0,
        origin="none",
        outputs=(),
        rtol_nano=0,
        atol_nano=0,
        verdict="not_shown",
    )
    known = {"parity": parity, "kept": True, "notes": (), "figures": {}}
    assert isinstance(checked_made(MadeFiles(files=(file,), **known), tmp_path), str)
    sound = checked_made(MadeFiles(files=("sound",), **known), tmp_path)
    assert not isinstance(sound, str)
    assert sound.files == ("sound",)


def test_both_ways_know_one_set_of_checks():
    assert worker_process.checked_made is foreign_module.checked_made
