"""Text in columns: widths count Chinese as two, and nothing acts on the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanse.app.columns import harmless, padded, pairs, table, text_width, wrapped


@pytest.mark.parametrize(
    ("text", "width"), [("abc", 3), ("账户", 4), ("é", 1), ("e\u0301", 1), ("\uff21", 2), ("", 0)]
)
def test_width_counts_columns(text, width):
    assert text_width(text) == width


def test_columns_line_up_under_chinese_headers():
    lines = table(["名称", "n"], [["小店", "1"], ["shop", "22"], ["x", ""]])
    assert lines == ("名称  n", "小店  1", "shop  22", "x")


def test_a_line_break_in_a_cell_does_not_break_the_table():
    assert table(["a"], [["one\ntwo"]]) == ("a", "one two")


def test_a_table_without_rows_still_has_its_headers():
    assert table(["a", "b"], []) == ("a  b",)


def test_pairs_stand_in_one_column():
    assert pairs([("账户", "x"), ("a", "y")]) == ("账户  x", "a     y")
    assert pairs([]) == ()


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "a\rb", "\u202eevil", "\u2066x", "\x00", "\ud800", "a\tb"]
)
def test_what_could_act_on_the_terminal_is_replaced(text):
    shown = harmless(text)
    assert "?" in shown
    shown.encode()


def test_lines_and_scripts_that_need_joiners_are_kept():
    assert harmless("a\nb") == "a\nb"
    assert harmless("می\u200cروم") == "می\u200cروم"


def test_chinese_breaks_anywhere_but_before_punctuation():
    lines = wrapped("账户已建立，恢复短语只显示一次。", 12)
    assert all(text_width(line) <= 14 for line in lines)
    assert not any(line.startswith(("，", "。")) for line in lines)
    assert "".join(lines) == "账户已建立，恢复短语只显示一次。"


def test_english_breaks_between_words_and_long_words_stay_whole():
    assert wrapped("one two three", 8) == ("one two", "three")
    assert wrapped("hanse:id:aaaaaaaaaaaa b", 8) == ("hanse:id:aaaaaaaaaaaa", "b")
    assert wrapped("", 8) == ()


@given(st.text(), st.integers(10, 60))
def test_wrapping_loses_nothing_but_spaces(text, width):
    lines = wrapped(text, width, "  ")
    assert "".join("".join(lines).split()) == "".join(text.split())


@given(st.text(alphabet="ab账户é", max_size=20))
def test_padding_reaches_the_width(text):
    assert text_width(padded(text, 40)) == 40
