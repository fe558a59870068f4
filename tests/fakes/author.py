"""Somebody who writes Feeds: well-formed ones from a seed, and spoils one thing at a time.

``Author(seed)`` is an Identity with a Root key; ``device`` gives it Devices.  Every
feed can be ``fork_at`` a seq, and ``spoil`` writes the next Entry with one field, the
signature or the size not as it should be, signed all the same.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from hanse.core.attest.envelope import sign_envelope
from hanse.core.attest.statement import encode_statement
from hanse.core.attest.verifying import cert_body
from hanse.core.crypto.signing import PREFIX_ENTRY, PREFIX_ROTATE, Signer
from hanse.core.ledger.codec import encode
from hanse.core.ledger.entry import (
    HEADER_VERSION,
    CheckedEntry,
    Header,
    SignedEntry,
    check_entry,
    parse_entry,
)
from hanse.core.ledger.identities import ROLE_FULL, rotate_message, sign_delegation
from hanse.core.ledger.kinds import (
    Body,
    Cert1,
    CertRevoke1,
    Device1,
    Erase1,
    Follow1,
    HumanReview1,
    Identity1,
    Listing1,
    Price1,
    Profile1,
    Release1,
    Renew1,
    ReviewPoint,
    Revoke1,
    Rotate1,
    encode_body,
    kind_of,
)
from hanse.core.ledger.tree import Peaks
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
from hanse.core.model.licence import RIGHTS, Terms, tier_map
from hanse.core.model.money import Money
from tests.fakes.certified import statement
from tests.fakes.chance import SeededChance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

START_MS = 1_700_000_000_000
STEP_MS = 1000
VALID_UNTIL_MS = START_MS + 365 * 24 * 60 * 60 * 1000
SPOILS = (
    "signature",
    "seq",
    "prev",
    "root",
    "time",
    "kind",
    "body",
    "size",
    "refs",
    "version",
)


class Writer:
    """One key and the Feed it writes, or one branch of it."""

    def __init__(
        self, signer: Signer, chance: SeededChance, entries: Iterable[CheckedEntry] = ()
    ) -> None:
        self.signer = signer
        self.entries: list[CheckedEntry] = list(entries)
        self._chance = chance
        self._peaks = Peaks()

    @property
    def key(self) -> AuthorKey:
        return self.signer.public_key

    @property
    def ids(self) -> list[EntryId]:
        return [entry.entry_id for entry in self.entries]

    def fork_at(self, seq: int):
        """Write on as if the Entry at ``seq`` and all later ones had never been."""
        assert 1 <= seq <= len(self.entries) + 1
        return type(self)(self.signer, self._chance, self.entries[: seq - 1])

    def append(
        self,
        kind: str,
        body: Body | bytes | None = None,
        *,
        time_ms: int | None = None,
        refs: Sequence[bytes] = (),
    ) -> CheckedEntry:
        """Write the next Entry; without a Body one that its kind takes."""
        raw = self._raw(kind, body)
        entry = check_entry(self._sign(self._header(kind, raw, time_ms, refs), raw))
        self.entries.append(entry)
        return entry

    def spoil(
        self, what: str, kind: str = "profile/1", body: Body | bytes | None = None
    ) -> SignedEntry:
        """Return what would be the next Entry with one thing wrong; the Feed stays as it is."""
        raw = self._raw(kind, body)
        header = self._header(kind, raw, None, ())
        other = self._chance.bytes(32)
        match what:
            case "signature":
                good = self._sign(header, raw)
                return good._replace(signature=bytes(64))
            case "seq":
                header = _with(header, seq=header.seq + 1)
            case "prev":
                header = _with(header, prev=other)
            case "root":
                header = _with(header, root=other)
            case "time":
                header = _with(header, time_ms=0)
            case "kind":
                header = _with(header, kind="device/1")
            case "body":
                return self._sign(header, raw)._replace(body=raw + b"\0")
            case "size":
                return self._raw_entry(header, raw, b"\0" * 1024)
            case "refs":
                return self._raw_entry(_with(header, refs=(other, other)), raw)
            case "version":
                return self._raw_entry(_with(header, version=2), raw)
            case _:
                raise AssertionError(what)
        return self._sign(header, raw)

    def _header(self, kind: str, raw: bytes, time_ms: int | None, refs: Sequence[bytes]) -> Header:
        last = self.entries[-1] if self.entries else None
        if time_ms is None:
            time_ms = START_MS if last is None else last.header.time_ms + STEP_MS
        return Header(
            version=HEADER_VERSION,
            author=self.key,
            seq=len(self.entries) + 1,
            prev=None if last is None else last.entry_id,
            root=self._root(),
            time_ms=time_ms,
            kind=kind,
            body_hash=sha256(raw).digest(),
            body_len=len(raw),
            refs=tuple(sorted(set(refs))),
        )

    def _root(self) -> bytes | None:
        """Commit to everything written so far; a Feed that was cut back is counted anew."""
        if self._peaks.count > len(self.entries):
            self._peaks = Peaks()
        for entry in self.entries[self._peaks.count :]:
            self._peaks.add(entry.entry_id)
        return self._peaks.root()

    def _sign(self, header: Header, raw: bytes) -> SignedEntry:
        header_bytes = encode(header)
        return parse_entry(header_bytes, self.signer.sign(PREFIX_ENTRY, header_bytes), raw)

    def _raw_entry(self, header: Header, raw: bytes, tail: bytes = b"") -> SignedEntry:
        """Sign bytes that no parser takes."""
        header_bytes = encode(header) + tail
        signature = self.signer.sign(PREFIX_ENTRY, header_bytes)
        entry_id = EntryId(sha256(header_bytes + signature).digest())
        return SignedEntry(header_bytes, signature, raw, header, entry_id)

    def _raw(self, kind: str, body: Body | bytes | None) -> bytes:
        if isinstance(body, bytes):
            return body
        if body is None:
            body = self.body(kind)
        if isinstance(body, bytes):
            return body
        assert kind_of(body) == kind
        return encode_body(body)

    def body(self, kind: str) -> Body | bytes:
        """Make a Body of ``kind``; of one that nobody knows, any bytes."""
        salt = self._chance.bytes(16)
        match kind:
            case "profile/1":
                return Profile1(
                    salt=salt,
                    name=f"name {salt.hex()}",
                    about="",
                    web=(),
                    contact=None,
                    sectors=(),
                    lang=None,
                    avatar=None,
                )
            case "follow/1":
                return self.follow(IdentityId(self._chance.bytes(32)))
            case "listing/1":
                return self.listing(f"model {salt.hex()}")
            case "release/1":
                return self.release(EntryId(self._chance.bytes(32)))
            case "price/1":
                return self.price(EntryId(self._chance.bytes(32)))
            case "renew/1":
                return self.renewal([EntryId(self._chance.bytes(32))])
            case "cert/1":
                return self.certificate(self._chance.bytes(32))
            case "cert-revoke/1":
                return self.cert_revocation(EntryId(self._chance.bytes(32)))
            case "human-review/1":
                return self.human_review(EntryId(self._chance.bytes(32)), self._chance.bytes(32))
            case _:
                return encode({"salt": salt, "text": "of a kind nobody here knows"})

    def profile(self, name: str, **values: object) -> Profile1:
        """Make a Profile with this name."""
        made = self.body("profile/1")
        assert isinstance(made, Profile1)
        return msgspec.structs.replace(made, name=name, **values)

    def listing(self, title: str = "A model", **values: object) -> Listing1:
        """Make a Listing; with ``listing`` it amends that one."""
        made = Listing1(
            salt=self._chance.bytes(16),
            listing=None,
            title=title,
            summary="",
            text="What it does.",
            lang="en",
            task="image-classification",
            sectors=("finance",),
            tags=(),
            concepts=(),
            trials=(),
            prefs={},
            capacity=None,
            mediators=(),
            valid_until=VALID_UNTIL_MS,
            state="open",
            media=(),
        )
        return msgspec.structs.replace(made, **values)

    def release(self, listing: EntryId, **values: object) -> Release1:
        """Make a full Release of ``listing``, of an Artifact of its own, in the clear."""
        made = Release1(
            salt=self._chance.bytes(16),
            listing=listing,
            version="1.0.0",
            artifact=self._chance.bytes(32),
            size=1_000_000,
            files=1,
            formats=("onnx",),
            edition="full",
            of=None,
            seal=None,
            tiers=(tier(),),
            card=self._chance.bytes(32),
            base=(),
            notes="",
            supersedes=None,
        )
        return msgspec.structs.replace(made, **values)

    def price(
        self, listing: EntryId, minor: int = 2500, currency: str = "USD", **values: object
    ) -> Price1:
        """Make a fixed price of ``listing``, in minor units."""
        made = Price1(
            salt=self._chance.bytes(16),
            listing=listing,
            release=None,
            mode="fixed",
            amount=Money(minor, currency, 2),
            floor=0,
            ceil=2**40,
            tick=1,
            params={},
            anchors=(),
        )
        return msgspec.structs.replace(made, **values)

    def renewal(self, targets: Iterable[EntryId], until: int = VALID_UNTIL_MS) -> Renew1:
        """Make a renewal of Listings."""
        return Renew1(salt=self._chance.bytes(16), of=tuple(sorted(targets)), until=until)

    def follow(self, identity: IdentityId, weight: int = 1) -> Follow1:
        """Make a follow of somebody."""
        return Follow1(salt=self._chance.bytes(16), identity=identity, weight=weight)

    def certificate(self, artifact: bytes, **values: object) -> Cert1:
        """Make a Certificate of ``artifact`` that holds."""
        made = statement(artifact, nonce=self._chance.bytes(16), **values)
        envelope = sign_envelope(encode_statement(made), self.signer)
        return cert_body(envelope, made, self._chance.bytes(16))

    def certify(self, artifact: bytes, **values: object) -> CheckedEntry:
        """Write a Certificate of ``artifact``."""
        return self.append("cert/1", self.certificate(artifact, **values))

    def cert_revocation(
        self, cert: EntryId, reason: str = "mistake", text: str = "a slip"
    ) -> CertRevoke1:
        """Make a revocation of a Certificate."""
        return CertRevoke1(salt=self._chance.bytes(16), cert=cert, reason=reason, text=text)

    def human_review(
        self, release: EntryId, artifact: bytes, verdict: str = "approve", **values: object
    ) -> HumanReview1:
        """Make a human review of a Release."""
        made = HumanReview1(
            salt=self._chance.bytes(16),
            release=release,
            artifact=artifact,
            points=tuple(ReviewPoint("yes", "") for _ in range(8)),
            verdict=verdict,
            notes="",
            conflict="none",
            paid_by=None,
            tried=(),
            supersedes=None,
        )
        return msgspec.structs.replace(made, **values)

    def publish(
        self, title: str = "A model", *, minor: int = 2500, **values: object
    ) -> tuple[CheckedEntry, CheckedEntry, CheckedEntry]:
        """Write a Listing, a Release of it and its price."""
        listing = self.append("listing/1", self.listing(title, **values))
        release = self.append("release/1", self.release(listing.entry_id))
        price = self.append("price/1", self.price(listing.entry_id, minor))
        return listing, release, price

    def erase(self, targets: Iterable[EntryId], **where: object) -> CheckedEntry:
        """Write an Entry that erases ``targets``."""
        body = Erase1(salt=self._chance.bytes(16), targets=tuple(sorted(targets)), reason="")
        return self.append("erase/1", body, **where)


class DeviceFeed(Writer):
    """The Feed of one Device."""


class Author:
    """One Identity: its Root key, its root feeds, and the Devices it delegates to."""

    def __init__(self, seed: int | str, identity: IdentityId | None = None) -> None:
        self.chance = SeededChance(f"author {seed}")
        self.r = 0
        self.epoch = 0
        self.root = self._new_root()
        self.roots = [self.root]
        self.identity = IdentityId(bytes(self.root.key)) if identity is None else identity
        self._open_root(None)

    def _new_root(self) -> Writer:
        return Writer(Signer.from_seed(self.chance.bytes(32)), self.chance)

    def _open_root(self, rotated_from: EntryId | None) -> CheckedEntry:
        body = Identity1(
            salt=self.chance.bytes(16),
            identity=self.identity,
            r=self.r,
            epoch=self.epoch,
            box=self.chance.bytes(32),
            rotated_from=rotated_from,
        )
        return self.root.append("identity/1", body)

    @property
    def root_entries(self) -> list[CheckedEntry]:
        """Every root Entry, in the order of the rotations."""
        return [entry for root in self.roots for entry in root.entries]

    def device(
        self, name: str = "laptop", role: str = ROLE_FULL, *, spoil: str | None = None
    ) -> DeviceFeed:
        """Delegate to a new Device; ``spoil`` the ``sig``, ``root``, ``r`` or ``identity``."""
        device = DeviceFeed(Signer.from_seed(self.chance.bytes(32)), self.chance)
        self.delegate(device, name, role, spoil=spoil)
        return device

    def delegate(
        self,
        device: DeviceFeed,
        name: str = "laptop",
        role: str = ROLE_FULL,
        *,
        spoil: str | None = None,
        time_ms: int = START_MS,
    ) -> CheckedEntry:
        """Write Entry 1 of ``device``."""
        sig = sign_delegation(
            self.root.signer,
            identity=self.identity,
            r=self.r,
            device=device.key,
            role=role,
            time_ms=time_ms,
        )
        body = Device1(
            salt=self.chance.bytes(16),
            identity=self.identity,
            r=self.r,
            root=self.root.key,
            role=role,
            name=name,
            box=self.chance.bytes(32),
            sig=sig,
        )
        match spoil:
            case None:
                pass
            case "sig":
                body = msgspec.structs.replace(body, sig=bytes(64))
            case "root" | "identity":
                body = msgspec.structs.replace(body, **{spoil: self.chance.bytes(32)})
            case "r":
                body = msgspec.structs.replace(body, r=body.r + 1)
            case _:
                raise AssertionError(spoil)
        return device.append("device/1", body, time_ms=time_ms)

    def revoke(
        self,
        device: Writer,
        last_seq: int | None = None,
        *,
        root: Writer | None = None,
        successor: AuthorKey | None = None,
        reason: str = "lost",
        time_ms: int | None = None,
    ) -> CheckedEntry:
        """Cut a Device's Feed after ``last_seq`` (default: the last) of the branch given."""
        self.epoch += 1
        cut = len(device.entries) if last_seq is None else last_seq
        body = Revoke1(
            salt=self.chance.bytes(16),
            device=device.key,
            last_seq=cut,
            last_id=device.ids[cut - 1] if cut else None,
            successor=successor,
            epoch=self.epoch,
            box=self.chance.bytes(32),
            reason=reason,
        )
        return (root or self.root).append("revoke/1", body, time_ms=time_ms)

    def rotate(
        self,
        devices: Iterable[tuple[Writer, int | None]] = (),
        *,
        root: Writer | None = None,
    ) -> CheckedEntry:
        """End the present root feed and open the next one; return the ``rotate/1``.

        ``devices`` go on (None) or are cut after a seq.  With ``root`` that branch of
        a root feed rotates, and the next root feed is only remembered in ``roots``.
        """
        self.epoch += 1
        old = root or self.root
        new = self._new_root()
        named = [(device.key, cut, device.ids[cut - 1] if cut else None) for device, cut in devices]
        r = self.r + 1
        body = Rotate1(
            salt=self.chance.bytes(16),
            r=r,
            root=new.key,
            epoch=self.epoch,
            sig=new.signer.sign(PREFIX_ROTATE, rotate_message(self.identity, r, new.key)),
            devices=tuple(sorted(named)),
        )
        entry = old.append("rotate/1", body)
        self.r = r
        self.root = new
        self.roots.append(new)
        self._open_root(entry.entry_id)
        return entry


def tier(spdx: str = "MIT", adds: int = 0, **terms: object) -> dict[str, object]:
    """Make a tier: everything is allowed but what ``terms`` say."""
    every = dict.fromkeys(RIGHTS, 1) | {"spdx": spdx, "text_hash": bytes(32)} | terms
    return tier_map(Terms(**every), spdx, adds)


def _with(header: Header, **values: object) -> Header:
    return msgspec.structs.replace(header, **values)
