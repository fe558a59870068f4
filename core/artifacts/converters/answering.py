"""Requests and answers of a converter, its refusal, and what every source is checked for.

* A request is one JSON object ``{"source", "target", "options"}`` on standard input, the answer
  one JSON object in the last line of standard output: ``{"made": ...}``, or
  ``{"refused": {"code": ..., "values": {"what": ...}}}``.
* A package that is missing is a refusal with its name, never an ``ImportError``.
* Every bound comes with the options; none has a default here.
* Only the standard library is imported: this runs where Hanse is not installed.

What is converted, and how, is not known here.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class ConversionRefused(Exception):
    """The file cannot be converted; ``code`` is a stable word, ``values["what"]`` what was met."""

    def __init__(self, code: str, what: object = "") -> None:
        """Cut what was met to what a person can read."""
        text = " ".join(str(what).split())
        super().__init__(f"{code}: {text}")
        self.code = code
        self.values = {"what": text if len(text) <= 300 else text[:299] + "\u2026"}


def framework(name: str) -> Any:  # noqa: ANN401  a module without types
    """Import a package that need not be there, or refuse with its name."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConversionRefused("package_missing", error.name or name) from None


def bound(options: dict[str, Any], name: str) -> int:
    """Return one of the bounds that the caller must give."""
    return int(options[name])


def versions_of(*packages: str) -> dict[str, str]:
    """Return the version of each package, as a Parity names its tools."""
    return {name: importlib.metadata.version(name) for name in packages}


def check_size(path: Path, options: dict[str, Any]) -> None:
    """Refuse a source larger than may be converted."""
    size, most = path.stat().st_size, bound(options, "source_size_bytes")
    if size > most:
        raise ConversionRefused("too_large", f"{size} > {most}")


def check_zip(path: Path, options: dict[str, Any]) -> list[str]:
    """Refuse a zip that unpacks to too much, hides or escapes; return its members' names."""
    try:
        with zipfile.ZipFile(path) as packed:
            members = packed.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ConversionRefused("unreadable", error) from None
    if len(members) > bound(options, "zip_members"):
        raise ConversionRefused("zip_unfit", f"{len(members)} members")
    size = sum(member.file_size for member in members)
    most = bound(options, "zip_factor") * path.stat().st_size + bound(options, "zip_spare_bytes")
    if size > most:
        raise ConversionRefused("zip_unfit", f"{size} > {most}")
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if member.flag_bits & 1 or ".." in parts or member.filename.startswith(("/", "\\")):
            raise ConversionRefused("zip_unfit", member.filename)
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise ConversionRefused("zip_unfit", "one name twice")
    return names


def answer_request(convert: Callable[[Path, Path, dict[str, Any]], dict[str, Any]]) -> None:
    """Read one request on standard input, and print what ``convert`` makes of it."""
    request = json.loads(sys.stdin.read())
    options = request["options"]
    answer: dict[str, Any]
    try:
        answer = {"made": convert(Path(request["source"]), Path(request["target"]), options)}
    except ConversionRefused as refusal:
        answer = {"refused": {"code": refusal.code, "values": refusal.values}}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
    sys.stdout.flush()
