"""What an event writes costs as much in a long stream as in a short one, as far as the event does not change all of it.

The cost is the number of instructions that the interpreter runs, which no other process changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest

from registry.domain.history import FoldedStream
from registry.domain.stream_kinds import DEALS
from registry.events.types import EventVoided, PledgeAnnounced
from registry.events.write_batch import WriteBatch
from registry.projections import PROJECTIONS, AppliedChange, BatchProjector
from tests.domain.builders import LogBuilder, usd
from tests.domain.test_long_histories import corrections, instructions, pledges, recorded_again

EVENTS = 30


def redactions(count: int) -> LogBuilder:
    """A third of the pledges, and their corrections, are redacted."""
    log = corrections(count)
    for event in log.events[1 : count // 3]:
        log.redact(event)
    return log


def rebuilt(log: LogBuilder) -> None:
    stream = FoldedStream(log.slug, DEALS, log.events)
    for projection in PROJECTIONS:
        projection.rebuild([stream], WriteBatch())


@pytest.mark.parametrize("history", [corrections, recorded_again, redactions])
def test_rebuild_of_a_stream_costs_as_much_for_each_event(history: Callable[[int], LogBuilder]) -> None:
    short, long = history(EVENTS), history(4 * EVENTS)
    rebuilt(short)  # What is made once, such as statements.
    growth = instructions(lambda: rebuilt(long)) / instructions(lambda: rebuilt(short))
    assert growth < 8, "a cost that grows with the square grows 16 times"


def _apply(batches: Sequence[BatchProjector], change: AppliedChange) -> None:
    for batch in batches:
        batch.apply(change)


@pytest.mark.parametrize("act", ["correct", "void"])
def test_event_about_another_one_costs_as_much_in_a_long_stream(act: str) -> None:
    def cost_of_second(count: int) -> int:
        log = pledges(count)
        costs: list[int] = []
        batches = [projection.start_batch() for projection in PROJECTIONS]
        before = log.history()
        # The first one fills the caches.
        for event in log.events[5:7]:
            assert isinstance(event.event, PledgeAnnounced)
            if act == "correct":
                recorded = log.correct(event, event=PledgeAnnounced(pledge=event.event.pledge, amount=usd("9")))
            else:
                recorded = log.record(EventVoided(voids=event.id))
            after = before.copy()
            after.append(recorded)
            change = AppliedChange(recorded, before, after)
            costs.append(instructions(partial(_apply, batches, change)))
            before = after
        return costs[-1]

    assert cost_of_second(16 * EVENTS) < 3 * cost_of_second(EVENTS)
