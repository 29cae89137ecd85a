"""A deal: its state (`state.py`), and how each event changes it (`evolve.py`)."""

from registry.domain.deal.evolve import evolve, evolve_facts, register, stage_signal
from registry.domain.deal.state import (
    Deal,
    DealIdentifierState,
    Disbursement,
    IncentiveState,
    Item,
    MetricState,
    MilestoneState,
    PartnershipState,
    PartyState,
    PledgeState,
    RelationState,
    SetbackState,
    SiteState,
)
