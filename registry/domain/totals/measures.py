"""Totals of other quantities than money: the figures of a deal as rows that are added up like pledges.

A figure of the deal contains those of its sites. If a figure has several dates or horizons, the latest counts. Figures
of different bases (planned, actual, target) are never added to each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.deal import Deal, MetricState
from registry.domain.totals.rows import DealRow, PledgeRow, RelationRow, row_of
from registry.domain.totals.rules import Rule
from registry.events.edtf import last_day
from registry.events.values import MetricName, Qualifier

Quantity = Literal["power_mw", MetricName]
"""The power of sites, or a metric."""

Measure = Literal["amount", Quantity]
"""What totals add up: amounts of money, or a quantity."""

MEASURES: tuple[str, ...] = get_args(Measure)

SITE_FIELDS = ("power_mw", "gpus")
"""The values of a site that count as planned ones."""


class MetricRow(Struct, frozen=True, gc=False):
    """A metric of a deal, or of one of its sites."""

    metric_id: str
    metric: str
    basis: str
    site: str | None
    at: str | None
    until: str | None
    value: Decimal | None
    unit: str | None
    qualifier: Qualifier | None
    stated_on: date


class SiteRow(Struct, frozen=True, gc=False):
    """A site with its planned capacity."""

    site: str
    place: str | None
    status: str
    power_mw: Decimal | None
    power_qualifier: Qualifier | None
    gpus: Decimal | None
    gpus_qualifier: Qualifier | None
    announced_on: date


class _Figure(Struct, frozen=True, gc=False):
    """A figure with what tells it from others: its site, its basis and its unit; `last` orders those of one."""

    site: str | None
    row: PledgeRow
    last: tuple[date, date, str]
    is_metric: bool


def measured_row(row: DealRow, measure: str, sites: Sequence[SiteRow], metrics: Sequence[MetricRow]) -> DealRow:
    """A deal with the figures of a measure in place of its pledges, and its relations to other deals as a whole."""
    figures = list(_figures(measure, {site.site: site for site in sites}, metrics))
    counted, excluded = _latest(row.deal, figures)
    relations = [r for r in row.relations if r.pledge is None and r.other_pledge is None]
    for part in counted:
        relations += [
            RelationRow("part_of", part.row.pledge, row.deal, whole.row.pledge, "")
            for whole in counted
            if part.site is not None and whole.site is None and _kind(part) == _kind(whole)
        ]
    pledges = sorted((*(f.row for f in counted), *excluded), key=lambda p: (p.announced_on or date.min, p.pledge))
    return replace(row, relations=tuple(relations), pledges=tuple(pledges))


def measured(deal: Deal, row: DealRow, measure: str) -> DealRow:
    """Like `measured_row`, from a deal's state."""
    sites = [
        SiteRow(
            s.site,
            s.place,
            s.status,
            _decimal(s.power_mw),
            s.power_qualifier,
            None if s.gpus is None else Decimal(s.gpus),
            s.gpus_qualifier,
            s.announced_on,
        )
        for s in deal.sites
    ]
    metrics = [
        MetricRow(
            m.metric_id,
            m.metric,
            m.basis,
            m.site,
            m.date,
            (m.horizon.until or m.horizon.from_) if m.horizon else None,
            _decimal(m.value),
            m.unit,
            m.qualifier,
            m.stated_on,
        )
        for m in deal.metrics
    ]
    return measured_row(row, measure, sites, metrics)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _figures(measure: str, sites: dict[str, SiteRow], metrics: Iterable[MetricRow]) -> Iterable[_Figure]:
    for m in metrics:
        if m.metric == measure:
            site = sites.get(m.site) if m.site is not None else None
            figure = _row(m.metric_id, m.basis, m.unit, m.value, m.qualifier, m.stated_on, site)
            yield _Figure(m.site, figure, (_day(m.at or m.until, m.stated_on), m.stated_on, m.metric_id), True)
    for site in sites.values() if measure in SITE_FIELDS else ():
        value, qualifier = (
            (site.power_mw, site.power_qualifier) if measure == "power_mw" else (site.gpus, site.gpus_qualifier)
        )
        if value is not None:
            name = f"{site.site}/{measure}"
            figure = _row(name, "planned", None, value, qualifier, site.announced_on, site)
            yield _Figure(site.site, figure, (date.min, site.announced_on, name), False)


def metric_day(metric: MetricState) -> date:
    """The day by which figures of several dates are ordered; one without a date is of the day of its statement."""
    horizon = metric.horizon
    return _day(metric.date or (horizon.until or horizon.from_ if horizon else None), metric.stated_on)


def quantities(deal: Deal, measure: str) -> dict[tuple[str | None, str | None], Decimal]:
    """How much of a measure a deal has by basis and unit: its own figure, without one the sum of its sites'."""
    figures = measured(deal, row_of(deal), measure)
    contained = {relation.pledge for relation in figures.relations if relation.pledge is not None}
    sums: dict[tuple[str | None, str | None], Decimal] = {}
    for figure in figures.pledges:
        if figure.excluded is None and figure.value is not None and figure.pledge not in contained:
            of = figure.nature, figure.unit
            sums[of] = sums.get(of, Decimal(0)) + figure.value
    return sums


def _day(text: str | None, stated_on: date) -> date:
    try:
        return last_day(text) if text is not None else stated_on
    except ValueError:  # an open end
        return date.max


def _row(
    name: str,
    nature: str,
    unit: str | None,
    value: Decimal | None,
    qualifier: Qualifier | None,
    stated_on: date,
    site: SiteRow | None,
) -> PledgeRow:
    return PledgeRow(
        name,
        "announced",
        None,
        value,
        None,
        None,
        qualifier,
        None,
        None,
        (),
        stated_on,
        None,
        announced_on=stated_on,
        unit=unit or "",
        nature=nature,
        places=None if site is None else (site.place,) if site.place is not None else (),
        excluded=Rule.DROPPED if site is not None and site.status == "dropped" else None,
    )


def _kind(figure: _Figure) -> tuple[str | None, str | None]:
    return figure.row.nature, figure.row.unit


def _latest(deal: str, figures: Sequence[_Figure]) -> tuple[list[_Figure], list[PledgeRow]]:
    """The figures that count, and the rows of those that an exclusion or a later figure leaves out."""
    counted: dict[tuple[str | None, ...], _Figure] = {}
    excluded = [f.row for f in figures if f.row.excluded is not None or f.row.value is None]
    stated = [f for f in figures if f.row.excluded is None and f.row.value is not None]
    for figure in sorted(stated, key=lambda f: (f.is_metric, f.last)):
        key = (figure.site, *_kind(figure))
        earlier = counted.get(key)
        counted[key] = figure
        if earlier is not None:
            rule = Rule.EARLIER if earlier.is_metric else Rule.REPLACED
            excluded.append(replace(earlier.row, excluded=rule, because=((deal, figure.row.pledge),)))
    return list(counted.values()), excluded
