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
        made = planned(sheets, mappings.parse(describe(sheets).mapping))
    assert [(error.at, error.problem.code) for error in made.errors] == [("list!A4", "key-no-deal")]
    events = [msgspec.json.decode(line.line)["event"] for line in made.lines()]
    assert [one["amount"]["value"] for one in events if "amount" in one] == ["10000000000", "20000000000"]


STATED_IN_EOK = (
    "2026년 투자유치 현황",
    ",,,,,,(단위: 억원)",
    "연번,업체명,소재지,업종,투자규모,협약일,비고",
    '1,알파전자,울산광역시 남구,반도체,"1,200",2025. 6. 16.,신규',
    "2,베타화학,경기도 평택시,화학,350,2025.7.2.,증설",
    "3,감마,전라남도 여수시,이차전지,80.5,2025-08-11,",
    "4,알파전자,충청남도 천안시,반도체,900,2025. 9. 1.,",
    '합계,3개사,,,"2,530.5",,',
)


def test_unit_above_a_table_is_that_of_its_amounts(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("\n".join(STATED_IN_EOK), "utf-8")
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        mapping = mappings.parse(describe(sheets).mapping)
        made = planned(sheets, mapping)
    # The serial number identifies no deal, and the row of totals, whose cell of the key is filled, is none.
    assert mapping.key_columns == (("업체명",), ("소재지",))
    assert [(error.at, error.problem.code) for error in made.errors] == [("list!A8", "key-no-deal")]
    lines = [msgspec.json.decode(line.line) for line in made.lines()]
    assert {line["effective_on"] for line in lines} == {"2025-06-16", "2025-07-02", "2025-08-11", "2025-09-01"}
    events = [line["event"] for line in lines]
    assert [one["amount"] for one in events if "amount" in one] == [
        {"value": value, "currency": "KRW"} for value in ("120000000000", "35000000000", "8050000000", "90000000000")
    ]
    sites = [(one["place"], one["address"]) for one in events if "address" in one]
    assert sites[:2] == [("KR-31", "울산광역시 남구"), ("KR-41", "경기도 평택시")]
    parties = [one["parties"][0]["name"] for one in events if "parties" in one]
    assert parties == [{"ko": name} for name in ("알파전자", "베타화학", "감마", "알파전자")]
    assert [one["summary"] for one in events if "summary" in one] == [{"ko": "신규"}, {"ko": "증설"}]


@pytest.mark.parametrize(
    ("above", "header", "times", "currency"),
    [
        ("(단위: 억원)", "금액", "100000000", "KRW"),
        ("[단위 : 백만달러, 명]", "투자규모", "1000000", "USD"),
        ("단위：천 유로", "금액", "1000", "EUR"),
        ("(단위: 원)", "금액", None, "KRW"),
        ("(Unit: USD million)", "Amount", "1000000", "USD"),
        # The header's own unit is nearer; of two units above the table, it is not known which one is meant.
        ("(단위: 억원)", "투자금액(천달러)", "1000", "USD"),
        ("(단위: 억원)", "지원 투자액(백만원)", "1000000", "KRW"),
        ("(단위: 억원 / 백만달러)", "금액", None, "KRW"),
        ("(단위: 명)", "금액", None, "KRW"),
        ("", "금액(억)", "100000000", "KRW"),
        ("", "총사업비(십억원)", "1000000000", "KRW"),
    ],
)
def test_unit_of_amounts_is_read(tmp_path: Path, above: str, header: str, times: str | None, currency: str) -> None:
    rows = [f'"{above}"', f'번호,업체,"{header}",체결일', "1,알파,120,2025-03-02", '2,베타,"1,350",2025-04-12']
    (tmp_path / "list.csv").write_text("\n".join(rows), "utf-8")
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        mapping = mappings.parse(describe(sheets).mapping)
        made = planned(sheets, mapping)
    assert (made.errors, mapping.key_columns) == ([], (("업체",),))
    events = [msgspec.json.decode(line.line)["event"] for line in made.lines()]
    amounts = [{"value": str(number * int(times or 1)), "currency": currency} for number in (120, 1350)]
    assert [one["amount"] for one in events if "amount" in one] == amounts


@pytest.mark.parametrize("number", ["연번", "번호", "No.", "순번"])
def test_serial_number_is_the_key_only_where_nothing_else_is(tmp_path: Path, number: str) -> None:
    rows = (f"{number},업체,금액(억원)", "1,알파,10", "2,알파,20")
    (tmp_path / "list.csv").write_text("\n".join(rows), "utf-8")
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        draft = describe(sheets)
    assert mappings.parse(draft.mapping).key_columns == ((number,),)
    assert draft.guesses[0].code == "no-unique-column"


@pytest.mark.parametrize("header", ["국비 지원금액", "본사 소재지", "기업코드", "투자보조금(억원)"])
def test_column_about_something_else_is_not_in_the_draft(tmp_path: Path, header: str) -> None:
    rows = (f"사업명,{header}", "가,서울", "나,서울") if "소재지" in header else (f"사업명,{header}", "가,1", "나,1")
    (tmp_path / "list.csv").write_text("\n".join(rows), "utf-8")
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        draft = describe(sheets)
    without = [guess.params["column"] for guess in draft.guesses if guess.code == "without-place"]
    assert without == [header]


def test_company_named_total_is_no_row_of_totals(tmp_path: Path) -> None:
    rows = ("Company,Project ID,Capex (USD million)", "Total,P1,10", "Alpha,P2,20", "Beta,P3,30", "Sub total,,60")
    (tmp_path / "list.csv").write_text("\n".join(rows), "utf-8")
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        made = planned(sheets, mappings.parse(describe(sheets).mapping))
    assert [error.at for error in made.errors] == ["list!A5"]
    assert len({msgspec.json.decode(line.line)["deal"] for line in made.lines()}) == 3


@pytest.mark.parametrize(
    ("row", "is_deal"),
    [
        ("Total,Antwerp refinery,BE,10", True),
        ("TOTAL,Antwerp refinery,,10", True),
        ("Total,,BE,10", True),
        ("Total,,,10", False),
        ("Total,3 plants,,10", False),
        ("Total,Total,-,10", False),
        ("Subtotal,Antwerp,BE,10", False),
        ("합계,울산,KR-31,10", False),
    ],
)
def test_deal_with_the_key_total_has_another_name_than_a_row_of_totals(tmp_path: Path, row: str, is_deal: bool) -> None:
    rows = ("Company,Plant,Place,Capex (USD million)", "Alpha,One,JP,4", "Beta,Two,FR,6", row)
    (tmp_path / "list.csv").write_text("\n".join(rows), "utf-8")
    mapping = mappings.parse(
        'scheme = "list"\n[[source]]\ntitle = "A list"\n[deal]\nslug = "list-"\nkey = { column = "Company" }\n'
        'title = { column = "Company" }\n'
        '[[site]]\nsite = "plant"\nname = { column = "Plant" }\nplace = { column = "Place", empty = ["-"] }\n'
        '[[pledge]]\npledge = "all"\namount = { column = "Capex (USD million)", times = "1000000" }\ncurrency = "USD"\n'
    )
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        made = planned(sheets, mapping)
    deals = {msgspec.json.decode(line.line)["deal"] for line in made.lines()}
    assert [(error.at, error.problem.code) for error in made.errors] == (
        [] if is_deal else [("list!A4", "key-no-deal")]
    )
    assert len(deals) == (3 if is_deal else 2)


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
