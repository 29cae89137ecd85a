"""The source of each field of a deal: the event that set its value, and the sources that the event cites."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Response, route
from litestar.di import NamedDependency
from msgspec import Struct

from registry.api.parameters import DealSlug
from registry.domain.audit.provenance import FieldProvenance, provenance
from registry.domain.corrections import EffectiveEvent
from registry.domain.fold import DEALS
from registry.queries.deals import DealQueries
from registry.queries.organizations import OrganizationQueries
from registry.web import render
from registry.web.assets import csv_response
from registry.web.cache import cached_page
from registry.web.citations import citation
from registry.web.deals import DealView, FieldPath, load_deal, render_unknown_deal
from registry.web.format import shown
from registry.web.render import Rendered
from registry.web.request import READ, Page, PageRequest
from registry.web.sliders import stream_sliders

FIELDS_HEADER = (
    "field",
    "value",
    "before",
    "event",
    "type",
    "effective_on",
    "published_on",
    "recorded_at",
    "recorded_by",
    "sources",
)


class FieldText(Struct, frozen=True):
    """A field in words: its name, its value, the value before, and the event that selected it among several claims."""

    label: str
    value: str
    before: str | None
    preferred_by: UUID | None


class SettingEvent(Struct, frozen=True):
    """An event with the fields that it set."""

    effective: EffectiveEvent
    fields: list[FieldText]


class ProvenancePages(Controller):
    """The sources of a deal's fields, as a page and as CSV."""

    @route("/deals/{deal:str}/blame", http_method=READ)
    async def get_provenance(
        self,
        page: Page,
        deal: DealSlug,
        deal_queries: NamedDependency[DealQueries],
        organization_queries: NamedDependency[OrganizationQueries],
        field: FieldPath = None,
    ) -> Response[bytes]:
        """The sources of all fields of a deal, or of one."""

        async def make() -> Rendered:
            view = await load_deal(page, deal, deal_queries, organization_queries)
            if view.snapshot.state is None:
                return render_unknown_deal(page, view)
            title = shown(page.language).words.localized(view.state.title, view.slug)
            return render.render(
                page,
                "provenance.html",
                deal=view.state,
                slug=view.slug,
                events=setting_events(page, view, field),
                authors=await deal_queries.author_names(view.stream),
                field_path=field,
                sliders=stream_sliders(page, view.stream),
                data_url=page.data(f"/v1/deals/{view.slug}/blame"),
                csv_url=page.link(f"/deals/{view.slug}/fields.csv"),
                cite=citation(page, title, view.snapshot.position),
            )

        return await cached_page(page, make)

    @route("/deals/{deal:str}/fields.csv", http_method=READ)
    async def get_fields(
        self,
        page: Page,
        deal: DealSlug,
        deal_queries: NamedDependency[DealQueries],
        organization_queries: NamedDependency[OrganizationQueries],
    ) -> Response[bytes]:
        """A deal's fields with the source of each, as CSV."""
        view = await load_deal(page, deal, deal_queries, organization_queries)
        rows = [_row(field, effective) for field, effective in field_sources(view)]
        return csv_response(f"{deal}.csv", FIELDS_HEADER, rows)


def field_sources(view: DealView) -> list[tuple[FieldProvenance, EffectiveEvent]]:
    """Every field of the shown state with the event that set it; none where the deal was not known."""
    if view.snapshot.state is None:
        return []
    by_id = {effective.recorded.id: effective for effective in view.snapshot.effective_events}
    return [(field, by_id[field.event]) for field in provenance(view.snapshot, DEALS)]


def setting_events(page: PageRequest, view: DealView, path: str | None) -> list[SettingEvent]:
    """The events that set the shown fields, or the field at a path: each event once, in the order of recording."""
    formatter = shown(page.language)
    events: dict[UUID, SettingEvent] = {}
    for field, effective in field_sources(view):
        if path is not None and field.path != path:
            continue
        text = FieldText(
            label=formatter.field(field.path, view.names),
            value=formatter.change(field.path, field.value, view.names),
            before=None if field.before is None else formatter.change(field.path, field.before, view.names),
            preferred_by=field.preferred_by,
        )
        events.setdefault(field.event, SettingEvent(effective, [])).fields.append(text)
    return sorted(events.values(), key=lambda event: event.effective.recorded.position)


def _row(field: FieldProvenance, effective: EffectiveEvent) -> list[str]:
    return [
        field.path,
        json_text(field.value),
        json_text(field.before),
        str(effective.recorded.id),
        effective.recorded.type,
        str(effective.effective_on or ""),
        str(effective.published_on),
        effective.recorded.recorded_at.isoformat(),
        effective.recorded.recorded_by,
        " ".join(source.url for source in effective.sources if source.url),
    ]


def json_text(value: Any) -> str:
    """A value in a CSV file: text as it is, anything else as JSON, empty for none."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
