"""Empty sheets for announcements, as CSV and XLSX."""

from __future__ import annotations

import io
from collections.abc import Sequence

import xlsxwriter

from registry.events.types import EVENT_TYPES
from registry.imports.columns import ROW_COLUMNS, columns_of, header, importable_types, known_columns

_DESCRIPTIONS = {
    "text": "text",
    "whole": "a whole number",
    "list": "names separated by ;",
    "amount": "an amount as the press writes it: more than $5 billion, 약 2조4천억 원",
    "each": "one value for all items, or one for each item, separated by ;",
    "claim": "an amount if the claim's field is one, else text or a whole number",
}


def template_csv() -> bytes:
    """An empty sheet for announcements of deals."""
    return ("\ufeff" + ",".join(header("deal")) + "\r\n").encode()


def template_xlsx() -> bytes:
    """An empty workbook: a sheet for deals, one for organizations, and two that explain event types and columns."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, {"in_memory": True})
    bold = book.add_format({"bold": True})
    text = book.add_format({"num_format": "@"})
    for name, kind in (("Announcements", "deal"), ("Organizations", "organization")):
        sheet = book.add_worksheet(name)
        sheet.write_row(0, 0, header(kind), bold)  # type: ignore[arg-type]
        sheet.freeze_panes(1, 2)
        # As text, so that the spreadsheet program does not reformat figures and dates.
        sheet.set_column(0, len(header(kind)) - 1, 18, text)  # type: ignore[arg-type]
        sheet.data_validation(1, 1, 9999, 1, {"validate": "list", "source": "=Types!$A$1:$A$60"})
    types = book.add_worksheet("Types")
    for i, name in enumerate((*importable_types("deal"), *importable_types("organization"))):
        types.write_row(i, 0, [name, (EVENT_TYPES[name].__doc__ or "").partition("\n")[0]])
    columns = book.add_worksheet("Columns")
    columns.write_row(0, 0, ["column", "holds", "of"], bold)
    for i, (name, event_types) in enumerate(known_columns().items(), 1):
        description = ROW_COLUMNS.get(name) or _describe(name, event_types)
        columns.write_row(i, 0, [name, description, ", ".join(event_types) or "every row"])
    columns.set_column(0, 1, 40)
    book.close()
    return file.getvalue()


def _describe(column: str, event_types: Sequence[str]) -> str:
    kind = columns_of(EVENT_TYPES[event_types[0]])[column] if event_types else "text"
    return _DESCRIPTIONS[kind]
