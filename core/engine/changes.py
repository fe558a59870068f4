"""Which parts of the market a finished use case touched.

A use case returns ``Changes``; whoever shows something reloads when its Topic is
touched.  There are no string-named events and no global bus.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique


@unique
class Topic(Enum):
    """One part of the market that can change."""

    ACCOUNT = "account"
    DEVICES = "devices"
    PROFILES = "profiles"
    LEDGER = "ledger"
    FORKS = "forks"
    OUTBOX = "outbox"
    CATALOGUE = "catalogue"  # Listings, Releases, prices
    CERTIFICATES = "certificates"  # and what people found
    FOLLOWS = "follows"
    POST = "post"  # Private bodies that came


@dataclass(frozen=True, slots=True)
class Changes:
    """A set of Topics."""

    topics: frozenset[Topic] = frozenset()

    @classmethod
    def of(cls, *topics: Topic) -> Changes:
        """Name what was touched."""
        return cls(frozenset(topics))

    def touch(self, topic: Topic) -> bool:
        """Say whether ``topic`` was touched."""
        return topic in self.topics

    def __or__(self, other: Changes) -> Changes:
        """Return what either touched."""
        return Changes(self.topics | other.topics)
