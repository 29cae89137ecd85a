"""Secrets of webhooks: their rotation, and the key that encrypts them."""

from __future__ import annotations

import asyncio
import base64
import stat
from contextlib import suppress

import structlog
from cryptography.fernet import Fernet, InvalidToken
from msgspec.structs import replace

from tests.api.announcements import pledged, registered
from tests.conftest import PATIENCE
from tests.databases import Server
from tests.delivery.webhooks import LOOPBACK, Admin, Receiver, deliveries, hook, listed, post, signed_by
from tests.service import Service, cloned, running


async def test_rotated_secret_signs_beside_the_old_one_until_the_overlap_ends(
    service: Service, receiver: Receiver
) -> None:
    first = await hook(service, receiver)
    path = f"/v1/webhooks/{first['id']}"
    second = (await service.client.post(f"{path}/rotate", json={})).json()
    assert second["secret"] != first["secret"]
    assert second["rotation_ends_at"] is not None
    await post(service, "plant", registered())
    await receiver.has(1)
    headers, body = receiver.got[0]
    assert signed_by(first, headers, body)
    assert signed_by(second, headers, body)
    third = (await service.client.post(f"{path}/rotate", json={"overlap_hours": 0})).json()
    await post(service, "plant", pledged())
    await receiver.has(2)
    headers, body = receiver.got[1]
    assert signed_by(third, headers, body)
    assert not signed_by(second, headers, body)
    assert not signed_by(first, headers, body)


async def test_secrets_are_encrypted_with_a_key_outside_the_database(service: Service, receiver: Receiver) -> None:
    webhook = await hook(service, receiver)
    await service.client.post(f"/v1/webhooks/{webhook['id']}/rotate", json={})
    file = service.settings.data_dir / "secrets.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = base64.b64decode(webhook["secret"].removeprefix("whsec_"))
    [row] = await service.pool.fetch("SELECT secret, old_secret, webhooks::text AS text FROM webhooks")
    assert secret not in row["old_secret"]
    assert secret.hex() not in row["text"]
    assert Fernet(file.read_text().strip()).decrypt(row["old_secret"]) == secret


async def test_newer_key_encrypts_the_secrets_again(server: Server, admin: Admin, receiver: Receiver) -> None:
    async with cloned(server, admin, "webhooks") as settings:
        settings = replace(settings, webhook_networks=LOOPBACK)
        file = settings.data_dir / "secrets.key"
        async with running(settings) as service:
            webhook = await hook(service, receiver)
        newer = Fernet.generate_key().decode()
        file.write_text(f"{newer}\n{file.read_text()}")
        async with running(settings) as service, asyncio.timeout(PATIENCE):
            stored = b""
            while True:
                stored = await service.pool.fetchval("SELECT secret FROM webhooks")
                with suppress(InvalidToken):
                    assert base64.b64encode(Fernet(newer).decrypt(stored)).decode() in webhook["secret"]
                    break
                await asyncio.sleep(0.05)
        # Only the newer key is needed now.
        file.write_text(newer)
        async with running(settings) as service:
            await post(service, "plant", registered())
            await receiver.has(1)
        assert signed_by(webhook, *receiver.got[0])


async def test_webhook_whose_secret_cannot_be_decrypted_fails_with_the_reason(
    server: Server, admin: Admin, receiver: Receiver
) -> None:
    async with cloned(server, admin, "webhooks") as settings:
        settings = replace(settings, webhook_networks=LOOPBACK)
        async with running(settings) as service:
            webhook = await hook(service, receiver)
        file = settings.data_dir / "secrets.key"
        file.write_bytes(Fernet.generate_key())
        async with running(settings) as service:
            path = f"/v1/webhooks/{webhook['id']}"
            with structlog.testing.capture_logs() as lines:
                tested = await service.client.post(f"{path}/test")
            assert (tested.status_code, tested.json()["code"]) == (503, "secret_unreadable")
            await post(service, "plant", registered())
            failing = await listed(service, lambda webhook: webhook["failures"] > 0)
            recorded = (await deliveries(service, failing))[0]["error"]
            assert recorded
            # Only the operator reads where the file is.
            assert str(file) in {line.get("file") for line in lines}
            assert file.name not in tested.text + recorded
            rotated = (await service.client.post(f"{path}/rotate", json={})).json()
            await receiver.has(1)
            assert signed_by(rotated, *receiver.got[0])
