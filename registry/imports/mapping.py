"""The mapping of a tracker's sheets: a TOML file that says which column has which meaning, and what editors decided.

An editor's decisions stand beside the columns: which names are one deal, which deal was split, which column was
redefined. The program makes none of these decisions.
"""

from __future__ import annotations

import tomllib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from registry.errors import BadMapping
from registry.events.values import DealKind, MilestoneKind, Place, Precision, Relation, Role, Slug, Source
from registry.imports.messages import ImportText

Names = tuple[str, ...]


class ColumnRef(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a value is: in `column` of the deal's row, or of the rows of another `sheet`.

    `column` lists the names that the column has had; the first one that the sheet has is read. In another sheet, the
    rows whose `key` is the deal's name are considered, and of these the one with the largest number in the column `by`
    (default: the column itself).
    """

    column: Names
    sheet: str | None = None
    key: Names = ()
    by: Names = ()


class DealMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The columns of the deal's name and of its other names (`also`), and the prefix of its slug."""

    name: Names
    slug: Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*-$", max_length=20)]
    also: Names = ()
    kind: DealKind | None = None
    sectors: tuple[Slug, ...] = ()


class SiteMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The deal's site. `place` holds names or codes of countries; `address` becomes the site's name."""

    site: Slug = "site"
    address: ColumnRef | None = None
    place: ColumnRef | None = None
    latitude: ColumnRef | None = None
    longitude: ColumnRef | None = None
    precision: Precision | None = None
    power_mw: ColumnRef | None = None
    gpus: ColumnRef | None = None


class MilestoneMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A milestone with a planned date; `power_mw` is the capacity planned for it."""

    milestone: Slug
    kind: MilestoneKind
    planned: ColumnRef
    power_mw: ColumnRef | None = None


class PartyMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A column of organizations, separated by commas. With `only`: those that end in this mark, which is removed."""

    column: Names
    role: Role
    only: str | None = None


class Renamed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Decision: a deal was renamed."""

    was: str
    now: str


class Distinct(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Decision: two names are different deals, however similar."""

    was: str
    now: str


class Split(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Decision: a deal was split. `relation` is the relation of each new deal to the old one.

    Default: `supersedes` if the old name is gone, `separate_from` if it continues as one of the parts.
    """

    was: str
    into: Names
    relation: Relation | None = None
    note: str | None = None


class ColumnRedefined(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Decision: a column changed its definition, which multiplied its values by a factor without a real change.

    `record`: "correction" corrects the recorded values, with `note` as the reason; "leave" records nothing.
    """

    field: Literal["power_mw", "gpus"]
    factor: Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?$")]
    note: str
    record: Literal["correction", "leave"] = "leave"


class Mapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping file. `sheets` identifies each sheet by a part of its own name or its file's name."""

    source: Source
    sheets: dict[str, str]
    deal: DealMapping
    dates: tuple[str, ...] = ("%Y-%m-%d",)
    site: SiteMapping | None = None
    milestones: tuple[MilestoneMapping, ...] = field(default=(), name="milestone")
    parties: tuple[PartyMapping, ...] = field(default=(), name="party")
    same: tuple[Renamed, ...] = ()
    different: tuple[Distinct, ...] = ()
    split: tuple[Split, ...] = ()
    redefined: tuple[ColumnRedefined, ...] = ()
    places: dict[str, Place] = {}


def parse(text: str) -> Mapping:
    """Parse a mapping file.

    Raises:
        BadMapping: The text is not TOML, or not a mapping.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadMapping(reason=ImportText("mapping-not-toml", reason=str(error))) from None
    try:
        mapping = msgspec.convert(_expand_shorthands(data, ""), Mapping)
    except msgspec.ValidationError as error:
        raise BadMapping(reason=ImportText("mapping-invalid", reason=str(error))) from None
    if "things" not in mapping.sheets:
        raise BadMapping(reason=ImportText("mapping-without-things"))
    return mapping


# A string is short for a list of one name, and a name or a list for a table with a `column`.
_NAME_LISTS = {"name", "also", "column", "key", "by"}
_COLUMN_REFS = {"address", "place", "latitude", "longitude", "power_mw", "gpus", "planned"}


def _expand_shorthands(value: Any, key: str) -> Any:
    match value:
        case dict() if key not in ("sheets", "places", "source"):
            return {name: _expand_shorthands(item, name) for name, item in value.items()}
        case list() if value and isinstance(value[0], dict):
            return [_expand_shorthands(item, key) for item in value]
        case str() if key in _NAME_LISTS:
            return [value]
        case str() | list() if key in _COLUMN_REFS:
            return {"column": [value] if isinstance(value, str) else value}
        case _:
            return value
