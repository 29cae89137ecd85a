"""The systemd unit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from registry.infra.settings import SETTINGS, variable

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "investment-registry.service"


def test_unit_is_valid(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze was not found: the unit was NOT checked (install systemd)")
    # The program is not installed where the tests run.
    text = UNIT.read_text().replace("/opt/investment-registry/.venv/bin/registry serve", "/bin/true")
    (tmp_path / UNIT.name).write_text(text)
    done = subprocess.run([program, "verify", str(tmp_path / UNIT.name)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_unit_sets_only_settings_that_exist() -> None:
    known = {variable(name) for name in SETTINGS}
    named = {line.removeprefix("Environment=").partition("=")[0] for line in UNIT.read_text().splitlines()}
    assert {name for name in named if name.startswith("REGISTRY_")} <= known
