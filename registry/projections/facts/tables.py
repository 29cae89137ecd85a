"""The fact tables: what a deal's state is made of, each kind of fact with its columns.

A row of a fact table is one version of one fact. To add a kind of fact, or a value to one, change `FACT_TABLES` and the
table's DDL: the statements, the rebuild and the diff of an event follow from the declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from registry.domain.deal import Deal, IncentiveState, MetricState, MilestoneState, PledgeState, SetbackState, SiteState
from registry.domain.doubted_amounts import Checks, check_of
from registry.domain.stages import StageState
from registry.domain.totals.measures import metric_day
from registry.events.values import Amount

Ids: TypeAlias = tuple[Any, ...]
Values: TypeAlias = tuple[Any, ...]
RowKey: TypeAlias = tuple["FactTable", Ids]


class Column(Struct, frozen=True):
    """A column, and its type where a batch passes it as text for Postgres to cast."""

    name: str
    cast: str | None = None


class FactTable(Struct, frozen=True, eq=False):
    """A kind of fact.

    Attributes:
        name: The table.
        of: The facts that it holds (`domain/facts.py`): a list of the state, the header or the stage.
        ids: The columns that tell a deal's facts of this kind apart; none where a deal has only one. An id that is not
            stated is empty.
        values: The columns with the fact's value.
        facts: The ids and values of a deal's facts, from its state and what its amounts are compared with.
        row_type: The type in Postgres of the rows that a batch passes, if it is not `new_NAME`. A migration that adds a
            column makes a new type, because services of the release before go on using the old one.
    """

    name: str
    of: str
    ids: tuple[Column, ...]
    values: tuple[Column, ...]
    facts: Callable[[Deal, Checks], Iterable[tuple[Ids, Values]]]
    row_type: str | None = None


_json = msgspec.json.Encoder().encode


def _text(value: Any) -> str | None:
    """The JSON text of a value; None stays None, and so does an empty list."""
    return _json(value).decode() if value else None


def _columns(*names: str) -> tuple[Column, ...]:
    """Columns by name; `name:type` for one that is cast."""
    return tuple(Column(name, cast or None) for name, _, cast in (n.partition(":") for n in names))


_AMOUNT = (
    "currency",
    "value:numeric",
    "low:numeric",
    "high:numeric",
    "qualifier",
    "stated_as",
    "wording",
    "figure",
    "price_year",
)
"""The columns of an amount."""


def _amount(amount: Amount | None) -> Values:
    if amount is None:
        return (None,) * len(_AMOUNT)
    return (
        amount.currency,
        amount.value,
        amount.low,
        amount.high,
        amount.qualifier,
        _text(amount.stated_as),
        amount.wording,
        amount.figure,
        amount.price_year,
    )


def _pledge(pledge: PledgeState, checks: Checks) -> Values:
    check = check_of(pledge, checks) if pledge.amount else None
    return (
        pledge.status,
        *_amount(pledge.amount),
        pledge.amount_basis,
        pledge.commitment,
        pledge.by,
        pledge.additional_to,
        pledge.horizon.until if pledge.horizon else None,
        pledge.announced_on,
        pledge.stated_on,
        check.on if check is not None and check.on != pledge.stated_on else None,
        _text(check.others) if check is not None else None,
    )


def _site(site: SiteState) -> Values:
    return (
        site.place,
        site.status,
        site.power_mw,
        site.power_qualifier,
        site.gpus,
        site.gpus_qualifier,
        site.latitude,
        site.longitude,
        site.precision,
        site.announced_on,
        _text(site.name),
        site.locality,
        site.address,
        site.district_code,
    )


def _milestone(milestone: MilestoneState) -> Values:
    return (
        milestone.kind,
        milestone.site,
        milestone.planned,
        milestone.reached,
        milestone.status,
        milestone.power_mw,
        milestone.scheduled_on,
        _text(milestone.name),
    )


def _incentive(incentive: IncentiveState) -> Values:
    return (
        incentive.kind,
        incentive.status,
        *_amount(incentive.amount),
        incentive.authority,
        _text(incentive.text),
        incentive.granted_on,
    )


def _setback(setback: SetbackState) -> Values:
    return (setback.kind, _text(setback.text), setback.reported_on, setback.resolved_on)


def _metric(metric: MetricState) -> Values:
    horizon = metric.horizon
    return (
        metric.metric,
        metric.basis,
        metric.site,
        metric.date,
        horizon.from_ if horizon else None,
        horizon.until if horizon else None,
        metric.value,
        metric.unit,
        metric.qualifier,
        metric.stated_on,
        metric_day(metric),
    )


def _classifications(deal: Deal) -> tuple[str, ...]:
    return tuple(f"{axis}:{code}" for axis, codes in (deal.classifications or {}).items() for code in codes)


def _identifiers(deal: Deal) -> tuple[str, ...]:
    return tuple(f"{one.scheme}:{one.value}" for one in deal.identifiers)


def stage_values(stage: StageState) -> Values:
    """The values of a stage."""
    return (stage.value, stage.basis, stage.since, stage.rule, stage.observed_on, stage.certainty)


DEAL_FACTS = FactTable(
    "deal_facts",
    "header",
    (),
    _columns("title", "kind", "sectors", "classifications", "identifiers"),
    lambda deal, _: [((), (_text(deal.title), deal.kind, deal.sectors, _classifications(deal), _identifiers(deal)))],
)
"""A deal has a row at exactly the points at which it is in lists. `title` is the JSON map from language to text.

`classifications` are `AXIS:CODE`, `identifiers` are `SCHEME:VALUE`.
"""

STAGE_FACTS = FactTable(
    "stage_facts",
    "stage",
    (),
    _columns("stage", "basis", "since", "rule", "observed_on", "certainty"),
    lambda deal, _: [((), stage_values(deal.stage))] if deal.stage is not None else [],
)

PLEDGE_FACTS = FactTable(
    "pledge_facts",
    "pledges",
    _columns("pledge"),
    _columns(
        "status",
        *_AMOUNT,
        "amount_basis",
        "commitment",
        "organizations",
        "additional_to",
        "until",
        "announced_on",
        "stated_on",
        "compared_on",
        "compared_with",
    ),
    lambda deal, checks: [((pledge.pledge,), _pledge(pledge, checks)) for pledge in deal.pledges],
)
"""`currency` is null for a pledge without an amount; `organizations` are those that pledge (`by`).

`compared_with` are the amounts that the present one is compared with, at the rates of `compared_on`; where that is
null, at those of `stated_on`.
"""

PARTY_FACTS = FactTable(
    "party_facts",
    "parties",
    _columns("organization", "role", "joined_on:date"),
    _columns("name", "left_on", "share:numeric", "certainty"),
    lambda deal, _: [
        (
            (party.organization, party.role or "", party.joined_on.isoformat()),
            (_text(party.name), party.left_on, party.share, party.certainty),
        )
        for party in deal.parties
    ],
)
"""One fact for each membership. A party that left stays, with `left_on`."""

SITE_FACTS = FactTable(
    "site_facts",
    "sites",
    _columns("site"),
    _columns(
        "place",
        "status",
        "power_mw:numeric",
        "power_qualifier",
        "gpus",
        "gpus_qualifier",
        "latitude:numeric",
        "longitude:numeric",
        "precision",
        "announced_on",
        "name",
        "locality",
        "address",
        "district_code",
    ),
    lambda deal, _: [((site.site,), _site(site)) for site in deal.sites],
    "new_site_facts_2",
)

MILESTONE_FACTS = FactTable(
    "milestone_facts",
    "milestones",
    _columns("milestone"),
    _columns("kind", "site", "planned", "reached", "status", "power_mw:numeric", "scheduled_on", "name"),
    lambda deal, _: [((milestone.milestone,), _milestone(milestone)) for milestone in deal.milestones],
    "new_milestone_facts_2",
)

METRIC_FACTS = FactTable(
    "metric_facts",
    "metrics",
    _columns("metric_id"),
    _columns(
        "metric",
        "basis",
        "site",
        "metric_date",
        "horizon_from",
        "horizon_until",
        "value:numeric",
        "unit",
        "qualifier",
        "stated_on",
        "for_day",
    ),
    lambda deal, _: [((metric.metric_id,), _metric(metric)) for metric in deal.metrics],
    "new_metric_facts_2",
)
"""`for_day` is the day by which figures of several dates or horizons are ordered."""

INCENTIVE_FACTS = FactTable(
    "incentive_facts",
    "incentives",
    _columns("incentive"),
    _columns("kind", "status", *_AMOUNT, "authority", "text", "granted_on"),
    lambda deal, _: [((incentive.incentive,), _incentive(incentive)) for incentive in deal.incentives],
)
"""`currency` is null for an incentive without an amount. One that has ended stays, with its `status`."""

SETBACK_FACTS = FactTable(
    "setback_facts",
    "setbacks",
    _columns("setback"),
    _columns("kind", "text", "reported_on", "resolved_on"),
    lambda deal, _: [((setback.setback,), _setback(setback)) for setback in deal.setbacks],
)
"""A setback that was resolved stays, with `resolved_on`."""

RELATION_FACTS = FactTable(
    "relation_facts",
    "relations",
    _columns("relation", "pledge", "other_deal", "other_pledge"),
    _columns("since", "source"),
    lambda deal, _: [
        ((r.relation, r.pledge or "", r.deal, r.other_pledge or ""), (r.since, r.source)) for r in deal.relations
    ],
)

FACT_TABLES = (
    DEAL_FACTS,
    STAGE_FACTS,
    PLEDGE_FACTS,
    PARTY_FACTS,
    SITE_FACTS,
    MILESTONE_FACTS,
    METRIC_FACTS,
    INCENTIVE_FACTS,
    SETBACK_FACTS,
    RELATION_FACTS,
)


TABLE_OF = {table.of: table for table in FACT_TABLES}
"""The table of each kind of fact."""


def rows_of(deal: Deal, checks: Checks, kinds: Iterable[str]) -> dict[RowKey, Values]:
    """The ids and values of a deal's facts of some kinds."""
    tables = (TABLE_OF[kind] for kind in kinds if kind in TABLE_OF)
    return {(table, ids): values for table in tables for ids, values in table.facts(deal, checks)}
