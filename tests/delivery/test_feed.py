"""The feed delivers every event once and in order, despite lost notifications and connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
import httpx
import pytest

from registry.append.recorder import Recorder
from registry.delivery import feed as module
from registry.delivery.feed import Feed
from registry.events.store import StoredEvent
from registry.infra import postgres
from registry.queries.event_filter import EventFilter
from registry.queries.log import LogQueries
from registry.queries.streams import StreamReader
from tests.append_helpers import REGISTERED, pledged, request, running_recorder
from tests.conftest import PATIENCE
from tests.databases import ScratchDatabase, Server
from tests.fault_proxy import wire
from tests.service import Service, cloned, running

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def recorder(database: ScratchDatabase) -> AsyncIterator[Recorder]:
    async with running_recorder(database.app_url, database.owner_url) as recorder:
        yield recorder


@pytest.fixture
async def feed(pool: Pool, recorder: Recorder) -> AsyncIterator[Feed]:
    """The feed of the recording process."""
    async with Feed(pool) as feed:
        recorder.commit_listeners.append(feed.on_commit)
        yield feed


def messages(text: str) -> list[tuple[int, Any]]:
    """Parse server-sent messages: their ids and their data."""
    parsed = []
    for message in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in message.splitlines() if not line.startswith(":"))
        if "data" in fields:
            parsed.append((int(fields["id"]), json.loads(fields["data"])))
    return parsed


async def first(feed: Feed, count: int, after: int, event_filter: EventFilter = EventFilter()) -> list[int]:  # noqa: B008 - it is frozen
    """The positions of the first `count` events that a listener gets."""
    positions: list[int] = []
    async with asyncio.timeout(PATIENCE):
        listening = feed.listen(after, event_filter)
        async for chunk in listening:
            positions += [position for position, event in messages(chunk.decode()) if event["position"] == position]
            if len(positions) >= count:
                break
        await listening.aclose()  # type: ignore[attr-defined]
    return positions


async def deals(recorder: Recorder, count: int, name: str = "plant") -> None:
    await asyncio.gather(*(recorder.record(request(f"{name}-{n}", REGISTERED)) for n in range(count)))


@pytest.mark.parametrize("after", [0, 1, 59, 119, 120])
async def test_feed_resumes_from_any_position(after: int, feed: Feed, recorder: Recorder) -> None:
    await deals(recorder, 120)
    listening = asyncio.create_task(first(feed, 140 - after, after))
    await deals(recorder, 20, "later")
    assert await listening == list(range(after + 1, 141))


async def test_many_listeners_get_every_event_once_while_two_processes_record(
    feed: Feed, database: ScratchDatabase, recorder: Recorder
) -> None:
    async with running_recorder(database.app_url) as other:
        listening = [asyncio.create_task(first(feed, 300 - n, n)) for n in range(0, 100, 5)]
        for n in range(5):
            await asyncio.gather(deals(recorder, 30, f"a{n}"), deals(other, 30, f"b{n}"))
        for n, task in zip(range(0, 100, 5), listening, strict=True):
            assert await task == list(range(n + 1, 301))


async def test_listener_behind_the_buffer_reads_from_the_log(
    feed: Feed, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BUFFERED_EVENTS", 10)
    monkeypatch.setattr(module, "PAGE", 7)
    slow = feed.listen(0, EventFilter())
    assert await anext(slow) == b"retry: 1000\n\n"
    positions: list[int] = []
    for n in range(10):
        await deals(recorder, 20, f"p{n}")
        chunk = (await anext(slow)).decode()
        positions += [position for position, _ in messages(chunk)]
    while len(positions) < 200:
        positions += [position for position, _ in messages((await anext(slow)).decode())]
    await slow.aclose()  # type: ignore[attr-defined]
    assert positions == list(range(1, 201))


async def test_listener_gets_only_events_that_match_its_filter(feed: Feed, recorder: Recorder) -> None:
    source = {"publisher": "The Example Times", "url": "https://news.example/plant"}
    joined = {"type": "parties_joined", "parties": [{"organization": "aws", "role": "investor"}]}
    await recorder.record(
        request("one", REGISTERED, pledged(sources=[source]), {"effective_on": "2025-01-01", "event": joined})
    )
    await deals(recorder, 10)
    cases = {
        EventFilter(type=("pledge_announced",)): [2, 14],
        EventFilter(deal="one"): [1, 2, 3, 14, 15],
        EventFilter(organization="aws"): [3, 15],
        EventFilter(source="http://www.news.example/plant/"): [2, 14],
        EventFilter(deal="one", type=("pledge_announced",)): [2, 14],
        EventFilter(deal="one", organization="aws", type=("parties_joined",)): [3],
    }
    listening = [asyncio.create_task(first(feed, len(expected), 0, f)) for f, expected in cases.items()]
    await asyncio.sleep(0.2)
    left = {"type": "party_left", "organization": "aws", "role": "investor"}
    await recorder.record(
        request("one", pledged("more", sources=[source]), {"effective_on": "2025-07-01", "event": left})
    )
    await deals(recorder, 3, "after")
    assert [await task for task in listening] == list(cases.values())


async def test_lost_notification_delays_events_and_loses_none(
    pool: Pool, database: ScratchDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without notifications the feed polls."""
    monkeypatch.setattr(module, "NOTIFY_CHANNEL", "nobody_speaks_here")
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    async with Feed(pool) as feed, running_recorder(database.app_url) as other:
        listening = asyncio.create_task(first(feed, 20, 0))
        await deals(other, 20)
        assert await listening == list(range(1, 21))


async def test_events_of_another_process_are_delivered_at_once(
    pool: Pool, database: ScratchDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 3600.0)
    async with Feed(pool) as feed, running_recorder(database.app_url) as other:
        listening = asyncio.create_task(first(feed, 2, 0))
        # Services of other databases may listen too.
        listens = """SELECT EXISTS (SELECT FROM pg_stat_activity
                                     WHERE datname = current_database() AND query LIKE 'LISTEN%' AND state = 'idle')"""
        while not await pool.fetchval(listens):  # noqa: ASYNC110 - the database has no event for it
            await asyncio.sleep(0.01)
        await deals(other, 1)
        await asyncio.sleep(0.3)
        await deals(other, 1, "later")
        assert await listening == [1, 2]


async def test_dropped_connections_delay_events_and_lose_none(
    database: ScratchDatabase, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    async with wire(database.app_url) as line:
        connections = await postgres.pool(line.url, min_size=1, max_size=4)
        async with connections, Feed(connections) as feed:
            positions: list[int] = []
            listening = feed.listen(0, EventFilter())
            for n in range(6):
                await deals(recorder, 10, f"p{n}")
                # A listener whose connection broke reconnects with its last position.
                if n % 2:
                    line.inject_fault(at=2)
                    await listening.aclose()  # type: ignore[attr-defined]
                    listening = feed.listen(positions[-1], EventFilter())
                while len(positions) < 10 * (n + 1):
                    try:
                        positions += [position for position, _ in messages((await anext(listening)).decode())]
                    except StopAsyncIteration:
                        listening = feed.listen(positions[-1] if positions else 0, EventFilter())
                # The feed polls, so the fault occurs at the latest after everything was delivered.
                while line.armed:  # noqa: ASYNC110 - the proxy has no event for it
                    await asyncio.sleep(0.01)
            assert line.cuts == 3
            await listening.aclose()  # type: ignore[attr-defined]
    assert positions == list(range(1, 61))


async def test_redacted_content_is_not_delivered_from_the_buffer(feed: Feed, recorder: Recorder) -> None:
    given = "0198a7c2-0000-7000-8000-000000000001"
    await recorder.record(request("plant", REGISTERED))
    watching = asyncio.create_task(first(feed, 3, 0))
    await recorder.record(request("plant", pledged(id=given, note="a secret of the law")))
    await asyncio.sleep(0.2)
    redacted = {"type": "event_redacted", "redacts": given, "reason": "a court's order"}
    await recorder.record(request("plant", {"event": redacted}))
    assert await watching == [1, 2, 3]
    texts = b""
    async for chunk in feed.listen(0, EventFilter()):
        texts += chunk
        if b"id: 3\n" in texts:
            break
    assert b"a secret of the law" not in texts
    assert [event["erased"] for _, event in messages(texts.decode())] == [False, True, False]


async def test_silent_feed_sends_heartbeats(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    listening = feed.listen(0, EventFilter())
    assert [await anext(listening) for _ in range(3)] == [
        b"retry: 1000\n\n",
        module.HEARTBEAT_COMMENT,
        module.HEARTBEAT_COMMENT,
    ]
    await listening.aclose()  # type: ignore[attr-defined]
    assert feed.listening == 0


class CountedQueries(LogQueries):
    """Counts the reads of the log for single listeners."""

    reads = 0

    async def events(self, *args: Any, **filters: Any) -> list[StoredEvent]:
        self.reads += 1
        return await super().events(*args, **filters)


async def test_idle_listeners_cause_no_queries(pool: Pool, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    # A heartbeat would wake them, too.
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 3600.0)
    queries = CountedQueries(StreamReader(pool))
    await deals(recorder, 5)
    async with Feed(pool, queries) as feed:
        recorder.commit_listeners.append(feed.on_commit)
        listeners = [feed.listen(5, EventFilter(deal=f"quiet-{n % 10}")) for n in range(1000)]
        await asyncio.gather(*(anext(listener) for listener in listeners))
        waiting = [asyncio.ensure_future(anext(listener)) for listener in listeners]
        async with asyncio.timeout(PATIENCE):
            while feed.idle < 1000:  # noqa: ASYNC110 - the feed has no event for it
                await asyncio.sleep(0.02)
        queries.reads = 0
        for n in range(10):
            await deals(recorder, 20, f"busy-{n}")
        await recorder.record(request("quiet-3", REGISTERED))
        woken = [task for n, task in enumerate(waiting) if n % 10 == 3]
        async with asyncio.timeout(PATIENCE):
            chunks = await asyncio.gather(*woken)
        assert [messages(chunk.decode())[0][0] for chunk in chunks] == [206] * 100
        assert sum(task.done() for task in waiting) == 100
        # The process has read the events once, for all listeners.
        assert queries.reads == 0
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


# --- over HTTP --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def served(server: Server, admin: Admin, name: str) -> AsyncIterator[Service]:
    async with cloned(server, admin, name) as settings, running(settings) as service:
        yield service


async def lines_of(answer: httpx.Response, count: int) -> list[int]:
    positions: list[int] = []
    async with asyncio.timeout(PATIENCE):
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                positions.append(int(line.removeprefix("id: ")))
                if len(positions) == count:
                    break
    return positions


async def test_feed_over_http_is_a_stream_of_server_sent_events(server: Server, admin: Admin) -> None:
    async with served(server, admin, "feed") as service:
        # The first key is in the log before them.
        start = await service.size()
        for n in range(5):
            await service.client.post(f"/v1/deals/plant-{n}/events", json=REGISTERED)
        path = "/v1/events/stream"
        async with service.visitor.stream("GET", path, headers={"Last-Event-ID": str(start + 2)}) as answer:
            assert answer.status_code == 200
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            await service.client.post("/v1/deals/plant-5/events", json=REGISTERED)
            assert await lines_of(answer, 4) == [start + n for n in (3, 4, 5, 6)]
        async with service.visitor.stream("GET", path, params={"after": 0, "deal": "plant-4"}) as answer:
            assert await lines_of(answer, 1) == [start + 5]
        # Without a position the stream begins at the head.
        async with service.visitor.stream("GET", path) as answer:
            await service.client.post("/v1/deals/plant-6/events", json=REGISTERED)
            assert await lines_of(answer, 1) == [start + 7]
        # A reconnecting browser sends the original URL and Last-Event-ID, which takes precedence.
        headers = {"Last-Event-ID": str(start + 6)}
        async with service.visitor.stream("GET", path, params={"after": 0}, headers=headers) as answer:
            assert await lines_of(answer, 1) == [start + 7]
        head = await service.visitor.head(path)
        assert (head.status_code, head.content) == (200, b"")
        for headers, params, named in (
            ({"Last-Event-ID": "-1"}, {}, "Last-Event-ID"),
            ({"Last-Event-ID": str(start + 8)}, {}, "Last-Event-ID"),
            ({}, {"after": str(start + 8)}, "after"),
            ({}, {"afer": "1"}, "afer"),
        ):
            refused = await service.visitor.get(path, headers=headers, params=params)
            assert (refused.status_code, refused.json()["parameter"]) == (400, named)


async def test_disconnected_listeners_are_removed(server: Server, admin: Admin) -> None:
    async with served(server, admin, "gone") as service:
        for _ in range(3):
            async with service.visitor.stream("GET", "/v1/events/stream?after=0") as answer:
                assert answer.status_code == 200
                assert service.app.state.services.feed.listening == 1
            async with asyncio.timeout(PATIENCE):
                while service.app.state.services.feed.listening:  # noqa: ASYNC110 - the connection's end comes late
                    await asyncio.sleep(0.01)


async def test_listener_gets_events_as_cloud_events_from_the_log_and_from_the_buffer(
    pool: Pool, recorder: Recorder
) -> None:
    async with Feed(pool, source="registry.example/log") as feed:
        recorder.commit_listeners.append(feed.on_commit)
        await deals(recorder, 3)
        plain = messages("".join([chunk.decode() async for chunk in _until(feed, 3, as_cloud_events=False)]))
        listening = asyncio.create_task(_collect(feed, 6))
        await asyncio.sleep(0)
        await deals(recorder, 3, "later")
        cloud = messages((await listening).decode())
    assert [position for position, _ in cloud] == [1, 2, 3, 4, 5, 6]
    assert [event["data"] for _, event in cloud[:3]] == [event for _, event in plain]
    for position, event in cloud:
        assert (event["specversion"], event["source"], event["position"]) == ("1.0", "registry.example/log", position)
        assert event["id"] == event["data"]["id"]


async def _collect(feed: Feed, count: int) -> bytes:
    return b"".join([chunk async for chunk in _until(feed, count, as_cloud_events=True)])


async def _until(feed: Feed, count: int, *, as_cloud_events: bool) -> AsyncIterator[bytes]:
    """The chunks that a listener from the first event on gets, up to a number of events."""
    found = 0
    async with asyncio.timeout(PATIENCE):
        listening = feed.listen(0, EventFilter(), as_cloud_events=as_cloud_events)
        async for chunk in listening:
            yield chunk
            found += chunk.count(b"data: ")
            if found >= count:
                break
        await listening.aclose()  # type: ignore[attr-defined]
