"""What an idle tenant costs: memory, connections and transactions a second of services with a database each.

    python -m bench.tenants [--count 3] [--seconds 20]

docs/operating.md ("Tenants") has the result.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

import asyncpg
import psutil

from registry.infra import migrations
from registry.infra.embedded.server import APP_ROLE, DATABASE, Embedded
from tests.faults.load import ServiceProcess, serving
from tests.faults.test_faults import a_free_port

SMALL = {"REGISTRY_POOL_SIZE": "3", "REGISTRY_RECORDER_POOL_SIZE": "2", "REGISTRY_EVIDENCE_POOL_SIZE": "2"}

TRANSACTIONS = "SELECT sum(xact_commit + xact_rollback)::bigint FROM pg_stat_database WHERE datname LIKE 'tenant_%'"
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'tenant_%'"


async def measure(count: int, seconds: float) -> None:
    """Start the services, let them rest, and print what each of them costs."""
    with tempfile.TemporaryDirectory(prefix="registry-tenants") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Embedded(folder / "server") as server:
            owner = await asyncpg.connect(server.owner_url)
            services = []
            for number in range(count):
                database = f"tenant_{number}"
                await owner.execute(f"CREATE DATABASE {database}")
                app, migrator = (
                    url.replace(f"/{DATABASE}?", f"/{database}?") for url in (server.app_url, server.owner_url)
                )
                await migrations.migrate(migrator, APP_ROLE)
                environ = {"REGISTRY_DATABASE_URL": app, **SMALL}
                services.append(ServiceProcess(a_free_port(), folder / database, environ))
            async with serving(*services):
                await asyncio.sleep(seconds)
                before = await owner.fetchval(TRANSACTIONS)
                await asyncio.sleep(seconds)
                # Postgres adds up what idle sessions did at the latest after ten seconds.
                rate = (await owner.fetchval(TRANSACTIONS) - before) / seconds / count
                connections = await owner.fetchval(CONNECTIONS) / count
                sizes = [
                    psutil.Process(s.process.pid).memory_full_info().uss for s in services if s.process is not None
                ]
            await owner.close()
    megabytes = max(sizes) / 1e6
    print(f"{count} idle tenants, each: {megabytes:.0f} MB, {connections:.0f} connections, {rate:.1f} transactions/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    asyncio.run(measure(options.count, options.seconds))
