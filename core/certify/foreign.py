"""A Conversion in an interpreter the person named: his packages, our converter, our lock.

* The interpreter needs not know Hanse: it gets ``foreign_main.py``, the folder of the
  converters and that of the lock, nothing else of ours; and the list of allowed system calls
  as a program, since it has no library to write one.
* The child locks itself before it reads the request; the wall is ours.
* It converts and nothing else.

What a converter does is not known here.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import sys
import threading
import time
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.artifacts import converters
from hanse.core.certify import frames, lockdown
from hanse.core.certify.child import Child, last_words, no_sandbox, ran_out_of_memory
from hanse.core.certify.made import checked_made, refusal_of_converter
from hanse.core.limits import (
    WORKER_ANSWER_SIZE_BYTES_MAX,
    WORKER_MESSAGE_CHARACTERS_MAX,
    WORKER_OPEN_FILES_MAX,
)
from hanse.core.model.artifact import Name
from hanse.core.model.control import Cancelled
from hanse.core.model.running import Grade, NoSandbox, Usage, WorkerFailed

if sys.platform == "linux":
    from hanse.core.certify.lockdown import seccomp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import Format, ModelFacts
    from hanse.core.model.control import Control
    from hanse.core.model.running import (
        Block,
        ConvertRequest,
        FailureKind,
        Latencies,
        Loaded,
        Made,
        Optimisation,
        Ran,
        Stage,
        WorkerLimits,
    )

_LOOK_SECONDS: Final = 0.1
_SEND_SECONDS: Final = 5.0
_END_SECONDS: Final = 1.0
_READ_BYTES: Final = 64 * 1024


class _Locked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line the child prints, before it has read the request."""

    layers: frames.Words
    grade: Grade


class _Refused(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: Name
    values: frames.Values


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last line a converter prints: what it made, or why not."""

    made: frames.MadeFiles | None = None
    refused: _Refused | None = None


_LOCKS: Final = msgspec.json.Decoder(_Locked)
_ANSWERS: Final = msgspec.json.Decoder(_Answer)


class ForeignConverter:
    """One Conversion by another interpreter; the child lives while ``convert`` runs.

    ``layers`` and ``grade`` say something once it has converted.
    """

    def __init__(self, python: Path, stage: Stage, limits: WorkerLimits) -> None:
        """Keep what the child will be given; nothing is started yet."""
        self._python = python
        self._stage = stage
        self._limits = limits
        self._child: Child | None = None
        self._killed = False
        self._usage = Usage(cpu_ms=0, peak_rss_bytes=0, wall_ms=0)
        self._said = bytearray()
        self._is_too_long = False
        self.layers: tuple[str, ...] = ()
        self.grade: Grade = "none"
        self.versions: Mapping[str, str] = {}

    def inspect(self, file: str, file_format: Format, control: Control) -> ModelFacts:  # noqa: ARG002
        """Refuse: facts are read by our own interpreter only."""
        raise _only_converts("inspect")

    def put(self, file: str, data: bytes | memoryview, control: Control) -> None:  # noqa: ARG002
        """Refuse: models are run by our own interpreter only."""
        raise _only_converts("put")

    def load(
        self,
        file: str,  # noqa: ARG002
        file_format: Format,  # noqa: ARG002
        threads: int,  # noqa: ARG002
        control: Control,  # noqa: ARG002
        *,
        in_memory: bool = False,  # noqa: ARG002
        optimisation: Optimisation = "all",  # noqa: ARG002
    ) -> Loaded:
        """Refuse: models are run by our own interpreter only."""
        raise _only_converts("load")

    def run(self, inputs: Mapping[str, Array], control: Control) -> Ran:  # noqa: ARG002
        """Refuse: models are run by our own interpreter only."""
        raise _only_converts("run")

    def evaluate(self, inputs: Mapping[str, Array], batch: int, control: Control) -> Ran:  # noqa: ARG002
        """Refuse: models are run by our own interpreter only."""
        raise _only_converts("evaluate")

    def bench(self, inputs: Mapping[str, Array], block: Block, control: Control) -> Latencies:  # noqa: ARG002
        """Refuse: models are timed by our own interpreter only."""
        raise _only_converts("bench")

    def read_images(
        self,
        files: Sequence[str],  # noqa: ARG002
        size: tuple[int, int] | None,  # noqa: ARG002
        channels: int,  # noqa: ARG002
        control: Control,  # noqa: ARG002
    ) -> Array:
        """Refuse: pictures are read by our own interpreter only."""
        raise _only_converts("read_images")

    def convert(self, request: ConvertRequest, control: Control) -> Made:
        """Convert one file of the stage into the scratch folder."""
        scratch = self._stage.scratch
        assert scratch is not None
        if request.converter not in converters.CONVERTERS:
            raise WorkerFailed("refused", "convert", f"no converter {request.converter}")
        main = files("hanse.core.certify") / "foreign_main.py"
        with (
            as_file(files(converters)) as folder,
            as_file(files(lockdown)) as locks,
            as_file(main) as program,
        ):
            asked = {
                "source": str(self._stage.folder / request.source),
                "target": str(scratch / request.target),
                "options": dict(request.options),
            }
            command = (self._python, "-I", program, self._plan(), locks, folder, request.converter)
            self._run([str(one) for one in command], msgspec.json.encode(asked), scratch, control)
        return self._made(scratch)

    def close(self) -> Usage:
        """Say what it took; the child ended with ``convert``."""
        return self._usage

    def kill(self) -> None:
        """End it at once, from any thread."""
        self._killed = True
        if self._child is not None:
            self._child.kill()

    def _plan(self) -> str:
        """Write what the child is to lock itself to; raise ``NoSandbox`` if it cannot be."""
        limits = self._limits
        plan = lockdown.LockPlan(
            profile="convert",
            stage=self._stage.folder,
            scratch=self._stage.scratch,
            memory_bytes=limits.memory_bytes,
            cpu_seconds=limits.cpu_seconds,
            write_bytes=limits.write_bytes,
            nice=limits.nice,
            cores=limits.cores,
        )
        asked = {
            "plan": {
                name: str(value) if name in ("stage", "scratch") else value
                for name, value in plan._asdict().items()
            },
            "open_files": WORKER_OPEN_FILES_MAX,
        }
        if sys.platform == "linux":
            try:
                program = seccomp.program("convert")
            except lockdown.NoLayer as error:
                raise NoSandbox(layer=error.layer, reason=error.reason) from error
            asked["program"] = base64.b64encode(program).decode()
            asked["word"] = seccomp.word("convert")
        return msgspec.json.encode(asked).decode()

    def _run(self, command: Sequence[str], request: bytes, scratch: Path, control: Control) -> None:
        wrapped, outer = lockdown.outer_command(command, self._stage.folder, scratch)
        if outer and not os.access(command[0], os.X_OK):  # bubblewrap would say it in its words
            detail = f"{command[0]}: {os.strerror(errno.ENOENT)}"
            raise WorkerFailed("crash", "start", detail)
        try:
            child = self._child = Child(wrapped, scratch, outer)
        except OSError as error:
            detail = f"{command[0]}: {error.strerror}"
            raise WorkerFailed("crash", "start", detail) from error
        child.bound(self._limits.memory_bytes, self._limits.cpu_seconds, self._limits.nice)
        reader = threading.Thread(target=self._read, args=(child,), name="foreign", daemon=True)
        reader.start()
        is_late = False
        try:
            child.write(request, _SEND_SECONDS)
            child.close_input()
            deadline = time.monotonic() + self._limits.wall_seconds
            while reader.is_alive() and not is_late:
                child.note_memory()
                before = time.monotonic()
                control.checkpoint("convert", 0, 1)
                deadline += time.monotonic() - before
                reader.join(_LOOK_SECONDS)
                is_late = time.monotonic() > deadline
        except Cancelled:
            child.kill()
            raise
        finally:
            if is_late:
                child.kill()
            ending = child.end(_END_SECONDS)
            reader.join(_END_SECONDS)
            self._usage = ending.usage
        if self._killed:
            raise WorkerFailed("cancelled", "convert", "ended from outside")
        if is_late:
            seconds = f"{self._limits.wall_seconds:g}"
            raise WorkerFailed("timeout", "convert", f"no answer within {seconds} s")
        if self._is_too_long or child.flooded:
            raise WorkerFailed("protocol", "convert", "it says too much")
        if missing := no_sandbox(ending, child.errors):
            raise missing
        first, _, answer = bytes(self._said).strip().partition(b"\n")
        if first:
            self._note_lock(first, outer)
        if not answer:
            is_limit = ending.is_limit or ran_out_of_memory(child.errors)
            kind: FailureKind = "limit" if is_limit else "crash"
            raise WorkerFailed(kind, "convert", last_words(ending, child.errors))

    def _note_lock(self, line: bytes, outer: tuple[str, ...]) -> None:
        try:
            locked = _LOCKS.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            detail = f"its first line does not say how it is locked: {error}"
            raise WorkerFailed("protocol", "convert", detail) from error
        self.layers, self.grade = outer + locked.layers, locked.grade

    def _made(self, scratch: Path) -> Made:
        last = bytes(self._said).strip().rpartition(b"\n")[2]
        try:
            answer = _ANSWERS.decode(last)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            detail = str(error)[:WORKER_MESSAGE_CHARACTERS_MAX]
            raise WorkerFailed("protocol", "convert", detail) from error
        if answer.refused is not None:
            raise refusal_of_converter(answer.refused.code, answer.refused.values)
        if answer.made is None:
            raise WorkerFailed("protocol", "convert", "neither made nor refused")
        made = checked_made(answer.made, scratch)
        if isinstance(made, str):
            raise WorkerFailed("protocol", "convert", made)
        return made

    def _read(self, child: Child) -> None:
        with contextlib.suppress(OSError, ValueError):
            while chunk := child.stdout.read1(_READ_BYTES):
                if len(self._said) + len(chunk) > WORKER_ANSWER_SIZE_BYTES_MAX:
                    self._is_too_long = True
                    child.kill()
                    return
                self._said += chunk


def _only_converts(check: str) -> WorkerFailed:
    return WorkerFailed("protocol", check, "this Worker only converts")
