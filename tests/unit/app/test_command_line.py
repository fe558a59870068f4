"""The command line: options before and after, help in two languages, clear mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hanse.app.cli_page import cli_page, help_texts
from hanse.app.columns import text_width
from hanse.app.command_line import (
    BadUsage,
    BadValue,
    FlagWithValue,
    Line,
    MissingCommand,
    MissingValue,
    OptionWithoutValue,
    UnexpectedArguments,
    UnknownCommand,
    UnknownOption,
    completion_script,
    run_line,
    translated,
)
from hanse.core.sentences import LANGUAGES
from tests.golden.make_help import GOLDEN, PAGE, golden_help


class Acts:
    """Keeps what would have been run."""

    def __init__(self, language="en"):
        self.calls = []
        self.printed = []
        self.line = Line(self._act, self.printed.append, lambda: "hanse 1", language)

    def _act(self, command, values):
        self.calls.append((" ".join(command.words), dict(values)))
        return 0

    def run(self, *arguments):
        return run_line(arguments, self.line)


@pytest.fixture
def acts():
    return Acts()


def test_a_command_gets_its_values(acts, tmp_path):
    acts.run("account", "restore", "--from", str(tmp_path / "a"), "--name", "Anna")
    [(words, values)] = acts.calls
    assert words == "account restore"
    assert values == {
        "source": tmp_path / "a",
        "mirror": False,
        "name": "Anna",
        "device_name": None,
        "phrase_file": None,
        "new_passphrase_file": None,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json", "--data-dir", "/d", "--lang", "zh", "--offline", "--yes", "account", "list"),
        ("account", "list", "--json", "--data-dir", "/d", "--lang", "zh", "--offline", "--yes"),
        ("account", "--json", "--data-dir=/d", "--lang=zh", "list", "--offline", "--yes"),
    ],
)
def test_options_of_every_command_stand_anywhere(acts, arguments):
    acts.run(*arguments)
    given = acts.line.as_given()
    assert (given.lang, given.data_dir) == ("zh_CN", Path("/d").absolute())
    assert given.is_json
    assert given.is_offline
    assert given.is_yes
    assert not given.is_verbose


def test_the_later_of_two_holds(acts):
    acts.run("--lang", "en", "account", "--lang", "zh", "list", "--lang", "en")
    assert acts.line.as_given().lang == "en"


def test_many_values_arrive_in_order(acts):
    acts.run("account", "profile", "--web", "a", "--web", "b")
    assert acts.calls[0][1]["web"] == ("a", "b")
    acts.run("ledger", "erase", "x", "y", "--reason", "r")
    assert acts.calls[1][1]["entry"] == ("x", "y")


def test_a_value_may_look_like_an_option(acts):
    acts.run("account", "profile", "--about", "--json")
    assert acts.calls[0][1]["about"] == "--json"
    assert not acts.line.as_given().is_json


@pytest.mark.parametrize(
    ("arguments", "error", "values"),
    [
        (("accont",), UnknownCommand, {"found": "accont", "nearest": "account"}),
        (("account", "lst"), UnknownCommand, {"found": "lst", "nearest": "list"}),
        (("mediator",), UnknownCommand, {"found": "mediator", "nearest": ""}),
        (("account", "list", "--ful"), UnknownOption, {"option": "--ful", "nearest": "--full"}),
        (("account",), MissingCommand, None),
        (("verify",), MissingValue, {"name": "FILE"}),
        (("account", "revoke"), MissingValue, {"name": "DEVICE"}),
        (("ledger", "erase", "x"), MissingValue, {"name": "--reason"}),
        (("ledger", "erase", "--reason", "r"), MissingValue, None),
        (("account", "create", "--name"), OptionWithoutValue, {"option": "--name"}),
        (("--data-dir",), OptionWithoutValue, {"option": "--data-dir"}),
        (("account", "list", "--full=1"), FlagWithValue, {"option": "--full"}),
        (("account", "list", "a", "b"), UnexpectedArguments, {"found": "a b"}),
        (("ledger", "show", "--tail", "x"), BadValue, None),
        (("ledger", "show", "--tail", "-1"), BadValue, None),
        (("ledger", "show", "--tail", "9" * 5000), BadValue, None),
        (("--lang", "tlh", "doctor"), BadValue, None),
        (("account", "create", "--words", "tlh"), BadValue, None),
        (("account", "revoke", "a", "--reason", "bored"), BadValue, None),
        (("--completion", "csh"), BadValue, None),
    ],
)
def test_a_mistake_is_named(acts, arguments, error, values):
    with pytest.raises(error) as caught:
        acts.run(*arguments)
    assert values is None or caught.value.values == values
    assert acts.calls == []


def test_any_other_complaint_of_the_parser_is_wrong_use_too():
    error = translated(click.UsageError("odd"))
    assert isinstance(error, BadUsage)
    assert error.values == {"detail": "odd"}


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_without_a_command_there_is_an_overview(acts, arguments):
    assert acts.run(*arguments) == 0
    assert "account" in acts.printed[0]


def test_version_is_answered_before_and_after(acts):
    acts.run("--version")
    acts.run("account", "list", "--version")
    assert acts.printed == ["hanse 1", "hanse 1"]
    assert acts.calls == []


def test_help_wins_over_what_is_missing(acts):
    assert acts.run("account", "revoke", "--help") == 0
    assert "hanse account revoke" in acts.printed[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_is_as_it_was(language):
    golden = GOLDEN / f"help_{language}.txt"
    assert golden_help(language) == golden.read_text("utf-8"), (
        "read what changed, then run: python3 -m tests.golden.make_help"
    )


def test_the_page_is_what_the_program_says():
    assert cli_page() == PAGE.read_text("utf-8"), "run: python3 -m tests.golden.make_help"


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_fits_a_terminal(language):
    for path, text in help_texts(language):
        for line in text.splitlines():
            assert text_width(line) <= 92, (path, line)


def test_chinese_help_has_no_english_sentence():
    for path, text in help_texts("zh_CN"):
        for word in ("Usage", "Options", "Show", "Commands", "default", "Print"):
            assert word not in text, (path, word)


# --- completion -----------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(acts, shell):
    acts.run("--completion", shell)
    assert "_HANSE_COMPLETE" in acts.printed[0]
    assert acts.printed[0] == completion_script(shell)


def complete(words, place, **environ):
    """Ask the program as bash does."""
    done = subprocess.run(
        [sys.executable, "-m", "hanse.app.cli"],
        env={
            **os.environ,
            "_HANSE_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(place),
            **environ,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_commands_and_options_are_completed():
    assert complete("hanse a", 1) == ["plain,account"]
    assert "plain,list" in complete("hanse account ", 2)
    assert complete("hanse account list --fu", 3) == ["plain,--full"]


def test_languages_and_folders_are_completed_before_and_after():
    assert complete("hanse --lang z", 2) == ["plain,zh_CN"]
    assert complete("hanse account list --lang ", 4) == ["plain,en", "plain,zh_CN"]
    assert complete("hanse --data-dir ", 2) == ["dir,"]
    assert complete("hanse account list --passphrase-file ", 4) == ["file,"]
    assert complete("hanse account revoke x --reason s", 5) == ["plain,stolen", "plain,sold"]


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="no bash")
def test_bash_takes_the_script(acts):
    acts.run("--completion", "bash")
    subprocess.run(["/bin/bash", "-n"], input=acts.printed[0], text=True, check=True)
