"""The kinds of streams: deals, organizations and principals, each with the rules that fold its events."""

from __future__ import annotations

from typing import Any

from registry.domain import deal, principal
from registry.domain.deal import Deal
from registry.domain.deal.facts import touches
from registry.domain.fold.claims import apply_preferred_claims
from registry.domain.fold.facts import HEADER, Touched
from registry.domain.fold.order import Rules
from registry.domain.organizations import organization
from registry.domain.organizations.organization import Organization
from registry.domain.principal import Principal
from registry.events.types import DealRegistered, OrganizationRegistered, PrincipalRegistered, StreamKind

DEALS: Rules[Deal] = Rules(
    DealRegistered,
    deal.register,
    deal.evolve,
    deal.evolve_facts,
    touches,
    deal.stage_signal,
    apply_preferred_claims,
)
ORGANIZATIONS: Rules[Organization] = Rules(
    OrganizationRegistered,
    organization.register,
    organization.evolve,
    organization.evolve,
    lambda _slug, _applied: Touched((HEADER,)),  # An organization is one fact.
    lambda _before, _after, _applied: None,
    lambda state, _preferred, _applied_events: state,  # Organizations have no claims.
)
# The events of a principal have no effective date and no source, so their place in the fold is that of their recording.
PRINCIPALS: Rules[Principal] = Rules(
    PrincipalRegistered,
    principal.register,
    principal.evolve,
    principal.evolve,
    lambda _slug, _applied: Touched((HEADER,)),  # A principal is one fact.
    lambda _before, _after, _applied: None,
    lambda state, _preferred, _applied_events: state,  # Principals have no claims.
)
RULES: dict[StreamKind, Rules[Any]] = {"deal": DEALS, "organization": ORGANIZATIONS, "principal": PRINCIPALS}
