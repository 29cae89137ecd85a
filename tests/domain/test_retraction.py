"""Plans of retractions: what becomes of each event that cites a source."""

from __future__ import annotations

import os

import pytest

from registry.domain.deal import Deal
from registry.domain.history import FoldedStream
from registry.domain.sources.identity import source_id
from registry.domain.sources.retraction import announcements, plan_retraction
from registry.domain.stream_kinds import DEALS
from registry.events.types import PledgeAnnounced
from registry.events.values import Source
from tests.domain.builders import LogBuilder, usd

CITED = Source(publisher="Publisher", url="https://publisher.example/1")


def test_plan_of_many_events_reads_random_bytes_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python releases its lock at each read, too briefly for the event loop, which then waits on."""
    log = LogBuilder()
    for number in range(100):
        log.admit(PledgeAnnounced(pledge=f"p-{number}", amount=usd("5")), "2025-01-01", sources=(CITED,))
    stream: FoldedStream[Deal] = FoldedStream(log.slug, DEALS, log.events)
    source, reads, read = source_id(CITED.url or "") or "", [], os.urandom

    def counted(size: int) -> bytes:
        reads.append(size)
        return read(size)

    monkeypatch.setattr(os, "urandom", counted)
    plan = plan_retraction("deal", stream, source, {})
    made = announcements(plan, source, None)
    assert len({announcement.id for _, announcement in made}) == 100
    assert len(reads) <= 2
