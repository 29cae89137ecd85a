"""How a tracker's sheets are read: a TOML file that says which column is what, and what people have decided.

Everything a person decides stands here in words, beside the columns: which names are one thing, what split into what,
which column was redefined. Nothing is decided by the program.
"""

from __future__ import annotations

import tomllib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from registry.errors import BadMapping
from registry.events.types import DealKind, MilestoneKind, Place, Precision, Relation, Role, Slug, Source

Names = tuple[str, ...]


class ColumnRef(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a value stands: `column` in the row of the thing itself, or in the rows of another `sheet`.

    `column` lists the names that the column has had; the first that the sheet has is read. Of another sheet's rows
    those are meant whose `key` names the thing, and of them the first in which the column `by` (left out: the column
    itself) is largest.
    """

    column: Names
    sheet: str | None = None
    key: Names = ()
    by: Names = ()


class DealMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the thing is called, under which other names (`also`) sheets know it, and how its slug begins."""

    name: Names
    slug: Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*-$", max_length=20)]
    also: Names = ()
    kind: DealKind | None = None
    sectors: tuple[Slug, ...] = ()


class SiteMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The thing's place. `place` holds names or codes of countries, `address` becomes the site's name."""

    site: Slug = "site"
    address: ColumnRef | None = None
    place: ColumnRef | None = None
    latitude: ColumnRef | None = None
    longitude: ColumnRef | None = None
    precision: Precision | None = None
    power_mw: ColumnRef | None = None
    gpus: ColumnRef | None = None


class MilestoneMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dated step that the sheets foresee; `power_mw` is the capacity that stands then."""

    milestone: Slug
    kind: MilestoneKind
    planned: ColumnRef
    power_mw: ColumnRef | None = None


class PartyMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Organizations named in a column, parted by commas; only those marked `only`, whose mark is cut off."""

    column: Names
    role: Role
    only: str | None = None


class Renamed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that one thing was renamed."""

    was: str
    now: str


class Distinct(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that two things are not one, however alike."""

    was: str
    now: str


class Split(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that one thing became several. `relation` is what each new one is to the old.

    Left out: `supersedes` where the old name is gone, `separate_from` where it goes on as one of the parts.
    """

    was: str
    into: Names
    relation: Relation | None = None
    note: str | None = None


class ColumnRedefined(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word that a column has meant something else since, by a factor: no change of the world.

    `record`: "correction" corrects what was recorded, with the note as its reason; "leave" records nothing.
    """

    field: Literal["power_mw", "gpus"]
    factor: Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?$")]
    note: str
    record: Literal["correction", "leave"] = "leave"


class Mapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping file. `sheets` names each sheet by a part of its file's, or its own, name."""

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


def read(text: str) -> Mapping:
    """A mapping file's content. Raises BadMapping."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadMapping(reason=f"it is no TOML: {error}") from None
    try:
        mapping = msgspec.convert(_lists(given, ""), Mapping)
    except msgspec.ValidationError as error:
        raise BadMapping(reason=str(error)) from None
    if "things" not in mapping.sheets:
        raise BadMapping(reason="[sheets] does not say which sheet lists the things")
    return mapping


# Fields of one column may be written as its name alone.
_COLUMNS = {"name", "also", "column", "key", "by"}
_SAID = {"address", "place", "latitude", "longitude", "power_mw", "gpus", "planned"}


def _lists(given: Any, under: str) -> Any:
    match given:
        case dict() if under not in ("sheets", "places", "source"):
            return {name: _lists(value, name) for name, value in given.items()}
        case list() if given and isinstance(given[0], dict):
            return [_lists(item, under) for item in given]
        case str() if under in _COLUMNS:
            return [given]
        case str() | list() if under in _SAID:
            return {"column": [given] if isinstance(given, str) else given}
        case _:
            return given
