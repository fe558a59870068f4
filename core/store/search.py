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

from hanse.core.market.concepts import is_cjk
from hanse.core.market.search import (
    Bridge,
    Phrase,
    SearchDoc,
    SegmentedDoc,
    Word,
    concept_token,
    has_stem,
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
_NO_FACET: Final = "none"  # no facet token is called so
# Words that stand in nearly every English text, and are looked for all the same.
_TELLS_NOTHING: Final = frozenset(
    {
        *("a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "in", "is", "it"),
        *("of", "on", "or", "that", "the", "this", "to", "with"),
    }
)
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


def rank_of(terms: Sequence[Term]) -> str | None:
    """Say in FTS5's language by which words hits are ranked: as they were typed, any of them.

    Stems and Concepts are left out: every document has one of each at most, in no place that
    counts more than another, and to weigh frequent ones costs more than all the rest.
    """
    words = [_written(word) for term in terms for word in _typed(term)]
    telling = [
        _written(word)
        for term in terms
        for word in _typed(term)
        if not (isinstance(word, Word) and word.text in _TELLS_NOTHING)
    ]
    return " OR ".join(telling or words) or None


def match_of(
    terms: Sequence[Term], facets: Sequence[Sequence[str]] = (), without: Sequence[str] = ()
) -> str | None:
    """Say in FTS5's language: all ``terms``, of each group of facet tokens any, ``without`` some.

    ``None`` when nothing is asked for.  A group without tokens is met by no row.
    """
    parts = [_term(term) for term in terms]
    parts += [facets_of(group or (_NO_FACET,)) for group in facets]
    if not parts:
        return None
    wanted = " AND ".join(f"({part})" for part in parts)
    return f"({wanted}) NOT ({facets_of(without)})" if without else wanted


def facets_of(tokens: Sequence[str]) -> str:
    """Say in FTS5's language: any of ``tokens``, of which there is at least one."""
    return f"facets : ({' OR '.join(_quoted(token) for token in tokens)})"


def _term(term: Term) -> str:
    match term:
        case Word():
            return _word(term)
        case Phrase():
            # What is Chinese stands in these columns only, and is found sooner unasked.
            is_chinese = all(is_cjk(word[0]) for word in term.words)
            return _written(term) if is_chinese else f"{_WRITTEN} : {_written(term)}"
        case Bridge():
            words = " AND ".join(f"({_term(word)})" for word in term.words)
            ids = " AND ".join(_quoted(concept_token(it)) for it in term.concept_ids)
            return f"({words}) OR (stems : ({ids}))"


def _word(word: Word) -> str:
    if not has_stem(word.text):
        return f"{_WRITTEN} : {_written(word)}"
    stemmed = f"stems : {_quoted(word.stem)}"
    if word.is_typed:
        return f"({_WRITTEN} : {_written(word)}) OR ({stemmed})"
    return stemmed  # which stands wherever the word itself does, and is one place to look


def _typed(term: Term) -> tuple[Word | Phrase, ...]:
    return term.words if isinstance(term, Bridge) else (term,)


def _written(word: Word | Phrase) -> str:
    if isinstance(word, Word):
        return _quoted(word.text) + (" *" if word.is_typed else "")
    return _quoted(" ".join(word.words)) + (" *" if word.is_open else "")


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
