"""`registry serve`: run the service until a signal stops it."""

from __future__ import annotations

import typer

from registry.cli import server
from registry.cli.options import with_settings
from registry.infra import sockets
from registry.infra.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(serve)


@with_settings()
def serve(settings: Settings) -> None:
    """Run the service. Without a database URL it uses the bundled Postgres, which it migrates."""
    run_service(settings)


def run_service(settings: Settings) -> None:
    """Run the service with its database until a signal stops it."""
    server.log_to_stderr()
    try:
        bound = sockets.bind(settings.host, settings.port)
    except OSError as error:
        server.report_listen_error(settings, error)
        raise typer.Exit(1) from None
    with bound, server.database(settings) as ready:
        server.run(ready, bound)
