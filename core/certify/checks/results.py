"""How a result is written: the outcome, its stable word, and the values of its sentence.

Every word is a sentence ``check.reason.WORD`` of the catalogue; the values are its own.  Two of
them are errors as well, and are better said by their own sentences: see ``sentence_code``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hanse.core.artifacts.formats import FormatRefused
from hanse.core.certify.generated import NoInput
from hanse.core.model.certificate import CheckResult
from hanse.core.model.running import WorkerFailed

if TYPE_CHECKING:
    from hanse.core.errors import HanseError

_VALUE_CHARACTERS: Final = 200
_AS_ERRORS: Final = {"format": FormatRefused.code, "worker": WorkerFailed.code}


def sentence_code(reason: str) -> str:
    """Return the code of the sentence that says ``reason`` with the values of its result."""
    return _AS_ERRORS.get(reason, f"check.reason.{reason}")


def passed(check_id: str, detail: str = "", reason: str = "", **values: str | int) -> CheckResult:
    """Say that all was as it should be, and what is to be told beside it."""
    return CheckResult(check_id, "pass", reason, _cut(values), detail[:_VALUE_CHARACTERS])


def warned(check_id: str, reason: str, detail: str = "", **values: str | int) -> CheckResult:
    """Say that it stands, and what a person should know."""
    return CheckResult(check_id, "warn", reason, _cut(values), detail[:_VALUE_CHARACTERS])


def failed(check_id: str, reason: str, detail: str = "", **values: str | int) -> CheckResult:
    """Say what was not as it should be."""
    return CheckResult(check_id, "fail", reason, _cut(values), detail[:_VALUE_CHARACTERS])


def skipped(check_id: str, reason: str, **values: str | int) -> CheckResult:
    """Say why nothing was tried."""
    return CheckResult(check_id, "skip", reason, _cut(values))


def failed_worker(check_id: str, error: WorkerFailed) -> CheckResult:
    """Say that the Worker gave no answer, and how it ended."""
    values = _cut({"kind": error.kind, "check": error.check, "detail": error.detail})
    return CheckResult(check_id, "fail", "worker", values, error.kind)


def failed_by(check_id: str, error: HanseError) -> CheckResult:
    """Say what a rule refused."""
    match error:
        case FormatRefused():
            names = ("file", "rule", "found", "allowed")
            shown = {name: _as_text(error.values[name]) for name in names}
            return failed(check_id, "format", str(shown["rule"]), **shown)
        case NoInput():
            tensor, found = str(error.values["tensor"]), str(error.values["found"])
            return failed(check_id, "no_input", error.reason, tensor=tensor, found=found)
        case _:
            return failed(check_id, "refused", error.code, said=str(error))


def _as_text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _cut(values: dict[str, str | int]) -> dict[str, str | int]:
    return {
        name: one if isinstance(one, int) else one[:_VALUE_CHARACTERS]
        for name, one in values.items()
    }
