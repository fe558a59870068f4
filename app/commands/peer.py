"""``hanse peer``: whom this Identity follows, said in public."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.app.answers import Answer
from hanse.app.commands.showing import entry_lines, headed, named
from hanse.core.errors import WrongUse
from hanse.core.model.ids import identity_text, parse_identity

if TYPE_CHECKING:
    from hanse.app.desk import Desk
    from hanse.core.engine.catalogue import Weight

_WORDS: Final = {0: "none", 1: "follows", 3: "vouches"}
_DONE: Final = {0: "follow.stopped", 1: "follow.follows", 3: "follow.vouches"}


class ExcludeEachOther(WrongUse):
    """Two options were given that cannot both be meant."""

    code = "usage.exclude_each_other"
    text = "{one} and {other} exclude each other"
    fields = ("one", "other")


def follow(desk: Desk, *, identity: str, vouch: bool, stop: bool) -> Answer:
    """Say in public that one follows, vouches for, or no longer follows an Identity."""
    if vouch and stop:
        raise ExcludeEachOther(one="--vouch", other="--stop")
    wanted = parse_identity(identity)
    weight: Weight = 0 if stop else 3 if vouch else 1
    with desk.unlocked() as engine:
        known = engine.accounts.profile(wanted).name
        shown = {"identity": identity_text(wanted), "name": known or None}
        said = desk.say(f"word.follow.{_WORDS[weight]}")
        desk.confirm([desk.say("profile.draft"), *named(desk, {**shown, "follow": said})])
        entry = engine.catalogue.follow(wanted, weight)
    lines = [desk.say(_DONE[weight], identity=wanted), "", *entry_lines(desk, entry)]
    return Answer(entry, lines)


def followed(desk: Desk) -> Answer:
    """List whom this Identity follows."""
    with desk.reading() as engine:
        found = engine.catalogue.followed()
    result = [
        {"identity": seller.identity, "name": seller.name, "weight": weight}
        for seller, weight in found
    ]
    if not found:
        return Answer(result, [desk.say("follow.nobody")])
    rows = [
        (seller.name or "-", identity_text(seller.identity), desk.say(f"word.follow.{_WORDS[it]}"))
        for seller, it in found
    ]
    return Answer(result, headed(desk, ("name", "identity", "follow"), rows))
