"""The threat model and the comparison with ASVS: what they refer to exists, and every chapter is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The number of requirements of levels 1 and 2 in each chapter of ASVS 5.0.0.
REQUIREMENTS = {
    1: 27,
    2: 11,
    3: 19,
    4: 10,
    5: 9,
    6: 35,
    7: 18,
    8: 7,
    9: 7,
    10: 27,
    11: 14,
    12: 9,
    13: 13,
    14: 9,
    15: 13,
    16: 16,
    17: 2,
}


def rows(document: str) -> list[list[str]]:
    """The rows of a document's tables, without their headings."""
    lines = [line for line in (ROOT / "docs" / document).read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("document", ["threat-model.md", "asvs.md"])
def test_files_that_the_document_names_exist(document: str) -> None:
    text = (ROOT / "docs" / document).read_text()
    named = [name for name in re.findall(r"`([\w./-]+)`", text) if "/" in name[1:] and name[0] != "/"]
    assert len(named) > 15
    for name in named:
        assert any((ROOT / folder / name).exists() for folder in ("", "registry")), name


def numbers(cell: str) -> list[str]:
    """The requirements of a row: `2.1.1–2.1.3` are three."""
    first, dash, last = cell.partition("–")
    if not dash:
        return cell.split(", ")
    chapter, begin = first.rsplit(".", 1)
    return [f"{chapter}.{n}" for n in range(int(begin), int(last.rsplit(".", 1)[1]) + 1)]


def test_every_requirement_of_level_two_has_one_state_and_its_reason() -> None:
    requirements = [row for row in rows("asvs.md") if re.match(r"\d", row[0])]
    listed = [number for row in requirements for number in numbers(row[0])]
    assert len(listed) == len(set(listed))
    assert {row[2] for row in requirements} == {"met", "n/a", "not met", "partly", "operator"}
    assert all(row[1] and row[3] for row in requirements)
    chapters = [int(number.split(".")[0]) for number in listed]
    assert {chapter: chapters.count(chapter) for chapter in set(chapters)} == REQUIREMENTS
