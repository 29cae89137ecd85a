"""Comparisons between two points in time."""

from __future__ import annotations

from datetime import UTC, datetime

from registry.domain.audit.comparison import compare
from registry.domain.audit.diff import Change
from registry.domain.calendar import Calendar
from registry.domain.history import UNBOUNDED, AsOf
from registry.domain.stream_kinds import DEALS
from registry.events.types import (
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    DealMerged,
    DealRegistered,
    PledgeAnnounced,
    PledgeRevised,
)
from registry.events.values import Localized
from tests.domain.builders import LogBuilder, day, usd
from tests.domain.comparisons import FIELD, compare_at, kinds, pledged, whats


def test_event_that_took_effect_in_between_is_a_world_change() -> None:
    log, _ = pledged("5", "2024-06-16")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-22")
    comparison = compare_at(log, {"effective_on": "2024-06-17"}, {"effective_on": "2024-06-23"})
    assert kinds(comparison) == [("world", "5", "7")]
    assert comparison.changes[0].causes == (log.events[2].id,)
    assert "grew" in whats(comparison)


def test_event_published_in_between_is_a_world_change() -> None:
    log, _ = pledged("5", "2024-06-16", published="2024-06-16")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-16", published="2024-06-25")
    log.admit(PledgeRevised(pledge="total", amount=usd("8")), "2024-06-20", published="2024-06-25")
    comparison = compare_at(log, {"published_on": "2024-06-17"}, {"published_on": "2024-06-30"})
    assert kinds(comparison) == [("world", "5", "8")]


def test_event_that_happened_and_was_recorded_in_between_is_a_world_change() -> None:
    log, announced = pledged("5", "2025-01-02")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-01-05")
    assert kinds(compare_at(log, {"position": announced.position}, {"position": 3})) == [("world", "5", "7")]


def test_backdated_event_is_learned_late_and_also_growth() -> None:
    log, announced = pledged("5", "2024-06-16")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-20")
    comparison = compare_at(log, {"position": announced.position}, {"position": 3})
    assert kinds(comparison) == [("learned_late", "5", "7")]
    assert {"grew", "learned_late"} <= set(whats(comparison))


def test_correction_is_a_record_change_and_never_growth() -> None:
    log, announced = pledged("5")
    correction = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("50")))
    comparison = compare_at(log, {"position": announced.position}, {})
    assert kinds(comparison) == [("record", "5", "50")]
    assert comparison.changes[0].causes == (correction.id,)
    assert whats(comparison) == ["corrected"]


def test_correction_and_growth_of_one_amount_are_separate_changes() -> None:
    log, announced = pledged("50", "2024-06-16")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.admit(PledgeRevised(pledge="total", amount=usd("50")), "2025-01-08")
    comparison = compare_at(log, {"position": announced.position}, {})
    assert kinds(comparison) == [("record", "50", "5"), ("world", "5", "50")]
    assert FIELD not in {d.path for d in comparison.differences}
    assert set(whats(comparison)) == {"corrected", "grew"}


def test_correction_of_an_event_not_yet_visible_is_not_a_record_change() -> None:
    log, announced = pledged("50", "2024-06-22")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    comparison = compare_at(log, {"effective_on": "2024-06-17", "position": 2}, {"effective_on": "2024-06-30"})
    assert kinds(comparison) == [("world", None, "5")]


def test_correction_that_makes_an_event_visible_is_a_record_change() -> None:
    log, announced = pledged("5", "2024-06-22")
    correction = log.correct(announced, effective_on=day("2024-06-12"))
    comparison = compare_at(log, {"effective_on": "2024-06-17", "position": 2}, {"effective_on": "2024-06-17"})
    assert kinds(comparison) == [("record", None, "5")]
    assert {c.causes for c in comparison.changes} == {(correction.id,)}


def test_voided_correction_is_no_change() -> None:
    log, announced = pledged("5")
    log.void(log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("50"))))
    assert compare_at(log, {"position": announced.position}, {}).changes == []


def test_voided_event_recorded_again_is_not_growth() -> None:
    log, wrong = pledged("5")
    void = log.void(wrong)
    again = log.admit(PledgeAnnounced(pledge="total", amount=usd("7")), "2024-06-16")
    comparison = compare_at(log, {"position": wrong.position}, {})
    assert kinds(comparison) == [("record", "5", "7")]
    assert next(c for c in comparison.changes if c.path == FIELD).causes == (void.id, again.id)
    assert whats(comparison) == ["re_recorded"]


def test_voided_event_recorded_again_under_another_id_is_not_growth() -> None:
    log, wrong = pledged("5")
    log.void(wrong)
    log.admit(PledgeAnnounced(pledge="programme", amount=usd("7")), "2024-06-16")
    comparison = compare_at(log, {"position": wrong.position}, {})
    assert set(whats(comparison)) == {"re_recorded"}


def test_new_statement_after_a_void_is_a_real_world_change() -> None:
    log, wrong = pledged("5", published="2024-06-16")
    log.void(wrong)
    log.now = datetime(2026, 1, 8, tzinfo=UTC)
    log.admit(PledgeAnnounced(pledge="next", amount=usd("7")), "2026-01-07", published="2026-01-07")
    comparison = compare_at(log, {"position": wrong.position}, {})
    assert set(whats(comparison)) == {"corrected", "stated"}


def test_claim_and_its_retraction_are_source_changes() -> None:
    log, announced = pledged()
    log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    reported = log.events[-1].position
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimRetracted(claim="herald"))
    first = compare_at(log, {"position": announced.position}, {"position": reported})
    assert {(c.kind, c.path) for c in first.changes} == {("source", "/pledges/total/claims")}
    preferred = compare_at(log, {"position": reported}, {"position": reported + 1})
    assert kinds(preferred) == [("source", "5", "7")]
    assert set(whats(preferred)) == {"preferred"}
    taken_back = compare_at(log, {"position": reported + 1}, {})
    assert kinds(taken_back) == [("source", "7", "5")]
    assert set(whats(taken_back)) == {"retracted"}


def test_claim_that_agrees_with_the_value_shown_is_corroborated_in_a_comparison() -> None:
    log, announced = pledged()
    log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("5", qualifier="about")))
    agreed = log.events[-1].position
    log.admit(ClaimReported(claim="joongang", field=FIELD, value=usd("6")))
    assert whats(compare_at(log, {"position": announced.position}, {"position": agreed})) == ["corroborated"]
    assert whats(compare_at(log, {"position": agreed}, {})) == ["claimed"]
    assert whats(compare_at(log, {"position": announced.position}, {})) == ["corroborated", "claimed"]


def test_new_preferred_claim_is_a_claim_and_a_preference_but_no_correction() -> None:
    log, announced = pledged()
    log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    preferred = log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    comparison = compare_at(log, {"position": announced.position}, {})
    assert kinds(comparison) == [("source", "5", "7")]
    assert next(c for c in comparison.changes if c.path == FIELD).causes == (preferred.id,)
    assert set(whats(comparison)) == {"claimed", "preferred"}


def test_reversed_comparison_reverses_the_changes() -> None:
    log, announced = pledged("50", "2024-06-16")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-22")
    back = compare_at(log, {}, {"position": announced.position})
    assert kinds(back) == [("learned_late", "7", "5"), ("record", "5", "50")]


def test_deal_that_becomes_known_has_appeared_and_is_not_corrected() -> None:
    log, _ = pledged("5", "2024-06-16")
    comparison = compare_at(log, {"effective_on": "2023-12-31"}, {})
    assert whats(comparison) == ["appeared"]
    assert {c.label for c in comparison.changes} == {"record_keeping", "world"}
    assert whats(compare_at(log, {}, {"effective_on": "2023-12-31"})) == ["vanished"]
    assert whats(compare_at(log, {"position": 0}, {})) == ["appeared"]


def test_corrected_registration_is_a_record_change() -> None:
    log = LogBuilder()
    log.correct(log.events[0], event=DealRegistered(title=Localized(en="Another name")))
    (change,) = compare_at(log, {"position": 1}, {}).changes
    assert (change.path, change.kind, change.causes) == ("/title", "record", (log.events[1].id,))


def test_comparison_lists_a_merge_apart_from_the_changes() -> None:
    log, announced = pledged()
    log.admit(DealMerged(into="aws-korea-2031"))
    comparison = compare_at(log, {"position": announced.position}, {})
    assert comparison.merged_into == Change("/merged_into", None, "aws-korea-2031")
    assert comparison.changes == []


def test_comparison_of_no_events_is_empty() -> None:
    assert compare([], UNBOUNDED, AsOf(position=3), DEALS, Calendar()).changes == []
