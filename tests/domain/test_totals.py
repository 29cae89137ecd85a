"""Totals are intervals: no amount counts twice, none is lost, and each pledge has the rule by which it counts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.domain.rates import convert, reference_rates
from registry.domain.totals import (
    DealRow,
    DerivationNode,
    Group,
    GroupBy,
    PledgeRow,
    RelationRow,
    Rule,
    Totals,
    TotalsColumn,
    TotalsLine,
    TotalsQuery,
    compute_totals,
    decode_row,
    encode_row,
    row_of,
    simple_sum,
)
from registry.events.types import (
    Amount,
    Currency,
    DealsRelated,
    Localized,
    PartiesJoined,
    Party,
    PledgeAnnounced,
    PledgeRevised,
    PledgeWithdrawn,
    Relation,
    SiteAnnounced,
    StageChanged,
)
from registry.i18n import LANGUAGES, render
from tests.domain.builders import LogBuilder, day, usd

BN = 10**9
TN = 10**12


def krw(value: int, **more: Any) -> Amount:
    return Amount(value=str(value), currency="KRW", **more)


def deal(slug: str, *events: Any, on: str = "2025-10-29") -> DealRow:
    """The row of a deal with these events."""
    log = LogBuilder(slug)
    for event in events:
        log.admit(event, on)
    return decode_row(encode_row(row_of(log.state())))


def pledged(amount: Amount | None, pledge: str = "total", **fields: Any) -> PledgeAnnounced:
    return PledgeAnnounced(pledge=pledge, amount=amount, **fields)


def total(rows: Iterable[DealRow], others: Iterable[DealRow] = (), **query: Any) -> Totals:
    return compute_totals(rows, TotalsQuery(**query), reference_rates(), others)


def column(group: Group, currency: str, nature: str = "commitment", basis: str = "once") -> TotalsColumn:
    (result,) = [c for c in group.columns if (c.currency, c.nature, c.basis) == (currency, nature, basis)]
    return result


def interval(group: Group, currency: str, nature: str = "commitment", basis: str = "once") -> tuple[int, int]:
    result = column(group, currency, nature, basis)
    return int(result.low), int(result.high)


def rules(group: Group) -> dict[str, str]:
    return {f"{line.deal}/{line.pledge}": line.rule for line in group.lines}


def line_of(group: Group, name: str) -> TotalsLine:
    (result,) = [line for line in group.lines if f"{line.deal}/{line.pledge}" == name]
    return result


# --- the hard cases ---------------------------------------------------------------------------------------------------


def test_additional_amount_and_its_base_both_count() -> None:
    """Hard case 1: a total that adds everything counts twice, one that drops the additional amount loses it."""
    before = deal("aws-korea-2027", pledged(usd("5880000000")))
    extra = pledged(usd("5000000000"), amount_basis="additional", additional_to="aws-korea-2027")
    after = deal("aws-korea-2031", extra, DealsRelated(relation="additional_to", deal="aws-korea-2027", pledge="total"))
    overall = total([before, after]).overall
    assert interval(overall, "USD") == (10_880_000_000, 10_880_000_000)
    assert rules(overall) == {"aws-korea-2027/total": "counted", "aws-korea-2031/total": "additional"}


def test_possible_overlap_counts_in_the_upper_bound_only() -> None:
    wide = deal("aws-apec", pledged(usd("40000000000")))
    narrow = deal(
        "aws-korea",
        pledged(usd("5000000000")),
        DealsRelated(relation="overlaps", deal="aws-apec", pledge="total", other_pledge="total"),
    )
    overall = total([narrow, wide]).overall
    assert interval(overall, "USD") == (40 * BN, 45 * BN)
    assert line_of(overall, "aws-korea/total").rule == "overlaps"
    assert line_of(overall, "aws-korea/total").because == ("aws-apec/total",)
    assert line_of(overall, "aws-korea/total").events == (narrow.relations[0].source,)


def test_separate_from_removes_an_overlap_between_deals() -> None:
    one = deal(
        "one",
        pledged(usd("5000000000")),
        DealsRelated(relation="overlaps", deal="other"),
        DealsRelated(relation="separate_from", deal="other", pledge="total", other_pledge="total"),
    )
    other = deal("other", pledged(usd("4000000000")))
    assert interval(total([one, other]).overall, "USD") == (9 * BN, 9 * BN)


def seven_firms() -> list[DealRow]:
    """USD 9bn announced jointly by seven firms, which one article attributes to one of them."""
    members = ("aws-korea-2031", "amkor-songdo", "corning-korea")
    aggregate = deal(
        "seven-firms-korea",
        pledged(usd("9000000000"), by=("amazon-web-services", "amkor-technology", "corning")),
        *(DealsRelated(relation="includes", deal=member, pledge="total") for member in members),
    )
    return [
        aggregate,
        deal("aws-korea-2031", pledged(usd("5000000000"), by=("amazon-web-services",))),
        deal("amkor-songdo", pledged(usd("9000000000", qualifier="about"), by=("amkor-technology",))),
        deal("corning-korea", PartiesJoined(parties=(Party(organization="corning", role="investor"),))),
    ]


def test_aggregate_attributed_to_one_member_counts_once() -> None:
    """Hard case 2: the joint figure in the lower bound, the members' larger sum in the upper bound, never both."""
    overall = total(seven_firms()).overall
    assert interval(overall, "USD") == (9 * BN, 14 * BN)
    assert rules(overall) == {
        "seven-firms-korea/total": "aggregate",
        "aws-korea-2031/total": "members",
        "amkor-songdo/total": "members",
    }
    assert line_of(overall, "seven-firms-korea/total").because == ("amkor-songdo/total", "aws-korea-2031/total")
    assert column(overall, "USD").qualifiers == ("about",)


def test_overlapping_aggregate_with_larger_members_is_outweighed() -> None:
    aggregate, *members = seven_firms()
    wider = deal(
        "fourteen-economies", pledged(usd("40000000000")), DealsRelated(relation="overlaps", deal="seven-firms-korea")
    )
    overall = total([aggregate, wider, *members]).overall
    assert interval(overall, "USD") == (40 * BN, 54 * BN)
    line = line_of(overall, "seven-firms-korea/total")
    assert (line.rule, line.low, line.high) == ("outweighed", "0", "0")
    assert line.because == ("amkor-songdo/total", "aws-korea-2031/total", "fourteen-economies/total")
    assert wider.relations[0].source in line.events


def test_aggregate_larger_than_its_members_replaces_them() -> None:
    rows = [row for row in seven_firms() if row.deal != "amkor-songdo"]
    overall = total(rows).overall
    assert interval(overall, "USD") == (9 * BN, 9 * BN)
    assert rules(overall) == {"seven-firms-korea/total": "counted", "aws-korea-2031/total": "part_of"}


def ulsan() -> DealRow:
    """KRW 7tn by two firms, including USD 4bn from one of them."""
    return deal(
        "sk-aws-ulsan",
        pledged(krw(7 * TN), by=("sk-group", "amazon-web-services")),
        pledged(usd("4000000000"), "aws-share", by=("amazon-web-services",)),
        DealsRelated(relation="part_of", deal="sk-aws-ulsan", pledge="aws-share", other_pledge="total"),
        on="2025-06-22",
    )


def test_part_reported_as_the_whole_counts_once() -> None:
    """Hard case 3: USD 4bn inside KRW 7tn, in either currency's column and after conversion."""
    overall = total([ulsan()]).overall
    assert [(c.currency, c.low, c.high) for c in overall.columns] == [("KRW", str(7 * TN), str(7 * TN))]
    assert rules(overall) == {"sk-aws-ulsan/total": "counted", "sk-aws-ulsan/aws-share": "part_of"}
    converted = total([ulsan()], currency="KRW").overall
    assert interval(converted, "KRW") == (7 * TN, 7 * TN)


def test_annual_amount_is_not_multiplied() -> None:
    """Hard case 4: KRW 100bn a year without an end stays KRW 100bn a year."""
    alibaba = deal("alibaba-gmarket", pledged(krw(100 * BN), amount_basis="annual"))
    overall = total([alibaba, deal("other", pledged(krw(3 * BN)))]).overall
    assert interval(overall, "KRW", basis="annual") == (100 * BN, 100 * BN)
    assert interval(overall, "KRW") == (3 * BN, 3 * BN)


def test_intentions_are_not_added_to_commitments() -> None:
    """Hard case 5: an intention of KRW 20tn is a column apart from pledges, binding amounts and budgets."""
    rows = [
        deal("blackrock", pledged(krw(20 * TN), commitment="intention")),
        deal("bound", pledged(krw(1 * TN), commitment="binding")),
        deal("budget", pledged(krw(2 * TN), commitment="budget")),
        deal("said", pledged(krw(4 * TN))),
    ]
    overall = total(rows).overall
    assert interval(overall, "KRW", "intention") == (20 * TN, 20 * TN)
    assert interval(overall, "KRW") == (7 * TN, 7 * TN)
    by = {group.key: group for group in total(rows, group_by="commitment").groups}
    assert set(by) == {"intention", "binding", "budget", None}


def test_commitment_inside_an_intention_counts_in_its_own_column() -> None:
    rows = [
        deal("wide", pledged(krw(20 * TN), commitment="intention")),
        deal("first", pledged(krw(2 * TN), commitment="binding"), DealsRelated(relation="part_of", deal="wide")),
    ]
    overall = total(rows).overall
    assert interval(overall, "KRW", "intention") == (20 * TN, 20 * TN)
    assert interval(overall, "KRW") == (2 * TN, 2 * TN)


def test_column_lists_qualifiers_and_marks_open_bounds() -> None:
    """Hard case 7: more than and at least open the upper bound, up to the lower bound; about and nearly are listed."""
    for qualifier, low_open, high_open in (
        ("about", False, False),
        ("nearly", False, False),
        ("more_than", False, True),
        ("at_least", False, True),
        ("up_to", True, False),
    ):
        overall = total([deal("a", pledged(usd("5", qualifier=qualifier))), deal("b", pledged(usd("1")))]).overall
        result = column(overall, "USD")
        assert result.qualifiers == (qualifier,)
        assert (result.low, result.high) == ("6", "6")
        assert (result.low_open, result.high_open) == (low_open, high_open)
    exact = column(total([deal("a", pledged(usd("5", qualifier="exact")))]).overall, "USD")
    assert exact.qualifiers == ()


def test_range_adds_its_figures_to_the_two_bounds() -> None:
    rows = [
        deal("range", pledged(Amount(currency="USD", low="3", high="5"))),
        deal("floor", pledged(Amount(currency="USD", low="10"))),
        deal("ceiling", pledged(Amount(currency="USD", high="100"))),
    ]
    result = column(total(rows).overall, "USD")
    assert (result.low, result.high, result.low_open, result.high_open) == ("13", "115", True, True)


def test_unknown_and_withdrawn_amounts_are_excluded_by_rule() -> None:
    """Hard case 10: undisclosed and withdrawn amounts are listed as such; a shelved deal still counts."""
    rows = [
        deal("undisclosed", pledged(None)),
        deal("worded", pledged(Amount(currency="KRW", wording="several trillion won"))),
        deal("withdrawn", pledged(usd("5")), PledgeWithdrawn(pledge="total")),
        deal("cancelled", pledged(usd("7")), StageChanged(stage="cancelled")),
        deal("shelved", pledged(usd("2")), StageChanged(stage="shelved")),
        deal("empty"),
    ]
    overall = total(rows).overall
    assert overall.rules == {"not_stated": 2, "withdrawn": 1, "cancelled": 1, "counted": 1}
    assert interval(overall, "USD") == (2, 2)
    assert [c.currency for c in overall.columns] == ["USD"]


def test_superseding_deal_counts_in_place_of_the_superseded() -> None:
    rows = [
        deal("plan", pledged(usd("5000000000"))),
        deal("new-plan", pledged(usd("3000000000")), DealsRelated(relation="supersedes", deal="plan")),
    ]
    overall = total(rows).overall
    assert interval(overall, "USD") == (3 * BN, 3 * BN)
    assert line_of(overall, "plan/total").rule == "superseded"
    assert line_of(overall, "plan/total").because == ("new-plan",)


def test_deals_that_supersede_each_other_both_count() -> None:
    rows = [
        deal("one", pledged(usd("5")), DealsRelated(relation="supersedes", deal="two")),
        deal("two", pledged(usd("3")), DealsRelated(relation="supersedes", deal="one")),
    ]
    assert interval(total(rows).overall, "USD") == (8, 8)


def test_deals_that_are_part_of_each_other_count_once() -> None:
    rows = [
        deal("one", pledged(usd("5")), DealsRelated(relation="part_of", deal="two")),
        deal("two", pledged(usd("3")), DealsRelated(relation="part_of", deal="one")),
    ]
    overall = total(rows).overall
    assert interval(overall, "USD") == (5, 5)
    assert rules(overall) == {"one/total": "counted", "two/total": "part_of_each_other"}


def test_aggregates_that_share_a_member_may_overlap() -> None:
    rows = [
        deal("seven", pledged(usd("9")), DealsRelated(relation="includes", deal="member")),
        deal("ministry-list", pledged(usd("30")), DealsRelated(relation="includes", deal="member")),
        deal("member"),
    ]
    overall = total(rows).overall
    assert interval(overall, "USD") == (30, 39)
    assert rules(overall) == {"ministry-list/total": "counted", "seven/total": "overlaps"}


def test_pledges_that_are_part_of_their_deal_are_added() -> None:
    phases = deal(
        "campus",
        pledged(usd("3"), "phase-1"),
        pledged(usd("4"), "phase-2"),
        DealsRelated(relation="part_of", deal="campus", pledge="phase-1"),
        DealsRelated(relation="part_of", deal="campus", pledge="phase-2"),
    )
    assert interval(total([phases]).overall, "USD") == (7, 7)


def test_part_of_a_part_is_part_of_the_whole() -> None:
    rows = [
        deal("whole", pledged(usd("9"))),
        deal("middle", DealsRelated(relation="part_of", deal="whole")),
        deal("inner", pledged(usd("2")), DealsRelated(relation="part_of", deal="middle")),
    ]
    assert interval(total(rows).overall, "USD") == (9, 9)
    whole, middle, inner = rows
    assert interval(total([whole, inner], others=[middle]).overall, "USD") == (9, 9), "others are not added"


def test_part_counts_where_its_whole_is_not_selected() -> None:
    aggregate, *members = seven_firms()
    assert interval(total(members, others=[aggregate]).overall, "USD") == (14 * BN, 14 * BN)


# --- groups -----------------------------------------------------------------------------------------------------------


def test_joint_amount_is_in_each_groups_upper_bound_only() -> None:
    joint = deal("microsoft-kt", pledged(krw(2_400 * BN), by=("microsoft", "kt")))
    own = deal("kt-own", pledged(krw(600 * BN), by=("kt",)))
    answer = total([joint, own], group_by="organization")
    by = {group.key: group for group in answer.groups}
    assert interval(by["microsoft"], "KRW") == (0, 2_400 * BN)
    assert interval(by["kt"], "KRW") == (600 * BN, 3_000 * BN)
    assert rules(by["microsoft"]) == {"microsoft-kt/total": "shared"}
    assert interval(answer.overall, "KRW") == (3_000 * BN, 3_000 * BN), "the joint amount is certain for both together"


def test_own_part_of_a_joint_amount_is_contained_in_it() -> None:
    by = {g.key: g for g in total([ulsan()], group_by="organization", currency="USD").groups}
    aws, sk = by["amazon-web-services"], by["sk-group"]
    assert column(aws, "USD").low == "4000000000"
    assert Decimal(column(aws, "USD").high) > 5 * BN
    assert rules(aws) == {"sk-aws-ulsan/total": "shared", "sk-aws-ulsan/aws-share": "contained"}
    assert column(sk, "USD").low == "0"


def test_aggregate_no_larger_than_its_member_adds_nothing_to_it() -> None:
    by = {g.key: g for g in total(seven_firms(), group_by="organization").groups}
    assert interval(by["amkor-technology"], "USD") == (9 * BN, 9 * BN)
    assert interval(by["amazon-web-services"], "USD") == (5 * BN, 9 * BN)
    assert interval(by["corning"], "USD") == (0, 9 * BN)


def test_pledges_roll_up_to_the_parent() -> None:
    rows = [
        deal("gip-deal", pledged(usd("3"), by=("gip",))),
        deal("joint-deal", pledged(usd("4"), by=("gip", "blackrock"))),
    ]
    apart = {g.key: g for g in total(rows, group_by="organization").groups}
    assert interval(apart["gip"], "USD") == (3, 7)
    together = {g.key: g for g in total(rows, group_by="organization", roll_up={"gip": "blackrock"}).groups}
    assert list(together) == ["blackrock"]
    assert interval(together["blackrock"], "USD") == (7, 7), "a joint pledge of parent and subsidiary is the parent's"


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        ("country", {"KR": (5, 5), "SG": (0, 3), "JP": (0, 3), None: (7, 7)}),
        ("region", {"KR-28": (5, 5), "SG": (0, 3), "JP": (0, 3), None: (7, 7)}),
        ("sector", {None: (15, 15)}),
        ("stage", {"construction": (5, 5), None: (10, 10)}),
        ("year", {"2025": (15, 15)}),
        ("organization", {"amkor": (5, 5), None: (10, 10)}),
    ],
)
def test_groups_have_their_amounts_and_one_for_unknown(
    group_by: GroupBy, expected: dict[str | None, tuple[int, int]]
) -> None:
    rows = [
        deal(
            "in-korea",
            pledged(usd("5")),
            SiteAnnounced(site="a", place="KR-28"),
            SiteAnnounced(site="b", place="KR-28"),
            PartiesJoined(parties=(Party(organization="amkor", name=Localized(en="Amkor"), role="investor"),)),
            StageChanged(stage="construction"),
        ),
        deal("in-two", pledged(usd("3")), SiteAnnounced(site="a", place="SG"), SiteAnnounced(site="b", place="JP")),
        deal("somewhere", pledged(usd("7"))),
    ]
    answer = total(rows, group_by=group_by)
    assert {group.key: interval(group, "USD") for group in answer.groups} == expected
    assert interval(answer.overall, "USD") == (15, 15)


# --- conversion -------------------------------------------------------------------------------------------------------


def test_conversion_uses_no_rate_after_the_effective_date() -> None:
    """Property 14: the rate is of the amount's day or of `rates_of`, and of no day after the effective date."""
    row = deal("aws-korea-2031", pledged(usd("5000000000")), on="2025-10-29")
    (by_default,) = total([row], currency="KRW").rates
    assert (by_default.asked, by_default.day) == (day("2025-10-29"), day("2025-10-29"))
    (asked,) = total([row], currency="KRW", rates_of=day("2026-01-04"), effective_on=day("2026-02-01")).rates
    assert (asked.asked, asked.day) == (day("2026-01-04"), day("2026-01-02")), "the 4th is a Sunday"
    (bounded,) = total([row], currency="KRW", rates_of=day("2026-01-04"), effective_on=day("2025-11-01")).rates
    assert (bounded.asked, bounded.day) == (day("2025-11-01"), day("2025-10-31"))
    (future,) = total([row], currency="KRW", effective_on=day("2025-09-15")).rates
    assert future.day == day("2025-09-15")


def test_amount_without_rate_is_listed_with_the_reason() -> None:
    overall = total([deal("taiwan", pledged(Amount(currency="TWD", value="5"))), ulsan()], currency="KRW").overall
    assert overall.rules == {"no_rate": 1, "counted": 1, "part_of": 1}
    assert "TWD" in (line_of(overall, "taiwan/total").reason or "")


def test_amount_is_converted_at_the_day_it_applies_from() -> None:
    log = LogBuilder("revised")
    log.admit(pledged(usd("5")), "2024-01-08")
    log.admit(PledgeRevised(pledge="total", amount=usd("6000000")), "2025-06-20")
    log.admit(PledgeRevised(pledge="total", purpose=Localized(en="servers")), "2025-06-30")
    (rate,) = total([row_of(log.state())], currency="KRW").rates
    assert rate.day == day("2025-06-20"), (
        "the day of the revised amount, not of the announcement or of the later revision of the purpose"
    )


def test_query_with_a_currency_needs_rates() -> None:
    with pytest.raises(ValueError, match="needs rates"):
        compute_totals([deal("a", pledged(usd("5")))], TotalsQuery(currency="KRW"))


# --- explaining -------------------------------------------------------------------------------------------------------


def leaves(node: DerivationNode) -> list[DerivationNode]:
    return [node] * (node.pledge is not None) + [leaf for child in node.children for leaf in leaves(child)]


def test_derivation_lists_columns_pledges_and_conversions() -> None:
    rows = [*seven_firms(), ulsan(), deal("undisclosed", pledged(None))]
    tree = total(rows, currency="USD", explain=True).overall.explain
    assert tree is not None
    (summed, left_out) = tree.children
    assert (summed.operation, summed.nature, summed.basis, summed.currency) == ("add", "commitment", "once", "USD")
    assert {leaf.label for leaf in leaves(tree)} == {
        "seven-firms-korea/total",
        "aws-korea-2031/total",
        "amkor-songdo/total",
        "sk-aws-ulsan/total",
        "sk-aws-ulsan/aws-share",
        "undisclosed/total",
    }
    (won,) = [child for child in summed.children if child.label == "sk-aws-ulsan/total"]
    assert [(child.label, child.operation) for child in won.children] == [
        ("KRW to USD at the rate of 2025-06-20", "convert"),
        ("sk-aws-ulsan/aws-share", "leave_out"),
    ]
    assert [child.rule for child in left_out.children] == [Rule.NOT_STATED]
    assert total(rows, currency="USD").overall.explain is None


def test_derivation_sum_is_the_sum_of_its_children() -> None:
    tree = total([*seven_firms(), ulsan()], explain=True).overall.explain
    assert tree is not None
    for summed in (child for child in tree.children if child.operation == "add"):
        parts = [leaf for child in summed.children for leaf in leaves(child) if leaf.currency == summed.currency]
        assert sum(int(p.low or 0) for p in parts) == int(summed.low or 0)
        assert sum(int(p.high or 0) for p in parts) == int(summed.high or 0)


def test_long_list_is_truncated_with_a_count() -> None:
    rows = [deal(f"deal-{i}", pledged(usd("1"))) for i in range(5)]
    overall = total(rows, lines=2, explain=True).overall
    assert (len(overall.lines), overall.more) == (2, 3)
    assert overall.rules == {"counted": 5}
    assert interval(overall, "USD") == (5, 5)
    assert overall.explain is not None
    assert overall.explain.children[-1].pledges == 3


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_rule_is_explained_in_every_language(language: str) -> None:
    assert [rule for rule in Rule if render(rule.text, language) == rule.value] == []


def test_totals_survive_a_json_round_trip() -> None:
    answer = total([*seven_firms(), ulsan()], currency="EUR", group_by="organization", explain=True)
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Totals) == answer


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


def of_column(line: TotalsLine) -> tuple[str | None, str, str]:
    return line.currency, line.nature, line.basis


GROUPINGS: list[GroupBy | None] = [None, *get_args(GroupBy)]


@given(portfolios(), st.sampled_from(GROUPINGS))
@settings(max_examples=200)
def test_total_never_adds_a_part_to_its_whole(rows: list[DealRow], group_by: GroupBy | None) -> None:
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
                assert kept_apart, "overall, a part counts beside its whole only if the whole is an intention"


@given(portfolios(), st.sampled_from(GROUPINGS), st.sampled_from([None, "USD"]))
@settings(max_examples=200)
def test_lower_bound_is_at_most_the_upper_bound(
    rows: list[DealRow], group_by: GroupBy | None, currency: Currency | None
) -> None:
    answer = total(rows, group_by=group_by, currency=currency)
    for group in (answer.overall, *answer.groups):
        assert all(Decimal(c.low) <= Decimal(c.high) for c in group.columns)


@given(portfolios(), st.sampled_from(GROUPINGS), st.sampled_from([None, "USD"]))
def test_every_pledge_is_listed_once_and_lines_add_up(
    rows: list[DealRow], group_by: GroupBy | None, currency: Currency | None
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


@given(portfolios(), st.sampled_from(GROUPINGS), st.sampled_from([None, "USD"]))
@settings(max_examples=200)
def test_pledge_counts_in_the_bounds_of_its_rule(
    rows: list[DealRow], group_by: GroupBy | None, currency: Currency | None
) -> None:
    answer = total(rows, group_by=group_by, currency=currency)
    for group in (answer.overall, *answer.groups):
        for line in group.lines:
            # A range with one figure may add nothing to a bound in which it counts.
            assert line.rule.counts_low or line.low == "0", line
            assert line.rule.counts_high or line.high == "0", line
            assert (line.high != "0") == line.rule.counts_high or line.rule in ("counted", "additional"), line


@given(portfolios(), st.sampled_from(GROUPINGS), st.sampled_from([None, "USD"]), st.integers(0, 3))
def test_number_of_listed_pledges_changes_no_figure(
    rows: list[DealRow], group_by: GroupBy | None, currency: Currency | None, lines: int
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

    def lows(group: Group) -> dict[tuple[str, str, str], str]:
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


@given(portfolios(), st.sets(st.integers(0, 20)))
@settings(max_examples=200)
def test_simple_sums_equal_the_sum_of_their_pledges(rows: list[DealRow], summed: set[int]) -> None:
    related = {relation.deal for row in rows for relation in row.relations}
    sums = {i: simple_sum(row) for i, row in enumerate(rows) if i in summed and row.deal not in related}
    simple = {i: one for i, one in sums.items() if one is not None and one.kind}
    examined = [row for i, row in enumerate(rows) if i not in simple]

    from_rows = compute_totals(rows, TotalsQuery(lines=0)).overall
    from_sums = compute_totals(examined, TotalsQuery(lines=0), simple_sums=simple.values()).overall

    assert from_sums.columns == from_rows.columns
    assert from_sums.rules == from_rows.rules
