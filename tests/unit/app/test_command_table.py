"""The table of commands and the functions it names fit together."""

from __future__ import annotations

import importlib
import inspect

import pytest

from hanse.app.command_table import COMMANDS, GLOBAL_OPTIONS, REASONS, SORTS, Kind
from hanse.app.commands import listing_typed
from hanse.app.settings import Given
from hanse.core.engine import accounts
from hanse.core.market import catalogue_query

PATHS = [command.words for command in COMMANDS]


def options_of(act):
    """Return the keys of the TypedDict that ``act`` takes as the rest of its options."""
    named = act.__annotations__["typed"].removeprefix("Unpack[").removesuffix("]")
    options = getattr(listing_typed, named)
    return options.__required_keys__ | options.__optional_keys__


@pytest.mark.parametrize("command", COMMANDS, ids=lambda it: " ".join(it.words))
def test_a_command_takes_exactly_what_the_table_says(command):
    module, _, name = command.act.partition(":")
    act = getattr(importlib.import_module(f"hanse.app.commands.{module}"), name)
    desk, *rest = inspect.signature(act).parameters.values()
    assert desk.name == "desk"
    taken = {it.name for it in rest}
    if rest and rest[-1].kind is inspect.Parameter.VAR_KEYWORD:
        taken = taken - {rest.pop().name} | options_of(act)
    assert taken == {it.argument_name for it in command.parameters}
    assert all(it.kind is inspect.Parameter.KEYWORD_ONLY for it in rest)
    assert all(it.default is inspect.Parameter.empty for it in rest)


def test_every_command_stands_once():
    assert len(set(PATHS)) == len(PATHS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda it: " ".join(it.words))
def test_no_option_hides_an_option_of_every_command(command):
    every = {it.name for it in GLOBAL_OPTIONS} | {"--version", "--help", "--completion"}
    assert not every & {it.name for it in command.parameters}


def test_choices_are_those_of_the_engine():
    assert REASONS == accounts.REASONS
    assert tuple(it.replace("-", "_") for it in SORTS) == catalogue_query.SORTS
    for command in COMMANDS:
        for it in command.parameters:
            assert bool(it.choices) == (it.kind is Kind.CHOICE)


def test_every_global_option_arrives_in_the_settings():
    names = {it.argument_name for it in GLOBAL_OPTIONS}
    fields = {name.removeprefix("is_") for name in Given.__dataclass_fields__}
    assert names == fields
