"""The README and the guide to the API: examples print what they say, settings are all there are, links lead on."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from registry.infra.settings import SETTINGS, variable
from tests.api.conftest import ADMIN_KEY, Service
from tests.doc_examples import ROOT, Example, examples, matches, run

README = ROOT / "README.md"
EXAMPLES = list(examples(README))
GUIDE = list(examples(ROOT / "docs" / "api.md"))


def test_the_first_screen_has_an_example_each_for_posting_a_point_in_time_and_the_audit() -> None:
    screen = README.read_text().splitlines()[:50]
    assert sum(line.startswith("$ curl ") for line in screen) == len(EXAMPLES) == 4


@pytest.mark.parametrize("example", [*EXAMPLES, *GUIDE], ids=str)
async def test_an_example_prints_what_the_document_says(demo: Service, example: Example) -> None:
    here = replace(example, command=example.command.replace("http://127.0.0.1:8000", demo.url))
    printed = await run(here, {"KEY": ADMIN_KEY})
    assert matches(printed, example.output), printed


def test_every_setting_is_listed_with_its_meaning() -> None:
    listed = re.findall(r"^\| `(REGISTRY_\w+)` \| (.+) \|$", README.read_text(), re.MULTILINE)
    assert listed == [(variable(name), setting.help) for name, setting in SETTINGS.items()]


@pytest.mark.parametrize("document", sorted([README, *(ROOT / "docs").glob("*.md")]), ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(document: object) -> None:
    assert isinstance(document, type(README))
    for link in re.findall(r"\]\((?!https?:|#|/)([^)#]+)", document.read_text()):
        assert (document.parent / link).exists(), link
