"""Metadata of an export as a Data Package 2.0 (datapackage.org): files, columns, point in time, licence, citation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from registry.domain.deal import Deal
from registry.domain.fold.items import item_types
from registry.exports.rows import COLUMNS, Kind
from registry.projections.columnar.exported_columns import ColumnType, ExportedColumn
from registry.standards.citation import Citation

PROFILE = "https://datapackage.org/profiles/2.0/datapackage.json"

TITLES: dict[Kind, str] = {
    **{kind: kind.capitalize() for kind in COLUMNS},
    "metrics": "Quantities of deals",
    "events": "Events of the log",
}

KEYS: dict[Kind, tuple[str, ...]] = {
    **{of: ("deal", *item.id_fields) for of, item in item_types(Deal).items()},
    "deals": ("deal",),
    # A role that was not stated is empty, which a key of the Data Package forbids.
    "parties": (),
    "events": ("position",),
}

ESCAPED = (
    "In CSV, a text that a spreadsheet would run as a formula has an apostrophe before it. An empty cell: nothing was "
    "stated; it is never zero."
)

_TYPES: dict[ColumnType, dict[str, Any]] = {
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean", "trueValues": ["True"], "falseValues": ["False"]},
    "date": {"type": "date"},
    "datetime": {"type": "datetime"},
}
"""How the cells of CSV are read, by the type of their column; the others are text."""


class ExportedPoint(Struct, frozen=True, kw_only=True):
    """The data that an export contains.

    Attributes:
        query: The query that fixes its point in time and has its filters.
        as_of: The point in time.
        position: Its log position.
        checkpoint: A signed checkpoint that covers it, as a note; None where none can be signed now.
    """

    query: Mapping[str, str]
    as_of: Mapping[str, Any]
    position: int
    checkpoint: str | None


def datapackage(
    kind: Kind,
    columns: Sequence[ExportedColumn],
    point: ExportedPoint,
    formats: Mapping[str, str],
    base: str,
    citation: Citation,
    created: datetime | None,
) -> dict[str, Any]:
    """The metadata of an export.

    Args:
        kind: What the rows are.
        columns: The columns of CSV.
        point: Of what it is.
        formats: The media types of its files, by the end of the name.
        base: The address of the registry.
        citation: How to cite it, with the licence of the data.
        created: When the event at its position was recorded.
    """
    package: dict[str, Any] = {
        "$schema": PROFILE,
        "name": f"{kind}-{point.position}",
        "title": TITLES[kind],
        "description": ESCAPED,
        "homepage": base,
        "version": str(point.position),
        "contributors": [{"title": citation.origin, "path": base, "roles": ["publisher"]}],
        "resources": [
            _resource(kind, columns, format, media_type, point, base) for format, media_type in formats.items()
        ],
        "citation": {"text": citation.text, "bibtex": citation.bibtex, "csl": citation.csl},
        "as_of": point.as_of,
        "checkpoint": point.checkpoint,
    }
    if created is not None:
        package["created"] = f"{created:%Y-%m-%dT%H:%M:%SZ}"
    if (licence := citation.licence) is not None:
        package["licenses"] = [{"name": licence.name.replace(" ", "-"), "title": licence.name, "path": licence.url}]
    return package


def _resource(
    kind: Kind, columns: Sequence[ExportedColumn], format: str, media_type: str, point: ExportedPoint, base: str
) -> dict[str, Any]:
    # The JSON of a deal has its sources in another place.
    given = {name: value for name, value in point.query.items() if name != "sources" or format != "ndjson"}
    query = f"?{urlencode(given)}" if given else ""
    resource: dict[str, Any] = {
        "name": kind if format == "csv" else f"{kind}-{format}",
        "title": f"{TITLES[kind]} ({format})",
        "path": f"{base}/v1/export/{kind}.{format}{query}",
        "format": format,
        "mediatype": media_type,
    }
    if format == "csv":
        fields = [_field(column) for column in columns]
        schema: dict[str, Any] = {"fields": fields, "missingValues": [""]}
        if KEYS[kind]:
            schema["primaryKey"] = list(KEYS[kind])
        resource |= {"type": "table", "encoding": "utf-8", "schema": schema}
    return resource


def _field(column: ExportedColumn) -> dict[str, Any]:
    # The profile of Data Package 2.0 refuses fields of the type `list`.
    separated = " Separated by '; '." if column.type in ("list", "amounts") else ""
    description = f"{column.description}{separated}"
    return {"name": column.name, "description": description, **_TYPES.get(column.type, {"type": "string"})}
