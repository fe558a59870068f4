"""Single checks: structure, the safety policy, scanners, and what a reader's rule belongs to."""

from __future__ import annotations

import dataclasses
import re

import pytest

from hanse.core.artifacts.formats import FormatRefused, Recognised, recognise
from hanse.core.certify.checks import structure
from hanse.core.certify.checks.results import (
    failed,
    failed_by,
    failed_worker,
    passed,
    sentence_code,
)
from hanse.core.certify.checks.scanning import said_by_scanner, scan_pickle
from hanse.core.certify.checks.structure import Looked, check_of_rule
from hanse.core.certify.generated import NoInput
from hanse.core.model.artifact import ModelFacts
from hanse.core.model.control import Cancelled, Control
from hanse.core.model.running import WorkerFailed
from hanse.core.sentences import LANGUAGES, catalogue, say
from tests.fakes.certification import job_of, manifest_of
from tests.fakes.running import FakeRunner, doubling
from tests.hostile.onnx_models import onnx_bytes
from tests.hostile.pickled_models import pickled


def integrity(job, control=None):
    return structure.check_integrity("format.hashes", job.manifest, job.files, control or Control())


def runner_that_reads(paths):
    """A runner whose Workers find nothing to say against any file."""
    return FakeRunner(
        {
            name: doubling(facts=ModelFacts(format=recognise(path, name), file=name))
            for name, path in paths.items()
        }
    )


def policy(tmp_path, *files):
    """Apply the policy to files of (name, bytes)."""
    paths = {}
    for name, raw in files:
        paths[name] = tmp_path / name
        paths[name].write_bytes(raw)
    looked = structure.look(paths, tmp_path, runner_that_reads(paths), Control())
    return structure.check_policy("safety.policy", looked, paths, Control())


# --- integrity ----------------------------------------------------------------------------------


def test_files_of_the_manifest_pass(tmp_path):
    found = integrity(job_of(tmp_path, onnx_bytes()))
    assert (found.result, found.detail) == ("pass", "1 of 1")


@pytest.mark.parametrize("change", [lambda raw: raw[:-1] + b"!", lambda raw: raw + b"!", bytes])
def test_other_bytes_fail_and_name_the_file(tmp_path, change):
    job = job_of(tmp_path, onnx_bytes())
    path = job.files["model.onnx"]
    path.write_bytes(change(path.read_bytes()) if change is not bytes else b"")
    found = integrity(job)
    assert (found.result, found.reason) == ("fail", "hash_differs")
    assert found.values == {"file": "model.onnx"}


def test_a_file_whose_root_is_another_fails_though_its_sha256_is_right(tmp_path):
    job = job_of(tmp_path, onnx_bytes())
    (entry,) = job.manifest.files
    forged = dataclasses.replace(job.manifest, files=(dataclasses.replace(entry, root=b"r" * 32),))
    assert integrity(dataclasses.replace(job, manifest=forged)).reason == "hash_differs"


def test_a_file_too_many_or_too_few_fails(tmp_path):
    job = job_of(tmp_path, onnx_bytes())
    beside = job.files | {"more.txt": job.files["model.onnx"]}
    assert integrity(dataclasses.replace(job, files=beside)).reason == "file_extra"
    assert integrity(dataclasses.replace(job, files={})).reason == "file_missing"


def test_a_sealed_model_was_checked_by_pieces(tmp_path):
    job = dataclasses.replace(job_of(tmp_path, onnx_bytes()), files=None)
    assert (integrity(job).result, integrity(job).reason) == ("pass", "by_pieces")


def test_hashing_is_left_when_a_person_says_so(tmp_path):
    control = Control()
    control.cancel()
    with pytest.raises(Cancelled):
        integrity(job_of(tmp_path, onnx_bytes()), control)


def test_a_long_file_has_the_root_of_its_pieces(tmp_path):
    raw = bytes(range(256)) * 4 * 1024 * 2 + b"end"  # two Pieces and a bit
    path = tmp_path / "weights.bin"
    path.write_bytes(raw)
    assert (
        structure.check_integrity(
            "format.hashes", manifest_of({"weights.bin": path}), {"weights.bin": path}, Control()
        ).result
        == "pass"
    )


# --- rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "kind", "check"),
    [
        ("name_disagrees", "onnx", "format.magic"),
        ("operator_domain", "onnx", "onnx.domains"),
        ("opset_newer", "onnx", "onnx.domains"),
        ("tensor_bytes", "onnx", "onnx.tensors"),
        ("external_missing", "onnx", "onnx.tensors"),
        ("external_path", "onnx", "format.paths"),
        ("nodes", "onnx", "format.limits"),
        ("checker", "onnx", "onnx.checker"),
        ("runtime", "onnx", "onnx.checker"),
        ("key_twice", "safetensors", "st.header"),
        ("keys", "gguf", "gguf.header"),
        ("truncated", "tflite", "format.magic"),
        ("tables", "tflite", "format.limits"),
    ],
)
def test_a_rule_of_a_reader_belongs_to_one_check(rule, kind, check):
    assert check_of_rule(rule, kind) == check


def test_every_rule_that_can_be_said_belongs_to_a_check_of_the_suite():
    rules = [
        code.rpartition(".")[2]
        for code in catalogue("en")
        if code.startswith("format.refused.rule.")
    ]
    named = structure._MAGIC | structure._PATHS | structure._DOMAINS | structure._TENSORS
    assert (named | structure._LIMITS) <= set(rules)
    for rule in rules:
        for kind in ("onnx", "tflite", "gguf", "safetensors"):
            assert re.fullmatch(r"(format|onnx|st|gguf)\.\w+", check_of_rule(rule, kind))


def test_what_the_reader_did_not_come_to_is_undecided():
    fault = failed("onnx.domains", "format")
    looked = Looked((Recognised("m.onnx", "onnx", "m.onnx"),), refused={"onnx.domains": fault})
    assert structure.check_read("onnx.domains", looked) is fault
    left = structure.check_read("onnx.checker", looked)
    assert (left.result, left.reason) == ("skip", "earlier_failed")
    assert structure.check_read("format.magic", looked).result == "pass"


def test_a_name_that_disagrees_fails_before_any_worker_starts(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(pickled(path, "os", "system", "true"))
    runner = FakeRunner()
    looked = structure.look({"model.onnx": path}, tmp_path, runner, Control())
    assert looked.refused["format.magic"].values["rule"] == "name_disagrees"
    assert not runner.started


def test_a_worker_that_dies_while_it_reads_fails_the_reader(tmp_path):
    job = job_of(tmp_path, onnx_bytes())
    runner = FakeRunner(fails={"inspect": WorkerFailed("crash", "inspect", "signal 11")})
    looked = structure.look(job.files, job.scratch, runner, Control())
    assert looked.refused["onnx.checker"].values["kind"] == "crash"


# --- the safety policy --------------------------------------------------------------------------


def test_a_graph_is_allowed_by_its_format(tmp_path):
    found = policy(tmp_path, ("model.onnx", onnx_bytes()))
    assert (found.result, found.detail) == ("pass", "onnx")


def test_a_pickle_is_never_called_safe(tmp_path):
    harmless = b"\x80\x02]q\x00."  # an empty list
    found = policy(tmp_path, ("model.pkl", harmless))
    assert (found.result, found.reason) == ("fail", "may_carry_code")
    assert found.detail == "unknown"
    assert "safe" not in str(found).replace("safety", "")


def test_what_can_be_converted_is_sent_there(tmp_path):
    found = policy(tmp_path, ("model.h5", b"\x89HDF\r\n\x1a\n" + bytes(600)))
    assert (found.result, found.reason) == ("fail", "convert_first")


def test_code_beside_a_graph_is_told_and_does_not_stop_it(tmp_path):
    files = (("model.onnx", onnx_bytes()), ("old.pkl", b"\x80\x02]q\x00."))
    found = policy(tmp_path, *files)
    assert (found.result, found.reason) == ("warn", "code_beside")
    assert found.values["file"] == "old.pkl"


def test_a_folder_without_a_model_fails(tmp_path):
    found = policy(tmp_path, ("a.txt", b"words"), ("b.txt", b"words"))
    assert (found.result, found.reason) == ("fail", "no_model")


@pytest.mark.parametrize(
    ("output", "names"),
    [
        ('noise\n["os.system", "builtins.eval"]\n', ("os.system", "builtins.eval")),
        ("[]", ()),
        ("", ()),
        ("Traceback", ()),
        ('{"a": 1}', ()),
        ("[1]", ()),
        ('["a\\u001b[31m"]', ("a?[31m",)),
        ("[" * 100_000, ()),
    ],
)
def test_a_scanner_says_what_it_found_or_nothing(output, names):
    assert said_by_scanner(output) == names


def test_without_a_scanner_nothing_is_known(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x02]q\x00.")
    assert scan_pickle(path) == ()


# --- how results are said -----------------------------------------------------------------------


def test_every_reason_has_its_sentence_with_the_values_of_its_result(tmp_path):
    results = [
        failed_worker("run.load", WorkerFailed("crash", "load", "signal 11")),
        failed_by("format.magic", FormatRefused(file="a", rule="empty", found="", allowed="")),
        failed_by("run.batch", NoInput("x", "type", "bfloat16")),
        failed_by("format.hashes", Cancelled()),
        policy(tmp_path, ("model.pkl", b"\x80\x02]q\x00.")),
        integrity(dataclasses.replace(job_of(tmp_path, onnx_bytes()), files=None)),
    ]
    for language in LANGUAGES:
        for one in results:
            assert say(sentence_code(one.reason), one.values, language)
            assert say(f"check.reason.{one.reason}", one.values, language)


def test_several_values_that_a_rule_allows_are_said_as_people_write_them():
    error = FormatRefused(file="a", rule="name_disagrees", found="pickle", allowed=("onnx", "ort"))
    assert failed_by("format.magic", error).values["allowed"] == "onnx, ort"


def test_values_and_details_are_cut():
    found = passed("run.load", "d" * 1000, "refused", said="s" * 1000)
    assert (len(found.detail), len(found.values["said"])) == (200, 200)
