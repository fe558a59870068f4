"""Values of the engine as lines for people: ids, Entries, Devices, reports.

Tables shorten ids; ``--full`` and ``--json`` do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.app.answers import plain
from hanse.app.columns import pairs, table
from hanse.core.model.ids import identity_text
from hanse.core.sentences import show_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.app.desk import Desk
    from hanse.core.engine.views import AccountView, DeviceView, EntryView, Fault

SHORT_CHARACTERS: Final = 12
_NOTHING: Final = "-"


def short_id(value: bytes | None, *, is_full: bool = False) -> str:
    """Write an id as hexadecimal digits, the first twelve unless ``is_full``."""
    if value is None:
        return _NOTHING
    return value.hex() if is_full else value.hex()[:SHORT_CHARACTERS]


def short_identity(value: bytes | None, *, is_full: bool = False) -> str:
    """Write an Identity; shortened it keeps its prefix."""
    if value is None:
        return _NOTHING
    text = identity_text(value)
    prefix, _, digits = text.rpartition(":")
    return text if is_full else f"{prefix}:{digits[:SHORT_CHARACTERS]}"


def named(desk: Desk, values: Mapping[str, object]) -> tuple[str, ...]:
    """Set values beside what they are called in the person's language."""
    return pairs(
        [(desk.say(f"label.{name}"), desk.say("value", value=it)) for name, it in values.items()]
    )


def headed(desk: Desk, names: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Set rows under what their columns are called in the person's language."""
    return table([desk.say(f"label.{name}") for name in names], rows)


def account_lines(desk: Desk, account: AccountView) -> tuple[str, ...]:
    """Describe one Account."""
    return named(
        desk,
        {
            "name": account.name,
            "identity": identity_text(account.identity),
            "device": account.device,
            "folder": account.folder,
        },
    )


def device_lines(
    desk: Desk, devices: Sequence[DeviceView], *, is_full: bool = False
) -> tuple[str, ...]:
    """Set Devices in a table."""
    rows = [
        (
            short_id(it.device, is_full=is_full),
            it.name,
            desk.say(f"word.role.{it.role}"),
            desk.say(f"word.state.{it.state}"),
            show_time(it.created_ms),
            str(it.head_seq),
            _NOTHING if it.cut_seq is None else str(it.cut_seq),
            desk.say("devices.this") if it.is_this else "",
        )
        for it in devices
    ]
    columns = ("device", "name", "role", "state", "created", "seq", "cut", "remark")
    return headed(desk, columns, rows)


def entry_lines(desk: Desk, entry: EntryView) -> tuple[str, ...]:
    """Describe one Entry in full."""
    return named(
        desk,
        {
            "entry": entry.entry_id,
            "kind": entry.kind,
            "author": entry.author,
            "seq": entry.seq,
            "time": show_time(entry.time_ms),
        },
    )


def entry_table(
    desk: Desk, entries: Sequence[EntryView], *, is_full: bool = False
) -> tuple[str, ...]:
    """Set Entries in a table."""
    rows = [
        (
            short_id(it.entry_id, is_full=is_full),
            show_time(it.time_ms),
            it.kind,
            short_id(it.author, is_full=is_full),
            str(it.seq),
            desk.say(f"word.body_state.{it.body_state}"),
            str(it.body_len),
            "" if it.counts else desk.say("ledger.does_not_count"),
        )
        for it in entries
    ]
    columns = ("entry", "time", "kind", "author", "seq", "body", "bytes", "remark")
    return headed(desk, columns, rows)


def fault_lines(desk: Desk, faults: Sequence[Fault]) -> tuple[str, ...]:
    """Say of each fault where it is and what is wrong."""
    lines = []
    for it in faults:
        lines.append(desk.say("fault.at", where=it.where, reason=it.reason, detail=it.detail))
        if it.author is not None:
            lines.append("  " + desk.say("fault.feed", author=it.author, seq=it.seq))
    return tuple(lines)


def body_lines(body: Mapping[str, object]) -> tuple[str, ...]:
    """Set the fields of a Body one a line; what they mean is not known here."""
    return pairs([(f"  {name}", str(plain(value, name))) for name, value in body.items()])
