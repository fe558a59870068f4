"""``hanse account``: register, unlock, describe, and keep a person's Devices in order."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

from hanse.app.answers import Answer
from hanse.app.columns import GAP, padded, text_width
from hanse.app.commands.showing import (
    account_lines,
    device_lines,
    entry_lines,
    headed,
    named,
    short_identity,
)
from hanse.core.crypto.phrase import ENTROPY_SIZE_BYTES, Language, Phrase, new_phrase
from hanse.core.durable import make_private_folder, write_durably
from hanse.core.engine import registering
from hanse.core.engine.engine import Engine
from hanse.core.errors import (
    AccountExists,
    EnvironmentFault,
    FolderNotWritable,
    HanseError,
    WrongUse,
)
from hanse.core.keystore.keyring_store import (
    KeyringMissing,
    forget_passphrase,
    save_passphrase,
)
from hanse.core.keystore.keystore import read_public
from hanse.core.keystore.keystore import unlock as check_passphrase
from hanse.core.model.ids import IdentityId, identity_text, parse_identity
from hanse.core.sentences import show_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hanse.app.desk import Desk
    from hanse.app.runtime import Runtime
    from hanse.core.engine.accounts import Reason
    from hanse.core.engine.views import DeviceView

_WORD_COLUMNS: Final = 4
_DEVICE_NAME_CHARACTERS: Final = 40
_DEVICE_DIGITS_MIN: Final = 8


class UnclearDevice(WrongUse):
    """What was typed names no Device of this Identity, or more than one."""

    code = "device.unclear"
    text = "{found} names {count} devices of this identity"
    fields = ("found", "count")


class NotOwnProfile(WrongUse):
    """Nobody can change what another Identity says of itself."""

    code = "profile.not_own"
    text = "the profile of {identity} cannot be changed here"
    fields = ("identity",)


def create(
    desk: Desk,
    *,
    name: str | None,
    device_name: str | None,
    words: str | None,
    no_ask: bool,
    new_passphrase_file: Path | None,
) -> Answer:
    """Register: show the phrase, ask it back, and only then write anything."""
    name = desk.text(name, "--name", "ask.name")
    registering.check_name(name)
    home = desk.hanse.new_home(name)
    if home.keystore.exists():
        raise AccountExists(path=home.folder, name=read_public(home.keystore).name)
    passphrase = desk.new_passphrase(new_passphrase_file or desk.hanse.settings.passphrase_file)
    phrase = _fresh_phrase(desk, words)
    is_confirmed = _show_and_ask_back(desk, phrase, is_asked=not no_ask)
    registering.register(
        home,
        name=name,
        passphrase=passphrase,
        phrase=phrase,
        device_name=device_name or _this_machine(),
        lang=desk.language.replace("_", "-"),  # the Ledger has tags, not locales
        clock=desk.hanse.clock,
        chance=desk.hanse.chance,
        kdf=desk.hanse.kdf,
    )
    with Engine.open(home, clock=desk.hanse.clock, chance=desk.hanse.chance) as engine:
        if is_confirmed:
            engine.accounts.confirm_phrase(phrase)
        account = engine.accounts.view()
    lines = [desk.say("account.created"), "", *account_lines(desk, account)]
    if not is_confirmed:
        lines += ["", desk.say("account.not_confirmed")]
    if not desk.is_json:
        shown: Mapping[str, object] = {"account": account}
        lines = [*_phrase_lines_unless_shown(desk, phrase), *lines]
    else:
        shown = {"account": account, "phrase": phrase.words}
    return Answer(shown, lines)


def restore(
    desk: Desk,
    *,
    source: Path | None,
    mirror: bool,
    name: str | None,
    device_name: str | None,
    phrase_file: Path | None,
    new_passphrase_file: Path | None,
) -> Answer:
    """Make this installation a new Device of the Identity the phrase belongs to."""
    name = desk.text(name, "--name", "ask.name")
    registering.check_name(name)
    home = desk.hanse.new_home(name)
    if home.keystore.exists():
        raise AccountExists(path=home.folder, name=read_public(home.keystore).name)
    phrase = desk.phrase(phrase_file)
    passphrase = desk.new_passphrase(new_passphrase_file or desk.hanse.settings.passphrase_file)
    restored = registering.restore(
        home,
        phrase=phrase,
        passphrase=passphrase,
        name=name,
        device_name=device_name or _this_machine(),
        source=source,
        is_mirror=mirror,
        clock=desk.hanse.clock,
        chance=desk.hanse.chance,
        kdf=desk.hanse.kdf,
    )
    lines = [desk.say("account.restored"), "", *account_lines(desk, restored.account), ""]
    if restored.has_source:
        lines.append(desk.say("account.restored_entries", entries=restored.entries))
    else:
        lines.append(desk.say("account.restored_without_source"))
    if mirror:
        lines.append(desk.say("account.restored_mirror"))
    if restored.devices:
        lines += ["", desk.say("account.other_devices"), *device_lines(desk, restored.devices)]
    return Answer(restored, lines)


def show_list(desk: Desk, *, full: bool) -> Answer:
    """List the Accounts of this person on this machine."""
    found = registering.list_accounts(desk.hanse.base)
    # Only what the Keystore says: to know more, each folder would have to be opened.
    result = [
        {"name": it.name, "identity": it.identity, "device": it.device, "folder": it.folder}
        for it in found
    ]
    if not found:
        return Answer(result, [desk.say("account.none_yet", path=desk.hanse.base)])
    rows = [(it.name, short_identity(it.identity, is_full=full), str(it.folder)) for it in found]
    return Answer(result, headed(desk, ("name", "identity", "folder"), rows))


def unlock(desk: Desk, *, remember: bool) -> Answer:
    """Check the passphrase, and remember it in the system's keyring if asked to.

    Where a Hanse runs on the folder, its Account is unlocked, and its network starts.
    """
    with desk.writing() as engine:
        passphrase = desk.passphrase()
        if desk.runtime is not None:
            desk.runtime.unlock(passphrase)
        else:
            engine.accounts.unlock(passphrase)
        account = engine.accounts.view()
    lines = [desk.say("account.passphrase_right", name=account.name)]
    if remember:
        _remember(desk, IdentityId(account.identity), passphrase)
        lines.append(desk.say("account.remembered"))
    if desk.runtime is not None:
        lines.append(_network_line(desk, desk.runtime))
    elif not remember:
        lines.append(desk.say("account.nothing_runs"))
    result = {
        "account": account,
        "is_remembered": remember,
        "is_online": desk.runtime is not None and desk.runtime.is_online,
    }
    return Answer(result, lines)


def _network_line(desk: Desk, runtime: Runtime) -> str:
    if runtime.is_online:
        return desk.say("node.online_now")
    try:
        runtime.online()
    except HanseError as error:
        return desk.say(error.code, **error.values)
    return desk.say("node.online_now")  # it has come meanwhile


def lock(desk: Desk) -> Answer:
    """Forget a remembered passphrase, and lock the Account of the Hanse that runs, if one does."""
    was_unlocked = desk.runtime is not None and desk.runtime.lock()
    identity = read_public(desk.hanse.home().keystore).identity
    mark = desk.remembered_mark(identity)
    was_remembered = mark.exists()
    try:
        forget_passphrase(identity)
    except KeyringMissing:
        was_remembered = False  # where there is no keyring nothing can be kept in it
    except EnvironmentFault:
        if was_remembered or desk.runtime is None:
            raise  # else it was never asked to keep anything, and the lock is done
    try:
        mark.unlink(missing_ok=True)
    except OSError as error:
        raise FolderNotWritable(path=mark, detail=error.strerror) from error
    lines = []
    if was_unlocked:
        lines.append(desk.say("node.locked_now"))
    if was_remembered:
        lines.append(desk.say("account.forgotten"))
    if not lines:
        lines.append(desk.say("account.was_locked" if desk.runtime is None else "node.was_locked"))
    return Answer({"was_remembered": was_remembered, "was_unlocked": was_unlocked}, lines)


def profile(
    desk: Desk,
    *,
    identity: str | None,
    name: str | None,
    about: str | None,
    web: Sequence[str],
    contact: str | None,
    sector: Sequence[str],
    language: str | None,
    picture: Path | None,
) -> Answer:
    """Show a Profile, or sign a new one of our own."""
    changes: dict[str, object] = {
        "name": name,
        "about": about,
        "web": _without_empty(web),
        "contact": contact,
        "sectors": _without_empty(sector),
        "lang": language,
        "picture": picture,
    }
    changes = {key: value for key, value in changes.items() if value is not None}
    if not changes:
        return _show_profile(desk, identity)
    if identity is not None:
        raise NotOwnProfile(identity=identity)
    with desk.unlocked() as engine:
        desk.confirm([desk.say("profile.draft"), *named(desk, changes)])
        # The options above are named as the arguments of the engine, and typed there.
        entry = engine.accounts.edit_profile(**changes)  # type: ignore[arg-type]
    return Answer(entry, [desk.say("profile.signed"), "", *entry_lines(desk, entry)])


def devices(desk: Desk, *, full: bool) -> Answer:
    """List the Devices of this Identity."""
    with desk.reading() as engine:
        found = engine.accounts.devices()
    return Answer(found, device_lines(desk, found, is_full=full))


def revoke(
    desk: Desk,
    *,
    device: str,
    reason: Reason,
    last_seq: int | None,
    phrase_file: Path | None,
    without_peer: bool,
) -> Answer:
    """Make void what a lost Device writes from now on."""
    with desk.unlocked() as engine:
        target = _device(engine.accounts.devices(), device)
        last = target.head_seq if last_seq is None else last_seq
        draft = [
            desk.say("revoke.draft"),
            *device_lines(desk, [target], is_full=True),
            desk.say("revoke.does", seq=last),
            desk.say("revoke.renews_keys"),
            desk.say("root.for_ever"),
        ]
        desk.confirm(draft)
        desk.confirm_without_peer(is_given=without_peer)
        phrase = desk.phrase(phrase_file)
        entry = engine.accounts.revoke(target.device, phrase, reason=reason, last_seq=last_seq)
    return Answer(entry, [desk.say("revoke.done", name=target.name), "", *entry_lines(desk, entry)])


def rotate(
    desk: Desk,
    *,
    new_words: bool,
    words: str | None,
    phrase_file: Path | None,
    without_peer: bool,
) -> Answer:
    """Go on with the next Root key, or with a new phrase."""
    with desk.unlocked() as engine:
        does = "rotate.does_new_words" if new_words else "rotate.does"
        draft = [
            desk.say("rotate.draft"),
            *device_lines(desk, engine.accounts.devices()),
            desk.say(does),
            desk.say("revoke.renews_keys"),
            desk.say("root.for_ever"),
        ]
        desk.confirm(draft)
        desk.confirm_without_peer(is_given=without_peer)
        phrase = desk.phrase(phrase_file)
        fresh: Phrase | None = None
        is_confirmed = False
        if new_words:
            fresh = _fresh_phrase(desk, words)
            is_confirmed = _show_and_ask_back(desk, fresh, is_asked=True)
        entry = engine.accounts.rotate(phrase, fresh)
        if fresh is not None and is_confirmed:
            engine.accounts.confirm_phrase(fresh)
    lines = [desk.say("rotate.done"), "", *entry_lines(desk, entry)]
    if fresh is None:
        return Answer({"entry": entry}, lines)
    if not is_confirmed:
        lines += ["", desk.say("account.not_confirmed")]
    if desk.is_json:
        return Answer({"entry": entry, "phrase": fresh.words}, lines)
    return Answer({"entry": entry}, [*_phrase_lines_unless_shown(desk, fresh), *lines])


def passphrase(desk: Desk, *, new_passphrase_file: Path | None) -> Answer:
    """Seal the Keystore under another passphrase."""
    with desk.writing() as engine:
        old = desk.passphrase()
        check_passphrase(desk.hanse.home().keystore, old)  # before a new one is thought of
        new = desk.new_passphrase(new_passphrase_file)
        engine.accounts.change_passphrase(old, new)
        account = engine.accounts.view()
    lines = [desk.say("account.passphrase_changed")]
    identity = IdentityId(account.identity)
    if desk.remembered_mark(identity).exists():
        _remember(desk, identity, new)
        lines.append(desk.say("account.remembered"))
    return Answer(account, lines)


def confirm(desk: Desk, *, phrase_file: Path | None) -> Answer:
    """Ask the Recovery phrase back, to know that the person has it."""
    with desk.writing() as engine:
        engine.accounts.confirm_phrase(desk.phrase(phrase_file))
        account = engine.accounts.view()
    return Answer(account, [desk.say("account.confirmed")])


# --- the phrase -----------------------------------------------------------------------------


def _fresh_phrase(desk: Desk, words: str | None) -> Phrase:
    language: Language = "zh_CN" if (words or desk.language) == "zh_CN" else "en"
    return new_phrase(desk.hanse.chance.bytes(ENTROPY_SIZE_BYTES), language)


def _show_and_ask_back(desk: Desk, phrase: Phrase, *, is_asked: bool) -> bool:
    """Show the words to the person and ask three back; say whether they were repeated."""
    if desk.is_json or not desk.console.has_person:
        return False  # they are part of the result then
    for line in _phrase_lines(desk, phrase):
        desk.console.err(line)
    desk.console.ask(desk.say("phrase.press_enter"))
    if not is_asked:
        return False
    desk.ask_back(
        lambda: registering.words_to_ask(desk.hanse.chance),
        lambda answers: registering.check_words(phrase, answers),
    )
    return True


def _phrase_lines_unless_shown(desk: Desk, phrase: Phrase) -> tuple[str, ...]:
    return () if desk.console.has_person else _phrase_lines(desk, phrase)


def _phrase_lines(desk: Desk, phrase: Phrase) -> tuple[str, ...]:
    """Set the words in columns, to be read downwards, and say what they are."""
    numbered = [f"{number:>2} {word}" for number, word in enumerate(phrase.words, start=1)]
    per_column = -(-len(numbered) // _WORD_COLUMNS)
    width = max(text_width(cell) for cell in numbered)
    rows = [
        GAP.join(padded(cell, width) for cell in numbered[row::per_column]).rstrip()
        for row in range(per_column)
    ]
    return (desk.say("phrase.shown_once"), "", *(f"  {row}" for row in rows), "")


# --- the keyring ----------------------------------------------------------------------------


def _remember(desk: Desk, identity: IdentityId, passphrase: str) -> None:
    save_passphrase(identity, passphrase)
    mark = desk.remembered_mark(identity)
    make_private_folder(mark.parent)
    write_durably(mark, b"")


# --- profiles and Devices -------------------------------------------------------------------


def _show_profile(desk: Desk, identity: str | None) -> Answer:
    with desk.reading() as engine:
        wanted = None if identity is None else parse_identity(identity)
        found = engine.accounts.profile(wanted)
    values = {
        "identity": identity_text(found.identity),
        "name": found.name or None,
        "about": found.about or None,
        "web": found.web or None,
        "contact": found.contact,
        "sectors": found.sectors or None,
        "lang": found.lang,
        "picture": found.avatar,
        "time": None if found.time_ms is None else show_time(found.time_ms),
    }
    return Answer(found, named(desk, values))


def _without_empty(values: Sequence[str]) -> tuple[str, ...] | None:
    """Say None for an option that was not given; one empty text clears the list."""
    return tuple(value for value in values if value) if values else None


def _device(known: Sequence[DeviceView], typed: str) -> DeviceView:
    """Find the one Device whose key begins with what was typed."""
    digits = typed.strip().lower()
    found = [it for it in known if it.device.hex().startswith(digits)]
    if len(digits) < _DEVICE_DIGITS_MIN or len(found) != 1:
        raise UnclearDevice(found=typed, count=len(found))
    return found[0]


def _this_machine() -> str:
    return (platform.node() or platform.system() or "computer")[:_DEVICE_NAME_CHARACTERS]
