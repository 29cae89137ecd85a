"""Reading one deal: its state at any point in time, its history, provenance and comparison, and HTTP caching."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

import httpx
import pytest

from tests.api.announcements import SOURCE, announced, corrected, pledged, registered, revised
from tests.service import Service


def source(day: str) -> list[dict[str, str]]:
    """Return a source published on a day."""
    return [{**SOURCE, "published_on": day}]


async def record_deal(client: httpx.AsyncClient, slug: str) -> dict[str, Any]:
    """Record a deal of 5 from 16 June, 7 from 1 July, and 9 from 1 August, published on 10 August."""
    late = announced(
        "2025-08-01",
        "pledge_revised",
        sources=source("2025-08-10"),
        pledge="total",
        amount={"value": "9", "currency": "USD"},
    )
    answer = await client.post(
        f"/v1/deals/{slug}/events", json=[registered(), pledged(value="5"), revised("2025-07-01", "7"), late]
    )
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def amount(state: dict[str, Any]) -> str | None:
    """Return the pledge's value, None without a pledge."""
    return state["pledges"][0]["amount"]["value"] if state["pledges"] else None


def amounts(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the changes of the pledge's amount."""
    return [change for change in changes if change["field"] == "/pledges/total/amount"]


async def value(client: httpx.AsyncClient, slug: str, **clocks: Any) -> str | None:
    """Return the pledge's value at a point in time."""
    answer = await client.get(f"/v1/deals/{slug}", params=clocks)
    assert answer.status_code == 200, answer.text
    return amount(answer.json())


async def test_state_has_the_documented_fields(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record_deal(client, slug)
    answer = await client.get(f"/v1/deals/{slug}")
    state = answer.json()
    assert (state["deal"], state["version"], state["position"]) == (slug, 4, posted["position"])
    assert state["effective_on"] == datetime.now(UTC).date().isoformat()
    assert (state["published_on"], state["recorded_at"]) == (None, None)
    assert state["first_event"] == posted["events"][0]["id"]
    assert state["last_event"] == posted["events"][3]["id"]
    assert state["sources"][0]["events"]
    assert answer.headers["etag"].startswith('"4')


async def test_time_axes_work_alone_and_combined(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record_deal(client, slug)
    positions = [event["position"] for event in posted["events"]]
    assert await value(client, slug) == "9"
    assert await value(client, slug, effective_on="2025-06-30") == "5"
    assert await value(client, slug, effective_on="2025-07-01") == "7"
    assert await value(client, slug, published_on="2025-08-09") == "7"
    assert await value(client, slug, published_on="2025-08-10") == "9"
    assert await value(client, slug, published_on="2025-08-10", effective_on="2025-07-31") == "7"
    assert await value(client, slug, position=positions[1]) == "5"
    assert await value(client, slug, position=positions[0]) is None
    assert await value(client, slug, position=positions[2], effective_on="2025-06-20") == "5"
    assert await value(client, slug, recorded_at="9999-12-31T23:59:59Z", position=positions[1]) == "5"
    assert await value(client, slug, recorded_at=posted["events"][3]["recorded_at"]) == "9"


async def test_state_repeats_the_requested_point_in_time(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record_deal(client, slug)
    asked = {"effective_on": "2025-07-15", "published_on": "2025-07-20", "recorded_at": "2999-01-01T09:00:00+09:00"}
    state = (await client.get(f"/v1/deals/{slug}", params=asked)).json()
    assert (state["effective_on"], state["published_on"]) == ("2025-07-15", "2025-07-20")
    assert state["recorded_at"] == "2999-01-01T00:00:00Z"
    assert state["position"] == posted["position"]


async def test_deal_that_is_not_known_yet_is_not_found_with_the_reason(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record_deal(client, slug)
    never = await client.get(f"/v1/deals/{slug}-never")
    assert (never.status_code, never.json()["code"]) == (404, "not_found")
    assert "never" in never.json()["detail"]
    for clocks in ({"position": posted["position"] - 4}, {"recorded_at": "2020-01-01T00:00:00Z"}):
        early = await client.get(f"/v1/deals/{slug}", params=clocks)
        assert early.status_code == 404
        assert "was not known" in early.json()["detail"]


async def test_deal_that_is_not_known_yet_names_the_first_publication_of_any_event(
    client: httpx.AsyncClient, slug: str
) -> None:
    # The registration cites no source, so it counts as published today.
    pledge = {**pledged(value="5"), "effective_on": "2025-06-16", "sources": source("2025-06-17")}
    registration = {"event": {"type": "deal_registered", "title": {"en": "A plant"}}}
    await client.post(f"/v1/deals/{slug}/events", json=[registration, pledge])
    early = await client.get(f"/v1/deals/{slug}", params={"published_on": "2025-06-16"})
    assert early.status_code == 404
    assert "2025-06-17" in early.json()["detail"]
    assert (await client.get(f"/v1/deals/{slug}", params={"published_on": "2025-06-17"})).status_code == 200


async def test_malformed_slug_is_not_found(client: httpx.AsyncClient) -> None:
    for name in ("%00", "A", "%E2%82%AC", "a--b", "a" * 81, "%FF", "a%20b"):
        for url in (f"/v1/deals/{name}", f"/v1/deals/{name}/events", f"/v1/organizations/{name}"):
            answer = await client.get(url)
            assert answer.status_code == 404, url


async def test_future_effective_dates_do_not_change_todays_state(client: httpx.AsyncClient, slug: str) -> None:
    now = datetime.now(UTC).date()
    ahead = (now + timedelta(days=30)).isoformat()
    plan = {**revised(ahead, "7"), "sources": source(now.isoformat())}
    await client.post(f"/v1/deals/{slug}/events", json=[registered(), pledged(value="5"), plan])
    answer = await client.get(f"/v1/deals/{slug}")
    assert amount(answer.json()) == "5"
    today = answer.json()["effective_on"]
    # More parts follow after an import of exchange rates, such as that of test_rates.py.
    assert answer.headers["etag"].strip('"').split(";")[:2] == ["3", today]
    assert await value(client, slug, effective_on=ahead) == "7"
    planned = await client.get(f"/v1/deals/{slug}", params={"effective_on": ahead})
    assert planned.headers["etag"].strip('"').split(";")[:2] == ["3", ahead]
    matched = await client.post(
        f"/v1/deals/{slug}/events", json=revised("2025-07-01", "6"), headers={"If-Match": answer.headers["etag"]}
    )
    assert matched.status_code == 201


async def test_current_etag_is_answered_with_304(client: httpx.AsyncClient, slug: str) -> None:
    await record_deal(client, slug)
    etag = (await client.get(f"/v1/deals/{slug}")).headers["etag"]
    for header in (etag, f'"1", {etag}', f"W/{etag}", "*"):
        again = await client.get(f"/v1/deals/{slug}", headers={"If-None-Match": header})
        assert (again.status_code, again.content) == (304, b""), header
        assert again.headers["etag"] == etag
    await client.post(f"/v1/deals/{slug}/events", json=revised("2025-09-01", "11"))
    assert (await client.get(f"/v1/deals/{slug}", headers={"If-None-Match": etag})).status_code == 200


async def test_head_has_the_status_and_headers_of_get(client: httpx.AsyncClient, slug: str) -> None:
    await record_deal(client, slug)
    paths = ["", "/events", "/blame", "/compare", "/timemap"]
    urls = [f"/v1/deals/{slug}{path}" for path in paths]
    for url in (*urls, "/v1/deals", "/v1/events", "/v1/organizations", "/v1/totals", "/health/live", "/openapi.json"):
        get, head = await client.get(url), await client.head(url)
        assert (head.status_code, head.content) == (200, b""), url
        assert head.headers["content-type"] == get.headers["content-type"]
        assert head.headers.get("etag") == get.headers.get("etag")
    assert (await client.head(f"/v1/deals/{slug}-never")).status_code == 404


async def test_answer_at_a_fixed_point_does_not_change_with_later_events(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record_deal(client, slug)
    asked = {"effective_on": "2025-12-31", "published_on": "2025-12-31", "position": posted["position"]}
    before = await client.get(f"/v1/deals/{slug}", params=asked)
    pledge = posted["events"][1]["id"]
    event = {"type": "pledge_announced", "pledge": "total", "amount": {"value": "1", "currency": "USD"}}
    correction = await client.post(
        f"/v1/deals/{slug}/events", json=[revised("2025-06-20", "6"), corrected(pledge, event=event)]
    )
    assert correction.status_code == 201, correction.text
    after = await client.get(f"/v1/deals/{slug}", params=asked)
    assert (after.content, after.headers["etag"]) == (before.content, before.headers["etag"])


async def test_only_fixed_and_final_answers_are_cacheable(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    slug = new_slug()
    posted = await record_deal(client, slug)
    await client.post(f"/v1/deals/{new_slug()}/events", json=registered())

    async def caching(**clocks: Any) -> str:
        return (await client.get(f"/v1/deals/{slug}", params=clocks)).headers["cache-control"]

    assert await caching(position=posted["position"]) == "public, no-cache"
    fixed = {"effective_on": "2025-12-31", "position": posted["position"]}
    assert await caching(**fixed) == "public, no-cache"
    assert (
        await caching(effective_on="2025-12-31", recorded_at=posted["events"][0]["recorded_at"]) == "public, no-cache"
    )
    for clocks in ({}, {"effective_on": "2025-12-31"}, {"published_on": "2025-12-31"}, {**fixed, "position": 10**9}):
        assert await caching(**clocks) == "no-cache", clocks
    assert await caching(effective_on="2025-12-31", recorded_at="2999-01-01T00:00:00Z") == "no-cache"


async def test_merged_deal_redirects_with_the_same_query(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    slug, other = new_slug(), new_slug()
    await record_deal(client, slug)
    await record_deal(client, other)
    merged = await client.post(f"/v1/deals/{slug}/events", json={"event": {"type": "deal_merged", "into": other}})
    assert merged.status_code == 201, merged.text
    for path in ("", "/blame"):
        answer = await client.get(f"/v1/deals/{slug}{path}?effective_on=2025-07-15")
        assert (answer.status_code, answer.content) == (308, b"")
        assert not answer.headers["content-type"].startswith("application/json"), "what is empty is no JSON"
        assert answer.headers["location"] == f"/v1/deals/{other}{path}?effective_on=2025-07-15"
    assert (await client.get(f"/v1/deals/{slug}/events")).json()["deal"] == slug
    timemap = await client.get(f"/v1/deals/{slug}/timemap", headers={"Accept": "application/json"})
    assert timemap.json()["mementos"][-1]["position"] == merged.json()["position"]
    before = {"position": merged.json()["position"] - 1}
    for path in ("", "/blame"):
        assert (await client.get(f"/v1/deals/{slug}{path}", params=before)).status_code == 200
    compared = await client.get(f"/v1/deals/{slug}/compare", params={"from.position": before["position"]})
    assert compared.json()["merged_into"] == {"field": "/merged_into", "before": None, "after": other}
    undone = await client.post(f"/v1/deals/{slug}/events", json={"event": {"type": "deal_unmerged"}})
    assert undone.status_code == 201, undone.text
    assert (await client.get(f"/v1/deals/{slug}")).status_code == 200


# --- Memento (RFC 7089) -----------------------------------------------------------------------------------------------


async def test_past_state_has_memento_headers(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record_deal(client, slug)
    now = await client.get(f"/v1/deals/{slug}")
    assert "accept-datetime" in now.headers["vary"].lower()
    assert "memento-datetime" not in now.headers
    assert f'</v1/deals/{slug}/timemap>; rel="timemap"' in now.headers["link"]
    assert f'</v1/deals/{slug}>; rel="original timegate"' in now.headers["link"]
    then = await client.get(f"/v1/deals/{slug}", params={"position": posted["events"][1]["position"]})
    recorded = datetime.fromisoformat(posted["events"][1]["recorded_at"])
    assert parsedate_to_datetime(then.headers["memento-datetime"]) == recorded.replace(microsecond=0)


async def test_accept_datetime_includes_the_whole_second(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record_deal(client, slug)
    recorded = datetime.fromisoformat(posted["events"][3]["recorded_at"])
    answer = await client.get(f"/v1/deals/{slug}", headers={"Accept-Datetime": format_datetime(recorded, usegmt=True)})
    assert (answer.status_code, answer.json()["version"]) == (200, 4)


async def test_accept_datetime_before_the_first_memento_returns_the_first(client: httpx.AsyncClient, slug: str) -> None:
    first = await client.post(f"/v1/deals/{slug}/events", json=registered())
    await client.post(f"/v1/deals/{slug}/events", json=pledged())
    answer = await client.get(f"/v1/deals/{slug}", headers={"Accept-Datetime": "Thu, 01 Jan 2015 00:00:00 GMT"})
    assert (answer.status_code, answer.json()["version"]) == (200, 1)
    recorded = datetime.fromisoformat(first.json()["events"][0]["recorded_at"])
    assert parsedate_to_datetime(answer.headers["memento-datetime"]) == recorded.replace(microsecond=0)


async def test_query_takes_precedence_over_accept_datetime(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record_deal(client, slug)
    old = {"Accept-Datetime": "Thu, 01 Jan 2015 00:00:00 GMT"}
    answer = await client.get(f"/v1/deals/{slug}", params={"position": posted["position"]}, headers=old)
    assert answer.json()["version"] == 4


@pytest.mark.parametrize(
    "header",
    ["2015-01-01", "Thu, 01 Jan 2015 00:00:00", "Fri, 31 Dec 9999 23:59:59 GMT", "é", "Thu, 99 Foo 2015 00:00:00 GMT"],
)
async def test_malformed_accept_datetime_is_refused(client: httpx.AsyncClient, slug: str, header: str) -> None:
    await record_deal(client, slug)
    answer = await client.get(f"/v1/deals/{slug}", headers={b"Accept-Datetime": header.encode()})
    assert (answer.status_code, answer.json()["parameter"]) == (400, "Accept-Datetime")


async def test_timemap_lists_every_change(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record_deal(client, slug)
    links = await client.get(f"/v1/deals/{slug}/timemap")
    assert links.headers["content-type"].startswith("application/link-format")
    assert links.text.count("memento") == 4
    assert 'rel="first memento"' in links.text
    assert 'rel="last memento"' in links.text
    assert f'</v1/deals/{slug}>; rel="original timegate"' in links.text
    listed = await client.get(f"/v1/deals/{slug}/timemap", headers={"Accept": "application/json"})
    assert listed.headers["vary"] == "Accept"
    mementos = listed.json()["mementos"]
    assert [m["position"] for m in mementos] == [event["position"] for event in posted["events"]]
    assert [amount((await client.get(m["uri"])).json()) for m in mementos] == [None, "5", "7", "9"]


# --- what explains a state --------------------------------------------------------------------------------------------


async def test_history_shows_what_each_event_changed(service: Service, slug: str) -> None:
    posted = await record_deal(service.client, slug)
    audit = (await service.client.get(f"/v1/deals/{slug}/events")).json()
    assert [event["version"] for event in audit["events"]] == [1, 2, 3, 4]
    revision = audit["events"][2]
    assert revision["id"] == posted["events"][2]["id"]
    assert revision["recorded_by"] == "admin"
    assert revision["sources"][0]["publisher"] == SOURCE["publisher"]
    assert revision["kind"] == "world"
    change = next(c for c in revision["changes"] if c["field"] == "/pledges/total/amount")
    assert (change["before"]["value"], change["after"]["value"]) == ("5", "7")


async def test_history_shows_a_correction_beside_the_corrected_event(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record_deal(client, slug)
    event = {"type": "pledge_announced", "pledge": "total", "amount": {"value": "6", "currency": "USD"}}
    correction = await client.post(f"/v1/deals/{slug}/events", json=corrected(posted["events"][1]["id"], event=event))
    audit = (await client.get(f"/v1/deals/{slug}/events")).json()["events"]
    assert audit[1]["event"]["amount"]["value"] == "6"
    assert audit[1]["as_recorded"]["amount"]["value"] == "5"
    assert [c["event"] for c in audit[1]["corrections"]] == [correction.json()["events"][0]["id"]]
    assert audit[1]["corrections"][0]["reason"] == "a slip"
    assert (audit[4]["kind"], audit[4]["concerns"]) == ("record", posted["events"][1]["id"])


async def test_provenance_names_the_event_that_set_each_field(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record_deal(client, slug)
    blame = (await client.get(f"/v1/deals/{slug}/blame", params={"effective_on": "2025-07-15"})).json()
    fields = {field["field"]: field for field in blame["fields"]}
    assert fields["/title"]["event"] == posted["events"][0]["id"]
    field = fields["/pledges/total/amount"]
    assert (field["event"], field["recorded_by"]) == (posted["events"][2]["id"], "admin")
    assert (field["before"]["value"], field["value"]["value"]) == ("5", "7")
    assert field["proof"] == f"/v1/log/proof/inclusion?position={field['position']}"


async def test_comparison_separates_growth_from_corrections(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record_deal(client, slug)
    event = {"type": "pledge_announced", "pledge": "total", "amount": {"value": "6", "currency": "USD"}}
    correction = await client.post(f"/v1/deals/{slug}/events", json=corrected(posted["events"][1]["id"], event=event))
    grown = (
        await client.get(
            f"/v1/deals/{slug}/compare", params={"from.effective_on": "2025-06-30", "to.effective_on": "2025-07-31"}
        )
    ).json()
    assert [(c["before"]["value"], c["after"]["value"]) for c in amounts(grown["world"])] == [("6", "7")]
    assert grown["record"] == []
    mended = (
        await client.get(
            f"/v1/deals/{slug}/compare",
            params={
                "from.effective_on": "2025-06-30",
                "from.position": posted["position"],
                "to.effective_on": "2025-06-30",
            },
        )
    ).json()
    assert [(c["before"]["value"], c["after"]["value"]) for c in amounts(mended["record"])] == [("5", "6")]
    assert mended["world"] == []
    assert mended["record"][0]["causes"][0]["event"] == correction.json()["events"][0]["id"]


async def test_comparison_of_a_point_with_itself_is_empty(client: httpx.AsyncClient, slug: str) -> None:
    await record_deal(client, slug)
    same = (await client.get(f"/v1/deals/{slug}/compare")).json()
    assert same["world"] == same["record"] == same["source"] == same["learned_late"] == same["differences"] == []


# --- joined on request ------------------------------------------------------------------------------------------------


async def test_expand_adds_current_names_and_incoming_relations(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    slug, other, firm = new_slug(), new_slug(), new_slug()
    await client.post(
        f"/v1/organizations/{firm}/events", json={"event": {"type": "organization_registered", "name": {"ko": "회사"}}}
    )
    party = {"organization": firm, "name": {"en": "Firm"}, "role": "investor"}
    await client.post(
        f"/v1/deals/{slug}/events", json=[registered(), announced("2025-06-16", "parties_joined", parties=[party])]
    )
    related = announced("2025-06-16", "deals_related", relation="part_of", deal=slug)
    await client.post(f"/v1/deals/{other}/events", json=[registered("Another"), related])
    answer = await client.get(f"/v1/deals/{slug}", params={"expand": "organizations,incoming"})
    state = answer.json()
    assert state["organizations"][firm]["name"] == {"ko": "회사", "en": None}
    assert state["parties"][0]["name"] == {"ko": None, "en": "Firm"}
    assert [(r["deal"], r["relation"], r["title"]) for r in state["incoming"]] == [
        (other, "part_of", {"ko": None, "en": "Another"})
    ]
    assert "etag" not in answer.headers
    assert "incoming" not in (await client.get(f"/v1/deals/{slug}")).json()
