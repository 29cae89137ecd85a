"""Names that a page shows in place of identifiers: organizations, deals, and the sites and milestones of a deal.

Names are keyed by what the page refers to: an organization by its slug, a deal by `deal/SLUG`, a pledge of a deal by
`deal/SLUG/PLEDGE`, and an item of the page's own deal by its path, such as `milestones/first-phase`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
from litestar.di import NamedDependency
from msgspec import Struct
from msgspec.structs import replace

from registry.append.principals import ADMIN_NAME
from registry.domain.deal import Deal, PledgeState, SiteState
from registry.domain.history import UNBOUNDED, FoldedStream
from registry.domain.organizations.mentions import mentioned_organizations
from registry.domain.principal import REGISTRY, AuthorNames
from registry.events.codec import stream_name
from registry.events.types import Event, MilestoneScheduled, PledgeAnnounced, SiteAnnounced
from registry.formatting.fields import deals_in, organizations_in
from registry.formatting.language import N_, Translations, words
from registry.formatting.numbers import figures
from registry.formatting.values import names_in
from registry.infra.threads import is_long, offload_answer
from registry.queries.deals import DealQueries
from registry.queries.organizations import OrganizationQueries
from registry.queries.streams import StreamReader

# What pages call the principals that the registry itself names, by the name that the log has for them.
_BUILT_IN_PRINCIPALS = {
    ADMIN_NAME: N_("System administrator"),
    REGISTRY: N_("The registry itself"),
    "Demo (replayed)": N_("Demo (replayed)"),
}

# The most investors that the name of a pledge lists.
MAX_INVESTORS = 3


def principal_name(texts: Translations, name: str) -> str:
    """The name of a principal; in the reader's language if the registry gave it."""
    return texts.gettext(_BUILT_IN_PRINCIPALS[name]) if name in _BUILT_IN_PRINCIPALS else name


def _with_items(names: dict[str, str], current: Deal, related: Sequence[Deal], language: str) -> dict[str, str]:
    """The names with those of the deals, of their pledges, and of the other items of the current deal."""
    texts = words(language)
    for deal in (current, *related):
        names[f"deal/{deal.deal}"] = texts.localized(deal.title, deal.deal)
        names |= {f"deal/{deal.deal}/{id}": name for id, name in pledge_names(deal, texts, names).items()}
    names[f"deal/{current.deal}"] = texts.gettext(N_("this deal"))
    return names | _item_names(current, texts, names)


def pledge_names(deal: Deal, texts: Translations, names: Mapping[str, str]) -> dict[str, str]:
    """What the pledges of a deal are called, by their ids: by their purpose, else by their investors.

    The only pledge of a deal needs no name, unless it is annual: every figure of it must say so. Pledges that would
    have the same name also show their id.
    """
    if len(deal.pledges) == 1:
        [only] = deal.pledges
        return {only.pledge: texts.gettext(N_("annual pledge")) if only.amount_basis == "annual" else ""}
    called = {p.pledge: _pledge_name(p, texts, names) for p in deal.pledges}
    shared = Counter(called.values())
    return {
        id: name if shared[name] == 1 else texts.with_note(name, texts.label("pledge", id))
        for id, name in called.items()
    }


def _pledge_name(pledge: PledgeState | PledgeAnnounced, texts: Translations, names: Mapping[str, str]) -> str:
    is_annual = pledge.amount_basis == "annual"
    if purpose := texts.localized(pledge.purpose):
        pattern = N_("annual pledge for %(purpose)s") if is_annual else N_("pledge for %(purpose)s")
        return texts.translate(pattern, purpose=purpose)
    if pledge.by:
        investors = figures(texts.language).listed([names.get(slug, slug) for slug in pledge.by[:MAX_INVESTORS]])
        pattern = N_("annual pledge of %(investors)s") if is_annual else N_("pledge of %(investors)s")
        return texts.translate(pattern, investors=investors)
    return texts.gettext(N_("annual pledge") if is_annual else N_("pledge"))


def _names_within(deal: Deal, language: str) -> dict[str, str]:
    texts, names = words(language), names_in(deal, language)
    items = _item_names(deal, texts, names)
    own = {f"deal/{deal.deal}/{p.pledge}": items[f"pledges/{p.pledge}"] for p in deal.pledges}
    return {**names, **items, **own, f"deal/{deal.deal}": texts.gettext(N_("this deal"))}


def _item_names(deal: Deal, texts: Translations, names: Mapping[str, str]) -> dict[str, str]:
    """The names of a deal's own items, by their paths."""
    return {
        **{f"pledges/{id}": name for id, name in pledge_names(deal, texts, names).items()},
        **{f"milestones/{id}": name for id, name in _milestone_names(deal, texts).items()},
        **{f"sites/{s.site}": name for s in deal.sites if (name := _site_name(s, texts))},
    }


def _milestone_names(deal: Deal, texts: Translations) -> dict[str, str]:
    """What the milestones of a deal are called; one without a name as its kind, if it is the only one of its kind."""
    kinds = Counter(m.kind for m in deal.milestones)
    return {
        m.milestone: name
        for m in deal.milestones
        if (name := texts.localized(m.name) or (texts.label("milestone", m.kind) if kinds[m.kind] == 1 else ""))
    }


def new_item_names(
    events: Iterable[Event], language: str, names: Mapping[str, str], known: Mapping[str, str]
) -> dict[str, str]:
    """What the items that announcements introduce are called, by their paths, before a deal has them.

    Args:
        events: The announcements about one deal.
        language: The interface language.
        names: The names of organizations.
        known: The names of the deal's items.
    """
    texts = words(language)
    found: dict[str, str] = {}
    for event in events:
        match event:
            case PledgeAnnounced():
                found[f"pledges/{event.pledge}"] = _pledge_name(event, texts, names)
            case SiteAnnounced():
                found[f"sites/{event.site}"] = _site_name(event, texts)
            case MilestoneScheduled():
                kind = texts.label("milestone", event.kind) if event.kind else ""
                found[f"milestones/{event.milestone}"] = texts.localized(event.name) or kind
            case _:
                pass
    new = {path: name for path, name in found.items() if name and path not in known}
    shared = Counter([*new.values(), *known.values()])
    return {p: name if shared[name] == 1 else f"{name} ({p.partition('/')[2]})" for p, name in new.items()}


def _site_name(site: SiteState | SiteAnnounced, texts: Translations) -> str:
    return texts.localized(site.name) or (figures(texts.language).place(site.place) if site.place else "")


class EventNames(Struct, frozen=True):
    """The names that some events need: those of deals and organizations, and of each deal's own items."""

    names: dict[str, str]
    within: dict[str, dict[str, str]]
    _joined: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)

    def of(self, slug: str) -> dict[str, str]:
        """The names for an event of a deal or organization."""
        if slug not in self._joined:
            self._joined[slug] = self.names | self.within.get(slug, {})
        return self._joined[slug]


class PageNames:
    """Looks up the names that a page shows, in its language."""

    def __init__(
        self,
        language: NamedDependency[str],
        deal_queries: NamedDependency[DealQueries],
        organization_queries: NamedDependency[OrganizationQueries],
        streams: NamedDependency[StreamReader],
    ) -> None:
        self._language = language
        self._deals = deal_queries
        self._organizations = organization_queries
        self._streams = streams

    async def organizations(self, slugs: Iterable[str]) -> dict[str, str]:
        """The current names of organizations, by slug; those without a record have the name that a deal gave them."""
        unique = set(slugs)
        if not unique:
            return {}
        records = await self._organizations.named(unique)
        texts = words(self._language)
        names = {slug: texts.localized(msgspec.json.decode(raw).get("name"), slug) for slug, raw in records.items()}
        announced = await self._organizations.announced_names(unique - names.keys())
        return names | {slug: texts.localized(name, slug) for slug, name in announced.items()}

    async def deals(self, slugs: Iterable[str]) -> dict[str, str]:
        """The current titles of deals, by `deal/SLUG`, and what their pledges are called, by `deal/SLUG/PLEDGE`."""
        found, size = await self._own_deals(slugs)
        language = self._language

        def named() -> dict[str, str]:
            texts = words(language)
            names: dict[str, str] = {}
            for stream in found:
                deal = stream.state
                names[f"deal/{stream.slug}"] = texts.localized(deal.title, stream.slug)
                called = pledge_names(deal, texts, names_in(deal, language))
                names |= {f"deal/{stream.slug}/{pledge}": name for pledge, name in called.items()}
            return names

        return await offload_answer(size, named)

    async def within(self, slugs: Iterable[str]) -> dict[str, dict[str, str]]:
        """For each deal the names of its parties, pledges, milestones and sites, as a page about it has them."""
        found, size = await self._own_deals(slugs)
        return await offload_answer(size, lambda: {one.slug: _names_within(one.state, self._language) for one in found})

    async def _own_deals(self, slugs: Iterable[str]) -> tuple[list[FoldedStream[Deal]], int]:
        """Deals, folded, and how many events they have; for this caller alone if they are many (`infra/threads.py`)."""
        found = (await self._streams.load_all([stream_name("deal", slug) for slug in sorted(set(slugs))])).values()
        size = sum(stream.version for stream in found)
        return [stream.copy_for_thread() if is_long(size) else stream for stream in found], size

    async def of_deal(self, current: Deal, shown: Deal | None = None) -> dict[str, str]:
        """Every name that a page about a deal needs.

        Args:
            current: The deal as all its events have it.
            shown: The deal as the page shows it, which may have relations that have ended since.
        """
        names = await offload_answer(len(current.pledges), names_in, current, self._language)
        mentioned = await offload_answer(len(current.pledges), lambda: set(mentioned_organizations(current)))
        names |= await self.organizations(mentioned - names.keys())
        relations = (*current.relations, *(shown.relations if shown is not None else ()))
        related = await self._deals.related.states(replace(current, relations=relations), UNBOUNDED)
        investors = {slug for deal in related for pledge in deal.pledges for slug in pledge.by} - names.keys()
        names |= await self.organizations(investors)
        pledges = sum(len(deal.pledges) for deal in (current, *related))
        return await offload_answer(pledges, _with_items, names, current, related, self._language)

    async def principals(self, ids: Collection[str]) -> AuthorNames:
        """The names of principals, by their ids."""
        return await self._streams.author_names_of(ids)

    async def of_events(self, events: Iterable[tuple[str, str, Event | None]]) -> EventNames:
        """The names of what events belong to or refer to.

        Args:
            events: The kind and the slug of the stream of each event, and its content.
        """
        events = list(events)
        contents = [content for _, _, content in events]
        own = {slug for kind, slug, _ in events if kind == "deal"}
        named, deals = await offload_answer(len(events), lambda: (organizations_in(contents), deals_in(contents)))
        organizations = named | {slug for kind, slug, _ in events if kind == "organization"}
        return EventNames(
            await self.organizations(organizations) | await self.deals(deals | own), await self.within(own)
        )
