"""The contract against the service: whatever schemathesis makes of the one, the other answers as documented.

Bounded and the same at every run; longer: `SCHEMATHESIS_EXAMPLES=500 make test ARGS="-k fuzz"`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, checks

from tests.api.conftest import Service, openapi_document

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "8"))

DOCUMENT = openapi_document()
CONTRACT = schemathesis.openapi.from_dict(DOCUMENT)
# What is well formed may still be refused: by a deal's rules, or because a place or a day is none.
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


def cases() -> Iterator[tuple[str, str, GenerationMode]]:
    """Every operation, asked as documented; and otherwise, where there is something to ask wrongly."""
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            body = operation.get("requestBody", {}).get("content", {})
            # An endless answer, the same answers without their bodies, and what is not JSON.
            if method == "head" or "stream" in path or (body and "application/json" not in body):
                continue
            yield method, path, GenerationMode.POSITIVE
            if body or any(parameter["in"] == "query" for parameter in operation.get("parameters", [])):
                yield method, path, GenerationMode.NEGATIVE


def ask(service: Service, method: str, path: str, mode: GenerationMode, examples: int) -> set[int]:
    """Asks what schemathesis makes of one operation; answers with the statuses met.

    Fails for a 500, and for an answer that is not documented.
    """
    met: set[int] = set()
    operation = CONTRACT[path][method.upper()]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    def once(case: Any) -> None:
        answer = case.call(base_url=service.url, headers={"Authorization": f"Bearer {service.settings.admin_key}"})
        met.add(answer.status_code)
        assert answer.status_code != 500, answer.text
        case.validate_response(answer, checks=CHECKS)

    once()
    return met


# The service draws random numbers on another thread, which Hypothesis takes for the strategy's.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.parametrize(
    ("method", "path", "mode"), list(cases()), ids=lambda value: str(getattr(value, "name", value)).lower()
)
async def test_fuzz(service: Service, method: str, path: str, mode: GenerationMode) -> None:
    met = await asyncio.to_thread(ask, service, method, path, mode, EXAMPLES)
    assert met
    assert (await service.visitor.get("/health/live")).status_code == 200
