"""Deals and organizations by name: what a person types in a form, as the slug that an announcement has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Struct

from registry.domain.history import UNBOUNDED
from registry.domain.organizations.mentions import ORGANIZATION_FIELDS
from registry.errors import FieldError, Invalid
from registry.extraction.names import romanized, slug_of
from registry.formatting.language import DOT, words
from registry.projections.columnar.lists import Order
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.queries.search import SearchQueries
from registry.queries.streams import StreamReader
from registry.schemas.deal_query import DealQuery
from registry.web.page.names import PageNames

Kind = Literal["deal", "organization"]

MAX_CANDIDATES = 6
MAX_SEARCHED = 40
"""The most unknown names of one form for which candidates are searched."""
MAX_NAME_LENGTH = 200
MAX_SLUG_LENGTH = 80

_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_LISTS = ("by", "members")


class NamedCandidate(Struct, frozen=True):
    """A deal or an organization that a text may mean: its slug, its name for the reader, and its name otherwise."""

    slug: str
    name: str
    other: str = ""


class NameMatch(Struct, frozen=True):
    """What a text means; `candidates` are what it may mean where that is not clear."""

    slug: str | None
    candidates: tuple[NamedCandidate, ...] = ()


FoundNames = Mapping[tuple[Kind, str], NameMatch]
"""What the names in a form mean."""


def is_slug(text: str) -> bool:
    """Whether a text can be a slug."""
    return len(text) <= MAX_SLUG_LENGTH and _SLUG.fullmatch(text) is not None


def proposed_slug(name: str) -> str:
    """A slug made from a name in Korean or Latin letters; empty if the name has neither letters nor digits."""
    slug = slug_of(romanized(name))
    return slug[:MAX_SLUG_LENGTH].strip("-")


def reference_kind(pointer: str) -> Kind | None:
    """Whether a form field names an organization or a deal; None for any other field."""
    name = pointer.rpartition("/")[2]
    if pointer.startswith("event/") and name in ORGANIZATION_FIELDS:
        return "organization"
    return "deal" if pointer == "event/deal" else None


def is_list(pointer: str) -> bool:
    """Whether a form field names several organizations, separated by commas."""
    return pointer.rpartition("/")[2] in _LISTS


def names_of(pointer: str, text: str) -> list[str]:
    """The names in a field: several in the field of a list."""
    parts = text.split(",") if is_list(pointer) else [text]
    return [part.strip() for part in parts if part.strip()]


def resolved(typed: Mapping[str, str], found: FoundNames) -> dict[str, str]:
    """The text of a form with slugs in place of the names that are known."""
    texts = dict(typed)
    for pointer, text in typed.items():
        kind = reference_kind(pointer)
        if kind is not None:
            texts[pointer] = ", ".join(
                one.slug if (one := found.get((kind, name))) is not None and one.slug is not None else name
                for name in names_of(pointer, text)
            )
    return texts


def unclear(pointer: str, kind: Kind, text: str, found: NameMatch) -> FieldError:
    """What is wrong with a name that is not clear."""
    same = [one for one in found.candidates if text.casefold() in (one.name.casefold(), one.other.casefold())]
    if len(same) > 1:
        return FieldError(pointer, "name_ambiguous", name=text)
    if kind == "deal":
        return FieldError(pointer, "deal_not_found", name=text)
    return FieldError(pointer, "organization_not_found", name=text)


def picks(errors: Iterable[FieldError], found: FoundNames) -> dict[str, list[tuple[str, str]]]:
    """For each field whose name is not clear, what it may mean: a label, and the value of the button that takes it."""
    offered: dict[str, list[tuple[str, str]]] = {}
    for error in errors:
        name = str(error.params.get("name", ""))
        pointer = error.pointer.lstrip("/")
        if error.code not in ("name_ambiguous", "deal_not_found", "organization_not_found"):
            continue
        is_deal = error.code == "deal_not_found" or pointer.endswith("/deal")
        known = found.get(("deal" if is_deal else "organization", name))
        for one in known.candidates if known is not None else ():
            label = DOT.join(dict.fromkeys(filter(None, (one.name, one.other, one.slug))))
            offered.setdefault(pointer, []).append((label, _button(pointer, name, one.slug)))
    return offered


def _button(pointer: str, old: str, new: str) -> str:
    return msgspec.json.encode([pointer, old, new]).decode()


def chosen(button: str) -> tuple[str, str, str] | None:
    """The field, the name in it, and what to put in its place, of a button that `picks` made."""
    try:
        return msgspec.json.decode(button, type=tuple[str, str, str])
    except msgspec.DecodeError:
        return None


def with_name(pointer: str, text: str, old: str, new: str) -> str:
    """The text of a field with another name in the place of one."""
    return ", ".join(new if part == old else part for part in names_of(pointer, text))


class Lookup:
    """Finds deals and organizations by their names or slugs."""

    def __init__(
        self,
        names: NamedDependency[SkipValidation[PageNames]],
        organization_queries: NamedDependency[OrganizationQueries],
        search_queries: NamedDependency[SearchQueries],
        portfolio_queries: NamedDependency[PortfolioQueries],
        streams: NamedDependency[StreamReader],
    ) -> None:
        self._names = names
        self._organizations = organization_queries
        self._search = search_queries
        self._portfolio = portfolio_queries
        self._streams = streams

    async def find(
        self, texts: Iterable[tuple[Kind, str]], language: str, new: Mapping[tuple[Kind, str], str]
    ) -> dict[tuple[Kind, str], NameMatch]:
        """What each text of a form means.

        Args:
            texts: The texts, each with whether it names a deal or an organization.
            language: The reader's language.
            new: The slugs of what the form creates, by each of its names.
        """
        asked = dict.fromkeys(texts)
        found = {key: NameMatch(new[key]) for key in asked if key in new}
        organizations = [text for kind, text in asked if kind == "organization" and ("organization", text) not in found]
        found |= {("organization", text): one for text, one in (await self._find_organizations(organizations)).items()}
        searched = 0
        for key in asked:
            kind, text = key
            if key in found and (found[key].slug is not None or found[key].candidates):
                continue
            if kind == "deal" and is_slug(text) and (await self._streams.load(f"deal/{text}"))[0] is not None:
                found[key] = NameMatch(text)
                continue
            searched += 1
            candidates = await self.suggest(kind, text, language) if searched <= MAX_SEARCHED else []
            wanted = text.casefold()
            same = [one.slug for one in candidates if wanted in (one.name.casefold(), one.other.casefold())]
            found[key] = NameMatch(same[0] if len(same) == 1 else None, tuple(candidates))
        return found

    async def find_in(self, typed: Mapping[str, str], language: str) -> FoundNames:
        """What the names in the form of one announcement mean."""
        kinds = {pointer: kind for pointer in typed if (kind := reference_kind(pointer)) is not None}
        named = [(kind, name) for pointer, kind in kinds.items() for name in names_of(pointer, typed[pointer])]
        return await self.find(named, language, {})

    async def clear_names(
        self, slugs: Iterable[str], language: str, new: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The names of organizations by their slugs, where a name in a form means this organization only.

        Args:
            slugs: The organizations.
            language: The reader's language.
            new: The names of those that the form creates.
        """
        new = dict(new or {})
        names = await self._names.organizations(slugs) | new
        asked: list[tuple[Kind, str]] = [("organization", name) for slug, name in names.items() if slug not in new]
        found = await self.find(asked, language, {})
        return {
            slug: name
            for slug, name in names.items()
            if "," not in name and (slug in new or found["organization", name].slug == slug)
        }

    async def with_names(self, typed: Mapping[str, str], language: str) -> dict[str, str]:
        """The text of the form of one announcement with names of organizations in place of their slugs."""
        named = {pointer: text for pointer, text in typed.items() if reference_kind(pointer) == "organization"}
        slugs = {slug for pointer, text in named.items() for slug in names_of(pointer, text)}
        names = await self.clear_names(slugs, language)
        return dict(typed) | {
            pointer: ", ".join(names.get(slug, slug) for slug in names_of(pointer, text))
            for pointer, text in named.items()
        }

    def check(self, typed: Mapping[str, str], found: FoundNames) -> None:
        """Check the names in the form of one announcement. A slug may name what does not exist yet.

        Raises:
            Invalid: A name is not clear.
        """
        errors = [
            unclear(f"/{pointer}", kind, name, found[kind, name])
            for pointer, text in typed.items()
            if (kind := reference_kind(pointer)) is not None
            for name in names_of(pointer, text)
            if found[kind, name].slug is None and not is_slug(name)
        ]
        if errors:
            raise Invalid(errors)

    async def _find_organizations(self, texts: list[str]) -> dict[str, NameMatch]:
        """Organizations by a slug, or by any name in the same letters."""
        if not texts:
            return {}
        known = await self._organizations.known_names()
        by_name: dict[str, set[str]] = {}
        for slug, names in known.items():
            for name in names:
                by_name.setdefault(name.casefold(), set()).add(slug)
        announced = await self._organizations.announced_names([text for text in texts if is_slug(text)])
        found: dict[str, NameMatch] = {}
        for text in texts:
            same = sorted(by_name.get(text.casefold(), ()))
            if text in known or text in announced:
                found[text] = NameMatch(text)
            elif len(same) == 1:
                found[text] = NameMatch(same[0])
            elif same:
                found[text] = NameMatch(None, tuple(NamedCandidate(slug, slug, known[slug][0]) for slug in same))
        return found

    async def suggest(self, kind: Kind, text: str, language: str) -> list[NamedCandidate]:
        """Deals or organizations that a text may mean, its last word perhaps unfinished; the best first."""
        wanted = text.strip()[:MAX_NAME_LENGTH]
        if not wanted:
            return []
        found = await self._search.search(UNBOUNDED, wanted, (kind,), MAX_CANDIDATES, unfinished=True)
        return [_candidate(hit.id, hit.title, language) for hit in found.hits]

    async def deals_of(self, organization: str, language: str) -> list[NamedCandidate]:
        """The deals in which an organization takes part, the latest change first."""
        point = await self._portfolio.point(UNBOUNDED)
        selection = await self._portfolio.select(point, DealQuery(organization=organization))
        page = await self._portfolio.page(point, selection, Order("updated", descending=True), None, MAX_CANDIDATES)
        return [_candidate(deal.deal, deal.title, language) for deal in page.deals]


def _candidate(slug: str, name: Mapping[str, str | None] | None, language: str) -> NamedCandidate:
    spoken = words(language)
    other = spoken.other(name)
    return NamedCandidate(slug, spoken.localized(name, slug), str(other) if other else "")
