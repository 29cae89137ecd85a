"""`registry verify` and `registry log`: their output and their exit codes."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from registry.infra.settings import Settings, variable
from registry.transparency.checkpoint import CheckpointError, SigningKey, VerifierKey, open_checkpoint
from registry.transparency.findings import Finding
from tests.api.announcements import pledged, registered
from tests.preloaded import COMMAND, preloaded
from tests.service import Service
from tests.transparency.conftest import append_until, as_superuser, head, keys, post

Done = subprocess.CompletedProcess


async def registry(settings: Settings | None, *arguments: str, given: bytes = b"") -> Done[str]:
    environment = {"HOME": "/nonexistent", **preloaded()}
    if settings is not None:
        chosen = ("database_url", "owner_url", "data_dir", "signing_key", "log_origin")
        environment |= {variable(name): str(getattr(settings, name)) for name in chosen}
    done = await asyncio.to_thread(
        subprocess.run,
        [COMMAND, *arguments],
        env=environment,
        input=given,
        capture_output=True,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def rows(done: Done[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_verify_reports_the_log_and_records_the_verification(service: Service) -> None:
    await append_until(service, 300)
    checkpoint = await head(service)
    (result,) = rows(await registry(service.settings, "verify"))
    assert (result["size"], result["root"], result["erased"]) == (300, checkpoint.root.hex(), 0)
    kept = await service.app.state.services.evidence.last_verified()
    assert (kept[1], kept[2]) == (300, checkpoint.root)


async def test_verify_exits_with_6_and_names_the_changed_position(
    service: Service, owner: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    await append_until(service, 20)
    note = (await service.visitor.get("/log/checkpoint")).text
    await as_superuser(owner, "UPDATE events SET recorded_by = 'somebody' WHERE position = 7")
    done = await registry(service.settings, "verify")
    assert done.returncode == 6
    assert str(Finding("log_entry_field", position=7, field="recorded_by")) in done.stderr
    # If the registry's own checkpoints are removed too, only a checkpoint kept elsewhere shows the cut.
    memory = Path(f"{service.settings.signing_key}.head")
    await as_superuser(
        owner,
        "UPDATE events SET recorded_by = 'admin' WHERE position = 7",
        "DELETE FROM event_contents WHERE position > 15",
        "DELETE FROM events WHERE position > 15",
        "DELETE FROM checkpoints",
    )
    await asyncio.to_thread(memory.unlink)
    assert (await registry(service.settings, "verify")).returncode == 0
    kept = tmp_path / "kept"
    kept.write_text(note)
    done = await registry(service.settings, "verify", "--checkpoint", str(kept))
    assert done.returncode == 6
    source = Finding("source_file", file=str(kept))
    assert str(Finding("log_cut_off", size=15, source=source, expected=20, position=16)) in done.stderr


async def test_verify_exits_with_6_for_a_checkpoint_of_another_key(
    service: Service, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    await append_until(service, 5)
    await head(service)
    stranger = SigningKey.generate("registry.example/log")
    note = stranger.sign((await head(service)).body())
    await as_superuser(owner, f"UPDATE checkpoints SET note = '{note}' WHERE size = 5")
    done = await registry(service.settings, "verify")
    assert done.returncode == 6
    problem = CheckpointError(reason=Finding("note_signer_unknown")).message
    source = Finding("source_database", size=5)
    assert str(Finding("log_checkpoint", source=source, problem=problem)) in done.stderr


async def test_verify_checks_a_bundle_with_only_the_key(service: Service, tmp_path: Path) -> None:
    await post(service, "plant", registered(), pledged())
    (key,) = await keys(service)
    published = tmp_path / "log.pub"
    published.write_text(f"{key}\n")
    for path, accept, given in (
        ("/v1/deals/plant?certificate=true", "*/*", str(key)),
        ("/v1/log/proof/inclusion?position=4", "*/*", str(published)),
        ("/v1/log/proof/inclusion?position=4", "text/plain", str(key)),
    ):
        bundle = tmp_path / "bundle"
        bundle.write_bytes((await service.visitor.get(path, headers={"accept": accept})).content)
        (result,) = rows(await registry(None, "verify", str(bundle), "--key", given))
        assert (result["position"], result["size"], result["origin"]) == (4, 4, "registry.example/log")
        changed = bundle.read_bytes().replace(b"pledge_announced", b"pledge_withdrawn").replace(b"index 3", b"index 2")
        done = await registry(None, "verify", "-", "--key", given, given=changed)
        assert (done.returncode, done.stdout) == (6, ""), accept


@pytest.mark.parametrize(
    "command", [("show", "plant"), ("list", "--region", "KR"), ("totals", "--group-by", "organization")]
)
async def test_commands_write_certificates_that_verify(
    service: Service, tmp_path: Path, command: tuple[str, ...]
) -> None:
    await post(service, "plant", registered(), pledged())
    (key,) = await keys(service)
    written = await registry(None, *command, "--certificate", "--table", "--url", service.url)
    assert written.returncode == 0, written.stderr
    bundle = tmp_path / "bundle"
    bundle.write_text(written.stdout)
    (result,) = rows(await registry(None, "verify", str(bundle), "--key", str(key)))
    assert result["size"] == await service.size()


async def test_verify_with_a_missing_or_malformed_key_is_a_usage_error(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.write_text("{}")
    assert (await registry(None, "verify", str(bundle))).returncode == 2
    assert (await registry(None, "verify", str(bundle), "--key", "no+key")).returncode == 2
    empty = await registry(None, "verify", str(bundle), "--key", "")
    assert empty.returncode == 2
    assert "Errno" not in empty.stderr
    assert (await registry(None, "verify", str(tmp_path / "missing"), "--key", "no+key")).returncode == 2


async def test_log_commands_show_and_rotate_keys_and_sign_checkpoints(service: Service, tmp_path: Path) -> None:
    await append_until(service, 5)
    old = (await service.visitor.get("/log/checkpoint")).text
    first = await registry(service.settings, "log", "keys")
    assert VerifierKey.parse(first.stdout.strip()) == (await keys(service))[0]
    rotated = await registry(service.settings, "log", "rotate-key")
    assert rotated.returncode == 0, rotated.stderr
    both = await registry(service.settings, "log", "keys")
    assert both.stdout == first.stdout + rotated.stdout
    # The service returns a checkpoint signed with the new key; the old one verifies with the old key.
    note = (await service.visitor.get("/log/checkpoint")).text
    assert open_checkpoint(note, [VerifierKey.parse(rotated.stdout.strip())]).size == 5
    assert open_checkpoint(old, [VerifierKey.parse(first.stdout.strip())]).size == 5
    secret = service.settings.signing_key.read_text().strip()
    assert secret not in f"{first}{rotated}{both}"
    copy = tmp_path / "copy"
    signed = await registry(service.settings, "log", "checkpoint", "--to", str(copy))
    assert signed.stdout == copy.read_text() == note
    assert rows(await registry(service.settings, "verify", "--checkpoint", str(copy)))[0]["size"] == 5


async def test_lost_signing_key_is_replaced_with_the_published_keys_alone(service: Service) -> None:
    await append_until(service, 5)
    old = (await service.visitor.get("/log/checkpoint")).text
    published = (await registry(service.settings, "log", "keys")).stdout
    file = service.settings.signing_key
    for lost in (file, *(file.with_name(f"{file.name}.{end}") for end in ("pub", "head", "heads", "lock"))):
        lost.unlink()
    refused = await registry(service.settings, "log", "rotate-key")
    assert refused.returncode == 1
    assert f"{file}.pub" in refused.stderr
    file.with_name(f"{file.name}.pub").write_text(published)
    rotated = await registry(service.settings, "log", "rotate-key")
    assert rotated.returncode == 0, rotated.stderr
    await append_until(service, 7)
    note = (await service.visitor.get("/log/checkpoint")).text
    assert open_checkpoint(note, [VerifierKey.parse(rotated.stdout.strip())]).size == 7
    assert open_checkpoint(old, [VerifierKey.parse(published.strip())]).size == 5
