"""Watches by e-mail, with a real SMTP server: confirmed, sent what matches, ended by a link."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from aiosmtpd.controller import Controller
from msgspec.structs import replace

from registry.delivery import watches as module
from registry.delivery.mail import Mail, Mailer, MailFailed
from registry.infra.settings import Settings
from registry.queries.matching_events import MatchingEvents
from tests.api.announcements import announced, pledged, registered, revised
from tests.conftest import PATIENCE
from tests.databases import Server
from tests.service import NO_TLS, Service, bearer, cloned, running
from tests.transparency.conftest import post

Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

READER = "reader@example.org"


class Inbox:
    """What a mail server accepts. `answers` are its replies to the next messages, instead of acceptance."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.answers: list[str] = []
        self.attempts = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.attempts += 1
        if self.answers:
            return self.answers.pop(0)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        assert envelope.rcpt_tos == [str(mail["To"])]
        self.mails.append(mail)
        return "250 OK"

    async def has(self, count: int) -> list[EmailMessage]:
        """Wait until there are this many messages."""
        async with asyncio.timeout(PATIENCE):
            while len(self.mails) < count:  # noqa: ASYNC110 - they arrive in a thread
                await asyncio.sleep(0.02)
        return self.mails


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
async def service(
    server: Server, admin: Admin, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Service]:
    """A service with a mail server on loopback, without the waits between messages."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(module, "MIN_POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "AT_ONCE_INTERVAL", timedelta(0))
    monkeypatch.setattr(module, "RETRY_MINUTES", (0, 0))
    with mail_server(inbox) as url:
        async with cloned(server, admin, "watches") as settings:
            settings = replace(settings, smtp_url=url, smtp_from="registry@example.org", site="http://site.example")
            async with running(settings) as service:
                yield service


class mail_server:  # noqa: N801 - used as a context manager
    """Run a mail server; gives its address."""

    def __init__(self, inbox: Inbox, host: str = "127.0.0.1", **options: Any) -> None:
        self._host = host
        # aiosmtpd connects to the port that it is given, to see that it listens.
        with socket.create_server((host, 0)) as free:
            self._port = free.getsockname()[1]
        self._controller = Controller(inbox, hostname=host, port=self._port, **options)

    def __enter__(self) -> str:
        self._controller.start()
        return f"smtp://{self._host}:{self._port}"

    def __exit__(self, *exc: object) -> None:
        self._controller.stop()


async def opened(service: Service, method: str, path: str, **more: Any) -> httpx.Response:
    """Open a page as a browser without a session does. Pages are not in the OpenAPI document."""
    async with httpx.AsyncClient(base_url=service.url, timeout=PATIENCE, verify=NO_TLS) as browser:
        return await browser.request(method, path, **more)


def link(mail: EmailMessage, purpose: str) -> str:
    """The path of a link in a message."""
    found = re.search(rf"http://site\.example(/watches/\S+/{purpose}\?token=\S+)", mail.get_content())
    assert found is not None, mail.get_content()
    return found[1]


async def watch(service: Service, **fields: Any) -> dict[str, Any]:
    answer = await service.client.post("/v1/watches", json={"email": READER, **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def confirmed(service: Service, inbox: Inbox, **fields: Any) -> dict[str, Any]:
    """A watch whose address is confirmed; the message that asked for it is forgotten."""
    made = await watch(service, **fields)
    mails = await inbox.has(1)
    answer = await opened(service, "POST", link(mails.pop(), "confirm"))
    assert answer.status_code == 200
    return made


async def test_events_are_sent_only_after_confirmation_and_until_the_link_ends_it(
    service: Service, inbox: Inbox
) -> None:
    made = await watch(service, deal="plant")
    assert made["confirmed_at"] is None
    [asking] = await inbox.has(1)
    assert (asking["To"], asking["From"]) == (READER, "registry@example.org")
    await post(service, "plant", registered())
    confirm = link(asking, "confirm")
    # Programs that open links, to look for harm, confirm nothing.
    page = (await opened(service, "GET", confirm)).text
    assert "<form" in page
    assert '<p class="lead">A plant</p>' in page
    assert (await service.client.get("/v1/watches")).json()["watches"][0]["confirmed_at"] is None
    assert (await opened(service, "POST", confirm)).status_code == 200
    await post(service, "plant", pledged())
    await post(service, "another", registered())
    mails = await inbox.has(2)
    text = mails[1].get_content()
    [event] = (await service.client.get("/v1/events?deal=plant&type=pledge_announced")).json()["events"]
    assert f"http://site.example/events/{event['id']}" in text
    assert "A plant" in text
    assert text.count("/events/") == 1
    # One click in a reader of mail (RFC 8058).
    assert mails[1]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    end = mails[1]["List-Unsubscribe"].strip("<>").removeprefix("http://site.example")
    assert end == link(mails[1], "end")
    assert (await opened(service, "GET", end)).status_code == 200
    body = "List-Unsubscribe=One-Click"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await opened(service, "POST", end, content=body, headers=form)).status_code == 200
    assert (await service.client.get("/v1/watches")).json()["watches"] == []
    assert await service.pool.fetchval("SELECT count(*) FROM watches") == 0
    assert (await opened(service, "POST", end, content=body, headers=form)).status_code == 404


async def test_address_is_neither_in_the_log_nor_readable_in_the_database(service: Service, inbox: Inbox) -> None:
    await confirmed(service, inbox)
    size = await service.size()
    assert size == await service.size()
    rows = await service.pool.fetch("SELECT to_jsonb(w)::text AS row FROM watches AS w")
    assert rows
    assert READER not in str(rows)
    contents = await service.pool.fetch("SELECT content FROM event_contents WHERE content IS NOT NULL")
    assert READER.encode() not in b"".join(row["content"] for row in contents)


async def test_several_events_are_one_message_and_filters_apply(service: Service, inbox: Inbox) -> None:
    await confirmed(service, inbox, type=["pledge_announced"], language="ko")
    await post(service, "one", registered("One"), pledged(), pledged(pledge="more"))
    [mail] = await inbox.has(1)
    assert mail.get_content().count("/events/") == 2
    assert mail["Content-Language"] == "ko"
    assert re.search("[가-힣]", str(mail["Subject"]))


async def test_watch_follows_the_deals_that_a_list_shows_and_those_that_leave_it(
    service: Service, inbox: Inbox
) -> None:
    def staged(day: str, stage: str) -> dict[str, Any]:
        return announced(day, "stage_changed", stage=stage)

    def events_of(mail: EmailMessage) -> list[str]:
        return re.findall(r"/events/(\S+)", mail.get_content())

    await post(service, "plant", registered("Zeppelin yard"))
    await post(service, "mill", registered("Harbour mill"), staged("2025-07-01", "construction"))
    deals = {"q": "zeppelin", "stage": "construction", "currency": "USD", "amount_min": "1000"}
    made = await confirmed(service, inbox, deals=deals)
    assert made["deals"] == deals
    # Not yet at the stage, and another deal that is: nothing is sent.
    await post(service, "plant", pledged())
    [elsewhere] = await post(service, "mill", pledged())
    [reaches] = await post(service, "plant", staged("2025-08-01", "construction"))
    assert events_of((await inbox.has(1))[0])[-1] == reaches["id"]
    [leaves] = await post(service, "plant", staged("2025-09-01", "suspended"))
    assert events_of((await inbox.has(2))[1]) == [leaves["id"]]
    await post(service, "plant", revised("2025-09-02", "6000000000"))
    [returns] = await post(service, "plant", staged("2025-09-03", "construction"))
    assert events_of((await inbox.has(3))[2])[-1] == returns["id"]
    assert elsewhere["id"] not in [id for mail in inbox.mails for id in events_of(mail)]
    for wrong, field in (
        ({"extent": "within"}, "region"),
        ({"amount_max": "5"}, "currency"),
        ({"metric_min": "5"}, "metric"),
        ({"share_min": "101"}, "share_min"),
        ({"stage": "x"}, "stage"),
    ):
        refused = await service.client.post("/v1/watches", json={"email": READER, "deals": wrong})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, f"/deals/{field}")


async def test_reader_watches_a_list_of_deals_from_its_page(service: Service, inbox: Inbox) -> None:
    await post(service, "plant", registered())
    how: dict[str, Any] = {"base_url": service.url, "timeout": PATIENCE, "verify": NO_TLS}
    async with httpx.AsyncClient(**how, follow_redirects=True) as browser:
        await browser.post("/sign-in", data={"key": service.settings.admin_key})
        shown = (await browser.get("/?stage=construction&region=KR-31&lang=en")).text
        address = re.search(r'href="(/watches/new\?[^"]+)"', shown)
        assert address is not None
        form = (await browser.get(address[1].replace("&amp;", "&"))).text
        assert "Ulsan" in form
        fields = dict(re.findall(r'type="hidden" name="([\w.]+)" value="([^"]+)"', form))
        assert (await browser.post("/watches", data={**fields, "email": READER})).status_code == 200
    [own] = (await service.client.get("/v1/watches")).json()["watches"]
    assert own["deals"] == {"region": "KR-31", "stage": "construction"}
    assert "Ulsan" in (await inbox.has(1))[0].get_content()


async def test_name_of_several_lines_is_one_line_of_a_message(service: Service, inbox: Inbox) -> None:
    title = f"A plant\nBcc: other@example.org\u2028\nhttp://elsewhere.example{'/x' * 3}"
    assert (await service.client.post("/v1/deals/a-plant/events", json=registered(title))).status_code == 201
    await confirmed(service, inbox, deal="a-plant", deals={"q": "plant\nBcc: other@example.org"})
    await service.client.post("/v1/deals/a-plant/events", json=pledged())
    [mail] = await inbox.has(1)
    assert mail["Bcc"] is None
    assert "A plant Bcc: other@example.org" in mail["Subject"].replace("\n", "")
    assert not [line for line in mail.get_content().splitlines() if line.startswith(("Bcc", "http://elsewhere"))]


async def test_daily_watch_waits_for_its_hour(service: Service, inbox: Inbox) -> None:
    made = await confirmed(service, inbox, digest="daily", deal="plant")
    await confirmed(service, inbox, deal="other")
    await post(service, "plant", registered())
    await post(service, "other", registered())
    [mail] = await inbox.has(1)
    assert "/deals/plant" not in mail.get_content()
    next_at = await service.pool.fetchval("SELECT next_at FROM watches WHERE id = $1", made["id"])
    local = next_at.astimezone(service.app.state.services.calendar.zone)
    assert local.time() == module.DAILY_AT
    await post(service, "plant", pledged())
    await service.pool.execute("UPDATE watches SET next_at = now() WHERE id = $1", made["id"])
    mails = await inbox.has(2)
    assert mails[1].get_content().count("/events/") == 2


async def test_message_that_was_not_taken_is_sent_again_and_none_is_lost(service: Service, inbox: Inbox) -> None:
    made = await confirmed(service, inbox)
    inbox.answers += ["451 later", "451 later"]
    await post(service, "plant", registered())
    [mail] = await inbox.has(1)
    assert mail.get_content().count("/events/") == 1
    # An address that the server refuses for good ends the watch.
    inbox.answers.append("550 no such user")
    await post(service, "plant", pledged())
    async with asyncio.timeout(PATIENCE):
        while (await service.client.get("/v1/watches")).json()["watches"][0]["disabled_at"] is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert made["id"] == (await service.client.get("/v1/watches")).json()["watches"][0]["id"]


async def test_watch_of_a_revoked_principal_sends_nothing(service: Service, inbox: Inbox) -> None:
    key = await service.issue("read")
    made = await service.client.post("/v1/watches", json={"email": READER}, headers=bearer(key))
    assert made.status_code == 201
    await opened(service, "POST", link((await inbox.has(1)).pop(), "confirm"))
    await service.revoke(key)
    await post(service, "plant", registered())
    async with asyncio.timeout(PATIENCE):
        while not await service.pool.fetchval("SELECT disabled_at FROM watches"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert inbox.mails == []


async def test_event_after_the_end_of_a_right_is_not_sent(
    service: Service, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the right ends while the events are looked for."""
    key = await service.issue("read")
    await service.client.post("/v1/watches", json={"email": READER}, headers=bearer(key))
    await opened(service, "POST", link((await inbox.has(1)).pop(), "confirm"))
    following = MatchingEvents.following
    ended = False

    async def end_the_right_first(events: MatchingEvents, *asked: Any) -> Any:
        nonlocal ended
        if not ended:
            ended = True
            await service.revoke(key)
            await post(service, "plant", pledged())
        return await following(events, *asked)

    monkeypatch.setattr(MatchingEvents, "following", end_the_right_first)
    await post(service, "plant", registered())
    async with asyncio.timeout(PATIENCE):
        while not await service.pool.fetchval("SELECT disabled_at FROM watches"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert inbox.mails == []


async def test_watches_belong_to_their_principal(service: Service, inbox: Inbox) -> None:
    made = await watch(service)
    other = await service.key("read")
    assert (await service.client.get("/v1/watches", headers=other)).json()["watches"] == []
    refused = await service.client.delete(f"/v1/watches/{made['id']}", headers=other)
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert (await service.visitor.get("/v1/watches")).status_code == 401
    assert (await service.client.delete(f"/v1/watches/{made['id']}")).status_code == 204
    for path in (f"/watches/{made['id']}/end?token=AAAA", "/watches/wa_x/confirm?token=A", "/watches/x/y?token=A"):
        assert (await opened(service, "GET", path)).status_code == 404


async def test_watch_whose_address_cannot_be_read_is_listed_and_can_be_deleted(service: Service, inbox: Inbox) -> None:
    lost, kept = await watch(service), await watch(service)
    await service.pool.execute("UPDATE watches SET email = '\\x00' WHERE id = $1", lost["id"])
    listed = (await service.client.get("/v1/watches")).json()["watches"]
    assert [(one["id"], one["email"]) for one in listed] == [(lost["id"], None), (kept["id"], READER)]
    assert (await service.client.delete(f"/v1/watches/{lost['id']}")).status_code == 204


@pytest.mark.parametrize(
    "email", ["", "x", "a@b", "a b@c.example", "a@c.example\nBcc: x@y.example", "a@c.example, d@e.example", "<a@b.c>"]
)
async def test_wrong_address_is_refused(service: Service, email: str) -> None:
    refused = await service.client.post("/v1/watches", json={"email": email})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/email"


async def test_watch_that_cannot_ask_for_confirmation_is_not_saved(service: Service, inbox: Inbox) -> None:
    inbox.answers.append("550 no such user")
    refused = await service.client.post("/v1/watches", json={"email": READER})
    assert (refused.status_code, refused.json()["code"]) == (503, "mail_unavailable")
    assert (await service.client.get("/v1/watches")).json()["watches"] == []


async def test_principal_has_a_limited_number_of_watches(
    service: Service, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WATCHES", 2)
    await watch(service)
    await watch(service)
    refused = await service.client.post("/v1/watches", json={"email": READER})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "too_many_watches")


async def test_unconfirmed_watch_is_deleted_with_its_address(service: Service, inbox: Inbox) -> None:
    await watch(service)
    await service.pool.execute("UPDATE watches SET created_at = created_at - interval '49 hours'")
    await watch(service)
    assert await service.pool.fetchval("SELECT count(*) FROM watches") == 1


async def test_reader_watches_a_deal_and_ends_the_watch_on_pages(service: Service, inbox: Inbox) -> None:
    await post(service, "plant", registered())
    how: dict[str, Any] = {"base_url": service.url, "timeout": PATIENCE, "verify": NO_TLS}
    async with httpx.AsyncClient(**how, follow_redirects=True) as browser:
        assert "/watches/new?deal=plant" in (await browser.get("/deals/plant?lang=en")).text
        asked = await browser.get("/watches/new?deal=plant")
        assert "/sign-in" in str(asked.url) or asked.status_code == 401
        await browser.post("/sign-in", data={"key": service.settings.admin_key})
        form = (await browser.get("/watches/new?deal=plant&lang=ko")).text
        assert "이메일" in form
        csrf = re.search(r'name="csrf" value="(\w+)"', form)
        assert csrf is not None
        sent = {"csrf": csrf[1], "deal": "plant", "digest": "daily"}
        wrong = await browser.post("/watches", data={**sent, "email": "nobody"})
        assert wrong.status_code == 422
        assert 'value="nobody"' in wrong.text
        shown = await browser.post("/watches", data={**sent, "email": READER})
        assert READER in shown.text
        assert 'role="status"' in shown.text
        await inbox.has(1)
        [own] = (await service.client.get("/v1/watches")).json()["watches"]
        assert (own["deal"], own["digest"]) == ("plant", "daily")
        assert (await browser.post("/watches", data={**sent, "csrf": "0", "email": READER})).status_code == 403
        ended = await browser.post(f"/watches/{own['id']}/delete", data={"csrf": csrf[1]})
        assert READER not in ended.text
        assert 'role="status"' in ended.text


async def test_service_without_a_mail_server_says_so(server: Server, admin: Admin) -> None:
    async with cloned(server, admin, "no_mail") as settings, running(settings) as service:
        refused = await service.client.post("/v1/watches", json={"email": READER})
        assert refused.status_code == 404


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
async def test_password_is_sent_only_where_it_is_read_by_nobody_else(inbox: Inbox) -> None:
    class Authenticator:
        """Accepts one password, and remembers whether the connection was encrypted."""

        def __call__(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
            from aiosmtpd.smtp import AuthResult

            # Not handled: the server answers.
            return AuthResult(success=data.password == b"s3cret%", handled=False)

    with mail_server(inbox, authenticator=Authenticator(), auth_require_tls=False, auth_required=True) as url:
        place = urlsplit(url).netloc
        mail = Mail(to=READER, subject="Ünï", text="Hello\n", language="en")
        await Mailer(f"smtp://reader:s3cret%25@{place}", "registry@example.org").send(mail)
        assert (await inbox.has(1))[0]["Subject"] == "Ünï"
        with pytest.raises(MailFailed):
            await Mailer(f"smtp://reader:wrong@{place}", "registry@example.org").send(mail)
    # An address that is not one of this machine's names, and no TLS.
    with mail_server(inbox, "127.0.0.2") as url, pytest.raises(MailFailed, match="TLS"):
        await Mailer(f"smtp://reader:s3cret%25@{urlsplit(url).netloc}", "registry@example.org").send(mail)


def test_mail_settings_belong_together_and_show_no_password() -> None:
    environment = {
        "REGISTRY_SMTP_URL": "smtp://user:pass@mail.example",
        "REGISTRY_SMTP_FROM": "registry@example.org",
        "REGISTRY_SITE": "https://registry.example",
    }
    assert "pass@" not in repr(Settings.read(environment))
    for name in ("REGISTRY_SMTP_FROM", "REGISTRY_SITE"):
        with pytest.raises(Exception, match=name):
            Settings.read({key: value for key, value in environment.items() if key != name})
