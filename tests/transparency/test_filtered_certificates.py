"""Certificates of answers with each filter verify, and none in which a deal or an amount was changed does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import fields

from registry.api import portfolio
from registry.errors import LogCorrupt
from registry.queries import deal_conditions
from registry.queries.deal_conditions import CONDITIONS
from registry.schemas.deal_query import DealListQuery
from registry.transparency.bundles import verify_bundle
from registry.transparency.checkpoint import VerifierKey
from tests.api.announcements import announced, registered
from tests.conftest import drill
from tests.service import Service
from tests.transparency.conftest import keys, post
from tests.transparency.findings import raises_finding
from tests.transparency.test_certificate import DATA

FILTERS: dict[str, dict[str, str]] = {
    "q": {"q": "Ulsam"},
    "organization": {"organization": "acme"},
    "role": {"role": "partner"},
    "region": {"region": "KR-31"},
    "extent": {"region": "KR-31", "extent": "within"},
    "sector": {"sector": "ai"},
    "stage": {"stage": "construction"},
    "commitment": {"commitment": "binding"},
    "kind": {"kind": "programme"},
    "classification": {"classification": "technology:solar"},
    "identifier": {"identifier": "ocid:a-1"},
    "share_min": {"share_min": "60"},
    "share_max": {"organization": "acme", "share_max": "60"},
    "metric": {"metric": "jobs"},
    "metric_basis": {"metric": "jobs", "metric_basis": "planned"},
    "metric_min": {"metric": "gpus", "metric_min": "100"},
    "metric_max": {"metric": "gpus", "metric_max": "100"},
    "metric_unit": {"metric": "capacity_per_year", "metric_unit": "GWh", "metric_min": "5"},
    "incentive": {"incentive": "grant"},
    "setback": {"setback": "litigation"},
    "currency": {"currency": "USD"},
    "amount_min": {"currency": "USD", "amount_min": "2000"},
    "amount_max": {"currency": "KRW", "amount_max": "1000"},
    "updated_since": {"updated_since": "BEFORE_THE_LAST"},
}
"""An example of each filter, which some of the deals of `told` meet."""

POINTS = {"from.effective_on": "2025-06-30", "to.effective_on": "2025-07-02"}


async def told(service: Service) -> str:
    """Record five deals that differ in all that can be filtered by. Returns the time before the last event."""
    for slug, name in (("acme", "Acme Works"), ("acme-corp", "Acme Corporation")):
        named = {"event": {"type": "organization_registered", "name": {"en": name}}, "effective_on": "2025-01-01"}
        await post(service, slug, named, kind="organizations")
    merge = {"event": {"type": "organization_merged", "into": "acme", "reason": "the same"}}
    await post(service, "acme-corp", merge, kind="organizations")

    def joined(organization: str, role: str, **more: Any) -> dict[str, Any]:
        party = {"organization": organization, "role": role, **more}
        return announced("2025-06-16", "parties_joined", parties=[party])

    def pledge(value: str, currency: str, commitment: str, **more: Any) -> dict[str, Any]:
        amount = {"value": value, "currency": currency}
        return announced("2025-06-16", "pledge_announced", pledge="all", amount=amount, commitment=commitment, **more)

    def site(place: str) -> dict[str, Any]:
        return announced("2025-06-16", "site_announced", site=place.lower(), place=place)

    def metric(name: str, **more: Any) -> dict[str, Any]:
        return announced("2025-06-16", "metric_reported", metric=name, **more)

    facts: dict[str, list[dict[str, Any]]] = {
        "mill": [
            registered("A mill", sectors=["ai"], kind="programme", classifications={"technology": ["solar"]}),
            joined("acme-corp", "investor", share="51"),
            announced("2025-06-16", "incentive_granted", incentive="land", kind="grant"),
            metric("jobs", basis="planned", value="300"),
            pledge("1000", "USD", "intention"),
            site("KR-31"),
        ],
        "dock": [
            registered("A dock", sectors=["energy"], kind="investment"),
            joined("bolt", "partner", name={"en": "Bolt of Ulsan"}, share="70"),
            announced("2025-06-16", "setback_reported", setback="suit", kind="litigation"),
            metric("gpus", basis="planned", value="5000"),
            pledge("5000", "USD", "binding"),
            site("US"),
            site("KR-31"),
        ],
        "kiln": [
            registered("A kiln", sectors=["ai"]),
            metric("capacity_per_year", basis="target", value="8", unit="GWh"),
            metric("gpus", basis="actual", value="20"),
            pledge("900", "KRW", "binding", by=["bolt"]),
            announced("2025-06-16", "stage_changed", stage="construction"),
        ],
        "yard": [
            registered("A yard"),
            announced("2025-06-16", "deal_identified", identifiers=[{"scheme": "ocid", "value": "a-1"}]),
            pledge("70", "EUR", "pledge"),
        ],
    }
    for deal, announcements in facts.items():
        await post(service, deal, *announcements)
    amount = {"value": "7000", "currency": "USD"}
    last = (await service.visitor.get("/v1/events", params={"limit": 1000})).json()["events"][-1]["recorded_at"]
    grown = announced("2025-07-01", "pledge_revised", pledge="all", amount=amount)
    (receipt,) = await post(service, "dock", grown)
    return str(receipt["recorded_at"]) if receipt["recorded_at"] > last else last


def parameters(name: str, since: str, *, of_totals: bool = False) -> dict[str, str]:
    """The parameters of the example of a filter."""
    given = {key: since if value == "BEFORE_THE_LAST" else value for key, value in FILTERS[name].items()}
    return {"pledged_in" if of_totals and key == "currency" else key: value for key, value in given.items()}


async def bundle(service: Service, path: str, params: dict[str, str]) -> dict[str, Any]:
    answer = await service.visitor.get(path, params={"certificate": "true", **params})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def forged(found: dict[str, Any], whole: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What somebody may do to a certificate of a list; `whole` is the one without a filter."""
    states, deals = found["states"], found["deals"]
    chosen = {state["deal"] for state in states}
    other = next(state for state in whole["states"] if state["deal"] not in chosen)
    yield "a state left out", {"states": states[1:]}
    yield "a state added", {"states": sorted([*states, other], key=lambda state: str(state["deal"]))}
    changed = json.loads(json.dumps(states))
    changed[0]["pledges"][0]["amount"]["value"] = "1"
    yield "an amount changed", {"states": changed}
    yield "the filter dropped", {"query": {}}
    yield (
        "a deal's events left out",
        {
            "deals": [deal for deal in deals if deal["deal"] != states[0]["deal"]],
            "states": states[1:],
        },
    )
    at = next(number for number, deal in enumerate(deals) if deal["deal"] == states[0]["deal"])
    events = deals[at]["events"]
    pledge = next(number for number, event in enumerate(events) if '"pledge_announced"' in event["content"])
    wrong = {**events[pledge], "content": events[pledge]["content"].replace('"amount":{', '"amount":{"low":"1",')}
    rewritten = [*events[:pledge], wrong, *events[pledge + 1 :]]
    yield "an event rewritten", {"deals": [*deals[:at], {**deals[at], "events": rewritten}, *deals[at + 1 :]]}
    yield "the last event left out", {"deals": [*deals[:at], {**deals[at], "events": events[:-1]}, *deals[at + 1 :]]}


def test_every_filter_can_be_certified_and_has_an_example() -> None:
    assert {field.name for field in fields(DealListQuery)} == CONDITIONS.keys() == FILTERS.keys()


@pytest.mark.parametrize("names", [("q", "organization", "extent", "currency"), drill(tuple(FILTERS))])
async def test_lists_comparisons_and_totals_with_each_filter_are_proved(
    service: Service, names: tuple[str, ...]
) -> None:
    since = await told(service)
    verifiers = await keys(service)
    whole = await bundle(service, "/v1/deals", {})

    def verified(found: dict[str, Any]) -> str:
        result = verify_bundle(json.dumps(found).encode(), verifiers)
        assert result.filters.keys() == {key for key in FILTERS[name] if key in CONDITIONS}
        return result.proves.code

    for name in names:
        params = parameters(name, since)
        found = await bundle(service, "/v1/deals", params)
        listed = (await service.visitor.get("/v1/deals", params={"sort": "deal", **params})).json()["deals"]
        slugs = [deal["deal"] for deal in listed]
        assert 0 < len(slugs) < 4, name
        assert [state["deal"] for state in found["states"]] == slugs, name
        assert verified(found) == "proves_list", name
        for what, change in forged(found, whole):
            with raises_finding(LogCorrupt, None):
                pytest.fail(f"{name}: {what}: {verify(found, change, verifiers)}")

        compared = await bundle(service, "/v1/compare", {**POINTS, **params})
        stated = (await service.visitor.get("/v1/compare", params={**POINTS, **params})).json()
        assert [(c["deal"], c["what"]) for c in compared["changes"]] == [
            (c["deal"], c["what"]) for c in stated["changes"]
        ]
        assert compared["totals"] == {side: stated["totals"][side] for side in ("from", "to")}
        assert verified(compared) == "proves_comparison", name

        asked = parameters(name, since, of_totals=True)
        total = await bundle(service, "/v1/totals", asked)
        overall = (await service.visitor.get("/v1/totals", params=asked)).json()["totals"]["overall"]
        assert total["total"]["columns"] == overall["columns"], name
        assert verified(total) == "proves_total", name
        with raises_finding(LogCorrupt, "bundle_total"):
            verify(total, {"query": {}}, verifiers)


def verify(found: dict[str, Any], change: dict[str, Any], verifiers: list[VerifierKey]) -> str:
    """What a changed certificate proves, if it verifies; a field is taken away by an ellipsis."""
    changed = {name: value for name, value in {**found, **change}.items() if value is not ...}
    return verify_bundle(json.dumps(changed).encode(), verifiers).proves.code


async def test_words_are_proved_by_names_of_organizations_and_what_misspelt_ones_were_taken_for_is_checked(
    service: Service,
) -> None:
    await told(service)
    verifiers = await keys(service)
    by_record = await bundle(service, "/v1/deals", {"q": "acme corporation"})
    assert [state["deal"] for state in by_record["states"]] == ["mill"]
    # The kiln's pledge is of an organization that only another deal names.
    by_other = await bundle(service, "/v1/deals", {"q": "bolt of ulsan"})
    assert [state["deal"] for state in by_other["states"]] == ["dock", "kiln"]
    # By the place of its site, and by the name of a party, with a mistake.
    found = await bundle(service, "/v1/deals", {"q": "ulsam"})
    assert [state["deal"] for state in found["states"]] == ["dock", "kiln", "mill"]
    assert found["similar"] == {"ulsam": ["ulsan"]}
    result = verify_bundle(json.dumps(found).encode(), verifiers)
    assert result.similar == {"ulsam": ("ulsan",)}
    taken: list[dict[str, list[str]]] = [{}, {"ulsam": []}, {"ulsam": ["kiln"]}, {"ulsam": ["ulsan", "yard"]}]
    for wrong in taken:
        with raises_finding(LogCorrupt, "bundle_words"):
            verify(found, {"similar": wrong}, verifiers)
    with raises_finding(LogCorrupt, "bundle_words"):
        verify(by_record, {"similar": {"acme": ["acne"]}}, verifiers)
    some: list[list[Any]] = [by_record["organizations"][1:], []]
    for left in some:
        with raises_finding(LogCorrupt, "bundle_deals"):
            verify(by_record, {"organizations": left}, verifiers)
    with raises_finding(LogCorrupt, "bundle_organizations"):
        verify(by_record, {"organizations": ...}, verifiers)


async def test_larger_log_is_certified_with_the_names_that_words_were_found_by(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await told(service)
    monkeypatch.setattr(portfolio, "MAX_CERTIFIED", 16)
    verifiers = await keys(service)
    for params, deals, named in (
        ({"q": "acme corporation"}, ["mill"], {"acme", "acme-corp"}),
        # The dock is in the certificate, because it names the organization by which the kiln is found.
        ({"q": "kiln bolt"}, ["kiln"], {"acme-corp"}),
        ({"q": "kiln ulsam"}, ["kiln"], {"acme-corp"}),
        ({"organization": "acme"}, ["mill"], {"acme-corp"}),
        ({"organization": "acme-corp"}, ["mill"], {"acme-corp"}),
    ):
        found = await bundle(service, "/v1/deals", params)
        assert [state["deal"] for state in found["states"]] == deals
        assert {one["organization"] for one in found["organizations"]} == named
        assert len(found["deals"]) < 4
        assert verify(found, {}, verifiers) == "proves_list_of_these_deals"
        compared = await bundle(service, "/v1/compare", {**POINTS, **params})
        assert verify(compared, {}, verifiers) == "proves_comparison_of_these_deals"
        # What is there cannot be left out or changed; that there is nothing else is the registry's statement.
        changes: list[dict[str, Any]] = [{"states": []}, {"query": {"q": "yard"}}, {"deals": []}]
        for change in changes:
            with raises_finding(LogCorrupt, None):
                verify(found, change, verifiers)


@pytest.mark.parametrize("path", ["/v1/deals", "/v1/totals", "/v1/compare"])
async def test_filter_without_a_condition_is_refused_by_its_name(
    service: Service, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    await told(service)
    monkeypatch.delitem(deal_conditions.CONDITIONS, "sector")
    points = POINTS if path == "/v1/compare" else {}
    answer = await service.visitor.get(path, params={"certificate": "true", "sector": "ai", **points})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_query")
    assert answer.json()["params"]["parameter"] == "sector"
    assert "sector" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("name", "key", "change"),
    [
        # Made when only region, sector, stage and classification could be certified.
        ("total.v1.json", "portfolio.v1.pub", {"query": {"group_by": ["organization"], "currency": "KRW"}}),
        ("deals.v1.json", "portfolio.v1.pub", {"query": {"sector": "ai"}}),
        ("comparison.v1.json", "portfolio.v1.pub", {"query": {"sector": "ai"}}),
        ("deals-with-words.v1.json", "deals-with-words.v1.pub", {"query": {"q": "kiln"}}),
    ],
)
def test_certificate_made_before_still_verifies(name: str, key: str, change: dict[str, Any]) -> None:
    verifiers = [VerifierKey.parse((DATA / key).read_text().strip())]
    found = json.loads((DATA / name).read_bytes())
    assert verify(found, {}, verifiers) in ("proves_total", "proves_list", "proves_comparison")
    with raises_finding(LogCorrupt, None):
        verify(found, {"similar": ..., **change}, verifiers)
