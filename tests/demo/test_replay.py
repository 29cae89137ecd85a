"""The demo on the recorded axis: what the registry showed on a date, and what was entered late."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
import pytest_asyncio

from registry.domain.calendar import Calendar
from registry.domain.principal import REGISTRY
from registry.events import store
from tests.databases import Server
from tests.demo.loader import DealLine, OrganizationLine, announcements, organizations
from tests.service import Service, cloned, running

SEOUL = Calendar("Asia/Seoul")
# What is recorded within this time of its publication is recorded on time; a weekend may lie between.
ON_TIME = timedelta(days=3)
ULSAN = "sk-aws-ulsan"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def registry(demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A registry with the demo."""
    async with cloned(demo_server, admin, "replayed") as settings, running(settings) as service:
        yield service


def lines() -> list[DealLine | OrganizationLine]:
    return [*organizations(), *announcements()]


def published(line: DealLine | OrganizationLine) -> list[date]:
    return [source.published_on for source in line.sources if source.published_on]


async def state(registry: Service, deal: str, day: str) -> dict[str, Any] | None:
    """What the registry showed at the end of a day in Seoul; None if it did not know the deal."""
    known = SEOUL.end_of(date.fromisoformat(day)).isoformat()
    answer = await registry.visitor.get(f"/v1/deals/{deal}", params={"recorded_at": known})
    if answer.status_code == 404:
        return None
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def amounts(registry: Service, deal: str, day: str) -> dict[str, tuple[str, str]] | None:
    """The pledges that the registry showed, with their amounts."""
    shown = await state(registry, deal, day)
    if shown is None:
        return None
    return {p["pledge"]: (p["amount"]["currency"], p["amount"]["value"]) for p in shown["pledges"]}


@pytest.mark.parametrize(
    ("deal", "day", "known"),
    [
        (ULSAN, "2025-06-15", None),
        (ULSAN, "2025-06-16", {"total": ("USD", "5100000000")}),
        (ULSAN, "2025-06-19", {"total": ("USD", "5100000000")}),
        (ULSAN, "2025-06-21", {"total": ("KRW", "7000000000000")}),
        # The article of Sunday the 22nd is recorded on Monday.
        (ULSAN, "2025-06-22", {"total": ("KRW", "7000000000000")}),
        (ULSAN, "2025-06-23", {"total": ("KRW", "7000000000000"), "aws-share": ("USD", "4000000000")}),
        # The programme of 2023 was recorded when Ulsan's addition to it became known.
        ("aws-korea-2027", "2025-06-21", None),
        ("aws-korea-2027", "2025-06-23", {"programme": ("KRW", "7850000000000")}),
        # One of its sources appeared only after the turn of the year.
        ("alibaba-gmarket", "2024-12-31", None),
        ("alibaba-gmarket", "2025-01-06", {}),
        ("alibaba-gmarket", "2025-10-29", {"ai-technology": ("KRW", "100000000000")}),
        ("microsoft-kt", "2024-10-09", {}),
        ("microsoft-kt", "2024-10-10", {"joint": ("KRW", "2400000000000")}),
        ("blackrock-asia-ai-hub", "2025-10-28", {}),
        ("blackrock-asia-ai-hub", "2025-10-29", {"hub": ("KRW", "20000000000000")}),
        ("seven-firms-korea-2030", "2025-10-29", None),
        ("seven-firms-korea-2030", "2025-10-30", {"total": ("USD", "9000000000")}),
        ("amkor-songdo", "2025-11-18", {"packaging": ("USD", "9000000000")}),
    ],
)
async def test_registry_shows_what_was_recorded_by_a_day(
    registry: Service, deal: str, day: str, known: dict[str, tuple[str, str]] | None
) -> None:
    assert await amounts(registry, deal, day) == known


async def test_list_contains_the_deals_that_were_recorded_by_a_day(registry: Service) -> None:
    found = {}
    for day in ("2024-12-31", "2025-06-21", "2025-06-23", "2025-10-29", "2025-10-30"):
        known = SEOUL.end_of(date.fromisoformat(day)).isoformat()
        answer = (await registry.visitor.get("/v1/deals", params={"recorded_at": known, "limit": 100})).json()
        found[day] = {deal["deal"] for deal in answer["deals"]}
    assert found["2024-12-31"] == {"microsoft-kt"}
    assert found["2025-06-21"] == {"microsoft-kt", "alibaba-gmarket", ULSAN}
    assert found["2025-06-23"] == found["2025-06-21"] | {"aws-korea-2027"}
    assert found["2025-10-30"] - found["2025-10-29"] == {"seven-firms-korea-2030"}
    assert len(found["2025-10-30"]) == 15


async def test_amkor_amount_is_doubted_from_the_day_the_joint_amount_was_recorded(registry: Service) -> None:
    flags = {}
    for day in ("2025-10-29", "2025-10-30"):
        known = SEOUL.end_of(date.fromisoformat(day)).isoformat()
        answer = (
            await registry.visitor.get("/v1/deals/amkor-songdo", params={"recorded_at": known, "expand": "incoming"})
        ).json()
        flags[day] = {flag["rule"] for flag in answer["remarks"]["flags"]}
    assert "member-not-below-aggregate" in flags["2025-10-30"] - flags["2025-10-29"]


async def test_earlier_programme_is_late_information_and_no_correction(registry: Service) -> None:
    parameters = {
        "from.recorded_at": SEOUL.end_of(date(2025, 6, 21)).isoformat(),
        "to.recorded_at": SEOUL.end_of(date(2025, 6, 24)).isoformat(),
        "from.effective_on": "2025-06-24",
        "to.effective_on": "2025-06-24",
    }
    answer = (await registry.visitor.get("/v1/compare", params=parameters)).json()
    (added,) = [change for change in answer["changes"] if change["deal"] == "aws-korea-2027"]
    assert (added["what"], added["kind"]) == ("appeared", "learned_late")
    compared = await registry.visitor.get("/v1/deals/aws-korea-2027/compare", params=parameters)
    assert {change["field"] for change in compared.json()["learned_late"]} >= {"/kind", "/pledges/programme/amount"}
    assert compared.json()["record"] == compared.json()["world"] == []
    corrections = await registry.visitor.get("/v1/events", params={"type": "event_corrected"})
    assert corrections.json()["events"] == []


async def test_recorded_at_never_decreases_and_the_administrator_comes_last(registry: Service) -> None:
    recorded = [stored.recorded for stored in await store.feed(registry.pool, 0, 1000)]
    instants = [event.recorded_at for event in recorded]
    assert instants == sorted(instants)
    assert [event.position for event in recorded] == list(range(1, len(recorded) + 1))
    assert {event.slug for event in recorded if event.recorded_by == REGISTRY} == {"replay", "admin"}
    assert recorded[-1].slug == "admin"
    assert recorded[-1].recorded_at.year >= 2026


async def test_log_of_the_demo_verifies_and_is_signed(registry: Service) -> None:
    checkpoint = await registry.visitor.get("/v1/log/checkpoint")
    assert checkpoint.status_code == 200
    assert int(checkpoint.text.splitlines()[1]) == await registry.size()


def test_announcement_is_recorded_in_seoul_not_before_any_of_its_sources() -> None:
    for line in lines():
        assert line.recorded_at.utcoffset() == datetime.now(ZoneInfo("Asia/Seoul")).utcoffset()
        assert all(day <= SEOUL.day_of(line.recorded_at) for day in published(line)), line


def test_files_are_in_the_order_of_recording() -> None:
    for file in (organizations(), announcements()):
        instants = [line.recorded_at for line in file]
        assert instants == sorted(instants)


def test_deal_that_was_recorded_late_is_explained_in_the_documentation() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "demo-deals.md").read_text(encoding="utf-8")
    late_section = page[page.index("## What was entered late") :]
    late = {
        line.deal
        for line in announcements()
        if published(line) and SEOUL.day_of(line.recorded_at) - min(published(line)) > ON_TIME
    }
    assert late == {"aws-korea-2027", "alibaba-gmarket"}
    assert all(f"`{deal}`" in late_section for deal in late)
