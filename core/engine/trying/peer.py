"""How a Trial's messages reach the other side: a port, a peer in this process, and files.

* ``ask`` hands over steps and brings back the seller's, ``query`` hands over queries and brings
  back answers.  Both take and give the bytes of a ``.hanse-trial``; whoever carries them changes
  nothing, and needs not be trusted.
* A reply that was lost is asked for again: the same bytes give the same reply.
* Files wait in a folder until the other side has been there.

What is in the bytes, and whether they are believed, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from hanse.core.durable import make_private_folder, write_durably
from hanse.core.engine.trying.pace import NotWaiting
from hanse.core.errors import FileTooLarge, FileUnreadable, Refused
from hanse.core.limits import TRIAL_FILE_SIZE_BYTES_MAX

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.engine.trying.pace import Pace
    from hanse.core.engine.trying.seller import Answering
    from hanse.core.model.control import Control

SUFFIX: Final = ".hanse-trial"
_NAME_CHARACTERS: Final = 32


class NoReplyYet(Refused):
    """The other side has not answered a file yet; the reply is looked for at ``path``."""

    code = "trial.no_reply_yet"
    text = "no reply yet in {path}"
    fields = ("path",)


class TrialPeer(Protocol):
    """The seller of one Trial, however he is reached."""

    @property
    def most_bytes(self) -> int:
        """Return how long what is handed over, and what comes back, may be."""
        ...

    def ask(self, steps: bytes, control: Control) -> bytes:
        """Hand over the buyer's steps; return the seller's."""
        ...

    def query(self, queries: bytes, control: Control) -> bytes:
        """Hand over queries; return the answers that may be given now."""
        ...


@dataclass(frozen=True, slots=True)
class LocalTrialPeer:
    """A seller whose engine runs in this process."""

    seller: Answering
    pace: Pace = field(default_factory=NotWaiting)

    @property
    def most_bytes(self) -> int:
        """Return how long a trial file may be."""
        return TRIAL_FILE_SIZE_BYTES_MAX

    def ask(self, steps: bytes, control: Control) -> bytes:
        """Let the other engine decide."""
        return self.seller.answer(steps, control, self.pace).reply

    def query(self, queries: bytes, control: Control) -> bytes:
        """Let the other engine answer."""
        return self.seller.answer(queries, control, self.pace).reply


@dataclass(frozen=True, slots=True)
class FileTrialPeer:
    """A seller who is reached by files: written to ``outgoing``, looked for in ``incoming``.

    A reply has the name of the file it replies to.
    """

    outgoing: Path
    incoming: Path

    @property
    def most_bytes(self) -> int:
        """Return how long a trial file may be."""
        return TRIAL_FILE_SIZE_BYTES_MAX

    def ask(self, steps: bytes, control: Control) -> bytes:
        """Write the steps and read the reply, or raise ``NoReplyYet``."""
        return self._exchange(steps, control)

    def query(self, queries: bytes, control: Control) -> bytes:
        """Write the queries and read the reply, or raise ``NoReplyYet``."""
        return self._exchange(queries, control)

    def _exchange(self, raw: bytes, control: Control) -> bytes:
        control.checkpoint("file", 0, 1)
        name = sha256(raw).hexdigest()[:_NAME_CHARACTERS] + SUFFIX
        path = self.outgoing / name
        if not path.exists():
            make_private_folder(self.outgoing)
            write_durably(path, raw)
        reply = self.incoming / name
        if not reply.exists():
            raise NoReplyYet(path=reply)
        return read_file(reply)


def read_file(path: Path) -> bytes:
    """Read a trial file a person named; raise ``FileUnreadable`` or ``FileTooLarge``."""
    try:
        size = path.stat().st_size
        if size > TRIAL_FILE_SIZE_BYTES_MAX:
            raise FileTooLarge(path=path, found=size, most=TRIAL_FILE_SIZE_BYTES_MAX)
        with path.open("rb") as stream:
            return stream.read(TRIAL_FILE_SIZE_BYTES_MAX + 1)
    except OSError as error:
        raise FileUnreadable(path=path, detail=error.strerror or str(error)) from error


def answer_folder(
    seller: Answering, incoming: Path, outgoing: Path, control: Control, pace: Pace | None = None
) -> int:
    """Answer every trial file of a folder that has no reply yet; return how many there were."""
    answered = 0
    make_private_folder(outgoing)
    for path in sorted(incoming.glob(f"*{SUFFIX}")):
        reply = outgoing / path.name
        if reply.exists():
            continue
        write_durably(reply, seller.answer(read_file(path), control, pace).reply)
        answered += 1
    return answered
