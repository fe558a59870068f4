"""Several models on one data set: a table in which those that cannot be told apart share a rank.

* A rank is one more than the number of models that are better by more than chance, so that nobody
  is put behind a model that may only have been lucky.
* With a cost matrix what counts is the cost expected; the metric stands beside it.
* A model that could not be run or judged stays in the table, without a rank and with its reason.
* A figure of a trial edition says how that differs from the model that is sold (``relation``).

The table is a value; nothing of it leaves this computer by itself.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from hanse.core.certify.data.costs import cost_of
from hanse.core.certify.data.evaluating import micro
from hanse.core.certify.data.faults import named
from hanse.core.certify.data.intervals import interval_of, seed_of, spread
from hanse.core.certify.data.metrics import Unmeasurable, summed
from hanse.core.certify.data.paired import differences
from hanse.core.certify.data.plan import base_of
from hanse.core.errors import WrongUse
from hanse.core.limits import BAKEOFF_CANDIDATES_MAX
from hanse.core.market.claims import direction_of
from hanse.core.market.scaled import micro_text, scaled_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.certify.data.costs import CostMatrix
    from hanse.core.certify.data.intervals import Summed
    from hanse.core.certify.data.outputs import Judged
    from hanse.core.certify.data.paired import Difference
    from hanse.core.model.arrays import Array
    from hanse.core.model.money import Money

COST: Final = "expected_cost"  # what a table by cost is ranked by
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would calculate


class BakeOffRefused(WrongUse):
    """The models cannot be compared as asked; ``reason`` is a stable word."""

    code = "bakeoff.refused"
    text = "bake-off: {reason}: found {found}, expected {expected}"
    fields = ("reason", "found", "expected")


@dataclass(frozen=True, slots=True)
class BakeOffEntry:
    """One model in the bake-off: what it answered, and what it took.

    ``judged`` is ``None`` when there are no answers, and ``failure`` then says why in a stable
    word.  ``relation`` is that of a trial edition, empty for the very model.
    """

    name: str
    judged: Judged | None
    p50_ns: int | None = None
    peak_rss_bytes: int | None = None
    price: Money | None = None
    relation: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class BakeOffRow:
    """One line of the table; ``rank`` is ``None`` for a model without a figure.

    ``like`` names the models it cannot be told apart from.
    """

    rank: int | None
    name: str
    value_micro: int | None
    low_micro: int | None
    high_micro: int | None
    cost_micro: int | None
    cost_low_micro: int | None
    cost_high_micro: int | None
    p50_ns: int | None
    peak_rss_bytes: int | None
    price: Money | None
    relation: str
    failure: str
    like: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BakeOffPair:
    """Two models: the first less the second in what the table is ranked by, and Holm's p."""

    first: str
    second: str
    difference_micro: int
    low_micro: int | None
    high_micro: int | None
    p_micro: int
    is_significant: bool


@dataclass(frozen=True, slots=True)
class BakeOffTable:
    """The whole comparison; ``ranked_by`` is the metric, or ``expected_cost``."""

    dataset: str
    dataset_sha256: bytes
    n: int
    metric: str
    ranked_by: str
    more_is_better: bool
    cost_unit: str
    rows: tuple[BakeOffRow, ...]
    pairs: tuple[BakeOffPair, ...]


@dataclass(frozen=True, slots=True)
class _Figures:
    """What one judged model is compared by."""

    entry: BakeOffEntry
    judged: Judged
    exact: Summed
    drawn: Summed
    cost: Summed | None


def rank(
    models: Sequence[BakeOffEntry], metric: str, costs: CostMatrix | None = None
) -> BakeOffTable:
    """Compare ``models`` on the data set they were all judged on.

    Raises ``BakeOffRefused`` for too many models, none with answers, a name that stands twice, or
    answers about different data; ``CostsRefused`` for a matrix without a model's labels.
    """
    data = _check(models)
    compared, failed = _split(models, metric, costs)
    by_cost = costs is not None
    groups = compared[0].judged.groups if compared else None
    seed = seed_of(data.dataset.sha256, COST if by_cost else metric)
    shown = [one.cost if one.cost is not None else one.drawn for one in compared]
    values = [(one.exact if one.cost is None else one.cost).estimate() for one in compared]
    pairs, drawn = differences(shown, values, groups, seed)
    more = not by_cost and direction_of(metric) == "higher"
    if base_of(metric) == "bias" and not by_cost:
        pairs = _by_size(pairs, compared)
    better = _better(pairs, len(compared), more=more)
    rows = [_row(one, drawn[i], metric) for i, one in enumerate(compared)]
    names = [one.entry.name for one in compared]
    rows = [
        replace(
            row, rank=1 + sum(better[j][i] for j in range(len(rows))), like=_like(i, pairs, names)
        )
        for i, row in enumerate(rows)
    ]
    rows.sort(key=lambda row: (row.rank or 0, *_order(row, by_cost=by_cost, more=more), row.name))
    return BakeOffTable(
        dataset=data.dataset.name,
        dataset_sha256=data.dataset.sha256,
        n=data.dataset.n,
        metric=metric,
        ranked_by=COST if by_cost else metric,
        more_is_better=more,
        cost_unit="" if costs is None else costs.unit,
        rows=(*rows, *failed),
        pairs=tuple(
            BakeOffPair(
                first=names[one.first],
                second=names[one.second],
                difference_micro=micro(one.value) if np.isfinite(one.value) else 0,
                low_micro=None if one.low is None else micro(one.low),
                high_micro=None if one.high is None else micro(one.high),
                p_micro=micro(one.p),
                is_significant=one.is_significant,
            )
            for one in pairs
        ),
    )


def table_csv(table: BakeOffTable) -> str:
    """Write the table as CSV (RFC 4180); a name that a spreadsheet would calculate is quoted."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(
        (
            *("rank", "name", table.metric, "low95", "high95"),
            *(COST, "cost_low95", "cost_high95", "cost_unit"),
            *("p50_ns", "peak_rss_bytes", "price", "currency", "relation", "failure", "like"),
            *("dataset", "dataset_sha256", "n"),
        )
    )
    for row in table.rows:
        price = row.price
        writer.writerow(
            (
                "" if row.rank is None else row.rank,
                _plain(row.name),
                *(_figure(one) for one in (row.value_micro, row.low_micro, row.high_micro)),
                *(_figure(x) for x in (row.cost_micro, row.cost_low_micro, row.cost_high_micro)),
                _plain(table.cost_unit),
                "" if row.p50_ns is None else row.p50_ns,
                "" if row.peak_rss_bytes is None else row.peak_rss_bytes,
                "" if price is None else _amount(price),
                "" if price is None else price.currency,
                _plain(row.relation),
                _plain(row.failure),
                _plain("; ".join(row.like)),
                _plain(table.dataset),
                table.dataset_sha256.hex(),
                table.n,
            )
        )
    return out.getvalue()


# --- comparing ------------------------------------------------------------------------------


def _check(models: Sequence[BakeOffEntry]) -> Judged:
    if not 1 <= len(models) <= BAKEOFF_CANDIDATES_MAX:
        raise BakeOffRefused(reason="count", found=len(models), expected=BAKEOFF_CANDIDATES_MAX)
    names = [one.name for one in models]
    twice = [one for i, one in enumerate(names) if one in names[:i]]
    if twice:
        raise BakeOffRefused(reason="name_twice", found=named(twice), expected=1)
    answered = [one.judged for one in models if one.judged is not None]
    if not answered:
        raise BakeOffRefused(reason="no_answers", found=0, expected=1)
    first = answered[0]
    for one in answered:
        if (one.dataset.sha256, one.dataset.n) != (first.dataset.sha256, first.dataset.n):
            raise BakeOffRefused(
                reason="other_data",
                found=one.dataset.sha256.hex()[:16],
                expected=first.dataset.sha256.hex()[:16],
            )
    return first


def _split(
    models: Sequence[BakeOffEntry], metric: str, costs: CostMatrix | None
) -> tuple[list[_Figures], list[BakeOffRow]]:
    compared, failed = [], []
    for entry in models:
        judged = entry.judged
        reason = entry.failure or "no_answers"
        if judged is not None:
            try:
                compared.append(_figures(entry, judged, metric, costs))
                continue
            except Unmeasurable as fault:
                reason = fault.reason
        failed.append(_without_figures(entry, reason))
    return compared, failed


def _figures(
    entry: BakeOffEntry, judged: Judged, metric: str, costs: CostMatrix | None
) -> _Figures:
    exact = summed(metric, judged)
    if not np.isfinite(exact.estimate()):
        raise Unmeasurable("no_value")
    if costs is not None and judged.said is None:
        raise Unmeasurable("no_answer")
    cost = None if costs is None else cost_of(judged, costs)
    return _Figures(entry, judged, exact, summed(metric, judged, drawn=True), cost)


def _by_size(pairs: Sequence[Difference], compared: Sequence[_Figures]) -> tuple[Difference, ...]:
    """Turn differences of bias so that more means farther from nothing."""
    values = [one.exact.estimate() for one in compared]
    return tuple(
        replace(one, value=abs(values[one.first]) - abs(values[one.second])) for one in pairs
    )


def _better(pairs: Sequence[Difference], size: int, *, more: bool) -> list[list[bool]]:
    """Return for each two models whether the first is better by more than chance."""
    found = [[False] * size for _ in range(size)]
    for one in pairs:
        if one.is_significant and one.value:
            is_first = (one.value > 0) == more
            winner, loser = (one.first, one.second) if is_first else (one.second, one.first)
            found[winner][loser] = True
    return found


def _like(place: int, pairs: Sequence[Difference], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        names[one.second if one.first == place else one.first]
        for one in pairs
        if place in (one.first, one.second) and not one.is_significant
    )


def _order(row: BakeOffRow, *, by_cost: bool, more: bool) -> tuple[int, int]:
    value = row.cost_micro if by_cost else row.value_micro
    worth = 0 if value is None else value
    return (-worth if more else worth, 0 if row.value_micro is None else -row.value_micro)


# --- rows -----------------------------------------------------------------------------------


def _row(one: _Figures, drawn: Array, metric: str) -> BakeOffRow:
    value = one.exact.estimate()
    sha256 = one.judged.dataset.sha256
    found = interval_of(one.drawn, one.judged.groups, seed_of(sha256, metric))
    low, high = found.low, found.high
    cost = None if one.cost is None else one.cost.estimate()
    bounds = None if cost is None else spread(drawn, cost)
    return replace(
        _without_figures(one.entry, ""),
        value_micro=micro(value),
        low_micro=None if low is None else micro(min(low, value)),
        high_micro=None if high is None else micro(max(high, value)),
        cost_micro=None if cost is None else micro(cost),
        cost_low_micro=None if bounds is None else micro(bounds[0]),
        cost_high_micro=None if bounds is None else micro(bounds[1]),
    )


def _without_figures(entry: BakeOffEntry, failure: str) -> BakeOffRow:
    return BakeOffRow(
        rank=None,
        name=entry.name,
        value_micro=None,
        low_micro=None,
        high_micro=None,
        cost_micro=None,
        cost_low_micro=None,
        cost_high_micro=None,
        p50_ns=entry.p50_ns,
        peak_rss_bytes=entry.peak_rss_bytes,
        price=entry.price,
        relation=entry.relation,
        failure=failure,
    )


def _figure(value_micro: int | None) -> str:
    return "" if value_micro is None else micro_text(value_micro)


def _amount(price: Money) -> str:
    if price.exponent <= 6:
        return scaled_text(price.amount, price.exponent)
    whole, rest = divmod(abs(price.amount), 10**price.exponent)
    sign = "-" if price.amount < 0 else ""
    return f"{sign}{whole}.{rest:0{price.exponent}d}"


def _plain(text: str) -> str:
    """Keep a spreadsheet from calculating a text that somebody else wrote."""
    return "'" + text if text.startswith(_FORMULA) else text
