"""Entries of the market exactly as they will be signed, in a form a person can read.

* Every field of a Body is shown, also salts and hashes: what is confirmed is what is signed.
* A value is shown by its word where there is one, and the signed value stands beside it.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.app.answers import plain
from hanse.app.columns import GAP, padded, text_width
from hanse.app.commands.listing_words import (
    NOTHING,
    concept,
    granted,
    licence,
    money,
    pair,
    right,
    trial,
)
from hanse.core.errors import RejectedEntry
from hanse.core.ledger.kinds import Seal
from hanse.core.market.listing_bodies import named_terms
from hanse.core.model.ids import identity_text
from hanse.core.model.licence import RIGHTS, read_tier
from hanse.core.model.money import Money
from hanse.core.sentences import show_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.app.desk import Desk
    from hanse.core.engine.signing import Preview
    from hanse.core.model.licence import Terms

_INDENT: Final = "  "
_NAMED: Final = frozenset(  # fields of Bodies that have a word in the person's language
    {
        "salt",
        "listing",
        "title",
        "summary",
        "text",
        "lang",
        "task",
        "sectors",
        "tags",
        "concepts",
        "trials",
        "prefs",
        "capacity",
        "mediators",
        "valid_until",
        "state",
        "media",
        "release",
        "version",
        "artifact",
        "size",
        "files",
        "formats",
        "edition",
        "of",
        "seal",
        "tiers",
        "card",
        "base",
        "notes",
        "supersedes",
        "mode",
        "amount",
        "floor",
        "ceil",
        "tick",
        "params",
        "anchors",
        "until",
        "identity",
        "weight",
    }
)
_TIMES: Final = frozenset({"valid_until", "until"})
_MINOR: Final = frozenset({"floor", "ceil"})
_IDENTITIES: Final = frozenset({"mediators", "anchors"})
_GROUPS: Final = {"task": "task", "sectors": "sector", "formats": "format"}


def preview_lines(desk: Desk, preview: Preview) -> tuple[str, ...]:
    """Show every Entry of a preview: kind, all fields, hash of the Body, and its id."""
    lines: list[str] = []
    for number, entry in enumerate(preview.entries, start=1):
        lines.append(
            desk.say(
                "preview.entry",
                number=number,
                count=len(preview.entries),
                kind=entry.kind,
                size_bytes=entry.body_len,
            )
        )
        rows = [
            (_label(desk, name), _shown(desk, name, value, entry.body))
            for name, value in entry.body.items()
        ]
        rows.append((desk.say("label.body_hash"), entry.body_hash.hex()))
        rows.append((desk.say("label.entry"), entry.entry_id.hex()))
        lines += [*rows_of(rows, _INDENT), ""]
    return tuple(lines)


def rows_of(rows: Sequence[tuple[str, str]], indent: str = "") -> tuple[str, ...]:
    """Set names and values side by side; further lines of a value stand below its first."""
    width = max((text_width(name) for name, _ in rows), default=0)
    margin = "\n" + indent + " " * (width + len(GAP))
    return tuple(
        f"{indent}{padded(name, width)}{GAP}{value.replace(chr(10), margin)}".rstrip()
        for name, value in rows
    )


def terms_lines(desk: Desk, terms: Terms) -> tuple[str, ...]:
    """Say what a licence sets beside its rights."""
    unlimited = desk.say("terms.unlimited")
    values: dict[str, object] = {
        "outputs": desk.say(f"word.outputs.{terms.outputs}"),
        "attribution": terms.attribution,
        "fields_denied": terms.fields_denied or None,
        "territories": terms.territories or desk.say("terms.world"),
        "seats": terms.seats or unlimited,
        "devices": terms.devices or unlimited,
        "term_days": terms.term_days or unlimited,
        "upgrades": desk.say(f"word.upgrades.{terms.upgrades}"),
        "upgrades_until": None if terms.upgrades_until is None else show_time(terms.upgrades_until),
        "support_days": terms.support_days,
        "warranty_days": terms.warranty_days,
        "liability_cap_pct": terms.liability_cap_pct,
        "transfer": desk.say(f"word.transfer.{terms.transfer}"),
        "law": terms.law,
        "export_note": terms.export_note or None,
    }
    return tuple(
        pair(desk, desk.say(f"label.{name}"), desk.say("value", value=value))
        for name, value in values.items()
        if value is not None
    )


def _label(desk: Desk, name: str) -> str:
    return desk.say(f"label.{name}") if name in _NAMED else name


def _shown(desk: Desk, name: str, value: object, body: Mapping[str, object]) -> str:
    match value:
        case None | "" | ():
            return NOTHING
        case Money():
            return money(desk, value.amount, value.currency, value.exponent)
        case Seal():
            rows = msgspec.structs.asdict(value).items()
            return "\n".join(f"{part}: {_plainly(one)}" for part, one in rows)
        case int() if name in _TIMES:
            return f"{show_time(value)} [{value}]"
        case int() if name in _MINOR:
            return _minor(desk, value, body)
        case int() if name == "size":
            return f"{desk.say('value.size', size_bytes=value)} [{value}]"
        case str() if name == "state":
            return _with_word(value, desk.say(f"word.offered.{value}"))
        case str() if name in _GROUPS:
            return _with_word(value, concept(desk, _GROUPS[name], value))
        case str():
            return value
        case bytes() if name == "identity":
            return identity_text(value)
        case bytes() if name == "envelope":  # what it says is shown where it is read
            digest = sha256(value).hexdigest()
            return desk.say("preview.envelope", size_bytes=len(value), digest=digest)
        case tuple():
            return _several(desk, name, value)
        case dict() if name == "params" and set(value) == {"terms"}:
            terms = named_terms(value)
            return "\n".join(pair(desk, it, _minor(desk, amount, body)) for it, amount in terms)
        case dict():
            return _plainly(value) if value else NOTHING
        case _:
            return desk.say("value", value=value)


def _several(desk: Desk, name: str, values: tuple[object, ...]) -> str:
    if name == "tiers":
        return "\n".join(line for held in values for line in _tier_lines(desk, held))
    if name in _IDENTITIES:
        return "\n".join(identity_text(one) for one in values if isinstance(one, bytes))
    if name == "trials":
        return desk.say("value", value=[_with_word(str(it), trial(desk, str(it))) for it in values])
    if name in _GROUPS:
        group = _GROUPS[name]
        shown = [_with_word(str(it), concept(desk, group, str(it))) for it in values]
        return desk.say("value", value=shown)
    if all(isinstance(one, bytes) for one in values):
        return "\n".join(_plainly(one) for one in values)
    return desk.say("value", value=values)


def _tier_lines(desk: Desk, held: object) -> list[str]:
    try:
        tier = read_tier(held if isinstance(held, dict) else {})
    except RejectedEntry:
        return [_plainly(held)]
    terms = tier.terms
    lines = [
        pair(desk, tier.name, f"{licence(desk, terms.spdx)} [{terms.spdx}]"),
        _INDENT + desk.say("tier.adds", minor=tier.adds),
        *(_INDENT + pair(desk, right(desk, it), granted(desk, terms, it)) for it in RIGHTS),
        *(_INDENT + line for line in terms_lines(desk, terms)),
    ]
    return [*lines, _INDENT + pair(desk, desk.say("label.text_hash"), terms.text_hash.hex())]


def _minor(desk: Desk, amount_minor: int, body: Mapping[str, object]) -> str:
    base = body["amount"]
    assert isinstance(base, Money)
    return money(desk, amount_minor, base.currency, base.exponent)


def _with_word(value: str, word: str) -> str:
    return value if word.casefold() == value.casefold() else f"{word} [{value}]"


def _plainly(value: object) -> str:
    shown = plain(value)
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
