"""What rests on a source, in a response, and what its retraction does."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from registry.domain.audit.diff import Change
from registry.domain.audit.labels import Label
from registry.domain.sources.retraction import Treatment
from registry.events.types import AnyEvent
from registry.schemas.base import ResponseModel
from registry.schemas.deals import RefusalResponse
from registry.schemas.history import EventMetadata
from registry.schemas.values import LocalizedResponse, SourceResponse


class RestingField(ResponseModel, frozen=True, kw_only=True):
    """A field whose present value an event set."""

    field: str
    value: Any


class SourceCitation(EventMetadata, frozen=True, kw_only=True):
    """An event that cites a source, as it reads after corrections.

    `in_force` is false for an event that was voided or redacted, or that a correction took the citation from, and for a
    claim that was retracted. `fields` are the fields of today's state that the event set: they rest on the source.
    """

    id: UUID
    deal: str | None
    organization: str | None
    title: LocalizedResponse | None
    label: Label
    event: AnyEvent | None
    in_force: bool
    fields: list[RestingField]


class SourceUse(ResponseModel, frozen=True, kw_only=True):
    """Everything that rests on a source: the events that cite it, in the order of the log.

    `source` is as the latest event cites it. `next` is the position after which the next page begins.
    """

    id: str
    source: SourceResponse
    position: int
    citations: list[SourceCitation]
    next: int | None


class TreatedEvent(ResponseModel, frozen=True, kw_only=True):
    """An event that rested on a retracted source, and what became of it.

    `treatment` is `retract` (of a claim), `void`, `uncite` (it stays and no longer cites the source) or `keep`.
    `choices` are the treatments that were possible, `problem` why another was not. `recorded` is the event that did it;
    null in a dry run, and for an event that was kept.
    """

    event: UUID
    deal: str | None
    organization: str | None
    type: str
    treatment: Treatment
    choices: tuple[Treatment, ...]
    problem: RefusalResponse | None
    recorded: UUID | None


class SourceRetraction(ResponseModel, frozen=True, kw_only=True):
    """What a retraction did, or would do (`dry_run`), and what it changes in each deal."""

    id: str
    position: int
    treated: list[TreatedEvent]
    changes: dict[str, list[Change]]
