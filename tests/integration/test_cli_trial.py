"""``hanse trial`` at the terminal: two Accounts that only hand each other files, real Workers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
import pytest

from hanse.core.engine.engine import Engine
from hanse.core.engine.home import Home
from hanse.core.engine.trying.peer import LocalTrialPeer
from hanse.core.errors import EXIT_DONE, EXIT_NO, EXIT_REFUSED, EXIT_WRONG_USE
from hanse.core.market.samples import sample_model
from hanse.core.model.card import AnswersTrial, OpenTrial, SealedTrial, Trials
from hanse.core.model.control import Control
from hanse.core.model.ids import identity_text
from tests.fakes.clock import FakeClock
from tests.fakes.networks import FakeNetwork
from tests.fakes.people import PASSPHRASE, Person, give
from tests.fakes.shop import AS_IS, body_of, carry_sealed, seller
from tests.fakes.terminal import Terminal
from tests.fakes.trial_shop import DAY_MS, offer_sample

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = "fraud-detection"
SEALED = SealedTrial(runs=3, days=5)
ANSWERS = AnswersTrial(per_buyer=400, per_30d=4000)
CLAIM = ("--claim", "0.9", "--margin", "10%")
ALL_SEEN = re.compile(r"\d+ of \d+ answers were right")


class PassingClock(FakeClock):
    """Time passes whenever somebody looks, so that nobody waits for the next second."""

    def now_ms(self):
        self.advance(1100)
        return super().now_ms()


@dataclass
class Side:
    """One party at a terminal."""

    term: Terminal
    common: tuple
    base: Path

    def run(self, *arguments, **options):
        return self.term.run(*arguments, *self.common, **options)

    def ok(self, *arguments, **options):
        assert self.run(*arguments, **options) == EXIT_DONE, self.said
        return self.term.console.out_text

    def json(self, *arguments, **options):
        return self.term.json(*arguments, *self.common, **options)

    @property
    def said(self):
        return self.term.console.err_text


@dataclass
class Market:
    """Anna sells, Bert buys."""

    anna: Side
    bert: Side
    release: str
    key: Path
    model: Path
    edition: Path
    rows: Path
    clock: PassingClock
    object: Path  # where the seller's plain model lies
    seller: str
    number: int = 0

    def file(self):
        self.number += 1
        return self.rows.with_name(f"{self.number}.hanse-trial")

    def start(self, *more):
        """Ask for signed answers, have them granted; return the trial and the first questions."""
        asked, granted, questions = self.file(), self.file(), self.file()
        data = ("--data", self.rows, *CLAIM, *more)
        found = self.bert.json("trial", "start", self.release, *data, "--out", asked, "--yes")
        self.anna.ok("trial", "answer", asked, "--out", granted, "--yes")
        self.bert.ok("trial", "take", granted, "--out", questions)
        return found["trial"]["trial"], questions

    def answered(self, *more):
        """Return a trial with the answers to its first questions."""
        trial, questions = self.start(*more)
        answers = self.file()
        self.anna.ok("trial", "answer", questions, "--out", answers, "--yes")
        self.bert.ok("trial", "take", answers)
        return trial

    def sealed(self):
        """Return a sealed trial that was granted; a buyer gets one in 30 days."""
        self.clock.advance(31 * DAY_MS)
        asked, granted = self.file(), self.file()
        way = ("--way", "sealed", "--yes", "--out", asked)
        found = self.bert.json("trial", "start", self.release, *way)
        self.anna.ok("trial", "answer", asked, "--out", granted, "--yes")
        self.bert.ok("trial", "take", granted)
        return found["trial"]["trial"]


def swapped(raw):
    """Return the model with other weights in its leaves."""
    model = onnx.load_from_string(raw)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name.endswith("_weights"):
                attribute.floats[:] = [0.5 * one + 0.01 for one in attribute.floats]
    return model.SerializeToString()


def side(person, clock):
    term = Terminal(
        person.home.folder.parent,
        environ={"HANSE_CONFIG_DIR": str(person.home.config)},
        clock=clock,
        chance=person.chance,
    )
    return Side(term, ("--data-dir", person.home.folder, *term.secret), term.base)


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    base = tmp_path_factory.mktemp("trial")
    anna = seller(base, "anna")
    bert = Person.make(base, "bert", anna.clock)
    delivered, edition = base / "delivered" / "model.onnx", base / "edition" / "model.onnx"
    for path in (delivered, edition):
        path.parent.mkdir()
    delivered.write_bytes(sample_model(SAMPLE).graph())
    edition.write_bytes(swapped(delivered.read_bytes()))
    with anna.open() as engine:
        begun = engine.publishing.begin(edition, Control(), preparation=AS_IS)
        opened = OpenTrial(artifact=begun.draft.artifact, relation="smaller", note="half leaves")
        ways = Trials(open=opened, sealed_local=SEALED, signed_answers=ANSWERS)
        release = offer_sample(engine, base, SAMPLE, ways, untested=True).release
    give(anna, bert, base)
    with anna.open() as selling, bert.open() as buying:
        seal = carry_sealed(selling, buying, release).seal
        with selling.context.store.reads() as reads:
            key = selling.context.all_seeds(reads)[seal.epoch].content_key(seal.salt)
        artifact = body_of(selling, release).artifact
        (held,) = selling.content.files(selling.content.manifest(artifact)).values()
    clock = PassingClock(anna.clock.now_ms())
    parties = side(anna, clock), side(bert, clock)
    rows = base / "rows.csv"
    rows.write_bytes(sample_model(SAMPLE).rows())
    return Market(
        *parties,
        release=release.hex(),
        key=parties[1].term.file("key", key.hex() + "\n"),
        model=delivered,
        edition=edition,
        rows=rows,
        clock=clock,
        object=held,
        seller=identity_text(anna.view.identity),
    )


# --- signed answers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "told"),
    [
        (
            "en",
            (
                "At most 120 questions",
                "about 54 if the claim is true, about 55",
                "fails in 4.5 % of such tests",
                "found in 86.8 %",
                "no percentage is shown",
                "The seller sees every input you ask about.",
            ),
        ),
        ("zh", ("最多 120 个问题", "约 54 个", "有 4.5 % 会被误判", "不显示百分比", "卖方")),
    ],
)
def test_what_will_happen_is_shown_before_anything_is_signed(market, language, told):
    path = market.file()
    data = ("--data", market.rows, *CLAIM, "--out", path, "--lang", language)
    assert market.bert.run("trial", "start", market.release[:10], *data, answers=["n"]) == EXIT_NO
    assert all(one in market.bert.said for one in (*told, market.seller))
    assert not path.exists()
    assert market.bert.run("trial", "start", market.release, *data) == EXIT_WRONG_USE


def test_a_claim_is_decided_by_files_and_nothing_is_said_of_the_share_before(market):
    trial, _ = market.start()
    few, some, rest, all_ = (market.file() for _ in range(4))
    market.bert.ok("trial", "ask", trial[:10], "--most", "2", "--out", few)
    said = market.anna.ok("trial", "answer", few, "--out", some, "--yes")
    assert "answers" in said
    said = market.bert.ok("trial", "take", some, "--out", rest)
    assert "Continue: 2 answers so far, at most 118 more decide it." in said
    assert not ALL_SEEN.search(said)
    shown = market.bert.json("trial", "show", trial)
    assert (shown["verdict"]["word"], shown["verdict"]["right"]) == ("continue", None)
    market.anna.ok("trial", "answer", rest, "--out", all_, "--yes")
    said = market.bert.ok("trial", "take", all_)
    assert "Passed: the claim of 90 % stands against 80 %." in said
    assert "Confidence 86.8 %" in said
    assert ALL_SEEN.search(said)
    assert "通过" in market.bert.ok("trial", "show", trial, "--lang", "zh")
    assert "decided" in market.bert.ok("trial", "list", "--role", "buyer")
    status = market.bert.run("trial", "ask", trial, "--out", market.file())
    assert status == EXIT_REFUSED
    assert "it is decided" in market.bert.said
    # The seller shows his side, and can end it.
    assert "seller" in market.anna.ok("trial", "show", trial)
    closed = market.file()
    market.anna.ok("trial", "close", trial, "--out", closed, "--yes")
    assert market.bert.json("trial", "take", closed)["trial"]["state"] == "closed"


def test_the_network_carries_a_trial_as_files_do(market, monkeypatch):
    home = Home(market.anna.base / "data", market.anna.base / "config")
    with Engine.open(home, clock=market.clock, chance=market.anna.term.chance) as selling:
        selling.accounts.unlock(PASSPHRASE)

        class Reached(FakeNetwork):
            def trial(self, seller):
                assert identity_text(seller) == market.seller
                return LocalTrialPeer(selling.trials.answering)

        monkeypatch.setattr(market.bert.term, "make_network", Reached)
        data = ("--data", market.rows, *CLAIM, "--network")
        found = market.bert.json("trial", "start", market.release, *data, "--yes")
        assert found["verdict"]["word"] == "passed"
        said = market.bert.ok("trial", "carry", found["trial"]["trial"])
    assert "Passed" in said
    out = ("--out", market.file())
    error = market.bert.json("trial", "start", market.release, *data, *out, status=EXIT_WRONG_USE)
    assert error["code"] == "usage.exclude_each_other"
    offline = ("trial", "carry", found["trial"]["trial"], "--offline")
    assert market.bert.json(*offline, status=EXIT_REFUSED)["code"] == "network.offline"


def test_a_file_that_was_changed_or_is_of_another_kind_is_refused(market):
    _, questions = market.start()
    raw = bytearray(questions.read_bytes())
    raw[len(raw) // 2] ^= 1
    damaged = market.file()
    damaged.write_bytes(raw)
    arguments = ("trial", "answer", damaged, "--out", market.file(), "--yes")
    error = market.anna.json(*arguments, status=EXIT_NO)
    assert error["code"] == "trial_file.damaged"
    error = market.anna.json("trial", "answer", market.rows, "--yes", status=EXIT_NO)
    assert error["code"] == "trial_file.damaged"
    # Nothing that is there is overwritten.
    error = market.bert.json(
        *("trial", "start", market.release, "--way", "sealed", "--yes", "--out", questions),
        status=EXIT_REFUSED,
    )
    assert error["code"] == "file.exists"


def test_what_was_typed_wrong_is_said(market):
    start, rows = ("trial", "start", market.release), ("--data", market.rows)
    for arguments, code in (
        ((*start, *CLAIM), "usage.missing_value"),
        ((*start, *rows, "--claim", "0.9"), "certify.options"),
        ((*start, "--way", "sealed", *rows), "certify.options"),
        ((*start, "--way", "open", *CLAIM), "certify.options"),
        ((*start, *rows, "--files", market.edition), "certify.options"),
        ((*start, *rows, "--claim", "90", "--margin", "0.1"), "usage.bad_value"),
        ((*start, *rows, "--claim", "0.5", "--margin", "0.6"), "trial.bad_claim"),
        ((*start, "--way", "guess"), "usage.bad_value"),
        (("trial", "start", "ffffffff", "--way", "sealed"), "certify.nothing"),
        (("trial", "show", "ffffffff"), "id.nothing"),
        (("trial", "show", "f" * 64), "trial.not_held"),
    ):
        error = market.bert.json(*arguments, "--yes", status=EXIT_WRONG_USE)
        assert error["code"] == code
    error = market.bert.json(
        *start, *rows, "--claim", "0.9", "--margin", "0.02", "--yes", status=EXIT_REFUSED
    )
    assert (error["code"], error["values"]["needed"]) == ("trial.too_many_answers", 2096)


# --- the open edition -----------------------------------------------------------------------


def test_an_open_edition_says_how_it_differs_beside_its_figures(market):
    start = ("trial", "start", market.release, "--way", "open")
    error = market.bert.json(*start, status=EXIT_REFUSED)
    assert error["code"] == "certify.not_held"
    error = market.bert.json(*start, "--files", market.model, status=EXIT_NO)
    assert error["code"] == "trial.other_artifact"
    said = market.bert.ok(*start, "--files", market.edition, "--data", market.rows)
    for expected in ("smaller", "half leaves", "accuracy", "not the model that is sold"):
        assert expected in said
    edition = f"open:{market.release[:12]}"
    assert f"hanse run {edition}" in said
    found = market.bert.json("run", edition, "--input", market.rows)
    assert (found["n"], "smaller" in found["model"]) == (200, True)
    compared = market.bert.json(
        *("trial", "bakeoff", edition, "--data", market.rows),
        *("--metric", "accuracy"),
    )
    assert compared["table"]["rows"][0]["relation"] == "smaller"


# --- sealed ---------------------------------------------------------------------------------


def test_a_sealed_trial_is_run_as_often_as_granted_and_says_what_it_cannot_prevent(market):
    trial = market.sealed()
    honest = "It deters copying and cannot prevent it"
    data, some = ("--data", market.rows), ("--input", market.rows)
    said = market.bert.ok("trial", "run", trial[:10], *data, "--metric", "accuracy", "--yes")
    assert "Runs left of this trial: 2 of 3" in said
    assert honest in said
    # What is wrong with the rows is found before a run is counted.
    bad = market.rows.with_name("bad.csv")
    bad.write_text(market.rows.read_text("utf-8").replace("299.02", "much"), "utf-8")
    assert market.bert.run("run", "--trial", trial[:10], "--input", bad) == EXIT_REFUSED
    assert market.bert.json("trial", "show", trial)["trial"]["runs_used"] == 1
    found = market.bert.json("run", "--trial", trial, *some)
    assert (found["runs_used"], found["runs_most"], found["n"]) == (2, 3, 200)
    assert honest in market.bert.said
    table = market.rows.with_name("table.csv")
    found = market.bert.json(
        *("trial", "bakeoff", f"trial:{trial[:10]}", *data),
        *("--metric", "accuracy", "--csv", table, "--yes"),
    )
    (row,) = found["table"]["rows"]
    assert (row["rank"], row["failure"]) == (1, "")
    assert table.read_text("utf-8").startswith("rank,name,accuracy")
    assert market.bert.run("run", "--trial", trial, *some, "--lang", "zh") == EXIT_REFUSED
    assert "试用" in market.bert.said
    assert market.bert.json("trial", "show", trial)["trial"]["over"] == "runs"


def test_models_are_ranked_by_cost_where_costs_are_given(market):
    costs = market.rows.with_name("costs.csv")
    costs.write_text("EUR,honest,fraud\nhonest,0,5\nfraud,100,0\n", "utf-8")
    data = ("--data", market.rows, "--metric", "accuracy")
    said = market.anna.ok("trial", "bakeoff", market.release[:10], *data, "--costs", costs)
    assert "expected cost" in said
    assert "EUR" in said
    error = market.anna.json(
        "trial", "bakeoff", market.release, *data, "--costs", market.key, status=EXIT_WRONG_USE
    )
    assert error["code"] == "usage.bad_value"
    status = market.bert.run("trial", "bakeoff", market.release, *data)
    assert status == EXIT_REFUSED  # its plain files are not here


# --- after delivery -------------------------------------------------------------------------


def test_the_delivered_model_matches_what_answered(market):
    trial = market.answered()
    replay = ("trial", "replay", trial, "--key", market.key)
    said = market.bert.ok(*replay, "--delivered", market.model)
    assert "Matches: the delivered model stands for all 25 answers." in said
    error = market.bert.json(*replay, status=EXIT_REFUSED)
    assert error["code"] == "certify.not_held"
    error = market.bert.json(
        *("trial", "replay", trial, "--key", market.rows, "--delivered", market.model),
        status=EXIT_WRONG_USE,
    )
    assert error["code"] == "trial.not_a_key"


def test_a_swapped_model_is_proved_to_anybody(market, tmp_path):
    held = market.object.read_bytes()
    mode = market.object.stat().st_mode
    market.object.chmod(0o600)
    market.object.write_bytes(swapped(held))  # he answers with another model than he sells
    try:
        trial = market.answered()
    finally:
        market.object.write_bytes(held)
        market.object.chmod(mode)
    proof = tmp_path / "p.hanse-warranty"
    replay = ("--key", market.key, "--delivered", market.model, "--proof", proof)
    assert market.bert.run("trial", "replay", trial, *replay) == EXIT_NO
    assert f"hanse verify {proof}" in market.bert.term.console.out_text
    stranger = Terminal(tmp_path)
    said = stranger.ok("verify", proof)
    assert market.seller in said
    assert "25 of 25 answers" in said
    assert "the buyer's signed claim" in said
    assert "签名" in stranger.ok("verify", proof, "--lang", "zh")
    raw = bytearray(proof.read_bytes())
    raw[len(raw) // 3] ^= 1
    proof.write_bytes(raw)
    assert stranger.run("verify", proof) == EXIT_NO
    assert market.bert.json("trial", "show", trial)["trial"]["state"] == "replayed"
