"""Cursors of lists that are read at a point in time: they fix the point and say where the next page begins."""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import date
from typing import Annotated, Any, TypeAlias

import msgspec
from litestar.params import QueryParameter
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.audit.provenance import FieldPlace
from registry.domain.history import AsOf
from registry.errors import InvalidParameter
from registry.projections.columnar.lists import PagePlace
from registry.projections.point import Point

CursorParameter: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        description="Where the page begins: `next` of the previous page. It fixes the point in time of the first page.",
        pattern=r"^[A-Za-z0-9_-]+$(?!\n)",
        title="cursor",
        schema_extra={"examples": ["WzQyLCIyMDI1LTEwLTI5IixbbnVsbCwiYSJdLDBd"]},
    ),
]


class ListCursor(Struct, frozen=True, array_like=True):
    """The log position of the first page, None on the axis of publication; its effective date; where the page begins.

    `place` is where a page of deals begins, `skip` how many groups of totals come before it, `field` where a page of
    the fields of a deal begins. `filters` is a digest of those of the list.
    """

    position: int | None
    day: date
    place: PagePlace | None = None
    skip: int = 0
    field: FieldPlace | None = None
    filters: str = ""

    def fix(self, as_of: AsOf) -> AsOf:
        """The point of the first page, also if events were recorded since."""
        if self is FIRST_PAGE:
            return as_of
        fixed = as_of if as_of.effective_on is not None else replace(as_of, effective_on=self.day)
        if self.position is not None and as_of.position is None and as_of.recorded_at is None:
            fixed = replace(fixed, position=self.position)
        return fixed


FIRST_PAGE = ListCursor(None, date.min)

_decode = msgspec.json.Decoder(ListCursor).decode


def cursor_at(point: Point) -> ListCursor:
    """The cursor that fixes a point."""
    return ListCursor(point.known if isinstance(point.known, int) else None, point.day)


def encode_cursor(point: Point, filters: Any, place: PagePlace | None = None, skip: int = 0) -> str | None:
    """The text of the cursor of a page of deals or of groups; None after the last page.

    Args:
        point: The point of the list.
        filters: What the list was asked for, beside its point and order: the next page must be asked for the same.
        place: Where the next page of deals begins.
        skip: How many groups come before it.
    """
    if place is None and not skip:
        return None
    return _encode(replace(cursor_at(point), place=place, skip=skip, filters=_digest(filters)))


def encode_field_cursor(position: int, day: date, field: FieldPlace | None) -> str | None:
    """The text of the cursor of a page of fields; None after the last page."""
    return _encode(ListCursor(position, day, field=field)) if field is not None else None


def _digest(filters: Any) -> str:
    """A short digest of filters; empty without any."""
    return hashlib.sha256(msgspec.json.encode(filters)).hexdigest()[:12] if filters is not None else ""


def _encode(cursor: ListCursor) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def decode_cursor(text: str | None, filters: Any = None) -> ListCursor:
    """The cursor in a text; without one that of the first page.

    Args:
        text: The text.
        filters: What the list is asked for now (`encode_cursor`).

    Raises:
        InvalidParameter: It is none, or the cursor of a list with other filters.
    """
    if not text:
        return FIRST_PAGE
    try:
        cursor = _decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, UnicodeError, ValueError, msgspec.DecodeError):
        raise InvalidParameter("cursor", parameter="cursor") from None
    # A cursor of 0.1.0 has no digest: a client that reads pages during an upgrade goes on.
    if cursor.filters and cursor.filters != _digest(filters):
        raise InvalidParameter("cursor", parameter="cursor")
    return cursor
