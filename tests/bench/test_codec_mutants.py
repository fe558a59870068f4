"""A million damaged encodings: no unexpected exception and no non-canonical acceptance.

``HANSE_BENCH_MUTANTS`` says how many; they are shared out over two processes.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import Counter

import pytest

from tests.hostile.codec_mutants import run

_MUTANTS = int(os.environ.get("HANSE_BENCH_MUTANTS", "1000000"))
_PARTS = 4  # each well under the time after which a test counts as hanging
_PER_TASK = 10_000


@pytest.mark.slow
@pytest.mark.parametrize("part", range(_PARTS))
def test_a_million_mutants_are_refused_or_canonical(part, capsys):
    first, last = part * _MUTANTS // _PARTS, (part + 1) * _MUTANTS // _PARTS
    tasks = [(start, min(_PER_TASK, last - start)) for start in range(first, last, _PER_TASK)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        outcomes = sum(pool.starmap(run, tasks), Counter())
    with capsys.disabled():
        counts = dict(sorted(outcomes.items()))
        sys.stdout.write(f"\ncodec mutants {first} to {last - 1}: {counts}\n")
    tried = outcomes["not_canonical"] + outcomes["bad_shape"] + outcomes["canonical"]
    assert tried + outcomes["unchanged"] == last - first
