"""Fork proofs: kept, so that they can be shown to anybody, also of Feeds not held here.

* Of one Author as many stay as show what there is to know: those that dispute the
  lowest seq.  Which ones stay does not depend on the order they came in.
* Of Feeds not held here the oldest proofs go first.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, delete, exists, func, select
from sqlalchemy.dialects.sqlite import insert

from hanse.core.limits import FORKS_OF_UNHELD_FEEDS_MAX, FORKS_PER_AUTHOR_MAX
from hanse.core.model.ids import AuthorKey
from hanse.core.store.tables import feeds, forks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hanse.core.ledger.forks import Fork
    from hanse.core.store.feed_rows import AnyRow

_COLUMNS: Final = (
    forks.c.fork,
    forks.c.author,
    forks.c.disputed_seq,
    forks.c.last_seq,
    forks.c.proof,
)
FORKS_OF_AUTHOR: Final = (
    select(*_COLUMNS, forks.c.proof_hash)
    .where(forks.c.author == bindparam("author"))
    .order_by(forks.c.disputed_seq, forks.c.last_seq, forks.c.proof_hash)
    .limit(bindparam("limit"))
)
ALL_FORKS: Final = (
    select(*_COLUMNS)
    .where(forks.c.fork > bindparam("after"))
    .order_by(forks.c.fork)
    .limit(bindparam("limit"))
)
_IS_UNHELD: Final = ~exists().where(feeds.c.author == forks.c.author)


@dataclass(frozen=True, slots=True)
class StoredFork:
    """One proof, in the order of arrival; ``check_fork`` gives the Entries back."""

    number: int
    author: AuthorKey
    disputed_seq: int
    last_seq: int
    proof: bytes

    @property
    def is_of_one_seq(self) -> bool:
        """Say whether two Entries at one place were signed, not two neighbours that do not fit."""
        return self.disputed_seq == self.last_seq


class ForkRepository:
    """All proofs."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``."""
        self._connection = connection
        self._unheld: int | None = None

    def add(self, fork: Fork) -> bool:
        """Keep a proof; say whether it is new and was kept."""
        proof_hash = sha256(fork.proof).digest()
        row = self._connection.execute(
            insert(forks)
            .values(
                author=fork.author,
                disputed_seq=fork.disputed_seq,
                last_seq=fork.second.seq,
                proof_hash=proof_hash,
                proof=fork.proof,
            )
            .on_conflict_do_nothing()
            .returning(forks.c.fork)
        ).first()
        if row is None:
            return False
        is_kept = self._bound_author(fork.author, proof_hash)
        if is_kept:
            self._bound_unheld(fork.author)
        return is_kept

    def of(self, author: AuthorKey) -> list[StoredFork]:
        """Return the proofs against one Author, the lowest disputed seq first."""
        rows = self._connection.execute(
            FORKS_OF_AUTHOR, {"author": author, "limit": FORKS_PER_AUTHOR_MAX}
        )
        return [_stored(row) for row in rows]

    def all(self, after: int = 0, limit: int = 1000) -> list[StoredFork]:
        """Return proofs in the order they came, after number ``after``."""
        rows = self._connection.execute(ALL_FORKS, {"after": after, "limit": limit})
        return [_stored(row) for row in rows]

    def proofs(self) -> Iterator[tuple[AuthorKey, bytes]]:
        """Yield every proof with its Author, page by page."""
        after = 0
        while page := self.all(after):
            yield from ((fork.author, fork.proof) for fork in page)
            after = page[-1].number

    def count(self) -> int:
        """Return how many proofs are kept."""
        return self._connection.execute(select(func.count()).select_from(forks)).scalar_one()

    def _bound_author(self, author: AuthorKey, proof_hash: bytes) -> bool:
        """Drop what is too much of one Author; say whether the proof just added stayed."""
        rows = self._connection.execute(
            FORKS_OF_AUTHOR, {"author": author, "limit": FORKS_PER_AUTHOR_MAX + 1}
        ).all()
        if len(rows) <= FORKS_PER_AUTHOR_MAX:
            return True
        self._connection.execute(delete(forks).where(forks.c.fork == rows[-1].fork))
        return bool(rows[-1].proof_hash != proof_hash)

    def _bound_unheld(self, author: AuthorKey) -> None:
        is_held = self._connection.execute(
            select(feeds.c.feed).where(feeds.c.author == author)
        ).first()
        if is_held is not None:
            return
        if self._unheld is None:
            self._unheld = self._connection.execute(
                select(func.count()).select_from(forks).where(_IS_UNHELD)
            ).scalar_one()
        else:
            self._unheld += 1
        if self._unheld > FORKS_OF_UNHELD_FEEDS_MAX:
            oldest = self._connection.execute(
                select(forks.c.fork)
                .where(_IS_UNHELD)
                .order_by(forks.c.fork)
                .limit(self._unheld - FORKS_OF_UNHELD_FEEDS_MAX)
            ).scalars()
            self._connection.execute(delete(forks).where(forks.c.fork.in_(list(oldest))))
            self._unheld = FORKS_OF_UNHELD_FEEDS_MAX


def _stored(row: AnyRow) -> StoredFork:
    return StoredFork(row.fork, AuthorKey(row.author), row.disputed_seq, row.last_seq, row.proof)
