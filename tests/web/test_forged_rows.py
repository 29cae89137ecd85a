"""An attacker with the password of the application's role: no session, no right and no author can be forged with it.

`service.pool` is that role's. Each test first shows the attack on rows that the role may write.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import asyncpg
import httpx
import pytest

from registry.append.principals import ADMIN
from tests.api.announcements import pledged, registered
from tests.service import Service, bearer
from tests.web.test_sessions import COOKIE, is_signed_in, visit

INSERT_SESSION = """
INSERT INTO sessions (id, digest, principal, key, created_at, seen_at, expires_at, agent, seal)
SELECT $1, $2, $3, $4, now(), now(), now() + interval '1 hour', '', $5
"""


async def session_of(service: Service, principal: str) -> dict[str, Any]:
    return dict(await service.pool.fetchrow("SELECT * FROM sessions WHERE principal = $1", principal))


async def admin_key(service: Service) -> str:
    id = await service.pool.fetchval("SELECT id FROM keys WHERE principal = $1", ADMIN)
    return str(id)


async def test_inserted_session_signs_nobody_in(service: Service) -> None:
    mine = await service.issue("read")
    async with visit(service, mine), visit(service) as attacker:
        own = await session_of(service, mine.principal)
        for seal in (secrets.token_bytes(32), own["seal"], b""):
            secret = secrets.token_urlsafe(32)
            digest = hashlib.sha256(secret.encode()).digest()
            key = await admin_key(service)
            await service.pool.execute(INSERT_SESSION, secrets.token_hex(8), digest, ADMIN, key, seal)
            attacker.cookies.set(COOKIE, secret)
            assert not await is_signed_in(attacker)


@pytest.mark.parametrize(
    "change",
    [
        "SET principal = 'admin', key = (SELECT id FROM keys WHERE principal = 'admin')",
        "SET key = NULL",
        "SET expires_at = expires_at + interval '1 day'",
        "SET id = id || '0'",
    ],
)
async def test_changed_session_ends(service: Service, change: str) -> None:
    mine = await service.issue("read")
    async with visit(service, mine) as attacker:
        assert await is_signed_in(attacker)
        await service.pool.execute(f"UPDATE sessions {change} WHERE principal = $1", mine.principal)
        assert not await is_signed_in(attacker)


async def test_changed_projection_of_principals_gives_no_right(service: Service, slug: str) -> None:
    mine = await service.issue("read")
    await service.pool.execute(
        """UPDATE principals
              SET state = convert_to(replace(convert_from(state, 'UTF8'), '"read"', '"admin"'), 'UTF8')
            WHERE principal = $1""",
        mine.principal,
    )
    assert (await service.visitor.get("/v1/principals", headers=bearer(mine))).status_code == 403
    answer = await service.visitor.post(f"/v1/deals/{slug}/events", json=registered(), headers=bearer(mine))
    assert answer.status_code == 403


async def test_added_digest_gives_no_right(service: Service, slug: str) -> None:
    digest = hashlib.sha256(b"reg_chosen_by_the_attacker").digest()
    await service.pool.execute("INSERT INTO keys (id, principal, digest) VALUES ('kforged', $1, $2)", ADMIN, digest)
    headers = {"Authorization": "Bearer reg_chosen_by_the_attacker"}
    answer = await service.visitor.post(f"/v1/deals/{slug}/events", json=registered(), headers=headers)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE keys SET digest = sha256('x') WHERE principal = 'admin'",
        "DELETE FROM keys",
        "UPDATE events SET recorded_by = 'admin'",
        "DELETE FROM events",
        "TRUNCATE events",
        "UPDATE event_contents SET content = ''",
        "ALTER TABLE sessions DROP COLUMN seal",
    ],
)
async def test_evidence_and_keys_cannot_be_changed(service: Service, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.pool.execute(statement)


@pytest.mark.parametrize(
    "forgery",
    [
        "SET proposed_by = 'admin'",
        "SET changed_by = '{admin}', changed_at = ARRAY[now()]",
        "SET slug = slug || '-other'",
        "SET announcements = $2",
        "SET announcements = $2, digest = sha256($2)",
        "SET seal = sha256('x')",
    ],
)
async def test_forged_proposal_cannot_be_approved(service: Service, slug: str, forgery: str) -> None:
    """The reviewer approves what the row says now; the author has not written it."""
    author, reviewer = await service.key("propose"), await service.key("record")
    body = {"deal": slug, "announcements": [registered(), pledged()]}
    proposed = await service.visitor.post("/v1/proposals", json=body, headers=author)
    id = proposed.json()["proposal"]
    other = await service.visitor.post(
        "/v1/proposals", json={"deal": slug, "announcements": [registered()]}, headers=author
    )
    content = await service.pool.fetchval("SELECT announcements FROM proposals WHERE id = $1", other.json()["proposal"])
    arguments = [id, content] if "$2" in forgery else [id]
    await service.pool.execute(f"UPDATE proposals {forgery} WHERE id = $1", *arguments)
    size = await service.size()
    seen: httpx.Response = await service.visitor.get(f"/v1/proposals/{id}", headers=reviewer)
    answer = await service.visitor.post(
        f"/v1/proposals/{id}/approve", headers={**reviewer, "If-Match": seen.headers["etag"]}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "proposal_forged")
    assert await service.size() == size
