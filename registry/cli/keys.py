"""`registry keys`: issue, list, rotate and revoke API keys. A key's secret is printed once, when it is issued.

Each command records events of the key's principal, as the registry's own act: the person who runs it has the
database's password.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar, get_args

import msgspec
import typer

from registry.append import principals as writing
from registry.append.recorder import Recorder
from registry.cli import server
from registry.cli.options import AsJson, show, with_settings
from registry.cli.texts import Text, rendered
from registry.domain.principal import Rights
from registry.errors import NotFound
from registry.events.types import KeyRevoked
from registry.events.values import PrincipalKind, Scope
from registry.infra import keys, postgres
from registry.infra.postgres import Pool
from registry.infra.settings import Settings
from registry.queries.principals import Principals
from registry.schemas import PrincipalResponse

T = TypeVar("T")

SCOPES: tuple[Scope, ...] = get_args(Scope)
KINDS: tuple[PrincipalKind, ...] = get_args(PrincipalKind)
PAGE = 500

group = typer.Typer(no_args_is_help=True, help="Issue, list, rotate and revoke API keys.")

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as 'registry keys list' shows it.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(group, name="keys")


@group.command()
@with_settings("database_url", "owner_url", "data_dir")
def create(
    settings: Settings,
    name: Annotated[
        str | None, typer.Argument(help="Name of a new principal (a person or a system) for the key.")
    ] = None,
    scope: Annotated[list[str] | None, typer.Option(help=f"{', '.join(SCOPES)}; may be repeated.")] = None,
    principal: Annotated[str | None, typer.Option(help="Id of a registered principal for the key.")] = None,
    kind: Annotated[str, typer.Option(help="Whether a new principal is a person or a system.")] = "person",
    days: Annotated[int | None, typer.Option(min=1, help="Days after which the key expires.")] = None,
    deal: Annotated[list[str] | None, typer.Option(help="Limit the key to this deal; may be repeated.")] = None,
    organization: Annotated[
        list[str] | None, typer.Option(help="Limit the key to this organization; may be repeated.")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Limit the key to announcements that cite this publisher; may be repeated.")
    ] = None,
) -> None:
    """Issue an API key. Its secret is shown once."""
    if (name is None) == (principal is None):
        raise typer.BadParameter(rendered(Text("name_or_principal")), param_hint="NAME")
    rights = Rights(
        scopes=tuple(_scope(text) for text in scope or ("read", "record")),
        deals=tuple(deal or ()),
        organizations=tuple(organization or ()),
        sources=tuple(source or ()),
    )
    checked = _kind(kind)

    async def issue(pool: Pool, recorder: Recorder) -> str:
        issued = await writing.issue_key(
            recorder,
            pool,
            rights,
            principal=principal,
            name=name,
            kind=checked,
            expires_at=datetime.now(UTC) + timedelta(days=days) if days is not None else None,
        )
        return issued.secret

    typer.echo(_in(settings, issue))


@group.command("list")
@with_settings("database_url", "owner_url", "data_dir")
def list_keys(settings: Settings, as_json: AsJson = False) -> None:
    """List all API keys with their principals and rights, also expired and revoked ones, without their secrets."""

    async def read(pool: Pool, recorder: Recorder) -> list[dict[str, Any]]:
        return [row async for row in _rows(Principals(pool))]

    show(_in(settings, read), as_json=as_json)


@group.command()
@with_settings("database_url", "owner_url", "data_dir")
def revoke(settings: Settings, key: KeyId) -> None:
    """Revoke an API key, in all processes at once. The events that it recorded remain."""

    async def end(pool: Pool, recorder: Recorder) -> None:
        principal = await _principal_of(pool, key)
        stream = await Principals(pool).require(principal)
        if stream.state.rights_of(key, datetime.now(UTC)) is None:
            raise NotFound("key", key=key)
        await writing.record_events(recorder, principal, [KeyRevoked(key=key)])

    _in(settings, end)


@group.command()
@with_settings("database_url", "owner_url", "data_dir")
def rotate(
    settings: Settings,
    key: KeyId,
    hours: Annotated[int, typer.Option(min=0, help="Hours during which the old key still works.")] = 24,
) -> None:
    """Issue a new key with the rights of an old one, which then expires. The new secret is shown once."""

    async def issue(pool: Pool, recorder: Recorder) -> str:
        stream = await Principals(pool).require(await _principal_of(pool, key))
        overlap = timedelta(hours=hours)
        issued = await writing.rotate_key(recorder, pool, stream.state, key, overlap, now=datetime.now(UTC))
        return issued.secret

    typer.echo(_in(settings, issue))


def _scope(text: str) -> Scope:
    for scope in SCOPES:
        if scope == text:
            return scope
    problem = rendered(Text("scope_unknown", value=text, known=SCOPES))
    raise typer.BadParameter(problem, param_hint="--scope")


def _kind(text: str) -> PrincipalKind:
    for kind in KINDS:
        if kind == text:
            return kind
    problem = rendered(Text("kind_unknown", value=text, known=KINDS))
    raise typer.BadParameter(problem, param_hint="--kind")


async def _principal_of(pool: Pool, key: str) -> str:
    principal = await keys.principal_of(pool, key)
    if principal is None:
        raise NotFound("key", key=key)
    return principal


async def _rows(principals: Principals) -> Any:
    """Every key of every principal."""
    after = ""
    while page := await principals.page(after, PAGE):
        for row in page:
            principal = msgspec.json.decode(row, type=PrincipalResponse)
            after = principal.principal
            for key in principal.keys:
                yield {
                    "id": key.key,
                    "principal": principal.principal,
                    "name": principal.name,
                    "kind": principal.kind,
                    **{name: getattr(key, name) for name in ("scopes", "deals", "organizations", "sources")},
                    "issued_at": key.issued_at,
                    "expires_at": key.expires_at,
                    "revoked_at": key.revoked_at,
                }


def _in(settings: Settings, work: Callable[[Pool, Recorder], Awaitable[T]]) -> T:
    """Run a function with a pool of the settings' database and a recorder."""

    async def connected(url: str) -> T:
        with server.readable_errors():
            pool = await postgres.pool(url, name="registry keys", min_size=1, max_size=2, pooling=settings.pooling)
            async with pool, Recorder(pool) as recorder:
                return await work(pool, recorder)

    with server.database(settings) as ready:
        assert ready.database_url is not None
        return asyncio.run(connected(ready.database_url))
