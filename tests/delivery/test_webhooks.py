"""Webhooks are signed, delivered in order until accepted, and sent to allowed addresses only."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio
from msgspec.structs import replace

from registry.delivery import webhook_delivery as module
from registry.delivery import webhook_sender, webhook_store
from registry.delivery.webhook_sender import sign
from tests.api.announcements import pledged, registered
from tests.databases import Server
from tests.delivery.webhooks import LOOPBACK, Admin, Receiver, deliveries, hook, listed, post
from tests.service import Service, cloned, running


async def test_new_events_are_sent_signed_and_in_order(service: Service, receiver: Receiver) -> None:
    await post(service, "before", registered())
    webhook = await hook(service, receiver)
    await post(service, "plant", registered(), pledged(), pledged(pledge="more"))
    got = await receiver.has(3)
    logged = (await service.client.get("/v1/events?after=3")).json()["events"]
    assert [message["data"] for message in got] == logged
    assert [message["type"] for message in got] == ["deal_registered", "pledge_announced", "pledge_announced"]
    secret = base64.b64decode(webhook["secret"].removeprefix("whsec_"))
    assert len(secret) == 32
    for (headers, body), event in zip(receiver.got, logged, strict=True):
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert headers["webhook-id"] == event["id"]
        assert headers["content-type"] == "application/json"
    assert "secret" not in json.dumps((await service.client.get("/v1/webhooks")).json())


def test_signature_matches_the_example_of_standard_webhooks() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_event_is_sent_again_until_the_receiver_accepts_it(service: Service, receiver: Receiver) -> None:
    receiver.answers = [500, 0, 302, 204]
    webhook = await hook(service, receiver)
    await post(service, "plant", registered(), pledged())
    got = await receiver.has(5)
    assert [message["data"]["position"] for message in got] == [3, 3, 3, 3, 4]
    assert len({headers["webhook-id"] for headers, _ in receiver.got[:4]}) == 1
    await listed(service, lambda webhook: webhook["position"] == 4)
    attempts = await deliveries(service, webhook)
    assert [(d["position"], d["attempt"], d["status"]) for d in reversed(attempts)] == [
        (3, 1, 500),
        (3, 2, None),
        (3, 3, 302),
        (3, 4, 204),
        (4, 1, 200),
    ]
    assert attempts[0]["error"] is None
    assert attempts[-1]["error"] == "answered 500"


async def test_webhook_that_was_read_before_its_attempt_ended_is_read_again(
    service: Service, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = webhook_store.load_due

    async def read_slowly(*arguments: Any) -> Any:
        rows = await read(*arguments)
        await asyncio.sleep(0.05)
        return rows

    monkeypatch.setattr(webhook_store, "load_due", read_slowly)
    receiver.answers = [500, 500, 500]
    webhook = await hook(service, receiver)
    # Each event that is recorded makes the delivery read the webhooks that are due.
    for number in range(20):
        await post(service, f"plant-{number}", registered())
    await listed(service, lambda webhook: webhook["position"] == 22)
    attempts = [(d["position"], d["attempt"]) for d in reversed(await deliveries(service, webhook))]
    assert attempts == [(3, 1), (3, 2), (3, 3), (3, 4), *((position, 1) for position in range(4, 23))]


async def test_failing_webhook_is_disabled_and_resumes_after_a_resend(service: Service, receiver: Receiver) -> None:
    receiver.answers = [500] * 4
    webhook = await hook(service, receiver)
    await post(service, "plant", registered(), pledged())
    await listed(service, lambda webhook: webhook["disabled_at"] is not None)
    assert [message["data"]["position"] for message in await receiver.has(4)] == [3] * 4
    path = f"/v1/webhooks/{webhook['id']}"
    again = (await service.client.post(f"{path}/resend", json={"position": 4})).json()
    assert (again["status"], again["position"]) == (200, 4)
    # Delivery continues with the event that had failed.
    await listed(service, lambda webhook: webhook["position"] == 4)
    assert [m["data"]["position"] for m in await receiver.has(7)] == [3, 3, 3, 3, 4, 3, 4]
    assert (await service.client.post(f"{path}/resend", json={"position": 5})).status_code == 404


async def test_webhook_whose_receiver_answers_gone_is_disabled_at_once(service: Service, receiver: Receiver) -> None:
    receiver.answers = [410]
    await hook(service, receiver)
    await post(service, "plant", registered())
    assert (await listed(service, lambda webhook: webhook["disabled_at"] is not None))["failures"] == 1


async def test_webhook_sends_matching_events_from_its_start_position(service: Service, receiver: Receiver) -> None:
    await post(service, "plant", registered(), pledged())
    await post(service, "other", registered(), pledged())
    await hook(service, receiver, after=0, deal="plant", type="pledge_announced")
    await post(service, "plant", pledged(pledge="more"))
    assert [message["data"]["position"] for message in await receiver.has(2)] == [4, 7]
    assert (await listed(service, lambda webhook: webhook["position"] == 7))["failures"] == 0


async def test_test_message_returns_the_receivers_status(service: Service, receiver: Receiver) -> None:
    webhook = await hook(service, receiver)
    receiver.answers = [418]
    delivery = (await service.client.post(f"/v1/webhooks/{webhook['id']}/test")).json()
    assert (delivery["status"], delivery["error"], delivery["position"]) == (418, "answered 418", None)
    assert (await receiver.has(1))[0]["type"] == "webhook.test"
    assert [d["message"] for d in await deliveries(service, webhook)] == [delivery["message"]]


async def test_deleted_webhook_is_sent_nothing(service: Service, receiver: Receiver) -> None:
    webhook = await hook(service, receiver)
    path = f"/v1/webhooks/{webhook['id']}"
    assert (await service.client.delete(path)).status_code == 204
    assert (await service.client.delete(path)).status_code == 404
    assert (await service.client.get(f"{path}/deliveries")).status_code == 404
    for method, path in (("DELETE", ""), ("GET", "/deliveries"), ("POST", "/test")):
        assert (await service.client.request(method, f"/v1/webhooks/%00{path}")).status_code == 404
    await post(service, "plant", registered())
    await asyncio.sleep(0.2)
    assert receiver.got == []


async def test_restarted_service_continues_at_the_webhooks_position(
    server: Server, admin: Admin, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)
    async with cloned(server, admin, "webhooks") as settings:
        settings = replace(settings, webhook_networks=LOOPBACK)
        async with running(settings) as service:
            await hook(service, receiver)
            await post(service, "plant", registered())
            await receiver.has(1)
            await listed(service, lambda webhook: webhook["position"] == 3)
        async with running(settings) as one, running(settings) as other:
            # Each event is sent once by two processes.
            await asyncio.gather(post(one, "one", registered()), post(other, "other", registered()))
            await listed(one, lambda webhook: webhook["position"] == 5)
    assert [message["data"]["position"] for message in await receiver.has(3)] == [3, 4, 5]


async def test_redacted_content_is_not_sent(service: Service, receiver: Receiver) -> None:
    given = "0198a7c2-0000-7000-8000-000000000001"
    await post(service, "plant", registered(), {**pledged(), "id": given, "note": "a secret of the law"})
    redaction = {"event": {"type": "event_redacted", "redacts": given, "reason": "a court's order"}}
    await post(service, "plant", redaction)
    await hook(service, receiver, after=0)
    await receiver.has(3)
    assert not any(b"a secret of the law" in body for _, body in receiver.got)


async def test_one_webhook_takes_several_types(service: Service, receiver: Receiver) -> None:
    webhook = await hook(service, receiver, after=0, type=["pledge_announced", "stage_changed", "stage_changed"])
    assert webhook["type"] == ["pledge_announced", "stage_changed"]
    stage = {"effective_on": "2025-09-01", "event": {"type": "stage_changed", "stage": "signed"}}
    await post(service, "plant", registered(), pledged(), pledged(pledge="more"), stage)
    assert [message["type"] for message in await receiver.has(3)] == ["pledge_announced"] * 2 + ["stage_changed"]
    await listed(service, lambda webhook: webhook["position"] == 6)


async def test_webhook_sends_events_of_the_deals_that_a_list_shows(service: Service, receiver: Receiver) -> None:
    webhook = await hook(service, receiver, deals={"sector": "energy"})
    assert webhook["deals"] == {"sector": "energy"}
    await post(service, "plant", registered(sectors=["energy"]), pledged())
    await post(service, "mill", registered(sectors=["steel"]), pledged())
    assert [message["data"]["deal"] for message in await receiver.has(2)] == ["plant", "plant"]
    path = f"/v1/webhooks/{webhook['id']}"
    await listed(service, lambda webhook: webhook["position"] >= 5)
    assert (await service.client.patch(path, json={"deals": None})).json()["deals"] is None
    await post(service, "mill", pledged(pledge="more"))
    assert (await receiver.has(3))[-1]["data"]["deal"] == "mill"
    refused = await service.client.patch(path, json={"deals": {"extent": "within"}})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/deals/region")


async def test_changed_webhook_sends_with_its_new_address_and_filter(service: Service, receiver: Receiver) -> None:
    webhook = await hook(service, receiver, deal="plant", type="deal_registered")
    path = f"/v1/webhooks/{webhook['id']}"
    changed = await service.client.patch(path, json={"url": f"{receiver.url}/new", "type": None, "deal": "other"})
    assert changed.status_code == 200
    assert (changed.json()["url"], changed.json()["type"], changed.json()["deal"]) == (
        f"{receiver.url}/new",
        None,
        "other",
    )
    assert (await service.client.get(path)).json() == changed.json()
    await post(service, "plant", registered())
    await post(service, "other", registered(), pledged())
    assert [message["data"]["deal"] for message in await receiver.has(2)] == ["other", "other"]
    for wrong, pointer in (({"url": None}, "/url"), ({"url": "ftp://a.example"}, "/url"), ({"type": []}, "/type")):
        refused = await service.client.patch(path, json=wrong)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer), wrong
    assert (await service.client.patch("/v1/webhooks/wh_none", json={})).status_code == 404


async def test_webhook_is_stopped_and_resumed(service: Service, receiver: Receiver) -> None:
    webhook = await hook(service, receiver)
    path = f"/v1/webhooks/{webhook['id']}"
    assert (await service.client.patch(path, json={"enabled": False})).json()["disabled_at"] is not None
    await post(service, "plant", registered())
    await asyncio.sleep(0.2)
    assert receiver.got == []
    assert (await service.client.patch(path, json={"enabled": True})).json()["disabled_at"] is None
    assert len(await receiver.has(1)) == 1


async def test_receivers_that_fail_or_hang_do_not_hold_back_others(service: Service, receiver: Receiver) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as hanging:
        dead = f"http://127.0.0.1:{hanging.sockets[0].getsockname()[1]}/"
        for _ in range(5):
            await service.client.post("/v1/webhooks", json={"url": dead})
        await hook(service, receiver)
        # The hanging receivers have 15 seconds for the first event. The other one gets all of them meanwhile.
        await post(service, "plant", registered(), *(pledged(pledge=f"p{n}") for n in range(20)))
        got = await receiver.has(21)
        assert [message["data"]["position"] for message in got] == list(range(3, 24))
        waiting = (await service.client.get("/v1/webhooks")).json()["webhooks"]
        assert sorted(webhook["position"] for webhook in waiting)[:5] == [2] * 5


async def test_receiver_that_cannot_be_reached_or_does_not_answer_is_named_in_words(
    service: Service, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_sender, "REQUEST_TIMEOUT_SECONDS", 0.5)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def error_of(url: str) -> str:
        webhook = (await service.client.post("/v1/webhooks", json={"url": url})).json()
        return str((await service.client.post(f"/v1/webhooks/{webhook['id']}/test")).json()["error"])

    async with (
        await asyncio.start_server(hang, "127.0.0.1", 0) as hanging,
        await asyncio.start_server(close, "127.0.0.1", 0) as closing,
    ):
        ports = [server.sockets[0].getsockname()[1] for server in (hanging, closing)]
        found = [await error_of(f"http://127.0.0.1:{port}/") for port in ports]
        hanging.close()
        closing.close()
        found.append(await error_of(f"http://127.0.0.1:{ports[1]}/"))
    assert found[0] == "did not answer within 0.5 seconds"
    assert not [error for error in found if "Error" in error or "Timeout" in error], found


# --- allowed addresses ------------------------------------------------------------------------------------------------


async def test_receiver_in_a_network_that_is_no_longer_allowed_gets_nothing(
    server: Server, admin: Admin, receiver: Receiver
) -> None:
    async with cloned(server, admin, "webhooks") as settings:
        async with running(replace(settings, webhook_networks=LOOPBACK)) as service:
            webhook = await hook(service, receiver)
        async with running(settings) as service:
            delivery = (await service.client.post(f"/v1/webhooks/{webhook['id']}/test")).json()
    assert (delivery["status"], delivery["error"]) == (None, "'127.0.0.1' is not a public address")
    assert receiver.got == []


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.215.14/", "https://127.0.0.1/", "https://10.0.0.1/", "https://[::1]/", "https://",
        "https://user:pw@news.example/", "ftp://news.example/", "https://뉴스.example/", "https://news.example/뉴스",
        "https://news.example:0/", "https://news.example:99999/", "javascript:alert(1)",
    ],
)  # fmt: skip
async def test_webhook_with_an_unusable_url_is_refused(refusing: httpx.AsyncClient, url: str) -> None:
    answer = await refusing.post("/v1/webhooks", json={"url": url})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/url")


@pytest_asyncio.fixture(scope="module")
async def refusing(server: Server, admin: Admin) -> AsyncIterator[httpx.AsyncClient]:
    """A service that may send to public addresses only."""
    async with cloned(server, admin, "refusing") as settings, running(settings) as service:
        yield service.client


async def test_webhooks_need_an_api_key_with_scope_admin(service: Service, receiver: Receiver) -> None:
    webhook = await hook(service, receiver)
    path = f"/v1/webhooks/{webhook['id']}"
    key = await service.key("read", "record", "correct", "redact")
    for method, url in (
        ("GET", "/v1/webhooks"),
        ("POST", "/v1/webhooks"),
        ("DELETE", path),
        ("GET", f"{path}/deliveries"),
        ("POST", f"{path}/resend"),
        ("POST", f"{path}/test"),
        ("POST", f"{path}/rotate"),
        ("PATCH", path),
        ("GET", path),
    ):
        assert (await service.visitor.request(method, url)).status_code == 401
        assert (await service.visitor.request(method, url, headers=key)).status_code == 403
    wrong = await service.client.post("/v1/webhooks", json={"url": receiver.url, "type": "no_such"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/type")
    assert (await service.client.post("/v1/webhooks", json={"url": receiver.url, "sectet": 1})).status_code == 422


async def test_events_are_sent_as_cloud_events_in_both_modes(service: Service, receiver: Receiver) -> None:
    webhook = await hook(service, receiver, format="cloudevents")
    await post(service, "plant", registered())
    [structured] = await receiver.has(1)
    logged = (await service.client.get("/v1/events")).json()["events"][-1]
    assert structured == {
        "specversion": "1.0",
        "id": logged["id"],
        "source": service.settings.log_origin,
        "type": "investment-registry.deal_registered",
        "subject": "deal/plant",
        "time": structured["time"],
        "datacontenttype": "application/json",
        "position": logged["position"],
        "data": logged,
    }
    assert datetime.fromisoformat(structured["time"]) == datetime.fromisoformat(logged["recorded_at"])
    headers, body = receiver.got[0]
    assert headers["content-type"] == "application/cloudevents+json"
    # Signed as any other message.
    secret = base64.b64decode(webhook["secret"].removeprefix("whsec_"))
    timestamp = int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == sign(secret, headers["webhook-id"], timestamp, body)
    # A message whose answer is not yet recorded would be sent again.
    await listed(service, lambda sent: sent["position"] == logged["position"])
    changed = await service.client.patch(f"/v1/webhooks/{webhook['id']}", json={"format": "cloudevents-binary"})
    assert changed.json()["format"] == "cloudevents-binary"
    await post(service, "plant", pledged())
    await receiver.has(2)
    headers, body = receiver.got[1]
    attributes = {name.removeprefix("ce-"): value for name, value in headers.items() if name.startswith("ce-")}
    data = json.loads(body)
    assert headers["content-type"] == "application/json"
    assert attributes == {
        "specversion": "1.0",
        "id": data["id"],
        "source": service.settings.log_origin,
        "type": "investment-registry.pledge_announced",
        "subject": "deal/plant",
        "time": attributes["time"],
        "position": str(data["position"]),
    }
    tested = (await service.client.post(f"/v1/webhooks/{webhook['id']}/test")).json()
    assert tested["status"] == 200
    await receiver.has(3)
    assert receiver.got[2][0]["ce-type"] == "investment-registry.webhook.test"
