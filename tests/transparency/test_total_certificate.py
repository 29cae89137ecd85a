"""Certificates of totals verify with only the verifier key, and no changed one does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from registry.errors import LogCorrupt
from registry.transparency.bundles import verify_bundle
from tests.api.announcements import announced, pledged, registered, revised
from tests.databases import Server
from tests.service import Service, cloned, running
from tests.transparency.conftest import keys, post
from tests.transparency.findings import raises_finding


async def grow(service: Service) -> None:
    """Record three deals, one of which is part of another."""
    await post(service, "programme", registered(sectors=["ai"]), pledged())
    part = announced("2025-06-20", "deals_related", relation="part_of", deal="programme")
    await post(service, "phase", registered(sectors=["ai"]), pledged(value="1000000000"), part)
    await post(service, "mill", registered(sectors=["energy"]), pledged(value="2000000000"))
    await post(service, "mill", revised("2025-07-01", "20000000000"))


@pytest_asyncio.fixture(scope="module")
async def grown(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A service with these deals, in which tests record nothing."""
    async with cloned(server, admin, "totals") as settings, running(settings) as service:
        await grow(service)
        yield service


async def bundle(service: Service, **params: Any) -> bytes:
    answer = await service.visitor.get("/v1/totals", params={"certificate": "true", **params})
    assert answer.status_code == 200, answer.text
    return answer.content


async def test_certificate_proves_a_total_offline(grown: Service) -> None:
    data = await bundle(grown)
    found = json.loads(data)
    (column,) = found["total"]["columns"]
    stated = (await grown.visitor.get("/v1/totals")).json()["totals"]["overall"]
    assert column == stated["columns"][0]
    assert (column["low"], column["high"]) == ("5000000000", "25000000000")
    result = verify_bundle(data, await keys(grown))
    assert (result.proves.code, result.proves.params["deals"]) == ("proves_total", 3)


async def test_converted_and_filtered_total_is_proved_with_the_rates_that_it_states(grown: Service) -> None:
    data = await bundle(grown, currency="KRW", sector="ai")
    assert {rate["from"] for rate in json.loads(data)["rates"]} == {"USD"}
    assert verify_bundle(data, await keys(grown)).proves.code == "proves_total"


@pytest.mark.parametrize("group_by", ["sector", "stage,year", "commitment"])
async def test_grouped_total_is_proved_with_all_its_groups(grown: Service, group_by: str) -> None:
    data = await bundle(grown, group_by=group_by)
    found = json.loads(data)
    stated = (await grown.visitor.get("/v1/totals", params={"group_by": group_by})).json()["totals"]["groups"]
    certified = {tuple(group["keys"]): group["columns"] for group in found["groups"]}
    assert certified == {tuple(group["keys"]): group["columns"] for group in stated}
    verifiers = await keys(grown)
    assert verify_bundle(data, verifiers).proves.code == "proves_total"
    for changed in ({"groups": found["groups"][1:]}, {"query": {**found["query"], "group_by": []}}):
        with raises_finding(LogCorrupt, "bundle_total"):
            verify_bundle(json.dumps({**found, **changed}).encode(), verifiers)


async def own(service: Service) -> None:
    """Record pledges of three organizations, of which one is merged into another, which a third one owns."""
    await grow(service)
    for slug in ("acme", "acme-corp", "parent-holding"):
        name = {"event": {"type": "organization_registered", "name": {"en": slug}}, "effective_on": "2025-01-01"}
        answer = await service.client.post(f"/v1/organizations/{slug}/events", json=name)
        assert answer.status_code == 201, answer.text
    merged = {"event": {"type": "organization_merged", "into": "acme", "reason": "the same"}}
    parent = {"event": {"type": "parent_set", "parent": "parent-holding"}, "effective_on": "2025-02-01"}
    for slug, event in (("acme-corp", merged), ("acme", parent)):
        answer = await service.client.post(f"/v1/organizations/{slug}/events", json=event)
        assert answer.status_code == 201, answer.text
    for number, by in enumerate(("acme", "acme-corp", "parent-holding", "stranger")):
        pledge = announced("2025-06-21", "pledge_announced", pledge=f"of-{number}", by=[by])
        pledge["event"]["amount"] = {"value": f"{number + 1}000", "currency": "EUR"}
        await post(service, "mill", pledge)


@pytest_asyncio.fixture(scope="module")
async def owned(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A service with these pledges, in which tests record nothing."""
    async with cloned(server, admin, "owned_totals") as settings, running(settings) as service:
        await own(service)
        yield service


@pytest.mark.parametrize("more", [{}, {"roll_up": "parent"}, {"currency": "USD"}])
@pytest.mark.parametrize("group_by", ["organization", "organization,year"])
async def test_total_by_organization_is_proved_with_merges_and_parents(
    owned: Service, group_by: str, more: dict[str, str]
) -> None:
    data = await bundle(owned, group_by=group_by, **more)
    found = json.loads(data)
    stated = await owned.visitor.get("/v1/totals", params={"group_by": group_by, **more})
    certified = {tuple(group["keys"]): group["columns"] for group in found["groups"]}
    assert certified == {tuple(group["keys"]): group["columns"] for group in stated.json()["totals"]["groups"]}
    keys_of = {group[0] for group in certified}
    assert keys_of & {"acme", "acme-corp", "parent-holding"} == (
        {"parent-holding"} if "roll_up" in more else {"acme", "parent-holding"}
    )
    assert verify_bundle(data, await keys(owned)).proves.code == "proves_total"


async def test_total_by_organization_is_not_proved_without_its_organizations(owned: Service) -> None:
    verifiers = await keys(owned)
    found = json.loads(await bundle(owned, group_by="organization", roll_up="parent"))

    def refused(changed: dict[str, Any], code: str | None = None) -> None:
        left = {name: value for name, value in {**found, **changed}.items() if value is not ...}
        with raises_finding(LogCorrupt, code):
            verify_bundle(json.dumps(left).encode(), verifiers)

    refused({"organizations": ...}, "bundle_organizations")
    refused({"organizations": found["organizations"][1:]}, "bundle_deals")
    refused({"organizations": [*found["organizations"], found["organizations"][0]]}, "bundle_deals")
    refused({"organizations": [], "streams": None}, "bundle_total")
    refused({"query": {**found["query"], "roll_up": None}}, "bundle_total")
    first = found["organizations"][0]
    refused({"organizations": [{**first, "events": first["events"][:-1]}, *found["organizations"][1:]]})


async def test_changed_total_is_not_proved(grown: Service) -> None:
    verifiers = await keys(grown)
    found = json.loads(await bundle(grown, currency="KRW"))

    def refused(changed: dict[str, Any], code: str | None = None) -> None:
        with raises_finding(LogCorrupt, code):
            verify_bundle(json.dumps({**found, **changed}).encode(), verifiers)

    total = json.loads(json.dumps(found["total"]))
    total["columns"][0]["low"] = "1"
    refused({"total": total}, "bundle_total")
    refused({"query": {**found["query"], "sector": "ai"}}, "bundle_total")
    refused({"rates": [{**rate, "to_per_eur": "1"} for rate in found["rates"]]}, "bundle_total")
    refused({"deals": found["deals"][1:]}, "bundle_deals")
    refused({"deals": [*found["deals"], found["deals"][0]]}, "bundle_deals")
    refused({"streams": found["streams"][1:]}, "bundle_deals")
    refused({"deals": [], "streams": []}, "bundle_deals")
    first = found["deals"][0]
    refused({"deals": [{**first, "events": first["events"][:-1]}, *found["deals"][1:]]})
    event = {**first["events"][1], "content": first["events"][1]["content"].replace("2000000000", "3000000000")}
    refused({"deals": [{**first, "events": [first["events"][0], event]}, *found["deals"][1:]]})
