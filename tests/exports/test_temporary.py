"""What a process that was killed left of its exports is deleted by the next start, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg
import pytest

from registry.exports.temporary import SPILL, delete_left_files, temporary_file
from tests.databases import Server
from tests.service import cloned, running

KILLED = """
import time
from pathlib import Path
from registry.exports.temporary import SPILL, temporary_file
file = temporary_file()
Path(file.name + SPILL).mkdir()
print(file.name, flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left_by_a_killed_process(folder: Path) -> Path:
    """Start a process that makes a file, and kill it."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(folder)}
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        # It is in use.
        delete_left_files()
        assert Path(name).exists()
        process.send_signal(signal.SIGKILL)
    assert Path(name).exists()
    return Path(name)


def test_only_files_that_no_process_has_are_deleted(folder: Path) -> None:
    left = left_by_a_killed_process(folder)
    target, link, other = folder / "target", folder / "registry-export-link", folder / "another"
    target.touch()
    other.touch()
    link.symlink_to(target)
    with temporary_file() as used:
        Path(used.name + SPILL).mkdir()
        delete_left_files()
        assert not left.exists()
        assert {path.name for path in folder.iterdir()} == {
            *("target", "another", link.name, Path(used.name).name, Path(used.name + SPILL).name)
        }


async def test_start_deletes_what_a_killed_service_left(
    server: Server, admin: asyncpg.Connection[asyncpg.Record], folder: Path
) -> None:
    left = left_by_a_killed_process(folder)
    async with cloned(server, admin, "left") as settings, running(settings):
        assert not left.exists()
        assert not left.with_name(left.name + SPILL).exists()
