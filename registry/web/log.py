"""The page of the event log: its size, its checkpoints, when it was last verified, and its latest events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Controller, Response, route
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from registry.errors import RegistryError
from registry.events.store import StoredEvent
from registry.events.types import EVENT_TYPES
from registry.formatting.language import N_
from registry.formatting.values import shown
from registry.http.filters import EventType
from registry.http.parameters import MAX_POSITION, integer, text
from registry.queries.event_filter import EventFilter
from registry.queries.log import LogQueries
from registry.queries.portfolio import PortfolioQueries
from registry.transparency.evidence import Evidence
from registry.web.page import render
from registry.web.page.cache import cached_page
from registry.web.page.citations import cite
from registry.web.page.names import EventNames
from registry.web.page.render import Rendered
from registry.web.page.request import READ, Page, PageRequest
from registry.web.page.sliders import current_sliders

MAX_CHECKPOINTS = 20
EVENTS_PER_PAGE = 50


class LogPage(Struct, frozen=True):
    """Some events of the log, the last first; `earlier` is the cursor of the next page, None after the last page."""

    events: Sequence[StoredEvent]
    earlier: int | None

    @property
    def after(self) -> int:
        """The position before the first event of the page, for the API's lists, whose order is that of the log."""
        return self.events[-1].recorded.position - 1 if self.events else 0


class LogPages(Controller):
    """The page of the log."""

    @route("/log", http_method=READ)
    async def get_log(
        self,
        page: Page,
        portfolio_queries: NamedDependency[PortfolioQueries],
        log_queries: NamedDependency[LogQueries],
        evidence: NamedDependency[Evidence],
        before: Annotated[int | None, integer("The latest events before this position.", 1, MAX_POSITION)] = None,
        type: Annotated[EventType | None, QueryParameter(description="Events of this type.")] = None,
        source: Annotated[str | None, text("Events that cite the source with this address.")] = None,
    ) -> Response[bytes]:
        """The log's checkpoints and events."""

        async def make() -> Rendered:
            filters = {name: value for name, value in (("type", type), ("source", source)) if value is not None}
            events = await latest_events(log_queries, before or page.position + 1, filters)
            last = {"position": events.events[0].recorded.position} if events.events else {}
            count = max(1, len(events.events))
            names = await names_in_events(page, events.events)
            checkpoint, problem = None, None
            try:
                checkpoint = await evidence.checkpoint()
            except RegistryError as error:
                problem = error.message
            return render.render(
                page,
                "log.html",
                log=events,
                names=names.names,
                names_of=names.of,
                authors=await page.names.principals([e.recorded.slug for e in events.events if e.recorded.is_withheld]),
                checkpoint=checkpoint,
                problem=problem,
                checkpoints=await evidence.checkpoints(limit=MAX_CHECKPOINTS),
                verified=await evidence.last_verified(),
                public_keys=await evidence.verifiers(),
                types=EVENT_TYPES,
                filters=filters,
                sliders=await current_sliders(page, portfolio_queries),
                data_url=f"/v1/events?{urlencode({'after': events.after, 'limit': count, **filters})}",
                csv_url=f"/v1/export/events.csv?{urlencode({'after': events.after, **last, **filters})}",
                cite=cite(page, shown(page.language).words.gettext(N_("event log")), page.position),
            )

        return await cached_page(page, make)


async def latest_events(log_queries: LogQueries, before: int, filters: dict[str, Any]) -> LogPage:
    """The latest events before a position that match filters, the last first."""
    types = (filters["type"],) if "type" in filters else ()
    wanted = EventFilter(types, source=filters.get("source"))
    events = await log_queries.newest(before, EVENTS_PER_PAGE + 1, wanted)
    shown_events = events[:EVENTS_PER_PAGE]
    return LogPage(shown_events, shown_events[-1].recorded.position if len(events) > EVENTS_PER_PAGE else None)


async def names_in_events(page: PageRequest, events: Sequence[StoredEvent]) -> EventNames:
    """The names of the deals and organizations that events belong to or refer to."""
    shown_events = [event.recorded for event in events if not event.recorded.is_withheld]
    return await page.names.of_events([(one.kind, one.slug, one.event) for one in shown_events])
