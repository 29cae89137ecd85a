"""`registry webhooks`, with a receiver on loopback."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from registry import cli
from registry.cli.headings import HEADINGS
from registry.cli.texts import Text
from registry.i18n import LANGUAGES, render
from tests.api.announcements import registered
from tests.cli.test_files import Ended, Run
from tests.cli.test_service import ENVIRONMENT
from tests.databases import Server
from tests.delivery.webhooks import Admin, Receiver, post, receiving, serving, signed_by
from tests.preloaded import COMMAND, preloaded
from tests.service import ADMIN_KEY, Service


@pytest_asyncio.fixture(scope="module")
async def service(server: Server, admin: Admin) -> AsyncIterator[Service]:
    async with serving(server, admin) as service:
        yield service


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def webhooks(service: Service) -> Run:
    """Run the command, with the key of an administrator unless another one is given."""

    async def ran(*words: str, key: str = ADMIN_KEY, language: str = "en") -> Ended:
        env = {"REGISTRY_URL": service.url, "REGISTRY_KEY": key, "REGISTRY_LANG": language}
        command = cli.command("webhooks")
        done = await asyncio.to_thread(CliRunner().invoke, command, ["webhooks", *words], env=env)
        return Ended(done.exit_code, done.stdout, done.stderr)

    return ran


async def added(webhooks: Run, receiver: Receiver, *words: str) -> dict[str, Any]:
    done = await webhooks("add", receiver.url, *words)
    assert done.code == 0, done.err
    assert done.err == "Install the secret at the receiver. It is shown only now.\n"
    [made] = done.json
    return dict(made)


async def listed(webhooks: Run, id: str) -> dict[str, Any]:
    done = await webhooks("list")
    assert "whsec_" not in done.out + done.err
    [found] = [one for one in done.json if one["id"] == id]
    return dict(found)


async def test_webhook_is_added_with_a_filter_changed_and_deleted(webhooks: Run, receiver: Receiver) -> None:
    types = ("--type", "deal_registered", "--type", "pledge_announced")
    made = await added(webhooks, receiver, "--deal", "plant", *types, "--format", "cloudevents", "--after", "0")
    assert made["secret"].startswith("whsec_")
    found = await listed(webhooks, made["id"])
    assert (found["url"], found["deal"], found["format"]) == (receiver.url, "plant", "cloudevents")
    assert found["type"] == ["deal_registered", "pledge_announced"]
    changes = ("--deal", "", "--type", "", "--organization", "acme", "--to", f"{receiver.url}/two", "--disable")
    [changed] = (await webhooks("update", made["id"], *changes)).json
    assert (changed["deal"], changed["type"], changed["organization"]) == (None, None, "acme")
    assert (changed["url"], changed["format"]) == (f"{receiver.url}/two", "cloudevents")
    assert changed["disabled_at"] is not None
    [enabled] = (await webhooks("update", made["id"], "--enable")).json
    assert (enabled["disabled_at"], enabled["organization"]) == (None, "acme")
    assert (await webhooks("delete", made["id"])).code == 0
    assert made["id"] not in (await webhooks("list")).out


async def test_secret_is_rotated_with_an_overlap(webhooks: Run, receiver: Receiver) -> None:
    made = await added(webhooks, receiver)
    [rotated] = (await webhooks("rotate", made["id"], "--hours", "2")).json
    assert rotated["secret"] not in (made["secret"], None)
    [sent] = (await webhooks("test", made["id"])).json
    assert (sent["status"], sent["error"]) == (200, None)
    [(headers, body)] = receiver.got
    assert signed_by(made, headers, body)
    assert signed_by(rotated, headers, body)
    [longer] = (await webhooks("rotate", made["id"])).json
    ends = [datetime.fromisoformat(one["rotation_ends_at"]) for one in (rotated, longer)]
    assert ends[1] - ends[0] > timedelta(hours=21)
    await webhooks("delete", made["id"])


async def test_deliveries_are_listed_and_an_event_is_sent_again(
    webhooks: Run, receiver: Receiver, service: Service
) -> None:
    made = await added(webhooks, receiver)
    await post(service, "sent-plant", registered())
    position = await service.size()
    await receiver.has(1)
    receiver.answers = [500]
    refused = await webhooks("resend", made["id"], str(position))
    [failed] = refused.json
    assert (refused.code, failed["position"], failed["status"]) == (1, position, 500)
    assert "500" in refused.err
    accepted = await webhooks("resend", made["id"], str(position))
    [again] = accepted.json
    assert (accepted.code, accepted.err) == (0, "")
    assert (again["status"], again["error"]) == (200, None)
    attempts = (await webhooks("deliveries", made["id"])).json
    assert attempts[:2] == [again, failed]
    assert (await webhooks("deliveries", made["id"], "--limit", "1")).json == [again]
    await webhooks("delete", made["id"])


@pytest.mark.parametrize("language", LANGUAGES)
async def test_test_message_that_is_not_accepted_ends_with_an_error(
    webhooks: Run, receiver: Receiver, language: str
) -> None:
    made = await added(webhooks, receiver)
    receiver.answers = [410, 0]
    refused = await webhooks("test", made["id"], language=language)
    assert (refused.code, refused.json[0]["status"]) == (1, 410)
    assert refused.err == f"registry: {render(Text('receiver_answered', status=410), language)}\n"
    unanswered = await webhooks("test", made["id"], language=language)
    [sent] = unanswered.json
    assert (unanswered.code, sent["status"]) == (1, None)
    assert unanswered.err == f"registry: {render(Text('not_delivered', error=sent['error']), language)}\n"
    await webhooks("delete", made["id"])


async def test_id_with_signs_of_an_address_is_one_segment_of_the_path(webhooks: Run) -> None:
    for id in ("../deals", "nothing?limit=1", "nothing#", "%2e%2e", "이름 없음"):
        for words in (("rotate", id), ("delete", id), ("test", id), ("resend", id, "1")):
            done = await webhooks(*words)
            assert (done.code, id in done.err) == (3, True), (words, done)
    empty = await webhooks("delete", "")
    assert (empty.code, empty.out) == (2, "")


async def test_wrong_id_a_refused_address_and_a_key_without_the_scope(webhooks: Run, service: Service) -> None:
    for words in (("update", "--disable"), ("rotate",), ("deliveries",), ("test",), ("delete",)):
        done = await webhooks(words[0], "nothing", *words[1:])
        assert (done.code, done.out) == (3, ""), words
        assert done.err == "registry: There is no webhook 'nothing'.\n"
    assert (await webhooks("resend", "nothing", "1")).code == 3
    refused = await webhooks("add", "https://10.0.0.1/", "--type", "no_such_event")
    assert (refused.code, refused.out) == (5, "")
    assert "/type" in refused.err
    reader = await service.issue("read", "record")
    for words in (("list",), ("add", "https://receiver.example/")):
        done = await webhooks(*words, key=reader.secret)
        assert (done.code, done.out) == (1, ""), words
        assert done.err.startswith("registry: ")


@pytest.mark.parametrize("language", LANGUAGES)
async def test_tables_have_headings_in_the_language(
    webhooks: Run, receiver: Receiver, service: Service, language: str
) -> None:
    made = await added(webhooks, receiver)
    await webhooks("test", made["id"])
    tables = {
        ("list",): ("url", "format", "failures", "position", "owner", "disabled_at"),
        ("deliveries", made["id"]): ("at", "message", "attempt", "status", "error"),
        ("rotate", made["id"]): ("secret", "rotation_ends_at"),
    }
    for words, columns in tables.items():
        heading = (await on_terminal(service, language, *words)).splitlines()[0]
        assert [column for column in columns if render(HEADINGS[column], language) not in heading] == [], heading
    await webhooks("delete", made["id"])


async def on_terminal(service: Service, language: str, *words: str) -> str:
    """What the command prints on a wide terminal."""
    settings = {"REGISTRY_URL": service.url, "REGISTRY_KEY": ADMIN_KEY, "REGISTRY_LANG": language, "COLUMNS": "400"}
    terminal, output = os.openpty()
    try:
        await asyncio.to_thread(
            subprocess.run,
            [COMMAND, "webhooks", *words],
            env={**ENVIRONMENT, **preloaded(), **settings},
            stdout=output,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        return os.read(terminal, 10_000).decode()
    finally:
        os.close(output)
        os.close(terminal)
