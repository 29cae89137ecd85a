"""Redactions: the content goes, the effect on other events stays."""

from __future__ import annotations

from msgspec.structs import replace

from registry.domain.history import UNBOUNDED, state_as_of
from registry.domain.stream_kinds import DEALS
from registry.events.types import (
    AnyEvent,
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    DealMerged,
    EventCorrected,
    EventRedacted,
    EventVoided,
    PledgeAnnounced,
    PledgeRevised,
    Replacement,
    StageChanged,
)
from tests.domain.builders import day, usd
from tests.domain.pledges import UNKNOWN_EVENT, amount, pledged, refuse


def test_redacted_content_is_gone_at_every_as_of_point() -> None:
    log, announced = pledged()
    log.redact(announced)
    assert log.state().pledges == ()
    assert log.state(position=2).pledges == ()
    effective = log.history().record.by_id[announced.id]
    assert (effective.event, effective.sources, effective.recorded.leaf_hash) == (None, (), announced.leaf_hash)


def test_redaction_removes_the_content_from_a_cached_stream() -> None:
    log, announced = pledged()
    stream = log.history()
    stream.append(log.make(EventRedacted(redacts=announced.id, reason="By law.")))
    assert stream.state.pledges == ()
    assert all(e.event is None for e in stream.events if e.id == announced.id)


def test_redaction_is_admitted_although_later_events_depend_on_it() -> None:
    log, announced = pledged()
    revision = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20")
    log.redact(announced)
    snapshot = state_as_of(log.slug, log.events, UNBOUNDED, DEALS)
    assert [r.recorded.id for r, _ in snapshot.unapplied] == [revision.id]


def test_correction_of_a_redacted_event_is_refuse() -> None:
    log, announced = pledged("50")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.redact(announced)
    assert log.state().pledges == ()
    change = Replacement(effective_on=day("2025-01-01"))
    assert refuse(log, EventCorrected(corrects=announced.id, replacement=change)).refusal.code == "event-redacted"


def test_redacted_correction_does_not_restore_the_corrected_content() -> None:
    log, announced = pledged("50")
    correction = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.redact(correction)
    assert log.state().pledges == ()
    assert log.state(position=correction.position).pledges == ()
    assert amount(log, position=announced.position) == "50"
    effective = log.history().record.by_id[announced.id]
    assert (effective.event, effective.sources, effective.content_record.id) == (None, (), correction.id)
    later = Replacement(effective_on=day("2025-01-01"))
    refusal = refuse(log, EventCorrected(corrects=announced.id, replacement=later))
    assert (refusal.refusal.code, str(correction.id) in str(refusal)) == ("event-redacted", True)
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("6")))
    assert amount(log) == "6"


def test_void_of_a_redacted_correction_restores_the_original() -> None:
    log, announced = pledged("50")
    correction = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.correct(announced, effective_on=day("2025-01-02"))
    log.redact(correction)
    log.void(correction)
    assert log.state().pledges == ()  # The later correction repeated it and is in force.
    log.void(log.events[3])
    assert amount(log) == "50"


def test_voided_event_stays_voided_when_the_void_is_redacted() -> None:
    log, announced = pledged()
    void = log.void(announced)
    restored = log.void(void)
    again = log.void(restored)
    later = log.admit(StageChanged(stage="signed"), "2025-07-01")
    states = [log.state(position=n) for n in range(1, later.position + 1)]
    for redacted in (void, again, restored):
        stream = log.history()
        redaction = log.redact(redacted)
        stream.append(redaction)
        assert [log.state(position=n) for n in range(1, later.position + 1)] == states
        assert log.state() == stream.state == states[-1]
        effective = log.history().record.by_id[redacted.id]
        assert (effective.recorded.erased, effective.event) == (True, EventVoided(voids=redacted.event.voids))  # type: ignore[union-attr]
    assert refuse(log, EventVoided(voids=announced.id)).refusal.code == "already-voided"


def test_redacted_merge_preference_and_retraction_still_apply() -> None:
    log, _ = pledged()
    log.admit(ClaimReported(claim="daily", field="/pledges/total/amount", value=usd("6")))
    log.admit(ClaimReported(claim="weekly", field="/pledges/total/amount", value=usd("7")))
    acts: list[AnyEvent] = [
        ClaimPreferred(field="/pledges/total/amount", claim="weekly", reason="words"),
        ClaimRetracted(claim="daily", reason="words"),
        DealMerged(into="aws-korea-2031", reason="words"),
    ]
    recorded = [log.admit(event) for event in acts]
    before = log.history().state_as_of(UNBOUNDED)
    assert before.merged_into == "aws-korea-2031"
    for one in recorded:
        log.redact(one)
    after = log.history().state_as_of(UNBOUNDED)
    assert (after.state, after.merged_into) == (before.state, before.merged_into)
    assert amount(log) == "7"
    for number, event in enumerate(log.events[4:7]):
        assert (event.erased, event.event) == (True, replace(acts[number], reason=None))


def test_redacted_preference_still_applies_as_corrected() -> None:
    log, _ = pledged()
    log.admit(ClaimReported(claim="daily", field="/pledges/total/amount", value=usd("6")))
    log.admit(ClaimReported(claim="weekly", field="/pledges/total/amount", value=usd("7")))
    preferred = log.admit(ClaimPreferred(field="/pledges/total/amount", claim="weekly"))
    slip = log.correct(preferred, event=ClaimPreferred(field="/pledges/total/amount", claim="daily", reason="words"))
    log.redact(preferred)
    assert amount(log, position=preferred.position) == "7"
    assert amount(log, position=slip.position) == "6"
    assert amount(log) == "6"


def test_redaction_without_effects_can_be_read() -> None:
    log, announced = pledged()
    void = log.void(announced)
    log.add(log.make(EventRedacted(redacts=void.id, reason="By law.")))
    assert log.history().record.by_id[void.id].event is None
    assert amount(log) == "5"


def test_redactions_that_make_no_sense_are_refuse() -> None:
    log, announced = pledged()
    erasure = log.redact(announced)
    assert refuse(log, EventRedacted(redacts=announced.id, reason="Again.")).refusal.code == "already-redacted"
    assert refuse(log, EventRedacted(redacts=erasure.id, reason="Hide it.")).refusal.code == "redaction-redacted"
    assert refuse(log, EventRedacted(redacts=UNKNOWN_EVENT, reason="What?")).refusal.code == "event-unknown"
    assert refuse(log, EventVoided(voids=erasure.id)).refusal.code == "redaction-voided"
