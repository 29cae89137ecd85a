"""What looks wrong in an announcement, or in what it makes of a deal: flags with rule and evidence, never refusals.

Sources err, and what they say is recorded as they say it; a flag tells the reader to look twice. `flags` are those that
an event raises, `standing` those that a deal's state shows whatever raised them. Pure: other deals, rates and the
earlier events come by argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from uuid import UUID

from msgspec import UNSET, Struct

from registry.domain.deal import AppliedEvent, Deal, PledgeState
from registry.domain.money import format_decimal
from registry.domain.rates import Rates, RateUnavailable, convert, implied_rates
from registry.domain.totals.overlap import Key, Relations, name_of
from registry.events.edtf import last_day
from registry.events.types import (
    Amount,
    ClaimReported,
    Event,
    MilestoneRescheduled,
    MilestoneScheduled,
    PledgeAnnounced,
    PledgeConfirmed,
    PledgeRevised,
    PledgeWithdrawn,
    Source,
)

RATE_TOLERANCE = Decimal("0.05")
"""How far a stated conversion may be from the day's reference rate: rounding and the day's course explain no more."""

POWER_PER_GPU_KW = (Decimal("0.5"), Decimal(5))
"""Power of a whole site per GPU, in kW. An accelerator draws 0.4 to 1.4 kW; servers, network and cooling add to it."""

EASTERNMOST = timedelta(hours=14)
"""How far the first zone to see a new day is ahead of UTC."""

# Between 억 (10^8) and billion (10^9) lies a factor of ten, between 조 (10^12) and 억 one of ten thousand.
_SLIPS = tuple(Decimal(10) ** power for power in (1, 2, 3, 4))
_NEAR = Decimal("0.25")
_RATIO = Context(prec=6, rounding=ROUND_HALF_EVEN)


class Flag(Struct, frozen=True):
    """Something to look at twice. `figures` are what was compared, `events` the ids of the events that said so."""

    rule: str
    detail: str
    field: str
    figures: dict[str, str] = {}
    events: tuple[str, ...] = ()


class FlagContext(Struct, frozen=True):
    """What else is known: reference rates, the deal's earlier events as they read, and the deals that relate to it."""

    rates: Rates | None = None
    earlier: tuple[AppliedEvent, ...] = ()
    neighbours: tuple[Deal, ...] = ()


def event_flags(before: Deal | None, after: Deal, happened: AppliedEvent, known: FlagContext) -> tuple[Flag, ...]:
    """What an event raises: what is odd about it, and what it makes odd about the deal."""
    new = state_flags(after, known)
    if new and before:
        stood = {(f.rule, f.field, tuple(f.figures.items())) for f in state_flags(before, known)}
        new = tuple(f for f in new if (f.rule, f.field, tuple(f.figures.items())) not in stood)
    return (*_of_event(before, happened, known), *new)


def state_flags(deal: Deal, known: FlagContext) -> tuple[Flag, ...]:
    """What is odd about a deal as it stands."""
    related = deal.relations or any(d.relations for d in known.neighbours)
    members = tuple(_members(deal, known)) if related else ()
    return (*members, *_power(deal)) if deal.sites else members


def _of_event(before: Deal | None, happened: AppliedEvent, known: FlagContext) -> Iterator[Flag]:
    event = happened.event
    match event:
        case PledgeAnnounced() | PledgeRevised():
            field = f"/pledges/{event.pledge}"
            if isinstance(event.amount, Amount):
                old = _pledge(before, event.pledge)
                others = _said(old) if old is not None else []
                yield from _amount(event.amount, f"{field}/amount", others, happened.effective_on, happened, known)
            if event.horizon is not UNSET and event.horizon is not None and event.horizon.until is not None:
                yield from _expired_horizons(event.horizon.until, f"{field}/horizon", "horizon-past", happened)
        case ClaimReported() if isinstance(event.value, Amount):
            old = _pledge(before, event.field.split("/")[2])
            others = _said(old) if old is not None else []
            yield from _amount(event.value, event.field, others, happened.published_on, happened, known)
        case MilestoneScheduled() | MilestoneRescheduled() if isinstance(event.planned, str):
            yield from _expired_horizons(
                event.planned, f"/milestones/{event.milestone}/planned", "planned-past", happened
            )
        case _:
            pass
    yield from _duplicates(happened, known)
    if isinstance(event, _OF_PLEDGES):
        yield from _early(event, happened, known)
    yield from source_flags(happened.id, happened.sources, happened.recorded_at)


# --- amounts ----------------------------------------------------------------------------------------------------------


def _said(pledge: PledgeState) -> list[tuple[str, Amount]]:
    """The amounts that are said of a pledge, beside which a new one stands."""
    said = [("before", pledge.amount)] if pledge.amount else []
    claims = [(c.claim or "as announced", c.value) for c in pledge.claims if c.status == "standing"]
    return said + [(name, value) for name, value in claims if isinstance(value, Amount)]


def _amount(
    amount: Amount, field: str, others: list[tuple[str, Amount]], on: date, happened: AppliedEvent, known: FlagContext
) -> Iterator[Flag]:
    slipped = False
    for name, other in others:
        ratio = _ratio(amount, other, on, known.rates)
        if ratio is not None and (factor := _power_of_ten(ratio)):
            slipped = True
            yield Flag(
                "tenfold-slip",
                f"The amount and another that is said of the pledge are a factor of about {format_decimal(factor)} apart: "  # noqa: E501
                "억 and billion, or 조 and 억, may be confused.",
                field,
                {"amount": _words(amount), name: _words(other), "ratio": format_decimal(ratio)},
                (str(happened.id), *_events_on(field, known)),
            )
    for implied in implied_rates(amount, on, known.rates) if known.rates else ():
        ratio = _RATIO.plus(1 + implied.deviation)
        reference = implied.reference
        figures = {
            "stated": _words(amount),
            "also stated": _as_stated(amount, reference.to),
            "implied rate": format_decimal(implied.implied),
            "reference rate": format_decimal(reference.rate),
            "reference day": reference.day.isoformat(),
            "off by": format_decimal(implied.deviation),
        }
        if (factor := _power_of_ten(ratio)) and not slipped:
            detail = f"The two stated amounts are a factor of about {format_decimal(factor)} apart at the day's reference rate."  # noqa: E501
            yield Flag("tenfold-slip", detail, field, figures, (str(happened.id),))
        elif abs(implied.deviation) > RATE_TOLERANCE:
            detail = (
                f"The stated conversion is {abs(implied.deviation):.1%} off the reference rate of {reference.day}: "
                "it may be of another day, or not of this amount."
            )
            yield Flag("implied-rate", detail, field, figures, (str(happened.id),))


def _power_of_ten(ratio: Decimal) -> Decimal | None:
    """The power of ten that a ratio is near to, up or down; None when it is near to none, or too small to tell."""
    if not ratio:
        return None
    up = ratio if ratio >= 1 else _RATIO.divide(Decimal(1), ratio)
    return next((power for power in _SLIPS if abs(up / power - 1) <= _NEAR), None)


def _ratio(amount: Amount, other: Amount, on: date, rates: Rates | None) -> Decimal | None:
    """One amount over the other, at the reference rate of the day where the currencies differ."""
    one, two = _midpoint(amount), _midpoint(other)
    if one is None or two is None or not one or not two:
        return None
    if amount.currency != other.currency:
        rate = rates.rate(other.currency, amount.currency, on) if rates else None
        if rate is None or isinstance(rate, RateUnavailable):
            return None
        two = convert(two, rate)
    return _RATIO.divide(one, two) if two else None


def _midpoint(amount: Amount) -> Decimal | None:
    if amount.value is not None:
        return Decimal(amount.value)
    if amount.low is not None and amount.high is not None:
        return (Decimal(amount.low) + Decimal(amount.high)) / 2
    return Decimal(amount.low or amount.high or 0) or None


def _words(amount: Amount) -> str:
    figure = amount.value or "–".join(end for end in (amount.low, amount.high) if end) or amount.wording or ""
    return " ".join(word for word in (amount.qualifier, amount.currency, figure) if word)


def _as_stated(amount: Amount, currency: str) -> str:
    stated = next(s for s in amount.stated_as if s.currency == currency)
    return " ".join(word for word in (stated.qualifier, stated.currency, stated.value) if word)


# --- members and aggregates -------------------------------------------------------------------------------------------


def _members(deal: Deal, known: FlagContext) -> Iterator[Flag]:
    """A member that is as large as the aggregate it belongs to: the aggregate was very likely ascribed to it."""
    every = {d.deal: d for d in (*known.neighbours, deal)}.values()
    relations = Relations()
    pledges: dict[Key, PledgeState] = {}
    for each in every:
        relations.add_pledges(each.deal, (p.pledge for p in each.pledges))
        pledges |= {(each.deal, p.pledge): p for p in each.pledges if p.status != "withdrawn"}
        for r in each.relations:
            relations.declare(r.relation, (each.deal, r.pledge), (r.deal, r.other_pledge), str(r.source))
    for key, member in pledges.items():
        for whole in sorted(relations.containers(key), key=name_of):
            aggregate = pledges.get(whole)
            if aggregate is None or deal.deal not in (key[0], whole[0]) or not member.amount or not aggregate.amount:
                continue
            ratio = _ratio(member.amount, aggregate.amount, member.announced_on, known.rates)
            if ratio is not None and ratio >= 1:
                yield Flag(
                    "member-not-below-aggregate",
                    f"{name_of(key)} is part of {name_of(whole)}, and not smaller than it: the amount of all "
                    "together may have been ascribed to one.",
                    f"/pledges/{(key if key[0] == deal.deal else whole)[1]}/amount",
                    {name_of(key): _words(member.amount), name_of(whole): _words(aggregate.amount)},
                    relations.events(key, (whole,)),
                )


# --- dates, capacity, repetition --------------------------------------------------------------------------------------


def _expired_horizons(until: str, field: str, rule: str, happened: AppliedEvent) -> Iterator[Flag]:
    if last_day(until) < happened.effective_on:
        yield Flag(
            rule,
            f"{until} was over when it was announced, on {happened.effective_on}.",
            field,
            {"until": until, "announced": happened.effective_on.isoformat()},
            (str(happened.id),),
        )


def _power(deal: Deal) -> Iterator[Flag]:
    for site in deal.sites:
        if site.status == "dropped" or site.power_mw is None or not site.gpus:
            continue
        each = _RATIO.divide(Decimal(site.power_mw) * 1000, Decimal(site.gpus))
        low, high = POWER_PER_GPU_KW
        if not low <= each <= high:
            yield Flag(
                "power-per-gpu",
                f"{format_decimal(each)} kW for each GPU lies outside {format_decimal(low)} to {format_decimal(high)} kW.",  # noqa: E501
                f"/sites/{site.site}/gpus",
                {"power_mw": site.power_mw, "gpus": str(site.gpus), "kw_per_gpu": format_decimal(each)},
            )


def _duplicates(happened: AppliedEvent, known: FlagContext) -> Iterator[Flag]:
    """The same announcement recorded before: the same source saying the same, under whatever id."""
    kind = type(happened.event)
    alike = [e for e in known.earlier if type(e.event) is kind and e.id != happened.id]
    if not alike:
        return
    sources = {mark for source in happened.sources if (mark := _source_key(source))}
    for other in alike:
        common = sources & {_source_key(source) for source in other.sources}
        if common and _content(other.event) == _content(happened.event):
            yield Flag(
                "recorded-twice",
                "The same source was recorded saying the same before.",
                "",
                {"source": min(common), "before": other.effective_on.isoformat()},
                (str(happened.id), str(other.id)),
            )


def _source_key(source: Source) -> str:
    """What makes a source the same wherever it is cited."""
    return source.url or source.locator or source.title or ""


def _content(event: Event) -> object:
    """What an announcement says, apart from the id that it was given here."""
    if isinstance(event, PledgeAnnounced):
        return (event.amount, event.amount_basis, event.by) if event.amount else event
    return event


_OF_PLEDGES = (PledgeRevised, PledgeConfirmed, PledgeWithdrawn)


def _early(
    event: PledgeRevised | PledgeConfirmed | PledgeWithdrawn, happened: AppliedEvent, known: FlagContext
) -> Iterator[Flag]:
    """Published before the pledge it speaks of was: one of the two dates, or the order, is likely wrong."""
    for other in known.earlier:
        announced = isinstance(other.event, PledgeAnnounced) and other.event.pledge == event.pledge
        if announced and happened.published_on < other.published_on:
            yield Flag(
                "published-before-its-pledge",
                f"Published on {happened.published_on}, before the pledge that it changes, on {other.published_on}.",
                f"/pledges/{event.pledge}",
                {"published": happened.published_on.isoformat(), "pledge published": other.published_on.isoformat()},
                (str(happened.id), str(other.id)),
            )


def source_flags(event: UUID, sources: Sequence[Source], recorded_at: datetime) -> Iterator[Flag]:
    """What is odd about who said so, whichever event they said it of: a registration has sources, too."""
    days = [source.published_on for source in sources if source.published_on is not None]
    # A source's day is its own local one: the newest is a day ahead of UTC's wherever it is late enough.
    if days and max(days) > (recorded_at + EASTERNMOST).date():
        recorded = recorded_at.date().isoformat()
        yield Flag(
            "published-after-recorded",
            f"A source is dated {max(days)}, and it was recorded on {recorded}: nobody could have read it yet.",
            "",
            {"published": max(days).isoformat(), "recorded": recorded},
            (str(event),),
        )


def _events_on(field: str, known: FlagContext) -> tuple[str, ...]:
    """The earlier events that gave this field a value."""
    pledge = field.split("/")[2]
    return tuple(
        str(h.id)
        for h in known.earlier
        if (
            isinstance(h.event, PledgeAnnounced | PledgeRevised)
            and h.event.pledge == pledge
            and isinstance(h.event.amount, Amount)
        )
        or (isinstance(h.event, ClaimReported) and h.event.field == field)
    )


def _pledge(deal: Deal | None, pledge: str) -> PledgeState | None:
    return next((p for p in deal.pledges if p.pledge == pledge), None) if deal else None
