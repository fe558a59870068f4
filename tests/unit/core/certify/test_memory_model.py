"""A sealed model run without its files: from piece keys, in memory, in a real Worker."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from hanse.core.artifacts.formats import FormatRefused
from hanse.core.artifacts.memory_opening import MemoryOpening, WrongPieceKey, piece_keys
from hanse.core.artifacts.tree import hash_leaves
from hanse.core.certify.client import WorkerClient
from hanse.core.certify.memory_model import SealedModel, TooLargeForMemory, free_memory_bytes
from hanse.core.certify.replay import Session, replay
from hanse.core.certify.source import StagedModel
from hanse.core.model.control import Control
from hanse.core.model.running import WorkerLimits
from tests.fakes.content import CONTENT_KEY, sealed
from tests.fakes.running import FakeModel, FakeRunner, tensor
from tests.fakes.trials import CLASSES, FEATURES, in_int8, network, on_trial

LIMITS = WorkerLimits(memory_bytes=3 * 2**30, cpu_seconds=50, wall_seconds=50.0)
WEIGHTS = "weights.bin"


def onnx_of(run, *, is_external=False):
    """Return the bytes of a network of ``tests.fakes.trials`` as ONNX, and those of its weights."""
    first, second = (one.astype(np.float32) for one in run.weights)
    tensors = [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")]
    data = b""
    if is_external:
        for one in tensors:
            start = len(data)
            data += one.raw_data
            one.ClearField("raw_data")
            one.data_location = TensorProto.EXTERNAL
            size = len(data) - start
            for key, value in (("location", WEIGHTS), ("offset", start), ("length", size)):
                entry = one.external_data.add()
                entry.key, entry.value = key, str(value)
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString(), data


def sealed_model(folder, *, is_external=False, keys=None, free=None):
    """Seal a network, drop its plain files, and return it as a buyer with piece keys has it."""
    graph, weights = onnx_of(network(), is_external=is_external)
    files = {"model.onnx": graph} | ({WEIGHTS: weights} if is_external else {})
    store, manifest, found = sealed(folder, files)
    for file in manifest.files:
        store.remove(file.root, file.size)
        store.layers.keep(file.root, file.size, [hash_leaves(files[file.path])])
    given = piece_keys(CONTENT_KEY, manifest) if keys is None else keys
    opening = MemoryOpening(manifest, found.manifest, given, store)
    scratch = folder / "scratch"
    scratch.mkdir()
    beside = (WEIGHTS,) if is_external else ()
    return SealedModel(
        "model.onnx", "onnx", opening, scratch, beside, free or (lambda: 2**34)
    ), store


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return sealed_model(tmp_path_factory.mktemp("sealed"), is_external=True)


def test_a_sealed_model_runs_in_a_worker_that_sees_no_file(model):
    source, store = model
    before = {path for path in store.folder.rglob("*") if path.is_file()}
    x = np.linspace(-1, 1, 2 * FEATURES, dtype=np.float32).reshape(2, FEATURES)
    with source.worker(WorkerClient(), LIMITS, Control()) as worker:
        loaded = source.load(worker, 1, Control())
        ran = worker.run({"x": x}, Control())
    assert [one.name for one in loaded.outputs] == ["logits"]
    assert np.allclose(ran.outputs["logits"], network()({"x": x})["logits"], atol=1e-5)
    assert {path for path in store.folder.rglob("*") if path.is_file()} == before
    assert list(source.scratch.iterdir()) == []


def test_a_trial_answered_elsewhere_is_replayed_on_the_delivered_files(tmp_path):
    trial = on_trial()
    trial.exchange(12)
    outcomes = {}
    for name, delivered in (("same", network()), ("swapped", in_int8(network()))):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(onnx_of(delivered)[0])
        source = StagedModel("model.onnx", "onnx", {"model.onnx": path}, tmp_path)
        with source.worker(WorkerClient(), LIMITS, Control()) as worker:
            session = Session(worker, source.load(worker, 1, Control()))
            found = replay(trial.granted, trial.exchanges, trial.seal_key, session, Control())
        outcomes[name] = found.verdict
    assert outcomes == {"same": "match", "swapped": "mismatch"}


# --- without a Worker -----------------------------------------------------------------------


def fake_runner():
    inputs = (tensor("x", "float32", None, FEATURES),)
    outputs = (tensor("logits", "float32", None, CLASSES),)
    return FakeRunner({"model.onnx": FakeModel(inputs, outputs, network())})


def test_weights_go_over_before_the_graph_and_both_whole(model):
    source, _ = model
    with source.worker(fake_runner(), LIMITS, Control()) as worker:
        source.load(worker, 1, Control())
        graph, weights = onnx_of(network(), is_external=True)
        assert worker.memory == {WEIGHTS: weights, "model.onnx": graph}
        assert list(worker.memory) == [WEIGHTS, "model.onnx"]
    assert worker.is_closed
    assert source.size_bytes == len(graph) + len(weights)


def test_a_model_over_sixty_percent_of_free_memory_is_refused_before_a_worker_starts(tmp_path):
    source, _ = sealed_model(tmp_path, free=lambda: 1000)
    runner = fake_runner()
    with pytest.raises(TooLargeForMemory) as caught, source.worker(runner, LIMITS, Control()):
        pass
    assert caught.value.values["most_bytes"] == 600
    assert runner.started == []


def test_a_graph_over_two_gibibytes_is_refused(model, monkeypatch):
    source, _ = model
    monkeypatch.setattr("hanse.core.certify.memory_model.MODEL_IN_MEMORY_SIZE_BYTES_MAX", 10)
    with pytest.raises(TooLargeForMemory) as caught:
        source.check_memory()
    assert caught.value.values["most_bytes"] == 10


def test_a_wrong_key_ends_the_load_and_the_worker(tmp_path):
    source, _ = sealed_model(tmp_path, keys=bytes(32))
    runner = fake_runner()
    with pytest.raises(WrongPieceKey), source.worker(runner, LIMITS, Control()) as worker:
        source.load(worker, 1, Control())
    assert runner.started[0].is_closed
    assert runner.started[0].memory == {}


def test_a_file_that_is_not_in_the_artifact_is_named(model):
    source, _ = model
    missing = SealedModel(
        source.file, source.format, source.opening, source.scratch, ("gone.bin",), source.free_bytes
    )
    with pytest.raises(FormatRefused) as caught:
        missing.check_memory()
    assert caught.value.values["found"] == "gone.bin"


def test_this_machine_has_memory():
    assert free_memory_bytes() > 2**20
