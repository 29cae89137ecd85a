"""Pages: what the API's reader finds, rendered on the server in Korean and English; each works without a script."""

from __future__ import annotations

from litestar import Router
from litestar.types import ControllerRouterHandler

from registry.web import deals, events, files, organizations, portfolio, recording
from registry.web.page import ERRORS, LOST

ROUTES: list[ControllerRouterHandler] = [
    Router(
        "/",
        route_handlers=[
            *portfolio.HANDLERS,
            *deals.HANDLERS,
            *events.HANDLERS,
            *organizations.HANDLERS,
            *recording.HANDLERS,
            *files.HANDLERS,
        ],
        exception_handlers=ERRORS,
    )
]

__all__ = ["LOST", "ROUTES"]
