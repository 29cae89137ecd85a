"""How long each kind of request holds the event loop: `python -m bench.holds [--deals 3000]`.

A service with a watched loop (`bench/served.py`) holds the histories of some thousand deals, and one deal of many
thousand events. Each request is sent alone, so that the longest hold since the last report is its own. Writes one line
a request: the longest hold in ms of three tries, and the statuses.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from bench import service, workload
from bench.context import Bench
from bench.prepared import prepared_log
from bench.service import Process
from bench.sizes import QUICK
from registry.infra.embedded.server import Embedded

MAX_BODY = 8 * 2**20
TRIES = 3

BIG = "one-big-deal"
SOURCE = {"publisher": "Publisher", "url": "https://publisher.example/1", "published_on": "2024-01-01"}


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


def requests(deal: str) -> Iterator[Sent]:
    """The requests that cost most of their kind."""
    for path in (
        "/v1/deals?facets=true&limit=200",
        "/v1/deals?q=plant&sort=relevance&limit=200",
        "/v1/search?q=" + "plant%20" * 20,
        "/v1/totals?group_by=organization&explain=true",
        "/v1/totals?group_by=region&currency=KRW",
        "/v1/compare?from.effective_on=2020-06-01&to.effective_on=2024-06-01",
        "/v1/events?limit=1000",
        "/v1/events.atom?limit=200",
        "/v1/organizations?limit=200",
        "/v1/export/deals.csv",
        "/v1/export/pledges.xlsx",
        "/v1/export/events.ndjson",
        f"/v1/deals/{deal}?certificate=true",
        f"/v1/deals/{deal}/events",
        f"/v1/deals/{deal}/blame",
        f"/v1/deals/{BIG}",
        f"/v1/deals/{BIG}?certificate=true",
        f"/v1/deals/{BIG}/events?limit=1000",
        f"/v1/deals/{BIG}/blame",
        f"/v1/deals/{BIG}/timemap",
        f"/v1/deals/{BIG}/compare?from.effective_on=2012-01-01&to.effective_on=2024-01-01",
        f"/deals/{BIG}",
        f"/deals/{BIG}/history",
        "/",
        "/compare?from.effective_on=2020-06-01&to.effective_on=2024-06-01",
        "/organizations",
        "/log",
        "/search?q=plant",
        "/openapi.json",
    ):
        yield Sent(f"GET {path}", "GET", path)
    post = f"/v1/deals/{BIG}/events"
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


async def measure(process: Process, sent: Sent, key: str) -> tuple[float, list[int]]:
    """The longest hold, in seconds, and the statuses."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": sent.media_type}
    statuses, longest = [], 0.0
    async with httpx.AsyncClient(base_url=process.url, timeout=300) as client:
        for _ in range(TRIES):
            await process.longest_hold()
            answer = await client.request(sent.method, sent.path, content=sent.body, headers=headers)
            statuses.append(answer.status_code)
            longest = max(longest, await process.longest_hold())
    return longest, statuses


async def run(deals: int, folder: Path, only: str) -> None:
    """Measure every request and print the longest holds first."""
    with Embedded(folder / "server", settings={"fsync": "off"}) as server:
        prepared = await prepared_log(Bench(server, folder, QUICK), deals)
        key = await service.key(prepared.database)
        async with service.registry(prepared.database, watched=True) as process:
            async with httpx.AsyncClient(base_url=process.url, timeout=300) as client:
                if (await client.get(f"/v1/deals/{BIG}")).status_code == 404:
                    first = {"event": {"type": "deal_registered", "title": {"en": "One big deal"}}, "sources": [SOURCE]}
                    body = [first | {"effective_on": "2010-01-01"}, *pledges(10_000)]
                    headers = {"Authorization": f"Bearer {key}"}
                    answer = await client.post(f"/v1/deals/{BIG}/events", json=body, headers=headers)
                    answer.raise_for_status()
            found = []
            for sent in requests(workload.slug(1)):
                if only in sent.title:
                    longest, statuses = await measure(process, sent, key)
                    found.append((longest, sent.title, statuses))
                    print(f"{longest * 1000:9.1f} ms  {sent.title[:90]}  {statuses}", file=sys.stderr, flush=True)
    for longest, title, statuses in sorted(found, reverse=True):
        print(f"{longest * 1000:9.1f} ms  {title[:90]}  {sorted(set(statuses))}")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deals", type=int, default=3_000)
    parser.add_argument("--folder", type=Path, required=True, help="for the data, which is kept for the next run")
    parser.add_argument("--only", default="", help="only requests whose title contains this")
    given = parser.parse_args()
    asyncio.run(run(given.deals, given.folder, given.only))


if __name__ == "__main__":
    main()
