"""Which currencies there are, how many decimals each has, and amounts read and written.

* State currencies have the minor units of ISO 4217.  The table is our own: the library
  that writes amounts follows common usage, which is another number for 13 of them.
* Coins have the decimals of their chain and contract; ETH is counted in gwei, since wei
  pass 64 bits above 9.2 ETH.
* An amount is read from text, a whole number or a ``Decimal``, exactly or not at all:
  more decimals than the currency has, grouping signs and decimal commas are refused,
  never rounded or guessed.  A float is refused: 0.1 is no exact number.
* An amount is shown with *our* decimals, in the manner of the person's language.

Exchange rates are not known here.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Final

from babel import Locale
from babel.numbers import parse_pattern

from hanse.core.errors import WrongUse
from hanse.core.limits import MONEY_AMOUNT_MAX, PRICE_CHARACTERS_MAX
from hanse.core.model.money import Money

if TYPE_CHECKING:
    from collections.abc import Mapping

    from babel.numbers import NumberPattern

_USUAL: Final = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF "
    "CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD "
    "HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA "
    "MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN "
    "QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SYP SZL THB TJS TMT TOP TRY "
    "TTD TWD TZS UAH USD UYU UZS VES WST XCD XCG YER ZAR ZMW ZWG"
)
_OTHER: Final[Mapping[int, str]] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
COINS: Final[Mapping[str, int]] = {"BTC": 8, "ETH": 9, "USDC": 6, "XMR": 12}
EXPONENTS: Final[Mapping[str, int]] = {
    **dict.fromkeys(_USUAL.split(), 2),
    **{code: exponent for exponent, codes in _OTHER.items() for code in codes.split()},
    **COINS,
}

_MEANT: Final[Mapping[str, str]] = {  # what people write instead of a code
    "$": "USD", "US$": "USD", "DOLLAR": "USD", "DOLLARS": "USD", "美元": "USD",
    "€": "EUR", "EURO": "EUR", "EUROS": "EUR", "欧元": "EUR",
    "£": "GBP", "POUND": "GBP", "POUNDS": "GBP", "英镑": "GBP",
    "¥": "CNY", "RMB": "CNY", "YUAN": "CNY", "元": "CNY", "人民币": "CNY", "CN¥": "CNY",
    "JP¥": "JPY", "YEN": "JPY", "日元": "JPY", "円": "JPY",
    "XBT": "BTC", "₿": "BTC", "BITCOIN": "BTC", "比特币": "BTC", "ETHER": "ETH", "以太币": "ETH",
}  # fmt: skip
_PLAIN: Final = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))?\Z")
_SEPARATED: Final = re.compile(r"[+-]?[0-9][0-9.,'’_\s]*[0-9]\Z")
_WORD_BESIDE_DIGIT: Final = re.compile(r"(?<=[^\W\d_])(?=\d)")
_NO_BREAK_SPACE: Final = "\u00a0"


class BadMoney(WrongUse):
    """What was given is no amount of its currency; the subclasses say why."""

    code = "money.unreadable"
    text = "{found} is no amount; write a plain number such as 1234.50"
    fields: ClassVar[tuple[str, ...]] = ("found",)


class FloatMoney(BadMoney):
    """A float came where an exact amount belongs."""

    code = "money.float"
    text = "{found} is a float and not exact; give a whole number, a text or a Decimal"


class SeparatedMoney(BadMoney):
    """An amount has grouping signs or a decimal comma, which mean different things elsewhere."""

    code = "money.separators"
    text = "{found} has separators; write a plain number with a decimal point, such as 1234.50"


class WrongDecimals(BadMoney):
    """An amount has more decimals than its currency."""

    code = "money.decimals"
    text = "{found} {currency} has {decimals} decimals, {currency} has {most}"
    fields = ("found", "currency", "decimals", "most")


class NegativeMoney(BadMoney):
    """An amount is below zero where none may be."""

    code = "money.negative"
    text = "{found} {currency} is below 0"
    fields = ("found", "currency")


class MoneyTooLarge(BadMoney):
    """An amount is beyond what the Ledger can hold."""

    code = "money.too_large"
    text = "{found} {currency} is too large, at most {most}"
    fields = ("found", "currency", "most")


class UnknownCurrency(WrongUse):
    """No currency has this code; ``nearest`` is the closest one."""

    code = "money.unknown_currency"
    text = "no currency {found} (nearest: {nearest})"
    fields = ("found", "nearest")


def find_currency(text: str) -> str:
    """Return the code that ``text`` is in whatever case, or raise ``UnknownCurrency``."""
    code = unicodedata.normalize("NFKC", text[:PRICE_CHARACTERS_MAX]).strip().upper()
    if code not in EXPONENTS:
        raise UnknownCurrency(found=text[:PRICE_CHARACTERS_MAX], nearest=nearest_currency(text))
    return code


def nearest_currency(text: str) -> str:
    """Return the code that ``text`` resembles most, or an empty text."""
    asked = unicodedata.normalize("NFKC", text[:PRICE_CHARACTERS_MAX]).strip().upper()
    if asked in _MEANT:
        return _MEANT[asked]
    close = difflib.get_close_matches(asked, EXPONENTS, n=1)
    return close[0] if close else ""


def exponent_of(currency: str) -> int:
    """Return how many decimals ``currency`` has, or raise ``UnknownCurrency``."""
    return EXPONENTS[find_currency(currency)]


def parse_money(given: object, currency: str, *, is_adjustment: bool = False) -> Money:
    """Read an amount in major units; one below zero only if ``is_adjustment``.

    Full-width digits are read as digits.  Raise ``UnknownCurrency`` or a ``BadMoney``.
    """
    code = find_currency(currency)
    exponent = EXPONENTS[code]
    text = price_text(given)
    found = _PLAIN.match(unicodedata.normalize("NFKC", text).strip())
    if found is None:
        separated = _SEPARATED.match(unicodedata.normalize("NFKC", text).strip())
        raise SeparatedMoney(found=text) if separated else BadMoney(found=text)
    sign, whole, decimals = found.group(1), found.group(2), found.group(3) or ""
    if len(decimals) > exponent:
        raise WrongDecimals(found=text, currency=code, decimals=len(decimals), most=exponent)
    amount = int(whole + decimals.ljust(exponent, "0")) * (-1 if sign == "-" else 1)
    if amount < 0 and not is_adjustment:
        raise NegativeMoney(found=text, currency=code)
    if abs(amount) > MONEY_AMOUNT_MAX:
        most = plain_amount(Money(MONEY_AMOUNT_MAX, code, exponent))
        raise MoneyTooLarge(found=text, currency=code, most=most)
    return Money(amount, code, exponent)


def price_text(given: object) -> str:
    """Write a price given by a program as a person would type it, or raise ``BadMoney``.

    For a ``Draft``, which keeps text: an ``int``, ``str`` or ``Decimal`` in major units.
    """
    match given:
        case bool():
            raise BadMoney(found=str(given))
        case str():
            text = given
        case int() if given.bit_length() > PRICE_CHARACTERS_MAX * 3:  # bits of that many digits
            raise BadMoney(found=f"{given:#x}"[:20] + "...")
        case int():
            text = str(given)
        case Decimal() if not given.is_finite() or abs(given.adjusted()) > PRICE_CHARACTERS_MAX:
            raise BadMoney(found=str(given)[:PRICE_CHARACTERS_MAX])
        case Decimal():
            text = f"{given:f}"
        case _ if type(given).__name__ == "float":
            raise FloatMoney(found=str(given))
        case _:
            raise BadMoney(found=type(given).__name__)
    if len(text) > PRICE_CHARACTERS_MAX:
        raise BadMoney(found=f"{text[:20]}...")
    return text


def plain_amount(money: Money) -> str:
    """Write the number alone, with all its decimals: what ``parse_money`` reads again."""
    digits = str(abs(money.amount)).rjust(money.exponent + 1, "0")
    sign = "-" if money.amount < 0 else ""
    if money.exponent == 0:
        return sign + digits
    return f"{sign}{digits[: -money.exponent]}.{digits[-money.exponent :]}"


def show_money(money: Money, language: str) -> str:
    """Write an amount for a person, with the decimals it has on the Ledger."""
    shown: str = _pattern(language, money.exponent).apply(
        Decimal(plain_amount(money)),
        language,
        currency=money.currency,
        currency_digits=False,
    )
    return _WORD_BESIDE_DIGIT.sub(_NO_BREAK_SPACE, shown)


@cache
def _pattern(language: str, exponent: int) -> NumberPattern:
    pattern = parse_pattern(Locale.parse(language).currency_formats["standard"].pattern)
    pattern.frac_prec = (exponent, exponent)
    return pattern
