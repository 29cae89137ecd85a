"""The rows of deals as lists show them, read from the fact tables by index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from functools import cache
from typing import Any

import msgspec
from msgspec import Raw, Struct

from registry.domain.deal import DealIdentifierState, RelationState
from registry.domain.money.rates import Rates
from registry.domain.stages import StageState
from registry.events.values import AMOUNT_COLUMNS, Classifications
from registry.infra.postgres import Connection, Pool
from registry.infra.work_time import in_thread
from registry.projections.columnar.doubts import ComparedAmount, flags_of
from registry.projections.point import Point
from registry.schemas import DealListItem, ListedPledge
from registry.schemas.deal_query import FIELD_FILTERS
from registry.schemas.values import AmountResponse, LocalizedResponse, StatedAmountResponse, convert

_AT = (
    "{t}.deal = w.deal AND {t}.effective_from <= $2 AND {t}.effective_to > $2"
    " AND {t}.{axis}_from <= $3 AND {t}.{axis}_to > $3"
)

# LATERAL with LIMIT: otherwise the planner scans `deal_facts` in parallel workers, to share the subqueries of the rows
# between them, which takes 50 ms with 100,000 deals instead of 2.
# Numbers are sent as text, so that they keep their decimals.
_SELECT = """
SELECT w.deal, d.title, {fields},
       (SELECT json_build_array(s.stage, s.basis, s.since, s.rule, s.observed_on, s.certainty)
          FROM stage_facts AS s
         WHERE {s}) AS stage,
       ARRAY (SELECT p.organization
                FROM party_facts AS p
               WHERE {p} AND p.left_on IS NULL
               ORDER BY p.joined_on, p.organization, p.role) AS organizations,
       ARRAY (SELECT s.place
                FROM site_facts AS s
               WHERE {s} AND s.status <> 'dropped' AND s.place IS NOT NULL
               ORDER BY s.announced_on, s.site) AS places,
       (SELECT json_agg(json_build_array(
                   p.pledge, p.amount_basis, p.commitment, p.status, p.organizations, p.announced_on, p.until,
                   json_build_array({amount}), coalesce(p.compared_on, p.stated_on), p.compared_with)
                   ORDER BY p.announced_on, p.pledge)
          FROM pledge_facts AS p
         WHERE {p}) AS pledges,
       (SELECT json_agg(json_build_array(
                   r.relation, r.other_deal, nullif(r.pledge, ''), nullif(r.other_pledge, ''), r.since, r.source)
                   ORDER BY r.since, r.relation, r.other_deal, r.pledge, r.other_pledge)
          FROM relation_facts AS r
         WHERE {r}) AS relations,
       EXISTS (SELECT
                 FROM deal_facts AS u
                WHERE u.deal = w.deal AND u.effective_from = '-infinity'
                      AND u.{axis}_from <= $3 AND u.{axis}_to > $3) AS undated
  FROM unnest($1::text[]) WITH ORDINALITY AS w (deal, place)
       CROSS JOIN LATERAL (SELECT * FROM deal_facts AS d WHERE {d} LIMIT 1) AS d
 ORDER BY w.place
"""


# A thread makes more rows than this, or rows with more JSON of pledges, because that would hold the event loop for
# several milliseconds. A deal with thousands of pledges held it for 50 ms.
ITEMS_AT_ONCE = 25
PLEDGE_BYTES_AT_ONCE = 2**16


@cache
def _statement(axis: str) -> str:
    # As text, numbers keep their decimals.
    amount = ", ".join(
        f"p.{name}::text" if name in ("value", "low", "high") else f"p.{name}" for name in AMOUNT_COLUMNS
    )
    fields = ", ".join(f"d.{field}" for field in FIELD_FILTERS.values())
    return _SELECT.format(
        axis=axis, amount=amount, fields=fields, **{table: _AT.format(t=table, axis=axis) for table in "dsprw"}
    )


class _Pledge(Struct, array_like=True):
    """A pledge as `_SELECT` sends it."""

    pledge: str
    amount_basis: Any
    commitment: Any
    status: str
    by: tuple[str, ...]
    announced_on: date
    until: str | None
    amount: list[Any]
    compared_on: date
    compared_with: str | None


_pledges = msgspec.json.Decoder(list[_Pledge]).decode
_each_pledge = msgspec.json.Decoder(list[Raw]).decode
_one_pledge = msgspec.json.Decoder(_Pledge).decode
_relations = msgspec.json.Decoder(list[list[Any]]).decode
_stage = msgspec.json.Decoder(list[Any]).decode


async def deal_items(
    pool: Pool | Connection, point: Point, deals: Sequence[str], rates: Rates | None = None
) -> list[DealListItem]:
    """The rows of these deals at a point, in this order, without those that are not in lists there.

    Args:
        pool: The database.
        point: The point.
        deals: The slugs.
        rates: The exchange rates that amounts are compared at, for the flags on them; None: without flags.
    """
    rows = await pool.fetch(_statement(point.axis), list(deals), point.day, point.known)
    pledge_bytes = sum(len(row["pledges"] or b"") for row in rows)
    if len(rows) <= ITEMS_AT_ONCE and pledge_bytes <= PLEDGE_BYTES_AT_ONCE:
        return [_item(row, rates) for row in rows]
    return await in_thread(lambda: [_item(row, rates) for row in rows])


def _item(row: Any, rates: Rates | None) -> DealListItem:
    return DealListItem(
        deal=row["deal"],
        title=localized(row["title"]),
        stage=msgspec.convert(dict(zip(_STAGE_FIELDS, _stage(row["stage"]), strict=True)), StageState)
        if row["stage"]
        else None,
        **{field: _FIELDS.get(field, _code_or_codes)(row[field]) for field in FIELD_FILTERS.values()},
        organizations=tuple(dict.fromkeys(row["organizations"])),
        places=tuple(dict.fromkeys(row["places"])),
        pledges=tuple(_pledge(pledge, rates) for pledge in _decoded(row["pledges"] or b"[]")),
        relations=tuple(
            msgspec.convert(dict(zip(_RELATION_FIELDS, relation, strict=True)), RelationState)
            for relation in (_relations(row["relations"]) if row["relations"] else ())
        ),
        undated=row["undated"],
    )


def _decoded(pledges: bytes | str) -> Iterable[_Pledge]:
    """The pledges of a deal from their JSON; one by one if they are many.

    The decoder holds the interpreter for the time of a call: 10 ms for 10,000 pledges, 1 ms to find where each begins.
    """
    if len(pledges) <= PLEDGE_BYTES_AT_ONCE:
        return _pledges(pledges)
    return (_one_pledge(pledge) for pledge in _each_pledge(pledges))


def _code_or_codes(cell: str | list[str] | None) -> str | tuple[str, ...] | None:
    return tuple(cell) if isinstance(cell, list) else cell


_STAGE_FIELDS = ("value", "basis", "since", "rule", "observed_on", "certainty")
_RELATION_FIELDS = ("relation", "deal", "pledge", "other_pledge", "since", "source")


def localized(title: str | None) -> LocalizedResponse | None:
    """A text by language, from its JSON."""
    return None if title is None else LocalizedResponse({"ko": None, "en": None, **msgspec.json.decode(title)})


def _classifications(terms: Sequence[str]) -> Classifications | None:
    found: dict[str, tuple[str, ...]] = {}
    for term in terms:
        axis, code = term.split(":", 1)
        found[axis] = (*found.get(axis, ()), code)
    return Classifications(found) if found else None


def _identifiers(terms: Sequence[str]) -> tuple[DealIdentifierState, ...]:
    return tuple(DealIdentifierState(*term.split(":", 1)) for term in terms)


_FIELDS: dict[str, Callable[[Any], Any]] = {"classifications": _classifications, "identifiers": _identifiers}
"""How the fields are read that are no codes of the deal itself."""


def stated_amount(get: Callable[[str], Any]) -> AmountResponse | None:
    """The amount whose columns `get` returns; None without a currency."""
    given = {name: get(name) for name in AMOUNT_COLUMNS}
    if given["currency"] is None:
        return None
    others = msgspec.json.decode(given["stated_as"]) if given["stated_as"] else ()
    stated_as = tuple(convert({"qualifier": None, **other}, StatedAmountResponse) for other in others)
    return AmountResponse(**given | {"stated_as": stated_as})


def _pledge(pledge: _Pledge, rates: Rates | None) -> ListedPledge:
    flags: tuple[str, ...] = ()
    amount = dict(zip(AMOUNT_COLUMNS, pledge.amount, strict=True))
    if rates is not None:
        figures = (amount["currency"], amount["value"], amount["low"], amount["high"])
        compared = ComparedAmount(*figures, pledge.compared_on, amount["stated_as"], pledge.compared_with)
        flags = flags_of(compared, rates)
    return ListedPledge(
        pledge=pledge.pledge,
        amount=stated_amount(amount.__getitem__),
        amount_basis=pledge.amount_basis,
        commitment=pledge.commitment,
        status=pledge.status,
        by=pledge.by,
        announced_on=pledge.announced_on,
        until=pledge.until,
        flags=flags,
    )
