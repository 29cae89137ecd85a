"""The cells of exported tables are what the list and the log say, whatever text, number or list they hold."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from registry.exports import column_names
from tests.api.announcements import announced, pledged, registered
from tests.api.test_exports import parquet_table
from tests.databases import Server
from tests.service import Service, cloned, running

HARD_TEXTS = [
    'A "quoted", title',
    "+82 line\nbreak\r\nand more",
    "-minus",
    "'",
    " padded ",
    "=1+1",
    "@at",
    "가,나",
    "\ttab",
]


def _hard_items() -> list[dict[str, Any]]:
    """Parties with shares, addresses, milestones, metrics, incentives and setbacks, some of them ended."""
    amount = {"value": "1500000.5", "currency": "USD", "qualifier": "up_to", "figure": "estimated"}
    fund = {"organization": "fund", "share": "12.5", "certainty": "reported", "name": {"en": "=Fund", "ko": "펀드"}}
    place = {"place": "KR-31", "locality": "Ulsan", "address": "-1 Dock Road", "district_code": "31140"}
    stated: tuple[tuple[str, dict[str, Any]], ...] = (
        ("parties_joined", {"parties": [fund, {"organization": "left", "role": "tenant", "share": "1"}]}),
        ("site_announced", {"site": "dock", "name": {"en": "Dock"}, **place}),
        ("milestone_scheduled", {"milestone": "power", "kind": "power_on", "planned": "2027", "power_mw": "41.50"}),
        ("metric_reported", {"metric": "jobs", "basis": "planned", "date": "2027", "value": "250", "site": "dock"}),
        (
            "incentive_granted",
            {"incentive": "credit", "kind": "tax_credit", "amount": amount, "authority": "ulsan-city"},
        ),
        ("incentive_granted", {"incentive": "loan", "text": {"ko": "대출"}}),
        ("setback_reported", {"setback": "suit", "kind": "litigation", "text": {"en": "@court"}}),
        ("setback_reported", {"setback": "storm"}),
        ("party_left", {"organization": "left", "role": "tenant"}),
        ("incentive_ended", {"incentive": "loan"}),
        ("setback_resolved", {"setback": "storm"}),
    )
    return [announced("2025-06-20", type, **fields) for type, fields in stated]


def _hard_deal() -> list[dict[str, Any]]:
    registration = registered()
    registration["event"] |= {
        "title": {"en": HARD_TEXTS[0], "ko": HARD_TEXTS[1], "de": "Ein Werk", "ja": "工場"},
        "sectors": ["energy", "batteries"],
        "classifications": {"isic": ["35", "27"], "nace": ["D"]},
    }
    numbers = pledged(pledge="numbers")
    numbers["event"] |= {
        "amount": {
            "value": "5000000000.50",
            "currency": "USD",
            "qualifier": "about",
            "wording": 'some "7조", in all',
            "price_year": 2024,
            "stated_as": [{"value": "7000000000000", "currency": "KRW"}, {"value": "1.0", "currency": "EUR"}],
        },
        "by": ["sk", "aws"],
        "horizon": {"until": "2031"},
    }
    low = pledged(pledge="low")
    low["event"]["amount"] = {"low": "0.000001", "currency": "EUR", "qualifier": "at_least"}
    bounds = pledged(pledge="bounds")
    bounds["event"]["amount"] = {"low": "3", "high": "5", "currency": "JPY"}
    silent = announced("2025-06-17", "pledge_announced", pledge="silent")
    parties = [
        {"organization": "sk", "role": "investor"},
        {"organization": "aws", "role": "investor"},
        {"organization": "aws", "role": "operator"},
    ]
    return [
        registration,
        numbers,
        low,
        bounds,
        silent,
        announced("2025-06-18", "pledge_withdrawn", pledge="bounds"),
        announced("2025-06-18", "parties_joined", parties=parties),
        announced("2025-06-18", "site_announced", site="b", place="KR-31"),
        announced("2025-06-18", "site_announced", site="a", place="KR-11"),
        announced("2025-06-19", "site_announced", site="c", place="KR-31"),
        announced("2025-06-19", "stage_changed", stage="signed"),
        announced("2025-06-19", "deals_related", relation="overlaps", deal="title-2", pledge="numbers"),
        announced("2025-06-19", "deals_related", relation="separate_from", deal="title-3"),
        announced("2025-06-19", "deals_related", relation="part_of", deal="title-4", pledge="numbers"),
        announced("2025-06-19", "deal_identified", identifiers=[{"scheme": "krx", "value": "A:1"}]),
        *_hard_items(),
    ]


@pytest_asyncio.fixture(scope="module")
async def filled(server: Server, admin: Any) -> AsyncIterator[Service]:
    """A service with a deal that has everything, and deals with titles that formats have trouble with."""
    async with cloned(server, admin, "exported_cells") as settings, running(settings) as service:
        lines = [{"deal": f"title-{number}", **registered(text)} for number, text in enumerate(HARD_TEXTS)]
        lines += [{"deal": "title-4", **pledged(pledge="whole", value="9000000000")}]
        seen = announced("2025-06-19", "status_observed", stage="construction", certainty="suspected")
        lines += [{"deal": "title-5", **seen}]
        lines += [{"deal": "hard", **announcement} for announcement in _hard_deal()]
        answer = await service.client.post(
            "/v1/import?atomic=true",
            content=b"\n".join(json.dumps(line).encode() for line in lines),
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert answer.status_code == 200, answer.text
        assert all(json.loads(line)["status"] == 201 for line in answer.text.splitlines()), answer.text
        yield service


def _amount(pledge: dict[str, Any]) -> str:
    amount = pledge["amount"]
    numbers = amount["value"] or " to ".join(n for n in (amount["low"], amount["high"]) if n)
    status = "withdrawn" if pledge["status"] == "withdrawn" else None
    parts = (amount["qualifier"], amount["currency"], numbers, pledge["amount_basis"], pledge["commitment"], status)
    return f"{pledge['pledge']}: {' '.join(part for part in parts if part)}"


def deal_cells(deal: dict[str, Any], state: dict[str, Any]) -> list[Any]:
    """The cells of a deal, from the list and from its state."""
    parties = [one for one in state["parties"] if one["left_on"] is None]
    granted = [one for one in state["incentives"] if one["status"] != "ended"]
    stage = deal["stage"] or {}
    title = {language: text for language, text in (deal["title"] or {}).items() if text is not None}
    return [
        deal["deal"],
        title.get("en"),
        title.get("ko"),
        json.dumps(title, ensure_ascii=False, separators=(",", ":"), sort_keys=True) if title else None,
        deal["kind"],
        *(stage.get(name) for name in ("value", "basis", "since", "observed_on", "certainty")),
        "; ".join(deal["sectors"]),
        "; ".join(f"{axis}:{code}" for axis, codes in (deal["classifications"] or {}).items() for code in codes),
        "; ".join(f"{one['scheme']}:{one['value']}" for one in deal["identifiers"]),
        "; ".join(deal["organizations"]),
        "; ".join(f"{one['organization']}: {one['role']}" for one in parties if one["role"]),
        "; ".join(f"{one['organization']}: {one['share']}%" for one in parties if one["share"]),
        "; ".join(deal["places"]),
        "; ".join(_amount(pledge) for pledge in deal["pledges"] if pledge["amount"]),
        "; ".join(f"{one['pledge']}: {', '.join(one['flags'])}" for one in by_id(deal["pledges"]) if one["flags"]),
        "; ".join(f"{one['incentive']}: {one['kind']} {_stated(one['amount'])}" for one in granted),
        "; ".join(f"{one['setback']}: {one['kind']}" for one in state["setbacks"] if one["resolved_on"] is None),
        "; ".join(f"{relation['relation']} {relation['deal']}" for relation in deal["relations"]),
    ]


def _stated(amount: dict[str, Any]) -> str:
    return f"{amount['qualifier']} {amount['currency']} {amount['value']}"


def by_id(pledges: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pledges in the order of their ids."""
    return sorted(pledges, key=lambda one: str(one["pledge"]))


def pledge_cells(deal: dict[str, Any], pledge: dict[str, Any]) -> list[Any]:
    """The cells of a pledge, from the list."""
    amount, title = pledge["amount"] or {}, deal["title"] or {}
    return [
        deal["deal"],
        title.get("en"),
        title.get("ko"),
        (deal["stage"] or {}).get("value"),
        *(pledge[name] for name in ("pledge", "status", "commitment", "amount_basis")),
        *(
            amount.get(name)
            for name in ("qualifier", "value", "low", "high", "currency", "wording", "figure", "price_year")
        ),
        "; ".join(f"{other['currency']} {other['value']}" for other in amount.get("stated_as", ())),
        "; ".join(pledge["by"]),
        None,
        pledge["announced_on"],
        pledge["announced_on"],
        pledge["until"],
        *("; ".join(pledge[name]) for name in ("flags", "part_of", "superseded_by")),
    ]


FORMULAS = ("=", "+", "-", "@", "\t", "\n", "\r", "＝", "＋", "－", "＠")
"""What OWASP lists for CSV injection."""


def written(rows: list[list[Any]]) -> str:
    """Rows as Python writes CSV, with an apostrophe before what a spreadsheet would run."""
    text = io.StringIO()
    csv.writer(text).writerows(
        [f"'{c}" if isinstance(c, str) and c.startswith(FORMULAS) else c for c in row] for row in rows
    )
    return text.getvalue()


async def test_csv_has_the_bytes_that_the_list_makes(filled: Service) -> None:
    for query in ("", "?organization=aws", "?effective_on=2025-06-18", "?position=12", "?published_on=2025-06-18"):
        path = f"/v1/deals{query}{'&' if query else '?'}limit=1000"
        deals = (await filled.visitor.get(path)).json()["deals"]
        found = (await filled.visitor.get(f"/v1/export/deals.csv{query}")).text
        asked = query if "organization" not in query else ""
        states = [(await filled.visitor.get(f"/v1/deals/{deal['deal']}{asked}")).json() for deal in deals]
        assert found == written([list(column_names("deals")), *map(deal_cells, deals, states)])
        pledges = [pledge_cells(deal, pledge) for deal in deals for pledge in deal["pledges"]]
        found = (await filled.visitor.get(f"/v1/export/pledges.csv{query}")).text
        assert found == written([list(column_names("pledges")), *pledges])


@pytest.mark.parametrize("kind", ["parties", "sites", "milestones", "metrics", "incentives", "setbacks"])
async def test_table_of_items_has_what_the_state_has(filled: Service, kind: str) -> None:
    state = (await filled.visitor.get("/v1/deals/hard")).json()
    answer = await filled.visitor.get(f"/v1/export/{kind}.csv")
    rows = [row for row in csv.DictReader(io.StringIO(answer.text)) if row["deal"] == "hard"]
    assert len(rows) == len(state[kind])
    for row, item in zip(rows, state[kind], strict=True):
        given = {**item, **(item.get("amount") or {}), **(item.get("horizon") or {})}
        for name in row.keys() & given.keys():
            cell = given[name]
            if isinstance(cell, dict):
                stated = {language: text for language, text in cell.items() if text is not None}
                cell = json.dumps(stated, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
            elif isinstance(cell, list):
                cell = "; ".join(cell)
            assert row[name] == (
                "" if cell is None else written([[cell, ""]]).rpartition(",")[0].strip('"').replace('""', '"')
            ), name


async def test_amounts_carry_their_flags_and_what_they_are_part_of(filled: Service) -> None:
    """In every table, and in the lines of JSON as in the list."""
    deals = (await filled.visitor.get("/v1/deals?limit=1000")).json()["deals"]
    [hard] = [deal for deal in deals if deal["deal"] == "hard"]
    numbers = next(pledge for pledge in hard["pledges"] if pledge["pledge"] == "numbers")
    assert numbers["flags"]
    assert numbers["part_of"]
    lines = (await filled.visitor.get("/v1/export/pledges.ndjson")).text.splitlines()
    assert [json.loads(line) for line in lines if json.loads(line)["flags"]] == [{"deal": "hard", **numbers}]
    found = (await filled.visitor.get("/v1/export/pledges.parquet")).content
    flagged = [row for row in parquet_table(found) if row["flags"]]
    assert [(row["pledge"], row["flags"], row["part_of"]) for row in flagged] == [
        ("numbers", numbers["flags"], numbers["part_of"])
    ]


async def test_lines_of_deals_have_their_items_as_the_api_shows_them(filled: Service) -> None:
    for point in ("", "effective_on=2025-06-17", "published_on=2050-01-01"):
        listed = (await filled.visitor.get(f"/v1/deals?limit=1000&{point}")).json()["deals"]
        lines = (await filled.visitor.get(f"/v1/export/deals.ndjson?{point}")).text.splitlines()
        assert len(lines) == len(listed)
        for line, deal in zip(map(json.loads, lines), listed, strict=True):
            state = (await filled.visitor.get(f"/v1/deals/{deal['deal']}?{point}")).json()
            items = {
                name: [{field: value for field, value in item.items() if field != "claims"} for item in state[name]]
                for name in ("parties", "sites", "milestones", "metrics", "incentives", "setbacks")
            }
            assert line == deal | items


async def test_lines_of_events_are_the_events_of_the_log(filled: Service) -> None:
    listed = (await filled.visitor.get("/v1/events?limit=1000")).json()["events"]
    for query in ("", "?type=pledge_announced,deal_registered", "?deal=hard"):
        chosen = [
            event
            for event in listed
            if (not query.startswith("?type") or event["type"] in ("pledge_announced", "deal_registered"))
            and (query != "?deal=hard" or event.get("deal") == "hard")
        ]
        text = (await filled.visitor.get(f"/v1/export/events.ndjson{query}")).text
        lines = [json.loads(line) for line in text.splitlines()]
        # An export leaves out the fields of a source that were not stated.
        stated = [[{n: v for n, v in source.items() if v is not None} for source in e["sources"]] for e in chosen]
        assert lines == [{**event, "sources": sources} for event, sources in zip(chosen, stated, strict=True)]
