"""Property 56: a search finds what has every word in a text at the point in time, by brute force over the states.

The brute force folds all events of each deal and organization at the point and compares every text with every word, by
rules written anew: it has no terms, no index and no SQL.

Together with the texts that it draws, it is one subject; hence the length of the file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rapidfuzz.distance import OSA

from registry.domain.deal import Deal
from registry.domain.fold.corrections import apply_corrections
from registry.domain.history import AsOf, FoldedStream, state_as_of
from registry.domain.sources.identity import source_id
from registry.domain.stream_kinds import DEALS, ORGANIZATIONS
from registry.events.types import (
    OrganizationIdentified,
    OrganizationNamed,
    OrganizationRegistered,
    PartnershipFormed,
    Recorded,
)
from registry.queries.deal_conditions import SelectedDeals, folded, similar_of
from registry.queries.named_organizations import NamedOrganizations
from registry.queries.portfolio import PortfolioQueries
from registry.queries.search import SearchQueries
from registry.schemas.deal_query import DealListQuery, DealQuery
from tests.conftest import examples
from tests.databases import Server
from tests.properties.portfolios import RandomRegistry, points, random_registry

DEALS_OF_LOG = ("anode", "boiler")
ORGANIZATIONS_OF_LOG = ("acme", "bolt")
DAYS = [date(2025, month, 1) for month in range(1, 5)]
PLACES = {
    "KR-31": ("울산", "Ulsan", "울산광역시"),
    "KR": ("대한민국", "South Korea", "한국", "Korea"),
    "US": ("미국", "United States", "USA", "America"),
}

days = st.sampled_from(DAYS)
titles = st.sampled_from(
    [
        {"en": "Data centre"},
        {"en": "multi-fuel plants", "ko": "복합 발전소"},
        {"ko": "데이터 센터 공장"},
        {"en": "Café Ulsan", "ko": "울산데이터센터"},
    ]
)
names = st.sampled_from(["Marsupial Energy", "마수피얼", "Data works"])
sources = st.sampled_from(
    [
        {"publisher": "수박 일보", "title": "Plant in Ulsan", "url": "https://www.melon.example/1"},
        {"publisher": "Gazette", "url": "https://gazette.example/데이터/2"},
        {"publisher": "Gazette"},
    ]
)
queries = st.sampled_from(
    [
        "data center",
        "datacenter",
        "데이터센터",
        "데이터 센터",
        "센터공",
        "cafe",
        "plant ulsan",
        "울산",
        "울산에서",
        "multifuel",
        "multi fuel",
        "marsupial",
        "marsupail plants",
        "마수피얼 울산",
        "한국",
        "acme",
        "gazette",
        "melon plant",
        "http://melon.example/1",
        "dat",
        "da",
        "발전소 복합",
        "nothing",
    ]
)


def _deal_events() -> st.SearchStrategy[dict[str, Any]]:
    of, just = st.fixed_dictionaries, st.just
    organization, site = st.sampled_from(ORGANIZATIONS_OF_LOG), st.sampled_from("st")
    pledge = st.sampled_from("pq")
    named = st.one_of(just(None), names.map(lambda name: {"en": name}))
    place = st.sampled_from(list(PLACES))
    return st.one_of(
        of({"type": just("deal_revised"), "title": titles}),
        of(
            {
                "type": just("parties_joined"),
                "parties": st.lists(of({"organization": organization, "name": named}), min_size=1, max_size=1),
            }
        ),
        of({"type": just("party_left"), "organization": organization}),
        of({"type": just("pledge_announced"), "pledge": pledge, "by": st.lists(organization, max_size=2, unique=True)}),
        of({"type": just("pledge_withdrawn"), "pledge": pledge}),
        of({"type": just("partnership_formed"), "members": st.lists(organization, max_size=2, unique=True)}),
        of({"type": just("site_announced"), "site": site}, optional={"place": place, "name": titles}),
        of({"type": just("site_dropped"), "site": site}),
        of({"type": just("event_corrected"), "day": days, "source": st.one_of(just(None), sources)}),
        of({"type": just("event_voided")}),
        of({"type": just("deal_merged"), "into": st.sampled_from(DEALS_OF_LOG), "reason": just("the same")}),
    )


def _organization_events() -> st.SearchStrategy[dict[str, Any]]:
    of, just = st.fixed_dictionaries, st.just
    return st.one_of(
        of({"type": just("organization_named"), "name": names, "language": just("en")}),
        of({"type": just("organization_merged"), "into": st.sampled_from(ORGANIZATIONS_OF_LOG)}),
        of({"type": just("event_corrected"), "day": days, "source": st.one_of(just(None), sources)}),
        of({"type": just("event_voided")}),
    )


histories = st.lists(
    st.one_of(
        st.tuples(st.just("deal"), st.sampled_from(DEALS_OF_LOG), days, days, _deal_events(), sources),
        st.tuples(
            st.just("organization"), st.sampled_from(ORGANIZATIONS_OF_LOG), days, days, _organization_events(), sources
        ),
    ),
    min_size=3,
    max_size=14,
)
axes = points(DAYS, 18)


async def record(registry: RandomRegistry, history: Sequence[Any], data: st.DataObject) -> None:
    """Register what there is and record what the rules admit of a history."""
    day = DAYS[0].isoformat()
    for slug in DEALS_OF_LOG:
        registration: dict[str, Any] = {"type": "deal_registered", "title": {"en": f"{slug} plant"}}
        await registry.append(slug, {"event": registration, "effective_on": day})
    for slug, name in zip(ORGANIZATIONS_OF_LOG, ({"en": "Acme"}, {"ko": "볼트 에너지"}), strict=True):
        registration = {"type": "organization_registered", "name": name}
        await registry.append(slug, {"event": registration, "effective_on": day}, "organization")
    for kind, slug, effective_on, published_on, drawn, source in history:
        event = dict(drawn)
        source = {**source, "published_on": published_on.isoformat()}
        announcement = {"effective_on": effective_on.isoformat(), "sources": [source], "event": event}
        if event["type"] in ("event_corrected", "event_voided"):
            target = str(data.draw(st.sampled_from(registry.recorded[slug])).id)
            if event["type"] == "event_voided":
                announcement = {"event": {"type": "event_voided", "voids": target}}
            else:
                replacement: dict[str, Any] = {"effective_on": event["day"].isoformat()}
                if event["source"] is not None:
                    replacement["sources"] = [event["source"]]
                announcement = {"event": {"type": "event_corrected", "corrects": target, "replacement": replacement}}
        await registry.append(slug, announcement, kind)


# --- brute force ------------------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """The text in small letters without accents."""
    letters = unicodedata.normalize("NFD", text.casefold())
    return unicodedata.normalize("NFC", "".join(c for c in letters if unicodedata.category(c) != "Mn"))


SPELLINGS = {
    "centre": "center",
    "datacentre": "datacenter",
    "plants": "plant",
    "works": "work",
    "states": "state",
    "united": "unit",
}


def spelled(word: str) -> str:
    """One spelling for those that mean the same."""
    return SPELLINGS.get(word, word)


def runs(text: str) -> Iterator[list[str]]:
    """The words of a text, those of each script that follow each other together."""
    for line in plain(text).splitlines():
        group: list[str] = []
        for word in re.findall(r"[가-힣]+|[a-z0-9]+", line):
            if group and (group[0][0] >= "가") != (word[0] >= "가"):
                yield group
                group = []
            group.append(word)
        if group:
            yield group


def has(text: str, word: str, before: str | None, after: str | None) -> bool:
    """Whether a text has a word of a query; `before` and `after` are the words beside it in the query."""
    for group in runs(text):
        if word[0] >= "가":
            if word in "".join(group):
                return True
            continue
        joined = [a + b for a, b in pairwise(group)]
        beside = [one for one in (before and before + word, after and word + after) if one]
        if any(spelled(one) == spelled(word) or (len(word) >= 3 and one.startswith(word)) for one in group):
            return True
        if any(spelled(one) == spelled(word) for one in joined):
            return True
        if any(spelled(one) == spelled(both) for one in group for both in beside):
            return True
    return False


def is_like(text: str, word: str) -> bool:
    """Whether a text has a word with few mistakes, or the word without a particle."""
    for group in runs(text):
        if word[0] >= "가":
            stem = re.sub(r"(에서|의)$", "", word)
            if len(stem) >= 2 and stem != word and stem in "".join(group):
                return True
        for one in group:
            if (one[0] >= "가") == (word[0] >= "가") and _distance(one, word):
                return True
    return False


def _distance(one: str, other: str) -> bool:
    a, b = unicodedata.normalize("NFD", one), unicodedata.normalize("NFD", other)
    allowed = 0 if len(b) < 4 else 1 if len(b) < 8 else 2
    return allowed > 0 and OSA.distance(a, b) <= allowed


class Things:
    """What there is at a point, with its texts; the texts of a deal include those of its parties and sources."""

    def __init__(  # noqa: C901 - one thing after another
        self, streams: dict[str, FoldedStream[Any]], as_of: AsOf, position: int
    ) -> None:
        self.texts: dict[tuple[str, str], list[str]] = {}
        self.sources: dict[tuple[str, str], set[str]] = {}
        organizations = {name: s for name, s in streams.items() if name.startswith("organization/")}
        snapshots = {s.slug: state_as_of(s.slug, s.events, as_of, ORGANIZATIONS) for s in organizations.values()}
        # A merge counts from its recording on, for any day.
        always = AsOf(published_on=as_of.published_on, position=as_of.position, effective_on=date(9999, 12, 30))
        merged = {
            s.slug: state_as_of(s.slug, s.events, always, ORGANIZATIONS).merged_into for s in organizations.values()
        }
        self.survivor = {slug: merged[slug] or slug for slug in snapshots}
        # An organization exists once it has an event or a deal names it, whatever was merged into it.
        existing = {s.slug for s in organizations.values() if any(self._in_force(s, as_of, position))}
        for stream in organizations.values():
            texts = self.texts.setdefault(("organization", self.survivor[stream.slug]), [])
            for effective in self._in_force(stream, as_of, position):
                match effective.event:
                    case OrganizationRegistered(name=name):
                        texts += name.values()
                    case OrganizationNamed(name=name):
                        texts.append(name)
                    case OrganizationIdentified(scheme=scheme, identifier=identifier):
                        texts.append(f"{scheme}:{identifier}")
                    case _:
                        pass
        record_texts = {key[1]: list(texts) for key, texts in self.texts.items()}
        self.given: dict[str, list[str]] = {}
        deals: list[tuple[FoldedStream[Deal], Deal]] = []
        for stream in (s for name, s in streams.items() if name.startswith("deal/")):
            snapshot = state_as_of(stream.slug, stream.events, as_of, DEALS)
            if snapshot.state is not None and snapshot.merged_into is None:
                self._add_deal(stream, snapshot.state, record_texts)
                named = [party.organization for party in snapshot.state.parties]
                named += (slug for pledge in snapshot.state.pledges for slug in pledge.by)
                named += self._members(stream, as_of, position)
                existing |= {self.survivor.get(slug, slug) for slug in named}
                deals.append((stream, snapshot.state))
        for stream, deal in deals:
            self._add_participants(deal, self._members(stream, as_of, position), record_texts)
        self.texts = {key: t for key, t in self.texts.items() if key[0] != "organization" or key[1] in existing}
        for stream in streams.values():
            for effective in self._in_force(stream, as_of, position):
                self._add_sources(stream, effective)

    def _add_deal(self, stream: FoldedStream[Deal], deal: Deal, records: dict[str, list[str]]) -> None:
        texts = self.texts.setdefault(("deal", stream.slug), [stream.slug, *(deal.title or {}).values()])
        for party in deal.parties:
            own = [party.organization, *(party.name or {}).values()]
            survivor = self.survivor.get(party.organization, party.organization)
            self.texts.setdefault(("organization", survivor), []).extend(own)
            self.given.setdefault(survivor, []).extend(own)
            if party.left_on is None:
                texts += own + records.get(survivor, [])
        for site in deal.sites:
            if site.status != "dropped":
                texts += (site.name or {}).values()
                for code in {site.place, site.place[:2]} if site.place else ():
                    own = [code, *PLACES[code]]
                    texts += own
                    self.texts[("place", code)] = own

    def _add_participants(self, deal: Deal, members: Sequence[str], records: dict[str, list[str]]) -> None:
        """Add the organizations that pledge without being parties, and those that events name as members."""
        for pledge in deal.pledges:
            for slug in pledge.by:
                self.texts.setdefault(("organization", self.survivor.get(slug, slug)), []).append(slug)
        for slug in members:
            self.texts.setdefault(("organization", self.survivor.get(slug, slug)), []).append(slug)
        standing = [slug for pledge in deal.pledges if pledge.status != "withdrawn" for slug in pledge.by]
        for slug in (*standing, *members):
            survivor = self.survivor.get(slug, slug)
            names = [*records.get(survivor, []), *self.given.get(survivor, [])]
            self.texts["deal", deal.deal] += [slug, *names]

    def _members(self, stream: FoldedStream[Deal], as_of: AsOf, position: int) -> list[str]:
        in_force = self._in_force(stream, as_of, position)
        return [slug for one in in_force if isinstance(one.event, PartnershipFormed) for slug in one.event.members]

    def _add_sources(self, stream: FoldedStream[Any], effective: Any) -> None:
        for source in effective.sources:
            id = source_id(source)
            host = re.match(r"https://(?:www\.)?([^/]+)", source.url or "")
            texts = [t for t in (source.publisher, source.title, host and host[1]) if t]
            self.texts.setdefault(("source", id or ""), []).extend(texts)
            self.sources.setdefault(("source", id or ""), set()).add(id or "")
            of_deal = ("deal", stream.slug)
            if of_deal in self.texts and isinstance(stream.state, Deal):
                self.texts[of_deal] += texts
                self.sources.setdefault(of_deal, set()).add(id or "")

    @staticmethod
    def _in_force(stream: FoldedStream[Any], as_of: AsOf, position: int) -> Iterator[Any]:
        """The events that are known and in effect, as they read there."""
        events: list[Recorded] = list(stream.events)
        if as_of.published_on is None:
            events = [event for event in events if event.position <= position]
        for effective in apply_corrections(events):
            if not effective.is_in_force or effective.recorded.type in ("event_corrected", "event_voided"):
                continue
            on = effective.registered_on
            assert as_of.effective_on is not None
            if on is not None and on > as_of.effective_on:
                continue
            if as_of.published_on is not None and effective.published_on > as_of.published_on:
                continue
            yield effective

    def find(self, query: str) -> set[tuple[str, str]]:
        """What has every word."""
        if query.startswith("http"):
            return {key for key, ids in self.sources.items() if source_id(query) in ids}
        listed = re.findall(r"[가-힣]+|[a-z0-9]+", plain(query))
        found = set(self.texts)
        for number, word in enumerate(listed):
            before = listed[number - 1] if number and listed[number - 1][0] < "가" else None
            after = listed[number + 1] if number + 1 < len(listed) and listed[number + 1][0] < "가" else None
            matching = {key for key, texts in self.texts.items() if any(has(t, word, before, after) for t in texts)}
            if not matching:
                matching = {key for key, texts in self.texts.items() if any(is_like(t, word) for t in texts)}
            found &= matching
        return found


# --- the property -----------------------------------------------------------------------------------------------------


@settings(max_examples=examples(2), deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories, data=st.data())
async def test_56_a_search_finds_what_brute_force_over_the_states_finds(
    server: Server, admin: Any, history: Any, data: st.DataObject
) -> None:
    async with random_registry(server, admin) as registry:
        await record(registry, history, data)
        portfolio = registry.portfolio
        organizations = NamedOrganizations(registry.reader, registry.organizations, registry.copy)
        search = SearchQueries(portfolio, organizations, registry.pool)
        names = [f"deal/{slug}" for slug in DEALS_OF_LOG]
        names += [f"organization/{slug}" for slug in ORGANIZATIONS_OF_LOG]
        streams = await registry.reader.load_all(names)
        for _ in range(8):
            as_of, query = data.draw(axes), data.draw(queries)
            point = await portfolio.point(as_of)
            found = await search.search(as_of, query)
            expected = Things(streams, as_of, point.position).find(query)
            assert {(hit.kind, hit.id) for hit in found.hits} == expected
            selection = await portfolio.select(point, DealQuery(q=query))
            listed = await portfolio.count(point, selection)
            assert listed == found.counts["deal"] == len([key for key in expected if key[0] == "deal"])
            await assert_conditions_select_the_same(portfolio, streams, as_of, query, expected)


async def assert_conditions_select_the_same(
    portfolio: PortfolioQueries,
    streams: dict[str, FoldedStream[Any]],
    as_of: AsOf,
    query: str,
    expected: set[tuple[str, str]],
) -> None:
    """The conditions that certificates are verified with find the same, also by an organization."""
    point = await portfolio.point(as_of)
    fixed = replace(as_of, position=point.position)
    deals, organizations = (
        {s.slug: s.events for name, s in streams.items() if name.startswith(kind)}
        for kind in ("deal/", "organization/")
    )
    for asked in (DealListQuery(q=query), DealListQuery(organization="acme"), DealListQuery(organization="bolt")):
        selection = await portfolio.select(point, asked)
        similar = similar_of(selection.search)
        selected = SelectedDeals(asked, deals, organizations, fixed, similar, is_whole=True)
        found = selected.at(fixed, folded(deals, fixed))
        if asked.q is not None:
            assert {("deal", slug) for slug in found} == {key for key in expected if key[0] == "deal"}
        assert len(found) == await portfolio.count(point, selection)
