"""Principals in a response. Only keys with the scope admin read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from registry.domain.history import FoldedStream
from registry.domain.principal import Principal, Rights
from registry.events.types import AnyEvent, Recorded
from registry.events.values import PrincipalKind, Scope
from registry.schemas.base import Hex, Link, ResponseModel
from registry.schemas.history import proof_link
from registry.schemas.log import Receipt


class RightsResponse(ResponseModel, frozen=True, kw_only=True):
    """What may be done. Empty `deals` and `organizations`: in every stream. Empty `sources`: citing any publisher."""

    scopes: tuple[Scope, ...]
    deals: tuple[str, ...]
    organizations: tuple[str, ...]
    sources: tuple[str, ...]


class KeyResponse(RightsResponse, frozen=True, kw_only=True):
    """A key of a principal, without its secret."""

    key: str
    issued_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class PrincipalResponse(RightsResponse, frozen=True, kw_only=True):
    """A person or a system. The rights are those that it has without a key; each key has its own."""

    principal: str
    name: str | None
    kind: PrincipalKind | None
    issuer: str | None
    subject: str | None
    keys: tuple[KeyResponse, ...]
    version: int
    position: int


class PrincipalPage(ResponseModel, frozen=True, kw_only=True):
    """A page of principals, in the order of their ids."""

    principals: tuple[PrincipalResponse, ...]


class IssuedSecret(ResponseModel, frozen=True, kw_only=True):
    """The secret of a new key. It is shown once."""

    key: str
    secret: str


class PrincipalAppendResponse(ResponseModel, frozen=True, kw_only=True):
    """What was recorded about a principal."""

    principal: str
    version: int
    position: int
    events: tuple[Receipt, ...]
    secrets: tuple[IssuedSecret, ...]


class PrincipalEventResponse(ResponseModel, frozen=True, kw_only=True):
    """An event of a principal. `event` is empty after a redaction."""

    id: UUID
    version: int
    position: int
    type: str
    recorded_at: datetime
    recorded_by: str
    approved_by: str | None
    event: AnyEvent | None
    erased: bool
    leaf_hash: Hex
    proof: Link


class PrincipalHistory(ResponseModel, frozen=True, kw_only=True):
    """Every event of a principal, in the order of the log."""

    principal: str
    events: list[PrincipalEventResponse]


def principal_response(stream: FoldedStream[Principal]) -> PrincipalResponse:
    """A principal after all events of its stream."""
    state = stream.state
    return PrincipalResponse(
        principal=state.principal,
        name=state.name,
        kind=state.kind,
        issuer=state.issuer,
        subject=state.subject,
        **_rights(state.rights),
        keys=tuple(
            KeyResponse(
                key=key.key,
                **_rights(key.rights),
                issued_at=key.issued_at,
                expires_at=key.expires_at,
                revoked_at=key.revoked_at,
            )
            for key in state.keys
        ),
        version=stream.version,
        position=stream.events[-1].position,
    )


def _rights(rights: Rights) -> dict[str, Any]:
    return {name: getattr(rights, name) for name in RightsResponse.__struct_fields__}


def principal_history(slug: str, events: Sequence[Recorded]) -> PrincipalHistory:
    """The events of a principal."""
    return PrincipalHistory(
        principal=slug,
        events=[
            PrincipalEventResponse(
                id=event.id,
                version=event.version,
                position=event.position,
                type=event.type,
                recorded_at=event.recorded_at,
                recorded_by=event.recorded_by,
                approved_by=event.approved_by,
                event=event.event,
                erased=event.erased,
                leaf_hash=event.leaf_hash.hex(),
                proof=proof_link(event.position),
            )
            for event in events
        ],
    )
