"""What kind of change each event type makes: the history and the comparison say the same of all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import convert
from msgspec.structs import replace

from registry.domain.audit.comparison import appearance, compare
from registry.domain.audit.entries import audit_trail
from registry.domain.audit.labels import Label, kind_of
from registry.domain.calendar import Calendar
from registry.domain.fold.order import Rules
from registry.domain.history import AsOf, state_as_of
from registry.domain.stream_kinds import RULES
from registry.events.codec import decode_content, decode_entry
from registry.events.types import (
    EVENT_TYPES,
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
    KeyIssued,
    KeyRevoked,
    MetricReported,
    MetricRevised,
    MilestoneCancelled,
    MilestoneReached,
    MilestoneRescheduled,
    MilestoneScheduled,
    OrganizationIdentified,
    OrganizationMerged,
    OrganizationNamed,
    OrganizationRegistered,
    OrganizationUnmerged,
    ParentEnded,
    ParentSet,
    PartiesJoined,
    PartnershipFormed,
    PartyLeft,
    PledgeAnnounced,
    PledgeConfirmed,
    PledgeRevised,
    PledgeWithdrawn,
    PrincipalRegistered,
    PrincipalRenamed,
    Recorded,
    Replacement,
    ScopesChanged,
    SetbackReported,
    SetbackResolved,
    SiteAnnounced,
    SiteDropped,
    SiteRevised,
    StageChanged,
    StatusObserved,
    StreamKind,
    tag_of,
)
from registry.events.values import ExternalIdentifier, Localized, Party
from tests.domain.builders import LogBuilder, usd
from tests.domain.comparisons import FIELD

GOLDEN = Path(__file__).parents[1] / "golden"

# Events, with what the domain says that they are. An event of a deal is `world` if something happened, whatever the
# registry did. That also holds for the event types that are not here: their golden histories tell of them.
STORIES: dict[StreamKind, list[tuple[AnyEvent, Label]]] = {
    "deal": [
        (DealRegistered(title=Localized(en="A deal")), "record_keeping"),
        (DealRevised(title=Localized(en="Another name")), "world"),
        (DealIdentified(identifiers=(ExternalIdentifier(scheme="gem", value="G1"),)), "record_keeping"),
        (ConditionSet(condition="c"), "world"),
        (ConditionLifted(condition="c"), "world"),
        (PartiesJoined(parties=(Party(organization="acme", role="investor"),)), "world"),
        (PartyLeft(organization="acme", role="investor"), "world"),
        (PartnershipFormed(members=("acme", "other"), instrument="mou"), "world"),
        (StatusObserved(stage="construction"), "observed"),
        (StatusObserved(stage="operating"), "world"),
        (StageChanged(stage="suspended"), "world"),
        (SetbackReported(setback="s", kind="litigation"), "world"),
        (SetbackResolved(setback="s"), "world"),
        (IncentiveGranted(incentive="i", amount=usd("1")), "world"),
        (IncentiveRevised(incentive="i", amount=usd("2")), "world"),
        (IncentiveEnded(incentive="i"), "world"),
        (PledgeAnnounced(pledge="total", amount=usd("5")), "world"),
        (PledgeRevised(pledge="total", amount=usd("6")), "world"),
        (PledgeConfirmed(pledge="total", commitment="binding"), "world"),
        (DisbursementReported(pledge="total", amount=usd("1")), "world"),
        (ClaimReported(claim="another", field=FIELD, value=usd("7")), "claimed"),
        (ClaimPreferred(field=FIELD, claim="another"), "preferred"),
        (ClaimRetracted(claim="another"), "retracted"),
        (ClaimReported(claim="same", field=FIELD, value=usd("6")), "corroborated"),
        (SiteAnnounced(site="s", place="KR-31"), "world"),
        (SiteRevised(site="s", power_mw="100"), "world"),
        (MilestoneScheduled(milestone="m", kind="groundbreaking", site="s", planned="2026"), "world"),
        (MilestoneRescheduled(milestone="m", planned="2027"), "world"),
        (MilestoneReached(milestone="m"), "world"),
        (MilestoneScheduled(milestone="n", kind="power_on", planned="2028"), "world"),
        (MilestoneCancelled(milestone="n"), "world"),
        (MetricReported(metric="jobs", value="10", basis="planned"), "world"),
        (MetricRevised(metric="jobs", value="20", basis="planned"), "world"),
        (SiteDropped(site="s"), "world"),
        (DealsRelated(relation="part_of", deal="programme"), "world"),
        (DealsUnrelated(relation="part_of", deal="programme"), "world"),
        (PledgeWithdrawn(pledge="total"), "world"),
        (DealMerged(into="programme"), "record_keeping"),
        (DealUnmerged(), "record_keeping"),
    ],
    "organization": [
        (OrganizationRegistered(name=Localized(en="Acme")), "record_keeping"),
        (OrganizationNamed(name="Acme Corporation", language="en", kind="legal"), "record_keeping"),
        (OrganizationNamed(name="Acme Holding", language="en", kind="legal"), "world"),
        (OrganizationIdentified(scheme="wikidata", identifier="Q1"), "record_keeping"),
        (ParentSet(parent="other"), "world"),
        (ParentEnded(parent="other"), "world"),
        (OrganizationMerged(into="other"), "record_keeping"),
        (OrganizationUnmerged(), "record_keeping"),
    ],
    "principal": [
        (PrincipalRegistered(name="Kim Min-ji", kind="person"), "record_keeping"),
        (PrincipalRenamed(name="Kim M."), "record_keeping"),
        (KeyIssued(key="k1", scopes=("record",)), "record_keeping"),
        (ScopesChanged(key="k1", scopes=("read",)), "record_keeping"),
        (KeyRevoked(key="k1"), "record_keeping"),
    ],
}


class Story(LogBuilder):
    """A log of one stream of any kind, each event in effect from the day of its recording."""

    def __init__(self, kind: StreamKind) -> None:
        super().__init__("acme", registered=False)
        self.kind = kind
        self.rules: Rules[Any] = RULES[kind]

    def tell(self, event: AnyEvent) -> Recorded:
        effective = None if self.kind == "principal" else self.now.date()
        made = self.make(self.with_defaults(event) if self.kind == "deal" else event, effective)
        return self.add(replace(made, kind=self.kind))

    def labels(self, recorded: Recorded) -> tuple[Label, set[tuple[Label, Any]]]:
        """The label of an event in the history, and the labels of the changes that the comparison finds beside it."""
        as_of = AsOf(position=recorded.position)
        entries = audit_trail(self.events, as_of, self.rules, Calendar())
        (entry,) = [entry for entry in entries if entry.effective.recorded.id == recorded.id]
        assert entry.unapplied is None, entry.unapplied
        compared = compare(self.events, AsOf(position=recorded.position - 1), as_of, self.rules, Calendar())
        return entry.label, {(change.label, change.path) for change in compared.changes}


def stories() -> Iterator[tuple[Story, Recorded, Label]]:
    for kind, told in STORIES.items():
        story = Story(kind)
        for event, label in told:
            yield story, story.tell(event), label
    told_types = {type(event) for told in STORIES.values() for event, _ in told}
    for name, type_ in EVENT_TYPES.items():
        if type_ not in told_types and type_ not in (EventCorrected, EventVoided, EventRedacted):
            story = Story("deal")
            *earlier, last = golden_events(name, type_.schema)
            for event in earlier:
                story.tell(event)
            yield story, story.tell(last), "world"


def golden_events(name: str, schema: int) -> Iterator[AnyEvent]:
    """The events of the golden history of an event type; the last one is of this type."""
    for stored in json.loads((GOLDEN / f"{name}.v{schema}.json").read_text())["stored"]:
        entry = decode_entry(stored["entry"].encode())
        yield decode_content(stored["content"].encode(), entry.type, entry.schema).event


def test_history_and_comparison_give_each_event_type_the_label_of_the_domain() -> None:
    seen = {tag_of(kind) for kind in (EventCorrected, EventVoided, EventRedacted)}
    for story, recorded, label in stories():
        in_history, in_comparison = story.labels(recorded)
        assert (recorded.type, in_history) == (recorded.type, label)
        assert in_comparison or "merged" in recorded.type, recorded.type
        for changed, path in in_comparison:
            # The labels of a list of claims are those of its claims (`claim_changes`).
            is_list = path.endswith("/claims")
            assert kind_of(changed) == kind_of(label) if is_list else changed == label, (recorded.type, path, changed)
        seen.add(recorded.type)
    assert seen == set(EVENT_TYPES)


def test_correction_and_void_are_changes_of_the_record_in_both_places() -> None:
    story = Story("deal")
    story.tell(DealRegistered(title=Localized(en="A deal")))
    pledge = story.tell(PledgeAnnounced(pledge="total", amount=usd("5")))
    corrected = story.tell(
        EventCorrected(
            corrects=pledge.id, replacement=Replacement(event=PledgeAnnounced(pledge="total", amount=usd("50")))
        )
    )
    assert story.labels(corrected)[0] == "corrected"
    assert {label for label, _ in story.labels(corrected)[1]} == {"corrected"}
    voided = story.tell(EventVoided(voids=pledge.id))
    assert story.labels(voided)[0] == "voided"
    assert {label for label, _ in story.labels(voided)[1]} == {"corrected"}
    redacted = story.tell(EventRedacted(redacts=pledge.id, reason="A court's order."))
    assert story.labels(redacted)[0] == "redacted"


@pytest.mark.parametrize(("zone", "label"), [("Asia/Seoul", "learned_late"), ("UTC", "world")])
def test_event_is_late_to_a_record_of_the_registrys_day(zone: str, label: Label) -> None:
    story = Story("deal")
    story.now = datetime(2024, 6, 1, 20, tzinfo=UTC)  # 2 June in Seoul
    story.tell(DealRegistered(title=Localized(en="A deal")))
    story.now += timedelta(days=7)
    recorded = story.record(DealRevised(title=Localized(en="Another title")), "2024-06-01")
    end = AsOf(position=recorded.position)
    assert audit_trail(story.events, end, story.rules, Calendar(zone))[-1].label == label
    compared = compare(story.events, AsOf(position=recorded.position - 1), end, story.rules, Calendar(zone))
    assert {change.label for change in compared.changes} == {label}


BEFORE = "2023-06-01T00:00:00Z"


def registered_on(effective: str) -> tuple[Story, Recorded]:
    """The story of a deal that is registered a year after the story begins, in effect from a day."""
    story = Story("deal")
    story.now += timedelta(days=365)
    made = replace(story.make(DealRegistered(title=Localized(en="A deal")), effective), kind="deal")
    return story, story.add(made)


def test_deal_registered_after_its_date_is_late_information_to_the_record_that_lacked_it() -> None:
    story, recorded = registered_on("2024-01-01")
    lacking, full = AsOf(recorded_at=recorded.recorded_at - timedelta(days=7)), AsOf(position=recorded.position)
    before, after = ((as_of, state_as_of("acme", story.events, as_of, story.rules)) for as_of in (lacking, full))
    assert appearance(story.events, before, after, Calendar()) == ("learned_late", (recorded.id,))
    assert {c.label for c in compare(story.events, lacking, full, story.rules, Calendar()).changes} == {"learned_late"}


@pytest.mark.parametrize("lacking", [{"effective_on": "2023-12-31"}, {"position": 0}, {"recorded_at": BEFORE}])
def test_deal_unknown_for_another_reason_is_record_keeping(lacking: dict[str, Any]) -> None:
    story, recorded = registered_on("2024-01-01")
    points = convert(lacking, AsOf), AsOf(position=recorded.position)
    before, after = ((as_of, state_as_of("acme", story.events, as_of, story.rules)) for as_of in points)
    assert appearance(story.events, before, after, Calendar()) == ("record", (recorded.id,))
    assert {c.label for c in compare(story.events, *points, story.rules, Calendar()).changes} == {"record_keeping"}
