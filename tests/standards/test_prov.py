"""Events and states as linked data, read by a library for JSON-LD that may load nothing."""

from __future__ import annotations

import json
from typing import Any

import httpx
from pyld import jsonld  # type: ignore[import-untyped]

from tests.service import ADMIN_KEY, Service

LINKED = {"Accept": "application/ld+json"}
PROV = "http://www.w3.org/ns/prov#"
TERMS = "http://purl.org/dc/terms/"


def refuse(url: str, options: Any) -> Any:
    raise AssertionError(f"the document would load {url}")


def triples(answer: httpx.Response) -> set[tuple[str, str, str]]:
    """The statements of a document, without the names of blank nodes."""
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/ld+json"
    dataset = jsonld.to_rdf(answer.json(), {"documentLoader": refuse})
    return {
        (each["subject"]["value"], each["predicate"]["value"], each["object"]["value"]) for each in dataset["@default"]
    }


async def test_event_names_its_source_and_who_recorded_it(demo: Service) -> None:
    events = (await demo.client.get("/v1/deals/sk-aws-ulsan/events")).json()["events"]
    event = next(event for event in events if event["sources"] and event["sources"][0]["url"])
    found = triples(await demo.client.get(f"/v1/events/{event['id']}", headers=LINKED))
    address, recording = f"{demo.url}/v1/events/{event['id']}", f"{demo.url}/v1/events/{event['id']}#recording"
    assert (address, f"{PROV}hadPrimarySource", event["sources"][0]["url"]) in found
    assert (address, f"{TERMS}isPartOf", f"{demo.url}/v1/deals/sk-aws-ulsan") in found
    assert (address, f"{PROV}wasGeneratedBy", recording) in found
    (agent,) = {object for subject, term, object in found if (subject, term) == (recording, f"{PROV}wasAssociatedWith")}
    assert agent.startswith(f"{demo.url}/v1/principals/")
    (content,) = {object for subject, term, object in found if (subject, term) == (address, f"{PROV}value")}
    plain = (await demo.client.get(f"/v1/events/{event['id']}")).json()
    assert json.loads(content) == plain["event"]


async def test_state_follows_from_its_events(demo: Service) -> None:
    events = (await demo.client.get("/v1/deals/aws-korea-2031/events")).json()["events"]
    point = {"position": str(events[-1]["position"]), "effective_on": "2025-12-31"}
    plain = await demo.client.get("/v1/deals/aws-korea-2031", params=point)
    linked = await demo.client.get("/v1/deals/aws-korea-2031", params=point, headers=LINKED)
    found = triples(linked)
    (address,) = {subject for subject, term, _ in found if term == f"{PROV}specializationOf"}
    assert (address, f"{PROV}specializationOf", f"{demo.url}/v1/deals/aws-korea-2031") in found
    assert (await demo.client.get(address)).content == plain.content, "the state has an address"
    log = (await demo.client.get("/v1/deals/aws-korea-2031/events", params=point)).json()["events"]
    derived = {object for _, term, object in found if term == f"{PROV}wasDerivedFrom"}
    assert derived == {f"{demo.url}/v1/events/{event['id']}" for event in log if event["visible"]}
    (state,) = {object for _, term, object in found if term == f"{PROV}value"}
    assert json.loads(state) == plain.json()
    assert {"Accept", "Accept-Datetime"} <= set(linked.headers["vary"].split(", "))


async def test_correction_is_a_revision_of_the_event_that_it_corrects(demo: Service) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}

    async def record(event: dict[str, Any]) -> str:
        dated = {"effective_on": "2025-01-01"} if event["type"].startswith(("deal", "pledge")) else {}
        announcement = dated | {"event": event}
        answer = await demo.client.post("/v1/deals/linked/events", json=announcement, headers=headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["events"][0]["id"])

    await record({"type": "deal_registered", "title": {"en": "A plant"}})
    announced = await record({"type": "pledge_announced", "pledge": "total"})
    replacement = {"event": {"type": "pledge_announced", "pledge": "total", "commitment": "intention"}}
    correction = await record({"type": "event_corrected", "corrects": announced, "replacement": replacement})
    found = triples(await demo.client.get(f"/v1/events/{correction}", headers=LINKED))
    announced_at = f"{demo.url}/v1/events/{announced}"
    assert (f"{demo.url}/v1/events/{correction}", f"{PROV}wasRevisionOf", announced_at) in found
    void = await record({"type": "event_voided", "voids": correction})
    found = triples(await demo.client.get(f"/v1/events/{correction}", headers=LINKED))
    assert any(term == f"{PROV}wasInvalidatedBy" and void in object for _, term, object in found)
