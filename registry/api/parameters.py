"""Query, header and path parameters that several handlers share, and the dependencies made of them.

Litestar reads, checks and documents each parameter from its annotation. `registry/api/guards.py` refuses what an
annotation does not describe.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

from litestar.di import NamedDependency, Provide
from litestar.openapi.spec import OpenAPIType, Parameter, Schema
from litestar.params import HeaderParameter, PathParameter, QueryParameter
from msgspec import Struct

from registry.delivery.feed import Filter
from registry.domain.history import AsOf
from registry.errors import InvalidParameter
from registry.events.currencies import Currency
from registry.events.types import EVENT_TYPES
from registry.events.values import Commitment, DealKind, Role, Stage
from registry.queries.deal_query import CLASSIFICATION, IDENTIFIER, DealQuery

SLUG = r"^[a-z0-9]+(-[a-z0-9]+)*$(?!\n)"
PLACE = r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$(?!\n)"

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


def slug(description: str) -> QueryParameter:
    """Describe a query parameter that is the slug of a deal, an organization or a sector.

    The title is the code of the error for another value, here and below.
    """
    return QueryParameter(description=description, pattern=SLUG, max_length=80, title="slug")


def text(description: str) -> QueryParameter:
    """Describe a query parameter that is text."""
    return QueryParameter(description=description, min_length=1, max_length=MAX_TEXT, pattern=r"\S")


# --- path -------------------------------------------------------------------------------------------------------------

DealSlug: TypeAlias = Annotated[str, PathParameter(description="A deal's slug.", pattern=SLUG, max_length=80)]
OrganizationSlug: TypeAlias = Annotated[
    str, PathParameter(description="An organization's slug.", pattern=SLUG, max_length=80)
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


# --- filters and pages ------------------------------------------------------------------------------------------------

SearchText: TypeAlias = Annotated[
    str | None,
    text("Words that the deals have in names, places, parties, sources or identifiers, as `/v1/search` finds them."),
]
Cursor: TypeAlias = Annotated[
    str | None,
    text("Where the page begins: `next` of the previous page."),
]
Limit: TypeAlias = Annotated[int, integer("The most entries to return.", 1, MAX_PAGE)]
CurrencyFilter: TypeAlias = Annotated[
    Currency | None, QueryParameter(description="Deals with a pledge in this ISO 4217 currency.")
]


class DealFilters(Struct, frozen=True):
    """Conditions that all deals of a list meet."""

    organization: str | None = None
    role: str | None = None
    region: str | None = None
    sector: str | None = None
    stage: str | None = None
    commitment: str | None = None
    kind: str | None = None
    classification: str | None = None
    identifier: str | None = None
    amount_min: Decimal | None = None
    amount_max: Decimal | None = None
    updated_since: datetime | None = None
    extent: str | None = None

    def by_name(self, currency: str | None = None) -> dict[str, str]:
        """Return the values of the filters that a request has."""
        values = {
            "organization": self.organization,
            "role": self.role,
            "region": self.region,
            "extent": self.extent,
            "sector": self.sector,
            "stage": self.stage,
            "commitment": self.commitment,
            "currency": currency,
            "kind": self.kind,
            "classification": self.classification,
            "identifier": self.identifier,
        }
        return {name: value for name, value in values.items() if value is not None}

    def as_query(self, currency: str | None = None) -> dict[str, str]:
        """Return the filters as query parameters."""
        more = {"amount_min": self.amount_min, "amount_max": self.amount_max}
        found = {**self.by_name(currency), **{n: str(v) for n, v in more.items() if v is not None}}
        if self.updated_since is not None:
            found["updated_since"] = self.updated_since.isoformat()
        return found

    def amounts(self, currency: str | None) -> tuple[Decimal | None, Decimal | None]:
        """Return the bounds of amounts.

        Raises:
            InvalidParameter: Amounts of which currency is not said.
        """
        if currency is None and (self.amount_min is not None or self.amount_max is not None):
            raise InvalidParameter("amount_currency", parameter="currency")
        return self.amount_min, self.amount_max


AmountBound: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        description="Deals with a pledge of at least (`amount_min`) or at most (`amount_max`) this much in `currency`.",
        pattern=r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,6})?$(?!\n)",
        title="amount",
        schema_extra={"examples": ["1000000000"]},
    ),
]


RoleFilter: TypeAlias = Annotated[
    Role | None,
    QueryParameter(description="Deals with a party in this role; with `organization`, with that one in this role."),
]
RegionFilter: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        description="Deals with a site in this ISO 3166 country or subdivision.",
        pattern=PLACE,
        title="place",
        schema_extra={"examples": ["KR-31"]},
    ),
]
ExtentFilter: TypeAlias = Annotated[
    Literal["within", "beyond"] | None,
    QueryParameter(
        description="With `region`: deals with no site elsewhere (`within`), or that also have one (`beyond`)."
    ),
]
SectorFilter: TypeAlias = Annotated[str | None, slug("Deals of this sector.")]
StageFilter: TypeAlias = Annotated[Stage | None, QueryParameter(description="Deals at this stage.")]
CommitmentFilter: TypeAlias = Annotated[
    Commitment | None, QueryParameter(description="Deals with a current pledge of this commitment level.")
]
KindFilter: TypeAlias = Annotated[DealKind | None, QueryParameter(description="Deals of this kind.")]
ClassificationFilter: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        description="Deals with this code of an axis of classification, as `AXIS:CODE`.",
        pattern=CLASSIFICATION,
        title="classification",
        schema_extra={"examples": ["technology:solar"]},
    ),
]
IdentifierFilter: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        description="The deal with this identifier of another register or list, as `SCHEME:VALUE`.",
        pattern=IDENTIFIER,
        title="identifier",
        schema_extra={"examples": ["ocid:ocds-213czf-000-00001"]},
    ),
]


def deal_filters(
    organization: Annotated[str | None, slug("Deals of this organization.")] = None,
    role: RoleFilter = None,
    region: RegionFilter = None,
    sector: SectorFilter = None,
    stage: StageFilter = None,
    commitment: CommitmentFilter = None,
    kind: KindFilter = None,
    classification: ClassificationFilter = None,
    identifier: IdentifierFilter = None,
    amount_min: AmountBound = None,
    amount_max: AmountBound = None,
    updated_since: Annotated[
        str | None,
        QueryParameter(description="Deals with an event that was recorded then or later.", schema_extra=INSTANT_SCHEMA),
    ] = None,
    extent: ExtentFilter = None,
) -> DealFilters:
    """Return the filters of a list of deals.

    Raises:
        InvalidParameter: An extent without a region.
    """
    if extent is not None and region is None:
        raise InvalidParameter("extent_region", parameter="region")
    return DealFilters(
        organization,
        role,
        region,
        sector,
        stage,
        commitment,
        kind,
        classification,
        identifier,
        Decimal(amount_min) if amount_min is not None else None,
        Decimal(amount_max) if amount_max is not None else None,
        instant("updated_since", updated_since),
        extent,
    )


EventType: Any = Literal[tuple(EVENT_TYPES)]
_TYPE = f"({'|'.join(EVENT_TYPES)})"
EventTypes: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        description="Events of this type; of several, with commas between them.",
        pattern=rf"^{_TYPE}(,{_TYPE})*$(?!\n)",
        title="event_type",
        schema_extra={"examples": ["pledge_announced,pledge_revised"]},
    ),
]
After: TypeAlias = Annotated[int, integer("Events after this position.", 0, MAX_POSITION)]


def event_filter(
    type: EventTypes = None,
    deal: Annotated[str | None, slug("Events of this deal.")] = None,
    organization: Annotated[str | None, slug("Events that name this organization.")] = None,
    source: Annotated[
        str | None,
        text("Events that cite the source with this address."),
    ] = None,
) -> Filter:
    """Return the filter of a list of events."""
    return Filter(tuple(dict.fromkeys(type.split(","))) if type else (), deal, organization, source)


def event_deals(
    event_filter: NamedDependency[Filter],
    q: SearchText = None,
    role: RoleFilter = None,
    region: RegionFilter = None,
    extent: ExtentFilter = None,
    sector: SectorFilter = None,
    stage: StageFilter = None,
    commitment: CommitmentFilter = None,
    kind: KindFilter = None,
    classification: ClassificationFilter = None,
    identifier: IdentifierFilter = None,
    currency: CurrencyFilter = None,
    amount_min: AmountBound = None,
    amount_max: AmountBound = None,
) -> DealQuery | None:
    """Return which deals the events of a list are about; None if any.

    Raises:
        InvalidParameter: An extent without a region, or amounts of which currency is not said.
    """
    deals = DealQuery(
        q=q,
        organization=event_filter.organization if role is not None else None,
        role=role,
        region=region,
        extent=extent,
        sector=sector,
        stage=stage,
        commitment=commitment,
        kind=kind,
        classification=classification,
        identifier=identifier,
        currency=currency,
        amount_min=amount_min,
        amount_max=amount_max,
    )
    if deals.lacks_region:
        raise InvalidParameter("extent_region", parameter="region")
    if deals.lacks_currency:
        raise InvalidParameter("amount_currency", parameter="currency")
    return deals if deals.given() else None


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
    for provider in (as_of, from_as_of, to_as_of, portfolio_as_of, deal_filters, event_filter, event_deals)
}
"""Dependencies that handlers of the API share, by name."""
