"""A terminal with a script: what is printed is kept, what is asked is answered in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hanse.core.model.control import Control

Reply = str | Callable[["FakeConsole", str], str]


class FakeConsole:
    """A ``Console`` for tests; ``answers`` are given to questions in order, hidden or not.

    A reply may be a function of the console and the question, for who must read first.
    """

    def __init__(
        self, *, has_person: bool = False, answers: Sequence[Reply] = (), piped: str = ""
    ) -> None:
        self.has_person = has_person
        self.outs: list[str] = []
        self.errs: list[str] = []
        self.shown: list[str] = []  # how far long work said it was
        self.questions: list[str] = []
        self._answers = list(answers)
        self._piped = piped

    @property
    def out_text(self) -> str:
        return "\n".join(self.outs)

    @property
    def err_text(self) -> str:
        return "\n".join(self.errs)

    def out(self, text: str) -> None:
        self.outs.append(text)

    def err(self, text: str) -> None:
        self.errs.append(text)

    def progress(self, text: str) -> None:
        self.shown.append(text)

    def ask(self, question: str) -> str:
        self.questions.append(question)
        if not self._answers:
            raise EOFError
        reply = self._answers.pop(0)
        return reply if isinstance(reply, str) else reply(self, question)

    def ask_hidden(self, question: str) -> str:
        return self.ask(question)

    def piped(self) -> str:
        return self._piped

    def lines(self) -> PipedLines:
        return PipedLines(self._piped.encode().splitlines())


class PipedLines:
    """Lines that are there already."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines

    def take(self, most: int, control: Control) -> list[bytes]:
        control.checkpoint("lines", 0, 1)
        taken, self._lines = self._lines[:most], self._lines[most:]
        return taken
