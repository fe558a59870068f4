"""Twenty thousand damaged encodings; ``tests/bench`` runs a million."""

from __future__ import annotations

from tests.hostile.codec_mutants import run


def test_no_mutant_is_accepted_wrongly_or_raises_anything_unexpected():
    outcomes = run(start=0, count=20_000)
    # All ways out must have been taken, or the mutants test less than they claim.
    assert {"not_canonical", "bad_shape", "canonical", "void body", "valid body"} <= set(outcomes)
