"""Benchmarks of one big deal: announcements in any date order, and reads of it, beside the same for small deals."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from statistics import median
from typing import Any, TypeAlias

import httpx

from bench import service, workload
from bench.context import Bench, midpoint
from bench.import_load import import_lines
from bench.report import Measurement

# Announcements of a small deal, without its registration.
FEW = 10

FIRST_DAY = date(1995, 1, 1)
DAYS = 10_000

Event: TypeAlias = Callable[[int], dict[str, Any]]


def _pledge(number: int) -> dict[str, Any]:
    return {
        "type": "pledge_announced",
        "pledge": f"pledge-{number}",
        "amount": {"value": str(1_000_000 + number), "currency": "USD"},
        "commitment": "pledge",
    }


def _revision(number: int) -> dict[str, Any]:
    return {
        "type": "pledge_revised",
        "pledge": "total",
        "amount": {"value": str(1_000_000 + number), "currency": "USD"},
    }


def _announcement(event: dict[str, Any], day: date, sourced: bool) -> dict[str, Any]:
    source = {"publisher": "Publisher", "published_on": day.isoformat(), "url": f"https://publisher.example/{day}"}
    return {"effective_on": day.isoformat(), "sources": [source] if sourced else [], "event": event}


def _days(order: str, count: int) -> list[date]:
    """Effective dates in the order of recording."""
    if order == "random":
        chosen = random.Random(count)
        return [FIRST_DAY + timedelta(days=chosen.randrange(DAYS)) for _ in range(count)]
    return [FIRST_DAY + timedelta(days=DAYS - number) for number in range(count)]


def _lines(name: str, days: list[date], per_deal: int, event: Event, sourced: bool) -> Iterator[bytes]:
    """Announcements as lines of an import, so many for each deal, in turn over a block of deals."""
    deals = [f"{name}-{number}" for number in range(-(-len(days) // per_deal))]
    for first in range(0, len(deals), workload.BLOCK):
        block = deals[first : first + workload.BLOCK]
        for deal in block:
            registered = {"type": "deal_registered", "title": {"en": deal}}
            yield workload.encode({"deal": deal, **_announcement(registered, FIRST_DAY, sourced)})
            announced = {**_pledge(0), "pledge": "total"}
            yield workload.encode({"deal": deal, **_announcement(announced, FIRST_DAY - timedelta(1), sourced)})
        for number in range(per_deal):
            for offset, deal in enumerate(block):
                index = (first + offset) * per_deal + number
                if index < len(days):
                    yield workload.encode({"deal": deal, **_announcement(event(index), days[index], sourced)})


async def one_deal(bench: Bench) -> list[Measurement]:
    """Imports of many announcements of one deal and of the same over new deals; posts to it and reads of it."""
    count = bench.sizes.long_deal
    shapes: list[tuple[str, Event, str, bool]] = [
        ("announcements of pledges in random date order", _pledge, "random", True),
        ("revisions of one pledge in random date order", _revision, "random", True),
        ("the same, published when they are recorded", _revision, "random", False),
        ("revisions of one pledge in descending date order", _revision, "descending", True),
        ("the same, published when they are recorded", _revision, "descending", False),
    ]
    rows: list[Measurement] = []
    async with service.database(bench.server) as database, service.registry(database) as registry:
        key = await service.key(database)
        for number, (title, event, order, sourced) in enumerate(shapes):
            one, spread = [], []
            for repetition in range(bench.sizes.repetitions):
                days, name = _days(order, count), f"shape-{number}-{repetition}"
                one.append(await import_lines(registry, key, _lines(f"one-{name}", days, count, event, sourced)))
                spread.append(await import_lines(registry, key, _lines(f"few-{name}", days, FEW, event, sourced)))
            rows.append(
                Measurement(
                    measure=f"import of {count:,} {title}, of one deal ÷ spread over new deals of {FEW}",
                    ratios=[a.rate / b.rate for a, b in zip(one, spread, strict=True)],
                    must=0.5,
                    aim=0.8,
                    figures=f"{midpoint([a.rate for a in one])}/s ÷ {midpoint([b.rate for b in spread])}/s",
                )
            )
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=registry.url, headers=headers, timeout=120) as client:
            rows += await _posts_and_reads(client, bench, "one-shape-0-0-0", "few-shape-0-0-0", _pledge)
            rows += await _posts_and_reads(client, bench, "one-shape-1-0-0", "few-shape-1-0-0", _revision)
    return rows


async def _posts_and_reads(
    client: httpx.AsyncClient, bench: Bench, big: str, small: str, event: Event
) -> list[Measurement]:
    """Backdated posts to a big and to a small deal in turn, and after each the first and the second of each read."""
    what = event(0)["type"]
    paths = {
        "state": "/v1/deals/{}",
        "page": "/deals/{}",
        "audit, a page of 50": "/v1/deals/{}/events?limit=50",
        "provenance, a page of 50": "/v1/deals/{}/blame?limit=50",
    }
    posts: dict[str, list[float]] = {big: [], small: []}
    reads: dict[tuple[str, str, bool], list[float]] = {}
    for number in range(5 * bench.sizes.repetitions):
        for deal in (big, small):
            body = _announcement(event(1_000_000 + number), FIRST_DAY + timedelta(days=number * 37), sourced=True)
            posts[deal].append(await _milliseconds(client, "POST", f"/v1/deals/{deal}/events", body))
            for name, path in paths.items():
                for is_first in (True, False):
                    took = await _milliseconds(client, "GET", path.format(deal))
                    reads.setdefault((name, deal, is_first), []).append(took)
    rows = [_ratio(f"a backdated post ({what}) to the big deal ÷ to one of {FEW}", posts[big], posts[small], 3, 1.5)]
    for name in paths:
        for is_first in (True, False):
            title = (
                f"{name} of the big deal ({what}), {'first after a write' if is_first else 'again'} ÷ of one of {FEW}"
            )
            rows.append(_ratio(title, reads[name, big, is_first], reads[name, small, is_first], 20, 5))
    return rows


def _ratio(measure: str, ours: list[float], theirs: list[float], must: float, aim: float) -> Measurement:
    return Measurement(
        measure=measure,
        ratios=[median(ours) / median(theirs)],
        must=must,
        aim=aim,
        more=False,
        figures=f"{midpoint(ours)} ms ÷ {midpoint(theirs)} ms",
    )


async def _milliseconds(client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None = None) -> float:
    start = time.perf_counter()
    answer = await client.request(method, path, json=body)
    took = (time.perf_counter() - start) * 1000
    if answer.status_code >= 400:
        raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
    return took
