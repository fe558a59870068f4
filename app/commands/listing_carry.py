"""``hanse listing export`` and ``import``: a Release written for others, and taken from them.

What is in a ``.hanse-release`` is decided in ``hanse.core.engine.carrying``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.app.answers import Answer
from hanse.app.commands.ledger import refuse_existing
from hanse.app.commands.showing import fault_lines, named
from hanse.app.progress import long_work
from hanse.core.durable import write_durably
from hanse.core.engine.catalogue import NoRelease
from hanse.core.errors import FolderNotWritable, VerificationFailed, WrongUse
from hanse.core.model.control import Cancelled

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.app.desk import Desk
    from hanse.core.engine.carrying import CarriedView, TakenView
    from hanse.core.engine.engine import Engine


class NoExportNamed(WrongUse):
    """An export needs to know what to write."""

    code = "listing.export_what"
    text = "name a file: --with-bytes, --bom or --card"


class NothingLeftOut(WrongUse):
    """Files are left out only of a file that would have them."""

    code = "listing.without_files_alone"
    text = "--without-files goes with --with-bytes"


def export(
    desk: Desk,
    *,
    listing: str,
    with_bytes: Path | None,
    without_files: bool,
    bom: Path | None,
    card: Path | None,
) -> Answer:
    """Write a Listing's newest Release for others: whole, as CycloneDX, or its card as Markdown."""
    if with_bytes is None and bom is None and card is None:
        raise NoExportNamed
    if without_files and with_bytes is None:
        raise NothingLeftOut
    for path in (with_bytes, bom, card):
        if path is not None:
            refuse_existing(path)
    carried = None
    with desk.reading() as engine:
        found = engine.catalogue.listing_named(listing)
        written = {}
        if bom is not None:
            written[bom] = engine.catalogue.bom(found)
        if card is not None:
            written[card] = engine.catalogue.card_text(found, desk.language)
        if with_bytes is not None:
            try:
                carried = _carry(desk, engine, found, with_bytes, with_files=not without_files)
            except Cancelled as error:
                return Answer({}, [], error)
    for path, text in written.items():
        try:
            write_durably(path, text.encode())
        except OSError as error:
            raise FolderNotWritable(path=path, detail=error.strerror) from error
    lines = [desk.say("listing.exported", path=path) for path in written]
    if carried is None:
        return Answer({"files": tuple(written)}, lines)
    values = {
        "release": carried.release.hex(),
        "entries": carried.entries,
        "small_parts": carried.small,
        "files": carried.files,
        "size_bytes": desk.say("value.size", size_bytes=carried.size_bytes),
    }
    lines = [*lines, desk.say("listing.carried", path=carried.path), "", *named(desk, values)]
    return Answer({"files": (carried.path, *written), "release": carried}, lines)


def _carry(
    desk: Desk, engine: Engine, listing: bytes, path: Path, *, with_files: bool
) -> CarriedView:
    release = engine.catalogue.show(listing).release
    if release is None:
        raise NoRelease(listing=listing)
    with long_work(desk) as progress:
        return engine.carrying.write_release(
            release.release, path, progress.control, with_files=with_files
        )


def import_file(desk: Desk, *, path: Path) -> Answer:
    """Take a Release from a file; nothing of it is run."""
    with desk.writing() as engine, long_work(desk) as progress:
        try:
            taken = engine.carrying.take_release(path, progress.control)
        except Cancelled as error:
            return Answer({}, [], error)
    lines = [desk.say("listing.taken", path=path), "", *_taken_lines(desk, taken)]
    if not taken.feed.rejected:
        return Answer(taken, lines)
    first = taken.feed.rejected[0]
    refusal = VerificationFailed(where=first.where, reason=first.reason)
    return Answer(taken, [*lines, "", *fault_lines(desk, taken.feed.rejected)], refusal)


def _taken_lines(desk: Desk, taken: TakenView) -> list[str]:
    values = {
        "listing": taken.listing.hex(),
        "release": taken.release.hex(),
        "accepted": taken.feed.accepted,
        "known": taken.feed.known,
        "small_parts": taken.small,
        "files": taken.files,
        "size_bytes": desk.say("value.size", size_bytes=taken.size_bytes),
    }
    whole = desk.say("listing.taken_whole", sealed="yes" if taken.is_sealed else "no")
    return [
        *named(desk, values),
        "",
        whole if taken.is_whole else desk.say("listing.taken_small"),
        desk.say("listing.taken_next", listing=taken.listing.hex()),
    ]
