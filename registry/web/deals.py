"""The page of a deal: its state at a point in time, its charts, and its history.

The parts of the page are prepared here in their order on it; hence the length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from typing import Annotated, Any, TypeAlias
from uuid import UUID

from litestar import Controller, Response, route
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct
from msgspec.structs import replace

from registry.api.parameters import DealSlug, text
from registry.domain.assessment import Assessment, last_published
from registry.domain.audit.entries import AuditEntry, audit_trail
from registry.domain.audit.labels import Label
from registry.domain.claims import ClaimState
from registry.domain.deal import Deal, Item, PledgeState
from registry.domain.fold import DEALS
from registry.domain.history import AsOf, FoldedStream, StateAsOf
from registry.domain.items import ListItem, item_id, item_types
from registry.domain.plausibility import Flag
from registry.domain.principal import AuthorNames
from registry.domain.stages import inactivity
from registry.errors import MergedInto
from registry.events.values import Source
from registry.infra.threads import offload_answer
from registry.queries.deal_errors import first_effective_day
from registry.queries.deals import DealQueries
from registry.schemas import IncomingRelation, cited_sources
from registry.schemas.deal_query import CODE_FILTERS
from registry.web import render
from registry.web.cache import cached_page
from registry.web.change_points import change_points
from registry.web.charts import two_axis
from registry.web.charts.ladder import ladder_marks
from registry.web.charts.timeline import NARROW as NARROW_TIMELINE
from registry.web.charts.timeline import TimelineMark, timeline
from registry.web.charts.two_axis import TwoAxisChart, known_values, two_axis_chart
from registry.web.citations import cite, deal_certificate, timeline_links
from registry.web.format import own_changes, shown
from registry.web.history import BeforeVersion, history_page
from registry.web.i18n import N_
from registry.web.maps import site_map
from registry.web.render import Rendered
from registry.web.request import READ, Page, PageRequest
from registry.web.sliders import stream_sliders
from registry.web.summaries import amount_flags, doubted_pledges, own_wholes, summarize_deal, summarize_event

# The most amounts beside the name of the deal.
MAX_HEADLINE_AMOUNTS = 4
# The most changes of an amount that the page shows.
MAX_AMOUNT_CHANGES = 12
# The most items of a list that the page shows, and the latest events that its charts show.
MAX_ITEMS = 100
MAX_EVENTS = 500
# The most fields that the two-axis chart can show.
MAX_CHART_FIELDS = 20
# The most events that the text of one mark of the timeline names, and the most characters for each.
MAX_MARK_EVENTS = 6
MAX_MARK_TEXT = 100

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


class AmountChange(Struct, frozen=True):
    """A change of a pledge's amount: the day, the amount from then on, its label, and the event.

    `correction` is the event that corrected it; `original` is the amount as it had been recorded.
    """

    on: date
    amount: Any
    label: Label
    event: UUID
    correction: UUID | None = None
    original: Any = None


class ClaimedField(Struct, frozen=True):
    """A field that several sources give a value for: every claim, with the value used among them."""

    path: str
    claims: tuple[ClaimState, ...]

    @property
    def is_disputed(self) -> bool:
        """Whether a standing claim disagrees with the value used."""
        return any(claim.status == "standing" and not claim.corroborated for claim in self.claims)


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
    first = view.stream.events[0]
    days = change_points(view.stream).effective
    effective = days[0] if days else first.published_on
    # Where only the effective date is too early, the link keeps the rest of the point.
    later = first_effective_day(view.stream, page.as_of)
    return render.render(
        page,
        "unknown.html",
        404,
        deal=view.slug,
        title=view.stream.state.title,
        first=first,
        # None without a dated source: the day of its publication is not known.
        published_on=view.stream.record.by_id[first.id].dated_by_source,
        effective=later or effective,
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
    assessment = await deal_queries.related.assessment(view.stream, view.snapshot, page.as_of)
    incoming = await deal_queries.related.incoming(view.stream, page.as_of)
    authors = await deal_queries.author_names(view.stream)
    how = (page, view, assessment, incoming, authors, field, before)
    rendered = await offload_answer(view.stream.version, _render_deal, *how, recorded=recorded)
    view.stream.return_caches()
    return rendered


def _render_deal(
    page: PageRequest,
    view: DealView,
    assessment: Assessment,
    incoming: Sequence[IncomingRelation],
    authors: AuthorNames,
    field: str | None,
    before: int | None,
    *,
    recorded: bool,
) -> Rendered:
    formatter, state = shown(page.language), view.state
    recorded_by_then = view.stream.state_as_of(page.as_of)
    events = recorded_by_then.record.events
    is_long = len(events) > MAX_EVENTS
    entries = audit_trail(
        view.stream.events,
        page.as_of,
        DEALS,
        snapshot=recorded_by_then,
        after=events[-MAX_EVENTS - 1].position if is_long else 0,
    )
    history = history_page(page, recorded_by_then, before)
    fields = chart_fields(state, entries)
    # The chart of a long history takes a second.
    path = field or (fields[0] if fields and not is_long else "")

    charts: list[TwoAxisChart | None] = [None, None]
    if path in fields:
        known = known_values(view.stream, path, page.times.axis)
        how = (view.stream, known, page.times.axis, page.as_of, page.times.effective_on)
        charts = [two_axis_chart(*how, frame) for frame in (two_axis.WIDE, two_axis.NARROW)]

    summary = summarize_deal(formatter, state, view.names, doubted_pledges(view.slug, assessment.flags))
    wide_timeline = timeline(state, entries, page.times.effective_on)

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
        chart=charts[0],
        narrow_chart=charts[1],
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
        # On a day to come, sources may still be published until then.
        inactivity=inactivity(
            state.stage, last_published(view.snapshot), min(page.times.effective_on, page.times.today)
        ),
        incoming=[relation for relation in incoming if relation.deal != view.slug],
        sources=listed_sources(view.snapshot),
        history=history,
        authors=authors,
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


class ShownPledge(Struct, frozen=True):
    """A pledge with the flags on its amount, and the pledge of the same deal that it is part of."""

    state: PledgeState
    flags: tuple[str, ...]
    part_of: str | None

    @property
    def basis(self) -> str | None:
        """What the amount is of, as it is shown: a part stands under its whole and is not in addition to it."""
        return None if self.part_of is not None and self.state.amount_basis != "annual" else self.state.amount_basis


def shown_pledges(deal: Deal, flags: Sequence[Flag]) -> list[ShownPledge]:
    """The pledges of a deal, each part after its whole."""
    wholes, flags_of_amounts = own_wholes(deal), amount_flags(deal.deal, flags)
    places = {pledge.pledge: place for place, pledge in enumerate(deal.pledges)}

    def place(pledge: PledgeState) -> tuple[int, int]:
        whole = wholes.get(pledge.pledge)
        own = places[pledge.pledge]
        return (places[whole], own + 1) if whole in places else (own, 0)

    return [
        ShownPledge(
            pledge,
            flags_of_amounts.get(pledge.pledge, ()),
            wholes.get(pledge.pledge),
        )
        for pledge in sorted(deal.pledges, key=place)
    ]


class ListedSource(Struct, frozen=True):
    """A source of a deal, the number of its events that cite it, and its citations with a quotation."""

    id: str | None
    source: Source
    events: int
    quotations: tuple[Source, ...]


def listed_sources(snapshot: StateAsOf[Deal]) -> list[ListedSource]:
    """The sources of a deal, each article once, the latest first."""
    found: dict[str | None, tuple[list[Source], set[UUID]]] = {}
    for cited in cited_sources(snapshot):
        source = Source(**{name: getattr(cited, name) for name in Source.__struct_fields__})
        citations, events = found.setdefault(cited.id, ([], set()))
        citations.append(source)
        events |= set(cited.events)
    listed = [
        ListedSource(id, citations[0], len(events), tuple(one for one in citations if one.quote))
        for id, (citations, events) in found.items()
    ]
    return sorted(listed, key=lambda one: one.source.published_on or date.min, reverse=True)


OTHER_FIELDS = tuple(field for field in CODE_FILTERS.values() if field not in ("kind", "sectors"))
"""The fields of a deal with a filter that the page shows by their labels."""

LISTS_WITH_OWN_SECTIONS = ("parties", "pledges", "sites", "milestones", "conditions", "relations")
"""The lists of a deal that the page lays out field by field. It shows all others by one pattern."""


def other_lists(deal: Deal) -> dict[str, list[tuple[str, ListItem]]]:
    """The items of the lists without sections of their own, each with the path of its id."""
    lists: dict[str, list[tuple[str, ListItem]]] = {}
    for name, item_type in item_types(type(deal)).items():
        if name not in LISTS_WITH_OWN_SECTIONS and getattr(deal, name):
            id_field = item_type.id_fields[0]
            lists[name] = [(f"/{name}/{item_id(item)}/{id_field}", item) for item in getattr(deal, name)]
    return lists


_MILESTONE_DATES = {
    "planned": N_("planned for %(date)s"),
    "earlier": N_("was planned for %(date)s"),
    "reached": N_("reached on %(date)s"),
}


def mark_text(page: PageRequest, names: dict[str, str]) -> Callable[[TimelineMark], str]:
    """A function that writes the text of a mark of the timeline."""
    formatter = shown(page.language)

    def announcement(entry: AuditEntry) -> str:
        effective = entry.effective
        summary = summarize_event(formatter, effective.event, names, MAX_MARK_TEXT)
        return f"{formatter.type_of(effective.recorded.type)}: {summary}"

    def write(mark: TimelineMark) -> str:
        if mark.date:
            return formatter.words.translate(_MILESTONE_DATES[mark.kind], date=formatter.figures.edtf_date(mark.date))
        texts: dict[str, None] = {}
        for entry in mark.entries:
            if len(texts) == MAX_MARK_EVENTS:
                break
            texts[announcement(entry)] = None
        return "; ".join(texts)

    return write


def chart_fields(deal: Deal, entries: Sequence[AuditEntry]) -> list[str]:
    """The fields that the two-axis chart can show: those that changed after they were first set."""
    changes = Counter(change.path for entry in entries for change in entry.changes)
    return [path for path in _dated_fields(deal) if changes[path] > 1][:MAX_CHART_FIELDS]


def _dated_fields(deal: Deal) -> list[str]:
    return [
        *(f"/pledges/{p.pledge}/amount" for p in deal.pledges),
        "/stage",
        *(f"/milestones/{m.milestone}/planned" for m in deal.milestones),
        *(f"/sites/{s.site}/power_mw" for s in deal.sites if s.power_mw),
    ]


def amount_changes(deal: Deal, entries: Sequence[AuditEntry]) -> dict[str, list[AmountChange]]:
    """The changes of each pledge's amount in effective order. A correction belongs to the change that it corrects."""
    paths = {f"/pledges/{pledge.pledge}/amount": pledge.pledge for pledge in deal.pledges}
    found: dict[str, dict[UUID, AmountChange]] = {pledge: {} for pledge in paths.values()}
    for entry in entries:
        for change in (change for change in own_changes(entry) if change.path in paths):
            changes = found[paths[change.path]]
            event, corrected = entry.effective.recorded.id, entry.target_event
            if corrected in changes:
                changes[corrected] = replace(changes[corrected], correction=event, original=change.before)
            else:
                day = entry.effective.effective_on or entry.effective.published_on
                changes[event] = AmountChange(day, change.after, entry.label, event)
    return {pledge: sorted(changes.values(), key=lambda change: change.on) for pledge, changes in found.items()}


def claimed_fields(deal: Deal) -> list[ClaimedField]:
    """The fields that have claims."""
    claims: dict[str, list[ClaimState]] = {}
    items: tuple[Item, ...] = (*deal.pledges, *deal.sites, *deal.milestones)
    for item in items:
        for claim in item.claims:
            claims.setdefault(claim.field, []).append(claim)
    return [ClaimedField(path, tuple(of_path)) for path, of_path in claims.items()]
