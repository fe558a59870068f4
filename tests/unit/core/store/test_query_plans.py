"""Queries that run often sort by an index: SQLite says how it would run each of them."""

from __future__ import annotations

import pytest
from sqlalchemy import event
from sqlalchemy.dialects.sqlite import dialect

from hanse.core.store import (
    arrivals,
    catalogue_rows,
    certificates,
    drafts,
    feed_reads,
    folding,
    forks,
    intake,
    jobs,
    listings,
    mailbox,
    objects,
    outbox,
    parked,
    peers,
    projection_reads,
    public_names,
    rehash,
    searches,
    traffic,
    transfers,
    trial_answers,
    trials,
)

HOT = {
    "feed of author": feed_reads.FEED_OF_AUTHOR,
    "feed of number": feed_reads.FEED_OF_NUMBER,
    "feeds of identity": feed_reads.FEEDS_OF_IDENTITY,
    "all feeds": feed_reads.ALL_FEEDS,
    "heads": feed_reads.HEADS,
    "entry of id": feed_reads.ENTRY_OF_ID,
    "entry at": feed_reads.ENTRY_AT,
    "entries from": feed_reads.ENTRIES_FROM,
    "id at": feed_reads.ID_AT,
    "ids from": feed_reads.IDS_FROM,
    "arrived after": feed_reads.ARRIVED_AFTER,
    "newest": feed_reads.NEWEST,
    "of kind in feed": feed_reads.OF_KIND_IN_FEED,
    "scan": feed_reads.SCAN,
    "scan feed": feed_reads.SCAN_FEED,
    "known": feed_reads.KNOWN,
    "branch ids": feed_reads.BRANCH_IDS,
    "branch entries": feed_reads.BRANCH_ENTRIES,
    "forks of author": forks.FORKS_OF_AUTHOR,
    "all forks": forks.ALL_FORKS,
    "outbox due": outbox.DUE,
    "deliveries due": outbox.DELIVERIES_DUE,
    "waiting for": outbox.WAITING_FOR,
    "next delivery": outbox.NEXT_DELIVERY,
    "deliveries before": outbox.DELIVERIES_BEFORE,
    "mailbox items after": mailbox.ITEMS_AFTER,
    "mailbox item of id": mailbox.ITEM_OF_ID,
    "parked of id": parked.PARKED_OF_ID,
    "parked at": parked.PARKED_AT,
    "parked of author": parked.PARKED_OF_AUTHOR,
    "parked of prev": parked.PARKED_OF_PREV,
    "parked by reason": parked.PARKED_BY_REASON,
    "oldest parked": parked.OLDEST,
    "oldest parked of author": parked.OLDEST_OF_AUTHOR,
    "peer of device": peers.OF_DEVICE,
    "peer is kept": peers.IS_KEPT,
    "to erase": folding.TO_ERASE,
    "erased": folding.ERASED,
    "has erased": folding.HAS_ERASED,
    "follows of": projection_reads.FOLLOWS_OF,
    "opened listings": catalogue_rows.OPENED,
    "releases of opened": catalogue_rows.RELEASES_OF_OPENED,
    "prices of opened": catalogue_rows.PRICES_OF_OPENED,
    "renewals of opened": catalogue_rows.RENEWALS_OF_OPENED,
    "held in the catalogue": catalogue_rows.HELD,
    "all not held": catalogue_rows.ALL_NOT_HELD,
    "not held of identity": catalogue_rows.NOT_HELD_OF_IDENTITY,
    "all held": catalogue_rows.ALL_HELD,
    "held of identity": catalogue_rows.HELD_OF_IDENTITY,
    "docs after": catalogue_rows.DOCS_AFTER,
    "facets of": catalogue_rows.FACETS_OF,
    "card named": public_names.CARD_NAMED,
    "artifact named": public_names.ARTIFACT_NAMED,
    "avatar named": public_names.AVATAR_NAMED,
    "released by": public_names.RELEASED_BY,
    "transfer of": transfers.TRANSFER_OF,
    "title of": transfers.TITLE_OF,
    "traffic of": traffic.TRAFFIC_OF,
    "listing of id": listings.LISTING_OF_ID,
    "renewal of": listings.RENEWAL_OF,
    "releases newest": listings.RELEASES_NEWEST,
    "releases before": listings.RELEASES_BEFORE,
    "newest full release": listings.NEWEST_FULL,
    "release of id": listings.RELEASE_OF_ID,
    "prices of": listings.PRICES_OF,
    "listings of identity": listings.OF_IDENTITY,
    "listings by artifact": listings.BY_ARTIFACT,
    "listings between": listings.LISTINGS_BETWEEN,
    "releases between": listings.RELEASES_BETWEEN,
    "draft of id": drafts.DRAFT_OF_ID,
    "drafts before": drafts.DRAFTS_BEFORE,
    "drafts of artifact": drafts.DRAFTS_OF_ARTIFACT,
    "objects after": objects.OBJECTS_AFTER,
    "uses of object": objects.USES_OF,
    "objects of artifact": objects.OF_ARTIFACT,
    "usage": objects.USAGE,
    "least seeded": objects.LEAST_SEEDED,
    "manifests of": objects.MANIFESTS_OF,
    "manifest of release": objects.MANIFEST_OF_RELEASE,
    "manifests after": objects.MANIFESTS_AFTER,
    "search of name": searches.SEARCH_OF_NAME,
    "showing an artifact": catalogue_rows.SHOWING_ARTIFACT,
    "listings of releases": catalogue_rows.LISTINGS_OF_RELEASES,
    "certificate of id": certificates.CERT_OF_ID,
    "certificates between": certificates.CERTS_BETWEEN,
    "certificates of artifact": certificates.CERTS_OF_ARTIFACT,
    "certificates of release": certificates.CERTS_OF_RELEASE,
    "certificates by identity": certificates.CERTS_BY_IDENTITY,
    "reproductions": certificates.REPRODUCTIONS,
    "newest certificate by": certificates.NEWEST_BY,
    "is golden": certificates.IS_GOLDEN,
    "artifacts of certificates": certificates.ARTIFACTS_OF_CERTS,
    "artifacts of identity": certificates.ARTIFACTS_OF_IDENTITY,
    "artifact of release": certificates.ARTIFACT_OF_RELEASE,
    "human reviews of": certificates.REVIEWS_OF,
    "human reviews by identity": certificates.REVIEWS_BY_IDENTITY,
    "human review by": certificates.REVIEW_BY,
    "verdicts of releases": certificates.VERDICTS_OF_RELEASES,
    "releases reviewed by": certificates.RELEASES_REVIEWED_BY,
    "job of id": jobs.JOB_OF_ID,
    "job of key": jobs.JOB_OF_KEY,
    "next queued": jobs.NEXT_QUEUED,
    "jobs before": jobs.JOBS_BEFORE,
    "jobs of artifact": jobs.JOBS_OF_ARTIFACT,
    "jobs under way": jobs.JOBS_UNDER_WAY,
    "open jobs": jobs.OPEN_JOBS,
    "finished checks": jobs.FINISHED_CHECKS,
    "checks kept": jobs.CHECKS_KEPT,
    "oldest job kept": jobs.OLDEST_KEPT,
    "trial of id": trials.TRIAL_OF_ID,
    "trials before": trials.TRIALS_BEFORE,
    "trials in state": trials.TRIALS_IN_STATE,
    "trials of release": trials.TRIALS_OF_RELEASE,
    "trials held": trials.TRIALS_HELD,
    "artifact on trial": trials.ARTIFACT_ON_TRIAL,
    "answers to": trial_answers.ANSWERS_TO,
    "answer at": trial_answers.ANSWER_AT,
    "answer of input": trial_answers.ANSWER_OF_INPUT,
    "inputs of": trial_answers.INPUTS_OF,
    "answers after": trial_answers.ANSWERS_AFTER,
    "last answer": trial_answers.LAST_ANSWER,
    "answers since": trial_answers.ANSWERS_SINCE,
    "arrived": arrivals.ARRIVED,
    "arrived late": arrivals.ARRIVED_LATE,
    "heads of all": arrivals.HEADS_OF_ALL,
    "heads of numbers": arrivals.HEADS_OF_NUMBERS,
    "heads of authors": arrivals.HEADS_OF_AUTHORS,
    "branches of": arrivals.BRANCHES_OF,
    "number at": arrivals.N_AT,
    "shown": arrivals.SHOWN,
    "shown on branches": arrivals.SHOWN_ON_BRANCHES,
    "bodies of": arrivals.BODIES_OF,
    "bodies on branches": arrivals.BODIES_ON_BRANCHES,
    "missing bodies": arrivals.MISSING,
    "missing between": arrivals.MISSING_BETWEEN,
    "missing on branches": arrivals.MISSING_ON_BRANCHES,
    "feeds with branches": arrivals.FEEDS_WITH_BRANCHES,
    "naming an entry": arrivals.NAMING,
    "dropped feeds": arrivals.DROPPED,
    "muted": intake.WAITING,
    "muted of a sort": intake.IS_WAITING,
    "rehash": rehash._ENTRIES,
    "rehash branches": rehash._BRANCHES,
}
# Of each Identity the newest is found along an index; SQLite calls reading that a scan.
PLACED = {"certificates that count": certificates.COUNTING}
# The whole table, in the order it lies on disk and never more than a page of it.
WALKS = {"oldest parked"}


def plan_of(store, statement):
    binds = statement.compile(dialect=dialect()).binds
    values = {
        key: [b"a", b"b"] if bind.expanding else 1
        for key, bind in binds.items()
        if bind.required or bind.expanding
    }
    sent = []
    with store.reads() as reads:
        connection = reads._connection

        @event.listens_for(connection, "before_cursor_execute")
        def _(_connection, _cursor, sql, parameters, _context, _executemany):
            sent.append((sql, parameters))

        connection.execute(statement, values).all()
        ((sql, parameters),) = sent
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)
        return [row.detail for row in rows]


@pytest.mark.parametrize("name", HOT)
def test_a_hot_query_searches_by_an_index_and_sorts_by_it(store, name):
    plan = plan_of(store, HOT[name])
    assert not [step for step in plan if "TEMP B-TREE" in step], plan
    if name not in WALKS:
        assert not [step for step in plan if step.startswith("SCAN")], plan
        assert [step for step in plan if step.startswith("SEARCH")], plan


@pytest.mark.parametrize("name", PLACED)
def test_rows_are_placed_along_an_index(store, name):
    plan = plan_of(store, PLACED[name])
    assert not [step for step in plan if "TEMP B-TREE" in step], plan
    scans = [step for step in plan if step.startswith("SCAN") and not step.startswith("SCAN (")]
    assert scans == ["SCAN placed"], plan
    assert [step for step in plan if "ix_certificates_newest" in step], plan


def test_missing_bodies_are_found_without_passing_those_that_are_here(store):
    plan = plan_of(store, arrivals.MISSING)
    assert [step for step in plan if "ix_entries_missing" in step], plan


def test_a_query_without_an_index_would_be_noticed(store):
    with store.reads() as reads:
        rows = reads._connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT n FROM entries ORDER BY time_ms"
        )
        assert any("TEMP B-TREE" in row.detail for row in rows)
