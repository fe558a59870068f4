"""Other Devices, transfers and post as lines for people; and how old what is shown here is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.app.commands.listing_words import NOTHING
from hanse.app.commands.showing import headed, named, short_id, short_identity
from hanse.core.model.addresses import peer_id_text
from hanse.core.model.network import TransferState
from hanse.core.sentences import show_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.app.desk import Desk
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.posting import DeliveryView
    from hanse.core.model.network import PeerView, TransferView
    from hanse.core.model.transfer import SeededView, SeedingView

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS
_LATELY_MS: Final = _DAY_MS  # a Peer counts for the age of what is here


def ago(desk: Desk, time_ms: int | None) -> str:
    """Say how long ago something was, in the largest unit that gives a whole number."""
    if time_ms is None:
        return NOTHING
    past_ms = max(0, desk.hanse.clock.now_ms() - time_ms)
    for code, unit_ms in (("days", _DAY_MS), ("hours", _HOUR_MS), ("minutes", _MINUTE_MS)):
        if past_ms >= unit_ms:
            return desk.say(f"word.ago.{code}", count=past_ms // unit_ms)
    return desk.say("word.ago.now")


def age(engine: Engine) -> dict[str, object] | None:
    """Return when this folder last heard from others, and from how many; None if it never did."""
    last_ms, lately = engine.peering.last_heard(_LATELY_MS)
    return None if last_ms is None else {"last_ms": last_ms, "peers": lately}


def age_lines(desk: Desk, found: dict[str, object] | None) -> list[str]:
    """Say how old what is shown is, where there are others to hear from."""
    if found is None:
        return []
    last_ms = found["last_ms"]
    assert isinstance(last_ms, int)
    return [desk.say("peer.age", ago=ago(desk, last_ms), peers=found["peers"])]


def peer_lines(desk: Desk, peers: Sequence[PeerView], *, is_full: bool) -> tuple[str, ...]:
    """Set Peers in a table."""
    rows = [
        (
            peer_id_text(it.device) if is_full else short_id(it.device),
            it.name or NOTHING,
            how_reached(desk, it),
            desk.say(f"word.met.{it.met.value}"),
            desk.say("peer.is_kept") if it.is_kept else "",
            ago(desk, it.seen_ms),
            ago(desk, it.synced_ms),
            _size(desk, it.in_bytes),
            _size(desk, it.out_bytes),
        )
        for it in peers
    ]
    names = ("peer", "name", "state", "met", "list", "seen", "synced", "received", "sent")
    return headed(desk, names, rows)


def how_reached(desk: Desk, peer: PeerView) -> str:
    """Say whether a Peer is connected and how, or why not."""
    if peer.is_connected:
        path = "direct" if peer.path is None else peer.path.value
        return desk.say(f"word.path.{path}")
    if peer.reason is not None:
        return desk.say("peer.not_reached", reason=peer.reason)
    return desk.say("peer.not_connected")


def one_peer_lines(desk: Desk, peer: PeerView) -> tuple[str, ...]:
    """Describe one Peer in full."""
    values: dict[str, object] = {
        "peer": peer_id_text(peer.device),
        "device": peer.device,
        "name": peer.name or None,
        "identity": short_identity(peer.identity, is_full=True),
        "proven": peer.is_proven,
        "state": how_reached(desk, peer),
        "relay": None if peer.relay is None else peer.relay.hex(),
        "met": desk.say(f"word.met.{peer.met.value}"),
        "list": peer.is_kept,
        "roles": peer.roles or None,
        "program": peer.program or None,
        "seen": ago(desk, peer.seen_ms),
        "synced": ago(desk, peer.synced_ms),
        "received": _size(desk, peer.in_bytes),
        "sent": _size(desk, peer.out_bytes),
        "penalty": None if not peer.penalty_milli else peer.penalty_milli // 1000,
        "refused_until": None
        if peer.refused_until_ms is None
        else show_time(peer.refused_until_ms),
        "addresses": None,
    }
    if peer.addresses:
        values.pop("addresses")
    lines = named(desk, values)
    if not peer.addresses:
        return lines
    return (*lines, desk.say("label.addresses"), *(f"  {one}" for one in peer.addresses))


def transfer_lines(desk: Desk, transfers: Sequence[TransferView]) -> tuple[str, ...]:
    """Set transfers in a table."""
    rows = [
        (
            str(it.transfer),
            it.title or short_id(it.release),
            desk.say(f"word.transfer.{it.state.value}"),
            how_far(desk, it),
            _rate(desk, it.rate) if it.state is TransferState.RUNNING else NOTHING,
            str(it.seeders) if it.seeders else NOTHING,
            str(it.priority),
            desk.say(f"word.fetched.{it.reason}"),
            short_id(it.release),
            error_of(desk, it),
        )
        for it in transfers
    ]
    names = (
        *("number", "title", "state", "progress", "rate", "seeders"),
        *("priority", "fetched", "release", "remark"),
    )
    return headed(desk, names, rows)


def how_far(desk: Desk, transfer: TransferView) -> str:
    """Say how much of a transfer is here."""
    total = transfer.total_bytes
    percent = 100 if not total else min(100, 100 * transfer.done_bytes // total)
    return desk.say("transfer.how_far", percent=percent, total=_size(desk, total))


def error_of(desk: Desk, transfer: TransferView) -> str:
    """Say what a transfer failed with; another version may have other words."""
    if transfer.error is None:
        return ""
    code, values = transfer.error
    try:
        return desk.say(code, **values)
    except KeyError:
        return code


def seeding_lines(desk: Desk, found: SeedingView) -> list[str]:
    """Set what is held in a table, and what it costs and gives in all."""
    lines: list[str] = []
    if found.rows:
        names = ("title", "whose", "size", "received", "given", "ratio", "given_last")
        rows = [
            (
                it.title or short_id(it.artifact),
                desk.say(f"word.whose.{it.whose}"),
                _size(desk, it.held_bytes),
                _size(desk, it.in_bytes),
                _size(desk, it.out_bytes),
                _ratio(it),
                ago(desk, it.last_seeded_ms),
            )
            for it in found.rows
        ]
        lines += [*headed(desk, names, rows), ""]
    else:
        lines += [desk.say("seeding.nothing"), ""]
    lines.append(
        desk.say("seeding.quota", used_bytes=found.others_bytes, quota_bytes=found.quota_bytes)
    )
    lines.append(
        desk.say("seeding.sum", received_bytes=found.in_bytes, given_bytes=found.out_bytes)
    )
    said = "seeding.followed" if found.is_seeding_followed else "seeding.not_followed"
    lines.append(desk.say(said))
    return lines


def post_lines(desk: Desk, found: Sequence[DeliveryView]) -> tuple[str, ...]:
    """Set deliveries in a table."""
    rows = [
        (
            str(it.message),
            it.kind,
            it.to_name or short_identity(it.to),
            _delivery(desk, it),
            str(it.tries),
            show_time(it.created_ms),
            NOTHING if it.next_ms is None else show_time(it.next_ms),
        )
        for it in found
    ]
    names = ("number", "kind", "reader", "state", "tries", "created", "next")
    return headed(desk, names, rows)


def _delivery(desk: Desk, view: DeliveryView) -> str:
    """Say how far a message is, and who keeps it until when."""
    said = desk.say(f"word.delivery.{view.state.value}")
    if view.reason is not None:
        said = desk.say("value", value=(said, view.reason))
    kept = [desk.say("post.kept", name=it.name, until_ms=it.until_ms) for it in view.held]
    return desk.say("value", value=(said, *kept)) if kept else said


def _ratio(view: SeededView) -> str:
    if view.ratio_milli is None:
        return NOTHING
    return f"{view.ratio_milli // 1000}.{view.ratio_milli % 1000 // 10:02}"


def _size(desk: Desk, size_bytes: int) -> str:
    return desk.say("value.size", size_bytes=size_bytes) if size_bytes else NOTHING


def _rate(desk: Desk, rate: int) -> str:
    return desk.say("transfer.rate", rate_bytes=rate)
