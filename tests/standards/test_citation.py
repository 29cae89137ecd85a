"""Citations as text, BibTeX and CSL-JSON."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from registry.domain.history import AsOf
from registry.infra.data_licence_setting import DataLicence
from registry.standards.citation import Citation, point_of, points_of

DAY = date(2025, 10, 29)
URL = "https://registry.example/deals/ulsan?effective_on=2025-10-29&position=42"


def citation(**changes: Any) -> Citation:
    """A citation of a deal."""
    given: dict[str, Any] = {
        "title": "Ulsan data centre",
        "origin": "registry.example/log",
        "point": point_of(AsOf(), DAY),
        "position": 42,
        "on": DAY,
        "url": URL,
        "licence": DataLicence("CC-BY-4.0", "https://creativecommons.org/licenses/by/4.0/"),
        "language": "en",
    }
    return Citation(**given | changes)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_text_names_the_title_the_point_the_position_and_the_address(language: str) -> None:
    text = citation(language=language).text
    for part in ("Ulsan data centre", "registry.example/log", "2025-10-29", "42", URL):
        assert part in text


def test_point_has_what_fixes_it() -> None:
    texts = {
        str(point_of(AsOf(effective_on=date(2025, 1, 2)), DAY)),
        str(point_of(AsOf(published_on=date(2025, 1, 2)), DAY)),
        str(point_of(AsOf(recorded_at=datetime(2025, 1, 2, tzinfo=UTC)), DAY)),
    }
    assert len(texts) == 3
    assert all("2025-01-02" in text for text in texts)
    compared = str(points_of(AsOf(effective_on=date(2025, 1, 2)), AsOf(), DAY))
    assert "2025-01-02" in compared
    assert "2025-10-29" in compared


def test_bibtex_escapes_what_tex_would_run() -> None:
    entry = citation(title=r"R&D at 100% {of} \input{x} #1 $5_000 ^").bibtex
    assert entry.startswith("@misc{registry-deals-ulsan-42,\n")
    [title] = [line for line in entry.splitlines() if line.startswith("  title")]
    assert title == (r"  title = {{R\&D at 100\% \{of\} \textbackslash{}input\{x\} \#1 \$5\_000 \textasciicircum{}}},")
    assert f"  url = {{{URL}}},\n" in entry
    assert "  year = {2025},\n  month = oct,\n  day = {29},\n" in entry


def test_csl_has_the_fields_that_reference_managers_read() -> None:
    item = citation().csl
    assert (item["type"], item["title"], item["URL"]) == ("dataset", "Ulsan data centre", URL)
    assert item["issued"] == {"date-parts": [[2025, 10, 29]]}
    assert item["author"] == [{"literal": "Investment Registry (registry.example/log)"}]
    assert "CC-BY-4.0" in item["note"]
    assert "issued" not in citation(on=None).csl
