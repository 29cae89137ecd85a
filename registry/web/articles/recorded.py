"""What a person has just recorded, and its undoing: each event is voided, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litestar.di import NamedDependency
from msgspec import Struct

from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest
from registry.domain.fold.corrections import EffectiveEvent
from registry.domain.principal import Credential
from registry.errors import NotFound
from registry.events.types import AnnouncedKind, Announcement, BookkeepingEvent, EventVoided, OrganizationAnnouncement
from registry.formatting.language import N_, words
from registry.i18n import Message
from registry.queries.log import LogQueries
from registry.queries.streams import StreamReader
from registry.web.page import render
from registry.web.page.render import Rendered
from registry.web.page.request import PageRequest

MAX_EVENTS = 1000


class RecordedStream(Struct):
    """A deal or an organization with its events that the person has just recorded."""

    kind: AnnouncedKind
    slug: str
    version: int
    events: list[EffectiveEvent]

    @property
    def undoable(self) -> list[EffectiveEvent]:
        """The events that can be voided, the latest first. A registration stays: other records may refer to it."""
        return [
            one
            for one in reversed(self.events)
            if one.recorded.version > 1
            and one.voided_by is None
            and not isinstance(one.recorded.event, BookkeepingEvent)
        ]


class RecordedPages:
    """Reads what was recorded and makes its page."""

    def __init__(
        self,
        log_queries: NamedDependency[LogQueries],
        streams: NamedDependency[StreamReader],
    ) -> None:
        self._log = log_queries
        self._streams = streams

    async def find(self, key: Credential, first: int, last: int) -> list[RecordedStream]:
        """The events at these positions that a principal has recorded, by deal and organization.

        Raises:
            NotFound: There are none.
        """
        count = min(last - first + 1, MAX_EVENTS)
        found = await self._log.events(first - 1, count) if first > 0 and count > 0 else []
        by_stream: dict[tuple[AnnouncedKind, str], RecordedStream] = {}
        for stored in found:
            recorded = stored.recorded
            if recorded.recorded_by != key.id or recorded.kind == "principal" or recorded.position > last:
                continue
            stream, _ = await self._streams.load(f"{recorded.kind}/{recorded.slug}")
            assert stream is not None
            own = by_stream.setdefault(
                (recorded.kind, recorded.slug), RecordedStream(recorded.kind, recorded.slug, stream.version, [])
            )
            own.events.append(stream.record.by_id[recorded.id])
        if not by_stream:
            raise NotFound("path", path=f"/record/done?first={first}&last={last}")
        return list(by_stream.values())

    async def show(
        self,
        page: PageRequest,
        streams: Sequence[RecordedStream],
        first: int,
        last: int,
        problem: Message | None = None,
    ) -> Rendered:
        """The page; `problem` is why the undoing was refused."""
        events = [(stream.kind, stream.slug, one.event) for stream in streams for one in stream.events]
        names = await page.names.of_events(events)
        return render.render(
            page,
            "recorded.html",
            409 if problem is not None else 200,
            streams=streams,
            names=names.names,
            names_of=names.of,
            first=first,
            last=last,
            problem=problem,
            undoable=sum(len(stream.undoable) for stream in streams),
            has_registration=any(one.recorded.version == 1 for stream in streams for one in stream.events),
        )


async def undo(recorder: Recorder, key: Credential, streams: Sequence[RecordedStream], language: str) -> None:
    """Void what was just recorded. An event that was recorded since in one of the deals stops it.

    Raises:
        RegistryError: It was refused; nothing was voided.
    """
    reason = words(language).gettext(N_("Undone right after it was recorded."))
    requests = []
    for stream in streams:
        kind: Any = Announcement if stream.kind == "deal" else OrganizationAnnouncement
        voids = [kind(event=EventVoided(voids=one.recorded.id, reason=reason)) for one in stream.undoable]
        if voids:
            requests.append(
                AppendRequest(
                    kind=stream.kind,
                    slug=stream.slug,
                    announcements=voids,
                    by=key.id,
                    credential=key,
                    expected_version=stream.version,
                )
            )
    if requests:
        await recorder.record_all(requests)
