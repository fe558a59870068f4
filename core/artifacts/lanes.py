"""Pieces on their way through memory: one thread moves them, two hash them.

* A few Pieces are in hand at a time, in buffers that are used again; whatever the size
  of a file, memory stays the same.
* The thread that calls reads, writes and decides, in the order of the Pieces; each lane
  is a thread that does its own jobs in order, so a digest over a whole file is one lane.
* No call hashes more than one Piece, so nothing holds the interpreter for long.
* Whoever stops early leaves no job behind: lanes are empty before a buffer is used again.

What is hashed, and where it goes, is not known here.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Self

from hanse.core.limits import PIECE_SIZE_BYTES, PIECES_IN_HAND_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from types import TracebackType

LANES: Final = 2

Job = tuple["Callable[[memoryview], bytes]", memoryview]  # for lane 0, and for lane 1


class Digest:
    """The SHA-256 of a whole file, taken Piece by Piece as a lane's job."""

    def __init__(self) -> None:
        self._hash = sha256()

    def update(self, view: memoryview) -> bytes:
        """Take the next bytes; the result is empty, the digest comes at the end."""
        self._hash.update(view)
        return b""

    def digest(self) -> bytes:
        """Return the SHA-256 of everything taken."""
        return self._hash.digest()


@dataclass(slots=True)
class Slot:
    """One Piece in hand: what came, what is made of it, and what its jobs gave."""

    source: memoryview = field(default_factory=lambda: memoryview(bytearray(PIECE_SIZE_BYTES)))
    made: memoryview = field(default_factory=lambda: memoryview(bytearray(PIECE_SIZE_BYTES)))
    results: list[bytes] = field(default_factory=list)


class Lanes:
    """The buffers and the hashing threads of one piece of long work."""

    def __init__(self) -> None:
        """Start no thread before there is more than one Piece to hash."""
        self._slots = [Slot() for _ in range(PIECES_IN_HAND_MAX)]
        self._jobs: list[SimpleQueue[Job | None]] = [SimpleQueue() for _ in range(LANES)]
        self._done: list[SimpleQueue[bytes | BaseException]] = [SimpleQueue() for _ in range(LANES)]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for jobs, thread in zip(self._jobs, self._threads, strict=False):
            jobs.put(None)
            thread.join()
        self._threads.clear()

    def run(
        self, pieces: range, fill: Callable[[int, Slot], Sequence[Job]]
    ) -> Generator[tuple[int, Slot]]:
        """Yield each Piece in order with what its jobs gave, after ``fill`` brought it.

        ``fill`` runs in the caller's thread, some Pieces ahead of what is yielded; at most
        one job for each lane.  A slot is used again as soon as the next Piece is asked for.
        """
        if len(pieces) <= 1:  # not worth a thread
            for piece in pieces:
                slot = self._slots[0]
                slot.results = [work(view) for work, view in fill(piece, slot)]
                yield piece, slot
            return
        self._start()
        in_hand: deque[tuple[int, Slot, int]] = deque()
        try:
            for piece in pieces:
                if len(in_hand) == len(self._slots):
                    yield self._retire(in_hand)
                slot = self._slots[piece % len(self._slots)]
                jobs = fill(piece, slot)
                for lane, job in enumerate(jobs):
                    self._jobs[lane].put(job)
                in_hand.append((piece, slot, len(jobs)))
            while in_hand:
                yield self._retire(in_hand)
        finally:
            for _, _, jobs_left in in_hand:
                self._collect(jobs_left)

    def _retire(self, in_hand: deque[tuple[int, Slot, int]]) -> tuple[int, Slot]:
        piece, slot, jobs = in_hand.popleft()
        slot.results = []
        for result in self._collect(jobs):
            if isinstance(result, BaseException):
                raise result
            slot.results.append(result)
        return piece, slot

    def _collect(self, jobs: int) -> list[bytes | BaseException]:
        return [self._done[lane].get() for lane in range(jobs)]

    def _start(self) -> None:
        if self._threads:
            return
        for number, (jobs, done) in enumerate(zip(self._jobs, self._done, strict=True)):
            name = f"hanse-lane-{number}"
            thread = threading.Thread(target=_lane, args=(jobs, done), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)


def _lane(jobs: SimpleQueue[Job | None], done: SimpleQueue[bytes | BaseException]) -> None:
    while (job := jobs.get()) is not None:
        work, view = job
        try:
            done.put(work(view))
        except BaseException as error:  # noqa: BLE001  it belongs to the thread that waits
            done.put(error)


def read_whole(read: Callable[[memoryview], int | None], view: memoryview) -> int:
    """Fill ``view`` by as many reads as it takes; return less than its length at the end only."""
    got = 0
    while got < len(view):
        count = read(view[got:])
        if not count:
            break
        got += count
    return got
