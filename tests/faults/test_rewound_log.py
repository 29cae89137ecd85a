"""A standby without the last events is promoted: every service notices, and nothing is recorded until one decides."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from registry.events import continuity
from registry.events.continuity import ContinuityGuard
from registry.events.write_batch import Head
from registry.infra import migrations, postgres
from registry.infra.embedded.server import APP_ROLE, Embedded
from registry.infra.settings import Settings
from tests.append_helpers import REGISTERED, pledged
from tests.databases import ScratchDatabase
from tests.faults.servers import answers, caught_up, eventually, execute, moved, standby
from tests.service import ADMIN_KEY, Service, running

pytestmark = pytest.mark.drill

PATH = "/v1/deals/plant/events"


async def code_of(service: Service, method: str, path: str, **more: object) -> str:
    """The problem code of an answer."""
    answer = await service.client.request(method, path, **more)  # type: ignore[arg-type]
    assert answer.status_code == 503, answer.text
    return str(answer.json()["code"])


async def ready(service: Service) -> dict[str, object]:
    answer = await service.client.get("/health/ready")
    checks: dict[str, object] = answer.json()
    assert answer.status_code == (200 if checks["status"] == "ready" else 503)
    return checks


async def is_ready(service: Service) -> bool:
    return (await ready(service))["status"] == "ready"


async def sees_loss(service: Service) -> bool:
    """Whether the service reaches a database, and is not ready because the log is rewound, and for no other reason."""
    checks = await ready(service)
    return checks["database"] is True and checks["clock"] is True and checks["log"] is False


async def receives_nothing(url: str) -> bool:
    """Whether a standby has ended the connection to its primary, which it does some time after its settings change."""
    connection = await answers(url)
    try:
        return not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_stat_wal_receiver)")
    finally:
        await connection.close()


async def knows_key(service: Service) -> bool:
    """Whether the service accepts its own admin key."""
    return (await service.client.get("/v1/principals")).status_code == 200


async def knows_first(file: Path, leaf_hash: str) -> bool:
    return ContinuityGuard(file).mark.first == leaf_hash


async def has_problem(guard: ContinuityGuard) -> bool:
    return guard.problem is not None


async def test_lost_events_stop_every_service_until_an_operator_accepts_their_loss(folder: Path) -> None:
    with Embedded(folder / "primary") as primary:
        await migrations.migrate(primary.owner_url, APP_ROLE)
        with standby(primary, folder / "copy") as copy:
            owner_url = moved(primary.owner_url, copy.sockets)
            await caught_up(primary.owner_url, owner_url)
            url = moved(primary.app_url, primary.pgdata, copy.sockets, attributes="primary")
            first = Settings(
                database_url=url,
                data_dir=folder / "first",
                signing_key=folder / "first" / "signing.key",
                admin_key=ADMIN_KEY,
            )
            second = replace(first, data_dir=folder / "second", signing_key=folder / "second" / "signing.key")
            async with running(first) as one:
                assert (await one.client.post(PATH, json=REGISTERED)).status_code == 201
                await caught_up(primary.owner_url, owner_url)
                # From here on the standby gets nothing, and nothing waits for it.
                await execute(owner_url, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
                await eventually(lambda: receives_nothing(owner_url))
                for number in range(3):
                    assert (await one.client.post(PATH, json=pledged(f"p{number}"))).status_code == 201
                assert (await one.client.get("/log/checkpoint")).status_code == 200
                assert primary.pid is not None
                os.kill(primary.pid, signal.SIGKILL)
                await asyncio.to_thread(primary.stop)
                await execute(owner_url, "SELECT pg_promote()")
                await eventually(lambda: sees_loss(one))
                assert await code_of(one, "POST", PATH, json=pledged("later")) == "log_rewound"
                assert await code_of(one, "GET", "/v1/deals/plant") == "log_rewound"
                assert await code_of(one, "GET", "/log/checkpoint") == "log_rewound"
                # A service that knows nothing of the lost events reads of the incident in the database.
                async with running(second) as two:
                    await eventually(lambda: sees_loss(two))
                    assert await code_of(two, "POST", PATH, json=pledged("later")) == "log_rewound"
                    owner = await answers(owner_url)
                    assert await owner.fetchval("SELECT count(*) FROM events") == 3
                    decided = await continuity.accept(owner, "an operator", "the old primary's disk is lost")
                    assert [(incident.position, incident.log_position) for incident in decided] == [(6, 3)]
                    await owner.close()
                    for service in (two, one):
                        await eventually(partial(is_ready, service))
                    answer = await two.client.post(PATH, json=pledged("later"))
                    assert (answer.status_code, answer.json()["version"]) == (201, 2)
                    assert (await one.client.get("/v1/deals/plant")).json()["version"] == 2
                # What was signed is signed: the key of this origin never signs a tree without those events.
                assert await code_of(one, "GET", "/log/checkpoint") == "evidence_unavailable"
            # A restart does not forget what was decided.
            async with running(first) as one:
                assert (await one.client.post(PATH, json=pledged("after"))).status_code == 201


async def test_service_that_is_connected_to_the_whole_log_again_goes_on(folder: Path) -> None:
    """It asked a former primary, whose log ends earlier."""
    with Embedded(folder / "primary") as primary:
        await migrations.migrate(primary.owner_url, APP_ROLE)
        async with await postgres.pool(primary.app_url) as pool:
            guard = ContinuityGuard(folder / "log.mark")
            guard.mark = continuity.LogMark(5, "ab" * 32)
            async with guard.watching(pool):
                await eventually(partial(has_problem, guard))
            assert len(await continuity.incidents(pool)) == 1
            guard.mark = continuity.LogMark()
            other = Embedded(folder / "whole")
            with other:
                await migrations.migrate(other.owner_url, APP_ROLE)
                async with await postgres.pool(other.app_url) as whole:
                    assert (await guard.check(whole)).position == 0
            assert guard.problem is None


async def test_mark_survives_a_restart(tmp_path: Path) -> None:
    with Embedded(tmp_path / "server") as server:
        await migrations.migrate(server.owner_url, APP_ROLE)
        settings = Settings(
            database_url=server.app_url,
            data_dir=tmp_path / "s",
            signing_key=tmp_path / "s" / "key",
            admin_key=ADMIN_KEY,
        )
        async with running(settings) as service:
            assert (await service.client.post(PATH, json=REGISTERED)).status_code == 201
            first = await service.pool.fetchval("SELECT leaf_hash FROM events WHERE position = 1")
            # The service looks at the log every second.
            file = settings.data_dir / continuity.MARK_FILE
            await eventually(partial(knows_first, file, first.hex()))
        assert ContinuityGuard(file).mark.position == 3


async def test_admin_key_is_registered_once_the_loss_of_events_is_accepted(
    database: ScratchDatabase, tmp_path: Path
) -> None:
    known = continuity.LogMark(3, bytes(32).hex())
    (tmp_path / continuity.MARK_FILE).write_bytes(msgspec.json.encode(known))
    settings = Settings(
        database_url=database.app_url, data_dir=tmp_path, signing_key=tmp_path / "key", admin_key=ADMIN_KEY
    )
    async with running(settings) as service:
        await eventually(lambda: sees_loss(service))
        assert not await knows_key(service)
        owner = await answers(database.owner_url)
        await continuity.accept(owner, "an operator", "the disk is lost")
        await owner.close()
        await eventually(partial(knows_key, service))


def test_mark_only_advances() -> None:
    guard = ContinuityGuard()
    guard.note(Head(3, b"c", None))
    guard.note(Head(2, b"b", None))
    assert guard.mark.position == 3
