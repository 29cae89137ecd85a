"""Images built with podman on a Debian base, without a registry of images.

The tests run only if REGISTRY_TEST_CONTAINERS is set (`make containers` sets it) and podman, runc and debootstrap are
installed (Debian: podman runc netavark aardvark-dns iptables uidmap debootstrap). The compose file also needs
podman-compose. The tests run as root. REGISTRY_TEST_BASE_IMAGE names a base image instead of the one that debootstrap
makes. The images `registry-test-*` stay for the next run; `podman rmi` removes them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import PATIENCE
from tests.missing import NO_CONTAINERS

TOP = Path(__file__).parents[2]
HERE = Path(__file__).parent
BASE, IMAGE, POSTGRES_IMAGE = "registry-test-base", "registry-test-service", "registry-test-postgres"
ADMIN_KEY = "an-admin-key-for-the-container-tests"
# Podman's own programs are on no PATH.
NEEDED = ("podman", "runc", "debootstrap", "iptables", "/usr/lib/podman/netavark", "/usr/lib/podman/aardvark-dns")

# crun fails on hybrid cgroups, and without systemd neither its cgroup manager nor its journal is there.
CONTAINERS_CONF = """
[containers]
default_ulimits = []
[network]
network_backend = "netavark"
[engine]
runtime = "runc"
events_logger = "file"
cgroup_manager = "cgroupfs"
"""


def reason_to_skip() -> str | None:
    """Why the containers cannot be tested here."""
    if not os.environ.get("REGISTRY_TEST_CONTAINERS"):
        return f"{NO_CONTAINERS} (run `make containers`)"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    return f"{NO_CONTAINERS} (install {' '.join(missing)})" if missing else None


class Podman:
    """The podman command with the configuration of the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        configuration = folder / "containers.conf"
        configuration.write_text(CONTAINERS_CONF)
        self.environ = os.environ | {"CONTAINERS_CONF": str(configuration)}

    def run(self, *arguments: str | Path, check: bool = True) -> str:
        """Run podman; return what it printed."""
        done = subprocess.run(["podman", *arguments], env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, f"podman {arguments[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout.strip()

    def succeeds(self, *arguments: str) -> bool:
        """Whether podman ends with 0."""
        done = subprocess.run(["podman", *arguments], env=self.environ, capture_output=True, check=False)
        return done.returncode == 0

    def has_image(self, name: str) -> bool:
        return bool(self.run("images", "--quiet", name))

    def build(self, name: str, folder: Path, *arguments: str) -> None:
        # The chroot isolation and the host's network work without systemd and inside other containers.
        how = ["--isolation", "chroot", "--network", "host", "--ulimit", "nofile=4096:4096", "--format", "docker"]
        self.run("build", *how, *arguments, "--tag", name, folder)

    def start(self, name: str, *arguments: str) -> str:
        """Start a container of the service's image as operators are told to, with a published port; return its URL."""
        locked = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        published = ["--publish", "127.0.0.1::8000", "--env", f"REGISTRY_ADMIN_KEY={ADMIN_KEY}"]
        self.run("run", "--detach", "--name", name, *locked, *published, *arguments)
        return self.url(name)

    def url(self, name: str) -> str:
        return f"http://{self.run('port', name, '8000')}"

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        (found,) = json.loads(self.run(kind, "inspect", name))
        assert isinstance(found, dict)
        return found

    def remove(self, *containers: str) -> None:
        self.run("rm", "--force", "--volumes", "--time", "5", *containers, check=False)


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    reason = reason_to_skip()
    if reason:
        pytest.skip(reason)
    return Podman(tmp_path_factory.mktemp("podman"))


@pytest.fixture(scope="session")
def base_image(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base image with Python: the one that the environment names, or Debian's."""
    given = os.environ.get("REGISTRY_TEST_BASE_IMAGE")
    if given or podman.has_image(BASE):
        return given or BASE
    root = tmp_path_factory.mktemp("debian") / "root"
    packages = "--include=python3,python3-venv,ca-certificates"
    subprocess.run(["debootstrap", "--variant=minbase", packages, "bookworm", root], check=True, capture_output=True)
    (root / "usr/bin/python").symlink_to("python3")
    # pip in the build reaches the index as pip on this machine does.
    for path in ("etc/pip.conf", "etc/ssl/certs/ca-certificates.crt"):
        if Path("/", path).exists():
            shutil.copy(Path("/", path), root / path)
    archive = root.parent / "base.tar"
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    podman.run("import", archive, BASE)
    shutil.rmtree(root.parent)
    return BASE


@pytest.fixture(scope="session")
def image(podman: Podman, base_image: str) -> str:
    """The image of our Dockerfile, built from this checkout."""
    podman.build(IMAGE, TOP, "--build-arg", f"PYTHON_IMAGE={base_image}", "--build-arg", "REVISION=test")
    return IMAGE


@pytest.fixture(scope="session")
def postgres_image(podman: Podman, image: str) -> str:
    podman.build(POSTGRES_IMAGE, HERE / "postgres", "--build-arg", f"IMAGE={image}")
    return POSTGRES_IMAGE


def image_of_program(podman: Podman, base: str, name: str, *lines: str) -> str:
    """An image that has one program of this machine on the tests' base.

    Args:
        name: The program; it is statically linked, or needs only the C library.
        lines: What follows in the container file.

    Returns:
        The image's name; the test is skipped where the program is not installed.
    """
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{NO_CONTAINERS} of {name} (install {name})")
    folder = podman.folder / name
    folder.mkdir()
    shutil.copy(program, folder)
    (folder / "Containerfile").write_text("\n".join([f"FROM {base}", f"COPY {name} /usr/bin/{name}", *lines, ""]))
    podman.build(f"registry-test-{name}", folder)
    return f"localhost/registry-test-{name}"


@pytest.fixture(scope="session")
def docker_host(podman: Podman) -> Iterator[dict[str, str]]:
    """The environment in which Docker's clients find podman's socket."""
    socket = podman.folder / "podman.sock"
    command = ["podman", "system", "service", "--time=0", f"unix://{socket}"]
    with subprocess.Popen(command, env=podman.environ) as service:
        try:
            wait_until(socket.exists)
            yield {
                "DOCKER_HOST": f"unix://{socket}",
                # Else testcontainers takes a machine that is itself a container for one that needs a gateway.
                "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
                "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
                "TESTCONTAINERS_RYUK_DISABLED": "true",
            }
        finally:
            service.terminate()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until `condition()` holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)


def is_ready(url: str) -> bool:
    """Whether the service at `url` is ready."""
    try:
        return httpx.get(f"{url}/health/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def register_deal(url: str, deal: str) -> None:
    """Record the first event of a deal."""
    answer = httpx.post(
        f"{url}/v1/deals/{deal}/events",
        json={"event": {"type": "deal_registered", "title": {"en": "A deal in a container"}}},
        headers={"Authorization": f"Bearer {ADMIN_KEY}"},
        timeout=PATIENCE,
    )
    assert answer.status_code == 201, answer.text
