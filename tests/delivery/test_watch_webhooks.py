"""Watches at a receiver, over real HTTP: confirmed by a challenge, signed, limited, ended with the right to them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from registry.append.principals import IssuedKey
from registry.delivery import confirmation
from registry.delivery.problems import DeliveryProblem
from registry.delivery.webhooks import MAX_OWNED
from registry.i18n import render
from registry.queries.matching_events import MatchingEvents
from tests.api.announcements import announced, pledged, registered
from tests.conftest import PATIENCE
from tests.delivery.webhooks import post, signed_by
from tests.preloaded import COMMAND, preloaded
from tests.service import Service, bearer
from tests.web.forms import FormParser
from tests.web.html import text_of
from tests.web.test_sessions import visit


class Program:
    """A receiver that answers challenges as `reply` says; events it answers with 200."""

    def __init__(self) -> None:
        self.url = ""
        self.reply = "{challenge}\n"
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.is_slow = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        message = json.loads(body)
        self.got.append((headers, body))
        content = b""
        if message["type"].endswith("watch.challenge"):
            content = self.reply.format(challenge=message["data"]["challenge"], body=body.decode()).encode()
        elif self.is_slow:
            await asyncio.sleep(PATIENCE)
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(content), content))
        writer.close()

    @property
    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _, body in self.got]

    async def has(self, count: int) -> None:
        """Wait for this many messages."""
        async with asyncio.timeout(PATIENCE):
            while len(self.got) < count:  # noqa: ASYNC110 - they come from other connections
                await asyncio.sleep(0.02)


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    made = Program()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/watch"
        yield made
        server.close()


async def watch(service: Service, key: IssuedKey, program: Program, **fields: Any) -> dict[str, Any]:
    answer = await service.visitor.post("/v1/watches", json={"url": program.url, **fields}, headers=bearer(key))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def confirm(service: Service, key: IssuedKey, made: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    answer = await service.visitor.post(f"/v1/watches/{made['id']}/confirm", headers=bearer(key))
    return answer.status_code, answer.json()


async def of(service: Service, key: IssuedKey) -> list[dict[str, Any]]:
    return list((await service.visitor.get("/v1/watches", headers=bearer(key))).json()["watches"])


async def test_receiver_confirms_by_the_challenge_and_gets_signed_events_of_the_filter(
    service: Service, program: Program
) -> None:
    reader = await service.issue("read")
    made = await watch(service, reader, program, deal="plant", type=["pledge_announced"])
    await post(service, "plant", registered(), pledged())
    assert (made["confirmed_at"], program.got) == (None, [])
    status, confirmed = await confirm(service, reader, made)
    assert (status, confirmed["confirmed_at"] is not None, "secret" in confirmed) == (200, True, False)
    await post(service, "another", registered(), pledged())
    await post(service, "plant", pledged(pledge="more"))
    await program.has(2)
    assert program.types == ["watch.challenge", "pledge_announced"]
    assert json.loads(program.got[1][1])["data"]["deal"] == "plant"
    assert all(signed_by(made, headers, body) for headers, body in program.got)
    attempts = await service.visitor.get(f"/v1/watches/{made['id']}/deliveries", headers=bearer(reader))
    assert [one["status"] for one in attempts.json()["deliveries"]] == [200, 200]
    ended = await service.visitor.delete(f"/v1/watches/{made['id']}", headers=bearer(reader))
    assert (ended.status_code, await of(service, reader)) == (204, [])


async def test_server_that_does_not_answer_with_the_challenge_gets_no_event(service: Service, program: Program) -> None:
    readers = []
    for reply in ("", "ok", "{body}", "{challenge} and more", '"{challenge}"', "x" * 100_000):
        program.reply = reply
        reader = await service.issue("read")
        made = await watch(service, reader, program)
        status, problem = await confirm(service, reader, made)
        assert (status, problem["code"]) == (409, "watch_unconfirmed"), reply
        readers.append(reader)
    await post(service, "plant", registered())
    await asyncio.sleep(0.2)
    assert program.types == ["watch.challenge"] * len(readers)
    for reader in readers:
        assert [one["confirmed_at"] for one in await of(service, reader)] == [None]


async def test_event_after_the_end_of_a_right_is_not_sent(
    service: Service, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the right ends while the events are looked for."""
    reader = await service.issue("read")
    assert (await confirm(service, reader, await watch(service, reader, program)))[0] == 200
    following = MatchingEvents.following
    ended = False

    async def end_the_right_first(events: MatchingEvents, *asked: Any) -> Any:
        nonlocal ended
        if not ended:
            ended = True
            await service.revoke(reader)
            await post(service, "plant", announced("2026-01-02", "stage_changed", stage="signed"))
        return await following(events, *asked)

    monkeypatch.setattr(MatchingEvents, "following", end_the_right_first)
    await post(service, "plant", registered())
    async with asyncio.timeout(PATIENCE):
        while (await service.client.get("/v1/webhooks")).json()["webhooks"][0]["disabled_at"] is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert program.types == ["watch.challenge"]


async def test_watch_ends_with_the_right_of_its_principal(service: Service, program: Program) -> None:
    reader = await service.issue("read")
    made = await watch(service, reader, program)
    assert (await confirm(service, reader, made))[0] == 200
    await service.revoke(reader)
    await post(service, "plant", registered())
    async with asyncio.timeout(PATIENCE):
        while True:
            [webhook] = (await service.client.get("/v1/webhooks")).json()["webhooks"]
            if webhook["disabled_at"] is not None:
                break
            await asyncio.sleep(0.02)
    assert (webhook["owner"], program.types) == (reader.principal, ["watch.challenge"])


async def test_receivers_belong_to_their_principal_and_are_few(service: Service, program: Program) -> None:
    kim, lee = await service.issue("read"), await service.issue("read")
    made = await watch(service, kim, program)
    others = [
        service.visitor.post(f"/v1/watches/{made['id']}/confirm", headers=bearer(lee)),
        service.visitor.get(f"/v1/watches/{made['id']}/deliveries", headers=bearer(lee)),
        service.visitor.delete(f"/v1/watches/{made['id']}", headers=bearer(lee)),
    ]
    assert [(await other).status_code for other in others] == [404, 404, 404]
    assert (await service.visitor.get("/v1/webhooks", headers=bearer(kim))).status_code == 403
    assert await of(service, lee) == []
    for _ in range(MAX_OWNED - 1):
        await watch(service, kim, program)
    refused = await service.visitor.post("/v1/watches", json={"url": program.url}, headers=bearer(kim))
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "too_many_watches")
    await watch(service, lee, program)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"url": "https://x.example", "email": "a@x.example"}, ""),
        ({"url": "https://x.example", "digest": "daily"}, "/digest"),
        ({"email": "a@x.example", "format": "cloudevents"}, "/format"),
        ({"url": "http://10.1.2.3/x"}, "/url"),
        ({"url": "https://user@x.example/"}, "/url"),
    ],
)
async def test_address_of_a_watch_is_one_and_allowed(service: Service, body: dict[str, str], pointer: str) -> None:
    answer = await service.client.post("/v1/watches", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_addresses_asked_in_an_hour_are_limited(
    service: Service, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmation, "MAX_PER_HOUR", 2)
    program.reply = "no"
    kim, lee = await service.issue("read"), await service.issue("read")
    statuses = []
    for _ in range(3):
        made = await watch(service, kim, program)
        statuses.append((await confirm(service, kim, made))[0])
        await service.visitor.delete(f"/v1/watches/{made['id']}", headers=bearer(kim))
    assert statuses == [409, 409, 429]
    assert (await confirm(service, lee, await watch(service, lee, program)))[0] == 409


async def test_unconfirmed_receiver_is_forgotten(
    service: Service, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    kim = await service.issue("read")
    first = await watch(service, kim, program)
    monkeypatch.setattr("registry.delivery.webhooks.CONFIRM_WITHIN", timedelta(0))
    second = await watch(service, kim, program)
    assert first["id"] not in [one["id"] for one in await of(service, kim)]
    assert second["id"] in [one["id"] for one in await of(service, kim)]


async def test_receivers_of_watches_that_hang_do_not_hold_back_webhooks(
    service: Service, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.app.state.services.webhooks._delivery, "_watch_limit", asyncio.Semaphore(1))
    kim = await service.issue("read")
    for _ in range(3):
        assert (await confirm(service, kim, await watch(service, kim, program)))[0] == 200
    program.is_slow = True
    quick = Program()
    async with await asyncio.start_server(quick.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        created = await service.client.post("/v1/webhooks", json={"url": f"http://127.0.0.1:{port}/"})
        assert created.status_code == 201
        await post(service, "plant", registered())
        await quick.has(1)
        server.close()


async def test_names_of_watches_that_are_looked_up_without_end_do_not_hold_back_webhooks(
    service: Service, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, real = threading.Event(), socket.getaddrinfo

    def look_up(host: Any, *more: Any, **options: Any) -> Any:
        if host == "slow.example":
            may_end.wait()
            raise socket.gaierror
        return real(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    kim = await service.issue("read")
    created = await service.client.post("/v1/webhooks", json={"url": program.url})
    assert created.status_code == 201
    slow = Program()
    slow.url = "http://slow.example/"
    try:
        confirming = [asyncio.create_task(confirm(service, kim, await watch(service, kim, slow))) for _ in range(8)]
        await asyncio.sleep(0.2)
        await post(service, "plant", registered())
        await program.has(1)
        assert not may_end.is_set()
    finally:
        may_end.set()
    assert {status for status, _ in await asyncio.gather(*confirming)} == {409}


async def test_answer_without_an_end_is_left(service: Service) -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n")
            while True:
                writer.write(b" " * 65_536)
                await writer.drain()
                sent += 65_536
        writer.close()

    kim = await service.issue("read")
    endless = Program()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        endless.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert (await confirm(service, kim, await watch(service, kim, endless)))[0] == 409
        # Only what was on its way.
        assert sent < 32 * 2**20


@pytest.mark.parametrize("language", ["en", "ko"])
async def test_reader_watches_a_deal_at_a_receiver_on_pages(service: Service, program: Program, language: str) -> None:
    await post(service, "plant", registered())
    lang = {"lang": language}
    async with visit(service, await service.issue("read")) as browser:
        deal = (await browser.get("/deals/plant", params=lang)).text
        [link] = set(re.findall(r'href="(/watches/new[^"]+)"', deal))
        opened = (await browser.get(link.replace("&amp;", "&"))).text
        assert "<dd>A plant</dd>" in opened
        form = FormParser(opened).fields
        assert form["deal"] == "plant"
        bad = await browser.post("/watches", data=form | {"url": "http://10.0.0.1/"}, params=lang)
        assert (bad.status_code, 'value="http://10.0.0.1/"' in bad.text) == (422, True)
        made = await browser.post("/watches", data=form | {"url": program.url}, params=lang)
        assert (made.status_code, len(re.findall(r"<code>whsec_", made.text))) == (200, 1)
        challenge = re.search(r'action="(/watches/[^"/]+/challenge[^"]*)"', made.text)
        assert challenge is not None
        program.reply = "no"
        refused = await browser.post(challenge[1].replace("&amp;", "&"), data={"csrf": form["csrf"]})
        assert (refused.status_code, "whsec_" in refused.text) == (409, False)
        assert render(DeliveryProblem("challenge"), language) in text_of(refused.text)
        program.reply = "{challenge}"
        asked = await browser.post(challenge[1].replace("&amp;", "&"), data={"csrf": form["csrf"]})
        assert asked.status_code == 303
        listed = (await browser.get("/watches", params=lang)).text
        assert program.url in listed
        assert "/challenge" not in listed
        [end] = re.findall(r'action="(/watches/[^"]+/delete[^"]*)"', listed)
        assert (await browser.post(end.replace("&amp;", "&"), data={"csrf": form["csrf"]})).status_code == 303
        assert program.url not in (await browser.get("/watches")).text


async def test_command_makes_confirms_and_ends_a_watch(service: Service, program: Program) -> None:
    key = await service.issue("read")
    environment = {**os.environ, **preloaded(), "REGISTRY_URL": service.url, "REGISTRY_KEY": key.secret}

    async def run(*arguments: str) -> Any:
        command = [COMMAND, "watches", *arguments]
        done = await asyncio.to_thread(
            lambda: subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        )
        assert done.returncode == 0, done.stderr
        with suppress(json.JSONDecodeError):
            return json.loads(done.stdout)

    [made] = await run("add", program.url, "--deal", "plant", "--json")
    assert made["secret"].startswith("whsec_")
    [confirmed] = await run("confirm", made["id"], "--json")
    assert confirmed["confirmed_at"] is not None
    [listed] = await run("list", "--json")
    assert (listed["url"], listed["deal"]) == (program.url, "plant")
    await run("end", made["id"])
    assert await of(service, key) == []
