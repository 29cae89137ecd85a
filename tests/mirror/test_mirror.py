"""A mirror answers as its origin does, goes on without it, and records nothing (property 55)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec.structs import replace

from registry.mirror import follower
from registry.mirror.prepare import MirrorRefused, prepare
from registry.projections.rebuild import compare
from tests.api.announcements import pledged, registered
from tests.conftest import drill
from tests.databases import Server
from tests.mirror.conftest import caught_up, following, in_the_middle
from tests.mirror.questions import answers, differences, questions
from tests.preloaded import COMMAND, preloaded
from tests.service import NO_TLS, Service, cloned, running
from tests.transparency.conftest import post

Mirror = Callable[..., Any]


@pytest.mark.parametrize("every", [150, drill(1)])
async def test_mirror_answers_every_question_with_the_bytes_of_its_origin(
    demo_server: Server, admin: asyncpg.Connection[asyncpg.Record], mirror_settings: Mirror, every: int
) -> None:
    async with cloned(demo_server, admin, "origin_gone") as of_origin, running(of_origin) as origin:
        asked = await questions(origin, every)
        for kind in ("/v1/deals/", "/v1/events/", "/v1/organizations/"):
            assert any(one.startswith(kind) for one in asked), kind
        expected = await answers(origin, asked)
        async with mirror_settings(origin.url) as settings:
            async with running(settings) as copy:
                await caught_up(copy, origin)
                assert differences(expected, await answers(copy, asked)) == []
            origin_is_gone = replace(settings, follow_seconds=1)
            await origin.client.aclose()
            async with running(origin_is_gone) as copy:
                assert differences(expected, await answers(copy, asked[::4])) == []


async def test_mirror_follows_new_events_names_and_later_redactions(origin: Service, mirror: Mirror) -> None:
    async with mirror(origin.url) as copy:
        await caught_up(copy, origin)
        await origin.issue("record", name="A recorder of later")
        first, second = await post(origin, "later", registered("Later"), pledged())
        await caught_up(copy, origin)
        position = second["position"]
        kept = "SELECT content IS NOT NULL FROM event_contents WHERE position = $1"
        assert await copy.pool.fetchval(kept, position)
        await post(origin, "later", {"event": {"type": "event_redacted", "redacts": second["id"], "reason": "law"}})
        await caught_up(copy, origin)
        assert not await copy.pool.fetchval(kept, position)
        asked = ["/v1/deals/later", "/v1/deals/later/events", f"/v1/events/{first['id']}", "/v1/log/names"]
        asked += [f"/v1/events/{second['id']}", "/v1/log/entries?limit=1000", "/v1/deals/later?certificate=true"]
        assert differences(await answers(origin, asked), await answers(copy, asked)) == []
        assert "A recorder of later" in (await copy.visitor.get("/v1/log/names")).text


async def test_mirror_that_begins_after_a_redaction_is_the_same(
    server: Server,
    admin: asyncpg.Connection[asyncpg.Record],
    mirror: Mirror,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without the demo's events, which would be hundreds of pages.
    async with cloned(server, admin, "origin_redacted") as settings, running(settings) as origin:
        _, second = await post(origin, "early", registered("Early"), pledged())
        [void] = await post(
            origin, "early", {"event": {"type": "event_voided", "voids": second["id"], "reason": "a slip"}}
        )
        for id in (second["id"], void["id"]):
            await post(origin, "early", {"event": {"type": "event_redacted", "redacts": id, "reason": "law"}})
        # Pages of one event: the erased events are committed long before the redactions that explain them.
        monkeypatch.setattr(follower, "PAGE", 1)
        async with mirror(origin.url) as copy:
            await caught_up(copy, origin)
            asked = ["/v1/deals/early", "/v1/deals/early/events", f"/v1/events/{void['id']}", "/v1/deals?limit=100"]
            assert differences(await answers(origin, asked), await answers(copy, asked)) == []
            assert [line async for line in compare(str(copy.settings.owner_url))] == []
            assert copy.app.state.services.mirror.incident is None


async def test_mirror_says_how_far_behind_it_is_and_refuses_writes_and_keys(
    still_origin: Service, mirror: Mirror
) -> None:
    origin = still_origin
    async with mirror(origin.url) as copy:
        await caught_up(copy, origin)
        ready = (await copy.visitor.get("/health/ready")).json()
        assert ready["status"] == "ready"
        size = await origin.size()
        stated = {name: ready["mirror"][name] for name in ("origin", "position", "origin_size", "behind", "halted")}
        assert stated == {"origin": origin.url, "position": size, "origin_size": size, "behind": 0, "halted": None}
        refused = await copy.visitor.post("/v1/deals/new/events", json=registered())
        assert (refused.status_code, refused.json()["code"]) == (403, "read_only_mirror")
        assert refused.json()["params"] == {"url": origin.url}
        with_key = await copy.visitor.get("/v1/principals", headers=dict(origin.client.headers))
        assert with_key.status_code == 403
        with pytest.raises(asyncpg.PostgresError, match="mirror"):
            await copy.pool.execute("INSERT INTO events SELECT * FROM events WHERE false")
        assert (await copy.visitor.get("/v1/log/checkpoint")).text == (await origin.visitor.get("/log/checkpoint")).text


async def test_service_on_a_mirrors_database_follows_without_being_told(
    still_origin: Service, mirror_settings: Mirror
) -> None:
    async with mirror_settings(still_origin.url) as settings, running(replace(settings, follow=None)) as copy:
        await caught_up(copy, still_origin)
        assert (await copy.visitor.post("/v1/deals/new/events", json=registered())).status_code == 403


async def test_database_with_events_becomes_no_mirror(still_origin: Service) -> None:
    with pytest.raises(MirrorRefused):
        await prepare(replace(still_origin.settings, follow=still_origin.url))


async def test_mirror_verifies_as_a_whole(still_origin: Service, mirror: Mirror) -> None:
    async with mirror(still_origin.url) as copy:
        await caught_up(copy, still_origin)
        settings = copy.settings
        run = await asyncio.create_subprocess_exec(
            *[COMMAND, "verify", "--json", "--database-url", str(settings.database_url)],
            "--data-dir",
            str(settings.data_dir),
            env=preloaded(),
            stdout=-1,
            stderr=-1,
        )
        out, error = await run.communicate()
        assert run.returncode == 0, error
        assert json.loads(out)[0]["size"] == await still_origin.size()


async def error_page(service: Service, path: str) -> str:
    async with httpx.AsyncClient(base_url=service.url, verify=NO_TLS) as browser:
        answer = await browser.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 404
    return answer.text


async def test_pages_of_a_mirror_say_what_it_is_and_offer_no_sign_in(still_origin: Service, mirror: Mirror) -> None:
    async with mirror(still_origin.url) as copy:
        await caught_up(copy, still_origin)
        for language in ("en", "ko"):
            page = (await copy.visitor.get(f"/?lang={language}")).text
            assert still_origin.url in page
            assert "/sign-in" not in page
            assert "/sign-in" in (await still_origin.visitor.get(f"/?lang={language}")).text
            for path in (f"/nowhere?lang={language}", f"/deals/none?lang={language}"):
                of_copy, of_origin = await error_page(copy, path), await error_page(still_origin, path)
                assert "/sign-in" not in of_copy
                assert 'href="/record' not in of_copy
                assert "/sign-in" in of_origin
                assert f'href="/record?lang={language}"' in of_origin
        log = await copy.visitor.get("/log?lang=en")
        assert log.status_code == 200
        assert still_origin.settings.log_origin in log.text


async def test_operator_lists_and_decides_by_command(still_origin: Service, mirror_settings: Mirror) -> None:
    async def command(settings: Any, *words: str) -> tuple[int | None, str, str]:
        options = ["--database-url", settings.database_url, "--owner-url", settings.owner_url]
        options += ["--data-dir", str(settings.data_dir)]
        run = await asyncio.create_subprocess_exec(
            COMMAND, "mirror", *words, *options, env=preloaded(), stdout=-1, stderr=-1
        )
        out, error = await run.communicate()
        return run.returncode, out.decode(), error.decode()

    async with (
        in_the_middle(still_origin.url) as middle,
        mirror_settings(middle.url) as settings,
        following(settings) as (follower, _),
    ):
        assert (await command(settings, "accept", "--by", "kim", "--reason", "none"))[0] == 3
        middle.lie = lambda path, query, body: body.replace(b'"position":3,', b'"position":4,')
        await follower.follow_once()
        assert follower.status.incident is not None, follower.status.problem
        [listed] = json.loads((await command(settings, "incidents", "--json"))[1])
        assert (listed["kind"], listed["decided by"]) == ("entry", "")
        assert json.loads(listed["evidence"])
        code, out, error = await command(settings, "accept", "--by", "kim", "--reason", "the proxy was repaired")
        assert code == 0, error
        assert json.loads(out)[0]["decided by"] == "kim"
        middle.lie = lambda path, query, body: body
        await follower.follow_once()
        assert follower.status.is_ready
        assert follower.status.position == await still_origin.size()
