"""Listings, Releases and prices, the catalogue made of them, and the files behind them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_publishing"
down_revision = "0001_foundation"


def upgrade() -> None:
    """Create the tables of publishing; nothing that was there changes."""
    _create_projections()
    _create_catalogue()
    _create_own()


def _create_projections() -> None:
    op.create_table(
        "listings",
        sa.Column("listing", sa.LargeBinary, primary_key=True),
        sa.Column("identity", sa.LargeBinary, primary_key=True),
        sa.Column("opened", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("created_ms", sa.Integer),
        sa.Column("first_author", sa.LargeBinary),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sa.Column("time_ms", sa.Integer, nullable=False),
        sa.Column("author", sa.LargeBinary, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("lang", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("sectors", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("concepts", sa.Text, nullable=False),
        sa.Column("trials", sa.Text, nullable=False),
        sa.Column("prefs", sa.LargeBinary, nullable=False),
        sa.Column("capacity", sa.Integer),
        sa.Column("mediators", sa.LargeBinary, nullable=False),
        sa.Column("valid_until_ms", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("media", sa.LargeBinary, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_index(
        "ix_listings_identity", "listings", ["identity", "opened", "time_ms", "listing"]
    )
    op.create_index("ix_listings_opened", "listings", ["opened", "listing"])
    op.create_index("ix_listings_time", "listings", ["opened", "time_ms", "listing"])
    op.create_table(
        "releases",
        sa.Column("release", sa.LargeBinary, primary_key=True),
        sa.Column("identity", sa.LargeBinary, primary_key=True),
        sa.Column("listing", sa.LargeBinary, nullable=False),
        sa.Column("time_ms", sa.Integer, nullable=False),
        sa.Column("author", sa.LargeBinary, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("artifact", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("files", sa.Integer, nullable=False),
        sa.Column("formats", sa.Text, nullable=False),
        sa.Column("edition", sa.Text, nullable=False),
        sa.Column("of_release", sa.LargeBinary),
        sa.Column("seal", sa.LargeBinary),
        sa.Column("card", sa.LargeBinary, nullable=False),
        sa.Column("base", sa.LargeBinary, nullable=False),
        sa.Column("supersedes", sa.LargeBinary),
        sa.Column("tiers", sa.LargeBinary, nullable=False),
        sa.Column("notes", sa.Text, nullable=False),
    )
    op.create_index("ix_releases_artifact", "releases", ["artifact", "time_ms", "release"])
    op.create_index("ix_releases_identity", "releases", ["identity"])
    op.create_index(
        "ix_releases_listing", "releases", ["listing", "identity", "time_ms", "author", "seq"]
    )
    op.create_table(
        "prices",
        sa.Column("listing", sa.LargeBinary, primary_key=True),
        sa.Column("identity", sa.LargeBinary, primary_key=True),
        sa.Column("release", sa.LargeBinary, primary_key=True),
        sa.Column("price", sa.LargeBinary, nullable=False),
        sa.Column("time_ms", sa.Integer, nullable=False),
        sa.Column("author", sa.LargeBinary, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("amount", sa.Integer, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("exponent", sa.Integer, nullable=False),
        sa.Column("floor", sa.Integer, nullable=False),
        sa.Column("ceil", sa.Integer, nullable=False),
        sa.Column("tick", sa.Integer, nullable=False),
        sa.Column("params", sa.LargeBinary, nullable=False),
        sa.Column("anchors", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_prices_identity", "prices", ["identity"])
    op.create_table(
        "renewals",
        sa.Column("target", sa.LargeBinary, primary_key=True),
        sa.Column("identity", sa.LargeBinary, primary_key=True),
        sa.Column("time_ms", sa.Integer, nullable=False),
        sa.Column("author", sa.LargeBinary, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("until_ms", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_renewals_identity", "renewals", ["identity"])
    op.create_table(
        "follows",
        sa.Column("target", sa.LargeBinary, primary_key=True),
        sa.Column("identity", sa.LargeBinary, primary_key=True),
        sa.Column("time_ms", sa.Integer, nullable=False),
        sa.Column("author", sa.LargeBinary, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("weight", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_follows_identity", "follows", ["identity", "target"])


def _create_catalogue() -> None:
    op.create_table(
        "catalogue",
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("listing", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("identity", sa.LargeBinary, nullable=False),
        sa.Column("release", sa.LargeBinary, nullable=False),
        sa.Column("price", sa.LargeBinary, nullable=False),
        sa.Column("artifact", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("lang", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("sectors", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("formats", sa.Text, nullable=False),
        sa.Column("frameworks", sa.Text, nullable=False),
        sa.Column("licence", sa.Text),
        sa.Column("rights", sa.Text, nullable=False),
        sa.Column("trials", sa.Text, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("price_minor", sa.Integer),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("exponent", sa.Integer, nullable=False),
        sa.Column("price_micro", sa.Integer),
        sa.Column("price_band", sa.Text, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("size_band", sa.Text, nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("score_milli", sa.Integer),
        sa.Column("reviews", sa.Integer),
        sa.Column("published_ms", sa.Integer, nullable=False),
        sa.Column("updated_ms", sa.Integer, nullable=False),
        sa.Column("valid_until_ms", sa.Integer, nullable=False),
        sa.Column("releases", sa.Integer, nullable=False),
        sa.Column("trial_editions", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_catalogue_identity", "catalogue", ["identity", "n"])
    op.create_index("ix_catalogue_level", "catalogue", ["level", "n"])
    op.create_index("ix_catalogue_price", "catalogue", ["currency", "price_micro", "n"])
    op.create_index("ix_catalogue_published", "catalogue", ["published_ms", "n"])
    op.create_index("ix_catalogue_score", "catalogue", ["score_milli", "n"])
    op.create_index("ix_catalogue_size", "catalogue", ["size", "n"])
    op.create_index("ix_catalogue_state", "catalogue", ["state", "n"])
    op.create_index("ix_catalogue_valid", "catalogue", ["valid_until_ms", "n"])
    op.create_table(
        "catalogue_text",
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("stems_source", sa.Text, nullable=False),
        sa.Column("facets", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "facet_values",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("facet", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("listings", sa.Integer, nullable=False),
        sa.UniqueConstraint("facet", "value"),
    )
    op.create_index("ix_facet_values_listings", "facet_values", ["facet", "listings", "number"])
    op.create_table(
        "listing_facets",
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("value", sa.Integer, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.execute(
        "CREATE VIRTUAL TABLE catalogue_fts USING fts5(title, tags, text, stems, facets,"
        " content='', tokenize='unicode61 remove_diacritics 2', prefix='1')"
    )


def _create_own() -> None:
    op.create_table(
        "drafts",
        sa.Column("draft", sa.LargeBinary, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("source", sa.Text),
        sa.Column("artifact", sa.LargeBinary),
        sa.Column("listing", sa.LargeBinary),
        sa.Column("created_ms", sa.Integer, nullable=False),
        sa.Column("updated_ms", sa.Integer, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_drafts_artifact", "drafts", ["artifact"])
    op.create_index("ix_drafts_updated", "drafts", ["updated_ms", "draft"])
    op.create_table(
        "objects",
        sa.Column("root", sa.LargeBinary, primary_key=True),
        sa.Column("size", sa.Integer, primary_key=True),
        sa.Column("whose", sa.Text, nullable=False),
        sa.Column("added_ms", sa.Integer, nullable=False),
        sa.Column("seeded_ms", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_objects_seeded", "objects", ["whose", "seeded_ms", "root", "size"])
    op.create_table(
        "object_uses",
        sa.Column("root", sa.LargeBinary, primary_key=True),
        sa.Column("size", sa.Integer, primary_key=True),
        sa.Column("artifact", sa.LargeBinary, primary_key=True),
        sa.Column("part", sa.Text, primary_key=True),
        sa.Column("whose", sa.Text, nullable=False),
        sa.Column("release", sa.LargeBinary),
        sa.Column("key_epoch", sa.Integer),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_object_uses_artifact", "object_uses", ["artifact", "part", "root", "size"])
    op.create_table(
        "manifests",
        sa.Column("artifact", sa.LargeBinary, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, primary_key=True),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("key_epoch", sa.Integer),
        sa.Column("release", sa.LargeBinary),
        sa.Column("added_ms", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_manifests_added", "manifests", ["added_ms", "artifact", "sealed"])
    op.create_index("ix_manifests_release", "manifests", ["release"])
    op.create_table(
        "saved_searches",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("query", sa.Text, nullable=False),
        sa.Column("created_ms", sa.Integer, nullable=False),
        sa.Column("seen_n", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
