"""Which Device speaks for which Identity, and until where in its Feed.

The rules, which nothing else repeats:

* The Identity is its first Root key.  Root key r + 1 is the one that a
  ``rotate/1`` of Root key r names and that has itself signed for it.
* A Device speaks for the Identity when its ``device/1`` carries the signature
  of one of these Root keys.
* A ``revoke/1`` cuts a Device's Feed after ``last_seq``; of several cuts the
  lowest counts.  A ``rotate/1`` cuts every Device of its own and earlier Root
  keys that it does not name.
* Revocations on *every* branch of a forked root feed count.  Two different
  rotations of one Root key freeze the Identity: Devices of later Root keys are
  void, and the lower of the two cuts counts for all others.

``standing`` is a fold over a *set*: any order and repetition of the same root
Entries gives the same answer.  Acceptance (``ledger.feed``) therefore never
depends on a revocation that might come later; what a cut makes void is decided
here, whenever somebody asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hanse.core.crypto.signing import PREFIX_DEVICE, PREFIX_ROTATE, Signer, verify
from hanse.core.ledger.codec import encode
from hanse.core.ledger.kinds import Body, Device1, Identity1, Revoke1, Rotate1
from hanse.core.limits import ROOT_ROTATIONS_MAX, SEQ_MAX
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hanse.core.ledger.entry import CheckedEntry, Header

ROLE_ROOT: Final = "root"
ROLE_FULL: Final = "full"
ROLE_MIRROR: Final = "mirror"
MIRROR_KINDS: Final = frozenset({"device/1", "witness/1"})


@dataclass(frozen=True, slots=True)
class Opening:
    """What Entry 1 of a Feed establishes: whose it is and in which role.

    ``r`` counts rotations: the number of the Root key that signs here, or that
    signed the Delegation.
    """

    identity: IdentityId
    r: int
    role: str

    @property
    def is_root(self) -> bool:
        """Say whether this is a root feed."""
        return self.role == ROLE_ROOT


@dataclass(frozen=True, slots=True)
class RootStatement:
    """One Entry of a root feed with its parsed Body."""

    author: AuthorKey
    seq: int
    entry_id: EntryId
    time_ms: int
    body: Body


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a Device's Feed ends to count: after ``last_seq`` (0: all of it is void)."""

    last_seq: int
    last_id: EntryId | None
    successor: AuthorKey | None
    reason: str


@dataclass(frozen=True, slots=True)
class Rotation:
    """A Root key's word about its successor and the Devices that go on."""

    r: int
    new_root: AuthorKey
    entry_id: EntryId
    devices: Mapping[AuthorKey, tuple[int | None, EntryId | None]]


@dataclass(frozen=True, slots=True)
class Standing:
    """All that the root Entries held here say about one Identity."""

    identity: IdentityId
    roots: Mapping[AuthorKey, int]
    boxes: Mapping[int, bytes]
    cuts: Mapping[AuthorKey, Cut]
    rotations: tuple[Rotation, ...]
    is_frozen: bool
    opened: frozenset[AuthorKey]

    @property
    def epoch(self) -> int:
        """Return the newest key epoch."""
        return max(self.boxes)

    @property
    def box(self) -> bytes:
        """Return the Box key of the newest epoch."""
        return self.boxes[self.epoch]

    @property
    def newest_root(self) -> tuple[int, AuthorKey]:
        """Return the number and key of the newest Root key (the lowest key if frozen)."""
        r = max(self.roots.values())
        return r, min(key for key, number in self.roots.items() if number == r)

    def cut_of(self, device: AuthorKey, r: int) -> Cut | None:
        """Return the lowest cut on a Device that Root key ``r`` delegated, if there is any."""
        cuts = [self.cuts[device]] if device in self.cuts else []
        is_revoked = bool(cuts)
        for rotation in self.rotations:
            if rotation.r < r:
                continue
            if device in rotation.devices:
                last_seq, last_id = rotation.devices[device]
                if last_seq is not None:
                    cuts.append(Cut(last_seq, last_id, None, "rotated"))
            elif not is_revoked:
                cuts.append(Cut(0, None, None, "rotated"))
        if self.is_frozen and r > min(rotation.r for rotation in self._conflicting()):
            cuts.append(Cut(0, None, None, "frozen"))
        return min(cuts, key=_cut_order, default=None)

    def _conflicting(self) -> list[Rotation]:
        numbers = [rotation.r for rotation in self.rotations]
        return [rotation for rotation in self.rotations if numbers.count(rotation.r) > 1]


@dataclass(frozen=True, slots=True)
class Void:
    """An Entry that counts for nobody, and why."""

    reason: str


def _place(statement: RootStatement) -> tuple[int, EntryId]:
    # Of two revocations with the same cut the first one stays.
    return statement.seq, statement.entry_id


def _cut_order(cut: Cut) -> tuple[int, bytes]:
    # Ties are broken by the id, never by the order of arrival.
    return cut.last_seq, cut.last_id or b"\xff"


def device_message(
    identity: bytes, r: int, root: bytes, device: bytes, role: str, time_ms: int
) -> bytes:
    """Return what Root key ``r`` signs to delegate to a Device, behind ``PREFIX_DEVICE``."""
    return encode([identity, r, root, device, role, time_ms])


def rotate_message(identity: bytes, r: int, new_root: bytes) -> bytes:
    """Return what new Root key ``r`` signs to take over, behind ``PREFIX_ROTATE``."""
    return encode([identity, r, new_root])


def sign_delegation(
    root: Signer, *, identity: IdentityId, r: int, device: AuthorKey, role: str, time_ms: int
) -> bytes:
    """Sign the Delegation that opens a Device's Feed."""
    message = device_message(identity, r, root.public_key, device, role, time_ms)
    return root.sign(PREFIX_DEVICE, message)


def delegation_holds(header: Header, body: Device1) -> bool:
    """Say whether ``body.sig`` is the Root key's word for the Device that wrote ``header``.

    Whether that Root key belongs to the Identity is another question:
    ``Standing.roots``.
    """
    message = device_message(
        body.identity, body.r, body.root, header.author, body.role, header.time_ms
    )
    return verify(body.root, PREFIX_DEVICE, message, body.sig)


def standing(identity: IdentityId, statements: Iterable[RootStatement]) -> Standing | None:
    """Fold the root Entries held of ``identity``; ``None`` while its first one is missing.

    Statements by keys that are no Root key of this Identity are ignored: they
    may be here because a rotation that would explain them is not.
    """
    by_author: dict[AuthorKey, dict[EntryId, RootStatement]] = {}
    for item in statements:
        by_author.setdefault(item.author, {})[item.entry_id] = item

    roots: dict[AuthorKey, int] = {AuthorKey(bytes(identity)): 0}
    rotations: dict[EntryId, Rotation] = {}
    cuts: dict[AuthorKey, Cut] = {}
    opened: set[AuthorKey] = set()
    boxes: list[tuple[int, int, int, EntryId, bytes]] = []  # the last of an epoch counts
    pending = [AuthorKey(bytes(identity))]
    # One Root number after the other, whatever came first: a key named by rotations of two
    # numbers has the lower one, and each ``identity/1`` finds the rotation that it names.
    while pending:
        author = pending.pop(0)
        r = roots[author]
        for item in sorted(by_author.get(author, {}).values(), key=_place):
            match item.body:
                case Identity1() as body:
                    if _opens(body, identity, author, r, rotations):
                        opened.add(author)
                        boxes.append((body.epoch, r, item.seq, item.entry_id, body.box))
                case Revoke1() as body:
                    _keep_lowest(cuts, body)
                    boxes.append((body.epoch, r, item.seq, item.entry_id, body.box))
                case Rotate1() as body if _rotates(body, identity, r):
                    new_root = AuthorKey(body.root)
                    rotations[item.entry_id] = _rotation(item.entry_id, body, r)
                    if new_root not in roots:
                        roots[new_root] = r + 1
                        pending.append(new_root)
                case _:
                    pass
    if AuthorKey(bytes(identity)) not in opened:
        return None
    ordered = tuple(
        sorted(rotations.values(), key=lambda rotation: (rotation.r, rotation.entry_id))
    )
    return Standing(
        identity=identity,
        roots=roots,
        boxes={epoch: box for epoch, _, _, _, box in sorted(boxes)},
        cuts=cuts,
        rotations=ordered,
        is_frozen=len({rotation.r for rotation in ordered}) < len(ordered),
        opened=frozenset(opened),
    )


def _opens(
    body: Identity1,
    identity: IdentityId,
    author: AuthorKey,
    r: int,
    rotations: Mapping[EntryId, Rotation],
) -> bool:
    if body.identity != identity or body.r != r:
        return False
    if body.rotated_from is None:
        return r == 0
    rotation = rotations.get(EntryId(body.rotated_from))
    return rotation is not None and rotation.r + 1 == r and rotation.new_root == author


def _rotates(body: Rotate1, identity: IdentityId, r: int) -> bool:
    return (
        body.r == r + 1 <= ROOT_ROTATIONS_MAX
        and body.root != identity
        and verify(body.root, PREFIX_ROTATE, rotate_message(identity, body.r, body.root), body.sig)
    )


def _rotation(entry_id: EntryId, body: Rotate1, r: int) -> Rotation:
    devices = {
        AuthorKey(key): (last_seq, None if last_id is None else EntryId(last_id))
        for key, last_seq, last_id in body.devices
    }
    return Rotation(r, AuthorKey(body.root), entry_id, devices)


def _keep_lowest(cuts: dict[AuthorKey, Cut], body: Revoke1) -> None:
    cut = Cut(
        body.last_seq,
        None if body.last_id is None else EntryId(body.last_id),
        None if body.successor is None else AuthorKey(body.successor),
        body.reason,
    )
    device = AuthorKey(body.device)
    held = cuts.get(device)
    if held is None or _cut_order(cut) < _cut_order(held):
        cuts[device] = cut


def counted_until(
    opening: Opening,
    author: AuthorKey,
    known: Standing,
    frozen_seq: int | None,
    id_at: Callable[[int], EntryId | None],
) -> int:
    """Return the last seq of this Feed that counts; 0 when nothing of it does.

    ``frozen_seq`` is the lowest disputed seq of the Feed and ``id_at`` gives the
    id held at a seq.  A cut whose ``last_id`` lies on the branch held here lifts
    the dispute up to the cut: the Root has said which branch it is.
    """
    if opening.is_root:
        return SEQ_MAX
    limit = SEQ_MAX if frozen_seq is None else frozen_seq - 1
    cut = known.cut_of(author, opening.r)
    if cut is None:
        return limit
    if cut.last_id is None or cut.last_seq == 0:
        return min(limit, cut.last_seq)
    held = id_at(cut.last_seq)
    if held == cut.last_id:
        return cut.last_seq
    if held is None:
        return min(limit, cut.last_seq)
    # Another branch is held here than the one the Root confirmed; where the two
    # part is not known yet, so nothing of the place in question counts.
    return min(limit, cut.last_seq - 1)


def speaks_for(
    entry: CheckedEntry, opening: Opening, known: Standing, counted: int
) -> IdentityId | Void:
    """Say for whom an accepted Entry speaks, or why it is void.

    ``counted`` is what ``counted_until`` returned for its Feed.
    """
    if opening.role == ROLE_MIRROR and entry.kind not in MIRROR_KINDS:
        return Void("mirror")
    if entry.author in known.roots and opening.is_root:
        return known.identity
    if opening.r not in known.roots.values():
        return Void("delegation")
    if entry.seq > counted:
        return Void("cut" if known.cut_of(entry.author, opening.r) else "disputed")
    return known.identity
