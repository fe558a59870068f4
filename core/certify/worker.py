"""The child process: reads and runs models, locked, and answers over two pipes.

Started as ``python -I -m hanse.core.certify.worker``, in this order and no other
(``certification.md`` 6):

* The pipes are taken and the standard streams pointed elsewhere, so that what a native
  library prints cannot corrupt a frame.
* Everything that reads and runs models is imported, and what the lock needs.
* ``hello`` says where the files are and how much may be taken; not one model byte before it.
* The process locks itself, or ends with a line that names the layer it could not put on.
* Only then does the thread start that reads frames; at the end of its pipe it ends the process.

It knows no key, no store and no engine, and nothing of who asks.
"""

from __future__ import annotations

import importlib
import os
import queue
import sys
import threading
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from hanse.core.certify import frames
from hanse.core.certify.adapters.session import Stop
from hanse.core.certify.child import EXIT_NO_SANDBOX
from hanse.core.certify.lockdown import (
    Lock,
    LockPlan,
    NoLayer,
    lock_this_process,
    prepare_to_lock,
)
from hanse.core.certify.lockdown.outer import environment

_SERVING: Final = "hanse.core.certify.serving"
_EXIT_DONE: Final = 0
_EXIT_BAD_FRAME: Final = 71


class _Pipes:
    """The two pipes of a Worker; answers are whole, whichever thread gives them."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self.requests = requests
        self._answers = answers
        self._lock = threading.Lock()
        self._last = 0

    def answer(self, answer: frames.Answer) -> None:
        raw = frames.encode_answer(answer)
        with self._lock:
            self._write(raw)
            if not isinstance(answer, frames.Part | frames.Ready):
                self._last = answer.id

    def answer_cancelled(self, number: int) -> None:
        """Answer and end at once, whatever the main thread is doing, unless it was quicker."""
        raw = frames.encode_answer(
            frames.Failed(id=number, kind="cancelled", word="", values={}, message="")
        )
        with self._lock:
            if self._last >= number:
                return
            self._write(raw)
            os._exit(_EXIT_DONE)

    def _write(self, raw: bytearray) -> None:
        self._answers.write(raw)
        self._answers.flush()


def main() -> int:
    """Be a Worker until the pipe ends; return the exit status."""
    pipes = _take_pipes()
    serving = importlib.import_module(_SERVING)  # after the pipes: native code prints at import
    try:
        prepare_to_lock()
        hello = frames.read_request(pipes.requests)
        if hello is None:
            return _EXIT_DONE
        if not isinstance(hello, frames.Hello):
            return _EXIT_BAD_FRAME
        lock = _lock(hello)
    except (frames.BadFrame, frames.EndedInFrame):
        return _EXIT_BAD_FRAME
    except NoLayer as missing:
        sys.stderr.write(f"no sandbox: {missing.layer}: {missing.reason}\n")
        return EXIT_NO_SANDBOX
    waiting: queue.SimpleQueue[tuple[frames.Question, Stop]] = queue.SimpleQueue()
    reader = threading.Thread(target=_read_frames, args=(pipes, waiting), daemon=True)
    reader.start()
    desk = serving.Desk(hello, pipes.answer)
    ready = frames.Ready(layers=lock.layers, grade=lock.grade, versions=serving.versions())
    pipes.answer(ready)
    while True:
        question, stop = waiting.get()
        answer = desk.answer(question, stop)
        try:
            pipes.answer(answer)
        except frames.BadFrame as error:
            pipes.answer(serving.failed(question.id, "limit", str(error)))


def _lock(hello: frames.Hello) -> Lock:
    scratch = None if hello.scratch is None else Path(hello.scratch)
    os.environ.update(environment(scratch))  # one that waited did not know its scratch folder
    return lock_this_process(
        LockPlan(
            profile=hello.profile,
            stage=Path(hello.stage),
            scratch=scratch,
            memory_bytes=hello.memory_bytes,
            cpu_seconds=hello.cpu_seconds,
            write_bytes=hello.write_bytes,
            nice=hello.nice,
            cores=hello.cores,
        )
    )


def _take_pipes() -> _Pipes:
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return _Pipes(os.fdopen(requests, "rb"), os.fdopen(answers, "wb"))


def _read_frames(
    pipes: _Pipes, waiting: queue.SimpleQueue[tuple[frames.Question, Stop]]
) -> NoReturn:
    """Pass questions on; a cancel stops the run of the last one, or ends the process."""
    stop, can_stop = Stop(), False
    while True:
        try:
            request = frames.read_request(pipes.requests)
        except (frames.BadFrame, frames.EndedInFrame, OSError):
            os._exit(_EXIT_BAD_FRAME)
        if request is None:
            os._exit(_EXIT_DONE)
        if isinstance(request, frames.Cancel):
            if can_stop:
                stop.ask()
            else:
                pipes.answer_cancelled(request.id)
        elif isinstance(request, frames.Hello):
            os._exit(_EXIT_BAD_FRAME)
        else:
            stop, can_stop = Stop(), isinstance(request, frames.STOPPABLE)
            waiting.put((request, stop))


if __name__ == "__main__":
    sys.exit(main())
