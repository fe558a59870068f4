from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from hanse.core.attest.envelope import sign_envelope
from hanse.core.attest.statement import encode_statement
from hanse.core.attest.suites import SuiteIndex
from hanse.core.attest.verifying import cert_body
from hanse.core.ledger.kinds import ReviewPoint, parse_body
from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.model.ids import EntryId
from hanse.core.store.certificates import RevocationRow
from hanse.core.store.projections import certification
from tests.fakes.author import START_MS, Author
from tests.fakes.certified import GOLDEN, SUITE, statement

NOW_MS = START_MS + 10**8
ARTIFACT = bytes([7]) * 32
MORE = (
    {},
    {"text": "model"},
    {"tasks": ("image-classification",), "sort": "price_up", "currency": "USD"},
)


@pytest.fixture
def seller():
    return Author("seller")


@pytest.fixture
def laptop(seller):
    return seller.device()


@pytest.fixture
def tester(take):
    """Give Devices of people who test, each of an Identity of his own that is held."""

    def tester(name="tester"):
        author = Author(name)
        device = author.device()
        take(*author.root_entries, *device.entries)
        return device

    return tester


@pytest.fixture
def offered(take, seller, laptop):
    """Offer a Listing of ``ARTIFACT``; return Listing and Release."""
    listing = laptop.append("listing/1", laptop.listing())
    release = laptop.append(
        "release/1", laptop.release(listing.entry_id, artifact=ARTIFACT, version="1.0.0")
    )
    price = laptop.append("price/1", laptop.price(listing.entry_id))
    take(*seller.root_entries, *laptop.entries)
    return listing, release, price


@pytest.fixture
def asked(store):
    """Ask one repository in a transaction that changes nothing."""

    def asked(name, *values, **named):
        with store.reads() as reads:
            return getattr(reads.certificates, name)(*values, **named)

    return asked


@pytest.fixture
def shown(store, offered):
    """Give what the catalogue shows of what is offered, the only Listing in it."""
    assert offered

    def shown():
        with store.reads() as reads:
            assert reads.projections.difference() is None
            (row,) = reads.search.query(CatalogueQuery(), now_ms=NOW_MS).rows
        return row

    return shown


def artifact_of(release):
    return parse_body("release/1", release.body).artifact


def found(row):
    return row.level, row.reproduced, row.differ


# --- Certificates ---------------------------------------------------------------------------


def test_a_certificate_is_held_with_what_lists_need_of_it(take, seller, laptop, asked):
    release = EntryId(b"R" * 32)
    cert = laptop.certify(ARTIFACT, release=release, reproduces=(EntryId(b"o" * 32), "agree"))
    take(*seller.root_entries, *laptop.entries)
    row = asked("get", cert.entry_id)
    assert (row.identity, row.author, row.time_ms) == (
        seller.identity,
        laptop.key,
        cert.header.time_ms,
    )
    assert (row.artifact, row.release, row.suite, row.is_known) == (ARTIFACT, release, SUITE, True)
    assert (row.level, row.outcome, row.role, row.quality_failed) == (3, "PASSED", "seller", False)
    assert (row.golden, row.golden_size) == (GOLDEN.sha256, GOLDEN.size)
    assert (row.reproduces, row.verdict) == (EntryId(b"o" * 32), "agree")
    assert (row.isolation, row.machine_class) == ("full", "x86_64-v4/2c")
    assert (row.runtime, row.p50_ns, row.peak_kib) == ("onnxruntime 1.32.0", 121, 3000)
    assert row.finished_ms == START_MS + 70_000
    assert row.revocation is None


def spoilt(feed, stranger, which):
    """Return a Body that does not hold, in one of the ways one can fail to."""
    made = statement(ARTIFACT)
    body = feed.certificate(ARTIFACT)
    match which:
        case "envelope":
            return msgspec.structs.replace(body, envelope=body.envelope[:-2] + b"}}")
        case "signer":
            envelope = sign_envelope(encode_statement(made), stranger.signer)
            return cert_body(envelope, made, bytes(16))
        case "artifact":
            return msgspec.structs.replace(body, artifact=bytes(32))
        case "level":
            return msgspec.structs.replace(body, level=1)
        case "golden":
            return msgspec.structs.replace(body, golden=None)
        case _:  # more than its checks allow
            measured = replace(made.measured, checks=made.measured.checks[:-1])
            made = replace(made, measured=measured)
            envelope = sign_envelope(encode_statement(made), feed.signer)
            return cert_body(envelope, made, bytes(16))


@pytest.mark.parametrize(
    "which", ["envelope", "signer", "artifact", "level", "golden", "more than it may"]
)
def test_what_does_not_hold_is_void_and_changes_nothing(take, laptop, tester, asked, shown, which):
    before = shown()
    entry = laptop.append("cert/1", spoilt(laptop, tester(), which))
    take(entry)
    assert asked("get", entry.entry_id) is None
    assert asked("of_artifact", ARTIFACT) == []
    assert shown() == before


def test_a_certificate_of_an_unknown_suite_is_held_and_counts_for_nothing(
    take, laptop, asked, shown
):
    unknown = laptop.certify(ARTIFACT, suite="core/9.0.0", suite_sha256=bytes(32))
    forged = laptop.certify(ARTIFACT, suite_sha256=bytes([1]) * 32)
    take(unknown, forged)
    assert [row.is_known for row in asked("of_artifact", ARTIFACT)] == [False, False]
    assert asked("newest_by", Author("seller").identity, ARTIFACT) is None
    assert shown().level == 0


def test_a_program_that_knows_another_suite_folds_anew(store, monkeypatch):
    with store.reads() as reads:
        assert not reads.projections.is_outdated()
        monkeypatch.setattr(certification, "bundled", lambda: SuiteIndex(()))
        assert reads.projections.is_outdated()


def test_only_its_issuer_takes_a_certificate_back(take, seller, laptop, tester, asked):
    cert = laptop.certify(ARTIFACT)
    stranger = tester()
    forged = stranger.append("cert-revoke/1", stranger.cert_revocation(cert.entry_id))
    take(*seller.root_entries, *laptop.entries, forged)
    assert asked("revocation_of", cert.entry_id) is None
    revoke = laptop.append("cert-revoke/1", laptop.cert_revocation(cert.entry_id, "wrong_file"))
    take(revoke)
    expected = RevocationRow(revoke.entry_id, revoke.header.time_ms, "wrong_file", "a slip")
    assert asked("get", cert.entry_id).revocation == expected
    assert asked("revocation_of", cert.entry_id) == expected
    assert [row.revocation for row in asked("of_artifact", ARTIFACT)] == [expected]


def test_a_revocation_that_comes_first_counts_once_its_certificate_comes(
    take, seller, laptop, asked
):
    phone = seller.device("phone")
    cert = laptop.certify(ARTIFACT)
    revoke = phone.append("cert-revoke/1", phone.cert_revocation(cert.entry_id))
    take(*seller.root_entries, *phone.entries)
    assert asked("revocation_of", cert.entry_id) is None
    take(*laptop.entries)
    assert asked("revocation_of", cert.entry_id).entry == revoke.entry_id


def test_the_newest_that_was_not_taken_back_counts(take, seller, laptop, asked):
    first = laptop.certify(ARTIFACT, level=2)
    second = laptop.certify(ARTIFACT, level=1)
    take(*seller.root_entries, *laptop.entries)
    assert asked("newest_by", seller.identity, ARTIFACT).cert == second.entry_id
    take(laptop.append("cert-revoke/1", laptop.cert_revocation(second.entry_id)))
    assert asked("newest_by", seller.identity, ARTIFACT).cert == first.entry_id
    assert asked("newest_by", seller.identity, bytes(32)) is None


def test_certificates_come_in_pages_the_newest_first(take, seller, laptop, asked):
    release, other = EntryId(b"R" * 32), EntryId(b"o" * 32)
    certs = [
        laptop.certify(ARTIFACT, release=release, reproduces=(other, "agree")).entry_id
        for _ in range(4)
    ]
    laptop.certify(bytes(32))
    take(*seller.root_entries, *laptop.entries)
    asks = {
        "of_artifact": ARTIFACT,
        "of_release": release,
        "reproductions_of": other,
    }
    for name, of in asks.items():
        first = asked(name, of, limit=3)
        assert [row.cert for row in first] == certs[:0:-1]
        assert [row.cert for row in asked(name, of, first[-1].place)] == certs[:1]
    assert len(asked("by_identity", seller.identity)) == 5
    assert asked("by_identity", seller.identity, limit=1)[0].artifact == bytes(32)


def test_golden_vectors_are_known_as_long_as_a_certificate_names_them(take, seller, laptop, asked):
    cert = laptop.certify(ARTIFACT)
    take(*seller.root_entries, *laptop.entries)
    assert asked("is_golden", GOLDEN.sha256)
    assert not asked("is_golden", bytes(32))
    take(laptop.erase([cert.entry_id]))
    assert not asked("is_golden", GOLDEN.sha256)


# --- human reviews --------------------------------------------------------------------------


def test_of_each_identity_the_newest_review_of_a_release_counts(
    take, tester, offered, asked, shown
):
    _, release, _ = offered
    first, second = tester("first"), tester("second")
    for verdict in ("object", "approve"):
        take(
            first.append("human-review/1", first.human_review(release.entry_id, ARTIFACT, verdict))
        )
    objection = second.append(
        "human-review/1",
        second.human_review(
            release.entry_id,
            ARTIFACT,
            "object",
            points=(ReviewPoint("no", "not what it says"),) * 8,
            notes="I tried it.",
            conflict="paid",
            paid_by="a rival",
            tried=(bytes(32),),
            supersedes=EntryId(bytes(32)),
        ),
        time_ms=START_MS + 50_000,
    )
    take(objection)
    newest, older = asked("human_reviews_of", release.entry_id)
    assert older.verdict == "approve"
    assert newest.entry == objection.entry_id
    assert (newest.verdict, newest.conflict, newest.paid_by) == ("object", "paid", "a rival")
    assert newest.points == (ReviewPoint("no", "not what it says"),) * 8
    assert (newest.notes, newest.tried, newest.supersedes) == (
        "I tried it.",
        (bytes(32),),
        bytes(32),
    )
    assert asked("human_reviews_of", release.entry_id, limit=1) == [newest]
    assert asked("human_reviews_of", release.entry_id, newest.place) == [older]
    assert asked("human_review_by", older.identity, release.entry_id, ARTIFACT) == older
    assert asked("human_reviews_by", newest.identity) == [newest]
    assert shown().objections == 1


def test_a_review_of_another_artifact_or_release_is_not_shown(take, tester, offered, asked, shown):
    _, release, _ = offered
    other = tester()
    take(
        other.append("human-review/1", other.human_review(release.entry_id, bytes(32), "object")),
        other.append("human-review/1", other.human_review(EntryId(bytes(32)), ARTIFACT, "object")),
    )
    assert asked("human_reviews_of", release.entry_id) == []
    assert asked("human_reviews_of", EntryId(bytes(32))) == []
    assert shown().objections == 0


def test_a_seller_does_not_object_to_what_he_sells(take, laptop, offered, shown):
    _, release, _ = offered
    take(laptop.append("human-review/1", laptop.human_review(release.entry_id, ARTIFACT, "object")))
    assert shown().objections == 0


# --- what the catalogue makes of it -----------------------------------------------------------


def test_the_level_is_that_of_the_sellers_newest_certificate(take, laptop, shown):
    assert found(shown()) == (0, 0, 0)
    take(laptop.certify(ARTIFACT, level=2))
    assert shown().level == 2
    better = laptop.certify(ARTIFACT, level=3)
    take(better)
    assert shown().level == 3
    take(laptop.append("cert-revoke/1", laptop.cert_revocation(better.entry_id)))
    assert shown().level == 2


def test_a_certificate_of_another_artifact_or_another_person_gives_no_level(
    take, laptop, tester, shown
):
    take(laptop.certify(bytes(32)), tester().certify(ARTIFACT))
    assert found(shown()) == (0, 0, 0)


def test_a_certificate_that_failed_says_so_and_gives_no_level(take, laptop, shown):
    take(laptop.certify(ARTIFACT, level=1, fails="run.load"))
    row = shown()
    assert (row.level, row.cert_failed, row.contradicted) == (0, True, False)
    take(laptop.certify(ARTIFACT, level=2))
    assert (shown().level, shown().cert_failed) == (2, False)


def test_the_level_follows_the_release_that_is_shown(take, laptop, offered, shown):
    listing, _, _ = offered
    take(laptop.certify(ARTIFACT))
    take(laptop.append("release/1", laptop.release(listing.entry_id, version="2.0.0")))
    assert shown().level == 0
    take(laptop.certify(shown().artifact, level=1))
    assert shown().level == 1


@pytest.mark.parametrize(("agree", "differ", "level"), [(2, 0, 3), (3, 0, 4), (4, 1, 3), (5, 1, 4)])
def test_enough_others_who_found_the_same_make_it_level_four(
    take, laptop, tester, shown, agree, differ, level
):
    cert = laptop.certify(ARTIFACT)
    take(cert)
    for n in range(agree + differ):
        verdict = "agree" if n < agree else "differ"
        take(tester(n).certify(ARTIFACT, reproduces=(cert.entry_id, verdict), role="tester"))
    assert found(shown()) == (level, agree, differ)


def test_nobody_counts_twice_and_nobody_for_himself(take, laptop, tester, shown):
    cert = laptop.certify(ARTIFACT)
    other = tester()
    take(cert, laptop.certify(ARTIFACT, reproduces=(cert.entry_id, "agree")))
    for verdict in ("agree", "differ", "agree"):
        take(other.certify(ARTIFACT, reproduces=(cert.entry_id, verdict)))
    assert found(shown()) == (3, 1, 0)
    own = other.certify(ARTIFACT)
    take(own, other.certify(ARTIFACT, reproduces=(own.entry_id, "agree")))
    assert found(shown()) == (3, 0, 0)


def test_what_was_compared_with_something_that_does_not_count_does_not_count(
    take, laptop, tester, shown
):
    cert = laptop.certify(ARTIFACT)
    elsewhere = laptop.certify(bytes(32))
    unknown = laptop.certify(ARTIFACT, suite="core/9.0.0", suite_sha256=bytes(32))
    take(cert, elsewhere, unknown)
    for n, reference in enumerate((EntryId(b"x" * 32), elsewhere.entry_id, unknown.entry_id)):
        take(tester(n).certify(ARTIFACT, reproduces=(reference, "agree")))
    assert found(shown()) == (3, 0, 0)
    take(tester("late").certify(ARTIFACT, reproduces=(cert.entry_id, "agree")))
    assert found(shown()) == (3, 1, 0)
    take(laptop.append("cert-revoke/1", laptop.cert_revocation(cert.entry_id)))
    assert found(shown()) == (0, 0, 0)


def test_a_failing_certificate_is_not_raised_by_those_who_found_the_same(
    take, laptop, tester, shown
):
    cert = laptop.certify(ARTIFACT, level=2, fails="quality.accuracy")
    take(cert)
    for n in range(3):
        take(tester(n).certify(ARTIFACT, reproduces=(cert.entry_id, "agree")))
    assert found(shown()) == (0, 3, 0)


def test_a_claim_that_was_measured_lower_by_anybody_is_shown_and_found(
    store, take, laptop, tester, shown
):
    def hits(**values):
        with store.reads() as reads:
            return reads.search.query(CatalogueQuery(**values), now_ms=NOW_MS).count

    take(laptop.certify(ARTIFACT))
    asked = [{"contradicted": flag, **more} for flag in (True, False) for more in MORE]
    assert [hits(**values) for values in asked] == [0, 0, 0, 1, 1, 1]
    take(tester().certify(ARTIFACT, level=2, fails="quality.accuracy", role="tester"))
    row = shown()
    assert (row.level, row.contradicted, row.cert_failed) == (3, True, False)
    assert [hits(**values) for values in asked] == [1, 1, 1, 0, 0, 0]


def test_levels_are_filtered_sorted_and_counted(store, take, seller, laptop):
    levels = (2, 0, 3, 1)
    for level in levels:
        _, release, _ = laptop.publish(f"level {level}")
        if level:
            laptop.certify(artifact_of(release), level=level)
    take(*seller.root_entries, *laptop.entries)
    with store.reads() as reads:
        by_level = CatalogueQuery(sort="level")
        page = reads.search.query(by_level, now_ms=NOW_MS)
        assert [row.level for row in page.rows] == [3, 2, 1, 0]
        assert reads.search.query(CatalogueQuery(level_min=2), now_ms=NOW_MS).count == 2
        counts = reads.search.facets(CatalogueQuery(), now_ms=NOW_MS).counts["level"]
        assert {it.value: it.listings for it in counts} == dict.fromkeys("0123", 1)


def test_a_listing_keeps_its_number_when_it_is_judged(take, laptop, tester, shown):
    before = shown()
    take(laptop.certify(ARTIFACT), tester().certify(ARTIFACT, level=2, fails="quality.accuracy"))
    after = shown()
    assert (after.n, after.updated_ms) == (before.n, before.updated_ms)
    assert after.level == 3


def test_what_an_identity_lost_is_taken_out_of_all_it_judged(take, laptop, offered, shown):
    cert = laptop.certify(ARTIFACT)
    take(cert)
    thief = Author("thief")
    phone = thief.device()
    judged = [
        phone.certify(ARTIFACT, reproduces=(cert.entry_id, "differ")),
        phone.append("human-review/1", phone.human_review(offered[1].entry_id, ARTIFACT, "object")),
    ]
    take(*thief.root_entries, phone.entries[0], *judged)
    assert (shown().differ, shown().objections) == (1, 1)
    take(thief.revoke(phone, 1, reason="stolen"))
    assert (shown().differ, shown().objections) == (0, 0)
