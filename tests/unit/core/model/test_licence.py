"""A matrix is compared right by right, and its clauses fit it."""

from __future__ import annotations

import msgspec

from hanse.core.model.licence import RIGHTS, USES, Terms, terms_fault

PLAIN = Terms(
    spdx="MIT",
    text_hash=b"h" * 32,
    **dict.fromkeys(RIGHTS, 1),
)


def test_every_right_of_the_matrix_is_a_field():
    assert {PLAIN.right(name) for name in RIGHTS} == {1}
    assert set(USES) < set(RIGHTS)
    assert set(RIGHTS) < set(Terms.__struct_fields__)


def test_a_condition_and_its_clause_go_together():
    assert terms_fault(PLAIN) is None
    conditional = msgspec.structs.replace(PLAIN, resale=2)
    assert terms_fault(conditional) == "resale is conditional, and no clause is named"
    assert terms_fault(msgspec.structs.replace(conditional, clauses={"resale": 3})) is None
    spare = msgspec.structs.replace(PLAIN, clauses={"saas": 3})
    assert terms_fault(spare) == "saas is not conditional, and clause 3 is named"
