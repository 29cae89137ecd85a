"""A connection, the server or the service dies: every acknowledged event is there once, with its projections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import asyncpg
import httpx
import pytest

from registry.append.requests import AppendResult
from registry.errors import DatabaseUnavailable
from registry.events import log_lock
from registry.infra import migrations, postgres
from registry.infra.embedded import binaries
from registry.infra.embedded.server import APP_ROLE, Embedded
from registry.infra.settings import Settings
from tests.append_helpers import REGISTERED, assert_projections_match_log, pledged, positions, request, running_recorder
from tests.conftest import PATIENCE
from tests.databases import ScratchDatabase
from tests.fault_proxy import FaultProxy, wire
from tests.service import ADMIN_KEY, NO_TLS, running

pytestmark = pytest.mark.drill

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


@pytest.fixture
async def line(database: ScratchDatabase) -> AsyncIterator[FaultProxy]:
    """A proxy in front of the test's database, used by the application's role."""
    async with wire(database.app_url) as made:
        yield made


# --- one connection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delivered", [True, False])
async def test_recorder_looks_for_a_commit_whose_answer_was_lost_before_it_retries(
    delivered: bool, database: ScratchDatabase, line: FaultProxy, pool: Pool
) -> None:
    async with running_recorder(line.url) as recorder:
        await recorder.record(request("plant", REGISTERED))
        line.inject_fault(word=b"COMMIT\0", deliver=delivered)
        answers = await asyncio.gather(
            recorder.record(request("plant", pledged("one"))), recorder.record(request("plant", pledged("two")))
        )
        assert line.cuts == 1
        assert [outcome.version for outcome in answers] == [2, 3]
        assert (await recorder.record(request("plant", pledged("three")))).version == 4
    assert await positions(pool) == [1, 2, 3, 4]
    await assert_projections_match_log(database)


@pytest.mark.parametrize("delivered", [True, False])
async def test_retry_with_the_same_key_settles_a_lost_answer(
    delivered: bool, database: ScratchDatabase, line: FaultProxy, pool: Pool
) -> None:
    async with running_recorder(line.url) as recorder:
        await recorder.record(request("plant", REGISTERED))
        asked = request("plant", pledged(), idempotency_key="k1")
        line.inject_fault(word=b"COMMIT\0", deliver=delivered, stay_down=True)
        with pytest.raises(DatabaseUnavailable):
            await recorder.record(asked)
        line.down = False
        outcome = await recorder.record(asked)
        assert outcome.new is not delivered
        assert (outcome.version, outcome.position) == (2, 2)
        assert (await recorder.record(asked)).response == outcome.response
    assert await positions(pool) == [1, 2]
    await assert_projections_match_log(database)


@pytest.mark.parametrize("deliver", [True, False])
async def test_event_and_projections_commit_together_when_killed_at_any_statement(
    deliver: bool, database: ScratchDatabase, line: FaultProxy, pool: Pool
) -> None:
    async with running_recorder(line.url) as recorder:
        await recorder.record(request("plant", REGISTERED))
        n = 0
        while True:
            n += 1
            asked = request("plant", pledged(f"p{n}"), idempotency_key=f"k{n}")
            line.inject_fault(at=n, deliver=deliver, stay_down=True)
            answer: Any = (await asyncio.gather(recorder.record(asked), return_exceptions=True))[0]
            events = await pool.fetchval("SELECT count(*) FROM events WHERE stream = 'deal/plant'")
            listed = await pool.fetchval("SELECT count(*) FROM pledge_facts WHERE pledge = $1", f"p{n}")
            kept = await pool.fetchval("SELECT count(*) FROM idempotency WHERE key = $1", f"k{n}")
            assert (events, listed > 0, kept) in ((n, False, 0), (n + 1, True, 1))
            if isinstance(answer, AppendResult):
                assert line.armed or kept == 1
            else:
                assert isinstance(answer, DatabaseUnavailable)
            finished = line.armed
            line.inject_fault()
            line.down = False
            assert (await recorder.record(asked)).version == n + 1
            if finished:
                break
        # Lock, lookup, write and commit, and more round trips where a statement is prepared first.
        assert n > 3
    await assert_projections_match_log(database)


async def test_terminated_connection_is_replaced(database: ScratchDatabase, pool: Pool) -> None:
    """The server ended an idle connection, as in a restart."""
    async with running_recorder(database.app_url, name="terminated") as recorder:
        await recorder.record(request("plant", REGISTERED))
        await pool.fetch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'terminated'")
        assert (await recorder.record(request("plant", pledged()))).version == 2
    assert await positions(pool) == [1, 2]


async def test_server_that_does_not_answer_counts_as_unavailable(
    database: ScratchDatabase, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pool.acquire() as other, running_recorder(database.app_url) as recorder:
        await recorder.record(request("plant", REGISTERED))
        # A lock that is held for too long looks like a server that does not answer.
        async with log_lock.hold_log_lock(other, patience=PATIENCE):
            with monkeypatch.context() as impatient:
                impatient.setattr(log_lock, "LOCK_TIMEOUT_SECONDS", 0.3)
                with pytest.raises(DatabaseUnavailable):
                    await recorder.record(request("plant", pledged("one")))
        assert (await recorder.record(request("plant", pledged("two")))).version == 2
    assert await positions(pool) == [1, 2]


async def test_process_frozen_with_the_lock_blocks_others_only_for_the_timeout(
    database: ScratchDatabase, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends its transaction and rolls it back."""
    monkeypatch.setattr(log_lock, "IDLE_SECONDS", 1)
    frozen = await postgres.pool(database.app_url, min_size=1, max_size=1)

    async def freeze() -> None:
        async with log_lock.log_transaction(frozen) as connection, running_recorder(database.app_url) as recorder:
            await connection.execute("INSERT INTO mentions (term, position) VALUES ('begun', 1)")
            assert (await recorder.record(request("plant", REGISTERED))).position == 1

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
        await freeze()
    frozen.terminate()
    assert await pool.fetchval("SELECT count(*) FROM mentions WHERE term = 'begun'") == 0


# --- the server -------------------------------------------------------------------------------------------------------


def settings_of(server: Embedded, folder: Path) -> Settings:
    return Settings(
        database_url=server.app_url,
        owner_url=server.owner_url,
        data_dir=folder,
        signing_key=folder / "signing.key",
        admin_key=ADMIN_KEY,
    )


async def test_service_survives_a_database_restart_and_reports_it(tmp_path: Path) -> None:
    with Embedded(tmp_path / "server") as server:
        await migrations.migrate(server.owner_url, APP_ROLE)
        settings = settings_of(server, tmp_path)
        async with running(settings) as service:
            path = "/v1/deals/plant/events"
            assert (await service.client.post(path, json=REGISTERED)).status_code == 201
            server.stop()
            for _ in range(3):
                for answer in (
                    await service.client.post(path, json=pledged()),
                    await service.client.get("/v1/deals/plant"),
                    await service.client.get("/v1/deals"),
                    await service.client.get("/v1/events"),
                ):
                    assert answer.status_code == 503, answer.text
                    assert int(answer.headers["Retry-After"]) > 0
                    assert answer.headers["Content-Type"] == "application/problem+json"
            assert (await service.client.get("/health/live")).status_code == 200
            assert (await service.client.get("/health/ready")).status_code == 503
            with Embedded(tmp_path / "server"):
                answer = await service.client.post(path, json=pledged())
                assert (answer.status_code, answer.json()["version"]) == (201, 2)
                assert (await service.client.get("/health/ready")).status_code == 200


async def test_service_runs_on_every_installed_postgres(tmp_path: Path) -> None:
    """The packaged Postgres and every other that is installed on this machine."""
    tried = {}
    for number, folder in enumerate(binaries.installed()):
        if not (folder / "postgres").exists():
            continue
        with Embedded(tmp_path / str(number), binaries=folder) as server:
            await migrations.migrate(server.owner_url, APP_ROLE)
            database = ScratchDatabase(name="registry", owner_url=server.owner_url, app_url=server.app_url)
            async with running_recorder(server.app_url, server.owner_url) as recorder:
                given = str(uuid4())
                await recorder.record(request("plant", REGISTERED, pledged("one", id=given), pledged("two")))
                replacement = {"effective_on": "2025-06-17"}
                correction = {"corrects": given, "replacement": replacement, "reason": "a slip"}
                await recorder.record(request("plant", {"event": {"type": "event_corrected", **correction}}))
                redaction = {"type": "event_redacted", "redacts": given, "reason": "a court's order"}
                assert (await recorder.record(request("plant", {"event": redaction}))).version == 5
            await assert_projections_match_log(database)
            tried[server.version] = folder
    assert tried


# --- the service, killed under load -----------------------------------------------------------------------------------


def a_free_port() -> int:
    """A free port for a service that is killed and restarted.

    Outside the range of ephemeral ports: between the kill and the restart, the system could give such a port to another
    process, or to the retrying client, which would then connect to itself.
    """
    for port in random.sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


@asynccontextmanager
async def serving(folder: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """`registry serve` with its bundled Postgres, ready; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from registry.cli import main; main()",
        "serve",
        *("--data-dir", str(folder), "--port", str(port), "--admin-key", ADMIN_KEY),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={k: v for k, v in os.environ.items() if not k.startswith("REGISTRY_")},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            assert (await process.stdout.readline()).startswith(b"ready ")
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def post_until_stopped(url: str, name: str, acknowledged: dict[str, int], stop: asyncio.Event) -> None:
    """Record one pledge after another; resend what is not acknowledged with the same id and key."""
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE, verify=NO_TLS) as client:
        todo = {**REGISTERED, "id": str(uuid4())}
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await client.post(
                    f"/v1/deals/{name}/events", json=todo, headers={"Idempotency-Key": f"key-{todo['id']}"}
                )
                assert answer.status_code in (200, 201, 503), answer.text
                if answer.status_code != 503:
                    event = answer.json()["events"][0]
                    assert event["id"] == todo["id"]
                    acknowledged[event["id"]] = event["position"]
                    if stop.is_set():
                        return
                    todo = pledged(f"p{len(acknowledged)}", id=str(uuid4()))
                    continue
            await asyncio.sleep(0.05)


async def test_acknowledged_events_survive_kills_under_load(tmp_path: Path) -> None:
    """kill -9 the service twice and its Postgres twice."""
    port = a_free_port()
    url = f"http://127.0.0.1:{port}"
    events: list[Any] = []
    acknowledged: dict[str, int] = {}
    stop = asyncio.Event()

    async def more(count: int) -> None:
        enough = len(acknowledged) + count
        while len(acknowledged) < enough:  # noqa: ASYNC110 - the writers are another's clients
            await asyncio.sleep(0.01)

    async with asyncio.timeout(4 * PATIENCE):
        writers: list[asyncio.Task[None]] = []
        for round_ in range(3):
            async with serving(tmp_path, port) as process:
                if round_ == 0:
                    names = [f"writer-{n}" for n in range(8)]
                    writers = [asyncio.create_task(post_until_stopped(url, n, acknowledged, stop)) for n in names]
                await more(50)
                if round_ == 1:
                    for _ in range(2):
                        pid = (tmp_path / "postgres" / "postmaster.pid").read_text().splitlines()[0]
                        os.kill(int(pid), signal.SIGKILL)
                        await more(50)
                if round_ < 2:
                    process.kill()
                    await process.wait()
                    continue
                stop.set()
                await asyncio.gather(*writers)
                async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, verify=NO_TLS) as client:
                    while page := (await client.get("/v1/events", params={"after": len(events), "limit": 1000})).json()[
                        "events"
                    ]:
                        events += page
    assert [event["position"] for event in events] == list(range(1, len(events) + 1))
    assert {event["id"]: event["position"] for event in events if event.get("deal")} == acknowledged
    with Embedded(tmp_path) as server:
        await assert_projections_match_log(
            ScratchDatabase(name="registry", owner_url=server.owner_url, app_url=server.app_url)
        )
