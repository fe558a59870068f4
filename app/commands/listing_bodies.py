"""Entries of the market exactly as they will be signed, in a form a person can read.

* Every field of a Body is shown, also salts and hashes: what is confirmed is what is signed.
* A value is shown by its word where there is one, and the signed value stands beside it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hanse.app.answers import plain
from hanse.app.columns import GAP, padded, text_width
from hanse.app.commands.listing_words import NOTHING, concept, granted, licence, money, right, trial
from hanse.core.errors import RejectedEntry
from hanse.core.ledger.kinds import Seal
from hanse.core.market.listing_bodies import named_terms
from hanse.core.model.ids import identity_text
from hanse.core.model.licence import RIGHTS, read_tier
from hanse.core.model.money import Money
from hanse.core.sentences import show_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hanse.app.desk import Desk
    from hanse.core.engine.signing import Preview
    from hanse.core.model.licence import Terms

_INDENT: Final = "  "


def preview_lines(desk: Desk, preview: Preview) -> tuple[str, ...]:
    """Show every Entry of a preview: kind, all fields, hash of the Body, and its id."""
    lines: list[str] = []
    for number, entry in enumerate(preview.entries, start=1):
        head = {"number": number, "count": len(preview.entries), "kind": entry.kind}
        lines.append(desk.say("preview.entry", **head, size_bytes=entry.body_len))
        rows = [(_label(desk, name), _shown(desk, name, it, entry.body)) for name, it in
                entry.body.items()]
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


def _label(desk: Desk, name: str) -> str:
    return desk.say(f"label.{name}") if name in _SHOWN else name


def _shown(desk: Desk, name: str, value: object, body: Mapping[str, object]) -> str:
    if value is None or value in ((), "", {}):
        return NOTHING
    show = _SHOWN.get(name)
    return _plainly(value) if show is None else show(desk, value, body)


# Values of a Body were checked when it was made, so each field has the type of its kind; how
# each is shown takes that as given.
Shower = "Callable[[Desk, Any, Mapping[str, object]], str]"


def _text(_desk: Desk, value: Any, _body: Mapping[str, object]) -> str:  # noqa: ANN401
    return str(value)


def _value(desk: Desk, value: Any, _body: Mapping[str, object]) -> str:  # noqa: ANN401
    return desk.say("value", value=value)


def _hashes(_desk: Desk, value: Any, _body: Mapping[str, object]) -> str:  # noqa: ANN401
    return "\n".join(one.hex() for one in value)


def _identities(_desk: Desk, value: Any, _body: Mapping[str, object]) -> str:  # noqa: ANN401
    return "\n".join(identity_text(one) for one in value)


def _one_identity(_desk: Desk, value: Any, _body: Mapping[str, object]) -> str:  # noqa: ANN401
    return identity_text(value)


def _time(_desk: Desk, value: Any, _body: Mapping[str, object]) -> str:  # noqa: ANN401
    return f"{show_time(value)} [{value}]"


def _size(desk: Desk, value: Any, _body: Mapping[str, object]) -> str:  # noqa: ANN401
    return f"{desk.say('value.size', size_bytes=value)} [{value}]"


def _concepts_of(group: str) -> Callable[[Desk, Any, Mapping[str, object]], str]:
    def show(desk: Desk, value: Any, _body: Mapping[str, object]) -> str:  # noqa: ANN401
        values = (value,) if isinstance(value, str) else value
        named = tuple(_with_word(one, concept(desk, group, one)) for one in values)
        return desk.say("value", value=named)

    return show


def _trials(desk: Desk, value: Any, _body: Mapping[str, object]) -> str:  # noqa: ANN401
    return desk.say("value", value=tuple(_with_word(one, trial(desk, one)) for one in value))


def _state(desk: Desk, value: Any, _body: Mapping[str, object]) -> str:  # noqa: ANN401
    return _with_word(value, desk.say(f"word.offered.{value}"))


def _amount(desk: Desk, value: Any, _body: Mapping[str, object]) -> str:  # noqa: ANN401
    assert isinstance(value, Money)
    return money(desk, value.amount, value.currency, value.exponent)


def _minor(desk: Desk, value: Any, body: Mapping[str, object]) -> str:  # noqa: ANN401
    amount = body["amount"]
    assert isinstance(amount, Money)
    return money(desk, value, amount.currency, amount.exponent)


def _params(desk: Desk, value: Any, body: Mapping[str, object]) -> str:  # noqa: ANN401
    terms = named_terms(value)
    if not terms or set(value) != {"terms"}:
        return _plainly(value)
    return "\n".join(f"{name}: {_minor(desk, amount, body)}" for name, amount in terms)


def _seal(_desk: Desk, value: Any, _body: Mapping[str, object]) -> str:  # noqa: ANN401
    assert isinstance(value, Seal)
    shown = msgspec.structs.asdict(value)
    return "\n".join(f"{name}: {_plainly(one)}" for name, one in shown.items())


def _tiers(desk: Desk, value: Any, _body: Mapping[str, object]) -> str:  # noqa: ANN401
    lines = []
    for held in value:
        try:
            tier = read_tier(held)
        except RejectedEntry:
            lines.append(_plainly(held))
            continue
        terms = tier.terms
        lines.append(f"{tier.name}: {licence(desk, terms.spdx)} [{terms.spdx}]")
        lines.append(_INDENT + desk.say("tier.adds", minor=tier.adds))
        lines += [f"{_INDENT}{right(desk, it)}: {granted(desk, terms, it)}" for it in RIGHTS]
        lines += [_INDENT + line for line in terms_lines(desk, terms)]
        lines.append(f"{_INDENT}{desk.say('label.text_hash')}: {terms.text_hash.hex()}")
    return "\n".join(lines)


def terms_lines(desk: Desk, terms: Terms) -> list[str]:
    """Say what a licence sets beside its rights."""
    days = {"term_days": terms.term_days, "support_days": terms.support_days}
    values: dict[str, object] = {
        "outputs": desk.say(f"word.outputs.{terms.outputs}"),
        "attribution": terms.attribution,
        "fields_denied": terms.fields_denied or None,
        "territories": terms.territories or desk.say("terms.world"),
        "seats": terms.seats or desk.say("terms.unlimited"),
        "devices": terms.devices or desk.say("terms.unlimited"),
        "term_days": days["term_days"] or desk.say("terms.unlimited"),
        "upgrades": desk.say(f"word.upgrades.{terms.upgrades}"),
        "upgrades_until": None if terms.upgrades_until is None else show_time(terms.upgrades_until),
        "support_days": days["support_days"],
        "warranty_days": terms.warranty_days,
        "liability_cap_pct": terms.liability_cap_pct,
        "transfer": desk.say(f"word.transfer.{terms.transfer}"),
        "law": terms.law,
        "export_note": terms.export_note or None,
    }
    return [
        f"{desk.say(f'label.{name}')}: {desk.say('value', value=value)}"
        for name, value in values.items()
        if value is not None
    ]


def _with_word(value: str, word: str) -> str:
    return value if word.casefold() == value.casefold() else f"{word} [{value}]"


def _plainly(value: object) -> str:
    shown = plain(value)
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)


_SHOWN: Final[Mapping[str, Callable[[Desk, Any, Mapping[str, object]], str]]] = {
    "salt": _value,
    "listing": _value,
    "title": _text,
    "summary": _text,
    "text": _text,
    "lang": _text,
    "task": _concepts_of("task"),
    "sectors": _concepts_of("sector"),
    "tags": _value,
    "concepts": _value,
    "trials": _trials,
    "prefs": lambda _desk, value, _body: _plainly(value),
    "capacity": _value,
    "mediators": _identities,
    "valid_until": _time,
    "state": _state,
    "media": _hashes,
    "version": _text,
    "artifact": _value,
    "size": _size,
    "files": _value,
    "formats": _concepts_of("format"),
    "edition": _text,
    "of": lambda desk, value, body: (_hashes if isinstance(value, tuple) else _value)(
        desk, value, body
    ),
    "seal": _seal,
    "tiers": _tiers,
    "card": _value,
    "base": _hashes,
    "notes": _text,
    "supersedes": _value,
    "release": _value,
    "mode": _text,
    "amount": _amount,
    "floor": _minor,
    "ceil": _minor,
    "tick": _value,
    "params": _params,
    "anchors": _identities,
    "until": _time,
    "identity": _one_identity,
    "weight": _value,
}
