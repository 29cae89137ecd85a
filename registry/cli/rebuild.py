"""`registry rebuild`: makes every view anew from the log while the registry serves, or says where one differs."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from registry.cli import server
from registry.cli.options import AsJson, show, stderr, with_settings
from registry.errors import DatabaseUnusable
from registry.infra.settings import Settings
from registry.projections import rebuild as views

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(rebuild)


@with_settings("database_url", "owner_url", "data_dir")
def rebuild(
    settings: Settings,
    check: Annotated[bool, typer.Option("--check", help="Change nothing: name each row that differs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Makes every view anew from the log, and switches; with --check only compares, and ends with 1 on a difference."""
    with server.database(settings) as ready:
        if ready.owner_url is None:
            raise DatabaseUnusable(reason="REGISTRY_OWNER_URL is not set: name the role that owns the tables")
        with Progress(*COLUMNS, console=stderr) as progress, server.readable_errors():
            task = progress.add_task("Reading the log", total=None)

            def told(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            if not check:
                position = asyncio.run(views.rebuild(ready.owner_url, told))
                progress.print(f"The views are those of the log up to position {position}.")
                return
            found = asyncio.run(_differences(ready.owner_url, told))
    show(found, as_json=as_json)
    if found:
        raise typer.Exit(1)


async def _differences(owner_url: str, told: views.Progress) -> list[dict[str, str]]:
    return [
        {
            "table": difference.table,
            "row": ", ".join(map(str, difference.key)),
            "difference": _describe_difference(difference),
        }
        async for difference in views.compare(owner_url, told)
    ]


def _describe_difference(difference: views.Difference) -> str:
    if difference.actual is None:
        return "is missing"
    if difference.expected is None:
        return "is not what the log says"
    return f"differs in {', '.join(difference.columns)}"
