"""Property 18: redacted content is gone everywhere, breaks no proof, and cannot be guessed from what remains."""

from __future__ import annotations

import itertools
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest

from registry.events.codec import content_digest
from registry.infra import postgres
from registry.infra.settings import Settings
from registry.transparency.bundles import verify_bundle
from registry.transparency.findings import Finding
from registry.transparency.verify import TrustedCheckpoint, verify_log
from tests.api.announcements import announced, corrected, registered
from tests.service import NO_TLS, Service, bearer, running
from tests.transparency.conftest import head, keys, post

# Occurs nowhere else in the database or in responses.
SECRET = "Zxqvjk-7391-Geheim"
SOURCE = {"publisher": f"Paper of {SECRET}", "url": f"https://{SECRET.lower()}.example/a", "published_on": "2025-06-16"}

DEAL = "the-plant"


def redaction(event: str) -> dict[str, Any]:
    return {"event": {"type": "event_redacted", "redacts": event, "reason": "An order of 2025-11-01, file 12."}}


async def secretive(service: Service) -> list[dict[str, Any]]:
    """Record a deal with the secret in one event, its two corrections and a stored response."""
    receipts = await post(service, DEAL, registered())
    announcement = announced(
        "2025-06-16",
        "partnership_formed",
        sources=[SOURCE],
        members=[SECRET.lower()],
        name={"en": f"The pact of {SECRET}"},
    )
    announcement["note"] = f"as {SECRET} told"
    keyed = {"Idempotency-Key": "one"}
    answer = await service.client.post(f"/v1/deals/{DEAL}/events", json=announcement, headers=keyed)
    assert answer.status_code == 201
    receipts += answer.json()["events"]
    for day in ("2025-06-17", "2025-06-18"):
        receipts += await post(service, DEAL, corrected(receipts[1]["id"], effective_on=day))
    receipts += await post(service, DEAL, announced("2025-06-20", "site_announced", site="mill", name={"en": "A mill"}))
    return receipts


def hides(text: bytes | str) -> bool:
    data = text if isinstance(text, bytes) else text.encode()
    return SECRET.lower().encode() not in data.lower()


async def held(owner: asyncpg.Connection[asyncpg.Record]) -> set[str]:
    """The tables and columns of the database that contain the secret."""
    result = set()
    columns = await owner.fetch(
        "SELECT table_name, column_name, data_type FROM information_schema.columns c "
        "JOIN information_schema.tables t USING (table_schema, table_name) "
        "WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
    )
    needle = SECRET.lower().encode().hex()
    for table, column, kind in columns:
        text = f"encode({column}, 'escape')" if kind == "bytea" else f"{column}::text"
        hexed = f"encode(convert_to(lower({text}), 'UTF8'), 'hex')"
        if await owner.fetchval(f"SELECT EXISTS (SELECT FROM {table} WHERE {hexed} LIKE '%{needle}%')"):
            result.add(f"{table}.{column}")
    return result


EVERYWHERE = (
    f"/v1/deals/{DEAL}",
    f"/v1/deals/{DEAL}?effective_on=2025-06-19",
    f"/v1/deals/{DEAL}?published_on=2025-06-19",
    f"/v1/deals/{DEAL}?position=2",
    f"/v1/deals/{DEAL}?position=4",
    f"/v1/deals/{DEAL}?certificate=true",
    f"/v1/deals/{DEAL}?certificate=true&position=3",
    f"/v1/deals/{DEAL}/events",
    f"/v1/deals/{DEAL}/events?position=4",
    f"/v1/deals/{DEAL}/blame",
    f"/v1/deals/{DEAL}/timemap",
    f"/v1/deals/{DEAL}/compare?from.position=1",
    "/v1/compare?from.position=1",
    "/v1/deals",
    "/v1/deals?position=4",
    "/v1/events",
    "/v1/log/proof/inclusion?position=4",
    "/v1/log/proof/inclusion?position=3",
    "/log/tile/entries/000.p/5",
    "/v1/organizations",
)


async def get_all(client: httpx.AsyncClient) -> dict[str, httpx.Response]:
    answers = {path: await client.get(path) for path in EVERYWHERE}
    assert {path for path, answer in answers.items() if answer.status_code not in (200, 404)} == set()
    return answers


async def test_redacted_content_is_in_no_table_and_no_response(
    service: Service, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with running(service.settings) as other:
        receipts = await secretive(service)
        before = await get_all(service.visitor)
        await get_all(other.visitor)  # so that the other process caches it too
        assert not any(hides(before[path].content) for path in EVERYWHERE[:2])
        assert await held(owner) >= {"event_contents.content", "mentions.term", "idempotency.answer"}

        answer = await service.client.post(
            f"/v1/deals/{DEAL}/events",
            json={**redaction(receipts[1]["id"])},
            headers={"Idempotency-Key": "two"},
        )
        assert answer.status_code == 201
        assert hides(answer.content)
        assert await held(owner) == set()
        for process in (service, other):
            for path, result in (await get_all(process.visitor)).items():
                assert hides(result.content), path
                assert hides(str(result.headers)), path
            for receipt in receipts:
                assert hides((await process.visitor.get(f"/v1/events/{receipt['id']}")).content)
            for query in (f"?organization={SECRET.lower()}", f"?source={SOURCE['url']}"):
                assert (await process.visitor.get(f"/v1/events{query}")).json()["events"] == []
            replayed = await process.client.post(
                f"/v1/deals/{DEAL}/events", json=redaction(receipts[1]["id"]), headers={"Idempotency-Key": "two"}
            )
            assert hides(replayed.content)
        # Content that was not redacted remains.
        assert (await service.visitor.get(f"/v1/deals/{DEAL}")).json()["sites"][0]["site"] == "mill"


def addresses(service: Service, ids: list[str]) -> list[str]:
    """The path of every GET route of the service, so that new routes are tested too."""
    known = {"{deal:str}": [DEAL], "{id:str}": ids, "{organization:str}": [SECRET.lower(), "another"]}
    result = []
    for route in service.app.routes:
        paths = [route.path] if "GET" in getattr(route, "methods", ()) else []
        for name, values in known.items():
            paths = [path.replace(name, value) for path in paths for value in (values if name in path else [""])]
        result += [path for path in paths if "{" not in path and not path.endswith("/stream")]
    return result


async def test_no_route_returns_redacted_content(service: Service) -> None:
    receipts = await secretive(service)
    paths = addresses(service, [receipt["id"] for receipt in receipts])
    assert len(paths) > 30

    async def shown() -> set[str]:
        async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=NO_TLS) as browser:
            answers = {path: await browser.get(path) for path in paths}
        assert max(answer.status_code for answer in answers.values()) < 500
        # The response may contain the requested path.
        return {path for path, a in answers.items() if SECRET.lower() not in path and not hides(a.content)}

    assert {"/v1/events", f"/v1/deals/{DEAL}", f"/v1/deals/{DEAL}/events"} <= await shown()
    await post(service, DEAL, redaction(receipts[1]["id"]))
    assert await shown() == set()
    chunks = b""
    async with service.visitor.stream("GET", "/v1/events/stream", headers={"Last-Event-ID": "0"}) as answer:
        async for chunk in answer.aiter_raw():
            chunks += chunk
            if b"event_redacted" in chunks:
                break
    assert hides(chunks)


async def test_cached_response_is_not_confirmed_after_a_redaction(service: Service) -> None:
    receipts = await secretive(service)
    path = f"/v1/deals/{DEAL}?effective_on=2025-06-19&position=4"
    etag = (await service.visitor.get(path)).headers["etag"]
    assert (await service.visitor.get(path, headers={"If-None-Match": etag})).status_code == 304
    await post(service, DEAL, redaction(receipts[1]["id"]))
    again = await service.visitor.get(path, headers={"If-None-Match": etag})
    assert again.status_code == 200
    assert hides(again.content)


async def test_proofs_stay_valid_after_a_redaction(service: Service) -> None:
    receipts = await secretive(service)
    verifiers = await keys(service)
    old = await head(service)
    proof = (await service.visitor.get("/v1/log/proof/inclusion?position=4")).json()
    kept = (await service.visitor.get(f"/v1/deals/{DEAL}?certificate=true")).content
    await post(service, DEAL, redaction(receipts[1]["id"]))
    new = await head(service)
    assert (old.size, new.size) == (7, 8)
    again = (await service.visitor.get("/v1/log/proof/inclusion?position=4&size=7")).json()
    assert {**again, "content": proof["content"], "salt": proof["salt"]} == proof
    assert (again["content"], again["salt"]) == (None, None)
    assert verify_bundle(msgspec.json.encode(again), verifiers).proves.code == "proves_entry"
    bundle = (await service.visitor.get(f"/v1/deals/{DEAL}?certificate=true")).content
    assert verify_bundle(bundle, verifiers).erased == 3
    assert verify_bundle(kept, verifiers).erased == 0  # a bundle kept from before still proves the content
    async with await postgres.pool(str(service.settings.database_url), min_size=1, max_size=1) as pool:
        trusted = [TrustedCheckpoint(Finding("source_database", size=one.size), one) for one in (old, new)]
        result = await verify_log(pool, trusted)
    assert (result.size, result.erased) == (8, 3)


async def test_short_redacted_text_cannot_be_guessed_from_what_remains(service: Service) -> None:
    await post(service, DEAL, registered())
    digits = "0123456789"
    (receipt,) = await post(
        service, DEAL, announced("2025-06-16", "site_announced", site="s", name={"en": "room 42"}, sources=[])
    )
    stored = await service.pool.fetchrow("SELECT content, salt FROM event_contents WHERE position = 4")
    entry = (await service.visitor.get("/v1/log/proof/inclusion?position=4")).json()["entry"]
    digest = msgspec.json.decode(entry)["content"]
    guesses = [stored["content"].replace(b"42", f"{a}{b}".encode()) for a, b in itertools.product(digits, digits)]
    # With the salt, one of a hundred guesses matches the digest: therefore the salt is erased too.
    assert [g for g in guesses if content_digest(stored["salt"], g) == digest] == [stored["content"]]
    await post(service, DEAL, redaction(receipt["id"]))
    left = (await service.visitor.get("/v1/log/proof/inclusion?position=4")).json()
    assert left["entry"] == entry
    # No value that remains can serve as the salt.
    words = [
        b"",
        bytes(32),
        *(bytes.fromhex(word) for word in (*left["path"], left["leaf_hash"], left["root"], digest)),
    ]
    row = await service.pool.fetchrow("SELECT * FROM events WHERE position = 4")
    words += [value for value in row.values() if isinstance(value, bytes)]
    words += [str(value).encode() for value in row.values()]
    for salt in words:
        assert all(content_digest(salt, guess) != digest for guess in guesses)
        assert all(content_digest(salt[:32].ljust(32, b"\0"), guess) != digest for guess in guesses)
    assert await service.pool.fetchval("SELECT salt FROM event_contents WHERE position = 4") is None


async def test_history_shows_when_by_whom_and_why_an_event_was_redacted(service: Service) -> None:
    receipts = await secretive(service)
    officer = await service.issue("redact")
    answer = await service.client.post(
        f"/v1/deals/{DEAL}/events", json=redaction(receipts[1]["id"]), headers=bearer(officer)
    )
    assert answer.status_code == 201
    audit = (await service.visitor.get(f"/v1/deals/{DEAL}/events")).json()["events"]
    by_id = {event["id"]: event for event in audit}
    erased = by_id[receipts[1]["id"]]
    assert erased["erased"] is True
    assert erased["event"] is None
    redacted = by_id[answer.json()["events"][0]["id"]]
    assert redacted["event"]["redacts"] == receipts[1]["id"]
    assert redacted["event"]["also"] == [receipts[2]["id"], receipts[3]["id"]]
    assert redacted["event"]["reason"] == "An order of 2025-11-01, file 12."
    assert redacted["recorded_at"] == answer.json()["events"][0]["recorded_at"]
    assert redacted["recorded_by"] == officer.principal


async def test_redacting_a_correction_redacts_later_corrections_and_does_not_restore_the_original(
    service: Service,
) -> None:
    await post(service, DEAL, registered())
    (first,) = await post(service, DEAL, announced("2025-06-16", "site_announced", site="mill", name={"en": "A mill"}))
    announcement = {"type": "site_announced", "site": "mill", "name": {"en": SECRET}}
    (wrong,) = await post(service, DEAL, corrected(first["id"], event=announcement))
    (later,) = await post(service, DEAL, corrected(first["id"], effective_on="2025-06-18"))
    (redacted,) = await post(service, DEAL, redaction(wrong["id"]))
    result = (await service.visitor.get(f"/v1/events/{redacted['id']}")).json()
    assert (result["event"]["redacts"], result["event"]["also"]) == (wrong["id"], [later["id"]])
    assert [effect["event"] for effect in result["event"]["effects"]] == [wrong["id"], later["id"]]
    state = await service.visitor.get(f"/v1/deals/{DEAL}")
    assert (state.json()["sites"], state.json()["erased"]) == ([], 2)
    audit = (await service.visitor.get(f"/v1/deals/{DEAL}/events")).json()["events"]
    assert (audit[1]["erased"], audit[1]["event"]) == (True, None)
    assert audit[1]["as_recorded"]["name"]["en"] == "A mill"
    assert [by["event"] for by in audit[1]["corrections"]] == [wrong["id"], later["id"], redacted["id"]]
    assert hides(msgspec.json.encode(audit))
    (again,) = await post(service, DEAL, corrected(first["id"], event={"type": "site_announced", "site": "mill"}))
    state = await service.visitor.get(f"/v1/deals/{DEAL}")
    assert [site["site"] for site in state.json()["sites"]] == ["mill"]
    assert again["version"] == redacted["version"] + 1


async def test_redacting_a_void_keeps_its_effect(service: Service) -> None:
    await post(service, DEAL, registered())
    (first,) = await post(service, DEAL, announced("2025-06-16", "site_announced", site="mill", place="KR-31"))
    (void,) = await post(
        service, DEAL, {"event": {"type": "event_voided", "voids": first["id"], "reason": f"So {SECRET} announcement."}}
    )
    await post(service, DEAL, announced("2025-06-20", "stage_changed", stage="signed"))
    paths = [f"/v1/deals/{DEAL}?position={position}" for position in range(3, 7)]
    before = [(await service.visitor.get(path)).json() for path in paths]
    (redacted,) = await post(service, DEAL, redaction(void["id"]))
    assert [len(state["sites"]) for state in before] == [0, 1, 0, 0]
    for path, then in zip(paths, before, strict=True):
        now = (await service.visitor.get(path)).json()
        assert {**now, "erased": 0} == then
        assert now["erased"] == (1 if now["version"] >= void["version"] else 0)
    assert (await service.visitor.get(f"/v1/deals/{DEAL}")).json()["sites"] == []
    async with running(service.settings) as other:  # which has not cached the content
        for position in (void["position"], redacted["position"]):
            answer = await other.visitor.get(f"/v1/deals/{DEAL}?position={position}&certificate=true")
            assert answer.json()["state"]["sites"] == []
            assert verify_bundle(answer.content, await keys(service)).erased == 1
        for position, deals in ((4, 1), (5, 0), (7, 0)):
            listed = (await other.visitor.get(f"/v1/deals?region=KR-31&position={position}")).json()["deals"]
            assert len(listed) == deals
        shown = (await other.visitor.get(f"/v1/events/{void['id']}")).json()
        assert (shown["event"], shown["erased"]) == (None, True)
        assert shown["reads"]["event"] == {"type": "event_voided", "voids": first["id"]}
        audit = (await other.visitor.get(f"/v1/deals/{DEAL}/events")).json()["events"]
        assert (audit[1]["voided_by"], audit[2]["erased"], audit[2]["reason"]) == (void["id"], True, None)
        assert hides(msgspec.json.encode(audit))


async def test_content_recorded_and_redacted_in_one_request_is_gone_at_once(
    service: Service, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    await post(service, DEAL, registered())
    id = "01977609-2412-7a5d-a669-772cb045fb95"
    announcement = {
        **announced("2025-06-16", "partnership_formed", sources=[SOURCE], members=[SECRET.lower()]),
        "id": id,
    }
    await post(service, DEAL, announcement, redaction(id))
    assert await held(owner) == set()
    assert (await service.visitor.get(f"/v1/deals/{DEAL}")).json()["partnerships"] == []


async def test_events_recorded_together_with_a_redaction_remain(service: Service) -> None:
    receipts = await secretive(service)
    both = [redaction(receipts[1]["id"]), announced("2025-06-21", "stage_changed", stage="signed")]
    await post(service, DEAL, *both)
    (next_,) = await post(service, DEAL, announced("2025-06-22", "stage_changed", stage="construction"))
    assert next_["version"] == len(receipts) + 3
    assert (await service.visitor.get(f"/v1/deals/{DEAL}")).json()["stage"]["value"] == "construction"


async def test_redaction_needs_scope_redact_and_sets_its_own_effects(service: Service) -> None:
    receipts = await secretive(service)
    path, body = f"/v1/deals/{DEAL}/events", redaction(receipts[1]["id"])
    for scope in ("read", "record", "correct"):
        headers = await service.key(scope)
        assert (await service.client.post(path, json=body, headers=headers)).status_code == 403
    body["event"]["also"] = [receipts[4]["id"]]
    answer = await service.client.post(path, json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/event/also")
    del body["event"]["also"]
    body["event"]["effects"] = [{"event": receipts[4]["id"], "does": {"type": "deal_unmerged"}}]
    answer = await service.client.post(path, json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/event/effects")
    del body["event"]["effects"]
    without_reason = {"event": {"type": "event_redacted", "redacts": receipts[1]["id"]}}
    assert (await service.client.post(path, json=without_reason)).status_code == 422


async def test_redaction_without_the_owner_role_is_unavailable(settings: Settings) -> None:
    async with running(msgspec.structs.replace(settings, owner_url=None)) as service:
        receipts = await secretive(service)
        size = await service.size()
        answer = await service.client.post(f"/v1/deals/{DEAL}/events", json=redaction(receipts[1]["id"]))
        assert (answer.status_code, answer.json()["code"]) == (503, "redaction_unavailable")
        assert await service.size() == size


async def test_database_erases_only_what_a_redaction_names(
    service: Service, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    receipts = await secretive(service)
    await post(service, DEAL, redaction(receipts[1]["id"]))
    for target in ("(SELECT max(position) FROM events)", "1", "5", "99"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await owner.execute(f"SELECT redact_event(6, {target})")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.pool.execute("SELECT redact_event(6, 2)")
    with pytest.raises((asyncpg.RestrictViolationError, asyncpg.InsufficientPrivilegeError)):
        await service.pool.execute("UPDATE event_contents SET content = NULL, salt = NULL")
