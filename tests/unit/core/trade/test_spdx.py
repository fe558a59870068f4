"""A licence expression is read in its official spelling, or refused with the nearest id."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.trade.spdx import (
    AllOf,
    AnyOf,
    BadLicence,
    licence_ids,
    licence_text,
    nearest_licence,
    read_licence,
)


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("MIT", "MIT"),
        ("mit", "MIT"),
        ("LicenseRef-hanse-commercial-1", "LicenseRef-hanse-commercial-1"),
        ("MIT OR Apache-2.0", AnyOf(("MIT", "Apache-2.0"))),
        ("mit and (isc or 0bsd)", AllOf(("MIT", AnyOf(("ISC", "0BSD"))))),
        (
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "GPL-2.0-only WITH Classpath-exception-2.0",
        ),
    ],
)
def test_an_expression_is_read_by_its_structure(text, expression):
    assert read_licence(text) == expression
    assert read_licence(licence_text(expression)) == expression


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        *(("Apache 2.0", "Apache-2.0"), ("apache2.0", "Apache-2.0"), ("MITT", "MIT")),
        *(("cc by 4.0", "CC-BY-4.0"), ("MIT AND", ""), ("(MIT", ""), ("", ""), (" MIT", "")),
        *(("LLVM-exception", ""), ("MIT WITH ISC", ""), ("LicenseRef-", ""), ("x" * 201, "")),
        *(("MIT OR Apahce-2.0", "Apache-2.0"), ("???", ""), ("()", ""), ("MIT Apache-2.0", "")),
        ("( AND or+", ""),
    ],
)
def test_what_is_no_expression_is_refused_with_the_nearest_id(text, nearest):
    with pytest.raises(BadLicence) as raised:
        read_licence(text)
    if nearest:
        assert raised.value.values["nearest"] == nearest


def test_ids_of_an_expression_come_once_each():
    assert licence_ids(read_licence("MIT OR (ISC AND MIT)")) == ("MIT", "ISC")


def test_parentheses_are_written_only_where_they_are_needed():
    assert licence_text(AnyOf((AllOf(("MIT", "ISC")), "0BSD"))) == "(MIT AND ISC) OR 0BSD"


@given(st.text(alphabet="()MITandorwithLicense-Ref 0.+:/\\\x00é", max_size=60))
def test_any_text_is_an_expression_or_refused(text):
    try:
        expression = read_licence(text)
    except BadLicence:
        return
    assert read_licence(licence_text(expression)) == expression


def test_deep_nesting_is_refused_or_read_within_the_length():
    text = "(" * 98 + "MIT" + ")" * 98
    try:
        assert read_licence(text) == "MIT"
    except BadLicence:
        assert nearest_licence(text) == ""
