"""The tracks of a deal: which facts depend on which events, and how each of them is folded.

The pledges, sites, milestones, parties and relations of a deal each have a track of their own, which is folded by
`evolve` on a deal that holds nothing else. The title and the stage depend on all of them in simple ways: the title is
known from the first day on which anything is, and the stage follows from what the other entries do to it (an effect).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from datetime import date
from typing import Any, TypeAlias
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.claims import LISTS, apply_preferred_claims, sets_field
from registry.domain.deal import Deal, evolve
from registry.domain.doubted_amounts import Checks, checks_after
from registry.domain.fold import CLAIM_TYPES, OrderedEvent
from registry.domain.items import find_item
from registry.domain.stages import (
    BY_COMMITMENT,
    BY_MILESTONE,
    INSTRUMENT_SIGNED,
    Inference,
    StageState,
    declare_stage,
    infer_stage,
    observe_stage,
    stage_before_withdrawal,
    withdraw_stage,
)
from registry.errors import RuleBroken
from registry.events.types import (
    ClaimReported,
    DealIdentified,
    DealRevised,
    DealsRelated,
    DealsUnrelated,
    IncentiveEnded,
    IncentiveGranted,
    IncentiveRevised,
    MetricReported,
    MetricRevised,
    MilestoneCancelled,
    MilestoneReached,
    MilestoneRescheduled,
    MilestoneScheduled,
    PartiesJoined,
    PartnershipFormed,
    PartyLeft,
    PledgeAnnounced,
    PledgeConfirmed,
    PledgeRevised,
    PledgeWithdrawn,
    SiteAnnounced,
    SiteDropped,
    SiteRevised,
    StageChanged,
    StatusObserved,
)
from registry.events.values import Certainty, Stage
from registry.projections.facts.columns import Folding, Track
from registry.projections.facts.entries import Entry
from registry.projections.facts.tables import (
    DEAL_FACTS,
    METRIC_FACTS,
    MILESTONE_FACTS,
    PARTY_FACTS,
    PLEDGE_FACTS,
    RELATION_FACTS,
    SITE_FACTS,
    STAGE_FACTS,
    FactKey,
    FactTable,
    Ids,
    Values,
    stage_values,
)

TrackKey: TypeAlias = tuple[str, ...]
Preferred: TypeAlias = Mapping[str, UUID | None]

HEADER: TrackKey = ("header",)
STAGE: TrackKey = ("stage",)
CLAIMED: TrackKey = ("claimed",)
"""The items of which two have claims with one id: which claim counts depends on both, so they share a track."""

ITEM_TABLES: dict[str, FactTable] = {
    "pledges": PLEDGE_FACTS,
    "sites": SITE_FACTS,
    "milestones": MILESTONE_FACTS,
    "metrics": METRIC_FACTS,
}

# `evolve` infers nothing from a stage at which a source says that the deal stopped. So the stage of a deal that holds
# only some facts never changes, and two of them are equal if their facts are.
_NO_STAGE = StageState("suspended", "declared", date.min)


class StageEffect(Struct, frozen=True):
    """What an event does to the stage: it declares, observes or infers one.

    A new pledge (`announces`) ends an inferred withdrawal first. `withdraws` is the pledge that was withdrawn, where no
    other one stands.
    """

    on: date
    declared: Stage | None = None
    observed: tuple[Stage, Certainty | None] | None = None
    inference: Inference | None = None
    announces: bool = False
    withdraws: str | None = None


class ItemState(Struct, frozen=True, eq=False):
    """A deal that holds some facts, and the last event that claims may be about, with the deal before it.

    `checks` tells what its amounts are compared with. Two of them are equal if their facts are: only the claims
    directly after an event need the event.
    """

    deal: Deal
    checks: Checks = {}
    target: tuple[UUID, Any, Deal] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ItemState) and self.deal == other.deal and self.checks == other.checks

    __hash__ = None  # type: ignore[assignment]


_ITEM_EVENTS: dict[type, tuple[str, str]] = {
    **dict.fromkeys((PledgeAnnounced, PledgeRevised, PledgeConfirmed, PledgeWithdrawn), ("pledges", "pledge")),
    **dict.fromkeys((SiteAnnounced, SiteRevised, SiteDropped), ("sites", "site")),
    **dict.fromkeys(
        (MilestoneScheduled, MilestoneRescheduled, MilestoneReached, MilestoneCancelled), ("milestones", "milestone")
    ),
    **dict.fromkeys((MetricReported, MetricRevised), ("metrics", "metric_id")),
    **dict.fromkeys((IncentiveGranted, IncentiveRevised, IncentiveEnded), ("incentives", "incentive")),
}


def keys_of(step: OrderedEvent) -> list[TrackKey]:
    """The tracks of what an event is about; none for one that changes no fact."""
    event = step.applied.event
    if type(event) in _ITEM_EVENTS:
        name, field = _ITEM_EVENTS[type(event)]
        return [(name, getattr(event, field))]
    match event:
        case DealRevised() | DealIdentified():
            return [HEADER]
        case PartiesJoined(parties=parties):
            return [("parties", organization) for organization in dict.fromkeys(p.organization for p in parties)]
        case PartyLeft(organization=organization):
            return [("parties", organization)]
        case DealsRelated() | DealsUnrelated():
            return [("relations", event.relation, event.pledge or "", event.deal, event.other_pledge or "")]
        case ClaimReported(field=field):
            _, name, item, _ = field.split("/")
            return [(name, item)] if name in LISTS else []
        case _:
            return []


def items_read(key: TrackKey, step: OrderedEvent) -> list[TrackKey]:
    """The items whose existence an event of a track depends on."""
    match step.applied.event:
        case MilestoneScheduled(site=str() as site) | MetricReported(site=str() as site):
            return [("sites", site)]
        case DealsRelated() as event:
            pledges = [event.pledge, event.other_pledge if event.deal == key[3] else None]
            return [("pledges", pledge) for pledge in pledges if pledge is not None]
        case _:
            return []


def new_track(slug: str, base: Deal, key: TrackKey, preferred: Preferred, claimed: Set[TrackKey]) -> Track:
    """An empty track.

    Args:
        slug: The deal's slug.
        base: The registered deal.
        key: The track.
        preferred: The deal's preferred claims.
        claimed: The items that share the track CLAIMED.
    """
    match key[0]:
        case "header":
            return Track(_header_folding(base))
        case "stage":
            return Track(_STAGE_FOLDING)
        case "parties":
            return _item_track(slug, lambda state: _facts(PARTY_FACTS, state, lambda ids: ids[0] == key[1]))
        case "relations":
            return _item_track(slug, lambda state: _facts(RELATION_FACTS, state, lambda ids: ids == key[1:]))
        case "claimed":
            return _item_track(slug, _item_facts(preferred, claimed))
        case _:
            return _item_track(slug, _item_facts(preferred, {key}))


def _item_track(slug: str, facts: Callable[[ItemState], dict[FactKey, Values]]) -> Track:
    initial = ItemState(Deal(deal=slug, title=None, stage=_NO_STAGE))
    return Track(Folding(initial=initial, apply=_apply, facts=facts))


# --- items ------------------------------------------------------------------------------------------------------------


def _apply(state: ItemState, step: OrderedEvent) -> tuple[ItemState, StageEffect | None]:
    """The facts after an event, and its effect on the stage. An event that breaks a rule leaves the facts as they are.

    A claim about an event comes directly after it, and has to be about a field that it set (see `Timeline`).
    """
    event = step.applied.event
    try:
        if isinstance(event, ClaimReported) and step.about is not None and not _is_about_target(event, state):
            return state, None
        deal = evolve(state.deal, step.applied)
    except RuleBroken:
        return (state if isinstance(event, CLAIM_TYPES) else ItemState(state.deal, state.checks)), None
    checks = checks_after(state.checks, state.deal, step.applied)
    if isinstance(event, CLAIM_TYPES):
        return ItemState(deal, checks, state.target), None
    return ItemState(deal, checks, (step.applied.id, event, state.deal)), _stage_effect(state.deal, deal, step)


def _is_about_target(claim: ClaimReported, state: ItemState) -> bool:
    if state.target is None:
        return False
    id, event, before = state.target
    return id == claim.about and sets_field(claim.field, event, before, state.deal)


def _facts(table: FactTable, state: ItemState, wanted: Callable[[Ids], bool]) -> dict[FactKey, Values]:
    return {(table, ids): values for ids, values in table.facts(state.deal, state.checks) if wanted(ids)}


def _item_facts(preferred: Preferred, items: Set[TrackKey]) -> Callable[[ItemState], dict[FactKey, Values]]:
    """The function for the facts of some items, with the preferred claims' values."""
    tables = {name: ITEM_TABLES[name] for name, _ in items if name in ITEM_TABLES}

    def facts(state: ItemState) -> dict[FactKey, Values]:
        deal = apply_preferred_claims(state.deal, preferred, {})
        return {
            (table, ids): values
            for name, table in tables.items()
            for ids, values in table.facts(deal, state.checks)
            if (name, ids[0]) in items
        }

    return facts


# --- the header -------------------------------------------------------------------------------------------------------

KNOWN = None
"""The action of an entry of the header from which on the deal is known: it has the state of its registration."""


def _header_folding(base: Deal) -> Folding:
    """How the header is folded: it begins with the registration, and events revise it."""

    def apply(state: Deal | None, step: OrderedEvent | None) -> tuple[Deal, None]:
        state = base if state is None else state
        return (state if step is KNOWN else evolve(state, step.applied)), None

    return Folding(
        initial=None,
        apply=apply,
        facts=_header_facts,
        kind=lambda entry: "known" if entry.pieces[0][2] is KNOWN else None,
        absorbs=lambda state, _: state is not None,
    )


def _header_facts(state: Deal | None) -> dict[FactKey, Values]:
    return {} if state is None else {(DEAL_FACTS, ids): values for ids, values in DEAL_FACTS.facts(state, {})}


# --- the stage --------------------------------------------------------------------------------------------------------


def declared_effect(step: OrderedEvent) -> StageEffect | None:
    """The effect on the stage of an event that is about no item."""
    match step.applied.event:
        case StageChanged(stage=stage):
            return StageEffect(step.applied.effective_on, declared=stage)
        case StatusObserved(stage=stage, certainty=certainty):
            return StageEffect(step.applied.effective_on, observed=(stage, certainty))
        case PartnershipFormed(instrument=str()):
            return StageEffect(step.applied.effective_on, inference=INSTRUMENT_SIGNED)
        case _:
            return None


def _stage_effect(before: Deal, after: Deal, step: OrderedEvent) -> StageEffect | None:
    """The effect on the stage of an event about an item, which the item has taken."""
    on = step.applied.effective_on
    inference: Inference | None = None
    match step.applied.event:
        case PledgeAnnounced(commitment=commitment):
            return StageEffect(on, inference=BY_COMMITMENT.get(commitment), announces=True)
        case PledgeWithdrawn(pledge=pledge):
            return StageEffect(on, withdraws=pledge)
        case PledgeRevised(commitment=str() as commitment) | PledgeConfirmed(commitment=str() as commitment):
            inference = BY_COMMITMENT.get(commitment)
        case MilestoneReached(milestone=key) if after is not before:
            milestone = find_item(after.milestones, "milestone", key)
            inference = BY_MILESTONE.get(milestone.kind) if milestone is not None else None
        case _:
            pass
    return None if inference is None else StageEffect(on, inference=inference)


def _apply_to_stage(stage: StageState | None, effect: StageEffect) -> tuple[StageState | None, None]:
    if effect.declared is not None:
        return declare_stage(stage, effect.declared, effect.on), None
    if effect.observed is not None:
        return observe_stage(stage, *effect.observed, effect.on), None
    if effect.withdraws is not None:
        return withdraw_stage(stage, effect.on), None
    if effect.announces:
        stage = stage_before_withdrawal(stage)
    return infer_stage(stage, effect.inference, effect.on), None


def _stage_facts(stage: StageState | None) -> dict[FactKey, Values]:
    return {} if stage is None else {(STAGE_FACTS, ()): stage_values(stage)}


def _kind_of_effects(entry: Entry) -> StageEffect | None:
    """The effect of an entry apart from its day; None if it has several."""
    kinds = {replace(effect, on=date.max, withdraws=effect.withdraws and "") for _, _, effect in entry.pieces}
    return kinds.pop() if len(kinds) == 1 else None


_STAGE_FOLDING = Folding(
    initial=None,
    apply=_apply_to_stage,
    facts=_stage_facts,
    kind=_kind_of_effects,
    absorbs=lambda stage, effect: _apply_to_stage(stage, effect)[0] == stage,
)
