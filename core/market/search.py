"""What a search means: text cut into search words, and a person's line into terms.

* The same text gives the same words on every machine with the same ``segmenter_version``.
  A store whose index was made under another version makes it again.
* A run of CJK characters becomes its bigrams and its last character, so every word of one,
  two or more characters is found wherever it stands, and never across punctuation.
* Latin words and digits stay as they are; English stems and the tokens of the Concepts a
  text speaks of stand in a column of their own.
* Whatever a person types is words: no character is an operator but the double quote, and
  nothing is refused.  What is too long is cut, and the answer says so.

Nothing here knows SQL; how terms are looked up is the index's (``hanse.core.store.search``).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from snowballstemmer.english_stemmer import (  # type: ignore[import-untyped]  # ships no types
    EnglishStemmer,
)

from hanse.core.limits import (
    SEARCH_STEMS_REMEMBERED_MAX,
    SEARCH_TERMS_MAX,
    SEARCH_TEXT_CHARACTERS_MAX,
    SEARCH_WORD_CHARACTERS_MAX,
)
from hanse.core.market.concepts import Concepts, concepts, cut, fold, is_cjk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SEGMENTER: Final = 1
_QUOTES: Final = re.compile('["\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d\u300e\u300f]')
_ENGLISH: Final = re.compile(r"[a-z]{2,}")
_CONCEPT_PREFIX: Final = "zc"
_FACET_PREFIX: Final = "zf"
_NO_FACET: Final = re.compile(r"[^a-y0-9]")  # "z" is what the others are written with
_NO_TOKEN: Final = re.compile(r"[^a-z0-9]")


# --- text that is searched ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SearchDoc:
    """What is searched of one Listing, as people wrote it; a row of ``catalogue_text``.

    ``tags`` stand with commas between, so that no Chinese word reaches across two of them.
    ``stems_source`` are the ids of the Concepts it carries (``sector.finance``), beside those
    that its text mentions; ``facets`` are tokens of ``facet_token``.  Both have spaces between.
    """

    title: str
    tags: str
    text: str
    stems_source: str
    facets: str


@dataclass(frozen=True, slots=True)
class SegmentedDoc:
    """The same as the index takes it: search words with a space between, column by column."""

    title: str
    tags: str
    text: str
    stems: str
    facets: str


def segment_doc(doc: SearchDoc) -> SegmentedDoc:
    """Cut ``doc`` into its columns; equal documents give equal columns."""
    known = concepts()
    columns: list[str] = []
    # A set in order: how often a stem stands there says nothing that the text does not.
    words: set[str] = set()
    ids = {concept_id for concept_id in doc.stems_source.split() if "." in concept_id}
    for source in (doc.title, doc.tags, doc.text):
        found = cut(fold(source))
        columns.append(_segment_runs(found.runs))
        words.update(run[:SEARCH_WORD_CHARACTERS_MAX] for run in found.runs)
        ids |= {mention.concept_id for mention in known.mentions(found.units)}
    stems = {stem(word) for word in words if has_stem(word)}
    wider = {more for concept_id in ids for more in known.broader(concept_id)}
    stems |= {concept_token(concept_id) for concept_id in ids | wider}
    title, tags, text = columns
    return SegmentedDoc(title, tags, text, " ".join(sorted(stems)), doc.facets)


def segment(text: str) -> str:
    """Cut ``text`` into search words with a space between."""
    return _segment_runs(cut(fold(text)).runs)


@lru_cache(maxsize=SEARCH_STEMS_REMEMBERED_MAX)
def stem(word: str) -> str:
    """Return the stem of an English word; other words come back as they are."""
    if not has_stem(word):
        return word
    # The stemmer keeps its word while it works, so each call has its own.  The pure one, by
    # name: the package would hand out another implementation where one is installed.
    return str(EnglishStemmer().stemWord(word))


def has_stem(word: str) -> bool:
    """Say whether the stem of ``word`` is kept for every document that has the word."""
    return _ENGLISH.fullmatch(word) is not None


def concept_token(concept_id: str) -> str:
    """Return the search word that stands for a Concept: letters and digits only."""
    return _CONCEPT_PREFIX + _NO_TOKEN.sub("", concept_id)


def facet_token(facet: str, value: str) -> str:
    """Return the search word for one value of one facet; unlike values give unlike words."""
    return _FACET_PREFIX + _NO_FACET.sub(
        lambda found: f"z{ord(found.group()):x}z", f"{facet}:{value.casefold()}"
    )


@cache
def segmenter_version() -> str:
    """Name everything the segmented text depends on; another name is another index.

    The Concepts, the stemmer and the Unicode tables are part of it: a contentless index
    deletes by the very text it was given.
    """
    table = files("hanse.resources").joinpath("concepts.toml").read_bytes()
    digest = hashlib.sha256(table).hexdigest()[:16]
    return f"{_SEGMENTER}-{version('snowballstemmer')}-{unicodedata.unidata_version}-{digest}"


# --- what a person looks for ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Word:
    """A Latin word or number: found as it is or by its stem; as a beginning while it is typed."""

    text: str
    stem: str
    is_typed: bool = False


@dataclass(frozen=True, slots=True)
class Phrase:
    """Search words that stand one after the other; ``is_open``: the last is a beginning."""

    words: tuple[str, ...]
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Bridge:
    """Words that name Concepts: found by all the words, or by all the Concepts in any language."""

    words: tuple[Word | Phrase, ...]
    concept_ids: tuple[str, ...]


Term = Word | Phrase | Bridge


@dataclass(frozen=True, slots=True)
class SearchText:
    """A person's line as terms, all of which must be found; none: everything is."""

    terms: tuple[Term, ...]
    is_cut: bool = False  # the line was longer than is looked at


def parse_search(text: str, *, is_typing: bool = False) -> SearchText:
    """Read a line of search; with ``is_typing`` its last word may still be a beginning.

    Text between double quotes, in any of their shapes, is found word for word.  A quote
    without its other half is a space.
    """
    is_cut = len(text) > SEARCH_TEXT_CHARACTERS_MAX
    folded = fold(text[:SEARCH_TEXT_CHARACTERS_MAX])
    parts = _QUOTES.split(folded)
    if len(parts) % 2 == 0:  # the last quote was not closed
        parts[-2:] = [f"{parts[-2]} {parts[-1]}"]
    terms: list[Term] = []
    for number, part in enumerate(parts):
        is_last = is_typing and number == len(parts) - 1
        terms += _quoted(part) if number % 2 else _plain(part, concepts(), is_typing=is_last)
    return SearchText(tuple(terms[:SEARCH_TERMS_MAX]), is_cut or len(terms) > SEARCH_TERMS_MAX)


def _quoted(part: str) -> Iterator[Term]:
    runs = cut(part).runs
    if runs:
        yield _phrase(runs)


def _plain(part: str, known: Concepts, *, is_typing: bool) -> Iterator[Term]:
    """Give the terms of text without quotes; those that name Concepts together as bridges."""
    found = cut(part)
    words = [_word(run) for run in found.runs]
    if is_typing and found.runs and part.endswith(found.runs[-1]) and isinstance(words[-1], Word):
        words[-1] = replace(words[-1], is_typed=True)
    mentions = tuple(known.longest(found.units))
    covered = {at for mention in mentions for at in range(mention.start, mention.end)}
    first = 0
    while first < len(words):
        end = first + 1  # runs that an alias reaches across stay together
        while any(found.run_of[it.start] < end <= found.run_of[it.end - 1] for it in mentions):
            end += 1
        inside = range(first, end)
        if all(at in covered for at, run in enumerate(found.run_of) if run in inside):
            ids = (it.concept_id for it in mentions if found.run_of[it.start] in inside)
            yield Bridge(tuple(words[first:end]), tuple(dict.fromkeys(ids)))
        else:
            yield from words[first:end]
        first = end


def _word(run: str) -> Word | Phrase:
    if is_cjk(run[0]):
        return _phrase((run,))
    word = run[:SEARCH_WORD_CHARACTERS_MAX]
    return Word(word, stem(word))


def _phrase(runs: Sequence[str]) -> Phrase:
    """Make the search words of ``runs`` as they stand one after the other in a document.

    The last CJK run may go on in the document, so its last character is not asked for by
    itself; a single character is a beginning: a bigram or a run's last character has it.
    """
    words: list[str] = []
    for run in runs[:-1]:
        words += _segment_run(run)
    last = runs[-1]
    if not is_cjk(last[0]):
        return Phrase((*words, last[:SEARCH_WORD_CHARACTERS_MAX]))
    if len(last) == 1:
        return Phrase((*words, last), is_open=True)
    return Phrase((*words, *_bigrams(last)))


def _segment_runs(runs: Iterable[str]) -> str:
    return " ".join(word for run in runs for word in _segment_run(run))


def _segment_run(run: str) -> tuple[str, ...]:
    if is_cjk(run[0]):
        return (*_bigrams(run), run[-1])
    return (run[:SEARCH_WORD_CHARACTERS_MAX],)


def _bigrams(run: str) -> Iterator[str]:
    return (run[at : at + 2] for at in range(len(run) - 1))
