"""What is wrong with a signed statement: the step, the place, what belongs there, what stood there.

* ``STEPS`` are the steps of verification in their order (``certification.md`` 10); a fault is of
  exactly one of them.
* A place is a JSON path such as ``$.predicate.level``, or the name of a part.
* Values that are shown are cut, and nothing in them acts on a terminal.
* JSON that two readers could read as two things (a key twice, a number with a fraction) is
  refused whatever it says.
"""

from __future__ import annotations

import json
import re
from typing import Final, Literal, NoReturn

from hanse.core.errors import VerificationFailed
from hanse.core.limits import CERT_FILE_JSON_DEPTH_MAX, STATEMENT_SHOWN_CHARACTERS_MAX

Step = Literal[
    "json",
    "payload_type",
    "signature",
    "delegation",
    "shape",
    "index",
    "consistent",
    "suite",
    "subjects",
    "revoked",
]
STEPS: Final[tuple[Step, ...]] = (  # certification.md 10, one error a step
    "json",
    "payload_type",
    "signature",
    "delegation",
    "shape",
    "index",
    "consistent",
    "suite",
    "subjects",
    "revoked",
)

_PATH: Final = re.compile(r" - at `(.*)`\Z")
_KEY: Final = re.compile(r"\.([A-Za-z0-9_]+)|\[([0-9]+)\]")


class BadStatement(VerificationFailed):
    """A signed statement does not hold, and at which step and place.

    ``what`` is a JSON path or the name of a part, ``expected`` and ``found`` are values, or
    stable words of the sentence.
    """

    code = "certificate.bad"
    text = "statement fails at step {step}, {what}: expected {expected}, found {found}"
    fields = ("step", "what", "expected", "found")

    def __init__(self, step: Step, what: str, expected: object, found: object) -> None:
        """Name the step, the place, and both values."""
        super().__init__(step=step, what=what, expected=shown(expected), found=shown(found))
        self.step: Step = step
        self.what = what

    @property
    def number(self) -> int:
        """Return the number of the step, from 1."""
        return STEPS.index(self.step) + 1


def shown(value: object) -> str:
    """Write a value so that it can stand in a sentence: short, and nothing in it acts."""
    if isinstance(value, bytes):
        text = value.hex()
    elif isinstance(value, str):
        text = value
    else:
        text = json.dumps(value, default=str)
    text = "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )
    most = STATEMENT_SHOWN_CHARACTERS_MAX
    return text if len(text) <= most else text[:most] + "..."


def strict_json(raw: bytes, what: str) -> object:
    """Parse JSON that is known to be bounded; refuse what two readers could read as two things.

    Raise ``BadStatement`` (step 1) for a key that stands twice, a number with a fraction or
    too many nested parts; ``what`` names the whole.
    """

    def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
        seen: dict[str, object] = {}
        for key, value in found:
            if key in seen:
                raise BadStatement("json", f"{what} {shown(key)}", "once", "twice")
            seen[key] = value
        return seen

    def no_float(text: str) -> NoReturn:
        raise BadStatement("json", what, "no_fraction", text)

    try:
        value: object = json.loads(
            raw, object_pairs_hook=pairs, parse_float=no_float, parse_constant=no_float
        )
        _check_depth(value, what, 1)
    except RecursionError as error:
        raise BadStatement("json", what, f"<= {CERT_FILE_JSON_DEPTH_MAX}", "deeper") from error
    except ValueError as error:  # also of bytes that are no UTF-8, of a number too long
        raise BadStatement("json", what, "json", str(error)) from error
    return value


def _check_depth(value: object, what: str, depth: int) -> None:
    if depth > CERT_FILE_JSON_DEPTH_MAX:
        raise BadStatement("json", what, f"<= {CERT_FILE_JSON_DEPTH_MAX}", "deeper")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        _check_depth(one, what, depth + 1)


def shape_fault(step: Step, value: object, error: Exception) -> BadStatement:
    """Say in our words what the decoder refused; ``value`` is the same JSON, parsed."""
    text = str(error)
    at = _PATH.search(text)
    where = "$" if at is None else at[1]
    reason = text if at is None else text[: at.start()]
    if found := re.search(r"unknown field `(.*)`", reason):
        what = f"{where}.{found[1]}"
        return BadStatement(step, what, "no_such_field", value_at(value, what))
    if found := re.search(r"missing required field `(.*)`", reason):
        return BadStatement(step, f"{where}.{found[1]}", "a_value", "nothing")
    expected = reason.partition(", got ")[0].removeprefix("Expected ")
    return BadStatement(step, where, expected, value_at(value, where))


def value_at(value: object, where: str) -> object:
    """Return what stands at a JSON path such as ``$.checks[0].id``; "nothing" where none does."""
    for key, number in _KEY.findall(where):
        if key and isinstance(value, dict) and key in value:
            value = value[key]
        elif number and isinstance(value, list) and int(number) < len(value):
            value = value[int(number)]
        else:
            return "nothing"
    return value
