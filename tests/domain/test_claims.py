"""Claims: what further sources say about a field."""

from __future__ import annotations

from typing import Any

import pytest

from registry.events.types import (
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    EventCorrected,
    MilestoneScheduled,
    PledgeAnnounced,
    PledgeConfirmed,
    PledgeRevised,
    Replacement,
)
from registry.events.values import Amount, StatedAmount
from tests.domain.builders import LogBuilder, usd
from tests.domain.pledges import FIELD, UNKNOWN_EVENT, refuse

ANNOUNCED = "2025-06-16"
LATER = "2025-06-22"


def with_pledge(**fields: Any) -> LogBuilder:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="total", **fields), ANNOUNCED)
    return log


def disputed() -> LogBuilder:
    """USD 5.1bn as announced, and another newspaper's figure."""
    log = with_pledge(amount=usd("5100000000"))
    log.admit(
        ClaimReported(
            claim="joongang", field="/pledges/total/amount", value=Amount(value="7000000000000", currency="KRW")
        ),
        published="2025-06-20",
    )
    return log


def test_claim_is_listed_beside_the_announced_value() -> None:
    log = disputed()
    (pledge,) = log.state().pledges
    assert pledge.amount == usd("5100000000")
    assert [(c.claim, c.followed, c.rule) for c in pledge.claims] == [
        (None, True, "as_announced"),
        ("joongang", False, None),
    ]
    assert pledge.claims[0].value == usd("5100000000")
    assert pledge.claims[0].event == log.events[1].id


def test_claim_applies_from_the_date_of_the_event_it_is_about() -> None:
    log = disputed()
    assert len(log.state(effective_on=ANNOUNCED).pledges[0].claims) == 2
    assert (
        log.state(effective_on=ANNOUNCED, published_on="2025-06-19").pledges[0].claims == ()
    )  # The claim is not yet published.


def test_claim_is_superseded_when_the_value_changes() -> None:
    log = disputed()
    log.admit(PledgeRevised(pledge="total", amount=usd("5880000000")), LATER)
    (pledge,) = log.state().pledges
    assert [(c.claim, c.status) for c in pledge.claims] == [("joongang", "superseded")]
    assert len(log.state(effective_on=ANNOUNCED).pledges[0].claims) == 2


def test_claim_is_about_the_last_event_that_repeated_the_value() -> None:
    log = with_pledge(amount=usd("5"))
    again = log.admit(PledgeRevised(pledge="total", amount=usd("5")), LATER)
    claim = log.admit(ClaimReported(claim="c", field="/pledges/total/amount", value=usd("4")))
    assert isinstance(claim.event, ClaimReported)
    assert claim.event.about == again.id
    assert [c.status for c in log.state().pledges[0].claims] == ["standing", "standing"]


def test_retracted_claim_is_still_listed() -> None:
    log = disputed()
    log.admit(ClaimRetracted(claim="joongang"))
    claims = log.state().pledges[0].claims
    assert [(c.claim, c.status) for c in claims] == [(None, "standing"), ("joongang", "retracted")]


def test_claim_about_an_event_that_did_not_set_the_field_is_refused() -> None:
    log = with_pledge(amount=usd("5"))
    confirmed = log.admit(PledgeConfirmed(pledge="total"), LATER)
    for about in (confirmed.id, UNKNOWN_EVENT, log.events[0].id):
        claim = ClaimReported(claim="c", field=FIELD, value=usd("4"), about=about)
        assert refuse(log, claim).refusal.code == "claim-about-unrelated"
    log.admit(ClaimReported(claim="c", field=FIELD, value=usd("4"), about=log.events[1].id))


def test_correction_that_takes_the_field_from_the_event_of_a_claim_is_refused() -> None:
    log = with_pledge(amount=usd("5"))
    revised = log.admit(PledgeRevised(pledge="total", amount=usd("6"), purpose=None), LATER)
    claim = log.admit(ClaimReported(claim="c", field=FIELD, value=usd("4")))
    without = Replacement(event=PledgeRevised(pledge="total", purpose=None))
    refusal = refuse(log, EventCorrected(corrects=revised.id, replacement=without))
    assert (refusal.refusal.code, refusal.events) == ("would-strand-events", (str(claim.id),))


@pytest.mark.parametrize(
    ("claimed", "corroborated"),
    [
        (usd("5.0"), True),
        (usd("5", qualifier="about"), True),
        (usd("5", qualifier="more_than"), False),
        (usd("6"), False),
        (Amount(value="7", currency="KRW"), True),
        (Amount(value="6", currency="EUR", stated_as=(StatedAmount(value="7", currency="KRW"),)), True),
        (Amount(value="5", currency="KRW"), False),
        (Amount(currency="USD", wording="several"), False),
    ],
)
def test_claim_is_corroborated_if_it_is_the_amount_shown_in_any_stated_currency(
    claimed: Amount, corroborated: bool
) -> None:
    log = with_pledge(amount=usd("5", stated_as=(StatedAmount(value="7", currency="KRW"),)))
    log.admit(ClaimReported(claim="c", field=FIELD, value=claimed))
    assert [c.corroborated for c in log.state().pledges[0].claims if c.claim] == [corroborated]


@pytest.mark.parametrize(
    ("claimed", "corroborated"), [("2027", True), ("2027-11", True), ("2027-10", False), ("2026/2028", True)]
)
def test_claim_of_a_date_is_corroborated_if_one_date_contains_the_other(claimed: str, corroborated: bool) -> None:
    log = LogBuilder()
    log.admit(MilestoneScheduled(milestone="m", kind="power_on", planned="2027-11"), ANNOUNCED)
    log.admit(ClaimReported(claim="c", field="/milestones/m/planned", value=claimed))
    assert [c.corroborated for c in log.state().milestones[0].claims if c.claim] == [corroborated]


def test_corroboration_follows_the_value_shown_and_ends_with_a_retraction() -> None:
    log = disputed()
    log.admit(ClaimReported(claim="herald", field=FIELD, value=Amount(value="7000000000000", currency="KRW")))
    log.admit(ClaimPreferred(field=FIELD, claim="joongang"))
    assert {c.claim: c.corroborated for c in log.state().pledges[0].claims} == {
        None: False,
        "joongang": True,
        "herald": True,
    }
    log.admit(ClaimRetracted(claim="herald"))
    assert not next(c for c in log.state().pledges[0].claims if c.claim == "herald").corroborated


def test_retracted_claim_is_no_longer_beside_a_value_set_since() -> None:
    log = disputed()
    log.admit(ClaimRetracted(claim="joongang"))
    revised = log.admit(PledgeRevised(pledge="total", amount=usd("5880000000")), LATER)
    log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("6000000000")))
    recorded = next(c for c in log.state().pledges[0].claims if c.claim is None)
    assert (recorded.event, recorded.value) == (revised.id, usd("5880000000"))


def test_retracted_claim_stays_retracted_when_the_value_changes() -> None:
    log = disputed()
    log.admit(ClaimRetracted(claim="joongang"))
    log.admit(PledgeRevised(pledge="total", amount=usd("5880000000")), LATER)
    assert [(c.claim, c.status) for c in log.state().pledges[0].claims if c.claim] == [("joongang", "retracted")]
