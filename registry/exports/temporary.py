"""Temporary files of exports. If a process is killed while it writes or sends some, the next start deletes them."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

PREFIX = "registry-export-"

SPILL = ".spill"
"""The ending of the folder in which DuckDB keeps what does not fit in memory, after the name of its file."""


def temporary_file() -> IO[bytes]:
    """A file that only this user can read. It is deleted when it is closed."""
    while True:
        file = tempfile.NamedTemporaryFile(prefix=PREFIX)  # noqa: SIM115 - the caller closes it
        # Held until the file is closed or the process ends, however it ends.
        fcntl.flock(file, fcntl.LOCK_SH)
        if os.fstat(file.fileno()).st_nlink:
            return file
        with suppress(OSError):  # Another process that starts has deleted it before the lock.
            file.close()


def delete_left_files() -> None:
    """Delete this user's files that no running process has."""
    folder = Path(tempfile.gettempdir())
    for path in folder.glob(f"{PREFIX}*"):
        # A link, or another user's file, may have the name where everyone can make files.
        with suppress(OSError):
            if path.suffix != SPILL and path.lstat().st_uid == os.geteuid():
                _delete_if_left(path)
    for path in folder.glob(f"{PREFIX}*{SPILL}"):
        with suppress(OSError):
            if not path.with_suffix("").exists() and path.lstat().st_uid == os.geteuid():
                shutil.rmtree(path)


def _delete_if_left(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(descriptor)
