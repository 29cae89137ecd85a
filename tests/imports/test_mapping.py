"""Mappings: each kind of value and block becomes the right event, and every error names its line and key.

Every kind of value and block is read in this file; hence its length.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import openpyxl
import psutil
import pycountry
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import BadMapping
from registry.imports import mapping as mappings
from registry.imports import values, workbook
from registry.imports.messages import ImportText
from registry.imports.tracker.notes import notes_of
from registry.imports.tracker.plan import Plan, make_plan
from registry.imports.values import ValueProblem
from tests.imports.conftest import MAPPINGS
from tests.imports.plans import Nothing, planned

HEAD = """
scheme = "x"
[source]
publisher = "P"
[deal]
key = "Id"
slug = "x-"
title = { column = "Name" }
"""


def plan(folder: Path, mapping: str, *rows: str, **more: str) -> Plan:
    """The plan of a sheet of these rows; `more` are joined sheets by name."""
    files = [folder / "main.csv", *(folder / f"{name}.csv" for name in more)]
    for file, text in zip(files, ("\n".join(rows), *more.values()), strict=True):
        file.write_text(text, "utf-8")
    with workbook.open_sheets(files) as sheets:
        return planned(sheets, mappings.parse(mapping))


def test_plan_that_is_stopped_leaves_no_file_open(tmp_path: Path) -> None:
    def stop(rows: int) -> None:
        raise InterruptedError

    (tmp_path / "main.csv").write_text("Id,Name\n1,A plant", "utf-8")
    with workbook.open_sheets([tmp_path / "main.csv"]) as sheets:
        before = psutil.Process().num_fds()
        # The error keeps the frames, so that only what was closed is closed.
        with pytest.raises(InterruptedError) as error:
            make_plan(sheets, mappings.parse(HEAD), date(2026, 5, 20), Nothing(), {}, stop)
        assert psutil.Process().num_fds() <= before
    del error


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
