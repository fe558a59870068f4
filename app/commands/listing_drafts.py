"""A Draft on the screen: what stands in it, what is wrong, how complete it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.app.columns import table
from hanse.app.commands.certify_shown import measured_lines, statement_rows
from hanse.app.commands.listing_bodies import preview_lines, rows_of
from hanse.app.commands.listing_cards import stated_lines
from hanse.app.commands.listing_words import (
    NOTHING,
    concept,
    concept_list,
    level,
    licence,
    pair,
    rights_matrix,
    told,
    trial,
)
from hanse.core.attest.envelope import read_envelope
from hanse.core.attest.statement import read_statement
from hanse.core.engine.redraft import gives_in_the_clear
from hanse.core.errors import UserError
from hanse.core.market.completeness import ai_act_gaps
from hanse.core.market.currencies import parse_money, show_money
from hanse.core.market.listings import card_of
from hanse.core.model.licence import Tier
from hanse.core.sentences import catalogue, show_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.app.desk import Desk
    from hanse.core.engine.publishing import DraftView
    from hanse.core.engine.signing import Preview
    from hanse.core.market.completeness import Completeness, Gap
    from hanse.core.model.listing import Draft
    from hanse.core.model.problem import Problem

_POINT: Final = "card.checklist."


def to_sign_lines(desk: Desk, view: DraftView, preview: Preview) -> tuple[str, ...]:
    """Show all a seller must know before he says yes: Entries, warnings, what is for good."""
    clear = gives_in_the_clear(view.draft)
    return (
        desk.say("preview.begin"),
        "",
        *preview_lines(desk, preview),
        *_certificate_lines(desk, preview),
        desk.say("preview.card"),
        *stated_lines(desk, card_of(view.draft)),
        "",
        *completeness_lines(desk, view.completeness),
        "",
        *warning_lines(desk, [one for one in view.problems if one.is_warning]),
        pair(desk, desk.say("label.level"), level(desk, view.level)),
        desk.say("publish.in_the_clear" if clear else "publish.sealed"),
        desk.say("publish.for_good"),
    )


def _certificate_lines(desk: Desk, preview: Preview) -> list[str]:
    """Show what the Certificate among the Entries states, read from its envelope."""
    lines = []
    for entry in preview.entries:
        if entry.kind == "cert/1" and isinstance(envelope := entry.body["envelope"], bytes):
            said = read_statement(read_envelope(envelope).payload)
            stated = (*statement_rows(desk, said), "", *measured_lines(desk, said.measured))
            lines += [desk.say("preview.certificate"), *(f"  {it}".rstrip() for it in stated), ""]
    return lines


def draft_lines(desk: Desk, view: DraftView) -> tuple[str, ...]:
    """Show a Draft that is not published, with everything that is wrong with it."""
    draft = view.draft
    rows = [
        (desk.say("label.draft"), view.draft_id.hex()),
        (desk.say("label.state"), desk.say(f"word.draft_state.{view.state.value}")),
        (desk.say("label.source"), view.source or NOTHING),
        *_typed_rows(desk, draft),
        (desk.say("label.level"), level(desk, view.level)),
        (desk.say("label.changed"), show_time(view.updated_ms)),
    ]
    lines = list(rows_of(rows))
    if draft.tiers:
        tiers = [Tier(tier.name, tier.terms, 0) for tier in draft.tiers]
        lines += ["", *rights_matrix(desk, tiers)]
    if view.errors:
        lines += ["", desk.say("draft.errors"), *told(desk, view.errors, "  ")]
    warnings = [one for one in view.problems if one.is_warning]
    if warnings:
        lines += ["", *warning_lines(desk, warnings)]
    lines += ["", *completeness_lines(desk, view.completeness)]
    lines += ["", *gap_lines(desk, ai_act_gaps(draft))]
    return tuple(lines)


def _typed_rows(desk: Desk, draft: Draft) -> list[tuple[str, str]]:
    listing = NOTHING if draft.listing is None else draft.listing.hex()
    artifact = NOTHING if draft.artifact is None else draft.artifact.hex()
    trials = tuple(trial(desk, way) for way in draft.trials)
    rows = [
        ("listing", listing),
        ("title", draft.title or NOTHING),
        ("summary", draft.summary or NOTHING),
        ("text", draft.text or NOTHING),
        ("lang", draft.lang),
        ("task", concept(desk, "task", draft.task) if draft.task else NOTHING),
        ("sectors", concept_list(desk, "sector", draft.sectors)),
        ("tags", desk.say("value", value=draft.tags)),
        ("version", draft.version),
        ("notes", draft.notes or NOTHING),
        ("price", typed_price(desk, draft.price, draft.currency)),
        *((f"+ {term.name}", f"{term.amount} {draft.currency}") for term in draft.price_terms),
        ("trials", desk.say("value", value=trials)),
        ("artifact", artifact),
        ("size", desk.say("value.size", size_bytes=draft.size)),
        ("files", desk.say("value", value=draft.files)),
        ("formats", concept_list(desk, "format", draft.formats)),
    ]
    tiers = [
        (
            f"{desk.say('label.tier')} {tier.name}",
            f"{licence(desk, tier.terms.spdx)}, "
            + typed_price(desk, tier.price or draft.price, draft.currency),
        )
        for tier in draft.tiers
    ]
    named = [(name if name[0] == "+" else desk.say(f"label.{name}"), shown) for name, shown in rows]
    return [*named, *tiers]


def typed_price(desk: Desk, price: str, currency: str) -> str:
    """Write a typed price as people of the language do, or as it was typed if it is none."""
    if not price.strip():
        return NOTHING
    try:
        return show_money(parse_money(price, currency), desk.language)
    except UserError:
        return f"{price} {currency}"


def completeness_lines(desk: Desk, found: Completeness) -> tuple[str, ...]:
    """Say how much of the card is answered, in all and by group, and what is missing."""
    rows = [
        (
            desk.say(f"word.group.{group.group}"),
            f"{group.answered}/{group.applicable}",
            desk.say("value", value=[_field(desk, name) for name in group.missing])
            if group.missing
            else "",
        )
        for group in found.groups
    ]
    head = desk.say(
        "completeness.head",
        percent=found.percent,
        answered=found.answered,
        applicable=found.applicable,
    )
    heads = [desk.say(f"label.{name}") for name in ("group", "answered", "missing")]
    return (head, *(f"  {line}" for line in table(heads, rows)))


def gap_lines(desk: Desk, gaps: Sequence[Gap]) -> tuple[str, ...]:
    """Say what the AI Act asks for, where it asks, and whether it is stated."""
    rows = [
        (_field(desk, gap.field), gap.article, desk.say(f"word.gap.{gap.state}"))
        for gap in gaps
        if gap.state != "not_applicable"
    ]
    heads = [desk.say(f"label.{name}") for name in ("field", "article", "state")]
    lines = (f"  {line}" for line in table(heads, rows))
    return (desk.say("card.heading.ai_act"), *lines, "  " + desk.say("card.no_legal_advice"))


def warning_lines(desk: Desk, warnings: Sequence[Problem]) -> tuple[str, ...]:
    """Say what a person should know before he goes on."""
    return (desk.say("draft.warnings"), *told(desk, warnings, "  ")) if warnings else ()


def _field(desk: Desk, name: str) -> str:
    if name.startswith(_POINT):
        return desk.say(f"word.point.{name.removeprefix(_POINT)}")
    words = catalogue(desk.language)
    return words.get(f"word.field.{name}", name)
