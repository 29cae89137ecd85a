"""JSON over HTTP: decode, call the recorder or the reader, encode."""

from __future__ import annotations

from litestar.types import ControllerRouterHandler

from registry.api import deals, events, health, organizations, totals

ROUTES: list[ControllerRouterHandler] = [
    *deals.HANDLERS,
    *events.HANDLERS,
    *organizations.HANDLERS,
    *totals.HANDLERS,
    *health.HANDLERS,
]
