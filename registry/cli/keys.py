"""`registry keys`: making, listing and revoking the keys with which others record.

A key is written to standard output once, when it is made, and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar, cast

import typer
from msgspec import structs

from registry.cli import server
from registry.cli.options import AsJson, show, with_settings
from registry.infra import keys as store
from registry.infra import postgres
from registry.infra.settings import Settings

T = TypeVar("T")

group = typer.Typer(no_args_is_help=True, help="Make, list and revoke keys.")


def register(app: typer.Typer) -> None:
    """Adds the group of commands."""
    app.add_typer(group, name="keys")


@group.command()
@with_settings("database_url", "owner_url", "data_dir")
def create(
    settings: Settings,
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    scope: Annotated[list[str] | None, typer.Option(help=f"{', '.join(store.SCOPES)}; may be repeated.")] = None,
) -> None:
    """Makes a key and writes it, once."""
    chosen = tuple(scope or ("read", "record"))
    unknown = [given for given in chosen if given not in store.SCOPES]
    if unknown:
        raise typer.BadParameter(f"'{unknown[0]}' is none of {', '.join(store.SCOPES)}", param_hint="--scope")
    typer.echo(_in(settings, lambda pool: store.create(pool, name, cast("tuple[store.Scope, ...]", chosen))))


@group.command("list")
@with_settings("database_url", "owner_url", "data_dir")
def list_keys(settings: Settings, as_json: AsJson = False) -> None:
    """Lists every key there ever was, without the key itself."""
    show([structs.asdict(key) for key in _in(settings, store.all_keys)], as_json=as_json)


@group.command()
@with_settings("database_url", "owner_url", "data_dir")
def revoke(
    settings: Settings, key: Annotated[str, typer.Argument(metavar="ID", help="As 'keys list' shows it.")]
) -> None:
    """Ends a key; what it recorded stays."""
    _in(settings, lambda pool: store.revoke(pool, key))


def _in(settings: Settings, work: Callable[[Any], Awaitable[T]]) -> T:
    """Does some work with a pool on the settings' database."""

    async def connected(url: str) -> T:
        with server.readable_errors():
            pool = await postgres.pool(url, name="registry keys", min_size=1, max_size=1)
            async with pool:
                return await work(pool)

    with server.database(settings) as ready:
        assert ready.database_url is not None
        return asyncio.run(connected(ready.database_url))
