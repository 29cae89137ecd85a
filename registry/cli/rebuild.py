"""`registry rebuild`: recompute the projections from the log while the registry serves, or report differences."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from registry.cli import server
from registry.cli.options import AsJson, progress_bar, show, with_settings
from registry.cli.texts import Text, rendered
from registry.errors import DatabaseUnusable
from registry.infra.settings import Settings
from registry.projections import rebuild as projections


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rebuild)


@with_settings("database_url", "owner_url", "data_dir")
def rebuild(
    settings: Settings,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; list the rows that differ.")] = False,
    as_json: AsJson = False,
) -> None:
    """Recompute all projections from the log and replace the rows that differ.

    With --check, only compare, and exit with 1 if a row differs.
    """
    with server.database(settings) as ready:
        if ready.owner_url is None:
            raise DatabaseUnusable("no_owner")
        with progress_bar() as progress, server.readable_errors():
            task = progress.add_task(rendered(Text("reading_log")), total=None)

            def report(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            if not check:
                position = asyncio.run(projections.rebuild(ready.owner_url, report))
                progress.print(rendered(Text("projections_rebuilt", position=position)))
                return
            differences = asyncio.run(_differences(ready.owner_url, report))
    show(differences, as_json=as_json)
    if differences:
        raise typer.Exit(1)


async def _differences(owner_url: str, report: projections.Progress) -> list[dict[str, str]]:
    return [
        {
            "table": difference.table,
            "row": ", ".join(map(str, difference.key)),
            "difference": rendered(_describe_difference(difference)),
        }
        async for difference in projections.compare(owner_url, report)
    ]


def _describe_difference(difference: projections.RowDifference) -> Text:
    if difference.actual is None:
        return Text("row_missing")
    if difference.expected is None:
        return Text("row_unexpected")
    return Text("row_differs", columns=tuple(difference.columns))
