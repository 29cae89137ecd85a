"""Every route answers questions about random deals: whatever the rules admit can be read, drawn, exported and cited."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import httpx
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar.routes import HTTPRoute

from registry.i18n import LANGUAGES
from tests.conftest import PATIENCE, examples
from tests.domain.builders import LogBuilder
from tests.properties.strategies import DAYS, logs
from tests.service import NO_TLS, Service, numbers

ENDLESS = "/v1/events/stream"
DATES = (DAYS[0] - timedelta(days=1), DAYS[3], DAYS[-1])
POINTS = (
    {},
    *({clock: day.isoformat()} for clock in ("effective_on", "published_on") for day in DATES),
    {"position": "5"},
    {"axis": "recorded"},
)
QUERIES = {
    "/": ({"sort": "-since", "scope": "all"}, {"sort": "-amount", "unit": "KRW"}, {"unit": "stated"}),
    "/totals": ({"group_by": "stage"}, {"group_by": "year", "unit": "USD"}),
    "/v1/deals": ({"facets": "true", "sort": "-updated"},),
    "/v1/totals": ({"group_by": "organization", "currency": "USD"}, {"group_by": "metric"}),
    "/v1/deals/{deal}": ({"expand": "rates"},),
    "/search": ({"q": "deal"},),
    "/v1/search": ({"q": "deal"},),
}


def routes(service: Service) -> list[str]:
    """The routes that answer GET, with the names of their path parameters."""
    found = [route for route in service.app.routes if isinstance(route, HTTPRoute) and "GET" in route.methods]
    return [re.sub(r":\w+}", "}", route.path) for route in found if route.path != ENDLESS]


async def record(service: Service, log: LogBuilder, slug: str) -> list[str]:
    """Post a log's events to a deal and return their ids. Events refer to the posted ones instead of the log's."""
    posted = {"other-deal": f"other-{slug}"}
    for recorded in log.events:
        body = {"effective_on": recorded.effective_on, "sources": recorded.sources, "event": recorded.event}
        text = msgspec.json.encode({name: value for name, value in body.items() if value is not None}).decode()
        for written, meant in posted.items():
            text = text.replace(written, meant)
        answer = await service.client.post(
            f"/v1/deals/{slug}/events", content=text, headers={"Content-Type": "application/json"}
        )
        # Some events of the log are about deals or events that were not recorded.
        assert answer.status_code in (201, 404, 409, 422), answer.text
        if answer.status_code == 201:
            posted[str(recorded.id)] = answer.json()["events"][0]["id"]
    return [id for written, id in posted.items() if written != "other-deal"]


@settings(max_examples=examples(1), deadline=None, suppress_health_check=list(HealthCheck))
@given(log=logs(max_events=24, admitted=True, redactions=False), data=st.data())
async def test_every_route_answers_questions_about_random_deals(service: Service, log: Any, data: Any) -> None:
    slug = f"random-{next(numbers)}"
    ids = await record(service, log, slug)
    point, language = data.draw(st.sampled_from(POINTS)), data.draw(st.sampled_from(sorted(LANGUAGES)))
    known = {"deal": slug, "organization": "sk", "id": data.draw(st.sampled_from(ids)) if ids else "none"}
    # Not the service's client, which checks every answer against the OpenAPI document: pages are not in it.
    async with httpx.AsyncClient(
        base_url=service.url, headers=service.client.headers, timeout=PATIENCE, verify=NO_TLS
    ) as reader:
        await ask(service, reader, known, point, language)


async def ask(
    service: Service, reader: httpx.AsyncClient, known: dict[str, str], point: dict[str, str], language: str
) -> None:
    """Ask every route whose path parameters are known, at a point."""
    for route in routes(service):
        if not set(re.findall(r"{(\w+)}", route)) <= known.keys():
            continue
        for query in ({}, *QUERIES.get(route, ())):
            asked = {**query, **{f"from.{name}" if "compare" in route else name: day for name, day in point.items()}}
            if not route.startswith("/v1"):
                asked["lang"] = language
            client = service.client if route.startswith("/v1") else reader
            answer = await client.get(route.format(**known), params=asked)
            assert answer.status_code < 500, (route, asked, answer.text)
