"""Bodies about Identities, Devices, and what the ledger itself says: ``ledger.md`` section 3.1."""

from typing import Annotated, ClassVar, Literal

import msgspec

from hanse.core.errors import BadShape
from hanse.core.ledger.kinds.fields import (
    Count,
    Hash,
    Id,
    Key,
    Lang,
    Ms,
    Number,
    PublicBody,
    RootNumber,
    Sectors,
    Sig,
    Tag,
    check_set,
    check_sorted,
)
from hanse.core.limits import (
    EVIDENCE_SIZE_BYTES_MAX,
    FORK_PROOF_SIZE_BYTES_MAX,
    PROFILE_NAME_CHARACTERS_MAX,
    ROOT_ROTATIONS_MAX,
    ROTATE_DEVICES_MAX,
)

RotateDevice = tuple[Key, Count | None, Id | None]
WitnessHead = tuple[Key, Number, Id]
Targets = Annotated[tuple[Id, ...], msgspec.Meta(min_length=1, max_length=64)]
Reason200 = Annotated[str, msgspec.Meta(max_length=200)]


class Identity1(PublicBody, frozen=True, kw_only=True):
    """Opens a root feed and gives the current Box key."""

    identity: Key
    r: RootNumber
    epoch: Count
    box: Key
    rotated_from: Id | None

    def check(self) -> None:
        """Refuse a first Root key that was rotated to, and a later one that was not."""
        if (self.r == 0) != (self.rotated_from is None):
            raise BadShape(f"root key {self.r} does not fit - at `$.rotated_from`")


class Revoke1(PublicBody, frozen=True, kw_only=True):
    """Cuts a Device's Feed after ``last_seq``; 0 makes all of it void."""

    device: Key
    last_seq: Count
    last_id: Id | None
    successor: Key | None
    epoch: Number
    box: Key
    reason: Literal["lost", "stolen", "sold", "other"]

    def check(self) -> None:
        """Refuse a cut without its id, and a Device that succeeds itself."""
        _check_cut("last_id", self.last_seq, self.last_id)
        if self.successor == self.device:
            raise BadShape("the revoked device itself - at `$.successor`")


class Rotate1(PublicBody, frozen=True, kw_only=True):
    """Names the next Root key and which Devices go on."""

    r: Annotated[int, msgspec.Meta(ge=1, le=ROOT_ROTATIONS_MAX)]
    root: Key
    epoch: Number
    sig: Sig
    devices: Annotated[tuple[RotateDevice, ...], msgspec.Meta(max_length=ROTATE_DEVICES_MAX)]

    def check(self) -> None:
        """Refuse a Device named twice or a cut without its id."""
        check_set("devices", (key for key, _, _ in self.devices))
        for _, last_seq, last_id in self.devices:
            _check_cut("devices", last_seq, last_id)


class Device1(PublicBody, frozen=True, kw_only=True):
    """The Delegation: a Root key lets a Device speak for its Identity."""

    identity: Key
    r: RootNumber
    root: Key
    role: Literal["full", "mirror"]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    box: Key
    sig: Sig


class Profile1(PublicBody, frozen=True, kw_only=True):
    """How an Identity presents itself; the newest one wins."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"about"})
    SETS: ClassVar[frozenset[str]] = frozenset({"web", "sectors"})

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=PROFILE_NAME_CHARACTERS_MAX)]
    about: Annotated[str, msgspec.Meta(max_length=2000)]
    web: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=200)], ...],
        msgspec.Meta(max_length=3),
    ]
    contact: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None
    sectors: Sectors
    avatar: Hash | None
    lang: Lang | None  # in which the person likes to be written to


class Label1(PublicBody, frozen=True, kw_only=True):
    """A keeper's word on an Entry or Identity, for those who chose him."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"reason"})

    subject: Key
    scheme: Tag
    value: Tag
    negate: bool
    reason: Annotated[str, msgspec.Meta(max_length=500)]
    expires: Ms | None


class Follow1(PublicBody, frozen=True, kw_only=True):
    """Weight 0 takes a follow back, 1 follows, 3 vouches; the newest one wins."""

    identity: Key
    weight: Literal[0, 1, 3]


class Erase1(PublicBody, frozen=True, kw_only=True):
    """Asks everybody to drop these Bodies of the same Identity."""

    MULTILINE: ClassVar[frozenset[str]] = frozenset({"reason"})
    SETS: ClassVar[frozenset[str]] = frozenset({"targets"})

    targets: Targets
    reason: Reason200


class Witness1(PublicBody, frozen=True, kw_only=True):
    """Heads its Author has seen, one for a Feed, sorted by the Feed's Author."""

    heads: Annotated[tuple[WitnessHead, ...], msgspec.Meta(min_length=1, max_length=500)]

    def check(self) -> None:
        """Refuse two Heads of one Feed."""
        check_sorted("heads", (author for author, _, _ in self.heads))


class Fork1(PublicBody, frozen=True, kw_only=True):
    """A Fork proof, where another Entry must be able to name it."""

    proof: Annotated[bytes, msgspec.Meta(min_length=1, max_length=FORK_PROOF_SIZE_BYTES_MAX)]


class Fault1(PublicBody, frozen=True, kw_only=True):
    """Evidence by which any peer judges a sale."""

    evidence: Annotated[bytes, msgspec.Meta(min_length=1, max_length=EVIDENCE_SIZE_BYTES_MAX)]


class Disclose1(PublicBody, frozen=True, kw_only=True):
    """Gives everybody the Envelope key of one Private body."""

    entry: Id
    key: Key


def _check_cut(name: str, last_seq: int | None, last_id: bytes | None) -> None:
    """Raise ``BadShape`` unless an id stands exactly where a last Entry is named."""
    if (last_id is None) != (last_seq is None or last_seq == 0):
        raise BadShape(f"last seq {last_seq} and its id do not fit - at `$.{name}`")
