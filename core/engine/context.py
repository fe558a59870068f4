"""What every use case needs of one open Account: folders, store, clock, chance, keys.

* Keys are there only between unlock and lock.
* ``append_own`` and ``append_root`` are the only ways our own Entries come to be:
  built on the Head held here, signed, and passed through the gate every
  stranger's Entry passes, in the caller's transaction.
* Before anything leaves the machine, and when the Account is closed, the
  high-water mark outside the data folder is moved to our Head.
* A folder that was copied, or is older than what it sent, or whose key signed what it does not
  hold, signs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from hanse.core.crypto.derivation import EpochSeeds
from hanse.core.crypto.passwords import NONCE_SIZE_BYTES, open_secret, seal_secret
from hanse.core.engine.syncing import Acceptor
from hanse.core.errors import AccountLocked, CopiedDisk, HanseError, Refused
from hanse.core.keystore.guards import CopyState, Highwater
from hanse.core.keystore.keystore import KeystorePublic, SeedsMissing, Unlocked
from hanse.core.ledger.codec import decode, encode
from hanse.core.ledger.disclosure import seal_body
from hanse.core.ledger.entry import CheckedEntry, build_entry, check_entry, sign_entry
from hanse.core.ledger.feed import Accepted
from hanse.core.ledger.identities import MIRROR_KINDS
from hanse.core.ledger.kinds import Body, InnerBody, encode_body, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hanse.core.clock import Chance, Clock
    from hanse.core.crypto.boxes import BoxSecret
    from hanse.core.crypto.signing import Signer
    from hanse.core.engine.home import Home
    from hanse.core.ledger.identities import Standing
    from hanse.core.model.ids import AuthorKey, IdentityId
    from hanse.core.store.engines import Store
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

_SEEDS_NAME = "seeds/"


class OwnEntryRefused(HanseError):
    """The gate refused an Entry of our own; nothing was stored."""

    code = "ledger.own_refused"
    text = "an own entry of kind {kind} was refused: {verdict}"
    fields = ("kind", "verdict")


class MirrorSigns(Refused):
    """A mirror would sign what counts for nobody."""

    code = "account.mirror_signs"
    text = "this device is a mirror and signs no entry of kind {kind}"
    fields = ("kind",)


@dataclass(slots=True)
class Context:
    """One open Account."""

    home: Home
    store: Store
    clock: Clock
    chance: Chance
    public: KeystorePublic
    copy_state: CopyState
    keys: Unlocked | None = field(default=None, repr=False)
    #: Told after each commit that added own Entries; on any thread, must not wait or raise.
    on_own: list[Callable[[], None]] = field(default_factory=list, repr=False)
    _leaving: Lock = field(default_factory=Lock, repr=False, compare=False)

    @property
    def identity(self) -> IdentityId:
        """Return the Identity this Account is."""
        return self.public.identity

    @property
    def device(self) -> AuthorKey:
        """Return the key of this Device."""
        return self.public.device

    def unlocked(self) -> Unlocked:
        """Return the keys, or raise ``AccountLocked``."""
        if self.keys is None:
            raise AccountLocked
        return self.keys

    def may_sign(self, kind: str | None = None) -> Unlocked:
        """Return the keys of a folder that may sign, or raise.

        With ``kind`` also ``MirrorSigns`` where an Entry of it would be void: a mirror speaks
        for nobody.
        """
        if not self.copy_state.may_sign:
            raise CopiedDisk(path=self.home.folder, reason=self.copy_state.value)
        keys = self.unlocked()
        if kind is not None and keys.is_mirror and kind not in MIRROR_KINDS:
            raise MirrorSigns(kind=kind)
        return keys

    def body_salt(self) -> bytes:
        """Return the random salt every public Body carries."""
        return self.chance.bytes(16)

    def _tell_own(self) -> None:
        for told in tuple(self.on_own):
            told()

    # --- own Entries ------------------------------------------------------------------------

    def append_own(
        self,
        uow: UnitOfWork,
        body: Body,
        refs: Sequence[bytes] = (),
        now_ms: int | None = None,
    ) -> CheckedEntry:
        """Append a public Entry to this Device's Feed; the caller commits."""
        keys = self.may_sign(kind_of(body))
        when = self.clock.now_ms() if now_ms is None else now_ms
        entry = append_signed(
            uow, keys.device_signer, kind_of(body), encode_body(body), refs=refs, now_ms=when
        )
        uow.outbox.announce(entry.entry_id, when)
        uow.after_commit(self._tell_own)
        return entry

    def append_private(
        self,
        uow: UnitOfWork,
        inner_kind: str,
        inner_body: InnerBody,
        boxes: Sequence[bytes],
        to: Sequence[IdentityId],
    ) -> CheckedEntry:
        """Append a Private body sealed to ``boxes`` and to be delivered to ``to``.

        Each other Identity gets a message of its own; own Devices get it as they get the Feed.
        """
        keys, now_ms = self.may_sign("private/1"), self.clock.now_ms()
        head = uow.feeds.verifier(keys.device, uow.projections.standing_of).head
        assert head is not None
        body, _ = seal_body(
            author=keys.device,
            seq=head.seq + 1,
            header_kind="private/1",
            inner_kind=inner_kind,
            inner_body=inner_body,
            readers=boxes,
            chance=self.chance,
        )
        entry = append_signed(uow, keys.device_signer, "private/1", body, now_ms=now_ms)
        uow.private_to.add(entry.entry_id, to)
        uow.outbox.announce(entry.entry_id, now_ms)
        for reader in sorted(set(to) - {self.identity}):
            uow.outbox.send(reader, entry.entry_id, now_ms)
        uow.after_commit(self._tell_own)
        return entry

    def note_leaving(self, held: Repositories) -> None:
        """Move the high-water mark to our Head; call before anything leaves the machine.

        Not after every append: what never left cannot make a Fork, and two more
        syncs would halve the rate of durable appends.
        """
        row = held.feeds.get(self.device)
        if row is None or row.head is None or not self.copy_state.may_sign:
            return
        highwater = Highwater(self.home.config, self.device)
        with self._leaving:
            # Readers may hold an older state than what another one has just noted.
            mark = highwater.read()
            if mark is None or mark[0] < row.head.seq:
                highwater.write(row.head.seq, row.head.entry_id)

    # --- seeds of later key epochs ----------------------------------------------------------

    def keep_seeds(self, uow: UnitOfWork, seeds: EpochSeeds) -> None:
        """Keep the seeds of a new epoch, sealed under the Local key, in the same transaction.

        The Keystore file would need the passphrase again, and could not be
        written together with the Entry that starts the epoch.
        """
        keys = self.unlocked()
        plain = encode([seeds.epoch, seeds.sale, seeds.buy])
        box = seal_secret(keys.local_key, plain, self.chance.bytes(NONCE_SIZE_BYTES))
        uow.secrets.put(f"{_SEEDS_NAME}{seeds.epoch}", box)

    def all_seeds(self, held: Repositories) -> dict[int, EpochSeeds]:
        """Return every epoch's seeds this Device holds, by epoch."""
        keys = self.unlocked()
        found = {seeds.epoch: seeds for seeds in keys.seeds}
        for name, box in held.secrets.named(_SEEDS_NAME):
            plain = open_secret(keys.local_key, box)
            if plain is None:
                continue  # left behind by another Local key; the phrase gives it again
            epoch, sale, buy = decode(plain, tuple[int, bytes, bytes])
            assert name == f"{_SEEDS_NAME}{epoch}"
            found[epoch] = EpochSeeds(epoch, sale, buy)
        return found

    def box_secrets(self, held: Repositories) -> tuple[BoxSecret, ...]:
        """Return every box a Private body may be sealed to: newest epoch first, Device last."""
        keys = self.unlocked()
        seeds = self.all_seeds(held)
        boxes = (seeds[epoch].box_secret() for epoch in sorted(seeds, reverse=True))
        return (*boxes, keys.box_secrets()[-1])

    def newest_box(self, known: Standing) -> bytes:
        """Return the Box key to which own Private bodies are sealed too."""
        if known.box is None:
            raise SeedsMissing(epoch=known.epoch)
        return known.box


def append_signed(
    uow: UnitOfWork,
    signer: Signer,
    kind: str,
    body: bytes,
    *,
    refs: Sequence[bytes] = (),
    now_ms: int,
) -> CheckedEntry:
    """Build, sign, check and append one own Entry to the signer's Feed, or raise."""
    verifier = uow.feeds.verifier(signer.public_key, uow.projections.standing_of)
    unsigned = build_entry(
        signer.public_key,
        verifier.head,
        verifier.peaks,
        kind,
        body,
        refs=refs,
        now_ms=now_ms,
    )
    entry = check_entry(sign_entry(unsigned, signer))
    # Judged at its own time: a clock that was set back must not park our own Entry.
    acceptor = Acceptor(uow, max(now_ms, entry.header.time_ms))
    verdict = acceptor.accept(entry)
    if not isinstance(verdict, Accepted):
        raise OwnEntryRefused(kind=kind, verdict=verdict)
    acceptor.finish()
    return entry
