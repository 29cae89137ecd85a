"""Sheets with one announcement a row: columns are dotted paths into the event, made from the event types themselves.

`deal` (or `organization`), `type` and `effective_on` say what a row is; `source.url`, `source2.url` … who said so;
every other column is a field of the event: `title.ko` is the Korean title. Lists are parted by ';'. An amount is
written as the press writes it (`money.parse`). An empty cell leaves the field out, `null` unsays it. Every fault of a
file is found at once, and points at its cell. Rows get the ids that follow from what they say: sent again, they are
known already. Corrections are not imported: they answer to what is recorded, not to a sheet.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal, get_args
from uuid import UUID, uuid5

import msgspec
import xlsxwriter
from msgspec import Struct, inspect

from registry.domain import money
from registry.errors import Invalid, NotJson
from registry.events import intake
from registry.events.codec import Content, canonical
from registry.events.types import (
    BOOKKEEPING_TYPES,
    EVENT_TYPES,
    Amount,
    Announcement,
    ClaimReported,
    ClaimRetracted,
    DealFact,
    Event,
    OrganizationAnnouncement,
    OrganizationFact,
    Slug,
    Source,
    StreamKind,
    tag_of,
)
from registry.imports.workbook import CellError, Sheet, SheetRow

NAMESPACE = UUID("5b0d0f5c-3a0e-5d62-9a53-3f6f5d0b8f1e")
"""Of the ids that follow from a row's content (UUID version 5, RFC 9562 §5.5)."""

Kind = Literal["text", "whole", "list", "amount", "each", "claim"]

ROW_COLUMNS = {
    "deal": "The deal's name: lower-case letters, digits and hyphens.",
    "organization": "The organization's name, where the row is about one.",
    "type": "What happened: one of the event types.",
    "effective_on": "From which day it is so in the world: YYYY-MM-DD.",
    "note": "Why it is recorded.",
    "id": "A UUID; left out, it follows from what the row says.",
}
SOURCE = re.compile(r"source([2-9]?)\.(\w+)\Z")


class ParsedRow(Struct, frozen=True):
    """An announcement for a stream, and the row it stands in. `body` is what is posted."""

    kind: StreamKind
    slug: str
    at: str
    body: Announcement | OrganizationAnnouncement

    def ndjson(self) -> bytes:
        """The line of an import."""
        return msgspec.json.encode({self.kind: self.slug, **msgspec.to_builtins(self.body)})


class ParsedSheets(Struct, frozen=True):
    """What a file says: its announcements in their order, or its faults. `left_out` are sheets without a `type`."""

    lines: tuple[ParsedRow, ...]
    faults: tuple[CellError, ...]
    skipped_sheets: tuple[str, ...] = ()


def identified(kind: StreamKind, slug: str, body: Announcement | OrganizationAnnouncement) -> UUID:
    """The id that follows from what is announced, and of what."""
    said = canonical(Content(event=body.event, sources=body.sources, note=body.note))
    return uuid5(NAMESPACE, f"{kind}/{slug}\n{body.effective_on or ''}\n{said.decode()}")


# --- columns ----------------------------------------------------------------------------------------------------------


@cache
def columns_of(event: type[Event]) -> dict[str, Kind]:
    """The columns that an event of this type can have."""
    return dict(_columns(inspect.type_info(event), ""))


def _columns(info: Any, prefix: str) -> Iterator[tuple[str, Kind]]:
    for field in info.fields:
        path = prefix + field.encode_name
        if path in ROW_COLUMNS:
            path = f"event.{path}"  # A relation's `deal` is not the deal that the row is about.
        options = getattr(field.type, "types", (field.type,))
        kinds = [t for t in options if not isinstance(t, inspect.NoneType)]
        structs = [t for t in kinds if isinstance(t, inspect.StructType)]
        lists = [t for t in kinds if isinstance(t, inspect.VarTupleType)]
        if len(kinds) > 1 and structs:
            yield path, "claim"
        elif structs and structs[0].cls is Amount:
            yield path, "amount"
            yield from ((p, k) for p, k in _columns(structs[0], f"{path}.") if k == "text")
        elif structs:
            yield from _columns(structs[0], f"{path}.")
        elif lists and isinstance(lists[0].item_type, inspect.StructType):
            yield from ((p, "each") for p, k in _columns(lists[0].item_type, f"{path}.") if k == "text")
        elif lists:
            yield path, "list"
        elif any(isinstance(t, inspect.IntType) for t in kinds):
            yield path, "whole"
        else:
            yield path, "text"


def types_of(kind: StreamKind) -> dict[str, type[Event]]:
    """The event types that a sheet can hold, by name."""
    facts: tuple[type[Event], ...] = get_args(DealFact if kind == "deal" else OrganizationFact)
    return {tag_of(t): t for t in facts}


@cache
def known_columns() -> dict[str, list[str]]:
    """Every column, with the event types that have it; those of the row and of sources have none."""
    found: dict[str, list[str]] = {name: [] for name in ROW_COLUMNS}
    found |= {f"source.{name}": [] for name in Source.__struct_encode_fields__}
    for kind in get_args(StreamKind):
        for name, event in types_of(kind).items():
            for path in columns_of(event):
                found.setdefault(path, []).append(name)
    return found


# --- reading ----------------------------------------------------------------------------------------------------------


def read(sheets: Sequence[Sheet]) -> ParsedSheets:
    """The announcements of these sheets, or every fault that is in them."""
    lines: list[ParsedRow] = []
    faults: list[CellError] = []
    left_out: list[str] = []
    first: dict[UUID, str] = {}
    for sheet in sheets:
        if "type" not in sheet.header:
            left_out.append(sheet.name)
            continue
        faults += _header(sheet)
        for row in sheet.rows:
            line, found = _Row(sheet, row).read()
            faults += found
            if line is None:
                continue
            assert line.body.id is not None
            if line.body.id in first:
                faults.append(CellError(line.at, f"says the same as {first[line.body.id]}"))
            first.setdefault(line.body.id, line.at)
            lines.append(line)
    if not any("type" in sheet.header for sheet in sheets):
        faults.append(
            CellError(sheets[0].at(1, 0) if sheets else "A1", "no sheet has a column 'type' in its first row")
        )
    elif not lines and not faults:
        faults.append(CellError(left_out[0] if left_out else "A2", "there is no row below the header"))
    return ParsedSheets(() if faults else tuple(lines), tuple(faults), tuple(left_out))


def _header(sheet: Sheet) -> Iterator[CellError]:
    seen: set[str] = set()
    for i, name in enumerate(sheet.header):
        at = sheet.at(sheet.first, i)
        if not name:
            if any(len(row.cells) > i and row.cells[i] for row in sheet.rows):
                yield CellError(at, "the column has values but no name")
            continue
        if name in seen:
            yield CellError(at, f"the column '{name}' stands twice")
        seen.add(name)
        plain = _plain(name)
        if not name.startswith("#") and plain not in known_columns():
            near = difflib.get_close_matches(plain, known_columns(), 1, 0.6)
            hint = f"; is '{near[0]}' meant?" if near else "; begin its name with # to have it ignored"
            yield CellError(at, f"there is no column '{name}'{hint}")


def _plain(name: str) -> str:
    return re.sub(r"^source[2-9]\.", "source.", name)


class _Row:
    """One row while it is read: its cells by column, and what is wrong with them."""

    def __init__(self, sheet: Sheet, row: SheetRow) -> None:
        self.sheet = sheet
        self.row = row
        self.faults: list[CellError] = []
        self.places = {name: i for i, name in enumerate(sheet.header) if _plain(name) in known_columns()}
        self.cells = {
            name: row.cells[i] for name, i in self.places.items() if i < len(row.cells) and row.cells[i] != ""
        }

    def fault(self, column: str, detail: str) -> None:
        self.faults.append(CellError(self.sheet.at(self.row.number, self.places.get(column, 0)), detail))

    def read(self) -> tuple[ParsedRow | None, list[CellError]]:
        if any(cell for cell in self.row.cells[len(self.sheet.header) :]):
            at = self.sheet.at(self.row.number, len(self.sheet.header))
            return None, [CellError(at, "stands beside the table, under no column")]
        named: list[StreamKind] = [kind for kind in get_args(StreamKind) if kind in self.cells]
        if len(named) != 1:
            self.fault("deal", "a row is about one deal, or one organization: name it")
            return None, self.faults
        (kind,) = named
        type_ = self.cells.get("type", "")
        known = types_of(kind)
        if type_ not in known:
            near = difflib.get_close_matches(type_, known, 1, 0.6)
            hint = f"; is '{near[0]}' meant?" if near else ""
            if type_ in EVENT_TYPES:
                hint = f" for {kind}s in a sheet"
            self.fault("type", f"there is no event type '{type_}'{hint}" if type_ else "says not what happened")
            return None, self.faults
        event = self._event(known[type_])
        body: dict[str, Any] = {"event": {"type": type_, **event}}
        body |= {name: self.cells[name] for name in ("effective_on", "note", "id") if name in self.cells}
        sources = self._sources()
        if sources:
            body["sources"] = sources
        announcement = self._decoded(kind, body)
        if announcement is None or self.faults:
            return None, self.faults
        slug = self.cells[kind]
        try:
            msgspec.convert(slug, Slug)
        except msgspec.ValidationError:
            self.fault(kind, f"'{slug}' is no name: lower-case letters, digits and hyphens")
            return None, self.faults
        if announcement.id is None:
            announcement = msgspec.structs.replace(announcement, id=identified(kind, slug, announcement))
        return ParsedRow(kind, slug, self.sheet.at(self.row.number, 0), announcement), []

    def _sources(self) -> list[dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for name, text in self.cells.items():
            if match := SOURCE.match(name):
                found.setdefault(match[1], {})[match[2]] = text
        return [found[which] for which in sorted(found)]

    def _event(self, event: type[Event]) -> dict[str, Any]:
        columns = columns_of(event)
        made: dict[str, Any] = {}
        each: dict[str, dict[str, list[str]]] = {}
        for name, text in self.cells.items():
            if name in ROW_COLUMNS or SOURCE.match(name):
                continue
            kind = columns.get(name)
            if kind is None:
                self.fault(name, f"a {tag_of(event)} has no '{name}': it has {', '.join(columns)}")
            elif text == "null":
                _put(made, name.removeprefix("event."), None)
            elif kind == "each":
                outer, _, inner = name.partition(".")
                each.setdefault(outer, {})[inner] = [part.strip() for part in text.split(";")]
            else:
                self._value(made, name, kind, text, "amount_basis" in columns)
        for outer, fields in each.items():
            made[outer] = self._each(outer, fields)
        return made

    def _each(self, outer: str, fields: dict[str, list[str]]) -> list[dict[str, Any]]:
        """A list's items, from columns of their fields: one part for each of them, or one for all."""
        count = max(map(len, fields.values()))
        items: list[dict[str, Any]] = [{} for _ in range(count)]
        for inner, parts in fields.items():
            if len(parts) not in (1, count):
                self.fault(f"{outer}.{inner}", f"has {len(parts)} parts where another column has {count}")
                continue
            for item, part in zip(items, parts * count if len(parts) == 1 else parts, strict=True):
                if part:
                    _put(item, inner, part)
        return items

    def _value(self, made: dict[str, Any], name: str, kind: Kind, text: str, has_basis: bool) -> None:
        name = name.removeprefix("event.")
        match kind:
            case "list":
                _put(made, name, [part.strip() for part in text.split(";") if part.strip()])
            case "whole":
                digits = text.replace(",", "")
                if re.fullmatch(r"[0-9]{1,12}", digits, re.ASCII):
                    _put(made, name, int(digits))
                else:
                    self.fault(name, f"'{text}' is no whole number")
            case "amount":
                self._amount(made, name, text, has_basis)
            case "claim":
                about = self.cells.get("field", "")
                if about.endswith("/amount"):
                    self._amount(made, name, text, has_basis=False)
                else:
                    _put(made, name, int(text) if about.endswith("/gpus") and text.isdecimal() else text)
            case _:
                _put(made, name, text)

    def _amount(self, made: dict[str, Any], name: str, text: str, has_basis: bool) -> None:
        try:
            parsed = money.parse(text)
        except money.AmountParseError as error:
            self.fault(name, str(error))
            return
        for field, value in msgspec.to_builtins(parsed.amount).items():
            _put(made, f"{name}.{field}", value)
        said = self.cells.get("amount_basis")
        if parsed.basis is None or said == parsed.basis:
            return
        if has_basis and said is None:
            made["amount_basis"] = parsed.basis
        else:
            self.fault(name, f"'{text}' is called {parsed.basis}, and amount_basis is {said or 'not known here'}")

    def _decoded(self, kind: StreamKind, body: dict[str, Any]) -> Any:
        """The announcement; where it is none, every cell that is wrong in it is told."""
        taker: Any = intake.announcements if kind == "deal" else intake.organization_announcements
        try:
            return taker.decode_one(msgspec.json.encode(body))
        except NotJson as error:
            self.fault("type", str(error))
        except Invalid:
            # One after the other: the decoder stops at the first, so what was told makes way for the next.
            type_ = EVENT_TYPES[body["event"]["type"]]
            undated = issubclass(type_, (*BOOKKEEPING_TYPES, ClaimReported, ClaimRetracted))
            some_day = {"effective_on": "2000-01-01"} if undated else {}
            self._tell(taker, {**some_day, **body, "event": _INNOCENT[kind]})
            self._tell(taker, {"event": body["event"], "effective_on": "2000-01-01"})
        return None

    def _tell(self, taker: Any, body: dict[str, Any]) -> None:
        told: set[str] = set()
        while True:
            try:
                taker.decode_one(msgspec.json.encode(body))
            except Invalid as error:
                more = [fault for fault in error.field_errors if fault.pointer not in told]
                for fault in more:
                    self.fault(self._column(fault.pointer), f"{_said(fault.pointer)}{fault.detail}")
                    _remove_at(body, fault.pointer)
                    told.add(fault.pointer)
                if more:
                    continue
            return

    def _column(self, pointer: str) -> str:
        """The column that a pointer into the announcement leads to; the row's type where it is missing."""
        parts = [p for p in pointer.split("/")[1:] if not p.isdecimal()]
        if parts[:1] == ["event"]:
            parts = parts[1:]
        elif parts[:1] == ["sources"]:
            number = pointer.split("/")[2]
            parts[0] = "source" if number == "0" else f"source{int(number) + 1}"
        while parts:
            path = ".".join(parts)
            of_event = f"event.{path}" if pointer.startswith("/event/") and path in ROW_COLUMNS else path
            if of_event in self.cells:
                return of_event
            below = next((name for name in self.cells if name.startswith(f"{path}.")), None)
            if below is not None:
                return below
            parts.pop()
        return "type"


def _said(pointer: str) -> str:
    field = pointer.rsplit("/", 1)[-1]
    return f"{field} " if field and not field.isdecimal() else ""


def _put(target: dict[str, Any], path: str, value: Any) -> None:
    *outer, last = path.split(".")
    for name in outer:
        target = target.setdefault(name, {})
    target[last] = value


_INNOCENT: dict[StreamKind, dict[str, Any]] = {
    "deal": {"type": "site_dropped", "site": "x"},
    "organization": {"type": "parent_ended", "parent": "x"},
}

# What names a thing is required: it is not taken out, but given a name that is one.
_NAMES = {"pledge", "site", "milestone", "claim", "condition", "organization", "deal", "parent", "into"}


def _remove_at(target: Any, pointer: str) -> None:
    """Takes out what a pointer leads to, so that what comes behind it can be looked at."""
    *outer, last = pointer.split("/")[1:] or [""]
    for name in outer:
        target = target[int(name)] if isinstance(target, list) else target.get(name, {})
    if isinstance(target, list):
        target[int(last)] = "x"
    elif last in _NAMES:
        target[last] = "x"
    else:
        target.pop(last, None)


# --- the template -----------------------------------------------------------------------------------------------------

HEADERS: Mapping[str, tuple[str, ...]] = {
    "Announcements": ("deal", "type", "effective_on"),
    "Organizations": ("organization", "type", "effective_on"),
}
SOURCE_COLUMNS = ("source.publisher", "source.url", "source.title", "source.language", "source.published_on")


def header(kind: StreamKind) -> list[str]:
    """The columns of an empty sheet: what says what a row is, who said so, then every field of the events."""
    fields = dict.fromkeys(path for event in types_of(kind).values() for path in columns_of(event))
    taken = {*ROW_COLUMNS}
    return [kind, "type", "effective_on", *SOURCE_COLUMNS, "note", *(f for f in fields if f not in taken)]


def template_csv() -> bytes:
    """An empty sheet for announcements of deals."""
    return ("\ufeff" + ",".join(header("deal")) + "\r\n").encode()


def template_xlsx() -> bytes:
    """An empty workbook: a sheet for deals, one for organizations, and one that explains every column."""
    made = io.BytesIO()
    book = xlsxwriter.Workbook(made, {"in_memory": True})
    bold = book.add_format({"bold": True})
    text = book.add_format({"num_format": "@"})
    for name, kind in (("Announcements", "deal"), ("Organizations", "organization")):
        sheet = book.add_worksheet(name)
        sheet.write_row(0, 0, header(kind), bold)  # type: ignore[arg-type]
        sheet.freeze_panes(1, 2)
        # As text, so that no program turns a figure or a date into another.
        sheet.set_column(0, len(header(kind)) - 1, 18, text)  # type: ignore[arg-type]
        sheet.data_validation(1, 1, 9999, 1, {"validate": "list", "source": "=Types!$A$1:$A$60"})
    types = book.add_worksheet("Types")
    for i, name in enumerate((*types_of("deal"), *types_of("organization"))):
        types.write_row(i, 0, [name, (EVENT_TYPES[name].__doc__ or "").partition("\n")[0]])
    columns = book.add_worksheet("Columns")
    columns.write_row(0, 0, ["column", "holds", "of"], bold)
    for i, (name, of) in enumerate(known_columns().items(), 1):
        columns.write_row(i, 0, [name, ROW_COLUMNS.get(name) or _holds(name, of), ", ".join(of) or "every row"])
    columns.set_column(0, 1, 40)
    book.close()
    return made.getvalue()


def _holds(name: str, of: Sequence[str]) -> str:
    kind = columns_of(EVENT_TYPES[of[0]])[name] if of else "text"
    return {
        "text": "text",
        "whole": "a whole number",
        "list": "names parted by ;",
        "amount": "an amount as the press writes it: more than $5 billion, 약 2조4천억 원",
        "each": "one value for all, or one each, parted by ;",
        "claim": "an amount where the field is one, else text or a whole number",
    }[kind]
