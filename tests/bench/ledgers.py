"""Feeds for the benchmarks: real Entries, signed, of a size that is usual."""

from __future__ import annotations

from dataclasses import dataclass

from hanse.core.crypto.derivation import RootSecret, device_box_secret
from hanse.core.crypto.signing import Signer
from hanse.core.ledger.entry import Head, SignedEntry, build_entry, sign_entry
from hanse.core.ledger.identities import sign_delegation
from hanse.core.ledger.kinds import Body, Device1, Identity1, Profile1, encode_body, kind_of
from hanse.core.ledger.tree import Peaks
from hanse.core.model.ids import IdentityId
from tests.fakes.chance import SeededChance

START_MS = 1_700_000_000_000


@dataclass
class Writer:
    """One signer and the Head of its Feed."""

    signer: Signer
    head: Head | None = None
    peaks: Peaks | None = None

    def write(self, body: Body, time_ms: int) -> SignedEntry:
        """Sign and return the next Entry."""
        self.peaks = self.peaks or Peaks()
        unsigned = build_entry(
            self.signer.public_key,
            self.head,
            self.peaks,
            kind_of(body),
            encode_body(body),
            now_ms=time_ms,
        )
        entry = sign_entry(unsigned, self.signer)
        self.head = Head(entry.seq, entry.entry_id, entry.header.time_ms)
        self.peaks.add(entry.entry_id)
        return entry


def identity_with_device(seed: int) -> tuple[list[SignedEntry], Writer]:
    """Return the two opening Entries of an Identity and the writer of its Device's Feed."""
    chance = SeededChance(seed)
    secret = RootSecret(chance.bytes(32))
    root = Writer(secret.root_signer(0))
    identity = IdentityId(bytes(root.signer.public_key))
    opening = Identity1(
        salt=secret.identity_salt(0),
        identity=identity,
        r=0,
        epoch=0,
        box=secret.seeds(0).box_secret().public_key,
        rotated_from=None,
    )
    device_seed = chance.bytes(32)
    device = Writer(Signer.from_seed(device_seed))
    delegation = Device1(
        salt=chance.bytes(16),
        identity=identity,
        r=0,
        root=root.signer.public_key,
        role="full",
        name="bench",
        box=device_box_secret(device_seed).public_key,
        sig=sign_delegation(
            root.signer,
            identity=identity,
            r=0,
            device=device.signer.public_key,
            role="full",
            time_ms=START_MS,
        ),
    )
    return [root.write(opening, 0), device.write(delegation, START_MS)], device


def profile(number: int) -> Profile1:
    """Return a Profile of about 250 bytes."""
    return Profile1(
        salt=number.to_bytes(16, "big"),
        name=f"Seller {number}",
        about="Models that find defects in castings, on a laptop, in real time. " * 2,
        web=("https://example.org/models",),
        contact=None,
        sectors=("manufacturing",),
        avatar=None,
        lang=None,
    )


def some_entries(count: int, feeds: int = 10, seed: int = 0) -> list[SignedEntry]:
    """Return ``count`` Entries of ``feeds`` Identities, each Feed in order, openings included."""
    result: list[SignedEntry] = []
    each = count // feeds
    for number in range(feeds):
        opening, device = identity_with_device(seed * 10_000 + number)
        result += opening
        for step in range(each - len(opening)):
            result.append(device.write(profile(step), START_MS + step))
    return result
