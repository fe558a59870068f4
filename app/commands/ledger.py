"""``hanse ledger``: look at what was signed, check it, carry it, prove it, erase it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.app.answers import Answer
from hanse.app.commands.showing import (
    body_lines,
    entry_lines,
    entry_table,
    fault_lines,
    headed,
    named,
    short_id,
    short_identity,
)
from hanse.app.commands.verify import report_answer
from hanse.core.errors import Refused, VerificationFailed, WrongUse
from hanse.core.limits import ERASE_TARGETS_MAX
from hanse.core.model.ids import parse_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hanse.app.desk import Desk


class FileExists(Refused):
    """A file that is to be written is there already; nothing is overwritten."""

    code = "file.exists"
    text = "{path} exists already"
    fields = ("path",)


class DisclosedToNobody(WrongUse):
    """A Disclosure needs somebody it is for."""

    code = "disclose.nowhere"
    text = "name a file to write, or --public"


class TooManyToErase(WrongUse):
    """One Entry can ask for only so many to be erased."""

    code = "ledger.too_many_to_erase"
    text = "{found} entries cannot be erased at once, limit {most}"
    fields = ("found", "most")


def show(desk: Desk, *, tail: int, author: str | None, kind: str | None, full: bool) -> Answer:
    """Show the newest Entries held here."""
    wanted = None if author is None else parse_id(author)
    with desk.reading() as engine:
        found = engine.ledger.show(tail=tail, author=wanted, kind=kind)
    if not found:
        return Answer(found, [desk.say("ledger.empty")])
    if not full:
        return Answer(found, entry_table(desk, found))
    lines: list[str] = []
    for entry in found:
        lines += [*entry_lines(desk, entry), *body_lines(entry.body or {}), ""]
    return Answer(found, lines[:-1])


def feeds(desk: Desk, *, full: bool) -> Answer:
    """List the Feeds held here."""
    with desk.reading() as engine:
        found = engine.ledger.feeds()
    rows = [
        (
            short_id(it.author, is_full=full),
            short_identity(it.identity, is_full=full),
            "-" if it.role is None else desk.say(f"word.role.{it.role}"),
            desk.say(f"word.state.{it.state}"),
            str(it.head_seq),
            desk.say("feeds.own") if it.is_own else "",
        )
        for it in found
    ]
    columns = ("author", "identity", "role", "state", "seq", "remark")
    return Answer(found, headed(desk, columns, rows))


def verify(desk: Desk) -> Answer:
    """Check every Entry held here again."""
    with desk.reading() as engine:
        report = engine.ledger.verify()
    return report_answer(desk, report)


def rebuild(desk: Desk) -> Answer:
    """Compute all tables from the Entries alone."""
    with desk.writing() as engine:
        entries = engine.ledger.rebuild()
    return Answer({"entries": entries}, [desk.say("ledger.rebuilt", entries=entries)])


def export(desk: Desk, *, path: Path, author: Sequence[str], everything: bool) -> Answer:
    """Write chosen Feeds to one file."""
    chosen = tuple(parse_id(one) for one in author) or None
    refuse_existing(path)
    with desk.reading() as engine:
        report = engine.ledger.export(path, authors=chosen, everything=everything)
    values = {
        "file": report.path,
        "feeds": report.feeds,
        "entries": report.entries,
        "size_bytes": desk.say("value.size", size_bytes=report.size_bytes),
    }
    return Answer(report, [desk.say("ledger.exported"), "", *named(desk, values)])


def import_file(desk: Desk, *, path: Path) -> Answer:
    """Take in the Entries of a file; each passes the same gate as one from a Peer."""
    with desk.writing() as engine:
        report = engine.ledger.import_file(path)
    values = {
        "accepted": report.accepted,
        "known": report.known,
        "parked": report.parked,
        "forks": report.forks,
        "rejected": len(report.rejected),
    }
    lines = [desk.say("ledger.imported", path=path), "", *named(desk, values)]
    if not report.rejected:
        return Answer(report, lines)
    first = report.rejected[0]
    refusal = VerificationFailed(where=first.where, reason=first.reason)
    return Answer(report, [*lines, "", *fault_lines(desk, report.rejected)], refusal)


def disclose(desk: Desk, *, entry: str, path: Path | None, public: bool) -> Answer:
    """Give one Private body to others, as evidence."""
    entry_id = parse_id(entry)
    if path is None and not public:
        raise DisclosedToNobody
    if path is not None:
        refuse_existing(path)
    with desk.unlocked() as engine:
        does = "disclose.does_public" if public else "disclose.does"
        desk.confirm(
            [desk.say("disclose.draft"), *named(desk, {"entry": entry_id}), desk.say(does)]
        )
        engine.ledger.disclose(entry_id, path, public=public)
    result = {"entry": entry_id, "path": path, "is_public": public}
    return Answer(result, [desk.say("disclose.done")])


def erase(desk: Desk, *, entry: Sequence[str], reason: str) -> Answer:
    """Erase own Bodies; their Headers stay and still verify."""
    entry_ids = tuple(dict.fromkeys(parse_id(one) for one in entry))
    if len(entry_ids) > ERASE_TARGETS_MAX:
        raise TooManyToErase(found=len(entry_ids), most=ERASE_TARGETS_MAX)
    with desk.unlocked() as engine:
        draft = [
            desk.say("erase.draft"),
            *named(desk, {"entries": tuple(it.hex() for it in entry_ids), "reason": reason}),
            desk.say("erase.does"),
        ]
        desk.confirm(draft)
        written = engine.ledger.erase(entry_ids, reason)
    return Answer(written, [desk.say("erase.done"), "", *entry_lines(desk, written)])


def proof(desk: Desk, *, entry: str, path: Path) -> Answer:
    """Write a proof that an Entry stands in its Feed."""
    entry_id = parse_id(entry)
    refuse_existing(path)
    with desk.reading() as engine:
        proved = engine.ledger.proof(entry_id, path)
    values = {"entry": entry_id, "seq": proved.seq, "author": proved.author, "file": path}
    return Answer(values, [desk.say("proof.done"), "", *named(desk, values)])


def refuse_existing(path: Path) -> None:
    """Raise ``FileExists`` rather than overwrite what a person has."""
    if path.exists():
        raise FileExists(path=path)
