"""Workbooks are read as rows of text without loss, and each cell keeps its position."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import openpyxl
import pytest

from registry.errors import UnreadableSheet
from registry.imports import workbook, xlsx_rows
from registry.imports.messages import ImportText
from registry.imports.workbook import SheetRow, Table


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


def problem_of(error: UnreadableSheet) -> str:
    problem = error.params["why"]
    assert isinstance(problem, ImportText)
    return problem.code


def tables(folder: Path, name: str, data: bytes) -> list[tuple[Table, list[SheetRow]]]:
    """The tables of a file with their rows."""
    file = folder / name
    file.write_bytes(data)
    with workbook.open_sheets([file]) as sheets:
        found = [table for sheet in sheets if (table := sheet.table()) is not None]
        return [(table, list(table.rows)) for table in found]


def test_cell_values_become_text_without_loss(tmp_path: Path) -> None:
    midnight = datetime(2025, 6, 16)  # noqa: DTZ001 - openpyxl's form of a date
    day = date(2025, 10, 29)
    values = ["text ", 5_000_000_000, 927.5, 0.1, 1e15, 103.0, day, midnight, True, None, "0"]
    [(_, rows)] = tables(tmp_path, "a.xlsx", xlsx(["x"] * len(values), values))
    texts = (
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
    assert rows[0].cells == texts


def test_cell_position_is_written_as_in_spreadsheets(tmp_path: Path) -> None:
    [(table, rows)] = tables(tmp_path, "a.xlsx", xlsx(["a"], [], ["b"], name="Bob's deals"))
    assert rows[0].number == 3
    assert table.at(3, 27) == "'Bob''s deals'!AB3"
    [(plain, _)] = tables(tmp_path, "deals.csv", b"a,b\n1,2\n")
    assert plain.at(2, 1) == "deals!B2"


def test_csv_rows_are_numbered_as_in_spreadsheets(tmp_path: Path) -> None:
    [(_, rows)] = tables(tmp_path, "a.csv", 'a,b\r\n"two\nlines",x\r\n\r\ny,z\r\n'.encode("utf-8-sig"))
    assert [(row.number, row.cells) for row in rows] == [(2, ("two\nlines", "x")), (4, ("y", "z"))]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_delimiter_is_taken_from_the_widest_line(tmp_path: Path, delimiter: str) -> None:
    data = f"A title, with a comma\ndeal{delimiter}type{delimiter}note\nx{delimiter}y{delimiter}z".encode()
    file = tmp_path / "a.csv"
    file.write_bytes(data)
    with workbook.open_sheets([file]) as [sheet]:
        assert [row.cells for row in sheet.rows()][1:] == [("deal", "type", "note"), ("x", "y", "z")]


def test_header_is_found_below_a_preamble(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("A list\n\nversion:,3\n\nid,name\n1,A\n", "utf-8")
    with workbook.open_sheets([file]) as [sheet]:
        table = sheet.table(lambda cells: "id" in cells)
        assert table is not None
        assert (table.header_row, table.header, [row.cells for row in table.rows]) == (5, ("id", "name"), [("1", "A")])


def test_formula_without_a_value_is_an_empty_cell(tmp_path: Path) -> None:
    [(_, rows)] = tables(tmp_path, "a.xlsx", xlsx(["a", "b"], ["x", "=1+1"]))
    assert rows[0].cells == ("x",)


@pytest.mark.parametrize(
    ("file", "data", "code"),
    [
        ("a.csv", "Micron’s café".encode("cp1252"), "encoding-unknown"),
        ("a.csv", b"\xff\xfea\x00,", "not-in-encoding"),
        ("a.csv", b'a,b\n"x"y,2\n', "csv-syntax"),
        ("a.xlsx", b"no zip at all", "xlsx-unreadable"),
        ("a.ods", b"", "file-type-unknown"),
    ],
)
def test_unreadable_file_is_rejected_with_the_reason(tmp_path: Path, file: str, data: bytes, code: str) -> None:
    with pytest.raises(UnreadableSheet) as caught:
        tables(tmp_path, file, data)
    assert problem_of(caught.value) == code


def test_file_that_unpacks_to_too_much_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "a.xlsx"
    file.write_bytes(xlsx(["a"], *[["x" * 100] for _ in range(100)]))
    with pytest.raises(UnreadableSheet) as caught, workbook.open_sheets([file], max_unpacked=1000):
        pass
    assert problem_of(caught.value) == "unpacked-too-large"


def test_file_with_many_parts_is_rejected_with_their_number(tmp_path: Path) -> None:
    more = {f"part{number}": b"" for number in range(workbook.MAX_PARTS)}
    with pytest.raises(UnreadableSheet) as caught:
        tables(tmp_path, "a.xlsx", repacked(xlsx(["a"]), **more))
    assert problem_of(caught.value) == "too-many-parts"


def repacked(data: bytes, **changed: bytes) -> bytes:
    """A workbook with other contents of some parts, or with more parts, by their names without folder and ending."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, changed.pop(PurePosixPath(info.filename).stem, old.read(info)))
        for name, content in changed.items():
            new.writestr(f"xl/{name}.xml", content)
    return made.getvalue()


MAX_UNPACKED = 120 * 2**20


# Functions: every process that collects the tests would keep 160 MB of contents.
def repeated() -> bytes:
    return b"<x>" + b"<si><t/></si>" * 2**20 + b"</x>"


def varied() -> bytes:
    return b"<x>" + b"".join(b'<f n="%x"/>' % (n * 2654435761 % 2**32) for n in range(700_000)) + b"</x>"


def spaces() -> bytes:
    return b" " * (MAX_UNPACKED + 1)


LAUGHS = b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 10))


@pytest.mark.parametrize(
    ("part", "content", "problem"),
    [
        ("sheet1", b'<!DOCTYPE x [<!ENTITY e0 "ha">' + LAUGHS + b"]><worksheet>&e9;</worksheet>", "xlsx-doctype"),
        ("sheet1", b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><worksheet/>', "xlsx-doctype"),
        ("sheet1", '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x><worksheet/>'.encode("utf-16"), "xlsx-doctype"),
        ("workbook", b"<!--" + b" " * 100_000 + b"--><workbook/>", "xlsx-doctype"),
        ("styles", repeated, "unpacked-too-large"),
        ("styles", varied, "unpacked-too-large"),
        ("workbook", repeated, "unpacked-too-large"),
        ("sharedStrings", repeated, "unpacked-too-large"),
        ("sheet1", repeated, "unpacked-too-large"),
        ("sheet1", spaces, "unpacked-too-large"),
    ],
    ids=[
        *("entities", "external", "utf-16", "endless prolog"),
        *("repeated styles", "many styles", "repeated names", "repeated texts", "repeated cells", "large sheet"),
    ],
)
def test_zip_bombs_and_entities_are_refused_in_bounded_memory(
    tmp_path: Path, part: str, content: bytes | Callable[[], bytes], problem: str
) -> None:
    file = tmp_path / "a.xlsx"
    file.write_bytes(repacked(xlsx(["a"], ["b"]), **{part: content if isinstance(content, bytes) else content()}))
    tracemalloc.start()
    try:
        with (
            pytest.raises(UnreadableSheet) as error,
            workbook.open_sheets([file], max_unpacked=MAX_UNPACKED),
        ):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert problem_of(error.value) == problem
    assert peak < 20 * 2**20


def test_row_with_a_number_beyond_a_sheet_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = (
        b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        b'<row r="1"><c r="A1"><v>1</v></c></row><row r="9999999999"><c r="A9"><v>1</v></c></row>'
        b"</sheetData></worksheet>"
    )
    file = tmp_path / "a.xlsx"
    file.write_bytes(repacked(xlsx(["a"]), sheet1=sheet))
    monkeypatch.setattr(xlsx_rows, "MAX_ROW_NUMBER", 1_000)
    with workbook.open_sheets([file]) as [found], pytest.raises(UnreadableSheet) as error:
        list(found.rows())
    assert problem_of(error.value) == "xlsx-unreadable"


def test_row_that_refers_to_a_missing_text_is_refused(tmp_path: Path) -> None:
    row = b'<row r="1"><c r="A1" t="s"><v>99999999</v></c></row>'
    assert problem_of_sheet(tmp_path, row) == "xlsx-unreadable"


def test_sheet_with_more_empty_cells_than_a_sheet_has_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader makes an empty cell of each column before the last of a row."""
    monkeypatch.setattr(xlsx_rows, "MAX_CELLS", 10_000)
    rows = b"".join(b'<row r="%d"><c r="BXX%d"><v>1</v></c></row>' % (n, n) for n in range(1, 9))
    assert problem_of_sheet(tmp_path, rows) == "xlsx-unreadable"


@pytest.mark.parametrize("row", [b"<row><c>", b"<row></c></row>", b'<row><c r="4"><v>1</v></c></row>'])
def test_malformed_sheet_is_refused(tmp_path: Path, row: bytes) -> None:
    assert problem_of_sheet(tmp_path, row) == "xlsx-unreadable"


def test_cells_merged_over_several_rows_are_known_when_the_rows_are_read(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["Plants", None], ["Company", "Amount"], ["Alpha", 1], [None, 2], ["Beta", 3]):
        sheet.append(row)
    for cells in ("A1:B1", "A3:A4", "B5:B6"):
        sheet.merge_cells(cells)
    book.save(tmp_path / "merged.xlsx")
    with workbook.open_sheets([tmp_path / "merged.xlsx"]) as (read,):
        for _ in range(2):
            assert [row.number for row in read.rows()] == [1, 2, 3, 4, 5]
        assert sorted((one.cells, one.first) for one in read.merged) == [("A3:A4", 3), ("B5:B6", 5)]


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    data = bytearray(xlsx(*[[f"a text {n * n}"] for n in range(5_000)]))
    start = data.index(b"sheet1.xml") + 2_000
    data[start : start + 100] = b"x" * 100
    file = tmp_path / "a.xlsx"
    file.write_bytes(data)
    with workbook.open_sheets([file]) as [found], pytest.raises(UnreadableSheet) as error:
        list(found.rows())
    assert problem_of(error.value) == "xlsx-unreadable"


def test_cells_are_read_by_their_type_as_programs_write_them(tmp_path: Path) -> None:
    """As ECMA-376 §18.3.1.4 allows: without positions, with runs and their pronunciation, with formulas, far apart."""
    rows = (
        b'<row r="2"><c t="inlineStr"><is><r><t>Ulsan </t></r><r><t xml:space="preserve">plant </t></r>'
        b"<rPh><t>how it is spoken</t></rPh></is></c>"
        b'<c t="str"><f>A1&amp;"x"</f><v>cal&amp;culated</v></c><c t="b"><v>1</v></c><c t="b"><v>0</v></c>'
        b'<c t="e"><v>#REF!</v></c><c t="d"><v>2026-05-20T00:00:00</v></c><c><v>1E+300</v></c>'
        b'<c><v>-0.10</v></c><c t="inlineStr"><is><t> </t></is></c><c><f>1+1</f></c></row>'
        b'<row r="5"><c r="C5"><v>7</v></c><c r="B5"><v>-12</v></c><c r="XFD5"><v>1</v></c></row>'
        b"<row><c><v>9.0</v></c></row>"
    )
    assert rows_of(tmp_path, rows) == [
        (2, ("Ulsan plant", "cal&culated", "true", "false", "#REF!", "2026-05-20", "1" + "0" * 300, "-0.1")),
        (5, ("", "-12", "7")),
        (6, ("9",)),
    ]


def test_numbers_are_dates_by_their_format(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    formats = ("yyyy-mm-dd", "mmm yyyy", "yyyy-mm-dd hh:mm", "hh:mm", "[h]:mm", "0.00", "yyyy-mm-dd")
    for column, (number, form) in enumerate(
        zip((45000, 45000, 45000.5, 0.25, 1.5, 45000, 1e9), formats, strict=True), 1
    ):
        sheet.cell(1, column, number).number_format = form
    book.save(tmp_path / "a.xlsx")
    with workbook.open_sheets([tmp_path / "a.xlsx"]) as [found]:
        [row] = found.rows()
    assert row.cells == (
        *("2023-03-15", "2023-03-15", "2023-03-15T12:00:00", "06:00:00", "1 day, 12:00:00", "45000"),
        "#VALUE!",
    )


def rows_of(folder: Path, rows: bytes) -> list[tuple[int, tuple[str, ...]]]:
    """The rows of a sheet with this content."""
    start = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    file = folder / "a.xlsx"
    file.write_bytes(repacked(xlsx(["a"]), sheet1=start + rows + b"</sheetData></worksheet>"))
    with workbook.open_sheets([file]) as [found]:
        return [(row.number, row.cells) for row in found.rows()]


def problem_of_sheet(folder: Path, rows: bytes) -> str:
    """Why a sheet with these rows is refused while it is read."""
    with pytest.raises(UnreadableSheet) as error:
        rows_of(folder, rows)
    return problem_of(error.value)


KOREAN = "사업명,지역\r\n똠방각하 공장,울산\r\n"
WESTERN = "Project,City\r\nMicron’s plant,Münster\r\nCafé Ärzte,Łódź\r\n"


@pytest.mark.parametrize(
    ("data", "named", "read", "text"),
    [
        (KOREAN.encode("cp949"), None, "cp949", KOREAN),
        (KOREAN.encode("utf-16"), None, "utf-16", KOREAN),
        (b"\xfe\xff" + KOREAN.encode("utf-16-be"), None, "utf-16", KOREAN),
        (KOREAN.encode("utf-8-sig"), None, "utf-8", KOREAN),
        (WESTERN.replace("Łódź", "Köln").encode("cp1252"), "windows-1252", "windows-1252", WESTERN),
        (WESTERN.encode("cp1250"), "windows-1250", "windows-1250", WESTERN),
    ],
    ids=["cp949", "utf-16-le", "utf-16-be", "utf-8 with mark", "windows-1252", "windows-1250"],
)
def test_csv_in_another_encoding_is_read_and_its_encoding_is_said(
    tmp_path: Path, data: bytes, named: str | None, read: str, text: str
) -> None:
    (tmp_path / "list.csv").write_bytes(data)
    with workbook.open_sheets([tmp_path / "list.csv"], encoding=named) as sheets:
        rows = [row.cells for row in sheets[0].rows()]
        notes = [note.params["encoding"] for note in workbook.encodings_read(sheets)]
    expected = text.replace("Łódź", "Köln") if read == "windows-1252" else text
    assert rows == [tuple(line.split(",")) for line in expected.splitlines()]
    assert notes == ([] if read == "utf-8" else [read.upper()])


@pytest.mark.parametrize("encoding", ["cp949", "utf-16"])
def test_long_file_is_decoded_in_parts(tmp_path: Path, encoding: str) -> None:
    """Odd line lengths, so that parts end within characters."""
    file = tmp_path / "list.csv"
    file.write_bytes(
        "".join(["이름,지역\n", *(f"공장{'x' * (i % 7)},울산\n" for i in range(100_000))]).encode(encoding)
    )
    tracemalloc.start()
    with workbook.open_sheets([file]) as [sheet]:
        count = sum(1 for row in sheet.rows() if row.cells[1] == "울산")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (sheet.encoding, count) == (encoding, 100_000)
    assert peak < 2**20 < file.stat().st_size


def test_undecodable_byte_is_named_by_its_position_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes("이".encode() * 700_000 + b"\xe9 ")
    with pytest.raises(UnreadableSheet) as caught, workbook.open_sheets([file]):
        pass
    problem = caught.value.params["why"]
    assert isinstance(problem, ImportText)
    assert problem.params["position"] == 2_100_000


def test_parts_of_any_name_may_not_define_entities(tmp_path: Path) -> None:
    """A file names the part that has its texts, so that an entity could stand in one that looks like a picture."""
    file = tmp_path / "a.xlsx"
    with zipfile.ZipFile(io.BytesIO(xlsx(["a"]))) as old, zipfile.ZipFile(file, "w") as new:
        for info in old.infolist():
            new.writestr(info, old.read(info))
        new.writestr("xl/media/texts.png", b'<!DOCTYPE x [<!ENTITY e "ha">]><sst><si><t>&e;</t></si></sst>')
    with pytest.raises(UnreadableSheet) as error, workbook.open_sheets([file]):
        pass
    assert problem_of(error.value) == "xlsx-doctype"


def test_row_of_a_csv_file_with_very_many_columns_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("Deal,Amount\n" + "x," * 20_000 + "x\n")
    with pytest.raises(UnreadableSheet) as error, workbook.open_sheets([file]) as sheets:
        list(sheets[0].rows())
    assert problem_of(error.value) == "csv-syntax"
