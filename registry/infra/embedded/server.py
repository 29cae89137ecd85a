"""The bundled Postgres server: created on first use, started, supervised, and stopped with the service.

There is one server per data directory. The process that holds the lock file runs it; other processes of the same
directory use it, and one of them takes over when the first ends. Only the programs of a packaged server are used, not
its own lifecycle code. The server is not reachable for other users or machines: it listens on a socket in a 0700
folder (or on the loopback interface, where the folder's path is too long for a socket), with passwords in a 0600 file.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlencode

from registry.errors import PostgresUnavailable
from registry.infra.embedded import supervisor
from registry.infra.embedded.binaries import Binaries, find_binaries
from registry.infra.embedded.processes import remove_stale_server, status_lines
from registry.infra.embedded.user import User, accessible_path, chown, environment, run_with_account, write_secret
from registry.infra.problems import PostgresProblem

DATABASE = "registry"
OWNER_ROLE = "registry_owner"
APP_ROLE = "registry_app"
PORT = 5432
SOCKET_PATH_LIMIT = 107 if sys.platform == "linux" else 103
START_SECONDS = 60.0
RESTART_DELAY_SECONDS = 0.2
MAX_RESTART_DELAY_SECONDS = 5.0
"""Between two attempts while the server cannot start: the first delay, which doubles up to the second one."""
UP = b"up"
MAX_LOG_BYTES = 10_000_000

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "max_wal_size": "1GB",
    "checkpoint_completion_target": "0.9",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    "unix_socket_permissions": "0700",
    "log_line_prefix": "%m [%p] %q%a ",
    "log_checkpoints": "off",
    "cluster_name": "investment-registry",
}
"""Server settings, passed on the command line; `data_dir/postgres/postgresql.conf` stays as initdb made it."""

log = logging.getLogger(__name__)


class Embedded:
    """The server of a data directory; a context manager, or `start` and `stop`.

    Between `start` and `stop` a thread restarts Postgres whenever it ends by itself.

    Args:
        data_dir: Where the server keeps its data, log and passwords.
        binaries: Folder of the programs of another Postgres installation.
        settings: Server settings that add to or override `SETTINGS`.
    """

    def __init__(self, data_dir: Path, *, binaries: Path | None = None, settings: Mapping[str, str] | None = None):
        self.data_dir = data_dir
        self.pgdata = data_dir / "postgres"
        self.log_file = data_dir / "postgres.log"
        self._lock = data_dir / "postgres.lock"
        self._given_binaries = binaries
        self._settings = SETTINGS | dict(settings or {})
        self._ending = threading.Event()
        self._decided = threading.Event()
        self._up = threading.Event()
        self._failure: BaseException | None = None
        self._running: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._passwords: dict[str, str] = {}
        self._port = 0

    def start(self) -> Self:
        """Return when the server accepts connections, whether this process or another one runs it.

        Raises:
            PostgresUnavailable: It cannot run; the message says what to do.
        """
        self._prepare_data_dir()
        self._thread = threading.Thread(target=self._keep_running, name="embedded-postgres", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        try:
            while not (self._decided.is_set() and self._is_up() and self._accepts()):
                if self._failure is not None:
                    raise self._failure
                if time.monotonic() > deadline:
                    problem = PostgresProblem("not_started", seconds=round(START_SECONDS), log=str(self.log_file))
                    raise PostgresUnavailable(reason=problem)
                time.sleep(0.02)
            self._up.set()
            self._passwords = json.loads((self.data_dir / "postgres.passwords").read_bytes())
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server if this process runs it, and wait for its end. May be called twice."""
        self._ending.set()
        running = self._running
        if running is not None and running.stdin is not None:
            self._mark(b"")
            running.stdin.close()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def owner_url(self) -> str:
        """The superuser's URL, for migrations, redactions and tests."""
        return self.url(OWNER_ROLE)

    @property
    def app_url(self) -> str:
        """The URL of the application's role, which has only the rights that the migrations grant."""
        return self.url(APP_ROLE)

    def url(self, role: str, database: str = DATABASE) -> str:
        """The URL of a role on a database of this server."""
        password = quote(self._passwords[role], safe="")
        if self._port != PORT:
            return f"postgresql://{role}:{password}@127.0.0.1:{self._port}/{quote(database)}"
        query = urlencode({"host": str(self.pgdata), "port": PORT}, quote_via=quote)
        return f"postgresql://{role}:{password}@/{quote(database)}?{query}"

    @property
    def version(self) -> str:
        """The major version of the data directory, `18` for 18.6."""
        return (self.pgdata / "PG_VERSION").read_text().strip()

    @property
    def pid(self) -> int | None:
        """The process id of the running server, if there is one."""
        status = status_lines(self.pgdata)
        return int(status[0]) if status else None

    def _keep_running(self) -> None:
        try:
            with self._acquire_directory_lock() as first:
                if not first:
                    return
                user = User.for_data_dir(self.pgdata)
                binaries = find_binaries(user, self._given_binaries)
                self._create(binaries, user)
                delay = RESTART_DELAY_SECONDS
                while not self._ending.is_set():
                    accepted = self._run_until_it_ends(binaries, user)
                    delay = RESTART_DELAY_SECONDS if accepted else min(2 * delay, MAX_RESTART_DELAY_SECONDS)
                    self._ending.wait(delay)
        except BaseException as error:
            # start() raises the error.
            self._failure = error
            if self._up.is_set():
                log.exception("the bundled Postgres cannot be restarted")

    def _run_until_it_ends(self, binaries: Binaries, user: User) -> bool:
        """Run Postgres, and log why it ended by itself; return whether it accepted connections.

        Raises:
            OSError, PostgresUnavailable: It has not been up yet. Later, a full or read-only disk is no reason to give
                up: the service goes on when there is space again.
        """
        try:
            remove_stale_server(self.pgdata)
            accepted = self._run_server(binaries, user)
        except OSError as error:
            if not self._up.is_set():
                raise
            log.error("Postgres cannot be started now: %s", error)
            return False
        if self._ending.is_set():
            return accepted
        if not self._up.is_set():
            problem = PostgresProblem("ended", log=str(self.log_file), lines=self._log_tail())
            raise PostgresUnavailable(reason=problem)
        log.warning("Postgres ended by itself; restarting. The last lines of its log: %s", self._log_tail())
        return accepted

    def _run_server(self, binaries: Binaries, user: User) -> bool:
        """Run Postgres until it ends; return whether it accepted connections."""
        too_long = len(os.fsencode(self.pgdata / f".s.PGSQL.{PORT}")) > SOCKET_PATH_LIMIT
        settings = self._settings | {
            # Relative to the data directory, so that the path is never too long for the server.
            "unix_socket_directories": ".",
            "listen_addresses": "127.0.0.1" if too_long else "",
            # The port that existing pools know, if the server is restarted.
            "port": str(self._port or (_free_port() if too_long else PORT)),
        }
        with accessible_path(self.pgdata, user) as (name, keep), self._log() as output:
            command = [str(binaries.bin / "postgres"), "-D", name]
            command += [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
            guard = [sys.executable, "-I", "-S", supervisor.__file__, str(user.uid), str(user.gid)]
            running = subprocess.Popen(  # noqa: S603
                [*guard, ",".join(map(str, keep)), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment(),
                pass_fds=keep,
                # The service handles Ctrl-C in the terminal.
                start_new_session=True,
            )
        assert running.stdin is not None
        self._running = running
        if self._ending.is_set():
            # stop() was called before the process existed.
            running.stdin.close()
        while running.poll() is None and not self._accepts():
            with suppress(subprocess.TimeoutExpired):
                running.wait(0.02)
        accepted = running.poll() is None
        if accepted:
            self._up.set()
        while running.poll() is None and not self._mark(UP):
            with suppress(subprocess.TimeoutExpired):
                running.wait(1)
        running.wait()
        self._mark(b"")
        running.stdin.close()
        return accepted

    def _mark(self, state: bytes) -> bool:
        """Say in the lock file whether the server is up; False if that cannot be written, as on a full disk."""
        try:
            self._lock.write_bytes(state)
        except OSError as error:
            log.warning("the state of Postgres cannot be written: %s", error)
            return False
        return True

    @contextmanager
    def _acquire_directory_lock(self) -> Iterator[bool]:
        """Wait for the lock that allows this process to run the server; yields False if `stop` is called first."""
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    self._decided.set()
                    if self._ending.wait(0.2):
                        yield False
                        return
            # The previous holder may have been killed before it could mark its server as down.
            os.ftruncate(fd, 0)
            self._decided.set()
            yield True
        finally:
            os.close(fd)

    def _is_up(self) -> bool:
        """Whether the lock's holder has marked its server as up. A server that answers may be a dying orphan."""
        return self._lock.exists() and self._lock.read_bytes() == UP

    def _accepts(self) -> bool:
        """Whether this directory's server accepts connections; keeps its port."""
        status = status_lines(self.pgdata)
        if len(status) < 8 or status[7].strip() != "ready":
            return False
        port = int(status[3])
        try:
            if port != PORT:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            else:
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(self.pgdata / f".s.PGSQL.{PORT}"))
        except OSError:
            return False
        self._port = port
        return True

    def _prepare_data_dir(self) -> None:
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.data_dir, os.R_OK | os.W_OK | os.X_OK):
                owner = self.data_dir.stat().st_uid
                if owner == os.geteuid():
                    problem = PostgresProblem("directory_unwritable", directory=str(self.data_dir))
                else:
                    problem = PostgresProblem("directory_of_other_user", directory=str(self.data_dir), user=owner)
                raise PostgresUnavailable(reason=problem)
        except OSError as error:
            problem = PostgresProblem(
                "directory_unusable", directory=str(self.data_dir), problem=error.strerror or str(error)
            )
            raise PostgresUnavailable(reason=problem) from error

    def _create(self, binaries: Binaries, user: User) -> None:
        """Create the cluster, its roles and its database in a side folder, and rename the folder when all is done."""
        if self.pgdata.exists():
            if self.version != str(binaries.major):
                problem = PostgresProblem(
                    "other_version", directory=str(self.pgdata), created_by=self.version, installed=binaries.version
                )
                raise PostgresUnavailable(reason=problem)
            if user.other and self.pgdata.stat().st_uid != user.uid:
                # The owner was root, or has become a user with an account.
                remove_stale_server(self.pgdata)
                chown(self.pgdata, user)
            return
        aside = self.data_dir / "postgres.new"
        # Left by a start that was killed.
        shutil.rmtree(aside, ignore_errors=True)
        try:
            aside.mkdir(mode=0o700)
            self._create_cluster(aside, binaries, user)
        except OSError as error:
            problem = PostgresProblem(
                "directory_unusable", directory=str(self.data_dir), problem=error.strerror or str(error)
            )
            raise PostgresUnavailable(reason=problem) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _create_cluster(self, aside: Path, binaries: Binaries, user: User) -> None:
        passwords = {role: secrets.token_urlsafe(24) for role in (OWNER_ROLE, APP_ROLE)}
        first_password = aside / "password"
        write_secret(first_password, passwords[OWNER_ROLE].encode())
        cluster = aside / "cluster"
        cluster.mkdir(mode=0o700)
        if user.other:
            chown(aside, user)
        locale = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
        options = ["--username", OWNER_ROLE, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", locale]
        if binaries.major >= 17:
            # Character classes for every script, code-point order, and independent of the system's libraries.
            options += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        with accessible_path(aside, user) as (name, keep):
            inside = ["--pgdata", f"{name}/cluster", "--pwfile", f"{name}/password"]
            self._tool([str(binaries.bin / "initdb"), *options, *inside], user, keep)
            statements = (
                f"CREATE ROLE {APP_ROLE} LOGIN PASSWORD '{passwords[APP_ROLE]}'",
                f"CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE}",
                f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC",
                f"GRANT CONNECT ON DATABASE {DATABASE} TO {APP_ROLE}",
            )
            self._tool(
                [str(binaries.bin / "postgres"), "--single", "-D", f"{name}/cluster", "postgres"],
                user,
                keep,
                "".join(f"{statement};\n" for statement in statements),
            )
        write_secret(self.data_dir / "postgres.passwords", json.dumps(passwords).encode())
        cluster.rename(self.pgdata)

    def _tool(self, command: list[str], user: User, keep: tuple[int, ...], text: str = "") -> None:
        done = run_with_account(command, user, keep, text)
        if os.strerror(errno.ENOSPC) in done.stdout:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if done.returncode or "ERROR:" in done.stdout or "FATAL:" in done.stdout:
            problem = PostgresProblem("program_failed", program=Path(command[0]).name, output=done.stdout.strip())
            raise PostgresUnavailable(reason=problem)

    @contextmanager
    def _log(self) -> Iterator[int]:
        if self.log_file.exists() and self.log_file.stat().st_size > MAX_LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        fd = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            yield fd
        finally:
            os.close(fd)

    def _log_tail(self) -> str:
        try:
            lines = self.log_file.read_text(errors="replace").splitlines()
        except OSError as error:
            return str(error)
        return "\n".join(lines[-10:])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
