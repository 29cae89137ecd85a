"""What no honest client sends is refused, in every place of every address, and is no fault of the service."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from litestar.routes import HTTPRoute

from tests.api.conftest import ADMIN_KEY, Service
from tests.conftest import drill
from tests.limits.conftest import connected

ENDLESS = {"/v1/events/stream"}

TEXTS = {
    "a NUL": "%00",
    "no UTF-8": "%ff%fe",
    "a surrogate": "%ed%a0%80",
    "a path": "..%2f..%2f..%2fetc%2fpasswd",
    "line breaks": "a%0d%0aSet-Cookie:%20a=b",
    "a long text": "x" * 20_000,
    "many signs of direction": "%e2%80%ae" * 300,
    "a large number": "9" * 400,
    "brackets": "%5b" * 10_000,
}


def addresses(service: Service) -> Iterator[str]:
    """Every address that answers GET, with {} for what a client states."""
    for route in service.app.routes:
        if not isinstance(route, HTTPRoute) or "GET" not in route.methods or route.path in ENDLESS:
            continue
        path = re.sub(r"\{(\w+):\w+\}", "{}", route.path)
        if "{}" in path:
            yield path
        yield from (f"{path.replace('{}', 'x')}?{name}={{}}" for name in PARAMETERS)


PARAMETERS = ("q", "cursor", "organization", "known_on", "sort", "field", "lang", "then", "prefix", "query", "queries")


@pytest.mark.parametrize("text", [text if text == "a NUL" else drill(text) for text in TEXTS])
async def test_no_text_in_an_address_is_a_fault_of_the_service(limited: Service, text: str) -> None:
    faults = []
    for address in addresses(limited):
        path = address.replace("{}", TEXTS[text])
        async with connected(limited) as client:
            await client.send(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                f"Authorization: Bearer {ADMIN_KEY}\r\n\r\n".encode()
            )
            answer = await client.answer()
        head = answer.partition(b"\r\n\r\n")[0]
        if not answer or answer.split()[1].startswith(b"5") or b"a=b" in head.lower():
            faults.append((address, head[:100]))
    assert not faults, faults
