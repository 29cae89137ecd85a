"""What attacks on the limits of connections and bodies cost others: `python -m bench.limits`.

A client asks one question after another, alternately alone and while another process attacks. Writes its table into
docs/limits.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from msgspec import Struct

from bench import service
from bench.service import Process
from registry.infra.embedded.server import Embedded

REPORT = Path(__file__).parent.parent / "docs" / "limits.md"
BEGIN, END = "<!-- results: written by `python -m bench.limits` -->", "<!-- end of results -->"

ROUNDS = 4
SECONDS = 3.0

QUESTION = "/v1/deals?limit=5"
POST = "POST /v1/deals/plant/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = 8 * 2**20

Attack = Callable[[str, int, str], Awaitable[None]]


async def _send(host: str, port: int, *parts: bytes) -> None:
    """Send bytes on a connection, for as long as the service takes them, and wait until it closes it."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            while await reader.read(2**16):
                pass
        finally:
            writer.transport.abort()


async def many_fields(host: str, port: int, key: str) -> None:
    """Headers of 100,000 fields, one after another."""
    fields = b"".join(b"x-field-%d: 1\r\n" % number for number in range(100_000))
    while True:
        await _send(host, port, b"GET / HTTP/1.1\r\nHost: localhost\r\n", fields, b"\r\n")


async def long_header(host: str, port: int, key: str) -> None:
    """A field of 50 MB, one after another."""
    part = b"x" * 2**20
    while True:
        await _send(host, port, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ", *[part] * 50)


async def slow_connections(host: str, port: int, key: str) -> None:
    """1,000 connections that send one byte of their header a second."""

    async def slow() -> None:
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(host, port)
                with contextlib.closing(writer):
                    writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
                    while not writer.transport.is_closing():
                        writer.write(b"x")
                        await writer.drain()
                        await asyncio.sleep(1)
            await asyncio.sleep(1)

    await asyncio.gather(*(slow() for _ in range(1000)))


async def unfinished_bodies(host: str, port: int, key: str) -> None:
    """40 bodies of 8 MiB of which the last byte does not come, with a valid key; again when they are refused."""
    head = f"{POST}Authorization: Bearer {key}\r\nContent-Length: {BODY}\r\n\r\n".encode()
    part = b" " * 2**16

    async def unfinished() -> None:
        while True:
            await _send(host, port, head, *[part] * (BODY // len(part) - 1), part[:-1])
            await asyncio.sleep(0.1)

    await asyncio.gather(*(unfinished() for _ in range(40)))


async def slow_readers(host: str, port: int, key: str) -> None:
    """200 connections that ask for a long answer fifty times and read a byte a second."""

    async def slow() -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(host, port, limit=1)
                with contextlib.closing(writer):
                    writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
                    for _ in range(600):
                        await reader.read(1)
                        await asyncio.sleep(1)
            await asyncio.sleep(1)

    await asyncio.gather(*(slow() for _ in range(200)))


ATTACKS: dict[str, Attack] = {
    "headers of 100,000 fields, one after another": many_fields,
    "headers of 50 MB, one after another": long_header,
    "1,000 connections with a byte a second": slow_connections,
    "40 unfinished bodies of 8 MiB": unfinished_bodies,
    "200 readers of a byte a second": slow_readers,
}


class Costs(Struct, frozen=True):
    """What an attack costs others: latencies in ms, alone and during the attack, and the service's memory in MB."""

    name: str
    alone: list[float]
    attacked: list[float]
    memory_before: float
    memory_most: float


@asynccontextmanager
async def attacking(name: str, process: Process, key: str) -> AsyncIterator[None]:
    """Attack from a process of its own."""
    words = ("-m", "bench.limits", "--attack", name, process.url, key)
    attacker = await asyncio.create_subprocess_exec(sys.executable, *words, stderr=asyncio.subprocess.DEVNULL)
    try:
        await asyncio.sleep(2)
        yield
    finally:
        attacker.kill()
        await attacker.wait()


async def ask(client: httpx.AsyncClient, process: Process) -> tuple[list[float], float]:
    """The latencies of a question that is asked for `SECONDS`, and the most memory that the service had."""
    latencies, memory = [], 0.0
    ends = time.perf_counter() + SECONDS
    while time.perf_counter() < ends:
        began = time.perf_counter()
        answer = await client.get(QUESTION)
        latencies.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, answer.text
        memory = max(memory, process.megabytes)
        await asyncio.sleep(0.005)
    return latencies, memory


async def measure(name: str, process: Process, key: str) -> Costs:
    """Measure one attack, in turn with the service left alone."""
    alone: list[float] = []
    attacked: list[float] = []
    before = most = 0.0
    async with httpx.AsyncClient(base_url=process.url, timeout=60) as client:
        await ask(client, process)
        for _ in range(ROUNDS):
            latencies, memory = await ask(client, process)
            alone += latencies
            before = before or memory
            async with attacking(name, process, key):
                latencies, memory = await ask(client, process)
            attacked += latencies
            most = max(most, memory)
    return Costs(name, alone, attacked, before, most)


def _percentile(latencies: list[float], percent: int) -> float:
    return statistics.quantiles(latencies, n=100)[percent - 1]


def row(one: Costs) -> str:
    """An attack's line in the table."""
    cells = [
        f"{_percentile(latencies, percent):.1f}" for percent in (50, 99) for latencies in (one.alone, one.attacked)
    ]
    ratio = statistics.median(one.attacked) / statistics.median(one.alone)
    return (
        f"| {one.name} | {cells[0]}, {cells[1]} | {ratio:.1f} | {cells[2]}, {cells[3]}"
        f" | {one.memory_before:.0f}, {one.memory_most:.0f} |"
    )


def table(found: list[Costs]) -> str:
    """The results for docs/limits.md."""
    lines = [
        BEGIN,
        "",
        "| attack | median of others, ms: alone, attacked | ratio | 99th percentile, ms | memory, MB: before, most |",
        "|---|--:|--:|--:|--:|",
        *map(row, found),
        "",
        f"Last run: {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, which the attacker and the client share.",
        "",
        END,
    ]
    return "\n".join(lines)


async def run() -> list[Costs]:
    """Measure every attack on a service of its own."""
    found = []
    with tempfile.TemporaryDirectory() as folder, Embedded(Path(folder, "server"), settings={"fsync": "off"}) as server:
        for name in ATTACKS:
            async with service.database(server) as database, service.registry(database) as process:
                found.append(await measure(name, process, await service.key(database)))
            print(row(found[-1]), file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attack", nargs=3, metavar=("NAME", "URL", "KEY"), help="used by the command itself")
    given = parser.parse_args()
    if given.attack:
        name, url, key = given.attack
        place = urlsplit(url)
        asyncio.run(ATTACKS[name](str(place.hostname), int(place.port or 0), key))  # type: ignore[arg-type]
        return
    page = REPORT.read_text()
    head, tail = page.partition(BEGIN)[0], page.partition(END)[2]
    REPORT.write_text(head + table(asyncio.run(run())) + tail)


if __name__ == "__main__":
    main()
