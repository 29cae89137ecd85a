"""An organization and its rules: its names, its public identifiers, and who owns or controls it, over time.

The same shape as `deal.py`: `register` begins, `evolve` is total and answers with the next state or a `Refusal`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal as Exact
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.deal import AppliedEvent
from registry.domain.refusal import Refusal
from registry.events.types import (
    Control,
    Decimal,
    EventCorrected,
    EventRedacted,
    EventVoided,
    IdentifierScheme,
    Localized,
    NameKind,
    OrganizationEvent,
    OrganizationIdentified,
    OrganizationMerged,
    OrganizationNamed,
    OrganizationRegistered,
    OrganizationUnmerged,
    ParentEnded,
    ParentSet,
    Place,
)


class NameState(Struct, frozen=True):
    """A name the organization goes by, in one language."""

    name: str
    language: str
    kind: NameKind
    since: date


class IdentifierState(Struct, frozen=True):
    """An identifier in a public register (LEI: ISO 17442; KR-BRN: Korea's business registration number)."""

    scheme: IdentifierScheme
    identifier: str


class ParentState(Struct, frozen=True):
    """Who owns, controls or manages the organization, from when until when; `share` in percent."""

    parent: str
    control: Control | None
    share: Decimal | None
    since: date
    until: date | None = None


class Organization(Struct, frozen=True, kw_only=True):
    """What is so of an organization: the fold of its own stream."""

    organization: str
    name: Localized | None
    country: Place | None = None
    names: tuple[NameState, ...] = ()
    identifiers: tuple[IdentifierState, ...] = ()
    parents: tuple[ParentState, ...] = ()

    def all_names(self) -> Iterator[str]:
        """Every name that leads here."""
        yield self.organization
        if self.name:
            yield from (n for n in (self.name.ko, self.name.en) if n)
        yield from (n.name for n in self.names)


def register(slug: str, event: OrganizationRegistered | None) -> Organization:
    """An organization as its registration has it; without content (erased by law) only its slug is known."""
    if event is None:
        return Organization(organization=slug, name=None)
    return Organization(organization=slug, name=event.name, country=event.country)


def evolve(organization: Organization, happened: AppliedEvent) -> Organization | Refusal:  # noqa: C901 - one case an event
    """The organization after an event, or why it cannot carry it."""
    event: OrganizationEvent = happened.event  # type: ignore[assignment]
    on = happened.effective_on
    match event:
        case OrganizationNamed():
            if any((n.name, n.language) == (event.name, event.language) for n in organization.names):
                return organization
            named = NameState(event.name, event.language, event.kind, on)
            return replace(organization, names=(*organization.names, named))
        case OrganizationIdentified():
            identifier = IdentifierState(event.scheme, event.identifier)
            other = next((i for i in organization.identifiers if i.scheme == event.scheme), None)
            if other is None:
                return replace(organization, identifiers=(*organization.identifiers, identifier))
            if other == identifier:
                return organization
            return Refusal("identifier-differs", scheme=event.scheme, identifier=other.identifier)
        case ParentSet():
            if event.parent == organization.organization:
                return Refusal("parent-of-itself")
            parent = ParentState(event.parent, event.control, event.share, on)
            ended = (replace(p, until=on) if _holds(p, event.parent) else p for p in organization.parents)
            return replace(organization, parents=(*ended, parent))
        case ParentEnded():
            if not any(_holds(p, event.parent) for p in organization.parents):
                return Refusal("parent-unknown", parent=event.parent)
            ended = (replace(p, until=on) if _holds(p, event.parent) else p for p in organization.parents)
            return replace(organization, parents=tuple(ended))
        case OrganizationRegistered():
            return Refusal("already-registered", slug=organization.organization)
        case OrganizationMerged() | OrganizationUnmerged() | EventCorrected() | EventVoided() | EventRedacted():
            return organization
        case _:
            assert_never(event)


def _holds(parent: ParentState, slug: str) -> bool:
    return parent.parent == slug and parent.until is None


def parent_on(organization: Organization, day: date) -> str | None:
    """Who alone owned or controlled the organization on a day, with more than half where a share is known.

    Who merely manages it does not count, and of two parents neither is the one who commits.
    """
    held = [p for p in organization.parents if p.since <= day and (p.until is None or day < p.until)]
    parents = [p for p in held if p.control != "manages" and (p.share is None or Exact(p.share) > 50)]
    return parents[0].parent if len(parents) == 1 else None


def ultimate_parents(
    organizations: Mapping[str, Organization], day: date, merged: Mapping[str, str] | None = None
) -> dict[str, str]:
    """For each organization that counts under another on a day, its ultimate parent; `merged` leads from duplicates."""
    top: dict[str, str] = {}
    for slug in {*organizations, *(merged or {})}:
        at, seen = slug, {slug}
        while True:
            held = organizations.get(at)
            above = (merged or {}).get(at) or (parent_on(held, day) if held else None)
            if above in seen:
                at = slug  # A circle of owners has no top.
                break
            if above is None:
                break
            seen.add(above)
            at = above
        if at != slug:
            top[slug] = at
    return top
