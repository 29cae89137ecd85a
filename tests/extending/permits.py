"""What the made-up kind of item of `run.py` has without further code; in the copy, `tests/api/test_permits.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry.cli.asking import FILTERS
from registry.events.types import EVENT_TYPES
from registry.queries.deal_conditions import CONDITIONS
from tests.api.announcements import announced, registered
from tests.imports.test_mapping import HEAD, events
from tests.service import Service
from tests.web.test_forms import form_fields

PERMIT = {"permit": "water", "kind": "environmental", "authority": "ulsan-city", "text": {"ko": "취수"}}


async def recorded(service: Service, slug: str) -> dict[str, Any]:
    """A deal with the permit; returns its state."""
    announcements = [registered("A plant"), announced("2025-06-16", "permit_granted", **PERMIT)]
    answer = await service.client.post(f"/v1/deals/{slug}/events", json=announcements)
    assert answer.status_code == 201, answer.text
    state: dict[str, Any] = (await service.client.get(f"/v1/deals/{slug}")).json()
    return state


async def test_permit_is_in_the_state_the_filters_and_the_facets(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    [permit] = (await recorded(service, slug))["permits"]
    assert permit == {**PERMIT, "text": {"ko": "취수", "en": None}, "granted_on": "2025-06-16"}
    for kind, deals in (("environmental", [slug]), ("building", [])):
        found = (await service.client.get("/v1/deals", params={"permit": kind})).json()["deals"]
        assert [deal["deal"] for deal in found if deal["deal"] == slug] == deals
    facets = (await service.client.get("/v1/deals", params={"facets": "true"})).json()["facets"]
    assert facets["permit"]["environmental"] >= 1
    assert "permit" in CONDITIONS
    assert FILTERS["permit"] == ("--permit", "Only deals with a permit of this kind.")


async def test_permit_is_on_pages_by_its_labels(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    await recorded(service, slug)
    for language, labels in {"en": ("Permits", "Environmental"), "ko": ("허가", "환경")}.items():
        for path in (f"/deals/{slug}", "/?permit=environmental"):
            page = await service.visitor.get(path, headers={"Accept-Language": language, "Accept": "text/html"})
            assert page.status_code == 200
            assert labels[1] in page.text, (language, path)
    names = form_fields(EVENT_TYPES["permit_granted"])
    assert {"event/permit", "event/kind", "event/authority"} <= names.keys()


async def test_permits_are_exported(service: Service, new_slug: Callable[[], str]) -> None:
    slug = new_slug()
    await recorded(service, slug)
    answer = await service.client.get("/v1/export/permits.csv", params={"permit": "environmental"})
    header, *rows = answer.text.splitlines()
    assert header.endswith(",permit,kind,authority,text,granted_on")
    assert any(row.startswith(slug) and ",water,environmental,ulsan-city," in row for row in rows)
    deals = (await service.client.get("/v1/export/deals.csv")).text.splitlines()
    assert "permits" in deals[0].split(",")
    assert any(row.startswith(slug) and "water: environmental" in row for row in deals)


def test_permit_is_a_block_of_mappings(tmp_path: Path) -> None:
    block = '[[permit]]\npermit = "water"\nkind = "environmental"\n'
    assert events(tmp_path, HEAD + block, "Id,Name", "1,A plant")["permit_granted"]["event"] == {
        "permit": "water",
        "kind": "environmental",
    }
