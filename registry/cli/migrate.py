"""`registry migrate`: migrate the schema to the newest version."""

from __future__ import annotations

import asyncio

import typer

from registry.cli import server
from registry.cli.options import with_settings
from registry.cli.texts import Text, rendered
from registry.infra.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(migrate)


@with_settings("database_url", "owner_url", "data_dir")
def migrate(settings: Settings) -> None:
    """Migrate the database to the schema of this release, and give the application's role its rights."""
    with server.database(settings) as ready:
        typer.echo(rendered(Text("schema", version=asyncio.run(server.migrate(ready)))))
