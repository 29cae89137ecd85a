"""Releases and records of the Open Contracting Data Standard: valid, and compiled as the standard says."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import ocdsmerge
import pytest
from hypothesis import HealthCheck, given, settings

from registry.domain.history import FoldedStream
from registry.domain.stream_kinds import DEALS
from registry.standards import ocds
from tests.conftest import examples
from tests.domain.builders import LogBuilder
from tests.properties.strategies import logs
from tests.service import Service

PREFIX = "ocds-000000"
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "ocds").glob("*.json")}

quick = settings(
    max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def validator(name: str) -> Any:
    """A validator that finds the schemas that a schema names here, instead of on the web."""

    def retrieve(uri: str) -> Any:
        return SCHEMAS.get(uri.rsplit("/", 1)[-1].removesuffix(".json"), True)

    return jsonschema_rs.Draft4Validator(SCHEMAS[name], retriever=retrieve)


def merge(releases: list[dict[str, Any]]) -> dict[str, Any]:
    """What OCDS's own library compiles releases to, without what identifies the compiled release."""
    compiled = ocdsmerge.Merger(SCHEMAS["release-schema"]).create_compiled_release(releases)
    return {name: value for name, value in compiled.items() if name not in ("id", "date", "tag")}


def in_any_order(value: Any) -> Any:
    """With the objects of lists by id, whose order has no meaning, and without objects whose fields are all gone."""
    if isinstance(value, dict):
        return {name: in_any_order(each) for name, each in value.items() if each != {}}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {each["id"]: in_any_order(each) for each in value}
    return value


@quick
@given(logs())
def test_releases_compile_to_the_deal_as_it_stands(log: LogBuilder) -> None:
    found = ocds.history(PREFIX, log.slug, log.events)
    releases = [
        json.loads(ocds.encode(ocds.release(PREFIX, log.slug, each, is_first=index == 0)), parse_float=Decimal)
        for index, each in enumerate(found.releases)
    ]
    compiled = json.loads(ocds.encode(ocds.compiled_release(PREFIX, log.slug, found)), parse_float=Decimal)
    expected = {name: value for name, value in compiled.items() if name not in ("id", "date", "tag")}
    assert in_any_order(merge(releases)) == in_any_order(expected)


@quick
@given(logs())
def test_compiled_release_has_every_standing_fact_of_the_state(log: LogBuilder) -> None:
    compiled = ocds.history(PREFIX, log.slug, log.events).compiled
    state = FoldedStream(log.slug, DEALS, log.events).state
    planning = compiled.get("planning", {})
    pledges = {each["id"]: each for each in planning["budget"].get("budgetBreakdown", [])}
    for pledge in state.pledges:
        shown = pledges.pop(pledge.pledge)
        assert shown["status"] == pledge.status
        stated = pledge.amount.value if pledge.amount else None
        assert shown.get("amount", {}).get("amount") == (Decimal(stated) if stated is not None else None)
    assert all(each == {"id": each["id"]} for each in pledges.values()), "what a correction removed has only its id"
    assert {each["id"] for each in planning.get("milestones", [])} >= {each.milestone for each in state.milestones}
    members = {party.organization for party in state.parties}
    assert {each["id"] for each in compiled.get("parties", [])} >= members
    stage = planning.get("stage", {}).get("value")
    assert stage == (state.stage.value if state.stage else None)


@pytest.mark.parametrize(
    ("path", "schema"), [("releases", "release-package-schema"), ("records", "record-package-schema")]
)
async def test_packages_of_the_demo_are_valid(demo: Service, path: str, schema: str) -> None:
    valid = validator(schema)
    deals = (await demo.client.get("/v1/deals?limit=100")).json()["deals"]
    assert len(deals) >= 12
    for deal in deals:
        answer = await demo.client.get(f"/v1/ocds/{path}/{deal['deal']}")
        assert answer.status_code == 200
        assert not [f"{error.instance_path}: {error.message}" for error in valid.iter_errors(answer.json())]


async def test_release_of_an_event_stays_as_it_is_while_the_log_grows(demo: Service) -> None:
    whole = (await demo.client.get("/v1/ocds/releases/sk-aws-ulsan")).json()["releases"]
    events = (await demo.client.get("/v1/deals/sk-aws-ulsan/events")).json()["events"]
    assert [release["id"] for release in whole] == [event["id"] for event in events]
    half = events[len(events) // 2]["position"]
    earlier = (await demo.client.get("/v1/ocds/releases/sk-aws-ulsan", params={"position": half})).json()
    assert earlier["releases"] == whole[: len(earlier["releases"])]
    assert 0 < len(earlier["releases"]) < len(whole)


async def test_amounts_are_exact_numbers(demo: Service) -> None:
    text = (await demo.client.get("/v1/ocds/records/aws-korea-2031")).text
    assert '"amount":5000000000,"currency":"USD"' in text


async def test_unknown_deal_has_no_record(demo: Service) -> None:
    assert (await demo.client.get("/v1/ocds/records/no-such-deal")).status_code == 404


async def test_record_of_a_merged_deal_redirects_to_the_other(demo: Service) -> None:
    for slug in ("kept", "duplicate"):
        registered = {"event": {"type": "deal_registered", "title": {"en": "A plant"}}}
        assert (await demo.client.post(f"/v1/deals/{slug}/events", json=registered)).status_code == 201
    before = (await demo.client.get("/v1/deals/duplicate")).json()["position"]
    merged = {"event": {"type": "deal_merged", "into": "kept"}}
    assert (await demo.client.post("/v1/deals/duplicate/events", json=merged)).status_code == 201
    answer = await demo.client.get("/v1/ocds/records/duplicate")
    assert (answer.status_code, answer.headers["location"]) == (308, "/v1/ocds/records/kept")
    earlier = await demo.client.get("/v1/ocds/records/duplicate", params={"position": before})
    assert earlier.status_code == 200, "it was not merged then"


def test_long_documents_are_encoded_in_parts_to_the_same_json() -> None:
    document = {
        "empty": [],
        "none": {},
        "text": 'a "quoted" text',
        "records": [{"releases": [{"id": number, "amounts": [Decimal("1.50")]} for number in range(1_234)]}],
    }
    assert ocds.encode(document) == msgspec.json.Encoder(decimal_format="number").encode(document)
