"""`registry import` chooses by the files' endings, and says what does not go together."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from registry.cli import imports
from registry.errors import BadMapping, UnreadableSheet
from registry.imports import template, workbook
from tests.imports.conftest import Import


@pytest.mark.parametrize("name", ["deals.csv", "deals.xlsx"])
def test_an_empty_sheet_is_written_and_can_be_read(tmp_path: Path, name: str) -> None:
    imports.import_(template=tmp_path / name)
    first, *_ = workbook.read(name, (tmp_path / name).read_bytes())
    assert list(first.header) == template.header("deal")


def test_what_does_not_go_together_is_told(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="name a file"):
        imports.import_()
    with pytest.raises(typer.BadParameter, match="by themselves"):
        imports.import_(["a.csv", "b.ndjson"])
    with pytest.raises(typer.BadParameter, match="are for sheets"):
        imports.import_(["b.ndjson"], dry_run=True)
    with pytest.raises(typer.BadParameter, match=r"must end in \.csv or \.xlsx"):
        imports.import_(template=tmp_path / "deals.ods")
    with pytest.raises(typer.BadParameter, match="No such file"):
        imports.import_([str(tmp_path / "none.csv")])


async def test_a_mapping_needs_the_day_of_its_sheets(import_: Import, tmp_path: Path) -> None:
    sheet, mapping = tmp_path / "a.csv", tmp_path / "a.toml"
    sheet.write_text("Name\nA\n", "utf-8")
    mapping.write_text('[source]\npublisher="P"\n[sheets]\nthings="a"\n[deal]\nname="Name"\nslug="p-"\n', "utf-8")
    with pytest.raises(typer.BadParameter, match="need the day"):
        await import_(sheet, mapping=mapping)
    with pytest.raises(typer.BadParameter, match="is no day"):
        await import_(sheet, mapping=mapping, published_on="May 2026")
    assert (await import_(sheet, mapping=mapping, published_on="2026-05-20")).out.startswith("1 recorded")
    mapping.write_text("[source", "utf-8")
    with pytest.raises(BadMapping):
        await import_(sheet, mapping=mapping, published_on="2026-05-20")
    sheet.write_bytes(b"\xff\xfe")
    with pytest.raises(UnreadableSheet):
        await import_(sheet)
