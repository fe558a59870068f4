"""How a reader of model bytes says no, and the readers' shared way of cutting a file's words.

* ``Unfit`` names the rule, what was found and what is allowed; the parent makes
  ``FormatRefused`` of it.
* ``Words`` collects what a file says of itself, within one budget for the whole file.

Which rule a format has is not known here.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Final

from hanse.core.limits import (
    FACT_NAME_CHARACTERS_MAX,
    FACT_TEXT_CHARACTERS_MAX,
    FACT_VALUES_MAX,
    FACTS_CHARACTERS_MAX,
)

_HARMLESS: Final = "\n\t\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"  # of all controls
_REPLACED: Final = "\N{REPLACEMENT CHARACTER}"


class Unfit(Exception):
    """A file breaks a rule: ``rule`` is a stable word of the catalogue."""

    def __init__(self, rule: str, found: object, allowed: object) -> None:
        """Name the rule, what was found, and what would have been allowed."""
        super().__init__(rule, found, allowed)
        self.rule = rule
        self.found = name(str(found))
        self.allowed = name(str(allowed))


def text(value: str, most: int = FACT_TEXT_CHARACTERS_MAX) -> str:
    """Cut ``value`` to ``most`` characters and replace what no terminal should get."""
    kept = value[:most]
    if kept.isprintable():
        return kept
    return "".join(
        one if one in _HARMLESS or unicodedata.category(one)[0] != "C" else _REPLACED
        for one in kept
    )


def name(value: str) -> str:
    """Cut ``value`` to the length of a name, on one line."""
    return text(value, FACT_NAME_CHARACTERS_MAX).replace("\n", " ").replace("\t", " ")


def counted(counts: dict[str, int]) -> dict[str, int]:
    """Keep the most frequent names, as many as facts may hold."""
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))[:FACT_VALUES_MAX]
    kept: dict[str, int] = {}
    for key, count in rows:
        short = name(key)
        kept[short] = min(kept.get(short, 0) + count, 2**62)
    return kept


@dataclass(slots=True)
class Words:
    """What a file says of itself, as far as the budget goes; later words are left out."""

    metadata: dict[str, str] = field(default_factory=dict)
    suggested: dict[str, str] = field(default_factory=dict)
    _left: int = FACTS_CHARACTERS_MAX

    def say(self, key: str, value: str) -> None:
        """Keep one line of the file's own metadata."""
        self._keep(self.metadata, key, value)

    def suggest(self, key: str, value: str) -> None:
        """Keep a word the seller may take over into his Listing; the first of a key stays."""
        if value.strip() and key not in self.suggested:
            self._keep(self.suggested, key, value.strip())

    def _keep(self, into: dict[str, str], key: str, value: str) -> None:
        size = min(len(key), FACT_NAME_CHARACTERS_MAX) + min(len(value), FACT_TEXT_CHARACTERS_MAX)
        if size <= self._left and len(into) < FACT_VALUES_MAX:
            into[name(key)] = text(value)
            self._left -= size
