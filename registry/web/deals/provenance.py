"""The source of each field of a deal: the event that set its value, and the sources that the event cites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Response, route
from litestar.di import NamedDependency
from msgspec import Struct

from registry.domain.audit.provenance import (
    FIRST_FIELD,
    FieldPlace,
    FieldProvenance,
    provenance,
    provenance_of,
    provenance_page,
    shown_fields,
)
from registry.domain.deal import Deal
from registry.domain.fold.corrections import EffectiveEvent
from registry.domain.fold.items import item_types
from registry.domain.principal import AuthorNames
from registry.formatting.language import DOT, N_
from registry.formatting.values import Names, ValueFormatter, shown
from registry.http.cursors import CursorParameter, decode_cursor, encode_field_cursor
from registry.http.parameters import DealSlug
from registry.infra import freeing
from registry.infra.threads import offload_answer
from registry.queries.deals import DealQueries
from registry.web.deals.page import DealView, FieldPath, load_deal, render_unknown_deal
from registry.web.page import render
from registry.web.page.assets import csv_response
from registry.web.page.cache import cached_page
from registry.web.page.citations import cite, deal_certificate
from registry.web.page.render import Rendered
from registry.web.page.request import READ, Page, PageRequest
from registry.web.page.sliders import stream_sliders

ID_FIELDS = {
    **{name: item.id_fields for name, item in item_types(Deal).items() if name != "parties"},
    "relations": ("deal", "pledge", "other_pledge", "source"),
}
"""The fields of items that only identify them or what their name says in words, by the items' list."""

# The most fields on one page, with those that only identify an item.
PAGE = 500

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


class FieldSource(Struct, frozen=True):
    """A field in words, and the event that set it."""

    text: FieldText
    effective: EffectiveEvent


class FieldGroup(Struct, frozen=True):
    """The fields of one item of a deal, such as a site, or those of the deal itself."""

    heading: str
    fields: list[FieldSource]


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
        field: FieldPath = None,
        cursor: CursorParameter = None,
    ) -> Response[bytes]:
        """The sources of the fields of a deal, page by page, or of one field."""
        start = decode_cursor(cursor).field or FIRST_FIELD

        async def make() -> Rendered:
            view = await load_deal(page, deal, deal_queries)
            if view.snapshot.state is None:
                return render_unknown_deal(page, view)
            authors = await deal_queries.author_names(view.stream)
            return await offload_answer(view.stream.version, render_provenance, page, view, authors, field, start)

        return await cached_page(page, make)

    @route("/deals/{deal:str}/fields.csv", http_method=READ)
    async def get_fields(
        self,
        page: Page,
        deal: DealSlug,
        deal_queries: NamedDependency[DealQueries],
    ) -> Response[bytes]:
        """A deal's fields with the source of each, as CSV."""
        view = await load_deal(page, deal, deal_queries)

        def table() -> Response[bytes]:
            sources = field_sources(view)
            freeing.after_work(sources)
            return csv_response(page, f"{deal}.csv", FIELDS_HEADER, (_row(*source) for source in sources))

        return await offload_answer(view.stream.version, table)


def render_provenance(
    page: PageRequest, view: DealView, authors: AuthorNames, field: str | None, start: FieldPlace
) -> Rendered:
    """A page of the sources of the fields of a deal, or that of one field."""
    groups: list[FieldGroup] = []
    following: FieldPlace | None = None
    if field is None:
        fields, following = provenance_page(view.snapshot, start, PAGE)
        groups = field_groups(page, view, fields)
    return render.render(
        page,
        "provenance.html",
        deal=view.state,
        slug=view.slug,
        events=setting_events(page, view, field) if field is not None else [],
        groups=groups,
        next=encode_field_cursor(view.snapshot.position, page.times.effective_on, following),
        authors=authors,
        field_path=field,
        sliders=stream_sliders(page, view.stream),
        data_url=page.data(f"/v1/deals/{view.slug}/blame"),
        csv_url=page.link(f"/deals/{view.slug}/fields.csv"),
        cite=cite(
            page,
            provenance_title(page, view, field),
            view.snapshot.position,
            proofs=[deal_certificate(page, view.slug)],
            feed={"deal": view.slug},
        ),
    )


def provenance_title(page: PageRequest, view: DealView, field: str | None) -> str:
    """What a page of sources shows, for its citation: the deal, and the field or all of them."""
    formatter = shown(page.language)
    about = formatter.words.gettext(N_("Sources by field"))
    if field is not None:
        about = formatter.words.translate(N_("Source: %(field)s"), field=formatter.field(field, view.names))
    return f"{formatter.words.localized(view.state.title, view.slug)}{DOT}{about}"


def field_sources(view: DealView) -> list[tuple[FieldProvenance, EffectiveEvent]]:
    """Every field of the shown state with the event that set it; none where the deal was not known."""
    return with_events(view, provenance(view.snapshot))


def with_events(view: DealView, fields: Sequence[FieldProvenance]) -> list[tuple[FieldProvenance, EffectiveEvent]]:
    """Fields with the events that set them."""
    return [(field, view.snapshot.record.by_id[field.event]) for field in fields]


def field_groups(page: PageRequest, view: DealView, fields: Sequence[FieldProvenance]) -> list[FieldGroup]:
    """Fields of the shown state by item, those of the deal itself first. Ids are no fields of interest."""
    formatter = shown(page.language)
    groups: dict[str, FieldGroup] = {}
    for field, effective in with_events(view, fields):
        if is_id(field.path):
            continue
        *item, name = field.path.strip("/").split("/")
        heading = formatter.field("/" + "/".join(item), view.names) if item else formatter.words.gettext(N_("Deal"))
        text = _text(formatter, field, view.names, formatter.words.label("field", name))
        groups.setdefault(heading, FieldGroup(heading, [])).fields.append(FieldSource(text, effective))
    return sorted(groups.values(), key=lambda group: group.heading != formatter.words.gettext(N_("Deal")))


def is_id(path: str) -> bool:
    """Whether the field at a path only identifies its item, or the deal or organization itself."""
    *item, name = path.strip("/").split("/")
    return name in ID_FIELDS.get(item[0] if item else "", ("deal", "organization"))


def setting_events(page: PageRequest, view: DealView, path: str) -> list[SettingEvent]:
    """The events that set the field at a path: each event once, in the order of recording."""
    formatter = shown(page.language)
    events: dict[UUID, SettingEvent] = {}
    of_path = [field for field in shown_fields(view.state) if field.path == path]
    for field, effective in with_events(view, provenance_of(view.snapshot, of_path)):
        text = _text(formatter, field, view.names, formatter.field(path, view.names))
        events.setdefault(field.event, SettingEvent(effective, [])).fields.append(text)
    return sorted(events.values(), key=lambda event: event.effective.recorded.position)


def _text(formatter: ValueFormatter, field: FieldProvenance, names: Names, label: str) -> FieldText:
    return FieldText(
        label=label,
        value=formatter.change(field.path, field.value, names),
        before=None if field.before in (None, ()) else formatter.change(field.path, field.before, names),
        preferred_by=field.preferred_by,
    )


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
