"""Merged deals: relations to them count for the deal that they were merged into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from tests.api.announcements import announced, pledged, registered


async def record(client: httpx.AsyncClient, deal: str, *events: dict[str, Any]) -> int:
    """Record events of a deal; return the log position."""
    answer = await client.post(f"/v1/deals/{deal}/events", json=list(events))
    assert answer.status_code == 201, answer.text
    return int(answer.json()["position"])


def related(deal: str, relation: str = "part_of", **pledges: str) -> dict[str, Any]:
    return announced("2025-06-16", "deals_related", relation=relation, deal=deal, **pledges)


async def bounds(client: httpx.AsyncClient, **asked: Any) -> tuple[str, str]:
    answer = await client.get("/v1/totals", params=asked)
    assert answer.status_code == 200, answer.text
    (column,) = answer.json()["totals"]["overall"]["columns"]
    return column["low"], column["high"]


async def incoming(client: httpx.AsyncClient, deal: str) -> list[tuple[str, str, str | None]]:
    answer = await client.get(f"/v1/deals/{deal}", params={"expand": "incoming"})
    assert answer.status_code == 200, answer.text
    return [(r["deal"], r["relation"], r["other_pledge"]) for r in answer.json()["incoming"]]


async def test_relation_to_a_merged_deal_counts_for_its_survivor_in_totals_and_incoming_relations(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    """a=100, b=100, c=30 is part of b, b is merged into a: the lower bound is 100."""
    a, b, c = sorted(new_slug() for _ in range(3))
    sector = f"s-{a}"
    await record(client, a, registered(sectors=[sector]), pledged(value="100"))
    await record(client, b, registered(sectors=[sector]), pledged(value="100"))
    position = await record(client, c, registered(sectors=[sector]), pledged(value="30"), related(b))
    assert await bounds(client, sector=sector) == ("200", "200")
    merged = await record(client, b, {"event": {"type": "deal_merged", "into": a, "reason": "the same deal"}})
    assert await bounds(client, sector=sector) == ("100", "100")
    assert await incoming(client, a) == [(c, "part_of", None)]
    assert await bounds(client, sector=sector, position=position) == ("200", "200")
    await record(client, b, {"event": {"type": "deal_unmerged", "reason": "two deals"}})
    assert await bounds(client, sector=sector) == ("200", "200")
    assert await bounds(client, sector=sector, position=merged) == ("100", "100")
    assert await incoming(client, a) == []
    assert await incoming(client, b) == [(c, "part_of", None)]


async def test_relation_to_a_pledge_of_a_merged_deal_counts_for_the_pledge_with_the_same_id(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    a, b, c, d, e = sorted(new_slug() for _ in range(5))
    await record(client, a, registered(), pledged())
    other = announced("2025-06-16", "pledge_announced", pledge="other", amount={"value": "1", "currency": "USD"})
    await record(client, b, registered(), pledged(), other)
    await record(client, c, registered(), pledged(), related(b, other_pledge="total"))
    await record(client, d, registered(), pledged(), related(b, other_pledge="other"))
    await record(client, e, registered(), pledged(), related(b, "supersedes", other_pledge="other"))
    await record(client, b, {"event": {"type": "deal_merged", "into": a, "reason": "the same deal"}})
    assert await incoming(client, a) == [(c, "part_of", "total"), (d, "part_of", None)]
    answer = await client.get(f"/v1/deals/{e}", params={"expand": "incoming"})
    assert [flag["rule"] for flag in answer.json()["remarks"]["flags"]] == ["supersedes-no-pledge"]
