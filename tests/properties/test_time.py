"""What the registry promises about time, over random histories. Each test is one promise, and its name says which."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import msgspec
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from registry.domain.audit.change_points import change_points
from registry.domain.audit.comparison import compare
from registry.domain.audit.diff import apply, diff
from registry.domain.audit.entries import audit_trail
from registry.domain.audit.portfolio_changes import portfolio_changes
from registry.domain.audit.provenance import provenance
from registry.domain.fold import DEALS, Timeline
from registry.domain.history import UNBOUNDED, AsOf, FoldedStream, resolve_record, state_as_of
from registry.domain.redaction import without_content
from registry.events.types import (
    ClaimPreferred,
    ClaimRetracted,
    DealMerged,
    DealUnmerged,
    EventCorrected,
    EventRedacted,
    EventVoided,
    Localized,
    PledgeAnnounced,
    Recorded,
    Replacement,
    StageChanged,
)
from tests.domain.builders import LogBuilder, usd
from tests.properties import oracle
from tests.properties.strategies import DAYS, boundary_points, logs

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def plain(state: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(state))


def clocks(corner: dict[str, Any]) -> AsOf:
    return AsOf(effective_on=corner["effective"], published_on=corner["published"], position=corner["position"])


@quick
@given(logs(most=20), st.data())
def test_state_at_any_as_of_point_equals_the_oracles(log: LogBuilder, data: st.DataObject) -> None:
    for _ in range(6):
        corner = data.draw(boundary_points(log))
        shown = state_as_of(log.slug, log.events, clocks(corner), DEALS)
        expected = oracle.seen(log.slug, log.events, **corner)
        if expected is None:
            assert shown.state is None
            continue
        assert plain(shown.state) == expected[0][-1]
        assert [reading.recorded.id for reading, _ in shown.unapplied] == expected[1]


@quick
@given(logs(most=20), st.data())
def test_folded_stream_gives_the_same_as_of_states_as_its_events(log: LogBuilder, data: st.DataObject) -> None:
    whole: FoldedStream[Any] = FoldedStream(log.slug, DEALS, log.events)
    grown: FoldedStream[Any] = FoldedStream(log.slug, DEALS)
    for event in log.events:
        grown.append(event)
    for _ in range(6):
        asked = clocks(data.draw(boundary_points(log)))
        for at in (asked, replace(asked, position=None), replace(asked, position=None, published_on=None)):
            expected = state_as_of(log.slug, log.events, at, DEALS)
            assert replace(whole.state_as_of(at), assessment_cache=None) == expected
            assert replace(grown.state_as_of(at), assessment_cache=None) == expected


@quick
@given(logs(), st.data())
def test_6_backdated_event_changes_the_past_only_from_its_position_on(log: LogBuilder, data: st.DataObject) -> None:
    day = data.draw(st.sampled_from(DAYS))
    before = list(log.events)
    backdated = log.record(PledgeAnnounced(pledge="found-later", amount=usd("3")), day, published=day)
    for at in (None, day - timedelta(days=1), day, *DAYS):
        for position in range(backdated.position):
            asked = AsOf(effective_on=at, position=position)
            assert (
                state_as_of(log.slug, log.events, asked, DEALS).state
                == state_as_of(log.slug, before, asked, DEALS).state
            )
        now = state_as_of(log.slug, log.events, AsOf(effective_on=at, position=backdated.position), DEALS).state
        there = now is not None and any(p.pledge == "found-later" for p in now.pledges)
        assert there == (at is None or day <= at)


@quick
@given(logs(most=12))
def test_7_incremental_fold_equals_the_full_fold_at_every_as_of_point(log: LogBuilder) -> None:
    for published in (None, *DAYS):
        growing = FoldedStream(log.slug, DEALS, (), AsOf(published_on=published))
        for recorded in log.events:
            growing.append(recorded)
            for effective in (None, *DAYS):
                corner = AsOf(effective_on=effective, published_on=published, position=recorded.position)
                whole = state_as_of(log.slug, log.events, corner, DEALS)
                if whole.state is not None:
                    assert growing.at(effective) == whole.state
        study_of_all = resolve_record(log.slug, log.events, DEALS)
        facts = [f for f in study_of_all.foldable_events() if AsOf(published_on=published).is_visible(f)]
        at_once = Timeline(DEALS, study_of_all.base).extend(facts)
        one_by_one = Timeline(DEALS, study_of_all.base)
        for fact in facts:
            one_by_one.insert(fact)
        assert at_once.states == one_by_one.states == growing.timeline.states
        assert at_once.refusals == one_by_one.refusals == growing.timeline.refusals


@quick
@given(logs(), st.data())
def test_7_event_removed_from_a_timeline_leaves_no_trace(log: LogBuilder, data: st.DataObject) -> None:
    record = resolve_record(log.slug, log.events, DEALS)
    facts = record.foldable_events()
    if not facts:
        return
    gone = data.draw(st.sampled_from(facts))
    timeline = Timeline(DEALS, record.base).extend(facts)
    timeline.remove(gone.applied.id)
    without = Timeline(DEALS, record.base).extend(f for f in facts if f is not gone)
    assert (timeline.steps, timeline.states, timeline.refusals) == (without.steps, without.states, without.refusals)


@quick
@given(logs(), st.sampled_from(["signed", "construction"]), st.sampled_from(["suspended", "operating"]))
def test_9_later_position_wins_on_the_same_effective_date(log: LogBuilder, first: Any, second: Any) -> None:
    day = DAYS[-1] + timedelta(days=1)
    log.record(StageChanged(stage=first), day)
    log.record(StageChanged(stage=second), day)
    stage = log.state().stage
    assert stage is not None
    assert (stage.value, stage.basis) == (second, "declared")


@quick
@given(logs(erasing=False), st.randoms(use_true_random=False))
def test_9_order_does_not_depend_on_ids_or_recorded_times(log: LogBuilder, chance: Any) -> None:
    """Other ids, and one instant for all events, give the same state but for the ids in it."""
    fresh = [type(e.id)(int=n + 1) for n, e in enumerate(log.events)]
    chance.shuffle(fresh)
    other_id = {str(e.id): str(new) for e, new in zip(log.events, fresh, strict=True)}
    dates = {e.id: e.published_on for e in log.events}
    encoded = msgspec.json.encode([replace(e, recorded_at=log.events[-1].recorded_at) for e in log.events]).decode()
    for old, new in other_id.items():
        encoded = encoded.replace(old, new)
    renamed = msgspec.json.decode(encoded.encode(), type=list[Recorded])
    assert [e.published_on for e in renamed] == list(dates.values())
    kept = msgspec.json.encode(state_as_of(log.slug, _with_sources(log), UNBOUNDED, DEALS).state).decode()
    for old, new in other_id.items():
        kept = kept.replace(old, new)
    assert msgspec.json.encode(state_as_of(log.slug, _sourced(renamed), UNBOUNDED, DEALS).state).decode() == kept


def _with_sources(log: LogBuilder) -> list[Any]:
    return _sourced(log.events)


def _sourced(events: list[Any]) -> list[Any]:
    """Without corrections that leave an event undated: those count as published when they were recorded."""
    return [
        e for e in events if not (isinstance(e.event, EventCorrected) and e.event.replacement.sources in (UNSET, ()))
    ]


@quick
@given(logs(most=20), st.data())
def test_10_answer_for_a_fixed_as_of_point_never_changes(log: LogBuilder, data: st.DataObject) -> None:
    corner = data.draw(boundary_points(log))
    position = data.draw(st.integers(0, len(log.events)))
    asked = AsOf(effective_on=corner["effective"], published_on=corner["published"], position=position)
    then = state_as_of(log.slug, log.events[:position], asked, DEALS)  # what is erased by law is erased here too
    now = state_as_of(log.slug, log.events, asked, DEALS)
    assert now == then
    assert audit_trail(log.events, asked, DEALS) == audit_trail(log.events[:position], asked, DEALS)


@quick
@given(logs(most=10, erasing=False), st.data())
def test_10_redaction_removes_only_its_content_from_past_answers(log: LogBuilder, data: st.DataObject) -> None:
    erased = data.draw(st.sampled_from(log.events))
    position = data.draw(st.integers(1, len(log.events)))
    before = list(log.events)
    redaction = log.record(EventRedacted(redacts=erased.id, reason="By law.")).event
    assert isinstance(redaction, EventRedacted)
    gone = {erased.id, *redaction.also}  # its corrections quote it
    does = {effect.event: effect.does for effect in redaction.effects}
    blanked = [replace(without_content(e), event=does.get(e.id)) if e.id in gone else e for e in before]
    asked = AsOf(position=position)
    assert state_as_of(log.slug, log.events, asked, DEALS) == state_as_of(log.slug, blanked, asked, DEALS)
    if all(e.position > position for e in before if e.id in gone):
        assert state_as_of(log.slug, log.events, asked, DEALS) == state_as_of(log.slug, before, asked, DEALS)


@quick
@given(logs(most=16, erasing=False), st.data())
def test_10_redacted_void_or_preference_keeps_its_effect(log: LogBuilder, data: st.DataObject) -> None:
    acting = (EventVoided, ClaimPreferred, ClaimRetracted, DealMerged, DealUnmerged)
    acts = [e for e in log.events if isinstance(e.event, acting)]
    assume(acts)
    erased = data.draw(st.sampled_from(acts))
    assume(
        not any(
            c
            for r in resolve_record(log.slug, log.events, DEALS).effective_events
            if r.recorded == erased
            for c in r.corrections
        )
    )
    corner = data.draw(boundary_points(log))
    corner["position"] = corner["position"] or len(log.events)
    before = state_as_of(log.slug, log.events, clocks(corner), DEALS)
    log.record(EventRedacted(redacts=erased.id, reason="By law."))
    after = state_as_of(log.slug, log.events, clocks(corner), DEALS)
    assert (after.state, after.merged_into, after.preferred) == (before.state, before.merged_into, before.preferred)


@quick
@given(logs(most=16, erasing=False), st.data())
def test_10_redacted_correction_does_not_restore_the_corrected_content(log: LogBuilder, data: st.DataObject) -> None:
    corrected = [
        r for r in resolve_record(log.slug, log.events, DEALS).effective_events if r.content_record is not r.recorded
    ]
    assume(corrected)
    chosen = data.draw(st.sampled_from(corrected))
    log.record(EventRedacted(redacts=chosen.content_record.id, reason="By law."))
    (now,) = [
        r for r in resolve_record(log.slug, log.events, DEALS).effective_events if r.recorded.id == chosen.recorded.id
    ]
    assert now.content_record.id == chosen.content_record.id
    assert now.event is None or isinstance(now.event, (ClaimPreferred, ClaimRetracted))


@quick
@given(logs(), st.data())
def test_11_correction_is_a_record_change_and_never_growth(log: LogBuilder, data: st.DataObject) -> None:
    corrected = data.draw(st.sampled_from(log.events))
    amount = usd(data.draw(st.sampled_from(["1", "9"])))
    words = replace(corrected.event, amount=amount) if isinstance(corrected.event, PledgeAnnounced) else UNSET
    replacement = Replacement(effective_on=data.draw(st.sampled_from(DAYS)), event=words)
    before = len(log.events)
    log.record(EventCorrected(corrects=corrected.id, replacement=replacement))
    for at in (None, *DAYS):
        made = compare(
            log.events, AsOf(effective_on=at, position=before), AsOf(effective_on=at, position=before + 1), DEALS
        )
        if made.before is None or made.after is None:
            continue
        assert {change.kind for change in made.changes} <= {"record"}
        assert {movement.what for movement in portfolio_changes(made)} <= {"corrected"}
        then = state_as_of(log.slug, log.events, AsOf(effective_on=at, position=before), DEALS)
        assert then.state == made.before


@quick
@given(logs(), st.data())
def test_12_void_of_a_void_restores_the_state(log: LogBuilder, data: st.DataObject) -> None:
    standing = [r.recorded for r in resolve_record(log.slug, log.events, DEALS).effective_events if r.voided_by is None]
    before = log.history()
    voided = data.draw(st.sampled_from(standing))
    first = log.record(EventVoided(voids=voided.id))
    log.record(EventVoided(voids=first.id))
    after = log.history()
    assert after.state == before.state
    assert after.record.preferred == before.record.preferred
    assert after.record.merged_into == before.record.merged_into


@quick
@given(logs(most=20), st.data())
def test_13_comparison_applied_to_the_first_state_gives_the_second(log: LogBuilder, data: st.DataObject) -> None:
    a, b = clocks(data.draw(boundary_points(log))), clocks(data.draw(boundary_points(log)))
    made = compare(log.events, a, b, DEALS)
    first, second = (state_as_of(log.slug, log.events, c, DEALS).state for c in (a, b))
    assert apply(first, made.differences) == second
    assert apply(first, made.changes) == second
    assert apply(second, diff(second, first)) == first
    written = {e.id for e in log.events}
    for change in made.changes:
        assert change.before != change.after
        assert change.causes
        assert set(change.causes) <= written
        assert change.kind in ("world", "record", "source", "learned_late")
        if a.position == b.position:
            assert change.kind in ("world", "source")
    assert {d.path for d in made.differences} <= {c.path for c in made.changes}


@quick
@given(logs(most=20), st.data())
def test_13_comparison_of_a_point_with_itself_is_empty(log: LogBuilder, data: st.DataObject) -> None:
    point = clocks(data.draw(boundary_points(log)))
    made = compare(log.events, point, point, DEALS)
    assert (made.changes, made.differences, made.merged_into) == ([], [], None)
    assert portfolio_changes(made) == []


@quick
@given(logs(most=20), st.data())
def test_13_provenance_names_the_event_that_set_each_field(log: LogBuilder, data: st.DataObject) -> None:
    corner = data.draw(boundary_points(log))
    shown = state_as_of(log.slug, log.events, clocks(corner), DEALS)
    named = provenance(shown, DEALS)
    naive = oracle.seen(log.slug, log.events, **corner)
    if naive is None:
        assert named == []
        return
    states, _ = naive
    assert shown.registration is not None
    events = [shown.registration.recorded.id, *(p.applied.id for p in shown.steps)]
    fields = [_fields(state) for state in states]
    assert {b.path: plain(b.value) for b in named} == fields[-1]
    for b in named:
        at = events.index(b.event)
        assert fields[at][b.path] == plain(b.value)
        assert all(later.get(b.path) == plain(b.value) for later in fields[at:])
        before = fields[at - 1].get(b.path) if at else None
        assert before != plain(b.value)
        assert before == (None if b.before == () else plain(b.before))


def _fields(state: Any) -> dict[str, Any]:
    """Every field of a state, given as plain JSON, that is not empty."""
    named = {
        "pledges": ("pledge",),
        "sites": ("site",),
        "milestones": ("milestone",),
        "conditions": ("condition",),
        "parties": ("organization", "role", "joined_on"),
        "relations": ("relation", "pledge", "deal", "other_pledge"),
    }
    fields = {}
    for name, value in state.items():
        if name not in named:
            fields[f"/{name}"] = value
            continue
        for item in value:
            key = ":".join(item[k] or "" for k in named[name])
            fields.update({f"/{name}/{key}/{field}": v for field, v in item.items()})
    return {path: value for path, value in fields.items() if value not in (None, [])}


@quick
@given(logs(most=20))
def test_change_points_are_the_positions_at_which_the_state_changed(log: LogBuilder) -> None:
    named = {moment.position for moment in change_points(log.events, DEALS)}
    before: Any = None
    for event in log.events:
        seen = state_as_of(log.slug, log.events, AsOf(position=event.position), DEALS)
        # A stream's state begins with its registration, whatever dates that has.
        now = (seen.state if seen.state is not None else seen.base, seen.merged_into)
        assert (event.position in named) == (now != before)
        before = now


@quick
@given(logs(most=16, admitted=True))
def test_admitted_events_are_applied_unless_a_redaction_prevents_it(log: LogBuilder) -> None:
    if any(isinstance(e.event, EventRedacted) for e in log.events):
        return
    assert state_as_of(log.slug, log.events, UNBOUNDED, DEALS).unapplied == []


@quick
@given(logs(most=16))
def test_audit_trail_lists_every_event_and_its_changes_make_the_state(log: LogBuilder) -> None:
    listed = audit_trail(log.events, UNBOUNDED, DEALS)
    assert [a.effective.recorded.id for a in listed] == [e.id for e in log.events]
    seen = state_as_of(log.slug, log.events, UNBOUNDED, DEALS)
    by_id = {a.effective.recorded.id: a for a in listed}
    assert seen.registration is not None
    state = apply(None, by_id[seen.registration.recorded.id].changes)
    for placed in seen.steps:
        state = apply(state, by_id[placed.applied.id].changes)
    assert state == seen.state
    for a in listed:
        if a.unapplied or a.effective.voided_by or a.effective.event is None:
            assert a.changes == [] or a.change_of == "record"


def test_title_in_two_languages_is_one_field() -> None:
    log = LogBuilder()
    assert diff(None, log.state())[1].path == "/title"
    assert diff(None, log.state())[1].after == Localized(en="A deal")


def test_days_of_the_strategies_are_in_order() -> None:
    assert sorted(DAYS) == DAYS
    assert date(2025, 1, 1) in DAYS
