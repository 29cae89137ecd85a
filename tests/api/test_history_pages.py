"""The history of a deal, page by page."""

from __future__ import annotations

import httpx

from tests.api.announcements import corrected, pledged, registered, revised


async def test_pages_of_a_history_are_the_whole_history(client: httpx.AsyncClient, slug: str) -> None:
    path = f"/v1/deals/{slug}/events"
    posted = (await client.post(path, json=[registered(), pledged(value="5"), revised("2025-08-01", "9")])).json()
    pledge = posted["events"][1]["id"]
    assert (await client.post(path, json=corrected(pledge, effective_on="2025-06-15"))).status_code == 201
    whole = (await client.get(path)).json()
    after, found = 0, []
    while page := (await client.get(path, params={"after": after, "limit": 2})).json()["events"]:
        assert len(page) <= 2
        found += page
        after = page[-1]["position"]
    assert found == whole["events"]
    assert whole["events"][1]["corrections"], "the correction is on a later page, and in the entry of its event"


async def test_page_of_a_history_after_its_end_is_empty(client: httpx.AsyncClient, slug: str) -> None:
    path = f"/v1/deals/{slug}/events"
    posted = (await client.post(path, json=registered())).json()
    page = (await client.get(path, params={"after": posted["position"], "limit": 10})).json()
    assert (page["events"], page["version"], page["position"]) == ([], 1, posted["position"])
    assert (await client.get(path, params={"limit": 0})).status_code == 400
