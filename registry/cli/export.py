"""`registry export`: write deals, pledges or events of the service to a file."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from registry.cli.client import Url, client
from registry.cli.options import stderr
from registry.cli.query import EffectiveOn, Position, PublishedOn, RecordedAt
from registry.cli.texts import Text, rendered
from registry.exports import FORMATS

TEXTS = ("csv", "ndjson")

WHAT = f"deals, pledges or events, as one of {', '.join(FORMATS)}: such as deals.csv."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    what: Annotated[str, typer.Argument(metavar="WHAT.FORM", help=WHAT)],
    to: Annotated[str | None, typer.Option("--to", "-o", help="The file to write. Default: standard output.")] = None,
    effective_on: EffectiveOn = None,
    published_on: PublishedOn = None,
    recorded_at: RecordedAt = None,
    position: Position = None,
    organization: Annotated[str | None, typer.Option(help="Only deals in which this organization takes part.")] = None,
    deal: Annotated[str | None, typer.Option(help="For events: only those of this deal.")] = None,
    url: Url = "",
) -> None:
    """Write deals or pledges at a point in time, or the log, to a file."""
    if to is None and sys.stdout.isatty() and what.rpartition(".")[2] not in TEXTS:
        stderr.print(f"registry: {rendered(Text('not_for_terminal', export=what))}", markup=False)
        raise typer.Exit(2)
    with client(url) as service:
        chunks = service.export(
            what,
            effective_on=effective_on,
            published_on=published_on,
            recorded_at=recorded_at,
            position=position,
            organization=organization,
            deal=deal,
        )
        # The file is made once the service has answered.
        first = next(chunks, b"")
        with contextlib.nullcontext(sys.stdout.buffer) if to is None else Path(to).open("wb") as file:
            file.write(first)
            for chunk in chunks:
                file.write(chunk)
