"""Text in columns of a terminal, where a Chinese character takes two and an accent none.

* Width is counted in columns, never in characters.
* What a stranger wrote is shown without the characters that move the cursor,
  change colours or turn the direction of writing round.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GAP: Final = "  "

_WIDE: Final = frozenset("WF")
_NO_WIDTH: Final = frozenset({"Mn", "Me", "Cf"})
_NOT_SHOWN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_KEPT: Final = frozenset("\n\u200c\u200d")  # some scripts need the joiners
# A line of Chinese must not begin with these.
_NEVER_FIRST: Final = frozenset("，。、；：？！）》」』】”’,.;:?!)]")


def text_width(text: str) -> int:
    """Count the columns ``text`` takes on one line."""
    return sum(_columns(character) for character in text)


def harmless(text: str) -> str:
    """Replace what could act on the terminal instead of being read."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(
        "?" if unicodedata.category(one) in _NOT_SHOWN and one not in _KEPT else one for one in text
    )


def padded(text: str, width: int) -> str:
    """Fill ``text`` with spaces up to ``width`` columns."""
    return text + " " * (width - text_width(text))


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Set rows under headers, each column as wide as its widest cell."""
    cells = [[" ".join(cell.split()) for cell in row] for row in (headers, *rows)]
    widths = [max(text_width(row[place]) for row in cells) for place in range(len(headers))]
    return tuple(
        GAP.join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def pairs(rows: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Set names and values side by side, the values in one column."""
    width = max((text_width(name) for name, _ in rows), default=0)
    return tuple(f"{padded(name, width)}{GAP}{value}".rstrip() for name, value in rows)


def wrapped(text: str, width: int, indent: str = "") -> tuple[str, ...]:
    """Break ``text`` into lines of at most ``width`` columns, between words or ideographs.

    Every line begins with ``indent``; a word longer than a line stays whole.
    """
    lines: list[str] = []
    line = ""
    for piece in _pieces(" ".join(text.split())):
        is_too_long = text_width(indent + line + piece.rstrip()) > width
        if line and is_too_long and piece[0] not in _NEVER_FIRST:
            lines.append(indent + line.rstrip())
            line = ""
        line += piece
    if line:
        lines.append(indent + line.rstrip())
    return tuple(lines)


def _columns(character: str) -> int:
    if unicodedata.category(character) in _NO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1


def _pieces(text: str) -> Iterator[str]:
    """Cut where a line may end: after a space, and around every wide character."""
    piece = ""
    for character in text:
        if _columns(character) == 2:
            if piece:
                yield piece
            piece = ""
            yield character
            continue
        piece += character
        if character == " ":
            yield piece
            piece = ""
    if piece:
        yield piece
