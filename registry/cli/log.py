"""`registry log`: the log's public keys and checkpoints. The signing key itself is never shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from registry.cli import server
from registry.cli.options import with_settings
from registry.infra import postgres
from registry.infra.settings import Settings
from registry.transparency.checkpoint import Checkpoint, parse_note
from registry.transparency.checkpoint_store import export_checkpoint
from registry.transparency.evidence import Evidence
from registry.transparency.signer import Signer

T = TypeVar("T")

group = typer.Typer(no_args_is_help=True, help="The log's public keys and checkpoints.")


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(group, name="log")


@group.command()
@with_settings("data_dir", "log_origin", "signing_key")
def keys(settings: Settings) -> None:
    """Print all public keys of the log, oldest first, for auditors."""
    for key in Signer(settings.signing_key, settings.log_origin).verifiers():
        typer.echo(str(key))


@group.command()
@with_settings("database_url", "owner_url", "data_dir", "log_origin", "signing_key", "checkpoint_export")
def checkpoint(
    settings: Settings,
    to: Annotated[Path | None, typer.Option(help="A file or directory for a copy.")] = None,
) -> None:
    """Sign a checkpoint of the log and print it; with --to also write it to a file."""
    note = _in(settings, lambda evidence: evidence.checkpoint())
    if to is not None:
        export_checkpoint(to, Checkpoint.parse(parse_note(note).text).size, note)
    typer.echo(note, nl=False)


@group.command("rotate-key")
@with_settings("database_url", "owner_url", "data_dir", "log_origin", "signing_key", "checkpoint_export")
def rotate_key(settings: Settings) -> None:
    """Create a new signing key, sign a checkpoint with it, and print its public key. Old checkpoints stay valid."""
    key = Signer(settings.signing_key, settings.log_origin).rotate()
    _in(settings, lambda evidence: evidence.checkpoint())
    typer.echo(str(key))


def _in(settings: Settings, work: Callable[[Evidence], Awaitable[T]]) -> T:
    """Run a function with the evidence of the settings' database."""

    async def connected(ready: Settings) -> T:
        assert ready.database_url is not None
        with server.readable_errors():
            pool = await postgres.pool(ready.database_url, name="registry log", min_size=1, max_size=2)
        async with pool:
            return await work(Evidence(pool, ready.signing_key, ready.log_origin, export=ready.checkpoint_export))

    with server.database(settings) as ready:
        return asyncio.run(connected(ready))
