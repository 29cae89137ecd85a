"""Latency of pages and of the JSON answers with the same content, for one client and the demo's deals.

Where a page has the content of several answers, their latencies are added. No request is sent twice.
"""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import date, timedelta
from statistics import median
from urllib.parse import urlsplit

import httpx
from msgspec import Struct

from bench import service, workload
from bench.service import BenchDatabase
from registry.demo import lines

DEAL = "sk-aws-ulsan"
FIRST_DAY = date(2027, 1, 1)

# `{on}` is a different day in each request, after the last change of the demo's deals.
PAGES: dict[str, tuple[str, ...]] = {
    "portfolio": (
        "/?effective_on={on}",
        "/v1/deals?facets=true&limit=200&effective_on={on}",
        "/v1/totals?currency=USD&group_by=stage&effective_on={on}",
    ),
    "portfolio at another publication date": (
        "/?effective_on={on}&published_on={on}",
        "/v1/deals?facets=true&limit=200&effective_on={on}&published_on={on}",
        "/v1/totals?currency=USD&group_by=stage&effective_on={on}&published_on={on}",
    ),
    "totals": (
        "/totals?unit=USD&group_by=stage&effective_on={on}",
        "/v1/totals?currency=USD&group_by=stage&explain=true&effective_on={on}",
    ),
    "portfolio compared": (
        "/compare?from.effective_on=2025-06-16&to.effective_on={on}",
        "/v1/compare?from.effective_on=2025-06-16&to.effective_on={on}",
    ),
    "deal": (
        f"/deals/{DEAL}?effective_on={{on}}",
        f"/v1/deals/{DEAL}?expand=organizations,incoming&effective_on={{on}}",
        f"/v1/deals/{DEAL}/events?effective_on={{on}}",
    ),
    "blame": (f"/deals/{DEAL}/blame?effective_on={{on}}", f"/v1/deals/{DEAL}/blame?effective_on={{on}}"),
    "deal compared": (
        f"/deals/{DEAL}/compare?from.effective_on=2025-06-17&to.effective_on={{on}}",
        f"/v1/deals/{DEAL}/compare?from.effective_on=2025-06-17&to.effective_on={{on}}",
    ),
    "organization": (
        "/organizations/amazon-web-services?effective_on={on}",
        "/v1/organizations/amazon-web-services?effective_on={on}",
    ),
    "event": ("/events/{id}?effective_on={on}", "/v1/events/{id}", "/v1/log/proof/inclusion?position={position}"),
    "log": ("/log?effective_on={on}", "/v1/events?after={after}&limit=50", "/v1/log/checkpoint"),
}


class Cost(Struct, frozen=True):
    """Milliseconds of a page, and of the JSON answers with the same content."""

    page: float
    json: float


async def costs(database: BenchDatabase, requests_per_page: int, repetitions: int) -> dict[str, list[Cost]]:
    """The median latencies of each page, one cost per repetition."""
    costs_by_page: dict[str, list[Cost]] = {}
    key = await service.key(database)
    async with service.registry(database) as registry:
        facts = await _load_demo(registry.url, key)
        for repetition in range(repetitions):
            days = [FIRST_DAY + timedelta(days=repetition * requests_per_page + n) for n in range(requests_per_page)]
            for name, paths in PAGES.items():
                requests = [[workload.http("GET", path.format(on=on, **facts)) for path in paths] for on in days]
                page, *rest = await asyncio.to_thread(_medians, registry.url, requests)
                costs_by_page.setdefault(name, []).append(Cost(page, sum(rest)))
    return costs_by_page


def _medians(url: str, requests: list[list[bytes]]) -> list[float]:
    """Median milliseconds of each path. The paths take turns, so that other load on the machine affects all alike."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        took = [[_latency_ms(connection, request) for request in together] for together in requests]
    return [median(times) for times in zip(*took, strict=True)]


def _latency_ms(connection: socket.socket, request: bytes) -> float:
    start = time.perf_counter()
    connection.sendall(request)
    received = connection.recv(1 << 20)
    end = received.index(b"\r\n\r\n") + 4
    if not received.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(received[:end].decode())
    head = received[:end].lower()
    at = head.index(b"content-length: ") + 16
    missing = end + int(head[at : head.index(b"\r", at)]) - len(received)
    while missing > 0:
        missing -= len(connection.recv(1 << 20))
    return (time.perf_counter() - start) * 1000


async def _load_demo(url: str, key: str) -> dict[str, str]:
    """Post the demo's announcements; return the event and positions that the paths use."""
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        for line in lines():
            (await client.post(f"/v1/{line.kind}s/{line.slug}/events", json=line.announcement)).raise_for_status()
        events = (await client.get(f"/v1/deals/{DEAL}/events")).json()["events"]
        first, third = events[0], events[2]
        facts = {"id": third["id"], "position": str(third["position"]), "after": str(first["position"])}
        for path in {path for paths in PAGES.values() for path in paths}:
            (await client.get(path.format(on=FIRST_DAY, **facts))).raise_for_status()
        return facts
