"""Imports through the page, without scripts: upload, map, preview, check, import, answer, correct and import again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from html import unescape
from io import BytesIO

import asyncpg
import httpx
import openpyxl
import pytest
import pytest_asyncio
from msgspec.structs import replace

from tests.databases import Server
from tests.service import ADMIN_KEY, NO_TLS, Service, cloned, running
from tests.web.forms import fields
from tests.web.html import plain
from tests.web.test_recording import HIDDEN
from tests.web.test_sessions import visit

PLANTS = """\
Battery plants of the example agency
ID,Project,Company,State,Announced,Capex (USD million),Jobs,Status,Start
{x}-1,Cell factory,Alpha Energy,GA,2024-Q2,"1,200",800,Building,2027
{x}-2,Pack plant,Beta,CA,2023-11-05,350.5,n/a,Running,2025-03
{x}-3,Recycling,Delta,Atlantis,2025-01-02,lots,40,Announced,2028
"""
INPUT = re.compile(r'<input name="([^"]+)" value="([^"]*)"')
SELECT = re.compile(r'<select name="([^"]+)"[^>]*>(.*?)</select>', re.DOTALL)


@pytest_asyncio.fixture
async def importer(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A signed-in editor without scripts."""
    async with httpx.AsyncClient(
        base_url=service.url, headers={"Accept-Language": "en"}, timeout=30, verify=NO_TLS
    ) as client:
        assert (await client.post("/sign-in", data={"key": ADMIN_KEY, "then": "/"})).status_code == 303
        yield client
        for path in set(re.findall(r'href="(/import/[^"?]+)"', (await client.get("/import")).text)):
            await client.post(f"{path}/delete", data={"csrf": token((await client.get(path)).text)})


def section(html: str, id: str) -> str:
    """The part of a page from the section with an id."""
    return html[html.index(f'id="{id}"') :]


def token(html: str) -> str:
    """The anti-forgery token of a page's forms."""
    return str(dict(HIDDEN.findall(html))["csrf"])


def fields_of(html: str) -> dict[str, str]:
    """What a browser would send of the form of the mapping."""
    part = section(html, "mapping")
    form = part[part.index("<form") : part.index("</form>")]
    fields = {unescape(name): unescape(value) for name, value in INPUT.findall(form)}
    fields |= {unescape(name): unescape(value) for name, value in HIDDEN.findall(form)}
    for name, options in SELECT.findall(form):
        selected = re.search(r'value="([^"]*)" selected', options)
        fields[unescape(name)] = unescape(selected[1]) if selected else ""
    return fields


async def upload(client: httpx.AsyncClient, name: str, content: bytes, **files: bytes) -> str:
    """Upload a sheet; returns the path of the import's page."""
    form = await client.get("/import")
    data = {"csrf": token(form.text), "published_on": "2026-05-20"}
    parts = {"file": (name, content), **{field: (f"{field}.toml", text) for field, text in files.items()}}
    answer = await client.post("/import", data=data, files=parts)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def send(client: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    """Send a form of an import's page, and follow the redirect."""
    sent = {"csrf": token((await client.get(path.rpartition("/")[0])).text), **fields}
    answer = await client.post(path, data=sent)
    assert answer.status_code == 303, answer.text
    return await client.get(answer.headers["location"].partition("#")[0])


async def run(client: httpx.AsyncClient, path: str, do: str = "import") -> str:
    """Run an import and reload its page until it has ended."""
    page = await send(client, f"{path}/run", do=do, published_on="2026-05-20")
    for _ in range(200):
        if "http-equiv" not in page.text:
            return page.text
        await asyncio.sleep(0.05)
        page = await client.get(path)
    raise AssertionError("the import has not ended")


async def mapped(client: httpx.AsyncClient, path: str, scheme: str) -> None:
    """Complete the drafted mapping in the form."""
    page = (await client.get(path)).text
    fields = fields_of(page)
    fields |= {
        "options/scheme": scheme,
        "options/country": "US",
        "options/empty": "n/a",
        "source/0/publisher:text": "The example agency",
    }
    fields |= {"metric/0/basis:text": "planned", "status/0/stage:from.0": "Building"}
    fields |= {"status/0/stage:to.0": "construction", "status/0/stage:from.1": "Running"}
    fields |= {"status/0/stage:to.1": "operating", "status/0/stage:from.2": "Announced"}
    fields |= {"status/0/stage:to.2": "intention", "do": "save"}
    answer = await client.post(f"{path}/mapping", data=fields)
    assert answer.status_code == 303, answer.text


async def test_sheet_goes_from_upload_to_recorded_deals_without_scripts(importer: httpx.AsyncClient, slug: str) -> None:
    path = await upload(importer, "plants.csv", PLANTS.format(x=slug).encode())
    drafted = await importer.get(path)
    # The row with the most cells is taken for the header, and the draft pre-fills the form.
    assert "Battery plants of the example agency" in section(drafted.text, "sheet")
    fields = fields_of(drafted.text)
    assert fields["deal/key:column"] == "ID"
    assert fields["pledge/0/amount:column"] == "Capex (USD million)"
    assert fields["pledge/0/amount:times"] == "1000000"

    await mapped(importer, path, slug)
    previewed = section((await importer.get(path)).text, "preview")
    assert "US$1.2bn" in previewed
    # An error stands at its cell, with the column and the value.
    assert "plants!F5 Capex (USD million) ‘lots’" in unescape(previewed)

    checked = await run(importer, path, "check")
    assert "refused" in section(checked, "result")
    # The preview shows all that the check counts: with each deal's identifier.
    announced = re.search(r"(\d+) announcements to record", section(checked, "result"))
    assert announced
    assert section(checked, "preview").count("<li>") == int(announced[1])
    assert (await importer.get(f"/v1/deals?identifier={slug}:{slug}-1")).json()["deals"] == []

    done = await run(importer, path)
    found = (await importer.get(f"/v1/deals?identifier={slug}:{slug}-1")).json()["deals"]
    assert [deal["title"]["en"] for deal in found] == ["Cell factory"]
    assert "plants!D5" in section(done, "problems")

    report = await importer.get(f"{path}/refused.csv")
    assert report.headers["content-type"].startswith("text/csv")
    mended = report.content.replace(b"Atlantis", b"Nevada").replace(b"lots", b"95", 1)
    mapping = (await importer.get(f"{path}/mapping.toml")).content
    second = await upload(importer, "mended.csv", mended, mapping=mapping)
    assert "refused.csv" not in await run(importer, second)
    assert len((await importer.get(f"/v1/deals?identifier={slug}:{slug}-3")).json()["deals"]) == 1


async def test_newer_edition_asks_and_records_what_is_answered_on_the_page(
    importer: httpx.AsyncClient, slug: str
) -> None:
    first = await upload(importer, "plants.csv", PLANTS.format(x=slug).encode())
    await mapped(importer, first, slug)
    await run(importer, first)
    mapping = (await importer.get(f"{first}/mapping.toml")).content
    newer = PLANTS.format(x=slug).replace("Building,2027", "Building,2029").encode()
    second = await upload(importer, "plants.csv", newer, mapping=mapping)
    asked = await run(importer, second)
    question = re.search(r'name="(answer:changed-[^"]+)" value="world"', asked)
    assert question is not None
    [deal] = (await importer.get(f"/v1/deals?identifier={slug}:{slug}-1")).json()["deals"]
    state = f"/v1/deals/{deal['deal']}"
    assert (await importer.get(state)).json()["milestones"][0]["planned"] == "2027"

    answered = await send(importer, f"{second}/answers", **{question[1]: "world"})
    assert "checked" in section(answered.text, "questions")
    file = (await importer.get(f"{second}/questions.toml")).text
    assert 'answer = "world"' in file
    assert 'id="questions"' not in await run(importer, second)
    assert (await importer.get(state)).json()["milestones"][0]["planned"] == "2029"


async def test_workbook_in_korean_is_mapped_and_previewed(importer: httpx.AsyncClient, slug: str) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["번호", "사업명", "기업", "투자금액", "발표일"])
    sheet.append([f"{slug}-1", "배터리 공장", "알파에너지", "약 2조4천억 원", "2025-06-16"])
    sheet.append([f"{slug}-2", "반도체 공장", "베타", "5천억 원", "2025-07-01"])
    content = BytesIO()
    book.save(content)
    path = await upload(importer, "목록.xlsx", content.getvalue())
    page = await importer.get(path, headers={"Accept-Language": "ko"})
    assert "열의 의미" in page.text
    previewed = section(page.text, "preview")
    assert "2조 4,000억" in plain(previewed)
    assert "배터리 공장" in previewed


async def test_another_sheet_of_a_workbook_is_chosen(importer: httpx.AsyncClient, slug: str) -> None:
    book = openpyxl.Workbook()
    readme = book.active
    assert readme is not None
    readme.title = "Readme"
    readme.append(["About"])
    for name in ("Plants", "Ports"):
        sheet = book.create_sheet(name)
        sheet.append(["ID", f"{name} project", "Investor"])
        for i in range(3 if name == "Plants" else 2):
            sheet.append([f"{slug}-{i}", f"{name} {i}", "Alpha"])
    content = BytesIO()
    book.save(content)
    path = await upload(importer, "list.xlsx", content.getvalue())
    page = await importer.get(path)
    assert "Plants 1" in section(page.text, "preview")
    chosen = await send(importer, f"{path}/header", sheet="Ports")
    assert "Ports 1" in section(chosen.text, "preview")
    assert "Plants" not in section(chosen.text, "preview")
    token_ = token(chosen.text)
    refused = await importer.post(f"{path}/header", data={"csrf": token_, "sheet": "Boats"})
    assert refused.status_code == 400
    assert "Ports 1" in section((await importer.get(path)).text, "preview")


async def test_block_and_field_are_added_and_removed_without_scripts(importer: httpx.AsyncClient, slug: str) -> None:
    path = await upload(importer, "plants.csv", PLANTS.format(x=slug).encode())
    fields = fields_of((await importer.get(path)).text)
    added = await importer.post(f"{path}/mapping", data={**fields, "do": "block:setback"})
    page = await importer.get(added.headers["location"].partition("#")[0])
    fields = fields_of(page.text)
    assert fields["setback/0/setback:text"] == "setback-1"
    show = {"do": "field:setback/0", "add:setback/0": "setback/0/text"}
    shown = await importer.post(f"{path}/mapping", data={**fields, **show})
    page = await importer.get(shown.headers["location"].partition("#")[0])
    assert "setback/0/text:text" in fields_of(page.text)
    removed = await importer.post(f"{path}/mapping", data={**fields_of(page.text), "do": "remove:setback/0"})
    page = await importer.get(removed.headers["location"].partition("#")[0])
    assert not any(name.startswith("setback/") for name in fields_of(page.text))


async def test_wrong_mapping_is_shown_at_its_field(importer: httpx.AsyncClient, slug: str) -> None:
    path = await upload(importer, "plants.csv", PLANTS.format(x=slug).encode())
    fields = fields_of((await importer.get(path)).text)
    await importer.post(f"{path}/mapping", data={**fields, "party/0/role:text": "boss", "do": "save"})
    page = (await importer.get(path)).text
    row = page[page.index('id="party-0-role"') :].partition("</tr>")[0]
    assert 'class="fault"' in row
    # An import with a wrong mapping does not start.
    assert 'id="run"' not in page


async def test_import_is_seen_by_its_owner_only(importer: httpx.AsyncClient, service: Service, slug: str) -> None:
    path = await upload(importer, "plants.csv", PLANTS.format(x=slug).encode())
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=NO_TLS) as reader:
        assert (await reader.get(path)).headers["location"].startswith("/sign-in")
    other = (await service.issue("record")).secret
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=NO_TLS) as client:
        await client.post("/sign-in", data={"key": other, "then": "/"})
        assert (await client.get("/import")).status_code == 200
        assert (await client.get(path)).status_code == 404
        assert (await client.get(f"{path}/mapping.toml")).status_code == 404


async def test_upload_of_another_site_or_of_too_many_bytes_is_refused_and_leaves_no_import(
    importer: httpx.AsyncClient, slug: str
) -> None:
    sheet = PLANTS.format(x=slug).encode()
    forged = await importer.post("/import", data={"csrf": "x"}, files={"file": ("plants.csv", sheet)})
    assert forged.status_code == 403
    csrf = token((await importer.get("/import")).text)
    before = (await importer.get("/import")).text.count("/import/")
    large = b"x" * (65 * 2**20)
    refused = await importer.post("/import", data={"csrf": csrf}, files={"file": ("large.csv", large)})
    assert refused.status_code == 413
    binary = await importer.post("/import", data={"csrf": csrf}, files={"file": ("book.xlsx", b"not a workbook")})
    assert binary.status_code == 422
    assert (await importer.get("/import")).text.count("/import/") == before


@pytest.mark.parametrize("name", ["../../escape.csv", "..\\escape.csv", "/etc/escape.csv"])
async def test_name_of_an_uploaded_file_never_leaves_its_folder(
    importer: httpx.AsyncClient, slug: str, name: str
) -> None:
    path = await upload(importer, name, PLANTS.format(x=slug).encode())
    assert "<h1>escape.csv</h1>" in (await importer.get(path)).text


# --- review -----------------------------------------------------------------------------------------------------------


async def test_key_that_may_only_propose_sends_an_import_to_review(service: Service, slug: str) -> None:
    kim, lee = await service.issue("propose", name="Kim"), await service.issue("record", name="Lee")
    async with visit(service, kim) as proposer, visit(service, lee) as reviewer:
        path = await upload(proposer, "plants.csv", PLANTS.format(x=slug).encode())
        await mapped(proposer, path, slug)
        page = (await proposer.get(path)).text
        assert 'value="propose"' in page
        assert 'value="import"' not in page
        refused = await proposer.post(
            f"{path}/run", data={"csrf": token(page), "do": "import", "published_on": "2026-05-20"}
        )
        assert refused.status_code == 403
        size = await service.size()
        result = section(await run(proposer, path, "propose"), "result")
        assert await service.size() == size
        where = re.findall(r'href="(/proposals/[^"]+)"', result)[0]
        shown = await reviewer.get(where)
        assert "Cell factory" in shown.text
        assert "Pack plant" in shown.text
        done = await reviewer.post(where, data={**fields(shown.text), "decision": "approve"})
        assert done.status_code == 303, done.text
        assert await service.size() > size
        again = section(await run(proposer, path, "propose"), "result")
        assert "/proposals/" not in again.partition("</section>")[0]


async def test_import_of_events_that_need_a_second_person_is_sent_to_review(
    server: Server, admin: asyncpg.Connection[asyncpg.Record], slug: str
) -> None:
    async with (
        cloned(server, admin, "strict_imports") as settings,
        running(replace(settings, four_eyes=("pledge_announced",))) as service,
        visit(service, await service.issue("record")) as importer,
    ):
        path = await upload(importer, "plants.csv", PLANTS.format(x=slug).encode())
        await mapped(importer, path, slug)
        size = await service.size()
        assert "/proposals/" in section(await run(importer, path), "result").partition("</section>")[0]
        assert await service.size() == size


async def test_mapping_that_is_nested_too_deeply_or_too_long_is_refused(editor: httpx.AsyncClient) -> None:
    form = {"csrf": token((await editor.get("/import")).text), "published_on": "2026-05-20"}
    for mapping, status in ((b"a = " + b"[" * 100_000, 422), (b"#" * 300_000, 413)):
        parts = {"file": ("plants.csv", b"a,b\n1,2\n"), "mapping": ("mapping.toml", mapping)}
        assert (await editor.post("/import", data=form, files=parts)).status_code == status


async def test_sheet_in_another_encoding_is_read_once_the_page_names_it(importer: httpx.AsyncClient, slug: str) -> None:
    sheet = f"ID,Project,City\n{slug}-1,Micron’s plant,Münster\n{slug}-2,Café,Köln\n".encode("cp1252")
    form = await importer.get("/import")
    data = {"csrf": token(form.text), "published_on": "2026-05-20"}
    refused = await importer.post("/import", data=data, files={"file": ("list.csv", sheet)})
    assert refused.status_code == 422
    assert "encoding = &#34;windows-1252&#34;" in refused.text
    unknown = await importer.post("/import", data={**data, "encoding": "ebcdic"}, files={"file": ("list.csv", sheet)})
    assert unknown.status_code == 400
    answer = await importer.post(
        "/import", data={**data, "encoding": "windows-1252"}, files={"file": ("list.csv", sheet)}
    )
    assert answer.status_code == 303, answer.text
    path = answer.headers["location"]
    page = (await importer.get(path)).text
    assert "Micron’s plant" in section(page, "sheet")
    assert "list was read as WINDOWS-1252" in page
    # The mapping keeps the encoding, and with another one the sample is another.
    fields = fields_of(page)
    assert fields["options/encoding"] == "windows-1252"
    wrong = await importer.post(f"{path}/mapping", data={**fields, "options/encoding": "utf-8", "do": "save"})
    assert wrong.status_code == 422
    assert fields_of((await importer.get(path)).text)["options/encoding"] == "windows-1252"
    other = await send(importer, f"{path}/mapping", **{**fields, "options/encoding": "windows-1250", "do": "save"})
    assert "Micron’s plant" in section(other.text, "sheet")
    assert "list was read as WINDOWS-1250" in other.text


async def test_korean_sheet_of_excel_is_imported_through_the_page(importer: httpx.AsyncClient, slug: str) -> None:
    sheet = f"번호,사업명\n{slug}-1,울산 데이터센터\n".encode("cp949")
    mapping = (
        f'scheme = "{slug}"\n[source]\npublisher = "기관"\n[deal]\nkey = "번호"\nslug = "k-"\n'
        'title = { column = "사업명" }\n'
    )
    path = await upload(importer, "list.csv", sheet, mapping=mapping.encode())
    assert "list was read as CP949" in (await importer.get(path)).text
    await run(importer, path)
    found = await importer.get("/v1/deals", params={"identifier": f"{slug}:{slug}-1"})
    assert [deal["title"]["ko"] for deal in found.json()["deals"]] == ["울산 데이터센터"]


async def test_page_drafts_a_key_of_several_columns(importer: httpx.AsyncClient, slug: str) -> None:
    sheet = "Name,City\nData centre,Ulsan\nData centre,Busan\nOffice,Ulsan\nOffice,Busan\n"
    path = await upload(importer, "list.csv", sheet.encode())
    page = (await importer.get(path)).text
    assert "guessed as the key: together, Name + City" in page
    fields = fields_of(page)
    assert fields["deal/key:text"] == "{Name}, {City}"
    saved = {**fields, "options/scheme": slug, "source/0/publisher:text": "A list", "do": "save"}
    await send(importer, f"{path}/mapping", **saved)
    await run(importer, path)
    found = (await importer.get("/v1/deals", params={"identifier": f"{slug}:Office, Busan"})).json()["deals"]
    assert [deal["title"]["en"] for deal in found] == ["Office, Busan"]
