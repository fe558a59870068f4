"""The desk between a person and the engine: says sentences, asks, and takes secrets.

* A passphrase comes from ``--passphrase-file``, then from the system's keyring if
  it was remembered there, then from a hidden prompt; a phrase from ``--phrase-file``,
  a hidden prompt or a pipe.  Where there is no way to ask, that is said; nothing waits.
* What signs shows its draft and asks first; ``--yes`` answers for the person.
* Secrets pass through and are kept by nobody here.
* Where this process holds the data folder for others, every command works with the one engine that
  is open, and needs no passphrase while the Account is unlocked.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hanse.app.progress import long_work
from hanse.core.crypto.passwords import normal_passphrase
from hanse.core.crypto.phrase import Phrase, parse_phrase
from hanse.core.engine.ports import NetworkOffline
from hanse.core.errors import (
    EXIT_NO,
    HanseError,
    PassphraseTooShort,
    UserError,
    WrongUse,
)
from hanse.core.keystore.keyring_store import load_passphrase, remembered_mark
from hanse.core.keystore.keystore import read_public
from hanse.core.keystore.secret_file import read_secret_file
from hanse.core.limits import PASSPHRASE_CHARACTERS_MIN
from hanse.core.sentences import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hanse.app.bootstrap import Hanse
    from hanse.app.console import Console
    from hanse.app.runtime import Runtime
    from hanse.core.engine.engine import Engine
    from hanse.core.engine.ports import Peers
    from hanse.core.model.ids import IdentityId

_TRIES: Final = 3


class NoWayToAskPassphrase(WrongUse):
    """A passphrase is needed, and there is neither a file nor a keyring nor a terminal."""

    code = "passphrase.no_way_to_ask"
    text = "a passphrase is needed; give --passphrase-file or run in a terminal"


class NoWayToAskPhrase(WrongUse):
    """A Recovery phrase is needed, and there is neither a file nor a pipe nor a terminal."""

    code = "phrase.no_way_to_ask"
    text = "the recovery phrase is needed; give --phrase-file, a pipe, or run in a terminal"


class NoWayToConfirm(WrongUse):
    """The act must be confirmed, and nobody can be asked."""

    code = "confirm.no_way_to_ask"
    text = "this must be confirmed; give {option} or run in a terminal"
    fields = ("option",)


class OptionNeeded(WrongUse):
    """Something must be said, and nobody can be asked."""

    code = "option.needed"
    text = "{option} is needed when there is no terminal to ask on"
    fields = ("option",)


class PassphraseMismatch(WrongUse):
    """The two passphrases typed differ."""

    code = "passphrase.mismatch"
    text = "the two passphrases differ"


class Cancelled(UserError):
    """The person said no."""

    code = "act.cancelled"
    text = "cancelled by the person"
    exit_code = EXIT_NO


class Desk:
    """What a command works with; one for each run."""

    def __init__(
        self,
        hanse: Hanse,
        console: Console,
        *,
        runtime: Runtime | None = None,
        here: Path | None = None,
    ) -> None:
        """Nothing is opened yet.

        ``runtime`` is what this process runs on the folder for others, ``here`` the folder in
        which the person is.
        """
        self.hanse = hanse
        self.console = console
        self.runtime = runtime
        self.language: Final = hanse.settings.lang
        self._here = here

    @property
    def is_json(self) -> bool:
        """True when the result goes to a program."""
        return self.hanse.settings.is_json

    def say(self, code: str, **values: object) -> str:
        """Say a sentence in the person's language."""
        return say(code, values, self.language)

    def tell(self, code: str, **values: object) -> None:
        """Show a sentence that is not the result."""
        self.console.err(self.say(code, **values))

    # --- questions --------------------------------------------------------------------------

    def text(self, given: str | None, option: str, question: str) -> str:
        """Return what was given for ``option``, or ask for it."""
        if given:
            return given
        if not self.console.has_person:
            raise OptionNeeded(option=option)
        for _ in range(_TRIES):
            if typed := self.console.ask(self.say(question)).strip():
                return typed
        raise OptionNeeded(option=option)

    def confirm(self, draft: Sequence[str], question: str = "confirm.sign") -> None:
        """Show what is about to be done and go on only after a yes, else ``Cancelled``."""
        if self.hanse.settings.is_yes:
            return
        if not self.console.has_person:
            raise NoWayToConfirm(option="--yes")
        for line in draft:
            self.console.err(line)
        self.yes_or_cancel(question)

    def confirm_without_peer(self, *, is_given: bool) -> None:
        """Warn that no Peer confirmed the copy of the root feed, and ask for a second yes."""
        if is_given:
            return
        if not self.console.has_person:
            raise NoWayToConfirm(option="--without-peer")
        self.tell("root.no_peer")
        self.yes_or_cancel("confirm.without_peer")

    def yes_or_cancel(self, question: str) -> None:
        """Ask, and raise ``Cancelled`` unless the answer is yes."""
        typed = self.console.ask(self.say(question)).strip().casefold()
        if typed not in self.say("confirm.yes_words").split():
            raise Cancelled

    # --- secrets ----------------------------------------------------------------------------

    def passphrase(self) -> str:
        """Return the passphrase of the Account that is meant."""
        if (path := self.hanse.settings.passphrase_file) is not None:
            return self._secret_in(path, all_lines=False)
        if (kept := self._kept_passphrase()) is not None:
            return kept
        if not self.console.has_person:
            raise NoWayToAskPassphrase
        return self.console.ask_hidden(self.say("ask.passphrase"))

    def new_passphrase(self, path: Path | None) -> str:
        """Return a passphrase to be set, typed twice or read from ``path``.

        Its length is judged here too, though the Keystore judges it again: a person must
        not write down 24 words first.
        """
        if path is not None:
            found = self._secret_in(path, all_lines=False)
        elif not self.console.has_person:
            raise NoWayToAskPassphrase
        else:
            found = self._typed_twice()
        if (size := len(normal_passphrase(found))) < PASSPHRASE_CHARACTERS_MIN:
            raise PassphraseTooShort(least=PASSPHRASE_CHARACTERS_MIN, found=size)
        return found

    def phrase(self, path: Path | None, question: str = "ask.phrase") -> Phrase:
        """Return the Recovery phrase of the Account that is meant."""
        if path is not None:
            return parse_phrase(self._secret_in(path, all_lines=True))
        if self.console.has_person:
            return parse_phrase(self.console.ask_hidden(self.say(question)))
        if not (piped := self.console.piped()).strip():
            raise NoWayToAskPhrase
        return parse_phrase(piped)

    def remembered_mark(self, identity: IdentityId) -> Path:
        """Name the file that says the keyring has the passphrase."""
        return remembered_mark(self.hanse.settings.config, identity)

    def _kept_passphrase(self) -> str | None:
        identity = read_public(self.hanse.home().keystore).identity
        if not self.remembered_mark(identity).exists():
            return None
        try:
            return load_passphrase(identity)
        except HanseError as error:
            self.tell(error.code, **error.values)
            return None

    def _typed_twice(self) -> str:
        self.tell("passphrase.rule", least=PASSPHRASE_CHARACTERS_MIN)
        first = self.console.ask_hidden(self.say("ask.new_passphrase"))
        if self.console.ask_hidden(self.say("ask.repeat_passphrase")) != first:
            raise PassphraseMismatch
        return first

    def _secret_in(self, path: Path, *, all_lines: bool) -> str:
        found, is_open = read_secret_file(path, all_lines=all_lines)
        if is_open:
            self.tell("secret_file.open_to_others", path=path)
        return found

    # --- the engine -------------------------------------------------------------------------

    def path(self, text: str) -> Path:
        """Read what was typed as the place of a file, seen from where the person is."""
        typed = Path(text).expanduser()
        return typed if self._here is None else self._here / typed

    @contextmanager
    def reading(self) -> Iterator[Engine]:
        """Open the Account to look at it."""
        if self.runtime is not None:
            yield self.runtime.engine
            return
        with self.hanse.open(read_only=True) as engine:
            yield engine

    @contextmanager
    def writing(self) -> Iterator[Engine]:
        """Open the Account to change what needs no secret."""
        if self.runtime is not None:
            yield self.runtime.engine
            return
        with self.hanse.open() as engine:
            yield engine

    @contextmanager
    def unlocked(self, passphrase: str | None = None) -> Iterator[Engine]:
        """Open and unlock the Account, by ``passphrase`` if it is known already.

        It is asked for once the folder is ours, and not at all while the Account is unlocked.
        """
        ask = self.passphrase if passphrase is None else lambda: passphrase
        if self.runtime is not None:
            with self.runtime.unlocked(ask) as engine:
                yield engine
            return
        with self.hanse.open() as engine:
            engine.accounts.unlock(ask())
            yield engine

    @contextmanager
    def opened(self, *, is_signing: bool) -> Iterator[Engine]:
        """Open the Account; before long work it must be clear that somebody can say yes."""
        if not is_signing:
            with self.writing() as engine:
                yield engine
            return
        if not self.hanse.settings.is_yes and not self.console.has_person:
            raise NoWayToConfirm(option="--yes")
        with self.unlocked() as engine:
            yield engine

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Let nothing else of this process measure meanwhile; Ctrl-C ends the wait for it."""
        if self.runtime is None:
            yield
            return
        with ExitStack() as stack:
            with long_work(self) as progress:
                turn = self.runtime.measuring(
                    lambda: progress.control.checkpoint("other_jobs", 0, 1)
                )
                stack.enter_context(turn)
            yield

    @contextmanager
    def online(self) -> Iterator[tuple[Engine, Peers]]:
        """Give the engine and the network: the one that runs, or one for as long as this block.

        Raises ``NetworkOffline`` when it is switched off, and whatever keeps it from starting.
        """
        if self.hanse.settings.is_offline:
            raise NetworkOffline(reason="switched_off")
        if self.runtime is not None:
            yield self.runtime.engine, self.runtime.online()
            return
        from hanse.app.runtime import Runtime  # noqa: PLC0415 - brings what runs beside commands

        runtime = Runtime(self.hanse)
        try:
            if runtime.is_offline:
                raise NetworkOffline(reason="switched_off")
            runtime.unlock(self.passphrase())
            yield runtime.engine, runtime.online()
        finally:
            runtime.stop()

    def ask_back(self, asks: Callable[[], tuple[int, ...]], check: Callable[..., None]) -> None:
        """Ask some words of a phrase back, with a few tries, or raise what ``check`` raises."""
        for attempt in range(1, _TRIES + 1):
            answers = {
                number: self.console.ask_hidden(self.say("ask.word", number=number)).strip()
                for number in asks()
            }
            try:
                check(answers)
            except HanseError as error:
                if attempt == _TRIES:
                    raise
                self.tell(error.code, **error.values)
            else:
                return
