"""Whatever a run came to, its statement reads back; whatever bytes come, they are named."""

from __future__ import annotations

from dataclasses import replace

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from hanse.core.attest.faults import BadStatement
from hanse.core.attest.predicate import (
    decimal_text,
    parse_decimal,
    parse_time,
    short_decimal_text,
    time_text,
)
from hanse.core.attest.statement import encode_statement, read_statement
from hanse.core.ledger.codec import is_text
from hanse.core.model.certificate import CheckResult, PerfRow, QualityRow
from tests.fakes.certified import statement

FEW = settings(max_examples=60, deadline=None)
WHOLE = statement(b"a" * 32)
RAW = encode_statement(WHOLE)

naturals = st.integers(0, 2**53 - 1)
micros = st.integers(-(2**62), 2**62)
digests = st.binary(min_size=32, max_size=32)
words = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
texts = st.text(max_size=40).filter(lambda one: is_text(one, multiline=False))

checks = st.builds(
    CheckResult,
    id=words.map(lambda word: f"run.{word}"),
    result=st.sampled_from(["pass", "warn", "fail", "skip"]),
    reason=words,
    values=st.dictionaries(words, texts | st.integers(-(2**53) + 1, 2**53 - 1), max_size=3),
    detail=texts,
    ms=naturals,
)
perf = st.builds(
    PerfRow,
    batch=st.integers(1, 2**20),
    threads=st.integers(1, 256),
    n=st.integers(1, 2**40),
    min=naturals,
    p10=naturals,
    p50=naturals,
    p90=naturals,
    p99=st.none() | naturals,
    mad=naturals,
    blocks=st.lists(naturals, max_size=3).map(tuple),
    is_noisy=st.booleans(),
    load_before_centi=st.integers(-1, 10**6),
    load_after_centi=st.integers(-1, 10**6),
)


@st.composite
def quality(draw):
    interval = draw(st.none() | st.tuples(micros, micros))
    return QualityRow(
        dataset=draw(texts.filter(bool)),
        dataset_sha256=draw(digests),
        n=draw(st.integers(1, 2**40)),
        is_public=draw(st.booleans()),
        recipe_sha256=draw(digests),
        metric=draw(words),
        value_micro=draw(micros),
        low_micro=None if interval is None else interval[0],
        high_micro=None if interval is None else interval[1],
        method=draw(words),
        slice=draw(texts),
    )


@FEW
@given(
    st.lists(checks, max_size=3),
    st.lists(perf, max_size=2),
    st.lists(quality(), max_size=2),
    st.integers(0, 253_402_300_799_999),
    digests,
)
def test_what_is_stated_reads_back_in_the_canonical_form(found, rows, figures, at_ms, artifact):
    measured = replace(
        WHOLE.measured,
        checks=tuple(found),
        perf=tuple(rows),
        quality=tuple(figures),
        started_ms=at_ms,
        finished_ms=at_ms,
    )
    whole = replace(WHOLE, measured=measured, artifact=artifact)
    raw = encode_statement(whole)
    assert read_statement(raw) == whole
    assert len(raw) < 40 * 1024


@FEW
@given(st.integers(0, len(RAW) - 1), st.binary(min_size=0, max_size=3))
def test_spoilt_bytes_are_refused_or_the_one_form_of_what_they_say(at, inserted):
    spoilt = RAW[:at] + inserted + RAW[at + 1 :]
    try:
        found = read_statement(spoilt)
    except BadStatement:
        return
    assert encode_statement(found) == spoilt


@FEW
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_by_name(raw):
    with pytest.raises(BadStatement):
        read_statement(raw)


@given(micros, st.sampled_from([2, 6, 9]))
def test_a_number_has_one_text(value, digits):
    assert parse_decimal(decimal_text(value, digits), digits) == value
    assert parse_decimal(short_decimal_text(value, digits), digits) == value


@given(st.integers(0, 253_402_300_799_999))
def test_a_time_has_one_text(time_ms):
    assert parse_time(time_text(time_ms)) == time_ms
    assert rfc8785.dumps(time_text(time_ms)).decode() == f'"{time_text(time_ms)}"'
