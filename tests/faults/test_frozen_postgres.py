"""Postgres is frozen: health checks answer all the same, and the service continues when Postgres does."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from registry.infra import migrations, postgres
from registry.infra.embedded.server import APP_ROLE, Embedded
from registry.infra.settings import Settings
from tests.conftest import PATIENCE
from tests.service import running

pytestmark = pytest.mark.drill


async def test_health_checks_answer_while_postgres_is_frozen(tmp_path: Path) -> None:
    with Embedded(tmp_path / "data", settings={"fsync": "off"}) as server:
        await migrations.migrate(server.owner_url, APP_ROLE)
        assert server.pid is not None
        postmaster = psutil.Process(server.pid)
        settings = Settings(
            database_url=server.app_url,
            owner_url=server.owner_url,
            data_dir=tmp_path,
            signing_key=tmp_path / "signing.key",
        )
        async with running(settings) as service:
            assert (await service.visitor.get("/health/ready")).json()["status"] == "ready"
            frozen = [postmaster, *postmaster.children(recursive=True)]
            for process in frozen:
                process.suspend()
            try:
                async with asyncio.timeout(PATIENCE):
                    # More requests than the pool has connections.
                    answers = await asyncio.gather(*(service.visitor.get("/health/ready") for _ in range(30)))
                assert {answer.status_code for answer in answers} == {503}
                assert {answer.json()["reason"] for answer in answers} == {"Postgres has not answered within 1.5 s."}
                assert (await service.visitor.get("/health/live")).status_code == 200
                assert "registry_log_position NaN" in (await service.visitor.get("/metrics")).text
            finally:
                for process in frozen:
                    with suppress(psutil.NoSuchProcess):
                        process.send_signal(signal.SIGCONT)
            async with asyncio.timeout(PATIENCE):
                while (await service.visitor.get("/health/ready")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            assert (await service.visitor.get("/v1/deals")).status_code == 200


def test_full_disk_is_a_storage_failure() -> None:
    with pytest.raises(OSError, match="No space left") as error, Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")
    assert postgres.is_storage_failure(error.value)
    assert not postgres.is_storage_failure(ConnectionRefusedError())
    assert not postgres.is_storage_failure(httpx.ConnectError("no"))
