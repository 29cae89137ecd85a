"""The HTTP server: uvicorn with limits on its connections."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence
from typing import Any

import uvicorn

from registry.http.open_connections import OpenConnections
from registry.http.protocol import ConnectionLimits, LimitedConfig, LimitedProtocol
from registry.infra.sockets import allow_reuse

# Seconds that open requests have to end when the service stops.
GRACE_SECONDS = 10

# Files that the service needs beside its connections.
RESERVED_FILES = 256


class HttpServer(uvicorn.Server):
    """Serves an application, and closes connections whose clients take too long."""

    def __init__(self, app: Any, trusted_proxies: Sequence[str] = (), limits: ConnectionLimits | None = None) -> None:
        config = LimitedConfig(
            app,
            http=LimitedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=list(trusted_proxies),
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        config.limits = limits or ConnectionLimits(connections=_usable_connections())
        config.open_connections = OpenConnections(config.limits.connections)
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen."""
        await super().startup(sockets)
        for listening in sockets or ():
            allow_reuse(listening)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        if counter % 5 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, LimitedProtocol):
                    connection.close_if_expired(now)
        return await super().on_tick(counter)


def _usable_connections() -> int:
    """The default limit of connections, or fewer if the process may not open so many files."""
    default = ConnectionLimits().connections
    if sys.platform == "win32":
        return default
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = default + RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(soft - RESERVED_FILES, soft // 2)
    return default
