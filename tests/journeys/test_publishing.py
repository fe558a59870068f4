"""The seller's side: import, prepare, describe, confirm, sign; then new Releases, words, ends."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hanse.core.artifacts import conversion
from hanse.core.artifacts.formats import FormatRefused
from hanse.core.artifacts.manifest import ArtifactTooLarge
from hanse.core.artifacts.sources import LinkInSource, SourceChanged, SourceEmpty, SourceMissing
from hanse.core.crypto.signing import PREFIX_ENTRY
from hanse.core.engine.context import OwnEntryRefused
from hanse.core.engine.preparing import Preparation
from hanse.core.engine.publishing import DraftEdited, DraftHasProblems
from hanse.core.engine.redraft import NotYourListing, UnknownListing
from hanse.core.engine.signing import PlannedEntry, PreviewStale, show, sign
from hanse.core.errors import AccountLocked, BadShape
from hanse.core.ledger.kinds import Identity1, Price1, Renew1
from hanse.core.limits import ARTIFACT_FILE_SIZE_BYTES_MAX, LISTING_MS_MAX
from hanse.core.market.catalogue_query import CatalogueQuery
from hanse.core.model.card import BaseModel, Lineage, Trials
from hanse.core.model.control import Cancelled, Control
from hanse.core.model.ids import EntryId
from hanse.core.model.listing import TierDraft
from hanse.core.model.money import Money
from hanse.core.store.drafts import DraftPublished, DraftState
from tests.fakes.content import some_bytes
from tests.fakes.converting import old_style_model, save
from tests.fakes.drafts import full_card
from tests.fakes.people import give
from tests.fakes.shop import (
    ARTICLES_MODEL,
    AS_IS,
    EXAMPLES,
    body_of,
    carry_sealed,
    check_whole,
    codes,
    described,
    free_tiers,
    next_seq,
    open_by_salt,
    plain_weights,
    publish,
    said,
    seller,
    tiny_onnx,
)
from tests.hostile.case import MARKER
from tests.hostile.pickled_models import payload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hanse.core.engine.engine import Engine
    from tests.fakes.people import Person

DAY_MS = 24 * 60 * 60 * 1000


@dataclass
class Shop:
    """One Account that stays open for many tests, each with files and Listings of its own."""

    person: Person
    engine: Engine
    base: Path
    numbers: Iterator[int] = field(default_factory=count)

    def weights(self, size: int = 3000) -> Path:
        """Make a model nobody has seen."""
        number = next(self.numbers)
        return plain_weights(self.base / f"weights-{number}", size, f"weights {number}")

    def entries(self, since: int) -> list[str]:
        """Return the kinds of the own Entries from ``since`` on."""
        return [one.kind for one in self.engine.ledger.show() if one.seq >= since]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    base = tmp_path_factory.mktemp("shop")
    person = seller(base)
    with person.open() as engine:
        yield Shop(person, engine, base)
        check_whole(engine)


def found(engine: Engine, text: str, **values: object) -> list[str]:
    page = engine.catalogue.search(CatalogueQuery(text=text, **values))
    return [row.title for row in page.rows]


def cancel_at(stage: str) -> Control:
    """Return a Control that a person cancels once the work says ``stage``."""

    def report(now: str, _done: int, _total: int) -> None:
        if now == stage:
            control.cancel()

    control = Control(report)
    return control


# --- the steps ------------------------------------------------------------------------------


def test_each_step_can_be_left_and_taken_up_again_in_another_program(tmp_path: Path) -> None:
    anna = seller(tmp_path)
    file = tiny_onnx(tmp_path / "m.onnx")
    with anna.open() as engine:
        with pytest.raises(Cancelled):
            engine.publishing.begin(file, cancel_at("inspect"), preparation=AS_IS)
        (draft,) = engine.publishing.drafts()
        assert draft.state is DraftState.IMPORTED
        before = next_seq(engine)
    with anna.open() as engine:
        again = engine.publishing.begin(file, Control(), preparation=AS_IS)
        assert (again.draft_id, again.state) == (draft.draft_id, DraftState.PREPARED)
        assert again.draft.formats == ("onnx",)
    with anna.open() as engine:
        assert engine.publishing.begin(file, Control()).draft_id == draft.draft_id
        typed = engine.publishing.edit(draft.draft_id, described(title="Half", price="1,5,"))
        assert typed.state is DraftState.PREPARED
        typed = engine.publishing.edit(draft.draft_id, described(title="Whole"))
        assert typed.state is DraftState.DRAFTED
    with anna.open() as engine:
        with pytest.raises(Cancelled):
            engine.publishing.seal(draft.draft_id, cancel_at("seal"))
        engine.publishing.preview(draft.draft_id, Control())
        assert next_seq(engine) == before
    with anna.open() as engine:
        (kept,) = engine.publishing.drafts()
        assert (kept.draft_id, kept.draft.title) == (draft.draft_id, "Whole")
        preview = engine.publishing.preview(draft.draft_id, Control())
        engine.publishing.publish(draft.draft_id, preview)
        assert engine.publishing.drafts() == ()
        for again in (
            lambda: engine.publishing.publish(draft.draft_id, preview),
            lambda: engine.publishing.preview(draft.draft_id, Control()),
            lambda: engine.publishing.edit(draft.draft_id, described()),
            lambda: engine.publishing.prepare(draft.draft_id, Control(), AS_IS),
            lambda: engine.publishing.drop(draft.draft_id),
        ):
            with pytest.raises(DraftPublished) as caught:
                again()
            said(caught.value)
        assert next_seq(engine) == before + 3
        check_whole(engine)


def test_what_was_previewed_is_what_stands_in_the_feed(shop: Shop) -> None:
    publishing, context = shop.engine.publishing, shop.engine.context
    draft = publishing.begin(shop.weights(), Control()).draft_id
    publishing.edit(draft, described(title="Exactly this"))
    preview = publishing.preview(draft, Control())
    since = next_seq(shop.engine)
    assert [one.kind for one in preview.entries] == ["listing/1", "release/1", "price/1"]
    assert preview.head_seq == since - 1
    with context.store.reads() as reads:
        assert all(reads.feeds.find(one.entry_id) is None for one in preview.entries)
        waiting = [one.entry_id for one in reads.outbox.due(2**62)]
    shop.person.clock.advance(60_000)
    done = publishing.publish(draft, preview)
    with context.store.reads() as reads:
        stored = reads.feeds.entries(context.device, since)
        announced = reads.outbox.due(2**62)
    assert waiting != [one.entry_id for one in announced]
    assert [one.entry.entry_id for one in stored] == [one.entry_id for one in preview.entries]
    assert [one.entry.header.body_hash for one in stored] == [
        one.body_hash for one in preview.entries
    ]
    assert preview.size_bytes == sum(len(one.entry.body) for one in stored)
    assert {one.entry.header.time_ms for one in stored} == {preview.time_ms}
    assert [one.entry_id for one in announced] == [stored[-1].entry.entry_id]
    assert preview.entries[0].body["title"] == "Exactly this"
    assert done.listing == preview.entries[0].entry_id
    assert preview.entries[1].body["listing"] == done.listing
    # Signed by the Device key over the bytes that travel, as another library sees it.
    key = Ed25519PublicKey.from_public_bytes(bytes(context.device))
    for one in stored:
        key.verify(one.entry.signature, PREFIX_ENTRY + one.entry.header_bytes)


def test_a_preview_is_stale_once_something_else_was_signed(shop: Shop) -> None:
    publishing = shop.engine.publishing
    draft = publishing.begin(shop.weights(), Control()).draft_id
    publishing.edit(draft, described())
    preview = publishing.preview(draft, Control())
    shop.engine.accounts.edit_profile(about=f"busy {draft.hex()}")
    since = next_seq(shop.engine)
    with pytest.raises(PreviewStale) as caught:
        publishing.publish(draft, preview)
    assert caught.value.values == {"expected": since - 2, "found": since - 1}
    said(caught.value)
    assert next_seq(shop.engine) == since
    assert publishing.view(draft).state is DraftState.DRAFTED
    publishing.publish(draft, publishing.preview(draft, Control()))
    assert shop.entries(since) == ["listing/1", "release/1", "price/1"]


def test_a_draft_edited_after_its_preview_is_looked_at_again(shop: Shop) -> None:
    publishing = shop.engine.publishing
    draft = publishing.begin(shop.weights(), Control()).draft_id
    publishing.edit(draft, described(title="For money"))
    preview = publishing.preview(draft, Control())
    publishing.edit(draft, described(title="For nothing", price="0", tiers=free_tiers()))
    since = next_seq(shop.engine)
    with pytest.raises(DraftEdited) as caught:
        publishing.publish(draft, preview)
    said(caught.value)
    assert next_seq(shop.engine) == since
    done = publishing.publish(draft, publishing.preview(draft, Control()))
    assert shop.engine.catalogue.show(done.listing).row.title == "For nothing"


def test_the_preview_of_one_draft_publishes_no_other(shop: Shop) -> None:
    publishing = shop.engine.publishing
    drafts = []
    for title in ("One", "Other"):
        drafts.append(publishing.begin(shop.weights(), Control()).draft_id)
        publishing.edit(drafts[-1], described(title=title))
    preview = publishing.preview(drafts[0], Control())
    with pytest.raises(DraftEdited):
        publishing.publish(drafts[1], preview)
    publishing.publish(drafts[0], preview)


def test_own_entries_pass_the_gate_and_a_broken_rule_stores_nothing(shop: Shop) -> None:
    context = shop.engine.context
    since = next_seq(shop.engine)

    def broken(salt: bytes, _ids: object) -> Price1:
        return Price1(
            salt=salt, listing=b"1" * 32, release=None, mode="fixed", amount=Money(5, "USD", 2),
            floor=6, ceil=7, tick=1, params={}, anchors=(),
        )  # fmt: skip

    def of_a_root(salt: bytes, _ids: object) -> Identity1:
        key = context.identity
        return Identity1(salt=salt, identity=key, r=0, epoch=0, box=key, rotated_from=None)

    def fine(salt: bytes, _ids: object) -> Renew1:
        return Renew1(salt=salt, of=(b"1" * 32,), until=context.clock.now_ms() + 5)

    plan = [PlannedEntry(fine, lambda _: ()), PlannedEntry(broken, lambda _: ())]
    with pytest.raises(BadShape) as shaped:
        show(context, plan)
    said(shaped.value)
    # A well-shaped Body in a Feed that may not hold it is stopped at the gate, like a stranger's.
    plan = [plan[0], PlannedEntry(of_a_root, lambda _: ())]
    with pytest.raises(OwnEntryRefused) as caught:
        show(context, plan)
    said(caught.value)
    preview = replace(show(context, plan[:1]), plan=(plan[1],))
    with context.store.unit_of_work() as uow, pytest.raises(OwnEntryRefused):
        sign(context, uow, preview)
    assert next_seq(shop.engine) == since
    check_whole(shop.engine)


# --- Releases and amendments -----------------------------------------------------------------


def test_a_new_release_keeps_words_and_price_and_raises_the_version(shop: Shop) -> None:
    first = publish(
        shop.engine,
        shop.weights(),
        title="Reader of forms",
        text="# Reader\n\nReads forms.",
        tags=("forms", "表格"),
        sectors=("finance",),
        price="19.90",
        currency="EUR",
        card=full_card(parity=None, made_from=None, variants=(), trial=Trials()),
    )
    since = next_seq(shop.engine)
    done = publish(shop.engine, shop.weights(), listing=first.listing, notes="Better.")
    assert shop.entries(since) == ["release/1"]
    assert "release.same_model" not in codes(done.warnings)
    assert (done.listing, done.price) == (first.listing, None)
    view = shop.engine.catalogue.show(first.listing)
    old, new = view.row.releases
    assert (old.release, new.release) == (first.release, done.release)
    assert (old.version, new.version, new.notes) == ("1.0.0", "1.1.0", "Better.")
    assert new.supersedes == first.release
    assert new.artifact == done.artifact != old.artifact
    assert (view.row.title, view.row.text) == ("Reader of forms", "# Reader\n\nReads forms.")
    assert view.price.amount.amount == 1990
    assert view.card.use.uses == "to sort forms"

    since = next_seq(shop.engine)
    publish(
        shop.engine, shop.weights(), listing=first.listing, version="2.0.0", price="25",
        title="Reader of all forms",
    )  # fmt: skip
    assert shop.entries(since) == ["listing/1", "release/1", "price/1"]
    view = shop.engine.catalogue.show(first.listing)
    assert view.release.version == "2.0.0"
    assert view.row.title == "Reader of all forms"
    assert view.price.amount.amount == 2500
    assert found(shop.engine, "all forms") == ["Reader of all forms"]


def test_a_version_that_is_not_newer_is_refused_and_the_same_model_is_warned_of(
    shop: Shop,
) -> None:
    publishing = shop.engine.publishing
    file = shop.weights()
    first = publish(shop.engine, file, title="Versions")
    draft = publishing.begin(file, Control(), listing=first.listing).draft_id
    view = publishing.edit(draft, lambda known: msgspec.structs.replace(known, version="1.0.0"))
    assert "release.version_not_newer" in codes(view.errors)
    assert "release.same_model" in codes(view.problems)
    with pytest.raises(DraftHasProblems) as caught:
        publishing.preview(draft, Control())
    assert codes(caught.value.problems) == ["release.version_not_newer"]
    publishing.edit(draft, lambda known: msgspec.structs.replace(known, version="1.0.1"))
    done = publishing.publish(draft, publishing.preview(draft, Control()))
    assert "release.same_model" in codes(done.warnings)


def test_words_and_price_are_amended_and_nothing_changed_is_said(shop: Shop) -> None:
    engine = shop.engine
    done = publish(engine, shop.weights(), title="Before", price="10")
    since = next_seq(engine)
    with pytest.raises(DraftHasProblems) as caught:
        engine.offering.amend(done.listing, lambda draft: draft)
    assert codes(caught.value.problems) == ["listing.nothing_changed"]
    with pytest.raises(DraftHasProblems) as caught:
        engine.offering.amend(
            done.listing, lambda draft: msgspec.structs.replace(draft, title="", price="-1")
        )
    assert len(codes(caught.value.problems)) == 2

    priced = engine.offering.amend(
        done.listing, lambda draft: msgspec.structs.replace(draft, price="12")
    )
    assert next_seq(engine) == since
    assert [one.kind for one in priced.preview.entries] == ["price/1"]
    (entry,) = engine.offering.sign(priced)
    assert entry.entry_id == priced.preview.entries[0].entry_id
    worded = engine.offering.amend(
        done.listing,
        lambda draft: msgspec.structs.replace(draft, title="Afterwards", tags=("new",)),
    )
    assert [one.kind for one in worded.preview.entries] == ["listing/1"]
    engine.offering.sign(worded)
    with pytest.raises(PreviewStale):
        engine.offering.sign(worded)
    view = engine.catalogue.show(done.listing)
    assert (view.row.title, view.price.amount.amount) == ("Afterwards", 1200)
    assert view.release.release == done.release
    assert found(engine, "Afterwards") == ["Afterwards"]
    assert found(engine, "Before") == []


def test_a_paused_listing_is_found_only_when_asked_for_and_stays_paused_when_amended(
    shop: Shop,
) -> None:
    engine = shop.engine
    done = publish(engine, shop.weights(), title="Pausable zebra")
    engine.offering.sign(engine.offering.set_state(done.listing, "paused"))
    assert found(engine, "zebra") == []
    assert found(engine, "zebra", with_paused=True) == ["Pausable zebra"]
    with pytest.raises(DraftHasProblems) as caught:
        engine.offering.set_state(done.listing, "paused")
    assert codes(caught.value.problems) == ["listing.nothing_changed"]
    engine.offering.sign(
        engine.offering.amend(
            done.listing, lambda draft: msgspec.structs.replace(draft, text="Other words.")
        )
    )
    assert engine.catalogue.show(done.listing).row.state == "paused"
    engine.offering.sign(engine.offering.set_state(done.listing, "open"))
    assert found(engine, "zebra") == ["Pausable zebra"]


def test_a_withdrawn_listing_is_closed_for_good_and_its_releases_stand(shop: Shop) -> None:
    engine = shop.engine
    done = publish(engine, shop.weights(), title="Withdrawn okapi")
    engine.offering.sign(engine.offering.set_state(done.listing, "withdrawn"))
    assert found(engine, "okapi", with_paused=True, with_expired=True) == []
    view = engine.catalogue.show(done.listing)
    assert (view.row.state, view.release.release) == ("withdrawn", done.release)
    since = next_seq(engine)
    for act in (
        lambda: engine.offering.set_state(done.listing, "open"),
        lambda: engine.offering.amend(
            done.listing, lambda draft: msgspec.structs.replace(draft, title="Back again")
        ),
        lambda: engine.offering.renew([done.listing], shop.person.clock.now_ms() + DAY_MS),
        lambda: publish(engine, shop.weights(), listing=done.listing),
    ):
        with pytest.raises(DraftHasProblems) as caught:
            act()
        assert "listing.withdrawn" in codes(caught.value.problems)
    assert next_seq(engine) == since


def test_what_one_withdrew_may_be_offered_anew_under_a_content_key_of_its_own(shop: Shop) -> None:
    engine, model = shop.engine, shop.weights()
    first = publish(engine, model)
    engine.offering.sign(engine.offering.set_state(first.listing, "withdrawn"))
    second = publish(engine, model)
    assert second.artifact == first.artifact
    with engine.context.store.reads() as reads:
        rows = [reads.listings.release(EntryId(one.release)) for one in (first, second)]
        held = [reads.objects.manifest_of_release(EntryId(one.release)) for one in (first, second)]
    assert rows[0].seal.salt != rows[1].seal.salt
    assert rows[0].seal.ck_commit != rows[1].seal.ck_commit
    assert [one.salt for one in held] == [row.seal.salt for row in rows]


def test_an_open_release_stays_known_when_its_files_are_imported_again(shop: Shop) -> None:
    engine, model = shop.engine, shop.weights()
    done = publish(engine, model, price="0", tiers=free_tiers())
    engine.publishing.begin(model, Control())
    with engine.context.store.reads() as reads:
        held = reads.objects.manifest_of_release(EntryId(done.release))
    assert (held.artifact, held.sealed) == (done.artifact, None)


def test_a_listing_is_retired_with_the_one_that_takes_its_place(shop: Shop) -> None:
    engine = shop.engine
    old = publish(engine, shop.weights(), title="Old one")
    new = publish(engine, shop.weights(), title="New one")
    with pytest.raises(DraftHasProblems) as caught:
        engine.offering.set_state(old.listing, "withdrawn", old.listing)
    assert codes(caught.value.problems) == ["listing.own_successor"]
    with pytest.raises(UnknownListing) as unknown:
        engine.offering.set_state(old.listing, "withdrawn", bytes(32))
    said(unknown.value)
    engine.offering.sign(engine.offering.set_state(old.listing, "withdrawn", new.listing))
    view = engine.catalogue.show(old.listing)
    assert (view.row.state, view.successor) == ("withdrawn", new.listing)
    third = publish(engine, shop.weights(), title="Third")
    with pytest.raises(DraftHasProblems) as caught:
        engine.offering.set_state(third.listing, "withdrawn", old.listing)
    assert codes(caught.value.problems) == ["listing.withdrawn"]


def test_an_expired_listing_leaves_the_results_and_not_the_ledger_until_it_is_renewed(
    tmp_path: Path,
) -> None:
    anna = seller(tmp_path)
    now_ms = anna.clock.now_ms()
    with anna.open() as engine:
        done = publish(
            engine, plain_weights(tmp_path / "w"), title="Short lived", valid_until=now_ms + DAY_MS
        )
        assert found(engine, "lived") == ["Short lived"]
        anna.clock.advance(2 * DAY_MS)
        assert found(engine, "lived") == []
        assert found(engine, "lived", with_expired=True) == ["Short lived"]
        assert engine.catalogue.show(done.listing).is_expired
        assert engine.ledger.show()[-3].entry_id == done.listing
        with pytest.raises(DraftHasProblems) as caught:
            engine.offering.renew([done.listing], now_ms + DAY_MS)
        assert codes(caught.value.problems) == ["listing.ended"]
        with pytest.raises(DraftHasProblems) as caught:
            engine.offering.renew([done.listing], anna.clock.now_ms() + LISTING_MS_MAX + 1)
        assert codes(caught.value.problems) == ["listing.ends_too_late"]
        until_ms = anna.clock.now_ms() + 30 * DAY_MS
        engine.offering.sign(engine.offering.renew([done.listing, done.listing], until_ms))
        view = engine.catalogue.show(done.listing)
        assert (view.row.valid_until_ms, view.is_expired) == (until_ms, False)
        assert found(engine, "lived") == ["Short lived"]
        check_whole(engine)


# --- somebody else's -------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path) -> tuple[Person, Person]:
    return seller(tmp_path, "anna"), seller(tmp_path, "bo")


def test_files_that_somebody_else_offers_are_refused_and_said_whose_they_are(
    two: tuple[Person, Person], tmp_path: Path
) -> None:
    anna, bo = two
    for_money = plain_weights(tmp_path / "for-money")
    for_all = plain_weights(tmp_path / "for-all")
    with anna.open() as engine:
        paid = publish(engine, for_money, title="Anna's own")
        free = publish(engine, for_all, title="Anna's gift", price="0", tiers=free_tiers())
        cousin = publish(engine, plain_weights(tmp_path / "cousin"), title="Anna's third")
    give(anna, bo, tmp_path)
    with bo.open() as engine:
        publishing, since = engine.publishing, next_seq(engine)
        draft = publishing.begin(for_money, Control()).draft_id
        view = publishing.edit(draft, described(title="Bo's now"))
        (problem,) = view.errors
        assert problem.code == "listing.published_by_other"
        assert (problem.values["seller"], problem.values["title"]) == ("anna", "Anna's own")
        assert problem.values["release"] == paid.release
        for sentence in said(problem):
            assert "anna" in sentence
            assert paid.release.hex() in sentence

        # Named as the base, its licence speaks: it forbids passing the model on, and selling.
        based = Lineage(base_models=(BaseModel(name="Anna's", release=paid.release),))
        view = publishing.edit(draft, lambda known: with_lineage(known, based))
        assert "listing.published_by_other" not in codes(view.problems)
        assert {"lineage.no_passing_on", "lineage.no_sale"} <= set(codes(view.errors))
        with pytest.raises(DraftHasProblems):
            publishing.preview(draft, Control())

        # What anybody may pass on may be offered again, with its origin.
        draft = publishing.begin(for_all, Control()).draft_id
        publishing.edit(draft, described(title="Gift passed on", tiers=free_tiers(), price="0"))
        with pytest.raises(DraftHasProblems):
            publishing.preview(draft, Control())
        based = Lineage(base_models=(BaseModel(name="Anna's", release=free.release),))
        publishing.edit(draft, lambda known: with_lineage(known, based))
        done = publishing.publish(draft, publishing.preview(draft, Control()))
        assert shop_entries(engine, since) == ["listing/1", "release/1", "price/1"]
        assert engine.catalogue.show(done.listing).release.base == (free.release,)

        with pytest.raises(NotYourListing) as caught:
            engine.offering.set_state(free.listing, "withdrawn")
        said(caught.value)
        with pytest.raises(NotYourListing):
            publishing.begin(for_all, Control(), listing=free.listing)
        retired = engine.offering.set_state(done.listing, "withdrawn", cousin.listing)
        assert codes(retired.warnings) == ["listing.foreign_successor"]
        check_whole(engine)


def shop_entries(engine: Engine, since: int) -> list[str]:
    return [one.kind for one in engine.ledger.show() if one.seq >= since]


def with_lineage(draft: object, lineage: Lineage) -> object:
    card = msgspec.structs.replace(draft.card, lineage=lineage)
    return msgspec.structs.replace(draft, card=card)


def test_ones_own_release_as_a_base_needs_no_licence(shop: Shop) -> None:
    first = publish(shop.engine, shop.weights(), title="The base")
    based = Lineage(
        base_models=(BaseModel(name="mine", release=first.release, relation="finetune"),)
    )
    publishing = shop.engine.publishing
    draft = publishing.begin(shop.weights(), Control()).draft_id
    publishing.edit(draft, described(title="The derived"))
    view = publishing.edit(draft, lambda known: with_lineage(known, based))
    assert codes(view.errors) == []
    done = publishing.publish(draft, publishing.preview(draft, Control()))
    assert shop.engine.catalogue.show(done.listing).release.base == (first.release,)


# --- sealed and in the clear -----------------------------------------------------------------


def test_the_phrase_and_the_feed_are_enough_to_open_what_was_sealed(
    two: tuple[Person, Person], tmp_path: Path
) -> None:
    anna, _ = two
    first, second = plain_weights(tmp_path / "one", 2_500_000), plain_weights(tmp_path / "two")
    with anna.open() as engine:
        before = publish(engine, first, title="Under the first epoch")
        engine.accounts.rotate(anna.phrase)
        after = publish(engine, second, title="Under the second epoch")
        engine.ledger.export(tmp_path / "anna.hanse-feed")
    laptop, _ = anna.restore_to(tmp_path / "again", tmp_path / "anna.hanse-feed")
    with anna.open() as here, laptop.open() as there:
        for done, source, epoch in ((before, first, 0), (after, second, 1)):
            body = carry_sealed(here, there, done.release)
            assert body.seal.epoch == epoch
            for engine in (here, there):
                out = open_by_salt(
                    engine, body, tmp_path / f"{engine.context.home.folder.parent.name}-{epoch}"
                )
                assert tree(out) == tree(source)
        check_whole(here)


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below ``folder``."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_after_a_device_was_revoked_new_models_are_sealed_under_a_new_epoch(
    tmp_path: Path,
) -> None:
    anna = seller(tmp_path)
    source = plain_weights(tmp_path / "old")
    with anna.open() as engine:
        old = publish(engine, source, title="Before the loss")
    laptop, _ = anna.restore_to(tmp_path / "again", None)
    give(anna, laptop, tmp_path)
    with anna.open() as here, laptop.open() as there:
        body = carry_sealed(here, there, old.release)
        there.accounts.confirm_phrase(anna.phrase)
        there.accounts.revoke(anna.view.device, anna.phrase, reason="lost")
        new = publish(there, plain_weights(tmp_path / "new"), title="After the loss")
        assert body_of(there, new.release).seal.epoch == 1
        assert body.seal.epoch == 0
        assert tree(open_by_salt(there, body, tmp_path / "out")) == tree(source)
        check_whole(there)


def test_only_what_is_free_and_may_be_passed_on_is_given_in_the_clear(shop: Shop) -> None:
    engine = shop.engine

    def objects() -> int:
        return engine.storing.view().objects

    plain_again = publish(engine, shop.weights(), title="The notes are held", price="5")
    assert plain_again.level == 0
    before = objects()
    clear = publish(engine, shop.weights(), title="Open", price="0", tiers=free_tiers())
    assert body_of(engine, clear.release).seal is None
    assert objects() == before + 1  # the weights as they are; the notes were held before
    bound = publish(engine, shop.weights(), title="Free, not to be passed on", price="0")
    assert body_of(engine, bound.release).seal is not None
    paid = publish(engine, shop.weights(), title="Open for money", tiers=free_tiers())
    assert body_of(engine, paid.release).seal is not None
    tiers = (*free_tiers(), TierDraft(name="With help", terms=free_tiers()[0].terms, price="5"))
    mixed = publish(engine, shop.weights(), title="Open and dear", price="0", tiers=tiers)
    assert body_of(engine, mixed.release).seal is not None
    with engine.context.store.reads() as reads:
        for done, is_sealed in ((clear, False), (bound, True)):
            held = reads.objects.manifest_of_release(done.release)
            assert (held.sealed is not None) == is_sealed
            assert (held.salt is not None) == is_sealed


# --- what Workers make of it -----------------------------------------------------------------


def test_the_articles_file_becomes_a_model_that_runs_and_agrees_with_its_samples(
    shop: Shop,
) -> None:
    folder = shop.base / "keras"
    folder.mkdir()
    shutil.copyfile(ARTICLES_MODEL, folder / "model.h5")
    (folder / "README.md").write_text("# What it is\n")
    (folder / "labels.txt").write_text("\n".join("0123456789"))
    samples = Preparation(samples=EXAMPLES / "image_recognition_samples.npz")
    publishing = shop.engine.publishing
    view = publishing.begin(folder, Control(), preparation=samples)
    assert view.draft.formats == ("onnx",)
    assert view.draft.made_from != view.draft.artifact
    assert (view.draft.parity.verdict, view.draft.parity.inputs) == ("pass", 16)
    assert view.level == 1
    publishing.edit(view.draft_id, described(title="Digits, converted", untested=False))
    done = publishing.publish(view.draft_id, publishing.preview(view.draft_id, Control()))
    assert done.level == 2
    shown = shop.engine.catalogue.show(done.listing)
    assert shown.card.parity == view.draft.parity
    assert shown.card.signature.inputs[0].shape == ("batch", 8, 8, 1)
    assert [one.framework for one in shown.card.variants] == ["keras"]
    files = [one.path for one in shop.engine.content.manifest(done.artifact).files]
    assert files == ["README.md", "labels.txt", "model.onnx"]


@pytest.mark.slow
def test_an_estimator_is_converted_with_a_parity_that_stands_in_its_card(shop: Shop) -> None:
    sklearn = pytest.importorskip("sklearn.linear_model")
    skops = pytest.importorskip("skops.io")
    chance = np.random.default_rng(1)
    x = chance.normal(size=(60, 3))
    fitted = sklearn.LogisticRegression().fit(x, x[:, 0] + x[:, 1] > 0)
    path = shop.base / "estimator.skops"
    skops.dump(fitted, path)
    samples = shop.base / "estimator.npz"
    np.savez(samples, x=x[:16].astype(np.float32))
    view = shop.engine.publishing.begin(path, Control(), preparation=Preparation(samples=samples))
    assert view.draft.formats == ("onnx",)
    assert (view.draft.parity.verdict, view.draft.parity.source_format) == ("pass", "skops")
    assert view.level == 1
    shop.engine.publishing.drop(view.draft_id)


def test_a_pickle_can_be_listed_and_is_marked_as_what_it_is(shop: Shop) -> None:
    path = shop.base / "estimator.pkl"
    path.write_bytes(payload(path))
    publishing = shop.engine.publishing
    view = publishing.begin(path, Control())
    assert view.draft.formats == ("pickle",)
    assert view.level == 0
    told = codes(view.problems)
    assert "convert.impossible" in told
    assert "listing.not_certifiable" in told
    publishing.edit(view.draft_id, described(title="A pickle"))
    done = publishing.publish(view.draft_id, publishing.preview(view.draft_id, Control()))
    assert done.level == 0
    assert "listing.not_certifiable" in codes(done.warnings)
    assert shop.engine.catalogue.show(done.listing).release.formats == ("pickle",)
    assert not (shop.base / MARKER).exists()  # it was never loaded


def test_without_the_extra_the_one_command_is_named_and_the_file_can_still_be_listed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "importable_extras", frozenset)
    view = shop.engine.publishing.begin(ARTICLES_MODEL, Control())
    (missing,) = [one for one in view.problems if one.code == "convert.unavailable"]
    assert missing.is_warning
    for sentence in said(missing):
        assert 'pip install "hanse[keras]"' in sentence
    assert view.draft.formats == ("keras_h5",)
    assert view.level == 0
    shop.engine.publishing.drop(view.draft_id)


def test_a_pickle_that_calls_itself_onnx_is_refused_and_leaves_no_draft(shop: Shop) -> None:
    path = shop.base / "model.onnx"
    path.write_bytes(payload(path))
    before = shop.engine.publishing.drafts()
    with pytest.raises(FormatRefused) as caught:
        shop.engine.publishing.begin(path, Control())
    assert caught.value.values["rule"] == "name_disagrees"
    said(caught.value)
    assert shop.engine.publishing.drafts() == before


def test_variants_of_one_model_stand_side_by_side_in_its_card(shop: Shop) -> None:
    folder = shop.base / "variants"
    folder.mkdir()
    tiny_onnx(folder / "model-small.onnx", 4)
    tiny_onnx(folder / "model-large.onnx", 8)
    done = publish(shop.engine, folder, preparation=AS_IS, title="Two sizes")
    shown = shop.engine.catalogue.show(done.listing)
    assert [one.file for one in shown.card.variants] == ["model-large.onnx", "model-small.onnx"]
    assert shown.release.files == 2


def test_an_old_graph_is_normalised_unless_it_is_to_stay_as_it_is(shop: Shop) -> None:
    # Constants to fold: seven times faster, whatever else the machine does meanwhile.
    graph = old_style_model(width=128, folded=True, ir_version=6)
    path = save(graph, shop.base / "old.onnx")
    publishing = shop.engine.publishing
    view = publishing.begin(path, Control())
    source = view.draft.made_from
    assert source is not None
    assert view.draft.parity.verdict == "pass"
    assert "convert.note.defaults_fixed" in codes(view.problems)
    kept = shop.engine.content.files(shop.engine.content.manifest(view.draft.artifact))
    assert [one.name for one in onnx.load(kept["old.onnx"]).graph.input] == ["x"]

    view = publishing.prepare(view.draft_id, Control(), AS_IS)
    assert (view.draft.artifact, view.draft.made_from, view.draft.parity) == (source, None, None)
    with shop.engine.context.store.reads() as reads:
        wanted = {(use.root, use.size) for use in reads.objects.of_artifact(source)}
        held = [row.artifact for row in reads.objects.all_manifests()]
    assert wanted
    assert view.draft.artifact in held
    publishing.drop(view.draft_id)


def test_a_graph_with_nothing_to_normalise_stays_the_very_file(shop: Shop) -> None:
    path = tiny_onnx(shop.base / "plain.onnx", 16)
    view = shop.engine.publishing.begin(path, Control())
    assert view.draft.made_from is None
    held = shop.engine.content.files(shop.engine.content.manifest(view.draft.artifact))
    assert held["plain.onnx"].read_bytes() == path.read_bytes()
    assert "convert.note.nothing_to_do" in codes(view.problems)
    shop.engine.publishing.drop(view.draft_id)


# --- bad input -------------------------------------------------------------------------------


def empty_file(base: Path) -> Path:
    path = base / "empty.onnx"
    path.touch()
    return path


def link_out(base: Path) -> Path:
    folder = plain_weights(base / "linked")
    (base / "outside").write_bytes(b"secret")
    (folder / "inner").symlink_to(base / "outside")
    return folder


def too_large(base: Path) -> Path:
    path = base / "large.onnx"
    path.touch()
    os.truncate(path, ARTIFACT_FILE_SIZE_BYTES_MAX + 1)  # sparse: it takes no room
    return path


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (lambda base: base / "missing.onnx", SourceMissing),
        (empty_file, SourceEmpty),
        (link_out, LinkInSource),
        (too_large, ArtifactTooLarge),
    ],
    ids=["missing", "empty", "a link out of the folder", "above the size limit"],
)
def test_what_cannot_be_imported_is_refused_and_nothing_is_kept(
    shop: Shop, tmp_path: Path, make: object, refusal: type[Exception]
) -> None:
    before = (shop.engine.publishing.drafts(), shop.engine.storing.view())
    path = make(tmp_path)
    with pytest.raises(refusal) as caught:
        shop.engine.publishing.begin(path, Control())
    for sentence in said(caught.value):
        assert path.name in sentence or "inner" in sentence
    drafts, view = shop.engine.publishing.drafts(), shop.engine.storing.view()
    assert drafts == before[0]
    assert (view.objects, view.by_whose) == (before[1].objects, before[1].by_whose)


def test_a_file_that_changes_while_it_is_read_is_refused(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "growing.bin"
    path.write_bytes(some_bytes(100_000, "growing"))
    grown = []

    def report(stage: str, _done: int, _total: int) -> None:
        if stage == "import" and not grown:
            with path.open("ab") as file:
                grown.append(file.write(b"more"))

    before = shop.engine.publishing.drafts()
    with pytest.raises(SourceChanged) as caught:
        shop.engine.publishing.begin(path, Control(report))
    assert grown
    said(caught.value)
    assert shop.engine.publishing.drafts() == before


def test_every_problem_of_a_draft_is_told_at_once_in_both_languages(shop: Shop) -> None:
    publishing = shop.engine.publishing
    draft = publishing.begin(shop.weights(), Control()).draft_id
    good = publishing.edit(draft, described()).draft
    view = publishing.edit(
        draft,
        described(
            title="x" * 121,
            text="",
            price="-5",
            currency="XXQ",
            sectors=("finanse",),
            task="clasification",
            version="one",
            tags=("a<b",),
            capacity=0,
            valid_until=1,
        ),
    )
    assert {
        "listing.too_long",
        "listing.missing",
        "money.unknown_currency",
        "listing.unknown_sector",
        "listing.unknown_task",
        "release.version",
        "listing.tag",
        "listing.capacity",
        "listing.ended",
    } <= set(codes(view.errors))
    (sector,) = [one for one in view.errors if one.code == "listing.unknown_sector"]
    assert sector.values["nearest"] == "finance"
    with pytest.raises(DraftHasProblems) as caught:
        publishing.preview(draft, Control())
    assert caught.value.problems == view.errors
    said(caught.value)
    for price, currency in (("-5", "USD"), ("1.234", "USD"), ("1.5", "JPY"), ("ten", "EUR")):
        bad = msgspec.structs.replace(good, price=price, currency=currency)
        view = publishing.edit(draft, lambda _, bad=bad: bad)
        problem = view.errors[0]
        assert problem.field == "price"
        for sentence in said(problem):
            assert price in sentence
    publishing.drop(draft)


def test_nothing_is_published_while_locked(shop: Shop) -> None:
    publishing = shop.engine.publishing
    draft = publishing.begin(shop.weights(), Control()).draft_id
    publishing.edit(draft, described())
    preview = publishing.preview(draft, Control())
    since = next_seq(shop.engine)
    shop.engine.accounts.lock()
    try:
        for act in (
            lambda: publishing.seal(draft, Control()),
            lambda: publishing.preview(draft, Control()),
            lambda: publishing.publish(draft, preview),
        ):
            with pytest.raises(AccountLocked) as caught:
                act()
            said(caught.value)
        assert publishing.edit(draft, described(title="Typed while locked")).draft.title
    finally:
        shop.engine.accounts.unlock("a long enough passphrase")
    assert next_seq(shop.engine) == since
    publishing.drop(draft)


# --- files that several want -----------------------------------------------------------------


def test_converting_a_file_again_takes_nothing_from_the_release_that_sells_it(shop: Shop) -> None:
    """The same ``.h5`` sold as it is, and then converted for a new Release."""
    path = shop.base / "sold.h5"
    shutil.copyfile(ARTICLES_MODEL, path)
    first = publish(shop.engine, path, preparation=AS_IS, title="As it is")
    view = shop.engine.publishing.begin(path, Control(), listing=first.listing)
    assert view.draft.artifact != first.artifact
    with shop.engine.context.store.reads() as reads:
        assert reads.objects.manifest_of_release(first.release) is not None
        assert reads.objects.of_artifact(first.artifact)
    shop.engine.publishing.drop(view.draft_id)
    with shop.engine.context.store.reads() as reads:
        assert reads.objects.of_artifact(first.artifact)
        assert not reads.objects.of_artifact(view.draft.artifact)


def test_coming_back_to_a_converted_draft_keeps_no_second_copy(shop: Shop) -> None:
    path = save(old_style_model(width=32), shop.base / "twice.onnx")
    first = shop.engine.publishing.begin(path, Control())
    assert shop.engine.publishing.begin(path, Control()).draft_id == first.draft_id
    with shop.engine.context.store.reads() as reads:
        assert not reads.objects.of_artifact(first.draft.made_from)
        assert reads.objects.of_artifact(first.draft.artifact)
    shop.engine.publishing.drop(first.draft_id)
    with shop.engine.context.store.reads() as reads:
        assert not reads.objects.of_artifact(first.draft.artifact)
