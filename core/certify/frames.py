"""What passes between the program and one Worker: frames, in both directions.

* A frame is a little-endian u32 length, then MessagePack of one tagged struct; unknown
  fields and unknown tags are refused.
* Its length is checked before a byte of it is waited for.
* A request fits a pipe, so that a Worker that does not read cannot hold us.

What a request means, and whether an answer is believed, is not known here.
"""

from __future__ import annotations

from typing import Annotated, BinaryIO, Final, Literal, TypeVar

import msgspec

from hanse.core.limits import (
    CONVERTED_FILES_MAX,
    FACT_VALUES_MAX,
    WORKER_ANSWER_SIZE_BYTES_MAX,
    WORKER_MESSAGE_CHARACTERS_MAX,
    WORKER_REQUEST_SIZE_BYTES_MAX,
    WORKER_WORDS_MAX,
)
from hanse.core.model.artifact import Format, ModelFacts, Name, Natural, Parity

T = TypeVar("T")

_LENGTH_BYTES: Final = 4

Text = Annotated[str, msgspec.Meta(max_length=WORKER_MESSAGE_CHARACTERS_MAX)]
Words = Annotated[tuple[Name, ...], msgspec.Meta(max_length=WORKER_WORDS_MAX)]
Values = Annotated[dict[Name, int | Text], msgspec.Meta(max_length=WORKER_WORDS_MAX)]
Option = str | int | bool | tuple[str, ...]


class _Frame(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One frame."""


class Hello(_Frame, frozen=True, tag="hello"):
    """First to the Worker: where its files are, and how much it may take."""

    profile: Literal["inspect", "convert"]
    stage: str
    scratch: str | None
    memory_bytes: int
    cpu_seconds: int
    write_bytes: int


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


class Cancel(_Frame, frozen=True, tag="cancel"):
    """End the running request; the Worker ends with it."""

    id: int


class Ready(_Frame, frozen=True, tag="ready"):
    """First from the Worker: the layers in force, and the versions it reads with."""

    layers: Words
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


class Failed(_Frame, frozen=True, tag="err"):
    """The answer that there is none; ``word`` and ``values`` say which rule refused."""

    id: int
    kind: Literal["refused", "limit", "timeout", "crash", "cancelled", "protocol"]
    word: Name
    values: Values
    message: Text


Request = Hello | Inspect | Convert | Cancel
Answer = Ready | Facts | MadeFiles | Failed

REQUESTS: Final = msgspec.msgpack.Decoder(Request)
ANSWERS: Final = msgspec.msgpack.Decoder(Answer)


class BadFrame(Exception):
    """The bytes are no frame of ours; the text says why."""


class EndedInFrame(Exception):
    """The stream ended inside a frame."""


def encode_request(request: Request) -> bytes:
    """Write a frame for the Worker; an oversized one is our own mistake or the caller's."""
    return _encode(request, WORKER_REQUEST_SIZE_BYTES_MAX)


def encode_answer(answer: Answer) -> bytes:
    """Write a frame from the Worker, or raise ``BadFrame`` when it is too long."""
    return _encode(answer, WORKER_ANSWER_SIZE_BYTES_MAX)


def read_request(stream: BinaryIO) -> Request | None:
    """Read the next frame to the Worker; ``None`` at the end of the stream."""
    raw = _read(stream, WORKER_REQUEST_SIZE_BYTES_MAX)
    return None if raw is None else _decode(raw, REQUESTS)


def read_answer(stream: BinaryIO) -> Answer | None:
    """Read the next frame from the Worker; ``None`` at the end of the stream."""
    raw = _read(stream, WORKER_ANSWER_SIZE_BYTES_MAX)
    return None if raw is None else _decode(raw, ANSWERS)


def _encode(frame: Request | Answer, most: int) -> bytes:
    body = msgspec.msgpack.encode(frame)
    if len(body) > most:
        raise BadFrame(f"frame of {len(body)} bytes, limit {most}")
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


def _read(stream: BinaryIO, most: int) -> bytes | None:
    head = stream.read(_LENGTH_BYTES)
    if not head:
        return None
    if len(head) < _LENGTH_BYTES:
        raise EndedInFrame
    length = int.from_bytes(head, "little")
    if length > most:
        raise BadFrame(f"frame of {length} bytes, limit {most}")
    body = stream.read(length)
    if len(body) < length:
        raise EndedInFrame
    return body


def _decode(raw: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFrame(str(error)) from error
