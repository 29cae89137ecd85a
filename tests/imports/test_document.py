"""Every example of docs/import.md prints what the document says."""

from __future__ import annotations

from pathlib import Path

from tests.api.conftest import ADMIN_KEY, Service
from tests.doc_examples import ROOT, examples, matches, run


async def test_each_example_prints_what_the_document_says(service: Service, tmp_path: Path) -> None:
    environment = {"REGISTRY_URL": service.url, "REGISTRY_KEY": ADMIN_KEY, "WORK": str(tmp_path)}
    found = list(examples(ROOT / "docs" / "import.md"))
    assert len(found) == 14
    for example in found:
        printed = await run(example, environment)
        assert matches(printed, example.output), f"{example}\n{printed}"
