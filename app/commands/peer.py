"""``hanse peer``: other Devices, what is exchanged with them, and whom this Identity follows.

* Everything but a sync works while the network is off: lists, invitations and wishes are kept in
  the folder.
* A sync without a Hanse that runs on the folder starts the network for as long as it takes.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from hanse.app.answers import Answer
from hanse.app.commands.ledger import refuse_existing
from hanse.app.commands.peer_shown import (
    one_peer_lines,
    peer_lines,
    post_lines,
    seeding_lines,
)
from hanse.app.commands.showing import entry_lines, headed, named, short_id
from hanse.app.progress import long_work
from hanse.core.durable import write_durably
from hanse.core.engine.inviting import (
    qr_png,
    qr_svg,
    qr_text,
    read_invitation_file,
    write_invitation_file,
)
from hanse.core.engine.ports import NetworkOffline, NoPeer
from hanse.core.errors import EnvironmentFault, Refused, WrongUse
from hanse.core.model.control import Cancelled
from hanse.core.model.ids import identity_text, parse_identity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hanse.app.desk import Desk
    from hanse.app.progress import Progress
    from hanse.core.engine.catalogue import Weight
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.inviting import Invitation
    from hanse.core.engine.ports import Peers
    from hanse.core.model.ids import AuthorKey
    from hanse.core.model.network import PeerView

T = TypeVar("T")

MEET_SECONDS: Final = 20.0  # for a network that has just started to reach somebody

_WORDS: Final = {0: "none", 1: "follows", 3: "vouches"}
_DONE: Final = {0: "follow.stopped", 1: "follow.follows", 3: "follow.vouches"}
_LOOK_SECONDS: Final = 0.1


class ExcludeEachOther(WrongUse):
    """Two options were given that cannot both be meant."""

    code = "usage.exclude_each_other"
    text = "{one} and {other} exclude each other"
    fields = ("one", "other")


class StillOffline(Refused):
    """The network was switched on in the folder, and a setting keeps it off."""

    code = "peer.still_offline"
    text = "a setting keeps the network off: --offline, HANSE_OFFLINE or settings.toml"


# --- who is out there -----------------------------------------------------------------------


def show_list(desk: Desk, *, connected: bool, full: bool) -> Answer:
    """List the Devices that are known, the connected ones first."""
    with desk.reading() as engine:
        peers = seen_now(desk, engine)
    if connected:
        peers = [one for one in peers if one.is_connected]
    peers.sort(key=lambda it: not it.is_connected)
    if not peers:
        return Answer(peers, [desk.say("peer.none")])
    return Answer(peers, peer_lines(desk, peers, is_full=full))


def show(desk: Desk, *, peer: str) -> Answer:
    """Show one Device whole."""
    with desk.reading() as engine:
        device = engine.peering.named(peer)
        known = [one for one in seen_now(desk, engine) if one.device == device]
        found = known[0] if known else engine.peering.view(device)
    return Answer(found, one_peer_lines(desk, found))


def add(desk: Desk, *, peer: str) -> Answer:
    """Put a Device on the person's list, and dial it where the network runs."""
    with desk.writing() as engine:
        path = desk.path(peer)
        if _is_file(path):
            found = engine.peering.keep_invitation(read_invitation_file(path))
        else:
            found = engine.peering.keep(peer)
        lines = [desk.say("peer.added", name=found.name or short_id(found.device))]
        network = None if desk.runtime is None else desk.runtime.peers
        if network is None:
            lines.append(desk.say("peer.dialled_later"))
        else:
            with long_work(desk) as progress:
                found, said = _dialled(desk, network, found, progress)
            lines.append(said)
    return Answer(found, lines)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a link is longer than a name may be
        return False


def remove(desk: Desk, *, peer: str) -> Answer:
    """Take a Device off the list, and drop what is known of it."""
    with desk.writing() as engine:
        device = engine.peering.named(peer)
        engine.peering.forget(device)
    return Answer({"device": device}, [desk.say("peer.removed", device=short_id(device))])


def invite(desk: Desk, *, qr: bool, file: Path | None, address: Sequence[str]) -> Answer:
    """Write an invitation to this Device: a link, a QR code, a file."""
    if file is not None:
        refuse_existing(file)
    with desk.reading() as engine:
        made = engine.peering.invitation(tuple(address))
    lines = [made.link, "", desk.say("peer.invite_how", link="hanse peer add")]
    if qr:
        lines += ["", *qr_text(made).rstrip("\n").split("\n")]
    if file is not None:
        _write_invitation(file, made)
        lines += ["", desk.say("peer.invite_file", path=file)]
    addresses = [one.text for one in made.addresses]
    result = {"link": made.link, "device": made.device, "addresses": addresses, "file": file}
    return Answer(result, lines)


def _write_invitation(path: Path, made: Invitation) -> None:
    """Write a picture where the name asks for one, else the link."""
    match path.suffix.lower():
        case ".png":
            write_durably(path, qr_png(made))
        case ".svg":
            write_durably(path, qr_svg(made))
        case _:
            write_invitation_file(path, made)


def seen_now(desk: Desk, engine: Engine) -> list[PeerView]:
    """Return every Device that is known, as the network sees it where it runs."""
    network = None if desk.runtime is None else desk.runtime.peers
    live = {} if network is None else {one.device: one for one in network.connections()}
    known = engine.peering.views()
    found = [live.pop(one.device, one) for one in known]
    return [*found, *live.values()]


# --- exchanging -----------------------------------------------------------------------------


def sync(desk: Desk, *, peer: str | None) -> Answer:
    """Exchange Entries now with one Device, or with all that are reached."""
    with desk.online() as (engine, network), long_work(desk) as progress:
        device = None if peer is None else engine.peering.named(peer)
        _meet(desk, engine, network, device, progress)
        counts = waited(network.sync(device), progress, "sync")
        names = {one.device: one.name for one in seen_now(desk, engine)}
    result = [{"device": one, "entries": count} for one, count in counts.items()]
    new = sum(counts.values())
    lines = [desk.say("peer.synced", peers=len(counts), entries=new)]
    if counts:
        rows = [(short_id(one), names.get(one) or "-", str(count)) for one, count in counts.items()]
        lines += ["", *headed(desk, ("peer", "name", "entries"), rows)]
    return Answer({"peers": result, "entries": new}, lines)


def offline(desk: Desk, *, state: str | None) -> Answer:
    """Say whether the network is switched off, or switch it."""
    from hanse.app import runtime  # noqa: PLC0415 - brings what runs beside commands

    folder = desk.hanse.home().folder
    is_wanted = None if state is None else state == "on"
    running = desk.runtime
    if is_wanted is not None:
        if running is not None:
            running.set_offline(is_offline=is_wanted)
        else:
            runtime.set_offline(folder, is_offline=is_wanted)
    is_by_setting = desk.hanse.settings.is_offline
    is_off = is_by_setting or runtime.is_switched_off(folder)
    if is_wanted is False and is_by_setting:
        raise StillOffline
    is_online = running is not None and running.is_online
    result = {"is_offline": is_off, "is_by_setting": is_by_setting, "is_online": is_online}
    if is_off:
        said = "peer.is_offline"
    elif running is None:
        said = "peer.may_go_online"
    else:
        said = "peer.is_online" if is_online else "peer.is_locked"
    return Answer(result, [desk.say(said)])


def seeding(desk: Desk, *, followed: str | None) -> Answer:
    """Show what is kept for others and what it gave, or change whose is fetched by itself."""
    if followed is None:
        with desk.reading() as engine:
            found = engine.seeding.view()
        return Answer(found, seeding_lines(desk, found))
    with desk.writing() as engine:
        engine.seeding.set_seeding_followed(on=followed == "on")
        begun = engine.seeding.seed_followed() if followed == "on" else ()
        if desk.runtime is not None and desk.runtime.peers is not None:
            for one in begun:
                desk.runtime.peers.fetch(one.release)
        found = engine.seeding.view()
    return Answer(found, seeding_lines(desk, found))


def post(desk: Desk, *, resend: int | None, before: int | None) -> Answer:
    """Show what is on its way to its readers and what became of it, or send one again."""
    network = None if desk.runtime is None else desk.runtime.peers
    if resend is not None:
        with desk.writing() as engine:
            view = engine.posting.resend(resend)
            if network is not None:
                network.post(view.entry_id)
        return Answer(view, post_lines(desk, [view]))
    with desk.reading() as engine:
        found = engine.posting.views() if before is None else engine.posting.views(before)
    if not found:
        return Answer(found, [desk.say("post.none")])
    return Answer(found, post_lines(desk, found))


def confirm(desk: Desk) -> Answer:
    """Let own Entries leave on the person's word that no other copy of the folder runs."""
    with desk.writing() as engine:
        before = engine.replicating.confirmation()
        desk.confirm([desk.say("peer.confirm_draft")], "confirm.sure")
        engine.replicating.confirm_by_hand()
        if desk.runtime is not None and desk.runtime.peers is not None:
            desk.runtime.peers.announce()
        now = engine.replicating.confirmation()
    return Answer({"before": before, "now": now}, [desk.say("peer.confirmed")])


def _dialled(
    desk: Desk, network: Peers, peer: PeerView, progress: Progress
) -> tuple[PeerView, str]:
    """Dial a Device that was just put on the list; that it is off now is no fault."""
    if not peer.addresses:
        return peer, desk.say("peer.dialled_later")
    try:
        reached = waited(network.add(peer.addresses[0]), progress, "dial")
    except (EnvironmentFault, NetworkOffline) as error:
        return peer, desk.say(error.code, **error.values)
    return reached, desk.say("peer.reached", name=reached.name or short_id(reached.device))


def _meet(
    desk: Desk, engine: Engine, network: Peers, device: AuthorKey | None, progress: Progress
) -> None:
    """Wait until somebody is connected, or raise ``NoPeer``."""
    is_new = desk.runtime is None
    if device is not None:
        place = engine.peering.view(device).addresses
        is_there = any(one.device == device for one in network.connections())
        if place and not is_there:
            with suppress(NoPeer):  # it may come to us meanwhile
                waited(network.add(place[0], is_kept=False), progress, "dial")
    until = time.monotonic() + (MEET_SECONDS if is_new else 0.0)
    while True:
        met = [one.device for one in network.connections()]
        if device in met or (device is None and met):
            return
        if time.monotonic() >= until:
            whom = desk.say("peer.anybody") if device is None else short_id(device)
            raise NoPeer(whom=whom, tried=len(engine.peering.views()))
        progress.control.checkpoint("dial", 0, 1)
        time.sleep(_LOOK_SECONDS)


def waited(future: Future[T], progress: Progress, stage: str) -> T:
    """Wait for the network; Ctrl-C ends the wait."""
    while True:
        try:
            return future.result(_LOOK_SECONDS)
        except FutureTimeout:
            if future.done():
                raise
            try:
                progress.control.checkpoint(stage, 0, 1)
            except Cancelled:
                future.cancel()
                raise


# --- following ------------------------------------------------------------------------------


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
