"""One catalogue of sentences for window and terminal: a code and its values become words.

* ``resources/i18n/LANGUAGE`` has one file for each part of the product; together they are
  one flat catalogue.
* A sentence is a format string with named placeholders; both languages have the
  same codes with the same placeholders, which a test holds.
* Values are given as they are; how a path, a size, a time or an id looks is
  decided here, so that it looks the same everywhere.
* A value that is a stable word (``reason``, ``state``) is said in the person's
  language if the catalogue has ``CODE.NAME.WORD`` or ``word.NAME.WORD``.
* A code without a sentence is our own bug and raises ``KeyError``.

Who sees the sentence, and on which device, is not known here.
"""

from __future__ import annotations

import base64
import tomllib
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LANGUAGES: Final = ("en", "zh_CN")

_ENVIRONMENT_NAMES: Final = ("HANSE_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
_PLAIN_LOCALES: Final = frozenset({"c", "posix"})
_GROUPED_FROM: Final = 10_000  # a year or a short count reads better without a comma
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_UNIT_STEP: Final = 1000
_NOTHING: Final = "-"


def say(code: str, values: Mapping[str, object], language: str) -> str:
    """Say what ``code`` means, with its values, in ``language``."""
    sentences = catalogue(language)
    shown = {name: _show(code, name, value, language) for name, value in values.items()}
    return sentences[code].format_map(shown)


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Read every sentence of one language; read once for each process."""
    assert language in LANGUAGES
    sentences: dict[str, str] = {}
    folder = files("hanse.resources").joinpath("i18n", language)
    for part in sorted(folder.iterdir(), key=lambda file: file.name):
        found: dict[str, str] = tomllib.loads(part.read_text("utf-8"))
        twice = sentences.keys() & found.keys()
        assert not twice, f"{part.name} says again: {sorted(twice)}"
        sentences |= found
    return sentences


def language_of(text: str) -> str | None:
    """Find the language a locale or language tag asks for, or None when we do not speak it.

    ``zh``, ``zh-CN``, ``zh_CN.UTF-8`` and ``zh-Hans`` are Simplified Chinese, and so are the
    other Chinese tags, being nearer than English; ``C`` and ``POSIX`` are English.
    """
    tag = text.strip().replace("-", "_").partition(".")[0].partition("@")[0].lower()
    if tag in _PLAIN_LOCALES:
        return "en"
    match tag.partition("_")[0]:
        case "en":
            return "en"
        case "zh":
            return "zh_CN"
        case _:
            return None


def pick_language(flag: str | None, environ: Mapping[str, str], settings: str | None) -> str:
    """Choose the language: the flag, the environment, the settings, and English at last.

    A tag we do not speak is passed over; whether it should be an error is the caller's
    business, and by then the error can be said in some language.
    """
    asked = (flag, *(environ.get(name) for name in _ENVIRONMENT_NAMES), settings)
    for text in asked:
        if text and (language := language_of(text)):
            return language
    return "en"


def show_size(size_bytes: int) -> str:
    """Write a size in decimal units, as disks and file managers do."""
    amount, unit = float(size_bytes), _UNITS[0]
    for larger in _UNITS[1:]:
        if amount < _UNIT_STEP:
            break
        amount, unit = amount / _UNIT_STEP, larger
    return f"{size_bytes} B" if unit == "B" else f"{amount:.1f} {unit}"


def show_time(time_ms: int) -> str:
    """Write a time of the Ledger in the zone of this machine."""
    try:
        when = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone()
    except (OverflowError, ValueError, OSError):  # an author may claim any year
        return f"{time_ms} ms"
    return when.isoformat(sep=" ", timespec="seconds")


def _show(code: str, name: str, value: object, language: str) -> str:
    match value:
        case None:
            return _NOTHING
        case bool():
            return catalogue(language)[f"word.bool.{str(value).lower()}"]
        case bytes():
            return _identity_text(value) if name == "identity" else value.hex()
        case int():
            return _show_number(name, value)
        case PurePath():
            return str(value)
        case tuple() | list():
            comma = "、" if language == "zh_CN" else ", "
            return comma.join(_show(code, name, one, language) for one in value)
        case str():
            words = catalogue(language)
            own = words.get(f"{code}.{name}.{value}")
            return own or words.get(f"word.{name}.{value}", value) or _NOTHING
        case _:
            return str(value)


def _identity_text(identity: bytes) -> str:
    # ``hanse.core.model.ids`` stands above this module; a test holds the two equal.
    return "hanse:id:" + base64.b32encode(identity).decode().rstrip("=").lower()


def _show_number(name: str, value: int) -> str:
    if name.endswith("_bytes"):
        return show_size(value)
    if name.endswith("_ms"):
        return show_time(value)
    return f"{value:,}" if abs(value) >= _GROUPED_FROM else str(value)
