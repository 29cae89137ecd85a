"""Deals, pledges and events as tables, for spreadsheets and data frames: their columns, and the files they become.

A row says no more than the JSON does, and a cell that nobody stated is empty, never zero. Amounts are exact decimals
and stay text, so that no reader rounds them. Nothing here asks anything: rows go in, bytes come out, page by page.
"""

from __future__ import annotations

import asyncio
import csv
import importlib.util
import io
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol

import msgspec
import xlsxwriter

Kind = Literal["deals", "pledges", "events"]
Row = dict[str, Any]
Page = Sequence[Row]

# What a sheet of Excel holds: rows, and characters in a cell.
SHEET_ROWS = 1_048_576
CELL = 32_767

CHUNK_BYTES = 2**16

# As it is: of the log's events a file shows what was said, and nothing beside it.
encode = msgspec.json.Encoder().encode

COLUMNS: dict[Kind, tuple[str, ...]] = {
    "deals": (
        "deal",
        "title_en",
        "title_ko",
        "kind",
        "stage",
        "stage_basis",
        "stage_since",
        "sectors",
        "organizations",
        "places",
        "amounts",
        "relations",
    ),
    "pledges": (
        "deal",
        "title_en",
        "title_ko",
        "stage",
        "pledge",
        "status",
        "commitment",
        "amount_basis",
        "qualifier",
        "value",
        "low",
        "high",
        "currency",
        "wording",
        "stated_as",
        "by",
        "announced_on",
        "until",
    ),
    "events": (
        "position",
        "recorded_at",
        "recorded_by",
        "deal",
        "organization",
        "version",
        "id",
        "type",
        "effective_on",
        "published_on",
        "event",
        "sources",
        "note",
        "erased",
        "leaf_hash",
    ),
}


def rows(kind: Kind, found: Iterable[Any]) -> list[Row]:
    """The rows of deals as a list shows them, or of events as the log does: of pledges as many as a deal has."""
    match kind:
        case "deals":
            return [_deal(deal) for deal in found]
        case "pledges":
            return [row for deal in found for row in _pledges(deal)]
        case "events":
            return [_event(event) for event in found]


def _deal(deal: Row) -> Row:
    title, stage = deal.get("title") or {}, deal.get("stage") or {}
    return {
        "deal": deal["deal"],
        "title_en": title.get("en"),
        "title_ko": title.get("ko"),
        "kind": deal.get("kind"),
        "stage": stage.get("value"),
        "stage_basis": stage.get("basis"),
        "stage_since": stage.get("since"),
        "sectors": _listed(deal.get("sectors", ())),
        "organizations": _listed(deal.get("organizations", ())),
        "places": _listed(deal.get("places", ())),
        "amounts": _listed(_amount_note(pledge) for pledge in deal.get("pledges", ()) if pledge.get("amount")),
        "relations": _listed(f"{r['relation']} {r['deal']}" for r in deal.get("relations") or ()),
    }


def _pledges(deal: Row) -> list[Row]:
    shared = {name: value for name, value in _deal(deal).items() if name in COLUMNS["pledges"]}
    found = []
    for pledge in deal.get("pledges", ()):
        amount = pledge.get("amount") or {}
        stated = (f"{other['currency']} {other['value']}" for other in amount.get("stated_as", ()))
        found.append(
            {
                **shared,
                **{name: pledge.get(name) for name in ("pledge", "status", "commitment", "amount_basis")},
                **{name: amount.get(name) for name in ("qualifier", "value", "low", "high", "currency", "wording")},
                "stated_as": _listed(stated),
                "by": _listed(pledge.get("by", ())),
                "announced_on": pledge.get("announced_on"),
                "until": pledge.get("until"),
            }
        )
    return found


def _event(event: Row) -> Row:
    found = {name: event.get(name) for name in COLUMNS["events"]}
    return {**found, "event": _json(event["event"]), "sources": _json(event["sources"])}


def _amount_note(pledge: Row) -> str:
    """A pledge's amount in a word, with everything that keeps it from being added up unseen."""
    amount = pledge["amount"]
    numbers = amount.get("value") or " to ".join(n for n in (amount.get("low"), amount.get("high")) if n)
    parts = (amount.get("qualifier"), amount["currency"], numbers, pledge.get("amount_basis"), pledge.get("commitment"))
    withdrawn = "withdrawn" if pledge["status"] == "withdrawn" else None
    return f"{pledge['pledge']}: {' '.join(p for p in (*parts, withdrawn) if p)}"


def _listed(items: Iterable[str]) -> str | None:
    return "; ".join(items) or None


def _json(value: Any) -> str | None:
    return encode(value).decode() if value else None


# --- files ------------------------------------------------------------------------------------------------------------


class TableWriter(Protocol):
    """A file that is written page by page. What `write` and `end` answer with is the next part of it.

    `drop` is called last, also when the file was not wanted to its end.
    """

    def write(self, page: Page) -> bytes:
        """The next rows."""
        ...

    def end(self) -> Iterator[bytes]:
        """The rest of the file."""
        ...

    def discard(self) -> None:
        """Lets go of what it holds."""
        ...


class Csv:
    """RFC 4180, UTF-8. A text that a spreadsheet would run as a formula begins with an apostrophe."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._begun = False

    def write(self, page: Page) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text)
        if not self._begun:
            writer.writerow(self._columns)
            self._begun = True
        writer.writerows([_escape_formula(row[name]) for name in self._columns] for row in page)
        return text.getvalue().encode()

    def end(self) -> Iterator[bytes]:
        yield self.write(())

    def discard(self) -> None:
        pass


def _escape_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


class Xlsx:
    """Office Open XML, in sheets of as many rows as there may be; written to a file without a name, row by row."""

    def __init__(self, columns: Sequence[str], title: str = "sheet") -> None:
        self._columns = columns
        self._title = title
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by drop()
        options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
        self._book = xlsxwriter.Workbook(self._file, options)
        self._bold = self._book.add_format({"bold": True})
        self._sheets = 0
        self._row = SHEET_ROWS

    def _next_row(self) -> int:
        if self._row >= SHEET_ROWS:
            self._sheets += 1
            self._sheet = self._book.add_worksheet(
                self._title if self._sheets == 1 else f"{self._title} {self._sheets}"
            )
            self._sheet.freeze_panes(1, 0)
            for column, name in enumerate(self._columns):
                self._sheet.set_column(column, column, 12 + len(name) // 2)
                self._sheet.write_string(0, column, name, self._bold)
            self._row = 1
        self._row += 1
        return self._row - 1

    def write(self, page: Page) -> bytes:
        for row in page:
            at = self._next_row()
            for column, name in enumerate(self._columns):
                value = row[name]
                if isinstance(value, (int, bool)):
                    self._sheet.write(at, column, value)
                elif value is not None:
                    text = str(value)
                    self._sheet.write_string(at, column, text if len(text) <= CELL else f"{text[: CELL - 1]}…")
        return b""

    def end(self) -> Iterator[bytes]:
        if not self._sheets:
            self._next_row()
        self._book.close()
        yield from _chunks(self._file)

    def discard(self) -> None:
        if not self._book.fileclosed:
            # Its sheets stand in files of their own until then.
            self._book.close()
        self._file.close()


class Parquet:
    """Apache Parquet, a row group a page. Needs the library pyarrow (the extra `parquet`)."""

    def __init__(self, columns: Sequence[str]) -> None:
        import pyarrow
        import pyarrow.parquet

        whole, truth = ("position", "version"), ("erased",)
        kinds = {**dict.fromkeys(whole, pyarrow.int64()), **dict.fromkeys(truth, pyarrow.bool_())}
        self._schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in columns])
        self._batch = pyarrow.RecordBatch.from_pylist
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by drop()
        self._writer = pyarrow.parquet.ParquetWriter(self._file, self._schema)

    def write(self, page: Page) -> bytes:
        texts = [
            {name: value if isinstance(value, int) or value is None else str(value) for name, value in row.items()}
            for row in page
        ]
        if texts:
            self._writer.write_batch(self._batch(texts, schema=self._schema))
        return b""

    def end(self) -> Iterator[bytes]:
        self._writer.close()
        yield from _chunks(self._file)

    def discard(self) -> None:
        self._writer.close()
        self._file.close()


def has_parquet() -> bool:
    """Whether the library that Parquet needs is installed."""
    return importlib.util.find_spec("pyarrow") is not None


def _chunks(file: Any) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(CHUNK_BYTES):
        yield piece


MEDIA = {
    "csv": "text/csv",
    "ndjson": "application/x-ndjson",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
}

_TABLES: dict[str, Callable[[Kind], TableWriter]] = {
    "csv": lambda kind: Csv(COLUMNS[kind]),
    "xlsx": lambda kind: Xlsx(COLUMNS[kind], kind),
    "parquet": lambda kind: Parquet(COLUMNS[kind]),
}


def _pledges_of(page: Sequence[Any]) -> list[Row]:
    """Each pledge as the deal's JSON has it, under the deal's name."""
    return [
        {"deal": deal["deal"], **pledge} for deal in msgspec.json.decode(encode(page)) for pledge in deal["pledges"]
    ]


def _forget(done: asyncio.Future[Any], table: TableWriter) -> None:
    if not done.cancelled():
        done.exception()  # looked at, since nobody else will
    table.discard()


async def file(kind: Kind, form: str, pages: AsyncIterator[Sequence[Any]]) -> AsyncIterator[bytes]:
    """The file's parts, as its pages come. NDJSON is the JSON itself, a line each."""
    if form == "ndjson":
        async for page in pages:
            lines = _pledges_of(page) if kind == "pledges" else page
            yield b"".join(encode(one) + b"\n" for one in lines)
        return
    table = _TABLES[form](kind)
    working: asyncio.Future[Any] | None = None
    try:
        async for page in pages:
            # Through JSON, so that every form shows the same values in the same spelling. In a thread: a page takes
            # some milliseconds and the end of a large file seconds, for which nobody else should wait.
            found = rows(kind, msgspec.json.decode(encode(page)))
            working = asyncio.ensure_future(asyncio.to_thread(table.write, found))
            if part := await asyncio.shield(working):
                yield part
        parts = table.end()
        while True:
            working = asyncio.ensure_future(asyncio.to_thread(next, parts, b""))
            part = await asyncio.shield(working)
            if not part:
                break
            yield part
    finally:
        # Who asked may have gone while a thread is at work, and a thread cannot be stopped: it drops the file itself.
        if working is None or working.done():
            table.discard()
        else:
            working.add_done_callback(lambda done: _forget(done, table))
