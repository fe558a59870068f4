"""Where the process keeps its own things, and how a new Account's folder is called.

Where Accounts lie is said by ``hanse.core.engine.home``, which scripts use too.
Nothing here makes a folder or reads a file's content.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

import platformdirs

from hanse.core.engine.home import PROGRAM

if TYPE_CHECKING:
    from pathlib import Path

_NAME_CHARACTERS: Final = 40
_RESERVED: Final = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")  # names of devices on Windows


def log_folder() -> Path:
    """Return the folder for the log."""
    return platformdirs.user_log_path(PROGRAM, appauthor=False)


def new_account_folder(base: Path, name: str) -> Path:
    """Choose a folder below ``base`` that is not there yet, called after the Account."""
    called = folder_name(name)
    folder, number = base / called, 2
    while folder.exists():
        folder, number = base / f"{called}-{number}", number + 1
    return folder


def folder_name(name: str) -> str:
    """Write a person's name so that every file system takes it."""
    plain = unicodedata.normalize("NFC", name).casefold()
    words = re.findall(r"\w+", plain)
    called = "-".join(words)[:_NAME_CHARACTERS].strip("-_") or "account"
    return f"{called}-account" if _RESERVED.fullmatch(called) else called
