"""The full-text index of the catalogue, and terms of a search in its language.

* The index keeps no text (SQLite 3.40 can empty only whole contentless tables), so a row
  is taken out with the very words it was put in with: the old text, cut again.
* Those words depend on ``segmenter_version``; the index notes under which it was made and
  is made again under another.
* Everything runs in the caller's transaction: index and rows are kept together or not.
* Only words that the segmenter made are ever part of a match expression, each quoted.

What is a hit beside its words, and in which order hits stand, is
``hanse.core.store.catalogue_search``.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Integer, Text, literal_column, table, text
from sqlalchemy import column as column_of

from hanse.core.market.search import (
    Bridge,
    Phrase,
    SearchDoc,
    SegmentedDoc,
    Word,
    concept_token,
    segment_doc,
    segmenter_version,
)
from hanse.core.store.meta import MetaRepository

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hanse.core.market.search import Term

SEGMENTER: Final = "segmenter"  # in ``meta``: under which version the index was made

# The hidden column of the table's own name is what MATCH and bm25 take.
catalogue_fts: Final = table("catalogue_fts", column_of("rowid", Integer))
FTS_SELF: Final = literal_column("catalogue_fts", Text)
COLUMN_WEIGHTS: Final = (8.0, 4.0, 1.0, 2.0, 0.0)  # title, tags, text, stems, facets

_PUT: Final = text(
    "INSERT INTO catalogue_fts (rowid, title, tags, text, stems, facets)"
    " VALUES (:n, :title, :tags, :text, :stems, :facets)"
)
_REMOVE: Final = text(
    "INSERT INTO catalogue_fts (catalogue_fts, rowid, title, tags, text, stems, facets)"
    " VALUES ('delete', :n, :title, :tags, :text, :stems, :facets)"
)
_EMPTY: Final = text("INSERT INTO catalogue_fts (catalogue_fts) VALUES ('delete-all')")
_DOCS_PER_SLICE: Final = 1000
_WRITTEN: Final = "{title tags text}"


class Fts5Index:
    """Words of the catalogue, by SQLite's FTS5, on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Work on ``connection``, in whatever transaction it is."""
        self._connection = connection

    def put(self, n: int, doc: SearchDoc, old_doc: SearchDoc | None) -> None:
        """Index ``doc`` under ``n``, in place of ``old_doc`` if that stands there."""
        if old_doc is not None:
            self.remove(n, old_doc)
        put_segmented(self._connection, [(n, segment_doc(doc))])

    def remove(self, n: int, old_doc: SearchDoc) -> None:
        """Forget ``n``; ``old_doc`` must be what it was put in with, or other rows get lost."""
        self._connection.execute(_REMOVE, _values(n, segment_doc(old_doc)))

    def rebuild(self, docs: Iterable[tuple[int, SearchDoc]]) -> None:
        """Begin anew with ``docs``, and note the segmenter they were cut by."""
        self._connection.execute(_EMPTY)
        cut = ((n, segment_doc(doc)) for n, doc in docs)
        while part := list(islice(cut, _DOCS_PER_SLICE)):
            put_segmented(self._connection, part)
        MetaRepository(self._connection).put(SEGMENTER, segmenter_version())

    def is_outdated(self) -> bool:
        """Say whether the index was made by another segmenter, or never, and must be rebuilt."""
        return MetaRepository(self._connection).get(SEGMENTER) != segmenter_version()


def put_segmented(connection: Connection, docs: Iterable[tuple[int, SegmentedDoc]]) -> None:
    """Index what was cut already, none of it being there yet."""
    connection.execute(_PUT, [_values(n, cut) for n, cut in docs])


def match_of(terms: Sequence[Term], facets: Sequence[Sequence[str]] = ()) -> str | None:
    """Say in FTS5's language: all ``terms``, and of each group of facet tokens any.

    ``None`` when nothing is asked for.  A group without tokens is met by no row.
    """
    parts = [_term(term) for term in terms]
    parts += [f"facets : ({_any(_quoted(token) for token in group)})" for group in facets if group]
    if any(not group for group in facets):
        parts.append(f"facets : {_quoted(concept_token('none'))}")
    return " AND ".join(f"({part})" for part in parts) if parts else None


def _term(term: Term) -> str:
    match term:
        case Word():
            return _word(term)
        case Phrase():
            return f"{_WRITTEN} : {_phrase(term)}"
        case Bridge():
            words = " AND ".join(f"({_term(word)})" for word in term.words)
            ids = " AND ".join(_quoted(concept_token(it)) for it in term.concept_ids)
            return f"({words}) OR (stems : ({ids}))"


def _word(word: Word) -> str:
    written = f"{_WRITTEN} : {_quoted(word.text)}{' *' if word.is_typed else ''}"
    return f"({written}) OR (stems : {_quoted(word.stem)})"


def _phrase(phrase: Phrase) -> str:
    return _quoted(" ".join(phrase.words)) + (" *" if phrase.is_open else "")


def _any(words: Iterable[str]) -> str:
    return " OR ".join(words)


def _quoted(words: str) -> str:
    # No word of the segmenter has a quote in it; this holds whatever it makes one day.
    return '"' + words.replace('"', '""') + '"'


def _values(n: int, cut: SegmentedDoc) -> dict[str, object]:
    return {
        "n": n,
        "title": cut.title,
        "tags": cut.tags,
        "text": cut.text,
        "stems": cut.stems,
        "facets": cut.facets,
    }
