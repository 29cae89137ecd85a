"""Fixtures: a folder for servers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path that the Postgres user can read."""
    made = Path(tempfile.mkdtemp(prefix="registry"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)
