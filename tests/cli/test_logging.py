"""Logs contain the place of a failure and no API key."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FAILS = """
import logging
import structlog
from registry.cli import server

server.log_to_stderr()

def fail(token):
    header = {"Authorization": f"Bearer {token}"}
    raise RuntimeError("it failed")

for log in (structlog.get_logger("ours"), logging.getLogger("theirs")):
    try:
        fail("reg_" + "secret")
    except RuntimeError:
        log.exception("said")
"""


@pytest.mark.parametrize("terminal", [False, True])
def test_failure_is_logged_with_its_place_and_without_the_api_key(terminal: bool) -> None:
    pretend = "import sys; sys.stderr.isatty = lambda: True\n" if terminal else ""
    told = subprocess.run([sys.executable, "-c", pretend + FAILS], capture_output=True, text=True, check=True).stderr
    assert told.count("said") >= 2
    assert "it failed" in told
    assert "reg_secret" not in told
    if not terminal:
        ours, theirs = (json.loads(line) for line in told.splitlines())
        assert (ours["event"], ours["logger"], ours["level"]) == ("said", "ours", "error")
        assert theirs["logger"] == "theirs"
        assert {frame["name"] for frame in ours["exception"][0]["frames"]} == {"<module>", "fail"}
