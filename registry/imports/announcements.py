"""Parses sheets with one announcement per row; `columns.py` lists their columns.

Items of a list are separated by ';'. An amount is written as the press writes it (`money.parse`). An empty cell leaves
a field out; `null` clears it. Each row stands alone: all its errors are reported, each with its cell. A row without an
id gets one that is derived from its content, so that a row that is sent again is recognized.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args
from uuid import UUID, uuid5

import msgspec
from msgspec import Struct

from registry.errors import Invalid, NotJson
from registry.events import intake
from registry.events.codec import Content, canonical
from registry.events.types import (
    BOOKKEEPING_TYPES,
    EVENT_TYPES,
    AnnouncedKind,
    Announcement,
    ClaimReported,
    ClaimRetracted,
    OrganizationAnnouncement,
)
from registry.events.values import Slug
from registry.imports.columns import (
    ROW_COLUMNS,
    SOURCE_COLUMN,
    base_column,
    importable_types,
    known_columns,
)
from registry.imports.event_cells import EventCells, remove_at
from registry.imports.messages import ImportText
from registry.imports.workbook import ERROR_VALUES, CellError, Sheet, SheetRow, Table, position

NAMESPACE = UUID("5b0d0f5c-3a0e-5d62-9a53-3f6f5d0b8f1e")
"""The namespace of ids derived from a row's content (UUID version 5, RFC 9562 §5.5)."""

MIN_SIMILARITY = 0.6
"""How similar a known name must be to an unknown one (0 to 1, difflib ratio) to be suggested."""


class ParsedRow(Struct, frozen=True):
    """An announcement for a stream and the cell at which its row begins. `body` is what the client posts."""

    kind: AnnouncedKind
    slug: str
    at: str
    body: Announcement | OrganizationAnnouncement
    row: int = 0

    def ndjson(self) -> bytes:
        """The row as a line of an import."""
        return msgspec.json.encode({self.kind: self.slug, **msgspec.to_builtins(self.body)})


class RefusedRow(Struct, frozen=True):
    """What is wrong in a row, or in a sheet's header."""

    errors: tuple[CellError, ...]


class SkippedSheet(Struct, frozen=True):
    """A sheet without a column `type`."""

    name: str


def content_id(kind: AnnouncedKind, slug: str, body: Announcement | OrganizationAnnouncement) -> UUID:
    """The id derived from an announcement's stream, date and content."""
    content = canonical(Content(event=body.event, sources=body.sources, note=body.note))
    return uuid5(NAMESPACE, f"{kind}/{slug}\n{body.effective_on or body.date or ''}\n{content.decode()}")


def parse(sheets: Sequence[Sheet]) -> Iterator[ParsedRow | RefusedRow | SkippedSheet]:
    """Parse the sheets that have a column `type`, row by row. A sheet whose header is wrong is refused whole."""
    first_at: dict[UUID, str] = {}
    has_table = has_row = False
    for sheet in sheets:
        table = sheet.table()
        if table is None or "type" not in table.header:
            yield SkippedSheet(sheet.name)
            continue
        has_table = True
        if errors := tuple(_header_errors(table)):
            has_row = True
            yield RefusedRow(errors)
            continue
        for sheet_row in table.rows:
            has_row = True
            row, row_errors = _RowParser(table, sheet_row).parse()
            if (
                row is not None
                and row.body.id is not None
                and (first := first_at.setdefault(row.body.id, row.at)) != row.at
            ):
                row_errors.append(table.error(sheet_row, None, ImportText("row-repeated", other=first)))
            yield RefusedRow(tuple(row_errors)) if row is None or row_errors else row
    if not has_table:
        at = position(sheets[0].name, 1, 0) if sheets else "A1"
        yield RefusedRow((CellError(at, ImportText("type-column-missing")),))
    elif not has_row:
        yield RefusedRow((CellError(sheets[0].name, ImportText("no-rows")),))


def _header_errors(table: Table) -> Iterator[CellError]:
    names: set[str] = set()
    for i, name in enumerate(table.header):
        at = table.at(table.header_row, i)
        if not name:
            continue
        if name in names:
            yield CellError(at, ImportText("column-repeated", column=name))
        names.add(name)
        column = base_column(name)
        if not name.startswith("#") and column not in known_columns():
            similar = difflib.get_close_matches(column, known_columns(), 1, MIN_SIMILARITY)
            if similar:
                yield CellError(at, ImportText("column-unknown-similar", column=name, similar=similar[0]))
            else:
                yield CellError(at, ImportText("column-unknown", column=name))


class _RowParser:
    """Parses one row: its cells by column, and the errors found so far."""

    def __init__(self, sheet: Table, row: SheetRow) -> None:
        self.sheet = sheet
        self.row = row
        self.errors: list[CellError] = []
        self.positions = {name: i for i, name in enumerate(sheet.header) if base_column(name) in known_columns()}
        self.cells = {name: row.cell(i) for name, i in self.positions.items() if row.cell(i) != ""}

    def add_error(self, column: str, problem: ImportText) -> None:
        self.errors.append(self.sheet.error(self.row, self.positions.get(column, 0), problem))

    def parse(self) -> tuple[ParsedRow | None, list[CellError]]:
        width = len(self.sheet.header)
        if any(self.row.cells[width:]):
            return None, [self.sheet.error(self.row, width, ImportText("cell-outside-table"))]
        for i, name in enumerate(self.sheet.header):
            if not name and self.row.cell(i):
                return None, [self.sheet.error(self.row, i, ImportText("column-without-name"))]
        for name, text in self.cells.items():
            if text in ERROR_VALUES:
                self.add_error(name, ImportText("cell-error", value=text))
        kinds: list[AnnouncedKind] = [kind for kind in get_args(AnnouncedKind) if kind in self.cells]
        if len(kinds) != 1:
            self.add_error("deal", ImportText("stream-missing"))
            return None, self.errors
        (kind,) = kinds
        body = self._body(kind)
        announcement = self._decode(kind, body) if body is not None else None
        if announcement is None or self.errors:
            return None, self.errors
        slug = self.cells[kind]
        try:
            msgspec.convert(slug, Slug)
        except msgspec.ValidationError:
            self.add_error(kind, ImportText("slug-invalid", slug=slug))
            return None, self.errors
        if announcement.id is None:
            announcement = msgspec.structs.replace(announcement, id=content_id(kind, slug, announcement))
        return ParsedRow(kind, slug, self.sheet.at(self.row.number, 0), announcement, self.row.number), []

    def _body(self, kind: AnnouncedKind) -> dict[str, Any] | None:
        """The announcement as JSON would have it; None if the row has no importable type."""
        types = importable_types(kind)
        type_ = self.cells.get("type", "")
        if type_ not in types:
            self.add_error("type", _type_problem(kind, type_))
            return None
        event = EventCells(types[type_], self.cells, self.add_error).read()
        body: dict[str, Any] = {"event": {"type": type_, **event}}
        body |= {name: self.cells[name] for name in ("effective_on", "note", "id") if name in self.cells}
        if sources := self._sources():
            body["sources"] = sources
        return body

    def _sources(self) -> list[dict[str, str]]:
        sources: dict[str, dict[str, str]] = {}
        for name, text in self.cells.items():
            if match := SOURCE_COLUMN.match(name):
                sources.setdefault(match[1], {})[match[2]] = text
        return [sources[number] for number in sorted(sources)]

    # --- decoding -----------------------------------------------------------------------------------------------------

    def _decode(self, kind: AnnouncedKind, body: dict[str, Any]) -> Any:
        """The announcement; None if it is invalid, with an error for each invalid cell."""
        decoder: Any = intake.announcements if kind == "deal" else intake.organization_announcements
        try:
            return decoder.decode_one(msgspec.json.encode(body))
        except NotJson as error:
            self.add_error("type", ImportText("row-invalid", problem=error.message))
        except Invalid:
            # The decoder stops at the first error. Check the row's fields with a valid event, then the event's fields
            # with valid row fields, and remove each wrong field to find the next one.
            type_ = EVENT_TYPES[body["event"]["type"]]
            is_undated = issubclass(type_, (*BOOKKEEPING_TYPES, ClaimReported, ClaimRetracted))
            any_date = {"effective_on": "2000-01-01"} if is_undated else {}
            self._add_field_errors(decoder, {**any_date, **body, "event": _VALID_EVENT[kind]})
            self._add_field_errors(decoder, {"event": body["event"], "effective_on": "2000-01-01"})
        return None

    def _add_field_errors(self, decoder: Any, body: dict[str, Any]) -> None:
        reported: set[str] = set()
        while True:
            try:
                decoder.decode_one(msgspec.json.encode(body))
            except Invalid as error:
                new = [field_error for field_error in error.field_errors if field_error.pointer not in reported]
                for field_error in new:
                    pointer = field_error.pointer
                    name = pointer.rsplit("/", 1)[-1]
                    if name and not name.isdecimal():
                        problem = ImportText("field-invalid", field=name, problem=field_error)
                    else:
                        problem = ImportText("row-invalid", problem=field_error)
                    self.add_error(self._column_of(pointer), problem)
                    remove_at(body, pointer)
                    reported.add(pointer)
                if new:
                    continue
            return

    def _column_of(self, pointer: str) -> str:
        """The column of a JSON pointer into the announcement; `type` if the row has no such column."""
        parts = [p for p in pointer.split("/")[1:] if not p.isdecimal()]
        if parts[:1] == ["event"]:
            parts = parts[1:]
        elif parts[:1] == ["sources"]:
            number = pointer.split("/")[2]
            parts[0] = "source" if number == "0" else f"source{int(number) + 1}"
        while parts:
            path = ".".join(parts)
            column = f"event.{path}" if pointer.startswith("/event/") and path in ROW_COLUMNS else path
            if column in self.cells:
                return column
            nested = next((name for name in self.cells if name.startswith(f"{path}.")), None)
            if nested is not None:
                return nested
            parts.pop()
        return "type"


_VALID_EVENT: dict[AnnouncedKind, dict[str, Any]] = {
    "deal": {"type": "site_dropped", "site": "x"},
    "organization": {"type": "parent_ended", "parent": "x"},
}


def _type_problem(kind: AnnouncedKind, type_: str) -> ImportText:
    if not type_:
        return ImportText("type-missing")
    if type_ in EVENT_TYPES:
        if kind == "deal":
            return ImportText("type-not-for-deals", type=type_)
        return ImportText("type-not-for-organizations", type=type_)
    similar = difflib.get_close_matches(type_, importable_types(kind), 1, MIN_SIMILARITY)
    if similar:
        return ImportText("type-unknown-similar", type=type_, similar=similar[0])
    return ImportText("type-unknown", type=type_)
