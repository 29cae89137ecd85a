"""Keys that are limited to deals, organizations or sources: no route is a way to what a key does not allow."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import convert

from registry.domain.sources.identity import source_id
from registry.events.values import Source
from tests.api.announcements import SOURCE, corrected, pledged, registered, revised, voided
from tests.service import Service, bearer

OTHER_SOURCE = {**SOURCE, "publisher": "The Other Times", "url": "https://other.example/plant"}
LINES = {"Content-Type": "application/x-ndjson"}


async def proposed(service: Service, slug: str, *announcements: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """A proposal of another principal: its path, and the header that a decision on it needs."""
    body = {"deal": slug, "announcements": list(announcements)}
    answer = await service.visitor.post("/v1/proposals", json=body, headers=await service.key("propose"))
    assert answer.status_code == 201, answer.text
    return answer.headers["location"], {"If-Match": answer.headers["etag"]}


async def test_key_for_one_publisher_cites_no_other_in_a_correction(service: Service, slug: str) -> None:
    first = (await service.client.post(f"/v1/deals/{slug}/events", json=registered())).json()["events"][0]["id"]
    limited = bearer(await service.issue("record", "correct", "propose", sources=(SOURCE["publisher"],)))
    path, size = f"/v1/deals/{slug}/events", await service.size()
    for sources in ([OTHER_SOURCE], [SOURCE, OTHER_SOURCE], []):
        correction = {"sources": [SOURCE], **corrected(first, sources=sources)}
        answer = await service.visitor.post(path, json=correction, headers=limited)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), sources
        line = msgspec.json.encode({"deal": slug, **correction})
        for query in ("atomic=true", "propose=true", "dry_run=true"):
            answer = await service.visitor.post(f"/v1/import?{query}", content=line, headers={**limited, **LINES})
            assert answer.status_code == 403, query
        body = {"deal": slug, "announcements": [correction]}
        assert (await service.visitor.post("/v1/proposals", json=body, headers=limited)).status_code == 403
    assert await service.size() == size
    allowed = {"sources": [SOURCE], **corrected(first, sources=[{**SOURCE, "title": "Another title"}])}
    assert (await service.visitor.post(path, json=allowed, headers=limited)).status_code == 201


@pytest.mark.parametrize("limit", ["deals", "sources"])
async def test_limited_key_decides_on_no_proposal_outside_its_limits(service: Service, slug: str, limit: str) -> None:
    await service.client.post(f"/v1/deals/{slug}/events", json=[registered(), pledged()])
    path, content = await proposed(service, slug, revised("2025-08-01", "9"))
    limits = {"deals": {"deals": (f"{slug}-other",)}, "sources": {"sources": ("The Other Times",)}}
    limited = bearer(await service.issue("record", "correct", "redact", "propose", **limits[limit]))
    refused = (404,) if limit == "deals" else (403,)
    for decision in ("approve", "reject"):
        answer = await service.visitor.post(f"{path}/{decision}", json={}, headers={**limited, **content})
        assert answer.status_code in refused, (decision, answer.text)
    change = {"announcements": [{**revised("2025-08-01", "8"), "sources": [OTHER_SOURCE]}]}
    answer = await service.visitor.put(path, json=change, headers={**limited, **content})
    assert answer.status_code in refused
    seen = await service.client.get(path)
    assert (seen.json()["status"], seen.headers["etag"]) == ("open", content["If-Match"])


async def test_limited_key_changes_its_own_proposal_within_its_limits_only(service: Service, slug: str) -> None:
    limited = bearer(await service.issue("propose", sources=(SOURCE["publisher"],)))
    first = {**registered(), "sources": [SOURCE]}
    body = {"deal": slug, "announcements": [first]}
    made = await service.visitor.post("/v1/proposals", json=body, headers=limited)
    path, content = made.headers["location"], {"If-Match": made.headers["etag"]}
    forbidden = {"announcements": [{**first, "sources": [OTHER_SOURCE]}]}
    answer = await service.visitor.put(path, json=forbidden, headers={**limited, **content})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await service.client.get(path)).headers["etag"] == content["If-Match"]
    allowed = {"announcements": [{**first, "sources": [{**SOURCE, "title": "Another title"}]}]}
    answer = await service.visitor.put(path, json=allowed, headers={**limited, **content})
    assert answer.status_code == 200, answer.text


async def test_limited_key_sees_the_proposals_within_its_limits(service: Service, slug: str) -> None:
    inside, content = await proposed(service, slug, registered())
    outside, _ = await proposed(service, f"{slug}-other", registered())
    limited = bearer(await service.issue("record", deals=(slug,)))
    listed = (await service.visitor.get("/v1/proposals?status=open", headers=limited)).json()["proposals"]
    assert [f"/v1/proposals/{one['proposal']}" for one in listed] == [inside]
    assert (await service.visitor.get(inside, headers=limited)).status_code == 200
    assert (await service.visitor.get(outside, headers=limited)).status_code == 404
    assert (await service.visitor.post(f"{inside}/approve", headers={**limited, **content})).status_code == 200


async def test_void_and_correction_reach_no_event_of_another_deal(service: Service, slug: str) -> None:
    other = f"{slug}-other"
    made = await service.client.post(f"/v1/deals/{other}/events", json=[registered(), pledged()])
    pledge = made.json()["events"][1]["id"]
    await service.client.post(f"/v1/deals/{slug}/events", json=registered())
    limited, size = bearer(await service.issue("record", "correct", "redact", deals=(slug,))), await service.size()
    redaction = {"event": {"type": "event_redacted", "redacts": pledge, "reason": "by law"}}
    for announcement in (voided(pledge), corrected(pledge, effective_on="2025-01-01"), redaction):
        for deal, statuses in ((slug, (409, 422)), (other, (403,))):
            answer = await service.visitor.post(f"/v1/deals/{deal}/events", json=announcement, headers=limited)
            assert answer.status_code in statuses, answer.text
    # Nor a merge with it, in either direction: only the allowed deal may say that it is a duplicate.
    merged = {"event": {"type": "deal_merged", "into": slug}}
    assert (await service.visitor.post(f"/v1/deals/{other}/events", json=merged, headers=limited)).status_code == 403
    assert await service.size() == size


async def test_slug_that_leads_to_another_deal_gives_no_right_to_it(service: Service, slug: str) -> None:
    other = f"{slug}-other"
    await service.client.post(f"/v1/deals/{other}/events", json=registered())
    merged = {"event": {"type": "deal_merged", "into": other}}
    await service.client.post(f"/v1/deals/{slug}/events", json=[registered(), merged])
    limited = bearer(await service.issue("record", deals=(slug,)))
    size = (await service.client.get(f"/v1/deals/{other}")).json()["version"]
    await service.visitor.post(f"/v1/deals/{slug}/events", json=pledged(), headers=limited)
    line = msgspec.json.encode({"deal": slug, **pledged()})
    await service.visitor.post("/v1/import?atomic=true", content=line, headers={**limited, **LINES})
    assert (await service.client.get(f"/v1/deals/{other}")).json()["version"] == size


async def test_list_with_one_forbidden_deal_records_nothing(service: Service, slug: str) -> None:
    limited, size = bearer(await service.issue("record", deals=(slug,))), await service.size()
    lines = b"\n".join(msgspec.json.encode({"deal": deal, **registered()}) for deal in (slug, f"{slug}-other"))
    for query in ("atomic=true", "dry_run=true", "propose=true"):
        answer = await service.visitor.post(f"/v1/import?{query}", content=lines, headers={**limited, **LINES})
        assert answer.status_code == 403, query
    assert await service.size() == size


async def test_retraction_of_a_source_stops_at_a_forbidden_deal(service: Service, slug: str) -> None:
    source = {**SOURCE, "url": f"https://news.example/{slug}"}
    for deal in (slug, f"{slug}-other"):
        first = {**registered(), "sources": [source]}
        pledge = {**pledged(), "sources": [source]}
        assert (await service.client.post(f"/v1/deals/{deal}/events", json=[first, pledge])).status_code == 201
    id = source_id(convert(source, Source))
    limited, size = bearer(await service.issue("record", "correct", deals=(slug,))), await service.size()
    for query in ("", "?dry_run=true"):
        answer = await service.visitor.post(f"/v1/sources/{id}/retraction{query}", json={}, headers=limited)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert await service.size() == size


async def test_proposed_import_says_nothing_about_events_of_a_forbidden_deal(service: Service, slug: str) -> None:
    recorded = await service.client.post(f"/v1/deals/{slug}/events", json=registered())
    limited = bearer(await service.issue("propose", deals=(f"{slug}-other",)))
    line = msgspec.json.encode({"deal": slug, "id": recorded.json()["events"][0]["id"], **registered()})
    answer = await service.visitor.post("/v1/import?propose=true", content=line, headers={**limited, **LINES})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("limit", ["deals", "organizations", "sources"])
async def test_limited_administrator_manages_no_webhooks(service: Service, slug: str, limit: str) -> None:
    created = (await service.client.post("/v1/webhooks", json={"url": "https://receiver.example/"})).json()
    path = f"/v1/webhooks/{created['id']}"
    limited = bearer(await service.issue("admin", **{limit: (slug,)}))

    async def webhooks() -> list[Any]:
        return list(
            await service.pool.fetch("SELECT id, url, secret, old_secret, disabled_at FROM webhooks ORDER BY id")
        )

    before = await webhooks()
    for method, url, body in (
        ("POST", "/v1/webhooks", {"url": "https://other.example/"}),
        ("PATCH", path, {"url": "https://other.example/"}),
        ("POST", f"{path}/rotate", {}),
        ("POST", f"{path}/resend", {"position": 1}),
        ("POST", f"{path}/test", None),
        ("DELETE", path, None),
    ):
        answer = await service.visitor.request(method, url, json=body, headers=limited)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), url
    assert await webhooks() == before
    assert (await service.client.delete(path)).status_code == 204


@pytest.mark.parametrize("limit", ["deals", "organizations", "sources"])
async def test_limited_administrator_gives_no_rights(service: Service, slug: str, limit: str) -> None:
    key = await service.issue("admin", **{limit: (slug,)})
    issued = {"event": {"type": "key_issued", "scopes": ["admin"]}}
    unlimited = {"event": {"type": "scopes_changed", "key": key.key, "scopes": ["admin"]}}
    new = {"event": {"type": "principal_registered", "name": "A", "kind": "system"}}
    size = await service.size()
    for principal, events in ((key.principal, issued), (key.principal, unlimited), (f"p-{slug}", [new, issued])):
        answer = await service.visitor.post(f"/v1/principals/{principal}/events", json=events, headers=bearer(key))
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), answer.text
    assert await service.size() == size
