"""The child process: reads model bytes, under bounds, and answers over two pipes.

Started as ``python -I -m hanse.core.certify.worker``, in this order and no other
(``certification.md`` 6):

* The pipes are taken and the standard streams pointed elsewhere, so that what a native
  library prints cannot corrupt a frame.
* Everything that reads models is imported.
* ``hello`` says where the files are and how much may be taken; not one model byte before it.
* The process bounds itself and answers ``ready`` with the layers in force.
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
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn, Protocol

import msgspec

from hanse.core.artifacts import converters
from hanse.core.artifacts.converters.answering import ConversionRefused
from hanse.core.certify import frames
from hanse.core.certify.adapters.refusal import Unfit, name, text
from hanse.core.certify.bounds import NoBound, bound_this_process
from hanse.core.limits import WORKER_MESSAGE_CHARACTERS_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hanse.core.model.artifact import Format, ModelFacts
    from hanse.core.model.running import FailureKind

_ADAPTERS: Final = "hanse.core.certify.adapters.all_formats"
_EXIT_DONE: Final = 0
_EXIT_NO_BOUND: Final = 70
_EXIT_BAD_FRAME: Final = 71


class Inspector(Protocol):
    """Reads the facts of one file of the stage, or raises ``Unfit``."""

    def __call__(self, stage: Path, file: str, file_format: Format) -> ModelFacts:
        """Look at ``file``, which has ``file_format``."""
        ...


class _Pipes:
    """The two pipes of a Worker; answers are whole, whichever thread gives them."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self.requests = requests
        self._answers = answers
        self._lock = threading.Lock()

    def answer(self, answer: frames.Answer) -> None:
        try:
            raw = frames.encode_answer(answer)
        except frames.BadFrame as error:
            raw = frames.encode_answer(_failed(getattr(answer, "id", 0), "limit", str(error)))
        with self._lock:
            self._answers.write(raw)
            self._answers.flush()

    def answer_last(self, answer: frames.Answer) -> NoReturn:
        """Answer and end at once, whatever the main thread is doing."""
        raw = frames.encode_answer(answer)
        with self._lock:
            self._answers.write(raw)
            self._answers.flush()
            os._exit(_EXIT_DONE)


def main() -> int:
    """Be a Worker until the pipe ends; return the exit status."""
    pipes = _take_pipes()
    adapters = importlib.import_module(_ADAPTERS)  # after the pipes: native code prints at import
    try:
        hello = frames.read_request(pipes.requests)
    except (frames.BadFrame, frames.EndedInFrame):
        return _EXIT_BAD_FRAME
    if hello is None:
        return _EXIT_DONE
    if not isinstance(hello, frames.Hello):
        return _EXIT_BAD_FRAME
    try:
        layers = bound_this_process(hello.memory_bytes, hello.cpu_seconds, hello.write_bytes)
    except NoBound as error:
        sys.stderr.write(f"no bound: {error}\n")
        return _EXIT_NO_BOUND
    waiting: queue.SimpleQueue[frames.Request] = queue.SimpleQueue()
    reader = threading.Thread(target=_read_frames, args=(pipes, waiting), daemon=True)
    reader.start()
    pipes.answer(frames.Ready(layers=layers, versions=adapters.versions()))
    while True:
        request = waiting.get()
        if isinstance(request, frames.Inspect):
            pipes.answer(_inspect(request, Path(hello.stage), adapters.inspect))
        elif isinstance(request, frames.Convert) and hello.scratch is not None:
            pipes.answer(_convert(request, Path(hello.stage), Path(hello.scratch)))
        else:
            return _EXIT_BAD_FRAME


def _take_pipes() -> _Pipes:
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return _Pipes(os.fdopen(requests, "rb"), os.fdopen(answers, "wb"))


def _read_frames(pipes: _Pipes, waiting: queue.SimpleQueue[frames.Request]) -> None:
    while True:
        try:
            request = frames.read_request(pipes.requests)
        except (frames.BadFrame, frames.EndedInFrame, OSError):
            os._exit(_EXIT_BAD_FRAME)
        if request is None:
            os._exit(_EXIT_DONE)
        if isinstance(request, frames.Cancel):
            pipes.answer_last(_failed(request.id, "cancelled", ""))
        waiting.put(request)


def _inspect(request: frames.Inspect, stage: Path, inspect: Inspector) -> frames.Answer:
    try:
        facts = inspect(stage, request.file, request.file_format)
        return frames.Facts(id=request.id, facts=facts)
    except Unfit as error:
        values = {"found": error.found, "allowed": error.allowed}
        return _failed(request.id, "refused", "", error.rule, values)
    except MemoryError:
        return _failed(request.id, "limit", "memory")
    except Exception as error:  # noqa: BLE001  the boundary of the process: all else is a crash
        return _failed(request.id, "crash", f"{type(error).__name__}: {error}")


def _convert(request: frames.Convert, stage: Path, scratch: Path) -> frames.Answer:
    if request.converter not in converters.CONVERTERS:
        return _failed(request.id, "refused", "", "no_converter", {"found": request.converter})
    try:
        converter = importlib.import_module(f"{converters.__name__}.{request.converter}")
        made = converter.convert(
            stage / request.source, scratch / request.target, dict(request.options)
        )
        answer = {"type": "made", "id": request.id, **made}
        return msgspec.convert(answer, frames.MadeFiles)
    except ConversionRefused as refusal:
        return _failed(request.id, "refused", "", refusal.code, refusal.values)
    except MemoryError:
        return _failed(request.id, "limit", "memory")
    except Exception as error:  # noqa: BLE001  whatever a framework raises is an answer
        return _failed(request.id, "crash", f"{type(error).__name__}: {error}")


def _failed(
    number: int,
    kind: FailureKind,
    message: str,
    word: str = "",
    values: Mapping[str, object] | None = None,
) -> frames.Failed:
    return frames.Failed(
        id=number,
        kind=kind,
        word=name(word),
        values={
            name(key): value if isinstance(value, int) else name(str(value))
            for key, value in (values or {}).items()
        },
        message=text(message, WORKER_MESSAGE_CHARACTERS_MAX),
    )


if __name__ == "__main__":
    sys.exit(main())
