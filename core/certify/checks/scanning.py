"""One line a scanner of pickles may add: that it found something, or that it does not know.

* The scanner (``picklescan``) is no part of Hanse; where somebody has installed it, it is asked,
  in a process of its own with bounds.
* It never makes a file safe: what it misses is in public lists, and a clean answer is
  "unknown", like no answer.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS: Final = 20.0
_SHOWN: Final = 4
_NAME_CHARACTERS: Final = 60
_OUTPUT_CHARACTERS: Final = 64 * 1024
_PROGRAM: Final = """
import json, sys
from picklescan.scanner import scan_file_path
found = scan_file_path(sys.argv[1])
bad = [f"{one.module}.{one.name}" for one in found.globals if one.safety.value == "dangerous"]
print(json.dumps(sorted(set(bad))[:16]))
"""


def scan_pickle(path: Path) -> tuple[str, ...]:
    """Return the names of what was found; none means "unknown", whatever the reason."""
    if importlib.util.find_spec("picklescan") is None:
        return ()
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter, and a file as an argument
            [sys.executable, "-I", "-c", _PROGRAM, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return said_by_scanner(done.stdout.decode("utf-8", "replace"))


def said_by_scanner(output: str) -> tuple[str, ...]:
    """Read what the scanner printed last: a JSON list of the names it calls dangerous."""
    line = output[-_OUTPUT_CHARACTERS:].strip().rpartition("\n")[2]
    try:
        names = json.loads(line)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        return ()
    return tuple(
        "".join(one if one.isprintable() else "?" for one in name[:_NAME_CHARACTERS])
        for name in names[:_SHOWN]
    )
