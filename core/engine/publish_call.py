"""``publish_model(name, description, file, price)``: publishing as one call.

* The one call connects what it needs by itself: data folder, passphrase, engine,
  Worker.  It needs no network; the announcement leaves when Hanse next runs.
* The success line is printed after the commit, and only then.  A refusal prints its
  line and one line for each reason, all of them at once.
* An Account is never made silently: its 24 words must be shown to somebody.
* Making the call is the confirmation, unless ``confirm`` is given.
"""

from __future__ import annotations

import getpass
import os
import sys
from dataclasses import dataclass, field, replace
from decimal import Decimal
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from hanse.core.artifacts.sources import list_source
from hanse.core.clock import SystemChance, SystemClock
from hanse.core.engine.engine import Engine
from hanse.core.engine.home import Home, base_folder, config_folder, the_account_folder
from hanse.core.engine.publishing import STANDARD_TIER, DraftHasProblems
from hanse.core.errors import (
    EXIT_NO,
    EXIT_WRONG_USE,
    AccountLocked,
    EnvironmentFault,
    Refused,
    UserError,
    WrongUse,
)
from hanse.core.keystore.keyring_store import load_passphrase, remembered_mark
from hanse.core.keystore.keystore import read_public
from hanse.core.keystore.secret_file import read_secret_file
from hanse.core.limits import LISTING_SUMMARY_CHARACTERS_MAX
from hanse.core.market.concepts import concepts
from hanse.core.market.currencies import BadMoney, FloatMoney, price_text
from hanse.core.market.listings import Problem, suggest_task, validate_draft
from hanse.core.model.control import Cancelled, Control
from hanse.core.model.listing import Draft, TierDraft
from hanse.core.sentences import pick_language, say
from hanse.core.trade.terms import DEFAULT_LICENCE, UnknownTemplate, template

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hanse.core.engine.preparing import Preparation
    from hanse.core.engine.publishing import DraftView, PublishedView, Publishing
    from hanse.core.engine.signing import Preview

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "model_name": (str,),
    "model_description": (str,),
    "model_file": (str, os.PathLike),
    "price": (int, str, Decimal),
}


class NotPublished(UserError):
    """Nothing was published; ``reasons`` are sentences, one for each thing to change."""

    code = "publish.failed"
    text = "model {model} was not published: {reasons}"
    fields = ("model", "reasons")

    def __init__(self, model: str, reasons: Sequence[str]) -> None:
        """Keep the name as given, and every reason."""
        super().__init__(model=model, reasons=tuple(reasons))
        self.reasons = tuple(reasons)


class PublishRefused(NotPublished, Refused):
    """A rule says no."""


class BadArguments(NotPublished, WrongUse, ValueError):
    """The values of the call cannot be published."""

    exit_code = EXIT_WRONG_USE


class BadArgumentTypes(NotPublished, WrongUse, TypeError):
    """An argument has a type that is not taken, such as a price that is a float."""

    exit_code = EXIT_WRONG_USE


class PublishCancelled(UserError):
    """The person said no; the Draft is kept."""

    code = "publish.cancelled"
    text = "cancelled; the draft is kept"
    exit_code = EXIT_NO


@dataclass(frozen=True, slots=True)
class Published:
    """What the call put on the Ledger; ``level`` is what was reached on this machine."""

    listing_id: bytes
    release_id: bytes
    author: bytes
    seq: int
    artifact_id: bytes
    level: int
    warnings: tuple[str, ...]
    model_name: str
    model_description: str
    model_file: str
    price: int | str | Decimal

    def to_dict(self) -> dict[str, object]:
        """Return the article's transaction; of the file the base name alone, never a path."""
        return {
            "model_name": self.model_name,
            "model_description": self.model_description,
            "model_file": self.model_file,
            "price": self.price,
            "status": "published",
        }


def _unchanged(draft: Draft) -> Draft:
    return draft


@dataclass(frozen=True, slots=True)
class Call:
    """The article's four parameters and what else may be said; ``change`` edits the Draft.

    With ``draft`` a Draft that is kept goes on, and ``model_file`` only names what it was
    made from.  ``untested`` lists the model without running it.  ``problems`` are what the
    caller found wrong already, told with the rest.
    """

    model_name: str
    model_description: str
    model_file: Path
    price: int | str | Decimal
    currency: str | None = None
    licence: str = "commercial-1"
    task: str | None = None
    lang: str = "en"
    listing: bytes | None = None
    untested: bool = False
    preparation: Preparation | None = None
    change: Callable[[Draft], Draft] = field(default=_unchanged)
    draft: bytes | None = None
    problems: tuple[Problem, ...] = ()


def publish_model(
    model_name: str,
    model_description: str,
    model_file: str | os.PathLike[str],
    price: int | str | Decimal,
    *,
    currency: str | None = None,
    licence: str = "commercial-1",
    task: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    lang: str | None = None,
    untested: bool = False,
    confirm: Callable[[Draft], bool] | None = None,
    echo: Callable[[str], None] | None = print,
    passphrase: str | None = None,
) -> Published:
    """Publish ``model_file`` (a file or a folder) for ``price`` (major units of ``currency``).

    The model is first seen to be whole, sound and running, locked in on this machine; the
    Level reached is ``Published.level``.  ``untested`` lists it at Level 0 without running it.

    Raises ``PublishRefused`` when a rule says no or a check fails, ``BadArguments`` (a
    ``ValueError``) or ``BadArgumentTypes`` (a ``TypeError``) with every problem at once,
    ``NoAccount``, ``AccountLocked``, ``PublishCancelled`` or an ``EnvironmentFault``.
    ``data_dir`` and ``lang`` default to ``HANSE_DATA_DIR`` and ``HANSE_LANG``, then to the
    platform's folder and locale; ``passphrase`` to ``HANSE_PASSPHRASE_FILE``, the system's
    keyring or a prompt.
    """
    language = pick_language(lang, os.environ, None)
    values = {
        "model_name": model_name,
        "model_description": model_description,
        "model_file": model_file,
        "price": price,
    }
    _check_types(values, language, echo)
    call = Call(
        model_name,
        model_description,
        Path(model_file),
        price,
        currency=currency,
        licence=licence,
        task=task,
        lang=_tag(language),
        untested=untested,
        problems=_nowhere(model_file),
    )
    given = data_dir if data_dir is not None else os.environ.get("HANSE_DATA_DIR")
    folder = the_account_folder(base_folder()) if not given else Path(given).expanduser()
    home = Home(folder, config_folder(os.environ))
    with Engine.open(home, clock=SystemClock(), chance=SystemChance(), is_warm=True) as engine:
        engine.accounts.unlock(_passphrase(home, language) if passphrase is None else passphrase)
        agree = None if confirm is None else (lambda view, _: confirm(view.draft))
        return offer(engine, call, language, Control(), agree=agree, echo=echo)


def offer(
    engine: Engine,
    call: Call,
    language: str,
    control: Control,
    *,
    agree: Callable[[DraftView, Preview], bool] | None,
    echo: Callable[[str], None] | None,
) -> Published:
    """Publish with an open, unlocked engine; the terminal's and the script's one way.

    ``agree`` is shown the Draft and exactly what will be signed.
    """
    try:
        done = _offer(engine, call, language, control, agree)
    except PublishCancelled:
        _echo(echo, (say("publish.cancelled", {}, language),))
        raise
    except (PublishRefused, BadArguments) as error:
        _echo(echo, (_failed(call.model_name, language), *error.reasons))
        raise
    except EnvironmentFault as error:
        reason = say(error.code, error.values, language)
        _echo(echo, (_failed(call.model_name, language), reason))
        raise
    _echo(echo, (say("publish.done", {"model": call.model_name}, language),))
    return _published(call, done, language)


def filled(draft: Draft, call: Call) -> Draft:
    """Put the values of the call into a Draft; the rest stays as the file suggested it."""
    description = call.model_description
    draft = msgspec.structs.replace(
        draft,
        title=call.model_name,
        text=description,
        summary=description[:LISTING_SUMMARY_CHARACTERS_MAX],
        lang=call.lang,
        price=price_text(call.price),
        currency=draft.currency if call.currency is None else call.currency,
        untested=call.untested,
        tiers=(TierDraft(name=STANDARD_TIER, terms=template(call.licence).terms),),
        task=call.task if call.task is not None else _typed_task(draft),
    )
    if not draft.task:  # the words of the call say more than the shapes of the model
        draft = msgspec.structs.replace(draft, task=suggest_task(draft, concepts()))
    return call.change(draft)


def _typed_task(draft: Draft) -> str:
    """Return the task somebody stated; one that was guessed is guessed again."""
    return "" if "task" in draft.guessed else draft.task


def sentences(problems: Sequence[Problem], language: str) -> tuple[str, ...]:
    """Say each Problem in one sentence."""
    return tuple(say(one.code, one.values, language) for one in problems)


def _offer(
    engine: Engine,
    call: Call,
    language: str,
    control: Control,
    agree: Callable[[DraftView, Preview], bool] | None,
) -> PublishedView:
    publishing = engine.publishing
    try:
        usual = Draft(currency=publishing.usual_currency())
        _check_values(call, usual, engine.context.clock.now_ms(), language)
        publishing.check_may_sell()
        draft_id = _begun(publishing, call, control)
        publishing.edit(draft_id, lambda draft: filled(draft, call))
        preview = publishing.preview(draft_id, control)
        view = publishing.view(draft_id)  # the model was tested meanwhile
        if agree is None or agree(view, preview):
            return publishing.publish(draft_id, preview)
    except DraftHasProblems as error:
        raise PublishRefused(call.model_name, sentences(error.problems, language)) from error
    except (PublishRefused, BadArguments, PublishCancelled, Cancelled):
        raise
    except Refused as error:
        reasons = (say(error.code, error.values, language),)
        raise PublishRefused(call.model_name, reasons) from error
    except WrongUse as error:
        reasons = (say(error.code, error.values, language),)
        raise BadArguments(call.model_name, reasons) from error
    raise PublishCancelled


def _begun(publishing: Publishing, call: Call, control: Control) -> bytes:
    if call.draft is not None:
        return publishing.prepare(call.draft, control, call.preparation).draft_id
    return publishing.begin(
        call.model_file, control, listing=call.listing, preparation=call.preparation
    ).draft_id


def _check_types(
    values: Mapping[str, object], language: str, echo: Callable[[str], None] | None
) -> None:
    """Raise ``BadArgumentTypes`` for arguments of the wrong type, with all of them."""
    reasons = []
    for argument, expected in _TYPES.items():
        value = values[argument]
        if isinstance(value, float):
            reasons.append(say(FloatMoney.code, {"found": str(value)}, language))
        elif isinstance(value, bool) or not isinstance(value, expected):
            named = {
                "argument": argument,
                "found": type(value).__name__,
                "expected": ", ".join(one.__name__ for one in expected),
            }
            reasons.append(say("publish.bad_type", named, language))
    if reasons:
        name = str(values["model_name"])
        _echo(echo, (_failed(name, language), *reasons))
        raise BadArgumentTypes(name, reasons)


def _nowhere(model_file: str | os.PathLike[str]) -> tuple[Problem, ...]:
    """Say that an empty path leads nowhere; ``Path`` would take it for the current folder."""
    if os.fspath(model_file):
        return ()
    return (Problem("import.missing", "model_file", {"path": "''"}),)


def _check_values(call: Call, usual: Draft, now_ms: int, language: str) -> None:
    """Raise ``BadArguments`` with everything that is wrong before a byte is copied."""
    reasons = [*sentences(call.problems, language)]
    try:
        terms = template(call.licence).terms
    except UnknownTemplate as error:
        reasons.append(say(error.code, error.values, language))
        terms = template(DEFAULT_LICENCE).terms
    try:
        draft = filled(usual, replace(call, licence=DEFAULT_LICENCE))
        tier = TierDraft(name=STANDARD_TIER, terms=terms)
        draft = msgspec.structs.replace(draft, tiers=draft.tiers or (tier,))
        problems = validate_draft(draft, now_ms=now_ms, vocabulary=concepts(), needs_model=False)
        reasons += sentences([one for one in problems if not one.is_warning], language)
    except BadMoney as error:
        reasons.append(say(error.code, error.values, language))
    try:
        if call.draft is None:
            list_source(call.model_file, None)
    except (UserError, EnvironmentFault) as error:
        reasons.append(say(error.code, error.values, language))
    if reasons:
        raise BadArguments(call.model_name, tuple(reasons))


def _published(call: Call, done: PublishedView, language: str) -> Published:
    assert done.release is not None
    return Published(
        listing_id=done.listing,
        release_id=done.release,
        author=done.author,
        seq=done.seq,
        artifact_id=done.artifact,
        level=done.level,
        warnings=sentences(done.warnings, language),
        model_name=call.model_name,
        model_description=call.model_description,
        model_file=call.model_file.absolute().name,
        price=call.price,
    )


def _failed(model: str, language: str) -> str:
    return say("publish.failed", {"model": model}, language)


def _echo(echo: Callable[[str], None] | None, lines: Sequence[str]) -> None:
    if echo is print:
        _make_printable()
    if echo is not None:
        for line in lines:
            echo(line)


def _make_printable() -> None:
    """Let standard output take any character, also under ``LC_ALL=C`` and of a broken name."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")


def _tag(language: str) -> str:
    """Return the tag a Listing says its language by."""
    return language.replace("_", "-")


def _passphrase(home: Home, language: str) -> str:
    """Find the passphrase where the terminal finds it: file, keyring, or a person."""
    if path := os.environ.get("HANSE_PASSPHRASE_FILE"):
        return read_secret_file(Path(path).expanduser())[0]
    identity = read_public(home.keystore).identity
    if remembered_mark(home.config, identity).exists():
        kept = load_passphrase(identity)
        if kept is not None:
            return kept
    if sys.stdin is not None and sys.stdin.isatty():
        return getpass.getpass(say("ask.passphrase", {}, language) + " ")
    raise AccountLocked
