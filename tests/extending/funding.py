"""What the made-up field of deals of `deal_field.py` has; in the copy, `tests/transparency/test_funding.py`."""

from __future__ import annotations

import json
from typing import Any

from registry.cli.asking import FILTERS
from registry.delivery.watch_mail import condition_text
from registry.events.types import EVENT_TYPES
from registry.transparency.bundles import verify_bundle
from tests.api.announcements import announced, pledged, registered
from tests.service import Service
from tests.transparency.conftest import keys, post
from tests.web.test_forms import form_fields

OF_PUBLIC = {"funding": "public"}


async def recorded(service: Service) -> None:
    """Two deals with the field, one of which has it by a revision, and one without it."""
    await post(service, "mill", registered("A mill", funding="public"), pledged())
    revised = announced("2025-07-01", "deal_revised", funding="private")
    await post(service, "dock", registered("A dock", funding="public"), pledged(), revised)
    await post(service, "kiln", registered("A kiln"), pledged())


async def read(service: Service, path: str, **parameters: str) -> Any:
    """The answer to a request."""
    answer = await service.visitor.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_funding_is_in_states_lists_totals_and_exports(service: Service) -> None:
    await recorded(service)
    assert [(await read(service, f"/v1/deals/{deal}"))["funding"] for deal in ("mill", "dock", "kiln")] == [
        "public",
        "private",
        None,
    ]
    found = await read(service, "/v1/deals", **OF_PUBLIC, facets="true")
    assert [(deal["deal"], deal["funding"]) for deal in found["deals"]] == [("mill", "public")]
    assert found["facets"]["funding"] == {"public": 1}
    facets = (await read(service, "/v1/deals", facets="true"))["facets"]["funding"]
    assert facets == {"public": 1, "private": 1}
    before = await read(service, "/v1/deals", **OF_PUBLIC, effective_on="2025-06-30", sort="deal")
    assert [deal["deal"] for deal in before["deals"]] == ["dock", "mill"]
    [column] = (await read(service, "/v1/totals", **OF_PUBLIC))["totals"]["overall"]["columns"]
    assert column["pledges"] == 1
    header, *rows = (await service.visitor.get("/v1/export/deals.csv", params=OF_PUBLIC)).text.splitlines()
    [row] = rows
    assert row.startswith("mill,")
    assert row.split(",")[header.split(",").index("funding")] == "public"
    assert (await service.visitor.get("/v1/deals", params={"funding": "other"})).status_code == 400


async def test_funding_is_certified_and_a_filter_of_feeds_and_watches(service: Service) -> None:
    await recorded(service)
    found = await read(service, "/v1/deals", **OF_PUBLIC, certificate="true")
    assert [state["deal"] for state in found["states"]] == ["mill"]
    result = verify_bundle(json.dumps(found).encode(), await keys(service))
    assert (result.proves.code, result.filters) == ("proves_list", OF_PUBLIC)
    feed = (await service.visitor.get("/v1/events.atom", params=OF_PUBLIC)).text
    assert "A mill" in feed
    assert "A dock" not in feed
    texts = [condition_text("funding", "public", {}, language) for language in ("en", "ko")]
    assert texts == ["Public funds", "공공 재원"]


async def test_funding_is_on_pages_by_its_labels(service: Service) -> None:
    await recorded(service)
    for language, labels in {"en": ("Funding", "Public funds"), "ko": ("재원", "공공 재원")}.items():
        headers = {"Accept-Language": language, "Accept": "text/html"}
        deal = (await service.visitor.get("/deals/mill", headers=headers)).text
        assert f"{labels[0]}: {labels[1]}" in deal
        overview = await service.visitor.get("/", params=OF_PUBLIC, headers=headers)
        assert 'name="funding"' in overview.text
        assert 'data-deal="mill"' in overview.text
        assert 'data-deal="dock"' not in overview.text
        assert labels[1] in overview.text


def test_funding_is_in_forms_and_an_option_of_the_command() -> None:
    for event in ("deal_registered", "deal_revised"):
        assert "event/funding" in form_fields(EVENT_TYPES[event])
    assert FILTERS["funding"] == ("--funding", "Only deals with this source of funds.")
