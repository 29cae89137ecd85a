"""The load generator: connections that each send the next request when the last is answered, in its own process.

Requests are prepared in a file, so that preparing them is not measured. wrk sends them where it is installed (one
thread, `wrk.lua`), else the client in this module, `python -m bench.load_generator`. Both report the rate of answers,
their latencies and the number of errors.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

# Separates the requests in a plan's file; no request contains it.
RECORD_SEPARATOR = b"\x1e\n"


class Load(Struct, frozen=True):
    """The result of a run: answers per second, latencies in milliseconds, and answers other than 2xx and 3xx."""

    rate: float
    p50: float
    p99: float
    errors: int


class RequestPlan:
    """A file of requests. A plan that does not repeat must contain more requests than a run can send."""

    def __init__(self, requests: Iterable[bytes], repeat: bool = True) -> None:
        number, name = tempfile.mkstemp(prefix="bench-", suffix=".http")
        with os.fdopen(number, "wb") as file:
            file.writelines(request + RECORD_SEPARATOR for request in requests)
        self.path = Path(name)
        self.repeat = repeat
        # The files of a run take hundreds of megabytes, so each is deleted with its plan.
        self.close = weakref.finalize(self, os.unlink, name)


def has_wrk() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None


async def run(url: str, plan: RequestPlan, connections: int, seconds: float, *, own: bool = False) -> Load:
    """Send the plan's requests for `seconds`. With `own`, use this module's client even where wrk is installed."""
    if has_wrk() and not own:
        script = str(Path(__file__).with_name("wrk.lua"))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", script, url]
        command += ["--", str(plan.path), "repeat" if plan.repeat else "once"]
    else:
        command = [sys.executable, "-m", "bench.load_generator", url, str(plan.path), str(connections), str(seconds)]
        command += ["repeat" if plan.repeat else "once"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the load generator ended with {process.returncode}: {out.decode()}")
    return msgspec.json.decode(out.splitlines()[-1], type=Load)


# --- our own client -------------------------------------------------------------------------------------------


class _Client(asyncio.Protocol):
    """One connection. Understands answers with a Content-Length, and 304s; that is all that is measured."""

    def __init__(self, requests: Iterator[bytes], latencies: list[float], stop: list[bool]) -> None:
        self._requests = requests
        self._latencies = latencies
        self._stop = stop
        self._got = b""
        self._sent = 0.0
        self.errors = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        request = None if self._stop[0] else next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return
        status = self._got[9:12]
        at = self._got.lower().find(b"content-length: ", 0, end)
        length = 0 if status == b"304" or at < 0 else int(self._got[at + 16 : self._got.index(b"\r\n", at)])
        if len(self._got) < end + 4 + length:
            return
        self._latencies.append(time.perf_counter() - self._sent)
        self.errors += status[:1] not in b"23"
        self._got = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.errors += exc is not None
        self.done.set_result(None)


async def _send_all(url: str, path: Path, connections: int, seconds: float, repeat: bool) -> Load:
    parts = urlsplit(url)
    requests = path.read_bytes().split(RECORD_SEPARATOR)[:-1]
    source = cycle(requests) if repeat else iter(requests)
    latencies: list[float] = []
    stop = [False]
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    clients = [
        (await loop.create_connection(lambda: _Client(source, latencies, stop), parts.hostname or "", parts.port or 0))[
            1
        ]
        for _ in range(connections)
    ]
    all_clients = asyncio.gather(*(client.done for client in clients))
    await asyncio.wait([all_clients], timeout=seconds)
    stop[0] = True
    await all_clients
    took = time.perf_counter() - start
    latencies.sort()
    count = len(latencies)
    return Load(
        rate=count / took,
        p50=latencies[count // 2] * 1000,
        p99=latencies[count * 99 // 100] * 1000,
        errors=sum(client.errors for client in clients),
    )


def main() -> None:
    import uvloop

    url, path, connections, seconds, repeat = sys.argv[1:]
    load = uvloop.run(_send_all(url, Path(path), int(connections), float(seconds), repeat == "repeat"))
    print(json.dumps(msgspec.to_builtins(load)))


if __name__ == "__main__":
    main()
