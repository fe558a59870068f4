"""Accounts: made, restored, unlocked, described, and kept in order.

* An Account is registered offline: the phrase gives the Root key, which
  delegates to a fresh random Device key, and is dropped.
* The first Entry of the first root feed is a pure function of the phrase, so a
  restore from the phrase alone writes the same Entry again and never a Fork.
* A restore is always a *new Device*.  What the Identity wrote before comes from a
  backup, a feed file or, later, from peers.
* Revoking a Device and rotating the Root start a new key epoch; the new seeds go
  to the other Devices in a Private body in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from hanse.core.artifacts.small import SmallStore
from hanse.core.crypto.derivation import EpochSeeds, RootSecret, device_box_secret
from hanse.core.crypto.phrase import PHRASE_WORDS, Phrase, root_secret
from hanse.core.crypto.signing import PREFIX_ROTATE, Signer
from hanse.core.engine.context import Context, append_signed
from hanse.core.engine.making import Making
from hanse.core.engine.sources import Item, accept_unchecked, in_batches, read_items
from hanse.core.engine.views import AccountView, DeviceView, EntryView, ProfileView, Restored
from hanse.core.errors import (
    BadShape,
    FileTooLarge,
    FileUnreadable,
    HanseError,
    PhraseNotConfirmed,
    Refused,
    RejectedEntry,
    WrongPhrase,
    WrongUse,
)
from hanse.core.keystore.guards import Highwater
from hanse.core.keystore.keystore import (
    DEFAULT_COST,
    KEYSTORE_FILE,
    KdfCost,
    Unlocked,
    change_passphrase,
    read_public,
    unlock,
    write_keystore,
)
from hanse.core.ledger.disclosure import open_body
from hanse.core.ledger.identities import (
    ROLE_FULL,
    Standing,
    rotate_message,
    sign_delegation,
)
from hanse.core.ledger.kinds import (
    Device1,
    Identity1,
    Profile1,
    Revoke1,
    Rotate1,
    Seeds1,
    encode_body,
)
from hanse.core.limits import (
    AVATAR_SIZE_BYTES_MAX,
    ENTRIES_PER_BATCH_MAX,
    ENVELOPE_SLOTS_MAX,
    ROOT_ROTATIONS_MAX,
)
from hanse.core.model.ids import AuthorKey, IdentityId, identity_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hanse.core.clock import Chance, Clock
    from hanse.core.crypto.boxes import BoxSecret
    from hanse.core.engine.home import Home
    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

_CONFIRMED = "phrase_confirmed"
_SEEDS_SCANNED = "seeds_scanned"
_WORDS_ASKED = 3
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
Reason = Literal["lost", "stolen", "sold", "other"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)


class ProfileRefused(WrongUse):
    """A value does not fit the Profile."""

    code = "profile.refused"
    text = "the profile cannot be published: {detail}"
    fields = ("detail",)


class NotAPicture(WrongUse):
    """A Profile picture is PNG or JPEG."""

    code = "profile.not_a_picture"
    text = "{path} is neither PNG nor JPEG"
    fields = ("path",)


class UnknownDevice(WrongUse):
    """No Device of this Identity has that key."""

    code = "account.unknown_device"
    text = "device {device} is none of this identity"
    fields = ("device",)


class OwnDevice(Refused):
    """The Device in use is not revoked from itself."""

    code = "account.own_device"
    text = "device {device} is the one in use; revoke it from another device"
    fields = ("device",)


class PhraseReplaced(Refused):
    """The Root was rotated to another phrase; this one speaks for the Identity no more."""

    code = "phrase.replaced"
    text = "identity {identity} was rotated to another phrase"
    fields = ("identity",)


class IdentityFrozen(Refused):
    """Two different rotations of one Root key are known; nobody can act for the Identity."""

    code = "account.identity_frozen"
    text = "identity {identity} is frozen by two different rotations"
    fields = ("identity",)


@dataclass(frozen=True, slots=True)
class _NewDevice:
    """A Device that is being made: its key and how it is called."""

    seed: bytes
    signer: Signer
    name: str


# --- without an Account ---------------------------------------------------------------------


def words_to_ask(chance: Chance) -> tuple[int, int, int]:
    """Choose three different words (1-based places, in order) to be asked back."""
    places: set[int] = set()
    while len(places) < _WORDS_ASKED:
        places.add(1 + int.from_bytes(chance.bytes(4)) % PHRASE_WORDS)
    first, second, third = sorted(places)
    return first, second, third


def check_words(phrase: Phrase, answers: Mapping[int, str]) -> None:
    """Raise ``PhraseNotConfirmed`` at the first answer that is not the phrase's word."""
    for number, answer in sorted(answers.items()):
        if answer.strip().casefold() != phrase.words[number - 1]:
            raise PhraseNotConfirmed(number=number)


def list_accounts(base: Path) -> tuple[AccountView, ...]:
    """Return the Accounts in ``base`` and in the folders directly below it, by name.

    A Keystore that cannot be read is left out: opening its folder says why.
    """
    folders = [base, *(sorted(base.iterdir()) if base.is_dir() else [])]
    found = []
    for folder in folders:
        if folder.name.endswith(".making") or not (folder / KEYSTORE_FILE).is_file():
            continue
        try:
            public = read_public(folder / KEYSTORE_FILE)
        except HanseError:
            continue
        found.append(AccountView(folder, public.name, public.identity, public.device))
    return tuple(sorted(found, key=lambda account: (account.name, account.folder)))


def register(
    home: Home,
    *,
    name: str,
    passphrase: str,
    phrase: Phrase,
    device_name: str,
    lang: str | None,
    clock: Clock,
    chance: Chance,
    kdf: KdfCost | None = None,
) -> AccountView:
    """Make a new Identity and its first Device in an empty folder, offline."""
    secret = root_secret(phrase)
    identity = IdentityId(bytes(secret.root_signer(0).public_key))
    device = _new_device(device_name, chance)
    seeds = secret.seeds(0)
    keys = _keys(identity, name, device, (seeds,), clock, chance)
    with Making(home, chance) as making:
        write_keystore(making.home.keystore, keys, passphrase, chance, kdf or DEFAULT_COST)
        with making.store.unit_of_work() as uow:
            _append_identity(uow, secret)
            _append_device(uow, secret.root_signer(0), identity, 0, device, clock, chance)
            profile = Profile1(salt=chance.bytes(16), name=name, about="", web=(), contact=None,
                               sectors=(), avatar=None, lang=lang)  # fmt: skip
            last = append_signed(
                uow, device.signer, "profile/1", _encode_profile(profile), now_ms=clock.now_ms()
            )
            _note_made(uow, home, keys, last)
            uow.commit()
        making.finish()
    return AccountView(home.folder, name, identity, keys.device)


def restore(
    home: Home,
    *,
    phrase: Phrase,
    passphrase: str,
    name: str,
    device_name: str,
    source: Path | None,
    clock: Clock,
    chance: Chance,
    kdf: KdfCost | None = None,
) -> Restored:
    """Make a new Device of the Identity the phrase belongs to, in an empty folder.

    Raises ``WrongPhrase`` when ``source`` holds another Identity and
    ``PhraseReplaced`` when the Root went on to another phrase; nothing is left
    behind then.
    """
    secret = root_secret(phrase)
    device = _new_device(device_name, chance)
    with Making(home, chance) as making:
        entries = 0
        if source is not None:
            entries = _take_in(making, read_items(source, secret), clock)
        with making.store.unit_of_work() as uow:
            known = _own_standing(uow, secret, has_source=source is not None)
            r, root = _current_root(known, secret)
            seeds = _recover_seeds(uow, known, secret)
            keys = _keys(known.identity, name, device, seeds, clock, chance)
            last = _append_device(uow, root, known.identity, r, device, clock, chance)
            uow.meta.put(_CONFIRMED, "1")
            _note_made(uow, home, keys, last)
            devices = device_views(uow, known.identity, keys.device)
            uow.commit()
        write_keystore(making.home.keystore, keys, passphrase, chance, kdf or DEFAULT_COST)
        making.finish()
    account = AccountView(home.folder, name, known.identity, keys.device, is_phrase_confirmed=True)
    others = tuple(view for view in devices if not view.is_this)
    return Restored(account, others, entries, has_source=source is not None)


def _new_device(name: str, chance: Chance) -> _NewDevice:
    seed = chance.bytes(32)
    return _NewDevice(seed, Signer.from_seed(seed), name)


def _keys(
    identity: IdentityId,
    name: str,
    device: _NewDevice,
    seeds: tuple[EpochSeeds, ...],
    clock: Clock,
    chance: Chance,
) -> Unlocked:
    return Unlocked(
        identity=identity,
        name=name,
        device_signer=device.signer,
        device_seed=device.seed,
        seeds=seeds,
        local_key=chance.bytes(32),
        created_ms=clock.now_ms(),
    )


def _append_identity(uow: UnitOfWork, secret: RootSecret) -> None:
    """Write the first Entry of the first root feed; the phrase alone decides every byte."""
    root = secret.root_signer(0)
    body = Identity1(
        salt=secret.identity_salt(0),
        identity=root.public_key,
        r=0,
        epoch=0,
        box=secret.seeds(0).box_secret().public_key,
        rotated_from=None,
    )
    append_signed(uow, root, "identity/1", encode_body(body), now_ms=0)


def _append_device(
    uow: UnitOfWork,
    root: Signer,
    identity: IdentityId,
    r: int,
    device: _NewDevice,
    clock: Clock,
    chance: Chance,
) -> CheckedEntry:
    now_ms = clock.now_ms()
    key = device.signer.public_key
    body = Device1(
        salt=chance.bytes(16),
        identity=identity,
        r=r,
        root=root.public_key,
        role=ROLE_FULL,
        name=device.name,
        box=device_box_secret(device.seed).public_key,
        sig=sign_delegation(
            root, identity=identity, r=r, device=key, role=ROLE_FULL, time_ms=now_ms
        ),
    )
    return append_signed(uow, device.signer, "device/1", _encode_profile(body), now_ms=now_ms)


def _note_made(uow: UnitOfWork, home: Home, keys: Unlocked, last: CheckedEntry) -> None:
    highwater = Highwater(home.config, keys.device)
    uow.outbox.announce(last.entry_id, last.header.time_ms)
    uow.after_commit(lambda: highwater.write(last.seq, last.entry_id))


def _encode_profile(body: Profile1 | Device1) -> bytes:
    """Encode words a person typed; what does not fit is his to change."""
    try:
        return encode_body(body)
    except (BadShape, ValueError) as error:
        detail = error.detail if isinstance(error, BadShape) else str(error)
        raise ProfileRefused(detail=detail) from error


# --- restoring ------------------------------------------------------------------------------


def _take_in(making: Making, items: Iterator[Item], clock: Clock) -> int:
    """Import what a backup or feed file holds, in batches; return how many Entries there were."""
    accepted = 0
    small = SmallStore(making.home.folder)
    for entries, blobs in in_batches(items, ENTRIES_PER_BATCH_MAX):
        with making.store.unit_of_work() as uow:
            accepted += accept_unchecked(uow, entries, clock.now_ms()).accepted
            uow.commit()
        for blob in blobs:
            small.put(blob.raw)
    return accepted


def _own_standing(uow: UnitOfWork, secret: RootSecret, *, has_source: bool) -> Standing:
    """Find the Identity of this phrase among what was imported, newest Root key first."""
    for r in range(ROOT_ROTATIONS_MAX, -1, -1):
        row = uow.feeds.get(secret.root_signer(r).public_key)
        if row is not None and row.opening is not None and row.opening.is_root:
            known = uow.projections.standing_of(row.opening.identity)
            assert known is not None
            return known
    identity = IdentityId(bytes(secret.root_signer(0).public_key))
    if has_source:
        held = uow.projections.identities()
        raise WrongPhrase(
            found=identity_text(identity),
            expected=", ".join(identity_text(it) for it in held) or "any in the file",
        )
    _append_identity(uow, secret)
    known = uow.projections.standing_of(identity)
    assert known is not None
    return known


def _current_root(known: Standing, secret: RootSecret) -> tuple[int, Signer]:
    """Return the newest Root key of the Identity, made from the phrase, or raise."""
    if known.is_frozen:
        raise IdentityFrozen(identity=identity_text(known.identity))
    r, key = known.newest_root
    signer = secret.root_signer(r)
    if signer.public_key == key:
        return r, signer
    if any(secret.root_signer(number).public_key == root for root, number in known.roots.items()):
        raise PhraseReplaced(identity=identity_text(known.identity))
    found = identity_text(secret.root_signer(0).public_key)
    raise WrongPhrase(found=found, expected=identity_text(known.identity))


def _recover_seeds(uow: UnitOfWork, known: Standing, secret: RootSecret) -> tuple[EpochSeeds, ...]:
    """Make every epoch's seeds: from the phrase, and, after a new phrase, from ``seeds/1``."""
    found = {}
    for epoch, box in known.boxes.items():
        seeds = secret.seeds(epoch)
        if seeds.box_secret().public_key == box:
            found[epoch] = seeds
    boxes = [seeds.box_secret() for seeds in found.values()]
    for entry in uow.feeds.private_of(known.identity, after=0):
        found |= _seeds_in(entry, boxes, known)
    return tuple(found[epoch] for epoch in sorted(found))


def _seeds_in(
    entry: CheckedEntry, boxes: Sequence[BoxSecret], known: Standing
) -> dict[int, EpochSeeds]:
    """Open ``entry`` and return the seeds in it that fit the Box keys the Root announced."""
    try:
        opened = open_body(entry, boxes)
    except RejectedEntry:
        return {}
    if opened is None or not isinstance(opened.body, Seeds1):
        return {}
    offered = [EpochSeeds(epoch, sale, buy) for epoch, sale, buy in opened.body.seeds]
    return {
        seeds.epoch: seeds
        for seeds in offered
        if known.boxes.get(seeds.epoch) == seeds.box_secret().public_key
    }


def device_views(
    held: Repositories, identity: IdentityId, this: AuthorKey | None
) -> tuple[DeviceView, ...]:
    """Return every Device of an Identity that is held, oldest first."""
    views = []
    for row in held.projections.devices(identity):
        feed = held.feeds.get(AuthorKey(row.device))
        views.append(
            DeviceView(
                device=row.device,
                name=row.name,
                role=row.role,
                state=row.state,
                created_ms=row.created_ms,
                head_seq=0 if feed is None or feed.head is None else feed.head.seq,
                cut_seq=row.cut_seq,
                reason=row.reason,
                is_this=row.device == this,
            )
        )
    return tuple(sorted(views, key=lambda view: (view.created_ms, view.device)))


# --- with an Account ------------------------------------------------------------------------


class Accounts:
    """What can be done with the Account that is open."""

    def __init__(self, context: Context) -> None:
        """Work on ``context``."""
        self._context = context

    def view(self) -> AccountView:
        """Describe the Account."""
        context = self._context
        with context.store.reads() as reads:
            is_confirmed = reads.meta.get(_CONFIRMED) == "1"
        return AccountView(
            folder=context.home.folder,
            name=context.public.name,
            identity=context.identity,
            device=context.device,
            is_unlocked=context.keys is not None,
            is_phrase_confirmed=is_confirmed,
            copy_state=context.copy_state.value,
        )

    def unlock(self, passphrase: str) -> None:
        """Open the Keystore; a wrong passphrase changes nothing."""
        context = self._context
        context.keys = unlock(context.home.keystore, passphrase)
        if context.copy_state.may_sign and not context.store.is_read_only:
            self.collect_seeds()

    def lock(self) -> None:
        """Drop the keys; public data can still be read."""
        self._context.keys = None

    def change_passphrase(self, old: str, new: str) -> None:
        """Seal the Keystore under another passphrase."""
        change_passphrase(self._context.home.keystore, old, new, self._context.chance)

    def confirm_phrase(self, phrase: Phrase) -> None:
        """Note that the person has the phrase; ``WrongPhrase`` if it is another one."""
        context = self._context
        with context.store.unit_of_work() as uow:
            _current_root(self._known(uow), root_secret(phrase))
            uow.meta.put(_CONFIRMED, "1")
            uow.commit()

    def _known(self, uow: UnitOfWork) -> Standing:
        known = uow.projections.standing_of(self._context.identity)
        # The first root Entry is a function of the phrase and written with the Account.
        assert known is not None
        return known

    def profile(self, identity: bytes | None = None) -> ProfileView:
        """Return the newest Profile of ``identity`` (ours when none is named)."""
        wanted = self._context.identity if identity is None else IdentityId(identity)
        with self._context.store.reads() as reads:
            row = reads.projections.profile(wanted)
        if row is None:
            return ProfileView(wanted, "", "", (), None, (), None, None, None)
        return ProfileView(
            identity=wanted,
            name=row.name,
            about=row.about,
            web=row.web,
            contact=row.contact,
            sectors=row.sectors,
            lang=row.lang,
            avatar=row.avatar,
            time_ms=row.time_ms,
        )

    def edit_profile(
        self,
        *,
        name: str | None = None,
        about: str | None = None,
        web: Sequence[str] | None = None,
        contact: str | None = None,
        sectors: Sequence[str] | None = None,
        lang: str | None = None,
        picture: Path | None = None,
    ) -> EntryView:
        """Publish a Profile in which the given fields are new; an empty text clears one."""
        context = self._context
        context.may_sign()
        old = self.profile()
        avatar = old.avatar if picture is None else self._keep_picture(picture)
        body = Profile1(
            salt=context.body_salt(),
            name=(old.name or context.public.name) if name is None else name,
            about=old.about if about is None else about,
            web=old.web if web is None else tuple(web),
            contact=old.contact if contact is None else (contact or None),
            sectors=old.sectors if sectors is None else tuple(sectors),
            avatar=avatar,
            lang=old.lang if lang is None else (lang or None),
        )
        _encode_profile(body)
        with context.store.unit_of_work() as uow:
            entry = context.append_own(uow, body)
            uow.commit()
        return entry_view(entry, context.identity)

    def _keep_picture(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                raw = file.read(AVATAR_SIZE_BYTES_MAX + 1)
            size = path.stat().st_size
        except OSError as error:
            raise FileUnreadable(path=path, detail=error.strerror or str(error)) from error
        if len(raw) > AVATAR_SIZE_BYTES_MAX:
            raise FileTooLarge(path=path, found=size, most=AVATAR_SIZE_BYTES_MAX)
        if not raw.startswith(_PICTURES):
            raise NotAPicture(path=path)
        return SmallStore(self._context.home.folder).put(raw)

    def devices(self) -> tuple[DeviceView, ...]:
        """Return every Device of this Identity, oldest first."""
        with self._context.store.reads() as reads:
            return device_views(reads, self._context.identity, self._context.device)

    # --- acts of the Root -------------------------------------------------------------------

    def revoke(
        self, device: bytes, phrase: Phrase, *, reason: Reason, last_seq: int | None = None
    ) -> EntryView:
        """Make everything a Device wrote after ``last_seq`` void (default: after all that is held).

        This Device takes over its Orders; a new key epoch starts and its seeds go
        to the remaining Devices.
        """
        context = self._context
        keys = context.may_sign()
        secret = root_secret(phrase)
        if device == keys.device:
            raise OwnDevice(device=device.hex())
        with context.store.unit_of_work() as uow:
            known = self._known(uow)
            _, root = _current_root(known, secret)
            if all(row.device != device for row in uow.projections.devices(context.identity)):
                raise UnknownDevice(device=device.hex())
            feed = uow.feeds.get(AuthorKey(device))
            head_seq = 0 if feed is None or feed.head is None else feed.head.seq
            cut = head_seq if last_seq is None else min(last_seq, head_seq)
            last = uow.feeds.entry_at(AuthorKey(device), cut) if cut else None
            seeds = secret.seeds(known.epoch + 1)
            body = Revoke1(
                salt=context.body_salt(),
                device=device,
                last_seq=cut,
                last_id=None if last is None else last.entry_id,
                successor=keys.device,
                epoch=seeds.epoch,
                box=seeds.box_secret().public_key,
                reason=reason,
            )
            entry = append_signed(
                uow, root, "revoke/1", encode_body(body), now_ms=context.clock.now_ms()
            )
            uow.outbox.announce(entry.entry_id, context.clock.now_ms())
            self._share_seeds(uow, [seeds], seeds.box_secret().public_key)
            uow.commit()
        return entry_view(entry, context.identity)

    def rotate(self, phrase: Phrase, new_phrase: Phrase | None = None) -> EntryView:
        """End the present Root key's feed and go on with the next one, or with a new phrase.

        Devices that are live go on; those that were cut stay cut.
        """
        context = self._context
        context.may_sign()
        secret = root_secret(phrase)
        next_secret = secret if new_phrase is None else root_secret(new_phrase)
        with context.store.unit_of_work() as uow:
            known = self._known(uow)
            r, root = _current_root(known, secret)
            new_root = next_secret.root_signer(r + 1)
            seeds = next_secret.seeds(known.epoch + 1)
            now_ms = context.clock.now_ms()
            body = Rotate1(
                salt=context.body_salt(),
                r=r + 1,
                root=new_root.public_key,
                epoch=seeds.epoch,
                sig=new_root.sign(
                    PREFIX_ROTATE, rotate_message(known.identity, r + 1, new_root.public_key)
                ),
                devices=_devices_named(uow, known),
            )
            entry = append_signed(uow, root, "rotate/1", encode_body(body), now_ms=now_ms)
            opening = Identity1(
                salt=next_secret.identity_salt(r + 1),
                identity=known.identity,
                r=r + 1,
                epoch=seeds.epoch,
                box=seeds.box_secret().public_key,
                rotated_from=entry.entry_id,
            )
            first = append_signed(
                uow, new_root, "identity/1", encode_body(opening), now_ms=entry.header.time_ms
            )
            uow.outbox.announce(first.entry_id, now_ms)
            earlier = [] if new_phrase is None else list(context.all_seeds(uow).values())
            self._share_seeds(uow, [*earlier, seeds], seeds.box_secret().public_key)
            uow.meta.put(_CONFIRMED, "1" if new_phrase is None else "0")
            uow.commit()
        return entry_view(entry, context.identity)

    def _share_seeds(self, uow: UnitOfWork, seeds: Sequence[EpochSeeds], new_box: bytes) -> None:
        """Keep new seeds here and seal them to the other live Devices and the *new* Box key.

        Never to the old Box key: a revoked Device holds it.
        """
        context = self._context
        for item in seeds:
            context.keep_seeds(uow, item)
        others = [
            row.box
            for row in uow.projections.devices(context.identity)
            if row.state == "live" and row.role == ROLE_FULL and row.device != context.device
        ]
        body = Seeds1(seeds=tuple((item.epoch, item.sale, item.buy) for item in seeds))
        step = ENVELOPE_SLOTS_MAX - 1
        for start in range(0, max(1, len(others)), step):
            boxes = [new_box, *others[start : start + step]]
            context.append_private(uow, "seeds/1", body, boxes, [context.identity])

    def collect_seeds(self) -> int:
        """Take the seeds other Devices of this Identity sent here; return how many were new."""
        context = self._context
        context.unlocked()
        with context.store.unit_of_work() as uow:
            known = self._known(uow)
            held = context.all_seeds(uow)
            if set(known.boxes) <= set(held):
                return 0
            after = int(uow.meta.get(_SEEDS_SCANNED) or 0)
            boxes = context.box_secrets(uow)
            found: dict[int, EpochSeeds] = {}
            newest = after
            for entry, number in uow.feeds.private_after(known.identity, after):
                newest = max(newest, number)
                found |= _seeds_in(entry, boxes, known)
            fresh = {epoch: seeds for epoch, seeds in found.items() if epoch not in held}
            for seeds in fresh.values():
                context.keep_seeds(uow, seeds)
            uow.meta.put(_SEEDS_SCANNED, str(newest))
            uow.commit()
        return len(fresh)


def _devices_named(
    uow: UnitOfWork, known: Standing
) -> tuple[tuple[bytes, int | None, bytes | None], ...]:
    """Say of every Device that counts whether it goes on (None) or where it stays cut."""
    named: list[tuple[bytes, int | None, bytes | None]] = []
    for row in uow.projections.devices(known.identity):
        cut = known.cut_of(AuthorKey(row.device), row.r)
        if cut is None:
            named.append((row.device, None, None))
        elif cut.last_seq > 0:
            named.append((row.device, cut.last_seq, cut.last_id))
    return tuple(sorted(named))


def entry_view(entry: CheckedEntry, identity: IdentityId | None) -> EntryView:
    """Describe one own Entry that was just written."""
    return EntryView(
        entry_id=entry.entry_id,
        author=entry.author,
        identity=identity,
        seq=entry.seq,
        prev=entry.header.prev,
        root=entry.header.root,
        time_ms=entry.header.time_ms,
        kind=entry.kind,
        body_state="here",
        body_len=entry.header.body_len,
        counts=True,
        body=None,
    )
