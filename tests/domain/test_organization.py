"""Names, identifiers and owners of organizations over time, ultimate parents, and suggested duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.domain.fold.applied_event import AppliedEvent
from registry.domain.history import AsOf, state_as_of
from registry.domain.organizations.deduplication import normalize_name, suggest_duplicates
from registry.domain.organizations.organization import Organization, ParentState, evolve, register, ultimate_parents
from registry.domain.stream_kinds import ORGANIZATIONS
from registry.errors import RuleBroken
from registry.events.types import (
    Event,
    OrganizationIdentified,
    OrganizationMerged,
    OrganizationNamed,
    OrganizationRegistered,
    ParentEnded,
    ParentSet,
)
from registry.events.values import Localized
from tests.domain.builders import FIRST_INSTANT, LogBuilder, day


def organization(slug: str, ko: str | None = None, en: str | None = None, *events: Event) -> Organization:
    names = {tag: name for tag, name in (("ko", ko), ("en", en)) if name}
    state = register(slug, OrganizationRegistered(name=Localized(names)))
    for event in events:
        state = then(state, event)
    return state


def then(state: Organization, event: Event, on: str = "2024-10-01") -> Organization:
    return evolve(state, AppliedEvent(UUID(int=1), event, day(on), day(on), (), FIRST_INSTANT))


def broken_rule(state: Organization, event: Event) -> str:
    """The rule by which the organization refuses the event."""
    with pytest.raises(RuleBroken) as error:
        then(state, event)
    return error.value.refusal.code


# --- the state --------------------------------------------------------------------------------------------------------


def test_organization_has_names_in_two_scripts_and_many_spellings() -> None:
    """Hard case 9."""
    aws = organization(
        "amazon-web-services",
        "아마존웹서비스",
        "Amazon Web Services",
        OrganizationNamed(name="AWS", language="en", kind="short"),
        OrganizationNamed(name="AWS", language="en", kind="short"),
        OrganizationNamed(name="Amazon Web Services, Inc.", language="en", kind="legal"),
    )
    assert list(aws.all_names()) == [
        "amazon-web-services",
        "아마존웹서비스",
        "Amazon Web Services",
        "AWS",
        "Amazon Web Services, Inc.",
    ]
    assert aws.names[0].since == day("2024-10-01")


def test_name_stated_again_with_another_kind_changes_its_kind_from_that_date() -> None:
    log = LogBuilder(registered=False)
    log.record(OrganizationRegistered(name=Localized(en="Amazon")), "2024-01-01")
    log.record(OrganizationNamed(name="AWS", language="en", kind="short"), "2024-01-01", published="2024-01-01")
    log.record(OrganizationNamed(name="AWS", language="en", kind="former"), "2025-03-01", published="2025-03-01")

    def kinds(on: str) -> list[tuple[str, str, date]]:
        state = state_as_of("aws", log.events, AsOf(effective_on=day(on)), ORGANIZATIONS).state
        assert state is not None
        return [(n.name, n.kind, n.since) for n in state.names]

    assert kinds("2025-02-28") == [("AWS", "short", day("2024-01-01"))]
    assert kinds("2025-03-01") == [("AWS", "former", day("2024-01-01"))]


def test_organization_has_one_identifier_for_each_register() -> None:
    kt = organization("kt", "KT", "KT", OrganizationIdentified(scheme="kr-brn", identifier="102-81-42945"))
    assert then(kt, OrganizationIdentified(scheme="kr-brn", identifier="102-81-42945")) == kt
    assert broken_rule(kt, OrganizationIdentified(scheme="kr-brn", identifier="124-81-00998")) == "identifier-differs"


def test_parent_applies_from_its_date_until_it_ends() -> None:
    gip = organization("gip", None, "Global Infrastructure Partners")
    gip = then(gip, ParentSet(parent="blackrock", control="owns", share="100"), "2024-10-01")
    assert ultimate_parents({"gip": gip}, day("2024-09-30")) == {}
    assert ultimate_parents({"gip": gip}, day("2024-10-01")) == {"gip": "blackrock"}
    sold = then(gip, ParentEnded(parent="blackrock"), "2026-01-01")
    assert ultimate_parents({"gip": sold}, day("2025-12-31")) == {"gip": "blackrock"}
    assert ultimate_parents({"gip": sold}, day("2026-01-01")) == {}
    assert broken_rule(sold, ParentEnded(parent="blackrock")) == "parent-unknown"


def test_parent_set_again_replaces_the_previous_share() -> None:
    unit = then(organization("unit"), ParentSet(parent="group", share="60"), "2024-01-01")
    unit = then(unit, ParentSet(parent="group", share="80"), "2025-01-01")
    assert [(p.share, p.until) for p in unit.parents] == [("60", day("2025-01-01")), ("80", None)]


@pytest.mark.parametrize(
    ("event", "rule"),
    [
        (ParentSet(parent="kt"), "parent-of-itself"),
        (OrganizationRegistered(name=Localized(en="KT")), "already-registered"),
    ],
)
def test_refused_event_names_the_rule_that_it_breaks(event: Event, rule: str) -> None:
    assert broken_rule(organization("kt", "KT"), event) == rule


def test_merge_does_not_change_the_organizations_state() -> None:
    kt = organization("kt", "KT")
    assert then(kt, OrganizationMerged(into="kt-corp")) == kt


def test_organization_with_redacted_registration_keeps_its_slug() -> None:
    assert list(register("kt", None).all_names()) == ["kt"]


# --- ultimate parents -------------------------------------------------------------------------------------------------


def test_organization_counts_under_its_owners_of_that_day() -> None:
    vena = then(organization("vena-energy"), ParentSet(parent="gip", control="owns"), "2018-01-01")
    gip = then(organization("gip"), ParentSet(parent="blackrock", control="owns", share="100"), "2024-10-01")
    every = {o.organization: o for o in (vena, gip, organization("blackrock"))}
    assert ultimate_parents(every, day("2024-09-30")) == {"vena-energy": "gip"}
    assert ultimate_parents(every, day("2024-10-01")) == {"vena-energy": "blackrock", "gip": "blackrock"}


def test_joint_venture_minority_and_manager_have_no_ultimate_parent() -> None:
    jv = organization("jv", None, None, ParentSet(parent="alibaba"), ParentSet(parent="shinsegae"))
    half = organization("half", None, None, ParentSet(parent="one", share="50"))
    run = organization("fund", None, None, ParentSet(parent="manager", control="manages"))
    assert ultimate_parents({o.organization: o for o in (jv, half, run)}, day("2025-01-01")) == {}


def test_duplicate_counts_under_the_organization_it_was_merged_into() -> None:
    kt = then(organization("kt"), ParentSet(parent="holding"))
    assert ultimate_parents({"kt": kt}, day("2025-01-01"), {"kt-corp": "kt"}) == {"kt": "holding", "kt-corp": "holding"}


def test_parent_of_a_merged_organization_applies_to_the_one_it_was_merged_into() -> None:
    duplicate = then(organization("kt-corp"), ParentSet(parent="holding"))
    kt, merged, on = organization("kt"), {"kt-corp": "kt"}, day("2025-01-01")
    under_holding = {"kt": "holding", "kt-corp": "holding"}
    assert ultimate_parents({"kt": kt, "kt-corp": duplicate}, on, merged) == under_holding
    same = then(kt, ParentSet(parent="holding-inc"))
    holdings = {**merged, "holding-inc": "holding"}
    assert ultimate_parents({"kt": same, "kt-corp": duplicate}, on, holdings) == {
        **under_holding,
        "holding-inc": "holding",
    }
    other = then(kt, ParentSet(parent="another"))
    assert ultimate_parents({"kt": other, "kt-corp": duplicate}, on, merged) == {"kt-corp": "kt"}
    own = then(organization("kt-corp"), ParentSet(parent="kt"))
    assert ultimate_parents({"kt": kt, "kt-corp": own}, on, merged) == {"kt-corp": "kt"}


@given(
    st.dictionaries(st.sampled_from("abcde"), st.sampled_from("abcde")),
    st.dictionaries(st.sampled_from("abcde"), st.sampled_from("abcde"), max_size=2),
)
def test_cycle_of_owners_has_no_ultimate_parent(parents: Mapping[str, str], merged: Mapping[str, str]) -> None:
    since = day("2020-01-01")
    every = {
        slug: Organization(organization=slug, name=None, parents=(ParentState(parent, None, None, since),))
        for slug, parent in parents.items()
    }
    tops = ultimate_parents(every, date(2025, 1, 1), merged)
    for slug, top in tops.items():
        assert slug != top
        assert tops.get(top, top) == top, "an ultimate parent has no ultimate parent"


# --- suggested duplicates ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("아마존웹서비스", "Amazon Web Services, Inc.", "same name"),
        ("AWS", "Amazon Web Services", "initials"),
        ("앰코테크놀로지", "Amkor Technology Inc", "same name"),
        ("지멘스 헬시니어스", "Siemens Healthineers AG", "same name"),
        ("SK그룹", "SK Group", "same name"),
        ("(주)케이티", "KT Corp.", "same name"),
        ("Air Liquide", "Air Liquide SA", "same name"),
        ("BlackRock", "Blackrok", "similar name"),
        ("삼성전자 주식회사", "Samsung Electronics Co., Ltd.", "same name"),
        ("G마켓", "Gmarket", "same name"),
    ],
)
def test_duplicate_under_another_name_is_suggested(one: str, other: str, reason: str) -> None:
    (suggestions,) = suggest_duplicates(organization("a", one), [organization("b", other)])
    assert (suggestions.other, suggestions.reason) == ("b", reason)
    assert suggestions.names == (one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Amazon", "Amazon Web Services"),
        ("Samsung Electronics", "Samsung SDS"),
        ("SK Telecom", "SK Broadband"),
        ("Microsoft", "MicroStrategy"),
        ("KT", "KT&G"),
        ("한국전력", "한국가스"),
    ],
)
def test_parent_or_namesake_is_not_suggested(one: str, other: str) -> None:
    assert suggest_duplicates(organization("a", one), [organization("b", other)]) == ()


def test_shared_identifier_suggests_a_duplicate_and_different_ones_exclude_it() -> None:
    brn = OrganizationIdentified(scheme="kr-brn", identifier="102-81-42945")
    one = organization("kt", "KT", None, brn)
    same = organization("korea-telecom", "한국통신", None, brn)
    other = organization("kt-x", "KT", None, OrganizationIdentified(scheme="kr-brn", identifier="124-81-00998"))
    (suggestions,) = suggest_duplicates(one, [other, same, one])
    assert (suggestions.other, suggestions.score, suggestions.reason) == ("korea-telecom", 100.0, "same kr-brn")


def test_likeliest_duplicate_is_suggested_first() -> None:
    others = [organization("c", "Blackrok"), organization("b", "Blackrock"), organization("d", "Renault")]
    assert [s.other for s in suggest_duplicates(organization("a", "BlackRock"), others)] == ["b", "c"]


@given(st.text(max_size=30))
@example("PTY")
def test_names_of_any_text_can_be_compared(name: str) -> None:
    assert normalize_name(name) == normalize_name(name.upper().lower()) or not name.isascii()
    assert normalize_name(f"{name} Inc.") == normalize_name(name) or not normalize_name(name)
