"""One command line in, one answer and one exit code out; nothing heavy for help."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from hanse.app import cli
from hanse.app.answers import Answer
from hanse.app.bootstrap import Bootstrap
from hanse.app.cli import EXIT_BROKEN_PIPE, EXIT_INTERRUPTED, EXIT_OUR_BUG, main
from hanse.core.errors import (
    EXIT_DONE,
    EXIT_ENVIRONMENT,
    EXIT_NO,
    EXIT_REFUSED,
    EXIT_WRONG_USE,
    StoreFull,
    VerificationFailed,
    WrongPassphrase,
)
from hanse.core.sentences import LANGUAGES
from tests.fakes.console import FakeConsole

HEAVY = ("sqlalchemy", "alembic", "numpy", "PySide6", "libp2p", "trio", "onnxruntime", "nacl")


@pytest.fixture
def act(monkeypatch):
    """Put a function in the place of every command."""

    def put(function):
        monkeypatch.setattr(cli, "act_of", lambda _command: function)

    return put


def run(*arguments, console=None, **environ):
    console = console or FakeConsole()
    status = main(arguments, Bootstrap(console=console, environ=environ))
    return status, console


def raising(error):
    def act(_desk, **_values):
        raise error

    return act


def test_an_answer_is_printed_as_text_or_as_one_object(act):
    act(lambda _desk, **_values: Answer({"n": 1}, ["one", "two"]))
    status, console = run("doctor")
    assert (status, console.outs) == (EXIT_DONE, ["one\ntwo"])
    status, console = run("doctor", "--json")
    assert (status, [json.loads(one) for one in console.outs]) == (
        EXIT_DONE,
        [{"ok": True, "result": {"n": 1}}],
    )


def test_an_answer_of_no_is_shown_whole(act):
    refusal = VerificationFailed(where="x", reason="y")
    act(lambda _desk, **_values: Answer({"n": 1}, ["found"], refusal))
    status, console = run("doctor")
    assert (status, console.outs, console.errs) == (EXIT_NO, ["found"], [])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WrongPassphrase(), EXIT_REFUSED),
        (StoreFull(path="p"), EXIT_ENVIRONMENT),
        (VerificationFailed(where="a", reason="b"), EXIT_NO),
    ],
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_error_is_one_sentence_and_its_exit_code(act, error, code, language):
    act(raising(error))
    status, console = run("--lang", language, "doctor")
    assert status == code
    assert console.outs == []
    [sentence] = console.errs
    assert sentence.startswith("hanse")
    assert "\n" not in sentence
    assert bool(re.search(r"[\u4e00-\u9fff]", sentence)) == (language == "zh_CN")


def test_an_error_is_one_object_with_json(act):
    act(raising(StoreFull(path="p")))
    status, console = run("doctor", "--json")
    assert status == EXIT_ENVIRONMENT
    assert console.errs == []
    assert [json.loads(one) for one in console.outs] == [
        {"ok": False, "error": {"code": "store.full", "values": {"path": "p"}}}
    ]


def test_a_mistake_on_the_command_line_is_said_in_the_language_asked_for():
    for arguments in (("--lang", "zh_CN", "accont"), ("--lang=zh_CN", "accont")):
        status, console = run(*arguments)
        assert status == EXIT_WRONG_USE
        assert "没有命令 accont" in console.err_text
    _, console = run("accont", HANSE_LANG="zh")
    assert "没有命令" in console.err_text


def test_a_mistake_on_the_command_line_is_json_when_asked_for():
    status, console = run("--json", "accont")
    assert status == EXIT_WRONG_USE
    assert json.loads(console.out_text)["error"] == {
        "code": "usage.unknown_command",
        "values": {"found": "accont", "nearest": "account"},
    }


def test_what_follows_two_dashes_is_no_option():
    status, console = run("account", "list", "--", "--json", "--lang", "zh_CN")
    assert status == EXIT_WRONG_USE
    assert console.outs == []
    assert "--json" in console.err_text
    assert not re.search(r"[\u4e00-\u9fff]", console.err_text)


@pytest.mark.logs
def test_our_bug_is_one_sentence_and_its_traceback_is_in_the_log(act, home):
    act(raising(ZeroDivisionError("secret" + "ab" * 32)))
    status, console = run("doctor")
    assert status == EXIT_OUR_BUG
    [sentence] = console.errs
    assert "ZeroDivisionError" in sentence
    assert "Traceback" not in sentence
    [log] = home.rglob("hanse.log")
    assert str(log) in sentence
    text = log.read_text("utf-8")
    assert "Traceback" in text
    assert "ab" * 32 not in text


@pytest.mark.logs
def test_our_bug_is_said_even_without_a_log(act, home, monkeypatch):
    (home / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "file"))
    act(raising(ZeroDivisionError()))
    status, console = run("doctor", "--json")
    assert status == EXIT_OUR_BUG
    assert json.loads(console.out_text)["ok"] is False


@pytest.mark.parametrize("error", [KeyboardInterrupt(), EOFError()])
def test_an_interruption_is_one_line(act, error):
    act(raising(error))
    status, console = run("doctor")
    assert status == EXIT_INTERRUPTED
    assert len(console.errs) == 1


def test_a_wrong_setting_is_an_error_in_the_right_language(home):
    folder = home / "config" / "hanse"
    folder.mkdir(parents=True)
    (folder / "settings.toml").write_text('lang = "zh"\n', "utf-8")
    _, console = run("accont")
    assert "没有命令" in console.err_text
    (folder / "settings.toml").write_text("langg = 1\n", "utf-8")
    status, console = run("account", "list")
    assert status == EXIT_WRONG_USE
    assert "langg" in console.err_text


# --- whole processes ------------------------------------------------------------------------


def process(*arguments, code=None, **environ):
    command = ["-c", code] if code else ["-m", "hanse.app.cli"]
    return subprocess.run(
        [sys.executable, "-W", "error", *command, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], [], ["account", "create", "--help"], ["accont"]]
)
def test_help_and_version_load_nothing_heavy(arguments):
    code = (
        "import sys; from hanse.app.cli import main; main(sys.argv[1:]); "
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = process(*arguments, code=code)
    assert done.stderr.decode().splitlines()[-1] == "[]"


def test_version_is_one_line():
    done = process("--version")
    assert re.fullmatch(rb"hanse \d+\.\d+\.\S+\s+", done.stdout)
    assert done.stderr == b""


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "gbk", "utf-8"])
def test_any_console_gets_utf8(encoding):
    done = process("--help", "--lang", "zh_CN", PYTHONIOENCODING=encoding)
    assert done.returncode == EXIT_DONE
    assert "用法" in done.stdout.decode("utf-8")


def test_the_c_locale_speaks_english_unless_told_otherwise():
    plain = {"LC_ALL": "C", "LANG": "C"}
    assert b"Usage" in process("--help", **plain).stdout
    assert "用法" in process("--help", "--lang", "zh_CN", **plain).stdout.decode("utf-8")
    assert "用法" in process("--help", LC_ALL="zh_CN.UTF-8").stdout.decode("utf-8")


@pytest.mark.skipif(os.name != "posix", reason="pipes that break are POSIX here")
def test_a_reader_that_goes_away_is_no_error():
    child = subprocess.Popen(
        [sys.executable, "-m", "hanse.app.cli", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    child.stdout.close()
    _, said = child.communicate()
    assert said == b""
    assert child.returncode == EXIT_BROKEN_PIPE
