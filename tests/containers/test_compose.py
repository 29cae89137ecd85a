"""The compose file, brought up by podman-compose with a Postgres image of the tests."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import NO_CONTAINERS
from tests.containers.conftest import ADMIN_KEY, TOP, Podman, is_ready, register_deal, wait_until


class Compose:
    """podman-compose on our compose file, with images that are already built."""

    def __init__(self, podman: Podman, project: str, environ: dict[str, str]) -> None:
        self.podman = podman
        self.project = project
        self.environ = podman.environ | environ
        self.url = f"http://{environ['REGISTRY_PUBLISH']}"

    def run(self, *arguments: str) -> None:
        command = ["podman-compose", "--project-name", self.project, *arguments]
        done = subprocess.run(command, cwd=TOP, env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-3000:]}"

    def container(self, service: str) -> str:
        return f"{self.project}_{service}_1"

    def keep_checking(self, stopped: threading.Event) -> None:
        """Run Postgres' health check every second: without systemd, podman has no timer for it."""
        while not stopped.wait(1):
            self.podman.run("healthcheck", "run", self.container("postgres"), check=False)


@pytest.fixture(scope="module")
def compose(podman: Podman, image: str, postgres_image: str) -> Iterator[Compose]:
    if shutil.which("podman-compose") is None:
        pytest.skip(f"{NO_CONTAINERS} by the compose file (install podman-compose)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    secret = {
        name: secrets.token_hex(8) for name in ("POSTGRES_PASSWORD", "REGISTRY_OWNER_PASSWORD", "REGISTRY_APP_PASSWORD")
    }
    images = {"REGISTRY_IMAGE": f"localhost/{image}", "POSTGRES_IMAGE": f"localhost/{postgres_image}"}
    settings = {
        "REGISTRY_ADMIN_KEY": ADMIN_KEY,
        "REGISTRY_PUBLISH": address,
        "REGISTRY_LOG_ORIGIN": "example.org/compose",
        "REGISTRY_CORS_ORIGINS": "https://example.org",
    }
    running = Compose(podman, f"registry-test-{secrets.token_hex(4)}", secret | images | settings)
    stopped = threading.Event()
    checking = threading.Thread(target=running.keep_checking, args=[stopped])
    checking.start()
    try:
        running.run("up", "--detach", "--no-build")
        wait_until(lambda: is_ready(running.url))
        yield running
    finally:
        stopped.set()
        checking.join()
        running.run("down", "--volumes")


def test_compose_migrates_and_serves_as_the_role_of_the_application(compose: Compose) -> None:
    state = compose.podman.inspect("container", compose.container("migrate"))["State"]
    assert state["ExitCode"] == 0
    register_deal(compose.url, "compose-deal")
    sql = "SELECT count(*) FROM events; SELECT tableowner FROM pg_tables WHERE tablename = 'events'"
    psql = ["psql", "--username=registry_app", "--dbname=registry", "--tuples-only", "--no-align", "--command", sql]
    assert compose.podman.run("exec", compose.container("postgres"), *psql).split() == ["1", "registry_owner"]


def test_compose_passes_settings_on(compose: Compose) -> None:
    checkpoint = httpx.get(f"{compose.url}/checkpoint")
    assert checkpoint.text.startswith("example.org/compose\n")
    answer = httpx.get(f"{compose.url}/v1/deals", headers={"Origin": "https://example.org"})
    assert answer.headers["access-control-allow-origin"] == "https://example.org"


def test_compose_services_have_no_privileges(compose: Compose) -> None:
    for command in (["id", "--user"], ["sh", "-c", "grep CapEff /proc/1/status | cut -f 2"]):
        found = compose.podman.run("exec", compose.container("registry"), *command)
        assert found == "10001" or int(found, 16) == 0
    refused = compose.podman.run("exec", compose.container("registry"), "sh", "-c", "touch /opt/x 2>&1 || true")
    assert "Read-only" in refused


def test_events_survive_a_restart_of_both_services(compose: Compose) -> None:
    register_deal(compose.url, "restarted-deal")
    for service in ("registry", "postgres"):
        compose.podman.run("stop", "--time", "30", compose.container(service))
    for service in ("postgres", "registry"):
        compose.podman.run("start", compose.container(service))
    wait_until(lambda: is_ready(compose.url))
    assert httpx.get(f"{compose.url}/v1/deals/restarted-deal").status_code == 200
    verified = compose.podman.run("exec", compose.container("registry"), "registry", "verify", "--json")
    assert json.loads(verified)[0]["size"] >= 1
