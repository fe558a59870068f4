"""Starts one Worker, asks it, bounds it, and ends it; believes nothing it says unchecked.

* One job, one Worker: one that broke a rule, ran too long or was cancelled is ended.
* Every wait has an end: a wall limit for each question, whatever the Worker does.
* An answer must be the one to the question asked; anything else is ``protocol``.

What the facts mean is not known here, nor how a format is read.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, TypeVar

from hanse.core.artifacts.formats import FormatRefused
from hanse.core.certify import frames
from hanse.core.certify.child import Child, Ending, last_words, ran_out_of_memory
from hanse.core.certify.foreign import ForeignConverter
from hanse.core.certify.made import checked_made, refusal_of_converter
from hanse.core.errors import WrongUse
from hanse.core.limits import WORKER_ANSWERS_WAITING_MAX, WORKER_MESSAGE_CHARACTERS_MAX
from hanse.core.model.control import Cancelled
from hanse.core.model.running import Usage, WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hanse.core.model.artifact import Format, ModelFacts
    from hanse.core.model.control import Control
    from hanse.core.model.running import (
        ConvertRequest,
        FailureKind,
        Made,
        Profile,
        Stage,
        Worker,
        WorkerLimits,
    )

HELLO_SECONDS: Final = 30.0
_CANCEL_SECONDS: Final = 2.0
_END_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.1  # between two looks at pause and cancel
_SEND_SECONDS: Final = 5.0

A = TypeVar("A", frames.Ready, frames.Facts, frames.MadeFiles)


class ConvertRequestTooLong(WrongUse):
    """The options of a Conversion do not fit one request."""

    code = "convert.request_too_long"
    text = "conversion request refused: {detail}"
    fields = ("detail",)


@dataclass(frozen=True, slots=True)
class _Broken:
    """What came instead of an answer."""

    kind: FailureKind
    detail: str


def worker_command() -> tuple[str, ...]:
    """Return how a Worker is started: our interpreter, without user site or environment."""
    return (sys.executable, "-I", "-m", "hanse.core.certify.worker")


class WorkerClient:
    """The ``ModelRunner`` of the program."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        """Start Workers by ``command``; a test gives a program that misbehaves."""
        self._command = tuple(command or worker_command())

    def start(
        self, stage: Stage, limits: WorkerLimits, profile: Profile, python: Path | None = None
    ) -> Worker:
        """Start a Worker that is ready, or raise ``WorkerFailed``.

        With ``python`` the converter is run by that interpreter, which needs not know
        Hanse; such a Worker converts and nothing else.
        """
        if python is not None:
            return ForeignConverter(python, stage, limits)
        return WorkerProcess(self._command, stage, limits, profile)


class WorkerProcess:
    """One Worker that said ``ready``."""

    def __init__(
        self, command: Sequence[str], stage: Stage, limits: WorkerLimits, profile: Profile
    ) -> None:
        """Start it and greet it."""
        self._limits = limits
        self._stage = stage
        self._asked = 0
        self._killed = False
        self._usage: Usage | None = None
        self._answers: queue.Queue[frames.Answer | _Broken] = queue.Queue(
            WORKER_ANSWERS_WAITING_MAX
        )
        self._closing = threading.Event()
        try:
            self._child = Child(command, stage.scratch)
        except OSError as error:
            raise WorkerFailed("crash", "start", error.strerror or str(error)) from error
        self._reader = threading.Thread(target=self._read, name="worker-answers", daemon=True)
        self._reader.start()
        hello = frames.Hello(
            profile=profile,
            stage=str(stage.folder),
            scratch=None if stage.scratch is None else str(stage.scratch),
            memory_bytes=limits.memory_bytes,
            cpu_seconds=limits.cpu_seconds,
            write_bytes=limits.write_bytes,
        )
        ready = self._ask(hello, 0, "start", HELLO_SECONDS, None, frames.Ready)
        self.layers: tuple[str, ...] = ready.layers
        self.versions: dict[str, str] = dict(ready.versions)

    def inspect(self, file: str, file_format: Format, control: Control) -> ModelFacts:
        """Read the facts of one file of the stage."""
        self._asked += 1
        request = frames.Inspect(id=self._asked, file=file, file_format=file_format)
        answer = self._ask(
            request, request.id, "inspect", self._limits.wall_seconds, control, frames.Facts
        )
        if answer.facts.file != file or answer.facts.format != file_format:
            raise self._fail("protocol", "inspect", "the facts are of another file")
        return answer.facts

    def convert(self, request: ConvertRequest, control: Control) -> Made:
        """Convert one file of the stage into the scratch folder."""
        assert self._stage.scratch is not None
        self._asked += 1
        frame = frames.Convert(
            id=self._asked,
            converter=request.converter,
            source=str(PurePosixPath(request.source)),
            target=request.target,
            options={
                key: value if isinstance(value, str | int | bool) else tuple(value)
                for key, value in request.options.items()
            },
        )
        answer = self._ask(
            frame, frame.id, "convert", self._limits.wall_seconds, control, frames.MadeFiles
        )
        made = checked_made(answer, self._stage.scratch)
        if isinstance(made, str):
            raise self._fail("protocol", "convert", made)
        return made

    def close(self) -> Usage:
        """End it and say what it took; harmless when repeated."""
        if self._usage is None:
            self._usage = self._end(_END_SECONDS).usage
        return self._usage

    def kill(self) -> None:
        """End it at once, from any thread; whoever waits gets ``WorkerFailed('cancelled')``."""
        self._killed = True
        self._child.note_memory()
        self._child.kill()

    def _ask(
        self,
        request: frames.Request,
        number: int,
        check: str,
        seconds: float,
        control: Control | None,
        expected: type[A],
    ) -> A:
        if self._usage is not None:
            raise WorkerFailed("protocol", check, "the Worker has ended")
        try:
            raw = frames.encode_request(request)
        except frames.BadFrame as error:
            raise ConvertRequestTooLong(detail=str(error)) from error
        if control is not None:
            control.checkpoint(check, 0, 1)
        if not self._child.write(raw, _SEND_SECONDS):
            raise self._gone(check)
        answer = self._wait(number, check, seconds, control)
        if isinstance(answer, _Broken):
            raise (
                self._gone(check)
                if answer.kind == "crash"
                else self._fail(answer.kind, check, answer.detail)
            )
        if isinstance(answer, frames.Failed) and answer.id == number:
            raise self._said_no(answer, check, getattr(request, "file", ""))
        if not isinstance(answer, expected):
            raise self._fail("protocol", check, f"answered {type(answer).__name__}")
        if not isinstance(answer, frames.Ready) and answer.id != number:
            raise self._fail("protocol", check, f"answered {answer.id}, asked {number}")
        return answer

    def _wait(
        self, number: int, check: str, seconds: float, control: Control | None
    ) -> frames.Answer | _Broken:
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=max(0.0, min(left, _LOOK_SECONDS)))
            self._child.note_memory()
            if control is not None:
                before = time.monotonic()
                try:
                    control.checkpoint(check, 0, 1)
                except Cancelled:
                    self._cancel(number)
                    raise
                deadline += time.monotonic() - before  # time spent paused does not count
            if time.monotonic() > deadline:
                return _Broken("timeout", f"no answer within {seconds:g} s")

    def _cancel(self, number: int) -> None:
        """Tell it to end, which it does at once, or end it."""
        self._child.write(frames.encode_request(frames.Cancel(id=number)), _SEND_SECONDS)
        with contextlib.suppress(queue.Empty):
            self._answers.get(timeout=_CANCEL_SECONDS)
        self._usage = self._end(0).usage

    def _said_no(self, answer: frames.Failed, check: str, file: str) -> Exception:
        if answer.kind != "refused":
            return self._fail(answer.kind, check, answer.message)
        if check == "convert":
            return refusal_of_converter(answer.word, answer.values)
        values = answer.values
        return FormatRefused(
            file=file,
            rule=answer.word,
            found=values.get("found", ""),
            allowed=values.get("allowed", ""),
        )

    def _gone(self, check: str) -> WorkerFailed:
        ending = self._end(_END_SECONDS)
        self._usage = ending.usage
        if self._killed:
            return WorkerFailed("cancelled", check, "ended from outside")
        if self._child.flooded:
            return WorkerFailed("protocol", check, "too much on standard error")
        is_limit = ending.is_limit or ran_out_of_memory(self._child.errors)
        kind: FailureKind = "limit" if is_limit else "crash"
        return WorkerFailed(kind, check, last_words(ending, self._child.errors))

    def _fail(self, kind: FailureKind, check: str, detail: str) -> WorkerFailed:
        self._usage = self._end(0).usage
        if self._killed:
            return WorkerFailed("cancelled", check, "ended from outside")
        if self._child.flooded:
            return WorkerFailed("protocol", check, "too much on standard error")
        return WorkerFailed(kind, check, detail[:WORKER_MESSAGE_CHARACTERS_MAX])

    def _end(self, seconds: float) -> Ending:
        self._closing.set()
        ending = self._child.end(seconds)
        self._reader.join(_END_SECONDS)
        return ending

    def _read(self) -> None:
        """Put every answer into the queue; the last thing put says why there are no more."""
        stream = self._child.stdout
        while True:
            got: frames.Answer | _Broken
            try:
                answer = frames.read_answer(stream)
            except frames.BadFrame as error:
                got = _Broken("protocol", str(error))
            except (frames.EndedInFrame, OSError, ValueError):
                got = _Broken("crash", "")
            else:
                got = _Broken("crash", "") if answer is None else answer
            while not self._closing.is_set():
                with contextlib.suppress(queue.Full):
                    self._answers.put(got, timeout=_LOOK_SECONDS)
                    break
            if isinstance(got, _Broken) or self._closing.is_set():
                return
