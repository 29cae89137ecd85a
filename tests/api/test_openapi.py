"""The OpenAPI document describes every route, parameter and example as the service handles it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import jsonschema_rs
import msgspec
import pytest

from registry.api.examples import ANNOUNCEMENTS, EVENT, ORGANIZATION_ANNOUNCEMENTS, PRINCIPAL_ANNOUNCEMENTS
from registry.events.types import EVENT_TYPES
from registry.http.problems import PROBLEMS
from tests.api.announcements import pledged, registered
from tests.conftest import drill
from tests.service import Service, openapi_document


async def test_document_has_exactly_the_routes_of_the_service(service: Service) -> None:
    contract = (await service.client.get("/openapi.json")).json()
    documented = {(path, method.upper()) for path, item in contract["paths"].items() for method in item}
    served = {
        (re.sub(r":\w+}", "}", route.path), method)
        for route in service.app.routes
        for method in route.methods
        if method != "OPTIONS" and route.path.startswith(("/v1", "/health", "/metrics", "/openapi", "/log/"))
    }
    assert served - documented == set()
    assert {pair for pair in documented if not pair[0].startswith("/docs")} - served == set()


async def test_every_reference_of_the_document_resolves(visitor: httpx.AsyncClient) -> None:
    contract = (await visitor.get("/openapi.json")).json()

    def references(value: Any) -> Any:
        if isinstance(value, dict):
            yield from [value["$ref"]] if "$ref" in value else []
            for item in value.values():
                yield from references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    for reference in references(contract):
        found = contract
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        assert found


def parameters() -> list[Any]:
    """Return every query parameter with its method, path and schema; a drill for routes that share one with another."""
    found: list[Any] = []
    seen: set[str] = set()
    for path, item in openapi_document()["paths"].items():
        for method, operation in item.items():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "query" and method != "head":
                    values = (method.upper(), path, parameter["name"], parameter["schema"])
                    shared = f"{method} {parameter['name']} {parameter['schema']}"
                    found.append(drill(*values) if shared in seen else values)
                    seen.add(shared)
    return found


# Parameters that another one requires.
WITH = {"roll_up": {"group_by": "organization"}}


async def send(client: httpx.AsyncClient, method: str, url: str, **parameters: str) -> httpx.Response:
    """Return the response; only an error is read, since the feed has no end."""
    async with client.stream(method, url, params=parameters) as answer:
        if answer.status_code >= 400:
            await answer.aread()
        return answer


@pytest.mark.parametrize(
    ("method", "path", "name", "schema"), parameters(), ids=lambda v: v if isinstance(v, str) else ""
)
async def test_documented_parameter_accepts_its_schema_and_refuses_other_values(
    client: httpx.AsyncClient, new_slug: Callable[[], str], method: str, path: str, name: str, schema: dict[str, Any]
) -> None:
    value = (schema.get("examples") or schema.get("enum") or [schema.get("minimum", "true")])[0]
    url = re.sub(r"{\w+}", new_slug(), path)
    answer = await send(client, method, url, **{name: value, **WITH.get(name, {})})
    assert answer.status_code != 400 or answer.json().get("parameter") != name, answer.text
    refused = await send(client, method, url, **{name: "\n"})
    assert (refused.status_code, refused.json()["parameter"]) == (400, name)


async def test_missing_required_parameter_is_refused(visitor: httpx.AsyncClient) -> None:
    contract = (await visitor.get("/openapi.json")).json()
    required = {
        (path, parameter["name"])
        for path, item in contract["paths"].items()
        for parameter in item.get("get", {}).get("parameters", [])
        if parameter["in"] == "query" and parameter["required"]
    }
    assert required == {
        ("/v1/reconcile/preview", "id"),
        ("/v1/reconcile/suggest/entity", "prefix"),
        ("/v1/log/proof/inclusion", "position"),
        ("/v1/log/proof/consistency", "from"),
        ("/v1/import/identifiers", "scheme"),
        ("/v1/search", "q"),
    }
    for path, name in required:
        answer = await visitor.get(path)
        assert (answer.status_code, answer.json()["parameter"]) == (400, name)


async def test_every_example_is_accepted(client: httpx.AsyncClient, new_slug: Callable[[], str]) -> None:
    slug, other = new_slug(), new_slug()
    for kind, first, examples in (
        ("deals", {"type": "deal_registered", "title": {"en": "Another deal"}}, ANNOUNCEMENTS),
        (
            "organizations",
            {"type": "organization_registered", "name": {"en": "Another organization"}},
            ORGANIZATION_ANNOUNCEMENTS,
        ),
        ("principals", {"type": "principal_registered", "name": "Another person"}, PRINCIPAL_ANNOUNCEMENTS),
    ):
        assert (await client.post(f"/v1/{kind}/{other}/events", json={"event": first})).status_code == 201
        last = ""
        for title, announcement in examples.items():
            text = msgspec.json.encode(announcement).decode().replace(EVENT, last)
            body = text.replace("another-deal", other).replace("another-organization", other)
            headers = {"Content-Type": "application/json"}
            answer = await client.post(f"/v1/{kind}/{slug}/events", content=body, headers=headers)
            assert answer.status_code == 201, (title, answer.text)
            last = answer.json()["events"][-1]["id"]


def test_examples_conform_to_the_schemas_of_their_bodies() -> None:
    checked = 0
    document = openapi_document()
    for path in document["paths"].values():
        for operation in path.values():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                schema = {**media["schema"], "components": document["components"]}
                validator = jsonschema_rs.Draft202012Validator(schema)
                for example in media.get("examples", {}).values():
                    validator.validate(example["value"])
                    checked += 1
    assert checked >= len(ANNOUNCEMENTS) + len(ORGANIZATION_ANNOUNCEMENTS)


def test_examples_cover_every_event_type() -> None:
    announcements = [
        *ANNOUNCEMENTS.values(),
        *ORGANIZATION_ANNOUNCEMENTS.values(),
        *PRINCIPAL_ANNOUNCEMENTS.values(),
    ]
    flat = [one for item in announcements for one in (item if isinstance(item, list) else [item])]
    assert {one["event"]["type"] for one in flat} == set(EVENT_TYPES)


async def test_schemas_have_discriminators_patterns_and_no_additional_properties(visitor: httpx.AsyncClient) -> None:
    schemas = (await visitor.get("/openapi.json")).json()["components"]["schemas"]
    event = schemas["Announcement"]["properties"]["event"]
    assert event["discriminator"]["propertyName"] == "type"
    assert event["discriminator"]["mapping"]["pledge_announced"] == "#/components/schemas/PledgeAnnounced"
    assert schemas["PledgeAnnounced"]["additionalProperties"] is False
    assert schemas["Amount"]["properties"]["value"]["anyOf"][0]["pattern"]


async def test_fields_are_optional_in_bodies_and_required_in_answers(visitor: httpx.AsyncClient) -> None:
    schemas = (await visitor.get("/openapi.json")).json()["components"]["schemas"]
    for name, needed in (("Amount", ["currency"]), ("Source", []), ("Horizon", [])):
        assert schemas[name].get("required", []) == needed
        assert schemas[f"{name}Response"]["required"] == list(schemas[name]["properties"])
    title = schemas["DealResponse"]["properties"]["title"]["anyOf"][0]
    assert {"type": "null"} in title["additionalProperties"]["anyOf"]
    assert "until" in schemas["ListedPledge"]["required"]


async def test_redirects_of_merged_records_are_documented(visitor: httpx.AsyncClient) -> None:
    paths = (await visitor.get("/openapi.json")).json()["paths"]
    deal, organization = "/v1/deals/{deal}", "/v1/organizations/{organization}"
    ocds = {"/v1/ocds/releases/{deal}", "/v1/ocds/records/{deal}"}
    leading = {path for path, item in paths.items() if "308" in item.get("get", {}).get("responses", {})}
    assert leading == {deal, f"{deal}/blame", organization, f"{organization}/similar", *ocds}


async def test_problem_type_links_to_its_explanation(client: httpx.AsyncClient, slug: str) -> None:
    problem = (await client.get(f"/v1/deals/{slug}")).json()
    page = await client.get(problem["type"])
    assert page.status_code == 200
    for code in PROBLEMS:
        assert f'id="{code}"' in page.text
    assert problem["type"].endswith("#not_found")


async def test_dry_run_of_a_list_records_nothing(service: Service, slug: str) -> None:
    before = await service.size()
    answer = await service.client.post(f"/v1/deals/{slug}/events?dry_run=true", json=[registered(), pledged()])
    assert answer.status_code == 200
    assert await service.size() == before


async def test_docs_page_loads_only_assets_of_the_service(visitor: httpx.AsyncClient) -> None:
    page = await visitor.get("/docs")
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert "/docs/static/swagger-ui-bundle.js" in assets
    for asset in assets:
        if not asset.startswith("data:"):
            assert asset.startswith("/"), asset
            assert (await visitor.get(asset)).status_code == 200, asset
            assert (await visitor.head(asset)).status_code == 200, asset
    assert (await visitor.get("/docs/static/unknown.js")).status_code == 404


async def test_addresses_of_litestar_lead_to_the_document(visitor: httpx.AsyncClient) -> None:
    """Litestar makes the document on the event loop, and without the licence of the data."""
    for address in ("/docs/openapi", "/docs/openapi/openapi.json"):
        answer = await visitor.get(address)
        assert (answer.status_code, answer.headers["location"]) == (308, "/openapi.json")
