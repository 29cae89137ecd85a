"""Principals over HTTP: their keys and rights, and who sees and changes them (properties 25, 48, 49)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec.structs import replace

from registry.append.principals import rotate_key
from registry.projections.rebuild import compare
from tests.api.announcements import registered
from tests.databases import Server
from tests.service import Service, bearer, cloned, running

REGISTERED = {"event": {"type": "principal_registered", "name": "Kim Min-ji", "kind": "person"}}


def issued(**more: Any) -> dict[str, Any]:
    return {"event": {"type": "key_issued", "scopes": ["record"], **more}}


async def post(service: Service, principal: str, *announcements: dict[str, Any], **more: Any) -> httpx.Response:
    return await service.client.post(f"/v1/principals/{principal}/events", json=list(announcements), **more)


async def record(service: Service, slug: str, secret: str, *, visitor: httpx.AsyncClient | None = None) -> int:
    headers = {"Authorization": f"Bearer {secret}"}
    client = visitor or service.visitor
    return (await client.post(f"/v1/deals/{slug}/events", json=registered(), headers=headers)).status_code


async def test_issued_key_records_under_the_name_of_its_principal(service: Service, slug: str) -> None:
    answer = await post(service, f"kim-{slug}", REGISTERED, issued())
    assert answer.status_code == 201
    [secret] = answer.json()["secrets"]
    assert await record(service, slug, secret["secret"]) == 201
    [event] = (await service.client.get(f"/v1/deals/{slug}/events")).json()["events"]
    assert (event["recorded_by"], event["recorded_by_name"]) == (f"kim-{slug}", "Kim Min-ji")
    assert (event["approved_by"], event["approved_by_name"]) == (None, None)
    assert secret["secret"] not in (await service.client.get(f"/v1/principals/kim-{slug}")).text


async def test_history_shows_the_name_as_of_the_recording(service: Service, slug: str) -> None:
    secret = (await post(service, f"kim-{slug}", REGISTERED, issued())).json()["secrets"][0]["secret"]
    await record(service, slug, secret)
    renamed = {"event": {"type": "principal_renamed", "name": "Kim of the Investment Office"}}
    assert (await post(service, f"kim-{slug}", renamed)).status_code == 201
    await service.visitor.post(
        f"/v1/deals/{slug}/events",
        json={"effective_on": "2025-06-16", "event": {"type": "stage_changed", "stage": "signed"}},
        headers={"Authorization": f"Bearer {secret}"},
    )
    for path in ("events", "blame"):
        answer = (await service.client.get(f"/v1/deals/{slug}/{path}")).json()
        entries = answer.get("events") or answer["fields"]
        names = {entry["type"]: entry["recorded_by_name"] for entry in entries}
        assert names == {"deal_registered": "Kim Min-ji", "stage_changed": "Kim of the Investment Office"}


async def test_rights_are_those_of_the_position_asked_for(service: Service, slug: str) -> None:
    principal = f"kim-{slug}"
    first = (await post(service, principal, REGISTERED, issued(key=f"key-{slug}"))).json()["position"]
    change = {"event": {"type": "scopes_changed", "key": f"key-{slug}", "scopes": ["propose"]}}
    await post(service, principal, change)
    path = f"/v1/principals/{principal}"
    assert (await service.client.get(path)).json()["keys"][0]["scopes"] == ["propose"]
    then = (await service.client.get(path, params={"position": first})).json()
    assert (then["position"], then["keys"][0]["scopes"]) == (first, ["record"])
    assert (await service.client.get(path, params={"position": first - 2})).status_code == 404


async def test_key_works_within_its_limits_only(service: Service, slug: str) -> None:
    answer = await post(service, f"kim-{slug}", REGISTERED, issued(deals=[slug]))
    secret = answer.json()["secrets"][0]["secret"]
    assert await record(service, f"{slug}-other", secret) == 403
    assert await record(service, slug, secret) == 201


async def test_expired_key_writes_nothing(service: Service, slug: str) -> None:
    key = await service.issue("record", expires_at=datetime.now(UTC) + timedelta(seconds=1))
    while await record(service, slug, key.secret) != 401:
        pass
    listed = (await service.client.get(f"/v1/principals/{key.principal}")).json()
    assert listed["keys"][0]["expires_at"] is not None


async def test_rotated_key_works_until_the_overlap_ends(service: Service, slug: str) -> None:
    services = service.app.state.services
    old = await service.issue("record", deals=(slug, f"{slug}-2", f"{slug}-3"))
    state = (await services.principals.require(old.principal)).state
    new = await rotate_key(services.recorder, service.pool, state, old.key, timedelta(hours=1), now=datetime.now(UTC))
    assert await record(service, slug, old.secret) == 201
    assert await record(service, f"{slug}-2", new.secret) == 201
    assert await record(service, f"{slug}-4", new.secret) == 403
    await service.revoke(old)
    assert await record(service, f"{slug}-3", old.secret) == 401


async def test_rotated_key_expires_as_long_after_its_issue_as_the_old_one(service: Service) -> None:
    services, day = service.app.state.services, timedelta(days=1)
    old = await service.issue("record", expires_at=datetime.now(UTC) + 30 * day)
    state = (await services.principals.require(old.principal)).state
    later = datetime.now(UTC) + 20 * day
    new = await rotate_key(services.recorder, service.pool, state, old.key, timedelta(hours=1), now=later)
    listed = (await service.client.get(f"/v1/principals/{old.principal}")).json()["keys"]
    [expires_at] = [datetime.fromisoformat(key["expires_at"]) for key in listed if key["key"] == new.key]
    assert abs(expires_at - (later + 30 * day)) < timedelta(minutes=1)


async def test_key_of_another_principal_is_not_taken(service: Service, slug: str) -> None:
    await post(service, f"kim-{slug}", REGISTERED, issued(key=f"key-{slug}"))
    answer = await post(service, f"lee-{slug}", REGISTERED, issued(key=f"key-{slug}"))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/1/event/key")
    assert (await service.client.get(f"/v1/principals/lee-{slug}")).status_code == 404


async def test_principals_are_for_administrators(service: Service, slug: str) -> None:
    await post(service, f"kim-{slug}", REGISTERED)
    paths = ["/v1/principals", f"/v1/principals/kim-{slug}", f"/v1/principals/kim-{slug}/events"]
    headers = await service.key("read", "propose", "record", "correct", "redact")
    for path in paths:
        assert (await service.visitor.get(path)).status_code == 401
        assert (await service.visitor.get(path, headers=headers)).status_code == 403
        assert (await service.client.get(path)).status_code == 200
    answer = await service.visitor.post(paths[2], json=[issued(scopes=["admin"])], headers=headers)
    assert answer.status_code == 403


async def test_list_has_every_principal_page_by_page(service: Service, slug: str) -> None:
    for name in ("a", "b", "c"):
        await post(service, f"{slug}-{name}", REGISTERED)
    found: list[str] = []
    url = "/v1/principals?limit=2"
    while url:
        answer = await service.client.get(url)
        found += [principal["principal"] for principal in answer.json()["principals"]]
        url = answer.links.get("next", {}).get("url", "")
    assert [id for id in found if id.startswith(f"{slug}-")] == [f"{slug}-a", f"{slug}-b", f"{slug}-c"]
    assert found == sorted(set(found))


async def test_public_log_shows_the_envelope_of_a_principal_and_not_its_name(service: Service, slug: str) -> None:
    """Wherever the log can be read without the scope admin."""
    answer = (await post(service, f"kim-{slug}", REGISTERED)).json()
    [receipt] = answer["events"]
    position, name = receipt["position"], "Kim Min-ji"
    await service.client.get("/log/checkpoint")
    after = position - 1
    for path in (
        f"/v1/events?after={after}&limit=1",
        f"/v1/events/{receipt['id']}",
        f"/v1/export/events.ndjson?after={after}",
        f"/v1/export/events.csv?after={after}",
        "/v1/events.atom?limit=1",
        "/v1/feed.json?limit=1",
        f"/v1/log/proof/inclusion?position={position}",
    ):
        shown = await service.visitor.get(path)
        assert shown.status_code == 200, path
        assert name not in shown.text, path
        assert "principal_registered" in shown.text, path
    [event] = (await service.visitor.get(f"/v1/events?after={after}&limit=1")).json()["events"]
    assert (event["principal"], event["event"], event["salt"]) == (f"kim-{slug}", None, None)
    assert (event["withheld"], event["erased"]) == (True, False)
    [seen] = (await service.client.get(f"/v1/principals/kim-{slug}/events")).json()["events"]
    assert (seen["event"]["name"], seen["leaf_hash"]) == (name, event["leaf_hash"])


async def test_redacted_name_is_gone_and_the_key_works(service: Service, slug: str) -> None:
    answer = (await post(service, f"kim-{slug}", REGISTERED, issued())).json()
    secret = answer["secrets"][0]["secret"]
    await record(service, slug, secret)
    redaction = {"type": "event_redacted", "redacts": answer["events"][0]["id"], "reason": "the person asked"}
    assert (await post(service, f"kim-{slug}", {"event": redaction})).status_code == 201
    [event] = (await service.client.get(f"/v1/deals/{slug}/events")).json()["events"]
    assert event["recorded_by_name"] == f"kim-{slug}"
    assert await record(service, f"{slug}-2", secret) == 201
    stored = await service.pool.fetchval(
        "SELECT convert_from(state, 'UTF8') FROM principals WHERE principal = $1", f"kim-{slug}"
    )
    assert "Kim Min-ji" not in stored
    assert await service.pool.fetchval(
        "SELECT content IS NULL FROM event_contents WHERE position = $1", answer["events"][0]["position"]
    )


# --- what the application's role can do in the database ---------------------------------------------------------------


async def test_rows_of_the_database_grant_no_right(service: Service, slug: str) -> None:
    """A process with the application's role changes what it may: the projection. Rights do not change."""
    key = await service.issue("read")
    await service.pool.execute(
        "UPDATE principals SET state = convert_to(replace(convert_from(state, 'UTF8'), 'read', 'admin'), 'UTF8')"
        " WHERE principal = $1",
        key.principal,
    )
    assert await record(service, slug, key.secret) == 403
    assert (await service.visitor.get("/v1/principals", headers=bearer(key))).status_code == 403
    assert service.settings.owner_url is not None
    different = [difference async for difference in compare(service.settings.owner_url)]
    assert [difference.key for difference in different] == [[key.principal]]
    # Another event writes the row again.
    await service.revoke(key)
    assert [difference async for difference in compare(service.settings.owner_url)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE keys SET digest = sha256('mine')",
        "UPDATE keys SET principal = 'admin'",
        "DELETE FROM keys",
        "TRUNCATE keys",
    ],
)
async def test_digest_of_a_key_cannot_be_exchanged(service: Service, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.pool.execute(statement)
    owner = await asyncpg.connect(service.settings.owner_url)
    try:
        with pytest.raises(asyncpg.RestrictViolationError):
            await owner.execute(statement)
    finally:
        await owner.close()


async def test_digest_without_an_event_gives_no_right(service: Service, slug: str) -> None:
    await service.pool.execute("INSERT INTO keys VALUES ($1, 'admin', sha256('forged'))", f"forged-{slug}")
    assert await record(service, slug, "forged") == 401


# --- several processes ------------------------------------------------------------------------------------------------


async def test_key_that_another_process_revokes_writes_nothing_from_then_on(
    server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """No wait: the recorder checks the rights of each request at its place in the log."""
    async with cloned(server, admin, "revoked") as settings, running(settings) as one, running(settings) as other:
        key = await one.issue("record")
        for number in range(20):
            assert await record(other, f"before-{number}", key.secret) == 201
        await one.revoke(key)
        assert await record(other, "after", key.secret) == 401
        assert await record(one, "after", key.secret) == 401
        assert (await other.visitor.get("/v1/deals/after")).status_code == 404


async def test_services_that_start_at_once_register_the_admin_once(
    server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with cloned(server, admin, "admins") as settings, running(settings) as one, running(settings) as other:
        for service in (one, other):
            [listed] = (await service.client.get("/v1/principals")).json()["principals"]
            assert (listed["principal"], len(listed["keys"]), listed["keys"][0]["scopes"]) == ("admin", 1, ["admin"])
            assert listed["keys"][0]["key"].startswith("admin-")


async def test_other_admin_key_ends_the_one_before(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> None:
    async with cloned(server, admin, "changed_admin") as settings:
        async with running(settings):
            pass
        changed = replace(settings, admin_key="another-admin-key-of-the-operator")
        async with running(changed) as service:
            assert await record(service, "one", "another-admin-key-of-the-operator") == 201
            assert settings.admin_key is not None
            assert await record(service, "two", settings.admin_key) == 401
