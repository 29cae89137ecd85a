"""The facts that a row states, each as an event with its effective date."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import date
from typing import Any
from uuid import UUID, uuid5

import msgspec
from msgspec import Struct, field

from registry.errors import FieldError
from registry.events import validation
from registry.events.edtf import last_day
from registry.events.intake import to_field_error
from registry.events.types import (
    Announcement,
    DealEvent,
    DealIdentified,
    Event,
    MilestoneReached,
    PartiesJoined,
)
from registry.events.values import ExternalIdentifier, Party, Source, decode_hook
from registry.imports import values
from registry.imports.announcements import NAMESPACE, content_id
from registry.imports.event_cells import put_at
from registry.imports.mapping.blocks import AMOUNT_PARTS, BLOCKS, BlockType
from registry.imports.mapping.spec import Block, ColumnValue, Leaf, Mapping, TextValue
from registry.imports.messages import ImportText
from registry.imports.tracker.cells import CellReader, RowCells
from registry.imports.values import ValueProblem
from registry.imports.workbook import CellError, SheetRow


class StatedFact(Struct, frozen=True):
    """What a row states: an event of the deal.

    Attributes:
        block: The mapping's block.
        event: The event that announces it.
        effective_on: Its effective date.
        is_dated: Whether the row states that date.
        date: The date as the row states it, where that is no day, such as a quarter. It is recorded as it is.
        fields: The fields that the row states, by their name in the event, with their place in the mapping.
    """

    block: Block
    event: Event
    effective_on: date
    is_dated: bool
    fields: dict[str, Leaf]
    date: str | None = None

    @property
    def type(self) -> BlockType:
        """What kind of block it is."""
        return BLOCKS[self.block.kind]


class StatedDeal(Struct):
    """A row of the sheet: the deal's key and what the row states about it, or what is wrong in it.

    Attributes:
        cells: The row.
        key: The deal's key, which is its identifier in the mapping's scheme.
        marker: The id of the last announcement of a new deal. It stands for the content of the row and of the mapping:
            if it is recorded, so is the rest of the row.
    """

    cells: RowCells
    key: str
    marker: UUID
    sources: tuple[Source, ...] = ()
    facts: list[StatedFact] = field(default_factory=list)
    errors: list[CellError] = field(default_factory=list)

    @property
    def row(self) -> SheetRow:
        """The row of the sheet."""
        return self.cells.row

    @property
    def title(self) -> str:
        """The deal's title, in any language."""
        event: Any = self.facts[0].event
        return str(next(iter(event.title.values())))

    @property
    def is_undated(self) -> bool:
        """Whether the row states no date for the deal: it is known from its source's date."""
        return not self.facts[0].is_dated


_NAMING = frozenset({"title", "organization", "name", "place"})
"""The fields that name a deal, a party, a site or a place."""


class RowReader:
    """Reads the rows of a sheet."""

    def __init__(self, cells: CellReader) -> None:
        self.cells = cells
        self.mapping: Mapping = cells.mapping
        self._key_column = cells.column(None, self.mapping.key_columns[0])
        leaves = [leaf for block in self.mapping.blocks for leaf in _with_date(block)]
        leaves += [leaf for source in self.mapping.sources for leaf in source]
        leaves += [self.mapping.effective_on] if self.mapping.effective_on is not None else []
        conditions = [*self.mapping.skip, *(one for block in self.mapping.blocks for one in block.when)]
        # The columns that the mapping reads, in a fixed order: their texts are the content of a row.
        read = [(leaf.value.join, leaf.value.column) for leaf in leaves if isinstance(leaf.value, ColumnValue)]
        self._read = sorted({*read, *((one.join, one.column) for one in conditions)}, key=repr)
        # Those that tell a deal from a row of totals, which has a label and numbers.
        named = [leaf.value for block in self.mapping.blocks for leaf in block.leaves if leaf.path[0] in _NAMING]
        columns = {one.column for one in named if isinstance(one, ColumnValue) and one.join is None}
        self._naming = [*columns.union(self.mapping.key_columns)]
        self._texts = [leaf.value for leaf in leaves if isinstance(leaf.value, TextValue)]

    @property
    def missing_columns(self) -> list[str]:
        """The columns of the mapping that the sheets do not have."""
        return [" / ".join(names) for join, names in self._read if self.cells.column(join, names) is None]

    def read(self, row: SheetRow) -> StatedDeal | None:
        """The deal that a row is about, with its marker; None if the mapping leaves the row out."""
        cells = self.cells.cells(row)
        if self.mapping.skip and any(self.cells.holds((condition,), cells) for condition in self.mapping.skip):
            return None
        key = self._key(cells)
        content = [self.cells.text(cells, join, names) for join, names in self._read]
        content += [self.cells.filled_text(value, cells) for value in self._texts]
        name = "\x1f".join((self.mapping.digest, self.mapping.scheme, key, str(self.cells.published_on), *content))
        stated = StatedDeal(cells, key, uuid5(NAMESPACE, hashlib.sha256(name.encode()).hexdigest()))
        first = next(i for i, text in enumerate(row.cells) if text)
        column, text = (self._key_column, key) if values.is_total(key) else (first, row.cells[first])
        # As a deal, a row of totals would count a second time what the rows above it state.
        if values.is_total(text) and not self._names_a_company(cells, text):
            stated.errors.append(self.cells.table.error(row, column, ImportText("key-no-deal", key=text)))
        elif not key:
            stated.errors.append(self.cells.table.error(row, self._key_column, ImportText("key-missing")))
        return stated

    def _names_a_company(self, cells: RowCells, total: str) -> bool:
        """Whether the text of a total is the name of the company Total: the row has another name, or a place or key."""
        texts = [self.cells.text(cells, None, names) for names in self._naming]
        return total.casefold() == "total" and any(one[:1].isalpha() and not values.is_total(one) for one in texts)

    def _key(self, cells: RowCells) -> str:
        """The key of a row; empty if one of its columns is."""
        texts = [self.cells.text(cells, None, names) for names in self.mapping.key_columns]
        if not all(texts):
            return ""
        key = self.mapping.key
        return " ".join((texts[0] if isinstance(key, ColumnValue) else self.cells.filled_text(key, cells)).split())

    def state_facts(self, stated: StatedDeal) -> None:
        """Read what the row states about the deal."""
        stated.sources = tuple(self._sources(stated))
        days = [source.published_on for source in stated.sources if source.published_on is not None]
        published_on = min(days, default=self.cells.published_on)
        for block in self.mapping.blocks:
            if self.cells.holds(block.when, stated.cells):
                stated.facts += self._facts(stated, block, published_on)

    def without_row(self, key: str) -> StatedDeal:
        """What a sheet without a row for a deal states: its source."""
        stated = StatedDeal(self.cells.cells(SheetRow(0, ())), key, uuid5(NAMESPACE, key))
        stated.sources = tuple(self._sources(stated))
        return stated

    # --- sources ------------------------------------------------------------------------------------------------------

    def _sources(self, stated: StatedDeal) -> Iterator[Source]:
        for i, leaves in enumerate(self.mapping.sources):
            fields = self._values(stated, leaves)
            if i == 0:
                # The key, not the number of the row: a row that moves in a newer edition is still the same row.
                fields.setdefault("published_on", self.cells.published_on.isoformat())
                fields.setdefault("locator", f"{self.mapping.key_columns[0][0]}: {stated.key}"[:300])
            elif not {"url", "title", "publisher"} & {leaf.path[0] for leaf in leaves if leaf.path[0] in fields}:
                continue
            source = self._converted(stated, fields, Source, leaves)
            if source is not None:
                yield source

    # --- facts --------------------------------------------------------------------------------------------------------

    def _facts(self, stated: StatedDeal, block: Block, published_on: date) -> Iterator[StatedFact]:
        block_type = BLOCKS[block.kind]
        fields = self._values(stated, block.leaves)
        needed = {*block_type.essential, *block_type.ids[:1]} & {leaf.path[0] for leaf in block.leaves}
        if any(name not in fields for name in needed):
            if block.kind == "deal" and not stated.errors:
                stated.errors.append(self._error(stated, block.leaves[0], ImportText("title-missing")))
            return
        if block.kind == "milestone" and not _may_omit_dates(block) and not {"planned", "reached"} & fields.keys():
            return
        effective_on, date_text = self._effective_on(stated, block, published_on)
        if effective_on is None:
            return
        by_name = {leaf.path[0]: leaf for leaf in reversed(block.leaves)}
        if "amount" in by_name and "amount_basis" in block_type.fields:
            by_name.setdefault("amount_basis", by_name["amount"])
        reached = fields.pop("reached", None)
        for event in self._events(stated, block, fields):
            yield StatedFact(block, event, effective_on, date_text is not None, by_name, _loose(date_text))
        if reached is not None:
            yield from self._reached(stated, block, fields, reached, by_name)

    def _events(self, stated: StatedDeal, block: Block, fields: dict[str, Any]) -> Iterator[Event]:
        block_type = BLOCKS[block.kind]
        if block.kind == "party":
            for party in self._parties(stated, block, fields):
                yield PartiesJoined(parties=(party,))
            return
        if "amount" in block_type.fields:
            fields = self._with_amount(stated, block, fields)
        event: Event | None = self._converted(stated, fields, block_type.event, block.leaves)
        if event is not None:
            yield event

    def _with_amount(self, stated: StatedDeal, block: Block, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields with the parts of the amount inside it, and with the basis that its text states."""
        parts = {name: fields[name] for name in AMOUNT_PARTS if name in fields}
        rest = {name: value for name, value in fields.items() if name not in AMOUNT_PARTS}
        if "amount" not in rest:
            return rest
        amount = {**parts, **rest["amount"]}
        basis = amount.pop("basis", None)
        known = rest.get("amount_basis")
        if basis is not None and known is None and "amount_basis" in BLOCKS[block.kind].fields:
            rest["amount_basis"] = basis
        elif basis not in (None, known):
            leaf = next(leaf for leaf in block.leaves if leaf.path[0] == "amount")
            text = self.cells.stated_text(leaf, stated.cells)
            if known is not None:
                problem = ImportText("basis-conflict", text=text, basis=basis, stated=known)
            else:
                problem = ImportText("basis-not-expressible", text=text, basis=basis)
            stated.errors.append(self._error(stated, leaf, problem))
        return {**rest, "amount": amount}

    def _parties(self, stated: StatedDeal, block: Block, fields: dict[str, Any]) -> Iterator[Party]:
        organizations = fields["organization"]
        for text in organizations if isinstance(organizations, list) else [organizations]:
            slug = values.slugify(text)
            name = {} if text == slug else {"name": values.localized(text, self.mapping.language)}
            party = self._converted(stated, {**name, **fields, "organization": slug}, Party, block.leaves)
            if party is not None:
                yield party

    def _reached(
        self, stated: StatedDeal, block: Block, fields: dict[str, Any], reached: str, by_name: dict[str, Leaf]
    ) -> Iterator[StatedFact]:
        """The milestone is reached because the sheet says so, on a day that is not after its publication."""
        day = last_day(reached)
        if min(day, values.effective_day(reached, self.cells.published_on)) > self.cells.published_on:
            problem = ImportText("reached-in-future", date=reached, published=self.cells.published_on)
            stated.errors.append(self._error(stated, by_name["reached"], problem))
            return
        event = MilestoneReached(milestone=str(fields["milestone"]), reached=reached)
        on = values.effective_day(reached, self.cells.published_on)
        yield StatedFact(block, event, on, is_dated=True, fields=by_name)

    def _effective_on(self, stated: StatedDeal, block: Block, published_on: date) -> tuple[date | None, str | None]:
        """The effective date of a block's event, and the date as the row states it; None for what there is not."""
        leaf = block.effective_on
        if leaf is None and BLOCKS[block.kind].is_observation:
            return self.cells.published_on, self.cells.published_on.isoformat()
        leaf = leaf or self.mapping.effective_on
        if leaf is None:
            return published_on, None
        try:
            loose = self.cells.value(leaf, stated.cells)
            if loose is None:
                return published_on, None
            return values.effective_day(str(loose), published_on), str(loose)
        except ValueProblem as problem:
            if block.kind == "deal" or leaf is not self.mapping.effective_on:
                stated.errors.append(self._error(stated, leaf, problem.message))
            return None, None

    # --- values -------------------------------------------------------------------------------------------------------

    def _values(self, stated: StatedDeal, leaves: tuple[Leaf, ...]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for leaf in leaves:
            try:
                value = self.cells.value(leaf, stated.cells)
            except ValueProblem as problem:
                stated.errors.append(self._error(stated, leaf, problem.message))
                continue
            if value is not None:
                put_at(fields, ".".join(leaf.path), value)
        return fields

    def _converted(self, stated: StatedDeal, fields: dict[str, Any], kind: Any, leaves: tuple[Leaf, ...]) -> Any:
        """The struct with these fields; None with an error in a cell if they do not fit it."""
        try:
            return msgspec.convert(fields, kind, dec_hook=decode_hook)
        except msgspec.ValidationError as error:
            problem = to_field_error(str(error))
            path = problem.pointer.removeprefix("/").replace("/", ".")
            leaf = next((leaf for leaf in leaves if path.startswith(".".join(leaf.path))), None)
            text = ImportText("field-invalid", field=path or "row", problem=problem)
            stated.errors.append(self._error(stated, leaf, text))
            return None

    def _error(self, stated: StatedDeal, leaf: Leaf | None, problem: ImportText) -> CellError:
        return self.cells.error(stated.cells, leaf.value if leaf is not None else None, problem)

    # --- announcements ------------------------------------------------------------------------------------------------

    def announcement(
        self, stated: StatedDeal, slug: str, event: DealEvent, on: date | str | None, note: str | None = None
    ) -> Announcement:
        """An announcement that cites the row. Its id follows from its content. `on` is a day, or a loose date."""
        day, loose = (None, on) if isinstance(on, str) else (on, None)
        body = Announcement(event=event, effective_on=day, date=loose, sources=stated.sources, note=note)
        for error in validation.validate(body, ""):
            stated.errors.append(self._of_field(stated, error))
        return msgspec.structs.replace(body, id=content_id("deal", slug, body))

    def identified(self, stated: StatedDeal, slug: str, on: date | str) -> Announcement:
        """The announcement of the deal's identifier, with the row's marker as its id."""
        event = DealIdentified(identifiers=(ExternalIdentifier(scheme=self.mapping.scheme, value=stated.key),))
        body = self.announcement(stated, slug, event, on)
        return msgspec.structs.replace(body, id=stated.marker)

    def _of_field(self, stated: StatedDeal, error: FieldError) -> CellError:
        name = error.pointer.rsplit("/", 1)[-1]
        leaves = [leaf for block in self.mapping.blocks for leaf in _with_date(block)]
        leaves += [leaf for source in self.mapping.sources for leaf in source]
        leaf = next((leaf for leaf in leaves if leaf.path[-1] == name), None)
        return self._error(stated, leaf, ImportText("field-invalid", field=name, problem=error))


def _loose(text: str | None) -> str | None:
    """A date that is no day; None for a day."""
    return None if text is None or re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII) else text


def _with_date(block: Block) -> tuple[Leaf, ...]:
    return (*block.leaves, block.effective_on) if block.effective_on is not None else block.leaves


def _may_omit_dates(block: Block) -> bool:
    """Whether a milestone block states milestones without a date: it has no columns of dates."""
    return not any(leaf.path[0] in ("planned", "reached") for leaf in block.leaves)
