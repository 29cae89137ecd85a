"""A principal: a person or a system that may write to the registry, its keys and its rights, and how each event
changes them.

Works like `deal/`: `evolve` returns the principal after an event, or raises `RuleBroken`. Only this fold gives rights:
no table that the application can change grants one. The digests of the keys' secrets are in a table (`infra/keys.py`),
because a digest in the log could not be erased.

A redaction can erase names but no rights: `admission.py` refuses to redact the other events of a principal.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import assert_never

from msgspec import UNSET, Struct
from msgspec.structs import replace

from registry.domain.fold.applied_event import AppliedEvent
from registry.domain.refusal import Refusal
from registry.errors import Forbidden, RuleBroken, Unauthorized
from registry.events.types import (
    AnyAnnouncement,
    AnyEvent,
    ClaimPreferred,
    DealMerged,
    DealUnmerged,
    Event,
    EventCorrected,
    EventRedacted,
    EventVoided,
    KeyIssued,
    KeyRevoked,
    OrganizationMerged,
    OrganizationUnmerged,
    PrincipalAnnouncement,
    PrincipalEvent,
    PrincipalFact,
    PrincipalRegistered,
    PrincipalRenamed,
    Recorded,
    ScopesChanged,
    StreamKind,
)
from registry.events.values import PrincipalKind, Scope

REGISTRY = "registry"
"""What `recorded_by` has for the registry's own acts: the registration of the first administrator."""

REPLAYER = "replay"
"""What `recorded_by` has for events that a replay recorded at stated instants (`append/replay.py`)."""

_CORRECTIONS = (
    EventCorrected,
    EventVoided,
    ClaimPreferred,
    DealMerged,
    DealUnmerged,
    OrganizationMerged,
    OrganizationUnmerged,
)


class Rights(Struct, frozen=True, kw_only=True):
    """What a key, or a principal without one, may do.

    Attributes:
        scopes: The scopes; `admin` includes all others.
        deals, organizations: The only streams that may be written to. Both empty: every stream.
        sources: The only publishers that may be cited, of which an announcement must cite one, and so must the sources
            that a correction gives an event. Empty: any.
    """

    scopes: tuple[Scope, ...] = ()
    deals: tuple[str, ...] = ()
    organizations: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def allows(self, scope: Scope) -> bool:
        """Whether the scope is among them."""
        return scope in self.scopes or "admin" in self.scopes

    @property
    def is_limited(self) -> bool:
        """Whether they are limited to deals, organizations or sources."""
        return bool(self.deals or self.organizations or self.sources)

    def includes_stream(self, kind: StreamKind, slug: str) -> bool:
        """Whether a stream may be written to."""
        if kind == "principal":
            # A limited key could otherwise issue one without limits.
            return not self.is_limited
        if not (self.deals or self.organizations):
            return True
        return slug in (self.deals if kind == "deal" else self.organizations)

    def includes_sources(self, announcement: AnyAnnouncement) -> bool:
        """Whether an announcement cites the allowed publishers only."""
        if not self.sources or isinstance(announcement, PrincipalAnnouncement):
            return True
        event, cited = announcement.event, [announcement.sources]
        if isinstance(event, EventCorrected) and event.replacement.sources is not UNSET:
            cited.append(event.replacement.sources)
        allowed = set(self.sources)
        return all(sources and {source.publisher for source in sources} <= allowed for sources in cited)


NO_RIGHTS = Rights()


class KeyState(Struct, frozen=True, kw_only=True):
    """A key of a principal. It has its rights from `issued_at` until it expires or is revoked."""

    key: str
    rights: Rights
    issued_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_valid(self, at: datetime) -> bool:
        """Whether the key has rights at an instant."""
        return (self.expires_at is None or at < self.expires_at) and (self.revoked_at is None or at < self.revoked_at)


class Principal(Struct, frozen=True, kw_only=True):
    """The state of a principal: the fold of its events. `rights` are those that it has without a key."""

    principal: str
    name: str | None
    kind: PrincipalKind | None = None
    issuer: str | None = None
    subject: str | None = None
    rights: Rights = NO_RIGHTS
    keys: tuple[KeyState, ...] = ()

    @property
    def display_name(self) -> str:
        """The name, or the id where the name was redacted."""
        return self.name or self.principal

    def rights_of(self, key: str | None, at: datetime) -> Rights | None:
        """The rights of a key, or without one of the principal; None for a key that is unknown or not valid then."""
        if key is None:
            return self.rights
        for state in self.keys:
            if state.key == key:
                return state.rights if state.is_valid(at) else None
        return None


class Credential(Struct, frozen=True, gc=False):
    """Whom a request was authenticated as: a principal, and the key that it used, if any.

    `id` is the principal's, which is what the log shows as `recorded_by`.
    """

    id: str
    name: str
    rights: Rights
    key: str | None = None

    @property
    def scopes(self) -> frozenset[Scope]:
        """The scopes of the rights."""
        return frozenset(self.rights.scopes)

    def allows(self, scope: Scope) -> bool:
        """Whether the rights include a scope."""
        return self.rights.allows(scope)


def register(slug: str, event: PrincipalRegistered | None) -> Principal:
    """A newly registered principal. `event` is None if the registration's content was redacted."""
    if event is None:
        return Principal(principal=slug, name=None)
    return Principal(principal=slug, name=event.name, kind=event.kind, issuer=event.issuer, subject=event.subject)


def evolve(principal: Principal, applied: AppliedEvent) -> Principal:
    """The principal after an event.

    Raises:
        RuleBroken: The principal cannot take the event.
    """
    event: PrincipalEvent = applied.event  # type: ignore[assignment]
    at = applied.recorded_at
    match event:
        case PrincipalRegistered():
            raise RuleBroken(Refusal("already-registered", slug=principal.principal))
        case PrincipalRenamed():
            return replace(principal, name=event.name)
        case KeyIssued():
            return replace(principal, keys=(*principal.keys, _issued(principal, event, at)))
        case KeyRevoked():
            state = _valid_key(principal, event.key, at)
            revoked_at = max(event.revoked_at or at, at)
            if state.revoked_at is not None and state.revoked_at <= revoked_at:
                raise RuleBroken(Refusal("key-not-valid", key=event.key))
            return _with_key(principal, replace(state, revoked_at=revoked_at))
        case ScopesChanged():
            rights = _rights(event)
            if event.key is None:
                return replace(principal, rights=rights)
            return _with_key(principal, replace(_valid_key(principal, event.key, at), rights=rights))
        case EventRedacted():
            return principal
        case _:
            assert_never(event)


def _rights(event: KeyIssued | ScopesChanged) -> Rights:
    return Rights(scopes=event.scopes, deals=event.deals, organizations=event.organizations, sources=event.sources)


def _issued(principal: Principal, event: KeyIssued, at: datetime) -> KeyState:
    if event.key is None:
        raise RuleBroken(Refusal("key-id-missing"))
    if any(state.key == event.key for state in principal.keys):
        raise RuleBroken(Refusal("key-known", key=event.key))
    if event.expires_at is not None and event.expires_at <= at:
        raise RuleBroken(Refusal("key-expires-in-the-past", expires_at=str(event.expires_at)))
    return KeyState(key=event.key, rights=_rights(event), issued_at=at, expires_at=event.expires_at)


def _valid_key(principal: Principal, key: str, at: datetime) -> KeyState:
    state = next((state for state in principal.keys if state.key == key), None)
    if state is None:
        raise RuleBroken(Refusal("key-unknown", key=key))
    if not state.is_valid(at):
        raise RuleBroken(Refusal("key-not-valid", key=key))
    return state


def _with_key(principal: Principal, changed: KeyState) -> Principal:
    return replace(principal, keys=tuple(changed if state.key == changed.key else state for state in principal.keys))


# --- who recorded an event --------------------------------------------------------------------------------------------


def given_name(recorded: Recorded) -> str | None:
    """The display name that an event gives its principal; None for other events, and without content."""
    event = recorded.event
    return event.name if isinstance(event, (PrincipalRegistered, PrincipalRenamed)) else None


class AuthorNames:
    """The display names of principals as of each log position (property 49)."""

    def __init__(self, names: Iterable[tuple[str, int, str]] = ()) -> None:
        """Take each principal's names, each with the position from which on it holds, in the order of the log."""
        self._names: dict[str, list[tuple[int, str]]] = {}
        for principal, since, name in names:
            self._names.setdefault(principal, []).append((since, name))

    def at(self, principal: str, position: int) -> str:
        """The name at a position; the id where there is none, as for a key of an earlier release."""
        named = [name for since, name in self._names.get(principal, ()) if since <= position]
        return named[-1] if named else principal

    def of(self, recorded: Recorded) -> str:
        """The name of the principal that recorded an event."""
        return self.at(recorded.recorded_by, recorded.position)

    def of_approver(self, recorded: Recorded) -> str | None:
        """The name of the principal that approved an event, if one did."""
        return self.at(recorded.approved_by, recorded.position) if recorded.approved_by is not None else None


# --- what a request needs ---------------------------------------------------------------------------------------------


def required_scope(event: AnyEvent | Event) -> Scope:
    """The scope that recording an event needs."""
    return _scope_of(type(event))


@cache
def _scope_of(event: type) -> Scope:
    if event is EventRedacted:
        return "redact"
    if issubclass(event, PrincipalFact):
        return "admin"
    return "correct" if issubclass(event, _CORRECTIONS) else "record"


def check_rights(
    principal: Principal | None,
    credential: Credential,
    at: datetime,
    kind: StreamKind,
    slug: str,
    announcements: Iterable[AnyAnnouncement],
) -> None:
    """Check that a principal may record announcements in a stream at an instant.

    Raises:
        Unauthorized: The principal or its key has no rights any more.
        Forbidden: Its rights do not include the announcements.
    """
    rights = principal.rights_of(credential.key, at) if principal is not None else None
    if rights is None:
        raise Unauthorized("unknown_key")
    if not rights.includes_stream(kind, slug):
        raise Forbidden("stream", stream=f"{kind}/{slug}")
    for announcement in announcements:
        scope = required_scope(announcement.event)
        if not rights.allows(scope):
            raise Forbidden.scope(rights.scopes, scope)
        if not rights.includes_sources(announcement):
            raise Forbidden("source", sources=rights.sources)
