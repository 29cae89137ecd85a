"""A PgBouncer in transaction mode, with the configuration in deploy/."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from registry.infra.embedded.user import User

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "cluster" / "pgbouncer.ini"

# The first release with prepared statements in transaction mode.
PREPARED_SINCE = (1, 21)


@cache
def program() -> str | None:
    """The program: the one that REGISTRY_TEST_PGBOUNCER names, or the one on PATH."""
    return os.environ.get("REGISTRY_TEST_PGBOUNCER") or shutil.which(
        "pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin"
    )


@cache
def version() -> tuple[int, int]:
    """Its version."""
    found = subprocess.run([program() or "", "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = re.findall(r"PgBouncer (\d+)\.(\d+)", found)[0]
    return int(major), int(minor)


@contextmanager
def pgbouncer(folder: Path, url: str) -> Iterator[str]:
    """A pooler in front of the server of a URL; yields the URL that leads through it."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.mkdir()
    words = {
        "HOST": query.get("host") or parts.hostname or "",
        "PORT": query.get("port") or str(parts.port or 5432),
        "LISTEN_PORT": str(port),
        "AUTH_TYPE": "plain",
        "FOLDER": str(folder),
    }
    text = re.sub(r"@(\w+)@", lambda word: words[word[1]], CONFIGURATION.read_text())
    if version() < PREPARED_SINCE:
        text = re.sub(r"(?m)^max_prepared_statements.*\n", "", text)
    (folder / "pgbouncer.ini").write_text(text)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    (folder / "users.txt").write_text(f'"{user}" "{password}"\n')
    # PgBouncer refuses to run as root.
    # A socket can be reached by the user of its server only.
    sockets = Path(words["HOST"]) if words["HOST"].startswith("/") else folder
    account = User.for_data_dir(sockets) if os.getuid() == 0 else None
    if account is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, account.uid, account.gid)
    with (folder / "output.log").open("wb") as log:
        process = subprocess.Popen(
            [program() or "", str(folder / "pgbouncer.ini")],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd="/",
            user=account.uid if account is not None else None,
            group=account.gid if account is not None else None,
            extra_groups=() if account is not None else None,
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None, (folder / "output.log").read_text()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}{parts.path}?sslmode=disable"
    finally:
        # A SIGTERM would wait for clients.
        process.kill()
        process.wait(30)
