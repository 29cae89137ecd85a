"""Property 17, in the service: several processes, restored databases, lost state; signed trees never contradict."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog
from msgspec.structs import replace

from registry.events import continuity
from registry.http import deadline
from registry.infra.settings import Settings
from registry.transparency import evidence
from registry.transparency.checkpoint import Checkpoint, open_checkpoint, parse_note, verify_consistent
from registry.transparency.signer import Signer
from tests.api.announcements import registered
from tests.databases import ScratchDatabase, copy_database
from tests.service import Service, running
from tests.transparency.conftest import ORIGIN, append_until, as_superuser, head, keys, post


def files(settings: Settings) -> list[Path]:
    directory = settings.signing_key.parent
    return sorted(directory.iterdir()) if directory.exists() else []


def forget(settings: Settings, *ends: str) -> None:
    for end in ends:
        Path(f"{settings.signing_key}{end}").unlink()


async def follows(service: Service, earlier: Checkpoint, later: Checkpoint) -> None:
    """Check that two checkpoints are consistent, with the proof that the service returns."""
    path = f"/v1/log/proof/consistency?from={earlier.size}&to={later.size}"
    proof = (await service.visitor.get(path)).json()["path"]
    verify_consistent(earlier, later, [bytes.fromhex(node) for node in proof])


async def unavailable(service: Service, *codes: str) -> dict[str, Any]:
    answer = await service.visitor.get("/log/checkpoint")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    problem: dict[str, Any] = answer.json()
    assert problem["code"] in (codes or ("evidence_unavailable",))
    assert str(service.settings.signing_key) not in answer.text
    return problem


async def accept_loss(database: ScratchDatabase) -> None:
    """Accept the log as it is, as an operator does."""
    operator = await asyncpg.connect(database.owner_url)
    assert await continuity.accept(operator, "an operator", "a drill")
    await operator.close()


async def eventually(condition: Any) -> None:
    while not condition():  # noqa: ASYNC110 - a file has no event
        await asyncio.sleep(0.02)


@pytest.fixture
async def snapshot(database: ScratchDatabase, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Any]:
    """Functions that back up the database and restore it."""
    kept = f"{database.name}_backup"

    async def take() -> None:
        await copy_database(admin, database.name, kept)

    async def restore() -> None:
        await admin.execute(f"DROP DATABASE {database.name} WITH (FORCE)")
        await copy_database(admin, kept, database.name)

    yield take, restore
    await admin.execute(f"DROP DATABASE IF EXISTS {kept} WITH (FORCE)")


async def test_two_processes_sign_consistent_checkpoints(settings: Settings) -> None:
    async with running(settings) as one, running(settings) as two:
        checkpoints: list[Checkpoint] = []

        async def work(service: Service, name: str) -> None:
            for number in range(5):
                (receipt,) = await post(service, f"{name}-{number}", registered())
                checkpoints.append(await head(service))
                assert checkpoints[-1].size >= receipt["position"]

        await asyncio.gather(*(work(s, f"p{n}{w}") for n, s in enumerate((one, two)) for w in range(3)))
        checkpoints.sort(key=lambda checkpoint: checkpoint.size)
        for earlier, later in pairwise(checkpoints):
            await follows(one, earlier, later)
        rows = await one.pool.fetch("SELECT size, count(DISTINCT note) AS notes FROM checkpoints GROUP BY size")
        assert {row["notes"] for row in rows} == {1}
        assert len(await keys(one)) == 1


async def test_process_without_the_key_serves_checkpoints_of_the_other(settings: Settings) -> None:
    without = replace(settings, signing_key=settings.data_dir / "elsewhere" / "signing.key")
    async with running(replace(settings, checkpoint_seconds=0)) as one:
        await append_until(one, 5)
        await head(one)
        async with running(without) as two:
            assert await keys(two) == await keys(one)
            await append_until(two, 9)
            checkpoint = open_checkpoint((await two.visitor.get("/log/checkpoint")).content, await keys(one))
            assert checkpoint.size == 9
    assert files(without) == []


async def test_process_without_the_key_is_unavailable_when_no_process_signs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings) as one:
        await append_until(one, 5)
        await head(one)
    elsewhere = settings.data_dir / "elsewhere" / "signing.key"
    async with running(replace(settings, signing_key=elsewhere, checkpoint_seconds=0)) as two:
        await head(two)  # the signed checkpoint is available
        await append_until(two, 6)
        monkeypatch.setattr(evidence, "SIGN_TIMEOUT_SECONDS", 0.2)
        await unavailable(two)
        # Proofs between sizes that are signed need no signature.
        assert (await two.visitor.get("/v1/log/proof/consistency?from=3&to=5")).status_code == 200
        assert (await two.visitor.get("/v1/deals")).status_code == 200


def test_wait_for_a_signature_is_shorter_than_a_read_may_take(settings: Settings) -> None:
    assert evidence.SIGN_TIMEOUT_SECONDS + settings.checkpoint_seconds < deadline.ANONYMOUS_SECONDS


async def test_restored_backup_without_signed_events_is_not_signed(
    settings: Settings, snapshot: Any, database: ScratchDatabase
) -> None:
    take, restore = snapshot
    async with running(settings) as service:
        await append_until(service, 20)
        await head(service)
    await take()
    async with running(settings) as service:
        await append_until(service, 30)
        last = await head(service)
    await restore()
    async with running(settings) as service:
        await unavailable(service, "log_rewound")
        answer = await service.client.post("/v1/deals/plant/events", json=registered())
        assert (answer.status_code, answer.json()["code"]) == (503, "log_rewound")
        await accept_loss(database)
        while (await service.visitor.get("/health/ready")).status_code == 503:  # noqa: ASYNC110 - another task's work
            await asyncio.sleep(0.1)
        await append_until(service, 25)  # recording continues, with other events
        await unavailable(service)
        await append_until(service, 40)
        await unavailable(service)
        assert (await service.visitor.get("/v1/deals")).status_code == 200
    assert Signer(settings.signing_key, ORIGIN).last() == last


async def test_log_with_a_changed_event_is_not_signed(
    settings: Settings, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with running(settings) as service:
        await append_until(service, 20)
        await head(service)
        await as_superuser(owner, "UPDATE events SET leaf_hash = sha256(leaf_hash) WHERE position = 3")
        await post(service, "goes-on", registered())
        await unavailable(service)


async def test_lost_state_is_restored_from_the_database_and_the_exported_copy(
    settings: Settings, snapshot: Any, tmp_path: Path, database: ScratchDatabase
) -> None:
    take, restore = snapshot
    exporting = replace(settings, checkpoint_export=tmp_path / "copy")
    async with running(exporting) as service:
        await append_until(service, 10)
        await head(service)
    await take()
    forget(settings, ".head", ".heads")
    async with running(exporting) as service:
        assert (await head(service)).size == 10
        await append_until(service, 20)
        assert (await head(service)).size == 20
    # Only the exported copy has the newest checkpoint.
    forget(settings, ".head", ".heads")
    (settings.data_dir / continuity.MARK_FILE).unlink()
    await restore()
    async with running(exporting) as service:
        await unavailable(service, "evidence_unavailable", "log_rewound")
    await accept_loss(database)
    (tmp_path / "copy").unlink()
    forget(settings, ".head")
    async with running(exporting) as service:
        assert (await head(service)).size == 10  # no newer checkpoint exists anywhere


async def test_key_without_any_state_signs_nothing(
    settings: Settings, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with running(settings) as service:
        await append_until(service, 10)
        await head(service)
    forget(settings, ".head")
    await as_superuser(owner, "DELETE FROM checkpoints")
    async with running(settings) as service:
        await unavailable(service)


@pytest.mark.parametrize("end", ["", ".pub", ".head"])
async def test_service_with_a_broken_key_says_so_and_records(settings: Settings, end: str) -> None:
    async with running(settings):
        pass
    file = settings.signing_key.with_name(f"{settings.signing_key.name}{end}")
    file.write_text("nothing that can be read")
    async with running(settings) as service:
        await post(service, "goes-on", registered())
        await unavailable(service)
        ready = (await service.visitor.get("/health/ready")).json()
        assert (ready["recorder"], ready["signer"]) == (True, False)
        # Anyone can read it, so it names no file.
        assert not any(str(settings.data_dir) in warning for warning in ready["warnings"])
    assert file.read_text() == "nothing that can be read"


async def test_forged_checkpoint_in_the_database_stops_the_signer(
    settings: Settings, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with running(settings) as service:
        await append_until(service, 10)
        await head(service)
        await as_superuser(
            owner, "UPDATE checkpoints SET note = replace(note, E'\\n10\\n', E'\\n11\\n') WHERE size = 10"
        )
        await post(service, "goes-on", registered())
        await unavailable(service)


async def test_checkpoints_are_exported_to_a_directory_or_a_file(settings: Settings, tmp_path: Path) -> None:
    directory, file = tmp_path / "copies", tmp_path / "copy"
    directory.mkdir()
    async with running(replace(settings, checkpoint_export=directory, checkpoint_seconds=3600)) as service:
        for size in (0, 4, 9):
            await append_until(service, size)
            await head(service)
        verifiers = await keys(service)
    copies = sorted(directory.iterdir())
    sizes = [open_checkpoint(copy.read_text(), verifiers).size for copy in copies]
    assert {0, 4, 9} <= set(sizes)
    assert sizes == sorted(sizes)
    assert [copy.name for copy in copies] == [f"{size:020}.checkpoint" for size in sizes]
    async with running(replace(settings, checkpoint_export=file)) as service:
        await append_until(service, 12)
        note = (await service.visitor.get("/log/checkpoint")).text
        await eventually(lambda: file.exists() and file.read_text() == note)


async def test_log_is_signed_after_a_commit_without_a_request(settings: Settings, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    async with running(replace(settings, checkpoint_export=copy, checkpoint_seconds=0)) as service:
        await append_until(service, 7)
        await eventually(lambda: copy.exists() and Checkpoint.parse(parse_note(copy.read_text()).text).size == 7)


async def test_failed_export_does_not_prevent_signing(settings: Settings) -> None:
    async with running(replace(settings, checkpoint_export=settings.data_dir / "missing" / "copy")) as service:
        await append_until(service, 3)
        assert (await head(service)).size == 3


async def test_recording_does_not_wait_for_the_signer(settings: Settings) -> None:
    async with running(settings) as service:
        await head(service)
        lock = os.open(f"{settings.signing_key}.lock", os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = asyncio.create_task(service.visitor.get("/log/checkpoint"))
            await append_until(service, 50)
            covers = asyncio.create_task(service.visitor.get("/log/checkpoint"))
            await append_until(service, 80)
            assert not covers.done()
        finally:
            os.close(lock)
        assert (await before).status_code == 200
        assert open_checkpoint((await covers).content, await keys(service)).size >= 50


async def test_rotated_key_signs_and_old_checkpoints_stay_valid(settings: Settings) -> None:
    async with running(settings) as service:
        await append_until(service, 5)
        old = (await service.visitor.get("/log/checkpoint")).content
        first = (await keys(service))[0]
        second = Signer(settings.signing_key, ORIGIN).rotate()
        await append_until(service, 8)
        new = (await service.visitor.get("/log/checkpoint")).content
        assert await keys(service) == [first, second]
        assert open_checkpoint(new, [second]).size == 8
        assert open_checkpoint(old, [first]).size == 5
        assert open_checkpoint(old, await keys(service)).size == 5
        await follows(service, open_checkpoint(old, [first]), open_checkpoint(new, [second]))


async def test_signing_key_is_not_logged_stored_or_served(
    settings: Settings, owner: asyncpg.Connection[asyncpg.Record], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as lines:
        async with running(settings) as service:
            await append_until(service, 3)
            note = await service.visitor.get("/log/checkpoint")
            await as_superuser(owner, "UPDATE events SET leaf_hash = sha256(leaf_hash) WHERE position = 1")
            await post(service, "goes-on", registered())
            await unavailable(service)
    assert any(line["event"] == "the signer refuses" for line in lines)
    secret = settings.signing_key.read_text().strip()
    shown = f"{lines}{caplog.text}{note.text}{settings!r}"
    # PRIVATE+KEY+name+id+data: the data is base64, which may contain a plus sign.
    for part in (secret, secret.split("+", 4)[4]):
        assert part not in shown
        for table in ("checkpoints", "events", "keys", "idempotency"):
            assert not await owner.fetchval(
                f"SELECT EXISTS (SELECT FROM {table} AS t WHERE t::text LIKE '%' || $1 || '%')", part
            )
    assert settings.signing_key.stat().st_mode & 0o077 == 0
