"""The ``.hanse-trial`` file: what one party of a Trial hands the other when no network does.

Layout, integers big-endian::

    "HANSETRIAL" + byte 1
    frame*            u32 length + DAG-CBOR
      first   ["trial", 1, sender's Identity, trial id]
      then    ["entry", H, sig, body or null]      root feed first, then the Device's, in order
      then    ["blob", bytes]                      private Blobs, sealed as they are served
      then    ["message", bytes, sig]              signed queries or answers, in order
      then    ["stopped", word]                    at most once: why answering ended early
      last    ["end", frames before it, SHA-256 of everything before this frame]

* The signatures inside are what is believed.  The first and the last frame only make a cut,
  damaged or swapped file distinguishable from an honest one.
* Bodies travel for what must be read: the Delegation, the root feed, and the private Entries of
  this Trial, sealed.  Of everything between them only the Header goes along, for the chain.
* Strict: frames in this order, every one within its limit, nothing after the end.

What the Entries and messages mean, and whether they are taken, is decided elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from hanse.core.errors import RejectedEntry, VerificationFailed
from hanse.core.ledger.codec import bound_items, decode_any, encode
from hanse.core.ledger.entry import SignedEntry, parse_entry
from hanse.core.limits import (
    SIGNATURE_SIZE_BYTES,
    TRIAL_FILE_BLOBS_MAX,
    TRIAL_FILE_ENTRIES_MAX,
    TRIAL_FILE_FRAME_ITEMS_MAX,
    TRIAL_FILE_FRAME_SIZE_BYTES_MAX,
    TRIAL_FILE_MESSAGES_MAX,
    TRIAL_FILE_SIZE_BYTES_MAX,
)
from hanse.core.model.ids import ID_SIZE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC: Final = b"HANSETRIAL\x01"
_MAGIC_NAME: Final = b"HANSETRIAL"
_VERSION: Final = 1
_ORDER: Final = {"entry": 0, "blob": 1, "message": 2, "stopped": 3}
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


class TrialFileDamaged(VerificationFailed):
    """A trial file is not what Hanse wrote; says at which frame and byte."""

    code = "trial_file.damaged"

    def __init__(self, frame: int, offset: int, reason: str) -> None:
        """Name the first fault."""
        super().__init__(where=f"frame {frame}, byte {offset}", reason=reason)
        self.frame = frame
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Message:
    """A query or an answer as it travels: its bytes, and the Device's signature over them."""

    raw: bytes = field(repr=False)
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TrialFile:
    """What one file holds.

    ``trial`` is the id of the REQUEST.  ``stopped`` is a stable word for people, and no evidence.
    """

    sender: bytes
    trial: bytes
    entries: tuple[SignedEntry, ...] = ()
    blobs: Mapping[bytes, bytes] = field(default_factory=dict)  # by SHA-256
    messages: tuple[Message, ...] = ()
    stopped: str = ""


def is_trial_file(start: bytes) -> bool:
    """Say whether a file that begins with these bytes is a trial file of any version."""
    return start.startswith(_MAGIC_NAME)


def write_trial_file(file: TrialFile) -> bytes:
    """Return the bytes of ``file``; raise ``TrialFileDamaged`` where it breaks a limit."""
    parts = [MAGIC]
    _add(parts, ["trial", _VERSION, file.sender, file.trial])
    for entry in file.entries:
        _add(parts, ["entry", entry.header_bytes, entry.signature, entry.body])
    for digest in sorted(file.blobs):
        _add(parts, ["blob", file.blobs[digest]])
    for message in file.messages:
        _add(parts, ["message", message.raw, message.signature])
    if file.stopped:
        _add(parts, ["stopped", file.stopped])
    count = len(parts) - 1
    _add(parts, ["end", count, sha256(b"".join(parts)).digest()])
    raw = b"".join(parts)
    read_trial_file(raw)  # what is handed over passes the gate every reader has
    return raw


def _add(parts: list[bytes], value: object) -> None:
    raw = encode(value)
    parts.append(len(raw).to_bytes(4, "big") + raw)


def read_trial_file(raw: bytes) -> TrialFile:
    """Read a file from its first byte to its last, or raise ``TrialFileDamaged``."""
    return _Reader(raw).read()


class _Reader:
    """Reads one file; ``_frame`` and ``_start`` are where a fault is named."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._offset = 0
        self._start = 0
        self._frame = 0
        self._entries: list[SignedEntry] = []
        self._blobs: dict[bytes, bytes] = {}
        self._messages: list[Message] = []
        self._stopped = ""

    def read(self) -> TrialFile:
        if len(self._raw) > TRIAL_FILE_SIZE_BYTES_MAX:
            raise self._fault(f"{len(self._raw)} bytes, limit {TRIAL_FILE_SIZE_BYTES_MAX}")
        if not is_trial_file(self._raw):
            raise self._fault("this is not a .hanse-trial file")
        magic = self._take(len(MAGIC))
        if magic != MAGIC:
            raise self._fault(f"format {magic[-1]}, known {MAGIC[-1]}")
        sender, trial = self._read_first()
        section = 0
        while True:
            match value := self._next():
                case ["end", int(count), bytes(digest)]:
                    self._check_end(count, digest)
                    break
                case [str(word), *_] if word in _ORDER:
                    if _ORDER[word] < section:
                        raise self._fault(f"a frame {word} comes too late")
                    section = _ORDER[word]
                    self._keep(value)
                case _:
                    raise self._fault("a frame is of no known sort")
        return TrialFile(
            sender,
            trial,
            tuple(self._entries),
            self._blobs,
            tuple(self._messages),
            self._stopped,
        )

    def _read_first(self) -> tuple[bytes, bytes]:
        match self._next():
            case ["trial", int(version), bytes(sender), bytes(trial)] if version == _VERSION:
                if len(sender) == len(trial) == ID_SIZE_BYTES:
                    return sender, trial
                raise self._fault("an id is not 32 bytes long")
            case ["trial", int(version), *_]:
                raise self._fault(f"version {version}, known {_VERSION}")
            case _:
                raise self._fault("the file does not begin with its sender")

    def _keep(self, value: list[object]) -> None:
        match value:
            case ["entry", bytes(header), bytes(signature), bytes() | None as body]:
                self._room(len(self._entries), TRIAL_FILE_ENTRIES_MAX, "entries")
                try:
                    self._entries.append(parse_entry(header, signature, body))
                except RejectedEntry as error:
                    raise self._fault(f"{error.reason}: {error.detail}") from error
            case ["blob", bytes(raw)]:
                self._room(len(self._blobs), TRIAL_FILE_BLOBS_MAX, "blobs")
                self._blobs[sha256(raw).digest()] = raw
            case ["message", bytes(raw), bytes(signature)]:
                self._room(len(self._messages), TRIAL_FILE_MESSAGES_MAX, "messages")
                if len(signature) != SIGNATURE_SIZE_BYTES:
                    raise self._fault(f"a signature of {len(signature)} bytes")
                self._messages.append(Message(raw, signature))
            case ["stopped", str(word)] if _WORD.fullmatch(word) and not self._stopped:
                self._stopped = word
            case _:
                raise self._fault(f"a frame {value[0]} has another shape")

    def _room(self, found: int, most: int, what: str) -> None:
        if found >= most:
            raise self._fault(f"more than {most} {what}")

    def _next(self) -> list[object]:
        self._start = self._offset
        self._frame += 1
        size = int.from_bytes(self._take(4), "big")
        if not 1 <= size <= TRIAL_FILE_FRAME_SIZE_BYTES_MAX:
            raise self._fault(f"frame of {size} bytes, limit {TRIAL_FILE_FRAME_SIZE_BYTES_MAX}")
        raw = self._take(size)
        try:
            bound_items(raw, TRIAL_FILE_FRAME_ITEMS_MAX)
            value = decode_any(raw)
        except RejectedEntry as error:
            raise self._fault(f"{error.reason}: {error.detail}") from error
        if not isinstance(value, list) or not value:
            raise self._fault("a frame is not a list")
        return value

    def _take(self, size: int) -> bytes:
        raw = self._raw[self._offset : self._offset + size]
        if len(raw) != size:
            raise self._fault(f"the file ends after {len(raw)} of {size} bytes")
        self._offset += size
        return raw

    def _check_end(self, count: int, digest: bytes) -> None:
        if count != self._frame - 1:
            raise self._fault(f"{self._frame - 1} frames, the end says {count}")
        if digest != sha256(memoryview(self._raw)[: self._start]).digest():
            raise self._fault("the digest of the file is another one")
        if self._offset != len(self._raw):
            raise self._fault("bytes follow the end")

    def _fault(self, reason: str) -> TrialFileDamaged:
        return TrialFileDamaged(self._frame, self._start, reason)
