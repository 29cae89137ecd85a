"""`registry backup` and `registry restore`: the whole registry in one file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from registry.cli import server
from registry.cli.options import progress_bar, with_settings
from registry.cli.texts import Text, rendered
from registry.errors import DatabaseUnusable
from registry.infra.settings import Settings
from registry.maintenance import backup as files

File = Annotated[Path, typer.Argument(dir_okay=False, help="The file, such as registry.backup.gz.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(backup)
    app.command()(restore)


@with_settings("database_url", "owner_url", "data_dir")
def backup(settings: Settings, file: File) -> None:
    """Write the whole registry to a file. The service may keep running."""
    with server.database(settings) as ready:
        assert ready.database_url is not None
        header = _run(Text("writing"), files.backup, ready.database_url, file)
    typer.echo(rendered(Text("backup_written", size=header.size, root=header.root, file=str(file))))


@with_settings("database_url", "owner_url", "data_dir")
def restore(settings: Settings, file: File) -> None:
    """Restore a backup into an empty registry, whole or not at all. The events are verified against the root hash."""
    with server.database(settings) as ready:
        if ready.owner_url is None:
            raise DatabaseUnusable("no_owner")
        header = _run(Text("restoring"), files.restore, ready.owner_url, file)
    made_at = f"{header.made_at:%Y-%m-%d %H:%M}"
    typer.echo(rendered(Text("backup_restored", size=header.size, root=header.root, made_at=made_at)))


def _run(
    description: Text,
    work: Callable[[str, Path, files.Progress], Coroutine[Any, Any, files.Header]],
    url: str,
    file: Path,
) -> files.Header:
    with progress_bar() as progress:
        task = progress.add_task(rendered(description), total=None)

        def report(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        with server.readable_errors():
            try:
                return asyncio.run(work(url, file, report))
            except OSError as error:
                # An error of the database has no file name.
                if error.filename is None:
                    raise
                raise typer.BadParameter(f"{error.filename}: {error.strerror}") from None
