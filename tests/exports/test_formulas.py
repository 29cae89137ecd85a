"""No cell of a file that a spreadsheet opens is run as a formula, whatever was announced (OWASP, CSV injection)."""

from __future__ import annotations

import csv
import io
import zipfile

import pytest

from registry.exports.csv import csv_text
from registry.exports.xlsx import XlsxWriter
from registry.projections.columnar.exported_columns import DEALS

TEXTS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\r\n=1+1",
    "＝1+1",
    "＋1+1",
    "－1+1",
    "＠SUM(1)",
    '=HYPERLINK("https://evil.example","x")',
    "=cmd|' /C calc'!A0",
    'a title,"=1+1"',
    "a title\r\n=1+1",
    '"\r\n=1+1',
    "a\t=1+1",
]
BEGINS = tuple("=+-@\t\r\n＝＋－＠")


@pytest.mark.parametrize("text", TEXTS)
def test_cell_of_csv_begins_with_no_formula_and_ends_where_it_ended(text: str) -> None:
    [row] = csv.reader(io.StringIO(csv_text([["before", text, "after"]]), newline=""))
    before, cell, after = row
    assert (before, after) == ("before", "after"), "the text made no cell or row of its own"
    assert not cell.startswith(BEGINS)
    assert cell.removeprefix("'") == text


def test_workbook_has_texts_and_no_formulas() -> None:
    writer = XlsxWriter(DEALS, "deals")
    writer.write([(text, *[None] * (len(DEALS) - 1)) for text in TEXTS])
    content = b"".join(writer.end())
    writer.discard()
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        for name in book.namelist():
            part = book.read(name)
            assert b"<f>" not in part
            assert b"<f " not in part
            assert b"<hyperlink" not in part
            assert "externalLink" not in name
