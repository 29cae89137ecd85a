"""`registry doctor`: whether the registry could run here, and if not, what to do. Changes nothing."""

from __future__ import annotations

import asyncio
import platform
import shutil
from collections.abc import Callable, Iterator

import typer
from msgspec.structs import replace

from registry.cli import service
from registry.cli.options import AsJson, show, with_settings
from registry.embedded import Embedded, User, find_binaries
from registry.errors import RegistryError
from registry.settings import Settings

LITTLE_SPACE = 1_000_000_000

Check = Callable[[Settings], str]


class Trouble(Exception):
    """What is wrong, and what to do about it."""


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(doctor)


@with_settings()
def doctor(settings: Settings, as_json: AsJson = False) -> None:
    """Checks this machine and the settings, one line a check; ends with 1 if something is wrong."""
    rows = list(_examine(settings))
    show(rows, as_json=as_json)
    if any(row["found"] == "wrong" for row in rows):
        raise typer.Exit(1)


def _examine(settings: Settings) -> Iterator[dict[str, str]]:
    checks: dict[str, Check] = {"Python": _python, "data directory": _data_dir}
    if settings.database_url is None:
        checks["Postgres"] = _own_postgres
    checks |= {"database": _database, "port": _port, "who may write": _keys}
    for name, check in checks.items():
        try:
            yield {"check": name, "found": "fine", "detail": check(settings)}
        except (Trouble, RegistryError, OSError) as error:
            yield {"check": name, "found": "wrong", "detail": str(error)}


def _python(settings: Settings) -> str:
    return f"{platform.python_version()} on {platform.platform()}"


def _data_dir(settings: Settings) -> str:
    existing = next(folder for folder in (settings.data_dir, *settings.data_dir.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < LITTLE_SPACE:
        raise Trouble(f"{existing} has {free // 1_000_000} MB left: make room, or give another --data-dir")
    state = "" if existing == settings.data_dir else ", made on first use"
    return f"{settings.data_dir}{state}; {free // 1_000_000_000} GB free"


def _own_postgres(settings: Settings) -> str:
    found = find_binaries(User.fitting())
    return f"{found.version} in {found.bin}"


def _database(settings: Settings) -> str:
    if settings.database_url is not None:
        asyncio.run(service.check(settings))
        return "answers, and has this version's schema"
    if not (settings.data_dir / "postgres").exists():
        return "made on first use"
    with Embedded(settings.data_dir) as server:
        asyncio.run(service.check(replace(settings, database_url=server.app_url)))
        return f"Postgres {server.version} starts, and has this version's schema"


def _port(settings: Settings) -> str:
    try:
        service.listen(settings.host, settings.port).close()
    except OSError as error:
        raise Trouble(f"{settings.host}:{settings.port}: {error.strerror}; give another --port") from None
    return f"{settings.host}:{settings.port} is free"


def _keys(settings: Settings) -> str:
    if settings.admin_key is not None:
        return "REGISTRY_ADMIN_KEY, and the keys that 'registry keys list' shows"
    return "the keys that 'registry keys list' shows"
