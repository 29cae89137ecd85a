"""The events of the log, one frozen struct each, and the announcement that carries an event to the registry.

Start here, then read `domain/deal/`, `append/recorder.py` and `queries/deals.py`.

    deals.py          a deal as a whole, and its relations
    pledges.py        pledges, incentives, claims
    sites.py          sites, milestones, metrics
    organizations.py  organizations
    principals.py     who may write to the registry
    record.py         merges of deals, corrections, voids, redactions
    announcements.py  all events together, announcements and recorded events

An event holds what a source states and no more: a field that the source does not state is left out, and it is never
zero. In a `…_revised` event a field that is left out stays as it is, and null clears it. The types of the values are in
`events/values.py`. The form of an event never changes once it has been recorded: a new form is a new schema version,
with an upcaster in `events/codec.py`. An event type belongs to the union at the end of its topic.
"""

from registry.events.types.announcements import (
    BOOKKEEPING_TYPES,
    EVENT_TYPES,
    AnnouncedKind,
    Announcement,
    AnyAnnouncement,
    AnyEvent,
    BookkeepingEvent,
    DealEvent,
    DealFact,
    OrganizationAnnouncement,
    OrganizationEvent,
    OrganizationFact,
    PrincipalAnnouncement,
    PrincipalEvent,
    Recorded,
    StreamKind,
    tag_of,
)
from registry.events.types.base import Event
from registry.events.types.deals import (
    ConditionLifted,
    ConditionSet,
    DealIdentified,
    DealRegistered,
    DealRevised,
    DealsRelated,
    DealsUnrelated,
    PartiesJoined,
    PartnershipFormed,
    PartyLeft,
    SetbackReported,
    SetbackResolved,
    StageChanged,
    StatusObserved,
)
from registry.events.types.organizations import (
    OrganizationIdentified,
    OrganizationMerged,
    OrganizationNamed,
    OrganizationRegistered,
    OrganizationUnmerged,
    ParentEnded,
    ParentSet,
)
from registry.events.types.pledges import (
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    DisbursementReported,
    IncentiveEnded,
    IncentiveGranted,
    IncentiveRevised,
    PledgeAnnounced,
    PledgeConfirmed,
    PledgeRevised,
    PledgeWithdrawn,
)
from registry.events.types.principals import (
    KeyIssued,
    KeyRevoked,
    PrincipalFact,
    PrincipalRegistered,
    PrincipalRenamed,
    ScopesChanged,
)
from registry.events.types.record import (
    Day,
    DealMerged,
    DealUnmerged,
    Effect,
    EventCorrected,
    EventRedacted,
    EventVoided,
    RedactedEffect,
    Replacement,
)
from registry.events.types.sites import (
    MetricReported,
    MetricRevised,
    MilestoneCancelled,
    MilestoneReached,
    MilestoneRescheduled,
    MilestoneScheduled,
    SiteAnnounced,
    SiteDropped,
    SiteRevised,
)
