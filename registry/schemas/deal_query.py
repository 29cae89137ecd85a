"""The filters of a list of deals as one value, which lists, exports, feeds, webhooks and watches share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypedDict, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from registry.domain.deal import Deal
from registry.domain.fold.items import item_types
from registry.domain.totals.measures import Quantity
from registry.errors import FieldError, Invalid
from registry.events.currencies import Currency
from registry.events.values import (
    Commitment,
    DealKind,
    Decimal,
    IncentiveKind,
    Line,
    MetricBasis,
    Percent,
    Place,
    Role,
    SetbackKind,
    Slug,
    Stage,
)

CLASSIFICATION = r"^[a-z_]+:.+$"
IDENTIFIER = r"^[A-Za-z0-9._-]+:.+$"

Extent = Literal["within", "beyond", "country", "unstated"]
"""How the sites of deals lie to a region: `DealQuery.extent`."""


class DealQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Deals that meet every given condition: the filters of `GET /v1/deals`."""

    q: Annotated[str, Meta(min_length=1, max_length=2000, pattern=r"\S")] | None = None
    organization: Slug | None = None
    role: Annotated[
        Role | None,
        Meta(description="Deals with a party in this role; with `organization`, with that one in this role."),
    ] = None
    share_min: Percent | None = None
    share_max: Percent | None = None
    region: Place | None = None
    extent: Annotated[
        Extent | None,
        Meta(
            description="With `region`: deals with no site elsewhere (`within`), or that also have one (`beyond`);"
            " or, instead of these, deals that may be there: with a site of which only the country of the region is"
            " stated (`country`), or without any stated place (`unstated`)."
        ),
    ] = None
    sector: Annotated[Slug | None, Meta(description="Deals of this sector.")] = None
    stage: Annotated[Stage | None, Meta(description="Deals at this stage.")] = None
    commitment: Annotated[
        Commitment | None, Meta(description="Deals with a current pledge of this commitment level.")
    ] = None
    kind: Annotated[DealKind | None, Meta(description="Deals of this kind.")] = None
    classification: Annotated[str, Meta(pattern=CLASSIFICATION, max_length=300)] | None = None
    identifier: Annotated[str, Meta(pattern=IDENTIFIER, max_length=300)] | None = None
    metric: Annotated[
        Quantity | None,
        Meta(
            description="Deals for which this quantity is stated, of the deal or of a site that was not dropped; the"
            " GPUs of sites are among `gpus`, their power is `power_mw`."
        ),
    ] = None
    metric_basis: Annotated[
        MetricBasis | None, Meta(description="With `metric`: on this basis. Values of sites are planned ones.")
    ] = None
    metric_min: Decimal | None = None
    metric_max: Decimal | None = None
    metric_unit: Line | None = None
    incentive: Annotated[
        IncentiveKind | None, Meta(description="Deals with an incentive of this kind that has not ended.")
    ] = None
    setback: Annotated[
        SetbackKind | None, Meta(description="Deals with a setback of this kind that was not resolved.")
    ] = None
    currency: Currency | None = None
    amount_min: Decimal | None = None
    amount_max: Decimal | None = None

    def given(self) -> dict[str, str]:
        """The conditions by name, as query parameters have them."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in values.items()
            if value is not None
        }

    @property
    def missing_condition(self) -> tuple[str, str] | None:
        """A condition that another one needs: its name, and the code of the error that it is missing."""
        if self.extent is not None and self.region is None:
            return "region", "extent_region"
        if self.currency is None and (self.amount_min is not None or self.amount_max is not None):
            return "currency", "amount_currency"
        has_bounds = self.metric_min is not None or self.metric_max is not None
        if self.metric is None and (has_bounds or self.metric_basis is not None or self.metric_unit is not None):
            return "metric", "metric_bounds"
        if self.metric == "capacity_per_year" and has_bounds and self.metric_unit is None:
            return "metric_unit", "metric_unit"
        return None


ITEM_FILTERS = {
    ids[0]: name
    for name, item in item_types(Deal).items()
    if len(ids := item.id_fields) == 1 and ids[0] in DealQuery.__struct_fields__
}
"""The filters with the name of an item: the kind of one that has not ended. By filter, the list of the items."""

# The stage has a table of its own, and so have the lists of items; identifiers are in the table of deals.
_IN_OTHER_TABLES = {"stage", *item_types(Deal)} - {"identifiers"}


def _filter_of(field: str) -> str:
    """The name that a filter by a field has."""
    return field if field in DealQuery.__struct_fields__ else field.removesuffix("s")


FIELD_FILTERS = {
    _filter_of(field): field
    for field in Deal.__struct_fields__
    if field not in _IN_OTHER_TABLES and _filter_of(field) in DealQuery.__struct_fields__
}
"""The filters with the name of a field of the deal itself: its code, or, of a field with an "s" more, one of its codes.

By filter, the field. It is a column of `deal_facts`, in the rows of lists and in the exported table of deals.
"""

CODE_FILTERS = {name: field for name, field in FIELD_FILTERS.items() if name not in ("classification", "identifier")}
"""Those whose values are codes with a label each, not `AXIS:CODE` or `SCHEME:VALUE`."""


DESCRIBED_FILTERS: dict[str, tuple[Any, str]] = {
    name: (hint.__origin__, hint.__metadata__[0].description)
    for name, hint in get_type_hints(DealQuery, include_extras=True).items()
    if get_origin(hint) is Annotated
}
"""The filters that `DealQuery` describes: the type of each, and its description."""


class DealConditions(TypedDict, total=False):
    """The filters of `DealQuery` as clients give them."""

    organization: str | None
    role: str | None
    share_min: str | None
    share_max: str | None
    region: str | None
    extent: str | None
    sector: str | None
    stage: str | None
    commitment: str | None
    kind: str | None
    classification: str | None
    identifier: str | None
    metric: str | None
    metric_basis: str | None
    metric_min: str | None
    metric_max: str | None
    metric_unit: str | None
    incentive: str | None
    setback: str | None
    amount_min: str | None
    amount_max: str | None
    q: str | None


class DealListQuery(DealQuery, frozen=True):
    """The filters of a list of deals at one time, which may depend on when they were recorded."""

    updated_since: datetime | None = None


def check(deals: DealQuery | None) -> None:
    """Check the query of a body.

    Raises:
        Invalid: A condition lacks another one.
    """
    missing = deals.missing_condition if deals is not None else None
    if missing is not None:
        name, code = missing
        raise Invalid([FieldError(f"/deals/{name}", code)])


def stored(deals: DealQuery | None) -> str | None:
    """The JSON in which a table stores a query."""
    return msgspec.json.encode(deals).decode() if deals is not None else None


def loaded(text: str | None) -> DealQuery | None:
    """The query that a table has stored as JSON."""
    return msgspec.json.decode(text, type=DealQuery) if text is not None else None
