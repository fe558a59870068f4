"""A passphrase or a phrase that lies in a file of the person's own.

* Text in UTF-8, read up to a limit; a passphrase is the first line, a phrase all of them.
* That others on this machine may read the file is told to the caller, not refused.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from hanse.core.errors import FileUnreadable, WrongUse
from hanse.core.limits import SECRET_FILE_SIZE_BYTES_MAX

if TYPE_CHECKING:
    from pathlib import Path


class SecretFileUnfit(WrongUse):
    """A file that should hold a passphrase or a phrase holds none."""

    code = "secret_file.unfit"
    text = "{path} does not begin with a line of text"
    fields = ("path",)


def read_secret_file(path: Path, *, all_lines: bool = False) -> tuple[str, bool]:
    """Return the secret, and whether others may read the file; raise ``SecretFileUnfit``."""
    try:
        with path.open("rb") as file:
            raw = file.read(SECRET_FILE_SIZE_BYTES_MAX)
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise FileUnreadable(path=path, detail=error.strerror) from error
    is_open = os.name == "posix" and stat.S_ISREG(mode) and bool(mode & 0o044)
    try:
        lines = raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise SecretFileUnfit(path=path) from None
    found = " ".join(lines) if all_lines else next(iter(lines), "")
    if not found.strip():
        raise SecretFileUnfit(path=path)
    return found, is_open
