"""What a page costs beside the same as JSON: one client asks for both, about the demo's deals, and nothing twice.

"The same" is what the API answers to who wants all that a page tells: where it takes several answers, their sum.
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
from registry.cli.demo import announcements

DEAL = "sk-aws-ulsan"
FIRST_DAY = date(2027, 1, 1)

# `{on}` is another day in each question; by then nothing of the demo changes any more.
PAGES: dict[str, tuple[str, ...]] = {
    "portfolio": (
        "/?effective_on={on}",
        "/v1/deals?facets=true&limit=200&effective_on={on}",
        "/v1/totals?currency=USD&group_by=stage&effective_on={on}",
    ),
    "portfolio as published by another day": (
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
    """Milliseconds of a page, and of the answers that say the same."""

    page: float
    answers: float


async def costs(database: BenchDatabase, questions: int, repetitions: int) -> dict[str, list[Cost]]:
    """Every kind of page in every repetition: medians of so many questions."""
    found: dict[str, list[Cost]] = {}
    key = await service.key(database)
    async with service.registry(database) as registry:
        facts = await _load_demo(registry.url, key)
        for repetition in range(repetitions):
            days = [FIRST_DAY + timedelta(days=repetition * questions + n) for n in range(questions)]
            for name, asked in PAGES.items():
                requests = [[workload.http("GET", path.format(on=on, **facts)) for path in asked] for on in days]
                page, *rest = await asyncio.to_thread(_medians, registry.url, requests)
                found.setdefault(name, []).append(Cost(page, sum(rest)))
    return found


def _medians(url: str, requests: list[list[bytes]]) -> list[float]:
    """Milliseconds, by turns: what else the machine does meets all alike."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        took = [[_took(connection, request) for request in together] for together in requests]
    return [median(times) for times in zip(*took, strict=True)]


def _took(connection: socket.socket, request: bytes) -> float:
    start = time.perf_counter()
    connection.sendall(request)
    got = connection.recv(1 << 20)
    end = got.index(b"\r\n\r\n") + 4
    if not got.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(got[:end].decode())
    head = got[:end].lower()
    at = head.index(b"content-length: ") + 16
    missing = end + int(head[at : head.index(b"\r", at)]) - len(got)
    while missing > 0:
        missing -= len(connection.recv(1 << 20))
    return (time.perf_counter() - start) * 1000


async def _load_demo(url: str, key: str) -> dict[str, str]:
    """Posts the demo's announcements; which event, position and end of the log the questions are about."""
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        for path, announcement in announcements():
            (await client.post(path, json=announcement)).raise_for_status()
        events = (await client.get(f"/v1/deals/{DEAL}/events")).json()["events"]
        first, third = events[0], events[2]
        facts = {"id": third["id"], "position": str(third["position"]), "after": str(first["position"])}
        for path in {path for asked in PAGES.values() for path in asked}:
            (await client.get(path.format(on=FIRST_DAY, **facts))).raise_for_status()
        return facts
