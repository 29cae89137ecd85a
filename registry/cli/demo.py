"""`registry demo`: the service with the demo deals, in one command.

The demo posts its announcements to the running service. Each has a fixed id, so a second start records nothing twice.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from registry.cli import server
from registry.cli.options import stderr, with_settings
from registry.infra import keys, postgres
from registry.infra.settings import Settings

FILES = {"organizations.ndjson": "organization", "announcements.ndjson": "deal"}
"""The demo's files in the order in which they are posted, with the kind of stream of their announcements."""

LINKS = (
    ("pages", "/"),
    ("a deal on a past date", "/deals/sk-aws-ulsan?effective_on=2025-06-21"),
    ("a deal's state", "/v1/deals/sk-aws-ulsan"),
    ("its state on a date", "/v1/deals/sk-aws-ulsan?effective_on=2025-06-21"),
    ("its history", "/v1/deals/sk-aws-ulsan/events"),
    ("all deals", "/v1/deals"),
    ("API documentation", "/docs"),
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


@with_settings()
def demo(settings: Settings) -> None:
    """Start the service with the demo deals, and print links and an API key."""
    server.log_to_stderr()
    # Do not log each of the demo's own requests.
    logging.getLogger("registry.access").setLevel(logging.WARNING)
    try:
        listening = server.listen(settings.host, settings.port, next_free=True)
    except OSError as error:
        stderr.print(f"registry: cannot listen on {settings.host}:{settings.port}: {error.strerror}", soft_wrap=True)
        raise typer.Exit(1) from None
    taken = listening.getsockname()[1]
    if settings.port not in (0, taken):
        stderr.print(f"Port {settings.port} is in use; using {taken}.")
    with listening, server.database(settings) as ready:
        if settings.database_url is not None and settings.owner_url is not None:
            asyncio.run(server.migrate(settings))
        asyncio.run(server.check(ready))
        key = settings.admin_key or asyncio.run(_key(ready))

        async def load(url: str) -> None:
            await post_announcements(url, key)

        server.run(ready, listening, load, lambda url: _links(url, key))


def announcements() -> Iterator[tuple[str, dict[str, Any]]]:
    """The demo's announcements, each with the path to which it is posted."""
    for file, names in FILES.items():
        text = importlib.resources.files("registry.demo").joinpath(file).read_bytes()
        for line in text.splitlines():
            announcement = msgspec.json.decode(line)
            yield f"/v1/{names}s/{announcement.pop(names)}/events", announcement


async def post_announcements(url: str, key: str) -> None:
    """Post the demo's announcements; report a refused one and continue."""
    todo = list(announcements())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    headers = {"Authorization": f"Bearer {key}"}
    # The service runs on this machine: do not use a proxy from the environment.
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
        with Progress(*columns, console=stderr) as progress:
            for path, announcement in progress.track(todo, description="Recording the demo deals"):
                answer = await client.post(path, json=announcement)
                if answer.is_error:
                    progress.print(f"{path} refused {announcement['id']}: {answer.status_code} {answer.text}")


async def _key(settings: Settings) -> str:
    """The demo's API key: created on first use, stored in a file that only its owner can read."""
    assert settings.database_url is not None
    path = settings.data_dir / "demo.key"
    pool = await postgres.pool(settings.database_url, min_size=1, max_size=1)
    async with pool:
        if path.exists():
            kept = path.read_text().strip()
            if await keys.Keys(pool).find(kept):
                return kept
        made = await keys.create(pool, "demo", keys.SCOPES)
    _write(path, made)
    return made


def _write(path: Path, secret: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(secret + "\n")


def _links(url: str, key: str) -> None:
    width = max(len(what) for what, _ in LINKS)
    lines = [f"  {what:{width}}  {url}{path}" for what, path in LINKS]
    typer.echo("\n".join(["", *lines, f"  {'API key':{width}}  {key}", "", "Ctrl-C stops the service."]))
