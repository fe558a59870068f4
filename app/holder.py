"""The side of the process that holds a data folder: it does commands for other processes.

* One thread waits for connections; each connection has a thread that reads and one that does the
  command, at most ``HOLDER_CLIENTS_MAX`` of them.
* Who does not have the key, sends too much or no message of ours, or takes too long to ask, loses
  his own connection and nothing else.
* A command works with the engine that is open here; its questions are asked and its words are
  shown at the client's terminal.  A client that goes away, or presses Ctrl-C, ends its command.

What the commands do is ``hanse.app.commands``'s, how the process lives ``hanse.app.runtime``'s.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
import time
from dataclasses import replace
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hanse.app.acts import act_of, command_named, typed_values
from hanse.app.answers import answer_json, plain
from hanse.app.desk import Desk
from hanse.app.holder_wire import (
    PROTOCOL_VERSION,
    TEXT_CHARACTERS,
    Ask,
    Begun,
    Cancel,
    Done,
    Failed,
    Fault,
    FromClient,
    Health,
    Healthy,
    Interrupted,
    Part,
    Piped,
    Refused,
    Reply,
    Run,
    Wire,
    WireEnded,
)
from hanse.app.instance import (
    ANSWER_SECONDS,
    free_address,
    remove_holder_file,
    write_holder_file,
)
from hanse.app.version import program_version
from hanse.core.errors import FolderNotWritable, HanseError
from hanse.core.limits import HOLDER_CLIENTS_MAX
from hanse.core.sentences import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    from hanse.app.bootstrap import Hanse
    from hanse.app.command_table import Command
    from hanse.app.runtime import Runtime
    from hanse.core.engine.run_stream import LineSource

_log: Final = logging.getLogger(__name__)

_KEY_SIZE_BYTES: Final = 32
_FAMILY: Final = "AF_PIPE" if sys.platform == "win32" else "AF_UNIX"


class Holder:
    """The local socket of one process that holds a folder."""

    def __init__(self, runtime: Runtime) -> None:
        """Serve ``runtime``; nothing listens yet."""
        self._runtime = runtime
        self._folder = runtime.engine.context.home.folder
        self._key = runtime.hanse.chance.bytes(_KEY_SIZE_BYTES)
        self._lock = threading.Lock()
        self._sessions: set[_Session] = set()
        self._is_closing = False
        self._listener: Listener | None = None
        self._address = ""
        self._thread = threading.Thread(target=self._accept, name="holder", daemon=True)

    @property
    def clients(self) -> int:
        """Return how many are served at this moment."""
        return len(self._sessions)

    def start(self) -> None:
        """Listen, and say in the folder where; raises ``FolderNotWritable``."""
        remove_holder_file(self._folder)
        self._address = free_address(self._folder)
        try:
            self._listener = Listener(self._address, _FAMILY, backlog=HOLDER_CLIENTS_MAX)
            if _FAMILY == "AF_UNIX":
                Path(self._address).chmod(0o600)
        except OSError as error:
            detail = error.strerror or str(error)
            raise FolderNotWritable(path=self._address, detail=detail) from error
        self._thread.start()
        write_holder_file(self._folder, self._address, self._key)

    def stop(self, within_seconds: float) -> bool:
        """End every command, and listen no more; say whether all ended in time."""
        if self._listener is None:
            return True
        deadline = time.monotonic() + within_seconds
        with self._lock:
            self._is_closing = True
            sessions = list(self._sessions)
        for session in sessions:
            session.end()
        with contextlib.suppress(OSError, EOFError):  # wakes whoever waits for the next
            Client(self._address, _FAMILY).close()
        threads = [self._thread, *(session.thread for session in sessions)]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._listener.close()
        remove_holder_file(self._folder)
        return not any(thread.is_alive() for thread in threads)

    def _accept(self) -> None:
        assert self._listener is not None
        while not self._is_closing:
            try:
                connection = self._listener.accept()
            except (OSError, EOFError) as error:
                if not self._is_closing:
                    _log.debug("a connection came to nothing: %r", error)
                continue
            self._welcome(connection)

    def _welcome(self, connection: Connection) -> None:
        session = _Session(self._runtime, connection, self._key, self._left)
        with self._lock:
            if self._is_closing or len(self._sessions) >= HOLDER_CLIENTS_MAX:
                connection.close()
                return
            self._sessions.add(session)
        session.thread.start()

    def _left(self, session: _Session) -> None:
        with self._lock:
            self._sessions.discard(session)


class RelayedConsole:
    """The terminal of a client, as a command here sees it."""

    def __init__(self, wire: Wire, *, has_person: bool) -> None:
        """Print and ask over ``wire``."""
        self.has_person = has_person
        self._wire = wire
        self._replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._taker: Callable[[], object] | None = None
        self._is_interrupted = False
        self._is_gone = False
        self._is_shown = False

    # --- what the command does ------------------------------------------------------------------

    def out(self, text: str) -> None:
        """Print a part of the result at the client's."""
        self._print("out", text)

    def err(self, text: str) -> None:
        """Print what is not the result at the client's."""
        self._print("err", text)

    def progress(self, text: str) -> None:
        """Show how far it is at the client's."""
        self._print("progress", text)

    def ask(self, question: str) -> str:
        """Let the client ask the person."""
        return self._answer_to(Ask(question=question, is_hidden=False))

    def ask_hidden(self, question: str) -> str:
        """Let the client ask the person without echo."""
        return self._answer_to(Ask(question=question, is_hidden=True))

    def piped(self) -> str:
        """Return what was sent to the client's standard input."""
        return self._answer_to(Piped())

    def lines(self) -> LineSource:
        """Refuse: what lives on the pipe is done in the client's own process."""
        raise AssertionError("a command that reads lines stays in the client")

    @contextlib.contextmanager
    def interrupts(self, taker: Callable[[], object] | None) -> Iterator[None]:
        """Let ``taker`` have the client's Ctrl-C, on another thread; None ends what is asked."""
        with self._lock:
            before, self._taker = self._taker, taker
            is_due = self._is_interrupted and taker is not None
        if is_due:
            _take(taker)
        try:
            yield
        finally:
            with self._lock:
                self._taker = before

    # --- what the client does -------------------------------------------------------------------

    def give(self, reply: Reply) -> None:
        """Hand on what the client answered."""
        self._replies.put(reply)

    def interrupt(self) -> None:
        """End the command in good order, as soon as it looks."""
        with self._lock:
            self._is_interrupted = True
            taker = self._taker
        self._replies.put(Reply(text=None, why="interrupted"))
        _take(taker)

    def gone(self) -> None:
        """Note that nobody listens any more, and end the command."""
        self._is_gone = True
        self.interrupt()

    def _print(self, to: Literal["out", "err", "progress"], text: str) -> None:
        if self._is_gone:
            return  # a command that is ending may still say so
        try:
            for start in range(0, max(1, len(text)), TEXT_CHARACTERS):
                part = text[start : start + TEXT_CHARACTERS]
                is_more = start + TEXT_CHARACTERS < len(text)
                self._wire.send(Part(to=to, text=part, is_more=is_more))
        except WireEnded:
            self._is_gone = True

    def _answer_to(self, question: Ask | Piped) -> str:
        with self.interrupts(None):
            if self._is_interrupted:
                raise KeyboardInterrupt
            try:
                self._wire.send(question)
            except WireEnded as error:
                raise KeyboardInterrupt from error
            reply = self._replies.get()
        if reply.text is not None:
            return reply.text
        if reply.why == "end":
            raise EOFError
        raise KeyboardInterrupt


def _take(taker: Callable[[], object] | None) -> None:
    """Tell a command of Ctrl-C; that it would end itself at once means nothing on this thread."""
    if taker is not None:
        with contextlib.suppress(KeyboardInterrupt):
            taker()


class _Session:
    """One client."""

    def __init__(
        self,
        runtime: Runtime,
        connection: Connection,
        key: bytes,
        on_end: Callable[[_Session], None],
    ) -> None:
        self._runtime = runtime
        self._wire = Wire(connection)
        self._key = key
        self._on_end = on_end
        self._console: RelayedConsole | None = None
        self.thread = threading.Thread(target=self._serve, name="holder-client", daemon=True)

    def end(self) -> None:
        """End what is done for this client, from another thread."""
        console = self._console
        if console is not None:
            console.interrupt()
        else:
            self._wire.hang_up()

    def _serve(self) -> None:
        try:
            with self._wire.hung_up_after(ANSWER_SECONDS):
                self._wire.prove(self._key, is_holder=True)
                request = self._wire.receive(FromClient)
            match request:
                case Run():
                    self._run(request)
                case Health():
                    self._wire.send(Healthy(health=_plain(self._runtime.health())))
                case _:
                    raise WireEnded  # noqa: TRY301 - it is what the client did
        except WireEnded as error:
            _log.debug("a client of this folder was hung up on: %r", error.__cause__)
        except Exception as error:  # noqa: BLE001  said below
            # The boundary of the thread: one client must not end the holder.
            _log.exception("a client of this folder met a bug: %s", type(error).__name__)
        finally:
            self._on_end(self)
            self._wire.close()

    def _run(self, request: Run) -> None:
        command = command_named(request.words)
        values = None if command is None else typed_values(command, request.values)
        is_known = request.v == PROTOCOL_VERSION and request.lang in LANGUAGES
        if command is None or values is None or not is_known or command.stays_here(values):
            self._wire.send(Refused(program=program_version()))
            return
        self._wire.send(Begun(program=program_version()))
        console = RelayedConsole(self._wire, has_person=request.has_person)
        self._console = console
        desk = Desk(
            _as_asked(self._runtime.hanse, request),
            console,
            runtime=self._runtime,
            here=Path(request.folder),
        )
        worker = threading.Thread(
            target=self._do, args=(command, values, desk), name="holder-command", daemon=True
        )
        worker.start()
        try:
            self._listen(console)
        finally:
            worker.join()

    def _listen(self, console: RelayedConsole) -> None:
        """Hand on what the client says until it hangs up, or the command has ended."""
        while True:
            try:
                message = self._wire.receive(FromClient)
            except WireEnded:
                console.gone()
                return
            match message:
                case Reply():
                    console.give(message)
                case Cancel():
                    console.interrupt()
                case _:
                    console.gone()
                    return

    def _do(self, command: Command, values: dict[str, object], desk: Desk) -> None:
        """Do the command on a thread of its own, and say how it ended."""
        _log.info("hanse %s, for another process", " ".join(command.words))
        end: Done | Failed | Interrupted | Fault
        try:
            answer = act_of(command)(desk, **values)
            if desk.is_json:
                desk.console.out(answer_json(answer))
            elif answer.lines:
                desk.console.out("\n".join(answer.lines))
            end = Done(exit=answer.exit_code)
        except HanseError as error:
            _log.info("%s: %s", error.code, error)
            end = Failed(code=error.code, values=_plain(error.values), exit=error.exit_code)
        except (KeyboardInterrupt, EOFError):
            end = Interrupted()
        except Exception as error:  # noqa: BLE001 - the boundary of the thread; the client says it
            _log.exception("this is a bug")
            end = Fault(kind=type(error).__name__)
        with contextlib.suppress(WireEnded):
            self._wire.send(end)
        self._wire.hang_up()  # what was sent still arrives; the thread that reads wakes up


def _as_asked(hanse: Hanse, request: Run) -> Hanse:
    """Return this Hanse with what was said on the client's command line."""
    settings = replace(
        hanse.settings,
        lang=request.lang,
        passphrase_file=None if request.passphrase_file is None else Path(request.passphrase_file),
        is_offline=hanse.settings.is_offline or request.is_offline,
        is_verbose=request.is_verbose,
        is_json=request.is_json,
        is_yes=request.is_yes,
    )
    return replace(hanse, settings=settings)


def _plain(values: object) -> dict[str, object]:
    found = plain(values)
    assert isinstance(found, dict)
    return found
