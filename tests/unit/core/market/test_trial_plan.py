"""The statistics of a Trial: exact, equal on both sides, and the figures of the design."""

from __future__ import annotations

import random

import pytest
from scipy.stats import binom

from hanse.core.limits import TRIAL_PLANNED_ANSWERS_MAX
from hanse.core.market.trial_plan import (
    BadClaim,
    OtherPlan,
    TooManyAnswersNeeded,
    check_plan,
    fixed_n,
    fixed_test,
    percent,
    plan,
    plan_of,
    verdict,
)
from hanse.core.model.trial import AnswersTerms, TrialCommit, TrialLimits

# market.md 6: claim -> margin in points -> fixed n and, where it is given, its cut.
FIXED = {
    800_000: {2: (3555, None), 3: (1614, None), 5: (596, 460), 10: (160, 119)},
    900_000: {2: (2096, None), 3: (968, None), 5: (368, 321), 10: (109, 92)},
    950_000: {2: (1196, None), 3: (572, None), 5: (233, 215), 10: (77, 69)},
    990_000: {2: (390, None), 3: (198, None), 5: (110, 106), 10: (34, None)},
}
FIXED_ROWS = [
    (claim, points * 10_000, n, cut)
    for claim, by_points in FIXED.items()
    for points, (n, cut) in by_points.items()
]
# certification.md 12: claim, margin, right, wrong, cap, k, false alarm, power, means.
SEQUENTIAL = [
    (800_000, 100_000, -133531, 405465, 120, 87, 43, 766, 70, 75),
    (800_000, 50_000, -64539, 223144, 400, 305, 49, 744, 241, 268),
    (900_000, 100_000, -117783, 693147, 120, 101, 45, 868, 54, 55),
    (900_000, 50_000, -57158, 405465, 400, 348, 49, 860, 176, 191),
    (950_000, 100_000, -111226, 1098612, 116, 105, 42, 901, 41, 39),
    (950_000, 50_000, -54067, 693147, 350, 324, 46, 896, 121, 123),
]


def rounded(value, scale):
    return (value + scale // 2) // scale


@pytest.mark.parametrize(("claim", "margin", "n", "cut"), FIXED_ROWS)
def test_the_fixed_test_has_the_figures_of_the_design(claim, margin, n, cut):
    found = fixed_test(claim, margin)
    assert found is not None
    assert found.n == n == fixed_n(claim, margin)
    assert cut in (None, found.cut)


@pytest.mark.parametrize(("claim", "margin", "n", "cut"), FIXED_ROWS)
def test_the_fixed_test_keeps_both_errors_and_none_that_is_smaller_does(claim, margin, n, cut):
    del cut
    p0, p1 = claim / 1e6, (claim - margin) / 1e6
    found = fixed_test(claim, margin)
    assert found is not None
    assert binom.cdf(found.cut, n, p0) <= 0.05 < binom.cdf(found.cut + 1, n, p0)
    assert binom.cdf(found.cut, n, p1) >= 0.90
    for fewer in range(max(1, n - 40), n):
        widest = int(binom.ppf(0.05, fewer, p0))
        widest -= binom.cdf(widest, fewer, p0) > 0.05
        assert binom.cdf(widest, fewer, p1) < 0.90


@pytest.mark.parametrize(
    ("claim", "margin", "right", "wrong", "cap", "k", "alarm", "power", "mean_true", "mean_false"),
    SEQUENTIAL,
)
def test_the_sequential_test_has_the_figures_of_the_design(
    claim, margin, right, wrong, cap, k, alarm, power, mean_true, mean_false
):
    found = plan(claim, margin)
    steps = found.steps
    assert (steps.right, steps.wrong, steps.cap, steps.k) == (right, wrong, cap, k)
    assert (steps.fail, steps.pass_) == (2_890_372, -2_251_292)
    assert (rounded(found.false_alarm_micro, 1000), rounded(found.power_micro, 1000)) == (
        alarm,
        power,
    )
    means = (found.mean_if_true_milli, found.mean_if_false_milli)
    assert tuple(rounded(one, 1000) for one in means) == (mean_true, mean_false)
    assert found.budget_binds == (cap in (120, 400))


def test_a_claim_of_99_has_the_cap_of_the_rule_and_the_designs_figures_under_its_budget():
    assert (plan(990_000, 50_000).steps.cap, plan(990_000, 50_000).steps.k) == (165, 161)
    found = plan(990_000, 50_000, 150)
    assert (found.steps.right, found.steps.wrong) == (-51825, 1791759)
    assert (found.steps.cap, found.steps.k) == (150, 146)
    assert (rounded(found.false_alarm_micro, 1000), rounded(found.power_micro, 1000)) == (49, 903)
    assert found.mean_if_true_milli // 1000 == 62
    assert found.mean_if_false_milli // 1000 == 49


def test_small_margins_exceed_the_budget_and_say_by_how_much():
    with pytest.raises(TooManyAnswersNeeded) as caught:
        plan(900_000, 20_000)
    assert caught.value.values == {
        "claim": "90 %",
        "margin": "2 %",
        "needed": 2096,
        "budget": 400,
    }
    with pytest.raises(TooManyAnswersNeeded) as caught:
        plan(999_000, 500)
    assert caught.value.values["needed"] == TRIAL_PLANNED_ANSWERS_MAX


@pytest.mark.parametrize(
    ("claim", "margin", "alpha", "beta"),
    [
        (0, 1, 50_000, 100_000),
        (1_000_000, 50_000, 50_000, 100_000),
        (900_000, 0, 50_000, 100_000),
        (50_000, 50_000, 50_000, 100_000),
        (900_000, 50_000, 0, 100_000),
        (900_000, 50_000, 500_000, 500_000),
    ],
)
def test_nothing_to_test_is_said(claim, margin, alpha, beta):
    with pytest.raises(BadClaim):
        plan(claim, margin, None, alpha, beta)


def test_a_verdict_comes_at_a_bound_and_later_answers_change_nothing():
    found = plan(900_000, 100_000)
    # 5 wrong answers sum to 3,465,735 micro-nats, 4 to 2,772,588.
    assert verdict(found, [False] * 4).word == "continue"
    assert verdict(found, [False] * 5).word == "failed"
    assert verdict(found, [False] * 5 + [True] * 100).answers == 5
    # 20 right answers sum to -2,355,660, 19 to -2,237,877.
    assert verdict(found, [True] * 19).word == "continue"
    passed = verdict(found, [True] * 20)
    assert (passed.word, passed.answers, passed.left) == ("passed", 20, 0)


def test_while_it_continues_only_numbers_of_answers_are_told():
    said = verdict(plan(900_000, 50_000), [True, False, True])
    assert (said.word, said.answers, said.left) == ("continue", 3, 397)
    shown = {name for name in said.__slots__ if name not in ("word", "answers", "left")}
    assert shown == {"false_alarm_micro", "miss_micro"}


@pytest.mark.parametrize(("right", "word"), [(101, "failed"), (102, "passed")])
def test_undecided_at_the_cap_k_decides(right, word):
    found = plan(900_000, 100_000)
    steps = found.steps
    answers, total, left = [], 0, [right, steps.cap - right]
    while len(answers) < steps.cap:  # stay between the bounds as long as both sorts are left
        take_right = left[0] and (not left[1] or total > 0)
        left[0 if take_right else 1] -= 1
        total += steps.right if take_right else steps.wrong
        answers.append(bool(take_right))
    assert verdict(found, answers[:-1]).word == "continue"
    said = verdict(found, answers)
    assert (said.word, said.answers) == (word, steps.cap)


@pytest.mark.parametrize(("share", "expected"), [(0.90, "false_alarm"), (0.80, "power")])
def test_simulated_error_rates_are_the_computed_ones(share, expected):
    found, draws, runs = plan(900_000, 100_000), random.Random(12), 3000
    failed = sum(
        verdict(found, (draws.random() < share for _ in range(found.steps.cap))).word == "failed"
        for _ in range(runs)
    )
    exact = getattr(found, f"{expected}_micro") / 1e6
    assert abs(failed / runs - exact) < 4 * (exact * (1 - exact) / runs) ** 0.5


def test_a_plain_test_after_every_answer_refuses_honest_sellers():
    draws, runs, n = random.Random(3), 120, 368
    refused = 0
    for _ in range(runs):
        right = 0
        for asked in range(1, n + 1):
            right += draws.random() < 0.90
            if asked >= 10 and right < asked and binom_tail(right, asked) <= 0.05:
                refused += 1
                break
    assert refused / runs > 0.15  # a sequential test with its cap stays at 0.05


def binom_tail(right, asked, cache={}):  # noqa: B006  # shared on purpose: the same few thousand
    if (right, asked) not in cache:
        cache[right, asked] = float(binom.cdf(right, asked, 0.90))
    return cache[right, asked]


# --- in a grant -----------------------------------------------------------------------------


def commit_of(claim=900_000, margin=50_000, n=1000):
    return TrialCommit(
        root=bytes(32),
        n=n,
        metric="accuracy",
        claim=claim,
        margin=margin,
        alpha=50_000,
        beta=100_000,
    )


def terms_of(steps, answers=400):
    limits = TrialLimits(
        answers=answers, input_bytes=1, total_bytes=1, interval_ms=1000, until_ms=0
    )
    return AnswersTerms(
        limits=limits,
        shown="top1",
        plan=steps,
        seal_salt=bytes(32),
        seal_commit=bytes(32),
        seller_nonce=bytes(32),
        pass_price=None,
    )


def test_both_sides_come_to_the_steps_of_the_grant():
    found = plan_of(commit_of(), 400)
    assert found is not None
    assert check_plan(commit_of(), terms_of(found.steps)) == found


def test_a_grant_with_other_steps_is_refused():
    found = plan_of(commit_of(), 400)
    assert found is not None
    for steps in (None, plan(900_000, 100_000).steps):
        with pytest.raises(OtherPlan):
            check_plan(commit_of(), terms_of(steps))


def test_few_rows_and_few_answers_bound_the_plan():
    few_rows, few_answers = plan_of(commit_of(n=250), 400), plan_of(commit_of(), 260)
    assert few_rows is not None
    assert few_answers is not None
    assert (few_rows.steps.cap, few_answers.steps.cap) == (250, 260)


def test_without_a_claim_there_is_no_plan():
    assert plan_of(commit_of(claim=None, margin=None), 400) is None
    assert check_plan(commit_of(claim=None, margin=None), terms_of(None)) is None


@pytest.mark.parametrize(
    ("micro", "text"), [(900_000, "90 %"), (975_000, "97.5 %"), (1, "0.0001 %"), (-50_000, "-5 %")]
)
def test_shares_are_written_as_people_do(micro, text):
    assert percent(micro) == text
