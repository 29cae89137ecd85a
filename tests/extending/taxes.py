"""What the made-up field of amounts of `amount_field.py` has; in the copy, `tests/api/test_taxes.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry.cli import summaries
from registry.events.types import EVENT_TYPES
from tests.api.announcements import announced, registered
from tests.imports.test_mapping import HEAD, events
from tests.service import Service
from tests.web.test_forms import form_fields

AMOUNT = {"value": "5000000000", "currency": "USD", "tax": "included"}
GRANTED = {"incentive": "credit", "kind": "tax_credit", "amount": AMOUNT}


async def recorded(service: Service, slug: str) -> dict[str, Any]:
    """A deal with two amounts that have the field; returns its state."""
    announcements = [
        registered("A plant"),
        announced("2025-06-16", "pledge_announced", pledge="total", amount=AMOUNT),
        announced("2025-06-16", "incentive_granted", **GRANTED),
    ]
    answer = await service.client.post(f"/v1/deals/{slug}/events", json=announcements)
    assert answer.status_code == 201, answer.text
    state: dict[str, Any] = (await service.client.get(f"/v1/deals/{slug}")).json()
    return state


async def test_tax_is_in_states_lists_and_exports(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    state = await recorded(service, slug)
    assert [state[name][0]["amount"]["tax"] for name in ("pledges", "incentives")] == ["included", "included"]
    assert "(Tax: included)" in summaries.amount(state["pledges"][0]["amount"])
    listed = (await service.client.get("/v1/deals", params={"q": slug})).json()["deals"]
    assert [deal["pledges"][0]["amount"]["tax"] for deal in listed if deal["deal"] == slug] == ["included"]
    for table in ("pledges", "incentives"):
        header, *rows = (await service.client.get(f"/v1/export/{table}.csv")).text.splitlines()
        [row] = (row for row in rows if row.startswith(slug))
        assert row.split(",")[header.split(",").index("tax")] == "included"


async def test_tax_is_on_pages_and_in_forms_by_its_label(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    await recorded(service, slug)
    for language, label in {"en": "Tax", "ko": "부가세"}.items():
        page = await service.visitor.get(f"/deals/{slug}", headers={"Accept-Language": language, "Accept": "text/html"})
        assert f"{label}: included" in page.text, language
    assert "event/amount/tax" in form_fields(EVENT_TYPES["pledge_announced"])


async def test_tax_is_a_changed_field_of_the_comparison(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    await recorded(service, slug)
    revised = announced("2025-07-16", "pledge_revised", pledge="total", amount={**AMOUNT, "tax": "excluded"})
    answer = await service.client.post(f"/v1/deals/{slug}/events", json=[revised])
    [change] = [one for one in answer.json()["changes"] if one["field"] == "/pledges/total/amount"]
    assert (change["before"]["tax"], change["after"]["tax"]) == ("included", "excluded")


def test_tax_is_a_field_of_blocks_of_mappings(tmp_path: Path) -> None:
    block = '[[pledge]]\npledge = "total"\namount = { column = "Capex" }\ncurrency = "USD"\ntax = { column = "Tax" }\n'
    event = events(tmp_path, HEAD + block, "Id,Name,Capex,Tax", "1,A plant,5,Included")["pledge_announced"]["event"]
    assert event["amount"] == {"value": "5", "currency": "USD", "tax": "included"}
