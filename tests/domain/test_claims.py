"""Claims: what further sources say about a field."""

from __future__ import annotations

from typing import Any

from registry.events.types import ClaimReported, ClaimRetracted, PledgeAnnounced, PledgeRevised
from registry.events.values import Amount
from tests.domain.builders import LogBuilder, usd

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


def test_retracted_claim_stays_retracted_when_the_value_changes() -> None:
    log = disputed()
    log.admit(ClaimRetracted(claim="joongang"))
    log.admit(PledgeRevised(pledge="total", amount=usd("5880000000")), LATER)
    assert [(c.claim, c.status) for c in log.state().pledges[0].claims if c.claim] == [("joongang", "retracted")]
