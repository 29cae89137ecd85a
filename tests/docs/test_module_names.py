"""The docstrings of packages, which say what their modules are for, and the recipes of CONTRIBUTING name real files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(ROOT.glob("registry/**/__init__.py"))


@pytest.mark.parametrize("package", PACKAGES, ids=[str(path.parent.relative_to(ROOT)) for path in PACKAGES])
def test_modules_that_a_package_names_exist(package: Path) -> None:
    docstring = ast.get_docstring(ast.parse(package.read_text())) or ""
    named = re.findall(r"(?<![*\w])[\w/]+\.py\b", docstring)
    assert [
        name for name in named if not any((top / name).is_file() for top in (package.parent, ROOT / "registry"))
    ] == []


def test_files_that_recipes_change_exist() -> None:
    cells = re.findall(r"^\| (`.*?) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`([\w/.-]+)`", cell) if "NAME" not in name}
    made = {"tests/golden/permit_granted.v1.json"}
    assert {name for name in named if not (ROOT / name).exists()} == made
