"""Files: deals and pledges at any point in time, and the log, written while they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Response
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from msgspec.structs import replace

from registry import exports
from registry.api.export_metadata import DATAPACKAGE, WithSources, query_without
from registry.api.openapi import reading
from registry.domain.deal import Deal
from registry.domain.fold.items import item_types
from registry.domain.history import AsOf
from registry.http.bodies import Request
from registry.http.parameters import After
from registry.http.responses import stream
from registry.infra.threads import offload
from registry.projections.columnar.exported_columns import TABLES
from registry.projections.columnar.lists import Order, PagePlace
from registry.queries.event_filter import EventFilter
from registry.queries.log import LogQueries
from registry.queries.portfolio import PortfolioQueries
from registry.schemas import exported_event
from registry.schemas.deal_query import DealListQuery

PAGE = 1_000
DEALS_AT_ONCE = 250
"""Rows of 1,000 deals are decoded for up to 67 ms, during which the event loop does nothing else."""

ROWS = {
    "deals": "deal",
    **{of: item_types(Deal)[of].id_fields[0] for of in TABLES if of != "deals"},
    "parties": "party",
    "metrics": "quantity",
}
"""What a row of each table of the portfolio is."""

Pages = AsyncIterator[Sequence[Any]]


def portfolio_handler(kind: str, form: str, description: str) -> HTTPRouteHandler:
    """Make the handler of a file about the portfolio."""

    async def export(
        request: Request,
        portfolio_queries: NamedDependency[PortfolioQueries],
        portfolio_as_of: NamedDependency[AsOf],
        deal_filters: NamedDependency[DealListQuery],
        byte_order_mark: NamedDependency[bool],
        with_sources: NamedDependency[bool],
    ) -> Response[str]:
        point = await portfolio_queries.point(portfolio_as_of)
        selection = await portfolio_queries.select(point, deal_filters)
        await portfolio_queries.require(point)

        if form != "ndjson" or kind not in ("deals", "pledges"):
            cite = partial(portfolio_queries.write_cited_sources, point, selection, kind) if with_sources else None
            what = await portfolio_queries.exported(kind, point, selection, portfolio_as_of)
            exports.require_open_file()
            file = exports.portfolio_file(what, form, partial(portfolio_queries.read, point, selection), cite)
            return _file(request, kind, form, point.position, exports.with_mark(file) if byte_order_mark else file)

        rates = await portfolio_queries.rates(portfolio_as_of)

        async def pages() -> Pages:
            place: PagePlace | None = None
            while True:
                page = await portfolio_queries.page(point, selection, Order(), place, DEALS_AT_ONCE, rates)
                yield await portfolio_queries.with_items(point, page.deals) if kind == "deals" else page.deals
                place = page.next
                if place is None:
                    break

        return _file(request, kind, form, point.position, exports.export_lines(kind, pages()))

    return _handler(export, kind, form, description, "Portfolio")


def log_handler(form: str) -> HTTPRouteHandler:
    """Make the handler of a file about the log."""

    async def export(
        request: Request,
        log_queries: NamedDependency[LogQueries],
        event_filter: NamedDependency[EventFilter],
        as_of: NamedDependency[AsOf],
        byte_order_mark: NamedDependency[bool],
        after: After = 0,
    ) -> Response[str]:
        # Events that are recorded while the file is written belong to the next file.
        last = await log_queries.last_position(as_of)
        point = replace(as_of, recorded_at=None, position=last)

        if form == "ndjson" and not (
            event_filter.organization or event_filter.source or as_of.effective_on or as_of.published_on
        ):
            rows = _rows(log_queries, event_filter, after, last)
            return _file(request, "events", form, last, exports.export_rows(rows))

        async def pages() -> Pages:
            position = after
            while events := await log_queries.events(position, PAGE, event_filter):
                position = events[-1].recorded.position
                visible = await log_queries.visible(events, point)
                yield await offload(len(visible), lambda page: [exported_event(event) for event in page], visible)
                if len(events) < PAGE or position >= last:
                    break

        file = exports.export_lines("events", pages()) if form == "ndjson" else exports.export_events(form, pages())
        return _file(request, "events", form, last, exports.with_mark(file) if byte_order_mark else file)

    description = "The log as a file, whole or at any point in time: a row for each event, in order."
    return _handler(export, "events", form, description, "Log")


async def _rows(log_queries: LogQueries, event_filter: EventFilter, after: int, last: int) -> Pages:
    """The rows of the log that match a filter of types or of a deal, in pages."""
    while rows := await log_queries.rows(after, last, PAGE, event_filter):
        after = rows[-1]["position"]
        yield rows
        if len(rows) < PAGE:
            break


def _file(request: Request, kind: exports.Kind, form: str, position: int, file: AsyncIterator[bytes]) -> Response[str]:
    """Return a file, streamed."""
    described_by = f"/v1/export/{kind}.{DATAPACKAGE}"
    query = query_without(request, "bom")
    headers = {
        "Cache-Control": "no-cache",
        "Content-Disposition": f'attachment; filename="{kind}-{position}.{form}"',
        "Link": f'<{described_by}{f"?{urlencode(query)}" if query else ""}>; rel="describedby"',
    }
    return stream(request, file, media_type=exports.FORMATS[form].media_type, headers=headers)


def _handler(export: Any, kind: exports.Kind, form: str, description: str, tag: str) -> HTTPRouteHandler:
    export.__name__ = export.__qualname__ = f"get_{kind}_{form}"
    export.__doc__ = description
    return reading(
        f"/v1/export/{kind}.{form}",
        media_type=exports.FORMATS[form].media_type,
        response_description=_columns_text(kind),
        tags=[tag],
        dependencies={
            "byte_order_mark": Provide(_of_csv if form == "csv" else _no_mark, sync_to_thread=False),
            "with_sources": Provide(
                _sources if kind != "events" and form != "ndjson" else _no_sources, sync_to_thread=False
            ),
        },
    )(export)


def _columns_text(kind: exports.Kind) -> str:
    """The columns of a table, for the OpenAPI document."""
    return "Columns:\n\n" + "\n".join(f"- `{column.name}`: {column.description}" for column in exports.COLUMNS[kind])


def _of_csv(
    bom: Annotated[
        bool, QueryParameter(description="Begin with a byte order mark, from which Excel knows that CSV is UTF-8.")
    ] = False,
) -> bool:
    """Return whether a file of CSV begins with a byte order mark."""
    return bom


def _sources(sources: WithSources = False) -> bool:
    return sources


def _no_mark() -> bool:
    return False


def _no_sources() -> bool:
    return False


# A handler for each file and format: Litestar's paths have no parameters within a segment, such as `{kind}.{form}`.
HANDLERS = [
    handler
    for form in exports.FORMATS
    for handler in (
        *(
            portfolio_handler(kind, form, f"{kind.capitalize()} at any point in time as a file: a row for each {row}.")
            for kind, row in ROWS.items()
        ),
        log_handler(form),
    )
]
