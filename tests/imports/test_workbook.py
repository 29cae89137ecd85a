"""Files become rows of text without loss, and each cell keeps its place."""

from __future__ import annotations

import io
from datetime import date, datetime
from typing import Any

import openpyxl
import pytest

from registry.errors import UnreadableSheet
from registry.imports import workbook
from registry.imports.workbook import SheetErrors


def xlsx(*rows: list[Any], name: str = "Announcements") -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = name
    for row in rows:
        sheet.append(row)
    made = io.BytesIO()
    book.save(made)
    return made.getvalue()


def test_cells_are_read_as_a_person_sees_them() -> None:
    midnight = datetime(2025, 6, 16)  # noqa: DTZ001 - as the library gives a day
    day = date(2025, 10, 29)
    values = ["text ", 5_000_000_000, 927.5, 0.1, 1e15, 103.0, day, midnight, True, None, "0"]
    [sheet] = workbook.read("a.xlsx", xlsx(["x"] * len(values), values))
    read = (
        "text",
        "5000000000",
        "927.5",
        "0.1",
        "1000000000000000",
        "103",
        "2025-10-29",
        "2025-06-16",
        "true",
        "",
        "0",
    )
    assert sheet.rows[0].cells == read


def test_a_cell_is_named_as_spreadsheets_name_it() -> None:
    [sheet] = workbook.read("a.xlsx", xlsx(["a"], [], ["b"], name="Bob's deals"))
    assert sheet.rows[0].number == 3
    assert sheet.at(3, 27) == "'Bob''s deals'!AB3"
    [plain] = workbook.read("folder/deals.csv", b"a,b\n1,2\n")
    assert plain.at(2, 1) == "deals!B2"


def test_rows_of_csv_count_as_the_spreadsheet_counts_them() -> None:
    [sheet] = workbook.read("a.csv", 'a,b\r\n"two\nlines",x\r\n\r\ny,z\r\n'.encode("utf-8-sig"))
    assert [(row.number, row.cells) for row in sheet.rows] == [(2, ("two\nlines", "x")), (4, ("y", "z"))]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_the_header_s(delimiter: str) -> None:
    [sheet] = workbook.read("a.csv", f"deal{delimiter}type{delimiter}note\nx{delimiter}y{delimiter}z".encode())
    assert sheet.header == ("deal", "type", "note")
    assert sheet.rows[0].cells == ("x", "y", "z")


def test_an_error_and_a_formula_without_a_result_are_no_empty_cells() -> None:
    with pytest.raises(SheetErrors) as caught:
        workbook.read("a.xlsx", xlsx(["a", "b"], ["#REF!", "=1+1"]))
    assert [fault.at for fault in caught.value.faults] == ["Announcements!A2", "Announcements!B2"]


@pytest.mark.parametrize(
    ("file", "data", "why"),
    [
        ("a.csv", "거래".encode("cp949"), "is not UTF-8"),
        ("a.csv", b'a,b\n"x"y,2\n', "expected"),
        ("a.xlsx", b"no zip at all", "not a zip"),
        ("a.ods", b"", "ends neither"),
    ],
)
def test_what_is_no_spreadsheet_is_refused_in_words(file: str, data: bytes, why: str) -> None:
    with pytest.raises(UnreadableSheet, match=why):
        workbook.read(file, data)


def test_a_sheet_wider_than_any_is_refused() -> None:
    with pytest.raises(UnreadableSheet, match="columns"):
        workbook.read("a.csv", ",".join(["x"] * 600).encode())
