"""From the sentences of an article to proposed deals with their announcements.

A sentence belongs to the deal of the organization that it is about. A sentence that names no organization, or goes back
to "the facility", belongs to the deal before it. An organization has a second deal in the article where a sentence
names another partner together with another place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Any

import msgspec
from msgspec import Struct

from registry.extraction.amounts import FoundAmount, find_amounts
from registry.extraction.cues import Cues, Quantity, cues_of
from registry.extraction.names import FoundOrganization, KnownOrganization, OrganizationFinder, leading
from registry.extraction.places import FoundPlace, find_places
from registry.extraction.text import ArticleLanguage, Sentence, clauses, language_of, sentences
from registry.infra.threads import stop_if_cancelled

MAX_DEALS = 100
"""The most deals that are proposed from one article."""

MAX_OPENING = 3
"""The paragraphs in which an article says who invests, if its first sentence says how much."""


class Article(Struct, frozen=True):
    """An article: its text, and its source as an announcement cites it."""

    text: str
    source: dict[str, Any] = {}
    published_on: date | None = None


class ProposedAnnouncement(Struct, frozen=True):
    """An announcement to accept, change or drop, and where its sentence is in the text."""

    announcement: dict[str, Any]
    start: int
    end: int


class ProposedDeal(Struct, frozen=True):
    """A deal to record, with a slug and a title to start from. `organizations` are those that it names."""

    deal: str
    title: dict[str, str]
    organizations: tuple[str, ...]
    announcements: tuple[ProposedAnnouncement, ...]


class _Reading(Struct):
    """What was found in a sentence."""

    sentence: Sentence
    clause: str
    organizations: list[FoundOrganization]
    amounts: list[FoundAmount]
    places: list[FoundPlace]
    cues: Cues

    @property
    def is_substantial(self) -> bool:
        """Whether the sentence states something to record."""
        cues = self.cues
        stated = (cues.power_mw, cues.gpus, cues.jobs, cues.stage, cues.milestones, cues.instrument, cues.until)
        return bool(self.amounts or any(stated) or (self.places and cues.invests) or cues.is_partnership)

    @property
    def opens(self) -> bool:
        """Whether the sentence states one amount for a project whose company is named after it."""
        is_project = self.cues.invests or self.cues.power_mw is not None
        return len(self.amounts) == 1 and is_project and not _SEVERAL_COMPANIES.search(self.clause)


_SEVERAL_COMPANIES = re.compile(r"[0-9]+ ?개 ?(?:사|기업|업체)|총 .{0,20}유치|\bcompanies\b|\binvestments\b")


# The amount of such a clause is of all of them together, and not of the company that was named last.
_SUM_OF_SEVERAL = re.compile(
    r"[0-9]+ ?개 ?(?:사|기업|업체)(?:는|은|가|이|의|로부터)?(?=[ ,])|총 .{0,20}유치|\bcombined investments?\b"
)


class _Draft(Struct):
    """A deal in the making."""

    lead: FoundOrganization
    readings: list[_Reading]

    @property
    def partners(self) -> set[str]:
        return {o.slug for r in self.readings for o in r.organizations if o.part == "partner"}

    @property
    def places(self) -> set[str]:
        return {place.code for r in self.readings for place in r.places}

    @property
    def has_amount(self) -> bool:
        return any(r.amounts for r in self.readings)


def extract(article: Article, known: Iterable[KnownOrganization]) -> list[ProposedDeal]:
    """The deals that an article announces, in its order.

    Args:
        article: The article.
        known: The organizations of the registry.
    """
    finder = OrganizationFinder(known)
    language = language_of(article.text)
    drafts: list[_Draft] = []
    early: list[_Reading] = []
    for sentence in sentences(article.text):
        for clause in clauses(sentence.text):
            stop_if_cancelled()
            found = finder.find(clause, sentence.text), list(find_amounts(clause)), find_places(clause), cues_of(clause)
            reading = _Reading(sentence, clause, *found)
            before = len(drafts)
            _assign(reading, drafts)
            if not drafts and reading.opens:
                early.append(reading)
            elif drafts and not before and reading.sentence.paragraph <= MAX_OPENING:
                # The article says how much before it says who.
                drafts[0].readings += early
    slugs: set[str] = set()
    proposed = [_proposed(draft, article, language, slugs) for draft in drafts if _is_deal(draft)]
    return proposed[:MAX_DEALS]


def _assign(reading: _Reading, drafts: list[_Draft]) -> None:
    """Add a sentence to the deal that it is about, or begin one."""
    cues, lead = reading.cues, leading(reading.organizations)
    if cues.is_commentary and not reading.amounts:
        return
    if lead is None:
        if _SUM_OF_SEVERAL.search(reading.clause):
            return
        last = drafts[-1] if drafts else None
        is_near = last is not None and reading.sentence.paragraph - last.readings[-1].sentence.paragraph <= 1
        if last is not None and is_near and (cues.goes_back or reading.is_substantial):
            last.readings.append(reading)
        return
    # The article may shorten a name after the first time: Lidl US, then Lidl.
    own = [draft for draft in drafts if f"{draft.lead.slug}-".startswith(f"{lead.slug}-")]
    if own:
        partners = {o.slug for o in reading.organizations if o.part == "partner"}
        is_new = bool(
            partners and reading.places and not cues.goes_back and not any(partners & d.partners for d in own)
        ) and any(d.has_amount or d.places for d in own)
        if not is_new:
            target = own[-1]
            if cues.goes_back and cues.is_additional:
                target = next((d for d in own if d.has_amount), target)
            if reading.is_substantial:
                target.readings.append(reading)
            return
    if cues.invests or reading.amounts or cues.is_partnership or cues.instrument or cues.jobs:
        drafts.append(_Draft(lead, [reading]))


def _is_deal(draft: _Draft) -> bool:
    """Whether a draft says enough to be proposed: it is about an investment or a partnership."""
    return any(r.cues.invests or r.amounts or r.cues.is_partnership or r.cues.instrument for r in draft.readings)


# --- the announcements of a deal --------------------------------------------------------------------------------------


def _proposed(draft: _Draft, article: Article, language: ArticleLanguage, slugs: set[str]) -> ProposedDeal:
    organizations = {o.slug: o for r in draft.readings for o in r.organizations if o.part != "mentioned"}
    organizations = {draft.lead.slug: draft.lead, **organizations}
    title = _title(draft, language)
    builder = _Announcements(article)
    first = draft.readings[0]
    is_programme = draft.lead.slug.startswith("ministry") or _is_ministry(draft.lead)
    kind = "programme" if is_programme else "investment"
    if not is_programme and not any(r.amounts or r.places for r in draft.readings):
        kind = "partnership" if any(r.cues.is_partnership for r in draft.readings) else kind
    builder.add(first, {"type": "deal_registered", "title": title, "kind": kind}, dated=False)
    parties = [_party(one, draft, is_programme) for one in organizations.values()]
    builder.add(first, {"type": "parties_joined", "parties": parties})
    for reading in draft.readings:
        _add_reading(builder, reading, draft)
    return ProposedDeal(_slug(draft, slugs), title, tuple(organizations), tuple(builder.announcements))


def _is_ministry(lead: FoundOrganization) -> bool:
    return any(name.endswith(("부", "청", "시", "도")) and len(name) >= 4 for name in lead.names.values())


def _party(one: FoundOrganization, draft: _Draft, is_programme: bool) -> dict[str, Any]:
    if one.slug == draft.lead.slug:
        role = "host_government" if is_programme else "investor"
    else:
        is_joint = any(r.cues.is_joint and one.slug in {o.slug for o in r.organizations} for r in draft.readings)
        role = "investor" if is_joint else "partner"
    return {"organization": one.slug, "name": one.names, "role": role}


class _Announcements:
    """Collects the announcements of a deal: each id is used once."""

    def __init__(self, article: Article) -> None:
        self.article = article
        self.announcements: list[ProposedAnnouncement] = []
        self.pledges = 0
        self.without_horizon = False
        self.sites: dict[str, int] = {}
        self.stages: set[str] = set()
        self.milestones: set[str] = set()
        self.instruments: set[str] = set()
        self.amounts: set[tuple[Any, ...]] = set()

    def add(self, reading: _Reading, event: dict[str, Any], *, dated: bool = True) -> None:
        announcement: dict[str, Any] = {"event": event}
        if dated and self.article.published_on is not None:
            announcement["effective_on"] = self.article.published_on.isoformat()
        if self.article.source:
            announcement["sources"] = [self.article.source]
        self.announcements.append(ProposedAnnouncement(announcement, reading.sentence.start, reading.sentence.end))


def _add_reading(builder: _Announcements, reading: _Reading, draft: _Draft) -> None:
    cues = reading.cues
    for amount in reading.amounts:
        stated = (amount.parsed.amount.currency, amount.parsed.amount.value, amount.parsed.amount.high)
        if stated not in builder.amounts:
            builder.amounts.add(stated)
            _add_pledge(builder, reading, amount, draft)
    horizon = _horizon(cues, builder.article.published_on)
    if horizon and not reading.amounts and builder.pledges == 1 and builder.without_horizon:
        # The article gives the amount in one sentence and the period in another.
        builder.without_horizon = False
        builder.add(reading, {"type": "pledge_revised", "pledge": "total", "horizon": horizon})
    _add_site(builder, reading, draft)
    if cues.jobs is not None:
        event: dict[str, Any] = {
            "type": "metric_reported",
            "metric": "jobs",
            "basis": "planned",
            "value": cues.jobs.value,
        }
        builder.add(reading, event)
    if cues.stage is not None and cues.stage not in builder.stages:
        builder.stages.add(cues.stage)
        builder.add(reading, {"type": "stage_changed", "stage": cues.stage})
    published = builder.article.published_on
    for milestone in cues.milestones:
        is_past = published is not None and int(milestone.planned[:4]) < published.year
        if milestone.kind not in builder.milestones and not is_past:
            builder.milestones.add(milestone.kind)
            id = milestone.kind.replace("_", "-")
            event = {"type": "milestone_scheduled", "milestone": id, "kind": milestone.kind}
            builder.add(reading, {**event, "planned": milestone.planned})
    if (cues.instrument or cues.is_partnership) and cues.instrument not in builder.instruments:
        builder.instruments.add(cues.instrument or "")
        members = list(
            dict.fromkeys([draft.lead.slug, *(o.slug for o in reading.organizations if o.part != "mentioned")])
        )
        event = {"type": "partnership_formed", "members": members}
        builder.add(reading, {**event, "instrument": cues.instrument} if cues.instrument else event)


def _add_pledge(builder: _Announcements, reading: _Reading, amount: FoundAmount, draft: _Draft) -> None:
    cues = reading.cues
    builder.pledges += 1
    parties = [draft.lead.slug]
    if cues.is_joint:
        parties += [o.slug for o in reading.organizations if o.part != "mentioned" and o.slug != draft.lead.slug]
    basis = amount.parsed.basis
    if basis is None and cues.is_additional:
        before, after = reading.clause[: amount.start][-12:], reading.clause[amount.end :][:14]
        basis = "additional" if "추가" in before + after or "additional" in before.lower() else None
    event: dict[str, Any] = {
        "type": "pledge_announced",
        "pledge": "total" if builder.pledges == 1 else f"amount-{builder.pledges}",
        "amount": msgspec.to_builtins(amount.parsed.amount),
        "commitment": "intention" if cues.is_intention else "budget" if cues.is_budget else "pledge",
        "by": parties,
    }
    if basis is not None:
        event["amount_basis"] = basis
    if horizon := _horizon(cues, builder.article.published_on):
        event["horizon"] = horizon
    builder.without_horizon = horizon is None
    builder.add(reading, event)


def _horizon(cues: Cues, published_on: date | None) -> dict[str, str] | None:
    if cues.until is not None:
        return {"from": cues.since, "until": cues.until} if cues.since else {"until": cues.until}
    if cues.years is not None and published_on is not None:
        return {"from": str(published_on.year), "until": f"{published_on.year + cues.years}~"}
    return None


def _names_sites(reading: _Reading) -> bool:
    cues = reading.cues
    return bool(cues.invests or cues.power_mw or cues.gpus or cues.stage)


def _add_site(builder: _Announcements, reading: _Reading, draft: _Draft) -> None:
    """The places and the capacity of a sentence: one site for each place, the capacity at the first."""
    cues = reading.cues
    if not _names_sites(reading):
        return
    capacity: dict[str, Any] = {}
    if cues.power_mw is not None:
        capacity |= _stated("power_mw", "power_qualifier", cues.power_mw, cues.power_mw.value)
    if cues.gpus is not None:
        capacity |= _stated("gpus", "gpus_qualifier", cues.gpus, int(cues.gpus.value))
    codes = list(dict.fromkeys(place.code for place in reading.places))
    if not codes and capacity and builder.sites:
        # "The facility will have 60,000 GPUs": it is about the site named last.
        site = next(reversed(builder.sites))
        builder.add(reading, {"type": "site_revised", "site": site, **capacity})
        return
    if not codes and capacity:
        # "The data centre will have 103 MW. It is built in Ulsan": the place that is named later is that of this site.
        codes = [r.places[0].code for r in draft.readings if r.places and _names_sites(r)][:1]
    for number, code in enumerate(codes or ([""] if capacity else [])):
        site = code.lower() or "site"
        more = capacity if number == 0 else {}
        if site in builder.sites:
            if more:
                builder.add(reading, {"type": "site_revised", "site": site, **more})
            continue
        builder.sites[site] = 1
        place = {"place": code, "precision": "region" if "-" in code else "country"} if code else {}
        builder.add(reading, {"type": "site_announced", "site": site, **place, **more})


def _stated(name: str, qualifier: str, quantity: Quantity, value: Any) -> dict[str, Any]:
    return {name: value, **({qualifier: quantity.qualifier} if quantity.qualifier else {})}


# --- names of a deal --------------------------------------------------------------------------------------------------


def _first_place(draft: _Draft) -> FoundPlace | None:
    return next((place for r in draft.readings for place in r.places), None)


def _title(draft: _Draft, language: ArticleLanguage) -> dict[str, str]:
    name = draft.lead.names.get(language) or next(iter(draft.lead.names.values()))
    partner = next((o for r in draft.readings for o in r.organizations if o.part == "partner"), None)
    other = partner and (partner.names.get(language) or next(iter(partner.names.values())))
    place = _first_place(draft)
    if language == "ko":
        return {
            "ko": " ".join(filter(None, (f"{name}·{other}" if other else name, place.name if place else None, "투자")))
        }
    return {
        "en": " ".join(
            filter(
                None, (f"{name} and {other}" if other else name, "investment", f"in {place.name}" if place else None)
            )
        )
    }


def _slug(draft: _Draft, taken: set[str]) -> str:
    place = _first_place(draft)
    base = f"{draft.lead.slug}-{place.code.lower()}" if place else f"{draft.lead.slug}-investment"
    slug, number = base[:78], 2
    while slug in taken:
        slug, number = f"{base[:75]}-{number}", number + 1
    taken.add(slug)
    return slug
