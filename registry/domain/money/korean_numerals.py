"""Korean numerals: figures in 조 (10^12), 억 (10^8) and 만 (10^4), with 천, 백 and 십 within them."""

from __future__ import annotations

import re
from decimal import Decimal

from msgspec import Struct

from registry.domain.money.vocabulary import DIGITS

_UNITS = {"조": Decimal(10) ** 12, "억": Decimal(10) ** 8, "만": Decimal(10) ** 4}
_COEFFICIENT = re.compile(r"(?:([1-9]?)천 ?)?(?:([1-9]?)백 ?)?(?:([1-9]?)십 ?)?([1-9][0-9]{0,2})?")
_TERM = re.compile(r"([0-9.,천백십 ]+?) ?(조|억|만) ?")


class KoreanNumeral(Struct, frozen=True):
    """A value; `unit` is its only unit of 조, 억 and 만 (None: none or several), `scaled` whether it has any.

    `rest` is the last part if it has no unit but follows one ("5000" in "3조 5000"), `next_unit` the unit below that
    one. `value` counts it in ones.
    """

    value: Decimal
    unit: Decimal | None
    scaled: bool
    rest: Decimal | None = None
    next_unit: Decimal = Decimal(1)


def parse_korean_numeral(text: str) -> KoreanNumeral | None:
    """The value of a Korean numeral such as "18조 2,000억" or "2천661억"; None if it is not one.

    The units must descend, and only the last term may have a fraction.
    """
    total, position, terms = Decimal(0), 0, 0
    last: Decimal | None = None
    while match := _TERM.match(text, position):
        unit = _UNITS[match[2]]
        coefficient = _coefficient(match[1].strip())
        if coefficient is None or (last is not None and (unit >= last or coefficient * unit >= last)):
            return None
        total += coefficient * unit
        position, last, terms = match.end(), unit, terms + 1
        if coefficient != int(coefficient) and position < len(text):
            return None
    tail = text[position:].strip()
    if not tail:
        return KoreanNumeral(total, last if terms == 1 else None, True) if terms else None
    rest = _coefficient(tail)
    if rest is None or rest != int(rest) or (last is not None and rest >= last):
        return None
    if last is None:
        return KoreanNumeral(rest, None, False)
    return KoreanNumeral(total + rest, None, True, rest, last / 10_000)


def _coefficient(text: str) -> Decimal | None:
    """A figure before 조, 억 or 만: digits, or digits with 천, 백 and 십 ("2천661"). Only digits have a fraction."""
    if re.fullmatch(DIGITS, text):
        return Decimal(text.replace(",", ""))
    match = _COEFFICIENT.fullmatch(text)
    if match is None or not re.search("[천백십]", text):
        return None
    total, lowest = 0, 10_000
    for digit, power, word in zip(match.groups()[:3], (1000, 100, 10), "천백십", strict=True):
        if word in text:
            total += int(digit or 1) * power
            lowest = power
    rest = int(match[4] or 0)
    return Decimal(total + rest) if rest < lowest else None
