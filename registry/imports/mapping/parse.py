"""Reads a mapping file. Every error names the file, the line and the key; all errors are reported at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from datetime import date
from typing import Any, Literal, TypeVar, get_args

import msgspec
from msgspec import Struct

from registry.errors import BadMapping
from registry.events.values import Scheme, Source, is_language_tag
from registry.imports import toml
from registry.imports.encodings import ENCODINGS
from registry.imports.mapping.blocks import BLOCKS
from registry.imports.mapping.fields import MappedField, struct_fields
from registry.imports.mapping.lines import line_of, lines_of
from registry.imports.mapping.patterns import MAX_REPETITIONS, is_bounded
from registry.imports.mapping.spec import (
    Block,
    ColumnValue,
    Condition,
    Constant,
    Gone,
    Join,
    Leaf,
    Mapping,
    Policy,
    SheetOptions,
    TextValue,
    Value,
)
from registry.imports.messages import ImportText
from registry.imports.values import digest

T = TypeVar("T")

_OPTIONS = (
    "scheme",
    "language",
    "encoding",
    "country",
    "dates",
    "decimal",
    "empty",
    "sheet",
    "joins",
    "skip",
    "gone",
    "source",
)
_DEAL_KEYS = ("key", "slug", "effective_on", "on_change")
_BLOCK_KEYS = ("effective_on", "when", "on_change")
_NAME_LISTS = {"column", "key", "matches", "largest", "empty", "equals", "differs", "dates"}
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*-")
_SOURCE_FIELDS = struct_fields(Source)


class _Options(Struct, forbid_unknown_fields=True, kw_only=True):
    """The options of a mapping that are no blocks."""

    scheme: Scheme
    language: str = "en"
    encoding: str | None = None
    country: str | None = None
    dates: tuple[str, ...] = ("%Y-%m-%d",)
    decimal: Literal[".", ","] = "."
    empty: tuple[str, ...] = ()
    sheet: SheetOptions = SheetOptions()
    joins: dict[str, Join] = {}
    skip: tuple[Condition, ...] = ()
    gone: Gone | None = None


class MappingProblem(Struct, frozen=True):
    """What is wrong at a key of a mapping, such as `party[0].role`; the key is empty for the whole file."""

    key: str
    line: int
    problem: ImportText

    def located(self, file: str) -> ImportText:
        """The problem with its file, line and key."""
        return ImportText("mapping-problem", file=file, line=self.line, key=self.key or "-", problem=self.problem)


def parse(text: str, file: str = "mapping") -> Mapping:
    """Parse a mapping file.

    Args:
        text: The file's content.
        file: The file's name, for messages.

    Raises:
        BadMapping: The text is not TOML, or not a mapping.
    """
    mapping, problems = check(text, file)
    if mapping is None:
        *others, reason = [problem.located(file) for problem in problems]
        for problem in reversed(others):
            reason = ImportText("mapping-problems", first=problem, rest=reason)
        raise BadMapping(reason=reason)
    return mapping


def check(text: str, file: str = "mapping") -> tuple[Mapping | None, list[MappingProblem]]:
    """The mapping of a text, or None with everything that is wrong in it.

    Raises:
        BadMapping: The text is not TOML.
    """
    parser = _Parser(toml.loads(text, file), lines_of(text))
    mapping = parser.mapping(digest(text))
    return (None if parser.problems else mapping), parser.problems


class _Parser:
    """Parses the tables of a mapping and collects the problems."""

    def __init__(self, data: dict[str, Any], lines: dict[str, int]) -> None:
        self.data = data
        self.lines = lines
        self.problems: list[MappingProblem] = []

    def add(self, at: str, problem: ImportText) -> None:
        """Add a problem at a key."""
        self.problems.append(MappingProblem(at, line_of(self.lines, at), problem))

    def mapping(self, text_digest: str) -> Mapping | None:
        """The mapping; None if it has problems."""
        known = (*_OPTIONS, *BLOCKS)
        for name in self.data:
            if name not in known:
                self.add(name, _unknown(name, known))
        options = self._convert(
            {name: self.data[name] for name in _OPTIONS if name in self.data and name != "source"}, _Options, ""
        )
        if options is not None and options.encoding is not None and options.encoding not in ENCODINGS:
            self.add("encoding", ImportText("mapping-choice", value=options.encoding, known=tuple(ENCODINGS)))
        deal = self.data.get("deal")
        if not isinstance(deal, dict):
            self.add("deal", ImportText("mapping-key-missing", key="deal"))
            return None
        key, slug = self._key(deal)
        sources, published_on = self._sources()
        blocks = tuple(self._blocks(deal))
        effective_on = self._effective_on(deal, "deal")
        if options is None or key is None or self.problems:
            return None
        fields = {name: getattr(options, name) for name in options.__struct_fields__}
        return Mapping(
            **fields,
            digest=text_digest,
            key=key,
            slug=slug,
            sources=sources,
            blocks=blocks,
            effective_on=effective_on,
            published_on=published_on,
        )

    def _key(self, deal: dict[str, Any]) -> tuple[ColumnValue | TextValue | None, str]:
        raw = deal.get("key")
        named = {"column": raw} if isinstance(raw, (str, list)) else raw
        value = self._value(named, "deal.key") if isinstance(named, dict) else None
        if not isinstance(value, (ColumnValue, TextValue)) or (isinstance(value, TextValue) and "{" not in value.text):
            self.add("deal.key", ImportText("mapping-key-missing", key="deal.key"))
            value = None
        slug = deal.get("slug")
        if not isinstance(slug, str) or not _SLUG.fullmatch(slug) or len(slug) > 20:
            self.add("deal.slug", ImportText("mapping-slug"))
            return value, ""
        return value, slug

    def _sources(self) -> tuple[tuple[tuple[Leaf, ...], ...], date | None]:
        tables = self.data.get("source")
        if isinstance(tables, dict):
            tables, places = [tables], ["source"]
        elif isinstance(tables, list) and tables:
            places = [f"source[{i}]" for i in range(len(tables))]
        else:
            self.add("source", ImportText("mapping-key-missing", key="source"))
            return (), None
        sources = tuple(tuple(self._leaves(t, _SOURCE_FIELDS, at)) for t, at in zip(tables, places, strict=True))
        published = tables[0].get("published_on")
        try:
            day = date.fromisoformat(published) if isinstance(published, str) else published
        except ValueError:
            self.add(f"{places[0]}.published_on", ImportText("date-invalid", text=str(published)))
            day = None
        return sources, day if isinstance(day, date) else None

    def _blocks(self, deal: dict[str, Any]) -> Iterator[Block]:
        own = {name: value for name, value in deal.items() if name not in _DEAL_KEYS}
        if "title" not in own:
            self.add("deal.title", ImportText("mapping-key-missing", key="deal.title"))
        yield self._block("deal", {**own, "on_change": deal.get("on_change")}, "deal")
        for kind in BLOCKS:
            tables = self.data.get(kind, [])
            if kind == "deal":
                continue
            if isinstance(tables, dict) or not isinstance(tables, list):
                self.add(kind, ImportText("mapping-not-a-list", key=kind))
                continue
            for i, table in enumerate(tables):
                yield self._block(kind, table, f"{kind}[{i}]")

    def _block(self, kind: str, table: dict[str, Any], at: str) -> Block:
        block = BLOCKS[kind]
        values = {name: value for name, value in table.items() if name not in _BLOCK_KEYS}
        leaves = tuple(self._leaves(values, block.fields, at))
        mapped = {leaf.path[0] for leaf in leaves}
        needed = (*block.ids[:1], *(block.essential if block.essential != ("amount",) else ()))
        for name in dict.fromkeys(needed):
            if name not in mapped and name in block.fields:
                self.add(at, ImportText("mapping-key-missing", key=f"{at}.{name}"))
        when = table.get("when", [])
        conditions = [
            condition
            for one in (when if isinstance(when, list) else [when])
            if (condition := self._convert(one, Condition, f"{at}.when")) is not None
        ]
        policy = self._policy(table.get("on_change"), f"{at}.on_change")
        return Block(kind, at, leaves, self._effective_on(table, at), tuple(conditions), policy)

    def _effective_on(self, table: dict[str, Any], at: str) -> Leaf | None:
        if "effective_on" not in table:
            return None
        path = f"{at}.effective_on"
        value = self._value(table["effective_on"], path)
        if isinstance(value, ColumnValue) and value.on_change == "world":
            self.add(path, ImportText("mapping-date-policy"))
        return Leaf(("effective_on",), MappedField("loose_date"), value, path) if value is not None else None

    def _policy(self, value: Any, at: str) -> Policy | None:
        if value is None or value in get_args(Policy):
            policy: Policy | None = value
            return policy
        self.add(at, ImportText("mapping-choice", value=str(value), known=get_args(Policy)))
        return None

    # --- values -------------------------------------------------------------------------------------------------------

    def _leaves(
        self, table: dict[str, Any], fields: dict[str, MappedField], at: str, prefix: str = ""
    ) -> Iterator[Leaf]:
        for name, raw in table.items():
            path, place = prefix + name, f"{at}.{name}"
            field = fields.get(path)
            if field is None and isinstance(raw, dict) and any(known.startswith(f"{path}.") for known in fields):
                yield from self._leaves(raw, fields, at=place, prefix=f"{path}.")
            elif field is None:
                self.add(place, _unknown(name, [known.split(".")[-1] for known in fields]))
            elif field.kind == "axes":
                yield from self._nested(raw, path, MappedField("text", is_list=True), place)
            elif field.kind == "localized" and isinstance(raw, dict) and all(map(is_language_tag, raw)):
                yield from self._nested(raw, path, MappedField("text"), place)
            elif (value := self._value(raw, place)) is not None:
                self._check_constant(value, field, place)
                yield Leaf(tuple(path.split(".")), field, value, place)

    def _nested(self, table: Any, path: str, field: MappedField, at: str) -> Iterator[Leaf]:
        for name, raw in table.items() if isinstance(table, dict) else ():
            if (value := self._value(raw, f"{at}.{name}")) is not None:
                yield Leaf((path, name), field, value, f"{at}.{name}")

    def _value(self, raw: Any, at: str) -> Value | None:
        if not isinstance(raw, dict):
            return Constant(value=raw)
        if "text" in raw:
            return self._convert(raw, TextValue, at)
        value = self._convert(raw, ColumnValue, at)
        for name in ("split", "only", "remove"):
            try:
                is_usable = is_bounded(getattr(value, name, None) or "")
            except re.error as error:
                self.add(f"{at}.{name}", ImportText("mapping-regex", reason=str(error)))
                return None
            if not is_usable:
                self.add(f"{at}.{name}", ImportText("mapping-regex-repeats", limit=MAX_REPETITIONS))
                return None
        joins = self.data.get("joins", {})
        if value is not None and value.join is not None and value.join not in joins:
            self.add(f"{at}.join", _unknown(value.join, joins))
        return value

    def _check_constant(self, value: Value, field: MappedField, at: str) -> None:
        given = [value.value] if isinstance(value, Constant) else []
        if isinstance(value, ColumnValue):
            given = [*(value.table or {}).values(), *([value.default] if value.default is not None else [])]
        for one in given:
            for item in one if isinstance(one, list) else [one]:
                if field.choices and item not in field.choices and item != "":
                    self.add(at, ImportText("mapping-choice", value=str(item), known=field.choices))

    def _convert(self, raw: Any, kind: type[T], at: str) -> T | None:
        try:
            return msgspec.convert(_with_lists(raw), kind)
        except msgspec.ValidationError as error:
            message, _, pointer = str(error).partition(" - at `$")
            place = f"{at}{pointer.rstrip('`')}".lstrip(".")
            if match := re.match(r"Object contains unknown field `(.+)`", message):
                known = getattr(kind, "__struct_fields__", ())
                self.add(f"{place}.{match[1]}".lstrip("."), _unknown(match[1], known))
            elif match := re.match(r"Object missing required field `(.+)`", message):
                self.add(place, ImportText("mapping-key-missing", key=f"{place}.{match[1]}".lstrip(".")))
            else:
                self.add(place, ImportText("mapping-value", reason=message))
            return None


def _with_lists(raw: Any) -> Any:
    """A table with a list of names where one name stands for a list."""
    match raw:
        case dict():
            return {
                name: [value]
                if name in _NAME_LISTS and isinstance(value, str)
                else value
                if name == "table"
                else _with_lists(value)
                for name, value in raw.items()
            }
        case list():
            return [_with_lists(item) for item in raw]
        case _:
            return raw


def _unknown(name: str, known: Any) -> ImportText:
    near = difflib.get_close_matches(name, list(known), 1, 0.6)
    return ImportText("mapping-unknown-similar", similar=near[0]) if near else ImportText("mapping-unknown")
