"""Other Devices, what moves to and from them, and what waits for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_network"
down_revision = "0003_certification"


def upgrade() -> None:
    """Create the tables of the network, and let a message say why it failed."""
    with op.batch_alter_table("outbox") as batch:
        batch.add_column(sa.Column("reason", sa.Text))
    op.create_table(
        "peers",
        sa.Column("device", sa.LargeBinary, primary_key=True),
        sa.Column("identity", sa.LargeBinary),
        sa.Column("addresses", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("is_kept", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("roles", sa.Text, nullable=False),
        sa.Column("program", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("arrivals_epoch", sa.LargeBinary),
        sa.Column("arrivals_n", sa.Integer),
        sa.Column("reconciled_ms", sa.Integer),
        sa.Column("met_ms", sa.Integer, nullable=False),
        sa.Column("seen_ms", sa.Integer),
        sa.Column("answered_ms", sa.Integer),
        sa.Column("tried_ms", sa.Integer),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("penalty_milli", sa.Integer, nullable=False),
        sa.Column("penalty_ms", sa.Integer, nullable=False),
        sa.Column("refused_until_ms", sa.Integer),
        sa.Column("in_bytes", sa.Integer, nullable=False),
        sa.Column("out_bytes", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_peers_identity", "peers", ["identity", "device"])
    op.create_index("ix_peers_seen", "peers", ["seen_ms", "device"])
    op.create_table(
        "transfers",
        sa.Column("transfer", sa.Integer, primary_key=True),
        sa.Column("release", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("artifact", sa.LargeBinary, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("is_paused", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("total_bytes", sa.Integer, nullable=False),
        sa.Column("done_bytes", sa.Integer, nullable=False),
        sa.Column("created_ms", sa.Integer, nullable=False),
        sa.Column("changed_ms", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_transfers_state", "transfers", ["state", "priority", "transfer"])
    op.create_index("ix_releases_card", "releases", ["card"])
    op.create_index("ix_profiles_avatar", "profiles", ["avatar"])
    op.create_table(
        "traffic",
        sa.Column("root", sa.LargeBinary, primary_key=True),
        sa.Column("size", sa.Integer, primary_key=True),
        sa.Column("in_bytes", sa.Integer, nullable=False),
        sa.Column("out_bytes", sa.Integer, nullable=False),
        sa.Column("changed_ms", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "mailbox",
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("reader", sa.LargeBinary, nullable=False),
        sa.Column("id", sa.LargeBinary, nullable=False),
        sa.Column("author", sa.LargeBinary, nullable=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.Column("sig", sa.LargeBinary, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("received_ms", sa.Integer, nullable=False),
        sa.Column("until_ms", sa.Integer, nullable=False),
        sa.Column("is_stranger", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("reader", "id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_mailbox_author", "mailbox", ["author", "reader"])
    op.create_index("ix_mailbox_reader", "mailbox", ["reader", "n"])
    op.create_index("ix_mailbox_until", "mailbox", ["until_ms"])
    op.create_table(
        "mailbox_readers",
        sa.Column("device", sa.LargeBinary, primary_key=True),
        sa.Column("n", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "held_receipts",
        sa.Column(
            "message",
            sa.Integer,
            sa.ForeignKey("outbox.message", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("mailbox", sa.LargeBinary, primary_key=True),
        sa.Column("until_ms", sa.Integer, nullable=False),
        sa.Column("sig", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "intake",
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("identity", sa.LargeBinary, primary_key=True),
        sa.Column("sort", sa.Text, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "muted",
        sa.Column("place", sa.Integer, primary_key=True),
        sa.Column("entry", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("identity", sa.LargeBinary, nullable=False),
        sa.Column("sort", sa.Text, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("listing", sa.LargeBinary),
    )
    op.create_index("ix_muted_identity", "muted", ["identity", "sort", "day"])
    op.create_index("ix_muted_listing", "muted", ["listing"])
    op.create_table(
        "late_arrivals",
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column(
            "feed", sa.Integer, sa.ForeignKey("feeds.feed", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.UniqueConstraint("feed", "seq"),
    )
    op.create_table(
        "feeds_met",
        sa.Column(
            "feed", sa.Integer, sa.ForeignKey("feeds.feed", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("met_ms", sa.Integer, nullable=False),
    )
    op.create_table(
        "dropped_feeds",
        sa.Column("author", sa.LargeBinary, primary_key=True),
        sa.Column("identity", sa.LargeBinary),
        sa.Column("dropped_ms", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_dropped_feeds_age", "dropped_feeds", ["dropped_ms", "author"])
    op.create_index("ix_dropped_feeds_identity", "dropped_feeds", ["identity"])
    op.create_index(
        "ix_entries_missing", "entries", ["n"], sqlite_where=sa.text("body_state = 'absent'")
    )
