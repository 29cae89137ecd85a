"""What no honest client sends is refused, in every place of every address, and is no fault of the service."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from litestar.routes import HTTPRoute

from registry.http.guards import query_fields
from tests.conftest import drill
from tests.limits.conftest import connected
from tests.service import ADMIN_KEY, Service

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
    "overlong UTF-8": "%c0%ae%c0%ae%c0%af",
    "digits of another script": "%d9%a1",
    "wide digits": "%ef%bc%91",
    "white space": "%c2%a0%e3%80%80",
    "dots": "%2e%2e",
    "the last instant": "9999-12-31T23:59:59%2B14:00",
}


def addresses(service: Service) -> Iterator[tuple[str, str]]:
    """Every address that answers GET, with {} for what a client states, and the parameter whose value that is."""
    for route in service.app.routes:
        if not isinstance(route, HTTPRoute) or "GET" not in route.methods or route.path in ENDLESS:
            continue
        path = re.sub(r"\{(\w+):\w+\}", "{}", route.path)
        if "{}" in path:
            yield path, ""
        handler, _ = route.route_handler_map["GET"]
        # Pages also take parameters that they do not declare.
        names, required = query_fields(handler) if "scope" in handler.opt else (PARAMETERS, frozenset())
        for name in names:
            others = "".join(f"&{other}=1" for other in required - {name})
            yield f"{path.replace('{}', 'x')}?{name}={{}}{others}", name


PARAMETERS = ("q", "cursor", "organization", "known_on", "sort", "field", "lang", "then", "prefix", "query", "queries")


@pytest.mark.parametrize("text", [text if text == "a NUL" else drill(text) for text in TEXTS])
async def test_no_text_in_an_address_is_a_fault_of_the_service(limited: Service, text: str) -> None:
    faults = []
    for address, parameter in addresses(limited):
        path = address.replace("{}", TEXTS[text])
        async with connected(limited) as client:
            await client.send(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                f"Authorization: Bearer {ADMIN_KEY}\r\n\r\n".encode()
            )
            answer = await client.answer()
        head, _, body = answer.partition(b"\r\n\r\n")
        if not answer or answer.split()[1].startswith(b"5") or b"a=b" in head.lower():
            faults.append((address, head[:100]))
        elif b" 400 " in head[:20] and address.startswith("/v1/") and parameter.encode() not in body:
            # The problem names the parameter.
            faults.append((address, body[:100]))
    assert not faults, faults
