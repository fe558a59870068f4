"""Certifying at the terminal, over the real engine and real Workers: good and bad input."""

from __future__ import annotations

import base64
import json
import signal
import time

import pytest

from hanse.app.bootstrap import Bootstrap
from hanse.app.cli import main
from hanse.core.certify.client import WorkerClient
from hanse.core.certify.lockdown import Offer
from hanse.core.clock import SystemClock
from hanse.core.engine.engine import Engine
from hanse.core.engine.home import Home
from hanse.core.errors import EXIT_DONE, EXIT_ENVIRONMENT, EXIT_NO, EXIT_REFUSED, EXIT_WRONG_USE
from hanse.core.market.samples import sample_model
from hanse.core.model.card import CHECKLIST
from hanse.core.model.running import NoSandbox
from tests.fakes.console import FakeConsole
from tests.integration.test_cli_listing import PICKLE, Shop

QUICK = ("--suite", "quick")
TARGET = "malignant"
DAY_MS = 24 * 60 * 60 * 1000
# The first claim is true, the second is not: 0.996 is measured.
CARD = """
[[claims]]
metric = "accuracy"
dataset = "rows.csv"
value = 0.975
[[claims]]
metric = "roc_auc"
dataset = "rows.csv"
value = 0.9999
[recipe]
labels = ["malignant", "benign"]
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certify")
    for name in ("diagnosis", "insurance-risk"):
        sample = sample_model(name)
        (folder / name).mkdir()
        (folder / name / "model.onnx").write_bytes(sample.graph())
        (folder / name / "rows.csv").write_bytes(sample.rows())
    return folder


@pytest.fixture(scope="module")
def anna(base):
    """A seller with one model at Level 2, the data it was measured on, and two claims."""
    shop = Shop(base / "anna")
    card = shop.term.file("card.toml", CARD)
    words = ("--name", "Diagnosis", "--description", "d", "--price", "10", "--card", card)
    data = ("--evaluation", base / "diagnosis" / "rows.csv", "--target", TARGET)
    task = ("--task", "tabular-classification", "--as-is", "--yes")
    model = base / "diagnosis" / "model.onnx"
    shop.model = shop.json("listing", "publish", model, *words, *data, *task)
    return shop


@pytest.fixture(scope="module")
def own_rows(base):
    """Rows of a person's own: 50 of the sample's, in another file, too few to count."""
    lines = (base / "diagnosis" / "rows.csv").read_bytes().split(b"\n")
    path = base / "mine.csv"
    path.write_bytes(b"\n".join(lines[:51]) + b"\n")
    return path


@pytest.fixture(scope="module")
def certified(anna, base, own_rows):
    """The seller's Certificate, signed after a yes, with a file of it."""
    anna.term.clock.advance(DAY_MS)
    path = base / "diagnosis.hanse-cert"
    data = ("--data", own_rows, "--target", TARGET)
    command = ("certify", anna.model["listing"][:8], *QUICK, *data, "--out", path)
    anna.status = anna.run(*command, answers=["y"])
    anna.shown, anna.asked = anna.term.console.out_text, anna.term.console.err_text
    [newest, *_] = anna.json("certificate", "list", anna.model["release"])["certificates"]
    return newest, path


@pytest.fixture(scope="module")
def bo(base, anna, certified):
    """A tester who holds what Anna signed, and the vectors of her Certificate."""
    shop = Shop(base / "bo", "Bo")
    feed = base / "anna.hanse-feed"
    anna.ok("ledger", "export", feed)
    shop.term.clock.advance(2 * DAY_MS)
    shop.ok("ledger", "import", feed)
    golden = bytes.fromhex(certified[0]["golden"])
    with opened(anna) as giver, opened(shop) as taker:
        taker.content.small.put(giver.content.object(golden))
    return shop


def opened(shop):
    home = Home(shop.folder, shop.term.base / "config")
    return Engine.open(home, clock=shop.term.clock, chance=shop.term.chance)


# --- publishing -----------------------------------------------------------------------------


def test_publishing_reaches_level_2_and_queues_the_rest(anna):
    assert anna.model["level"] == 2
    [queued] = [it for it in anna.json("job", "list") if it["state"] == "QUEUED"]
    assert (queued["job"], queued["suite"]) == (anna.model["job"], "core")
    assert "2 (runs)" in anna.ok("listing", "search", "--level", "2")


def test_the_settings_switch_measuring_off_and_untested_is_level_0(base):
    shop = Shop(base / "cleo", "Cleo")
    config = shop.term.base / "config"
    (config / "settings.toml").write_text("[certification]\nbackground = false\ncores = 1\n")
    given = ("--name", "N", "--description", "d", "--price", "1", "--as-is")
    path = base / "diagnosis" / "model.onnx"
    shop.ok("listing", "publish", path, *given, "--untested", answers=["y"])
    assert "NOT run here" in shop.said
    assert "0 (declared)" in shop.term.console.out_text
    assert shop.json("job", "list") == []
    queued = shop.json("certify", shop.json("listing", "mine")[0]["listing"], "--background")
    with opened(shop) as engine:
        assert engine.certifying.job(queued["job"]).request.cores == 1


@pytest.mark.parametrize(
    ("name", "raw", "code"),
    [
        ("rows.txt", b"a,b\n1,2\n", "evaluation.unfit"),
        ("rows.npz", b"a,b\n1,2\n", "evaluation.unfit"),
        ("rows.csv", b"", "evaluation.unfit"),
        ("rows.csv", b"a" * (16 * 1024**2 + 1), "file.too_large"),
    ],
)
def test_data_that_cannot_be_given_is_refused_with_its_size(anna, tmp_path, name, raw, code):
    path = tmp_path / name
    path.write_bytes(raw)
    given = ("--name", "N", "--description", "d", "--price", "1", "--evaluation", path, "--yes")
    error = anna.json("listing", "publish", path, *given, status=EXIT_WRONG_USE)
    assert error["code"] == "publish.failed"
    assert any("MB" in it or "16" in it or " B" in it for it in error["values"]["reasons"]), code


def test_data_that_do_not_fit_the_model_stop_publishing(anna, base, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    words = ("--name", "N", "--description", "d", "--price", "1", "--as-is", "--yes")
    model = tmp_path / "model.onnx"
    model.write_bytes((base / "insurance-risk" / "model.onnx").read_bytes())
    data = ("--evaluation", path, "--target", "b")
    error = anna.json("listing", "publish", model, *words, *data, status=EXIT_REFUSED)
    [reason] = error["values"]["reasons"]
    assert "a" in reason
    [draft] = [it for it in anna.json("listing", "drafts") if it["source"] == str(model)]
    anna.ok("listing", "draft", draft["draft_id"], "--drop", "--yes")


# --- certifying -----------------------------------------------------------------------------


def test_a_model_is_measured_shown_and_signed_after_a_yes(anna, certified):
    row, _ = certified
    assert anna.status == EXIT_NO  # one claim is not true, and that is signed as loudly
    assert (row["level"], row["outcome"], row["role"]) == (2, "FAILED", "seller")
    for expected in (
        "Isolation: full",
        "[seccomp:allow/1]",
        "Load time",
        "rows/s",
        "Seller's claim and measured here",
        "as claimed",
        "private, stays here; too few rows to count, at least 100 are needed",
        "Level reached on this computer: 2 (runs)",
        "!!! CONTRADICTED: the seller claims roc_auc 0.9999, measured was 0.99",
        "!!! It did not pass: Quality on data: roc_auc",
    ):
        assert expected in anna.shown
    assert "Left out because they are private" in anna.asked
    assert anna.model["release"] in anna.asked
    assert row["cert"] in anna.shown


def test_the_certificate_is_shown_whole_and_its_file_proves_itself(anna, certified, base):
    row, path = certified
    shown = anna.ok("certificate", "show", row["cert"][:8], "--lang", "zh_CN")
    for expected in (row["cert"], "检查集", "本机测得", "2（可运行）"):
        assert (expected in shown) is (expected != "本机测得")
    statement = anna.json("certificate", "show", row["cert"])["statement"]
    assert {it["is_public"] for it in statement["measured"]["quality"]} == {True}
    assert statement["measured"]["runtime"]["app"]
    model = base / "diagnosis" / "model.onnx"
    assert "Level 2 (runs)" in anna.term.ok("verify", path, "--against", model)


def test_a_tampered_certificate_names_the_field_and_one_for_other_bytes_is_none(
    anna, certified, base, tmp_path
):
    _, path = certified
    other = base / "insurance-risk" / "model.onnx"
    error = anna.term.json("verify", path, "--against", other, status=EXIT_NO)
    assert error["values"]["step"] == "subjects"
    spoilt = tmp_path / "spoilt.hanse-cert"
    whole = json.loads(path.read_bytes())
    [name] = [it for it, value in whole.items() if isinstance(value, dict) and "payload" in value]
    said = base64.b64decode(whole[name]["payload"]).replace(b'"level":2', b'"level":3')
    whole[name]["payload"] = base64.b64encode(said).decode()
    spoilt.write_text(json.dumps(whole))
    error = anna.term.json("verify", spoilt, status=EXIT_NO)
    assert error["values"]["step"] == "signature"


def test_a_contradiction_is_loud_wherever_the_model_is_seen(anna, certified):
    assert certified
    listing = anna.model["listing"]
    shown = anna.ok("listing", "show", listing)
    assert shown.split("\n")[2].startswith("!!! CONTRADICTED")
    assert "WORSE THAN CLAIMED" in shown
    assert "【与宣称矛盾】" in anna.ok("listing", "show", listing, "--lang", "zh_CN")
    assert "[CONTRADICTED]" in anna.ok("listing", "search", "--contradicted")
    assert "Found: 0" in anna.ok("listing", "search", "--not-contradicted")
    assert anna.run("listing", "search", "--contradicted", "--not-contradicted") == EXIT_WRONG_USE
    assert anna.json("listing", "show", listing)["level"] == 0
    [row] = anna.json("listing", "search")["rows"]
    assert (row["level"], row["contradicted"]) == (0, True)


# --- another's computer, and the queue ------------------------------------------------------


def test_another_measures_a_file_through_the_queue_and_finds_the_same(anna, bo, certified, base):
    row, _ = certified
    folder = base / "diagnosis"
    more = ("--data", folder / "rows.csv", "--target", TARGET, "--publish-data-figures")
    queued = bo.json(
        *("certify", folder / "model.onnx", *QUICK, *more, "--reproduce", row["cert"][:10]),
        "--background",
    )
    job = queued["job"]
    assert queued["draft"] is not None
    assert "was imported as a draft" in bo.said
    bo.ok("job", "pause", job)
    assert "paused" in bo.ok("job", "list")
    assert bo.json("job", "run")["jobs"] == []
    bo.ok("job", "resume", job)
    shown = bo.ok("job", "run", "--sign", "--cores", "1", answers=["y"])
    assert f"Job {job}: done. passed, 3 (measured)" in shown
    release = anna.model["release"]
    assert len(bo.json("certificate", "list", release)["certificates"]) == 2  # not Bo's model
    found = bo.json("job", "show", job, "--sign", "--yes")
    assert (found["outcome"], found["reproduces"]["verdict"]) == ("PASSED", "agree")
    listed = bo.ok("certificate", "list", anna.model["listing"][:8])
    assert "Reproduced by 1, 0 differ, 0 not comparable. Unweighted" in listed
    assert "agrees with" in listed
    assert "Level: 3 (measured)" in listed


def test_one_is_taken_back_by_its_signer_alone_and_stays_struck_through(anna, bo, certified):
    row, _ = certified
    error = bo.json(
        *("certify", "--revoke", row["cert"][:8], "--reason", "mistake", "--yes"),
        status=EXIT_REFUSED,
    )
    assert error["code"] == "certificate.not_yours"
    old = anna.json("certificate", "list", anna.model["release"])["certificates"][-1]["cert"]
    why = ("--reason", "machine-fault", "--text", "It was hot")
    assert anna.run("certify", "--revoke", old, *why, answers=["n"]) == EXIT_NO
    anna.ok("certify", "--revoke", old, *why, answers=["y"])
    shown = anna.ok("certificate", "list", anna.model["release"])
    assert "~~2 (runs)~~" in shown
    assert "fault of the machine" in shown
    assert "It was hot" in anna.ok("certificate", "show", old)
    error = anna.json("certify", "--revoke", old, *why, "--yes", status=EXIT_REFUSED)
    assert error["code"] == "certificate.revoked_before"


def test_jobs_that_are_not_there_or_done_are_told(anna):
    job = anna.model["job"]
    anna.ok("job", "cancel", job)
    assert anna.json("job", "show", "99", status=EXIT_WRONG_USE)["code"] == "job.unknown"
    error = anna.json("job", "pause", job, status=EXIT_REFUSED)
    assert error["code"] == "job.wrong_state"
    error = anna.json("job", "show", job, "--sign", "--yes", status=EXIT_REFUSED)
    assert error["code"] == "certify.no_result"
    assert "cancelled" in anna.ok("job", "show", job)


# --- Ctrl-C ---------------------------------------------------------------------------------


class Impatient(FakeConsole):
    """Presses Ctrl-C as soon as a check is named."""

    def __init__(self, at):
        super().__init__(has_person=True)
        self.at, self.pressed_at = at, 0.0

    def progress(self, text):
        super().progress(text)
        if self.at in text and not self.pressed_at:
            self.pressed_at = time.monotonic()
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_within_two_seconds_and_the_same_command_goes_on(anna):
    term, jobs = anna.term, []
    command = ("certify", anna.model["listing"], *QUICK, "--cores", "1", "--no-sign", "--json")
    for at in ("Right outputs", "Batch equals"):
        console = Impatient(at)
        outside = Bootstrap(console, term.environ, SystemClock(), term.chance)
        status = main([str(it) for it in (*command[:-1], *anna.common)], outside)
        assert time.monotonic() - console.pressed_at < 2
        assert status == EXIT_NO
        assert "The same command goes on" in console.out_text
        jobs.append(anna.json("job", "list")[0])
    assert [it["state"] for it in jobs] == ["INTERRUPTED", "INTERRUPTED"]
    assert jobs[0]["job"] == jobs[1]["job"]
    assert any("check 1 of" in it for it in console.shown)
    with opened(anna) as engine, engine.context.store.reads() as reads:
        kept = reads.jobs.finished_checks(jobs[0]["job"])
    assert {"format.hashes", "run.load", "run.golden"} <= set(kept)
    anna.ok("job", "cancel", jobs[0]["job"])


def test_ctrl_c_leaves_the_queue_for_later(anna):
    term = anna.term
    job = anna.json("certify", anna.model["listing"], *QUICK, "--background")["job"]
    console = Impatient("check 1 of")
    outside = Bootstrap(console, term.environ, SystemClock(), term.chance)
    assert main([str(it) for it in ("job", "run", *anna.common)], outside) == EXIT_NO
    assert time.monotonic() - console.pressed_at < 2
    assert "hanse job run goes on" in console.out_text
    assert anna.json("job", "list")[0]["state"] == "INTERRUPTED"
    anna.ok("job", "resume", job)
    assert anna.json("job", "list")[0]["state"] == "QUEUED"
    anna.ok("job", "cancel", job)


# --- bad input ------------------------------------------------------------------------------


def table(rows, header=None):
    header = header or rows[0]
    return "\n".join([",".join(header), *(",".join(row) for row in rows[1:])]) + "\n"


@pytest.fixture(scope="module")
def rows(base):
    text = (base / "diagnosis" / "rows.csv").read_text()
    return [line.split(",") for line in text.strip().split("\n")]


def changed(rows, column, value):
    found = [list(row) for row in rows]
    found[3][column] = value
    return found


def test_data_that_cannot_be_read_are_told_by_column_and_row(anna, rows, tmp_path):
    without = [row[1:] for row in rows]
    unnamed = [
        [f"c{number}" for number in range(len(rows[0]) + 1)],
        *(["1", *it] for it in rows[1:]),
    ]
    cases = (
        (table(without), "dataset.mapping_needed", ("mean_texture",)),
        (table(changed(rows, 0, "")), "dataset.missing_value", ("mean_radius",)),
        (table(changed(rows, 0, "large")), "dataset.not_a_number", ("mean_radius", "large")),
        (table(changed(rows, -1, "perhaps")), "dataset.unknown_label", ("perhaps",)),
        (table(rows).encode().replace(b"\n14", b"\n\xff14", 1), "dataset.encoding", ()),
        (table(unnamed), "dataset.mapping_needed", ("c0",)),
    )
    path = tmp_path / "rows.csv"
    for text, code, named in cases:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        target = () if code == "dataset.mapping_needed" else ("--target", TARGET)
        for language in ("en", "zh_CN") if not named else ("en",):
            status = anna.run(
                *("certify", anna.model["release"][:8], *QUICK, "--data", path, *target),
                *("--no-sign", "--lang", language),
            )
            assert (status, bool(anna.said)) == (EXIT_REFUSED, True), code
            if "mapping" in code:
                assert "--target" in anna.said
        assert all(word in anna.said for word in named), anna.said
        assert anna.json("job", "list")[0]["error"]["code"] == code


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("ffffffff",), "certify.nothing"),
        (("no-such-file.onnx",), "certify.nothing"),
        ((), "usage.missing_value"),
        (("MODEL", "--suite", "deep"), "suite.not_here"),
        (("MODEL", "--suite", "core/9.9.9"), "suite.not_here"),
        (("MODEL", "--target", "y"), "certify.options"),
        (("MODEL", "--metric", "accuracy"), "certify.options"),
        (("MODEL", "--no-sign", "--out", "x.hanse-cert"), "certify.options"),
        (("MODEL", "--reason", "mistake"), "certify.options"),
        (("MODEL", "--revoke", "aaaaaaaa"), "certify.options"),
        (("--revoke", "aaaaaaaa"), "usage.missing_value"),
        (
            ("--revoke", "aaaaaaaa", "--reason", "mistake", "--text", "x" * 501),
            "certify.text_too_long",
        ),
        (("MODEL", "--data", "MODEL", "--input", "x"), "usage.bad_value"),
        (("MODEL", "--data", "MODEL", "--map", "m.yaml"), "certify.mapping_file"),
        (("MODEL", "--reproduce", "ffffffff"), "id.nothing"),
    ],
)
def test_what_makes_no_sense_is_told(anna, base, arguments, code):
    model = anna.model["release"]
    given = [model if it == "MODEL" else it for it in arguments]
    if "--data" in given:
        given[given.index("--data") + 1] = base / "mine.csv"
    error = anna.json("certify", *given, "--yes", status=EXIT_WRONG_USE)
    assert error["code"] == code


def test_a_mapping_that_cannot_be_read_is_told(anna, own_rows, tmp_path):
    path = tmp_path / "map.toml"
    path.write_text("targt = 1\n")
    given = ("--data", own_rows, "--map", path, "--no-sign")
    error = anna.json("certify", anna.model["release"], *given, status=EXIT_WRONG_USE)
    assert error["code"] == "dataset.mapping_refused"
    error = anna.json(
        *("certify", anna.model["release"], "--data", tmp_path / "none.csv", "--no-sign"),
        status=EXIT_ENVIRONMENT,
    )
    assert error["code"] == "file.unreadable"


def test_nobody_to_say_yes_is_told_before_anything_runs(anna):
    error = anna.json("certify", anna.model["release"], *QUICK, status=EXIT_WRONG_USE)
    assert error["code"] == "confirm.no_way_to_ask"


def test_a_file_that_may_carry_code_is_refused_and_leaves_no_draft(anna, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(PICKLE)
    before = len(anna.json("listing", "drafts"))
    assert anna.run("certify", path, *QUICK, "--no-sign") == EXIT_REFUSED
    assert len(anna.json("listing", "drafts")) == before


def test_without_a_sandbox_nothing_runs_and_the_doctor_says_why(anna, monkeypatch):
    class NoLock(WorkerClient):
        """A system that cannot lock a child down."""

        def start_on(self, *_arguments, **_names):
            raise NoSandbox(layer="landlock", reason="no_landlock")

        def start_waiting(self):
            return None

    monkeypatch.setattr("hanse.core.engine.engine.WorkerClient", NoLock)
    missing = (("landlock", "no_landlock"),)
    monkeypatch.setattr(
        "hanse.app.commands.doctor.offered", lambda: Offer("linux", "none", (), missing)
    )
    for language, word in (("en", "Landlock"), ("zh_CN", "内核")):
        given = ("--no-sign", "--lang", language)
        assert anna.run("certify", anna.model["release"], "--cores", "2", *given) == EXIT_REFUSED
        assert word in anna.said
    assert anna.run("doctor") == EXIT_NO
    assert "none is run" in anna.term.console.out_text


def test_where_only_limits_hold_another_s_model_waits_for_a_yes(bo, base, certified, monkeypatch):
    assert certified
    limits = Offer("win32", "limits", ("job_memory",), ())
    monkeypatch.setattr("hanse.app.commands.certify.offered", lambda: limits)
    given = ("certify", base / "diagnosis" / "model.onnx", *QUICK, "--cores", "1", "--no-sign")
    assert bo.run(*given, answers=["n"]) == EXIT_NO
    assert "not yours" in bo.said


def test_the_doctor_shows_machine_lock_and_suites(anna):
    codes = {it["code"]: it["values"] for it in anna.term.findings()}
    assert codes["doctor.hardware"]["cores"] >= 1
    assert "seccomp:allow/1" in codes["doctor.sandbox.full"]["layers"]
    assert "core/1.0.0" in codes["doctor.suites"]["suites"]
    assert "检查集：" in (anna.run("doctor", "--lang", "zh_CN"), anna.term.console.out_text)[1]


# --- people ---------------------------------------------------------------------------------


def points(**changed):
    answers = dict.fromkeys(CHECKLIST, "yes") | changed
    return [it for name, answer in answers.items() for it in ("--point", f"{name}={answer}")]


def test_a_person_judges_a_release_and_an_objection_is_as_loud(anna, bo):
    release = anna.model["release"][:10]
    assert "Nobody has reviewed" in bo.ok("review", "list", release)
    given = points(samples_make_sense="no:Row 3 is wrong")
    more = ("--verdict", "object", "--conflict", "paid", "--paid-by", "Rival Ltd")
    bo.ok("review", "human", release, *given, *more, "--notes", "I tried it.", "--yes")
    shown = bo.ok("review", "list", anna.model["listing"][:8], "--wanted", "2")
    for expected in (
        "1 of 1 object, 0 approve, 2 wanted; with a conflict of interest: 1",
        "OBJECTS  Bo",
        "! States an interest: paid: Rival Ltd",
        "NO  sample outputs make sense: Row 3 is wrong",
        "I tried it.",
    ):
        assert expected in shown
    assert "OBJECTS" in bo.ok("listing", "show", anna.model["listing"])


def test_what_is_not_given_is_asked_one_by_one(anna, bo):
    answers = ["yes"] * 7 + ["maybe", "na: none known", "", "赞成", "approve", "", "y"]
    bo.term.clock.advance(DAY_MS)
    bo.ok("review", "human", anna.model["release"], answers=answers)
    assert bo.term.console.questions[0].startswith("1 of 8: I may sell this")
    found = bo.json("review", "list", anna.model["release"])
    assert (found["together"]["approve"], found["together"]["object"]) == (1, 0)
    assert found["reviews"][0]["points"][7] == {"answer": "na", "note": "none known"}


def test_reviews_that_make_no_sense_are_told(anna, bo):
    release = anna.model["release"]
    verdict = ("--verdict", "approve")
    cases = (
        ((*points(), *verdict, "--paid-by", "x"), "certify.options"),
        ((*points()[2:], *verdict), "human_review.points"),
        ((*points(),), "option.needed"),
        ((*points(), *verdict, "--conflict", "paid"), "option.needed"),
        (("--point", "beauty=yes"), "usage.bad_value"),
        (("--point", "may_sell=perhaps"), "usage.bad_value"),
        ((*points(), *verdict, "--notes", "x" * 4001), "certify.text_too_long"),
    )
    for given, code in cases:
        error = bo.json("review", "human", release, *given, "--yes", status=EXIT_WRONG_USE)
        assert error["code"] == code
    error = anna.json("review", "human", release, *points(), *verdict, "--yes", status=EXIT_REFUSED)
    assert error["code"] == "human_review.own"
    assert bo.run("review", "list", "ffffffff") == EXIT_WRONG_USE
    assert bo.run("review", "list", release) == EXIT_DONE
