"""Events about organizations."""

from __future__ import annotations

from registry.events.types.base import Event
from registry.events.values import (
    Control,
    Decimal,
    Identifier,
    IdentifierScheme,
    Language,
    Line,
    Localized,
    NameKind,
    Place,
    Slug,
    Text,
)


class OrganizationRegistered(Event, frozen=True, tag="organization_registered"):
    """The registry starts to track an organization. This is the first event of its stream."""

    name: Localized
    country: Place | None = None


class OrganizationNamed(Event, frozen=True, tag="organization_named"):
    """The organization uses this name."""

    name: Line
    language: Language
    kind: NameKind = "alias"


class OrganizationIdentified(Event, frozen=True, tag="organization_identified"):
    """The organization has this identifier in a public register."""

    scheme: IdentifierScheme
    identifier: Identifier


class ParentSet(Event, frozen=True, tag="parent_set"):
    """Another organization owns, controls or manages this one. `share` is in percent."""

    parent: Slug
    control: Control | None = None
    share: Decimal | None = None


class ParentEnded(Event, frozen=True, tag="parent_ended"):
    """Another organization is no longer a parent of this one."""

    parent: Slug


class OrganizationMerged(Event, frozen=True, tag="organization_merged"):
    """This organization is a duplicate: its slug redirects to another. No event moves, so the merge can be undone."""

    into: Slug
    reason: Text | None = None


class OrganizationUnmerged(Event, frozen=True, tag="organization_unmerged"):
    """The merge of this organization is undone."""

    reason: Text | None = None


StatedOrganizationEvent = OrganizationRegistered | OrganizationNamed | OrganizationIdentified | ParentSet | ParentEnded
"""The events about organizations that sources state."""
