"""The wheel and the source distribution: built, installed beside the pinned packages alone, and started."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import registry
from tests.packaging.test_requirements import TOP, pins


class Environment:
    """A virtual environment that holds the installed wheel and the packages of requirements.txt, and no others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment outside the checkout, without the variables that would add packages."""
        return subprocess.run(
            [self.folder / "bin" / command[0], *command[1:]],
            cwd=self.folder,
            env=self.environ(),
            check=check,
            capture_output=True,
            text=True,
        )

    def pip(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run this test run's pip on the environment. One of its own takes longer to install than the wheel."""
        command = [sys.executable, "-m", "pip", "--python", str(self.folder / "bin" / "python"), *words]
        return subprocess.run(command, env=self.environ(), check=check, capture_output=True, text=True)

    def environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        return kept | {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}


def build(source: Path, target: Path, *kinds: str) -> None:
    wanted = [argument for kind in kinds for argument in ("-t", kind)]
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target), *wanted]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the wheel and the source distribution of this checkout."""
    target = tmp_path_factory.mktemp("dist")
    build(TOP, target, "sdist", "wheel")
    return target


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The pinned packages are linked from this test run's environment, so that no index is needed."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, capture_output=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    for pin in pins("requirements.txt").values():
        requirement = Requirement(pin.split(" \\")[0])
        if requirement.marker and not requirement.marker.evaluate():
            continue
        distribution = metadata.distribution(requirement.name)
        assert distribution.version in requirement.specifier, f"{requirement.name} is not installed as pinned"
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}:
            target = Path(str(distribution.locate_file(top)))
            if not (packages / top).is_symlink():
                (packages / top).symlink_to(target)
    environment = Environment(folder)
    environment.pip("install", "--no-index", "--no-deps", str(wheel))
    return environment


def test_wheel_contains_everything_the_service_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for folder, packed in (("registry", "registry"), ("migrations", "registry/_migrations")):
        files = {path.relative_to(TOP / folder) for path in (TOP / folder).rglob("*") if path.is_file()}
        wanted = {f"{packed}/{file}" for file in files if "__pycache__" not in file.parts}
        assert wanted <= names
    assert {name.split("/")[0] for name in names} == {"registry", f"investment_registry-{version()}.dist-info"}


@pytest.mark.drill
def test_source_distribution_builds_the_same_wheel(built: Path, wheel: Path, tmp_path: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    # Python 3.11.2 has no extraction filter, and later versions warn without one.
    subprocess.run(["tar", "-xzf", source, "-C", tmp_path], check=True)
    (unpacked,) = tmp_path.iterdir()
    assert {"tests", "docs", "Makefile", "requirements-dev.txt"} <= {path.name for path in unpacked.iterdir()}
    build(unpacked, tmp_path / "dist", "wheel")
    assert checksums(tmp_path / "dist" / wheel.name) == checksums(wheel)


@pytest.mark.drill
def test_installed_command_states_its_version(environment: Environment) -> None:
    assert environment.run("registry", "--version").stdout.split()[-1] == version()
    assert environment.run("python", "-m", "registry", "--version").stdout.split()[-1] == version()
    assert (environment.folder / "bin" / "registry").exists()


@pytest.mark.drill
def test_installed_doctor_finds_no_problem(environment: Environment) -> None:
    rows = json.loads(environment.run("registry", "doctor", "--json", "--port", "0").stdout)
    assert rows
    assert not [row for row in rows if row["found"] != "fine"]


@pytest.mark.drill
def test_installed_packages_miss_only_the_excluded_dependencies(environment: Environment) -> None:
    excluded = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["uv"]["exclude-dependencies"]
    problems = environment.pip("check", check=False).stdout.splitlines()
    missing = {found[1] for line in problems if (found := re.search(r"requires (\S+), which is not installed", line))}
    assert missing == set(excluded), problems
    assert len(problems) == len(missing), problems


@pytest.mark.drill
def test_installed_service_answers_pages_and_its_openapi_document(environment: Environment) -> None:
    with demo(environment) as url:
        for path in ("/", "/openapi.json", "/docs", "/v1/deals", "/v1/export/deals.xlsx"):
            with urllib.request.urlopen(url + path, timeout=60) as response:
                assert response.status == 200
                assert response.read()


@contextmanager
def demo(environment: Environment) -> Iterator[str]:
    """The demo of the installed wheel; its address."""
    with subprocess.Popen(
        [environment.folder / "bin" / "registry", "demo", "--port", "0", "--data-dir", environment.folder / "data"],
        cwd=environment.folder,
        env=environment.environ(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield next(line.split()[1] for line in process.stdout if line.startswith("ready "))
        finally:
            process.terminate()
            process.communicate(timeout=60)


def checksums(path: Path) -> dict[str, int]:
    with zipfile.ZipFile(path) as archive:
        return {info.filename: info.CRC for info in archive.infolist()}


def version() -> str:
    return registry.version()
