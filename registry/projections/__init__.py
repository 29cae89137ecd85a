"""The views: everything here can be thrown away and rebuilt from the log."""

from __future__ import annotations

from registry.projections.deal_versions import DealVersions
from registry.projections.event_index import EventIndex
from registry.projections.organizations import OrganizationsProjection
from registry.projections.projection import AppliedChange, BatchProjector, Projection

PROJECTIONS: tuple[Projection, ...] = (DealVersions(), EventIndex(), OrganizationsProjection())

__all__ = ["PROJECTIONS", "AppliedChange", "BatchProjector", "Projection"]
