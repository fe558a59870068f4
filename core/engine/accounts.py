"""An Account that is there: unlocked, described, and kept in order.

* Keys are there between unlock and lock; a wrong passphrase changes nothing.
* What only the Root may say needs the phrase, typed for this one act.
* Revoking a Device and rotating the Root start a new key epoch; the new seeds go
  to the other Devices in a Private body in the same transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

from hanse.core.artifacts.small import SmallStore
from hanse.core.crypto.derivation import EpochSeeds, RootSecret
from hanse.core.crypto.phrase import Phrase, root_secret
from hanse.core.crypto.signing import PREFIX_ROTATE, Signer
from hanse.core.engine.context import Context, append_signed
from hanse.core.engine.views import AccountView, DeviceView, EntryView, ProfileView
from hanse.core.errors import (
    BadShape,
    FileTooLarge,
    FileUnreadable,
    Refused,
    RejectedEntry,
    WrongPhrase,
    WrongUse,
)
from hanse.core.keystore.keystore import (
    change_passphrase,
    unlock,
)
from hanse.core.ledger.disclosure import open_body
from hanse.core.ledger.identities import (
    ROLE_FULL,
    Standing,
    rotate_message,
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
    ENVELOPE_SLOTS_MAX,
)
from hanse.core.model.ids import AuthorKey, IdentityId, identity_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hanse.core.crypto.boxes import BoxSecret
    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.store.unit_of_work import Repositories, UnitOfWork

PHRASE_CONFIRMED = "phrase_confirmed"
_SEEDS_SCANNED = "seeds_scanned"
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


# --- shared with registering ------------------------------------------------------------------


def current_root(known: Standing, secret: RootSecret) -> tuple[int, Signer]:
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


def seeds_in(
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


def encode_typed(body: Profile1 | Device1) -> bytes:
    """Encode words a person typed; what does not fit is his to change."""
    try:
        return encode_body(body)
    except (BadShape, ValueError) as error:
        detail = error.detail if isinstance(error, BadShape) else str(error)
        raise ProfileRefused(detail=detail) from error


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
            is_confirmed = reads.meta.get(PHRASE_CONFIRMED) == "1"
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
            current_root(self._known(uow), root_secret(phrase))
            uow.meta.put(PHRASE_CONFIRMED, "1")
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
        encode_typed(body)
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
            _, root = current_root(known, secret)
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
            r, root = current_root(known, secret)
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
            uow.meta.put(PHRASE_CONFIRMED, "1" if new_phrase is None else "0")
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
        if context.unlocked().is_mirror:
            return 0  # nobody seals any to it, and what it holds of them it cannot open
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
                found |= seeds_in(entry, boxes, known)
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
