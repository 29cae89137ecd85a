"""Helpers for tests of the audit trail and of comparisons."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from registry.domain.audit.comparison import Comparison, compare
from registry.domain.audit.entries import AuditEntry, audit_trail
from registry.domain.audit.portfolio_changes import portfolio_changes
from registry.domain.calendar import Calendar
from registry.domain.deal import Deal
from registry.domain.stream_kinds import DEALS
from registry.events.types import (
    PledgeAnnounced,
    Recorded,
)
from tests.domain.builders import LogBuilder, usd

FIELD = "/pledges/total/amount"


def pledged(amount: str = "5", effective: str = "2024-06-16", **more: Any) -> tuple[LogBuilder, Recorded]:
    log = LogBuilder()
    return log, log.admit(PledgeAnnounced(pledge="total", amount=usd(amount)), effective, **more)


def entries_by_id(log: LogBuilder, **as_of: Any) -> dict[UUID, AuditEntry]:
    return {a.effective.recorded.id: a for a in audit_trail(log.events, log.at(**as_of), DEALS, Calendar())}


def compare_at(log: LogBuilder, at: dict[str, Any], then: dict[str, Any]) -> Comparison[Deal]:
    return compare(log.events, log.at(**at), log.at(**then), DEALS, Calendar())


def kinds(comparison: Comparison[Deal], path: str = FIELD) -> list[tuple[str, Any, Any]]:
    """Each change of an amount: its kind, and the values before and after."""
    return [
        (c.kind, c.before and c.before.value, c.after and c.after.value) for c in comparison.changes if c.path == path
    ]


def whats(comparison: Comparison[Deal]) -> list[str]:
    return [movement.what for movement in portfolio_changes(comparison)]
