"""`registry keys`: create, list and revoke API keys. A key's secret is printed once, when it is created."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar, cast

import typer
from msgspec import structs

from registry.cli import server
from registry.cli.options import AsJson, show, with_settings
from registry.cli.texts import Text, rendered
from registry.infra import keys as store
from registry.infra import postgres
from registry.infra.settings import Settings

T = TypeVar("T")

group = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(group, name="keys")


@group.command()
@with_settings("database_url", "owner_url", "data_dir")
def create(
    settings: Settings,
    name: Annotated[str, typer.Argument(help="Name of the key's owner.")],
    scope: Annotated[list[str] | None, typer.Option(help=f"{', '.join(store.SCOPES)}; may be repeated.")] = None,
) -> None:
    """Create an API key. It is shown once."""
    chosen = tuple(scope or ("read", "record"))
    unknown = [given for given in chosen if given not in store.SCOPES]
    if unknown:
        raise typer.BadParameter(
            rendered(Text("scope_unknown", scope=unknown[0], scopes=store.SCOPES)), param_hint="--scope"
        )
    typer.echo(_in(settings, lambda pool: store.create(pool, name, cast("tuple[store.Scope, ...]", chosen))))


@group.command("list")
@with_settings("database_url", "owner_url", "data_dir")
def list_keys(settings: Settings, as_json: AsJson = False) -> None:
    """List all API keys, including revoked ones, without their secrets."""
    show([structs.asdict(key) for key in _in(settings, store.all_keys)], as_json=as_json)


@group.command()
@with_settings("database_url", "owner_url", "data_dir")
def revoke(
    settings: Settings,
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as 'registry keys list' shows it.")],
) -> None:
    """Revoke an API key. Its events remain."""
    _in(settings, lambda pool: store.revoke(pool, key))


def _in(settings: Settings, work: Callable[[Any], Awaitable[T]]) -> T:
    """Run a function with a pool of the settings' database."""

    async def connected(url: str) -> T:
        with server.readable_errors():
            pool = await postgres.pool(url, name="registry keys", max_size=1, pooling=settings.pooling)
            async with pool:
                return await work(pool)

    with server.database(settings) as ready:
        assert ready.database_url is not None
        return asyncio.run(connected(ready.database_url))
