"""Sheets of announcements: each column is an event's field, each error has its cell, each row its own id."""

from __future__ import annotations

import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import msgspec
import openpyxl
import pytest
from msgspec import Struct, field

from registry.events.types import EVENT_TYPES, DealFact, EventCorrected, OrganizationFact, PledgeAnnounced, tag_of
from registry.i18n import Message
from registry.imports import announcements, workbook
from registry.imports.announcements import ParsedRow, RefusedRow, SkippedSheet
from registry.imports.columns import columns_of, header
from registry.imports.template import template_csv, template_xlsx
from registry.imports.workbook import CellError
from tests.imports.conftest import Import, LineResult, events_of_deals
from tests.imports.test_workbook import xlsx
from tests.service import Service


class Parsed(Struct):
    """The announcements of a file, what is wrong in its rows, and the sheets that are none of announcements."""

    rows: list[ParsedRow] = field(default_factory=list)
    errors: list[CellError] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def parsed(name: str, data: bytes) -> Parsed:
    result = Parsed()
    with TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(data)
        with workbook.open_sheets([file]) as sheets:
            for one in announcements.parse(sheets):
                match one:
                    case ParsedRow():
                        result.rows.append(one)
                    case RefusedRow():
                        result.errors += one.errors
                    case SkippedSheet():
                        result.skipped.append(one.name)
    return result


def parse(text: str, file: str = "deals.csv") -> Parsed:
    return parsed(file, text.encode())


def announced(text: str) -> list[dict[str, Any]]:
    found = parse(text)
    assert not found.errors, found.errors
    return [msgspec.json.decode(row.ndjson()) for row in found.rows]


def errors(text: str) -> list[tuple[str, str]]:
    """The cell of each error and the code of what is wrong in it; of a wrong field, the code of the field error."""
    return [(error.at, code_of(error.problem)) for error in parse(text).errors]


def code_of(problem: Message) -> str:
    inner = problem.params.get("problem")
    return code_of(inner) if isinstance(inner, Message) else problem.code


def test_row_becomes_an_announcement() -> None:
    [announcement] = announced(
        "deal,type,effective_on,source.publisher,source.url,source.published_on,source2.title,note,pledge,amount,by,"
        "horizon.until,purpose.ko\n"
        "aws-x,pledge_announced,2025-10-29,Times,https://a.example/1,2025-10-30,Paper,why,total,"
        '"more than $5 billion (₩7 trillion)",aws; sk,2031,인공지능'
    )
    assert announcement.pop("id")
    assert announcement == {
        "deal": "aws-x",
        "effective_on": "2025-10-29",
        "note": "why",
        "sources": [
            {"publisher": "Times", "url": "https://a.example/1", "published_on": "2025-10-30"},
            {"title": "Paper"},
        ],
        "event": {
            "type": "pledge_announced",
            "pledge": "total",
            "amount": {
                "value": "5000000000",
                "currency": "USD",
                "qualifier": "more_than",
                "stated_as": [{"value": "7000000000000", "currency": "KRW"}],
            },
            "by": ["aws", "sk"],
            "horizon": {"until": "2031"},
            "purpose": {"ko": "인공지능"},
        },
    }


@pytest.mark.parametrize(
    ("amount", "value", "basis"),
    [
        ("약 2조4천억 원", "2400000000000", None),
        ("연간 1천억 원", "100000000000", "annual"),
        ("another $5bn", "5000000000", "additional"),
    ],
)
def test_amount_is_parsed_with_its_basis(amount: str, value: str, basis: str | None) -> None:
    [announcement] = announced(f"deal,type,effective_on,pledge,amount\nx,pledge_announced,2025-01-01,p,{amount}")
    assert announcement["event"]["amount"]["value"] == value
    assert announcement["event"].get("amount_basis") == basis


def test_list_columns_have_one_value_for_all_or_one_each() -> None:
    [announcement] = announced(
        "deal,type,effective_on,parties.organization,parties.role,parties.name.ko\n"
        "x,parties_joined,2025-01-01,a; b,investor,가; 나"
    )
    assert announcement["event"]["parties"] == [
        {"organization": "a", "role": "investor", "name": {"ko": "가"}},
        {"organization": "b", "role": "investor", "name": {"ko": "나"}},
    ]


def test_null_clears_a_field_and_an_empty_cell_omits_it() -> None:
    [announcement] = announced("deal,type,effective_on,pledge,amount,commitment\nx,pledge_revised,2025-01-01,p,null,")
    assert announcement["event"] == {"type": "pledge_revised", "pledge": "p", "amount": None}


def test_related_deal_has_a_column_of_its_own() -> None:
    [announcement] = announced("deal,type,effective_on,relation,event.deal\nx,deals_related,2025-01-01,part_of,y")
    assert (announcement["deal"], announcement["event"]["deal"]) == ("x", "y")


def test_claimed_value_is_parsed_by_its_field() -> None:
    rows = "deal,type,effective_on,claim,field,value\n"
    [announcement] = announced(f"{rows}x,claim_reported,,c,/pledges/p/amount,$1.8bn")
    assert announcement["event"]["value"] == {"currency": "USD", "value": "1800000000"}
    [count] = announced(f"{rows}x,claim_reported,,c,/sites/s/gpus,60000")
    assert count["event"]["value"] == 60000


def test_row_may_be_about_an_organization() -> None:
    [announcement] = announced(
        "organization,type,effective_on,parent,control,share\ngip,parent_set,2024-10-01,blackrock,owns,100"
    )
    assert announcement["organization"] == "gip"
    assert announcement["event"] == {"type": "parent_set", "parent": "blackrock", "control": "owns", "share": "100"}


def test_all_errors_of_all_rows_are_reported_with_their_cells() -> None:
    assert errors(
        "deal,type,effective_on,#amont,pledge,amount,site,power_mw,gpus,place\n"
        "x,pledge_announced,2025-13-01,,Total,5억,,,,\n"
        "x,site_announced,2025-01-01,,,,s,12x,many,KR-99\n"
        "x,site_anounced,2025-01-01,,,,s,12,,\n"
        "x,site_announced,2025-01-01,,p,,s,12,,\n"
        "x,site_announced,,,,,,,,\n"
        ",site_announced,2025-01-01,,,,s,,,\n"
        "X Y,site_announced,2025-01-01,,,,s,,,"
    ) == [
        ("deals!F2", "currency_missing"),
        ("deals!C2", "date"),
        ("deals!E2", "format_slug"),
        ("deals!I3", "not-an-integer"),
        ("deals!H3", "format_decimal"),
        ("deals!J3", "place"),
        ("deals!B4", "type-unknown-similar"),
        ("deals!E5", "field-unknown"),
        ("deals!B6", "required_effective_on"),
        ("deals!B6", "required"),
        ("deals!A7", "stream-missing"),
        ("deals!A8", "slug-invalid"),
    ]


@pytest.mark.parametrize(
    ("text", "at", "code"),
    [
        ("deal,type,amont\nx,site_dropped,", "deals!C1", "column-unknown-similar"),
        ("deal,type,note,note\nx,site_dropped,,", "deals!D1", "column-repeated"),
        ("deal,type,,note\nx,site_dropped,y,", "deals!C2", "column-without-name"),
        ("deal,type,note\nx,site_dropped,#N/A", "deals!C2", "cell-error"),
        ("deal,type,zzzzzz\nx,site_dropped,", "deals!C1", "column-unknown"),
        ("deal,type\nx,site_dropped,y", "deals!C2", "cell-outside-table"),
        ("deal,type\nx,", "deals!B2", "type-missing"),
        ("deal,type\nx,zzzzzz", "deals!B2", "type-unknown"),
        ("organization,type\nx,site_dropped", "deals!B2", "type-not-for-organizations"),
        ("deal,type,pledge,amount\nx,pledge_announced,p,nothing", "deals!D2", "no_figure"),
        (
            "deal,type,claim,field,value\nx,claim_reported,c,/pledges/p/amount,another $5bn",
            "deals!E2",
            "basis-not-expressible",
        ),
        (
            "deal,type,parties.organization,parties.role\nx,parties_joined,a; b; c,investor; partner",
            "deals!D2",
            "parts-differ",
        ),
    ],
)
def test_wrong_cell_is_reported_with_its_code(text: str, at: str, code: str) -> None:
    assert (at, code) in errors(text)


def test_registration_needs_no_effective_date() -> None:
    assert errors("deal,type,title.en,kind\nx,deal_registered,A,invesment") == [("deals!D2", "choice")]


def test_basis_in_the_amount_must_agree_with_its_column() -> None:
    rows = "deal,type,effective_on,pledge,amount,amount_basis\nx,pledge_announced,2025-01-01,p,another $5bn,total"
    assert errors(rows) == [("deals!E2", "basis-conflict")]


def test_repeated_row_is_an_error() -> None:
    row = "x,site_dropped,2025-01-01,s\n"
    assert errors(f"deal,type,effective_on,site\n{row}{row}") == [("deals!A3", "row-repeated")]


def test_id_depends_on_the_rows_content_not_its_position() -> None:
    header_row = "deal,type,effective_on,site,#mine\n"
    one, two = "x,site_dropped,2025-01-01,s,1\n", "x,site_dropped,2025-01-01,t,2\n"
    first = [said["id"] for said in announced(header_row + one + two)]
    again = [said["id"] for said in announced(header_row + two.replace(",2\n", ",3\n") + "\n" + one)]
    assert first == again[::-1]
    assert len({*first, *(s["id"] for s in announced(header_row + one.replace("x,", "y,")))}) == 3


def test_corrections_cannot_be_imported() -> None:
    rows = f"deal,type,effective_on,reason\nx,{tag_of(EventCorrected)},2025-01-01,slip"
    assert errors(rows) == [("deals!B2", "type-not-for-deals")]


def test_every_field_of_every_event_type_has_a_column() -> None:
    names = {*header("deal"), *header("organization")}
    for event in (*get_args(DealFact), *get_args(OrganizationFact)):
        columns = columns_of(event)
        fields = {column.removeprefix("event.").split(".")[0] for column in columns}
        assert fields == set(event.__struct_encode_fields__), tag_of(event)
        assert set(columns) <= names, tag_of(event)
    assert columns_of(PledgeAnnounced)["amount"] == "amount"


def test_template_is_readable_and_explains_each_column() -> None:
    book = openpyxl.load_workbook(io.BytesIO(template_xlsx()))
    assert book.sheetnames == ["Announcements", "Organizations", "Types", "Columns"]
    explained = {row[0] for row in book["Columns"].iter_rows(values_only=True)}
    assert {*header("deal"), *header("organization")} <= explained
    assert set(EVENT_TYPES) > {row[0] for row in book["Types"].iter_rows(values_only=True)}
    from_xlsx = parsed("t.xlsx", template_xlsx())
    assert from_xlsx.skipped == ["Types", "Columns"]
    for found in (from_xlsx, parsed("t.csv", template_csv())):
        assert [error.problem.code for error in found.errors] == ["no-rows"]


def test_file_without_a_type_column_is_an_error() -> None:
    found = parse("name,power\nx,1", "a.csv")
    assert [(error.at, error.problem.code) for error in found.errors] == [("a!A1", "type-column-missing")]


# --- through the command and the service ------------------------------------------------------------------------------

HEADER = ["deal", "type", "effective_on", "source.publisher", "title.en", "pledge", "amount"]
ROWS = [
    ["plant", "deal_registered", None, "Times", "A plant", None, None],
    ["plant", "pledge_announced", "2025-06-16", "Times", None, "total", "$5bn"],
    ["plant", "pledge_revised", "2025-07-01", "Times", None, "total", "$7bn"],
]


async def test_wrong_row_does_not_block_the_others(service: Service, import_: Import, tmp_path: Path) -> None:
    file = tmp_path / "deals.xlsx"
    file.write_bytes(xlsx(HEADER, *ROWS, ["plant", "pledge_revised", "2025-07-32", "Times", None, "total", "$7bn"]))
    run = await import_(file)
    assert (run.recorded, [error.at for error in run.errors], run.code) == (3, ["Announcements!C5"], 5)
    assert await events_of_deals(service) == 3
    assert (await import_(file, strict=True)).results == []


async def test_second_import_of_a_file_records_nothing(service: Service, import_: Import, tmp_path: Path) -> None:
    file = tmp_path / "deals.xlsx"
    file.write_bytes(xlsx(HEADER, *ROWS))
    preview = await import_(file, dry_run=True)
    amounts = [change["after"]["value"] for result in preview.results for change in amount_changes(result)]
    assert amounts == ["5000000000", "7000000000"]
    assert (await events_of_deals(service), preview.code) == (0, 0)
    first, second = await import_(file), await import_(file)
    assert (first.recorded, first.known) == (3, 0)
    assert (second.recorded, second.known) == (0, 3)
    file.write_bytes(xlsx(HEADER, *ROWS, ["plant", "pledge_revised", "2025-08-01", "Times", None, "total", "$8bn"]))
    third = await import_(file)
    assert (third.recorded, third.known, await events_of_deals(service)) == (1, 3, 4)


def amount_changes(result: LineResult) -> list[dict[str, Any]]:
    return [change for change in result.changes if change["field"] == "/pledges/total/amount"]


async def test_strict_import_of_a_file_with_a_wrong_cell_sends_nothing(
    service: Service, import_: Import, tmp_path: Path
) -> None:
    file = tmp_path / "deals.xlsx"
    file.write_bytes(xlsx(HEADER, *ROWS, ["plant", "pledge_revised", "2025-08-01", "Times", None, "total", "5억"]))
    run = await import_(file, strict=True)
    assert (run.code, [error.at for error in run.errors]) == (5, ["Announcements!G5"])
    assert await events_of_deals(service) == 0


async def test_refused_announcement_is_reported_with_its_row(service: Service, import_: Import, tmp_path: Path) -> None:
    file = tmp_path / "deals.xlsx"
    file.write_bytes(xlsx(HEADER, *ROWS, ["plant", "pledge_revised", "2025-08-01", "Times", None, "another", "$8bn"]))
    strict = await import_(file, strict=True)
    assert (strict.code, [error.at for error in strict.errors], await events_of_deals(service)) == (
        4,
        ["Announcements!A5"],
        0,
    )
    run = await import_(file)
    assert (run.code, [error.at for error in run.errors], await events_of_deals(service)) == (
        4,
        ["Announcements!A5"],
        3,
    )
