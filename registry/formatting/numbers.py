"""Format money, measures, days and instants in an interface language.

An amount is shown exactly as it was stated, with its qualifier and in its own currency: "약 50억 달러",
"about US$5bn". Only totals are rounded. What differs between languages is in their catalogues (context "format").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from functools import cache, lru_cache
from typing import Any

from babel import Locale
from babel.dates import format_date, format_skeleton
from babel.lists import format_list
from babel.numbers import format_decimal, format_percent, get_currency_name, get_currency_symbol

from registry.domain.money.rates import Rate
from registry.events.currencies import KOREAN_NAMES, SHORT_KOREAN_NAMES
from registry.events.values import AMOUNT_NOTES, Amount, Horizon, StatedAmount
from registry.formatting.language import DOT, N_, Translations, words
from registry.i18n.places import place_name

_SYMBOLS = {"USD": "US$", "KRW": "₩"}
_IN_KOREAN = {**KOREAN_NAMES, **SHORT_KOREAN_NAMES}

_QUALIFIED = {
    "about": N_("about %(amount)s"),
    "at_least": N_("at least %(amount)s"),
    "more_than": N_("more than %(amount)s"),
    "nearly": N_("nearly %(amount)s"),
    "up_to": N_("up to %(amount)s"),
}
# Pages repeat the same figures: each formatter caches this many of them.
_CACHE_SIZE = 10_000

# A figure or a date longer than this may break, because it would not fit a line of a phone.
_LONGEST_UNBROKEN = 20

# The metrics that count things, whose names say which.
_COUNTS = frozenset({"jobs", "construction_jobs", "gpus", "h100_equivalents"})

_BASES = {"additional": N_("%(amount)s more"), "annual": N_("%(amount)s a year")}


class NumberFormatter:
    """Formats figures in one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.words: Translations = words(language)
        self.locale = Locale.parse(language)
        units = (unit.split("=") for unit in self.words.format("number-units").split())
        self._units = [(int(power), name) for power, name in units]
        self._in_all_units = self.words.format("number-parts") == "all"
        self._money = self.words.format("money")

    # --- money --------------------------------------------------------------------------------------------------------

    @lru_cache(_CACHE_SIZE)  # noqa: B019 - one formatter per language, for the life of the process
    def currency_amount(
        self, value: str | Decimal, currency: str, digits: int | None = None, rounding: str = ROUND_HALF_EVEN
    ) -> str:
        """A sum in its currency: exact, or rounded to a number of significant digits."""
        number = Decimal(value)
        if digits is not None and number:
            number = number.quantize(Decimal(1).scaleb(number.adjusted() - digits + 1), rounding)
        return self._in_currency(self._in_units(number), currency)

    def full_amount(self, value: str, currency: str) -> str:
        """A sum in its currency with all its digits, so that a slip of a unit is seen."""
        return self._in_currency(self.number(value), currency)

    def _in_currency(self, number: str, currency: str) -> str:
        symbol = _SYMBOLS.get(currency) or get_currency_symbol(currency, self.locale)
        name = _IN_KOREAN.get(currency, currency)
        parts = {
            "number": number,
            "symbol": f"{symbol} " if symbol[-1].isalpha() else symbol,
            "name": name,
        }
        return unbroken(attached(self._money % parts))

    def _in_units(self, number: Decimal) -> str:
        return self._in_each_unit(number) if self._in_all_units else self._in_one_unit(number)

    def _in_one_unit(self, number: Decimal) -> str:
        """A number in its largest unit ("5.13bn"), in full where that needs more than three decimal places."""
        for power, unit in self._units:
            if number >= Decimal(10) ** power:
                scaled = number.scaleb(-power).normalize()
                exponent = scaled.as_tuple().exponent
                if isinstance(exponent, int) and exponent >= -3:
                    return f"{self.number(scaled)}{unit}"
                break
        return self.number(number)

    def _in_each_unit(self, number: Decimal) -> str:
        """A number in each unit in turn ("51억 3,000만")."""
        parts: list[str] = []
        rest = number
        for power, unit in self._units:
            whole, rest = divmod(rest, Decimal(10) ** power)
            if whole:
                parts.append(f"{self.number(whole)}{unit}")
        if rest or not parts:
            parts.append(self.number(rest))
        return " ".join(parts)

    @lru_cache(_CACHE_SIZE)  # noqa: B019 - one formatter per language, for the life of the process
    def number(self, value: str | int | Decimal) -> str:
        """A plain number with its digits grouped."""
        exact = Decimal(value)
        places = max(0, -int(exact.as_tuple().exponent)) if exact.is_finite() else 0
        return format_decimal(exact, f"#,##0.{'#' * places}" if places else "#,##0", locale=self.locale)

    def percent(self, value: str | Decimal) -> str:
        """A fraction as a signed percentage with one decimal place."""
        return format_percent(Decimal(value), "+#,##0.#%;-#,##0.#%", locale=self.locale)

    def money(self, amount: Amount | StatedAmount | None, basis: str | None = None) -> str:
        """An amount as it was stated: qualifier, figure or range, currency and amount basis; estimates are marked."""
        if amount is None:
            return self.words.gettext(N_("Not disclosed"))
        low, high, wording = (getattr(amount, name, None) for name in ("low", "high", "wording"))
        if amount.value is not None:
            text = self.currency_amount(amount.value, amount.currency)
        elif low is not None and high is not None:
            text = self._range(self.currency_amount(low, amount.currency), self.currency_amount(high, amount.currency))
        elif low is not None or high is not None:
            pattern = _QUALIFIED["at_least" if low is not None else "up_to"]
            text = self.words.gettext(pattern) % {"amount": self.currency_amount(low or high or "0", amount.currency)}
        else:
            text = f"“{wording}”"
        text = self.qualified(text, amount.qualifier)
        pattern = _BASES.get(basis or "", "")
        text = self.words.gettext(pattern) % {"amount": text} if pattern else text
        marks = self._marks(amount) if isinstance(amount, Amount) else []
        return self.words.with_note(text, ", ".join(marks))

    def qualified(self, text: str, qualifier: str | None) -> str:
        """A figure with its qualifier: "about US$5bn"."""
        pattern = _QUALIFIED.get(qualifier or "", "")
        return unbroken(self.words.gettext(pattern) % {"amount": text}) if pattern else text

    def _marks(self, amount: Amount) -> list[str]:
        """What tells an amount from a stated one in current prices."""
        marks = []
        if amount.figure not in (None, "stated"):
            marks.append(self.words.label("estimate", amount.figure))
        if amount.price_year is not None:
            marks.append(self.words.gettext(N_("in %(year)s prices")) % {"year": amount.price_year})
        others = {name: getattr(amount, name) for name in AMOUNT_NOTES if name not in ("figure", "price_year")}
        labels = ((self.words.label("field", name), value) for name, value in others.items() if value is not None)
        return [*marks, *(f"{label}: {value}" for label, value in labels)]

    def stated(self, stated: Any, *, is_part: bool = False) -> str:
        """The stated amount of a line of a total; a part stands under its whole and is not in addition to it."""
        amount = Amount(
            currency=stated.currency, value=stated.value, low=stated.low, high=stated.high, qualifier=stated.qualifier
        )
        return self.money(amount, None if is_part and stated.basis != "annual" else stated.basis)

    def other_currencies(self, amount: Amount | None) -> str:
        """The amount in the other currencies that its source stated; empty if there are none."""
        return DOT.join(self.money(stated) for stated in amount.stated_as) if amount else ""

    def interval(self, low: str, high: str, currency: str, low_open: bool = False, high_open: bool = False) -> str:
        """A total from its lower to its upper bound, each rounded to four significant digits.

        Bounds that differ only in later digits are rounded outwards, so that they remain different and the total lies
        between them.
        """
        if low == high:
            text = self.currency_amount(low, currency, 4)
            mark = "at_least" if high_open else "up_to" if low_open else None
            return self.words.gettext(_QUALIFIED[mark]) % {"amount": text} if mark else text
        text = self._range(*self.bounds(low, high, currency))
        return self.words.gettext(N_("%(interval)s or more")) % {"interval": text} if high_open else text

    def bounds(self, low: str | Decimal, high: str | Decimal, currency: str) -> tuple[str, str]:
        """The two bounds of a total, rounded as in an interval."""
        texts = self.currency_amount(low, currency, 4), self.currency_amount(high, currency, 4)
        if texts[0] != texts[1] or low == high:
            return texts
        return (
            self.currency_amount(low, currency, 4, ROUND_FLOOR),
            self.currency_amount(high, currency, 4, ROUND_CEILING),
        )

    def _range(self, low: str, high: str) -> str:
        text = self.words.format("range") % {"low": low, "high": high}
        # Where nothing else may break, a long range breaks before its end (U+200B, zero width space).
        return text if " " in text or len(text) <= _LONGEST_UNBROKEN else text.removesuffix(high) + "\u200b" + high

    def rate(self, rate: Rate) -> str:
        """A rate for one unit of the currency of greater value: "US$1 = ₩1,422.95"."""
        return self.exchange(rate.from_, rate.to, rate.to_per_eur / rate.from_per_eur)

    def exchange(self, one: str, other: str, worth: Decimal) -> str:
        """What one unit of a currency is worth in another, for one unit of the currency of greater value."""
        if worth < 1:
            one, other, worth = other, one, 1 / worth
        places = Decimal("0.01") if worth >= 10 else Decimal("0.0001")
        rounded = self.currency_amount(worth.quantize(places, ROUND_HALF_EVEN), other)
        return unbroken(f"{self.currency_amount('1', one)} = {rounded}")

    def exact_rate(self, rate: Rate) -> str:
        """A rate as the API states it: one unit of the first currency in the second."""
        return f"1 {rate.from_} = {self.number(rate.rate)} {rate.to}"

    @lru_cache(_CACHE_SIZE)  # noqa: B019 - one formatter per language, for the life of the process
    def currency(self, code: str) -> str:
        """A currency's name: in Korean that of the registry's table, else CLDR's or that of the catalogue."""
        if self.language == "ko" and (name := KOREAN_NAMES.get(code)):
            return name
        if self.words.has_label("currency_name", code):
            return self.words.label("currency_name", code)
        return get_currency_name(code, locale=self.locale)

    # --- time ---------------------------------------------------------------------------------------------------------

    @lru_cache(_CACHE_SIZE)  # noqa: B019 - one formatter per language, for the life of the process
    def day(self, value: date | None) -> str:
        """A day."""
        if value is None:
            return "–"
        return self._date(value, "day")

    def short_day(self, value: date) -> str:
        """A day in its short form."""
        return self._date(value, "short-day")

    def _date(self, value: date, pattern: str) -> str:
        return unbroken(format_date(value, self.words.format(pattern), locale=self.locale))

    def short_moment(self, value: datetime) -> str:
        """An instant in UTC in its short form."""
        return unbroken(f"{self.short_day(value.astimezone(UTC).date())} {value.astimezone(UTC):%H:%M:%S}")

    @lru_cache(_CACHE_SIZE)  # noqa: B019 - one formatter per language, for the life of the process
    def minute(self, value: datetime) -> str:
        """An instant in UTC, to the minute: for lists, whose order tells instants of one minute apart."""
        moment = value.astimezone(UTC)
        return f"{self.day(moment.date())} {moment:%H:%M}\u00a0UTC"

    @lru_cache(_CACHE_SIZE)  # noqa: B019 - one formatter per language, for the life of the process
    def instant(self, value: datetime | None) -> str:
        """An instant in UTC, to the second."""
        if value is None:
            return "–"
        moment = value.astimezone(UTC)
        return f"{self.day(moment.date())} {moment:%H:%M:%S}\u00a0UTC"

    def edtf_date(self, edtf: str | None) -> str:
        """An EDTF date (level 0 or 1) with the precision that its source gave."""
        if edtf is None:
            return self.words.gettext(N_("Not disclosed"))
        if "/" in edtf:
            start, end = edtf.split("/", 1)
            open_end = self.words.gettext(N_("open"))
            return self._range(*(open_end if side in ("", "..") else self.edtf_date(side) for side in (start, end)))
        vague = edtf[-1] in "~?%"
        text = self._precise(edtf[:-1] if vague else edtf)
        if edtf[-1] in "~%":
            return self.words.gettext(N_("about %(date)s")) % {"date": text}
        return f"{text}?" if vague else text

    def _precise(self, text: str) -> str:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            try:
                return self.day(date.fromisoformat(text))
            except ValueError:
                return text
        if re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
            return self._date(date(int(text[:4]), int(text[5:]), 1), "month") if int(text[:4]) else text
        if quarter := re.fullmatch(r"(\d{4})-3([3-6])", text):
            first = date(int(quarter[1]), 3 * (int(quarter[2]) - 3) + 1, 1)
            return unbroken(format_skeleton("yQQQ", first, locale=self.locale))
        if re.fullmatch(r"\d{4}", text):
            return self._date(date(int(text), 1, 1), "year") if int(text) else text
        return text

    def horizon(self, horizon: Horizon | None) -> str:
        """The period within which an amount is to be spent."""
        if horizon is None or (horizon.from_ is None and horizon.until is None):
            return ""
        if horizon.from_ is None:
            return self.words.gettext(N_("by %(date)s")) % {"date": self.edtf_date(horizon.until)}
        if horizon.until is None:
            return self.words.gettext(N_("from %(date)s")) % {"date": self.edtf_date(horizon.from_)}
        return self._range(self.edtf_date(horizon.from_), self.edtf_date(horizon.until))

    def listed(self, items: Sequence[str]) -> str:
        """A list in a sentence, as CLDR writes it: "A, B, and C"."""
        return format_list(items, locale=self.locale) if items else ""

    # --- places and languages -----------------------------------------------------------------------------------------

    def place(self, code: str | None) -> str:
        """The name of a country or of a subdivision."""
        return place_name(code, self.language) if code else self.words.gettext(N_("Not disclosed"))

    def language_name(self, code: str) -> str:
        """A language's name, or its tag if it has none."""
        return self.locale.languages.get(code) or code

    # --- quantities ---------------------------------------------------------------------------------------------------

    def measure(self, value: Any, qualifier: str | None, unit: str) -> str:
        """A capacity with its unit and qualifier: "about 103 MW", "about 60,000 GPUs", in Korean "GPU 약 6만 개"."""
        if unit != "GPU":
            return self.qualified(unbroken(f"{self.number(value)} {unit}"), qualifier)
        pattern = self.words.ngettext("%(num)s GPU", "%(num)s GPUs", 1 if Decimal(value) == 1 else 2)
        quantity = self.qualified(self._counted(value, pattern), qualifier)
        return unbroken(self.words.format("gpus") % {"quantity": quantity})

    def quantity(self, metric: str | None, value: Any, unit: str | None = None, qualifier: str | None = None) -> str:
        """The value of a metric, beside the metric's name: "about 1,200", in Korean "약 1,200개"."""
        if metric in _COUNTS:
            text = self._counted(value, self.words.format("count"))
        else:
            text = " ".join(filter(None, (self.number(value), unit)))
        return self.qualified(unbroken(text), qualifier)

    def _counted(self, value: Any, pattern: str) -> str:
        number = self._in_each_unit(Decimal(value)) if self._in_all_units else self.number(value)
        return unbroken(attached(pattern % {"num": number}))


def attached(text: str) -> str:
    """A figure with its unit or counter as Korean spaces them: "1,200개" and "7원", but "6만 개" and "5억 원"."""
    return re.sub(r"(?<=\d) (?=[가-힣]+$)", "", text)


def unbroken(text: str) -> str:
    """A figure or a date that no line breaks, unless it is too long for one."""
    return text.replace(" ", "\u00a0") if len(text) <= _LONGEST_UNBROKEN else text


@cache
def figures(language: str) -> NumberFormatter:
    """The formatter of an interface language."""
    return NumberFormatter(language)
