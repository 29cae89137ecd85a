"""Drafts a mapping for a sheet: its columns with their types, what they may mean, and which have no place yet.

`sheet_columns.py` reads the columns, `draft_key.py` chooses the key and the title, and `column_meanings.py` guesses
what names and texts mean. The lines of a draft are written here, in their order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice

from msgspec import Struct

from registry.i18n import Label
from registry.imports import korean, values
from registry.imports.column_meanings import (
    REPEATED,
    meaning_of,
    name_of_field,
    role_of,
    stage_of,
    unit_line_of,
    unit_of,
)
from registry.imports.draft_key import choose_key, choose_title, possible_titles
from registry.imports.messages import ImportText
from registry.imports.sheet_columns import SheetColumn, choose_table, is_us_state, most, sample_columns
from registry.imports.workbook import MAX_PREAMBLE_ROWS, Sheet, Table


class Draft(Struct):
    """A mapping as text, and what was guessed for it."""

    mapping: str
    guesses: list[ImportText]


def describe(
    sheets: Sequence[Sheet], header_row: int | None = None, name: str = "", encoding: str | None = None
) -> Draft:
    """Draft a mapping for a sheet.

    Args:
        sheets: The sheets of the files.
        header_row: The number of the header's row, if it is known.
        name: A part of the sheet's name. By default, the sheet with the fullest table is described.
        encoding: The encoding of the files, if it was named.
    """
    found = choose_table(sheets, header_row, name)
    if found is None:
        return Draft("", [ImportText("no-rows")])
    sheet, table = found
    draft = _Drafter(sheet, table, header_row, is_only=len(sheets) == 1, encoding=encoding).draft()
    if len(sheets) > 1:
        draft.guesses.insert(0, ImportText("guessed-sheet", sheet=sheet.name, total=len(sheets)))
    return draft


class _Drafter:
    """Writes the draft."""

    def __init__(
        self, sheet: Sheet, table: Table, header_row: int | None, *, is_only: bool, encoding: str | None
    ) -> None:
        self.sheet = sheet
        self.encoding = encoding
        self.is_only = is_only
        self.table = table
        self.header_row = header_row
        self.columns, self.decimal = sample_columns(table)
        self.guesses: list[ImportText] = []
        self.by_meaning: dict[str, list[SheetColumn]] = {}

    def draft(self) -> Draft:
        """The mapping and its guesses."""
        key, self.guesses = choose_key(self.sheet, self.table, self.columns)
        title, is_named = choose_title(self.columns, key)
        found = self.sheet.table(lambda cells: all(column.name in cells for column in key))
        if found is not None and found.header_row != self.table.header_row:
            # A row above the header has the name of the key too: a header of two rows.
            self.header_row = self.table.header_row
        for column in self.columns:
            # A column of a combined key may have a meaning of its own, such as the city; that of a company always has.
            is_free = (column is not title or not is_named) and [column] != key
            self._assign(column, is_free=is_free)
        text = "\n".join(self._lines(key, title)) + "\n"
        for column in self.columns:
            self.guesses += self._guesses_of(column, key, title)
        return Draft(text, self.guesses)

    def _assign(self, column: SheetColumn, *, is_free: bool) -> None:
        """Give a column the meaning that its name has, unless another column has it, or it is the key or the title."""
        meaning = meaning_of(column.name, column.kind)
        if meaning is None or not (is_free or meaning == "party"):
            return
        if meaning in REPEATED or meaning not in self.by_meaning:
            self.by_meaning.setdefault(meaning, []).append(column)

    def _guesses_of(self, column: SheetColumn, key: list[SheetColumn], title: SheetColumn) -> Iterator[ImportText]:
        """What a column was taken for, or that it has no place in the mapping."""
        meanings = [meaning for meaning, columns in self.by_meaning.items() if column in columns]
        if [column] == key or (column in key and column is not title and not meanings):
            meanings.insert(0, "deal.key")
        elif column is title and not meanings:
            meanings = ["deal.title"]
        for meaning in meanings:
            yield ImportText("guessed", column=column.name, field=name_of_field(meaning))
        if not meanings and column.filled:
            yield ImportText("without-place", column=column.name, kind=Label(f"column_kind/{column.kind}"))

    def _above(self) -> list[str]:
        """The texts above the rows of the table."""
        above = islice(self.sheet.rows(), MAX_PREAMBLE_ROWS)
        return [text for row in above if row.number <= self.table.header_row for text in row.cells if text]

    def _lines(self, key: list[SheetColumn], title: SheetColumn) -> Iterator[str]:
        name = values.slugify(self.table.name)[:15].strip("-")
        draft = f"A draft for the sheet '{self.table.name}'. Check each line; docs/import.md explains them."
        yield f"# {_in_one_line(draft)}"
        yield "#"
        for column in self.columns:
            examples = ", ".join(column.examples)
            found = f"{column.name}: {column.kind}, {column.distinct} values, such as {examples}"
            yield f"#   {column.letter:>3}  {_in_one_line(found)}"
        yield ""
        yield f"scheme = {_string(name)}"
        if self.encoding is not None:
            yield f"encoding = {_string(self.encoding)}"
        places = self.by_meaning.get("site.place", ())
        if places and is_us_state(places[0]):
            yield 'country = "US"  # a guess'
        if words := sorted({text for column in self.columns for text in column.empty_words}):
            yield f"empty = {json.dumps(words, ensure_ascii=False)}  # a guess"
        if forms := sorted({column.dates for column in self.columns if column.dates}):
            yield f"dates = {json.dumps(forms)}"
        if self.decimal != ".":
            yield f"decimal = {_string(self.decimal)}"
        yield from self._sheet()
        yield from ("", "[[source]]", f"publisher = {_string(self.table.name)}", f"title = {_string(self.table.name)}")
        for column in self.by_meaning.get("source.url", ()):
            yield from ("", "[[source]]", f"url = {_from(column)}")
        yield from self._deal(key, title, f"{name}-")
        axes = {meaning: found for meaning, found in self.by_meaning.items() if meaning.startswith("classifications.")}
        if axes:
            yield from ("", "[deal.classifications]")
            yield from (f"{meaning.partition('.')[2]} = {_from(found[0])}" for meaning, found in axes.items())
        yield from self._blocks()

    def _deal(self, key: list[SheetColumn], title: SheetColumn, slug: str) -> Iterator[str]:
        together = ", ".join(f"{{{column.name}}}" for column in key)
        named = _string(key[0].name) if len(key) == 1 else f"{{ text = {_string(together)} }}  # a guess"
        yield from ("", "[deal]", f"key = {named}", f"slug = {_string(slug)}")
        if len(key) > 1 and title in key:
            # The title alone would be that of several deals.
            yield f"title = {{ text = {_string(together)} }}"
        elif [title] == key or (possible_titles([title]) and title.filled + len(title.empty_words) >= key[0].filled):
            yield f"title = {_from(title)}"
        else:
            # Where the column is empty or names a company, the deal has its key as title, too.
            yield f"title = {{ text = {_string(f'{{{title.name}}} ({together})')} }}"
        yield 'kind = "investment"'
        for column in self.by_meaning.get("deal.summary", ()):
            yield f"summary = {_from(column)}  # a guess: everybody can read it"
        if dates := self.by_meaning.get("effective_on"):
            yield f"effective_on = {_from(dates[0])}"

    def _sheet(self) -> Iterator[str]:
        if self.header_row is not None or not self.is_only:
            yield from ("", "[sheet]")
        if not self.is_only:
            yield f"name = {_string(self.sheet.name)}"
        if self.header_row is not None:
            yield f"header = {self.header_row}"

    def _blocks(self) -> Iterator[str]:
        for column in self.by_meaning.get("party", ()):
            split = f", split = {_string(column.separator)}" if column.separator else ""
            yield from ("", "[[party]]", f"organization = {{ column = {_string(column.name)}{split} }}")
            yield f"role = {_string(role_of(column.name))}"
        site = {meaning: found[0] for meaning, found in self.by_meaning.items() if meaning.startswith("site.")}
        if site:
            yield from ("", "[[site]]", 'site = "site"')
            place = site.get("site.place")
            if place is not None and "site.address" not in site and _has_korean_addresses(place):
                yield f"address = {_from(place)}"
            yield from (
                f"{meaning.partition('.')[2]} = {_of_site(meaning, column)}" for meaning, column in site.items()
            )
        yield from self._pledges()
        metrics = {meaning: found for meaning, found in self.by_meaning.items() if meaning.startswith("metric.")}
        for meaning, found in metrics.items():
            yield from ("", "[[metric]]", f"metric = {_string(meaning.partition('.')[2])}")
            yield from ('basis = "planned"  # a guess', f"value = {_from(found[0])}")
        for i, column in enumerate(self.by_meaning.get("milestone.planned", ()), 1):
            yield from ("", "[[milestone]]", f"milestone = {_string(f'milestone-{i}')}")
            yield from ('kind = "operations_started"  # a guess', f"planned = {_from(column)}")
        for column in self.by_meaning.get("status", ()):
            yield from (
                "",
                "[[status]]",
                f"stage = {{ column = {_string(column.name)}, table = {{ {_stages(column)} }} }}",
            )

    def _pledges(self) -> Iterator[str]:
        for column in self.by_meaning.get("pledge.amount", ()):
            yield from ("", "[[pledge]]", 'pledge = "total"')
            factor, currency = unit_of(column.name)
            line = unit_line_of(self._above()) if (factor, currency) == (None, None) else None
            if line is not None:
                factor, currency = unit_of(line)
            times = f', times = "{factor}"' if factor is not None else ""
            guess = f"  # {_in_one_line(line)}" if line is not None else ""
            yield f"amount = {{ column = {_string(column.name)}{times} }}{guess}"
            if column.kind == "number":
                likely = "KRW" if re.search("[가-힣]", column.name) else "USD"
                yield f'currency = "{currency or likely}"' + (guess if currency else "  # a guess")


def _stages(column: SheetColumn) -> str:
    """The column's values with the stages that they may mean. A value without a guess refuses its rows."""
    stages = {text: stage_of(text) for text in column.values or column.examples}
    return ", ".join(f"{_string(text)} = {_string(stage)}" for text, stage in stages.items() if stage is not None)


def _of_site(meaning: str, column: SheetColumn) -> str:
    """A field of a site. Its power is in megawatts; of a Korean address, its place is the province."""
    if meaning == "site.place" and _has_korean_addresses(column):
        return f"{{ column = {_string(column.name)}, remove = {_string(_AFTER_PROVINCE)} }}"
    factors = (
        factor
        for unit, factor in (("kw", "0.001"), ("gw", "1000"))
        if re.search(rf"\b{unit}\b", column.name, re.IGNORECASE)
    )
    factor = next(factors, None) if meaning == "site.power_mw" else None
    return f'{{ column = {_string(column.name)}, times = "{factor}" }}' if factor is not None else _from(column)


_AFTER_PROVINCE = r"\s.*"


def _has_korean_addresses(column: SheetColumn) -> bool:
    """Whether most texts are addresses in Korea that begin with the province, such as 울산광역시 남구."""

    def is_address(text: str) -> bool:
        province, _, rest = text.partition(" ")
        return bool(rest) and korean.place_of(province) is not None

    return most(column.values or column.examples, is_address)


def _from(column: SheetColumn) -> str:
    return f"{{ column = {_string(column.name)} }}"


def _in_one_line(text: str) -> str:
    """A text for a comment, which ends with its line and has no control characters."""
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
