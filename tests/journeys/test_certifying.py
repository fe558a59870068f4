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

from hanse.core.certify.data import DataMapping
from hanse.core.certify.golden import GoldenVectors, read_golden, write_golden
from hanse.core.engine.auditing import verify_file
from hanse.core.engine.certificates import AlreadyRevoked, NotYourCertificate
from hanse.core.engine.certify_data import written_mapping
from hanse.core.engine.certifying import NotTested
from hanse.core.engine.draft_problems import level_of
from hanse.core.engine.human_reviews import Point, PointsMissing, Review, ReviewsItself
from hanse.core.engine.suite_runs import NothingToReproduce
from hanse.core.attest.faults import BadStatement
from hanse.core.ledger.kinds import CertRevoke1
from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.market.samples import sample_model
from hanse.core.model.artifact import RUNNABLE
from hanse.core.model.card import CHECKLIST
from hanse.core.model.control import Control
from hanse.core.model.running import NoSandbox
from hanse.core.sentences import LANGUAGES, say
from tests.fakes.people import Person
from tests.fakes.shop import AS_IS, check_whole, publish, said, seller, tiny_onnx
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
from tests.hostile.header_models import safetensors
from tests.hostile.pickled_models import pickles

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.engine.engine import Engine
    from hanse.core.engine.publishing import PublishedView
    from hanse.core.model.ids import EntryId

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
            engines[name] = stack.enter_context(open_with(person))
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
            found = certify(
                engine,
                published.artifact,
                published.release,
                level_most=2,
                reproduces=certs["anna"],
            )
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


@pytest.fixture
def emil(fair, tmp_path):
    with newcomer(fair, tmp_path, "emil", "anna") as engine:
        yield engine


def together(engine, fair):
    return engine.certificates.of_release(fair.published.release)


def count(engine, fair):
    return together(engine, fair).reproduction


def listed(engine, **query):
    return [row.title for row in engine.catalogue.search(CatalogueQuery(**query)).rows]


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
    assert listed(emil, level_min=3) == [row.title]
    assert listed(emil, level_min=4) == []
    levels = emil.catalogue.facets(CatalogueQuery())
    print(levels)


# --- found again by others ----------------------------------------------------------------------


def test_two_others_who_found_the_same_are_counted_and_do_not_make_level_four(fair, emil):
    take(emil, fair.feeds["bert"], fair.feeds["carl"])
    found = count(emil, fair)
    assert (found.agree, found.differ, found.not_comparable, found.level) == (2, 0, 0, 3)
    assert not found.is_weighted
    row = row_of(emil, fair.published.listing)
    assert (row.level, row.reproduced) == (3, 2)


def test_three_others_who_found_the_same_make_level_four(fair, emil):
    take(emil, *(fair.feeds[name] for name in TESTERS))
    found = count(emil, fair)
    assert (found.agree, found.level, found.is_weighted) == (3, 4, False)
    row = row_of(emil, fair.published.listing)
    assert (row.level, row.reproduced) == (4, 3)
    assert listed(emil, level_min=4) == [row.title]
    check_whole(emil)


def test_every_output_was_compared_and_what_was_found_is_signed(fair):
    for name in TESTERS:
        engine = fair.engines[name]
        shown = engine.certificates.show(fair.certs[name]).certificate.statement
        assert shown.reproduces.entry == fair.certs["anna"]
        assert (shown.reproduces.verdict, shown.reproduces.failing) == ("agree", 0)
        assert shown.reproduces.compared == 8
        assert (shown.role, shown.level) == ("tester", 2)


def test_whoever_follows_people_weighs_what_they_found(fair, emil):
    take(emil, *(fair.feeds[name] for name in TESTERS))
    emil.catalogue.follow(fair.engines["bert"].context.identity, 1)
    emil.catalogue.follow(fair.engines["carl"].context.identity, 3)
    found = count(emil, fair)
    assert (found.is_weighted, found.agree, found.agree_milli) == (True, 3, 4000)
    assert found.level == 4


def test_of_strangers_alone_level_four_is_not_made_for_whoever_follows_others(fair, emil):
    take(emil, *(fair.feeds[name] for name in TESTERS))
    emil.catalogue.follow(fair.anna.context.identity, 1)
    found = count(emil, fair)
    assert (found.agree, found.agree_milli, found.level) == (3, 0, 3)


def test_a_sellers_own_second_look_is_no_reproduction(fair, emil, tmp_path):
    view = certify(
        fair.anna,
        fair.published.artifact,
        fair.published.release,
        level_most=2,
        reproduces=fair.certs["anna"],
    )
    assert view.tested.reproduces.verdict == "agree"
    shown = fair.anna.certifying.preview(view.row.job)  # looked at, and not signed
    assert shown.statement.reproduces.entry == fair.certs["anna"]
    assert shown.statement.role == "seller"


def test_without_the_golden_vectors_it_is_not_comparable_and_says_why(fair, tmp_path):
    with newcomer(fair, tmp_path, "gust", "anna", runner=in_process(SAMPLE)) as gust:
        hold(fair.anna, gust, fair.published.release)
        asked = {"level_most": 2, "reproduces": fair.certs["anna"]}
        view = certify(gust, fair.published.artifact, fair.published.release, **asked)
        found = view.tested.reproduces
        assert (found.verdict, found.reason) == ("not_comparable", "vectors_missing")
        sign_job(gust, view)
        counted = count(gust, fair)
        assert (counted.agree, counted.not_comparable, counted.level) == (0, 1, 3)


def test_another_suite_is_not_comparable(fair, tmp_path):
    with newcomer(fair, tmp_path, "ida", "anna", runner=in_process(SAMPLE)) as ida:
        hold(fair.anna, ida, fair.published.release)
        carry_golden(fair.anna, ida, fair.certs["anna"])
        asked = {"level_most": 2, "reproduces": fair.certs["anna"], "suite": "core"}
        view = certify(ida, fair.published.artifact, fair.published.release, **asked)
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
    """Mallory signs outputs the model never gave; an honest tester of his differs."""
    with newcomer(fair, tmp_path, "mallory", "anna", runner=in_process(SAMPLE)) as mallory:
        hold(fair.anna, mallory, fair.published.release)
        view = certify(mallory, fair.published.artifact, fair.published.release, level_most=2)
        true = read_golden(mallory.content.object(view.tested.golden))
        made_up = write_golden(
            GoldenVectors(
                tuple(
                    replace(
                        one,
                        outputs={
                            name: array + 1 if array.dtype.kind == "f" else array
                            for name, array in one.outputs.items()
                        },
                    )
                    for one in true.vectors
                )
            )
        )
        digest = mallory.content.small.put(made_up)

        def lie(tested):
            golden = replace(tested.measured.golden, sha256=digest, size=len(made_up))
            return replace(tested, golden=digest, measured=replace(tested.measured, golden=golden))

        lied = sign_altered(mallory, view, lie)
        with newcomer(fair, tmp_path, "nora", "anna", runner=in_process(SAMPLE)) as nora:
            bring(mallory, tmp_path, nora)
            hold(fair.anna, nora, fair.published.release)
            carry_golden(mallory, nora, lied)
            asked = {"level_most": 2, "reproduces": lied}
            found = certify(nora, fair.published.artifact, fair.published.release, **asked)
            assert found.tested.reproduces.verdict == "differ"
            assert found.tested.reproduces.max_abs_nano == pytest.approx(10**9, rel=0.01)


def test_a_certificate_nobody_sent_cannot_be_reproduced(fair, emil):
    hold(fair.anna, emil, fair.published.release)
    with pytest.raises(NothingToReproduce) as caught:
        certify(emil, fair.published.artifact, fair.published.release, reproduces=bytes(32))
    said(caught.value)
    job = emil.certifying.jobs()[0]
    assert (job.row.state.value, job.row.error_code) == ("FAILED", "certify.unknown_certificate")
    with pytest.raises(NotTested) as caught:
        emil.certifying.preview(job.row.job)
    said(caught.value)
