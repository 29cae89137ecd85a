"""Properties that hold for the totals of every portfolio, whatever its relations are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from registry.domain.money.rates import convert
from registry.domain.totals import (
    GROUPINGS,
    DealRow,
    Group,
    PledgeRow,
    RelationRow,
    TotalsLine,
)
from registry.events.currencies import Currency
from registry.events.values import Relation
from tests.domain.builders import day
from tests.domain.portfolios import BN, interval, total

# --- random portfolios ------------------------------------------------------------------------------------------------

SLUGS = [f"deal-{i}" for i in range(5)]
PLEDGES = ["p", "q"]
RELATIONS: list[Relation] = list(get_args(Relation))


@st.composite
def pledge_rows(draw: st.DrawFn, name: str, currencies: Sequence[Currency]) -> PledgeRow:
    low = draw(st.integers(1, 50))
    spread = draw(st.integers(1, 9) | st.none())
    return PledgeRow(
        name,
        draw(st.sampled_from(["announced", "announced", "announced", "confirmed", "withdrawn"])),
        draw(st.sampled_from(currencies)),
        None if spread else Decimal(low * BN),
        Decimal(low * BN) if spread else None,
        Decimal((low + spread) * BN) if spread else None,
        draw(st.sampled_from([None, "about", "more_than"])),
        draw(st.sampled_from([None, "additional", "annual"])),
        draw(st.sampled_from([None, "pledge", "intention"])),
        tuple(draw(st.lists(st.sampled_from(["x", "y", "z"]), max_size=2, unique=True))),
        draw(st.dates(date(2025, 1, 6), date(2025, 1, 12))),
        None,
        draw(st.sampled_from([None, None, "stated", "estimated"])),
        draw(st.sampled_from([(), (), (), ("tenfold-slip",), ("implied-rate",)])),
    )


@st.composite
def portfolios(draw: st.DrawFn, currencies: Sequence[Currency] = ("USD", "KRW"), related: bool = True) -> list[DealRow]:
    relation = st.builds(
        RelationRow,
        st.sampled_from(RELATIONS),
        st.none() | st.sampled_from(PLEDGES),
        st.sampled_from(SLUGS),
        st.none() | st.sampled_from(PLEDGES),
        st.sampled_from(["e1", "e2", "e3"]),
    )
    rows = []
    for slug in draw(st.lists(st.sampled_from(SLUGS), max_size=5, unique=True)):
        names = draw(st.lists(st.sampled_from(PLEDGES), max_size=2, unique=True))
        relations = draw(st.lists(relation, max_size=3)) if related else []
        rows.append(
            DealRow(
                slug,
                draw(st.sampled_from([None, "committed", "cancelled"])),
                tuple(draw(st.lists(st.sampled_from(["ai", "chips"]), max_size=2, unique=True))),
                tuple(draw(st.lists(st.sampled_from(["KR-28", "KR-31", "JP"]), max_size=2, unique=True))),
                (),
                tuple(r for r in relations if (r.deal, r.other_pledge) != (slug, r.pledge)),
                tuple(draw(pledge_rows(name, currencies)) for name in names),
            )
        )
    return rows


PledgeKey = tuple[str, str | None]


def naive_containers(rows: Sequence[DealRow]) -> dict[PledgeKey, set[PledgeKey]]:
    """The containers of each pledge by brute force: the transitive closure over pledges and their deals."""
    pledges = [(row.deal, p.pledge) for row in rows for p in row.pledges]
    edges: set[tuple[PledgeKey, PledgeKey]] = set()
    for row in rows:
        for r in row.relations:
            if r.relation == "part_of":
                edges.add(((row.deal, r.pledge), (r.deal, r.other_pledge)))
            elif r.relation == "includes":
                edges.add(((r.deal, r.other_pledge), (row.deal, r.pledge)))
    nodes = {node for edge in edges for node in edge} | set(pledges)
    reach = {(a, b) for a in nodes for b in nodes if (a, b) in edges or ((a[0], None), b) in edges}
    for _ in nodes:
        reach |= {(a, d) for a, b in reach for c, d in reach if b == c}
    return {
        p: {
            w
            for w in pledges
            if w != p and ((p, w) in reach or ((p, (w[0], None)) in reach and (w, (w[0], None)) not in edges))
        }
        for p in pledges
    }


def counted(group: Group) -> tuple[dict[PledgeKey, TotalsLine], dict[PledgeKey, TotalsLine]]:
    low = {(line.deal, line.pledge): line for line in group.lines if line.low != "0"}
    high = {(line.deal, line.pledge): line for line in group.lines if line.high != "0"}
    return low, high  # type: ignore[return-value]


def of_column(line: TotalsLine) -> tuple[str | None, str, str | None]:
    return line.currency, line.nature, line.basis


DIMENSIONS: list[str | None] = [None, *GROUPINGS]


@given(portfolios(), st.sampled_from(DIMENSIONS))
def test_total_never_adds_a_part_to_its_whole(rows: list[DealRow], group_by: str | None) -> None:
    """Property 14, for every group and both bounds, whatever the relations are, cycles included."""
    wholes = naive_containers(rows)
    answer = total(rows, group_by=group_by)
    for group in (answer.overall, *answer.groups):
        for end in counted(group):
            for part, whole in itertools.permutations(end, 2):
                if of_column(end[part]) == of_column(end[whole]):
                    assert whole not in wholes[part], f"{part} is part of {whole} in {group.key}"
    low, high = counted(answer.overall)
    for end in (low, high):
        for part, whole in itertools.permutations(end, 2):
            if whole in wholes[part]:
                kept_apart = (end[part].nature, end[whole].nature) == ("commitment", "intention")
                # A doubted whole excludes no part from the lower bound, so none of another column from the upper bound.
                # In a cycle, each is a part of the other.
                doubted = end[whole].rule == "flagged" or (part in wholes[whole] and end[part].rule == "flagged")
                assert kept_apart or doubted, "overall, a part counts beside its whole"


@given(portfolios(), st.sampled_from(DIMENSIONS), st.sampled_from([None, "USD"]))
def test_lower_bound_is_at_most_the_upper_bound(
    rows: list[DealRow], group_by: str | None, currency: Currency | None
) -> None:
    answer = total(rows, group_by=group_by, currency=currency)
    for group in (answer.overall, *answer.groups):
        assert all(Decimal(c.low) <= Decimal(c.high) for c in group.columns)


@given(portfolios(), st.sampled_from(DIMENSIONS), st.sampled_from([None, "USD"]))
def test_every_pledge_is_listed_once_and_lines_add_up(
    rows: list[DealRow], group_by: str | None, currency: Currency | None
) -> None:
    answer = total(rows, group_by=group_by, currency=currency)
    every = sorted((row.deal, p.pledge) for row in rows for p in row.pledges)
    assert sorted((line.deal, line.pledge) for line in answer.overall.lines) == every
    for group in (answer.overall, *answer.groups):
        assert sum(group.rules.values()) == len(group.lines)
        for result in group.columns:
            lines = [x for x in group.lines if of_column(x) == (result.currency, result.nature, result.basis)]
            assert sum(Decimal(x.low) for x in lines) == Decimal(result.low)
            assert sum(Decimal(x.high) for x in lines) == Decimal(result.high)
            assert (result.certain, result.pledges) == (
                sum(x.low != "0" for x in lines),
                sum(x.high != "0" for x in lines),
            )


@given(portfolios(), st.sampled_from(DIMENSIONS), st.sampled_from([None, "USD"]))
def test_pledge_counts_in_the_bounds_of_its_rule(
    rows: list[DealRow], group_by: str | None, currency: Currency | None
) -> None:
    answer = total(rows, group_by=group_by, currency=currency)
    for group in (answer.overall, *answer.groups):
        for line in group.lines:
            # A range with one figure may add nothing to a bound in which it counts.
            assert line.rule.counts_low or line.low == "0", line
            assert line.rule.counts_high or line.high == "0", line
            assert (line.high != "0") == line.rule.counts_high or line.rule in ("counted", "additional"), line


@given(portfolios(), st.sampled_from(DIMENSIONS), st.sampled_from([None, "USD"]), st.integers(0, 3))
def test_number_of_listed_pledges_changes_no_figure(
    rows: list[DealRow], group_by: str | None, currency: Currency | None, lines: int
) -> None:
    """The builder adds pledges that no list has room for by another code path."""
    whole = total(rows, group_by=group_by, currency=currency)
    cut = total(rows, group_by=group_by, currency=currency, lines=lines)
    for one, other in zip((whole.overall, *whole.groups), (cut.overall, *cut.groups), strict=True):
        assert one.key == other.key
        assert one.columns == other.columns
        assert one.rules == other.rules
        assert len(other.lines) + other.more == len(one.lines) + one.more
    assert len(cut.overall.lines) <= lines
    assert sum(len(group.lines) for group in cut.groups) <= lines


@given(portfolios(), st.randoms())
def test_order_of_deals_does_not_matter(rows: list[DealRow], random: Any) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)
    one, other = total(rows, group_by="organization"), total(shuffled, group_by="organization")
    assert one.overall.columns == other.overall.columns
    assert [g.columns for g in one.groups] == [g.columns for g in other.groups]
    assert sorted(map(msgspec.json.encode, one.overall.lines)) == sorted(map(msgspec.json.encode, other.overall.lines))


@given(portfolios(), st.sampled_from(SLUGS), pledge_rows("new", ["USD", "KRW"]))
def test_new_part_of_a_counted_pledge_keeps_the_lower_bound(rows: list[DealRow], whole: str, part: PledgeRow) -> None:
    part = msgspec.structs.replace(part, commitment="intention", status="announced")
    before = total(rows).overall
    counting = [line for line in before.lines if line.deal == whole and line.low != "0"]
    if not counting:
        return
    relation = RelationRow("part_of", "new", whole, counting[0].pledge, "e9")
    after = total([*rows, DealRow("part", None, (), (), (), (relation,), (part,))]).overall

    def lows(group: Group) -> dict[tuple[str | None, str, str | None], str]:
        return {(c.currency, c.nature, c.basis): c.low for c in group.columns if c.low != "0"}

    assert lows(after) == lows(before)


@given(portfolios())
def test_lower_bound_never_adds_declared_overlaps(rows: list[DealRow]) -> None:
    low, _ = counted(total(rows).overall)
    for row in rows:
        for r in row.relations:
            one, other = (row.deal, r.pledge), (r.deal, r.other_pledge)
            if r.relation == "overlaps" and one in low and other in low:
                assert of_column(low[one])[1:] != of_column(low[other])[1:]


@given(portfolios(currencies=("USD",), related=False))
def test_without_relations_every_amount_counts_in_both_bounds(rows: list[DealRow]) -> None:
    rows = [replace(row, pledges=tuple(replace(p, flags=()) for p in row.pledges)) for row in rows]
    overall = total(rows).overall
    for result in overall.columns:
        expected = [
            p
            for row in rows
            for p in row.pledges
            if row.stage != "cancelled"
            and p.status != "withdrawn"
            and (p.basis == "annual") == (result.basis == "annual")
            and (p.commitment == "intention") == (result.nature == "intention")
        ]
        assert Decimal(result.low) == sum(p.low or p.value or 0 for p in expected)
        assert Decimal(result.high) == sum(p.high or p.value or 0 for p in expected)


@given(portfolios(related=False), st.dates(date(2024, 12, 30), date(2025, 1, 20)))
def test_converted_total_is_the_sum_of_converted_amounts(rows: list[DealRow], effective_on: date) -> None:
    answer = total(rows, currency="EUR", effective_on=effective_on)
    assert all(rate.day <= effective_on for rate in answer.rates)
    for result in answer.overall.columns:
        lines = [x for x in answer.overall.lines if of_column(x) == (result.currency, result.nature, result.basis)]
        again = Decimal(0)
        for x in (line for line in lines if line.low != "0" and line.stated is not None):
            assert x.rate is not None
            assert x.rate in answer.rates
            assert x.stated is not None
            again += convert(Decimal(x.stated.low or x.stated.value or 0), x.rate)
        assert Decimal(result.low) == again


def test_long_chain_of_parts_terminates() -> None:
    first = day("2025-01-01")
    rows = []
    for i in range(600):
        pledge = PledgeRow("p", "announced", "USD", Decimal(i + 1), None, None, None, None, None, (), first, None)
        above = (RelationRow("part_of", "p", f"deal-{i + 1}", "p", "e"),) if i < 599 else ()
        rows.append(DealRow(f"deal-{i}", None, (), (), (), above, (pledge,)))
    assert interval(total(rows).overall, "USD") == (600, 600)


@given(portfolios(), st.sampled_from(DIMENSIONS), st.sampled_from([None, "USD"]))
def test_doubted_amount_is_in_no_lower_bound(
    rows: list[DealRow], group_by: str | None, currency: Currency | None
) -> None:
    answer = total(rows, group_by=group_by, currency=currency)
    slips = {(row.deal, p.pledge) for row in rows for p in row.pledges if "tenfold-slip" in p.flags}
    flags = {(row.deal, p.pledge): p.flags for row in rows for p in row.pledges}
    for group in (answer.overall, *answer.groups):
        for line in group.lines:
            assert set(flags[line.deal, line.pledge]) <= set(line.flags)
            doubted = (line.deal, line.pledge) in slips or "member-not-below-aggregate" in line.flags
            assert not doubted or (line.low == "0" and not line.rule.counts_low), line
            assert line.rule != "flagged" or doubted, line


@given(portfolios(related=False), st.sampled_from(DIMENSIONS))
def test_without_estimates_the_total_is_that_of_the_stated_amounts(rows: list[DealRow], group_by: str | None) -> None:
    stated = [replace(row, pledges=tuple(p for p in row.pledges if not p.is_estimate)) for row in rows]
    without, of_stated = total(rows, group_by=group_by, estimates="exclude"), total(stated, group_by=group_by)
    assert without.overall.columns == of_stated.overall.columns
    columns = {group.keys: group.columns for group in without.groups if group.columns}
    assert columns == {group.keys: group.columns for group in of_stated.groups if group.columns}
