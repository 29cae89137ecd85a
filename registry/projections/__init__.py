"""Projections: tables that are derived from the log and can be rebuilt from it (`registry rebuild`)."""

from __future__ import annotations

from registry.projections.deal_identifiers import DealIdentifiers
from registry.projections.event_index import EventIndex
from registry.projections.event_texts import EventTexts
from registry.projections.facts import DealFacts
from registry.projections.organizations import OrganizationsProjection
from registry.projections.principals import PrincipalsProjection
from registry.projections.projection import AppliedChange, BatchProjector, Projection

PROJECTIONS: tuple[Projection, ...] = (
    DealFacts(),  # every fact of a deal at every point in time
    DealIdentifiers(),  # deals by their identifiers in other registers
    EventIndex(),  # events by the organizations that they name and the sources that they cite
    EventTexts(),  # sources, and names of organizations, at every point in time
    OrganizationsProjection(),  # organizations as they are now
    PrincipalsProjection(),  # principals as they are now
)
