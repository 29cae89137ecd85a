"""The key file of secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from registry.errors import SecretUnreadable
from registry.infra.secret_box import SecretBox


@pytest.mark.parametrize("is_there", [False, True])
def test_operator_reads_why_the_key_file_cannot_be_used(tmp_path: Path, is_there: bool) -> None:
    """In the log of the service: clients are only told to come back."""
    folder = tmp_path / "folder"
    if is_there:
        (folder / "secrets.key").mkdir(parents=True)
    else:
        folder.write_text("no folder")
    with structlog.testing.capture_logs() as lines, pytest.raises(SecretUnreadable):
        SecretBox(folder / "secrets.key").encrypt(b"a secret")
    [line] = lines
    assert (line["log_level"], line["file"]) == ("error", str(folder / "secrets.key"))
    assert ("Is a directory" if is_there else "File exists") in line["reason"]
