"""Decodes the demo's files as the service does, validates their announcements and folds them, without a database."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from importlib.resources import files
from typing import TypeVar

from msgspec import Struct

from registry.domain.admission import admit, fill_defaults
from registry.domain.deal import Deal
from registry.domain.fold.order import Rules
from registry.domain.history import AsOf, FoldedStream, StateAsOf, state_as_of
from registry.domain.organizations.organization import Organization
from registry.domain.stream_kinds import DEALS, ORGANIZATIONS
from registry.events.codec import published_on
from registry.events.intake import AnnouncementDecoder, ImportLine, OrganizationImportLine
from registry.events.types import Recorded, StreamKind, tag_of


class DealLine(ImportLine, frozen=True, kw_only=True):
    """One line of `announcements.ndjson`."""

    recorded_at: datetime


class OrganizationLine(OrganizationImportLine, frozen=True, kw_only=True):
    """One line of `organizations.ndjson`."""

    recorded_at: datetime


S = TypeVar("S", bound=Struct)
Line = DealLine | OrganizationLine


def raw(name: str) -> list[bytes]:
    return files("registry.demo").joinpath(name).read_bytes().splitlines()


@cache
def announcements() -> list[DealLine]:
    intake = AnnouncementDecoder(DealLine)
    return [intake.decode_one(line) for line in raw("announcements.ndjson")]


@cache
def organizations() -> list[OrganizationLine]:
    intake = AnnouncementDecoder(OrganizationLine)
    return [intake.decode_one(line) for line in raw("organizations.ndjson")]


def _append_validated(
    kind: StreamKind, slug: str, rules: Rules[S], history: FoldedStream[S] | None, line: Line, position: int
) -> FoldedStream[S]:
    """Validate the line as the recorder does and return the history with it."""
    history = history or FoldedStream(slug, rules)
    assert line.id is not None
    recorded = Recorded(
        position=position,
        kind=kind,
        slug=slug,
        version=history.version + 1,
        id=line.id,
        type=tag_of(line.event),
        schema=type(line.event).schema,
        effective_on=line.effective_on,
        published_on=published_on(line.sources, line.recorded_at),
        recorded_at=line.recorded_at,
        recorded_by="demo",
        event=fill_defaults(history, line.event),
        sources=line.sources,
        note=line.note,
        leaf_hash=b"",
    )
    return admit(history, recorded)


@cache
def histories() -> dict[str, FoldedStream[Deal]]:
    """The history of every deal, validated in the file's order."""
    deals: dict[str, FoldedStream[Deal]] = {}
    for position, line in enumerate(announcements(), start=1):
        deals[line.deal] = _append_validated("deal", line.deal, DEALS, deals.get(line.deal), line, position)
    return deals


@cache
def organization_histories() -> dict[str, FoldedStream[Organization]]:
    """The history of every organization, validated in the file's order."""
    histories: dict[str, FoldedStream[Organization]] = {}
    for position, line in enumerate(organizations(), start=1):
        slug = line.organization
        histories[slug] = _append_validated("organization", slug, ORGANIZATIONS, histories.get(slug), line, position)
    return histories


def deal_as_of(slug: str, effective_on: str | None = None, published_on: str | None = None) -> StateAsOf[Deal]:
    as_of = AsOf(
        effective_on=date.fromisoformat(effective_on) if effective_on else None,
        published_on=date.fromisoformat(published_on) if published_on else None,
    )
    return state_as_of(slug, histories()[slug].events, as_of, DEALS)


def deal(slug: str, effective_on: str | None = None, published_on: str | None = None) -> Deal:
    state = deal_as_of(slug, effective_on, published_on).state
    assert state is not None
    return state
