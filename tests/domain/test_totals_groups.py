"""Totals by group, in another currency, and with their derivation."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from registry.domain.totals import (
    DerivationNode,
    Rule,
    Totals,
    TotalsQuery,
    compute_totals,
    row_of,
)
from registry.events.types import PartiesJoined, PledgeRevised, SiteAnnounced, StageChanged
from registry.events.values import Amount, Localized, Party
from registry.i18n import LANGUAGES, render
from tests.domain.builders import LogBuilder, day, usd
from tests.domain.portfolios import BN, column, deal, interval, krw, line_of, pledged, rules, seven_firms, total, ulsan

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
    assert interval(by["amkor-technology"], "USD") == (0, 9 * BN), "its own figure is doubted"
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
    group_by: str, expected: dict[str | None, tuple[int, int]]
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


@pytest.mark.parametrize("group_by", [None, "year", "stage", "commitment"])
@pytest.mark.parametrize("lines", [0, 1000])
def test_currency_without_a_rate_opens_the_upper_bound_and_changes_no_lower_bound(
    group_by: str | None, lines: int
) -> None:
    """Property 46: the amount counts as unknown, not as nothing, in the sum and in each of its groups."""
    known = deal("plant", pledged(usd("7")))
    taiwan = deal("taiwan", pledged(Amount(currency="TWD", value="5")))
    without = total([known], currency="USD", group_by=group_by, lines=lines)
    answer = total([known, taiwan], currency="USD", group_by=group_by, lines=lines)
    for before, after in zip((without.overall, *without.groups), (answer.overall, *answer.groups), strict=True):
        assert interval(after, "USD") == interval(before, "USD") == (7, 7)
        assert (column(before, "USD").high_open, column(after, "USD").high_open) == (False, True)


def test_sum_of_nothing_but_amounts_without_a_rate_is_open_from_zero() -> None:
    overall = total([deal("taiwan", pledged(Amount(currency="TWD", value="5")))], currency="USD").overall
    assert interval(overall, "USD") == (0, 0)
    assert column(overall, "USD").high_open
    assert column(overall, "USD").pledges == 0


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
