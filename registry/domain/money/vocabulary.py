"""The signs and words around the figures of an amount, in Korean and English."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

from registry.events.currencies import KOREAN_NAMES, SHORT_KOREAN_NAMES, Currency

# Full-width forms, spaces and dashes are typography. Other Unicode compatibility forms (10², ½) change the value.
TYPOGRAPHY = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
TYPOGRAPHY |= {ord(c): " " for c in "\t\n\r\u00a0\u2002\u2003\u2009\u200a\u202f\u3000"}
TYPOGRAPHY |= {ord(c): "-" for c in "\u2010\u2011\u2012\u2013\u2014\u2212"} | {ord(c): "~" for c in "\u223c\u301c"}
TYPOGRAPHY |= {0xFFE6: "₩", 0xFFE5: "¥", 0xFFE1: "£"}

DIGITS = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|0|[1-9][0-9]*)(?:\.[0-9]+)?"
"""A pattern of digits, whole or grouped by three, with an optional fraction."""

SCALES = {
    "thousand": 3, "k": 3,
    "million": 6, "mln": 6, "mn": 6, "m": 6,
    "billion": 9, "bln": 9, "bn": 9, "b": 9,
    "trillion": 12, "trn": 12, "tn": 12, "t": 12,
}  # fmt: skip
"""English units as powers of ten (short scale)."""

# --- currencies -------------------------------------------------------------------------------------------------------

CURRENCY_CODES: dict[str, Currency] = {code.lower(): code for code in get_args(Currency)}

CURRENCIES_BEFORE: dict[str, Currency] = {
    "us$": "USD", "u.s.$": "USD", "$": "USD", "a$": "AUD", "au$": "AUD", "c$": "CAD", "ca$": "CAD", "hk$": "HKD",
    "nt$": "TWD", "nz$": "NZD", "r$": "BRL", "s$": "SGD", "₩": "KRW", "€": "EUR", "£": "GBP", "₹": "INR", "jp¥": "JPY",
    "cn¥": "CNY", "rmb": "CNY",
    **CURRENCY_CODES,
}  # fmt: skip
"""What may stand before a figure."""

CURRENCIES_AFTER: dict[str, Currency] = {
    "won": "KRW", "korean won": "KRW", "south korean won": "KRW", "us dollars": "USD", "u.s. dollars": "USD",
    "dollars": "USD", "euros": "EUR", "euro": "EUR", "yen": "JPY", "japanese yen": "JPY", "yuan": "CNY",
    "chinese yuan": "CNY", "pounds sterling": "GBP", "australian dollars": "AUD", "canadian dollars": "CAD",
    "hong kong dollars": "HKD", "new zealand dollars": "NZD", "singapore dollars": "SGD", "taiwan dollars": "TWD",
    **CURRENCY_CODES,
}  # fmt: skip
"""What may stand after a figure, separated by a space or hyphen."""

_KOREAN_CURRENCIES: dict[str, Currency] = {
    **{name.casefold(): CURRENCY_CODES[code.lower()] for code, name in KOREAN_NAMES.items()},
    **{name: CURRENCY_CODES[code.lower()] for code, name in SHORT_KOREAN_NAMES.items()},
    "미 달러": "USD", "한국 원": "KRW",
}  # fmt: skip
KOREAN_CURRENCIES: dict[str, Currency] = {
    **_KOREAN_CURRENCIES,
    **{name.replace(" ", ""): code for name, code in _KOREAN_CURRENCIES.items()},
}
"""What may stand after a figure without a space."""

# --- modifiers --------------------------------------------------------------------------------------------------------

ModifierKind = Literal["qualifier", "basis", "currency", "range", "ignored"]
Modifier = tuple[ModifierKind, str]
"""The kind of a word around a figure and its meaning; for a range, the separator between the two figures."""

_PREFIXES: dict[Modifier, tuple[str, ...]] = {
    ("qualifier", "about"): (
        "약", "대략", "about", "around", "approximately", "approx.", "roughly", "some", "an estimated", "~",
    ),
    ("qualifier", "more_than"): ("more than", "over", "in excess of"),
    ("qualifier", "at_least"): ("최소", "적어도", "at least", "no less than", "a minimum of"),
    ("qualifier", "up_to"): ("최대", "up to", "as much as", "at most", "a maximum of"),
    ("qualifier", "nearly"): ("거의", "근", "nearly", "almost", "close to", "just under"),
    ("qualifier", "exact"): ("정확히", "exactly"),
    ("basis", "annual"): ("연간", "매년", "연", "annual", "an annual"),
    ("basis", "additional"): (
        "추가로", "추가", "an additional", "additional", "another", "a further", "an extra",
    ),
    ("basis", "total"): ("총", "총액", "a total of", "total"),
    ("currency", "USD"): ("미화",),
    ("currency", "KRW"): ("한화",),
    ("range", " and "): ("between",),
    ("range", " to "): ("from",),
}  # fmt: skip

_SUFFIXES: dict[Modifier, tuple[str, ...]] = {
    ("qualifier", "about"): ("안팎", "내외", "가량", "정도", "쯤"),
    ("qualifier", "more_than"): ("초과", "넘게", "남짓"),
    ("qualifier", "at_least"): ("이상", "or more", "+"),
    ("qualifier", "up_to"): ("이하",),
    ("qualifier", "nearly"): ("가까이",),
    ("basis", "annual"): ("a year", "per year", "each year", "every year", "annually", "per annum"),
    ("basis", "additional"): ("추가", "more"),
    ("basis", "total"): ("in total",),
    ("ignored", ""): ("규모의", "규모"),
}


def _longest_first(modifiers: Mapping[Modifier, tuple[str, ...]]) -> dict[str, Modifier]:
    pairs = ((word, modifier) for modifier, words in modifiers.items() for word in words)
    return dict(sorted(pairs, key=lambda pair: len(pair[0]), reverse=True))


PREFIXES = _longest_first(_PREFIXES)
SUFFIXES = _longest_first(_SUFFIXES)

VAGUE = re.compile(r"수\s?[십백천만억조]|몇|여러|several|dozens|hundreds of|tens of|a few|billions|trillions|millions")
"""Words that stand in the place of a figure."""

BELOW = re.compile(r"미만|못 미치|less than|under|below|fewer than")
"""Words for "less than", which no qualifier expresses."""
