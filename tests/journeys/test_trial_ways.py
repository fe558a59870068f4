"""Every way to try a model: open editions, own data of every sort, bake-off, and certifying."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from hanse.core.artifacts.quota import Whose
from hanse.core.certify.client import WorkerClient
from hanse.core.certify.data import DataMapping
from hanse.core.certify.data.costs import CostMatrix
from hanse.core.engine.certify_target import ArtifactNotHeld, CertifyRequest
from hanse.core.engine.trying.bakeoff import Candidate
from hanse.core.engine.trying.buyer import BegunElsewhere, Question
from hanse.core.engine.trying.data import OwnData
from hanse.core.engine.trying.replaying import OtherArtifact
from hanse.core.engine.trying.sealed import NotForCertifying
from hanse.core.limits import UNWANTED_OBJECT_MS_MIN
from hanse.core.market.samples import sample_model
from hanse.core.model.card import Recipe, SealedTrial, Trials
from hanse.core.model.certificate import Reproduces
from hanse.core.model.control import Control
from hanse.core.model.ids import EntryId
from hanse.core.store.jobs import JobState
from hanse.core.store.objects import Part
from hanse.core.trade.trial_rules import TrialRefused, TrialSpent
from tests.fakes.shop import AS_IS, carry_sealed, said
from tests.fakes.trial_play import job_of, sealed
from tests.fakes.trial_shop import (
    DAY_MS,
    EVERY_WAY,
    draft_sample,
    in_process,
    open_edition,
    open_market,
    twin,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hanse.core.engine.publishing import PublishedView
    from tests.fakes.trial_shop import Market

NOT_TO_CERTIFY = Trials(sealed_local=SealedTrial(runs=2, days=5, certify=False))


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    found = open_market(tmp_path_factory.mktemp("ways"), untested=True)
    yield found
    for engine in (found.selling, found.buying):
        assert engine.ledger.verify().holds
        assert all(one.is_whole for one in engine.storing.heal(Control()))
    found.close()


@pytest.fixture
def _workers(market: Market) -> Iterator[None]:
    """Run models in locked Workers, for this test."""
    before = (market.sells, market.buys)
    market.work(WorkerClient(), WorkerClient())
    yield
    market.work(*before)


def outgoing_work(market: Market) -> tuple[int, int]:
    """Return how much the buyer has signed, and how much waits to be sent."""
    with market.buying.context.store.reads() as reads:
        waiting = len(reads.outbox.due(2**62, 1000))
    return market.buying.ledger.show()[-1].seq, waiting


# --- the open edition -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def editions(market: Market) -> tuple[PublishedView, Path]:
    """A full Release whose card names a smaller edition, and the edition's file."""
    file = market.base / "edition" / "model.onnx"
    file.parent.mkdir()
    file.write_bytes(twin("fraud-detection", "the edition"))
    begun = market.selling.publishing.begin(file, Control(), preparation=AS_IS)
    assert begun.draft.artifact is not None
    full = market.offer(
        "fraud-detection", open_edition(begun.draft.artifact), named="full", untested=True
    )
    publishing = market.selling.publishing
    draft = publishing.begin(file, Control(), listing=full.listing, preparation=AS_IS).draft_id
    described = sample_model("fraud-detection").draft("en")

    def change(known: object) -> object:
        card = msgspec.structs.replace(described.card, variants=known.card.variants)
        return msgspec.structs.replace(
            known,
            card=card,
            edition="trial",
            of=full.release,
            supersedes=None,
            version="1.0.0-try",
            untested=True,
        )

    publishing.edit(draft, change)
    edition = publishing.publish(draft, publishing.preview(draft, Control()))
    market.bring()
    with market.selling.context.store.reads() as reads:
        row = reads.listings.release(EntryId(edition.release))
    assert (row.edition, row.of, row.seal) == ("trial", full.release, None)
    market.buying.content.small.put(market.selling.content.object(row.card))
    return full, file


def test_an_open_edition_is_found_from_the_full_releases_card(
    market: Market, editions: tuple[PublishedView, Path]
) -> None:
    full, file = editions
    trials = market.buying.trials
    before = outgoing_work(market)
    other = market.base / "not-the-edition.onnx"
    other.write_bytes(sample_model("diagnosis").graph())
    with pytest.raises(ArtifactNotHeld) as missing:
        trials.buying.start(full.release, "open", Control())
    said(missing.value)
    with pytest.raises(OtherArtifact) as wrong:
        trials.editions.bring(full.release, other, Control())
    said(wrong.value)
    brought = trials.editions.bring(full.release, file, Control())
    found = trials.buying.start(full.release, "open", Control())
    assert brought == found
    assert (found.trial, found.way, found.relation) == (None, "open", "smaller")
    assert (found.note, found.honest) == ("half the trees", "trial.honest.open")
    assert outgoing_work(market) == before  # nothing is asked of the seller
    with market.buying.context.store.reads() as reads:
        assert {use.whose for use in reads.objects.of_artifact(found.artifact)} == {Whose.TRIAL}


def test_every_figure_of_an_open_edition_says_how_it_differs(
    market: Market, editions: tuple[PublishedView, Path]
) -> None:
    full, file = editions
    editions_here = market.buying.trials.editions
    editions_here.bring(full.release, file, Control())
    found = editions_here.evaluate(
        full.release, OwnData(market.rows), Control(), ("accuracy", "recall")
    )
    assert (found.relation, found.note) == ("smaller", "half the trees")
    assert {row.metric for row in found.rows} == {"accuracy", "recall"}
    assert all(row.n == 200 for row in found.rows)


def test_a_release_without_an_open_edition_says_so(market: Market) -> None:
    with pytest.raises(TrialRefused) as caught:
        market.buying.trials.editions.evaluate(
            market.published.release, OwnData(market.rows), Control()
        )
    assert caught.value.reason == "not_offered"


# --- the buyer's own data -------------------------------------------------------------------


def read_rows(market: Market) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(io.StringIO(market.rows.read_text()))
    return header, rows


def test_arrays_in_an_npz_are_the_same_as_the_table_they_come_from(market: Market) -> None:
    trial, _ = sealed(market)
    _, rows = read_rows(market)
    numbers = np.array([row[:-1] for row in rows], np.float32)
    arrays = market.base / "rows.npz"
    np.savez(arrays, payment=numbers, fraud=np.array([row[-1] for row in rows]))
    runs = market.buying.trials.sealed
    by_table = runs.evaluate(trial, OwnData(market.rows), Control(), ("accuracy",))
    by_arrays = runs.evaluate(trial, OwnData(arrays), Control(), ("accuracy",))
    assert by_table.runs_used + 1 == by_arrays.runs_used
    assert by_arrays.rows[0].value_micro == by_table.rows[0].value_micro
    assert by_arrays.rows[0].dataset == "rows.npz"


def test_a_column_of_the_data_is_told_apart_by_its_values(market: Market) -> None:
    trial, _ = sealed(market)
    header, rows = read_rows(market)
    table = market.base / "sliced.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*header, "country"])
        writer.writerows([*row, "north" if n % 3 else "south"] for n, row in enumerate(rows))
    data = OwnData(table, DataMapping(target="fraud", slice="country"))
    found = market.buying.trials.sealed.evaluate(trial, data, Control(), ("accuracy",))
    by_slice = {row.slice: row for row in found.rows}
    assert set(by_slice) == {"", "country=north", "country=south"}
    assert by_slice["country=north"].n + by_slice["country=south"].n == by_slice[""].n
    assert all(one.value_micro is not None for one in by_slice.values())
    # Signed answers need no slices: the same mapping is asked about all the same.
    asked = market.buying.trials.buying.start(
        market.published.release, "answers", Control(), Question(data)
    )
    assert asked.committed == len(rows)


def picture_model(path: Path) -> Path:
    """Write a model that tells bright pictures of 8 x 8 from dark ones; over 5,000 parameters."""
    weights = np.zeros((192, 32), np.float32)
    weights[:, 0] = 1 / 192
    ends = np.zeros((32, 2), np.float32)
    ends[0] = (-1, 1)
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["mean"]),
        helper.make_node("Sub", ["mean", "middle"], ["above"]),
        helper.make_node("MatMul", ["above", "ends"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.full(1, 110, np.float32), "middle"),
            numpy_helper.from_array(ends, "ends"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


@pytest.mark.usefixtures("_workers")
def test_a_folder_of_pictures_is_tried_sealed_and_by_signed_answers(market: Market) -> None:
    publishing = market.selling.publishing
    file = picture_model(market.base / "brightness.onnx")
    draft = publishing.begin(file, Control(), preparation=AS_IS).draft_id
    described = sample_model("image-recognition").draft("en")

    def change(known: object) -> object:
        card = msgspec.structs.replace(
            known.card, recipe=Recipe(labels=("dark", "bright")), trial=EVERY_WAY
        )
        return msgspec.structs.replace(
            described, **kept(known), card=card, title="Bright or dark", untested=True
        )

    def kept(known: object) -> dict[str, object]:
        names = ("artifact", "size", "files", "formats", "facts", "tiers", "made_from")
        return {name: getattr(known, name) for name in names}

    publishing.edit(draft, change)
    offered = publishing.publish(draft, publishing.preview(draft, Control()))
    market.bring()
    carry_sealed(market.selling, market.buying, offered.release)
    pictures = market.base / "pictures"
    for number in range(12):
        shade = 20 * number
        path = pictures / ("bright" if shade > 100 else "dark") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (shade, shade, shade)).save(path)
    trial, _ = sealed(market, offered.release)
    data = OwnData(pictures)
    found = market.buying.trials.sealed.evaluate(trial, data, Control(), ("accuracy",))
    assert (found.rows[0].n, found.rows[0].value_micro) == (12, 1_000_000)
    market.selling.catalogue.follow(market.bert.view.identity, 1)
    buying, answering = market.buying.trials.buying, market.selling.trials.answering
    by_answers = buying.start(offered.release, "answers", Control(), Question(data)).trial
    buying.take(answering.answer(buying.outgoing(by_answers), Control()).reply)
    reply = answering.answer(buying.next_queries(by_answers), Control(), market.pace)
    assert (reply.answered, buying.take(reply.reply).over) == (12, "answers")
    assert market.buying.trials.verdict(by_answers).right == 12
    market.selling.catalogue.follow(market.bert.view.identity, 0)


# --- bake-off -------------------------------------------------------------------------------


@pytest.mark.usefixtures("_workers")
def test_a_bake_off_ranks_an_edition_a_sealed_trial_and_an_own_model_by_what_errors_cost(
    market: Market, editions: tuple[PublishedView, Path]
) -> None:
    full, file = editions
    market.buying.trials.editions.bring(full.release, file, Control())
    trial, _ = sealed(market)
    own = market.base / "own"
    own.mkdir()
    mine = draft_sample(market.buying, own, "fraud-detection", Trials(), "mine").draft.artifact
    before = outgoing_work(market)
    costs = CostMatrix(("honest", "fraud"), ((0, 1_000_000), (50_000_000, 0)), "EUR")
    found = market.buying.trials.bakeoffs.run(
        [
            Candidate(release=full.release, is_open=True, name="edition"),
            Candidate(trial=trial, name="on trial"),
            Candidate(artifact=mine, name="mine"),
        ],
        OwnData(market.rows),
        "recall",
        Control(),
        costs,
    )
    rows = {row.name: row for row in found.table.rows}
    assert set(rows) == {"edition", "on trial", "mine"}
    assert (found.table.ranked_by, found.table.cost_unit) == ("expected_cost", "EUR")
    assert [row.failure for row in rows.values()] == ["", "", ""]
    assert [row.rank for row in found.table.rows] == [1, 1, 1]  # the same answers three times
    for row in rows.values():
        assert row.low_micro <= row.value_micro <= row.high_micro
        assert row.cost_low_micro <= row.cost_micro <= row.cost_high_micro
        assert row.p50_ns > 0
        assert row.peak_rss_bytes > 0
    assert {name: row.relation for name, row in rows.items()} == {
        "edition": "smaller",
        "on trial": "",
        "mine": "",
    }
    assert rows["on trial"].price is not None
    assert rows["mine"].price is None
    assert market.buying.trials.buying.show(trial).runs_used == 1
    assert outgoing_work(market) == before  # nothing left, and nothing was signed


# --- certifying with a sealed trial ---------------------------------------------------------


def test_a_trial_that_is_not_for_certifying_certifies_nothing_and_counts_no_run(
    market: Market,
) -> None:
    offered = market.offer("fraud-detection", NOT_TO_CERTIFY, named="other", untested=True)
    trial, _ = sealed(market, offered.release)
    view = market.buying.trials.buying.show(trial)
    assert not view.may_certify
    request = CertifyRequest(
        artifact=view.artifact, release=view.release, trial=trial, suite="quick"
    )
    certifying = market.buying.certifying
    job = certifying.queue(request, now=True).row.job
    with pytest.raises(NotForCertifying) as caught:
        certifying.run(job, Control())
    said(caught.value)
    assert certifying.job(job).row.state is JobState.FAILED
    assert market.buying.trials.buying.show(trial).runs_used == 0


@pytest.mark.parametrize("level", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_tester_reproduces_the_sellers_certificate_through_a_sealed_trial(
    market: Market, level: int
) -> None:
    published = market.published
    with market.selling.context.store.reads() as reads:
        release = reads.listings.release(EntryId(published.release))
    request = CertifyRequest(
        artifact=release.artifact, release=release.release, suite="quick", level_most=level
    )
    selling = market.selling.certifying
    cert = selling.sign(selling.preview(selling.run(job_of(selling, request), Control()).row.job))
    market.bring()
    with market.buying.context.store.reads() as reads:
        row = reads.certificates.get(cert)
    market.buying.content.small.put(market.selling.content.object(row.golden))
    trial, _ = sealed(market)
    buying = market.buying.certifying
    asked = msgspec.structs.replace(request, trial=trial, reproduces=cert)
    done = buying.run(job_of(buying, asked), Control())
    assert done.tested is not None
    assert (done.tested.measured.outcome != "FAILED", done.tested.measured.level) == (True, level)
    assert done.tested.measured.golden is not None
    assert market.buying.trials.buying.show(trial).runs_used == 1
    to_sign = buying.preview(done.row.job)
    assert (to_sign.statement.grant, to_sign.statement.role) == (trial, "tester")
    assert isinstance(to_sign.statement.reproduces, Reproduces)
    assert to_sign.statement.reproduces.verdict == "agree"
    buying.sign(to_sign)
    assert buying.claims(done.row.job)  # what the card claims, beside what was seen in memory
    view = market.buying.certificates.of_release(release.release)
    assert view is not None
    with market.buying.context.store.reads() as reads:
        assert all(use.part is Part.CIPHER for use in reads.objects.of_artifact(release.artifact))


# --- what is held, and for how long ---------------------------------------------------------


def of_trials(market: Market) -> int:
    return market.buying.storing.view().by_whose["trial"]


def test_ciphertext_of_a_trial_is_kept_and_counted_while_the_trial_lasts(market: Market) -> None:
    offered = market.offer("diagnosis", EVERY_WAY, untested=True)
    before = of_trials(market)
    trial, _ = sealed(market, offered.release)
    size = len(sample_model("diagnosis").graph())
    assert of_trials(market) == before + size
    clock = market.anna.clock
    now_ms = clock.now_ms()
    clock.advance(UNWANTED_OBJECT_MS_MIN + 400 * 365 * DAY_MS)  # older than any file here
    market.buying.storing.sweep()
    clock.set_back(clock.now_ms() - now_ms)
    work = (market.sells, market.buys)
    market.work(market.sells, in_process("diagnosis"))
    rows = market.base / "diagnosis.csv"
    rows.write_bytes(sample_model("diagnosis").rows())
    market.buying.trials.sealed.evaluate(trial, OwnData(rows), Control(), ("accuracy",))
    market.work(*work)
    market.buying.trials.buying.close(trial)
    assert of_trials(market) == before
    assert market.buying.storing.view().by_whose["others"] >= size


def test_keys_of_a_trial_that_is_over_are_erased_when_the_program_starts(market: Market) -> None:
    over, _ = sealed(market)
    market.anna.clock.advance(4 * DAY_MS)
    other = market.offer("recommender", EVERY_WAY, untested=True)
    lasting = market.buying.trials.buying.start(other.release, "sealed", Control()).trial
    steps = market.buying.trials.buying.outgoing(lasting)
    market.buying.trials.buying.take(market.selling.trials.answering.answer(steps, Control()).reply)
    market.anna.clock.advance(2 * DAY_MS)
    market.restart()
    with market.buying.context.store.reads() as reads:
        kept = [one for one in (over, lasting) if reads.secrets.get(f"trial_keys/{one.hex()}")]
    assert kept == [lasting]
    with pytest.raises(TrialSpent) as spent:
        market.buying.trials.sealed.evaluate(over, OwnData(market.rows), Control())
    assert spent.value.limit == "date"


def test_a_restored_device_is_told_that_the_trial_was_begun_elsewhere(market: Market) -> None:
    trial, reply = sealed(market)
    copy = market.base / "bert.hanse-feed"
    market.buying.ledger.export(copy)
    restored, _ = market.bert.restore_to(market.base / "restored", copy)
    with restored.open() as engine:
        for act in (
            lambda: engine.trials.buying.take(reply),
            lambda: engine.trials.buying.show(trial),
            lambda: engine.trials.buying.outgoing(trial),
            lambda: engine.trials.buying.close(trial),
        ):
            with pytest.raises(BegunElsewhere) as caught:
                act()
            said(caught.value)
            assert caught.value.values["device"] == market.buying.context.device
        assert engine.trials.page("buyer") == ()
