"""Organizations: names in any script, parents over time, duplicates that are merged and unmerged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest

from registry import schemas
from registry.schemas.values import response_hook
from tests.api.announcements import announced, pledged, registered


async def organization(client: httpx.AsyncClient, slug: str, *events: dict[str, Any], **names: str) -> str:
    """Register an organization and record events about it."""
    first = {"event": {"type": "organization_registered", "name": names or {"en": slug}}}
    answer = await client.post(f"/v1/organizations/{slug}/events", json=[first, *events])
    assert answer.status_code == 201, answer.text
    return slug


async def invests(client: httpx.AsyncClient, deal: str, investor: str, value: str, day: str = "2025-06-16") -> None:
    """Record a deal in which an organization pledges an amount."""
    joined = announced(day, "parties_joined", parties=[{"organization": investor, "role": "investor"}])
    answer = await client.post(
        f"/v1/deals/{deal}/events",
        json=[registered(sectors=[f"s-{deal}"]), joined, pledged(day, value, by=[investor])],
    )
    assert answer.status_code == 201, answer.text


def merged(into: str) -> dict[str, Any]:
    return {"event": {"type": "organization_merged", "into": into, "reason": "one firm, two spellings"}}


def owned(day: str, parent: str, **how: str) -> dict[str, Any]:
    return announced(day, "parent_set", parent=parent, **how)


async def by_organization(client: httpx.AsyncClient, **asked: str) -> dict[str | None, str]:
    """Return the upper bound of each organization's total in dollars."""
    answer = await client.get("/v1/totals", params={"group_by": "organization", **asked})
    assert answer.status_code == 200, answer.text
    return {group["key"]: group["columns"][0]["high"] for group in answer.json()["totals"]["groups"]}


async def test_post_to_an_organization_answers_what_it_changes(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    slug = new_slug()
    url = f"/v1/organizations/{slug}/events"
    first = {"event": {"type": "organization_registered", "name": {"en": "Amazon Web Services"}}}
    changes = (await client.post(url, json=first)).json()["changes"]
    assert [(c["field"], c["before"]) for c in changes] == [("/organization", None), ("/name", None)]
    named = announced("2025-06-16", "organization_named", name="AWS", language="en", kind="short")
    for dry_run in ("true", "false"):
        (change,) = (await client.post(url, json=named, params={"dry_run": dry_run})).json()["changes"]
        assert (change["field"], change["before"]) == ("/names", [])
        assert [(name["name"], name["kind"]) for name in change["after"]] == [("AWS", "short")]
    assert (await client.post(url, json=named)).json()["changes"] == []
    kind = announced("2025-06-20", "organization_named", name="AWS", language="en", kind="former")
    (change,) = (await client.post(url, json=kind)).json()["changes"]
    assert [n["kind"] for n in (*change["before"], *change["after"])] == ["short", "former"]


async def test_parent_of_a_merged_organization_applies_in_the_roll_up(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    firm, duplicate, owner, deal = (new_slug() for _ in range(4))
    await organization(client, owner)
    await organization(client, firm)
    await organization(client, duplicate, owned("2020-01-01", owner, control="owns", share="100"))
    await invests(client, deal, firm, "20")
    only = {"sector": f"s-{deal}"}
    assert await by_organization(client, roll_up="parent", **only) == {firm: "20"}
    url = f"/v1/organizations/{duplicate}/events"
    assert (await client.post(url, json=merged(firm))).status_code == 201
    assert await by_organization(client, roll_up="parent", **only) == {owner: "20"}
    assert await by_organization(client, **only) == {firm: "20"}
    unmerged = {"event": {"type": "organization_unmerged", "reason": "two firms"}}
    assert (await client.post(url, json=unmerged)).status_code == 201
    assert await by_organization(client, roll_up="parent", **only) == {firm: "20"}


async def test_totals_roll_up_to_the_parent_of_that_day(client: httpx.AsyncClient, new_slug: Callable[[], str]) -> None:
    fund, manager, owner, deal = (new_slug() for _ in range(4))
    await organization(client, owner)
    await organization(client, manager, owned("2024-10-01", owner, control="owns", share="100"))
    await organization(client, fund, owned("2020-01-01", manager, control="controls"))
    await invests(client, deal, fund, "20", "2023-05-05")
    only = {"sector": f"s-{deal}"}
    assert await by_organization(client, **only) == {fund: "20"}
    assert await by_organization(client, roll_up="parent", **only) == {owner: "20"}
    before = {"effective_on": "2024-09-30", "roll_up": "parent"}
    assert await by_organization(client, **before, **only) == {manager: "20"}
    public = {"published_on": "2025-06-15", "roll_up": "parent"}
    assert await by_organization(client, **public, **only) == {}, "its sources are of the day after"


async def test_manager_is_not_counted_as_parent(client: httpx.AsyncClient, new_slug: Callable[[], str]) -> None:
    fund, manager, deal = (new_slug() for _ in range(3))
    await organization(client, manager)
    await organization(client, fund, owned("2020-01-01", manager, control="manages"))
    await invests(client, deal, fund, "20")
    assert await by_organization(client, roll_up="parent", sector=f"s-{deal}") == {fund: "20"}


async def test_roll_up_requires_groups_by_organization(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/totals", params={"group_by": "stage", "roll_up": "parent"})
    assert (answer.status_code, answer.json()["parameter"]) == (400, "roll_up")


async def test_organization_shows_its_parents_children_and_deals(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    child, parent, deal = (new_slug() for _ in range(3))
    await organization(client, parent)
    ended = announced("2025-03-01", "parent_ended", parent=parent)
    await organization(client, child, owned("2020-01-01", parent, control="owns", share="60"), ended)
    await invests(client, deal, child, "3")
    state = (await client.get(f"/v1/organizations/{child}")).json()
    held = {"control": "owns", "share": "60", "since": "2020-01-01", "until": "2025-03-01"}
    assert state["parents"] == [{"parent": parent, **held}]
    assert state["deals"] == [{"deal": deal, "title": {"ko": None, "en": "A plant"}, "roles": ["investor"]}]
    assert (await client.get(f"/v1/organizations/{parent}")).json()["children"] == [{"organization": child, **held}]
    earlier = await client.get(f"/v1/organizations/{child}", params={"effective_on": "2024-01-01"})
    assert (earlier.json()["deals"], earlier.json()["parents"][0]["until"]) == ([], None)


async def test_etag_of_an_organization_changes_with_other_records(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    firm, deal = new_slug(), new_slug()
    await organization(client, firm)
    url = f"/v1/organizations/{firm}"
    seen = (await client.get(url)).headers["etag"]
    assert (await client.get(url, headers={"If-None-Match": seen})).status_code == 304
    # An event that changes nothing that the answer states, but the log's position.
    await organization(client, new_slug())
    again = await client.get(url, headers={"If-None-Match": seen})
    assert (again.status_code, again.headers["etag"]) == (304, seen)
    await invests(client, deal, firm, "3")
    assert (await client.get(url, headers={"If-None-Match": seen})).status_code == 200
    named = announced("2025-01-01", "organization_named", name="A firm", language="en")
    assert (await client.post(f"{url}/events", json=named, headers={"If-Match": seen})).status_code == 201


async def test_merged_organization_redirects_until_it_is_unmerged(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    one, two, deal, other = (new_slug() for _ in range(4))
    await organization(client, one, en="Vellum Works")
    await organization(client, two, ko=f"벨룸웍스 {two}")
    await invests(client, deal, one, "3")
    await invests(client, other, two, "4")
    assert (await client.post(f"/v1/organizations/{two}/events", json=merged(one))).status_code == 201

    moved = await client.get(f"/v1/organizations/{two}", params={"effective_on": "2026-01-01"})
    assert (moved.status_code, moved.headers["location"]) == (308, f"/v1/organizations/{one}?effective_on=2026-01-01")
    state = (await client.get(f"/v1/organizations/{one}")).json()
    assert (state["duplicates"], [d["deal"] for d in state["deals"]]) == ([two], [deal, other])
    for slug in (one, two):
        asked = {"organization": slug, "role": "investor", "facets": "true"}
        found = (await client.get("/v1/deals", params=asked)).json()
        assert [d["deal"] for d in found["deals"]] == [deal, other], slug
        assert found["facets"]["sector"] == {f"s-{deal}": 1, f"s-{other}": 1}
        assert await by_organization(client, organization=slug) == {one: "7"}
    listed = (await client.get("/v1/organizations", params={"q": f"벨룸웍스 {two}"})).json()["organizations"]
    assert [o["organization"] for o in listed] == [one], "the duplicate's name finds the record it leads to"

    undone = {"event": {"type": "organization_unmerged", "reason": "two firms after all"}}
    assert (await client.post(f"/v1/organizations/{two}/events", json=undone)).status_code == 201
    assert (await client.get(f"/v1/organizations/{two}")).status_code == 200
    found = (await client.get("/v1/deals", params={"organization": two})).json()["deals"]
    assert [d["deal"] for d in found] == [other]
    assert await by_organization(client, organization=two) == {two: "4"}


async def test_merge_is_effective_from_its_log_position(client: httpx.AsyncClient, new_slug: Callable[[], str]) -> None:
    one, two, deal = (new_slug() for _ in range(3))
    await organization(client, one)
    await organization(client, two)
    await invests(client, deal, two, "4")
    position = (await client.get("/v1/deals")).json()["position"]
    await client.post(f"/v1/organizations/{two}/events", json=merged(one))
    asked = {"sector": f"s-{deal}", "effective_on": "2026-01-01"}
    assert await by_organization(client, **asked) == {one: "4"}
    assert await by_organization(client, position=str(position), **asked) == {two: "4"}
    then = await client.get(f"/v1/organizations/{two}", params={"position": position})
    assert then.status_code == 200


@pytest.mark.parametrize("is_registered", [True, False])
async def test_position_of_an_organization_covers_what_other_records_state_about_it(
    client: httpx.AsyncClient, new_slug: Callable[[], str], *, is_registered: bool
) -> None:
    one, deal, later = (new_slug() for _ in range(3))
    if is_registered:
        await organization(client, one)
    await invests(client, deal, one, "4")
    url = f"/v1/organizations/{one}"
    found = (await client.get(url)).json()
    assert found["position"] == (await client.get("/v1/deals")).json()["position"]
    await invests(client, later, one, "5")
    then = (await client.get(url, params={"position": found["position"]})).json()
    assert then["position"] == found["position"]
    assert [d["deal"] for d in then["deals"]] == [d["deal"] for d in found["deals"]] == [deal]


async def test_circular_merge_is_refused(client: httpx.AsyncClient, new_slug: Callable[[], str]) -> None:
    one, two = new_slug(), new_slug()
    await organization(client, one)
    await organization(client, two)
    assert (await client.post(f"/v1/organizations/{one}/events", json=merged(two))).status_code == 201
    back = await client.post(f"/v1/organizations/{two}/events", json=merged(one))
    assert (back.status_code, back.json()["rule"]) == (409, "merge-cycle")


async def test_history_of_a_corrected_and_merged_organization(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    one, two = new_slug(), new_slug()
    url = f"/v1/organizations/{two}/events"
    await organization(client, one)
    first = {"event": {"type": "organization_registered", "name": {"en": "Velum Works"}}}
    posted = await client.post(url, json=[first, owned("2024-10-01", one, control="owns", share="60")])
    assert posted.headers["location"] == url
    registration, under = (event["id"] for event in posted.json()["events"])
    right = {"type": "organization_registered", "name": {"en": "Vellum Works"}}
    correction = {"type": "event_corrected", "corrects": registration, "reason": "l", "replacement": {"event": right}}
    for event in ({"event": correction}, merged(one)):
        assert (await client.post(url, json=event)).status_code == 201

    answer = await client.get(url)
    assert answer.status_code == 200, "a merged record answers its own"
    found = msgspec.json.decode(answer.content, type=schemas.OrganizationHistory, dec_hook=response_hook)
    assert (found.organization, found.version, len(found.events)) == (two, 4, 4)
    events = answer.json()["events"]
    assert [event["kind"] for event in events] == ["record", "world", "record", "record"]
    assert events[0]["event"] == right
    assert events[0]["as_recorded"] == first["event"]
    assert [made["event"] for made in events[0]["corrections"]] == [events[2]["id"]]
    assert (events[1]["id"], [change["field"] for change in events[1]["changes"]]) == (under, ["/parents"])
    assert events[3]["changes"] == [{"field": "/merged_into", "before": None, "after": one}]

    early = (await client.get(url, params={"position": posted.json()["position"], "published_on": "2024-01-01"})).json()
    assert [event["visible"] for event in early["events"]] == [True, False]
    assert early["events"][0]["event"] == first["event"]
    assert (await client.get(url, params={"position": posted.json()["events"][0]["position"] - 1})).status_code == 404
    assert (await client.get("/v1/organizations/nobody-at-all/events")).status_code == 404


@pytest.mark.parametrize(
    ("kind", "registration"), [("deal", {"title": {"en": "A deal"}}), ("organization", {"name": {"en": "A firm"}})]
)
async def test_void_that_would_make_merges_circular_is_refused(
    client: httpx.AsyncClient, new_slug: Callable[[], str], kind: str, registration: dict[str, Any]
) -> None:
    one, two = new_slug(), new_slug()

    async def post(slug: str, **event: Any) -> httpx.Response:
        return await client.post(f"/v1/{kind}s/{slug}/events", json={"effective_on": "2025-01-01", "event": event})

    async def record(slug: str, **event: Any) -> str:
        answer = await post(slug, **event)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["events"][0]["id"])

    for slug in (one, two):
        await record(slug, type=f"{kind}_registered", **registration)
    void = await record(
        one, type="event_voided", voids=await record(one, type=f"{kind}_merged", into=two), reason="a slip"
    )
    await record(two, type=f"{kind}_merged", into=one)
    restored = await post(one, type="event_voided", voids=void, reason="it was right")
    assert (restored.status_code, restored.json()["rule"]) == (409, "merge-cycle")

    await record(two, type=f"{kind}_unmerged")
    await record(one, type="event_voided", voids=void, reason="it was right")
    moved = await client.get(f"/v1/{kind}s/{one}")
    assert (moved.status_code, moved.headers["location"]) == (308, f"/v1/{kind}s/{two}")


async def test_organization_is_found_by_any_name_in_any_script(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    slug = new_slug()
    names = [
        announced("2025-01-01", "organization_named", name=f"주식회사 가나{slug}", language="ko", kind="legal"),
        announced("2025-01-01", "organization_named", name=f"株式会社カナ{slug}", language="ja"),
        announced("2025-01-01", "organization_named", name=f"100%_{slug}", language="en"),
    ]
    await organization(client, slug, *names, ko=f"가나 {slug}", en=f"Kana {slug}")
    for q in (f"가나 {slug}", f"kana {slug}", f"가나{slug}", f"カナ{slug}", f"100%_{slug}"):
        found = (await client.get("/v1/organizations", params={"q": q})).json()["organizations"]
        assert [o["organization"] for o in found] == [slug], q
    assert (await client.get("/v1/organizations", params={"q": f"1_0%_{slug}"})).json()["organizations"] == []


async def test_likely_duplicates_are_suggested_across_scripts(client: httpx.AsyncClient) -> None:
    one, two, third = "batteries-of-old", "allumeur", "glassworks"
    await organization(client, one, en="Umicore Battery Holdings, Inc.")
    await organization(client, two, ko="유미코아 Battery 홀딩스")
    await organization(client, third, en="Corning Glass")
    answer = (await client.get(f"/v1/organizations/{one}/similar")).json()
    assert [(s["other"], s["reason"], s["score"]) for s in answer["suggestions"]] == [(two, "same name", 100.0)]
    assert (await client.get(f"/v1/organizations/{two}")).status_code == 200
    assert (await client.get("/v1/organizations/nobody-at-all/similar")).status_code == 404


@pytest.mark.parametrize(
    ("scheme", "right", "wrong"),
    [
        ("GB-COH", "SC123456", "1234567"),
        ("FR-RCS", "552008443", "552008444"),
        ("JP-JCN", "5835678256246", "2835678256246"),
        ("DK-CVR", "13585628", "13585627"),
        ("lei", "ZXTILKJKG63JELOEG630", "ZXTILKJKG63JELOEG631"),
        ("kr-brn", "1028142945", "1028142946"),
        ("wikidata", "Q456157", "456157"),
    ],
)
async def test_identifier_with_a_wrong_check_digit_is_refused(
    client: httpx.AsyncClient, new_slug: Callable[[], str], scheme: str, right: str, wrong: str
) -> None:
    slug = await organization(client, new_slug())
    url = f"/v1/organizations/{slug}/events"
    announcement = announced("2025-01-01", "organization_identified", scheme=scheme, identifier=wrong)
    refused = await client.post(url, json=announcement)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/event/identifier")
    announcement["event"]["identifier"] = right
    assert (await client.post(url, json=announcement)).status_code == 201
    assert (await client.get(f"/v1/organizations/{slug}")).json()["identifiers"] == [
        {"scheme": scheme, "identifier": right}
    ]
