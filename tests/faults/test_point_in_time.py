"""The runbook of docs/cluster.md, "Point-in-time recovery": restore to a chosen time and verify against checkpoints."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import asyncpg
import httpx
import pytest

from registry.infra import migrations
from tests.append_helpers import pledged
from tests.faults.archived import ArchivedServer, system_postgres
from tests.faults.load import ADMIN_KEY, Load, ServiceProcess, as_flags, run_command, serving
from tests.faults.servers import answers, eventually
from tests.faults.test_faults import a_free_port
from tests.missing import NO_PGBACKREST

pytestmark = pytest.mark.drill


def newest(folder: Path) -> int:
    """The size of the newest checkpoint in a folder of exported ones; 0 without one."""
    return max((int(path.read_text().splitlines()[1]) for path in folder.glob("*.checkpoint")), default=0)


async def test_restore_to_a_chosen_time_has_what_was_acknowledged_until_then(folder: Path) -> None:
    binaries = system_postgres()
    if shutil.which("pgbackrest") is None or binaries is None:
        pytest.skip(NO_PGBACKREST)
    (folder / "server").mkdir()
    server = ArchivedServer(folder / "server", binaries)
    exported, kept = folder / "exported", folder / "kept"
    exported.mkdir()
    environ = {
        "REGISTRY_DATABASE_URL": server.url("registry_app"),
        "REGISTRY_OWNER_URL": server.owner_url,
        "REGISTRY_SIGNING_SECRET": "the secret of the services of this test",
        "REGISTRY_CHECKPOINT_EXPORT": str(exported),
        "REGISTRY_CHECKPOINT_SECONDS": "1",
    }
    service = ServiceProcess(a_free_port(), folder / "service", environ)

    with server.running():
        owner = await answers(server.url("registry_owner", "postgres"))
        await owner.execute("CREATE ROLE registry_app LOGIN")
        await owner.execute("CREATE DATABASE registry")
        await owner.close()
        await migrations.migrate(server.owner_url, "registry_app")
        server.pgbackrest("stanza-create")
        server.pgbackrest("check")
        async with serving(service):
            async with httpx.AsyncClient(trust_env=False) as client:
                keys = as_flags((await client.get(f"{service.url}/v1/log/keys")).text)
            async with Load([service.url], writers=4) as load:
                await load.more(40)
                server.pgbackrest("--type=full", "backup")
                await load.more(40)
                size = len(load.ledger.acknowledged)
                await eventually(lambda: _has(exported, size))
                # The time to go back to, the checkpoints until then, and what was acknowledged before it.
                shutil.copytree(exported, kept)
                before = max(one.position for one in load.ledger.acknowledged)
                owner = await answers(server.owner_url)
                target = await owner.fetchval("SELECT clock_timestamp()::text")
                await asyncio.sleep(0.1)
                await load.more(40)
                lost = max(one.position for one in load.ledger.acknowledged)
                await eventually(lambda: _has(exported, lost))
        # The accident: someone with the owner's rights destroys the log.
        await owner.execute("ALTER TABLE events DISABLE TRIGGER USER")
        await owner.execute("DELETE FROM events WHERE position % 2 = 0")
        await owner.execute("SELECT pg_switch_wal()")
        await owner.close()
        server.pgbackrest("check")

    server.set_aside()
    server.pgbackrest("--type=time", f"--target={target}", "--target-action=promote", "restore")
    with server.running():
        owner = await answers(server.owner_url)
        await eventually(lambda: _is_primary(owner))
        end = await owner.fetchval("SELECT max(position) FROM events")
        assert before <= end < lost
        assert await owner.fetchval("SELECT count(*) FROM events") == end
        positions = {
            row["id"]: row["position"] for row in await owner.fetch("SELECT id::text AS id, position FROM events")
        }
        assert all(positions[one.id] == one.position for one in load.ledger.acknowledged if one.position <= end)
        await owner.close()

        # Another data directory: that of the service knows the events that are lost.
        verifying = ["verify", *keys, "--data-dir", str(folder / "other"), "--checkpoint"]
        environ.pop("REGISTRY_CHECKPOINT_EXPORT")
        code, output = await run_command([*verifying, str(kept)], environ)
        assert code == 0, output
        code, output = await run_command([*verifying, str(exported)], environ)
        assert code == 6, output

        # The service notices that acknowledged events are lost, until an operator accepts it. Some were signed, so the
        # log gets a new name.
        for file in service.data_dir.glob("signing.key.*"):
            file.rename(file.with_name(f"former-{file.name}"))
        service.environ = environ | {"REGISTRY_LOG_ORIGIN": "registry.example/after-the-restore"}
        service.start()
        try:
            await eventually(lambda: _answers(service, '"log":false'))
            code, output = await run_command(
                ["log", "accept", "--by", "an operator", "--reason", "restored", "--data-dir", str(folder / "other")],
                environ,
            )
            assert code == 0, output
            await service.ready()
            async with httpx.AsyncClient(trust_env=False, headers={"Authorization": f"Bearer {ADMIN_KEY}"}) as client:
                deal = load.ledger.acknowledged[0].writer
                answer = await client.post(f"{service.url}/v1/deals/{deal}/events", json=pledged("after-the-restore"))
                assert answer.status_code == 201, answer.text
                assert answer.json()["events"][0]["position"] == end + 1
                checkpoint = await client.get(f"{service.url}/log/checkpoint")
                assert checkpoint.text.splitlines()[:2] == ["registry.example/after-the-restore", str(end + 1)]
        finally:
            service.end()
        # The new timeline needs a backup of its own.
        server.pgbackrest("--type=full", "backup")
        assert "status: ok" in server.pgbackrest("info")


async def _has(exported: Path, size: int) -> bool:
    return newest(exported) >= size


async def _is_primary(connection: asyncpg.Connection[asyncpg.Record]) -> bool:
    return not await connection.fetchval("SELECT pg_is_in_recovery()")


async def _answers(service: ServiceProcess, words: str) -> bool:
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            return words in (await client.get(f"{service.url}/health/ready")).text
        except httpx.TransportError:
            return False
