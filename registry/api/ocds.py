"""Deals as releases and records of the Open Contracting Data Standard (`registry/standards/ocds.py`)."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from registry.api.bodies import Request
from registry.api.openapi import MERGED, reading
from registry.api.parameters import DealSlug, Position, RecordedAt, instant
from registry.api.responses import RawResponse, json_response
from registry.domain.fold import DEALS
from registry.domain.history import AsOf
from registry.domain.record import resolve_record
from registry.errors import MergedInto, NotFound
from registry.infra.settings import Settings
from registry.queries.deals import DealQueries
from registry.standards import ocds


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
        found = await _history(
            deal_queries, settings, deal, AsOf(recorded_at=instant("recorded_at", recorded_at), position=position)
        )
        return _package(request, settings, found, {"releases": _releases(settings, deal, found)})

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
        found = await _history(
            deal_queries, settings, deal, AsOf(recorded_at=instant("recorded_at", recorded_at), position=position)
        )
        record = {
            "ocid": ocds.ocid(settings.ocid_prefix, deal),
            "releases": _releases(settings, deal, found),
            "compiledRelease": ocds.compiled_release(settings.ocid_prefix, deal, found),
        }
        return _package(request, settings, found, {"records": [record]})


async def _history(deals: DealQueries, settings: Settings, deal: str, as_of: AsOf) -> ocds.History:
    stream = await deals.stream(deal)
    events = [event for event in stream.events if as_of.was_recorded(event)]
    if not events:
        raise NotFound("deal", deal=deal)
    merged_into = resolve_record(deal, events, DEALS).merged_into
    if merged_into is not None:
        raise MergedInto(deal=deal, into=merged_into)
    # A state for each event of a long history takes long enough to block the event loop.
    return await asyncio.to_thread(ocds.history, settings.ocid_prefix, deal, events)


def _releases(settings: Settings, deal: str, found: ocds.History) -> list[dict[str, Any]]:
    return [
        ocds.release(settings.ocid_prefix, deal, each, is_first=index == 0) for index, each in enumerate(found.releases)
    ]


def _package(
    request: Request, settings: Settings, found: ocds.History, content: dict[str, Any]
) -> RawResponse[dict[str, Any]]:
    published: datetime = found.releases[-1].event.recorded_at
    licence = settings.data_licence.url if settings.data_licence is not None else None
    package = ocds.package(str(request.url), settings.log_origin, licence, published, content)
    return json_response(ocds.encode(package))
