"""Human reviews: one voice a person, objections as loud as approvals, interests shown."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hanse.core.attest.human import m_of_n, newest_reviews
from hanse.core.sentences import LANGUAGES, say


@dataclass(frozen=True)
class Review:
    """What counting needs of a review."""

    identity: bytes
    verdict: str
    conflict: str = "none"
    time_ms: int = 1
    entry: bytes = b"e"


def test_m_of_n_counts_each_verdict():
    found = m_of_n(
        [Review(b"a", "approve"), Review(b"b", "approve", "paid"), Review(b"c", "abstain")], 2
    )
    assert (found.approve, found.object, found.abstain, found.count) == (2, 0, 1, 3)
    assert (found.conflicts, found.approve_free) == (1, 1)
    assert found.is_met


def test_the_newest_review_of_a_person_counts():
    first = Review(b"a", "approve", time_ms=1)
    second = Review(b"a", "object", time_ms=2)
    for reviews in ([first, second], [second, first]):
        assert newest_reviews(reviews) == (second,)
        assert m_of_n(reviews, 1).object == 1
        assert not m_of_n(reviews, 1).is_met


def test_of_two_at_one_time_the_same_one_counts_whatever_the_order():
    first, second = Review(b"a", "approve", entry=b"1"), Review(b"a", "object", entry=b"2")
    assert newest_reviews([first, second]) == newest_reviews([second, first]) == (second,)


def test_the_newest_stands_first():
    reviews = [Review(b"a", "approve", time_ms=1), Review(b"b", "approve", time_ms=3)]
    assert [one.identity for one in newest_reviews(reviews)] == [b"b", b"a"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_objection_stands_first_in_the_sentence(language):
    found = m_of_n([Review(b"a", "approve"), Review(b"b", "object", "customer")], 2)
    values = {
        name: getattr(found, name) for name in ("approve", "object", "count", "wanted", "conflicts")
    }
    text = say(found.sentence, values, language)
    assert "1" in text
    assert found.sentence == "human_review.m_of_n.objected"
    assert m_of_n([Review(b"a", "approve")], 1).sentence == "human_review.m_of_n"


def test_nobody_is_nobody():
    assert m_of_n([], 0).is_met
    assert m_of_n([], 1).count == 0
