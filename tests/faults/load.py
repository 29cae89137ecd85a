"""Load on services while faults are injected, and the account of what they acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4

import asyncpg
import httpx
from msgspec import Struct, field

from tests.append_helpers import REGISTERED, pledged

ADMIN_KEY = "an-admin-key-for-the-injected-faults-of-the-registry"
REQUEST_SECONDS = 20.0
RETRY_SECONDS = 0.05

# A gap between two acknowledgements below this is load, not an outage.
OUTAGE_SECONDS = 0.5


class Acknowledged(Struct, frozen=True):
    """An event that a service acknowledged: by which writer, at which position, and when."""

    id: str
    writer: str
    position: int
    at: float
    service: int


class Account(Struct, frozen=True):
    """What the log has of what was acknowledged."""

    acknowledged: int
    lost: int
    duplicated: int
    reordered: int
    gaps: int

    @property
    def is_clean(self) -> bool:
        """Whether nothing is lost, doubled, reordered or missing between two positions."""
        return not (self.lost or self.duplicated or self.reordered or self.gaps)


class Ledger(Struct):
    """Every acknowledgement, in the order in which the writers received them."""

    acknowledged: list[Acknowledged] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)

    def outage(self, since: float, until: float, service: int | None = None) -> float:
        """The longest time without an acknowledgement that touches an interval, 0 below OUTAGE_SECONDS."""
        times = [one.at for one in self.acknowledged if service is None or one.service == service]
        before = max((at for at in times if at <= since), default=since)
        inside = [before, *(at for at in times if since < at < until)]
        after = min((at for at in times if at >= until), default=until)
        longest = max(later - earlier for earlier, later in itertools.pairwise([*inside, after]))
        return longest if longest >= OUTAGE_SECONDS else 0.0

    async def examine(self, url: str) -> Account:
        """Compare the acknowledgements with the log of a database."""
        connection = await asyncpg.connect(url)
        try:
            rows = await connection.fetch("SELECT position, id::text AS id, stream FROM events ORDER BY position")
            contents = await connection.fetchval(
                "SELECT count(*) FROM"
                " (SELECT stream, convert_from(content, 'UTF8')::jsonb #>> '{event,pledge}' AS pledge"
                "    FROM events JOIN event_contents USING (position) WHERE type = 'pledge_announced'"
                "   GROUP BY 1, 2 HAVING count(*) > 1) AS twice"
            )
        finally:
            await connection.close()
        places = {row["id"]: row["position"] for row in rows}
        lost = sum(places.get(one.id) != one.position for one in self.acknowledged)
        latest: dict[str, int] = {}
        reordered = 0
        for one in self.acknowledged:
            reordered += one.position <= latest.get(one.writer, 0)
            latest[one.writer] = one.position
        gaps = sum(row["position"] != number for number, row in enumerate(rows, 1))
        return Account(len(self.acknowledged), lost, len(rows) - len(places) + contents, reordered, gaps)


class Load:
    """Writers that record one event after another, each on a deal of its own, and retry until it is acknowledged.

    A retry has the same id and idempotency key and goes to the next service.
    """

    def __init__(self, urls: Sequence[str], writers: int = 8) -> None:
        self.urls = list(urls)
        self.ledger = Ledger()
        # The version of each writer's deal as of its last acknowledgement.
        self.versions: dict[str, int] = {}
        self._writers = writers
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._name = f"load-{uuid4().hex[:8]}"

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._write(number)) for number in range(self._writers)]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stopping.set()
        done, pending = await asyncio.wait(self._tasks, timeout=120)
        for task in pending:
            task.cancel()
        for task in done:
            task.result()
        assert not pending, "a request was not acknowledged within two minutes"

    async def more(self, count: int = 20, seconds: float = 120) -> None:
        """Wait for more acknowledgements."""
        enough = len(self.ledger.acknowledged) + count
        async with asyncio.timeout(seconds):
            while len(self.ledger.acknowledged) < enough:  # noqa: ASYNC110 - the writers are clients of others
                await asyncio.sleep(0.02)

    async def _write(self, number: int) -> None:
        name = f"{self._name}-{number}"
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        todo = {**REGISTERED, "id": str(uuid4())}
        service = number % len(self.urls)
        async with httpx.AsyncClient(headers=headers, timeout=REQUEST_SECONDS, trust_env=False) as client:
            for count in itertools.count(1):
                position = None
                while position is None:
                    position = await self._post(client, service, name, todo)
                    if position is None:
                        service = (service + 1) % len(self.urls)
                        await asyncio.sleep(RETRY_SECONDS)
                at = time.monotonic()
                self.versions[name] = count
                self.ledger.acknowledged.append(Acknowledged(str(todo["id"]), name, position, at, service))
                service = number % len(self.urls)
                if self._stopping.is_set():
                    return
                todo = pledged(f"p{count}", id=str(uuid4()))

    async def _post(self, client: httpx.AsyncClient, service: int, name: str, todo: Mapping[str, object]) -> int | None:
        url = f"{self.urls[service]}/v1/deals/{name}/events"
        try:
            answer = await client.post(url, json=todo, headers={"Idempotency-Key": f"key-{todo['id']}"})
        except httpx.TransportError as error:
            self._refuse(type(error).__name__)
            return None
        if answer.status_code == 503:
            self._refuse(answer.json()["code"])
            return None
        assert answer.status_code in (200, 201), answer.text
        return int(answer.json()["events"][0]["position"])

    def _refuse(self, reason: str) -> None:
        self.ledger.refused[reason] = self.ledger.refused.get(reason, 0) + 1


class ServiceProcess:
    """`registry serve` in a process of its own, which can be killed and started again on the same port."""

    def __init__(
        self,
        port: int,
        data_dir: Path,
        environ: Mapping[str, str],
        *,
        checkout: Path | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.data_dir = data_dir
        self.environ = dict(environ)
        self.checkout = checkout
        self.prefix = list(prefix)
        self.process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._log = (self.data_dir / "service.log").open("ab")
        program = [sys.executable, "-c", "from registry.cli import main; main()"]
        flags = ["serve", "--data-dir", str(self.data_dir), "--port", str(self.port), "--admin-key", ADMIN_KEY]
        environ = {k: v for k, v in os.environ.items() if not k.startswith("REGISTRY_")} | self.environ
        if self.checkout is not None:
            environ["PYTHONPATH"] = str(self.checkout)
        self.process = subprocess.Popen(
            [*self.prefix, *program, *flags],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=self.checkout or "/",
            env=environ,
        )

    async def ready(self, seconds: float = 60) -> None:
        """Wait until the service is ready."""
        async with asyncio.timeout(seconds), httpx.AsyncClient(trust_env=False, timeout=5) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(f"{self.url}/health/ready")).status_code == 200:
                        return
                assert self.process is not None
                assert self.process.poll() is None, (self.data_dir / "service.log").read_text()[-3000:]
                await asyncio.sleep(0.05)

    def send_signal(self, number: int) -> None:
        """Send the process a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once."""
        self.end(signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it and wait."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.send_signal(signal.SIGCONT)
            self.process.wait(60)
            self.process = None
        if self._log is not None:
            self._log.close()


@asynccontextmanager
async def serving(*services: ServiceProcess) -> AsyncIterator[None]:
    """Run services; they are ready when the context begins."""
    try:
        for service in services:
            service.start()
        for service in services:
            await service.ready()
        yield
    finally:
        for service in services:
            service.end()


async def verify(service: ServiceProcess, environ: Mapping[str, str], data_dir: Path | None = None) -> str:
    """Verify a whole log with the public keys that a service has; return what is wrong, or an empty text.

    With another `data_dir` the log is not compared with the checkpoint that the service signed last.
    """
    async with asyncio.timeout(60), httpx.AsyncClient(trust_env=False, timeout=REQUEST_SECONDS) as client:
        while (answer := await client.get(f"{service.url}/v1/log/keys")).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(RETRY_SECONDS)
    code, output = await run_command(
        ["verify", *as_flags(answer.text), "--data-dir", str(data_dir or service.data_dir)], environ
    )
    return output if code else ""


def as_flags(keys: str) -> list[str]:
    """The flags of a command that names the public keys of a log, one a line."""
    return [word for key in keys.split() for word in ("--key", key)]


async def run_command(
    arguments: Sequence[str], environ: Mapping[str, str], *, checkout: Path | None = None
) -> tuple[int, str]:
    """Run `registry …`; return its exit code and output."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("REGISTRY_")}
    if checkout is not None:
        inherited["PYTHONPATH"] = str(checkout)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from registry.cli import main; main()",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=inherited | dict(environ),
        cwd=checkout or "/",
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")
