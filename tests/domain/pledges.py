"""A deal with one pledge, and the error with which admission refuses an event."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from registry.errors import RuleBroken
from registry.events.types import (
    PledgeAnnounced,
    Recorded,
)
from tests.domain.builders import LogBuilder, usd

UNKNOWN_EVENT = UUID(int=404)
FIELD = "/pledges/total/amount"


def pledged(amount: str = "5", effective: str = "2025-06-16", **more: Any) -> tuple[LogBuilder, Recorded]:
    log = LogBuilder()
    return log, log.admit(PledgeAnnounced(pledge="total", amount=usd(amount)), effective, **more)


def amount(log: LogBuilder, **as_of: Any) -> str | None:
    pledges = log.state(**as_of).pledges
    return pledges[0].amount.value if pledges and pledges[0].amount else None


def refuse(log: LogBuilder, event: Any, effective: str | None = None, **more: Any) -> RuleBroken:
    """The error with which admission refuses an event; the log stays unchanged."""
    before, state = list(log.events), log.history().state
    with pytest.raises(RuleBroken) as refusal:
        log.admit(event, effective, **more)
    assert (log.events, log.history().state) == (before, state)
    return refusal.value
