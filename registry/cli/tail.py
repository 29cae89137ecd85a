"""`registry tail`: print the last events of the log, and follow it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Generator
from typing import Annotated, Any

import httpx
import msgspec
import typer

from registry.cli.client import Url, answer, connection, get
from registry.cli.options import AsJson

# Seconds until a broken stream is opened again, and without a byte until it counts as broken.
RECONNECT_SECONDS = 1.0
READ_TIMEOUT = 60.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tail)


def tail(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for new events and print them.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Number of last events to print.")] = 10,
    deal: Annotated[str | None, typer.Option(help="Only events of this deal.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="Only events of this type.")] = None,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Print the last events of the log, one per line."""
    filters = {name: value for name, value in (("deal", deal), ("type", event_type)) if value is not None}
    head = get(url, "/v1/deals", limit=1)["position"]
    after = max(0, head - lines)
    events = (
        follow_events(url, after, filters)
        if follow
        else get(url, "/v1/events", after=after, limit=1000, **filters)["events"]
    )
    for event in events:
        sys.stdout.write(_line(event, as_json or not sys.stdout.isatty()))
        sys.stdout.flush()


def _line(event: dict[str, Any], as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode(event).decode() + "\n"
    about = event.get("deal") or event.get("organization")
    return f"{event['position']:>8}  {event['recorded_at'][:19]}  {event['type']:<22}  {about}\n"


def follow_events(url: str, after: int, filters: dict[str, str]) -> Generator[dict[str, Any], None, None]:
    """All events after a position, without end. Reconnects after the last event when the connection breaks."""
    last = str(after)
    while True:
        with contextlib.suppress(httpx.TransportError), connection(url) as service:
            stream = service.stream(
                "GET", "/v1/events/stream", params=filters, headers={"Last-Event-ID": last}, timeout=READ_TIMEOUT
            )
            with stream as response:
                if response.status_code != httpx.codes.SERVICE_UNAVAILABLE and not response.is_success:
                    response.read()
                    answer(response)
                for line in response.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "id":
                        last = value
                    elif name == "data":
                        yield msgspec.json.decode(value)
        time.sleep(RECONNECT_SECONDS)
