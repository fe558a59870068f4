"""What a store is to a ``FeedVerifier``: it keeps what was accepted, and says who is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.core.ledger.feed import Accepted, FeedVerifier, Forked, Verdict, judge_body
from hanse.core.ledger.identities import RootStatement, Standing, standing
from tests.fakes.author import START_MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hanse.core.ledger.entry import CheckedEntry
    from hanse.core.model.ids import AuthorKey, IdentityId
    from tests.fakes.author import Author

NOW_MS = START_MS + 10_000_000


class KeptFeed:
    """One Feed as far as it was accepted."""

    def __init__(
        self, author: AuthorKey, known: dict[IdentityId, Standing] | None = None, **state: object
    ) -> None:
        self.entries: list[CheckedEntry] = []
        self.known = {} if known is None else known
        self.verifier = FeedVerifier(
            author, held_at=self.held_at, standing_of=self.known.get, **state
        )

    def held_at(self, seq: int) -> CheckedEntry | None:
        return self.entries[seq - 1] if 1 <= seq <= len(self.entries) else None

    def take(self, entry: CheckedEntry, now_ms: int = NOW_MS) -> Verdict:
        """Show ``entry`` to the verifier, and keep it when it is accepted."""
        verdict = self.verifier.accept(entry, now_ms)
        if isinstance(verdict, Accepted) or (
            isinstance(verdict, Forked) and verdict.accepted is not None
        ):
            self.entries.append(entry)
        return verdict

    def take_all(self, entries: Iterable[CheckedEntry], now_ms: int = NOW_MS) -> list[Verdict]:
        return [self.take(entry, now_ms) for entry in entries]


def statements(entries: Iterable[CheckedEntry]) -> list[RootStatement]:
    """Read the statements of root Entries, whatever feed they are of."""
    found = []
    for entry in entries:
        body = judge_body(entry).body
        assert body is not None
        found.append(
            RootStatement(entry.author, entry.seq, entry.entry_id, entry.header.time_ms, body)
        )
    return found


def standing_of(author: Author, *more: CheckedEntry) -> Standing:
    """Fold all root Entries of ``author``, and ``more`` of other branches."""
    found = standing(author.identity, statements([*author.root_entries, *more]))
    assert found is not None
    return found
