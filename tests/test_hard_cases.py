"""The twelve hard cases of the domain over HTTP, on the demo deals or on a deal of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest_asyncio

from tests.api.announcements import announced, pledged, registered, revised
from tests.databases import Server
from tests.service import Service, cloned, running

# docs/totals.md calculates the demo's totals by hand for this day.
DAY = "2025-12-31"

Columns = dict[tuple[str, str, str], dict[str, Any]]


@pytest_asyncio.fixture(scope="module")
async def registry(demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A registry with the demo deals."""
    async with cloned(demo_server, admin, "hard") as settings, running(settings) as service:
        yield service


async def get(registry: Service, path: str, **parameters: str) -> Any:
    response = await registry.client.get(path, params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


async def post(registry: Service, deal: str, *announcements: dict[str, Any], **parameters: str) -> Any:
    response = await registry.client.post(f"/v1/deals/{deal}/events", json=list(announcements), params=parameters)
    assert response.is_success, response.text
    return response.json()


async def totals(registry: Service, **parameters: str) -> tuple[Columns, dict[str, dict[str, Any]]]:
    """The columns by currency, nature and basis, and the line of each pledge."""
    result = await get(registry, "/v1/totals", **{"effective_on": DAY, **parameters})
    overall = result["totals"]["overall"]
    columns = {(c["currency"], c["nature"], c["basis"]): c for c in overall["columns"]}
    return columns, {f"{line['deal']}/{line['pledge']}": line for line in overall["lines"]}


def flags(deal: Any) -> dict[str, dict[str, Any]]:
    return {flag["rule"]: flag for flag in deal["remarks"]["flags"]}


async def test_1_additional_amount_is_counted_exactly_once(registry: Service) -> None:
    await post(registry, "region", registered(sectors=["case-1"]), pledged(value="5880000000", pledge="base"))
    more = pledged("2025-10-29", "5000000000", "more", amount_basis="additional", additional_to="region/base")
    await post(registry, "region", more)
    columns, lines = await totals(registry, sector="case-1")
    assert (lines["region/more"]["rule"], lines["region/base"]["rule"]) == ("additional", "counted")
    sums = columns["USD", "commitment", "once"]
    assert (sums["low"], sums["high"]) == ("10880000000", "10880000000")
    # AWS's amount in Ulsan is additional to its programme and part of the total pledged there: it counts once, there.
    _, korea = await totals(registry, region="KR")
    assert korea["sk-aws-ulsan/aws-share"]["rule"] == "part_of"
    assert korea["sk-aws-ulsan/aws-share"]["because"] == ["sk-aws-ulsan/total"]
    assert korea["aws-korea-2027/programme"]["rule"] == "counted"


async def test_2_aggregate_ascribed_to_one_member_is_flagged_and_not_added(registry: Service) -> None:
    amkor = await get(registry, "/v1/deals/amkor-songdo", expand="incoming")
    flag = flags(amkor)["member-not-below-aggregate"]
    assert set(flag["figures"]) == {"amkor-songdo/packaging", "seven-firms-korea-2030/total"}
    columns, lines = await totals(registry, region="KR")
    assert lines["seven-firms-korea-2030/total"]["rule"] == "aggregate"
    assert lines["amkor-songdo/packaging"]["rule"] == "flagged"
    assert lines["amkor-songdo/packaging"]["flags"] == ["member-not-below-aggregate"]
    sums = columns["USD", "commitment", "once"]
    assert (sums["low"], sums["high"]) == ("9000000000", "14000000000"), "a sum of all amounts would be 18bn or 23bn"


async def test_3_part_reported_as_the_whole_adds_nothing(registry: Service) -> None:
    before, _ = await totals(registry, region="KR-31", effective_on="2025-06-21")
    after, lines = await totals(registry, region="KR-31", effective_on="2025-06-23")
    assert before["KRW", "commitment", "once"]["high"] == after["KRW", "commitment", "once"]["high"] == "7000000000000"
    assert ("USD", "commitment", "once") not in after
    assert lines["sk-aws-ulsan/aws-share"]["rule"] == "part_of"
    assert lines["sk-aws-ulsan/aws-share"]["events"], "the declaring event"


async def test_4_annual_amount_is_never_multiplied(registry: Service) -> None:
    for day in (DAY, "2040-01-01"):
        columns, _ = await totals(registry, organization="alibaba", effective_on=day)
        [(column, sums)] = columns.items()
        assert column == ("KRW", "commitment", "annual")
        assert (sums["low"], sums["high"]) == ("100000000000", "100000000000"), day


async def test_5_intention_is_totalled_apart_from_commitments(registry: Service) -> None:
    columns, _ = await totals(registry, region="KR")
    assert columns["KRW", "intention", "once"]["high"] == "20000000000000"
    assert columns["KRW", "commitment", "once"]["high"] == "17250000000000"
    groups = (await get(registry, "/v1/totals", group_by="organization", effective_on=DAY))["totals"]["groups"]
    [blackrock] = [group for group in groups if group["key"] == "blackrock"]
    assert [column["nature"] for column in blackrock["columns"]] == ["intention"]


async def test_6_stale_conversion_is_flagged_and_no_later_rate_is_used(registry: Service) -> None:
    flag = flags(await get(registry, "/v1/deals/microsoft-kt"))["implied-rate"]
    assert (flag["figures"]["stated"], flag["figures"]["also stated"]) == (
        "about KRW 2400000000000",
        "about USD 1800000000",
    )
    at_first = flags(await get(registry, "/v1/deals/microsoft-kt", published_on="2024-10-11"))
    assert "implied-rate" not in at_first, "the conversion was right on its own day"
    parameters = {"currency": "USD", "effective_on": "2025-10-30", "rates_of": "2025-12-30"}
    result = await get(registry, "/v1/totals", **parameters)
    assert result["totals"]["rates"]
    assert max(rate["day"] for rate in result["totals"]["rates"]) <= "2025-10-30"
    stated = {line["stated"]["currency"] for line in result["totals"]["overall"]["lines"] if line["rate"]}
    assert stated == {"KRW"}, "the stated amount is kept beside the converted one"


async def test_7_totals_keep_the_qualifiers(registry: Service) -> None:
    columns, lines = await totals(registry)
    sums = columns["USD", "commitment", "once"]
    assert {"about", "more_than"} <= set(sums["qualifiers"])
    assert sums["high_open"]
    assert lines["aws-apec-2028/total"]["stated"]["qualifier"] == "more_than"


async def test_8_tenfold_slip_between_korean_units_is_flagged_and_recorded(registry: Service) -> None:
    correct = {"value": "660000000", "currency": "USD"}  # 6.6억 달러
    slip = {"value": "6600000000", "currency": "USD"}  # "6.6 billion"
    await post(registry, "slip", registered(), announced("2025-01-05", "pledge_announced", pledge="p", amount=correct))
    revision = announced("2025-02-05", "pledge_revised", pledge="p", amount=slip)
    preview = await post(registry, "slip", revision, dry_run="true")
    recorded = await post(registry, "slip", revision)
    for response in (preview, recorded):
        [flag] = response["flags"]
        assert flag["rule"] == "tenfold-slip"
    state = await get(registry, "/v1/deals/slip")
    assert state["pledges"][0]["amount"]["value"] == "6600000000", "flagged, not refused"
    events = (await get(registry, "/v1/deals/slip/events"))["events"]
    assert [flag["rule"] for flag in events[-1]["flags"]] == ["tenfold-slip"]


async def test_9_organization_has_many_names_and_a_merge_can_be_undone(registry: Service) -> None:
    for q in ("아마존웹서비스", "아마존 웹 서비스", "AMAZON web services"):
        result = (await get(registry, "/v1/organizations", q=q))["organizations"]
        assert [o["organization"] for o in result] == ["amazon-web-services"], q
    other = "/v1/organizations/amazonwebservices-korea/events"
    registration = {"event": {"type": "organization_registered", "name": {"ko": "(주)아마존웹서비스"}}}
    await registry.client.post(other, json=registration)
    similar = await get(registry, "/v1/organizations/amazon-web-services/similar")
    [suggestion] = similar["suggestions"]
    assert (suggestion["other"], suggestion["reason"]) == ("amazonwebservices-korea", "same name")
    merge = {"event": {"type": "organization_merged", "into": "amazon-web-services"}}
    deals = await get(registry, "/v1/deals", organization="amazon-web-services")
    assert (await registry.client.post(other, json=merge)).status_code == 201
    assert (await get(registry, "/v1/deals", organization="amazonwebservices-korea"))["deals"] == deals["deals"]
    assert (await registry.client.get(other.removesuffix("/events"))).status_code == 308
    unmerge = {"event": {"type": "organization_unmerged"}}
    assert (await registry.client.post(other, json=unmerge)).status_code == 201
    assert (await get(registry, "/v1/deals", organization="amazonwebservices-korea"))["deals"] == []


async def test_10_unknown_is_not_zero_and_absence_is_not_withdrawal(registry: Service) -> None:
    ulsan = await get(registry, "/v1/deals/sk-aws-ulsan")
    assert [p["horizon"] for p in ulsan["pledges"]] == [None, None]
    assert (await get(registry, "/v1/deals/corning-korea"))["pledges"] == []
    hub = await get(registry, "/v1/deals/blackrock-asia-ai-hub")
    assert [(s["power_mw"], s["gpus"]) for s in hub["sites"]] == [(None, None)]
    await post(
        registry, "silent", registered(sectors=["case-10"]), announced("2025-01-05", "pledge_announced", pledge="p")
    )
    columns, lines = await totals(registry, sector="case-10")
    assert columns == {}, "no column at all, and not one of 0"
    assert (lines["silent/p"]["rule"], lines["silent/p"]["stated"]) == ("not_stated", None)
    # The article of October does not mention the USD 4bn in Ulsan, so the pledge stays.
    assert [p["status"] for p in ulsan["pledges"]] == ["announced", "announced"]


async def test_11_milestone_is_reported_late_out_of_order_and_twice(registry: Service) -> None:
    deal = "late"
    steps = ("groundbreaking", "operations_started")
    await post(registry, deal, registered(), *(
        announced("2025-01-05", "milestone_scheduled", milestone=step.replace("_", "-"), kind=step) for step in steps
    ))  # fmt: skip
    operating = announced("2026-03-01", "milestone_reached", milestone="operations-started", reached="2026-03-01")
    groundbreaking = announced("2025-04-01", "milestone_reached", milestone="groundbreaking", reached="2025-04-01")
    await post(registry, deal, operating)
    await post(registry, deal, groundbreaking)
    in_2025 = await get(registry, f"/v1/deals/{deal}", effective_on="2025-12-31")
    assert {m["milestone"]: m["reached"] for m in in_2025["milestones"]} == {
        "groundbreaking": "2025-04-01",
        "operations-started": None,
    }
    before = await get(registry, f"/v1/deals/{deal}")
    again = await post(registry, deal, groundbreaking)
    assert [flag["rule"] for flag in again["flags"]] == ["recorded-twice"]
    assert again["changes"] == []
    assert (await get(registry, f"/v1/deals/{deal}"))["milestones"] == before["milestones"]
    # The groundbreaking has a later position and an earlier effective date; earlier as-of answers stay the same.
    then = await get(registry, f"/v1/deals/{deal}", position=str(before["position"] - 1), effective_on="2025-12-31")
    assert {m["reached"] for m in then["milestones"]} == {None}


async def test_12_groundbreaking_implies_no_construction(registry: Service) -> None:
    after = await get(registry, "/v1/deals/sk-aws-ulsan", effective_on="2025-09-01")
    assert {m["milestone"]: m["reached"] for m in after["milestones"]}["groundbreaking"] == "2025-08-29"
    assert (after["stage"]["value"], after["stage"]["basis"]) == ("committed", "inferred")
    declared = await get(registry, "/v1/deals/sk-aws-ulsan", effective_on="2025-10-29")
    assert (declared["stage"]["value"], declared["stage"]["basis"]) == ("construction", "declared")


async def test_correction_of_a_hard_case_is_not_growth(registry: Service) -> None:
    """Property 11 with case 8: the correction of a recording error is a record change, and the amount does not grow."""
    recorded = await post(
        registry,
        "ours",
        registered(),
        pledged("2025-01-05", "660000000", "p"),
        revised("2025-02-05", "6600000000", "p"),
    )
    wrong_event = recorded["events"][-1]["id"]
    replacement = {
        "event": {"type": "pledge_revised", "pledge": "p", "amount": {"value": "670000000", "currency": "USD"}}
    }
    await post(
        registry, "ours", {"event": {"type": "event_corrected", "corrects": wrong_event, "replacement": replacement}}
    )
    parameters = {"from.position": str(recorded["position"]), "to.effective_on": DAY, "from.effective_on": DAY}
    comparison = await get(registry, "/v1/deals/ours/compare", **parameters)
    assert (comparison["world"], [c["field"] for c in comparison["record"]]) == ([], ["/pledges/p/amount"])


async def test_totals_by_parent_use_the_owners_of_that_day(registry: Service) -> None:
    """In the demo, Amazon owns AWS, and BlackRock has owned GIP since October 2024."""
    parameters = {"group_by": "organization", "effective_on": DAY}
    direct = (await get(registry, "/v1/totals", **parameters))["totals"]["groups"]
    rolled_up = (await get(registry, "/v1/totals", roll_up="parent", **parameters))["totals"]["groups"]
    by = {group["key"]: group["columns"] for group in direct}
    by_parent = {group["key"]: group["columns"] for group in rolled_up}
    assert ("amazon-web-services" in by, "amazon" in by) == (True, False)
    assert ("amazon-web-services" in by_parent, "amazon" in by_parent) == (False, True)
    assert by_parent["amazon"] == by["amazon-web-services"]
    children = (await get(registry, "/v1/organizations/blackrock"))["children"]
    assert [(c["organization"], c["control"], c["since"]) for c in children] == [
        ("global-infrastructure-partners", "owns", "2024-10-01")
    ]
    before = await get(registry, "/v1/organizations/blackrock", effective_on="2025-09-30", published_on="2025-09-30")
    assert [c["organization"] for c in before["children"]] == ["global-infrastructure-partners"]
