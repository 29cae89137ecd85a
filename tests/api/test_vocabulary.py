"""Classifications, metrics, incentives, setbacks, observed stages and estimates, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.api.announcements import announced, pledged, registered
from tests.service import Service


async def post(client: httpx.AsyncClient, slug: str, *announcements: Any) -> httpx.Response:
    """Post announcements about a deal."""
    return await client.post(f"/v1/deals/{slug}/events", json=list(announcements))


async def record(client: httpx.AsyncClient, slug: str, *announcements: Any) -> dict[str, Any]:
    """Record announcements about a deal."""
    answer = await post(client, slug, *announcements)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


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


async def listed(service: Service, sector: str, **asked: str) -> list[str]:
    answer = await service.client.get("/v1/deals", params={"sector": sector, **asked})
    assert answer.status_code == 200, answer.text
    return [deal["deal"] for deal in answer.json()["deals"]]


async def test_filters_and_facets_know_quantities_incentives_setbacks_and_shares(
    service: Service, new_slug: Callable[[], str]
) -> None:
    sector, first, second, third = sorted(new_slug() for _ in range(4))
    day = "2025-06-16"
    shares = [{"organization": "firm", "role": "owner", "share": "60"}, {"organization": "fund", "role": "owner"}]
    await record(
        service.client,
        first,
        registered("A plant", sectors=[sector]),
        metric(value="250"),
        metric(value="90", basis="actual"),
        announced(day, "site_announced", site="hall", power_mw="103", gpus=60000),
        announced(day, "parties_joined", parties=shares),
        announced(day, "incentive_granted", incentive="credit", kind="tax_credit"),
        announced(day, "setback_reported", setback="suit", kind="litigation"),
        announced("2025-07-01", "incentive_ended", incentive="credit"),
        announced("2025-07-02", "setback_resolved", setback="suit"),
    )
    joined = {"parties": [{"organization": "firm", "role": "operator", "share": "25"}]}
    await record(
        service.client,
        second,
        registered("A mine", sectors=[sector]),
        metric(metric="capacity_per_year", value="20", unit="GWh"),
        metric(metric="gpus", value="100"),
        announced(day, "parties_joined", **joined),
        announced(day, "incentive_granted", incentive="land", kind="land"),
        announced(day, "setback_reported", setback="permit", kind="permit_refused"),
    )
    await record(
        service.client,
        third,
        registered("Another", sectors=[sector]),
        announced(day, "site_announced", site="hall", power_mw="500"),
        announced("2025-07-01", "site_dropped", site="hall"),
    )
    expected: list[tuple[dict[str, str], list[str]]] = [
        ({"metric": "jobs"}, [first]),
        ({"metric": "jobs", "metric_min": "250"}, [first]),
        ({"metric": "jobs", "metric_min": "250", "metric_basis": "actual"}, []),
        ({"metric": "jobs", "metric_max": "90"}, [first]),
        ({"metric": "jobs", "metric_min": "100", "metric_max": "200"}, []),
        ({"metric": "power_mw"}, [first]),
        ({"metric": "power_mw", "effective_on": "2025-06-30"}, [first, third]),
        ({"metric": "power_mw", "metric_min": "103.5", "effective_on": "2025-06-30"}, [third]),
        ({"metric": "gpus"}, [first, second]),
        ({"metric": "gpus", "metric_min": "1000", "metric_basis": "planned"}, [first]),
        ({"metric": "capacity_per_year", "metric_min": "20", "metric_unit": "GWh"}, [second]),
        ({"metric": "capacity_per_year", "metric_min": "20", "metric_unit": "t"}, []),
        ({"incentive": "land"}, [second]),
        ({"incentive": "tax_credit"}, []),
        ({"incentive": "tax_credit", "effective_on": "2025-06-30"}, [first]),
        ({"setback": "permit_refused"}, [second]),
        ({"setback": "litigation"}, []),
        ({"setback": "litigation", "effective_on": "2025-06-30"}, [first]),
        ({"share_min": "25"}, [first, second]),
        ({"share_min": "25.5"}, [first]),
        ({"share_max": "25"}, [second]),
        ({"share_min": "25", "role": "operator"}, [second]),
        ({"share_min": "50", "organization": "fund"}, []),
        ({"share_min": "50", "organization": "firm", "published_on": "2050-01-01"}, [first]),
    ]
    for asked, deals in expected:
        assert await listed(service, sector, **asked) == deals, asked
    answer = await service.client.get(
        "/v1/deals", params={"sector": sector, "facets": "true", "effective_on": "2025-06-30"}
    )
    facets = answer.json()["facets"]
    assert facets["metric"] == {"jobs": 1, "power_mw": 2, "gpus": 2, "capacity_per_year": 1}
    assert facets["incentive"] == {"tax_credit": 1, "land": 1}
    assert facets["setback"] == {"litigation": 1, "permit_refused": 1}
    assert facets["share_min"] == {"10": 2, "25": 2, "50": 1}
    for facet in ("metric", "incentive", "setback", "share_min"):
        for value, deals_of_value in facets[facet].items():
            found = await listed(service, sector, effective_on="2025-06-30", **{facet: value})
            assert len(found) == deals_of_value, (facet, value)
    totals = await service.client.get(
        "/v1/totals", params={"sector": sector, "measure": "power_mw", "incentive": "land"}
    )
    assert totals.json()["totals"]["overall"]["columns"] == []


async def test_bounds_of_a_quantity_are_of_the_deals_figure_or_the_sum_of_its_sites(
    service: Service, new_slug: Callable[[], str]
) -> None:
    sector, parts, whole, later = sorted(new_slug() for _ in range(4))
    day = "2025-06-16"
    sites = [announced(day, "site_announced", site=name, power_mw="300", gpus=400) for name in ("a", "b")]
    dropped = [announced(day, "site_announced", site="c", power_mw="900"), announced(day, "site_dropped", site="c")]
    await record(service.client, parts, registered("In parts", sectors=[sector]), *sites, *dropped)
    own = [metric(metric="gpus", value="700"), metric(metric="gpus", value="500", site="a", basis="actual")]
    await record(service.client, whole, registered("As a whole", sectors=[sector]), *sites, *own)
    steps = [metric(metric="gpus", value=value, date=by) for value, by in (("1000", "2029"), ("5000", "2027-06"))]
    await record(service.client, later, registered("By dates", sectors=[sector]), *steps)
    expected: list[tuple[dict[str, str], list[str]]] = [
        ({"metric": "power_mw", "metric_min": "600"}, [parts, whole]),
        ({"metric": "power_mw", "metric_min": "600.5"}, []),
        ({"metric": "power_mw", "metric_max": "599"}, []),
        ({"metric": "gpus", "metric_min": "701"}, [parts, later]),
        ({"metric": "gpus", "metric_max": "700", "metric_basis": "planned"}, [whole]),
        ({"metric": "gpus", "metric_min": "500", "metric_basis": "actual"}, [whole]),
        ({"metric": "gpus", "metric_min": "1001"}, []),
    ]
    for asked, deals in expected:
        assert await listed(service, sector, **asked) == deals, asked


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ("metric_min=5", "metric"),
        ("metric_basis=actual", "metric"),
        ("metric=capacity_per_year&metric_max=5", "metric_unit"),
        ("metric=cats", "metric"),
        ("share_min=101", "share_min"),
        ("incentive=gift", "incentive"),
        ("setback=rain", "setback"),
    ],
)
async def test_filter_that_cannot_be_answered_is_refused_with_its_name(
    service: Service, asked: str, parameter: str
) -> None:
    for path in ("/v1/deals", "/v1/totals", "/v1/events.atom", "/v1/export/deals.csv"):
        answer = await service.client.get(f"{path}?{asked}")
        assert (answer.status_code, answer.json()["parameter"]) == (400, parameter), path


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
