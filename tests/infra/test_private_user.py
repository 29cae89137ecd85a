"""Root without a user for Postgres alone: the service refuses to start. In real user namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from registry.errors import PostgresUnavailable
from registry.i18n import LANGUAGES, render
from registry.infra.problems import PostgresProblem
from tests.conftest import PATIENCE

# Waits until the namespace has its users, and becomes its root.
AS_ROOT = 'read -r _ && exec sh -c "$0" sh "$@"'


def namespaces_work() -> bool:
    """Whether this is root, and may make a user namespace."""
    made = ["unshare", "--user", "true"]
    return os.geteuid() == 0 and shutil.which(made[0]) is not None and subprocess.run(made, check=False).returncode == 0


def in_namespace(users: int, script: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as root of a user namespace with so many users, after a script of the shell."""
    words = ["unshare", "--user", "sh", "-c", AS_ROOT, f'{script} exec "$@"', *command]
    piped = subprocess.PIPE
    with subprocess.Popen(words, stdin=piped, stdout=piped, stderr=piped, text=True) as process:
        try:
            inside, deadline = Path(f"/proc/{process.pid}/ns/user"), time.monotonic() + PATIENCE
            while inside.readlink() == Path("/proc/self/ns/user").readlink():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            for name in ("gid_map", "uid_map"):
                Path(f"/proc/{process.pid}/{name}").write_text(f"0 0 {users}", "ascii")
            out, err = process.communicate("\n", timeout=PATIENCE)
        finally:
            process.kill()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.mark.skipif(not namespaces_work(), reason="only root can make a user namespace with several users")
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("users", "script"),
    [
        pytest.param(1, "", id="no other user"),
        pytest.param(65_536, "echo 0 > /proc/sys/user/max_user_namespaces;", id="no further namespace"),
    ],
)
def test_root_without_a_private_user_is_refused_with_the_reason(
    tmp_path: Path, users: int, script: str, language: str
) -> None:
    data = tmp_path / "data"
    command = (sys.executable, "-m", "registry", "--lang", language, "serve", "--data-dir", str(data), "--port", "0")
    refused = in_namespace(users, script, *command)
    reason = PostgresUnavailable(reason=PostgresProblem("no_private_user")).message
    assert (refused.returncode, refused.stdout) == (1, ""), refused
    assert refused.stderr == f"registry: {render(reason, language)}\n"
    assert not (data / "postgres").exists()
