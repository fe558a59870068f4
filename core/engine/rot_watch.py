"""Bits rot: once a day everything held is hashed again, slowly, beside other work.

* It reads only, Feed by Feed, with a pause after every slice, and can be stopped
  within one slice.  Where it got to is kept, so a laptop that is closed every hour
  still comes round.
* A fault is handed to ``on_fault`` and changes nothing: what to fetch again, and
  from whom, is decided elsewhere.
* Signatures are not checked again: the hashes name the bytes that were checked.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from hanse.core.engine.ledger import as_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from hanse.core.clock import Clock
    from hanse.core.engine.views import Fault
    from hanse.core.store.engines import Store

REHASH_EVERY_MS: Final = 24 * 60 * 60 * 1000
_PAUSE_SECONDS: Final = 0.02
_DONE: Final = "rehash_done_ms"
_AFTER: Final = "rehash_after"


class RotWatch:
    """One thread that comes round once a day."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        on_fault: Callable[[Fault], None],
        *,
        pause_seconds: float = _PAUSE_SECONDS,
    ) -> None:
        """Watch ``store``; nothing runs before ``start``.

        ``on_fault`` is called on the watching thread.
        """
        self._store = store
        self._clock = clock
        self._on_fault = on_fault
        self._pause_seconds = pause_seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def is_due(self) -> bool:
        """Say whether a day has passed since everything was hashed, or a round is half done."""
        with self._store.reads() as reads:
            done = reads.meta.get(_DONE)
            is_half_done = bool(reads.meta.get(_AFTER))
        now_ms = self._clock.now_ms()
        # A clock that was set back must not put the next round off for years.
        return is_half_done or done is None or not 0 <= now_ms - int(done) < REHASH_EVERY_MS

    def start(self) -> None:
        """Begin a round if one is due."""
        assert self._thread is None
        if self.is_due():
            self._thread = threading.Thread(target=self.round, name="rot watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop after the present slice and wait for it; the next start goes on from there."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def round(self) -> bool:
        """Hash everything once, on the calling thread; return False when it was stopped."""
        with self._store.reads() as reads:
            after = bytes.fromhex(reads.meta.get(_AFTER) or "")
        while True:
            feed = self._one_feed(after)
            if feed is None:
                self._note(b"", is_done=True)
                return True
            author, is_whole = feed
            if not is_whole:
                self._note(after, is_done=False)
                return False
            after = author

    def _one_feed(self, after: bytes) -> tuple[bytes, bool] | None:
        """Hash the Feed that follows ``after``; ``None`` when there is no other."""
        author: bytes | None = None
        with self._store.reads() as reads:
            for part in reads.rehash_slices(after):
                if author is None:
                    author = part.author
                if part.author != author:
                    break
                if part.fault is not None:
                    self._on_fault(as_fault(part.fault))
                if self._stop.wait(self._pause_seconds):
                    return author, False
        return None if author is None else (author, True)

    def _note(self, after: bytes, *, is_done: bool) -> None:
        with self._store.unit_of_work() as uow:
            uow.meta.put(_AFTER, after.hex())
            if is_done:
                uow.meta.put(_DONE, str(self._clock.now_ms()))
            uow.commit()
