"""`make faults`: inject each fault many times into services under load, and write docs/faults.md.

    python -m tests.faults.run [--times 10] [--only NAME …] [--no-report]

Every fault runs on the same log, which goes on growing. After each fault the account is made (what was acknowledged,
lost, duplicated, reordered) and `registry verify` reads the whole log.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from registry.infra import migrations
from registry.infra.embedded.server import APP_ROLE, Embedded
from tests.faults.injections import INJECTIONS, Bench, Missing
from tests.faults.load import Account, Load, ServiceProcess, serving, verify
from tests.faults.test_faults import a_free_port

REPORT = Path(__file__).parents[2] / "docs" / "faults.md"


class Result(Struct, frozen=True):
    """One fault: how often it was injected, the account, the outages in seconds, and whether the log verifies."""

    name: str
    effect: str
    times: int
    account: Account
    outages: list[float]
    verified: bool


async def run_all(folder: Path, names: Sequence[str], times: int) -> tuple[list[Result], list[str]]:
    """Inject the faults, each into two services on one server."""
    results: list[Result] = []
    missing: list[str] = []
    with Embedded(folder / "server") as server:
        await migrations.migrate(server.owner_url, APP_ROLE)
        environ = {
            "REGISTRY_DATABASE_URL": server.app_url,
            "REGISTRY_OWNER_URL": server.owner_url,
            "REGISTRY_SIGNING_SECRET": "the secret of the services of this run",
        }
        services = [ServiceProcess(a_free_port(), folder / name, environ) for name in ("one", "two")]
        async with serving(*services):
            bench = Bench(folder, server, services, environ)
            for injection in INJECTIONS:
                if names and injection.name not in names:
                    continue
                try:
                    result = await run_one(bench, injection.name, times)
                except Missing as error:
                    missing.append(f"{injection.name}: {error}")
                    print(f"NOT TRIED {injection.name}: {error}", file=sys.stderr, flush=True)
                    continue
                results.append(result)
                outages = f"{max(result.outages):.1f} s"
                print(
                    f"{result.name}: {result.account} longest outage {outages} verified {result.verified}", flush=True
                )
    return results, missing


async def run_one(bench: Bench, name: str, times: int) -> Result:
    """Inject one fault `times` times under load."""
    injection = next(one for one in INJECTIONS if one.name == name)
    outages = []
    async with injection.prepared(bench) as target:
        async with Load([service.url for service in target.services]) as load:
            await load.more(40)
            for _ in range(times):
                began = time.monotonic()
                await injection.inject(target)
                await load.more(30)
                outages.append(load.ledger.outage(began, time.monotonic()))
        account = await load.ledger.examine(target.server.owner_url)
        wrong = await verify(target.services[0], target.environ)
        if wrong:
            print(wrong, file=sys.stderr)
    return Result(name, injection.effect, times, account, outages, not wrong)


HEAD = """# Faults

Written by `make faults`: do not edit. Two services on one Postgres record under load: eight clients, each with one
request at a time, which is retried with the same id and idempotency key until it is acknowledged. *Lost*: acknowledged
and not in the log at its position. *Duplicated*: in the log twice. *Reordered*: a client's later event before its
earlier one. *Outage*: the longest time in which no request was acknowledged, in the worst of the injections (below
0.5 s: 0). It includes the fault itself and the restart of what was killed, and depends on the machine. *Verified*:
`registry verify` reads the whole log afterwards and finds no error. `make faults ARGS="--only NAME"` replaces only the
rows of the named faults.

| fault | what is done | times | acknowledged | lost | duplicated | reordered | longest outage, s | verified |
|---|---|--:|--:|--:|--:|--:|--:|---|
"""


def row(one: Result) -> str:
    """A fault's line in the table."""
    account = one.account
    return (
        f"| {one.name} | {one.effect} | {one.times} | {account.acknowledged:,} | {account.lost} | {account.duplicated}"
        f" | {account.reordered} | {max(one.outages):.1f} | {'yes' if one.verified else 'NO'} |"
    )


def report(results: Sequence[Result], missing: Sequence[str], former: str) -> str:
    """The page docs/faults.md; `former` is the page until now, whose other rows are kept."""
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in former.splitlines() if line.startswith("| ")}
    rows |= {one.name: row(one) for one in results}
    known = [rows[one.name] for one in INJECTIONS if one.name in rows]
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    page = HEAD + "\n".join(known) + f"\n\nLast run: {datetime.now(UTC):%Y-%m-%d}, {machine}.\n"
    if missing:
        page += "\nNot tried in the last run:\n\n" + "\n".join(f"- {one}" for one in missing) + "\n"
    return page


def main() -> int:
    """Run the faults; end with 1 if anything was lost, duplicated, reordered or does not verify."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=[], choices=[one.name for one in INJECTIONS])
    parser.add_argument("--no-report", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="registry-faults-"))
    folder.chmod(0o755)
    try:
        results, missing = asyncio.run(run_all(folder, options.only, options.times))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not options.no_report:
        former = REPORT.read_text() if REPORT.exists() else ""
        REPORT.write_text(report(results, missing, former))
        print(f"wrote {REPORT}")
    return 0 if all(one.account.is_clean and one.verified for one in results) else 1


if __name__ == "__main__":
    sys.exit(main())
