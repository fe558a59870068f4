"""Running models: the contract of the port, on the fake and the real Worker; then the real one."""

from __future__ import annotations

import os
import sys
import threading
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import psutil
import pytest

from hanse.core.certify import asking, worker_process
from hanse.core.certify.client import WorkerClient
from hanse.core.certify.inspecting import run_limits
from hanse.core.certify.worker_process import RuntimeMissing
from hanse.core.model.control import Cancelled, Control
from hanse.core.model.running import Block, Stage, WorkerFailed
from hanse.core.sentences import LANGUAGES, say
from tests.fakes import models
from tests.fakes.running import FakeModel, FakeRunner, FakeWorker, doubling, tensor

LIMITS = run_limits(2**20, threads=2, cpu_seconds=120, wall_seconds=30.0)
X = np.arange(6, dtype=np.float32).reshape(2, 3)
ROWS = np.arange(30, dtype=np.float32).reshape(10, 3)
BLOCK = Block(runs_least=20, ns_least=0, ns_most=10**9, runs_most=50)
PILLOW = pytest.importorskip("PIL.Image")


def save(model, path):
    path.write_bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save(models.doubled(), folder / "doubled.onnx")
    save(models.doubled(1), folder / "by_one.onnx")
    save(models.doubled(4), folder / "by_four.onnx")
    for make in ("summed", "scaled", "picked", "same", "listed", "filled", "counting"):
        save(getattr(models, make)(), folder / f"{make}.onnx")
    save(models.same(onnx.TensorProto.BFLOAT16), folder / "brain.onnx")
    (folder / "noise.onnx").write_bytes(b"noise")
    (folder / "doubled.tflite").write_bytes(models.tflite_doubled(is_open=True))
    (folder / "by_one.tflite").write_bytes(models.tflite_doubled())
    (folder / "noise.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    return folder


@pytest.fixture(scope="module")
def real(folder):
    worker = WorkerClient().start(Stage(folder), LIMITS, "run")
    yield worker
    worker.close()


@pytest.fixture
def start(folder):
    started = []

    def begin(limits=LIMITS):
        started.append(WorkerClient().start(Stage(folder), limits, "run"))
        return started[-1]

    yield begin
    for one in started:
        one.close()


def fake(folder):
    by_one = tuple(tensor(one, "float32", 1, 3) for one in "xy")
    by_four = tuple(tensor(one, "float32", 4, 3) for one in "xy")
    known = {
        "doubled.onnx": doubling(),
        "by_one.onnx": doubling(inputs=by_one[:1], outputs=by_one[1:]),
        "by_four.onnx": doubling(inputs=by_four[:1], outputs=by_four[1:]),
        "summed.onnx": doubling(
            outputs=(tensor("y", "float32"),), run=lambda inputs: {"y": inputs["x"].sum()}
        ),
        "scaled.onnx": FakeModel(
            (tensor("x", "float32", "n", 3), tensor("factor", "float32")),
            (tensor("y", "float32", "n", 3),),
            lambda inputs: {"y": inputs["x"] * inputs["factor"]},
        ),
        "picked.onnx": FakeModel(
            (tensor("x", "int64", "n"),), (tensor("y", "float32", "n"),), pick
        ),
    }
    return FakeRunner(known).start(Stage(folder), LIMITS, "run")


def pick(inputs):
    if inputs["x"].max() >= 5:
        raise ValueError("outside")
    return {"y": inputs["x"].astype(np.float32)}


def cancels_after(reports):
    seen = []

    def report(*_):
        seen.append(1)
        if len(seen) > reports:
            control.cancel()

    control = Control(report)
    return control


def refusal_of(call):
    with pytest.raises(WorkerFailed) as failed:
        call()
    assert failed.value.kind == "refused"
    return failed.value.detail


@pytest.fixture(params=["fake", "real"])
def worker(request, folder, real):
    return fake(folder) if request.param == "fake" else real


class TestContract:
    """What everybody who is given a ``Worker`` may rely on."""

    def test_a_model_tells_its_signature_and_what_it_took(self, worker):
        loaded = worker.load("doubled.onnx", "onnx", 1, Control())
        assert [(one.name, one.dtype) for one in loaded.inputs] == [("x", "float32")]
        assert [(one.name, one.shape) for one in loaded.outputs] == [("y", ("n", 3))]
        assert (loaded.runtime, loaded.provider) == ("onnxruntime", "cpu")
        assert loaded.version == worker.versions["onnxruntime"]
        assert loaded.load_ns > 0
        assert loaded.base_rss_bytes > 0
        assert loaded.rss_bytes > 0

    def test_optimisation_is_as_it_was_asked_for(self, worker):
        loaded = worker.load("doubled.onnx", "onnx", 1, Control(), optimisation="off")
        assert loaded.optimisation == "off"

    def test_it_runs_once_and_says_how_long(self, worker):
        worker.load("doubled.onnx", "onnx", 1, Control())
        ran = worker.run({"x": X}, Control())
        assert ran.outputs["y"].tolist() == (2 * X).tolist()
        assert ran.outputs["y"].dtype == np.float32
        assert ran.ns > 0

    def test_no_rows_are_rows_too_for_one_run(self, worker):
        worker.load("doubled.onnx", "onnx", 1, Control())
        assert worker.run({"x": X[:0]}, Control()).outputs["y"].shape == (0, 3)

    @pytest.mark.parametrize("batch", [1, 3, 64])
    def test_rows_come_back_in_order_whatever_the_batch(self, worker, batch):
        worker.load("doubled.onnx", "onnx", 1, Control())
        ran = worker.evaluate({"x": ROWS}, batch, Control())
        assert ran.outputs["y"].tolist() == (2 * ROWS).tolist()
        assert ran.ns > 0

    @pytest.mark.parametrize("file", ["by_one.onnx", "by_four.onnx"])
    def test_a_model_of_a_fixed_size_gets_rows_of_that_size(self, worker, file):
        worker.load(file, "onnx", 1, Control())
        ran = worker.evaluate({"x": ROWS}, 3, Control())
        assert ran.outputs["y"].tolist() == (2 * ROWS).tolist()

    def test_an_input_without_dimensions_is_the_same_for_all_rows(self, worker):
        worker.load("scaled.onnx", "onnx", 1, Control())
        inputs = {"x": ROWS, "factor": np.array(3, np.float32)}
        ran = worker.evaluate(inputs, 4, Control())
        assert ran.outputs["y"].tolist() == (3 * ROWS).tolist()

    def test_outputs_without_rows_cannot_be_joined(self, worker):
        worker.load("summed.onnx", "onnx", 1, Control())
        assert worker.run({"x": X}, Control()).outputs["y"].tolist() == 15
        assert "rows" in refusal_of(lambda: worker.evaluate({"x": ROWS}, 4, Control()))

    def test_progress_over_rows_is_told(self, worker):
        worker.load("doubled.onnx", "onnx", 1, Control())
        seen = []
        worker.evaluate({"x": ROWS}, 2, Control(lambda *one: seen.append(one)))
        assert {(stage, total) for stage, _, total in seen} <= {("evaluate", 10), ("evaluate", 1)}
        assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)

    def test_a_block_has_its_runs_and_all_of_them_took_time(self, worker):
        worker.load("doubled.onnx", "onnx", 1, Control())
        found = worker.bench({"x": X}, BLOCK, Control())
        assert 20 <= len(found.ns) <= 50
        assert min(found.ns) > 0
        assert (found.warmup_runs, found.is_stable) == (0, False)
        assert found.rss_bytes > 0

    def test_warm_up_is_not_among_the_times(self, worker):
        worker.load("doubled.onnx", "onnx", 1, Control())
        block = replace(BLOCK, warmup_runs_most=40, warmup_ns_most=10**9, window_percent=10**6)
        found = worker.bench({"x": X}, block, Control())
        assert (found.warmup_runs, found.is_stable) == (20, True)
        assert len(found.ns) <= 50

    @pytest.mark.parametrize(
        ("inputs", "said"),
        [
            ({}, "inputs [], the model takes ['x']"),
            ({"x": X, "z": X}, "inputs ['x', 'z'], the model takes ['x']"),
            ({"x": X.astype(np.float64)}, "x: float64 given, the model takes float32"),
            ({"x": X[:, :2]}, "x: shape [2, 2] given, the model takes [n, 3]"),
            ({"x": X[0]}, "x: shape [3] given, the model takes [n, 3]"),
        ],
    )
    def test_inputs_that_do_not_fit_are_named_with_both_values(self, worker, inputs, said):
        worker.load("doubled.onnx", "onnx", 1, Control())
        assert refusal_of(lambda: worker.run(inputs, Control())) == said
        assert refusal_of(lambda: worker.bench(inputs, BLOCK, Control())) == said
        assert refusal_of(lambda: worker.evaluate(inputs, 2, Control()))
        assert worker.run({"x": X}, Control()).ns > 0

    def test_rows_that_are_not_as_many_everywhere_are_refused(self, worker):
        worker.load("scaled.onnx", "onnx", 1, Control())
        wrong = {"x": ROWS, "factor": np.ones(3, np.float32)}
        assert "unlike rows" in refusal_of(lambda: worker.evaluate(wrong, 2, Control()))

    def test_no_rows_cannot_be_evaluated(self, worker):
        worker.load("doubled.onnx", "onnx", 1, Control())
        said = refusal_of(lambda: worker.evaluate({"x": ROWS[:0]}, 2, Control()))
        assert said == "no rows are given"

    def test_what_the_runtime_refuses_is_said_and_the_worker_goes_on(self, worker):
        worker.load("picked.onnx", "onnx", 1, Control())
        outside = {"x": np.array([7])}
        assert refusal_of(lambda: worker.run(outside, Control()))
        assert refusal_of(lambda: worker.evaluate(outside, 1, Control()))
        assert refusal_of(lambda: worker.bench(outside, BLOCK, Control()))
        assert worker.run({"x": np.array([3])}, Control()).outputs["y"].tolist() == [3]

    def test_a_format_that_does_not_run_is_refused(self, worker):
        said = refusal_of(lambda: worker.load("m.gguf", "gguf", 1, Control()))
        assert said == "m.gguf: gguf does not run here"

    def test_a_load_that_fails_leaves_no_model(self, worker):
        worker.load("doubled.onnx", "onnx", 1, Control())
        assert refusal_of(lambda: worker.load("gone.onnx", "onnx", 1, Control()))
        assert refusal_of(lambda: worker.run({"x": X}, Control())) == "no model is loaded"

    def test_a_file_in_memory_must_have_been_put(self, worker):
        with pytest.raises(WorkerFailed, match="not"):
            worker.load("doubled.onnx", "onnx", 1, Control(), in_memory=True)

    def test_what_was_put_in_parts_runs(self, worker, folder):
        raw = (folder / "by_one.onnx").read_bytes()
        for start in range(0, len(raw), 50):
            worker.put("by_one.onnx", memoryview(raw)[start : start + 50], Control())
        worker.load("by_one.onnx", "onnx", 1, Control(), in_memory=True)
        assert worker.run({"x": X[:1]}, Control()).outputs["y"].tolist() == (2 * X[:1]).tolist()

    def test_what_was_cancelled_before_is_not_begun(self, worker):
        control = Control()
        control.cancel()
        worker.load("doubled.onnx", "onnx", 1, Control())
        with pytest.raises(Cancelled):
            worker.run({"x": X}, control)
        assert worker.run({"x": X}, Control()).ns > 0

    def test_one_that_was_closed_answers_no_more(self, worker, start):
        if not isinstance(worker, FakeWorker):
            worker = start()  # the other is shared
        assert worker.close().wall_ms > 0
        for ask in (
            lambda: worker.load("doubled.onnx", "onnx", 1, Control()),
            lambda: worker.put("a", b"b", Control()),
        ):
            with pytest.raises(WorkerFailed) as failed:
                ask()
            assert failed.value.kind == "protocol"


class TestOrt:
    """onnxruntime in the Worker."""

    def test_text_goes_in_and_comes_out(self, real):
        real.load("same.onnx", "onnx", 1, Control())
        words = np.array(["", "a", "größer"])
        assert real.run({"x": words}, Control()).outputs["y"].tolist() == words.tolist()
        ran = real.evaluate({"x": words}, 2, Control())
        assert ran.outputs["y"].tolist() == words.tolist()

    @pytest.mark.parametrize(
        ("file", "dtype"),
        [("listed.onnx", "sequence(tensor(float32))"), ("brain.onnx", "bfloat16")],
    )
    def test_what_is_no_tensor_has_its_type_and_cannot_be_run(self, real, file, dtype):
        loaded = real.load(file, "onnx", 1, Control())
        assert dtype in {one.dtype for one in (*loaded.inputs, *loaded.outputs)}
        shape = loaded.inputs[0].shape
        given = X if len(shape) == 2 else np.zeros(3, np.float16)
        assert refusal_of(lambda: real.run({"x": given}, Control()))

    def test_noise_is_refused_without_a_path(self, real, folder):
        said = refusal_of(lambda: real.load("noise.onnx", "onnx", 1, Control()))
        assert str(folder) not in said

    def test_weights_beside_a_model_are_found_in_memory_too(self, real):
        weights = np.array([1, 2, 3], np.float32)
        real.put("sub/w.bin", weights.tobytes(), Control())
        real.put("sub/m.onnx", models.outside("w.bin", weights).SerializeToString(), Control())
        real.put("other.bin", b"of another model", Control())
        real.load("sub/m.onnx", "onnx", 1, Control(), in_memory=True)
        assert real.run({"x": X * 0}, Control()).outputs["y"].tolist() == [[1, 2, 3]] * 2

    def test_a_file_begins_anew_after_it_was_loaded(self, real):
        raw = models.doubled().SerializeToString()
        for _ in range(2):
            real.put("again.onnx", raw, Control())
            real.load("again.onnx", "onnx", 1, Control(), in_memory=True)

    def test_two_threads_do_what_one_does(self, real):
        real.load("doubled.onnx", "onnx", 2, Control())
        assert real.run({"x": X}, Control()).outputs["y"].tolist() == (2 * X).tolist()

    def test_outputs_larger_than_one_frame_come_in_parts(self, real):
        real.load("doubled.onnx", "onnx", 1, Control())
        rows = np.ones((2_000_000, 3), np.float32)  # 24 MB: two parts in, two out
        ran = real.evaluate({"x": rows}, 100_000, Control())
        assert ran.outputs["y"].shape == rows.shape
        assert ran.outputs["y"].min() == ran.outputs["y"].max() == 2

    def test_an_answer_larger_than_a_frame_is_a_limit(self, start):
        worker = start()
        worker.load("filled.onnx", "onnx", 1, Control())
        with pytest.raises(WorkerFailed, match="limit 67108864") as failed:
            worker.run({"x": np.array([17 * 2**20])}, Control())
        assert failed.value.kind == "limit"

    def test_inputs_larger_than_a_frame_are_refused_before_they_are_sent(self, real, monkeypatch):
        monkeypatch.setattr(worker_process.frames, "WORKER_INPUT_SIZE_BYTES_MAX", 100)
        real.load("doubled.onnx", "onnx", 1, Control())
        rows = np.ones((100, 3), np.float32)
        assert "limit 100" in refusal_of(lambda: real.run({"x": rows}, Control()))

    def test_memory_that_is_not_there_is_a_limit(self, start):
        worker = start()
        worker.load("filled.onnx", "onnx", 1, Control())
        with pytest.raises(WorkerFailed) as failed:
            worker.run({"x": np.array([2**34])}, Control())
        assert failed.value.kind == "limit"

    def test_a_run_that_lasts_is_stopped_and_the_worker_goes_on(self, real):
        real.load("counting.onnx", "onnx", 1, Control())
        for ask in (
            real.run,
            lambda one, control: real.bench(one, replace(BLOCK, ns_most=10**12), control),
        ):
            control = cancels_after(1)
            with pytest.raises(Cancelled):
                ask({"x": np.array(2**60)}, control)
            assert real.run({"x": np.array(5)}, Control()).outputs["y"].tolist() == [5]

    def test_a_block_that_lasts_is_stopped_between_two_runs(self, real):
        real.load("doubled.onnx", "onnx", 1, Control())
        block = Block(runs_least=10**6, ns_least=10**12, ns_most=10**12, runs_most=10**6)
        with pytest.raises(Cancelled):
            real.bench({"x": X}, block, cancels_after(1))
        assert real.run({"x": X}, Control()).ns > 0

    def test_a_cancel_that_is_not_heard_ends_the_worker(self, start, monkeypatch):
        worker = start()
        worker.load("counting.onnx", "onnx", 1, Control())
        number = psutil.Process(worker._child.number)
        monkeypatch.setattr(asking, "CANCEL_SECONDS", 0.0)
        with pytest.raises(Cancelled):
            worker.run({"x": np.array(2**60)}, cancels_after(1))
        assert not number.is_running()
        with pytest.raises(WorkerFailed, match="has ended"):
            worker.run({"x": np.array(1)}, Control())

    def test_a_run_over_the_wall_is_a_timeout(self, start):
        worker = start()
        worker.load("counting.onnx", "onnx", 1, Control())
        worker._limits = replace(LIMITS, wall_seconds=0.3)  # the load may take its time
        with pytest.raises(WorkerFailed) as failed:
            worker.run({"x": np.array(2**60)}, Control())
        assert failed.value.kind == "timeout"

    def test_a_kill_from_another_thread_ends_a_run(self, start):
        worker = start()
        worker.load("counting.onnx", "onnx", 1, Control())
        control = Control(lambda *_: threading.Timer(0.05, worker.kill).start())
        with pytest.raises(WorkerFailed) as failed:
            worker.run({"x": np.array(2**60)}, control)
        assert failed.value.kind == "cancelled"

    def test_one_that_only_inspects_does_not_run(self, folder):
        worker = WorkerClient().start(Stage(folder), LIMITS, "inspect")
        try:
            said = refusal_of(lambda: worker.load("doubled.onnx", "onnx", 1, Control()))
            assert said == "a Worker of profile inspect runs nothing"
        finally:
            worker.close()


class TestTflite:
    """LiteRT in the Worker."""

    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("ai_edge_litert")

    def test_it_loads_and_runs(self, real):
        loaded = real.load("doubled.tflite", "tflite", 1, Control())
        assert loaded.runtime == "litert"
        assert loaded.inputs[0] == tensor("x", "float32", None, 3)
        for rows in (X, ROWS, X[:1]):
            assert real.run({"x": rows}, Control()).outputs["y"].tolist() == (2 * rows).tolist()

    def test_it_goes_over_rows_and_is_timed(self, real):
        real.load("doubled.tflite", "tflite", 1, Control(), optimisation="off")
        ran = real.evaluate({"x": ROWS}, 3, Control())
        assert ran.outputs["y"].tolist() == (2 * ROWS).tolist()
        assert len(real.bench({"x": X}, BLOCK, Control()).ns) >= 20

    def test_one_for_one_row_takes_one_row(self, real):
        real.load("by_one.tflite", "tflite", 1, Control())
        assert "[1, 3]" in refusal_of(lambda: real.run({"x": X}, Control()))
        ran = real.evaluate({"x": ROWS}, 3, Control())
        assert ran.outputs["y"].tolist() == (2 * ROWS).tolist()

    def test_it_runs_from_memory(self, real, folder):
        real.put("m.tflite", (folder / "doubled.tflite").read_bytes(), Control())
        real.load("m.tflite", "tflite", 1, Control(), in_memory=True)
        assert real.run({"x": X}, Control()).outputs["y"].tolist() == (2 * X).tolist()

    def test_noise_is_refused(self, real):
        assert refusal_of(lambda: real.load("noise.tflite", "tflite", 1, Control()))


def test_a_runtime_that_is_not_installed_is_named_with_its_extra():
    error = RuntimeMissing("load", "tflite", "tflite")
    assert isinstance(error, WorkerFailed)
    assert error.kind == "refused"
    for language in LANGUAGES:
        assert "hanse[tflite]" in say(error.code, error.values, language)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    new = PILLOW.fromarray
    colours = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    new(colours).save(folder / "rgb.png")
    new(255 - colours).save(folder / "other.png")
    new(np.full((2, 4), 200, np.uint8)).save(folder / "grey.png")
    new(np.full((2, 4), 0xC8FF, np.uint16)).save(folder / "deep.png")
    new(np.full((8, 8, 3), 90, np.uint8)).save(folder / "square.jpg")
    turned = PILLOW.Exif()
    turned[0x0112] = 6
    new(np.full((2, 4, 3), 90, np.uint8)).save(folder / "turned.jpg", exif=turned)
    new(colours).save(folder / "named.png", format="BMP")
    (folder / "cut.png").write_bytes((folder / "rgb.png").read_bytes()[:50])
    size = (100_000).to_bytes(4, "big") * 2
    parts = (b"IHDR" + size + b"\x08\x02\0\0\0", b"IDAT" + zlib.compress(bytes(100)), b"IEND")
    (folder / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            (len(one) - 4).to_bytes(4, "big") + one + zlib.crc32(one).to_bytes(4, "big")
            for one in parts
        )
    )
    return folder


@pytest.fixture(scope="module")
def reader(pictures):
    worker = WorkerClient().start(Stage(pictures), LIMITS, "run")
    yield worker
    worker.close()


class TestPictures:
    """Pictures, decoded in the Worker."""

    def test_they_come_as_they_are(self, reader):
        got = reader.read_images(["rgb.png", "other.png"], None, 3, Control())
        assert got.shape == (2, 2, 4, 3)
        assert got[0].ravel().tolist() == list(range(24))
        assert (got[0] + got[1] == 255).all()

    def test_they_are_resized_to_height_and_width(self, reader):
        got = reader.read_images(["rgb.png", "square.jpg"], (3, 5), 1, Control())
        assert got.shape == (2, 3, 5, 1)
        assert (abs(got[1].astype(int) - 90) < 3).all()

    def test_grey_of_sixteen_bits_keeps_its_upper_eight(self, reader):
        got = reader.read_images(["grey.png", "deep.png"], None, 1, Control())
        assert set(got.ravel().tolist()) == {200}

    def test_they_stand_as_the_camera_says(self, reader):
        assert reader.read_images(["turned.jpg"], None, 3, Control()).shape == (1, 4, 2, 3)

    @pytest.mark.parametrize(
        ("files", "said"),
        [
            (["bomb.png"], "10000000000 pixels"),
            (["cut.png"], "cut.png"),
            (["named.png"], "UnidentifiedImageError"),
            (["gone.png"], "gone.png"),
            (["rgb.png", "square.jpg"], "square.jpg has 8 x 8 pixels, others 4 x 2"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, reader, files, said):
        assert said in refusal_of(lambda: reader.read_images(files, None, 3, Control()))

    def test_many_are_asked_for_in_turns_and_progress_is_told(self, reader):
        seen = []
        files = ["rgb.png"] * 150
        got = reader.read_images(files, None, 3, Control(lambda *one: seen.append(one)))
        assert len(got) == 150
        assert {done for stage, done, total in seen if (stage, total) == ("images", 150)} >= {0, 1}


@pytest.mark.skipif(sys.platform != "linux", reason="places of other systems: not verified")
def test_it_runs_at_the_place_it_is_given(start):
    worker = start(replace(LIMITS, nice=3, cores=1))
    process = psutil.Process(worker._child.number)
    assert process.nice() == psutil.Process().nice() + 3
    assert len(process.cpu_affinity()) == 1


def test_a_model_in_memory_is_nowhere_on_the_disk(real, folder):
    before = sorted(folder.rglob("*"))
    real.put("secret.onnx", models.doubled().SerializeToString(), Control())
    real.load("secret.onnx", "onnx", 1, Control(), in_memory=True)
    if sys.platform == "linux":
        opened = Path(f"/proc/{real._child.number}/fd").iterdir()
        assert not any("secret" in str(one.readlink()) for one in opened)
    assert sorted(folder.rglob("*")) == before


def test_memory_grows_with_the_model_and_its_threads():
    gib, mib = 2**30, 2**20
    assert run_limits(0, 1, 5, 1.0).memory_bytes == 2 * gib
    larger = run_limits(500 * mib, 2, 5, 1.0, nice=0, cores=2)
    most = psutil.virtual_memory().total * 3 // 4
    assert larger.memory_bytes == min(most, gib + 2000 * mib + 256 * mib)
    assert (larger.nice, larger.cores, larger.write_bytes) == (0, 2, 0)


@pytest.mark.parametrize(
    ("file", "inputs"),
    [
        ("mnist.onnx", {"Input3": np.linspace(0, 1, 784, dtype=np.float32).reshape(1, 1, 28, 28)}),
        (
            "silero_vad_16k_op15.onnx",
            {
                "input": np.linspace(-1, 1, 576, dtype=np.float32).reshape(1, 576),
                "state": np.zeros((2, 1, 128), np.float32),
                "sr": np.array(16000),
            },
        ),
    ],
)
def test_a_real_model_answers_as_it_does_in_process(real, file, inputs):
    named = os.environ.get("HANSE_TEST_MODELS", "")
    if not named or not (Path(named) / file).is_file():
        pytest.skip("HANSE_TEST_MODELS names no folder of real models")
    raw = (Path(named) / file).read_bytes()
    session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
    real.put(file, raw, Control())
    real.load(file, "onnx", 1, Control(), in_memory=True)
    ran = real.run(inputs, Control())
    names = [one.name for one in session.get_outputs()]
    for name, wanted in zip(names, session.run(names, inputs), strict=True):
        assert np.allclose(ran.outputs[name], wanted, rtol=1e-4, atol=1e-5)
