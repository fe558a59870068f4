"""From a command of the table to the function that does it, and from plain values to its own.

What a client sends to the process that holds the folder is checked here against the table:
exactly the values of that command, each of its kind.  The module of a command is loaded when it is
run, not before.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from hanse.app.command_table import COMMANDS, Command, Kind, Parameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.app.answers import Answer
    from hanse.app.desk import Desk

PlainValue = str | int | bool | list[str] | None


class Act(Protocol):
    """A function of ``hanse.app.commands``."""

    def __call__(self, desk: Desk, /, **values: object) -> Answer:
        """Do what the command says."""
        ...


def act_of(command: Command) -> Act:
    """Load the function of a command."""
    module, _, name = command.act.partition(":")
    # The table names it; a test calls for every signature.
    return cast("Act", getattr(import_module(f"hanse.app.commands.{module}"), name))


def command_named(words: Sequence[str]) -> Command | None:
    """Return the command of these words, if there is one."""
    return next((one for one in COMMANDS if one.words == tuple(words)), None)


def plain_values(values: Mapping[str, object]) -> dict[str, PlainValue]:
    """Write the values of a command so that JSON can carry them."""
    return {name: _plain(value) for name, value in values.items()}


def typed_values(command: Command, values: Mapping[str, object]) -> dict[str, object] | None:
    """Read the values of a command from plain ones, or None when they are not its own."""
    known = {one.argument_name: one for one in command.parameters}
    if values.keys() != known.keys():
        return None
    found = {name: _typed(known[name], value) for name, value in values.items()}
    return None if any(one is _Unfit for one in found.values()) else found


class _Unfit:
    """In place of a value that is not of its kind."""


def _plain(value: object) -> PlainValue:
    match value:
        case tuple() | list():
            return [str(one) for one in value]
        case Path():
            return str(value)
        case None | bool() | int() | str():
            return value
        case _:
            raise AssertionError(f"no command takes {type(value).__name__}")


def _typed(parameter: Parameter, value: object) -> object:
    if not parameter.is_many:
        return _one(parameter.kind, value)
    if not isinstance(value, list | tuple):
        return _Unfit
    found = tuple(_one(parameter.kind, one) for one in value)
    return _Unfit if any(one is _Unfit or one is None for one in found) else found


def _one(kind: Kind, value: object) -> object:
    match kind:
        case Kind.FLAG:
            return value if isinstance(value, bool) else _Unfit
        case Kind.NUMBER:
            is_number = value is None or (isinstance(value, int) and not isinstance(value, bool))
            return value if is_number else _Unfit
        case Kind.FILE | Kind.FOLDER:
            if value is None:
                return None
            return Path(value) if isinstance(value, str) and "\0" not in value else _Unfit
        case Kind.TEXT | Kind.CHOICE | Kind.LANGUAGE:
            return value if value is None or isinstance(value, str) else _Unfit
