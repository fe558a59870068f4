"""``hanse listing search``: find models in what is held here, and keep a search by name.

* Words and facets are given and shown in the person's language; the value that is stored
  is taken as well.
* A page ends with the command line for the next one.
"""

from __future__ import annotations

import difflib
import shlex
from typing import TYPE_CHECKING, Final, cast

import msgspec

from hanse.app.answers import Answer
from hanse.app.commands.certify_typed import OptionNeedsOther
from hanse.app.commands.listing_words import (
    concept_list,
    facet_value,
    level,
    licence,
    money,
    pair,
)
from hanse.app.commands.peer_shown import age, age_lines
from hanse.app.commands.showing import headed, short_id, short_identity
from hanse.app.commands.sizes import parse_size
from hanse.core.errors import WrongUse
from hanse.core.market.catalogue_query import CatalogueQuery, PriceWithoutCurrency, Sort
from hanse.core.market.concepts import concepts
from hanse.core.market.currencies import find_currency, parse_money
from hanse.core.market.facets import FACETS, price_micro
from hanse.core.market.scaled import micro_text
from hanse.core.model.ids import identity_text, parse_identity
from hanse.core.model.licence import RIGHTS
from hanse.core.sentences import show_time
from hanse.core.trade.terms import templates

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hanse.app.desk import Desk
    from hanse.core.engine.catalogue import SearchPage
    from hanse.core.engine.engine import Engine
    from hanse.core.market.catalogue_query import CatalogueRow, FacetCounts

_FACET_VALUES: Final = 12  # of one facet, the most frequent ones
_TRIALS: Final = ("open", "sealed", "answers")


class UnknownFilter(WrongUse):
    """A filter has a value that nothing can have; ``nearest`` is the closest that can be."""

    code = "search.unknown_filter"
    text = "{option} knows no {found} (nearest: {nearest})"
    fields = ("option", "found", "nearest")


def search(
    desk: Desk,
    *,
    words: Sequence[str],
    sector: Sequence[str],
    task: Sequence[str],
    format: Sequence[str],  # noqa: A002 - named as the option
    framework: Sequence[str],
    licence: Sequence[str],  # noqa: A002, RUF100
    right: Sequence[str],
    trial: Sequence[str],
    language: Sequence[str],
    price_from: str | None,
    price_to: str | None,
    currency: str | None,
    size_to: str | None,
    level: int | None,
    contradicted: bool,
    not_contradicted: bool,
    seller: str | None,
    followed: bool,
    sort: str,
    limit: int,
    after: str | None,
    facets: bool,
    paused: bool,
    expired: bool,
    save: str | None,
) -> Answer:
    """Find Listings by words and filters; one page, and how to see the next."""
    code = None if currency is None else find_currency(currency)
    if contradicted and not_contradicted:
        raise OptionNeedsOther(option="--contradicted", needed="one_only")
    query = CatalogueQuery(
        text=" ".join(words),
        sectors=_concepts_named("--sector", "sector", sector),
        tasks=_concepts_named("--task", "task", task),
        formats=_concepts_named("--format", "format", format),
        frameworks=_concepts_named("--framework", "framework", framework),
        licences=tuple(_licence_named(one) for one in licence),
        rights=tuple(_one_of("--right", one, RIGHTS) for one in right),
        trials=tuple(_one_of("--trial", one, _TRIALS) for one in trial),
        langs=tuple(one.partition("-")[0].partition("_")[0].lower() for one in language),
        currency=code,
        price_min_micro=_micro(price_from, code),
        price_max_micro=_micro(price_to, code),
        size_max=None if size_to is None else parse_size(size_to),
        level_min=level or 0,
        contradicted=contradicted or (False if not_contradicted else None),
        identity=None if seller is None else parse_identity(seller),
        with_paused=paused,
        with_expired=expired,
        sort=cast("Sort", sort.replace("-", "_")),
    )
    with desk.writing() if save is not None else desk.reading() as engine:
        if followed:
            own = engine.context.identity
            query = msgspec.structs.replace(query, followed_by=own)
        query.check()
        if save is not None:
            engine.catalogue.save(save, query)
        answer = _page(desk, engine, query, after, limit, is_counting=facets)
    if save is None:
        return answer
    return Answer(answer.result, [*answer.lines, "", desk.say("search.saved", name=save)])


def searches(desk: Desk, *, forget: str | None) -> Answer:
    """List the saved searches with how much is new, or forget one."""
    if forget is not None:
        with desk.writing() as engine:
            engine.catalogue.forget(forget)
        return Answer({"forgotten": forget}, [desk.say("search.forgotten", name=forget)])
    with desk.reading() as engine:
        found = engine.catalogue.saved()
    if not found:
        return Answer(found, [desk.say("search.none_saved")])
    rows = [
        (it.name, str(it.new), show_time(it.created_ms), command_line(desk, it.query))
        for it in found
    ]
    return Answer(found, headed(desk, ("name", "new", "created", "search"), rows))


def look(desk: Desk, *, name: str) -> Answer:
    """Show what a saved search finds, and note that its person has looked."""
    with desk.writing() as engine:
        query = engine.catalogue.look(name)
        return _page(desk, engine, query, None, PAGE_ROWS, is_counting=False)


PAGE_ROWS: Final = 20


# --- what was asked -------------------------------------------------------------------------


def _concepts_named(option: str, group: str, typed: Iterable[str]) -> tuple[str, ...]:
    """Return the values meant by ids or by words of either language."""
    vocabulary = concepts()
    values = []
    for one in typed:
        found = vocabulary.find(one, group)
        if found is None:
            nearest = vocabulary.nearest(one, group)
            raise UnknownFilter(option=option, found=one, nearest=nearest)
        values.append(found.partition(".")[2])
    return tuple(dict.fromkeys(values))


def _licence_named(typed: str) -> str:
    """Return what a Listing says of a licence: the SPDX id, also of a template's own id."""
    known = templates().get(typed)
    return typed if known is None else known.terms.spdx


def _one_of(option: str, typed: str, known: Sequence[str]) -> str:
    asked = typed.strip().lower().replace("-", "_")
    if asked not in known:
        nearest = difflib.get_close_matches(asked, known, n=1, cutoff=0)[0]
        raise UnknownFilter(option=option, found=typed, nearest=nearest)
    return asked


def _micro(typed: str | None, currency: str | None) -> int | None:
    if typed is None:
        return None
    if currency is None:
        raise PriceWithoutCurrency
    amount = parse_money(typed, currency)
    return price_micro(amount.amount, amount.exponent)


# --- what came back -------------------------------------------------------------------------


def _page(
    desk: Desk,
    engine: Engine,
    query: CatalogueQuery,
    after: str | None,
    limit: int,
    *,
    is_counting: bool,
) -> Answer:
    page = engine.catalogue.search(query, after, limit)
    counts = engine.catalogue.facets(query) if is_counting else None
    synced = age(engine)
    lines = list(_row_lines(desk, page))
    if counts is not None:
        lines += ["", *_facet_lines(desk, counts)]
    if page.is_cut:
        lines += ["", desk.say("search.was_cut")]
    if page.next is not None:
        following = command_line(desk, query, limit=limit, after=page.next)
        lines += ["", desk.say("search.next", command=following)]
    if synced is not None:
        lines += ["", *age_lines(desk, synced)]
    result = {
        "rows": [_row(page, row) for row in page.rows],
        "count": page.count,
        "is_more": page.is_more,
        "is_cut": page.is_cut,
        "next": page.next,
        "query": query,
        "synced": synced,
    }
    if counts is not None:
        result["facets"] = counts
    return Answer(result, lines)


def _row(page: SearchPage, row: CatalogueRow) -> dict[str, object]:
    fields = (*type(row).__dataclass_fields__,)
    shown = {name: getattr(row, name) for name in fields if name != "n"}
    return {**shown, "seller": page.sellers.get(row.identity)}


def _row_lines(desk: Desk, page: SearchPage) -> tuple[str, ...]:
    count = f"{page.count:,}" + ("+" if page.is_more else "")
    head = desk.say("search.count", count=count)
    if not page.rows:
        return (head,)
    rows = [
        (
            row.title + _mark(desk, row),
            page.sellers.get(row.identity) or short_identity(row.identity),
            price_of_row(desk, row),
            concept_list(desk, "format", row.formats),
            licence(desk, row.licence),
            level(desk, row.level),
            short_id(row.listing),
        )
        for row in page.rows
    ]
    names = ("title", "seller", "price", "formats", "licence", "level", "listing")
    return (head, "", *headed(desk, names, rows))


def _mark(desk: Desk, row: CatalogueRow) -> str:
    marks = [] if row.state == "open" else [desk.say(f"word.offered.{row.state}")]
    if row.contradicted:
        marks.append(desk.say("search.contradicted"))
    return "".join(f" [{one}]" for one in marks)


def price_of_row(desk: Desk, row: CatalogueRow) -> str:
    """Write the price a row of the catalogue names, or that it has to be asked for."""
    if row.price_minor is None:
        return desk.say("band.ask")
    return money(desk, row.price_minor, row.currency, row.exponent)


def _facet_lines(desk: Desk, counts: FacetCounts) -> tuple[str, ...]:
    lines = []
    for facet in FACETS:
        values = counts.counts.get(facet, ())
        if not values:
            continue
        shown = [
            f"{facet_value(desk, facet, it.value)} {it.listings}" for it in values[:_FACET_VALUES]
        ]
        lines.append(pair(desk, desk.say(f"label.{facet}"), desk.say("value", value=shown)))
    if counts.is_sample:
        lines.append(desk.say("search.facets_sampled"))
    return tuple(lines)


def command_line(
    desk: Desk, query: CatalogueQuery, *, limit: int = PAGE_ROWS, after: str | None = None
) -> str:
    """Write the command line that asks ``query``."""
    words = ["hanse", "listing", "search"]
    for option, values in (
        ("--sector", query.sectors),
        ("--task", query.tasks),
        ("--format", query.formats),
        ("--framework", query.frameworks),
        ("--licence", query.licences),
        ("--right", query.rights),
        ("--trial", query.trials),
        ("--language", query.langs),
        ("--price-from", _price_text(query.price_min_micro)),
        ("--price-to", _price_text(query.price_max_micro)),
        ("--currency", () if query.currency is None else (query.currency,)),
        ("--size-to", () if query.size_max is None else (str(query.size_max),)),
        ("--level", (str(query.level_min),) if query.level_min else ()),
        ("--seller", () if query.identity is None else (identity_text(query.identity),)),
        ("--sort", () if query.sort == "relevance" else (query.sort.replace("_", "-"),)),
        ("--limit", () if limit == PAGE_ROWS else (str(limit),)),
        ("--after", () if after is None else (after,)),
    ):
        for value in values:
            words += [option, value]
    words += [
        option
        for option, is_given in (
            ("--followed", query.followed_by is not None),
            ("--contradicted", query.contradicted is True),
            ("--not-contradicted", query.contradicted is False),
            ("--paused", query.with_paused),
            ("--expired", query.with_expired),
        )
        if is_given
    ]
    if (folder := desk.hanse.settings.data_dir) is not None:
        words += ["--data-dir", str(folder)]
    if query.text:
        words += ["--", query.text]
    return shlex.join(words)


def _price_text(micro: int | None) -> tuple[str, ...]:
    return () if micro is None else (micro_text(micro),)
