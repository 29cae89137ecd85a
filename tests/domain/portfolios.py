"""Portfolios for tests of totals, and short accessors of a result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from registry.domain.deal import Deal
from registry.domain.totals import (
    DealRow,
    Group,
    Totals,
    TotalsColumn,
    TotalsLine,
    TotalsQuery,
    compute_totals,
    row_of,
)
from registry.events.types import DealsRelated, PartiesJoined, PledgeAnnounced
from registry.events.values import Amount, Party
from tests.domain.builders import LogBuilder, usd
from tests.reference_rates import reference_rates

BN = 10**9
TN = 10**12


def krw(value: int, **more: Any) -> Amount:
    return Amount(value=str(value), currency="KRW", **more)


def deal_of(slug: str, *events: Any, on: str = "2025-10-29") -> Deal:
    """The state of a deal with these events."""
    log = LogBuilder(slug)
    for event in events:
        log.admit(event, on)
    state: Deal = log.state()
    return state


def deal(slug: str, *events: Any, on: str = "2025-10-29") -> DealRow:
    """The row of a deal with these events."""
    return row_of(deal_of(slug, *events, on=on))


def pledged(amount: Amount | None, pledge: str = "total", **fields: Any) -> PledgeAnnounced:
    return PledgeAnnounced(pledge=pledge, amount=amount, **fields)


def total(rows: Iterable[DealRow], others: Iterable[DealRow] = (), group_by: str | None = None, **query: Any) -> Totals:
    dimensions = tuple(group_by.split(",")) if group_by else ()
    return compute_totals(rows, TotalsQuery(group_by=dimensions, **query), reference_rates(), others)


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


def ulsan() -> DealRow:
    """KRW 7tn by two firms, including USD 4bn from one of them."""
    return deal(
        "sk-aws-ulsan",
        pledged(krw(7 * TN), by=("sk-group", "amazon-web-services")),
        pledged(usd("4000000000"), "aws-share", by=("amazon-web-services",)),
        DealsRelated(relation="part_of", deal="sk-aws-ulsan", pledge="aws-share", other_pledge="total"),
        on="2025-06-22",
    )
