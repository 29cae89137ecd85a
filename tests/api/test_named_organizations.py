"""Organizations that only announcements name: their list, count and page at any point, duplicates, merges, undo."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.service import Service


@pytest.fixture
def word(slug: str) -> str:
    """A word that only the names of one test have."""
    return "w" + slug.replace("-", "")


async def announce(client: httpx.AsyncClient, deal: str, on: str, *parties: tuple[str, str]) -> int:
    """Register a deal with parties, each by slug and name; returns the log position."""
    source = {"publisher": "The Example Times", "published_on": on}
    joined = [{"organization": slug, "name": {"en": name}, "role": "investor"} for slug, name in parties]
    events = [
        {"event": {"type": "deal_registered", "title": {"en": deal}}, "effective_on": on, "sources": [source]},
        {"event": {"type": "parties_joined", "parties": joined}, "effective_on": on, "sources": [source]},
    ]
    answer = await client.post(f"/v1/deals/{deal}/events", json=events)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["position"])


async def listed(client: httpx.AsyncClient, q: str, **as_of: str | int) -> dict[str, int]:
    """The organizations that match a text, with their numbers of deals."""
    answer = await client.get("/v1/organizations", params={"q": q, "limit": 1000, **as_of})
    assert answer.status_code == 200, answer.text
    return {one["organization"]: one["deal_count"] for one in answer.json()["organizations"]}


async def test_organization_that_a_deal_names_exists(client: httpx.AsyncClient, slug: str, word: str) -> None:
    total = (await client.get("/v1/organizations", params={"count": "true"})).json()["total"]
    position = await announce(client, slug, "2024-05-01", (f"{word}-energy", f"{word} Energy"))
    assert await listed(client, f"{word} ener") == {f"{word}-energy": 1}
    page = (await client.get("/v1/organizations", params={"count": "true"})).json()
    assert page["total"] == total + 1
    one = (await client.get(f"/v1/organizations/{word}-energy")).json()
    assert (one["registered"], one["version"], one["name"]["en"]) == (False, 0, f"{word} Energy")
    assert [deal["deal"] for deal in one["deals"]] == [slug]

    # On each axis, it exists from the moment at which a deal names it.
    for early, late in (
        ({"effective_on": "2024-04-30"}, {"effective_on": "2024-05-01"}),
        ({"published_on": "2024-04-30"}, {"published_on": "2024-05-01"}),
        ({"position": position - 2}, {"position": position}),
    ):
        assert (await listed(client, word, **early), await listed(client, word, **late)) == (
            {},
            {f"{word}-energy": 1},
        )
        path = f"/v1/organizations/{word}-energy"
        assert (await client.get(path, params=early)).status_code == 404
        assert (await client.get(path, params=late)).status_code == 200
        # The page has the date controls at each point, so that a reader finds the way back.
        pages = [await client.get(f"/organizations/{word}-energy", params=point) for point in (early, late)]
        assert [(page.status_code, 'id="as-of"' in page.text) for page in pages] == [(200, True), (200, True)]
        assert ["No deals as of this date." in page.text for page in pages] == [True, False]


async def test_registered_organization_is_listed_once_with_its_own_name(
    client: httpx.AsyncClient, slug: str, word: str
) -> None:
    await announce(client, slug, "2024-05-01", (f"{word}-energy", f"{word} as announced"))
    registration = {"event": {"type": "organization_registered", "name": {"en": f"{word} as registered"}}}
    assert (await client.post(f"/v1/organizations/{word}-energy/events", json=registration)).status_code == 201
    [one] = (await client.get("/v1/organizations", params={"q": word})).json()["organizations"]
    assert (one["name"]["en"], one["registered"], one["deal_count"]) == (f"{word} as registered", True, 1)
    # Its name in announcements finds it as well.
    assert await listed(client, f"{word} as ann") == {f"{word}-energy": 1}


async def test_list_is_paged_by_slug_without_a_gap(client: httpx.AsyncClient, slug: str, word: str) -> None:
    await announce(client, slug, "2024-05-01", *((f"{word}-{i}", f"{word} {i}") for i in range(7)))
    registration = {"event": {"type": "organization_registered", "name": {"en": f"{word} 3"}}}
    await client.post(f"/v1/organizations/{word}-3/events", json=registration)
    found: list[str] = []
    start: dict[str, str] = {}
    while True:
        page = (await client.get("/v1/organizations", params={"q": word, "limit": 2, **start})).json()
        slugs = [one["organization"] for one in page["organizations"]]
        found += slugs
        if len(slugs) < 2:
            break
        start = {"cursor": slugs[-1]}
    assert found == [f"{word}-{i}" for i in range(7)]


async def test_duplicates_are_suggested_merged_from_a_list_and_unmerged(
    client: httpx.AsyncClient, slug: str, word: str
) -> None:
    await announce(client, f"{slug}-a", "2024-05-01", (f"{word}-energy", f"{word} Energy"))
    await announce(client, f"{slug}-b", "2024-06-01", (f"{word}-energy-inc", f"{word} Energy, Inc."))
    before = await announce(client, f"{slug}-c", "2024-07-01", (f"{word}-energy", f"{word} Energy"))
    clusters = (await client.get("/v1/organization-clusters", params={"limit": 1000})).json()["clusters"]
    [cluster] = [one for one in clusters if word in one["members"][0]["organization"]]
    assert [one["organization"] for one in cluster["members"]] == [f"{word}-energy", f"{word}-energy-inc"]

    merges = {"merges": [{"organization": f"{word}-energy-inc", "into": f"{word}-energy", "reason": "reviewed"}]}
    tried = await client.post("/v1/organization-merges", json=merges, params={"dry_run": "true"})
    assert [one["outcome"] for one in tried.json()["results"]] == ["merged"]
    assert len(await listed(client, word)) == 2
    outcomes = [
        (await client.post("/v1/organization-merges", json=merges)).json()["results"][0]["outcome"] for _ in range(2)
    ]
    assert outcomes == ["merged", "unchanged"]
    assert await listed(client, word) == {f"{word}-energy": 3}
    deals = (await client.get("/v1/deals", params={"organization": f"{word}-energy"})).json()["deals"]
    assert [one["deal"] for one in deals] == [f"{slug}-a", f"{slug}-b", f"{slug}-c"]
    assert (await client.get(f"/v1/organizations/{word}-energy-inc")).status_code == 308
    # As the log stood before, they were two.
    assert await listed(client, word, position=before) == {f"{word}-energy": 2, f"{word}-energy-inc": 1}

    undone = (await client.post("/v1/organization-unmerges", json=merges)).json()["results"]
    assert [one["outcome"] for one in undone] == ["unmerged"]
    assert await listed(client, word) == {f"{word}-energy": 2, f"{word}-energy-inc": 1}
    again = (await client.post("/v1/organization-unmerges", json=merges)).json()["results"]
    assert [one["outcome"] for one in again] == ["unchanged"]


async def test_refused_merge_names_its_reason_and_the_others_are_recorded(
    client: httpx.AsyncClient, slug: str, word: str
) -> None:
    await announce(client, slug, "2024-05-01", (f"{word}-a", f"{word} A"), (f"{word}-b", f"{word} B"))
    merges = [
        {"organization": f"{word}-a", "into": f"{word}-nobody"},
        {"organization": f"{word}-a", "into": f"{word}-a"},
        {"organization": f"{word}-a", "into": f"{word}-b"},
        {"organization": f"{word}-b", "into": f"{word}-a"},
    ]
    results = (await client.post("/v1/organization-merges", json={"merges": merges})).json()["results"]
    assert [(one["outcome"], one["code"]) for one in results] == [
        ("refused", "not_found"),
        ("refused", "rule_broken"),
        ("merged", None),
        ("refused", "rule_broken"),
    ]
    assert await listed(client, word) == {f"{word}-b": 1}


async def test_organization_that_deals_name_by_its_slug_only_is_merged(
    client: httpx.AsyncClient, slug: str, word: str
) -> None:
    await announce(client, slug, "2024-05-01", (f"{word}-movil", f"{word} Móvil"))
    event = {"type": "parties_joined", "parties": [{"organization": f"{word}movil", "role": "partner"}]}
    body = {"event": event, "effective_on": "2024-05-02", "sources": [{"publisher": "The Example Times"}]}
    assert (await client.post(f"/v1/deals/{slug}/events", json=body)).status_code == 201
    merges = {"merges": [{"organization": f"{word}movil", "into": f"{word}-movil"}]}
    merged = (await client.post("/v1/organization-merges", json=merges)).json()["results"]
    assert [one["outcome"] for one in merged] == ["merged"]
    undone = (await client.post("/v1/organization-unmerges", json=merges)).json()["results"]
    assert [one["outcome"] for one in undone] == ["unmerged"]
    one = (await client.get(f"/v1/organizations/{word}movil")).json()
    assert one["name"]["en"] == f"{word}movil"


async def test_merge_needs_the_right_to_correct(service: Service, slug: str) -> None:
    body = {"merges": [{"organization": slug, "into": "other"}]}
    headers = await service.key("record")
    for path in ("/v1/organization-merges", "/v1/organization-unmerges"):
        assert (await service.client.post(path, json=body, headers=headers)).status_code == 403
        assert (await service.client.post(path, json={"merges": []})).status_code == 422


async def test_deal_is_found_by_every_organization_that_takes_part(
    client: httpx.AsyncClient, slug: str, word: str
) -> None:
    names = {"by": f"{word}-cloud", "members": f"{word}-grid", "authority": f"{word}-ministry"}
    # Another deal gives the one that pledges a name in Korean.
    await announce(client, f"{slug}-other", "2024-05-01", (names["by"], f"{word} 구름"))
    events: list[dict[str, Any]] = [
        {"event": {"type": "deal_registered", "title": {"en": slug}}},
        {"event": {"type": "pledge_announced", "pledge": "total", "by": [names["by"], "someone-else"]}},
        {"event": {"type": "partnership_formed", "members": [names["members"]]}},
        {"event": {"type": "condition_set", "condition": "permit", "authority": names["authority"]}},
    ]
    events = [{"effective_on": "2024-05-01", **event} for event in events]
    answer = await client.post(f"/v1/deals/{slug}/events", json=events)
    assert answer.status_code == 201, answer.text

    async def deals(q: str, **more: str) -> set[str]:
        lists = [await client.get("/v1/deals", params={"q": q, **more})]
        lists.append(await client.get("/v1/search", params={"q": q, "kind": "deal"}))
        [listed, searched] = lists
        found = {one["deal"] for one in listed.json()["deals"]}
        assert found == {hit["id"] for hit in searched.json()["hits"]}
        assert all(hit["matches"] for hit in searched.json()["hits"])
        return found

    assert await deals(f"{word} cloud") == {slug, f"{slug}-other"}
    assert await deals(f"{word} 구름") == {slug, f"{slug}-other"}
    assert await deals(f"{word} grid") == {slug}
    assert await deals(f"{word} ministry") == {slug}
    assert await listed(client, word) == {names["by"]: 2, names["members"]: 1, names["authority"]: 1}
    withdrawn = {"effective_on": "2024-05-02", "event": {"type": "pledge_withdrawn", "pledge": "total"}}
    assert (await client.post(f"/v1/deals/{slug}/events", json=withdrawn)).status_code == 201
    assert await deals(f"{word} cloud") == {f"{slug}-other"}
