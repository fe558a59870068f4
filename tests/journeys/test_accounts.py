"""Accounts through the engine, on real folders: made, lost, restored, revoked, rotated, copied."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from hanse.core.crypto.phrase import new_phrase
from hanse.core.engine.accounts import (
    IdentityFrozen,
    NotAPicture,
    OwnDevice,
    PhraseReplaced,
    ProfileRefused,
    UnknownDevice,
)
from hanse.core.engine.backups import drill
from hanse.core.engine.registering import (
    BadName,
    check_words,
    list_accounts,
    register,
    words_to_ask,
)
from hanse.core.errors import (
    AccountExists,
    AccountLocked,
    CopiedDisk,
    FileTooLarge,
    HanseError,
    PassphraseTooShort,
    PhraseNotConfirmed,
    StoreLocked,
    WrongPassphrase,
    WrongPhrase,
)
from tests.fakes.chance import SeededChance
from tests.fakes.people import CHEAP, PASSPHRASE, Person, digest, give

if TYPE_CHECKING:
    from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def test_a_new_account_has_a_root_feed_and_a_device_feed_that_verify(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    with anna.open() as engine:
        feeds = engine.ledger.feeds()
        report = engine.ledger.verify()
        shown = engine.ledger.show()
        profile = engine.accounts.profile()
        view = engine.accounts.view()
    assert {(feed.role, feed.head_seq) for feed in feeds} == {("root", 1), ("full", 2)}
    assert report.holds
    assert report.entries == 3
    assert [entry.kind for entry in shown] == ["device/1", "profile/1"]
    assert profile.name == "anna"
    assert view.is_unlocked
    assert not view.is_phrase_confirmed
    digest(anna)


def test_the_keystore_is_for_its_owner_alone_and_no_half_made_folder_is_left(
    tmp_path: Path,
) -> None:
    anna = Person.make(tmp_path, "anna")
    assert anna.home.keystore.stat().st_mode & 0o777 == 0o600
    assert (anna.home.folder / "hanse.db").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "anna").iterdir() if "making" in path.name] == []


def test_a_second_account_in_the_same_folder_is_refused_and_names_the_first(
    tmp_path: Path,
) -> None:
    anna = Person.make(tmp_path, "anna")
    with pytest.raises(AccountExists) as caught:
        register(
            anna.home, name="other", passphrase=PASSPHRASE, phrase=anna.phrase,
            device_name="x", lang=None, clock=anna.clock, chance=anna.chance, kdf=CHEAP,
        )  # fmt: skip
    assert caught.value.values["name"] == "anna"
    with anna.open() as engine:
        assert engine.accounts.profile().name == "anna"


def test_a_refused_account_leaves_nothing_behind(tmp_path: Path) -> None:
    chance = SeededChance(1)
    anna = Person.make(tmp_path, "anna")
    other = type(anna.home)(tmp_path / "new" / "data", tmp_path / "new" / "config")
    with pytest.raises(PassphraseTooShort):
        register(
            other, name="x", passphrase="short", phrase=anna.phrase, device_name="x",
            lang=None, clock=anna.clock, chance=chance, kdf=CHEAP,
        )  # fmt: skip
    with pytest.raises(BadName):
        register(
            other, name="x" * 61, passphrase=PASSPHRASE, phrase=anna.phrase, device_name="x",
            lang=None, clock=anna.clock, chance=chance, kdf=CHEAP,
        )  # fmt: skip
    assert not other.folder.exists()
    assert list((tmp_path / "new").glob(".*")) == []


def test_a_value_that_fits_no_profile_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    with anna.open() as engine:
        for wrong in (
            {"about": "x" * 2001},
            {"web": ["a", "a"]},
            {"lang": "Klingon"},
            {"name": ""},
        ):
            with pytest.raises(ProfileRefused):
                engine.accounts.edit_profile(**wrong)
        assert engine.ledger.show()[-1].seq == 2


def test_several_accounts_live_side_by_side_and_are_listed(tmp_path: Path) -> None:
    base = tmp_path / "all"
    for name in ("anna", "bo"):
        chance = SeededChance(name)
        home = Person.make(tmp_path, name).home
        base.mkdir(exist_ok=True)
        home.folder.rename(base / name)
        assert chance
    assert [(view.name, view.folder.name) for view in list_accounts(base)] == [
        ("anna", "anna"),
        ("bo", "bo"),
    ]


def test_three_words_are_asked_back_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    phrase = new_phrase(SeededChance(5).bytes(32), "en")
    asked = words_to_ask(SeededChance(9))
    assert len(set(asked)) == 3
    assert all(1 <= number <= 24 for number in asked)
    check_words(phrase, {number: phrase.words[number - 1].upper() + " " for number in asked})
    with pytest.raises(PhraseNotConfirmed) as caught:
        check_words(phrase, {asked[0]: phrase.words[asked[0] - 1], asked[1]: "wrong"})
    assert caught.value.values["number"] == asked[1]
    anna = Person.make(tmp_path, "anna")
    with anna.open() as engine:
        with pytest.raises(WrongPhrase):
            engine.accounts.confirm_phrase(phrase)
        engine.accounts.confirm_phrase(anna.phrase)
        assert engine.accounts.view().is_phrase_confirmed


def test_locking_drops_the_keys_and_public_data_can_still_be_read(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    with anna.open() as engine:
        engine.accounts.lock()
        with pytest.raises(AccountLocked):
            engine.accounts.edit_profile(about="x")
        assert engine.accounts.profile().name == "anna"
        with pytest.raises(WrongPassphrase):
            engine.accounts.unlock("another passphrase")
        assert not engine.accounts.view().is_unlocked
        engine.accounts.unlock(PASSPHRASE)
        engine.accounts.edit_profile(about="back")


def test_a_changed_passphrase_opens_and_the_old_one_does_not(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    with anna.open() as engine:
        engine.accounts.change_passphrase(PASSPHRASE, "quite another one")
        engine.accounts.lock()
        with pytest.raises(WrongPassphrase):
            engine.accounts.unlock(PASSPHRASE)
        engine.accounts.unlock("quite another one")


def test_a_profile_is_edited_field_by_field_with_a_picture(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    picture = tmp_path / "me.png"
    picture.write_bytes(PNG)
    with anna.open() as engine:
        engine.accounts.edit_profile(
            about="Finds defects\nin castings.", web=["https://example.org"], lang="zh-CN"
        )
        engine.accounts.edit_profile(name="安娜", contact="anna@example.org", picture=picture)
        engine.accounts.edit_profile(contact="")
        profile = engine.accounts.profile()
    assert (profile.name, profile.about) == ("安娜", "Finds defects\nin castings.")
    assert (profile.web, profile.lang, profile.contact) == (
        ("https://example.org",),
        "zh-CN",
        None,
    )
    assert profile.avatar is not None
    digest(anna)


def test_a_picture_that_is_none_or_too_large_is_refused_with_both_values(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    picture = tmp_path / "me.png"
    with anna.open() as engine:
        picture.write_bytes(b"GIF89a" + bytes(10))
        with pytest.raises(NotAPicture):
            engine.accounts.edit_profile(picture=picture)
        picture.write_bytes(PNG + bytes(70_000))
        with pytest.raises(FileTooLarge) as caught:
            engine.accounts.edit_profile(picture=picture)
        assert engine.ledger.show()[-1].seq == 2
    assert (caught.value.values["found"], caught.value.values["most"]) == (70_108, 65_536)


def test_a_second_process_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    with anna.open(), pytest.raises(StoreLocked) as caught:
        anna.open()
    assert "process" in str(caught.value.values["holder"])
    with anna.open() as engine:
        assert engine.accounts.view().is_unlocked


# --- lost laptops ---------------------------------------------------------------------------


def test_the_phrase_alone_gives_the_same_identity_and_the_same_first_entry(
    tmp_path: Path,
) -> None:
    anna = Person.make(tmp_path, "anna")
    again, restored = anna.restore_to(tmp_path / "again", None)
    assert restored.account.identity == anna.view.identity
    assert restored.account.device != anna.view.device
    assert not restored.has_source

    def first_root_entry(person: Person) -> bytes:
        with person.open() as engine:
            root = next(feed for feed in engine.ledger.feeds() if feed.role == "root")
            return engine.ledger.show(author=root.author)[0].entry_id

    assert first_root_entry(anna) == first_root_entry(again)
    # Both continue one Identity: nothing is a Fork when they meet.
    with anna.open() as engine:
        engine.accounts.edit_profile(about="from the first")
    give(anna, again, tmp_path)
    with again.open() as engine:
        assert engine.accounts.profile().about == "from the first"
        assert [view.state for view in engine.accounts.devices()] == ["live", "live"]
        assert engine.ledger.verify().forks == 0


def test_a_backup_brings_everything_back_as_a_new_device(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    picture = tmp_path / "me.png"
    picture.write_bytes(PNG)
    backup = tmp_path / "anna.hanse-backup"
    with anna.open() as engine:
        engine.accounts.edit_profile(about="kept", picture=picture)
        made = engine.backups.make(backup)
    assert (made.entries, made.blobs) == (4, 1)
    assert drill(backup, anna.phrase, clock=anna.clock, chance=anna.chance).entries == 4

    again, restored = anna.restore_to(tmp_path / "again", backup)
    assert [device.device for device in restored.devices] == [anna.view.device]
    assert restored.entries == 4
    with again.open() as engine:
        assert engine.accounts.profile().about == "kept"
        assert engine.accounts.view().is_phrase_confirmed
        engine.accounts.edit_profile(about="goes on")
        assert engine.ledger.verify().holds
    digest(again)


def test_a_backup_of_another_phrase_restores_nothing(tmp_path: Path) -> None:
    anna, bo = Person.make(tmp_path, "anna"), Person.make(tmp_path, "bo")
    backup, feeds = tmp_path / "a.hanse-backup", tmp_path / "a.hanse-feed"
    with anna.open() as engine:
        engine.backups.make(backup)
        engine.ledger.export(feeds)
    for number, source in enumerate((backup, feeds)):
        with pytest.raises(Exception, match=r"phrase|identity"):
            bo.restore_to(tmp_path / f"again{number}", source)
        assert not (tmp_path / f"again{number}" / "data").exists()


def test_a_revoked_device_writes_in_vain_and_the_new_epoch_reaches_the_others(
    tmp_path: Path,
) -> None:
    anna = Person.make(tmp_path, "anna")
    backup = tmp_path / "anna.hanse-backup"
    with anna.open() as engine:
        engine.accounts.edit_profile(about="good")
        engine.backups.make(backup)
    second, _ = anna.restore_to(tmp_path / "second", backup)
    third, _ = anna.restore_to(tmp_path / "third", backup)
    give(second, third, tmp_path)
    give(third, second, tmp_path)

    # The thief writes after the cut that the second Device will make.
    with anna.open() as engine:
        engine.accounts.edit_profile(about="stolen")
    with second.open() as engine:
        with pytest.raises(OwnDevice):
            engine.accounts.revoke(second.view.device, anna.phrase, reason="lost")
        with pytest.raises(UnknownDevice):
            engine.accounts.revoke(bytes(32), anna.phrase, reason="lost")
        engine.accounts.revoke(anna.view.device, anna.phrase, reason="stolen")
        states = {view.device: view.state for view in engine.accounts.devices()}
    assert states == {
        anna.view.device: "revoked",
        second.view.device: "live",
        third.view.device: "live",
    }
    give(anna, second, tmp_path)
    with second.open() as engine:
        assert engine.accounts.profile().about == "good"
        stolen = engine.ledger.show(author=anna.view.device)[-1]
        assert (stolen.kind, stolen.counts) == ("profile/1", False)

    give(second, third, tmp_path)
    with third.open() as engine, engine.context.store.reads() as reads:
        assert set(engine.context.all_seeds(reads)) == {0, 1}
    # The thief gets the Entry too, and his keys open none of it.
    give(second, anna, tmp_path)
    with anna.open() as engine, engine.context.store.reads() as reads:
        assert set(engine.context.all_seeds(reads)) == {0}
    digest(second)


def test_order_of_arrival_does_not_matter_for_a_revocation(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    backup = tmp_path / "anna.hanse-backup"
    with anna.open() as engine:
        engine.backups.make(backup)
    second, _ = anna.restore_to(tmp_path / "second", backup)
    with second.open() as engine:
        engine.accounts.revoke(anna.view.device, anna.phrase, reason="lost")
    with anna.open() as engine:
        engine.accounts.edit_profile(about="too late")
    one, two = Person.make(tmp_path, "one"), Person.make(tmp_path, "two")
    give(anna, one, tmp_path)
    give(second, one, tmp_path)
    give(second, two, tmp_path)
    give(anna, two, tmp_path)
    profiles = []
    for person in (one, two):
        with person.open() as engine:
            profiles.append(engine.accounts.profile(anna.view.identity))
    assert profiles[0] == profiles[1]
    assert profiles[0].about == ""


def test_a_rotated_root_keeps_its_identity_and_devices(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    with anna.open() as engine:
        engine.accounts.rotate(anna.phrase)
        engine.accounts.edit_profile(about="after")
        assert engine.accounts.profile().about == "after"
        assert [view.state for view in engine.accounts.devices()] == ["live"]
        backup = tmp_path / "b.hanse-backup"
        engine.backups.make(backup)
    again, _ = anna.restore_to(tmp_path / "again", backup)
    with again.open() as engine:
        assert engine.accounts.view().identity == anna.view.identity
        assert engine.accounts.profile().about == "after"
        with engine.context.store.reads() as reads:
            assert set(engine.context.all_seeds(reads)) == {0, 1}
        engine.accounts.revoke(anna.view.device, anna.phrase, reason="sold")
    digest(again)


def test_after_a_rotation_to_a_new_phrase_only_that_one_restores_and_reads_everything(
    tmp_path: Path,
) -> None:
    anna = Person.make(tmp_path, "anna")
    new = new_phrase(SeededChance("new").bytes(32), "zh_CN")
    backup = tmp_path / "b.hanse-backup"
    feeds = tmp_path / "b.hanse-feed"
    with anna.open() as engine:
        engine.accounts.rotate(anna.phrase, new)
        with pytest.raises(PhraseReplaced):
            engine.accounts.rotate(anna.phrase)
        engine.backups.make(backup)
        engine.ledger.export(feeds)
    with pytest.raises(PhraseReplaced):
        anna.restore_to(tmp_path / "old", feeds)
    again, restored = anna.restore_to(tmp_path / "again", backup, phrase=new)
    assert restored.account.identity == anna.view.identity
    with again.open() as engine, engine.context.store.reads() as reads:
        assert set(engine.context.all_seeds(reads)) == {0, 1}


def test_two_different_rotations_freeze_the_identity(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    backup = tmp_path / "b.hanse-backup"
    with anna.open() as engine:
        engine.backups.make(backup)
    second, _ = anna.restore_to(tmp_path / "second", backup)
    with anna.open() as engine:
        engine.accounts.rotate(anna.phrase)
    with second.open() as engine:
        engine.accounts.rotate(anna.phrase, new_phrase(SeededChance("thief").bytes(32), "en"))
    give(second, anna, tmp_path)
    give(anna, second, tmp_path)
    for person in (anna, second):
        with person.open() as engine, pytest.raises(IdentityFrozen):
            engine.accounts.rotate(anna.phrase)
    assert digest(anna) == digest(second)


# --- copied and rolled-back folders ---------------------------------------------------------


def test_a_copied_folder_is_noticed_and_signs_nothing(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    with anna.open() as engine:
        engine.accounts.edit_profile(about="original")
        engine.ledger.export(tmp_path / "sent.hanse-feed")
    copy = Person(
        "anna",
        type(anna.home)(tmp_path / "copy", tmp_path / "other-machine-config"),
        anna.phrase,
        anna.view,
        anna.clock,
        anna.chance,
    )
    shutil.copytree(anna.home.folder, copy.home.folder)
    with copy.open() as engine:
        assert engine.accounts.view().copy_state == "copied"
        with pytest.raises(CopiedDisk):
            engine.accounts.edit_profile(about="twin")
        assert engine.accounts.profile().about == "original"


def test_a_rolled_back_folder_signs_nothing(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    database = anna.home.folder / "hanse.db"
    old = database.read_bytes()
    with anna.open() as engine:
        engine.accounts.edit_profile(about="sent already")
        engine.ledger.export(tmp_path / "sent.hanse-feed")
    database.write_bytes(old)
    with anna.open() as engine:
        assert engine.accounts.view().copy_state == "older_than_sent"
        with pytest.raises(CopiedDisk):
            engine.accounts.edit_profile(about="again")


@pytest.mark.parametrize("way", ["export", "proof", "disclosure", "backup"])
def test_whatever_leaves_moves_the_high_water_mark_first_even_if_the_program_is_killed(
    tmp_path: Path, way: str
) -> None:
    anna = Person.make(tmp_path, "anna")
    with anna.open() as engine:
        engine.accounts.rotate(anna.phrase)  # writes a Private body too
    database = anna.home.folder / "hanse.db"
    old = database.read_bytes()
    engine = anna.open()
    engine.accounts.edit_profile(about="leaves in a file")
    entries = engine.ledger.show()
    sealed = next(entry for entry in entries if entry.kind == "private/1")
    match way:
        case "export":
            engine.ledger.export(tmp_path / "out")
        case "proof":
            engine.ledger.proof(entries[0].entry_id, tmp_path / "out")
        case "disclosure":
            engine.ledger.disclose(sealed.entry_id, tmp_path / "out")
        case _:
            engine.backups.make(tmp_path / "out")
    engine._stack.close()  # as a kill does: locks fall, nothing more is written
    database.write_bytes(old)
    with anna.open() as engine:
        assert engine.accounts.view().copy_state == "older_than_sent"


def test_closing_gives_the_folder_back_also_when_the_mark_cannot_be_written(
    tmp_path: Path,
) -> None:
    anna = Person.make(tmp_path, "anna")
    engine = anna.open()
    engine.accounts.edit_profile(about="new")
    shutil.rmtree(anna.home.config)
    anna.home.config.write_text("a file where the folder should be")
    with pytest.raises(HanseError):
        engine.close()
    anna.home.config.unlink()
    with anna.open() as engine:
        assert engine.accounts.profile().about == "new"


def test_a_moved_folder_goes_on(tmp_path: Path) -> None:
    anna = Person.make(tmp_path, "anna")
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(anna.home.folder, elsewhere)
    shutil.rmtree(anna.home.folder)
    anna.home = type(anna.home)(elsewhere, anna.home.config)
    with anna.open() as engine:
        assert engine.accounts.view().copy_state == "moved"
        engine.accounts.edit_profile(about="from the new place")
    with anna.open() as engine:
        assert engine.accounts.view().copy_state == "fine"


def test_a_making_that_was_killed_is_cleared_by_the_next_try(tmp_path: Path) -> None:
    leftover = tmp_path / "anna" / ".data.making"
    (leftover / "store").mkdir(parents=True)
    (leftover / "hanse.db").write_bytes(b"half written")
    anna = Person.make(tmp_path, "anna")
    assert not leftover.exists()
    with anna.open() as engine:
        assert engine.ledger.verify().holds
