"""Figures as people write them: money, measures, days and instants, in Korean and in English.

An amount is always shown exactly as it was stated, its qualifier and its own currency first: "약 50억 달러",
"about US$5bn". Only totals may be rounded, and say so. Nothing here converts, adds or translates text.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache, lru_cache
from typing import Any

from babel import Locale
from babel.core import UnknownLocaleError
from babel.numbers import format_decimal, format_percent, get_currency_name, get_currency_symbol
from pycountry import countries, subdivisions

from registry.domain.rates import Rate
from registry.events.types import Amount, Horizon, StatedAmount
from registry.web.i18n import N_, Translations, words

_ENGLISH = ((12, "tn"), (9, "bn"), (6, "m"))
_KOREAN = ((16, "경"), (12, "조"), (8, "억"), (4, "만"))
_WON = {"KRW": "원", "USD": "달러", "EUR": "유로", "JPY": "엔", "CNY": "위안", "GBP": "파운드"}
_SIGNS = {"USD": "US$", "KRW": "₩"}

_QUALIFIED = {
    "about": N_("about %(amount)s"),
    "at_least": N_("at least %(amount)s"),
    "more_than": N_("more than %(amount)s"),
    "nearly": N_("nearly %(amount)s"),
    "up_to": N_("up to %(amount)s"),
}
# The same few figures stand on every page: so many are remembered as they were written.
_CACHE_SIZE = 10_000

_BASES = {"additional": N_("+ %(amount)s"), "annual": N_("%(amount)s a year")}


class NumberFormatter:
    """Figures in one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.words: Translations = words(language)
        self.locale = Locale.parse("ko_KR" if language == "ko" else "en")
        self._months: dict[int, str] = dict(self.locale.months["format"]["abbreviated"])

    # --- money --------------------------------------------------------------------------------------------------------

    @lru_cache(_CACHE_SIZE)  # noqa: B019 - one a language, for as long as the process
    def currency_amount(self, value: str | Decimal, currency: str, digits: int | None = None) -> str:
        """A sum in its currency. `digits` rounds it to so many significant ones; without, it is exact."""
        number = Decimal(value)
        if digits is not None and number:
            number = number.quantize(Decimal(1).scaleb(number.adjusted() - digits + 1), ROUND_HALF_EVEN)
        if self.language == "ko":
            return f"{self._korean(number)} {_WON.get(currency, currency)}"
        sign = _SIGNS.get(currency) or get_currency_symbol(currency, self.locale)
        return f"{sign} {self._english(number)}" if sign[-1].isalpha() else f"{sign}{self._english(number)}"

    def _english(self, number: Decimal) -> str:
        for power, unit in _ENGLISH:
            if number >= Decimal(10) ** power:
                scaled = number.scaleb(-power).normalize()
                exponent = scaled.as_tuple().exponent
                if isinstance(exponent, int) and exponent >= -3:
                    return f"{self.number(scaled)}{unit}"
                break
        return self.number(number)

    def _korean(self, number: Decimal) -> str:
        parts: list[str] = []
        rest = number
        for power, unit in _KOREAN:
            whole, rest = divmod(rest, Decimal(10) ** power)
            if whole:
                parts.append(f"{self.number(whole)}{unit}")
        if rest or not parts:
            parts.append(self.number(rest))
        return " ".join(parts)

    @lru_cache(_CACHE_SIZE)  # noqa: B019 - one a language, for as long as the process
    def number(self, value: str | int | Decimal) -> str:
        """A plain number with its groups of three."""
        exact = Decimal(value)
        places = max(0, -int(exact.as_tuple().exponent)) if exact.is_finite() else 0
        return format_decimal(exact, f"#,##0.{'#' * places}" if places else "#,##0", locale=self.locale)

    def percent(self, value: str | Decimal) -> str:
        """A share as percent, to one place, with its sign."""
        return format_percent(Decimal(value), "+#,##0.#%;-#,##0.#%", locale=self.locale)

    def money(self, amount: Amount | StatedAmount | None, basis: str | None = None) -> str:
        """An amount as it was stated: qualifier, figure or range, currency, and what it is an amount of."""
        if amount is None:
            return self.words.gettext(N_("not stated"))
        low, high, wording = (getattr(amount, name, None) for name in ("low", "high", "wording"))
        if amount.value is not None:
            text = self.currency_amount(amount.value, amount.currency)
        elif low is not None and high is not None:
            text = f"{self.currency_amount(low, amount.currency)} – {self.currency_amount(high, amount.currency)}"
        elif low is not None or high is not None:
            pattern = _QUALIFIED["at_least" if low is not None else "up_to"]
            text = self.words.gettext(pattern) % {"amount": self.currency_amount(low or high or "0", amount.currency)}
        else:
            text = f"“{wording}”"
        pattern = _QUALIFIED.get(amount.qualifier or "", "")
        if pattern:
            text = self.words.gettext(pattern) % {"amount": text}
        pattern = _BASES.get(basis or "", "")
        return self.words.gettext(pattern) % {"amount": text} if pattern else text

    def stated(self, stated: Any) -> str:
        """What a total's line says was stated."""
        amount = Amount(
            currency=stated.currency, value=stated.value, low=stated.low, high=stated.high, qualifier=stated.qualifier
        )
        return self.money(amount, stated.basis)

    def other_currencies(self, amount: Amount | None) -> str:
        """The same amount as its source also stated it; empty where it stated one currency."""
        return " · ".join(self.money(stated) for stated in amount.stated_as) if amount else ""

    def interval(self, low: str, high: str, currency: str, low_open: bool = False, high_open: bool = False) -> str:
        """A total from its low to its high end, rounded to four significant digits."""
        if low == high:
            text = self.currency_amount(low, currency, 4)
            mark = "at_least" if high_open else "up_to" if low_open else None
            return self.words.gettext(_QUALIFIED[mark]) % {"amount": text} if mark else text
        text = f"{self.currency_amount(low, currency, 4)} – {self.currency_amount(high, currency, 4)}"
        return self.words.gettext(N_("%(interval)s or more")) % {"interval": text} if high_open else text

    def rate(self, rate: Rate) -> str:
        """A rate as people quote it, the dearer currency at one: "US$1 = ₩1,422.95"."""
        one, other, worth = rate.from_, rate.to, rate.to_per_eur / rate.from_per_eur
        if worth < 1:
            one, other, worth = other, one, rate.from_per_eur / rate.to_per_eur
        places = Decimal("0.01") if worth >= 10 else Decimal("0.0001")
        return (
            f"{self.currency_amount('1', one)} = {self.currency_amount(worth.quantize(places, ROUND_HALF_EVEN), other)}"
        )

    def exact_rate(self, rate: Rate) -> str:
        """A rate as the answer has it: what one unit of the first currency is worth."""
        return f"1 {rate.from_} = {self.number(rate.rate)} {rate.to}"

    @lru_cache(_CACHE_SIZE)  # noqa: B019 - one a language, for as long as the process
    def currency(self, code: str) -> str:
        """A currency's name."""
        return get_currency_name(code, locale=self.locale)

    # --- time ---------------------------------------------------------------------------------------------------------

    @lru_cache(_CACHE_SIZE)  # noqa: B019 - one a language, for as long as the process
    def day(self, value: date | None) -> str:
        """A whole day."""
        if value is None:
            return "–"
        if self.language == "ko":
            return f"{value.year}년 {value.month}월 {value.day}일"
        return f"{value.day} {self._months[value.month]} {value.year}"

    def short_day(self, value: date) -> str:
        """A whole day where there is little room."""
        if self.language == "ko":
            return f"{value.year}. {value.month}. {value.day}."
        return self.day(value)

    def as_day(self, text: str | date) -> date:
        """A day as JSON writes it."""
        return text if isinstance(text, date) else date.fromisoformat(text)

    def short_moment(self, value: datetime) -> str:
        """An instant, in UTC, where there is little room."""
        return f"{self.short_day(value.astimezone(UTC).date())} {value.astimezone(UTC):%H:%M:%S}"

    @lru_cache(_CACHE_SIZE)  # noqa: B019 - one a language, for as long as the process
    def instant(self, value: datetime | None) -> str:
        """An instant, in UTC, to the second."""
        if value is None:
            return "–"
        moment = value.astimezone(UTC)
        return f"{self.day(moment.date())} {moment:%H:%M:%S} UTC"

    def edtf_date(self, edtf: str | None) -> str:
        """A date as loosely as its source gave it (EDTF level 0 and 1)."""
        if edtf is None:
            return self.words.gettext(N_("not stated"))
        if "/" in edtf:
            start, end = edtf.split("/", 1)
            open_end = self.words.gettext(N_("open"))
            return " – ".join(open_end if side in ("", "..") else self.edtf_date(side) for side in (start, end))
        vague = edtf[-1] in "~?%"
        text = self._precise(edtf[:-1] if vague else edtf)
        if edtf[-1] in "~%":
            return self.words.gettext(N_("about %(amount)s")) % {"amount": text}
        return f"{text}?" if vague else text

    def _precise(self, text: str) -> str:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            try:
                return self.day(date.fromisoformat(text))
            except ValueError:
                return text
        if re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
            year, month = int(text[:4]), int(text[5:])
            if self.language == "ko":
                return f"{year}년 {month}월"
            return f"{self._months[month]} {year}"
        if re.fullmatch(r"\d{4}", text):
            return f"{text}년" if self.language == "ko" else text
        return text

    def horizon(self, horizon: Horizon | None) -> str:
        """The time within which an amount is to be spent."""
        if horizon is None or (horizon.from_ is None and horizon.until is None):
            return ""
        if horizon.from_ is None:
            return self.words.gettext(N_("by %(date)s")) % {"date": self.edtf_date(horizon.until)}
        if horizon.until is None:
            return self.words.gettext(N_("from %(date)s")) % {"date": self.edtf_date(horizon.from_)}
        return f"{self.edtf_date(horizon.from_)} – {self.edtf_date(horizon.until)}"

    # --- places and languages -----------------------------------------------------------------------------------------

    def place(self, code: str | None) -> str:
        """A country or a province by its name."""
        return _place(code, self.language) if code else self.words.gettext(N_("not stated"))

    def language_name(self, code: str) -> str:
        """A language's name; its code, where it has none."""
        return self.locale.languages.get(code) or code

    def measure(self, value: Any, qualifier: str | None, unit: str) -> str:
        """A capacity with its unit and qualifier."""
        text = f"{self.number(value)} {unit}{'s' if unit == 'GPU' and self.language == 'en' else ''}"
        pattern = _QUALIFIED.get(qualifier or "", "")
        return self.words.gettext(pattern) % {"amount": text} if pattern else text


PROVINCES = {
    "KR-11": ("서울", "Seoul"), "KR-26": ("부산", "Busan"), "KR-27": ("대구", "Daegu"), "KR-28": ("인천", "Incheon"),
    "KR-29": ("광주", "Gwangju"), "KR-30": ("대전", "Daejeon"), "KR-31": ("울산", "Ulsan"),
    "KR-41": ("경기", "Gyeonggi"),
    "KR-42": ("강원", "Gangwon"), "KR-43": ("충북", "North Chungcheong"), "KR-44": ("충남", "South Chungcheong"),
    "KR-45": ("전북", "North Jeolla"), "KR-46": ("전남", "South Jeolla"), "KR-47": ("경북", "North Gyeongsang"),
    "KR-48": ("경남", "South Gyeongsang"), "KR-49": ("제주", "Jeju"), "KR-50": ("세종", "Sejong"),
}  # fmt: skip
"""Korea's provinces and metropolitan cities (ISO 3166-2:KR), by their everyday names in Korean and English."""


@cache
def _place(code: str, language: str) -> str:
    if code in PROVINCES:
        return PROVINCES[code][0 if language == "ko" else 1]
    if "-" not in code:
        try:
            return Locale.parse(language).territories.get(code) or code
        except UnknownLocaleError:
            return code
    found: Any = subdivisions.get(code=code)  # type: ignore[no-untyped-call]
    if found is None:
        return code
    country = countries.get(alpha_2=code[:2])
    return f"{found.name}, {_place(country.alpha_2, language)}" if country else str(found.name)


@cache
def figures(language: str) -> NumberFormatter:
    """A language's figures."""
    return NumberFormatter(language)
