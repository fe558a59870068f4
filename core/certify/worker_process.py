"""One Worker, as the port has it: each thing it is asked, and whether its answer is believed.

* Inputs that do not fit the signature are refused here; the Worker goes on.
* What a runtime refuses is told as ``refused``; the Worker goes on as well.
* Names, types and sizes of an answer must be those that were asked for, and times cannot be
  longer than it took by our own clock; anything else ends the Worker.
* Rows of a data set go over once and in parts, and so do their outputs; labels never do.

How a question travels and when it is given up is not known here.
"""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from hanse.core.artifacts.formats import FormatRefused
from hanse.core.certify import frames
from hanse.core.certify.answers import (
    Doubt,
    Joined,
    latencies_of,
    loaded_of,
    outputs_of,
    pixels_of,
)
from hanse.core.certify.asking import Asked, Wall, cleaned
from hanse.core.certify.made import checked_made, refusal_of_converter
from hanse.core.certify.signature import Misfit, check_inputs, check_rows
from hanse.core.certify.tensors import to_wire
from hanse.core.errors import Refused, WrongUse
from hanse.core.limits import (
    PICTURES_ASKED_MAX,
    PICTURES_SIZE_BYTES_MAX,
    WORKER_ANSWER_SIZE_BYTES_MAX,
    WORKER_OUTPUT_SIZE_BYTES_MAX,
    WORKER_PUT_SIZE_BYTES_MAX,
    WORKER_RUNS_MAX,
)
from hanse.core.model.artifact import RUNNABLE
from hanse.core.model.running import Ran, WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hanse.core.certify.child import Child
    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import Format, ModelFacts
    from hanse.core.model.control import Control
    from hanse.core.model.running import (
        Block,
        ConvertRequest,
        Grade,
        Latencies,
        Loaded,
        Made,
        Optimisation,
        Profile,
        Stage,
        WorkerLimits,
    )

_ROWS_BYTES: Final = 16 * 1024**2  # of inputs in one frame, where the rows allow it
_PIXELS_BYTES: Final = 16 * 1024**2
_RUN_BYTES: Final = 8  # of one latency
_EXTRAS: Final = {"tflite": "tflite"}  # the format, and what it is run with

A = TypeVar("A", frames.Out, frames.Timed)


class ConvertRequestTooLong(WrongUse):
    """The options of a Conversion do not fit one request."""

    code = "convert.request_too_long"
    text = "conversion request refused: {detail}"
    fields = ("detail",)


class RuntimeMissing(WorkerFailed):
    """What reads or runs this is an extra that is not installed."""

    code = "worker.runtime_missing"
    text = "{what} needs the extra {extra}"
    fields = ("what", "extra")  # type: ignore[assignment]  # a kind of failure with other words

    def __init__(self, check: str, what: str, extra: str) -> None:
        """Name what was to be read or run, and the extra."""
        Refused.__init__(self, what=what, extra=extra)
        self.kind = "refused"
        self.check = check
        self.detail = f"{what} needs the extra {extra}"


class WorkerProcess(Asked):
    """One Worker that said ``ready``."""

    def __init__(
        self,
        child: Child,
        stage: Stage,
        limits: WorkerLimits,
        profile: Profile,
        outer: tuple[str, ...] = (),
        on_end: Callable[[], None] | None = None,
    ) -> None:
        """Greet ``child``; ``outer`` names what was put around it from outside."""
        super().__init__(child, on_end)
        child.bound(limits.memory_bytes, limits.cpu_seconds, limits.nice)
        self._limits = limits
        self._stage = stage
        self._loaded: Loaded | None = None
        self._put: dict[str, int] = {}
        self._closed: set[str] = set()
        ready = self.greet(
            frames.Hello(
                profile=profile,
                stage=str(stage.folder),
                scratch=None if stage.scratch is None else str(stage.scratch),
                memory_bytes=limits.memory_bytes,
                cpu_seconds=limits.cpu_seconds,
                write_bytes=limits.write_bytes,
                nice=limits.nice,
                cores=limits.cores,
            )
        )
        if ready.grade == "none":
            raise self.fail("protocol", "start", "ready without a lock")
        self.layers: tuple[str, ...] = (*outer, *ready.layers)
        self.grade: Grade = ready.grade
        self.versions: Mapping[str, str] = dict(ready.versions)

    # --- reading and converting ---------------------------------------------------------------

    def inspect(self, file: str, file_format: Format, control: Control) -> ModelFacts:
        """Read the facts of one file of the stage."""
        request = frames.Inspect(id=self.next_number(), file=file, file_format=file_format)
        answer = self.ask(request, frames.Facts, self._wall("inspect", control))
        if isinstance(answer, frames.Failed):
            raise FormatRefused(
                file=file,
                rule=answer.word,
                found=answer.values.get("found", ""),
                allowed=answer.values.get("allowed", ""),
            )
        if answer.facts.file != file or answer.facts.format != file_format:
            raise self.fail("protocol", "inspect", "the facts are of another file")
        return answer.facts

    def convert(self, request: ConvertRequest, control: Control) -> Made:
        """Convert one file of the stage into the scratch folder."""
        assert self._stage.scratch is not None
        frame = frames.Convert(
            id=self.next_number(),
            converter=request.converter,
            source=str(PurePosixPath(request.source)),
            target=request.target,
            options={
                key: value if isinstance(value, str | int | bool) else tuple(value)
                for key, value in request.options.items()
            },
        )
        try:
            answer = self.ask(frame, frames.MadeFiles, self._wall("convert", control))
        except frames.BadFrame as error:
            raise ConvertRequestTooLong(detail=str(error)) from error
        if isinstance(answer, frames.Failed):
            raise refusal_of_converter(answer.word, answer.values)
        made = checked_made(answer, self._stage.scratch)
        if isinstance(made, str):
            raise self.fail("protocol", "convert", made)
        return made

    def read_images(
        self, files: Sequence[str], size: tuple[int, int] | None, channels: int, control: Control
    ) -> Array:
        """Decode pictures of the stage into uint8 [n, height, width, channels].

        ``size`` is (height, width); without it all must have one size already.
        """
        assert files
        assert channels in (1, 3)
        wall = self._wall("images", control, len(files))
        part = self._read_pictures(files[:1], size, channels, wall)
        height, width = part.shape[1:3]
        shape = (len(files), height, width, channels)
        if (whole := math.prod(shape)) > PICTURES_SIZE_BYTES_MAX:
            detail = f"{whole} bytes of pixels, limit {PICTURES_SIZE_BYTES_MAX}"
            raise WorkerFailed("refused", "images", detail)
        pixels = np.empty(shape, np.uint8)
        pixels[:1] = part
        step = min(PICTURES_ASKED_MAX, max(1, _PIXELS_BYTES // math.prod(shape[1:])))
        for start in range(1, len(files), step):
            wall.done = start
            asked = files[start : start + step]
            pixels[start : start + step] = self._read_pictures(
                asked, size, channels, wall, expected=(height, width)
            )
        return pixels

    def _read_pictures(
        self,
        files: Sequence[str],
        size: tuple[int, int] | None,
        channels: int,
        wall: Wall,
        expected: tuple[int, int] | None = None,
    ) -> Array:
        height, width = expected or size or (0, 0)
        request = frames.Pictures(
            id=self.next_number(),
            files=tuple(files),
            height=height,
            width=width,
            resize=size is not None,
            channels=1 if channels == 1 else 3,
        )
        with self._believing("images"):
            answer = self.ask(request, frames.Pixels, wall, most_bytes=WORKER_OUTPUT_SIZE_BYTES_MAX)
            if isinstance(answer, frames.Pixels):
                return pixels_of(answer, len(files), expected or size, channels)
        if answer.word == "extra":
            raise RuntimeMissing("images", "picture", "images")
        raise WorkerFailed("refused", "images", cleaned(answer.message))

    # --- loading and running ------------------------------------------------------------------

    def put(self, file: str, data: bytes | memoryview, control: Control) -> None:
        """Append ``data`` to the in-memory file ``file``; the frames it went in are wiped.

        After a load from memory a file begins anew.
        """
        view = memoryview(data).cast("B")
        wall = self._wall("put", control, max(1, len(view)))
        if file in self._closed:
            self._closed.discard(file)
            self._put[file] = 0
        for start in range(0, len(view), WORKER_PUT_SIZE_BYTES_MAX):
            part = view[start : start + WORKER_PUT_SIZE_BYTES_MAX]
            held = self._put.get(file, 0)
            request = frames.Put(id=self.next_number(), file=file, offset=held, data=part)
            answer = self.ask(request, frames.Taken, wall)
            if isinstance(answer, frames.Failed):
                raise WorkerFailed("refused", "put", cleaned(answer.message))
            if answer.size != held + len(part):
                raise self.fail("protocol", "put", f"holds {answer.size}, sent {held + len(part)}")
            self._put[file] = answer.size
            wall.done += len(part)

    def load(
        self,
        file: str,
        file_format: Format,
        threads: int,
        control: Control,
        *,
        in_memory: bool = False,
        optimisation: Optimisation = "all",
    ) -> Loaded:
        """Make a session; another load replaces it, and one that fails leaves none."""
        assert threads >= 1
        if file_format not in RUNNABLE:
            raise WorkerFailed("refused", "load", f"{file}: {file_format} does not run here")
        self._loaded = None
        if in_memory:
            self._closed = set(self._put)
        request = frames.Load(
            id=self.next_number(),
            file=file,
            file_format=file_format,
            threads=threads,
            optimisation=optimisation,
            in_memory=in_memory,
        )
        began = time.perf_counter_ns()
        with self._believing("load"):
            answer = self.ask(request, frames.Session, self._wall("load", control))
            if isinstance(answer, frames.Session):
                wall_ns = time.perf_counter_ns() - began
                self._loaded = loaded_of(answer, optimisation, wall_ns)
                return self._loaded
        if answer.word == "extra" and file_format in _EXTRAS:
            raise RuntimeMissing("load", file_format, _EXTRAS[file_format])
        raise WorkerFailed("refused", "load", cleaned(answer.message))

    def run(self, inputs: Mapping[str, Array], control: Control) -> Ran:
        """Run the loaded model once on ``inputs`` by name."""
        loaded = self._session(inputs, "run")
        request = frames.Run(id=self.next_number(), inputs=to_wire(inputs))
        with self._believing("run"):
            answer = self._ask_model(request, frames.Out, self._wall("run", control))
            return Ran(outputs_of(answer.outputs, loaded.outputs), answer.ns)

    def evaluate(self, inputs: Mapping[str, Array], batch: int, control: Control) -> Ran:
        """Run over all rows in batches; the inputs go over in parts, and so do the outputs."""
        loaded = self._any_session("evaluate")
        try:
            rows = check_rows(loaded.inputs, inputs, batch)
        except Misfit as misfit:
            raise WorkerFailed("refused", "evaluate", cleaned(str(misfit))) from misfit
        wall = self._wall("evaluate", control, rows.count)
        joined = Joined(loaded.outputs)
        row_bytes = sum(array.nbytes // rows.count for array in inputs.values() if array.ndim)
        step = max(1, _ROWS_BYTES // max(1, row_bytes * rows.batch)) * rows.batch
        ns = 0
        for start in range(0, rows.count, step):
            part = {
                key: array[start : start + step] if array.ndim else array
                for key, array in inputs.items()
            }
            request = frames.Evaluate(
                id=self.next_number(), inputs=to_wire(part), batch=rows.batch, fixed=rows.fixed
            )
            joined.expect(min(step, rows.count - start))
            with self._believing("evaluate"):
                answer = self._ask_model(request, frames.Out, wall, on_part=joined.add)
                joined.check_complete()
                if answer.outputs:
                    raise Doubt("outputs after the last row")
            ns += answer.ns
        return Ran(joined.outputs(), ns)

    def bench(self, inputs: Mapping[str, Array], block: Block, control: Control) -> Latencies:
        """Time runs on ``inputs``, inside; what cannot be true by our own clock is refused."""
        assert 1 <= block.runs_least <= block.runs_most <= WORKER_RUNS_MAX
        self._session(inputs, "bench")
        request = frames.Bench(id=self.next_number(), inputs=to_wire(inputs), block=block)
        most_bytes = WORKER_ANSWER_SIZE_BYTES_MAX + block.runs_most * _RUN_BYTES
        began = time.perf_counter_ns()
        with self._believing("bench"):
            answer = self._ask_model(
                request, frames.Timed, self._wall("bench", control), most_bytes=most_bytes
            )
            return latencies_of(answer, block, time.perf_counter_ns() - began)

    # --- shared -------------------------------------------------------------------------------

    def _wall(self, check: str, control: Control, total: int = 1) -> Wall:
        return Wall(check, self._limits.wall_seconds, control, total)

    def _any_session(self, check: str) -> Loaded:
        self.check_alive(check)
        if self._loaded is None:
            raise WorkerFailed("refused", check, "no model is loaded")
        return self._loaded

    def _session(self, inputs: Mapping[str, Array], check: str) -> Loaded:
        loaded = self._any_session(check)
        try:
            check_inputs(loaded.inputs, inputs)
        except Misfit as misfit:
            raise WorkerFailed("refused", check, cleaned(str(misfit))) from misfit
        return loaded

    def _ask_model(
        self,
        request: frames.Run | frames.Evaluate | frames.Bench,
        expected: type[A],
        wall: Wall,
        *,
        most_bytes: int = WORKER_OUTPUT_SIZE_BYTES_MAX,
        on_part: Callable[[frames.Part], int] | None = None,
    ) -> A:
        """Ask, and check what every answer of a model says: no time longer than the wall."""
        began = time.perf_counter_ns()
        try:
            answer = self.ask(request, expected, wall, most_bytes=most_bytes, on_part=on_part)
        except frames.BadFrame as error:  # more than one frame holds
            raise WorkerFailed("refused", wall.check, str(error)) from error
        if isinstance(answer, frames.Failed):
            raise WorkerFailed("refused", wall.check, cleaned(answer.message))
        if isinstance(answer, frames.Out):
            wall_ns = time.perf_counter_ns() - began
            if not 0 < answer.ns <= wall_ns:
                raise Doubt(f"{answer.ns} ns, we waited {wall_ns}")
        return answer

    @contextlib.contextmanager
    def _believing(self, check: str) -> Iterator[None]:
        try:
            yield
        except Doubt as doubt:
            raise self.fail("protocol", check, str(doubt)) from doubt
