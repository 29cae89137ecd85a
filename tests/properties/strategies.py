"""Hypothesis strategies for plausible random logs of a deal.

The logs have backdated events, events of one day and one recorded time, revisions published before their pledge,
corrections of corrections, voids of voids, claims, preferences, retractions, merges and redactions. Events are recorded
without validation unless `admitted` is given, because the fold must take any log.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st
from msgspec import UNSET, Struct

from registry.errors import RuleBroken
from registry.events.types import (
    AnyEvent,
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    ConditionLifted,
    ConditionSet,
    DealIdentified,
    DealMerged,
    DealRegistered,
    DealRevised,
    DealsRelated,
    DealsUnrelated,
    DealUnmerged,
    DisbursementReported,
    EventCorrected,
    EventRedacted,
    EventVoided,
    IncentiveEnded,
    IncentiveGranted,
    IncentiveRevised,
    MetricReported,
    MetricRevised,
    MilestoneCancelled,
    MilestoneReached,
    MilestoneRescheduled,
    MilestoneScheduled,
    PartiesJoined,
    PartnershipFormed,
    PartyLeft,
    PledgeAnnounced,
    PledgeConfirmed,
    PledgeRevised,
    PledgeWithdrawn,
    Recorded,
    Replacement,
    SetbackReported,
    SetbackResolved,
    SiteAnnounced,
    SiteDropped,
    SiteRevised,
    StageChanged,
    StatusObserved,
)
from registry.events.values import Amount, Classifications, ExternalIdentifier, Horizon, Localized, Party, Source
from tests.domain.builders import FIRST_INSTANT, LogBuilder

T = TypeVar("T")

# Few days, close to the recorded times, so that many events share a day.
DAYS = [FIRST_INSTANT.date() + timedelta(days=n) for n in (-400, -30, -3, 0, 1, 2, 4, 40)]

days = st.sampled_from(DAYS)
amounts = st.builds(
    Amount,
    currency=st.sampled_from(["USD", "KRW"]),
    value=st.sampled_from(["4", "5", "50", "7"]),
    qualifier=st.sampled_from([None, "about"]),
    figure=st.sampled_from([None, None, "estimated"]),
)
pledges = st.sampled_from(["p1", "p2"])
sites = st.sampled_from(["s1", "s2"])
milestones = st.sampled_from(["m1", "m2"])
organizations = st.sampled_from(["amazon", "sk"])
claims = st.sampled_from(["c1", "c2", "c3"])
bases = st.sampled_from([None, "annual", "total"])
commitments = st.sampled_from([None, "intention", "pledge", "binding", "budget"])
roles = st.sampled_from([None, "investor", "operator"])
texts = st.builds(Localized, en=st.sampled_from(["one", "two"]))
loose_dates = st.sampled_from(["2027", "2027-11", "2029~"])
megawatts = st.sampled_from(["40", "41", "103"])
relations = st.sampled_from(["part_of", "additional_to"])


def maybe(values: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    return st.none() | values


def revised(values: st.SearchStrategy[T]) -> st.SearchStrategy[Any]:
    """A field of a revision: often absent, sometimes null."""
    return st.just(UNSET) | st.none() | values


related = {
    "relation": relations,
    "deal": st.sampled_from(["sk-aws-ulsan", "other-deal"]),
    "pledge": maybe(pledges),
    "other_pledge": maybe(pledges),
}

parties = st.builds(
    Party,
    organization=organizations,
    role=roles,
    share=st.sampled_from([None, "50", "49.5"]),
    certainty=st.sampled_from([None, "confirmed", "suspected"]),
)
observed_stages = st.sampled_from(["construction", "operating", "retired"])
certainties = st.sampled_from([None, "suspected", "confirmed"])
classifications = st.dictionaries(
    st.sampled_from(["mode", "technology"]), st.sampled_from([(), ("expansion",), ("expansion", "greenfield")])
).map(lambda axes: Classifications(sorted(axes.items())))
metric = {
    "metric": st.sampled_from(["jobs", "gpus"]),
    "basis": st.sampled_from(["planned", "actual"]),
    "site": maybe(sites),
    "date": maybe(loose_dates),
}

announcements: st.SearchStrategy[AnyEvent] = st.one_of(
    st.builds(
        PledgeAnnounced,
        pledge=pledges,
        amount=maybe(amounts),
        amount_basis=bases,
        commitment=commitments,
        by=st.sampled_from([(), ("sk", "amazon")]),
    ),
    st.builds(
        PledgeRevised,
        pledge=pledges,
        amount=revised(amounts),
        amount_basis=st.just(UNSET) | bases,
        commitment=revised(commitments),
        by=revised(st.just(("sk",))),
    ),
    st.builds(PledgeConfirmed, pledge=pledges, commitment=st.sampled_from([UNSET, "binding"])),
    st.builds(PledgeWithdrawn, pledge=pledges),
    st.builds(DisbursementReported, pledge=pledges, amount=maybe(amounts), period=st.just(Horizon(until="2026"))),
    st.builds(SiteAnnounced, site=sites, place=maybe(st.just("KR-31")), power_mw=maybe(megawatts)),
    st.builds(SiteRevised, site=sites, power_mw=revised(megawatts), gpus=revised(st.just(60_000))),
    st.builds(SiteDropped, site=sites),
    st.builds(
        MilestoneScheduled,
        milestone=milestones,
        kind=st.sampled_from([None, "groundbreaking", "construction_started", "operations_started"]),
        site=maybe(sites),
        planned=maybe(loose_dates),
    ),
    st.builds(MilestoneRescheduled, milestone=milestones, planned=revised(loose_dates)),
    st.builds(MilestoneReached, milestone=milestones, reached=maybe(st.just("2025-08-29"))),
    st.builds(MilestoneCancelled, milestone=milestones),
    st.builds(StageChanged, stage=st.sampled_from(["signed", "construction", "suspended"])),
    st.builds(
        PartiesJoined,
        parties=st.lists(parties, min_size=1, max_size=2).map(tuple),
    ),
    st.builds(PartyLeft, organization=organizations, role=roles),
    st.builds(PartnershipFormed, members=st.just(("sk", "amazon")), instrument=st.sampled_from([None, "mou"])),
    st.builds(ConditionSet, condition=st.just("data-stays"), text=maybe(texts)),
    st.builds(ConditionLifted, condition=st.just("data-stays")),
    st.builds(
        DealRevised,
        title=st.just(UNSET) | texts,
        summary=revised(texts),
        sectors=revised(st.just(("cloud",))),
        classifications=revised(classifications),
    ),
    st.builds(DealsRelated, **related),
    st.builds(DealsUnrelated, **related),
    st.builds(
        DealIdentified,
        identifiers=st.lists(
            st.builds(ExternalIdentifier, scheme=st.sampled_from(["gem", "ocid"]), value=st.sampled_from(["1", "2"])),
            min_size=1,
            max_size=2,
        ).map(tuple),
    ),
    st.builds(StatusObserved, stage=observed_stages, certainty=certainties),
    st.builds(SetbackReported, setback=st.just("permit"), kind=st.sampled_from([None, "permit_refused"])),
    st.builds(SetbackResolved, setback=st.just("permit")),
    st.builds(IncentiveGranted, incentive=st.just("credit"), amount=maybe(amounts), authority=maybe(organizations)),
    st.builds(IncentiveRevised, incentive=st.just("credit"), amount=revised(amounts), kind=revised(st.just("grant"))),
    st.builds(IncentiveEnded, incentive=st.just("credit")),
    st.builds(
        MetricReported, **metric, value=st.sampled_from(["100", "250"]), qualifier=st.sampled_from([None, "about"])
    ),
    st.builds(MetricRevised, **metric, value=revised(st.sampled_from(["100", "300"]))),
)

# Most logs begin with these, so that many later events find the item that they are about.
FIRST_EVENTS: list[AnyEvent] = [
    PledgeAnnounced(pledge="p1", amount=Amount(value="5", currency="USD"), commitment="pledge", by=("sk",)),
    SiteAnnounced(site="s1", place="KR-31", power_mw="40"),
    MilestoneScheduled(milestone="m1", kind="construction_started", planned="2027"),
    PartiesJoined(parties=(Party(organization="sk", role="investor"),)),
]

fields = st.one_of(
    st.tuples(pledges.map("/pledges/{}/amount".format), amounts),
    st.tuples(pledges.map("/pledges/{}/commitment".format), st.sampled_from(["binding", "intention"])),
    st.tuples(sites.map("/sites/{}/power_mw".format), megawatts),
    st.tuples(milestones.map("/milestones/{}/planned".format), loose_dates),
    st.tuples(st.just("/incentives/credit/amount"), amounts),
    st.tuples(st.sampled_from(["/metrics/jobs--planned/value", "/metrics/gpus--actual/value"]), st.just("250")),
)


class Timing(Struct, frozen=True):
    """The effective and publication dates of an event (None: undated), and the days since the one before."""

    effective: date
    published: date | None
    pause: int


timings = st.builds(Timing, effective=days, published=maybe(days), pause=st.sampled_from([0, 0, 1, 3]))

Draw = Callable[[st.SearchStrategy[Any]], Any]


def _claim(draw: Draw, log: LogBuilder) -> AnyEvent:
    """A claim, most often about the event that set its field (the recorder fills it in), else about any event."""
    field, value = draw(fields)
    about = draw(st.sampled_from([None, None, None, *(e.id for e in log.events[-3:])]))
    return ClaimReported(claim=draw(claims), field=field, value=value, about=about)


def _preference(draw: Draw, log: LogBuilder) -> AnyEvent:
    known = [e.event for e in log.events if isinstance(e.event, ClaimReported)]
    if not known or draw(st.integers(0, 4)) == 0:
        return ClaimPreferred(field=draw(fields)[0], claim=draw(maybe(claims)))
    claim = draw(st.sampled_from(known))
    return ClaimPreferred(field=claim.field, claim=draw(st.sampled_from([claim.claim, None])))


def _correction(draw: Draw, log: LogBuilder) -> AnyEvent:
    """A correction of an event or a correction: another date, other sources, or other content of the same type."""
    uncorrectable = (DealMerged, DealUnmerged, EventVoided, EventRedacted)
    corrected = draw(st.sampled_from([e for e in log.events if not isinstance(e.event, uncorrectable)]))
    original = corrected
    while isinstance(original.event, EventCorrected):
        target = original.event.corrects
        original = next(e for e in log.events if e.id == target)
    part = draw(st.sampled_from(["date", "sources", "content"]))
    effective, event, sources = draw(days), UNSET, UNSET
    if part == "sources":
        sources = draw(st.sampled_from([(), *((Source(publisher="P", published_on=d),) for d in DAYS)]))
    if part == "content" and original.event is not None:
        event = _other_content(draw, log, original)
    return EventCorrected(
        corrects=corrected.id,
        replacement=Replacement(effective_on=effective if part == "date" else UNSET, sources=sources, event=event),
    )


def _other_content(draw: Draw, log: LogBuilder, original: Recorded) -> Any:
    event = original.event
    if isinstance(event, DealRegistered):
        return DealRegistered(title=draw(texts), kind="investment")
    if isinstance(event, ClaimReported):
        other = _claim(draw, log)
        assert isinstance(other, ClaimReported)
        return ClaimReported(claim=event.claim, field=other.field, value=other.value, about=other.about or event.about)
    if isinstance(event, ClaimPreferred):
        return ClaimPreferred(field=event.field, claim=draw(maybe(claims)))
    if isinstance(event, ClaimRetracted):
        return ClaimRetracted(claim=draw(claims))
    for _ in range(3):
        other = draw(announcements)
        if type(other) is type(event):
            return other
    if isinstance(event, PledgeAnnounced):
        return PledgeAnnounced(pledge=event.pledge, amount=draw(amounts))
    if isinstance(event, PledgeRevised):
        return PledgeRevised(pledge=event.pledge, amount=draw(revised(amounts)))
    return UNSET


def _void(draw: Draw, log: LogBuilder) -> AnyEvent:
    return EventVoided(voids=draw(st.sampled_from(log.events[1:])).id)


def _next(draw: Draw, log: LogBuilder, redactions: bool) -> AnyEvent:
    kind = draw(st.integers(0, 19))
    if kind < 11 or len(log.events) < 2:
        return draw(announcements)  # type: ignore[no-any-return]
    if kind < 13:
        return _claim(draw, log)
    if kind < 14:
        known = [e.event.claim for e in log.events if isinstance(e.event, ClaimReported)]
        return ClaimRetracted(claim=draw(st.sampled_from(known) if known else claims))
    if kind < 15:
        return _preference(draw, log)
    if kind < 17:
        return _correction(draw, log)
    if kind < 18:
        return _void(draw, log)
    if kind < 19:
        return draw(st.sampled_from([DealMerged(into="other-deal"), DealUnmerged()]))  # type: ignore[no-any-return]
    if not redactions:
        return draw(announcements)  # type: ignore[no-any-return]
    return EventRedacted(redacts=draw(st.sampled_from(log.events)).id, reason="By law.")


@st.composite
def logs(draw: st.DrawFn, *, max_events: int = 14, admitted: bool = False, redactions: bool = True) -> LogBuilder:
    """A deal's log of up to `max_events` events; with `admitted` only events that admission accepts."""
    log = LogBuilder(registered=False)
    timing = draw(timings)
    log.record(
        DealRegistered(title=Localized(en="A deal"), sectors=draw(st.sampled_from([(), ("cloud",)]))),
        draw(maybe(days)),
        published=timing.published,
    )
    for event in draw(st.lists(st.sampled_from(FIRST_EVENTS), unique_by=id, max_size=len(FIRST_EVENTS))):
        log.record(event, draw(st.sampled_from(DAYS[:4])), published=draw(maybe(days)))
    for _ in range(draw(st.integers(0, max_events - len(log.events)))):
        timing = draw(timings)
        event = _next(draw, log, redactions)
        log.now += timedelta(days=timing.pause - 1)
        if not admitted:
            log.record(event, timing.effective, published=timing.published)
            continue
        try:
            log.admit(event, timing.effective, published=timing.published)
        except RuleBroken:
            log.now += timedelta(days=1)
    return log


@st.composite
def logs_in_order(draw: st.DrawFn, *, max_events: int = 14) -> LogBuilder:
    """A deal's log with the same effective, publication and recorded order, some events on the same day."""
    log = LogBuilder()
    day = published = date(2024, 1, 2)
    events = [
        *draw(st.lists(st.sampled_from(FIRST_EVENTS), unique_by=id)),
        *draw(st.lists(announcements, max_size=max_events)),
    ]
    for event in events:
        day += timedelta(days=draw(st.integers(0, 2)))
        published += timedelta(days=draw(st.integers(0, 2)))
        with suppress(RuleBroken):
            log.admit(event, day, published=published)
    return log


def boundary_points(log: LogBuilder) -> st.SearchStrategy[dict[str, Any]]:
    """As-of points at which a state may change: each date of the log, the day before all, and unbounded."""
    dates = [None, DAYS[0] - timedelta(days=1), *DAYS]
    return st.fixed_dictionaries(
        {
            "effective": st.sampled_from(dates),
            "published": st.sampled_from([*dates, *sorted({e.published_on for e in log.events})]),
            "position": st.none() | st.integers(0, len(log.events)),
        }
    )
