"""Rows and pages of the list of deals, and totals."""

from __future__ import annotations

from datetime import date, datetime

from msgspec import UNSET, UnsetType

from registry.domain.deal import Deal, DealIdentifierState, RelationState
from registry.domain.money.rates import NewestRate
from registry.domain.quotes import Quote
from registry.domain.stages import StageState
from registry.domain.totals import Totals
from registry.events.values import AmountBasis, Classifications, Commitment, DealKind, Edtf
from registry.schemas.base import RequestedAsOf, RequestedPoint, ResponseModel
from registry.schemas.deal_query import FIELD_FILTERS
from registry.schemas.derive import with_fields
from registry.schemas.values import AmountResponse, LocalizedResponse


class ListedPledge(ResponseModel, frozen=True, kw_only=True):
    """A pledge in a list. `until` is the end of its horizon.

    `flags` are the rules of the flags on its amount; one that doubts the amount keeps it out of lower bounds. `part_of`
    names the pledges and deals that it is part of (`DEAL/PLEDGE`, `DEAL`): its amount is shown as "of which" under
    theirs. `superseded_by` names those that took its place.
    """

    pledge: str
    amount: AmountResponse | None
    amount_basis: AmountBasis | None
    commitment: Commitment | None
    status: str
    by: tuple[str, ...]
    announced_on: date
    until: Edtf | None
    flags: tuple[str, ...] = ()
    part_of: tuple[str, ...] = ()
    superseded_by: tuple[str, ...] = ()


@with_fields(Deal, FIELD_FILTERS.values())
class DealListItem(ResponseModel, frozen=True, kw_only=True):
    """A deal in a list: `organizations` are its present parties, `places` those of the sites that were not dropped.

    `superseded_by` are the deals that took its place. Such a deal, and one that was withdrawn or cancelled, is in lists
    and no longer in totals. An `undated` deal is in the lists of every day: neither its registration nor its sources
    have a date.
    """

    deal: str
    title: LocalizedResponse | None
    kind: DealKind | None
    stage: StageState | None
    sectors: tuple[str, ...]
    classifications: Classifications | None
    identifiers: tuple[DealIdentifierState, ...]
    organizations: tuple[str, ...]
    places: tuple[str, ...]
    pledges: tuple[ListedPledge, ...]
    relations: tuple[RelationState, ...]
    superseded_by: tuple[str, ...] = ()
    undated: bool = False


class DealPage(RequestedAsOf, frozen=True, kw_only=True):
    """A page of deals. `next` is the cursor of the next page."""

    position: int
    deals: tuple[DealListItem, ...]
    next: str | None
    facets: dict[str, dict[str, int]] | UnsetType = UNSET


class TotalsResponse(RequestedPoint, frozen=True, kw_only=True):
    """The portfolio's amounts, with the text of each rule that decided.

    `newest_rate`: of a conversion, the newest exchange rate on or before the effective date, and how many days older.
    `next` is the cursor of the next page of groups.
    """

    totals: Totals
    rules: dict[str, str]
    newest_rate: NewestRate | None
    next: str | None


class RateSource(ResponseModel, frozen=True, kw_only=True):
    """A source of exchange rates: the days that it has rates for, and how many imports recorded them."""

    source: str
    currencies: int
    first_day: date
    last_day: date
    imports: int


class RatesResponse(ResponseModel, frozen=True, kw_only=True):
    """The exchange rates of a day, with their sources in the order in which they are tried.

    A rate is that of the day, or the last one before it, at most 31 days earlier. It states units of `currency` for one
    unit of `base`, and after which log position it was recorded.
    """

    day: date
    position: int | None
    recorded_at: datetime | None
    sources: tuple[RateSource, ...]
    rates: tuple[Quote, ...]
