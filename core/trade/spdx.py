"""Reading SPDX licence expressions: known ids, AND, OR, WITH, and LicenseRef for the rest.

* An id is right or wrong; a wrong one comes back with the nearest right one.
* ``LicenseRef-...`` may be anything a seller names himself.
* A result knows its structure, not its meaning: what a licence allows is ``lineage``'s.

Source: SPDX 2.3, Annex D.  The list of ids is that of the ``license-expression`` package.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cache
from typing import Final

# The package ships no types; what it returns is checked by isinstance below.
import license_expression  # type: ignore[import-untyped]

from hanse.core.errors import WrongUse
from hanse.core.limits import LICENCE_ID_CHARACTERS_MAX

_REFERENCE: Final = re.compile(r"LicenseRef-[A-Za-z0-9.-]{1,100}\Z")
_OTHERS: Final = "LicenseRef-scancode-"  # ids of that package's own, which SPDX does not know
_OPERATORS: Final = frozenset({"and", "or", "with"})
_SIMILAR: Final = 0.6


class BadLicence(WrongUse):
    """A text is no SPDX expression; ``nearest`` is a known id or an empty text."""

    code = "licence.bad_expression"
    text = "{found} is no SPDX licence expression (nearest: {nearest})"
    fields = ("found", "nearest")


@dataclass(frozen=True, slots=True)
class AllOf:
    """Licences that hold together."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Licences of which the licensee takes one."""

    parts: tuple[Expression, ...]


Expression = str | AllOf | AnyOf  # a text is one id, with its exception if it has one


def read_licence(text: str) -> Expression:
    """Read an SPDX expression, ids in their official spelling, or raise ``BadLicence``."""
    if not 1 <= len(text) <= LICENCE_ID_CHARACTERS_MAX or text != text.strip():
        raise BadLicence(found=text[:LICENCE_ID_CHARACTERS_MAX], nearest="")
    try:
        tree = _licensing().parse(text)
        return _structure(tree, text)
    # WORKAROUND license-expression 30.4: "()" and "( AND or" end in these instead of its own error.
    except (license_expression.ExpressionError, IndexError, AssertionError) as error:
        is_sentence = not _OPERATORS.isdisjoint(text.casefold().split()) or "(" in text
        raise BadLicence(
            found=text, nearest="" if is_sentence else nearest_licence(text)
        ) from error


def licence_text(expression: Expression) -> str:
    """Write ``expression`` in its official spelling."""
    match expression:
        case AllOf(parts):
            return " AND ".join(_inner(part, AnyOf) for part in parts)
        case AnyOf(parts):
            return " OR ".join(_inner(part, AllOf) for part in parts)
        case _:
            return expression


def licence_ids(expression: Expression) -> tuple[str, ...]:
    """Return the ids in ``expression``, each once, as they come."""
    if isinstance(expression, str):
        return (expression,)
    return tuple(dict.fromkeys(key for part in expression.parts for key in licence_ids(part)))


def nearest_licence(text: str) -> str:
    """Return the known id that ``text`` resembles most, or an empty text."""
    by_folded = _by_folded()
    folded = text[:LICENCE_ID_CHARACTERS_MAX].strip().casefold().replace(" ", "-")
    if folded in by_folded:
        return by_folded[folded]
    close = difflib.get_close_matches(folded, by_folded, n=1, cutoff=_SIMILAR)
    return by_folded[close[0]] if close else ""


def _structure(tree: object, whole: str) -> Expression:
    match tree:
        case license_expression.AND():
            return AllOf(tuple(_structure(part, whole) for part in tree.args))
        case license_expression.OR():
            return AnyOf(tuple(_structure(part, whole) for part in tree.args))
        case license_expression.LicenseWithExceptionSymbol():
            licence, exception = tree.license_symbol, tree.exception_symbol
            if not exception.is_exception:
                raise BadLicence(found=exception.key, nearest="")
            return f"{_known(licence)} WITH {_known(exception)}"
        case license_expression.LicenseSymbol():
            if tree.is_exception:
                raise BadLicence(found=tree.key, nearest="")
            return _known(tree)
        case _:
            raise BadLicence(found=whole, nearest=nearest_licence(whole))


def _known(symbol: license_expression.LicenseSymbol) -> str:
    key: str = symbol.key
    if key in _licensing().known_symbols or _REFERENCE.match(key):
        return key
    raise BadLicence(found=key, nearest=nearest_licence(key))


def _inner(part: Expression, wrapped: type[AllOf | AnyOf]) -> str:
    text = licence_text(part)
    return f"({text})" if isinstance(part, wrapped) else text


@cache
def _licensing() -> license_expression.Licensing:
    return license_expression.get_spdx_licensing()


@cache
def _by_folded() -> dict[str, str]:
    keys: list[str] = [
        key
        for key, symbol in _licensing().known_symbols.items()
        if not symbol.is_exception and not key.startswith(_OTHERS)
    ]
    return {key.casefold(): key for key in keys}
