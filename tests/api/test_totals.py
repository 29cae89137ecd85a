"""Totals over HTTP: doubted amounts, estimates, measures other than money."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from tests.api.announcements import announced, pledged, registered, revised


async def posted(client: httpx.AsyncClient, slug: str, *announcements: dict[str, Any]) -> None:
    answer = await client.post(f"/v1/deals/{slug}/events", json=list(announcements))
    answer.raise_for_status()


async def totals(client: httpx.AsyncClient, **params: str) -> Any:
    answer = await client.get("/v1/totals", params=params)
    answer.raise_for_status()
    return answer.json()["totals"]


async def test_amount_with_a_slip_of_units_is_in_the_upper_bound_only(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    slug = new_slug()
    await posted(client, slug, registered(sectors=[slug]), pledged(), revised("2025-07-01", "50000000000"))
    found = await totals(client, sector=slug)
    (column,), (line,) = found["overall"]["columns"], found["overall"]["lines"]
    assert (column["low"], column["high"]) == ("0", "50000000000")
    assert (line["rule"], line["flags"]) == ("flagged", ["tenfold-slip"])
    before = await totals(client, sector=slug, effective_on="2025-06-30")
    assert before["overall"]["columns"][0]["low"] == "5000000000", "the amount before it is not doubted"


async def test_flag_of_a_claim_belongs_to_the_claim_s_value(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    slug = new_slug()
    claim = {"claim": "other", "field": "/pledges/total/amount", "value": {"value": "500000000", "currency": "USD"}}
    reported = {"sources": registered()["sources"], "event": {"type": "claim_reported", **claim}}
    await posted(client, slug, registered(sectors=[slug]), pledged(), reported)
    assert (await totals(client, sector=slug))["overall"]["columns"][0]["low"] == "5000000000"
    preferred = {"type": "claim_preferred", "field": claim["field"], "claim": "other", "reason": "the later source"}
    await posted(client, slug, {"event": preferred})
    column = (await totals(client, sector=slug))["overall"]["columns"][0]
    assert (column["low"], column["high"]) == ("0", "500000000")


async def test_totals_can_leave_out_estimates(client: httpx.AsyncClient, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    modelled = {"value": "3000000000", "currency": "USD", "figure": "modelled"}
    estimate = announced("2025-06-16", "pledge_announced", pledge="model", amount=modelled)
    await posted(client, slug, registered(sectors=[slug]), pledged(), estimate)
    both = (await totals(client, sector=slug, estimates="both"))["overall"]
    assert both["columns"][0]["low"] == "8000000000"
    assert both["without_estimates"][0]["low"] == "5000000000"
    without = (await totals(client, sector=slug, estimates="exclude"))["overall"]
    assert without["columns"] == both["without_estimates"]
    assert without["rules"] == {"counted": 1, "estimate": 1}


async def test_amount_in_a_withdrawn_currency_counts_at_the_rate_of_its_day(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    slug = new_slug()
    lev = announced("2024-06-03", "pledge_announced", pledge="total", amount={"value": "1955800", "currency": "BGN"})
    await posted(client, slug, registered(sectors=[slug]), lev)
    (column,) = (await totals(client, sector=slug, currency="EUR"))["overall"]["columns"]
    assert (column["low"], column["currency"]) == ("1000000", "EUR")


async def test_metrics_are_totalled_by_basis_and_place(client: httpx.AsyncClient, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    sites = [
        announced("2025-06-16", "site_announced", site=site, place=place, gpus=gpus, power_mw="100")
        for site, place, gpus in (("north", "KR-31", 60_000), ("south", "KR-46", 40_000))
    ]
    jobs = [
        announced("2025-06-16", "metric_reported", metric="jobs", basis=basis, value=value)
        for basis, value in (("planned", "1000"), ("actual", "300"))
    ]
    await posted(client, slug, registered(sectors=[slug]), *sites, *jobs)
    found = await totals(client, sector=slug, measure="jobs")
    assert found["measure"] == "jobs"
    assert [(c["nature"], c["low"], c["currency"]) for c in found["overall"]["columns"]] == [
        ("actual", "300", None),
        ("planned", "1000", None),
    ]
    gpus = await totals(client, sector=slug, measure="gpus", group_by="region")
    assert {group["key"]: group["columns"][0]["low"] for group in gpus["groups"]} == {
        "KR-31": "60000",
        "KR-46": "40000",
    }
    power = await totals(client, sector=slug, measure="power_mw")
    assert power["overall"]["columns"][0]["high"] == "200"


async def test_bounds_of_amounts_are_refused_because_currency_is_what_amounts_are_converted_to(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/v1/totals?currency=USD&amount_min=5")
    assert answer.status_code == 400
    assert "amount_min" in answer.json()["detail"]


async def test_currency_of_a_measure_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/totals", params={"measure": "jobs", "currency": "USD"})
    assert answer.status_code == 400
    assert "currency" in answer.json()["detail"]
