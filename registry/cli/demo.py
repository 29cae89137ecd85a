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
from rich.cells import cell_len, set_cell_size
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from registry.append.principals import issue_key
from registry.append.recorder import Recorder
from registry.cli import server
from registry.cli.options import stderr, with_settings
from registry.cli.texts import Text, rendered
from registry.domain.principal import Rights
from registry.infra import postgres
from registry.infra.settings import Settings
from registry.queries.principals import Principals

FILES = {"organizations.ndjson": "organization", "announcements.ndjson": "deal"}
"""The demo's files in the order in which they are posted, with the kind of stream of their announcements."""

LINKS = (
    (Text("link_pages"), "/"),
    (Text("link_past_page"), "/deals/sk-aws-ulsan?effective_on=2025-06-21"),
    (Text("link_deal"), "/v1/deals/sk-aws-ulsan"),
    (Text("link_past_deal"), "/v1/deals/sk-aws-ulsan?effective_on=2025-06-21"),
    (Text("link_history"), "/v1/deals/sk-aws-ulsan/events"),
    (Text("link_deals"), "/v1/deals"),
    (Text("link_documentation"), "/docs"),
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


@with_settings(time_zone="Asia/Seoul")
def demo(settings: Settings) -> None:
    """Start the service with the demo deals, and print links and an API key."""
    server.log_to_stderr()
    # Do not log each of the demo's own requests.
    logging.getLogger("registry.access").setLevel(logging.WARNING)
    try:
        listening = server.listen(settings.host, settings.port, next_free=True)
    except OSError as error:
        server.report_listen_error(settings, error)
        raise typer.Exit(1) from None
    port = listening.getsockname()[1]
    if settings.port not in (0, port):
        stderr.print(rendered(Text("port_in_use", port=settings.port, used=port)))
    with listening, server.database(settings) as ready:
        if settings.database_url is not None and settings.owner_url is not None:
            asyncio.run(server.migrate(settings))
        asyncio.run(server.check(ready))
        key = settings.admin_key or asyncio.run(_key(ready))

        async def load(url: str) -> None:
            await post_announcements(url, key)

        # A key that the operator supplies is a secret of other places too: only the demo's own is printed.
        server.run(ready, listening, load, lambda url: _links(url, None if settings.admin_key else key))


def announcements() -> Iterator[tuple[str, dict[str, Any]]]:
    """The demo's announcements, each with the path to which it is posted."""
    for file, kind in FILES.items():
        text = importlib.resources.files("registry.demo").joinpath(file).read_bytes()
        for line in text.splitlines():
            announcement = msgspec.json.decode(line)
            yield f"/v1/{kind}s/{announcement.pop(kind)}/events", announcement


async def post_announcements(url: str, key: str) -> None:
    """Post the demo's announcements; report a refused one and continue."""
    todo = list(announcements())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    headers = {"Authorization": f"Bearer {key}"}
    # The service runs on this machine: do not use a proxy from the environment.
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
        with Progress(*columns, console=stderr) as progress:
            for path, announcement in progress.track(todo, description=rendered(Text("recording_demo"))):
                answer = await client.post(path, json=announcement)
                if answer.is_error:
                    refused = Text(
                        "demo_refused", path=path, id=announcement["id"], status=answer.status_code, answer=answer.text
                    )
                    progress.print(rendered(refused), markup=False)


async def _key(settings: Settings) -> str:
    """The demo's API key: created on first use, stored in a file that only its owner can read."""
    assert settings.database_url is not None
    path = settings.data_dir / "demo.key"
    pool = await postgres.pool(settings.database_url, min_size=1, max_size=2, pooling=settings.pooling)
    async with pool:
        if path.exists():
            stored = path.read_text().strip()
            if await Principals(pool).find(stored):
                return stored
        async with Recorder(pool) as recorder:
            issued = await issue_key(recorder, pool, Rights(scopes=("admin",)), name="Demo", kind="system")
    _write(path, issued.secret)
    return issued.secret


def _write(path: Path, secret: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(secret + "\n")


def _links(url: str, key: str | None) -> None:
    rows = [(rendered(title), f"{url}{path}") for title, path in LINKS]
    if key is not None:
        rows.append((rendered(Text("api_key")), key))
    # Hangul takes two columns of a terminal.
    width = max(cell_len(title) for title, _ in rows)
    lines = [f"  {set_cell_size(title, width)}  {value}" for title, value in rows]
    typer.echo("\n".join(["", *lines, "", rendered(Text("stop_hint"))]))
