"""The real Worker: what it gives up, what it does not get, and that it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hanse.core.certify import asking
from hanse.core.certify.child import environment
from hanse.core.certify.client import WorkerClient
from hanse.core.limits import WORKER_OPEN_FILES_MAX
from hanse.core.model.control import Cancelled, Control
from hanse.core.model.running import Stage, WorkerFailed, WorkerLimits
from tests.hostile.header_models import row, safetensors
from tests.hostile.onnx_models import onnx_bytes
from tests.hostile.tflite_models import tflite

linux = pytest.mark.skipif(sys.platform != "linux", reason="layers of other systems: not verified")
LIMITS = WorkerLimits(memory_bytes=3 * 2**30, cpu_seconds=50, wall_seconds=50.0)


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(limits=LIMITS):
        started.append(WorkerClient().start(Stage(tmp_path), limits, "inspect"))
        return started[-1]

    yield begin
    for one in started:
        one.close()


@linux
def test_it_bounds_itself_before_it_is_ready(start):
    resource = pytest.importorskip("resource")
    worker = start()
    number = worker._child.number
    assert {"not_dumpable", "no_new_privs", "limit_memory", "limit_cpu"} <= set(worker.layers)
    assert {"onnx", "onnxruntime", "safetensors"} <= set(worker.versions)

    def limit(which):
        return resource.prlimit(number, which)

    assert limit(resource.RLIMIT_AS) == (LIMITS.memory_bytes, LIMITS.memory_bytes)
    assert 0 < limit(resource.RLIMIT_CPU)[0] - LIMITS.cpu_seconds < 20  # and what the imports took
    assert limit(resource.RLIMIT_FSIZE) == (0, 0)
    assert limit(resource.RLIMIT_CORE) == (0, 0)
    assert limit(resource.RLIMIT_NOFILE)[1] == WORKER_OPEN_FILES_MAX
    status = Path(f"/proc/{number}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert psutil.Process(number).nice() >= 10
    assert os.getsid(number) != os.getsid(0)


@linux
def test_it_inherits_no_file_and_no_word_of_ours(start, tmp_path, monkeypatch):
    monkeypatch.setenv("HANSE_TEST_SECRET", "planted")
    with (tmp_path / "open.txt").open("w") as kept:
        os.set_inheritable(kept.fileno(), True)
        worker = start()
        number = worker._child.number
        try:
            own = Path(f"/proc/{number}/environ").read_bytes()
            files = {str(one.readlink()) for one in Path(f"/proc/{number}/fd").iterdir()}
        except PermissionError:
            pytest.skip("only root may look at a process that is not dumpable")
    assert b"planted" not in own
    assert b"HOME=" not in own
    assert not any("open.txt" in one for one in files)


def test_homes_and_caches_of_a_conversion_lie_in_its_scratch_folder(tmp_path):
    plain = environment(None)
    assert "HOME" not in plain
    assert plain["ORT_DISABLE_TELEMETRY"] == "1"
    own = environment(tmp_path)
    assert {own[name] for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "KERAS_HOME")} == {
        str(tmp_path)
    }


@linux
def test_a_file_that_needs_more_memory_than_there_is_is_a_limit(start, tmp_path):
    rows = {f"t{n}": row(4 * n, 4 * n + 4, [1]) for n in range(60_000)}
    (tmp_path / "m.safetensors").write_bytes(safetensors(rows, bytes(240_000)))
    (tmp_path / "s.safetensors").write_bytes(safetensors({"t": row(0, 4, [1])}, bytes(4)))
    wide = start()
    wide.inspect("s.safetensors", "safetensors", Control())  # its threads have their stacks now
    size = psutil.Process(wide._child.number).memory_info().vms
    narrow = start(WorkerLimits(size + 4 * 2**20, cpu_seconds=50, wall_seconds=50.0))
    with pytest.raises(WorkerFailed) as failed:
        narrow.inspect("m.safetensors", "safetensors", Control())
    assert failed.value.kind == "limit"
    assert wide.inspect("m.safetensors", "safetensors", Control()).tensors == 60_000


@linux
def test_a_file_that_takes_more_time_than_there_is_is_a_limit(start, tmp_path):
    (tmp_path / "m.tflite").write_bytes(tflite(operators=50_000, graphs=1000))
    worker = start(WorkerLimits(memory_bytes=3 * 2**30, cpu_seconds=1, wall_seconds=50.0))
    with pytest.raises(WorkerFailed) as failed:
        worker.inspect("m.tflite", "tflite", Control())
    assert failed.value.kind == "limit"
    assert "SIGXCPU" in failed.value.detail


def test_a_cancelled_worker_is_gone_at_once(start, tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "CANCEL_SECONDS", 60.0)  # it answers, and is not waited for
    (tmp_path / "m.tflite").write_bytes(tflite(operators=50_000, graphs=1000))
    worker = start()
    cancelled = []

    def cancel(*_):
        cancelled.append(time.monotonic())
        if len(cancelled) == 2:  # the first report comes before the question is sent
            control.cancel()

    control = Control(cancel)
    with pytest.raises(Cancelled):
        worker.inspect("m.tflite", "tflite", control)
    assert time.monotonic() - cancelled[-1] < 20
    assert worker._child._ending is not None


def test_a_file_that_is_not_there_is_said(start):
    with pytest.raises(WorkerFailed, match="No such file") as failed:
        start().inspect("gone.onnx", "onnx", Control())
    assert failed.value.kind == "crash"


def test_a_worker_without_its_parent_ends(tmp_path):
    (tmp_path / "m.onnx").write_bytes(onnx_bytes())
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from hanse.core.certify.client import WorkerClient\n"
        "from hanse.core.model.running import Stage, WorkerLimits\n"
        "limits = WorkerLimits(3 * 2**30, 50, 50.0)\n"
        f"worker = WorkerClient().start(Stage(Path({str(tmp_path)!r})), limits, 'inspect')\n"
        "print(worker._child.number, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs([child], 10)
    assert not alive


def test_the_command_needs_nothing_of_the_surroundings(tmp_path):
    """Started by hand from an empty folder, without a word of environment."""
    done = subprocess.run(
        [sys.executable, "-I", "-m", "hanse.core.certify.worker"],
        input=b"",
        cwd=tmp_path,
        env={"PATH": os.defpath, "ORT_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, b"")
    assert list(tmp_path.iterdir()) == []
