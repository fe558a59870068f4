"""Accounts come to be: registered from a new phrase, or restored from an old one.

* An Account is registered offline: the phrase gives the Root key, which
  delegates to a fresh random Device key, and is dropped.
* The first Entry of the first root feed is a pure function of the phrase, so a
  restore from the phrase alone writes the same Entry again and never a Fork.
* A restore is always a *new Device*.  What the Identity wrote before comes from a
  backup, a feed file or, later, from peers.
* The folder is built beside its place and renamed when it is whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hanse.core.artifacts.small import SmallStore
from hanse.core.crypto.derivation import EpochSeeds, RootSecret, device_box_secret
from hanse.core.crypto.phrase import PHRASE_WORDS, Phrase, root_secret
from hanse.core.crypto.signing import Signer
from hanse.core.engine.context import append_signed
from hanse.core.engine.making import Making
from hanse.core.engine.sources import Item, accept_unchecked, in_batches, read_items
from hanse.core.engine.views import AccountView, Restored
from hanse.core.errors import (
    HanseError,
    PhraseNotConfirmed,
    WrongPhrase,
    WrongUse,
)
from hanse.core.keystore.guards import Highwater
from hanse.core.keystore.keystore import (
    DEFAULT_COST,
    KEYSTORE_FILE,
    KdfCost,
    Unlocked,
    read_public,
    write_keystore,
)
from hanse.core.ledger.codec import is_text
from hanse.core.ledger.identities import (
    ROLE_FULL,
    ROLE_MIRROR,
    Standing,
    sign_delegation,
)
from hanse.core.ledger.kinds import (
    Device1,
    Identity1,
    Profile1,
    encode_body,
)
from hanse.core.limits import (
    ENTRIES_PER_BATCH_MAX,
    PROFILE_NAME_CHARACTERS_MAX,
    ROOT_ROTATIONS_MAX,
)
from hanse.core.model.ids import IdentityId, identity_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hanse.core.clock import Chance, Clock
    from hanse.core.engine.home import Home
    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.store.unit_of_work import UnitOfWork

from hanse.core.engine.accounts import (
    PHRASE_CONFIRMED,
    current_root,
    device_views,
    encode_typed,
    seeds_in,
)

_WORDS_ASKED = 3


class BadName(WrongUse):
    """An Account's name does not fit a Profile."""

    code = "account.bad_name"
    text = "a name has 1 to {most} characters and no control characters; this one has {found}"
    fields = ("found", "most")


@dataclass(frozen=True, slots=True)
class _NewDevice:
    """A Device that is being made: its key and how it is called."""

    seed: bytes
    signer: Signer
    name: str


# --- without an Account ---------------------------------------------------------------------


def check_name(name: str) -> None:
    """Raise ``BadName`` for one that no Profile could carry; before anything else is asked."""
    if not 1 <= len(name) <= PROFILE_NAME_CHARACTERS_MAX or not is_text(name, multiline=False):
        raise BadName(found=len(name), most=PROFILE_NAME_CHARACTERS_MAX)


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
    check_name(name)
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
                uow, device.signer, "profile/1", encode_typed(profile), now_ms=clock.now_ms()
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
    is_mirror: bool = False,
) -> Restored:
    """Make a new Device of the Identity the phrase belongs to, in an empty folder.

    A mirror gets no seeds: it seeds files, carries mail it cannot open, and speaks for nobody.
    Raises ``WrongPhrase`` when ``source`` holds another Identity and
    ``PhraseReplaced`` when the Root went on to another phrase; nothing is left
    behind then.
    """
    check_name(name)
    secret = root_secret(phrase)
    device = _new_device(device_name, chance)
    with Making(home, chance) as making:
        entries = 0
        if source is not None:
            entries = _take_in(making, read_items(source, secret), clock)
        with making.store.unit_of_work() as uow:
            known = _own_standing(uow, secret, has_source=source is not None)
            r, root = current_root(known, secret)
            seeds = () if is_mirror else _recover_seeds(uow, known, secret)
            keys = _keys(known.identity, name, device, seeds, clock, chance)
            last = _append_device(
                uow, root, known.identity, r, device, clock, chance, is_mirror=is_mirror
            )
            uow.meta.put(PHRASE_CONFIRMED, "1")
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
    *,
    is_mirror: bool = False,
) -> CheckedEntry:
    now_ms = clock.now_ms()
    role: Literal["full", "mirror"] = ROLE_MIRROR if is_mirror else ROLE_FULL
    key = device.signer.public_key
    body = Device1(
        salt=chance.bytes(16),
        identity=identity,
        r=r,
        root=root.public_key,
        role=role,
        name=device.name,
        box=device_box_secret(device.seed).public_key,
        sig=sign_delegation(root, identity=identity, r=r, device=key, role=role, time_ms=now_ms),
    )
    return append_signed(uow, device.signer, "device/1", encode_typed(body), now_ms=now_ms)


def _note_made(uow: UnitOfWork, home: Home, keys: Unlocked, last: CheckedEntry) -> None:
    highwater = Highwater(home.config, keys.device)
    uow.outbox.announce(last.entry_id, last.header.time_ms)
    uow.after_commit(lambda: highwater.write(last.seq, last.entry_id))


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


def _recover_seeds(uow: UnitOfWork, known: Standing, secret: RootSecret) -> tuple[EpochSeeds, ...]:
    """Make every epoch's seeds: from the phrase, and, after a new phrase, from ``seeds/1``."""
    found = {}
    for epoch, box in known.boxes.items():
        seeds = secret.seeds(epoch)
        if seeds.box_secret().public_key == box:
            found[epoch] = seeds
    boxes = [seeds.box_secret() for seeds in found.values()]
    for entry in uow.feeds.private_of(known.identity, after=0):
        found |= seeds_in(entry, boxes, known)
    return tuple(found[epoch] for epoch in sorted(found))
