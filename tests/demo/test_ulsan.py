"""The demo's deal of Ulsan on the dates on which it differs."""

from __future__ import annotations

from registry.events.values import Amount
from tests.demo.loader import deal, deal_as_of
from tests.demo.test_deals import KRW_7TN, USD_5_1BN, claimed, milestone, pledge, site


def test_ulsan_on_17_june_has_the_figures_of_the_city() -> None:
    state = deal("sk-aws-ulsan", "2025-06-17")
    assert [p.pledge for p in state.pledges] == ["total"]
    total = pledge(state, "total")
    assert total.amount == USD_5_1BN
    assert total.by == ("sk-group", "amazon-web-services")
    assert claimed(total.claims, "amount") == {
        None: USD_5_1BN,
        "insiders-amount": Amount(currency="KRW", wording="several trillion won"),
    }
    first, full = milestone(state, "first-phase"), milestone(state, "full-capacity")
    assert (first.planned, first.power_mw, first.status) == ("2027", "41", "planned")
    assert (full.planned, full.power_mw, full.status) == ("2029", "103", "planned")
    assert claimed(first.claims, "planned") == {None: "2027", "insiders-first-phase": "2027-11"}
    assert claimed(first.claims, "power_mw") == {None: "41", "insiders-first-phase-power": "40"}
    assert claimed(full.claims, "planned") == {None: "2029", "insiders-full-capacity": "2029-02"}
    assert milestone(state, "groundbreaking").status == "planned"
    assert site(state, "mipo").power_mw == "103"
    assert state.partnerships == ()
    assert state.relations == ()


def test_ulsan_on_21_june_has_the_seven_trillion_won_of_the_chairman() -> None:
    state = deal("sk-aws-ulsan", "2025-06-21")
    assert [p.pledge for p in state.pledges] == ["total"]
    assert pledge(state, "total").amount == KRW_7TN
    assert pledge(state, "total").by == ("sk-group", "amazon-web-services")
    assert state.partnerships == ()
    assert state.relations == ()
    assert milestone(state, "groundbreaking").status == "planned"


def test_ulsan_on_23_june_has_the_share_of_aws_as_part_of_the_total() -> None:
    state = deal("sk-aws-ulsan", "2025-06-23")
    assert pledge(state, "total").amount == KRW_7TN
    share = pledge(state, "aws-share")
    assert share.amount == Amount(value="4000000000", currency="USD")
    assert (share.amount_basis, share.additional_to) == ("additional", "aws-korea-2027/programme")
    assert share.by == ("amazon-web-services",)
    assert {(r.relation, r.pledge, r.deal, r.other_pledge) for r in state.relations} == {
        ("part_of", "aws-share", "sk-aws-ulsan", "total"),
        ("additional_to", "aws-share", "aws-korea-2027", "programme"),
    }
    assert [p.members for p in state.partnerships] == [("sk-group", "amazon-web-services")]
    assert milestone(state, "groundbreaking").status == "planned"
    assert milestone(state, "groundbreaking").planned == "2025-08/2025-09"


def test_ulsan_on_1_september_reached_groundbreaking_but_not_construction() -> None:
    state = deal("sk-aws-ulsan", "2025-09-01")
    broken = milestone(state, "groundbreaking")
    assert (broken.status, broken.reached) == ("reached", "2025-08-29")
    assert {p.pledge for p in state.pledges} == {"total", "aws-share"}
    assert milestone(state, "first-phase").status == "planned"
    assert state.stage is not None
    assert state.stage.value != "construction"
    later = deal("sk-aws-ulsan", "2025-10-29").stage
    assert later is not None
    assert (later.value, later.basis) == ("construction", "declared")


def test_ulsan_differs_on_each_date_and_is_unknown_before_the_first() -> None:
    days = ["2025-06-17", "2025-06-21", "2025-06-23", "2025-09-01"]
    states = [deal("sk-aws-ulsan", day) for day in days]
    assert all(a != b for i, a in enumerate(states) for b in states[i + 1 :])
    assert deal_as_of("sk-aws-ulsan", effective_on="2025-06-15").state is None
    assert deal_as_of("sk-aws-ulsan", published_on="2025-06-15").state is None


def test_ulsan_as_published_by_21_june_lacks_the_claim_of_the_herald() -> None:
    total = pledge(deal("sk-aws-ulsan", published_on="2025-06-21"), "total")
    assert claimed(total.claims, "amount").keys() == {None, "joongang-dollars"}
