"""Hostile ``.hanse-trial`` and ``.hanse-warranty`` files: each a clear error, nothing changed."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from hanse.core.engine.trying.file import (
    MAGIC,
    Message,
    TrialFile,
    TrialFileDamaged,
    read_trial_file,
    write_trial_file,
)
from hanse.core.engine.trying.peer import read_file
from hanse.core.engine.trying.post import StepRefused, append_step, enclosed, read_step
from hanse.core.engine.trying.proof import MAGIC as PROOF_MAGIC
from hanse.core.engine.trying.proof import BadProofFile, verify_proof_file
from hanse.core.errors import FileTooLarge, HanseError
from hanse.core.ledger import disclosure
from hanse.core.ledger.codec import encode
from hanse.core.ledger.kinds import Trial1
from hanse.core.limits import (
    TRIAL_FILE_FRAME_SIZE_BYTES_MAX,
    TRIAL_FILE_SIZE_BYTES_MAX,
    WARRANTY_FILE_SIZE_BYTES_MAX,
)
from hanse.core.market.samples import sample_model
from hanse.core.model.control import Control
from tests.fakes.shop import body_of, said
from tests.fakes.trial_play import asked, forged, sealed
from tests.fakes.trial_shop import DAY_MS, in_process, open_market

MUTANTS = 300
MIB = 1024**2


def contrary(outputs):
    """Return what a model says that is sure of the contrary."""
    return {
        name: array[:, ::-1].copy() if array.dtype == np.float32 else 1 - array
        for name, array in outputs.items()
    }


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    found = open_market(tmp_path_factory.mktemp("hostile"), untested=True)
    yield found
    for engine in (found.selling, found.buying):
        assert engine.ledger.verify().holds
    found.close()


@pytest.fixture(scope="module")
def files(market):
    """Real files on their way: to the seller, and to the buyer."""
    buying, answering = market.buying.trials.buying, market.selling.trials.answering
    market.anna.clock.advance(31 * DAY_MS)
    waiting = buying.start(market.published.release, "sealed", Control()).trial
    steps = buying.outgoing(waiting)
    trial = asked(market)
    queries = buying.next_queries(trial, 2)
    answers = answering.answer(queries, Control(), market.pace).reply
    return {
        "steps": (seller_of(market), steps),
        "grant": (buying.take, answering.answer(steps, Control()).reply),
        "queries": (seller_of(market), buying.next_queries(asked(market), 2)),
        "answers": (buying.take, answers),
    }


def seller_of(market):
    """Return what takes a file on the seller's side, without waiting between two answers."""
    return lambda raw: market.selling.trials.answering.answer(raw, Control(), market.pace)


def state(market):
    """Return all that a file could have changed on either side."""
    found = []
    for engine in (market.selling, market.buying):
        with engine.context.store.reads() as reads:
            rows = [
                (row.trial, row.state, row.grant_id, row.answers, row.runs_used, row.data)
                for role in ("buyer", "seller")
                for row in reads.trials.page(role, limit=100)
            ]
            heads = sorted(
                (bytes(row.author), 0 if row.head is None else row.head.seq)
                for row in reads.feeds.all()
            )
            secrets = [name for name, _ in reads.secrets.named("trial_keys/")]
        found.append((rows, heads, secrets))
    return found


def refused(market, taker, raw):
    """Check that a file is refused with a sentence, and that nothing changed; return the error."""
    before = state(market)
    with pytest.raises(HanseError) as caught:
        taker(raw)
    said(caught.value)
    assert state(market) == before
    return caught.value


def resealed(raw):
    """Give a trial file that was changed the end that fits it."""
    start = len(MAGIC)
    count = 0
    while True:
        size = int.from_bytes(raw[start : start + 4], "big")
        following = start + 4 + size
        if following >= len(raw):
            break
        start = following
        count += 1
    end = encode(["end", count, sha256(raw[:start]).digest()])
    return raw[:start] + len(end).to_bytes(4, "big") + end


# --- trial files ----------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["steps", "grant", "queries", "answers"])
def test_a_cut_file_is_refused_wherever_it_ends(market, files, which):
    taker, raw = files[which]
    for size in range(0, len(raw), max(1, len(raw) // 25)):
        assert isinstance(refused(market, taker, raw[:size]), TrialFileDamaged)
    assert isinstance(refused(market, taker, raw + b"\0" * 1000), TrialFileDamaged)


@pytest.mark.parametrize("which", ["steps", "grant", "queries", "answers"])
def test_mutants_of_a_real_file_are_refused(market, files, which):
    taker, raw = files[which]
    chance = random.Random(which)
    before = state(market)
    for _ in range(MUTANTS // 4):
        mutant = mutated(raw, chance)
        if mutant == raw:
            continue
        with pytest.raises(HanseError) as caught:
            taker(mutant)
        said(caught.value)
    assert state(market) == before


def mutated(raw, chance):
    found = bytearray(raw)
    for _ in range(chance.randint(1, 3)):
        found[chance.randrange(len(MAGIC), len(raw))] = chance.randrange(256)
    return bytes(found)


@pytest.mark.parametrize("which", ["grant", "answers", "queries"])
def test_mutants_with_a_right_digest_bring_what_was_signed_or_nothing(market, which):
    """Past the digest the signatures must catch it; what they do not cover means nothing."""
    taker, raw = fresh(market, which)
    if which == "queries":  # answered once, so that a mutant can only be refused or repeated
        taker(raw)
    chance = random.Random(which)
    before = state(market)
    refusals = 0
    for _ in range(MUTANTS // 4):
        try:
            taker(resealed(mutated(raw, chance)))
        except HanseError as error:
            said(error)
            refusals += 1
            assert state(market) == before
        else:
            before = state(market) if which != "queries" else before
            taker(raw)  # the honest file finds nothing to add or to contradict
            assert state(market) == before
    assert which == "queries" or refusals > MUTANTS // 8


def fresh(market, which):
    """Return a real file that nobody took yet, and who takes it."""
    buying, answering = market.buying.trials.buying, market.selling.trials.answering
    if which == "grant":
        market.anna.clock.advance(31 * DAY_MS)
        trial = buying.start(market.published.release, "sealed", Control()).trial
        return buying.take, answering.answer(buying.outgoing(trial), Control()).reply
    trial = asked(market)
    queries = buying.next_queries(trial, 2)
    if which == "queries":
        return seller_of(market), queries
    return buying.take, answering.answer(queries, Control(), market.pace).reply


def test_missing_and_foreign_entries_are_refused(market, files):
    fresh(market, "grant")  # signed before it, and never handed over
    taker, raw = fresh(market, "grant")
    *opening, last = read_trial_file(raw).entries
    buyers = read_trial_file(files["steps"][1]).entries
    for entries in (
        (*opening[:1], last),  # what was signed in between is missing
        (*opening, last._replace(body=opening[0].body)),
        (*opening, last._replace(body=None), buyers[-1]),
        (*opening, last._replace(signature=opening[0].signature)),
    ):
        refused(market, taker, forged(raw, entries=entries))


def test_the_grant_of_another_trial_is_refused(market):
    _, other = sealed(market)
    taker, raw = fresh(market, "grant")
    file = read_trial_file(raw)
    foreign = replace(read_trial_file(other), trial=file.trial)
    error = refused(market, taker, write_trial_file(foreign))
    assert error.values["reason"] == "other_trial"
    # And its keys stand in for those of this one no better.
    error = refused(market, taker, write_trial_file(replace(file, blobs=foreign.blobs)))
    assert error.values["reason"] == "not_in_file"


class OddGrant(Trial1, frozen=True, kw_only=True):
    """A step with a field more than there is."""

    surprise: int = 1


def test_a_step_with_an_unknown_field_is_refused(market, monkeypatch):
    taker, raw = fresh(market, "grant")
    file, selling = read_trial_file(raw), market.selling.context
    with selling.store.unit_of_work() as uow:
        honest = read_step(selling, uow, file.entries[-1].entry_id).body
        odd = OddGrant(**{name: getattr(honest, name) for name in honest.__struct_fields__})
        # A seller who changed his program seals what ours would not.
        monkeypatch.setattr(disclosure, "parse_inner_body", lambda *_: None)
        entry = append_step(selling, uow, odd, market.buying.context.identity)
        monkeypatch.undo()
        entries = enclosed(selling, uow, [entry.entry_id])
        uow.commit()
    error = refused(market, taker, write_trial_file(replace(file, entries=entries)))
    assert isinstance(error, StepRefused)
    assert error.values["reason"] == "bad_shape"


def test_messages_that_are_none_are_refused(market, files):
    taker, raw = files["queries"]
    (first, *_) = read_trial_file(raw).messages
    for odd in (
        b"",
        b"\xa0",
        first.raw[:-1],
        first.raw + b"\0",
        encode({"trial": bytes(32), "surprise": 1}),
        b"\x9b" + b"\xff" * 8,
    ):
        error = refused(market, taker, forged(raw, messages=(Message(odd, first.signature),)))
        assert isinstance(error, StepRefused)


def peak_mib(act):
    tracemalloc.start()
    try:
        with pytest.raises(HanseError) as caught:
            act()
        said(caught.value)
        return tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


def test_a_hundred_megabytes_of_padding_are_not_read(tmp_path):
    path = tmp_path / "padded.hanse-trial"
    with path.open("wb") as stream:
        stream.write(MAGIC)
        stream.truncate(100 * 1000**2 + TRIAL_FILE_SIZE_BYTES_MAX)
    with pytest.raises(FileTooLarge) as caught:
        read_file(path)
    said(caught.value)
    assert peak_mib(lambda: read_file(path)) < 1


def test_what_stands_for_gigabytes_takes_no_memory():
    dense = bytes([0x9A]) + (16 * MIB).to_bytes(4, "big") + b"\x80" * (16 * MIB)  # empty lists
    frame = len(dense).to_bytes(4, "big") + dense
    assert len(dense) < TRIAL_FILE_FRAME_SIZE_BYTES_MAX
    assert peak_mib(lambda: read_trial_file(MAGIC + frame)) < 40
    for lie in (b"\x9b" + b"\xff" * 8, b"\xbb" + b"\xff" * 8, b"\x5b" + b"\xff" * 8):
        frame = len(lie).to_bytes(4, "big") + lie
        assert peak_mib(lambda raw=MAGIC + frame: read_trial_file(raw)) < 1
    assert peak_mib(lambda: read_trial_file(MAGIC + b"\xff" * 8)) < 1


def test_a_question_that_stands_for_gigabytes_takes_no_memory(files):
    taker, raw = files["queries"]
    (first, *_) = read_trial_file(raw).messages
    dense = bytes([0x9A]) + (8 * MIB).to_bytes(4, "big") + b"\x80" * (8 * MIB)
    file = forged(raw, messages=(Message(dense, first.signature),))
    assert peak_mib(lambda: taker(file)) < 60


def test_padding_inside_a_file_has_its_limits(market, files):
    taker, raw = files["grant"]
    with pytest.raises(TrialFileDamaged):
        forged(raw, blobs={bytes([n]) * 32: bytes([n]) for n in range(17)})
    blob = bytes(TRIAL_FILE_FRAME_SIZE_BYTES_MAX)
    with pytest.raises(TrialFileDamaged):
        write_trial_file(TrialFile(bytes(32), bytes(32), blobs={bytes(32): blob}))
    repeated, before = read_trial_file(raw).entries[0], state(market)
    taker(forged(raw, entries=(repeated,) * 3000))  # the same again is no news
    assert state(market) == before


# --- warranty files -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proof(market):
    """The Proof of a model that was swapped after the trial."""
    honest = market.sells
    market.work(in_process("fraud-detection", contrary), market.buys)
    trial = asked(market)
    buying, answering = market.buying.trials.buying, market.selling.trials.answering
    buying.take(answering.answer(buying.next_queries(trial, 2), Control(), market.pace).reply)
    market.work(honest, market.buys)
    folder = market.base / "delivered"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(sample_model("fraud-detection").graph())
    seal = body_of(market.selling, market.published.release).seal
    with market.selling.context.store.reads() as reads:
        key = market.selling.context.all_seeds(reads)[seal.epoch].content_key(seal.salt)
    found = market.buying.trials.replaying.replay(trial, key, Control(), folder / "model.onnx")
    return found.proof, market.anna.clock.now_ms()


def test_mutants_of_a_proof_do_not_hold(proof):
    raw, now_ms = proof
    assert verify_proof_file(raw, now_ms).failing == 2
    chance = random.Random("proof")
    for _ in range(MUTANTS):
        mutant = bytearray(raw)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(raw))
            mutant[place] ^= chance.randrange(1, 256)
        if bytes(mutant) == raw:
            continue
        with pytest.raises(HanseError) as caught:
            verify_proof_file(bytes(mutant), now_ms)
        said(caught.value)


def test_a_cut_or_padded_proof_does_not_hold(proof):
    raw, now_ms = proof
    for size in range(0, len(raw), max(1, len(raw) // 50)):
        with pytest.raises(BadProofFile) as caught:
            verify_proof_file(raw[:size], now_ms)
        said(caught.value)
    for padding in (1, WARRANTY_FILE_SIZE_BYTES_MAX):
        with pytest.raises(BadProofFile):
            verify_proof_file(raw + bytes(padding), now_ms)


def test_a_proof_that_stands_for_gigabytes_takes_no_memory():
    size = 32 * MIB
    dense = PROOF_MAGIC + bytes([0x9A]) + size.to_bytes(4, "big") + b"\x80" * size
    assert peak_mib(lambda: verify_proof_file(dense, 0)) < 100
