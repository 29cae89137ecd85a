"""Claims, the preference for one of them, and merges."""

from __future__ import annotations

import pytest

from registry.domain.history import UNBOUNDED, AsOf, state_as_of
from registry.domain.stream_kinds import DEALS
from registry.events.types import (
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    DealMerged,
    DealUnmerged,
    EventCorrected,
    EventVoided,
    PledgeAnnounced,
    PledgeRevised,
    Recorded,
    Replacement,
    SiteAnnounced,
    SiteRevised,
    StageChanged,
)
from tests.domain.builders import LogBuilder, usd
from tests.domain.pledges import FIELD, amount, pledged, refuse

# --- preferred claims ------------------------------------------------------------------------------------------------


def disputed() -> tuple[LogBuilder, Recorded]:
    log, _ = pledged("5")
    return log, log.admit(ClaimReported(claim="herald", field="/pledges/total/amount", value=usd("7")))


def test_preferred_claim_is_shown_and_the_announced_value_is_listed() -> None:
    log, claim = disputed()
    log.admit(ClaimPreferred(field=FIELD, claim="herald", reason="The company's own figure."))
    (pledge,) = log.state().pledges
    assert pledge.amount == usd("7")
    assert [(c.event, c.followed, c.rule) for c in pledge.claims] == [
        (log.events[1].id, False, None),
        (claim.id, True, "preferred"),
    ]


def test_preferences_have_a_recorded_history() -> None:
    log, _ = disputed()
    preferred = log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimPreferred(field=FIELD))
    assert [amount(log, position=preferred.position + n) for n in (-1, 0, 1)] == ["5", "7", "5"]


def test_preference_applies_to_earlier_effective_dates_too() -> None:
    log, _ = disputed()
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    assert amount(log, effective_on="2025-06-16") == "7"


def test_retracted_claim_is_no_longer_shown_although_preferred() -> None:
    log, _ = disputed()
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimRetracted(claim="herald"))
    assert amount(log) == "5"


def test_preference_ends_when_a_later_event_sets_the_field() -> None:
    log, _ = disputed()
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(PledgeRevised(pledge="total", amount=usd("9")), "2025-06-20")
    assert amount(log) == "9"
    assert amount(log, effective_on="2025-06-19") == "7"


def test_preference_can_be_corrected_to_a_later_claim() -> None:
    log, _ = disputed()
    preferred = log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimReported(claim="joongang", field=FIELD, value=usd("6")))
    log.correct(preferred, event=ClaimPreferred(field=FIELD, claim="joongang"))
    assert amount(log) == "6"


@pytest.mark.parametrize(
    ("preference", "rule"),
    [
        (ClaimPreferred(field=FIELD, claim="never"), "claim-unknown"),
        (ClaimPreferred(field="/sites/mipo/gpus", claim="herald"), "claim-unknown"),
        (ClaimPreferred(field="/sites/mipo/gpus"), "no-preference"),
        (ClaimPreferred(field=FIELD, claim="herald"), "already-preferred"),
        (ClaimPreferred(field=FIELD, claim="joongang"), "claim-retracted"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_preference_that_is_unknown_or_already_in_force_is_refuse(preference: ClaimPreferred, rule: str) -> None:
    log, _ = disputed()
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimReported(claim="joongang", field=FIELD, value=usd("6")))
    log.admit(ClaimRetracted(claim="joongang"))
    assert refuse(log, preference).refusal.code == rule


def test_recorder_fills_in_the_event_that_a_claim_is_about() -> None:
    log = LogBuilder()
    log.admit(SiteAnnounced(site="mipo", power_mw="103"), "2025-06-16")
    revised = log.admit(SiteRevised(site="mipo", power_mw="41"), "2025-06-20")
    claim = log.admit(ClaimReported(claim="c", field="/sites/mipo/power_mw", value="40"))
    assert isinstance(claim.event, ClaimReported)
    assert claim.event.about == revised.id


def test_void_of_the_event_that_a_claim_is_about_is_refuse() -> None:
    log, _ = pledged()
    revision = log.admit(PledgeRevised(pledge="total", amount=usd("6")), "2025-06-20")
    claim = log.admit(ClaimReported(claim="c", field=FIELD, value=usd("7")))
    assert refuse(log, EventVoided(voids=revision.id)).events == (str(claim.id),)


@pytest.mark.parametrize("which", [0, 2])
def test_claim_about_a_registration_or_another_claim_is_refuse(which: int) -> None:
    """Otherwise the places of two claims in the fold could depend on each other."""
    log, _ = disputed()
    claim = ClaimReported(claim="c", field=FIELD, value=usd("8"), about=log.events[which].id)
    assert refuse(log, claim).refusal.code == "claim-about-unrelated"


def test_claims_corrected_to_be_about_each_other_are_refused_or_unapplied() -> None:
    log, first = disputed()
    second = log.admit(ClaimReported(claim="c", field=FIELD, value=usd("8")))
    circle = Replacement(event=ClaimReported(claim="herald", field=FIELD, value=usd("7"), about=second.id))
    assert refuse(log, EventCorrected(corrects=first.id, replacement=circle)).refusal.code == "would-strand-events"
    log.record(EventCorrected(corrects=first.id, replacement=circle))
    back = Replacement(event=ClaimReported(claim="c", field=FIELD, value=usd("8"), about=first.id))
    log.record(EventCorrected(corrects=second.id, replacement=back))
    assert len(state_as_of(log.slug, log.events, UNBOUNDED, DEALS).unapplied) == 2


# --- merges ----------------------------------------------------------------------------------------------------------


def test_merged_deal_redirects_until_it_is_unmerged_and_keeps_its_events() -> None:
    log, _ = pledged()
    before = log.state()
    merge = log.admit(DealMerged(into="aws-korea-2031"))
    assert state_as_of(log.slug, log.events, UNBOUNDED, DEALS).merged_into == "aws-korea-2031"
    assert log.state() == before
    log.admit(DealUnmerged())
    assert state_as_of(log.slug, log.events, UNBOUNDED, DEALS).merged_into is None
    assert state_as_of(log.slug, log.events, AsOf(position=merge.position), DEALS).merged_into == "aws-korea-2031"


def test_voided_merge_does_not_redirect() -> None:
    log, _ = pledged()
    log.void(log.admit(DealMerged(into="aws-korea-2031")))
    assert log.history().record.merged_into is None
    log.admit(StageChanged(stage="signed"), "2025-07-01")


def test_merges_that_make_no_sense_are_refuse() -> None:
    log, _ = pledged()
    assert refuse(log, DealMerged(into=log.slug)).refusal.code == "merge-into-itself"
    assert refuse(log, DealUnmerged()).refusal.code == "not-merged"
    log.admit(DealMerged(into="aws-korea-2031"))
    assert refuse(log, DealMerged(into="other")).refusal.code == "already-merged"
    assert refuse(log, StageChanged(stage="signed"), "2025-07-01").refusal.code == "merged"


def test_merged_deal_can_still_be_corrected() -> None:
    log, announced = pledged("50")
    log.admit(DealMerged(into="aws-korea-2031"))
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    assert amount(log) == "5"
