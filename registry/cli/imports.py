"""`registry import`: many announcements from a file, by its ending: NDJSON, a line each; CSV or XLSX, a row each.

NDJSON is streamed to the service and its results are read as they come; sheets are `sheets.py`'s. Records nothing by
itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import httpx
import msgspec
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from registry.cli import sheets
from registry.cli.client import EXITS, Url, answer, client
from registry.cli.options import AsJson, stderr

PIECE = 2**18


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("import")(import_)


def import_(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE…", help="One .ndjson, or .csv and .xlsx sheets.", show_default=False),
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="A tracker's sheets, read as this TOML file says.", show_default=False)
    ] = None,
    published_on: Annotated[
        str | None, typer.Option(help="The day a tracker's sheets are of.", show_default=False)
    ] = None,
    template: Annotated[
        Path | None, typer.Option(help="Write an empty sheet to this file.", show_default=False)
    ] = None,
    atomic: Annotated[
        bool, typer.Option("--atomic", help="All lines of an .ndjson, or none. (Sheets always.)")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would change, record nothing.")] = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Records the announcements of a file; what is recorded already stays as it is."""
    if template is not None:
        sheets.write_template(template)
        return
    if not files:
        raise typer.BadParameter("name a file", param_hint="FILE")
    if all(file.suffix.lower() in (".ndjson", ".jsonl") for file in files):
        for file in files:
            _lines(file, url, atomic=atomic or dry_run, dry_run=dry_run, as_json=as_json)
    else:
        sheets.import_sheets(files, mapping, published_on, url, dry_run=dry_run, as_json=as_json)


def _lines(file: Path, url: str, *, atomic: bool, dry_run: bool, as_json: bool) -> None:
    """Sends a file of lines; ends the command with the exit code of the first line that is refused, if one is."""
    asked = {name: "true" for name, given in (("atomic", atomic), ("dry_run", dry_run)) if given}
    worst = 0
    counted = {200: 0, 201: 0}
    try:
        opened = file.open("rb")
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from None
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with opened, client(url) as service, Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task(file.name, total=os.fstat(opened.fileno()).st_size)
        with service.stream(
            "POST",
            "/v1/import",
            params=asked,
            content=_pieces(opened, progress, task),
            headers={"Content-Type": "application/x-ndjson"},
            timeout=httpx.Timeout(60, read=None),
        ) as response:
            if not response.is_success:
                response.read()
                answer(response)
            for text in response.iter_lines():
                result: dict[str, Any] = msgspec.json.decode(text)
                if as_json:
                    typer.echo(text)
                if result["status"] in counted:
                    counted[result["status"]] += 1
                else:
                    worst = worst or EXITS.get(result["status"], 1)
                    progress.print(f"line {result['line']}: {result['detail']}", markup=False)
    if not as_json:
        if dry_run:
            typer.echo(f"{sum(counted.values())} can be recorded")
        else:
            typer.echo(f"{counted[201]} recorded, {counted[200]} known already")
    if worst:
        raise typer.Exit(worst)


def _pieces(opened: BinaryIO, progress: Progress, task: TaskID) -> Iterator[bytes]:
    while piece := opened.read(PIECE):
        yield piece
        progress.advance(task, len(piece))
