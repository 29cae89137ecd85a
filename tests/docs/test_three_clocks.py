"""Every example of docs/three-clocks.md prints what the document says."""

from __future__ import annotations

import pytest

from tests.doc_examples import ROOT, Example, examples, matches, run
from tests.service import ADMIN_KEY, Service

EXAMPLES = list(examples(ROOT / "docs" / "three-clocks.md"))


def test_the_document_has_examples() -> None:
    assert len(EXAMPLES) == 12


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
async def test_an_example_prints_what_the_document_says(demo: Service, example: Example) -> None:
    printed = await run(example, {"REGISTRY_URL": demo.url, "REGISTRY_KEY": ADMIN_KEY})
    assert matches(printed, example.output), printed
