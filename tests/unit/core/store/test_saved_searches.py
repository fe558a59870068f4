from __future__ import annotations

from dataclasses import replace

import pytest

from hanse.core.store import searches as searches_module
from hanse.core.store.searches import (
    SavedSearch,
    SavedSearchBad,
    SavedSearchUnknown,
    TooManySavedSearches,
)

SEARCH = SavedSearch("metal 金属", '{"text":"缺陷"}', 1000, 7)


@pytest.fixture
def held(store):
    """Give the saved searches of one transaction."""
    with store.unit_of_work() as uow:
        yield uow.saved_searches


def test_a_search_is_kept_by_name_and_put_again_in_its_place(held):
    assert held.get(SEARCH.name) is None
    held.put(SEARCH)
    held.put(replace(SEARCH, query="{}", created_ms=2000, seen_n=9))
    assert held.get(SEARCH.name) == replace(SEARCH, query="{}", seen_n=9)


def test_all_searches_come_by_name(held):
    for name in ("b", "a", "c"):
        held.put(replace(SEARCH, name=name))
    assert [search.name for search in held.all()] == ["a", "b", "c"]


def test_what_was_seen_is_noted(held):
    held.put(SEARCH)
    held.seen(SEARCH.name, 12)
    assert held.get(SEARCH.name).seen_n == 12


def test_a_search_that_is_not_kept_can_be_neither_seen_nor_dropped(held):
    held.put(SEARCH)
    held.drop(SEARCH.name)
    with pytest.raises(SavedSearchUnknown):
        held.drop(SEARCH.name)
    with pytest.raises(SavedSearchUnknown):
        held.seen(SEARCH.name, 1)


@pytest.mark.parametrize(
    "search",
    [replace(SEARCH, name=""), replace(SEARCH, name="x" * 101), replace(SEARCH, query="界" * 6000)],
    ids=["no name", "a long name", "a long query"],
)
def test_a_search_without_bounds_is_refused(held, search):
    with pytest.raises(SavedSearchBad):
        held.put(search)
    assert held.all() == []


def test_a_full_folder_takes_no_new_search_but_keeps_changing_the_old_ones(held, monkeypatch):
    monkeypatch.setattr(searches_module, "SAVED_SEARCHES_MAX", 1)
    held.put(SEARCH)
    held.put(replace(SEARCH, seen_n=8))
    with pytest.raises(TooManySavedSearches):
        held.put(replace(SEARCH, name="another"))
