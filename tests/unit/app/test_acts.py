"""What a client sends is a command of the table with exactly its values, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hanse.app.acts import command_named, plain_values, typed_values
from hanse.app.command_table import COMMANDS, Kind

PLAIN = {
    Kind.TEXT: "text",
    Kind.FLAG: True,
    Kind.NUMBER: 7,
    Kind.FILE: Path("/a/b"),
    Kind.FOLDER: Path("/a"),
    Kind.CHOICE: "one",
    Kind.LANGUAGE: "en",
}


def values_of(command):
    return {
        it.argument_name: (PLAIN[it.kind],) * 2 if it.is_many else PLAIN[it.kind]
        for it in command.parameters
    }


@pytest.mark.parametrize("command", COMMANDS, ids=lambda it: " ".join(it.words))
def test_the_values_of_every_command_survive_the_way(command):
    assert command_named(list(command.words)) is command
    for values in (
        values_of(command),
        {
            it.argument_name: () if it.is_many else False if it.kind is Kind.FLAG else None
            for it in command.parameters
        },
    ):
        sent = json.loads(json.dumps(plain_values(values)))
        assert typed_values(command, sent) == values


def test_a_name_that_is_no_utf8_survives_the_way():
    command = command_named(("ledger", "import"))
    values = {"path": Path("/a/\udcff")}
    assert typed_values(command, json.loads(json.dumps(plain_values(values)))) == values


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (("account", "devices"), {}),
        (("account", "devices"), {"full": True, "more": True}),
        (("account", "devices"), {"full": 1}),
        (("account", "devices"), {"full": None}),
        (("job", "pause"), {"job": True}),
        (("job", "pause"), {"job": "1"}),
        (("ledger", "import"), {"path": 5}),
        (("ledger", "import"), {"path": "a\0b"}),
        (("ledger", "erase"), {"entry": "ab", "reason": "x"}),
        (("ledger", "erase"), {"entry": [None], "reason": "x"}),
        (("ledger", "erase"), {"entry": ["ab"], "reason": ["x"]}),
    ],
    ids=range(11),
)
def test_values_that_are_not_the_commands_own_are_none(words, values):
    assert typed_values(command_named(words), values) is None


def test_unknown_words_name_nothing():
    assert command_named(("account",)) is None
    assert command_named(()) is None


def test_commands_that_make_or_need_no_account_stay_in_the_client():
    local = {" ".join(it.words) for it in COMMANDS if it.is_local}
    assert local == {
        *("account create", "account restore", "account list"),
        *("backup restore", "backup drill", "verify", "doctor", "demo", "node"),
    }
    run = command_named(("run",))
    assert run.stays_here({"stdin": True})
    assert not run.stays_here({"stdin": False})
