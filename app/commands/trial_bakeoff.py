"""``hanse trial bakeoff``: several models on one's own data, in one table.

* A candidate is a model held here by any id of it, ``open:RELEASE`` for the edition to try, or
  ``trial:TRIAL`` for a sealed one, which counts one of its runs.
* Models that differ by no more than chance share a rank; one that fails stands there with its
  reason.  Nothing leaves this computer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from hanse.app.answers import Answer
from hanse.app.columns import table
from hanse.app.command_line import BadValue
from hanse.app.commands.certify_shown import duration
from hanse.app.commands.certify_typed import data_mapping
from hanse.app.commands.ledger import refuse_existing
from hanse.app.commands.listing_words import NOTHING, money
from hanse.app.commands.run import EDITION
from hanse.app.commands.trial import write_new
from hanse.app.commands.typed_files import read_bounded
from hanse.app.progress import long_work
from hanse.core.certify.data import MappingNeeded, read_costs
from hanse.core.engine.trying.bakeoff import Candidate
from hanse.core.engine.trying.data import OwnData
from hanse.core.limits import COST_MATRIX_SIZE_BYTES_MAX
from hanse.core.market.scaled import micro_text
from hanse.core.sentences import show_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hanse.app.desk import Desk
    from hanse.core.certify.data import BakeOffRow, BakeOffTable, CostMatrix
    from hanse.core.engine.engine import Engine

_FAILURES: Final = {
    "worker_refused": "bakeoff.failed_refused",
    "worker_limit": "bakeoff.failed_limit",
    "worker_timeout": "bakeoff.failed_timeout",
    "worker_crash": "bakeoff.failed_crash",
    "worker_protocol": "bakeoff.failed_protocol",
    "trial_runs": "bakeoff.failed_runs",
    "trial_date": "bakeoff.failed_date",
    "trial_clock": "bakeoff.failed_clock",
    "outputs": "bakeoff.failed_outputs",
    "missing": "bakeoff.failed_missing",
}
_TRIAL: Final = "trial:"
_COSTS: Final[Mapping[str, Literal["json", "csv"]]] = {".json": "json", ".csv": "csv"}


def bakeoff(
    desk: Desk,
    *,
    candidate: Sequence[str],
    data: Path,
    metric: str,
    costs: Path | None,
    mapping_file: Path | None,
    inputs: Sequence[str],
    target: Sequence[str],
    positive: str | None,
    csv: Path | None,
) -> Answer:
    """Run every candidate on the data, and rank them."""
    if csv is not None:
        refuse_existing(csv)
    matrix = None if costs is None else _costs(costs)
    mapping = data_mapping(mapping_file, target=target, positive=positive, inputs=inputs)
    counts = [one for one in candidate if one.startswith(_TRIAL)]
    with desk.unlocked() if counts else desk.reading() as engine:
        chosen = [_candidate(engine, one) for one in candidate]
        if counts:
            said = [desk.say("trial.honest.sealed_buyer"), "", desk.say("bakeoff.counts")]
            desk.confirm(said, "confirm.trial_run")
        try:
            with long_work(desk) as progress:
                found = engine.trials.bakeoffs.run(
                    chosen, OwnData(data, mapping), metric, progress.control, matrix
                )
        except MappingNeeded:
            desk.tell("trial.how_to_map")
            raise
    if csv is not None:
        write_new(csv, found.csv.encode())
    lines = _lines(desk, found.table)
    if csv is not None:
        lines += ["", desk.say("run.written", path=csv)]
    return Answer({"suite": found.suite, "table": found.table, "file": csv}, lines)


def _candidate(engine: Engine, text: str) -> Candidate:
    if text.startswith(_TRIAL):
        return Candidate(trial=engine.trials.named(text.removeprefix(_TRIAL))[0])
    if text.startswith(EDITION):
        offer = engine.trials.offer(text.removeprefix(EDITION))
        return Candidate(release=offer.release, is_open=True)
    what = engine.certifying.named(text)
    if what.release is not None:
        return Candidate(release=what.release)
    return Candidate(artifact=what.artifact)


def _costs(path: Path) -> CostMatrix:
    file_format = _COSTS.get(path.suffix.lower())
    if file_format is None:
        raise BadValue(name="--costs", found=path, expected=", ".join(_COSTS))
    return read_costs(read_bounded(path, COST_MATRIX_SIZE_BYTES_MAX), file_format)


def _lines(desk: Desk, found: BakeOffTable) -> list[str]:
    has_cost = any(row.cost_micro is not None for row in found.rows)
    names = ["rank", "name", *(["cost"] if has_cost else []), "metric", "interval"]
    names += ["p50", "memory", "price", "remark"]
    heads = [
        found.metric if name == "metric" else desk.say(f"bakeoff.head.{name}") for name in names
    ]
    rows = [_cells(desk, row, found, has_cost=has_cost) for row in found.rows]
    better = desk.say("bakeoff.more" if found.more_is_better else "bakeoff.less")
    return [
        desk.say("bakeoff.on", data=found.dataset, count=found.n, better=better),
        "",
        *table(heads, rows),
        "",
        desk.say("bakeoff.ranks"),
    ]


def _cells(desk: Desk, row: BakeOffRow, found: BakeOffTable, *, has_cost: bool) -> tuple[str, ...]:
    cost = [_figure(row.cost_micro, found.cost_unit)] if has_cost else []
    by_cost = has_cost and found.ranked_by != found.metric
    bounds = (
        (row.cost_low_micro, row.cost_high_micro)
        if by_cost
        else (
            row.low_micro,
            row.high_micro,
        )
    )
    remarks = []
    if row.failure:
        known = _FAILURES.get(row.failure)
        said = desk.say("quality.left_out", metric=found.metric, reason=row.failure)
        remarks.append(said if known is None else desk.say(known))
    if row.relation:
        remarks.append(desk.say("bakeoff.edition", relation=row.relation))
    price = row.price
    return (
        NOTHING if row.rank is None else str(row.rank),
        row.name,
        *cost,
        _figure(row.value_micro),
        _bounds(*bounds),
        NOTHING if row.p50_ns is None else duration(row.p50_ns),
        NOTHING if row.peak_rss_bytes is None else show_size(row.peak_rss_bytes),
        NOTHING if price is None else money(desk, price.amount, price.currency, price.exponent),
        "; ".join(remarks),
    )


def _figure(value_micro: int | None, unit: str = "") -> str:
    return NOTHING if value_micro is None else f"{micro_text(value_micro)} {unit}".strip()


def _bounds(low_micro: int | None, high_micro: int | None) -> str:
    if low_micro is None or high_micro is None:
        return NOTHING
    return f"{micro_text(low_micro)} - {micro_text(high_micro)}"
