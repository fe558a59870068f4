"""One question to one Worker at a time: sent, waited for, bounded, and its answer checked for form.

* Every wait has an end: a wall limit for each question, whatever the Worker does; a Worker
  that does not read a long frame is given up as well.
* An answer must be the one to the question asked; anything else is ``protocol``.
* How long an answer may be is fixed before the question is sent.
* A Worker that broke a rule, ran too long or had to be ended is never asked again.
* What it wrote in words is cleaned before anybody sees it.

What is asked, and what the answers mean, is not known here.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from hanse.core.certify import frames
from hanse.core.certify.adapters.refusal import text
from hanse.core.certify.child import last_words, no_sandbox, ran_out_of_memory
from hanse.core.limits import (
    WORKER_ANSWER_SIZE_BYTES_MAX,
    WORKER_ANSWERS_WAITING_MAX,
    WORKER_MESSAGE_CHARACTERS_MAX,
)
from hanse.core.model.control import Cancelled, Control
from hanse.core.model.running import NoSandbox, Usage, WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from hanse.core.certify.child import Child, Ending
    from hanse.core.model.running import FailureKind

HELLO_SECONDS: Final = 30.0
CANCEL_SECONDS: Final = 2.0
_END_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.1  # between two looks at pause and cancel
_SEND_SECONDS: Final = 5.0  # without a byte taken

A = TypeVar(
    "A",
    frames.Facts,
    frames.MadeFiles,
    frames.Taken,
    frames.Session,
    frames.Out,
    frames.Timed,
    frames.Pixels,
)


@dataclass(frozen=True, slots=True)
class _Broken:
    """What came instead of an answer."""

    kind: FailureKind
    detail: str


class Wall:
    """Until when an answer must be there; time spent paused does not count."""

    def __init__(self, check: str, seconds: float, control: Control, total: int = 1) -> None:
        """Begin to count; ``done`` of ``total`` is what ``control`` is told."""
        self.check = check
        self.seconds = seconds
        self.done = 0
        self._total = total
        self._control = control
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Return the seconds left, below 0 when there are none."""
        return self._end - time.monotonic()

    def look(self) -> bool:
        """Report, wait while paused, raise ``Cancelled``; False when the time is over."""
        before = time.monotonic()
        self._control.checkpoint(self.check, self.done, self._total)
        self._end += time.monotonic() - before
        return self.left > 0


class Asked:
    """A child that answers frames; ``kill`` may be called from any thread, the rest from one."""

    def __init__(self, child: Child, on_end: Callable[[], None] | None = None) -> None:
        """Read the answers of ``child``, which was not greeted yet; call ``on_end`` once."""
        child.count_from_now()
        self._child = child
        self._on_end = on_end
        self._number = 0
        self._killed = False
        self._usage: Usage | None = None
        self._answer_bytes_most = WORKER_ANSWER_SIZE_BYTES_MAX
        self._answers: queue.Queue[frames.Answer | _Broken] = queue.Queue(
            WORKER_ANSWERS_WAITING_MAX
        )
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, name="worker-answers", daemon=True)
        self._reader.start()

    def close(self) -> Usage:
        """End it and say what it took; harmless when repeated."""
        if self._usage is None:
            self._end(_END_SECONDS)
        assert self._usage is not None
        return self._usage

    def kill(self) -> None:
        """End it at once, from any thread; whoever waits gets ``WorkerFailed('cancelled')``."""
        self._killed = True
        self._child.note_memory()
        self._child.kill()

    def greet(self, hello: frames.Hello) -> frames.Ready:
        """Say ``hello`` and return ``ready``; raise ``NoSandbox`` or ``WorkerFailed``."""
        wall = Wall("start", HELLO_SECONDS, Control())
        self._send(frames.encode_request(hello), wall)
        answer = self._take(wall)
        if not isinstance(answer, frames.Ready):
            raise self._no_answer(answer, "start")
        return answer

    def next_number(self) -> int:
        """Return the number of the next question."""
        self._number += 1
        return self._number

    def ask(
        self,
        request: frames.Question,
        expected: type[A],
        wall: Wall,
        *,
        most_bytes: int = WORKER_ANSWER_SIZE_BYTES_MAX,
        on_part: Callable[[frames.Part], int] | None = None,
    ) -> A | frames.Failed:
        """Send ``request`` and return what was ``expected``, or why it was refused.

        ``on_part`` takes a part of the answer and says how much is done.  A part of a model
        is overwritten here once it was sent.  Everything else raises: ``Cancelled``, or
        ``WorkerFailed`` of a Worker that has ended.
        """
        check = wall.check
        self.check_alive(check)
        raw = frames.encode_request(request)
        wall.look()  # what was cancelled before is not asked at all
        self._answer_bytes_most = most_bytes
        try:
            self._send(raw, wall)
        finally:
            if isinstance(request, frames.Put):
                raw[:] = bytes(len(raw))
        try:
            answer = self._take(wall)
            while isinstance(answer, frames.Part) and on_part and answer.id == request.id:
                wall.done = on_part(answer)
                answer = self._take(wall)
        except Cancelled:
            self._cancel(request)
            raise
        if isinstance(answer, frames.Failed) and answer.id == request.id:
            if answer.kind == "refused":
                return answer
            raise self.fail(answer.kind, check, answer.message)
        if not isinstance(answer, expected):
            raise self._no_answer(answer, check)
        if answer.id != request.id:
            raise self.fail("protocol", check, f"answered {answer.id}, asked {request.id}")
        return answer

    def check_alive(self, check: str) -> None:
        """Raise ``WorkerFailed`` when it has ended, for whatever reason."""
        if self._usage is not None:
            raise WorkerFailed("protocol", check, "the Worker has ended")

    def fail(self, kind: FailureKind, check: str, detail: str) -> WorkerFailed:
        """End the Worker at once and return the error that says why."""
        self._end(0)
        if self._killed:
            return WorkerFailed("cancelled", check, "ended from outside")
        if self._child.flooded:
            return WorkerFailed("protocol", check, "too much on standard error")
        return WorkerFailed(kind, check, cleaned(detail))

    # --- waiting ------------------------------------------------------------------------------

    def _send(self, raw: bytearray, wall: Wall) -> None:
        try:
            sent = self._child.write(raw, _SEND_SECONDS, wall.look)
        except Cancelled:  # within a frame: nothing can be said to it any more
            self._end(0)
            raise
        if sent == "ended":
            raise self._gone(wall.check)
        if sent == "stuck":
            raise self.fail("timeout", wall.check, "does not read what it is sent")

    def _take(self, wall: Wall) -> frames.Answer:
        """Wait for the next answer, or raise ``Cancelled`` or ``WorkerFailed``."""
        while True:
            if not wall.look():
                raise self.fail("timeout", wall.check, f"no answer within {wall.seconds:g} s")
            with contextlib.suppress(queue.Empty):
                answer = self._answers.get(timeout=max(0.0, min(wall.left, _LOOK_SECONDS)))
                if isinstance(answer, _Broken):
                    raise self._broken(answer, wall.check)
                return answer
            self._child.note_memory()

    def _cancel(self, request: frames.Question) -> None:
        """Tell it to stop; it goes on when it can stop a model and says so in time."""
        deadline = time.monotonic() + CANCEL_SECONDS
        raw = frames.encode_request(frames.Cancel(id=request.id))
        if self._child.write(raw, CANCEL_SECONDS) == "done":
            with contextlib.suppress(queue.Empty):
                while (left := deadline - time.monotonic()) > 0:
                    answer = self._answers.get(timeout=left)
                    if isinstance(answer, frames.Part):
                        continue
                    if isinstance(request, frames.STOPPABLE) and _is_stopped(answer, request.id):
                        return
                    break
        self._end(0)

    # --- ends ---------------------------------------------------------------------------------

    def _broken(self, answer: _Broken, check: str) -> Exception:
        if answer.kind == "crash":
            return self._gone(check)
        return self.fail(answer.kind, check, answer.detail)

    def _no_answer(self, answer: frames.Answer, check: str) -> WorkerFailed:
        if isinstance(answer, frames.Failed) and check == "start":
            return self.fail(answer.kind, check, answer.message)
        return self.fail("protocol", check, f"answered {type(answer).__name__}")

    def _gone(self, check: str) -> WorkerFailed | NoSandbox:
        ending = self._end(_END_SECONDS)
        errors = self._child.errors
        if self._killed:
            return WorkerFailed("cancelled", check, "ended from outside")
        if self._child.flooded:
            return WorkerFailed("protocol", check, "too much on standard error")
        if check == "start" and (missing := no_sandbox(ending, errors)) is not None:
            return NoSandbox(**{key: cleaned(str(value)) for key, value in missing.values.items()})
        is_limit = ending.is_limit or ran_out_of_memory(errors)
        kind: FailureKind = "limit" if is_limit else "crash"
        return WorkerFailed(kind, check, cleaned(last_words(ending, errors)))

    def _end(self, seconds: float) -> Ending:
        self._closing.set()
        ending = self._child.end(seconds)
        self._usage = ending.usage
        self._reader.join(_END_SECONDS)
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end()
        return ending

    def _read(self) -> None:
        """Put every answer into the queue; the last thing put says why there are no more."""
        stream = self._child.stdout
        while True:
            got: frames.Answer | _Broken
            try:
                answer = frames.read_answer(stream, lambda: self._answer_bytes_most)
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


def _is_stopped(answer: frames.Answer | _Broken, number: int) -> bool:
    """Say whether this ends question ``number``: stopped, or answered just before."""
    if isinstance(answer, frames.Failed):
        return answer.id == number and answer.kind in ("cancelled", "refused")
    return isinstance(answer, frames.Out | frames.Timed) and answer.id == number


def cleaned(detail: str) -> str:
    """Return words of a Worker as one line that a terminal can be given."""
    return text(" ".join(detail.split()), WORKER_MESSAGE_CHARACTERS_MAX)
