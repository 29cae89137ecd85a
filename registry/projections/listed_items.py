"""The items of deals at a point, such as parties and milestones, read from the fact tables as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, get_args

from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from registry.domain.deal import Deal
from registry.domain.fold.items import ListItem, item_types
from registry.events.values import Amount, Horizon, Localized
from registry.infra.postgres import Connection, Pool
from registry.infra.work_time import in_thread
from registry.projections.deal_items import localized, stated_amount
from registry.projections.facts import TABLE_OF, FactTable
from registry.projections.point import Point
from registry.schemas.values import HorizonResponse

_SELECT = """
SELECT t.deal, {columns}
  FROM {table} AS t
 WHERE t.deal = ANY ($1::text[])
   AND t.effective_from <= $2 AND t.effective_to > $2
   AND t.{axis}_from <= $3 AND t.{axis}_to > $3
 ORDER BY t.deal, {order}
"""

# The list has pledges and relations with what else is known of them.
_LISTS = {name: item for name, item in item_types(Deal).items() if name in TABLE_OF.keys() - {"pledges", "relations"}}

_COLUMNS = {"date": "metric_date"}
"""The columns of fields with another name."""

Items = dict[str, list[dict[str, Any]]]
"""The items of a deal by list."""


async def listed_items(pool: Pool | Connection, point: Point, deals: Sequence[str]) -> dict[str, Items]:
    """The items of these deals at a point, by deal and list, without claims."""
    found: dict[str, Items] = {deal: {name: [] for name in _LISTS} for deal in deals}
    for name, item in _LISTS.items():
        rows = await pool.fetch(_statement(TABLE_OF[name], item, point.axis), list(deals), point.day, point.known)
        items = await in_thread(lambda rows, item: [_item(item, row) for row in rows], rows, item)
        for row, shown in zip(rows, items, strict=True):
            found[row["deal"]][name].append(shown)
    return found


def _statement(table: FactTable, item: type[ListItem], axis: str) -> str:
    columns = ", ".join(
        # As text, numbers keep their decimals.
        f"t.{column.name}::text" if column.cast == "numeric" else f"t.{column.name}"
        for column in (*table.ids, *table.values)
    )
    order = ", ".join(f"t.{name}" for name in item.order)
    return _SELECT.format(table=table.name, axis=axis, columns=columns, order=order)


@cache
def _typed_fields(item: type[Struct]) -> tuple[tuple[FieldInfo, tuple[Any, ...]], ...]:
    """The fields of an item with the types that each may have. To find them takes 0.2 ms."""
    return tuple((field, get_args(field.type)) for field in fields(item))


def _item(item: type[Struct], row: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for field, types in _typed_fields(item):
        if Amount in types:
            shown[field.encode_name] = stated_amount(row.__getitem__)
        elif Horizon in types:
            start, end = row["horizon_from"], row["horizon_until"]
            shown[field.encode_name] = HorizonResponse(from_=start, until=end) if start or end else None
        elif Localized in types:
            shown[field.encode_name] = localized(row[field.name])
        elif field.name != "claims":
            value = row[_COLUMNS.get(field.name, field.name)]
            shown[field.encode_name] = None if value == "" else value
    return shown
