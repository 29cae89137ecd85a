"""Paths and queries: an invalid one is refused with the name of the parameter, and extreme values are answered."""

from __future__ import annotations

import httpx
import pytest

from tests.api.announcements import pledged, registered
from tests.service import Service


@pytest.mark.parametrize("name", ["A", "a b", "a--b", "-a", "a" * 81, "%00", "%FF", "a%0A", "é"])
async def test_malformed_slug_in_the_path_of_a_post_is_refused(service: Service, name: str) -> None:
    size = await service.size()
    for kind in ("deals", "organizations"):
        answer = await service.client.post(f"/v1/{kind}/{name}/events", json=registered())
        assert answer.status_code == 422, answer.text
        assert answer.json()["parameter"] == kind.removesuffix("s")
    assert await service.size() == size


@pytest.mark.parametrize("id", ["A", "0" * 31, "0" * 31 + "g", "a" * 32 + "%0A"])
async def test_malformed_id_of_a_source_is_refused_with_the_name_of_the_parameter(
    client: httpx.AsyncClient, id: str
) -> None:
    refused = await client.post(f"/v1/sources/{id}/retraction", json={})
    assert (refused.status_code, refused.json()["parameter"]) == (422, "source")
    unknown = await client.get(f"/v1/sources/{id}")
    assert (unknown.status_code, unknown.json()["params"]["problem"]["code"]) == (404, "bad_query/source_id")


QUERIES = [
    ("/v1/deals", "unknown=1", "unknown"),
    ("/v1/deals", "effective_no=2025-01-01", "effective_no"),
    ("/v1/deals", "effective_on=0000-01-01", "effective_on"),
    ("/v1/deals", "effective_on=2025-02-30", "effective_on"),
    ("/v1/deals", "effective_on=", "effective_on"),
    ("/v1/deals", "effective_on=2025-01-01&effective_on=2025-01-02", "effective_on"),
    ("/v1/deals", "effective_on=%D9%A2%D9%A0%D9%A2%D9%A5-01-01", "effective_on"),
    ("/v1/deals", "recorded_at=2025-01-01", "recorded_at"),
    ("/v1/deals", "recorded_at=2025-01-01T00:00:00", "recorded_at"),
    ("/v1/deals", "recorded_at=0001-01-01T00:00:00%2B23:59", "recorded_at"),
    ("/v1/deals", "position=-1", "position"),
    ("/v1/deals", "position=1e3", "position"),
    ("/v1/deals", "position=99999999999999999999", "position"),
    ("/v1/deals", "limit=0", "limit"),
    ("/v1/deals", "limit=1001", "limit"),
    ("/v1/deals", "q=%00", "q"),
    ("/v1/deals", "organization=A", "organization"),
    ("/v1/deals", "stage=signd", "stage"),
    ("/v1/deals", "currency=usd", "currency"),
    ("/v1/deals", "region=korea", "region"),
    ("/v1/deals", "sort=colour", "sort"),
    ("/v1/deals", "facets=1", "facets"),
    ("/v1/deals", "published_on=2025-01-01&position=1", "published_on"),
    ("/v1/events", "limit=5000", "limit"),
    ("/v1/events", "after=-1", "after"),
    ("/v1/events", "type=nope", "type"),
    ("/v1/events", "source=%00", "source"),
    ("/v1/events", "deal=%00", "deal"),
    ("/v1/organizations", "effective_on=2025-13-01", "effective_on"),
    ("/v1/totals", "group_by=nothing", "group_by"),
    ("/v1/totals", "currency=XXA", "currency"),
    ("/v1/compare", "from.position=1&from.published_on=2025-01-01", "from.published_on"),
    ("/v1/compare", "since=2025", "since"),
    ("/v1/rates", "currency=ZZZ", "currency"),
    ("/v1/deals/some-deal", "expand=everything", "expand"),
    ("/v1/deals/some-deal", "dry_run=true", "dry_run"),
    ("/v1/deals/some-deal/timemap", "position=1", "position"),
    ("/openapi.json", "version=2", "version"),
]


@pytest.mark.parametrize(("path", "query", "parameter"), QUERIES)
async def test_invalid_query_is_refused_with_the_name_of_the_parameter(
    client: httpx.AsyncClient, path: str, query: str, parameter: str
) -> None:
    answer = await client.get(f"{path}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_query"), answer.text
    assert answer.json()["parameter"] == parameter


async def test_refused_value_is_answered_with_the_names_that_the_parameter_takes(client: httpx.AsyncClient) -> None:
    expand = (await client.get("/v1/deals/some-deal?expand=foo")).json()
    assert expand["params"]["known"] == ["organizations", "incoming"]
    grouping = (await client.get("/v1/totals?group_by=colour")).json()
    assert {"organization", "region", "year"} <= set(grouping["params"]["known"])
    assert "organization" in grouping["detail"]


async def test_unknown_parameter_is_refused_with_the_nearest_name(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/deals?effectve_on=2025-01-01")
    assert answer.json()["params"] == {"parameter": "effectve_on", "similar": "effective_on"}
    long = await client.get(f"/v1/deals?{'x' * 10_000}=1")
    assert (long.status_code, len(long.text) < 2000) == (400, True)


async def test_extreme_parameter_values_are_answered(client: httpx.AsyncClient, slug: str) -> None:
    """The first and last day, instant and position of each parameter."""
    await client.post(f"/v1/deals/{slug}/events", json=[registered(), pledged()])
    for day in ("0001-01-01", "9999-12-31"):
        for path in (
            "/v1/deals",
            "/v1/totals",
            f"/v1/deals/{slug}",
            f"/v1/deals/{slug}/events",
            f"/v1/deals/{slug}/blame",
        ):
            for clock in ("effective_on", "published_on"):
                answer = await client.get(path, params={clock: day})
                assert answer.status_code in (200, 404), (path, clock, answer.text)
    for instant in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2025-01-01T00:00:00 09:00"):
        for path in ("/v1/deals", "/v1/totals", f"/v1/deals/{slug}"):
            assert (await client.get(path, params={"recorded_at": instant})).status_code in (200, 404)
    for position in (0, 2**53):
        assert (await client.get("/v1/deals", params={"position": position})).status_code == 200
        assert (await client.get("/v1/events", params={"after": position})).status_code == 200
    far = await client.get(f"/v1/deals/{slug}/compare?from.effective_on=0001-01-01&to.effective_on=9999-12-31")
    assert far.status_code == 200
    assert slug in (await client.get("/v1/deals", params={"effective_on": "9999-12-31", "limit": 1000})).text


async def test_unknown_path_and_method_are_problem_documents(client: httpx.AsyncClient, slug: str) -> None:
    unknown = await client.get("/v1/nothing")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    method = await client.put(f"/v1/deals/{slug}", json={})
    assert (method.status_code, method.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in method.headers["allow"]
