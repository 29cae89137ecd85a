"""OpenRefine's questions are answered as the Reconciliation Service API 0.2 says, by its own JSON schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs

from tests.service import Service

SCHEMAS = Path(__file__).parent.parent / "vectors" / "reconciliation"


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / name).read_text())


def check(name: str, document: Any) -> None:
    """Validate a document with a schema of the specification."""
    validator = jsonschema_rs.Draft7Validator(schema(name), retriever=lambda uri: schema(uri.rpartition("/")[2]))
    validator.validate(document)


async def reconciled(service: Service, **queries: Any) -> Any:
    """Send queries as OpenRefine does, in a form."""
    answer = await service.visitor.post("/v1/reconcile", data={"queries": json.dumps(queries)})
    assert answer.status_code == 200, answer.text
    check("reconciliation-result-batch.json", answer.json())
    return {name: found["result"] for name, found in answer.json().items()}


async def test_manifest_names_what_the_service_offers(demo: Service) -> None:
    manifest = (await demo.visitor.get("/v1/reconcile")).json()
    check("manifest.json", manifest)
    page = manifest["view"]["url"].replace("{{id}}", "organizations/amazon-web-services")
    assert (await demo.visitor.get(page)).status_code == 200
    preview = manifest["preview"]["url"].replace("{{id}}", "deals/sk-aws-ulsan")
    shown = await demo.visitor.get(preview)
    assert shown.headers["content-type"].startswith("text/html")
    assert "KR-31" in shown.text
    assert (await demo.visitor.get(preview + "-unknown")).status_code == 404


async def test_names_in_either_script_match_one_organization(demo: Service) -> None:
    found = await reconciled(
        demo,
        q0={"query": "Amazon Web Services, Inc.", "type": "organizations"},
        q1={"query": "아마존웹서비스", "type": "organizations", "limit": 3},
        q2={"query": "Zzyzx Holdings", "type": "organizations"},
    )
    for name in ("q0", "q1"):
        assert (found[name][0]["id"], found[name][0]["match"]) == ("organizations/amazon-web-services", True)
    assert not any(candidate["match"] for candidate in found["q2"])


async def test_title_finds_its_deal(demo: Service) -> None:
    title = (await demo.visitor.get("/v1/deals/sk-aws-ulsan")).json()["title"]["en"]
    found = await reconciled(demo, q0={"query": title, "type": "deals"})
    assert (found["q0"][0]["id"], found["q0"][0]["match"]) == ("deals/sk-aws-ulsan", True)


async def test_columns_are_extended_with_properties(demo: Service) -> None:
    proposed = (await demo.visitor.get("/v1/reconcile/extend/properties?type=deals")).json()
    check("data-extension-property-proposal.json", proposed)
    ids = ["deals/sk-aws-ulsan", "organizations/amazon-web-services", "deals/unknown"]
    asked = {"ids": ids, "properties": [{"id": "places"}, {"id": "name_ko"}]}
    answer = await demo.visitor.post("/v1/reconcile", data={"extend": json.dumps(asked)})
    check("data-extension-response.json", answer.json())
    rows = answer.json()["rows"]
    assert rows["deals/sk-aws-ulsan"] == {"places": [{"str": "KR-31"}], "name_ko": []}
    assert rows["organizations/amazon-web-services"]["name_ko"] == [{"str": "아마존웹서비스"}]
    assert rows["deals/unknown"] == {"places": [], "name_ko": []}


async def test_typed_text_is_completed(demo: Service) -> None:
    answer = await demo.visitor.get("/v1/reconcile/suggest/entity", params={"prefix": "Amazon Web Services"})
    check("suggest-entities-response.json", answer.json())
    assert "organizations/amazon-web-services" in [one["id"] for one in answer.json()["result"]]


async def test_malformed_queries_are_refused(demo: Service) -> None:
    for name in ("queries", "extend"):
        answer = await demo.visitor.post("/v1/reconcile", data={name: "{"})
        assert (answer.status_code, answer.json()["parameter"]) == (400, name)
