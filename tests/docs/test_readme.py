"""The README and the API guide: examples print what they show, settings are listed, links work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from registry.infra.settings import SETTINGS, variable
from tests.doc_examples import ROOT, Example, examples, matches, run
from tests.service import ADMIN_KEY, Service

README = ROOT / "README.md"
EXAMPLES = list(examples(README))
KOREAN = list(examples(ROOT / "README.ko.md"))
GUIDE = list(examples(ROOT / "docs" / "api.md"))


@pytest.mark.parametrize("readme", [EXAMPLES, KOREAN], ids=["en", "ko"])
def test_readme_has_examples_of_posting_a_point_in_time_and_the_history(readme: list[Example]) -> None:
    commands = " ".join(example.command for example in readme)
    assert "Authorization: Bearer" in commands
    assert "effective_on=" in commands
    assert "/events" in commands


@pytest.mark.parametrize("example", [*EXAMPLES, *KOREAN, *GUIDE], ids=str)
async def test_example_prints_what_the_document_shows(demo: Service, example: Example) -> None:
    here = replace(example, command=example.command.replace("http://127.0.0.1:8000", demo.url))
    printed = await run(here, {"KEY": ADMIN_KEY})
    assert matches(printed, example.output), printed


def test_settings_are_documented_as_the_service_knows_them() -> None:
    known = [(variable(name), setting.help) for name, setting in SETTINGS.items()]
    assert _listed_settings(ROOT / "docs" / "settings.md") == known
    first = _listed_settings(README)
    assert first
    assert set(first) <= set(known)


def _listed_settings(document: Path) -> list[tuple[str, str]]:
    return re.findall(r"^\| `(REGISTRY_\w+)` \| (.+) \|$", document.read_text(), re.MULTILINE)


DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_exist(document: object) -> None:
    assert isinstance(document, type(README))
    for link in re.findall(r"\]\((?!https?:|#|/)([^)#]+)", document.read_text()):
        assert (document.parent / link).exists(), link
