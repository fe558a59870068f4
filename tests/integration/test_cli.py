"""The terminal over the real engine: every command, good and bad input, both languages."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from hanse.app.command_table import COMMANDS
from hanse.core.errors import (
    EXIT_DONE,
    EXIT_ENVIRONMENT,
    EXIT_NO,
    EXIT_REFUSED,
    EXIT_WRONG_USE,
)
from tests.fakes.clock import FakeClock
from tests.fakes.terminal import PASSPHRASE, Terminal

if TYPE_CHECKING:
    from pathlib import Path

WORD_CELL = re.compile(r"(\d+) ([a-z]+)")
HAN = re.compile(r"[\u4e00-\u9fff]")
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture(autouse=True)
def _no_locale(monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)


@dataclass
class Account:
    """An Account made through the terminal."""

    folder: Path
    phrase: Path
    words: list[str]
    identity: str
    device: str


@pytest.fixture
def term(tmp_path):
    return Terminal(tmp_path)


def make(term, name="Anna"):
    folder = term.base / name
    made = term.json("account", "create", "--name", name, "--data-dir", folder, *term.secret)
    phrase = term.file(f"{name}.phrase", " ".join(made["phrase"]) + "\n")
    account = made["account"]
    return Account(folder, phrase, made["phrase"], account["identity"], account["device"])


@pytest.fixture
def anna(term):
    return make(term)


def words_shown(console):
    rows = [WORD_CELL.findall(line) for line in console.errs]
    return {int(number): word for row in rows if len(row) == 4 for number, word in row}


def right_word(console, question):
    [number] = re.findall(r"\d+", question)
    return words_shown(console)[int(number)]


# --- creating -------------------------------------------------------------------------------


def test_a_person_is_shown_the_words_once_and_asked_three_back(term):
    folder = term.base / "a"
    answers = ["Anna", PASSPHRASE, PASSPHRASE, "", right_word, right_word, right_word]
    text = term.ok("account", "create", "--data-dir", folder, answers=answers)
    shown = words_shown(term.console)
    assert sorted(shown) == list(range(1, 25))
    assert "asked back" not in text
    for word in (" ".join(shown.values()), PASSPHRASE):
        assert word not in text
    assert term.json("account", "confirm", "--data-dir", folder, piped=" ".join(
        shown[number] for number in range(1, 25)
    ))["is_phrase_confirmed"]  # fmt: skip


def test_after_three_wrong_rounds_nothing_is_made(term):
    folder = term.base / "a"
    answers = ["Anna", PASSPHRASE, PASSPHRASE, "", *["wrong"] * 9]
    assert term.run("account", "create", "--data-dir", folder, answers=answers) == EXIT_REFUSED
    assert not folder.exists()


def test_one_wrong_round_may_be_repeated(term):
    folder = term.base / "a"
    answers = ["Anna", PASSPHRASE, PASSPHRASE, "", *["wrong"] * 3, *[right_word] * 3]
    text = term.ok("account", "create", "--data-dir", folder, answers=answers)
    assert "not asked back" not in text


def test_not_being_asked_leaves_the_phrase_unconfirmed_and_says_so(term):
    folder = term.base / "a"
    answers = [PASSPHRASE, PASSPHRASE, ""]
    arguments = ("--name", "Anna", "--no-ask", "--data-dir", folder)
    text = term.ok("account", "create", *arguments, answers=answers)
    assert "hanse account confirm" in text


def test_a_script_gets_the_words_in_the_result_and_nowhere_else(term, home):
    account = make(term)
    assert len(account.words) == 24
    assert term.console.errs == []
    phrase = " ".join(account.words)
    for path in [*home.rglob("*"), *account.folder.rglob("*")]:
        if path.is_file():
            raw = path.read_bytes()
            assert phrase.encode() not in raw
            assert PASSPHRASE.encode() not in raw


def test_without_a_terminal_the_words_are_part_of_the_text(term):
    text = term.ok("account", "create", "--name", "A", "--data-dir", term.base / "a", *term.secret)
    assert "24 " in text
    assert "hanse account confirm" in text


def test_chinese_words_for_who_speaks_chinese(term):
    folder = term.base / "a"
    arguments = ("--name", "林", "--data-dir", folder, "--lang", "zh", *term.secret)
    made = term.json("account", "create", *arguments)
    assert all(HAN.fullmatch(word) for word in made["phrase"])
    assert term.json("account", "profile", "--data-dir", folder)["lang"] == "zh-CN"
    restored = term.json("account", "restore", "--name", "林", "--data-dir", term.base / "b",
                         *term.secret, piped="".join(made["phrase"]))  # fmt: skip
    assert restored["account"]["identity"] == made["account"]["identity"]


def test_accounts_lie_side_by_side_below_the_platforms_folder(term, home):
    for name in ("Anna", "Bo"):
        term.ok("account", "create", "--name", name, *term.secret)
    assert (home / "data" / "hanse" / "anna").is_dir()
    assert [it["name"] for it in term.json("account", "list")] == ["Anna", "Bo"]
    error = term.json("account", "devices", status=EXIT_WRONG_USE)
    assert error["code"] == "account.which"
    assert term.json("account", "devices", "--data-dir", home / "data" / "hanse" / "bo")


def test_the_only_account_needs_no_naming(term, monkeypatch):
    account = make(term)
    monkeypatch.setenv("HANSE_DATA_DIR", str(account.folder))
    assert term.json("account", "devices")[0]["device"] == account.device


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        (["Anna", "short", "short"], "keystore.passphrase_too_short"),
        (["Anna", PASSPHRASE, PASSPHRASE + "x"], "passphrase.mismatch"),
        (["", " ", ""], "option.needed"),
    ],
)
def test_a_bad_start_makes_nothing(term, answers, code):
    folder = term.base / "a"
    arguments = ("account", "create", "--data-dir", folder)
    assert term.json(*arguments, answers=answers, status=EXIT_WRONG_USE)["code"] == code
    assert not folder.exists()


def test_a_taken_folder_is_refused_before_any_word_is_shown(term, anna):
    answers = ["Bo", PASSPHRASE, PASSPHRASE, ""]
    status = term.run("account", "create", "--data-dir", anna.folder, answers=answers)
    assert status == EXIT_REFUSED
    assert "Anna" in term.console.err_text
    assert words_shown(term.console) == {}


def test_a_name_that_does_not_fit_is_refused(term):
    arguments = ("--name", "x" * 61, "--data-dir", term.base / "a", *term.secret)
    error = term.json("account", "create", *arguments, status=EXIT_WRONG_USE)
    assert error["code"] == "account.bad_name"
    assert not (term.base / "a").exists()


# --- passphrases ----------------------------------------------------------------------------


def test_the_passphrase_is_asked_for_or_read(term, anna):
    folder = ("--data-dir", anna.folder)
    term.ok("account", "unlock", *folder, answers=[PASSPHRASE])
    term.ok("account", "unlock", *folder, *term.secret)


@pytest.mark.parametrize("language", ["en", "zh_CN"])
def test_a_wrong_passphrase_changes_nothing(term, anna, language):
    before = (anna.folder / "keystore.hks").read_bytes()
    wrong = term.file("wrong", "another passphrase\n")
    arguments = ("--data-dir", anna.folder, "--lang", language)
    for command in (("unlock",), ("passphrase",), ("profile", "--about", "x")):
        status = term.run("account", *command, *arguments, "--passphrase-file", wrong, "--yes")
        assert status == EXIT_REFUSED
        assert bool(HAN.search(term.console.err_text)) == (language == "zh_CN")
        assert "another passphrase" not in term.console.err_text
    assert (anna.folder / "keystore.hks").read_bytes() == before


def test_without_a_way_to_ask_it_is_said_what_to_give(term, anna):
    error = term.json("account", "unlock", "--data-dir", anna.folder, status=EXIT_WRONG_USE)
    assert error["code"] == "passphrase.no_way_to_ask"
    error = term.json("account", "confirm", "--data-dir", anna.folder, status=EXIT_WRONG_USE)
    assert error["code"] == "phrase.no_way_to_ask"


def test_changing_the_passphrase(term, anna):
    folder = ("--data-dir", anna.folder)
    new = term.file("new", "quite another one\n")
    term.ok("account", "passphrase", *folder, *term.secret, "--new-passphrase-file", new)
    assert term.run("account", "unlock", *folder, *term.secret) == EXIT_REFUSED
    term.ok("account", "unlock", *folder, "--passphrase-file", new)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_passphrase_file_open_to_others_is_warned_of(term, anna):
    path = term.file("open", PASSPHRASE)
    path.chmod(0o644)
    term.ok("account", "unlock", "--data-dir", anna.folder, "--passphrase-file", path)
    assert "chmod 600" in term.console.err_text


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"\xff\xfe\xfd"])
def test_a_file_without_a_passphrase_is_named(term, anna, raw):
    path = term.base / "odd"
    path.write_bytes(raw)
    path.chmod(0o600)
    arguments = ("--data-dir", anna.folder, "--passphrase-file", path)
    error = term.json("account", "unlock", *arguments, status=EXIT_WRONG_USE)
    assert error["code"] == "secret_file.unfit"


def test_a_missing_passphrase_file_is_the_environments_fault(term, anna):
    arguments = ("--data-dir", anna.folder, "--passphrase-file", term.base / "none")
    error = term.json("account", "unlock", *arguments, status=EXIT_ENVIRONMENT)
    assert error["code"] == "file.unreadable"


class Keyring:
    """The system's keyring in memory, as a plug-in of the real package."""

    priority = 1

    def __init__(self):
        self.kept = {}

    def set_password(self, service, user, password):
        self.kept[service, user] = password

    def get_password(self, service, user):
        return self.kept.get((service, user))

    def delete_password(self, service, user):
        del self.kept[service, user]


@pytest.fixture
def system_keyring(monkeypatch):
    keyring = pytest.importorskip("keyring")
    found = Keyring()
    monkeypatch.setattr(keyring, "get_keyring", lambda: found)
    return found


def test_the_keyring_remembers_and_forgets(term, anna, system_keyring):
    folder = ("--data-dir", anna.folder)
    term.ok("account", "unlock", *folder, "--remember", *term.secret)
    assert list(system_keyring.kept.values()) == [PASSPHRASE]
    term.ok("account", "profile", "--about", "x", "--yes", *folder)

    new = term.file("new", "quite another one\n")
    term.ok("account", "passphrase", *folder, "--new-passphrase-file", new)
    assert list(system_keyring.kept.values()) == ["quite another one"]

    assert term.json("account", "lock", *folder) == {"was_remembered": True, "was_unlocked": False}
    assert system_keyring.kept == {}
    assert term.json("account", "lock", *folder) == {"was_remembered": False, "was_unlocked": False}
    assert term.run("account", "unlock", *folder) == EXIT_WRONG_USE


def test_a_keyring_that_fails_leads_to_the_next_way(term, anna, system_keyring, monkeypatch):
    folder = ("--data-dir", anna.folder)
    term.ok("account", "unlock", *folder, "--remember", *term.secret)

    def broken(*_):
        raise RuntimeError

    monkeypatch.setattr(system_keyring, "get_password", broken)
    term.ok("account", "unlock", *folder, answers=[PASSPHRASE])
    assert "keyring" in term.console.err_text
    status = term.run("account", "unlock", *folder, "--remember", answers=[PASSPHRASE])
    assert status == EXIT_ENVIRONMENT


# --- the phrase -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda words: [*words[:2], "abandom", *words[3:]], "phrase.word"),
        (lambda words: words[:23], "phrase.length"),
        (lambda words: [words[1], words[0], *words[2:]], "phrase.checksum"),
    ],
)
def test_a_phrase_that_does_not_fit_is_explained(term, anna, spoil, code):
    piped = " ".join(spoil(anna.words))
    arguments = ("--name", "A", "--data-dir", term.base / "b", *term.secret)
    error = term.json("account", "restore", *arguments, piped=piped, status=EXIT_WRONG_USE)
    assert error["code"] == code
    assert not (term.base / "b").exists()
    if code == "phrase.word":
        assert error["values"] == {"number": 3, "word": "abandom", "nearest": "abandon"}
        term.run("account", "restore", *arguments, "--lang", "zh", piped=piped)
        assert "第 3 个词" in term.console.err_text


def test_another_phrase_confirms_nothing(term, anna):
    bo = make(term, "Bo")
    arguments = ("--data-dir", anna.folder, "--phrase-file", bo.phrase)
    error = term.json("account", "confirm", *arguments, status=EXIT_REFUSED)
    assert error["code"] == "phrase.other_identity"
    assert error["values"]["expected"] == anna.identity


# --- profile --------------------------------------------------------------------------------


def test_a_profile_is_shown_changed_and_cleared(term, anna):
    folder = ("--data-dir", anna.folder)
    values = ("--about", "关于", "--web", "https://a", "--web", "https://b", "--sector", "x")
    term.ok("account", "profile", *values, *folder, *term.secret, "--yes")
    found = term.json("account", "profile", *folder)
    assert (found["name"], found["about"]) == ("Anna", "关于")
    assert found["web"] == ["https://a", "https://b"]
    assert found["identity"] == anna.identity
    term.ok("account", "profile", "--about", "", "--web", "", *folder, *term.secret, "--yes")
    found = term.json("account", "profile", *folder)
    assert (found["about"], found["web"], found["sectors"]) == ("", [], ["x"])
    assert "关于" not in term.ok("account", "profile", anna.identity, *folder)


def test_what_signs_shows_the_draft_and_takes_no_for_an_answer(term, anna):
    arguments = ("account", "profile", "--about", "new words", "--data-dir", anna.folder)
    assert term.run(*arguments, answers=[PASSPHRASE, "n"]) == EXIT_NO
    assert "new words" in term.console.err_text
    assert "Cancelled" in term.console.err_text
    assert len(term.json("ledger", "show", "--data-dir", anna.folder)) == 2
    term.ok(*arguments, "--lang", "zh", answers=[PASSPHRASE, "是"])
    assert len(term.json("ledger", "show", "--data-dir", anna.folder)) == 3


def test_nothing_is_signed_unasked_without_a_terminal(term, anna):
    arguments = ("account", "profile", "--about", "x", "--data-dir", anna.folder, *term.secret)
    error = term.json(*arguments, status=EXIT_WRONG_USE)
    assert error == {"code": "confirm.no_way_to_ask", "values": {"option": "--yes"}}


def test_the_profile_of_somebody_else_cannot_be_changed(term, anna):
    other = make(term, "Bo").identity
    arguments = ("account", "profile", other, "--about", "x", "--data-dir", anna.folder)
    assert term.json(*arguments, status=EXIT_WRONG_USE)["code"] == "profile.not_own"
    error = term.json("account", "profile", "anna", "--data-dir", anna.folder, status=2)
    assert error["code"] == "id.bad"


def test_a_picture_must_be_one(term, anna):
    arguments = ("--data-dir", anna.folder, *term.secret, "--yes")
    png = term.base / "a.png"
    png.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    term.ok("account", "profile", "--picture", png, *arguments)
    assert term.json("account", "profile", "--data-dir", anna.folder)["avatar"]
    text = term.file("a.txt", "no picture")
    assert term.run("account", "profile", "--picture", text, *arguments) == EXIT_WRONG_USE


# --- devices --------------------------------------------------------------------------------


@pytest.fixture
def lost(term, anna):
    """Anna's laptop is lost; the new one has a backup."""
    backup = term.base / "a.hanse-backup"
    term.ok("backup", "make", backup, "--data-dir", anna.folder, *term.secret)
    folder = term.base / "new"
    arguments = ("--name", "Anna", "--data-dir", folder, "--phrase-file", anna.phrase)
    made = term.json("backup", "restore", backup, *arguments, *term.secret)
    assert made["account"]["identity"] == anna.identity
    assert [it["device"] for it in made["devices"]] == [anna.device]
    return folder


def test_a_lost_device_is_revoked_by_its_first_digits(term, anna, lost):
    arguments = ("--phrase-file", anna.phrase, "--data-dir", lost, *term.secret)
    command = ("account", "revoke", anna.device[:10], "--reason", "stolen")
    assert term.run(*command, *arguments, "--yes") == EXIT_WRONG_USE
    assert "--without-peer" in term.console.err_text
    term.ok(*command, *arguments, "--yes", "--without-peer")
    states = {it["device"]: it for it in term.json("account", "devices", "--data-dir", lost)}
    assert states[anna.device]["state"] == "revoked"
    assert states[anna.device]["reason"] == "stolen"
    assert "revoked" in term.ok("account", "devices", "--data-dir", lost)


def test_revoking_asks_twice_and_warns_of_the_missing_peer(term, anna, lost):
    command = ("account", "revoke", anna.device, "--data-dir", lost)
    answers = [PASSPHRASE, "y", "n"]
    assert term.run(*command, answers=answers) == EXIT_NO
    assert "no peer has confirmed" in term.console.err_text
    term.ok(*command, answers=[PASSPHRASE, "y", "y", " ".join(anna.words)])
    states = {
        it["device"]: it["state"] for it in term.json("account", "devices", "--data-dir", lost)
    }
    assert states[anna.device] == "revoked"


@pytest.mark.parametrize("typed", ["", "ab", "0" * 64, "zzzzzzzzzz"])
def test_a_device_that_is_not_clear_is_not_revoked(term, anna, typed):
    arguments = ("--data-dir", anna.folder, *term.secret, "--yes", "--without-peer")
    error = term.json("account", "revoke", typed, *arguments, status=EXIT_WRONG_USE)
    assert error["code"] == "device.unclear"


def test_the_device_in_use_is_not_revoked(term, anna):
    arguments = ("--data-dir", anna.folder, *term.secret, "--yes", "--without-peer")
    arguments = (*arguments, "--phrase-file", anna.phrase)
    error = term.json("account", "revoke", anna.device, *arguments, status=EXIT_REFUSED)
    assert error["code"] == "account.own_device"


def test_the_root_goes_on_with_the_same_phrase(term, anna):
    arguments = ("--data-dir", anna.folder, *term.secret, "--phrase-file", anna.phrase)
    entry = term.json("account", "rotate", *arguments, "--yes", "--without-peer")["entry"]
    assert entry["kind"] == "rotate/1"
    term.ok("ledger", "verify", "--data-dir", anna.folder)


def test_the_root_goes_on_with_a_new_phrase_that_is_asked_back(term, anna):
    command = ("account", "rotate", "--new-words", "--data-dir", anna.folder)
    old = " ".join(anna.words)
    answers = [PASSPHRASE, "y", "y", old, "", right_word, right_word, right_word]
    text = term.ok(*command, answers=answers)
    assert "asked back" not in text
    shown = words_shown(term.console)
    new = " ".join(shown[number] for number in range(1, 25))
    assert term.run("account", "confirm", "--data-dir", anna.folder, piped=new) == EXIT_DONE
    error = term.json(
        "account", "confirm", "--data-dir", anna.folder, piped=old, status=EXIT_REFUSED
    )
    assert error["code"] == "phrase.replaced"


def test_a_restore_from_the_phrase_alone_says_what_is_missing(term, anna):
    arguments = ("--name", "Anna", "--data-dir", term.base / "b", *term.secret)
    text = term.ok("account", "restore", *arguments, "--phrase-file", anna.phrase)
    assert "hanse ledger import" in text


# --- ledger and files -----------------------------------------------------------------------


@pytest.fixture
def export(term, anna):
    path = term.base / "a.hanse-feed"
    term.ok("account", "profile", "--about", "x", "--data-dir", anna.folder, *term.secret, "--yes")
    term.ok("ledger", "export", path, "--data-dir", anna.folder)
    return path


def test_entries_travel_in_a_file(term, anna, export):
    bo = make(term, "Bo")
    report = term.json("ledger", "import", export, "--data-dir", bo.folder)
    assert report["accepted"] == 4
    assert report["rejected"] == []
    again = term.json("ledger", "import", export, "--data-dir", bo.folder)
    assert (again["accepted"], again["known"]) == (0, 4)
    assert term.json("account", "profile", anna.identity, "--data-dir", bo.folder)["about"] == "x"
    owned = {
        it["author"]: it["is_own"] for it in term.json("ledger", "feeds", "--data-dir", bo.folder)
    }
    assert owned[anna.device] is False
    everything = term.base / "all.hanse-feed"
    report = term.json("ledger", "export", everything, "--everything", "--data-dir", bo.folder)
    assert report["feeds"] == 4


def test_an_export_is_verified_without_an_account(term, export):
    assert "Everything holds." in term.ok("verify", export)
    assert "全部成立。" in term.ok("verify", export, "--lang", "zh")


@pytest.mark.parametrize("spoil", [lambda raw: raw[:-3], lambda raw: raw[:300] + b"\0" + raw[301:]])
def test_a_damaged_export_is_named_with_its_place(term, export, spoil):
    export.write_bytes(spoil(export.read_bytes()))
    assert term.run("verify", export) == EXIT_NO
    assert re.search(r"frame \d+|byte \d+", term.console.out_text)
    error = term.json("verify", export, status=EXIT_NO)
    assert error["code"] == "verification.failed"
    assert json.loads(term.console.out_text)["result"]["faults"]


def test_a_damaged_import_is_a_no_that_keeps_what_held(term, export):
    bo = make(term, "Bo")
    export.write_bytes(export.read_bytes()[:-3])
    assert term.run("ledger", "import", export, "--data-dir", bo.folder) == EXIT_NO
    assert "accepted" in term.console.out_text
    term.ok("ledger", "verify", "--data-dir", bo.folder)


@pytest.mark.parametrize(
    ("command", "code"), [(("verify",), "verify.unknown_file"), (("ledger", "import"), None)]
)
def test_a_file_of_another_kind_is_wrong_use(term, anna, command, code):
    path = term.file("a.txt", "hello")
    error = term.json(*command, path, "--data-dir", anna.folder, status=EXIT_WRONG_USE)
    assert code is None or error["code"] == code


@pytest.mark.parametrize("command", [("verify",), ("ledger", "import"), ("backup", "drill")])
def test_a_file_that_cannot_be_read_is_the_environments_fault(term, anna, command):
    arguments = ("--data-dir", anna.folder)
    if command[0] == "backup":
        arguments = (*arguments, "--phrase-file", anna.phrase)
    for path in (term.base / "none", term.base):
        error = term.json(*command, path, *arguments, status=EXIT_ENVIRONMENT)
        assert error["code"] == "file.unreadable"


def test_nothing_is_overwritten(term, anna, export):
    before = export.read_bytes()
    folder = ("--data-dir", anna.folder)
    entry = term.json("ledger", "show", *folder)[0]["entry_id"]
    for command in (("ledger", "export"), ("backup", "make"), ("ledger", "proof", entry)):
        error = term.json(*command, export, *folder, *term.secret, status=EXIT_REFUSED)
        assert error["code"] == "file.exists"
    error = term.json("doctor", "--bundle", export, *folder, status=EXIT_REFUSED)
    assert error["code"] == "file.exists"
    assert export.read_bytes() == before


@pytest.mark.usefixtures("export")
def test_a_proof_of_one_entry_verifies(term, anna):
    folder = ("--data-dir", anna.folder)
    first, *_, last = term.json("ledger", "show", *folder)
    path = term.base / "a.hanse-proof"
    term.ok("ledger", "proof", first["entry_id"], path, *folder)
    assert "Proved" in term.ok("verify", path)
    arguments = (last["entry_id"], term.base / "b", *folder)
    error = term.json("ledger", "proof", *arguments, status=EXIT_REFUSED)
    assert error["code"] == "ledger.no_later_header"


@pytest.mark.usefixtures("export")
def test_erasing_asks_and_erases(term, anna):
    folder = ("--data-dir", anna.folder)
    entry = term.json("ledger", "show", *folder)[1]["entry_id"]
    command = ("ledger", "erase", entry, "--reason", "old", *folder)
    assert term.run(*command, answers=[PASSPHRASE, ""]) == EXIT_NO
    term.ok(*command, answers=[PASSPHRASE, "y"])
    states = [it["body_state"] for it in term.json("ledger", "show", *folder)]
    assert states == ["here", "erased", "here", "here"]
    too_many = [f"{number:064x}" for number in range(65)]
    error = term.json("ledger", "erase", *too_many, "--reason", "x", *folder, status=2)
    assert error["code"] == "ledger.too_many_to_erase"


def test_a_private_body_is_disclosed_to_a_file(term, anna):
    folder = ("--data-dir", anna.folder)
    arguments = (*folder, *term.secret, "--yes")
    term.ok("account", "rotate", *arguments, "--without-peer", "--phrase-file", anna.phrase)
    private = [it for it in term.json("ledger", "show", *folder) if it["kind"] == "private/1"]
    entry = private[0]["entry_id"]
    path = term.base / "a.hanse-disclosure"
    error = term.json("ledger", "disclose", entry, *arguments, status=EXIT_WRONG_USE)
    assert error["code"] == "disclose.nowhere"
    term.ok("ledger", "disclose", entry, path, *arguments)
    assert "Proved" in term.ok("verify", path)


def test_an_entry_that_is_not_here_is_named(term, anna):
    folder = ("--data-dir", anna.folder)
    missing = "ab" * 32
    error = term.json("ledger", "proof", missing, term.base / "p", *folder, status=EXIT_WRONG_USE)
    assert error["code"] == "ledger.unknown_entry"
    error = term.json("ledger", "show", "--author", missing, *folder, status=EXIT_WRONG_USE)
    assert error["code"] == "ledger.unknown_feed"
    error = term.json("ledger", "show", "--author", "ab", *folder, status=EXIT_WRONG_USE)
    assert error["code"] == "id.bad"


@pytest.mark.usefixtures("export")
def test_the_tables_are_rebuilt_and_shown(term, anna):
    folder = ("--data-dir", anna.folder)
    term.ok("ledger", "rebuild", *folder)
    assert "Everything holds." in term.ok("ledger", "verify", *folder)
    entries = term.json("ledger", "show", *folder)
    text = term.ok("ledger", "show", *folder)
    assert entries[0]["entry_id"][:12] in text
    assert entries[0]["entry_id"] not in text
    assert entries[0]["entry_id"] in term.ok("ledger", "show", "--full", *folder)
    assert term.ok("ledger", "show", "--kind", "follow/1", *folder) == "No such entries."
    assert len(term.json("ledger", "show", "--tail", "1", *folder)) == 1


# --- backups --------------------------------------------------------------------------------


def test_a_backup_is_tried_without_touching_anything(term, anna):
    path = term.base / "a.hanse-backup"
    term.ok("backup", "make", path, "--data-dir", anna.folder, *term.secret)
    assert "relied on" in term.ok("backup", "drill", path, "--phrase-file", anna.phrase)
    assert term.run("verify", path) == EXIT_WRONG_USE
    bo = make(term, "Bo")
    error = term.json("backup", "drill", path, "--phrase-file", bo.phrase, status=EXIT_REFUSED)
    assert error["code"] == "backup.wrong_phrase"
    raw = path.read_bytes()
    path.write_bytes(raw[:-10])
    error = term.json("backup", "drill", path, "--phrase-file", anna.phrase, status=4)
    assert error["code"] == "backup.damaged"


# --- the folder -----------------------------------------------------------------------------


HOLD = """
import sys
from pathlib import Path
from hanse.core.keystore.guards import FolderLock
with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(anna):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(anna.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "held\n"
    yield child
    child.communicate()


@pytest.mark.parametrize("language", ["en", "zh_CN"])
def test_a_second_process_is_refused_and_told_who_holds_the_folder(term, anna, held, language):
    arguments = ("--data-dir", anna.folder, *term.secret, "--lang", language)
    assert term.run("account", "unlock", *arguments) == EXIT_ENVIRONMENT
    assert f"process {held.pid}" in term.console.err_text
    assert bool(HAN.search(term.console.err_text)) == (language == "zh_CN")
    term.ok("ledger", "show", *arguments)  # looking is always possible
    found = term.findings("--data-dir", anna.folder)
    assert "store.locked" in {it["code"] for it in found}


@pytest.mark.parametrize(
    "command", [("account", "unlock"), ("ledger", "show"), ("ledger", "verify")]
)
def test_a_database_of_a_newer_hanse_is_left_alone(term, anna, command):
    path = anna.folder / "hanse.db"
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    arguments = ("--data-dir", anna.folder, *term.secret)
    error = term.json(*command, *arguments, status=EXIT_REFUSED)
    assert error["code"] == "store.schema_too_new"
    term.run(*command, *arguments, "--lang", "zh")
    assert "新版" in term.console.err_text
    assert path.read_bytes() == before


def test_a_database_that_is_none_is_named(term, anna):
    (anna.folder / "hanse.db").write_bytes(b"not a database" * 1000)
    error = term.json("ledger", "show", "--data-dir", anna.folder, status=EXIT_ENVIRONMENT)
    assert error["code"] == "store.damaged"
    assert "store.damaged" in {it["code"] for it in term.findings("--data-dir", anna.folder)}


def test_a_damaged_keystore_is_named(term, anna):
    (anna.folder / "keystore.hks").write_bytes(b"HANSEKEY\1junk")
    arguments = ("--data-dir", anna.folder, *term.secret)
    error = term.json("account", "unlock", *arguments, status=EXIT_ENVIRONMENT)
    assert error["code"] == "keystore.damaged"


def test_a_copied_folder_signs_nothing(term, anna):
    copy = term.base / "copy"
    term.ok("account", "profile", "--about", "x", "--data-dir", anna.folder, *term.secret, "--yes")
    shutil.copytree(anna.folder, copy)
    term.ok("account", "profile", "--about", "y", "--data-dir", anna.folder, *term.secret, "--yes")
    arguments = ("--about", "z", "--data-dir", copy, *term.secret, "--yes")
    error = term.json("account", "profile", *arguments, status=EXIT_REFUSED)
    assert error["code"] == "store.copied"
    term.ok("ledger", "show", "--data-dir", copy)
    assert "store.copied" in {it["code"] for it in term.findings("--data-dir", copy)}


@pytest.mark.skipif(AS_ROOT or os.name != "posix", reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_named(term, anna):
    anna.folder.chmod(0o500)
    (anna.folder / "hanse.lock").chmod(0o400)
    arguments = ("--data-dir", anna.folder, *term.secret)
    try:
        error = term.json("account", "unlock", *arguments, status=EXIT_ENVIRONMENT)
    finally:
        anna.folder.chmod(0o700)
    assert error["code"] == "store.not_writable"


def test_a_place_where_no_folder_can_be_made_is_named(term):
    taken = term.file("taken", "")
    arguments = ("--name", "A", "--data-dir", taken / "a", *term.secret)
    error = term.json("account", "create", *arguments, status=EXIT_ENVIRONMENT)
    assert error["code"] in {"store.not_writable", "file.unreadable"}


@pytest.mark.parametrize("language", ["en", "zh_CN"])
@pytest.mark.parametrize(
    "command",
    [it.words for it in COMMANDS if it.words[0] in {"account", "ledger"}],
    ids=" ".join,
)
def test_without_an_account_every_command_says_so_or_does_not_need_one(term, command, language):
    needed = {
        ("account", "create"): ["--name", "A"],
        ("account", "restore"): ["--name", "A"],
        ("account", "revoke"): ["ab" * 32],
        ("ledger", "export"): [term.base / "x"],
        ("ledger", "import"): [term.base / "x"],
        ("ledger", "disclose"): ["ab" * 32, "--public"],
        ("ledger", "erase"): ["ab" * 32, "--reason", "x"],
        ("ledger", "proof"): ["ab" * 32, term.base / "x"],
    }
    arguments = (*needed.get(command, []), "--data-dir", term.base / "none", "--lang", language)
    status = term.run(*command, *arguments)
    text = term.console.err_text or term.console.out_text
    assert status == (EXIT_DONE if command == ("account", "list") else EXIT_WRONG_USE)
    assert bool(HAN.search(text)) == (language == "zh_CN")
    assert "Traceback" not in text
    assert not (term.base / "none").exists()


# --- doctor and demo ------------------------------------------------------------------------


def test_the_doctor_finds_a_good_account_fine(term, anna):
    found = term.findings("--data-dir", anna.folder)
    wrong = [it for it in found if it["state"] == "wrong"]
    assert all(it["code"] == "doctor.library_missing" for it in wrong)
    assert "doctor.opens" in {it["code"] for it in found}


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_the_doctor_finds_a_folder_open_to_others(term, anna):
    anna.folder.chmod(0o755)
    assert term.run("doctor", "--data-dir", anna.folder) == EXIT_NO
    assert "chmod 700" in term.console.out_text
    term.run("doctor", "--data-dir", anna.folder, "--lang", "zh")
    assert "对他人开放" in term.console.out_text


def test_the_doctor_finds_a_clock_that_is_behind(term, anna):
    term.clock = FakeClock(1_000_000_000_000)
    codes = {it["code"] for it in term.findings("--data-dir", anna.folder)}
    assert {"doctor.clock_behind", "doctor.clock_before_entry"} <= codes


def test_the_bundle_is_redacted_and_for_this_person_only(term, anna, home):
    path = term.base / "bundle.zip"
    term.run("doctor", "--data-dir", anna.folder, "--bundle", path)
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        text = "".join(archive.read(name).decode() for name in names)
    assert {"report.json", "report.txt", "hanse.log"} <= names
    assert str(home) not in text
    assert " ".join(anna.words[:3]) not in text
    assert PASSPHRASE not in text


@pytest.mark.parametrize("language", [pytest.param("en", marks=pytest.mark.slow), "zh_CN"])
def test_the_demo_runs_in_both_languages(term, language):
    text = term.ok("demo", "--quick", "--lang", language)
    # The article's model and half of the questions are Chinese in both.
    told = [line for line in text.splitlines() if "Bo " not in line and "图像" not in line]
    assert all(HAN.search(line) for line in told) == (language == "zh_CN")
    assert any(HAN.search(line) for line in told) == (language == "zh_CN")


# --- a whole process at full cost -----------------------------------------------------------


def test_the_real_program_creates_and_unlocks(term):
    folder = term.base / "real"

    def process(*arguments):
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "hanse.app.cli", *map(str, arguments)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            check=False,
        )

    done = process("account", "create", "--name", "A", "--data-dir", folder, *term.secret, "--json")
    assert done.returncode == EXIT_DONE, done.stderr
    assert done.stderr == ""
    assert len(json.loads(done.stdout)["result"]["phrase"]) == 24
    done = process("account", "unlock", "--data-dir", folder, *term.secret, "--lang", "zh")
    assert done.returncode == EXIT_DONE, done.stderr
    assert HAN.search(done.stdout)
    wrong = term.file("wrong", "not the passphrase\n")
    done = process("account", "unlock", "--data-dir", folder, "--passphrase-file", wrong)
    assert done.returncode == EXIT_REFUSED
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")
@pytest.mark.usefixtures("term")
def test_a_passphrase_typed_at_a_terminal_is_not_shown(anna):
    try:
        ours, theirs = os.openpty()
    except OSError as error:
        pytest.skip(f"this system gives no pseudo-terminal: {error}")
    child = subprocess.Popen(
        [sys.executable, "-m", "hanse.app.cli", "account", "unlock", "--data-dir", anna.folder],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,  # without a terminal of its own it must use the one given
    )
    os.close(theirs)
    shown = b""
    while b"Passphrase:" not in shown:
        shown += os.read(ours, 1024)
    os.write(ours, PASSPHRASE.encode() + b"\n")
    said, _ = child.communicate()
    with suppress(OSError):  # the other end is closed
        shown += os.read(ours, 1024)
    os.close(ours)
    assert child.returncode == EXIT_DONE
    assert b"opens the account Anna" in said
    assert PASSPHRASE.encode() not in shown
