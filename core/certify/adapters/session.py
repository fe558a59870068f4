"""A model that can be run: what every runtime does, and how it is told to stop.

* A session knows its signature, binds inputs once, and is then run as often as wanted.
* ``Stop`` is asked by the thread that reads frames while the main thread runs the model.
* What a runtime refuses is ``Refusal``, with its words; that memory ran out is ``MemoryError``.

Which runtime it is, and how long a run may take, is not known here.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np

from hanse.core.model.arrays import DTYPES, dtype_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hanse.core.model.arrays import Array
    from hanse.core.model.artifact import TensorFacts

_NUMBERS: Final = frozenset(np.dtype(one) for one in DTYPES if one != "string")
Raw = list[object]  # what a runtime answers, before it is looked at


class Refusal(Exception):
    """A runtime or a reader says no; the text says to what."""


class Stopped(Exception):
    """The run was ended because somebody asked."""


class Stop:
    """Whether somebody wants the running question to end; asked once, from another thread."""

    def __init__(self) -> None:
        """Begin unasked."""
        self._lock = threading.Lock()
        self._tell: Callable[[], None] | None = None
        self.is_asked = False

    def ask(self) -> None:
        """Tell the runtime now, or whoever runs it next."""
        with self._lock:
            self.is_asked = True
            if self._tell is not None:
                self._tell()

    def tells(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` when asked; at once when that was before."""
        with self._lock:
            self._tell = tell
            if self.is_asked:
                tell()

    def check(self) -> None:
        """Raise ``Stopped`` when asked."""
        if self.is_asked:
            raise Stopped


class Session(Protocol):
    """One loaded model."""

    @property
    def inputs(self) -> tuple[TensorFacts, ...]:
        """Return what it takes."""
        ...

    @property
    def outputs(self) -> tuple[TensorFacts, ...]:
        """Return what it makes."""
        ...

    @property
    def runtime(self) -> Literal["onnxruntime", "litert"]:
        """Name what runs it."""
        ...

    @property
    def version(self) -> str:
        """Return the version of what runs it."""
        ...

    def bind(self, inputs: Mapping[str, Array], stop: Stop) -> Callable[[], Raw]:
        """Take inputs that fit the signature; what comes back runs the model once on them.

        What it raises then is for ``refusals`` to name.
        """
        ...

    def words(self, error: Exception) -> str:
        """Return what the runtime said, or raise ``MemoryError`` when that is what it meant."""
        ...


@contextlib.contextmanager
def refusals(stop: Stop, words: Callable[[Exception], str]) -> Iterator[None]:
    """Turn what a runtime raises into ``Stopped``, ``MemoryError`` or ``Refusal``."""
    try:
        yield
    except (MemoryError, Refusal, Stopped):
        raise
    except Exception as error:
        raise refusal_of(error, stop, words) from error


def refusal_of(
    error: Exception, stop: Stop, words: Callable[[Exception], str]
) -> Refusal | Stopped | MemoryError:
    """Name what a runtime raised."""
    if isinstance(error, MemoryError | Refusal | Stopped):
        return error
    return Stopped() if stop.is_asked else Refusal(words(error))


def named(raw: Raw, outputs: Sequence[TensorFacts]) -> dict[str, Array]:
    """Return what a runtime answered by name, or refuse what is no tensor."""
    arrays: dict[str, Array] = {}
    for tensor, value in zip(outputs, raw, strict=True):
        if isinstance(value, np.ndarray) and value.dtype in _NUMBERS:  # nearly always
            arrays[tensor.name] = value
            continue
        array = value
        if isinstance(value, np.ndarray) and value.dtype.kind in "OS":
            texts = [_text(one, tensor.name) for one in value.ravel()]
            array = np.array(texts, dtype=np.str_).reshape(value.shape)
        elif isinstance(value, np.generic):
            array = np.asarray(value)
        if not isinstance(array, np.ndarray) or dtype_name(array) == "object":
            raise Refusal(f"output {tensor.name} is {tensor.dtype}, which is no tensor")
        arrays[tensor.name] = array
    return arrays


def aligned(array: Array) -> Array:
    """Return ``array`` as a runtime can read it; within a frame it may begin anywhere."""
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else np.array(array, order="C")


def _text(value: object, shown: str) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value
    raise Refusal(f"output {shown} holds {type(value).__name__}, which is no text")
