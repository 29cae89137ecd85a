"""The access log: a line for each request."""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import datetime

import msgspec
from msgspec import Struct

# At a level above INFO there is no access log.
access = logging.getLogger("registry.access")

# Seconds that an entry may wait for others: many are written at once, since a write costs as much as a small answer.
FLUSH_INTERVAL = 0.1


class AccessLogEntry(Struct, frozen=True, gc=False):
    """A request in the access log: who asked for what, and what was answered. It has no key and no query string.

    `principal` is the id of the API key, null without one.
    """

    request_id: str
    method: str
    path: str
    route: str
    status: int
    milliseconds: float
    address: str
    principal: str | None
    timestamp: datetime
    event: str = "answered"
    level: str = "info"
    logger: str = access.name


class AccessLogWriter:
    """Writes the access log to standard error: JSON, or text on a terminal.

    The logging library takes ten times as long for an entry, and Litestar's LoggingMiddleware, which uses it, logs
    neither durations nor unknown paths.
    """

    def __init__(self) -> None:
        self._pending: list[AccessLogEntry] = []

    def add(self, entry: AccessLogEntry) -> None:
        """Add an entry; it is written within FLUSH_INTERVAL."""
        self._pending.append(entry)
        if len(self._pending) == 1:
            asyncio.get_running_loop().call_later(FLUSH_INTERVAL, self.write)

    def write(self) -> None:
        """Write the pending entries."""
        entries, self._pending = self._pending, []
        if sys.stderr.isatty():
            sys.stderr.write("".join(map(_as_text, entries)))
        else:
            sys.stderr.write(_encode(entries).decode())
        sys.stderr.flush()


def _as_text(entry: AccessLogEntry) -> str:
    path = entry.path if entry.path.isprintable() else ascii(entry.path)
    who = f"{entry.address} {entry.principal or '-'}"
    return f"{entry.timestamp:%H:%M:%S} {who} {entry.method} {path} {entry.status} {entry.milliseconds} ms\n"


_encode = msgspec.json.Encoder().encode_lines
