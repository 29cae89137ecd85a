"""The filters of deals and of events as query parameters, each once, and the dependencies made of them.

`DealQuery` has their values. Lists of deals and totals take all of them. In totals `currency` is what amounts are
converted to, and the currency of a pledge is `pledged_in`.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, Signature
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter
from msgspec.structs import asdict, replace

from registry.errors import InvalidParameter
from registry.events.currencies import Currency
from registry.events.types import EVENT_TYPES
from registry.events.values import Decimal, Percent, Place, Slug
from registry.http.parameters import INSTANT_SCHEMA, form_of, instant, slug, text
from registry.queries.event_filter import EventFilter
from registry.schemas.deal_query import CLASSIFICATION, DESCRIBED_FILTERS, IDENTIFIER, DealListQuery, DealQuery

Query = TypeVar("Query", bound=DealQuery)

OrganizationFilter: TypeAlias = Annotated[str | None, slug("Deals of this organization.")]
UpdatedSince: TypeAlias = Annotated[
    str | None,
    QueryParameter(description="Deals with an event that was recorded then or later.", schema_extra=INSTANT_SCHEMA),
]
AmountBound: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        description="Deals with a pledge of at least (`amount_min`) or at most (`amount_max`) so much of one currency.",
        pattern=form_of(Decimal),
        title="amount",
        schema_extra={"examples": ["1000000000"]},
    ),
]
ShareBound: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        description="Deals with a party whose stated share is at least (`share_min`) or at most (`share_max`) so many"
        " percent; with `organization` or `role`, that party.",
        pattern=form_of(Percent),
        title="percent",
        schema_extra={"examples": ["50"]},
    ),
]
MetricBound: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        description="Deals with at least (`metric_min`) or at most (`metric_max`) so much of `metric`, on one basis and"
        " in one unit: the deal's own figure, without one the sum of its sites', as totals count them.",
        pattern=form_of(Decimal),
        title="quantity",
        schema_extra={"examples": ["100"]},
    ),
]


Words: TypeAlias = Annotated[
    str | None,
    text("Words that the deals have in names, places, parties, sources or identifiers, as `/v1/search` finds them."),
]


def _parameter(type: Any, description: str) -> Any:
    """The parameter of a filter that `DealQuery` describes: a slug, or one of some words."""
    if type == Slug | None:
        return Annotated[str | None, slug(description)]
    return Annotated[type, QueryParameter(description=description)]


_OWN_PARAMETERS: dict[str, Any] = {
    "share_min": ShareBound,
    "share_max": ShareBound,
    "region": Annotated[
        str | None,
        QueryParameter(
            description="Deals with a site in this ISO 3166 country or subdivision.",
            pattern=form_of(Place),
            title="place",
            schema_extra={"examples": ["KR-31"]},
        ),
    ],
    "classification": Annotated[
        str | None,
        QueryParameter(
            description="Deals with this code of an axis of classification, as `AXIS:CODE`.",
            pattern=CLASSIFICATION,
            title="classification",
            schema_extra={"examples": ["technology:solar"]},
        ),
    ],
    "identifier": Annotated[
        str | None,
        QueryParameter(
            description="The deal with this identifier of another register or list, as `SCHEME:VALUE`.",
            pattern=IDENTIFIER,
            title="identifier",
            schema_extra={"examples": ["ocid:ocds-213czf-000-00001"]},
        ),
    ],
    "metric_min": MetricBound,
    "metric_max": MetricBound,
    "metric_unit": Annotated[
        str | None, text("With `metric=capacity_per_year`: in this unit, which its bounds require.")
    ],
}
"""The parameters of the filters that are neither a slug nor one of some words."""

PARAMETERS = {
    name: _OWN_PARAMETERS[name] if name in _OWN_PARAMETERS else _parameter(*DESCRIBED_FILTERS[name])
    for name in DealQuery.__struct_fields__
    if name not in ("q", "organization", "currency", "amount_min", "amount_max")
}
"""The parameters of `deal_conditions`, in the order of `DealQuery`."""


def deal_conditions(**given: Any) -> DealQuery:
    """Return the conditions that every question about deals takes.

    Raises:
        InvalidParameter: An extent without a region, or bounds of a quantity that is not named.
    """
    return _checked(DealQuery(**given))


# Litestar reads the parameters of a dependency from its signature.
deal_conditions.__signature__ = Signature(  # type: ignore[attr-defined]
    [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=type) for name, type in PARAMETERS.items()]
)
deal_conditions.__annotations__ = {**PARAMETERS, "return": DealQuery}


def found_deals(
    deal_conditions: NamedDependency[DealQuery],
    q: Words = None,
    currency: Annotated[
        Currency | None, QueryParameter(description="Deals with a pledge in this ISO 4217 currency.")
    ] = None,
    amount_min: AmountBound = None,
    amount_max: AmountBound = None,
) -> DealQuery:
    """Return the conditions that lists of deals and of events take.

    Raises:
        InvalidParameter: Amounts of which currency is not said.
    """
    given = {"q": q, "currency": currency, "amount_min": amount_min, "amount_max": amount_max}
    return _checked(replace(deal_conditions, **given))


def deal_filters(
    found_deals: NamedDependency[DealQuery], organization: OrganizationFilter = None, updated_since: UpdatedSince = None
) -> DealListQuery:
    """Return the filters of a list of deals."""
    return _listed(found_deals, organization, updated_since)


def totals_filters(
    deal_conditions: NamedDependency[DealQuery],
    q: Words = None,
    pledged_in: Annotated[
        Currency | None,
        QueryParameter(
            description="Deals with a pledge in this ISO 4217 currency: the filter `currency` of lists."
            " `amount_min` and `amount_max` are in it."
        ),
    ] = None,
    amount_min: AmountBound = None,
    amount_max: AmountBound = None,
    organization: OrganizationFilter = None,
    updated_since: UpdatedSince = None,
) -> DealListQuery:
    """Return the filters of the deals that are added up.

    Raises:
        InvalidParameter: Amounts of which currency is not said.
    """
    given = {"q": q, "currency": pledged_in, "amount_min": amount_min, "amount_max": amount_max}
    query = replace(deal_conditions, **given)
    missing = query.missing_condition
    if missing is not None:
        raise InvalidParameter(missing[1], parameter="pledged_in" if missing[0] == "currency" else missing[0])
    return _listed(query, organization, updated_since)


def totals_parameters(filters: Mapping[str, str]) -> dict[str, str]:
    """The filters of lists as parameters of totals."""
    return {"pledged_in" if name == "currency" else name: value for name, value in filters.items()}


def _listed(query: DealQuery, organization: str | None, updated_since: str | None) -> DealListQuery:
    given = asdict(query) | {"organization": organization}
    return DealListQuery(**given, updated_since=instant("updated_since", updated_since))


def _checked(query: Query) -> Query:
    """Return a query none of whose conditions needs another one that is missing."""
    missing = query.missing_condition
    if missing is not None:
        name, code = missing
        raise InvalidParameter(code, parameter=name)
    return query


EventType: Any = Literal[tuple(EVENT_TYPES)]
_TYPE = f"({'|'.join(EVENT_TYPES)})"


def event_filter(
    type: Annotated[
        str | None,
        QueryParameter(
            description="Events of this type; of several, with commas between them.",
            pattern=rf"^{_TYPE}(,{_TYPE})*$(?!\n)",
            title="event_type",
            schema_extra={"examples": ["pledge_announced,pledge_revised"]},
        ),
    ] = None,
    deal: Annotated[str | None, slug("Events of this deal.")] = None,
    organization: Annotated[str | None, slug("Events that name this organization.")] = None,
    source: Annotated[str | None, text("Events that cite the source with this address.")] = None,
) -> EventFilter:
    """Return the filter of a list of events."""
    return EventFilter(tuple(dict.fromkeys(type.split(","))) if type else (), deal, organization, source)


def event_deals(
    event_filter: NamedDependency[EventFilter], found_deals: NamedDependency[DealQuery]
) -> DealQuery | None:
    """Return which deals the events of a list are about; None if any.

    The organization is one that the event names; with `role`, it also is a party of the deal in this role.
    """
    organization = event_filter.organization if found_deals.role is not None else None
    deals = replace(found_deals, organization=organization)
    return deals if deals.given() else None


DEPENDENCIES = {
    provider.__name__: Provide(provider, sync_to_thread=False)
    for provider in (deal_conditions, found_deals, deal_filters, totals_filters, event_filter, event_deals)
}
"""The filters that handlers ask for, by name."""
