"""The Ledger, what does not stand in a Feed, and the first Projections."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001_foundation"
down_revision = None


def upgrade() -> None:
    """Create every table of the first schema."""
    _create_ledger()
    _create_beside_the_ledger()
    _create_own()
    _create_projections()


def _create_ledger() -> None:
    op.create_table(
        "feeds",
        sa.Column("feed", sa.Integer, primary_key=True),
        sa.Column("author", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("identity", sa.LargeBinary),
        sa.Column("r", sa.Integer),
        sa.Column("role", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("head_seq", sa.Integer, nullable=False),
        sa.Column("head_id", sa.LargeBinary),
        sa.Column("head_time_ms", sa.Integer),
        sa.Column("peaks", sa.LargeBinary, nullable=False),
        sa.Column("frozen_seq", sa.Integer),
        sa.Column("broken_id", sa.LargeBinary),
        sa.Column("tier", sa.Text, nullable=False),
        sa.Column("body_bytes", sa.Integer, nullable=False),
        sa.Column("seen_ms", sa.Integer, nullable=False),
    )
    op.create_index("ix_feeds_identity", "feeds", ["identity", "author"])
    op.create_table(
        "kinds",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False, unique=True),
    )
    op.create_table(
        "entries",
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("feed", sa.Integer, sa.ForeignKey("feeds.feed"), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("id", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("kind", sa.Integer, nullable=False),
        sa.Column("time_ms", sa.Integer, nullable=False),
        sa.Column("body_state", sa.Text, nullable=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.Column("sig", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary),
        sa.UniqueConstraint("feed", "seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_entries_kind", "entries", ["kind", "feed", "seq"])
    op.create_table(
        "refs",
        sa.Column("target", sa.LargeBinary, primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True),
        sqlite_with_rowid=False,
    )


def _create_beside_the_ledger() -> None:
    op.create_table(
        "branches",
        sa.Column("branch", sa.Integer, primary_key=True),
        sa.Column("feed", sa.Integer, sa.ForeignKey("feeds.feed"), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("id", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("prev", sa.LargeBinary),
        sa.Column("is_broken", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.Column("sig", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary),
    )
    op.create_index("ix_branches_place", "branches", ["feed", "seq", "id"])
    op.create_table(
        "parked",
        sa.Column("place", sa.Integer, primary_key=True),
        sa.Column("author", sa.LargeBinary, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("id", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("prev", sa.LargeBinary),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("since_ms", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.Column("sig", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_parked_age", "parked", ["author", "place"])
    op.create_index("ix_parked_author", "parked", ["author", "seq", "id"])
    op.create_index("ix_parked_prev", "parked", ["prev", "id"])
    op.create_index("ix_parked_reason", "parked", ["reason", "place"])
    op.create_index("ix_parked_since", "parked", ["since_ms"])
    op.create_table(
        "forks",
        sa.Column("fork", sa.Integer, primary_key=True),
        sa.Column("author", sa.LargeBinary, nullable=False),
        sa.Column("disputed_seq", sa.Integer, nullable=False),
        sa.Column("last_seq", sa.Integer, nullable=False),
        sa.Column("proof_hash", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("proof", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_forks_author", "forks", ["author", "disputed_seq", "last_seq", "proof_hash"]
    )


def _create_own() -> None:
    op.create_table(
        "private_to",
        sa.Column(
            "n", sa.Integer, sa.ForeignKey("entries.n", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("identity", sa.LargeBinary, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outbox",
        sa.Column("message", sa.Integer, primary_key=True),
        sa.Column("to_identity", sa.LargeBinary),
        sa.Column("n", sa.Integer, sa.ForeignKey("entries.n", ondelete="CASCADE"), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_ms", sa.Integer),
        sa.Column("created_ms", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_due", "outbox", ["next_ms", "message"])
    op.create_index("ix_outbox_entry", "outbox", ["n", "to_identity"])
    op.create_table(
        "meta",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "projections",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("box", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )


def _create_projections() -> None:
    op.create_table(
        "identities",
        sa.Column("identity", sa.LargeBinary, primary_key=True),
        sa.Column("r", sa.Integer, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("box", sa.LargeBinary),
        sa.Column("state", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "devices",
        sa.Column("device", sa.LargeBinary, primary_key=True),
        sa.Column("identity", sa.LargeBinary, nullable=False),
        sa.Column("r", sa.Integer, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("box", sa.LargeBinary, nullable=False),
        sa.Column("created_ms", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("cut_seq", sa.Integer),
        sa.Column("successor", sa.LargeBinary),
        sa.Column("reason", sa.Text),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_devices_identity", "devices", ["identity", "device"])
    op.create_table(
        "profiles",
        sa.Column("identity", sa.LargeBinary, primary_key=True),
        sa.Column("time_ms", sa.Integer, nullable=False),
        sa.Column("author", sa.LargeBinary, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("web", sa.Text, nullable=False),
        sa.Column("contact", sa.Text),
        sa.Column("sectors", sa.Text, nullable=False),
        sa.Column("lang", sa.Text),
        sa.Column("avatar", sa.LargeBinary),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "erasures",
        sa.Column("target", sa.LargeBinary, primary_key=True),
        sa.Column("identity", sa.LargeBinary, primary_key=True),
        sa.Column("by", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_erasures_identity", "erasures", ["identity", "target"])
