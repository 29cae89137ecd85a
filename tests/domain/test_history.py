"""The as-of rule: effective date, publication date, recorded time and position."""

from __future__ import annotations

from datetime import timedelta

from registry.domain.history import AsOf, state_as_of
from registry.domain.stream_kinds import DEALS
from registry.events.types import ClaimReported, DealRegistered, PledgeAnnounced, PledgeRevised, StageChanged
from registry.events.values import Localized
from registry.projections.facts.projection import replay
from tests.domain.builders import LogBuilder, article, day, usd
from tests.domain.pledges import amount, pledged, refuse


def test_each_time_axis_alone_hides_later_events() -> None:
    log, announced = pledged("5", "2025-06-16", published="2025-06-18")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20", published="2025-06-22")
    assert [amount(log, effective_on=d) for d in ("2025-06-15", "2025-06-16", "2025-06-20")] == [None, "5", "7"]
    assert [amount(log, published_on=d) for d in ("2025-06-17", "2025-06-18", "2025-06-22")] == [None, "5", "7"]
    assert [amount(log, position=n) for n in (1, 2, 3)] == [None, "5", "7"]
    assert amount(log, recorded_at=announced.recorded_at) == "5"
    assert amount(log, recorded_at=announced.recorded_at - timedelta(microseconds=1)) is None


def test_earlier_of_recorded_time_and_position_applies() -> None:
    log, announced = pledged()
    assert amount(log, recorded_at=announced.recorded_at, position=1) is None
    assert amount(log, recorded_at=log.events[0].recorded_at, position=2) is None


def test_position_separates_events_recorded_at_the_same_time() -> None:
    log, announced = pledged()
    log.now = announced.recorded_at
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-16")
    assert amount(log, recorded_at=announced.recorded_at) == "7"
    assert amount(log, recorded_at=announced.recorded_at, position=2) == "5"


def test_backdated_event_changes_the_past_from_its_effective_date() -> None:
    log, _ = pledged("7", "2025-06-22")
    log.admit(PledgeAnnounced(pledge="earlier"), "2024-09-27")
    assert [p.pledge for p in log.state(effective_on="2025-01-01").pledges] == ["earlier"]
    assert log.state(effective_on="2025-01-01", position=2).pledges == ()


def test_registration_applies_first_whatever_its_date() -> None:
    log = LogBuilder(effective="2025-10-29")
    log.admit(StageChanged(stage="signed"), "2024-09-27", published="2024-09-30")
    state = log.state(effective_on="2024-10-01")
    assert state.title == Localized(en="A deal")
    assert state.stage is not None


def test_deal_is_unknown_where_even_its_registration_is_hidden() -> None:
    log = LogBuilder(effective="2024-01-01")
    assert log.known(effective_on="2023-12-31") is None
    assert log.known(published_on="2023-12-31") is None
    assert log.known(position=0) is None
    assert log.known(effective_on="2024-01-01") is not None


def test_deal_without_a_stated_date_is_known_from_its_first_source() -> None:
    log = LogBuilder(registered=False)
    sources = (article(day("2024-05-01")), article(day("2024-03-01")), article(None))
    log.record(DealRegistered(title=Localized(en="A deal")), sources=sources)
    assert log.known(effective_on="2024-02-29") is None
    assert log.known(effective_on="2024-03-01") is not None
    facts = replay(log.history()).rounds[0].facts.values()
    (row,) = (row for fact in facts for rows in fact.rows.values() for row in rows)
    assert row.effective_from == day("2024-03-01")


def test_revision_published_before_its_pledge_is_unapplied_in_between() -> None:
    log, _ = pledged(published="2025-06-22")
    revision = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20", published="2025-06-20")
    assert log.history().timeline.refusals == {}
    snapshot = state_as_of(log.slug, log.events, AsOf(published_on=day("2025-06-21")), DEALS)
    assert [(r.recorded.id, refusal.code) for r, refusal in snapshot.unapplied] == [(revision.id, "pledge-unknown")]
    assert snapshot.state is not None
    assert snapshot.state.pledges == ()


def test_same_effective_day_the_later_published_wins_then_the_later_recorded() -> None:
    log, _ = pledged("5", "2025-06-16", published="2025-06-16")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20", published="2025-06-22")
    log.admit(PledgeRevised(pledge="total", amount=usd("6")), "2025-06-20", published="2025-06-21")
    assert amount(log) == "7"
    assert amount(log, published_on="2025-06-21") == "6"
    log.admit(PledgeRevised(pledge="total", amount=usd("8")), "2025-06-20", published="2025-06-22")
    assert amount(log) == "8"
    assert amount(log, position=4) == "7"


def test_revision_of_a_pledge_of_the_same_day_published_before_it_is_refused() -> None:
    log, _ = pledged("5", "2025-06-20", published="2025-06-22")
    revision = PledgeRevised(pledge="total", amount=usd("7"))
    assert refuse(log, revision, "2025-06-20", published="2025-06-21").refusal.code == "pledge-unknown"
    log.admit(revision, "2025-06-21", published="2025-06-21")
    assert amount(log) == "7"


def test_claim_follows_its_event_directly_whenever_it_was_published() -> None:
    log, announced = pledged("5", "2025-06-20", published="2025-06-20")
    log.admit(
        ClaimReported(claim="insiders", field="/pledges/total/amount", value=usd("4"), about=announced.id),
        published="2025-06-25",
    )
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20", published="2025-06-21")
    pledge = log.state().pledges[0]
    assert {claim.claim: claim.status for claim in pledge.claims} == {"insiders": "superseded"}


def test_event_with_a_future_effective_date_does_not_apply_yet() -> None:
    log = LogBuilder()
    log.admit(StageChanged(stage="operating"), "2027-11-01")
    assert log.state(effective_on="2027-10-31").stage is None
    assert log.state(effective_on="2027-11-01").stage is not None
