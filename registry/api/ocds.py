"""Deals as releases and records of the Open Contracting Data Standard (`registry/standards/ocds.py`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from registry.api.openapi import MERGED, reading
from registry.domain.deal import Deal
from registry.domain.fold.record import resolve_record
from registry.domain.history import AsOf, FoldedStream
from registry.domain.stream_kinds import DEALS
from registry.errors import MergedInto, NotFound
from registry.http.bodies import Request
from registry.http.parameters import DealSlug, Position, RecordedAt, instant
from registry.http.responses import RawResponse, json_response
from registry.infra import freeing
from registry.infra.settings import Settings
from registry.infra.threads import offload_answer, until_cancelled
from registry.queries.deals import DealQueries
from registry.standards import ocds
from registry.standards.ocds_objects import ocid


class OcdsController(Controller):
    """Deals in the Open Contracting Data Standard 1.1."""

    path = "/v1/ocds"
    tags = ("Deals",)

    @reading("/releases/{deal:str}", "not_found", responses=MERGED)
    async def get_ocds_releases(
        self,
        request: Request,
        deal: DealSlug,
        deal_queries: NamedDependency[DealQueries],
        settings: NamedDependency[SkipValidation[Settings]],
        recorded_at: RecordedAt = None,
        position: Position = None,
    ) -> RawResponse[dict[str, Any]]:
        """A release package: one release for each event of the deal, with what the event changed."""

        def content(found: ocds.History) -> dict[str, Any]:
            return {"releases": _releases(settings, deal, found)}

        as_of = AsOf(recorded_at=instant("recorded_at", recorded_at), position=position)
        return await _package(request, settings, await deal_queries.stream(deal), as_of, content)

    @reading("/records/{deal:str}", "not_found", responses=MERGED)
    async def get_ocds_record(
        self,
        request: Request,
        deal: DealSlug,
        deal_queries: NamedDependency[DealQueries],
        settings: NamedDependency[SkipValidation[Settings]],
        recorded_at: RecordedAt = None,
        position: Position = None,
    ) -> RawResponse[dict[str, Any]]:
        """A record package: the deal's releases, and the release that they compile to."""

        def content(found: ocds.History) -> dict[str, Any]:
            record = {
                "ocid": ocid(settings.ocid_prefix, deal),
                "releases": _releases(settings, deal, found),
                "compiledRelease": ocds.compiled_release(settings.ocid_prefix, deal, found),
            }
            return {"records": [record]}

        as_of = AsOf(recorded_at=instant("recorded_at", recorded_at), position=position)
        return await _package(request, settings, await deal_queries.stream(deal), as_of, content)


def _history(settings: Settings, stream: FoldedStream[Deal], as_of: AsOf) -> ocds.History:
    events = [event for event in stream.events if as_of.was_recorded(event)]
    if not events:
        raise NotFound("deal", deal=stream.slug)
    merged_into = resolve_record(stream.slug, events, DEALS).merged_into
    if merged_into is not None:
        raise MergedInto(deal=stream.slug, into=merged_into)
    return ocds.history(settings.ocid_prefix, stream.slug, until_cancelled(events))


def _releases(settings: Settings, deal: str, found: ocds.History) -> list[dict[str, Any]]:
    return [
        ocds.release(settings.ocid_prefix, deal, each, is_first=index == 0) for index, each in enumerate(found.releases)
    ]


async def _package(
    request: Request,
    settings: Settings,
    stream: FoldedStream[Deal],
    as_of: AsOf,
    content: Callable[[ocds.History], dict[str, Any]],
) -> RawResponse[dict[str, Any]]:
    uri = str(request.url)

    def encoded() -> bytes:
        found = _history(settings, stream, as_of)
        licence = settings.data_licence.url if settings.data_licence is not None else None
        published = found.releases[-1].event.recorded_at
        document = ocds.package(uri, settings.log_origin, licence, published, content(found))
        freeing.after_work(found, document)
        return ocds.encode(document)

    return json_response(await offload_answer(stream.version, encoded))
