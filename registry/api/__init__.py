"""JSON over HTTP: decode, call the recorder or the reader, encode."""

from __future__ import annotations

import msgspec
from litestar.types import ControllerRouterHandler

import registry
from registry.api import (
    deals,
    docs,
    events,
    exports,
    health,
    imports,
    log,
    openapi,
    organizations,
    sse,
    totals,
    webhooks,
)

OPERATIONS = (
    *deals.OPERATIONS,
    *totals.OPERATIONS,
    *organizations.OPERATIONS,
    *imports.OPERATIONS,
    *exports.OPERATIONS,
    *sse.OPERATIONS,
    *events.OPERATIONS,
    *webhooks.OPERATIONS,
    *log.OPERATIONS,
    *health.OPERATIONS,
    *docs.OPERATIONS,
)

ROUTES: list[ControllerRouterHandler] = [*(operation.handler for operation in OPERATIONS), *docs.UNDOCUMENTED_ROUTES]

CONTRACT = msgspec.json.encode(openapi.document(OPERATIONS, registry.version()))
"""The contract, as it is served: OpenAPI 3.1."""
