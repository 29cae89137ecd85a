"""The page of a deal: its state at a point in time, its charts, and its history.

`sections.py` prepares what its sections list, `charts.py` its charts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias
from uuid import UUID

from litestar import Controller, Response, route
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.assessment import Assessment, last_published
from registry.domain.audit.entries import audit_trail
from registry.domain.deal import Deal
from registry.domain.history import AsOf, FoldedStream, StateAsOf
from registry.domain.principal import AuthorNames
from registry.domain.stages import Inactivity, inactivity
from registry.domain.stream_kinds import DEALS
from registry.errors import MergedInto
from registry.formatting.summaries import doubted_pledges, summarize_deal
from registry.formatting.values import shown
from registry.http.parameters import DealSlug, text
from registry.infra.threads import offload_answer
from registry.queries.deal_errors import first_effective_day, first_known
from registry.queries.deals import DealQueries
from registry.schemas import IncomingRelation
from registry.web.charts.ladder import ladder_marks
from registry.web.charts.maps import site_map
from registry.web.charts.timeline import NARROW as NARROW_TIMELINE
from registry.web.charts.timeline import timeline
from registry.web.deals.charts import chart_fields, field_charts, mark_text
from registry.web.deals.history import BeforeVersion, history_page
from registry.web.deals.sections import (
    OTHER_FIELDS,
    amount_changes,
    claimed_fields,
    listed_sources,
    other_lists,
    shown_pledges,
    supersessions,
)
from registry.web.page import render
from registry.web.page.cache import cached_page
from registry.web.page.citations import cite, deal_certificate, timeline_links
from registry.web.page.render import Rendered
from registry.web.page.request import READ, Page, PageRequest
from registry.web.page.sliders import stream_sliders

# The most amounts beside the name of the deal.
MAX_HEADLINE_AMOUNTS = 4
# The most changes of an amount that the page shows.
MAX_AMOUNT_CHANGES = 12
# The most items of a list that the page shows, and the latest events that its charts show.
MAX_ITEMS = 100
MAX_EVENTS = 500

FieldPath: TypeAlias = Annotated[str | None, text("The path of a field of the deal.")]


class DealView(Struct, frozen=True):
    """A deal as a page shows it: its stream, its state at the page's as-of point, and the names that the page needs."""

    slug: str
    stream: FoldedStream[Deal]
    snapshot: StateAsOf[Deal]
    names: dict[str, str]

    @property
    def state(self) -> Deal:
        """The state at the page's as-of point, where the deal was known."""
        assert self.snapshot.state is not None
        return self.snapshot.state


class DealDetails(Struct, frozen=True):
    """What the page of a deal shows beside its state.

    Attributes:
        assessment: What is derived from the state.
        inactivity: Since when no source has been published.
        incoming: The relations that other deals declare to it.
        authors: The names of those who recorded its events.
    """

    assessment: Assessment
    inactivity: Inactivity | None
    incoming: Sequence[IncomingRelation]
    authors: AuthorNames


class DealPages(Controller):
    """The page of a deal."""

    @route("/deals/{deal:str}", http_method=READ)
    async def get_deal(
        self,
        page: Page,
        deal: DealSlug,
        deal_queries: NamedDependency[DealQueries],
        field: FieldPath = None,
        before: BeforeVersion = None,
        recorded: Annotated[bool, QueryParameter(description="Whether the reader has just recorded an event.")] = False,
    ) -> Response[bytes]:
        """A deal at a point in time."""

        async def make() -> Rendered:
            view = await load_deal(page, deal, deal_queries)
            if view.snapshot.state is None:
                return render_unknown_deal(page, view)
            return await render_deal(page, view, deal_queries, field, before, recorded=recorded)

        return await cached_page(page, make)


async def load_deal(page: PageRequest, slug: str, deal_queries: DealQueries) -> DealView:
    """A deal at the page's as-of point, where it may be unknown.

    Raises:
        NotFound: There is no such deal.
        MergedInto: The deal was merged into another one.
    """
    stream = await deal_queries.stream_for_thread(slug)
    point = replace(page.as_of, effective_on=page.times.effective_on)
    snapshot = await offload_answer(stream.version, _snapshot, stream, point)
    if snapshot.merged_into is not None:
        raise MergedInto(deal=slug, into=snapshot.merged_into)
    names = await page.names.of_deal(stream.state, snapshot.state)
    return DealView(slug, stream, snapshot, names)


def _snapshot(stream: FoldedStream[Deal], point: AsOf) -> StateAsOf[Deal]:
    snapshot = stream.state_as_of(point)
    # The states of a long stream are assembled here, in a thread.
    _ = (snapshot.state, stream.state)
    return snapshot


def render_unknown_deal(page: PageRequest, view: DealView) -> Rendered:
    """The page of a deal that was not known at the as-of point: it links to the first point at which it was."""
    first = first_known(view.stream)
    # Where only the effective date is too early, the link keeps the rest of the point.
    later = first_effective_day(view.stream, page.as_of)
    return render.render(
        page,
        "unknown.html",
        404,
        deal=view.slug,
        title=view.stream.state.title,
        first=first,
        effective=later or first.effective_on,
        ahead=later is not None,
        sliders=stream_sliders(page, view.stream),
        data_url=page.data(f"/v1/deals/{view.slug}"),
    )


async def render_deal(
    page: PageRequest,
    view: DealView,
    deal_queries: DealQueries,
    field: str | None,
    before: int | None,
    *,
    recorded: bool,
) -> Rendered:
    """The page of a deal that was known at the as-of point.

    Args:
        page: The request.
        view: The deal.
        deal_queries: Assesses the deal, and reads which deals refer to it.
        field: The field of the two-axis chart; None for the main one.
        before: The version before which the shown events of the history end; None for the latest events.
        recorded: Whether the reader has just recorded an event.
    """
    details = DealDetails(
        assessment=await deal_queries.related.assessment(view.stream, view.snapshot, page.as_of),
        inactivity=inactivity(
            view.state.stage, last_published(view.snapshot), (await deal_queries.resolve(page.as_of)).observed_on
        ),
        incoming=await deal_queries.related.incoming(view.stream, page.as_of),
        authors=await deal_queries.author_names(view.stream),
    )
    rendered = await offload_answer(
        view.stream.version, _render_deal, page, view, details, field, before, recorded=recorded
    )
    view.stream.return_caches()
    return rendered


def _render_deal(
    page: PageRequest, view: DealView, details: DealDetails, field: str | None, before: int | None, *, recorded: bool
) -> Rendered:
    formatter, state, assessment = shown(page.language), view.state, details.assessment
    recorded_by_then = view.stream.state_as_of(page.as_of)
    events = recorded_by_then.record.events
    is_long = len(events) > MAX_EVENTS
    entries = audit_trail(
        view.stream.events,
        page.as_of,
        DEALS,
        page.times.calendar,
        snapshot=recorded_by_then,
        after=events[-MAX_EVENTS - 1].position if is_long else 0,
    )
    history = history_page(page, recorded_by_then, before)
    fields = chart_fields(state, entries)
    # The chart of a long history takes a second.
    path = field or (fields[0] if fields and not is_long else "")
    wide_chart, narrow_chart = field_charts(page, view.stream, path) if path in fields else (None, None)
    summary = summarize_deal(formatter, state, view.names, doubted_pledges(view.slug, assessment.flags))
    wide_timeline = timeline(state, entries, page.times.effective_on)
    incoming = [relation for relation in details.incoming if relation.deal != view.slug]

    def event_link(event: UUID) -> str:
        return f"#event-{event}" if event in history.ids else page.link(f"/events/{event}")

    return render.render(
        page,
        "deal.html",
        deal=state,
        slug=view.slug,
        recorded=recorded,
        names=view.names,
        summary=summary,
        description=summary,
        ladder=ladder_marks(assessment.ladder, state.stage),
        timeline=wide_timeline,
        narrow_timeline=timeline(state, entries, page.times.effective_on, NARROW_TIMELINE),
        mark_text=mark_text(page, view.names),
        chart=wide_chart,
        narrow_chart=narrow_chart,
        chart_path=path,
        chart_fields=fields,
        amount_changes=amount_changes(state, entries),
        max_amount_changes=MAX_AMOUNT_CHANGES,
        claimed_fields=claimed_fields(state),
        other_fields=OTHER_FIELDS,
        other_lists=other_lists(state),
        site_map=site_map(state.sites),
        max_headline=MAX_HEADLINE_AMOUNTS,
        flags=assessment.flags,
        pledges=shown_pledges(state, assessment.flags),
        max_items=MAX_ITEMS,
        charted_events=MAX_EVENTS if is_long else None,
        undated=assessment.undated,
        inactivity=details.inactivity,
        incoming=incoming,
        supersessions=supersessions(view.slug, state, incoming),
        sources=listed_sources(view.snapshot),
        history=history,
        authors=details.authors,
        event_link=event_link,
        sliders=stream_sliders(page, view.stream),
        data_url=page.data(f"/v1/deals/{view.slug}"),
        csv_url=page.link(f"/deals/{view.slug}/fields.csv"),
        cite=cite(
            page,
            formatter.words.localized(state.title, view.slug),
            view.snapshot.position,
            proofs=[deal_certificate(page, view.slug)],
            feed={"deal": view.slug},
            charts=[timeline_links(page, view.slug)] if wide_timeline is not None else (),
        ),
    )
