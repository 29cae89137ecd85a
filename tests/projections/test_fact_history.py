"""Long histories of a deal's facts: what an event changes is found locally, and is as small in a large deal."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from registry.domain.deal import Deal
from registry.domain.history import FoldedStream
from registry.domain.stream_kinds import DEALS
from registry.events.types import (
    AnyEvent,
    DealRevised,
    DealsRelated,
    DisbursementReported,
    MetricReported,
    MilestoneReached,
    MilestoneScheduled,
    PartiesJoined,
    PartnershipFormed,
    PledgeAnnounced,
    PledgeConfirmed,
    PledgeRevised,
    PledgeWithdrawn,
    Recorded,
    SiteAnnounced,
    SiteDropped,
    StageChanged,
    StatusObserved,
)
from registry.events.values import Localized, Party
from registry.projections.facts.changes import all_rectangles
from registry.projections.facts.projection import apply_change, replay
from registry.projections.facts.rows import DealRows, FactRow
from registry.projections.projection import AppliedChange
from tests.domain.builders import LogBuilder, usd
from tests.properties.strategies import logs

LONG = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

FIRST_DAY = date(2020, 1, 1)

ORDERS: dict[str, Callable[[list[int]], Sequence[int]]] = {
    "in order": lambda days: days,
    "descending": lambda days: days[::-1],
    "random": lambda days: random.Random(7).sample(days, len(days)),
}

# One event of each kind that changes facts, posted to a deal of any size.
POSTED: dict[str, AnyEvent] = {
    "announcement": PledgeAnnounced(pledge="new", amount=usd("5"), commitment="binding"),
    "revision": PledgeRevised(pledge="p0", amount=usd("77")),
    "confirmation": PledgeConfirmed(pledge="p0", commitment="binding"),
    "withdrawal": PledgeWithdrawn(pledge="p0"),
    "disbursement": DisbursementReported(pledge="p0", amount=usd("1")),
    "site": SiteAnnounced(site="new", place="KR-31"),
    "dropped site": SiteDropped(site="s0"),
    "milestone": MilestoneScheduled(milestone="new", kind="construction_started", site="s0"),
    "reached milestone": MilestoneReached(milestone="m0"),
    "metric": MetricReported(metric="jobs", basis="planned", value="40"),
    "parties": PartiesJoined(parties=(Party(organization="new", role="investor"),)),
    "partnership": PartnershipFormed(members=("a", "b"), instrument="mou"),
    "stage": StageChanged(stage="construction"),
    "observation": StatusObserved(stage="operating"),
    "title": DealRevised(title=Localized(en="Another title")),
    "relation": DealsRelated(relation="part_of", deal="other"),
}


def known_intervals(rows: Sequence[FactRow]) -> dict[Any, list[tuple[date, date]]]:
    """The publication days of each version of a fact, by the rows."""
    found: dict[Any, list[tuple[date, date]]] = {}
    for row in rows:
        if row.published_from < row.published_to:
            period = (row.effective_from, row.effective_to, row.values)
            found.setdefault(period, []).append((row.published_from, row.published_to))
    return {period: sorted(intervals) for period, intervals in found.items()}


@LONG
@given(log=logs(max_events=45, admitted=True, redactions=False))
def test_rows_of_a_long_history_equal_those_of_one_look_at_all_events(log: LogBuilder) -> None:
    assert_rows_equal_rectangles(FoldedStream(log.slug, DEALS, log.events))


def test_rows_of_a_period_that_an_earlier_event_divides_say_until_when_each_is_known() -> None:
    log = LogBuilder()
    january = [date(2025, 1, day) for day in range(1, 31)]
    log.record(PledgeAnnounced(pledge="p", amount=usd("5"), commitment="pledge"), january[0], published=january[1])
    log.record(MilestoneScheduled(milestone="m", kind="construction_started"), january[0], published=january[3])
    log.record(StageChanged(stage="construction"), january[10], published=january[1])
    log.record(PledgeWithdrawn(pledge="p"), january[1], published=january[20])
    # Between its schedule and the withdrawal, it says that construction began before the declaration.
    log.record(MilestoneReached(milestone="m"), january[5], published=january[1])
    assert_rows_equal_rectangles(FoldedStream(log.slug, DEALS, log.events))


def assert_rows_equal_rectangles(stream: FoldedStream[Deal]) -> None:
    rows = replay(stream)
    rectangles = all_rectangles(stream)
    (one,) = rows.rounds
    facts = one.facts
    for key in {*facts, *rectangles}:
        expected = {
            period: [(k.published_from, k.published_to) for k in days]
            for period, days in rectangles.get(key, {}).items()
        }
        opened = [row for of_day in facts[key].rows.values() for row in of_day]
        assert known_intervals(opened) == expected


def large_deal(size: int, order: str) -> LogBuilder:
    """A deal with so many facts of each kind, and as many revisions of one pledge, recorded in some order of days."""
    log = LogBuilder()
    days = ORDERS[order](list(range(10, 10 + size)))
    for number, offset in enumerate(days):
        on = FIRST_DAY + timedelta(days=offset)
        for event in (
            PledgeAnnounced(pledge=f"p{number}", amount=usd(str(number + 1)), commitment="pledge"),
            SiteAnnounced(site=f"s{number}", place="KR-11", power_mw=str(number + 1)),
            MilestoneScheduled(milestone=f"m{number}", kind="power_on", planned="2030"),
            PartiesJoined(parties=(Party(organization=f"o{number}", role="investor"),)),
            PledgeRevised(pledge="p0", amount=usd(str(1000 + number))),
        ):
            log.record(event, on, published=on)
    return log


def rows_written(before: FoldedStream[Deal], event: Recorded) -> int:
    """How many rows an event changes and opens."""
    after = before.copy()
    after.append(event)
    rows = DealRows(before.slug)
    apply_change(rows, AppliedChange(event, before, after))
    changes = sum(len(of_table) for one in rows.rounds for of_table in one.changes.values())
    facts = [fact for one in rows.rounds for fact in one.facts.values()]
    return changes + sum(len(of_day) for fact in facts for of_day in fact.rows.values())


@pytest.mark.parametrize("name", POSTED)
@pytest.mark.parametrize("order", ORDERS)
def test_rows_that_an_event_writes_do_not_depend_on_the_size_of_the_deal(name: str, order: str) -> None:
    counts = []
    for size in (4, 40):
        log = large_deal(size, order)
        # After everything else, and before everything but the registration.
        for on in (FIRST_DAY + timedelta(days=1000), FIRST_DAY + timedelta(days=1)):
            event = log.make(POSTED[name], on, published=on)
            counts.append(rows_written(log.history(), event))
    assert counts[:2] == counts[2:]
