"""``hanse listing show``: one Listing whole, its price explained, its card written out.

What a stranger wrote is shown as data: bounded, without control characters, and never
trusted to have the form our own program gives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.app.answers import Answer
from hanse.app.columns import table
from hanse.app.command_table import VOCABULARIES
from hanse.app.commands.certify_shown import (
    certificates_lines,
    contradiction_lines,
    review_lines,
)
from hanse.app.commands.listing_bodies import rows_of, terms_lines
from hanse.app.commands.listing_cards import card_lines
from hanse.app.commands.listing_drafts import completeness_lines
from hanse.app.commands.listing_words import (
    NOTHING,
    concept,
    concept_list,
    language_name,
    licence,
    money,
    pair,
    rights_matrix,
    trial,
)
from hanse.app.commands.peer_shown import age, age_lines
from hanse.app.commands.showing import headed, short_id
from hanse.core.engine.redraft import total_of
from hanse.core.market.concepts import concepts
from hanse.core.market.currencies import COINS, EXPONENTS, show_money
from hanse.core.market.listing_bodies import named_terms
from hanse.core.market.scaled import micro_text
from hanse.core.model.ids import identity_text
from hanse.core.sentences import LANGUAGES, show_time
from hanse.core.trade.terms import templates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.app.desk import Desk
    from hanse.core.engine.catalogue import ListingView
    from hanse.core.market.claims import MetricChange
    from hanse.core.store.listings import ListingRow, PriceRow, ReleaseRow

_GROUPS: Final = {"sectors": "sector", "tasks": "task", "formats": "format"}


def show(desk: Desk, *, listing: str) -> Answer:
    """Show one Listing whole."""
    with desk.reading() as engine:
        view = engine.catalogue.show(engine.catalogue.listing_named(listing))
        changes = engine.catalogue.metric_changes(view.row)
        release = None if view.release is None else view.release.release
        certificates = None if release is None else engine.certificates.of_release(release)
        reviews = None if release is None else engine.human_reviews.of_release(release)
        synced = age(engine)
    result: dict[str, object] = {
        "listing": view,
        "synced": synced,
        "metric_changes": {release.hex(): found for release, found in changes.items()},
    }
    lines = _listing_lines(desk, view, changes)
    if certificates is not None:
        found = certificates
        result["level"] = found.reproduction.level
        result["certificates"] = found.rows
        result["reproduction"] = found.reproduction
        result["claims"] = found.claims
        lines[1:1] = contradiction_lines(desk, found.claims)  # nobody shall look past it
        lines += ["", desk.say("certify.title.certificates"), *certificates_lines(desk, found)]
    if reviews is not None:
        result["human_reviews"] = reviews
        lines += ["", desk.say("certify.title.reviews"), *review_lines(desk, reviews)]
    if synced is not None:
        lines += ["", *age_lines(desk, synced)]
    return Answer(result, lines)


def price(desk: Desk, *, listing: str, explain: bool) -> Answer:
    """Show what each licence of a Listing costs, and with ``explain`` how that comes about."""
    with desk.reading() as engine:
        view = engine.catalogue.show(engine.catalogue.listing_named(listing))
    if view.price is None:
        return Answer({"price": None}, [desk.say("listing.no_price")])
    lines = list(_tier_table(desk, view))
    if explain:
        lines = [*explain_lines(desk, view.price), "", *lines]
    total = total_of(view.price)
    terms = [{"name": name, "amount": amount} for name, amount in named_terms(view.price.params)]
    tiers = [
        {"name": tier.name, "licence": tier.terms.spdx, "amount": total.amount + tier.adds}
        for tier in view.tiers
    ]
    result = {"mode": view.price.mode, "base": view.price.amount, "terms": terms, "total": total}
    return Answer({**result, "tiers": tiers}, lines)


def mine(desk: Desk) -> Answer:
    """List the Listings of this Account."""
    with desk.reading() as engine:
        found = engine.catalogue.own()
        now_ms = desk.hanse.clock.now_ms()
    if not found:
        return Answer(found, [desk.say("listing.none_yet")])
    rows = [
        (
            row.title,
            _state(desk, row.state, is_expired=row.valid_until_ms <= now_ms),
            row.newest_release.version if row.newest_release else NOTHING,
            _price_of_row(desk, row),
            show_time(row.valid_until_ms),
            short_id(row.listing),
        )
        for row in found
    ]
    names = ("title", "state", "version", "price", "valid_until", "listing")
    return Answer(found, headed(desk, names, rows))


def vocabulary(desk: Desk, *, which: str | None) -> Answer:
    """List the ids that fields take, with their names in both languages."""
    chosen = VOCABULARIES if which is None else (which,)
    result: dict[str, object] = {}
    lines: list[str] = []
    for name in chosen:
        rows = _currencies() if name == "currencies" else _words(name)
        result[name] = [
            {"id": value, **dict(zip(LANGUAGES, names, strict=True))} for value, *names in rows
        ]
        if lines:
            lines.append("")
        lines += [desk.say(f"label.{name}"), *(f"  {line}" for line in table(_HEADS, rows))]
    return Answer(result, lines)


_HEADS: Final = ("id", "English", "中文")


def _words(name: str) -> list[tuple[str, ...]]:
    if name == "licences":
        return [(one.id, one.name("en"), one.name("zh_CN")) for one in templates().values()]
    group, words = _GROUPS[name], concepts()
    return [
        (value, *(words.name(f"{group}.{value}", language) for language in LANGUAGES))
        for value in words.values(group)
    ]


def _currencies() -> list[tuple[str, ...]]:
    from babel import Locale  # noqa: PLC0415 - its tables are large, and seldom needed

    named = [Locale.parse(language).currencies for language in LANGUAGES]
    return [
        (code, *(code if code in COINS else str(names.get(code, code)) for names in named))
        for code in EXPONENTS
    ]


# --- one Listing ----------------------------------------------------------------------------


def _listing_lines(
    desk: Desk, view: ListingView, changes: Mapping[bytes, Sequence[MetricChange]]
) -> list[str]:
    row = view.row
    lines = [row.title, "", *rows_of(_place_rows(desk, view))]
    for text in (row.summary, row.text):
        if text and not (text == row.text and row.summary == row.text and text in lines):
            lines += ["", *text.split("\n")]
    if view.price is not None:
        lines += ["", *explain_lines(desk, view.price), "", *_tier_table(desk, view)]
    if view.tiers:
        lines += ["", *rights_matrix(desk, view.tiers)]
        for tier in view.tiers:
            lines += ["", tier.name, *(f"  {one}" for one in terms_lines(desk, tier.terms))]
    if row.releases:
        lines += ["", desk.say("label.releases")]
    for release in reversed(row.releases):
        lines += _release_lines(desk, release, changes.get(release.release, ()))
    if view.card is not None:
        lines += card_lines(desk, view.card)
    elif view.release is not None:
        lines += ["", desk.say("listing.card_missing", release=view.release.release)]
    return [*lines, "", *completeness_lines(desk, view.completeness)]


def _place_rows(desk: Desk, view: ListingView) -> list[tuple[str, str]]:
    row, release = view.row, view.release
    trials = tuple(trial(desk, way) for way in row.trials)
    values = {
        "seller": view.seller.name or NOTHING,
        "identity": identity_text(view.seller.identity),
        "state": _state(desk, row.state, is_expired=view.is_expired),
        "successor": None if view.successor is None else view.successor.hex(),
        "valid_until": show_time(row.valid_until_ms),
        "sectors": concept_list(desk, "sector", row.sectors),
        "task": concept(desk, "task", row.task),
        "tags": desk.say("value", value=row.tags) if row.tags else NOTHING,
        "lang": language_name(desk, row.lang),
        "trials": desk.say("value", value=trials) if trials else NOTHING,
        "capacity": None if row.capacity is None else str(row.capacity),
        "version": None if release is None else release.version,
        "formats": None if release is None else concept_list(desk, "format", release.formats),
        "size": None if release is None else desk.say("value.size", size_bytes=release.size),
        "listing": row.listing.hex(),
        "release": None if release is None else release.release.hex(),
        "artifact": None if release is None else release.artifact.hex(),
        "price_entry": None if view.price is None else view.price.price.hex(),
    }
    return [(desk.say(f"label.{name}"), it) for name, it in values.items() if it is not None]


def _state(desk: Desk, state: str, *, is_expired: bool) -> str:
    said = desk.say(f"word.offered.{state}")
    if is_expired and state != "withdrawn":
        return f"{said}, {desk.say('word.offered.expired')}"
    return said


def explain_lines(desk: Desk, found: PriceRow) -> tuple[str, ...]:
    """Say how a price comes about: its base, each named term, and the sum."""
    if found.mode == "rfq":
        return (desk.say("band.ask"),)
    base, total = found.amount, total_of(found)
    terms = named_terms(found.params) if found.mode == "fixed" else ()
    bound = total.amount - base.amount - sum(amount for _, amount in terms)
    if bound:  # a term of its own, so that the sum is exact
        terms = (*terms, (desk.say("price.bound"), bound))
    rows = [
        (desk.say("price.base"), show_money(base, desk.language)),
        *(
            (
                f"  {'+' if amount >= 0 else '-'} {name}",
                money(desk, abs(amount), base.currency, base.exponent),
            )
            for name, amount in terms
        ),
        (desk.say("price.sum"), show_money(total, desk.language)),
    ]
    return rows_of(rows)


def _tier_table(desk: Desk, view: ListingView) -> tuple[str, ...]:
    rows = []
    for tier in view.tiers:
        amount = NOTHING
        if view.price is not None and view.price.mode != "rfq":
            total = total_of(view.price)
            amount = money(desk, total.amount + tier.adds, total.currency, total.exponent)
        rows.append((tier.name, licence(desk, tier.terms.spdx), amount, tier.terms.spdx))
    return headed(desk, ("tier", "licence", "price", "spdx"), rows)


def _price_of_row(desk: Desk, row: ListingRow) -> str:
    release = row.newest_release
    found = None if release is None else row.price_of(release.release)
    if found is None:
        return NOTHING
    return (
        desk.say("band.ask") if found.mode == "rfq" else show_money(total_of(found), desk.language)
    )


def _release_lines(desk: Desk, release: ReleaseRow, changes: Sequence[MetricChange]) -> list[str]:
    edition = f" ({desk.say('word.edition.trial')})" if release.edition == "trial" else ""
    head = f"  {release.version}{edition}  {show_time(release.time_ms)}  {release.release.hex()}"
    lines = [head, *(f"    {one}" for one in release.notes.split("\n") if one)]
    lines += [f"    {_change(desk, change)}" for change in changes]
    base = desk.say("label.base")
    lines += [f"    {pair(desk, base, one.hex())}" for one in release.base]
    return lines


def _change(desk: Desk, change: MetricChange) -> str:
    where = ", ".join(one for one in (change.dataset, change.split, change.slice) if one)
    return desk.say(
        "metric.change",
        metric=change.metric + (f" ({where})" if where else ""),
        before=_figure(change.before_micro),
        after=_figure(change.after_micro),
    )


def _figure(value_micro: int | None) -> str:
    return NOTHING if value_micro is None else micro_text(value_micro)
