"""What a Worker does with each question, after the lock: one stage, one session at a time.

* Every question gets exactly one last answer; what goes wrong in it is an answer too.
* A file that is put is held in memory and written nowhere; its model is loaded from there.
* A run stops when it is told to; everything else is ended with the process.

How a question comes in, and what the process gave up before, is not known here.
"""

from __future__ import annotations

import gc
import importlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

import msgspec
import numpy as np

from hanse.core.artifacts import converters
from hanse.core.artifacts.converters.answering import ConversionRefused
from hanse.core.certify import frames
from hanse.core.certify.adapters import all_formats, all_runtimes
from hanse.core.certify.adapters.refusal import Unfit, name, text
from hanse.core.certify.adapters.session import Refusal, Stopped, named, refusals
from hanse.core.certify.by_rows import evaluate
from hanse.core.certify.tensors import BadTensor, from_wire, tensor_of, to_wire
from hanse.core.certify.timing import time_runs
from hanse.core.limits import WORKER_MESSAGE_CHARACTERS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hanse.core.certify.adapters.session import Session, Stop
    from hanse.core.model.arrays import Array
    from hanse.core.model.running import FailureKind

_PROVIDER: Final = "cpu"
_STATUS: Final = Path("/proc/self/status")


class Desk:
    """Answers the questions of one job."""

    def __init__(self, hello: frames.Hello, send: Callable[[frames.Answer], None]) -> None:
        """Keep where things are; ``send`` gives parts of an answer before the last."""
        self._profile = hello.profile
        self._stage = Path(hello.stage)
        self._scratch = None if hello.scratch is None else Path(hello.scratch)
        self._send = send
        self._memory: dict[str, bytes | bytearray] = {}
        self._session: Session | None = None

    def answer(self, question: frames.Question, stop: Stop) -> frames.Answer:
        """Answer one question, whatever happens."""
        number = question.id
        try:
            return self._answer(question, stop)
        except Unfit as error:
            values = {"found": error.found, "allowed": error.allowed}
            return failed(number, "refused", "", error.rule, values)
        except ConversionRefused as refusal:
            return failed(number, "refused", "", refusal.code, refusal.values)
        except all_runtimes.ExtraMissing as missing:
            return failed(number, "refused", str(missing), "extra")
        except Refusal as refusal:
            return failed(number, "refused", str(refusal))
        except Stopped:
            return failed(number, "cancelled", "")
        except MemoryError:
            return failed(number, "limit", "memory")
        except (frames.BadFrame, BadTensor) as error:
            return failed(number, "limit", str(error))
        except Exception as error:  # noqa: BLE001  the boundary of the process: all else is a crash
            return failed(number, "crash", f"{type(error).__name__}: {error}")

    def _answer(self, question: frames.Question, stop: Stop) -> frames.Answer:
        if not isinstance(question, frames.Inspect | frames.Convert) and self._profile != "run":
            raise Refusal(f"a Worker of profile {self._profile} runs nothing")
        match question:
            case frames.Inspect():
                facts = all_formats.inspect(self._stage, question.file, question.file_format)
                return frames.Facts(id=question.id, facts=facts)
            case frames.Convert():
                return self._convert(question)
            case frames.Put():
                return self._put(question)
            case frames.Load():
                return self._load(question)
            case frames.Run():
                return self._run(question, stop)
            case frames.Evaluate():
                return self._evaluate(question, stop)
            case frames.Bench():
                return self._bench(question, stop)
            case frames.Pictures():
                return self._pictures(question)
            case _:
                assert_never(question)

    def _convert(self, question: frames.Convert) -> frames.Answer:
        if question.converter not in converters.CONVERTERS or self._scratch is None:
            values = {"found": question.converter}
            return failed(question.id, "refused", "", "no_converter", values)
        converter = importlib.import_module(f"{converters.__name__}.{question.converter}")
        made = converter.convert(
            self._stage / question.source, self._scratch / question.target, dict(question.options)
        )
        return msgspec.convert({"type": "made", "id": question.id, **made}, frames.MadeFiles)

    def _put(self, question: frames.Put) -> frames.Answer:
        if question.offset == 0:
            self._memory[question.file] = bytearray()
        held = self._memory.get(question.file, b"")
        if not isinstance(held, bytearray) or len(held) != question.offset:
            raise Refusal(
                f"{name(question.file)}: {len(held)} bytes are held, not {question.offset}"
            )
        held += question.data
        return frames.Taken(id=question.id, size=len(held))

    def _load(self, question: frames.Load) -> frames.Answer:
        self._session = None
        gc.collect()
        base, _ = memory_bytes()
        memory = self._in_memory(question.file) if question.in_memory else None
        began = time.perf_counter_ns()
        session = all_runtimes.load(
            self._stage,
            question.file,
            question.file_format,
            memory,
            question.threads,
            question.optimisation,
        )
        load_ns = time.perf_counter_ns() - began
        self._session = session
        return frames.Session(
            id=question.id,
            inputs=session.inputs,
            outputs=session.outputs,
            load_ns=max(1, load_ns),
            base_rss_bytes=base,
            rss_bytes=memory_bytes()[0],
            runtime=session.runtime,
            version=session.version,
            provider=_PROVIDER,
            optimisation=question.optimisation,
        )

    def _in_memory(self, file: str) -> dict[str, bytes]:
        """Close what was put: a runtime takes bytes that nobody changes any more."""
        if file not in self._memory:
            raise Refusal(f"{name(file)} was not put into memory")
        closed: dict[str, bytes] = {}
        for key, held in list(self._memory.items()):
            closed[key] = self._memory[key] = bytes(held)  # one at a time, so that two are not held
        return closed

    def _run(self, question: frames.Run, stop: Stop) -> frames.Answer:
        session = self._loaded()
        inputs = from_wire(question.inputs)
        with refusals(stop, session.words):
            run = session.bind(inputs, stop)
            began = time.perf_counter_ns()
            raw = run()
            ns = time.perf_counter_ns() - began
        stop.check()
        outputs = to_wire(named(raw, session.outputs))
        return frames.Out(id=question.id, outputs=outputs, ns=max(1, ns))

    def _evaluate(self, question: frames.Evaluate, stop: Stop) -> frames.Answer:
        session = self._loaded()

        def give(rows: int, outputs: Mapping[str, Array]) -> None:
            self._send(frames.Part(id=question.id, rows=rows, outputs=to_wire(outputs)))

        inputs = from_wire(question.inputs)
        ns = evaluate(session, inputs, question.batch, stop, give, fixed=question.fixed)
        return frames.Out(id=question.id, outputs={}, ns=max(1, ns))

    def _bench(self, question: frames.Bench, stop: Stop) -> frames.Answer:
        session = self._loaded()
        times = time_runs(session, from_wire(question.inputs), question.block, stop)
        return frames.Timed(
            id=question.id,
            ns=tensor_of(np.array(times.ns, np.int64)),
            warmup_runs=times.warmup_runs,
            is_stable=times.is_stable,
            cpu_ns=times.cpu_ns,
            rss_bytes=memory_bytes()[0],
        )

    def _pictures(self, question: frames.Pictures) -> frames.Answer:
        size = (question.height, question.width) if question.height else None
        pixels = all_runtimes.read_images(
            self._stage, question.files, size, question.channels, resize=question.resize
        )
        return frames.Pixels(id=question.id, pixels=tensor_of(pixels))

    def _loaded(self) -> Session:
        if self._session is None:
            raise Refusal("no model is loaded")
        return self._session


def versions() -> dict[str, str]:
    """Name all that models are read and run with."""
    return all_formats.versions() | all_runtimes.versions()


def memory_bytes() -> tuple[int, int]:
    """Return what this process holds now and what it held at most; 0 where nobody says."""
    try:
        lines = _STATUS.read_text("ascii", "replace").splitlines()
    except OSError:
        return 0, 0
    found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return int(found.get("VmRSS", 0)) * 1024, int(found.get("VmHWM", 0)) * 1024


def failed(
    number: int,
    kind: FailureKind,
    message: str,
    word: str = "",
    values: Mapping[str, object] | None = None,
) -> frames.Failed:
    """Say that there is no answer, with words cut to their limits."""
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
