"""An origin that lies, and a machine in the middle: the mirror copies nothing of it, stops, and stays stopped."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from registry.events import mirror_state
from registry.transparency.checkpoint import SigningKey, parse_note
from registry.transparency.evidence import Evidence
from tests.api.announcements import pledged, registered
from tests.conftest import drill
from tests.databases import Server
from tests.mirror.conftest import caught_up, following, halted, in_the_middle, numbers, until
from tests.service import Service, cloned, running
from tests.transparency.conftest import post

Mirror = Callable[..., Any]


def changed(entries: Callable[[list[dict[str, Any]]], None]) -> Callable[[str, dict[str, str], bytes], bytes]:
    """A lie about the entries of the log: a function that changes a page of them."""

    def lie(path: str, query: dict[str, str], body: bytes) -> bytes:
        if path != "/v1/log/entries":
            return body
        page = json.loads(body)
        entries(page["entries"])
        return json.dumps(page).encode()

    return lie


def drop(page: list[dict[str, Any]]) -> None:
    del page[5]


def drop_and_renumber(page: list[dict[str, Any]]) -> None:
    del page[5]
    for number, entry in enumerate(page, page[0]["position"]):
        entry["position"] = number


def swap(page: list[dict[str, Any]]) -> None:
    page[5], page[6] = {**page[6], "position": page[5]["position"]}, {**page[5], "position": page[6]["position"]}


def reuse_a_position(page: list[dict[str, Any]]) -> None:
    page[6] = {**page[5]}


def change_an_entry(page: list[dict[str, Any]]) -> None:
    page[5]["entry"] = page[5]["entry"].replace('"recorded_by":"', '"recorded_by":"x')


def change_content(page: list[dict[str, Any]]) -> None:
    one = next(entry for entry in page if entry["content"])
    one["content"] = one["content"].replace("e", "3", 1)


def change_the_salt(page: list[dict[str, Any]]) -> None:
    one = next(entry for entry in page if entry["salt"])
    one["salt"] = "00" + one["salt"][2:]


def withhold_content(page: list[dict[str, Any]]) -> None:
    one = next(entry for entry in page if entry["content"])
    one["content"] = one["salt"] = None


@pytest.mark.parametrize(
    ("lie", "kind"),
    [
        (drop, "entry"),
        drill(drop_and_renumber, "entry"),
        drill(swap, "entry"),
        (reuse_a_position, "entry"),
        drill(change_an_entry, "entry"),
        (change_content, "content"),
        drill(change_the_salt, "content"),
        (withhold_content, "withheld"),
    ],
)
async def test_changed_log_stops_the_mirror_before_anything_is_copied(
    still_origin: Service, mirror_settings: Mirror, lie: Callable[[list[dict[str, Any]]], None], kind: str
) -> None:
    async with (
        in_the_middle(still_origin.url) as middle,
        mirror_settings(middle.url) as settings,
        following(settings) as (follower, pool),
    ):
        middle.lie = changed(lie)
        await follower.follow_once()
        if kind == "withheld":
            # The redaction could have come after the checkpoint; the next one would have it.
            assert follower.status.incident is None
            await follower.follow_once()
        incident = follower.status.incident
        assert incident is not None, follower.status.problem
        assert incident.kind == kind
        assert json.loads(incident.evidence)
        copied = await pool.fetchval("SELECT count(*) FROM events")
        assert copied == (await still_origin.size() if kind == "withheld" else 0)
        # It asks for nothing more, also after a restart.
        asked = middle.requests
        async with following(settings) as (restarted, _):
            await restarted.follow_once()
            assert restarted.status.incident is not None
        assert middle.requests == asked


@asynccontextmanager
async def twins(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[tuple[Service, Service]]:
    """Two registries with one log and one signing key: what one of them records next contradicts the other."""
    async with (
        cloned(server, admin, f"twin_{next(numbers)}") as first,
        cloned(server, admin, f"twin_{next(numbers)}") as second,
        running(first) as one,
        running(second) as two,
    ):
        yield one, two


async def test_fork_shown_to_one_client_is_noticed_and_not_followed(
    demo_server: Server, admin: asyncpg.Connection[asyncpg.Record], mirror: Mirror
) -> None:
    async with twins(demo_server, admin) as (honest, forked), in_the_middle(honest.url) as middle:
        await post(honest, "shared", registered("What all see"))
        async with mirror(middle.url) as copy:
            await caught_up(copy, honest)
            # The fork is signed by the same key, and longer.
            await post(forked, "other", registered("What one sees"))
            await post(forked, "other", pledged())
            middle.to = forked.url
            incident = await halted(copy)
            assert (incident.kind, incident.position) == ("fork", await honest.size())
            evidence = json.loads(incident.evidence)
            sizes = [parse_note(evidence[name]).text.split("\n")[1] for name in ("known", "note")]
            assert [int(size) for size in sizes] == [await honest.size(), await forked.size()]
            assert (await copy.visitor.get("/v1/deals/other")).status_code == 404
            assert (await copy.visitor.get("/v1/deals/shared")).status_code == 200


async def test_two_logs_of_one_size_are_noticed(
    demo_server: Server, admin: asyncpg.Connection[asyncpg.Record], mirror: Mirror
) -> None:
    async with twins(demo_server, admin) as (honest, forked), in_the_middle(honest.url) as middle:
        await post(honest, "shared", registered("What all see"))
        async with mirror(middle.url) as copy:
            await caught_up(copy, honest)
            await post(forked, "shared", registered("What one sees"))
            assert await forked.size() == await honest.size()
            middle.to = forked.url
            assert (await halted(copy)).kind == "fork"


async def test_rollback_stops_the_mirror_until_an_operator_decides_also_after_a_restart(
    demo_server: Server, admin: asyncpg.Connection[asyncpg.Record], mirror_settings: Mirror
) -> None:
    async with twins(demo_server, admin) as (honest, older), in_the_middle(honest.url) as middle:
        await post(honest, "shared", registered("What all see"))
        async with mirror_settings(middle.url) as settings:
            async with running(settings) as copy:
                await caught_up(copy, honest)
                middle.to = older.url
                assert (await halted(copy)).kind == "rollback"
            middle.to = honest.url
            await post(honest, "shared", pledged())
            async with running(settings) as copy:
                status = copy.app.state.services.mirror
                await halted(copy)
                asked = middle.requests
                await until(lambda: copy.app.state.services.recorder.is_running)
                assert status.position == await honest.size() - 1
                assert middle.requests == asked
                owner = await asyncpg.connect(str(settings.owner_url))
                assert len(await mirror_state.accept(owner, "an operator", "a cache answered")) == 1
                await owner.close()
                await caught_up(copy, honest)

                async def is_ready() -> bool:
                    return (await copy.visitor.get("/health/ready")).status_code == 200

                # A service that has just started is not ready before its first pages are prepared.
                await until(is_ready)


def other_signature(note: str) -> str:
    """A note whose signature is wrong, with the key's own name and id."""
    text, blank, line = note.rpartition("\n\n")
    return text + blank + line[:-10] + ("A" if line[-10] != "A" else "B") + line[-9:]


async def test_wrong_signature_and_unknown_key_stop_the_mirror(still_origin: Service, mirror_settings: Mirror) -> None:
    stranger = SigningKey.generate(still_origin.settings.log_origin)

    def resign(note: str) -> str:
        return stranger.sign(parse_note(note).text)

    for change, kind in ((other_signature, "signature"), (resign, "key")):
        async with (
            in_the_middle(still_origin.url) as middle,
            mirror_settings(middle.url) as settings,
            following(settings) as (follower, _),
        ):
            await follower.follow_once()
            assert follower.status.is_ready

            def lie(path: str, query: dict[str, str], body: bytes, change: Callable[[str], str] = change) -> bytes:
                return change(body.decode()).encode() if path == "/v1/log/checkpoint" else body

            middle.lie = lie
            await follower.follow_once()
            assert follower.status.incident is not None, follower.status.problem
            assert follower.status.incident.kind == kind


async def test_rotated_key_stops_the_mirror_until_it_is_trusted(origin: Service, mirror: Mirror) -> None:
    async with mirror(origin.url) as copy:
        await caught_up(copy, origin)
        evidence: Evidence = origin.app.state.services.evidence
        key = await evidence.rotate_key()
        await post(origin, "signed", registered("With the new key"))
        assert (await halted(copy)).kind == "key"
        owner = await asyncpg.connect(str(copy.settings.owner_url))
        await mirror_state.trust(owner, [str(key)], "an operator")
        await mirror_state.accept(owner, "an operator", "the operator there told us")
        await owner.close()
        await post(origin, "later", registered("After the rotation"))
        await caught_up(copy, origin)
        assert (await copy.visitor.get("/v1/log/keys")).text == (await origin.visitor.get("/v1/log/keys")).text


async def test_false_heads_stop_the_mirror(still_origin: Service, mirror_settings: Mirror) -> None:
    def lie(path: str, query: dict[str, str], body: bytes) -> bytes:
        if path != "/v1/log/checkpoints":
            return body
        page = json.loads(body)
        for one in page["checkpoints"]:
            one["heads"] = other_signature(one["heads"])
        return json.dumps(page).encode()

    async with (
        in_the_middle(still_origin.url) as middle,
        mirror_settings(middle.url) as settings,
        following(settings) as (follower, _),
    ):
        middle.lie = lie
        await follower.follow_once()
        assert follower.status.incident is not None
        assert follower.status.incident.kind == "heads"


async def test_answers_that_are_no_log_are_waited_out(origin: Service, mirror: Mirror) -> None:
    async with in_the_middle(origin.url) as middle, mirror(middle.url) as copy:
        await caught_up(copy, origin)
        status = copy.app.state.services.mirror
        middle.lie = lambda path, query, body: b"<html>Sign in to the hotel's network</html>"
        await until(lambda: status.problem is not None)
        middle.to = "http://127.0.0.1:9"
        await until(lambda: status.problem is not None)
        assert status.incident is None
        assert (await copy.visitor.get("/health/ready")).status_code == 200
        middle.to, middle.lie = origin.url, lambda path, query, body: body
        await post(origin, "later", registered("Later"))
        await caught_up(copy, origin)
        await until(lambda: status.problem is None)
