"""The programs and commands of docs/integrations.md do what it says."""

from __future__ import annotations

import asyncio
import os
import re
import sys

import pytest

from tests.doc_examples import ROOT
from tests.service import Service

DOCUMENT = (ROOT / "docs" / "integrations.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS, ids=map(str, range(len(PROGRAMS))))
async def test_program_of_the_document_runs(demo: Service, program: str) -> None:
    # Without a key: the document's deals are those that other documents show.
    environment = {**os.environ, "REGISTRY_URL": demo.url}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
