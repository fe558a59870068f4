"""One stream read message by message: what both ends of a call need, and nothing of what it says.

What comes behind the message that is asked for waits in its order; the stream holds back whoever
sends more, and the frame reader bounds the last one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from hanse.network.wire.frames import FrameReader

if TYPE_CHECKING:
    from hanse.core.model.ids import AuthorKey
    from hanse.network.ports import Stream
    from hanse.network.wire.frames import Framed, Messages


class MessageStream:
    """A stream, cut into the messages of one protocol."""

    def __init__(self, stream: Stream, messages: Messages) -> None:
        """Read ``messages`` off ``stream``."""
        self.stream = stream
        self._messages = messages
        self._reader = FrameReader(messages)
        self._waiting: deque[Framed] = deque()

    @property
    def peer(self) -> AuthorKey:
        """Return the Device at the other end."""
        return self.stream.peer

    async def next(self, within_seconds: float | None) -> Framed | None:
        """Return the next message with its tail, or ``None`` when the other side is done.

        Raises ``ProtocolViolation``, also for an end within a message, ``PeerSilent`` when
        nothing comes for so long, ``StreamEnded``.
        """
        while not self._waiting:
            data = await self.stream.read(within_seconds)
            if not data:
                if not self._reader.is_between_frames:
                    raise self._messages.violation("bad_frame")
                return None
            self._waiting.extend(self._reader.feed(data))
        return self._waiting.popleft()

    async def send(self, data: bytes) -> None:
        """Write all of ``data``."""
        await self.stream.write(data)
