"""Plausibility checks: warnings (flags) about an announcement, or about the state that it leads to.

Sources make mistakes, and the registry records what they say; a flag never rejects an event. `event_flags` are those
that one event raises, `state_flags` those of a deal's state, whichever event caused them. The module is pure: other
deals, rates and earlier events are arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from msgspec import UNSET, Struct

from registry.domain.checks.amount_checks import RATE_TOLERANCE, RATIO, figure_of, power_of_ten, ratio
from registry.domain.checks.doubted_amounts import reported_amounts
from registry.domain.deal import Deal, PledgeState
from registry.domain.fold.applied_event import AppliedEvent
from registry.domain.money import format_decimal
from registry.domain.money.rates import Rate, Rates, RateUnavailable, implied_rates
from registry.domain.totals.doubts import CheckedFigure, members_not_below_aggregates
from registry.domain.totals.overlap import Key, Relations, name_of
from registry.events.edtf import last_day
from registry.events.types import (
    ClaimReported,
    MilestoneRescheduled,
    MilestoneScheduled,
    PledgeAnnounced,
    PledgeConfirmed,
    PledgeRevised,
    PledgeWithdrawn,
)
from registry.events.values import Amount, Source
from registry.i18n import Message

POWER_PER_GPU_KW = (Decimal("0.5"), Decimal(5))
"""The usual power of a whole site per GPU, in kW: 0.4 to 1.4 kW for the accelerator, plus servers and cooling."""

EASTERNMOST_OFFSET = timedelta(hours=14)
"""The largest offset of a time zone from UTC."""

MAX_EARLIER_EVENTS = 200
"""How many earlier events an event is compared with: enough to find a duplicate, and a bound on the cost."""


class FlagText(Message):
    """The explanation of a flag."""

    context = "flag"


class Flag(Struct, frozen=True):
    """A warning about one field (a JSON pointer; empty: the event as a whole).

    `detail` is the explanation in English; `text` renders it in any language. `figures` are the values that were
    compared, `events` the ids of the events that state them. `params` are the parameters of the explanation.
    """

    rule: str
    detail: str
    field: str
    figures: dict[str, str] = {}
    events: tuple[str, ...] = ()
    params: dict[str, str] = {}

    @property
    def text(self) -> FlagText:
        """The explanation as a message."""
        return FlagText(self.rule, **self.params)


def _flag(text: FlagText, field: str, figures: dict[str, str], events: tuple[str, ...] = ()) -> Flag:
    params = {name: str(value) for name, value in text.params.items()}
    return Flag(text.code, str(text), field, figures, events, params)


class FlagContext(Struct, frozen=True):
    """What an event is compared with: reference rates, the deal's earlier events, and the deals it is related to."""

    rates: Rates | None = None
    earlier: tuple[AppliedEvent, ...] = ()
    neighbours: tuple[Deal, ...] = ()


def event_flags(before: Deal | None, after: Deal, applied: AppliedEvent, context: FlagContext) -> tuple[Flag, ...]:
    """The flags of an event: those of its content, and those of the state that it adds to the earlier state's."""
    new = state_flags(after, context)
    if new and before:
        existing = {(f.rule, f.field, tuple(f.figures.items())) for f in state_flags(before, context)}
        new = tuple(f for f in new if (f.rule, f.field, tuple(f.figures.items())) not in existing)
    return (*_content_flags(before, applied, context), *new)


def state_flags(deal: Deal, context: FlagContext) -> tuple[Flag, ...]:
    """The flags of a deal's state."""
    related = deal.relations or any(d.relations for d in context.neighbours)
    members = (*_members_not_below_aggregate(deal, context), *_supersedes_no_pledge(deal, context)) if related else ()
    return (*members, *_power_per_gpu(deal)) if deal.sites else members


def source_flags(event: UUID, sources: Sequence[Source], recorded_at: datetime) -> Iterator[Flag]:
    """The flags of the sources of any event, registrations included."""
    days = [source.published_on for source in sources if source.published_on is not None]
    # The publication date is a local one, so it may be a day ahead of UTC.
    if days and max(days) > (recorded_at + EASTERNMOST_OFFSET).date():
        published, recorded = max(days).isoformat(), recorded_at.date().isoformat()
        yield _flag(
            FlagText("published-after-recorded", day=published, other_day=recorded),
            "",
            {"published": published, "recorded": recorded},
            (str(event),),
        )


def _content_flags(before: Deal | None, applied: AppliedEvent, context: FlagContext) -> Iterator[Flag]:
    event = applied.event
    match event:
        case PledgeAnnounced() | PledgeRevised():
            field = f"/pledges/{event.pledge}"
            if isinstance(event.amount, Amount):
                others = reported_amounts(_pledge(before, event.pledge))
                yield from _amount(event.amount, f"{field}/amount", others, applied.effective_on, applied, context)
            if event.horizon is not UNSET and event.horizon is not None and event.horizon.until is not None:
                until = event.horizon.until
                if last_day(until) < applied.effective_on:
                    text = FlagText("horizon-past", until=until, day=applied.effective_on)
                    yield _expired(text, f"{field}/horizon", until, applied)
        case ClaimReported() if isinstance(event.value, Amount):
            others = reported_amounts(_pledge(before, event.field.split("/")[2]))
            yield from _amount(event.value, event.field, others, applied.published_on, applied, context)
        case MilestoneScheduled() | MilestoneRescheduled() if isinstance(event.planned, str):
            if last_day(event.planned) < applied.effective_on:
                text = FlagText("planned-past", until=event.planned, day=applied.effective_on)
                yield _expired(text, f"/milestones/{event.milestone}/planned", event.planned, applied)
        case _:
            pass
    yield from _duplicates(applied, context)
    if isinstance(event, (PledgeRevised, PledgeConfirmed, PledgeWithdrawn)):
        yield from _published_before_pledge(event, applied, context)
    yield from source_flags(applied.id, applied.sources, applied.recorded_at)


def _pledge(deal: Deal | None, pledge: str) -> PledgeState | None:
    return next((p for p in deal.pledges if p.pledge == pledge), None) if deal else None


# --- amounts ----------------------------------------------------------------------------------------------------------


def _amount(
    amount: Amount,
    field: str,
    others: list[tuple[str, Amount]],
    on: date,
    applied: AppliedEvent,
    context: FlagContext,
) -> Iterator[Flag]:
    """Compare an amount with the others of its pledge, and its stated conversions with the reference rates."""
    has_slip = False
    for name, other in others:
        found = _ratio_of(amount, other, on, context.rates)
        if found is not None and (factor := power_of_ten(found)):
            has_slip = True
            yield _flag(
                FlagText("tenfold-slip", factor=format_decimal(factor)),
                field,
                {"amount": _amount_text(amount), name: _amount_text(other), "ratio": format_decimal(found)},
                (str(applied.id), *_events_of_field(field, context)),
            )
    for implied in implied_rates(amount, on, context.rates) if context.rates else ():
        reference = implied.reference
        figures = {
            "stated": _amount_text(amount),
            "also stated": _stated_text(amount, reference.to),
            "implied rate": format_decimal(implied.implied),
            "reference rate": format_decimal(reference.rate),
            "reference day": reference.day.isoformat(),
            "off by": format_decimal(implied.deviation),
            **_earlier_reference(reference, applied, context.rates),
        }
        factor = power_of_ten(RATIO.plus(1 + implied.deviation))
        if factor and not has_slip:
            text = FlagText("tenfold-slip", factor=format_decimal(factor))
            yield _flag(text, field, figures, (str(applied.id),))
        elif abs(implied.deviation) > RATE_TOLERANCE:
            text = FlagText("implied-rate", percent=f"{abs(implied.deviation):.1%}", day=reference.day)
            yield _flag(text, field, figures, (str(applied.id),))


def _earlier_reference(reference: Rate, applied: AppliedEvent, rates: Rates | None) -> dict[str, str]:
    """For a claim, the reference rate of the day from which the amount applies: its source may repeat a conversion."""
    if not isinstance(applied.event, ClaimReported) or applied.effective_on >= reference.asked or rates is None:
        return {}
    earlier = rates.rate(reference.from_, reference.to, applied.effective_on)
    if isinstance(earlier, RateUnavailable) or earlier.day == reference.day:
        return {}
    return {"earlier reference rate": format_decimal(earlier.rate), "earlier reference day": earlier.day.isoformat()}


def _ratio_of(amount: Amount, other: Amount, on: date, rates: Rates | None) -> Decimal | None:
    """One amount divided by the other; None if they can't be compared."""
    one, two = figure_of(amount), figure_of(other)
    return ratio(one, two, on, rates) if one is not None and two is not None else None


def _amount_text(amount: Amount) -> str:
    figure = amount.value or "–".join(end for end in (amount.low, amount.high) if end) or amount.wording or ""
    return " ".join(part for part in (amount.qualifier, amount.currency, figure) if part)


def _stated_text(amount: Amount, currency: str) -> str:
    stated = next(s for s in amount.stated_as if s.currency == currency)
    return " ".join(part for part in (stated.qualifier, stated.currency, stated.value) if part)


def _events_of_field(field: str, context: FlagContext) -> tuple[str, ...]:
    """The ids of the earlier events that report an amount for this field."""
    pledge = field.split("/")[2]
    return tuple(
        str(earlier.id)
        for earlier in context.earlier
        if (
            isinstance(earlier.event, PledgeAnnounced | PledgeRevised)
            and earlier.event.pledge == pledge
            and isinstance(earlier.event.amount, Amount)
        )
        or (isinstance(earlier.event, ClaimReported) and earlier.event.field == field)
    )


# --- members and aggregates -------------------------------------------------------------------------------------------


def _supersedes_no_pledge(deal: Deal, context: FlagContext) -> Iterator[Flag]:
    """Flag a relation that supersedes a pledge that the other deal does not have: it has no effect.

    Most often the other deal is the one that a duplicate with that pledge was merged into.
    """
    pledges = {neighbour.deal: {p.pledge for p in neighbour.pledges} for neighbour in context.neighbours}
    for r in deal.relations:
        if (
            r.relation == "supersedes"
            and r.other_pledge
            and r.other_pledge not in pledges.get(r.deal, {r.other_pledge})
        ):
            yield _flag(
                FlagText("supersedes-no-pledge", deal=r.deal, pledge=r.other_pledge),
                f"/relations/{r.relation}:{r.pledge or ''}:{r.deal}:{r.other_pledge}/relation",
                {},
                (str(r.source),),
            )


def _members_not_below_aggregate(deal: Deal, context: FlagContext) -> Iterator[Flag]:
    """Flag a pledge that is not smaller than the aggregate it is part of: a source may have mixed up the two."""
    deals = {d.deal: d for d in (*context.neighbours, deal)}.values()
    relations = Relations()
    pledges: dict[Key, PledgeState] = {}
    for each in deals:
        relations.add_pledges(each.deal, (p.pledge for p in each.pledges))
        pledges |= {(each.deal, p.pledge): p for p in each.pledges if p.status != "withdrawn"}
        for r in each.relations:
            relations.declare(r.relation, (each.deal, r.pledge), (r.deal, r.other_pledge), str(r.source))
    figures = {
        key: CheckedFigure(found, pledge.announced_on)
        for key, pledge in pledges.items()
        if (found := figure_of(pledge.amount)) is not None
    }
    for key, whole in members_not_below_aggregates(figures, relations, context.rates):
        if deal.deal in (key[0], whole[0]):
            member, aggregate = pledges[key].amount, pledges[whole].amount
            assert member is not None
            assert aggregate is not None
            yield _flag(
                FlagText("member-not-below-aggregate", part=name_of(key), whole=name_of(whole)),
                f"/pledges/{(key if key[0] == deal.deal else whole)[1]}/amount",
                {name_of(key): _amount_text(member), name_of(whole): _amount_text(aggregate)},
                relations.events(key, (whole,)),
            )


# --- dates, capacity, duplicates --------------------------------------------------------------------------------------


def _expired(text: FlagText, field: str, until: str, applied: AppliedEvent) -> Flag:
    figures = {"until": until, "announced": applied.effective_on.isoformat()}
    return _flag(text, field, figures, (str(applied.id),))


def _power_per_gpu(deal: Deal) -> Iterator[Flag]:
    low, high = POWER_PER_GPU_KW
    for site in deal.sites:
        if site.status == "dropped" or site.power_mw is None or not site.gpus:
            continue
        kw_per_gpu = RATIO.divide(Decimal(site.power_mw) * 1000, Decimal(site.gpus))
        if not low <= kw_per_gpu <= high:
            kw = format_decimal(kw_per_gpu)
            yield _flag(
                FlagText("power-per-gpu", kw=kw, low=format_decimal(low), high=format_decimal(high)),
                f"/sites/{site.site}/gpus",
                {"power_mw": site.power_mw, "gpus": str(site.gpus), "kw_per_gpu": kw},
            )


def _duplicates(applied: AppliedEvent, context: FlagContext) -> Iterator[Flag]:
    """Flag an event that repeats the content of an earlier one and cites the same source, under another id."""
    event, kind = applied.event, type(applied.event)
    same = [e for e in context.earlier if type(e.event) is kind]
    if isinstance(event, PledgeAnnounced) and event.amount:
        # The client chooses the pledge id, so it does not tell two announcements apart.
        stated = (event.amount, event.amount_basis, event.by)
        same = [e for e in same if (e.event.amount, e.event.amount_basis, e.event.by) == stated]  # type: ignore[attr-defined]
    else:
        same = [e for e in same if e.event == event]
    sources = {key for source in applied.sources if (key := _source_key(source))} if same else set()
    for other in same:
        if common := sources & {_source_key(source) for source in other.sources}:
            yield _flag(
                FlagText("recorded-twice"),
                "",
                {"source": min(common), "before": other.effective_on.isoformat()},
                (str(applied.id), str(other.id)),
            )


def _source_key(source: Source) -> str:
    """What identifies a source across events."""
    return source.url or source.locator or source.title or ""


def _published_before_pledge(
    event: PledgeRevised | PledgeConfirmed | PledgeWithdrawn, applied: AppliedEvent, context: FlagContext
) -> Iterator[Flag]:
    """Flag an event published before the pledge that it changes: a date or the order is probably wrong."""
    for other in context.earlier:
        is_announcement = isinstance(other.event, PledgeAnnounced) and other.event.pledge == event.pledge
        if is_announcement and applied.published_on < other.published_on:
            yield _flag(
                FlagText("published-before-its-pledge", day=applied.published_on, other_day=other.published_on),
                f"/pledges/{event.pledge}",
                {"published": applied.published_on.isoformat(), "pledge published": other.published_on.isoformat()},
                (str(applied.id), str(other.id)),
            )
