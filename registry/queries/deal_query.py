"""The filters of a list of deals as one value, which feeds, webhooks and watches keep."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from registry.errors import FieldError, Invalid
from registry.events.currencies import Currency
from registry.events.values import Commitment, DealKind, Decimal, Place, Role, Slug, Stage

CLASSIFICATION = r"^[a-z_]+:.+$"
IDENTIFIER = r"^[A-Za-z0-9._-]+:.+$"


class DealQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Deals that meet every given condition: the filters of `GET /v1/deals`."""

    q: Annotated[str, Meta(min_length=1, max_length=2000, pattern=r"\S")] | None = None
    organization: Slug | None = None
    role: Role | None = None
    region: Place | None = None
    extent: Literal["within", "beyond"] | None = None
    sector: Slug | None = None
    stage: Stage | None = None
    commitment: Commitment | None = None
    kind: DealKind | None = None
    classification: Annotated[str, Meta(pattern=CLASSIFICATION, max_length=300)] | None = None
    identifier: Annotated[str, Meta(pattern=IDENTIFIER, max_length=300)] | None = None
    currency: Currency | None = None
    amount_min: Decimal | None = None
    amount_max: Decimal | None = None

    def given(self) -> dict[str, str]:
        """The conditions by name."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def lacks_region(self) -> bool:
        """Whether it has an extent of no region."""
        return self.extent is not None and self.region is None

    @property
    def lacks_currency(self) -> bool:
        """Whether it has amounts of which currency is not said."""
        return self.currency is None and (self.amount_min is not None or self.amount_max is not None)


def check(deals: DealQuery | None) -> None:
    """Check the query of a body.

    Raises:
        Invalid: A condition lacks another one.
    """
    if deals is not None and deals.lacks_region:
        raise Invalid([FieldError("/deals/region", "extent_region")])
    if deals is not None and deals.lacks_currency:
        raise Invalid([FieldError("/deals/currency", "amount_currency")])


def stored(deals: DealQuery | None) -> str | None:
    """A query as a table has it: JSON."""
    return msgspec.json.encode(deals).decode() if deals is not None else None


def loaded(text: str | None) -> DealQuery | None:
    """The query of a table's text."""
    return msgspec.json.decode(text, type=DealQuery) if text is not None else None
