"""The query parameters of the pages: how the text of each is read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, TypeAlias, get_args

from litestar import HttpMethod
from litestar import Request as LitestarRequest

from registry.api.parameters import MAX_POSITION, MAX_TEXT, PLACE, SLUG, require_single_axis
from registry.domain.history import AsOf
from registry.errors import FieldError, Invalid, InvalidParameter
from registry.events.currencies import Currency
from registry.events.values import Commitment, DealKind, Role, Stage

Request: TypeAlias = LitestarRequest[Any, Any, Any]
Parameter: TypeAlias = Callable[[str], Any]
"""Reads the text of a parameter, or raises InvalidParameter."""

READ = [HttpMethod.GET, HttpMethod.HEAD]

MAX_SLUG = 80
MAX_NAME = 100
"""The part of an unknown parameter's name that an error repeats."""


def query(request: Request, known: Mapping[str, Parameter]) -> dict[str, Any]:
    """The values of the query parameters of a request.

    Raises:
        InvalidParameter: A parameter is unknown, given twice or has no valid value.
    """
    values: dict[str, Any] = {}
    for name, text in request.query_params.multi_items():
        parameter = known.get(name)
        if parameter is None:
            similar = difflib.get_close_matches(name[:MAX_NAME], known, 1, 0.5)
            if similar:
                raise InvalidParameter("unknown_similar", parameter=name[:MAX_NAME], similar=similar[0])
            raise InvalidParameter("unknown", parameter=name[:MAX_NAME], known=tuple(known))
        if name in values:
            raise InvalidParameter("repeated", parameter=name)
        try:
            values[name] = parameter(text)
        except InvalidParameter as error:
            raise error.of(name) from None
    return values


def day(text: str) -> date:
    """A date: YYYY-MM-DD."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise InvalidParameter("date")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidParameter("no_such_date", value=text) from None


def instant(text: str) -> datetime:
    """An instant with its offset from UTC, which it must have: without, it could be any instant of two days."""
    try:
        # A '+' that the client did not escape arrives as a space.
        moment = datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)\Z", r"+\1", text))
        if moment.tzinfo is None or "T" not in text.upper():
            raise ValueError
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidParameter("instant") from None


def flag(text: str) -> bool:
    """`true` or `false`."""
    if text not in ("true", "false"):
        raise InvalidParameter("boolean")
    return text == "true"


def slug(text: str) -> str:
    """The slug of an organization or sector."""
    if not is_slug(text):
        raise InvalidParameter("slug")
    return text


def place(text: str) -> str:
    """An ISO 3166 country or subdivision."""
    if not re.match(PLACE, text):
        raise InvalidParameter("place")
    return text


def text(text: str) -> str:
    """Text without control characters."""
    if not text.strip() or len(text) > MAX_TEXT or re.search(r"[\x00-\x1f\x7f]", text):
        raise InvalidParameter("text", limit=MAX_TEXT)
    return text


def integer(low: int, high: int) -> Parameter:
    """An integer between two bounds."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or not low <= int(text) <= high:
            raise InvalidParameter("integer", low=low, high=high)
        return int(text)

    return read


def choice(*values: str) -> Parameter:
    """One of some tokens."""

    def read(text: str) -> str:
        if text not in values:
            raise InvalidParameter("choice", known=values)
        return text

    return read


AXES: dict[str, Parameter] = {
    "effective_on": day,
    "published_on": day,
    "recorded_at": instant,
    "position": integer(0, MAX_POSITION),
}
"""The parameters of an as-of point."""

TWO_POINTS = {f"{end}.{name}": parameter for end in ("from", "to") for name, parameter in AXES.items()}
"""The parameters of a comparison."""

FILTERS: dict[str, Parameter] = {
    "organization": slug,
    "role": choice(*get_args(Role)),
    "region": place,
    "sector": slug,
    "stage": choice(*get_args(Stage)),
    "commitment": choice(*get_args(Commitment)),
    "currency": choice(*get_args(Currency)),
    "kind": choice(*get_args(DealKind)),
}
"""The filters of lists and totals."""


def as_of_point(params: Mapping[str, Any], prefix: str = "") -> AsOf:
    """The as-of point among the parameters of a page."""
    return AsOf(**{name: params.get(prefix + name) for name in AXES})


def filter_terms(params: Mapping[str, Any]) -> list[str]:
    """The filters among the parameters as index terms; an organization with a role also means that it has this role."""
    terms = [f"{name}:{params[name]}" for name in FILTERS if name in params]
    if "organization" in params and "role" in params:
        terms.append(f"{params['role']}:{params['organization']}")
    return terms


def is_slug(text: str) -> bool:
    """Whether a text can be the id of a deal or an organization."""
    return len(text) <= MAX_SLUG and re.match(SLUG, text) is not None


def check_slug(text: str) -> str:
    """The slug of a deal or organization in the address of a form.

    Raises:
        Invalid: It is not a slug.
    """
    if not is_slug(text):
        raise Invalid([FieldError("", "slug", value=text[:MAX_SLUG])])
    return text


__all__ = ["AXES", "FILTERS", "READ", "TWO_POINTS", "require_single_axis"]
