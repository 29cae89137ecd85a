"""What the sections of a deal's page list: pledges, changes of amounts, claims, sources and other items."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.audit.entries import AuditEntry
from registry.domain.audit.labels import Label
from registry.domain.checks.plausibility import Flag
from registry.domain.deal import Deal, Item, PledgeState
from registry.domain.fold.claims import ClaimState
from registry.domain.fold.items import ListItem, item_id, item_types
from registry.domain.history import StateAsOf
from registry.domain.totals.overlap import Key, Relations
from registry.events.values import Source
from registry.formatting.summaries import amount_flags, own_wholes
from registry.formatting.values import own_changes
from registry.schemas import IncomingRelation, cited_sources
from registry.schemas.deal_query import CODE_FILTERS


class AmountChange(Struct, frozen=True):
    """A change of a pledge's amount: the day, the amount from then on, its label, and the event.

    `correction` is the event that corrected it; `original` is the amount as it had been recorded.
    """

    on: date
    amount: Any
    label: Label
    event: UUID
    correction: UUID | None = None
    original: Any = None


class ClaimedField(Struct, frozen=True):
    """A field that several sources give a value for: every claim, with the value used among them."""

    path: str
    claims: tuple[ClaimState, ...]

    @property
    def is_disputed(self) -> bool:
        """Whether a standing claim disagrees with the value used."""
        return any(claim.status == "standing" and not claim.corroborated for claim in self.claims)


class ShownPledge(Struct, frozen=True):
    """A pledge with the flags on its amount, and the pledge of the same deal that it is part of."""

    state: PledgeState
    flags: tuple[str, ...]
    part_of: str | None

    @property
    def basis(self) -> str | None:
        """What the amount is of, as it is shown: a part stands under its whole and is not in addition to it."""
        return None if self.part_of is not None and self.state.amount_basis != "annual" else self.state.amount_basis


def shown_pledges(deal: Deal, flags: Sequence[Flag]) -> list[ShownPledge]:
    """The pledges of a deal, each part after its whole."""
    wholes, flags_of_amounts = own_wholes(deal), amount_flags(deal.deal, flags)
    places = {pledge.pledge: place for place, pledge in enumerate(deal.pledges)}

    def place(pledge: PledgeState) -> tuple[int, int]:
        whole = wholes.get(pledge.pledge)
        own = places[pledge.pledge]
        return (places[whole], own + 1) if whole in places else (own, 0)

    return [
        ShownPledge(
            pledge,
            flags_of_amounts.get(pledge.pledge, ()),
            wholes.get(pledge.pledge),
        )
        for pledge in sorted(deal.pledges, key=place)
    ]


class ListedSource(Struct, frozen=True):
    """A source of a deal, the number of its events that cite it, and its citations with a quotation."""

    id: str | None
    source: Source
    events: int
    quotations: tuple[Source, ...]


def supersessions(slug: str, deal: Deal, incoming: Sequence[IncomingRelation]) -> list[tuple[Key, Key]]:
    """What has taken the place of the deal or of its pledges, each with what it supersedes, as totals decide."""
    relations, declared = Relations(), []
    own = [((slug, r.pledge), (r.deal, r.other_pledge), r.relation) for r in deal.relations]
    others = [((r.deal, r.pledge), (slug, r.other_pledge), r.relation) for r in incoming]
    for one, other, relation in own + others:
        if relation == "supersedes":
            relations.declare("supersedes", one, other, "")
            declared.append((one, other))
    pledges = {None, *(pledge.pledge for pledge in deal.pledges)}
    return [
        (newer, older)
        for newer, older in declared
        if older[0] == slug and older[1] in pledges and newer in relations.superseded_by(older)
    ]


def listed_sources(snapshot: StateAsOf[Deal]) -> list[ListedSource]:
    """The sources of a deal, each article once, the latest first."""
    found: dict[str | None, tuple[list[Source], set[UUID]]] = {}
    for cited in cited_sources(snapshot):
        source = Source(**{name: getattr(cited, name) for name in Source.__struct_fields__})
        citations, events = found.setdefault(cited.id, ([], set()))
        citations.append(source)
        events |= set(cited.events)
    listed = [
        ListedSource(id, citations[0], len(events), tuple(one for one in citations if one.quote))
        for id, (citations, events) in found.items()
    ]
    return sorted(listed, key=lambda one: one.source.published_on or date.min, reverse=True)


OTHER_FIELDS = tuple(field for field in CODE_FILTERS.values() if field not in ("kind", "sectors"))
"""The fields of a deal with a filter that the page shows by their labels."""

LISTS_WITH_OWN_SECTIONS = ("parties", "pledges", "sites", "milestones", "conditions", "relations")
"""The lists of a deal that the page lays out field by field. It shows all others by one pattern."""


def other_lists(deal: Deal) -> dict[str, list[tuple[str, ListItem]]]:
    """The items of the lists without sections of their own, each with the path of its id."""
    lists: dict[str, list[tuple[str, ListItem]]] = {}
    for name, item_type in item_types(type(deal)).items():
        if name not in LISTS_WITH_OWN_SECTIONS and getattr(deal, name):
            id_field = item_type.id_fields[0]
            lists[name] = [(f"/{name}/{item_id(item)}/{id_field}", item) for item in getattr(deal, name)]
    return lists


def amount_changes(deal: Deal, entries: Sequence[AuditEntry]) -> dict[str, list[AmountChange]]:
    """The changes of each pledge's amount in effective order. A correction belongs to the change that it corrects."""
    paths = {f"/pledges/{pledge.pledge}/amount": pledge.pledge for pledge in deal.pledges}
    found: dict[str, dict[UUID, AmountChange]] = {pledge: {} for pledge in paths.values()}
    for entry in entries:
        for change in (change for change in own_changes(entry) if change.path in paths):
            changes = found[paths[change.path]]
            event, corrected = entry.effective.recorded.id, entry.target_event
            if corrected in changes:
                changes[corrected] = replace(changes[corrected], correction=event, original=change.before)
            else:
                day = entry.effective.effective_on or entry.effective.published_on
                changes[event] = AmountChange(day, change.after, entry.label, event)
    return {pledge: sorted(changes.values(), key=lambda change: change.on) for pledge, changes in found.items()}


def claimed_fields(deal: Deal) -> list[ClaimedField]:
    """The fields that have claims."""
    claims: dict[str, list[ClaimState]] = {}
    items: tuple[Item, ...] = (*deal.pledges, *deal.sites, *deal.milestones)
    for item in items:
        for claim in item.claims:
            claims.setdefault(claim.field, []).append(claim)
    return [ClaimedField(path, tuple(of_path)) for path, of_path in claims.items()]
