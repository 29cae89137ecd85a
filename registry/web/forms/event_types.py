"""The event types that editors add by a form, grouped for the page that offers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from registry.events.types import EVENT_TYPES, DealFact, Event, OrganizationFact, tag_of
from registry.formatting.language import N_

REGISTRATIONS = {"deal": "deal_registered", "organization": "organization_registered"}
"""The first event type of a stream, by the kind of stream. Forms offer it for a new stream only."""


def _groups(fact: Any, groups: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The groups of a stream's event types; one without a group is in the last."""
    grouped = {*REGISTRATIONS.values(), *(tag for group in groups.values() for tag in group)}
    others = tuple(tag for tag in map(tag_of, get_args(fact)) if tag not in grouped)
    return {**groups, N_("Other events"): others} if others else dict(groups)


DEAL_GROUPS = _groups(
    DealFact,
    {
        N_("Amounts"): (
            *("pledge_announced", "pledge_revised", "pledge_confirmed", "pledge_withdrawn"),
            "disbursement_reported",
        ),
        N_("Sites and milestones"): (
            *("site_announced", "site_revised", "site_dropped", "milestone_scheduled", "milestone_rescheduled"),
            *("milestone_reached", "milestone_cancelled"),
        ),
        N_("Deal and parties"): (
            *("stage_changed", "parties_joined", "party_left", "partnership_formed", "condition_set"),
            *("condition_lifted", "deal_revised"),
        ),
        N_("Conflicting sources"): ("claim_reported", "claim_preferred", "claim_retracted"),
        N_("Relations"): ("deals_related", "deals_unrelated"),
        N_("Record keeping"): ("deal_merged", "deal_unmerged"),
    },
)

ORGANIZATION_GROUPS = _groups(
    OrganizationFact,
    {
        N_("Names and parents"): ("organization_named", "organization_identified", "parent_set", "parent_ended"),
        N_("Record keeping"): ("organization_merged", "organization_unmerged"),
    },
)


def form_event_type(tag: str | None) -> type[Event] | None:
    """The event type with this tag, if it has a form."""
    tags = {tag for group in (*DEAL_GROUPS.values(), *ORGANIZATION_GROUPS.values()) for tag in group}
    return EVENT_TYPES[tag] if tag is not None and tag in tags | set(REGISTRATIONS.values()) else None
