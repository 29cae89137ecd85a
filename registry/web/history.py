"""A page of the history of a deal or an organization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias
from uuid import UUID

from msgspec import Struct

from registry.api.parameters import MAX_POSITION, integer
from registry.domain.audit.entries import AuditEntry
from registry.web.request import PageRequest

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


def history_page(page: PageRequest, entries: Sequence[AuditEntry], before: int | None) -> HistoryPage:
    """The latest events of a history, or the latest before a version."""
    selected = [entry for entry in entries if before is None or entry.effective.recorded.version < before]
    on_page = selected[-MAX_EVENTS:]
    earlier = len(selected) - len(on_page)
    url = page.here(before=on_page[0].effective.recorded.version, recorded=None) if earlier else None
    return HistoryPage(on_page, earlier, url)
