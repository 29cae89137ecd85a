"""Posting announcements: answers, preconditions, idempotency, and conflicts with their rules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.announcements import announced, corrected, pledged, registered, revised, voided
from tests.service import Service


async def test_announcement_is_recorded(client: httpx.AsyncClient, slug: str) -> None:
    answer = await client.post(f"/v1/deals/{slug}/events", json=registered())
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["deal"], body["version"]) == (slug, 1)
    assert answer.headers["etag"] == f'"1;{datetime.now(UTC).date()}"'
    event = body["events"][0]
    assert body["position"] == event["position"]
    assert {"field": "/title", "before": None, "after": {"ko": None, "en": "A plant"}} in body["changes"]
    assert answer.headers["location"] == f"/v1/events/{event['id']}"
    assert (await client.get(answer.headers["location"])).json()["position"] == event["position"]


async def test_list_of_announcements_is_recorded(client: httpx.AsyncClient, slug: str) -> None:
    answer = await client.post(f"/v1/deals/{slug}/events", json=[registered(), pledged(), revised("2025-07-01", "7")])
    assert answer.status_code == 201
    positions = [event["position"] for event in answer.json()["events"]]
    assert positions == list(range(positions[0], positions[0] + 3))
    assert answer.headers["location"] == f"/v1/deals/{slug}/events"
    assert len((await client.get(answer.headers["location"])).json()["events"]) == 3


async def test_list_with_one_refused_announcement_records_nothing(service: Service, slug: str) -> None:
    size = await service.size()
    answer = await service.client.post(
        f"/v1/deals/{slug}/events", json=[registered(), pledged(), revised("2025-07-01", "7", pledge="another")]
    )
    assert (answer.status_code, answer.json()["rule"]) == (409, "pledge-unknown")
    assert await service.size() == size
    assert (await service.client.get(f"/v1/deals/{slug}")).status_code == 404


async def test_if_match_requires_the_version(client: httpx.AsyncClient, slug: str) -> None:
    url = f"/v1/deals/{slug}/events"
    first = await client.post(url, json=registered())
    assert (await client.post(url, json=pledged(), headers={"If-Match": first.headers["etag"]})).status_code == 201
    late = await client.post(url, json=revised("2025-07-01", "7"), headers={"If-Match": first.headers["etag"]})
    assert (late.status_code, late.json()["version"]) == (412, 2)
    assert late.json()["params"] == {"kind": "deal", "slug": slug, "actual": 2, "expected": 1}
    dated = await client.post(url, json=revised("2025-07-01", "7"), headers={"If-Match": '"2;2025-06-01"'})
    assert dated.status_code == 201


async def test_if_match_star_requires_an_existing_deal(client: httpx.AsyncClient, slug: str) -> None:
    url = f"/v1/deals/{slug}/events"
    none = await client.post(url, json=registered(), headers={"If-Match": "*"})
    assert (none.status_code, none.json()["code"], none.json()["version"]) == (412, "version_conflict", 0)
    assert "does not exist" in none.json()["detail"]
    await client.post(url, json=registered())
    assert (await client.post(url, json=pledged(), headers={"If-Match": "*"})).status_code == 201


async def test_if_none_match_star_requires_a_new_deal(client: httpx.AsyncClient, slug: str) -> None:
    url, new = f"/v1/deals/{slug}/events", {"If-None-Match": "*"}
    assert (await client.post(url, json=registered(), headers=new)).status_code == 201
    again = await client.post(url, json=pledged(), headers=new)
    assert (again.status_code, again.json()["code"]) == (412, "version_conflict")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("If-Match", "3"),
        ("If-Match", '"three"'),
        ("If-None-Match", '"3"'),
        ("Idempotency-Key", ""),
        ("Idempotency-Key", "é"),
        ("Idempotency-Key", "x" * 256),
    ],
)
async def test_malformed_precondition_is_refused(service: Service, slug: str, header: str, value: str) -> None:
    size = await service.size()
    headers = {header.encode(): value.encode()}
    answer = await service.client.post(f"/v1/deals/{slug}/events", json=registered(), headers=headers)
    assert (answer.status_code, answer.json()["parameter"]) == (400, header)
    assert await service.size() == size


async def test_second_of_two_writers_with_the_same_version_conflicts(client: httpx.AsyncClient, slug: str) -> None:
    url = f"/v1/deals/{slug}/events"
    await client.post(url, json=[registered(), pledged()])
    answers = await asyncio.gather(
        *(client.post(url, json=revised("2025-07-01", str(n)), headers={"If-Match": '"2"'}) for n in range(1, 9))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [412] * 7
    assert (await client.get(f"/v1/deals/{slug}")).json()["version"] == 3


async def test_retry_with_the_same_idempotency_key_returns_the_first_answer(service: Service, slug: str) -> None:
    url, key = f"/v1/deals/{slug}/events", {"Idempotency-Key": str(uuid4())}
    first = await service.client.post(url, json=registered(), headers=key)
    size = await service.size()
    again = await service.client.post(url, json=registered(), headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["etag"] == first.headers["etag"]
    assert await service.size() == size


async def test_idempotency_key_is_checked_before_the_version(client: httpx.AsyncClient, slug: str) -> None:
    """A retry of a request that succeeded is not a version conflict."""
    url, headers = f"/v1/deals/{slug}/events", {"Idempotency-Key": str(uuid4()), "If-None-Match": "*"}
    assert (await client.post(url, json=registered(), headers=headers)).status_code == 201
    assert (await client.post(url, json=registered(), headers=headers)).status_code == 200


@pytest.mark.parametrize("differs", ["body", "path"])
async def test_idempotency_key_of_another_request_is_refused(
    service: Service, new_slug: Callable[[], str], differs: str
) -> None:
    slug, key = new_slug(), {"Idempotency-Key": str(uuid4())}
    await service.client.post(f"/v1/deals/{slug}/events", json=registered(), headers=key)
    size = await service.size()
    other = slug if differs == "body" else new_slug()
    title = "Another" if differs == "body" else "A plant"
    answer = await service.client.post(f"/v1/deals/{other}/events", json=registered(title), headers=key)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_conflict")
    assert await service.size() == size


async def test_concurrent_requests_with_one_idempotency_key_record_once(service: Service, slug: str) -> None:
    url, key = f"/v1/deals/{slug}/events", {"Idempotency-Key": str(uuid4())}
    size = await service.size()
    answers = await asyncio.gather(*(service.client.post(url, json=registered(), headers=key) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] * 11 + [201]
    assert len({answer.text for answer in answers}) == 1
    assert await service.size() == size + 1


async def test_idempotency_keys_of_two_owners_are_independent(service: Service, new_slug: Callable[[], str]) -> None:
    name = str(uuid4())
    for headers in (await service.key("record"), await service.key("record")):
        answer = await service.visitor.post(
            f"/v1/deals/{new_slug()}/events", json=registered(), headers={**headers, "Idempotency-Key": name}
        )
        assert answer.status_code == 201


async def test_idempotency_key_of_a_refused_request_stays_usable(client: httpx.AsyncClient, slug: str) -> None:
    url, key = f"/v1/deals/{slug}/events", {"Idempotency-Key": str(uuid4())}
    assert (await client.post(url, json=pledged(), headers=key)).status_code == 409
    await client.post(url, json=registered())
    assert (await client.post(url, json=pledged(), headers=key)).status_code == 201


async def test_retry_with_the_same_event_id_records_once(service: Service, slug: str) -> None:
    url, id = f"/v1/deals/{slug}/events", str(uuid4())
    first = await service.client.post(url, json={**registered(), "id": id})
    assert first.json()["events"][0]["id"] == id
    size = await service.size()
    again = await service.client.post(url, json={**registered(), "id": id})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["events"] == first.json()["events"]
    assert await service.size() == size


async def test_retry_with_an_event_id_changes_nothing_whatever_was_recorded_since(
    client: httpx.AsyncClient, slug: str
) -> None:
    url = f"/v1/deals/{slug}/events"
    sent = [{**one, "id": str(uuid4())} for one in (registered(), pledged())]
    for one in sent:
        assert (await client.post(url, json=one)).json()["changes"]
    for one in sent:
        again = await client.post(url, json=one)
        assert (again.status_code, again.json()["changes"]) == (200, [])


async def test_event_id_of_another_event_is_refused(service: Service, new_slug: Callable[[], str]) -> None:
    slug, id = new_slug(), str(uuid4())
    await service.client.post(f"/v1/deals/{slug}/events", json={**registered(), "id": id})
    size = await service.size()
    for other, announcement in ((slug, registered("Another")), (new_slug(), registered())):
        answer = await service.client.post(f"/v1/deals/{other}/events", json={**announcement, "id": id})
        assert (answer.status_code, answer.json()["code"]) == (409, "id_conflict")
    assert await service.size() == size


async def test_retry_of_a_longer_list_records_the_rest(client: httpx.AsyncClient, slug: str) -> None:
    url = f"/v1/deals/{slug}/events"
    first, second = {**registered(), "id": str(uuid4())}, {**pledged(), "id": str(uuid4())}
    await client.post(url, json=first)
    answer = await client.post(url, json=[first, second])
    assert answer.status_code == 201
    assert [event["version"] for event in answer.json()["events"]] == [1, 2]


async def test_dry_run_returns_the_changes_and_records_nothing(service: Service, slug: str) -> None:
    url = f"/v1/deals/{slug}/events"
    await service.client.post(url, json=[registered(), pledged()])
    size = await service.size()
    answer = await service.client.post(url + "?dry_run=true", json=revised("2025-07-01", "7000000000"))
    assert (answer.status_code, answer.json()["version"]) == (200, 3)
    change = next(c for c in answer.json()["changes"] if c["field"] == "/pledges/total/amount")
    assert (change["before"]["value"], change["after"]["value"]) == ("5000000000", "7000000000")
    assert "location" not in answer.headers
    assert await service.size() == size
    assert (await service.client.get(f"/v1/deals/{slug}")).json()["version"] == 2
    refused = await service.client.post(url + "?dry_run=true", json=pledged())
    assert (refused.status_code, refused.json()["rule"]) == (409, "pledge-id-used")


async def test_dry_run_does_not_use_up_the_idempotency_key(client: httpx.AsyncClient, slug: str) -> None:
    url, key = f"/v1/deals/{slug}/events", {"Idempotency-Key": str(uuid4())}
    assert (await client.post(url + "?dry_run=true", json=registered(), headers=key)).status_code == 200
    assert (await client.post(url, json=registered(), headers=key)).status_code == 201


CLAIM = {
    "type": "claim_reported",
    "claim": "herald",
    "field": "/pledges/total/amount",
    "value": {"value": "4", "currency": "USD"},
}
NOWHERE = "00000000-0000-7000-8000-000000000000"

REFUSALS: dict[str, tuple[list[Any], Any]] = {
    "not-registered": ([], pledged()),
    "already-registered": ([registered()], registered()),
    "pledge-unknown": ([registered()], revised("2025-07-01", "7")),
    "pledge-id-used": ([registered(), pledged()], pledged()),
    "pledge-withdrawn": (
        [registered(), pledged(), announced("2025-07-01", "pledge_withdrawn", pledge="total")],
        revised("2025-08-01", "7"),
    ),
    "site-unknown": ([registered()], announced("2025-07-01", "site_revised", site="north", gpus=7)),
    "milestone-unknown": ([registered()], announced("2025-07-01", "milestone_reached", milestone="power")),
    "milestone-reached": (
        [
            registered(),
            announced("2025-07-01", "milestone_scheduled", milestone="power"),
            announced("2025-08-01", "milestone_reached", milestone="power"),
        ],
        announced("2025-09-01", "milestone_reached", milestone="power"),
    ),
    "party-unknown": ([registered()], announced("2025-07-01", "party_left", organization="someone")),
    "relation-unknown": (
        [registered()],
        announced("2025-07-01", "deals_unrelated", relation="part_of", deal="another"),
    ),
    "merge-target-unknown": ([registered()], {"event": {"type": "deal_merged", "into": "no-such-deal"}}),
    "event-unknown": ([registered()], voided(NOWHERE)),
    "claim-about-unrelated": ([registered(), pledged()], {"event": {**CLAIM, "about": NOWHERE}}),
    "claim-unknown": ([registered()], {"event": {"type": "claim_retracted", "claim": "herald"}}),
}


@pytest.mark.parametrize("rule", REFUSALS)
async def test_conflict_with_the_history_is_refused_with_the_rule(service: Service, slug: str, rule: str) -> None:
    given, refused = REFUSALS[rule]
    if given:
        assert (await service.client.post(f"/v1/deals/{slug}/events", json=given)).status_code == 201
    size = await service.size()
    answer = await service.client.post(f"/v1/deals/{slug}/events", json=refused)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["rule"]) == (409, "rule_broken", rule), problem
    assert len(problem["detail"]) > 30
    assert await service.size() == size


async def test_claim_with_another_effective_date_than_its_event_is_invalid(
    client: httpx.AsyncClient, slug: str
) -> None:
    url = f"/v1/deals/{slug}/events"
    posted = (await client.post(url, json=[registered(), pledged(), revised("2025-07-01", "7")])).json()["events"]
    other = {"event": {**CLAIM, "claim": "other"}}
    refused = await client.post(url, json=[other, {"effective_on": "2025-07-02", "event": CLAIM}])
    assert refused.status_code == 422, refused.text
    (error,) = refused.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/1/effective_on", "claim_date")
    recorded = await client.post(url, json={"effective_on": "2025-07-01", "event": CLAIM})
    assert recorded.status_code == 201, recorded.text
    claims = (await client.get(f"/v1/deals/{slug}")).json()["pledges"][0]["claims"]
    assert [c["about"] for c in claims if c["claim"]] == [posted[2]["id"]]
    of_claim = recorded.json()["events"][0]["id"]
    refused = await client.post(url, json=corrected(of_claim, effective_on="2025-07-02"))
    pointers = [error["pointer"] for error in refused.json()["errors"]]
    assert (refused.status_code, pointers) == (422, ["/event/replacement/effective_on"])


async def test_correction_that_invalidates_later_events_is_refused_with_their_ids(
    client: httpx.AsyncClient, slug: str
) -> None:
    url = f"/v1/deals/{slug}/events"
    answer = await client.post(url, json=[registered(), pledged(), revised("2025-07-01", "7")])
    _, announcement, revision = (event["id"] for event in answer.json()["events"])
    refused = await client.post(url, json=voided(announcement))
    assert (refused.status_code, refused.json()["events"]) == (409, [revision])


async def test_corrections_and_voids_are_recorded(client: httpx.AsyncClient, slug: str) -> None:
    url = f"/v1/deals/{slug}/events"
    answer = await client.post(url, json=[registered(), pledged(value="50000000000")])
    pledge = answer.json()["events"][1]["id"]
    event = {"type": "pledge_announced", "pledge": "total", "amount": {"value": "5000000000", "currency": "USD"}}
    correction = await client.post(url, json=corrected(pledge, event=event))
    assert correction.status_code == 201, correction.text
    state = (await client.get(f"/v1/deals/{slug}")).json()
    assert state["pledges"][0]["amount"]["value"] == "5000000000"
    undone = await client.post(url, json=voided(correction.json()["events"][0]["id"]))
    assert undone.status_code == 201
    state = (await client.get(f"/v1/deals/{slug}")).json()
    assert state["pledges"][0]["amount"]["value"] == "50000000000"


async def test_event_of_another_deal_cannot_be_corrected(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    other, slug = new_slug(), new_slug()
    first = await client.post(f"/v1/deals/{other}/events", json=registered())
    await client.post(f"/v1/deals/{slug}/events", json=registered())
    refused = await client.post(f"/v1/deals/{slug}/events", json=voided(first.json()["events"][0]["id"]))
    assert refused.status_code == 409


async def snapshot(service: Service) -> dict[str, str]:
    """Return a digest of every table except the checkpoints, which are signed on a schedule."""
    names = await service.pool.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'checkpoints' ORDER BY 1"
    )
    return {
        name: await service.pool.fetchval(
            f"""SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM "{name}" AS t"""
        )
        for name in (row["tablename"] for row in names)
    }


async def test_refused_request_changes_no_table(service: Service, slug: str) -> None:
    """Property 24, over every table, including projections and idempotency keys."""
    url, key = f"/v1/deals/{slug}/events", {"Idempotency-Key": str(uuid4())}
    await service.client.post(url, json=[registered(), pledged()], headers=key)
    reader = await service.key("read")
    before = await snapshot(service)
    new = {"Idempotency-Key": str(uuid4())}
    refusals = [
        (409, await service.client.post(url, json=pledged(), headers=new)),
        (409, await service.client.post(url, json=[revised("2025-07-01", "7"), pledged()], headers=new)),
        (412, await service.client.post(url, json=revised("2025-07-01", "7"), headers={**new, "If-Match": '"1"'})),
        (422, await service.client.post(url, json={"event": {}}, headers=new)),
        (422, await service.client.post(url, json=revised("2025-07-01", "7"), headers=key)),
        (400, await service.client.post(url + "?dry=true", json=revised("2025-07-01", "7"), headers=new)),
        (401, await service.visitor.post(url, json=revised("2025-07-01", "7"), headers=new)),
        (403, await service.visitor.post(url, json=revised("2025-07-01", "7"), headers={**new, **reader})),
        (200, await service.client.post(url + "?dry_run=true", json=revised("2025-07-01", "7"), headers=new)),
        (200, await service.client.post(url, json=[registered(), pledged()], headers=key)),
    ]
    assert [answer.status_code for _, answer in refusals] == [status for status, _ in refusals]
    assert await snapshot(service) == before
