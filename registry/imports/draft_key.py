"""Choose the columns of a draft that identify each row, and the one that titles it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations, islice

from registry.imports.column_meanings import (
    DESCRIPTION,
    TITLE,
    is_of_company,
    is_serial_number,
    meaning_of,
    rank_of_key,
    says_more,
)
from registry.imports.messages import ImportText
from registry.imports.sheet_columns import SAMPLE_ROWS, SheetColumn, is_of_totals
from registry.imports.workbook import Sheet, SheetRow, Table

MAX_PARTS = 12
"""Columns that are tried as parts of a combined key."""
MAX_CANDIDATES = 5
"""Combined keys of the first rows that are tried on the whole sheet."""

MAX_ROWS_OF_TITLE = 4
"""Rows that a title has on average at most: a column of fewer names, such as a senator's, names something else."""

_RANKS = ("deal.title", "party", "site.locality", "site.place", "", "effective_on", "milestone.planned")
"""What may be a part of a combined key, the best first: names, and dates if they do not suffice.

Amounts, quantities and states change from one edition to the next.
"""


def choose_key(
    sheet: Sheet, table: Table, columns: Sequence[SheetColumn]
) -> tuple[list[SheetColumn], list[ImportText]]:
    """The column that identifies each row, or the fewest columns that do so together; and what was guessed for it."""
    numbered = [column for column in columns if column.kind == "number" and is_serial_number(column.name)]
    unique = [column for column in columns if column.is_unique and column not in numbered]
    ranks = {column.name: rank for column in unique if (rank := rank_of_key(column.name)) is not None}
    named = sorted((column for column in unique if column.name in ranks), key=lambda column: ranks[column.name])
    texts = [column for column in unique if column.kind in ("text", "choice")]
    titles = [column for column in possible_titles(texts) if TITLE.search(column.name)]
    # A place, a status and the like are unique by chance.
    others = [
        column
        for column in texts
        if not says_more(column.name) and meaning_of(column.name, column.kind) in (None, "party")
    ]
    if found := [*named, *titles, *others]:
        return found[:1], []
    if combined := _combined_key(sheet, table, columns):
        return combined, [ImportText("guessed-key", columns=" + ".join(column.name for column in combined))]
    last = [*texts, *numbered, *unique, *columns][:1]
    return last, [] if last[0] in unique else [ImportText("no-unique-column")]


def choose_title(columns: Sequence[SheetColumn], key: Sequence[SheetColumn]) -> tuple[SheetColumn, bool]:
    """The column that titles the rows, and whether it was found by its name."""
    texts = [column for column in columns if [column] != key and column.kind in ("text", "choice")]
    names = [column for column in possible_titles(texts) if column.distinct * MAX_ROWS_OF_TITLE >= column.filled]
    companies = [column for column in texts if meaning_of(column.name, column.kind) == "party"]
    return [*names, *companies, *key][0], bool(names)


def possible_titles(columns: Sequence[SheetColumn]) -> list[SheetColumn]:
    """The columns that may be titles by their names, the likeliest first: names of companies after those of deals."""
    ordered = sorted(columns, key=lambda column: is_of_company(column.name))
    return [column for pattern in (TITLE, DESCRIPTION) for column in ordered if pattern.search(column.name)]


def _combined_key(sheet: Sheet, table: Table, columns: Sequence[SheetColumn]) -> list[SheetColumn]:
    """The fewest columns that are unique together over the whole sheet; those that name things come first."""
    names = Counter(table.header)
    places = {
        column.name: place for place, name in enumerate(table.header) for column in columns if column.name == name
    }
    sample = list(islice(_rows(sheet, table), SAMPLE_ROWS))
    whole = [
        column
        for column in columns
        if column.filled == len(sample) and names[column.name] == 1 and not set("{}") & set(column.name)
    ]
    ranked = sorted((c for c in whole if _rank(c) is not None), key=lambda column: _rank(column) or 0)[:MAX_PARTS]
    candidates = [
        list(parts)
        for count in (2, 3)
        for parts in combinations(ranked, count)
        if _is_unique(sample, [places[column.name] for column in parts])
    ]
    for parts in candidates[:MAX_CANDIDATES]:
        if _is_unique(_rows(sheet, table), [places[column.name] for column in parts]):
            return sorted(parts, key=lambda column: places[column.name])
    return []


def _rows(sheet: Sheet, table: Table) -> Iterable[SheetRow]:
    whole = sheet.table(header_row=table.header_row)
    return (row for row in whole.rows if not is_of_totals(row)) if whole is not None else ()


def _rank(column: SheetColumn) -> int | None:
    """The place of a column among those of a combined key; None if it cannot be one."""
    is_title = column.kind in ("text", "choice") and TITLE.search(column.name)
    meaning = "deal.title" if is_title else (meaning_of(column.name, column.kind) or "")
    if meaning.startswith("classifications."):
        meaning = ""
    if meaning not in _RANKS or says_more(column.name) or (not meaning and column.kind not in ("text", "choice")):
        return None
    return _RANKS.index(meaning)


def _is_unique(rows: Iterable[SheetRow], places: Sequence[int]) -> bool:
    """Whether the cells at these places are filled and together differ in all rows. Only their hashes are kept."""
    seen: set[int] = set()
    for count, row in enumerate(rows, 1):
        texts = tuple(row.cell(place).casefold() for place in places)
        seen.add(hash(texts))
        if not all(texts) or len(seen) < count:
            return False
    return len(seen) > 1
