"""Properties of facts and of comparisons over random logs. A number in a test's name is that of the property."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from registry.domain.audit.comparison import compare
from registry.domain.audit.entries import audit_trail
from registry.domain.audit.portfolio_changes import portfolio_changes
from registry.domain.calendar import Calendar
from registry.domain.fold.claims import agrees
from registry.domain.history import UNBOUNDED, AsOf, state_as_of
from registry.domain.stream_kinds import DEALS, ORGANIZATIONS
from registry.errors import RuleBroken
from registry.events.types import (
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    OrganizationNamed,
    OrganizationRegistered,
    PartiesJoined,
    PledgeAnnounced,
    PledgeWithdrawn,
    StageChanged,
)
from registry.events.values import Amount, Localized, Party, StatedAmount
from tests.conftest import examples
from tests.domain.builders import LogBuilder, usd
from tests.properties import oracle
from tests.properties.oracle_state import agree
from tests.properties.strategies import DAYS, amounts, boundary_points, logs, loose_dates, megawatts
from tests.properties.test_time import as_of

quick = settings(
    max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
LAST = DAYS[-1] + timedelta(days=1)


@quick
@given(logs(max_events=12, admitted=True, redactions=False), st.data())
def test_11_void_and_re_recording_is_no_growth_and_no_correction(log: LogBuilder, data: st.DataObject) -> None:
    amount, again = data.draw(amounts), data.draw(amounts)
    assume(log.history().record.merged_into is None)
    wrong = log.admit(PledgeAnnounced(pledge="wrong", amount=amount), LAST)
    void = log.void(wrong)
    right = log.admit(PledgeAnnounced(pledge=data.draw(st.sampled_from(["wrong", "right"])), amount=again), LAST)
    comparison = compare(log.events, AsOf(position=wrong.position), UNBOUNDED, DEALS, Calendar())
    assert {change.what for change in portfolio_changes(comparison)} <= {"re_recorded"}
    assert all(change.kind == "record" for change in comparison.changes)
    for change in comparison.changes:
        assert set(change.causes) == {void.id, right.id}
    entries = {entry.effective.recorded.id: entry for entry in audit_trail(log.events, UNBOUNDED, DEALS, Calendar())}
    voided_by = entries[wrong.id].effective.voided_by
    assert voided_by is not None
    assert voided_by.id == void.id
    assert entries[void.id].changes
    assert entries[right.id].changes


@quick
@given(logs(max_events=14, admitted=True, redactions=False), st.data())
def test_34_claim_is_admitted_only_if_its_event_set_the_field(log: LogBuilder, data: st.DataObject) -> None:
    assume(log.history().record.merged_into is None)
    event = data.draw(st.sampled_from(log.events))
    facts: list[tuple[str, Any]] = [("/pledges/p1/amount", usd("3")), ("/sites/s1/power_mw", "7")]
    field, value = data.draw(st.sampled_from(facts))
    contents = [oracle.effective_content(log.events, e) for e in log.events]
    content = next(c for c in contents if c["id"] == event.id)
    before = state_as_of(log.slug, log.events, UNBOUNDED, DEALS)
    sets = (
        any(step.applied.id == event.id for step in before.steps)
        and content["in_force"]
        and oracle.sets_field(content, field)
    )
    claim = ClaimReported(claim="new", field=field, value=value, about=event.id)
    if sets:
        log.admit(claim)
    else:
        with pytest.raises(RuleBroken) as refused:
            log.admit(claim)
        assert refused.value.refusal.code == "claim-about-unrelated"


@quick
@given(logs(max_events=14), st.sampled_from(["signed", "construction", "suspended"]))
def test_35_declaring_the_current_stage_again_changes_no_since(log: LogBuilder, stage: Any) -> None:
    log.record(StageChanged(stage=stage), LAST)
    first = log.state().stage
    again = LAST + timedelta(days=1)
    log.record(StageChanged(stage=stage), again)
    assert log.state().stage == first
    comparison = compare(log.events, AsOf(effective_on=LAST), AsOf(effective_on=again), DEALS, Calendar())
    assert "stage_moved" not in {change.what for change in portfolio_changes(comparison)}


@quick
@given(logs(max_events=14))
def test_35_withdrawing_the_last_standing_pledge_withdraws_an_inferred_stage_only(log: LogBuilder) -> None:
    log.record(PledgeAnnounced(pledge="last"), LAST)
    standing = [pledge.pledge for pledge in log.state().pledges if pledge.status != "withdrawn"]
    before = log.state().stage
    for number, pledge in enumerate(standing):
        assert log.state().stage == before
        log.record(PledgeWithdrawn(pledge=pledge), LAST + timedelta(days=number))
    after = log.state().stage
    stays = before is not None and (
        before.basis == "declared" or before.value not in ("intention", "signed", "committed")
    )
    if stays:
        assert after == before
    else:
        assert after is not None
        assert (after.value, after.basis, after.rule) == ("withdrawn", "inferred", "all-pledges-withdrawn")


@quick
@given(logs(max_events=10), st.sampled_from(["sk", "new"]), st.sampled_from([None, "investor", "operator"]))
def test_36_joining_again_changes_the_name_and_adds_no_party(log: LogBuilder, organization: str, role: Any) -> None:
    party = Party(organization=organization, role=role)
    log.record(PartiesJoined(parties=(party,)), LAST)
    before = log.state().parties
    named = Party(organization=organization, role=role, name=Localized(en="Named again"))
    log.record(PartiesJoined(parties=(named,)), LAST + timedelta(days=1))
    after = log.state().parties
    assert [(p.organization, p.role, p.joined_on, p.left_on) for p in after] == [
        (p.organization, p.role, p.joined_on, p.left_on) for p in before
    ]
    changed = [p for p, old in zip(after, before, strict=True) if p != old]
    assert [(p.organization, p.role, p.left_on, p.name) for p in changed] == [
        (organization, role, None, Localized(en="Named again"))
    ]


NAMINGS = st.tuples(
    st.sampled_from(["AWS", "Amazon"]), st.sampled_from(["legal", "short", "former"]), st.sampled_from(DAYS)
)


@quick
@given(st.lists(NAMINGS, max_size=8), st.sampled_from(DAYS))
def test_36_kind_of_a_name_is_the_one_stated_last_by_its_effective_date(
    namings: list[tuple[str, Any, date]], on: date
) -> None:
    log = LogBuilder(registered=False)
    log.record(OrganizationRegistered(name=Localized(en="Amazon")), DAYS[0], published=DAYS[0])
    for name, kind, day in namings:
        log.record(OrganizationNamed(name=name, language="en", kind=kind), day, published=DAYS[0])
    state = state_as_of("aws", log.events, AsOf(effective_on=on), ORGANIZATIONS).state
    assert state is not None
    kinds = {name: kind for name, kind, day in sorted(namings, key=lambda naming: naming[2]) if day <= on}
    assert {name.name: name.kind for name in state.names} == kinds
    assert len(state.names) == len(kinds)


@quick
@given(logs(max_events=20), st.data())
def test_37_no_restatement_is_growth_and_no_claim_or_preference_is_a_correction(
    log: LogBuilder, data: st.DataObject
) -> None:
    a, b = as_of(data.draw(boundary_points(log))), as_of(data.draw(boundary_points(log)))
    comparison = compare(log.events, a, b, DEALS, Calendar())
    types = {event.id: type(event.event) for event in log.events}
    changed_bases = {
        change.path.split("/")[2]
        for change in comparison.changes
        if change.path.endswith("/amount_basis") and change.kind in ("world", "learned_late")
    }
    for meaning in portfolio_changes(comparison):
        caused_by = {types[cause] for cause in meaning.causes}
        if meaning.what in ("corrected", "re_recorded"):
            assert caused_by - {ClaimReported, ClaimRetracted, ClaimPreferred}
        if meaning.what in ("claimed", "corroborated", "preferred"):
            assert meaning.kind == "source"
        if meaning.what in ("grew", "shrank") and meaning.field is not None and meaning.field.endswith("/amount"):
            assert meaning.kind in ("world", "learned_late")
            old, new = meaning.before, meaning.after
            assert old is None or new is None or old.currency == new.currency
            assert old is None or new is None or meaning.field.split("/")[2] not in changed_bases


@quick
@given(logs(max_events=20))
def test_38_claim_is_corroborated_if_and_only_if_it_agrees_with_the_value_shown(log: LogBuilder) -> None:
    state = log.state()
    for name in ("pledges", "sites", "milestones"):
        for item in getattr(state, name):
            for claim in item.claims:
                shown = getattr(item, claim.field.split("/")[3])
                expected = claim.status == "standing" and agree(claim.value, shown)
                assert claim.corroborated == expected


stated_amounts = st.builds(
    Amount,
    currency=st.sampled_from(["USD", "KRW"]),
    value=st.sampled_from([None, "5", "5.0", "7"]),
    qualifier=st.sampled_from([None, "about", "at_least"]),
    wording=st.just("several"),
    stated_as=st.lists(
        st.builds(StatedAmount, currency=st.sampled_from(["USD", "KRW", "EUR"]), value=st.sampled_from(["5", "7"])),
        max_size=2,
    ).map(tuple),
)


@quick
@given(stated_amounts, stated_amounts)
def test_38_amounts_agree_if_one_of_their_stated_figures_is_the_same(one: Amount, two: Amount) -> None:
    path = "/pledges/p/amount"
    assert agrees(path, one, two) == agrees(path, two, one) == agree(one, two)
    assert agrees(path, one, one) == bool(one.value or one.stated_as)


@quick
@given(loose_dates | st.sampled_from(["2027-10", "2026/2028"]), loose_dates | st.sampled_from(["2027-12"]))
def test_38_dates_agree_if_one_contains_the_other(one: str, two: str) -> None:
    path = "/milestones/m/planned"
    assert agrees(path, one, two) == agrees(path, two, one) == agree(one, two)
    assert agrees(path, one, one)


@quick
@given(megawatts, megawatts)
def test_38_other_values_agree_if_they_are_equal(one: str, two: str) -> None:
    assert agrees("/sites/s/power_mw", one, two) == (one == two)
