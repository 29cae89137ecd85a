"""The filters of a list of deals as one value, which lists, exports, feeds, webhooks and watches share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypedDict, get_type_hints

import msgspec
from msgspec import Meta, Struct

from registry.domain.deal import Deal
from registry.domain.items import item_types
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


class DealQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Deals that meet every given condition: the filters of `GET /v1/deals`."""

    q: Annotated[str, Meta(min_length=1, max_length=2000, pattern=r"\S")] | None = None
    organization: Slug | None = None
    role: Role | None = None
    share_min: Percent | None = None
    share_max: Percent | None = None
    region: Place | None = None
    extent: Literal["within", "beyond", "unstated"] | None = None
    sector: Slug | None = None
    stage: Stage | None = None
    commitment: Commitment | None = None
    kind: DealKind | None = None
    classification: Annotated[str, Meta(pattern=CLASSIFICATION, max_length=300)] | None = None
    identifier: Annotated[str, Meta(pattern=IDENTIFIER, max_length=300)] | None = None
    metric: Quantity | None = None
    metric_basis: MetricBasis | None = None
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

ITEM_FILTER_TYPES = {name: get_type_hints(DealQuery, include_extras=True)[name] for name in ITEM_FILTERS}
"""Their types, each with its description."""


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
