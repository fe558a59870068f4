"""The command line as click reads it, built from the table of commands for one language.

* Options of every command are taken before and after it; the later one holds.
* Help is set by ``hanse.app.columns``, which knows how wide Chinese is.
* What click finds wrong becomes one of our errors, with a sentence in the
  person's language; what it leaves to us (kinds of values, missing commands) is
  checked here.

Nothing is run here: a command is handed to ``Line.act`` with its values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click
from click.shell_completion import CompletionItem

from hanse.app import columns
from hanse.app.command_table import COMMANDS, GLOBAL_OPTIONS, SHELLS, Command, Kind, Parameter
from hanse.app.settings import Given
from hanse.core.errors import WrongUse
from hanse.core.sentences import LANGUAGES, language_of, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PROGRAM: Final = "hanse"

_HELP_WIDTH: Final = 88
_TERM_WIDTH: Final = 30
_NUMBER_MAX: Final = 2**31 - 1


class UnknownOption(WrongUse):
    """An option that does not exist."""

    code = "usage.unknown_option"
    text = "no such option: {option} (nearest: {nearest})"
    fields = ("option", "nearest")


class UnknownCommand(WrongUse):
    """A command that does not exist."""

    code = "usage.unknown_command"
    text = "no such command: {found} (nearest: {nearest})"
    fields = ("found", "nearest")


class MissingCommand(WrongUse):
    """A group of commands without the command."""

    code = "usage.missing_command"
    text = "{group} needs a command: {known}"
    fields = ("group", "known")


class MissingValue(WrongUse):
    """An argument or option that must be given is not."""

    code = "usage.missing_value"
    text = "{name} is missing"
    fields = ("name",)


class OptionWithoutValue(WrongUse):
    """An option that takes a value has none."""

    code = "usage.option_needs_value"
    text = "{option} needs a value"
    fields = ("option",)


class FlagWithValue(WrongUse):
    """An option that takes no value has one."""

    code = "usage.option_takes_none"
    text = "{option} takes no value"
    fields = ("option",)


class UnexpectedArguments(WrongUse):
    """More arguments than the command takes."""

    code = "usage.unexpected"
    text = "unexpected: {found}"
    fields = ("found",)


class BadValue(WrongUse):
    """A value of the wrong kind."""

    code = "usage.bad_value"
    text = "{name} cannot be {found}, it must be {expected}"
    fields = ("name", "found", "expected")


class BadUsage(WrongUse):
    """Anything else the command line parser refuses."""

    code = "usage.other"
    text = "{detail}"
    fields = ("detail",)


@dataclass
class Line:
    """One command line: what to do with it, and what was given for every command."""

    act: Callable[[Command, Mapping[str, object]], int]
    print_text: Callable[[str], None]
    version: Callable[[], str]
    language: str
    given: dict[str, object] = field(default_factory=dict)

    def say(self, code: str, **values: object) -> str:
        """Say a sentence in the language of the help."""
        return say(code, values, self.language)

    def as_given(self) -> Given:
        """Return the options of every command."""
        folder, file = self.given.get("data_dir"), self.given.get("passphrase_file")
        lang = self.given.get("lang")
        return Given(
            lang=lang if isinstance(lang, str) else None,
            data_dir=folder if isinstance(folder, Path) else None,
            passphrase_file=file if isinstance(file, Path) else None,
            is_offline=self.given.get("offline") is True,
            is_verbose=self.given.get("verbose") is True,
            is_json=self.given.get("json") is True,
            is_yes=self.given.get("yes") is True,
        )


def run_line(arguments: Sequence[str], line: Line) -> int:
    """Read the arguments and run what they name; raise a ``WrongUse`` if they name nothing."""
    tree = command_tree(line)
    try:
        # Not ``tree.main``, which has its own ideas about interrupts and broken pipes.
        with tree.make_context(PROGRAM, list(arguments)) as ctx:
            status = tree.invoke(ctx)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        raise translated(error) from None
    assert isinstance(status, int)
    return status


def command_tree(line: Line) -> click.Group:
    """Build the tree of commands for one language."""
    root = _Group(line, (), "overview")
    root.params = [*_global_options(line), _completion_option(line)]
    for command in COMMANDS:
        parent: click.Group = root
        for depth, word in enumerate(command.words[:-1], start=1):
            words = command.words[:depth]
            if word not in parent.commands:
                group = _Group(line, words, "help." + ".".join(words))
                group.params = _global_options(line)
                parent.add_command(group, word)
            found = parent.commands[word]
            assert isinstance(found, click.Group)
            parent = found
        parent.add_command(_Leaf(line, command), command.words[-1])
    return root


def translated(error: click.ClickException) -> WrongUse:
    """Turn what click found wrong into an error of ours."""
    match error:
        case click.NoSuchOption():
            nearest = ", ".join(sorted(error.possibilities or ()))
            return UnknownOption(option=error.option_name, nearest=nearest)
        case click.exceptions.NoSuchCommand():
            nearest = ", ".join(sorted(error.possibilities or ()))
            return UnknownCommand(found=error.command_name, nearest=nearest)
        case click.MissingParameter() if error.param is not None:
            is_option = isinstance(error.param, click.Option)
            name = error.param.opts[0] if is_option else error.param.make_metavar(_context(error))
            return MissingValue(name=name)
        case click.BadOptionUsage():
            if _is_flag(error.option_name):
                return FlagWithValue(option=error.option_name)
            return OptionWithoutValue(option=error.option_name)
        case _:
            return BadUsage(detail=error.format_message())


def _context(error: click.UsageError) -> click.Context:
    return error.ctx or click.Context(click.Command(None))


def _is_flag(name: str) -> bool:
    known = [*GLOBAL_OPTIONS, *(one for command in COMMANDS for one in command.parameters)]
    return any(one.name == name and one.kind is Kind.FLAG for one in known)


# --- kinds of values ------------------------------------------------------------------------


class _Value(click.ParamType[object]):
    """A value of the table's kinds: checked here, worded by us."""

    def __init__(self, parameter: Parameter) -> None:
        self.name = parameter.kind.value
        self._parameter = parameter

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        if not isinstance(value, str):
            return value
        del param, ctx
        match self._parameter.kind:
            case Kind.NUMBER:
                return self._number(value)
            case Kind.FILE | Kind.FOLDER:
                return Path(value).expanduser().absolute()
            case Kind.LANGUAGE:
                return language_of(value) or self._refuse(value, LANGUAGES)
            case Kind.CHOICE:
                return value if value in self._parameter.choices else self._refuse_choice(value)
            case Kind.TEXT | Kind.FLAG:
                return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        del ctx, param
        match self._parameter.kind:
            case Kind.FILE:
                return [CompletionItem(incomplete, type="file")]
            case Kind.FOLDER:
                return [CompletionItem(incomplete, type="dir")]
            case Kind.LANGUAGE:
                known: Sequence[str] = LANGUAGES
            case _:
                known = self._parameter.choices
        return [CompletionItem(one) for one in known if one.startswith(incomplete)]

    def _number(self, text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = -1
        if not 0 <= number <= _NUMBER_MAX:
            self._refuse(text, (f"0 - {_NUMBER_MAX}",))
        return number

    def _refuse_choice(self, found: str) -> NoReturn:
        self._refuse(found, self._parameter.choices)

    def _refuse(self, found: str, expected: Sequence[str]) -> NoReturn:
        raise BadValue(name=self._parameter.name, found=found, expected=", ".join(expected))


def _built(line: Line, parameter: Parameter) -> click.Parameter:
    metavar = line.say(parameter.metavar) if parameter.metavar else None
    if parameter.kind is Kind.CHOICE:
        metavar = "[" + "|".join(parameter.choices) + "]"
    if not parameter.is_option:
        return click.Argument(
            [parameter.argument_name],
            type=_Value(parameter),
            required=parameter.is_required,
            nargs=-1 if parameter.is_many else 1,
            metavar=metavar,
        )
    if parameter.kind is Kind.FLAG:
        return click.Option([parameter.name, parameter.argument_name], is_flag=True)
    option = click.Option(
        [parameter.name, parameter.argument_name],
        type=_Value(parameter),
        required=parameter.is_required,
        multiple=parameter.is_many,
        metavar=metavar,
        help=line.say(parameter.help),
    )
    # For click None is a default like any other, with which a needed option is never missing.
    if parameter.default is not None:
        option.default = parameter.default
    return option


def _global_options(line: Line) -> list[click.Parameter]:
    """Build the options of every command anew for each: click parameters belong to one."""
    return [*(_global_option(line, parameter) for parameter in GLOBAL_OPTIONS), _version(line)]


def _global_option(line: Line, parameter: Parameter) -> click.Option:
    def keep(_: click.Context, __: click.Parameter, value: object) -> None:
        if value is not None and value is not False:
            line.given[parameter.argument_name] = value

    is_flag = parameter.kind is Kind.FLAG
    return click.Option(
        [parameter.name, f"every_{parameter.argument_name}"],
        type=None if is_flag else _Value(parameter),
        is_flag=is_flag or None,
        metavar=line.say(parameter.metavar) if parameter.metavar else None,
        expose_value=False,
        callback=keep,
        help=line.say(parameter.help),
    )


def _version(line: Line) -> click.Option:
    return _answering(line, "--version", "option.version", lambda _: line.version())


def _help(line: Line) -> click.Option:
    return _answering(line, "--help", "option.help", lambda ctx: ctx.command.get_help(ctx))


def _answering(
    line: Line, name: str, said: str, text: Callable[[click.Context], str]
) -> click.Option:
    """Make an option that answers by itself and ends the command line."""

    def answer(ctx: click.Context, _: click.Parameter, value: object) -> None:
        if value and not ctx.resilient_parsing:
            line.print_text(text(ctx))
            ctx.exit()

    return click.Option(
        [name],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=answer,
        help=line.say(said),
    )


def _completion_option(line: Line) -> click.Option:
    parameter = Parameter("--completion", Kind.CHOICE, "option.completion", choices=SHELLS)

    def answer(ctx: click.Context, _: click.Parameter, value: object) -> None:
        if isinstance(value, str) and not ctx.resilient_parsing:
            line.print_text(completion_script(value))
            ctx.exit()

    return click.Option(
        [parameter.name],
        type=_Value(parameter),
        expose_value=False,
        is_eager=True,
        callback=answer,
        metavar="[" + "|".join(SHELLS) + "]",
        help=line.say(parameter.help),
    )


def completion_script(shell: str) -> str:
    """Return what ``shell`` must be told once to complete our command lines."""
    kind = click.shell_completion.get_completion_class(shell)
    assert kind is not None
    made = kind(click.Command(PROGRAM), {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE")
    # Not the method of the shell's own class, which starts that shell to ask how old it is.
    return click.shell_completion.ShellComplete.source(made).rstrip()


# --- commands and their help ----------------------------------------------------------------


class _Leaf(click.Command):
    """A command of the table."""

    def __init__(self, line: Line, command: Command) -> None:
        super().__init__(command.words[-1], help=line.say(command.help))
        self.context_settings = {"allow_extra_args": True}
        self._line = line
        self._command = command

    def invoke(self, ctx: click.Context) -> int:
        if ctx.args:
            raise UnexpectedArguments(found=" ".join(ctx.args))
        return self._line.act(self._command, ctx.params)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if not self.params:  # only of the one command that is run: the others are never asked
            self.params = [
                *(_built(self._line, parameter) for parameter in self._command.parameters),
                *_global_options(self._line),
            ]
        return super().get_params(ctx)

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        del ctx
        if self._help_option is None:
            self._help_option = _help(self._line)
        return self._help_option

    def get_help(self, ctx: click.Context) -> str:
        arguments = [one for one in self._command.parameters if not one.is_option]
        options = [one for one in self._command.parameters if one.is_option]
        usage = [ctx.command_path, *(_in_usage(self._line, one) for one in arguments)]
        usage.insert(1, self._line.say("help.usage_options"))
        lines = [self._line.say("help.usage", usage=" ".join(usage)), ""]
        lines += columns.wrapped(self._line.say(self._command.help), _HELP_WIDTH)
        lines += _section(self._line, "help.arguments", [_row(self._line, it) for it in arguments])
        lines += _section(self._line, "help.options", [_row(self._line, it) for it in options])
        lines += ["", *columns.wrapped(self._line.say("help.see_global"), _HELP_WIDTH)]
        return "\n".join(lines)


class _Group(click.Group):
    """A word under which commands stand; the root is one without a word."""

    def __init__(self, line: Line, words: tuple[str, ...], help_code: str) -> None:
        super().__init__(
            words[-1] if words else PROGRAM, invoke_without_command=True, help=line.say(help_code)
        )
        self._line = line
        self._words = words

    def invoke(self, ctx: click.Context) -> object:
        if not ctx._protected_args:  # noqa: SLF001 - click's own subclasses read it as well
            if self._words:
                known = tuple(self.commands)
                raise MissingCommand(group=ctx.command_path, known=known)
            self._line.print_text(self.get_help(ctx))
            return 0
        return super().invoke(ctx)

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        del ctx
        if self._help_option is None:
            self._help_option = _help(self._line)
        return self._help_option

    def get_help(self, ctx: click.Context) -> str:
        say_it = self._line.say
        usage = f"{ctx.command_path} {say_it('help.usage_options')} {say_it('help.usage_command')}"
        lines = [say_it("help.usage", usage=usage), ""]
        lines += columns.wrapped(self.help or "", _HELP_WIDTH)
        rows = [(word, _first_sentence(one.help or "")) for word, one in self.commands.items()]
        lines += _section(self._line, "help.commands", rows)
        if self._words:
            lines += ["", *columns.wrapped(say_it("help.see_global"), _HELP_WIDTH)]
            return "\n".join(lines)
        options = [
            *(_row(self._line, one) for one in GLOBAL_OPTIONS),
            ("--version", say_it("option.version")),
            ("--completion [" + "|".join(SHELLS) + "]", say_it("option.completion")),
            ("--help", say_it("option.help")),
        ]
        lines += _section(self._line, "help.global_options", options)
        return "\n".join(lines)


def _in_usage(line: Line, parameter: Parameter) -> str:
    shown = line.say(parameter.metavar) + ("..." if parameter.is_many else "")
    return shown if parameter.is_required else f"[{shown}]"


def _row(line: Line, parameter: Parameter) -> tuple[str, str]:
    term = parameter.name if parameter.is_option else ""
    if parameter.kind is Kind.CHOICE:
        term += " [" + "|".join(parameter.choices) + "]"
    elif parameter.metavar:
        term += " " + line.say(parameter.metavar)
    text = line.say(parameter.help)
    if parameter.default is not None:
        text += " " + line.say("help.default", value=parameter.default)
    if parameter.is_option and parameter.is_required:
        text += " " + line.say("help.required")
    return term.strip(), text


def _section(line: Line, title: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    widths = [columns.text_width(term) for term, _ in rows]
    width = max((one for one in widths if one <= _TERM_WIDTH), default=_TERM_WIDTH)
    margin = " " * (2 + width + len(columns.GAP))
    lines = ["", line.say(title)]
    for term, text in rows:
        wrapped = columns.wrapped(text, _HELP_WIDTH, margin)
        if columns.text_width(term) > width:
            lines += [f"  {term}", *wrapped]
            continue
        first, *rest = wrapped
        lines += [f"  {columns.padded(term, width)}{columns.GAP}{first.lstrip()}", *rest]
    return lines


def _first_sentence(text: str) -> str:
    for end in ("。", ". "):
        if end in text:
            return text.partition(end)[0] + end.strip()
    return text
