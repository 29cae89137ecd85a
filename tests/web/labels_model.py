"""The labels of changes and quiet deals a second time, from the text of the rules: an oracle for what pages say.

It shares no code with `registry.domain`. The states are those of `tests.properties.oracle`.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from registry.events.types import Recorded
from tests.properties import oracle
from tests.properties.oracle_state import State

OF_TYPE = {
    "deal_registered": "record_keeping",
    "deal_identified": "record_keeping",
    "deal_merged": "record_keeping",
    "deal_unmerged": "record_keeping",
    "event_corrected": "corrected",
    "event_voided": "voided",
    "event_redacted": "redacted",
    "claim_preferred": "preferred",
    "claim_retracted": "retracted",
}
"""The label of each type that has one of its own; the others say that something happened."""
KINDS = {
    "world": "world",
    "learned_late": "learned_late",
    **dict.fromkeys(("observed", "claimed", "corroborated", "retracted", "preferred"), "source"),
    **dict.fromkeys(("corrected", "voided", "redacted", "re_recorded", "record_keeping"), "record"),
}
SETTLED = {"operating", "retired", "suspended", "shelved", "withdrawn", "cancelled"}
QUIET_MONTHS = 18


def labels_of(slug: str, events: Sequence[Recorded], **as_of: Any) -> dict[UUID, str]:
    """The label of each event of a deal that was recorded by a point, in its history as of the point."""
    position = as_of.get("position")
    recorded = [event for event in events if position is None or event.position <= position]
    folded = oracle.fold(slug, events, **as_of)
    visible, states, unapplied = folded if folded is not None else ([], [], [])
    steps = {content["id"]: (content, state) for content, state in zip(visible, states[1:], strict=True)}
    observed = next((content["id"] for content in visible if content["type"] == "status_observed"), None)
    contents = {event.id: oracle.effective_content(recorded, event) for event in recorded}
    labels = {}
    for event in recorded:
        label = OF_TYPE.get(event.type, "world")
        day = contents[event.id]["effective_on"] or contents[event.id]["published_on"]
        if event.id in steps:
            day = steps[event.id][0]["day"]
        if event.id == observed:
            label = "observed"
        elif event.type == "claim_reported":
            is_shown = event.id in steps and event.id not in unapplied
            label = _claim_label(steps[event.id][1], event.id) if is_shown else "claimed"
        elif label == "world" and _is_recorded_again(recorded, contents, event):
            label = "re_recorded"
        elif (label == "world" or event.type == "deal_registered") and _was_lacking(recorded, event, day):
            label = "learned_late"
        labels[event.id] = label
    return labels


def _claim_label(state: State, event: UUID) -> str:
    """Whether a claim agrees with the value shown; if that is its own value, with the recorded one."""
    claims = [claim for name in ("pledges", "sites", "milestones") for item in state[name] for claim in item["claims"]]
    own = next(claim for claim in claims if claim["claim"] is not None and claim["event"] == str(event))
    compared = own
    if own["followed"]:
        compared = next((c for c in claims if c["claim"] is None and c["field"] == own["field"]), own)
    return "corroborated" if compared["corroborated"] else "claimed"


def _is_recorded_again(recorded: Sequence[Recorded], contents: dict[UUID, Any], event: Recorded) -> bool:
    """Whether an event states what one stated that was voided before: of the same item, by date or source."""
    own = contents[event.id]
    if not own["in_force"]:
        return False
    for void in recorded:
        if void.type != "event_voided" or void.position > event.position or void.event is None:
            continue
        voided = contents.get(void.event.voids)  # type: ignore[union-attr]
        if voided is None or not oracle.is_voided(recorded, voided["id"]) or voided["type"] != event.type:
            continue
        names = ("pledge", "milestone", "site", "organization", "claim")
        if [getattr(voided["event"], n, None) for n in names] != [getattr(own["event"], n, None) for n in names]:
            continue
        urls = [{source.url for source in one["sources"]} for one in (voided, own)]
        if voided["effective_on"] == own["effective_on"] or urls[0] & urls[1]:
            return True
    return False


def _was_lacking(recorded: Sequence[Recorded], event: Recorded, day: date) -> bool:
    """Whether the record of an earlier day lacked an event that was in effect before that day."""
    own = event.recorded_at.date()
    earlier = [e.recorded_at.date() for e in recorded if e.recorded_at.date() < own]
    return bool(earlier) and day < max(earlier)


def changes_by_effective_date(before: State | None, after: State | None) -> set[tuple[str, str]]:
    """What a comparison of a deal on two days says, as known at one point: each change with its kind.

    For deals whose events are all of the world: nothing differs but what took effect in between.
    """
    if before is None or after is None:
        return set() if before is after else {("appeared" if before is None else "vanished", "record")}
    whats = set()
    earlier, later = ({pledge["pledge"]: pledge for pledge in state["pledges"]} for state in (before, after))
    # A part is in the amount of its whole, so that it is no growth.
    parts = {one["pledge"] for one in after["relations"] if one["relation"] == "part_of"}
    for name, pledge in later.items():
        old = earlier.get(name)
        if pledge["amount"] is None or (old is None and name in parts):
            continue
        if old is None or old["amount"] is None:
            had_any = any(p["amount"] and p["status"] != "withdrawn" for p in earlier.values())
            whats.add("grew" if old is None and had_any else "stated")
        elif old["amount"]["value"] != pledge["amount"]["value"]:
            whats.add("grew" if int(pledge["amount"]["value"]) > int(old["amount"]["value"]) else "shrank")
        if old is not None and old["status"] != pledge["status"] == "withdrawn":
            whats.add("shrank")
    stages = [state["stage"] and state["stage"]["value"] for state in (before, after)]
    if stages[0] != stages[1]:
        whats.add("stage_moved")
    planned = [{m["milestone"]: m["planned"] for m in state["milestones"]} for state in (before, after)]
    for name, day in planned[1].items():
        if planned[0].get(name) not in (None, day):
            whats.add("slipped" if day > planned[0][name] else "brought_forward")
    return {(what, "world") for what in whats}


def is_quiet(slug: str, events: Sequence[Recorded], on: date, **as_of: Any) -> bool:
    """Whether a deal that is not settled had no source with a date for 18 months before a day."""
    first = first_quiet_day(slug, events, **as_of)
    return first is not None and first <= on


def first_quiet_day(slug: str, events: Sequence[Recorded], **as_of: Any) -> date | None:
    """The day from which a deal is quiet unless a source is published; None for a settled one and one without dates."""
    folded = oracle.fold(slug, events, **as_of)
    if folded is None:
        return None
    visible, states, _ = folded
    stage = states[-1]["stage"]
    recorded = [e for e in events if as_of.get("position") is None or e.position <= as_of["position"]]
    registered = oracle.effective_content(recorded, recorded[0])
    cited = [source for content in (registered, *visible) for source in content["sources"]]
    days = [source.published_on for source in cited if source.published_on is not None]
    if not days or (stage is not None and stage["value"] in SETTLED):
        return None
    year, month = divmod(max(days).month - 1 + QUIET_MONTHS, 12)
    year, month, last = max(days).year + year, month + 1, max(days)
    return date(year, month, min(last.day, calendar.monthrange(year, month)[1]))
