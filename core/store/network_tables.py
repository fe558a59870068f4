"""The tables of the network: other Devices, what moves to and from them, what waits for them.

All are this folder's own: none is made of Entries, and none can be made again from them.

* ``peers`` are Devices that answered once, or that a person named.  ``arrivals_epoch`` and
  ``arrivals_n`` are the cursor into *their* arrival numbers: what came to them since.
* ``transfers`` are the Releases this folder fetches, or has fetched.
* ``traffic`` counts what each object cost and gave.
* ``mailbox`` holds sealed post for the Identity of this folder's Account, ``mailbox_readers`` how
  far each of its Devices has read, ``held_receipts`` what other Mailboxes promised us.
* ``intake`` counts what arrived of each Identity on each day, ``muted`` names what was over the
  rate, in the order it came.
* ``late_arrivals`` numbers what came to a Feed other than at its end: Entries of a branch, Bodies.
  Its ``n`` are arrival numbers like those of ``entries``, from the same row of numbers.
* ``feeds_met`` says since when a Feed is held, ``dropped_feeds`` which were given up for want of
  room, so that they are not fetched again at once.

They belong to the same database as ``hanse.core.store.tables``, and a change here is a
migration too.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)

from hanse.core.store.tables import Bytes, metadata

peers: Final = Table(
    "peers",
    metadata,
    Column("device", Bytes, primary_key=True),
    Column("identity", Bytes),
    Column("addresses", Text, nullable=False),  # JSON list of multiaddr texts, the best first
    Column("source", Text, nullable=False),  # how it was first met
    Column("is_kept", Boolean(create_constraint=False), nullable=False),  # the person's own list
    Column("roles", Text, nullable=False),  # JSON list of words
    Column("program", Text, nullable=False),
    Column("name", Text, nullable=False),  # what its invitation or the person calls it
    Column("arrivals_epoch", Bytes),
    Column("arrivals_n", Integer),
    Column("reconciled_ms", Integer),
    Column("met_ms", Integer, nullable=False),
    Column("seen_ms", Integer),  # last time it said something
    Column("answered_ms", Integer),  # last time it answered at addresses[0], where we dialled it
    Column("tried_ms", Integer),
    Column("failures", Integer, nullable=False),  # dials in a row that failed
    Column("reason", Text),  # why the last one did
    Column("penalty_milli", Integer, nullable=False),  # as it was at penalty_ms; halves by the hour
    Column("penalty_ms", Integer, nullable=False),
    Column("refused_until_ms", Integer),
    Column("in_bytes", Integer, nullable=False),
    Column("out_bytes", Integer, nullable=False),
    Index("ix_peers_identity", "identity", "device"),
    Index("ix_peers_seen", "seen_ms", "device"),
    sqlite_with_rowid=False,
)

transfers: Final = Table(
    "transfers",
    metadata,
    Column("transfer", Integer, primary_key=True),
    Column("release", Bytes, nullable=False, unique=True),
    Column("artifact", Bytes, nullable=False),
    Column("reason", Text, nullable=False),  # asked, trial, order, seed
    Column("state", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("is_paused", Boolean(create_constraint=False), nullable=False),
    Column("total_bytes", Integer, nullable=False),
    Column("done_bytes", Integer, nullable=False),
    Column("created_ms", Integer, nullable=False),
    Column("changed_ms", Integer, nullable=False),
    Column("error", Text),  # JSON: code and values
    Index("ix_transfers_state", "state", "priority", "transfer"),
    sqlite_autoincrement=True,
)

traffic: Final = Table(
    "traffic",
    metadata,
    Column("root", Bytes, primary_key=True),
    Column("size", Integer, primary_key=True),
    Column("in_bytes", Integer, nullable=False),
    Column("out_bytes", Integer, nullable=False),
    Column("changed_ms", Integer, nullable=False),
    sqlite_with_rowid=False,
)

mailbox: Final = Table(
    "mailbox",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("reader", Bytes, nullable=False),  # an Identity
    Column("id", Bytes, nullable=False),
    Column("author", Bytes, nullable=False),
    Column("header", Bytes, nullable=False),
    Column("sig", Bytes, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("received_ms", Integer, nullable=False),
    Column("until_ms", Integer, nullable=False),
    Column("is_stranger", Boolean(create_constraint=False), nullable=False),
    Column("body", Bytes, nullable=False),
    UniqueConstraint("reader", "id"),
    Index("ix_mailbox_author", "author", "reader"),
    Index("ix_mailbox_reader", "reader", "n"),
    Index("ix_mailbox_until", "until_ms"),
    sqlite_autoincrement=True,
)

mailbox_readers: Final = Table(
    "mailbox_readers",
    metadata,
    Column("device", Bytes, primary_key=True),
    Column("n", Integer, nullable=False),
    sqlite_with_rowid=False,
)

held_receipts: Final = Table(
    "held_receipts",
    metadata,
    Column("message", Integer, ForeignKey("outbox.message", ondelete="CASCADE"), primary_key=True),
    Column("mailbox", Bytes, primary_key=True),  # its Device
    Column("until_ms", Integer, nullable=False),
    Column("sig", Bytes, nullable=False),
    sqlite_with_rowid=False,
)

intake: Final = Table(
    "intake",
    metadata,
    Column("day", Integer, primary_key=True),  # of arrival, since 1970 in UTC
    Column("identity", Bytes, primary_key=True),
    Column("sort", Text, primary_key=True),  # of Entry, as the rates count them
    Column("count", Integer, nullable=False),
    sqlite_with_rowid=False,
)

muted: Final = Table(
    "muted",
    metadata,
    Column("place", Integer, primary_key=True),
    Column("entry", Bytes, nullable=False, unique=True),  # its id
    Column("identity", Bytes, nullable=False),
    Column("sort", Text, nullable=False),
    Column("day", Integer, nullable=False),
    Column("listing", Bytes),  # which is not shown because of it
    Index("ix_muted_identity", "identity", "sort", "day"),
    Index("ix_muted_listing", "listing"),
)

late_arrivals: Final = Table(
    "late_arrivals",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("feed", Integer, ForeignKey("feeds.feed", ondelete="CASCADE"), nullable=False),
    Column("seq", Integer, nullable=False),
    UniqueConstraint("feed", "seq"),
)

feeds_met: Final = Table(
    "feeds_met",
    metadata,
    Column("feed", Integer, ForeignKey("feeds.feed", ondelete="CASCADE"), primary_key=True),
    Column("met_ms", Integer, nullable=False),
)

dropped_feeds: Final = Table(
    "dropped_feeds",
    metadata,
    Column("author", Bytes, primary_key=True),
    Column("identity", Bytes),
    Column("dropped_ms", Integer, nullable=False),
    Index("ix_dropped_feeds_age", "dropped_ms", "author"),
    Index("ix_dropped_feeds_identity", "identity"),
    sqlite_with_rowid=False,
)
