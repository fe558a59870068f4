"""Trials that are killed at every point that matters: runs are lost and never won."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from hanse.core.engine.trying.data import OwnData
from hanse.core.engine.trying.file import read_trial_file
from hanse.core.engine.trying.records import exchanges_of, trial_of
from hanse.core.model.control import Control
from hanse.core.model.ids import EntryId
from hanse.core.model.trial import TrialState
from hanse.core.trade.trial_messages import read_answer
from hanse.core.trade.trial_rules import TrialSpent, check_transcript
from tests.fakes.trial_play import asked, sealed
from tests.fakes.trial_shop import open_market

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX: fork and kill -9")

ROOT = Path(__file__).parents[2]
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    found = open_market(tmp_path_factory.mktemp("mortal"), untested=True)
    yield found
    for engine in (found.selling, found.buying):
        assert engine.ledger.verify().holds
    found.close()


@pytest.fixture(scope="module")
def mortal():
    """A program that does one thing after another, and dies when told to."""
    program = [sys.executable, "-m", "tests.fakes.trial_mortal"]
    with subprocess.Popen(
        program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.stdin.close()
        process.wait(30)


@contextmanager
def closed(market, mortal):
    """Close both programs, and yield what lets one act and die; both are open afterwards."""
    market.close()

    def ends(person, act, point, *, trial=b"", raw=b""):
        file = market.base / "mortal.hanse-trial"
        file.write_bytes(raw)
        wish = {
            "data": str(person.home.folder),
            "config": str(person.home.config),
            "act": act,
            "point": point,
            "trial": trial.hex(),
            "release": market.published.release.hex(),
            "rows": str(market.rows),
            "file": str(file),
            "now_ms": str(person.clock.now_ms()),
            "seed": f"{act} {point} {trial.hex()}",
        }
        mortal.stdin.write(json.dumps(wish) + "\n")
        mortal.stdin.flush()
        return int(mortal.stdout.readline())

    try:
        yield ends
    finally:
        market.selling, market.buying = market.anna.open(), market.bert.open()
        market.work(market.sells, market.buys)


def keys_of(market, trial):
    with market.buying.context.store.reads() as reads:
        return reads.secrets.get(f"trial_keys/{trial.hex()}")


# --- sealed runs ----------------------------------------------------------------------------


def test_a_run_that_was_counted_is_lost_by_a_kill_and_never_won(market, mortal):
    trial, reply = sealed(market)
    with closed(market, mortal) as ends:
        assert ends(market.bert, "run", "before commit 1", trial=trial) == KILLED
    assert market.buying.trials.buying.show(trial).runs_used == 0  # it did not begin
    with closed(market, mortal) as ends:
        assert ends(market.bert, "run", "after commit 1", trial=trial) == KILLED
        assert ends(market.bert, "run", "after commit 1", trial=trial) == KILLED
    run = market.buying.trials.sealed.evaluate
    assert market.buying.trials.buying.show(trial).runs_used == 2
    assert keys_of(market, trial) is not None
    assert run(trial, OwnData(market.rows), Control(), ("accuracy",)).runs_used == 3
    assert keys_of(market, trial) is None
    market.restart()
    with pytest.raises(TrialSpent):
        market.buying.trials.sealed.evaluate(trial, OwnData(market.rows), Control())
    market.buying.trials.buying.take(reply)  # the same grant again gives nothing back
    assert market.buying.trials.buying.show(trial).over == "runs"
    assert keys_of(market, trial) is None


def test_the_last_run_takes_the_keys_along_though_it_is_killed(market, mortal):
    trial, _ = sealed(market)
    with closed(market, mortal) as ends:
        for _ in range(3):
            assert ends(market.bert, "run", "after commit 1", trial=trial) == KILLED
    assert market.buying.trials.buying.show(trial).runs_used == 3
    assert keys_of(market, trial) is None


def test_grant_and_keys_are_kept_together_or_not_at_all(market, mortal):
    market.anna.clock.advance(31 * 24 * 60 * 60 * 1000)
    buying = market.buying.trials.buying
    trial = buying.start(market.published.release, "sealed", Control()).trial
    steps = buying.outgoing(trial)
    with closed(market, mortal) as ends:
        assert ends(market.anna, "answer", "before commit 2", raw=steps) == KILLED
    # The request was taken, and not decided: the same file again is decided once.
    assert market.selling.trials.answering.show(trial).state is TrialState.REQUESTED
    reply = market.selling.trials.answering.answer(steps, Control()).reply
    with closed(market, mortal) as ends:
        assert ends(market.bert, "take", "before commit 1", raw=reply) == KILLED
    assert market.buying.trials.buying.show(trial).state is TrialState.REQUESTED
    assert keys_of(market, trial) is None
    with closed(market, mortal) as ends:
        assert ends(market.bert, "take", "after commit 1", raw=reply) == KILLED
    assert market.buying.trials.buying.show(trial).state is TrialState.GRANTED
    assert keys_of(market, trial) is not None
    run = market.buying.trials.sealed.evaluate
    assert run(trial, OwnData(market.rows), Control(), ("accuracy",)).runs_used == 1


def test_a_grant_that_was_signed_and_not_sent_is_the_one_that_is_sent_later(market, mortal):
    market.anna.clock.advance(31 * 24 * 60 * 60 * 1000)
    buying = market.buying.trials.buying
    trial = buying.start(market.published.release, "sealed", Control()).trial
    steps = buying.outgoing(trial)
    with closed(market, mortal) as ends:
        assert ends(market.anna, "answer", "after commit 2", raw=steps) == KILLED
    with market.selling.context.store.reads() as reads:
        grant = reads.trials.get(EntryId(trial), "seller").grant_id
    reply = market.selling.trials.answering.answer(steps, Control()).reply
    assert read_trial_file(reply).entries[-1].entry_id == grant
    assert market.buying.trials.buying.take(reply).state is TrialState.GRANTED


# --- signed answers -------------------------------------------------------------------------


def answers_in(raw):
    return [read_answer(one.raw, one.signature) for one in read_trial_file(raw).messages]


def test_an_answer_that_was_signed_and_not_sent_is_repeated_byte_for_byte(market, mortal):
    trial = asked(market)
    queries = market.buying.trials.buying.next_queries(trial, 4)
    with closed(market, mortal) as ends:
        # Dies between two answers, before the third is kept, and when all are kept but not sent.
        assert ends(market.anna, "answer", "after commit 1", raw=queries) == KILLED
        assert ends(market.anna, "answer", "before commit 2", raw=queries) == KILLED
    with market.selling.context.store.reads() as reads:
        kept = [one.answer for one in reads.trials.transcript(trial, "seller", -1, 10)]
    assert len(kept) == 2
    with closed(market, mortal) as ends:
        assert ends(market.anna, "answer", "after", raw=queries) == KILLED
    reply = market.selling.trials.answering.answer(queries, Control(), market.pace)
    assert (reply.answered, reply.repeated) == (0, 4)
    sent = answers_in(reply.reply)
    assert [one.raw for one in sent][:2] == kept
    assert [one.answer.i for one in sent] == [0, 1, 2, 3]
    again = market.selling.trials.answering.answer(queries, Control(), market.pace)
    assert answers_in(again.reply) == sent
    assert market.buying.trials.buying.take(reply.reply).answers == 4
    chain_holds(market, trial)


def chain_holds(market, trial):
    buying = market.buying.context
    with buying.store.reads() as reads:
        row = reads.trials.get(EntryId(trial), "buyer")
        granted = trial_of(reads, row, buying.identity).granted
        check_transcript(granted, exchanges_of(reads, row))


def test_answers_that_were_taken_are_taken_whole_or_not_at_all(market, mortal):
    trial = asked(market)
    queries = market.buying.trials.buying.next_queries(trial, 3)
    reply = market.selling.trials.answering.answer(queries, Control(), market.pace).reply
    with closed(market, mortal) as ends:
        assert ends(market.bert, "take", "before commit 1", raw=reply) == KILLED
    assert market.buying.trials.buying.show(trial).answers == 0
    assert market.buying.trials.buying.next_queries(trial, 3) == queries  # the same again
    with closed(market, mortal) as ends:
        assert ends(market.bert, "take", "after commit 1", raw=reply) == KILLED
    assert market.buying.trials.buying.show(trial).answers == 3
    assert market.buying.trials.buying.take(reply).answers == 3
    chain_holds(market, trial)


# --- between the start and its file ---------------------------------------------------------


def test_a_start_that_was_killed_left_nothing_or_a_trial_that_goes_on(market, mortal):
    def requested():
        found = market.buying.trials.page("buyer", limit=100)
        return {one.trial for one in found if one.state is TrialState.REQUESTED}

    before, folder = requested(), market.bert.home.folder / "store" / "trials"
    files = set(folder.glob("*.inputs"))
    with closed(market, mortal) as ends:
        assert ends(market.bert, "start", "before commit 1") == KILLED
    assert requested() == before
    orphans = set(folder.glob("*.inputs")) - files
    assert len(orphans) == 1  # of no trial; swept when it is a day old
    with closed(market, mortal) as ends:
        assert ends(market.bert, "start", "after") == KILLED
    (trial,) = requested() - before
    buying, answering = market.buying.trials.buying, market.selling.trials.answering
    view = buying.take(answering.answer(buying.outgoing(trial), Control()).reply)
    assert view.state is TrialState.GRANTED
    reply = answering.answer(buying.next_queries(trial, 2), Control(), market.pace).reply
    assert buying.take(reply).answers == 2
