"""The compose file, brought up by podman-compose with a Postgres image of the tests."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import httpx
import pytest

from tests.containers.conftest import (
    ADMIN_KEY,
    TOP,
    Podman,
    image_of_program,
    is_ready,
    register_deal,
    wait_until,
)
from tests.missing import NO_CONTAINERS

# podman-compose 1.0 passes ${NAME:-}, whose default is empty, on as it stands.
OLDEST = (1, 1)
PROFILES = ("tls", "replicas", "monitoring")


def podman_compose_version() -> tuple[int, ...]:
    """The version of podman-compose; () if there is none."""
    if shutil.which("podman-compose") is None:
        return ()
    printed = subprocess.run(["podman-compose", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"podman-compose\S* version:? +(\d+)\.(\d+)", printed)
    return (int(found[1]), int(found[2])) if found else ()


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

    def is_healthy(self, service: str) -> bool:
        """Whether a service's health check passes. Without systemd, podman has no timer that runs it."""
        return self.podman.succeeds("healthcheck", "run", self.container(service))

    def profile(self, profile: str, *services: str) -> None:
        """Start services of a profile."""
        self.run("--profile", profile, "up", "--detach", "--no-build", "--no-deps", *services)

    def up(self) -> None:
        """Start each service when the condition of its `depends_on` holds.

        Podman before 4.6 cannot wait until a container is healthy, and Debian's 4.3 does not start a container that
        requires one that requires a third. So the services are started one by one.
        """
        start = ("up", "--detach", "--no-build", "--no-deps")
        self.run(*start, "postgres")
        wait_until(lambda: self.is_healthy("postgres"))
        self.run(*start, "migrate")
        assert self.podman.run("wait", self.container("migrate")) == "0"
        self.run(*start, "registry")
        wait_until(lambda: is_ready(self.url))


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(scope="module")
def compose(podman: Podman, image: str, postgres_image: str) -> Iterator[Compose]:
    if podman_compose_version() < OLDEST:
        pytest.skip(f"{NO_CONTAINERS} by the compose file (install podman-compose 1.1 or newer)")
    secret = {
        name: secrets.token_hex(8)
        for name in (
            "POSTGRES_PASSWORD",
            "REGISTRY_OWNER_PASSWORD",
            "REGISTRY_APP_PASSWORD",
            "REGISTRY_REPLICATION_PASSWORD",
        )
    }
    replica = f"postgresql://registry_app:{secret['REGISTRY_APP_PASSWORD']}@replica-%d:5432/registry"
    images = {"REGISTRY_IMAGE": f"localhost/{image}", "POSTGRES_IMAGE": f"localhost/{postgres_image}"}
    settings = {
        "REGISTRY_ADMIN_KEY": ADMIN_KEY,
        "REGISTRY_PUBLISH": free_address(),
        "REGISTRY_PUBLISH_HTTP": free_address(),
        "REGISTRY_PUBLISH_HTTPS": free_address(),
        "REGISTRY_PUBLISH_PROMETHEUS": free_address(),
        "REGISTRY_REPLICA_URLS": f"{replica % 1} {replica % 2}",
        "REGISTRY_LOG_ORIGIN": "example.org/compose",
        "REGISTRY_CORS_ORIGINS": "https://example.org",
    }
    running = Compose(podman, f"registry-test-{secrets.token_hex(4)}", secret | images | settings)
    try:
        running.up()
        yield running
    finally:
        every = [argument for profile in PROFILES for argument in ("--profile", profile)]
        running.run(*every, "down", "--volumes")


def test_compose_migrates_and_serves_as_the_role_of_the_application(compose: Compose) -> None:
    register_deal(compose.url, "compose-deal")
    sql = """
        SELECT count(*) FROM events WHERE type = 'deal_registered';
        SELECT tableowner FROM pg_tables WHERE tablename = 'events'
    """
    psql = ["psql", "--username=registry_app", "--dbname=registry", "--tuples-only", "--no-align", "--command", sql]
    assert compose.podman.run("exec", compose.container("postgres"), *psql).split() == ["1", "registry_owner"]


def test_compose_passes_settings_on(compose: Compose) -> None:
    checkpoint = httpx.get(f"{compose.url}/log/checkpoint")
    assert checkpoint.text.startswith("example.org/compose\n")
    answer = httpx.get(f"{compose.url}/v1/deals", headers={"Origin": "https://example.org"})
    assert answer.headers["access-control-allow-origin"] == "https://example.org"


def test_compose_services_have_no_privileges(compose: Compose) -> None:
    service = compose.container("registry")
    assert compose.podman.run("exec", service, "id", "--user") == "10001"
    assert int(compose.podman.run("exec", service, "grep", "CapEff", "/proc/1/status").split()[1], 16) == 0
    refused = compose.podman.run("exec", service, "sh", "-c", "touch /opt/x 2>&1 || true")
    assert "Read-only" in refused


def test_events_survive_a_restart_of_both_services(compose: Compose) -> None:
    register_deal(compose.url, "restarted-deal")
    for service in ("registry", "postgres"):
        compose.podman.run("stop", "--time", "30", compose.container(service))
    for service in ("postgres", "registry"):
        compose.podman.run("start", compose.container(service))
        wait_until(partial(compose.is_healthy, service))
    assert httpx.get(f"{compose.url}/v1/deals/restarted-deal").status_code == 200
    verified = compose.podman.run("exec", compose.container("registry"), "registry", "verify", "--json")
    assert json.loads(verified)[0]["size"] >= 1


def test_proxy_speaks_tls_and_the_service_trusts_what_it_says_of_the_client(
    podman: Podman, compose: Compose, base_image: str
) -> None:
    compose.environ["CADDY_IMAGE"] = image_of_program(
        podman,
        base_image,
        "caddy",
        "ENV XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config",
        'CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]',
    )
    compose.profile("tls", "proxy")
    authority = "/data/caddy/pki/authorities/local/root.crt"
    wait_until(lambda: podman.succeeds("exec", compose.container("proxy"), "test", "-s", authority))
    certificate = podman.run("exec", compose.container("proxy"), "cat", authority)
    port = compose.environ["REGISTRY_PUBLISH_HTTPS"].split(":")[1]
    with httpx.Client(verify=ssl.create_default_context(cadata=certificate)) as client:

        def answers() -> bool:
            with suppress(httpx.HTTPError):
                return client.get(f"https://localhost:{port}/health/ready").status_code == 200
            return False

        wait_until(answers)
        page = client.get(f"https://localhost:{port}/")
    assert page.headers["strict-transport-security"], "the service knows that the client speaks TLS"
    assert "strict-transport-security" not in httpx.get(f"{compose.url}/").headers
    forged = httpx.get(f"{compose.url}/", headers={"X-Forwarded-Proto": "https"})
    assert "strict-transport-security" not in forged.headers, "only the proxy is trusted"


def test_reads_come_from_two_standbys_that_follow_the_primary(podman: Podman, compose: Compose) -> None:
    compose.profile("replicas", "replica-1", "replica-2")
    register_deal(compose.url, "replicated-deal")
    sql = "SELECT count(*) FROM events WHERE stream LIKE '%replicated-deal' AND pg_is_in_recovery()"
    psql = ["psql", "--host=/tmp", "--username=registry_app", "--dbname=registry", "--tuples-only", "--no-align"]
    for name in ("replica-1", "replica-2"):
        replica = compose.container(name)
        wait_until(lambda replica=replica: podman.succeeds("exec", replica, "pg_isready", "--host=/tmp"))  # type: ignore[misc]
        wait_until(
            lambda replica=replica: (  # type: ignore[misc]
                podman.run("exec", replica, *psql, "--command", sql, check=False) == "1"
            )
        )
    wait_until(lambda: replicas_read_from(compose.url) == 2)
    assert httpx.get(f"{compose.url}/v1/deals/replicated-deal").status_code == 200


def replicas_read_from(url: str) -> int:
    """How many replicas the service reads from, by its metrics."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(line.startswith("registry_replica_up{") and line.endswith(" 1.0") for line in lines)


def test_prometheus_scrapes_the_service_and_knows_the_alerts(podman: Podman, compose: Compose, base_image: str) -> None:
    compose.environ["PROMETHEUS_IMAGE"] = image_of_program(
        podman,
        base_image,
        "prometheus",
        "RUN install -d -o 65534 -g 65534 /prometheus",
        "USER 65534:65534",
        'ENTRYPOINT ["prometheus"]',
    )
    compose.profile("monitoring", "prometheus")
    api = f"http://{compose.environ['REGISTRY_PUBLISH_PROMETHEUS']}/api/v1"

    def is_up() -> bool:
        with suppress(httpx.HTTPError, ValueError):
            found = httpx.get(f"{api}/query", params={"query": 'up{job="registry"}'}).json()["data"]["result"]
            return [sample["value"][1] for sample in found] == ["1"]
        return False

    wait_until(is_up)
    groups = httpx.get(f"{api}/rules").json()["data"]["groups"]
    assert {rule["name"] for group in groups for rule in group["rules"]}
