"""The sources of a state in a response."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from registry.domain.history import StateAsOf
from registry.domain.sources.identity import source_id
from registry.events.values import Source
from registry.schemas.values import SourceResponse


class CitedSource(SourceResponse, frozen=True, kw_only=True):
    """A source, with the events of the response that cite it. `id` leads to `/v1/sources/{id}`."""

    id: str | None
    events: tuple[UUID, ...]


def cited_sources(snapshot: StateAsOf[Any]) -> tuple[CitedSource, ...]:
    """The sources of the events that a state includes, each once, in the order of the log."""
    cited = [step.effective for step in snapshot.steps]
    if snapshot.registration is not None:
        cited.append(snapshot.registration)
    events: dict[Source, list[UUID]] = {}
    for effective in sorted(cited, key=lambda r: r.recorded.position):
        for source in effective.sources:
            events.setdefault(source, []).append(effective.recorded.id)
    return tuple(
        CitedSource(**msgspec.structs.asdict(source), id=source_id(source), events=tuple(ids))
        for source, ids in events.items()
    )
