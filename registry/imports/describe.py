"""Drafts a mapping for a sheet: its columns with their types, what they may mean, and which have no place yet.

What names and texts mean is guessed in `column_meanings.py`. The lines of a draft are written here, in their order;
hence the length of this file.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, islice

from msgspec import Struct, field

from registry.i18n import Label
from registry.imports import korean, values
from registry.imports.column_meanings import (
    DESCRIPTION,
    EMPTY_WORDS,
    REPEATED,
    TITLE,
    is_of_company,
    is_serial_number,
    meaning_of,
    name_of_field,
    rank_of_key,
    role_of,
    says_more,
    stage_of,
    unit_line_of,
    unit_of,
)
from registry.imports.messages import ImportText
from registry.imports.values import ValueProblem
from registry.imports.workbook import MAX_PREAMBLE_ROWS, Sheet, SheetRow, Table, header_of, named_first

SAMPLE_ROWS = 2000
COMPARED_ROWS = 100
"""Rows by which the sheets of a workbook are compared."""
MAX_DISTINCT = 25
MAX_PARTS = 12
"""Columns that are tried as parts of a combined key."""
MAX_CANDIDATES = 5
"""Combined keys of the first rows that are tried on the whole sheet."""
LIKELY = 0.6
"""A column holds what most of its cells hold; the others may be wrong, or words such as `unknown`."""
DATE_FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%b %d, %Y", "%d %B %Y")


MAX_ROWS_OF_TITLE = 4
"""Rows that a title has on average at most: a column of fewer names, such as a senator's, names something else."""


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


class Draft(Struct):
    """A mapping as text, and what was guessed for it."""

    mapping: str
    guesses: list[ImportText]


_SEPARATORS = (";", r"\|", r",(?=\S)")
"""What separates the items of a cell. A comma and a space may be a part of a name: `Alpha, Inc.`"""


def _named(columns: Sequence[SheetColumn]) -> list[SheetColumn]:
    """The columns that may be titles by their names, the likeliest first: names of companies after those of deals."""
    ordered = sorted(columns, key=lambda column: is_of_company(column.name))
    return [column for pattern in (TITLE, DESCRIPTION) for column in ordered if pattern.search(column.name)]


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
    return any(_reads(values.parse_number, text) or _reads(values.loose_date, text, DATE_FORMATS) for text in texts)


def is_of_totals(row: SheetRow) -> bool:
    """Whether a row adds up others, or is a footnote."""
    return values.is_total(next(filter(None, row.cells)))


def _columns(table: Table) -> tuple[list[SheetColumn], str]:
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
    return fractions and _most(filled, lambda text: _reads(values.parse_number, text, decimal))


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
    if _most(texts, lambda text: re.match(r"https?://", text) is not None):
        return "url", ""
    if _most(texts, lambda text: re.fullmatch(r"(19|20)\d\d(-\d\d)?", text, re.ASCII) is not None):
        return "date", ""  # Years and months are read in any case.
    has_digits = _most(texts, lambda text: re.search(r"\d", text) is not None)
    for form in DATE_FORMATS if has_digits else ():
        if _most(texts, lambda text, form=form: _reads(values.loose_date, text, (form,)) and not text.isdecimal()):
            return "date", form
    if _most(texts, lambda text: _reads(values.parse_number, text, decimal)):
        return "number", ""
    if _most(texts, lambda text: re.search(r"[$€₩£]|\b(USD|KRW|EUR)\b|[억조]", text) is not None):
        return "amount", ""
    return ("choice" if distinct <= MAX_DISTINCT and len(texts) >= 2 * distinct else "text"), ""


def _is_us_state(column: SheetColumn) -> bool:
    """Whether most texts are US states: a bare code such as `CA` is read as a state only within the country."""
    return _most(column.values or column.examples, lambda text: _reads(values.place_code, text, "US"))


def _most(texts: Sequence[str], test: object) -> bool:
    return sum(bool(test(text)) for text in texts) >= LIKELY * len(texts)  # type: ignore[operator]


def _reads(parse: object, *arguments: object) -> bool:
    try:
        parse(*arguments)  # type: ignore[operator]
    except (ValueProblem, ValueError):
        return False
    return True


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
        self.columns, self.decimal = _columns(table)
        self.guesses: list[ImportText] = []
        self.by_meaning: dict[str, list[SheetColumn]] = {}

    def draft(self) -> Draft:
        """The mapping and its guesses."""
        key = self._key()
        found = self.sheet.table(lambda cells: all(column.name in cells for column in key))
        if found is not None and found.header_row != self.table.header_row:
            # A row above the header has the name of the key too: a header of two rows.
            self.header_row = self.table.header_row
        texts = [column for column in self.columns if [column] != key and column.kind in ("text", "choice")]
        names = [column for column in _named(texts) if column.distinct * MAX_ROWS_OF_TITLE >= column.filled]
        companies = [column for column in texts if meaning_of(column.name, column.kind) == "party"]
        title = [*names, *companies, *key][0]
        for column in self.columns:
            # A column of a combined key may have a meaning of its own, such as the city; that of a company always has.
            is_free = (column is not title or not names) and [column] != key
            meaning = meaning_of(column.name, column.kind)
            if (
                meaning is not None
                and (is_free or meaning == "party")
                and (meaning in REPEATED or meaning not in self.by_meaning)
            ):
                self.by_meaning.setdefault(meaning, []).append(column)
        text = "\n".join(self._lines(key, title)) + "\n"
        used = (
            {title.name}
            | {column.name for column in key}
            | {c.name for columns in self.by_meaning.values() for c in columns}
        )
        for column in self.columns:
            if column.name in used:
                meanings = [m for m, columns in self.by_meaning.items() if column in columns]
                if [column] == key or (column in key and column is not title and not meanings):
                    meanings.insert(0, "deal.key")
                for meaning in meanings or ["deal.title"]:
                    self.guesses.append(ImportText("guessed", column=column.name, field=name_of_field(meaning)))
            elif column.filled:
                kind = Label(f"column_kind/{column.kind}")
                self.guesses.append(ImportText("without-place", column=column.name, kind=kind))
        return Draft(text, self.guesses)

    def _key(self) -> list[SheetColumn]:
        """The column that identifies each row, or the fewest columns that do so together."""
        numbered = [column for column in self.columns if column.kind == "number" and is_serial_number(column.name)]
        unique = [column for column in self.columns if column.is_unique and column not in numbered]
        ranks = {column.name: rank for column in unique if (rank := rank_of_key(column.name)) is not None}
        named = sorted((column for column in unique if column.name in ranks), key=lambda column: ranks[column.name])
        texts = [column for column in unique if column.kind in ("text", "choice")]
        titles = [column for column in _named(texts) if TITLE.search(column.name)]
        # A place, a status and the like are unique by chance.
        others = [
            column
            for column in texts
            if not says_more(column.name) and meaning_of(column.name, column.kind) in (None, "party")
        ]
        if found := [*named, *titles, *others]:
            return found[:1]
        if combined := self._combined_key():
            return combined
        last = [*texts, *numbered, *unique, *self.columns][:1]
        if last[0] not in unique:
            self.guesses.append(ImportText("no-unique-column"))
        return last

    def _combined_key(self) -> list[SheetColumn]:
        """The fewest columns that are unique together over the whole sheet; those that name things come first."""
        names = Counter(self.table.header)
        places = {
            column.name: place
            for place, name in enumerate(self.table.header)
            for column in self.columns
            if column.name == name
        }
        sample = list(islice(self._rows(), SAMPLE_ROWS))
        whole = [
            column
            for column in self.columns
            if column.filled == len(sample) and names[column.name] == 1 and not set("{}") & set(column.name)
        ]
        ranked = sorted((c for c in whole if _rank(c) is not None), key=lambda column: _rank(column) or 0)[:MAX_PARTS]
        candidates = [
            list(columns)
            for count in (2, 3)
            for columns in combinations(ranked, count)
            if _is_unique(sample, [places[column.name] for column in columns])
        ]
        for columns in candidates[:MAX_CANDIDATES]:
            if _is_unique(self._rows(), [places[column.name] for column in columns]):
                found = sorted(columns, key=lambda column: places[column.name])
                self.guesses.append(ImportText("guessed-key", columns=" + ".join(column.name for column in found)))
                return found
        return []

    def _rows(self) -> Iterable[SheetRow]:
        table = self.sheet.table(header_row=self.table.header_row)
        return (row for row in table.rows if not is_of_totals(row)) if table is not None else ()

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
        if places and _is_us_state(places[0]):
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
        elif [title] == key or (_named([title]) and title.filled + len(title.empty_words) >= key[0].filled):
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


_RANKS = ("deal.title", "party", "site.locality", "site.place", "", "effective_on", "milestone.planned")
"""What may be a part of a combined key, the best first: names, and dates if they do not suffice.

Amounts, quantities and states change from one edition to the next.
"""


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

    return _most(column.values or column.examples, is_address)


def _from(column: SheetColumn) -> str:
    return f"{{ column = {_string(column.name)} }}"


def _in_one_line(text: str) -> str:
    """A text for a comment, which ends with its line and has no control characters."""
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
