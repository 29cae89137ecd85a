"""Query, header and path parameters that several handlers share, and the dependencies made of them.

Litestar reads, checks and documents each parameter from its annotation. `registry/http/guards.py` refuses what an
annotation does not describe.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, TypeAlias, get_args

from litestar.di import NamedDependency, Provide
from litestar.openapi.spec import OpenAPIType, Parameter, Schema
from litestar.params import HeaderParameter, PathParameter, QueryParameter

from registry.domain.history import AsOf
from registry.errors import InvalidParameter
from registry.events.values import Slug

MAX_POSITION = 2**53
MAX_TEXT = 2000
MAX_PAGE = 1000

EFFECTIVE_ON = (
    "The state that is effective on this day. If left out: today in the registry's time zone; where the log is fixed, "
    "the day at which it stood there."
)
PUBLISHED_ON = "What was published by this day."
RECORDED_AT = "What this registry had recorded by this instant."
POSITION = "The state of the log at this position; 0 is before its first event."
DAY_EXAMPLE: Any = {"examples": ["2025-10-29"]}
INSTANT_SCHEMA: Any = {"format": "date-time", "examples": ["2025-10-29T12:00:00Z"]}


def integer(description: str, low: int, high: int, name: str | None = None) -> QueryParameter:
    """Describe a query parameter that is an integer between bounds."""
    # Litestar leaves a bound of 0 out of the schema.
    return QueryParameter(name=name, description=description, ge=low, le=high, schema_extra={"minimum": low})


def form_of(type: Any) -> str:
    """The pattern of a text in a fixed form (`events/values.py`)."""
    return str(get_args(type)[1].pattern)


SLUG = form_of(Slug)


def slug(description: str) -> QueryParameter:
    """Describe a query parameter that is the slug of a deal, an organization or a sector.

    The title is the code of the error for another value, here and below.
    """
    return QueryParameter(description=description, pattern=SLUG, max_length=80, title="slug")


def text(description: str) -> QueryParameter:
    """Describe a query parameter that is text."""
    return QueryParameter(description=description, min_length=1, max_length=MAX_TEXT, pattern=r"\S")


# --- path -------------------------------------------------------------------------------------------------------------

DealSlug: TypeAlias = Annotated[
    str, PathParameter(description="A deal's slug.", pattern=SLUG, max_length=80, title="slug")
]
OrganizationSlug: TypeAlias = Annotated[
    str, PathParameter(description="An organization's slug.", pattern=SLUG, max_length=80, title="slug")
]

# --- the three time axes ----------------------------------------------------------------------------------------------

EffectiveOn: TypeAlias = Annotated[date | None, QueryParameter(description=EFFECTIVE_ON, schema_extra=DAY_EXAMPLE)]
PublishedOn: TypeAlias = Annotated[date | None, QueryParameter(description=PUBLISHED_ON, schema_extra=DAY_EXAMPLE)]
RecordedAt: TypeAlias = Annotated[str | None, QueryParameter(description=RECORDED_AT, schema_extra=INSTANT_SCHEMA)]
Position: TypeAlias = Annotated[int | None, integer(POSITION, 0, MAX_POSITION)]


def as_of(
    effective_on: EffectiveOn = None,
    published_on: PublishedOn = None,
    recorded_at: RecordedAt = None,
    position: Position = None,
) -> AsOf:
    """Return the point in time that a request asks for."""
    return AsOf(
        effective_on=effective_on,
        published_on=published_on,
        recorded_at=instant("recorded_at", recorded_at),
        position=position,
    )


def from_as_of(
    from_effective_on: Annotated[
        date | None, QueryParameter(name="from.effective_on", description=EFFECTIVE_ON, schema_extra=DAY_EXAMPLE)
    ] = None,
    from_published_on: Annotated[
        date | None, QueryParameter(name="from.published_on", description=PUBLISHED_ON, schema_extra=DAY_EXAMPLE)
    ] = None,
    from_recorded_at: Annotated[
        str | None,
        QueryParameter(name="from.recorded_at", description=RECORDED_AT, schema_extra=INSTANT_SCHEMA),
    ] = None,
    from_position: Annotated[int | None, integer(POSITION, 0, MAX_POSITION, name="from.position")] = None,
) -> AsOf:
    """Return the earlier point of a comparison."""
    recorded_at = instant("from.recorded_at", from_recorded_at)
    return AsOf(
        effective_on=from_effective_on,
        published_on=from_published_on,
        recorded_at=recorded_at,
        position=from_position,
    )


def to_as_of(
    to_effective_on: Annotated[
        date | None, QueryParameter(name="to.effective_on", description=EFFECTIVE_ON, schema_extra=DAY_EXAMPLE)
    ] = None,
    to_published_on: Annotated[
        date | None, QueryParameter(name="to.published_on", description=PUBLISHED_ON, schema_extra=DAY_EXAMPLE)
    ] = None,
    to_recorded_at: Annotated[
        str | None,
        QueryParameter(name="to.recorded_at", description=RECORDED_AT, schema_extra=INSTANT_SCHEMA),
    ] = None,
    to_position: Annotated[int | None, integer(POSITION, 0, MAX_POSITION, name="to.position")] = None,
) -> AsOf:
    """Return the later point of a comparison."""
    recorded_at = instant("to.recorded_at", to_recorded_at)
    return AsOf(
        effective_on=to_effective_on, published_on=to_published_on, recorded_at=recorded_at, position=to_position
    )


def portfolio_as_of(as_of: NamedDependency[AsOf]) -> AsOf:
    """Return the point in time that a request for a list or a total asks for."""
    return require_single_axis(as_of)


def instant(parameter: str, text: str | None) -> datetime | None:
    """Return an instant that a parameter gives with its offset, in UTC.

    Raises:
        InvalidParameter: There is no such instant.
    """
    if text is None:
        return None
    try:
        # A '+' that the client did not escape arrives as a space.
        moment = datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)\Z", r"+\1", text))
        # Without an offset it could be any instant of two days.
        if moment.tzinfo is None or "T" not in text.upper():
            raise ValueError
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidParameter("instant", parameter=parameter) from None


def require_single_axis(as_of: AsOf, prefix: str = "") -> AsOf:
    """Return a point that a list can be read at: by publication or by recording, not both.

    Raises:
        InvalidParameter: The point fixes both.
    """
    if as_of.published_on is not None and (as_of.recorded_at is not None or as_of.position is not None):
        raise InvalidParameter("single_axis", parameter=f"{prefix}published_on")
    return as_of


# --- pages ------------------------------------------------------------------------------------------------------------

Cursor: TypeAlias = Annotated[
    str | None,
    text("Where the page begins: `next` of the previous page."),
]
Limit: TypeAlias = Annotated[int, integer("The most entries to return.", 1, MAX_PAGE)]
After: TypeAlias = Annotated[int, integer("Events after this position.", 0, MAX_POSITION)]


# --- headers and writing ----------------------------------------------------------------------------------------------

# OpenAPI has responses by media type instead of a parameter.
Accept: TypeAlias = Annotated[str, HeaderParameter(name="Accept", include_in_schema=False)]
DryRun: TypeAlias = Annotated[bool, QueryParameter(description="Return what would change, and record nothing.")]
IF_NONE_MATCH = "The ETag of a stored answer; 304 if it is current."
ETAG_EXAMPLE = '"3;2025-10-29"'
IfNoneMatch: TypeAlias = Annotated[
    str | None,
    HeaderParameter(name="If-None-Match", description=IF_NONE_MATCH, schema_extra={"examples": [ETAG_EXAMPLE]}),
]


def _documented_header(name: str, description: str, example: str) -> Parameter:
    schema = Schema(type=OpenAPIType.STRING, description=description, examples=[example])
    return Parameter(name, "header", schema, description, required=False)


# The headers of a post, and below those of a deal. `conditional.py` reads them: as parameters of a handler they cost 6
# of the 50 to 80 µs of its HTTP layer, because Litestar parses all headers first.
POST_HEADERS = (
    _documented_header(
        "If-Match",
        "The ETag of the version that the request builds on; 412 if the stream has another version.",
        '"3"',
    ),
    _documented_header("If-None-Match", "`*`: the deal or organization must be new.", "*"),
    _documented_header(
        "Idempotency-Key",
        "Identifies the request for at least 24 hours, so that a retry records nothing twice.",
        "7f3c",
    ),
)

STATE_HEADERS = (
    _documented_header("If-None-Match", IF_NONE_MATCH, ETAG_EXAMPLE),
    _documented_header(
        "Accept-Datetime",
        "An instant in the past (RFC 7089); the same as `recorded_at` at the end of that second.",
        "Wed, 29 Oct 2025 12:00:00 GMT",
    ),
)

DEPENDENCIES = {
    provider.__name__: Provide(provider, sync_to_thread=False)
    for provider in (as_of, from_as_of, to_as_of, portfolio_as_of)
}
"""The points in time that handlers ask for, by name."""
