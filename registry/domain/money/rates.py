"""Exchange rates of a given day, and the conversion of amounts with them.

Rates are recorded data: `Quotes` are the rows that one import recorded, and `RateTable.at` gives the `Rates` that were
recorded by a log position or an instant. The rate of a day is the last one published on or before it; rates are not
interpolated. Conversions are exact decimals, rounded once. The module reads neither a clock, a file nor the network.
Every question about rates is answered from the same series, in this file; hence its length.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from operator import itemgetter

from msgspec import Struct, field

from registry.domain.quotes import ISO_DAY, Quote, Quotes
from registry.events.currencies import Currency
from registry.events.values import Amount
from registry.i18n import Message

# Enough digits for an amount (18 before the point, 6 after it) times a cross rate, without rounding.
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)

ECB = "ECB"
"""The European Central Bank's euro foreign exchange reference rates, whose packaged history every database has."""

DEFAULT_ORDER = (ECB,)
"""The sources that are tried first; the others follow by name."""

MAX_AGE_DAYS = 31
"""A rate older than this is not used: the source no longer quotes the currency, or newer rates were not imported."""

OLD_DAYS = 10
"""A newest rate older than this is reported: weekends and holidays alone leave at most six days without rates."""

MAX_CACHED_RATES = 50_000
MAX_CACHED_VIEWS = 8

# The currencies without a minor unit (ISO 4217) that are quoted. The others are rounded to hundredths.
_NO_MINOR_UNIT = frozenset({"ISK", "JPY", "KRW"})


class NewestRate(Struct, frozen=True):
    """The newest rate on or before a day, and how many days older it is."""

    source: str
    day: date
    age_days: int


class Rate(Struct, frozen=True, kw_only=True):
    """The rate between two currencies, derived from their two rates against the euro.

    One unit of `from_` is worth `rate` units of `to` on `day`: the last day on or before `asked` for which both were
    published. `rate` is rounded to 12 significant digits; conversions use `to_per_eur / from_per_eur` unrounded.
    `source` names the sources of the two rates.
    """

    from_: Currency = field(name="from")
    to: Currency
    asked: date
    day: date
    rate: Decimal
    from_per_eur: Decimal
    to_per_eur: Decimal
    source: str


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


class _Series(Struct, frozen=True):
    """The rates of one currency against the euro, ascending by day, and the sources that they are derived from."""

    days: Sequence[date]
    per_eur: Sequence[Decimal]
    sources: tuple[str, ...]


_NO_SERIES = _Series((), (), ())


class Rates:
    """The rates that were recorded by one moment.

    Args:
        quotes: The quotes, in the order in which they were recorded: of one source, currency and day the last applies.
        order: The sources that are tried first; the others follow by name.
        imports: Number of imports that the quotes come from, the packaged history included.
    """

    def __init__(self, quotes: Iterable[Quotes], order: Sequence[str] = DEFAULT_ORDER, imports: int = 1) -> None:
        self.imports = imports
        self._quotes: dict[tuple[str, str, str], list[Quotes]] = {}
        for recorded in quotes:
            self._quotes.setdefault((recorded.source, recorded.base, recorded.currency), []).append(recorded)
        known = sorted({source for source, _, _ in self._quotes})
        self.sources = (*(s for s in order if s in known), *(s for s in known if s not in order))
        self._series: dict[tuple[str, str], _Series] = {}
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

    def per_euro(self, on: date) -> dict[str, Decimal]:
        """What a euro is worth in each currency at `rate`'s rates of a day; without currencies that have none then."""
        found = ((currency, self._one_per_euro(currency, on)) for currency in self.currencies())
        return {currency: value for currency, value in found if value is not None}

    def _one_per_euro(self, currency: str, on: date) -> Decimal | None:
        if currency == "EUR":
            return Decimal(1)
        for source in self.sources:
            direct = self._quotes.get((source, "EUR", currency))
            if direct is None:
                # Another base may lead to it.
                rate = self.rate(currency, "EUR", on)  # type: ignore[arg-type]
                return rate.from_per_eur if isinstance(rate, Rate) else None
            # Parsing the series of all currencies takes 80 ms.
            if (last := _last_recorded(direct, on)) is not None:
                return last[1]
        return None

    def newest(self, on: date) -> NewestRate | None:
        """The newest rate on or before a day; of several sources the first in their order. None if there is none."""
        last_days: dict[str, date] = {}
        for quotes in self._quotes.values():
            for recorded in quotes:
                if (last := recorded.last_before(on)) is not None:
                    last_days[recorded.source] = max(last[0], last_days.get(recorded.source, last[0]))
        if not last_days:
            return None
        day = max(last_days.values())
        return NewestRate(next(s for s in self.sources if last_days.get(s) == day), day, (on - day).days)

    def summary(self) -> list[tuple[str, int, date, date, int]]:
        """For each source its name, its number of currencies, its first and last day, and its number of imports."""
        found = []
        for source in self.sources:
            quotes = [q for (s, _, _), recorded in self._quotes.items() if s == source for q in recorded]
            first = min(q.days[:ISO_DAY] for q in quotes)
            last = max(q.days[-ISO_DAY:] for q in quotes)
            currencies, imports = {q.currency for q in quotes}, {q.number for q in quotes}
            found.append((source, len(currencies), date.fromisoformat(first), date.fromisoformat(last), len(imports)))
        return found

    def currencies(self) -> list[str]:
        """The currencies that any source has rates of."""
        return sorted({code for _, base, currency in self._quotes for code in (base, currency)})

    def quotes_on(self, on: date, source: str | None = None, currency: str | None = None) -> list[Quote]:
        """The last recorded rates on or before a day, at most MAX_AGE_DAYS earlier, by source, base and currency."""
        found: list[Quote] = []
        for key, quotes in self._quotes.items():
            if source not in (None, key[0]) or currency not in (None, key[2]):
                continue
            if (last := _last_recorded(quotes, on)) is not None:
                day, value, origin = last
                found.append(
                    Quote(
                        source=origin.source,
                        day=day,
                        base=origin.base,
                        currency=origin.currency,
                        value=value,
                        position=origin.position,
                        recorded_at=origin.recorded_at,
                    )
                )
        return sorted(found, key=lambda quote: (self.sources.index(quote.source), quote.base, quote.currency))

    def recorded(self, source: str, base: str, currency: str) -> dict[date, Decimal]:
        """Every day's rate of one source and currency; of one day the last recorded one."""
        merged: dict[date, Decimal] = {}
        for quotes in self._quotes.get((source, base, currency), ()):
            merged.update(quotes.parsed())
        return merged

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
        too_old: date | None = None
        for one, other in self._pairs(from_, to):
            found = _last_common(one, other, on)
            if found is None:
                continue
            day, from_per_eur, to_per_eur = found
            if (on - day).days > MAX_AGE_DAYS:
                too_old = day if too_old is None else max(day, too_old)
                continue
            return Rate(
                from_=from_,
                to=to,
                asked=on,
                day=day,
                rate=Context(prec=12, rounding=ROUND_HALF_EVEN).divide(to_per_eur, from_per_eur),
                from_per_eur=from_per_eur,
                to_per_eur=to_per_eur,
                source=", ".join(dict.fromkeys((*one.sources, *other.sources))),
            )
        if too_old is not None:
            problem = RateProblem("too-old", one=from_, other=to, day=too_old, limit=MAX_AGE_DAYS, asked=on)
        elif missing := [c for c in (from_, to) if not any(self._of(s, c).sources for s in self.sources)]:
            problem = RateProblem("not-published", currencies=", ".join(missing))
        else:
            problem = RateProblem("none-before", one=from_, other=to, asked=on)
        return RateUnavailable(from_, to, on, problem)

    def _pairs(self, from_: str, to: str) -> Iterable[tuple[_Series, _Series]]:
        """The two currencies' series: both of one source, in the order of the sources, then of two sources."""
        for source in self.sources:
            yield self._of(source, from_), self._of(source, to)
        if "EUR" not in (from_, to):
            for source in self.sources:
                for other in self.sources:
                    if source != other:
                        yield self._of(source, from_), self._of(other, to)

    def _of(self, source: str, currency: str) -> _Series:
        series = self._series.get((source, currency))
        if series is None:
            series = self._series[source, currency] = self._derive(source, currency)
        return series

    def _derive(self, source: str, currency: str) -> _Series:
        """A source's rates of a currency against the euro; rates against another base go over that base."""
        if currency == "EUR":
            return _Series((), (), (source,))
        if direct := self.recorded(source, "EUR", currency):
            return _series(direct, (source,))
        for base in sorted({b for s, b, _ in self._quotes if s == source} - {"EUR"}):
            base_per_eur, pivot = self._base_per_eur(source, base)
            if currency == base and pivot == source:
                return _series(base_per_eur, (source,))
            if quoted := self.recorded(source, base, currency):
                per_eur = {d: _EXACT.multiply(quoted[d], base_per_eur[d]) for d in quoted.keys() & base_per_eur.keys()}
                return _series(per_eur, (source, pivot) if pivot not in ("", source) else (source,))
        return _NO_SERIES

    def _base_per_eur(self, source: str, base: str) -> tuple[Mapping[date, Decimal], str]:
        """The value of a euro in a source's base, by the source itself or else by the first that has it."""
        if euro := self.recorded(source, base, "EUR"):
            return {day: _EXACT.divide(Decimal(1), value) for day, value in euro.items()}, source
        for other in self.sources:
            if direct := self.recorded(other, "EUR", base):
                return direct, other
        return {}, ""


def _last_recorded(quotes: Sequence[Quotes], on: date) -> tuple[date, Decimal, Quotes] | None:
    """The last rate on or before a day, at most MAX_AGE_DAYS earlier; of one day the last recorded one."""
    # Of equal days, `max` takes the first.
    found = [(*last, one) for one in reversed(quotes) if (last := one.last_before(on)) is not None]
    newest = max(found, key=itemgetter(0), default=None)
    return newest if newest is not None and (on - newest[0]).days <= MAX_AGE_DAYS else None


def _series(per_eur: Mapping[date, Decimal], sources: tuple[str, ...]) -> _Series:
    days = sorted(per_eur)
    return _Series(days, [per_eur[day] for day in days], sources)


def _last_common(one: _Series, other: _Series, on: date) -> tuple[date, Decimal, Decimal] | None:
    """The last day on or before `on` that both series have, with their rates. The euro has every day."""
    day = on
    while True:
        if not one.sources or not other.sources:
            return None
        first, second = _last(one, day), _last(other, day)
        if first is None or second is None:
            return None
        day = min(first[0], second[0])
        # Go back until both rates are of one day; the euro's day follows the other one's.
        if first[0] == second[0]:
            return day, first[1], second[1]


def _last(series: _Series, on: date) -> tuple[date, Decimal] | None:
    if not series.days:
        return on, Decimal(1)
    at = bisect_right(series.days, on)
    return (series.days[at - 1], series.per_eur[at - 1]) if at else None


class RateTable:
    """Every recorded rate, import by import. `order`: see `Rates`."""

    def __init__(self, order: Sequence[str] = DEFAULT_ORDER) -> None:
        self._order = order
        self._quotes: list[Quotes] = []
        # For each import: the log's head, and the instant, when it was made. Neither decreases.
        self._positions: list[int] = []
        self._instants: list[datetime] = []
        self._views: dict[int, Rates] = {}

    @property
    def imports(self) -> int:
        """Number of imports, the packaged history included."""
        return len(self._positions)

    def add(self, quotes: Iterable[Quotes]) -> None:
        """Add quotes, in the order of their imports."""
        for recorded in quotes:
            self._quotes.append(recorded)
            if recorded.number >= len(self._positions):
                self._positions.append(recorded.position if recorded.number else -1)
                self._instants.append(recorded.recorded_at or datetime.min.replace(tzinfo=UTC))

    def at(self, position: int | None = None, recorded_at: datetime | None = None) -> Rates:
        """The rates recorded by a log position and an instant; None: all.

        An import applies to the positions after the log's head at which it was made, so an answer at a position that
        was fixed before it stays the same.
        """
        imports = self.imports
        if position is not None:
            imports = min(imports, max(1, bisect_left(self._positions, position)))
        if recorded_at is not None:
            imports = min(imports, max(1, bisect_right(self._instants, recorded_at)))
        view = self._views.get(imports)
        if view is None:
            if len(self._views) >= MAX_CACHED_VIEWS:
                del self._views[next(iter(self._views))]
            quotes = (recorded for recorded in self._quotes if recorded.number < imports)
            view = self._views[imports] = Rates(quotes, self._order, imports)
        return view


def convert(value: Decimal, rate: Rate) -> Decimal:
    """`value` times the unrounded cross rate over the euro, rounded half to even to the target's minor unit."""
    if rate.from_ == rate.to:
        return value
    exact = _EXACT.divide(_EXACT.multiply(value, rate.to_per_eur), rate.from_per_eur)
    return exact.quantize(Decimal("0.01") if has_minor_unit(rate.to) else Decimal(1), context=_EXACT)


def has_minor_unit(currency: str) -> bool:
    """Whether amounts in a currency are rounded to hundredths, not to units."""
    return currency not in _NO_MINOR_UNIT


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
