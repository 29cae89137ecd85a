"""Properties of the time axes over random logs. A number in a test's name is that of the documented property.

All properties are about the order of events on the same axes; hence the length of the file.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import msgspec
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from registry.domain.audit.comparison import compare
from registry.domain.audit.diff import apply, diff
from registry.domain.audit.entries import audit_trail
from registry.domain.audit.portfolio_changes import portfolio_changes
from registry.domain.audit.provenance import FIRST_FIELD, FieldPlace, provenance, provenance_page
from registry.domain.calendar import Calendar
from registry.domain.fold.record import resolve_record
from registry.domain.fold.redaction import without_content
from registry.domain.fold.timeline import Timeline
from registry.domain.history import UNBOUNDED, AsOf, FoldedStream, StateAsOf, state_as_of
from registry.domain.stream_kinds import DEALS
from registry.events.types import (
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    DealMerged,
    DealUnmerged,
    EventCorrected,
    EventRedacted,
    EventVoided,
    PledgeAnnounced,
    PledgeRevised,
    Recorded,
    Replacement,
)
from registry.events.values import Localized, decode_hook
from tests.conftest import examples
from tests.domain.builders import LogBuilder, usd
from tests.properties import oracle
from tests.properties.strategies import DAYS, boundary_points, logs

quick = settings(
    max_examples=examples(5), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def plain(state: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(state))


def content_of(shown: StateAsOf[Any]) -> list[Any]:
    return [
        *(shown.state, shown.version, shown.position, shown.recorded_at, shown.effective_events, shown.steps),
        *(shown.states, shown.base, shown.registration, shown.unapplied, shown.merged_into, shown.preferred),
    ]


def as_of(point: dict[str, Any]) -> AsOf:
    return AsOf(effective_on=point["effective"], published_on=point["published"], position=point["position"])


@quick
@given(logs(max_events=20), st.data())
def test_state_at_any_as_of_point_equals_the_oracles(log: LogBuilder, data: st.DataObject) -> None:
    for _ in range(6):
        point = data.draw(boundary_points(log))
        shown = state_as_of(log.slug, log.events, as_of(point), DEALS)
        expected = oracle.fold_states(log.slug, log.events, **point)
        if expected is None:
            assert shown.state is None
            continue
        assert plain(shown.state) == expected[0][-1]
        assert [reading.recorded.id for reading, _ in shown.unapplied] == expected[1]


@quick
@given(logs(max_events=20), st.data())
def test_folded_stream_gives_the_same_as_of_states_as_its_events(log: LogBuilder, data: st.DataObject) -> None:
    whole: FoldedStream[Any] = FoldedStream(log.slug, DEALS, log.events)
    grown: FoldedStream[Any] = FoldedStream(log.slug, DEALS)
    for event in log.events:
        grown.append(event)
    for _ in range(6):
        as_of_point = as_of(data.draw(boundary_points(log)))
        for at in (
            as_of_point,
            replace(as_of_point, position=None),
            replace(as_of_point, position=None, published_on=None),
        ):
            expected = state_as_of(log.slug, log.events, at, DEALS)
            assert content_of(whole.state_as_of(at)) == content_of(expected)
            assert content_of(grown.state_as_of(at)) == content_of(expected)


@quick
@given(logs(), st.data())
def test_6_backdated_event_changes_the_past_only_from_its_position_on(log: LogBuilder, data: st.DataObject) -> None:
    day = data.draw(st.sampled_from(DAYS))
    before = list(log.events)
    backdated = log.record(PledgeAnnounced(pledge="found-later", amount=usd("3")), day, published=day)
    for at in (None, day - timedelta(days=1), day, *DAYS):
        for position in range(backdated.position):
            as_of_point = AsOf(effective_on=at, position=position)
            assert (
                state_as_of(log.slug, log.events, as_of_point, DEALS).state
                == state_as_of(log.slug, before, as_of_point, DEALS).state
            )
        now = state_as_of(log.slug, log.events, AsOf(effective_on=at, position=backdated.position), DEALS).state
        present = now is not None and any(p.pledge == "found-later" for p in now.pledges)
        assert present == (at is None or day <= at)


@quick
@given(logs(max_events=12))
def test_7_incremental_fold_equals_the_full_fold_at_every_as_of_point(log: LogBuilder) -> None:
    for published in (None, *DAYS):
        stream = FoldedStream(log.slug, DEALS, (), AsOf(published_on=published))
        for recorded in log.events:
            stream.append(recorded)
            for effective in (None, *DAYS):
                point = AsOf(effective_on=effective, published_on=published, position=recorded.position)
                whole = state_as_of(log.slug, log.events, point, DEALS)
                if whole.state is not None:
                    assert stream.at(effective) == whole.state
        record = resolve_record(log.slug, log.events, DEALS)
        ordered = [f for f in record.foldable_events() if AsOf(published_on=published).is_visible(f)]
        at_once = Timeline(DEALS, record.base).extend(ordered)
        one_by_one = Timeline(DEALS, record.base)
        for event in ordered:
            one_by_one.insert(event)
        assert at_once.states == one_by_one.states == stream.timeline.states
        assert at_once.refusals == one_by_one.refusals == stream.timeline.refusals


@quick
@given(logs(), st.data())
def test_7_event_removed_from_a_timeline_leaves_no_trace(log: LogBuilder, data: st.DataObject) -> None:
    record = resolve_record(log.slug, log.events, DEALS)
    ordered = record.foldable_events()
    if not ordered:
        return
    removed = data.draw(st.sampled_from(ordered))
    timeline = Timeline(DEALS, record.base).extend(ordered)
    timeline.remove(removed)
    without = Timeline(DEALS, record.base).extend(f for f in ordered if f is not removed)
    assert (timeline.steps, timeline.states, timeline.refusals) == (without.steps, without.states, without.refusals)


@quick
@given(logs(), st.lists(st.sampled_from(DAYS), min_size=2, max_size=4))
def test_9_on_one_effective_day_the_later_published_then_the_later_position_wins(
    log: LogBuilder, published: list[date]
) -> None:
    day = DAYS[-1] + timedelta(days=1)
    recorded = [log.record(PledgeAnnounced(pledge="tie", amount=usd("1")), day, published=DAYS[0] - timedelta(days=1))]
    recorded += [
        log.record(PledgeRevised(pledge="tie", amount=usd(str(n))), day, published=at)
        for n, at in enumerate(published, 2)
    ]
    latest = max(recorded, key=lambda event: (event.published_on, event.position))
    shown = state_as_of(log.slug, log.events, UNBOUNDED, DEALS)
    assert shown.state is not None
    assert {p.pledge: p.amount for p in shown.state.pledges}["tie"] == latest.event.amount  # type: ignore[union-attr]
    assert {f.path: f.event for f in provenance(shown)}["/pledges/tie/amount"] == latest.id


@quick
@given(logs(max_events=20))
def test_9_claims_and_retractions_directly_follow_the_event_they_refer_to(log: LogBuilder) -> None:
    shown = state_as_of(log.slug, log.events, UNBOUNDED, DEALS)
    order = [step.applied for step in shown.steps]
    places = {event.id: n for n, event in enumerate(order)}
    for n, event in enumerate(order):
        if isinstance(event.event, ClaimReported) and event.event.about in places:
            between = order[places[event.event.about] + 1 : n]
            target = order[places[event.event.about]].event
            if not isinstance(target, (ClaimReported, ClaimRetracted)):
                assert all(isinstance(other.event, (ClaimReported, ClaimRetracted)) for other in between)


@quick
@given(logs(redactions=False), st.randoms(use_true_random=False))
def test_9_order_does_not_depend_on_ids_or_recorded_times(log: LogBuilder, random: Any) -> None:
    """Other ids, and one recorded time for all events, give the same state apart from its ids."""
    new_ids = [type(e.id)(int=n + 1) for n, e in enumerate(log.events)]
    random.shuffle(new_ids)
    other_id = {str(e.id): str(new) for e, new in zip(log.events, new_ids, strict=True)}
    dates = {e.id: e.published_on for e in log.events}
    encoded = msgspec.json.encode([replace(e, recorded_at=log.events[-1].recorded_at) for e in log.events]).decode()
    for old, new in other_id.items():
        encoded = encoded.replace(old, new)
    renamed = msgspec.json.decode(encoded.encode(), type=list[Recorded], dec_hook=decode_hook)
    assert [e.published_on for e in renamed] == list(dates.values())
    encoded_state = msgspec.json.encode(state_as_of(log.slug, _with_sources(log), UNBOUNDED, DEALS).state).decode()
    for old, new in other_id.items():
        encoded_state = encoded_state.replace(old, new)
    assert (
        msgspec.json.encode(state_as_of(log.slug, _sourced(renamed), UNBOUNDED, DEALS).state).decode() == encoded_state
    )


def _with_sources(log: LogBuilder) -> list[Any]:
    return _sourced(log.events)


def _sourced(events: list[Any]) -> list[Any]:
    """Without corrections that leave an event undated: its publication date is then its recorded date."""
    return [
        e for e in events if not (isinstance(e.event, EventCorrected) and e.event.replacement.sources in (UNSET, ()))
    ]


@quick
@given(logs(max_events=20), st.data())
def test_10_answer_for_a_fixed_as_of_point_never_changes(log: LogBuilder, data: st.DataObject) -> None:
    point = data.draw(boundary_points(log))
    position = data.draw(st.integers(0, len(log.events)))
    as_of_point = AsOf(effective_on=point["effective"], published_on=point["published"], position=position)
    then = state_as_of(log.slug, log.events[:position], as_of_point, DEALS)  # The first events are redacted as well.
    now = state_as_of(log.slug, log.events, as_of_point, DEALS)
    assert content_of(now) == content_of(then)
    assert audit_trail(log.events, as_of_point, DEALS, Calendar()) == audit_trail(
        log.events[:position], as_of_point, DEALS, Calendar()
    )


@quick
@given(logs(max_events=10, redactions=False), st.data())
def test_10_redaction_removes_only_its_content_from_past_answers(log: LogBuilder, data: st.DataObject) -> None:
    redacted = data.draw(st.sampled_from(log.events))
    position = data.draw(st.integers(1, len(log.events)))
    before = list(log.events)
    redaction = log.record(EventRedacted(redacts=redacted.id, reason="By law.")).event
    assert isinstance(redaction, EventRedacted)
    removed = {redacted.id, *redaction.also}  # Its corrections repeat its content.
    effects = {effect.event: effect.does for effect in redaction.effects}
    blanked = [replace(without_content(e), event=effects.get(e.id)) if e.id in removed else e for e in before]
    as_of_point = AsOf(position=position)
    shown = state_as_of(log.slug, log.events, as_of_point, DEALS)
    assert content_of(shown) == content_of(state_as_of(log.slug, blanked, as_of_point, DEALS))
    if all(e.position > position for e in before if e.id in removed):
        assert content_of(shown) == content_of(state_as_of(log.slug, before, as_of_point, DEALS))


@quick
@given(logs(max_events=16, redactions=False), st.data())
def test_10_redacted_void_or_preference_keeps_its_effect(log: LogBuilder, data: st.DataObject) -> None:
    acting_types = (EventVoided, ClaimPreferred, ClaimRetracted, DealMerged, DealUnmerged)
    acting_events = [e for e in log.events if isinstance(e.event, acting_types)]
    assume(acting_events)
    redacted = data.draw(st.sampled_from(acting_events))
    assume(
        not any(
            c
            for r in resolve_record(log.slug, log.events, DEALS).effective_events
            if r.recorded == redacted
            for c in r.corrections
        )
    )
    point = data.draw(boundary_points(log))
    point["position"] = point["position"] or len(log.events)
    before = state_as_of(log.slug, log.events, as_of(point), DEALS)
    log.record(EventRedacted(redacts=redacted.id, reason="By law."))
    after = state_as_of(log.slug, log.events, as_of(point), DEALS)
    assert (after.state, after.merged_into, after.preferred) == (before.state, before.merged_into, before.preferred)


@quick
@given(logs(max_events=16, redactions=False), st.data())
def test_10_redacted_correction_does_not_restore_the_corrected_content(log: LogBuilder, data: st.DataObject) -> None:
    corrected = [
        r for r in resolve_record(log.slug, log.events, DEALS).effective_events if r.content_record is not r.recorded
    ]
    assume(corrected)
    corrected_event = data.draw(st.sampled_from(corrected))
    log.record(EventRedacted(redacts=corrected_event.content_record.id, reason="By law."))
    (now,) = [
        r
        for r in resolve_record(log.slug, log.events, DEALS).effective_events
        if r.recorded.id == corrected_event.recorded.id
    ]
    assert now.content_record.id == corrected_event.content_record.id
    assert now.event is None or isinstance(now.event, (ClaimPreferred, ClaimRetracted))


@quick
@given(logs(), st.data())
def test_11_correction_is_a_record_change_and_never_growth(log: LogBuilder, data: st.DataObject) -> None:
    corrected = data.draw(st.sampled_from(log.events))
    amount = usd(data.draw(st.sampled_from(["1", "9"])))
    event = replace(corrected.event, amount=amount) if isinstance(corrected.event, PledgeAnnounced) else UNSET
    replacement = Replacement(effective_on=data.draw(st.sampled_from(DAYS)), event=event)
    before = len(log.events)
    log.record(EventCorrected(corrects=corrected.id, replacement=replacement))
    for at in (None, *DAYS):
        comparison = compare(
            log.events,
            AsOf(effective_on=at, position=before),
            AsOf(effective_on=at, position=before + 1),
            DEALS,
            Calendar(),
        )
        if comparison.before is None or comparison.after is None:
            continue
        assert {change.kind for change in comparison.changes} <= {"record"}
        assert {movement.what for movement in portfolio_changes(comparison)} <= {"corrected"}
        then = state_as_of(log.slug, log.events, AsOf(effective_on=at, position=before), DEALS)
        assert then.state == comparison.before


@quick
@given(logs(), st.data())
def test_12_void_of_a_void_restores_the_state(log: LogBuilder, data: st.DataObject) -> None:
    not_voided = [
        r.recorded for r in resolve_record(log.slug, log.events, DEALS).effective_events if r.voided_by is None
    ]
    before = log.history()
    voided = data.draw(st.sampled_from(not_voided))
    first = log.record(EventVoided(voids=voided.id))
    log.record(EventVoided(voids=first.id))
    after = log.history()
    assert after.state == before.state
    assert after.record.preferred == before.record.preferred
    assert after.record.merged_into == before.record.merged_into


@quick
@given(logs(max_events=20), st.data())
def test_13_comparison_applied_to_the_first_state_gives_the_second(log: LogBuilder, data: st.DataObject) -> None:
    a, b = as_of(data.draw(boundary_points(log))), as_of(data.draw(boundary_points(log)))
    comparison = compare(log.events, a, b, DEALS, Calendar())
    first, second = (state_as_of(log.slug, log.events, c, DEALS).state for c in (a, b))
    assert apply(first, comparison.differences) == second
    assert apply(first, comparison.changes) == second
    assert apply(second, diff(second, first)) == first
    recorded = {e.id for e in log.events}
    for change in comparison.changes:
        assert change.before != change.after
        assert change.causes
        assert set(change.causes) <= recorded
        assert change.kind in ("world", "record", "source", "learned_late")
        if a.position == b.position:
            assert change.kind in ("world", "source") or change.act == "record_keeping"
    assert {d.path for d in comparison.differences} <= {c.path for c in comparison.changes}


@quick
@given(logs(max_events=20), st.data())
def test_13_comparison_of_a_point_with_itself_is_empty(log: LogBuilder, data: st.DataObject) -> None:
    point = as_of(data.draw(boundary_points(log)))
    comparison = compare(log.events, point, point, DEALS, Calendar())
    assert (comparison.changes, comparison.differences, comparison.merged_into) == ([], [], None)
    assert portfolio_changes(comparison) == []


@quick
@given(logs(max_events=20), st.data())
def test_13_provenance_names_the_event_that_set_each_field(log: LogBuilder, data: st.DataObject) -> None:
    point = data.draw(boundary_points(log))
    shown = state_as_of(log.slug, log.events, as_of(point), DEALS)
    fields_by_path = provenance(shown)
    expected = oracle.fold_states(log.slug, log.events, **point)
    if expected is None:
        assert fields_by_path == []
        return
    states, _ = expected
    own = oracle.fold_states(log.slug, log.events, **point, preferences=False)
    assert own is not None
    assert shown.registration is not None
    events = [shown.registration.recorded.id, *(p.applied.id for p in shown.steps)]
    shown_fields, own_fields = ([_fields(state) for state in states] for states in (states, own[0]))
    assert {b.path: plain(b.value) for b in fields_by_path} == shown_fields[-1]
    for b in fields_by_path:
        # A claim's value is shown from the claim on; any other value was set by a step of the deal's own events.
        of_claim = shown_fields[-1][b.path] != own_fields[-1].get(b.path)
        assert (b.preferred_by is not None) == (of_claim and not b.path.endswith("/claims"))
        fields = shown_fields if of_claim or b.path.endswith("/claims") else own_fields
        at = events.index(b.event)
        assert fields[at][b.path] == plain(b.value)
        assert all(later.get(b.path) == plain(b.value) for later in fields[at:])
        before = fields[at - 1].get(b.path) if at else None
        assert before != plain(b.value)
        assert before == (None if b.before == () else plain(b.before))


@quick
@given(logs(max_events=20), st.data(), st.integers(1, 8))
def test_13_pages_of_provenance_and_of_the_history_join_to_the_whole(
    log: LogBuilder, data: st.DataObject, limit: int
) -> None:
    point = as_of(data.draw(boundary_points(log)))
    shown = state_as_of(log.slug, log.events, point, DEALS)
    fields: list[Any] = []
    place: FieldPlace | None = FIRST_FIELD
    while place is not None:
        page, place = provenance_page(shown, place, limit)
        assert len(page) == limit or place is None
        fields += page
    assert fields == provenance(shown)
    trail = audit_trail(log.events, point, DEALS, Calendar())
    entries: list[Any] = []
    while len(entries) < len(trail):
        after = entries[-1].effective.recorded.position if entries else 0
        found = audit_trail(log.events, point, DEALS, Calendar(), after=after, limit=limit)
        entries += [entry for entry in found if entry.effective.recorded.position > after][:limit]
    assert entries == trail


def _fields(state: Any) -> dict[str, Any]:
    """Every field of a state in plain JSON that has a value."""
    fields_by_path = {
        "pledges": ("pledge",),
        "sites": ("site",),
        "milestones": ("milestone",),
        "conditions": ("condition",),
        "identifiers": ("scheme", "value"),
        "setbacks": ("setback",),
        "incentives": ("incentive",),
        "metrics": ("metric_id",),
        "parties": ("organization", "role", "joined_on"),
        "relations": ("relation", "pledge", "deal", "other_pledge"),
    }
    fields = {}
    for name, value in state.items():
        if name not in fields_by_path:
            fields[f"/{name}"] = value
            continue
        for item in value:
            key = ":".join(item[k] or "" for k in fields_by_path[name])
            fields.update({f"/{name}/{key}/{field}": v for field, v in item.items()})
    return {path: value for path, value in fields.items() if value not in (None, [])}


@quick
@given(logs(max_events=16, admitted=True))
def test_admitted_events_are_applied_unless_a_redaction_prevents_it(log: LogBuilder) -> None:
    if any(isinstance(e.event, EventRedacted) for e in log.events):
        return
    assert state_as_of(log.slug, log.events, UNBOUNDED, DEALS).unapplied == []


@quick
@given(logs(max_events=16))
def test_audit_trail_lists_every_event_and_its_changes_make_the_state(log: LogBuilder) -> None:
    entries = audit_trail(log.events, UNBOUNDED, DEALS, Calendar())
    assert [a.effective.recorded.id for a in entries] == [e.id for e in log.events]
    snapshot = state_as_of(log.slug, log.events, UNBOUNDED, DEALS)
    by_id = {a.effective.recorded.id: a for a in entries}
    assert snapshot.registration is not None
    state = apply(None, by_id[snapshot.registration.recorded.id].changes)
    for step in snapshot.steps:
        state = apply(state, by_id[step.applied.id].changes)
    assert state == snapshot.state
    for a in entries:
        if a.unapplied or a.effective.voided_by or a.effective.event is None:
            assert a.changes == [] or a.kind == "record"


def test_title_in_two_languages_is_one_field() -> None:
    log = LogBuilder()
    assert diff(None, log.state())[1].path == "/title"
    assert diff(None, log.state())[1].after == Localized(en="A deal")


def test_days_of_the_strategies_are_in_order() -> None:
    assert sorted(DAYS) == DAYS
    assert date(2025, 1, 1) in DAYS
