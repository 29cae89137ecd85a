"""`registry doctor`: check whether the registry can run here, and say what to do if not. Changes nothing."""

from __future__ import annotations

import asyncio
import platform
import shutil
from collections.abc import Callable, Iterator

import typer
from msgspec.structs import replace

from registry.cli import server
from registry.cli.options import AsJson, show, with_settings
from registry.errors import RegistryError
from registry.infra.embedded.binaries import find_binaries
from registry.infra.embedded.server import Embedded
from registry.infra.embedded.user import User
from registry.infra.settings import Settings

MIN_FREE_BYTES = 1_000_000_000

Check = Callable[[Settings], str]


class CheckFailed(Exception):
    """A check failed; the message says what to do."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


@with_settings()
def doctor(settings: Settings, as_json: AsJson = False) -> None:
    """Check this machine and the settings. Ends with 1 if a check fails."""
    rows = list(_run_checks(settings))
    show(rows, as_json=as_json)
    if any(row["found"] == "wrong" for row in rows):
        raise typer.Exit(1)


def _run_checks(settings: Settings) -> Iterator[dict[str, str]]:
    checks: dict[str, Check] = {"Python": _python, "data directory": _data_dir}
    if settings.database_url is None:
        checks["Postgres"] = _own_postgres
    checks |= {"database": _database, "port": _port, "write access": _keys}
    for name, check in checks.items():
        try:
            yield {"check": name, "found": "fine", "detail": check(settings)}
        except (CheckFailed, RegistryError, OSError) as error:
            yield {"check": name, "found": "wrong", "detail": str(error)}


def _python(settings: Settings) -> str:
    return f"{platform.python_version()} on {platform.platform()}"


def _data_dir(settings: Settings) -> str:
    existing = next(folder for folder in (settings.data_dir, *settings.data_dir.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < MIN_FREE_BYTES:
        raise CheckFailed(f"{existing} has {free // 1_000_000} MB left: free some space, or choose another --data-dir")
    state = "" if existing == settings.data_dir else ", created on first use"
    return f"{settings.data_dir}{state}; {free // 1_000_000_000} GB free"


def _own_postgres(settings: Settings) -> str:
    found = find_binaries(User.for_data_dir())
    return f"{found.version} in {found.bin}"


def _database(settings: Settings) -> str:
    if settings.database_url is not None:
        asyncio.run(server.check(settings))
        return "answers and has the schema of this release"
    if not (settings.data_dir / "postgres").exists():
        return "created on first use"
    with Embedded(settings.data_dir) as postgres:
        asyncio.run(server.check(replace(settings, database_url=postgres.app_url)))
        return f"Postgres {postgres.version} starts and has the schema of this release"


def _port(settings: Settings) -> str:
    try:
        server.listen(settings.host, settings.port).close()
    except OSError as error:
        raise CheckFailed(f"{settings.host}:{settings.port}: {error.strerror}; choose another --port") from None
    return f"{settings.host}:{settings.port} is free"


def _keys(settings: Settings) -> str:
    if settings.admin_key is not None:
        return "REGISTRY_ADMIN_KEY and the API keys that 'registry keys list' shows"
    return "the API keys that 'registry keys list' shows"
