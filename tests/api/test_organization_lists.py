"""Lists of organizations: filters, names, pages and search."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.api.announcements import announced
from tests.api.test_lists import pages


async def test_organizations_are_listed_and_found_by_name(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    firm, parent = new_slug(), new_slug()
    url = f"/v1/organizations/{firm}/events"
    answer = await client.post(
        url,
        json=[
            {
                "event": {
                    "type": "organization_registered",
                    "name": {"en": f"Firm {firm}", "ko": "회사"},
                    "country": "KR",
                }
            },
            announced("2020-01-01", "organization_named", name="Old Firm", language="en", kind="former"),
            announced("2024-01-01", "parent_set", parent=parent, control="owns", share="51"),
        ],
    )
    assert answer.status_code == 201, answer.text
    assert answer.headers["etag"] == '"3"'
    now = await client.get(f"/v1/organizations/{firm}")
    assert now.json()["names"][0]["name"] == "Old Firm"
    assert now.json()["parents"][0]["parent"] == parent
    assert now.headers["etag"].startswith('W/"3;')
    known = {"If-None-Match": now.headers["etag"]}
    assert (await client.get(f"/v1/organizations/{firm}", headers=known)).status_code == 304
    then = await client.get(f"/v1/organizations/{firm}", params={"effective_on": "2022-01-01"})
    assert then.json()["parents"] == []
    listed = (await client.get("/v1/organizations", params={"q": f"firm {firm}"})).json()["organizations"]
    assert [o["organization"] for o in listed] == [firm]
    assert (await client.get("/v1/organizations/no-such-firm")).status_code == 404
    wrong = announced("2020-01-01", "organization_identified", scheme="lei", identifier="5493001KJTIIGC8Y1R13")
    refused = await client.post(url, json=wrong)
    assert refused.json()["errors"][0]["pointer"] == "/event/identifier"


async def test_merged_organization_redirects_to_the_other(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    firm, other = new_slug(), new_slug()
    for slug in (firm, other):
        event = {"type": "organization_registered", "name": {"en": f"Firm {firm}"}}
        await client.post(f"/v1/organizations/{slug}/events", json={"event": event})
    merged = await client.post(
        f"/v1/organizations/{firm}/events", json={"event": {"type": "organization_merged", "into": other}}
    )
    assert merged.status_code == 201, merged.text
    answer = await client.get(f"/v1/organizations/{firm}?effective_on=2025-01-01")
    assert (answer.status_code, answer.headers["location"]) == (
        308,
        f"/v1/organizations/{other}?effective_on=2025-01-01",
    )
    listed = (await client.get("/v1/organizations", params={"q": f"firm {firm}"})).json()["organizations"]
    assert [o["organization"] for o in listed] == [other]


async def test_organizations_are_paged(client: httpx.AsyncClient, new_slug: Callable[[], str]) -> None:
    prefix = new_slug()
    for n in range(5):
        event = {"type": "organization_registered", "name": {"en": f"Paged {prefix}"}}
        await client.post(f"/v1/organizations/{prefix}-{n}/events", json={"event": event})
    met: list[str] = []
    async for page in pages(client, f"/v1/organizations?q=Paged+{prefix}&limit=2"):
        met += [o["organization"] for o in page["organizations"]]
    assert met == [f"{prefix}-{n}" for n in range(5)]


@pytest.mark.parametrize(
    "q", ["테스트 전력", "테스트전력", "전력 {name}", "Testing Powr {name}", "power centre {name}", "{name}"]
)
async def test_organizations_are_searched_as_everything_else_is(
    client: httpx.AsyncClient, new_slug: Callable[[], str], q: str
) -> None:
    """Words in any order and script, spelling variants and mistakes; not the substrings of a name."""
    slug = new_slug()
    name = slug.replace("-", "")
    event = {"type": "organization_registered", "name": {"en": f"Testing Power Center {name}", "ko": "테스트 전력"}}
    await client.post(f"/v1/organizations/{slug}/events", json={"event": event})

    async def found(q: str) -> set[str]:
        listed = (await client.get("/v1/organizations", params={"q": q, "limit": 1000})).json()["organizations"]
        return {one["organization"] for one in listed}

    asked = q.format(name=name)
    assert slug in await found(asked)
    searched = (await client.get("/v1/search", params={"q": asked, "kind": "organization", "limit": 100})).json()
    assert await found(asked) == {hit["id"] for hit in searched["hits"]}
    assert slug not in await found(f"ting {name}")
