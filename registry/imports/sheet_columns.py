"""The table of a sheet, and what its columns hold, as far as the first rows show."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice

from msgspec import Struct, field

from registry.imports import values
from registry.imports.column_meanings import EMPTY_WORDS
from registry.imports.values import ValueProblem
from registry.imports.workbook import MAX_PREAMBLE_ROWS, Sheet, SheetRow, Table, header_of, named_first

SAMPLE_ROWS = 2000
COMPARED_ROWS = 100
"""Rows by which the sheets of a workbook are compared."""
MAX_DISTINCT = 25
LIKELY = 0.6
"""A column holds what most of its cells hold; the others may be wrong, or words such as `unknown`."""
DATE_FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%b %d, %Y", "%d %B %Y")

_SEPARATORS = (";", r"\|", r",(?=\S)")
"""What separates the items of a cell. A comma and a space may be a part of a name: `Alpha, Inc.`"""


class SheetColumn(Struct):
    """What a column holds, as far as the first rows show."""

    name: str
    letter: str
    filled: int
    distinct: int
    kind: str
    examples: list[str]
    dates: str = ""
    separator: str = ""
    values: list[str] = field(default_factory=list)
    empty_words: list[str] = field(default_factory=list)
    is_unique: bool = False


def choose_table(sheets: Sequence[Sheet], header_row: int | None = None, name: str = "") -> tuple[Sheet, Table] | None:
    """The sheet with the fullest table among those whose name has a part, and its table."""
    named = named_first(sheets, name)
    if named and (named[0].name.casefold() == name.casefold() or len(named) == 1):
        table = _table(named[0], header_row)
        return (named[0], table) if table is not None else None
    best = max(named, key=lambda sheet: _filled_cells(_table(sheet, header_row)), default=None)
    table = _table(best, header_row) if best is not None else None
    return (best, table) if best is not None and table is not None else None


def _table(sheet: Sheet, header_row: int | None) -> Table | None:
    return sheet.table(header_row=header_row) if header_row is not None else guess_table(sheet)


def _filled_cells(table: Table | None) -> int:
    return sum(sum(map(bool, row.cells)) for row in islice(table.rows, COMPARED_ROWS)) if table is not None else 0


def guess_table(sheet: Sheet) -> Table | None:
    """The table of a sheet. Its header is the first of the widest rows at the start."""
    start = list(islice(sheet.rows(), MAX_PREAMBLE_ROWS))
    if not start:
        return None
    widths = [sum(map(bool, row.cells)) for row in start]
    # A row that continues the one above it, as in a header of two rows, has the width of both.
    both = [sum(map(bool, header_of(row, above))) for row, above in zip(start, [None, *start], strict=False)]
    first = next(i for i, width in enumerate(widths) if width >= 0.8 * max(widths))
    is_continued = first + 1 < len(start) and not _is_data(start[first + 1]) and both[first + 1] > widths[first]
    return sheet.table(header_row=start[first + is_continued].number)


def _is_data(row: SheetRow) -> bool:
    """Whether a row has a number or a date: a header has neither."""
    texts = [text for text in row.cells if text]
    return any(reads(values.parse_number, text) or reads(values.loose_date, text, DATE_FORMATS) for text in texts)


def is_of_totals(row: SheetRow) -> bool:
    """Whether a row adds up others, or is a footnote."""
    return values.is_total(next(filter(None, row.cells)))


def sample_columns(table: Table) -> tuple[list[SheetColumn], str]:
    """The columns of a table, and the decimal sign of its numbers."""
    rows = [row for row in islice(iter(table.rows), SAMPLE_ROWS) if not is_of_totals(row)]
    texts = {i: [row.cell(i) for row in rows] for i, name in enumerate(table.header) if name}
    decimal = max(".,", key=lambda sign: sum(_has_fractions(column, sign) for column in texts.values()))
    letters = {i: table.at(1, i).rpartition("!")[2].rstrip("1") for i in texts}
    return [_column(table.header[i], letters[i], column, decimal) for i, column in texts.items()], decimal


def _has_fractions(texts: Sequence[str], decimal: str) -> bool:
    """Whether most texts are numbers, and some of them have decimal places, with this decimal sign."""
    filled = [text for text in texts if text]
    fractions = any(re.search(rf"{re.escape(decimal)}(\d{{1,2}}|\d{{4,}})\Z", text) for text in filled)
    return fractions and most(filled, lambda text: reads(values.parse_number, text, decimal))


def _column(name: str, letter: str, texts: list[str], decimal: str) -> SheetColumn:
    empty_words = [text for text in dict.fromkeys(texts) if text.casefold() in EMPTY_WORDS]
    filled = [text for text in texts if text and text not in empty_words]
    counted = Counter(filled)
    kind, dates = _kind(filled, len(counted), decimal)
    return SheetColumn(
        name,
        letter,
        len(filled),
        len(counted),
        kind,
        [text[:40] for text, _ in counted.most_common(3)],
        dates,
        _separator(filled) if kind in ("text", "choice") else "",
        sorted(counted) if len(counted) <= MAX_DISTINCT else [],
        empty_words,
        is_unique=len(counted) == len(texts) > 1,
    )


def _separator(texts: Sequence[str]) -> str:
    """What separates the items of a column's cells, as a regular expression; empty if they have one item each."""
    counts = {sign: sum(re.search(sign, text) is not None for text in texts) for sign in _SEPARATORS}
    return next((sign for sign, count in counts.items() if count > len(texts) / 100), "")


def _kind(texts: list[str], distinct: int, decimal: str) -> tuple[str, str]:
    """The kind of a column's values and the format of its dates."""
    if not texts:
        return "empty", ""
    if most(texts, lambda text: re.match(r"https?://", text) is not None):
        return "url", ""
    if most(texts, lambda text: re.fullmatch(r"(19|20)\d\d(-\d\d)?", text, re.ASCII) is not None):
        return "date", ""  # Years and months are read in any case.
    has_digits = most(texts, lambda text: re.search(r"\d", text) is not None)
    for form in DATE_FORMATS if has_digits else ():
        if most(texts, lambda text, form=form: reads(values.loose_date, text, (form,)) and not text.isdecimal()):
            return "date", form
    if most(texts, lambda text: reads(values.parse_number, text, decimal)):
        return "number", ""
    if most(texts, lambda text: re.search(r"[$€₩£]|\b(USD|KRW|EUR)\b|[억조]", text) is not None):
        return "amount", ""
    return ("choice" if distinct <= MAX_DISTINCT and len(texts) >= 2 * distinct else "text"), ""


def is_us_state(column: SheetColumn) -> bool:
    """Whether most texts are US states: a bare code such as `CA` is read as a state only within the country."""
    return most(column.values or column.examples, lambda text: reads(values.place_code, text, "US"))


def most(texts: Sequence[str], test: object) -> bool:
    return sum(bool(test(text)) for text in texts) >= LIKELY * len(texts)  # type: ignore[operator]


def reads(parse: object, *arguments: object) -> bool:
    try:
        parse(*arguments)  # type: ignore[operator]
    except (ValueProblem, ValueError):
        return False
    return True
