"""Exchange rates as integers in the copy, so that DuckDB converts amounts to the last unit as `money/rates.py` does.

A rate is a fraction of two integers, and an amount a number of millionths. Their product fits into 128 bits; where it
might not, which needs a rate with more digits than any bank publishes, the deal is added up by `domain/totals`.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from duckdb import DuckDBPyConnection
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.money.rates import Rate, Rates, has_minor_unit
from registry.events.currencies import Currency
from registry.infra.work_time import WaitingLock
from registry.projections.columnar.doubts import Doubts, prepare_doubts
from registry.projections.columnar.memory_tables import SELECT_STATE
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.selection import run

# 24 digits of an amount in millionths, 3 of twice the minor unit and 11 of a rate: the sum is below 2^127.
MAX_RATE = 10**11

CREATE_RATES = """
CREATE TABLE IF NOT EXISTS {rates} (
    currency   VARCHAR NOT NULL,
    day        DATE    NOT NULL,
    multiplier BIGINT,
    divisor    BIGINT,
    available  BOOLEAN NOT NULL
)
"""

SELECT_MISSING = """
SELECT DISTINCT p.currency, {day} AS day
  FROM pledge_facts AS p
       ANTI JOIN {rates} AS r ON r.currency = p.currency AND r.day = {day}
 WHERE p.changed_at > $since AND p.currency <> $target
"""

INSERT_RATES = """
INSERT INTO {rates}
SELECT unnest($currencies), unnest($days), unnest($multipliers), unnest($divisors), unnest($available)
"""

_CONVERTED = """
SELECT * EXCLUDE (dividend, low_dividend, high_dividend, low_twice, high_twice, low_nearest, high_nearest, scale),
       CASE WHEN currency = $target THEN in_low_millionths
            WHEN abs(low_dividend - low_nearest * scale) * 2 < scale THEN low_nearest * {part}
            ELSE ((low_twice // (scale * 2))
                  - if(low_twice % (scale * 2) = 0, low_twice // (scale * 2) & 1, 0)) * {part} END AS in_low,
       CASE WHEN currency = $target THEN in_high_millionths
            WHEN abs(high_dividend - high_nearest * scale) * 2 < scale THEN high_nearest * {part}
            ELSE ((high_twice // (scale * 2))
                  - if(high_twice % (scale * 2) = 0, high_twice // (scale * 2) & 1, 0)) * {part} END AS in_high
  FROM (
    SELECT *, divisor::HUGEINT * 1000000 AS scale,
           in_low_millionths * multiplier * {units} AS low_dividend, low_dividend * 2 + scale AS low_twice,
           in_high_millionths * multiplier * {units} AS high_dividend, high_dividend * 2 + scale AS high_twice,
           round(in_low_millionths::DOUBLE * multiplier / divisor / {part})::HUGEINT AS low_nearest,
           round(in_high_millionths::DOUBLE * multiplier / divisor / {part})::HUGEINT AS high_nearest
      FROM (
        SELECT *, if(in_units IS NULL, low_millionths, NULL) AS in_low_millionths,
               if(in_units IS NULL, high_millionths, NULL) AS in_high_millionths
          FROM (
            SELECT *, if(currency = $target, whole * {units},
                         dividend // divisor
                         + if(dividend % divisor * 2 + (dividend // divisor & 1) > divisor, 1, 0)) AS in_units
              FROM (
                SELECT p.*, r.available, r.multiplier, r.divisor, {doubted} AS is_doubted,
                       if(p.whole::DOUBLE * r.multiplier * {units} < 4e18, p.whole * r.multiplier * {units}, NULL)
                       AS dividend
                  FROM pledge_facts AS p {join}
              ))))
"""

_filling = WaitingLock()


class Conversion(Struct, frozen=True):
    """A conversion of all amounts of a question: to which currency, and at the rates of which days.

    `exact`: DuckDB converts all amounts; else there is a rate that has too many digits.
    """

    target: Currency
    table: str
    rates_of: date | None
    last_day: date
    doubts: Doubts
    exact: bool

    @property
    def day(self) -> str:
        """The day whose rate a row `p` of `pledge_facts` is converted at."""
        return "least(coalesce($rates_of, p.stated_on), $last_day)"

    @property
    def join(self) -> str:
        """The joins of the rates, and of the doubted amounts, to `pledge_facts`."""
        return f"LEFT JOIN {self.table} AS r ON r.currency = p.currency AND r.day = {self.day} {self.doubts.join}"

    @property
    def units(self) -> int:
        """How many minor units the target currency has."""
        return 100 if has_minor_unit(self.target) else 1

    @property
    def source(self) -> str:
        """The query of `pledge_facts` with their amounts in the target currency, rounded half to even.

        `in_units` is an amount in minor units where 64 bits suffice to convert it, as for most: DuckDB divides such
        numbers several times as fast as those of 128 bits. Where it is NULL, `in_low` and `in_high` are the bounds in
        millionths. Step by step, because each operator costs DuckDB some time before it begins.
        """
        return _CONVERTED.format(
            join=self.join, doubted=self.doubts.is_doubted, units=self.units, part=1_000_000 // self.units
        )

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters of the expressions."""
        return {"target": self.target, "rates_of": self.rates_of, "last_day": self.last_day}


def prepare(
    cursor: DuckDBPyConnection,
    cache: QuestionCache,
    target: Currency,
    rates: Rates,
    rates_of: date | None,
    last_day: date,
) -> Conversion:
    """Put the rates that a question needs into a table in memory, where they are not in it yet.

    They are put there before the question's own transaction reads the table, which would not see them afterwards, and
    after it has begun to read the copy, which would otherwise have versions without a rate.

    Args:
        cursor: The copy.
        cache: What is cached of earlier questions.
        target: The currency to convert to.
        rates: The exchange rates.
        rates_of: The day whose rates convert every amount; None: the day from which each amount applies.
        last_day: The last day whose rate may be used.
    """
    ((position, reset),) = run(cursor, SELECT_STATE, {})
    table = f"cache.main.rates_{target}_{rates.imports}"
    conversion = Conversion(target, table, rates_of, last_day, Doubts("", any=False), exact=True)
    # The table has the rates of all versions that were written up to a position.
    key = (table, rates_of, last_day)
    since, of_reset = cache.rates.get(key, (-1, reset))
    if since < position or of_reset != reset:
        names = {"rates": table, "day": conversion.day}
        with _filling, cursor.cursor() as own:
            own.execute(CREATE_RATES.format(**names))
            parameters = {**conversion.parameters, "since": since if of_reset == reset else -1}
            missing = run(own, SELECT_MISSING.format(**names), parameters)
            if missing:
                rows = [(currency, day, *_fraction(rates.rate(currency, target, day))) for currency, day in missing]
                columns = zip(*rows, strict=True)
                columns_of = ("currencies", "days", "multipliers", "divisors", "available")
                own.execute(INSERT_RATES.format(**names), dict(zip(columns_of, map(list, columns), strict=True)))
                if any(multiplier is None and available for *_, multiplier, _, available in rows):
                    cache.inexact.add(table)
            cache.rates[key] = (position, reset)
    return replace(conversion, doubts=prepare_doubts(cursor, cache, rates), exact=table not in cache.inexact)


def _fraction(rate: object) -> tuple[int | None, int | None, bool]:
    """A rate as a multiplier and a divisor, both None if it has too many digits; and whether there is one."""
    if not isinstance(rate, Rate):
        return None, None, False
    decimals = max(_decimals(rate.to_per_eur), _decimals(rate.from_per_eur))
    multiplier, divisor = (int(value.scaleb(decimals)) for value in (rate.to_per_eur, rate.from_per_eur))
    return (multiplier, divisor, True) if max(multiplier, divisor) < MAX_RATE else (None, None, True)


def _decimals(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
