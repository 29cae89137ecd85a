"""`registry tail`: print the last events of the log, and follow it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from registry.cli.client import Url, client
from registry.cli.options import AsJson
from registry.schemas import LoggedEvent, encode


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tail)


def tail(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for new events and print them.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Number of last events to print.")] = 10,
    deal: Annotated[str | None, typer.Option(help="Only events of this deal.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="Only events of this type.")] = None,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Print the last events of the log, one per line."""
    with client(url) as service:
        after = max(0, service.deals(limit=1).position - lines)
        events = (
            service.follow(after=after, deal=deal, type=event_type)
            if follow
            else service.events(after=after, limit=1000, deal=deal, type=event_type).events
        )
        for event in events:
            sys.stdout.write(_line(event, as_json or not sys.stdout.isatty()))
            sys.stdout.flush()


def _line(event: LoggedEvent, as_json: bool) -> str:
    if as_json:
        return encode(event).decode() + "\n"
    about = event.deal or event.organization
    return f"{event.position:>8}  {event.recorded_at:%Y-%m-%dT%H:%M:%S}  {event.type:<22}  {about}\n"
