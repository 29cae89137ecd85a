"""The compose file, the container image's build file and the script that creates the roles."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import tomllib
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from registry.infra import migrations, postgres
from registry.infra.embedded.binaries import find_binaries
from registry.infra.embedded.server import OWNER_ROLE, Embedded
from registry.infra.embedded.user import User
from registry.infra.settings import SETTINGS, Settings, variable

TOP = Path(__file__).parents[2]
PROFILES = {"tls", "replicas", "monitoring"}
KNOWN = {variable(name) for name in SETTINGS}
REFERENCE = re.compile(r"\$\{\w+(?::-([^}]*)|:\?[^}]*)?\}")
"""A variable in the compose file, with its default, or required."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded = yaml.safe_load((TOP / "docker-compose.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_compose_file_starts_services_in_order(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {name for name, service in services.items() if not service.get("profiles")} == {
        "postgres",
        "migrate",
        "registry",
    }
    assert {profile for service in services.values() for profile in service.get("profiles", [])} == PROFILES
    assert services["migrate"]["command"] == ["registry", "migrate"]
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert services["registry"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert "healthcheck" in services["postgres"]
    for service in services.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (TOP / source).exists() if source.startswith(".") else source in compose["volumes"]


def filled(text: str) -> str:
    """A value of the compose file where only what is required is set."""
    return REFERENCE.sub(lambda found: "x" * 32 if found[1] is None else found[1], text)


def test_compose_file_passes_every_setting_and_contains_no_secret(compose: dict[str, Any]) -> None:
    given = compose["services"]["registry"]["environment"]
    assert given.keys() == KNOWN
    fixed = {name for name, value in given.items() if "${" not in value}
    assert fixed == {"REGISTRY_DATA_DIR", "REGISTRY_HOST", "REGISTRY_PORT"}
    settings = Settings.read({name: filled(value) for name, value in given.items()})
    assert postgres.role_of(settings.database_url or "") == "registry_app"
    assert postgres.role_of(settings.owner_url or "") == "registry_owner"
    assert settings.host == "0.0.0.0"
    text = (TOP / "docker-compose.yml").read_text()
    for password in re.findall(r"\$\{(\w*(?:PASSWORD|KEY))[^}]*\}", text):
        if f"${{{password}:-}}" in text:
            assert password in ("REGISTRY_SIGNING_KEY", "REGISTRY_SECRETS_KEY", "REGISTRY_REPLICATION_PASSWORD")
        else:
            assert f"${{{password}:?" in text, "a secret has no default"


def test_compose_file_keeps_the_defaults_of_settings(compose: dict[str, Any]) -> None:
    given = compose["services"]["registry"]["environment"]
    defaults = Settings.read({"REGISTRY_DATA_DIR": "/data"})
    passed = Settings.read({name: filled(value) for name, value in given.items()})
    changed = {name for name in SETTINGS if getattr(passed, name) != getattr(defaults, name)}
    assert changed == {"database_url", "owner_url", "admin_key", "host", "trusted_proxies"}
    proxy = compose["services"]["proxy"]["networks"]["registry"]["ipv4_address"]
    assert passed.trusted_proxies == (*defaults.trusted_proxies, f"{proxy}/32")


def test_no_container_but_the_proxy_gets_the_address_that_the_service_trusts(compose: dict[str, Any]) -> None:
    (network,) = compose["networks"]["registry"]["ipam"]["config"]
    proxy = ip_address(compose["services"]["proxy"]["networks"]["registry"]["ipv4_address"])
    assert proxy in ip_network(network["subnet"])
    assert proxy not in ip_network(network["ip_range"])


def test_services_run_read_only_without_privileges(compose: dict[str, Any]) -> None:
    for name in ("migrate", "registry"):
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_container_uses_known_settings_and_needs_no_privileges() -> None:
    text = (TOP / "Dockerfile").read_text()
    assert set(re.findall(r"\b(REGISTRY_\w+)=", text)) <= KNOWN
    user = re.search(r"(?m)^USER (\d+):(\d+)$", text)
    assert user, "the user is a number, which an orchestrator can compare with 0"
    assert int(user[1]) >= 10_000
    assert "HEALTHCHECK" in text
    ignored = (TOP / ".dockerignore").read_text().splitlines()
    for source in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", text):
        assert all(f"!{name}" in ignored for name in source.split())


def test_base_images_are_pinned_by_digest(compose: dict[str, Any]) -> None:
    [python] = re.findall(r"(?m)^ARG PYTHON_IMAGE=(\S+)$", (TOP / "Dockerfile").read_text())
    assert filled(compose["services"]["registry"]["build"]["args"]["PYTHON_IMAGE"]) == python
    images = {filled(service["image"]) for service in compose["services"].values() if "build" not in service}
    for image in (python, *images):
        assert re.fullmatch(r"[a-z]+(/[a-z]+)?:[0-9.a-z-]+@sha256:[0-9a-f]{64}", image), image


def test_container_has_the_label_of_the_version() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', (TOP / "Dockerfile").read_text()))
    assert labels["version"] == project["version"]
    assert labels["description"] == project["description"]
    assert labels["licenses"] == project["license"]


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
                migrations.migrate(f"postgresql://registry_owner:it's an owner's@{place}", "registry_app"),
            ).result()

            async def look() -> bool:
                connections = await postgres.pool(f"postgresql://registry_app:app@{place}", min_size=1)
                async with connections:
                    return await migrations.head_matches(connections)

            assert head == migrations.head()
            assert one.submit(asyncio.run, look()).result()
