"""Writes Entries with other code than Hanse's: ``dag-cbor`` and RFC 6962 word for word.

Only the signatures are the program's own.  Single fields can be set wrong on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import dag_cbor

from hanse.core.crypto.boxes import BoxSecret
from hanse.core.crypto.signing import PREFIX_DEVICE, PREFIX_ENTRY, PREFIX_ROTATE, Signer
from tests.fakes.chance import SeededChance

START_MS = 1_795_000_000_000
MINUTE_MS = 60_000


def tree_root(ids: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(ids) == 1:
        return sha256(b"\0" + ids[0]).digest()
    left = 1 << ((len(ids) - 1).bit_length() - 1)
    return sha256(b"\1" + tree_root(ids[:left]) + tree_root(ids[left:])).digest()


@dataclass(frozen=True)
class Written:
    """One Entry as bytes."""

    header: bytes
    signature: bytes
    body: bytes | None
    seq: int

    @property
    def id(self) -> bytes:
        return sha256(self.header + self.signature).digest()

    def without_body(self) -> Written:
        return Written(self.header, self.signature, None, self.seq)

    def with_body(self, body: bytes) -> Written:
        return Written(self.header, self.signature, body, self.seq)


@dataclass
class Pen:
    """Writes one Author's Feed; single fields of a Header can be set wrong on purpose."""

    signer: Signer
    chance: SeededChance
    entries: list[Written] = field(default_factory=list)
    time_ms: int = START_MS

    @property
    def key(self) -> bytes:
        return self.signer.public_key

    def copy(self) -> Pen:
        return Pen(self.signer, self.chance, list(self.entries), self.time_ms)

    def header(self, called: str, body: bytes, **changes: Any) -> list[Any]:
        ids = [entry.id for entry in self.entries]
        fields: dict[str, Any] = {
            "version": 1,
            "author": self.key,
            "seq": len(ids) + 1,
            "prev": ids[-1] if ids else None,
            "root": tree_root(ids) if ids else None,
            "time_ms": self.time_ms,
            "kind": called,
            "body_hash": sha256(body).digest(),
            "body_len": len(body),
            "refs": [],
        }
        assert set(changes) <= set(fields)
        return list((fields | changes).values())

    def sign(self, header: bytes, body: bytes | None, seq: int) -> Written:
        return Written(header, self.signer.sign(PREFIX_ENTRY, header), body, seq)

    def draft(self, called: str, fields: dict[str, Any], **changes: Any) -> Written:
        """Write the next Entry without keeping it."""
        body = dag_cbor.encode(fields)
        header = self.header(called, body, **changes)
        return self.sign(dag_cbor.encode(header), body, header[2])

    def write(self, called: str, fields: dict[str, Any], **changes: Any) -> Written:
        self.time_ms += MINUTE_MS
        entry = self.draft(called, fields, **changes)
        self.entries.append(entry)
        return entry

    # --- Bodies -----------------------------------------------------------------------------

    def profile(self, name: str = "Ada") -> dict[str, Any]:
        return {
            "salt": self.chance.bytes(16),
            "name": name,
            "about": "",
            "web": [],
            "contact": None,
            "sectors": [],
            "avatar": None,
            "lang": None,
        }

    def follow(self, identity: bytes) -> dict[str, Any]:
        return {"salt": self.chance.bytes(16), "identity": identity, "weight": 1}


class World:
    """One Identity with its Root keys and Devices, all from one seed."""

    def __init__(self, seed: str) -> None:
        self.chance = SeededChance(f"hanse/vectors/feeds/1/{seed}")
        self.roots = [Signer.from_seed(self.chance.bytes(32)) for _ in range(3)]
        self.identity = bytes(self.roots[0].public_key)
        self.root = self.pen(self.roots[0])
        self.root.time_ms = -MINUTE_MS  # so that its first Entry has time 0
        self.opening = self.root.write("identity/1", self.identity_body())
        self.root.time_ms = START_MS

    def pen(self, signer: Signer | None = None) -> Pen:
        return Pen(signer or Signer.from_seed(self.chance.bytes(32)), self.chance)

    def box(self) -> bytes:
        return BoxSecret(self.chance.bytes(32)).public_key

    def identity_body(self, **changes: Any) -> dict[str, Any]:
        return {
            "salt": self.chance.bytes(16),
            "identity": self.identity,
            "r": 0,
            "epoch": 0,
            "box": self.box(),
            "rotated_from": None,
        } | changes

    def device_body(
        self, pen: Pen, r: int = 0, role: str = "full", **changes: Any
    ) -> dict[str, Any]:
        root = self.roots[r]
        message = [self.identity, r, root.public_key, pen.key, role, pen.time_ms + MINUTE_MS]
        return {
            "salt": self.chance.bytes(16),
            "identity": self.identity,
            "r": r,
            "root": root.public_key,
            "role": role,
            "name": "laptop",
            "box": self.box(),
            "sig": root.sign(PREFIX_DEVICE, dag_cbor.encode(message)),
        } | changes

    def device(self, r: int = 0, role: str = "full", entries: int = 0) -> Pen:
        """Make a Device with its Delegation and so many Profiles."""
        pen = self.pen()
        pen.write("device/1", self.device_body(pen, r, role))
        for number in range(entries):
            pen.write("profile/1", pen.profile(f"Ada {number + 1}"))
        return pen

    def revoke(self, device: Pen, last_seq: int, **changes: Any) -> dict[str, Any]:
        return {
            "salt": self.chance.bytes(16),
            "device": device.key,
            "last_seq": last_seq,
            "last_id": device.entries[last_seq - 1].id if last_seq else None,
            "successor": None,
            "epoch": 1,
            "box": self.box(),
            "reason": "stolen",
        } | changes

    def rotate(self, r: int, devices: list[list[Any]], **changes: Any) -> dict[str, Any]:
        root = self.roots[r]
        message = [self.identity, r, root.public_key]
        return {
            "salt": self.chance.bytes(16),
            "r": r,
            "root": root.public_key,
            "epoch": r,
            "sig": root.sign(PREFIX_ROTATE, dag_cbor.encode(message)),
            "devices": devices,
        } | changes

    def next_root(self, r: int, rotation: Written) -> Pen:
        pen = self.pen(self.roots[r])
        body = self.identity_body(r=r, epoch=r, rotated_from=rotation.id)
        pen.write("identity/1", body)
        return pen
