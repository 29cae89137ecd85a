"""The README's commands that install the wheel, run as they stand there.

They load the newest compatible packages from an index, so the tests run only if REGISTRY_TEST_INSTALLERS is set
(`make installers` sets it).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

import registry
from tests.missing import NO_INSTALLER

TOP = Path(__file__).parents[2]


def documented_commands() -> list[str]:
    """The lines of the README that build and install the wheel."""
    section = (TOP / "README.md").read_text().split("### Install it", 1)[1]
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found
    build, install, _ = found[1].strip().splitlines()
    return [build, install]


def with_pipx(line: str) -> str:
    return line.split("#")[0]


def with_uv(line: str) -> str:
    """The same line with the command that the README names in its place."""
    command, other = line.split("# or: ")
    if "…" not in other:
        return other
    return other.replace("…", command.split("install", 1)[1])


@pytest.mark.parametrize("installer", [with_pipx, with_uv])
def test_installed_command_starts_the_demo(installer: Callable[[str], str], tmp_path: Path) -> None:
    if not os.environ.get("REGISTRY_TEST_INSTALLERS"):
        pytest.skip(f"{NO_INSTALLER} (run `make installers`)")
    checkout, programs = tmp_path / "checkout", tmp_path / "bin"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "dist", "node_modules")
    shutil.copytree(TOP, checkout, ignore=ignored)
    environ = os.environ | {
        "HOME": str(tmp_path),
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PIPX_HOME": str(tmp_path / "pipx"),
        "PIPX_BIN_DIR": str(programs),
        "UV_TOOL_DIR": str(tmp_path / "uv"),
        "UV_TOOL_BIN_DIR": str(programs),
    }
    for line in documented_commands():
        subprocess.run(["sh", "-ec", installer(line)], cwd=checkout, env=environ, check=True)
    program = str(programs / "registry")
    stated = [program, "--version"]
    assert registry.version() in subprocess.run(stated, env=environ, check=True, capture_output=True, text=True).stdout
    command = [program, "demo", "--port", "0", "--data-dir", str(tmp_path / "data")]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout
            url = next(line.split()[1] for line in demo.stdout if line.startswith("ready "))
            for path in ("/", "/v1/export/deals.parquet"):
                with urllib.request.urlopen(url + path, timeout=60) as answer:
                    assert answer.read()
        finally:
            demo.terminate()
            demo.communicate(timeout=60)
