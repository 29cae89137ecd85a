"""What is asked of a deal's history costs as much per event for a long deal as for a short one.

The cost is the number of instructions that the interpreter runs, which no other process changes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from registry.domain.audit.change_points import change_points
from registry.domain.audit.comparison import compare
from registry.domain.audit.portfolio_changes import portfolio_changes
from registry.domain.calendar import Calendar
from registry.domain.history import AsOf
from registry.domain.stream_kinds import DEALS
from registry.events.types import ClaimPreferred, ClaimReported, EventVoided, PartiesJoined, PledgeAnnounced
from registry.events.values import Party
from registry.standards import ocds
from tests.conftest import drill
from tests.domain.builders import LogBuilder, day, usd

EVENTS = 30


def announce(log: LogBuilder, count: int) -> None:
    for n in range(count):
        pledge = PledgeAnnounced(pledge=f"p-{n}", amount=usd(str(n + 1)), by=(f"payer-{n % 7}",))
        log.record(pledge, f"2024-{1 + n % 12:02}-01", published="2024-01-01")


def pledges(count: int) -> LogBuilder:
    log = LogBuilder()
    announce(log, count)
    return log


def corrections(count: int) -> LogBuilder:
    log = LogBuilder()
    announce(log, count // 2)
    for event in log.events[1:]:
        assert isinstance(event.event, PledgeAnnounced)
        log.correct(event, event=PledgeAnnounced(pledge=event.event.pledge, amount=usd("9")))
    return log


def recorded_again(count: int) -> LogBuilder:
    """Half of the events are voided and recorded again, on the same day and source."""
    log = LogBuilder()
    announce(log, count // 3)
    for event in log.events[1:]:
        log.record(EventVoided(voids=event.id))
    announce(log, count // 3)
    return log


def claims(count: int) -> LogBuilder:
    log = LogBuilder()
    announce(log, count // 3)
    for n in range(count // 3):
        field = f"/pledges/p-{n}/amount"
        log.record(ClaimReported(claim=f"c-{n}", field=field, value=usd("5")), "2024-06-01", published="2024-06-01")
        log.record(ClaimPreferred(field=field, claim=f"c-{n}"))
    return log


def parties(count: int) -> LogBuilder:
    log = LogBuilder()
    for n in range(count):
        log.record(PartiesJoined(parties=(Party(organization=f"o-{n}", role="investor"),)), "2024-02-01")
    return log


HISTORIES = (pledges, corrections, drill(recorded_again), drill(claims), drill(parties))


def instructions(work: Callable[[], Any]) -> int:
    """How many instructions the interpreter runs for some work."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def compared(log: LogBuilder) -> None:
    first, last = AsOf(position=EVENTS // 4), AsOf()
    compare(log.events, first, last, DEALS, Calendar())
    compare(log.events, last, first, DEALS, Calendar())
    compare(log.events, AsOf(effective_on=day("2024-01-01")), AsOf(effective_on=day("2025-01-01")), DEALS, Calendar())


QUESTIONS: dict[str, Callable[[LogBuilder], Any]] = {
    "compare": compared,
    "timemap": lambda log: list(change_points(log.events, Calendar())),
    "ocds": lambda log: ocds.history("ocds-000000", log.slug, log.events),
}


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("question", QUESTIONS)
def test_cost_of_an_event_does_not_grow_with_the_history(question: str, history: Callable[[int], LogBuilder]) -> None:
    ask, short, long = QUESTIONS[question], history(EVENTS), history(4 * EVENTS)
    ask(short)  # What is made once, such as the types of items.
    growth = instructions(lambda: ask(long)) / instructions(lambda: ask(short))
    assert growth < 8, "a cost that grows with the square grows 16 times"


@pytest.mark.parametrize("history", HISTORIES)
def test_cost_of_the_meaning_of_a_change_does_not_grow_with_the_history(history: Callable[[int], LogBuilder]) -> None:
    short, long = (
        compare(history(count).events, AsOf(position=EVENTS // 4), AsOf(), DEALS, Calendar())
        for count in (EVENTS, 4 * EVENTS)
    )
    portfolio_changes(short)
    growth = instructions(lambda: portfolio_changes(long)) / instructions(lambda: portfolio_changes(short))
    assert growth < 10, "a cost that grows with the square grows 16 times and more"
