"""Rate limits: allowances per key, per address and for wrong keys, and what a client is told about them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
import httpx
import pytest
from msgspec.structs import replace

from registry.api import events
from registry.domain.principal import Credential, Rights
from registry.http.rate_limits import MAX_CLIENTS, Bucket, RateLimiter
from registry.infra.rate_limit_setting import DEFAULT_RATE_LIMITS, RateLimit, parse_rate_limits
from tests.api.announcements import registered
from tests.conftest import PATIENCE
from tests.databases import Server
from tests.service import NO_TLS, Service, bearer, cloned, running

Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@asynccontextmanager
async def service_with(server: Server, admin: Admin, **limits: RateLimit) -> AsyncIterator[Service]:
    async with (
        cloned(server, admin, "rates_" + "_".join(limits)) as settings,
        running(replace(settings, rate_limits=limits)) as service,
    ):
        yield service


def token(text: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def test_address_over_its_limit_is_refused_with_the_time_to_wait(server: Server, admin: Admin) -> None:
    async with service_with(server, admin, address=RateLimit(5, 3600)) as service:
        answers = [await service.visitor.get("/v1/deals") for _ in range(7)]
        korean = await service.visitor.get("/v1/deals", headers={"Accept-Language": "ko"})
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert [answer.headers["ratelimit"].split(";")[1] for answer in answers[:5]] == [
            f"r={n}" for n in range(4, -1, -1)
        ]
        assert answers[0].headers["ratelimit-policy"] == '"address";q=5;w=3600'
        refused = answers[5]
        assert 1 <= int(refused.headers["retry-after"]) <= 720
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["code"] == "rate_limited"
        assert refused.json()["request_id"] == refused.headers["x-request-id"]
        assert korean.json()["detail"] != refused.json()["detail"]
        # Browsers get a page.
        async with httpx.AsyncClient(base_url=service.url, verify=NO_TLS) as browser:
            page = await browser.get("/?lang=ko", headers={"Accept": "text/html,*/*"})
        assert (page.status_code, page.headers["content-type"]) == (429, "text/html; charset=utf-8")
        assert "<h1>요청이 너무 많습니다</h1>" in page.text
        assert re.search(r"약 \d+분 후 다시 시도", page.text)
        assert "style-src 'self'" in page.headers["content-security-policy"]
        assert int(page.headers["retry-after"]) > 0
        # The key counts for itself, health checks for nobody.
        assert (await service.client.get("/v1/deals")).status_code == 200
        assert (await service.visitor.get("/health/ready")).status_code == 200


async def test_key_over_its_limit_is_refused_and_other_keys_are_not(server: Server, admin: Admin) -> None:
    async with service_with(server, admin, key=RateLimit(3, 3600)) as service:
        one, other = await service.key("record"), await service.key("record")
        path = "/v1/deals/pier-nine/events?dry_run=true"
        answers = [await service.visitor.post(path, json=registered(), headers=one) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[0].headers["ratelimit-policy"] == '"key";q=3;w=3600'
        # Reads with the key count too, and the same requests without it do not.
        assert (await service.visitor.get("/v1/deals", headers=one)).status_code == 429
        assert (await service.visitor.get("/v1/deals")).status_code == 200
        assert (await service.visitor.post(path, json=registered(), headers=other)).status_code == 200


async def test_wrong_keys_are_refused_after_some_tries_and_known_keys_go_on(server: Server, admin: Admin) -> None:
    async with service_with(server, admin, failure=RateLimit(4, 3600)) as service:
        path = "/v1/deals/pier-nine/events?dry_run=true"
        known, later = await service.key("record"), await service.key("record")
        assert (await service.visitor.post(path, json=registered(), headers=known)).status_code == 200
        tries = [await service.visitor.post(path, json=registered(), headers=token(f"reg_{n}")) for n in range(6)]
        assert [answer.status_code for answer in tries] == [401] * 4 + [429] * 2
        assert tries[-1].headers["retry-after"]
        # On public reads too, where a wrong key is not looked at otherwise.
        assert (await service.visitor.get("/v1/deals", headers=token("reg_x"))).status_code == 429
        assert (await service.visitor.post(path, json=registered(), headers=known)).status_code == 200
        assert (await service.visitor.post(path, json=registered(), headers=later)).status_code == 429
        assert (await service.visitor.get("/v1/deals")).status_code == 200


async def test_failed_sign_ins_are_limited(server: Server, admin: Admin) -> None:
    async with service_with(server, admin, failure=RateLimit(3, 3600)) as service:
        tries = [await service.visitor.post("/sign-in", data={"key": "wrong", "then": "/"}) for _ in range(5)]
        assert [answer.status_code for answer in tries] == [401] * 3 + [429] * 2
        # No other spelling of the path is one that is not counted.
        for path, status in (("/sign-in/", 429), ("/%73ign-in", 429), (f"{service.url}//sign-in", 404)):
            again = await service.visitor.post(path, data={"key": "wrong", "then": "/"})
            assert again.status_code == status, path


async def test_revoked_key_is_not_remembered(server: Server, admin: Admin) -> None:
    async with service_with(server, admin, key=RateLimit(1000, 1)) as service:
        made = await service.issue("record")
        headers = bearer(made)
        path = "/v1/deals/pier-nine/events?dry_run=true"
        assert (await service.visitor.post(path, json=registered(), headers=headers)).status_code == 200
        await service.revoke(made)
        async with asyncio.timeout(PATIENCE):
            while (await service.visitor.post(path, json=registered(), headers=headers)).status_code != 401:  # noqa: ASYNC110
                await asyncio.sleep(0.2)


async def test_address_is_that_of_the_client_only_behind_a_trusted_proxy(server: Server, admin: Admin) -> None:
    forwarded = [{"X-Forwarded-For": f"203.0.113.{n}"} for n in range(4)]
    async with cloned(server, admin, "proxies") as settings:
        settings = replace(settings, rate_limits={"address": RateLimit(2, 3600)})
        async with running(settings) as service:
            assert [(await service.visitor.get("/v1/deals", headers=each)).status_code for each in forwarded] == [
                200
            ] * 4
        async with running(replace(settings, trusted_proxies=())) as service:
            direct = [(await service.visitor.get("/v1/deals", headers=each)).status_code for each in forwarded]
            assert direct == [200, 200, 429, 429]


async def test_addresses_of_one_ipv6_network_share_an_allowance(server: Server, admin: Admin) -> None:
    async with service_with(server, admin, address=RateLimit(2, 3600)) as service:

        async def status(address: str) -> int:
            answer = await service.visitor.get("/v1/deals", headers={"X-Forwarded-For": address})
            return answer.status_code

        assert [await status(f"2001:db8:0:1::{n}") for n in range(1, 4)] == [200, 200, 429]
        assert await status("2001:db8:0:2::1") == 200


async def test_service_without_limits_sends_no_fields(limited: Service) -> None:
    assert "ratelimit" not in (await limited.visitor.get("/v1/deals")).headers


def test_allowance_comes_back_evenly() -> None:
    bucket = Bucket("address", RateLimit(10, 1))
    assert [bucket.take("a", 100.0) > 0 for _ in range(11)] == [False] * 10 + [True]
    assert bucket.take("a", 100.05) > 0
    assert bucket.take("a", 100.1) == 0
    assert bucket.take("a", 100.1) == pytest.approx(0.1)
    assert bucket.take("b", 100.1) == 0
    assert [bucket.take("a", 200.0) > 0 for _ in range(11)] == [False] * 10 + [True]


@pytest.mark.parametrize(("name", "rate"), [("key", 300), ("address", 50)])
def test_default_limits_are_never_met_below_the_promised_rate(name: str, rate: int) -> None:
    bucket = Bucket(name, DEFAULT_RATE_LIMITS[name])
    for second in range(30):
        # All at once, at the worst moment: the end of one second and the begin of the next.
        assert not any(bucket.take("a", second + (0.999 if second % 2 else 0.0)) for _ in range(rate))


def test_remembered_clients_are_bounded() -> None:
    bucket = Bucket("address", RateLimit(1, 3600))
    for n in range(3 * MAX_CLIENTS):
        bucket.take(str(n), 0.0)
    assert bucket.is_used_up(str(3 * MAX_CLIENTS - 1), 0.0) > 0
    assert bucket.is_used_up("0", 0.0) == 0


def test_client_without_allowance_is_remembered_when_others_are_forgotten() -> None:
    bucket = Bucket("address", RateLimit(10, 100))
    for client in ("used", *map(str, range(MAX_CLIENTS - 1))):
        bucket.take(client, 0.0)
    for _ in range(10):
        bucket.take("used", 10.0)
    bucket.take("one more", 11.0)
    assert bucket.is_used_up("used", 11.0) > 0


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("off", {}),
        ("key=5/m", DEFAULT_RATE_LIMITS | {"key": RateLimit(5, 60)}),
        ("key=off address=off failure=1/h", {"failure": RateLimit(1, 3600)}),
    ],
)
def test_setting_is_parsed(text: str, limits: Mapping[str, RateLimit]) -> None:
    assert parse_rate_limits(text) == limits


@pytest.mark.parametrize("text", ["5", "key", "key=0/s", "key=5/d", "keys=5/s", "off on"])
def test_setting_with_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text.split()[0]):
        parse_rate_limits(text)


async def test_known_key_counts_for_itself_while_the_database_does_not_answer() -> None:
    """A look-up that ends when the database is lost takes seconds, which are not the request's."""
    now, is_lost = 0.0, False

    async def find_key(token: str) -> Credential | None:
        nonlocal now
        if is_lost:
            now += 20
            raise TimeoutError
        return Credential("press-desk", "Press desk", Rights(scopes=("record",)))

    limiter = RateLimiter({"key": RateLimit(5, 1), "address": RateLimit(1, 1)}, find_key, lambda: now)

    def scope() -> dict[str, Any]:
        headers = [(b"authorization", b"Bearer a-key")]
        state = {"request_id": "a-request"}
        return {"path": "/v1/deals", "method": "GET", "headers": headers, "client": ("192.0.2.1", 1), "state": state}

    assert (await limiter.admit(scope())).principal == "press-desk"
    now, is_lost = 60.0, True
    admitted = await asyncio.gather(*(limiter.admit(scope()) for _ in range(3)))
    assert [admission.error for admission in admitted] == [None] * 3
    assert {admission.principal for admission in admitted} == {"press-desk"}


@pytest.mark.parametrize("with_key", [False, True])
async def test_streams_that_are_opened_at_once_are_limited_too(
    server: Server, admin: Admin, monkeypatch: pytest.MonkeyPatch, *, with_key: bool
) -> None:
    monkeypatch.setattr(events, "MAX_STREAMS", 3)
    monkeypatch.setattr(events, "MAX_STREAMS_OF_KEY", 3)
    async with service_with(server, admin, address=RateLimit(1000, 1), key=RateLimit(1000, 1)) as service:
        client = service.client if with_key else service.visitor
        async with AsyncExitStack() as stack:
            opening = (stack.enter_async_context(client.stream("GET", "/v1/events/stream")) for _ in range(20))
            statuses = [answer.status_code for answer in await asyncio.gather(*opening)]
            assert sorted(statuses) == [200] * 3 + [429] * 17
            assert (await client.get("/v1/deals")).status_code == 200


async def test_address_opens_a_limited_number_of_event_streams(
    server: Server, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_STREAMS", 3)
    async with service_with(server, admin, address=RateLimit(1000, 1)) as service:
        stream = "/v1/events/stream"
        async with AsyncExitStack() as stack:
            reading = []  # A reader that is dropped closes its stream.
            for _ in range(3):
                opened = await stack.enter_async_context(service.visitor.stream("GET", stream))
                reading.append(opened.aiter_lines())
                assert (opened.status_code, await anext(reading[-1])) == (200, "retry: 1000")
            refused = await service.visitor.get(stream)
            assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
            # A wrong key is none.
            assert (await service.visitor.get(stream, headers=token("reg_x"))).status_code == 429
            # A key counts by itself, and other questions are answered.
            with_key = await stack.enter_async_context(service.client.stream("GET", stream))
            assert with_key.status_code == 200
            assert (await service.visitor.get("/v1/deals")).status_code == 200
        async with asyncio.timeout(PATIENCE):
            # Until the service has seen them leave.
            while True:
                async with service.visitor.stream("GET", stream) as again:
                    if again.status_code == 200:
                        break
