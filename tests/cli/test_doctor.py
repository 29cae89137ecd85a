"""`registry doctor` finds what is wrong with a server, its roles, files and receivers, and says what to do."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from cryptography.fernet import Fernet
from typer.testing import CliRunner

from registry import cli
from registry.delivery import webhook_store
from registry.delivery.webhook_store import Webhook
from registry.infra import postgres
from registry.infra.settings import variable
from tests.cli.test_service import ENVIRONMENT
from tests.databases import ScratchDatabase

Checks = dict[str, tuple[str, str]]

# The command changes where this process logs to.
pytestmark = pytest.mark.usefixtures("own_logging")


async def examine(data_dir: Path, database: ScratchDatabase | None = None, **settings: str) -> Checks:
    """Each check's result and detail."""
    given = {variable(name): value for name, value in settings.items()}
    if database is not None:
        given = {"REGISTRY_DATABASE_URL": database.app_url} | given
    words = ["doctor", "--json", "--port", "0", "--data-dir", str(data_dir)]
    environ = ENVIRONMENT | given
    done = await asyncio.to_thread(CliRunner().invoke, cli.command("doctor"), words, None, environ)
    rows = json.loads(done.stdout)
    assert done.exit_code == any(row["found"] == "wrong" for row in rows)
    return {row["check"]: (row["found"], row["detail"]) for row in rows}


async def test_database_that_the_first_start_creates_is_not_examined(tmp_path: Path) -> None:
    checks = await examine(tmp_path)
    assert {result for result, _ in checks.values()} == {"fine"}
    assert {"database", "clock", "port"} <= checks.keys()
    assert not {"log", "projections", "checkpoints", "webhooks", "exchange rates"} & checks.keys()
    assert await asyncio.to_thread(os.listdir, tmp_path) == []


async def test_data_directory_that_cannot_be_made_is_wrong(tmp_path: Path) -> None:
    """The directory would be below a file: root, who may write everywhere else, cannot make it either."""
    (tmp_path / "file").touch()
    found, detail = (await examine(tmp_path / "file" / "data"))["data directory"]
    assert found == "wrong"
    assert f"cannot write to {tmp_path / 'file'}" in detail


async def test_server_that_may_lose_a_commit_is_a_warning(database: ScratchDatabase, tmp_path: Path) -> None:
    """The server of the tests does not flush."""
    found, detail = (await examine(tmp_path, database))["database server"]
    assert found == "warning"
    assert "fsync" in detail


async def test_role_of_the_service_should_not_own_the_tables(database: ScratchDatabase, tmp_path: Path) -> None:
    checks = await examine(tmp_path, database, owner_url=database.owner_url)
    assert checks["tables' owner"][0] == "fine"
    checks = await examine(tmp_path, database, owner_url=database.app_url)
    assert checks["tables' owner"][0] == "wrong"


async def test_interrupted_migration_is_found(
    database: ScratchDatabase, owner: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    # A unique index on what is not unique: its concurrent build fails and leaves it invalid.
    await owner.execute("CREATE TABLE twice AS SELECT 1 AS number FROM generate_series(1, 2)")
    with pytest.raises(asyncpg.UniqueViolationError):
        await owner.execute("CREATE UNIQUE INDEX CONCURRENTLY half_built ON twice (number)")
    found, detail = (await examine(tmp_path, database))["database server"]
    assert found == "wrong"
    assert "half_built" in detail


async def test_keys_that_do_not_open_the_secrets_of_webhooks_are_found(
    database: ScratchDatabase, tmp_path: Path
) -> None:
    key = tmp_path / "secrets.key"
    assert (await examine(tmp_path, database))["key of secrets"][0] == "fine"
    assert not key.exists()
    right = Fernet.generate_key()
    webhook = Webhook(
        id=str(uuid4()),
        url="https://receiver.example/",
        type=None,
        deal=None,
        organization=None,
        source=None,
        deals=None,
        format="standard",
        position=0,
        failures=3,
        next_at=None,
        created_at=datetime.now(UTC),
        created_by="admin",
        disabled_at=None,
        rotation_ends_at=None,
    )
    async with await postgres.pool(database.app_url) as pool:
        await webhook_store.insert(pool, webhook, Fernet(right).encrypt(b"a secret"))
        key.write_bytes(right)
        assert (await examine(tmp_path, database))["webhooks"][0] == "fine"
        await webhook_store.postpone(pool, webhook.id, 10, datetime.now(UTC), datetime.now(UTC))
    found, detail = (await examine(tmp_path, database))["webhooks"]
    assert found == "warning"
    assert webhook.id in detail
    key.write_bytes(Fernet.generate_key())
    found, detail = (await examine(tmp_path, database))["webhooks"]
    assert found == "wrong"
    assert str(key) in detail
    key.write_text("not a key")
    found, detail = (await examine(tmp_path, database))["key of secrets"]
    assert found == "wrong"
    assert str(key) in detail


async def test_key_files_that_other_users_can_read_are_a_warning(tmp_path: Path) -> None:
    signing, secrets = tmp_path / "signing key", tmp_path / "secrets.key"
    for file in (signing, secrets):
        file.touch(0o600)

    async def examined() -> tuple[str, str]:
        return (await examine(tmp_path / "data", signing_key=str(signing), secrets_key=str(secrets)))["key files"]

    assert (await examined())[0] == "fine"
    # A group may have the same key, as in Kubernetes.
    secrets.chmod(0o640)
    signing.chmod(0o644)
    found, detail = await examined()
    assert found == "warning"
    assert f"chmod o= '{signing}'" in detail
    assert str(secrets) not in detail


@pytest.mark.parametrize("content", ["", "PRIVATE+KEY+of+another+kind"])
async def test_signing_key_that_cannot_be_read_is_wrong(
    database: ScratchDatabase, tmp_path: Path, content: str
) -> None:
    assert (await examine(tmp_path, database))["checkpoints"][0] == "fine"
    key = tmp_path / "signing.key"
    key.write_text(content)
    found, detail = (await examine(tmp_path, database))["checkpoints"]
    assert found == "wrong"
    assert str(key) in detail
    assert key.read_text() == content


async def test_receivers_that_do_not_answer_are_warnings(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert (await examine(tmp_path, otlp_endpoint=f"http://127.0.0.1:{port}"))["traces"][0] == "fine"
    oidc = {"oidc_client_id": "registry", "oidc_rights": "*=read", "oidc_issuer": f"http://127.0.0.1:{port}"}
    checks = await examine(tmp_path, None, otlp_endpoint=f"http://127.0.0.1:{port}", **oidc)
    assert checks["traces"][0] == "warning"
    assert checks["OpenID provider"][0] == "warning"


async def test_place_for_copies_of_checkpoints_must_exist(tmp_path: Path) -> None:
    checks = await examine(tmp_path, checkpoint_export=str(tmp_path))
    assert checks["exported checkpoints"][0] == "fine"
    checks = await examine(tmp_path, checkpoint_export=str(tmp_path / "missing" / "folder"))
    assert checks["exported checkpoints"][0] == "wrong"


async def test_every_detail_is_a_sentence(database: ScratchDatabase, tmp_path: Path) -> None:
    """A text without its form for a number would be shown as its code."""
    checks = await examine(tmp_path, database, replica_urls=database.app_url, owner_url=database.owner_url)
    assert all(len(detail.split()) > 1 for _, detail in checks.values()), checks
