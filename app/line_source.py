"""Lines of standard input as they come: a wait that can be ended, and all that is there at once.

* Bytes are read from the descriptor itself, so that a line is handed on when its end is there.
* A line beyond its limit is cut one byte after it, and the rest of it passed over: whoever takes
  it sees that it is too long.
* A last line without an end counts.

What a line holds is not known here.
"""

from __future__ import annotations

import os
import select
from collections import deque
from typing import TYPE_CHECKING, Final

from hanse.core.errors import FileUnreadable
from hanse.core.limits import RUN_LINE_SIZE_BYTES_MAX

if TYPE_CHECKING:
    from hanse.core.model.control import Control

_READ_BYTES: Final = 64 * 1024
_LOOK_SECONDS: Final = 0.1  # between two looks at pause and cancel
_STDIN: Final = "stdin"


class DescriptorLines:
    """Lines of one open descriptor."""

    def __init__(self, descriptor: int) -> None:
        """Read nothing yet."""
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._rest = bytearray()
        self._is_passing_over = False
        self._is_ended = False

    def take(self, most: int, control: Control) -> list[bytes]:
        """Wait for a line, and return those that are there, at most so many; none at the end."""
        while not self._lines and not self._is_ended:
            control.checkpoint("lines", 0, 1)
            if self._is_ready(_LOOK_SECONDS):
                self._read()
        while len(self._lines) < most and not self._is_ended and self._is_ready(0):
            self._read()
        return [self._lines.popleft() for _ in range(min(most, len(self._lines)))]

    def _is_ready(self, seconds: float) -> bool:
        if os.name == "nt":  # not verified: Windows asks sockets only; a read waits there
            return seconds > 0
        return bool(select.select([self._descriptor], [], [], seconds)[0])

    def _read(self) -> None:
        try:
            raw = os.read(self._descriptor, _READ_BYTES)
        except OSError as error:
            raise FileUnreadable(path=_STDIN, detail=error.strerror or str(error)) from error
        if not raw:
            self._is_ended = True
            if self._rest and not self._is_passing_over:
                self._lines.append(bytes(self._rest))
            return
        *ends, rest = raw.split(b"\n")
        for part in ends:
            if not self._is_passing_over:
                self._lines.append(bytes(self._rest + part)[: RUN_LINE_SIZE_BYTES_MAX + 1])
            self._rest.clear()
            self._is_passing_over = False
        if self._is_passing_over:
            return
        self._rest += rest
        if len(self._rest) > RUN_LINE_SIZE_BYTES_MAX:
            self._lines.append(bytes(self._rest[: RUN_LINE_SIZE_BYTES_MAX + 1]))
            self._rest.clear()
            self._is_passing_over = True
