"""Certificates and what people think of Releases; jobs and Trials of this folder."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_certification"
down_revision = "0002_publishing"

_CATALOGUE_INDEXES = {
    "ix_catalogue_identity": ["identity", "n"],
    "ix_catalogue_level": ["level", "n"],
    "ix_catalogue_price": ["currency", "price_micro", "n"],
    "ix_catalogue_published": ["published_ms", "n"],
    "ix_catalogue_score": ["score_milli", "n"],
    "ix_catalogue_size": ["size", "n"],
    "ix_catalogue_state": ["state", "n"],
    "ix_catalogue_valid": ["valid_until_ms", "n"],
}
_ADDED = ("cert_failed", "contradicted", "reproduced", "differ", "objections")


def upgrade() -> None:
    """Create the tables of certification, and widen the catalogue; every row keeps its number."""
    _create_projections()
    _widen_catalogue()
    _create_jobs()
    _create_trials()


def _create_projections() -> None:
    op.create_table(
        "certificates",
        sa.Column("cert", sa.LargeBinary, primary_key=True),
        sa.Column("identity", sa.LargeBinary, primary_key=True),
        sa.Column("author", sa.LargeBinary, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("time_ms", sa.Integer, nullable=False),
        sa.Column("artifact", sa.LargeBinary, nullable=False),
        sa.Column("release", sa.LargeBinary),
        sa.Column("suite", sa.Text, nullable=False),
        sa.Column("suite_sha256", sa.LargeBinary, nullable=False),
        sa.Column("known", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("golden", sa.LargeBinary),
        sa.Column("golden_size", sa.Integer),
        sa.Column("reproduces", sa.LargeBinary),
        sa.Column("verdict", sa.Text),
        sa.Column("quality_failed", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("isolation", sa.Text, nullable=False),
        sa.Column("machine_class", sa.Text, nullable=False),
        sa.Column("runtime", sa.Text),
        sa.Column("p50_ns", sa.Integer),
        sa.Column("peak_kib", sa.Integer),
        sa.Column("finished_ms", sa.Integer, nullable=False),
    )
    op.create_index("ix_certificates_artifact", "certificates", ["artifact", "time_ms", "cert"])
    op.create_index("ix_certificates_golden", "certificates", ["golden"])
    op.create_index("ix_certificates_identity", "certificates", ["identity", "time_ms", "cert"])
    op.create_index(
        "ix_certificates_newest",
        "certificates",
        ["artifact", "identity", "time_ms", "author", "seq"],
    )
    op.create_index("ix_certificates_release", "certificates", ["release", "time_ms", "cert"])
    op.create_index("ix_certificates_reproduces", "certificates", ["reproduces", "time_ms", "cert"])
    op.create_table(
        "cert_revocations",
        sa.Column("cert", sa.LargeBinary, primary_key=True),
        sa.Column("identity", sa.LargeBinary, primary_key=True),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sa.Column("time_ms", sa.Integer, nullable=False),
        sa.Column("author", sa.LargeBinary, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_cert_revocations_identity", "cert_revocations", ["identity"])
    op.create_table(
        "human_reviews",
        sa.Column("release", sa.LargeBinary, primary_key=True),
        sa.Column("artifact", sa.LargeBinary, primary_key=True),
        sa.Column("identity", sa.LargeBinary, primary_key=True),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sa.Column("time_ms", sa.Integer, nullable=False),
        sa.Column("author", sa.LargeBinary, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("conflict", sa.Text, nullable=False),
        sa.Column("paid_by", sa.Text),
        sa.Column("tried", sa.LargeBinary, nullable=False),
        sa.Column("supersedes", sa.LargeBinary),
        sa.Column("points", sa.LargeBinary, nullable=False),
        sa.Column("notes", sa.Text, nullable=False),
    )
    op.create_index("ix_human_reviews_identity", "human_reviews", ["identity", "time_ms", "entry"])
    op.create_index(
        "ix_human_reviews_release", "human_reviews", ["release", "artifact", "time_ms", "entry"]
    )


def _widen_catalogue() -> None:
    """Copy the rows over; what the new columns hold is made at the next start."""
    for name in _CATALOGUE_INDEXES:
        op.drop_index(name, "catalogue")
    op.rename_table("catalogue", "catalogue_before")
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
        sa.Column("cert_failed", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("contradicted", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("reproduced", sa.Integer, nullable=False),
        sa.Column("differ", sa.Integer, nullable=False),
        sa.Column("objections", sa.Integer, nullable=False),
        sa.Column("score_milli", sa.Integer),
        sa.Column("reviews", sa.Integer),
        sa.Column("published_ms", sa.Integer, nullable=False),
        sa.Column("updated_ms", sa.Integer, nullable=False),
        sa.Column("valid_until_ms", sa.Integer, nullable=False),
        sa.Column("releases", sa.Integer, nullable=False),
        sa.Column("trial_editions", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    names = [column["name"] for column in sa.inspect(op.get_bind()).get_columns("catalogue_before")]
    held = sa.table("catalogue_before", *(sa.column(name) for name in names))
    wider = sa.table("catalogue", *(sa.column(name) for name in (*names, *_ADDED)))
    nothing = [sa.literal_column("0", sa.Integer) for _ in _ADDED]
    op.execute(sa.insert(wider).from_select([*names, *_ADDED], sa.select(*held.columns, *nothing)))
    # The highest number ever given is remembered, so that none is given twice.
    op.execute("DELETE FROM sqlite_sequence WHERE name = 'catalogue'")
    op.execute("UPDATE sqlite_sequence SET name = 'catalogue' WHERE name = 'catalogue_before'")
    op.drop_table("catalogue_before")
    for name, columns in _CATALOGUE_INDEXES.items():
        op.create_index(name, "catalogue", columns)
    op.create_index("ix_catalogue_artifact", "catalogue", ["artifact", "n"])


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("job", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("paused", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("artifact", sa.LargeBinary),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("error_values", sa.Text),
        sa.Column("created_ms", sa.Integer, nullable=False),
        sa.Column("updated_ms", sa.Integer, nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("result", sa.LargeBinary),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_artifact", "jobs", ["artifact", "job"])
    op.create_index("ix_jobs_key", "jobs", ["key", "job"])
    op.create_index("ix_jobs_next", "jobs", ["state", "paused", "priority", "job"])
    op.create_table(
        "job_checks",
        sa.Column(
            "job", sa.Integer, sa.ForeignKey("jobs.job", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("check_id", sa.Text, primary_key=True),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_job_checks_place", "job_checks", ["job", "place"])


def _create_trials() -> None:
    op.create_table(
        "trials",
        sa.Column("trial", sa.LargeBinary, primary_key=True),
        sa.Column("role", sa.Text, primary_key=True),
        sa.Column("way", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("counterparty", sa.LargeBinary, nullable=False),
        sa.Column("listing", sa.LargeBinary, nullable=False),
        sa.Column("release", sa.LargeBinary, nullable=False),
        sa.Column("artifact", sa.LargeBinary, nullable=False),
        sa.Column("runs_used", sa.Integer, nullable=False),
        sa.Column("runs_max", sa.Integer),
        sa.Column("until_ms", sa.Integer),
        sa.Column("last_seen_ms", sa.Integer, nullable=False),
        sa.Column("keys_erased_ms", sa.Integer),
        sa.Column("answers", sa.Integer, nullable=False),
        sa.Column("answers_bytes", sa.Integer, nullable=False),
        sa.Column("input_bytes", sa.Integer, nullable=False),
        sa.Column("created_ms", sa.Integer, nullable=False),
        sa.Column("updated_ms", sa.Integer, nullable=False),
        sa.Column("replayed", sa.Text),
        sa.Column("buyer", sa.LargeBinary, nullable=False),
        sa.Column("seller", sa.LargeBinary),
        sa.Column("grant_id", sa.LargeBinary),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("grant", sa.LargeBinary),
        sa.Column("refusal", sa.LargeBinary),
        sa.Column("close", sa.LargeBinary),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_trials_artifact", "trials", ["artifact", "role", "state"])
    op.create_index("ix_trials_counterparty", "trials", ["counterparty", "role", "listing"])
    op.create_index("ix_trials_release", "trials", ["release", "role", "updated_ms", "trial"])
    op.create_index("ix_trials_state", "trials", ["role", "state", "updated_ms", "trial"])
    op.create_index("ix_trials_updated", "trials", ["role", "updated_ms", "trial"])
    op.create_table(
        "trial_answers",
        sa.Column("trial", sa.LargeBinary, primary_key=True),
        sa.Column("role", sa.Text, primary_key=True),
        sa.Column("i", sa.Integer, primary_key=True),
        sa.Column("input_hash", sa.LargeBinary, nullable=False),
        sa.Column("input_bytes", sa.Integer, nullable=False),
        sa.Column("listing", sa.LargeBinary, nullable=False),
        sa.Column("time_ms", sa.Integer, nullable=False),
        sa.Column("counts", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("query", sa.LargeBinary, nullable=False),
        sa.Column("query_sig", sa.LargeBinary, nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        sa.Column("answer_sig", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(
            ["trial", "role"], ["trials.trial", "trials.role"], ondelete="CASCADE"
        ),
    )
    op.create_index(
        "ix_trial_answers_counted", "trial_answers", ["listing", "role", "counts", "time_ms"]
    )
    op.create_index(
        "ix_trial_answers_input", "trial_answers", ["trial", "role", "input_hash"], unique=True
    )
