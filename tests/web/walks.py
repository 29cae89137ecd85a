"""Asks a service for pages and for the API's answers to the same questions, at a point in time and in a language."""

from __future__ import annotations

import asyncio
from datetime import date
from html import unescape
from typing import Any

import httpx

from registry.errors import ErrorMessage
from registry.events.types import Recorded
from registry.http.deadline import ANONYMOUS_SECONDS
from registry.i18n import LANGUAGES, render
from tests.service import ADMIN_KEY, NO_TLS, Service
from tests.web.walker import figures_of

ATTEMPTS = 6
"""How often a reader asks a service that is busy."""
BUSY = [render(ErrorMessage("query_too_long", seconds=f"{ANONYMOUS_SECONDS:g}"), language) for language in LANGUAGES]


class Reader(httpx.AsyncClient):
    """Asks again where the service is busy, and with a key where a question takes longer than a reader without one has.

    On a busy machine every question takes long. What is refused each time is returned.
    """

    async def get(self, *asked: Any, **how: Any) -> httpx.Response:
        """A page or an answer."""
        answer = await super().get(*asked, **how)
        for _ in range(1, ATTEMPTS):
            if answer.status_code == 400 and any(text in unescape(answer.text) for text in BUSY):
                how["headers"] = {"Authorization": f"Bearer {ADMIN_KEY}"}
            elif answer.status_code != 503:
                break
            await asyncio.sleep(float(answer.headers.get("Retry-After", 1)))
            answer = await super().get(*asked, **how)
        return answer


class Answers:
    """What the API answered at one point: the deals, their order by each sort, and other answers by question."""

    def __init__(self) -> None:
        self.deals: dict[str, Any] = {}
        self.orders: dict[tuple[tuple[str, str], ...], list[str]] = {}
        self.others: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {}
        self.figures: dict[str, frozenset[str]] = {}
        """The amounts of all deals as pages write them, by language."""


class Walk:
    """Pages and answers of a service at a point in time, in one language."""

    def __init__(
        self, service: Service, point: dict[str, str], language: str, known: dict[str, Answers] | None = None
    ) -> None:
        # Not the service's own client, which checks every response against the OpenAPI document: pages are not in it.
        self.client = Reader(base_url=service.url, timeout=120, verify=NO_TLS)
        self.service = service
        self.point = point
        self.language = language
        self.known_points = {} if known is None else known
        self.known = self.known_points.setdefault(str(sorted(point.items())), Answers())

    async def __aenter__(self) -> Walk:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.aclose()

    async def page(self, path: str, **query: str) -> str | None:
        """A page; None where it does not exist at the point."""
        answer = await self.client.get(path, params={**self.point, **query, "lang": self.language})
        assert answer.status_code in (200, 404), answer.text
        return answer.text if answer.status_code == 200 else None

    async def answer(self, path: str, **query: str) -> Any:
        """The API's answer to the same question."""
        asked = path, tuple(sorted(query.items()))
        if asked not in self.known.others:
            answer = await self.client.get(path, params={**self.point, **query})
            assert answer.status_code == 200, answer.text
            self.known.others[asked] = answer.json()
        return self.known.others[asked]

    async def latest_events(self) -> Any:
        """The events that the overview lists as the latest: recorded by the point, and by a past day that it asks."""
        positions = [(await self.answer("/v1/totals", lines="0"))["position"]]
        for day in (self.point[name] for name in ("effective_on", "published_on") if name in self.point):
            query = {"lines": "0", "recorded_at": f"{day}T23:59:59.999999Z"}
            positions.append((await self.client.get("/v1/totals", params=query)).json()["position"])
        position = min(positions)
        query = {"after": str(max(0, position - 40)), "limit": "40"}
        events = (await self.client.get("/v1/events", params=query)).json()["events"]
        return [event for event in events if event["position"] <= position]

    async def list(self, sort: str, **query: str) -> list[Any]:
        asked = tuple(sorted({"sort": sort, **query}.items()))
        order: list[str] = []
        cursor: dict[str, str] = {}
        while asked not in self.known.orders:
            params = {**self.point, "sort": sort, "limit": "1000", **query, **cursor}
            answer = (await self.client.get("/v1/deals", params=params)).raise_for_status().json()
            for deal in answer["deals"]:
                assert self.known.deals.setdefault(deal["deal"], deal) == deal
                order.append(deal["deal"])
            if answer["next"] is None:
                self.known.orders[asked] = order
            cursor = {"cursor": answer["next"]}
        return [self.known.deals[slug] for slug in self.known.orders[asked]]

    async def figures(self) -> frozenset[str]:
        """The amounts of all deals as the pages write them."""
        if self.language not in self.known.figures:
            self.known.figures[self.language] = frozenset(figures_of(self.language, await self.list("deal")))
        return self.known.figures[self.language]


async def model_point(walk: Walk, service: Service) -> dict[str, Any]:
    """The point as the independent model takes it: a log that is fixed gives its position and its day."""
    point: dict[str, Any] = {"effective": service.app.state.services.calendar.today()}
    if "published_on" in walk.point:
        point["published"] = date.fromisoformat(walk.point["published_on"])
    else:
        answer = await walk.answer("/v1/totals", lines="0")
        point = {"effective": date.fromisoformat(answer["effective_on"]), "position": answer["position"]}
    if "effective_on" in walk.point:
        point["effective"] = date.fromisoformat(walk.point["effective_on"])
    return point


async def history_of(service: Service, slug: str) -> tuple[Recorded, ...]:
    """The events of a deal, read once."""
    histories: dict[str, tuple[Recorded, ...]] = _HISTORIES.setdefault(service.url, {})
    if slug not in histories:
        stream, _ = await service.app.state.services.streams.load(f"deal/{slug}")
        histories[slug] = tuple(stream.events)
    return histories[slug]


_HISTORIES: dict[str, dict[str, tuple[Recorded, ...]]] = {}


async def compared(walk: Walk, points: dict[str, str]) -> dict[str, set[tuple[str, str]]]:
    """What a comparison of all deals says of each deal, with the kinds."""
    found: dict[str, set[tuple[str, str]]] = {}
    cursor: dict[str, str] = {}
    while True:
        answer = await walk.client.get("/v1/compare", params={**points, **cursor, "limit": "100"})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        for change in page["changes"]:
            found.setdefault(change["deal"], set()).add((change["what"], change["kind"]))
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}
