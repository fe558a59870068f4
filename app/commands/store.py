"""``hanse store``: what the models of this folder take on the disk, and whether it is sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.app.answers import Answer
from hanse.app.commands.listing_bodies import rows_of
from hanse.app.commands.showing import headed, short_id
from hanse.app.commands.sizes import parse_size
from hanse.app.progress import long_work
from hanse.core.errors import VerificationFailed
from hanse.core.model.control import Cancelled

if TYPE_CHECKING:
    from hanse.app.desk import Desk
    from hanse.core.engine.storing import StorageView


def show(desk: Desk) -> Answer:
    """Say what is held, by whose it is, and what is free."""
    with desk.reading() as engine:
        found = engine.storing.view()
    return Answer(found, _storage_lines(desk, found))


def check(desk: Desk) -> Answer:
    """Hash everything again, and make damaged pieces anew where that is possible."""
    with desk.unlocked() as engine, long_work(desk) as progress:
        try:
            found = engine.storing.heal(progress.control)
        except Cancelled as error:
            return Answer((), [desk.say("store.check_stopped")], error)
    if not found:
        return Answer(found, [desk.say("store.nothing_held")])
    rows = [
        (
            short_id(it.artifact),
            str(it.healed),
            str(it.lost),
            desk.say("value", value=it.missing) if it.missing else "",
            desk.say("word.sound.whole" if it.is_whole else "word.sound.damaged"),
        )
        for it in found
    ]
    lines = list(headed(desk, ("artifact", "healed", "lost", "missing", "state"), rows))
    broken = [it for it in found if not it.is_whole]
    if not broken:
        return Answer(found, [*lines, "", desk.say("store.sound")])
    refusal = VerificationFailed(where=short_id(broken[0].artifact), reason="damaged")
    return Answer(found, [*lines, "", desk.say("store.not_sound")], refusal)


def clean(desk: Desk) -> Answer:
    """Remove what nothing wants any more."""
    with desk.writing() as engine:
        swept = engine.storing.sweep()
    said = desk.say(
        "store.cleaned", objects=swept.objects, parts=swept.parts, freed_bytes=swept.freed_bytes
    )
    return Answer(swept, [said])


def quota(desk: Desk, *, size: str | None) -> Answer:
    """Show or set how much may be kept for others."""
    if size is None:
        with desk.reading() as engine:
            now = engine.storing.quota()
        return Answer({"quota_bytes": now}, [desk.say("store.quota", quota_bytes=now)])
    wanted = parse_size(size)
    with desk.writing() as engine:
        engine.storing.set_quota(wanted)
    return Answer({"quota_bytes": wanted}, [desk.say("store.quota_set", quota_bytes=wanted)])


def _storage_lines(desk: Desk, found: StorageView) -> tuple[str, ...]:
    sizes = {
        **{f"word.whose.{whose}": size for whose, size in found.by_whose.items()},
        "label.layers": found.layer_bytes,
        "label.parts": found.part_bytes,
        "label.on_disk": found.object_bytes,
        "label.free": found.free_bytes,
        "label.quota": found.quota_bytes,
    }
    rows = [
        (desk.say(code), desk.say("value.size", size_bytes=size)) for code, size in sizes.items()
    ]
    return rows_of([*rows, (desk.say("label.objects"), str(found.objects))])
