"""Events about what a deal builds: sites, milestones and metrics."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from registry.events.types.base import Event
from registry.events.values import (
    Count,
    Decimal,
    Degrees,
    DistrictCode,
    Edtf,
    Horizon,
    Line,
    Localized,
    MetricBasis,
    MetricName,
    MilestoneKind,
    Place,
    Precision,
    Qualifier,
    Slug,
    Text,
    metric_id,
)


class SiteAnnounced(Event, frozen=True, tag="site_announced"):
    """A site of the deal. `power_mw` is grid connection or IT load in MW, as announced."""

    site: Slug
    name: Localized | None = None
    place: Place | None = None
    address: Line | None = None
    locality: Line | None = None
    district_code: DistrictCode | None = None
    latitude: Degrees | None = None
    longitude: Degrees | None = None
    precision: Precision | None = None
    power_mw: Decimal | None = None
    power_qualifier: Qualifier | None = None
    gpus: Count | None = None
    gpus_qualifier: Qualifier | None = None


class SiteRevised(Event, frozen=True, tag="site_revised"):
    """The plan for a site changes."""

    site: Slug
    name: Localized | UnsetType | None = UNSET
    place: Place | UnsetType | None = UNSET
    address: Line | UnsetType | None = UNSET
    locality: Line | UnsetType | None = UNSET
    district_code: DistrictCode | UnsetType | None = UNSET
    latitude: Degrees | UnsetType | None = UNSET
    longitude: Degrees | UnsetType | None = UNSET
    precision: Precision | UnsetType | None = UNSET
    power_mw: Decimal | UnsetType | None = UNSET
    power_qualifier: Qualifier | UnsetType | None = UNSET
    gpus: Count | UnsetType | None = UNSET
    gpus_qualifier: Qualifier | UnsetType | None = UNSET


class SiteDropped(Event, frozen=True, tag="site_dropped"):
    """The deal gives up a site."""

    site: Slug
    reason: Text | None = None


class MilestoneScheduled(Event, frozen=True, tag="milestone_scheduled"):
    """A milestone is planned. `power_mw` is the total capacity in MW once it is reached."""

    milestone: Slug
    kind: MilestoneKind | None = None
    site: Slug | None = None
    name: Localized | None = None
    planned: Edtf | None = None
    power_mw: Decimal | None = None


class MilestoneRescheduled(Event, frozen=True, tag="milestone_rescheduled"):
    """The plan for a milestone changes."""

    milestone: Slug
    planned: Edtf | UnsetType | None = UNSET
    power_mw: Decimal | UnsetType | None = UNSET
    reason: Text | None = None


class MilestoneReached(Event, frozen=True, tag="milestone_reached"):
    """A milestone is reached, on `reached` or else on the effective date of the announcement."""

    milestone: Slug
    reached: Edtf | None = None


class MilestoneCancelled(Event, frozen=True, tag="milestone_cancelled"):
    """A milestone is cancelled."""

    milestone: Slug
    reason: Text | None = None


class MetricReported(Event, frozen=True, tag="metric_reported"):
    """A quantity other than money, such as jobs, of the deal or of one of its sites.

    The metric, the site, the basis, and the date or the horizon identify it: another value of the same is a revision.
    `unit` is stated for `capacity_per_year` only; all other metrics have a unit of their own.
    """

    metric: MetricName
    basis: MetricBasis
    value: Decimal
    site: Slug | None = None
    unit: Line | None = None
    qualifier: Qualifier | None = None
    date: Edtf | None = None
    horizon: Horizon | None = None

    @property
    def metric_id(self) -> str:
        """The id of the metric in paths."""
        return metric_id(self.metric, self.basis, self.site, self.date, self.horizon)


class MetricRevised(Event, frozen=True, tag="metric_revised"):
    """The value of a metric changes. The first five fields tell which metric; null as value takes the value back."""

    metric: MetricName
    basis: MetricBasis
    site: Slug | None = None
    date: Edtf | None = None
    horizon: Horizon | None = None
    value: Decimal | UnsetType | None = UNSET
    unit: Line | UnsetType | None = UNSET
    qualifier: Qualifier | UnsetType | None = UNSET

    @property
    def metric_id(self) -> str:
        """The id of the metric in paths."""
        return metric_id(self.metric, self.basis, self.site, self.date, self.horizon)


SiteEvent = (
    SiteAnnounced
    | SiteRevised
    | SiteDropped
    | MilestoneScheduled
    | MilestoneRescheduled
    | MilestoneReached
    | MilestoneCancelled
    | MetricReported
    | MetricRevised
)
"""The events about sites, milestones and metrics."""
