"""Exports: every format has the same rows, and they are those of the lists."""

from __future__ import annotations

import asyncio
import csv
import gc
import io
import json
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import httpx
import openpyxl
import pytest
import pytest_asyncio
from msgspec.structs import replace

from registry import exports as export_tables
from registry.api import exports
from registry.exports import xlsx
from registry.infra.data_licence_setting import DataLicence
from registry.projections.columnar import exported
from registry.schemas import base
from tests.api.announcements import announced, pledged, registered, revised
from tests.databases import Server
from tests.service import Service, cloned, running

LICENCE = DataLicence("CC-BY-4.0", "https://creativecommons.org/licenses/by/4.0/")
FORMATS = ["csv", "ndjson", "xlsx", "parquet"]


@pytest_asyncio.fixture(scope="module")
async def filled(server: Server, admin: Any) -> AsyncIterator[Service]:
    """A service with deals with and without amounts, one with a formula and Korean in its title, and many others."""
    async with (
        cloned(server, admin, "exports") as settings,
        running(replace(settings, data_licence=LICENCE)) as service,
    ):
        korean = {"deal": "ulsan", **registered()}
        korean["event"]["title"] = {"ko": "울산 AI 데이터센터", "en": '=HYPERLINK("http://evil.example")'}
        annual = pledged(pledge="more", amount_basis="annual", by=["aws", "sk"])
        annual["event"]["amount"] = {"low": "3", "high": "5", "currency": "KRW", "qualifier": "about"}
        joined = announced("2025-06-20", "parties_joined", parties=[{"organization": "aws", "role": "investor"}])
        more = revised("2025-07-01", "6000000000")
        more["event"]["amount"]["stated_as"] = [{"value": "8100000000000.5", "currency": "KRW"}]
        sites = [
            announced("2025-06-20", "site_announced", site="a", place="KR-31"),
            announced("2025-06-20", "site_announced", site="b", power_mw="100.50", gpus=60000, latitude="-35.5"),
            announced("2025-06-20", "metric_reported", metric="jobs", basis="planned", value="1000"),
            announced("2025-06-20", "incentive_granted", incentive="land", kind="land"),
            announced("2025-06-20", "setback_reported", setback="suit", kind="litigation", text={"en": "=1"}),
        ]
        lines = [
            korean,
            *({"deal": "ulsan", **a} for a in (pledged(), annual, joined, more, *sites)),
            *({"deal": f"plant-{n:04}", **registered(f"Plant {n}")} for n in range(25)),
        ]
        body = b"\n".join(json.dumps(line).encode() for line in lines)
        answer = await service.client.post(
            "/v1/import?atomic=true", content=body, headers={"Content-Type": "application/x-ndjson"}
        )
        assert answer.status_code == 200, answer.text
        yield service


async def rows(visitor: httpx.AsyncClient, path: str, **query: Any) -> list[dict[str, Any]]:
    """A file's rows as text, empty cells as None, read by a common reader of the format."""
    answer = await visitor.get(path, params=query)
    assert answer.status_code == 200, answer.text
    kind, format = path.rpartition("/")[2].split(".")
    assert answer.headers["Content-Type"].partition(";")[0] == export_tables.FORMATS[format].media_type
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    match format:
        case "csv":
            items: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(answer.content.decode())))
        case "ndjson":
            return [json.loads(line) for line in answer.text.splitlines()]
        case "xlsx":
            items = [
                {
                    name.removesuffix("_exact"): value.date() if isinstance(value, datetime) else value
                    for name, value in row.items()
                    if f"{name}_exact" not in row
                }
                for row in workbook_rows(answer.content)
            ]
        case _:
            types = {column.name: column.type for column in export_tables.COLUMNS[kind]}
            found = parquet_table(answer.content)
            items = [{name: text_of(v, types[name]) for name, v in row.items()} for row in found]
    return [{name: None if v in (None, "") else str(v) for name, v in row.items()} for row in items]


def workbook_rows(content: bytes) -> list[dict[str, Any]]:
    """The cells of a workbook, over its sheets."""
    book = openpyxl.load_workbook(io.BytesIO(content))
    head, *cells = [[cell.value for cell in row] for sheet in book.worksheets for row in sheet.iter_rows()]
    return [dict(zip(map(str, head), row, strict=True)) for row in cells if row != head]


def parquet_table(content: bytes) -> list[dict[str, Any]]:
    """The rows of a Parquet file."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        found = duckdb.execute("FROM read_parquet(?)", [file.name])
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def text_of(value: Any, type: str) -> str | None:
    """A typed cell, as a format without such types has it."""
    if value is None or value == []:
        return None
    match type:
        case "list":
            return "; ".join(value)
        case "amounts":
            return "; ".join(f"{one['currency']} {text_of(one['value'], 'number')}" for one in value)
        case "number":
            return without_zeros(f"{value:f}", type)
        case "datetime":
            return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        case _:
            return str(value)


def without_zeros(text: str | None, type: str) -> str | None:
    """A number without the zeros at its end, which a decimal of a fixed scale does not tell from its own."""
    return text.rstrip("0").rstrip(".") if text and type == "number" and "." in text else text


async def test_every_format_has_the_same_rows_over_pages_and_sheets(
    filled: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PAGE", 7)
    monkeypatch.setattr(xlsx, "MAX_SHEET_ROWS", 10)
    monkeypatch.setattr(exported, "DEALS_PER_QUERY", 6)
    counts: dict[export_tables.Kind, int] = {
        "deals": 26,
        "parties": 1,
        "pledges": 2,
        "sites": 2,
        "milestones": 0,
        "metrics": 1,
        "incentives": 1,
        "setbacks": 1,
        "events": 37,
    }
    assert counts.keys() == export_tables.COLUMNS.keys()
    for kind, count in counts.items():
        types = {column.name: column.type for column in export_tables.COLUMNS[kind]}
        files = {format: await rows(filled.visitor, f"/v1/export/{kind}.{format}") for format in FORMATS}
        assert {format: len(items) for format, items in files.items()} == dict.fromkeys(FORMATS, count)
        unescaped = [{name: cell and cell.removeprefix("'") for name, cell in row.items()} for row in files["csv"]]
        assert files["xlsx"] == unescaped, kind
        assert files["parquet"] == [{n: without_zeros(v, types[n]) for n, v in row.items()} for row in unescaped], kind
        if kind not in ("deals", "pledges", "events"):
            assert [{n: v if v is None else str(v) for n, v in row.items()} for row in files["ndjson"]] == unescaped


async def test_numbers_days_and_lists_have_their_types_where_the_format_has_them(filled: Service) -> None:
    found = parquet_table((await filled.visitor.get("/v1/export/pledges.parquet")).content)
    more, total = found
    assert (more["low"], more["high"], more["by"]) == (Decimal(3), Decimal(5), ["aws", "sk"])
    assert (total["value"], total["announced_on"], total["by"]) == (Decimal(6000000000), date(2025, 6, 16), [])
    assert total["stated_as"] == [{"currency": "KRW", "value": Decimal("8100000000000.5")}]
    [event, *_] = parquet_table((await filled.visitor.get("/v1/export/events.parquet?type=pledge_revised")).content)
    assert isinstance(event["recorded_at"], datetime)
    assert event["recorded_at"].tzinfo is not None
    assert (event["effective_on"], event["erased"]) == (date(2025, 7, 1), False)
    more, total = workbook_rows((await filled.visitor.get("/v1/export/pledges.xlsx")).content)
    assert (total["value"], total["value_exact"], total["announced_on"]) == (
        6000000000,
        "6000000000",
        datetime(2025, 6, 16),  # noqa: DTZ001 - a cell of Excel has no time zone
    )
    [_, site] = workbook_rows((await filled.visitor.get("/v1/export/sites.xlsx")).content)
    assert (site["power_mw"], site["power_mw_exact"]) == (100.5, "100.50")


async def test_export_row_has_what_the_list_has(filled: Service) -> None:
    listed = (await filled.visitor.get("/v1/deals?limit=1000")).json()["deals"]
    lines = await rows(filled.visitor, "/v1/export/deals.ndjson")
    assert [{name: line[name] for name in listed[0]} for line in lines] == listed
    [ulsan] = [row for row in await rows(filled.visitor, "/v1/export/deals.csv") if row["deal"] == "ulsan"]
    assert ulsan["title_ko"] == "울산 AI 데이터센터"
    assert ulsan["organizations"] == "aws"
    assert ulsan["amounts"] == "more: about KRW 3 to 5 annual; total: USD 6000000000"
    pledges = await rows(filled.visitor, "/v1/export/pledges.csv", organization="aws")
    assert [
        (p["pledge"], p["value"], p["low"], p["high"], p["currency"], p["qualifier"], p["by"]) for p in pledges
    ] == [
        ("more", None, "3", "5", "KRW", "about", "aws; sk"),
        ("total", "6000000000", None, None, "USD", None, None),
    ]


async def test_lines_of_a_deal_of_many_pledges_have_what_its_state_has(server: Server, admin: Any) -> None:
    async with cloned(server, admin, "long_lines") as settings, running(settings) as service:
        count = 2 * base.ITEMS_PER_CALL
        posted = [registered(), *(pledged(pledge=f"p-{n:04}") for n in range(count))]
        (await service.client.post("/v1/deals/large/events", json=posted)).raise_for_status()
        [line] = (await service.visitor.get("/v1/export/deals.ndjson")).text.splitlines()
        deal, pledges = json.loads(line), (await service.visitor.get("/v1/export/pledges.ndjson")).text.splitlines()
        listed = (await service.visitor.get("/v1/deals")).json()["deals"]
        assert [{name: deal[name] for name in listed[0]}] == listed
        assert [json.loads(pledge) for pledge in pledges] == [{"deal": "large", **one} for one in deal["pledges"]]
        assert [one["pledge"] for one in deal["pledges"]] == [f"p-{n:04}" for n in range(count)]


async def test_export_takes_the_point_in_time_and_the_filters_of_the_list(filled: Service) -> None:
    [deal] = await rows(filled.visitor, "/v1/export/deals.csv", effective_on="2025-06-30", organization="aws")
    assert deal["amounts"].endswith("total: USD 5000000000")
    assert await rows(filled.visitor, "/v1/export/deals.csv", position=3) != []
    assert await rows(filled.visitor, "/v1/export/deals.csv", q="Plant 24") == [
        row for row in await rows(filled.visitor, "/v1/export/deals.csv") if row["deal"] == "plant-0024"
    ]
    events = await rows(filled.visitor, "/v1/export/events.csv", deal="ulsan", type="pledge_announced")
    assert [event["position"] for event in events] == ["4", "5"]
    assert json.loads(events[0]["event"])["amount"]["value"] == "5000000000"
    later = await rows(filled.visitor, "/v1/export/events.ndjson", after=30)
    listed = (await filled.visitor.get("/v1/events?after=30")).json()["events"]
    # An export leaves out the fields of a source that were not stated.
    stored = [[{n: v for n, v in source.items() if v is not None} for source in event["sources"]] for event in listed]
    assert later == [{**event, "sources": sources} for event, sources in zip(listed, stored, strict=True)]
    assert stored != [event["sources"] for event in listed]


async def test_export_never_turns_a_text_into_a_formula(filled: Service) -> None:
    [row] = await rows(filled.visitor, "/v1/export/deals.csv", organization="aws")
    assert row["title_en"].startswith("'=HYPERLINK")
    answer = await filled.visitor.get("/v1/export/deals.xlsx?organization=aws")
    sheet = openpyxl.load_workbook(io.BytesIO(answer.content)).active
    assert sheet is not None
    cells = {cell.value: cell.data_type for row in sheet.iter_rows() for cell in row}
    assert cells['=HYPERLINK("http://evil.example")'] == "s"


async def test_empty_export_has_its_headings(filled: Service) -> None:
    answer = await filled.visitor.get("/v1/export/deals.csv?organization=nobody")
    assert answer.text == ",".join(export_tables.column_names("deals")) + "\r\n"
    assert await rows(filled.visitor, "/v1/export/deals.xlsx", organization="nobody") == []
    assert (await filled.visitor.get("/v1/export/deals.ndjson?organization=nobody")).content == b""


async def test_unknown_formats_and_unknown_filters_are_refused(filled: Service) -> None:
    assert (await filled.visitor.get("/v1/export/deals.pdf")).status_code == 404
    refused = await filled.visitor.get("/v1/export/events.csv?stage=signed")
    assert (refused.status_code, refused.json()["parameter"]) == (400, "stage")
    head = await filled.visitor.head("/v1/export/deals.csv")
    assert (head.status_code, head.content) == (200, b"")


async def test_aborted_download_leaves_no_file_open(filled: Service) -> None:
    """A file that stays open raises a ResourceWarning, an error in this run, when it is collected."""
    for turn in range(12):
        for file in ("events.csv", "events.xlsx", "deals.csv", "deals.xlsx"):
            async with filled.visitor.stream("GET", f"/v1/export/{file}") as answer:
                assert answer.status_code == 200
                await asyncio.sleep(turn / 500)
    await asyncio.sleep(0.2)
    gc.collect()


async def test_licence_of_the_data_is_stated_by_api_exports_standards_and_pages(filled: Service) -> None:
    visitor, link = filled.visitor, '<https://creativecommons.org/licenses/by/4.0/>; rel="license"'
    for path in ("/v1/deals?limit=1", "/v1/export/deals.csv", "/v1/deals/ulsan/timemap"):
        assert link in (await visitor.get(path)).headers.get_list("Link", split_commas=True), path
    assert "license" not in (await visitor.get("/v1/deals/none")).headers.get("Link", "")
    assert LICENCE.url in (await visitor.get("/openapi.json")).json()["info"]["description"]
    assert (await visitor.get("/v1/ocds/records/ulsan")).json()["license"] == LICENCE.url
    assert f"<rights>{LICENCE.name}</rights>" in (await visitor.get("/v1/events.atom")).text
    for path in ("/", "/deals/ulsan", "/about"):
        assert f'<a href="{LICENCE.url}" rel="license">{LICENCE.name}</a>' in (await visitor.get(path)).text, path
