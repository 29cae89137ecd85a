"""testcontainers on podman's Docker-compatible socket."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.containers.conftest import ADMIN_KEY, TOP, Podman, is_ready, register_deal, wait_until


def test_testcontainers_starts_the_service(
    docker_host: dict[str, str], image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in docker_host.items():
        monkeypatch.setenv(name, value)
    # testcontainers reads its configuration when it is imported.
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(f"localhost/{image}").with_env("REGISTRY_ADMIN_KEY", ADMIN_KEY).with_exposed_ports(8000)
    with container as running:
        url = f"http://127.0.0.1:{running.get_exposed_port(8000)}"
        wait_until(lambda: is_ready(url))
        register_deal(url, "testcontainers-deal")


def test_test_suite_runs_on_a_postgres_of_testcontainers(
    podman: Podman, docker_host: dict[str, str], postgres_image: str
) -> None:
    environ = os.environ | docker_host | {"REGISTRY_TEST_POSTGRES_IMAGE": f"localhost/{postgres_image}"}
    for name in ("REGISTRY_TEST_DATABASE_URL", "REGISTRY_TEST_POSTGRES_BIN", "PYTEST_XDIST_WORKER"):
        environ.pop(name, None)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/append/test_order.py"]
    done = subprocess.run(command, cwd=TOP, env=environ, capture_output=True, text=True, check=False)
    assert f"{postgres_image} in Docker" in done.stdout, done.stdout
    assert done.returncode == 0, done.stdout
