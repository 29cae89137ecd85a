"""Credentials of requests: from an API key, or from what an OpenID provider says about who signs in.

A principal of the provider is registered in the log when it first signs in, and each change of its scopes or its name
is an event there, so that "recorded by whom, with which right" is evidence for it as for the holders of keys.

A sign-in decides what a person may do from now on. So does an access token that was issued after the last change of
rights; an older one can only narrow the rights in the log, so a token from before a removal restores no right.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, get_args

from msgspec.structs import replace

from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest
from registry.domain.history import FoldedStream
from registry.domain.principal import REGISTRY, Credential, Principal, Rights
from registry.errors import RuleBroken, VersionConflict
from registry.events.types import (
    PrincipalAnnouncement,
    PrincipalEvent,
    PrincipalRegistered,
    PrincipalRenamed,
    ScopesChanged,
)
from registry.events.values import PrincipalKind, Scope
from registry.infra.oidc_setting import EVERYONE
from registry.queries.principals import Principals

if TYPE_CHECKING:
    # It imports an HTTP client and a JWT library, which a service without a provider does not load.
    from registry.infra.oidc import Identity, Provider

MAX_NAME_LENGTH = 200

SCOPES: tuple[Scope, ...] = get_args(Scope)


class Identities:
    """Finds whom a request comes from.

    Args:
        recorder: Records the events of principals.
        principals: Reads principals as the log has them.
        provider: The OpenID provider, if one is configured.
    """

    def __init__(self, recorder: Recorder, principals: Principals, provider: Provider | None) -> None:
        self._recorder = recorder
        self._principals = principals
        self.provider = provider
        self._recording = asyncio.Lock()

    async def find(self, token: str) -> Credential | None:
        """The credential of an API key or an access token; None if it is unknown or no longer valid.

        Raises:
            ProviderUnavailable: The token cannot be checked now.
        """
        if self.provider is None or not is_access_token(token):
            return await self._principals.find(token)
        identity = await self.provider.verify(token)
        return await self.credential(identity, is_sign_in=False) if identity is not None else None

    async def credential(self, identity: Identity, *, is_sign_in: bool) -> Credential | None:
        """The credential of an identity, after the log has its principal and its rights; None if it has no rights.

        Args:
            identity: Whom the provider has authenticated.
            is_sign_in: Whether the person has signed in just now, instead of sending a token issued before.
        """
        assert self.provider is not None
        id = principal_id(identity.issuer, identity.subject)
        granted = granted_scopes(self.provider.settings.rights, identity.values)
        stream = await self._principals.stream(id)
        if _events(stream, identity, granted, is_sign_in=is_sign_in):
            async with self._recording:
                stream = await self._record(id, identity, granted, is_sign_in=is_sign_in)
        if stream is None:
            return None
        principal = stream.state
        rights = principal.rights
        if set(rights.scopes) != set(granted):
            both = (Rights(scopes=granted), rights)
            rights = replace(rights, scopes=tuple(scope for scope in SCOPES if all(r.allows(scope) for r in both)))
        return Credential(id, principal.display_name, rights) if rights.scopes else None

    async def _record(
        self, id: str, identity: Identity, granted: tuple[Scope, ...], *, is_sign_in: bool
    ) -> FoldedStream[Principal] | None:
        while True:
            stream = await self._principals.stream(id)
            events = _events(stream, identity, granted, is_sign_in=is_sign_in)
            if not events:
                return stream
            try:
                await self._recorder.record(
                    AppendRequest(
                        kind="principal",
                        slug=id,
                        announcements=[PrincipalAnnouncement(event=event) for event in events],
                        by=REGISTRY,
                        expected_version=stream.version if stream is not None else 0,
                    )
                )
            except (RuleBroken, VersionConflict):
                # Another process has registered or changed the principal meanwhile.
                self._principals.expire()


def is_access_token(text: str) -> bool:
    """Whether an `Authorization: Bearer` value looks like a JWT. API keys that the registry makes have no dots."""
    return text.startswith("eyJ") and text.count(".") == 2


def principal_id(issuer: str, subject: str) -> str:
    """The id of the principal of an identity: a digest, so that every process finds the same one without a table."""
    return "p" + hashlib.sha256(f"{issuer}\n{subject}".encode()).hexdigest()[:24]


def granted_scopes(rights: Mapping[str, tuple[str, ...]], values: Iterable[str]) -> tuple[Scope, ...]:
    """The scopes that the values of claims give, in their usual order."""
    given = {scope for value in (EVERYONE, *values) for scope in rights.get(value, ())}
    return tuple(scope for scope in SCOPES if scope in given)


def _events(
    stream: FoldedStream[Principal] | None, identity: Identity, granted: tuple[Scope, ...], *, is_sign_in: bool
) -> list[PrincipalEvent]:
    """What the log lacks about an identity."""
    name = (identity.name or identity.subject)[:MAX_NAME_LENGTH]
    if stream is None:
        if not granted:
            return []
        kind: PrincipalKind = "person" if identity.is_person else "system"
        registration = PrincipalRegistered(name=name, kind=kind, issuer=identity.issuer, subject=identity.subject)
        return [registration, ScopesChanged(scopes=granted)]
    changed_at = max(
        (
            event.recorded_at
            for event in stream.events
            if isinstance(event.event, ScopesChanged) and not event.event.key
        ),
        default=None,
    )
    if not (is_sign_in or changed_at is None or identity.issued_at > changed_at):
        return []
    principal = stream.state
    events: list[PrincipalEvent] = []
    if set(principal.rights.scopes) != set(granted):
        limits = principal.rights
        events.append(
            ScopesChanged(
                scopes=granted, deals=limits.deals, organizations=limits.organizations, sources=limits.sources
            )
        )
    # A name that was redacted is not written again.
    if is_sign_in and principal.name is not None and identity.name is not None and principal.name != name:
        events.append(PrincipalRenamed(name=name))
    return events
