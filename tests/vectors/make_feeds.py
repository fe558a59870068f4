"""Writes ``feeds.json``: whole Feeds, every rule broken once, and Fork proofs.

Run as ``python -m tests.vectors.make_feeds``.  The same code gives the same bytes;
what a released version wrote never changes.  Headers are encoded by ``dag-cbor``
and their roots computed by the recursive definition of RFC 6962, so this file and
the program share only the signatures.  What is expected is written by hand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dag_cbor

from hanse.core.crypto.signing import PREFIX_DEVICE, PREFIX_ENTRY, Signer
from tests.fakes.chance import SeededChance
from tests.vectors import make_keys
from tests.vectors.pen import MINUTE_MS, START_MS, Pen, World, Written

FILE = Path(__file__).with_name("feeds.json")
NOW_MS = START_MS + 1000 * MINUTE_MS

_ORDER = 2**252 + 27742317777372353535851937790883648493  # of the Ed25519 base point


@dataclass
class Case:
    """One vector: Entries in the order they arrive, the verdict on each, and the end."""

    note: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    ends: list[dict[str, Any]] = field(default_factory=list)

    def give(self, entry: Written, verdict: str, **expected: Any) -> None:
        self.rows.append(
            {
                "header": entry.header.hex(),
                "signature": entry.signature.hex(),
                "body": None if entry.body is None else entry.body.hex(),
                "verdict": verdict,
                **expected,
            }
        )

    def accept(self, *entries: Written, body: str = "here") -> None:
        for entry in entries:
            self.give(entry, "accepted", body_state=body)

    def park(self, entry: Written, reason: str) -> None:
        self.give(entry, "parked", reason=reason)

    def reject(self, entry: Written, reason: str) -> None:
        self.give(entry, "rejected", reason=reason)

    def fork(self, entry: Written, disputed_seq: int, **expected: Any) -> None:
        self.give(entry, "forked", disputed_seq=disputed_seq, **expected)

    def end(
        self,
        pen: Pen,
        held: int,
        counts: int | None = None,
        state: str = "live",
        void: dict[int, str] | None = None,
    ) -> None:
        self.ends.append(
            {
                "author": pen.key.hex(),
                "state": state,
                "held": held,
                "counts": held if counts is None else counts,
                "void": [[seq, reason] for seq, reason in (void or {}).items()],
            }
        )

    def row(self) -> dict[str, Any]:
        ends = sorted(self.ends, key=lambda end: end["author"])
        return {"note": self.note, "now_ms": NOW_MS, "entries": self.rows, "feeds": ends}


CASES: list[Any] = []


def case(note: str) -> Any:
    """Register a function that fills one vector in a fresh world."""

    def register(fill: Any) -> Any:
        def make() -> Case:
            made = Case(note)
            fill(made, World(note))
            return made

        CASES.append(make)
        return fill

    return register


# --- what is valid --------------------------------------------------------------------------


EXAMPLE = "the worked example of docs/protocol.md"


@case(EXAMPLE)
def _(it: Case, world: World) -> None:
    root, device = example()
    it.accept(*root.entries, *device.entries)
    it.end(root, 1)
    it.end(device, 2)
    assert world.root.key != root.key


def example() -> tuple[Pen, Pen]:
    """Return a root feed and a Device's Feed whose every byte comes from a known phrase."""
    secret = make_keys.root_secret(make_keys.bip39_seed(make_keys.ENGLISH))
    root_row, epoch = make_keys.root(secret, 0), make_keys.epoch(secret, 0)
    chance = SeededChance("hanse/vectors/example/1")
    seed = make_keys.hmac_sha256(secret, b"hanse/root/v1\0", make_keys.u32(0))
    root = Pen(Signer.from_seed(seed), chance, time_ms=-MINUTE_MS)
    identity = {
        "salt": bytes.fromhex(root_row["identity_salt"]),
        "identity": root.key,
        "r": 0,
        "epoch": 0,
        "box": bytes.fromhex(epoch["box"]),
        "rotated_from": None,
    }
    root.write("identity/1", identity)
    device = Pen(Signer.from_seed(make_keys.DEVICE_SEED), chance)
    message = [root.key, 0, root.key, device.key, "full", START_MS + MINUTE_MS]
    box = make_keys.x25519(make_keys.hmac_sha256(make_keys.DEVICE_SEED, b"hanse/device-box/v1\0"))
    delegation = {
        "salt": chance.bytes(16),
        "identity": root.key,
        "r": 0,
        "root": root.key,
        "role": "full",
        "name": "laptop",
        "box": bytes.fromhex(box),
        "sig": root.signer.sign(PREFIX_DEVICE, dag_cbor.encode(message)),
    }
    device.write("device/1", delegation)
    device.write("profile/1", device.profile("Ada"))
    return root, device


@case("an identity, its device, a profile")
def _(it: Case, world: World) -> None:
    device = world.device(entries=1)
    it.accept(world.opening, *device.entries)
    it.end(world.root, 1)
    it.end(device, 2)


@case("the device comes before its root: it waits, then all of it is accepted")
def _(it: Case, world: World) -> None:
    device = world.device(entries=2)
    it.park(device.entries[2], "gap")
    it.park(device.entries[0], "delegation")
    it.park(device.entries[1], "gap")
    it.accept(world.opening)
    it.end(world.root, 1)
    it.end(device, 3)


@case("A4: a repeat is known")
def _(it: Case, world: World) -> None:
    device = world.device(entries=1)
    it.accept(world.opening, *device.entries)
    it.give(device.entries[1], "known")
    it.give(device.entries[1].without_body(), "known")
    it.end(world.root, 1)
    it.end(device, 2)


@case("refs name other entries, sorted")
def _(it: Case, world: World) -> None:
    device = world.device(entries=2)
    refs = sorted(entry.id for entry in device.entries)
    device.write("profile/1", device.profile(), refs=refs)
    it.accept(world.opening, *device.entries)
    it.end(world.root, 1)
    it.end(device, 4)


@case("two entries may have one time")
def _(it: Case, world: World) -> None:
    device = world.device(entries=1)
    device.write("profile/1", device.profile(), time_ms=device.time_ms)
    it.accept(world.opening, *device.entries)
    it.end(world.root, 1)
    it.end(device, 3)


@case("a body that is not here")
def _(it: Case, world: World) -> None:
    device = world.device(entries=2)
    it.accept(world.opening, device.entries[0])
    it.accept(device.entries[1].without_body(), body="absent")
    it.accept(device.entries[2])
    it.end(world.root, 1)
    it.end(device, 3)


@case("a sealed body that is not given to us")
def _(it: Case, world: World) -> None:
    device = world.device()
    sealed = {
        "commit": world.chance.bytes(32),
        "ct": world.chance.bytes(1064),
        "to": [world.chance.bytes(80), world.chance.bytes(80)],
    }
    device.write("private/1", sealed)
    it.accept(world.opening, device.entries[0])
    it.accept(device.entries[1].without_body(), body="private")
    it.end(world.root, 1)
    it.end(device, 2)


@case("an unknown kind is kept")
def _(it: Case, world: World) -> None:
    device = world.device()
    device.write("poem/1", {"lines": ["unknown", "and kept"]})
    device.write("profile/2", {"name": "from a later program"})
    it.accept(world.opening, *device.entries)
    it.end(world.root, 1)
    it.end(device, 3)


@case("an unknown kind in a root feed is kept")
def _(it: Case, world: World) -> None:
    world.root.write("testament/1", {"heirs": []})
    it.accept(*world.root.entries)
    it.end(world.root, 2)


@case("a mirror: only its delegation and witness/1 count")
def _(it: Case, world: World) -> None:
    mirror = world.device(role="mirror", entries=1)
    heads = [[mirror.key, 1, mirror.entries[0].id]]
    mirror.write("witness/1", {"salt": world.chance.bytes(16), "heads": heads})
    it.accept(world.opening, *mirror.entries)
    it.end(world.root, 1)
    it.end(mirror, 3, void={2: "mirror"})


@case("a rotation: the next root speaks, a named device goes on, one not named is void")
def _(it: Case, world: World) -> None:
    named, unnamed, cut = world.device(entries=2), world.device(entries=1), world.device(entries=2)
    devices = [[named.key, None, None], [cut.key, 2, cut.entries[1].id]]
    rotation = world.root.write("rotate/1", world.rotate(1, devices))
    second = world.next_root(1, rotation)
    fresh = world.device(r=1, entries=1)
    it.accept(world.opening, *named.entries, *unnamed.entries, *cut.entries)
    it.park(fresh.entries[0], "delegation")
    it.park(second.entries[0], "delegation")
    it.accept(rotation)
    it.accept(fresh.entries[1])
    it.end(world.root, 2, state="ended")
    it.end(second, 1)
    it.end(named, 3)
    it.end(unnamed, 2, counts=0, void={1: "cut", 2: "cut"})
    it.end(cut, 3, counts=2, void={3: "cut"})
    it.end(fresh, 2)


# --- A1 to A3: the form ---------------------------------------------------------------------


def refused(note: str, reason: str, spoil: Any) -> None:
    """Give one spoilt Entry after a good Feed of two; nothing of it stays."""

    def fill(it: Case, world: World) -> None:
        device = world.device(entries=1)
        it.accept(world.opening, *device.entries)
        it.reject(spoil(device), reason)
        it.end(world.root, 1)
        it.end(device, 2)

    case(note)(fill)


def spoilt(**changes: Any) -> Any:
    """Spoil single fields of the next Header."""
    return lambda pen: pen.draft("profile/1", pen.profile(), **changes)


def _encoded(pen: Pen, change: Any) -> Written:
    """Spoil the bytes of the next Header, and sign them all the same."""
    body = dag_cbor.encode(pen.profile())
    return pen.sign(change(dag_cbor.encode(pen.header("profile/1", body))), body, 3)


def _long_time(raw: bytes) -> bytes:
    time = b"\x1b" + (START_MS + 2 * MINUTE_MS).to_bytes(8, "big")
    assert raw.count(time) == 1
    return raw.replace(time, b"\xfb" + time[1:])  # eight bytes of float


def _as_list(pen: Pen, change: Any) -> Written:
    body = dag_cbor.encode(pen.profile())
    header = change(pen.header("profile/1", body))
    return pen.sign(dag_cbor.encode(header), body, 3)


def _with(entry: Written, signature: bytes) -> Written:
    return Written(entry.header, signature, entry.body, entry.seq)


def _other_form(entry: Written) -> Written:
    """Give the signature its second form, S + L, which a lax program takes too."""
    s = int.from_bytes(entry.signature[32:], "little") + _ORDER
    return _with(entry, entry.signature[:32] + s.to_bytes(32, "little"))


ZERO_KEY = bytes([1]) + bytes(31)  # the neutral point: whatever is signed, R = 1, S = 0 fits


refused(
    "A1: a header of more than 1,024 bytes",
    "too_big",
    spoilt(refs=[number.to_bytes(32, "big") for number in range(30)]),
)
refused(
    "A1: a signature of 63 bytes",
    "too_big",
    lambda pen: _with(entry := spoilt()(pen), entry.signature[:-1]),
)
refused("A2: a byte follows", "not_canonical", lambda pen: _encoded(pen, lambda it: it + b"\0"))
refused(
    "A2: version 1 in one byte more",
    "not_canonical",
    lambda pen: _encoded(pen, lambda it: it[:1] + b"\x18\x01" + it[2:]),
)
refused(
    "A2: an infinite list",
    "not_canonical",
    lambda pen: _encoded(pen, lambda it: b"\x9f" + it[1:] + b"\xff"),
)
refused("A3: a time that is a float", "bad_shape", lambda pen: _encoded(pen, _long_time))
refused("A3: nine fields", "bad_shape", lambda pen: _as_list(pen, lambda it: it[:-1]))
refused("A3: eleven fields", "bad_shape", lambda pen: _as_list(pen, lambda it: [*it, None]))
refused("A3: an author of 31 bytes", "bad_shape", spoilt(author=bytes(31)))
refused("A3: seq 0", "bad_shape", spoilt(seq=0))
refused("A3: seq 2^31", "bad_shape", spoilt(seq=2**31))
refused("A3: prev null at seq 3", "bad_shape", spoilt(prev=None))
refused("A3: root null at seq 3", "bad_shape", spoilt(root=None))
refused("A3: prev and root at seq 1", "bad_shape", spoilt(seq=1))
refused("A3: a time below 0", "bad_shape", spoilt(time_ms=-1))
refused("A3: a kind without a version", "bad_shape", spoilt(kind="profile"))
refused("A3: a kind of version 0", "bad_shape", spoilt(kind="profile/0"))
refused("A3: a kind with a newline", "bad_shape", spoilt(kind="profile/1\n"))
refused("A3: a body of 0 bytes", "bad_shape", spoilt(body_len=0))
refused("A3: a body of 65,537 bytes", "bad_shape", spoilt(body_len=65_537))
refused("A3: refs out of order", "bad_shape", spoilt(refs=[b"\2" * 32, b"\1" * 32]))
refused("A3: a ref twice", "bad_shape", spoilt(refs=[b"\1" * 32, b"\1" * 32]))
refused(
    "A3: 17 refs",
    "bad_shape",
    spoilt(refs=[number.to_bytes(32, "big") for number in range(17)]),
)
refused("A3: refs on a private kind", "bad_shape", spoilt(kind="private/1", refs=[b"\1" * 32]))
refused("A3: version 2", "version", spoilt(version=2))

# --- A5: the signature ----------------------------------------------------------------------

refused(
    "A5: one bit of the signature",
    "bad_signature",
    lambda pen: _with(
        entry := spoilt()(pen), bytes([entry.signature[0] ^ 1]) + entry.signature[1:]
    ),
)
refused(
    "A5: signed without the domain prefix",
    "bad_signature",
    lambda pen: _with(entry := spoilt()(pen), pen.signer.sign(b"", entry.header)),
)
refused(
    "A5: signed by another key",
    "bad_signature",
    lambda pen: _with(
        entry := spoilt()(pen), Signer.from_seed(bytes(32)).sign(PREFIX_ENTRY, entry.header)
    ),
)
refused("A5: S + L instead of S", "bad_signature", lambda pen: _other_form(spoilt()(pen)))


@case("A5: an author of small order, for whom everything seems signed")
def _(it: Case, world: World) -> None:
    device = world.device()
    entry = device.draft("profile/1", device.profile(), author=ZERO_KEY)
    it.reject(_with(entry, ZERO_KEY + bytes(32)), "bad_signature")


# --- A6 to A10: the chain -------------------------------------------------------------------


@case("A6: a second entry at a held seq is a fork; from there on nothing counts")
def _(it: Case, world: World) -> None:
    device = world.device(entries=1)
    other = device.copy()
    device.write("profile/1", device.profile("one"))
    device.write("profile/1", device.profile("more"))
    second = other.write("profile/1", other.profile("two"))
    it.accept(world.opening, *device.entries)
    it.fork(second, 3)
    it.give(second, "known")
    it.end(world.root, 1)
    it.end(device, 4, counts=2, state="frozen", void={3: "disputed", 4: "disputed"})


@case("A6: the other branch goes on; the disputed seq stays the lowest")
def _(it: Case, world: World) -> None:
    device = world.device(entries=1)
    other = device.copy()
    device.write("profile/1", device.profile("one"))
    device.write("profile/1", device.profile("more"))
    others = [other.write("profile/1", other.profile("two")) for _ in range(2)]
    it.accept(world.opening, *device.entries)
    # Neighbours that do not fit, or two at one seq: either way it is seq 3 in the end.
    it.fork(others[1], 3)
    it.fork(others[0], 3)
    it.end(world.root, 1)
    it.end(device, 4, counts=2, state="frozen", void={3: "disputed", 4: "disputed"})


@case("A6: two first entries of one device")
def _(it: Case, world: World) -> None:
    device = world.device(entries=1)
    other = world.pen(device.signer)
    other.write("device/1", world.device_body(other, name="another laptop"))
    it.accept(world.opening, *device.entries)
    it.fork(other.entries[0], 1)
    it.end(world.root, 1)
    it.end(device, 2, counts=0, state="frozen", void={1: "disputed", 2: "disputed"})


@case("A7: more than ten minutes ahead")
def _(it: Case, world: World) -> None:
    device = world.device()
    device.write("profile/1", device.profile(), time_ms=NOW_MS + 10 * MINUTE_MS)
    device.write("profile/1", device.profile(), time_ms=NOW_MS + 10 * MINUTE_MS + 1)
    it.accept(world.opening, *device.entries[:2])
    it.park(device.entries[2], "future")
    it.end(world.root, 1)
    it.end(device, 2)


@case("A8: a gap waits and is closed")
def _(it: Case, world: World) -> None:
    device = world.device(entries=3)
    it.accept(world.opening, device.entries[0])
    it.park(device.entries[3], "gap")
    it.park(device.entries[2], "gap")
    it.accept(device.entries[1])
    it.end(world.root, 1)
    it.end(device, 4)


@case("A9: the next entry names another predecessor than the head: disputed from the head on")
def _(it: Case, world: World) -> None:
    device = world.device(entries=1)
    other = device.copy()
    device.write("profile/1", device.profile("one"))
    other.write("profile/1", other.profile("two"))
    following = other.write("profile/1", other.profile("and on"))
    it.accept(world.opening, *device.entries)
    it.fork(following, 3)
    it.end(world.root, 1)
    it.end(device, 3, counts=2, state="frozen", void={3: "disputed"})


@case("A10: a root over another history ends the feed")
def _(it: Case, world: World) -> None:
    device = world.device(entries=1)
    broken = device.write("profile/1", device.profile(), root=bytes(32))
    following = device.write("profile/1", device.profile())
    it.accept(world.opening, *device.entries[:2])
    it.reject(broken, "broken")
    it.give(broken, "known")
    it.end(world.root, 1)
    it.end(device, 2, state="broken")
    assert following.seq == 4


@case("A10: a time before the head's ends the feed")
def _(it: Case, world: World) -> None:
    device = world.device(entries=1)
    broken = device.write("profile/1", device.profile(), time_ms=device.time_ms - 1)
    it.accept(world.opening, *device.entries[:2])
    it.reject(broken, "broken")
    it.end(world.root, 1)
    it.end(device, 2, state="broken")


@case("A10: a good entry at the seq of a broken one is a fork, and is held")
def _(it: Case, world: World) -> None:
    device = world.device(entries=1)
    other = device.copy()
    broken = device.write("profile/1", device.profile(), root=bytes(32))
    good = other.write("profile/1", other.profile())
    it.accept(world.opening, *device.entries[:2])
    it.reject(broken, "broken")
    it.fork(good, 3, body_state="here")
    it.end(world.root, 1)
    it.end(device, 3, counts=2, state="frozen", void={3: "disputed"})


# --- A11: who may sign what -----------------------------------------------------------------


@case("A11: a feed that does not begin with an opening")
def _(it: Case, world: World) -> None:
    pen = world.pen()
    it.reject(pen.write("profile/1", pen.profile()), "role")
    it.end(pen, 0, state="broken")


@case("A11: a delegation that the root key did not sign")
def _(it: Case, world: World) -> None:
    pen = world.pen()
    pen.write("device/1", world.device_body(pen, sig=world.chance.bytes(64)))
    it.accept(world.opening)
    it.reject(pen.entries[0], "role")
    it.end(world.root, 1)
    it.end(pen, 0, state="broken")


@case("A11: a delegation made for another device")
def _(it: Case, world: World) -> None:
    device, thief = world.device(), world.pen()
    thief.write("device/1", dag_cbor.decode(device.entries[0].body))
    it.accept(world.opening)
    it.reject(thief.entries[0], "role")
    it.end(world.root, 1)
    it.end(thief, 0, state="broken")


@case("A11: a delegation by a key that is no root of the identity waits for ever")
def _(it: Case, world: World) -> None:
    stranger = World("a stranger")
    pen = world.pen()
    body = stranger.device_body(pen)
    message = [world.identity, 0, body["root"], pen.key, "full", pen.time_ms + MINUTE_MS]
    sig = stranger.roots[0].sign(PREFIX_DEVICE, dag_cbor.encode(message))
    pen.write("device/1", body | {"identity": world.identity, "sig": sig})
    it.accept(world.opening)
    it.park(pen.entries[0], "delegation")
    it.end(world.root, 1)
    it.end(pen, 0)


@case("A11: a first root key that is not the identity")
def _(it: Case, world: World) -> None:
    pen = world.pen()
    it.reject(pen.write("identity/1", world.identity_body()), "role")
    it.end(pen, 0, state="broken")


@case("A11: an opening without its body waits for it")
def _(it: Case, world: World) -> None:
    device = world.device()
    it.accept(world.opening)
    it.park(device.entries[0].without_body(), "body")
    it.accept(device.entries[0])
    it.end(world.root, 1)
    it.end(device, 1)


@case("A11: an opening whose body is void")
def _(it: Case, world: World) -> None:
    pen = world.pen()
    pen.write("device/1", world.device_body(pen, colour="blue"))
    it.accept(world.opening)
    it.reject(pen.entries[0], "role")
    it.end(world.root, 1)
    it.end(pen, 0, state="broken")


@case("A11: a second opening in one feed")
def _(it: Case, world: World) -> None:
    device = world.device()
    device.write("device/1", world.device_body(device))
    it.accept(world.opening, device.entries[0])
    it.reject(device.entries[1], "role")
    it.end(world.root, 1)
    it.end(device, 1, state="broken")


@case("A11: a device revokes")
def _(it: Case, world: World) -> None:
    device = world.device()
    device.write("revoke/1", world.revoke(device, 1))
    it.accept(world.opening, device.entries[0])
    it.reject(device.entries[1], "role")
    it.end(world.root, 1)
    it.end(device, 1, state="broken")


@case("A11: a root key writes a profile")
def _(it: Case, world: World) -> None:
    world.root.write("profile/1", world.root.profile())
    it.accept(world.opening)
    it.reject(world.root.entries[1], "role")
    it.end(world.root, 1, state="broken")


@case("A11: a root key goes on after its rotation")
def _(it: Case, world: World) -> None:
    device = world.device()
    world.root.write("rotate/1", world.rotate(1, [[device.key, None, None]]))
    world.root.write("revoke/1", world.revoke(device, 1))
    it.accept(*world.root.entries[:2], device.entries[0])
    it.reject(world.root.entries[2], "role")
    it.end(world.root, 2, state="broken")
    it.end(device, 1)


@case("A11: an entry of a root feed without its body waits for it")
def _(it: Case, world: World) -> None:
    device = world.device(entries=1)
    revocation = world.root.write("revoke/1", world.revoke(device, 1))
    it.accept(world.opening, *device.entries)
    it.park(revocation.without_body(), "body")
    it.accept(revocation)
    it.end(world.root, 2)
    it.end(device, 2, counts=1, void={2: "cut"})


# --- A12 to A14: Bodies, cuts, disputes -----------------------------------------------------


@case("A12: a body that is not the one named is dropped")
def _(it: Case, world: World) -> None:
    device = world.device(entries=2)
    other = device.entries[2].body
    assert other is not None
    it.accept(world.opening, device.entries[0])
    it.accept(device.entries[1].with_body(other), body="absent")
    it.accept(device.entries[2])
    it.end(world.root, 1)
    it.end(device, 3)


@case("A13: what comes after a revocation's cut is void")
def _(it: Case, world: World) -> None:
    device = world.device(entries=3)
    world.root.write("revoke/1", world.revoke(device, 2))
    it.accept(world.opening, *device.entries[:3], world.root.entries[1], device.entries[3])
    it.end(world.root, 2)
    it.end(device, 4, counts=2, void={3: "cut", 4: "cut"})


@case("A13: a revocation at 0 makes all of a device void")
def _(it: Case, world: World) -> None:
    device = world.device(entries=1)
    world.root.write("revoke/1", world.revoke(device, 0))
    it.accept(*world.root.entries, *device.entries)
    it.end(world.root, 2)
    it.end(device, 2, counts=0, void={1: "cut", 2: "cut"})


@case("A13: of two revocations the lower cut counts")
def _(it: Case, world: World) -> None:
    device = world.device(entries=3)
    world.root.write("revoke/1", world.revoke(device, 2))
    world.root.write("revoke/1", world.revoke(device, 3, epoch=2))
    it.accept(*world.root.entries, *device.entries)
    it.end(world.root, 3)
    it.end(device, 4, counts=2, void={3: "cut", 4: "cut"})


@case("A13: a revocation says which branch of a fork counts, up to the cut")
def _(it: Case, world: World) -> None:
    device = world.device(entries=1)
    other = device.copy()
    for _ in range(2):
        device.write("profile/1", device.profile("the owner"))
    forged = other.write("profile/1", other.profile("the thief"))
    world.root.write("revoke/1", world.revoke(device, 3))
    it.accept(world.opening, *device.entries)
    it.fork(forged, 3)
    it.accept(world.root.entries[1])
    it.end(world.root, 2)
    it.end(device, 4, counts=3, state="frozen", void={4: "cut"})


@case("A13: revocations on both branches of a forked root feed count")
def _(it: Case, world: World) -> None:
    one, two = world.device(entries=1), world.device(entries=1)
    other = world.root.copy()
    first = world.root.write("revoke/1", world.revoke(one, 1))
    second = other.write("revoke/1", world.revoke(two, 1))
    it.accept(world.opening, *one.entries, *two.entries, first)
    it.fork(second, 2)
    it.end(world.root, 2, state="frozen")
    it.end(one, 2, counts=1, void={2: "cut"})
    it.end(two, 2, counts=1, void={2: "cut"})


@case("A13: two different rotations freeze the identity: devices of later roots are void")
def _(it: Case, world: World) -> None:
    device = world.device(entries=1)
    other = world.root.copy()
    first = world.root.write("rotate/1", world.rotate(1, [[device.key, None, None]]))
    world.roots[2], world.roots[1] = world.roots[1], world.roots[2]
    second = other.write("rotate/1", world.rotate(1, [[device.key, None, None]]))
    world.roots[2], world.roots[1] = world.roots[1], world.roots[2]
    later = world.next_root(1, first)
    fresh = world.device(r=1)
    it.accept(world.opening, *device.entries, first, *later.entries, *fresh.entries)
    it.fork(second, 2)
    it.end(world.root, 2, state="frozen")
    it.end(later, 1)
    it.end(device, 2)
    it.end(fresh, 1, counts=0, void={1: "cut"})


@case("A14: a known kind with an unknown field: the body is void, the header stays")
def _(it: Case, world: World) -> None:
    device = world.device()
    device.write("profile/1", device.profile() | {"shoe_size": 43})
    device.write("profile/1", device.profile())
    it.accept(world.opening, device.entries[0])
    it.accept(device.entries[1], body="void")
    it.accept(device.entries[2])
    it.end(world.root, 1)
    it.end(device, 3)


@case("A14: a revocation with an unknown field is void and cuts nothing")
def _(it: Case, world: World) -> None:
    device = world.device(entries=1)
    world.root.write("revoke/1", world.revoke(device, 1) | {"colour": "red"})
    it.accept(world.opening, *device.entries)
    it.accept(world.root.entries[1], body="void")
    it.end(world.root, 2)
    it.end(device, 2)


@case("A14: a body that is not canonical is void")
def _(it: Case, world: World) -> None:
    device = world.device()
    body = dag_cbor.encode(device.profile()) + b"\0"
    device.time_ms += MINUTE_MS
    header = dag_cbor.encode(device.header("profile/1", body))
    it.accept(world.opening, device.entries[0])
    it.accept(device.sign(header, body, 2), body="void")
    it.end(world.root, 1)
    it.end(device, 2)


# --- Fork proofs ----------------------------------------------------------------------------


def proof(first: Written, second: Written, version: int = 1) -> bytes:
    return dag_cbor.encode(
        [version, first.header, first.signature, second.header, second.signature]
    )


def forks() -> list[dict[str, Any]]:
    """Return Fork proofs that hold, and one broken for each reason."""
    world = World("forks")
    device = world.device(entries=1)
    other = device.copy()
    for pen in (device, other):
        for _ in range(2):
            pen.write("profile/1", pen.profile())
    one, two = sorted((device.entries[2], other.entries[2]), key=lambda entry: entry.id)
    author = device.key.hex()
    stranger = world.device(entries=2)
    flipped = _with(two, bytes(64))
    big = spoilt(refs=[number.to_bytes(32, "big") for number in range(16)])
    largest = sorted((big(device), big(device)), key=lambda entry: entry.id)
    good = [
        ("two entries at one seq", proof(one, two), 3),
        ("neighbours that do not fit", proof(device.entries[2], other.entries[3]), 3),
        ("two headers with 16 refs each", proof(*largest), 5),
    ]
    bad = [
        ("the same entry twice", "no_fork", proof(one, one)),
        ("neighbours that fit", "no_fork", proof(device.entries[2], device.entries[3])),
        ("two that are far apart", "no_fork", proof(device.entries[0], other.entries[3])),
        ("two authors", "no_fork", proof(one, stranger.entries[2])),
        ("in the other order", "no_fork", proof(two, one)),
        ("a signature of zeros", "bad_signature", proof(one, flipped)),
        ("version 2", "version", proof(one, two, version=2)),
        ("a byte follows", "not_canonical", proof(one, two) + b"\0"),
        ("a sixth field", "bad_shape", b"\x86" + proof(one, two)[1:] + b"\xf6"),
        ("more than 2,048 bytes", "too_big", proof(one, two) + bytes(2048)),
    ]
    return [
        {"note": note, "hex": raw.hex(), "author": author, "disputed_seq": seq}
        for note, raw, seq in good
    ] + [{"note": note, "reason": reason, "hex": raw.hex()} for note, reason, raw in bad]


def document() -> str:
    """Return the text of ``feeds.json``."""
    about = (
        "Feeds: each vector's entries are given to an empty ledger in this order at now_ms; "
        "verdict is the one on each, feeds what is held at the end. Forks: proofs, with whose "
        "and from where, or the reason they are refused with."
    )
    return (
        json.dumps(
            {"about": about, "feeds": [make().row() for make in CASES], "forks": forks()},
            indent=1,
            ensure_ascii=False,
        )
        + "\n"
    )


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
