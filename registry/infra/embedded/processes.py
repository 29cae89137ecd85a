"""Processes of a data directory's Postgres: its status file, and the removal of what an earlier server left."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path


def status_lines(pgdata: Path) -> list[str]:
    """The lines of postmaster.pid: pid, directory, start, port, socket folder, address, shared memory, status."""
    try:
        return (pgdata / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def remove_stale_server(pgdata: Path) -> None:
    """End the processes that an earlier server left in the directory, and delete its lock file.

    Only the holder of the directory's lock calls this, so no server in use is ended. The pid in the lock file does not
    identify them: a killed server may remain a zombie, and after a restart of the machine its pid may belong to another
    process. The processes whose working directory is the data directory do. Without /proc, Postgres' own check applies.
    """
    if sys.platform != "linux":
        return
    begin = time.monotonic()
    while pids := _processes_in(pgdata):
        waited = time.monotonic() - begin
        status = status_lines(pgdata)
        leader = int(status[0]) if status else 0
        if waited > 40:
            number, targets = signal.SIGKILL, pids
        elif waited > 30 or leader not in pids:
            number, targets = signal.SIGQUIT, pids
        else:
            number, targets = signal.SIGINT, [leader]
        for pid in targets:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        time.sleep(0.1)
    (pgdata / "postmaster.pid").unlink(missing_ok=True)


def _processes_in(folder: Path) -> list[int]:
    """The running processes whose working directory is `folder`, as it is for all processes of a server (Linux)."""
    here = folder.stat()
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                there = (entry / "cwd").stat()
            except OSError:
                # The process has ended, is a zombie, or belongs to another user.
                continue
            if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
                pids.append(int(entry.name))
    return pids
