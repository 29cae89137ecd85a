"""How long each kind of request holds the event loop: `python -m bench.holds --folder DIR [--deals 10000]`.

A service with a watched loop (`bench/served.py`) holds the histories of some thousand deals, and one deal of 10,000
events, in a new copy of the log in DIR. It gets every route that answers GET, variants of these that cost more, and the
costliest bodies. Each request is sent alone, so that what is found since the last report is its own; those whose first
answer costs more, as the first request of a new process. Writes a line a request: ms of the longest hold, of its waits
for a processor and for the interpreter, and of the longest work of the loop's thread, the most of three tries, with the
processor time of the process, the statuses, and what the loop's thread ran.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
from litestar.routes import HTTPRoute
from msgspec import Struct
from msgspec.structs import replace

from bench import service, workload
from bench.context import Bench
from bench.prepared import prepared_log
from bench.service import BenchDatabase, Hold, Process
from bench.sizes import QUICK
from registry.app import create_app
from registry.domain.sources.identity import source_id
from registry.infra.embedded.server import Embedded
from registry.infra.settings import Settings

MAX_BODY = 8 * 2**20
TRIES = 3

BIG = "one-big-deal"
BIG_EVENTS = 10_000
SOURCE = {"publisher": "Publisher", "url": "https://publisher.example/1", "published_on": "2024-01-01"}
ADMIN = "reg_bench_holds_admin_key_0123456789"

KINDS = ["cold", "routes", "questions", "bodies"]

ENDLESS = {"/v1/events/stream"}
"""Routes whose answers have no end."""

COLD = (
    f"/v1/deals/{BIG}",
    f"/v1/deals/{BIG}/events",
    f"/v1/deals/{BIG}/compare?from.effective_on=2012-01-01",
    f"/v1/deals/{BIG}?certificate=true",
    f"/deals/{BIG}",
    f"/deals/{BIG}/blame",
    "/",
    "/v1/totals?group_by=organization&explain=true",
    "/v1/search?q=plant",
    "/organizations",
    "/docs",
)
"""Requests that a new process gets first."""


class Sent(Struct, frozen=True):
    """A request: its title, method and path, and its body."""

    title: str
    method: str
    path: str
    body: bytes = b""
    media_type: str = "application/json"


def pledges(count: int, first: int = 0, note: str = "") -> list[dict[str, Any]]:
    """Announcements of one deal."""
    return [
        {
            "effective_on": f"20{10 + n % 14:02}-0{1 + n % 9}-01",
            "sources": [SOURCE],
            **({"note": note} if note else {}),
            "event": {
                "type": "pledge_announced",
                "pledge": f"p-{n}",
                "amount": {"value": str(n + 1), "currency": "USD"},
                "commitment": "pledge",
                "by": [f"organization-{n % 50}"],
            },
        }
        for n in range(first, first + count)
    ]


def filled(make: Any, size: int = MAX_BODY) -> bytes:
    """The longest list of announcements below a size."""
    sample = len(json.dumps(make(100))) / 100
    body = json.dumps(make(int(size / sample * 0.97))).encode()
    assert size * 0.8 < len(body) <= size, len(body)
    return body


def routes(known: dict[str, str]) -> Iterator[Sent]:
    """One request for each route that answers GET, with the deal of many events where it asks for a deal."""
    app = create_app(Settings.read({"REGISTRY_DATA_DIR": "unused"}))
    for route in app.routes:
        if isinstance(route, HTTPRoute) and "GET" in route.methods and route.path not in ENDLESS:
            plain = re.sub(r":\w+}", "}", route.path)
            path = known[plain] if plain in known else plain.format_map(known)
            yield Sent(f"GET {path}", "GET", path)


BETWEEN = "from.effective_on=2012-01-01&to.effective_on=2024-01-01"


def questions(deal: str) -> Iterator[Sent]:
    """Requests that cost more than the plain ones of their route."""
    for path in (
        "/v1/deals?facets=true&limit=200",
        "/v1/deals?facets=true&limit=200&recorded_at=2026-11-01T00:00:00Z&effective_on=2024-06-01",
        "/v1/deals?q=plant&sort=relevance&limit=200",
        "/v1/deals?min_usd=1&max_usd=100000000000&sort=-amount&limit=200",
        "/v1/deals?certificate=true",
        "/v1/totals?certificate=true",
        "/v1/search?q=" + "plant%20" * 20,
        "/v1/totals?group_by=organization&explain=true",
        "/v1/totals?group_by=region&currency=KRW",
        "/v1/compare?from.effective_on=2020-06-01&to.effective_on=2024-06-01",
        "/v1/events?limit=1000",
        "/v1/events?limit=1000&order=desc&deal=" + BIG,
        "/v1/events.atom?limit=200",
        "/v1/feed.json?limit=200",
        "/v1/organizations?limit=200",
        "/v1/organizations?limit=200&sort=-deals",
        "/v1/log/entries?limit=1000",
        f"/v1/deals/{deal}?certificate=true",
        f"/v1/deals/{deal}/events",
        f"/v1/deals/{deal}/blame",
        f"/v1/deals/{BIG}?certificate=true",
        f"/v1/deals/{BIG}?effective_on=2020-01-01",
        f"/v1/deals/{BIG}?recorded_at=2026-11-01T00:00:00Z",
        f"/v1/deals/{BIG}/events?limit=1000",
        f"/v1/deals/{BIG}/events?limit=1000&certificate=true",
        f"/v1/deals/{BIG}/blame?limit=1000",
        f"/v1/deals/{BIG}/compare?{BETWEEN}",
        f"/deals/{BIG}?effective_on=2020-01-01",
        f"/deals/{BIG}/compare?{BETWEEN}",
        f"/deals/{BIG}/compare.csv?{BETWEEN}",
        f"/charts/deals/{BIG}/timeline.svg?lang=ko",
        f"/log?deal={BIG}",
        "/?q=plant&sort=-amount",
        "/compare?from.effective_on=2020-06-01&to.effective_on=2024-06-01",
        "/totals?group_by=organization",
        "/log?page=50",
        "/search?q=plant",
        "/search/suggestions?q=syn",
        "/record/names/deal?q=syn",
    ):
        yield Sent(f"GET {path}", "GET", path)


def bodies(known: dict[str, str]) -> Iterator[Sent]:
    """The costliest bodies. Those that record something do so at each try."""
    post = f"/v1/deals/{BIG}/events"
    redaction = {"event": {"type": "event_redacted", "redacts": known["id"], "reason": "Measured."}}
    yield Sent("POST redaction, dry run", "POST", f"{post}?dry_run=true", json.dumps(redaction).encode())
    voided = {"event": {"type": "event_voided", "voids": known["id"], "reason": "Measured."}}
    yield Sent("POST void, dry run", "POST", f"{post}?dry_run=true", json.dumps(voided).encode())
    yield Sent("POST one event", "POST", f"{post}?dry_run=true", json.dumps(pledges(1, 90_000)).encode())
    own = time.time_ns()
    registered = {"event": {"type": "deal_registered", "title": {"en": "New"}}, "effective_on": "2010-01-01"}
    yield Sent(
        "POST 8 MiB, recorded",
        "POST",
        f"/v1/deals/recorded-{own}/events",
        filled(lambda n: [registered, *pledges(n - 1)]),
    )
    lines = b"\n".join(workload.lines(1_000, 100_000 + own % 10**6))
    yield Sent("POST import of 10,000 lines", "POST", "/v1/import", lines, "application/x-ndjson")
    lines = b"\n".join(workload.lines(1_000, 100_000 + own % 10**6 + 2_000))
    yield Sent("POST atomic import of 10,000 lines", "POST", "/v1/import?atomic=true", lines, "application/x-ndjson")
    yield Sent(
        "POST import of 10,000 lines of a deal",
        "POST",
        "/v1/import",
        b"\n".join(json.dumps({"deal": f"lines-{own}", **one}).encode() for one in [registered, *pledges(9_999)]),
        "application/x-ndjson",
    )
    yield Sent(
        "POST lookup",
        "POST",
        "/v1/import/lookup",
        json.dumps({"names": [f"Organization {n}" for n in range(1000)]}).encode(),
    )
    yield Sent("POST 8 MiB, dry run", "POST", f"{post}?dry_run=true", filled(lambda n: pledges(n, 100_000)))
    yield Sent(
        "POST 8 MiB of long notes", "POST", f"{post}?dry_run=true", filled(lambda n: pledges(n, 200_000, "x" * 3000))
    )
    yield Sent("POST 8 MiB, last one wrong", "POST", post, filled(lambda n: [*pledges(n - 1, 300_000), {"event": {}}]))
    yield Sent("POST 8 MiB, all wrong", "POST", post, filled(lambda n: [{"event": {"type": "unknown"}}] * n))
    yield Sent("POST 8 MiB of brackets", "POST", post, b"[" * MAX_BODY)
    yield Sent("POST 8 MiB of one text", "POST", post, b'{"note": "' + b"x" * (MAX_BODY - 100) + b'"}')
    yield Sent("POST 8 MiB of escapes", "POST", post, b'{"note": "' + b"\\u0041" * (MAX_BODY // 6 - 100) + b'"}')
    yield Sent("POST 8 MiB of repeated names", "POST", post, b"{" + b'"a":1,' * (MAX_BODY // 6 - 10) + b'"b":1}')
    yield Sent("POST 8 MiB of one number", "POST", post, b'{"effective_on": ' + b"9" * (MAX_BODY - 100) + b"}")
    proposal = {"deal": "proposed", "announcements": json.loads(filled(lambda n: pledges(n), MAX_BODY - 1000))}
    yield Sent("POST 8 MiB of proposals", "POST", "/v1/proposals", json.dumps(proposal).encode())
    imported = b"\n".join(workload.lines(600, 1_000_000))
    yield Sent("POST import of lines", "POST", "/v1/import?dry_run=true", imported, "application/x-ndjson")
    yield Sent("POST import of empty objects", "POST", "/v1/import", b"{}\n" * 500_000, "application/x-ndjson")
    text = "Corning (코닝) will invest $500 million in a plant in Asan by 2030. " * 2800
    yield Sent("POST extract of an article", "POST", "/v1/extract", json.dumps({"text": text}).encode())
    word = "A" * 199_000
    yield Sent("POST extract of one word", "POST", "/v1/extract", json.dumps({"text": word}).encode())
    names = "Aa " * 66_000
    yield Sent("POST extract of names", "POST", "/v1/extract", json.dumps({"text": names}).encode())
    digits = "1,234.5 " * 24_000
    yield Sent("POST extract of numbers", "POST", "/v1/extract", json.dumps({"text": digits}).encode())
    form = b"&".join(b"key%d=%s" % (n, b"%EA%B0%80" * 40) for n in range(590))
    yield Sent("POST form", "POST", "/sign-in", form, "application/x-www-form-urlencoded")


class Cost(Struct):
    """What requests cost.

    Attributes:
        title: The request.
        hold: The longest hold of the tries.
        processor: The most seconds of processor time of the process that a try took.
        seconds: How long each try took.
        statuses: Those of the answers.
    """

    title: str
    hold: Hold = Hold(0, 0, 0, 0, "")
    processor: float = 0
    seconds: list[float] = msgspec.field(default_factory=list)
    statuses: list[int] = msgspec.field(default_factory=list)

    def __str__(self) -> str:
        hold = self.hold
        times = "".join(f"{1000 * one:8.1f} " for one in (hold.held, hold.waited, hold.blocked, hold.worked))
        statuses = ",".join(str(status) for status in sorted(set(self.statuses)))
        return f"{times}{1000 * self.processor:9.0f}  {statuses:7}  {self.title[:100]}  {hold.place}"


Send = Callable[[], Awaitable[int]]
"""Sends a request, reads the answer to its end, and returns its status."""


async def measure(process: Process, title: str, send: Send, tries: int = TRIES, pause: float = 0) -> Cost:
    """Send a request some times, each after a pause; what the service does in the pause counts as well."""
    found = Cost(title)
    for _ in range(tries):
        await process.hold()
        await asyncio.sleep(pause)
        used, begin = process.processor_seconds, time.perf_counter()
        found.statuses.append(await send())
        found.seconds.append(time.perf_counter() - begin)
        found.processor = max(found.processor, process.processor_seconds - used)
        hold = await process.hold()
        worst = max(found.hold, hold, key=lambda one: one.worked)
        longest = max(found.hold, hold, key=lambda one: one.held)
        found.hold = replace(longest, worked=worst.worked, place=worst.place)
    return found


async def ask(client: httpx.AsyncClient, process: Process, sent: Sent, tries: int = TRIES) -> Cost:
    """Measure a request."""

    async def send() -> int:
        headers = {"Content-Type": sent.media_type}
        return (await client.request(sent.method, sent.path, content=sent.body, headers=headers)).status_code

    return await measure(process, sent.title, send, tries)


async def prepare(client: httpx.AsyncClient, events: int = BIG_EVENTS) -> dict[str, str]:
    """Record the deal of many events and a proposal, and return what the routes' names stand for."""
    big = f"/v1/deals/{BIG}/events"
    first = {"event": {"type": "deal_registered", "title": {"en": "One big deal"}}, "sources": [SOURCE]}
    answer = await client.post(big, json=[first | {"effective_on": "2010-01-01"}, *pledges(events)])
    answer.raise_for_status()
    event = (await client.get(f"{big}?limit=1")).json()["events"][0]["id"]
    lines = [dict(one, effective_on="2024-06-01") for one in pledges(events // 2, 20_000)]
    answer = await client.post("/v1/proposals", json={"deal": BIG, "announcements": lines})
    proposal = answer.raise_for_status().json()["proposal"]
    size = (await client.get("/v1/log/checkpoint")).text.split()[1]
    webhooks = (await client.get("/v1/webhooks")).json()["webhooks"]
    watches = (await client.get("/v1/watches")).json()["watches"]
    principals = (await client.get("/v1/principals")).json()["principals"]
    return {
        "deal": BIG,
        "organization": "organization-7",
        "principal": principals[0]["principal"],
        "proposal": proposal,
        "/proposals/{id}": f"/proposals/{proposal}",
        "/proposals/{id}/change": f"/proposals/{proposal}/change",
        "id": event,
        "source": source_id(SOURCE["url"]) or "",
        "webhook": webhooks[0]["webhook"] if webhooks else "none",
        "watch": watches[0]["watch"] if watches else "none",
        "purpose": "confirm",
        "number": "1",
        "kind": "organization",
        "name": "mapping.toml",
        "origin_hash": "0" * 64,
        "path": "openapi.json",
        "/log/tile/{tile}": "/log/tile/0/000",
        "/static/{file_path}": "/static/pages.js",
        "/docs/static/{file_path}": "/docs/static/swagger-ui/swagger-ui-bundle.js",
        "/v1/reconcile": "/v1/reconcile?queries=" + quote(json.dumps({f"q{n}": {"query": "plant"} for n in range(50)})),
        "/v1/reconcile/preview": "/v1/reconcile/preview?id=organization-7",
        "/v1/reconcile/suggest/entity": "/v1/reconcile/suggest/entity?prefix=org",
        "/v1/log/proof/consistency": f"/v1/log/proof/consistency?first=100&second={size}",
        "/v1/log/proof/inclusion": "/v1/log/proof/inclusion?position=100",
        "/v1/search": "/v1/search?q=deal",
        "/search/suggestions": "/search/suggestions?q=deal",
        "/v1/import/identifiers": "/v1/import/identifiers?scheme=tracker",
        "/record/done": "/record/done?first=1&last=1",
        "/record/amount": "/record/amount?amount=1",
    }


@asynccontextmanager
async def started(database: BenchDatabase) -> AsyncIterator[tuple[httpx.AsyncClient, Process]]:
    """A new process with a watched loop, which has its copies and indexes, and a client who has signed in."""
    async with service.registry(database, watched=True, REGISTRY_ADMIN_KEY=ADMIN) as process:
        headers = {"Authorization": f"Bearer {ADMIN}"}
        async with httpx.AsyncClient(base_url=process.url, timeout=300, headers=headers) as client:
            await client.post("/sign-in", data={"key": ADMIN})
            for path in ("/v1/deals?limit=1", "/v1/search?q=deal"):
                await service.answered(client, path)
            yield client, process


async def run(deals: int, folder: Path, only: str, kinds: list[str]) -> None:
    """Measure every request and print the longest holds first."""
    results: list[Cost] = []

    def found(result: Cost) -> None:
        results.append(result)
        print(result, file=sys.stderr, flush=True)

    with Embedded(folder / "server", settings={"fsync": "off"}) as server:
        log = await prepared_log(Bench(server, folder, QUICK), deals)
        shutil.rmtree(folder / "copy", ignore_errors=True)
        database = await service.kept_copy(server, log.database, "bench_holds", folder / "copy")
        async with started(database) as (client, _process):
            known = await prepare(client)
        for path in COLD if "cold" in kinds else ():
            if only in path:
                async with started(database) as (client, process):
                    found(await ask(client, process, Sent(f"cold GET {path}", "GET", path), 1))
        async with started(database) as (client, process):
            lists = {"routes": routes(known), "questions": questions(workload.slug(1)), "bodies": bodies(known)}
            for kind in (kind for kind in lists if kind in kinds):
                for sent in lists[kind]:
                    if only in sent.title:
                        found(await ask(client, process, sent))
    print(f"{'held':>8} {'waited':>8} {'blocked':>8} {'worked':>8} {'processor':>9}")
    for result in sorted(results, key=lambda one: -max(one.hold.held, one.hold.worked)):
        print(result)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deals", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, required=True, help="for the data, which is kept for the next run")
    parser.add_argument("--only", default="", help="only requests whose title contains this")
    parser.add_argument("kinds", nargs="*", default=KINDS, help=f"of {', '.join(KINDS)}; default: all")
    given = parser.parse_args()
    asyncio.run(run(given.deals, given.folder, given.only, given.kinds))


if __name__ == "__main__":
    main()
