"""Questions that a mirror must answer with the same bytes as its origin (property 55)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.conftest import PATIENCE
from tests.service import NO_TLS, Service

AS_OF = ("effective_on=2025-10-29", "published_on=2025-06-30&effective_on=2025-12-31", "position=40")

LISTS = (
    "/v1/deals?limit=100&facets=true",
    "/v1/deals?q=hyundai&sort=-amount",
    "/v1/totals?currency=KRW&group_by=organization&explain=true",
    "/v1/totals?currency=USD&group_by=region,sector&estimates=exclude",
    "/v1/totals?certificate=true&region=KR",
    "/v1/organizations?limit=100",
    "/v1/organization-clusters",
    "/v1/compare?from.effective_on=2025-06-17&to.effective_on=2025-10-29",
    "/v1/rates?day=2025-10-29",
    "/v1/events?limit=1000",
    "/v1/events.atom",
    "/v1/feed.json",
    "/v1/export/deals.csv",
    "/v1/export/pledges.ndjson",
    "/v1/export/events.ndjson",
    "/v1/log/checkpoint",
    "/v1/log/heads",
    "/v1/log/keys",
    "/v1/log/checkpoints?limit=1000",
    "/v1/log/entries?limit=1000",
    "/v1/log/names",
    "/v1/log/rates",
    "/log/checkpoint",
)

OF_DEAL = ("", "/events", "/blame", "/timemap", "/compare?from.position=20&to.position=90")


async def questions(service: Service, every: int = 1) -> list[str]:
    """Every question, for `every`-th of the deals, events and organizations that lists of a registry show."""
    asked = list(LISTS)
    async with asking(service) as client:
        page = (await answer_of(client, "/v1/deals?limit=100")).json()
    deals = [deal["deal"] for deal in page["deals"]]
    for deal in deals[::every]:
        asked += [f"/v1/deals/{deal}{path}" for path in OF_DEAL]
        asked += [f"/v1/deals/{deal}?{as_of}" for as_of in AS_OF]
        asked += [f"/v1/deals/{deal}/events?{as_of}" for as_of in AS_OF]
        asked.append(f"/v1/deals/{deal}?certificate=true&effective_on=2025-12-31")
    asked += [f"/v1/deals?limit=100&facets=true&{as_of}" for as_of in AS_OF]
    asked += [f"/v1/totals?currency=KRW&group_by=stage&{as_of}" for as_of in AS_OF]
    size = await service.size()
    for position in sorted({1, 2, 3, size // 2, size - 1, size}):
        asked.append(f"/v1/log/proof/inclusion?position={position}")
        asked.append(f"/v1/log/proof/consistency?from={position}")
    events = (await service.visitor.get("/v1/events?limit=1000")).json()["events"]
    asked += [f"/v1/events/{event['id']}" for event in events[::every]]
    organizations = (await service.visitor.get("/v1/organizations?limit=100")).json()["organizations"]
    asked += [f"/v1/organizations/{one['organization']}/events" for one in organizations[:20:every]]
    asked += [f"/log/tile/entries/000.p/{size}"] if size < 256 else ["/log/tile/0/000", "/log/tile/entries/000"]
    return asked


def comparable(answer: httpx.Response) -> tuple[int, dict[str, str | None], bytes]:
    """What of an answer must be the same: all but the number of the request, which problems have."""
    kept = {name: answer.headers.get(name) for name in ("etag", "content-type", "link", "memento-datetime", "vary")}
    return answer.status_code, kept, re.sub(rb'"request_id":"\w+"', b"", answer.content)


@asynccontextmanager
async def asking(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client that names the same host to every service, because links in answers have it."""
    headers = {"Host": "registry.localhost"}
    async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=10 * PATIENCE, verify=NO_TLS) as client:
        yield client


async def answer_of(client: httpx.AsyncClient, path: str) -> httpx.Response:
    """The answer to a question, asked again while the service refuses it for now: it makes its copy of the facts."""
    while (answer := await client.get(path)).status_code == 503:  # noqa: ASYNC110 - the service has no event for it
        await asyncio.sleep(0.2)
    return answer


async def answers(service: Service, asked: list[str]) -> dict[str, tuple[int, dict[str, str | None], bytes]]:
    """The answers to questions."""
    async with asking(service) as client:
        return {path: comparable(await answer_of(client, path)) for path in asked}


def differences(expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """The questions with different answers, each with the place of the first difference."""
    return [f"{path}: {_first(expected[path], one)}" for path, one in actual.items() if expected[path] != one]


def _first(expected: Any, actual: Any) -> str:
    if expected[:2] != actual[:2]:
        return f"{expected[:2]} is not {actual[:2]}"
    at = next((n for n, (a, b) in enumerate(zip(expected[2], actual[2], strict=False)) if a != b), -1)
    return f"at byte {at}: {expected[2][at - 60 : at + 60]!r} is not {actual[2][at - 60 : at + 60]!r}"
