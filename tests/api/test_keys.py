"""API keys: writing needs one, and each key can do what its scopes allow (property 25)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, get_args

import asyncpg
import httpx
import msgspec
import pytest
import pytest_asyncio
from msgspec.structs import replace

from registry.delivery import feed
from registry.domain.sources.identity import source_id
from registry.events.values import Scope, Source
from tests.api.announcements import SOURCE, pledged, registered, revised, voided
from tests.conftest import PATIENCE
from tests.databases import Server
from tests.service import Service, bearer, cloned, running

NOTHING = "00000000-0000-7000-8000-000000000000"

# What each event needs; what a key with the scope may do passes on to the deal's own rules.
NEEDS: dict[str, tuple[dict[str, Any], Scope]] = {
    "deal_registered": (registered(), "record"),
    "event_voided": (voided(NOTHING), "correct"),
    "event_corrected": (
        {"event": {"type": "event_corrected", "corrects": NOTHING, "replacement": {"sources": [SOURCE]}}},
        "correct",
    ),
    "claim_preferred": ({"event": {"type": "claim_preferred", "field": "/pledges/a/amount"}}, "correct"),
    "deal_merged": ({"event": {"type": "deal_merged", "into": "another"}}, "correct"),
    "event_redacted": ({"event": {"type": "event_redacted", "redacts": NOTHING, "reason": "by law"}}, "redact"),
}


@pytest.mark.parametrize("event", NEEDS)
@pytest.mark.parametrize("scope", get_args(Scope))
async def test_key_can_record_only_what_its_scope_allows(service: Service, slug: str, event: str, scope: Scope) -> None:
    announcement, needed = NEEDS[event]
    headers = await service.key(scope)
    size = await service.size()
    answer = await service.visitor.post(f"/v1/deals/{slug}/events", json=announcement, headers=headers)
    if scope in (needed, "admin"):
        assert answer.status_code in (201, 409), answer.text
    else:
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert f"'{needed}'" in answer.json()["detail"]
        assert await service.size() == size


async def test_list_with_one_event_outside_the_scope_records_nothing(service: Service, slug: str) -> None:
    headers = await service.key("record")
    size = await service.size()
    answer = await service.visitor.post(
        f"/v1/deals/{slug}/events", json=[registered(), voided(NOTHING)], headers=headers
    )
    assert answer.status_code == 403
    assert await service.size() == size


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer reg_unknown"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer a\u00e9"},
    ],
)
async def test_writing_without_a_valid_key_is_refused(service: Service, slug: str, headers: dict[str, str]) -> None:
    size = await service.size()
    encoded = {name.encode(): value.encode() for name, value in headers.items()}
    for kind in ("deals", "organizations"):
        for query in ("", "?dry_run=true"):
            answer = await service.visitor.post(f"/v1/{kind}/{slug}/events{query}", json=registered(), headers=encoded)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert await service.size() == size


async def test_revoked_key_is_refused(service: Service, slug: str) -> None:
    key = await service.issue("record")
    headers = bearer(key)
    assert (
        await service.visitor.post(f"/v1/deals/{slug}/events", json=registered(), headers=headers)
    ).status_code == 201
    recorded_by = (await service.client.get(f"/v1/deals/{slug}/events")).json()["events"][0]["recorded_by"]
    assert recorded_by == key.principal
    await service.revoke(key)
    answer = await service.visitor.post(f"/v1/deals/{slug}/events?dry_run=true", json=registered(), headers=headers)
    assert answer.status_code == 401
    listed = (await service.client.get(f"/v1/principals/{key.principal}")).json()
    assert listed["keys"][0]["revoked_at"] is not None


async def test_unknown_key_is_refused_for_writing_and_ignored_for_public_reading(service: Service) -> None:
    wrong = {"Authorization": "Bearer reg_unknown"}
    assert (
        await service.visitor.post("/v1/deals/some-deal/events", json=registered(), headers=wrong)
    ).status_code == 401
    assert (await service.visitor.get("/v1/deals")).status_code == 200


@pytest_asyncio.fixture(scope="module")
async def private(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """Run a service on which reading needs a key."""
    async with cloned(server, admin, "private") as settings, running(replace(settings, public_read=False)) as service:
        yield service


async def test_reading_needs_a_key_where_it_is_not_public(private: Service, slug: str) -> None:
    await private.client.post(f"/v1/deals/{slug}/events", json=registered())
    paths = ["/v1/deals", f"/v1/deals/{slug}", f"/v1/deals/{slug}/events", f"/v1/deals/{slug}/blame", "/v1/events"]
    paths += [
        "/metrics",
        "/v1/organizations",
        "/v1/totals",
        "/v1/compare",
        f"/v1/deals/{slug}/timemap",
        "/v1/log/checkpoint",
    ]
    for path in paths:
        assert (await private.visitor.get(path)).status_code == 401, path
        assert (await private.visitor.get(path, headers=await private.key("read"))).status_code == 200, path
    for path in ("/health/live", "/health/ready", "/openapi.json", "/docs", "/docs/problems"):
        assert (await private.visitor.get(path)).status_code == 200, path
    assert (await private.visitor.options(f"/v1/deals/{slug}/events")).status_code == 204


@pytest.mark.parametrize("scopes", [("propose",), ("record",), ("correct", "record", "propose")])
async def test_key_that_may_not_read_learns_no_value_of_a_deal_by_writing(
    private: Service, slug: str, scopes: tuple[Scope, ...]
) -> None:
    path, secrets = f"/v1/deals/{slug}/events", ("Nobody knows", "7123456789")
    await private.client.post(path, json=[registered(secrets[0]), pledged(value=secrets[1])])
    revision = revised("2025-08-01", "5")
    line, lines = msgspec.json.encode({"deal": slug, **revision}), {"Content-Type": "application/x-ndjson"}
    proposal = {"deal": slug, "announcements": [revision]}
    source = source_id(msgspec.convert(SOURCE, Source))
    key, reader = await private.key(*scopes), await private.key("read", *scopes)

    async def answers(key: dict[str, str]) -> list[httpx.Response]:
        proposed = await private.visitor.post("/v1/proposals", json=proposal, headers=key)
        found = [await private.visitor.get(proposed.headers["location"], headers=key)]
        for url, body in (
            (f"{path}?dry_run=true", revision),
            (f"/v1/sources/{source}/retraction?dry_run=true", {}),
            ("/v1/extract", {"text": "A plant."}),
            *((f"/v1/import?{query}", None) for query in ("dry_run=true", "atomic=true", "atomic=false")),
        ):
            sent: dict[str, Any] = {"json": body} if body is not None else {"content": line}
            headers = {**key, **(lines if body is None else {})}
            found.append(await private.visitor.post(url, headers=headers, **sent))
        return [*found, await private.visitor.post(path, json=revision, headers=key)]

    for answer in await answers(key):
        assert not any(secret in answer.text for secret in secrets), answer.url
        assert not any(answer.json().get(name) for name in ("preview", "changes", "flags")), answer.url
    assert "preview" in (await answers(reader))[0].json()


async def test_event_stream_of_a_private_registry_ends_with_its_key(private: Service, slug: str) -> None:
    key = await private.issue("read")
    async with asyncio.timeout(PATIENCE):
        async with private.visitor.stream("GET", "/v1/events/stream", headers=bearer(key)) as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "retry: 1000"
            await private.client.post(f"/v1/deals/{slug}/events", json=registered())
            while not (await anext(lines)).startswith("data: "):
                pass
            await private.revoke(key)
            await private.client.post(f"/v1/deals/{slug}-later/events", json=registered())
            assert [line for line in [line async for line in lines] if f"{slug}-later" in line] == []


async def test_silent_event_stream_ends_with_its_key_in_every_process(
    private: Service, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "HEARTBEAT_SECONDS", 3600.0)
    key, other = await private.issue("read"), await private.issue("read")
    stream = f"/v1/events/stream?deal={slug}"
    async with running(private.settings) as second, AsyncExitStack() as stack:
        opened = []
        for process in (private, second):
            for held in (key, other):
                reading = process.visitor.stream("GET", stream, headers=bearer(held))
                lines = (await stack.enter_async_context(reading)).aiter_lines()
                assert await anext(lines) == "retry: 1000"
                opened.append(lines)
        await private.revoke(key)
        async with asyncio.timeout(PATIENCE):
            for lines in opened[::2]:
                assert not [line async for line in lines if line.startswith("data")]
        # Those of other keys go on.
        await private.client.post(f"/v1/deals/{slug}/events", json=registered())
        async with asyncio.timeout(PATIENCE):
            for lines in opened[1::2]:
                while not (await anext(lines)).startswith("data: "):
                    pass


async def test_answers_of_a_private_registry_are_not_for_shared_caches(
    private: Service, new_slug: Callable[[], str]
) -> None:
    slug = new_slug()
    first = await private.client.post(f"/v1/deals/{slug}/events", json=registered())
    await private.client.post(f"/v1/deals/{new_slug()}/events", json=registered())
    fixed = {"effective_on": "2025-12-31", "position": first.json()["position"]}
    answer = await private.client.get(f"/v1/deals/{slug}", params=fixed)
    assert "public" not in answer.headers["cache-control"]
