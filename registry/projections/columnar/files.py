"""The files of a columnar copy: a directory that one process has locked, and the DuckDB database in it."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import get_native_id

import duckdb
from duckdb import DuckDBPyConnection

from registry.errors import StorageUnavailable

log = logging.getLogger(__name__)

MEMORY_LIMIT = "256MB"
"""Twice what a search of 10,000 deals for two words takes: other questions run beside it. With 320 MB, a service with
100,000 deals takes 527 MB in all (`python -m bench --only totals`), with this 442."""
THREADS = 2

NICE = 10
"""So much lower is the priority of DuckDB's own threads. Else they keep a processor while one of Python's threads waits
for it with the interpreter's lock, for which the event loop waits. On two busy processors, beside a long query and rows
that are fetched, 99 % of the steps of a thread that sleeps half a millisecond began within 12 to 15 ms; with equal
priorities within 31 to 39 ms. The query took as long."""

MAX_DIRECTORIES = 64
"""Processes that can share one data directory."""


class CopyDirectory:
    """A directory of one process below `parent`; another process that has the same parent takes the next one.

    Args:
        parent: Where the directories are. They can be deleted while no process uses them.
    """

    def __init__(self, parent: Path) -> None:
        for number in range(1, MAX_DIRECTORIES + 1):
            path = parent / str(number)
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (path / "lock").open("a")
            try:
                # Held until the process ends, however it ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                continue
            self._path = path
            # A copy that is dropped without being closed does not keep its directory.
            self._release = weakref.finalize(self, lock.close)
            return
        raise RuntimeError(f"{parent} has {MAX_DIRECTORIES} copies in use")

    def open(self) -> DuckDBPyConnection | None:
        """Open the latest database that an earlier process left; None if there is none or it is damaged."""
        for path in reversed(self._databases()):
            try:
                return self._connect(path)
            except duckdb.Error:
                continue
        return None

    def create(self) -> DuckDBPyConnection:
        """Make an empty database.

        It has a path of its own: questions may still read the present database, and DuckDB gives the connections of a
        process to one path the same database.
        """
        return self._connect(self._path / f"{time.time_ns()}.duckdb")

    def delete_older(self) -> None:
        """Delete all databases but the one that was made last. One that is open stays readable until it is closed."""
        for path in self._databases()[:-1]:
            _remove(path)

    def delete_latest(self) -> None:
        """Delete the database that was made last."""
        for path in self._databases()[-1:]:
            _remove(path)

    def _databases(self) -> list[Path]:
        """The databases in the order in which they were made."""
        return sorted(self._path.glob("*.duckdb"), key=lambda path: int(path.stem))

    def scratch(self, name: str) -> Path:
        """A path for a temporary file."""
        return self._path / f"{name}.scratch"

    def delete_scratch(self) -> None:
        """Delete the temporary files."""
        for path in self._path.glob("*.scratch"):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another process have the directory."""
        self._release()

    def _connect(self, path: Path) -> DuckDBPyConnection:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Nothing is loaded from the network, and nothing is read that is not named here.
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY_LIMIT,
            "threads": THREADS,
            "temp_directory": str(self._path / "spill"),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        # DuckDB's threads have the priority of the thread that starts them.
        with ThreadPoolExecutor(1, initializer=_lower_priority) as thread:
            connection = thread.submit(partial(duckdb.connect, path, config=config)).result()
        # Exchange rates (`conversion.py`) are not kept in the file.
        connection.execute("ATTACH IF NOT EXISTS ':memory:' AS cache")
        # DuckDB prints one to standard output in a program without a file (`python -c`), which it takes for a session.
        connection.execute("SET enable_progress_bar = false")
        return connection


@contextmanager
def disk_failures() -> Iterator[None]:
    """What DuckDB raises if it cannot write a new file is a failure of the disk: the reader may come back.

    Raises:
        StorageUnavailable: The disk is full or read-only.
    """
    try:
        yield
    except (duckdb.IOException, duckdb.TransactionException, duckdb.FatalException) as error:
        log.error("storage failure: %s", error)
        raise StorageUnavailable from error


def _lower_priority() -> None:
    """Lower the priority of this thread, where threads have their own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, get_native_id(), min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICE))


def _remove(database: Path) -> None:
    for path in (database, database.with_name(f"{database.name}.wal")):
        path.unlink(missing_ok=True)
