"""Changes of a deal that several cases of `evolve.py` share, with the rules that refuse them."""

from __future__ import annotations

from datetime import date
from functools import cache
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct
from msgspec.structs import replace

from registry.domain.deal.state import (
    Deal,
    IncentiveState,
    Item,
    MilestoneState,
    PartyState,
    PledgeState,
    RelationState,
    SiteState,
)
from registry.domain.fold.claims import supersede_claims
from registry.domain.fold.items import find_item, insert_item, replace_item, tuple_fields
from registry.domain.refusal import Refusal
from registry.errors import RuleBroken
from registry.events.types import DealsRelated, DealsUnrelated, Event, PartyLeft
from registry.events.values import Classifications, Party
from registry.i18n import Label


def given_fields(event: Event, state: type[Struct]) -> dict[str, Any]:
    """The fields of a state that an event gives: absent ones (UNSET) are left out, and null clears one."""
    given: dict[str, Any] = {}
    for name in _shared_fields(type(event), state):
        value = getattr(event, name)
        if value is not UNSET:
            given[name] = () if value is None and name in tuple_fields(state) else value
    return given


@cache
def _shared_fields(event: type[Event], state: type[Struct]) -> tuple[str, ...]:
    """The names of the fields that an event's struct and a state's struct both have."""
    return tuple(name for name in state.__struct_fields__ if name in event.__struct_fields__)


def change_item(deal: Deal, name: str, item: Item, changes: dict[str, Any]) -> Deal:
    """The deal with an item's fields set; claims about the fields that are set again are superseded."""
    return replace_item(deal, name, item, replace(item, claims=supersede_claims(item.claims, changes), **changes))


def reclassify(known: Classifications | None, given: Classifications) -> Classifications | None:
    """The classifications after a revision: the axes that it gives replace the known ones; one without codes goes."""
    axes = Classifications(sorted({**(known or {}), **given}.items()))
    return Classifications((axis, codes) for axis, codes in axes.items() if codes) or None


def require_active_incentive(deal: Deal, key: str) -> IncentiveState:
    """The incentive with an id that has not ended."""
    incentive = find_item(deal.incentives, "incentive", key)
    if incentive is None:
        raise RuleBroken(Refusal("incentive-unknown", incentive=key))
    if incentive.status == "ended":
        raise RuleBroken(Refusal("incentive-ended", incentive=key))
    return incentive


def require_pledge(deal: Deal, key: str) -> PledgeState:
    """The pledge with an id, withdrawn or not."""
    pledge = find_item(deal.pledges, "pledge", key)
    if pledge is None:
        raise RuleBroken(Refusal("pledge-unknown", pledge=key))
    return pledge


def require_active_pledge(deal: Deal, key: str) -> PledgeState:
    """The pledge with an id that is not withdrawn."""
    pledge = require_pledge(deal, key)
    if pledge.status == "withdrawn":
        raise RuleBroken(Refusal("pledge-withdrawn", pledge=key))
    return pledge


def require_active_site(deal: Deal, key: str) -> SiteState:
    """The site with an id that is not dropped."""
    site = find_item(deal.sites, "site", key)
    if site is None:
        raise RuleBroken(Refusal("site-unknown", site=key))
    if site.status == "dropped":
        raise RuleBroken(Refusal("site-dropped", site=key))
    return site


def require_milestone(deal: Deal, key: str) -> MilestoneState:
    """The milestone with an id."""
    milestone = find_item(deal.milestones, "milestone", key)
    if milestone is None:
        raise RuleBroken(Refusal("milestone-unknown", milestone=key))
    return milestone


def require_open_milestone(deal: Deal, key: str) -> MilestoneState:
    """The milestone with an id that is not reached."""
    milestone = require_milestone(deal, key)
    if milestone.status == "reached":
        raise RuleBroken(Refusal("milestone-reached", milestone=key, reached=milestone.reached or ""))
    return milestone


# What an organization that joins again in the same role states again: all fields but those that identify the party.
_RESTATED = tuple(
    name
    for name in PartyState.__struct_fields__
    if name in Party.__struct_fields__ and name not in ("organization", "role")
)


def join_parties(deal: Deal, joining: tuple[Party, ...], on: date) -> Deal:
    """The deal after organizations joined it."""
    for party in joining:
        memberships = [p for p in deal.parties if (p.organization, p.role) == (party.organization, party.role)]
        # A membership that ended on the day that it began goes on if the organization joins again on that day.
        current = next((p for p in memberships if p.left_on is None or p.joined_on == on), None)
        if current is not None:
            stated = {name: value for name in _RESTATED if (value := getattr(party, name)) is not None}
            deal = replace_item(deal, "parties", current, replace(current, left_on=None, **stated))
        else:
            joined = PartyState(
                party.organization, party.name, party.role, on, share=party.share, certainty=party.certainty
            )
            deal = insert_item(deal, "parties", joined)
    return deal


def leave(deal: Deal, event: PartyLeft, on: date) -> Deal:
    """The deal after an organization left it, or one of its roles."""
    leaving = [
        party
        for party in deal.parties
        if party.organization == event.organization
        and party.left_on is None
        and (event.role is None or party.role == event.role)
    ]
    if not leaving:
        role = (Label(f"role/{event.role}"),) if event.role else ()
        raise RuleBroken(Refusal("party-unknown", party=(event.organization, *role)))
    return replace(deal, parties=tuple(replace(p, left_on=on) if p in leaving else p for p in deal.parties))


def relate(deal: Deal, event: DealsRelated, on: date, source: UUID) -> Deal:
    """The deal with a relation that an event declares."""
    if event.pledge is not None:
        require_pledge(deal, event.pledge)
    if event.deal == deal.deal:
        if event.pledge == event.other_pledge:
            raise RuleBroken(Refusal("relation-to-itself"))
        if event.other_pledge is not None:
            require_pledge(deal, event.other_pledge)
    if any(is_relation(r, event) for r in deal.relations):
        return deal
    relation = RelationState(event.relation, event.deal, event.pledge, event.other_pledge, on, source)
    return insert_item(deal, "relations", relation)


def is_relation(state: RelationState, event: DealsRelated | DealsUnrelated) -> bool:
    """Whether a relation is the one that an event names."""
    related = (event.relation, event.deal, event.pledge, event.other_pledge)
    return (state.relation, state.deal, state.pledge, state.other_pledge) == related
