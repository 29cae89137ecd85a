"""`registry migrate`: the schema's newest version, as the tables' owner."""

from __future__ import annotations

import asyncio

import typer

from registry.cli import server
from registry.cli.options import with_settings
from registry.infra.settings import Settings


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(migrate)


@with_settings("database_url", "owner_url", "data_dir")
def migrate(settings: Settings) -> None:
    """Brings the database to this version's schema and gives the application's role its rights."""
    with server.database(settings) as ready:
        typer.echo(f"schema {asyncio.run(server.migrate(ready))}")
