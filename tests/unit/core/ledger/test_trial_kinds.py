"""The inner kinds of Trials: every step is read as it was written, everything else refused."""

from __future__ import annotations

import pytest

from hanse.core.errors import BadShape
from hanse.core.ledger.codec import decode_any, encode
from hanse.core.ledger.kinds import INNER_KINDS, Inner, parse_inner_body
from tests.vectors.make_kinds import VALID_TRIAL

REQUEST, ANSWERS, SEALED, REFUSAL, CLOSE, WARRANTY = (decode_any(encode(it)) for it in VALID_TRIAL)


def parsed(kind, fields):
    return parse_inner_body("private/1", Inner(1, bytes(32), 1, kind, fields))


def changed(fields, path, value):
    """Return ``fields`` with the value at a dotted path replaced."""
    first, _, rest = path.partition(".")
    return fields | {first: changed(fields[first], rest, value) if rest else value}


@pytest.mark.parametrize("body", VALID_TRIAL, ids=lambda body: type(body).__name__)
def test_a_valid_body_is_read_and_written_again(body):
    kind = next(kind for kind, rule in INNER_KINDS.items() if rule.body is type(body))
    assert parsed(kind, decode_any(encode(body))) == body


def test_the_step_of_a_body_is_the_one_it_holds():
    for body, name in zip(
        VALID_TRIAL, ("request", "grant", "grant", "refuse", "close"), strict=False
    ):
        assert body.step == getattr(body, name)
        assert type(body).of(body.step) == body
    request, answers, sealed = (body.step for body in VALID_TRIAL[:3])
    assert (request.way, answers.way, sealed.way) == ("answers", "answers", "sealed")
    assert answers.until_ms == answers.answers.limits.until_ms
    assert sealed.until_ms == sealed.sealed.until_ms


def test_every_field_stands_there_even_when_it_is_null():
    for fields in (REQUEST, ANSWERS, SEALED, REFUSAL, CLOSE):
        for name in fields:
            with pytest.raises(BadShape):
                parsed("trial/1", {key: it for key, it in fields.items() if key != name})
    for path in ("request.commit.alpha", "request.expires"):
        outer, _, name = path.rpartition(".")
        inner = REQUEST
        for part in outer.split("."):
            inner = inner[part]
        shorter = {key: it for key, it in inner.items() if key != name}
        with pytest.raises(BadShape, match=name):
            parsed("trial/1", changed(REQUEST, outer, shorter))


def test_a_body_holds_exactly_one_step():
    nothing = dict.fromkeys(REQUEST)
    with pytest.raises(BadShape, match="one step"):
        parsed("trial/1", nothing)
    with pytest.raises(BadShape, match="one step"):
        parsed("trial/1", REQUEST | {"close": CLOSE["close"]})


@pytest.mark.parametrize(
    ("fields", "path", "value"),
    [
        (REQUEST, "request.way", "open"),
        (REQUEST, "request.way", "sealed"),
        (REQUEST, "request.commit", None),
        (REQUEST, "request.commit.n", 0),
        (REQUEST, "request.commit.n", 10_001),
        (REQUEST, "request.commit.claim", None),
        (REQUEST, "request.commit.claim", 1_000_000),
        (REQUEST, "request.commit.margin", 900_000),
        (REQUEST, "request.commit.beta", 950_000),
        (REQUEST, "request.commit.metric", "a\nb"),
        (REQUEST, "request.commit.root", bytes(31)),
        (ANSWERS, "grant.answers", None),
        (ANSWERS, "grant.sealed", SEALED["grant"]["sealed"]),
        (ANSWERS, "grant.answers.shown", "logits"),
        (ANSWERS, "grant.answers.limits.answers", 401),
        (ANSWERS, "grant.answers.limits.input_bytes", 8 * 1024**2 + 1),
        (ANSWERS, "grant.answers.limits.total_bytes", 256 * 1024**2 + 1),
        (ANSWERS, "grant.answers.pass_price", [-1, "EUR", 2]),
        (ANSWERS, "grant.answers.plan.cap", 0),
        (ANSWERS, "grant.answers.seller_nonce", bytes(16)),
        (SEALED, "grant.sealed.runs_max", 10_001),
        (SEALED, "grant.sealed.keys", [bytes(32), 4_136, None]),
        (SEALED, "grant.sealed.keys", [bytes(32), 4 * 1024**2 + 1, bytes(32)]),
        (REFUSAL, "refuse.reason", "no"),
        (REFUSAL, "refuse.text", "x" * 501),
        (REFUSAL, "refuse.text", "a\x07b"),
        (CLOSE, "close.n", -1),
        (CLOSE, "close.last", bytes(31)),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_a_broken_step_is_refused(fields, path, value):
    with pytest.raises(BadShape):
        parsed("trial/1", changed(fields, path, value))


def test_a_trial_of_regression_states_no_claim():
    fields = changed(changed(REQUEST, "request.commit.claim", None), "request.commit.margin", None)
    assert parsed("trial/1", fields).request.commit.claim is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("answers", []),
        ("answers", [bytes([n]) * 32 for n in range(9)]),
        ("answers", [bytes(32), bytes(32)]),
        ("failing", 177),
        ("failing", 1),
        ("n", 0),
        ("inputs", [bytes(32), 1, None]),
        ("outputs", [bytes(32), 1, None]),
        ("seal_key", bytes(16)),
        ("runtime", "x" * 81),
        ("artifact", None),
    ],
)
def test_a_broken_proof_is_refused(name, value):
    with pytest.raises(BadShape):
        parsed("warranty/1", WARRANTY | {name: value})


def test_a_proof_shows_nothing_in_its_representation():
    body = parsed("warranty/1", WARRANTY)
    assert repr(body) == "Warranty1(...)"
    assert repr(parsed("trial/1", SEALED)) == "Trial1(...)"
