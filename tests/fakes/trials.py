"""A granted Trial in memory: a buyer with committed rows, a seller with a small network.

The network is plain numpy, so that a test can serve or deliver another one: a copy whose weights
were rounded to int8, one with the noise of another CPU, or a different one altogether.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np

from hanse.core.certify.replay import Session, answer_query
from hanse.core.certify.trial_outputs import write_arrays
from hanse.core.crypto.derivation import trial_seal_key
from hanse.core.crypto.signing import Signer
from hanse.core.limits import TRIAL_ANSWER_INTERVAL_MS
from hanse.core.model.control import Control
from hanse.core.model.ids import EntryId
from hanse.core.model.running import Stage, WorkerLimits
from hanse.core.model.trial import (
    AnswersTerms,
    Exchange,
    Granted,
    Query,
    TrialCommit,
    TrialGrant,
    TrialLimits,
    TrialRequest,
)
from hanse.core.trade.trial_commitment import commit
from hanse.core.trade.trial_messages import sign_answer, sign_query
from hanse.core.trade.trial_rules import query_order
from hanse.core.trade.trial_sealing import seal_commitment
from tests.fakes.chance import SeededChance
from tests.fakes.running import FakeModel, FakeRunner, tensor

NOW_MS = 1_795_000_000_000
DAY_MS = 24 * 60 * 60 * 1000
CONTENT_KEY = bytes(range(32))
ARTIFACT = b"A" * 32
LIMITS = WorkerLimits(memory_bytes=2**31, cpu_seconds=60, wall_seconds=60.0)
CLASSES = 4
FEATURES = 6


def network(seed=1):
    """Return a small network of two layers with seeded weights, as a function of its input."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(FEATURES, 16)).astype(np.float32)
    second = rng.normal(size=(16, CLASSES)).astype(np.float32)
    return of_weights(first, second)


def of_weights(first, second):
    """Return the network of these weights."""

    def run(inputs):
        hidden = np.tanh(inputs["x"] @ first)
        return {"logits": (hidden @ second).astype(np.float32)}

    run.weights = (first, second)
    return run


def in_int8(run):
    """Return the same network with weights rounded to 8 bits."""
    rounded = []
    for weights in run.weights:
        scale = np.abs(weights).max() / 127
        rounded.append((np.round(weights / scale) * scale).astype(np.float32))
    return of_weights(*rounded)


def on_other_cpu(run):
    """Return the same network with the rounding noise of another machine (about 1e-6)."""
    rng = np.random.default_rng(7)

    def noisy(inputs):
        return {
            name: (value + rng.uniform(-1e-6, 1e-6, value.shape)).astype(value.dtype)
            for name, value in run(inputs).items()
        }

    return noisy


def runner_of(function):
    """Return a runner whose model ``m.onnx`` is ``function``."""
    inputs = (tensor("x", "float32", None, FEATURES),)
    outputs = (tensor("logits", "float32", None, CLASSES),)
    return FakeRunner({"m.onnx": FakeModel(inputs, outputs, function)})


def session_of(function, runtime="onnxruntime"):
    """Return a Session over ``function``; ``runtime`` is what the Worker says it runs with."""
    worker = runner_of(function).start(Stage(Path()), LIMITS, "run")
    worker.put("m.onnx", b"model", Control())
    loaded = worker.load("m.onnx", "onnx", 1, Control(), in_memory=True)
    return Session(worker, replace(loaded, runtime=runtime))


@dataclass
class OnTrial:
    """Both sides of one Trial; ``ask`` and ``answer`` play them by the rules."""

    buyer: Signer
    seller: Signer
    committed: object
    granted: Granted
    seal_key: bytes = field(repr=False)
    model: object = field(default_factory=network)
    exchanges: list = field(default_factory=list)

    def query(self, i):
        """Return the query that is due as number ``i``."""
        index = query_order(self.granted)[i]
        row = self.committed.inputs[index]
        return Query(
            trial=self.granted.trial,
            i=i,
            index=index,
            x=row.x,
            salt_x=row.salt_x,
            label_hash=row.label_hash,
            path=self.committed.path(index),
        )

    def ask(self, i, **changes):
        """Return query ``i``, changed and then signed by the buyer."""
        return sign_query(msgspec.structs.replace(self.query(i), **changes), self.buyer)

    def answer(self, asked, model=None, prev=None):
        """Return the seller's unsigned answer."""
        last = self.exchanges[-1].answer.id if self.exchanges else self.granted.grant_id
        session = session_of(model or self.model)
        time_ms = NOW_MS + asked.query.i * TRIAL_ANSWER_INTERVAL_MS
        return answer_query(
            self.granted, asked, prev or last, self.seal_key, session, time_ms, Control()
        )

    def exchange(self, count, model=None):
        """Play ``count`` more questions and answers."""
        for _ in range(count):
            asked = self.ask(len(self.exchanges))
            signed = sign_answer(self.answer(asked, model), self.seller)
            self.exchanges.append(Exchange(asked, signed))
        return tuple(self.exchanges)


def row_input(number):
    """Return the input of one row as it is committed to."""
    rng = np.random.default_rng(1000 + number)
    return write_arrays({"x": rng.normal(size=(1, FEATURES)).astype(np.float32)})


def on_trial(rows=24, shown="top1", seed="trial", answers=20):
    """Grant a Trial of ``rows`` committed rows."""
    chance = SeededChance(seed)
    buyer, seller = Signer.from_seed(chance.bytes(32)), Signer.from_seed(chance.bytes(32))
    committed = commit([(row_input(n), b"%d" % (n % CLASSES)) for n in range(rows)], chance)
    trial = EntryId(chance.bytes(32))
    seal_key = trial_seal_key(CONTENT_KEY, trial)
    request = TrialRequest(
        release=chance.bytes(32),
        way="answers",
        commit=TrialCommit(
            root=committed.root,
            n=rows,
            metric="accuracy",
            claim=None,
            margin=None,
            alpha=50_000,
            beta=100_000,
        ),
        expires=NOW_MS + DAY_MS,
    )
    grant = TrialGrant(
        trial=trial,
        artifact=ARTIFACT,
        sealed=None,
        answers=AnswersTerms(
            limits=TrialLimits(
                answers=answers,
                input_bytes=1024,
                total_bytes=64 * 1024,
                interval_ms=TRIAL_ANSWER_INTERVAL_MS,
                until_ms=NOW_MS + DAY_MS,
            ),
            shown=shown,
            plan=None,
            seal_salt=chance.bytes(32),
            seal_commit=seal_commitment(seal_key),
            seller_nonce=chance.bytes(32),
            pass_price=None,
        ),
    )
    granted = Granted(
        request=request,
        trial=trial,
        grant=grant,
        grant_id=EntryId(chance.bytes(32)),
        buyer=buyer.public_key,
        seller=seller.public_key,
    )
    return OnTrial(buyer, seller, committed, granted, seal_key)


def with_terms(granted, **changes):
    """Return ``granted`` with other terms of its answers."""
    terms = msgspec.structs.replace(granted.grant.answers, **changes)
    return replace(granted, grant=msgspec.structs.replace(granted.grant, answers=terms))
