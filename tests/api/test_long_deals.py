"""A deal of many events is answered in a thread: meanwhile the service answers others, and the answers are the same."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from registry.domain.audit.entries import audit_trail
from registry.infra import threads
from registry.queries import deals
from registry.web.deals import page as pages
from tests.api.announcements import pledged, registered, revised
from tests.conftest import PATIENCE
from tests.service import Service
from tests.transparency.conftest import post

ANSWERED_BY = {
    "": (deals, "assess"),
    "?effective_on=2025-07-20": (deals, "deal_response"),
    "/events": (deals, "audit_trail"),
    "/blame": (deals, "provenance_page"),
    "/compare?from.position=1": (deals, "compare_states"),
    "/timemap": (deals, "change_points"),
}
"""What computes the answer to each question."""


@pytest.fixture
async def long_deal(service: Service, slug: str) -> str:
    await post(service, slug, registered(), pledged(), *(revised(f"2025-07-{day:02}", "6") for day in range(1, 30)))
    return slug


@pytest.mark.parametrize("question", ANSWERED_BY)
async def test_service_answers_others_while_it_computes_a_long_deal(
    service: Service, long_deal: str, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name = ANSWERED_BY[question]
    others_are_answered, computed = threading.Event(), getattr(module, name)

    def wait(*args: Any, **kwargs: Any) -> Any:
        assert others_are_answered.wait(PATIENCE), "the event loop was held"
        return computed(*args, **kwargs)

    monkeypatch.setattr(threads, "LONG", 10)
    monkeypatch.setattr(module, name, wait)
    answer = asyncio.create_task(service.visitor.get(f"/v1/deals/{long_deal}{question}", timeout=2 * PATIENCE))
    assert (await service.visitor.get("/v1/deals?limit=1")).status_code == 200
    others_are_answered.set()
    assert (await answer).status_code == 200


async def test_page_of_a_long_deal_is_made_in_a_thread(
    service: Service, long_deal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[threading.Thread] = []
    original = pages._render_deal

    def spy(*args: Any, **kwargs: Any) -> Any:
        made.append(threading.current_thread())
        return original(*args, **kwargs)

    monkeypatch.setattr(threads, "LONG", 10)
    monkeypatch.setattr(pages, "_render_deal", spy)
    async with asyncio.timeout(PATIENCE):
        assert (await service.visitor.get(f"/deals/{long_deal}")).status_code == 200
    assert made
    assert threading.main_thread() not in made


async def test_answers_about_a_deal_do_not_depend_on_the_thread(
    service: Service, long_deal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = await service.size() - 5
    questions = (
        "?published_on=2026-01-01",
        f"?position={position}",
        "/events",
        "/blame",
        "/compare?from.position=1",
        "/timemap",
    )

    async def answers() -> list[bytes]:
        return [(await service.visitor.get(f"/v1/deals/{long_deal}{one}")).content for one in questions]

    at_once = await answers()
    monkeypatch.setattr(threads, "LONG", 10)
    assert await answers() == at_once


@pytest.mark.parametrize(("path", "items"), [("blame", "fields"), ("events", "events")])
@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_pages_of_a_deal_join_to_the_whole(
    service: Service, long_deal: str, path: str, items: str, limit: int
) -> None:
    url = f"/v1/deals/{long_deal}/{path}"
    whole = (await service.visitor.get(url)).json()
    joined: list[Any] = []
    pages = 0
    following: str | None = f"{url}?limit={limit}"
    while following is not None:
        answer = await service.visitor.get(following)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page[items]) <= limit
        joined += page[items]
        following = answer.links.get("next", {}).get("url")
        if path == "blame":
            assert (page["next"] is None) is (following is None)
        if not pages:
            # What is recorded meanwhile belongs to no later page of fields, and to the last page of the events.
            await post(service, long_deal, revised("2025-08-01", "9")) if path == "blame" else None
        pages += 1
    assert joined == whole[items]
    assert pages == max(1, -(-len(joined) // limit))


async def test_client_with_many_questions_leaves_a_thread_to_others(
    service: Service, long_deal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"{long_deal}-other"
    await post(service, other, registered(), pledged(), *(revised(f"2025-07-{day:02}", "6") for day in range(1, 30)))
    others_are_answered, computed, slugs = threading.Event(), audit_trail, []

    def wait(*args: Any, snapshot: Any, **kwargs: Any) -> Any:
        slugs.append(snapshot.record.slug)
        if snapshot.record.slug == long_deal:
            assert others_are_answered.wait(PATIENCE), "another client waited"
        return computed(*args, snapshot=snapshot, **kwargs)

    monkeypatch.setattr(threads, "LONG", 10)
    monkeypatch.setattr(deals, "audit_trail", wait)
    many = [
        asyncio.create_task(service.visitor.get(f"/v1/deals/{long_deal}/events?limit={n}", timeout=2 * PATIENCE))
        for n in range(1, 6)
    ]
    async with asyncio.timeout(PATIENCE):
        while not slugs:  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.01)
        # Of the same address, but with a key.
        assert (await service.client.get(f"/v1/deals/{other}/events?limit=1")).status_code == 200
    others_are_answered.set()
    assert {(await answer).status_code for answer in many} == {200}
