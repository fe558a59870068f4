"""The Devices we know: the person's own list, who answered, and what is held against whom.

* Everything here works without a network; what the network hears, it brings here to be kept.
* An Identity a Peer claims is kept as a claim.  It is believed, and the Peer counts as near, only
  while a Delegation held here says that the Device speaks for it.
* The person's list (``is_kept``) is edited by the person alone, may be empty, and shows why an
  entry is dead.  Every other row makes room for a more useful one.
* Addresses of this machine are noted when the network hears of them, so that an invitation can be
  written while it is off.

Whom to dial when, and over what, is decided in ``hanse.network``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum, unique
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.engine.inviting import make_invitation, read_invitation
from hanse.core.engine.naming import DIGITS_MIN
from hanse.core.errors import Refused, WrongUse
from hanse.core.ledger.codec import is_text
from hanse.core.limits import (
    NEAR_IDENTITIES_MAX,
    PEER_ADDRESSES_MAX,
    PEER_ROLES_MAX,
    PEERS_LISTED_MAX,
    STATUS_PEERS_MAX,
)
from hanse.core.model.addresses import Reach, parse_peer_id, read_address
from hanse.core.model.ids import ID_SIZE_BYTES, AuthorKey, BadId
from hanse.core.model.network import Met, PeerView
from hanse.core.store.peers import PeerRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hanse.core.engine.context import Context
    from hanse.core.engine.inviting import Invitation
    from hanse.core.model.addresses import PeerAddress
    from hanse.core.model.ids import IdentityId
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

ANSWERED_LATELY_MS: Final = 7 * 24 * 60 * 60 * 1000  # a Peer that is passed on answered since
_OWN_PLACES: Final = "own_places"
_HOUR_MS: Final = 60 * 60 * 1000
_NEWS_MS: Final = _HOUR_MS  # a repeated word of a Peer is written once in so long
_NODE: Final = "node"
_NAMED: Final = "/dns"  # how a multiaddr that must be looked up begins


class PeerUnknown(WrongUse):
    """No Peer is known by this text."""

    code = "peer.unknown"
    text = "no peer {found} is known"
    fields = ("found",)


class PeerUnclear(WrongUse):
    """Several Peers are known by these digits."""

    code = "peer.unclear"
    text = "{found} fits {count} peers"
    fields = ("found", "count")


class OwnPeer(WrongUse):
    """An invitation leads to the very Device that reads it."""

    code = "peer.own"
    text = "peer {peer} is this device"
    fields = ("peer",)


class PeerListFull(Refused):
    """The person's list takes no more entries."""

    code = "peer.list_full"
    text = "the list of peers has {most} entries"
    fields = ("most",)


class NoOwnAddress(Refused):
    """Nobody has told us yet where this Device can be reached."""

    code = "peer.no_own_address"
    text = "no address of this device is known yet"


@unique
class Nearness(IntEnum):
    """How close a Peer's proven Identity is to ours."""

    OWN = 0  # another Device of this Identity
    NEAR = 1  # followed
    HOP = 2  # within two of those
    STRANGER = 3


@dataclass(frozen=True, slots=True)
class KnownPeer:
    """A Peer that may be dialled; ``addresses`` are multiaddr texts with its key."""

    device: AuthorKey
    addresses: tuple[str, ...]
    met: Met
    is_kept: bool
    nearness: Nearness
    answered_ms: int | None
    failures: int
    refused_until_ms: int | None


@dataclass(frozen=True, slots=True)
class Heard:
    """What a Peer said of itself, as far as it is believed.

    ``addresses`` are those it may be dialled at; ``dialled`` is where it answered us.
    """

    device: AuthorKey
    met: Met
    program: str = ""
    roles: tuple[str, ...] = ()
    identity: IdentityId | None = None
    addresses: tuple[PeerAddress, ...] = ()
    dialled: PeerAddress | None = None


@dataclass(frozen=True, slots=True)
class HeldAgainst:
    """What is held against a Peer: ``penalty_milli`` as it was at ``at_ms``."""

    device: AuthorKey
    penalty_milli: int
    at_ms: int
    refused_until_ms: int | None


@dataclass(frozen=True, slots=True)
class OwnPlace:
    """Where this Device may be reached; ``told`` Peers say that it answered them there.

    With 0 it is only where we listen.
    """

    address: str
    told: int = 0


@dataclass(frozen=True, slots=True)
class PassedOn:
    """A Peer others are told of: where it answered, and how many seconds ago."""

    device: AuthorKey
    addresses: tuple[str, ...]
    seen_s: int


class Peering:
    """Use cases about other Devices."""

    def __init__(self, context: Context) -> None:
        """Bind the Account."""
        self._context = context

    # --- what a person sees and does ------------------------------------------------------------

    def views(self) -> tuple[PeerView, ...]:
        """Show every Peer: the person's list first, then who was heard of last."""
        now_ms = self._context.clock.now_ms()
        with self._context.store.reads() as reads:
            rows = reads.peers.all()
            proven = reads.peers.delegations([row.device for row in rows])
            found = [_view(reads, row, proven, now_ms) for row in rows]
        return tuple(sorted(found, key=lambda it: (not it.is_kept, -(it.seen_ms or 0), it.device)))

    def last_heard(self, within_ms: int) -> tuple[int | None, int]:
        """Return how old what is here is: when a Peer last told us, and how many did so lately.

        ``within_ms`` says how far back is lately.
        """
        with self._context.store.reads() as reads:
            return reads.peers.last_heard(self._context.clock.now_ms() - within_ms)

    def kept(self) -> tuple[PeerView, ...]:
        """Show the person's own list."""
        return tuple(view for view in self.views() if view.is_kept)

    def view(self, device: AuthorKey) -> PeerView:
        """Show one Peer, or raise ``PeerUnknown``."""
        with self._context.store.reads() as reads:
            row = reads.peers.get(device)
            if row is None:
                raise PeerUnknown(found=device.hex())
            proven = reads.peers.delegations([device])
            return _view(reads, row, proven, self._context.clock.now_ms())

    def views_of(self, devices: Sequence[AuthorKey]) -> dict[AuthorKey, PeerView]:
        """Show those of ``devices`` that are known."""
        now_ms = self._context.clock.now_ms()
        with self._context.store.reads() as reads:
            found = [reads.peers.get(device) for device in devices]
            proven = reads.peers.delegations(devices)
            return {
                row.device: _view(reads, row, proven, now_ms) for row in found if row is not None
            }

    def named(self, text: str) -> AuthorKey:
        """Say which known Peer is meant by its peer id, an address, a link or hexadecimal digits.

        Raises ``PeerUnknown``, ``PeerUnclear``, or what reading an address or a link raises.
        """
        with self._context.store.reads() as reads:
            known = [row.device for row in reads.peers.all()]
        digits = text.strip().lower()
        if len(digits) >= DIGITS_MIN and not set(digits) - set("0123456789abcdef"):
            found = [device for device in known if device.hex().startswith(digits)]
        else:
            try:
                meant = parse_peer_id(text.strip())
            except BadId:
                is_place = text.strip().startswith(("/", "hanse:"))
                meant = read_invitation(text).device if is_place else AuthorKey(b"")
            found = [device for device in known if device == meant]
        if not found:
            raise PeerUnknown(found=text.strip()[: 2 * ID_SIZE_BYTES])
        if len(found) > 1:
            raise PeerUnclear(found=digits, count=len(found))
        return found[0]

    def keep(self, text: str) -> PeerView:
        """Put a Peer on the person's list: an address with its key, a link, or a file's text.

        Raises ``BadInvitation``, ``BadAddress``, ``OwnPeer`` or ``PeerListFull``.
        """
        invitation = read_invitation(text)
        met = Met.KEPT if text.strip().startswith("/") else Met.INVITATION
        return self.keep_invitation(invitation, met)

    def keep_invitation(self, invitation: Invitation, met: Met = Met.INVITATION) -> PeerView:
        """Do the same with an invitation that was read already."""
        device = invitation.device
        if device == self._context.device:
            raise OwnPeer(peer=invitation.addresses[0].text)
        now_ms = self._context.clock.now_ms()
        with self._context.store.unit_of_work() as uow:
            held = uow.peers.get(device) or PeerRow(device, (), met, now_ms)
            if not held.is_kept and uow.peers.count_kept() >= PEERS_LISTED_MAX:
                raise PeerListFull(most=PEERS_LISTED_MAX)
            uow.peers.put(
                replace(
                    held,
                    is_kept=True,
                    addresses=_merged(invitation.addresses, held.addresses),
                    identity=held.identity or invitation.identity,
                    name=invitation.name or held.name,
                    # What was tried before was perhaps another place.
                    answered_ms=None if invitation.addresses else held.answered_ms,
                    failures=0,
                    reason=None,
                )
            )
            uow.commit()
        return self.view(device)

    def forget(self, device: AuthorKey) -> None:
        """Take a Peer off the list and drop what is known of it, or raise ``PeerUnknown``.

        What is held against it stays: nobody is forgiven by being forgotten.
        """
        with self._context.store.unit_of_work() as uow:
            row = uow.peers.get(device)
            if row is None:
                raise PeerUnknown(found=device.hex())
            if row.penalty_milli or row.refused_until_ms is not None:
                bare = PeerRow(device, (), row.met, row.met_ms)
                uow.peers.put(
                    replace(
                        bare,
                        penalty_milli=row.penalty_milli,
                        penalty_ms=row.penalty_ms,
                        refused_until_ms=row.refused_until_ms,
                    )
                )
            else:
                uow.peers.forget(device)
            uow.commit()

    def invitation(self, addresses: Sequence[str] = (), name: str | None = None) -> Invitation:
        """Invite others to this Device: where it listens and is seen, public places first.

        Without ``addresses`` those the network noted last.  Loopback is named only where nothing
        else is known: it leads to this Device on this very machine.  Raises ``NoOwnAddress``.
        """
        context = self._context
        with context.store.reads() as reads:
            texts = addresses or [it.address for it in _own_places(reads)]
            profile = reads.projections.profile(context.identity)
        found = {place for text in texts if (place := read_address(text)) is not None}
        reaches = {place: place.reach for place in found}
        best = max((Reach.PUBLIC if it is None else it for it in reaches.values()), default=None)
        if best is None:
            raise NoOwnAddress
        fitting = [it for it in found if best is Reach.LOOPBACK or reaches[it] != Reach.LOOPBACK]
        fitting.sort(key=lambda it: (it.relay is not None, -(reaches[it] or Reach.PUBLIC), it.text))
        if name is None:
            name = context.public.name if profile is None else profile.name
        return make_invitation(context.device, fitting, context.identity, name.strip())

    # --- what the network brings -----------------------------------------------------------------

    def heard(self, heard: Heard) -> PeerView | None:
        """Keep what a Peer said of itself; ``None`` if it is this very Device."""
        if heard.device == self._context.device:
            return None
        now_ms = self._context.clock.now_ms()
        with self._context.store.unit_of_work() as uow:
            held = uow.peers.get(heard.device) or PeerRow(heard.device, (), heard.met, now_ms)
            new = _with_words(held, heard, now_ms)
            if _is_news(held, new):
                uow.peers.put(new)
                uow.commit()
        return self.view(heard.device)

    def failed(self, device: AuthorKey, reason: str) -> None:
        """Note that a dial failed, and why by a stable word; of an unknown Peer nothing is."""
        now_ms = self._context.clock.now_ms()
        with self._context.store.unit_of_work() as uow:
            if (held := uow.peers.get(device)) is None:
                return
            failures = min(held.failures + 1, 2**31)
            uow.peers.put(replace(held, tried_ms=now_ms, failures=failures, reason=reason))
            uow.commit()

    def hold_against(self, found: Sequence[HeldAgainst]) -> None:
        """Keep what is held against Peers, also of one that never said who it is."""
        now_ms = self._context.clock.now_ms()
        with self._context.store.unit_of_work() as uow:
            for held in found:
                row = uow.peers.get(held.device) or PeerRow(held.device, (), Met.INBOUND, now_ms)
                uow.peers.put(
                    replace(
                        row,
                        penalty_milli=held.penalty_milli,
                        penalty_ms=held.at_ms,
                        refused_until_ms=held.refused_until_ms,
                    )
                )
            uow.commit()

    def held_against(self) -> tuple[HeldAgainst, ...]:
        """Return what was held against whom when the program ended."""
        with self._context.store.reads() as reads:
            return tuple(
                HeldAgainst(row.device, row.penalty_milli, row.penalty_ms, row.refused_until_ms)
                for row in reads.peers.with_penalties()
            )

    def count_bytes(self, counted: Mapping[AuthorKey, tuple[int, int]]) -> None:
        """Add the bytes that came from each Peer and went to it."""
        with self._context.store.unit_of_work() as uow:
            for device, (in_bytes, out_bytes) in counted.items():
                uow.peers.count_bytes(device, in_bytes, out_bytes)
            uow.commit()

    def sweep(self) -> int:
        """Forget whom nothing was heard of for 90 days; return how many went."""
        with self._context.store.unit_of_work() as uow:
            gone = uow.peers.sweep(self._context.clock.now_ms())
            uow.commit()
        return gone

    def note_own_places(self, places: Iterable[OwnPlace]) -> None:
        """Note where this Device listens or is seen, for invitations and for whoever asks later."""
        kept = sorted(set(places), key=lambda it: (-it.told, it.address))[: 2 * PEER_ADDRESSES_MAX]
        text = msgspec.json.encode([(it.address, it.told) for it in kept]).decode()
        with self._context.store.unit_of_work() as uow:
            if uow.meta.get(_OWN_PLACES) != text:
                uow.meta.put(_OWN_PLACES, text)
                uow.commit()

    def own_places(self) -> tuple[OwnPlace, ...]:
        """Return where this Device was reached last, the place most Peers tell of first."""
        with self._context.store.reads() as reads:
            return _own_places(reads)

    # --- what the network asks -------------------------------------------------------------------

    def known(self) -> tuple[KnownPeer, ...]:
        """Return every Peer that may be dialled, by key, with how near it is."""
        with self._context.store.reads() as reads:
            rows = [row for row in reads.peers.all() if row.addresses]
            proven = reads.peers.delegations([row.device for row in rows])
            near = _near(reads, self._context.identity)
        return tuple(
            KnownPeer(
                device=row.device,
                addresses=row.addresses,
                met=row.met,
                is_kept=row.is_kept,
                nearness=_nearness(proven.get(row.device), near),
                answered_ms=row.answered_ms,
                failures=row.failures,
                refused_until_ms=row.refused_until_ms,
            )
            for row in rows
        )

    def nearness_of(self, devices: Sequence[AuthorKey]) -> dict[AuthorKey, Nearness]:
        """Say how near each Device is, by the Delegations held here."""
        with self._context.store.reads() as reads:
            proven = reads.peers.delegations(devices)
            near = _near(reads, self._context.identity)
        return {device: _nearness(proven.get(device), near) for device in devices}

    def identity_of(self, device: AuthorKey) -> IdentityId | None:
        """Return for whom a Device speaks, by a Delegation held here; never what it claims."""
        with self._context.store.reads() as reads:
            return reads.peers.delegations([device]).get(device)

    def devices_of(self, identity: IdentityId) -> tuple[AuthorKey, ...]:
        """Return the live Devices of an Identity, the one that answered last first."""
        with self._context.store.reads() as reads:
            found = [row.device for row in reads.projections.devices(identity)]
            live = reads.peers.delegations(found)
            heard = {device: reads.peers.get(device) for device in live}
        last = {device: (row.seen_ms or 0) if row else 0 for device, row in heard.items()}
        return tuple(sorted(live, key=lambda device: (-last[device], device)))

    def passed_on(self, asker: AuthorKey, most: int = STATUS_PEERS_MAX) -> tuple[PassedOn, ...]:
        """Return Nodes that answered us at a public place in the last week, the newest first.

        Only the place where each answered: what a Peer merely says of itself, others would
        knock at in our name.
        """
        now_ms = self._context.clock.now_ms()
        with self._context.store.reads() as reads:
            rows = reads.peers.all()
        fitting = [row for row in rows if _may_be_passed_on(row, asker, now_ms)]
        fitting.sort(key=lambda row: (-(row.answered_ms or 0), row.device))
        return tuple(
            PassedOn(row.device, row.addresses[:1], (now_ms - (row.answered_ms or 0)) // 1000)
            for row in fitting[:most]
        )


def _own_places(held: Repositories) -> tuple[OwnPlace, ...]:
    text = held.meta.get(_OWN_PLACES) or "[]"
    found = msgspec.json.decode(text, type=list[tuple[str, int]])
    return tuple(OwnPlace(address, told) for address, told in found)


def _may_be_passed_on(row: PeerRow, asker: AuthorKey, now_ms: int) -> bool:
    if row.device == asker or _NODE not in row.roles or row.answered_ms is None:
        return False
    is_lately = 0 <= now_ms - row.answered_ms <= ANSWERED_LATELY_MS
    is_refused = row.refused_until_ms is not None and now_ms < row.refused_until_ms
    place = read_address(row.addresses[0]) if row.addresses else None
    return is_lately and not is_refused and place is not None and place.reach is Reach.PUBLIC


def _with_words(held: PeerRow, heard: Heard, now_ms: int) -> PeerRow:
    """Return the row with what was heard; the claims are the newest, addresses accumulate."""
    front = heard.addresses if heard.dialled is None else (heard.dialled, *heard.addresses)
    # Where it answered us stays in front of what it merely says.
    before = held.addresses[:1] if held.answered_ms is not None and heard.dialled is None else ()
    places = [place for text in before if (place := read_address(text)) is not None]
    new = replace(
        held,
        addresses=_merged((*places, *front), held.addresses),
        identity=heard.identity or held.identity,
        roles=heard.roles[:PEER_ROLES_MAX],
        program=heard.program if is_text(heard.program, multiline=False) else "",
        seen_ms=now_ms,
    )
    if heard.dialled is None:
        return new
    return replace(new, answered_ms=now_ms, tried_ms=now_ms, failures=0, reason=None)


def _is_news(held: PeerRow, new: PeerRow) -> bool:
    """Say whether writing is worth a sync of the disk."""
    times = {"seen_ms": None, "answered_ms": None, "tried_ms": None}
    if replace(held, **times) != replace(new, **times):  # type: ignore[arg-type]  # three ints
        return True
    was = (held.seen_ms or 0, held.answered_ms or 0)
    now = (new.seen_ms or 0, new.answered_ms or 0)
    return any(not 0 <= after - before < _NEWS_MS for before, after in zip(was, now, strict=True))


def _merged(front: Iterable[PeerAddress], behind: Sequence[str]) -> tuple[str, ...]:
    """Return the texts of both, each once, the best first, only so many.

    A name comes from the person alone, so that no Peer's word may push it out.
    """
    texts = dict.fromkeys((*(place.text for place in front), *behind))
    names = [text for text in texts if text.startswith(_NAMED)][:PEER_ADDRESSES_MAX]
    room = PEER_ADDRESSES_MAX - len(names)
    rest = [text for text in texts if text not in names][:room]
    return tuple(text for text in texts if text in names or text in rest)


def _near(reads: Repositories, own: IdentityId) -> dict[IdentityId, Nearness]:
    """Return the Identities around ours: followed ones, and what is within two of those."""
    found = {own: Nearness.OWN}
    ring = [own]
    for nearness in (Nearness.NEAR, Nearness.HOP, Nearness.HOP):
        after: list[IdentityId] = []
        for identity in ring:
            for row in reads.projections.follows_of(identity):
                if len(found) >= NEAR_IDENTITIES_MAX:
                    return found
                if row.target not in found:
                    found[row.target] = nearness
                    after.append(row.target)
        ring = after
    return found


def _nearness(identity: IdentityId | None, near: Mapping[IdentityId, Nearness]) -> Nearness:
    return Nearness.STRANGER if identity is None else near.get(identity, Nearness.STRANGER)


def _view(
    held: Repositories | UnitOfWork,
    row: PeerRow,
    proven: Mapping[AuthorKey, IdentityId],
    now_ms: int,
) -> PeerView:
    hours = min(max(0, now_ms - row.penalty_ms) // _HOUR_MS, 63)
    identity = proven.get(row.device)
    profile = None if identity is None else held.projections.profile(identity)
    return PeerView(
        device=row.device,
        identity=identity or row.identity,
        name=row.name if profile is None else profile.name,
        addresses=row.addresses,
        met=row.met,
        is_kept=row.is_kept,
        roles=row.roles,
        program=row.program,
        seen_ms=row.seen_ms,
        synced_ms=row.reconciled_ms,
        reason=row.reason,
        penalty_milli=row.penalty_milli >> hours,  # it halves every hour
        in_bytes=row.in_bytes,
        out_bytes=row.out_bytes,
        is_proven=identity is not None,
        refused_until_ms=row.refused_until_ms,
        answered_ms=row.answered_ms,
    )
