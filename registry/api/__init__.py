"""JSON over HTTP: Litestar controllers, one for each resource, in modules with the name of the resource.

`registry.http` has what they share with the pages (`registry.web`).
`openapi.py` and `examples.py` add to the document that Litestar generates from the handlers; `docs.py` serves it.
"""

from __future__ import annotations

from registry.api import docs, exports
from registry.api.deals import DealsController
from registry.api.events import EventsController
from registry.api.export_metadata import METADATA_HANDLERS
from registry.api.extract import ExtractController
from registry.api.feeds import FeedsController
from registry.api.health import HealthController
from registry.api.imports import ImportsController
from registry.api.log import CheckpointController, EvidenceController
from registry.api.mirroring import MirroringController
from registry.api.ocds import OcdsController
from registry.api.organization_merges import OrganizationMergesController
from registry.api.organizations import OrganizationsController
from registry.api.portfolio import PortfolioController
from registry.api.principals import PrincipalsController
from registry.api.proposals import ProposalsController
from registry.api.reconcile import ReconcileController
from registry.api.search import SearchController
from registry.api.sources import SourcesController
from registry.api.watches import WatchesController
from registry.api.webhooks import WebhooksController
from registry.api.witness import WitnessController
from registry.http import filters, parameters
from registry.http.guards import check_request
from registry.http.routes import Routes


def create_router() -> Routes:
    """Make the API. The application provides the services that its handlers depend on (registry/services.py)."""
    return Routes(
        "/",
        route_handlers=[
            DealsController,
            OcdsController,
            PortfolioController,
            SearchController,
            OrganizationsController,
            OrganizationMergesController,
            ReconcileController,
            PrincipalsController,
            ProposalsController,
            ImportsController,
            ExtractController,
            *exports.HANDLERS,
            *METADATA_HANDLERS,
            EventsController,
            SourcesController,
            FeedsController,
            WebhooksController,
            WatchesController,
            CheckpointController,
            EvidenceController,
            MirroringController,
            WitnessController,
            HealthController,
            docs.DocsController,
            docs.static_router,
        ],
        include_in_schema=True,
        dependencies={**parameters.DEPENDENCIES, **filters.DEPENDENCIES},
        before_request=check_request,
    )
