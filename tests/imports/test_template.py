"""Sheets of announcements: each column is an event's field, each fault has its cell, each row its own id."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, get_args

import msgspec
import openpyxl
import pytest

from registry.events.types import EVENT_TYPES, DealFact, EventCorrected, OrganizationFact, PledgeAnnounced, tag_of
from registry.imports import template, workbook
from registry.imports.workbook import CellError
from tests.api.conftest import Service
from tests.imports.conftest import Import
from tests.imports.test_workbook import xlsx


def read(text: str) -> template.ParsedSheets:
    return template.read(workbook.read("deals.csv", text.encode()))


def announced(text: str) -> list[dict[str, Any]]:
    found = read(text)
    assert not found.faults, found.faults
    return [msgspec.json.decode(line.ndjson()) for line in found.lines]


def faults(text: str) -> list[str]:
    found = read(text)
    assert not found.lines, "nothing is sent where a cell is wrong"
    return [str(fault) for fault in found.faults]


def test_a_row_is_an_announcement() -> None:
    [said] = announced(
        "deal,type,effective_on,source.publisher,source.url,source.published_on,source2.title,note,pledge,amount,by,"
        "horizon.until,purpose.ko\n"
        "aws-x,pledge_announced,2025-10-29,Times,https://a.example/1,2025-10-30,Paper,why,total,"
        '"more than $5 billion (₩7 trillion)",aws; sk,2031,인공지능'
    )
    assert said.pop("id")
    assert said == {
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
def test_amounts_are_written_as_the_press_writes_them(amount: str, value: str, basis: str | None) -> None:
    [said] = announced(f"deal,type,effective_on,pledge,amount\nx,pledge_announced,2025-01-01,p,{amount}")
    assert said["event"]["amount"]["value"] == value
    assert said["event"].get("amount_basis") == basis


def test_parties_are_one_value_for_all_or_one_each() -> None:
    [said] = announced(
        "deal,type,effective_on,parties.organization,parties.role,parties.name.ko\n"
        "x,parties_joined,2025-01-01,a; b,investor,가; 나"
    )
    assert said["event"]["parties"] == [
        {"organization": "a", "role": "investor", "name": {"ko": "가"}},
        {"organization": "b", "role": "investor", "name": {"ko": "나"}},
    ]


def test_null_unsays_and_an_empty_cell_leaves_alone() -> None:
    [said] = announced("deal,type,effective_on,pledge,amount,commitment\nx,pledge_revised,2025-01-01,p,null,")
    assert said["event"] == {"type": "pledge_revised", "pledge": "p", "amount": None}


def test_a_relation_s_deal_is_not_the_row_s() -> None:
    [said] = announced("deal,type,effective_on,relation,event.deal\nx,deals_related,2025-01-01,part_of,y")
    assert (said["deal"], said["event"]["deal"]) == ("x", "y")


def test_a_claim_of_an_amount_is_read_as_one() -> None:
    rows = "deal,type,effective_on,claim,field,value\n"
    [said] = announced(f"{rows}x,claim_reported,,c,/pledges/p/amount,$1.8bn")
    assert said["event"]["value"] == {"currency": "USD", "value": "1800000000"}
    [count] = announced(f"{rows}x,claim_reported,,c,/sites/s/gpus,60000")
    assert count["event"]["value"] == 60000


def test_rows_may_be_about_organizations() -> None:
    [said] = announced(
        "organization,type,effective_on,parent,control,share\ngip,parent_set,2024-10-01,blackrock,owns,100"
    )
    assert said["organization"] == "gip"
    assert said["event"] == {"type": "parent_set", "parent": "blackrock", "control": "owns", "share": "100"}


def test_every_fault_is_told_at_once_at_its_cell() -> None:
    assert faults(
        "deal,type,effective_on,amont,pledge,amount,site,power_mw,gpus,place\n"
        "x,pledge_announced,2025-13-01,,Total,5억,,,,\n"
        "x,site_announced,2025-01-01,,,,s,12x,many,KR-99\n"
        "x,site_anounced,2025-01-01,,,,s,12,,\n"
        "x,site_announced,2025-01-01,,p,,s,12,,\n"
        "x,site_announced,,,,,,,,\n"
        ",site_announced,2025-01-01,,,,s,,,\n"
        "X Y,site_announced,2025-01-01,,,,s,,,"
    ) == [
        "deals!D1: there is no column 'amont'; is 'amount' meant?",
        "deals!F2: '5억' cannot be read as one amount: the currency is missing",
        "deals!C2: effective_on is not a date (YYYY-MM-DD), such as 2025-10-29",
        "deals!E2: pledge must be a name of lower-case letters, digits and hyphens, such as aws-korea-2031",
        "deals!I3: 'many' is no whole number",
        'deals!H3: power_mw must be an exact, non-negative decimal in a string, such as "5000000000"',
        "deals!J3: place is not an ISO 3166 country or subdivision: 'KR-99'",
        "deals!B4: there is no event type 'site_anounced'; is 'site_announced' meant?",
        "deals!E5: a site_announced has no 'pledge': it has site, name.ko, name.en, place, latitude, longitude, "
        "precision, power_mw, power_qualifier, gpus, gpus_qualifier",
        "deals!B6: effective_on is required: the effective date (YYYY-MM-DD)",
        "deals!B6: site is required",
        "deals!A7: a row is about one deal, or one organization: name it",
        "deals!A8: 'X Y' is no name: lower-case letters, digits and hyphens",
    ]


def test_what_needs_no_day_is_not_asked_for_one() -> None:
    [fault] = faults("deal,type,title.en,kind\nx,deal_registered,A,invesment")
    assert fault.startswith("deals!D2: kind must be one of investment, partnership, programme")


def test_what_an_amount_is_called_and_its_column_must_agree() -> None:
    rows = "deal,type,effective_on,pledge,amount,amount_basis\nx,pledge_announced,2025-01-01,p,another $5bn,total"
    assert faults(rows) == ["deals!E2: 'another $5bn' is called additional, and amount_basis is total"]


def test_a_row_that_says_the_same_again_is_a_fault() -> None:
    row = "x,site_dropped,2025-01-01,s\n"
    assert faults(f"deal,type,effective_on,site\n{row}{row}") == ["deals!A3: says the same as deals!A2"]


def test_ids_follow_from_what_a_row_says_and_not_from_where_it_stands() -> None:
    head = "deal,type,effective_on,site,#mine\n"
    one, two = "x,site_dropped,2025-01-01,s,1\n", "x,site_dropped,2025-01-01,t,2\n"
    first = [said["id"] for said in announced(head + one + two)]
    again = [said["id"] for said in announced(head + two.replace(",2\n", ",3\n") + "\n" + one)]
    assert first == again[::-1]
    assert len({*first, *(s["id"] for s in announced(head + one.replace("x,", "y,")))}) == 3


def test_corrections_are_not_for_sheets() -> None:
    [fault] = faults(f"deal,type,effective_on,reason\nx,{tag_of(EventCorrected)},2025-01-01,slip")
    assert fault == "deals!B2: there is no event type 'event_corrected' for deals in a sheet"


def test_every_field_of_every_event_type_has_its_column() -> None:
    header = {*template.header("deal"), *template.header("organization")}
    for event in (*get_args(DealFact), *get_args(OrganizationFact)):
        columns = template.columns_of(event)
        fields = {column.removeprefix("event.").split(".")[0] for column in columns}
        assert fields == set(event.__struct_encode_fields__), tag_of(event)
        assert set(columns) <= header, tag_of(event)
    assert template.columns_of(PledgeAnnounced)["amount"] == "amount"


def test_the_template_can_be_read_and_explains_each_column() -> None:
    book = openpyxl.load_workbook(io.BytesIO(template.template_xlsx()))
    assert book.sheetnames == ["Announcements", "Organizations", "Types", "Columns"]
    explained = {row[0] for row in book["Columns"].iter_rows(values_only=True)}
    assert {*template.header("deal"), *template.header("organization")} <= explained
    found = template.read(workbook.read("t.xlsx", template.template_xlsx()))
    assert found.skipped_sheets == ("Types", "Columns")
    assert [fault.detail for fault in found.faults] == ["there is no row below the header"]
    empty = template.read(workbook.read("t.csv", template.template_csv()))
    assert [fault.detail for fault in empty.faults] == ["there is no row below the header"]
    assert set(EVENT_TYPES) > {row[0] for row in book["Types"].iter_rows(values_only=True)}


def test_a_file_without_announcements_says_so() -> None:
    assert template.read(workbook.read("a.csv", b"name,power\nx,1")).faults == (
        CellError("a!A1", "no sheet has a column 'type' in its first row"),
    )


# --- the whole way ----------------------------------------------------------------------------------------------------

HEAD = ["deal", "type", "effective_on", "source.publisher", "title.en", "pledge", "amount"]
ROWS = [
    ["plant", "deal_registered", None, "Times", "A plant", None, None],
    ["plant", "pledge_announced", "2025-06-16", "Times", None, "total", "$5bn"],
    ["plant", "pledge_revised", "2025-07-01", "Times", None, "total", "$7bn"],
]


async def test_a_second_import_of_a_file_changes_nothing(service: Service, import_: Import, tmp_path: Path) -> None:
    file = tmp_path / "deals.xlsx"
    file.write_bytes(xlsx(HEAD, *ROWS))
    would = await import_(file, dry_run=True)
    assert "plant  /pledges/total/amount: USD 5,000,000,000 → USD 7,000,000,000" in would.out
    assert (await service.size(), would.code) == (0, 0)
    assert (await import_(file)).out == "3 recorded, 0 known already; 0 questions\n"
    assert (await import_(file)).out == "0 recorded, 3 known already; 0 questions\n"
    file.write_bytes(xlsx(HEAD, *ROWS, ["plant", "pledge_revised", "2025-08-01", "Times", None, "total", "$8bn"]))
    assert (await import_(file)).out == "1 recorded, 3 known already; 0 questions\n"
    assert await service.size() == 4


async def test_nothing_is_sent_where_a_cell_is_wrong(service: Service, import_: Import, tmp_path: Path) -> None:
    file = tmp_path / "deals.xlsx"
    file.write_bytes(xlsx(HEAD, *ROWS, ["plant", "pledge_revised", "2025-08-01", "Times", None, "total", "5억"]))
    ran = await import_(file)
    assert ran.code == 5
    assert ran.err.startswith("Announcements!G5: '5억' cannot be read as one amount: the currency is missing\n")
    assert await service.size() == 0


async def test_what_the_record_refuses_names_its_row(service: Service, import_: Import, tmp_path: Path) -> None:
    file = tmp_path / "deals.xlsx"
    file.write_bytes(xlsx(HEAD, *ROWS, ["plant", "pledge_revised", "2025-08-01", "Times", None, "another", "$8bn"]))
    ran = await import_(file)
    assert (ran.code, ran.err.split("\n")[0]) == (4, "Announcements!A5")
    assert await service.size() == 0
