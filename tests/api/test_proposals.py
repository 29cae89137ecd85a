"""The review queue and the four-eyes rule: a second principal approves the exact content (property 50)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import msgspec
import pytest
import pytest_asyncio
from msgspec import convert
from msgspec.structs import replace

from registry.app import create_app
from registry.append import proposal_store
from registry.append.principals import issue_key
from registry.domain.principal import Rights
from registry.domain.sources.identity import source_id
from registry.errors import BadSetting
from registry.events.values import Source
from registry.infra.settings import Settings
from registry.web.page.request import csrf_token
from tests.api.announcements import SOURCE, pledged, registered, revised
from tests.databases import Server
from tests.service import NO_TLS, Service, bearer, cloned, running

Headers = dict[str, str]


async def propose(service: Service, headers: Headers, slug: str, *announcements: dict[str, Any]) -> httpx.Response:
    body = {"deal": slug, "announcements": list(announcements)}
    return await service.visitor.post("/v1/proposals", json=body, headers=headers)


async def decide(
    service: Service, headers: Headers, proposal: httpx.Response, what: str = "approve", **more: Any
) -> httpx.Response:
    return await service.visitor.post(
        f"/v1/proposals/{proposal.json()['proposal']}/{what}",
        headers={**headers, "If-Match": proposal.headers["etag"]},
        **more,
    )


async def test_approved_proposal_is_recorded_with_both_names(service: Service, slug: str) -> None:
    author = await service.issue("propose", name="Kim")
    reviewer = await service.issue("record", name="Lee")
    kim, lee = ({"Authorization": f"Bearer {key.secret}"} for key in (author, reviewer))
    proposal = await propose(service, kim, slug, registered(), pledged())
    assert (proposal.status_code, proposal.json()["status"]) == (201, "open")
    assert (await service.visitor.get(f"/v1/deals/{slug}")).status_code == 404
    seen = (await service.visitor.get(proposal.headers["location"], headers=lee)).json()
    assert seen["preview"]["refusal"] is None
    assert "/title" in {change["field"] for change in seen["preview"]["changes"]}
    assert [one["event"]["type"] for one in seen["announcements"]] == ["deal_registered", "pledge_announced"]
    approved = await decide(service, lee, proposal)
    assert (approved.status_code, approved.json()["status"]) == (200, "approved")
    events = (await service.visitor.get(f"/v1/deals/{slug}/events")).json()["events"]
    assert {(e["recorded_by_name"], e["approved_by_name"]) for e in events} == {("Kim", "Lee")}
    logged = (await service.visitor.get(f"/v1/events/{events[0]['id']}")).json()
    assert (logged["recorded_by"], logged["approved_by"]) == (author.principal, reviewer.principal)
    envelope = (await service.visitor.get(f"/v1/log/proof/inclusion?position={logged['position']}")).json()["entry"]
    assert f'"approved_by":"{reviewer.principal}"' in envelope


async def test_envelope_without_an_approver_has_no_such_field(client: httpx.AsyncClient, slug: str) -> None:
    receipt = (await client.post(f"/v1/deals/{slug}/events", json=registered())).json()["events"][0]
    await client.get("/log/checkpoint")
    proof = (await client.get(f"/v1/log/proof/inclusion?position={receipt['position']}")).json()
    assert "approved_by" not in proof["entry"]
    assert "approved_by" not in (await client.get(f"/v1/events/{receipt['id']}")).json()


async def test_key_that_may_only_propose_decides_on_nothing_and_sees_its_own(service: Service, slug: str) -> None:
    one, other = await service.key("propose"), await service.key("propose")
    proposal = await propose(service, one, slug, registered())
    path = proposal.headers["location"]
    assert (await decide(service, one, proposal)).status_code == 403
    assert (await service.visitor.get(path, headers=other)).status_code == 404
    assert (await decide(service, other, proposal)).status_code == 404
    listed = (await service.visitor.get("/v1/proposals", headers=other)).json()["proposals"]
    assert listed == []
    [own] = (await service.visitor.get("/v1/proposals?status=open", headers=one)).json()["proposals"]
    assert f"/v1/proposals/{own['proposal']}" == path
    assert (await service.visitor.get(path)).status_code == 401


async def test_proposing_needs_a_scope(service: Service, slug: str) -> None:
    assert (await propose(service, await service.key("read"), slug, registered())).status_code == 403
    assert (await propose(service, await service.key("record"), slug, registered())).status_code == 201


async def test_approval_is_bound_to_the_content(service: Service, slug: str) -> None:
    kim, lee = await service.key("propose"), await service.key("record")
    proposal = await propose(service, kim, slug, registered("A plant"))
    path = proposal.headers["location"]
    changed = await service.visitor.put(
        path,
        json={"announcements": [registered("Another plant")]},
        headers={**kim, "If-Match": proposal.headers["etag"]},
    )
    assert changed.status_code == 200
    assert changed.headers["etag"] != proposal.headers["etag"]
    stale = await decide(service, lee, proposal)
    assert (stale.status_code, stale.json()["code"]) == (412, "proposal_changed")
    assert (await service.visitor.get(f"/v1/deals/{slug}")).status_code == 404
    lost = await service.visitor.put(
        path, json={"announcements": [registered()]}, headers={**kim, "If-Match": proposal.headers["etag"]}
    )
    assert lost.status_code == 412
    approved = await service.visitor.post(f"{path}/approve", headers={**lee, "If-Match": changed.headers["etag"]})
    assert approved.status_code == 200
    assert (await service.visitor.get(f"/v1/deals/{slug}")).json()["title"]["en"] == "Another plant"


async def change(
    service: Service, headers: Headers, proposal: httpx.Response, *announcements: dict[str, Any]
) -> httpx.Response:
    answer = await service.visitor.put(
        f"/v1/proposals/{proposal.json()['proposal']}",
        json={"announcements": list(announcements)},
        headers={**headers, "If-Match": proposal.headers["etag"]},
    )
    assert answer.status_code == 200, answer.text
    return answer


async def test_changed_proposal_is_recorded_as_its_first_proposers(service: Service, slug: str) -> None:
    """The proposal keeps who changed it; the reviewer who did may approve what needs no second principal."""
    kim, park = await service.issue("propose", name="Kim"), await service.issue("propose", "record", name="Park")
    lee = await service.issue("record", name="Lee")
    proposal = await propose(service, bearer(kim), slug, registered())
    changed = await change(service, bearer(park), proposal, registered("Another"))
    changed = await change(service, bearer(lee), changed, registered("A third"))
    approved = (await decide(service, bearer(lee), changed)).json()
    assert [one["by"] for one in approved["changes"]] == [park.principal, lee.principal]
    assert (approved["author"], approved["proposed_by"]) == (lee.principal, kim.principal)
    assert approved["changed_at"] == approved["changes"][-1]["at"]
    [event] = (await service.visitor.get(f"/v1/deals/{slug}/events")).json()["events"]
    assert (event["recorded_by_name"], event["approved_by_name"]) == ("Kim", "Lee")


async def test_proposal_that_no_longer_applies_is_refused(service: Service, slug: str) -> None:
    kim, lee = await service.key("propose"), await service.key("record")
    await service.client.post(f"/v1/deals/{slug}/events", json=[registered(), pledged()])
    proposal = await propose(service, kim, slug, revised("2025-07-01", "6000000000"))
    withdrawn = {"effective_on": "2025-06-20", "event": {"type": "pledge_withdrawn", "pledge": "total"}}
    assert (await service.client.post(f"/v1/deals/{slug}/events", json=withdrawn)).status_code == 201
    seen = (await service.visitor.get(proposal.headers["location"], headers=lee)).json()
    assert seen["preview"]["refusal"] is not None
    refused = await decide(service, lee, proposal)
    assert (refused.status_code, refused.json()["code"]) == (409, "rule_broken")
    assert (await service.visitor.get(proposal.headers["location"], headers=lee)).json()["status"] == "open"


async def test_proposal_whose_event_was_recorded_elsewhere_is_read_and_rejected(service: Service, slug: str) -> None:
    kim, lee = await service.key("propose"), await service.key("record")
    announcement = {**registered(), "id": str(uuid4())}
    proposal = await propose(service, kim, slug, announcement)
    assert (await service.client.post(f"/v1/deals/{slug}-other/events", json=announcement)).status_code == 201
    seen = (await service.visitor.get(proposal.headers["location"], headers=lee)).json()
    assert seen["preview"]["refusal"]["rule"] == "id_conflict"
    assert (await decide(service, lee, proposal, "reject", json={})).status_code == 200


async def test_rejected_proposal_is_not_recorded_and_its_content_is_gone(service: Service, slug: str) -> None:
    kim, lee = await service.key("propose"), await service.key("record")
    proposal = await propose(service, kim, slug, registered("A plant that nobody announced"))
    rejected = await decide(service, lee, proposal, "reject", json={"reason": "No source."})
    assert (rejected.status_code, rejected.json()["reason"]) == (200, "No source.")
    again = await decide(service, lee, proposal)
    assert (again.status_code, again.json()["code"]) == (409, "proposal_decided")
    assert (await service.visitor.get(f"/v1/deals/{slug}")).status_code == 404
    seen = (await service.visitor.get(proposal.headers["location"], headers=kim)).json()
    assert (seen["status"], seen["announcements"]) == ("rejected", [])


async def test_two_approvals_at_once_record_once(service: Service, slug: str) -> None:
    kim, lee, park = await service.key("propose"), await service.key("record"), await service.key("record")
    proposal = await propose(service, kim, slug, registered())
    answers = await asyncio.gather(*(decide(service, headers, proposal) for headers in (lee, park)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert len((await service.visitor.get(f"/v1/deals/{slug}/events")).json()["events"]) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"announcements": [registered()]}, ""),
        ({"deal": "a", "organization": "b", "announcements": [registered()]}, ""),
        ({"deal": "a", "announcements": []}, "/announcements"),
        ({"deal": "a", "announcements": registered()}, "/announcements"),
        ({"deal": "a", "announcements": [registered(), {"event": {"type": "x"}}]}, "/announcements/1/event/type"),
        ({"deal": "a", "announcements": [pledged(value="1e9")]}, "/announcements/0/event/amount/value"),
        ({"deal": "A B", "announcements": [registered()]}, "/deal"),
    ],
)
async def test_wrong_proposal_names_the_field(client: httpx.AsyncClient, body: dict[str, Any], pointer: str) -> None:
    answer = await client.post("/v1/proposals", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


@pytest.mark.parametrize("headers", [{}, {"If-Match": "*"}, {"If-Match": '"3"'}])
async def test_decision_names_what_it_decides_on(client: httpx.AsyncClient, slug: str, headers: Headers) -> None:
    body = {"deal": slug, "announcements": [registered()]}
    path = (await client.post("/v1/proposals", json=body)).headers["location"]
    assert (await client.post(f"{path}/approve", headers=headers)).status_code == 400


# --- imports ----------------------------------------------------------------------------------------------------------


async def propose_lines(service: Service, headers: Headers, *lines: dict[str, Any]) -> httpx.Response:
    return await service.visitor.post(
        "/v1/import",
        params={"propose": "true"},
        content=b"\n".join(msgspec.json.encode(line) for line in lines),
        headers={**headers, "Content-Type": "application/x-ndjson"},
    )


async def test_import_is_proposed_as_one_submission_and_a_second_time_proposes_nothing(
    service: Service, slug: str
) -> None:
    author, reviewer = await service.key("propose"), await service.key("record")
    lines = [
        {"deal": f"{slug}-a", "id": str(uuid4()), **registered("A")},
        {"deal": f"{slug}-b", "id": str(uuid4()), **registered("B")},
        {"deal": f"{slug}-a", "id": str(uuid4()), **pledged()},
    ]
    size = await service.size()
    answer = await propose_lines(service, author, *lines)
    assert answer.status_code == 200, answer.text
    results = [msgspec.json.decode(line) for line in answer.text.splitlines()]
    assert [(one["line"], one["status"], one["deal"]) for one in results] == [
        (1, 201, f"{slug}-a"), (2, 201, f"{slug}-b"), (3, 201, f"{slug}-a"),
    ]  # fmt: skip
    assert results[0]["proposal"] == results[2]["proposal"] != results[1]["proposal"]
    assert len({one["submission"] for one in results}) == 1
    assert await service.size() == size
    # What waits already is not proposed again.
    repeated = [msgspec.json.decode(one) for one in (await propose_lines(service, author, *lines)).text.splitlines()]
    assert [(one["status"], one["proposal"]) for one in repeated] == [(200, one["proposal"]) for one in results]
    seen = await service.visitor.get(f"/v1/proposals/{results[0]['proposal']}", headers=reviewer)
    assert (await decide(service, reviewer, seen)).status_code == 200
    state = (await service.visitor.get(f"/v1/deals/{slug}-a")).json()
    assert len(state["pledges"]) == 1
    # Nor what is recorded; a new line for the same deal is.
    more = {"deal": f"{slug}-a", "id": str(uuid4()), **revised("2025-07-01", "6000000000")}
    again = [msgspec.json.decode(one) for one in (await propose_lines(service, author, *lines, more)).text.splitlines()]
    assert [(one["status"], "proposal" in one) for one in again] == [
        (200, False), (200, True), (200, False), (201, True),
    ]  # fmt: skip


async def test_proposed_import_with_a_wrong_line_proposes_nothing(service: Service, slug: str) -> None:
    author = await service.key("propose")
    answer = await propose_lines(service, author, {"deal": slug, **registered()}, {"deal": slug, "event": {}})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"][:3]) == (422, "/1/")
    assert (await service.visitor.get("/v1/proposals", headers=author)).json()["proposals"] == []
    assert (await propose_lines(service, await service.key("read"), {"deal": slug, **registered()})).status_code == 403


async def test_import_joins_only_an_own_submission(service: Service, slug: str) -> None:
    kim, lee = await service.key("propose"), await service.key("record")

    async def send(headers: Headers, deal: str, submission: str | None = None) -> httpx.Response:
        line = {"deal": deal, **registered()}
        params = {"propose": "true", **({"submission": submission} if submission else {})}
        headers = {**headers, "Content-Type": "application/x-ndjson"}
        return await service.visitor.post("/v1/import", json=line, params=params, headers=headers)

    first = (await send(kim, f"{slug}-1")).json()
    second = (await send(kim, f"{slug}-2", first["submission"])).json()
    assert (second["status"], second["submission"]) == (201, first["submission"])
    for submission in (first["submission"], first["proposal"], "none", "0198a7c2-0000-7000-8001-000000000000"):
        assert (await send(lee, f"{slug}-3", submission)).status_code == 404
    third = (await send(kim, f"{slug}-3")).json()
    assert third["submission"] != first["submission"]


# --- four eyes --------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module")
async def strict(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """Run a service on which a second principal approves redactions and voids."""
    four_eyes = ("event_redacted", "event_voided")
    async with cloned(server, admin, "strict") as settings, running(replace(settings, four_eyes=four_eyes)) as service:
        yield service


async def redaction(service: Service, slug: str) -> dict[str, Any]:
    """Record a deal. Returns the announcement that redacts its pledge."""
    answer = await service.client.post(f"/v1/deals/{slug}/events", json=[registered(), pledged()])
    redacts = answer.json()["events"][1]["id"]
    return {"event": {"type": "event_redacted", "redacts": redacts, "reason": "a court's order"}}


async def test_event_that_needs_two_principals_is_refused_without_the_second(strict: Service, slug: str) -> None:
    announcement = await redaction(strict, slug)
    size = await strict.size()
    answer = await strict.client.post(f"/v1/deals/{slug}/events", json=announcement)
    assert (answer.status_code, answer.json()["code"]) == (403, "approval_required")
    line = {"deal": slug, **announcement}
    imported = await strict.client.post("/v1/import", json=line, headers={"Content-Type": "application/x-ndjson"})
    assert '"approval_required"' in imported.text
    assert await strict.size() == size


async def test_redaction_takes_two_principals(strict: Service, slug: str) -> None:
    announcement = await redaction(strict, slug)
    kim, lee = await strict.key("redact"), await strict.issue("redact", name="Lee")
    proposal = await propose(strict, kim, slug, announcement)
    own = await decide(strict, kim, proposal)
    assert (own.status_code, own.json()["code"]) == (403, "forbidden")
    approved = await decide(strict, {"Authorization": f"Bearer {lee.secret}"}, proposal)
    assert approved.status_code == 200, approved.text
    events = (await strict.visitor.get(f"/v1/deals/{slug}/events")).json()["events"]
    assert events[1]["erased"]
    assert (events[2]["type"], events[2]["approved_by_name"]) == ("event_redacted", "Lee")


async def test_who_has_written_a_part_of_a_proposal_is_no_second_principal(strict: Service, slug: str) -> None:
    announcement = await redaction(strict, slug)
    kim, lee, park = [await strict.key("redact") for _ in range(3)]
    proposal = await propose(strict, kim, slug, announcement)
    changed = await change(strict, lee, proposal, {"event": {**announcement["event"], "reason": "another order"}})
    # Kim takes the change back, but Lee has written a part of it all the same.
    again = await change(strict, kim, changed, announcement)
    for headers in (lee, kim):
        assert (await decide(strict, headers, again)).status_code == 403
    assert (await decide(strict, park, again)).status_code == 200


async def test_second_key_of_the_same_principal_is_no_second_principal(strict: Service, slug: str) -> None:
    announcement = await redaction(strict, slug)
    services = strict.app.state.services
    kim = await strict.issue("redact", name="Kim")
    second = await issue_key(services.recorder, services.pool, Rights(scopes=("redact",)), principal=kim.principal)
    for one, other in ((kim, second), (second, kim)):
        proposal = await propose(strict, bearer(one), slug, announcement)
        assert proposal.status_code == 201, proposal.text
        assert (await decide(strict, bearer(other), proposal)).status_code == 403
    assert not (await strict.visitor.get(f"/v1/deals/{slug}/events")).json()["events"][1]["erased"]


async def test_no_other_way_records_what_needs_two_principals(strict: Service, slug: str) -> None:
    source = {**SOURCE, "url": f"https://news.example/{slug}"}
    cited = [{**registered(), "sources": [source]}, {**pledged(), "sources": [source]}]
    made = (await strict.client.post(f"/v1/deals/{slug}/events", json=cited)).json()
    void = {"event": {"type": "event_voided", "voids": made["events"][1]["id"], "reason": "a slip"}}
    kim = await strict.issue("record", "correct", "redact", "propose", name="Kim")
    services, size = strict.app.state.services, await strict.size()
    # A retraction voids what cites the source alone; a list and an import may mix it with other events.
    path = f"/v1/sources/{source_id(convert(source, Source))}/retraction"
    answer = await strict.visitor.post(path, json={}, headers=bearer(kim))
    assert (answer.status_code, answer.json()["code"]) == (403, "approval_required")
    mixed = [revised("2025-08-01", "9"), void]
    answer = await strict.visitor.post(f"/v1/deals/{slug}/events", json=mixed, headers=bearer(kim))
    assert answer.json()["code"] == "approval_required"
    lines = b"\n".join(msgspec.json.encode({"deal": slug, **one}) for one in mixed)
    headers = {**bearer(kim), "Content-Type": "application/x-ndjson"}
    answer = await strict.visitor.post("/v1/import?atomic=true", content=lines, headers=headers)
    assert answer.json()["code"] == "approval_required"
    # Nor a session of the proposer, started with another key of the same principal.
    proposal = await propose(strict, bearer(kim), slug, void)
    second = await issue_key(
        services.recorder, services.pool, Rights(scopes=("record", "correct")), principal=kim.principal
    )
    async with httpx.AsyncClient(base_url=strict.url, verify=NO_TLS) as browser:
        await browser.post("/sign-in", data={"key": second.secret})
        id, digest = proposal.json()["proposal"], proposal.json()["digest"]
        form = {"csrf": csrf_token(browser.cookies["registry_session"]), "decision": "approve"}
        assert (await browser.post(f"/proposals/{id}", data={**form, f"digest/{id}": digest})).status_code == 409
    # Nor a reviewer whose key ends before the approval.
    lee = await strict.issue("record", "correct", name="Lee")
    await strict.revoke(lee)
    assert (await decide(strict, bearer(lee), proposal)).status_code == 401
    for key in (kim, second):
        await strict.revoke(key)
    assert await strict.size() == size + 6  # The keys' events.
    # The approver's rights count: the proposer's may have ended.
    assert (await decide(strict, await strict.key("correct"), proposal)).status_code == 200
    last = (await strict.visitor.get(f"/v1/deals/{slug}/events")).json()["events"][-1]
    assert (last["type"], last["recorded_by"]) == ("event_voided", kim.principal)
    assert last["approved_by"] not in (None, kim.principal)


async def test_other_events_need_one_principal(strict: Service, slug: str) -> None:
    assert (await strict.client.post(f"/v1/deals/{slug}/events", json=registered())).status_code == 201
    body = {"deal": slug, "announcements": [pledged()]}
    proposal = await strict.client.post("/v1/proposals", json=body)
    approved = await strict.client.post(
        f"{proposal.headers['location']}/approve", headers={"If-Match": proposal.headers["etag"]}
    )
    assert approved.status_code == 200
    events = (await strict.visitor.get(f"/v1/deals/{slug}/events")).json()["events"]
    assert [event["approved_by"] for event in events] == [None, None]


def test_unknown_event_type_in_the_setting_is_refused(settings_of: Settings) -> None:
    with pytest.raises(BadSetting):
        create_app(replace(settings_of, four_eyes=("event_erased",)))


@pytest.fixture
def settings_of(service: Service) -> Settings:
    return service.settings


async def test_open_proposals_of_a_principal_are_bounded(
    service: Service, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposal_store, "MAX_OPEN", 2)
    proposer, other = await service.key("propose"), await service.key("propose")
    first, second = [await propose(service, proposer, f"{slug}-{n}", registered()) for n in range(2)]
    refused = await propose(service, proposer, f"{slug}-2", registered())
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "too_many_proposals")
    imported = await propose_lines(service, proposer, {"deal": f"{slug}-2", **registered()})
    assert "too_many_proposals" in imported.text
    assert (await propose(service, other, f"{slug}-2", registered())).status_code == 201
    withdrawn = await decide(service, proposer, first, "reject", json={})
    assert withdrawn.status_code == 200, withdrawn.text
    third = await propose(service, proposer, f"{slug}-3", registered())
    assert third.status_code == 201
    monkeypatch.setattr(proposal_store, "MAX_OPEN_BYTES", 2_000)
    longer = {"announcements": [{**registered(), "note": "x" * 2_000}]}
    headers = {**proposer, "If-Match": second.headers["etag"]}
    grown = await service.visitor.put(second.headers["location"], json=longer, headers=headers)
    assert (grown.status_code, grown.json()["errors"][0]["code"]) == (422, "too_many_proposals")
    unchanged = await service.visitor.get(second.headers["location"], headers=proposer)
    assert unchanged.headers["etag"] == headers["If-Match"]


async def test_changes_of_a_proposal_are_bounded(service: Service, slug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposal_store, "MAX_CHANGES", 1)
    proposer = await service.key("propose")
    proposed = await propose(service, proposer, slug, registered())
    etag, answers = proposed.headers["etag"], []
    for note in ("first", "second"):
        changed = await service.visitor.put(
            proposed.headers["location"],
            json={"announcements": [{**registered(), "note": note}]},
            headers={**proposer, "If-Match": etag},
        )
        answers.append(changed)
        etag = changed.headers.get("etag", etag)
    assert [answer.status_code for answer in answers] == [200, 422]
    assert answers[1].json()["errors"][0]["code"] == "too_many_changes"
