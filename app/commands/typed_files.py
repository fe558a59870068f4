"""Files of text that a person names on the command line, read whole but never without end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.core.errors import FileTooLarge, FileUnreadable, WrongUse

if TYPE_CHECKING:
    from pathlib import Path

_BYTES_OF_A_CHARACTER = 4  # in UTF-8, at most


class NotText(WrongUse):
    """A file that must be text is not UTF-8."""

    code = "file.not_text"
    text = "{path} is no UTF-8 text, from byte {position} on"
    fields = ("path", "position")


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Read a file; raise ``FileUnreadable`` or ``FileTooLarge``."""
    try:
        with path.open("rb") as file:
            raw = file.read(most_bytes + 1)
    except OSError as error:
        raise FileUnreadable(path=path, detail=error.strerror) from error
    if len(raw) > most_bytes:
        raise FileTooLarge(path=path, found=path.stat().st_size, most=most_bytes)
    return raw


def read_text(path: Path, most_characters: int) -> str:
    """Read a text of at most so many characters, give or take; raise also ``NotText``."""
    raw = read_bounded(path, most_characters * _BYTES_OF_A_CHARACTER)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotText(path=path, position=error.start) from error
