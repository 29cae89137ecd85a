"""Pages: what the API's reader finds, rendered on the server in Korean and English; each works without a script."""

from __future__ import annotations

from litestar import Router
from litestar.types import ControllerRouterHandler

from registry.web import assets, deals, events, organizations, portfolio, recording
from registry.web.render import ERRORS, LOST

ROUTES: list[ControllerRouterHandler] = [
    Router(
        "/",
        route_handlers=[
            *portfolio.HANDLERS,
            *deals.HANDLERS,
            *events.HANDLERS,
            *organizations.HANDLERS,
            *recording.HANDLERS,
            *assets.HANDLERS,
        ],
        exception_handlers=ERRORS,
    )
]

__all__ = ["LOST", "ROUTES"]
