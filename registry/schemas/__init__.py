"""The shape of every response, once: the OpenAPI document describes these structs, and the JSON encoder writes them.

The package lies between the domain and the projections: list rows are encoded when an event is recorded, the other
responses when a query is answered. A struct of the domain that encodes as it should is used as it is. One that holds
values of events has a counterpart here (`values.py`), and tests hold the two together (`tests/schemas`).
"""

from registry.schemas.base import (
    encode,
    encode_long,
    pre_encoded,
)
from registry.schemas.comparisons import (
    ChangeSummary,
    ComparedTotals,
    DealChangeSummary,
    DealComparison,
    PortfolioComparison,
    deal_comparison,
    requested_point,
    summary_fields,
)
from registry.schemas.deals import (
    AssessmentResponse,
    DealFields,
    DealResponse,
    FlagResponse,
    IncomingRelation,
    Timemap,
    assessment_response,
    deal_link,
    deal_response,
    incoming_relations,
    named_organizations,
    timemap,
)
from registry.schemas.history import (
    DealHistory,
    HistoryEntry,
    OrganizationHistory,
    Provenance,
    ProvenanceEntry,
    changes_response,
    deal_history,
    flags_response,
    organization_history,
    provenance_response,
)
from registry.schemas.lists import (
    DealListItem,
    DealPage,
    ListedPledge,
    RateSource,
    RatesResponse,
    TotalsResponse,
)
from registry.schemas.log import (
    AppendResponse,
    EventPage,
    EventResponse,
    ExportedEvent,
    LoggedEvent,
    Receipt,
    event_response,
    exported_event,
    exported_row,
    logged_event,
)
from registry.schemas.mirroring import (
    CheckpointAndHeads,
    Checkpoints,
    LogEntries,
    LogEntry,
    PrincipalNames,
    RateImports,
)
from registry.schemas.organizations import (
    ChildOrganization,
    DealRole,
    ListedOrganization,
    OrganizationClusters,
    OrganizationFields,
    OrganizationLinks,
    OrganizationMergeRequest,
    OrganizationMergeResults,
    OrganizationPage,
    OrganizationResponse,
    SimilarOrganizations,
    announced_organization,
    listed_organization,
    organization_fields,
    organization_response,
)
from registry.schemas.principals import (
    IssuedSecret,
    PrincipalAppendResponse,
    PrincipalHistory,
    PrincipalPage,
    PrincipalResponse,
    principal_history,
    principal_response,
)
from registry.schemas.proposals import ProposalChange, ProposalPage, ProposalPreview, ProposalResponse
from registry.schemas.search import HitKind, SearchedWord, SearchHit, SearchMatch, SearchResponse
from registry.schemas.service import Live, MirrorReadiness, ProblemDocument, Readiness
from registry.schemas.source_use import RestingField, SourceCitation, SourceRetraction, SourceUse, TreatedEvent
from registry.schemas.sources import cited_sources
from registry.schemas.values import (
    SourceResponse,
    StatedAmountResponse,
    convert,
    convert_any,
    decode,
)
