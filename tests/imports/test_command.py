"""`registry import` selects the reader by file extension and rejects options that do not fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from registry.cli import imports
from registry.errors import BadMapping, UnreadableSheet
from registry.imports import mapping as mappings
from registry.imports import workbook
from registry.imports.columns import header
from tests.imports.conftest import Import


@pytest.mark.parametrize("name", ["deals.csv", "deals.xlsx"])
def test_template_is_written_and_can_be_read(tmp_path: Path, name: str) -> None:
    imports.import_(template=tmp_path / name)
    with workbook.open_sheets([tmp_path / name]) as [first, *_]:
        table = first.table()
        assert table is not None
        assert list(table.header) == header("deal")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ({}, "FILE"),
        ({"files": ["a.csv", "b.ndjson"]}, "FILE"),
        ({"files": ["b.ndjson"], "dry_run": True}, "FILE"),
        ({"files": ["b.ndjson"], "describe": True}, "FILE"),
        ({"files": ["no-such-file.csv"]}, "FILE"),
        ({"template": Path("deals.ods")}, "--template"),
    ],
)
def test_unusable_option_is_rejected(arguments: dict[str, Any], option: str) -> None:
    with pytest.raises(typer.BadParameter) as rejected:
        imports.import_(**arguments)
    assert rejected.value.param_hint == option


@pytest.mark.parametrize("name", ["deals.XLS", "deals.ods"])
def test_sheet_of_another_program_is_not_sent_as_lines(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xd0\xcf\x11\xe0")
    with pytest.raises(typer.BadParameter) as rejected:
        imports.import_(files=[str(tmp_path / name)])
    assert rejected.value.param_hint == "FILE"


async def test_mapping_needs_the_publication_day_of_the_sheets(import_: Import, tmp_path: Path) -> None:
    sheet, mapping = tmp_path / "a.csv", tmp_path / "a.toml"
    sheet.write_text("Name\nA\n", "utf-8")
    text = 'scheme="p"\n[source]\npublisher="P"\n[deal]\nkey="Name"\nslug="p-"\ntitle={column="Name"}\n'
    mapping.write_text(text, "utf-8")
    for published_on in (None, "May 2026"):
        with pytest.raises(typer.BadParameter) as rejected:
            await import_(sheet, mapping=mapping, published_on=published_on)
        assert rejected.value.param_hint == "--published-on"
    assert (await import_(sheet, mapping=mapping, published_on="2026-05-20")).recorded == 2
    mapping.write_text("[source", "utf-8")
    with pytest.raises(BadMapping):
        await import_(sheet, mapping=mapping, published_on="2026-05-20")
    sheet.write_bytes(b"\xff\xfea")
    with pytest.raises(UnreadableSheet):
        await import_(sheet)


async def test_encoding_is_named_by_the_mapping_or_the_command(
    import_: Import, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet, mapping = tmp_path / "a.csv", tmp_path / "a.toml"
    sheet.write_bytes("Name\nCafé Münster\n".encode("cp1252"))
    text = '[source]\npublisher="P"\n[deal]\nkey="Name"\nslug="c-"\ntitle={column="Name"}\n'
    mapping.write_text(f'scheme="caf"\n{text}', "utf-8")
    with pytest.raises(UnreadableSheet):
        await import_(sheet, mapping=mapping, published_on="2026-05-20")
    assert (await import_(sheet, mapping=mapping, published_on="2026-05-20", encoding="windows-1252")).recorded == 2
    mapping.write_text(f'scheme="caf"\nencoding="windows-1252"\n{text}', "utf-8")
    again = await import_(sheet, mapping=mapping, published_on="2026-05-20")
    assert "a was read as WINDOWS-1252" in again.err
    mapping.write_text(f'scheme="caf"\nencoding="latin"\n{text}', "utf-8")
    with pytest.raises(BadMapping) as wrong:
        await import_(sheet, mapping=mapping, published_on="2026-05-20")
    assert "a.toml:2: encoding" in str(wrong.value)
    with pytest.raises(typer.BadParameter) as rejected:
        await import_(sheet, mapping=mapping, published_on="2026-05-20", encoding="latin")
    assert rejected.value.param_hint == "--encoding"
    draft = tmp_path / "draft.toml"
    imports.import_(files=[str(sheet)], describe=True, encoding="windows-1252")
    draft.write_text(capsys.readouterr().out, "utf-8")
    assert mappings.parse(draft.read_text("utf-8")).encoding == "windows-1252"
