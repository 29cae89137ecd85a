"""The metadata of exports (`registry/exports/datapackage.py`): a document for each table, at any point in time."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias
from urllib.parse import urlencode

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter, SkipValidation
from msgspec import Struct
from msgspec.structs import asdict, replace

from registry import exports
from registry.api.openapi import reading
from registry.domain.calendar import Calendar
from registry.domain.history import AsOf
from registry.errors import EvidenceUnavailable
from registry.exports.datapackage import TITLES, ExportedPoint, datapackage
from registry.http.bodies import Request
from registry.http.parameters import After
from registry.http.responses import RawResponse, base_url, json_response
from registry.i18n import DEFAULT_LANGUAGE
from registry.infra.settings import Settings
from registry.projections.columnar.exported_columns import SOURCES, TABLES, ExportedColumn
from registry.queries.event_filter import EventFilter
from registry.queries.log import LogQueries
from registry.queries.portfolio import PortfolioQueries
from registry.schemas import encode
from registry.schemas.deal_query import DealListQuery
from registry.standards.citation import Citation, point_of
from registry.transparency.evidence import Evidence

DATAPACKAGE = "datapackage.json"
WithSources: TypeAlias = Annotated[
    bool, QueryParameter(description="Add columns with the sources of each row: publishers, addresses, days.")
]
CLOCKS = ("effective_on", "published_on", "recorded_at", "position")


def portfolio_metadata(kind: str) -> HTTPRouteHandler:
    """Make the handler of the metadata of a table of the portfolio."""

    async def metadata(
        request: Request,
        portfolio_queries: NamedDependency[PortfolioQueries],
        log_queries: NamedDependency[LogQueries],
        evidence: NamedDependency[Evidence],
        settings: NamedDependency[SkipValidation[Settings]],
        portfolio_as_of: NamedDependency[AsOf],
        deal_filters: NamedDependency[DealListQuery],
        sources: WithSources = False,
    ) -> RawResponse[dict[str, Any]]:
        del deal_filters  # Checked, and passed on as the request has them.
        point = await portfolio_queries.point(portfolio_as_of)
        published = portfolio_as_of.published_on
        known = {"published_on": str(published)} if published is not None else {"position": str(point.position)}
        as_of = replace(portfolio_as_of, effective_on=point.day)
        fixed = {**query_without(request, *CLOCKS), "effective_on": str(point.day), **known}
        exported = _Exported(kind, as_of, point.position, fixed, SOURCES if sources else ())
        return await _metadata(request, exported, log_queries, evidence, settings)

    return _metadata_handler(metadata, kind, "Portfolio")


def log_metadata() -> HTTPRouteHandler:
    """Make the handler of the metadata of the log."""

    async def metadata(
        request: Request,
        log_queries: NamedDependency[LogQueries],
        evidence: NamedDependency[Evidence],
        settings: NamedDependency[SkipValidation[Settings]],
        event_filter: NamedDependency[EventFilter],
        as_of: NamedDependency[AsOf],
        after: After = 0,
    ) -> RawResponse[dict[str, Any]]:
        del event_filter, after  # Checked, and passed on as the request has them.
        last = await log_queries.last_position(as_of)
        fixed = {**query_without(request, "recorded_at", "position"), "position": str(last)}
        return await _metadata(request, _Exported("events", as_of, last, fixed), log_queries, evidence, settings)

    return _metadata_handler(metadata, "events", "Log")


class _Exported(Struct, frozen=True):
    """An export: its rows, the point in time, the query that fixes it, and the columns that the request adds."""

    kind: exports.Kind
    as_of: AsOf
    position: int
    query: dict[str, str]
    more: tuple[ExportedColumn, ...] = ()


async def _metadata(
    request: Request, exported: _Exported, log_queries: LogQueries, evidence: Evidence, settings: Settings
) -> RawResponse[dict[str, Any]]:
    kind, as_of, position, query = exported.kind, exported.as_of, exported.position, exported.query
    recorded = await log_queries.recorded_at(position)
    calendar: Calendar = request.app.state.services.calendar
    base = base_url(request)
    url = f"{base}/v1/export/{kind}.{DATAPACKAGE}?{urlencode(query)}"
    citation = Citation(
        title=TITLES[kind],
        origin=settings.log_origin,
        point=point_of(as_of, as_of.effective_on or calendar.today()),
        position=position,
        on=calendar.day_of(recorded) if recorded is not None else None,
        url=url,
        licence=settings.data_licence,
        language=DEFAULT_LANGUAGE,
    )
    try:
        checkpoint = await evidence.checkpoint()
    except EvidenceUnavailable:
        checkpoint = None
    point = ExportedPoint(
        query=query,
        as_of=asdict(replace(as_of, position=position)),
        position=position,
        checkpoint=checkpoint,
    )
    formats = {name: format.media_type for name, format in exports.FORMATS.items()}
    columns = (*exports.COLUMNS[kind], *exported.more)
    package = datapackage(kind, columns, point, formats, base, citation, recorded)
    return json_response(encode(package))


def _metadata_handler(metadata: Any, kind: exports.Kind, tag: str) -> HTTPRouteHandler:
    metadata.__name__ = metadata.__qualname__ = f"get_{kind}_datapackage"
    metadata.__doc__ = f"What an export of {kind} holds: columns, point in time, checkpoint, licence, citation."
    return reading(
        f"/v1/export/{kind}.{DATAPACKAGE}",
        response_description="A Data Package 2.0 (datapackage.org), whose files are those of this point in time.",
        tags=[tag],
    )(metadata)


def query_without(request: Request, *names: str) -> dict[str, str]:
    """The query of a request without some parameters."""
    return {name: value for name, value in request.query_params.items() if name not in names}


METADATA_HANDLERS = [*map(portfolio_metadata, TABLES), log_metadata()]
