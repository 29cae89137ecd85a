"""The query of a page's address: a table of parameters, each with the function that reads it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, Generic, TypeAlias, TypeVar, get_args

from litestar import HttpMethod
from litestar import Request as LitestarRequest
from msgspec import Struct

from registry.api.bodies import read_body as body
from registry.api.conditional import http_date
from registry.api.guards import check_scope as require_scope
from registry.api.parameters import SLUG, require_single_axis
from registry.domain.history import AsOf
from registry.errors import FieldError, Invalid, InvalidParameter, NotFound
from registry.events.currencies import Currency
from registry.events.values import Commitment, DealKind, Role, Stage

Request: TypeAlias = LitestarRequest[Any, Any, Any]
T = TypeVar("T")

READ = [HttpMethod.GET, HttpMethod.HEAD]


def header(request: Request, name: bytes) -> str | None:
    """A header of a request, by its name in small letters. The framework would make a mapping of all of them first."""
    for other, value in request.scope["headers"]:
        if other == name:
            return value.decode("latin-1")
    return None


def slug(text: str) -> str:
    """A deal's or organization's name in a path that writes. Raises Invalid."""
    if not is_slug(text):
        raise Invalid([FieldError("", "slug", value=text[:80])])
    return text


def require_valid_slug(kind: str, text: str) -> None:
    """Raises NotFound for what cannot be a name, so that no more is asked about it."""
    if not is_slug(text):
        raise NotFound("slug", kind=kind, slug=text[:80])


def is_slug(text: str) -> bool:
    """Whether a text can name a deal or an organization."""
    return len(text) <= 80 and re.match(SLUG, text) is not None


def matches(request: Request, etag: str) -> bool:
    """Whether the client has this answer (If-None-Match, RFC 9110 §13.1.2)."""
    given = header(request, b"if-none-match")
    if given is None:
        return False
    return given.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in given.split(",")]


class Parameter(Struct, Generic[T], frozen=True):
    """What may be asked for in a query: how it is read, and how it is documented (a JSON Schema).

    `read` raises InvalidParameter, whose text tells what is expected.
    """

    read: Callable[[str], T]
    schema: dict[str, Any]

    def __call__(self, text: str) -> T:
        return self.read(text)


def query(request: Request, known: Mapping[str, Parameter[Any]]) -> dict[str, Any]:
    """The query's parameters, each read as it is documented.

    Raises BadQuery for an unknown, repeated or unreadable one.
    """
    if not request.scope["query_string"]:
        return {}
    values: dict[str, Any] = {}
    for name, given in request.query_params.multi_items():
        parameter = known.get(name)
        if parameter is None:
            near = difflib.get_close_matches(name[:100], known, 1, 0.5)
            if near:
                raise InvalidParameter("unknown_similar", parameter=name[:100], similar=near[0])
            raise InvalidParameter("unknown" if known else "none", parameter=name[:100], known=tuple(known))
        if name in values:
            raise InvalidParameter("repeated", parameter=name)
        try:
            values[name] = parameter.read(given)
        except InvalidParameter as error:
            raise error.of(name) from None
    return values


def _day(text: str) -> date:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise InvalidParameter("date")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidParameter("no_such_date", value=text) from None


def _instant(text: str) -> datetime:
    try:
        # A '+' that was not escaped arrives as a space.
        moment = datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)\Z", r"+\1", text))
        if moment.tzinfo is None or "T" not in text.upper():
            raise ValueError
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidParameter("instant") from None


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise InvalidParameter("boolean")
    return text == "true"


def _name(text: str) -> str:
    if not is_slug(text):
        raise InvalidParameter("slug")
    return text


def _place(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", text, re.ASCII):
        raise InvalidParameter("place")
    return text


def _text(text: str) -> str:
    if not text.strip() or len(text) > TEXT_LIMIT or re.search(r"[\x00-\x1f\x7f]", text):
        raise InvalidParameter("text", limit=TEXT_LIMIT)
    return text


TEXT_LIMIT = 2000

# An instant without an offset could mean any of a day's, so one is demanded.
day = Parameter(_day, {"type": "string", "format": "date", "examples": ["2025-10-29"]})
instant = Parameter(_instant, {"type": "string", "format": "date-time", "examples": ["2025-10-29T12:00:00Z"]})
flag = Parameter(_flag, {"type": "boolean"})
name = Parameter(_name, {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$", "maxLength": 80})
place = Parameter(_place, {"type": "string", "pattern": "^[A-Z]{2}(-[A-Z0-9]{1,3})?$", "examples": ["KR-31"]})
text = Parameter(_text, {"type": "string", "minLength": 1, "maxLength": TEXT_LIMIT})


def integer(low: int, high: int, default: int | None = None) -> Parameter[int]:
    """A whole number between bounds. `default` is what the handler takes when it is not given."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or not low <= int(text) <= high:
            raise InvalidParameter("integer", low=low, high=high)
        return int(text)

    schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high}
    return Parameter(read, schema if default is None else {**schema, "default": default})


def choice(*values: str) -> Parameter[str]:
    """One of some words."""

    def read(text: str) -> str:
        if text not in values:
            raise InvalidParameter("choice", known=values)
        return text

    return Parameter(read, {"type": "string", "enum": list(values)})


def choices(*values: str) -> Parameter[tuple[str, ...]]:
    """Some of some words, parted by commas."""
    word = choice(*values)
    alternatives = "|".join(map(re.escape, values))
    return Parameter(
        lambda text: tuple(word.read(part) for part in text.split(",")),
        {"type": "string", "pattern": f"^({alternatives})(,({alternatives}))*$", "examples": [",".join(values)]},
    )


CLOCKS: dict[str, Parameter[Any]] = {
    "effective_on": day,
    "published_on": day,
    "recorded_at": instant,
    "position": integer(0, 2**53),
}


NOW = AsOf()


def clocks(asked: Mapping[str, Any], prefix: str = "") -> AsOf:
    """The clocks among a query's parameters."""
    if not asked:
        return NOW
    return AsOf(**{name: asked.get(prefix + name) for name in CLOCKS})


def today() -> date:
    """The day that is meant when no other is asked for, in UTC."""
    return datetime.now(UTC).date()


TWO_POINTS = {f"{end}.{name}": read for end in ("from", "to") for name, read in CLOCKS.items()}


FILTERS: dict[str, Parameter[Any]] = {
    "organization": name,
    "role": choice(*get_args(Role)),
    "region": place,
    "sector": name,
    "stage": choice(*get_args(Stage)),
    "commitment": choice(*get_args(Commitment)),
    "currency": choice(*get_args(Currency)),
    "kind": choice(*get_args(DealKind)),
}


def filter_terms(asked: dict[str, Any]) -> list[str]:
    """The filters of a list as terms of its view; an organization with a role means that it has this role."""
    found = [f"{name}:{asked[name]}" for name in FILTERS if name in asked]
    if "organization" in asked and "role" in asked:
        found.append(f"{asked['role']}:{asked['organization']}")
    return found


__all__ = ["CLOCKS", "FILTERS", "READ", "TWO_POINTS", "body", "http_date", "require_scope", "require_single_axis"]
