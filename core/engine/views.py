"""What use cases answer: frozen values for the window, the terminal and scripts alike.

Ids are bytes here; whoever shows them chooses their text (``hanse.core.model.ids``).
No view holds a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class AccountView:
    """One Account on this machine.

    ``copy_state`` is a word of ``hanse.core.keystore.guards.CopyState`` in lower
    case; anything but ``fine`` and ``moved`` signs nothing.  ``is_complete`` is
    false while the root feed of a restored Identity has not been seen yet.
    """

    folder: Path
    name: str
    identity: bytes
    device: bytes
    is_unlocked: bool = False
    is_phrase_confirmed: bool = False
    copy_state: str = "fine"


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One Device of an Identity: ``state`` is live, revoked, void or disputed."""

    device: bytes
    name: str
    role: str
    state: str
    created_ms: int
    head_seq: int
    cut_seq: int | None
    reason: str | None
    is_this: bool


@dataclass(frozen=True, slots=True)
class ProfileView:
    """The newest Profile of an Identity; empty texts where nothing was said."""

    identity: bytes
    name: str
    about: str
    web: tuple[str, ...]
    contact: str | None
    sectors: tuple[str, ...]
    lang: str | None
    avatar: bytes | None
    time_ms: int | None


@dataclass(frozen=True, slots=True)
class EntryView:
    """One Entry as a row: ``counts`` is false for what a cut or a dispute makes void."""

    entry_id: bytes
    author: bytes
    identity: bytes | None
    seq: int
    prev: bytes | None
    root: bytes | None
    time_ms: int
    kind: str
    body_state: str
    body_len: int
    counts: bool
    body: dict[str, object] | None


@dataclass(frozen=True, slots=True)
class FeedView:
    """One Feed held here: ``state`` is live, frozen, broken or ended."""

    author: bytes
    identity: bytes | None
    role: str | None
    state: str
    head_seq: int
    head_id: bytes | None
    frozen_seq: int | None
    is_own: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing wrong with one Feed or one file, and exactly where.

    ``where`` names the file frame and byte, or the table row; ``author`` and
    ``seq`` are given as soon as they are known.
    """

    where: str
    reason: str
    detail: str
    author: bytes | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What verifying everything held, or one file, has shown.

    ``proved`` are sentence codes with values: what is proved and by whom;
    ``open_points`` what the material cannot show.  ``faults`` holds the first
    fault of each Feed; none of them means that everything holds.
    """

    subject: str
    entries: int
    feeds: int
    identities: tuple[bytes, ...]
    forks: int
    waiting: int
    faults: tuple[Fault, ...]
    proved: tuple[tuple[str, dict[str, object]], ...] = ()
    open_points: tuple[tuple[str, dict[str, object]], ...] = ()

    @property
    def holds(self) -> bool:
        """Say whether no fault was found."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What one import did; ``rejected`` names each refused Entry."""

    subject: str
    accepted: int
    known: int
    parked: int
    forks: int
    rejected: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What one export wrote."""

    path: Path
    entries: int
    feeds: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup file holds, after it was written or read back."""

    path: Path
    entries: int
    blobs: int
    size_bytes: int
    identity: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class Restored:
    """A new Device of an Identity that was restored from its phrase.

    ``devices`` are the other Devices known, which may now be revoked;
    ``has_source`` is false when only the phrase was given and what the Identity
    wrote before is still to be fetched.
    """

    account: AccountView
    devices: tuple[DeviceView, ...]
    entries: int
    has_source: bool
