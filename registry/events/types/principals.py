"""Events about principals: the people and systems that may write to the registry.

These events have no effective and no publication date: only their position hides them from an as-of query. They are
neither corrected nor voided. A redaction erases a name, never a right (`domain/principal.py`), so the events that
change rights hold no free text that would have to be erased.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from registry.events.types.base import Event
from registry.events.values import Instant, Line, PrincipalKind, Scope, Slug, Url


class PrincipalRegistered(Event, frozen=True, tag="principal_registered"):
    """A person or a system that may write to the registry. This is the first event of its stream.

    `issuer` and `subject` identify a principal that signs in through an OpenID provider.
    """

    name: Line
    kind: PrincipalKind | None = None
    issuer: Url | None = None
    subject: Line | None = None


class PrincipalRenamed(Event, frozen=True, tag="principal_renamed"):
    """The principal has another display name. Earlier events keep the earlier one."""

    name: Line


class KeyIssued(Event, frozen=True, tag="key_issued"):
    """A key of the principal: its id and its rights, never its secret or a digest of it.

    `deals` and `organizations` limit the key to these streams, `sources` to announcements that cite only these
    publishers. If `key` is left out, the registry makes an id.
    """

    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=6)]
    key: Slug | None = None
    deals: tuple[Slug, ...] = ()
    organizations: tuple[Slug, ...] = ()
    sources: tuple[Line, ...] = ()
    expires_at: Instant | None = None


class KeyRevoked(Event, frozen=True, tag="key_revoked"):
    """A key has no rights any more, from `revoked_at` or else from the recording of this event."""

    key: Slug
    revoked_at: Instant | None = None


class ScopesChanged(Event, frozen=True, tag="scopes_changed"):
    """The rights of a key, or without `key` those that the principal has when it signs in without one."""

    scopes: Annotated[tuple[Scope, ...], Meta(max_length=6)]
    key: Slug | None = None
    deals: tuple[Slug, ...] = ()
    organizations: tuple[Slug, ...] = ()
    sources: tuple[Line, ...] = ()


PrincipalFact = PrincipalRegistered | PrincipalRenamed | KeyIssued | KeyRevoked | ScopesChanged
"""The events about principals."""
