"""Exports: every format has the same rows, and they are those of the lists."""

from __future__ import annotations

import asyncio
import csv
import gc
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openpyxl
import pytest
import pytest_asyncio
from msgspec.structs import replace

from registry import exports as export_tables
from registry.api import exports
from registry.exports import xlsx
from registry.infra.data_licence_setting import DataLicence
from tests.api.announcements import announced, pledged, registered, revised
from tests.api.conftest import Service, cloned, running
from tests.conftest import Server

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
        lines = [
            korean,
            *({"deal": "ulsan", **a} for a in (pledged(), annual, joined, revised("2025-07-01", "6000000000"))),
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
    format = path.rpartition(".")[2]
    assert answer.headers["Content-Type"].partition(";")[0] == export_tables.FORMATS[format].media_type
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    match format:
        case "csv":
            items: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(answer.content.decode())))
        case "ndjson":
            return [json.loads(line) for line in answer.text.splitlines()]
        case "xlsx":
            book = openpyxl.load_workbook(io.BytesIO(answer.content))
            head, *cells = [[cell.value for cell in row] for sheet in book.worksheets for row in sheet.iter_rows()]
            items = [dict(zip(map(str, head), row, strict=True)) for row in cells if row != head]
        case _:
            from pyarrow import BufferReader, parquet

            items = parquet.read_table(BufferReader(answer.content)).to_pylist()
    return [{name: None if v in (None, "") else str(v) for name, v in row.items()} for row in items]


async def test_every_format_has_the_same_rows_over_pages_and_sheets(
    filled: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PAGE", 7)
    monkeypatch.setattr(xlsx, "MAX_SHEET_ROWS", 10)
    formats = [format for format in FORMATS if format != "parquet" or export_tables.has_parquet()]
    for kind, count in (("deals", 26), ("pledges", 2), ("events", 32)):
        files = {format: await rows(filled.visitor, f"/v1/export/{kind}.{format}") for format in formats}
        assert {format: len(items) for format, items in files.items()} == dict.fromkeys(formats, count)
        unescaped = [{name: cell and cell.removeprefix("'") for name, cell in row.items()} for row in files["csv"]]
        for format in formats[2:]:
            assert files[format] == unescaped


async def test_export_row_has_what_the_list_has(filled: Service) -> None:
    listed = (await filled.visitor.get("/v1/deals?limit=1000")).json()["deals"]
    assert await rows(filled.visitor, "/v1/export/deals.ndjson") == listed
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


async def test_unavailable_formats_and_unknown_filters_are_refused(filled: Service) -> None:
    answer = await filled.visitor.get("/v1/export/deals.parquet")
    if export_tables.has_parquet():
        assert answer.content.startswith(b"PAR1")
    else:
        assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
    assert (await filled.visitor.get("/v1/export/deals.pdf")).status_code == 404
    refused = await filled.visitor.get("/v1/export/events.csv?stage=signed")
    assert (refused.status_code, refused.json()["parameter"]) == (400, "stage")
    head = await filled.visitor.head("/v1/export/deals.csv")
    assert (head.status_code, head.content) == (200, b"")


async def test_aborted_download_leaves_no_file_open(filled: Service) -> None:
    """A file that stays open raises a ResourceWarning, an error in this run, when it is collected."""
    for turn in range(12):
        for format in ("csv", "xlsx"):
            async with filled.visitor.stream("GET", f"/v1/export/events.{format}") as answer:
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
