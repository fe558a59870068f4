"""``hanse``: one command line in, one answer and one exit code out.

* 0 done; 1 the answer is no; 2 wrong use; 3 refused by a rule; 4 the environment
  failed; 70 our own bug; 130 interrupted; 141 nobody read the output any more.
* A deliberate error is one sentence on standard error, or the one object of
  ``--json`` on standard output.  Our own bug is one sentence too; its traceback
  goes to the log.
* Neither help nor version load the engine.
* A command on a folder that another Hanse holds is done by that one; the terminal stays here.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hanse.app.acts import act_of, plain_values
from hanse.app.answers import answer_json, error_json
from hanse.app.bootstrap import Bootstrap
from hanse.app.command_line import PROGRAM, Line, command_tree, run_line
from hanse.app.logs import LOG_FILE, logging_to
from hanse.app.paths import log_folder
from hanse.app.settings import saved_language
from hanse.app.version import program_version
from hanse.core.errors import HanseError
from hanse.core.sentences import pick_language, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hanse.app.bootstrap import Hanse
    from hanse.app.command_table import Command
    from hanse.app.instance import HolderClient

EXIT_OUR_BUG: Final = 70
EXIT_INTERRUPTED: Final = 130
EXIT_BROKEN_PIPE: Final = 141

_COMPLETE: Final = f"_{PROGRAM.upper()}_COMPLETE"
_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None, bootstrap: Bootstrap | None = None) -> int:
    """Run one command line and return its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        run = Run(bootstrap or Bootstrap(), given)
        return run.guarded()
    except BrokenPipeError:
        _drop_output()
        return EXIT_BROKEN_PIPE


class Run:
    """One run of the program."""

    def __init__(self, bootstrap: Bootstrap, arguments: Sequence[str]) -> None:
        """Find out the language and the form of the answer, before anything can go wrong."""
        self._bootstrap = bootstrap
        self._arguments = arguments
        self._is_json = "--json" in _before_the_rest(arguments)
        self._language = pick_language(
            _language_flag(arguments), bootstrap.environ, saved_language(bootstrap.environ)
        )

    def guarded(self) -> int:
        """Run, and turn whatever is raised into one sentence and an exit code."""
        try:
            return self._run()
        except HanseError as error:
            self._show_error(error)
            return error.exit_code
        except (KeyboardInterrupt, EOFError):
            self._show("error.interrupted", {})
            return EXIT_INTERRUPTED
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - the process boundary
            self._show_bug(error)
            return EXIT_OUR_BUG

    def _run(self) -> int:
        console = self._bootstrap.console
        line = Line(self._act, console.out, self._version, self._language)
        self._line = line
        if instruction := self._bootstrap.environ.get(_COMPLETE):
            return _complete(line, instruction)
        return run_line(self._arguments, line)

    def _act(self, command: Command, values: Mapping[str, object]) -> int:
        # Here and not above: the desk brings the cryptography along, help must not wait for it.
        from hanse.app.desk import Desk  # noqa: PLC0415

        hanse = self._bootstrap.build(self._line.as_given())
        self._language = hanse.settings.lang
        console = self._bootstrap.console
        with logging_to(log_folder(), is_verbose=hanse.settings.is_verbose):
            _log.info("hanse %s", " ".join(command.words))
            try:
                if not command.stays_here(values) and (holder := _holder_of(hanse)) is not None:
                    return self._relay(holder, hanse, command, values)
                answer = act_of(command)(Desk(hanse, console), **values)
            except HanseError as error:
                _log.info("%s: %s", error.code, error)
                raise
            if hanse.settings.is_json:
                console.out(answer_json(answer))
            elif answer.lines:
                console.out("\n".join(answer.lines))
        return answer.exit_code

    def _relay(
        self, holder: HolderClient, hanse: Hanse, command: Command, values: Mapping[str, object]
    ) -> int:
        """Let the process that holds the folder do it; errors are shown as if they were ours."""
        from hanse.app.holder_wire import Failed, Fault  # noqa: PLC0415 - brought already
        from hanse.app.instance import Asked  # noqa: PLC0415 - brought already

        def fail(end: Failed | Fault) -> int:
            if isinstance(end, Failed):
                self._show(end.code, end.values)
                return end.exit
            self._show("error.our_bug", {"kind": end.kind, "log": log_folder() / LOG_FILE})
            return EXIT_OUR_BUG

        settings = hanse.settings
        asked = Asked(
            words=command.words,
            values=plain_values(values),
            lang=settings.lang,
            folder=Path.cwd(),
            passphrase_file=settings.passphrase_file,
            is_json=settings.is_json,
            is_yes=settings.is_yes,
            is_verbose=settings.is_verbose,
            is_offline=settings.is_offline,
            program=program_version(),
        )
        try:
            return holder.run(asked, self._bootstrap.console, fail)
        finally:
            holder.close()

    def _version(self) -> str:
        return f"{PROGRAM} {program_version()}"

    def _show_error(self, error: HanseError) -> None:
        self._show(error.code, error.values)

    def _show_bug(self, error: Exception) -> None:
        """Say that this is our fault, and put the traceback into the log."""
        values: dict[str, object] = {"kind": type(error).__name__}
        with logging_to(log_folder(), is_verbose=False) as log:
            _log.error("this is a bug", exc_info=error)
        if log is None:
            self._show("error.our_bug_unlogged", values)
        else:
            self._show("error.our_bug", {**values, "log": log})

    def _show(self, code: str, values: Mapping[str, object]) -> None:
        console = self._bootstrap.console
        if self._is_json:
            console.out(error_json(code, values))
            return
        sentence = say(code, values, self._language)
        console.err(say("error.line", {"sentence": sentence}, self._language))


def _holder_of(hanse: Hanse) -> HolderClient | None:
    """Return the way to another process that holds the folder, or None."""
    from hanse.app.instance import HOLDER_FILE, HolderClient  # noqa: PLC0415

    try:
        folder = hanse.home().folder
    except HanseError:
        return None  # the command itself says what is wrong
    return HolderClient.reach(folder) if (folder / HOLDER_FILE).exists() else None


def _complete(line: Line, instruction: str) -> int:
    from click.shell_completion import shell_complete  # noqa: PLC0415 - only shells ask for it

    return shell_complete(command_tree(line), {}, PROGRAM, _COMPLETE, instruction)


def _before_the_rest(arguments: Sequence[str]) -> Sequence[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _language_flag(arguments: Sequence[str]) -> str | None:
    """Find ``--lang`` before the command line is read: help and errors need it."""
    found: str | None = None
    options = _before_the_rest(arguments)
    for place, option in enumerate(options):
        if option == "--lang" and place + 1 < len(options):
            found = options[place + 1]
        elif option.startswith("--lang="):
            found = option.removeprefix("--lang=")
    return found


def _drop_output() -> None:
    """Point standard output at nothing, or the interpreter complains when it flushes at exit."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
