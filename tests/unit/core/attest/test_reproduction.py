"""Who reproduced: one voice an Identity, somebody else's word, and Level 4 for whoever looks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hanse.core.attest.reproduction import (
    newest_certificates,
    reproduction,
    reproduction_verdict,
)
from hanse.core.model.certificate import Certificate
from hanse.core.model.ids import AuthorKey, EntryId, IdentityId
from tests.fakes.certified import statement

SELLER = IdentityId(b"S" * 32)


def cert(who, entry, verdict=None, of=b"S", *, level=3, at_ms=1_700_000_000_000):
    """Make a Certificate ``entry`` of ``who``, comparing with that of ``of``."""
    reproduces = None if verdict is None else (EntryId(of * 32), verdict)
    return Certificate(
        statement=statement(b"a" * 32, level=level, reproduces=reproduces, at_ms=at_ms),
        envelope=b"",
        device=AuthorKey(who * 32),
        identity=IdentityId(who * 32),
        entry=EntryId(entry * 32),
    )


SELLERS = cert(b"S", b"S")
ABC = (cert(b"A", b"1", "agree"), cert(b"B", b"2", "agree"), cert(b"C", b"3", "agree"))


def count(*certs, weights=None, k=3):
    return reproduction([SELLERS, *certs], seller=SELLER, weights=weights, k=k)


@pytest.mark.parametrize(
    ("n", "failing", "verdict"),
    [
        (0, 0, "not_comparable"),
        (1, 0, "agree"),
        (24, 1, "differ"),
        (99, 1, "differ"),
        (100, 1, "agree"),
        (199, 1, "agree"),
        (199, 2, "differ"),
        (200, 2, "agree"),
        (200, 3, "differ"),
    ],
)
def test_from_a_hundred_inputs_on_one_in_a_hundred_is_noise(n, failing, verdict):
    assert reproduction_verdict(n, failing) == verdict


def test_three_others_that_agree_are_level_4():
    found = count(*ABC)
    assert (found.level, found.agree, found.differ, found.is_weighted) == (4, 3, 0, False)
    assert count(*ABC[:2]).level == 3


def test_the_seller_is_not_an_other():
    again = cert(b"S", b"9", "agree", of=b"1")
    assert count(*ABC[:2], again).agree == 2


def test_the_newest_certificate_of_an_identity_counts_and_none_other():
    old = cert(b"A", b"8", "differ", at_ms=1)
    assert (count(old, *ABC).agree, count(old, *ABC).differ) == (3, 0)
    newer = cert(b"A", b"8", "differ", at_ms=1_800_000_000_000)
    found = count(newer, *ABC)
    assert (found.level, found.agree, found.differ) == (3, 2, 1)
    assert newest_certificates([*ABC, newer])[0] is newer


def test_the_order_in_which_they_come_does_not_matter():
    certs = [*ABC, cert(b"D", b"4", "differ")]
    assert count(*certs) == count(*reversed(certs))


def test_a_quarter_that_differs_is_too_much():
    four = (*ABC, cert(b"D", b"4", "agree"))
    assert count(*four, cert(b"E", b"5", "differ")).level == 3
    five = (*four, cert(b"F", b"6", "agree"))
    assert count(*five, cert(b"E", b"5", "differ")).level == 4


def test_trust_decides_where_somebody_is_trusted():
    nobody = count(*ABC, weights={})
    assert (nobody.level, nobody.agree, nobody.agree_milli, nobody.is_weighted) == (3, 3, 0, True)
    one = {IdentityId(b"A" * 32): 1000}
    assert count(*ABC, weights=one).level == 4
    assert count(*ABC, weights={IdentityId(b"A" * 32): 999}).level == 3
    differs = cert(b"D", b"4", "differ")
    assert count(*ABC, differs, weights=one | {IdentityId(b"D" * 32): 250}).level == 3
    assert count(*ABC, differs, weights=one | {IdentityId(b"D" * 32): 249}).level == 4


def test_comparing_with_oneself_says_nothing():
    own = cert(b"A", b"7", "agree", of=b"1", at_ms=1_800_000_000_000)
    assert count(*ABC, own).agree == 2


def test_comparing_with_what_is_not_here_or_was_taken_back_is_not_comparable():
    found = count(*ABC[:2], cert(b"C", b"3", "agree", of=b"X"))
    assert (found.agree, found.not_comparable) == (2, 1)


def test_what_could_not_be_compared_is_counted_as_that():
    found = count(*ABC, cert(b"D", b"4", "not_comparable"))
    assert (found.level, found.agree, found.not_comparable) == (4, 3, 1)


def test_somebody_whose_identity_is_unknown_does_not_count():
    stranger = Certificate(ABC[0].statement, b"", ABC[0].device, None, ABC[0].entry)
    assert count(stranger, *ABC[1:]).agree == 2


def test_without_reproduction_the_best_signed_level_is_shown():
    assert reproduction([], seller=SELLER, weights=None).level == 0
    certs = [cert(b"A", b"1", level=1), cert(b"B", b"2", level=2)]
    assert reproduction(certs, seller=SELLER, weights=None).level == 2


def test_what_failed_gives_no_level():
    failed = replace(
        cert(b"A", b"1"), statement=statement(b"a" * 32, level=2, fails="quality.accuracy")
    )
    assert reproduction([failed], seller=SELLER, weights=None).level == 0
    passed = cert(b"B", b"2", level=1)
    assert reproduction([failed, passed], seller=SELLER, weights=None).level == 1
