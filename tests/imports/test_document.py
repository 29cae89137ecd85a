"""Every example of docs/import.md prints what the document says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doc_examples import ROOT, examples, matches, run
from tests.service import ADMIN_KEY, Service


@pytest.mark.drill
async def test_examples_print_the_documented_output(service: Service, tmp_path: Path) -> None:
    environment = {"REGISTRY_URL": service.url, "REGISTRY_KEY": ADMIN_KEY, "WORK": str(tmp_path)}
    documented = list(examples(ROOT / "docs" / "import.md"))
    assert len(documented) == 35
    for example in documented:
        printed = await run(example, environment)
        assert matches(printed, example.output), f"{example}\n{printed}"
