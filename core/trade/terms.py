"""Licence terms: the templates that ship with Hanse, a seller's own text, and tiers.

* A template is a file of ``resources/licences``: an id that never changes its meaning,
  names, summaries and texts in English and Chinese, and its matrix.
* ``text_hash`` is the SHA-256 of the text as both sides hold it: English, an empty line,
  Chinese for a template; the seller's words, in NFC with plain newlines, for his own.

What a base model's licence forbids is decided in ``lineage``; the types ``Terms`` and
``Tier`` are ``hanse.core.model.licence``'s and can be had from here too.
"""

from __future__ import annotations

import difflib
import tomllib
import unicodedata
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from hanse.core.errors import WrongUse
from hanse.core.ledger.codec import is_text
from hanse.core.limits import (
    CARD_LINE_CHARACTERS_MAX,
    LICENCE_TEXT_CHARACTERS_MAX,
)
from hanse.core.model.licence import Terms, Tier, read_tier, terms_fault, tier_map
from hanse.core.model.problem import Problem
from hanse.core.trade.spdx import BadLicence, read_licence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hanse.core.model.listing import Draft

__all__ = [
    "DEFAULT_LICENCE",
    "LicenceTemplate",
    "LicenceTextUnfit",
    "Terms",
    "Tier",
    "UnknownTemplate",
    "licence_problems",
    "licence_text",
    "own_terms",
    "parse_template",
    "read_tier",
    "template",
    "template_of",
    "templates",
    "terms_fault",
    "text_hash",
    "tier_map",
]

DEFAULT_LICENCE: Final = "commercial-1"

_Line = Annotated[str, msgspec.Meta(min_length=1, max_length=CARD_LINE_CHARACTERS_MAX)]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=LICENCE_TEXT_CHARACTERS_MAX)]


class UnknownTemplate(WrongUse):
    """No licence template has this id; ``nearest`` is the closest one."""

    code = "licence.unknown_template"
    text = "no licence template {found} (nearest: {nearest})"
    fields = ("found", "nearest")


class LicenceTextUnfit(WrongUse):
    """A seller's own licence text is empty, too long or no plain text."""

    code = "licence.text_unfit"
    text = "a licence text has 1 to {most} characters of plain text; this one has {found}"
    fields = ("found", "most")


class _Names(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    en: _Line
    zh: _Line


class _Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    en: _Text
    zh: _Text


class LicenceTemplate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A licence everybody can point to: id, words in both languages, and its matrix."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,39}\Z")]
    names: _Names
    summaries: _Texts
    texts: _Texts
    terms: Terms

    @property
    def document(self) -> str:
        """Return the whole text that ``text_hash`` is of."""
        return _document(self.texts)

    def name(self, language: str) -> str:
        """Return its name in ``language``."""
        return self.names.zh if language.startswith("zh") else self.names.en

    def summary(self, language: str) -> str:
        """Return what it grants in one or two sentences."""
        return self.summaries.zh if language.startswith("zh") else self.summaries.en

    def wording(self, language: str) -> str:
        """Return its text in ``language``; both languages bind."""
        return self.texts.zh if language.startswith("zh") else self.texts.en


@cache
def templates() -> Mapping[str, LicenceTemplate]:
    """Read every template this program ships, by id; the default comes first."""
    folder = files("hanse.resources").joinpath("licences")
    read = [
        parse_template(part.read_text("utf-8"))
        for part in sorted(folder.iterdir(), key=lambda file: file.name)
        if part.name.endswith(".toml") and part.name != "spdx.toml"
    ]
    read.sort(key=lambda template: (template.id != DEFAULT_LICENCE, template.id))
    return {template.id: template for template in read}


def parse_template(text: str) -> LicenceTemplate:
    """Read one template; raise ``ValueError`` that names the fault."""
    table = tomllib.loads(text)
    texts = msgspec.convert(table.get("texts"), _Texts)
    digest = text_hash(_document(texts))
    terms = {**table.pop("terms", {}), "spdx": table.pop("spdx", ""), "text_hash": digest}
    template = msgspec.convert({**table, "terms": terms}, LicenceTemplate, builtin_types=(bytes,))
    if fault := terms_fault(template.terms):
        raise ValueError(f"template {template.id}: {fault}")
    return template


def template(licence_id: str) -> LicenceTemplate:
    """Return the template with this id, or raise ``UnknownTemplate``."""
    held = templates()
    if licence_id not in held:
        close = difflib.get_close_matches(licence_id[:100].casefold(), held, n=1, cutoff=0)
        raise UnknownTemplate(found=licence_id, nearest=close[0])
    return held[licence_id]


def template_of(terms: Terms) -> LicenceTemplate | None:
    """Return the template whose very text ``terms`` rest on, or None for a seller's own."""
    by_hash = {template.terms.text_hash: template for template in templates().values()}
    return by_hash.get(terms.text_hash)


def own_terms(text: str, matrix: Terms) -> Terms:
    """Put the seller's own ``text`` under ``matrix``, named by a LicenseRef of its hash.

    Raise ``LicenceTextUnfit`` for a text that is empty, too long or no plain text.
    """
    digest = text_hash(text)
    return msgspec.structs.replace(matrix, spdx=f"LicenseRef-{digest.hex()[:16]}", text_hash=digest)


def licence_problems(draft: Draft) -> tuple[Problem, ...]:
    """Say what is wrong with the texts and ids of the licences ``draft`` is offered under.

    Beside ``hanse.core.market.listings.validate_draft``, which looks at their prices.
    """
    problems = []
    for number, tier in enumerate(draft.tiers):
        field = f"tiers[{number}].terms"
        try:
            read_licence(tier.terms.spdx)
        except BadLicence as error:
            problems.append(Problem(error.code, field, error.values))
        if template_of(tier.terms) is not None:
            continue
        try:
            is_its_text = text_hash(tier.text) == tier.terms.text_hash
        except LicenceTextUnfit as error:
            problems.append(Problem(error.code, field, error.values))
        else:
            if not is_its_text:
                problems.append(Problem("licence.other_text", field, {"tier": tier.name}))
    return tuple(problems)


def text_hash(text: str) -> bytes:
    """Hash a licence text, or raise ``LicenceTextUnfit``."""
    return sha256(licence_text(text).encode()).digest()


def licence_text(text: str) -> str:
    """Return ``text`` as it is hashed and kept, or raise ``LicenceTextUnfit``.

    NFC, plain newlines, nothing blank at either end: a text file's last newline makes no
    other licence of it.
    """
    plain = unicodedata.normalize("NFC", text.replace("\r\n", "\n")).strip()
    is_fit = 1 <= len(plain) <= LICENCE_TEXT_CHARACTERS_MAX and is_text(plain, multiline=True)
    try:
        plain.encode()
    except UnicodeEncodeError:  # a lone surrogate
        is_fit = False
    if not is_fit:
        raise LicenceTextUnfit(found=len(plain), most=LICENCE_TEXT_CHARACTERS_MAX)
    return plain


def _document(texts: _Texts) -> str:
    return f"{texts.en.strip()}\n\n{texts.zh.strip()}"
