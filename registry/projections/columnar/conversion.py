"""Exchange rates as integers in the copy, so that DuckDB converts amounts to the last unit as `domain/rates.py` does.

A rate is a fraction of two integers, and an amount a number of millionths. Their product fits into 128 bits; where it
might not, which needs a rate with more digits than any bank publishes, the deal is added up by `domain/totals`.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from threading import Lock

from duckdb import DuckDBPyConnection
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.rates import Rate, Rates, has_minor_unit
from registry.events.currencies import Currency
from registry.projections.columnar.doubts import Doubts, prepare_doubts
from registry.projections.columnar.held import SELECT_STATE
from registry.projections.columnar.kept import Kept
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

_filling = Lock()


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
    def whole(self) -> str:
        """The amount of a row in minor units, where 64 bits suffice to convert it; else NULL.

        Most amounts are such numbers, and DuckDB divides numbers of 64 bits several times as fast as those of 128.
        """
        dividend = f"(p.whole * r.multiplier * {self.units})"
        twice = f"({dividend} % r.divisor * 2)"
        is_up = f"{twice} > r.divisor OR {twice} = r.divisor AND ({dividend} // r.divisor) & 1 = 1"
        return (
            f"CASE WHEN p.whole IS NULL THEN NULL WHEN p.currency = $target THEN p.whole * {self.units}"
            f" WHEN p.whole::DOUBLE * r.multiplier * {self.units} < 4e18"
            f" THEN {dividend} // r.divisor + CASE WHEN {is_up} THEN 1 ELSE 0 END END"
        )

    def converted(self, millionths: str) -> str:
        """An amount in millionths of the target currency, rounded half to even to its minor unit.

        Args:
            millionths: The amount in millionths of its own currency, an integer.
        """
        units = self.units
        divisor = "(r.divisor::HUGEINT * 1000000)"
        dividend = f"({millionths} * r.multiplier * {units})"
        # DuckDB divides 128 bits slowly: an estimate that is less than half a unit off, exactly, is the result.
        estimate = f"round({millionths}::DOUBLE * r.multiplier / r.divisor * {units / 1_000_000})::HUGEINT"
        is_nearest = f"abs({dividend} - {estimate} * {divisor}) * 2 < {divisor}"
        # Otherwise half up, and back where an odd result was a tie.
        rounded = f"(({dividend} * 2 + {divisor}) // ({divisor} * 2))"
        tie = f"{rounded} * {divisor} * 2 = {dividend} * 2 + {divisor} AND {rounded} & 1 = 1"
        exact = f"{rounded} - CASE WHEN {tie} THEN 1 ELSE 0 END"
        return f"CASE WHEN {is_nearest} THEN {estimate} ELSE {exact} END * {1_000_000 // units}"

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters of the expressions."""
        return {"target": self.target, "rates_of": self.rates_of, "last_day": self.last_day}


def prepare(
    cursor: DuckDBPyConnection, kept: Kept, target: Currency, rates: Rates, rates_of: date | None, last_day: date
) -> Conversion:
    """Put the rates that a question needs into a table in memory, where they are not in it yet.

    They are put there before the question's own transaction reads the table, which would not see them afterwards, and
    after it has begun to read the copy, which would otherwise have versions without a rate.

    Args:
        cursor: The copy.
        kept: What is kept of earlier questions.
        target: The currency to convert to.
        rates: The exchange rates.
        rates_of: The day whose rates convert every amount; None: the day from which each amount applies.
        last_day: The last day whose rate may be used.
    """
    ((position, reset),) = run(cursor, SELECT_STATE, {})
    table = f"kept.main.rates_{target}_{rates.imports}"
    conversion = Conversion(target, table, rates_of, last_day, Doubts("", any=False), exact=True)
    # The table has the rates of all versions that were written up to a position.
    key = (table, rates_of, last_day)
    since, of_reset = kept.rates.get(key, (-1, reset))
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
                    kept.inexact.add(table)
            kept.rates[key] = (position, reset)
    return replace(conversion, doubts=prepare_doubts(cursor, kept, rates), exact=table not in kept.inexact)


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
