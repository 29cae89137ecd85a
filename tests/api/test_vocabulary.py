"""Identifiers, classifications, metrics, incentives, setbacks, observed stages and estimates, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.api.announcements import announced, pledged, registered, voided
from tests.api.conftest import Service


async def post(client: httpx.AsyncClient, slug: str, *announcements: Any) -> httpx.Response:
    """Post announcements about a deal."""
    return await client.post(f"/v1/deals/{slug}/events", json=list(announcements))


async def record(client: httpx.AsyncClient, slug: str, *announcements: Any) -> dict[str, Any]:
    """Record announcements about a deal."""
    answer = await post(client, slug, *announcements)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def identified(value: str, scheme: str = "gem") -> dict[str, Any]:
    """The deal has an identifier."""
    return announced("2025-06-16", "deal_identified", identifiers=[{"scheme": scheme, "value": value}])


# --- identifiers ------------------------------------------------------------------------------------------------------


async def test_deal_is_found_by_its_identifier(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    await record(service.client, slug, registered("A plant"), identified(f"{slug}/1 2"))
    answer = await service.client.get("/v1/deals", params={"identifier": f"gem:{slug}/1 2"})
    assert [deal["deal"] for deal in answer.json()["deals"]] == [slug]
    assert answer.json()["deals"][0]["identifiers"] == [{"scheme": "gem", "value": f"{slug}/1 2"}]


async def test_identifier_of_another_deal_is_refused(service: Service, new_slug: Callable[[], str]) -> None:
    first, second = new_slug(), new_slug()
    await record(service.client, first, registered("A plant"), identified(first))
    answer = await post(service.client, second, registered("Another plant"), identified(first))
    assert answer.status_code == 409
    problem = answer.json()
    assert problem["rule"] == "identifier-taken"
    assert problem["params"] == {"scheme": "gem", "value": first, "deal": first}
    assert (await service.client.get(f"/v1/deals/{second}")).status_code == 404
    # The same value of another register is another identifier.
    await record(service.client, second, registered("Another plant"), identified(first, "ocid"))


async def test_voided_identifier_can_be_given_to_another_deal(service: Service, new_slug: Callable[[], str]) -> None:
    first, second = new_slug(), new_slug()
    recorded = await record(service.client, first, registered("A plant"), identified(first))
    void = await record(service.client, first, voided(recorded["events"][1]["id"]))
    await record(service.client, second, registered("Another plant"), identified(first))
    # To void the void would give the identifier to two deals.
    answer = await post(service.client, first, voided(void["events"][0]["id"]))
    assert (answer.status_code, answer.json()["rule"]) == (409, "identifier-taken")


async def test_one_of_many_writers_gets_an_identifier(service: Service, new_slug: Callable[[], str]) -> None:
    value = new_slug()
    slugs = [new_slug() for _ in range(12)]
    answers = await asyncio.gather(
        *(post(service.client, slug, registered("A plant"), identified(value)) for slug in slugs)
    )
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 11]


# --- classifications --------------------------------------------------------------------------------------------------


async def test_list_is_filtered_and_counted_by_classification(service: Service, new_slug: Callable[[], str]) -> None:
    first, second, code = new_slug(), new_slug(), new_slug()
    classified = {"classifications": {"technology": [code, "wind"], "mode": ["expansion"]}}
    await record(service.client, first, registered("A plant", **classified))
    await record(service.client, second, registered("Another", classifications={"technology": [code]}))
    answer = await service.client.get(
        "/v1/deals", params={"classification": f"technology:{code}", "facets": "true", "sort": "-deal"}
    )
    body = answer.json()
    assert [deal["deal"] for deal in body["deals"]] == sorted([first, second], reverse=True)
    assert body["facets"]["classification"] == {f"technology:{code}": 2, "technology:wind": 1, "mode:expansion": 1}


async def test_revision_replaces_the_axes_that_it_names(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    await record(
        service.client,
        slug,
        registered("A plant", classifications={"technology": ["wind"], "mode": ["expansion"], "ksic": ["D35"]}),
        announced("2025-06-16", "deal_revised", classifications={"technology": ["solar"], "mode": []}),
    )
    state = (await service.client.get(f"/v1/deals/{slug}")).json()
    assert state["classifications"] == {"ksic": ["D35"], "technology": ["solar"]}


@pytest.mark.parametrize(
    ("classifications", "pointer"),
    [
        ({"colour": ["red"]}, "/event/classifications/colour"),
        ({"mode": ["bigger"]}, "/event/classifications/mode/0"),
        ({"technology": ["solar", "solar"]}, "/event/classifications/technology/1"),
        ({"technology": [""]}, "/event/classifications/technology/0"),
        ({"technology": "solar"}, "/event/classifications/technology"),
        (["solar"], "/event/classifications"),
    ],
    ids=str,
)
async def test_wrong_classification_is_refused_with_its_place(
    service: Service, new_slug: Callable[[], str], classifications: Any, pointer: str
) -> None:
    slug = new_slug()
    answer = await service.client.post(
        f"/v1/deals/{slug}/events", json=registered("A plant", classifications=classifications)
    )
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


# --- metrics ----------------------------------------------------------------------------------------------------------


def metric(event: str = "metric_reported", **fields: Any) -> dict[str, Any]:
    """Jobs are reported or revised."""
    return announced("2025-06-16", event, **{"metric": "jobs", "basis": "planned", "date": "2027", **fields})


async def test_metric_has_a_history_of_its_own(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    await record(service.client, slug, registered("A plant"), metric(value="250"), metric(value="90", basis="actual"))
    again = await post(service.client, slug, metric(value="300"))
    assert (again.status_code, again.json()["rule"]) == (409, "metric-reported")
    revised = await record(service.client, slug, metric("metric_revised", value="300"))
    assert [change["field"] for change in revised["changes"]] == ["/metrics/jobs--planned--2027/value"]
    claimed = announced(
        "2025-06-16", "claim_reported", claim="mayor", field="/metrics/jobs--planned--2027/value", value="400"
    )
    await record(service.client, slug, claimed)
    state = (await service.client.get(f"/v1/deals/{slug}")).json()
    assert {m["metric_id"]: m["value"] for m in state["metrics"]} == {
        "jobs--planned--2027": "300",
        "jobs--actual--2027": "90",
    }
    planned = next(m for m in state["metrics"] if m["basis"] == "planned")
    assert [(claim["claim"], claim["value"]) for claim in planned["claims"]] == [(None, "300"), ("mayor", "400")]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"value": "2.5"}, "/event/value"),
        ({"value": "2", "unit": "people"}, "/event/unit"),
        ({"value": "2", "metric": "capacity_per_year"}, "/event/unit"),
        ({"value": "2", "horizon": {"until": "2029"}}, "/event/horizon"),
        ({"value": "2", "date": "2027-99"}, "/event/date"),
        ({"value": "2", "metric": "cats"}, "/event/metric"),
    ],
    ids=str,
)
async def test_wrong_metric_is_refused_with_its_field(
    service: Service, new_slug: Callable[[], str], fields: dict[str, Any], pointer: str
) -> None:
    answer = await service.client.post(f"/v1/deals/{new_slug()}/events", json=metric(**fields))
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


# --- stages, parties, sites and amounts -------------------------------------------------------------------------------


async def test_observed_stage_has_a_day_and_no_first_day(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    observed = announced("2026-01-15", "status_observed", stage="construction", certainty="suspected")
    await record(service.client, slug, registered("A plant"), pledged(commitment="pledge"), observed)
    params = {"effective_on": "2026-02-01"}
    state = (await service.client.get(f"/v1/deals/{slug}", params=params)).json()
    assert state["stage"] == {
        "value": "construction",
        "basis": "observed",
        "since": None,
        "rule": None,
        "observed_on": "2026-01-15",
        "certainty": "suspected",
    }


async def test_first_observation_is_no_change_of_the_world(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    await record(
        service.client,
        slug,
        registered("A plant"),
        pledged(commitment="pledge"),
        announced("2026-01-15", "status_observed", stage="construction"),
        announced("2026-06-15", "status_observed", stage="operating"),
    )

    async def kinds(start: str, end: str) -> list[str]:
        params = {"from.effective_on": start, "to.effective_on": end}
        body = (await service.client.get(f"/v1/deals/{slug}/compare", params=params)).json()
        kinds = ("world", "record", "source", "learned_late")
        return [kind for kind in kinds if any(change["field"] == "/stage" for change in body[kind])]

    assert await kinds("2026-01-01", "2026-02-01") == ["source"]
    assert await kinds("2026-02-01", "2026-07-01") == ["world"]


async def test_party_site_and_amount_keep_what_the_source_states(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    party = {"organization": "kt", "role": "owner", "share": "49.5", "certainty": "reported"}
    amount = {"value": "5", "currency": "USD", "figure": "estimated", "price_year": 2020}
    source = {"publisher": "A paper", "locator": "p. 3", "quote": "Five dollars."}
    pledge = announced("2025-06-16", "pledge_announced", pledge="total", amount=amount)
    await record(
        service.client,
        slug,
        registered("A plant"),
        announced("2025-06-16", "parties_joined", parties=[party]),
        announced("2025-06-16", "site_announced", site="a", address="1 Road", locality="Ulsan", district_code="31140"),
        {**pledge, "sources": [source]},
    )
    state = (await service.client.get(f"/v1/deals/{slug}")).json()
    assert [(p["share"], p["certainty"]) for p in state["parties"]] == [("49.5", "reported")]
    assert [(s["address"], s["locality"], s["district_code"]) for s in state["sites"]] == [("1 Road", "Ulsan", "31140")]
    assert (state["pledges"][0]["amount"]["figure"], state["pledges"][0]["amount"]["price_year"]) == ("estimated", 2020)
    assert "Five dollars." in [s["quote"] for s in state["sources"]]


@pytest.mark.parametrize("share", ["100.5", "-1", "101", "5%"])
async def test_share_is_a_percentage(service: Service, new_slug: Callable[[], str], share: str) -> None:
    party = {"organization": "kt", "role": "owner", "share": share}
    joined = announced("2025-06-16", "parties_joined", parties=[party])
    answer = await service.client.post(f"/v1/deals/{new_slug()}/events", json=joined)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/event/parties/0/share"]


async def test_quotation_needs_a_locator(service: Service, new_slug: Callable[[], str]) -> None:
    announcement = {**registered("A plant"), "sources": [{"publisher": "A paper", "quote": "Five dollars."}]}
    answer = await service.client.post(f"/v1/deals/{new_slug()}/events", json=announcement)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/sources/0/locator"]


async def test_deal_page_shows_the_new_facts(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    await record(
        service.client,
        slug,
        registered("A plant", classifications={"mode": ["expansion"]}),
        metric(value="250"),
        announced("2025-06-16", "setback_reported", setback="noise", kind="opposition"),
        announced(
            "2025-06-16",
            "incentive_granted",
            incentive="credit",
            kind="tax_credit",
            amount={"value": "7000000", "currency": "USD", "figure": "estimated"},
        ),
    )
    for language, words in (
        ("en", ["Expansion", "Jobs", "250", "Local opposition", "Tax credit", "(estimated)"]),
        ("ko", ["증설", "일자리", "250", "주민 반대", "세액 공제", "(추정치)"]),
    ):
        page = (await service.client.get(f"/deals/{slug}", params={"lang": language})).text
        assert [word for word in words if word not in page] == []
