"""A mapping as the fields of a form: what the browser edits is the same mapping as the TOML file.

The blocks and their fields come from the mapping's model (`blocks.py`), so a new field needs nothing here. The name of
an input is the place in the mapping and a part of its value: `pledge/0/amount:column`. `form_data.py` reads the form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from msgspec import Struct

from registry.events.values import Axis, Source, is_language_tag
from registry.imports.mapping.blocks import BLOCKS
from registry.imports.mapping.fields import MappedField, struct_fields
from registry.imports.mapping.parse import MappingProblem
from registry.imports.mapping.spec import Policy
from registry.imports.messages import ImportText

POLICIES: tuple[str, ...] = get_args(Policy)
NAMES = " | "
"""Separates the names that a column has had."""
ITEMS = ";"
"""Separates the items of a list."""
NOTHING = "-"
"""In a table of meanings: the text means the same as an empty cell. A text without a meaning is not in the table."""
OPTIONS = ("default", "times", "split", "only", "remove", "country", "join")
"""Parts of a column's value that are one text."""
LISTS = ("empty", "dates")
SINGLE = ("scheme", "language", "encoding", "country", "decimal")
"""Options of the whole mapping that are one text."""

DAY = MappedField("loose_date")
TEXT = MappedField("text")
TEXT_LIST = MappedField("text", is_list=True)
SOURCE_FIELDS = struct_fields(Source)


class FormField(Struct, frozen=True):
    """A field of a block: where its value comes from.

    Attributes:
        at: Its place in the mapping, such as `pledge/0/amount`.
        name: The name of the event's field.
        part: A language or an axis, if the place is inside the field.
        column: The names of the column.
        text: A constant, or a text with columns in braces.
        options: The options of the column, as texts.
        table: What the column's texts mean.
    """

    at: str
    name: str
    part: str
    field: MappedField
    column: str = ""
    text: str = ""
    options: Mapping[str, str] = {}
    table: tuple[tuple[str, str], ...] = ()
    problems: tuple[ImportText, ...] = ()


class FormCondition(Struct, frozen=True):
    """A condition on the cell of a column."""

    at: str
    column: str = ""
    join: str = ""
    equals: str = ""
    differs: str = ""
    empty: str = ""
    future: str = ""
    problems: tuple[ImportText, ...] = ()


class FormBlock(Struct, frozen=True):
    """A block: its fields, its conditions, and the fields that can be added to it."""

    at: str
    kind: str
    fields: tuple[FormField, ...]
    addable: tuple[str, ...]
    conditions: tuple[FormCondition, ...] = ()
    on_change: str = ""
    problems: tuple[ImportText, ...] = ()


class MappingForm(Struct, frozen=True):
    """The form of a mapping."""

    options: Mapping[str, str]
    skip: tuple[FormCondition, ...]
    sources: tuple[FormBlock, ...]
    deal: FormBlock
    blocks: tuple[FormBlock, ...]
    problems: tuple[ImportText, ...]


def form_of(data: Mapping[str, Any], problems: Sequence[MappingProblem] = (), shown: str = "") -> MappingForm:
    """The form of a mapping.

    Args:
        data: The tables of the mapping.
        problems: What is wrong in it.
        shown: The place of a field that is shown although the mapping does not have it: the editor adds it.
    """
    return _MappingFormReader(data, problems, shown).form()


class _MappingFormReader:
    def __init__(self, data: Mapping[str, Any], problems: Sequence[MappingProblem], shown: str) -> None:
        self.data = data
        self.shown = shown
        self.problems = [(_pointer(problem.key), problem.problem) for problem in problems]
        self.told: set[str] = set()

    def form(self) -> MappingForm:
        sheet = _table(self.data.get("sheet"))
        options = {name: _text(self.data.get(name)) for name in SINGLE}
        options |= {"empty": _items(self.data.get("empty")), "dates": _names(self.data.get("dates"))}
        options |= {"sheet": _text(sheet.get("name")), "header": _text(sheet.get("header"))}
        sources = [self._source(i, table) for i, table in enumerate(_tables(self.data.get("source")))]
        deal = self._deal(_table(self.data.get("deal")))
        blocks = [
            self._block(kind, i, table)
            for kind in BLOCKS
            if kind != "deal"
            for i, table in enumerate(_tables(self.data.get(kind)))
        ]
        skip = self._conditions("skip", self.data.get("skip"))
        rest = tuple(problem for at, problem in self.problems if at not in self.told)
        return MappingForm(options, skip, tuple(sources), deal, tuple(blocks), rest)

    def _source(self, i: int, table: Mapping[str, Any]) -> FormBlock:
        at = f"source/{i}"
        return self._assembled(at, "source", table, SOURCE_FIELDS, ("publisher", "title", "url"))

    def _deal(self, table: Mapping[str, Any]) -> FormBlock:
        key = table.get("key")
        named = {"column": key} if isinstance(key, (str, list)) else key
        fields = {"key": TEXT, "slug": MappedField("slug"), **BLOCKS["deal"].fields, "effective_on": DAY}
        values = {**table, **({"key": named} if key is not None else {})}
        return self._assembled("deal", "deal", values, fields, ("key", "slug", "title", "effective_on"))

    def _block(self, kind: str, i: int, table: Mapping[str, Any]) -> FormBlock:
        block = BLOCKS[kind]
        essential = dict.fromkeys((*block.ids[:1], *block.essential))
        return self._assembled(f"{kind}/{i}", kind, table, {**block.fields, "effective_on": DAY}, tuple(essential))

    def _assembled(
        self, at: str, kind: str, table: Mapping[str, Any], fields: Mapping[str, MappedField], essential: Sequence[str]
    ) -> FormBlock:
        shown: list[FormField] = []
        addable: list[str] = []
        for path, field in fields.items():
            parts = path.split(".")
            raw = _at(table, parts)
            inner = [str(name) for name in raw] if isinstance(raw, Mapping) else []
            if field.kind == "axes":
                for axis in get_args(Axis):
                    self._add(shown, addable, f"{at}/{path}/{axis}", f"{path}.{axis}", TEXT_LIST, _at(raw, [axis]))
            elif field.kind == "localized" and inner and all(map(is_language_tag, inner)):
                for tag in inner:
                    self._add(shown, addable, f"{at}/{path}/{tag}", f"{path}.{tag}", TEXT, _at(raw, [tag]))
            else:
                place = f"{at}/{'/'.join(parts)}"
                self._add(shown, addable, place, path, field, raw, is_shown=path in essential)
        conditions = self._conditions(f"{at}/when", table.get("when"))
        own = tuple(p for place, p in self.problems if place.startswith(f"{at}/") or place == at)
        told = {p for field in shown for p in field.problems}
        self.told |= {place for place, _ in self.problems if place == at or place.startswith(f"{at}/")}
        rest = tuple(p for p in own if p not in told)
        return FormBlock(
            at, kind, tuple(shown), tuple(addable), conditions, _text(table.get("on_change")), problems=rest
        )

    def _add(
        self,
        shown: list[FormField],
        addable: list[str],
        at: str,
        path: str,
        field: MappedField,
        raw: Any,
        *,
        is_shown: bool = False,
    ) -> None:
        if raw is None and not is_shown and self.shown != at:
            addable.append(at)
            return
        own = tuple(p for place, p in self.problems if place == at or place.startswith(f"{at}/"))
        name, _, part = path.partition(".")
        form_field = FormField(at, name, part, field, problems=own)
        if not isinstance(raw, Mapping):
            shown.append(_replaced(form_field, text=_items(raw)))
        elif "text" in raw:
            shown.append(_replaced(form_field, text=_text(raw["text"]), options=_options(raw)))
        else:
            table = raw.get("table")
            pairs = (
                tuple((str(k), _items(v) or NOTHING) for k, v in table.items()) if isinstance(table, Mapping) else ()
            )
            column = _names(raw.get("column"))
            shown.append(_replaced(form_field, column=column, options=_options(raw), table=pairs))

    def _conditions(self, at: str, raw: Any) -> tuple[FormCondition, ...]:
        conditions = []
        for i, one in enumerate(_tables(raw)):
            own = tuple(p for place, p in self.problems if place.startswith(at))
            self.told |= {place for place, _ in self.problems if place.startswith(at)}
            conditions.append(
                FormCondition(
                    f"{at}/{i}",
                    column=_names(one.get("column")),
                    join=_text(one.get("join")),
                    equals=_items(one.get("equals")),
                    differs=_items(one.get("differs")),
                    empty=_text(one.get("empty")),
                    future=_text(one.get("future")),
                    problems=own if i == 0 else (),
                )
            )
        return tuple(conditions)


def _replaced(field: FormField, **values: Any) -> FormField:
    known = {name: getattr(field, name) for name in field.__struct_fields__}
    return FormField(**{**known, **values})


def _pointer(key: str) -> str:
    """The place of a problem's key: `pledge[0].amount` is `pledge/0/amount`."""
    at = re.sub(r"\[(\d+)\]", r"/\1", key).replace(".", "/")
    return f"source/0{at[6:]}" if re.match(r"source(/[a-z]|$)", at) else at


def _at(table: Any, path: Sequence[str]) -> Any:
    for part in path:
        table = table.get(part) if isinstance(table, Mapping) else None
    return table


def _table(raw: Any) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}


def _tables(raw: Any) -> list[Mapping[str, Any]]:
    items = raw if isinstance(raw, list) else [] if raw is None else [raw]
    return [item for item in items if isinstance(item, Mapping)]


def _options(raw: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: _items(raw.get(name)) for name in (*OPTIONS, "empty", "on_change")}
    return {name: text for name, text in {**texts, "dates": _names(raw.get("dates"))}.items() if text}


def _text(raw: Any) -> str:
    return "" if raw is None else str(raw).lower() if isinstance(raw, bool) else str(raw)


def _items(raw: Any) -> str:
    return f"{ITEMS} ".join(map(_text, raw)) if isinstance(raw, (list, tuple)) else _text(raw)


def _names(raw: Any) -> str:
    return NAMES.join(map(_text, raw)) if isinstance(raw, (list, tuple)) else _text(raw)
