"""The log: one rotating file for this person only, in which no secret may stand.

* Every line, tracebacks included, passes ``redact``: what looks like a key, a
  phrase or a passphrase is masked.  Secrets are not logged in the first place;
  this is the second wall.
* Ids lose all but their first characters, since nobody can tell them from keys.
* A log that cannot be written never stops a command.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hanse.core.limits import LOG_SIZE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG_FILE: Final = "hanse.log"

_OLD_FILES: Final = 3
_SHOWN_CHARACTERS: Final = 8
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_NAMED: Final = re.compile(
    r"(?i)\b(pass(?:phrase|word)|phrase|secret|seed|local_key|private_key|token)"
    r"(\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|\S+)"
)
_ENGLISH_PHRASE: Final = re.compile(r"\b(?:[a-z]{3,8}[ ,]+){11,}[a-z]{3,8}\b")
_CHINESE_PHRASE: Final = re.compile(r"(?:[\u4e00-\u9fff] ?){23,}[\u4e00-\u9fff]")
_BYTES: Final = re.compile(r"\bb'(?:\\.|[^'\\]){16,}'|\bb\"(?:\\.|[^\"\\]){16,}\"")
# Unbroken runs of this length are keys, ids or hashes; slashes would hide paths.
_RUN: Final = re.compile(r"\b[0-9a-fA-F]{32,}\b|[A-Za-z0-9+_]{40,}={0,2}")


def redact(text: str) -> str:
    """Mask what looks like a secret."""
    text = _NAMED.sub(r"\1\2[masked]", text)
    text = _ENGLISH_PHRASE.sub("[masked words]", text)
    text = _CHINESE_PHRASE.sub("[masked words]", text)
    text = _BYTES.sub("[masked bytes]", text)
    return _RUN.sub(lambda match: match[0][:_SHOWN_CHARACTERS] + "...", text)


class RedactingFormatter(logging.Formatter):
    """Writes a record as one redacted text, its traceback too."""

    def format(self, record: logging.LogRecord) -> str:
        """Format as usual, then mask."""
        return redact(super().format(record))


class _PrivateFile(RotatingFileHandler):
    """A rotating file that only its owner can read, from the first byte on."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with suppress(OSError):
            Path(self.baseFilename).chmod(0o600)
        return TextIOWrapper(os.fdopen(descriptor, "ab"), encoding="utf-8", errors="replace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Lose the line: a full disk must not stop what a person asked for."""


@contextmanager
def logging_to(folder: Path, *, is_verbose: bool) -> Iterator[Path | None]:
    """Log to ``folder`` until left; give the file, or None when it cannot be written.

    ``is_verbose`` shows the log on standard error as well.
    """
    root = logging.getLogger()
    level_before = root.level
    handlers = list(_handlers(folder, is_verbose=is_verbose))
    hanse = logging.getLogger("hanse")
    root.setLevel(logging.WARNING)  # other people's libraries; theirs is not ours to keep
    hanse.setLevel(logging.DEBUG if is_verbose else logging.INFO)
    for handler in handlers:
        root.addHandler(handler)
    try:
        has_file = any(isinstance(handler, _PrivateFile) for handler in handlers)
        yield folder / LOG_FILE if has_file else None
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            with suppress(OSError):  # a full disk, again
                handler.close()
        root.setLevel(level_before)
        hanse.setLevel(logging.NOTSET)


def _handlers(folder: Path, *, is_verbose: bool) -> Iterator[logging.Handler]:
    formatter = RedactingFormatter(_FORMAT)
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = _PrivateFile(
            folder / LOG_FILE, maxBytes=LOG_SIZE_BYTES_MAX, backupCount=_OLD_FILES, encoding="utf-8"
        )
        file.setFormatter(formatter)
        yield file
    if is_verbose:
        screen = logging.StreamHandler(sys.stderr)
        screen.setFormatter(formatter)
        yield screen
