"""Pages for readers and editors, rendered on the server in each interface language. They work without scripts."""

from __future__ import annotations

from typing import Any

from litestar import Request, Router
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from registry.web import assets, recording
from registry.web.comparison import ComparisonPages
from registry.web.deals import DealPages
from registry.web.errors import APPLICATION_HANDLERS, PAGE_HANDLERS
from registry.web.events import EventPages
from registry.web.log import LogPages
from registry.web.organizations import OrganizationPages
from registry.web.portfolio import PortfolioPages
from registry.web.provenance import ProvenancePages
from registry.web.search import SearchPages
from registry.web.totals import TotalsPages


def _service(name: str) -> Provide:
    def provide(request: Request[Any, Any, Any]) -> Any:
        return getattr(request.app.state.registry, name)

    return Provide(provide, sync_to_thread=False)


DEPENDENCIES = {
    "deal_queries": _service("deals"),
    "portfolio_queries": _service("portfolio"),
    "organization_queries": _service("organizations"),
    "log_queries": _service("log"),
    "streams": _service("streams"),
    "evidence": _service("evidence"),
}

ROUTES: list[ControllerRouterHandler] = [
    Router(
        "/",
        route_handlers=[
            PortfolioPages,
            TotalsPages,
            ComparisonPages,
            DealPages,
            ProvenancePages,
            EventPages,
            LogPages,
            OrganizationPages,
            SearchPages,
            *recording.HANDLERS,
            assets.static_files,
        ],
        dependencies=DEPENDENCIES,
        exception_handlers=PAGE_HANDLERS,
    )
]

__all__ = ["APPLICATION_HANDLERS", "ROUTES"]
