"""The image of our Dockerfile, started read-only, without capabilities."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import httpx
import pytest

import registry
from tests.containers.conftest import Podman, is_ready, register_deal, wait_until


@pytest.fixture(scope="module")
def container(podman: Podman, image: str) -> Iterator[str]:
    """A running container with a volume, on the bundled Postgres."""
    name = f"registry-test-{secrets.token_hex(4)}"
    podman.run("volume", "create", name)
    try:
        podman.start(name, "--volume", f"{name}:/data", image)
        wait_until(lambda: is_ready(podman.url(name)))
        yield name
    finally:
        podman.remove(name)
        podman.run("volume", "rm", "--force", name)


def test_container_runs_as_an_unprivileged_user_on_a_read_only_root(podman: Podman, container: str) -> None:
    assert podman.run("exec", container, "id", "--user") == "10001"
    capabilities = podman.run("exec", container, "grep", "CapEff", "/proc/1/status")
    assert int(capabilities.split()[1], 16) == 0
    assert "Read-only" in podman.run("exec", container, "sh", "-c", "touch /opt/registry/x 2>&1 || true")


def test_container_has_no_test_tools_and_no_pip(podman: Podman, container: str) -> None:
    listed = podman.run("exec", container, "sh", "-c", "ls /opt/registry/lib/python3*/site-packages").split()
    assert "registry" in listed
    assert not {"faker", "pip", "polyfactory", "pytest", "tests"} & set(listed)


def test_image_has_labels_and_a_health_check_that_passes(podman: Podman, container: str, image: str) -> None:
    labels = podman.inspect("image", image)["Labels"]
    assert labels["org.opencontainers.image.version"] == registry.version()
    assert labels["org.opencontainers.image.revision"] == "test"
    podman.run("healthcheck", "run", container)


def test_recorded_events_survive_a_restart_and_verify(podman: Podman, container: str) -> None:
    register_deal(podman.url(container), "container-deal")
    podman.run("stop", "--time", "30", container)
    assert podman.inspect("container", container)["State"]["ExitCode"] == 0
    podman.run("start", container)
    wait_until(lambda: is_ready(podman.url(container)))
    deal = httpx.get(f"{podman.url(container)}/v1/deals/container-deal").json()
    assert deal["title"]["en"] == "A deal in a container"
    (report,) = json.loads(podman.run("exec", container, "registry", "verify", "--json"))
    assert report["size"] == deal["position"]


def test_container_without_its_volume_writable_states_what_is_wrong(podman: Podman, image: str) -> None:
    name = f"registry-test-{secrets.token_hex(4)}"
    try:
        podman.run("run", "--name", name, "--read-only", "--env", "REGISTRY_DATA_DIR=/nowhere", image, check=False)
        assert podman.inspect("container", name)["State"]["ExitCode"] != 0
        assert "Traceback" not in podman.run("logs", name)
    finally:
        podman.remove(name)
