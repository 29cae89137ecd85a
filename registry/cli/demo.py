"""`registry demo`: the service with the demo deals, in one command.

The first start replays the demo into the empty log (`append/replay.py`). A later start finds it there.
"""

from __future__ import annotations

import asyncio
import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.cells import cell_len, set_cell_size

from registry.append.clock import ClockGuard
from registry.append.principals import issue_key
from registry.append.recorder import Recorder
from registry.append.replay import ReplayedAnnouncement, replay
from registry.cli import server
from registry.cli.options import stderr, with_settings
from registry.cli.texts import Text, rendered
from registry.demo import DemoLine, lines
from registry.domain.calendar import Calendar
from registry.domain.principal import Rights
from registry.events import intake
from registry.infra import postgres, sockets
from registry.infra.postgres import Pool
from registry.infra.settings import Settings
from registry.queries.log import begins_with_replay
from registry.queries.principals import Principals

REPLAYER_NAME = "Demo (replayed)"
"""The display name of the principal that recorded the demo's events."""

LINKS = (
    (Text("link_pages"), "/"),
    (Text("link_past_page"), "/deals/sk-aws-ulsan?effective_on=2025-06-21"),
    (Text("link_deal"), "/v1/deals/sk-aws-ulsan"),
    (Text("link_past_deal"), "/v1/deals/sk-aws-ulsan?recorded_at=2025-06-21T14:59:59Z"),
    (Text("link_history"), "/v1/deals/sk-aws-ulsan/events"),
    (Text("link_deals"), "/v1/deals"),
    (Text("link_documentation"), "/docs"),
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


@with_settings(time_zone="Asia/Seoul", scope="region=KR")
def demo(settings: Settings) -> None:
    """Start the service with the demo deals, and print links and an API key."""
    server.log_to_stderr()
    # Do not log each of the demo's own requests.
    logging.getLogger("registry.access").setLevel(logging.WARNING)
    try:
        bound = sockets.bind(settings.host, settings.port, next_free=True)
    except OSError as error:
        server.report_listen_error(settings, error)
        raise typer.Exit(1) from None
    port = bound.getsockname()[1]
    if settings.port not in (0, port):
        stderr.print(rendered(Text("port_in_use", port=settings.port, used=port)))
    with bound, server.database(settings) as ready:
        if settings.database_url is not None and settings.owner_url is not None:
            asyncio.run(server.migrate(settings))
        asyncio.run(server.check(ready))
        asyncio.run(_load(ready))
        key = None if settings.admin_key else asyncio.run(_key(ready))
        # A key that the operator supplies is a secret of other places too: only the demo's own is printed.
        server.run(ready, bound, after_ready=lambda url: _links(url, key))


async def load(pool: Pool, settings: Settings) -> bool:
    """Replay the demo into the log, if it is empty; return whether it was."""
    guard = ClockGuard(timedelta(seconds=settings.clock_tolerance))
    announcements = [_decoded(line) for line in lines()]
    return await replay(pool, announcements, REPLAYER_NAME, calendar=Calendar(settings.time_zone), clock_guard=guard)


def _decoded(line: DemoLine) -> ReplayedAnnouncement:
    decoder: Any = intake.announcements if line.kind == "deal" else intake.organization_announcements
    announcement = decoder.decode_one(msgspec.json.encode(line.announcement))
    return ReplayedAnnouncement(line.kind, line.slug, line.recorded_at, announcement)


async def _load(settings: Settings) -> None:
    """Load the demo, or say why it is not loaded."""
    assert settings.database_url is not None
    async with await postgres.pool(settings.database_url, min_size=1, max_size=1, pooling=settings.pooling) as pool:
        if not await load(pool, settings) and not await begins_with_replay(pool):
            stderr.print(rendered(Text("demo_not_loaded")))


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
