"""A whole run: what is tried, what follows from a failure, and what comes out."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hanse.core.attest.levels import check_consistent
from hanse.core.attest.statement import encode_statement, read_statement, subjects_of
from hanse.core.attest.suites import bundled
from hanse.core.certify.certifying import Compared, Scope, certify, choose_checks
from hanse.core.certify.checks.quality import Evaluation
from hanse.core.certify.client import WorkerClient
from hanse.core.certify.compare import Tolerance
from hanse.core.certify.data import DataMapping, DataSet, QualityPlan
from hanse.core.certify.golden import GoldenVector, GoldenVectors, read_golden
from hanse.core.clock import SystemClock
from hanse.core.model.artifact import ModelFacts
from hanse.core.model.card import ModelCard, Result, Signature, Tensor
from hanse.core.model.certificate import CheckResult, Statement, Subject
from hanse.core.model.control import Cancelled, Control
from hanse.core.model.running import NoSandbox, WorkerFailed
from hanse.core.sentences import LANGUAGES, catalogue
from tests.fakes.certification import MACHINE, SETTINGS, job_of, suite_of
from tests.fakes.clock import FakeClock
from tests.fakes.running import FakeModel, FakeRunner, doubling, tensor
from tests.hostile.header_models import safetensors
from tests.hostile.onnx_models import onnx_bytes

REAL = os.environ.get("HANSE_TEST_MODELS", "")
FACTS = ModelFacts(
    format="onnx",
    file="model.onnx",
    inputs=(tensor("x", "float32", "n", 3),),
    outputs=(tensor("y", "float32", "n", 3),),
)
RUN = ("format.hashes", "run.load", "run.golden", "run.batch", "run.hostile")


class Counting:
    """A model's function that fails at one of its calls."""

    def __init__(self, make=lambda x: x * 2, at=0, error=None):
        self.calls = 0
        self._make, self._at, self._error = make, at, error

    def __call__(self, inputs):
        self.calls += 1
        if self.calls == self._at:
            raise self._error
        with np.errstate(over="ignore", invalid="ignore"):  # the largest numbers, twice
            return {"y": self._make(inputs["x"])}


def fake(function=None, **given):
    known = {"run": function or Counting(), "facts": FACTS} | given
    return FakeRunner({"model.onnx": doubling(**known)})


def run(job, suite, runner, **given):
    known = {"clock": FakeClock(), "machine": MACHINE} | given
    settings = known.pop("settings", SETTINGS)
    control = known.pop("control", None) or Control()
    return certify(job, suite, runner, settings, control, **known)


def results(found):
    return {one.id: one for one in found.measured.checks}


def words(found):
    return {one.id: (one.result, one.reason) for one in found.measured.checks}


def samples(*rows, outputs=True):
    vectors = []
    for row in rows:
        x = np.array([row], dtype=np.float32)
        vectors.append(GoldenVector({"x": x}, {"y": x * 2} if outputs else {}, "sample"))
    return GoldenVectors(tuple(vectors))


@pytest.fixture
def job(tmp_path):
    return job_of(tmp_path, onnx_bytes())


# --- the plan -----------------------------------------------------------------------------------


def planned(**changed):
    scope = Scope(frozenset({"onnx"}), False, True, True, True, 2)
    found = choose_checks(bundled().newest("core"), dataclasses.replace(scope, **changed))
    return {one.check.id: one.skip for one in found}


def test_every_check_is_planned_and_what_is_left_out_has_a_reason():
    assert {one for one, skip in planned().items() if skip} == {"st.header", "gguf.header"}
    assert planned(has_data=False)["quality.*"] == "no_data_set"
    assert planned(has_data=False, has_metric=False)["quality.*"] == "no_metric"
    assert planned(cores=1)["det.threads"] == "one_core"


def test_weights_without_a_graph_are_looked_at_and_not_run():
    found = planned(formats=frozenset({"safetensors"}), is_runnable=False)
    assert found["st.header"] == ""
    assert found["onnx.checker"] == "other_format"
    assert {skip for one, skip in found.items() if one.startswith(("run", "det", "measure"))} == {
        "not_runnable"
    }


def test_of_a_model_in_memory_no_file_is_looked_at():
    found = planned(is_in_memory=True)
    assert found["onnx.checker"] == found["format.magic"] == "in_memory"
    assert found["format.hashes"] == found["run.load"] == ""


@pytest.mark.parametrize("suite", ["core", "quick"])
def test_both_suites_hold_the_same_checks_and_all_are_named(suite):
    ids = [one.id for one in bundled().newest(suite).data.checks]
    assert ids == [one.id for one in bundled().newest("core").data.checks]
    for language in LANGUAGES:
        assert all(f"word.check.{one.replace('*', 'metric')}" in catalogue(language) for one in ids)


def test_suites_differ_in_hash_so_their_figures_never_compare():
    assert bundled().newest("core").sha256 != bundled().newest("quick").sha256


# --- the straight way ---------------------------------------------------------------------------


def test_a_sound_model_passes_and_its_outputs_are_kept(job):
    found = run(dataclasses.replace(job, samples=samples([1, 2, 3])), suite_of(), fake())
    measured = found.measured
    assert measured.outcome == "PASSED"
    assert (measured.level, measured.isolation.grade) == (2, "full")  # no data set, so not 3
    assert measured.determinism.repeat == measured.determinism.threads == "bitwise"
    golden = read_golden(found.golden)
    assert (measured.golden.n, len(golden.vectors)) == (9, 9)
    assert golden.vectors[0].outputs["y"].tolist() == [[2, 4, 6]]
    assert [one.origin for one in golden.vectors] == ["sample"] + ["generated"] * 8
    assert [(one.batch, one.threads) for one in measured.perf] == [(1, 1), (8, 1), (1, 2), (8, 2)]
    assert measured.memory.peak_kib >= measured.memory.loaded_kib


def test_every_worker_is_ended(job):
    runner = fake()
    run(job, suite_of(), runner)
    assert runner.started
    assert all(one.is_closed for one in runner.started)


def test_what_is_measured_gets_a_fresh_worker(job):
    runner = fake()
    run(job, suite_of(*RUN), runner)
    shared = len(runner.started)
    runner = fake()
    run(job, suite_of(*RUN, "measure.latency"), runner)
    assert len(runner.started) == shared + 2  # one for each number of threads


def test_without_a_lock_there_is_no_result(job):
    runner = fake()
    runner.fails["start"] = NoSandbox(layer="landlock", reason="ABI 0")
    with pytest.raises(NoSandbox):
        run(job, suite_of(), runner)


def test_a_cancelled_run_leaves_and_ends_its_workers(job):
    runner, control = fake(), Control()
    kept = []

    def keep(result):
        kept.append(result.id)
        if result.id == "run.load":
            control.cancel()

    with pytest.raises(Cancelled):
        run(job, suite_of(), runner, keep=keep, control=control)
    assert kept[-1] == "run.load"
    assert all(one.is_closed for one in runner.started)


def test_what_comes_out_can_be_stated_and_is_consistent(job):
    given = dataclasses.replace(job, samples=samples([1, 2, 3]), evaluations=(evaluation(),))
    found = run(given, suite_of(), fake())
    subjects = subjects_of(
        job.manifest.artifact_id, [Subject(one.path, one.sha256) for one in job.manifest.files]
    )
    stated = Statement(
        subjects=subjects,
        artifact=job.manifest.artifact_id,
        files=1,
        size=job.manifest.size,
        made_from=None,
        role="tester",
        release=None,
        grant=None,
        supersedes=None,
        measured=found.measured,
        parity=None,
        reproduces=None,
        nonce=bytes(16),
    )
    assert read_statement(encode_statement(stated)) == stated
    check_consistent(stated, suite_of())


# --- failures -----------------------------------------------------------------------------------


def test_of_a_file_that_is_another_nothing_further_is_tried(job):
    job.files["model.onnx"].write_bytes(b"other")
    runner = fake()
    found = run(job, suite_of(), runner)
    assert found.measured.level == 0
    assert words(found).pop("format.hashes") == ("fail", "hash_differs")
    others = {one for name, one in words(found).items() if name != "format.hashes"}
    assert others == {("skip", "earlier_failed")}
    assert not runner.started


def test_what_breaks_a_rule_of_its_format_is_not_run(job):
    runner = fake()
    runner.fails["inspect"] = WorkerFailed("crash", "inspect", "signal 11")
    found = run(job, suite_of(), runner)
    assert words(found)["onnx.checker"] == ("fail", "worker")
    assert words(found)["run.load"] == ("skip", "earlier_failed")
    assert found.measured.level == 0


def test_a_model_that_does_not_load_is_not_run(job):
    runner = fake()
    runner.fails["load"] = WorkerFailed("limit", "load", "memory")
    found = run(job, suite_of(), runner)
    assert results(found)["run.load"].values["kind"] == "limit"
    assert words(found)["run.golden"] == words(found)["measure.load"] == ("skip", "earlier_failed")
    assert found.measured.level == 1


def test_a_crash_is_the_failure_of_its_check_and_others_get_a_new_worker(job):
    function = Counting(at=3, error=WorkerFailed("crash", "run", "signal 11"))
    runner = fake(function)
    found = run(job, suite_of(*RUN), runner)
    assert words(found)["run.golden"] == ("fail", "worker")
    assert words(found)["run.batch"][0] == words(found)["run.hostile"][0] == "pass"
    assert results(found)["run.golden"].values["detail"] == "signal 11"


@pytest.mark.parametrize("kind", ["crash", "timeout", "limit"])
def test_nonsense_may_be_refused_and_must_not_kill(job, kind):
    def refuse(inputs):
        if not np.isfinite(inputs["x"]).all():
            raise ValueError("not finite")
        return {"y": inputs["x"]}

    def die(inputs):
        if np.isnan(inputs["x"]).any():
            raise WorkerFailed(kind, "run", "odd")
        return {"y": inputs["x"]}

    suite = suite_of("run.load", "run.golden", "run.hostile")
    refused = results(run(job, suite, fake(refuse)))["run.hostile"]
    assert (refused.result, refused.detail) == ("pass", "3 answered, 2 refused")
    died = results(run(job, suite, fake(die)))["run.hostile"]
    assert (died.result, died.reason) == ("fail", "hostile")
    assert (died.values["input"], died.values["kind"]) == ("nan", kind)


def test_another_signature_than_the_file_says_fails(job):
    outputs = (tensor("y", "float64", "n", 3),)
    found = run(job, suite_of("format.magic", "run.load"), fake(outputs=outputs))
    assert results(found)["run.load"].values == {"tensor": "y"}


def test_outputs_other_than_the_sellers_fail_and_say_by_how_much(job):
    given = samples([1, 2, 3])
    given.vectors[0].outputs["y"][0, 1] += 0.5
    found = run(dataclasses.replace(job, samples=given), suite_of(*RUN), fake())
    one = results(found)["run.golden"]
    assert (one.result, one.reason) == ("fail", "sample_differs")
    assert one.values == {"tensor": "y", "number": 1, "max_abs": "0.5"}


def test_a_declared_tolerance_is_held_to_the_samples(job):
    given = samples([1, 2, 3])
    given.vectors[0].outputs["y"][0, 1] += 0.0001
    job = dataclasses.replace(job, samples=given)
    suite = suite_of("run.load", "run.golden")
    assert results(run(job, suite, fake()))["run.golden"].result == "pass"
    tight = dataclasses.replace(job, declared=Tolerance(1000, 1000))
    assert results(run(tight, suite, fake()))["run.golden"].reason == "sample_differs"


def test_a_batch_whose_rows_are_others_fails(job):
    found = run(job, suite_of(*RUN), fake(Counting(lambda x: x - x[:1])))
    assert words(found)["run.batch"] == ("fail", "batch_differs")


def test_a_batch_that_gives_one_answer_is_told(job):
    found = run(job, suite_of(*RUN), fake(Counting(lambda x: x[:1] * 2)))
    assert words(found)["run.batch"] == ("warn", "not_by_rows")


def test_a_model_of_one_row_is_not_batched(job):
    fixed = (tensor("x", "float32", 1, 3),)
    facts = msgspec.structs.replace(FACTS, inputs=fixed)
    found = run(job, suite_of(*RUN, "measure.latency"), fake(inputs=fixed, facts=facts))
    assert words(found)["run.batch"] == ("skip", "fixed_batch")
    assert {one.batch for one in found.measured.perf} == {1}


def test_values_that_are_no_numbers_fail_within_a_stated_range_and_are_told_without(job):
    suite = suite_of("run.load", "run.golden")
    found = run(job, suite, fake(Counting(np.sqrt)))
    assert words(found)["run.golden"] == ("warn", "not_finite_generated")
    stated = Tensor(name="x", dtype="float32", low_micro=-1_000_000, high_micro=0)
    card = ModelCard(signature=Signature(inputs=(stated,)))
    found = run(dataclasses.replace(job, card=card), suite, fake(Counting(np.sqrt)))
    assert words(found)["run.golden"] == ("fail", "not_finite")


def test_made_up_inputs_may_be_refused_where_samples_run(job):
    def only_large(inputs):
        if inputs["x"].max() < 10:
            raise ValueError("too small")
        return {"y": inputs["x"] * 2}

    suite = suite_of("run.load", "run.golden", "measure.latency")
    found = run(dataclasses.replace(job, samples=samples([1, 2, 30])), suite, fake(only_large))
    assert words(found)["run.golden"] == ("warn", "generated_refused")
    assert len(found.measured.perf) == 2
    found = run(job, suite, fake(only_large))
    assert words(found)["run.golden"] == ("fail", "no_input_runs")
    assert words(found)["measure.latency"] == ("skip", "no_vectors")


def test_an_open_dimension_gets_a_size_the_model_takes(job):
    longer = (tensor("x", "float32", "n", "length"),)

    def at_least_60(inputs):
        if inputs["x"].shape[1] < 60:
            raise ValueError("too short")
        return {"y": inputs["x"]}

    model = {"inputs": longer, "outputs": (tensor("y", "float32", "n", "length"),)}
    facts = msgspec.structs.replace(FACTS, **model)
    runner = fake(at_least_60, facts=facts, **model)
    found = run(job, suite_of("run.load", "run.golden"), runner)
    assert read_golden(found.golden).vectors[0].inputs["x"].shape == (1, 64)


# --- again, and measured ------------------------------------------------------------------------


def test_outputs_that_change_by_themselves_fail(job):
    function = Counting()
    function._make = lambda x: x + function.calls
    suite = suite_of("run.load", "run.golden", "det.repeat", "det.session")
    found = run(job, suite, fake(function))
    assert words(found)["det.repeat"] == words(found)["det.session"] == ("fail", "run_differs")
    assert found.measured.determinism.repeat == "differs"
    assert found.measured.determinism.threads == "not_measured"


def test_outputs_within_the_tolerance_are_not_called_bitwise(job):
    function = Counting()
    function._make = lambda x: x + np.float32(1e-6 * function.calls)
    suite = suite_of("run.load", "run.golden", "det.repeat")
    found = run(job, suite, fake(function))
    assert found.measured.determinism.repeat == "tolerance"


def test_a_block_in_which_the_machine_slept_is_timed_again(job):
    clock, function = FakeClock(), Counting()
    suite = suite_of("run.load", "run.golden", "measure.latency")
    calls = []

    def sleep_once(x):
        calls.append(len(x))
        if len(calls) == 11:  # the first block: 1 to choose sizes, 8 generated, 1 block before
            clock.advance(60_000)
        return x * 2

    function._make = sleep_once
    found = run(job, suite, fake(function), clock=clock)
    one = results(found)["measure.latency"]
    assert (one.result, one.reason, one.values) == ("pass", "slept_in_block", {"count": 1})
    assert all(len(row.blocks) == 3 for row in found.measured.perf)


def test_a_machine_that_always_sleeps_measures_nothing(job):
    clock, function = FakeClock(), Counting()
    function._make = lambda x: clock.advance(60_000) or x
    suite = suite_of("run.load", "run.golden", "measure.latency")
    found = run(job, suite, fake(function), clock=clock)
    assert words(found)["measure.latency"] == ("fail", "slept")
    assert found.measured.perf == ()


# --- interrupted and in memory ------------------------------------------------------------------


def test_what_stood_before_is_not_tried_again_and_measurements_are(job):
    before = {
        one: CheckResult(one, "pass", detail="before")
        for one in ("format.hashes", "run.hostile", "run.golden", "measure.latency")
    }
    kept = []
    found = run(job, suite_of(*RUN, "measure.latency"), fake(), done=before, keep=kept.append)
    again = {name: one.detail != "before" for name, one in results(found).items()}
    assert not again["format.hashes"]
    assert not again["run.hostile"]
    assert again["run.golden"]
    assert again["measure.latency"]
    assert found.golden is not None
    assert {one.id for one in kept} == {"run.load", "run.golden", "run.batch", "measure.latency"}


def test_a_failure_before_the_interruption_still_blocks(job):
    before = {"format.hashes": CheckResult("format.hashes", "fail", "hash_differs")}
    found = run(job, suite_of(*RUN), fake(), done=before)
    assert words(found)["run.load"] == ("skip", "earlier_failed")


def test_a_sealed_model_is_run_without_its_files(job):
    sealed = dataclasses.replace(job, files=None, scratch=None, facts=(FACTS,))
    found = run(sealed, suite_of(), fake())
    assert words(found)["format.hashes"] == ("pass", "by_pieces")
    assert words(found)["onnx.checker"] == ("skip", "in_memory")
    assert found.measured.level == 2


def test_weights_come_to_level_one(tmp_path):
    job = job_of(tmp_path, safetensors({}, b""), "weights.safetensors")
    facts = ModelFacts(format="safetensors", file="weights.safetensors")
    runner = FakeRunner({"weights.safetensors": doubling(facts=facts)})
    found = run(job, suite_of(), runner)
    assert (found.measured.level, found.measured.isolation.grade) == (1, "none")
    assert found.measured.runtime is None
    assert found.golden is None


def test_a_pickle_stays_at_level_zero_and_is_never_run(tmp_path):
    job = job_of(tmp_path, b"\x80\x02]q\x00.", "model.pkl")
    facts = ModelFacts(format="pickle", file="model.pkl")
    found = run(job, suite_of(), FakeRunner({"model.pkl": doubling(facts=facts)}))
    assert found.measured.level == 0
    assert words(found)["safety.policy"] == ("fail", "may_carry_code")
    assert words(found)["run.load"] == ("skip", "earlier_failed")


# --- reproducing --------------------------------------------------------------------------------


def test_the_vectors_of_another_certificate_are_run_and_counted(job):
    suite = suite_of("run.load", "run.golden")
    reference = read_golden(run(job, suite, fake()).golden)
    again = run(dataclasses.replace(job, reference=reference), suite, fake())
    assert again.compared == Compared(compared=8, failing=0, max_abs_nano=0)
    assert again.compared.verdict == "agree"
    other = run(dataclasses.replace(job, reference=reference), suite, fake(Counting(lambda x: x)))
    assert (other.compared.failing, other.compared.verdict) == (8, "differ")


def test_what_cannot_be_run_cannot_be_compared(job):
    suite = suite_of("run.load", "run.golden")
    reference = samples([1, 2, 3])
    runner = fake()
    runner.fails["load"] = WorkerFailed("crash", "load", "")
    found = run(dataclasses.replace(job, reference=reference), suite, runner)
    assert (found.compared.verdict, found.compared.reason) == ("not_comparable", "not_run")


def test_an_input_of_the_other_that_is_refused_differs(job):
    wide = GoldenVector({"x": np.zeros((1, 9), np.float32)}, {"y": np.zeros(1)}, "sample")
    reference = GoldenVectors((*samples([1, 2, 3]).vectors, wide))
    found = run(
        dataclasses.replace(job, reference=reference), suite_of("run.load", "run.golden"), fake()
    )
    assert (found.compared.compared, found.compared.failing) == (2, 1)


# --- quality ------------------------------------------------------------------------------------


def evaluation(n=120, wrong=12):
    x = np.eye(3, dtype=np.float32)[np.arange(n) % 3]
    truth = np.arange(n) % 3
    truth[:wrong] = (truth[:wrong] + 1) % 3
    dataset = DataSet(
        name="thirds",
        sha256=b"d" * 32,
        n=n,
        inputs={"x": x},
        truth=truth,
        targets=("label",),
        mapping=DataMapping(),
        recipe_sha256=b"r" * 32,
    )
    plan = QualityPlan(
        task="tabular-classification",
        kind="classification",
        metrics=("accuracy",),
        labels=("0", "1", "2"),
    )
    return Evaluation(dataset, plan, is_public=True)


def claiming(value_micro):
    claim = Result(dataset="thirds", sha256=b"d" * 32, metric="accuracy", value_micro=value_micro)
    return ModelCard(claims=(claim,))


def test_a_claim_outside_the_interval_on_the_bad_side_fails_with_both_figures(job):
    suite = suite_of("run.load", "run.golden", "quality.*")
    model = {"outputs": (tensor("probabilities", "float32", "n", 3),)}
    facts = msgspec.structs.replace(FACTS, **model)

    def scores(inputs):
        return {"probabilities": inputs["x"]}

    def found(claimed_micro):
        claimed = dataclasses.replace(
            job, evaluations=(evaluation(),), card=claiming(claimed_micro)
        )
        return run(claimed, suite, fake(scores, facts=facts, **model))

    right, low, high = found(900_000), found(500_000), found(990_000)
    assert results(right)["quality.accuracy"].result == "pass"
    assert results(low)["quality.accuracy"].result == "pass"
    (row,) = right.measured.quality
    assert (row.value_micro, row.n, row.is_public) == (900_000, 120, True)
    one = results(high)["quality.accuracy"]
    assert (one.result, one.reason) == ("fail", "claim_worse")
    assert (one.values["claimed"], one.values["measured"]) == ("0.99", "0.9")


def test_few_rows_are_measured_and_told(job):
    outputs = (tensor("probabilities", "float32", "n", 3),)
    runner = fake(
        lambda inputs: {"probabilities": inputs["x"]},
        outputs=outputs,
        facts=msgspec.structs.replace(FACTS, outputs=outputs),
    )
    job = dataclasses.replace(job, evaluations=(evaluation(n=30, wrong=3),))
    found = run(job, suite_of("run.load", "run.golden", "quality.*"), runner)
    assert words(found)["quality.accuracy"] == ("warn", "few_rows")


def test_data_of_the_listing_that_cannot_be_read_fail_their_check_and_no_other(job):
    outputs = (tensor("probabilities", "float32", "n", 3),)
    runner = fake(
        lambda inputs: {"probabilities": inputs["x"]},
        outputs=outputs,
        facts=msgspec.structs.replace(FACTS, outputs=outputs),
    )
    suite = suite_of("run.load", "run.golden", "quality.*")
    unread = dataclasses.replace(job, unreadable=("rows.csv", "no column age"))
    found = run(unread, suite, runner)
    assert words(found)["quality.metric"] == ("fail", "not_judged")
    assert results(found)["run.golden"].result == "pass"
    both = run(dataclasses.replace(unread, evaluations=(evaluation(),)), suite, runner)
    assert words(both)["quality.metric"] == ("fail", "not_judged")
    assert results(both)["quality.accuracy"].result == "pass"


def test_data_the_model_refuses_are_told(job):
    def refuse(inputs):
        if len(inputs["x"]) > 8:
            raise ValueError("too many rows")
        return {"y": inputs["x"]}

    job = dataclasses.replace(job, evaluations=(evaluation(),))
    found = run(job, suite_of("run.load", "run.golden", "quality.*"), fake(refuse))
    assert words(found)["quality.metric"] == ("fail", "data_refused")


# --- real Workers -------------------------------------------------------------------------------


def test_a_real_worker_comes_to_what_a_fake_one_does(tmp_path):
    job = job_of(tmp_path, onnx_bytes())
    suite = suite_of(
        *(*RUN, "format.magic", "onnx.checker", "safety.policy"),
        *("det.repeat", "measure.latency", "measure.memory"),
        block_ms_least=1,
    )
    settings = dataclasses.replace(SETTINGS, threads=1)
    real = run(job, suite, WorkerClient(), clock=SystemClock(), settings=settings)
    signature = {
        "inputs": (tensor("x", "float32", "n", 4),),
        "outputs": (tensor("y", "float32", "n", 4),),
    }
    model = FakeModel(
        **signature,
        run=lambda inputs: {"y": np.maximum(inputs["x"], 0)},
        facts=msgspec.structs.replace(FACTS, **signature),
    )
    faked = run(job, suite, FakeRunner({"model.onnx": model}), settings=settings)
    assert {name: one[0] for name, one in words(real).items()} == {
        name: one[0] for name, one in words(faked).items()
    }
    assert real.golden == faked.golden
    assert real.measured.level == faked.measured.level == 2
    assert real.measured.isolation.layers
    assert real.measured.memory.peak_kib >= real.measured.memory.loaded_kib > 0


@pytest.mark.skipif(not REAL, reason="HANSE_TEST_MODELS names no folder of real models")
@pytest.mark.parametrize("name", ["mnist.onnx", "silero_vad_16k_op15.onnx"])
def test_a_real_model_comes_to_level_two(tmp_path, name):
    job = job_of(tmp_path, Path(REAL, name).read_bytes())
    suite = suite_of(*RUN, "format.magic", "onnx.checker", "det.repeat", "det.session")
    found = run(job, suite, WorkerClient(), clock=SystemClock())
    assert found.measured.level == 2
    assert found.measured.determinism.repeat == "bitwise"
