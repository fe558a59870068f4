"""The tables of one data folder: what is stored, and nothing about how it is asked for.

* ``feeds``, ``entries``, ``refs``, ``kinds`` are the Ledger; ``branches``, ``parked``
  and ``forks`` are what does not stand in a Feed: evidence, and what came too early.
* ``private_to``, ``outbox``, ``secrets``, ``meta`` are this Device's own and cannot
  be made again from Entries.
* The rest are Projections: they can be dropped and made again from the Ledger.
* ``entries.n`` is the arrival number; it is never used twice, so "what came since n"
  has one answer for ever.
* ``body`` is the last column: long Bodies lie on pages that a scan of Headers never
  reads.

A change here is a migration (``migrations/versions``); a test compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

metadata: Final = MetaData()


class Bytes(LargeBinary):
    """A BLOB that goes to sqlite3 and comes back as it is: the driver speaks bytes already."""

    def bind_processor(self, dialect: Dialect) -> None:  # noqa: ARG002 - SQLAlchemy's signature
        """Hand the value over unwrapped."""
        return

    # Any: what a DBAPI says of a column has no type.
    def result_processor(self, dialect: Dialect, coltype: Any) -> None:  # noqa: ANN401, ARG002
        """Take the value as the driver gives it."""
        return


feeds: Final = Table(
    "feeds",
    metadata,
    Column("feed", Integer, primary_key=True),
    Column("author", Bytes, nullable=False, unique=True),
    Column("identity", Bytes),
    Column("r", Integer),
    Column("role", Text),
    Column("state", Text, nullable=False),
    Column("head_seq", Integer, nullable=False),
    Column("head_id", Bytes),
    Column("head_time_ms", Integer),
    Column("peaks", Bytes, nullable=False),
    Column("frozen_seq", Integer),
    Column("broken_id", Bytes),
    Column("tier", Text, nullable=False),
    Column("body_bytes", Integer, nullable=False),
    Column("seen_ms", Integer, nullable=False),
    Index("ix_feeds_identity", "identity", "author"),
)

kinds: Final = Table(
    "kinds",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("kind", Text, nullable=False, unique=True),
)

entries: Final = Table(
    "entries",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("feed", Integer, ForeignKey("feeds.feed"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("id", Bytes, nullable=False, unique=True),
    Column("kind", Integer, nullable=False),
    Column("time_ms", Integer, nullable=False),
    Column("body_state", Text, nullable=False),
    Column("header", Bytes, nullable=False),
    Column("sig", Bytes, nullable=False),
    Column("body", Bytes),
    UniqueConstraint("feed", "seq"),
    Index("ix_entries_kind", "kind", "feed", "seq"),
    sqlite_autoincrement=True,
)

refs: Final = Table(
    "refs",
    metadata,
    Column("target", Bytes, primary_key=True),
    Column("n", Integer, primary_key=True),
    sqlite_with_rowid=False,
)

branches: Final = Table(
    "branches",
    metadata,
    Column("branch", Integer, primary_key=True),
    Column("feed", Integer, ForeignKey("feeds.feed"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("id", Bytes, nullable=False, unique=True),
    Column("prev", Bytes),
    Column("is_broken", Boolean(create_constraint=False), nullable=False),
    Column("header", Bytes, nullable=False),
    Column("sig", Bytes, nullable=False),
    Column("body", Bytes),
    Index("ix_branches_place", "feed", "seq", "id"),
)

parked: Final = Table(
    "parked",
    metadata,
    Column("place", Integer, primary_key=True),
    Column("author", Bytes, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("id", Bytes, nullable=False, unique=True),
    Column("prev", Bytes),
    Column("reason", Text, nullable=False),
    Column("since_ms", Integer, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("header", Bytes, nullable=False),
    Column("sig", Bytes, nullable=False),
    Column("body", Bytes),
    Index("ix_parked_author", "author", "seq", "id"),
    Index("ix_parked_age", "author", "place"),
    Index("ix_parked_prev", "prev", "id"),
    Index("ix_parked_reason", "reason", "place"),
    Index("ix_parked_since", "since_ms"),
    sqlite_autoincrement=True,
)

forks: Final = Table(
    "forks",
    metadata,
    Column("fork", Integer, primary_key=True),
    Column("author", Bytes, nullable=False),
    Column("disputed_seq", Integer, nullable=False),
    Column("last_seq", Integer, nullable=False),
    Column("proof_hash", Bytes, nullable=False, unique=True),
    Column("proof", Bytes, nullable=False),
    Index("ix_forks_author", "author", "disputed_seq", "last_seq", "proof_hash"),
    sqlite_autoincrement=True,
)

private_to: Final = Table(
    "private_to",
    metadata,
    Column("n", Integer, ForeignKey("entries.n", ondelete="CASCADE"), primary_key=True),
    Column("identity", Bytes, primary_key=True),
    sqlite_with_rowid=False,
)

outbox: Final = Table(
    "outbox",
    metadata,
    Column("message", Integer, primary_key=True),
    Column("to_identity", Bytes),
    Column("n", Integer, ForeignKey("entries.n", ondelete="CASCADE"), nullable=False),
    Column("state", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_ms", Integer),
    Column("created_ms", Integer, nullable=False),
    Index("ix_outbox_due", "next_ms", "message"),
    Index("ix_outbox_entry", "n", "to_identity"),
    sqlite_autoincrement=True,
)

meta: Final = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

projections: Final = Table(
    "projections",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("n", Integer, nullable=False),
    sqlite_with_rowid=False,
)

secrets: Final = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("box", Bytes, nullable=False),
    sqlite_with_rowid=False,
)

# --- Projections ----------------------------------------------------------------------------

identities: Final = Table(
    "identities",
    metadata,
    Column("identity", Bytes, primary_key=True),
    Column("r", Integer, nullable=False),
    Column("root", Bytes, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("box", Bytes),
    Column("state", Text, nullable=False),
    sqlite_with_rowid=False,
)

devices: Final = Table(
    "devices",
    metadata,
    Column("device", Bytes, primary_key=True),
    Column("identity", Bytes, nullable=False),
    Column("r", Integer, nullable=False),
    Column("role", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("box", Bytes, nullable=False),
    Column("created_ms", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("cut_seq", Integer),
    Column("successor", Bytes),
    Column("reason", Text),
    Index("ix_devices_identity", "identity", "device"),
    sqlite_with_rowid=False,
)

profiles: Final = Table(
    "profiles",
    metadata,
    Column("identity", Bytes, primary_key=True),
    Column("time_ms", Integer, nullable=False),
    Column("author", Bytes, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("web", Text, nullable=False),
    Column("contact", Text),
    Column("sectors", Text, nullable=False),
    Column("lang", Text),
    Column("avatar", Bytes),
    sqlite_with_rowid=False,
)

erasures: Final = Table(
    "erasures",
    metadata,
    Column("target", Bytes, primary_key=True),
    Column("identity", Bytes, primary_key=True),
    Column("by", Bytes, nullable=False),
    Index("ix_erasures_identity", "identity", "target"),
    sqlite_with_rowid=False,
)
