"""The twelve hard cases of the domain, each over HTTP, on the demo's deals or on a small history of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest_asyncio

from tests.api.announcements import announced, pledged, registered, revised
from tests.api.conftest import Service, cloned, running
from tests.conftest import Server

# The day that the demo's totals are worked out for by hand (docs/totals.md).
DAY = "2025-12-31"

Columns = dict[tuple[str, str, str], dict[str, Any]]


@pytest_asyncio.fixture(scope="module")
async def registry(demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A registry with the demo's deals."""
    async with cloned(demo_server, admin, "hard") as settings, running(settings) as service:
        yield service


async def got(registry: Service, path: str, **asked: str) -> Any:
    answer = await registry.client.get(path, params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def posted(registry: Service, deal: str, *said: dict[str, Any], **asked: str) -> Any:
    answer = await registry.client.post(f"/v1/deals/{deal}/events", json=list(said), params=asked)
    assert answer.is_success, answer.text
    return answer.json()


async def totals(registry: Service, **asked: str) -> tuple[Columns, dict[str, dict[str, Any]]]:
    """The sums by currency, nature and basis; and each pledge's line."""
    found = await got(registry, "/v1/totals", **{"effective_on": DAY, **asked})
    overall = found["totals"]["overall"]
    columns = {(c["currency"], c["nature"], c["basis"]): c for c in overall["columns"]}
    return columns, {f"{line['deal']}/{line['pledge']}": line for line in overall["lines"]}


def flags(deal: Any) -> dict[str, dict[str, Any]]:
    return {flag["rule"]: flag for flag in deal["remarks"]["flags"]}


async def test_1_additional_amount_is_counted_exactly_once(registry: Service) -> None:
    await posted(registry, "region", registered(sectors=["case-1"]), pledged(value="5880000000", pledge="base"))
    more = pledged("2025-10-29", "5000000000", "more", amount_basis="additional", additional_to="region/base")
    await posted(registry, "region", more)
    columns, lines = await totals(registry, sector="case-1")
    assert (lines["region/more"]["rule"], lines["region/base"]["rule"]) == ("additional", "counted")
    sums = columns["USD", "commitment", "once"]
    assert (sums["low"], sums["high"]) == ("10880000000", "10880000000")
    # What AWS adds in Ulsan is additional to its programme, and part of what is pledged there: it counts once, in that.
    _, korea = await totals(registry, region="KR")
    assert korea["sk-aws-ulsan/aws-share"]["rule"] == "part_of"
    assert korea["sk-aws-ulsan/aws-share"]["because"] == ["sk-aws-ulsan/total"]
    assert korea["aws-korea-2027/programme"]["rule"] == "counted"


async def test_2_aggregate_ascribed_to_one_member_is_flagged_and_not_added(registry: Service) -> None:
    amkor = await got(registry, "/v1/deals/amkor-songdo", expand="incoming")
    flag = flags(amkor)["member-not-below-aggregate"]
    assert set(flag["figures"]) == {"amkor-songdo/packaging", "seven-firms-korea-2030/total"}
    columns, lines = await totals(registry, region="KR")
    assert lines["seven-firms-korea-2030/total"]["rule"] == "aggregate"
    assert lines["amkor-songdo/packaging"]["rule"] == "members"
    sums = columns["USD", "commitment", "once"]
    assert (sums["low"], sums["high"]) == ("9000000000", "14000000000"), "never the 18bn or 23bn of adding all up"


async def test_3_part_reported_as_the_whole_adds_nothing(registry: Service) -> None:
    before, _ = await totals(registry, region="KR-31", effective_on="2025-06-21")
    after, lines = await totals(registry, region="KR-31", effective_on="2025-06-23")
    assert before["KRW", "commitment", "once"]["high"] == after["KRW", "commitment", "once"]["high"] == "7000000000000"
    assert ("USD", "commitment", "once") not in after
    assert lines["sk-aws-ulsan/aws-share"]["rule"] == "part_of"
    assert lines["sk-aws-ulsan/aws-share"]["events"], "the event that says so"


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
    groups = (await got(registry, "/v1/totals", group_by="organization", effective_on=DAY))["totals"]["groups"]
    [blackrock] = [group for group in groups if group["key"] == "blackrock"]
    assert [column["nature"] for column in blackrock["columns"]] == ["intention"]


async def test_6_stale_conversion_is_flagged_and_no_later_rate_is_used(registry: Service) -> None:
    flag = flags(await got(registry, "/v1/deals/microsoft-kt"))["implied-rate"]
    assert (flag["figures"]["stated"], flag["figures"]["also stated"]) == (
        "about KRW 2400000000000",
        "about USD 1800000000",
    )
    at_first = flags(await got(registry, "/v1/deals/microsoft-kt", published_on="2024-10-11"))
    assert "implied-rate" not in at_first, "on its own day the conversion was right"
    asked = {"currency": "USD", "effective_on": "2025-10-30", "rates_of": "2025-12-30"}
    found = await got(registry, "/v1/totals", **asked)
    assert found["totals"]["rates"]
    assert max(rate["day"] for rate in found["totals"]["rates"]) <= "2025-10-30"
    stated = {line["stated"]["currency"] for line in found["totals"]["overall"]["lines"] if line["rate"]}
    assert stated == {"KRW"}, "what was stated stays beside what it is converted to"


async def test_7_totals_keep_the_qualifiers(registry: Service) -> None:
    columns, lines = await totals(registry)
    sums = columns["USD", "commitment", "once"]
    assert {"about", "more_than"} <= set(sums["qualifiers"])
    assert sums["high_open"]
    assert lines["aws-apec-2028/total"]["stated"]["qualifier"] == "more_than"


async def test_8_tenfold_slip_between_korean_units_is_flagged_and_recorded(registry: Service) -> None:
    right = {"value": "660000000", "currency": "USD"}  # 6.6억 달러
    slip = {"value": "6600000000", "currency": "USD"}  # "6.6 billion"
    await posted(registry, "slip", registered(), announced("2025-01-05", "pledge_announced", pledge="p", amount=right))
    said = announced("2025-02-05", "pledge_revised", pledge="p", amount=slip)
    would = await posted(registry, "slip", said, dry_run="true")
    done = await posted(registry, "slip", said)
    for answer in (would, done):
        [flag] = answer["flags"]
        assert flag["rule"] == "tenfold-slip"
    state = await got(registry, "/v1/deals/slip")
    assert state["pledges"][0]["amount"]["value"] == "6600000000", "flagged, not refused"
    events = (await got(registry, "/v1/deals/slip/events"))["events"]
    assert [flag["rule"] for flag in events[-1]["flags"]] == ["tenfold-slip"]


async def test_9_organization_has_many_names_and_a_merge_can_be_undone(registry: Service) -> None:
    for q in ("아마존웹서비스", "아마존 웹 서비스", "AMAZON web services"):
        found = (await got(registry, "/v1/organizations", q=q))["organizations"]
        assert [o["organization"] for o in found] == ["amazon-web-services"], q
    other = "/v1/organizations/amazonwebservices-korea/events"
    named = {"event": {"type": "organization_registered", "name": {"ko": "(주)아마존웹서비스"}}}
    await registry.client.post(other, json=named)
    similar = await got(registry, "/v1/organizations/amazon-web-services/similar")
    [suggestion] = similar["suggestions"]
    assert (suggestion["other"], suggestion["reason"]) == ("amazonwebservices-korea", "same name")
    same = {"event": {"type": "organization_merged", "into": "amazon-web-services"}}
    deals = await got(registry, "/v1/deals", organization="amazon-web-services")
    assert (await registry.client.post(other, json=same)).status_code == 201
    assert (await got(registry, "/v1/deals", organization="amazonwebservices-korea"))["deals"] == deals["deals"]
    assert (await registry.client.get(other.removesuffix("/events"))).status_code == 308
    undone = {"event": {"type": "organization_unmerged"}}
    assert (await registry.client.post(other, json=undone)).status_code == 201
    assert (await got(registry, "/v1/deals", organization="amazonwebservices-korea"))["deals"] == []


async def test_10_unknown_is_not_zero_and_absence_is_not_withdrawal(registry: Service) -> None:
    ulsan = await got(registry, "/v1/deals/sk-aws-ulsan")
    assert [p["horizon"] for p in ulsan["pledges"]] == [None, None]
    assert (await got(registry, "/v1/deals/corning-korea"))["pledges"] == []
    hub = await got(registry, "/v1/deals/blackrock-asia-ai-hub")
    assert [(s["power_mw"], s["gpus"]) for s in hub["sites"]] == [(None, None)]
    await posted(
        registry, "silent", registered(sectors=["case-10"]), announced("2025-01-05", "pledge_announced", pledge="p")
    )
    columns, lines = await totals(registry, sector="case-10")
    assert columns == {}, "no sum at all: not a sum of 0"
    assert (lines["silent/p"]["rule"], lines["silent/p"]["stated"]) == ("not_stated", None)
    # The article of October says nothing of the USD 4bn in Ulsan: they are pledged as before.
    assert [p["status"] for p in ulsan["pledges"]] == ["announced", "announced"]


async def test_11_milestone_is_reported_late_out_of_order_and_twice(registry: Service) -> None:
    deal = "late"
    steps = ("groundbreaking", "operations_started")
    await posted(registry, deal, registered(), *(
        announced("2025-01-05", "milestone_scheduled", milestone=step.replace("_", "-"), kind=step) for step in steps
    ))  # fmt: skip
    opened = announced("2026-03-01", "milestone_reached", milestone="operations-started", reached="2026-03-01")
    begun = announced("2025-04-01", "milestone_reached", milestone="groundbreaking", reached="2025-04-01")
    await posted(registry, deal, opened)
    await posted(registry, deal, begun)
    in_2025 = await got(registry, f"/v1/deals/{deal}", effective_on="2025-12-31")
    assert {m["milestone"]: m["reached"] for m in in_2025["milestones"]} == {
        "groundbreaking": "2025-04-01",
        "operations-started": None,
    }
    before = await got(registry, f"/v1/deals/{deal}")
    again = await posted(registry, deal, begun)
    assert [flag["rule"] for flag in again["flags"]] == ["recorded-twice"]
    assert again["changes"] == []
    assert (await got(registry, f"/v1/deals/{deal}"))["milestones"] == before["milestones"]
    # The event is later in the log than the operation, and earlier in the world; an answer given before stays.
    then = await got(registry, f"/v1/deals/{deal}", position=str(before["position"] - 1), effective_on="2025-12-31")
    assert {m["reached"] for m in then["milestones"]} == {None}


async def test_12_groundbreaking_implies_no_construction(registry: Service) -> None:
    after = await got(registry, "/v1/deals/sk-aws-ulsan", effective_on="2025-09-01")
    assert {m["milestone"]: m["reached"] for m in after["milestones"]}["groundbreaking"] == "2025-08-29"
    assert (after["stage"]["value"], after["stage"]["basis"]) == ("committed", "inferred")
    declared = await got(registry, "/v1/deals/sk-aws-ulsan", effective_on="2025-10-29")
    assert (declared["stage"]["value"], declared["stage"]["basis"]) == ("construction", "declared")


async def test_correction_of_a_hard_case_is_not_growth(registry: Service) -> None:
    """Property 11 with case 8: the slip was ours, and its correction changes the past and not the amount's course."""
    done = await posted(
        registry,
        "ours",
        registered(),
        pledged("2025-01-05", "660000000", "p"),
        revised("2025-02-05", "6600000000", "p"),
    )
    wrong = done["events"][-1]["id"]
    replacement = {
        "event": {"type": "pledge_revised", "pledge": "p", "amount": {"value": "670000000", "currency": "USD"}}
    }
    await posted(
        registry, "ours", {"event": {"type": "event_corrected", "corrects": wrong, "replacement": replacement}}
    )
    asked = {"from.position": str(done["position"]), "to.effective_on": DAY, "from.effective_on": DAY}
    compared = await got(registry, "/v1/deals/ours/compare", **asked)
    assert (compared["world"], [c["field"] for c in compared["record"]]) == ([], ["/pledges/p/amount"])


async def test_totals_by_parent_use_the_owners_of_that_day(registry: Service) -> None:
    """In the demo AWS is Amazon's, and GIP has been BlackRock's since October 2024, as their sources say."""
    asked = {"group_by": "organization", "effective_on": DAY}
    plain = (await got(registry, "/v1/totals", **asked))["totals"]["groups"]
    rolled = (await got(registry, "/v1/totals", roll_up="parent", **asked))["totals"]["groups"]
    by = {group["key"]: group["columns"] for group in plain}
    by_parent = {group["key"]: group["columns"] for group in rolled}
    assert ("amazon-web-services" in by, "amazon" in by) == (True, False)
    assert ("amazon-web-services" in by_parent, "amazon" in by_parent) == (False, True)
    assert by_parent["amazon"] == by["amazon-web-services"]
    children = (await got(registry, "/v1/organizations/blackrock"))["children"]
    assert [(c["organization"], c["control"], c["since"]) for c in children] == [
        ("global-infrastructure-partners", "owns", "2024-10-01")
    ]
    before = await got(registry, "/v1/organizations/blackrock", effective_on="2025-09-30", published_on="2025-09-30")
    assert [c["organization"] for c in before["children"]] == ["global-infrastructure-partners"]
