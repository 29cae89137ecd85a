"""`registry backup` and `registry restore`: the whole registry in one file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from registry.cli import server
from registry.cli.options import progress_bar, stderr, with_settings
from registry.cli.texts import Text, rendered
from registry.errors import DatabaseUnusable
from registry.infra.settings import Settings
from registry.maintenance import backup as files
from registry.transparency.checkpoint import SigningKey, VerifierKey

File = Annotated[Path, typer.Argument(dir_okay=False, help="The file, such as registry.backup.gz.")]

ExistingFile = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="The file, such as registry.backup.gz.")
]

PassphraseFile = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="A file whose first line encrypts the backup.")
]


Result = TypeVar("Result")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(backup)
    app.command()(restore)


@with_settings("database_url", "owner_url", "data_dir", "signing_key")
def backup(settings: Settings, file: File, passphrase_file: PassphraseFile = None) -> None:
    """Write the whole registry to a file, signed with the log's key. The service may keep running."""
    if file.exists() and not file.is_file():
        # The finished backup takes the file's place, and would replace a device such as /dev/null.
        raise typer.BadParameter(rendered(Text("backup_no_file", file=str(file))))
    passphrase = _passphrase(passphrase_file)
    key = _signing_key(settings.signing_key)
    if key is None:
        stderr.print(rendered(Text("backup_unsigned", file=str(settings.signing_key))), markup=False)
    with server.database(settings) as ready:
        assert ready.database_url is not None
        work = partial(files.backup, ready.database_url, file, key=key, passphrase=passphrase)
        header = _run(Text("writing"), work)
    typer.echo(rendered(Text("backup_written", size=header.size, root=header.root, file=str(file))))


@with_settings("database_url", "owner_url", "data_dir", "signing_key")
def restore(
    settings: Settings,
    file: ExistingFile,
    key: Annotated[
        list[str] | None, typer.Option(help="A verifier key of the log (vkey). Default: the .pub file.")
    ] = None,
    unverified: Annotated[bool, typer.Option("--unverified", help="Do not check who signed the file.")] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Restore a backup into an empty registry, whole or not at all. Its signature and its events are verified."""
    passphrase = _passphrase(passphrase_file)
    keys = None if unverified else _verifier_keys(settings.signing_key, key or [])
    # Before a database is started: a refused file leaves nothing behind.
    with _file_errors():
        files.check(file, keys=keys, passphrase=passphrase)
    with server.database(settings) as ready:
        if ready.owner_url is None:
            raise DatabaseUnusable("no_owner")
        restored = _run(
            Text("restoring"), partial(files.restore, ready.owner_url, file, keys=keys, passphrase=passphrase)
        )
    header = restored.header
    made_at = f"{header.made_at:%Y-%m-%d %H:%M}"
    typer.echo(rendered(Text("backup_restored", size=header.size, root=header.root, made_at=made_at)))
    if restored.left_out:
        stderr.print(rendered(Text("backup_left_out", count=restored.left_out)), markup=False)


def _signing_key(path: Path) -> SigningKey | None:
    """The log's signing key; None if this machine does not have it."""
    try:
        return SigningKey.parse(_text(path).removesuffix("\n"))
    except FileNotFoundError:
        return None


def _verifier_keys(path: Path, given: list[str]) -> list[VerifierKey]:
    """The keys that may have signed a backup: those given, else those of this log."""
    public = path.with_name(f"{path.name}.pub")
    if not given and public.exists():
        given = _text(public).splitlines()
    if not given:
        raise typer.BadParameter(rendered(Text("backup_no_key", file=str(public))))
    return [VerifierKey.parse(vkey) for vkey in given]


def _passphrase(file: Path | None) -> str | None:
    if file is None:
        return None
    passphrase = _text(file).partition("\n")[0].rstrip("\r")
    if not passphrase:
        raise typer.BadParameter(rendered(Text("passphrase_empty", file=str(file))))
    return passphrase


def _text(file: Path) -> str:
    """The text of a small file.

    Raises:
        FileNotFoundError: There is no such file.
    """
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(rendered(Text("file_no_text", file=str(file)))) from None


def _run(description: Text, work: Callable[..., Coroutine[Any, Any, Result]]) -> Result:
    with progress_bar() as progress:
        task = progress.add_task(rendered(description), total=None)

        def report(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        with server.readable_errors(), _file_errors():
            return asyncio.run(work(report))


@contextmanager
def _file_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # An error of the database has no file name.
        if error.filename is None:
            raise
        raise typer.BadParameter(f"{error.filename}: {error.strerror}") from None
