"""Pages of deals in any order, the events of deals, and how many deals a selection has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date, datetime
from typing import Any, Literal

import duckdb
from duckdb import DuckDBPyConnection
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.stages import ENDED_STAGES, LADDER
from registry.errors import InvalidParameter
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.selection import Selection, run
from registry.projections.point import Point

SortKey = Literal["deal", "title", "amount", "announced_on", "updated", "stage", "since", "relevance"]


class Order(Struct, frozen=True):
    """The order of a list. Deals without a value come last in either direction; equal ones in the order of slugs.

    Attributes:
        key: What the list is ordered by; `relevance` is how well a deal matches the selection's search.
        descending: Whether the largest or latest comes first.
        language: The language of titles, `en` or `ko`.
        weights: What a unit of each currency is worth, so that amounts of several currencies can be ordered.
        superseded: The deal and the id of each superseded pledge, which does not count in an order by amount.
    """

    key: SortKey = "deal"
    descending: bool = False
    language: str = "en"
    weights: Mapping[str, float] = {}
    superseded: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Identifies the order in a cursor."""
        return f"{'-' if self.descending else ''}{self.key}"


class PagePlace(Struct, frozen=True, array_like=True):
    """Where a page begins: after a deal with this value in the list's order, whose name it has.

    The name is empty in a comparison, which has one order, and in cursors of older releases.
    """

    value: str | int | float | None
    deal: str
    order: str = ""


class PageQuery(Struct, frozen=True):
    """Which page of a list: its order, where the page begins (None: at the start), and the most deals that it has."""

    order: Order
    after: PagePlace | None
    limit: int


class Page(Struct, frozen=True):
    """A page of slugs, and where the next one begins."""

    deals: list[str]
    next: PagePlace | None


# The orders but those by slug and relevance: each has a table with a `value` for each deal.
_ORDERS: dict[str, str] = {
    "amount": """
        SELECT p.deal, max(coalesce(p.value, p.high, p.low)::DOUBLE * {weight}) AS value
          FROM pledge_facts AS p
         WHERE {p} AND p.status <> 'withdrawn'
           AND (p.deal, p.pledge) NOT IN (SELECT unnest($deals::VARCHAR[]), unnest($pledges::VARCHAR[]))
         GROUP BY p.deal""",
    "announced_on": "SELECT p.deal, min(p.announced_on) AS value FROM pledge_facts AS p WHERE {p} GROUP BY p.deal",
    "updated": "SELECT e.deal, max(e.position) AS value FROM deal_events AS e WHERE {e} GROUP BY e.deal",
    "stage": """
        SELECT s.deal, coalesce(list_position($ladder, s.stage), 100) AS value
          FROM stage_facts AS s
         WHERE {s}""",
    "since": "SELECT s.deal, s.since AS value FROM stage_facts AS s WHERE {s}",
    "title": "SELECT t.deal, lower(t.title_{language}) AS value FROM deal_facts AS t WHERE {t}",
}

_VALUES = """
SELECT d.deal, o.value
  FROM deal_facts AS d
       LEFT JOIN ({order}) AS o ON o.deal = d.deal
 WHERE {d}
"""

_PAGE = """
SELECT deal, value
  FROM {source}
 WHERE {beyond}
 ORDER BY value {direction} NULLS LAST, deal {deals}
 LIMIT {limit}
"""

_FIRST = 1_000
"""So many deals are looked at first, in the list's order, if probably enough of them are selected: with 100,000 deals
that are nearly all selected, 7 ms of processor time instead of 17."""


def page(
    cursor: DuckDBPyConnection,
    cache: QuestionCache,
    point: Point,
    selection: Selection,
    query: PageQuery,
) -> Page:
    """A page of the selected deals."""
    order = query.order
    if order.key == "relevance":
        source = f"(SELECT id AS deal, score AS value FROM {point.found_deals})"
        if selection.is_search:
            return _page(cursor, point, selection, query, source)
        with _selected(cursor, cache, point, selection) as (selected, _):
            source = f"(SELECT * FROM {source} WHERE deal IN ({selected}))"
            return _page(cursor, point, selection, query, source)
    if selection.is_all and order.key != "deal":
        with _values(cursor, cache, point, order) as source:
            return _page(cursor, point, selection, query, source)
    with _selected(cursor, cache, point, selection) as (selected, tables):
        if order.key == "deal":
            source = f"(SELECT deal, deal AS value FROM ({selected}))"
            return _page(cursor, point, selection, query, source)
        with _values(cursor, cache, point, order) as source:
            counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in (source, *tables))
            ((total, *most),) = run(cursor, f"SELECT {counts}", {})
            if _FIRST * min(most) >= 2 * query.limit * total:
                found = _page(cursor, point, selection, query, source, selected)
                if found.next is not None:
                    return found
            source = f"(SELECT * FROM {source} WHERE deal IN ({selected}))"
            return _page(cursor, point, selection, query, source)


def _values(
    cursor: DuckDBPyConnection, cache: QuestionCache, point: Point, order: Order
) -> AbstractContextManager[str]:
    """The table of the values by which deals are ordered."""

    def select(at: Point, _: Sequence[str]) -> tuple[str, dict[str, Any]]:
        weight = weight_of(order.weights)
        conditions = {"p": at.at("p"), "s": at.at("s"), "t": at.at("t"), "e": at.was_known("e")}
        table = _ORDERS[order.key].format(**conditions, weight=weight, language=order.language)
        statement = _VALUES.format(order=table, d=at.at("d"))
        if order.key == "updated":
            # As the rows are stored, each deal is one of the latest so far: a page takes 5 ms, and 2 of mixed rows.
            statement += " ORDER BY hash(d.deal)"
        deals, pledges = [deal for deal, _ in order.superseded], [pledge for _, pledge in order.superseded]
        return statement, {**at.parameters, "ladder": list(LADDER), "deals": deals, "pledges": pledges}

    language = order.language if order.key == "title" else None
    # A relation changes the values of another deal than the one that declares it: then the table is made again.
    return cache.values(cursor, point, ("order", order.key, language, order.weights, order.superseded), select)


@contextmanager
def _selected(
    cursor: DuckDBPyConnection, cache: QuestionCache, point: Point, selection: Selection
) -> Iterator[tuple[str, list[str]]]:
    """The query of the selected deals, and tables each of which contains all of them.

    Those that meet the conditions beside a search are cached.
    """
    if selection.is_search:
        yield selection.slugs(point), [point.found_deals]
        return
    conditions = replace(selection, search=None)

    def select(at: Point, _: Sequence[str]) -> tuple[str, dict[str, Any]]:
        return conditions.slugs(at), {**at.parameters, **conditions.parameters}

    with cache.values(cursor, point, ("selected", conditions), select) as table:
        if selection.search is None:
            yield f"SELECT deal FROM {table}", [table]
        else:
            found = f"SELECT deal FROM {table} WHERE deal IN (SELECT id FROM {point.found_deals})"
            yield found, [table, point.found_deals]


def _page(
    cursor: DuckDBPyConnection,
    point: Point,
    selection: Selection,
    query: PageQuery,
    source: str,
    selected: str | None = None,
) -> Page:
    """A page of a table of deals with the values by which they are ordered.

    With `selected`, a query of deals, those of the first deals of the order that are selected.

    Raises:
        InvalidParameter: The page would begin at a place of another order.
    """
    order, after, limit = query.order, query.after, query.limit
    if after is not None and after.order not in ("", order.name):
        raise InvalidParameter("cursor", parameter="cursor")
    by_slug = order.key == "deal"
    if after is None:
        beyond = "true"
    elif by_slug:
        beyond = f"deal {'<' if order.descending else '>'} $deal"
    elif after.value is None:
        beyond = "value IS NULL AND deal > $deal"
    else:
        further = "<" if order.descending else ">"
        beyond = f"(value {further} $value OR value = $value AND deal > $deal OR value IS NULL)"
    parts = {
        "direction": "DESC" if order.descending else "ASC",
        "deals": "DESC" if order.descending and by_slug else "ASC",
    }
    if selected is not None:
        first = _PAGE.format(source=source, beyond=beyond, limit=_FIRST, **parts)
        source, beyond = f"(SELECT v.* FROM ({first}) AS v JOIN ({selected}) AS s ON s.deal = v.deal)", "true"
    statement = _PAGE.format(source=source, beyond=beyond, limit="$limit", **parts)
    parameters = {
        **point.parameters,
        **selection.parameters,
        "deal": after.deal if after else None,
        "value": after.value if after else None,
        "limit": limit + 1,
    }
    try:
        found = run(cursor, statement, parameters)
    except (duckdb.BinderException, duckdb.ConversionException):
        if after is None:
            raise
        # The value of the place is none of the order: the client made the cursor itself.
        raise InvalidParameter("cursor", parameter="cursor") from None
    deals = [deal for deal, _ in found[:limit]]
    following = None
    if len(found) > limit:
        deal, value = found[limit - 1]
        following = PagePlace(value.isoformat() if isinstance(value, date) else value, deal, order.name)
    return Page(deals, following)


def weight_of(weights: Mapping[str, float]) -> str:
    """The worth of a unit of a pledge's currency: NULL where it is not known."""
    cases = " ".join(f"WHEN '{currency}' THEN {weight!r}" for currency, weight in weights.items())
    return f"CASE p.currency {cases} END" if cases else "NULL"


# --- parts of lists ---------------------------------------------------------------------------------------------------

_UPDATES = """
SELECT d.deal, max(e.recorded_at)
  FROM deal_facts AS d
       JOIN deal_events AS e ON e.deal = d.deal
 WHERE {conditions}
 GROUP BY d.deal
 ORDER BY d.deal
 LIMIT $limit OFFSET $skip
"""


def updates(cursor: DuckDBPyConnection, point: Point, skip: int, limit: int) -> list[tuple[str, datetime]]:
    """The deals of a point in order, each with the time at which its latest event was recorded."""
    statement = _UPDATES.format(conditions=point.at("d"))
    return run(cursor, statement, {**point.parameters, "skip": skip, "limit": limit})


_EVENTS = """
SELECT DISTINCT e.position
  FROM deal_events AS e
 WHERE e.position {range}
   AND e.position <= $head
   AND e.deal IN ({slugs})
 ORDER BY e.position {order}
 LIMIT $limit
"""


def event_positions(
    cursor: DuckDBPyConnection, point: Point, selection: Selection, start: int, limit: int, *, newest: bool
) -> list[int]:
    """The next events of the selected deals after a position, or the last ones before it, up to the point's head."""
    range, order = ("< $start", "DESC") if newest else ("> $start", "")
    statement = _EVENTS.format(range=range, order=order, slugs=selection.slugs(point))
    given = {"head": point.head, "start": start, "limit": limit}
    return [position for (position,) in run(cursor, statement, {**point.parameters, **selection.parameters, **given})]


def count(cursor: DuckDBPyConnection, cache: QuestionCache, point: Point, selection: Selection) -> int:
    """The number of selected deals."""
    with _selected(cursor, cache, point, selection) as (selected, _):
        ((deals,),) = run(cursor, _COUNT.format(slugs=selected), {})
    return int(deals)


_COUNT = "SELECT count(*) FROM ({slugs})"

# Deals that no longer stand: they are in lists and not in totals.
_ENDED = """
SELECT count(*)
  FROM deal_facts AS d
 WHERE {conditions}
   AND (d.deal IN (SELECT s.deal FROM stage_facts AS s WHERE {s} AND s.stage IN {ended})
        OR d.deal IN (SELECT unnest($superseded::VARCHAR[])))
"""


def count_ended(cursor: DuckDBPyConnection, point: Point, selection: Selection, superseded: Sequence[str]) -> int:
    """The number of selected deals that were withdrawn or cancelled, or are among those superseded as a whole."""
    statement = _ENDED.format(ended=ENDED_STAGES, conditions=selection.conditions(point), s=point.at("s"))
    given = {**point.parameters, **selection.parameters, "superseded": list(superseded)}
    ((deals,),) = run(cursor, statement, given)
    return int(deals)
