"""The draft of a mapping that is guessed from a sheet: columns, keys, titles, numbers, and what it asks about."""

from __future__ import annotations

from pathlib import Path

import msgspec
import openpyxl
import pytest

from registry.i18n import LANGUAGES, Message, render
from registry.imports import mapping as mappings
from registry.imports import workbook
from registry.imports.column_meanings import MEANINGS, name_of_field
from registry.imports.describe import describe
from registry.imports.messages import ImportText
from tests.i18n.codes import catalogue_texts
from tests.imports.plans import planned


def test_draft_of_a_mapping_is_a_mapping(tmp_path: Path) -> None:
    rows = [
        "A list of plants",
        "",
        "Plant ID,Project,Owner,State,Capex (million),Announced,Status,Colour,Website",
        *(
            f"P{i},Plant {i},Owner {i % 3},TX,{i}.5,2024-0{i}-01,{'Operating' if i < 8 else 'n/a'},red,https://a.example/{i}"
            for i in range(1, 9)
        ),
    ]
    (tmp_path / "plants.csv").write_text("\n".join(rows), "utf-8")
    with workbook.open_sheets([tmp_path / "plants.csv"]) as sheets:
        draft = describe(sheets)
        mapping = mappings.parse(draft.mapping)
        made = planned(sheets, mapping)
    assert made.errors == []
    types = {msgspec.json.decode(line.line)["event"]["type"] for line in made.lines()}
    assert types == {
        "deal_registered",
        "deal_identified",
        "parties_joined",
        "site_announced",
        "pledge_announced",
        "status_observed",
    }
    assert {guess.params["column"] for guess in draft.guesses if guess.code == "without-place"} == {"Colour"}


def test_draft_of_cells_with_line_breaks_is_a_mapping(tmp_path: Path) -> None:
    rows = [f'P{i},Plant {i},"first\nkey = ""x""\x0b"' for i in range(1, 9)]
    (tmp_path / "plants.csv").write_text("\n".join(['Plant ID,Project,"Notes\nof 2025"', *rows]), "utf-8")
    with workbook.open_sheets([tmp_path / "plants.csv"]) as sheets:
        draft = describe(sheets)
        made = planned(sheets, mappings.parse(draft.mapping))
    assert made.errors == []
    assert len({msgspec.json.decode(line.line)["deal"] for line in made.lines()}) == 8


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("meaning", sorted(MEANINGS))
def test_guessed_field_has_a_name_in_each_language(meaning: str, language: str) -> None:
    guess = ImportText("guessed", column="Column", field=name_of_field(meaning))
    texts = catalogue_texts(language, "label").keys() | catalogue_texts(language, "import").keys()
    field = name_of_field(meaning)
    assert {m.code for m in (field, *field.params.values()) if isinstance(m, Message)} <= texts
    assert meaning not in render(guess, language)


def test_draft_takes_no_title_from_a_column_of_few_names(tmp_path: Path) -> None:
    """Lists of facilities name the senators of their states."""
    rows = [
        "ID,Company,State,Senator: Name",
        *(f"P{i},Company {i % 20},TX,{'Ada Lane' if i % 2 else 'Bo Kim'}" for i in range(40)),
    ]
    (tmp_path / "plants.csv").write_text("\n".join(rows), "utf-8")
    with workbook.open_sheets([tmp_path / "plants.csv"]) as sheets:
        draft = describe(sheets)
        made = planned(sheets, mappings.parse(draft.mapping))
    found = [msgspec.json.decode(line.line)["event"] for line in made.lines()]
    assert [event["title"] for event in found if "title" in event][1] == {"en": "Company 1 (P1)"}
    assert [event["parties"][0]["organization"] for event in found if "parties" in event][1] == "company-1"
    assert {guess.params["column"] for guess in draft.guesses if guess.code == "without-place"} == {"Senator: Name"}


def test_draft_is_of_the_fullest_sheet_or_of_the_named_one(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    readme = book.active
    assert readme is not None
    readme.title = "Readme"
    readme.append(["About this list"])
    for name, width in (("Sites old", 4), ("Sites", 4), ("Articles", 2)):
        sheet = book.create_sheet(name)
        sheet.append(["ID", "Site name", "Country", "Investor"][:width])
        for i in range(5):
            sheet.append([f"{name}-{i}", f"Site {i}", "Kenya", "Alpha;Beta"][:width])
    file = tmp_path / "list.xlsx"
    book.save(file)
    with workbook.open_sheets([file]) as sheets:
        mapping = mappings.parse(describe(sheets).mapping)
        assert mapping.sheet.name == "Sites old"
        assert planned(sheets, mapping).sheet == "Sites old"
        # The name of one sheet may be a part of another one's.
        named = mappings.parse(describe(sheets, name="sites").mapping)
        made = planned(sheets, named)
    assert made.sheet == "Sites"
    assert made.errors == []
    parties = [msgspec.json.decode(line.line)["event"].get("parties") for line in made.lines()]
    assert {party["organization"] for some in parties for party in some or ()} == {"alpha", "beta"}


def test_draft_says_of_each_column_whether_it_is_in_it(tmp_path: Path) -> None:
    header = (
        "Id,Name,Reported cost,Estimated cost,Cost note,Power (MW),Peak power (MW),H100 equivalents,Source 1,Source 2"
    )
    rows = (
        f"{i},P {i},5{i},6{i},about $5m,3{i},4{i},70{i},https://a.example/{i},https://b.example/{i}" for i in range(9)
    )
    (tmp_path / "list.csv").write_text("\n".join((header, *rows)), "utf-8")
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        draft = describe(sheets)
    body = draft.mapping.partition("\nscheme = ")[2]
    for guess in draft.guesses:
        assert (f'"{guess.params["column"]}"' in body) == (guess.code == "guessed"), guess
    without = {str(guess.params["column"]) for guess in draft.guesses if guess.code == "without-place"}
    assert without == {"Estimated cost", "Cost note", "Peak power (MW)"}


def test_draft_reads_numbers_with_a_decimal_comma_and_power_in_kilowatts(tmp_path: Path) -> None:
    rows = ("ID;Name;Power (kW);Cores", *(f"S{i};System {i};1 {i}34,5{i};11 039 {i}16" for i in range(9)))
    (tmp_path / "list.csv").write_text("\n".join(rows), "utf-8")
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        made = planned(sheets, mappings.parse(describe(sheets).mapping))
    assert made.errors == []
    sites = [event for line in made.lines() if (event := msgspec.json.decode(line.line)["event"]).get("site")]
    assert [site["power_mw"] for site in sites[:2]] == ["1.0345", "1.13451"]


def test_draft_makes_a_title_where_the_column_of_names_is_empty(tmp_path: Path) -> None:
    rows = ("ID,Site name,Country", *(f"S{i},{f'Site {i}' if i % 2 else ''},Kenya" for i in range(9)))
    (tmp_path / "list.csv").write_text("\n".join(rows), "utf-8")
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        made = planned(sheets, mappings.parse(describe(sheets).mapping))
    assert made.errors == []
    events = [msgspec.json.decode(line.line)["event"] for line in made.lines()]
    titles = [event["title"]["en"] for event in events if event["type"] == "deal_registered"]
    assert titles[:2] == ["(S0)", "Site 1 (S1)"]


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("기업명,사업명,투자액(억원),담당자 전화번호", "사업명"),
        ("기업명,사업명,내선번호,우편번호", "사업명"),
        ("문서번호,관리번호,사업명,기업", "관리번호"),
        ("사업자등록번호,기업,사업명,접수번호", "접수번호"),
        ("업종코드,기업,사업명,투자액(억원)", "사업명"),
        ("Zip code,Company,Project,Capex (USD million)", "Project"),
        ("Ticker code,Company ID,Project,Capex (USD million)", "Project"),
        ("Phone code,Parcel ID,Project ID,Project name", "Project ID"),
        ("Contact e-mail,Company,Site,MW", "Site"),
        ("Parent ID,Project ID,ID,Project name", "ID"),
        ("Phone,Parcel ID,Company,MW", "Parcel ID"),
    ],
)
def test_key_is_the_column_that_identifies_deals(tmp_path: Path, header: str, key: str) -> None:
    """Every column is unique: those of contacts and of companies by chance."""
    rows = (",".join(f"{letter}-{i:03}" for letter in "ABCD") for i in range(40))
    (tmp_path / "list.csv").write_text("\n".join((header, *rows)), "utf-8")
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        assert mappings.parse(describe(sheets).mapping).key_columns == ((key,),)


def test_title_is_the_name_of_the_deal_rather_than_that_of_the_company(tmp_path: Path) -> None:
    rows = (f"{i},기업{i % 9},공장{i},031-{i}" for i in range(40))
    (tmp_path / "list.csv").write_text("\n".join(("접수번호,기업명,사업명,담당 기업 전화", *rows)), "utf-8")
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        made = planned(sheets, mappings.parse(describe(sheets).mapping))
    found = [msgspec.json.decode(line.line)["event"] for line in made.lines()]
    assert [list(event["title"].values()) for event in found if "title" in event][3] == ["공장3"]
    assert [event["parties"][0]["name"] for event in found if "parties" in event][3] in (
        {"ko": "기업3"},
        {"en": "기업3"},
    )


SITES = (
    "Name,City,Status,Capex (USD million),Notes",
    "Data centre,Ulsan,Planned,10,first of its kind",
    "Data centre,Busan,Planned,20,second",
    "Office,Ulsan,Running,30,third",
    "Office,Busan,Running,40,fourth",
)


def test_draft_combines_columns_where_none_identifies_each_row(tmp_path: Path) -> None:
    """Amounts and remarks are unique by chance."""
    (tmp_path / "list.csv").write_text("\n".join(SITES), "utf-8")
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        draft = describe(sheets)
        mapping = mappings.parse(draft.mapping)
        made = planned(sheets, mapping)
    assert mapping.key_columns == (("Name",), ("City",))
    assert [guess.params["columns"] for guess in draft.guesses if guess.code == "guessed-key"] == ["Name + City"]
    assert made.errors == []
    events = [msgspec.json.decode(line.line)["event"] for line in made.lines()]
    titles = [event["title"]["en"] for event in events if event["type"] == "deal_registered"]
    assert titles == ["Data centre, Ulsan", "Data centre, Busan", "Office, Ulsan", "Office, Busan"]
    assert {event["locality"] for event in events if event["type"] == "site_announced"} == {"Ulsan", "Busan"}


def test_combined_key_is_unique_over_the_whole_sheet(tmp_path: Path) -> None:
    """Not only over the rows from which the draft is made."""
    rows = [f"Plant {i // 2},{'Ulsan' if i % 2 else 'Busan'},Owner {i // 3 if i < 2500 else i}" for i in range(3000)]
    (tmp_path / "list.csv").write_text("\n".join(("Name,City,Company", *rows)), "utf-8")
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        assert mappings.parse(describe(sheets).mapping).key_columns == (("Name",), ("City",))
    (tmp_path / "list.csv").write_text("\n".join(("Name,City,Company", *rows, "Plant 1,Ulsan,Another")), "utf-8")
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        assert len(mappings.parse(describe(sheets).mapping).key_columns) == 3
    (tmp_path / "list.csv").write_text("\n".join(("Name,City,Company", *rows, rows[0])), "utf-8")
    with workbook.open_sheets([tmp_path / "list.csv"]) as sheets:
        assert describe(sheets).guesses[0].code == "no-unique-column"
