"""Property 7 for the fold by fact: whatever the order of arrival, it equals the fold of whole states.

The whole fold here is the definition: one state after another, each by the rules of the whole deal.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.domain.assessment import flags_by_event
from registry.domain.audit.diff import diff
from registry.domain.audit.entries import audit_trail
from registry.domain.calendar import Calendar
from registry.domain.deal import Deal
from registry.domain.fold.claims import sets_field
from registry.domain.fold.facts import HEADER, STAGE, FactKey
from registry.domain.fold.order import CLAIM_TYPES, OrderedEvent
from registry.domain.fold.record import resolve_record
from registry.domain.fold.sorted_map import SharedList, SortedMap
from registry.domain.fold.stage_history import StageHistory
from registry.domain.fold.timeline import Timeline
from registry.domain.history import UNBOUNDED, AsOf, FoldedStream
from registry.domain.money.rates import Rates
from registry.domain.refusal import Refusal
from registry.domain.stages import BY_COMMITMENT, BY_MILESTONE, StageSignal, StageState, next_stage
from registry.domain.stream_kinds import DEALS
from registry.errors import RuleBroken
from registry.i18n import Message
from tests.conftest import examples
from tests.domain.builders import LogBuilder
from tests.properties.strategies import DAYS, logs

quick = settings(
    max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

RATES = Rates([])

SIGNALS = [
    None,
    *(StageSignal(declared=stage) for stage in ("signed", "construction", "cancelled")),
    *(StageSignal(observed=stage, certainty=sure) for stage in ("signed", "operating") for sure in (None, "confirmed")),
    *(StageSignal(inference=inference) for inference in BY_MILESTONE.values()),
    *(StageSignal(inference=inference, pledges=1) for inference in (None, *BY_COMMITMENT.values())),
    *[StageSignal(pledges=-1)] * 8,
]


def fold_whole(base: Deal, steps: Sequence[OrderedEvent]) -> tuple[list[Deal], dict[UUID, Message]]:
    """The state after each event, and the rules that unapplied events break."""
    states: list[Deal] = []
    refusals: dict[UUID, Message] = {}
    state = base
    for step in steps:
        try:
            if step.about is not None:
                check_target(base, steps, states, refusals, step)
            state = DEALS.evolve(state, step.applied)
        except RuleBroken as error:
            refusals[step.applied.id] = error.refusal
        states.append(state)
    return states, refusals


def check_target(
    base: Deal, steps: Sequence[OrderedEvent], states: list[Deal], refusals: dict[UUID, Message], step: OrderedEvent
) -> None:
    claim: Any = step.applied.event
    for index, target in enumerate(steps[: len(states)]):
        if target.applied.id == claim.about and target.key == (step.key[0], step.key[1][:-1]):
            before = states[index - 1] if index else base
            is_event = target.applied.id not in refusals and not isinstance(target.applied.event, CLAIM_TYPES)
            if is_event and sets_field(claim.field, target.applied.event, before, states[index]):
                return
    raise RuleBroken(Refusal("claim-about-unrelated", field=claim.field, event=str(claim.about)))


def assert_is_whole_fold(timeline: Timeline[Deal]) -> None:
    steps = timeline.steps
    assert [step.key for step in steps] == sorted(step.key for step in steps)
    states, refusals = fold_whole(timeline.base, steps)
    assert timeline.states == states
    assert timeline.refusals == refusals
    assert timeline.at(None) == (states[-1] if states else timeline.base)


@quick
@given(logs(max_events=24), st.data())
def test_events_in_any_order_of_arrival_give_the_whole_fold(log: LogBuilder, data: st.DataObject) -> None:
    record = resolve_record(log.slug, log.events, DEALS)
    ordered = data.draw(st.permutations(record.foldable_events()))
    timeline = Timeline(DEALS, record.base)
    for event in ordered:
        earlier, before = timeline.copy(), timeline.states
        timeline.insert(event)
        assert earlier.states == before
        assert_is_whole_fold(timeline)
    for event in data.draw(st.permutations(ordered)):
        timeline.remove(event)
        assert_is_whole_fold(timeline)


@quick
@given(logs(max_events=30))
def test_appended_events_give_the_record_and_the_fold_of_all_events(log: LogBuilder) -> None:
    stream = FoldedStream(log.slug, DEALS)
    for recorded in log.events:
        stream.append(recorded)
        whole = resolve_record(log.slug, stream.events, DEALS)
        assert stream.record.effective_events == whole.effective_events
        assert stream.record.claims == whole.claims
        assert stream.record.preferred == whole.preferred
        assert stream.record.merged_into == whole.merged_into
        assert (stream.record.registration, stream.record.base) == (whole.registration, whole.base)
        assert stream.timeline.steps == sorted(whole.foldable_events(), key=lambda step: step.key)
        assert_is_whole_fold(stream.timeline)


def segments(stream: FoldedStream[Deal], fact: FactKey) -> list[tuple[date, Any]]:
    """Each effective date from which a fact has another value, with that value; preferred claims are applied."""
    timeline = stream.timeline
    found = timeline.stages.segments() if fact == STAGE else timeline.fact(fact).segments()
    if fact in (HEADER, STAGE):
        return found
    shown: list[tuple[date, Any]] = []
    for day, fact_value in found:
        value = getattr(stream.with_preferred_claims(timeline.slice({fact: fact_value})), fact[0])
        if value != (shown[-1][1] if shown else ()):
            shown.append((day, value))
    return shown


@quick
@given(logs(max_events=30))
def test_facts_that_an_event_changes_are_named(log: LogBuilder) -> None:
    stream = FoldedStream(log.slug, DEALS)
    for recorded in log.events:
        before = stream.copy()
        stream.append(recorded)
        facts = {HEADER, STAGE, *(key for s in (before, stream) for key, _ in s.timeline.facts())}
        changed = {key for key in facts if segments(before, key) != segments(stream, key)}
        assert stream.last_change is None or changed <= stream.last_change.facts


@quick
@given(logs(max_events=30))
def test_the_facts_around_a_last_event_differ_as_the_states_do(log: LogBuilder) -> None:
    stream = FoldedStream(log.slug, DEALS)
    for recorded in log.events:
        before = stream.copy()
        stream.append(recorded)
        around = stream.around_last_event()
        assert around is None or diff(*around) == diff(before.state, stream.state)


@quick
@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=600), st.integers(0, 400))
def test_sorted_map_is_the_map_of_its_updates(updates: list[tuple[int, bool]], key: int) -> None:
    expected: dict[int, int] = {}
    found: SortedMap[int, int] = SortedMap()
    for number, (each, is_set) in enumerate(updates):
        found = found.set(each, number) if is_set else found.delete(each)
        if is_set:
            expected[each] = number
        else:
            expected.pop(each, None)
    items = sorted(expected.items())
    assert (list(found.entries()), len(found)) == (items, len(items))
    assert list(SortedMap.of(items).entries()) == items
    assert found.get(key) == expected.get(key)
    assert found.count(key) == sum(k <= key for k in expected)
    assert found.last_before(key) == max(((k, v) for k, v in items if k < key), default=None)
    assert found.first_after(key) == min(((k, v) for k, v in items if k > key), default=None)
    assert list(found.entries(key)) == [(k, v) for k, v in items if k >= key]
    assert list(found.entries(None, key)) == [(k, v) for k, v in items if k < key]
    assert list(found.entries_before(key)) == [(k, v) for k, v in reversed(items) if k < key]
    assert list(found.values_before(key)) == [v for k, v in reversed(items) if k < key]


@quick
@given(
    st.lists(st.tuples(st.integers(0, 400), st.one_of(st.none(), st.sampled_from(DAYS))), max_size=600),
    st.integers(0, 400),
    st.sampled_from(DAYS),
    st.booleans(),
)
def test_sorted_map_finds_the_next_value_that_is_known_by_a_day(
    updates: list[tuple[int, date | None]], key: int, day: date, after: bool
) -> None:
    found: SortedMap[int, date] = SortedMap()
    expected: dict[int, date] = {}
    for each, known_from in updates:
        if known_from is None:
            found = found.delete(each)
            expected.pop(each, None)
        else:
            found = found.set(each, known_from)
            expected[each] = known_from
        # A search keeps what it has learned about the map, for the maps that are made from it.
        found.first_published(key, day, lambda value: value, after=after)
    entries = sorted((k, v) for k, v in expected.items() if v < day and (k > key or (k == key and not after)))
    assert found.first_published(key, day, lambda value: value, after=after) == next(iter(entries), None)


@quick
@given(st.lists(st.booleans(), max_size=40))
def test_shared_list_is_unchanged_by_its_extensions(forks: list[bool]) -> None:
    short: SharedList[int] = SharedList()
    for number, fork in enumerate(forks):
        before = list(short)
        longer = short.plus(number)
        assert (list(short), list(longer), longer[-1]) == (before, [*before, number], number)
        short = short if fork else longer


@quick
@given(st.lists(st.tuples(st.integers(0, 300), st.sampled_from(SIGNALS)), min_size=60, max_size=240))
def test_stages_of_many_signals_in_any_order_are_those_of_the_fold(
    signals: list[tuple[int, StageSignal | None]],
) -> None:
    history = StageHistory()
    expected: dict[Any, StageSignal | None] = {}
    for day, signal in signals:
        key = (date(2025, 1, 1) + timedelta(days=day), (day,))
        history = history.updated({key: signal})
        expected[key] = signal
    stage: StageState | None = None
    standing = 0
    for key in sorted(expected):
        if (signal := expected[key]) is not None:
            standing += signal.pledges
            stage = next_stage(stage, signal, key[0], is_pledged=standing > 0)
        assert history.at(key) == stage
    assert history.last() == stage


@quick
@given(logs(max_events=20), st.integers(1, 7), st.sampled_from([None, *DAYS]))
def test_pages_of_the_audit_trail_are_the_whole_trail(log: LogBuilder, limit: int, day: date | None) -> None:
    point = AsOf(effective_on=day)
    whole = {entry.effective.recorded.id: entry for entry in audit_trail(log.events, point, DEALS, Calendar())}
    found: list[UUID] = []
    for after in range(0, len(log.events), limit):
        listed = audit_trail(log.events, point, DEALS, Calendar(), after=after, limit=limit)
        assert all(entry == whole[entry.effective.recorded.id] for entry in listed)
        page = [e.id for e in log.events[after : after + limit]]
        about = [e.id for e in log.events if whole[e.id].target_event in page]
        assert {entry.effective.recorded.id for entry in listed} == {*page, *about}
        found += page
    assert found == list(whole)


@quick
@given(logs(max_events=24))
def test_cached_flags_of_a_growing_stream_are_those_of_a_new_one(log: LogBuilder) -> None:
    stream = FoldedStream(log.slug, DEALS)
    for recorded in log.events:
        stream.append(recorded)
        new = FoldedStream(log.slug, DEALS, stream.events)
        expected = flags_by_event(new.state_as_of(UNBOUNDED), RATES)
        assert flags_by_event(stream.state_as_of(UNBOUNDED), RATES) == expected
