"""The audit of the pinned packages."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from packaging.version import Version

from deploy import audit
from tests.packaging.test_requirements import TOP

RELEASED_ON = date(2026, 11, 23)
ADVISORY = """
id: PYSEC-2026-1
modified: "{modified}T00:00:00Z"
aliases: [CVE-2026-0001]
affected:
- package: {{ecosystem: PyPI, name: Pier_Nine}}
  ranges:
  - type: ECOSYSTEM
    events: [{{introduced: "2"}}, {{fixed: "2.4"}}, {{introduced: "3.0"}}, {{last_affected: "3.1"}}]
  versions: ["1.0"]
"""


def write(folder: Path, modified: str = "2026-11-24") -> Path:
    path = folder / "vulns" / "pier-nine" / "PYSEC-2026-1.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(ADVISORY.format(modified=modified))
    return folder


@pytest.mark.parametrize("version", ["1.0", "2", "2.3.9", "3.0", "3.1"])
def test_affected_versions_are_found(tmp_path: Path, version: str, capsys: pytest.CaptureFixture[str]) -> None:
    pins = {"pier-nine": Version(version)}
    assert audit.audit(write(tmp_path), pins, RELEASED_ON) == audit.AFFECTED
    assert "CVE-2026-0001" in capsys.readouterr().out


@pytest.mark.parametrize("version", ["1.1", "2.4", "2.9", "3.1.1"])
def test_other_versions_are_not_affected(tmp_path: Path, version: str) -> None:
    assert audit.audit(write(tmp_path), {"pier-nine": Version(version)}, RELEASED_ON) == 0


def test_audit_fails_without_advisories_or_with_old_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pins = {"pier-nine": Version("4")}
    assert audit.audit(None, pins, RELEASED_ON) == audit.NOT_AUDITED
    assert audit.audit(write(tmp_path, "2024-10-10"), pins, RELEASED_ON) == audit.NOT_AUDITED
    assert capsys.readouterr().out.count("NOT AUDITED") == 2


def test_audit_reads_every_pin_of_the_requirements() -> None:
    pins = audit.pinned(sorted(TOP.glob("requirements*.txt")))
    assert {"litestar", "cffi", "hatchling", "pytest"} <= pins.keys()
    assert all(version.release for version in pins.values())
