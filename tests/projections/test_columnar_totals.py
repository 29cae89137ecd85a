"""Totals that DuckDB adds up equal those of all deals, added up one by one, to the last unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from registry.domain.checks.amount_checks import AmountCheck, Figure, doubts
from registry.domain.money import format_decimal
from registry.domain.totals import (
    GROUPINGS,
    DealRow,
    Estimates,
    MetricRow,
    PledgeRow,
    SiteRow,
    TotalsQuery,
    compute_totals,
    measured_row,
)
from registry.events.currencies import Currency
from registry.events.values import Amount, StatedAmount
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.selection import Selection
from registry.projections.columnar.tables import MAX_WHOLE
from registry.projections.columnar.totals import totals
from registry.projections.facts import FACT_TABLES
from registry.projections.point import Point
from registry.schemas.deal_query import DealListQuery
from tests.conftest import examples
from tests.domain.test_totals_properties import SLUGS, portfolios
from tests.reference_rates import reference_rates

WHEN = (
    "effective_from DATE, effective_to DATE, recorded_from BIGINT, recorded_to BIGINT, changed_at BIGINT,"
    " ordinal SMALLINT"
)
TABLES = {
    "deal_facts": "deal VARCHAR, sectors VARCHAR[], classifications VARCHAR[]",
    "stage_facts": "deal VARCHAR, stage VARCHAR, rule VARCHAR",
    "site_facts": "deal VARCHAR, site VARCHAR, place VARCHAR, status VARCHAR, announced_on DATE,"
    " power_mw DECIMAL(24, 6), power_qualifier VARCHAR, gpus BIGINT, gpus_qualifier VARCHAR",
    "party_facts": "deal VARCHAR, organization VARCHAR, role VARCHAR, joined_on DATE, left_on DATE",
    "relation_facts": "deal VARCHAR, relation VARCHAR, pledge VARCHAR, other_deal VARCHAR, other_pledge VARCHAR,"
    " since DATE, source VARCHAR",
    "pledge_facts": "deal VARCHAR, pledge VARCHAR, status VARCHAR, currency VARCHAR, value DECIMAL(24, 6),"
    " low DECIMAL(24, 6), high DECIMAL(24, 6), qualifier VARCHAR, amount_basis VARCHAR, commitment VARCHAR,"
    " organizations VARCHAR[], stated_on DATE, announced_on DATE, additional_to VARCHAR, figure VARCHAR,"
    " stated_as VARCHAR, compared_on DATE, compared_with VARCHAR, organization VARCHAR, whole BIGINT,"
    " low_millionths HUGEINT GENERATED ALWAYS AS ((coalesce(low, value, 0) * 1000000)::HUGEINT),"
    " high_millionths HUGEINT GENERATED ALWAYS AS ((coalesce(high, value, low, 0) * 1000000)::HUGEINT)",
    "metric_facts": "deal VARCHAR, metric_id VARCHAR, metric VARCHAR, basis VARCHAR, site VARCHAR,"
    " metric_date VARCHAR, horizon_from VARCHAR, horizon_until VARCHAR, value DECIMAL(24, 6), unit VARCHAR,"
    " qualifier VARCHAR, stated_on DATE, for_day DATE",
    "deal_events": "deal VARCHAR, position BIGINT",
    "event_texts": "deal VARCHAR",
}
# Totals look at no row of the other fact tables.
TABLES |= {
    table.name: ", ".join(["deal VARCHAR", *(f"{column.name} VARCHAR" for column in (*table.ids, *table.values))])
    for table in FACT_TABLES
    if table.name not in TABLES
}
DAY = date(2025, 1, 1)
POINT = Point("recorded", 1, date(2025, 2, 1), 1)
WEIGHTS = {"USD": 900_000, "KRW": 670, "EUR": 1_000_000}


@pytest.fixture(scope="module")
def copy() -> Iterator[Any]:
    connection = duckdb.connect()
    connection.execute("ATTACH ':memory:' AS cache")
    for name, columns in TABLES.items():
        connection.execute(f"CREATE TABLE {name} ({WHEN}, {columns})")
    connection.execute("CREATE TABLE copied AS SELECT 0::BIGINT AS position, 0::BIGINT AS reset")
    yield connection
    connection.close()


def fill(  # noqa: C901 - one loop for each table
    copy: Any,
    rows: Sequence[DealRow],
    compared: Compared,
    sites: Mapping[str, Sequence[SiteRow]] = {},
    metrics: Mapping[str, Sequence[MetricRow]] = {},
) -> None:
    """Write deals as facts that hold at the point, beside others that do not."""

    found: dict[str, list[list[Any]]] = {}

    def insert(table: str, *values: Any) -> None:
        intervals = (((DAY, date.max), (0, 9)), ((DAY, DAY), (0, 9)), ((DAY, date.max), (0, 1)))
        for ordinal, (effective, recorded) in enumerate(intervals):
            found.setdefault(table, []).append([*effective, *recorded, POINT.head, ordinal, *values])

    for row in rows:
        insert("deal_facts", row.deal, list(row.sectors), list(row.classifications))
        if row.stage:
            insert("stage_facts", row.deal, row.stage, None)
        for number, place in enumerate(row.places if row.deal not in sites else ()):
            insert("site_facts", row.deal, str(number), place, "announced", DAY, None, None, None, None)
        for s in sites.get(row.deal, ()):
            capacity = (s.power_mw, s.power_qualifier, s.gpus, s.gpus_qualifier)
            insert("site_facts", row.deal, s.site, s.place, s.status, s.announced_on, *capacity)
        for m in metrics.get(row.deal, ()):
            dates = (m.at, None, m.until)
            identity = (m.metric_id, m.metric, m.basis, m.site)
            insert("metric_facts", row.deal, *identity, *dates, m.value, m.unit, m.qualifier, m.stated_on, None)
        for organization in row.investors:
            insert("party_facts", row.deal, organization, "investor", DAY, None)
        for r in row.relations:
            insert("relation_facts", row.deal, r.relation, r.pledge or "", r.deal, r.other_pledge or "", DAY, r.source)
        for p in row.pledges:
            insert(
                "pledge_facts",
                *(row.deal, p.pledge, p.status, p.currency, p.value, p.low, p.high, p.qualifier, p.basis),
                *(p.commitment, list(p.by), p.stated_on, p.announced_on, p.additional_to, p.figure),
                *compared[row.deal, p.pledge],
                *(p.by[0] if len(p.by) == 1 else None, whole(p)),
            )
    # Another state of the copy, so that nothing is taken for examined before.
    copy.execute("UPDATE copied SET reset = reset + 1")
    for name in TABLES:
        copy.execute(f"DELETE FROM {name}")
        values = found.get(name, [])
        if values:
            marks = ", ".join(f"({', '.join('?' for _ in row)})" for row in values)
            copy.execute(f"INSERT INTO {name} VALUES {marks}", [value for row in values for value in row])


def in_order(rows: Sequence[DealRow]) -> list[DealRow]:
    """Deals as a projection reads them: in the order of slugs, each with its pledges in their order."""
    return [
        DealRow(
            row.deal,
            row.stage,
            row.sectors,
            row.places,
            tuple(sorted(row.investors)),
            tuple(sorted(set(row.relations), key=lambda r: (r.relation, r.deal, r.pledge or "", r.other_pledge or ""))),
            tuple(sorted(row.pledges, key=lambda pledge: pledge.pledge)),
            row.classifications,
        )
        for row in sorted(rows, key=lambda row: row.deal)
    ]


def whole(pledge: PledgeRow) -> int | None:
    """The amount as the copy keeps it where it is a single whole number."""
    value = pledge.value if pledge.low is None and pledge.high is None else None
    return int(value) if value is not None and value % 1 == 0 and value < MAX_WHOLE else None


Compared = dict[tuple[str, str], tuple[str | None, date | None, str | None]]
"""The columns with what the amounts of pledges are compared with."""


@st.composite
def comparisons(draw: st.DrawFn, pledge: PledgeRow) -> tuple[tuple[StatedAmount, ...], AmountCheck]:
    """What an amount may be compared with: often with one that differs by a power of ten, or nearly so."""
    value = pledge.value or pledge.low
    if value is None or not draw(st.booleans()):
        return (), AmountCheck(pledge.stated_on)
    factors = st.sampled_from(["10", "0.1", "7.5", "12.5", "12.6", "1000", "1", "0.08", "20000"]).map(Decimal)
    others = [
        Figure(draw(st.sampled_from(["USD", "KRW", "EUR"])), value * factor)
        for factor in draw(st.lists(factors, max_size=2))
    ]
    stated = [
        StatedAmount(format_decimal(value * draw(st.sampled_from([1400, 140, 14000, 1200]))), "KRW")
        # No amount has more than 18 digits before the point.
        for _ in range(draw(st.integers(0, 1)) if value * 14_000 < 10**18 else 0)
    ]
    return tuple(stated), AmountCheck(draw(st.sampled_from([pledge.stated_on, DAY])), tuple(others))


@st.composite
def odd_portfolios(draw: st.DrawFn) -> tuple[list[DealRow], Compared]:
    """Portfolios with investors, classifications, odd amounts, pledges without any, and amounts that are doubted."""
    rows = []
    compared: Compared = {}
    for row in draw(portfolios(("USD", "KRW", "EUR"))):
        pledges = []
        for pledge in row.pledges:
            values = list(pledge.__struct_fields__)
            fields = {name: getattr(pledge, name) for name in values}
            match draw(st.sampled_from(["as it is", "odd", "none", "from", "to", "unquoted"])):
                case "odd":
                    odd = Decimal(draw(st.integers(1, 10**24 - 1))).scaleb(-6)
                    fields |= {"value": odd, "low": None, "high": None}
                case "none":
                    fields |= {"currency": None, "value": None, "low": None, "high": None}
                case "from":
                    fields |= {"value": None, "low": Decimal("0.005"), "high": None}
                case "to":
                    fields |= {"value": None, "low": None, "high": Decimal("0.015"), "qualifier": "up_to"}
                case "unquoted":
                    fields |= {"currency": "VND"}
            changed = PledgeRow(**{**fields, "announced_on": DAY, "flags": ()})
            stated, check = draw(comparisons(changed))
            flags: tuple[str, ...] = ()
            if changed.currency is not None:
                numbers = [None if n is None else str(n) for n in (changed.value, changed.low, changed.high)]
                amount = Amount(changed.currency, numbers[0], None, numbers[1], numbers[2], stated)
                flags = tuple(doubts(amount, check, reference_rates()))
            pledges.append(replace(changed, flags=flags))
            compared[row.deal, changed.pledge] = (
                msgspec.json.encode(stated).decode() if stated else None,
                check.on if check.on != changed.stated_on else None,
                msgspec.json.encode(check.others).decode() if check.others else None,
            )
        investors = draw(st.lists(st.sampled_from(["x", "y", "w"]), max_size=2, unique=True))
        codes = draw(st.lists(st.sampled_from(["technology:solar", "technology:wind", "mode:expansion"]), unique=True))
        rows.append(
            DealRow(
                row.deal,
                row.stage,
                row.sectors,
                row.places,
                tuple(investors),
                row.relations,
                tuple(pledges),
                tuple(codes),
            )
        )
    return rows, compared


DIMENSIONS = [*GROUPINGS, "classification:technology"]


@settings(max_examples=examples(6), deadline=None)
@given(
    portfolio=odd_portfolios(),
    estimates=st.sampled_from(["include", "include", "exclude", "both"]),
    group_by=st.lists(st.sampled_from(DIMENSIONS), max_size=2, unique=True),
    currency=st.sampled_from([None, None, "USD", "KRW", "EUR"]),
    lines=st.sampled_from([0, 2, 100]),
    page=st.sampled_from([(0, 100), (0, 2), (1, 2)]),
    roll_up=st.sampled_from([{}, {"x": "y"}, {"x": "z", "w": "z"}]),
    rates_of=st.sampled_from([None, date(2025, 1, 8)]),
    merged=st.sampled_from([{}, {SLUGS[0]: SLUGS[1]}]),
    selection=st.sampled_from(
        [
            Selection(),
            Selection(DealListQuery(sector="ai")),
            Selection(DealListQuery(region="KR")),
            Selection(DealListQuery(stage="cancelled")),
        ]
    ),
)
def test_totals_of_the_copy_equal_those_of_all_deals_one_by_one(
    copy: Any,
    portfolio: tuple[list[DealRow], Compared],
    estimates: Estimates,
    group_by: list[str],
    currency: Currency | None,
    lines: int,
    page: tuple[int, int],
    roll_up: dict[str, str],
    rates_of: date | None,
    merged: dict[str, str],
    selection: Selection,
) -> None:
    rows, compared = in_order(portfolio[0]), portfolio[1]
    query = TotalsQuery(
        currency=currency,
        group_by=tuple(group_by),
        rates_of=rates_of,
        effective_on=date(2025, 1, 10),
        roll_up=roll_up,
        merged=merged,
        explain=True,
        skip=page[0],
        groups=page[1],
        weights=WEIGHTS,
        lines=lines,
        estimates=estimates,
    )
    fill(copy, rows, compared)
    selected = [row for row in rows if _matches(row, selection)]
    others = [row for row in rows if not _matches(row, selection)]
    with copy.cursor() as cursor:
        cursor.execute("BEGIN")
        found = totals(cursor, QuestionCache(), POINT, selection, query, reference_rates())
    assert found == compute_totals(selected, query, reference_rates(), others)


def _matches(row: DealRow, selection: Selection) -> bool:
    return (
        selection.query.sector in (None, *row.sectors)
        and selection.query.stage in (None, row.stage)
        and (selection.query.region is None or any(place[:2] == selection.query.region for place in row.places))
    )


sites_of_a_deal = st.lists(
    st.builds(
        SiteRow,
        site=st.sampled_from(["s1", "s2"]),
        place=st.sampled_from([None, "KR-28", "JP"]),
        status=st.sampled_from(["announced", "announced", "dropped"]),
        power_mw=st.sampled_from([None, Decimal(40), Decimal("103.5")]),
        power_qualifier=st.sampled_from([None, "about", "up_to"]),
        gpus=st.sampled_from([None, Decimal(60_000)]),
        gpus_qualifier=st.sampled_from([None, "at_least"]),
        announced_on=st.just(DAY),
    ),
    max_size=2,
    unique_by=lambda site: site.site,
)


@st.composite
def metrics_of_a_deal(draw: st.DrawFn) -> list[MetricRow]:
    found: dict[str, MetricRow] = {}
    for _ in range(draw(st.integers(0, 4))):
        metric, basis = draw(st.sampled_from(["jobs", "gpus"])), draw(st.sampled_from(["planned", "actual"]))
        site, at = draw(st.sampled_from([None, "s1", "s2"])), draw(st.sampled_from([None, "2027", "2029-02"]))
        value = draw(st.sampled_from([None, Decimal(100), Decimal(2500)]))
        id = f"{metric}-{basis}-{site}-{at}"
        qualifier = draw(st.sampled_from([None, "more_than"]))
        found[id] = MetricRow(id, metric, basis, site, at, None, value, None, qualifier, DAY)  # type: ignore[arg-type]
    return [found[id] for id in sorted(found)]


@settings(max_examples=examples(4), deadline=None)
@given(
    portfolio=odd_portfolios(),
    sites=st.fixed_dictionaries(dict.fromkeys(SLUGS, sites_of_a_deal)),
    metrics=st.fixed_dictionaries({slug: metrics_of_a_deal() for slug in SLUGS}),
    measure=st.sampled_from(["power_mw", "gpus", "jobs"]),
    group_by=st.lists(st.sampled_from(DIMENSIONS), max_size=2, unique=True),
    lines=st.sampled_from([0, 3, 100]),
)
def test_totals_of_measures_equal_those_of_all_deals_one_by_one(
    copy: Any,
    portfolio: tuple[list[DealRow], Compared],
    sites: dict[str, list[SiteRow]],
    metrics: dict[str, list[MetricRow]],
    measure: str,
    group_by: list[str],
    lines: int,
) -> None:
    rows, compared = in_order(portfolio[0]), portfolio[1]
    sites = {deal: sorted(of_deal, key=lambda site: site.site) for deal, of_deal in sites.items()}
    places = {
        deal: tuple(dict.fromkeys(s.place for s in of_deal if s.place and s.status != "dropped"))
        for deal, of_deal in sites.items()
    }
    rows = [replace(row, places=places[row.deal]) for row in rows]
    query = TotalsQuery(
        measure=measure, group_by=tuple(group_by), effective_on=POINT.day, explain=True, weights={"": 1}, lines=lines
    )
    fill(copy, rows, compared, sites, metrics)
    measured = [measured_row(row, measure, sites[row.deal], metrics[row.deal]) for row in rows]
    with copy.cursor() as cursor:
        cursor.execute("BEGIN")
        found = totals(cursor, QuestionCache(), POINT, Selection(), query, reference_rates())
    assert found == compute_totals(measured, query, reference_rates())
