"""What changes mean for a reader of a portfolio."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from registry.domain.audit.entries import audit_trail
from registry.domain.audit.portfolio_changes import portfolio_changes
from registry.domain.audit.provenance import provenance
from registry.domain.calendar import Calendar
from registry.domain.history import UNBOUNDED, state_as_of
from registry.domain.stream_kinds import DEALS
from registry.events.types import (
    DealsRelated,
    MilestoneRescheduled,
    MilestoneScheduled,
    PledgeAnnounced,
    PledgeRevised,
    PledgeWithdrawn,
    StageChanged,
)
from registry.events.values import Amount
from tests.domain.builders import LogBuilder, day, usd
from tests.domain.comparisons import FIELD, compare_at, pledged, whats


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (usd("5"), usd("7"), "grew"),
        (usd("7"), usd("5"), "shrank"),
        (usd("5"), usd("5", qualifier="about"), "restated"),
        (usd("5"), Amount(value="7", currency="KRW"), "restated"),
        (usd("5"), None, "unstated"),
        (None, usd("5"), "stated"),
        (Amount(currency="USD", low="1", high="2"), Amount(currency="USD", low="1", high="3"), "grew"),
        (Amount(currency="USD", low="1", high="2"), Amount(currency="USD", low="0", high="3"), "restated"),
        (Amount(currency="USD", wording="several billion"), usd("5"), "restated"),
        (usd("9.5"), usd("10"), "grew"),
    ],
    ids=str,
)
def test_amount_grew_or_shrank_only_if_the_amounts_are_comparable(
    before: Amount | None, after: Amount | None, what: str
) -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="total", amount=before), "2024-06-16")
    log.admit(PledgeRevised(pledge="total", amount=after), "2024-06-20")
    comparison = compare_at(log, {"effective_on": "2024-06-16"}, {"effective_on": "2024-06-20"})
    assert [m.what for m in portfolio_changes(comparison) if m.field == FIELD] == [what]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"amount": usd("5"), "amount_basis": "annual"}, {"amount": usd("50"), "amount_basis": "total"}),
        ({"amount": usd("50"), "amount_basis": "total"}, {"amount": usd("5"), "amount_basis": "annual"}),
        ({"amount": usd("5")}, {"amount": usd("50"), "amount_basis": "total"}),
        ({"amount": usd("5"), "amount_basis": "annual"}, {"amount_basis": "total"}),
        ({"amount": usd("5")}, {"amount": Amount(value="7000", currency="KRW")}),
    ],
)
def test_change_of_amount_basis_or_currency_is_restated(before: dict[str, Any], after: dict[str, Any]) -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="total", **before), "2024-06-16")
    log.admit(PledgeRevised(pledge="total", **after), "2024-06-20")
    comparison = compare_at(log, {"effective_on": "2024-06-16"}, {"effective_on": "2024-06-20"})
    assert set(whats(comparison)) == {"restated"}


def test_first_amount_of_a_deal_is_stated_and_not_growth() -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="silent"), "2024-06-10")
    log.admit(PledgeAnnounced(pledge="first", amount=usd("5")), "2024-06-16")
    assert whats(compare_at(log, {"effective_on": "2024-06-10"}, {"effective_on": "2024-06-16"})) == ["stated"]
    assert whats(compare_at(log, {"effective_on": "2024-06-16"}, {"effective_on": "2024-06-10"})) == ["unstated"]


def test_further_pledge_is_growth_and_a_withdrawal_shrinks_the_deal() -> None:
    log, _ = pledged()
    log.admit(PledgeAnnounced(pledge="more", amount=usd("1")), "2024-06-20")
    log.admit(PledgeWithdrawn(pledge="more"), "2024-06-30")
    assert whats(compare_at(log, {"effective_on": "2024-06-16"}, {"effective_on": "2024-06-20"})) == ["grew"]
    assert whats(compare_at(log, {"effective_on": "2024-06-20"}, {"effective_on": "2024-06-16"})) == ["shrank"]
    assert whats(compare_at(log, {"effective_on": "2024-06-20"}, {})) == ["shrank"]


def test_pledge_that_is_part_of_another_is_not_growth() -> None:
    log, _ = pledged("7")
    log.admit(PledgeAnnounced(pledge="share", amount=usd("4")), "2024-06-22")
    log.admit(DealsRelated(relation="part_of", deal=log.slug, pledge="share", other_pledge="total"), "2024-06-22")
    log.admit(PledgeAnnounced(pledge="other-share", amount=usd("1")), "2024-06-22")
    log.admit(
        DealsRelated(relation="includes", deal=log.slug, pledge="total", other_pledge="other-share"), "2024-06-22"
    )
    assert whats(compare_at(log, {"effective_on": "2024-06-20"}, {})) == []


@pytest.mark.parametrize(("planned", "what"), [("2028", "slipped"), ("2026", "brought_forward"), ("2027-12", None)])
def test_milestone_slips_by_the_last_day_of_its_planned_date(planned: str, what: str | None) -> None:
    log = LogBuilder()
    log.admit(MilestoneScheduled(milestone="phase-1", planned="2027"), "2024-06-16")
    log.admit(MilestoneRescheduled(milestone="phase-1", planned=planned), "2024-06-20")
    comparison = compare_at(log, {"effective_on": "2024-06-16"}, {})
    assert whats(comparison) == ([what] if what else [])


def test_world_change_of_the_stage_is_a_stage_move() -> None:
    log = LogBuilder()
    log.admit(StageChanged(stage="construction"), "2024-06-16")
    assert whats(compare_at(log, {"effective_on": "2024-06-15"}, {})) == ["stage_moved"]


def test_explanations_can_be_encoded_as_json() -> None:
    log, announced = pledged()
    log.correct(announced, effective_on=day("2024-06-17"))
    comparison = compare_at(log, {"position": 2}, {})
    for found in (
        audit_trail(log.events, UNBOUNDED, DEALS, Calendar())[1].changes,
        provenance(state_as_of("d", log.events, UNBOUNDED, DEALS)),
        comparison,
    ):
        assert msgspec.json.decode(msgspec.json.encode(found))
