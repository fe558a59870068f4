"""Under which keys the DHT is asked who has what (network.md 6).

A key is a SHA-256 multihash in hexadecimal: of a label and the id of the sealed Manifest (of an
Artifact given in the clear, of its Manifest), or of an Identity.  Who watches the DHT learns
that somebody holds or seeks these, never an Order.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hanse.core.model.ids import IdentityId

_MULTIHASH_SHA256: Final = "1220"
_CONTENT: Final = b"hanse/provide/v1\0"
_FEED: Final = b"hanse/feed/v1\0"


def content_key(manifest: bytes) -> str:
    """Return the key of a Release's files: ``manifest`` is the id of what is seeded."""
    return _MULTIHASH_SHA256 + sha256(_CONTENT + manifest).hexdigest()


def feed_key(identity: IdentityId) -> str:
    """Return the key under which the Devices that hold an Identity's Feeds are found."""
    return _MULTIHASH_SHA256 + sha256(_FEED + identity).hexdigest()
