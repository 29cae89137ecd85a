"""All pages together, and what they need before the first request."""

from __future__ import annotations

from registry.http.routes import Routes
from registry.web.articles.controller import ArticleController, suggest_names
from registry.web.charts import maps
from registry.web.charts.pages import ChartPages
from registry.web.crawlers import CrawlerPages
from registry.web.deals.comparison import ComparisonPages
from registry.web.deals.page import DealPages
from registry.web.deals.provenance import ProvenancePages
from registry.web.events import EventPages
from registry.web.guide import GuidePages
from registry.web.imports.controller import ImportPages
from registry.web.log import LogPages
from registry.web.organization_duplicates import DuplicatePages
from registry.web.organizations import OrganizationPages
from registry.web.page import assets
from registry.web.page.errors import PAGE_HANDLERS
from registry.web.page.render import compile_templates
from registry.web.page.request import DEPENDENCIES, check_page_query
from registry.web.portfolio.comparison import PortfolioComparisonPages
from registry.web.portfolio.page import PortfolioPages
from registry.web.portfolio.totals import TotalsPages
from registry.web.proposals import ProposalPages
from registry.web.recording.controller import RecordingPages, parse_amount
from registry.web.search import SearchPages
from registry.web.sign_in.provider import ProviderPages
from registry.web.sign_in.session import SessionPages
from registry.web.sources import SourcePages
from registry.web.watches import WatchPages


def create_router() -> Routes:
    """Make the pages. The application provides the services that their handlers depend on (registry/services.py)."""
    pages = Routes(
        "/",
        route_handlers=[
            PortfolioPages,
            TotalsPages,
            ComparisonPages,
            PortfolioComparisonPages,
            DealPages,
            ChartPages,
            CrawlerPages,
            ProvenancePages,
            EventPages,
            LogPages,
            SourcePages,
            OrganizationPages,
            DuplicatePages,
            SearchPages,
            SessionPages,
            ProviderPages,
            GuidePages,
            RecordingPages,
            ArticleController,
            suggest_names,
            ProposalPages,
            ImportPages,
            WatchPages,
        ],
        before_request=check_page_query,
    )
    return Routes(
        "/",
        route_handlers=[pages, parse_amount, assets.static_files],
        dependencies=DEPENDENCIES,
        exception_handlers=PAGE_HANDLERS,
    )


def prepare_pages() -> None:
    """Make what the first pages would hold the event loop for: compiled templates, and the outlines of maps."""
    compile_templates()
    maps.korea()
    maps.world()
