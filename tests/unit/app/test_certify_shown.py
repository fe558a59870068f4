"""What was measured, in a person's words: units, unknown words, loud contradictions."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hanse.app.commands.certify_shown import (
    check_name,
    claim_lines,
    duration,
    layer_name,
    level_meaning,
    reason_of,
    reproduces_line,
)
from hanse.core.model.certificate import CheckResult, ComparedClaim, Reproduces
from hanse.core.sentences import LANGUAGES, say


def desk(language="en"):
    return SimpleNamespace(
        language=language, say=lambda code, **values: say(code, values, language)
    )


@pytest.mark.parametrize(
    ("time_ns", "shown"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (7_654, "7.65 µs"),
        (13_592_497, "13.6 ms"),
        (250_000_000, "250 ms"),
        (61_000_000_000, "61.0 s"),
    ],
)
def test_a_time_is_shown_in_the_unit_that_says_it(time_ns, shown):
    assert duration(time_ns) == shown


def test_words_of_another_program_are_shown_as_they_were_signed():
    assert reason_of(desk(), CheckResult("x.y", "fail", "cosmic_rays", {}, "three")) == (
        "cosmic_rays, three"
    )
    lacking = CheckResult("run.batch", "fail", "batch_differs", {"row": 1})
    assert reason_of(desk(), lacking) == "batch_differs"
    assert check_name(desk(), "x.y") == "x.y"
    assert layer_name(desk(), "moat:3") == "moat:3"
    assert layer_name(desk(), "landlock:7:fs").endswith("[landlock:7:fs]")


def claim(relation, claimed, measured, n):
    return ComparedClaim(
        "accuracy", "rows.csv", "", claimed, measured, 800_000, 900_000, n, relation
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_contradiction_stands_above_the_table(language):
    lines = claim_lines(desk(language), [claim("worse", 950_000, 850_000, 300)])
    assert lines[1].startswith("!!! ")
    assert "0.95" in lines[1]
    assert "0.85" in lines[1]
    assert not any(it.startswith("!!!") for it in lines[2:])


def test_as_claimed_on_too_few_rows_says_how_many_are_needed():
    few = claim_lines(desk(), [claim("within", 900_000, 850_000, 20)])
    assert "at least 109 are needed" in few[-1]
    enough = claim_lines(desk(), [claim("within", 900_000, 850_000, 109)])
    assert not any("needed" in it for it in enough)
    assert claim_lines(desk(), []) == []


def test_every_verdict_and_level_has_its_sentence():
    entry = b"e" * 32
    differ = Reproduces(entry, "differ", "", 2_000_000, 24, 3)
    assert reproduces_line(desk(), differ).startswith("!!! NOT REPRODUCED: 3 of 24")
    agree = Reproduces(entry, "agree", "", 950, 24, 0)
    assert "9.5e-07" in reproduces_line(desk(), agree)
    for reason in ("vectors_missing", "not_run", "worker", "other"):
        found = Reproduces(entry, "not_comparable", reason, 0, 0, 0)
        assert all(reproduces_line(desk(it), found) for it in LANGUAGES)
    assert len({level_meaning(desk(), number) for number in range(5)}) == 5
