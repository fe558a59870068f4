"""One process per data folder: where the one that holds it listens, and how others ask it.

* The holder listens on a local socket that only this user can reach, and keeps its place and a
  fresh key in ``holder.json`` of the folder, mode 0600.  Whoever connects proves that he read it.
* A file left behind by a process that died is harmless: nobody answers there, and the lock of
  the folder, not this file, says whether somebody holds it.
* The terminal stays the client's: it asks the questions, shows what it is told, and ends the
  command with Ctrl-C.

What a command does is not known here; the other side is ``hanse.app.holder``, what the two say to
each other ``hanse.app.holder_wire``'s.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from hanse.app.holder_wire import (
    PROTOCOL_VERSION,
    Ask,
    Begun,
    Cancel,
    Done,
    Failed,
    Fault,
    FromHolder,
    Health,
    Healthy,
    Interrupted,
    Message,
    Part,
    Piped,
    Refused,
    Reply,
    Run,
    Wire,
    WireEnded,
    WireLate,
)
from hanse.core.durable import make_private_folder, write_durably
from hanse.core.errors import EnvironmentFault, StoreLocked
from hanse.core.keystore.guards import FolderLock
from hanse.core.limits import HOLDER_FILE_SIZE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from hanse.app.acts import PlainValue
    from hanse.app.console import Console

HOLDER_FILE: Final = "holder.json"
SOCKET_FOLDER: Final = "holder"
ANSWER_SECONDS: Final = 5.0  # for a holder to say that it is there

_SOCKET_FILE: Final = "socket"
_TEMPORARY: Final = "hanse-holder-"
_PATH_BYTES_MOST: Final = 100  # of 108 on Linux, 104 on macOS
_LOOK_SECONDS: Final = 0.1  # between two looks at Ctrl-C


class HolderSilent(EnvironmentFault):
    """The process that holds the folder does not answer."""

    code = "holder.silent"
    text = "the process that holds {path} does not answer within {seconds} seconds"
    fields = ("path", "seconds")


class HolderBusy(EnvironmentFault):
    """The process that holds the folder serves as many as it can, or is just closing."""

    code = "holder.busy"
    text = "the process that holds {path} takes no command now"
    fields = ("path",)


class HolderOther(EnvironmentFault):
    """The process that holds the folder is another version of the program."""

    code = "holder.other_version"
    text = "the process that holds {path} is hanse {holder}, this is {client}"
    fields = ("path", "holder", "client")


class HolderGone(EnvironmentFault):
    """The process that held the folder ended while it did what was asked."""

    code = "holder.gone"
    text = "the process that holds {path} ended during the command"
    fields = ("path",)


# --- where the holder listens -------------------------------------------------------------------


class HolderFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``holder.json`` says: where the holder listens, and the key that is asked for."""

    v: Literal[1]
    address: str
    key: str

    @property
    def secret(self) -> bytes:
        """Return the key."""
        return bytes.fromhex(self.key)


def read_holder_file(folder: Path) -> HolderFile | None:
    """Return what a holder of ``folder`` has left, or None; it may be dead, or made up."""
    try:
        with (folder / HOLDER_FILE).open("rb") as file:
            raw = file.read(HOLDER_FILE_SIZE_BYTES_MAX)
        found = msgspec.json.decode(raw, type=HolderFile)
        is_whole = len(found.secret) > 0
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    return found if is_whole else None


def write_holder_file(folder: Path, address: str, key: bytes) -> None:
    """Say where the holder of ``folder`` listens."""
    content = HolderFile(v=1, address=address, key=key.hex())
    write_durably(folder / HOLDER_FILE, msgspec.json.encode(content))


def remove_holder_file(folder: Path) -> None:
    """Take away what a holder left, its socket too; never raises."""
    found = read_holder_file(folder)
    with contextlib.suppress(OSError):
        (folder / HOLDER_FILE).unlink(missing_ok=True)
    if found is None or sys.platform == "win32":
        return
    place = Path(found.address)
    is_ours = place.name == _SOCKET_FILE and (
        place.parent == folder / SOCKET_FOLDER or place.parent.name.startswith(_TEMPORARY)
    )
    if is_ours:
        with contextlib.suppress(OSError):
            place.unlink(missing_ok=True)
            place.parent.rmdir()


def free_address(folder: Path) -> str:
    """Make a place for the socket that only this user can reach, and name it.

    It lies in the data folder, which a service and its user both see; where that path is too
    long for a socket, in a folder of a fresh name.
    """
    if sys.platform == "win32":  # not verified
        return rf"\\.\pipe\hanse-{os.urandom(16).hex()}"
    place = folder / SOCKET_FOLDER / _SOCKET_FILE
    if len(os.fsencode(place)) <= _PATH_BYTES_MOST:
        make_private_folder(place.parent)
        place.parent.chmod(0o700)
        place.unlink(missing_ok=True)
        return str(place)
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if not base or len(base) > _PATH_BYTES_MOST // 2 or not Path(base).is_dir():
        base = tempfile.gettempdir()
    return str(Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=base)) / _SOCKET_FILE)


def is_held(folder: Path) -> bool:
    """Say whether some process holds the folder at this moment."""
    try:
        with FolderLock(folder):
            return False
    except StoreLocked:
        return True


# --- the client ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What the client wants done, apart from the terminal."""

    words: tuple[str, ...]
    values: Mapping[str, PlainValue]
    lang: str
    folder: Path
    passphrase_file: Path | None
    is_json: bool
    is_yes: bool
    is_verbose: bool
    is_offline: bool
    program: str


class HolderClient:
    """The way to the process that holds ``folder``."""

    def __init__(self, folder: Path, wire: Wire) -> None:
        """Take over a connection that was proven."""
        self._folder = folder
        self._wire = wire
        self._is_interrupted = False
        self._is_ending = False

    @classmethod
    def reach(cls, folder: Path) -> HolderClient | None:
        """Connect to whoever holds ``folder``, or return None where nobody does.

        Raises ``HolderSilent`` or ``HolderBusy`` when somebody holds it and does not answer.
        """
        found = read_holder_file(folder)
        if found is None:
            return None
        try:
            wire = _connected(found.address)
            with wire.hung_up_after(ANSWER_SECONDS):
                wire.prove(found.secret, is_holder=False)
        except (OSError, WireEnded) as error:
            if not is_held(folder):
                return None  # it has died, or is just gone
            if isinstance(error, TimeoutError | WireLate):
                raise HolderSilent(path=folder, seconds=int(ANSWER_SECONDS)) from error
            raise HolderBusy(path=folder) from error
        return cls(folder, wire)

    def close(self) -> None:
        """Go away; what is still done for us ends."""
        self._wire.close()

    def health(self) -> Mapping[str, object]:
        """Ask how the holder is."""
        self._send(Health(v=PROTOCOL_VERSION))
        if not self._is_ready(ANSWER_SECONDS):
            raise HolderSilent(path=self._folder, seconds=int(ANSWER_SECONDS))
        match self._receive():
            case Healthy(health=found):
                return found
            case _:
                raise HolderGone(path=self._folder)

    def run(self, asked: Asked, console: Console, fail: Callable[[Failed | Fault], int]) -> int:
        """Have a command done, be its terminal, and return its exit code.

        ``fail`` says an error to the person.  Raises ``KeyboardInterrupt`` where the command did.
        """
        with self._interrupts(self._interrupted):
            self._begin(asked, has_person=console.has_person)
            return self._attend(console, fail)

    def _begin(self, asked: Asked, *, has_person: bool) -> None:
        """Say what is to be done, and wait until the holder has begun."""
        self._send(
            Run(
                v=PROTOCOL_VERSION,
                program=asked.program,
                words=asked.words,
                values=dict(asked.values),
                lang=asked.lang,
                folder=str(asked.folder),
                passphrase_file=None
                if asked.passphrase_file is None
                else str(asked.passphrase_file),
                is_json=asked.is_json,
                is_yes=asked.is_yes,
                is_verbose=asked.is_verbose,
                is_offline=asked.is_offline,
                has_person=has_person,
            )
        )
        if not self._is_ready(ANSWER_SECONDS):
            raise HolderSilent(path=self._folder, seconds=int(ANSWER_SECONDS))
        match self._receive():
            case Begun():
                return
            case Refused(program=program):
                raise HolderOther(path=self._folder, holder=program, client=asked.program)
            case _:
                raise HolderGone(path=self._folder)

    def _attend(self, console: Console, fail: Callable[[Failed | Fault], int]) -> int:
        """Be the terminal of a command until it ends."""
        texts: dict[str, list[str]] = {}
        while True:
            match self._next():
                case Part(to=to, text=text, is_more=is_more):
                    texts.setdefault(to, []).append(text)
                    if not is_more:
                        _printer(console, to)("".join(texts.pop(to)))
                case Ask(question=question, is_hidden=is_hidden):
                    self._answer(console.ask_hidden if is_hidden else console.ask, question)
                case Piped():
                    self._answer(lambda _: console.piped(), "")
                case Done(exit=code):
                    return code
                case Failed() | Fault() as failure:
                    return fail(failure)
                case Interrupted():
                    raise KeyboardInterrupt
                case _:
                    raise HolderGone(path=self._folder)

    def _answer(self, ask: Callable[[str], str], question: str) -> None:
        """Let the person answer; Ctrl-C and the end of the pipe are answers too."""
        try:
            with self._interrupts(signal.default_int_handler):
                reply = Reply(text=ask(question))
        except KeyboardInterrupt:
            reply = Reply(text=None, why="interrupted")
        except EOFError:
            reply = Reply(text=None, why="end")
        self._send(reply)

    def _next(self) -> object:
        """Wait for the next message; tell the holder of Ctrl-C meanwhile."""
        while True:
            # Before every message, not only when none is there: much progress is no excuse.
            if self._is_interrupted and not self._is_ending:
                self._is_ending = True
                self._send(Cancel())
            if self._is_ready(_LOOK_SECONDS):
                return self._receive()

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        """End the command in good order; the second time, do not wait for that."""
        if self._is_interrupted:
            raise KeyboardInterrupt
        self._is_interrupted = True

    @contextlib.contextmanager
    def _interrupts(self, handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may say who takes Ctrl-C
            return
        before = signal.signal(signal.SIGINT, handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _send(self, message: Message) -> None:
        try:
            self._wire.send(message)
        except WireEnded as error:
            raise HolderGone(path=self._folder) from error

    def _is_ready(self, seconds: float) -> bool:
        try:
            return self._wire.is_ready(seconds)
        except WireEnded as error:
            raise HolderGone(path=self._folder) from error

    def _receive(self) -> object:
        try:
            return self._wire.receive(FromHolder)
        except WireEnded as error:
            raise HolderGone(path=self._folder) from error


def _printer(console: Console, to: str) -> Callable[[str], None]:
    match to:
        case "out":
            return console.out
        case "err":
            return console.err
        case _:
            return console.progress


def _connected(address: str) -> Wire:
    """Connect within a few seconds; raises ``OSError``, a ``TimeoutError`` among them."""
    if sys.platform == "win32":  # not verified
        return Wire(Client(address, family="AF_PIPE"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(ANSWER_SECONDS)  # a full queue of a frozen process makes us wait
        line.connect(address)
        line.setblocking(True)  # noqa: FBT003 - the socket's own parameter
        return Wire(Connection(line.detach()))
