"""`registry export` and `registry tail`: what the service holds as a file, and the log as it grows, over HTTP."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec
import typer

from registry.cli.client import Url, answer, client, connection, get
from registry.cli.options import AsJson, stderr
from registry.cli.query import EffectiveOn, Position, PublishedOn, RecordedAt

# Seconds until a feed that broke is asked for again, and without a sign of life until it counts as broken.
RECONNECT_SECONDS = 1.0
READ_TIMEOUT = 60.0

TEXTS = ("csv", "ndjson")

WHAT = "deals, pledges or events; as csv, ndjson, xlsx or parquet."


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(export)
    app.command()(tail)


def export(
    what: Annotated[str, typer.Argument(metavar="WHAT.FORM", help=WHAT)],
    to: Annotated[str | None, typer.Option("--to", "-o", help="The file to write; standard output without.")] = None,
    effective_on: EffectiveOn = None,
    published_on: PublishedOn = None,
    recorded_at: RecordedAt = None,
    position: Position = None,
    organization: Annotated[str | None, typer.Option(help="Only what this organization has a part in.")] = None,
    deal: Annotated[str | None, typer.Option(help="Of events, only this deal's.")] = None,
    url: Url = "",
) -> None:
    """Writes deals or pledges, at any point in time, or the log to a file."""
    if to is None and sys.stdout.isatty() and what.rpartition(".")[2] not in TEXTS:
        stderr.print(f"registry: a terminal cannot show {what}: name a file with --to", markup=False)
        raise typer.Exit(2)
    given = {
        "effective_on": effective_on,
        "published_on": published_on,
        "recorded_at": recorded_at,
        "position": position,
        "organization": organization,
        "deal": deal,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    with client(url) as service, service.stream("GET", f"/v1/export/{what}", params=asked) as told:
        if not told.is_success:
            told.read()
            answer(told)
        with contextlib.nullcontext(sys.stdout.buffer) if to is None else Path(to).open("wb") as file:
            for piece in told.iter_bytes():
                file.write(piece)


def tail(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is recorded from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last events.")] = 10,
    deal: Annotated[str | None, typer.Option(help="Only this deal's.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="Only events of this type.")] = None,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Shows the end of the log, an event a line."""
    wanted = {name: value for name, value in (("deal", deal), ("type", event_type)) if value is not None}
    head = get(url, "/v1/deals", limit=1)["position"]
    after = max(0, head - lines)
    events = (
        _feed(url, after, wanted) if follow else get(url, "/v1/events", after=after, limit=1000, **wanted)["events"]
    )
    for event in events:
        sys.stdout.write(_line(event, as_json or not sys.stdout.isatty()))
        sys.stdout.flush()


def _line(event: dict[str, Any], as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode(event).decode() + "\n"
    about = event.get("deal") or event.get("organization")
    return f"{event['position']:>8}  {event['recorded_at'][:19]}  {event['type']:<22}  {about}\n"


def _feed(url: str, after: int, wanted: dict[str, str]) -> Generator[dict[str, Any], None, None]:
    """Every event behind a position, for ever; a line that breaks is taken up where it broke."""
    last = str(after)
    while True:
        with contextlib.suppress(httpx.TransportError), connection(url) as service:
            asked = service.stream(
                "GET", "/v1/events/stream", params=wanted, headers={"Last-Event-ID": last}, timeout=READ_TIMEOUT
            )
            with asked as told:
                if told.status_code != httpx.codes.SERVICE_UNAVAILABLE and not told.is_success:
                    told.read()
                    answer(told)
                for line in told.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "id":
                        last = value
                    elif name == "data":
                        yield msgspec.json.decode(value)
        time.sleep(RECONNECT_SECONDS)
