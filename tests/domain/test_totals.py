"""Totals are intervals: no amount counts twice, none is lost, and each pledge has the rule by which it counts."""

from __future__ import annotations

from typing import Any

from registry.domain.deal import Deal
from registry.domain.totals import Group, measured, row_of
from registry.events.types import (
    DealsRelated,
    MetricReported,
    PledgeWithdrawn,
    SiteAnnounced,
    SiteDropped,
    StageChanged,
)
from registry.events.values import Amount
from tests.domain.builders import usd
from tests.domain.portfolios import (
    BN,
    TN,
    column,
    deal,
    deal_of,
    interval,
    krw,
    line_of,
    pledged,
    rules,
    seven_firms,
    total,
    ulsan,
)


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


def test_aggregate_attributed_to_one_member_counts_once() -> None:
    """Hard case 2: the joint figure in the lower bound, the members' larger sum in the upper bound, never both."""
    overall = total(seven_firms()).overall
    assert interval(overall, "USD") == (9 * BN, 14 * BN)
    assert rules(overall) == {
        "seven-firms-korea/total": "aggregate",
        "aws-korea-2031/total": "members",
        "amkor-songdo/total": "flagged",
    }
    assert line_of(overall, "amkor-songdo/total").flags == ("member-not-below-aggregate",)
    assert line_of(overall, "seven-firms-korea/total").flags == (), "the aggregate is not doubted"
    assert line_of(overall, "aws-korea-2031/total").part_of == ("seven-firms-korea/total",)
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
    assert interval(total(members, others=[aggregate]).overall, "USD") == (5 * BN, 14 * BN)


def test_doubted_amount_is_in_the_upper_bound_only() -> None:
    slip = row_of(deal_of("steady", pledged(usd("5000000000"))), {"total": ("tenfold-slip", "implied-rate")})
    overall = total([slip, deal("sure", pledged(usd("1000000000")))]).overall
    assert interval(overall, "USD") == (1 * BN, 6 * BN)
    assert rules(overall) == {"steady/total": "flagged", "sure/total": "counted"}
    assert line_of(overall, "steady/total").flags == ("tenfold-slip", "implied-rate")


def test_doubted_conversion_leaves_the_stated_amount_in_both_bounds() -> None:
    stale = row_of(deal_of("stale", pledged(usd("5000000000"))), {"total": ("implied-rate",)})
    overall = total([stale]).overall
    assert interval(overall, "USD") == (5 * BN, 5 * BN)
    assert line_of(overall, "stale/total").flags == ("implied-rate",)


def test_parts_of_a_doubted_whole_count_in_the_lower_bound() -> None:
    state = deal_of(
        "plant",
        pledged(usd("50000000000")),
        pledged(usd("4000000000"), "first-phase"),
        DealsRelated(relation="part_of", deal="plant", pledge="first-phase", other_pledge="total"),
    )
    overall = total([row_of(state, {"total": ("tenfold-slip",)})]).overall
    assert interval(overall, "USD") == (4 * BN, 50 * BN)
    assert rules(overall) == {"plant/total": "flagged", "plant/first-phase": "contained"}


def test_estimates_can_be_left_out() -> None:
    rows = [deal("modelled", pledged(usd("5000000000", figure="modelled"))), deal("stated", pledged(usd("1000000000")))]
    assert interval(total(rows).overall, "USD") == (6 * BN, 6 * BN)
    without = total(rows, estimates="exclude").overall
    assert interval(without, "USD") == (1 * BN, 1 * BN)
    assert rules(without) == {"modelled/total": "estimate", "stated/total": "counted"}
    both = total(rows, estimates="both", group_by="commitment")
    assert both.overall.columns == total(rows).overall.columns
    assert both.overall.without_estimates == without.columns
    assert [group.without_estimates for group in both.groups] == [without.columns]


def metric(value: str, basis: str = "planned", **more: Any) -> MetricReported:
    return MetricReported(metric="jobs", basis=basis, value=value, **more)  # type: ignore[arg-type]


def of_measure(measure: str, *deals: Deal) -> Group:
    return total([measured(state, row_of(state), measure) for state in deals], measure=measure).overall


def sums(group: Group) -> dict[str, tuple[str, str]]:
    return {column.nature: (column.low, column.high) for column in group.columns}


def test_figure_of_a_deal_contains_those_of_its_sites() -> None:
    plant = deal_of("plant", SiteAnnounced(site="north"), metric("500"), metric("200", site="north"))
    group = of_measure("jobs", plant, deal_of("mill", metric("30")))
    assert sums(group) == {"planned": ("530", "530")}
    assert rules(group)["plant/jobs--planned--at-north"] == "part_of"


def test_figures_of_sites_replace_a_smaller_figure_of_their_deal_in_the_upper_bound() -> None:
    plant = deal_of("plant", SiteAnnounced(site="north"), metric("150"), metric("200", site="north"))
    assert sums(of_measure("jobs", plant)) == {"planned": ("150", "200")}


def test_latest_date_of_a_figure_counts() -> None:
    plant = deal_of("plant", metric("100", date="2027"), metric("900", date="2031"), metric("400", date="2029"))
    group = of_measure("jobs", plant)
    assert sums(group) == {"planned": ("900", "900")}
    assert rules(group) == {
        "plant/jobs--planned--2031": "counted",
        "plant/jobs--planned--2027": "earlier",
        "plant/jobs--planned--2029": "earlier",
    }


def test_bases_of_a_metric_are_never_added() -> None:
    plant = deal_of("plant", metric("100"), metric("80", "actual"), metric("120", "target"))
    assert sums(of_measure("jobs", plant)) == {
        "planned": ("100", "100"),
        "actual": ("80", "80"),
        "target": ("120", "120"),
    }


def test_metric_of_a_site_replaces_the_site_s_own_value() -> None:
    site = SiteAnnounced(site="north", gpus=60_000, power_mw="103")
    planned = MetricReported(metric="gpus", basis="planned", value="55000", site="north")
    plant = deal_of("plant", site, planned)
    group = of_measure("gpus", plant)
    assert sums(group) == {"planned": ("55000", "55000")}
    assert rules(group)["plant/north/gpus"] == "replaced"
    assert sums(of_measure("power_mw", plant)) == {"planned": ("103", "103")}


def test_figures_of_dropped_sites_and_of_parts_of_other_deals_do_not_count() -> None:
    plant = deal_of("plant", SiteAnnounced(site="north"), metric("200", site="north"), SiteDropped(site="north"))
    part = deal_of("phase", metric("40"), DealsRelated(relation="part_of", deal="programme"))
    group = of_measure("jobs", plant, part, deal_of("programme", metric("100")))
    assert sums(group) == {"planned": ("100", "100")}
    assert rules(group) == {
        "plant/jobs--planned--at-north": "dropped",
        "phase/jobs--planned": "part_of",
        "programme/jobs--planned": "counted",
    }
