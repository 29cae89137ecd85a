"""Names that a page shows in place of identifiers: organizations, deals, and the sites and milestones of a deal.

Names are keyed by what the page refers to: an organization by its slug, a deal by `deal/SLUG`, a pledge of a deal by
`deal/SLUG/PLEDGE`, and an item of the page's own deal by its path, such as `milestones/first-phase`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from registry.domain.deal import Deal, PledgeState
from registry.domain.history import UNBOUNDED
from registry.domain.mentions import mentioned_organizations
from registry.queries.deals import DealQueries
from registry.queries.organizations import OrganizationQueries
from registry.queries.streams import StreamReader
from registry.web.format import names_in
from registry.web.i18n import N_, Translations, words
from registry.web.numbers import figures

# The most investors that the name of a pledge lists.
MAX_INVESTORS = 3


async def deal_page_names(
    deal_queries: DealQueries,
    organization_queries: OrganizationQueries,
    language: str,
    current: Deal,
    shown: Deal | None = None,
) -> dict[str, str]:
    """Every name that a page about a deal needs.

    Args:
        deal_queries: Finds the related deals.
        organization_queries: Finds the organizations.
        language: The interface language.
        current: The deal as all its events have it.
        shown: The deal as the page shows it, which may have relations that have ended since.
    """
    texts = words(language)
    names = names_in(current, language)
    names |= await organization_names(
        organization_queries, language, set(mentioned_organizations(current)) - names.keys()
    )
    relations = (*current.relations, *(shown.relations if shown is not None else ()))
    related = await deal_queries.related_deals(replace(current, relations=relations), UNBOUNDED)
    investors = {slug for deal in related for pledge in deal.pledges for slug in pledge.by} - names.keys()
    names |= await organization_names(organization_queries, language, investors)
    for deal in (current, *related):
        names[f"deal/{deal.deal}"] = texts.localized(deal.title, deal.deal)
        names |= {f"deal/{deal.deal}/{id}": name for id, name in pledge_names(deal, texts, names).items()}
    names[f"deal/{current.deal}"] = texts.gettext(N_("this deal"))
    return names | _item_names(current, texts, names)


def pledge_names(deal: Deal, texts: Translations, names: Mapping[str, str]) -> dict[str, str]:
    """What the pledges of a deal are called, by their ids: by their purpose, else by their investors.

    The only pledge of a deal needs no name. Pledges that would have the same name have their id too.
    """
    if len(deal.pledges) == 1:
        return {deal.pledges[0].pledge: ""}
    called = {p.pledge: _pledge_name(p, texts, names) for p in deal.pledges}
    shared = Counter(called.values())
    return {id: name if shared[name] == 1 else f"{name} ({texts.label('pledge', id)})" for id, name in called.items()}


def _pledge_name(pledge: PledgeState, texts: Translations, names: Mapping[str, str]) -> str:
    if purpose := texts.localized(pledge.purpose):
        return texts.translate(N_("pledge for %(purpose)s"), purpose=purpose)
    if pledge.by:
        investors = figures(texts.language).listed([names.get(slug, slug) for slug in pledge.by[:MAX_INVESTORS]])
        return texts.translate(N_("pledge of %(investors)s"), investors=investors)
    return texts.gettext(N_("pledge"))


async def organization_names(
    organization_queries: OrganizationQueries, language: str, slugs: Iterable[str]
) -> dict[str, str]:
    """The current names of organizations, by slug; those without a record have the name that a deal gave them."""
    unique = set(slugs)
    if not unique:
        return {}
    records = await organization_queries.named(unique)
    texts = words(language)
    names = {slug: texts.localized(msgspec.json.decode(raw).get("name"), slug) for slug, raw in records.items()}
    announced = await organization_queries.announced_names(unique - names.keys())
    return names | {slug: texts.localized(name, slug) for slug, name in announced.items()}


async def names_within(streams: StreamReader, language: str, slugs: Iterable[str]) -> dict[str, dict[str, str]]:
    """For each deal the names of its parties, pledges, milestones and sites, as a page about it has them."""
    texts = words(language)
    names: dict[str, dict[str, str]] = {}
    for slug in slugs:
        stream, _ = await streams.load(f"deal/{slug}")
        if stream is not None:
            names[slug] = names_in(stream.state, language)
            names[slug] |= _item_names(stream.state, texts, names[slug])
    return names


def _item_names(deal: Deal, texts: Translations, names: Mapping[str, str]) -> dict[str, str]:
    """The names of a deal's own items, by their paths."""
    return {
        **{f"pledges/{id}": name for id, name in pledge_names(deal, texts, names).items()},
        **{f"milestones/{m.milestone}": name for m in deal.milestones if (name := texts.localized(m.name))},
        **{f"sites/{s.site}": name for s in deal.sites if (name := texts.localized(s.name))},
    }


async def deal_names(streams: StreamReader, language: str, slugs: Iterable[str]) -> dict[str, str]:
    """The current titles of deals, by `deal/SLUG`."""
    names: dict[str, str] = {}
    for slug in slugs:
        stream, _ = await streams.load(f"deal/{slug}")
        if stream is not None:
            names[f"deal/{slug}"] = words(language).localized(stream.state.title, slug)
    return names
