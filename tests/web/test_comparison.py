"""The pages that compare two points name what an editor did apart from corrections, and count what they list."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from html import unescape
from typing import Any

import httpx
import pytest

from registry.domain.audit.diff import Change
from registry.formatting.language import DOT
from registry.formatting.values import shown
from registry.queries.comparisons import ComparisonQueries
from registry.queries.deal_changes import PortfolioChanges
from registry.web.portfolio import comparison as portfolio_comparison
from tests.api.announcements import announced, pledged, registered, voided
from tests.service import ADMIN_KEY, NO_TLS, Service, numbers
from tests.web.html import plain, text_of

CLAIM = {"type": "claim_reported", "claim": "herald", "field": "/pledges/total/amount"}


@pytest.mark.parametrize(
    ("language", "selected", "recorded_again"),
    [
        ("en", "Value selected by an editor", "Voided and recorded again"),
        ("ko", "채택 값 선택", "무효 처리 후 재등록"),
    ],
)
async def test_comparison_names_selected_values_and_events_recorded_again(
    pages: Service, language: str, selected: str, recorded_again: str
) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Accept-Language": language}
    async with httpx.AsyncClient(base_url=pages.url, headers=headers, timeout=30, verify=NO_TLS) as client:
        deal = f"compared-{language}"
        url = f"/v1/deals/{deal}/events"
        posted = (await client.post(url, json=[registered(), pledged()])).json()
        claim = {"event": {**CLAIM, "value": {"value": "7", "currency": "USD"}}}
        preference = {"type": "claim_preferred", "field": CLAIM["field"], "claim": "herald", "reason": "Later."}
        chosen = (await client.post(url, json=[claim, {"event": preference}])).json()
        page = await client.get(f"/deals/{deal}/compare?from.position={posted['position']}")
        assert page.status_code == 200
        assert selected in page.text
        assert recorded_again not in page.text
        condition = announced("2025-06-16", "condition_set", condition="data", text={"en": "In Korea."})
        wrong = (await client.post(url, json=condition)).json()
        await client.post(url, json=voided(wrong["events"][0]["id"]))
        await client.post(url, json=announced("2025-06-16", "condition_set", condition="data", text={"en": "Here."}))
        page = await client.get(f"/deals/{deal}/compare?from.position={wrong['position']}")
        assert recorded_again in page.text
        assert chosen["position"] < wrong["position"]


async def test_form_with_a_day_of_recording_leads_to_the_address_with_its_end(demo_reader: httpx.AsyncClient) -> None:
    answer = await demo_reader.get("/compare?from.recorded_on=2025-06-21&from.effective_on=&lang=en")
    assert answer.status_code == 303
    assert unescape(answer.headers["location"]) == "/compare?lang=en&from.recorded_at=2025-06-21T23%3A59%3A59.999999Z"
    assert "recorded by 21 Jun 2025" in plain((await demo_reader.get(answer.headers["location"])).text)


async def test_added_deal_says_late_information_only_if_it_was_announced_before_the_earlier_record(
    demo_reader: httpx.AsyncClient,
) -> None:
    page = (await demo_reader.get("/compare?from.recorded_at=2025-06-21T14:59:59Z")).text
    rows = {
        slug: re.findall(r'data-(?:kind|label)="(\w+)"', row)
        for slug, row in re.findall(
            r'<tr><th scope="row"><a href="/deals/([a-z0-9-]+)[^"]*">(.*?)</tr>', page, re.DOTALL
        )
    }
    assert {slug: kinds for slug, kinds in rows.items() if kinds} == {"aws-korea-2027": ["learned_late"]}
    assert "blackrock-asia-ai-hub" in rows


async def test_claim_is_compared_with_what_was_reported_and_values_are_named_in_narrow_windows(
    demo_reader: httpx.AsyncClient,
) -> None:
    html = (await demo_reader.get("/deals/sk-aws-ulsan/compare?from.effective_on=2025-06-17&lang=en")).text
    rows = [
        (label, re.findall(r'<td data-l="(\w+)">(.*?)</td>', row, re.DOTALL))
        for label, row in re.findall(r'data-label="(\w+)"(.*?)</tr>', html, re.DOTALL)
    ]
    assert rows
    for label, cells in rows:
        (before, old), (after, _) = cells
        assert (before, after) == ("Before", "After")
        assert label not in ("claimed", "corroborated") or text_of(old).strip() == "not reported"


async def test_compared_deals_are_in_the_order_of_the_change_of_their_amounts(pages: Service) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=pages.url, headers=headers, timeout=30, verify=NO_TLS) as client:
        position = (await client.post("/v1/deals/sized-before/events", json=registered())).json()["position"]
        for slug, value in (("sized-a", "5"), ("sized-b", "900000000000"), ("sized-c", "80000000000")):
            await client.post(f"/v1/deals/{slug}/events", json=[registered(), pledged(value=value)])
        query = f"from.position={position}&from.effective_on=2026-01-01&to.effective_on=2026-01-01"
        changed = (await client.get(f"/v1/compare?{query}")).json()["changes"]
        assert list(dict.fromkeys(change["deal"] for change in changed)) == ["sized-b", "sized-c", "sized-a"]
        html = (await client.get(f"/compare?{query}")).text
    assert list(dict.fromkeys(re.findall(r"/deals/(sized-[abc])", html))) == ["sized-b", "sized-c", "sized-a"]


async def test_annual_sums_stand_after_the_others(demo_reader: httpx.AsyncClient) -> None:
    html = (await demo_reader.get("/compare?from.effective_on=2025-06-16&to.effective_on=2025-11-19&lang=en")).text
    sums = html[html.index(">Change in totals<") :].partition("</table>")[0]
    names = [text_of(name) for name in re.findall(r'<th scope="row">(.*?)</th>', sums)]
    assert [("annual" in name) for name in names] == [False] * (len(names) - 1) + [True]


@pytest.mark.parametrize("since", ["from.recorded_at=2025-06-21T14:59:59Z", "from.effective_on=2025-06-16"])
async def test_counts_of_a_comparison_are_those_of_its_lines(demo_reader: httpx.AsyncClient, since: str) -> None:
    html = (await demo_reader.get(f"/compare?{since}&to.effective_on=2025-11-19&lang=en")).text
    counts = html[html.index('class="counts"') :].partition("</p>")[0]
    found = {label: int(n) for label, n in re.findall(r"<span>([^<]*) <strong>(\d+)</strong></span>", counts)}
    assert found == Counter(re.findall(r'data-what="\w+">([^<]*)</strong>', html))
    # What the list leaves out, such as a new part of an amount, is a link away.
    changed = re.findall(r'href="([^"]*)" aria-label="All changes: SK and AWS', html)
    assert len(changed) == 1
    whole = (await demo_reader.get(unescape(changed[0]), headers={"Accept-Language": "en"})).text
    assert "Partnership formed" in whole


def test_new_item_is_shown_with_each_value_that_is_not_its_id() -> None:
    stated = {"metric_id": "jobs--planned", "metric": "jobs", "basis": "planned", "value": "800"}
    changes = [Change(f"/metrics/jobs--planned/{name}", None, value) for name, value in stated.items()]
    [line] = shown("en").lines(changes)
    assert line.after == DOT.join(("Jobs", "planned", "800"))


@pytest.mark.parametrize("path", ["/compare", "/deals/sk-aws-ulsan/compare"])
async def test_comparison_says_where_it_starts_if_no_start_was_chosen(
    demo_reader: httpx.AsyncClient, path: str
) -> None:
    reader_of_english = {"Accept-Language": "en"}
    opened = (await demo_reader.get(path, headers=reader_of_english)).text
    chosen = (await demo_reader.get(f"{path}?from.effective_on=2025-07-01", headers=reader_of_english)).text
    assert "No start was chosen" in opened
    assert "No start was chosen" not in chosen


async def test_table_has_the_changes_of_all_pages_and_none_of_what_is_recorded_while_it_is_sent(
    pages: Service, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portfolio_comparison, "DEALS_PER_READ", 2)
    for number in range(5):
        answer = await pages.client.post(f"/v1/deals/{slug}-{number}/events", json=[registered(slug), pledged()])
        assert answer.status_code == 201
    query = f"from.effective_on=2025-01-01&to.effective_on=2025-12-31&q={slug}"
    listed = (await pages.visitor.get(f"/v1/compare?{query}")).json()["changes"]
    assert len(listed) >= 5
    head = await pages.visitor.head(f"/compare.csv?{query}")
    assert (head.status_code, head.content, "content-length" in head.headers) == (200, b"", False)
    read = ComparisonQueries.changes

    async def changes(*given: Any) -> PortfolioChanges:
        found = await read(*given)
        # The first in the order of the table, or the last.
        more = [registered(slug), pledged(value="1")]
        await pages.client.post(f"/v1/deals/{slug}-{next(numbers)}-more/events", json=more)
        return found

    monkeypatch.setattr(ComparisonQueries, "changes", changes)
    table = await pages.visitor.get(f"/compare.csv?{query}")
    assert table.headers["content-type"] == head.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(table.content.decode("utf-8-sig"))))
    assert [(row["deal"], row["what"]) for row in rows] == [(one["deal"], one["what"]) for one in listed]
