"""The tables of one data folder: what is stored, and nothing about how it is asked for.

* ``feeds``, ``entries``, ``refs``, ``kinds`` are the Ledger; ``branches``, ``parked``
  and ``forks`` are what does not stand in a Feed: evidence, and what came too early.
* ``private_to``, ``outbox``, ``secrets``, ``meta`` are this Device's own and cannot
  be made again from Entries.
* ``drafts``, ``objects``, ``object_uses``, ``manifests`` and ``saved_searches`` are this
  folder's own too.
* Certificates, jobs and Trials stand in ``certification_tables``, other Devices and what moves
  between them in ``network_tables``, in the same database.
* The rest are Projections: they can be dropped and made again from the Ledger.
* The catalogue is made of Projections.  ``catalogue.n`` is its own arrival number: of two
  Listings the one that changed later has the greater.
* ``entries.n`` is the arrival number; it is never used twice, so "what came since n"
  has one answer for ever.
* ``body`` is the last column: long Bodies lie on pages that a scan of Headers never
  reads.

A change here is a migration (``migrations/versions``); a test compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    DDL,
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
    event,
    text,
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
    Index("ix_entries_missing", "n", sqlite_where=text("body_state = 'absent'")),
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
    Column("reason", Text),  # why it failed
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
    Index("ix_profiles_avatar", "avatar"),
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

listings: Final = Table(
    "listings",
    metadata,
    Column("listing", Bytes, primary_key=True),
    Column("identity", Bytes, primary_key=True),
    Column("opened", Boolean(create_constraint=False), nullable=False),
    Column("created_ms", Integer),
    Column("first_author", Bytes),
    Column("entry", Bytes, nullable=False),
    Column("time_ms", Integer, nullable=False),
    Column("author", Bytes, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("title", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("lang", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("sectors", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("concepts", Text, nullable=False),
    Column("trials", Text, nullable=False),
    Column("prefs", Bytes, nullable=False),
    Column("capacity", Integer),
    Column("mediators", Bytes, nullable=False),
    Column("valid_until_ms", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("media", Bytes, nullable=False),
    Column("text", Text, nullable=False),
    Index("ix_listings_opened", "opened", "listing"),
    Index("ix_listings_identity", "identity", "opened", "time_ms", "listing"),
    Index("ix_listings_time", "opened", "time_ms", "listing"),
)

releases: Final = Table(
    "releases",
    metadata,
    Column("release", Bytes, primary_key=True),
    Column("identity", Bytes, primary_key=True),
    Column("listing", Bytes, nullable=False),
    Column("time_ms", Integer, nullable=False),
    Column("author", Bytes, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("artifact", Bytes, nullable=False),
    Column("size", Integer, nullable=False),
    Column("files", Integer, nullable=False),
    Column("formats", Text, nullable=False),
    Column("edition", Text, nullable=False),
    Column("of_release", Bytes),
    Column("seal", Bytes),
    Column("card", Bytes, nullable=False),
    Column("base", Bytes, nullable=False),
    Column("supersedes", Bytes),
    Column("tiers", Bytes, nullable=False),
    Column("notes", Text, nullable=False),
    Index("ix_releases_listing", "listing", "identity", "time_ms", "author", "seq"),
    Index("ix_releases_artifact", "artifact", "time_ms", "release"),
    Index("ix_releases_card", "card"),
    Index("ix_releases_identity", "identity"),
)

prices: Final = Table(
    "prices",
    metadata,
    Column("listing", Bytes, primary_key=True),
    Column("identity", Bytes, primary_key=True),
    Column("release", Bytes, primary_key=True),  # 32 zero bytes: of the whole Listing
    Column("price", Bytes, nullable=False),
    Column("time_ms", Integer, nullable=False),
    Column("author", Bytes, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("mode", Text, nullable=False),
    Column("amount", Integer, nullable=False),
    Column("currency", Text, nullable=False),
    Column("exponent", Integer, nullable=False),
    Column("floor", Integer, nullable=False),
    Column("ceil", Integer, nullable=False),
    Column("tick", Integer, nullable=False),
    Column("params", Bytes, nullable=False),
    Column("anchors", Bytes, nullable=False),
    Index("ix_prices_identity", "identity"),
)

renewals: Final = Table(
    "renewals",
    metadata,
    Column("target", Bytes, primary_key=True),
    Column("identity", Bytes, primary_key=True),
    Column("time_ms", Integer, nullable=False),
    Column("author", Bytes, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("until_ms", Integer, nullable=False),
    Index("ix_renewals_identity", "identity"),
    sqlite_with_rowid=False,
)

follows: Final = Table(
    "follows",
    metadata,
    Column("target", Bytes, primary_key=True),
    Column("identity", Bytes, primary_key=True),
    Column("time_ms", Integer, nullable=False),
    Column("author", Bytes, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("weight", Integer, nullable=False),
    Index("ix_follows_identity", "identity", "target"),
    sqlite_with_rowid=False,
)

# --- The catalogue: what everybody searches, made from the rows above -------------------------

catalogue: Final = Table(
    "catalogue",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("listing", Bytes, nullable=False, unique=True),
    Column("identity", Bytes, nullable=False),
    Column("release", Bytes, nullable=False),
    Column("price", Bytes, nullable=False),
    Column("artifact", Bytes, nullable=False),
    Column("version", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("lang", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("sectors", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("formats", Text, nullable=False),
    Column("frameworks", Text, nullable=False),
    Column("licence", Text),
    Column("rights", Text, nullable=False),
    Column("trials", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("price_minor", Integer),
    Column("currency", Text, nullable=False),
    Column("exponent", Integer, nullable=False),
    Column("price_micro", Integer),  # of a major unit: sorts and filters, is shown nowhere
    Column("price_band", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("size_band", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("cert_failed", Boolean(create_constraint=False), nullable=False),
    Column("contradicted", Boolean(create_constraint=False), nullable=False),
    Column("reproduced", Integer, nullable=False),
    Column("differ", Integer, nullable=False),
    Column("objections", Integer, nullable=False),
    Column("score_milli", Integer),
    Column("reviews", Integer),
    Column("published_ms", Integer, nullable=False),
    Column("updated_ms", Integer, nullable=False),
    Column("valid_until_ms", Integer, nullable=False),
    Column("releases", Integer, nullable=False),
    Column("trial_editions", Integer, nullable=False),
    Index("ix_catalogue_artifact", "artifact", "n"),
    Index("ix_catalogue_identity", "identity", "n"),
    Index("ix_catalogue_price", "currency", "price_micro", "n"),
    Index("ix_catalogue_state", "state", "n"),
    Index("ix_catalogue_size", "size", "n"),
    Index("ix_catalogue_level", "level", "n"),
    Index("ix_catalogue_score", "score_milli", "n"),
    Index("ix_catalogue_published", "published_ms", "n"),
    Index("ix_catalogue_valid", "valid_until_ms", "n"),
    sqlite_autoincrement=True,
)

catalogue_text: Final = Table(
    "catalogue_text",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("title", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("stems_source", Text, nullable=False),
    Column("facets", Text, nullable=False),
    Column("text", Text, nullable=False),
)

# Words of ``catalogue_text``, segmented; SQLite keeps it in tables of its own.
CATALOGUE_FTS: Final = (
    "CREATE VIRTUAL TABLE catalogue_fts USING fts5(title, tags, text, stems, facets,"
    " content='', tokenize='unicode61 remove_diacritics 2', prefix='1')"
)


event.listen(metadata, "after_create", DDL(CATALOGUE_FTS))  # type: ignore[no-untyped-call]


# Each value a facet has, and how many Listings of the catalogue have it.
facet_values: Final = Table(
    "facet_values",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("facet", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("listings", Integer, nullable=False),
    UniqueConstraint("facet", "value"),
    Index("ix_facet_values_listings", "facet", "listings", "number"),
)

# One row for each value of each Listing: a Listing of two sectors counts once in both.  Which
# Listings have a value is asked of the search index, which has a word for each.
listing_facets: Final = Table(
    "listing_facets",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("value", Integer, primary_key=True),
    sqlite_with_rowid=False,
)

# --- This folder's own: files, drafts, searches -----------------------------------------------

drafts: Final = Table(
    "drafts",
    metadata,
    Column("draft", Bytes, primary_key=True),
    Column("state", Text, nullable=False),
    Column("source", Text),
    Column("artifact", Bytes),
    Column("listing", Bytes),
    Column("created_ms", Integer, nullable=False),
    Column("updated_ms", Integer, nullable=False),
    Column("data", Bytes, nullable=False),
    Index("ix_drafts_updated", "updated_ms", "draft"),
    Index("ix_drafts_artifact", "artifact"),
)

objects: Final = Table(
    "objects",
    metadata,
    Column("root", Bytes, primary_key=True),
    Column("size", Integer, primary_key=True),
    Column("whose", Text, nullable=False),  # the strongest of its uses
    Column("added_ms", Integer, nullable=False),
    Column("seeded_ms", Integer, nullable=False),
    Index("ix_objects_seeded", "whose", "seeded_ms", "root", "size"),
    sqlite_with_rowid=False,
)

object_uses: Final = Table(
    "object_uses",
    metadata,
    Column("root", Bytes, primary_key=True),
    Column("size", Integer, primary_key=True),
    Column("artifact", Bytes, primary_key=True),
    Column("part", Text, primary_key=True),
    Column("whose", Text, nullable=False),
    Column("release", Bytes),
    Column("key_epoch", Integer),
    Index("ix_object_uses_artifact", "artifact", "part", "root", "size"),
    sqlite_with_rowid=False,
)

manifests: Final = Table(
    "manifests",
    metadata,
    Column("artifact", Bytes, primary_key=True),  # the hash of the plain Manifest
    Column("sealed", Bytes, primary_key=True),  # of the sealed one; no bytes: held in the clear
    Column("salt", Bytes),
    Column("key_epoch", Integer),
    Column("release", Bytes),
    Column("added_ms", Integer, nullable=False),
    Index("ix_manifests_release", "release"),
    Index("ix_manifests_added", "added_ms", "artifact", "sealed"),
    sqlite_with_rowid=False,
)

saved_searches: Final = Table(
    "saved_searches",
    metadata,
    Column("name", Text, primary_key=True),
    Column("query", Text, nullable=False),
    Column("created_ms", Integer, nullable=False),
    Column("seen_n", Integer, nullable=False),
    sqlite_with_rowid=False,
)
