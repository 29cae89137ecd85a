"""The `registry` command in processes that need not import it: the tests run it hundreds of times.

`server.py` has imported the command and forks a process for each call. The program `registry` in this folder passes it
the arguments, the environment, the folder and the open files, and ends with the exit code of that process. Commands
that run until they are stopped are started as users start them (tests/cli/test_service.py).
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
COMMAND = str(FOLDER / "registry")


@cache
def preloaded() -> dict[str, str]:
    """What the environment of such a command must have; starts the server, which ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="preloaded")
    address = Path(folder.name) / "socket"
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.preloaded.server", address],
        cwd=FOLDER.parents[1],
        env={name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    server.stdout.close()

    def end() -> None:
        assert server.stdin is not None
        server.stdin.close()
        server.wait()
        folder.cleanup()

    atexit.register(end)
    return {"PRELOADED_SERVER": str(address), "PATH": f"{FOLDER}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
