"""What a page costs beside the same as JSON: one client asks for both, about the demo's deals, and nothing twice.

"The same" is what the API answers to who wants all that a page tells: where it takes several answers, their sum.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, timedelta

import httpx
from msgspec import Struct

from bench import plan, service
from bench.load import Load, Plan
from bench.service import Database, Process
from registry.cli.demo import announcements

DEAL = "sk-aws-ulsan"
FIRST_DAY = date(2027, 1, 1)
MOST_A_SECOND = 6_000

# `{on}` is another day in each question; by then nothing of the demo changes any more.
ASKED: dict[str, tuple[str, ...]] = {
    "portfolio": (
        "/?effective_on={on}",
        "/v1/deals?facets=true&limit=200&effective_on={on}",
        "/v1/totals?currency=USD&group_by=stage&effective_on={on}",
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


Loading = Callable[[Process, Plan, int], Awaitable[Load]]


async def costs(database: Database, load: Loading, seconds: float, repetitions: int) -> dict[str, list[Cost]]:
    """Every kind of page in every repetition."""
    found: dict[str, list[Cost]] = {}
    key = await service.key(database)
    async with service.registry(database) as registry:
        facts = await _told(registry.url, key)
        count = int(MOST_A_SECOND * max(1, seconds))
        for repetition in range(repetitions):
            for name, asked in ASKED.items():
                paths = []
                for path in asked:
                    days = (FIRST_DAY + timedelta(days=repetition * count + n) for n in range(count))
                    requests = Plan((plan.http("GET", path.format(on=on, **facts)) for on in days), repeat=False)
                    paths.append((await load(registry, requests, 1)).p50)
                found.setdefault(name, []).append(Cost(paths[0], sum(paths[1:])))
    return found


async def _told(url: str, key: str) -> dict[str, str]:
    """Posts the demo's announcements; which event, position and end of the log the questions are about."""
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        for path, announcement in announcements():
            (await client.post(path, json=announcement)).raise_for_status()
        events = (await client.get(f"/v1/deals/{DEAL}/events")).json()["events"]
        first, third = events[0], events[2]
        facts = {"id": third["id"], "position": str(third["position"]), "after": str(first["position"])}
        for path in {path for asked in ASKED.values() for path in asked}:
            (await client.get(path.format(on=FIRST_DAY, **facts))).raise_for_status()
        return facts
