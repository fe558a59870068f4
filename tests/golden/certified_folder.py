"""The data folder of part 3: Certificates, reviews, jobs and Trials, and what they must say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hanse.core.certify.data import DataMapping
from hanse.core.engine.certify_data import written_mapping
from hanse.core.engine.certify_target import CertifyRequest
from hanse.core.engine.human_reviews import Point, Review
from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.market.samples import sample_model
from hanse.core.model.card import CHECKLIST
from hanse.core.model.control import Control
from hanse.core.model.ids import EntryId
from tests.fakes.shop import carry_sealed
from tests.fakes.trial_play import answered, asked, claimed, sealed
from tests.fakes.trial_shop import EVERY_WAY, Market, in_process, offer_sample, open_market

if TYPE_CHECKING:
    from pathlib import Path

    from hanse.core.engine.engine import Engine
    from tests.fakes.people import Person

SOLD, BOUGHT = "diagnosis", "insurance-risk"  # of Anna, of Bert
TARGET = "malignant"
ANSWERS = 3


def certifying(base: Path) -> Person:
    """Write the folder of part 3: Anna certifies, is reviewed, grants Trials and asks for some."""
    market = open_market(base, SOLD)
    market.work(in_process(SOLD), in_process(SOLD))
    anna, bert = market.selling, market.buying
    bert.accounts.confirm_phrase(market.bert.phrase)
    release = market.published.release
    market.anna.clock.advance(1000)
    mistake = certified(anna, release)
    revoke = anna.certificates.revoke(mistake, "machine_fault", "It was hot.")
    anna.certificates.sign(revoke)
    market.anna.clock.advance(1000)
    certified(anna, release, market.rows)
    waiting = anna.certifying.queue(request_for(anna, release, "core"), now=False).row.job
    anna.certifying.pause(waiting, is_paused=True)
    market.bring()
    reviewed(bert, release)
    take_part(market, claim=True)
    offered = offer_sample(bert, base, BOUGHT, EVERY_WAY, untested=True)
    rows = base / "other-rows.csv"
    rows.write_bytes(sample_model(BOUGHT).rows())
    turned = Market(base, market.bert, market.anna, bert, anna, offered, rows)
    turned.work(in_process(BOUGHT), in_process(BOUGHT))
    turned.bring()
    carry_sealed(bert, anna, offered.release)
    take_part(turned, claim=False)
    turned.close()
    return market.anna


def request_for(
    engine: Engine, release: bytes, suite: str, rows: Path | None = None
) -> CertifyRequest:
    """Ask for a Release of this Account under a suite, with figures on rows for everybody."""
    row = engine.catalogue.own()[0].newest_release
    assert row is not None
    assert row.release == release
    return CertifyRequest(
        artifact=row.artifact,
        release=release,
        suite=suite,
        cores=1,
        nice=0,
        data="" if rows is None else str(rows),
        mapping=b"" if rows is None else written_mapping(DataMapping(target=TARGET)),
        is_public=rows is not None,
    )


def certified(engine: Engine, release: bytes, rows: Path | None = None) -> EntryId:
    """Certify a Release under the quick suite, in real Workers, and sign it."""
    job = engine.certifying.queue(request_for(engine, release, "quick", rows), now=True).row.job
    assert engine.certifying.run(job, Control()).tested is not None
    return engine.certifying.sign(engine.certifying.preview(job))


def reviewed(engine: Engine, release: bytes) -> None:
    """Object to a Release, with an interest."""
    points = {name: Point("yes") for name in CHECKLIST}
    points["limits_stated"] = Point("no", "Not for children.")
    review = Review(points, "object", "Tried on our slides.", "paid", "A rival")
    engine.human_reviews.post(engine.human_reviews.preview(EntryId(release), review))


def take_part(market: Market, *, claim: bool) -> None:
    """Take signed answers and a sealed grant of what one side sells."""
    trial = asked(market, claimed(market) if claim else None)
    market.buying.trials.buying.take(answered(market, trial, ANSWERS).reply)
    sealed(market)
    market.selling.ledger.import_file(fed(market))


def fed(market: Market) -> Path:
    """Export what the buyer has signed, for the seller."""
    path = market.base / f"buyer-{market.buying.ledger.show()[-1].seq}.hanse-feed"
    market.buying.ledger.export(path)
    return path


def stated_certification(engine: Engine) -> dict[str, object]:
    """Say what is certified, reviewed, queued and tried, in plain values."""
    found: dict[str, object] = {}
    for listing in engine.catalogue.own():
        assert listing.newest_release is not None
        release = listing.newest_release.release
        view = engine.certificates.of_release(EntryId(release))
        assert view is not None
        reviews = engine.human_reviews.of_release(EntryId(release))
        found[listing.title] = {
            "certificates": [
                [
                    one.cert.hex(),
                    one.suite,
                    one.level,
                    one.outcome,
                    one.isolation,
                    None if one.revocation is None else one.revocation.reason,
                ]
                for one in view.rows
            ],
            "statements": [
                [
                    len(shown.certificate.statement.measured.checks),
                    len(shown.certificate.statement.measured.perf),
                    [
                        [row.metric, row.slice, row.n, row.value_micro, row.is_public]
                        for row in shown.certificate.statement.measured.quality
                    ],
                ]
                for shown in (engine.certificates.show(one.cert) for one in view.rows)
            ],
            "reviews": [[one.verdict, one.conflict, one.notes] for one in reviews.reviews],
        }
    return {
        "listings": found,
        "levels": sorted(
            [row.title, row.level] for row in engine.catalogue.search(CatalogueQuery()).rows
        ),
        "jobs": [
            [
                one.row.job,
                one.row.state.value,
                one.row.is_paused,
                one.request.suite,
                None if one.tested is None else one.tested.measured.level,
            ]
            for one in engine.certifying.jobs()
        ],
        "trials": [
            [role, one.way, one.state.value, one.over, one.answers, one.runs_used, one.runs_most]
            for role in ("buyer", "seller")
            for one in engine.trials.page(role)
        ],
    }
