"""`registry export`: write deals, pledges or events of the service to a file, or the fact tables as Parquet."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from registry.cli import server
from registry.cli.asking import FILTERS, POINT, with_filters, with_point
from registry.cli.client import Url, client
from registry.cli.options import stderr, with_settings
from registry.cli.texts import Text, rendered
from registry.exports import COLUMNS, FORMATS
from registry.exports.fact_tables import publications, publish
from registry.infra import postgres
from registry.infra.settings import Settings
from registry.projections.columnar import ColumnarCopy

TEXTS = ("csv", "ndjson")

WHAT = f"{', '.join(COLUMNS)}, as one of {', '.join(FORMATS)}: such as deals.csv."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


@with_settings("database_url", "data_dir")
@with_point(*POINT)
@with_filters(*FILTERS)
def export(
    settings: Settings,
    point: dict[str, Any],
    filters: dict[str, Any],
    what: Annotated[str | None, typer.Argument(metavar="TABLE.FORMAT", help=WHAT)] = None,
    to: Annotated[str | None, typer.Option("--to", "-o", help="The file to write. Default: standard output.")] = None,
    deal: Annotated[str | None, typer.Option(help="For events: only those of this deal.")] = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Add columns with the sources of each row (not with ndjson).")
    ] = False,
    bom: Annotated[bool, typer.Option("--bom", help="Begin CSV with a byte order mark, for Excel.")] = False,
    parquet: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Write the fact tables as Parquet to this folder, from the database."),
    ] = None,
    every: Annotated[
        float | None, typer.Option(min=0.1, help="With --parquet: write them again every so many seconds.")
    ] = None,
    url: Url = "",
) -> None:
    """Write a table at a point in time, or the log, to a file; or the fact tables as Parquet.

    With --parquet, the newest tables are in DIR/latest; manifest.json there states their log position.
    """
    if (what is None) == (parquet is None):
        stderr.print(f"registry: {rendered(Text('export_what'))}", markup=False)
        raise typer.Exit(2)
    if parquet is not None:
        with server.database(settings) as ready, server.readable_errors():
            asyncio.run(_publish(ready, Path(parquet), every))
        return
    assert what is not None
    if to is None and sys.stdout.isatty() and what.rpartition(".")[2] not in TEXTS:
        stderr.print(f"registry: {rendered(Text('not_for_terminal', export=what))}", markup=False)
        raise typer.Exit(2)
    with client(url) as service:
        chunks = service.export(
            what,
            **point,
            **filters,
            deal=deal,
            sources=sources or None,
            bom=bom or None,
        )
        # The file is made once the service has answered.
        first = next(chunks, b"")
        with contextlib.nullcontext(sys.stdout.buffer) if to is None else Path(to).open("wb") as file:
            file.write(first)
            for chunk in chunks:
                file.write(chunk)


async def _publish(settings: Settings, directory: Path, every: float | None) -> None:
    assert settings.database_url is not None
    async with (
        await postgres.pool(settings.database_url, name="registry export", min_size=1, max_size=2) as pool,
        ColumnarCopy(pool, settings.data_dir / "columnar") as copy,
    ):
        if every is None:
            _report((await publish(copy, directory)).position, directory)
            return
        async for manifest in publications(copy, directory, every):
            _report(manifest.position, directory)


def _report(position: int, directory: Path) -> None:
    stderr.print(rendered(Text("fact_tables_written", position=position, folder=str(directory))), markup=False)
