"""`record`, `import`, `export` and `tail`, with their exit codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest
import pytest_asyncio
from msgspec import Struct
from typer.testing import CliRunner

from registry import cli
from tests.api.announcements import pledged, registered
from tests.databases import Server
from tests.service import ADMIN_KEY, Service, cloned, running

Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Ended(Struct):
    """A command's exit code and output."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Awaitable[Ended]]


@pytest_asyncio.fixture(scope="module")
async def service(server: Server, admin: Admin) -> AsyncIterator[Service]:
    async with cloned(server, admin, "cli") as settings, running(settings) as service:
        yield service


@pytest.fixture
def run(service: Service) -> Run:
    """Run a command against the service, with an API key."""

    async def ran(*words: str, input: bytes = b"") -> Ended:
        env = {"REGISTRY_URL": service.url, "REGISTRY_KEY": ADMIN_KEY}
        result = await asyncio.to_thread(CliRunner().invoke, cli.command(words[0]), list(words), input, env)
        return Ended(result.exit_code, result.stdout, result.stderr)

    return ran


def ndjson(*lines: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(line).encode() for line in lines)


async def test_record_accepts_an_object_a_list_or_lines_and_records_all_or_none(run: Run, service: Service) -> None:
    size = await service.size()
    dry = await run("record", "-", "--dry-run", "--deal", "one", input=json.dumps(registered()).encode())
    assert (dry.code, dry.json[0]["status"]) == (0, 200)
    assert dry.json[0]["changes"][0]["field"] == "/deal"
    assert await service.size() == size
    listed = json.dumps([{"deal": "one", **registered()}, {"deal": "one", **pledged()}]).encode()
    assert [(r["status"], r["version"]) for r in (await run("record", "-", input=listed)).json] == [(201, 1), (201, 2)]
    lines = ndjson(pledged(pledge="more"), pledged(pledge="most"))
    assert [r["version"] for r in (await run("record", "-", "--deal", "one", input=lines)).json] == [3, 4]
    size = await service.size()
    broken = await run("record", "-", "--deal", "one", input=ndjson(pledged(pledge="last"), pledged()))
    assert broken.code == 4
    assert "Line 2: " in broken.err
    wrong = await run("record", "-", "--deal", "one", input=b'{"effective_on": 5}')
    assert wrong.code == 5
    assert "/0/" in wrong.err
    assert (await run("record", "-", input=b"{")).code == 2
    assert (await run("record", "/nonexistent")).code == 2
    assert await service.size() == size


async def test_import_reports_rejected_lines_and_continues(run: Run, service: Service, tmp_path: Path) -> None:
    lines = [{"deal": f"plant-{n}", **registered(), "id": f"0198a7c2-0000-7000-8000-{n:012}"} for n in range(30)]
    file = tmp_path / "lines.ndjson"
    await asyncio.to_thread(file.write_bytes, ndjson(*lines[:10], {"deal": "unknown", **pledged()}, *lines[10:]))
    size = await service.size()
    first = await run("import", str(file))
    assert (first.code, first.json) == (4, [{"recorded": 30, "already recorded": 0, "refused": 1}])
    assert "line 11: unknown" in first.err
    assert await service.size() == size + 30
    again = await run("import", "-", input=ndjson(*lines))
    assert (again.code, again.json) == (0, [{"recorded": 0, "already recorded": 30, "refused": 0}])
    assert (await run("import", "-", input=b"{")).code == 5
    assert await service.size() == size + 30


async def test_import_proposes_lines_and_sheets_instead_of_recording_them(
    run: Run, service: Service, tmp_path: Path
) -> None:
    lines = [{"deal": f"proposed-{n}", **registered(), "id": f"0198a7c2-0000-7000-8001-{n:012}"} for n in range(3)]
    size = await service.size()
    first = await run("import", "-", "--propose", input=ndjson(*lines))
    assert (first.code, first.json) == (0, [{"proposed": 3, "recorded or waiting already": 0}])
    assert "/proposals/" in first.err
    again = await run("import", "-", "--propose", input=ndjson(*lines))
    assert again.json == [{"proposed": 0, "recorded or waiting already": 3}]
    # More than a request may have is sent in pieces, and is one submission all the same.
    note = "x" * 3000
    many = [{"deal": f"proposed-many-{n}", **registered(), "note": note} for n in range(3000)]
    large = await run("import", "-", "--propose", input=ndjson(*many))
    assert large.json == [{"proposed": 3000, "recorded or waiting already": 0}], large.err
    listed = (await service.client.get("/v1/proposals", params={"status": "open", "limit": 1000})).json()["proposals"]
    assert len({one["submission"] for one in listed if one["deal"].startswith("proposed-many-")}) == 1
    sheet = tmp_path / "deals.csv"
    await asyncio.to_thread(
        sheet.write_text,
        "deal,type,effective_on,title.en,source.publisher,source.published_on\n"
        "proposed-sheet,deal_registered,2025-01-01,A plant,A paper,2025-01-01\n",
    )
    proposed = await run("import", str(sheet), "--propose")
    assert (proposed.code, "/proposals/" in proposed.err) == (0, True), proposed.err
    assert await service.size() == size


async def test_export_writes_what_the_api_returns(run: Run, service: Service, tmp_path: Path) -> None:
    await run("record", "-", input=ndjson({"deal": "exported", **registered("Here")}))
    file = tmp_path / "deals.csv"
    assert (await run("export", "deals.csv", "--to", str(file))).code == 0
    text = await asyncio.to_thread(file.read_text)
    assert text == (await run("export", "deals.csv")).out.replace("\r\n", "\n")
    assert "exported,Here" in text
    events = await run("export", "events.ndjson", "--deal", "exported")
    assert [json.loads(line)["deal"] for line in events.out.splitlines()] == ["exported"]
    assert (await run("export", "deals.pdf")).code == 3
    assert (await run("export", "deals.csv", "--effective-on", "tomorrow")).code == 2


async def test_tail_prints_the_last_events(run: Run, service: Service) -> None:
    await run("record", "-", input=ndjson(*({"deal": f"tailed-{n}", **registered()} for n in range(5))))
    shown = [json.loads(line) for line in (await run("tail", "-n", "2")).out.splitlines()]
    assert [event["deal"] for event in shown] == ["tailed-3", "tailed-4"]
    assert (
        shown == (await service.visitor.get("/v1/events", params={"after": shown[0]["position"] - 1})).json()["events"]
    )


async def test_command_without_a_service_reports_the_url(run: Run) -> None:
    ended = await run("tail", "--url", "http://127.0.0.1:9")
    assert ended.code == 1
    assert "http://127.0.0.1:9" in ended.err
