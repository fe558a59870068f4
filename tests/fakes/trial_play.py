"""What buyers and sellers of a ``Market`` do in a Trial, step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from hanse.core.certify.trial_outputs import read_arrays, write_arrays
from hanse.core.engine.trying.buyer import Question
from hanse.core.engine.trying.data import OwnData
from hanse.core.engine.trying.file import Message, TrialFile, read_trial_file, write_trial_file
from hanse.core.model.control import Control
from hanse.core.trade.trial_messages import read_query, sign_query
from tests.fakes.trial_shop import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from hanse.core.engine.certify_target import CertifyRequest
    from hanse.core.engine.certifying import Certifying
    from hanse.core.engine.trying.views import AnsweredFile
    from hanse.core.model.arrays import Array
    from hanse.core.model.trial import Query
    from tests.fakes.trial_shop import Market

CLAIM = 900_000
MARGIN = 100_000


def unplanned(market: Market) -> Question:
    """Return a question without a claim to test."""
    return Question(OwnData(market.rows))


def claimed(market: Market) -> Question:
    """Return the question whether nine in ten are right."""
    return Question(OwnData(market.rows), CLAIM, MARGIN)


def asked(market: Market, question: Question | None = None, release: bytes = b"") -> bytes:
    """Ask for signed answers, and take what the seller says to it."""
    buying = market.buying.trials.buying
    trial = buying.start(
        release or market.published.release, "answers", Control(), question or unplanned(market)
    ).trial
    assert trial is not None
    reply = market.selling.trials.answering.answer(buying.outgoing(trial), Control())
    buying.take(reply.reply)
    return trial


def answered(market: Market, trial: bytes, count: int) -> AnsweredFile:
    """Let the seller answer the next questions of a Trial; nothing is taken yet."""
    queries = market.buying.trials.buying.next_queries(trial, count)
    return market.selling.trials.answering.answer(queries, Control(), market.pace)


def sealed(market: Market, release: bytes = b"") -> tuple[bytes, bytes]:
    """Return a Sealed local trial that was granted, and the seller's reply."""
    market.anna.clock.advance(31 * DAY_MS)  # one in 30 days
    buying = market.buying.trials.buying
    trial = buying.start(release or market.published.release, "sealed", Control()).trial
    assert trial is not None
    reply = market.selling.trials.answering.answer(buying.outgoing(trial), Control()).reply
    buying.take(reply)
    return trial, reply


def job_of(certifying: Certifying, request: CertifyRequest) -> int:
    """Queue a certification."""
    return certifying.queue(request, now=True).row.job


def next_query(market: Market, trial: bytes) -> Query:
    """Return the question that is due, as an honest app asks it."""
    file = read_trial_file(market.buying.trials.buying.next_queries(trial, 1))
    return read_query(file.messages[0].raw, file.messages[0].signature).query


def signed_file(market: Market, trial: bytes, *queries: Query) -> bytes:
    """Sign questions with the buyer's own key, whatever they are."""
    signer = market.buying.context.unlocked().device_signer
    signed = [sign_query(one, signer) for one in queries]
    messages = tuple(Message(one.raw, one.signature) for one in signed)
    return write_trial_file(TrialFile(market.buying.context.identity, trial, messages=messages))


def with_input(query: Query, change: Callable[[dict[str, Array]], dict[str, Array]]) -> Query:
    """Return a question about other arrays."""
    return msgspec.structs.replace(query, x=write_arrays(change(read_arrays(query.x))))


def forged(raw: bytes, **changes: object) -> bytes:
    """Return a trial file with other parts, whole by itself."""
    return write_trial_file(replace(read_trial_file(raw), **changes))
