"""The bundled Postgres: one server per directory, never without its service, and no acknowledged write is lost."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest

from registry.errors import PostgresUnavailable
from registry.infra import migrations, postgres
from registry.infra.embedded import binaries
from registry.infra.embedded.server import APP_ROLE, OWNER_ROLE, RESTART_DELAY_SECONDS, Embedded
from registry.infra.embedded.user import User, chown
from registry.infra.problems import PostgresProblem
from tests.conftest import PATIENCE, drill

SERVICE = """
import sys, threading
from pathlib import Path
from registry.infra.problems import PostgresProblem
from registry.infra.embedded.server import Embedded
with Embedded(Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    threading.Event().wait()
"""


def ask(url: str, statement: str) -> object:
    """Run one statement and return its first value."""

    async def run() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    # In another thread, because this one may already run the session's event loop.
    with ThreadPoolExecutor(1) as one:
        return one.submit(asyncio.run, run()).result()


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for a condition; fail the test if it does not come true."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "this never came to hold"
        time.sleep(0.05)


def lives(pid: int) -> bool:
    """Whether a process runs and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def service(data: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that runs the server of `data`, and the pid of Postgres."""
    with subprocess.Popen([sys.executable, "-c", SERVICE, str(data)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def parent_of(pid: int) -> int:
    return psutil.Process(pid).ppid()


@pytest.fixture(scope="module")
def created(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a server that was created and stopped. Creating one takes most of a test's time."""
    data = tmp_path_factory.mktemp("created") / "data"
    with Embedded(data):
        return data


@pytest.fixture
def data(created: Path, tmp_path: Path) -> Path:
    """A copy of such a directory, for tests of what happens after the first start."""
    subprocess.run(["cp", "-a", created, tmp_path / "data"], check=True)
    return tmp_path / "data"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A server of tests that only ask it."""
    with Embedded(tmp_path_factory.mktemp("running") / "data") as server:
        yield server


def test_written_rows_survive_a_restart(data: Path) -> None:
    with Embedded(data) as server:
        ask(server.owner_url, "CREATE TABLE kept AS SELECT 42 AS answer")
    with Embedded(data) as server:
        assert ask(server.owner_url, "SELECT answer FROM kept") == 42


def test_server_runs_in_a_private_folder_with_spaces_in_its_name(tmp_path: Path) -> None:
    data = tmp_path / "closed to others" / "데이터 50%, really"
    data.parent.mkdir(mode=0o700)
    data.mkdir(mode=0o700)
    with Embedded(data) as server:
        assert ask(server.app_url, "SELECT current_user") == APP_ROLE
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert data.stat().st_uid == os.geteuid()


def test_server_with_a_path_too_long_for_a_socket_uses_the_loopback_interface(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 25)
    with Embedded(data) as server:
        assert "@127.0.0.1:" in server.owner_url
        assert ask(server.owner_url, "SELECT current_user") == OWNER_ROLE
        assert ask(server.owner_url, "SHOW listen_addresses") == "127.0.0.1"


def test_server_refuses_connections_without_its_password(running: Embedded) -> None:
    assert stat.S_IMODE(running.pgdata.stat().st_mode) == 0o700
    assert stat.S_IMODE((running.data_dir / "postgres.passwords").stat().st_mode) == 0o600
    assert ask(running.owner_url, "SHOW listen_addresses") == ""
    wrong = running.app_url.replace(APP_ROLE, OWNER_ROLE)
    with pytest.raises(asyncpg.InvalidPasswordError):
        ask(wrong, "SELECT 1")


def test_server_runs_with_fsync_and_synchronous_commit(running: Embedded) -> None:
    names = ("fsync", "synchronous_commit", "timezone")
    assert [ask(running.owner_url, f"SHOW {name}") for name in names] == ["on", "on", "UTC"]


def test_letters_of_every_script_are_letters(running: Embedded) -> None:
    ask(running.owner_url, "CREATE EXTENSION pg_trgm")
    assert ask(running.owner_url, "SELECT similarity('아마존웹서비스', '아마존 웹 서비스') > 0.2")
    assert ask(running.owner_url, "SELECT lower('ÉCLAIR') = 'éclair'")


def test_two_processes_that_start_at_once_share_one_server(tmp_path: Path) -> None:
    servers = [Embedded(tmp_path / "data") for _ in range(3)]
    with ThreadPoolExecutor(3) as several:
        list(several.map(Embedded.start, servers))
    try:
        assert len({server.pid for server in servers}) == 1
        assert len({ask(server.owner_url, "SELECT pg_postmaster_start_time()") for server in servers}) == 1
    finally:
        for server in servers:
            server.stop()


def test_second_process_takes_over_when_the_first_ends(data: Path) -> None:
    first = Embedded(data).start()
    second = Embedded(data).start()
    try:
        before = first.pid
        first.stop()
        eventually(lambda: second.pid not in (None, before) and answers(second))
    finally:
        second.stop()
    assert second.pid is None


def answers(server: Embedded) -> bool:
    try:
        return ask(server.owner_url, "SELECT 1") == 1
    except postgres.ERRORS:
        return False


def test_killed_postgres_is_restarted(data: Path) -> None:
    with Embedded(data) as server:
        ask(server.owner_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        before = server.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        eventually(lambda: server.pid not in (None, before) and answers(server))
        assert ask(server.owner_url, "SELECT answer FROM kept") == 42


@pytest.mark.parametrize("name", ["postgres.log", "postgres.lock"])
def test_postgres_is_restarted_once_its_files_can_be_written_again(data: Path, tmp_path: Path, name: str) -> None:
    """As after a full or read-only disk: a folder in a file's place refuses writes by root too."""
    with Embedded(data) as server:
        before = server.pid
        assert before is not None
        file = server.data_dir / name
        aside = file.rename(tmp_path / name)
        file.mkdir()
        os.kill(before, signal.SIGKILL)
        eventually(lambda: not lives(before))
        time.sleep(RESTART_DELAY_SECONDS)
        file.rmdir()
        aside.rename(file)
        eventually(lambda: server.pid not in (None, before) and answers(server))


def test_postgres_ends_when_its_service_is_killed(data: Path) -> None:
    with service(data) as (process, postmaster):
        with Embedded(data) as other:
            ask(other.owner_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        process.kill()
        process.wait()
        eventually(lambda: not lives(postmaster))
    with Embedded(data) as server:
        assert ask(server.owner_url, "SELECT answer FROM kept") == 42


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_postgres_ends_when_service_and_supervisor_are_killed(data: Path) -> None:
    with service(data) as (process, postmaster):
        guard = parent_of(postmaster)
        assert guard not in (process.pid, os.getpid())
        process.kill()
        os.kill(guard, signal.SIGKILL)
        process.wait()
        # At once, while the old server may still run.
        with Embedded(data) as server:
            assert server.pid != postmaster
            assert ask(server.owner_url, "SELECT 1") == 1
        assert not lives(postmaster)


def test_terminal_signals_do_not_reach_postgres(data: Path) -> None:
    with service(data) as (process, postmaster):
        assert os.getpgid(postmaster) != os.getpgid(process.pid)
        os.kill(parent_of(postmaster), signal.SIGTERM)
        with Embedded(data) as other:
            assert other.pid == postmaster
            assert answers(other)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Postgres' own check of its lock file decides")
def test_stale_lock_file_with_the_pid_of_another_process_is_ignored(data: Path) -> None:
    with Embedded(data) as server:
        lines = (server.pgdata / "postmaster.pid").read_text().splitlines()
    (server.pgdata / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    with Embedded(data) as server:
        assert server.pid != os.getpid()
        assert answers(server)


def test_interrupted_first_start_is_repeated(tmp_path: Path) -> None:
    half = tmp_path / "data" / "postgres.new" / "cluster"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with Embedded(tmp_path / "data") as server:
        assert answers(server)
    assert not half.parent.exists()


@pytest.mark.parametrize("megabytes", [3, 30])
def test_first_start_on_a_full_disk_leaves_nothing_that_fills_it(tmp_path: Path, megabytes: int) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system can be mounted only by root")
    try:
        data = disk / "data"
        with pytest.raises(PostgresUnavailable) as error:
            Embedded(data).start()
        assert reason_code(error.value) == "directory_unusable"
        assert "No space left" in str(error.value)
        assert [file.name for file in data.iterdir()] == ["postgres.lock"]
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        with Embedded(data) as server:
            assert answers(server)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def reason_code(error: PostgresUnavailable) -> str:
    reason = error.params["reason"]
    assert isinstance(reason, PostgresProblem)
    return reason.code


def test_data_of_another_postgres_version_is_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "data" / "postgres").mkdir(parents=True)
    (tmp_path / "data" / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresUnavailable) as error:
        Embedded(tmp_path / "data").start()
    assert reason_code(error.value) == "other_version"


def test_server_that_cannot_start_reports_the_reason(tmp_path: Path) -> None:
    with pytest.raises(PostgresUnavailable, match="no_such_setting"):
        Embedded(tmp_path / "data", settings={"no_such_setting": "1"}).start()


def test_missing_postgres_is_reported_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PostgresUnavailable, match="REGISTRY_DATABASE_URL") as error:
        Embedded(tmp_path / "data", binaries=tmp_path).start()
    assert reason_code(error.value) == "no_server"


def test_data_directory_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(PostgresUnavailable) as error:
        Embedded(tmp_path / "data").start()
    assert reason_code(error.value) == "directory_unusable"


def test_programs_out_of_the_users_reach_are_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = User.for_data_dir()
    found = binaries.find_binaries(user).bin
    monkeypatch.setattr(binaries, "CACHE", Path(f"/tmp/registry-test-{os.getpid()}"))
    copy = binaries.copy_readable(found)
    try:
        assert binaries.copy_readable(found) == copy
        assert copy != found
        assert binaries.read_version(copy, user) == binaries.read_version(found, user)
    finally:
        subprocess.run(["rm", "-rf", str(binaries.CACHE)], check=True)


def installed() -> list[Path]:
    """Every Postgres installation on this machine that the registry can run."""
    return [folder for folder in dict.fromkeys(binaries.installed()) if (folder / "initdb").exists()]


@pytest.mark.parametrize("binaries", [*installed()[:1], *map(drill, installed()[1:])], ids=str)
def test_schema_is_created_on_every_installed_version(tmp_path: Path, binaries: Path) -> None:
    with Embedded(tmp_path / "data", binaries=binaries, settings={"fsync": "off"}) as server:
        with ThreadPoolExecutor(3) as several:
            # Two migrations at once, as when several processes of a new release start.
            heads = list(several.map(lambda _: asyncio.run(migrations.migrate(server.owner_url, APP_ROLE)), range(3)))
        assert heads == [migrations.head()] * 3
        assert ask(server.app_url, "SELECT version_num FROM alembic_version") == migrations.head()
        assert ask(server.app_url, "SELECT count(*) FROM events") == 0


def test_stopped_server_leaves_no_process(data: Path) -> None:
    before = threading.active_count()
    with Embedded(data) as server:
        postmaster = server.pid
        assert postmaster is not None
        guard = parent_of(postmaster)
    assert not lives(postmaster)
    assert not lives(guard)
    assert threading.active_count() == before


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts Postgres as another user")


@as_root
def test_server_of_root_runs_as_a_user_that_nothing_else_has(tmp_path: Path) -> None:
    with Embedded(tmp_path / "one") as one, Embedded(tmp_path / "other") as other:
        users = []
        for server in (one, other):
            assert server.pid is not None
            user = psutil.Process(server.pid).uids().real
            with pytest.raises(KeyError):
                pwd.getpwuid(user)
            # A process that has ended in the meantime has no user.
            same = {p.pid for p in psutil.process_iter(["uids"]) if p.info["uids"] and p.info["uids"].real == user}
            assert same <= {server.pid, *(child.pid for child in psutil.Process(server.pid).children())}
            assert server.pgdata.stat().st_uid == user
            users.append(user)
        assert users[0] != users[1]
        tmp_path.chmod(0o755)
        for stranger in (65_534, users[0]):
            read = subprocess.run(
                ["/bin/cat", str(other.pgdata / "PG_VERSION")],
                user=stranger,
                cwd="/",
                capture_output=True,
                check=False,
            )
            assert read.returncode != 0, stranger


@as_root
def test_directory_of_a_shared_user_is_given_to_a_private_one(tmp_path: Path) -> None:
    with Embedded(tmp_path / "data") as server:
        ask(server.owner_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        first = server.pgdata.stat().st_uid
    with Embedded(tmp_path / "data") as server:
        assert server.pgdata.stat().st_uid == first
    chown(tmp_path / "data" / "postgres", User(pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid))
    with Embedded(tmp_path / "data") as server:
        assert ask(server.owner_url, "SELECT answer FROM kept") == 42
        assert server.pgdata.stat().st_uid not in (0, pwd.getpwnam("nobody").pw_uid)
