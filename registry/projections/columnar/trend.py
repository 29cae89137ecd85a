"""Amounts over time by tier: the totals on each of some days.

All days are computed in one pass. A version of a pledge counts on a set of days, which is a number with a bit for each
day; the sums by set are few, and each is added to its days.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.merges import survivor
from registry.domain.money.rates import Rates
from registry.domain.stages import ENDED_STAGES
from registry.domain.totals import DealRow, TotalsQuery, compute_totals
from registry.domain.totals.tiers import TIERS, TierAmounts
from registry.projections.columnar.conversion import Conversion, prepare
from registry.projections.columnar.deal_rows import deal_rows_on
from registry.projections.columnar.memory_tables import asking_memory
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.search_at_point import materialize_deals
from registry.projections.columnar.selection import Selection, run
from registry.projections.point import Point

DAYS_PER_PASS = 60
"""A set of days is a 64-bit number."""

ROWS_AT_ONCE = 10_000
"""About the number of deals, on all days of one reading, that are examined one by one. Python frees them at once, and
holds the event loop meanwhile: for 128 ms with 2,000 such deals on 24 days."""

MAX_CHANGED = 20
"""The most deals that are named for a day."""

# Every version of a one-time pledge with its days and its bounds in millionths of the currency. The amount of a version
# applies from its first day at the latest, so its rate is the same on all days.
_VERSIONS = """
SELECT p.deal, {days} AS days,
       p.commitment IS DISTINCT FROM 'intention' AS committed,
       p.status = 'confirmed' OR coalesce(p.commitment IN ('binding', 'budget'), false) AS confirmed,
       CASE WHEN p.is_doubted THEN 0 WHEN p.in_units IS NULL THEN p.in_low ELSE p.in_units::HUGEINT * {part} END AS low,
       CASE WHEN p.in_units IS NULL THEN p.in_high ELSE p.in_units::HUGEINT * {part} END AS high
  FROM ({source}) AS p
 WHERE {known} AND p.effective_from <= $last AND p.effective_to > $first
   AND p.status <> 'withdrawn' AND p.amount_basis IS DISTINCT FROM 'annual'
   AND p.currency IS NOT NULL AND coalesce(p.value, p.low, p.high) IS NOT NULL
   AND (p.currency = $target OR p.multiplier IS NOT NULL)
   AND p.deal NOT IN (SELECT unnest($examined))
"""

# The tiers of `domain/totals/tiers.py`: first as if no deal had a stage, then what a stage adds or takes away.
_SUMS = """
WITH versions AS MATERIALIZED ({versions}
), selected AS (
    SELECT v.* REPLACE ({selected} AS days) FROM versions AS v {join}
), amounts AS (
    SELECT days, high, low AS intended,
           if(committed, low, 0) AS pledged,
           if(committed AND confirmed, low, 0) AS confirmed,
           0 AS construction,
           0 AS operating
      FROM selected
    UNION ALL
    SELECT v.days & {days} AS days,
           if(stopped, -high, 0) AS high,
           if(stopped, -low, 0) AS intended,
           if(stopped AND committed, -low, 0) AS pledged,
           CASE WHEN NOT committed THEN 0
                WHEN stopped AND confirmed THEN -low
                WHEN NOT stopped AND NOT confirmed THEN low
                ELSE 0 END AS confirmed,
           if(committed AND NOT stopped, low, 0) AS construction,
           if(committed AND s.stage = 'operating', low, 0) AS operating
      FROM selected AS v
           JOIN (SELECT s.*, s.stage IN {ended} AS stopped FROM stage_facts AS s) AS s
             ON s.deal = v.deal
     WHERE {known} AND (s.stage IN ('construction', 'operating') OR stopped)
)
SELECT days, sum(high) AS high, sum(intended) AS intended, sum(pledged) AS pledged, sum(confirmed) AS confirmed,
       sum(construction) AS construction, sum(operating) AS operating
  FROM amounts
 WHERE days <> 0
 GROUP BY days
"""

_ADDED = ("high", "intended", "pledged", "confirmed", "construction", "operating")

_CHOSEN = "SELECT d.deal, {bit}::BIGINT AS bit FROM deal_facts AS d WHERE {conditions}"

# Deals that have a relation on one of the days, with the deals to which they have one.
_RELATED = """
SELECT r.deal, r.other_deal
  FROM relation_facts AS r
 WHERE {known} AND {days} <> 0 AND r.relation NOT IN ('additional_to', 'separate_from')
"""

# Deals with an amount whose rate has too many digits for DuckDB.
_ODD = """
SELECT DISTINCT p.deal
  FROM pledge_facts AS p {join}
 WHERE {known} AND {days} <> 0 AND r.available AND r.multiplier IS NULL
"""

# The deals whose amounts or stage changed on each day, with the largest amount of each then.
_CHANGED = """
WITH changed AS (
    SELECT p.deal, p.effective_from AS day FROM pledge_facts AS p
     WHERE {p} AND p.currency IS NOT NULL AND p.effective_from IN (SELECT unnest($dates::DATE[]))
    UNION
    SELECT s.deal, s.effective_from FROM stage_facts AS s
     WHERE {s} AND s.effective_from IN (SELECT unnest($dates::DATE[]))
)
SELECT c.day, c.deal, max(coalesce(p.value, p.high, p.low)::DOUBLE * {weight}) AS worth
  FROM changed AS c
       JOIN pledge_facts AS p ON p.deal = c.deal AND p.effective_from <= c.day AND p.effective_to > c.day AND {p}
            AND p.currency IS NOT NULL
 GROUP BY c.day, c.deal
"""

_LARGEST = """
SELECT c.day, c.deal
  FROM {source} AS c {chosen}
QUALIFY row_number() OVER (PARTITION BY c.day ORDER BY c.worth DESC NULLS LAST, c.deal) <= $deals
 ORDER BY c.day, c.worth DESC NULLS LAST, c.deal
"""


class TrendQuery(Struct, frozen=True):
    """Amounts over time.

    Attributes:
        query: The currency, and what each merged deal was merged into.
        rates: The exchange rates.
        weight: The SQL of the worth of a unit of a pledge's currency.
        days: The days, in ascending order.
    """

    query: TotalsQuery
    rates: Rates
    weight: str
    days: Sequence[date]


def amounts_over_time(
    cursor: DuckDBPyConnection, cache: QuestionCache, point: Point, selection: Selection, trend: TrendQuery
) -> list[TierAmounts]:
    """The amounts of one-time pledges on some days, as known at the point, converted to a currency.

    Args:
        cursor: The copy.
        cache: What is cached of earlier questions.
        point: The point; each of the days stands for its effective date.
        selection: Which deals.
        trend: The days, and how amounts are converted.
    """
    assert trend.query.currency is not None
    # Before the transaction reads the rates, which are in memory as well.
    cache.memory.prepare(cursor, trend.query.merged)
    conversion = prepare(cursor, cache, trend.query.currency, trend.rates, None, point.day)
    found: list[TierAmounts] = []
    for first in range(0, len(trend.days), DAYS_PER_PASS):
        days = replace(trend, days=trend.days[first : first + DAYS_PER_PASS])
        found += _Pass(cursor, cache, point, selection, days, conversion).amounts()
    return found


class _Pass:
    """The computation of some days."""

    def __init__(
        self,
        cursor: DuckDBPyConnection,
        cache: QuestionCache,
        point: Point,
        selection: Selection,
        trend: TrendQuery,
        conversion: Conversion,
    ) -> None:
        self.cursor, self.cache, self.point, self.selection = cursor, cache, point, selection
        self.query, self.rates, self.weight, self.days = trend.query, trend.rates, trend.weight, trend.days
        self.conversion = conversion

    def amounts(self) -> list[TierAmounts]:
        """The amounts of each day."""
        with self._choosing():
            return self._amounts()

    def _amounts(self) -> list[TierAmounts]:
        related, examined = self._examined()
        sums = [[0] * (len(TIERS) + 1) for _ in self.days]
        for days, *added in self._sums(examined):
            for number in _days_in(days):
                sums[number] = [one + other for one, other in zip(sums[number], added, strict=True)]
        changed = self._changed()
        more = self._amounts_of(related, examined) if examined else {}
        found = []
        for number, day in enumerate(self.days):
            upper, *lows = (Decimal(amount).scaleb(-6) for amount in sums[number])
            tiers = dict(zip(TIERS, lows, strict=True))
            if day in more:
                lows_of_tiers, high = more[day]
                tiers = {tier: low + lows_of_tiers[tier] for tier, low in tiers.items()}
                upper += high
            found.append(TierAmounts(day, tiers, upper, tuple(changed.get(day, ()))))
        return found

    def _amounts_of(
        self, related: set[str], examined: Sequence[str]
    ) -> Mapping[date, tuple[dict[str, Decimal], Decimal]]:
        """What the deals that are examined one by one add on each day; cached until one of them changes."""
        memory = self.cache.memory.prepare(self.cursor, self.query.merged)
        is_same = related.issuperset(examined) and self.selection.search is None
        at = memory.unchanged(self.point) if is_same else self.point
        asked = msgspec.msgpack.encode((at, self.selection, self.query, self.rates.imports, examined))
        found: dict[date, tuple[dict[str, Decimal], Decimal]] = self.cache.value(("trend", memory.reset, asked), dict)
        missing = [number for number, day in enumerate(self.days) if day not in found]
        chosen = self._chosen_among(examined) if missing else {}
        days_at_once = max(1, ROWS_AT_ONCE // len(examined))
        for first in range(0, len(missing), days_at_once):
            numbers = missing[first : first + days_at_once]
            with asking_memory(self.cursor) if memory.deals.issuperset(examined) else nullcontext():
                rows = deal_rows_on(
                    self.cursor, self.point, examined, [self.days[number] for number in numbers], self.rates
                )
            for number in numbers:
                day = self.days[number]
                selected = [row for row in rows[day] if chosen.get(row.deal, 0) >> number & 1]
                others = [row for row in rows[day] if row.deal in related and not chosen.get(row.deal, 0) >> number & 1]
                found[day] = self._one_by_one(selected, others, day)
        return found

    @contextmanager
    def _choosing(self) -> Iterator[None]:
        """The selected deals, each with the set of the days on which it is, as a view; none if all are selected."""
        if self.selection.is_all:
            yield
            return
        if self.selection.search is not None:
            for day in self.days:
                # The question has found those of the point itself.
                if day != self.point.day:
                    materialize_deals(self.cursor, replace(self.point, day=day), self.selection.search)

        def select(at: Point, _: Sequence[str]) -> tuple[str, dict[str, Any]]:
            return self._chosen(at), {**at.parameters, **self.selection.parameters}

        with self.cache.values(self.cursor, self.point, self.selection.cache_key("chosen", self.days), select) as table:
            run(self.cursor, f"CREATE OR REPLACE TEMP VIEW chosen AS SELECT * FROM {table}", {})
            yield

    def _chosen(self, at: Point) -> str:
        """The statement of the selected deals as known at a point, each with the set of the days on which it is."""
        found = " UNION ALL ".join(
            # Each day has the parameters of its point, but for the day itself.
            _CHOSEN.format(bit=1 << number, conditions=self.selection.conditions(replace(at, day=day))).replace(
                "$day", f"DATE '{day}'"
            )
            for number, day in enumerate(self.days)
        )
        return f"SELECT deal, bit_or(bit) AS days FROM ({found}) GROUP BY deal"

    def _examined(self) -> tuple[set[str], list[str]]:
        """The deals that relations decide about on one of the days, and all that DuckDB cannot add up."""
        related: set[str] = set()
        statement = _RELATED.format(known=self.point.is_known("r"), days=self._days_of("r"))
        for deal, other in run(self.cursor, statement, self.point.parameters):
            related |= {deal, survivor(other, self.query.merged)}
        if self.conversion.exact:
            return related, sorted(related)
        statement = _ODD.format(join=self.conversion.join, known=self.point.is_known("p"), days=self._days_of("p"))
        odd = run(self.cursor, statement, {**self.point.parameters, **self.conversion.parameters})
        return related, sorted(related | {deal for (deal,) in odd})

    def _sums(self, examined: Sequence[str]) -> list[tuple[int, ...]]:
        """The sums in millionths by sets of days: the upper bound, and the lower bound of each tier."""
        is_all = self.selection.is_all

        def select(at: Point, left_out: Sequence[str]) -> tuple[str, dict[str, Any]]:
            versions = _VERSIONS.format(
                days=self._days_of("p"),
                source=self.conversion.source,
                part=1_000_000 // self.conversion.units,
                known=at.is_known("p"),
            )
            parameters = {**at.parameters, **self.conversion.parameters, "examined": list(left_out)}
            parameters |= {"first": self.days[0], "last": self.days[-1], **self.selection.parameters}
            # The table has the days as known at the question's point.
            chosen = "chosen" if is_all or at == self.point else f"({self._chosen(at)})"
            sums = _SUMS.format(
                ended=ENDED_STAGES,
                versions=versions,
                days=self._days_of("s"),
                known=at.is_known("s"),
                selected="v.days" if is_all else "v.days & c.days",
                join="" if is_all else f"JOIN {chosen} AS c ON c.deal = v.deal",
            )
            return sums, parameters

        asked = self.selection.cache_key("trend", self.query, self.rates.imports, self.days)
        decides = "" if is_all else self._chosen(self.point)
        with self.cache.sums(self.cursor, self.point, asked, select, _ADDED, examined, decides) as source:
            return run(self.cursor, f"SELECT * FROM {source}", {})

    def _changed(self) -> dict[date, list[str]]:
        """The largest deals that changed on each day."""

        def select(at: Point, _: Sequence[str]) -> tuple[str, dict[str, Any]]:
            changed = _CHANGED.format(p=at.is_known("p"), s=at.is_known("s"), weight=self.weight)
            return changed, {"known": at.known, "dates": list(self.days)}

        chosen = ""
        if not self.selection.is_all:
            bits = f"1::BIGINT << {_number_of('c.day', self.days)}"
            chosen = f"JOIN chosen AS h ON h.deal = c.deal AND h.days & ({bits}) <> 0"
        found: dict[date, list[str]] = {}
        with self.cache.values(self.cursor, self.point, ("changed", self.weight, self.days), select) as source:
            largest = _LARGEST.format(source=source, chosen=chosen)
            for day, deal in run(self.cursor, largest, {"deals": MAX_CHANGED}):
                found.setdefault(day, []).append(deal)
        return found

    def _chosen_among(self, deals: Sequence[str]) -> dict[str, int]:
        """The days on which these deals are selected."""
        if self.selection.is_all or not deals:
            return dict.fromkeys(deals, -1)
        statement = "SELECT deal, days FROM chosen WHERE deal IN (SELECT unnest($deals))"
        return dict(run(self.cursor, statement, {"deals": list(deals)}))

    def _one_by_one(
        self, chosen: Sequence[DealRow], others: Sequence[DealRow], day: date
    ) -> tuple[dict[str, Decimal], Decimal]:
        """The lower bound of each tier, and the upper bound, of the deals that are examined one by one.

        A tier has what its pledges add to the total, so that it is a part of the tiers before it: what a relation or a
        doubt keeps out of the total's lower bound is in that of no tier.
        """
        rows = [replace(row, pledges=tuple(p for p in row.pledges if p.basis != "annual")) for row in chosen]
        pledges = {(row.deal, pledge.pledge): (row, pledge) for row in rows for pledge in row.pledges}
        tiers = dict.fromkeys(TIERS, Decimal(0))
        if not pledges:
            return tiers, Decimal(0)
        query = replace(self.query, effective_on=day, lines=len(pledges))
        total = compute_totals(rows, query, self.rates, others).overall
        for line in total.lines:
            for tier, includes in TIERS.items():
                if includes(*pledges[line.deal, line.pledge]):
                    tiers[tier] += Decimal(line.low)
        return tiers, sum((Decimal(column.high) for column in total.columns), Decimal(0))

    def _days_of(self, table: str) -> str:
        """The set of the days on which a row of a fact table is in effect."""
        first, last = (_number_of(f"{table}.effective_{end}", self.days) for end in ("from", "to"))
        return f"((1::BIGINT << {last}) - (1::BIGINT << {first}))"


def _number_of(day: str, days: Sequence[date]) -> str:
    """The number of those of the days that are before a day."""
    cases = " ".join(f"WHEN {day} <= DATE '{one}' THEN {number}" for number, one in enumerate(days))
    return f"CASE {cases} ELSE {len(days)} END"


def _days_in(days: int) -> Iterable[int]:
    """The numbers of the days in a set."""
    return (number for number in range(days.bit_length()) if days >> number & 1)
