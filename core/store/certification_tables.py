"""The tables of certification and Trials: what is stored, nothing about how it is asked for.

* ``certificates``, ``cert_revocations`` and ``human_reviews`` are Projections: they can be
  dropped and made again from the Ledger.
* ``jobs``, ``job_checks``, ``trials`` and ``trial_answers`` are this folder's own.

They belong to the same database as ``hanse.core.store.tables``, and a change here is a
migration too.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
)

from hanse.core.store.tables import Bytes, metadata

# --- Projections ----------------------------------------------------------------------------

certificates: Final = Table(
    "certificates",
    metadata,
    Column("cert", Bytes, primary_key=True),
    Column("identity", Bytes, primary_key=True),
    Column("author", Bytes, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("time_ms", Integer, nullable=False),
    Column("artifact", Bytes, nullable=False),
    Column("release", Bytes),
    Column("suite", Text, nullable=False),
    Column("suite_sha256", Bytes, nullable=False),
    Column("known", Boolean(create_constraint=False), nullable=False),  # the suite, to this program
    Column("level", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("golden", Bytes),
    Column("golden_size", Integer),
    Column("reproduces", Bytes),
    Column("verdict", Text),
    Column("quality_failed", Boolean(create_constraint=False), nullable=False),
    Column("isolation", Text, nullable=False),
    Column("machine_class", Text, nullable=False),
    Column("runtime", Text),
    Column("p50_ns", Integer),
    Column("peak_kib", Integer),
    Column("finished_ms", Integer, nullable=False),
    Index("ix_certificates_artifact", "artifact", "time_ms", "cert"),
    Index("ix_certificates_golden", "golden"),
    Index("ix_certificates_identity", "identity", "time_ms", "cert"),
    Index("ix_certificates_newest", "artifact", "identity", "time_ms", "author", "seq"),
    Index("ix_certificates_release", "release", "time_ms", "cert"),
    Index("ix_certificates_reproduces", "reproduces", "time_ms", "cert"),
)

cert_revocations: Final = Table(
    "cert_revocations",
    metadata,
    Column("cert", Bytes, primary_key=True),
    Column("identity", Bytes, primary_key=True),
    Column("entry", Bytes, nullable=False),
    Column("time_ms", Integer, nullable=False),
    Column("author", Bytes, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("text", Text, nullable=False),
    Index("ix_cert_revocations_identity", "identity"),
    sqlite_with_rowid=False,
)

human_reviews: Final = Table(
    "human_reviews",
    metadata,
    Column("release", Bytes, primary_key=True),
    Column("artifact", Bytes, primary_key=True),
    Column("identity", Bytes, primary_key=True),
    Column("entry", Bytes, nullable=False),
    Column("time_ms", Integer, nullable=False),
    Column("author", Bytes, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("conflict", Text, nullable=False),
    Column("paid_by", Text),
    Column("tried", Bytes, nullable=False),
    Column("supersedes", Bytes),
    Column("points", Bytes, nullable=False),
    Column("notes", Text, nullable=False),
    Index("ix_human_reviews_identity", "identity", "time_ms", "entry"),
    Index("ix_human_reviews_release", "release", "artifact", "time_ms", "entry"),
)

# --- This folder's own: jobs ------------------------------------------------------------------

jobs: Final = Table(
    "jobs",
    metadata,
    Column("job", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("paused", Boolean(create_constraint=False), nullable=False),
    Column("priority", Integer, nullable=False),  # the lowest goes first
    Column("artifact", Bytes),
    Column("stage", Text, nullable=False),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("error_code", Text),
    Column("error_values", Text),
    Column("created_ms", Integer, nullable=False),
    Column("updated_ms", Integer, nullable=False),
    Column("request", Bytes, nullable=False),
    Column("result", Bytes),
    Index("ix_jobs_artifact", "artifact", "job"),
    Index("ix_jobs_key", "key", "job"),
    Index("ix_jobs_next", "state", "paused", "priority", "job"),
    sqlite_autoincrement=True,
)

job_checks: Final = Table(
    "job_checks",
    metadata,
    Column("job", Integer, ForeignKey("jobs.job", ondelete="CASCADE"), primary_key=True),
    Column("check_id", Text, primary_key=True),
    Column("place", Integer, nullable=False),
    Column("raw", Bytes, nullable=False),
    Index("ix_job_checks_place", "job", "place"),
    sqlite_with_rowid=False,
)

# --- This folder's own: Trials ----------------------------------------------------------------

trials: Final = Table(
    "trials",
    metadata,
    Column("trial", Bytes, primary_key=True),  # the id of the REQUEST
    Column("role", Text, primary_key=True),
    Column("way", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("counterparty", Bytes, nullable=False),
    Column("listing", Bytes, nullable=False),
    Column("release", Bytes, nullable=False),
    Column("artifact", Bytes, nullable=False),
    Column("runs_used", Integer, nullable=False),
    Column("runs_max", Integer),
    Column("until_ms", Integer),
    Column("last_seen_ms", Integer, nullable=False),
    Column("keys_erased_ms", Integer),
    Column("answers", Integer, nullable=False),
    Column("answers_bytes", Integer, nullable=False),
    Column("input_bytes", Integer, nullable=False),
    Column("created_ms", Integer, nullable=False),
    Column("updated_ms", Integer, nullable=False),
    Column("replayed", Text),
    Column("buyer", Bytes, nullable=False),
    Column("seller", Bytes),
    Column("grant_id", Bytes),
    Column("request", Bytes, nullable=False),
    Column("grant", Bytes),
    Column("refusal", Bytes),
    Column("close", Bytes),
    Column("data", Bytes, nullable=False),
    Index("ix_trials_artifact", "artifact", "role", "state"),
    Index("ix_trials_counterparty", "counterparty", "role", "listing"),
    Index("ix_trials_release", "release", "role", "updated_ms", "trial"),
    Index("ix_trials_state", "role", "state", "updated_ms", "trial"),
    Index("ix_trials_updated", "role", "updated_ms", "trial"),
)

trial_answers: Final = Table(
    "trial_answers",
    metadata,
    Column("trial", Bytes, primary_key=True),
    Column("role", Text, primary_key=True),
    Column("i", Integer, primary_key=True),
    Column("input_hash", Bytes, nullable=False),
    Column("input_bytes", Integer, nullable=False),
    Column("listing", Bytes, nullable=False),
    Column("time_ms", Integer, nullable=False),
    Column("counts", Boolean(create_constraint=False), nullable=False),
    Column("query", Bytes, nullable=False),
    Column("query_sig", Bytes, nullable=False),
    Column("answer", Bytes, nullable=False),
    Column("answer_sig", Bytes, nullable=False),
    ForeignKeyConstraint(["trial", "role"], ["trials.trial", "trials.role"], ondelete="CASCADE"),
    Index("ix_trial_answers_counted", "listing", "role", "counts", "time_ms"),
    Index("ix_trial_answers_input", "trial", "role", "input_hash", unique=True),
)
