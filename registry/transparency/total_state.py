"""A total recomputed from the events of deals: what a certificate of a total states, and its verification repeats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.doubted_amounts import checks_of, doubts_of
from registry.domain.fold import DEALS, ORGANIZATIONS
from registry.domain.history import AsOf, state_as_of
from registry.domain.organization import Organization, ultimate_parents
from registry.domain.rates import Rate, RateProblem, Rates, RateUnavailable
from registry.domain.redaction import keep_redacted_effects
from registry.domain.totals import DealRow, Estimates, Group, Measure, TotalsQuery, compute_totals, measured, row_of
from registry.events.currencies import Currency
from registry.events.types import Recorded

MAX_LINES = 10_000


class CertifiedSelection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which deals: those that meet every filter that is given."""

    region: str | None = None
    sector: str | None = None
    stage: str | None = None
    classification: str | None = None

    def selects(self, row: DealRow) -> bool:
        """Whether a deal meets the filters."""
        return (
            (self.region is None or any(self.region in (place, place[:2]) for place in row.places))
            and self.sector in (None, *row.sectors)
            and self.stage in (None, row.stage)
            and self.classification in (None, *row.classifications)
        )


class CertifiedQuery(CertifiedSelection, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is added up: a measure of the selected deals, in groups if it says by what."""

    measure: Measure = "amount"
    currency: Currency | None = None
    rates_of: date | None = None
    estimates: Estimates = "include"
    group_by: tuple[str, ...] = ()
    roll_up: Literal["parent"] | None = None

    @property
    def needs_organizations(self) -> bool:
        """Whether the groups follow from merges and parents in organizations' records too."""
        return "organization" in self.group_by


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
    streams: Mapping[str, Sequence[Recorded]],
    as_of: AsOf,
    query: CertifiedQuery,
    rates: Rates,
    organizations: Mapping[str, Sequence[Recorded]] | None = None,
) -> CertifiedTotal:
    """The total of the deals with these events at a point in time.

    Args:
        streams: All events of each deal, by slug, up to the position of the point or beyond.
        as_of: The point, with an effective date and a position.
        query: What is added up.
        rates: The exchange rates.
        organizations: All events of each organization with a merge or a parent, if the groups are of organizations.
    """
    rows: list[DealRow] = []
    merged: dict[str, str] = {}
    for slug, events in sorted(streams.items()):
        view = state_as_of(slug, keep_redacted_effects(events), as_of, DEALS)
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
        roll_up=_roll_up(organizations or {}, as_of, query),
        merged=merged,
        lines=MAX_LINES,
    )
    selected = [row for row in rows if query.selects(row)]
    others = [row for row in rows if not query.selects(row)]
    totals = compute_totals(selected, asked, rates, others)
    groups = sorted(totals.groups, key=lambda group: tuple(key or "" for key in group.keys))
    return CertifiedTotal(_without_reasons(totals.overall), tuple(map(_without_reasons, groups)))


def _roll_up(organizations: Mapping[str, Sequence[Recorded]], as_of: AsOf, query: CertifiedQuery) -> Mapping[str, str]:
    """What each organization counts under: the record that it was merged into, and with `roll_up` its parent."""
    if not query.needs_organizations or as_of.effective_on is None:
        return {}
    states: dict[str, Organization] = {}
    merged: dict[str, str] = {}
    for slug, events in sorted(organizations.items()):
        view = state_as_of(slug, keep_redacted_effects(events), as_of, ORGANIZATIONS)
        if view.merged_into is not None:
            merged[slug] = view.merged_into
        if view.state is not None:
            states[slug] = view.state
    return ultimate_parents(states if query.roll_up is not None else {}, as_of.effective_on, merged)


def _without_reasons(group: Group) -> Group:
    """Without the reasons for missing rates: they are not certified, because the rates are not."""
    return replace(group, lines=tuple(replace(line, reason=None) for line in group.lines))
