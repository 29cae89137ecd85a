"""Pages for readers and editors, rendered on the server in each interface language. They work without scripts."""

from __future__ import annotations

from litestar import Router
from litestar.types import ControllerRouterHandler

from registry.web import assets
from registry.web.comparison import ComparisonPages
from registry.web.deals import DealPages
from registry.web.errors import APPLICATION_HANDLERS, PAGE_HANDLERS
from registry.web.events import EventPages
from registry.web.log import LogPages
from registry.web.organizations import OrganizationPages
from registry.web.portfolio import PortfolioPages
from registry.web.provenance import ProvenancePages
from registry.web.recording import RecordingPages
from registry.web.search import SearchPages
from registry.web.session import SessionPages
from registry.web.totals import TotalsPages

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
            SessionPages,
            RecordingPages,
            assets.static_files,
        ],
        exception_handlers=PAGE_HANDLERS,
    )
]

__all__ = ["APPLICATION_HANDLERS", "ROUTES"]
