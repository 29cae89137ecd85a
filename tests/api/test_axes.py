"""Everything that shows a state takes the time axes: organizations, and the log as a file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec

from tests.api.announcements import SOURCE, announced, corrected, pledged, registered, revised
from tests.service import Service

AHEAD = str(datetime.now(UTC).date() + timedelta(days=400))


def published(day: str) -> list[dict[str, str]]:
    return [{**SOURCE, "published_on": day}]


def founded(name: str = "First name", **more: Any) -> dict[str, Any]:
    return {"sources": [SOURCE], "event": {"type": "organization_registered", "name": {"en": name}}, **more}


def named(day: str, name: str, **more: Any) -> dict[str, Any]:
    event = {"type": "organization_named", "name": name, "language": "en", "kind": "former"}
    return announced(day, event.pop("type"), **event, **more)


async def post(client: httpx.AsyncClient, organization: str, *announcements: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for announcement in announcements:
        answer = await client.post(f"/v1/organizations/{organization}/events", json=announcement)
        assert answer.status_code == 201, answer.text
        body = answer.json()
    return body


async def listed(client: httpx.AsyncClient, slug: str, **params: Any) -> dict[str, Any] | None:
    """The organization in the list, found by its slug."""
    answer = await client.get("/v1/organizations", params={"limit": 1000, **params})
    assert answer.status_code == 200, answer.text
    rows = [row for row in answer.json()["organizations"] if row["organization"] == slug]
    return rows[0] if rows else None


def names(row: dict[str, Any] | None) -> list[str] | None:
    return None if row is None else [name["name"] for name in row["names"]]


async def test_40_organizations_list_answers_all_time_axes(client: httpx.AsyncClient, slug: str) -> None:
    first = await post(client, slug, founded())
    second = await post(client, slug, named("2025-07-01", "July name", sources=published("2025-08-10")))
    await post(client, slug, named(AHEAD, "Later name"))
    assert names(await listed(client, slug)) == ["July name"]
    assert names(await listed(client, slug, effective_on=AHEAD)) == ["July name", "Later name"]
    assert names(await listed(client, slug, effective_on="2025-06-30")) == []
    assert names(await listed(client, slug, published_on="2025-08-09")) == []
    assert names(await listed(client, slug, position=first["position"])) == []
    assert names(await listed(client, slug, recorded_at=second["events"][0]["recorded_at"])) == ["July name"]
    assert await listed(client, slug, position=first["position"] - 1) is None
    assert await listed(client, slug, published_on="2020-01-01") is None
    every = {"effective_on": AHEAD, "published_on": "2025-08-09", "position": second["position"]}
    assert names(await listed(client, slug, **every)) == []


async def test_40_organizations_are_found_by_the_names_of_that_point(client: httpx.AsyncClient, slug: str) -> None:
    first = await post(client, slug, founded(f"Alpha {slug}"))
    second = await post(client, slug, named("2025-07-01", f"Beta {slug}"))
    voided = {"event": {"type": "event_voided", "voids": second["events"][0]["id"], "reason": "a slip"}}
    last = await post(client, slug, voided)
    assert await listed(client, slug, q=f"alpha {slug}") is not None
    assert await listed(client, slug, q=f"Beta {slug}") is None
    assert await listed(client, slug, q=f"beta {slug}", position=last["position"] - 1) is not None
    assert await listed(client, slug, q=f"Beta {slug}", position=first["position"]) is None


async def test_40_merged_organization_is_listed_before_the_merge(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    slug, other = new_slug(), new_slug()
    await post(client, other, founded(f"Other {other}"))
    await post(client, slug, founded(f"Gamma {slug}"))
    merged = await post(client, slug, {"event": {"type": "organization_merged", "into": other}})
    assert await listed(client, slug) is None
    assert await listed(client, slug, position=merged["position"] - 1) is not None
    assert await listed(client, other, q=f"gamma {slug}") is not None
    assert await listed(client, other, q=f"gamma {slug}", position=merged["position"] - 1) is None


async def test_40_next_page_of_organizations_is_a_page_of_the_same_list(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    slugs = sorted(new_slug() for _ in range(3))
    for slug in slugs:
        await post(client, slug, founded(f"Page of {slugs[0]}"))
    first = await client.get("/v1/organizations", params={"q": f"Page of {slugs[0]}", "limit": 2})
    assert [row["organization"] for row in first.json()["organizations"]] == slugs[:2]
    await post(client, slugs[2], named("2025-07-01", "Meanwhile"))
    following = await client.get(first.links["next"]["url"])
    assert [names(row) for row in following.json()["organizations"]] == [[]]
    pinned = dict(parse_qsl(urlsplit(first.links["next"]["url"]).query))
    assert pinned["position"] == str(first.json()["position"])


async def test_40_organization_on_all_axes_lists_the_deals_known_there(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    firm, deal = new_slug(), new_slug()
    await post(client, firm, founded())
    party = {"organization": firm, "name": {"en": "Firm"}, "role": "investor"}
    joined = announced("2025-07-01", "parties_joined", parties=[party], sources=published("2025-07-05"))
    posted = (await client.post(f"/v1/deals/{deal}/events", json=[registered(), joined])).json()

    async def deals(**params: Any) -> list[str]:
        answer = await client.get(f"/v1/organizations/{firm}", params=params)
        assert answer.status_code == 200, answer.text
        return [role["deal"] for role in answer.json()["deals"]]

    at = {"published_on": "2025-07-05", "position": posted["position"]}
    assert await deals(**at) == [deal]
    assert await deals(**at, effective_on="2025-06-30") == []
    assert await deals(published_on="2025-07-04", position=posted["position"]) == []
    assert await deals(published_on="2025-07-05", position=posted["position"] - 1) == []
    left = announced("2025-07-02", "party_left", organization=firm, role="investor")
    assert (await client.post(f"/v1/deals/{deal}/events", json=left)).status_code == 201
    assert await deals() == []
    assert await deals(**at) == [deal], "later recordings do not count"


async def exported(client: httpx.AsyncClient, **params: Any) -> list[str]:
    answer = await client.get("/v1/export/events.ndjson", params=params)
    assert answer.status_code == 200, answer.text
    return [msgspec.json.decode(line)["id"] for line in answer.content.splitlines()]


async def test_40_events_export_answers_all_time_axes(service: Service, slug: str) -> None:
    client, path = service.client, f"/v1/deals/{slug}/events"
    late = {**revised("2025-08-01", "9"), "sources": published("2025-08-10")}
    first = (await client.post(path, json=[registered(), pledged(value="5"), late])).json()
    ids = [event["id"] for event in first["events"]]
    assert await exported(client, deal=slug) == ids
    assert await exported(client, deal=slug, effective_on="2025-07-31") == ids[:2]
    assert await exported(client, deal=slug, published_on="2025-08-09") == ids[:2]
    assert await exported(client, deal=slug, position=first["events"][1]["position"]) == ids[:2]
    assert await exported(client, deal=slug, recorded_at="2020-01-01T00:00:00Z") == []
    correction = (await client.post(path, json=corrected(ids[2], effective_on="2025-07-15"))).json()
    assert await exported(client, deal=slug, effective_on="2025-07-31") == [*ids, correction["events"][0]["id"]]
    before = {"effective_on": "2025-07-31", "position": first["position"]}
    assert await exported(client, deal=slug, **before) == ids[:2], "a later correction does not count"


async def test_facet_values_are_values_that_the_filter_takes(client: httpx.AsyncClient, slug: str) -> None:
    parties = [{"organization": slug, "name": {"en": "Firm"}}, {"organization": slug, "role": "operator"}]
    site = announced("2025-06-16", "site_announced", site="s", place="KR-31")
    joined = announced("2025-06-16", "parties_joined", parties=parties)
    deal = [registered(sectors=["cloud"], kind="investment"), pledged(), joined, site]
    posted = await client.post(f"/v1/deals/{slug}/events", json=deal)
    assert posted.status_code == 201, posted.text
    facets = (await client.get("/v1/deals", params={"organization": slug, "facets": "true"})).json()["facets"]
    assert facets["role"] == {"operator": 1}
    for name, counts in facets.items():
        for value in counts:
            answer = await client.get("/v1/deals", params={"organization": slug, name: value})
            assert answer.status_code == 200, (name, value)
            if name != "organization":
                assert [row["deal"] for row in answer.json()["deals"]] == [slug], (name, value)
