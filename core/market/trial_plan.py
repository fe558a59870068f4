"""How many answers a Trial needs, and what they decide: exact, and the same on both sides.

* The claim p0 is tested against p1 = claim - margin; both are shares of right answers.
* Fixed test: the smallest n with a cut c such that P(X <= c | p0) <= alpha and
  P(X <= c | p1) >= 1 - beta; exact binomials in integers.
* Sequential test (Wald, SPRT) in whole micro-nats, so that nobody rounds differently.  It is
  truncated at ``cap`` answers: undecided there, the claim fails with at most k right ones.
* k is the largest that keeps the false alarms of the *truncated* test at alpha; paths are
  counted, not simulated.  Cut by the fixed test's own cut it would raise them to 5.9 %.
* Until it is decided the verdict is "continue" and nothing else.  A running percentage with a
  test after every answer refuses one honest seller in four.

Who is asked what, and whether an answer is right, is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from hanse.core.errors import Refused, VerificationFailed, WrongUse
from hanse.core.limits import TRIAL_ANSWERS_PER_BUYER_MAX, TRIAL_PLANNED_ANSWERS_MAX
from hanse.core.model.card import MICRO
from hanse.core.model.trial import Plan, PlanSteps, PlanVerdict, PlanWord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hanse.core.model.trial import AnswersTerms, TrialCommit

ALPHA_MICRO: Final = 50_000
BETA_MICRO: Final = 100_000
BUDGET: Final = TRIAL_ANSWERS_PER_BUYER_MAX
WIDE_BUDGET: Final = 120  # where the margin is wide
WIDE_MARGIN_MICRO: Final = 100_000

_LN: Final = Context(prec=50, rounding=ROUND_HALF_EVEN)
_MILLI: Final = 1000
_REMEMBERED: Final = 64  # plans


class BadClaim(WrongUse):
    """A claim, its margin and the error rates leave nothing to test; all as percentages."""

    code = "trial.bad_claim"
    text = (
        "claim {claim}, margin {margin}, errors {alpha} and {beta}: 0 < margin < claim < 100 %, "
        "and both errors together below 100 %"
    )
    fields = ("claim", "margin", "alpha", "beta")


class TooManyAnswersNeeded(Refused):
    """So small a margin needs more answers than signed answers allow; a local way has no such end.

    ``needed`` is the fixed test's number, or the limit of what is looked at when it is beyond.
    """

    code = "trial.too_many_answers"
    text = "claim {claim} with margin {margin} needs {needed} answers, budget {budget}"
    fields = ("claim", "margin", "needed", "budget")


class OtherPlan(VerificationFailed):
    """The steps of a GRANT are not those that its claim, margin and budget come to."""

    code = "trial.other_plan"
    text = "the grant's test is not the one its claim, margin and budget come to"
    fields = ()


@dataclass(frozen=True, slots=True)
class FixedTest:
    """Ask ``n`` times; with at most ``cut`` right answers the claim fails."""

    n: int
    cut: int


def budget_for(margin_micro: int) -> int:
    """Return how many answers a Trial has at most, by how wide the margin is."""
    return WIDE_BUDGET if margin_micro >= WIDE_MARGIN_MICRO else BUDGET


@lru_cache(maxsize=_REMEMBERED)
def fixed_test(
    claim_micro: int,
    margin_micro: int,
    alpha_micro: int = ALPHA_MICRO,
    beta_micro: int = BETA_MICRO,
) -> FixedTest | None:
    """Find the smallest fixed test, or ``None`` beyond ``TRIAL_PLANNED_ANSWERS_MAX``.

    The distribution is carried from n to n + 1 in integers: for one more answer
    P(X <= c) loses p P(X = c).  The cut only grows with n, so one walk finds it.
    """
    _check_claim(claim_micro, margin_micro, alpha_micro, beta_micro)
    at_claim, at_missed = _Tail(claim_micro), _Tail(claim_micro - margin_micro)
    for n in range(1, TRIAL_PLANNED_ANSWERS_MAX + 1):
        for tail in (at_claim, at_missed):
            tail.one_more()
        while at_claim.upto * MICRO <= alpha_micro * at_claim.scale:
            for tail in (at_claim, at_missed):
                tail.higher()
        if at_missed.below * MICRO >= (MICRO - beta_micro) * at_missed.scale:
            return FixedTest(n, at_claim.cut - 1)
    return None


def fixed_n(claim_micro: int, margin_micro: int) -> int:
    """Return how many answers the fixed test needs; one more than is looked at when beyond."""
    found = fixed_test(claim_micro, margin_micro)
    return TRIAL_PLANNED_ANSWERS_MAX + 1 if found is None else found.n


class _Tail:
    """P(X <= cut) and P(X = cut) of a binomial, as integers over ``scale`` = MICRO ** n."""

    def __init__(self, share_micro: int) -> None:
        self._right, self._wrong = share_micro, MICRO - share_micro
        self._n = 0
        self.cut = 0
        self.upto = self._at = self.scale = 1

    @property
    def below(self) -> int:
        """Return P(X < cut)."""
        return self.upto - self._at

    def one_more(self) -> None:
        """Go on to n + 1."""
        self._n += 1
        self.scale *= MICRO
        self.upto = self.upto * MICRO - self._right * self._at
        # C(n, c) q: exact, because the quotient is a whole number of ways.
        self._at = self._at * self._n * self._wrong // (self._n - self.cut)

    def higher(self) -> None:
        """Go on to cut + 1."""
        self.cut += 1
        self._at = self._at * (self._n - self.cut + 1) * self._right // (self.cut * self._wrong)
        self.upto += self._at


@lru_cache(maxsize=_REMEMBERED)
def plan(
    claim_micro: int,
    margin_micro: int,
    budget: int | None = None,
    alpha_micro: int = ALPHA_MICRO,
    beta_micro: int = BETA_MICRO,
) -> Plan:
    """Plan a sequential test with at most ``budget`` answers.

    Raise ``TooManyAnswersNeeded`` where even half as many again as the budget would not be
    enough for the fixed test, since the sequential one saves no more than that.
    """
    most = budget_for(margin_micro) if budget is None else budget
    fixed = fixed_test(claim_micro, margin_micro, alpha_micro, beta_micro)
    if fixed is None or 2 * fixed.n > 3 * most:
        raise TooManyAnswersNeeded(
            claim=percent(claim_micro),
            margin=percent(margin_micro),
            needed=TRIAL_PLANNED_ANSWERS_MAX if fixed is None else fixed.n,
            budget=most,
        )
    missed_micro = claim_micro - margin_micro
    right = _log(missed_micro, claim_micro)
    wrong = _log(MICRO - missed_micro, MICRO - claim_micro)
    fail = _log(MICRO - beta_micro, alpha_micro)
    pass_ = _log(beta_micro, MICRO - alpha_micro)
    cap = min(most, -(-3 * fixed.n // 2))
    paths = _Paths(right, wrong, fail, pass_, cap)
    k = paths.largest_k(claim_micro, alpha_micro)
    steps = PlanSteps(right=right, wrong=wrong, fail=fail, pass_=pass_, cap=cap, k=k)
    return Plan(
        claim_micro=claim_micro,
        margin_micro=margin_micro,
        alpha_micro=alpha_micro,
        beta_micro=beta_micro,
        budget=most,
        fixed_n=fixed.n,
        fixed_cut=fixed.cut,
        steps=steps,
        false_alarm_micro=paths.failing_micro(claim_micro, k),
        power_micro=paths.failing_micro(missed_micro, k),
        mean_if_true_milli=paths.mean_milli(claim_micro),
        mean_if_false_milli=paths.mean_milli(missed_micro),
    )


def _log(over: int, under: int) -> int:
    """Return ln(over / under) in micro-nats, to the nearest whole one."""
    value = _LN.ln(_LN.divide(Decimal(over), Decimal(under)))
    return int(_LN.multiply(value, Decimal(MICRO)).to_integral_value(ROUND_HALF_EVEN))


class _Paths:
    """In how many ways the test ends at (answers, right ones); the same for every share.

    ``failed`` and ``passed`` count the ways to cross a bound there for the first time,
    ``open`` those that are undecided after ``cap`` answers, by right ones.
    """

    def __init__(self, right: int, wrong: int, fail: int, pass_: int, cap: int) -> None:
        self._cap = cap
        self.failed: list[tuple[int, int, int]] = []
        self.passed: list[tuple[int, int, int]] = []
        ways = {0: 1}
        for n in range(1, cap + 1):
            reached: dict[int, int] = {}
            for r, count in ways.items():
                reached[r] = reached.get(r, 0) + count
                reached[r + 1] = reached.get(r + 1, 0) + count
            ways = {}
            for r, count in reached.items():
                total = r * right + (n - r) * wrong
                if total >= fail:
                    self.failed.append((n, r, count))
                elif total <= pass_:
                    self.passed.append((n, r, count))
                else:
                    ways[r] = count
        self.open = ways

    def largest_k(self, claim_micro: int, alpha_micro: int) -> int:
        """Return the largest k that keeps false alarms at alpha; -1: no right answer fails it."""
        share = _Share(claim_micro, self._cap)
        alarms = share.sum(self.failed)
        k = -1
        for r in sorted(self.open):
            alarms += share.of(self._cap, r, self.open[r])
            if alarms * MICRO > alpha_micro * share.whole:
                break
            k = r
        return k

    def failing_micro(self, share_micro: int, k: int) -> int:
        """Return how often the test fails at this share of right answers."""
        share = _Share(share_micro, self._cap)
        ending = [(self._cap, r, count) for r, count in self.open.items() if r <= k]
        return _nearest(share.sum(self.failed + ending) * MICRO, share.whole)

    def mean_milli(self, share_micro: int) -> int:
        """Return the expected number of answers, in thousandths."""
        share = _Share(share_micro, self._cap)
        ends = self.failed + self.passed
        ends += [(self._cap, r, count) for r, count in self.open.items()]
        asked = sum(n * share.of(n, r, count) for n, r, count in ends)
        return _nearest(asked * _MILLI, share.whole)


class _Share:
    """Probabilities at one share of right answers, as integers over ``whole``."""

    def __init__(self, share_micro: int, cap: int) -> None:
        self._cap = cap
        self._right = _powers(share_micro, cap)
        self._wrong = _powers(MICRO - share_micro, cap)
        self._all = _powers(MICRO, cap)
        self.whole = self._all[cap]

    def of(self, n: int, r: int, ways: int) -> int:
        """Return the probability of ending after ``n`` answers with ``r`` right ones."""
        return ways * self._right[r] * self._wrong[n - r] * self._all[self._cap - n]

    def sum(self, ends: Iterable[tuple[int, int, int]]) -> int:
        """Return the probability of all ``ends`` together."""
        return sum(self.of(n, r, ways) for n, r, ways in ends)


def _powers(base: int, most: int) -> list[int]:
    found = [1]
    for _ in range(most):
        found.append(found[-1] * base)
    return found


def _nearest(over: int, under: int) -> int:
    return (2 * over + under) // (2 * under)


def verdict(plan: Plan, answers: Iterable[bool]) -> PlanVerdict:
    """Say what the answers decide, in their order; those after the decision change nothing."""
    steps = plan.steps
    total = asked = right = 0
    word: PlanWord = "continue"
    for is_right in answers:
        asked += 1
        right += is_right
        total += steps.right if is_right else steps.wrong
        if total >= steps.fail:
            word = "failed"
        elif total <= steps.pass_:
            word = "passed"
        elif asked == steps.cap:
            word = "failed" if right <= steps.k else "passed"
        else:
            continue
        break
    return PlanVerdict(
        word=word,
        answers=asked,
        left=steps.cap - asked if word == "continue" else 0,
        false_alarm_micro=plan.false_alarm_micro,
        miss_micro=MICRO - plan.power_micro,
    )


def plan_of(commit: TrialCommit, answers: int) -> Plan | None:
    """Plan the test of a REQUEST, of which at most ``answers`` are given; none without a claim.

    Both sides call this with the GRANT's number of answers and come to the same steps.
    """
    if commit.claim is None or commit.margin is None:
        return None
    budget = min(budget_for(commit.margin), answers, commit.n)
    return plan(commit.claim, commit.margin, budget, commit.alpha, commit.beta)


def check_plan(commit: TrialCommit, terms: AnswersTerms) -> Plan | None:
    """Return the plan of a GRANT, or raise ``OtherPlan`` when its steps are other ones."""
    found = plan_of(commit, terms.limits.answers)
    if (None if found is None else found.steps) != terms.plan:
        raise OtherPlan
    return found


def _check_claim(claim_micro: int, margin_micro: int, alpha_micro: int, beta_micro: int) -> None:
    is_claim = 0 < margin_micro < claim_micro < MICRO
    if not is_claim or min(alpha_micro, beta_micro) < 1 or alpha_micro + beta_micro >= MICRO:
        raise BadClaim(
            claim=percent(claim_micro),
            margin=percent(margin_micro),
            alpha=percent(alpha_micro),
            beta=percent(beta_micro),
        )


def percent(micro: int) -> str:
    """Write a share as people do: ``90 %``, ``97.5 %``."""
    whole, rest = divmod(abs(micro), MICRO // 100)
    figure = f"{whole}.{rest:04}".rstrip("0").rstrip(".")
    return f"{'-' if micro < 0 else ''}{figure} %"
