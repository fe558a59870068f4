"""Amounts are read exactly or refused with both values, and shown with our decimals."""

from __future__ import annotations

from decimal import Decimal

import pytest
from babel.numbers import get_currency_precision, list_currencies
from hypothesis import given
from hypothesis import strategies as st

from hanse.core.limits import MONEY_AMOUNT_MAX
from hanse.core.market.currencies import (
    COINS,
    EXPONENTS,
    BadMoney,
    FloatMoney,
    MoneyTooLarge,
    NegativeMoney,
    SeparatedMoney,
    UnknownCurrency,
    WrongDecimals,
    exponent_of,
    find_currency,
    nearest_currency,
    parse_money,
    plain_amount,
    price_text,
    show_money,
)
from hanse.core.model.money import Money

# Where the library follows usage and ISO 4217 says otherwise.
BY_USAGE = {
    *("AFN", "ALL", "IQD", "IRR", "KPW", "LAK", "LBP", "MGA", "MMK", "RSD", "SOS", "SYP", "YER"),
    "UYW",
}


@pytest.mark.parametrize(
    ("currency", "exponent"),
    [
        *(("EUR", 2), ("USD", 2), ("CNY", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("IQD", 3)),
        *(("BTC", 8), ("USDC", 6), ("XMR", 12), ("ETH", 9)),
    ],
)
def test_a_currency_has_the_decimals_of_its_standard_or_chain(currency, exponent):
    assert exponent_of(currency) == exponent


def test_every_state_currency_is_one_the_library_can_name():
    assert EXPONENTS.keys() - COINS.keys() <= list_currencies()


def test_our_decimals_differ_from_the_library_only_where_it_follows_usage():
    states = EXPONENTS.keys() - COINS.keys()
    differing = {code for code in states if EXPONENTS[code] != get_currency_precision(code)}
    assert differing <= BY_USAGE


@pytest.mark.parametrize(
    ("given", "currency", "amount"),
    [
        (100, "USD", 10000),
        ("100", "USD", 10000),
        (Decimal("19.90"), "EUR", 1990),
        (Decimal("1E+2"), "JPY", 100),
        ("12000", "JPY", 12000),
        ("0.001", "KWD", 1),
        ("1", "ETH", 10**9),
        ("0.000000000001", "XMR", 1),
        (" \uff11\uff10\uff10\uff0e\uff15\uff10 ", "CNY", 10050),
        ("+3", "USD", 300),
        ("100", "usd", 10000),
        (0, "USD", 0),
    ],
)
def test_an_amount_is_read_exactly(given, currency, amount):
    money = parse_money(given, currency)
    assert (money.amount, money.currency) == (amount, currency.upper())


def test_wrong_decimals_name_both_values():
    with pytest.raises(WrongDecimals, match=r"12\.345 EUR has 3 decimals, EUR has 2"):
        parse_money("12.345", "EUR")


def test_decimals_are_counted_as_typed_since_a_point_may_mean_thousands():
    with pytest.raises(WrongDecimals):
        parse_money("12.300", "EUR")
    with pytest.raises(WrongDecimals):
        parse_money("100.0", "JPY")


@pytest.mark.parametrize(
    "text", ["1,234.50", "12,50", "1 000", "1'000", "1_000", "1.234.567", "\uff11\uff0c\uff15"]
)
def test_separators_are_refused_by_name(text):
    with pytest.raises(SeparatedMoney):
        parse_money(text, "EUR")


@pytest.mark.parametrize(
    "given",
    [
        *("", "abc", "1e3", "NaN", ".5", "5.", "--1", "100 USD", "٣", "1" * 81),
        *(True, None, b"1", Decimal("NaN"), Decimal("1E+999999"), Decimal("1E-999999")),
    ],
)
def test_what_is_no_number_is_refused(given):
    with pytest.raises(BadMoney):
        parse_money(given, "EUR")


def test_a_number_of_any_length_is_refused_in_a_short_sentence():
    with pytest.raises(BadMoney) as raised:
        parse_money(10**5000, "EUR")
    assert len(str(raised.value)) < 100


def test_a_float_is_refused_with_its_own_sentence():
    with pytest.raises(FloatMoney, match=r"0\.1"):
        parse_money(0.1, "EUR")


def test_only_an_adjustment_may_be_negative():
    with pytest.raises(NegativeMoney, match=r"-10\.00 EUR"):
        parse_money("-10.00", "EUR")
    assert parse_money("-10.00", "EUR", is_adjustment=True).amount == -1000


def test_too_large_names_the_limit_in_major_units():
    assert parse_money("46116860184273879.04", "EUR").amount == MONEY_AMOUNT_MAX
    with pytest.raises(MoneyTooLarge, match=r"46116860184273879\.04"):
        parse_money("46116860184273879.05", "EUR")


@pytest.mark.parametrize(
    ("found", "nearest"),
    [("EURO", "EUR"), ("RMB", "CNY"), ("元", "CNY"), ("￥", "CNY"), ("USDD", "USD"), ("", "")],
)
def test_an_unknown_currency_suggests_the_nearest(found, nearest):
    with pytest.raises(UnknownCurrency) as raised:
        parse_money(1, found)
    assert raised.value.values == {"found": found, "nearest": nearest}


def test_a_currency_is_found_in_any_case_and_a_long_text_is_none():
    assert find_currency(" eur ") == "EUR"
    with pytest.raises(UnknownCurrency):
        find_currency("X" * 10_000)
    assert nearest_currency("qqqqqq") == ""


@given(
    st.sampled_from(sorted(EXPONENTS)),
    st.integers(min_value=-MONEY_AMOUNT_MAX, max_value=MONEY_AMOUNT_MAX),
)
def test_what_is_written_plainly_is_read_again(currency, amount):
    money = Money(amount, currency, EXPONENTS[currency])
    assert parse_money(plain_amount(money), currency, is_adjustment=True) == money


@given(st.one_of(st.text(max_size=30), st.integers(), st.decimals(), st.none(), st.floats()))
def test_whatever_is_given_is_money_or_a_refusal(given):
    try:
        money = parse_money(given, "EUR", is_adjustment=True)
    except BadMoney:
        return
    assert abs(money.amount) <= MONEY_AMOUNT_MAX


def test_a_price_given_by_a_program_becomes_text():
    assert [price_text(price) for price in (100, "9.50", Decimal("1E+2"))] == ["100", "9.50", "100"]


@pytest.mark.parametrize(
    ("money", "english", "chinese"),
    [
        (Money(1234560, "USD", 2), "$12,345.60", "US$12,345.60"),
        (Money(100, "JPY", 0), "¥100", "JP¥100"),
        (Money(10000000, "BTC", 8), "BTC\u00a00.10000000", "BTC\u00a00.10000000"),
        (Money(1234567, "KWD", 3), "KWD\u00a01,234.567", "KWD\u00a01,234.567"),
        (Money(-1050, "EUR", 2), "-€10.50", "-€10.50"),
        (Money(100, "CNY", 2), "CN¥1.00", "¥1.00"),
        (Money(5, "XMR", 12), "XMR\u00a00.000000000005", "XMR\u00a00.000000000005"),
    ],
)
def test_an_amount_is_shown_with_our_decimals(money, english, chinese):
    assert show_money(money, "en") == english
    assert show_money(money, "zh_CN") == chinese
