"""A Listing with a price or tiers this program does not understand is still shown."""

from __future__ import annotations

import pytest

from hanse.core.engine.naming import NothingNamed
from hanse.core.ledger.kinds import Price1, Release1
from hanse.core.market.listing_bodies import listing_body
from hanse.core.model.money import Money
from tests.fakes.drafts import NOW_MS, VOCABULARY, small_draft
from tests.fakes.people import Person


@pytest.fixture
def engine(tmp_path):
    with Person.make(tmp_path, "anna").open() as engine:
        yield engine


def append(engine, body):
    with engine.context.store.unit_of_work() as uow:
        entry = engine.context.append_own(uow, body)
        uow.commit()
    return entry.entry_id


def test_a_price_of_unknown_currency_terms_and_tiers_is_shown_as_signed(engine):
    salt = b"s" * 16
    listing = append(
        engine, listing_body(small_draft(), salt, now_ms=NOW_MS, vocabulary=VOCABULARY)
    )
    release = append(
        engine,
        Release1(
            salt=salt,
            listing=listing,
            version="of tomorrow",
            artifact=b"a" * 32,
            size=1,
            files=1,
            formats=("onnx",),
            edition="full",
            of=None,
            seal=None,
            tiers=({"v": 9, "name": "odd"}, {}),
            card=b"c" * 32,
            base=(),
            notes="",
            supersedes=None,
        ),
    )
    append(
        engine,
        Price1(
            salt=salt,
            listing=listing,
            release=None,
            mode="fixed",
            amount=Money(12_345, "ABC", 5),
            floor=0,
            ceil=12_345,
            tick=1,
            params={"terms": [5, ["launch", -45]], "more": 1},
            anchors=(),
        ),
    )
    found = engine.catalogue.listing_named(listing.hex()[:8])
    assert found == listing
    view = engine.catalogue.show(found)
    assert (view.price.amount, view.tiers, view.card) == (Money(12_345, "ABC", 5), (), None)
    assert engine.catalogue.base_named(release.hex()[:10]) == (release, small_draft().title)
    assert engine.catalogue.base_named("ab" * 32) == (b"\xab" * 32, "")
    with pytest.raises(NothingNamed):
        engine.catalogue.base_named("00000000")
