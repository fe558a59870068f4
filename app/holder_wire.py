"""What a terminal and the process that holds a data folder say to each other, and how.

* Messages are JSON in ``send_bytes`` and ``recv_bytes`` with a bound; nothing is unpickled.
* Both show that they have the key of the folder before anything else is read.
* Whatever is wrong ends the connection: ``WireEnded``.

Who asks what, and what is done then, is not known here.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from hanse.core.limits import HOLDER_MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOCOL_VERSION: Final = 1
TEXT_CHARACTERS: Final = 80_000  # of one message; longer texts go in parts


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
    """One message; the field ``do`` says which."""


class Run(Message, frozen=True, tag="run"):
    """Do a command: what stood on the command line, and who sits at the terminal."""

    v: int
    program: str
    words: tuple[str, ...]
    values: dict[str, str | int | bool | list[str] | None]
    lang: str
    folder: str  # in which the person is
    passphrase_file: str | None
    is_json: bool
    is_yes: bool
    is_verbose: bool
    is_offline: bool
    has_person: bool


class Health(Message, frozen=True, tag="health"):
    """Say how the holder is."""

    v: int


class Reply(Message, frozen=True, tag="reply"):
    """What a person or a pipe answered; None with a reason why there is nothing."""

    text: str | None
    why: Literal["", "end", "interrupted"] = ""


class Cancel(Message, frozen=True, tag="cancel"):
    """End what is done for this client; the holder itself stays."""


class Begun(Message, frozen=True, tag="begun"):
    """The holder does what was asked; ``program`` is its version."""

    program: str


class Refused(Message, frozen=True, tag="refused"):
    """The holder understands no such request; ``program`` is its version."""

    program: str


class Part(Message, frozen=True, tag="part"):
    """Something to print; with ``is_more`` the next one goes on with it."""

    to: Literal["out", "err", "progress"]
    text: str
    is_more: bool = False


class Ask(Message, frozen=True, tag="ask"):
    """A question to the person."""

    question: str
    is_hidden: bool


class Piped(Message, frozen=True, tag="piped"):
    """What another program sent to the client's standard input is wanted."""


class Done(Message, frozen=True, tag="done"):
    """The command has ended, and everything was printed."""

    exit: int


class Failed(Message, frozen=True, tag="failed"):
    """The command ended with an error of ours."""

    code: str
    values: dict[str, object]
    exit: int


class Interrupted(Message, frozen=True, tag="interrupted"):
    """The command ended because the person wished it, or there was nobody to ask."""


class Fault(Message, frozen=True, tag="fault"):
    """The command ended with a bug of ours; the traceback is in the holder's log."""

    kind: str


class Healthy(Message, frozen=True, tag="healthy"):
    """How the holder is."""

    health: dict[str, object]


FromClient = Run | Health | Reply | Cancel
FromHolder = Begun | Refused | Part | Ask | Piped | Done | Failed | Interrupted | Fault | Healthy


class WireEnded(Exception):
    """The other side is gone, or sent what is no message; nothing more comes."""


class WireLate(WireEnded):
    """The other side took too long, and was hung up on."""


class Wire:
    """One connection between two processes of one person; may be written to from any thread."""

    def __init__(self, connection: Connection) -> None:
        """Take over a connection that is open."""
        self._connection = connection
        self._sending = threading.Lock()
        self._is_closed = False

    def prove(self, key: bytes, *, is_holder: bool) -> None:
        """Show each other, without sending it, that both have the key; or raise."""
        try:
            if is_holder:
                deliver_challenge(self._connection, key)
                answer_challenge(self._connection, key)
            else:
                answer_challenge(self._connection, key)
                deliver_challenge(self._connection, key)
        except (AuthenticationError, OSError, EOFError, AssertionError, ValueError) as error:
            raise WireEnded from error

    def send(self, message: Message) -> None:
        """Send one message whole, or raise ``WireEnded``."""
        raw = json.dumps(msgspec.to_builtins(message)).encode("ascii")
        if len(raw) > HOLDER_MESSAGE_BYTES_MAX:
            raise WireEnded
        try:
            with self._sending:
                self._connection.send_bytes(raw)
        except (OSError, ValueError) as error:
            raise WireEnded from error

    def is_ready(self, within_seconds: float) -> bool:
        """Say whether something comes, or the end has, within that time."""
        try:
            return self._connection.poll(within_seconds)
        except (OSError, EOFError) as error:
            raise WireEnded from error

    def receive(self, kind: object) -> object:
        """Wait for the next message, or raise ``WireEnded``; one of another kind ends it too.

        ``kind`` is ``FromClient`` or ``FromHolder``.
        """
        try:
            raw = self._connection.recv_bytes(HOLDER_MESSAGE_BYTES_MAX)
            found: object = msgspec.convert(json.loads(raw), kind)
        except (OSError, EOFError, ValueError, RecursionError) as error:
            # Among them msgspec.ValidationError and JSON that is none.
            raise WireEnded from error
        return found

    @contextlib.contextmanager
    def hung_up_after(self, seconds: float) -> Iterator[None]:
        """Hang up when the block takes longer, which then ends with ``WireLate``.

        A block that fails closes the connection.
        """
        late = threading.Event()

        def hang_up() -> None:
            late.set()
            self.hang_up()

        timer = threading.Timer(seconds, hang_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        except WireEnded as error:
            self.close()
            if late.is_set():
                raise WireLate from error
            raise
        finally:
            timer.cancel()

    def hang_up(self) -> None:
        """End both directions at once, also for a thread that waits here; never raises."""
        if sys.platform == "win32":  # not verified: closing a pipe wakes whoever reads it
            self.close()
            return
        with contextlib.suppress(OSError), socket.socket(fileno=self._duplicate()) as same:
            same.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back; harmless when repeated."""
        if not self._is_closed:
            self._is_closed = True
            with contextlib.suppress(OSError):
                self._connection.close()

    def _duplicate(self) -> int:
        if self._is_closed:
            raise OSError
        return os.dup(self._connection.fileno())
