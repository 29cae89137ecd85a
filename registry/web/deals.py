"""A deal's pages: what is so and what it rests on, every field's blame, and two points in time compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Response, route
from litestar.params import FromPath
from msgspec import Struct

from registry.api import parameters
from registry.api.deals import READ, TWO_POINTS
from registry.domain.assessment import last_published
from registry.domain.audit.comparison import AttributedChange, Comparison, compare
from registry.domain.audit.entries import AuditEntry, audit_trail
from registry.domain.audit.provenance import FieldProvenance, provenance
from registry.domain.claims import ClaimState
from registry.domain.corrections import EffectiveEvent
from registry.domain.deal import Deal, Item, PledgeState
from registry.domain.fold import DEALS
from registry.domain.history import AsOf, FoldedStream, StateAsOf, state_as_of
from registry.domain.stages import inactivity
from registry.errors import MergedInto
from registry.web import as_of, render
from registry.web.assets import csv_response
from registry.web.cache import cached_page
from registry.web.charts.ladder import ladder_marks
from registry.web.charts.timeline import TimelineMark, timeline
from registry.web.charts.two_axis import two_axis_chart
from registry.web.format import names_in, shown
from registry.web.i18n import N_, words
from registry.web.render import Rendered
from registry.web.request import Known, PageRequest, Request, page_request

# The most events of an audit, and the most steps of an amount, that one page shows.
SHOWN_EVENTS = 40
SHOWN_STEPS = 12
# The most events that the text of one mark of the timeline names, and the most characters for each.
MAX_MARK_EVENTS = 6
MAX_MARK_TEXT = 120


BEFORE: Known = {"before": parameters.integer(1, 2**53)}


class HistoryPage(Struct, frozen=True):
    """The events of an audit that a page shows, how many came before them, and the address of those."""

    entries: Sequence[AuditEntry]
    more: int
    earlier: str | None


def audit_page(visit: PageRequest, entries: Sequence[AuditEntry]) -> HistoryPage:
    """The latest events of an audit, or the latest before the version that the address names."""
    before = visit.asked.get("before")
    wanted = [e for e in entries if before is None or e.effective.recorded.version < before]
    shown_here = wanted[-SHOWN_EVENTS:]
    more = len(wanted) - len(shown_here)
    earlier = visit.here(before=shown_here[0].effective.recorded.version, recorded=None) if more else None
    return HistoryPage(shown_here, more, earlier)


class DealPage(Struct, frozen=True):
    """A deal as a page shows it: its history, what is seen of it at the page's clocks, and the names in it."""

    slug: str
    history: FoldedStream[Deal]
    seen: StateAsOf[Deal]
    names: dict[str, str]

    @property
    def state(self) -> Deal:
        assert self.seen.state is not None
        return self.seen.state


class AmountStep(Struct, frozen=True):
    """One step of an amount's history: what it became, when, by which event, and as which kind of change.

    `correction` is the event that corrected how the step was written down, `written` what had been written before.
    """

    on: date
    amount: Any
    kind: str
    event: UUID
    correction: UUID | None = None
    written: Any = None


class Dispute(Struct, frozen=True):
    """A field about which sources disagree: everything that is claimed of it, the followed value among it."""

    path: str
    claims: tuple[ClaimState, ...]


async def load_deal(visit: PageRequest, slug: str) -> DealPage:
    """A deal at the page's clocks; its state may be unknown there. Raises NotFound and Moved."""
    history = await visit.registry.deals.stream(slug)
    clocks = msgspec.structs.replace(visit.clocks, effective_on=visit.times.effective_on)
    seen = state_as_of(slug, history.events, clocks, DEALS)
    if seen.merged_into is not None:
        raise MergedInto(deal=slug, into=seen.merged_into)
    return DealPage(slug, history, seen, await display_names(visit, history.state, seen.state))


async def display_names(visit: PageRequest, state: Deal, seen: Deal | None = None) -> dict[str, str]:
    """What everything that a page about a deal speaks of is called: organizations, related deals, its own things.

    `state` is the deal as all its events have it, `seen` as the page shows it: that may know relations which ended.
    """
    spoken = words(visit.language)
    names = await named(visit, state)
    ever = (*state.relations, *(seen.relations if seen is not None else ()))
    for deal in await visit.registry.deals.related_deals(msgspec.structs.replace(state, relations=ever)):
        names[f"deal/{deal.deal}"] = spoken.localized(deal.title, deal.deal)
    names[f"deal/{state.deal}"] = spoken.gettext(N_("this deal"))
    for thing, items in (("milestones", state.milestones), ("sites", state.sites)):
        for item in items:
            if name := spoken.localized(item.name):
                names[f"{thing}/{getattr(item, thing.removesuffix('s'))}"] = name
    return names


async def named(visit: PageRequest, *deals: Deal | None, slugs: Iterable[str] = ()) -> dict[str, str]:
    """The names of the organizations in some deals: as announced, else as the registry knows them today."""
    names: dict[str, str] = {}
    wanted = set(slugs)
    for deal in deals:
        if deal is None:
            continue
        names.update(names_in(deal, visit.language))
        wanted |= {slug for p in deal.pledges for slug in p.by} | {p.organization for p in deal.parties}
        wanted |= {m for p in deal.partnerships for m in p.members} | {
            c.authority for c in deal.conditions if c.authority
        }
    missing = wanted - names.keys()
    if missing:
        spoken = words(visit.language)
        for slug, raw in (await visit.registry.organizations.named(missing)).items():
            names[slug] = spoken.localized(msgspec.json.decode(raw).get("name"), slug)
    return names


async def titled(visit: PageRequest, slugs: Iterable[str]) -> dict[str, str]:
    """The titles of deals, as they are known now, in the reader's language, under `deal/SLUG`."""
    spoken = words(visit.language)
    names: dict[str, str] = {}
    for slug in slugs:
        history, _ = await visit.registry.streams.load(f"deal/{slug}")
        if history is not None:
            names[f"deal/{slug}"] = spoken.localized(history.state.title, slug)
    return names


def time_sliders(visit: PageRequest, history: FoldedStream[Any]) -> dict[str, as_of.TimeSlider]:
    """The slider's stops of a stream's page, for the world's clock and the known one."""
    effective, published, recorded = as_of.of_history(history)
    rest = {k: v for k, v in visit.given.items() if k != "effective_on"}
    known = {k: v for k, v in visit.given.items() if k not in ("published_on", "recorded_at", "position", "axis")}
    on_axis: Sequence[Any] = published if visit.times.axis == "published" else recorded
    at: Any = visit.clocks.published_on if visit.times.axis == "published" else visit.clocks.recorded_at
    name = "published_on" if visit.times.axis == "published" else "recorded_at"
    return {
        "effective": as_of.rail(effective, visit.clocks.effective_on, "effective_on", rest, visit.times.today),
        "known": as_of.rail(on_axis, at, name, known),
    }


def not_known_page(visit: PageRequest, asked: DealPage) -> Rendered:
    """The page of a deal that was not known at the point asked for: in words, with the way to where it is."""
    first = asked.history.events[0]
    days, _, _ = as_of.of_history(asked.history)
    effective = days[0] if days else first.published_on
    published_on = visit.clocks.published_on
    return render.render(
        visit,
        "unknown.html",
        404,
        deal=asked.slug,
        title=asked.history.state.title,
        first=first,
        effective=effective,
        # It is known, and only begins later.
        ahead=visit.times.effective_on < effective
        and visit.clocks.position is None
        and visit.clocks.recorded_at is None
        and (published_on is None or published_on >= first.published_on),
        rails=time_sliders(visit, asked.history),
        data_url=visit.data(f"/v1/deals/{asked.slug}"),
        csv_url=None,
        cite=None,
    )


@route("/deals/{deal:str}", http_method=READ)
async def get_deal(request: Request, deal: FromPath[str]) -> Response[bytes]:
    """A deal at a point in time."""
    visit = await page_request(request, {"field": parameters.text, "recorded": parameters.flag, **BEFORE})

    async def make() -> Rendered:
        asked = await load_deal(visit, deal)
        return not_known_page(visit, asked) if asked.seen.state is None else await show_deal(visit, asked)

    return await cached_page(visit, make)


async def show_deal(visit: PageRequest, asked: DealPage) -> Rendered:
    """The page of a deal that is known."""
    here, state = shown(visit.language), asked.state
    entries = audit_trail(asked.history.events, visit.clocks, DEALS)
    readings = {r.recorded.id: r for r in asked.seen.effective_events}
    told = audit_page(visit, entries)
    here_told = {e.effective.recorded.id for e in told.entries}

    def event_link(event: UUID) -> str:
        return f"#event-{event}" if event in here_told else visit.link(f"/events/{event}")

    def mark_text(mark: TimelineMark) -> str:
        if mark.date:
            return here.words.gettext(_MILESTONE_DATES[mark.kind]) % {"date": here.figures.edtf_date(mark.date)}
        texts = dict.fromkeys(announcement_text(entry) for entry in mark.entries)
        return "; ".join(list(texts)[:MAX_MARK_EVENTS])

    def announcement_text(entry: AuditEntry) -> str:
        reading = entry.effective
        text = f"{here.type_of(reading.recorded.type)}: {here.summarize_event(reading.event, asked.names)}"
        return text if len(text) <= MAX_MARK_TEXT else f"{text[: MAX_MARK_TEXT - 1]}…"

    path = visit.asked.get("field") or main_field(state)
    fields = chart_fields(state)
    chart = (
        two_axis_chart(asked.history, path, visit.times.axis, visit.clocks, visit.times.today)
        if path in fields
        else None
    )
    assessment = await visit.registry.deals.assessment(asked.history, asked.seen)
    incoming = await visit.registry.deals.incoming(asked.slug, visit.times.today)
    return render.render(
        visit,
        "deal.html",
        deal=state,
        slug=asked.slug,
        seen=asked.seen,
        names=asked.names,
        sentence=here.deal_summary(state, asked.names),
        ladder=ladder_marks(assessment.ladder, state.stage),
        timeline=timeline(state, entries, visit.times.effective_on),
        mark_text=mark_text,
        chart=chart,
        chart_path=path,
        chart_fields=fields,
        amounts={p.pledge: amount_steps(p, entries) for p in state.pledges},
        disputes=disputes(state),
        flags=assessment.flags,
        quiet=inactivity(state.stage, last_published(asked.seen), visit.times.effective_on),
        incoming=[relation for relation in incoming if relation["deal"] != asked.slug],
        told=told,
        event_link=event_link,
        steps_shown=SHOWN_STEPS,
        readings=readings,
        rails=time_sliders(visit, asked.history),
        data_url=visit.data(f"/v1/deals/{asked.slug}"),
        csv_url=visit.link(f"/deals/{asked.slug}/fields.csv"),
        cite=citation(visit, here.words.localized(state.title, asked.slug), asked.seen.position),
    )


_MILESTONE_DATES = {
    "planned": N_("planned for %(date)s"),
    "earlier": N_("was planned for %(date)s"),
    "reached": N_("reached on %(date)s"),
}


def main_field(state: Deal) -> str:
    """The field whose history a deal's chart shows first: its first pledge's amount, else its stage."""
    pledge = next((p for p in state.pledges if p.amount is not None), None)
    return f"/pledges/{pledge.pledge}/amount" if pledge else "/stage"


def chart_fields(state: Deal) -> list[str]:
    """The fields whose history a chart can show."""
    found = [f"/pledges/{p.pledge}/amount" for p in state.pledges]
    found.append("/stage")
    found += [f"/milestones/{m.milestone}/planned" for m in state.milestones]
    found += [f"/sites/{s.site}/power_mw" for s in state.sites if s.power_mw]
    return found


def amount_steps(pledge: PledgeState, entries: Sequence[AuditEntry]) -> list[AmountStep]:
    """How a pledge's amount came to be what it is: announced, revised, corrected."""
    path = f"/pledges/{pledge.pledge}/amount"
    found: dict[UUID, AmountStep] = {}
    for entry in entries:
        for change in (change for change in entry.changes if change.path == path):
            event, of = entry.effective.recorded.id, entry.target_event
            if entry.change_of == "record" and of in found:
                # A correction is no step of its own: it never looks like growth.
                found[of] = msgspec.structs.replace(found[of], correction=event, written=change.before)
            else:
                on = entry.effective.effective_on or entry.effective.published_on
                found[event] = AmountStep(on, change.after, entry.change_of, event)
    return sorted(found.values(), key=lambda step: step.on)


def disputes(state: Deal) -> list[Dispute]:
    """The fields of which more than one thing is said."""
    found: dict[str, list[ClaimState]] = {}
    items: tuple[Item, ...] = (*state.pledges, *state.sites, *state.milestones)
    for item in items:
        for claim in item.claims:
            found.setdefault(claim.field, []).append(claim)
    return [Dispute(path, tuple(claims)) for path, claims in found.items()]


def citation(visit: PageRequest, title: str, position: int, between: tuple[AsOf, AsOf] | None = None) -> str:
    """How to cite a page: what, as of when, as known when (or between which two points), and at which position."""
    here = shown(visit.language)
    said = {"origin": visit.registry.settings.log_origin, "title": title, "n": position}
    points = [_point(visit, clocks) for clocks in (between or (visit.clocks,))]
    if between is not None:
        text = N_("Investment Registry (%(origin)s): %(title)s, compared: %(start)s; %(end)s; log position %(n)s.")
        return here.words.translate(text, start=points[0], end=points[1], **said)
    text = N_("Investment Registry (%(origin)s): %(title)s, %(point)s, log position %(n)s.")
    return here.words.translate(text, point=points[0], **said)


def _point(visit: PageRequest, clocks: AsOf) -> str:
    """A point in time, as a citation has it."""
    here = shown(visit.language)
    date = here.figures.day(clocks.effective_on or visit.times.today)
    if clocks.published_on is not None:
        known = here.figures.day(clocks.published_on)
        return here.words.translate(N_("as of %(date)s, published by %(known)s"), date=date, known=known)
    if clocks.recorded_at is not None:
        known = here.figures.instant(clocks.recorded_at)
        return here.words.translate(N_("as of %(date)s, recorded by %(known)s"), date=date, known=known)
    return here.words.translate(N_("as of %(date)s, as currently known"), date=date)


# --- blame ------------------------------------------------------------------------------------------------------------


class FieldBasis(Struct, frozen=True):
    """A field and all that it rests on."""

    blamed: FieldProvenance
    reading: EffectiveEvent


def field_provenance(asked: DealPage) -> list[FieldBasis]:
    """Every field of the shown state with the event that set it."""
    by_id = {r.recorded.id: r for r in asked.seen.effective_events}
    return [FieldBasis(b, by_id[b.event]) for b in provenance(asked.seen, DEALS)]


class DescribedField(Struct, frozen=True):
    """A field in words: its name, its value, the one before, and the event that chose it among several claims."""

    label: str
    after: str
    before: str | None
    chosen: UUID | None


class SettingEvent(Struct, frozen=True):
    """An event with the fields that it set, in words."""

    reading: EffectiveEvent
    lines: list[DescribedField]


def set_by(visit: PageRequest, asked: DealPage, wanted: str | None) -> list[SettingEvent]:
    """What set the shown fields, or the wanted one: each event once, in the order of recording."""
    here, names = shown(visit.language), asked.names
    found: dict[UUID, SettingEvent] = {}
    for rest in field_provenance(asked):
        b = rest.blamed
        if wanted is not None and b.path != wanted:
            continue
        before = None if b.before is None else here.change(b.path, b.before, names)
        told = DescribedField(here.field(b.path, names), here.change(b.path, b.value, names), before, b.preferred_by)
        found.setdefault(b.event, SettingEvent(rest.reading, [])).lines.append(told)
    return sorted(found.values(), key=lambda setter: setter.reading.recorded.position)


@route("/deals/{deal:str}/blame", http_method=READ)
async def get_blame(request: Request, deal: FromPath[str]) -> Response[bytes]:
    """What a deal's fields rest on: one of them, or all."""
    visit = await page_request(request, {"field": parameters.text})

    async def make() -> Rendered:
        asked = await load_deal(visit, deal)
        if asked.seen.state is None:
            return not_known_page(visit, asked)
        wanted = visit.asked.get("field")
        return render.render(
            visit,
            "blame.html",
            deal=asked.state,
            slug=asked.slug,
            events=set_by(visit, asked, wanted),
            wanted=wanted,
            rails=time_sliders(visit, asked.history),
            data_url=visit.data(f"/v1/deals/{asked.slug}/blame"),
            csv_url=visit.link(f"/deals/{asked.slug}/fields.csv"),
            cite=citation(
                visit, shown(visit.language).words.localized(asked.state.title, asked.slug), asked.seen.position
            ),
        )

    return await cached_page(visit, make)


@route("/deals/{deal:str}/fields.csv", http_method=READ)
async def get_fields(request: Request, deal: FromPath[str]) -> Response[bytes]:
    """A deal's fields with what each rests on, as CSV."""
    visit = await page_request(request)
    asked = await load_deal(visit, deal)
    rows = [
        [
            rest.blamed.path,
            plain(rest.blamed.value),
            plain(rest.blamed.before),
            str(rest.reading.recorded.id),
            rest.reading.recorded.type,
            str(rest.reading.effective_on or ""),
            str(rest.reading.published_on),
            rest.reading.recorded.recorded_at.isoformat(),
            rest.reading.recorded.recorded_by,
            " ".join(s.url for s in rest.reading.sources if s.url),
        ]
        for rest in (field_provenance(asked) if asked.seen.state is not None else [])
    ]
    head = [
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
    ]
    return csv_response(f"{deal}.csv", head, rows)


def plain(value: Any) -> str:
    """A value for a machine: text as it is, the rest as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


# --- compare ----------------------------------------------------------------------------------------------------------


@route("/deals/{deal:str}/compare", http_method=READ)
async def get_compare(request: Request, deal: FromPath[str]) -> Response[bytes]:
    """A deal at two points in time, side by side: what changed, and which kind of change it was."""
    visit = await page_request(request, {**TWO_POINTS})
    at, then = parameters.clocks(visit.asked, "from."), parameters.clocks(visit.asked, "to.")

    async def make() -> Rendered:
        asked = await load_deal(visit, deal)
        history = asked.history
        # From what is asked; else from what the reader was looking at; else from the deal's first day.
        start = next((clocks for clocks in (at, visit.clocks) if clocks != AsOf()), first_point(history))
        on = visit.times.today
        found = compare(history.events, with_today(start, on), with_today(then, on), DEALS)
        return render.render(
            visit,
            "compare.html",
            slug=deal,
            deal=history.state,
            names=asked.names,
            start=start,
            then=then,
            found=found,
            kinds=by_kind(found),
            readings=history.record.by_id,
            moments=moments(history),
            rails=None,
            data_url=visit.data(
                f"/v1/deals/{deal}/compare", **as_of.as_parameters(start, "from."), **as_of.as_parameters(then, "to.")
            ),
            csv_url=f"/deals/{deal}/compare.csv?{between(start, then)}",
            cite=citation(
                visit,
                shown(visit.language).words.localized(history.state.title, deal),
                history.events[-1].position,
                between=(start, then),
            ),
        )

    return await cached_page(visit, make)


@route("/deals/{deal:str}/compare.csv", http_method=READ)
async def get_compare_table(request: Request, deal: FromPath[str]) -> Response[bytes]:
    """A deal's comparison as CSV: a row for each change of a field."""
    visit = await page_request(request, {**TWO_POINTS})
    history = (await load_deal(visit, deal)).history
    at, then = parameters.clocks(visit.asked, "from."), parameters.clocks(visit.asked, "to.")
    found = compare(history.events, with_today(at, visit.times.today), with_today(then, visit.times.today), DEALS)
    rows = [
        [c.kind, c.path, plain(c.before), plain(c.after), " ".join(map(str, c.causes))]
        for changes in by_kind(found).values()
        for c in changes
    ]
    return csv_response(f"{deal}-compare.csv", ["kind", "field", "before", "after", "causes"], rows)


def between(start: AsOf, then: AsOf) -> str:
    """Two points in time as a query."""
    return urlencode({**as_of.as_parameters(start, "from."), **as_of.as_parameters(then, "to.")})


def with_today(clocks: AsOf, today: date) -> AsOf:
    """The clocks with the world's one at today where it was left open."""
    return clocks if clocks.effective_on else msgspec.structs.replace(clocks, effective_on=today)


def first_point(history: FoldedStream[Any]) -> AsOf:
    """Where a comparison begins when nothing is asked: the first day on which the deal was so."""
    effective, published, _ = as_of.of_history(history)
    return AsOf(effective_on=effective[0] if effective else None, published_on=published[0] if published else None)


def by_kind(found: Comparison[Deal]) -> dict[str, list[AttributedChange]]:
    """Changes by the kind of change, the world's first."""
    split: dict[str, list[AttributedChange]] = {kind: [] for kind in ("world", "learned_late", "record", "source")}
    for change in found.changes:
        if not change.path.endswith("/claims"):
            split[change.kind].append(change)
    return split


def moments(history: FoldedStream[Any]) -> dict[str, list[Any]]:
    """The turns of a stream, for the form that chooses two of them."""
    effective, published, recorded = as_of.of_history(history)
    return {"effective": effective, "published": published, "recorded": recorded}


HANDLERS = [get_deal, get_blame, get_fields, get_compare, get_compare_table]
