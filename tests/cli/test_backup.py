"""`backup` and `restore` with files that cannot be used: refused before a database is started or a file written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from registry import cli
from registry.cli.backup import _passphrase
from registry.transparency.checkpoint import SigningKey


def run(tmp_path: Path, *words: str) -> tuple[int, str]:
    """A command's exit code and its error in one line, with a data directory that does not exist."""
    env = {"REGISTRY_DATA_DIR": str(tmp_path / "data"), "COLUMNS": "500", "REGISTRY_DATABASE_URL": ""}
    result = CliRunner().invoke(cli.command(words[0]), list(words), env=env)
    assert not (tmp_path / "data").exists()
    return result.exit_code, f"{result.stderr}{result.exception}"


def test_backup_does_not_replace_a_pipe_or_device(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code, problem = run(tmp_path, "backup", str(pipe))
    assert code == 2
    assert f"{pipe} is not a regular file" in problem
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_restore_of_a_missing_file_names_it(tmp_path: Path) -> None:
    code, problem = run(tmp_path, "restore", str(tmp_path / "absent"))
    assert code == 2
    assert "absent' does not exist" in problem


@pytest.mark.parametrize("option", ["--unverified", "--key"])
def test_restore_of_a_refused_file_starts_no_database(tmp_path: Path, option: str) -> None:
    file = tmp_path / "no backup"
    file.write_text("text")
    words = [option] if option == "--unverified" else [option, str(SigningKey.generate("localhost/test-log").verifier)]
    code, problem = run(tmp_path, "restore", str(file), *words)
    assert code == 1
    assert str(file) in problem


@pytest.mark.parametrize("option", ["--passphrase-file", "--signing-key"])
def test_file_of_a_secret_that_is_no_text_is_named(tmp_path: Path, option: str) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    code, problem = run(tmp_path, "backup", str(tmp_path / "backup"), option, str(binary))
    assert code == 2
    assert f"{binary} is not a text file" in problem


@pytest.mark.parametrize("text", ["one", "one\n", "one\r\n", "one\ntwo\n"])
def test_passphrase_is_the_first_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(text.encode())
    assert _passphrase(file) == "one"
