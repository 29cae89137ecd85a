"""The first rows of uploaded sheets: the page shows them, and previews a mapping with them without reading the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from registry.imports import describe, workbook
from registry.imports.mapping import Mapping
from registry.imports.sheet_columns import choose_table
from registry.imports.tracker.cells import CellReader, JoinedRows
from registry.imports.tracker.plan import joined_rows, open_table
from registry.imports.tracker.rows import RowReader, StatedDeal
from registry.imports.workbook import CellError, Sheet, SheetRow, Table
from registry.web.imports.jobs import Job, Texts, in_each_language

MAX_ROWS = 200
MAX_CELLS = 20_000
MAX_SHEETS = 20
MAX_UNPACKED_BYTES = 2**30
"""Bytes that an uploaded XLSX file may unpack to. Its sheets are read row by row."""

PREVIEWED_ROWS = 10


class SampledSheet(Struct, frozen=True):
    """The first rows of a sheet."""

    name: str
    rows: list[SheetRow]

    def sheet(self) -> Sheet:
        """The rows as a sheet."""
        return Sheet(self.name, lambda: iter(self.rows))


class Sample(Struct):
    """The first rows of the sheets of an import, and what was guessed about them."""

    sheets: list[SampledSheet]
    guesses: list[Texts]

    def as_sheets(self) -> list[Sheet]:
        """The sheets with their first rows."""
        return [sampled.sheet() for sampled in self.sheets]

    def table(self, mapping: Mapping | None, job: Job) -> Table | None:
        """The table that a mapping describes; without one, the one that was chosen, or the fullest."""
        sheets = self.as_sheets()
        if mapping is not None and (table := open_table(sheets, mapping)) is not None:
            return table
        chosen = choose_table(sheets, job.header, job.sheet)
        return chosen[1] if chosen is not None else None


class PreviewedRow(Struct, frozen=True):
    """A row as announcements, or what is wrong in it; `stated` is None if the mapping leaves the row out."""

    number: int
    stated: StatedDeal | None
    errors: Sequence[CellError] = ()


def take_sample(files: Sequence[Path], name: str, header: int | None, encoding: str | None) -> tuple[Sample, str]:
    """The sample of sheets, and the draft of a mapping for one of them.

    Raises:
        UnreadableSheet: A file is not a sheet.
    """
    with workbook.open_sheets(files, MAX_UNPACKED_BYTES, encoding) as sheets:
        sampled = [SampledSheet(sheet.name, list(_first_rows(sheet))) for sheet in sheets[:MAX_SHEETS]]
        draft = describe.describe(sheets, header, name, encoding)
        notes = [*workbook.encodings_read(sheets), *draft.guesses]
    return Sample(sampled, [in_each_language(note) for note in notes]), draft.mapping


def _first_rows(sheet: Sheet) -> Iterator[SheetRow]:
    cells = 0
    for row in sheet.rows():
        cells += len(row.cells)
        if row.number > MAX_ROWS or cells > MAX_CELLS:
            return
        yield row


def read_sample(file: Path) -> Sample:
    """The sample that was kept."""
    return msgspec.json.decode(file.read_bytes(), type=Sample)


def preview(sample: Sample, mapping: Mapping, job: Job) -> list[PreviewedRow] | None:
    """The first rows as announcements; None if no sheet has the columns of the mapping's key."""
    sheets = sample.as_sheets()
    table = open_table(sheets, mapping)
    if table is None:
        return None
    joined: dict[str, JoinedRows] = joined_rows(sheets, mapping, table)
    reader = RowReader(CellReader(mapping, table, joined, job.published_on))
    rows = []
    for row in table.rows:
        stated = reader.read(row)
        if stated is not None and not stated.errors:
            reader.state_facts(stated)
        rows.append(PreviewedRow(row.number, stated, stated.errors if stated is not None else ()))
        if len(rows) == PREVIEWED_ROWS:
            break
    return rows
