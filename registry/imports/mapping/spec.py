"""The parts of a mapping: where a value comes from, which rows are left out, and what a change of a value means."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from registry.events.values import Certainty, Scheme, Stage
from registry.imports.mapping.fields import MappedField

Policy = Literal["world", "correction", "ask", "leave"]
"""What a changed value of a newer edition is: a change of the world, a correction of what was recorded, a question for
an editor, or nothing."""

Names = tuple[str, ...]


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a mapping file."""


class ColumnValue(Part, frozen=True):
    """A value from a column.

    Attributes:
        column: The names that the column has had; the first one that the sheet has is read.
        join: The name of a joined sheet, if the column is there.
        table: What the column's texts mean. A text that is not in it is an error.
        default: What an empty cell means.
        empty: Texts that mean the same as an empty cell.
        split: A regular expression that separates the items of a cell.
        only: A regular expression that an item must contain; other items are left out.
        remove: A regular expression for the parts of an item that are removed.
        times: A factor, such as "1000000" for a column of millions.
        dates: The formats of the column's dates.
        country: The country whose subdivisions the column's codes and names are.
        on_change: What a changed value in a newer edition is.
    """

    column: Names
    join: str | None = None
    table: dict[str, Any] | None = None
    default: Any = None
    empty: Names = ()
    split: str | None = None
    only: str | None = None
    remove: str | None = None
    times: Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?$")] | None = None
    dates: Names = ()
    country: str | None = None
    on_change: Policy | None = None


class TextValue(Part, frozen=True):
    """A text with the values of columns in it: `{Company}: {Product}`."""

    text: str
    on_change: Policy | None = None


class Constant(Part, frozen=True):
    """The same value in every row."""

    value: Any


Value = ColumnValue | TextValue | Constant


class Leaf(Struct, frozen=True):
    """A field of an event and where its value comes from. `key` is the mapping's key, for messages."""

    path: tuple[str, ...]
    field: MappedField
    value: Value
    key: str


class Condition(Part, frozen=True):
    """What the cell of a column must be; with several tests, all of them must hold.

    Attributes:
        column: The names that the column has had.
        equals: The cell's text is one of these.
        differs: The cell's text is none of these.
        empty: Whether the cell is empty.
        future: Whether the date in the cell is after the sheet's publication.
    """

    column: Names
    join: str | None = None
    equals: Names = ()
    differs: Names = ()
    empty: bool | None = None
    future: bool | None = None


class Join(Part, frozen=True):
    """Another sheet, whose rows belong to the deal that their `key` names.

    If it has several rows for a deal, the one with the largest number in the column `largest` is read, else the last.

    Attributes:
        sheet: A part of the sheet's or its file's name.
        key: The column with the deal's key or name.
        matches: The columns of the main sheet that it may name. Default: the key.
        largest: The column that decides which of several rows is read.
    """

    sheet: str
    key: Names
    matches: Names = ()
    largest: Names = ()


class SheetOptions(Part, frozen=True):
    """Which sheet is read: a part of its own or its file's name (default: the first that has the key's columns).

    `header` is the number of the header's row; by default, it is the first row with the key's columns.
    """

    name: str = ""
    header: Annotated[int, Meta(ge=1, le=1000)] | None = None


class Gone(Part, frozen=True):
    """What a row that a newer edition no longer has means: that the deal was observed in a stage."""

    stage: Stage
    certainty: Certainty = "suspected"


class Block(Struct, frozen=True):
    """A block of a mapping, such as `[[pledge]]`: the values of an event's fields.

    Attributes:
        kind: The block's name.
        at: The block's place in the file, such as `pledge[0]`.
        leaves: The fields of the event.
        effective_on: The effective date; None stands for the deal's, or for the day of publication.
        when: The block applies to rows that meet all of these conditions.
    """

    kind: str
    at: str
    leaves: tuple[Leaf, ...]
    effective_on: Leaf | None = None
    when: tuple[Condition, ...] = ()
    on_change: Policy | None = None


class Mapping(Struct, frozen=True, kw_only=True):
    """A mapping file.

    Attributes:
        scheme: The scheme of the deals' identifiers.
        digest: Eight characters that stand for the file's text.
        language: The language of texts without Hangul.
        encoding: The encoding of CSV files; by default, it is found out.
        key: What identifies a deal: a column, or a text with columns.
        slug: What the slugs of new deals begin with.
        sources: The sources of each row; the first one is the sheet itself.
        published_on: The day of the sheet's publication, if it is the same for all rows.
    """

    scheme: Scheme
    digest: str
    key: ColumnValue | TextValue
    slug: str
    sources: tuple[tuple[Leaf, ...], ...]
    blocks: tuple[Block, ...]
    language: str = "en"
    encoding: str | None = None
    country: str | None = None
    dates: Names = ("%Y-%m-%d",)
    decimal: Literal[".", ","] = "."
    empty: Names = ()
    sheet: SheetOptions = SheetOptions()
    joins: dict[str, Join] = {}
    skip: tuple[Condition, ...] = ()
    gone: Gone | None = None
    effective_on: Leaf | None = None
    published_on: date | None = None

    @property
    def key_columns(self) -> tuple[Names, ...]:
        """The columns of the key, each by the names that it has had."""
        if isinstance(self.key, ColumnValue):
            return (self.key.column,)
        return tuple((name,) for name in placeholders(self.key.text))


def placeholders(text: str) -> list[str]:
    """The columns that a text names: `{Company}: {Product}`."""
    return re.findall(r"\{([^{}]+)\}", text)
