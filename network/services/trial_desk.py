"""The seller's end of ``/hanse/trial/1``: a buyer's file in, the reply out, on a thread of its own.

* One call at a time for each buyer, two in all, and a few that wait; others are told to come
  later.  Answering takes a second a query, so it holds no thread that anything else waits for.
* While it goes on the buyer is told how far it is; when he is gone it ends at the next query.
* The same bytes again give the same reply: what was signed is kept, and is not signed twice.
* Only a full Device that is unlocked answers.

What may be answered is ``hanse.core.engine.trying``'s to say.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from hanse.core.engine.executor import TooBusy
from hanse.core.engine.ports import PeerSilent
from hanse.core.engine.trying.file import TrialFileDamaged, read_trial_file
from hanse.core.engine.trying.pace import Waiting
from hanse.core.engine.trying.post import StepRefused
from hanse.core.engine.trying.seller import NotYourRelease
from hanse.core.errors import EnvironmentFault, HanseError
from hanse.core.limits import (
    STREAM_TAIL_SIZE_BYTES_MAX,
    TRIAL_STREAMS_MAX,
    TRIAL_STREAMS_PER_PEER_MAX,
    TRIALS_ANSWERED_AT_ONCE_MAX,
    TRIALS_WAITING_MAX,
)
from hanse.core.model.control import Cancelled, Control
from hanse.core.store.trials import TrialNotHeld
from hanse.network.conduct import Offence
from hanse.network.ports import Bounds, StreamEnded
from hanse.network.services.message_stream import MessageStream
from hanse.network.services.surroundings import settled
from hanse.network.wire.frames import ProtocolViolation
from hanse.network.wire.trials import (
    MESSAGES,
    PROTOCOL,
    Answer,
    Ask,
    Code,
    Progress,
    Query,
    Sorry,
    Told,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hanse.core.engine.trying.pace import Pace
    from hanse.core.model.ids import AuthorKey
    from hanse.network.ports import Stream
    from hanse.network.services.surroundings import Surroundings

IDLE_SECONDS: Final = 60.0
PROGRESS_SECONDS: Final = 5.0
STOP_SECONDS: Final = 5.0
BUSY_MS: Final = 2_000
_ANSWER: Final = "answer"  # the stage that counts queries


@dataclass(slots=True)
class _Work:
    """One call that is being answered."""

    done: int = 0
    total: int = 0
    control: Control = field(init=False)

    def __post_init__(self) -> None:
        self.control = Control(self._report)

    def _report(self, stage: str, done: int, total: int) -> None:
        if stage == _ANSWER:
            self.done, self.total = done, total


class TrialDesk:
    """Answers ``/hanse/trial/1``."""

    def __init__(self, surroundings: Surroundings, pace: Callable[[], Pace] | None = None) -> None:
        """Bind the engine; ``pace`` waits between two answers, by the clock unless it is given."""
        self._at = surroundings
        self._pace = pace or (lambda: Waiting(surroundings.clock))
        self._pool = ThreadPoolExecutor(TRIALS_ANSWERED_AT_ONCE_MAX, "hanse-trial")
        self._turn = trio.CapacityLimiter(TRIALS_ANSWERED_AT_ONCE_MAX)
        self._work: dict[AuthorKey, _Work] = {}
        self._emptied = trio.Event()
        self._is_stopping = False

    def serve(self) -> None:
        """Take streams from now on."""
        bounds = Bounds(TRIAL_STREAMS_PER_PEER_MAX, TRIAL_STREAMS_MAX)
        self._at.host.serve(PROTOCOL, self._answer, bounds)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Wait to be cancelled, then end what is being answered and give the threads back."""
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._is_stopping = True
            for work in self._work.values():
                work.control.cancel()
            if self._work:
                with trio.move_on_after(STOP_SECONDS, shield=True):
                    await self._emptied.wait()
            self._pool.shutdown(wait=not self._work, cancel_futures=True)

    async def _answer(self, stream: Stream) -> None:
        line = MessageStream(stream, MESSAGES)
        try:
            while (framed := await line.next(IDLE_SECONDS)) is not None:
                message = framed.message
                if not isinstance(message, Ask | Query):
                    raise MESSAGES.violation("unexpected")
                await self._answer_one(line, message, framed.tail)
        except (PeerSilent, StreamEnded):
            return
        except ProtocolViolation as error:
            self._at.blame(stream.peer, Offence.FRAME)
            is_big = error.values["reason"] == "too_big"
            await line.send(write(Sorry(0, "too_big" if is_big else "bad_frame", 0)))

    async def _answer_one(self, line: MessageStream, asked: Ask | Query, raw: bytes) -> None:
        keys = self._at.engine.context.keys
        if keys is None or keys.is_mirror:
            await line.send(write(Sorry(asked.call, "refused", 0)))
            return
        if line.peer in self._work or len(self._work) >= TRIALS_WAITING_MAX or self._is_stopping:
            await line.send(write(Sorry(asked.call, "busy", BUSY_MS)))
            return
        work = self._work[line.peer] = _Work()
        reply = b""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_alive, line, asked.call, work, nursery.cancel_scope)
                reply = await self._reply_to(line.peer, asked, raw, work)
                nursery.cancel_scope.cancel()
        finally:
            del self._work[line.peer]
            if not self._work:
                self._emptied.set()
                self._emptied = trio.Event()
        if not reply:
            raise StreamEnded
        await line.send(reply)

    async def _keep_alive(
        self, line: MessageStream, call: int, work: _Work, scope: trio.CancelScope
    ) -> None:
        """Say how far it is; whoever is gone is found by it, and his work ends."""
        with suppress(StreamEnded, PeerSilent):
            while True:
                await trio.sleep(PROGRESS_SECONDS)
                await line.send(write(Progress(call, work.done, work.total)))
        scope.cancel()

    async def _reply_to(
        self, peer: AuthorKey, asked: Ask | Query, raw: bytes, work: _Work
    ) -> bytes:
        """Return the frame and tail that answer a call."""
        try:
            trial = await self._at.job(lambda: read_trial_file(raw).trial)
            over = await self._at.write(
                lambda: self._at.engine.posting.receiving.admit_ask(peer, trial)
            )
            if over is not None:
                return write(Sorry(asked.call, "busy", over.retry_ms))
            async with self._turn:
                reply = await self._on_a_thread(raw, work)
        except HanseError as error:
            if isinstance(error, TrialFileDamaged | StepRefused):
                self._at.blame(peer, Offence.FRAME)
            code = _code_of(error)
            return write(Sorry(asked.call, code, BUSY_MS if code == "busy" else 0))
        if len(reply) > STREAM_TAIL_SIZE_BYTES_MAX:
            return write(Sorry(asked.call, "too_big", 0))
        self._at.tell("trial", trial=trial, peer=peer)
        sort = Told if isinstance(asked, Ask) else Answer
        return write(sort(asked.call, len(reply))) + reply

    async def _on_a_thread(self, raw: bytes, work: _Work) -> bytes:
        answering = self._at.engine.trials.answering
        future = self._pool.submit(lambda: answering.answer(raw, work.control, self._pace()).reply)
        try:
            return await settled(future)
        except trio.Cancelled:
            work.control.cancel()
            # The thread uses the store, which is closed behind us.
            with trio.CancelScope(shield=True), suppress(Exception):
                await settled(future)
            raise


def _code_of(error: HanseError) -> Code:
    match error:
        case TooBusy() | Cancelled():
            return "busy"
        case NotYourRelease() | TrialNotHeld():
            return "not_held"
        case EnvironmentFault():
            return "internal"
        case _:
            return "refused"
