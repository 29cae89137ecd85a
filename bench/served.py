"""The service with a watch on its event loop: `python -m bench.served`, with the settings in the environment.

On SIGUSR1 it prints `held SECONDS`, the longest time since the last such line during which the loop ran nothing else:
the processor time of the process in that time, where it is less, because other processes may use the processor as well.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time

from registry.cli import server
from registry.infra import sockets
from registry.infra.settings import Settings

INTERVAL = 0.001


async def watch(url: str) -> None:
    """Start the watch."""
    longest = 0.0
    loop = asyncio.get_running_loop()

    async def look() -> None:
        nonlocal longest
        while True:
            before, used = loop.time(), time.process_time()
            await asyncio.sleep(INTERVAL)
            longest = max(longest, min(loop.time() - before - INTERVAL, time.process_time() - used))

    def report() -> None:
        nonlocal longest
        print(f"held {longest:.6f}", flush=True)
        longest = 0.0

    loop.add_signal_handler(signal.SIGUSR1, report)
    tasks.add(loop.create_task(look()))


tasks: set[asyncio.Task[None]] = set()
"""Tasks that the event loop must not forget."""


def main() -> None:
    """Serve until a signal stops the process."""
    server.log_to_stderr()
    settings = Settings.read(os.environ)
    with sockets.bind(settings.host, settings.port) as bound:
        server.run(settings, bound, before_ready=watch)


if __name__ == "__main__":
    main()
