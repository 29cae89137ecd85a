"""Workbooks are written to their temporary files in long parts, so that the event loop can run in between."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import pytest

from registry.exports.xlsx import XlsxWriter
from registry.projections.columnar.exported_columns import TABLES

COLUMNS = TABLES["deals"]


def test_rows_are_not_written_to_the_disk_in_small_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    writer = XlsxWriter(COLUMNS, "deals")
    text = "a text of a cell" * 10
    writer.write([(text, *[None] * (len(COLUMNS) - 1)) for _ in range(500)])
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) == 0
    content = b"".join(writer.end())
    writer.discard()
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        assert book.read("xl/worksheets/sheet1.xml").count(text.encode()) == 500
    assert list(tmp_path.iterdir()) == []
