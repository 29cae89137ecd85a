"""The disk is full or closed to Postgres: clients may come back, operators read why, and nothing is half recorded."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
import pytest_asyncio
from duckdb import DuckDBPyConnection
from msgspec import Struct

from registry.errors import StorageUnavailable
from registry.infra import migrations
from registry.infra.embedded.server import APP_ROLE, Embedded
from registry.infra.settings import Settings
from registry.projections.columnar import ColumnarCopy
from registry.projections.columnar.question_cache import QuestionCache
from tests.api.announcements import registered
from tests.conftest import PATIENCE
from tests.service import ADMIN_KEY, Service, running

pytestmark = pytest.mark.drill

DISK_MB = 8


class Registry(Struct):
    """A service with a Postgres of its own, and a connection of the owner."""

    service: Service
    owner: asyncpg.Connection[asyncpg.Record]
    data: Path

    async def record(self, slug: str, size: int = 0) -> httpx.Response:
        note = {"note": "x" * size} if size else {}
        return await self.service.client.post(f"/v1/deals/{slug}/events", json=registered() | note)

    async def end_connections(self) -> None:
        """End the connections of the service, which keep files open."""
        await self.owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()",
            APP_ROLE,
        )


@pytest_asyncio.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    data = tmp_path / "data"
    with Embedded(data, settings={"fsync": "off"}) as server:
        await migrations.migrate(server.owner_url, APP_ROLE)
        settings = Settings(
            database_url=server.app_url,
            owner_url=server.owner_url,
            data_dir=tmp_path,
            signing_key=tmp_path / "signing.key",
            admin_key=ADMIN_KEY,
            rate_limits={},
        )
        owner = await asyncpg.connect(server.owner_url)
        async with running(settings) as service:
            yield Registry(service, owner, data)
        await owner.close()


async def assert_refused(registry: Registry, answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    ready = await registry.service.visitor.get("/health/ready")
    assert (ready.status_code, ready.json()["storage"]) == (503, False)
    assert ready.json()["reason"]
    # What was recorded can still be read.
    assert (await registry.service.visitor.get("/v1/deals/before")).status_code == 200


async def assert_recovers(registry: Registry) -> None:
    async with asyncio.timeout(PATIENCE):
        while (answer := await registry.record("after")).status_code == 503:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert answer.status_code == 201, answer.text
    assert (await registry.service.visitor.get("/health/ready")).json()["storage"] is True


async def test_closed_file_is_a_storage_failure(registry: Registry) -> None:
    """A permission fault: Postgres may not open the table's file any more."""
    assert (await registry.record("before")).status_code == 201
    file = registry.data / await registry.owner.fetchval("SELECT pg_relation_filepath('idempotency')")
    [path] = [path for path in registry.data.rglob(file.name) if path.is_file()]
    size = await registry.service.size()
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        await registry.end_connections()
        headers = {"Idempotency-Key": "a"}
        async with asyncio.timeout(PATIENCE):
            # A request may meet a connection that is just ending.
            while True:
                answer = await registry.service.client.post("/v1/deals/one/events", json=registered(), headers=headers)
                if answer.json()["code"] != "database_lost":
                    break
        await assert_refused(registry, answer)
        assert await registry.service.size() == size
    finally:
        path.chmod(mode)
    await assert_recovers(registry)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A small file system of its own, where the user of Postgres may go: pytest's own folder is closed to others."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        disk = Path(folder, "disk")
        disk.mkdir()
        Path(folder).chmod(0o755)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=777", "tmpfs", str(disk)]
        if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("a small file system can be mounted only by root")
        yield disk
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


async def test_full_disk_is_a_storage_failure(small_disk: Path, registry: Registry) -> None:
    # Only the contents of events are on the small disk. Postgres stops where its write-ahead log does not fit.
    space = small_disk / "space"
    space.mkdir()
    os.chown(space, (registry.data / "postgres").stat().st_uid, -1)
    await registry.owner.execute(f"CREATE TABLESPACE small LOCATION '{space}'")
    await registry.owner.execute("ALTER TABLE event_contents SET TABLESPACE small")
    assert (await registry.record("before")).status_code == 201
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
    size = await registry.service.size()
    async with asyncio.timeout(PATIENCE):
        number = 0
        while (answer := await registry.record(f"deal-{number}", 3900)).status_code == 201:
            number += 1
    await assert_refused(registry, answer)
    # All or none: of several requests in one batch too.
    answers = await asyncio.gather(*(registry.record(f"more-{n}", 3900) for n in range(8)))
    assert {a.status_code for a in answers} == {503}
    assert await registry.service.size() == size + number
    filler.unlink()
    await assert_recovers(registry)


async def test_copy_that_finds_no_space_is_a_storage_failure_until_there_is(
    small_disk: Path, registry: Registry
) -> None:
    assert (await registry.record("before")).status_code == 201
    copy = ColumnarCopy(registry.service.pool, small_disk / "columnar")
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * (DISK_MB * 2**20 - 2**16))
    try:
        with pytest.raises(StorageUnavailable):
            await copy.ask(1, _count)
        filler.unlink()
        assert await copy.ask(1, _count) == 1
    finally:
        await copy.close()


def _count(cursor: DuckDBPyConnection, _: QuestionCache) -> int:
    cursor.execute("SELECT count(*) FROM copied")
    return int(cursor.fetchall()[0][0])
