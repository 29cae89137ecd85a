"""Register principals, issue, rotate and revoke keys: events in the log, and digests of the secrets beside it."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest, AppendResult
from registry.domain.principal import REGISTRY, Credential, Principal, Rights
from registry.errors import FieldError, Invalid, RuleBroken
from registry.events.types import (
    KeyIssued,
    KeyRevoked,
    PrincipalAnnouncement,
    PrincipalEvent,
    PrincipalRegistered,
)
from registry.events.values import PrincipalKind
from registry.infra import keys
from registry.infra.keys import KeyOwner
from registry.infra.postgres import Pool

ADMIN = "admin"
"""The principal of `REGISTRY_ADMIN_KEY`. The keys that the setting gives it have ids that begin with `admin-`."""

ADMIN_NAME = "REGISTRY_ADMIN_KEY"


class IssuedKey(Struct, frozen=True):
    """A new key and its secret, which cannot be read again."""

    principal: str
    key: str
    secret: str


def new_principal_id() -> str:
    """A random id. It is public and cannot be erased, so it says nothing about the person."""
    return "p" + secrets.token_hex(6)


async def store_secrets(
    pool: Pool, principal: str, announcements: Sequence[PrincipalAnnouncement]
) -> tuple[list[PrincipalAnnouncement], list[IssuedKey]]:
    """Give each key to be issued an id and a secret, and store the secret's digest.

    The digest is stored before the event is recorded: without the event it gives no right.

    Raises:
        Invalid: A key's id is in use.
    """
    prepared: list[PrincipalAnnouncement] = []
    issued: list[IssuedKey] = []
    for number, announcement in enumerate(announcements):
        if isinstance(announcement.event, KeyIssued):
            key = IssuedKey(principal, announcement.event.key or keys.new_key_id(), keys.new_secret())
            if not await keys.store_digest(pool, KeyOwner(principal, key.key), key.secret):
                pointer = f"/{number}" if len(announcements) > 1 else ""
                raise Invalid([FieldError(f"{pointer}/event/key", "key_id_used", value=key.key)])
            issued.append(key)
            announcement = replace(announcement, event=replace(announcement.event, key=key.key))
        prepared.append(announcement)
    return prepared, issued


async def record_events(
    recorder: Recorder, principal: str, events: Sequence[PrincipalEvent], *, credential: Credential | None = None
) -> AppendResult:
    """Record events of a principal; without a credential, as the registry's own act."""
    return await recorder.record(
        AppendRequest(
            kind="principal",
            slug=principal,
            announcements=[PrincipalAnnouncement(event=event) for event in events],
            by=credential.id if credential is not None else REGISTRY,
            credential=credential,
        )
    )


async def issue_key(
    recorder: Recorder,
    pool: Pool,
    rights: Rights,
    *,
    principal: str | None = None,
    name: str | None = None,
    kind: PrincipalKind = "person",
    expires_at: datetime | None = None,
) -> IssuedKey:
    """Issue a key, to a new principal with the name or to an existing one.

    Raises:
        RuleBroken: The principal is not registered, or the expiry lies in the past.
    """
    id = principal or new_principal_id()
    events: list[PrincipalEvent] = [PrincipalRegistered(name=name, kind=kind)] if name is not None else []
    new = IssuedKey(id, keys.new_key_id(), keys.new_secret())
    await keys.store_digest(pool, KeyOwner(id, new.key), new.secret)
    events.append(_issue(new.key, rights, expires_at))
    await record_events(recorder, id, events)
    return new


def _issue(key: str, rights: Rights, expires_at: datetime | None) -> KeyIssued:
    return KeyIssued(
        key=key,
        scopes=rights.scopes,
        deals=rights.deals,
        organizations=rights.organizations,
        sources=rights.sources,
        expires_at=expires_at,
    )


async def rotate_key(
    recorder: Recorder, pool: Pool, principal: Principal, key: str, overlap: timedelta, *, now: datetime
) -> IssuedKey:
    """Issue a key with the rights and the lifetime of another one, which ends after the overlap.

    Raises:
        RuleBroken: The other key is unknown or not valid.
    """
    new = IssuedKey(principal.principal, keys.new_key_id(), keys.new_secret())
    await keys.store_digest(pool, KeyOwner(new.principal, new.key), new.secret)
    rights = principal.rights_of(key, now) or Rights(scopes=("read",))
    old = next((state for state in principal.keys if state.key == key), None)
    expires_at = now + (old.expires_at - old.issued_at) if old is not None and old.expires_at is not None else None
    # A key that is not valid any more makes the recorder refuse both events.
    events: list[PrincipalEvent] = [_issue(new.key, rights, expires_at), KeyRevoked(key=key, revoked_at=now + overlap)]
    await record_events(recorder, new.principal, events)
    return new


async def register_admin(recorder: Recorder, pool: Pool, admin: Principal | None, secret: str) -> None:
    """Register the principal of `REGISTRY_ADMIN_KEY`, once, and its key; revoke the setting's previous key.

    A key that was revoked stays revoked, whatever the setting says.
    """
    known = admin.keys if admin is not None else ()
    stored = await keys.find_owner(pool, keys.digest(secret))
    owner = stored or KeyOwner(ADMIN, f"{ADMIN}-{secrets.token_hex(6)}")
    if stored is None and not await keys.store_digest(pool, owner, secret):
        # Another process that starts now has stored it.
        stored = await keys.find_owner(pool, keys.digest(secret))
        assert stored is not None
        owner = stored
    if any(state.key == owner.key for state in known):
        return
    events: list[PrincipalEvent] = []
    if admin is None:
        events.append(PrincipalRegistered(name=ADMIN_NAME, kind="system"))
    events.append(KeyIssued(key=owner.key, scopes=("admin",)))
    now = datetime.now(UTC)
    events += [
        KeyRevoked(key=state.key) for state in known if state.key.startswith(f"{ADMIN}-") and state.is_valid(now)
    ]
    with contextlib.suppress(RuleBroken):  # Another process that starts now has recorded them.
        await record_events(recorder, ADMIN, events)
