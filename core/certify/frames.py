"""What passes between the program and one Worker: frames, in both directions.

* A frame is a little-endian u32 length, then MessagePack of one tagged struct; unknown
  fields and unknown tags are refused.
* Its length is checked before a byte of it is waited for; how long an answer may be
  depends on what was asked.
* Only frames that carry tensors or a part of a model are long; all others fit a pipe.

What a request means, and whether an answer is believed, is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, BinaryIO, Final, Literal, TypeVar

import msgspec

from hanse.core.certify.tensors import Tensor, Tensors
from hanse.core.limits import (
    CONVERTED_FILES_MAX,
    FACT_VALUES_MAX,
    TENSORS_OF_A_SIGNATURE_MAX,
    WORKER_ANSWER_SIZE_BYTES_MAX,
    WORKER_INPUT_SIZE_BYTES_MAX,
    WORKER_MESSAGE_CHARACTERS_MAX,
    WORKER_OUTPUT_SIZE_BYTES_MAX,
    WORKER_PUT_SIZE_BYTES_MAX,
    WORKER_REQUEST_SIZE_BYTES_MAX,
    WORKER_WORDS_MAX,
)
from hanse.core.model.artifact import Format, ModelFacts, Name, Natural, Parity, TensorFacts
from hanse.core.model.running import Block, FailureKind, Grade, Optimisation, Profile

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LENGTH_BYTES: Final = 4
_AROUND_BYTES: Final = 1024  # of a frame that carries part of a file: its name, tag and numbers

Text = Annotated[str, msgspec.Meta(max_length=WORKER_MESSAGE_CHARACTERS_MAX)]
Words = Annotated[tuple[Name, ...], msgspec.Meta(max_length=WORKER_WORDS_MAX)]
Values = Annotated[dict[Name, int | Text], msgspec.Meta(max_length=WORKER_WORDS_MAX)]
Signature = Annotated[tuple[TensorFacts, ...], msgspec.Meta(max_length=TENSORS_OF_A_SIGNATURE_MAX)]
Option = str | int | bool | tuple[str, ...]


class _Frame(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One frame."""


# --- to the Worker --------------------------------------------------------------------------------


class Hello(_Frame, frozen=True, tag="hello"):
    """First to the Worker: where its files are, and how much it may take."""

    profile: Profile
    stage: str
    scratch: str | None
    memory_bytes: int
    cpu_seconds: int
    write_bytes: int
    nice: int
    cores: int


class Inspect(_Frame, frozen=True, tag="inspect"):
    """Read the facts of one file of the stage."""

    id: int
    file: str
    file_format: Format


class Convert(_Frame, frozen=True, tag="convert"):
    """Convert one file of the stage into the scratch folder."""

    id: int
    converter: str
    source: str
    target: str
    options: dict[str, Option]


class Put(_Frame, frozen=True, tag="put"):
    """Append to a file that is held in memory; ``offset`` is how long it must be before."""

    id: int
    file: str
    offset: int
    data: memoryview


class Load(_Frame, frozen=True, tag="load"):
    """Make a session of a file of the stage, or of one that was put."""

    id: int
    file: str
    file_format: Format
    threads: int
    optimisation: Optimisation
    in_memory: bool


class Run(_Frame, frozen=True, tag="run"):
    """Run the session once."""

    id: int
    inputs: Tensors


class Evaluate(_Frame, frozen=True, tag="evaluate"):
    """Run over these rows, ``batch`` at a time; ``fixed`` when the model takes no other number."""

    id: int
    inputs: Tensors
    batch: int
    fixed: bool


class Bench(_Frame, frozen=True, tag="bench"):
    """Time runs of the session."""

    id: int
    inputs: Tensors
    block: Block


class Pictures(_Frame, frozen=True, tag="pictures"):
    """Decode pictures of the stage, and ``resize`` them or refuse those of another size.

    ``height`` and ``width`` of 0 take any size.
    """

    id: int
    files: tuple[str, ...]
    height: int
    width: int
    resize: bool
    channels: Literal[1, 3]


class Cancel(_Frame, frozen=True, tag="cancel"):
    """End the running request; the Worker ends with it, unless it can stop a model."""

    id: int


# --- from the Worker ------------------------------------------------------------------------------


class Ready(_Frame, frozen=True, tag="ready"):
    """First from the Worker: the layers in force, their worth, and the versions it reads with."""

    layers: Words
    grade: Grade
    versions: Annotated[dict[Name, Name], msgspec.Meta(max_length=WORKER_WORDS_MAX)]


class Facts(_Frame, frozen=True, tag="facts"):
    """The answer to ``inspect``."""

    id: int
    facts: ModelFacts


class MadeFiles(_Frame, frozen=True, tag="made"):
    """The answer to ``convert``; the fields are those of ``running.Made``."""

    files: Annotated[tuple[Name, ...], msgspec.Meta(max_length=CONVERTED_FILES_MAX)]
    parity: Parity
    kept: bool
    notes: Words
    figures: Annotated[dict[Name, Natural], msgspec.Meta(max_length=FACT_VALUES_MAX)]
    id: int = 0


class Taken(_Frame, frozen=True, tag="ok"):
    """The answer to ``put``; ``size`` is how long the file is now."""

    id: int
    size: Natural


class Session(_Frame, frozen=True, tag="loaded"):
    """The answer to ``load``; the fields are those of ``running.Loaded``."""

    id: int
    inputs: Signature
    outputs: Signature
    load_ns: Natural
    base_rss_bytes: Natural
    rss_bytes: Natural
    runtime: Literal["onnxruntime", "litert"]
    version: Name
    provider: Name
    optimisation: Optimisation


class Part(_Frame, frozen=True, tag="part"):
    """Outputs of the next ``rows``, before the last answer to ``evaluate``."""

    id: int
    rows: Natural
    outputs: Tensors


class Out(_Frame, frozen=True, tag="out"):
    """The answer to ``run``; to ``evaluate`` the last one, then without outputs."""

    id: int
    outputs: Tensors
    ns: Natural


class Timed(_Frame, frozen=True, tag="lat"):
    """The answer to ``bench``: int64 nanoseconds of each timed run."""

    id: int
    ns: Tensor
    warmup_runs: Natural
    is_stable: bool
    cpu_ns: Natural
    rss_bytes: Natural


class Pixels(_Frame, frozen=True, tag="pixels"):
    """The answer to ``pictures``: uint8 of shape [n, height, width, channels]."""

    id: int
    pixels: Tensor


class Failed(_Frame, frozen=True, tag="err"):
    """The answer that there is none; ``word`` and ``values`` say which rule refused."""

    id: int
    kind: FailureKind
    word: Name
    values: Values
    message: Text


Request = Hello | Inspect | Convert | Put | Load | Run | Evaluate | Bench | Pictures | Cancel
Question = Inspect | Convert | Put | Load | Run | Evaluate | Bench | Pictures
STOPPABLE: Final = (Run, Evaluate, Bench)  # a Worker can stop these and go on
Answer = Ready | Facts | MadeFiles | Taken | Session | Part | Out | Timed | Pixels | Failed

REQUESTS: Final = msgspec.msgpack.Decoder(Request)
ANSWERS: Final = msgspec.msgpack.Decoder(Answer)
_ENCODER: Final = msgspec.msgpack.Encoder()
_WITH_TENSORS: Final = (Run, Evaluate, Bench)
_WITH_RESULTS: Final = (Part, Out, Timed, Pixels)


class BadFrame(Exception):
    """The bytes are no frame of ours; the text says why."""


class EndedInFrame(Exception):
    """The stream ended inside a frame."""


def encode_request(request: Request) -> bytearray:
    """Write a frame for the Worker, or raise ``BadFrame`` when it is too long for its kind."""
    if isinstance(request, _WITH_TENSORS):
        room = sum(
            memoryview(one.data).nbytes for one in request.inputs.values() if one.dtype != "string"
        )
        return _encode(request, WORKER_INPUT_SIZE_BYTES_MAX, room)
    if isinstance(request, Put):
        return _encode(request, WORKER_PUT_SIZE_BYTES_MAX + _AROUND_BYTES, len(request.data))
    return _encode(request, WORKER_REQUEST_SIZE_BYTES_MAX)


def encode_answer(answer: Answer) -> bytearray:
    """Write a frame from the Worker, or raise ``BadFrame`` when it is too long."""
    is_long = isinstance(answer, _WITH_RESULTS)
    return _encode(
        answer, WORKER_OUTPUT_SIZE_BYTES_MAX if is_long else WORKER_ANSWER_SIZE_BYTES_MAX
    )


def read_request(stream: BinaryIO) -> Request | None:
    """Read the next frame to the Worker; ``None`` at the end of the stream."""
    raw = _read(stream, lambda: WORKER_INPUT_SIZE_BYTES_MAX)
    return None if raw is None else _decode(raw, REQUESTS)


def _small() -> int:
    return WORKER_ANSWER_SIZE_BYTES_MAX


def read_answer(stream: BinaryIO, most: Callable[[], int] = _small) -> Answer | None:
    """Read the next frame from the Worker; ``None`` at the end of the stream.

    ``most`` is asked how long it may be when its length is known, and not before.
    """
    raw = _read(stream, most)
    return None if raw is None else _decode(raw, ANSWERS)


def _encode(frame: Request | Answer, most: int, room: int = 0) -> bytearray:
    """Write into one buffer, which is never moved when ``room`` is what the frame carries."""
    raw = bytearray(room + _AROUND_BYTES)
    _ENCODER.encode_into(frame, raw, LENGTH_BYTES)
    size = len(raw) - LENGTH_BYTES
    if size > most:
        raise BadFrame(f"frame of {size} bytes, limit {most}")
    raw[:LENGTH_BYTES] = size.to_bytes(LENGTH_BYTES, "little")
    return raw


def _read(stream: BinaryIO, most: Callable[[], int]) -> bytes | None:
    head = stream.read(LENGTH_BYTES)
    if not head:
        return None
    if len(head) < LENGTH_BYTES:
        raise EndedInFrame
    length = int.from_bytes(head, "little")
    if length > most():
        raise BadFrame(f"frame of {length} bytes, limit {most()}")
    body = stream.read(length)
    if len(body) < length:
        raise EndedInFrame
    return body


def _decode(raw: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFrame(str(error)) from error
