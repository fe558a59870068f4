"""The terminal as a port: what is printed, what is asked, and whether anybody can answer.

* Results go to standard output; questions, drafts and warnings to standard error,
  so that a pipe or ``--json`` carries the result alone.
* Both are written as UTF-8, and a character that cannot be written becomes ``?``
  instead of an exception.
* A secret is asked for without echo, and only of a terminal.
* How far long work is stands in one line that is written over, and only on a terminal.
"""

from __future__ import annotations

import getpass
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Protocol

from hanse.app.columns import harmless, padded, text_width
from hanse.app.line_source import DescriptorLines
from hanse.core.limits import PIPED_CHARACTERS_MAX

if TYPE_CHECKING:
    from hanse.core.engine.run_stream import LineSource


class Console(Protocol):
    """What a command may do with the terminal."""

    @property
    def has_person(self) -> bool:
        """True when somebody sits at a terminal and can be asked."""
        ...

    def out(self, text: str) -> None:
        """Print a part of the result."""
        ...

    def err(self, text: str) -> None:
        """Print what is not the result."""
        ...

    def progress(self, text: str) -> None:
        """Show ``text`` in place of what was shown this way before; nothing clears it."""
        ...

    def ask(self, question: str) -> str:
        """Ask, and return the line typed."""
        ...

    def ask_hidden(self, question: str) -> str:
        """Ask without showing what is typed."""
        ...

    def piped(self) -> str:
        """Return what another program sent to standard input, empty at a terminal."""
        ...

    def lines(self) -> LineSource:
        """Return the lines of standard input as they come."""
        ...


class SystemConsole:
    """The console of this process."""

    def __init__(self) -> None:
        """Make standard output and error write any character."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(encoding="utf-8", errors="replace")
        self._progress_width = 0

    @property
    def has_person(self) -> bool:
        """True when standard input and error are a terminal."""
        return _is_terminal(sys.stdin) and _is_terminal(sys.stderr)

    def out(self, text: str) -> None:
        """Print to standard output."""
        print(harmless(text), flush=True)

    def err(self, text: str) -> None:
        """Print to standard error."""
        print(harmless(text), file=sys.stderr, flush=True)

    def progress(self, text: str) -> None:
        """Write over the last such line on standard error; say nothing to a file or a pipe."""
        if not _is_terminal(sys.stderr):
            return
        shown = harmless(text)
        line = padded(shown, max(self._progress_width, text_width(shown)))
        end = "" if shown else "\r"
        print(f"\r{line}", end=end, file=sys.stderr, flush=True)
        self._progress_width = text_width(shown)

    def ask(self, question: str) -> str:
        """Ask on standard error, so that the answer to a pipe stays clean."""
        print(harmless(question), end=" ", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.rstrip("\r\n")

    def ask_hidden(self, question: str) -> str:
        """Ask on the terminal with the echo off."""
        return getpass.getpass(harmless(question) + " ")

    def piped(self) -> str:
        """Read standard input, up to what any phrase or passphrase could need."""
        if sys.stdin is None or _is_terminal(sys.stdin):
            return ""
        return sys.stdin.read(PIPED_CHARACTERS_MAX)

    def lines(self) -> LineSource:
        """Read standard input line by line, past whatever Python holds of it."""
        return DescriptorLines(0 if sys.stdin is None else sys.stdin.fileno())


def _is_terminal(stream: object) -> bool:
    try:
        return isinstance(stream, TextIOWrapper) and stream.isatty()
    except ValueError:  # closed
        return False
