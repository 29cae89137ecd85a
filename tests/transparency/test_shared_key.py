"""One signing key for the services of a cluster: in the database, or in a file that is mounted on every host."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest
from msgspec.structs import replace

from registry.infra.settings import Settings
from registry.transparency.checkpoint import Checkpoint, SigningKey, VerifierKey, open_checkpoint, verify_consistent
from registry.transparency.evidence import Evidence
from registry.transparency.signing_keys import KeySource
from tests.service import Service, running
from tests.transparency.conftest import ORIGIN, append_until, head, keys

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

SECRET = "a secret that all services of the cluster have"


@pytest.fixture
def shared(settings: Settings) -> Settings:
    return replace(settings, signing_secret=SECRET)


def on_other_host(settings: Settings, name: str = "other") -> Settings:
    """The settings of a service with a data directory of its own."""
    folder = settings.data_dir / name
    return replace(settings, data_dir=folder, signing_key=folder / "signing.key")


async def assert_consistent(service: Service, earlier: Checkpoint, later: Checkpoint) -> None:
    path = f"/v1/log/proof/consistency?from={earlier.size}&to={later.size}"
    proof = (await service.visitor.get(path)).json()["path"]
    verify_consistent(earlier, later, [bytes.fromhex(node) for node in proof])


async def test_services_with_the_same_secret_sign_with_one_key(shared: Settings) -> None:
    async with running(shared) as one, running(on_other_host(shared)) as two:
        signed = []
        for size, service in ((5, one), (9, two), (14, one)):
            await append_until(service, size)
            signed.append(await head(service))
        assert [checkpoint.size for checkpoint in signed] == [5, 9, 14]
        assert await keys(one) == await keys(two)
        assert len(await keys(one)) == 1
        for earlier, later in pairwise(signed):
            await assert_consistent(two, earlier, later)
    assert not shared.signing_key.exists()


async def test_service_without_the_key_serves_the_checkpoint_of_the_others(
    shared: Settings, settings: Settings
) -> None:
    signs_soon = replace(shared, checkpoint_seconds=1)
    async with running(signs_soon) as signing, running(on_other_host(settings)) as other:
        await append_until(signing, 5)
        assert await head(signing) == await head(other)
        await append_until(other, 8)
        assert (await head(other)).size == 8
        assert (await other.visitor.get("/health/ready")).json()["signer"] is True


async def test_rotated_key_is_used_by_all_services(shared: Settings) -> None:
    async with running(shared) as one, running(on_other_host(shared)) as two:
        await append_until(one, 5)
        assert (await head(one)).size == 5
        (first,) = await keys(one)
        second = await one.app.state.services.evidence.rotate_key()
        await append_until(two, 8)
        assert open_checkpoint((await two.visitor.get("/log/checkpoint")).content, [second]).size == 8
        assert await keys(one) == await keys(two) == [first, second]


async def test_wrong_secret_signs_nothing_and_is_not_shown(shared: Settings) -> None:
    async with running(shared) as service:
        await append_until(service, 5)
        await head(service)
        row = await service.pool.fetchrow("SELECT sealed, verifier FROM signing_keys")
        assert b"PRIVATE" not in row["sealed"]
    wrong = replace(on_other_host(shared), signing_secret="another secret of thirty-two characters")
    async with running(wrong) as service:
        await append_until(service, 8)
        answer = await service.visitor.get("/log/checkpoint")
        assert (answer.status_code, answer.json()["code"]) == (503, "evidence_unavailable")
        # The log's key is not replaced by one of the wrong secret.
        assert await service.pool.fetchval("SELECT count(*) FROM signing_keys") == 1
    assert SECRET not in repr(shared)


async def test_mounted_key_signs_with_a_state_of_each_host(pool: Pool, shared: Settings) -> None:
    mounted = shared.data_dir / "mounted.key"
    mounted.write_text(SigningKey.generate(ORIGIN).secret() + "\n")
    async with running(shared) as service:
        await append_until(service, 3)
    checkpoints = []
    for host in ("one", "two"):
        state = shared.data_dir / host / "signing.key"
        evidence = Evidence(pool, KeySource(f"{ORIGIN}", mounted, state))
        checkpoints.append(open_checkpoint(await evidence.checkpoint(), _keys_of(state)))
    assert checkpoints[0] == checkpoints[1]


def _keys_of(state: Path) -> list[VerifierKey]:
    return [VerifierKey.parse(line) for line in state.with_name(f"{state.name}.pub").read_text().splitlines()]


async def test_log_with_a_new_origin_is_signed_with_a_new_key(settings: Settings) -> None:
    """After an accepted loss of signed events, the old origin's key signs no more."""
    async with running(settings) as service:
        await append_until(service, 5)
        old = await head(service)
    renamed = replace(on_other_host(settings), log_origin="registry.example/log-2")
    async with running(renamed) as service:
        await append_until(service, 7)
        new = await head(service)
        assert (old.origin, old.size, new.origin, new.size) == (ORIGIN, 5, "registry.example/log-2", 7)
        assert [key.name for key in await keys(service)] == ["registry.example/log-2"]
