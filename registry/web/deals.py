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

from registry.api import http
from registry.api.deals import READ, TWO_POINTS
from registry.domain import audit
from registry.domain.audit import Audited, Blamed, Caused, Comparison
from registry.domain.deal import ClaimState, Deal, Item, PledgeState
from registry.domain.history import DEALS, Clocks, History, Reading, View, view
from registry.domain.stages import gone_quiet
from registry.errors import Moved
from registry.web import charts, page, times
from registry.web.files import csv_response
from registry.web.page import Rendered, Request, Visit
from registry.web.shown import names_in, shown
from registry.web.words import N_, words

# The most events of an audit, and the most steps of an amount, that one page shows.
SHOWN_EVENTS = 40
SHOWN_STEPS = 12


BEFORE: page.Known = {"before": http.whole(1, 2**53)}


class Part(Struct, frozen=True):
    """The events of an audit that a page shows, how many came before them, and the address of those."""

    entries: Sequence[Audited]
    more: int
    earlier: str | None


def part_of(visit: Visit, entries: Sequence[Audited]) -> Part:
    """The latest events of an audit, or the latest before the version that the address names."""
    before = visit.asked.get("before")
    wanted = [e for e in entries if before is None or e.reading.recorded.version < before]
    shown_here = wanted[-SHOWN_EVENTS:]
    more = len(wanted) - len(shown_here)
    earlier = visit.here(before=shown_here[0].reading.recorded.version, recorded=None) if more else None
    return Part(shown_here, more, earlier)


class Asked(Struct, frozen=True):
    """A deal as a page shows it: its history, what is seen of it at the page's clocks, and the names in it."""

    slug: str
    history: History[Deal]
    seen: View[Deal]
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


async def look(visit: Visit, slug: str) -> Asked:
    """A deal at the page's clocks; its state may be unknown there. Raises NotFound and Moved."""
    history = await visit.reader.history(slug)
    clocks = msgspec.structs.replace(visit.clocks, effective_on=visit.times.effective_on)
    seen = view(slug, history.events, clocks, DEALS)
    if seen.merged_into is not None:
        raise Moved(deal=slug, into=seen.merged_into)
    return Asked(slug, history, seen, await called(visit, history.state, seen.state))


async def called(visit: Visit, state: Deal, seen: Deal | None = None) -> dict[str, str]:
    """What everything that a page about a deal speaks of is called: organizations, related deals, its own things.

    `state` is the deal as all its events have it, `seen` as the page shows it: that may know relations which ended.
    """
    spoken = words(visit.language)
    names = await named(visit, state)
    ever = (*state.relations, *(seen.relations if seen is not None else ()))
    for deal in await visit.reader.neighbours(msgspec.structs.replace(state, relations=ever)):
        names[f"deal/{deal.deal}"] = spoken.own(deal.title, deal.deal)
    names[f"deal/{state.deal}"] = spoken.gettext(N_("this deal"))
    for thing, items in (("milestones", state.milestones), ("sites", state.sites)):
        for item in items:
            if name := spoken.own(item.name):
                names[f"{thing}/{getattr(item, thing.removesuffix('s'))}"] = name
    return names


async def named(visit: Visit, *deals: Deal | None, slugs: Iterable[str] = ()) -> dict[str, str]:
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
        for slug, raw in (await visit.reader.named(missing)).items():
            names[slug] = spoken.own(msgspec.json.decode(raw).get("name"), slug)
    return names


async def titled(visit: Visit, slugs: Iterable[str]) -> dict[str, str]:
    """The titles of deals, as they are known now, in the reader's language, under `deal/SLUG`."""
    spoken = words(visit.language)
    names: dict[str, str] = {}
    for slug in slugs:
        history, _ = await visit.reader.histories.current(visit.reader.reads(), f"deal/{slug}")
        if history is not None:
            names[f"deal/{slug}"] = spoken.own(history.state.title, slug)
    return names


def rails(visit: Visit, history: History[Any]) -> dict[str, times.Rail]:
    """The slider's stops of a stream's page, for the world's clock and the known one."""
    effective, published, recorded = times.of_history(history)
    rest = {k: v for k, v in visit.given.items() if k != "effective_on"}
    known = {k: v for k, v in visit.given.items() if k not in ("published_on", "recorded_at", "position", "axis")}
    on_axis: Sequence[Any] = published if visit.times.axis == "published" else recorded
    at: Any = visit.clocks.published_on if visit.times.axis == "published" else visit.clocks.recorded_at
    name = "published_on" if visit.times.axis == "published" else "recorded_at"
    return {
        "effective": times.rail(effective, visit.clocks.effective_on, "effective_on", rest, visit.times.today),
        "known": times.rail(on_axis, at, name, known),
    }


def unknown(visit: Visit, asked: Asked) -> Rendered:
    """The page of a deal that was not known at the point asked for: in words, with the way to where it is."""
    first = asked.history.events[0]
    days, _, _ = times.of_history(asked.history)
    effective = days[0] if days else first.published_on
    published_on = visit.clocks.published_on
    return page.render(
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
        rails=rails(visit, asked.history),
        data_url=visit.data(f"/v1/deals/{asked.slug}"),
        csv_url=None,
        cite=None,
    )


@route("/deals/{deal:str}", http_method=READ)
async def get_deal(request: Request, deal: FromPath[str]) -> Response[bytes]:
    """A deal at a point in time."""
    visit = await page.visit(request, {"field": http.text, "recorded": http.flag, **BEFORE})

    async def make() -> Rendered:
        asked = await look(visit, deal)
        return unknown(visit, asked) if asked.seen.state is None else await show_deal(visit, asked)

    return await page.kept(visit, make)


async def show_deal(visit: Visit, asked: Asked) -> Rendered:
    """The page of a deal that is known."""
    here, state = shown(visit.language), asked.state
    entries = audit.audit(asked.history.events, visit.clocks, DEALS)
    readings = {r.recorded.id: r for r in asked.seen.readings}
    told = part_of(visit, entries)
    here_told = {e.reading.recorded.id for e in told.entries}

    def door(event: UUID) -> str:
        return f"#event-{event}" if event in here_told else visit.link(f"/events/{event}")

    published = visit.times.axis == "published"
    path = visit.asked.get("field") or main_field(state)
    fields = chart_fields(state)
    chart = charts.two_axes(asked.history, path, published, visit.clocks, visit.times.today) if path in fields else None
    line = charts.time_line(
        asked.seen,
        entries,
        visit.times.effective_on,
        here.figures.loosely,
        lambda e: f"{here.type_of(e.reading.recorded.type)}: {here.happened(e.reading.event, asked.names)}",
        lambda m: here.words.own(m.name) or here.words.label("milestone", m.kind),
        here.words.gettext(N_("Announcements")),
        lambda kind, text: here.words.gettext(_PLAN[kind]) % {"date": here.figures.loosely(text)},
        door,
    )
    incoming = await visit.reader.incoming(asked.slug, visit.times.today)
    return page.render(
        visit,
        "deal.html",
        deal=state,
        slug=asked.slug,
        seen=asked.seen,
        names=asked.names,
        sentence=here.sentence(state, asked.names),
        ladder=charts.ladder(asked.seen),
        line=line,
        chart=chart,
        chart_path=path,
        chart_fields=fields,
        amounts={p.pledge: amount_steps(p, entries) for p in state.pledges},
        disputes=disputes(state),
        flags=await visit.reader.flags(asked.history, asked.seen),
        quiet=gone_quiet(state.stage, last_published(asked.seen), visit.times.effective_on),
        incoming=[relation for relation in incoming if relation["deal"] != asked.slug],
        told=told,
        door=door,
        steps_shown=SHOWN_STEPS,
        readings=readings,
        rails=rails(visit, asked.history),
        data_url=visit.data(f"/v1/deals/{asked.slug}"),
        csv_url=visit.link(f"/deals/{asked.slug}/fields.csv"),
        cite=citation(visit, here.words.own(state.title, asked.slug), asked.seen.position),
    )


_PLAN = {
    "planned": N_("planned for %(date)s"),
    "earlier": N_("was planned for %(date)s"),
    "reached": N_("reached on %(date)s"),
}


def last_published(seen: View[Deal]) -> date | None:
    """The last day on which something that is seen of the deal was published."""
    return max((placed.reading.published_on for placed in seen.steps), default=None)


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


def amount_steps(pledge: PledgeState, entries: Sequence[Audited]) -> list[AmountStep]:
    """How a pledge's amount came to be what it is: announced, revised, corrected."""
    path = f"/pledges/{pledge.pledge}/amount"
    found: dict[UUID, AmountStep] = {}
    for entry in entries:
        for change in (change for change in entry.changes if change.path == path):
            event, of = entry.reading.recorded.id, entry.concerns
            if entry.change_of == "record" and of in found:
                # A correction is no step of its own: it never looks like growth.
                found[of] = msgspec.structs.replace(found[of], correction=event, written=change.before)
            else:
                on = entry.reading.effective_on or entry.reading.published_on
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


def citation(visit: Visit, title: str, position: int, between: tuple[Clocks, Clocks] | None = None) -> str:
    """How to cite a page: what, as of when, as known when (or between which two points), and at which position."""
    here = shown(visit.language)
    said = {"origin": visit.registry.settings.log_origin, "title": title, "n": position}
    points = [_point(visit, clocks) for clocks in (between or (visit.clocks,))]
    if between is not None:
        text = N_("Investment Registry (%(origin)s): %(title)s, compared: %(start)s; %(end)s; position %(n)s.")
        return here.words.say(text, start=points[0], end=points[1], **said)
    text = N_("Investment Registry (%(origin)s): %(title)s, %(point)s, position %(n)s.")
    return here.words.say(text, point=points[0], **said)


def _point(visit: Visit, clocks: Clocks) -> str:
    """A point in time, as a citation has it."""
    here = shown(visit.language)
    date = here.figures.day(clocks.effective_on or visit.times.today)
    if clocks.published_on is not None:
        known = here.figures.day(clocks.published_on)
        return here.words.say(N_("as of %(date)s, as published by %(known)s"), date=date, known=known)
    if clocks.recorded_at is not None:
        known = here.figures.instant(clocks.recorded_at)
        return here.words.say(N_("as of %(date)s, as recorded by %(known)s"), date=date, known=known)
    return here.words.say(N_("as of %(date)s, as known today"), date=date)


# --- blame ------------------------------------------------------------------------------------------------------------


class Rest(Struct, frozen=True):
    """A field and all that it rests on."""

    blamed: Blamed
    reading: Reading


def rests(asked: Asked) -> list[Rest]:
    """Every field of the shown state with the event that set it."""
    by_id = {r.recorded.id: r for r in asked.seen.readings}
    return [Rest(b, by_id[b.event]) for b in audit.blame(asked.seen, DEALS)]


class Told(Struct, frozen=True):
    """A field in words: its name, its value, the one before, and the event that chose it among several claims."""

    label: str
    after: str
    before: str | None
    chosen: UUID | None


class Setter(Struct, frozen=True):
    """An event with the fields that it set, in words."""

    reading: Reading
    lines: list[Told]


def set_by(visit: Visit, asked: Asked, wanted: str | None) -> list[Setter]:
    """What set the shown fields, or the wanted one: each event once, in the order of recording."""
    here, names = shown(visit.language), asked.names
    found: dict[UUID, Setter] = {}
    for rest in rests(asked):
        b = rest.blamed
        if wanted is not None and b.path != wanted:
            continue
        before = None if b.before is None else here.change(b.path, b.before, names)
        told = Told(here.field(b.path, names), here.change(b.path, b.value, names), before, b.preferred_by)
        found.setdefault(b.event, Setter(rest.reading, [])).lines.append(told)
    return sorted(found.values(), key=lambda setter: setter.reading.recorded.position)


@route("/deals/{deal:str}/blame", http_method=READ)
async def get_blame(request: Request, deal: FromPath[str]) -> Response[bytes]:
    """What a deal's fields rest on: one of them, or all."""
    visit = await page.visit(request, {"field": http.text})

    async def make() -> Rendered:
        asked = await look(visit, deal)
        if asked.seen.state is None:
            return unknown(visit, asked)
        wanted = visit.asked.get("field")
        return page.render(
            visit,
            "blame.html",
            deal=asked.state,
            slug=asked.slug,
            events=set_by(visit, asked, wanted),
            wanted=wanted,
            rails=rails(visit, asked.history),
            data_url=visit.data(f"/v1/deals/{asked.slug}/blame"),
            csv_url=visit.link(f"/deals/{asked.slug}/fields.csv"),
            cite=citation(visit, shown(visit.language).words.own(asked.state.title, asked.slug), asked.seen.position),
        )

    return await page.kept(visit, make)


@route("/deals/{deal:str}/fields.csv", http_method=READ)
async def get_fields(request: Request, deal: FromPath[str]) -> Response[bytes]:
    """A deal's fields with what each rests on, as CSV."""
    visit = await page.visit(request)
    asked = await look(visit, deal)
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
        for rest in (rests(asked) if asked.seen.state is not None else [])
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
    visit = await page.visit(request, {**TWO_POINTS})
    at, then = http.clocks(visit.asked, "from."), http.clocks(visit.asked, "to.")

    async def make() -> Rendered:
        asked = await look(visit, deal)
        history = asked.history
        # From what is asked; else from what the reader was looking at; else from the deal's first day.
        start = next((clocks for clocks in (at, visit.clocks) if clocks != Clocks()), first_point(history))
        on = visit.times.today
        found = audit.compare(history.events, opened(start, on), opened(then, on), DEALS)
        return page.render(
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
                f"/v1/deals/{deal}/compare", **times.parameters(start, "from."), **times.parameters(then, "to.")
            ),
            csv_url=f"/deals/{deal}/compare.csv?{between(start, then)}",
            cite=citation(
                visit,
                shown(visit.language).words.own(history.state.title, deal),
                history.events[-1].position,
                between=(start, then),
            ),
        )

    return await page.kept(visit, make)


@route("/deals/{deal:str}/compare.csv", http_method=READ)
async def get_compare_table(request: Request, deal: FromPath[str]) -> Response[bytes]:
    """A deal's comparison as CSV: a row for each change of a field."""
    visit = await page.visit(request, {**TWO_POINTS})
    history = (await look(visit, deal)).history
    at, then = http.clocks(visit.asked, "from."), http.clocks(visit.asked, "to.")
    found = audit.compare(history.events, opened(at, visit.times.today), opened(then, visit.times.today), DEALS)
    rows = [
        [c.kind, c.path, plain(c.before), plain(c.after), " ".join(map(str, c.causes))]
        for changes in by_kind(found).values()
        for c in changes
    ]
    return csv_response(f"{deal}-compare.csv", ["kind", "field", "before", "after", "causes"], rows)


def between(start: Clocks, then: Clocks) -> str:
    """Two points in time as a query."""
    return urlencode({**times.parameters(start, "from."), **times.parameters(then, "to.")})


def opened(clocks: Clocks, today: date) -> Clocks:
    """The clocks with the world's one at today where it was left open."""
    return clocks if clocks.effective_on else msgspec.structs.replace(clocks, effective_on=today)


def first_point(history: History[Any]) -> Clocks:
    """Where a comparison begins when nothing is asked: the first day on which the deal was so."""
    effective, published, _ = times.of_history(history)
    return Clocks(effective_on=effective[0] if effective else None, published_on=published[0] if published else None)


def by_kind(found: Comparison[Deal]) -> dict[str, list[Caused]]:
    """Changes by the kind of change, the world's first."""
    split: dict[str, list[Caused]] = {kind: [] for kind in ("world", "learned_late", "record", "source")}
    for change in found.changes:
        if not change.path.endswith("/claims"):
            split[change.kind].append(change)
    return split


def moments(history: History[Any]) -> dict[str, list[Any]]:
    """The turns of a stream, for the form that chooses two of them."""
    effective, published, recorded = times.of_history(history)
    return {"effective": effective, "published": published, "recorded": recorded}


HANDLERS = [get_deal, get_blame, get_fields, get_compare, get_compare_table]
