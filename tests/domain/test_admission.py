"""Admission of new events, and streams that grow."""

from __future__ import annotations

from registry.domain.admission import admit
from registry.domain.deal import Deal
from registry.domain.history import AsOf, FoldedStream
from registry.domain.organizations.organization import Organization
from registry.domain.stream_kinds import DEALS, ORGANIZATIONS
from registry.events.types import (
    DealRegistered,
    EventCorrected,
    OrganizationRegistered,
    PledgeRevised,
    Replacement,
    StageChanged,
)
from registry.events.values import Localized
from tests.domain.builders import LogBuilder, day, usd
from tests.domain.pledges import pledged, refuse


def test_first_event_of_a_deal_must_register_it() -> None:
    log = LogBuilder(registered=False)
    assert refuse(log, StageChanged(stage="signed"), "2025-01-01").refusal.code == "not-registered"
    log.admit(DealRegistered(title=Localized(en="A deal")))
    assert refuse(log, DealRegistered(title=Localized(en="A deal"))).refusal.code == "already-registered"


def test_admission_does_not_change_the_given_stream() -> None:
    log, _ = pledged()
    history = log.history()
    after = admit(history, log.make(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20"))
    assert history.state != after.state
    assert history.version == 2
    assert history.state == log.history().state


def test_event_that_was_unapplied_before_refuses_no_later_one() -> None:
    log, pledge = pledged()
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20")
    log.redact(pledge)
    unapplied = dict(log.history().timeline.refusals)
    assert unapplied
    log.admit(StageChanged(stage="signed"), "2025-07-01")
    assert dict(log.history().timeline.refusals) == unapplied


def test_organization_stream_follows_the_same_as_of_rule() -> None:
    log = LogBuilder(registered=False)
    log.record(OrganizationRegistered(name=Localized(en="SK")), "2024-01-01")
    log.record(
        EventCorrected(
            corrects=log.events[0].id,
            replacement=Replacement(event=OrganizationRegistered(name=Localized(en="SK Group"))),
        )
    )
    stream: FoldedStream[Organization] = FoldedStream("sk-group", ORGANIZATIONS, log.events)
    assert stream.state.name == Localized(en="SK Group")


def test_stream_folded_as_of_a_date_hides_later_events_as_it_grows() -> None:
    log, _ = pledged()
    later = log.make(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20")
    stream: FoldedStream[Deal] = FoldedStream(log.slug, DEALS, log.events, AsOf(effective_on=day("2025-06-19")))
    stream.append(later)
    assert stream.state.pledges[0].amount == usd("5")
