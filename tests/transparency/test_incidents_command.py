"""`registry log incidents` and `registry log accept`, and what `registry doctor` says of a rewound log."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from registry.events import continuity
from registry.events.continuity import MARK_FILE, ContinuityGuard, LogMark
from registry.infra import postgres
from tests.api.announcements import registered
from tests.databases import ScratchDatabase
from tests.service import Service
from tests.transparency.conftest import append_until
from tests.transparency.test_cli import registry, rows


async def test_operator_sees_and_accepts_the_loss_of_events(service: Service) -> None:
    await append_until(service, 3)
    guard = service.app.state.services.recorder.log_writer.continuity
    await guard.report(service.pool, "seen", 9, "ab" * 32, 3)
    answer = await service.client.post("/v1/deals/plant/events", json=registered())
    assert (answer.status_code, answer.json()["code"]) == (503, "log_rewound")
    (incident,) = rows(await registry(service.settings, "log", "incidents", "--json"))
    assert (incident["lacked"], incident["log ended at"], incident["reason"]) == ("seen 9", "3", "")
    refused = await registry(service.settings, "log", "accept", "--by", "an operator", "--reason", " ")
    assert refused.returncode == 2
    decision = ("log", "accept", "--json", "--by", "an operator", "--reason", "the disk is lost")
    (decided,) = rows(await registry(service.settings, *decision))
    assert (decided["decided by"], decided["reason"]) == ("an operator", "the disk is lost")
    assert (await registry(service.settings, *decision)).returncode == 3
    assert (await service.client.post("/v1/deals/plant/events", json=registered())).status_code == 201


async def test_loss_that_an_operator_accepts_while_a_service_reports_it_stays_accepted(
    database: ScratchDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await asyncpg.connect(database.owner_url)
    guard = ContinuityGuard()
    guard.mark = LogMark(9, "ab" * 32)
    report, reported = guard.report, asyncio.Event()

    async def report_around_the_decision(*args: Any) -> None:
        await report(*args)
        await continuity.accept(owner, "an operator", "the disk is lost")
        await report(*args)
        reported.set()

    monkeypatch.setattr(guard, "report", report_around_the_decision)
    async with await postgres.pool(database.app_url) as pool, guard.watching(pool):
        await reported.wait()
        assert [incident.decided_by for incident in await continuity.incidents(owner)] == ["an operator"]
    await owner.close()


async def test_doctor_compares_the_log_with_what_this_host_knows(service: Service) -> None:
    await append_until(service, 3)
    assert (await service.visitor.get("/log/checkpoint")).status_code == 200

    async def found() -> dict[str, Any]:
        done = await registry(service.settings, "doctor", "--json")
        return {row["check"]: row["found"] for row in json.loads(done.stdout)}

    checks = await found()
    assert (checks["log"], checks["checkpoints"]) == ("fine", "fine")
    # The running service may write its own mark in between.
    seen: set[str] = set()
    for _ in range(10):
        _write(service.settings.data_dir / MARK_FILE, {"position": 9, "leaf_hash": "ab" * 32, "decisions": 0})
        seen.add((await found())["log"])
        if "wrong" in seen:
            break
    assert "wrong" in seen


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content))
