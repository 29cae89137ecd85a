"""The metadata of exports: valid Data Packages, whose files are at a fixed point and are as the metadata says."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import pytest_asyncio
from msgspec.structs import replace

from registry.infra.data_licence_setting import DataLicence
from registry.transparency.checkpoint import Checkpoint, parse_note
from tests.api.announcements import announced, pledged, registered, revised
from tests.databases import Server
from tests.service import Service, cloned, running

PROFILE = jsonschema_rs.Draft7Validator(
    json.loads((Path(__file__).parent / "datapackage/datapackage.json").read_text())
)
LICENCE = DataLicence("CC-BY-4.0", "https://creativecommons.org/licenses/by/4.0/")


@pytest_asyncio.fixture(scope="module")
async def filled(server: Server, admin: Any) -> AsyncIterator[Service]:
    """A service with two deals, of which one has something in each table."""
    async with (
        cloned(server, admin, "datapackage") as settings,
        running(replace(settings, data_licence=LICENCE)) as service,
    ):
        lines = [
            {"deal": "other", **registered("=1+1")},
            {"deal": "ulsan", **registered()},
            {"deal": "ulsan", **pledged()},
            {"deal": "ulsan", **announced("2025-06-20", "site_announced", site="a", place="KR-31", power_mw="100.50")},
            {"deal": "ulsan", **announced("2025-06-20", "metric_reported", metric="jobs", basis="planned", value="9")},
            {"deal": "ulsan", **revised("2025-07-01", "6000000000")},
        ]
        answer = await service.client.post(
            "/v1/import?atomic=true",
            content=b"\n".join(json.dumps(line).encode() for line in lines),
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert answer.status_code == 200, answer.text
        yield service


KINDS = ("deals", "pledges", "sites", "metrics", "events")


@pytest.mark.parametrize("kind", KINDS)
async def test_metadata_is_a_valid_data_package_about_the_file(filled: Service, kind: str) -> None:
    answer = await filled.visitor.get(f"/v1/export/{kind}.datapackage.json")
    package = answer.json()
    PROFILE.validate(package)
    last = await filled.size()
    assert (package["version"], package["as_of"]["position"]) == (str(last), last)
    assert package["licenses"] == [{"name": "CC-BY-4.0", "title": "CC-BY-4.0", "path": LICENCE.url}]
    assert Checkpoint.parse(parse_note(package["checkpoint"]).text).size >= last
    assert package["citation"]["csl"]["URL"] in package["citation"]["text"]
    table = package["resources"][0]
    names = [field["name"] for field in table["schema"]["fields"]]
    text = (await filled.visitor.get(table["path"])).text
    head, *rows = csv.reader(io.StringIO(text))
    assert head == names
    assert rows
    key = [names.index(name) for name in table["schema"].get("primaryKey", names)]
    assert len({tuple(row[place] for place in key) for row in rows}) == len(rows)
    assert all(field["description"] for field in table["schema"]["fields"])


async def test_files_of_the_metadata_stay_at_their_point_in_time(filled: Service) -> None:
    before = (await filled.visitor.get("/v1/export/pledges.datapackage.json?organization=none&bom=true")).json()
    assert before["code"] == "bad_query"
    package = (await filled.visitor.get("/v1/export/pledges.datapackage.json?currency=USD")).json()
    [path] = [resource["path"] for resource in package["resources"] if resource["format"] == "csv"]
    assert "currency=USD" in path
    file = (await filled.visitor.get(path)).content
    later = {"deal": "ulsan", **revised("2025-07-02", "7000000000")}
    answer = await filled.client.post(
        "/v1/import", content=json.dumps(later).encode(), headers={"Content-Type": "application/x-ndjson"}
    )
    assert json.loads(answer.text)["status"] == 201
    assert (await filled.visitor.get(path)).content == file
    assert (await filled.visitor.get("/v1/export/pledges.csv?currency=USD")).content != file
    published = (await filled.visitor.get("/v1/export/deals.datapackage.json?published_on=2025-06-18")).json()
    assert "published_on=2025-06-18" in published["resources"][0]["path"]
    assert published["as_of"]["published_on"] == "2025-06-18"


async def test_file_names_its_metadata(filled: Service) -> None:
    for path in ("deals.csv?currency=USD&bom=true", "events.parquet?type=pledge_revised"):
        answer = await filled.visitor.get(f"/v1/export/{path}")
        links = answer.headers.get_list("Link", split_commas=True)
        [metadata] = [link for link in links if link.endswith('rel="describedby"')]
        described = (await filled.visitor.get(metadata.partition(">")[0].removeprefix("<"))).json()
        PROFILE.validate(described)


async def test_byte_order_mark_on_request(filled: Service) -> None:
    for kind in KINDS:
        plain = (await filled.visitor.get(f"/v1/export/{kind}.csv?position=3")).content
        marked = (await filled.visitor.get(f"/v1/export/{kind}.csv?position=3&bom=true")).content
        assert marked == b"\xef\xbb\xbf" + plain
    refused = await filled.visitor.get("/v1/export/deals.xlsx?bom=true")
    assert (refused.status_code, refused.json()["parameter"]) == (400, "bom")
