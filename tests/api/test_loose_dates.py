"""Announcements with a loose date instead of an effective date (property 32)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.api.announcements import SOURCE, corrected, registered
from tests.service import Service
from tests.web.html import text_of


def loose(date: str, **more: Any) -> dict[str, Any]:
    """A pledge with a loose date."""
    amount = {"value": "5", "currency": "USD"}
    event = {"type": "pledge_announced", "pledge": "total", "amount": amount}
    return {"date": date, "sources": [SOURCE], "event": event, **more}


async def post(client: httpx.AsyncClient, slug: str, *announcements: Any) -> httpx.Response:
    return await client.post(f"/v1/deals/{slug}/events", json=list(announcements))


async def test_32_loose_date_folds_like_its_last_possible_day(service: Service, new_slug: Callable[[], str]) -> None:
    states = []
    for announcement in (loose("2021-35"), {**loose("2021"), "date": None, "effective_on": "2021-09-30"}):
        slug = new_slug()
        answer = await post(service.client, slug, registered(), announcement)
        assert answer.status_code == 201, answer.text
        state = (await service.client.get(f"/v1/deals/{slug}")).json()
        states.append(state["pledges"])
        before = await service.client.get(f"/v1/deals/{slug}", params={"effective_on": "2021-09-29"})
        assert before.status_code == 404 or before.json()["pledges"] == []
    assert states[0] == states[1]
    assert states[0][0]["announced_on"] == "2021-09-30"


async def test_loose_date_is_not_later_than_its_publication(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    answer = await post(service.client, slug, registered(), loose("2025"))
    event = answer.json()["events"][1]["id"]
    read = (await service.client.get(f"/v1/events/{event}")).json()
    assert (read["effective_on"], read["date"], read["effective_precision"]) == ("2025-06-16", "2025", "year")


async def test_what_was_read_back_is_a_replay(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    recorded = (await post(service.client, slug, registered(), loose("2021-05"))).json()
    read = (await service.client.get(f"/v1/events/{recorded['events'][1]['id']}")).json()
    kept = ("id", "date", "effective_on", "event", "note")
    again = {name: read[name] for name in kept} | {"sources": [SOURCE]}
    answer = await post(service.client, slug, again)
    assert (answer.status_code, answer.json()["version"]) == (200, 2)


@pytest.mark.parametrize(
    ("announcement", "pointer", "code"),
    [
        (loose("2025-07/.."), "/0/date", "date_without_end"),
        (loose("2021-Q3"), "/0/date", "format_edtf"),
        (loose("2021-99"), "/0/date", "edtf"),
        (loose("2021", effective_on="2021-06-30"), "/0/effective_on", "date_disagrees"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_wrong_loose_date_is_refused(
    service: Service, new_slug: Callable[[], str], announcement: Any, pointer: str, code: str
) -> None:
    answer = await post(service.client, new_slug(), announcement)
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]


async def test_correction_replaces_a_loose_date(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    recorded = (await post(service.client, slug, registered(), loose("2021"))).json()
    event = recorded["events"][1]["id"]

    async def reads() -> tuple[Any, Any]:
        read = (await service.client.get(f"/v1/events/{event}")).json()["reads"]
        return read["effective_on"], read["date"]

    assert await reads() == ("2021-12-31", "2021")
    assert (await post(service.client, slug, corrected(event, date="2020-05"))).status_code == 201
    assert await reads() == ("2020-05-31", "2020-05")
    assert (await post(service.client, slug, corrected(event, effective_on="2020-05-02"))).status_code == 201
    assert await reads() == ("2020-05-02", None)
    refused = await post(service.client, slug, corrected(event, date="2020", effective_on="2020-05-02"))
    assert refused.status_code == 422
    assert [error["code"] for error in refused.json()["errors"]] == ["date_disagrees"]


async def test_pages_show_the_loose_date(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    await post(service.client, slug, registered(), loose("2021-35"))
    assert "Q3 2021" in text_of((await service.client.get(f"/deals/{slug}", params={"lang": "en"})).text)
    assert "2021년 3분기" in text_of((await service.client.get(f"/deals/{slug}", params={"lang": "ko"})).text)
