"""Several models on one data set: ranks, ties, costs, and the file that leaves."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as oracle

from hanse.core.certify.data import (
    BakeOffEntry,
    expected_cost,
    rank,
    read_costs,
    table_csv,
)
from hanse.core.certify.data.bakeoff import BakeOffRefused
from hanse.core.certify.data.costs import CostMatrix
from hanse.core.certify.data.faults import CostsRefused
from hanse.core.certify.data.paired import holm, mcnemar
from hanse.core.model.money import Money
from tests.fakes.data_sets import judged

CHANCE = np.random.default_rng(2)
N = 600
TRUTH = CHANCE.integers(0, 2, N)
DEMAND = CHANCE.gamma(4, 20, N)


def wrong_at(share):
    flipped = CHANCE.random(N) < share
    return np.where(flipped, 1 - TRUTH, TRUTH)


GOOD, ALSO_GOOD, POOR = wrong_at(0.1), wrong_at(0.11), wrong_at(0.3)


def entry(name, said=None, **more):
    of = None if said is None else judged(TRUTH, {"label": said}, labels=("no", "yes"))
    return BakeOffEntry(name, of, **more)


def forecaster(name, noise):
    said = DEMAND + CHANCE.normal(0, noise, N)
    return BakeOffEntry(name, judged(DEMAND, {"variable": said}, "series"))


def test_models_that_cannot_be_told_apart_share_a_rank():
    table = rank([entry("poor", POOR), entry("good", GOOD), entry("also", ALSO_GOOD)], "accuracy")
    assert [row.rank for row in table.rows] == [1, 1, 3]
    assert {row.name for row in table.rows[:2]} == {"good", "also"}
    assert table.rows[2].name == "poor"
    assert set(table.rows[0].like) == {"good", "also"} - {table.rows[0].name}
    assert (table.more_is_better, table.ranked_by, table.n) == (True, "accuracy", N)


def test_the_share_of_right_answers_is_tested_as_mcnemar_does():
    table = rank([entry("a", GOOD), entry("b", POOR)], "accuracy")
    first, second = GOOD == TRUTH, POOR == TRUTH
    b, c = np.sum(first & ~second), np.sum(second & ~first)
    want = stats.binomtest(int(b), int(b + c), 0.5).pvalue
    assert mcnemar(first, second) == pytest.approx(want)
    assert table.pairs[0].p_micro == round(want * 1e6)
    assert mcnemar(first, first) == 1.0


def test_holm_is_that_of_scipys_definition():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_two_forecasters_rank_as_scikit_learn_ranks_them():
    entries = [forecaster("rough", 12), forecaster("fine", 8), forecaster("finest", 3)]
    table = rank(entries, "mae")
    said = {one.name: one.judged.values[:, 0] for one in entries}
    want = {name: oracle.mean_absolute_error(DEMAND, one) for name, one in said.items()}
    assert [row.name for row in table.rows] == sorted(want, key=want.get)
    assert [row.value_micro for row in table.rows] == [
        round(want[row.name] * 1e6) for row in table.rows
    ]
    assert [row.rank for row in table.rows] == [1, 2, 3]
    assert not table.more_is_better


def test_one_model_alone_is_first_and_has_no_pairs():
    table = rank([entry("only", GOOD)], "accuracy")
    assert [row.rank for row in table.rows] == [1]
    assert table.pairs == ()


def test_equal_models_share_the_first_rank():
    table = rank([entry("a", GOOD), entry("b", GOOD)], "balanced_accuracy")
    assert [row.rank for row in table.rows] == [1, 1]
    assert table.pairs[0].p_micro == 1_000_000


def test_bias_is_better_the_nearer_to_nothing():
    low = BakeOffEntry("low", judged(DEMAND, {"y": DEMAND - 9}, "series"))
    high = BakeOffEntry("high", judged(DEMAND, {"y": DEMAND + 2}, "series"))
    assert [row.name for row in rank([low, high], "bias").rows] == ["high", "low"]


def test_a_model_without_answers_stays_in_the_table():
    table = rank([entry("broken", failure="timeout", p50_ns=5), entry("good", GOOD)], "accuracy")
    assert [(row.rank, row.name, row.failure) for row in table.rows] == [
        (1, "good", ""),
        (None, "broken", "timeout"),
    ]
    assert table.rows[1].p50_ns == 5


def test_a_metric_one_model_cannot_have_leaves_it_without_rank():
    scores = np.stack([1 - TRUTH, TRUTH], axis=1) * 0.8 + 0.1
    both = BakeOffEntry("both", judged(TRUTH, {"prob": scores}, labels=("no", "yes")))
    table = rank([entry("labels", GOOD), both], "roc_auc")
    assert [(row.name, row.failure) for row in table.rows] == [
        ("both", ""),
        ("labels", "no_scores"),
    ]


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([], "count"),
        ([entry(str(i), GOOD) for i in range(21)], "count"),
        ([entry("a", GOOD), entry("a", POOR)], "name_twice"),
        ([entry("a", failure="crash")], "no_answers"),
        ([entry("a", GOOD), BakeOffEntry("b", judged([0, 1], {"label": [0, 1]}))], "other_data"),
    ],
)
def test_what_cannot_be_compared_is_refused(entries, reason):
    with pytest.raises(BakeOffRefused) as fault:
        rank(entries, "accuracy")
    assert fault.value.values["reason"] == reason


def test_twenty_models_are_compared_under_one_bound():
    table = rank([entry(f"m{i}", wrong_at(0.1 + i / 50)) for i in range(20)], "macro_f1")
    assert len(table.pairs) == 190
    assert table.rows[0].rank == 1
    assert table.rows[-1].rank > 10


# --- costs ----------------------------------------------------------------------------------

COSTS = b'{"labels": ["no", "yes"], "costs": [[0, "1.5"], [20, -0.25]], "unit": "EUR"}'


def test_a_cost_matrix_is_read_from_json_and_csv():
    want = CostMatrix(("no", "yes"), ((0, 1_500_000), (20_000_000, -250_000)), "EUR")
    assert read_costs(COSTS, "json") == want
    assert read_costs(b"EUR,no,yes\nyes,20,-0.25\nno,0,1.5\n", "csv") == want


def test_the_expected_cost_is_counts_times_prices_over_rows():
    assert expected_cost([[90, 10], [1, 9]], [[0, 1_500_000], [20_000_000, 0]]) == 318_182
    assert expected_cost([[0, 0], [0, 0]], [[1, 2], [3, 4]]) == 0


def test_with_costs_the_cheapest_is_first_whatever_its_metric():
    careful = np.maximum(GOOD, wrong_at(0.25) * (TRUTH == 0))  # more alarms, fewer misses
    careful = np.where((TRUTH == 1) & (CHANCE.random(N) < 0.98), 1, careful)
    costs = read_costs(COSTS, "json")
    table = rank([entry("good", GOOD), entry("careful", careful)], "accuracy", costs)
    assert [row.name for row in table.rows] == ["careful", "good"]
    assert [row.rank for row in table.rows] == [1, 2]
    assert (table.ranked_by, table.cost_unit) == ("expected_cost", "EUR")
    for row, said in zip(table.rows, (careful, GOOD), strict=True):
        counts = oracle.confusion_matrix(TRUTH, said)
        assert row.cost_micro == expected_cost(counts.tolist(), costs.costs_micro)
        assert row.cost_low_micro < row.cost_micro < row.cost_high_micro


@pytest.mark.parametrize(
    ("raw", "kind", "rule"),
    [
        (b"{", "json", "not_readable"),
        (b'{"labels": ["a", "b"], "costs": [[0, 1]]}', "json", "size"),
        (b'{"labels": ["a", "a"], "costs": [[0, 1], [1, 0]]}', "json", "label_twice"),
        (b'{"labels": ["a", "b"], "costs": [[0, 1], [1, null]]}', "json", "amount"),
        (b'{"labels": ["a", "b"], "costs": [[0, 1], [1, 1e12]]}', "json", "amount"),
        (b'{"labels": ["a"], "costs": [[0]]}', "json", "not_readable"),
        (b",a,b\na,0,1\n", "csv", "size"),
        (b",a,b\na,0,1\nc,1,0\n", "csv", "labels"),
        (b",a,b\na,0,1\na,1,0\n", "csv", "label_twice"),
        (b",a,b\na,0,x\nb,1,0\n", "csv", "amount"),
        (b",a,b\na,0\nb,1,0\n", "csv", "size"),
        (b"\xff\xfe", "csv", "not_readable"),
        (b" " * 2_000_000, "json", "too_large"),
    ],
)
def test_a_cost_matrix_that_is_none_is_refused_by_its_rule(raw, kind, rule):
    with pytest.raises(CostsRefused) as fault:
        read_costs(raw, kind)
    assert fault.value.rule == rule


def test_a_matrix_without_a_label_of_the_model_is_refused_with_both():
    costs = CostMatrix(("no", "maybe"), ((0, 1), (1, 0)))
    with pytest.raises(CostsRefused) as fault:
        rank([entry("a", GOOD)], "accuracy", costs)
    assert fault.value.values["found"] == ("no", "maybe")
    assert fault.value.values["expected"] == ("no", "yes")


# --- the file -------------------------------------------------------------------------------


def test_the_table_is_written_as_plain_csv():
    entries = [
        entry("=cmd()", GOOD, p50_ns=120, peak_rss_bytes=9, price=Money(1999, "EUR", 2)),
        entry('quo"ted, name', POOR, relation="smaller", price=Money(-5, "ETH", 18)),
        entry("@broken", failure="crash"),
    ]
    text = table_csv(rank(entries, "accuracy", read_costs(COSTS, "json")))
    assert text.count("\r\n") == text.count("\n") == 4
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["name"] for row in rows] == ["'=cmd()", 'quo"ted, name', "'@broken"]
    assert [row["price"] for row in rows] == ["19.99", "-0.000000000000000005", ""]
    assert rows[0]["accuracy"] == f"{np.mean(GOOD == TRUTH):.6f}".rstrip("0")
    assert (rows[0]["rank"], rows[2]["rank"], rows[2]["failure"]) == ("1", "", "crash")
    assert rows[1]["relation"] == "smaller"
    assert {row["dataset_sha256"] for row in rows} == {"01" * 32}
