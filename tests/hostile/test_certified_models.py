"""Hostile model files that are certified: each comes to a result with its cause, and to no harm."""

from __future__ import annotations

import time

import msgspec
import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from hanse.core.attest.suites import bundled, read_suite
from hanse.core.certify.certifying import certify
from hanse.core.certify.checks.results import sentence_code
from hanse.core.certify.checks.suite_run import Job
from hanse.core.certify.client import WorkerClient
from hanse.core.certify.source import StagedModel
from hanse.core.clock import SystemClock
from hanse.core.model.control import Control
from hanse.core.sentences import LANGUAGES, say
from tests.fakes.certification import MACHINE, SETTINGS, manifest_of
from tests.hostile.case import MARKER, Case, write
from tests.hostile.make_models import cases
from tests.hostile.onnx_models import onnx_bytes

TRIED = (
    *("format.hashes", "format.paths", "format.magic", "format.limits"),
    *("onnx.domains", "onnx.tensors", "onnx.checker", "safety.policy", "run.load", "run.golden"),
)
QUESTION_SECONDS = 2
SECONDS_MAX = 60.0  # for one file, on a machine that does other things as well
PARENT_MEMORY_MAX = 512 * 1024**2  # what certifying may add to this process


def impatient():
    """Return the suite, cut to what looks and runs, with little patience."""
    quick = bundled().newest("quick").data
    checks = tuple(
        msgspec.structs.replace(
            one,
            params={
                key: QUESTION_SECONDS if key == "run_s" else value
                for key, value in one.params.items()
            },
            bounds=msgspec.structs.replace(one.bounds, wall_s=QUESTION_SECONDS),
        )
        for one in quick.checks
        if one.id in TRIED
    )
    return read_suite(msgspec.json.encode(msgspec.structs.replace(quick, checks=checks)))


# --- graphs that look sound and are not ---------------------------------------------------------


def big_at_run(times: int) -> bytes:
    """A graph that asks for a tensor whose size depends on its input: nobody sees it before."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Mul", ["shape", "times"], ["wanted"]),
        helper.make_node("ConstantOfShape", ["wanted"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    factor = numpy_helper.from_array(np.array([times, 1], np.int64), "times")
    return onnx_bytes(nodes=nodes, initializers=[factor])


def big_answer() -> bytes:
    """A graph whose answer is larger than a frame may be, and fits the memory of a Worker."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Mul", ["shape", "times"], ["wanted"]),
        helper.make_node("ConstantOfShape", ["wanted"], ["y"]),
    ]
    factor = numpy_helper.from_array(np.array([2**23, 1], np.int64), "times")
    return onnx_bytes(nodes=nodes, initializers=[factor])


def big_at_load() -> bytes:
    """A graph of constants that come to 2^40 numbers, which the runtime might compute at once."""
    ends = [
        numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in (("from", 0.0), ("to", 2.0**40), ("by", 1.0))
    ]
    nodes = [
        helper.make_node("Range", ["from", "to", "by"], ["all"]),
        helper.make_node("ReduceSum", ["all"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    return onnx_bytes(nodes=nodes, initializers=ends)


def growing_loop() -> bytes:
    """A Loop of 2^60 turns that keeps what each turn made."""
    number = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Identity", ["a"], ["b"]),
            helper.make_node("Identity", ["a"], ["kept"]),
        ],
        "body",
        [
            number("i", TensorProto.INT64, []),
            number("go", TensorProto.BOOL, []),
            number("a", TensorProto.FLOAT, ["n", 4]),
        ],
        [
            number("go_on", TensorProto.BOOL, []),
            number("b", TensorProto.FLOAT, ["n", 4]),
            number("kept", TensorProto.FLOAT, ["n", 4]),
        ],
    )
    trips = numpy_helper.from_array(np.array(2**60, np.int64), "trips")
    go = numpy_helper.from_array(np.array(True), "true")
    nodes = [helper.make_node("Loop", ["trips", "true", "x"], ["y", "all"], body=body)]
    return onnx_bytes(nodes=nodes, initializers=[trips, go])


def text_for_numbers() -> bytes:
    """A graph that gives text where it promised numbers."""
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING)]
    return onnx_bytes(nodes=nodes)


OWN = {
    "big_at_run": write(big_at_run(2**40)),
    "big_answer": write(big_answer),
    "big_at_load": write(big_at_load),
    "growing_loop": write(growing_loop),
    "text_for_numbers": write(text_for_numbers),
}
KNOWN = {one.name: one for one in cases()} | {
    name: Case(name, "m.onnx", make) for name, make in OWN.items()
}

# What each comes to: the check that fails, the kinds or the rule it may fail by.
RUN, LOAD = "run.golden", "run.load"
EXPECTED = {  # what inspection lets pass, and two that it does not
    "onnx_endless_loop": (RUN, {"timeout"}),
    "big_at_run": (RUN, {"limit"}),
    "pickle_named_onnx": ("format.magic", {"name_disagrees"}),
    "onnx_external_parent": ("format.paths", {"external_path"}),
}
EXPECTED_SLOW = {
    "big_answer": (RUN, {"limit"}),
    "growing_loop": (RUN, {"timeout", "limit"}),  # whichever comes first
    "big_at_load": (RUN, {"limit"}),
    "text_for_numbers": ("onnx.checker", {"checker"}),
    "onnx_custom_domain": ("onnx.domains", {"operator_domain"}),
    "onnx_constant_256_gib": ("onnx.tensors", {"tensor_size"}),
    "tflite_custom": (LOAD, {"refused"}),
    "text_named_onnx": ("format.magic", {"name_disagrees"}),
    "pickle_os_system": ("safety.policy", {"may_carry_code"}),
    "joblib_zlib": ("safety.policy", {"may_carry_code"}),
    "torch_zip": ("safety.policy", {"may_carry_code"}),
    "keras_lambda": ("safety.policy", {"convert_first"}),
}
SOUND = ("onnx_external_sound", "onnx_ifs_18", "onnx_ifs_doubling", "onnx_function_sound")
SOUND_SLOW = (*SOUND[1:], "onnx_opset_twice", "tflite_sound")


def job_for(name, folder):
    case = KNOWN[name]
    own = folder / "files"
    own.mkdir()
    case.make(own / case.file)
    scratch = folder / "scratch"
    scratch.mkdir()
    files = {
        one.relative_to(own).as_posix(): one
        for one in sorted(own.rglob("*"))
        if one.is_file() and not one.is_symlink()
    }
    kind = {".onnx": "onnx", ".tflite": "tflite"}.get((own / case.file).suffix)
    beside = frozenset(files) - {case.file}
    source = None if kind is None else StagedModel(case.file, kind, files, scratch, beside)
    return Job(manifest=manifest_of(files), source=source, files=files, scratch=scratch)


def certified(name, folder):
    began = time.monotonic()
    found = certify(
        job_for(name, folder),
        impatient(),
        WorkerClient(),
        SETTINGS,
        Control(),
        clock=SystemClock(),
        machine=MACHINE,
    )
    assert time.monotonic() - began < SECONDS_MAX
    assert psutil.Process().children(recursive=True) == []
    assert list((folder / "scratch").iterdir()) == []
    assert list(folder.rglob(MARKER)) == []
    return found.measured


def cause(check):
    """Return the word that says why a check failed: a kind of failure, a rule, or a reason."""
    match check.reason:
        case "worker":
            return check.values["kind"]
        case "format":
            return check.values["rule"]
        case _:
            return check.reason


@pytest.mark.parametrize(
    "name", [*EXPECTED, *(pytest.param(one, marks=pytest.mark.slow) for one in EXPECTED_SLOW)]
)
def test_it_comes_to_a_result_with_its_cause(name, tmp_path):
    before = psutil.Process().memory_info().rss
    limits = {one: psutil.Process().rlimit(one) for one in (psutil.RLIMIT_CPU, psutil.RLIMIT_AS)}
    measured = certified(name, tmp_path)
    failing, causes = (EXPECTED | EXPECTED_SLOW)[name]
    failed = [one for one in measured.checks if one.result == "fail"]
    assert failed[0].id == failing
    assert cause(failed[0]) in causes
    assert measured.outcome == "FAILED"
    assert measured.level == (1 if failing in (RUN, LOAD) else 0)
    for language in LANGUAGES:
        sentence = say(sentence_code(failed[0].reason), failed[0].values, language)
        assert sentence
        assert "\n" not in sentence
        assert "('" not in sentence
    assert psutil.Process().memory_info().rss - before < PARENT_MEMORY_MAX
    assert limits == {one: psutil.Process().rlimit(one) for one in limits}


@pytest.mark.parametrize(
    "name",
    [SOUND[0], *(pytest.param(one, marks=pytest.mark.slow) for one in SOUND_SLOW)],
)
def test_what_only_looks_odd_runs(name, tmp_path):
    measured = certified(name, tmp_path)
    assert [(one.id, one.reason) for one in measured.checks if one.result == "fail"] == []
    assert measured.level == 2
