"""An organization: its names, public identifiers and owners over time, and how each event changes it.

Works like `deal/`: `evolve` returns the organization after an event, or raises `RuleBroken`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal as ExactDecimal
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.fold.applied_event import AppliedEvent
from registry.domain.merges import survivor
from registry.domain.refusal import Refusal
from registry.errors import RuleBroken
from registry.events.types import (
    EventCorrected,
    EventRedacted,
    EventVoided,
    OrganizationEvent,
    OrganizationIdentified,
    OrganizationMerged,
    OrganizationNamed,
    OrganizationRegistered,
    OrganizationUnmerged,
    ParentEnded,
    ParentSet,
)
from registry.events.values import Control, Decimal, IdentifierScheme, Localized, NameKind, Place


class NameState(Struct, frozen=True):
    """A name of the organization in one language, from `since`. Its kind is the one stated last."""

    name: str
    language: str
    kind: NameKind
    since: date


class IdentifierState(Struct, frozen=True):
    """An identifier in a public register (LEI: ISO 17442; KR-BRN: Korea's business registration number)."""

    scheme: IdentifierScheme
    identifier: str


class ParentState(Struct, frozen=True):
    """An organization that owns, controls or manages this one, from `since` until `until`; `share` in percent."""

    parent: str
    control: Control | None
    share: Decimal | None
    since: date
    until: date | None = None


class Organization(Struct, frozen=True, kw_only=True):
    """The state of an organization: the fold of its events."""

    organization: str
    name: Localized | None
    country: Place | None = None
    names: tuple[NameState, ...] = ()
    identifiers: tuple[IdentifierState, ...] = ()
    parents: tuple[ParentState, ...] = ()

    def all_names(self) -> Iterator[str]:
        """The slug and every name, in any language."""
        yield self.organization
        if self.name:
            yield from self.name.values()
        yield from (n.name for n in self.names)


def register(slug: str, event: OrganizationRegistered | None) -> Organization:
    """A newly registered organization. `event` is None if the registration's content was redacted."""
    if event is None:
        return Organization(organization=slug, name=None)
    return Organization(organization=slug, name=event.name, country=event.country)


def evolve(organization: Organization, applied: AppliedEvent) -> Organization:  # noqa: C901 - one case for each event type
    """The organization after an event.

    Raises:
        RuleBroken: The organization cannot take the event.
    """
    event: OrganizationEvent = applied.event  # type: ignore[assignment]
    on = applied.effective_on
    match event:
        case OrganizationRegistered():
            raise RuleBroken(Refusal("already-registered", slug=organization.organization))
        case OrganizationNamed():
            stated = [n for n in organization.names if (n.name, n.language) == (event.name, event.language)]
            if stated:
                names = tuple(replace(n, kind=event.kind) if n in stated else n for n in organization.names)
                return replace(organization, names=names)
            name = NameState(event.name, event.language, event.kind, on)
            return replace(organization, names=(*organization.names, name))
        case OrganizationIdentified():
            identifier = IdentifierState(event.scheme, event.identifier)
            known = next((i for i in organization.identifiers if i.scheme == event.scheme), None)
            if known is None:
                return replace(organization, identifiers=(*organization.identifiers, identifier))
            if known != identifier:
                refusal = Refusal("identifier-differs", scheme=event.scheme, identifier=known.identifier)
                raise RuleBroken(refusal)
            return organization
        case ParentSet():
            if event.parent == organization.organization:
                raise RuleBroken(Refusal("parent-of-itself"))
            parent = ParentState(event.parent, event.control, event.share, on)
            return replace(organization, parents=(*_end_parent(organization, event.parent, on), parent))
        case ParentEnded():
            if not any(_is_current(p, event.parent) for p in organization.parents):
                raise RuleBroken(Refusal("parent-unknown", parent=event.parent))
            return replace(organization, parents=_end_parent(organization, event.parent, on))
        case OrganizationMerged() | OrganizationUnmerged() | EventCorrected() | EventVoided() | EventRedacted():
            return organization
        case _:
            assert_never(event)


def _is_current(state: ParentState, parent: str) -> bool:
    return state.parent == parent and state.until is None


def _end_parent(organization: Organization, parent: str, on: date) -> tuple[ParentState, ...]:
    """The parents, with `parent` ended if it is a current one."""
    return tuple(replace(p, until=on) if _is_current(p, parent) else p for p in organization.parents)


def _parents_on(organization: Organization, day: date) -> list[str]:
    """The parents on a day that own or control the organization, each with more than 50 % where the share is known."""
    current = [p for p in organization.parents if p.since <= day and (p.until is None or day < p.until)]
    return [p.parent for p in current if p.control != "manages" and (p.share is None or ExactDecimal(p.share) > 50)]


def ultimate_parents(
    organizations: Mapping[str, Organization], day: date, merged: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The ultimate parent on a day of each organization that has one.

    The parents of an organization are those of its own record and of the records merged into it; a parent that was
    merged is the record that it was merged into.

    Args:
        organizations: The organizations by slug, merged ones included.
        day: The effective date.
        merged: What each merged record was merged into; its totals count there.
    """
    merged = merged or {}
    parents: dict[str, set[str]] = {}
    for slug, organization in organizations.items():
        record = survivor(slug, merged)
        above = {survivor(parent, merged) for parent in _parents_on(organization, day)}
        parents.setdefault(record, set()).update(above - {record})
    ultimate: dict[str, str] = {}
    for slug in {*parents, *organizations, *merged}:
        record = survivor(slug, merged)
        top = _top(record, parents)
        if top != slug:
            ultimate[slug] = top
    return ultimate


def _top(record: str, parents: Mapping[str, set[str]]) -> str:
    """The record at the top of a chain of sole parents; the record itself where the chain is a cycle."""
    visited = {record}
    top = record
    while len(above := parents.get(top, set())) == 1:
        (top,) = above
        if top in visited:
            return record
        visited.add(top)
    return top
