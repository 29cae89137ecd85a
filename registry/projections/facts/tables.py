"""The fact tables: what a deal's state is made of, each kind of fact with its columns.

A row of a fact table is one version of one fact. A list of the deal's state has a table with the fields of its items,
or one that is declared here; the statements, the rebuild and the diff of an event follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, TypeAlias, get_args, get_type_hints

import msgspec
from msgspec import Struct

from registry.domain.checks.doubted_amounts import Checks, check_of
from registry.domain.deal import Deal, MetricState, PledgeState, SiteState
from registry.domain.deal.codes import codes_of
from registry.domain.fold.facts import HEADER, STAGE
from registry.domain.fold.items import ListItem, item_types
from registry.domain.stages import StageState
from registry.domain.totals.measures import metric_day
from registry.events.values import AMOUNT_COLUMNS, Amount, Decimal, Localized
from registry.schemas.deal_query import FIELD_FILTERS

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
        of: The facts that it holds (`domain/fold/facts.py`): a list of the state, the header or the stage.
        ids: The columns that tell a deal's facts of this kind apart; none where a deal has only one. An id that is not
            stated is empty.
        values: The columns with the fact's value.
        row: The ids and values of one fact, from the item of the list, the deal or the stage, and what its amount is
            compared with.
        row_type: The type in Postgres of the rows that a batch passes, if it is not `new_NAME`. A migration that adds a
            column makes a new type, because services of the release before go on using the old one.
    """

    name: str
    of: str
    ids: tuple[Column, ...]
    values: tuple[Column, ...]
    row: Callable[[Any, Checks], tuple[Ids, Values]]
    row_type: str | None = None

    def facts(self, deal: Deal, checks: Checks) -> list[tuple[Ids, Values]]:
        """The ids and values of a deal's facts, from its state and what its amounts are compared with."""
        items: Iterable[Any]
        if self.of == HEADER[0]:
            items = (deal,)
        elif self.of == STAGE[0]:
            items = (deal.stage,) if deal.stage is not None else ()
        else:
            items = getattr(deal, self.of)
        return [self.row(item, checks) for item in items]

    def stands(self, table: str) -> str:
        """The condition that an item that a row is of has not ended."""
        ended_by = item_types(Deal)[self.of].ended_by
        if ended_by is None:
            return "true"
        field, value = ended_by
        return f"{table}.{field} IS NULL" if value is None else f"{table}.{field} <> '{value}'"


_json = msgspec.json.Encoder().encode


def _text(value: Any) -> str | None:
    """The JSON text of a value; None stays None, and so does an empty list."""
    return _json(value).decode() if value else None


def _columns(*names: str) -> tuple[Column, ...]:
    """Columns by name; `name:type` for one that is cast."""
    return tuple(Column(name, cast or None) for name, _, cast in (n.partition(":") for n in names))


def _numeric(name: str, hint: Any) -> str:
    """A column for `_columns`, cast if its values are decimals."""
    return f"{name}:numeric" if Decimal in get_args(hint) else name


_AMOUNT_HINTS = get_type_hints(Amount, include_extras=True)
_AMOUNT = tuple(_numeric(name, _AMOUNT_HINTS[name]) for name in AMOUNT_COLUMNS)
"""The columns of an amount: its fields."""

_parts_of = attrgetter(*AMOUNT_COLUMNS)


def _amount(amount: Amount | None) -> Values:
    if amount is None:
        return (None,) * len(_AMOUNT)
    return tuple([_text(part) if isinstance(part, tuple) else part for part in _parts_of(amount)])


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


def _code_or_codes(deal: Deal, name: str, field: str) -> Any:
    """The code of a field with the name of its filter, or the codes of another one."""
    codes = codes_of(deal, field)
    return codes if field != name else codes[0] if codes else None


def stage_values(stage: StageState) -> Values:
    """The values of a stage."""
    return (stage.value, stage.basis, stage.since, stage.rule, stage.observed_on, stage.certainty)


DEAL_FACTS = FactTable(
    "deal_facts",
    HEADER[0],
    (),
    _columns("title", *FIELD_FILTERS.values()),
    lambda deal, _: ((), (_text(deal.title), *(_code_or_codes(deal, *one) for one in FIELD_FILTERS.items()))),
)
"""A deal has a row at exactly the points at which it is in lists. `title` is the JSON map from language to text.

The other columns are the fields that have a filter, in the order of the state.
"""

STAGE_FACTS = FactTable(
    "stage_facts",
    STAGE[0],
    (),
    _columns("stage", "basis", "since", "rule", "observed_on", "certainty"),
    lambda stage, _: ((), stage_values(stage)),
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
    lambda pledge, checks: ((pledge.pledge,), _pledge(pledge, checks)),
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
    lambda party, _: (
        (party.organization, party.role or "", party.joined_on.isoformat()),
        (_text(party.name), party.left_on, party.share, party.certainty),
    ),
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
    lambda site, _: ((site.site,), _site(site)),
    "new_site_facts_2",
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
    lambda metric, _: ((metric.metric_id,), _metric(metric)),
    "new_metric_facts_2",
)
"""`for_day` is the day by which figures of several dates or horizons are ordered."""

RELATION_FACTS = FactTable(
    "relation_facts",
    "relations",
    _columns("relation", "pledge", "other_deal", "other_pledge"),
    _columns("since", "source"),
    lambda r, _: ((r.relation, r.pledge or "", r.deal, r.other_pledge or ""), (r.since, r.source)),
)

_OWN_TABLES = (PLEDGE_FACTS, PARTY_FACTS, SITE_FACTS, METRIC_FACTS, RELATION_FACTS)

# Identifiers are in the header; no list, total or export is about conditions.
_WITHOUT_TABLE = ("identifiers", "conditions")


def _item_table(of: str, item: type[ListItem]) -> FactTable:
    """The table of a list: a column for each field of its items, in their order, and those of an amount."""
    (id,) = item.id_fields
    hints = get_type_hints(item, include_extras=True)
    fields = [(name, *_shown(name, hints[name])) for name in item.__struct_fields__ if name not in (id, "claims")]

    def row(one: Any, _: Checks) -> tuple[Ids, Values]:
        return (getattr(one, id),), tuple([value for name, _, values in fields for value in values(getattr(one, name))])

    names = [name for _, columns, _ in fields for name in columns]
    return FactTable(f"{id}_facts", of, _columns(id), _columns(*names), row, _ROW_TYPES.get(of))


def _shown(name: str, hint: Any) -> tuple[tuple[str, ...], Callable[[Any], Values]]:
    """The columns of a field, and what they hold of its value."""
    types = get_args(hint)
    if Amount in types:
        return _AMOUNT, _amount
    if Localized in types:
        return (name,), lambda value: (_text(value),)
    return (_numeric(name, hint),), lambda value: (value,)


_ROW_TYPES = {"milestones": "new_milestone_facts_2"}

FACT_TABLES = (
    DEAL_FACTS,
    STAGE_FACTS,
    *_OWN_TABLES,
    *(
        _item_table(of, item)
        for of, item in item_types(Deal).items()
        if of not in (*_WITHOUT_TABLE, *(table.of for table in _OWN_TABLES))
    ),
)
"""An item that has ended stays, with its status or the day. Without an amount, its `currency` is null."""


TABLE_OF = {table.of: table for table in FACT_TABLES}
"""The table of each kind of fact."""


def rows_of(deal: Deal, checks: Checks, kinds: Iterable[str]) -> dict[RowKey, Values]:
    """The ids and values of a deal's facts of some kinds."""
    tables = (TABLE_OF[kind] for kind in kinds if kind in TABLE_OF)
    return {(table, ids): values for table in tables for ids, values in table.facts(deal, checks)}
