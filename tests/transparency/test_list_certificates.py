"""Certificates of lists and comparisons verify with only the verifier key, and no changed one does."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from registry.api import portfolio
from registry.errors import LogCorrupt
from registry.transparency.bundles import verify_bundle
from tests.api.announcements import announced, registered
from tests.conftest import drill
from tests.databases import Server
from tests.service import Service, cloned, running
from tests.transparency.conftest import keys, post
from tests.transparency.findings import raises_finding
from tests.transparency.test_total_certificate import grow

POINTS = {"from.effective_on": "2025-06-20", "to.effective_on": "2025-07-02"}


async def bundle(service: Service, path: str, **params: Any) -> bytes:
    answer = await service.visitor.get(path, params={"certificate": "true", **params})
    assert answer.status_code == 200, answer.text
    return answer.content


@pytest.mark.parametrize("filters", [drill({}), {"sector": "ai"}, drill({"sector": "energy", "stage": "intention"})])
async def test_certificate_proves_a_list_offline(service: Service, filters: dict[str, str]) -> None:
    await grow(service)
    await post(service, "duplicate", registered(sectors=["ai"]))
    await post(service, "duplicate", {"event": {"type": "deal_merged", "into": "mill", "reason": "the same"}})
    data = await bundle(service, "/v1/deals", **filters)
    result = verify_bundle(data, await keys(service))
    assert (result.proves.code, result.proves.params["deals"]) == ("proves_list", 4)
    states = json.loads(data)["states"]
    listed = (await service.visitor.get("/v1/deals", params={"sort": "deal", **filters})).json()["deals"]
    assert [state["deal"] for state in states] == [deal["deal"] for deal in listed]
    for state in states:
        single = await service.visitor.get(f"/v1/deals/{state['deal']}", params={"certificate": "true"})
        certified = single.json()["state"]
        assert state == certified


@pytest.mark.parametrize("filters", [{}, {"sector": "energy"}])
async def test_certificate_proves_a_comparison_offline(service: Service, filters: dict[str, str]) -> None:
    await grow(service)
    data = await bundle(service, "/v1/compare", **POINTS, **filters)
    result = verify_bundle(data, await keys(service))
    assert (result.proves.code, result.proves.params["deals"]) == ("proves_comparison", 3)
    found = json.loads(data)
    stated = (await service.visitor.get("/v1/compare", params={**POINTS, **filters})).json()
    assert found["changes"] == [
        {name: value for name, value in change.items() if name != "title"} for change in stated["changes"]
    ]
    assert [change["what"] for change in found["changes"] if change["deal"] == "mill"] == ["grew"]
    for side in ("from", "to"):
        assert found["totals"][side] == stated["totals"][side]


async def test_changed_list_is_not_proved(service: Service) -> None:
    await grow(service)
    verifiers = await keys(service)
    found = json.loads(await bundle(service, "/v1/deals", sector="ai"))

    def refused(changed: dict[str, Any], code: str | None = None) -> None:
        with raises_finding(LogCorrupt, code):
            verify_bundle(json.dumps({**found, **changed}).encode(), verifiers)

    states = json.loads(json.dumps(found["states"]))
    states[0]["title"]["en"] = "Another plant"
    refused({"states": states}, "bundle_list")
    refused({"states": found["states"][1:]}, "bundle_list")
    refused({"states": found["states"][::-1]}, "bundle_list")
    refused({"query": {}}, "bundle_list")
    refused({"deals": found["deals"][1:]}, "bundle_deals")
    refused({"streams": found["streams"][1:]}, "bundle_deals")
    # Without the heads of all streams, a deal may be missing: the result says so.
    fewer = {"deals": found["deals"][1:], "streams": None}
    missing = found["deals"][0]["deal"]
    left = [state for state in found["states"] if state["deal"] != missing]
    partial = json.dumps({**found, **fewer, "states": left}).encode()
    assert verify_bundle(partial, verifiers).proves.code == "proves_list_of_these_deals"


async def test_changed_comparison_is_not_proved(service: Service) -> None:
    await grow(service)
    verifiers = await keys(service)
    found = json.loads(await bundle(service, "/v1/compare", **POINTS))

    def refused(changed: dict[str, Any], code: str | None = None) -> None:
        with raises_finding(LogCorrupt, code):
            verify_bundle(json.dumps({**found, **changed}).encode(), verifiers)

    refused({"changes": found["changes"][1:]}, "bundle_comparison")
    refused({"totals": {**found["totals"], "to": []}}, "bundle_comparison")
    refused({"from": found["to"]}, "bundle_comparison")
    refused({"to": {**found["to"], "position": 10_000}}, "bundle_as_of")
    refused({"deals": found["deals"][1:]}, "bundle_deals")
    first = found["deals"][0]
    refused({"deals": [{**first, "events": first["events"][:-1]}, *found["deals"][1:]]})


async def test_certificate_proves_what_was_learned_late_in_the_time_zone_that_it_states(
    server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    zone, day_behind = "Pacific/Kiritimati", "Pacific/Pago_Pago"
    async with cloned(server, admin, "zone") as settings, running(replace(settings, time_zone=zone)) as service:
        yesterday = str(service.app.state.services.calendar.today() - timedelta(days=1))
        first = await post(service, "mill", registered(), announced("2025-06-20", "pledge_announced", pledge="one"))
        await post(service, "mill", announced(yesterday, "stage_changed", stage="construction"))
        points = {"from.position": str(first[-1]["position"])}
        found = json.loads(await bundle(service, "/v1/compare", **points))
        verifiers = await keys(service)
        assert {change["kind"] for change in found["changes"]} == {"learned_late"}
        assert verify_bundle(json.dumps(found).encode(), verifiers).proves.code == "proves_comparison"
        for other in (day_behind, "Pacific/Nowhere"):
            with raises_finding(LogCorrupt, "bundle_comparison"):
                verify_bundle(json.dumps({**found, "time_zone": other}).encode(), verifiers)


async def test_larger_log_is_certified_without_the_proof_of_completeness_and_within_the_limit(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await grow(service)
    # Of the eight events, five are of the deals that meet the filter.
    monkeypatch.setattr(portfolio, "MAX_CERTIFIED", 7)
    verifiers = await keys(service)
    listed = await bundle(service, "/v1/deals", sector="ai")
    assert verify_bundle(listed, verifiers).proves.code == "proves_list_of_these_deals"
    compared = await bundle(service, "/v1/compare", **POINTS, sector="ai")
    assert verify_bundle(compared, verifiers).proves.code == "proves_comparison_of_these_deals"
    monkeypatch.setattr(portfolio, "MAX_CERTIFIED", 2)
    for path, params in (("/v1/deals", {}), ("/v1/compare", POINTS)):
        answer = await service.visitor.get(path, params={"certificate": "true", **params})
        assert (answer.status_code, answer.json()["params"]["limit"]) == (400, 2)


async def test_corrections_and_later_learning_are_proved_in_comparisons(service: Service) -> None:
    await grow(service)
    late = announced("2025-06-18", "pledge_announced", pledge="late", amount={"value": "1000", "currency": "USD"})
    await post(service, "mill", late)
    points = {"from.position": "7", "to.position": "9"}
    data = await bundle(service, "/v1/compare", **points)
    assert verify_bundle(data, await keys(service)).proves.code == "proves_comparison"
    stated = (await service.visitor.get("/v1/compare", params=points)).json()["changes"]
    assert [one["what"] for one in json.loads(data)["changes"]] == [one["what"] for one in stated]
