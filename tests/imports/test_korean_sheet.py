"""A sheet as a Korean agency keeps it: a preamble, a header in two rows, Korean dates, places and units."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import openpyxl
import pytest

from registry.imports import mapping as mappings
from registry.imports import values, workbook
from registry.imports.describe import describe
from tests.imports.plans import planned

ROWS: list[list[Any]] = [
    ["2026년 상반기 국내 AI 인프라 투자 현황"],
    ["작성: 투자유치팀 (2026. 6. 30.)"],
    [],
    ["연번", "기업", "사업 개요", None, None, "투자 규모", None, None, "일정", None, "비고"],
    [None, None, "사업명", "지역", "단계", "투자금액(억원)", "전력(MW)", "고용(명)", "발표일", "준공 예정", "링크"],
    [1, "(주)알파", "울산 센터", "울산광역시", "착공", "1,200", 103, 350, "2025. 6. 16.", "2027년 11월", ""],
    [2, "베타; 감마", "평택 공장", "경기도", "발표", "=1000*9", "", "미정", "2025년 3월 2일", "2028", ""],
    [],
    [3, "델타", "인천 리전", "인천", "협약", "5,600.5", 41, "1,000", date(2025, 10, 29), "2029년 상반기", ""],
]


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    book = openpyxl.Workbook()
    table = book.active
    assert table is not None
    for row in ROWS:
        table.append(row)
    for cells in ("A1:K1", "A4:A5", "B4:B5", "C4:E4", "F4:H4", "I4:J4"):
        table.merge_cells(cells)
    file = tmp_path / "현황.xlsx"
    book.save(file)
    return file


def test_draft_reads_a_korean_sheet_without_a_change(sheet: Path) -> None:
    with workbook.open_sheets([sheet]) as sheets:
        made = planned(sheets, mappings.parse(describe(sheets).mapping))
    assert made.errors == []
    bodies = [msgspec.json.decode(line.line) for line in made.lines()]
    amounts = [one["event"]["amount"] for one in bodies if one["event"]["type"] == "pledge_announced"]
    assert amounts == [{"value": "120000000000", "currency": "KRW"}, {"value": "560050000000", "currency": "KRW"}]
    places = [one["event"]["place"] for one in bodies if one["event"]["type"] == "site_announced"]
    assert places == ["KR-31", "KR-41", "KR-28"]
    planned_for = [one["event"]["planned"] for one in bodies if one["event"]["type"] == "milestone_scheduled"]
    assert planned_for == ["2027-11", "2028", "2029-01/2029-06"]


@pytest.mark.parametrize("key", ["합계", "합 계", "소계", "Grand total", "TOTAL", "※ 2026년 6월 기준"])
def test_row_of_totals_and_footnote_are_no_deals(tmp_path: Path, key: str) -> None:
    rows = ["연번,사업명,기업,투자규모(억원)", "1,울산 센터,알파,100", "2,평택 공장,베타,200"]
    (tmp_path / "list.csv").write_text("\n".join((*rows, f"{key},,,300")), "utf-8")
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        mapping = mappings.parse(describe(sheets).mapping)
        made = planned(sheets, mapping)
    assert mapping.key_columns == (("연번",),)
    assert [(error.at, error.problem.code) for error in made.errors] == [("list!A4", "key-no-deal")]
    events = [msgspec.json.decode(line.line)["event"] for line in made.lines()]
    assert [one["amount"]["value"] for one in events if "amount" in one] == ["10000000000", "20000000000"]


def test_header_in_two_rows_has_the_names_of_both(sheet: Path) -> None:
    with workbook.open_sheets([sheet]) as [only]:
        table = only.table(header_row=5)
    assert table is not None
    assert table.header[:4] == ("연번", "기업", "사업명", "지역")


@pytest.mark.parametrize(
    ("text", "edtf"),
    [
        ("2025. 6. 16.", "2025-06-16"),
        ("2025.10.29", "2025-10-29"),
        ("2025년 3월 2일", "2025-03-02"),
        ("2027년 11월", "2027-11"),
        ("2027. 3.", "2027-03"),
        ("2024년", "2024"),
        ("2029년 상반기", "2029-01/2029-06"),
        ("2029년 하반기", "2029-07/2029-12"),
        ("2025년 3분기", "2025-35"),
    ],
)
def test_korean_date_is_read_with_its_precision(text: str, edtf: str) -> None:
    assert values.loose_date(text, ("%Y-%m-%d",)) == edtf


@pytest.mark.parametrize("text", ["2025.3", "2025년 13월", "6월 16일", "2025. 2. 30."])
def test_text_that_is_no_korean_date_is_refused(text: str) -> None:
    with pytest.raises(values.ValueProblem):
        values.loose_date(text, ("%Y-%m-%d",))


@pytest.mark.parametrize(
    ("text", "code"),
    [("서울특별시", "KR-11"), ("충청북도", "KR-43"), ("전북특별자치도", "KR-45"), ("제주", "KR-49"), ("경남", "KR-48")],
)
def test_korean_place_is_read_by_its_long_and_short_name(text: str, code: str) -> None:
    assert values.place_code(text, None) == code
    assert values.place_code(text, "KR") == code


def test_korean_city_is_no_province() -> None:
    with pytest.raises(values.ValueProblem):
        values.place_code("광주시", None)
