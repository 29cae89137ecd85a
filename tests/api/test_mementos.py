"""Today in the registry's zone, questions that fix the log, the TimeMap, entity tags and mementos (RFC 7089)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec.structs import replace

from registry.domain.calendar import Calendar
from registry.queries import deals
from tests.api.announcements import announced, pledged, registered, revised
from tests.databases import Server
from tests.service import Service, cloned, running

AHEAD = datetime.now(UTC).date() + timedelta(days=400)
PARTY = {"organization": "builder", "name": {"en": "Builder"}, "role": "investor"}


@pytest.fixture
async def seoul(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A service in Seoul whose calendar a test may move; events are recorded at the real time."""
    async with (
        cloned(server, admin, "seoul") as settings,
        running(replace(settings, time_zone="Asia/Seoul")) as service,
    ):
        yield service


def calendar_of(service: Service) -> Calendar:
    calendar: Calendar = service.app.state.services.calendar
    return calendar


async def record(client: httpx.AsyncClient, slug: str, *announcements: dict[str, Any]) -> dict[str, Any]:
    """Record announcements one by one; returns the last answer."""
    body: dict[str, Any] = {}
    for announcement in announcements:
        answer = await client.post(f"/v1/deals/{slug}/events", json=announcement)
        assert answer.status_code == 201, answer.text
        body = answer.json()
    return body


async def get(client: httpx.AsyncClient, slug: str, headers: Any = None, **params: Any) -> httpx.Response:
    answer = await client.get(f"/v1/deals/{slug}", params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def amount(answer: httpx.Response) -> str | None:
    pledges = answer.json()["pledges"]
    return pledges[0]["amount"]["value"] if pledges else None


async def timemap(client: httpx.AsyncClient, slug: str) -> dict[str, Any]:
    answer = await client.get(f"/v1/deals/{slug}/timemap", headers={"Accept": "application/json"})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def at(*parts: int) -> Callable[[], datetime]:
    return lambda: datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


# --- today ------------------------------------------------------------------------------------------------------------


async def test_26_deal_posted_in_seoul_with_todays_date_is_there_at_once(seoul: Service) -> None:
    calendar_of(seoul).now = at(2030, 6, 15, 17, 44)  # 02:44 on 16 June in Seoul.
    posted = await record(seoul.client, "plant", registered(), pledged("2030-06-16", value="5"))
    assert "effective_later" not in posted
    assert "effective_later" not in posted["events"][0]
    state = await get(seoul.client, "plant")
    assert (amount(state), state.json()["effective_on"]) == ("5", "2030-06-16")
    calendar_of(seoul).now = at(2030, 6, 15, 14, 59, 59)
    assert amount(await get(seoul.client, "plant")) is None
    calendar_of(seoul).now = at(2030, 6, 15, 15)
    assert amount(await get(seoul.client, "plant")) == "5"


async def test_26_zone_changes_no_answer_that_names_its_day(seoul: Service) -> None:
    await record(seoul.client, "plant", registered(), pledged("2030-06-16", value="5"))
    calendar_of(seoul).now = at(2030, 6, 15, 17)
    before = await get(seoul.client, "plant", effective_on="2030-06-15")
    calendar_of(seoul).now = at(2030, 6, 20, 17)
    after = await get(seoul.client, "plant", effective_on="2030-06-15")
    assert (before.content, before.headers["etag"]) == (after.content, after.headers["etag"])


async def test_31_post_names_the_events_that_take_effect_after_today(client: httpx.AsyncClient, slug: str) -> None:
    today, later = datetime.now(UTC).date(), AHEAD + timedelta(days=1)
    announcements = [registered(), pledged(str(today), value="5"), revised(str(later), "9"), revised(str(AHEAD), "8")]
    answer = await client.post(f"/v1/deals/{slug}/events", json=announcements)
    body = answer.json()
    assert [event.get("effective_later") for event in body["events"]] == [None, None, str(later), str(AHEAD)]
    assert ["effective_later" in event for event in body["events"]] == [False, False, True, True]
    assert body["effective_later"] == str(AHEAD)
    assert answer.headers["etag"] == (await get(client, slug)).headers["etag"]


async def test_31_deal_that_takes_effect_later_is_404_with_a_link_to_that_day(
    client: httpx.AsyncClient, slug: str
) -> None:
    first = {**registered(), "effective_on": str(AHEAD)}
    posted = await record(client, slug, first, pledged(str(AHEAD + timedelta(days=5))))
    for params in (
        {},
        {"position": posted["position"]},
        {"published_on": "2025-12-31"},
        {"effective_on": "2025-01-01"},
    ):
        answer = await client.get(f"/v1/deals/{slug}", params=params)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (404, "not_yet_effective")
        assert (problem["effective_on"], problem["params"]["effective_on"]) == (str(AHEAD), str(AHEAD))
        assert str(AHEAD) in problem["detail"]
        linked = await client.get(problem["link"])
        assert (linked.status_code, linked.json()["effective_on"]) == (200, str(AHEAD))
    assert (await client.get(f"/v1/deals/{slug}/blame")).json()["code"] == "not_yet_effective"
    unpublished = await client.get(f"/v1/deals/{slug}", params={"published_on": "2020-01-01"})
    assert unpublished.json()["code"] == "not_found"


# --- questions that fix the log ---------------------------------------------------------------------------------------


async def test_27_question_that_fixes_the_log_is_answered_for_the_day_at_which_it_stood(seoul: Service) -> None:
    tomorrow = datetime.now(UTC).date() + timedelta(days=2)
    posted = await record(seoul.client, "plant", registered(), pledged(value="5"), revised(str(tomorrow), "9"))
    recorded = datetime.fromisoformat(posted["events"][0]["recorded_at"])
    day = recorded.astimezone(calendar_of(seoul).zone).date()
    questions: list[dict[str, Any]] = [
        {"position": posted["position"]},
        {"recorded_at": recorded.isoformat()},
        {"position": posted["position"], "recorded_at": recorded.isoformat()},
        {"position": 10**9, "recorded_at": recorded.isoformat()},
        {"position": posted["position"], "recorded_at": "2999-01-01T00:00:00Z"},
    ]
    first = [await get(seoul.client, "plant", **question) for question in questions]
    calendar_of(seoul).now = lambda: recorded + timedelta(days=30)
    again = [await get(seoul.client, "plant", **question) for question in questions]
    for before, after in zip(first, again, strict=True):
        assert (amount(after), after.json()["effective_on"]) == ("5", str(day))
        assert after.content == before.content
        assert after.headers["etag"] == f'"3;{day};{posted["position"]}"' == before.headers["etag"]
        assert after.headers["memento-datetime"] == before.headers["memento-datetime"]
    calendar_of(seoul).now = lambda: datetime.now(UTC) + timedelta(days=30)
    accept = {"Accept-Datetime": format_datetime(recorded + timedelta(seconds=1), usegmt=True)}
    memento = await get(seoul.client, "plant", headers=accept)
    assert (amount(memento), memento.json()["effective_on"]) == ("5", str(day))
    later = await get(seoul.client, "plant", recorded_at=(recorded + timedelta(days=20)).isoformat())
    assert (amount(later), later.json()["effective_on"]) == ("9", str((recorded + timedelta(days=20, hours=9)).date()))
    both = {"position": posted["position"], "recorded_at": (recorded + timedelta(days=20)).isoformat()}
    assert (await get(seoul.client, "plant", **both)).json()["effective_on"] == str(day), "the earlier day"


async def test_27_future_instant_and_position_past_the_end_do_not_fix_the_log(
    client: httpx.AsyncClient, slug: str
) -> None:
    await record(client, slug, registered(), pledged())
    open_answer = await get(client, slug)
    for question in ({"recorded_at": "2999-01-01T00:00:00Z"}, {"position": 10**9}):
        answer = await get(client, slug, **question)
        assert answer.json()["effective_on"] == open_answer.json()["effective_on"]
        assert answer.headers["etag"] == open_answer.headers["etag"]
        assert "memento-datetime" not in answer.headers
    answer = await get(client, slug, headers={"Accept-Datetime": "Tue, 01 Jan 2999 00:00:00 GMT"})
    assert answer.content == open_answer.content
    assert "content-location" not in answer.headers


async def test_27_position_alone_gives_the_same_bytes_for_ever(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    slug, other = new_slug(), new_slug()
    posted = await record(client, slug, registered(), pledged(value="5"))
    paths = [
        f"/v1/deals/{slug}",
        f"/v1/deals/{slug}/events",
        f"/v1/deals/{slug}/blame",
        "/v1/deals",
        "/v1/totals",
        "/v1/organizations",
        f"/v1/compare?from.position={posted['position'] - 1}&to.position={posted['position']}",
        f"/v1/deals/{slug}/compare?from.position={posted['position'] - 1}&to.position={posted['position']}",
        "/v1/export/events.ndjson",
        "/v1/export/deals.csv",
    ]

    async def bodies() -> list[bytes]:
        answers = [await client.get(p, params=None if "?" in p else {"position": posted["position"]}) for p in paths]
        assert [answer.status_code for answer in answers] == [200] * len(paths)
        return [answer.content for answer in answers]

    before = await bodies()
    relation = announced("2025-06-16", "deals_related", relation="part_of", deal=slug)
    await record(client, other, registered("Another"), relation)
    await record(client, slug, revised("2025-06-20", "6000"), revised(str(AHEAD), "7"))
    await client.post(
        f"/v1/organizations/{other}/events", json={"event": {"type": "organization_registered", "name": {"en": "New"}}}
    )
    assert await bodies() == before


# --- the TimeMap ------------------------------------------------------------------------------------------------------


async def test_28_timemap_has_the_recordings_and_midnights_that_changed_the_answer(seoul: Service) -> None:
    year = datetime.now(UTC).year + 5
    answers = [
        await record(seoul.client, "plant", announcement)
        for announcement in (
            {**registered(), "effective_on": "2025-01-01"},
            pledged("2025-01-01", value="5"),
            revised(f"{year}-03-01", "9"),
            revised("2025-06-01", "6"),
        )
    ]
    positions = [answer["position"] for answer in answers]
    now = await timemap(seoul.client, "plant")
    assert [m["position"] for m in now["mementos"]] == [positions[0], positions[1], positions[3]]
    assert [m["effective_on"] for m in now["upcoming"]] == [f"{year}-03-01"]
    calendar_of(seoul).now = at(year, 2, 28, 15)  # Midnight in Seoul.
    later = await timemap(seoul.client, "plant")
    assert later["mementos"][:3] == now["mementos"]
    assert later["mementos"][3]["datetime"] == f"{year}-02-28T15:00:00Z"
    assert later["upcoming"] == []
    mementos = [await seoul.client.get(m["uri"]) for m in later["mementos"]]
    assert [amount(memento) for memento in mementos] == [None, "5", "6", "9"]
    for listed, memento in zip(later["mementos"], mementos, strict=True):
        moment = datetime.fromisoformat(listed["datetime"])
        assert parsedate_to_datetime(memento.headers["memento-datetime"]) == moment.replace(microsecond=0)
        assert memento.json()["effective_on"] == listed["effective_on"]
    links = await seoul.client.get("/v1/deals/plant/timemap")
    assert links.text.count('memento"') == 4
    assert '>; rel="last memento"; datetime="' in links.text


# --- entity tags ------------------------------------------------------------------------------------------------------


async def test_29_etag_has_version_day_and_the_position_of_a_fixed_log(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record(client, slug, registered(), pledged())
    today = datetime.now(UTC).date()
    assert (await get(client, slug)).headers["etag"] == f'"2;{today}"'
    assert (await get(client, slug, effective_on="2025-07-01")).headers["etag"] == '"2;2025-07-01"'
    first = posted["position"] - 1
    fixed = await get(client, slug, position=first, effective_on="2025-07-01")
    assert fixed.headers["etag"] == f'"1;2025-07-01;{first}"'
    for tag in (f'"2;{today}"', '"2"', '"2;2020-01-01;1"'):
        matched = await client.post(
            f"/v1/deals/{slug}/events?dry_run=true", json=revised("2025-07-01", "6"), headers={"If-Match": tag}
        )
        assert matched.status_code == 200, "If-Match reads the version only"


async def test_29_no_304_is_given_for_another_day(seoul: Service) -> None:
    day = datetime.now(UTC).date() + timedelta(days=10)
    await record(seoul.client, "plant", registered(), pledged(value="5"), revised(str(day), "9"))
    etag = (await get(seoul.client, "plant")).headers["etag"]
    calendar_of(seoul).now = lambda: datetime.now(UTC) + timedelta(days=10)
    assert amount(await get(seoul.client, "plant", headers={"If-None-Match": etag})) == "9"


async def test_29_redaction_changes_every_tag_of_the_deal(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record(client, slug, registered(), pledged(value="5"))
    position, event = posted["position"], posted["events"][0]["id"]
    before = await get(client, slug, position=position)
    await record(client, slug, {"event": {"type": "event_redacted", "redacts": event, "reason": "By law."}})
    after = await get(client, slug, position=position, headers={"If-None-Match": before.headers["etag"]})
    assert after.headers["etag"] == before.headers["etag"][:-1] + ';redactions=1"'
    assert amount(before) == "5"
    assert '"5"' not in after.text


# --- negotiation ------------------------------------------------------------------------------------------------------


async def test_29_release_with_other_bodies_changes_every_tag(
    client: httpx.AsyncClient, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record(client, slug, registered())
    path = f"/v1/deals/{slug}?position=1000000000"
    assert "rules" not in (await client.get(path)).headers["ETag"]
    monkeypatch.setattr(deals, "RULES_REVISION", 1)
    # Another event, because a service answers from its cache; a new release starts with an empty one.
    await record(client, slug, pledged())
    assert (await client.get(path)).headers["ETag"].endswith(';rules=1"')


async def test_30_content_location_of_a_negotiated_memento_gives_the_same_body(seoul: Service) -> None:
    posted = await record(seoul.client, "plant", registered(), pledged(value="5"))
    recorded = datetime.fromisoformat(posted["events"][0]["recorded_at"])
    await record(seoul.client, "other", registered())
    calendar_of(seoul).now = lambda: datetime.now(UTC) + timedelta(days=40)
    for moment in (recorded + timedelta(seconds=2), recorded + timedelta(days=30), recorded - timedelta(days=900)):
        for params in ({}, {"effective_on": "2025-07-01"}, {"published_on": "2025-06-16"}):
            accept = {"Accept-Datetime": format_datetime(moment, usegmt=True)}
            negotiated = await get(seoul.client, "plant", headers=accept, **params)
            assert "accept-datetime" in negotiated.headers["vary"].lower()
            located = await seoul.client.get(negotiated.headers["content-location"])
            assert located.content == negotiated.content
            for header in ("etag", "memento-datetime"):
                assert located.headers[header] == negotiated.headers[header]
            assert "content-location" not in located.headers


async def test_30_answers_with_the_same_tag_have_the_same_body(seoul: Service) -> None:
    posted = await record(seoul.client, "plant", registered(), pledged(value="5"))
    recorded = datetime.fromisoformat(posted["events"][0]["recorded_at"])
    calendar_of(seoul).now = lambda: datetime.now(UTC) + timedelta(days=5)
    bodies: dict[str, set[bytes]] = {}
    for hours in range(1, 80, 7):
        accept = {"Accept-Datetime": format_datetime(recorded + timedelta(hours=hours), usegmt=True)}
        answer = await get(seoul.client, "plant", headers=accept)
        bodies.setdefault(answer.headers["etag"], set()).add(answer.content)
    assert len(bodies) > 1
    assert all(len(same) == 1 for same in bodies.values())


async def test_30_expanded_answers_are_private_and_no_mementos(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record(client, slug, registered(), announced("2025-06-16", "parties_joined", parties=[PARTY]))
    accept = {"Accept-Datetime": format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)}
    for params, headers in (({}, {}), ({"position": posted["position"]}, {}), ({}, accept)):
        answer = await get(client, slug, headers=headers, expand="organizations,incoming", **params)
        assert "private" in answer.headers["cache-control"]
        assert not {"memento-datetime", "content-location", "etag"} & set(answer.headers)
