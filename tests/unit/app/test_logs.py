"""The log: for this person only, rotating, and without secrets."""

from __future__ import annotations

import logging
import os
import stat
import sys
from pathlib import Path

import pytest

from hanse.app import logs
from hanse.app.logs import LOG_FILE, logging_to, redact
from hanse.core.crypto.phrase import new_phrase

SECRET = bytes(range(32))


@pytest.mark.parametrize(
    "text",
    [
        f"key {SECRET.hex()}",
        f"key {SECRET!r}",
        "passphrase=correct-horse-battery",
        "passphrase: 'correct horse battery'",
        "Password = hunter2hunter2",
        "token: abc",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        new_phrase(SECRET, "en").text,
        new_phrase(SECRET, "zh_CN").text,
        "".join(new_phrase(SECRET, "zh_CN").words),
    ],
)
def test_what_looks_like_a_secret_is_masked(text):
    shown = redact(f"Before: {text}; after")
    assert text not in shown
    assert shown.startswith("Before: ")
    for part in (SECRET.hex()[8:], "horse", "hunter2", "CAkKCwwNDg", "abc"):
        assert part not in shown
    words = new_phrase(SECRET, "en").words
    assert " ".join(words[:4]) not in shown
    assert "".join(new_phrase(SECRET, "zh_CN").words[:4]) not in shown.replace(" ", "")


@pytest.mark.parametrize(
    "text",
    [
        "opened /home/anna/.local/share/hanse/anna/ledger.sqlite",
        "rejected entry of kind profile/1 at seq 12: bad_signature",
        "wrong passphrase, nothing changed",
    ],
)
def test_what_helps_is_kept(text):
    assert redact(text) == text


def test_an_id_keeps_its_first_characters():
    assert redact(f"entry {SECRET.hex()}") == f"entry {SECRET.hex()[:8]}..."


def test_the_file_is_for_this_person_only(tmp_path):
    with logging_to(tmp_path / "log", is_verbose=False) as file:
        logging.getLogger("hanse.test").info("seen %s", SECRET.hex())
        logging.getLogger("hanse.test").debug("not seen")
    assert file == tmp_path / "log" / LOG_FILE
    text = file.read_text("utf-8")
    assert "seen 00010203..." in text
    assert "not seen" not in text
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_traceback_is_masked_too(tmp_path, caplog):
    with logging_to(tmp_path, is_verbose=False) as file:
        try:
            int(SECRET.hex() + "!")
        except ValueError:
            logging.getLogger("hanse.test").exception("it broke")
    text = file.read_text("utf-8")
    assert "Traceback" in text
    assert SECRET.hex() not in text
    assert caplog.records


def test_verbose_shows_the_log_and_more_of_it(tmp_path, capsys):
    with logging_to(tmp_path, is_verbose=True):
        logging.getLogger("hanse.test").debug("the path taken")
    assert "the path taken" in capsys.readouterr().err


def test_the_file_rotates_and_old_files_are_few(tmp_path, monkeypatch):
    most = 10_000
    assert most < logs.LOG_SIZE_BYTES_MAX
    monkeypatch.setattr(logs, "LOG_SIZE_BYTES_MAX", most)
    line = "a" * 30 + " " + "b" * 30
    with logging_to(tmp_path, is_verbose=False):
        for _ in range(5 * most // 50):
            logging.getLogger("hanse.test").info(line)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [LOG_FILE, *(f"{LOG_FILE}.{n}" for n in (1, 2, 3))]
    assert all(file.stat().st_size <= most for file in files)


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with logging_to(tmp_path / "file" / "log", is_verbose=False) as file:
        logging.getLogger("hanse.test").info("still here")
    assert file is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_loses_the_line_and_nothing_else(tmp_path, capsys):
    (tmp_path / LOG_FILE).symlink_to("/dev/full")
    with logging_to(tmp_path, is_verbose=False):
        logging.getLogger("hanse.test").info("lost")
    assert capsys.readouterr().err == ""


def test_nothing_is_left_installed(tmp_path):
    before = (list(logging.getLogger().handlers), logging.getLogger().level)
    with logging_to(tmp_path, is_verbose=True):
        pass
    assert (logging.getLogger().handlers, logging.getLogger().level) == before
    assert sys.stderr is not None
