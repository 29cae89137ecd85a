"""Requirements, the wheel, the container image and the compose file."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from registry.infra import postgres
from registry.infra.embedded.binaries import find_binaries
from registry.infra.embedded.server import OWNER_ROLE, Embedded
from registry.infra.embedded.user import User
from registry.infra.settings import SETTINGS, Settings, variable

TOP = Path(__file__).parent.parent
REQUIREMENTS = ("requirements.txt", "requirements-build.txt", "requirements-dev.txt")
KNOWN = {variable(name) for name in SETTINGS}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((TOP / "docker-compose.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements_are_pinned_by_hash_without_an_index(name: str) -> None:
    text = (TOP / name).read_text()
    pins = re.split(r"\n(?=\S)", re.sub(r"(?m)^#.*\n", "", text).strip())
    assert pins
    for pin in pins:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+", pin), pin
        assert "--hash=sha256:" in pin, pin
    assert not re.search(r"://|--(extra-)?index|--find-links|^-", text)


def test_every_dependency_has_a_pin() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    for wanted, name in (
        (project["project"]["dependencies"], "requirements.txt"),
        (project["dependency-groups"]["build"], "requirements-build.txt"),
        (project["dependency-groups"]["dev"], "requirements-dev.txt"),
    ):
        pinned = re.findall(r"(?m)^([a-z0-9._-]+)", (TOP / name).read_text())
        assert {re.match(r"[a-z0-9-]+", line)[0] for line in wanted} <= set(pinned)  # type: ignore[index]


def test_wheel_contains_migrations_and_demo(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=TOP,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    assert {"registry/_migrations/env.py", "registry/demo/announcements.ndjson", "registry/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests", "bench"))]
    found = subprocess.run(
        [sys.executable, "-c", "from registry.infra import postgres; print(postgres.migrations(), postgres.head())"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert found == [str(tmp_path / "installed" / "registry" / "_migrations"), postgres.head()]


def test_compose_file_starts_services_in_order(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services.keys() == {"postgres", "migrate", "registry"}
    assert services["migrate"]["command"] == ["registry", "migrate"]
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert services["registry"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert "healthcheck" in services["postgres"]
    assert "HEALTHCHECK" in (TOP / "Dockerfile").read_text()
    for service in services.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (TOP / source).exists() if source.startswith(".") else source in compose["volumes"]


def test_compose_file_uses_known_settings_and_contains_no_secret(compose: dict[str, Any]) -> None:
    given = compose["services"]["registry"]["environment"]
    assert given.keys() <= KNOWN
    filled = {
        name: re.sub(r"\$\{\w+(?::-(\w[^}]*)|:\?[^}]*)?\}", lambda found: found[1] or "x" * 32, value)
        for name, value in given.items()
    }
    settings = Settings.read(filled)
    assert postgres.role_of(settings.database_url or "") == "registry_app"
    assert postgres.role_of(settings.owner_url or "") == "registry_owner"
    assert settings.host == "0.0.0.0"
    text = (TOP / "docker-compose.yml").read_text()
    for password in re.findall(r"\$\{(\w*(?:PASSWORD|KEY))[^}]*\}", text):
        assert f"${{{password}:?" in text, "a secret must be given: it has no default"


def test_container_uses_known_settings_and_needs_no_privileges() -> None:
    text = (TOP / "Dockerfile").read_text()
    assert set(re.findall(r"\b(REGISTRY_\w+)=", text)) <= KNOWN
    assert re.search(r"(?m)^USER registry$", text)
    ignored = (TOP / ".dockerignore").read_text().splitlines()
    for source in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", text):
        assert all(f"!{name}" in ignored for name in source.split())


def test_roles_of_the_compose_file_can_migrate_and_serve(tmp_path: Path) -> None:
    programs = find_binaries(User.for_data_dir()).bin
    with Embedded(tmp_path / "data", settings={"fsync": "off"}) as server:
        asked = server.url(OWNER_ROLE, "template1")

        async def rename() -> None:
            connection = await asyncpg.connect(asked)
            # The bundled server has roles of the same names.
            await connection.execute("DROP DATABASE registry")
            await connection.execute("DROP ROLE registry_app")
            await connection.execute("CREATE ROLE postgres SUPERUSER LOGIN PASSWORD 'x'")
            await connection.close()
            connection = await asyncpg.connect(asked.replace(OWNER_ROLE, "postgres").replace(password, "x"))
            await connection.execute("ALTER ROLE registry_owner RENAME TO first_owner")
            await connection.close()

        password = re.search(r":([^:@]+)@", asked)[1]  # type: ignore[index]
        with ThreadPoolExecutor(1) as one:
            one.submit(asyncio.run, rename()).result()
            subprocess.run(
                ["sh", TOP / "deploy" / "roles.sh"],
                env={
                    "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
                    "PGHOST": str(server.pgdata),
                    "PGPASSWORD": "x",
                    "POSTGRES_USER": "postgres",
                    "REGISTRY_OWNER_PASSWORD": "it's an owner's",
                    "REGISTRY_APP_PASSWORD": "app",
                },
                check=True,
            )
            place = f"/registry?host={server.pgdata}"
            head = one.submit(
                asyncio.run,
                postgres.migrate(f"postgresql://registry_owner:it's an owner's@{place}", "registry_app"),
            ).result()

            async def look() -> bool:
                connections = await postgres.pool(f"postgresql://registry_app:app@{place}", min_size=1)
                async with connections:
                    return await postgres.migration_head_matches(connections)

            assert head == postgres.head()
            assert one.submit(asyncio.run, look()).result()
