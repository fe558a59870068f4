"""What a seller claims, testers measure, and everybody signs and counts for himself."""

from __future__ import annotations

import csv
import io
import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec
import pytest

from hanse.core.attest.faults import BadStatement
from hanse.core.certify.data import DataMapping
from hanse.core.certify.golden import GoldenVectors, read_golden, write_golden
from hanse.core.engine.auditing import verify_file
from hanse.core.engine.certificates import AlreadyRevoked, NotYourCertificate
from hanse.core.engine.certify_data import written_mapping
from hanse.core.engine.certifying import NotTested
from hanse.core.engine.human_reviews import Point, PointsMissing, Review, ReviewsItself
from hanse.core.engine.suite_runs import NothingToReproduce
from hanse.core.errors import HanseError
from hanse.core.ledger.kinds import CertRevoke1
from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.market.samples import sample_model
from hanse.core.model.card import CHECKLIST
from hanse.core.model.control import Control
from hanse.core.model.running import NoSandbox
from hanse.core.sentences import LANGUAGES, say
from tests.fakes.people import Person
from tests.fakes.shop import body_of, check_whole, publish, said, seller
from tests.fakes.testers import (
    bring,
    carry_golden,
    certify,
    draft_with,
    hold,
    open_with,
    publish_draft,
    sign_altered,
    sign_job,
    take,
)
from tests.fakes.trial_shop import in_process
from tests.hostile.case import MARKER
from tests.hostile.header_models import row as tensor_row
from tests.hostile.header_models import safetensors
from tests.hostile.pickled_models import pickles

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.engine.engine import Engine
    from hanse.core.engine.publishing import PublishedView
    from hanse.core.model.ids import EntryId
    from tests.fakes.running import FakeRunner

SAMPLE = "diagnosis"
TESTERS = ("bert", "carl", "dora")
ACCURACY, LOW, HIGH = 975_000, 942_822, 989_275  # of 200 rows that ship with the sample


@dataclass
class Fair:
    """Anna sells a model that she certified; three others found the same."""

    base: Path
    engines: dict[str, Engine]
    published: PublishedView
    certs: dict[str, EntryId]
    feeds: dict[str, Path]

    @property
    def anna(self) -> Engine:
        return self.engines["anna"]


@pytest.fixture(scope="module")
def fair(tmp_path_factory):
    base = tmp_path_factory.mktemp("fair")
    anna = seller(base)
    with ExitStack() as stack:
        engines = {"anna": stack.enter_context(open_with(anna))}
        for name in TESTERS:
            person = Person.make(base, name, anna.clock)
            runner = None if name == "bert" else in_process(SAMPLE)  # one Worker shows it
            engines[name] = stack.enter_context(open_with(person, runner))
        a = engines["anna"]
        rows = sample_model(SAMPLE).rows()
        draft = draft_with(a, base, SAMPLE, "certified", rows=rows, untested=False)
        published = publish_draft(a, draft.draft_id)
        view = certify(a, published.artifact, published.release)
        certs = {"anna": sign_job(a, view)}
        feeds = {"anna": bring(a, base, *(engines[name] for name in TESTERS))}
        for name in TESTERS:
            engine = engines[name]
            hold(a, engine, published.release)
            carry_golden(a, engine, certs["anna"])
            asked = {"level_most": 2, "reproduces": certs["anna"]}
            found = certify(engine, published.artifact, published.release, **asked)
            certs[name] = sign_job(engine, found)
            feeds[name] = bring(engine, base)
        yield Fair(base, engines, published, certs, feeds)


@contextmanager
def newcomer(fair, base, name, *feeds, runner=None):
    """Open an Account that holds the Feeds of these people as they were at the fair."""
    person = Person.make(base, name, fair.anna.context.clock)
    with open_with(person, runner) as engine:
        take(engine, *(fair.feeds[one] for one in feeds))
        yield engine


@pytest.fixture(scope="module")
def emil(fair, tmp_path_factory):
    """Somebody who holds what Anna signed and her card, and nothing of the others."""
    with newcomer(fair, tmp_path_factory.mktemp("emil"), "emil", "anna") as engine:
        body = body_of(fair.anna, fair.published.release)
        engine.content.small.put(fair.anna.content.object(body.card))
        yield engine


def together(engine, fair):
    return engine.certificates.of_release(fair.published.release)


def count(engine, fair):
    return together(engine, fair).reproduction


def listed(engine, seller, **query):
    asked = CatalogueQuery(identity=seller.context.identity, **query)
    return [row.title for row in engine.catalogue.search(asked).rows]


def row_of(engine, listing):
    rows = engine.catalogue.search(CatalogueQuery()).rows
    return next(row for row in rows if row.listing == listing)


# --- seen by others -----------------------------------------------------------------------------


def test_what_a_seller_measured_stands_beside_what_he_claims_on_another_machine(fair, emil):
    seen = together(emil, fair)
    newest = seen.rows[0]
    assert (newest.cert, newest.level, newest.outcome) == (fair.certs["anna"], 3, "PASSED")
    assert (newest.role, newest.suite, newest.isolation) == ("seller", "quick/1.0.0", "full")
    assert seen.names[bytes(newest.identity)] == "anna"
    assert not emil.certificates.show(newest.cert).is_own
    accuracy = next(one for one in seen.claims if one.metric == "accuracy")
    assert (accuracy.claimed_micro, accuracy.measured_micro) == (ACCURACY, ACCURACY)
    assert (accuracy.low_micro, accuracy.high_micro, accuracy.n) == (LOW, HIGH, 200)
    on_the_rows = [one for one in seen.claims if one.dataset == "sample.csv"]
    assert {one.relation for one in on_the_rows} == {"within"}
    assert {one.metric for one in on_the_rows} == {"accuracy", "recall", "specificity", "roc_auc"}
    check_whole(emil)


def test_the_certificate_of_the_gate_came_first_and_is_superseded(fair, emil):
    newest, first = together(emil, fair).rows
    assert (first.level, first.suite) == (2, "core/1.0.0")
    shown = emil.certificates.show(newest.cert).certificate.statement
    assert shown.supersedes == first.cert
    assert shown.release == fair.published.release
    with emil.context.store.reads() as reads:
        counts = reads.certificates.newest_by(first.identity, first.artifact)
    assert counts.cert == newest.cert


def test_a_certificate_written_out_proves_itself_and_one_changed_byte_is_named(
    fair, emil, tmp_path
):
    path = tmp_path / "anna.hanse-cert"
    emil.certificates.export(fair.certs["anna"], path)
    report = verify_file(path, fair.anna.context.clock.now_ms())
    assert report.holds
    told = json.loads(path.read_bytes())
    told["envelope"]["payload"] = told["envelope"]["payload"].replace("A", "B", 1)
    path.write_text(json.dumps(told))
    with pytest.raises(BadStatement) as caught:
        verify_file(path, fair.anna.context.clock.now_ms())
    said(caught.value)


def test_the_catalogue_has_the_level_as_a_column_a_facet_and_a_filter(fair, emil):
    row = row_of(emil, fair.published.listing)
    assert (row.level, row.reproduced, row.differ, row.contradicted) == (3, 0, 0, False)
    assert listed(emil, fair.anna, level_min=3) == [row.title]
    assert listed(emil, fair.anna, level_min=4) == []
    anna = CatalogueQuery(identity=fair.anna.context.identity)
    counts = emil.catalogue.facets(anna).counts["level"]
    assert [(one.value, one.listings) for one in counts] == [("3", 1)]


# --- found again by others ----------------------------------------------------------------------


def test_others_who_found_the_same_are_counted_and_three_make_level_four(fair, tmp_path):
    with newcomer(fair, tmp_path, "theo", "anna", "bert", "carl") as theo:
        found = count(theo, fair)
        assert (found.agree, found.differ, found.not_comparable, found.level) == (2, 0, 0, 3)
        assert not found.is_weighted
        row = row_of(theo, fair.published.listing)
        assert (row.level, row.reproduced) == (3, 2)
        take(theo, fair.feeds["dora"])
        found = count(theo, fair)
        assert (found.agree, found.level, found.is_weighted) == (3, 4, False)
        row = row_of(theo, fair.published.listing)
        assert (row.level, row.reproduced) == (4, 3)
        assert listed(theo, fair.anna, level_min=4) == [row.title]
        check_whole(theo)


def test_whoever_follows_people_weighs_what_they_found(fair, tmp_path):
    with newcomer(fair, tmp_path, "ute", "anna", *TESTERS) as ute:
        ute.catalogue.follow(fair.anna.context.identity, 1)
        found = count(ute, fair)  # of strangers alone
        assert (found.is_weighted, found.agree, found.agree_milli) == (True, 3, 0)
        assert found.level == 3
        ute.catalogue.follow(fair.engines["bert"].context.identity, 1)
        ute.catalogue.follow(fair.engines["carl"].context.identity, 3)
        found = count(ute, fair)
        assert (found.is_weighted, found.agree, found.agree_milli) == (True, 3, 4000)
        assert found.level == 4


def test_every_output_was_compared_and_what_was_found_is_signed(fair):
    for name in TESTERS:
        engine = fair.engines[name]
        shown = engine.certificates.show(fair.certs[name]).certificate.statement
        assert shown.reproduces.entry == fair.certs["anna"]
        assert (shown.reproduces.verdict, shown.reproduces.failing) == ("agree", 0)
        assert shown.reproduces.compared == 8
        assert (shown.role, shown.level) == ("tester", 2)


def test_a_sellers_own_second_look_is_no_reproduction(desk):
    published = desk.offer("looked at twice")
    _, first = desk.certified(published, level_most=2)
    view, second = desk.certified(published, level_most=2, reproduces=first)
    assert view.tested.reproduces.verdict == "agree"
    seen = desk.engine.certificates.of_release(published.release)
    assert (seen.rows[0].cert, seen.rows[0].verdict) == (second, "agree")
    assert (seen.reproduction.agree, seen.reproduction.level) == (0, 2)


def test_what_cannot_be_compared_says_why(fair, tmp_path):
    with newcomer(fair, tmp_path, "gust", "anna", runner=in_process(SAMPLE)) as gust:
        hold(fair.anna, gust, fair.published.release)
        asked = {"level_most": 2, "reproduces": fair.certs["anna"]}
        view = certify(gust, fair.published.artifact, fair.published.release, **asked)
        found = view.tested.reproduces
        assert (found.verdict, found.reason) == ("not_comparable", "vectors_missing")
        sign_job(gust, view)
        counted = count(gust, fair)
        assert (counted.agree, counted.not_comparable, counted.level) == (0, 1, 3)
        carry_golden(fair.anna, gust, fair.certs["anna"])
        asked["suite"] = "core"
        view = certify(gust, fair.published.artifact, fair.published.release, **asked)
        found = view.tested.reproduces
        assert (found.verdict, found.reason) == ("not_comparable", "suite")


def test_a_machine_that_gives_other_answers_differs(fair, tmp_path):
    def shifted(made):
        return {name: one * 0.9 if name == "probabilities" else one for name, one in made.items()}

    runner = in_process(SAMPLE, shifted)
    with newcomer(fair, tmp_path, "fritz", "anna", "bert", runner=runner) as fritz:
        hold(fair.anna, fritz, fair.published.release)
        carry_golden(fair.anna, fritz, fair.certs["anna"])
        asked = {"level_most": 2, "reproduces": fair.certs["anna"]}
        view = certify(fritz, fair.published.artifact, fair.published.release, **asked)
        found = view.tested.reproduces
        assert (found.verdict, found.failing, found.compared) == ("differ", 8, 8)
        assert found.max_abs_nano > 1_000_000
        sign_job(fritz, view)
        counted = count(fritz, fair)
        assert (counted.agree, counted.differ) == (1, 1)
        row = row_of(fritz, fair.published.listing)
        assert (row.reproduced, row.differ) == (1, 1)


def test_golden_vectors_that_were_made_up_are_found_out_by_whoever_runs_them(fair, tmp_path):
    """Carl signs outputs the model never gave; whoever runs his inputs differs."""
    carl, dora, published = fair.engines["carl"], fair.engines["dora"], fair.published
    view = certify(carl, published.artifact, published.release, level_most=2)
    true = read_golden(carl.content.object(view.tested.golden))
    vectors = (
        replace(
            one,
            outputs={
                name: array + 1 if array.dtype.kind == "f" else array
                for name, array in one.outputs.items()
            },
        )
        for one in true.vectors
    )
    made_up = write_golden(GoldenVectors(tuple(vectors)))
    digest = carl.content.small.put(made_up)

    def lie(tested):
        golden = replace(tested.measured.golden, sha256=digest, size=len(made_up))
        return replace(tested, golden=digest, measured=replace(tested.measured, golden=golden))

    lied = sign_altered(carl, view, lie)
    bring(carl, tmp_path, dora)
    carry_golden(carl, dora, lied)
    found = certify(dora, published.artifact, published.release, level_most=2, reproduces=lied)
    assert found.tested.reproduces.verdict == "differ"
    assert found.tested.reproduces.max_abs_nano == pytest.approx(10**9, rel=0.01)


def test_a_certificate_nobody_sent_cannot_be_reproduced(fair, emil):
    hold(fair.anna, emil, fair.published.release)
    with pytest.raises(NothingToReproduce) as caught:
        certify(emil, fair.published.artifact, fair.published.release, reproduces=bytes(32))
    said(caught.value)
    job = emil.certifying.jobs()[0]
    assert (job.row.state.value, job.row.error_code) == ("FAILED", "certify.unknown_certificate")
    with pytest.raises(NotTested) as unsigned:
        emil.certifying.preview(job.row.job)
    said(unsigned.value)


# --- taken back ---------------------------------------------------------------------------------


def test_what_was_taken_back_is_struck_through_and_counts_nowhere(fair, tmp_path):
    dora, cert = fair.engines["dora"], fair.certs["dora"]
    with newcomer(fair, tmp_path, "vera", "anna", *TESTERS) as vera:
        assert (count(vera, fair).agree, count(vera, fair).level) == (3, 4)
        assert row_of(vera, fair.published.listing).level == 4
        preview = dora.certificates.revoke(cert, "machine_fault", "The memory was bad.")
        dora.certificates.sign(preview)
        bring(dora, tmp_path, vera)
        shown = next(row for row in together(vera, fair).rows if row.cert == cert)
        assert shown.revocation.reason == "machine_fault"
        assert shown.revocation.text == "The memory was bad."
        assert (count(vera, fair).agree, count(vera, fair).level) == (2, 3)
        row = row_of(vera, fair.published.listing)
        assert (row.level, row.reproduced) == (3, 2)
        with pytest.raises(AlreadyRevoked) as caught:
            dora.certificates.revoke(cert, "mistake", "")
        said(caught.value)
        check_whole(vera)


def test_a_revocation_that_arrives_before_its_certificate_counts(fair, tmp_path):
    person = Person.make(tmp_path, "rosa", fair.anna.context.clock)
    with open_with(person, in_process(SAMPLE)) as first:
        take(first, fair.feeds["anna"])
        hold(fair.anna, first, fair.published.release)
        view = certify(first, fair.published.artifact, fair.published.release, level_most=2)
        cert = sign_job(first, view)
        whole = bring(first, tmp_path)
    again, _ = person.restore_to(tmp_path / "elsewhere", whole)
    with again.open() as second, newcomer(fair, tmp_path, "xenia", "anna") as xenia:
        second.certificates.sign(second.certificates.revoke(cert, "wrong_file", ""))
        revoked = tmp_path / "second.hanse-feed"
        second.ledger.export(revoked, authors=[second.context.device])
        take(xenia, revoked)
        assert [row.cert for row in together(xenia, fair).rows if row.role == "tester"] == []
        take(xenia, whole)
        (shown,) = [row for row in together(xenia, fair).rows if row.cert == cert]
        assert shown.revocation.reason == "wrong_file"
        check_whole(xenia)


def test_nobody_takes_back_what_another_signed(fair, emil):
    with pytest.raises(NotYourCertificate) as caught:
        emil.certificates.revoke(fair.certs["anna"], "mistake", "")
    said(caught.value)
    context = emil.context
    with context.store.unit_of_work() as uow:  # a program that does not ask
        body = CertRevoke1(
            salt=context.body_salt(), cert=fair.certs["anna"], reason="mistake", text=""
        )
        context.append_own(uow, body)
        uow.commit()
    assert emil.certificates.show(fair.certs["anna"]).row.revocation is None
    assert count(emil, fair).level == 3


# --- what was claimed and is not so -------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Somebody who sells twins of one sample, each with another card, run in this process."""
    base = tmp_path_factory.mktemp("desk")
    runner = in_process(SAMPLE)
    with open_with(seller(base, "frank"), runner) as engine:
        yield Desk(base, engine, runner)


@dataclass
class Desk:
    """Frank's Account."""

    base: Path
    engine: Engine
    runner: FakeRunner

    def offer(self, named, change=lambda card: card, rows=None, **values):
        given = sample_model(SAMPLE).rows() if rows is None else rows
        known = {"untested": True, "tags": (named,), **values}
        draft = draft_with(self.engine, self.base, SAMPLE, named, change, given, **known)
        return publish_draft(self.engine, draft.draft_id)

    def certified(self, published, **asked):
        view = certify(self.engine, published.artifact, published.release, **asked)
        return view, sign_job(self.engine, view)


def claiming(micro, **more):
    def change(card):
        claims = tuple(
            msgspec.structs.replace(
                one, value_micro=micro, ci_low_micro=None, ci_high_micro=None, **more
            )
            if one.metric == "accuracy"
            else one
            for one in card.claims
        )
        return msgspec.structs.replace(card, claims=claims)

    return change


def checks_of(view):
    return {one.id: one for one in view.tested.measured.checks}


def sentence(check, language="en"):
    return say(f"check.reason.{check.reason}", check.values, language)


def test_a_claim_that_does_not_hold_fails_loudly_with_both_figures(desk, emil, tmp_path):
    published = desk.offer("claims too much", claiming(995_000))
    view, cert = desk.certified(published)
    check = checks_of(view)["quality.accuracy"]
    assert (check.result, check.reason) == ("fail", "claim_worse")
    for language in LANGUAGES:
        assert all(one in sentence(check, language) for one in ("0.995", "0.975", "0.942822"))
    assert (view.tested.measured.level, view.tested.measured.outcome) == (2, "FAILED")
    bring(desk.engine, tmp_path, emil)
    hold(desk.engine, emil, published.release)
    seen = emil.certificates.of_release(published.release)
    claim = next(one for one in seen.claims if one.metric == "accuracy")
    assert (claim.claimed_micro, claim.measured_micro) == (995_000, ACCURACY)
    assert claim.relation == "worse"
    assert (seen.rows[0].cert, seen.rows[0].quality_failed) == (cert, True)
    row = row_of(emil, published.listing)
    assert (row.contradicted, row.cert_failed, row.level) == (True, True, 0)
    assert row.title in listed(emil, desk.engine, contradicted=True)


def test_a_claim_that_is_too_modest_passes(desk):
    view, _ = desk.certified(desk.offer("claims too little", claiming(900_000)))
    assert view.tested.measured.outcome == "PASSED"
    accuracy = next(
        one for one in desk.engine.certifying.claims(view.row.job) if one.metric == "accuracy"
    )
    assert accuracy.relation == "better"


def test_a_right_model_reaches_level_three_and_a_wrong_label_order_fails_its_metric(desk):
    """S17: the same model and rows with named labels, in the right order and in the wrong one."""
    words = ("benign", "malignant")
    read = list(csv.reader(io.StringIO(sample_model(SAMPLE).rows().decode())))
    for row in read[1:]:
        row[-1] = words[int(row[-1])]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(read)
    rows = text.getvalue().encode()

    def labelled(labels):
        def change(card):
            digest = sha256(rows).digest()
            evaluation = msgspec.structs.replace(
                card.evaluation, sha256=digest, size=len(rows), positive="malignant"
            )
            claims = tuple(
                msgspec.structs.replace(one, sha256=digest)
                for one in card.claims
                if one.metric == "accuracy" and one.sha256 is not None
            )
            recipe = msgspec.structs.replace(card.recipe, labels=labels)
            return msgspec.structs.replace(
                card, evaluation=evaluation, claims=claims, recipe=recipe
            )

        return change

    right, _ = desk.certified(desk.offer("right order", labelled(words), rows))
    assert (right.tested.measured.level, right.tested.measured.outcome) == (3, "PASSED")
    wrong, _ = desk.certified(desk.offer("wrong order", labelled(words[::-1]), rows))
    assert (wrong.tested.measured.level, wrong.tested.measured.outcome) == (2, "FAILED")
    check = checks_of(wrong)["quality.accuracy"]
    assert (check.result, check.reason) == ("fail", "claim_worse")
    assert check.values["claimed"] == "0.975"
    assert check.values["measured"] == "0.025"
    assert all(
        "0.975" in sentence(check, it) and "0.025" in sentence(check, it) for it in LANGUAGES
    )


# --- data of one's own --------------------------------------------------------------------------


def private(base, rows=200):
    """Write rows of one's own: other patients than those that ship with the sample."""
    lines = sample_model(SAMPLE).rows().splitlines(keepends=True)
    path = base / "my patients.csv"
    path.write_bytes(b"".join([lines[0], *reversed(lines[1 : rows + 1])]))
    return {
        "data": str(path),
        "mapping": written_mapping(DataMapping(target="malignant")),
    }


def test_figures_of_private_data_stay_here_and_the_level_follows(desk, tmp_path):
    bare = desk.offer(
        "no data given", lambda card: msgspec.structs.replace(card, evaluation=msgspec.UNSET), b""
    )
    view = certify(desk.engine, bare.artifact, bare.release, **private(tmp_path))
    assert view.tested.measured.level == 3
    assert {row.is_public for row in view.tested.measured.quality} == {False}
    assert any(row.metric == "accuracy" for row in view.tested.measured.quality)
    shown = desk.engine.certifying.preview(view.row.job)
    assert shown.private_rows == len(view.tested.measured.quality)
    assert (shown.statement.measured.quality, shown.statement.level) == ((), 2)
    cert = desk.engine.certifying.sign(shown)
    signed = desk.engine.certificates.show(cert)
    assert (signed.row.level, signed.certificate.statement.measured.quality) == (2, ())
    assert b"patients" not in signed.certificate.envelope
    assert not [one for one in signed.certificate.statement.measured.checks if "quality" in one.id]


def test_private_figures_beside_public_ones_leave_the_public_ones_at_level_three(desk, tmp_path):
    published = desk.offer("both kinds of data")
    view = certify(desk.engine, published.artifact, published.release, **private(tmp_path))
    shown = desk.engine.certifying.preview(view.row.job)
    assert shown.private_rows > 0
    assert shown.statement.level == 3
    assert {row.dataset for row in shown.statement.measured.quality} == {"sample.csv"}


def test_figures_of_own_data_are_published_when_that_was_asked(desk, tmp_path):
    published = desk.offer("figures are published")
    asked = {**private(tmp_path), "is_public": True, "metrics": ("accuracy",)}
    view = certify(desk.engine, published.artifact, published.release, **asked)
    shown = desk.engine.certifying.preview(view.row.job)
    assert shown.private_rows == 0
    assert {row.dataset for row in shown.statement.measured.quality} == {
        "sample.csv",
        "my patients.csv",
    }


def test_a_data_set_too_small_for_level_three_says_how_many_rows_it_wants(desk, tmp_path):
    bare = desk.offer(
        "few rows", lambda card: msgspec.structs.replace(card, evaluation=msgspec.UNSET), b""
    )
    view = certify(desk.engine, bare.artifact, bare.release, **private(tmp_path, 60))
    check = checks_of(view)["quality.accuracy"]
    assert (check.result, check.reason) == ("warn", "few_rows")
    assert all("60" in sentence(check, it) and "100" in sentence(check, it) for it in LANGUAGES)
    assert view.tested.measured.level == 2


def test_data_that_do_not_fit_the_model_end_the_job_and_name_the_column(desk, tmp_path):
    published = desk.offer("wrong columns")
    path = tmp_path / "wrong.csv"
    path.write_text("mean_radius,malignant\n1.0,0\n")
    with pytest.raises(HanseError) as caught:
        certify(desk.engine, published.artifact, published.release, data=str(path))
    sentences = said(caught.value)
    assert all("mean_texture" in one for one in sentences)
    job = desk.engine.certifying.jobs()[0].row
    assert (job.state.value, job.error_code) == ("FAILED", caught.value.code)


# --- one after the other ------------------------------------------------------------------------


def test_a_later_certificate_supersedes_and_the_newest_counts(desk):
    published = desk.offer("twice")
    _, first = desk.certified(published)
    _, second = desk.certified(published, level_most=2)
    seen = desk.engine.certificates.of_release(published.release)
    assert [row.cert for row in seen.rows] == [second, first]
    statement = desk.engine.certificates.show(second).certificate.statement
    assert (statement.supersedes, statement.level) == (first, 2)
    assert seen.reproduction.level == 2
    assert row_of(desk.engine, published.listing).level == 2


def test_what_was_taken_back_is_not_superseded_by_the_next(desk):
    published = desk.offer("taken back")
    _, first = desk.certified(published, level_most=2)
    certificates = desk.engine.certificates
    certificates.sign(certificates.revoke(first, "mistake", ""))
    assert row_of(desk.engine, published.listing).level == 0
    _, second = desk.certified(published, level_most=1)
    assert certificates.show(second).certificate.statement.supersedes is None
    assert row_of(desk.engine, published.listing).level == 1


def test_a_result_is_signed_by_itself_only_where_it_says_more(desk):
    published = desk.offer("by itself")
    view, _ = desk.certified(published, level_most=2)
    assert desk.engine.certifying.sign_if_better(view.row.job) is None
    better = certify(desk.engine, published.artifact, published.release)
    assert desk.engine.certifying.sign_if_better(better.row.job) is not None
    assert row_of(desk.engine, published.listing).level == 3


def test_a_listing_made_untested_is_certified_later(desk):
    published = desk.offer("untested at first")
    assert published.level == 0
    assert row_of(desk.engine, published.listing).level == 0
    desk.certified(published)
    assert row_of(desk.engine, published.listing).level == 3


# --- what does not run --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wanda(tmp_path_factory):
    """A seller of what does not run, with Workers that look at it."""
    with open_with(seller(tmp_path_factory.mktemp("wanda"), "wanda")) as engine:
        yield engine


def test_weights_without_a_graph_come_to_level_one(wanda, tmp_path):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(safetensors({"a": tensor_row(0, 16)}, bytes(16)))
    published = publish(wanda, file, untested=False)
    assert published.level == 1
    assert row_of(wanda, published.listing).level == 1
    (cert,) = wanda.certificates.of_release(published.release).rows
    shown = wanda.certificates.show(cert.cert).certificate.statement
    reasons = {one.id: one.reason for one in shown.measured.checks if one.result == "skip"}
    assert reasons["run.load"] == "not_runnable"
    assert (shown.measured.runtime, shown.measured.perf) == (None, ())


def test_a_pickle_is_listed_at_level_zero_and_never_run(wanda, tmp_path):
    case = next(one for one in pickles() if one.name == "pickle_os_system")
    file = tmp_path / case.file
    case.make(file)
    published = publish(wanda, file, untested=False)
    assert published.level == 0
    assert row_of(wanda, published.listing).level == 0
    assert wanda.certificates.of_release(published.release).rows == ()
    view = certify(wanda, published.artifact, published.release, level_most=1)
    measured = view.tested.measured
    assert (measured.level, measured.outcome, measured.runtime) == (0, "FAILED", None)
    check = checks_of(view)["safety.policy"]
    assert check.result == "fail"
    assert all(sentence(check, it) for it in LANGUAGES)
    cert = sign_job(wanda, view)
    row = row_of(wanda, published.listing)
    assert (row.level, row.cert_failed) == (0, True)
    assert wanda.certificates.show(cert).row.outcome == "FAILED"
    assert list(tmp_path.rglob(MARKER)) == []


def test_without_a_lock_nothing_runs_and_the_sentence_names_the_layer(desk):
    engine, fails = desk.engine, desk.runner.fails
    rows = sample_model(SAMPLE).rows()
    draft = draft_with(engine, desk.base, SAMPLE, "no lock", rows=rows, untested=False).draft_id
    fails["start"] = NoSandbox(layer="landlock", reason="ABI 0")
    try:
        with pytest.raises(NoSandbox) as caught:
            engine.publishing.preview(draft, Control())
        assert all("Landlock" in one and "ABI 0" in one for one in said(caught.value))
        job = engine.certifying.jobs()[0]
        assert (job.row.state.value, job.row.error_code) == ("FAILED", "worker.no_sandbox")
        assert job.row.error_values == {"layer": "landlock", "reason": "ABI 0"}
        assert job.tested is None
        engine.publishing.edit(draft, lambda one: msgspec.structs.replace(one, untested=True))
        published = publish_draft(engine, draft)
        assert published.level == 0
        with pytest.raises(NoSandbox):
            certify(engine, published.artifact, published.release)
        assert engine.certificates.of_release(published.release).rows == ()
    finally:
        del fails["start"]


# --- people -------------------------------------------------------------------------------------


def review(verdict, **more):
    points = {name: Point("yes", "") for name in CHECKLIST}
    return Review(points=points, verdict=verdict, **more)


def judge(engine, fair, given):
    reviews = engine.human_reviews
    engine.context.clock.advance(1000)
    return reviews.post(reviews.preview(fair.published.release, given))


def test_people_approve_object_and_abstain_and_it_is_shown_as_m_of_n(fair, tmp_path):
    release = fair.published.release
    given = {
        "bert": review("approve"),
        "carl": review("object", notes="No limits are stated.", conflict="paid", paid_by="A rival"),
        "dora": review("abstain", conflict="colleague"),
    }
    # Bert thinks again: of each person the newest counts.
    first = judge(fair.engines["bert"], fair, review("object"))
    with newcomer(fair, tmp_path, "yves", "anna") as yves:
        for name, one in given.items():
            judge(fair.engines[name], fair, one)
            bring(fair.engines[name], tmp_path, yves)
        seen = yves.human_reviews.of_release(release, wanted=2)
        found = seen.together
        assert (found.approve, found.object, found.abstain, found.count) == (1, 1, 1, 3)
        assert (found.conflicts, found.approve_free, found.is_met) == (2, 1, False)
        assert yves.human_reviews.of_release(release).together.is_met
        by_name = {seen.names[bytes(row.identity)]: row for row in seen.reviews}
        assert by_name["bert"].supersedes == first.entry_id
        assert by_name["carl"].notes == "No limits are stated."
        assert by_name["carl"].paid_by == "A rival"
        assert row_of(yves, fair.published.listing).objections == 1
        for language in LANGUAGES:
            values = {name: getattr(found, name) for name in type(found).__slots__}
            assert say(found.sentence, values, language)
        check_whole(yves)


def test_a_seller_does_not_review_himself_and_every_point_is_answered(fair, emil):
    with pytest.raises(ReviewsItself) as own:
        fair.anna.human_reviews.preview(fair.published.release, review("approve"))
    said(own.value)
    some = dict(list(review("approve").points.items())[1:])
    with pytest.raises(PointsMissing) as missing:
        emil.human_reviews.preview(fair.published.release, Review(some, "approve"))
    assert missing.value.values["missing"] == (CHECKLIST[0],)
    said(missing.value)
