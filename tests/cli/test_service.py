"""`demo`, `serve` and `keys`: Ctrl-C, a port in use, and processes that are killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx
import msgspec
import psutil
import pytest
from msgspec import Struct

import registry
from registry.cli import demo, server
from registry.demo import lines
from registry.domain.calendar import Calendar
from registry.events import continuity
from registry.infra import migrations, postgres
from registry.infra.embedded.server import Embedded
from registry.infra.settings import Settings
from tests.api.announcements import registered
from tests.conftest import PATIENCE
from tests.databases import ScratchDatabase, Server
from tests.preloaded import COMMAND, preloaded
from tests.service import ADMIN_KEY, cloned

REGISTRY = Path(sys.executable).with_name("registry")
# Settings of the developer's environment must not affect the tests.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    # NO_PROXY is removed too: the commands themselves must not use a proxy for this machine.
    if not name.startswith("REGISTRY_") and name.upper() != "NO_PROXY"
}


class Running(Struct):
    """A `registry` process and its output so far."""

    process: subprocess.Popen[str]
    out: list[str]
    err: list[str]

    def url(self) -> str:
        """Wait for the ready line."""
        self.wait_for("ready http")
        return next(line for line in self.out if line.startswith("ready ")).split()[1]

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in "".join(self.out + self.err):
            assert self.process.poll() is None, f"it ended:\n{''.join(self.out + self.err)}"
            assert time.monotonic() < deadline, f"no '{text}':\n{''.join(self.out + self.err)}"
            time.sleep(0.05)

    def end(self, number: signal.Signals) -> int:
        """Send a signal to the process and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def started(*words: str | Path, **settings: str) -> Iterator[Running]:
    """Run a command in its own session, as a terminal does."""
    with subprocess.Popen(
        [REGISTRY, *words],
        env=ENVIRONMENT | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        running = Running(process, [], [])
        assert process.stdout is not None
        assert process.stderr is not None
        readers = [
            threading.Thread(target=running.out.extend, args=(process.stdout,)),
            threading.Thread(target=running.err.extend, args=(process.stderr,)),
        ]
        for reader in readers:
            reader.start()
        try:
            yield running
        finally:
            process.kill()
            for reader in readers:
                reader.join()


def run(*words: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    environment = ENVIRONMENT | preloaded() | settings
    return subprocess.run(
        [COMMAND, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def test_demo_serves_the_deals(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with started("demo", "--port", "0", "--data-dir", data) as running:
        url = running.url()
        running.wait_for("Ctrl-C stops the service.")
        state = httpx.get(f"{url}/v1/deals/aws-korea-2031").json()
        assert state["effective_on"] == str(Calendar("Asia/Seoul").today())
        logged = httpx.get(f"{url}/v1/events", params={"limit": 1000}).json()["events"]
        assert sum("principal" not in event for event in logged) == len(lines())
        key = (data / "demo.key").read_text().strip()
        assert stat.S_IMODE((data / "demo.key").stat().st_mode) == 0o600
        text = "".join(running.out)
        assert key in text
        for link in re.findall(r"http://\S+/\S+", text):
            assert httpx.get(link).is_success, link
        assert "refused" not in "".join(running.err)
        listed = run("list", "--url", url, HTTP_PROXY="http://127.0.0.1:1")
        assert listed.returncode == 0, listed.stderr
        postmaster = Embedded(data).pid
        assert postmaster is not None
        assert running.end(signal.SIGINT) in (0, 130)
        assert not psutil.pid_exists(postmaster)
    assert "Traceback" not in "".join(running.err)
    assert [line for line in running.out if line.startswith("ready ")] == [f"ready {url}\n"]


async def test_demo_that_is_loaded_again_records_nothing(
    demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with (
        cloned(demo_server, admin, "loaded_again") as settings,
        await postgres.pool(str(settings.database_url), max_size=1) as pool,
    ):
        before = await pool.fetchval("SELECT max(position) FROM events")
        assert not await demo.load(pool, settings)
        assert await pool.fetchval("SELECT max(position) FROM events") == before


@pytest.mark.drill
def test_second_start_of_the_demo_records_nothing_twice(tmp_path: Path) -> None:
    starts: list[list[str]] = []
    for _ in range(2):
        with started("demo", "--port", "0", "--data-dir", tmp_path) as running:
            url = running.url()
            running.wait_for((tmp_path / "demo.key").read_text().strip())
            logged = httpx.get(f"{url}/v1/events", params={"limit": 1000}).json()["events"]
            starts.append([event["leaf_hash"] for event in logged])
            # kill -9 can come at any moment.
            running.process.kill()
            running.process.wait()
        assert "Traceback" not in "".join(running.err)
    assert starts[0] == starts[1]


@pytest.mark.drill
def test_demo_uses_the_next_free_port_and_does_not_print_a_supplied_key(tmp_path: Path) -> None:
    key = "supplied-by-the-operator-" + "x" * 32
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with started("demo", "--port", str(taken), "--data-dir", tmp_path / "data", REGISTRY_ADMIN_KEY=key) as running:
            running.wait_for(f"Port {taken} is in use")
            assert running.url() != f"http://127.0.0.1:{taken}"
            running.wait_for("Ctrl-C stops the service.")
            assert key not in "".join(running.out + running.err)


def test_serve_reports_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = run("serve", "--port", str(other.getsockname()[1]), "--data-dir", tmp_path / "data")
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot listen on 127.0.0.1" in done.stderr
    assert not (tmp_path / "data").exists()


def test_service_that_a_signal_stops_ends_streams_imports_and_its_postgres(tmp_path: Path) -> None:
    line = msgspec.json.encode({"deal": "first-line", **registered()}) + b"\n"
    head = (
        f"POST /v1/import HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_KEY}\r\n"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {2 * len(line)}\r\n\r\n"
    )
    with started("serve", "--data-dir", tmp_path / "data", REGISTRY_PORT="0", REGISTRY_ADMIN_KEY=ADMIN_KEY) as running:
        url = httpx.URL(running.url())
        assert httpx.get(url.join("/health/ready")).status_code == 200
        postmaster = Embedded(tmp_path / "data").pid
        assert postmaster is not None
        with (
            httpx.stream("GET", url.join("/v1/events/stream"), timeout=PATIENCE) as events,
            socket.create_connection((url.host, url.port or 80), PATIENCE) as half_sent,
        ):
            half_sent.sendall(head.encode() + line)
            received = b""
            while b'"position"' not in received:
                received += half_sent.recv(65_536)
            running.process.send_signal(signal.SIGTERM)
            while more := half_sent.recv(65_536):
                received += more
            assert b"retry:" in events.read()
            assert running.process.wait(PATIENCE) in (0, 143)
        assert not psutil.pid_exists(postmaster)
    assert running.out == [running.out[0]]
    first, last = [json.loads(text) for text in re.findall(rb"{.*}", received)]
    assert (first["line"], first["status"]) == (1, 201)
    assert (last["line"], last["status"], last["code"]) == (2, 503, "overloaded")
    assert {json.loads(entry)["level"] for entry in running.err} <= {"info"}, running.err


@pytest.mark.drill
def test_serve_continues_when_its_postgres_is_killed(tmp_path: Path) -> None:
    with started("serve", "--port", "0", "--data-dir", tmp_path / "data") as running:
        url = running.url()
        postmaster = Embedded(tmp_path / "data").pid
        assert postmaster is not None
        os.kill(postmaster, signal.SIGKILL)
        answers: set[int] = set()
        deadline = time.monotonic() + PATIENCE
        while Embedded(tmp_path / "data").pid in (None, postmaster) or answers_at(url, answers) != 200:
            assert time.monotonic() < deadline, answers
            time.sleep(0.05)
        assert answers <= {200, 503}


def answers_at(url: str, seen: set[int]) -> int:
    """Request the list of deals, and note the status."""
    status = httpx.get(f"{url}/v1/deals", timeout=PATIENCE).status_code
    seen.add(status)
    return status


@pytest.mark.drill
def test_serve_uses_an_existing_postgres_and_starts_none(database: ScratchDatabase, tmp_path: Path) -> None:
    with started(
        "serve", "--port", "0", "--data-dir", tmp_path / "data", REGISTRY_DATABASE_URL=database.app_url
    ) as running:
        assert httpx.get(f"{running.url()}/health/ready").status_code == 200
        assert not (tmp_path / "data" / "postgres").exists()
        assert running.end(signal.SIGINT) in (0, 130)


def test_no_postgres_is_started_beside_the_database_of_the_settings(tmp_path: Path) -> None:
    data = tmp_path / "data"
    url = "postgresql://app@db.example/registry"
    settings = Settings(data_dir=data, signing_key=data / "signing.key", database_url=url)
    with server.database(settings) as used:
        assert used == settings
        assert not data.exists()


def test_unreachable_database_is_reported_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for words in (("serve", "--port", "0"), ("keys", "list"), ("migrate",)):
        done = run(
            *words,
            REGISTRY_DATA_DIR=str(tmp_path),
            REGISTRY_DATABASE_URL=f"postgresql://app:secret@127.0.0.1:{port}/registry",
            REGISTRY_OWNER_URL=f"postgresql://owner:secret@127.0.0.1:{port}/registry",
        )
        assert done.returncode == 1
        assert done.stderr.startswith("registry: The registry cannot start on its database:")
        assert "Traceback" not in done.stderr
        assert "secret" not in done.stderr


async def test_database_without_the_schema_is_reported_with_what_to_do(
    database: ScratchDatabase, tmp_path: Path, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    await owner.execute("DROP TABLE alembic_version")
    done = run("serve", "--port", "0", REGISTRY_DATA_DIR=str(tmp_path), REGISTRY_DATABASE_URL=database.app_url)
    assert done.returncode == 1
    assert "'registry migrate'" in done.stderr


async def test_data_directory_of_another_log_is_refused_before_it_stops_this_one(
    database: ScratchDatabase, tmp_path: Path, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    there = {"REGISTRY_DATABASE_URL": database.app_url, "REGISTRY_DATA_DIR": str(tmp_path)}
    mark = continuity.LogMark(3, "ab" * 32, 0, "cd" * 32)
    (tmp_path / continuity.MARK_FILE).write_bytes(msgspec.json.encode(mark))
    # An empty log, then one that begins with another event.
    for _ in range(2):
        done = run("serve", "--port", "0", **there)
        assert done.returncode == 1
        assert str(tmp_path) in done.stderr
        assert await owner.fetchval("SELECT count(*) FROM log_incidents") == 0
        assert run("keys", "create", "the analysts", "--scope", "record", **there).returncode == 0


def test_key_is_created_shown_once_listed_and_revoked(database: ScratchDatabase, tmp_path: Path) -> None:
    there = {"REGISTRY_DATABASE_URL": database.app_url, "REGISTRY_DATA_DIR": str(tmp_path)}
    made = run("keys", "create", "the analysts", "--scope", "record", "--scope", "correct", **there)
    key = made.stdout.strip()
    assert made.returncode == 0
    assert key
    (listed,) = json.loads(run("keys", "list", **there).stdout)
    assert (listed["name"], listed["scopes"], listed["revoked_at"]) == ("the analysts", ["record", "correct"], None)
    assert key not in json.dumps(listed)
    assert run("keys", "revoke", listed["id"], **there).returncode == 0
    assert json.loads(run("keys", "list", "--json", **there).stdout)[0]["revoked_at"]
    again = run("keys", "revoke", listed["id"], **there)
    assert again.returncode == 3
    assert listed["id"] in again.stderr
    assert run("keys", "create", "x", "--scope", "everything", **there).returncode == 2


def test_migrate_creates_the_schema_and_does_nothing_the_second_time(database: ScratchDatabase, tmp_path: Path) -> None:
    for _ in range(2):
        done = run(
            "migrate",
            REGISTRY_DATA_DIR=str(tmp_path),
            REGISTRY_DATABASE_URL=database.app_url,
            REGISTRY_OWNER_URL=database.owner_url,
        )
        assert (done.returncode, done.stdout) == (0, f"schema {migrations.head()}\n")
    missing = run("migrate", REGISTRY_DATA_DIR=str(tmp_path), REGISTRY_DATABASE_URL=database.app_url)
    assert missing.returncode == 1
    assert "REGISTRY_OWNER_URL" in missing.stderr


def test_doctor_reports_failed_checks(tmp_path: Path) -> None:
    fine = run("doctor", "--port", "0", "--data-dir", tmp_path / "data")
    assert fine.returncode == 0, fine.stdout
    assert not (tmp_path / "data").exists()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        wrong = run("doctor", "--port", port, "--database-url", f"postgresql://a@127.0.0.1:{port}1/b")
    assert wrong.returncode == 1
    assert {row["check"] for row in json.loads(wrong.stdout) if row["found"] == "wrong"} == {"database", "port"}


@pytest.mark.parametrize("words", [("serve", "--port", "x"), ("serve", "--no-such-flag"), ("no-such-command",)])
def test_wrong_usage_ends_with_2(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_unwritable_file_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    for words in (("keys", "list"), ("serve", "--port", "0")):
        done = run(*words, "--data-dir", tmp_path / "data")
        assert done.returncode == 1
        assert done.stderr.startswith("registry: ")
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["-m", "registry"], ["-c", "from registry.cli import main; main()"]])
def test_version_is_printed(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"registry {registry.version()}\n"
