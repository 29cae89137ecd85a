"""A total computed from the events of deals: a certificate states it, and verification computes it again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.checks.doubted_amounts import checks_of, doubts_of
from registry.domain.deal import Deal
from registry.domain.fold.redaction import with_redacted_effects
from registry.domain.history import AsOf, StateAsOf, state_as_of
from registry.domain.money.rates import Rate, RateProblem, Rates, RateUnavailable
from registry.domain.organizations.organization import Organization, ultimate_parents
from registry.domain.stream_kinds import ORGANIZATIONS
from registry.domain.totals import DealRow, Estimates, Group, Measure, TotalsQuery, compute_totals, measured, row_of
from registry.events.currencies import Currency
from registry.queries.deal_conditions import OF_ORGANIZATIONS, SelectedDeals, SimilarWords, Streams, folded
from registry.schemas.deal_query import DealListQuery

MAX_LINES = 10_000


class CertifiedQuery(DealListQuery, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is added up: a measure of the selected deals, in groups if it says by what.

    The fields are the parameters of `GET /v1/totals`: `currency` is what amounts are converted to, and `pledged_in` the
    currency that a pledge of a selected deal is stated in.
    """

    pledged_in: Currency | None = None
    measure: Measure = "amount"
    rates_of: date | None = None
    estimates: Estimates = "include"
    group_by: tuple[str, ...] = ()
    roll_up: Literal["parent"] | None = None

    @property
    def selection(self) -> DealListQuery:
        """The filters."""
        given = {name: getattr(self, name) for name in DealListQuery.__struct_fields__}
        return DealListQuery(**{**given, "currency": self.pledged_in})

    @property
    def needs_organizations(self) -> bool:
        """Whether the answer follows from organizations' records too: from their merges, parents or names."""
        return "organization" in self.group_by or needs_organizations(self.selection)


def needs_organizations(query: DealListQuery) -> bool:
    """Whether the deals that a query selects follow from organizations' records too: from their merges or names."""
    return not OF_ORGANIZATIONS.isdisjoint(query.given())


class RecordedRates(Rates):
    """Rates that note which of them were used."""

    def __init__(self, rates: Rates) -> None:
        super().__init__(())
        self._rates = rates
        self.used: dict[tuple[str, str, date], Rate] = {}

    def rate(self, from_: Currency, to: Currency, on: date) -> Rate | RateUnavailable:
        """The rate on a day."""
        found = self._rates.rate(from_, to, on)
        if isinstance(found, Rate):
            self.used[from_, to, on] = found
        return found


class StatedRates(Rates):
    """The rates that a certificate states; there are no others."""

    def __init__(self, stated: Iterable[Rate]) -> None:
        super().__init__(())
        self._stated = {(rate.from_, rate.to, rate.asked): rate for rate in stated}

    def rate(self, from_: Currency, to: Currency, on: date) -> Rate | RateUnavailable:
        """The rate on a day."""
        found = self._stated.get((from_, to, on))
        return found or RateUnavailable(from_, to, on, RateProblem("none-before", one=from_, other=to, asked=on))


class CertifiedTotal(Struct, frozen=True):
    """The sums of all deals together, and of each group in the order of their keys."""

    overall: Group
    groups: tuple[Group, ...]


def total_of(
    streams: Streams,
    as_of: AsOf,
    query: CertifiedQuery,
    rates: Rates,
    organizations: Streams,
    similar: SimilarWords | None = None,
    *,
    is_whole: bool,
) -> CertifiedTotal:
    """The total of the deals that meet a query at a point in time.

    Args:
        streams: All events of each deal, by slug, up to the position of the point or beyond.
        as_of: The point, with an effective date and a position.
        query: What is added up.
        rates: The exchange rates.
        organizations: All events of each organization that the answer depends on.
        similar: What misspelt words of the query were taken for.
        is_whole: Whether the deals and organizations are all of the log.

    Raises:
        WrongWords: `similar` is wrong.
    """
    views = folded(streams, as_of)
    selected = SelectedDeals(query.selection, streams, organizations, as_of, similar, is_whole=is_whole)
    return sum_of(views, selected.at(as_of, views), as_of, query, rates, organizations)


def sum_of(
    views: Mapping[str, StateAsOf[Deal]],
    selected: Collection[str],
    as_of: AsOf,
    query: CertifiedQuery,
    rates: Rates,
    organizations: Streams,
) -> CertifiedTotal:
    """The total of some deals at a point in time, in which `views` shows all deals."""
    rows: list[DealRow] = []
    merged: dict[str, str] = {}
    for slug, view in views.items():
        if view.merged_into is not None:
            merged[slug] = view.merged_into
        elif view.state is not None:
            steps = zip(view.states, (step.applied for step in view.steps), strict=True)
            checks = checks_of(view.base, steps, {reading.recorded.id for reading, _ in view.unapplied})
            row = row_of(view.state, doubts_of(view.state, checks, rates))
            rows.append(row if query.measure == "amount" else measured(view.state, row, query.measure))
    asked = TotalsQuery(
        measure=query.measure,
        currency=query.currency,
        rates_of=query.rates_of,
        estimates=query.estimates,
        group_by=query.group_by,
        effective_on=as_of.effective_on,
        roll_up=_roll_up(organizations, as_of, query),
        merged=merged,
        lines=MAX_LINES,
    )
    totals = compute_totals(
        [row for row in rows if row.deal in selected], asked, rates, [row for row in rows if row.deal not in selected]
    )
    groups = sorted(totals.groups, key=lambda group: tuple(key or "" for key in group.keys))
    return CertifiedTotal(_without_reasons(totals.overall), tuple(map(_without_reasons, groups)))


def _roll_up(organizations: Streams, as_of: AsOf, query: CertifiedQuery) -> Mapping[str, str]:
    """What each organization counts under: the record that it was merged into, and with `roll_up` its parent."""
    if "organization" not in query.group_by or as_of.effective_on is None:
        return {}
    states: dict[str, Organization] = {}
    merged: dict[str, str] = {}
    for slug, events in sorted(organizations.items()):
        view = state_as_of(slug, with_redacted_effects(events), as_of, ORGANIZATIONS)
        if view.merged_into is not None:
            merged[slug] = view.merged_into
        if view.state is not None:
            states[slug] = view.state
    return ultimate_parents(states if query.roll_up is not None else {}, as_of.effective_on, merged)


def _without_reasons(group: Group) -> Group:
    """The group without the reasons for missing rates. These are not certified, because the rates are not."""
    return replace(group, lines=tuple(replace(line, reason=None) for line in group.lines))
