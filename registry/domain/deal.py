"""A deal and its rules: what an announcement makes of it (`evolve`), and which announcement it can take (`admit`).

`evolve` is total: it answers with the next state, or with a `Refusal` that names the broken rule and says what to do.
The fold of a history leaves a refused event out and lists it; `admit` is the strict door for new ones. Nothing here
reads a clock, a database or a setting: the same events give the same deal for ever.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, TypeVar, assert_never
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from registry.domain.refusal import Refusal
from registry.events.edtf import last_day
from registry.events.types import (
    Amount,
    AmountBasis,
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    Commitment,
    ConditionLifted,
    ConditionSet,
    DealEvent,
    DealKind,
    DealMerged,
    DealRegistered,
    DealRevised,
    DealsRelated,
    DealsUnrelated,
    DealUnmerged,
    Decimal,
    DisbursementReported,
    Edtf,
    Event,
    EventCorrected,
    EventRedacted,
    EventVoided,
    Horizon,
    Instrument,
    Localized,
    MilestoneCancelled,
    MilestoneKind,
    MilestoneReached,
    MilestoneRescheduled,
    MilestoneScheduled,
    PartiesJoined,
    PartnershipFormed,
    Party,
    PartyLeft,
    Place,
    PledgeAnnounced,
    PledgeConfirmed,
    PledgeRevised,
    PledgeWithdrawn,
    Precision,
    Qualifier,
    Relation,
    Role,
    SiteAnnounced,
    SiteDropped,
    SiteRevised,
    Source,
    Stage,
    StageChanged,
)
from registry.i18n import Label

T = TypeVar("T")


class StageState(Struct, frozen=True, gc=False):
    """The stage, since when, and its basis: somebody declared it, or the registry inferred it by the named rule."""

    value: Stage
    basis: str
    since: date
    rule: str | None = None


class PartyState(Struct, frozen=True, gc=False):
    organization: str
    name: Localized | None
    role: Role | None
    joined_on: date
    left_on: date | None = None


class PartnershipState(Struct, frozen=True, gc=False):
    members: tuple[str, ...]
    instrument: Instrument | None
    name: Localized | None
    formed_on: date


class ConditionState(Struct, frozen=True, gc=False):
    condition: str
    text: Localized | None
    authority: str | None
    set_on: date
    lifted_on: date | None = None


class ClaimState(Struct, frozen=True, kw_only=True, gc=False):
    """What one source says of one field. `claim` is None for what the deal's own event says, beside which others stand.

    `status` is standing, superseded (the world has set the field anew since) or retracted. `followed` says whether the
    state shows this value, `rule` why: `as_announced` (the event that set the field) or `preferred` (somebody chose,
    see that event).
    """

    claim: str | None
    field: str
    value: Any
    about: UUID | None
    event: UUID | None
    published_on: date | None
    sources: tuple[Source, ...]
    status: str = "standing"
    followed: bool = False
    rule: str | None = None


class Disbursement(Struct, frozen=True, gc=False):
    amount: Amount | None
    by: tuple[str, ...]
    period: Horizon | None
    reported_on: date


class PledgeState(Struct, frozen=True, kw_only=True, gc=False):
    """`status` is announced, confirmed or withdrawn. Two or more in `by` pledge jointly; their split was not said.

    `stated_on` is the day from which the amount holds as it is.
    """

    pledge: str
    amount: Amount | None
    amount_basis: AmountBasis | None
    commitment: Commitment | None
    status: str
    additional_to: str | None
    by: tuple[str, ...]
    horizon: Horizon | None
    purpose: Localized | None
    announced_on: date
    stated_on: date
    claims: tuple[ClaimState, ...] = ()
    disbursed: tuple[Disbursement, ...] = ()


class SiteState(Struct, frozen=True, kw_only=True, gc=False):
    """A place with its planned capacity: MW as an exact decimal, GPUs as a count. `status` is announced or dropped."""

    site: str
    name: Localized | None
    place: Place | None
    latitude: str | None
    longitude: str | None
    precision: Precision | None
    power_mw: Decimal | None
    power_qualifier: Qualifier | None
    gpus: int | None
    gpus_qualifier: Qualifier | None
    status: str
    announced_on: date
    claims: tuple[ClaimState, ...] = ()


class MilestoneState(Struct, frozen=True, kw_only=True, gc=False):
    """A dated step. `planned` and `reached` keep their source's precision (EDTF).

    `status` is planned, reached or cancelled.
    """

    milestone: str
    kind: MilestoneKind | None
    site: str | None
    name: Localized | None
    planned: Edtf | None
    reached: Edtf | None
    power_mw: Decimal | None
    status: str
    scheduled_on: date
    claims: tuple[ClaimState, ...] = ()


class RelationState(Struct, frozen=True, gc=False):
    """This deal (or its `pledge`) is `relation` to `deal` (or its `other_pledge`), as the event `source` says."""

    relation: Relation
    deal: str
    pledge: str | None
    other_pledge: str | None
    since: date
    source: UUID


class Deal(Struct, frozen=True, kw_only=True, gc=False):
    """What is so of a deal: the fold of its events. Unknown is None or empty, never zero.

    Its lists stand in an order of their items' own (`ORDER`), not in that of their arrival.
    """

    deal: str
    title: Localized | None
    kind: DealKind | None = None
    summary: Localized | None = None
    sectors: tuple[str, ...] = ()
    stage: StageState | None = None
    parties: tuple[PartyState, ...] = ()
    partnerships: tuple[PartnershipState, ...] = ()
    pledges: tuple[PledgeState, ...] = ()
    sites: tuple[SiteState, ...] = ()
    milestones: tuple[MilestoneState, ...] = ()
    relations: tuple[RelationState, ...] = ()
    conditions: tuple[ConditionState, ...] = ()


class AppliedEvent(Struct, frozen=True, gc=False):
    """An event as it reads (after corrections), with what the fold and the flags need to know of its record.

    `recorded_at` is when its words, as they read, were written down.
    """

    id: UUID
    event: Event
    effective_on: date
    published_on: date
    sources: tuple[Source, ...]
    recorded_at: datetime


Item = PledgeState | SiteState | MilestoneState

# The items of a list stand by their first day, then by what names them: a function of the items alone, so that the same
# deal is always shown the same way and a comparison can put a list together again.
ORDER: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "parties": lambda p: (p.joined_on, p.organization, p.role or ""),
    "pledges": lambda p: (p.announced_on, p.pledge),
    "sites": lambda s: (s.announced_on, s.site),
    "milestones": lambda m: (m.scheduled_on, m.milestone),
    "relations": lambda r: (r.since, r.relation, r.deal, r.pledge or "", r.other_pledge or ""),
    "conditions": lambda c: (c.set_on, c.condition),
}

# Fields that several sources may disagree about, with the type a claimed value must have.
CLAIMABLE: dict[tuple[str, str], Any] = {
    ("pledges", "amount"): Amount,
    ("pledges", "amount_basis"): AmountBasis,
    ("pledges", "commitment"): Commitment,
    ("sites", "place"): Place,
    ("sites", "power_mw"): Decimal,
    ("sites", "gpus"): int,
    ("milestones", "planned"): Edtf,
    ("milestones", "reached"): Edtf,
    ("milestones", "power_mw"): Decimal,
}

# How far along a stage is. An inference only ever moves forward, and never out of a stage that stopped.
_LADDER: dict[str, int] = {"intention": 0, "signed": 1, "committed": 2, "construction": 3, "operating": 4}
_STOPPED = 9

# The rules of inference, each by its name in `stage.rule`. A groundbreaking is a ceremony, not construction: it infers
# nothing.
_BY_COMMITMENT: dict[str, tuple[Stage, str]] = {
    "intention": ("intention", "intention-announced"),
    "pledge": ("committed", "amount-pledged"),
    "binding": ("committed", "amount-pledged"),
    "budget": ("committed", "amount-budgeted"),
}
_BY_MILESTONE: dict[str, tuple[Stage, str]] = {
    "construction_started": ("construction", "construction-reported"),
    "operations_started": ("operating", "operations-reported"),
}


def register(slug: str, event: DealRegistered | None) -> Deal:
    """A deal as its registration has it; without content (erased by law) only its slug is known."""
    if event is None:
        return Deal(deal=slug, title=None)
    return Deal(deal=slug, title=event.title, kind=event.kind, summary=event.summary, sectors=event.sectors)


def evolve(deal: Deal, happened: AppliedEvent) -> Deal | Refusal:  # noqa: C901 - one case for each event type
    """The deal after an event, or why it cannot carry it.

    The record's own events change no deal here: history.py reads them.
    """
    event: DealEvent = happened.event  # type: ignore[assignment]
    on = happened.effective_on
    match event:
        case PledgeAnnounced():
            return _announce_pledge(deal, event, on)
        case PledgeRevised():
            return _revise_pledge(deal, event, on)
        case PledgeConfirmed():
            return _confirm_pledge(deal, event, on)
        case PledgeWithdrawn():
            pledge = _find(deal.pledges, "pledge", event.pledge)
            if pledge is None:
                return Refusal("pledge-unknown", pledge=event.pledge)
            if pledge.status == "withdrawn":
                return Refusal("pledge-withdrawn", pledge=event.pledge)
            return _replace_item(deal, "pledges", pledge, replace(pledge, status="withdrawn"))
        case DisbursementReported():
            pledge = _find(deal.pledges, "pledge", event.pledge)
            if pledge is None:
                return Refusal("pledge-unknown", pledge=event.pledge)
            spent = Disbursement(event.amount, event.by, event.period, on)
            return _replace_item(deal, "pledges", pledge, replace(pledge, disbursed=(*pledge.disbursed, spent)))
        case DealRevised():
            return _revise(deal, event)
        case StageChanged():
            return replace(deal, stage=StageState(event.stage, "declared", on))
        case PartiesJoined():
            return _join_parties(deal, event.parties, on)
        case PartyLeft():
            return _leave(deal, event, on)
        case PartnershipFormed():
            formed = PartnershipState(event.members, event.instrument, event.name, on)
            signed = replace(deal, partnerships=(*deal.partnerships, formed))
            return _infer_stage(signed, ("signed", "instrument-signed"), on) if event.instrument else signed
        case ConditionSet():
            if _find(deal.conditions, "condition", event.condition) is not None:
                return Refusal("condition-id-used", condition=event.condition)
            condition = ConditionState(event.condition, event.text, event.authority, on)
            return _add(deal, "conditions", condition)
        case ConditionLifted():
            held = _find(deal.conditions, "condition", event.condition)
            if held is None:
                return Refusal("condition-unknown", condition=event.condition)
            if held.lifted_on is not None:
                return Refusal("condition-lifted", condition=event.condition, lifted_on=held.lifted_on)
            return _replace_item(deal, "conditions", held, replace(held, lifted_on=on))
        case SiteAnnounced():
            return _announce_site(deal, event, on)
        case SiteRevised():
            return _revise_site(deal, event)
        case SiteDropped():
            site = _find(deal.sites, "site", event.site)
            if site is None:
                return Refusal("site-unknown", site=event.site)
            if site.status == "dropped":
                return Refusal("site-dropped", site=event.site)
            return _replace_item(deal, "sites", site, replace(site, status="dropped"))
        case MilestoneScheduled():
            return _schedule(deal, event, on)
        case MilestoneRescheduled():
            return _reschedule(deal, event)
        case MilestoneReached():
            return _reach_milestone(deal, event, on)
        case MilestoneCancelled():
            step = _find(deal.milestones, "milestone", event.milestone)
            if step is None:
                return Refusal("milestone-unknown", milestone=event.milestone)
            if step.status == "reached":
                return _already_reached(step)
            return _replace_item(deal, "milestones", step, replace(step, status="cancelled"))
        case DealsRelated():
            return _relate(deal, event, on, happened.id)
        case DealsUnrelated():
            kept = tuple(r for r in deal.relations if not _same_relation(r, event))
            if len(kept) == len(deal.relations):
                return Refusal("relation-unknown", relation=Label(f"relation/{event.relation}"), deal=event.deal)
            return replace(deal, relations=kept)
        case ClaimReported():
            return _claim(deal, event, happened)
        case ClaimRetracted():
            return _retract(deal, event)
        case DealRegistered():
            return Refusal("already-registered", slug=deal.deal)
        case ClaimPreferred() | DealMerged() | DealUnmerged() | EventCorrected() | EventVoided() | EventRedacted():
            return deal
        case _:
            assert_never(event)


def apply_preferred_claims(deal: Deal, preferred: dict[str, UUID | None], own: dict[UUID, AppliedEvent]) -> Deal:
    """The deal with each disputed field showing the claim that is followed, and every claim marked.

    The rule, `as_announced`, follows the event that set the field; `preferred` maps a field to the claim event chosen
    instead. What the setting event itself says then stands among the claims, so that no value is lost from sight.
    """
    for name in ("pledges", "sites", "milestones"):
        items: tuple[Item, ...] = getattr(deal, name)
        if any(item.claims for item in items):
            deal = replace(deal, **{name: tuple(_follow(name, item, preferred, own) for item in items)})
    return deal


def _follow(name: str, item: Item, preferred: dict[str, UUID | None], own: dict[UUID, AppliedEvent]) -> Item:
    claims: list[ClaimState] = []
    values: dict[str, Any] = {}
    for path in dict.fromkeys(claim.field for claim in item.claims):
        of_field = [c for c in item.claims if c.field == path]
        chosen = preferred.get(path)
        live = next((c for c in of_field if c.event == chosen and c.status == "standing"), None)
        field = path.rsplit("/", 1)[1]
        standing = next((c for c in of_field if c.status != "superseded"), None)
        if standing is not None:
            setter = own.get(standing.about) if standing.about else None
            claims.append(
                ClaimState(
                    claim=None,
                    field=path,
                    value=getattr(item, field),
                    about=standing.about,
                    event=standing.about,
                    published_on=setter.published_on if setter else None,
                    sources=setter.sources if setter else (),
                    followed=live is None,
                    rule="as_announced" if live is None else None,
                )
            )
        if live is not None:
            values[field] = live.value
        claims += [replace(c, followed=c is live, rule="preferred" if c is live else None) for c in of_field]
    return replace(item, claims=tuple(claims), **values)


# --- the cases, one function where one expression is not enough -------------------------------------------------------


def _announce_pledge(deal: Deal, event: PledgeAnnounced, on: date) -> Deal | Refusal:
    if _find(deal.pledges, "pledge", event.pledge) is not None:
        return Refusal("pledge-id-used", pledge=event.pledge)
    pledge = PledgeState(
        pledge=event.pledge,
        amount=event.amount,
        amount_basis=event.amount_basis,
        commitment=event.commitment,
        status="announced",
        additional_to=event.additional_to,
        by=event.by,
        horizon=event.horizon,
        purpose=event.purpose,
        announced_on=on,
        stated_on=on,
    )
    return _infer_stage(_add(deal, "pledges", pledge), _BY_COMMITMENT.get(event.commitment or ""), on)


_PLEDGE_FIELDS = ("amount", "amount_basis", "commitment", "additional_to", "by", "horizon", "purpose")
_SITE_FIELDS = (
    "name",
    "place",
    "latitude",
    "longitude",
    "precision",
    "power_mw",
    "power_qualifier",
    "gpus",
    "gpus_qualifier",
)


def _changed_fields(event: Event, fields: tuple[str, ...]) -> dict[str, Any]:
    """The fields a revision speaks of: absent ones stay, null unsays (a list becomes empty)."""
    said = {name: value for name in fields if (value := getattr(event, name)) is not UNSET}
    return {name: () if value is None and name in ("by", "sectors") else value for name, value in said.items()}


def _revise_pledge(deal: Deal, event: PledgeRevised, on: date) -> Deal | Refusal:
    pledge = _find(deal.pledges, "pledge", event.pledge)
    if pledge is None:
        return Refusal("pledge-unknown", pledge=event.pledge)
    if pledge.status == "withdrawn":
        return Refusal("pledge-withdrawn", pledge=event.pledge)
    said = _changed_fields(event, _PLEDGE_FIELDS)
    if "amount" in said:
        said["stated_on"] = on
    revised = replace(pledge, claims=_supersede_claims(pledge.claims, said), **said)
    return _infer_stage(
        _replace_item(deal, "pledges", pledge, revised), _BY_COMMITMENT.get(said.get("commitment") or ""), on
    )


def _confirm_pledge(deal: Deal, event: PledgeConfirmed, on: date) -> Deal | Refusal:
    pledge = _find(deal.pledges, "pledge", event.pledge)
    if pledge is None:
        return Refusal("pledge-unknown", pledge=event.pledge)
    if pledge.status == "withdrawn":
        return Refusal("pledge-withdrawn", pledge=event.pledge)
    said = _changed_fields(event, ("commitment",))
    confirmed = replace(pledge, status="confirmed", claims=_supersede_claims(pledge.claims, said), **said)
    return _infer_stage(
        _replace_item(deal, "pledges", pledge, confirmed), _BY_COMMITMENT.get(said.get("commitment") or ""), on
    )


def _revise(deal: Deal, event: DealRevised) -> Deal:
    return replace(deal, **_changed_fields(event, ("title", "summary", "kind", "sectors")))


def _announce_site(deal: Deal, event: SiteAnnounced, on: date) -> Deal | Refusal:
    if _find(deal.sites, "site", event.site) is not None:
        return Refusal("site-id-used", site=event.site)
    said = {name: getattr(event, name) for name in _SITE_FIELDS}
    return _add(deal, "sites", SiteState(site=event.site, status="announced", announced_on=on, **said))


def _revise_site(deal: Deal, event: SiteRevised) -> Deal | Refusal:
    site = _find(deal.sites, "site", event.site)
    if site is None:
        return Refusal("site-unknown", site=event.site)
    if site.status == "dropped":
        return Refusal("site-dropped", site=event.site)
    said = _changed_fields(event, _SITE_FIELDS)
    return _replace_item(deal, "sites", site, replace(site, claims=_supersede_claims(site.claims, said), **said))


def _schedule(deal: Deal, event: MilestoneScheduled, on: date) -> Deal | Refusal:
    if _find(deal.milestones, "milestone", event.milestone) is not None:
        return Refusal("milestone-id-used", milestone=event.milestone)
    if event.site is not None and _find(deal.sites, "site", event.site) is None:
        return Refusal("site-unknown", site=event.site)
    step = MilestoneState(
        milestone=event.milestone,
        kind=event.kind,
        site=event.site,
        name=event.name,
        planned=event.planned,
        reached=None,
        power_mw=event.power_mw,
        status="planned",
        scheduled_on=on,
    )
    return _add(deal, "milestones", step)


def _reschedule(deal: Deal, event: MilestoneRescheduled) -> Deal | Refusal:
    step = _find(deal.milestones, "milestone", event.milestone)
    if step is None:
        return Refusal("milestone-unknown", milestone=event.milestone)
    if step.status == "reached":
        return _already_reached(step)
    said = _changed_fields(event, ("planned", "power_mw"))
    moved = replace(step, status="planned", claims=_supersede_claims(step.claims, said), **said)
    return _replace_item(deal, "milestones", step, moved)


def _reach_milestone(deal: Deal, event: MilestoneReached, on: date) -> Deal | Refusal:
    step = _find(deal.milestones, "milestone", event.milestone)
    if step is None:
        return Refusal("milestone-unknown", milestone=event.milestone)
    reached = event.reached or on.isoformat()
    if step.status == "reached":
        # The same step reported twice is one step; another date for it is a disagreement, not a second step.
        return deal if step.reached == reached else _already_reached(step)
    done = replace(step, status="reached", reached=reached, claims=_supersede_claims(step.claims, {"reached": reached}))
    return _infer_stage(_replace_item(deal, "milestones", step, done), _BY_MILESTONE.get(step.kind or ""), on)


def _join_parties(deal: Deal, joining: tuple[Party, ...], on: date) -> Deal:
    for party in joining:
        same = [p for p in deal.parties if (p.organization, p.role) == (party.organization, party.role)]
        if any(p.left_on is None for p in same):
            continue
        again = next((p for p in same if p.joined_on == on), None)
        if again is not None:  # it left on the day it had joined, and is back: one membership
            deal = _replace_item(deal, "parties", again, replace(again, name=party.name or again.name, left_on=None))
        else:
            deal = _add(deal, "parties", PartyState(party.organization, party.name, party.role, on))
    return deal


def _leave(deal: Deal, event: PartyLeft, on: date) -> Deal | Refusal:
    def leaves(party: PartyState) -> bool:
        return (
            party.organization == event.organization
            and party.left_on is None
            and (event.role is None or party.role == event.role)
        )

    if not any(map(leaves, deal.parties)):
        role = (Label(f"role/{event.role}"),) if event.role else ()
        return Refusal("party-unknown", party=(event.organization, *role))
    return replace(deal, parties=tuple(replace(p, left_on=on) if leaves(p) else p for p in deal.parties))


def _relate(deal: Deal, event: DealsRelated, on: date, source: UUID) -> Deal | Refusal:
    if event.pledge is not None and _find(deal.pledges, "pledge", event.pledge) is None:
        return Refusal("pledge-unknown", pledge=event.pledge)
    if event.deal == deal.deal:
        if event.pledge == event.other_pledge:
            return Refusal("relation-to-itself")
        if event.other_pledge is not None and _find(deal.pledges, "pledge", event.other_pledge) is None:
            return Refusal("pledge-unknown", pledge=event.other_pledge)
    if any(_same_relation(r, event) for r in deal.relations):
        return deal
    related = RelationState(event.relation, event.deal, event.pledge, event.other_pledge, on, source)
    return _add(deal, "relations", related)


def _claim(deal: Deal, event: ClaimReported, happened: AppliedEvent) -> Deal | Refusal:
    _, name, key, field = event.field.split("/")
    items: tuple[Item, ...] = getattr(deal, name)
    item = _find(items, name.removesuffix("s"), key)
    if item is None:
        return _unknown_item(name, key)
    shape = CLAIMABLE.get((name, field))
    if shape is None:
        claimable = tuple(f for n, f in CLAIMABLE if n == name)
        return Refusal("field-not-claimable", field=event.field, claimable=claimable)
    try:
        value = msgspec.convert(msgspec.to_builtins(event.value), shape)
        if shape is Edtf:
            last_day(value)
    except (msgspec.ValidationError, ValueError) as error:
        return Refusal("claim-of-wrong-type", field=event.field, reason=str(error))
    if any(
        c.claim == event.claim for n in ("pledges", "sites", "milestones") for i in getattr(deal, n) for c in i.claims
    ):
        return Refusal("claim-id-used", claim=event.claim)
    claim = ClaimState(
        claim=event.claim,
        field=event.field,
        value=value,
        about=event.about,
        event=happened.id,
        published_on=happened.published_on,
        sources=happened.sources,
    )
    return _replace_item(deal, name, item, replace(item, claims=(*item.claims, claim)))


def _retract(deal: Deal, event: ClaimRetracted) -> Deal | Refusal:
    for name in ("pledges", "sites", "milestones"):
        items: tuple[Item, ...] = getattr(deal, name)
        for item in items:
            claim = next((c for c in item.claims if c.claim == event.claim), None)
            if claim is None:
                continue
            if claim.status == "retracted":
                return Refusal("claim-retracted", claim=event.claim)
            taken_back = tuple(replace(c, status="retracted") if c is claim else c for c in item.claims)
            return _replace_item(deal, name, item, replace(item, claims=taken_back))
    return Refusal("claim-unknown", claim=event.claim)


def _supersede_claims(claims: tuple[ClaimState, ...], said: dict[str, Any]) -> tuple[ClaimState, ...]:
    """Claims about a value that the world has now set anew speak of the past."""
    if not claims:
        return claims
    return tuple(
        replace(c, status="superseded") if c.status == "standing" and c.field.rsplit("/", 1)[1] in said else c
        for c in claims
    )


def _infer_stage(deal: Deal, conclusion: tuple[Stage, str] | None, on: date) -> Deal:
    if conclusion is None:
        return deal
    stage, rule = conclusion
    if deal.stage is not None and _LADDER.get(deal.stage.value, _STOPPED) >= _LADDER[stage]:
        return deal
    return replace(deal, stage=StageState(stage, "inferred", on, rule))


def _find(items: tuple[T, ...], key: str, value: str) -> T | None:
    for item in items:
        if getattr(item, key) == value:
            return item
    return None


def _add(deal: Deal, name: str, new: Struct) -> Deal:
    items, order = getattr(deal, name), ORDER[name]
    at = bisect_right(items, order(new), key=order)
    return replace(deal, **{name: (*items[:at], new, *items[at:])})


def _replace_item(deal: Deal, name: str, old: Struct, new: Struct) -> Deal:
    return replace(deal, **{name: tuple(new if item is old else item for item in getattr(deal, name))})


def _same_relation(state: RelationState, event: DealsRelated | DealsUnrelated) -> bool:
    return (state.relation, state.deal, state.pledge, state.other_pledge) == (
        event.relation,
        event.deal,
        event.pledge,
        event.other_pledge,
    )


def _unknown_item(name: str, key: str) -> Refusal:
    match name:
        case "pledges":
            return Refusal("pledge-unknown", pledge=key)
        case "sites":
            return Refusal("site-unknown", site=key)
        case _:
            return Refusal("milestone-unknown", milestone=key)


def _already_reached(step: MilestoneState) -> Refusal:
    return Refusal("milestone-reached", milestone=step.milestone, reached=step.reached or "")
