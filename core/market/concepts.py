"""The words of the market: sectors, tasks, domains and more, each in English and Chinese.

* ``resources/concepts.toml`` is the only source; a new row is a new sector or task, no
  code changes.
* A Concept is named by its id, ``GROUP.VALUE``.  Bodies sign the value alone where the field
  says the group: the sector ``finance``, the task ``image-classification``.
* An alias belongs to one Concept, whichever language it is in, so a word has one meaning.
* Two texts are the same word when they are after NFKC, case folding and taking the English
  plural off; hyphens and spaces between Latin words are the same.
* Chinese is read without spaces; of two aliases that begin at one place the longer counts.

Which Concepts a Listing carries, and what they are worth, is decided elsewhere.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgspec

from hanse.core.limits import CONCEPT_ALIAS_CHARACTERS_MAX, CONCEPT_ALIASES_MAX, CONCEPTS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# Kana, ideographs with extension A, hangul, compatibility, extensions B and later.  The marks and
# dots among the kana are no characters of a word: the index would not keep them either.
_CJK: Final = (
    "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0002fa1f"
)
_CJK_CHARACTER: Final = re.compile(f"[{_CJK}]")
_RUN: Final = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_MARKS: Final = re.compile("[\u0300-\u036f]+")  # accents, apart from their letters

_BREAK: Final = "\0"  # a unit no alias has: what stands left and right of it is not one word
_JOINS: Final = frozenset(" -_/\u2010\u2011")  # between two Latin words of one alias
_NEAR_ENOUGH: Final = 0.5
_FALLBACK: Final = "other"

_Alias = Annotated[str, msgspec.Meta(min_length=1, max_length=CONCEPT_ALIAS_CHARACTERS_MAX)]
_Aliases = Annotated[tuple[_Alias, ...], msgspec.Meta(max_length=CONCEPT_ALIASES_MAX)]


class Concept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row: the first alias of a language is its name, ``quiet`` ones count as a value only."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z]+\.[a-z0-9][a-z0-9_-]{0,39}\Z")]
    en: Annotated[_Aliases, msgspec.Meta(min_length=1)]
    zh: Annotated[_Aliases, msgspec.Meta(min_length=1)]
    broader: str | None = None
    quiet: _Aliases = ()

    @property
    def group(self) -> str:
        """Return what stands before the dot."""
        return self.id.partition(".")[0]

    @property
    def value(self) -> str:
        """Return what a Body signs where its field says the group."""
        return self.id.partition(".")[2]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of ``concepts.toml``."""

    concept: Annotated[tuple[Concept, ...], msgspec.Meta(max_length=CONCEPTS_MAX)]


@dataclass(frozen=True, slots=True)
class Cut:
    """A folded text in pieces, twice: as it is searched, and as aliases are compared.

    ``runs`` are the CJK runs and the Latin words.  ``units`` are CJK characters and Latin
    words in the singular, with a break wherever no word reaches across; ``run_of`` says in
    which run each unit stands, -1 for a break.
    """

    runs: tuple[str, ...]
    units: tuple[str, ...]
    run_of: tuple[int, ...]


class Mention(NamedTuple):
    """A Concept found in a text: it covers the units from ``start`` up to ``end``."""

    concept_id: str
    start: int
    end: int


class _Node:
    """Where one has come to in the tree of aliases, and what that means already."""

    __slots__ = ("concept_id", "further")

    def __init__(self) -> None:
        """Mean nothing yet."""
        self.concept_id: str | None = None
        self.further: dict[str, _Node] = {}


class Concepts:
    """All Concepts, and which words mean them."""

    def __init__(self, rows: Iterable[Concept]) -> None:
        """Index ``rows``; raise ``ValueError`` for an id or alias that stands twice."""
        self._rows: dict[str, Concept] = {}
        self._groups: dict[str, list[str]] = {}
        self._by_alias: dict[tuple[str, ...], str] = {}
        for row in rows:
            if row.id in self._rows:
                raise ValueError(f"concept {row.id} stands twice")
            self._rows[row.id] = row
            self._groups.setdefault(row.group, []).append(row.value)
            for alias in (*row.en, *row.zh):
                units = units_of(alias)
                if not units or _BREAK in units:
                    raise ValueError(f"alias {alias!r} of {row.id} is no word")
                held = self._by_alias.setdefault(units, row.id)
                if held != row.id:
                    raise ValueError(f"alias {alias!r} means {held} and {row.id}")
        self._check_broader()
        self._heard = self._index_of_text()

    # --- ids and names -------------------------------------------------------------------

    def sectors(self) -> tuple[str, ...]:
        """Return the values a ``sectors`` field may hold, in the order of the file."""
        return self.values("sector")

    def tasks(self) -> tuple[str, ...]:
        """Return the values a ``task`` field may hold, in the order of the file."""
        return self.values("task")

    def values(self, group: str) -> tuple[str, ...]:
        """Return the values of ``group`` in the order of the file; none for a group unknown."""
        return tuple(self._groups.get(group, ()))

    def get(self, concept_id: str) -> Concept | None:
        """Return the row, or None for an id this program does not know."""
        return self._rows.get(concept_id)

    def name(self, concept_id: str, language: str) -> str:
        """Return the word shown for ``concept_id``, or its value when the id is unknown here."""
        row = self._rows.get(concept_id)
        if row is None:
            return concept_id.partition(".")[2] or concept_id
        return row.zh[0] if language.startswith("zh") else row.en[0]

    def broader(self, concept_id: str) -> tuple[str, ...]:
        """Return the wider Concepts, the nearest first: what is said of each is true of this."""
        chain: list[str] = []
        row = self._rows.get(concept_id)
        while row is not None and row.broader is not None:
            chain.append(row.broader)
            row = self._rows.get(row.broader)
        return tuple(chain)

    # --- from words ----------------------------------------------------------------------

    def find(self, text: str, group: str | None = None) -> str | None:
        """Return the id that ``text`` as a whole means: an id, a value of ``group`` or an alias.

        With a ``group`` only its Concepts are found.
        """
        bare = fold(text).strip()
        if group is not None and f"{group}.{bare}" in self._rows:
            return f"{group}.{bare}"
        found = bare if bare in self._rows else self._by_alias.get(units_of(text))
        if found is None or (group is not None and self._rows[found].group != group):
            return None
        return found

    def nearest(self, text: str, group: str) -> str:
        """Return the value of ``group`` that ``text`` resembles most, to be suggested.

        Aliases of both languages are compared, so a Chinese slip finds its value.  When
        nothing is near, ``other`` is suggested where the group has it.  An empty text
        for a group without rows.
        """
        values = self.values(group)
        if not values:
            return ""
        asked = fold(text[:CONCEPT_ALIAS_CHARACTERS_MAX]).strip()
        matcher = difflib.SequenceMatcher(autojunk=False)
        matcher.set_seq2(asked)
        best, best_value = 0.0, values[0]
        for value in values:
            row = self._rows[f"{group}.{value}"]
            for word in (value, *row.en, *row.zh):
                matcher.set_seq1(word.casefold())
                ratio = matcher.ratio()
                if ratio > best:
                    best, best_value = ratio, value
        if best < _NEAR_ENOUGH and _FALLBACK in values:
            return _FALLBACK
        return best_value

    def tokens(self, text: str) -> tuple[str, ...]:
        """Return the ids of the Concepts that ``text`` mentions, each once, as they come.

        An alias inside a longer one does not count: "object detection" is no "detection".
        """
        return tuple(dict.fromkeys(mention.concept_id for mention in self.longest(units_of(text))))

    def mentions(self, units: Sequence[str]) -> Iterator[Mention]:
        """Give every alias in ``units``, those inside longer ones too; the longer ones first."""
        for start, unit in enumerate(units):
            node = self._heard.get(unit)
            if node is None:
                continue
            found: list[Mention] = []
            end = start + 1
            while node is not None:
                if node.concept_id is not None:
                    found.append(Mention(node.concept_id, start, end))
                node = node.further.get(units[end]) if end < len(units) else None
                end += 1
            yield from reversed(found)

    def longest(self, units: Sequence[str]) -> Iterator[Mention]:
        """Give the aliases in ``units`` that stand in no longer one, from left to right."""
        covered = 0
        for mention in self.mentions(units):
            if mention.end > covered:
                yield mention
                covered = mention.end

    def _index_of_text(self) -> Mapping[str, _Node]:
        """Put the aliases that count in running text into a tree, one unit a step."""
        roots: dict[str, _Node] = {}
        for row in self._rows.values():
            quiet = {units_of(alias) for alias in row.quiet}
            for alias in {units_of(alias) for alias in (*row.en, *row.zh)} - quiet:
                node = roots.setdefault(alias[0], _Node())
                for unit in alias[1:]:
                    node = node.further.setdefault(unit, _Node())
                node.concept_id = row.id
        return roots

    def _check_broader(self) -> None:
        for first in self._rows.values():
            row, seen = first, {first.id}
            while row.broader is not None:
                if row.broader in seen or row.broader not in self._rows:
                    raise ValueError(f"concept {row.id} is within {row.broader}, which cannot be")
                seen.add(row.broader)
                row = self._rows[row.broader]


@cache
def concepts() -> Concepts:
    """Read the Concepts this program ships; read once for each process."""
    return parse_concepts(files("hanse.resources").joinpath("concepts.toml").read_text("utf-8"))


def parse_concepts(text: str) -> Concepts:
    """Read a table of Concepts; raise ``ValueError`` that names the row at fault."""
    return Concepts(msgspec.convert(tomllib.loads(text), _File).concept)


def units_of(text: str) -> tuple[str, ...]:
    """Cut ``text`` into the units that aliases are compared by."""
    return cut(fold(text)).units


def fold(text: str) -> str:
    """Make equal what people take for the same letters: NFKC, case, and no accents."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", _MARKS.sub("", unicodedata.normalize("NFKD", plain)))


def cut(folded: str) -> Cut:
    """Cut a folded text; a break stands at punctuation, and at spaces beside CJK characters."""
    runs: list[str] = []
    units: list[str] = []
    run_of: list[int] = []
    end, was_latin = 0, False
    for number, found in enumerate(_RUN.finditer(folded)):
        run, gap = found.group(), folded[end : found.start()]
        is_latin = not is_cjk(run[0])
        if gap and number and not (is_latin and was_latin and _JOINS.issuperset(gap)):
            units.append(_BREAK)
            run_of.append(-1)
        parts = (_singular(run),) if is_latin else run
        units += parts
        run_of += [number] * len(parts)
        runs.append(run)
        end, was_latin = found.end(), is_latin
    return Cut(tuple(runs), tuple(units), tuple(run_of))


def is_cjk(character: str) -> bool:
    """Say whether ``character`` is written without spaces around words."""
    return _CJK_CHARACTER.match(character) is not None


def _singular(word: str) -> str:
    """Take a regular English plural off; a stem would confuse "marketing" with "market"."""
    if len(word) <= 3 or not word.endswith("s"):  # "gas", "aws"
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word if word.endswith(("ss", "us", "is")) else word[:-1]
