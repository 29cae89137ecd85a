"""The columns of the tables that exports of the portfolio have, and their values in DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from msgspec import Struct

from registry.domain.deal import Deal
from registry.domain.fold.items import ListItem, item_types
from registry.events.values import AMOUNT_NOTES, Amount, Decimal, Localized
from registry.i18n import Label, render
from registry.projections.facts import TABLE_OF
from registry.schemas.deal_query import FIELD_FILTERS, ITEM_FILTERS

ColumnType = Literal["text", "code", "integer", "number", "boolean", "date", "datetime", "list", "amounts", "json"]
"""The type of a column's cells.

`code`: letters, digits, points and hyphens, beginning with a letter or a digit; such text is never escaped. `number`:
an exact decimal, which formats without such numbers have as text. `list`: of texts. `amounts`: amounts of money.
"""


class ExportedColumn(Struct, frozen=True):
    """A column of an exported table.

    Attributes:
        name: The heading.
        description: What the cells say.
        type: Their type.
        field: The field of the deal, of its item or of the event that the cells show; None: that of the column's name.
            `tests/schemas/test_fields.py` finds fields that no column shows.
        sql: The value in DuckDB; of a number, the column of a fact table. None for columns of events.
    """

    name: str
    description: str
    type: ColumnType = "text"
    field: str | None = None
    sql: str | None = None

    @property
    def text(self) -> str:
        """The cells as text, in SQL; empty where nothing was stated."""
        assert self.sql is not None
        return _TEXT.get(self.type, "{0}").format(self.sql)

    @property
    def typed(self) -> str:
        """The cells with their type, in SQL."""
        assert self.sql is not None
        return _TYPED.get(self.type, "{0}").format(self.sql)


_NUMBER = "left({0}::VARCHAR, length({0}::VARCHAR) - 7 + {0}_scale + ({0}_scale > 0)::INT)"

_TEXT = {
    "number": _NUMBER,
    "date": "{0}::VARCHAR",
    "list": "nullif(array_to_string({0}, '; '), '')",
    "amounts": """nullif(array_to_string(list_transform(from_json({0}, '["JSON"]'),
        lambda one: (one ->> 'currency') || ' ' || (one ->> 'value')), '; '), '')""",
}
"""Cells as text, by type; of the others, the value is text or an integer."""

_TYPED = {
    "list": "coalesce({0}, [])",
    "amounts": """coalesce(from_json({0}, '[{{"currency": "VARCHAR", "value": "DECIMAL(24, 6)"}}]'), [])""",
}
"""Cells with their type; of the others, the value has it."""

# A pledge's amount in one cell, with everything that keeps it from being added to others.
AMOUNT = f"""
p.pledge || ': ' || concat_ws(' ', p.qualifier, p.currency,
    coalesce({_NUMBER.format("p.value")}, nullif(concat_ws(' to ', {_NUMBER.format("p.low")},
             {_NUMBER.format("p.high")}), '')), p.amount_basis, p.commitment,
    CASE p.status WHEN 'withdrawn' THEN p.status END)
"""

# A party's share, and an item with its kind, without and with its amount, in one cell.
SHARE = f"p.organization || ': ' || {_NUMBER.format('p.share')} || '%'"
KIND = "concat_ws(': ', p.{id}, p.kind)"
KIND_AND_AMOUNT = f"""
concat_ws(': ', p.{{id}}, nullif(concat_ws(' ', p.kind, CASE WHEN p.currency IS NOT NULL THEN p.qualifier END,
    p.currency, coalesce({_NUMBER.format("p.value")}, nullif(concat_ws(' to ', {_NUMBER.format("p.low")},
    {_NUMBER.format("p.high")}), ''))), ''))
"""


def _label(field: str) -> str:
    return render(Label(f"field/{field}"))


# The elements of a list, each where it is first.
_FIRST = "list_filter({0}, lambda one, place: list_position({0}, one) = place)"

_DEAL = (
    ExportedColumn("deal", "The deal's id.", "code", sql="d.deal"),
    ExportedColumn("title_en", "The deal's title in English.", field="title", sql="d.title ->> 'en'"),
    ExportedColumn("title_ko", "The deal's title in Korean.", field="title", sql="d.title ->> 'ko'"),
)

_STAGE = ExportedColumn(
    "stage", "The deal's stage, from intention to operating, or how it ended.", "code", sql="s.stage"
)

# Beside them, fields and the lists of items are described by their labels.
_FIELDS_OF_DEALS = {
    "kind": "The kind of deal.",
    "sectors": "The sectors.",
    "classifications": "Codes of classifications, as AXIS:CODE.",
    "identifiers": "Identifiers in other registers, as SCHEME:VALUE.",
}

_ITEMS_OF_DEALS = {
    "incentives": "Each incentive that has not ended, with its kind and its amount. Never added to pledges.",
    "setbacks": "Each setback that was not resolved, with its kind.",
}


def _field(name: str) -> ExportedColumn:
    """The column of the field that has a filter: its code, or its codes."""
    field = FIELD_FILTERS[name]
    description = _FIELDS_OF_DEALS.get(field) or _label(field)
    return ExportedColumn(field, description, "code" if field == name else "list", sql=f"d.{field}")


DEALS = (
    *_DEAL,
    ExportedColumn("titles", "The title in all its languages, as a JSON object.", "json", "title", "d.title"),
    _field("kind"),
    _STAGE,
    ExportedColumn(
        "stage_basis", "What the stage rests on: declared, inferred or observed.", "code", "stage", "s.basis"
    ),
    ExportedColumn("stage_since", "The day since which the deal has the stage.", "date", "stage", "s.since"),
    ExportedColumn("stage_observed_on", "The day on which the stage was observed.", "date", "stage", "s.observed_on"),
    ExportedColumn("stage_certainty", "How certain an observed stage is.", "code", "stage", "s.certainty"),
    *(_field(name) for name in FIELD_FILTERS if name != "kind"),
    ExportedColumn("organizations", "The current parties.", "list", "parties", _FIRST.format("o.organizations")),
    ExportedColumn("roles", "Their roles, as ORGANIZATION: ROLE.", "list", "parties", _FIRST.format("o.roles")),
    ExportedColumn(
        "shares",
        "Their stated shares in percent, as ORGANIZATION: PERCENT%.",
        "list",
        "parties",
        _FIRST.format("o.shares"),
    ),
    ExportedColumn(
        "places",
        "ISO 3166 codes of the places of the sites that were not dropped.",
        "list",
        "sites",
        _FIRST.format("l.places"),
    ),
    ExportedColumn(
        "amounts",
        "Each pledge with its amount as stated. Not to be added up: totals say what may be counted twice.",
        "list",
        "pledges",
        "a.amounts",
    ),
    ExportedColumn(
        "flags",
        "Each pledge with the rules of the flags on its amount. A doubted amount is in no lower bound of totals.",
        "list",
        "pledges",
        "f.flags",
    ),
    *(
        ExportedColumn(of, _ITEMS_OF_DEALS.get(of) or _label(of), "list", sql=f"{of}.cells")
        for of in ITEM_FILTERS.values()
    ),
    ExportedColumn("relations", "Relations to other deals.", "list", sql="r.relations"),
)


def _type(hint: Any) -> ColumnType:
    """The type of the column of a field."""
    types = [hint, *get_args(hint)]
    # Without what `Annotated` adds to them.
    types += [get_args(one)[0] for one in types if get_origin(one) is Annotated]
    is_code = any(get_origin(one) is Literal for one in types)
    plain: ColumnType = "date" if date in types else "integer" if int in types else "text"
    return "number" if Decimal in types else "code" if is_code else plain


_AMOUNT_HINTS = get_type_hints(Amount, include_extras=True)

_SHOWN_AMOUNT = (
    ExportedColumn(
        "qualifier",
        "How the source qualifies the amount, such as about.",
        "code",
        "amount",
        "CASE WHEN p.currency IS NOT NULL THEN p.qualifier END",
    ),
    ExportedColumn("value", "The amount, exact.", "number", "amount", "p.value"),
    ExportedColumn("low", "The lower bound of a range, exact.", "number", "amount", "p.low"),
    ExportedColumn("high", "The upper bound of a range, exact.", "number", "amount", "p.high"),
    ExportedColumn("currency", "The currency (ISO 4217).", "code", "amount", "p.currency"),
    ExportedColumn("wording", "The amount in the words of the source.", "text", "amount", "p.wording"),
    *(ExportedColumn(name, _label(name), _type(_AMOUNT_HINTS[name]), "amount", f"p.{name}") for name in AMOUNT_NOTES),
    ExportedColumn("stated_as", "The same amount as stated in other currencies.", "amounts", "amount", "p.stated_as"),
)


def _texts(name: str, description: str) -> ExportedColumn:
    """A column with a text in all its languages."""
    return ExportedColumn(name, f"{description} in all its languages, as a JSON object.", "json", sql=f"p.{name}")


PARTIES = (
    *_DEAL,
    _STAGE,
    ExportedColumn("organization", "The organization's id.", "code", sql="p.organization"),
    _texts("name", "The name with which it was announced,"),
    ExportedColumn("role", "Its role in the deal.", "code", sql="nullif(p.role, '')"),
    ExportedColumn("share", "Its stated share in percent, exact.", "number", sql="p.share"),
    ExportedColumn(
        "certainty", "How certain its part is: confirmed, reported or suspected.", "code", sql="p.certainty"
    ),
    ExportedColumn("joined_on", "The day since which it takes part.", "date", sql="p.joined_on"),
    ExportedColumn("left_on", "The day on which it left.", "date", sql="p.left_on"),
)

PLEDGES = (
    *_DEAL,
    _STAGE,
    ExportedColumn("pledge", "The pledge's id within the deal.", "code", sql="p.pledge"),
    ExportedColumn("status", "announced, confirmed or withdrawn.", "code", sql="p.status"),
    ExportedColumn("commitment", "How firm it is: intention, pledge, binding or budget.", "code", sql="p.commitment"),
    ExportedColumn("amount_basis", "What the amount is: total, additional or annual.", "code", sql="p.amount_basis"),
    *_SHOWN_AMOUNT,
    ExportedColumn("by", "Those who pledge, together.", "list", sql="p.organizations"),
    ExportedColumn("additional_to", "The pledge or the sum that it is additional to.", sql="p.additional_to"),
    ExportedColumn("announced_on", "The day since which the pledge is in effect.", "date", sql="p.announced_on"),
    ExportedColumn("stated_on", "The day since which the present amount is in effect.", "date", sql="p.stated_on"),
    ExportedColumn("until", "The date by which it is to be invested (EDTF).", "text", "horizon", "p.until"),
    ExportedColumn(
        "flags",
        "The rules of the flags on its amount. A doubted amount is in no lower bound of totals.",
        "list",
        sql="m.flags",
    ),
    ExportedColumn(
        "part_of", "The pledges and deals that it is part of, as DEAL/PLEDGE or DEAL.", "list", sql="m.part_of"
    ),
    ExportedColumn(
        "superseded_by", "Those that took its place, as DEAL/PLEDGE or DEAL.", "list", sql="m.superseded_by"
    ),
)

SITES = (
    *_DEAL,
    _STAGE,
    ExportedColumn("site", "The site's id within the deal.", "code", sql="p.site"),
    ExportedColumn("status", "announced or dropped.", "code", sql="p.status"),
    _texts("name", "The site's name,"),
    ExportedColumn("place", "The country or subdivision (ISO 3166).", "code", sql="p.place"),
    ExportedColumn("locality", "The city or town.", sql="p.locality"),
    ExportedColumn("address", "The address.", sql="p.address"),
    ExportedColumn(
        "district_code", "The code of the county or district of the national authority.", "code", sql="p.district_code"
    ),
    ExportedColumn("power_mw", "The planned power in MW, exact.", "number", sql="p.power_mw"),
    ExportedColumn("power_qualifier", "How the source qualifies the power.", "code", sql="p.power_qualifier"),
    ExportedColumn("gpus", "The planned number of GPUs.", "integer", sql="p.gpus"),
    ExportedColumn("gpus_qualifier", "How the source qualifies the number of GPUs.", "code", sql="p.gpus_qualifier"),
    ExportedColumn("latitude", "The latitude in degrees (WGS 84).", "number", sql="p.latitude"),
    ExportedColumn("longitude", "The longitude in degrees (WGS 84).", "number", sql="p.longitude"),
    ExportedColumn("precision", "How precise the coordinates are.", "code", sql="p.precision"),
    ExportedColumn("announced_on", "The day since which the site is in effect.", "date", sql="p.announced_on"),
)

MILESTONES = (
    *_DEAL,
    _STAGE,
    ExportedColumn("milestone", "The milestone's id within the deal.", "code", sql="p.milestone"),
    _texts("name", "Its name,"),
    ExportedColumn("kind", "The kind of step, such as groundbreaking.", "code", sql="p.kind"),
    ExportedColumn("site", "The site that it is about.", "code", sql="p.site"),
    ExportedColumn("status", "planned, reached or cancelled.", "code", sql="p.status"),
    ExportedColumn("planned", "The planned date (EDTF).", sql="p.planned"),
    ExportedColumn("reached", "The date on which it was reached (EDTF).", sql="p.reached"),
    ExportedColumn("power_mw", "The power in MW that it brings, exact.", "number", sql="p.power_mw"),
    ExportedColumn("scheduled_on", "The day since which it is known.", "date", sql="p.scheduled_on"),
)

METRICS = (
    *_DEAL,
    _STAGE,
    ExportedColumn("metric_id", "The id of the quantity within the deal.", "text", sql="p.metric_id"),
    ExportedColumn("metric", "What is counted, such as jobs.", "code", sql="p.metric"),
    ExportedColumn("basis", "Whether it is planned, reported or of another basis.", "code", sql="p.basis"),
    ExportedColumn("site", "The site that it is about.", "code", sql="nullif(p.site, '')"),
    ExportedColumn("date", "The date that it is for (EDTF).", sql="p.metric_date"),
    ExportedColumn("from", "The first date of its period (EDTF).", "text", "horizon", "p.horizon_from"),
    ExportedColumn("until", "The last date of its period (EDTF).", "text", "horizon", "p.horizon_until"),
    ExportedColumn("value", "The quantity, exact.", "number", sql="p.value"),
    ExportedColumn("unit", "Its unit.", sql="p.unit"),
    ExportedColumn("qualifier", "How the source qualifies it.", "code", sql="p.qualifier"),
    ExportedColumn("stated_on", "The day since which the present value is in effect.", "date", sql="p.stated_on"),
)

INCENTIVES = (
    *_DEAL,
    _STAGE,
    ExportedColumn("incentive", "The incentive's id within the deal.", "code", sql="p.incentive"),
    ExportedColumn("kind", "tax_credit, grant, loan or land.", "code", sql="p.kind"),
    ExportedColumn("status", "granted or ended.", "code", sql="p.status"),
    *_SHOWN_AMOUNT,
    ExportedColumn("authority", "Who grants it.", sql="p.authority"),
    _texts("text", "What it is,"),
    ExportedColumn("granted_on", "The day since which it is granted.", "date", sql="p.granted_on"),
)

SETBACKS = (
    *_DEAL,
    _STAGE,
    ExportedColumn("setback", "The setback's id within the deal.", "code", sql="p.setback"),
    ExportedColumn("kind", "opposition, litigation, permit_refused, supply or financing.", "code", sql="p.kind"),
    _texts("text", "What it is,"),
    ExportedColumn("reported_on", "The day since which it is known.", "date", sql="p.reported_on"),
    ExportedColumn("resolved_on", "The day on which it was resolved.", "date", sql="p.resolved_on"),
)


def _columns_of(item: type[ListItem]) -> Iterator[ExportedColumn]:
    """The columns of the items of a list: their fields, described by their labels."""
    hints = get_type_hints(item, include_extras=True)
    for name in (*item.id_fields, *(name for name in item.__struct_fields__ if name not in item.id_fields)):
        types = (hints[name], *get_args(hints[name]))
        if Amount in types:
            yield from _SHOWN_AMOUNT
        elif Localized in types:
            yield _texts(name, _label(name))
        elif name in item.id_fields:
            yield ExportedColumn(name, _label(name), "code", sql=f"p.{name}")
        elif name != "claims":
            yield ExportedColumn(name, _label(name), _type(hints[name]), sql=f"p.{name}")


TABLES: dict[str, tuple[ExportedColumn, ...]] = {
    "deals": DEALS,
    "parties": PARTIES,
    "pledges": PLEDGES,
    "sites": SITES,
    "milestones": MILESTONES,
    "metrics": METRICS,
    "incentives": INCENTIVES,
    "setbacks": SETBACKS,
}
"""The columns of each table of the portfolio."""

for _of, _item in item_types(Deal).items():
    if _of in TABLE_OF and _of not in TABLES and _of != "relations":
        TABLES[_of] = (*_DEAL, _STAGE, *_columns_of(_item))

SOURCES = (
    ExportedColumn(
        "source_publishers", "Who published the sources that the row rests on.", "list", "sources", "c.publishers"
    ),
    ExportedColumn("source_urls", "The addresses of the same sources.", "list", "sources", "c.urls"),
    ExportedColumn(
        "source_published_on", "The days on which the same sources were published.", "list", "sources", "c.days"
    ),
)
"""Columns on request: lists of the same length, in the order in which the sources were recorded."""
