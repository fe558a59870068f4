from __future__ import annotations

from dataclasses import replace

import pytest

from hanse.core.model.ids import EntryId
from hanse.core.store import drafts as drafts_module
from hanse.core.store.drafts import (
    DraftPublished,
    DraftRow,
    DraftState,
    DraftTooLarge,
    DraftUnknown,
    TooManyDrafts,
)

LISTING = EntryId(bytes([8]) * 32)
ARTIFACT = bytes([9]) * 32
DRAFT = DraftRow(
    draft=bytes(16),
    state=DraftState.IMPORTED,
    data=b"\x00typed",
    created_ms=1000,
    updated_ms=2000,
    source="/models/a.onnx",
    artifact=ARTIFACT,
)


@pytest.fixture
def held(store):
    """Give the drafts of one transaction."""
    with store.unit_of_work() as uow:
        yield uow.drafts


def test_a_draft_comes_back_as_it_was_put(held):
    assert held.get(DRAFT.draft) is None
    held.put(DRAFT)
    assert held.get(DRAFT.draft) == DRAFT


def test_a_draft_put_again_keeps_when_it_was_made(held):
    held.put(DRAFT)
    later = replace(DRAFT, data=b"more", created_ms=9, updated_ms=3000, artifact=None)
    held.put(later)
    assert held.get(DRAFT.draft) == replace(later, created_ms=1000)


def test_a_draft_advances_to_published_and_then_stays(held):
    held.put(DRAFT)
    for at, state in enumerate((DraftState.PREPARED, DraftState.TESTED, DraftState.DRAFTED)):
        held.advance(DRAFT.draft, state, 3000 + at)
        assert held.get(DRAFT.draft).state is state
    held.advance(DRAFT.draft, DraftState.PUBLISHED, 4000, listing=LISTING)
    published = held.get(DRAFT.draft)
    assert (published.listing, published.updated_ms) == (LISTING, 4000)
    with pytest.raises(DraftPublished) as caught:
        held.advance(DRAFT.draft, DraftState.PUBLISHED, 5000)
    assert caught.value.values == {"draft": DRAFT.draft, "listing": LISTING}
    with pytest.raises(DraftPublished):
        held.put(DRAFT)
    assert held.get(DRAFT.draft) == published


def test_advancing_keeps_the_listing_a_draft_amends(held):
    held.put(replace(DRAFT, listing=LISTING))
    held.advance(DRAFT.draft, DraftState.DRAFTED, 3000)
    assert held.get(DRAFT.draft).listing == LISTING


def test_a_draft_that_is_not_there_cannot_advance(held):
    with pytest.raises(DraftUnknown):
        held.advance(DRAFT.draft, DraftState.PREPARED, 3000)


def test_a_draft_can_be_dropped_published_or_not(held):
    held.put(DRAFT)
    held.advance(DRAFT.draft, DraftState.PUBLISHED, 4000, listing=LISTING)
    assert held.drop(DRAFT.draft)
    assert not held.drop(DRAFT.draft)
    assert held.page() == []


def test_drafts_come_in_pages_the_one_changed_last_first(held):
    rows = [
        replace(DRAFT, draft=bytes([number]) * 16, updated_ms=2000 + number // 2)
        for number in range(5)
    ]
    for row in rows:
        held.put(row)
    found, before = [], None
    while page := held.page(before, limit=2):
        found.append(page)
        before = (page[-1].updated_ms, page[-1].draft)
    assert found == [rows[:2:-1], rows[2:0:-1], rows[:1]]


def test_the_drafts_about_an_artifact_are_found(held):
    held.put(DRAFT)
    held.put(replace(DRAFT, draft=bytes([1]) * 16, artifact=None))
    assert held.of_artifact(ARTIFACT) == [DRAFT]


def test_a_draft_that_is_too_large_is_refused_and_the_old_one_stays(held, monkeypatch):
    held.put(DRAFT)
    monkeypatch.setattr(drafts_module, "DRAFT_SIZE_BYTES_MAX", 8)
    held.put(replace(DRAFT, data=bytes(8)))
    with pytest.raises(DraftTooLarge) as caught:
        held.put(replace(DRAFT, data=bytes(9)))
    assert caught.value.values == {"found_bytes": 9, "most_bytes": 8}
    assert held.get(DRAFT.draft).data == bytes(8)


def test_a_full_folder_takes_no_new_draft_but_keeps_saving_the_old_ones(held, monkeypatch):
    monkeypatch.setattr(drafts_module, "DRAFTS_MAX", 1)
    held.put(DRAFT)
    held.put(replace(DRAFT, data=b"again"))
    with pytest.raises(TooManyDrafts):
        held.put(replace(DRAFT, draft=bytes([1]) * 16))
