"""The engine in a script: ``from hanse.core import Ledger``.

The one place beside ``hanse.app.bootstrap`` that connects objects.  A script that
is not the window takes the same lock, passes the same gate and leaves the same
bytes as any other way in.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from hanse.core.clock import SystemChance, SystemClock
from hanse.core.engine.engine import Engine
from hanse.core.engine.home import Home
from hanse.core.errors import BadShape, WrongUse
from hanse.core.ledger.evidence import write_inclusion
from hanse.core.ledger.kinds import KINDS, PublicBody
from hanse.core.model.ids import AuthorKey

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from hanse.core.engine.views import VerifyReport
    from hanse.core.ledger.entry import CheckedEntry, Head

_PAGE = 1000


class BadBody(WrongUse):
    """The values given are no Body of that kind."""

    code = "script.bad_body"
    text = "these values are no body of {kind}: {detail}"
    fields = ("kind", "detail")


class Ledger:
    """The ledger of one data folder; a context manager."""

    def __init__(self, engine: Engine) -> None:
        """Wrap an open engine; ``Ledger.open`` is the usual door."""
        self._engine = engine

    @classmethod
    def open(
        cls,
        data_dir: str | os.PathLike[str],
        *,
        config_dir: str | os.PathLike[str] | None = None,
        passphrase: str | None = None,
    ) -> Ledger:
        """Open the Account in ``data_dir``; with ``passphrase`` it can also append.

        ``config_dir`` is where the high-water mark lies; without it a folder
        ``config`` beside the data folder.
        """
        folder = Path(data_dir)
        config = folder.with_name("config") if config_dir is None else Path(config_dir)
        engine = Engine.open(Home(folder, config), clock=SystemClock(), chance=SystemChance())
        try:
            if passphrase is not None:
                engine.accounts.unlock(passphrase)
        except BaseException:
            engine.close()
            raise
        return cls(engine)

    def __enter__(self) -> Self:
        """Return this ledger."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Give the folder back."""
        self._engine.close()

    def append(
        self, kind: str, body: Mapping[str, object], refs: Sequence[bytes] = ()
    ) -> CheckedEntry:
        """Sign and append one public Entry; it is on disk when this returns.

        ``body`` has the fields of the kind without the salt, which is added.
        """
        rule = KINDS.get(kind)
        if rule is None or not issubclass(rule.body, PublicBody):
            raise BadBody(kind=kind, detail="no public kind of that name")
        context = self._engine.context
        values = {"salt": context.body_salt(), **body}
        try:
            value = msgspec.convert(values, rule.body, builtin_types=(bytes,))
        except msgspec.ValidationError as error:
            raise BadBody(kind=kind, detail=str(error)) from error
        try:
            with context.store.unit_of_work() as uow:
                entry = context.append_own(uow, value, refs)
                uow.commit()
        except BadShape as error:
            raise BadBody(kind=kind, detail=error.detail) from error
        return entry

    def head(self) -> Head | None:
        """Return the newest Entry of this Device's Feed."""
        with self._engine.context.store.reads() as reads:
            row = reads.feeds.get(self._engine.context.device)
        return None if row is None else row.head

    def entries(self, author: bytes | None = None, from_seq: int = 1) -> Iterator[CheckedEntry]:
        """Yield the Entries of one Feed (default: this Device's) in order."""
        wanted = AuthorKey(self._engine.context.device if author is None else author)
        seq = from_seq
        while True:
            with self._engine.context.store.reads() as reads:
                page = reads.feeds.entries(wanted, seq, _PAGE)
            if not page:
                return
            for stored in page:
                yield stored.entry
            seq = page[-1].entry.seq + 1

    def proof(self, entry: CheckedEntry, later: CheckedEntry) -> bytes:
        """Return the bytes of a ``.hanse-proof`` that ``later`` commits to ``entry``."""
        context = self._engine.context
        with context.store.reads() as reads:
            context.note_leaving(reads)
            ids = reads.feeds.ids(entry.author)[: later.seq - 1]
        return write_inclusion(entry, later, ids)

    def verify(self) -> VerifyReport:
        """Verify every Feed held, from the bytes on disk."""
        return self._engine.ledger.verify()
