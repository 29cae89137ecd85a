"""Requests that Schemathesis generates from the OpenAPI document are answered as it documents.

The requests are few, and the same in every run. `make drills` sends ten times as many, and invalid ones too;
`REGISTRY_TEST_EXAMPLES=100 make test ARGS="-k fuzz"` sends a hundred times as many valid ones.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, checks

from tests.conftest import drill, examples
from tests.service import Service, openapi_document

# Selected by `make drills`.
pytestmark = pytest.mark.hypothesis

EXAMPLES = examples(2)

DOCUMENT = openapi_document()
CONTRACT = schemathesis.openapi.from_dict(DOCUMENT)
# A valid request may still be refused by a domain rule, or because a place or a day does not exist.
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@schemathesis.serializer("application/x-ndjson")
def serialize_line(ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    """Encode the line of an import."""
    return json.dumps(value).encode()


def cases() -> Iterator[Any]:
    """Yield every operation with valid requests, and in drills with invalid ones where it has a body or a query."""
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            body = operation.get("requestBody", {}).get("content", {})
            # Answers without bodies, and the stream, which has no end (below).
            if method == "head" or "stream" in path:
                continue
            yield method, path, GenerationMode.POSITIVE
            if body or any(parameter["in"] == "query" for parameter in operation.get("parameters", [])):
                yield drill(method, path, GenerationMode.NEGATIVE)


def send_generated(service: Service, method: str, path: str, mode: GenerationMode, count: int) -> set[int]:
    """Send the requests that Schemathesis generates for one operation; return the statuses of the answers.

    Fails for a 500 and for an undocumented answer.
    """
    statuses: set[int] = set()
    operation = CONTRACT[path][method.upper()]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    def once(case: Any) -> None:
        answer = case.call(base_url=service.url, headers={"Authorization": f"Bearer {service.settings.admin_key}"})
        statuses.add(answer.status_code)
        assert answer.status_code != 500, answer.text
        case.validate_response(answer, checks=CHECKS)

    once()
    return statuses


# The service draws random numbers on another thread, which Hypothesis takes for the strategy's.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.parametrize(
    ("method", "path", "mode"), list(cases()), ids=lambda value: str(getattr(value, "name", value)).lower()
)
async def test_generated_requests_are_answered_as_documented(
    service: Service, method: str, path: str, mode: GenerationMode
) -> None:
    statuses = await asyncio.to_thread(send_generated, service, method, path, mode, EXAMPLES)
    assert statuses
    assert (await service.visitor.get("/health/live")).status_code == 200


@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, drill(GenerationMode.NEGATIVE)])
async def test_generated_requests_for_the_stream_are_answered_as_documented(
    service: Service, mode: GenerationMode
) -> None:
    requests: list[dict[str, Any]] = []
    operation = CONTRACT["/v1/events/stream"]["GET"]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    def collect(case: Any) -> None:
        requests.append(case.as_transport_kwargs(base_url=service.url))

    await asyncio.to_thread(collect)
    for request in requests:
        query, headers = request.get("params"), request.get("headers")
        # The client checks the status and the media type of each answer.
        async with service.client.stream("GET", request["url"], params=query, headers=headers) as answer:
            assert answer.status_code in (200, 400), await answer.aread()
