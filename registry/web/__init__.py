"""Pages for readers and editors, rendered on the server in each interface language. They work without scripts."""

from __future__ import annotations

from litestar import Router
from litestar.types import ControllerRouterHandler

from registry.web import assets, deals, events, organizations, portfolio, recording
from registry.web.errors import APPLICATION_HANDLERS, PAGE_HANDLERS

ROUTES: list[ControllerRouterHandler] = [
    Router(
        "/",
        route_handlers=[
            *portfolio.HANDLERS,
            *deals.HANDLERS,
            *events.HANDLERS,
            *organizations.HANDLERS,
            *recording.HANDLERS,
            assets.static_files,
        ],
        exception_handlers=PAGE_HANDLERS,
    )
]

__all__ = ["APPLICATION_HANDLERS", "ROUTES"]
