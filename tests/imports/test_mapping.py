"""Mappings: each kind of value and block becomes the right event, and every error names its line and key."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import openpyxl
import pycountry
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import BadMapping
from registry.i18n import LANGUAGES, Message, render
from registry.imports import mapping as mappings
from registry.imports import values, workbook
from registry.imports.column_meanings import MEANINGS, name_of_field
from registry.imports.describe import describe
from registry.imports.mapping import Mapping
from registry.imports.messages import ImportText
from registry.imports.tracker.notes import notes_of
from registry.imports.tracker.plan import Plan, make_plan
from registry.imports.tracker.registry import KnownDeal, SetBy
from registry.imports.values import ValueProblem
from registry.imports.workbook import Sheet
from tests.i18n.codes import catalogue_texts
from tests.imports.conftest import MAPPINGS

HEAD = """
scheme = "x"
[source]
publisher = "P"
[deal]
key = "Id"
slug = "x-"
title = { column = "Name" }
"""


class Nothing:
    """A registry without deals."""

    def recorded(self, ids: Collection[UUID]) -> set[UUID]:
        return set()

    def deals(self, scheme: str, keys: Collection[str], on: date) -> dict[str, KnownDeal]:
        return {}

    def keys(self, scheme: str) -> Iterator[tuple[str, str]]:
        return iter(())

    def set_by(self, slug: str, on: date) -> dict[str, SetBy]:
        return {}

    def event(self, id: UUID) -> dict[str, Any]:
        return {}


_plans: list[Plan] = []


@pytest.fixture(autouse=True)
def _closed_plans() -> Iterator[None]:
    yield
    while _plans:
        _plans.pop().spool.close()


def planned(sheets: list[Sheet], mapping: Mapping) -> Plan:
    made = make_plan(sheets, mapping, date(2026, 5, 20), Nothing(), {})
    assert made is not None
    _plans.append(made)
    return made


def plan(folder: Path, mapping: str, *rows: str, **more: str) -> Plan:
    """The plan of a sheet of these rows; `more` are joined sheets by name."""
    files = [folder / "main.csv", *(folder / f"{name}.csv" for name in more)]
    for file, text in zip(files, ("\n".join(rows), *more.values()), strict=True):
        file.write_text(text, "utf-8")
    with workbook.open_sheets(files) as sheets:
        return planned(sheets, mappings.parse(mapping))


def events(folder: Path, mapping: str, *rows: str, **more: str) -> dict[str, dict[str, Any]]:
    """The announcements of a sheet by the type of their event."""
    made = plan(folder, mapping, *rows, **more)
    assert made.errors == []
    lines = [msgspec.json.decode(line.line) for line in made.lines()]
    return {line["event"].pop("type"): line for line in lines}


def problems(text: str) -> list[tuple[int, str, str]]:
    """The line, the key and the code of each problem of a mapping."""
    with pytest.raises(BadMapping) as caught:
        mappings.parse(text, "m.toml")
    found: list[tuple[int, str, str]] = []
    rest: object = caught.value.params["reason"]
    while isinstance(rest, ImportText):
        is_last = rest.code != "mapping-problems"
        first = rest if is_last else rest.params["first"]
        rest = None if is_last else rest.params["rest"]
        assert isinstance(first, ImportText)
        inner = first.params["problem"]
        assert isinstance(inner, ImportText)
        found.append((int(str(first.params["line"])), str(first.params["key"]), inner.code))
    return found


def test_every_error_of_a_mapping_has_its_line_and_key() -> None:
    text = (
        HEAD + '[[pledge]]\npledge = "p"\namuont = "1"\n[[party]]\nrole = "boss"\n[[site]]\nplace = { colunm = "S" }\n'
    )
    assert sorted(problems(text + "[extra]\n")) == [
        (11, "pledge[0].amuont", "mapping-unknown-similar"),
        (12, "party[0]", "mapping-key-missing"),
        (13, "party[0].role", "mapping-choice"),
        (14, "site[0]", "mapping-key-missing"),
        (15, "site[0].place.colunm", "mapping-unknown-similar"),
        (16, "extra", "mapping-unknown"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('scheme = "x"', "", "mapping-key-missing"),
        ('key = "Id"', "", "mapping-key-missing"),
        ('slug = "x-"', 'slug = "X"', "mapping-slug"),
        ('[source]\npublisher = "P"', "", "mapping-key-missing"),
        ('title = { column = "Name" }', "", "mapping-key-missing"),
        ('title = { column = "Name" }', 'title = { column = "Name", remove = "(" }', "mapping-regex"),
        ('title = { column = "Name" }', 'title = { column = "Name", remove = "(a+)+$" }', "mapping-regex-repeats"),
        ('title = { column = "Name" }', 'title = { column = "Name", only = "(a|b?)*x" }', "mapping-regex-repeats"),
        ('title = { column = "Name" }', 'title = { column = "Name", only = "(?:a+){30}x" }', "mapping-regex-repeats"),
        ('title = { column = "Name" }', 'title = { column = "Name", split = ".*.*.*.*x" }', "mapping-regex-repeats"),
        ('title = { column = "Name" }', 'title = { column = "Name", join = "j" }', "mapping-unknown"),
        (
            'title = { column = "Name" }',
            'title = "T"\neffective_on = { column = "D", on_change = "world" }',
            "mapping-date-policy",
        ),
        ('title = { column = "Name" }', 'title = "T"\non_change = "never"', "mapping-choice"),
    ],
)
def test_unusable_mapping_is_rejected(old: str, new: str, code: str) -> None:
    assert code in {problem for _, _, problem in problems(HEAD.replace(old, new))}


def test_text_that_is_not_toml_is_rejected() -> None:
    with pytest.raises(BadMapping):
        mappings.parse("[sheets")


@pytest.mark.parametrize("file", sorted(MAPPINGS.glob("*.toml")), ids=lambda file: file.stem)
def test_mapping_in_the_docs_is_valid(file: Path) -> None:
    assert mappings.parse(file.read_text("utf-8"), file.name).blocks


def test_blocks_become_events_with_their_fields(tmp_path: Path) -> None:
    blocks = """
effective_on = { column = "Announced" }
[deal.classifications]
technology = { column = "Tech", split = ";" }
[[pledge]]
pledge = "total"
amount = { column = "USD m", times = "1000000" }
currency = "USD"
figure = "estimated"
price_year = 2023
by = { column = "Owner", split = ";" }
horizon = { until = { column = "Until" } }
[[metric]]
metric = "jobs"
basis = "planned"
value = { column = "Jobs" }
date = { column = "Until" }
[[incentive]]
incentive = "grant"
kind = "grant"
amount = { column = "Grant" }
[[status]]
stage = { column = "Status", table = { Building = "construction" } }
"""
    header = "Id,Name,Announced,Tech,USD m,Owner,Until,Jobs,Grant,Status"
    row = '1,A plant,Q3 2024,Solar; Storage,"1,200.5",Alpha; 베타,2030,800,more than $5 million,Building'
    found = events(tmp_path, HEAD + blocks, header, row)
    beta = values.slugify("베타")
    assert found["deal_registered"]["date"] == "2024-35"
    assert found["deal_registered"]["event"]["classifications"] == {"technology": ["Solar", "Storage"]}
    assert found["pledge_announced"]["event"] == {
        "pledge": "total",
        "amount": {"value": "1200500000", "currency": "USD", "figure": "estimated", "price_year": 2023},
        "by": ["alpha", beta],
        "horizon": {"until": "2030"},
    }
    assert found["metric_reported"]["event"] == {"metric": "jobs", "basis": "planned", "value": "800", "date": "2030"}
    assert found["metric_reported"]["effective_on"] == "2026-05-20"
    amount = found["incentive_granted"]["event"]["amount"]
    assert amount == {"value": "5000000", "currency": "USD", "qualifier": "more_than"}
    assert found["status_observed"]["event"] == {"stage": "construction"}
    assert found["deal_identified"]["event"] == {"identifiers": [{"scheme": "x", "value": "1"}]}
    assert {line["sources"][0]["published_on"] for line in found.values()} == {"2026-05-20"}


def test_amount_in_words_has_the_currency_that_it_names_or_that_of_the_mapping(tmp_path: Path) -> None:
    constant = '[[pledge]]\npledge = "all"\namount = { column = "Capex" }\ncurrency = "USD"\n'
    column = constant.replace('"USD"', '{ column = "Currency" }')
    row = "Id,Name,Capex,Currency"
    for block, capex, currency, amount in (
        (column, "3조 5천억", "KRW", {"value": "3500000000000", "currency": "KRW"}),
        (constant, "약 3억", "", {"value": "300000000", "currency": "USD", "qualifier": "about"}),
        (constant, "2조 원", "", {"value": "2000000000000", "currency": "KRW"}),
    ):
        found = events(tmp_path, HEAD + block, row, f"1,A plant,{capex},{currency}")
        assert found["pledge_announced"]["event"]["amount"] == amount
    made = plan(tmp_path, HEAD + column, row, "1,A plant,3조 5천억,")
    [error] = made.errors
    assert (error.at, error.problem.code) == ("main!C2", "field-invalid")


def test_note_about_missing_rows_tells_keys_with_commas_apart(tmp_path: Path) -> None:
    made = plan(tmp_path, HEAD, "Id,Name", "1,A plant")
    made.gone = ["Alpha, 2", "Beta"]
    [keys] = [note.params["keys"] for note in notes_of(made) if note.code == "rows-gone"]
    assert keys == '"Alpha, 2", Beta'


def test_further_source_is_cited_where_the_row_has_one(tmp_path: Path) -> None:
    mapping = HEAD.replace("[source]", "[[source]]") + '\n[[source]]\nurl = { column = "Url" }\n'
    mapping = mapping.replace("[deal]", '[[source]]\nurl = { column = "Url" }\n[deal]', 1).rpartition("[[source]]")[0]
    found = events(tmp_path, mapping, "Id,Name,Url", "1,A,https://a.example/1")
    assert [source.get("url") for source in found["deal_registered"]["sources"]] == [None, "https://a.example/1"]
    assert len(events(tmp_path, mapping, "Id,Name,Url", "1,A,")["deal_registered"]["sources"]) == 1


def test_joined_sheet_gives_the_row_with_the_largest_number(tmp_path: Path) -> None:
    blocks = """
[[site]]
site = "s"
power_mw = { join = "steps", column = "MW" }
[joins.steps]
sheet = "steps"
key = "Plant"
matches = ["Name"]
largest = "MW"
"""
    found = events(tmp_path, HEAD + blocks, "Id,Name", "1,A", steps="Plant,MW\nA,5\nA,90\nA,7\nB,100")
    assert found["site_announced"]["event"]["power_mw"] == "90"


def test_rows_are_skipped_and_blocks_apply_by_conditions(tmp_path: Path) -> None:
    blocks = '[[stage]]\nstage = "operating"\nwhen = { column = "Running", equals = ["yes"] }\n'
    blocks += '[[skip]]\ncolumn = "Name"\nequals = ["Total"]\n'
    made = plan(tmp_path, HEAD + blocks, "Id,Name,Running", "1,A,yes", "2,B,no", "3,Total,yes")
    types = [msgspec.json.decode(line.line)["event"]["type"] for line in made.lines()]
    assert (made.rows, made.skipped, types.count("deal_registered"), types.count("stage_changed")) == (3, 1, 2, 1)


def test_keys_that_read_alike_have_slugs_of_their_own(tmp_path: Path) -> None:
    made = plan(tmp_path, HEAD, "Id,Name", "a.1,A", "a-1,B", "가,C")
    slugs = {line.slug for line in made.lines()}
    assert len(slugs) == 3


def test_sheets_that_the_mapping_does_not_name_are_not_read(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    other = book.active
    assert other is not None
    other.append(["Id", "#REF!"])
    other.append(["=1/0", "#N/A"])
    main = book.create_sheet("Plants")
    for row in (["A list"], [], ["Id", "Name", "Note"], [1, "A", "=2+2"]):
        main.append(row)
    book.save(tmp_path / "book.xlsx")
    with workbook.open_sheets([tmp_path / "book.xlsx"]) as sheets:
        mapping = mappings.parse(HEAD + '[sheet]\nname = "plants"\n')
        made = planned(sheets, mapping)
    assert (made.sheet, made.rows, made.errors) == ("Plants", 1, [])


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sign", "number"),
    [("1,200", ".", "1200"), ("1 200.5", ".", "1200.5"), ("1.200,5", ",", "1200.5"), ("1e3", ".", "1000")],
)
def test_number_is_read_with_its_separators(text: str, sign: str, number: str) -> None:
    assert values.decimal_text(text, sign, None) == number


@pytest.mark.parametrize(("text", "sign"), [("1,20", "."), ("1.20.0", ","), ("12 MW", "."), ("-5", "."), ("", ".")])
def test_ambiguous_number_is_refused(text: str, sign: str) -> None:
    with pytest.raises(ValueProblem):
        values.decimal_text(text, sign, None)


@pytest.mark.parametrize(
    ("text", "loose", "day"),
    [
        ("2025-10-29", "2025-10-29", "2025-10-29"),
        ("29.10.2025", "2025-10-29", "2025-10-29"),
        ("2025-10-29T00:00:00", "2025-10-29", "2025-10-29"),
        ("2025-02", "2025-02", "2025-02-28"),
        ("2025-Q3", "2025-35", "2025-09-30"),
        ("Q1 2025", "2025-33", "2025-03-31"),
        ("2025년 4분기", "2025-36", "2025-12-31"),
        ("H2 2025", "2025-07/2025-12", "2025-12-31"),
        ("2025 h1", "2025-01/2025-06", "2025-06-30"),
        ("Dec. 2025", "2025-12", "2025-12-31"),
        # A format without a day states none.
        ("02/2025", "2025-02", "2025-02-28"),
        ("2025", "2025", "2025-12-31"),
        # A report of something done cannot be about the future.
        ("2026", "2026", "2026-05-20"),
        ("2027", "2027", "2027-12-31"),
    ],
)
def test_loose_date_holds_from_its_last_possible_day(text: str, loose: str, day: str) -> None:
    read = values.loose_date(text, ("%Y-%m-%d", "%d.%m.%Y", "%m/%Y"))
    assert (read, values.effective_day(read, date(2026, 5, 20)).isoformat()) == (loose, day)


@pytest.mark.parametrize("text", ["maybe 2026", "early 2026", "Planned 2026", "H3 2026", "FY2026"])
def test_text_with_a_year_in_it_is_no_date(text: str) -> None:
    with pytest.raises(ValueProblem):
        values.loose_date(text, ("%Y-%m-%d",))


STATES = sorted(code.code.partition("-")[2] for code in pycountry.subdivisions.get(country_code="US"))  # type: ignore[no-untyped-call]


@given(st.sampled_from(STATES))
@settings(max_examples=len(STATES))
def test_bare_us_state_code_is_never_a_country(state: str) -> None:
    """Property 47, for imports through a mapping."""
    assert values.place_code(state, "US") == f"US-{state}"
    with pytest.raises(ValueProblem):
        values.place_code(state, None)


@pytest.mark.parametrize(
    ("text", "country", "code"),
    [
        ("Georgia", "US", "US-GA"),
        ("Korea, Republic of", None, "KR"),
        ("KR-31", None, "KR-31"),
        ("KOR", None, "KR"),
        ("United States", "US", "US"),
        ("Korea (Republic of)", None, "KR"),
        ("대한민국", None, "KR"),
        ("The Netherlands", None, "NL"),
        ("Turkey", None, "TR"),
        ("UK", None, "GB"),
        ("Cote d’Ivoire", None, "CI"),
        ("Congo (the Democratic Republic of the)", None, "CD"),
    ],
)
def test_place_is_read_by_code_or_name(text: str, country: str | None, code: str) -> None:
    assert values.place_code(text, country) == code


def test_every_country_is_read_by_its_codes_and_names_in_iso_3166() -> None:
    for country in pycountry.countries:
        names = (country.alpha_3, country.numeric, country.name, getattr(country, "official_name", country.name))
        for name in names:
            if name.casefold() not in AMBIGUOUS:
                assert values.place_code(name, None) == country.alpha_2


AMBIGUOUS = {code.name.casefold() for code in pycountry.subdivisions.get(country_code="US")}  # type: ignore[no-untyped-call]
"""States and territories of the US of whose name there is a country, too."""


@pytest.mark.parametrize(("text", "country"), [("Georgia", None), ("KR-99", None), ("ON", "US"), ("Atlantis", None)])
def test_ambiguous_or_unknown_place_is_refused(text: str, country: str | None) -> None:
    with pytest.raises(ValueProblem):
        values.place_code(text, country)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [("LG화학", "LG에너지솔루션"), ("Alpha " * 12 + "East", "Alpha " * 12 + "West"), ("甲 AI", "乙 AI")],
)
def test_names_that_share_only_what_a_slug_can_have_are_two(one: str, other: str) -> None:
    slugs = values.slugify(one), values.slugify(other)
    assert len(set(slugs)) == 2
    assert all(len(slug) <= values.MAX_SLUG_LENGTH for slug in slugs)


@pytest.mark.parametrize(("name", "slug"), [("Société Générale", "societe-generale"), ("Ørsted A/S", "orsted-a-s")])
def test_slug_has_the_letters_without_accents(name: str, slug: str) -> None:
    assert values.slugify(name) == slug


def test_value_that_does_not_fit_is_reported_in_words(tmp_path: Path) -> None:
    text = HEAD.replace("[source]", "[[source]]").replace("[deal]", '[[source]]\nurl = { column = "Link" }\n[deal]')
    made = plan(tmp_path, text, "Id,Name,Link", "1,Plant,see the website")
    [error] = made.errors
    assert (error.at, error.value, error.problem.code) == ("main!C2", "see the website", "field-invalid")
    assert "regex" not in str(error.problem)


# --- drafts -----------------------------------------------------------------------------------------------------------


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
