"""What a command answers: a value for programs, lines for people, and yes or no.

* ``--json`` prints one object: ``{"ok": true, "result": ...}``, or ``{"ok": false,
  "error": {"code": ..., "values": {...}}}``, to which a verification that found a
  fault adds its whole ``result``.
* Ids are hexadecimal, Identities ``hanse:id:...``, times milliseconds, sizes
  bytes: as they are, never as shown to people.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Final

import msgspec

from hanse.app.columns import harmless
from hanse.core.errors import EXIT_DONE, HanseError
from hanse.core.model.ids import identity_text

_IDENTITIES: Final = frozenset({"identity", "identities"})


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of one command; ``refusal`` is set when the answer is no."""

    result: object
    lines: Sequence[str] = ()
    refusal: HanseError | None = None

    @property
    def exit_code(self) -> int:
        """Zero, or the code of the refusal."""
        return EXIT_DONE if self.refusal is None else self.refusal.exit_code


def answer_json(answer: Answer) -> str:
    """Write an answer as the one object of ``--json``."""
    result = plain(answer.result)
    if answer.refusal is None:
        return _dump({"ok": True, "result": result})
    return _dump({"ok": False, "error": _error(answer.refusal), "result": result})


def error_json(code: str, values: Mapping[str, object]) -> str:
    """Write an error as the one object of ``--json``."""
    return _dump({"ok": False, "error": {"code": code, "values": plain(values)}})


def plain(value: object, name: str = "") -> object:
    """Turn what a use case answers into what JSON can say."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():  # what a model answers; JSON has no word for what is no number
            return value if math.isfinite(value) else None
        case bytes():
            return identity_text(value) if name in _IDENTITIES else value.hex()
        case PurePath():
            return str(value)
        case Enum():
            return plain(value.value)
        case Mapping():
            return {str(key): plain(one, str(key)) for key, one in value.items()}
        case tuple() | list() | frozenset():
            return [plain(one, name) for one in value]
        case msgspec.Struct():
            return plain(msgspec.structs.asdict(value))
        case _ if is_dataclass(value):
            return {one.name: plain(getattr(value, one.name), one.name) for one in fields(value)}
        case _:
            return str(value)


def _error(error: HanseError) -> Mapping[str, object]:
    return {"code": error.code, "values": plain(error.values)}


def _dump(content: Mapping[str, object]) -> str:
    # What a terminal or a UTF-8 file could not take as it is goes as escapes.
    text = json.dumps(content, ensure_ascii=False)
    return text if harmless(text) == text else json.dumps(content)
