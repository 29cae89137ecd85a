"""Bodies that arrive slowly: a key or a session that ends meanwhile does nothing with them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import pytest

from tests.api.announcements import registered
from tests.conftest import PATIENCE
from tests.limits.conftest import RawConnection, connected
from tests.service import Service, bearer, numbers
from tests.web.forms import fields
from tests.web.test_import_pages import PLANTS, mapped, upload
from tests.web.test_sessions import visit

TABLES = ("events", "proposals", "webhooks", "watches")


async def stored(service: Service) -> dict[str, list[Any]]:
    """What the tables hold, without the log's events of principals."""
    rows = {table: await service.pool.fetch(f"SELECT * FROM {table} AS t ORDER BY t::text") for table in TABLES}
    rows["events"] = [row for row in rows["events"] if not row["stream"].startswith("principal/")]
    return rows


async def begin(connection: RawConnection, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
    """Send a request without the end of its body."""
    lines = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    await connection.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode(), body[:-2])


async def proposed(service: Service) -> httpx.Response:
    """A proposal of the administrator."""
    body = {"deal": f"slow-{next(numbers)}", "announcements": [registered()]}
    answer = await service.client.post("/v1/proposals", json=body)
    assert answer.status_code == 201
    return answer


@pytest.mark.parametrize("what", ["propose", "reject", "watch", "webhook", "import"])
async def test_key_that_is_revoked_before_its_body_ends_does_nothing(limited: Service, what: str) -> None:
    known = await proposed(limited)
    given: dict[str, tuple[str, Any]] = {
        "propose": ("/v1/proposals", {"deal": f"slow-{next(numbers)}", "announcements": [registered()]}),
        "reject": (f"{known.headers['location']}/reject", {"reason": "No source."}),
        "watch": ("/v1/watches", {"url": "https://receiver.example/"}),
        "webhook": ("/v1/webhooks", {"url": "https://receiver.example/"}),
        "import": ("/v1/import?propose=true", {"deal": f"slow-{next(numbers)}", **registered()}),
    }
    path, body = given[what]
    key = await limited.issue("admin")
    media_type = "application/x-ndjson" if what == "import" else "application/json"
    headers = {**bearer(key), "Content-Type": media_type, "If-Match": known.headers["etag"]}
    content, before = msgspec.json.encode(body), await stored(limited)
    async with connected(limited) as slow:
        await begin(slow, "POST", path, headers, content)
        # By the answer to a later request the service has read the head of the first.
        assert (await limited.visitor.get("/v1/watches", headers=bearer(key))).status_code == 200
        await limited.revoke(key)
        await slow.send(content[-2:])
        assert await slow.status() == 401
    assert await stored(limited) == before


async def test_import_whose_key_ends_before_its_turn_proposes_nothing(limited: Service) -> None:
    key, slug = await limited.issue("propose"), f"slow-{next(numbers)}"
    services = limited.app.state.services
    begun_by = await services.principals.find(key.secret)
    async with visit(limited, key) as proposer:
        path = await upload(proposer, "plants.csv", PLANTS.format(x=slug).encode())
        await mapped(proposer, path, slug)
    await limited.revoke(key)
    before = await stored(limited)
    job = services.import_jobs.store.find(key.principal, path.rpartition("/")[2])
    services.import_jobs.start(job, begun_by, "en", "propose")
    async with asyncio.timeout(PATIENCE):
        while job.is_running:  # noqa: ASYNC110 - a job tells nobody when it ends
            await asyncio.sleep(0.05)
    assert job.phase == "failed"
    assert await stored(limited) == before


async def test_session_that_ends_before_its_form_decides_on_nothing(limited: Service) -> None:
    path = (await proposed(limited)).headers["location"].removeprefix("/v1")
    async with visit(limited, await limited.issue("record")) as reviewer, connected(limited) as slow:
        form = fields((await reviewer.get(path)).text)
        content = urlencode({**form, "decision": "reject", "reason": "No source."}).encode()
        cookies = "; ".join(f"{name}={value}" for name, value in reviewer.cookies.items())
        headers = {"Cookie": cookies, "Content-Type": "application/x-www-form-urlencoded"}
        await begin(slow, "POST", path, headers, content)
        assert (await reviewer.post("/sign-out", data={"csrf": form["csrf"]})).status_code == 303
        await slow.send(content[-2:])
        assert await slow.status() in (303, 401)
    assert (await limited.client.get(f"/v1{path}")).json()["status"] == "open"
