"""`make cluster`: kill, freeze and partition the nodes of a cluster under load, and write the table of docs/cluster.md.

    PATRONI=/path/to/patroni python -m tests.cluster.run [--times 10] [--only NAME …] [--no-report]

Service one connects to the nodes by a URL with all of them, service two through PgBouncer in transaction mode and
HAProxy.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
from msgspec import Struct

from registry.infra import migrations
from tests.cluster.nodes import Cluster, Node, missing, running_cluster
from tests.faults import pgbouncer
from tests.faults.load import Account, Load, ServiceProcess, serving, verify
from tests.faults.releases import migrate, next_release, previous_release, replace_services
from tests.faults.test_faults import a_free_port

REPORT = Path(__file__).parents[2] / "docs" / "cluster.md"
BEGIN, END = "<!-- results: written by `make cluster` -->", "<!-- end of results -->"
FROZEN_SECONDS = 20.0


class Reader:
    """Reads the writers' deals from both services, and counts answers that are older than what was acknowledged."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.reads = 0
        self.stale = 0

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reader]:
        task = asyncio.create_task(self._read())
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _read(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            while True:
                await asyncio.sleep(0.02)
                if not self._load.versions:
                    continue
                deal, version = random.choice(list(self._load.versions.items()))
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.get(f"{random.choice(self._load.urls)}/v1/deals/{deal}")
                    if answer.status_code in (200, 404):
                        self.reads += 1
                        self.stale += answer.status_code == 404 or answer.json()["version"] < version


class Result(Struct, frozen=True):
    """One fault of the cluster."""

    name: str
    effect: str
    times: int
    account: Account
    reads: int
    stale: int
    outages: list[float]
    verified: bool


async def kill_primary(cluster: Cluster, primary: Node) -> None:
    primary.kill()
    await cluster.failed_over(primary)
    primary.start_patroni()


async def kill_postgres(cluster: Cluster, primary: Node) -> None:
    for process in primary.processes():
        if process.name() == "postgres":
            with contextlib.suppress(Exception):
                process.kill()
    await asyncio.sleep(1)


async def freeze_primary(cluster: Cluster, primary: Node) -> None:
    primary.freeze(frozen=True)
    began = time.monotonic()
    await cluster.failed_over(primary)
    await asyncio.sleep(max(0, FROZEN_SECONDS - (time.monotonic() - began)))
    primary.freeze(frozen=False)


async def cut_off_primary(cluster: Cluster, primary: Node) -> None:
    primary.cut_off(cut=True)
    began = time.monotonic()
    await cluster.failed_over(primary)
    await asyncio.sleep(max(0, FROZEN_SECONDS - (time.monotonic() - began)))
    primary.cut_off(cut=False)


async def rebuild_standby(cluster: Cluster, primary: Node) -> None:
    """Lose a standby with its data; Patroni makes it anew from the primary."""
    standby = next(node for node in cluster.nodes if node.number != primary.number)
    standby.kill()
    shutil.rmtree(standby.folder / "data", ignore_errors=True)
    await asyncio.sleep(1)
    standby.start_patroni()


class Upgrade:
    """Replaces the services by those of the release before, migrates, and replaces them by those of the next one."""

    def __init__(self, folder: Path, services: Sequence[ServiceProcess], environ: dict[str, str]) -> None:
        self._before, self._after = previous_release(folder / "before"), next_release(folder / "after")
        self._services, self._environ = services, environ

    async def __call__(self, cluster: Cluster, primary: Node) -> None:
        await replace_services(self._services, self._before)
        await migrate(self._after, self._environ)
        await replace_services(self._services, self._after)


UPGRADE = "rolling upgrade"

FAULTS: dict[str, tuple[str, Callable[[Cluster, Node], Awaitable[None]]]] = {
    "primary's node killed": ("`kill -9` of Postgres and Patroni, started again after the failover", kill_primary),
    "primary's Postgres killed": ("`kill -9` of all processes of Postgres, Patroni lives", kill_postgres),
    "primary frozen": (f"SIGSTOP of Postgres and Patroni for {FROZEN_SECONDS:.0f} s", freeze_primary),
    "primary cut off": (f"its network interface down for {FROZEN_SECONDS:.0f} s", cut_off_primary),
    "standby lost": ("a standby killed and its data deleted; rebuilt by Patroni", rebuild_standby),
}


UPGRADE_EFFECT = "the services replaced one by one by an earlier commit's, a migration, and then by the next release's"

# Injected a third as often, because the cluster takes minutes to be whole again.
SLOW = ("primary cut off", "standby lost", UPGRADE)


async def run_all(folder: Path, names: Sequence[str], times: int) -> list[Result]:
    """Inject every fault into one cluster with two services."""
    results = []
    async with running_cluster(folder) as cluster:
        await migrations.migrate(cluster.direct_url(), "registry")
        with pgbouncer.pgbouncer(folder / "pooler", cluster.proxy_url("registry")) as pooled:
            common = {
                "REGISTRY_OWNER_URL": cluster.direct_url(),
                "REGISTRY_SIGNING_SECRET": "the secret of the services of this run",
            }
            direct = {**common, "REGISTRY_DATABASE_URL": cluster.direct_url("registry")}
            through = {**common, "REGISTRY_DATABASE_URL": pooled, "REGISTRY_TRANSACTION_POOLER": "true"}
            if pgbouncer.version() < pgbouncer.PREPARED_SINCE:
                through["REGISTRY_PREPARED_STATEMENTS"] = "false"
            services = [
                ServiceProcess(a_free_port(), folder / name, environ)
                for name, environ in (("one", direct), ("two", through))
            ]
            async with serving(*services):
                # Last: the faults before it are those of this release on its own schema.
                upgrade = {UPGRADE: (UPGRADE_EFFECT, Upgrade(folder, services, direct))}
                for name, (effect, inject) in (FAULTS | upgrade).items():
                    if not names or name in names:
                        count = max(1, times // 3) if name in SLOW else times
                        result = await run_one(cluster, services, direct, name, effect, inject, count)
                        results.append(result)
                        print(
                            f"{name}: {result.account} reads {result.reads} stale {result.stale} outages"
                            f" {[round(outage, 1) for outage in result.outages]} verified {result.verified}",
                            flush=True,
                        )
    return results


async def run_one(
    cluster: Cluster,
    services: Sequence[ServiceProcess],
    environ: dict[str, str],
    name: str,
    effect: str,
    inject: Callable[[Cluster, Node], Awaitable[None]],
    times: int,
) -> Result:
    """Inject one fault `times` times under load."""
    outages = []
    async with Load([service.url for service in services]) as load, Reader(load).reading() as reader:
        await load.more(20)
        for _ in range(times):
            primary = await cluster.whole()
            began = time.monotonic()
            await inject(cluster, primary)
            await load.more(20)
            outages.append(load.ledger.outage(began, time.monotonic()))
        await cluster.whole()
        for service in services:
            await service.ready()
    account = await load.ledger.examine(cluster.direct_url())
    wrong = await verify(services[0], environ)
    if wrong:
        print(wrong, file=sys.stderr)
    return Result(name, effect, times, account, reader.reads, reader.stale, outages, not wrong)


def table(results: Sequence[Result], former: str) -> str:
    """The results for docs/cluster.md; `former` is the table until now, whose other rows are kept."""
    lines = [
        BEGIN,
        "",
        "| fault | what is done | times | acknowledged | lost | duplicated | reordered | stale reads | outage, s |"
        " verified |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in former.splitlines() if line.startswith("| ")}
    for one in results:
        account, outages = one.account, sorted(one.outages)
        rows[one.name] = (
            f"| {one.name} | {one.effect} | {one.times} | {account.acknowledged:,} | {account.lost}"
            f" | {account.duplicated} | {account.reordered} | {one.stale} of {one.reads:,}"
            f" | {outages[len(outages) // 2]:.1f}, {outages[-1]:.1f} | {'yes' if one.verified else 'NO'} |"
        )
    lines += [rows[name] for name in (*FAULTS, UPGRADE) if name in rows]
    version = ".".join(map(str, pgbouncer.version()))
    lines += [
        "",
        f"Last run: {datetime.now(UTC):%Y-%m-%d}; all nodes and services on one machine with {os.cpu_count()} cores;"
        f" PgBouncer {version}."
        " Outage: median and worst.",
        "",
        END,
    ]
    return "\n".join(lines)


def main() -> int:
    """Run the faults; end with 1 if anything was lost, doubled, reordered, stale, or does not verify."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=[], choices=[*FAULTS, UPGRADE])
    parser.add_argument("--no-report", action="store_true")
    options = parser.parse_args()
    lacking = missing() + ([] if pgbouncer.program() else ["pgbouncer was not found: apt-get install pgbouncer"])
    if lacking:
        print("THE CLUSTER WAS NOT RUN:", *lacking, sep="\n  ", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="registry-cluster-"))
    folder.chmod(0o755)
    try:
        results = asyncio.run(run_all(folder, options.only, options.times))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not options.no_report:
        page = REPORT.read_text()
        head, tail = page.partition(BEGIN)[0], page.partition(END)[2]
        former = page.partition(BEGIN)[2].partition(END)[0]
        REPORT.write_text(head + table(results, former) + tail)
        print(f"wrote {REPORT}")
    return 0 if all(one.account.is_clean and one.verified and not one.stale for one in results) else 1


if __name__ == "__main__":
    sys.exit(main())
