"""A page of the history of a deal or an organization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias
from uuid import UUID

from msgspec import Struct

from registry.domain.audit.entries import AuditEntry, audit_trail
from registry.domain.history import StateAsOf
from registry.http.parameters import MAX_POSITION, integer
from registry.web.page.request import PageRequest

# The most events of a history on one page.
MAX_EVENTS = 40

BeforeVersion: TypeAlias = Annotated[
    int | None, integer("The events of a history before this version.", 1, MAX_POSITION)
]


class HistoryPage(Struct, frozen=True):
    """Some events of a history, oldest first: how many came before them, and the address of the page with those."""

    entries: Sequence[AuditEntry]
    earlier: int
    earlier_url: str | None

    @property
    def ids(self) -> set[UUID]:
        """The ids of the events."""
        return {entry.effective.recorded.id for entry in self.entries}


NO_HISTORY = HistoryPage((), 0, None)


def history_page(page: PageRequest, snapshot: StateAsOf[Any], before: int | None) -> HistoryPage:
    """The latest events of a history, or the latest before a version."""
    selected = [event for event in snapshot.record.events if before is None or event.version < before]
    earlier = max(0, len(selected) - MAX_EVENTS)
    after = selected[earlier - 1].position if earlier else 0
    entries = audit_trail(
        snapshot.record.events,
        page.as_of,
        snapshot.timeline.rules,
        page.times.calendar,
        snapshot=snapshot,
        after=after,
        limit=MAX_EVENTS,
    )
    versions = {event.version for event in selected[earlier:]}
    on_page = [entry for entry in entries if entry.effective.recorded.version in versions]
    url = page.here(before=on_page[0].effective.recorded.version, recorded=None) if earlier else None
    return HistoryPage(on_page, earlier, url)
